// SPDX-License-Identifier: Apache-2.0
//! The three threads of a store that make it durable, and how far each has come. The fourth builds the index.
//!
//! ```text
//! 0 <= checkpoint's dispatched offset <= flushed <= published end
//! ```
//! None of them wakes while nothing is appended.

use std::{
    collections::{BTreeSet, HashSet},
    mem,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use oxmq_types::PhysicalOffset;

use crate::{
    checkpoint::{Checkpoint, Mark},
    config::FlushMode,
    error::{CloseError, FlushError, QueueFileError},
    list::Lines,
    queue::Queue,
    store::Shared,
    sync::lock,
    writer::PREPARE_STEP,
};

/// In SYNC_FLUSH, what nobody waits for is flushed after this, as in Java's `GroupCommitService`.
const UNWAITED: Duration = Duration::from_millis(10);
/// Java's unit of `flushCommitLogLeastPages`.
const PAGE: u64 = 4096;
/// How often the disk begins with what was appended since, between two flushes in the background: little by little, so
/// that it never has a mountain to write at once, and the system no reason to stop those who write.
const WRITE_BACK_INTERVAL: Duration = Duration::from_millis(100);
/// Only whole parts of the log of this length are written early: the system takes neighbouring pages together, and one
/// that is being written is costly to write to. As large as a large page.
const WRITE_BACK_UNIT: u64 = 2 * 1024 * 1024;
/// Pages are ready for what comes in this time, at the speed of now,
const POPULATE_TIME: Duration = Duration::from_millis(200);
/// and for so many bytes at least,
const POPULATE_MIN: u64 = 4 * 1024 * 1024;
/// and at most.
const POPULATE_MAX: u64 = 64 * 1024 * 1024;
/// From so many bytes a second on pages are large, unless somebody waits for each flush: by the next flush so much was
/// appended that what a large one adds to it is little.
const LARGE_PAGES_FROM: f64 = 64.0 * 1024.0 * 1024.0;
/// By so much less than the broker's other threads the one that makes pages ready is entitled to a core: it may be long in
/// the kernel, where it lets nobody else have it, and should not begin that by pushing aside a thread that handles requests.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;
/// More files than this are made durable by one call for the whole file system.
const FILES_SYNCED_ONE_BY_ONE: usize = 64;
/// Pause after consume queues could not be written.
const RETRY: Duration = Duration::from_secs(1);

type Waiter = Box<dyn FnOnce(Result<(), FlushError>) + Send>;

/// How much of the log is durable, and who waits for more.
pub(crate) struct FlushState {
    pub(crate) flushed: u64,
    /// Store time of the last record below `flushed`, or of one shortly before it.
    pub(crate) timestamp_ms: i64,
    /// Where the log ended when it was flushed last, and the store time of the record that ended there.
    seen: (u64, i64),
    pub(crate) waiters: Vec<(u64, Waiter)>,
    /// No more will be flushed, and why.
    pub(crate) over: Option<FlushError>,
}

impl FlushState {
    pub(crate) fn new(flushed: u64, timestamp_ms: i64) -> Self {
        Self { flushed, timestamp_ms, seen: (flushed, timestamp_ms), waiters: Vec::new(), over: None }
    }

    /// What someone who waits for `to` is to be told; `None`: to wait.
    pub(crate) fn outcome(&self, to: u64) -> Option<Result<(), FlushError>> {
        if to <= self.flushed {
            return Some(Ok(()));
        }
        self.over.clone().map(Err)
    }
}

/// Makes the log durable: for those who wait, and in the background.
pub(crate) fn log_flusher(shared: &Shared) {
    let mut thorough = Instant::now();
    // Up to here the disk has begun.
    let mut written = shared.log.end();
    // Where the log ended when this thread looked last; its last page was left out when it flushed last.
    let (mut before, mut left_out) = (shared.log.end(), false);
    loop {
        // The ring that tells of the end may have been heard as one for those who waited.
        if !shared.stopping() {
            shared.flush_bell.wait();
        }
        // From here on there is something to flush; it sleeps again when there is not.
        loop {
            if shared.stopping() && lock(&shared.flush).waiters.is_empty() {
                return;
            }
            let waited_for = !lock(&shared.flush).waiters.is_empty();
            if !waited_for {
                let rung = match shared.config.flush {
                    FlushMode::Async { interval_ms, .. } => {
                        let due = Instant::now() + Duration::from_millis(interval_ms);
                        write_back_until(shared, due, &mut written)
                    }
                    FlushMode::Sync => shared.flush_bell.wait_at_most(UNWAITED),
                };
                if rung {
                    continue;
                }
            }
            let flushed = lock(&shared.flush).flushed;
            let mut part = Part::All;
            {
                let mut writer = lock(&shared.writer);
                if writer.end == flushed && !waited_for {
                    // Rung late: it has been flushed already.
                    writer.flush_due = false;
                    break;
                }
                let quiet = mem::replace(&mut before, writer.end) == writer.end;
                let dirty_pages = (writer.end - flushed).div_ceil(PAGE);
                if let FlushMode::Async { least_pages, thorough_interval_ms, .. } = shared.config.flush
                    && !waited_for
                    && !(quiet && left_out)
                {
                    let thorough = thorough.elapsed() >= Duration::from_millis(thorough_interval_ms);
                    if dirty_pages < least_pages && !thorough {
                        continue;
                    }
                    part = Part::WholePages;
                }
            }
            thorough = Instant::now();
            left_out = part == Part::WholePages;
            if !flush_part(shared, part) {
                return;
            }
            if part == Part::All && lock(&shared.flush).waiters.is_empty() {
                break;
            }
        }
    }
}

/// How much of the log is flushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    All,
    /// Not the page with which it ends, if there are others. Who writes to a page while it goes to the disk waits in the
    /// kernel, under the lock of all who append: at times for a commit of the file system's journal. So it is left for
    /// the next time, or until nothing is appended any more.
    WholePages,
}

