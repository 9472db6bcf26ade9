// SPDX-License-Identifier: Apache-2.0
//! Consume queue: for one topic and queue, where each message lies in the commit log.
//!
//! Directory: `TOPIC/QUEUE ID`. Files of one configured length (300,000 units, drawn in `unit`); name = byte offset of
//! the first unit, 20 decimal digits.
//!
//! New units stay in memory until the flusher writes them (about 200 ms); then only the files have them. A queue that
//! nobody uses holds no file handle, no mapping, no thread and no units.
//!
//! Invariants
//! - Derived: can be rebuilt from the commit log at any time, so losing its tail is not losing data.
//! - Physical offsets never decrease along a queue.
//! - Never ahead: a unit is added after its record was published, and recovery drops those beyond the log's end.
//! - Files have their full length from the start (Java refuses others) and are sparse behind the last unit.
//!
//! Java: `ConsumeQueue`, `CQ_STORE_UNIT_SIZE`.

use std::{
    collections::HashMap,
    fmt, io, mem,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU8, Ordering},
    },
};

use oxmq_record::{RECORD_SIZE_MIN, RecordView};
use oxmq_types::{PhysicalOffset, QueueId, QueueOffset, TagsCode};

use crate::{
    disk::{Disk, File},
    error::{QueueError, QueueFileError},
    list::Listed,
    log::{CommitLog, file_at},
    read::{Access, LMQ_PREFIX},
    registry::{Limits, is_damage},
    retention::absent_is_fine,
    search::{gallop, partition_point},
    sync::{Bell, lock},
    unit::{FILLER_SIZE, UNIT_SIZE, Unit},
};

/// Messages of one queue that damage in the log may take away in a row and recovery still goes on.
const GAP_MAX: u64 = 1_000_000;
/// Open files that are kept for reading and flushing, over all queues.
const HANDLES_MAX: usize = 512;

/// Which end of a range of equal or missing times is wanted. Java: `BoundaryType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boundary {
    /// The first message stored at or after the time.
    Lower,
    /// The last message stored at or before the time.
    Upper,
}

/// What all queues of a store share.
pub(crate) struct QueueFiles {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) file_size: u64,
    handles: Mutex<Handles>,
    /// Queues that are not what they should be, and why: `rebuild`.
    suspects: Mutex<Vec<Suspect>>,
    /// Rung when there is one.
    pub(crate) bell: Bell,
}

/// A queue that has to be built again.
pub(crate) struct Suspect {
    pub(crate) topic: Arc<str>,
    pub(crate) id: QueueId,
    /// Units below this one may be right; the others are not.
    pub(crate) from: u64,
}

#[derive(Default)]
struct Handles {
    open: HashMap<(u32, u64), (Arc<dyn File>, u64)>,
    clock: u64,
}

impl QueueFiles {
    pub(crate) fn new(disk: Arc<dyn Disk>, dir: PathBuf, file_size: u64) -> Arc<Self> {
        let (handles, suspects, bell) = Default::default();
        Arc::new(Self { disk, dir, file_size, handles, suspects, bell })
    }

    /// Has a queue built again, from the unit `from` on at least, or before it if more is wrong than is known. `why`:
    /// what is wrong with it.
    pub(crate) fn suspect(&self, topic: &str, id: QueueId, from: u64, why: &str) {
        let mut suspects = lock(&self.suspects);
        if let Some(known) = suspects.iter_mut().find(|known| &*known.topic == topic && known.id == id) {
            known.from = known.from.min(from);
            return;
        }
        tracing::error!(
            topic,
            queue = id.0,
            why,
            "a consume queue is damaged, it is built again from the commit log"
        );
        suspects.push(Suspect { topic: Arc::from(topic), id, from });
        self.bell.ring();
    }

    pub(crate) fn take_suspects(&self) -> Vec<Suspect> {
        mem::take(&mut lock(&self.suspects))
    }

    pub(crate) fn has_suspects(&self) -> bool {
        !lock(&self.suspects).is_empty()
    }

    /// Forgets what was said of `queues` before they were condemned: they are built again now.
    pub(crate) fn forget_suspects(&self, queues: &[Arc<Queue>]) {
        let built = |suspect: &Suspect| {
            queues.iter().any(|queue| queue.topic == suspect.topic && queue.queue_id == suspect.id)
        };
        lock(&self.suspects).retain(|suspect| !built(suspect));
    }

    /// Those that could not be built yet.
    pub(crate) fn put_back(&self, suspects: Vec<Suspect>) {
        lock(&self.suspects).extend(suspects);
    }
}

/// A consume queue. One `Arc` of it is worth keeping by whoever uses it often.
pub struct Queue {
    topic: Arc<str>,
    queue_id: QueueId,
    /// Names the queue among all that were ever opened.
    key: u32,
    files: Arc<QueueFiles>,
    state: Mutex<State>,
    /// While it is built again: one more than the percent that are done. Else 0.
    rebuilding: AtomicU8,
}

