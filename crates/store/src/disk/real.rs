// SPDX-License-Identifier: Apache-2.0
//! The operating system's files.

use std::{
    collections::HashMap,
    fs, io,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, UNIX_EPOCH},
};

use super::{
    Disk, Entry, File, Locked, Segment, Space, Table,
    mapped::{MappedSegment, MappedTable},
};
use crate::sync::lock;

/// `syncfs` tells of what the kernel could not write since the descriptor that it is given was opened, from Linux 5.8 on;
/// so one of each folder that is watched stays open. Before 5.8 it tells nothing of failed writes: only what fails in the
/// call itself is noticed there, and a consume queue whose pages were lost looks durable.
#[derive(Default)]
pub(crate) struct RealDisk {
    watched: Mutex<HashMap<PathBuf, fs::File>>,
}

impl Disk for RealDisk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let entries = match fs::read_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut all = Vec::new();
        for entry in entries {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let is_dir = entry.file_type()?.is_dir();
            let length = if is_dir { 0 } else { entry.metadata()?.len() };
            all.push(Entry { name, is_dir, length });
        }
        Ok(all)
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn writable(&self, dir: &Path) -> io::Result<()> {
        Ok(rustix::fs::access(dir, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK)?)
    }

    fn open(&self, path: &Path, create: bool) -> io::Result<Box<dyn File>> {
        let file = fs::OpenOptions::new().read(true).write(true).create(create).truncate(false).open(path)?;
        Ok(Box::new(RealFile(file)))
    }

    fn open_to_read(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let file = fs::File::open(path)?;
        if file.metadata()?.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        Ok(Box::new(RealFile(file)))
    }

    fn open_segment(&self, path: &Path, length: u64) -> io::Result<Box<dyn Segment>> {
        let file = fs::OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Box::new(MappedSegment::new(file, mappable(length)?)?))
    }

    fn create_segment(&self, path: &Path, length: u64) -> io::Result<Box<dyn Segment>> {
        let file = fs::OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        let made = reserve(&file, 0, length)
            .and_then(|()| file.set_len(length))
            // Its length, too, must outlive a power loss: a short file before others would be refused.
            .and_then(|()| file.sync_all())
            .and_then(|()| self.sync_dir(path.parent().unwrap_or(Path::new("."))))
            .and_then(|()| MappedSegment::new(file, mappable(length)?));
        match made {
            Ok(segment) => Ok(Box::new(segment)),
            Err(error) => {
                let removed = fs::remove_file(path);
                let _ = removed.and_then(|()| self.sync_dir(path.parent().unwrap_or(Path::new("."))));
                Err(error)
            }
        }
    }

    fn open_table(&self, path: &Path, length: u64) -> io::Result<Box<dyn Table>> {
        let file = fs::OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Box::new(MappedTable::new(file, mappable(length)?)?))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn modified_ms(&self, path: &Path) -> io::Result<i64> {
        let found = fs::metadata(path)?;
        Ok(found.mtime().saturating_mul(1_000).saturating_add(found.mtime_nsec() / 1_000_000))
    }

    fn set_modified_ms(&self, path: &Path, ms: i64) -> io::Result<()> {
        let since = Duration::from_millis(u64::try_from(ms).unwrap_or(0));
        fs::OpenOptions::new().write(true).open(path)?.set_modified(UNIX_EPOCH + since)
    }

    fn space(&self, dir: &Path) -> io::Result<Space> {
        let found = rustix::fs::statvfs(dir)?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        let (total, free, usable) = (bytes(found.f_blocks), bytes(found.f_bfree), bytes(found.f_bavail));
        if total == 0 {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(Space { total, used: total.saturating_sub(free), usable })
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        fs::remove_dir_all(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        fs::File::open(dir)?.sync_all()
    }

    fn watch_file_system(&self, dir: &Path) -> io::Result<()> {
        let opened = fs::File::open(dir)?;
        lock(&self.watched).insert(dir.to_owned(), opened);
        Ok(())
    }

    fn sync_file_system(&self, dir: &Path) -> io::Result<()> {
        let watched = lock(&self.watched).get(dir).map(fs::File::try_clone).transpose()?;
        let dir = watched.map_or_else(|| fs::File::open(dir), Ok)?;
        #[cfg(target_os = "linux")]
        rustix::fs::syncfs(&dir)?;
        #[cfg(not(target_os = "linux"))]
        rustix::fs::sync();
        drop(dir);
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Locked>>> {
        Ok(FileLock::take(path)?.map(|lock| Box::new(lock) as Box<dyn Locked>))
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        FileLock::is_taken(path)
    }
}

fn mappable(length: u64) -> io::Result<usize> {
    usize::try_from(length).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))
}

