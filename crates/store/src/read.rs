// SPDX-License-Identifier: Apache-2.0
//! How records get out: from memory without waiting, or from the disk; and never a damaged one.
//!
//! What this process wrote itself and is near the end of the log is **hot**: it is taken to be in the page cache and to
//! be what was written, and readers get slices of the mapping without a system call. Of everything else the kernel is
//! asked whether it is in memory, and each record is checked before it is given. What is not in memory is read by whoever
//! may wait for a disk ([`Access::Disk`]), into memory of its own (`cold`): a page of the mapping that has to be read
//! would stop a thread in the middle of anything, and a sector that cannot be read would be a SIGBUS.
//!
//! Java: `CommitLog#getMessage`; there the page fault is the reader's, and nothing is checked.

use std::{
    fmt, io,
    ops::Range,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use oxmq_record::{BLANK_SIZE_MIN, MAX_STAMPED_PREFIX, Peeked, RecordError, RecordView, peek_size_and_magic};
use oxmq_types::QueueOffset;

use crate::{
    cold::Stretch,
    log::{CommitLog, LogSegment, file_at},
    queue::Queue,
    sync::lock,
    unit::Unit,
};

/// The kernel is asked about so many bytes at once: one system call for a usual pull.
const PROBED_AT_ONCE: u64 = 256 * 1024;
/// Reading ahead is worth it if at least one of so many bytes is for the reader; others may want the rest.
const WORTH_READING_AHEAD: u64 = 32;
/// Beginnings of so many records are fetched at once: as many as a usual pull gets.
const FETCHED_AT_ONCE: usize = 32;
/// Longest pause between two lines about damage.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// Topics of queues that hold messages of other topics. Java: `MixAll.LMQ_PREFIX`.
pub(crate) const LMQ_PREFIX: &str = "%LMQ%";

/// How far a reader goes for what it wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Only to memory: it never waits for a disk.
    Memory,
    /// To the disk.
    Disk,
}

/// Why a record is not given.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The log does not have it: not any more, or not yet.
    #[error("the commit log does not have it")]
    Gone,
    /// It is not in memory, and [`Access::Memory`] goes no further.
    #[error("not in memory")]
    Cold,
    /// What stands there is not what was stored. It was reported and counted.
    #[error("the record is damaged")]
    Damaged,
    /// The disk cannot give it. It may be able to the next time.
    #[error("commit log file {} at {offset}: {source}", file.display())]
    Disk {
        /// The file.
        file: PathBuf,
        /// Where the record starts, in the whole log.
        offset: u64,
        /// What the system says.
        source: io::Error,
    },
}

/// What is wrong with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Damage {
    /// No record stands there.
    Record(RecordError),
    /// The record says that it stands elsewhere.
    Place(u64),
    /// The record, or what is left of its file, is not as long as its queue says.
    Size,
    /// The body is not the one that was stored.
    Body,
    /// Something of the record, which has a checksum of all of it, is not what was stored.
    Checksum,
    /// Its end is zeros, as is what follows it.
    Zeros,
    /// It is of another queue, or has another place in it.
    Queue,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record(error) => error.fmt(f),
            Self::Place(found) => write!(f, "the record says that it stands at {found}"),
            Self::Size => f.write_str("the record is not as long as its queue says"),
            Self::Body => f.write_str("the body does not have its checksum"),
            Self::Checksum => f.write_str("the record does not have its checksum"),
            Self::Zeros => f.write_str("its end is zeros, and no record follows it"),
            Self::Queue => f.write_str("the record is of another queue, or has another offset in it"),
        }
    }
}

/// The record that `bytes` begin with, if it is whole, undamaged and stands at `at`: the one check of everything that is
/// read and not hot, and of recovery.
pub(crate) fn checked(bytes: &[u8], at: u64) -> Result<RecordView<'_>, Damage> {
    let record = RecordView::parse(bytes).map_err(Damage::Record)?;
    if record.physical_offset().0 != at {
        return Err(Damage::Place(record.physical_offset().0));
    }
    if !record.verify_crc() {
        return Err(Damage::Body);
    }
    if record.verify_checksum() == Some(false) {
        return Err(Damage::Checksum);
    }
    Ok(record)
}

