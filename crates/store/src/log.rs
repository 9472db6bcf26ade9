// SPDX-License-Identifier: Apache-2.0
//! Commit log: all records of all topics, in the order in which they came.
//!
//! Files of one configured length (1 GiB); name = offset of the first byte since ever, 20 decimal digits. Records lie
//! back to back; one that does not fit into what remains of a segment (less 8 bytes) goes to the next, and a blank
//! record fills the rest. Never written bytes are zero. The record itself is drawn in `oxmq-record`.
//!
//! Invariants
//! - Segments are contiguous: each starts where the one before ends.
//! - Published end: readers see only bytes below it. It is stored with Release after the bytes were written, and
//!   loaded with Acquire before they are read. Bytes below it never change.
//! - Beyond the end all bytes are zero, or else a record of an earlier life could be taken for one of this.
//!
//! Java: `CommitLog`, `MappedFileQueue`.

use std::{
    any::Any,
    collections::VecDeque,
    io,
    ops::Range,
    path::PathBuf,
    sync::{
        Arc, Mutex, OnceLock, RwLock, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use memchr::memchr2_iter;
use oxmq_record::{BLANK_SIZE_MIN, MAGIC_BLANK, MAGIC_V1, Peeked, RecordView, peek_size_and_magic};

use crate::{
    cold::ColdStretches,
    disk::{Disk, Segment},
    error::OpenError,
    preflight::Problem,
    read::{Access, DamageReports, LogReader, behind_zero, checked, has_lost_sector},
    sync::{lock, read, write},
};

pub(crate) struct LogSegment {
    pub(crate) start: u64,
    pub(crate) map: Box<dyn Segment>,
}

pub(crate) struct CommitLog {
    disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) segment_size: u64,
    segments: RwLock<Vec<Arc<LogSegment>>>,
    end: AtomicU64,
    /// Why a sync failed, of which none after it proves anything.
    failed_sync: Mutex<Option<String>>,
    spares: Mutex<Spares>,
    memory: OnceLock<Memory>,
    pub(crate) cold: ColdStretches,
    pub(crate) damage: DamageReports,
    /// How often those who read on passed over damage.
    passed_over: AtomicU64,
}

/// What may be in memory.
#[derive(Debug)]
struct Memory {
    /// Where this process began to write.
    written_from: u64,
    /// So many bytes at the end are taken to be in the page cache.
    hot: u64,
    /// So many bytes that were read from the disk are kept.
    cold: u64,
}

/// Segments that exist but hold nothing yet, next one first.
struct Spares {
    ready: VecDeque<Arc<LogSegment>>,
    failed: Option<(SystemTime, String)>,
}

/// After a full disk, so long no further attempt is made: each costs the appenders a system call under their lock.
const ALLOCATION_RETRY: Duration = Duration::from_secs(1);

/// So many bytes of zeros are taken for the unwritten rest of a segment.
const QUIET: u64 = 16 * 1024 * 1024;
/// What a disk writes as a whole, at least.
const SECTOR: u64 = 512;

/// So much is read ahead for those who read all of the log.
const READ_AHEAD: u64 = 4 * 1024 * 1024;

/// What stands at a position of the log.
enum At {
    Record(Bytes),
    /// The rest of the segment is filler.
    Blank,
    /// Nothing that is a record of this log at this place.
    End,
}

impl CommitLog {
    /// Opens the segments in `dir`. The end stays at 0 until recovery found it.
    pub(crate) fn open(disk: Arc<dyn Disk>, dir: PathBuf, segment_size: u64) -> Result<Self, OpenError> {
        let at = |path: &PathBuf| {
            let path = path.clone();
            move |source| OpenError::Io { path, source }
        };
        let mut found = Vec::new();
        for entry in disk.list(&dir).map_err(at(&dir))? {
            if entry.is_dir {
                continue;
            }
            let path = dir.join(&entry.name);
            let start = entry.name.parse::<u64>().ok().filter(|start| start % segment_size == 0);
            match start {
                Some(start) if entry.name == format!("{start:020}") => {
                    found.push((start, path, entry.length))
                }
                _ => return Err(Problem::SegmentName { path, segment_size }.into()),
            }
        }
        found.sort_unstable();
        // A crash while the last segment was made leaves it short and empty, as it does in Java.
        if let Some((_, path, length)) = found.last()
            && *length != segment_size
        {
            let mut head = [0; BLANK_SIZE_MIN];
            let file = disk.open(path, false).map_err(at(path))?;
            file.read_at(0, &mut head).map_err(at(path))?;
            if head == [0; BLANK_SIZE_MIN] && *length < segment_size {
                tracing::warn!(file = %path.display(), "removed a commit log file that was never finished");
                disk.remove_file(path).map_err(at(path))?;
                found.pop();
            }
        }
        let mut segments: Vec<Arc<LogSegment>> = Vec::with_capacity(found.len());
        let mut expected = None;
        for (start, path, length) in found {
            if length != segment_size {
                return Err(Problem::SegmentSize { path, expected: segment_size, found: length }.into());
            }
            if let Some(expected) = expected.filter(|expected| *expected != start) {
                let missing = start.saturating_sub(expected) / segment_size;
                let path = file_at(&dir, expected);
                return Err(Problem::SegmentMissing { path, missing, found: start }.into());
            }
            let map = disk.open_segment(&path, segment_size).map_err(at(&path))?;
            segments.push(Arc::new(LogSegment { start, map }));
            expected = Some(start + segment_size);
        }
        Ok(Self {
            disk,
            dir,
            segment_size,
            segments: RwLock::new(segments),
            end: AtomicU64::new(0),
            failed_sync: Mutex::default(),
            spares: Mutex::new(Spares { ready: VecDeque::new(), failed: None }),
            memory: OnceLock::new(),
            cold: ColdStretches::default(),
            damage: DamageReports::default(),
            passed_over: AtomicU64::new(0),
        })
    }

    /// Where the first segment starts; the end if there is none.
    pub(crate) fn min(&self) -> u64 {
        read(&self.segments).first().map_or_else(|| self.end(), |first| first.start)
    }

    /// The published end.
    pub(crate) fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    pub(crate) fn publish(&self, end: u64) {
        self.end.store(end, Ordering::Release);
    }

    /// The log ends where this process begins to write. The last `hot` bytes of what it writes are taken to be in memory;
    /// of what is read from the disk, `cold` bytes are kept there.
    pub(crate) fn begin_writing(&self, hot: u64, cold: u64) {
        // Once in a log's life; a second time would change nothing.
        let _ = self.memory.set(Memory { written_from: self.end(), hot, cold });
        read(&self.segments).iter().for_each(|segment| self.alone(&*segment.map));
    }

    /// The kernel brings single pages of this segment into memory, and no more around them. Otherwise
    /// - whoever reads what is in memory, page after page, would have it read what comes next, and all the log would pass
    ///   through the page cache behind the back of [`crate::cold`];
    /// - the pages that are made for what comes would be one block of up to 2 MiB, which is written to the disk whole for
    ///   each flush, and as much as the disk's read-ahead is made at once, on a core that nobody else gets meanwhile.
    fn alone(&self, map: &dyn Segment) {
        map.read_alone(0..self.segment_size as usize);
    }

    /// Has the disk begin with what comes at `at` for someone who reads it all, up to `to`; `known` is how far it has.
    fn read_ahead(&self, at: u64, to: u64, known: &mut u64) {
        if at < *known || at >= self.hot_from() {
            return;
        }
        *known = at + READ_AHEAD;
        if let Some(segment) = self.segment(at) {
            let end = (*known).min(to).min(segment.start + self.segment_size);
            segment.map.read_ahead((at - segment.start) as usize..(end - segment.start) as usize);
        }
    }

    /// What this process has written from here on is in memory, and is what was written.
    pub(crate) fn hot_from(&self) -> u64 {
        let hot = |memory: &Memory| memory.written_from.max(self.end().saturating_sub(memory.hot));
        self.memory.get().map_or(u64::MAX, hot)
    }

    pub(crate) fn cold_bytes(&self) -> usize {
        self.memory.get().map_or(0, |memory| usize::try_from(memory.cold).unwrap_or(usize::MAX))
    }

    /// The file that holds the byte `at`.
    pub(crate) fn file_of(&self, at: u64) -> PathBuf {
        file_at(&self.dir, at - at % self.segment_size)
    }

    /// Starts of all segments, ascending.
    pub(crate) fn segment_starts(&self) -> Vec<u64> {
        read(&self.segments).iter().map(|segment| segment.start).collect()
    }

    /// The segment that holds the byte `at`, published or not.
    pub(crate) fn segment(&self, at: u64) -> Option<Arc<LogSegment>> {
        let segments = read(&self.segments);
        let index = at.checked_sub(segments.first()?.start)? / self.segment_size;
        segments.get(usize::try_from(index).ok()?).map(Arc::clone)
    }

    /// Store time of the record at `at`. `None` if none starts there. May wait for the disk.
    pub(crate) fn store_timestamp(&self, at: u64) -> Option<i64> {
        LogReader::new(self, Access::Disk).store_timestamp(at).ok()
    }

    /// The published record that starts at `at`. `None` unless a whole, undamaged one does. May wait for the disk.
    pub(crate) fn record_at(&self, at: u64) -> Option<Bytes> {
        self.read_record_at(at, Access::Disk).ok()
    }

    /// What stands at `at`, where a record or filler ought to; nothing at or beyond `to` is looked at. A damaged record
    /// does not count; nor one that ends with zeros below `durable` and is followed by some; nor, from `durable` on, one
    /// that seems to have lost a sector ([`has_lost_sector`]).
    fn look(&self, at: u64, to: u64, durable: u64) -> At {
        let remaining = self.segment_size - at % self.segment_size;
        let readable = remaining.min(to.saturating_sub(at));
        let Some(rest) = self.slice(at, readable) else { return At::End };
        match peek_size_and_magic(&rest) {
            Peeked::Message { .. } => match checked(&rest, at) {
                Ok(record)
                    if u64::from(record.size()) + BLANK_SIZE_MIN as u64 <= remaining
                        && !self.is_doubtful(&record, durable) =>
                {
                    At::Record(rest.slice(..record.size() as usize))
                }
                _ => At::End,
            },
            Peeked::Blank { .. } => At::Blank,
            // A bit of the filler's magic flipped: no record has that size here.
            Peeked::Nothing if rest.first_chunk() == Some(&(remaining as u32).to_be_bytes()) => At::Blank,
            Peeked::Nothing => At::End,
        }
    }

    fn is_doubtful(&self, record: &RecordView<'_>, durable: u64) -> bool {
        if record.physical_offset().0 >= durable {
            return has_lost_sector(record);
        }
        behind_zero(record, durable, self.segment_size)
            .and_then(|next| self.slice(next, BLANK_SIZE_MIN as u64))
            .is_some_and(|head| head.iter().all(|&byte| byte == 0))
    }

    /// The record that starts at `at`, published or not; only for recovery, when nobody writes. Nothing is known of what
    /// is behind it.
    pub(crate) fn found_at(&self, at: u64) -> Option<Bytes> {
        match self.look(at, u64::MAX, at.saturating_add(1)) {
            At::Record(record) => Some(record),
            _ => None,
        }
    }

    /// True if neither a record nor filler starts at `at`; only for recovery.
    pub(crate) fn is_end(&self, at: u64) -> bool {
        matches!(self.look(at, u64::MAX, u64::MAX), At::End)
    }

    /// The first place in `from..to` where a whole, undamaged record or the filler of a segment's end stands. In each
    /// segment the search ends where [`QUIET`] bytes of zeros are: an unwritten tail is not read to its end.
    fn resume(&self, from: u64, to: u64, durable: u64) -> Option<u64> {
        const STEP: u64 = 64 * 1024;
        let mut at = from;
        while at < to {
            let after = (at / self.segment_size + 1) * self.segment_size;
            let mut quiet = 0;
            while at < after.min(to) && quiet < QUIET {
                let step = STEP.min(after.min(to) - at);
                let bytes = self.slice(at, step)?;
                for found in memchr2_iter(MAGIC_V1.to_be_bytes()[0], MAGIC_BLANK.to_be_bytes()[0], &bytes) {
                    // The magic follows the size.
                    let start = (at + found as u64).saturating_sub(4);
                    if start >= from && self.stands(start, to, durable) {
                        return Some(start);
                    }
                }
                quiet = if bytes.iter().all(|&byte| byte == 0) { quiet + step } else { 0 };
                at += step;
            }
            at = after;
        }
        None
    }

    /// True if beyond doubt a record or filler stands at `at`, which may be anybody's guess.
    fn stands(&self, at: u64, to: u64, durable: u64) -> bool {
        let remaining = self.segment_size - at % self.segment_size;
        match self.look(at, to, durable) {
            At::Record(_) => true,
            At::Blank => self.slice(at, BLANK_SIZE_MIN as u64).is_some_and(
                |head| matches!(peek_size_and_magic(&head), Peeked::Blank { size } if u64::from(size) == remaining),
            ),
            At::End => false,
        }
    }

    /// Calls `each` for every record from `from` on, which is the start of a record or of a segment, and returns where
    /// the log ends: at `to`, or before it after the last record. Only when nobody writes.
    ///
    /// Damage is passed over to the next place where a whole record stands ([`Self::resume`]), so that a flipped bit
    /// cannot end the log and take all that followed with it. But not all that stands behind damage belongs to the log.
    /// Below `durable` it does: everything there was on the disk, in order, once. From `durable` on, what follows damage
    /// is kept only if
    /// - the damage is no hole ([`Self::has_hole`]). A power loss leaves holes of whole sectors; what was written after
    ///   them may be on the disk all the same, and `Store::append_all` promises that it does not count;
    /// - it is not older than what is before. A Java broker that recovers sets the end back and leaves the bytes behind
    ///   it: they were stored earlier than what it then appended.
    pub(crate) fn walk<E>(
        &self,
        from: u64,
        to: u64,
        durable: u64,
        mut each: impl FnMut(&Bytes) -> Result<(), E>,
    ) -> Result<u64, E> {
        let mut at = from;
        let (mut stored_ms, mut known) = (i64::MIN, 0);
        while at < to {
            self.read_ahead(at, to, &mut known);
            let found = self.look(at, to, durable);
            if let At::Record(record) = found {
                stored_ms = RecordView::store_timestamp_of(&record).unwrap_or(stored_ms);
                each(&record)?;
                at += record.len() as u64;
                continue;
            }
            let after = (at / self.segment_size + 1) * self.segment_size;
            let (damaged, next) = match found {
                At::Blank => (after, self.resume(after, to, durable)),
                _ => (at, self.resume(at + 1, to, durable)),
            };
            let unsure = damaged.max(durable);
            let belongs = |next: &u64| {
                let older = || {
                    self.found_at(*next)
                        .and_then(|next| RecordView::store_timestamp_of(&next))
                        .is_some_and(|ms| ms < stored_ms)
                };
                unsure >= *next || !(self.has_hole(unsure, *next) || older())
            };
            let Some(next) = next.filter(belongs) else {
                // With nothing but filler before the end, appending goes on by writing the filler again.
                if damaged < durable && self.is_used(damaged, durable) {
                    self.report(damaged, durable);
                    return Ok(durable);
                }
                return Ok(at);
            };
            if damaged < next {
                self.report(damaged, next);
            }
            at = next;
        }
        Ok(at)
    }

    /// How often damage was passed over.
    pub(crate) fn passed_over(&self) -> u64 {
        self.passed_over.load(Ordering::Relaxed)
    }

    fn report(&self, damaged: u64, next: u64) {
        self.passed_over.fetch_add(1, Ordering::Relaxed);
        let file = file_at(&self.dir, damaged - damaged % self.segment_size);
        tracing::error!(
            file = %file.display(), offset = damaged, skipped_bytes = next - damaged,
            "damage in the commit log, passed over"
        );
    }

    /// True if some sector of `from..to` seems never to have been written: damage that begins at `from`, where a record
    /// ought to, and ends at `to`, where one stands again.
    ///
    /// A sector that was never written is zero; one of which an older state reached the disk is zero from the end of
    /// some record on. So what tells is zeros that end with a sector: more of them than the fields of a record can
    /// hold, or where its size ought to be. Zeros in a body that end with a sector look the same; then the records
    /// behind are taken for what a power loss left, as nothing else keeps the promise.
    fn has_hole(&self, from: u64, to: u64) -> bool {
        /// In a record of an empty body, from its checksum to its born time 34 bytes may be zero.
        const ZEROS_MIN: usize = 64;
        const SIZE_ZEROS_MAX: u64 = 3;
        let mut at = from;
        while at < to {
            let end = at + SECTOR - at % self.segment_size % SECTOR;
            let end = end.min((at / self.segment_size + 1) * self.segment_size);
            // The record at `to` may begin with zeros that its sector does not have: those of its size.
            if end > to + SIZE_ZEROS_MAX {
                return false;
            }
            let Some(bytes) = self.slice(at, end - at) else { return true };
            let zeros = bytes.iter().rev().take_while(|&&byte| byte == 0).count();
            if zeros >= ZEROS_MIN {
                return true;
            }
            if at == from && zeros == bytes.len() {
                // So few bytes of the size may be zero rightly.
                let size = u32::try_from(to - from).unwrap_or(u32::MAX).to_be_bytes();
                if size.iter().take(zeros).any(|&byte| byte != 0) {
                    return true;
                }
            }
            at = end;
        }
        false
    }

    /// True if not all of `from..to` is zero, as far as its first bytes in each segment tell.
    fn is_used(&self, from: u64, to: u64) -> bool {
        let mut at = from;
        while at < to {
            let after = (at / self.segment_size + 1) * self.segment_size;
            let piece = self.slice(at, (after.min(to) - at).min(QUIET));
            if piece.is_some_and(|bytes| bytes.iter().any(|&byte| byte != 0)) {
                return true;
            }
            at = after;
        }
        false
    }

    /// Calls `each` for the published records from `from` on, which is where one starts, until about `bytes` of the log
    /// were passed or it answers false; returns where the first record stands that was not taken. For those who follow
    /// a log that is being written. Bodies are not looked at; damage is passed over as by [`Self::walk`].
    pub(crate) fn follow<E>(
        &self,
        from: u64,
        bytes: u64,
        mut each: impl FnMut(&RecordView<'_>) -> Result<bool, E>,
    ) -> Result<u64, E> {
        let end = self.end();
        let mut at = from.max(self.min());
        let (stop, mut known) = (at.saturating_add(bytes), 0);
        while at < end.min(stop) {
            self.read_ahead(at, end.min(stop), &mut known);
            let in_segment = self.segment_size - at % self.segment_size;
            let Some(published) = self.slice(at, in_segment.min(end - at)) else { break };
            let mut rest = &published[..];
            while !rest.is_empty() && at < stop {
                match RecordView::parse(rest) {
                    Ok(record) if record.physical_offset().0 == at => {
                        if !each(&record)? {
                            return Ok(at);
                        }
                        at += u64::from(record.size());
                        rest = &rest[record.size() as usize..];
                        self.read_ahead(at, end.min(stop), &mut known);
                    }
                    _ => {
                        at = match self.look(at, end, end) {
                            At::Blank => end.min((at / self.segment_size + 1) * self.segment_size),
                            _ => {
                                let next = self.resume(at + 1, end, end).unwrap_or(end);
                                self.report(at, next);
                                next
                            }
                        };
                        break;
                    }
                }
            }
        }
        Ok(at)
    }

    /// Makes `end` the end: zeroes what follows in its segment and removes later segments. Returns how many bytes
    /// were cut, counted to the last one that was not zero; where 16 MiB of zeros begin, counting stops.
    pub(crate) fn cut(&self, end: u64) -> io::Result<u64> {
        const STEP: u64 = 64 * 1024;
        let mut cut = 0;
        let mut segments = write(&self.segments);
        while let Some(last) = segments.pop_if(|last| last.start > end || (last.start == end && end > 0)) {
            if last.map.slice(0..BLANK_SIZE_MIN).iter().any(|&byte| byte != 0) {
                cut = cut.max(last.start + self.segment_size - end);
            }
            self.disk.remove_file(&file_at(&self.dir, last.start))?;
            // One by one from the end: a power loss must not bring the last one back without those before it.
            self.disk.sync_dir(&self.dir)?;
        }
        if let Some(last) = segments.last() {
            let (mut at, size) = (end - last.start, self.segment_size);
            let mut last_used = at;
            while at < size && at < last_used + QUIET {
                let next = (at + STEP).min(size);
                let chunk = last.map.slice(at as usize..next as usize);
                if let Some(used) = chunk.iter().rposition(|&byte| byte != 0) {
                    last_used = at + used as u64 + 1;
                }
                at = next;
            }
            cut = cut.max(last_used - (end - last.start));
            last.map.zero_from((end - last.start) as usize)?;
        }
        self.disk.sync_dir(&self.dir)?;
        Ok(cut)
    }

    /// Makes the bytes in `from..to` durable. Once that failed it always fails: the kernel tells of what it could not write
    /// once, to whoever syncs first. So that nobody takes silence for success meanwhile, one syncs at a time: the flusher
    /// of the log meets only the checkpoint here, every few seconds.
    pub(crate) fn sync(&self, from: u64, to: u64) -> io::Result<()> {
        let mut failed = lock(&self.failed_sync);
        if let Some(error) = &*failed {
            return Err(io::Error::other(error.clone()));
        }
        let synced = self.parts(from, to).try_for_each(|(segment, range)| segment.map.sync(range));
        synced.inspect_err(|error| *failed = Some(error.to_string()))
    }

    /// The same for bytes that are read for the first time after a crash. An earlier sync of them may have failed: the
    /// system then shows them and takes them for written, though the disk does not have them, until they are written
    /// to again. Only before anybody reads.
    pub(crate) fn write_again(&self, from: u64, to: u64) -> io::Result<()> {
        const STEP: usize = 64 * 1024;
        for (segment, range) in self.parts(from, to) {
            for at in range.clone().step_by(STEP) {
                let bytes = segment.map.slice(at..range.end.min(at + STEP)).to_vec();
                segment.map.write(at, &bytes);
            }
        }
        self.sync(from, to)
    }

    /// Has the disk begin with the bytes in `from..to`.
    pub(crate) fn write_back(&self, from: u64, to: u64) {
        self.parts(from, to).for_each(|(segment, range)| segment.map.write_back(range));
    }

    /// What of `from..to` lies in which segment.
    fn parts(&self, from: u64, to: u64) -> impl Iterator<Item = (Arc<LogSegment>, Range<usize>)> {
        let first = from - from % self.segment_size;
        (first..to).step_by(self.segment_size as usize).filter_map(move |start| {
            let segment = self.segment(start)?;
            let range = from.max(start) - start..to.min(start + self.segment_size) - start;
            Some((segment, range.start as usize..range.end as usize))
        })
    }

    /// Sees to it that `count` spare segments are ready.
    ///
    /// # Errors
    /// What the system says, now or less than a second ago.
    pub(crate) fn prepare_spares(&self, count: usize) -> Result<(), String> {
        let mut spares = lock(&self.spares);
        while spares.ready.len() < count {
            if let Some((when, reason)) = &spares.failed
                && self.disk.now().duration_since(*when).is_ok_and(|since| since < ALLOCATION_RETRY)
            {
                return Err(reason.clone());
            }
            let last = spares.ready.back().cloned().or_else(|| read(&self.segments).last().cloned());
            let end = self.end();
            let start = last.map_or(end - end % self.segment_size, |last| last.start + self.segment_size);
            match self.disk.create_segment(&file_at(&self.dir, start), self.segment_size) {
                Ok(map) => {
                    self.alone(&*map);
                    spares.failed = None;
                    spares.ready.push_back(Arc::new(LogSegment { start, map }));
                }
                Err(error) => {
                    tracing::warn!(file = %file_at(&self.dir, start).display(), %error, "cannot make the next commit log file");
                    spares.failed = Some((self.disk.now(), error.to_string()));
                }
            }
        }
        Ok(())
    }

    /// Makes the next spare segment, which must be ready, the last one of the log.
    pub(crate) fn take_spare(&self) -> Option<Arc<LogSegment>> {
        // Both under one lock: whoever makes the next spare must find this one in one of the two places.
        let mut spares = lock(&self.spares);
        let next = spares.ready.pop_front()?;
        write(&self.segments).push(Arc::clone(&next));
        Some(next)
    }

    /// Has the pages ready that the next `length` bytes from `at` on will be written to, see [`Segment::populate`].
    pub(crate) fn populate(&self, at: u64, length: u64, large: bool) {
        let Some(segment) = self.segment(at) else { return };
        let from = at - segment.start;
        let to = (from + length).min(self.segment_size);
        segment.map.populate(from as usize..to as usize, large);
        let beyond = length - (to - from);
        if beyond > 0
            && let Some(spare) = lock(&self.spares).ready.front().cloned()
        {
            spare.map.populate(0..beyond.min(self.segment_size) as usize, large);
        }
    }

    /// Takes the first `count` segments out of the log, not their files. Who holds slices of them keeps these.
    pub(crate) fn remove_front(&self, count: usize) -> Vec<Weak<dyn Any + Send + Sync>> {
        // Unmapped when the lock is free again: it is a system call, and a long one.
        let removed: Vec<_> = write(&self.segments).drain(..count).collect();
        removed.iter().for_each(|segment| segment.map.release());
        removed.iter().map(|segment| segment.map.held()).collect()
    }

    /// Removes segments that were made ahead and hold nothing.
    pub(crate) fn remove_spares(&self) -> io::Result<()> {
        let ready = std::mem::take(&mut lock(&self.spares).ready);
        ready.into_iter().rev().try_for_each(|spare| {
            self.disk.remove_file(&file_at(&self.dir, spare.start))?;
            // As in `cut`.
            self.disk.sync_dir(&self.dir)
        })
    }

    fn slice(&self, at: u64, size: u64) -> Option<Bytes> {
        let segment = self.segment(at)?;
        let from = at - segment.start;
        let to = from.checked_add(size).filter(|to| *to <= self.segment_size)?;
        Some(segment.map.slice(from as usize..to as usize))
    }
}

/// The path of the file in `dir` that starts at `offset`.
pub(crate) fn file_at(dir: &std::path::Path, offset: u64) -> PathBuf {
    dir.join(format!("{offset:020}"))
}
