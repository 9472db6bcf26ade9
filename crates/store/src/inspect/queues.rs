// SPDX-License-Identifier: Apache-2.0
//! Consume queues, followed along a walk of the log.
//!
//! A queue's units are in the order of the log. So for each queue one place is kept, its next unit, which is compared
//! with the next record of the queue:
//! - the unit points to the record: good, on to the next;
//! - it points before the record: to nothing that the walk met, or it has the record's ordinal and is wrong;
//! - it points behind: the record is in no queue, unless the unit is wrong, which the record that it names can tell;
//! - it was never written: so the record's is missing.
//!
//! Units before the first record that the log still has are passed over.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    ops::Range,
    path::PathBuf,
    sync::Arc,
};

use oxmq_record::{RecordView, sys_flag};
use oxmq_types::TagsCode;

use super::{
    FilePart, Finding, Folder, InspectError, NotInQueue, Part, QueueFolder, QueueName, UnitFault, Use, Watch,
    What, read_once, sequence_findings, unreadable,
};
use crate::{
    disk::Disk,
    log::file_at,
    unit::{UNIT_SIZE, Unit},
};

/// Bytes of units in memory, over all queues.
const BUFFERS: usize = 32 * 1024 * 1024;
/// Bytes of units in memory for a queue: so many at least and at most.
const BUFFER: Range<usize> = 16 * UNIT_SIZE as usize..3_000 * UNIT_SIZE as usize;
/// Light message queues, which hold units of records of other topics. Java: `MixAll.LMQ_PREFIX`.
const LIGHT_PREFIX: &str = "%LMQ%";

/// The units of a queue, read from its files.
pub(super) struct Units {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    file_size: u64,
    files: Vec<FilePart>,
    /// Units in memory, and the ordinal of the first.
    buffer: Vec<u8>,
    from: u64,
    step: usize,
}

impl Units {
    pub(super) fn new(folder: &Folder, queue: &QueueFolder, file_size: u64, step: usize) -> Self {
        Self {
            disk: Arc::clone(&folder.disk),
            dir: folder.queue_dir().join(&*queue.name.topic).join(queue.name.id.to_string()),
            file_size,
            files: queue.files.iter().filter(|file| file.start % UNIT_SIZE == 0).copied().collect(),
            buffer: Vec::new(),
            from: 0,
            step,
        }
    }

    /// The ordinals that the files have room for.
    pub(super) fn range(&self) -> Range<u64> {
        let start = self.files.first().map_or(0, |first| first.start / UNIT_SIZE);
        let end =
            self.files.last().map_or(0, |last| (last.start + last.length.min(self.file_size)) / UNIT_SIZE);
        start..end
    }

    /// The unit at `at`. `None` if it was never written, or no file has it.
    pub(super) fn get(&mut self, at: u64) -> io::Result<Option<Unit>> {
        let in_buffer = |units: &Self| {
            let skip = usize::try_from(at.checked_sub(units.from)?).ok()?.checked_mul(UNIT_SIZE as usize)?;
            units.buffer.get(skip..skip + UNIT_SIZE as usize).map(Unit::decode)
        };
        if let Some(unit) = in_buffer(self) {
            return Ok(unit);
        }
        let Some((file, within)) = self.place(at) else { return Ok(None) };
        let length = (file.length.min(self.file_size) - within).min(self.step as u64) as usize;
        self.buffer.resize(length, 0);
        self.from = at;
        match read_once(&*self.disk, &file_at(&self.dir, file.start), within, &mut self.buffer) {
            Ok(read) => self.buffer.truncate(read),
            Err(error) => {
                self.buffer.clear();
                return Err(error);
            }
        }
        Ok(in_buffer(self).flatten())
    }

    /// The file that has the unit `at`, and the byte in it.
    fn place(&self, at: u64) -> Option<(FilePart, u64)> {
        let byte = at.checked_mul(UNIT_SIZE)?;
        let file = self.files[..self.files.partition_point(|file| file.start <= byte)].last()?;
        let within = byte - file.start;
        (within + UNIT_SIZE <= file.length.min(self.file_size)).then_some((*file, within))
    }

    /// The file and the byte in it where the unit `at` is or should be.
    fn named(&self, at: u64) -> (PathBuf, u64) {
        let byte = at.saturating_mul(UNIT_SIZE);
        let within = byte % self.file_size;
        (file_at(&self.dir, byte - within), within)
    }