/// Makes what was appended so far durable and tells those who wait for it. False if nothing will be flushed any more.
pub(crate) fn flush_log(shared: &Shared) -> bool {
    flush_part(shared, Part::All)
}

/// The same for a part of it.
pub(crate) fn flush_part(shared: &Shared, part: Part) -> bool {
    let (flushed, seen) = {
        let state = lock(&shared.flush);
        (state.flushed, state.seen)
    };
    let (now_seen, whole) = {
        let mut writer = lock(&shared.writer);
        let whole = writer.end - writer.end % PAGE;
        let whole = (part == Part::WholePages && whole > flushed).then_some(whole);
        // Who goes on flushing needs no bell.
        writer.flush_due = whole.is_some();
        ((writer.end, writer.last_timestamp_ms), whole)
    };
    let (end, timestamp_ms) = match whole {
        None => (now_seen.0, Some(now_seen.1)),
        // Which record is the last one below is not known; that of the last time is.
        Some(whole) => (whole, (whole >= seen.0).then_some(seen.1)),
    };
    if let Err(error) = shared.log.sync(flushed, end) {
        shared.poison(&error.to_string());
        return false;
    }
    let done: Vec<(u64, Waiter)> = {
        let mut state = lock(&shared.flush);
        // Who waited has been told already that this is over.
        if state.over.is_some() {
            return false;
        }
        state.flushed = end;
        state.timestamp_ms = timestamp_ms.unwrap_or(state.timestamp_ms);
        state.seen = now_seen;
        let (done, later) = mem::take(&mut state.waiters).into_iter().partition(|(to, _)| *to <= end);
        state.waiters = later;
        done
    };
    done.into_iter().for_each(|(_, done)| done(Ok(())));
    true
}

