// SPDX-License-Identifier: Apache-2.0
//! A store's folder, examined while nobody has it open, or beside a broker that has: `oxmq store`.
//!
//! Nothing here writes but `repair`. Files are read at positions, never mapped: a sector that cannot be read is then a
//! finding, not a signal. Their lengths are taken from the files themselves, so a Java broker's folder of any
//! configuration can be examined without its configuration. What is found is a [`Finding`], given to a [`Watch`] as it is
//! found; nothing here prints.
//!
//! `check` walks the log once. Units of a queue, and entries of the index, are in the order of the log, so readers
//! of both follow the walk (`queues`, `index`) and nothing is looked up by its offset. Memory: a window of the log, and
//! for each queue a few hundred bytes of units.
//!
//! Beside a running broker, the end of everything moves: what is missing there is then not reported.

mod check;
mod dump;
mod finding;
mod index;
mod queues;
mod repair;
mod segments;
mod stat;

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

pub use check::{Checked, check};
pub use dump::{Found, Wanted, dump};
pub use finding::{Finding, Flaw, NotInQueue, Part, QueueName, Severity, UnitFault, What};
pub use repair::{Plan, RepairError, Step, repair};
pub use stat::{SegmentStat, Stat, TopicStat, stat};

use crate::{
    disk::{Disk, File},
    index::file::Shape,
    log::file_at,
    unit::UNIT_SIZE,
};

/// Where the parts of a store lie and how long its files are, as far as someone says so.
#[derive(Debug, Clone, Default)]
pub struct Layout {
    /// `storePathRootDir`.
    pub root: PathBuf,
    /// `storePathCommitLog`; else `commitlog` in the root.
    pub commit_log_dir: Option<PathBuf>,
    /// `mappedFileSizeCommitLog`; else as the files say.
    pub segment_size_bytes: Option<u64>,
    /// `mappedFileSizeConsumeQueue`; else as the files say.
    pub consume_queue_file_size_bytes: Option<u64>,
    /// `maxHashSlotNum` and `maxIndexNum`; else, if the files have a length that fits, four entries for a slot as
    /// Java has it.
    pub index_shape: Option<(u32, u32)>,
}

/// Who has the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// A broker is running on it.
    Running,
    /// Nobody, but it was not closed: the next start recovers it.
    NotClosed,
    /// Nobody.
    Closed,
}

/// Who is told what is found, and how far the work is.
pub trait Watch {
    /// Something is not as it should be.
    fn finding(&mut self, finding: Finding);
    /// `done` of `total` bytes have been looked at. Called often.
    fn progress(&mut self, done: u64, total: u64);
}

/// Why a folder cannot be examined.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InspectError {
    /// It holds no commit log.
    #[error("{}: no store: there is no folder {}", root.display(), log.display())]
    NoStore {
        /// The folder.
        root: PathBuf,
        /// What it should hold.
        log: PathBuf,
    },
    /// A folder cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Nothing tells how long the files are.
    #[error("{}: cannot tell how long its files should be; give the broker's configuration with -c", dir.display())]
    NoLength {
        /// Which.
        dir: PathBuf,
    },
}

/// A file that is one of a sequence.
#[derive(Debug, Clone, Copy)]
struct FilePart {
    start: u64,
    length: u64,
}

/// A queue as its folder shows it.
struct QueueFolder {
    name: QueueName,
    /// Ascending.
    files: Vec<FilePart>,
}

/// A store's folder, listed.
pub struct Folder {
    disk: Arc<dyn Disk>,
    layout: Layout,
    log_dir: PathBuf,
    segment_size: u64,
    /// Ascending.
    segments: Vec<FilePart>,
    state: Use,
    /// What was found while listing.
    findings: Vec<Finding>,
}

impl Folder {
    /// Lists the folder. Nothing is written.
    ///
    /// # Errors
    /// [`InspectError`] if there is no store or it cannot be listed.
    #[cfg(unix)]
    pub fn open(layout: Layout) -> Result<Self, InspectError> {
        Self::open_on(Arc::new(crate::disk::real::RealDisk::default()), layout)
    }

