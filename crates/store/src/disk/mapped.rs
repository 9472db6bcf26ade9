// SPDX-License-Identifier: Apache-2.0
//! Segments and tables that are mapped into memory: with `fault`, the only module with `unsafe`.
#![allow(unsafe_code)]

use std::{
    any::Any,
    fs, io,
    ops::Range,
    os::unix::fs::FileExt,
    sync::{Arc, Weak},
};

use bytes::Bytes;
use memmap2::MmapRaw;

use super::{Segment, Table, real::reserve};

/// What the kernel tells of memory is told by pages. Where they are larger, it refuses what does not start with one of
/// them, and nothing counts as known.
const PAGE: usize = 4096;

pub(super) struct MappedSegment {
    map: Arc<MmapRaw>,
    /// The whole mapping; every slice that is handed out shares its reference count and keeps the mapping alive.
    whole: Bytes,
    /// For operations on the file itself; the mapping does not need it. Who reads it says how much: the kernel does not
    /// read ahead.
    file: fs::File,
}

/// What `Bytes` owns: a share in the mapping.
struct Owner(Arc<MmapRaw>);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the mapping is readable, `len` bytes long and lives as long as `self`. It is foreign memory, shared
        // with the page cache. Whoever gets a slice of it reads only bytes below the published end of the log, which
        // nobody writes again (invariant of `Segment`), and got to know that end through an Acquire load that pairs
        // with the Release store made after the bytes were written. Other processes are kept off the file by the
        // store's lock file; nothing shortens it while it is mapped.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr(), self.0.len()) }
    }
}

impl MappedSegment {
    /// Maps `file`, which is `length` bytes long.
    pub(super) fn new(file: fs::File, length: usize) -> io::Result<Self> {
        let map = Arc::new(memmap2::MmapOptions::new().len(length).map_raw(&file)?);
        let whole = Bytes::from_owner(Owner(Arc::clone(&map)));
        // What the kernel reads ahead would stay behind in the page cache. Only speed depends on it.
        #[cfg(target_os = "linux")]
        let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Random);
        Ok(Self { map, whole, file })
    }

    /// By page of `range`, whose start is one of a page: whether it is in memory. Empty if the system cannot tell.
    #[cfg(target_os = "linux")]
    fn pages(&self, range: &Range<usize>) -> Vec<bool> {
        let mut pages = vec![0u8; range.len().div_ceil(PAGE)];
        assert!(range.start.is_multiple_of(PAGE) && range.end <= self.map.len(), "beyond the segment");
        // SAFETY: the range was just checked to lie inside the mapping and to start at a page of it, as the mapping
        // itself does; `pages` has a byte for each page that the range touches.
        let done = unsafe {
            libc::mincore(self.map.as_mut_ptr().add(range.start).cast(), range.len(), pages.as_mut_ptr())
        };
        if done == 0 { pages.into_iter().map(|page| page & 1 != 0).collect() } else { Vec::new() }
    }

    #[cfg(not(target_os = "linux"))]
    fn pages(&self, _range: &Range<usize>) -> Vec<bool> {
        Vec::new()
    }

    /// Has the page cache let go of `length` bytes from `at` on. Only what else it has room for depends on it.
    #[cfg(target_os = "linux")]
    fn drop_pages(&self, at: usize, length: usize) {
        let length = std::num::NonZeroU64::new(length as u64);
        let _ = rustix::fs::fadvise(&self.file, at as u64, length, rustix::fs::Advice::DontNeed);
    }

    #[cfg(not(target_os = "linux"))]
    fn drop_pages(&self, _at: usize, _length: usize) {}

    fn copy_in(&self, at: usize, bytes: &[u8]) {
        assert!(
            bytes.len() <= self.map.len() && at <= self.map.len() - bytes.len(),
            "write beyond the segment"
        );
        // SAFETY: the range was just checked to lie inside the mapping, which is writable. `bytes` is an ordinary
        // slice and so does not overlap it, unless it came from this mapping; the store never passes such a slice.
        // No reader looks at these bytes: they are at or above the published end, and writers are serialized by the
        // store's append lock.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.map.as_mut_ptr().add(at), bytes.len()) }
    }
}