/// Sleeps until `due`, or until the flusher's bell rings, which gives true. Meanwhile the disk goes on from `written`.
fn write_back_until(shared: &Shared, due: Instant, written: &mut u64) -> bool {
    loop {
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        if shared.flush_bell.wait_at_most(left.min(WRITE_BACK_INTERVAL)) {
            return true;
        }
        let end = shared.log.end();
        let whole = end - end % WRITE_BACK_UNIT;
        if *written < whole {
            shared.log.write_back(*written, whole);
            *written = whole;
        }
    }
}

/// Takes tails of queues to their files, and the checkpoint on.
pub(crate) struct QueueFlusher {
    checkpoint: Checkpoint,
    /// Queues whose tails are to be written.
    pending: Vec<Arc<Queue>>,
    /// All units of records below are in files, if `pending` is empty.
    dispatched: Mark,
    dispatched_timestamp_ms: i64,
    /// Files written since the last checkpoint: queue, byte offset.
    written: Vec<(Arc<Queue>, u64)>,
    /// Those of them that were made since the last checkpoint are these queues'.
    created: Vec<Arc<Queue>>,
    /// Recovery has cleared or removed files.
    recovered: bool,
    /// Queues that got a file since, which the list of queues is to know.
    unlisted: Vec<Arc<Queue>>,
    /// Why some of them are not durable. The kernel tells of a failed fsync once, so no later one proves that they are:
    /// the checkpoint stays where it is until the store is opened again.
    not_durable: Option<String>,
    buffer: Vec<u8>,
}

impl QueueFlusher {
    /// `recovered`: what recovery did to the files is not durable yet.
    pub(crate) fn new(checkpoint: Checkpoint, recovered: bool) -> Self {
        let nothing = PhysicalOffset(0);
        Self {
            checkpoint,
            pending: Vec::new(),
            dispatched: Mark { dispatched: nothing, last_record: nothing, clean: false, no_queues: false },
            dispatched_timestamp_ms: 0,
            written: Vec::new(),
            created: Vec::new(),
            recovered,
            unlisted: Vec::new(),
            not_durable: None,
            buffer: Vec::new(),
        }
    }

    /// Where the last record stands that recovery need not look at after a crash: all before it is durable, in the log and
    /// in the queues. 0 if nothing is.
    pub(crate) fn checkpointed(&self) -> u64 {
        self.checkpoint.mark.map_or(0, |mark| mark.last_record.0)
    }

    /// Writes the tails of all queues to their files.
    pub(crate) fn flush(&mut self, shared: &Shared) -> Result<(), QueueFileError> {
        {
            let mut writer = lock(&shared.writer);
            self.pending.append(&mut writer.dirty);
            writer.queues_due = false;
            // Units of all records below are in tails of queues that are pending now, or in files.
            self.dispatched = Mark {
                dispatched: PhysicalOffset(writer.end),
                last_record: PhysicalOffset(writer.last_record),
                clean: false,
                no_queues: false,
            };
            self.dispatched_timestamp_ms = writer.last_timestamp_ms;
        }
        let mut count = 0;
        let mut result = Ok(());
        let mut starts = Vec::new();
        while let Some(queue) = self.pending.pop() {
            starts.clear();
            let mut created = false;
            let flushed = queue.flush(&mut self.buffer, &mut starts, &mut created);
            if created {
                self.created.push(Arc::clone(&queue));
                self.unlisted.push(Arc::clone(&queue));
            }
            self.written.extend(starts.iter().map(|start| (Arc::clone(&queue), *start)));
            match flushed {
                Ok(units) => count += units,
                Err(error) => {
                    self.pending.push(queue);
                    result = Err(error);
                    break;
                }
            }
        }
        // A burst must not keep its memory.
        self.buffer.shrink_to(64 * 1024);
        let mut writer = lock(&shared.writer);
        writer.units_waiting = writer.units_waiting.saturating_sub(count);
        writer.queues_stuck = result.as_ref().err().map(ToString::to_string);
        result
    }