    pub(crate) fn open_on(disk: Arc<dyn Disk>, layout: Layout) -> Result<Self, InspectError> {
        let root = &layout.root;
        let log_dir = layout.commit_log_dir.clone().unwrap_or_else(|| root.join("commitlog"));
        let lock_file = root.join("lock");
        let locked = disk.is_locked(&lock_file).map_err(failed(&lock_file))?;
        let state = match (locked, disk.exists(&root.join("abort"))) {
            (true, _) => Use::Running,
            (false, true) => Use::NotClosed,
            (false, false) => Use::Closed,
        };
        let mut findings = Vec::new();
        let listed = disk.list(&log_dir).map_err(failed(&log_dir))?;
        if listed.is_empty() && !is_dir(&*disk, &log_dir) {
            return Err(InspectError::NoStore { root: root.clone(), log: log_dir });
        }
        let segments = file_parts(Part::Log, &log_dir, &listed, &mut findings);
        let segment_size = match layout.segment_size_bytes.or_else(|| common_length(&segments, |_| true)) {
            Some(size) => size,
            None if segments.is_empty() => 0,
            None => return Err(InspectError::NoLength { dir: log_dir }),
        };
        let mut folder = Self { disk, layout, log_dir, segment_size, segments, state, findings };
        folder.findings.extend(sequence_findings(
            Part::Log,
            &folder.log_dir,
            &folder.segments,
            segment_size,
            state == Use::Running,
        ));
        Ok(folder)
    }

    /// Who has it.
    #[must_use]
    pub fn state(&self) -> Use {
        self.state
    }

    /// Its root.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.layout.root
    }

    /// Bytes in a segment of the commit log, as found or told; 0 if there is none.
    #[must_use]
    pub fn segment_size_bytes(&self) -> u64 {
        self.segment_size
    }

    fn queue_dir(&self) -> PathBuf {
        self.layout.root.join("consumequeue")
    }

    fn checkpoint_file(&self) -> PathBuf {
        self.layout.root.join("checkpoint")
    }

    fn index_dir(&self) -> PathBuf {
        self.layout.root.join("index")
    }

    /// Where the log begins.
    fn log_min(&self) -> u64 {
        self.segments.first().map_or(0, |first| first.start)
    }

    /// All queues, by name; what is wrong with their names goes to `watch`.
    fn queue_folders(&self, watch: &mut dyn Watch) -> Result<Vec<QueueFolder>, InspectError> {
        let dir = self.queue_dir();
        let mut queues = Vec::new();
        let strange =
            |path: PathBuf| Finding { part: Part::Queues, path, offset: None, what: What::StrangeName };
        for topic in self.disk.list(&dir).map_err(failed(&dir))? {
            let path = dir.join(&topic.name);
            if !topic.is_dir {
                watch.finding(strange(path));
                continue;
            }
            let name: Arc<str> = Arc::from(topic.name);
            for queue in self.disk.list(&path).map_err(failed(&path))? {
                let path = path.join(&queue.name);
                let id =
                    queue.name.parse::<u32>().ok().filter(|id| queue.is_dir && id.to_string() == queue.name);
                let Some(id) = id else {
                    watch.finding(strange(path));
                    continue;
                };
                let listed = self.disk.list(&path).map_err(failed(&path))?;
                let mut findings = Vec::new();
                let files = file_parts(Part::Queues, &path, &listed, &mut findings);
                findings.into_iter().for_each(|finding| watch.finding(finding));
                queues.push(QueueFolder { name: QueueName { topic: Arc::clone(&name), id }, files });
            }
        }
        queues.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(queues)
    }

    /// Bytes in a consume queue file. `None` if there is none from which to tell.
    fn queue_file_size(&self, queues: &[QueueFolder]) -> Option<u64> {
        self.layout.consume_queue_file_size_bytes.or_else(|| {
            let files: Vec<_> = queues.iter().flat_map(|queue| &queue.files).copied().collect();
            common_length(&files, |length| length % UNIT_SIZE == 0)
        })
    }

    /// Slots and entries of index files of `length` bytes.
    fn index_shape(&self, length: u64) -> Option<Shape> {
        let shape = match self.layout.index_shape {
            Some((slots, entries)) => Shape { slots, entries },
            None => {
                const FOUR_TO_A_SLOT: u64 = 4 + 4 * 20;
                let slots = length.checked_sub(40)? / FOUR_TO_A_SLOT;
                let slots = u32::try_from(slots).ok()?;
                Shape { slots, entries: slots.checked_mul(4)? }
            }
        };
        (shape.length() == length && shape.slots > 0).then_some(shape)
    }
}

