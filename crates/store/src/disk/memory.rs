// SPDX-License-Identifier: Apache-2.0
//! A disk in memory for tests: it forgets what was not synced, page by page, as a power loss does; it fills up; its
//! fsync fails. Names are durable at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
};

use bytes::Bytes;

use super::{Disk, Entry, File, Locked, Segment, Space, Table};
use crate::{store::now_ms, sync::lock};

const PAGE: usize = 512;

/// The disk. What stores on it wrote stays until it is dropped.
#[derive(Default)]
pub struct MemoryDisk {
    files: Mutex<BTreeMap<PathBuf, Arc<MemoryFile>>>,
    dirs: Mutex<BTreeSet<PathBuf>>,
    locked: Arc<AtomicBool>,
    faults: Arc<Faults>,
}

/// What goes wrong with a disk.
#[derive(Debug)]
pub struct Faults {
    /// Every fsync fails.
    pub fsync_fails: AtomicBool,
    /// Every fsync waits until this is false again.
    pub fsync_stalls: AtomicBool,
    /// No file can be removed.
    pub remove_fails: AtomicBool,
    /// Bytes that files may still grow by.
    pub space: AtomicU64,
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
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            fsync_fails: AtomicBool::new(false),
            fsync_stalls: AtomicBool::new(false),
            remove_fails: AtomicBool::new(false),
            space: AtomicU64::new(u64::MAX),
            fsyncs: AtomicU64::new(0),
            cold: AtomicBool::new(false),
            reads_stall: AtomicBool::new(false),
            reads_fail: AtomicBool::new(false),
            reads: AtomicU64::new(0),
        }
    }
}

impl Faults {
    fn grow(&self, bytes: u64) -> io::Result<()> {
        let taken =
            self.space.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |space| space.checked_sub(bytes));
        taken.map(drop).map_err(|_| io::Error::from(io::ErrorKind::StorageFull))
    }

    /// What a read from the disk meets.
    fn read(&self) -> io::Result<()> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        while self.reads_stall.load(Ordering::SeqCst) {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        if self.reads_fail.load(Ordering::SeqCst) {
            return Err(io::Error::other("simulated read failure"));
        }
        Ok(())
    }
}

struct MemoryFile {
    content: Mutex<Content>,
    /// When it was made, or what it was set to.
    modified_ms: AtomicI64,
    faults: Arc<Faults>,
}

#[derive(Default)]
struct Content {
    now: Vec<u8>,
    /// What a power loss leaves for certain.
    durable: Vec<u8>,
}

/// Numbers from a seed (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

impl MemoryDisk {
    /// What goes wrong with it, to be changed by tests.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The power goes and comes back: of what was not synced, each page is there or not, by `seed`.
    pub fn lose_power(&self, seed: u64) {
        let mut random = Random(seed);
        for file in lock(&self.files).values() {
            let mut content = lock(&file.content);
            let Content { now, durable } = &mut *content;
            durable.resize(now.len(), 0);
            for (new, old) in now.chunks_mut(PAGE).zip(durable.chunks_mut(PAGE)) {
                if random.next().is_multiple_of(2) {
                    new.copy_from_slice(old);
                }
                old.copy_from_slice(new);
            }
        }
    }

    /// Changes the byte at `at` of the file `path`.
    ///
    /// # Panics
    /// If the file is shorter.
    pub fn flip(&self, path: &Path, at: usize) {
        if let Some(file) = lock(&self.files).get(path) {
            lock(&file.content).now[at] ^= 0x10;
        }
    }

    /// Sets a range of bytes of the file `path` to zero.
    ///
    /// # Panics
    /// If the file is shorter.
    pub fn zero(&self, path: &Path, range: Range<usize>) {
        if let Some(file) = lock(&self.files).get(path) {
            lock(&file.content).now[range].fill(0);
        }
    }

    /// Another disk with the same files, which nobody has locked.
    #[must_use]
    pub fn copy(&self) -> Self {
        let copy = Self { dirs: Mutex::new(lock(&self.dirs).clone()), ..Self::default() };
        for (path, file) in &*lock(&self.files) {
            let Content { now, durable } = &*lock(&file.content);
            let content = Mutex::new(Content { now: now.clone(), durable: durable.clone() });
            let modified_ms = AtomicI64::new(file.modified_ms.load(Ordering::SeqCst));
            let file = MemoryFile { content, modified_ms, faults: Arc::clone(&copy.faults) };
            lock(&copy.files).insert(path.clone(), Arc::new(file));
        }
        copy
    }

