// SPDX-License-Identifier: Apache-2.0
//! From the files of a store that was closed, or was not, to one that can go on.
//!
//! 1. Choose where to start (`start`): everything below is known to be whole, in the log and in the queues.
//! 2. Walk the log from there to its end; cut what follows.
//! 3. Open the queues without what they say about records from the start on (after a crash) or beyond the end.
//! 4. Dispatch the records from the start on.
//!
//! Where to start
//! - Closed by us (`abort` is gone, the checkpoint says clean and nothing follows it): at the end. Queues are opened
//!   when someone asks for them.
//! - Closed by Java: at the segment that holds the last record that any queue knows.
//! - Not closed: at the dispatched offset of our checkpoint, if the last record before it is still there; or at the
//!   last segment whose first record is at least 3 s older than what Java's checkpoint says is flushed and
//!   dispatched. The later of both, as a Java broker may have worked here after us.
//! - No consume queue at all: at the beginning. People remove the folder to have it built again.
//!
//! Java: `CommitLog#recoverNormally`, `#recoverAbnormally`, `#isMappedFileMatchedRecover`.

use std::{
    convert::Infallible,
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use oxmq_record::{RecordView, sys_flag};
use oxmq_types::{PhysicalOffset, TagsCode};

use crate::{
    checkpoint::{Checkpoint, Mark},
    error::{OpenError, QueueError},
    log::{CommitLog, file_at},
    queue::{Added, Queue, Unit},
    registry::{Limits, Registry},
    sync::write,
};

/// Java's allowance for clocks and order, in ms. `StoreCheckpoint#getMinTimestamp`.
const CHECKPOINT_ALLOWANCE_MS: u64 = 3_000;
/// Units that recovery keeps in memory before it writes them.
const UNITS_IN_MEMORY_MAX: usize = 256 * 1024;

/// Gives a record found by recovery its tags code.
pub type TagsRule = Box<dyn Fn(&RecordView<'_>) -> TagsCode + Send>;

/// What recovery found.
pub(crate) struct Recovered {
    /// Where the walk started; everything below was on the disk.
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// Where the record that ends at `end` starts; `end` if there is none.
    pub(crate) last_record: u64,
    pub(crate) last_timestamp_ms: i64,
    /// Everything was in place: nothing was walked, cut or dispatched.
    pub(crate) clean: bool,
    /// Queues with units that are not in files yet.
    pub(crate) dirty: Vec<Arc<Queue>>,
}

pub(crate) fn recover(
    log: &CommitLog,
    registry: &Registry,
    checkpoint: &Checkpoint,
    crashed: bool,
    tags_rule: &TagsRule,
) -> Result<Recovered, OpenError> {
    let starts = log.segment_starts();
    let (Some(&min), Some(&last)) = (starts.first(), starts.last()) else {
        // Without a log, queues know nothing that is true.
        open_queues(registry, Limits { limit: 0, log_min: 0, torn: true })?;
        return Ok(Recovered {
            start: 0,
            end: 0,
            last_record: 0,
            last_timestamp_ms: 0,
            clean: false,
            dirty: Vec::new(),
        });
    };
    let limit = last + log.segment_size;
    let mark = checkpoint.mark.filter(|mark| holds(log, mark, min, limit));

    let names = registry.names();
    let removed = names.is_empty() && !mark.is_some_and(|mark| mark.no_queues);
    let is_end = |end: u64| end > last && log.is_end(end) && !removed;
    if let Some(mark) = mark.filter(|mark| mark.clean && !crashed && is_end(mark.dispatched.0)) {
        let end = mark.dispatched.0;
        log.publish(end);
        *write(&registry.limits) = Limits { limit: end, log_min: min, torn: false };
        let last_record = mark.last_record.0;
        let last_timestamp_ms = log.store_timestamp(last_record).unwrap_or(0);
        return Ok(Recovered {
            start: end,
            end,
            last_record,
            last_timestamp_ms,
            clean: true,
            dirty: Vec::new(),
        });
    }

    let began = Instant::now();
    let (start, durable) = if removed {
        (min, mark.map_or(min, |mark| mark.dispatched.0))
    } else if crashed {
        let marked = mark.map_or(min, |mark| mark.dispatched.0);
        let start = marked.max(by_timestamps(log, &starts, (checkpoint, mark)));
        (start, start)
    } else {
        open_queues(registry, Limits { limit: u64::MAX, log_min: min, torn: false })?;
        let mut known = min;
        for (topic, id) in &names {
            let queue = registry.get(topic, *id).map_err(open_error)?;
            let end = queue.last_end().map_err(|error| open_error(QueueError::File(error)))?;
            known = known.max(end.filter(|end| *end <= limit).unwrap_or(min));
        }
        let inside = known.saturating_sub(1);
        let start = (inside - inside % log.segment_size).clamp(min, last);
        // Records below the mark must not be dispatched again: their topics may have been deleted.
        let marked = mark.map_or(min, |mark| mark.dispatched.0);
        (start.max(marked), known.max(marked))
    };

    let mut last_record = start;
    let mut last_timestamp_ms = 0;
    if let Some(mark) = mark.filter(|mark| mark.dispatched.0 == start) {
        last_record = mark.last_record.0;
    }
    let Ok(end) = log.walk(start, limit, durable, |record| {
        if let Ok(record) = RecordView::parse(record) {
            last_record = record.physical_offset().0;
            last_timestamp_ms = record.store_timestamp_ms();
        }
        Ok::<_, Infallible>(())
    });
    let bytes = log.cut(end).map_err(|source| OpenError::Io { path: log.dir.clone(), source })?;
    if bytes > 0 {
        let file = file_at(&log.dir, end - end % log.segment_size);
        tracing::warn!(
            file = %file.display(), offset = end, cut_bytes = bytes,
            "the commit log did not end with a whole record; what followed the last one was cut"
        );
    }
    log.publish(end);
    if last_timestamp_ms == 0 {
        last_timestamp_ms = log.store_timestamp(last_record).unwrap_or(0);
    }

    // After a crash, files may have units from the start on in parts only: all of them are made again.
    let limit = if crashed { start } else { end };
    open_queues(registry, Limits { limit, log_min: min, torn: crashed })?;
    *write(&registry.limits) = Limits { limit: end, log_min: min, torn: crashed };
    let dirty = dispatch(log, registry, start..end, durable, tags_rule)?;
    tracing::info!(
        from = start,
        end,
        queues = names.len(),
        elapsed_ms = began.elapsed().as_millis() as u64,
        crashed,
        "commit log recovered"
    );
    Ok(Recovered { start: start.min(end), end, last_record, last_timestamp_ms, clean: false, dirty })
}

/// True if the log still has, just before the dispatched offset, the record that it had when the mark was made.
fn holds(log: &CommitLog, mark: &Mark, min: u64, limit: u64) -> bool {
    let Mark { dispatched: PhysicalOffset(at), last_record: PhysicalOffset(last), .. } = *mark;
    if at < min || at > limit {
        return false;
    }
    if last == at {
        return at % log.segment_size == 0;
    }
    last >= min && log.found_at(last).is_some_and(|record| last + record.len() as u64 == at)
}

/// The last segment that Java would start from after a crash; 0 if there is none.
fn by_timestamps(log: &CommitLog, starts: &[u64], (checkpoint, mark): (&Checkpoint, Option<Mark>)) -> u64 {
    // If the times are those of the mark, no Java broker came after us, and the mark says all. Times must not say
    // more: if the clock was set back, segments that no checkpoint knows are older than it.
    let last = mark.and_then(|mark| log.found_at(mark.last_record.0));
    let of_mark = last.and_then(|record| RecordView::store_timestamp_of(&record));
    if of_mark.is_some_and(|ms| ms.cast_unsigned() == checkpoint.dispatched_timestamp_ms) {
        return 0;
    }
    let known = checkpoint.flushed_timestamp_ms.min(checkpoint.dispatched_timestamp_ms);
    let known = known.saturating_sub(CHECKPOINT_ALLOWANCE_MS);
    let old_enough = |start: &&u64| {
        let stored = log.found_at(**start).and_then(|record| RecordView::store_timestamp_of(&record));
        stored.is_some_and(|stored| stored > 0 && stored as u64 <= known)
    };
    starts.iter().rev().find(old_enough).copied().unwrap_or(0)
}

fn open_queues(registry: &Registry, limits: Limits) -> Result<(), OpenError> {
    *write(&registry.limits) = limits;
    registry.close_all();
    for (topic, id) in registry.names() {
        registry.get(&topic, id).map_err(open_error)?;
    }
    Ok(())
}

fn dispatch(
    log: &CommitLog,
    registry: &Registry,
    Range { start, end }: Range<u64>,
    durable: u64,
    tags_rule: &TagsRule,
) -> Result<Vec<Arc<Queue>>, OpenError> {
    const REPORT_EVERY: Duration = Duration::from_secs(5);
    let mut reported = Instant::now();
    let mut dirty = Vec::new();
    let mut waiting = 0;
    let mut buffer = Vec::new();
    log.walk(start, end, durable, |bytes| {
        let Ok(record) = RecordView::parse(bytes) else { return Ok(()) };
        if !sys_flag::enters_consume_queue(record.sys_flag()) {
            return Ok(());
        }
        let queue = match registry.get(record.topic(), record.queue_id()) {
            Ok(queue) => queue,
            Err(QueueError::File(error)) => return Err(open_error(QueueError::File(error))),
            Err(error) => {
                tracing::warn!(offset = record.physical_offset().0, %error, "record of a topic that cannot be");
                return Ok(());
            }
        };
        let unit =
            Unit { physical: record.physical_offset(), size: record.size(), tags_code: tags_rule(&record) };
        match queue.dispatch(record.queue_offset(), unit) {
            Some(Added::FirstOfTail) => dirty.push(queue),
            Some(Added::Known) => {}
            None => return Ok(()),
        }
        waiting += 1;
        if waiting >= UNITS_IN_MEMORY_MAX {
            waiting = 0;
            for queue in dirty.drain(..) {
                queue
                    .flush(&mut buffer, &mut Vec::new(), &mut false)
                    .map_err(|error| open_error(QueueError::File(error)))?;
            }
        }
        if reported.elapsed() >= REPORT_EVERY {
            reported = Instant::now();
            let at = record.physical_offset().0;
            let percent = (at - start) * 100 / (end - start).max(1);
            tracing::info!(at, end, percent, "building consume queues from the commit log");
        }
        Ok(())
    })?;
    Ok(dirty)
}

fn open_error(error: QueueError) -> OpenError {
    match error {
        QueueError::File(error) => OpenError::Io { path: error.path, source: error.source },
        other => OpenError::Io { path: "consumequeue".into(), source: std::io::Error::other(other) },
    }
}