    /// The first unit that points to `limit` or behind; the end of what is written if there is none. Holes mislead it.
    pub(super) fn first_from(&mut self, limit: u64) -> io::Result<u64> {
        let Range { start: mut low, end: mut high } = self.range();
        while low < high {
            let middle = low + (high - low) / 2;
            // Filler without a place stands before the first message of a queue.
            let before = self.get(middle)?.is_some_and(|unit| unit.physical.0 < limit);
            if before { low = middle + 1 } else { high = middle }
        }
        Ok(low)
    }
}

/// Units in a row with the same fault, not reported yet.
struct Run<K> {
    kind: K,
    first: u64,
    count: u64,
}

/// One queue on the way.
struct Follower {
    name: QueueName,
    units: Units,
    /// The unit to look at next; `None` before the first record.
    at: Option<u64>,
    faults: Option<Run<UnitFault>>,
    missing: Option<Run<NotInQueue>>,
    /// The queue cannot be read on.
    failed: bool,
}

/// All queues on the way.
pub(super) struct Queues<'a> {
    folder: &'a Folder,
    by_topic: HashMap<Arc<str>, HashMap<u32, Follower>>,
    /// Queues without a folder: where their first record is, which it is, and how many there are.
    absent: BTreeMap<QueueName, Run<u64>>,
    topic_exists: &'a dyn Fn(&str) -> bool,
    expected_tags: &'a dyn Fn(&RecordView<'_>) -> Option<TagsCode>,
    batches_seen: bool,
    pub(super) units: u64,
    pub(super) count: usize,
}

impl<'a> Queues<'a> {
    pub(super) fn new(
        folder: &'a Folder,
        topic_exists: &'a dyn Fn(&str) -> bool,
        expected_tags: &'a dyn Fn(&RecordView<'_>) -> Option<TagsCode>,
        watch: &mut dyn Watch,
    ) -> Result<Self, InspectError> {
        let listed = folder.queue_folders(watch)?;
        let file_size = folder.queue_file_size(&listed);
        let step = (BUFFERS / listed.len().max(1)).clamp(BUFFER.start, BUFFER.end);
        let step = step - step % UNIT_SIZE as usize;
        let mut queues = Self {
            folder,
            by_topic: HashMap::new(),
            absent: BTreeMap::new(),
            topic_exists,
            expected_tags,
            batches_seen: false,
            units: 0,
            count: listed.len(),
        };
        for queue in &listed {
            let Some(file_size) = file_size else {
                if !queue.files.is_empty() {
                    return Err(InspectError::NoLength { dir: folder.queue_dir() });
                }
                continue;
            };
            let units = Units::new(folder, queue, file_size, step);
            let growing = folder.state == Use::Running;
            let found = sequence_findings(Part::Queues, &units.dir, &queue.files, file_size, growing);
            found.into_iter().for_each(|finding| watch.finding(finding));
            let light = queue.name.topic.starts_with(LIGHT_PREFIX);
            if light {
                let what = What::NotExamined { why: "a light message queue, its units are of other topics" };
                watch.finding(Finding { part: Part::Queues, path: units.dir.clone(), offset: None, what });
            }
            let follower = Follower {
                name: queue.name.clone(),
                units,
                at: None,
                faults: None,
                missing: None,
                failed: light,
            };
            let queues = queues.by_topic.entry(Arc::clone(&queue.name.topic)).or_default();
            queues.insert(queue.name.id, follower);
        }
        Ok(queues)
    }

    /// The walk met a record, which may be `damaged`.
    pub(super) fn record(&mut self, record: &RecordView<'_>, damaged: bool, watch: &mut dyn Watch) {
        if !sys_flag::enters_consume_queue(record.sys_flag()) {
            return;
        }
        if record.sys_flag() & sys_flag::INNER_BATCH != 0 {
            if !std::mem::replace(&mut self.batches_seen, true) {
                let path = self.folder.layout.root.join("batchconsumequeue");
                let what = What::NotExamined { why: "batch consume queues" };
                watch.finding(Finding { part: Part::Queues, path, offset: None, what });
            }
            return;
        }
        let id = record.queue_id().0;
        match self.by_topic.get_mut(record.topic()).and_then(|queues| queues.get_mut(&id)) {
            Some(follower) if follower.failed => {}
            Some(follower) => {
                let tags = (self.expected_tags)(record);
                if let Err(error) =
                    follower.record(self.folder, record, damaged, tags, &mut self.units, watch)
                {
                    follower.fail(&error, watch);
                }
            }
            None => {
                let name = QueueName { topic: Arc::from(record.topic()), id };
                let first = record.queue_offset().0;
                let kind = record.physical_offset().0;
                self.absent.entry(name).or_insert(Run { kind, first, count: 0 }).count += 1;
            }
        }
    }

    /// The walk is over; the log ends at `end`. After a crash a start dispatches what lies behind `dispatched`.
    pub(super) fn finish(self, end: u64, dispatched: u64, watch: &mut dyn Watch) {
        let state = self.folder.state;
        for (queue, run) in self.absent {
            let path = self.folder.queue_dir().join(&*queue.topic).join(queue.id.to_string());
            let why = match (self.topic_exists)(&queue.topic) {
                false => NotInQueue::Deleted,
                true if state != Use::Closed && run.kind >= dispatched => NotInQueue::Behind,
                true => NotInQueue::NoFolder,
            };
            let what = What::NotInQueue { queue, why, count: run.count, first: run.first };
            watch.finding(Finding { part: Part::Queues, path, offset: None, what });
        }
        let mut followers: Vec<_> = self.by_topic.into_values().flat_map(HashMap::into_values).collect();
        followers.retain(|follower| !follower.failed);
        followers.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        for mut follower in followers {
            if let Err(error) = follower.finish(self.folder, end, watch) {
                follower.fail(&error, watch);
            }
        }
    }
}

