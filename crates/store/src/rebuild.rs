// SPDX-License-Identifier: Apache-2.0
//! Builds consume queues again whose files are missing or damaged, while all others serve.
//!
//! 1. Whoever notices it names the queue (`QueueFiles::suspect`): recovery, opening it, a reader, [`see_all`].
//! 2. The queue is condemned: it neither gives nor takes messages, and whoever asks for it is told to come again. The
//!    list of queues says so, so that a crash does not leave half a queue that looks whole. Its files go.
//! 3. The log is read from its beginning to where it ended then; records of all condemned queues become units of queues
//!    beside them. As nothing is appended to these meanwhile, none is missed.
//!    If its files are all there, the queue keeps what is right before the first unit that is known not to be ([`keep`]),
//!    and the log is read from there on only: a Java broker that cut its log after a power loss leaves the units of lost
//!    messages behind the end of quiet queues.
//! 4. What is known to have been there and was not found becomes filler, so that no offset is given twice. When all is
//!    durable, the queues take what was built for them.
//!
//! After a crash the thread first looks at all queues that nobody opened (`Registry::see_all`), see `recovery`.

use std::{
    collections::{BTreeMap, HashMap},
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use oxmq_record::{RecordView, sys_flag};

use crate::{
    dispatch::Dispatch,
    error::{QueueError, QueueFileError},
    list::{Lines, Listed},
    log::CommitLog,
    progress::Progress,
    queue::{Queue, Suspect, Verdict},
    read::checked,
    registry::Limits,
    search::partition_point,
    store::Shared,
    sync::{lock, write},
};

/// Bytes of the log that are read in one step.
const STEP_BYTES: u64 = 4 * 1024 * 1024;
/// Pause between two steps: others need disk and processor, too.
const BREATH: Duration = Duration::from_millis(1);
/// Pause after it failed, as on a full disk: it reads all of the log again.
const RETRY: Duration = Duration::from_secs(60);

/// Builds what is damaged until the store stops.
pub(crate) fn rebuilder(shared: &Shared) {
    while !shared.stopping() {
        match step(shared) {
            Ok(()) => shared.registry.files.bell.wait(),
            Err(error) => {
                tracing::error!(%error, "cannot build consume queues again; tried again");
                shared.registry.files.bell.wait_at_most(RETRY);
            }
        }
    }
}

/// Builds what is known to be damaged.
pub(crate) fn step(shared: &Shared) -> Result<(), QueueError> {
    let files = &shared.registry.files;
    let torn = shared.registry.holds_checkpoint();
    if torn || files.has_suspects() {
        // One damaged queue is rarely alone, and the log is read for all of them at once.
        see_all(shared, &shared.stop)?;
    }
    while files.has_suspects() && !shared.stopping() {
        let suspects = files.take_suspects();
        if let Err(error) = rebuild(shared, &suspects) {
            files.put_back(suspects);
            return Err(error.into());
        }
    }
    Ok(())
}

/// Looks at all queues that nobody opened since the start, unless that was done, and lets the checkpoint go on.
pub(crate) fn see_all(shared: &Shared, stop: &AtomicBool) -> Result<(), QueueError> {
    let registry = &shared.registry;
    if !registry.unseen.load(Ordering::Acquire) || !registry.see_all(stop, |_| Ok(()))? {
        return Ok(());
    }
    *write(&registry.limits) = Limits { limit: u64::MAX, torn: false };
    registry.unseen.store(false, Ordering::Release);
    // With the flusher held, all that queues have in files is durable after the checkpoint.
    let mut flusher = lock(&shared.queue_flusher);
    let moved_on = flusher.checkpoint(shared, false);
    if let Err(error) = moved_on {
        tracing::warn!(%error, "cannot write the checkpoint");
        return Ok(());
    }
    registry.write_list(None);
    Ok(())
}

fn rebuild(shared: &Shared, suspects: &[Suspect]) -> Result<(), QueueFileError> {
    let (registry, log) = (&shared.registry, &shared.log);
    let named = suspects
        .iter()
        .filter_map(|suspect| Some((registry.existing(&suspect.topic, suspect.id)?, suspect.from)));
    let mut found: Vec<(Arc<Queue>, u64)> = named.collect();
    {
        // With the flusher held, no tail is being written, which would make the files again.
        let _flusher = lock(&shared.queue_flusher);
        // From here on, `Store::delete_topic` refuses.
        found.retain(|(queue, _)| !queue.is_deleted());
        if found.is_empty() {
            return Ok(());
        }
        let mut lines = Lines::default();
        for (queue, _) in &found {
            {
                // Between two appends, so that none fails half way.
                let _writer = lock(&shared.writer);
                queue.condemn(queue.max_offset().0);
            }
            let listed = Listed { max: queue.max_offset().0, building: true, ..queue.listed() };
            lines.queue(queue.topic(), queue.queue_id().0, listed);
        }
        registry.note(&lines)?;
    }
    let mut at = log.end();
    let mut building: HashMap<Arc<str>, BTreeMap<u32, Arc<Queue>>> = HashMap::new();
    for (queue, from) in &found {
        let new_queue = || registry.new_queue(&queue.topic_name(), queue.queue_id());
        let mut new = new_queue();
        // Some of the files may be others afterwards.
        queue.forget_handles();
        let kept = if *from > 0 { keep(&new, log, *from) } else { None };
        if kept.is_none() {
            queue.remove_files()?;
            new = new_queue();
        }
        at = at.min(kept.unwrap_or_else(|| log.min()));
        building.entry(queue.topic_name()).or_default().insert(queue.queue_id().0, Arc::new(new));
    }
    let queues: Vec<Arc<Queue>> = found.into_iter().map(|(queue, _)| queue).collect();

    let end = log.end();
    tracing::warn!(queues = queues.len(), from = at, end, "building consume queues again");
    let mut dispatch = Dispatch::new(&shared.tags_rule, registry.since.load(Ordering::Relaxed));
    let mut progress = Progress::new("building consume queues again", at, end);
    while at < end {
        if shared.stopping() {
            return Ok(());
        }
        let mut failed = None;
        let Ok(next) = log.follow(at, STEP_BYTES, |record| {
            let found = building.get(record.topic()).and_then(|queues| queues.get(&record.queue_id().0));
            if let Some(queue) = found
                && belongs(shared, record)
            {
                failed = dispatch.add(Arc::clone(queue), record, true).err();
            }
            Ok::<_, Infallible>(failed.is_none())
        });
        if let Some(error) = failed {
            return Err(error);
        }
        at = next;
        progress.at(at.min(end));
        queues.iter().for_each(|queue| queue.set_rebuilding(progress.percent().min(99)));
        if at < end {
            std::thread::sleep(BREATH);
        }
    }
    dispatch.finish()?.iter().try_for_each(|queue| queue.write_tail())?;

    let pairs = || queues.iter().map(|queue| (queue, &building[queue.topic()][&queue.queue_id().0]));
    for (queue, built) in pairs() {
        built.fill_up_to(queue.max_offset().0);
        built.write_tail()?;
    }
    let dir = &registry.files.dir;
    let synced = registry.files.disk.sync_file_system(dir);
    synced.map_err(|source| QueueFileError { path: dir.clone(), source })?;
    // A reader may have met the damage when it was already known.
    registry.files.forget_suspects(&queues);
    pairs().for_each(|(queue, built)| queue.adopt(built));
    // The list must not say more than the checkpoint counts.
    let mut flusher = lock(&shared.queue_flusher);
    flusher.flush(shared)?;
    if let Err(error) = flusher.checkpoint(shared, false) {
        tracing::warn!(%error, "cannot write the checkpoint");
    } else {
        let mut lines = Lines::default();
        for queue in queues.iter().filter(|queue| !queue.is_deleted()) {
            lines.queue(queue.topic(), queue.queue_id().0, queue.listed());
        }
        registry.note(&lines)?;
    }
    drop(flusher);
    progress.done();
    tracing::info!(queues = queues.len(), "consume queues are built again");
    Ok(())
}

/// Cuts a queue, fresh from its files, behind a unit before `wrong` that is right. Returns where the record of that unit
/// starts: from there on the log has all that follows. `None` if no such unit was found.
///
/// What is wrong is taken to lie at the end, and is looked for by bisection. If some of it lies elsewhere, less is kept;
/// or else that remains as unnoticed as it was, as nobody looks at all units of a queue that is opened.
fn keep(queue: &Queue, log: &CommitLog, wrong: u64) -> Option<u64> {
    let find = || -> Result<Option<u64>, QueueFileError> {
        queue.load(Limits { limit: log.end(), torn: true }, log.min(), Listed::default())?;
        let (min, max) = (queue.min_offset().0, queue.max_offset().0.min(wrong));
        let right = partition_point(min, max, |at| Ok(queue.is_its(at, log)? == Some(true)))?;
        if right <= min {
            return Ok(None);
        }
        queue.cut(right)?;
        let last = queue.unit(right - 1)?.map(|unit| unit.physical.0);
        Ok(last.filter(|_| matches!(queue.verdict(log), Ok(Verdict::Right))))
    };
    find().unwrap_or_else(|error| {
        tracing::warn!(%error, "nothing of a consume queue can be kept");
        None
    })
}

/// True if a record is whole and one of its queue's messages, and not of an earlier topic of that name.
fn belongs(shared: &Shared, record: &RecordView<'_>) -> bool {
    sys_flag::enters_consume_queue(record.sys_flag())
        && checked(record.bytes(), record.physical_offset().0).is_ok()
        && !shared.registry.was_deleted(record.topic(), record.physical_offset().0)
}