/// So many bytes are taken out of the page table by one call.
#[cfg(target_os = "linux")]
const RELEASED_AT_ONCE: usize = 4 * 1024 * 1024;

/// Pages for so many bytes are made ready by one call. The kernel lets nobody else have the core meanwhile; where the host of
/// a virtual machine has to find the memory first, this may be 2 ms.
#[cfg(target_os = "linux")]
const POPULATED_AT_ONCE: usize = 256 * 1024;
/// A large page of the common processors.
#[cfg(target_os = "linux")]
const LARGE_PAGE: usize = 2 * 1024 * 1024;

impl Segment for MappedSegment {
    fn write(&self, at: usize, bytes: &[u8]) {
        self.copy_in(at, bytes);
    }

    fn slice(&self, range: Range<usize>) -> Bytes {
        self.whole.slice(range)
    }

    fn fetch(&self, at: usize) {
        // Loads of which none needs another's result are on their way together.
        std::hint::black_box(self.whole[at]);
    }

    fn resident(&self, range: Range<usize>) -> usize {
        let from = range.start / PAGE * PAGE;
        let in_memory = self.pages(&(from..range.end)).iter().take_while(|page| **page).count();
        (from + in_memory * PAGE).min(range.end).saturating_sub(range.start)
    }

    fn read_cold(&self, range: Range<usize>) -> io::Result<Vec<u8>> {
        let from = range.start / PAGE * PAGE;
        let before = self.pages(&(from..range.end));
        let mut bytes = vec![0; range.len()];
        self.file.read_exact_at(&mut bytes, range.start as u64)?;
        // What was there before stays, and so does a page that somebody has mapped meanwhile.
        let mut at = from;
        for run in before.chunk_by(|a, b| a == b) {
            if !run[0] {
                self.drop_pages(at, run.len() * PAGE);
            }
            at += run.len() * PAGE;
        }
        Ok(bytes)
    }

    fn read_alone(&self, range: Range<usize>) {
        let _ = self.map.advise_range(memmap2::Advice::Random, range.start, range.len());
    }

    fn read_ahead(&self, range: Range<usize>) {
        let _ = self.map.advise_range(memmap2::Advice::WillNeed, range.start, range.len());
    }

    fn populate(&self, range: Range<usize>, large: bool) {
        #[cfg(target_os = "linux")]
        {
            let step = if large { LARGE_PAGE } else { POPULATED_AT_ONCE };
            let from = if large { range.start / LARGE_PAGE * LARGE_PAGE } else { range.start };
            for at in (from..range.end).step_by(step) {
                let length = step.min(self.map.len() - at);
                if large {
                    let _ = self.map.advise_range(memmap2::Advice::HugePage, at, length);
                } else {
                    // To make them together is cheaper than one by one when the next call asks for each.
                    self.read_ahead(at..at + length);
                }
                // Kernels before 5.14 do not know this advice: the pages are then mapped one by one as they are written.
                let _ = self.map.advise_range(memmap2::Advice::PopulateWrite, at, length);
            }
        }
        #[cfg(not(target_os = "linux"))]
        let _ = (range, large);
    }

    fn held(&self) -> Weak<dyn Any + Send + Sync> {
        let map: Weak<MmapRaw> = Arc::downgrade(&self.map);
        map
    }