impl Follower {
    fn record(
        &mut self,
        folder: &Folder,
        record: &RecordView<'_>,
        damaged: bool,
        tags: Option<TagsCode>,
        good: &mut u64,
        watch: &mut dyn Watch,
    ) -> io::Result<()> {
        let (physical, ordinal) = (record.physical_offset().0, record.queue_offset().0);
        let mut at = match self.at {
            Some(at) => at,
            None => self.start(folder, physical, ordinal)?,
        };
        loop {
            let unit = self.units.get(at)?;
            match unit {
                Some(unit) if unit.is_filler() && at != ordinal => at += 1,
                Some(unit) if unit.is_filler() => {
                    if !damaged {
                        self.not_in_queue(NotInQueue::NoUnit, ordinal, watch);
                    }
                    at += 1;
                    break;
                }
                Some(unit) if unit.physical.0 < physical => {
                    let kind = if at == ordinal { UnitFault::Wrong } else { UnitFault::NoRecord };
                    self.fault(kind, at, watch);
                    at += 1;
                    if kind == UnitFault::Wrong {
                        break;
                    }
                }
                Some(unit) if unit.physical.0 == physical => {
                    let kind = match tags {
                        _ if at != ordinal => Some(UnitFault::Wrong),
                        _ if unit.size != record.size() => Some(UnitFault::Size),
                        // Codes below are places in an extension file. Java: `ConsumeQueueExt#isExtAddr`.
                        Some(tags) if unit.tags_code != tags && unit.tags_code.0 >= i64::from(i32::MIN) => {
                            Some(UnitFault::Tags)
                        }
                        _ => None,
                    };
                    match kind {
                        Some(kind) => self.fault(kind, at, watch),
                        None => *good += 1,
                    }
                    at += 1;
                    break;
                }
                Some(unit) if at == ordinal && !self.is_of_queue(folder, unit.physical.0, at) => {
                    self.fault(UnitFault::Wrong, at, watch);
                    at += 1;
                    break;
                }
                Some(_) if damaged => break,
                Some(_) => {
                    // A queue that was made again begins at 0; another has lost its first files.
                    let lost = ordinal < self.units.range().start;
                    let why = if lost { NotInQueue::NoUnit } else { NotInQueue::Taken };
                    self.not_in_queue(why, ordinal, watch);
                    break;
                }
                None => {
                    if !damaged {
                        self.not_in_queue(NotInQueue::NoUnit, ordinal, watch);
                    }
                    at = at.max(ordinal.saturating_add(1));
                    break;
                }
            }
        }
        self.at = Some(at);
        Ok(())
    }

    /// Where to begin, given the first record of the queue that the log has.
    fn start(&mut self, folder: &Folder, physical: u64, ordinal: u64) -> io::Result<u64> {
        let range = self.units.range();
        let min = folder.log_min();
        let points_to = |unit: Option<Unit>| unit.is_some_and(|unit| unit.physical.0 == physical);
        if min == 0 || !range.contains(&ordinal) {
            return Ok(range.start);
        }
        if points_to(self.units.get(ordinal)?) {
            let before = match ordinal.checked_sub(1) {
                Some(before) if range.contains(&before) => self.units.get(before)?,
                _ => None,
            };
            if before.is_none_or(|unit| unit.physical.0 < min || unit.is_filler()) {
                return Ok(ordinal);
            }
        }
        self.units.first_from(min)
    }