#[derive(Default)]
pub(crate) struct State {
    /// Unit with which the first file starts.
    start: u64,
    /// First unit whose record the log still has.
    min: u64,
    /// Units below are in files.
    flushed: u64,
    /// Units from `flushed` on.
    tail: Vec<Unit>,
    /// Physical offset of the last unit, `None` in an empty queue.
    last: Option<PhysicalOffset>,
    /// The file that starts at this byte was being made when that failed: it may be there without its length.
    half_made: Option<u64>,
    /// The flusher knows that there is a tail.
    listed: bool,
    deleted: bool,
}

impl State {
    fn max(&self) -> u64 {
        self.flushed + self.tail.len() as u64
    }

    /// Adds fillers for messages that are lost.
    fn fill(&mut self, count: u64, physical: PhysicalOffset) {
        let filler = Unit { physical, size: FILLER_SIZE, tags_code: TagsCode(0) };
        self.tail.extend(std::iter::repeat_n(filler, count as usize));
    }

    fn push(&mut self, unit: Unit) -> Added {
        self.last = Some(unit.physical);
        self.tail.push(unit);
        if mem::replace(&mut self.listed, true) { Added::Known } else { Added::FirstOfTail }
    }
}

/// A queue that is locked to get its next unit.
pub(crate) struct Appending<'a>(MutexGuard<'a, State>);

impl Appending<'_> {
    /// The offset that the unit will have.
    pub(crate) fn offset(&self) -> QueueOffset {
        QueueOffset(self.0.max())
    }

    /// Adds the unit.
    pub(crate) fn push(mut self, unit: Unit) -> Added {
        debug_assert!(self.0.last.is_none_or(|last| last < unit.physical), "units out of order");
        self.0.push(unit)
    }
}

/// What became of the unit of a record that was found in the log.
pub(crate) enum Dispatched {
    Added(Added),
    /// The queue had it.
    Known,
    /// The queue goes further, with older records.
    Back,
    /// Records before it are missing, but the log may have them.
    Missing,
    /// No queue has such an offset.
    Impossible,
}

/// What a queue's files are, beside what is listed of it.
pub(crate) enum Loaded {
    Right,
    /// They are less.
    Less,
    /// Something follows their last unit that is no unit of a message in the log; this says what.
    Rest {
        /// The first unit that is not.
        from: u64,
        what: QueueFileError,
    },
}

/// Whether a queue's units point to its own messages.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Right,
    Wrong,
}

/// What an append found out about the queue.
pub(crate) enum Added {
    /// The flusher does not know yet that this queue has a tail: tell it.
    FirstOfTail,
    Known,
}

impl Queue {
    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The number within the topic.
    #[must_use]
    pub fn queue_id(&self) -> QueueId {
        self.queue_id
    }

    /// The first message that the store still has; [`Self::max_offset`] if there is none.
    /// Java: `getMinOffsetInQueue`.
    #[must_use]
    pub fn min_offset(&self) -> QueueOffset {
        QueueOffset(lock(&self.state).min)
    }

    /// The offset that the next message will get. Java: `getMaxOffsetInQueue`.
    #[must_use]
    pub fn max_offset(&self) -> QueueOffset {
        QueueOffset(lock(&self.state).max())
    }

    /// Percent that are done of building it again from the log; until then it neither gives nor takes messages, and its
    /// offsets say nothing. `None`: it is not being built.
    #[must_use]
    pub fn rebuilding(&self) -> Option<u8> {
        self.rebuilding.load(Ordering::Acquire).checked_sub(1)
    }

    /// Whether it gives and takes messages.
    ///
    /// # Errors
    /// [`QueueError::Rebuilding`]: its files were damaged; ask again later.
    pub fn ready(&self) -> Result<(), QueueError> {
        match self.rebuilding() {
            None => Ok(()),
            Some(percent) => Err(QueueError::Rebuilding {
                topic: self.topic().to_owned(),
                queue_id: self.queue_id.0,
                percent,
            }),
        }
    }

    /// Appends to `out` up to `max` units from `from` on. Nothing is appended if `from` is not in
    /// `min_offset() <= from < max_offset()`: the caller decides to hold the pull or to correct the offset.
    ///
    /// # Errors
    /// [`QueueFileError`] if a file cannot be read, or the queue is being built again.
    /// Java: `ConsumeQueue#iterateFrom`.
    pub fn read_units(
        &self,
        from: QueueOffset,
        max: usize,
        out: &mut Vec<Unit>,
    ) -> Result<(), QueueFileError> {
        self.units(from, max, Access::Disk, out).map(drop)
    }

