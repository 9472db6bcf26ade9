// SPDX-License-Identifier: Apache-2.0
//! A disk in memory for tests: it forgets what was not synced, fills up and fails.
//!
//! - Bytes: of what was not synced, a power loss leaves each sector as it is, as it was, or as it was in between
//!   (`content`). So writes are torn, reordered and lost.
//! - Names: one that was made or removed is there or not, until its folder was synced; a folder takes along what is
//!   in it.
//! - The process can die between any two operations ([`Faults::stops_after`]).
//! - Reads are short at times.
//!
//! Everything that happens by chance follows from the seed, and time passes by operations if a seed was given. So one
//! thread that does the same twice leaves the same [`MemoryDisk::trace`].

mod content;

use std::{
    any::Any,
    collections::{BTreeMap, VecDeque},
    fmt, io,
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;

use super::{Disk, Entry, File, Locked, Segment, Space, Table};
use crate::{store::ms_of, sync::lock};
use content::Content;

/// A simulated clock starts at this time, in ms since 1970.
const EPOCH_MS: u64 = 1_700_000_000_000;

/// The disk. What stores on it wrote stays until it is dropped.
#[derive(Default)]
pub struct MemoryDisk {
    tree: Mutex<Tree>,
    locked: Arc<AtomicBool>,
    machine: Arc<Machine>,
}

/// All names, as the system shows them and as the disk has them.
#[derive(Default)]
struct Tree {
    now: BTreeMap<PathBuf, Node>,
    durable: BTreeMap<PathBuf, Node>,
}

#[derive(Clone)]
enum Node {
    Dir,
    File(Arc<Mutex<Content>>),
}

/// What all files of a disk have in common.
#[derive(Default)]
struct Machine {
    faults: Faults,
    state: Mutex<State>,
}

struct State {
    random: Random,
    trace: Trace,
    /// ms since 1970; `None`: that of the system.
    clock_ms: Option<u64>,
}

/// What was done with a disk.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    /// Over all operations, in their order, with what was written.
    pub hash: u64,
    /// How many there were.
    pub operations: u64,
    /// The last of them.
    pub last: VecDeque<String>,
}

/// Operations that a trace keeps.
const TRACED: usize = 200;

/// What goes wrong with a disk.
#[derive(Debug)]
pub struct Faults {
    /// Every fsync of bytes fails. What it should have written is then written, is written later, or is lost.
    pub fsync_fails: AtomicBool,
    /// Every fsync waits until this is false again.
    pub fsync_stalls: AtomicBool,
    /// No file can be removed.
    pub remove_fails: AtomicBool,
    /// Bytes that files may still grow by.
    pub space: AtomicU64,
    /// Bytes that are used besides those in files.
    pub held: AtomicU64,
    /// Fsyncs that were asked for so far.
    pub fsyncs: AtomicU64,
    /// Nothing is in memory: all that is read from files comes from the disk.
    pub cold: AtomicBool,
    /// Every read from the disk waits until this is false again.
    pub reads_stall: AtomicBool,
    /// Every read from the disk fails.
    pub reads_fail: AtomicBool,
    /// Reads from the disk that have begun.
    pub reads: AtomicU64,
    /// So many more operations that change something are done, and then none: the process has died.
    pub stops_after: AtomicU64,
    /// What cannot be read or written.
    pub bad: Mutex<Vec<BadRange>>,
}

/// Bytes of a file, or of all files of a folder, that the disk answers for with an input/output error.
#[derive(Debug, Clone)]
pub struct BadRange {
    /// The file or folder.
    pub path: PathBuf,
    /// Positions in it.
    pub range: Range<u64>,
    /// Reading fails; opening, too, where a file is mapped.
    pub read: bool,
    /// Writing fails, and syncing.
    pub write: bool,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            fsync_fails: AtomicBool::new(false),
            fsync_stalls: AtomicBool::new(false),
            remove_fails: AtomicBool::new(false),
            space: AtomicU64::new(u64::MAX),
            held: AtomicU64::new(0),
            fsyncs: AtomicU64::new(0),
            cold: AtomicBool::new(false),
            reads_stall: AtomicBool::new(false),
            reads_fail: AtomicBool::new(false),
            reads: AtomicU64::new(0),
            stops_after: AtomicU64::new(u64::MAX),
            bad: Mutex::default(),
        }
    }
}