    /// True if the log has, at `physical`, the record of this queue with the ordinal `at`.
    fn is_of_queue(&self, folder: &Folder, physical: u64, at: u64) -> bool {
        let Some(bytes) = folder.record_at(physical) else { return false };
        let Ok(record) = RecordView::parse(&bytes) else { return false };
        record.topic() == &*self.name.topic
            && record.queue_id().0 == self.name.id
            && record.queue_offset().0 == at
    }

    /// What follows the last record.
    fn finish(&mut self, folder: &Folder, end: u64, watch: &mut dyn Watch) -> io::Result<()> {
        let running = folder.state == Use::Running;
        let range = self.units.range();
        let mut at = match self.at {
            Some(at) => at,
            None => self.units.first_from(folder.log_min())?,
        };
        // What is missing at the end alone is made at the next start.
        if let Some(missing) =
            self.missing.take_if(|run| run.kind == NotInQueue::NoUnit && run.first + run.count >= at)
        {
            let behind = folder.state != Use::Closed && self.units.get(at)?.is_none();
            let kind = if behind { NotInQueue::Behind } else { NotInQueue::NoUnit };
            if !(running && behind) {
                self.missing = Some(Run { kind, ..missing });
            }
        }
        while let Some(unit) = self.units.get(at)? {
            let kind = if unit.physical.0 >= end { UnitFault::BeyondEnd } else { UnitFault::NoRecord };
            let expected = running && kind == UnitFault::BeyondEnd;
            if !unit.is_filler() && !expected {
                self.fault(kind, at, watch);
            }
            at += 1;
        }
        // Java and the store search for the end by halves: what lies behind a hole is served to nobody, or wrongly.
        let later = self.units.files.iter().map(|file| file.start / UNIT_SIZE).filter(|first| *first > at);
        let probes: Vec<u64> =
            (at + 1..range.end.min(at + self.units.step as u64 / UNIT_SIZE)).chain(later).collect();
        for probe in probes {
            if !running && self.units.get(probe)?.is_some() {
                let (path, offset) = self.units.named(probe);
                let what = What::UnitsBehindHole { queue: self.name.clone(), first: probe };
                watch.finding(Finding { part: Part::Queues, path, offset: Some(offset), what });
                break;
            }
        }
        self.report_faults(watch);
        self.report_missing(watch);
        Ok(())
    }

    fn fault(&mut self, kind: UnitFault, at: u64, watch: &mut dyn Watch) {
        match &mut self.faults {
            Some(run) if run.kind == kind && run.first + run.count == at => run.count += 1,
            _ => {
                self.report_faults(watch);
                self.faults = Some(Run { kind, first: at, count: 1 });
            }
        }
    }

    fn not_in_queue(&mut self, kind: NotInQueue, ordinal: u64, watch: &mut dyn Watch) {
        match &mut self.missing {
            Some(run) if run.kind == kind && run.first.wrapping_add(run.count) == ordinal => run.count += 1,
            _ => {
                self.report_missing(watch);
                self.missing = Some(Run { kind, first: ordinal, count: 1 });
            }
        }
    }

    fn report_faults(&mut self, watch: &mut dyn Watch) {
        let Some(Run { kind, first, count }) = self.faults.take() else { return };
        let (path, offset) = self.units.named(first);
        let what = What::Units { queue: self.name.clone(), how: kind, first, count };
        watch.finding(Finding { part: Part::Queues, path, offset: Some(offset), what });
    }

    fn report_missing(&mut self, watch: &mut dyn Watch) {
        let Some(Run { kind: why, first, count }) = self.missing.take() else { return };
        let (path, offset) = self.units.named(first);
        let what = What::NotInQueue { queue: self.name.clone(), why, count, first };
        watch.finding(Finding { part: Part::Queues, path, offset: Some(offset), what });
    }

    fn fail(&mut self, error: &io::Error, watch: &mut dyn Watch) {
        self.failed = true;
        let (path, offset) = self.units.named(self.at.unwrap_or(0));
        watch.finding(unreadable(Part::Queues, path, Some(offset), error));
    }
}
