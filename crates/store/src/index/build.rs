// SPDX-License-Identifier: Apache-2.0
//! Builds the index behind the commit log.
//!
//! Where to go on after a start: at the record to which the last file's end offset points, less the keys of it that
//! are there. Before that, each file is checked against the one before it and against the log: no record with keys may
//! lie between them. The first one that cannot be right goes, with all after it, and is built again.

use std::{
    convert::Infallible,
    io,
    path::{Path, PathBuf},
    sync::{Arc, RwLock, atomic::Ordering},
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use oxmq_record::RecordView;

use super::{Index, IndexError, IndexFile, SharedFile, hash_after, keys_of, topic_hash};
use crate::{
    date::date,
    disk::File,
    log::CommitLog,
    store::Shared,
    sync::{lock, read, write},
};

/// Bytes of the log that are indexed in one step, under one lock of the file.
const STEP_BYTES: u64 = 1024 * 1024;
/// Pause between two steps.
const BREATH: Duration = Duration::from_millis(1);
/// Pause after a file could not be made or written.
const RETRY: Duration = Duration::from_secs(1);
/// How long closing the store waits for the index. What is missing then is added at the next start.
const CLOSE_MAX: Duration = Duration::from_secs(5);

/// What the start of the store knows of the index.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Opening {
    /// The store was not closed.
    pub(crate) crashed: bool,
    /// Where the log ended after recovery.
    pub(crate) log_end: u64,
    /// What the checkpoint says, see `Index::durable_timestamp_ms`.
    pub(crate) durable_ms: i64,
    /// Files that are full may be made durable by threads of their own.
    pub(crate) threads: bool,
}

pub(super) struct Builder {
    /// Taken when the files were opened.
    opening: Option<Opening>,
    threads: bool,
    position: Position,
    /// The topic of the last record with keys, and its hash: neighbours often have the same.
    topic: String,
    topic_hash: i32,
    /// Makes the last file that is full durable, whose path this is.
    syncing: Option<(PathBuf, JoinHandle<io::Result<()>>)>,
    /// Why a full file is not durable. The kernel tells of a failed fsync once, so no later one proves that it is:
    /// the index time stays where it is until the store is opened again, and the start looks at all files behind it.
    not_durable: Option<IndexError>,
}

/// All before is in the index.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Position {
    record: u64,
    /// Keys of that record that are in the index.
    keys: u32,
}

impl Position {
    fn start(log: &CommitLog) -> Self {
        Self { record: log.min(), keys: 0 }
    }

    /// True if nothing that the log has is in the index.
    fn is_start(self, log: &CommitLog) -> bool {
        self == Self::start(log)
    }
}

/// Follows the log until the store stops.
pub(crate) fn index_builder(shared: &Shared) {
    let Some(index) = &shared.index else { return };
    while !shared.stopping() {
        match step(shared, index) {
            // Far behind, as when all is built again: others need the processor, too.
            Ok(true) => std::thread::sleep(BREATH),
            Ok(false) => index.bell.wait(),
            Err(error) => {
                tracing::warn!(%error, "cannot build the index; tried again");
                index.bell.wait_at_most(RETRY);
            }
        }
    }
}

/// Opens the files, or indexes the next piece of the log. False if there is no more.
pub(crate) fn step(shared: &Shared, index: &Index) -> Result<bool, IndexError> {
    let more = lock(&index.builder).step(index, &shared.log)?;
    if index.durable_again.load(Ordering::Acquire) {
        // Those that are made in place of removed ones end at the same times: the checkpoint must not take them for
        // these before they are durable.
        let mut flusher = lock(&shared.queue_flusher);
        let flushed =
            flusher.flush(shared).map_err(|error| IndexError { path: error.path, source: error.source });
        let written = flushed.map(|()| flusher.checkpoint(shared, false));
        written?.map_err(|error| failed(&shared.config.checkpoint_file)(io::Error::other(error)))?;
        index.durable_again.store(false, Ordering::Release);
    }
    Ok(more)
}