/// True if `dir` is a folder: its parent lists it.
fn is_dir(disk: &dyn Disk, dir: &Path) -> bool {
    let (Some(parent), Some(name)) = (dir.parent(), dir.file_name()) else { return true };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let listed = disk.list(parent).unwrap_or_default();
    listed.iter().any(|entry| entry.is_dir && Some(entry.name.as_str()) == name.to_str())
}

/// Those of `listed` whose names are offsets of 20 digits, ascending.
fn file_parts(
    part: Part,
    dir: &Path,
    listed: &[crate::disk::Entry],
    findings: &mut Vec<Finding>,
) -> Vec<FilePart> {
    let mut files = Vec::with_capacity(listed.len());
    for entry in listed {
        let start = entry.name.parse::<u64>().ok().filter(|start| format!("{start:020}") == entry.name);
        match start.filter(|start| !entry.is_dir && *start <= i64::MAX as u64) {
            Some(start) => files.push(FilePart { start, length: entry.length }),
            None => {
                let path = dir.join(&entry.name);
                findings.push(Finding { part, path, offset: None, what: What::StrangeName });
            }
        }
    }
    files.sort_unstable_by_key(|file| file.start);
    files
}

/// The length that most of `files` have, of those that their starts are multiples of; the longest of several.
fn common_length(files: &[FilePart], possible: impl Fn(u64) -> bool) -> Option<u64> {
    let mut lengths: BTreeMap<u64, usize> = BTreeMap::new();
    for file in files.iter().filter(|file| file.length > 0 && file.start % file.length == 0) {
        *lengths.entry(file.length).or_default() += 1;
    }
    let found = lengths.into_iter().filter(|(length, _)| possible(*length));
    found.max_by_key(|(length, count)| (*count, *length)).map(|(length, _)| length)
}

/// What is wrong with the names and lengths of a sequence of files. `growing`: someone may be making the last one.
fn sequence_findings(part: Part, dir: &Path, files: &[FilePart], size: u64, growing: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut expected = files.first().map_or(0, |first| first.start);
    for (i, file) in files.iter().enumerate() {
        let path = file_at(dir, file.start);
        if file.start % size != 0 {
            findings.push(Finding { part, path: path.clone(), offset: None, what: What::StrangeName });
        }
        if file.length != size && !(growing && i + 1 == files.len()) {
            let what = What::Length { expected: size, found: file.length };
            findings.push(Finding { part, path, offset: None, what });
        }
        if file.start > expected {
            let what = What::FilesMissing { next: file.start };
            findings.push(Finding { part, path: file_at(dir, expected), offset: None, what });
        }
        expected = file.start.saturating_add(size);
    }
    findings
}

/// Reads as [`File::read_at`] does, from a file that is opened for it alone.
fn read_once(disk: &dyn Disk, path: &Path, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let file: Box<dyn File> = disk.open_to_read(path)?;
    file.read_at(at, buffer)
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> InspectError {
    let path = path.to_owned();
    move |source| InspectError::Io { path, source }
}

fn unreadable(part: Part, path: PathBuf, offset: Option<u64>, error: &io::Error) -> Finding {
    Finding { part, path, offset, what: What::Unreadable { reason: error.to_string() } }
}