    /// The same as far as `access` goes. True if there are units, and only the disk has them.
    pub(crate) fn units(
        &self,
        from: QueueOffset,
        max: usize,
        access: Access,
        out: &mut Vec<Unit>,
    ) -> Result<bool, QueueFileError> {
        let mut at = from.0;
        let mut left = max;
        while left > 0 {
            let (flushed, last) = {
                let state = lock(&self.state);
                if self.rebuilding().is_some() {
                    let why = "the consume queue is being built again";
                    return Err(QueueFileError { path: self.dir(), source: io::Error::other(why) });
                }
                if at < state.min || at >= state.max() {
                    return Ok(false);
                }
                if at >= state.flushed {
                    let tail = &state.tail[(at - state.flushed) as usize..];
                    out.extend_from_slice(&tail[..left.min(tail.len())]);
                    return Ok(false);
                }
                (state.flushed, state.last)
            };
            let known = out.len();
            let count = left.min((flushed - at) as usize);
            let read = self.read_file(at, count, access, out).and_then(|read| {
                let physical = out[known..].iter().map(|unit| Some(unit.physical)).chain([last]);
                let in_order = physical.is_sorted();
                let nonsense =
                    || io::Error::new(io::ErrorKind::InvalidData, "consume queue units out of order");
                in_order.then_some(read).ok_or_else(|| self.failed(self.place(at).0, nonsense()))
            });
            let read = read.inspect_err(|error| {
                out.truncate(known);
                // One that is being built again has just lost its files.
                if is_damage(&error.source) && self.rebuilding().is_none() {
                    self.files.suspect(&self.topic, self.queue_id, 0, &error.to_string());
                }
            })?;
            if read == 0 {
                return Ok(at == from.0);
            }
            at += read as u64;
            left -= read;
        }
        Ok(false)
    }

    /// Has the queue built again, as the unit of `offset` does not point to a record of its.
    pub(crate) fn suspect_unit(&self, offset: QueueOffset, what: &dyn fmt::Display) {
        // Queues of such topics hold messages of others, and cannot be built from the log.
        if self.rebuilding().is_none() && !self.topic.starts_with(LMQ_PREFIX) {
            let why = format!("its unit {}: {what}", offset.0);
            self.files.suspect(&self.topic, self.queue_id, offset.0, &why);
        }
    }

    /// The offset of the message stored at `timestamp_ms`, by binary search over the store times of the records in
    /// `log`; `boundary` says which if there are several or none.
    ///
    /// Beyond the last message: `Lower` gives the maximum offset, `Upper` the last message. Before the first:
    /// `Lower` gives the minimum offset, `Upper` 0. An empty queue gives 0.
    ///
    /// # Errors
    /// [`QueueFileError`] if a file cannot be read.
    /// Java: `ConsumeQueue#getOffsetInQueueByTime`.
    pub(crate) fn offset_by_time(
        &self,
        log: &CommitLog,
        timestamp_ms: i64,
        boundary: Boundary,
    ) -> Result<QueueOffset, QueueFileError> {
        let (min, max) = {
            let state = lock(&self.state);
            (state.min, state.max())
        };
        if min == max {
            return Ok(QueueOffset(0));
        }
        let found = partition_point(min, max, |at| {
            let Some(unit) = self.unit(at)? else { return Ok(true) };
            // A record that is gone or damaged counts as old.
            let stored = log.store_timestamp(unit.physical.0).unwrap_or(i64::MIN);
            Ok(match boundary {
                Boundary::Lower => stored < timestamp_ms,
                Boundary::Upper => stored <= timestamp_ms,
            })
        })?;
        Ok(QueueOffset(match boundary {
            Boundary::Lower => found,
            Boundary::Upper if found == min => 0,
            Boundary::Upper => found - 1,
        }))
    }

    /// The first message whose record stands at `physical` or behind it; [`Self::max_offset`] if there is none.
    pub(crate) fn first_at(&self, physical: u64) -> Result<QueueOffset, QueueFileError> {
        let (min, max) = {
            let state = lock(&self.state);
            let gone = state.last.is_none_or(|last| last.0 < physical);
            (if gone { state.max() } else { state.min }, state.max())
        };
        let first =
            partition_point(min, max, |at| Ok(self.unit(at)?.is_none_or(|unit| unit.physical.0 < physical)))?;
        Ok(QueueOffset(first))
    }

