// SPDX-License-Identifier: Apache-2.0
//! Stretches of the log that were read from the disk for those who are far behind: kept in memory of our own and not in
//! the page cache, so that what they read takes no place there from the end of the log.
//!
//! A stretch begins with a page. One that is read ahead ends where a multiple of [`AHEAD`] does, so that readers of the
//! same messages ask for the same stretches, and whoever comes second finds what the first one read. The oldest are
//! given up when there are too many bytes.
//!
//! While a stretch is read, the page cache has its pages for a moment. Who found them there and looked at the mapping would
//! keep them there, or, if they go before he looks, wait for the disk with all that it reads around them. So whoever asks
//! what is in memory asks here, too ([`ColdStretches::untouched`]).

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    ops::Range,
    sync::{
        Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;

use crate::{log::LogSegment, sync::lock};

/// So much is read at once for who goes on to what follows. One such read takes a disk of 100 MB/s 10 ms.
const AHEAD: u64 = 1024 * 1024;
const PAGE: u64 = 4096;
/// Many short stretches must not cost more than their bytes.
const STRETCHES_MAX: usize = 4096;

/// Bytes of the log from `start` on.
#[derive(Debug, Clone)]
pub(crate) struct Stretch {
    pub(crate) start: u64,
    pub(crate) bytes: Bytes,
}

impl Stretch {
    /// `size` bytes at `at`, if it has them all.
    pub(crate) fn get(&self, at: u64, size: u64) -> Option<Bytes> {
        let from = at.checked_sub(self.start)?;
        let to = from.checked_add(size).filter(|to| *to <= self.bytes.len() as u64)?;
        Some(self.bytes.slice(from as usize..to as usize))
    }
}

#[derive(Debug, Default)]
pub(crate) struct ColdStretches {
    /// There is something in the state. Most of the time there is not, and nobody need lock it.
    used: AtomicBool,
    state: Mutex<State>,
    /// One more was read, or could not be read.
    read: Condvar,
}

#[derive(Debug, Default)]
struct State {
    by_start: BTreeMap<u64, Bytes>,
    /// Starts, in the order in which they were read.
    order: VecDeque<u64>,
    bytes: usize,
    /// Those that are being read.
    reading: Vec<Range<u64>>,
    /// None was read since [`ColdStretches::forget_unused`] looked.
    idle: bool,
}

impl State {
    fn find(&self, at: u64, size: u64) -> Option<Stretch> {
        let (&start, bytes) = self.by_start.range(..=at).next_back()?;
        let found = Stretch { start, bytes: bytes.clone() };
        found.get(at, size).is_some().then_some(found)
    }

    fn add(&mut self, stretch: &Stretch, bytes_max: usize) {
        self.idle = false;
        self.bytes += stretch.bytes.len();
        match self.by_start.insert(stretch.start, stretch.bytes.clone()) {
            Some(old) => self.bytes -= old.len(),
            None => self.order.push_back(stretch.start),
        }
        while self.bytes > bytes_max || self.order.len() > STRETCHES_MAX {
            let Some(oldest) = self.order.pop_front() else { break };
            self.bytes -= self.by_start.remove(&oldest).map_or(0, |bytes| bytes.len());
        }
    }
}

impl ColdStretches {
    /// The stretch that has `size` bytes at `at`, if it was read.
    pub(crate) fn find(&self, at: u64, size: u64) -> Option<Stretch> {
        if self.used.load(Ordering::SeqCst) { lock(&self.state).find(at, size) } else { None }
    }

    /// How far from its start on nobody has read in `range`, or is reading: what the kernel has of that in memory was not
    /// brought there from here. To be asked after the kernel.
    pub(crate) fn untouched(&self, range: Range<u64>) -> Range<u64> {
        if !self.used.load(Ordering::SeqCst) {
            return range;
        }
        let state = lock(&self.state);
        let read = state.by_start.range(..range.end).map(|(start, bytes)| *start..start + bytes.len() as u64);
        let touched = read.chain(state.reading.iter().cloned()).filter(|touched| touched.end > range.start);
        let first = touched.map(|touched| touched.start).min().unwrap_or(range.end);
        range.start..first.clamp(range.start, range.end)
    }

    /// Reads `size` bytes at `at` in `segment`, none of them beyond `end`, or takes what another reader has read.
    /// `ahead`: and what follows. At most `bytes_max` are kept for others.
    pub(crate) fn read(
        &self,
        segment: &LogSegment,
        (at, size): (u64, u64),
        (end, ahead): (u64, bool),
        bytes_max: usize,
    ) -> io::Result<Stretch> {
        let within = at - segment.start;
        let from = within / PAGE * PAGE;
        let start = segment.start + from;
        let needed = (within + size).next_multiple_of(PAGE);
        let to = if ahead { needed.next_multiple_of(AHEAD) } else { needed };
        let mut state = lock(&self.state);
        loop {
            if let Some(found) = state.find(at, size) {
                return Ok(found);
            }
            if state.reading.iter().all(|reading| reading.start != start) {
                break;
            }
            state = self.read.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.reading.push(start..segment.start + to);
        self.used.store(true, Ordering::SeqCst);
        drop(state);

        let fits = |to: u64| from as usize..to.min(end - segment.start) as usize;
        let mut read = segment.map.read_cold(fits(to));
        if read.is_err() && to > needed {
            // What follows must not be what keeps this from being read.
            read = segment.map.read_cold(fits(needed));
        }
        let read = read.map(|bytes| Stretch { start, bytes: bytes.into() });
        let mut state = lock(&self.state);
        state.reading.retain(|reading| reading.start != start);
        if let Ok(stretch) = &read {
            state.add(stretch, bytes_max);
        }
        drop(state);
        self.read.notify_all();
        read
    }

    /// Gives all memory back if nothing was read since the last call.
    pub(crate) fn forget_unused(&self) {
        let mut state = lock(&self.state);
        if std::mem::replace(&mut state.idle, true) {
            state.by_start.clear();
            state.order = VecDeque::new();
            state.bytes = 0;
            self.used.store(!state.reading.is_empty(), Ordering::SeqCst);
        }
    }
}
