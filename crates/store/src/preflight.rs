// SPDX-License-Identifier: Apache-2.0
//! What must be right about a folder before a store is opened on it. Everything that is wrong is said at once, and
//! nothing is changed: a folder that was refused is as it was, to the byte and the time of each file.
//!
//! Refused is what a start would make worse, or what would pass for empty:
//! - files of other lengths than configured, or that were not copied whole;
//! - commit log files that are missing or in each other's place; a log that ends before what queues know of;
//! - files that cannot be read and written, folders in the place of files and the other way round;
//! - what only a Java broker with other settings can read: RocksDB, DLedger, extended and batch consume queues,
//!   compacted topics, tiered storage.
//!
//! Not refused is what is built again from the log: index files, whatever their length, and consume queues that are
//! missing, short or damaged, as long as they are not all of one other length, which is a difference of settings.
//!
//! A log without its first files looks like one of which retention removed them, and is not noticed.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use oxmq_record::{BLANK_SIZE_MIN, Peeked, RecordView, peek_size_and_magic};

use crate::{
    checkpoint::Checkpoint,
    config::StoreConfig,
    disk::{Disk, Entry, Locked},
    error::OpenError,
    log::file_at,
    store::{check, read_checkpoint},
    unit::{UNIT_SIZE, Unit},
};

/// Consume queues that are looked at: a difference of settings shows in all of them, and there may be very many.
const QUEUES_LOOKED_AT: usize = 64;
/// Longest record at the start of a segment that is read.
const RECORD_LOOKED_AT_MAX: u32 = 8 << 20;
/// A broker that lives so long after its first record, in ms, has written what it writes in its first seconds.
const FIRST_SECONDS_MS: i64 = 60_000;
/// Problems of one kind that are listed.
const LISTED_MAX: usize = 8;

/// One thing that is wrong with a store folder: what it is, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// Cannot be read or written, or is a folder where a file is expected, or the other way round.
    #[error("{}: {source}; {}", path.display(), advice(source))]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Commit log files have another length than configured.
    #[error(
        "commit log file {} has {found} bytes, but mappedFileSizeCommitLog is {expected}; \
         set mappedFileSizeCommitLog={found} if that is how the folder was written, else copy it again",
        path.display()
    )]
    SegmentSize {
        /// The first file.
        path: PathBuf,
        /// Bytes that it should have.
        expected: u64,
        /// Bytes that it has.
        found: u64,
    },
    /// A commit log file among others of the right length has another one.
    #[error(
        "commit log file {} has {found} bytes instead of {expected}: it was not copied whole; copy it again",
        path.display()
    )]
    SegmentShort {
        /// The file.
        path: PathBuf,
        /// Bytes that it should have.
        expected: u64,
        /// Bytes that it has.
        found: u64,
    },
    /// Commit log files between others are not there.
    #[error(
        "commit log file {} is missing{}: the next one that exists starts at {found}; copy what is missing, from all \
         folders if storePathCommitLog named several",
        path.display(), more(*missing)
    )]
    SegmentMissing {
        /// The first that is not there.
        path: PathBuf,
        /// How many are not there.
        missing: u64,
        /// Where the next one starts.
        found: u64,
    },
    /// A name in the commit log folder is not one of a file of this length.
    #[error("{} is not a commit log file of segments of {segment_size} bytes; move it away", path.display())]
    SegmentName {
        /// The file.
        path: PathBuf,
        /// Bytes in a segment, as configured.
        segment_size: u64,
    },
    /// A commit log file has the records of another one.
    #[error(
        "commit log file {} holds the records of {}: files were renamed or swapped; give it that name",
        path.display(), holds.display()
    )]
    SegmentSwapped {
        /// The file.
        path: PathBuf,
        /// The name that would be right.
        holds: PathBuf,
    },
    /// Something knows of messages beyond the last commit log file.
    #[error(
        "the commit log in {} ends at {end}, but {} knows of messages up to {known}: the last files of the log are missing; \
         copy them, too, or, if they are lost, move consumequeue, index and checkpoint away: they are built again from what is there",
        dir.display(), by.display()
    )]
    LogTooShort {
        /// The folder of the commit log.
        dir: PathBuf,
        /// Where its last file ends.
        end: u64,
        /// A physical offset beyond.
        known: u64,
        /// The file that says so.
        by: PathBuf,
    },
    /// Consume queue files have another length than configured.
    #[error(
        "consume queue file {} has {found} bytes, but mappedFileSizeConsumeQueue is {expected}; \
         set mappedFileSizeConsumeQueue={found}, as it was when the folder was written, or move the folder of the consume \
         queues away, which are then built again",
        path.display()
    )]
    QueueFileSize {
        /// One of them.
        path: PathBuf,
        /// Bytes that it should have.
        expected: u64,
        /// Bytes that it has.
        found: u64,
    },
    /// Something that only a Java broker with other settings can read.
    #[error("{} holds {what}, which OxMQ does not read; {remedy}", path.display())]
    Foreign {
        /// The file or folder.
        path: PathBuf,
        /// What it holds.
        what: &'static str,
        /// What to do.
        remedy: &'static str,
    },
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "the user that runs the broker must be able to read and write all of the store folder"
        }
        io::ErrorKind::ReadOnlyFilesystem => "a broker writes to its store, also to serve what is in it",
        io::ErrorKind::StorageFull => "make room first",
        io::ErrorKind::IsADirectory => "a folder in the place of a file; move it away",
        io::ErrorKind::NotADirectory => {
            "a file in the place of a folder; move it away, or name another folder"
        }
        _ => "the store cannot be opened without it",
    }
}