    /// Forgets the messages that the log does not have any more, which begins at `log_min`, and removes the files that
    /// hold nothing else. Returns how many.
    ///
    /// The last file stays, even if all in it is gone: it knows where the queue ends, as in Java.
    /// Java: `ConsumeQueue#deleteExpiredFile`, `#correctMinOffset`.
    pub(crate) fn drop_below(&self, log_min: u64) -> Result<usize, QueueFileError> {
        let min = self.first_at(log_min)?.0;
        let (start, last) = {
            let mut state = lock(&self.state);
            state.min = state.min.max(min);
            // Without units in files there is nothing to remove.
            let Some(last) = state.flushed.checked_sub(1).filter(|last| *last >= state.start) else {
                return Ok(0);
            };
            (state.start, last)
        };
        let kept = self.place(min.min(last)).0;
        let mut removed = 0;
        let mut file = self.place(start).0;
        while file < kept {
            lock(&self.files.handles).open.remove(&(self.key, file));
            // In their order on the disk, too: a crash must not leave a gap.
            let removed_file = self.files.disk.remove_file(&file_at(&self.dir(), file));
            absent_is_fine(removed_file.and_then(|()| self.files.disk.sync_dir(&self.dir())))
                .map_err(|source| self.failed(file, source))?;
            removed += 1;
            file += self.files.file_size;
            let mut state = lock(&self.state);
            state.start = state.start.max(file / UNIT_SIZE);
        }
        Ok(removed)
    }

    /// The unit at `at`. `None` if there is none.
    pub(crate) fn unit(&self, at: u64) -> Result<Option<Unit>, QueueFileError> {
        let mut one = Vec::with_capacity(1);
        self.read_units(QueueOffset(at), 1, &mut one)?;
        Ok(one.pop())
    }

    /// An empty queue. `key` names it among all that were ever made.
    pub(crate) fn new(files: &Arc<QueueFiles>, topic: &Arc<str>, queue_id: QueueId, key: u32) -> Self {
        let (topic, files) = (Arc::clone(topic), Arc::clone(files));
        Self { topic, queue_id, key, files, state: Mutex::default(), rebuilding: AtomicU8::new(0) }
    }

    /// Takes what its files say, without what they say about records at or beyond the limit, unless there is a rest.
    ///
    /// `torn`: the files may have holes or rests beyond the last good unit, as a crash leaves them; they are cleared.
    pub(crate) fn load(
        &self,
        limits: Limits,
        log_min: u64,
        listed: Listed,
    ) -> Result<Loaded, QueueFileError> {
        let right = |right: bool| if right { Loaded::Right } else { Loaded::Less };
        let Limits { limit, torn } = limits;
        let starts = self.file_starts(torn.then_some(log_min))?;
        let (Some(&first), Some(&last)) = (starts.first(), starts.last()) else {
            return Ok(right(listed.max == 0));
        };
        let start = first / UNIT_SIZE;
        let end = (last + self.files.file_size) / UNIT_SIZE;
        let mut pages = Pages { queue: self, file: None, first: 0, bytes: Vec::new() };

        let counts = |unit: Option<Unit>| unit.is_some_and(|unit| unit.physical.0 < limit);
        // Nearly always the end lies in the last file, and near its start.
        let last = last / UNIT_SIZE;
        let from = if counts(pages.unit(last)?) { last } else { start };
        let max = gallop(from, end, |at| Ok(counts(pages.unit(at)?)))?;
        // What a crash makes uncertain is dispatched again.
        let least = listed.max;
        let ends = max >= least
            || (torn && least <= end && pages.unit(least - 1)?.is_some_and(|unit| unit.physical.0 >= limit));
        // Retention leaves a file as long as something in it is in the log.
        let begins = start <= listed.start
            || listed.max == 0
            || pages.unit(start)?.is_none_or(|unit| unit.physical.0 < log_min);
        // Without a crash there is no rest: it was the unit of a message that the log has, and that is not to be lost.
        if !torn && max < end && pages.bytes(max)?.iter().any(|&byte| byte != 0) {
            let what = format!("its unit {max} points to no place in the log, which ends at {limit}");
            let what = self.failed(self.place(max).0, io::Error::new(io::ErrorKind::InvalidData, what));
            return Ok(Loaded::Rest { from: max, what });
        }
        let min = gallop(start, max, |at| {
            let unit = pages.unit(at)?.ok_or_else(|| self.failed(self.place(at).0, never_written()))?;
            Ok(unit.physical.0 < log_min || unit.is_leading_filler())
        })?;
        let last = if max > start { pages.unit(max - 1)?.map(|unit| unit.physical) } else { None };
        if torn {
            self.clear_from(max, &starts)?;
        }
        *lock(&self.state) = State { start, min, flushed: max, last, ..State::default() };
        Ok(right(begins && ends))
    }

