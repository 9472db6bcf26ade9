// SPDX-License-Identifier: Apache-2.0
//! Index: which messages have a key. By topic and key, to physical offsets; for those who look for a message.
//!
//! Folder `index`; files are named by the time they were made, `yyyyMMddHHmmssSSS`, and follow each other in that order.
//! One file is drawn in `file`; it takes about ten million messages. The keys of a message are its `UNIQ_KEY` and the
//! words of its `KEYS`, which blanks separate; parts of transactions that were rolled back have none.
//!
//! One thread follows the commit log (`build`), up to a quarter of a second behind: the thread that writes consume
//! queues rings for it, so that an append does nothing for the index. Who asks waits until what was stored before is in.
//!
//! Invariants
//! - Derived: can be rebuilt from the commit log at any time. A file that is damaged goes, with those after it.
//! - Only hashes are kept, so each match is compared with the record.
//! - Never ahead: an entry is added after its record was published, and those beyond the log's end are dropped at a start.
//! - A file counts as whole if the store was closed, or if the checkpoint's index time says that it was made durable
//!   when it was full. Of others only the part is kept that proves to be right.
//!
//! Java: `IndexService`.

mod build;
pub(crate) mod file;
#[cfg(test)]
mod tests;

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use oxmq_record::{RecordView, properties, sys_flag};
use oxmq_types::{java_string_hash, java_string_hash_after};

use crate::{
    config::IndexConfig,
    disk::Disk,
    log::CommitLog,
    retention::absent_is_fine,
    sync::{Bell, lock, read, write},
};
use build::Builder;
#[cfg(any(test, feature = "memory-disk"))]
pub(crate) use build::step;
pub(crate) use build::{Opening, index_builder, name_after};
use file::{IndexFile, Shape, Walk};

/// How long who asks waits for the index to take what was stored before.
const WAIT_MAX: Duration = Duration::from_secs(1);
/// Entries that are looked at under one lock.
const STEPS_AT_ONCE: u32 = 1024;
/// Entries that one query looks at.
const STEPS_MAX: u32 = 4_000_000;
/// Bytes of records in one answer, unless a single one is longer.
const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Which messages are looked for. Java: `QueryMessageRequestHeader`.
#[derive(Debug, Clone, Copy)]
pub struct KeyQuery<'a> {
    /// Their topic, as it stands in the record.
    pub topic: &'a str,
    /// A unique key, or one of the keys.
    pub key: &'a str,
    /// How many at most; of more the newest.
    pub max: usize,
    /// Earliest store time, in ms since 1970.
    pub begin_ms: i64,
    /// Latest store time, in ms since 1970.
    pub end_ms: i64,
}

/// What was found. Java: `QueryMessageResult`.
#[derive(Debug, Clone, Default)]
pub struct KeyMatches {
    /// The records, oldest first.
    pub records: Vec<Bytes>,
    /// Store time of the last message in the index, in ms since 1970; 0 if there is none.
    pub indexed_timestamp_ms: i64,
    /// Physical offset of that message.
    pub indexed_physical: u64,
}

/// A file that is read and, if it is the last, written.
type SharedFile = Arc<RwLock<IndexFile>>;

pub(crate) struct Index {
    config: IndexConfig,
    disk: Arc<dyn Disk>,
    /// Oldest first.
    files: RwLock<Vec<SharedFile>>,
    /// Held by the thread while it works, and by who closes the store.
    builder: Mutex<Builder>,
    bell: Bell,
    /// Up to where the log is in the index, and who waits for that to change.
    progress: Mutex<u64>,
    progressed: Condvar,
    /// See [`Self::durable_timestamp_ms`].
    durable_ms: Arc<AtomicI64>,
    /// It went back, which the checkpoint does not say yet.
    durable_again: AtomicBool,
}

impl Index {
    pub(crate) fn new(config: IndexConfig, disk: Arc<dyn Disk>, opening: Opening) -> Self {
        Self {
            config,
            disk,
            files: RwLock::default(),
            durable_ms: Arc::new(AtomicI64::new(opening.durable_ms)),
            durable_again: AtomicBool::new(false),
            builder: Mutex::new(Builder::new(opening)),
            bell: Bell::default(),
            progress: Mutex::new(0),
            progressed: Condvar::new(),
        }
    }

    /// There may be more in the log.
    pub(crate) fn ring(&self) {
        self.bell.ring();
    }

    /// What the checkpoint is to say: end time of the last file that is full and durable, in ms since 1970.
    pub(crate) fn durable_timestamp_ms(&self) -> u64 {
        u64::try_from(self.durable_ms.load(Ordering::Acquire)).unwrap_or(0)
    }