impl Index {
    /// Adds what is missing, as far as time allows, and makes all of it durable.
    pub(crate) fn close(&self, log: &CommitLog) -> Result<(), IndexError> {
        let deadline = Instant::now() + CLOSE_MAX;
        let mut builder = lock(&self.builder);
        while builder.step(self, log)? && Instant::now() < deadline {}
        builder.finish_syncing();
        if let Some(error) = builder.not_durable.take() {
            return Err(error);
        }
        let Some(last) = read(&self.files).last().cloned() else { return Ok(()) };
        let last = read(&last);
        last.sync().map_err(failed(&last.path))
    }
}

impl Builder {
    pub(super) fn new(opening: Opening) -> Self {
        Self {
            opening: Some(opening),
            threads: opening.threads,
            position: Position::default(),
            topic: String::new(),
            topic_hash: topic_hash(""),
            syncing: None,
            not_durable: None,
        }
    }

    /// Opens the files, or indexes the next piece of the log. False if there is no more.
    fn step(&mut self, index: &Index, log: &CommitLog) -> Result<bool, IndexError> {
        if let Some(opening) = self.opening {
            self.open(index, log, opening)?;
            self.opening = None;
            return Ok(true);
        }
        let end = log.end();
        if self.position.record < end {
            let file = self.current(index)?;
            let mut file = write(&file);
            let before = self.position;
            let added = self.add(&mut file, log);
            let written = file.write_header();
            added.and(written).map_err(failed(&file.path))?;
            debug_assert!(file.is_full() || self.position != before);
        }
        *lock(&index.progress) = self.position.record;
        index.progressed.notify_all();
        Ok(self.position.record < end)
    }

    /// Adds the keys of the next records, until the step is done or the file full.
    fn add(&mut self, file: &mut IndexFile, log: &CommitLog) -> io::Result<()> {
        let at: io::Result<u64> = log.follow(self.position.record, STEP_BYTES, |record| {
            let physical = record.physical_offset().0;
            if self.position.record != physical {
                // The first of a segment: the position was behind the last of the one before.
                self.position = Position { record: physical, keys: 0 };
            }
            for key in keys_of(record).skip(self.position.keys as usize) {
                if file.is_full() {
                    return Ok(false);
                }
                let hash = self.hash(record.topic(), key);
                file.put(hash, physical, record.store_timestamp_ms())?;
                self.position.keys += 1;
            }
            // Records without keys, too: the next start need not look at them again.
            file.header.end_offset = physical;
            self.position = Position { record: physical + u64::from(record.size()), keys: 0 };
            Ok(true)
        });
        // After an error, the position is where it happened.
        let at = at?;
        if at > self.position.record {
            self.position = Position { record: at, keys: 0 };
        }
        Ok(())
    }

    fn hash(&mut self, topic: &str, key: &[u8]) -> u32 {
        if self.topic != topic {
            topic.clone_into(&mut self.topic);
            self.topic_hash = topic_hash(topic);
        }
        hash_after(self.topic_hash, &String::from_utf8_lossy(key))
    }

    /// The file that takes the next entry.
    fn current(&mut self, index: &Index) -> Result<SharedFile, IndexError> {
        let last = read(&index.files).last().cloned();
        if let Some(last) = &last {
            if !read(last).is_full() {
                return Ok(Arc::clone(last));
            }
            self.sync_full(index, last);
        }
        let dir = &index.config.dir;
        let last_name = last.as_ref().and_then(|last| read(last).path.file_name()?.to_str()?.parse().ok());
        let path = dir.join(name_after(last_name.unwrap_or(0), index.disk.now()));
        let made = index.disk.open(&path, true).and_then(|file| file.set_length(index.config.file_length()));
        made.and_then(|()| index.disk.sync_dir(dir)).map_err(failed(&path))?;
        let file = open_file(index, &path)?;
        let file = file.ok_or_else(|| failed(&path)(io::ErrorKind::InvalidData.into()))?;
        let file = Arc::new(RwLock::new(file));
        write(&index.files).push(Arc::clone(&file));
        Ok(file)
    }