impl Faults {
    /// Ends all faults.
    pub fn clear(&self) {
        self.fsync_fails.store(false, Ordering::SeqCst);
        self.fsync_stalls.store(false, Ordering::SeqCst);
        self.space.store(u64::MAX, Ordering::SeqCst);
        self.held.store(0, Ordering::SeqCst);
        self.stops_after.store(u64::MAX, Ordering::SeqCst);
        lock(&self.bad).clear();
    }

    /// True once the process has died of [`Self::stops_after`].
    pub fn stopped(&self) -> bool {
        self.stops_after.load(Ordering::SeqCst) == 0
    }

    fn grow(&self, bytes: u64) -> io::Result<()> {
        let taken = self.space.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |space| {
            if space == u64::MAX { Some(space) } else { space.checked_sub(bytes) }
        });
        taken.map(drop).map_err(|_| io::Error::from(io::ErrorKind::StorageFull))
    }

    /// Files lost `bytes`.
    fn shrink(&self, bytes: u64) {
        let more = |space: u64| Some(space.saturating_add(bytes));
        let _ = self.space.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more);
    }

    /// What a read from the disk meets.
    fn read(&self) -> io::Result<()> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        while self.reads_stall.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        if self.reads_fail.load(Ordering::SeqCst) {
            return Err(io::Error::other("simulated read failure"));
        }
        Ok(())
    }

    fn check(&self, path: &Path, range: &Range<u64>, kind: impl Fn(&BadRange) -> bool) -> io::Result<()> {
        let hit = |bad: &BadRange| {
            kind(bad)
                && path.starts_with(&bad.path)
                && bad.range.start < range.end
                && range.start < bad.range.end
        };
        match lock(&self.bad).iter().any(hit) {
            // EIO; there is no `ErrorKind` for it.
            true => Err(io::Error::from_raw_os_error(5)),
            false => Ok(()),
        }
    }
}