    fn file(&self, path: &Path) -> io::Result<Arc<MemoryFile>> {
        lock(&self.files).get(path).cloned().ok_or(io::ErrorKind::NotFound.into())
    }
}

impl fmt::Debug for MemoryDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryDisk").field("faults", &self.faults).finish_non_exhaustive()
    }
}

impl Disk for MemoryDisk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        lock(&self.dirs).extend(dir.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let name = |path: &Path| Some(path.file_name()?.to_str()?.to_owned());
        let files = lock(&self.files);
        let inside = files.iter().filter(|(path, _)| path.parent() == Some(dir));
        let files = inside.filter_map(|(path, file)| {
            let length = lock(&file.content).now.len() as u64;
            Some(Entry { name: name(path)?, is_dir: false, length })
        });
        let dirs = lock(&self.dirs);
        let inside = dirs.iter().filter(|path| path.parent() == Some(dir));
        let dirs = inside.filter_map(|path| Some(Entry { name: name(path)?, is_dir: true, length: 0 }));
        Ok(files.chain(dirs).collect())
    }

    fn exists(&self, path: &Path) -> bool {
        self.file(path).is_ok()
    }

    fn writable(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn open(&self, path: &Path, create: bool) -> io::Result<Box<dyn File>> {
        if !create {
            return Ok(Box::new(self.file(path)?));
        }
        if path.parent().is_some_and(|dir| !lock(&self.dirs).contains(dir)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let new = || {
            let (modified_ms, faults) = (AtomicI64::new(now_ms()), Arc::clone(&self.faults));
            Arc::new(MemoryFile { content: Mutex::default(), modified_ms, faults })
        };
        Ok(Box::new(Arc::clone(lock(&self.files).entry(path.to_owned()).or_insert_with(new))))
    }

    fn open_to_read(&self, path: &Path) -> io::Result<Box<dyn File>> {
        self.open(path, false)
    }

    fn open_segment(&self, path: &Path, _length: u64) -> io::Result<Box<dyn Segment>> {
        Ok(Box::new(self.file(path)?))
    }

    fn create_segment(&self, path: &Path, length: u64) -> io::Result<Box<dyn Segment>> {
        self.faults.grow(length)?;
        self.open(path, true)?.set_length(length)?;
        self.open_segment(path, length)
    }

    fn open_table(&self, path: &Path, _length: u64) -> io::Result<Box<dyn Table>> {
        Ok(Box::new(self.file(path)?))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        if self.faults.remove_fails.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let file = lock(&self.files).remove(path).ok_or(io::ErrorKind::NotFound)?;
        let length = lock(&file.content).now.len() as u64;
        let more = |space: u64| Some(space.saturating_add(length));
        let _ = self.faults.space.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more);
        Ok(())
    }

    fn modified_ms(&self, path: &Path) -> io::Result<i64> {
        Ok(self.file(path)?.modified_ms.load(Ordering::SeqCst))
    }

    fn set_modified_ms(&self, path: &Path, ms: i64) -> io::Result<()> {
        self.file(path)?.modified_ms.store(ms, Ordering::SeqCst);
        Ok(())
    }

    fn space(&self, _dir: &Path) -> io::Result<Space> {
        let used = lock(&self.files).values().map(|file| lock(&file.content).now.len() as u64).sum();
        let usable = self.faults.space.load(Ordering::SeqCst).min(u64::MAX - used);
        Ok(Space { total: used + usable, used, usable })
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        lock(&self.files).retain(|path, _| !path.starts_with(dir));
        lock(&self.dirs).retain(|path| !path.starts_with(dir));
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let moved = |path: &Path| path.strip_prefix(from).map(|rest| to.join(rest)).ok();
        let (mut files, mut dirs) = (lock(&self.files), lock(&self.dirs));
        let named: Vec<_> = files.keys().filter_map(|path| Some((path.clone(), moved(path)?))).collect();
        for (old, new) in named {
            let file = files.remove(&old).ok_or(io::ErrorKind::NotFound)?;
            files.insert(if old == from { to.to_owned() } else { new }, file);
        }
        *dirs = dirs.iter().map(|dir| moved(dir).unwrap_or_else(|| dir.clone())).collect();
        Ok(())
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn sync_file_system(&self, _dir: &Path) -> io::Result<()> {
        lock(&self.files).values().try_for_each(|file| file.sync_range(0..usize::MAX))
    }

    fn lock(&self, _path: &Path) -> io::Result<Option<Box<dyn Locked>>> {
        let was = self.locked.swap(true, Ordering::SeqCst);
        Ok((!was).then(|| Box::new(MemoryLock(Arc::clone(&self.locked))) as Box<dyn Locked>))
    }

    fn is_locked(&self, _path: &Path) -> io::Result<bool> {
        Ok(self.locked.load(Ordering::SeqCst))
    }
}

struct MemoryLock(Arc<AtomicBool>);

impl Locked for MemoryLock {}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

impl MemoryFile {
    fn sync_range(&self, range: Range<usize>) -> io::Result<()> {
        self.faults.fsyncs.fetch_add(1, Ordering::SeqCst);
        while self.faults.fsync_stalls.load(Ordering::SeqCst) {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        if self.faults.fsync_fails.load(Ordering::SeqCst) {
            return Err(io::Error::other("simulated fsync failure"));
        }
        let mut content = lock(&self.content);
        let Content { now, durable } = &mut *content;
        durable.resize(now.len(), 0);
        // Whole pages, as the system does.
        let from = range.start / PAGE * PAGE;
        let to = range.end.saturating_add(PAGE - 1) / PAGE * PAGE;
        let range = from.min(now.len())..to.min(now.len());
        durable[range.clone()].copy_from_slice(&now[range]);
        Ok(())
    }
}

impl File for Arc<MemoryFile> {
    fn set_length(&self, length: u64) -> io::Result<()> {
        let mut content = lock(&self.content);
        content.now.resize(length as usize, 0);
        if content.durable.len() > length as usize {
            content.durable.truncate(length as usize);
        }
        Ok(())
    }

    fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if self.faults.cold.load(Ordering::SeqCst) {
            self.faults.read()?;
        }
        let content = lock(&self.content);
        let rest = content.now.get(at as usize..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn read_resident(&self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if self.faults.cold.load(Ordering::SeqCst) { Ok(0) } else { self.read_at(at, buffer) }
    }

    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let end = at as usize + bytes.len();
        let mut content = lock(&self.content);
        if content.now.len() < end {
            self.faults.grow((end - content.now.len()) as u64)?;
            content.now.resize(end, 0);
        }
        content.now[at as usize..end].copy_from_slice(bytes);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_range(0..usize::MAX)
    }
}

impl Segment for Arc<MemoryFile> {
    fn write(&self, at: usize, bytes: &[u8]) {
        lock(&self.content).now[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn slice(&self, range: Range<usize>) -> Bytes {
        Bytes::copy_from_slice(&lock(&self.content).now[range])
    }

    fn resident(&self, range: Range<usize>) -> usize {
        if self.faults.cold.load(Ordering::SeqCst) { 0 } else { range.len() }
    }

    fn read_cold(&self, range: Range<usize>) -> io::Result<Vec<u8>> {
        self.faults.read()?;
        Ok(lock(&self.content).now[range].to_vec())
    }

    fn populate(&self, _range: Range<usize>) {}

    fn write_back(&self, _range: Range<usize>) {}

    fn sync(&self, range: Range<usize>) -> io::Result<()> {
        self.sync_range(range)
    }

    fn zero_from(&self, at: usize) -> io::Result<()> {
        lock(&self.content).now[at..].fill(0);
        self.sync_range(at..usize::MAX)
    }
}

impl Table for Arc<MemoryFile> {
    fn read(&self, at: usize, out: &mut [u8]) {
        out.copy_from_slice(&lock(&self.content).now[at..at + out.len()]);
    }

    fn write(&mut self, at: usize, bytes: &[u8]) -> io::Result<()> {
        if self.faults.space.load(Ordering::SeqCst) == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        lock(&self.content).now[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_range(0..usize::MAX)
    }
}