    /// Makes a full file durable, on a thread of its own: it may have some 400 MB to write.
    fn sync_full(&mut self, index: &Index, file: &SharedFile) {
        self.finish_syncing();
        if self.not_durable.is_some() {
            return;
        }
        let path = read(file).path.clone();
        let (file, durable_ms) = (Arc::clone(file), Arc::clone(&index.durable_ms));
        let thread = std::thread::Builder::new().name("store-index-sync".to_owned()).spawn(move || {
            let file = read(&file);
            file.sync().map(|()| durable_ms.store(file.header.end_ms, Ordering::Release))
        });
        match thread {
            Ok(thread) => self.syncing = Some((path, thread)),
            Err(error) => self.sync_failed(&path, error),
        }
        if !self.threads {
            self.finish_syncing();
        }
    }

    fn finish_syncing(&mut self) {
        let Some((path, thread)) = self.syncing.take() else { return };
        let synced =
            thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread that syncs it panicked")));
        if let Err(error) = synced {
            self.sync_failed(&path, error);
        }
    }

    fn sync_failed(&mut self, path: &Path, error: io::Error) {
        tracing::error!(
            file = %path.display(), %error,
            "cannot sync an index file; the next start looks at it and at all that follow"
        );
        self.not_durable = Some(failed(path)(error));
    }

    /// Opens the files that are right, removes the others, and finds where to go on.
    fn open(&mut self, index: &Index, log: &CommitLog, opening: Opening) -> Result<(), IndexError> {
        let dir = &index.config.dir;
        index.disk.create_dir_all(dir).map_err(failed(dir))?;
        let listed = index.disk.list(dir).map_err(failed(dir))?;
        let mut found: Vec<_> = listed
            .into_iter()
            .filter(|entry| !entry.is_dir && entry.name.parse::<u64>().is_ok())
            .map(|entry| (entry.name, entry.length))
            .collect();
        found.sort_unstable();

        // What is before the file that the checkpoint names is durable. Its time alone would not do: where the clock was
        // set back, files that came later are older.
        let mut durable = usize::MAX;
        if opening.crashed {
            durable = 0;
            for (number, (name, length)) in found.iter().enumerate() {
                let length_is_right = *length == index.config.file_length();
                let file = if length_is_right { open_file(index, &dir.join(name))? } else { None };
                let named =
                    |file: &IndexFile| !file.header.is_empty() && file.header.end_ms == opening.durable_ms;
                if file.as_ref().is_some_and(named) {
                    durable = number;
                    break;
                }
            }
        }
        let mut position = Position::start(log);
        let mut files: Vec<SharedFile> = Vec::new();
        let mut paths = found.iter().map(|(name, length)| (dir.join(name), *length)).peekable();
        let mut reason = None;
        while reason.is_none()
            && let Some((path, length)) = paths.peek()
        {
            let file = if *length == index.config.file_length() { open_file(index, path)? } else { None };
            let checked = match file {
                Some(file) => check(index, log, opening, files.len() >= durable, position, file)?,
                None => Err("is not an index file of the configured size"),
            };
            match checked {
                Err(why) => reason = Some(why),
                Ok(file) => {
                    let end = file.header.end_offset;
                    files.push(Arc::new(RwLock::new(file)));
                    if end >= position.record {
                        position = Position { record: end, keys: entries_of(&files, end) };
                    }
                    paths.next();
                }
            }
        }
        let mut rest: Vec<_> = paths.map(|(path, _)| path).collect();
        if let (Some(reason), Some(first)) = (reason, rest.first()) {
            tracing::warn!(file = %first.display(), reason, files = rest.len(), from = position.record, "index is built again");
        }
        if !rest.is_empty() {
            let last = files.last().map_or(0, |last| read(last).header.end_ms);
            index.durable_ms.store(last, Ordering::Release);
            index.durable_again.store(true, Ordering::Release);
        }
        // From the end, so that a crash in between leaves a beginning.
        while let Some(path) = rest.pop() {
            index.disk.remove_file(&path).map_err(failed(&path))?;
        }
        if log.end() > position.record + STEP_BYTES {
            tracing::info!(from = position.record, to = log.end(), "building the index from the commit log");
        }
        self.position = position;
        *write(&index.files) = files;
        Ok(())
    }
}