    /// Asks the log about the queue's last and first units: whether its messages stand where they point.
    pub(crate) fn verdict(&self, log: &CommitLog) -> Result<Verdict, QueueFileError> {
        /// A record may be damaged, so one alone does not tell.
        const ASKED: u64 = 8;
        let (min, max) = {
            let state = lock(&self.state);
            (state.min, state.max())
        };
        // Queues of such topics hold messages of others.
        if min == max || self.topic.starts_with(LMQ_PREFIX) {
            return Ok(Verdict::Right);
        }
        let mut filler = true;
        for at in (min..max).rev().take(ASKED as usize).chain([min]) {
            match self.is_its(at, log)? {
                Some(true) if at == min => return Ok(Verdict::Right),
                Some(true) => {
                    return Ok(if self.is_its(min, log)? == Some(false) {
                        Verdict::Wrong
                    } else {
                        Verdict::Right
                    });
                }
                Some(false) => return Ok(Verdict::Wrong),
                None => filler &= self.unit(at)?.is_some_and(|unit| unit.is_filler()),
            }
        }
        Ok(if filler { Verdict::Right } else { Verdict::Wrong })
    }

    /// Whether the unit `at` points to the message that it should. `None` for filler, and if the record is damaged.
    pub(crate) fn is_its(&self, at: u64, log: &CommitLog) -> Result<Option<bool>, QueueFileError> {
        let Some(unit) = self.unit(at)? else { return Ok(Some(false)) };
        if unit.is_filler() {
            return Ok(None);
        }
        let found =
            if log.end() > 0 { log.record_at(unit.physical.0) } else { log.found_at(unit.physical.0) };
        let record = found.as_ref().and_then(|bytes| RecordView::parse(bytes).ok());
        Ok(record.map(|record| {
            let place = (record.topic(), record.queue_id(), record.queue_offset().0, record.size());
            place == (self.topic(), self.queue_id, at, unit.size)
        }))
    }

    /// Forgets all units from `max` on, in files, too. For a queue that nobody else has.
    pub(crate) fn cut(&self, max: u64) -> Result<(), QueueFileError> {
        self.clear_from(max, &self.file_starts(None)?)?;
        let last = max.checked_sub(1).map(|last| self.unit(last)).transpose()?.flatten();
        let mut state = lock(&self.state);
        (state.flushed, state.last) = (max, last.map(|unit| unit.physical));
        Ok(())
    }