fn more(missing: u64) -> String {
    if missing > 1 { format!(" and {} after it", missing - 1) } else { String::new() }
}

/// Everything that is wrong with a folder, one to a line.
#[derive(Debug)]
pub struct Problems(pub Vec<Problem>);

impl std::error::Error for Problems {}

impl From<Problem> for OpenError {
    fn from(problem: Problem) -> Self {
        Self::Refused(Problems(vec![problem]))
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.0.iter().enumerate() {
            write!(f, "{}{problem}", if at == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

/// What a folder holds, as far as others need to know before it is opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Folder {
    /// There are records in the commit log.
    pub has_records: bool,
    /// Files that are written in the first seconds of a broker's life must be there: the last broker on it, of whatever
    /// kind, ended in order, or OxMQ worked on it, or the log shows that it was written for longer.
    pub settled: bool,
}

/// Looks at the folder that `config` names, without changing anything.
///
/// # Errors
/// [`OpenError::Locked`], [`OpenError::Setting`], or [`OpenError::Refused`] with all that is wrong.
#[cfg(unix)]
pub fn preflight(config: &StoreConfig) -> Result<Folder, OpenError> {
    let mut config = config.clone();
    check(&mut config)?;
    look(&crate::disk::real::RealDisk::default(), &config).map(|(folder, _lock)| folder)
}

/// The same for a checked configuration; gives the lock along if there is a file to lock.
pub(crate) fn look(
    disk: &dyn Disk,
    config: &StoreConfig,
) -> Result<(Folder, Option<Box<dyn Locked>>), OpenError> {
    let mut look = Look { disk, config, problems: Vec::new() };
    // What another broker is writing is not to be judged.
    let lock_file = config.root.join("lock");
    let held = match disk.exists(&lock_file).then(|| disk.lock(&lock_file)) {
        Some(Ok(None)) => return Err(OpenError::Locked { root: config.root.clone() }),
        Some(Ok(held)) => held,
        Some(Err(source)) => {
            look.io(&lock_file, source);
            None
        }
        None => None,
    };
    let root = look.list(&config.root);
    if !look.problems.is_empty() && root.is_empty() {
        // All that is below would be said to be in the same state.
        return Err(OpenError::Refused(Problems(look.problems)));
    }
    look.foreign(&root);
    let checkpoint = read_checkpoint(disk, &config.checkpoint_file).unwrap_or_else(|source| {
        look.io(&config.checkpoint_file, source);
        Checkpoint::default()
    });
    let abort = config.root.join("abort");
    let crashed = disk.exists(&abort);
    if crashed && let Err(source) = disk.open(&abort, false) {
        look.io(&abort, source);
    }
    let log = look.commit_log();
    let queues = look.queues();
    if let Some(index) = &config.index {
        look.list(&index.dir);
    }
    if look.problems.is_empty() {
        let known = match checkpoint.mark {
            // It is moved on when log and queues are on the disk so far. What queues and index say besides may be
            // left over from before a cut.
            Some(mark) => Some((mark.dispatched.0, &config.checkpoint_file)),
            None => {
                let known = queues.iter().max();
                // A power failure may have left the units and not the file that Java had just made.
                let grace = if crashed { config.segment_size_bytes } else { 0 };
                known.map(|(at, by)| ((*at + 1).saturating_sub(grace), by))
            }
        };
        if let Some((known, by)) = known.filter(|(known, _)| *known > log.end) {
            let (dir, by) = (config.commit_log_dir.clone(), by.clone());
            look.problems.push(Problem::LogTooShort { dir, end: log.end, known, by });
        }
    }
    if !look.problems.is_empty() {
        return Err(OpenError::Refused(Problems(look.problems)));
    }
    let settled = !crashed || checkpoint.mark.is_some() || log.grown;
    Ok((Folder { has_records: log.has_records, settled }, held))
}

struct Look<'a> {
    disk: &'a dyn Disk,
    config: &'a StoreConfig,
    problems: Vec<Problem>,
}

#[derive(Default)]
struct LogFound {
    /// Where the last segment ends.
    end: u64,
    has_records: bool,
    /// It was written for longer than a broker's first seconds.
    grown: bool,
}

impl Look<'_> {
    fn io(&mut self, path: &Path, source: io::Error) {
        self.problems.push(Problem::Io { path: path.to_owned(), source });
    }

    /// What is in `dir`, sorted; nothing if it is not there or cannot be used, which is noted.
    fn list(&mut self, dir: &Path) -> Vec<Entry> {
        let listed = self.disk.list(dir).and_then(|entries| {
            if !entries.is_empty() {
                self.disk.writable(dir)?;
            }
            Ok(entries)
        });
        let mut entries = listed.unwrap_or_else(|source| {
            self.io(dir, source);
            Vec::new()
        });
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        entries
    }

    /// Things that other kinds of brokers leave. A broker 5.3.3 makes some of the folders in any case, and leaves them
    /// empty.
    fn foreign(&mut self, in_root: &[Entry]) {
        const ROCKS_DB: &str = "a RocksDB database";
        let root = self.config.root.clone();
        let config = root.join("config");
        let any = |look: &mut Self, dir: &Path| !look.list(dir).is_empty();
        if self.disk.exists(&self.config.consume_queue_dir.join("CURRENT")) {
            let remedy = "move the folder away, and set storeType=default: the consume queues are built again from the \
                          commit log. Export the configuration first, with mqadmin rocksDBConfigToJson";
            let path = self.config.consume_queue_dir.clone();
            self.problems.push(Problem::Foreign { path, what: ROCKS_DB, remedy });
        }
        for (name, json) in [
            ("topics", "topics.json"),
            ("subscriptionGroups", "subscriptionGroup.json"),
            ("consumerOffsets", "consumerOffset.json"),
        ] {
            let path = config.join(name);
            if self.disk.exists(&path.join("CURRENT")) && !self.disk.exists(&config.join(json)) {
                let remedy = "have the Java broker write it as JSON (mqadmin rocksDBConfigToJson) and put that beside it";
                self.problems.push(Problem::Foreign { path, what: ROCKS_DB, remedy });
            }
        }
        for (path, what, remedy) in [
            (
                root.join("consumequeue_ext"),
                "extended consume queues (enableConsumeQueueExt)",
                "move it and the folder of the consume queues away, which are then built again without them",
            ),
            (
                root.join("batchconsumequeue"),
                "consume queues of batches (queue.type=BatchCQ)",
                "consume these topics with the Java broker, and delete them there",
            ),
            (
                root.join("compaction").join("compactionLog"),
                "compacted topics (cleanup.policy=COMPACTION)",
                "delete these topics with the Java broker, or move the folder away to go on without what was compacted",
            ),
        ] {
            if any(self, &path) {
                self.problems.push(Problem::Foreign { path, what, remedy });
            }
        }
        let path = config.join("tieredStoreMetadata.json");
        if self.disk.exists(&path) {
            let remedy =
                "messages that are only there cannot be consumed; move the file away to go on without them";
            self.problems.push(Problem::Foreign { path, what: "the catalogue of a tiered store", remedy });
        }
        for entry in in_root.iter().filter(|entry| entry.is_dir && entry.name.starts_with("dledger-")) {
            let remedy = "its records are not those of a commit log. Consume its messages with the Java broker, or move the folder away";
            let path = root.join(&entry.name);
            self.problems.push(Problem::Foreign { path, what: "a DLedger commit log", remedy });
        }
    }

    fn commit_log(&mut self) -> LogFound {
        let (dir, size) = (self.config.commit_log_dir.clone(), self.config.segment_size_bytes);
        let entries = self.list(&dir);
        let mut files: Vec<(u64, PathBuf, u64)> = Vec::with_capacity(entries.len());
        for entry in entries {
            let path = dir.join(&entry.name);
            let start = entry.name.parse::<u64>().ok().filter(|start| entry.name == format!("{start:020}"));
            match start {
                Some(_) if entry.is_dir => self.io(&path, io::ErrorKind::IsADirectory.into()),
                Some(start) => files.push((start, path, entry.length)),
                None if entry.is_dir => {}
                None => self.problems.push(Problem::SegmentName { path, segment_size: size }),
            }
        }
        let before = self.problems.len();
        let heads: Vec<_> = files.iter().map(|(_, path, _)| self.head(path)).collect();
        // A crash while the last file was made leaves it short and empty; recovery removes it.
        if let (Some((.., length)), Some(Head::Empty)) = (files.last(), heads.last())
            && *length < size
        {
            files.pop();
        }
        if let Some((_, path, found)) = files.first()
            && *found != size
            && files.iter().all(|(.., length)| length == found)
        {
            self.problems.push(Problem::SegmentSize { path: path.clone(), expected: size, found: *found });
            return LogFound::default();
        }
        let mut expected = None;
        for ((start, path, length), head) in files.iter().zip(&heads) {
            if start % size != 0 {
                self.problems.push(Problem::SegmentName { path: path.clone(), segment_size: size });
                continue;
            }
            if *length != size {
                let (path, expected, found) = (path.clone(), size, *length);
                self.problems.push(Problem::SegmentShort { path, expected, found });
            }
            if let Some(expected) = expected.filter(|expected| expected != start) {
                let missing = start.saturating_sub(expected) / size;
                let path = file_at(&dir, expected);
                self.problems.push(Problem::SegmentMissing { path, missing, found: *start });
            }
            if let Head::Record { physical, .. } = head
                && physical != start
                // Else a bit of it flipped, and recovery passes over it.
                && physical % size == 0
            {
                let holds = file_at(&dir, *physical);
                self.problems.push(Problem::SegmentSwapped { path: path.clone(), holds });
            }
            expected = Some(start + size);
        }
        self.problems.truncate(before + LISTED_MAX);
        // Java makes the second segment with the first.
        let written = || files.iter().zip(&heads).filter(|(_, head)| !matches!(head, Head::Empty));
        let first_ms = heads.iter().find_map(|head| match head {
            Head::Record { stored_ms, .. } => Some(*stored_ms),
            _ => None,
        });
        let last_ms = written().next_back().and_then(|((_, path, _), _)| self.disk.modified_ms(path).ok());
        let lived =
            first_ms.zip(last_ms).is_some_and(|(first, last)| last > first.saturating_add(FIRST_SECONDS_MS));
        LogFound {
            grown: files.first().is_some_and(|(start, ..)| *start > 0) || written().count() > 1 || lived,
            end: expected.unwrap_or(0),
            has_records: heads.iter().any(|head| matches!(head, Head::Record { .. })),
        }
    }

    /// What a commit log file starts with.
    fn head(&mut self, path: &Path) -> Head {
        let read = || {
            let file = self.disk.open(path, false)?;
            let mut head = [0; BLANK_SIZE_MIN];
            file.read_at(0, &mut head)?;
            let Peeked::Message { size } = peek_size_and_magic(&head) else {
                return Ok(if head == [0; BLANK_SIZE_MIN] { Head::Empty } else { Head::Other });
            };
            let mut record = vec![0; size.min(RECORD_LOOKED_AT_MAX) as usize];
            file.read_at(0, &mut record)?;
            Ok(match RecordView::parse(&record) {
                Ok(record) if record.verify_crc() => Head::Record {
                    physical: record.physical_offset().0,
                    stored_ms: record.store_timestamp_ms(),
                },
                _ => Head::Other,
            })
        };
        read().unwrap_or_else(|source| {
            self.io(path, source);
            Head::Other
        })
    }

    /// For some of the queues, the physical offset of the last message that is known there.
    fn queues(&mut self) -> Vec<(u64, PathBuf)> {
        let (dir, size) = (self.config.consume_queue_dir.clone(), self.config.consume_queue_file_size_bytes);
        let mut files = Vec::new();
        'topics: for topic in self.list(&dir).into_iter().filter(|topic| topic.is_dir) {
            let topic = dir.join(topic.name);
            for queue in self.list(&topic).into_iter().filter(|queue| queue.is_dir) {
                let queue = topic.join(queue.name);
                // A crash while a file was made leaves it empty.
                let mut found = self.list(&queue);
                found.retain(|file| !file.is_dir && file.length > 0);
                let last = found.pop();
                files.extend(last.map(|file| (queue.join(file.name), file.length)));
                if files.len() == QUEUES_LOOKED_AT {
                    break 'topics;
                }
            }
        }
        let lengths: Vec<_> = files.iter().map(|(_, length)| *length).collect();
        if let (Some(found), Some((path, _))) = (other_length(&lengths, size), files.first()) {
            let path = path.clone();
            self.problems.push(Problem::QueueFileSize { path, expected: size, found });
            return Vec::new();
        }
        let known = files.into_iter().filter_map(|(path, length)| {
            let last = last_unit(self.disk, &path, length.min(size)).unwrap_or_else(|source| {
                self.io(&path, source);
                None
            });
            last.filter(|unit| !unit.is_filler()).map(|unit| (unit.physical.0, path))
        });
        known.collect()
    }
}