/// Takes the space for `length` bytes of `file` at `at`, where the file system can: a full disk is then noticed here
/// and not by a SIGBUS in the middle of a write to the mapping.
pub(super) fn reserve(file: &fs::File, at: u64, length: u64) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::KEEP_SIZE, at, length) {
        Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {}
        Err(error) => return Err(error.into()),
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (file, at, length);
    Ok(())
}

struct RealFile(fs::File);

impl File for RealFile {
    fn set_length(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn zero_from(&self, at: u64, length: u64) -> io::Result<()> {
        static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::{FallocateFlags, fallocate};
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            if at < length && fallocate(&self.0, flags, at, length - at).is_ok() {
                return Ok(());
            }
        }
        (at..length)
            .step_by(ZEROS.len())
            .try_for_each(|from| self.write_at(from, &ZEROS[..ZEROS.len().min((length - from) as usize)]))
    }

    fn read_some_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(buffer, at)
    }

    fn read_resident(&self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        #[cfg(target_os = "linux")]
        {
            use rustix::io::{Errno, ReadWriteFlags, preadv2};
            let mut into = [io::IoSliceMut::new(buffer)];
            match preadv2(&self.0, &mut into, at, ReadWriteFlags::NOWAIT) {
                Ok(read) => Ok(read),
                // Not in memory, or a file system that does not know the flag.
                Err(Errno::AGAIN | Errno::INTR | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(0),
                Err(error) => Err(error.into()),
            }
        }
        #[cfg(not(target_os = "linux"))]
        {
            let _ = (at, buffer);
            Ok(0)
        }
    }

    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, at)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

/// Device and inode of the lock files that this process holds.
///
/// Java locks with `FileChannel.tryLock`, which is a POSIX record lock. To exclude a Java broker, ours must be one
/// too: a `flock` and a record lock do not see each other. But record locks belong to the process: they do not keep
/// out a second store in it, and closing any other handle of the file drops them. So this list is asked before the
/// file is opened.
static HELD: Mutex<Vec<(u64, u64)>> = Mutex::new(Vec::new());

struct FileLock {
    file: Option<fs::File>,
    identity: (u64, u64),
}

impl FileLock {
    fn take(path: &Path) -> io::Result<Option<Self>> {
        let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        match fs::metadata(path) {
            Ok(found) if held.contains(&(found.dev(), found.ino())) => return Ok(None),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        match rustix::fs::fcntl_lock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        // What Java writes there. A folder that is refused after all keeps its times.
        if file.metadata()?.len() == 0 {
            file.write_all_at(b"lock", 0)?;
        }
        let found = file.metadata()?;
        let identity = (found.dev(), found.ino());
        held.push(identity);
        Ok(Some(Self { file: Some(file), identity }))
    }

    fn is_taken(path: &Path) -> io::Result<bool> {
        // As above: closing the handle of this would drop a lock that this process has.
        let held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        let file = match fs::metadata(path) {
            Ok(found) if held.contains(&(found.dev(), found.ino())) => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Ok(found) if !found.is_file() => return Ok(false),
            found => found.and_then(|_| fs::File::open(path))?,
        };
        // A shared lock needs no right to write. It is gone when the file is closed, at the end of this function.
        match rustix::fs::fcntl_lock(&file, rustix::fs::FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(false),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }
}

impl Locked for FileLock {}

impl Drop for FileLock {
    fn drop(&mut self) {
        let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        // Closed before the list forgets it: a lock taken in between would be lost by the closing.
        drop(self.file.take());
        held.retain(|held| *held != self.identity);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A descriptor of its own would be told only of what fails from then on.
    #[test]
    fn a_watched_file_system_is_synced_by_the_descriptor_of_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let disk = RealDisk::default();
        let dir = folder.path().join("watched");
        fs::create_dir(&dir).unwrap();
        disk.watch_file_system(&dir).unwrap();
        fs::remove_dir(&dir).unwrap();
        disk.sync_file_system(&dir).unwrap();
        assert!(disk.sync_file_system(&folder.path().join("other")).is_err());
    }
}
