// SPDX-License-Identifier: Apache-2.0
//! The index, followed along a walk of the log: its entries are in the order of the log, over all files.
//!
//! Each file is looked at by itself first: its header, and its chains, which are made again from the entries.

use std::{
    collections::{BTreeSet, VecDeque},
    io,
    ops::Range,
    path::PathBuf,
};

use oxmq_record::RecordView;

use super::{Finding, Folder, InspectError, Part, Use, Watch, What, failed, unreadable};
use crate::{
    disk::File,
    index::{
        file::{ENTRY_SIZE, HEADER_SIZE, Header, IndexEntry, SLOT_SIZE, Shape},
        hash_after, keys_of, topic_hash,
    },
};

/// Entries and slots read at once.
const AT_ONCE: usize = 16 * 1024;

pub(super) struct IndexFollower<'a> {
    folder: &'a Folder,
    /// Those not begun yet.
    files: VecDeque<IndexReader>,
    /// What the last record found had, for it may be there twice: Java indexes some records again after a crash.
    last: Option<u64>,
    topic: String,
    topic_hash: i32,
    hashes: Vec<(u32, bool)>,
    faults: Option<(PathBuf, u64, u32, u64)>,
    missing: Option<(u64, u64)>,
    pub(super) entries: u64,
    pub(super) count: usize,
}

/// The entries of one file.
struct IndexReader {
    path: PathBuf,
    file: Box<dyn File>,
    shape: Shape,
    header: Header,
    /// Ordinal of the next entry.
    next: u32,
    buffer: Vec<u8>,
    /// Ordinal of the first entry in memory.
    from: u32,
}

impl IndexReader {
    /// The entry `ordinal`. `None` behind the last.
    fn entry(&mut self, ordinal: u32) -> io::Result<Option<IndexEntry>> {
        if ordinal >= self.header.next {
            return Ok(None);
        }
        let in_buffer = |reader: &Self| {
            let at = ordinal.checked_sub(reader.from)? as usize * ENTRY_SIZE;
            reader.buffer.get(at..)?.first_chunk().map(IndexEntry::decode)
        };
        if let Some(entry) = in_buffer(self) {
            return Ok(Some(entry));
        }
        let count = ((self.header.next - ordinal) as usize).min(AT_ONCE);
        self.buffer.resize(count * ENTRY_SIZE, 0);
        self.from = ordinal;
        let read = self.file.read_at(self.offset(ordinal), &mut self.buffer)?;
        self.buffer[read..].fill(0);
        Ok(in_buffer(self))
    }

    /// Adds to `out` what the chain of `hash` has of it.
    fn chain(&self, hash: u32, out: &mut BTreeSet<u64>) -> io::Result<()> {
        let mut slot = [0; SLOT_SIZE];
        let slot_at = HEADER_SIZE + (hash % self.shape.slots) as usize * SLOT_SIZE;
        self.file.read_at(slot_at as u64, &mut slot)?;
        let mut at = u32::from_be_bytes(slot);
        while at > 0 && at < self.header.next {
            let mut bytes = [0; ENTRY_SIZE];
            self.file.read_at(self.offset(at), &mut bytes)?;
            let entry = IndexEntry::decode(&bytes);
            if entry.hash == hash {
                out.insert(entry.physical);
            }
            // Damage must not lead in a circle.
            at = if entry.previous < at { entry.previous } else { 0 };
        }
        Ok(())
    }

    fn offset(&self, ordinal: u32) -> u64 {
        (HEADER_SIZE + self.shape.slots as usize * SLOT_SIZE + ordinal as usize * ENTRY_SIZE) as u64
    }

