// SPDX-License-Identifier: Apache-2.0
//! How records get into the log: everything that an append does, behind the one lock that it takes.
//!
//! Java: `CommitLog`, `DefaultAppendMessageCallback`.

use std::sync::Arc;

use oxmq_record::{
    BLANK_SIZE_MIN, Peeked, RECORD_SIZE_MIN, RecordView, peek_size_and_magic, stamp, sys_flag, write_blank,
};
use oxmq_types::{PhysicalOffset, QueueOffset, TagsCode};

use crate::{
    error::AppendError,
    log::LogSegment,
    queue::{Added, Queue},
    retention::DiskUse,
    store::{Shared, Store},
    sync::{Bell, lock},
    unit::Unit,
};

/// Units in memory at which their flusher is woken before its time.
const UNITS_WAITING_SOFT: usize = 256 * 1024;
/// Units in memory at which appending stops: about 100 MB that cannot be written.
const UNITS_WAITING_HARD: usize = 4 * 1024 * 1024;
/// After so many bytes, the thread that prepares pages and segments is woken.
pub(crate) const PREPARE_STEP: u64 = 1024 * 1024;

/// Where a record went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Its ordinal in the queue; 0 for records that get no consume queue unit.
    pub queue_offset: QueueOffset,
    /// Where it starts in the commit log.
    pub physical: PhysicalOffset,
    /// Where it ends: what [`Store::wait_flushed`] is to wait for.
    pub end: PhysicalOffset,
    /// The store time that it was given, in ms since 1970.
    pub store_timestamp_ms: i64,
}

/// One record of several that are appended together.
#[derive(Debug, Clone)]
pub struct Entry<'a> {
    /// The queue it belongs to; the record must say the same.
    pub queue: &'a Arc<Queue>,
    /// Where it lies in the bytes that are given along, as `Encoder::encode` returned it.
    pub range: std::ops::Range<usize>,
    /// What its consume queue unit carries.
    pub tags_code: TagsCode,
}

/// Everything that an append changes, behind the one lock that it takes.
pub(crate) struct Writer {
    pub(crate) current: Option<Arc<LogSegment>>,
    /// The end of the log, as published.
    pub(crate) end: u64,
    /// Where the record that ends there starts; `end` if there is none.
    pub(crate) last_record: u64,
    pub(crate) last_timestamp_ms: i64,
    /// Queues with a tail that the queue flusher has not taken over yet.
    pub(crate) dirty: Vec<Arc<Queue>>,
    /// Units in tails of queues.
    pub(crate) units_waiting: usize,
    /// Why units cannot be written, as long as they cannot.
    pub(crate) queues_stuck: Option<String>,
    /// The log flusher knows that there is something to flush.
    pub(crate) flush_due: bool,
    /// The queue flusher knows that there is something to flush.
    pub(crate) queues_due: bool,
    /// When the end passes this, the preparing thread is woken.
    pub(crate) prepare_at: u64,
    /// Set for ever by a failed fsync.
    pub(crate) poisoned: Option<String>,
    /// How full the disks are, while that is too much.
    pub(crate) disk_full: Option<DiskUse>,
    pub(crate) closed: bool,
}

impl Store {
    /// Appends one record, as `Encoder::encode` made it: fixes its queue offset, physical offset and store time,
    /// writes all three into it, and copies it into the log. When this returns, readers of the queue see it.
    ///
    /// # Errors
    /// [`AppendError`]; the store is unchanged then.
    /// Java: `CommitLog#asyncPutMessage`.
    pub fn append(
        &self,
        queue: &Arc<Queue>,
        record: &mut [u8],
        tags_code: TagsCode,
    ) -> Result<Appended, AppendError> {
        let shared = &*self.shared;
        check_record(record, shared.config.segment_size_bytes)?;
        let mut writer = lock(&shared.writer);
        writer.check()?;
        if !shared.fits(&writer, record.len()) {
            shared.prepare_spares(1)?;
            shared.roll(&mut writer);
        }
        let appended = shared.write(&mut writer, queue, record, tags_code, shared.now_ms())?;
        let bells = shared.bells(&mut writer);
        drop(writer);
        bells.into_iter().flatten().for_each(Bell::ring);
        Ok(appended)
    }

    /// Appends several records under one lock, in their order: all or none. Results are appended to `out`.
    ///
    /// If they fit into one segment, they go into one. If a power loss takes one of them, recovery takes those behind
    /// it, too: it cuts the log at the first hole.
    ///
    /// # Errors
    /// As [`Self::append`].
    pub fn append_all(
        &self,
        records: &mut [u8],
        entries: &[Entry<'_>],
        out: &mut Vec<Appended>,
    ) -> Result<(), AppendError> {
        let shared = &*self.shared;
        let size = shared.config.segment_size_bytes;
        for entry in entries {
            check_record(records.get(entry.range.clone()).unwrap_or_default(), size)?;
        }
        let mut writer = lock(&shared.writer);
        writer.check()?;
        if let Some(entry) = entries.iter().find(|entry| entry.queue.appending().is_none()) {
            return Err(unavailable(entry.queue));
        }
        // Everything that can fail comes before the first byte is written.
        let mut left = writer.remaining(size);
        let mut rolls = 0;
        let total = (entries.iter().map(|entry| entry.range.len()).sum::<usize>() + BLANK_SIZE_MIN) as u64;
        let together = total <= size && total > left;
        if together {
            (rolls, left) = (1, size);
        }
        for entry in entries {
            let needed = (entry.range.len() + BLANK_SIZE_MIN) as u64;
            if needed > left {
                rolls += 1;
                left = size;
            }
            left -= entry.range.len() as u64;
        }
        shared.prepare_spares(rolls)?;
        if together {
            shared.roll(&mut writer);
        }
        let now = shared.now_ms();
        for entry in entries {
            let record = &mut records[entry.range.clone()];
            if !shared.fits(&writer, record.len()) {
                shared.roll(&mut writer);
            }
            out.push(shared.write(&mut writer, entry.queue, record, entry.tags_code, now)?);
        }
        let bells = shared.bells(&mut writer);
        drop(writer);
        bells.into_iter().flatten().for_each(Bell::ring);
        Ok(())
    }
}

impl Writer {
    pub(crate) fn check(&self) -> Result<(), AppendError> {
        if self.closed {
            return Err(AppendError::Closed);
        }
        if let Some(reason) = &self.poisoned {
            return Err(AppendError::Poisoned { reason: reason.clone() });
        }
        if let Some(used) = self.disk_full {
            return Err(AppendError::DiskNearlyFull(used));
        }
        if self.units_waiting >= UNITS_WAITING_HARD {
            let reason = self.queues_stuck.clone().unwrap_or_else(|| "the disk is too slow".to_owned());
            return Err(AppendError::QueuesStuck { units: self.units_waiting, reason });
        }
        Ok(())
    }