    /// Makes what was flushed durable and writes the checkpoint. Does not move on while queues are pending.
    pub(crate) fn checkpoint(&mut self, shared: &Shared, clean: bool) -> Result<(), CloseError> {
        if !self.pending.is_empty() || shared.registry.holds_checkpoint() {
            return Ok(());
        }
        if let Some(error) = &self.not_durable {
            return Err(FlushError::Failed { reason: error.clone() }.into());
        }
        // If that fails the checkpoint stays where it is, and recovery meets their records again.
        shared.registry.note(&Lines::default())?;
        let mut seen = HashSet::new();
        self.written
            // One that is being built again has lost these files; what takes their place is synced there.
            .retain(|(queue, start)| {
                !queue.is_deleted()
                    && queue.rebuilding().is_none()
                    && seen.insert((Arc::as_ptr(queue), *start))
            });
        let synced = if self.recovered || self.written.len() > FILES_SYNCED_ONE_BY_ONE {
            let dir = &shared.config.consume_queue_dir;
            let synced = shared.disk.sync_file_system(dir);
            synced.map_err(|source| QueueFileError { path: dir.clone(), source })
        } else {
            // Not for a few: it would take along the page of the log that is being written to, and all that other programs
            // have written.
            let files = self.written.iter().try_for_each(|(queue, start)| queue.sync(*start));
            files.and_then(|()| sync_names(shared, &self.created))
        };
        synced.inspect_err(|error| {
            tracing::error!(%error, "cannot sync consume queues; the next start dispatches what follows the checkpoint again");
            self.not_durable = Some(error.to_string());
        })?;
        self.written = Vec::new();
        self.created = Vec::new();
        self.recovered = false;
        // The log goes first: a checkpoint beyond its durable end would have recovery start after what it must see.
        let end = self.dispatched.dispatched.0;
        let (flushed, timestamp_ms) = {
            let state = lock(&shared.flush);
            (state.flushed, state.timestamp_ms)
        };
        if flushed < end {
            shared.log.sync(flushed, end).map_err(|error| {
                let reason = error.to_string();
                shared.poison(&reason);
                FlushError::Failed { reason }
            })?;
        }
        let known = |ms: i64| u64::try_from(ms).unwrap_or(0);
        let indexed = shared.index.as_ref().map(|index| index.durable_timestamp_ms());
        let checkpoint = Checkpoint {
            flushed_timestamp_ms: known(timestamp_ms.max(self.dispatched_timestamp_ms)),
            dispatched_timestamp_ms: known(self.dispatched_timestamp_ms),
            indexed_timestamp_ms: indexed.unwrap_or(self.checkpoint.indexed_timestamp_ms),
            mark: Some(Mark { clean, no_queues: shared.registry.is_empty(), ..self.dispatched }),
            ..self.checkpoint
        };
        let path = &shared.config.checkpoint_file;
        let written = shared.write_checkpoint(&checkpoint);
        written.map_err(|source| CloseError::Io { path: path.clone(), source })?;
        // Only now: what is below it may be removed.
        self.checkpoint = checkpoint;
        // Nor before: of units that the checkpoint does not count, the next recovery may have to make sure again.
        let mut lines = Lines::default();
        self.unlisted.retain(|queue| !queue.is_deleted() && queue.rebuilding().is_none());
        for queue in &self.unlisted {
            lines.queue(queue.topic(), queue.queue_id().0, queue.listed());
        }
        if !lines.is_empty() {
            match shared.registry.note(&lines) {
                Ok(()) => self.unlisted.clear(),
                // As on a full disk; the checkpoint needs no space, and must not wait for it.
                Err(error) => tracing::warn!(%error, "cannot write the list of queues"),
            }
        }
        Ok(())
    }
}

/// Makes the names of files durable that were made for `queues`, and those of the folders that they are in.
fn sync_names(shared: &Shared, queues: &[Arc<Queue>]) -> Result<(), QueueFileError> {
    let mut dirs = BTreeSet::new();
    for queue in queues.iter().filter(|queue| !queue.is_deleted() && queue.rebuilding().is_none()) {
        let dir = queue.dir();
        dirs.extend(dir.ancestors().take(3).map(Path::to_owned));
    }
    dirs.into_iter()
        .try_for_each(|dir| shared.disk.sync_dir(&dir).map_err(|source| QueueFileError { path: dir, source }))
}

