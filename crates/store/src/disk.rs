// SPDX-License-Identifier: Apache-2.0
//! Files as the store sees them. Production is [`real`]; tests use a disk in memory that forgets and fails.
//!
//! Three kinds: a [`File`] is read and written at positions (consume queues, checkpoint); a [`Segment`] has a fixed
//! length, is written by copying into it and read without a copy (commit log); a [`Table`] has a fixed length and is
//! read and changed in a few bytes here and there (index).

#[cfg(target_os = "linux")]
mod fault;
#[cfg(unix)]
mod mapped;
#[cfg(any(test, feature = "memory-disk"))]
pub(crate) mod memory;
#[cfg(unix)]
pub(crate) mod real;

#[cfg(target_os = "linux")]
use std::ffi::CString;
use std::{any::Any, io, ops::Range, path::Path, sync::Weak, time::SystemTime};

use bytes::Bytes;

/// From now on, the process names the file and the place in it before it ends by a SIGBUS, because a page of a mapped file
/// cannot be read or written: on standard error, and at the end of the file `log`, if that is there. It ends in any case.
///
/// Only under Linux; elsewhere nothing changes.
///
/// # Errors
/// The system does not take the handler, or the name has a zero byte.
pub fn tell_of_bad_pages(log: Option<&Path>) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    fault::tell_of_bad_pages(log.map(|log| CString::new(log.as_os_str().as_encoded_bytes())).transpose()?)?;
    #[cfg(not(target_os = "linux"))]
    let _ = log;
    Ok(())
}

/// One name in a directory.
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) is_dir: bool,
    pub(crate) length: u64,
}

/// The file system under a folder, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Space {
    pub(crate) total: u64,
    pub(crate) used: u64,
    /// What is free for those who are not root.
    pub(crate) usable: u64,
}

impl Space {
    /// How much is used, in percent, rounded up. Java: `UtilAll#getDiskPartitionSpaceUsedPercent`.
    pub(crate) fn percent(&self) -> u8 {
        let all = u128::from(self.used) + u128::from(self.usable);
        (u128::from(self.used) * 100).div_ceil(all.max(1)) as u8
    }
}

/// Holds a lock until it is dropped.
pub(crate) trait Locked: Send + Sync {}

/// Where files live. All paths are the caller's; names in them have been validated.
pub(crate) trait Disk: Send + Sync + 'static {
    /// The time. On a simulated disk, that passes by what is done with it.
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// The names in `dir`, unordered; none if it does not exist. Names that are not UTF-8 are left out.
    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>>;
    fn exists(&self, path: &Path) -> bool;
    /// Fails as making a file in `dir` would for lack of permission or on a read-only file system, without making one.
    fn writable(&self, dir: &Path) -> io::Result<()>;
    /// Opens a file for reading and writing.
    fn open(&self, path: &Path, create: bool) -> io::Result<Box<dyn File>>;
    /// Opens a file for reading only, on a disk or in a folder that may refuse all else. A folder is an error.
    fn open_to_read(&self, path: &Path) -> io::Result<Box<dyn File>>;
    /// Opens the segment at `path`, which is `length` bytes long.
    fn open_segment(&self, path: &Path, length: u64) -> io::Result<Box<dyn Segment>>;
    /// Creates a segment of `length` zero bytes whose space is reserved; on failure nothing stays behind.
    fn create_segment(&self, path: &Path, length: u64) -> io::Result<Box<dyn Segment>>;
    /// Opens the table at `path`, which is `length` bytes long.
    fn open_table(&self, path: &Path, length: u64) -> io::Result<Box<dyn Table>>;
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// When the file was modified last, in ms since 1970.
    fn modified_ms(&self, path: &Path) -> io::Result<i64>;
    fn set_modified_ms(&self, path: &Path, ms: i64) -> io::Result<()>;
    /// What the disk of `dir` has.
    fn space(&self, dir: &Path) -> io::Result<Space>;
    fn remove_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Gives the file or folder `from` the name `to`, whose folder exists.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Makes names created in or removed from `dir` durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// From now on, [`Self::sync_file_system`] of `dir` tells of what could not be written, once.
    fn watch_file_system(&self, dir: &Path) -> io::Result<()>;
    /// Makes everything on the file system of `dir` durable: cheaper than syncing very many files one by one.
    fn sync_file_system(&self, dir: &Path) -> io::Result<()>;
    /// Locks the file at `path`, creating it. `None` if another process or another store of this process has it.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Locked>>>;
    /// True if someone has locked the file at `path`. Writes nothing.
    fn is_locked(&self, path: &Path) -> io::Result<bool>;
}