    /// Looks at all entries and slots. In the file that a broker writes, or wrote when it was killed, slots may be newer
    /// than the header, which comes last; the next start goes on with that.
    fn check_chains(&mut self, (running, written): (bool, bool), watch: &mut dyn Watch) -> io::Result<()> {
        let mut slots = vec![0u32; self.shape.slots as usize];
        let mut wrong: Option<(u32, u64)> = None;
        for ordinal in 1..self.header.next {
            let Some(entry) = self.entry(ordinal)? else { break };
            let slot = &mut slots[(entry.hash % self.shape.slots) as usize];
            let possible = entry != IndexEntry::default()
                && entry.hash <= i32::MAX as u32
                && entry.previous == *slot
                && (self.header.begin_offset..=self.header.end_offset).contains(&entry.physical);
            if !possible {
                wrong.get_or_insert((ordinal, 0)).1 += 1;
            }
            *slot = ordinal;
        }
        if let Some((first, count)) = wrong {
            let offset = Some(self.offset(first));
            let what = What::IndexChain { first, count };
            watch.finding(Finding { part: Part::Index, path: self.path.clone(), offset, what });
        }
        let mut wrong = 0;
        let mut first = 0;
        let mut buffer = vec![0; AT_ONCE * SLOT_SIZE];
        for (i, expected) in slots.chunks(AT_ONCE).enumerate() {
            let at = HEADER_SIZE + i * AT_ONCE * SLOT_SIZE;
            let buffer = &mut buffer[..expected.len() * SLOT_SIZE];
            let read = self.file.read_at(at as u64, buffer)?;
            buffer[read..].fill(0);
            for (j, (found, expected)) in buffer.as_chunks::<SLOT_SIZE>().0.iter().zip(expected).enumerate() {
                let found = u32::from_be_bytes(*found);
                if found != *expected && !(written && found >= self.header.next) {
                    if wrong == 0 {
                        first = (at + j * SLOT_SIZE) as u64;
                    }
                    wrong += 1;
                }
            }
        }
        if wrong > 0 && !running {
            let what = What::IndexChain { first: 0, count: wrong };
            watch.finding(Finding { part: Part::Index, path: self.path.clone(), offset: Some(first), what });
        }
        Ok(())
    }
}

impl<'a> IndexFollower<'a> {
    /// `None` if there is no index, or none that can be examined.
    pub(super) fn new(folder: &'a Folder, watch: &mut dyn Watch) -> Result<Option<Self>, InspectError> {
        let Some(mut readers) = open_readers(folder, watch)? else { return Ok(None) };
        let (running, count) = (folder.state == Use::Running, readers.len());
        let mut left = count;
        readers.retain_mut(|reader| {
            left -= 1;
            let written = left == 0 && folder.state != Use::Closed;
            let checked = reader.check_chains((running, written), watch);
            if let Err(error) = &checked {
                watch.finding(unreadable(Part::Index, reader.path.clone(), None, error));
            }
            checked.is_ok()
        });
        Ok(Some(Self {
            folder,
            files: readers.into(),
            last: None,
            topic: String::new(),
            topic_hash: topic_hash(""),
            hashes: Vec::new(),
            faults: None,
            missing: None,
            entries: 0,
            count,
        }))
    }

    /// The walk met a record, which may be `damaged`.
    pub(super) fn record(&mut self, record: &RecordView<'_>, damaged: bool, watch: &mut dyn Watch) {
        let physical = record.physical_offset().0;
        if self.topic != record.topic() {
            record.topic().clone_into(&mut self.topic);
            self.topic_hash = topic_hash(&self.topic);
        }
        let topic = self.topic_hash;
        self.hashes.clear();
        let hashes = keys_of(record).map(|key| (hash_after(topic, &String::from_utf8_lossy(key)), false));
        self.hashes.extend(hashes);
        while let Some(entry) = self.peek(watch) {
            if entry.physical > physical {
                break;
            }
            let found = self.hashes.iter_mut().filter(|(hash, _)| *hash == entry.hash);
            let good = if entry.physical == physical {
                found.map(|found| found.1 = true).count() > 0
            } else {
                entry.physical < self.folder.log_min() || self.last == Some(entry.physical)
            };
            self.advance(good, watch);
        }
        if self.hashes.is_empty() {
            return;
        }
        if damaged || self.hashes.iter().all(|(_, found)| *found) {
            self.last = Some(physical);
            self.report_missing(watch);
        } else {
            self.missing.get_or_insert((physical, 0)).1 += 1;
        }
    }

    /// The walk is over; the log ends at `end`.
    pub(super) fn finish(mut self, end: u64, watch: &mut dyn Watch) {
        let running = self.folder.state == Use::Running;
        let mut behind = true;
        while let Some(entry) = self.peek(watch) {
            behind = false;
            let good = self.last == Some(entry.physical)
                || entry.physical < self.folder.log_min()
                || (running && entry.physical >= end);
            self.advance(good, watch);
        }
        self.report_faults(watch);
        if !behind {
            self.report_missing(watch);
        } else if let Some((first, count)) = self.missing
            && !running
        {
            let (path, what) = (self.folder.index_dir(), What::IndexBehind { count });
            watch.finding(Finding { part: Part::Index, path, offset: Some(first), what });
        }
    }