enum Head {
    /// A whole record that says where it belongs.
    Record {
        physical: u64,
        /// In ms since 1970.
        stored_ms: i64,
    },
    /// Nothing was ever written.
    Empty,
    Other,
}

/// The length that all files have, if it is another than `expected` by configuration: a single file that is shorter
/// was cut.
fn other_length(lengths: &[u64], expected: u64) -> Option<u64> {
    let (&first, rest) = lengths.split_first()?;
    let same = first != expected && rest.iter().all(|length| *length == first);
    (same && (first > expected || !rest.is_empty())).then_some(first)
}

/// The last unit of the consume queue file at `path`, of which `length` bytes count.
fn last_unit(disk: &dyn Disk, path: &Path, length: u64) -> io::Result<Option<Unit>> {
    let file = disk.open(path, false)?;
    let unit = |at: u64| {
        let mut bytes = [0; UNIT_SIZE as usize];
        file.read_at(at * UNIT_SIZE, &mut bytes)?;
        Ok::<_, io::Error>(Unit::decode(&bytes))
    };
    // Units follow each other without a gap, behind them there is nothing.
    let (mut written, mut end) = (0, length / UNIT_SIZE);
    while written < end {
        let middle = written + (end - written) / 2;
        if unit(middle)?.is_some() {
            written = middle + 1;
        } else {
            end = middle;
        }
    }
    if written == 0 { Ok(None) } else { unit(written - 1) }
}