/// True if some of the record's topic or properties, which no checksum covers, seems never to have reached the disk:
/// what of them lies in one sector is all zeros. The same for a record that ends with a zero: it is followed by what
/// never reached the disk, or was set to zero.
///
/// Names and values rarely hold zeros, but nothing forbids them. So this is asked only of what a power loss may have
/// kept from the disk; and a record whose checksum covers all of it needs nobody's guess.
pub(crate) fn has_lost_sector(record: &RecordView<'_>) -> bool {
    const SECTOR: u64 = 512;
    if record.verify_checksum() == Some(true) {
        return false;
    }
    if record.properties().last() == Some(&0) {
        return true;
    }
    let at = record.physical_offset().0;
    record.unchecked_ranges().into_iter().any(|range| {
        let (mut from, end) = (range.start, range.end);
        while from < end {
            let to = end.min(from + (SECTOR - (at + from as u64) % SECTOR) as usize);
            if record.bytes()[from..to].iter().all(|&byte| byte == 0) {
                return true;
            }
            from = to;
        }
        false
    })
}

/// True if one flipped bit makes the queue that `record` names of `queue`.
fn one_bit_apart(record: &RecordView<'_>, queue: &Queue) -> bool {
    let (found, wanted) = (record.topic().as_bytes(), queue.topic().as_bytes());
    let in_topic: u32 = found.iter().zip(wanted).map(|(found, wanted)| (found ^ wanted).count_ones()).sum();
    let in_id = (record.queue_id().0 ^ queue.queue_id().0).count_ones();
    found.len() == wanted.len() && in_topic + in_id == 1
}

/// Where another record or filler follows one whose properties end with a zero, in a log that goes to `end`. Zeros there
/// tell that the log was set to zero from somewhere in the properties on. Nothing tells that of the last record.
pub(crate) fn behind_zero(record: &RecordView<'_>, end: u64, segment_size: u64) -> Option<u64> {
    let next = record.physical_offset().0 + u64::from(record.size());
    (record.properties().last() == Some(&0) && !next.is_multiple_of(segment_size) && next < end)
        .then_some(next)
}

/// The queue that a record is read for, and its place in it.
type Owner<'a> = (&'a Queue, QueueOffset);

/// Damage that was met, for those who look.
#[derive(Debug, Default)]
pub(crate) struct DamageReports {
    met: AtomicU64,
    /// When the next line may be written, and how many were not since the last one.
    silence: Mutex<(Option<Instant>, u64)>,
}

impl DamageReports {
    /// How often a damaged or unreadable record was met, each time that one was.
    pub(crate) fn met(&self) -> u64 {
        self.met.load(Ordering::Relaxed)
    }

    fn add(&self, log: &CommitLog, at: u64, owner: Option<Owner<'_>>, what: &dyn fmt::Display) {
        self.met.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        let unsaid = {
            let (until, unsaid) = &mut *lock(&self.silence);
            if until.is_some_and(|until| now < until) {
                *unsaid += 1;
                return;
            }
            *until = Some(now + REPORT_EVERY);
            std::mem::take(unsaid)
        };
        let file = log.file_of(at);
        let (file, topic) = (file.display(), owner.map(|(queue, _)| queue.topic()));
        let (queue, queue_offset) =
            (owner.map(|(queue, _)| queue.queue_id().0), owner.map(|owner| owner.1.0));
        tracing::error!(
            %file, offset = at, topic, queue, queue_offset, others_unsaid = unsaid, %what,
            "a record of the commit log cannot be given"
        );
    }
}