/// Takes `file` if it can follow an index that has everything before `position`, repaired if it was not closed; or
/// says what is wrong.
fn check(
    index: &Index,
    log: &CommitLog,
    opening: Opening,
    unsure: bool,
    position: Position,
    mut file: IndexFile,
) -> Result<Result<IndexFile, &'static str>, IndexError> {
    if unsure || file.header.end_offset >= opening.log_end {
        let path = file.path.clone();
        let stored = |physical, hash| stored_with(log, physical, hash);
        file.repair(opening.log_end, stored).map_err(failed(&path))?;
        let used = file.used();
        drop(file);
        let raw = index.disk.open(&path, false).map_err(failed(&path))?;
        let cleared = raw.zero_from(used, index.config.file_length());
        let written = cleared.and_then(|()| write_again(&*raw, used));
        written.and_then(|()| raw.sync()).map_err(failed(&path))?;
        match open_file(index, &path)? {
            Some(repaired) if !repaired.header.is_empty() => file = repaired,
            _ => return Ok(Err("has nothing that is sure")),
        }
    }
    let header = file.header;
    if header.end_offset < position.record {
        // All of its messages are gone, or it is not in order.
        let old = header.end_offset < log.min() && position.is_start(log);
        return Ok(if old { Ok(file) } else { Err("ends before the one before it") });
    }
    if log.record_at(header.end_offset).is_none() {
        return Ok(Err("ends at a message that the commit log does not have"));
    }
    // Searches pass over a file, or entries, by these times. What is gone from the log is not searched for.
    let has_time = |physical, ms| log.store_timestamp(physical).is_none_or(|stored| stored == ms);
    let timely =
        || has_time(header.begin_offset, header.begin_ms) && has_time(file.last_physical(), header.end_ms);
    if !header.is_empty() && !timely() {
        return Ok(Err("does not have the times of its first and last message"));
    }
    let follows = if header.is_empty() {
        // It only tells how far there was nothing to index.
        next_with_keys(log, position).is_none_or(|next| next > header.end_offset)
    } else {
        (header.begin_offset <= log.min() && position.is_start(log))
            || (next_with_keys(log, position) == Some(header.begin_offset) && goes_on(log, position, &file))
    };
    Ok(if follows { Ok(file) } else { Err("does not follow what is before it") })
}

/// Writes the first `length` bytes of a file once more, except where they are zero. As with the commit log, an earlier
/// sync of them may have failed, after which the system would not write them.
fn write_again(file: &dyn File, length: u64) -> io::Result<()> {
    const STEP: u64 = 64 * 1024;
    let mut buffer = vec![0; STEP as usize];
    for at in (0..length).step_by(STEP as usize) {
        let read = file.read_at(at, &mut buffer[..STEP.min(length - at) as usize])?;
        if buffer[..read].iter().any(|&byte| byte != 0) {
            file.write_at(at, &buffer[..read])?;
        }
    }
    Ok(())
}