    /// Bytes between the end and the end of the current segment.
    fn remaining(&self, segment_size: u64) -> u64 {
        self.current.as_ref().map_or(0, |current| current.start + segment_size - self.end)
    }
}

impl Shared {
    fn fits(&self, writer: &Writer, size: usize) -> bool {
        (size + BLANK_SIZE_MIN) as u64 <= writer.remaining(self.config.segment_size_bytes)
    }

    fn prepare_spares(&self, count: usize) -> Result<(), AppendError> {
        if count == 0 {
            return Ok(());
        }
        self.log.prepare_spares(count).map_err(|reason| AppendError::DiskFull { reason })
    }

    /// Goes on in the next segment, which must be ready; fills the rest of the current one.
    fn roll(&self, writer: &mut Writer) {
        let remaining = writer.remaining(self.config.segment_size_bytes);
        if let Some(current) = &writer.current
            && remaining >= BLANK_SIZE_MIN as u64
        {
            let mut blank = [0; BLANK_SIZE_MIN];
            write_blank(&mut blank, remaining as u32);
            current.map.write((writer.end - current.start) as usize, &blank);
        }
        if let Some(next) = self.log.take_spare() {
            writer.end = next.start;
            writer.current = Some(next);
            writer.prepare_at = writer.end;
            self.cleaning.bell.ring();
        }
    }

    /// Stamps `record` and copies it to the end of the current segment, where it fits.
    fn write(
        &self,
        writer: &mut Writer,
        queue: &Arc<Queue>,
        record: &mut [u8],
        tags_code: TagsCode,
        now_ms: i64,
    ) -> Result<Appended, AppendError> {
        let dispatched = RecordView::sys_flag_of(record).is_some_and(sys_flag::enters_consume_queue);
        let Some(appending) = queue.appending() else { return Err(unavailable(queue)) };
        let queue_offset = if dispatched { appending.offset() } else { QueueOffset(0) };
        let physical = PhysicalOffset(writer.end);
        stamp(record, queue_offset, physical, now_ms);
        if let Some(current) = &writer.current {
            current.map.write((writer.end - current.start) as usize, record);
        }
        writer.last_record = writer.end;
        writer.last_timestamp_ms = now_ms;
        writer.end += record.len() as u64;
        // INVARIANT: published only after the bytes were written; a unit only after its record was published.
        self.log.publish(writer.end);
        if dispatched {
            let unit = Unit { physical, size: record.len() as u32, tags_code };
            if let Added::FirstOfTail = appending.push(unit) {
                writer.dirty.push(Arc::clone(queue));
            }
            writer.units_waiting += 1;
        }
        let end = PhysicalOffset(writer.end);
        Ok(Appended { queue_offset, physical, end, store_timestamp_ms: now_ms })
    }

    /// The bells of the threads that have work now and do not know it yet. To be rung when the writer is let go: a
    /// thread that wakes may take the core of the one that rings, and all other writers would wait for both.
    fn bells(&self, writer: &mut Writer) -> [Option<&Bell>; 3] {
        let flush = !std::mem::replace(&mut writer.flush_due, true);
        let queues =
            !std::mem::replace(&mut writer.queues_due, true) || writer.units_waiting == UNITS_WAITING_SOFT;
        let prepare = writer.end >= writer.prepare_at;
        if prepare {
            writer.prepare_at = writer.end + PREPARE_STEP;
        }
        [
            flush.then_some(&self.flush_bell),
            queues.then_some(&self.queue_bell),
            prepare.then_some(&self.prepare_bell),
        ]
    }
}

fn check_record(record: &[u8], segment_size: u64) -> Result<(), AppendError> {
    let declared = match peek_size_and_magic(record) {
        Peeked::Message { size } => size,
        _ => 0,
    };
    if record.len() < RECORD_SIZE_MIN || declared as usize != record.len() {
        return Err(AppendError::NotARecord { found: record.len(), declared });
    }
    if (record.len() + BLANK_SIZE_MIN) as u64 > segment_size {
        return Err(AppendError::TooLarge { size: record.len(), segment_size });
    }
    Ok(())
}

/// Why a queue takes no units.
fn unavailable(queue: &Queue) -> AppendError {
    let (topic, queue_id) = (queue.topic().to_owned(), queue.queue_id().0);
    if queue.is_deleted() {
        AppendError::QueueDeleted { topic, queue_id }
    } else {
        AppendError::QueueRebuilding { topic, queue_id }
    }
}