/// Reads the records of one pull, or of whoever else reads several.
pub(crate) struct LogReader<'a> {
    log: &'a CommitLog,
    access: Access,
    /// What comes next in the log will be wanted as well.
    ahead: bool,
    hot_from: u64,
    /// The segment that was read last.
    segment: Option<Arc<LogSegment>>,
    /// A part of the log that is in memory.
    resident: Range<u64>,
    /// What was read from the disk last.
    stretch: Option<Stretch>,
}

impl<'a> LogReader<'a> {
    pub(crate) fn new(log: &'a CommitLog, access: Access) -> Self {
        Self {
            log,
            access,
            ahead: false,
            hot_from: log.hot_from(),
            segment: None,
            resident: 0..0,
            stretch: None,
        }
    }

    /// Has it read ahead if these, which will be asked for, lie so close together that it is worth it.
    pub(crate) fn expect(&mut self, units: &[Unit]) {
        let mut units = units.iter().filter(|unit| !unit.is_filler());
        let Some(first) = units.clone().next().map(|unit| unit.physical.0) else { return };
        let end = units.clone().next_back().map_or(0, |last| last.physical.0 + u64::from(last.size));
        let theirs: u64 = units.by_ref().map(|unit| u64::from(unit.size)).sum();
        self.ahead = theirs.saturating_mul(WORTH_READING_AHEAD) >= end.saturating_sub(first);
    }

    /// Has the processor fetch the beginnings of the hot ones of these, all at once. They lie far from each other: one
    /// after the other each would be waited for.
    pub(crate) fn fetch(&mut self, units: &[Unit]) {
        let hot = self.hot_from..self.log.end();
        for at in units.iter().take(FETCHED_AT_ONCE).map(|unit| unit.physical.0).filter(|at| hot.contains(at))
        {
            if let Some(segment) = segment(&mut self.segment, self.log, at) {
                segment.map.fetch((at - segment.start) as usize);
            }
        }
    }

    /// True if something was given that lies in a stretch, all of which stays in memory as long as it is kept.
    pub(crate) fn gave_stretch(&self) -> bool {
        self.stretch.is_some()
    }

    /// The record that `unit` points to, which `owner` has if it is told.
    pub(crate) fn unit(&mut self, unit: &Unit, owner: Option<Owner<'_>>) -> Result<Bytes, ReadError> {
        let (at, size) = (unit.physical.0, u64::from(unit.size));
        let log = self.log;
        let damaged = |damage: Damage| {
            log.damage.add(log, at, owner, &damage);
            ReadError::Damaged
        };
        // What points to something else than a damaged record is damaged itself.
        let misled = |damage: Damage| {
            if let Some((queue, offset)) = owner {
                queue.suspect_unit(offset, &damage);
            }
            damaged(damage)
        };
        if unit.is_filler() || at >= self.log.end() {
            return Err(ReadError::Gone);
        }
        if at + size > self.log.end() || at % self.log.segment_size + size > self.log.segment_size {
            return Err(misled(Damage::Size));
        }
        let bytes = self.bytes(at, size, owner)?;
        if at >= self.hot_from {
            // A unit of an older queue file may point anywhere.
            return match peek_size_and_magic(&bytes) {
                Peeked::Message { size } if size == unit.size => Ok(bytes),
                _ => Err(misled(Damage::Size)),
            };
        }
        let record = match checked(&bytes, at) {
            Ok(record) => record,
            Err(damage) => {
                let size = match peek_size_and_magic(&bytes) {
                    Peeked::Message { size } => size,
                    _ => 0,
                };
                let place = RecordView::physical_offset_of(&bytes).is_some_and(|found| found.0 == at);
                let in_segment = at % self.log.segment_size + u64::from(size) <= self.log.segment_size;
                let is_longer = size > unit.size
                    && in_segment
                    && self.bytes(at, u64::from(size), owner).is_ok_and(|bytes| checked(&bytes, at).is_ok());
                let is_here = size == unit.size || (place && !is_longer);
                return Err(if is_here { damaged(damage) } else { misled(damage) });
            }
        };
        if record.size() != unit.size {
            return Err(misled(Damage::Size));
        }
        if self.is_cut(&record, owner)? {
            return Err(damaged(Damage::Zeros));
        }
        if let Some((queue, offset)) = owner
            && !queue.topic().starts_with(LMQ_PREFIX)
        {
            let same = record.topic() == queue.topic() && record.queue_id() == queue.queue_id();
            if same && record.queue_offset() != offset {
                // A flipped bit in the record; unless the unit with the number that it has then points to it as well.
                let claimed = queue.unit(record.queue_offset().0).ok().flatten();
                let is_its = claimed.is_some_and(|claimed| claimed.physical.0 == at);
                let flipped = (record.queue_offset().0 ^ offset.0).count_ones() == 1 && !is_its;
                return Err(if flipped { damaged(Damage::Queue) } else { misled(Damage::Queue) });
            }
            if !same {
                return Err(match one_bit_apart(&record, queue) {
                    true => damaged(Damage::Queue),
                    false => misled(Damage::Queue),
                });
            }
        }
        Ok(bytes)
    }