/// A file that is read and written at positions.
pub(crate) trait File: Send + Sync {
    fn set_length(&self, length: u64) -> io::Result<()>;
    /// Sets everything from `at` to the end of the file, which is at `length`, to zero, and gives its space back where
    /// the file system can. The file never has another length meanwhile, which a crash would leave.
    fn zero_from(&self, at: u64, length: u64) -> io::Result<()>;
    /// Reads into the beginning of `buffer`, perhaps less than there is. 0 at the end of the file.
    fn read_some_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<usize>;
    /// Fills `buffer` as far as the file goes; the rest is left alone. Returns the bytes read.
    fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut read = 0;
        while read < buffer.len() {
            match self.read_some_at(at + read as u64, &mut buffer[read..]) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }
    /// The same as far as no disk is needed: reads less, or nothing, where the page cache has no more, and everywhere
    /// if the system cannot tell.
    fn read_resident(&self, at: u64, buffer: &mut [u8]) -> io::Result<usize>;
    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()>;
    fn sync(&self) -> io::Result<()>;
}

/// A piece of the commit log.
///
/// INVARIANT: a byte is written at most once after it was handed out: the store slices only what lies below its
/// published end and writes only at or above it.
pub(crate) trait Segment: Send + Sync {
    /// Copies `bytes` to `at`. Out of range is a bug and panics.
    fn write(&self, at: usize, bytes: &[u8]);
    /// The bytes in `range`, without a copy. Out of range is a bug and panics.
    fn slice(&self, range: Range<usize>) -> Bytes;
    /// Has the processor fetch the bytes around `at` into its caches, and does not wait for them. Out of range is a bug and may panic.
    /// Only speed depends on it.
    fn fetch(&self, at: usize);
    /// How many bytes from the start of `range` on are in memory, so that nobody waits for the disk who looks at a
    /// slice of them; 0 if the system cannot tell. Out of range is a bug and panics.
    fn resident(&self, range: Range<usize>) -> usize;
    /// Reads the bytes in `range` from the disk and leaves in the page cache only what was there before. A sector that
    /// cannot be read is an error here, where looking at a slice would be a SIGBUS.
    fn read_cold(&self, range: Range<usize>) -> io::Result<Vec<u8>>;
    /// From now on only that page is read which somebody looks at in `range`, and none around it. Only speed depends on it.
    fn read_alone(&self, range: Range<usize>);
    /// Has the disk begin to read what somebody is about to look at in `range`. Only speed depends on it.
    fn read_ahead(&self, range: Range<usize>);
    /// Makes writes to `range` cheap by having its pages ready: `large` ones, where there are such, cost much less each byte,
    /// but a flush writes them whole. Only speed depends on it.
    fn populate(&self, range: Range<usize>, large: bool);
    /// Has the disk begin with what was written to `range`, so that a later `sync` finds less to do. Only speed depends
    /// on it; what fails is told by that `sync`.
    fn write_back(&self, range: Range<usize>);
    /// Makes what was written to `range` durable.
    fn sync(&self, range: Range<usize>) -> io::Result<()>;
    /// Lets go of its pages, in small steps, because it will be dropped: doing that at once would keep others from theirs.
    fn release(&self);
    /// Alive as long as somebody holds the segment or a slice of it, and with that the space of a file that was removed.
    fn held(&self) -> Weak<dyn Any + Send + Sync>;
    /// Sets everything from `at` on to zero.
    fn zero_from(&self, at: usize) -> io::Result<()>;
}

/// A file of fixed length in which few bytes are read and changed at a time, without a system call each. It is sparse:
/// where nothing was written it is zero and takes no space.
pub(crate) trait Table: Send + Sync {
    /// Copies the bytes from `at` on to `out`. Out of range is a bug and panics.
    fn read(&self, at: usize, out: &mut [u8]);
    /// Copies `bytes` to `at`, or nothing if there is no space. Out of range is a bug and panics.
    fn write(&mut self, at: usize, bytes: &[u8]) -> io::Result<()>;
    /// Makes what was written durable.
    fn sync(&self) -> io::Result<()>;
}