/// The store time of the record at `physical`. `None` unless it has a key of `hash`.
fn stored_with(log: &CommitLog, physical: u64, hash: u32) -> Option<i64> {
    let bytes = log.record_at(physical)?;
    let record = RecordView::parse(&bytes).ok()?;
    let topic = topic_hash(record.topic());
    let mut hashes = keys_of(&record).map(|key| hash_after(topic, &String::from_utf8_lossy(key)));
    hashes.any(|found| found == hash).then(|| record.store_timestamp_ms())
}

/// True if `file` begins with the first key from `position` on of the record that it begins with: the file before may
/// have lost its last ones, of the same record.
fn goes_on(log: &CommitLog, position: Position, file: &IndexFile) -> bool {
    let begin = file.header.begin_offset;
    let known = if begin == position.record { position.keys } else { 0 };
    let Some(bytes) = log.record_at(begin) else { return false };
    RecordView::parse(&bytes).is_ok_and(|record| {
        let topic = topic_hash(record.topic());
        let mut next = keys_of(&record).skip(known as usize);
        next.next().is_some_and(|key| hash_after(topic, &String::from_utf8_lossy(key)) == file.first_hash())
    })
}

/// The first record from `position` on that has keys which are not in the index.
fn next_with_keys(log: &CommitLog, position: Position) -> Option<u64> {
    let Position { record: from, keys: known } = position;
    let has_more = |record: &RecordView<'_>| {
        let known = if record.physical_offset().0 == from { known as usize } else { 0 };
        keys_of(record).nth(known).is_some()
    };
    let Ok(at) = log.follow(from, u64::MAX, |record| Ok::<_, Infallible>(!has_more(record)));
    (at < log.end()).then_some(at)
}

/// How many entries the record at `physical` has, at the end of `files`: it may have begun in one and gone on in the next.
fn entries_of(files: &[SharedFile], physical: u64) -> u32 {
    let mut count = 0;
    for file in files.iter().rev() {
        let file = read(file);
        let here = file.last_entries_of(physical);
        count += here;
        if here + 1 < file.header.next {
            break;
        }
    }
    count
}

/// Opens the file at `path`, which has its length. `None` if its header is damaged.
fn open_file(index: &Index, path: &Path) -> Result<Option<IndexFile>, IndexError> {
    let table = index.disk.open_table(path, index.config.file_length()).map_err(failed(path))?;
    Ok(IndexFile::open(path.to_owned(), index.config.shape(), table))
}

fn failed(path: &Path) -> impl Fn(io::Error) -> IndexError {
    let path = path.to_owned();
    move |source| IndexError { path: path.clone(), source }
}

/// The name of a file that is made now, after one whose name is `last` (0: none).
///
/// COMPAT(java): files are sorted by name, and Java's are local time. This is the time at 12 hours west of Greenwich:
/// no file that a Java broker makes later, wherever it is, sorts before it.
pub(crate) fn name_after(last: u64, now: SystemTime) -> String {
    const WEST: Duration = Duration::from_secs(12 * 3600);
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(WEST);
    let (seconds, ms) = (since.as_secs(), u64::from(since.subsec_millis()));
    let (year, month, day) = date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let name = [(month, 100), (day, 100), (hour, 100), (minute, 100), (second, 100), (ms, 1000)]
        .into_iter()
        .fold(year, |name, (part, size)| name * size + part);
    format!("{:017}", name.max(last + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_times_and_ascend() {
        let at = |ms| UNIX_EPOCH + Duration::from_millis(ms);
        let noon = 12 * 3_600_000;
        assert_eq!(name_after(0, at(noon)), "19700101000000000");
        // 2026-11-21 05:54:46.115 and 2024-02-29 23:59:59.999, at that place.
        assert_eq!(name_after(0, at(1_795_240_486_115 + noon)), "20261121055446115");
        assert_eq!(name_after(0, at(1_709_251_199_999 + noon)), "20240229235959999");
        assert_eq!(name_after(20_261_121_055_446_115, at(noon)), "20261121055446116");
        assert_eq!(name_after(0, UNIX_EPOCH), "19700101000000000");
    }
}