    /// Locks the queue to add the next unit. `None` if it was deleted or is being built again.
    pub(crate) fn appending(&self) -> Option<Appending<'_>> {
        let state = lock(&self.state);
        (!state.deleted && self.rebuilding().is_none()).then_some(Appending(state))
    }

    /// Adds the unit of a record that was found in the log, unless the queue has it.
    ///
    /// `whole`: nothing before it is left to be found, so what is missing is lost.
    pub(crate) fn dispatch(&self, offset: QueueOffset, unit: Unit, whole: bool) -> Dispatched {
        let mut state = lock(&self.state);
        let max = state.max();
        // Nothing of the queue is left in files; their names may say where it was to go on, had the log not lost that.
        let fresh = state.last.is_none();
        if state.last.is_some_and(|last| last >= unit.physical) {
            return Dispatched::Known;
        }
        if !fresh && offset.0 < max {
            return Dispatched::Back;
        }
        // The checksum does not cover the queue offset: a flipped bit in it must not become files full of filler.
        let possible = offset.0 <= unit.physical.0 / RECORD_SIZE_MIN as u64;
        if !possible || (!fresh && offset.0 - max > GAP_MAX) {
            tracing::error!(
                topic = %self.topic, queue = self.queue_id.0, queue_offset = offset.0, physical = unit.physical.0,
                "record with an impossible queue offset, passed over"
            );
            return Dispatched::Impossible;
        }
        if offset.0 > max && !whole {
            return Dispatched::Missing;
        }
        if fresh {
            // The first message of the queue that the log still has.
            state.start = offset.0;
            state.min = offset.0;
            state.flushed = offset.0;
        } else if offset.0 > max {
            tracing::warn!(
                topic = %self.topic, queue = self.queue_id.0, from = max, to = offset.0,
                "messages are missing in the commit log"
            );
            state.fill(offset.0 - max, unit.physical);
        }
        Dispatched::Added(state.push(unit))
    }

    /// Forgets all units and files: the topic was deleted and made again where the log goes on.
    pub(crate) fn begin_again(&self) -> Result<(), QueueFileError> {
        self.remove_files()?;
        let mut state = lock(&self.state);
        *state = State { listed: state.listed, ..State::default() };
        Ok(())
    }

    /// Removes all files.
    pub(crate) fn remove_files(&self) -> Result<(), QueueFileError> {
        self.forget_handles();
        let (disk, dir) = (&self.files.disk, self.dir());
        let removed = absent_is_fine(disk.remove_dir_all(&dir)).or_else(|error| match error.kind() {
            io::ErrorKind::NotADirectory => disk.remove_file(&dir),
            _ => Err(error),
        });
        removed.map_err(|source| QueueFileError { path: dir, source })
    }

    /// Has it neither give nor take messages until [`Self::adopt`]. It had so many messages at `least`.
    pub(crate) fn condemn(&self, least: u64) {
        let mut state = lock(&self.state);
        if state.max() < least {
            *state =
                State { start: least, min: least, flushed: least, listed: state.listed, ..State::default() };
        }
        self.set_rebuilding(0);
    }

    /// How far building it again has come.
    pub(crate) fn set_rebuilding(&self, percent: u8) {
        self.rebuilding.store(percent + 1, Ordering::Release);
    }

    /// Has as many messages as `least` at least: what is missing at the end are fillers, so that no offset is given
    /// twice. For a queue that was built again.
    pub(crate) fn fill_up_to(&self, least: u64) {
        let mut state = lock(&self.state);
        let max = state.max();
        if max >= least {
            return;
        }
        if state.last.is_none() && state.flushed == 0 {
            // One unit is enough to tell where it ends.
            (state.start, state.flushed, state.min) = (least - 1, least - 1, least);
            state.fill(1, PhysicalOffset(0));
        } else {
            let last = state.last.unwrap_or(PhysicalOffset(0));
            state.fill(least - max, last);
        }
    }

    /// Is from now on as `built`, which was built in its place and is in files.
    pub(crate) fn adopt(&self, built: &Self) {
        let from = mem::take(&mut *lock(&built.state));
        let mut state = lock(&self.state);
        *state = State { listed: state.listed, deleted: state.deleted, ..from };
        self.rebuilding.store(0, Ordering::Release);
    }

    /// Writes the tail to the files and forgets it. Returns the number of units and notes in `written` which files
    /// they went to; `created` is set if one was new.
    pub(crate) fn flush(
        &self,
        buffer: &mut Vec<u8>,
        written: &mut Vec<u64>,
        created: &mut bool,
    ) -> Result<usize, QueueFileError> {
        let (start, from) = {
            let mut state = lock(&self.state);
            state.listed = false;
            if state.deleted || self.rebuilding().is_some() {
                let tail = mem::take(&mut state.tail).len();
                state.flushed += tail as u64;
                return Ok(tail);
            }
            buffer.clear();
            buffer.extend(state.tail.iter().flat_map(Unit::encode));
            (state.start, state.flushed)
        };
        let result = self.write_file(start, from, buffer, written, created);
        let mut state = lock(&self.state);
        if let Err(error) = result {
            // To be tried again; whoever flushes keeps the queue on its list.
            state.listed = true;
            return Err(error);
        }
        let count = buffer.len() / UNIT_SIZE as usize;
        if state.tail.len() == count {
            state.tail = Vec::new();
        } else {
            state.tail.drain(..count);
        }
        state.flushed = from + count as u64;
        Ok(count)
    }

    /// Writes the tail to the files, for one who makes all files durable.
    pub(crate) fn write_tail(&self) -> Result<(), QueueFileError> {
        self.flush(&mut Vec::new(), &mut Vec::new(), &mut false).map(drop)
    }

    /// Makes the file that starts at byte `start` durable.
    pub(crate) fn sync(&self, start: u64) -> Result<(), QueueFileError> {
        self.handle(start, false).and_then(|file| file.sync()).map_err(|source| self.failed(start, source))
    }

    /// Takes no more units, and lets go of its files.
    pub(crate) fn delete(&self) {
        let mut state = lock(&self.state);
        state.deleted = true;
        drop(state);
        self.forget_handles();
    }

    pub(crate) fn forget_handles(&self) {
        lock(&self.files.handles).open.retain(|(key, _), _| *key != self.key);
    }

    pub(crate) fn topic_name(&self) -> Arc<str> {
        Arc::clone(&self.topic)
    }

    /// What the list of queues is to say of it: what is in files.
    pub(crate) fn listed(&self) -> Listed {
        let state = lock(&self.state);
        Listed { start: state.start, max: state.flushed, building: self.rebuilding().is_some() }
    }

    pub(crate) fn is_deleted(&self) -> bool {
        lock(&self.state).deleted
    }

    /// Where the last unit's record ends in the commit log.
    pub(crate) fn last_end(&self) -> Result<Option<u64>, QueueFileError> {
        let Some(last) = self.max_offset().0.checked_sub(1) else { return Ok(None) };
        let size = |unit: &Unit| if unit.is_filler() { 0 } else { u64::from(unit.size) };
        Ok(self.unit(last)?.map(|unit| unit.physical.0 + size(&unit)))
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.files.dir.join(&*self.topic).join(self.queue_id.to_string())
    }

    fn failed(&self, start: u64, source: io::Error) -> QueueFileError {
        QueueFileError { path: file_at(&self.dir(), start), source }
    }

    /// Starts of all files, ascending, in bytes; they have been checked to be contiguous and of the right length.
    ///
    /// `torn`: a crash may have taken one and not those behind it, or have brought back some
    /// that were removed, which know nothing that the log has from this offset on. What is missing then is not older
    /// than the checkpoint and will be dispatched again.
    fn file_starts(&self, torn: Option<u64>) -> Result<Vec<u64>, QueueFileError> {
        let (dir, size) = (self.dir(), self.files.file_size);
        let mut starts = Vec::new();
        let failed = |path: PathBuf, source| QueueFileError { path, source };
        for entry in self.files.disk.list(&dir).map_err(|source| failed(dir.clone(), source))? {
            let path = dir.join(&entry.name);
            let start = entry.name.parse::<u64>().ok().filter(|start| start % size == 0 && !entry.is_dir);
            let Some(start) = start.filter(|start| entry.name == format!("{start:020}")) else {
                tracing::warn!(file = %path.display(), "not a consume queue file, ignored");
                continue;
            };
            if entry.length == 0 {
                // Made but not yet given its length when the power went; Java removes it, too.
                self.files.disk.remove_file(&path).map_err(|source| failed(path, source))?;
                continue;
            }
            if entry.length != size {
                let found = entry.length;
                let text = format!("file has {found} bytes, but mappedFileSizeConsumeQueue is {size}");
                return Err(failed(path, io::Error::new(io::ErrorKind::InvalidData, text)));
            }
            starts.push(start);
        }
        starts.sort_unstable();
        let gap_in = |starts: &[u64]| starts.windows(2).position(|pair| pair[0] + size != pair[1]);
        while let (Some(gap), Some(log_min)) = (gap_in(&starts), torn) {
            // Where everything before the gap is too old, it was to be removed; else what follows was not durable.
            let mut pages = Pages { queue: self, file: None, first: 0, bytes: Vec::new() };
            let old = pages.unit((starts[gap] + size) / UNIT_SIZE - 1)?;
            let old = old.is_some_and(|unit| unit.physical.0 < log_min);
            let gone = if old { starts.drain(..=gap) } else { starts.drain(gap + 1..) };
            for start in gone.rev() {
                let path = file_at(&dir, start);
                self.files.disk.remove_file(&path).map_err(|source| failed(path, source))?;
            }
        }
        if let Some(gap) = gap_in(&starts) {
            let gap = &starts[gap..];
            let source = io::Error::new(io::ErrorKind::NotFound, "consume queue file is missing");
            return Err(failed(file_at(&dir, gap[0] + size), source));
        }
        Ok(starts)
    }

    /// Start of the file that holds the unit `at`, and the unit's place in it, in bytes.
    fn place(&self, at: u64) -> (u64, u64) {
        let bytes = at * UNIT_SIZE;
        let within = bytes % self.files.file_size;
        (bytes - within, within)
    }

    /// Reads up to `count` units at `at` from one file; none, if only the disk has them and `access` goes not so far.
    fn read_file(
        &self,
        at: u64,
        count: usize,
        access: Access,
        out: &mut Vec<Unit>,
    ) -> Result<usize, QueueFileError> {
        const AT_ONCE: usize = 64;
        let (start, within) = self.place(at);
        let count = count.min(((self.files.file_size - within) / UNIT_SIZE) as usize).min(AT_ONCE);
        let mut buffer = [0; AT_ONCE * UNIT_SIZE as usize];
        let buffer = &mut buffer[..count * UNIT_SIZE as usize];
        let read = match access {
            Access::Disk => {
                self.handle(start, false).and_then(|file| file.read_at(within, buffer)).map(|_| buffer.len())
            }
            // Opening a file may take the disk, too.
            Access::Memory => {
                self.open_handle(start).map_or(Ok(0), |file| file.read_resident(within, buffer))
            }
        };
        let read = read.map_err(|source| self.failed(start, source))?;
        let count = read / UNIT_SIZE as usize;
        let buffer = &buffer[..count * UNIT_SIZE as usize];
        for bytes in buffer.chunks_exact(UNIT_SIZE as usize) {
            out.push(Unit::decode(bytes).ok_or_else(|| self.failed(start, never_written()))?);
        }
        Ok(count)
    }

    fn write_file(
        &self,
        first: u64,
        from: u64,
        mut units: &[u8],
        written: &mut Vec<u64>,
        created: &mut bool,
    ) -> Result<(), QueueFileError> {
        let mut at = from;
        while !units.is_empty() {
            let (start, within) = self.place(at);
            let length = units.len().min((self.files.file_size - within) as usize);
            let (now, later) = units.split_at(length);
            let write = || -> io::Result<bool> {
                if lock(&self.state).half_made != Some(start) {
                    match self.handle(start, false) {
                        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                        found => return found?.write_at(within, now).map(|()| false),
                    }
                }
                lock(&self.state).half_made = Some(start);
                self.files.disk.create_dir_all(&self.dir())?;
                let file = self.handle(start, true)?;
                file.set_length(self.files.file_size)?;
                if first == at && within > 0 {
                    // Java stops reading a file at its first empty unit.
                    let filler =
                        Unit { physical: PhysicalOffset(0), size: FILLER_SIZE, tags_code: TagsCode(0) };
                    file.write_at(0, &filler.encode().repeat((within / UNIT_SIZE) as usize))?;
                }
                lock(&self.state).half_made = None;
                file.write_at(within, now).map(|()| true)
            };
            *created |= write().map_err(|source| self.failed(start, source))?;
            written.push(start);
            at += (length as u64) / UNIT_SIZE;
            units = later;
        }
        Ok(())
    }

    /// Makes everything from the unit `max` on as if it had never been written.
    fn clear_from(&self, max: u64, starts: &[u64]) -> Result<(), QueueFileError> {
        let (cut, within) = self.place(max);
        for &start in starts.iter().filter(|start| **start >= cut) {
            let clear = || -> io::Result<()> {
                if start == cut && within > 0 {
                    let file = self.files.disk.open(&file_at(&self.dir(), start), false)?;
                    return file.zero_from(within, self.files.file_size);
                }
                lock(&self.files.handles).open.remove(&(self.key, start));
                self.files.disk.remove_file(&file_at(&self.dir(), start))
            };
            clear().map_err(|source| self.failed(start, source))?;
        }
        Ok(())
    }

    /// The file that starts at byte `start`, from the handles that are open or by opening it.
    fn handle(&self, start: u64, create: bool) -> io::Result<Arc<dyn File>> {
        if let Some(file) = self.open_handle(start) {
            return Ok(file);
        }
        let file: Arc<dyn File> = self.files.disk.open(&file_at(&self.dir(), start), create)?.into();
        let mut handles = lock(&self.files.handles);
        if handles.open.len() >= HANDLES_MAX {
            // Half at once: the search over all of them is paid once in so many openings.
            let mut used: Vec<u64> = handles.open.values().map(|(_, used)| *used).collect();
            let (_, median, _) = used.select_nth_unstable(HANDLES_MAX / 2);
            let median = *median;
            handles.open.retain(|_, (_, used)| *used > median);
        }
        let now = handles.clock;
        handles.open.insert((self.key, start), (Arc::clone(&file), now));
        Ok(file)
    }

    /// The same if it is open.
    fn open_handle(&self, start: u64) -> Option<Arc<dyn File>> {
        let mut handles = lock(&self.files.handles);
        handles.clock += 1;
        let now = handles.clock;
        let (file, used) = handles.open.get_mut(&(self.key, start))?;
        *used = now;
        Some(Arc::clone(file))
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.state);
        f.debug_struct("Queue")
            .field("topic", &self.topic)
            .field("queue_id", &self.queue_id.0)
            .field("min", &state.min)
            .field("flushed", &state.flushed)
            .field("max", &state.max())
            .finish_non_exhaustive()
    }
}