/// Numbers from a seed (SplitMix64).
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number in `0..bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }
}

impl Default for State {
    fn default() -> Self {
        Self { random: Random::new(0), trace: Trace::default(), clock_ms: None }
    }
}

impl Machine {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn note(&self, what: &str, path: &Path, range: &Range<u64>, bytes: &[u8]) {
        let mut state = self.state();
        let State { random, trace, clock_ms } = &mut *state;
        if let Some(clock_ms) = clock_ms {
            // A disk takes its time, and some times more of it.
            *clock_ms += if random.one_in(16) { random.below(200) } else { random.below(2) };
        }
        let mut hasher = crc32fast::Hasher::new_with_initial(trace.hash as u32);
        let line = format!(
            "{} {what} {} {}+{}",
            trace.operations,
            path.display(),
            range.start,
            range.end - range.start
        );
        hasher.update(line.as_bytes());
        hasher.update(bytes);
        trace.hash = trace.hash.rotate_right(32) ^ u64::from(hasher.finalize());
        trace.operations += 1;
        if trace.last.len() == TRACED {
            trace.last.pop_front();
        }
        trace.last.push_back(line);
    }

    /// An operation that changes something begins.
    fn change(&self, what: &str, path: &Path, range: Range<u64>, bytes: &[u8]) -> io::Result<()> {
        let left = &self.faults.stops_after;
        let count = |left: u64| if left == u64::MAX { Some(left) } else { left.checked_sub(1) };
        let before = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count);
        if before.is_err() {
            return Err(stopped());
        }
        self.note(what, path, &range, bytes);
        self.faults.check(path, &range, |bad| bad.write)
    }

    /// An operation that only looks begins.
    fn look(&self, what: &str, path: &Path, range: Range<u64>) -> io::Result<()> {
        if self.faults.stopped() {
            return Err(stopped());
        }
        self.note(what, path, &range, &[]);
        self.faults.check(path, &range, |bad| bad.read)
    }
}

fn stopped() -> io::Error {
    io::Error::other("the process has died")
}

impl MemoryDisk {
    /// An empty disk on which time passes by operations, and on which all that happens by chance follows from `seed`.
    #[must_use]
    pub fn with_seed(seed: u64) -> Self {
        let disk = Self::default();
        *disk.machine.state() =
            State { random: Random::new(seed), trace: Trace::default(), clock_ms: Some(EPOCH_MS) };
        disk
    }

    /// What goes wrong with it, to be changed by tests.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.machine.faults
    }

    /// What was done with it so far.
    #[must_use]
    pub fn trace(&self) -> Trace {
        self.machine.state().trace.clone()
    }

    /// Sets a simulated clock forward, or back, by `ms`.
    pub fn change_clock(&self, ms: i64) {
        if let Some(clock_ms) = &mut self.machine.state().clock_ms {
            *clock_ms = clock_ms.saturating_add_signed(ms);
        }
    }

    /// The power goes and comes back: of what was not synced, each sector and each name is there or not, by `seed`.
    pub fn lose_power(&self, seed: u64) {
        let mut random = Random::new(seed);
        let mut tree = lock(&self.tree);
        let Tree { now, durable } = &mut *tree;
        let changed: Vec<PathBuf> = now.keys().chain(durable.keys()).cloned().collect();
        for path in changed {
            let same = match (now.get(&path), durable.get(&path)) {
                (Some(Node::File(now)), Some(Node::File(durable))) => Arc::ptr_eq(now, durable),
                (Some(Node::Dir), Some(Node::Dir)) | (None, None) => true,
                _ => false,
            };
            if !same && random.one_in(2) {
                match now.get(&path).cloned() {
                    Some(node) => drop(durable.insert(path, node)),
                    None => drop(durable.remove(&path)),
                }
            }
        }
        // From the top down: what is in a folder that is not there, is not there.
        let all = std::mem::take(durable);
        for (path, node) in all {
            if path.parent().is_none_or(|dir| matches!(durable.get(dir), Some(Node::Dir))) {
                durable.insert(path, node);
            }
        }
        now.clone_from(durable);
        for node in now.values() {
            if let Node::File(content) = node {
                lock(content).lose_power(&mut random);
            }
        }
    }

    /// The system forgets what it holds in memory and need not write. This shows what failed syncs left.
    pub fn evict(&self) {
        self.files().into_iter().for_each(|(_, content)| lock(&content).evict());
    }

    /// Changes the byte at `at` of the file `path`.
    ///
    /// # Panics
    /// If the file is shorter.
    pub fn flip(&self, path: &Path, at: usize) {
        if let Some(Node::File(content)) = lock(&self.tree).now.get(path) {
            let mut content = lock(content);
            let byte = content.now[at] ^ 0x10;
            content.write(at, &[byte]);
            content.sync(at..at + 1);
        }
    }

    /// Sets a range of bytes of the file `path` to zero.
    ///
    /// # Panics
    /// If the file is shorter.
    pub fn zero(&self, path: &Path, range: Range<usize>) {
        if let Some(Node::File(content)) = lock(&self.tree).now.get(path) {
            let mut content = lock(content);
            assert!(range.end <= content.now.len(), "zeros beyond the file");
            content.write(range.start, &vec![0; range.len()]);
            content.sync(range);
        }
    }

    /// Another disk with the same files, all of them durable, which nobody has locked.
    #[must_use]
    pub fn copy(&self) -> Self {
        let mut copied = lock(&self.tree).now.clone();
        for node in copied.values_mut() {
            if let Node::File(content) = node {
                let copy = lock(content).copy();
                *node = Node::File(Arc::new(Mutex::new(copy)));
            }
        }
        Self { tree: Mutex::new(Tree { durable: copied.clone(), now: copied }), ..Self::default() }
    }

    /// All files with their lengths in bytes, ascending by path.
    pub(crate) fn lengths(&self) -> Vec<(PathBuf, usize)> {
        self.files().into_iter().map(|(path, content)| (path, lock(&content).now.len())).collect()
    }

    /// The bytes of the file `path`; none if there is no such file.
    pub(crate) fn content(&self, path: &Path) -> Vec<u8> {
        self.file(path).map(|file| lock(&file.content).now.clone()).unwrap_or_default()
    }

    fn files(&self) -> Vec<(PathBuf, Arc<Mutex<Content>>)> {
        let tree = lock(&self.tree);
        let files = tree.now.iter().filter_map(|(path, node)| match node {
            Node::File(content) => Some((path.clone(), Arc::clone(content))),
            Node::Dir => None,
        });
        files.collect()
    }

    fn file(&self, path: &Path) -> io::Result<MemoryFile> {
        match lock(&self.tree).now.get(path) {
            Some(Node::File(content)) => Ok(self.handle(path, content)),
            Some(Node::Dir) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn handle(&self, path: &Path, content: &Arc<Mutex<Content>>) -> MemoryFile {
        MemoryFile { path: path.to_owned(), content: Arc::clone(content), machine: Arc::clone(&self.machine) }
    }
}

impl fmt::Debug for MemoryDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryDisk").field("faults", self.faults()).finish_non_exhaustive()
    }
}

impl Disk for MemoryDisk {
    fn now(&self) -> SystemTime {
        match self.machine.state().clock_ms {
            Some(ms) => UNIX_EPOCH + Duration::from_millis(ms),
            None => SystemTime::now(),
        }
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let missing: Vec<_> = dir.ancestors().filter(|dir| !self.exists(dir)).collect();
        for dir in missing.into_iter().rev() {
            self.machine.change("mkdir", dir, 0..0, &[])?;
            let mut tree = lock(&self.tree);
            tree.now.insert(dir.to_owned(), Node::Dir);
            if dir.parent().is_none() {
                tree.durable.insert(dir.to_owned(), Node::Dir);
            }
        }
        match lock(&self.tree).now.get(dir) {
            Some(Node::Dir) => Ok(()),
            _ => Err(io::ErrorKind::AlreadyExists.into()),
        }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        self.machine.look("list", dir, 0..u64::MAX)?;
        let tree = lock(&self.tree);
        let inside = tree.now.iter().filter(|(path, _)| path.parent() == Some(dir));
        let entries = inside.filter_map(|(path, node)| {
            let (is_dir, length) = match node {
                Node::Dir => (true, 0),
                Node::File(content) => (false, lock(content).now.len() as u64),
            };
            Some(Entry { name: path.file_name()?.to_str()?.to_owned(), is_dir, length })
        });
        Ok(entries.collect())
    }

    fn writable(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn exists(&self, path: &Path) -> bool {
        lock(&self.tree).now.contains_key(path)
    }

    fn open(&self, path: &Path, create: bool) -> io::Result<Box<dyn File>> {
        if create && !self.exists(path) {
            self.faults().grow(1)?;
            self.machine.change("create", path, 0..0, &[])?;
            let now_ms = ms_of(self.now());
            let mut tree = lock(&self.tree);
            if !path.parent().is_some_and(|dir| matches!(tree.now.get(dir), Some(Node::Dir))) {
                return Err(io::ErrorKind::NotFound.into());
            }
            let mut content = Content::default();
            content.modified_ms = now_ms;
            tree.now.insert(path.to_owned(), Node::File(Arc::new(Mutex::new(content))));
        }
        self.machine.look("open", path, 0..0)?;
        Ok(Box::new(self.file(path)?))
    }

    fn open_to_read(&self, path: &Path) -> io::Result<Box<dyn File>> {
        self.open(path, false)
    }

    fn open_segment(&self, path: &Path, length: u64) -> io::Result<Box<dyn Segment>> {
        self.machine.look("map", path, 0..length)?;
        Ok(Box::new(self.file(path)?))
    }

    fn create_segment(&self, path: &Path, length: u64) -> io::Result<Box<dyn Segment>> {
        self.faults().grow(length)?;
        let file = self.open(path, true)?;
        let made = file.set_length(length).and_then(|()| file.sync());
        let made = made.and_then(|()| self.sync_dir(path.parent().unwrap_or(Path::new("/"))));
        made.and_then(|()| self.open_segment(path, length)).inspect_err(|_| {
            let removed = self.remove_file(path);
            let _ = removed.and_then(|()| self.sync_dir(path.parent().unwrap_or(Path::new("/"))));
        })
    }

    fn open_table(&self, path: &Path, length: u64) -> io::Result<Box<dyn Table>> {
        self.machine.look("map", path, 0..length)?;
        Ok(Box::new(self.file(path)?))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        if self.faults().remove_fails.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let file = self.file(path)?;
        self.machine.change("remove", path, 0..0, &[])?;
        lock(&self.tree).now.remove(path);
        self.faults().shrink(lock(&file.content).now.len() as u64);
        Ok(())
    }

    fn modified_ms(&self, path: &Path) -> io::Result<i64> {
        Ok(lock(&self.file(path)?.content).modified_ms)
    }

    fn set_modified_ms(&self, path: &Path, ms: i64) -> io::Result<()> {
        lock(&self.file(path)?.content).modified_ms = ms;
        Ok(())
    }

    fn space(&self, _dir: &Path) -> io::Result<Space> {
        let files: u64 = self.files().iter().map(|(_, content)| lock(content).now.len() as u64).sum();
        let used = files + self.faults().held.load(Ordering::SeqCst);
        let usable = self.faults().space.load(Ordering::SeqCst).min(u64::MAX - used);
        Ok(Space { total: used + usable, used, usable })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.machine.change("rename", from, 0..0, &[])?;
        let mut tree = lock(&self.tree);
        let named: Vec<_> = tree.now.keys().filter(|path| path.starts_with(from)).cloned().collect();
        if named.is_empty() {
            return Err(io::ErrorKind::NotFound.into());
        }
        for old in named {
            let rest = old.strip_prefix(from).unwrap_or(Path::new(""));
            let new = if rest == Path::new("") { to.to_owned() } else { to.join(rest) };
            if let Some(node) = tree.now.remove(&old) {
                tree.now.insert(new, node);
            }
        }
        Ok(())
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        if !self.exists(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside: Vec<_> =
            lock(&self.tree).now.keys().filter(|path| path.starts_with(dir)).cloned().collect();
        for path in inside.into_iter().rev() {
            self.machine.change("remove", &path, 0..0, &[])?;
            lock(&self.tree).now.remove(&path);
        }
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.machine.change("sync names", dir, 0..u64::MAX, &[])?;
        let mut tree = lock(&self.tree);
        let Tree { now, durable } = &mut *tree;
        let inside = |path: &&PathBuf| path.parent() == Some(dir);
        let gone: Vec<_> =
            durable.keys().filter(inside).filter(|path| !now.contains_key(*path)).cloned().collect();
        durable.retain(|path, _| !gone.iter().any(|gone| path.starts_with(gone)));
        for path in now.keys().filter(inside) {
            durable.insert(path.clone(), now[path].clone());
        }
        Ok(())
    }

    fn watch_file_system(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn sync_file_system(&self, dir: &Path) -> io::Result<()> {
        self.machine.sync("sync all", dir, 0..u64::MAX)?;
        self.files().into_iter().for_each(|(_, content)| lock(&content).sync(0..usize::MAX));
        let mut tree = lock(&self.tree);
        tree.durable = tree.now.clone();
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Locked>>> {
        if self.locked.swap(true, Ordering::SeqCst) {
            return Ok(None);
        }
        let held = MemoryLock(Arc::clone(&self.locked));
        self.open(path, true)?.write_at(0, b"lock")?;
        Ok(Some(Box::new(held)))
    }

    fn is_locked(&self, _path: &Path) -> io::Result<bool> {
        Ok(self.locked.load(Ordering::SeqCst))
    }
}

impl Machine {
    /// A sync begins.
    fn sync(&self, what: &str, path: &Path, range: Range<u64>) -> io::Result<()> {
        self.faults.fsyncs.fetch_add(1, Ordering::SeqCst);
        while self.faults.fsync_stalls.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.change(what, path, range, &[])?;
        if self.faults.fsync_fails.load(Ordering::SeqCst) {
            return Err(io::Error::other("simulated fsync failure"));
        }
        Ok(())
    }
}

struct MemoryLock(Arc<AtomicBool>);

impl Locked for MemoryLock {}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

/// A file that is open, by the name that it had then.
struct MemoryFile {
    path: PathBuf,
    content: Arc<Mutex<Content>>,
    machine: Arc<Machine>,
}

impl MemoryFile {
    fn sync_range(&self, range: Range<usize>) -> io::Result<()> {
        let synced = self.machine.sync("sync", &self.path, range.start as u64..range.end as u64);
        let mut content = lock(&self.content);
        match &synced {
            Ok(()) => content.sync(range),
            Err(_) if self.machine.faults.stopped() => {}
            Err(_) => content.fail_sync(range, &mut self.machine.state().random),
        }
        synced
    }

    /// Writes; afterwards the system may write some of what is dirty to the disk.
    fn put(&self, at: usize, bytes: &[u8]) {
        let mut content = lock(&self.content);
        content.write(at, bytes);
        let random = &mut self.machine.state().random;
        if random.one_in(8) {
            content.write_back_some(random);
        }
    }
}

impl File for MemoryFile {
    fn set_length(&self, length: u64) -> io::Result<()> {
        self.machine.change("set length", &self.path, 0..length, &[])?;
        lock(&self.content).set_length(length as usize);
        Ok(())
    }

    fn zero_from(&self, at: u64, length: u64) -> io::Result<()> {
        self.machine.change("zero", &self.path, at..length, &[])?;
        self.put(at as usize, &vec![0; (length - at) as usize]);
        Ok(())
    }

    fn read_some_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let faults = &self.machine.faults;
        if faults.cold.load(Ordering::SeqCst) {
            faults.read()?;
        }
        self.machine.look("read", &self.path, at..at + buffer.len() as u64)?;
        let content = lock(&self.content);
        let rest = content.now.get(at as usize..).unwrap_or_default();
        let mut count = rest.len().min(buffer.len());
        let random = &mut self.machine.state().random;
        if count > 1 && random.one_in(16) {
            count = 1 + random.below(count as u64 - 1) as usize;
        }
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn read_resident(&self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if self.machine.faults.cold.load(Ordering::SeqCst) { Ok(0) } else { self.read_at(at, buffer) }
    }

    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let end = at + bytes.len() as u64;
        let length = lock(&self.content).now.len() as u64;
        if length < end {
            self.machine.faults.grow(end - length)?;
        }
        self.machine.change("write", &self.path, at..end, bytes)?;
        self.put(at as usize, bytes);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_range(0..usize::MAX)
    }
}

impl Segment for MemoryFile {
    fn write(&self, at: usize, bytes: &[u8]) {
        assert!(at + bytes.len() <= lock(&self.content).now.len(), "write beyond the segment");
        let range = at as u64..(at + bytes.len()) as u64;
        let copied = self.machine.change("copy", &self.path, range, bytes);
        // A copy into a mapping cannot fail; where it cannot be written to the disk, syncing fails. But once the process
        // has died, nothing is copied.
        if copied.is_ok() || !self.machine.faults.stopped() {
            self.put(at, bytes);
        }
    }

    fn slice(&self, range: Range<usize>) -> Bytes {
        Bytes::copy_from_slice(&lock(&self.content).now[range])
    }

    fn fetch(&self, _: usize) {}

    fn resident(&self, range: Range<usize>) -> usize {
        if self.machine.faults.cold.load(Ordering::SeqCst) { 0 } else { range.len() }
    }

    fn read_cold(&self, range: Range<usize>) -> io::Result<Vec<u8>> {
        self.machine.faults.read()?;
        self.machine.look("read", &self.path, range.start as u64..range.end as u64)?;
        Ok(lock(&self.content).now[range].to_vec())
    }

    fn read_alone(&self, _range: Range<usize>) {}

    fn read_ahead(&self, _range: Range<usize>) {}

    fn populate(&self, _range: Range<usize>, _large: bool) {}

    fn release(&self) {}

    /// Slices are copies.
    fn held(&self) -> Weak<dyn Any + Send + Sync> {
        Weak::<()>::new()
    }

    fn write_back(&self, _range: Range<usize>) {
        lock(&self.content).write_back_some(&mut self.machine.state().random);
    }

    fn sync(&self, range: Range<usize>) -> io::Result<()> {
        self.sync_range(range)
    }

    fn zero_from(&self, at: usize) -> io::Result<()> {
        let length = lock(&self.content).now.len();
        self.machine.change("zero", &self.path, at as u64..length as u64, &[])?;
        self.put(at, &vec![0; length - at]);
        self.sync_range(at..usize::MAX)
    }
}

impl Table for MemoryFile {
    fn read(&self, at: usize, out: &mut [u8]) {
        out.copy_from_slice(&lock(&self.content).now[at..at + out.len()]);
    }

    fn write(&mut self, at: usize, bytes: &[u8]) -> io::Result<()> {
        assert!(at + bytes.len() <= lock(&self.content).now.len(), "write beyond the table");
        if self.machine.faults.space.load(Ordering::SeqCst) == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.machine.change("copy", &self.path, at as u64..(at + bytes.len()) as u64, bytes)?;
        self.put(at, bytes);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_range(0..usize::MAX)
    }
}