    /// The entry to be looked at, if there is one. Those that lie behind the one that follows them are passed over: a
    /// damaged place must not hold up what stands behind it.
    fn peek(&mut self, watch: &mut dyn Watch) -> Option<IndexEntry> {
        loop {
            let reader = self.files.front_mut()?;
            let next = reader.next;
            let two = reader.entry(next).and_then(|one| Ok((one, reader.entry(next + 1)?)));
            match two {
                Ok((Some(entry), following)) => {
                    if following.is_none_or(|following| following.physical >= entry.physical) {
                        return Some(entry);
                    }
                    self.advance(false, watch);
                }
                Ok((None, _)) => {
                    self.report_faults(watch);
                    self.files.pop_front();
                }
                Err(error) => {
                    let offset = Some(reader.offset(next));
                    watch.finding(unreadable(Part::Index, reader.path.clone(), offset, &error));
                    self.files.pop_front();
                }
            }
        }
    }

    fn advance(&mut self, good: bool, watch: &mut dyn Watch) {
        let Some(reader) = self.files.front_mut() else { return };
        let ordinal = reader.next;
        reader.next += 1;
        if good {
            self.entries += 1;
            self.report_faults(watch);
        } else {
            let (path, offset) = (reader.path.clone(), reader.offset(ordinal));
            self.faults.get_or_insert((path, offset, ordinal, 0)).3 += 1;
        }
    }

    fn report_faults(&mut self, watch: &mut dyn Watch) {
        let Some((path, offset, first, count)) = self.faults.take() else { return };
        let what = What::IndexEntries { first, count };
        watch.finding(Finding { part: Part::Index, path, offset: Some(offset), what });
    }

    fn report_missing(&mut self, watch: &mut dyn Watch) {
        let Some((first, count)) = self.missing.take() else { return };
        let (path, what) = (self.folder.index_dir(), What::KeysMissing { count });
        watch.finding(Finding { part: Part::Index, path, offset: Some(first), what });
    }
}

/// All files whose header is right, oldest first. `None` if there is none, or it cannot be told where things are in them.
fn open_readers(folder: &Folder, watch: &mut dyn Watch) -> Result<Option<Vec<IndexReader>>, InspectError> {
    let dir = folder.index_dir();
    let mut listed = folder.disk.list(&dir).map_err(failed(&dir))?;
    listed.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let finding = |path, offset, what| Finding { part: Part::Index, path, offset, what };
    let (files, strange): (Vec<_>, Vec<_>) =
        listed.into_iter().partition(|entry| !entry.is_dir && entry.name.parse::<u64>().is_ok());
    for entry in strange {
        watch.finding(finding(dir.join(entry.name), None, What::StrangeName));
    }
    let Some(expected) = files.iter().map(|file| file.length).max() else { return Ok(None) };
    let Some(shape) = folder.index_shape(expected) else {
        let why = "its files are not four entries for a slot; give the broker's configuration with -c";
        watch.finding(finding(dir, None, What::NotExamined { why }));
        return Ok(None);
    };
    let mut readers = Vec::with_capacity(files.len());
    for entry in files {
        let path = dir.join(&entry.name);
        if entry.length != expected {
            watch.finding(finding(path, None, What::Length { expected, found: entry.length }));
            continue;
        }
        let mut head = [0; HEADER_SIZE];
        let opened = folder.disk.open_to_read(&path).and_then(|file| {
            file.read_at(0, &mut head)?;
            Ok(file)
        });
        let file = match opened {
            Ok(file) => file,
            Err(error) => {
                watch.finding(unreadable(Part::Index, path, None, &error));
                continue;
            }
        };
        let Some(header) = Header::decode(&head, shape) else {
            watch.finding(finding(path, Some(0), What::IndexHeader));
            continue;
        };
        readers.push(IndexReader { path, file, shape, header, next: 1, buffer: Vec::new(), from: 0 });
    }
    Ok(Some(readers))
}

/// Where records may stand that have `key`, one of `topics` and an entry; and the part of the log that the index covers.
pub(super) fn candidates(
    folder: &Folder,
    topics: &BTreeSet<String>,
    key: &str,
    watch: &mut dyn Watch,
) -> Result<(BTreeSet<u64>, Range<u64>), InspectError> {
    let mut places = BTreeSet::new();
    let readers = open_readers(folder, watch)?.unwrap_or_default();
    let mut filled = readers.iter().filter(|reader| !reader.header.is_empty()).map(|reader| reader.header);
    let Some(first) = filled.next() else { return Ok((places, 0..0)) };
    // The keys of the last record may be there in part.
    let covered = first.begin_offset..filled.next_back().map_or(first.end_offset, |last| last.end_offset);
    for reader in &readers {
        for topic in topics {
            if let Err(error) = reader.chain(hash_after(topic_hash(topic), key), &mut places) {
                watch.finding(unreadable(Part::Index, reader.path.clone(), None, &error));
                return Ok((BTreeSet::new(), 0..0));
            }
        }
    }
    places.retain(|place| covered.contains(place));
    Ok((places, covered))
}