    /// The record at `at`, which may be anybody's guess.
    pub(crate) fn record_at(&mut self, at: u64) -> Result<Bytes, ReadError> {
        let head = self.head(at)?;
        let Peeked::Message { size } = peek_size_and_magic(&head) else { return Err(ReadError::Gone) };
        let rest = self.left(at)?;
        if u64::from(size) > rest {
            return Err(ReadError::Gone);
        }
        let bytes = self.bytes(at, u64::from(size), None)?;
        let is_whole = match checked(&bytes, at) {
            Ok(record) if self.is_cut(&record, None)? => Err(Damage::Zeros),
            Ok(_) => Ok(()),
            Err(damage) => Err(damage),
        };
        match is_whole {
            Ok(()) => Ok(bytes),
            // Somebody guessed.
            Err(Damage::Record(_) | Damage::Place(_)) => Err(ReadError::Gone),
            Err(damage) => {
                self.log.damage.add(self.log, at, None, &damage);
                Err(ReadError::Damaged)
            }
        }
    }

    /// True if the log was set to zero from somewhere in the properties of `record` on.
    fn is_cut(&mut self, record: &RecordView<'_>, owner: Option<Owner<'_>>) -> Result<bool, ReadError> {
        let Some(next) = behind_zero(record, self.log.end(), self.log.segment_size) else { return Ok(false) };
        let head = self.left(next)?.min(BLANK_SIZE_MIN as u64);
        Ok(self.bytes(next, head, owner)?.iter().all(|&byte| byte == 0))
    }

    /// The store time of the record at `at`.
    pub(crate) fn store_timestamp(&mut self, at: u64) -> Result<i64, ReadError> {
        let head = self.head(at)?;
        RecordView::store_timestamp_of(&head).ok_or(ReadError::Gone)
    }

    /// The first bytes of what stands at `at`.
    fn head(&mut self, at: u64) -> Result<Bytes, ReadError> {
        let size = self.left(at)?.min(MAX_STAMPED_PREFIX as u64);
        self.bytes(at, size, None)
    }

    /// Bytes from `at` to the published end, or to that of the segment.
    fn left(&self, at: u64) -> Result<u64, ReadError> {
        let published = self.log.end().checked_sub(at).filter(|left| *left > 0).ok_or(ReadError::Gone)?;
        Ok(published.min(self.log.segment_size - at % self.log.segment_size))
    }

