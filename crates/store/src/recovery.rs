// SPDX-License-Identifier: Apache-2.0
//! From the files of a store that was closed, or was not, to one that can go on.
//!
//! 1. Choose where to start: everything below is known to be whole, in the log and in the queues.
//! 2. Walk the log from there to its end (`CommitLog::walk` says what becomes of damage), and add each record to its
//!    queue. Only queues that have records there are opened, less what their files say about records from the start on:
//!    a crash may have left parts of that.
//! 3. Cut what follows the end.
//!
//! All other queues are opened when someone asks for them. After a crash they, too, may have units of records from the
//! start on, namely of such as the log lost. They are dropped when the queue is opened. But once the checkpoint has moved
//! on, they could not be told from others. So it does not, and the next crash has us start here again, until the thread
//! `store-rebuild` has seen all queues.
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
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use oxmq_record::{RecordView, sys_flag};
use oxmq_types::{PhysicalOffset, TagsCode};

use crate::{
    checkpoint::{Checkpoint, Mark},
    dispatch::Dispatch,
    error::{OpenError, QueueError, QueueFileError},
    log::{CommitLog, file_at},
    progress::Progress,
    queue::Queue,
    registry::{Limits, Registry},
    sync::write,
};

/// Java's allowance for clocks and order, in ms. `StoreCheckpoint#getMinTimestamp`.
const CHECKPOINT_ALLOWANCE_MS: u64 = 3_000;

/// Gives a record found by recovery its tags code.
pub type TagsRule = Box<dyn Fn(&RecordView<'_>) -> TagsCode + Send + Sync>;

/// What recovery found.
#[derive(Default)]
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
        *write(&registry.limits) = Limits { limit: 0, torn: true };
        return Ok(Recovered::default());
    };
    let limit = last + log.segment_size;
    let mark = checkpoint.mark.filter(|mark| holds(log, mark, min, limit));

    let removed = registry.is_empty() && !mark.is_some_and(|mark| mark.no_queues);
    let is_end = |end: u64| end > last && log.is_end(end) && !removed;
    if let Some(mark) = mark.filter(|mark| mark.clean && !crashed && is_end(mark.dispatched.0)) {
        let end = mark.dispatched.0;
        log.publish(end);
        *write(&registry.limits) = Limits { limit: end, torn: false };
        let last_record = mark.last_record.0;
        let last_timestamp_ms = log.store_timestamp(last_record).unwrap_or(0);
        return Ok(Recovered {
            start: end,
            end,
            last_record,
            last_timestamp_ms,
            clean: true,
            ..Recovered::default()
        });
    }

    let began = Instant::now();
    let (start, durable, known) = if removed {
        (min, mark.map_or(min, |mark| mark.dispatched.0), Limits { limit: min, torn: true })
    } else if crashed {
        let marked = mark.map_or(min, |mark| mark.dispatched.0);
        let start = marked.max(by_timestamps(log, &starts, (checkpoint, mark)));
        (start, start, Limits { limit: start, torn: true })
    } else {
        let known = Limits { limit: u64::MAX, torn: false };
        *write(&registry.limits) = known;
        let end = known_end(registry, min, limit)?;
        let inside = end.saturating_sub(1);
        let mut start = (inside - inside % log.segment_size).clamp(min, last);
        // A queue may know of a message that a cut took away, in a segment that has been empty since.
        while start > min && log.is_end(start) {
            start -= log.segment_size;
        }
        // Records below the mark must not be dispatched again: their topics may have been deleted.
        let marked = mark.map_or(min, |mark| mark.dispatched.0);
        (start.max(marked), end.max(marked), known)
    };
    *write(&registry.limits) = known;

    let mut found = Recovered { start, last_record: start, ..Recovered::default() };
    if let Some(mark) = mark.filter(|mark| mark.dispatched.0 == start) {
        found.last_record = mark.last_record.0;
    }
    let mut dispatch = Dispatch::new(tags_rule, registry.since.load(Ordering::Relaxed));
    let mut progress = Progress::new("recovering the commit log", start, limit);
    let damaged = log.passed_over();
    found.end = log.walk(start, limit, durable, |bytes| {
        let Ok(record) = RecordView::parse(bytes) else { return Ok(()) };
        found.last_record = record.physical_offset().0;
        found.last_timestamp_ms = record.store_timestamp_ms();
        progress.at(found.last_record);
        let enters = sys_flag::enters_consume_queue(record.sys_flag());
        if !enters || registry.was_deleted(record.topic(), found.last_record) {
            return Ok(());
        }
        match registry.get(record.topic(), record.queue_id()) {
            Ok(queue) => {
                // Unless the records that are missing are older than the start, or the list does not know them, they
                // are lost.
                let whole = start == min || log.passed_over() > damaged;
                if !dispatch.add(Arc::clone(&queue), &record, whole).map_err(file_error)? {
                    queue.condemn(queue.max_offset().0);
                    registry.remember(&queue, 0);
                    let why = "it ends before the first record that recovery found";
                    registry.files.suspect(record.topic(), record.queue_id(), 0, why);
                }
            }
            Err(QueueError::File(error)) => return Err(file_error(error)),
            Err(QueueError::Rebuilding { .. }) => {}
            Err(error) => {
                tracing::warn!(offset = found.last_record, %error, "record of a topic that cannot be");
            }
        }
        Ok(())
    })?;
    found.dirty = dispatch.finish().map_err(file_error)?;
    let end = found.end;
    found.start = start.min(end);
    let bytes = log.cut(end).map_err(|source| OpenError::Io { path: log.dir.clone(), source })?;
    if bytes > 0 {
        let file = file_at(&log.dir, end - end % log.segment_size);
        tracing::warn!(
            file = %file.display(), offset = end, cut_bytes = bytes,
            "the commit log did not end with a whole record; what followed the last one was cut"
        );
    }
    log.publish(end);
    registry.log_ends_at(end).map_err(file_error)?;
    if found.last_timestamp_ms == 0 {
        found.last_timestamp_ms = log.store_timestamp(found.last_record).unwrap_or(0);
    }
    if !known.torn {
        // Queues were seen as they are; what they say about records that are not there does not count.
        *write(&registry.limits) = Limits { limit: end, torn: false };
        registry.unseen.store(false, Ordering::Release);
    }
    if removed {
        registry.unseen.store(false, Ordering::Release);
        *write(&registry.limits) = Limits { limit: u64::MAX, torn: false };
    }
    progress.done();
    tracing::info!(
        from = start,
        end,
        elapsed_ms = began.elapsed().as_millis() as u64,
        crashed,
        "commit log recovered"
    );
    Ok(found)
}

/// Up to where queues know of records, as their files say that a Java broker closed.
fn known_end(registry: &Registry, min: u64, limit: u64) -> Result<u64, OpenError> {
    let known = AtomicU64::new(min);
    let seen = registry.see_all(&AtomicBool::new(false), |queue| {
        let end = queue.last_end()?.filter(|end| *end <= limit);
        known.fetch_max(end.unwrap_or(0), Ordering::Relaxed);
        Ok(())
    });
    seen.map_err(|error| match error {
        QueueError::File(error) => file_error(error),
        other => OpenError::Io { path: registry.files.dir.clone(), source: std::io::Error::other(other) },
    })?;
    Ok(known.into_inner())
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

fn file_error(error: QueueFileError) -> OpenError {
    OpenError::Io { path: error.path, source: error.source }
}