    fn release(&self) {
        #[cfg(target_os = "linux")]
        for at in (0..self.map.len()).step_by(RELEASED_AT_ONCE) {
            let length = RELEASED_AT_ONCE.min(self.map.len() - at);
            // SAFETY: the mapping is shared and backed by a file, so its pages are in the page cache, written or not: who
            // still holds a slice finds the same bytes there again. `DontNeed` only takes them out of the page table.
            let _ =
                unsafe { self.map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, at, length) };
        }
    }

    fn write_back(&self, range: Range<usize>) {
        #[cfg(target_os = "linux")]
        {
            use std::os::fd::AsRawFd;
            let (at, length) = (range.start as i64, range.len() as i64);
            // SAFETY: it takes numbers only, and the descriptor is open as long as `self`. Without its flags for waiting
            // the call takes no note of failed writes: the next fsync is still told of them.
            unsafe { libc::sync_file_range(self.file.as_raw_fd(), at, length, libc::SYNC_FILE_RANGE_WRITE) };
        }
        #[cfg(not(target_os = "linux"))]
        let _ = range;
    }

    fn sync(&self, range: Range<usize>) -> io::Result<()> {
        // msync of a shared mapping is, in Linux, fdatasync of the range; elsewhere fdatasync would not do.
        self.map.flush_range(range.start, range.len())
    }

    fn zero_from(&self, at: usize) -> io::Result<()> {
        let length = self.map.len() - at;
        if length == 0 {
            return Ok(());
        }
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::{FallocateFlags, fallocate};
            let flags = FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE;
            if fallocate(&self.file, flags, at as u64, length as u64).is_ok() {
                return self.file.sync_data();
            }
        }
        const ZEROS: [u8; 4096] = [0; 4096];
        let mut at = at;
        while at < self.map.len() {
            let end = (at / ZEROS.len() + 1) * ZEROS.len();
            let end = end.min(self.map.len());
            // Pages that are zero already are only looked at: a sparse file stays sparse.
            if self.slice(at..end).iter().any(|&byte| byte != 0) {
                self.copy_in(at, &ZEROS[..end - at]);
            }
            at = end;
        }
        self.map.flush()
    }
}

/// Space is reserved in blocks of so many bytes, when the first byte of one is written.
const RESERVED_AT_ONCE: usize = 64 * 1024;

pub(super) struct MappedTable {
    map: MmapRaw,
    file: fs::File,
    /// By block: its space is reserved.
    reserved: Vec<bool>,
}

impl MappedTable {
    /// Maps `file`, which is `length` bytes long.
    pub(super) fn new(file: fs::File, length: usize) -> io::Result<Self> {
        let map = memmap2::MmapOptions::new().len(length).map_raw(&file)?;
        // It is looked into here and there. As in segments, the kernel would make up to 8 MiB of pages for each place,
        // in blocks that are written to the disk whole. Only speed depends on it.
        let _ = map.advise(memmap2::Advice::Random);
        Ok(Self { map, file, reserved: vec![false; length.div_ceil(RESERVED_AT_ONCE)] })
    }

    fn check(&self, at: usize, length: usize) {
        assert!(length <= self.map.len() && at <= self.map.len() - length, "beyond the table");
    }
}

impl Table for MappedTable {
    fn read(&self, at: usize, out: &mut [u8]) {
        self.check(at, out.len());
        // SAFETY: the range was just checked to lie inside the mapping, which is readable, and `out`, an ordinary
        // exclusive slice, does not overlap it. Nobody writes meanwhile: that takes `&mut self`, and the store's lock
        // file keeps other processes off. Nothing shortens the file while it is mapped.
        unsafe { std::ptr::copy_nonoverlapping(self.map.as_ptr().add(at), out.as_mut_ptr(), out.len()) }
    }

    fn write(&mut self, at: usize, bytes: &[u8]) -> io::Result<()> {
        self.check(at, bytes.len());
        let Some(last) = bytes.len().checked_sub(1) else { return Ok(()) };
        for block in at / RESERVED_AT_ONCE..=(at + last) / RESERVED_AT_ONCE {
            if !self.reserved[block] {
                let from = block * RESERVED_AT_ONCE;
                let length = RESERVED_AT_ONCE.min(self.map.len() - from);
                reserve(&self.file, from as u64, length as u64)?;
                self.reserved[block] = true;
            }
        }
        // SAFETY: the range was just checked to lie inside the mapping, which is writable; `&mut self` keeps readers
        // and other writers away; `bytes` is an ordinary slice, as nobody can get one of this mapping.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.map.as_mut_ptr().add(at), bytes.len()) }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.map.flush()
    }
}