    /// Published bytes within one segment.
    fn bytes(&mut self, at: u64, size: u64, owner: Option<Owner<'_>>) -> Result<Bytes, ReadError> {
        let segment = segment(&mut self.segment, self.log, at).ok_or(ReadError::Gone)?;
        let slice = || {
            let from = (at - segment.start) as usize;
            segment.map.slice(from..from + size as usize)
        };
        let known = |range: &Range<u64>| range.start <= at && at + size <= range.end;
        if at >= self.hot_from || known(&self.resident) {
            return Ok(slice());
        }
        if let Some(bytes) = self.stretch.as_ref().and_then(|stretch| stretch.get(at, size)) {
            return Ok(bytes);
        }
        let log = self.log;
        let stretch = match log.cold.find(at, size) {
            Some(stretch) => stretch,
            None => {
                let from = (at - segment.start) as usize;
                let to = (log.end() - segment.start).min(log.segment_size) as usize;
                let to = to.min(from + (PROBED_AT_ONCE.max(size)) as usize);
                self.resident = log.cold.untouched(at..at + segment.map.resident(from..to) as u64);
                if known(&self.resident) {
                    return Ok(slice());
                }
                if self.access == Access::Memory {
                    return Err(ReadError::Cold);
                }
                let end = log.end().min(segment.start + log.segment_size);
                let read = log.cold.read(segment, (at, size), (end, self.ahead), log.cold_bytes());
                read.map_err(|source| {
                    log.damage.add(log, at, owner, &source);
                    ReadError::Disk { file: file_at(&log.dir, segment.start), offset: at, source }
                })?
            }
        };
        let bytes = stretch.get(at, size).ok_or(ReadError::Gone)?;
        self.stretch = Some(stretch);
        Ok(bytes)
    }
}

/// The segment that holds the byte `at`: the one that was `kept`, or else it is kept.
fn segment<'k>(
    kept: &'k mut Option<Arc<LogSegment>>,
    log: &CommitLog,
    at: u64,
) -> Option<&'k Arc<LogSegment>> {
    let is_it = |kept: &Arc<LogSegment>| (kept.start..kept.start + log.segment_size).contains(&at);
    if !kept.as_ref().is_some_and(is_it) {
        *kept = log.segment(at);
    }
    kept.as_ref()
}

/// Reads messages of one queue.
pub struct Reader<'a> {
    queue: &'a Queue,
    log: LogReader<'a>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(log: &'a CommitLog, queue: &'a Queue, access: Access) -> Self {
        Self { queue, log: LogReader::new(log, access) }
    }

    /// Appends to `out` up to `max` units from `from` on; as [`Queue::read_units`]. True if there are more that only the
    /// disk has, and none was appended.
    ///
    /// # Errors
    /// [`crate::QueueFileError`] if a file cannot be read.
    pub fn units(
        &mut self,
        from: QueueOffset,
        max: usize,
        out: &mut Vec<Unit>,
    ) -> Result<bool, crate::QueueFileError> {
        let cold = self.queue.units(from, max, self.log.access, out)?;
        match self.log.access {
            Access::Disk => self.log.expect(out),
            Access::Memory => self.log.fetch(out),
        }
        Ok(cold)
    }

    /// The record of the message at `offset`, to which `unit` points. What is given is whole and undamaged, and lies in
    /// the queue there.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn record(&mut self, offset: QueueOffset, unit: &Unit) -> Result<Bytes, ReadError> {
        self.log.unit(unit, Some((self.queue, offset)))
    }

    /// True if some of the records given lie in buffers of which they keep more in memory than themselves: copy what
    /// is kept for long.
    #[must_use]
    pub fn gave_buffers(&self) -> bool {
        self.log.gave_stretch()
    }
}

impl fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("queue", self.queue)
            .field("access", &self.log.access)
            .finish_non_exhaustive()
    }
}

impl CommitLog {
    /// How often something damaged or unreadable was met.
    pub(crate) fn damage_met(&self) -> u64 {
        self.damage.met()
    }

    /// The record at `at`, which may be anybody's guess.
    pub(crate) fn read_record_at(&self, at: u64, access: Access) -> Result<Bytes, ReadError> {
        let mut reader = LogReader::new(self, access);
        let record = reader.record_at(at)?;
        // Whoever has one record must not keep a whole stretch with it.
        Ok(if reader.gave_stretch() { Bytes::copy_from_slice(&record) } else { record })
    }
}

#[cfg(test)]
mod tests;