    pub(crate) fn query(&self, log: &CommitLog, wanted: &KeyQuery<'_>) -> KeyMatches {
        self.wait(log.end());
        let files = read(&self.files).clone();
        let mut matches = KeyMatches::default();
        let mut headers = files.iter().rev().map(|file| read(file).header);
        if let Some(header) = headers.find(|header| !header.is_empty()) {
            matches.indexed_timestamp_ms = header.end_ms;
            matches.indexed_physical = header.end_offset;
        }
        let hash = hash_after(topic_hash(wanted.topic), wanted.key);
        let (mut steps, mut bytes, mut seen) = (0, 0, u64::MAX);
        let mut candidates = Vec::new();
        'files: for file in files.iter().rev() {
            let mut walk = Walk { hash, begin_ms: wanted.begin_ms, end_ms: wanted.end_ms, at: None };
            let mut more = read(file).overlaps(wanted.begin_ms, wanted.end_ms);
            while more {
                candidates.clear();
                more = read(file).follow(&mut walk, STEPS_AT_ONCE, &mut candidates);
                steps += STEPS_AT_ONCE;
                for &physical in &candidates {
                    // A record can have a key twice, and Java may have indexed it twice.
                    if physical >= seen {
                        continue;
                    }
                    seen = physical;
                    let Some(record) = log.record_at(physical).filter(|record| wanted.matches(record)) else {
                        continue;
                    };
                    bytes += record.len();
                    let too_long = bytes > ANSWER_BYTES_MAX && !matches.records.is_empty();
                    if matches.records.len() >= wanted.max || too_long {
                        break 'files;
                    }
                    matches.records.push(record);
                }
                if steps >= STEPS_MAX {
                    tracing::warn!(
                        topic = wanted.topic,
                        key = wanted.key,
                        entries = steps,
                        "too many messages have this key; older ones were not looked at"
                    );
                    break 'files;
                }
            }
            let header = read(file).header;
            if !header.is_empty() && header.begin_ms < wanted.begin_ms {
                break;
            }
        }
        matches.records.reverse();
        matches
    }

    /// Removes the files of which the log, which begins at `log_min`, has nothing any more. The last one stays. Returns how
    /// many.
    ///
    /// Java: `IndexService#deleteExpiredFile`.
    pub(crate) fn drop_below(&self, log_min: u64) -> Result<usize, IndexError> {
        let mut removed = 0;
        loop {
            let first = {
                let files = read(&self.files);
                let [first, _, ..] = &files[..] else { break };
                Arc::clone(first)
            };
            let path = {
                let file = read(&first);
                if file.header.end_offset >= log_min {
                    break;
                }
                file.path.clone()
            };
            // Gone from the disk first: what stays behind in the list only finds nothing, and is tried again.
            let gone = self.disk.remove_file(&path).and_then(|()| self.disk.sync_dir(&self.config.dir));
            absent_is_fine(gone).map_err(|source| IndexError { path, source })?;
            write(&self.files).remove(0);
            removed += 1;
        }
        Ok(removed)
    }

    /// Waits until the log up to `end` is in the index, or [`WAIT_MAX`] is over.
    fn wait(&self, end: u64) {
        let deadline = Instant::now() + WAIT_MAX;
        let mut progress = lock(&self.progress);
        if *progress < end {
            self.bell.ring();
        }
        while *progress < end {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.progressed.wait_timeout(progress, left);
            progress = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl IndexConfig {
    fn shape(&self) -> Shape {
        Shape { slots: self.slots, entries: self.entries }
    }

    /// Bytes in a file.
    pub(crate) fn file_length(&self) -> u64 {
        self.shape().length()
    }
}

impl KeyQuery<'_> {
    /// True if `record` is one of those that are looked for.
    fn matches(&self, record: &[u8]) -> bool {
        let Ok(record) = RecordView::parse(record) else { return false };
        record.topic() == self.topic
            && (self.begin_ms..=self.end_ms).contains(&record.store_timestamp_ms())
            && keys_of(&record).any(|key| String::from_utf8_lossy(key) == self.key)
    }
}

/// The keys of a record, in the order in which Java indexes them.
pub(crate) fn keys_of<'a>(record: &RecordView<'a>) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    let (mut unique, mut others): (_, &[u8]) = (None, &[]);
    if record.sys_flag() & sys_flag::TRANSACTION_TYPE != sys_flag::ROLLBACK {
        for (name, value) in properties::iter(record.properties()) {
            if name == properties::UNIQ_KEY.as_bytes() {
                unique = Some(value);
            } else if name == properties::KEYS.as_bytes() {
                others = value;
            }
        }
    }
    let others = others.split(|&byte| byte == b' ').filter(|key| !key.is_empty());
    unique.into_iter().chain(others)
}

/// Java hash of `TOPIC#`.
pub(crate) fn topic_hash(topic: &str) -> i32 {
    java_string_hash_after(java_string_hash(topic), "#")
}

/// Key hash of an entry, from [`topic_hash`]. Java: `IndexFile#indexKeyHashMethod`.
pub(crate) fn hash_after(topic_hash: i32, key: &str) -> u32 {
    let hash = java_string_hash_after(topic_hash, key);
    // The one number without a positive counterpart counts as 0.
    hash.checked_abs().unwrap_or(0) as u32
}

/// A file of the index cannot be read, made or written.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
pub(crate) struct IndexError {
    pub(crate) path: PathBuf,
    pub(crate) source: io::Error,
}