/// Writes tails every `queue_flush_interval_ms` and the checkpoint every `checkpoint_interval_ms`.
pub(crate) fn queue_flusher(shared: &Shared) {
    let interval = Duration::from_millis(shared.config.queue_flush_interval_ms);
    let checkpoint_interval = Duration::from_millis(shared.config.checkpoint_interval_ms);
    let mut checkpoint_due: Option<Instant> = None;
    loop {
        match checkpoint_due {
            None => shared.queue_bell.wait(),
            Some(due) => {
                shared.queue_bell.wait_at_most(due.saturating_duration_since(Instant::now()));
            }
        }
        if shared.stopping() {
            return;
        }
        // Before the units that came since: what the log had when those before were written is behind the page that is
        // being written to, and need not wait for it.
        if checkpoint_due.is_some_and(|due| due <= Instant::now()) {
            checkpoint_due = None;
            if let Err(error) = shared.checkpoint(false) {
                tracing::warn!(%error, "cannot write the checkpoint");
                checkpoint_due = Some(Instant::now() + checkpoint_interval);
            }
        }
        if lock(&shared.writer).queues_due {
            // Units gather for a while; too many of them, or the end, ring before that.
            shared.queue_bell.wait_at_most(interval);
            if shared.stopping() {
                return;
            }
            if let Err(error) = lock(&shared.queue_flusher).flush(shared) {
                tracing::warn!(%error, "cannot write a consume queue; its units stay in memory");
                lock(&shared.writer).queues_due = true;
                shared.queue_bell.wait_at_most(RETRY);
                shared.queue_bell.ring();
            }
            // The index needs no bell of its own at the appends.
            if let Some(index) = &shared.index {
                index.ring();
            }
            checkpoint_due.get_or_insert_with(|| Instant::now() + checkpoint_interval);
        }
    }
}

/// Has pages and the next segment ready before the log's end gets there.
pub(crate) fn prepare(shared: &Shared) {
    #[cfg(target_os = "linux")]
    {
        let this = Some(rustix::thread::gettid());
        let _ = rustix::process::getpriority_process(this)
            .and_then(|nice| rustix::process::setpriority_process(this, nice + NICE));
    }
    let mut populated = 0;
    let mut last = (Instant::now(), shared.log.end());
    loop {
        shared.prepare_bell.wait();
        if shared.stopping() {
            return;
        }
        let (now, end) = (Instant::now(), shared.log.end());
        let per_second = (end - last.1) as f64 / (now - last.0).as_secs_f64().max(f64::MIN_POSITIVE);
        last = (now, end);
        let segment_size = shared.config.segment_size_bytes;
        let ahead = (per_second * POPULATE_TIME.as_secs_f64()) as u64;
        // Half a segment, as there is one spare at most, from the middle of the current one on.
        let to = end + ahead.clamp(POPULATE_MIN, POPULATE_MAX).min(segment_size / 2);
        prepare_segment(shared);
        let large = shared.config.flush != FlushMode::Sync && per_second > LARGE_PAGES_FROM;
        populated = populated.max(end);
        // In steps, as the end goes on meanwhile and may have passed some of them.
        while populated < to {
            let step = (to - populated).min(PREPARE_STEP);
            shared.log.populate(populated, step, large);
            populated = (populated + step).max(shared.log.end());
        }
    }
}

/// Makes the next segment once the current one is half full.
pub(crate) fn prepare_segment(shared: &Shared) {
    let segment_size = shared.config.segment_size_bytes;
    if shared.log.end() % segment_size >= segment_size / 2 {
        // A full disk is no trouble before the current segment is full, and reported when tried.
        let _ = shared.log.prepare_spares(1);
    }
}