fn never_written() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "consume queue unit was never written")
}

/// Units as the files of a queue have them, read by the page; nothing is kept open.
struct Pages<'a> {
    queue: &'a Queue,
    file: Option<(u64, Box<dyn File>)>,
    /// The unit with which the page starts.
    first: u64,
    bytes: Vec<u8>,
}

impl Pages<'_> {
    /// The unit at `at`; `None` if it was never written.
    fn unit(&mut self, at: u64) -> Result<Option<Unit>, QueueFileError> {
        self.bytes(at).map(Unit::decode)
    }

    /// What stands in the place of the unit `at`; nothing if the file ends before it.
    fn bytes(&mut self, at: u64) -> Result<&[u8], QueueFileError> {
        const PAGE: u64 = 200;
        let (start, within) = self.queue.place(at);
        let known = self.first..self.first + self.bytes.len() as u64 / UNIT_SIZE;
        if !known.contains(&at) {
            let failed = |source| self.queue.failed(start, source);
            if self.file.as_ref().is_none_or(|(opened, _)| *opened != start) {
                let file = self.queue.files.disk.open(&file_at(&self.queue.dir(), start), false);
                self.file = Some((start, file.map_err(failed)?));
            }
            let Some((_, file)) = &self.file else { return Ok(&[]) };
            let from = within / UNIT_SIZE / PAGE * PAGE * UNIT_SIZE;
            self.first = (start + from) / UNIT_SIZE;
            // A file that ends within the page has nothing behind its end.
            self.bytes.clear();
            self.bytes.resize((self.queue.files.file_size - from).min(PAGE * UNIT_SIZE) as usize, 0);
            file.read_at(from, &mut self.bytes).map_err(failed)?;
        }
        let place = ((at - self.first) * UNIT_SIZE) as usize;
        Ok(self.bytes.get(place..place + UNIT_SIZE as usize).unwrap_or_default())
    }
}
