// SPDX-License-Identifier: Apache-2.0
//! One index file.
//!
//! Fixed length, big-endian, all numbers signed in Java; sparse behind the last entry.
//! ```text
//!  0  begin time 8        store time of the first entry's record, ms since 1970
//!  8  end time 8          the same of the last entry
//! 16  begin offset 8      physical offset of the first entry's record
//! 24  end offset 8        physical offset of the last record that was looked at: all keys up to it are in
//! 32  slots in use 4
//! 36  next ordinal 4      that of the first entry is 1; 0 or 1 in a file without entries
//! 40  slot 4, repeated    ordinal of the newest entry whose key hash modulo the number of slots is this slot's; 0: none
//!  .  entry 20, repeated  the first, of ordinal 0, is never used
//!       0 key hash 4 | 4 physical offset 8 | 12 time 4 | 16 previous 4
//! ```
//! Time: whole seconds since the begin time. Previous: ordinal of the entry that the slot named before this one; so
//! the entries of a slot form a chain into the past. Key hash: Java hash of `TOPIC#KEY`, without its sign.
//!
//! Invariants
//! - Previous ordinals and physical offsets decrease along a chain, so each walk of one ends.
//! - Entries are never changed once they are below the next ordinal.
//!
//! Java: `IndexFile`, `IndexHeader`. Bytes: `tests/golden/java-*-index`.

use std::{io, path::PathBuf};

use crate::disk::Table;

pub(crate) const HEADER_SIZE: usize = 40;
pub(crate) const SLOT_SIZE: usize = 4;
pub(crate) const ENTRY_SIZE: usize = 20;

/// How many slots and entries the files have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) slots: u32,
    pub(crate) entries: u32,
}

impl Shape {
    /// Bytes in a file.
    pub(crate) fn length(self) -> u64 {
        HEADER_SIZE as u64
            + u64::from(self.slots) * SLOT_SIZE as u64
            + u64::from(self.entries) * ENTRY_SIZE as u64
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) begin_ms: i64,
    pub(crate) end_ms: i64,
    pub(crate) begin_offset: u64,
    pub(crate) end_offset: u64,
    slots_in_use: u32,
    /// The next ordinal, 1 at least.
    pub(crate) next: u32,
}

impl Header {
    /// `None` for numbers that no writer leaves.
    pub(crate) fn decode(bytes: &[u8; HEADER_SIZE], shape: Shape) -> Option<Self> {
        let long = |at: usize| bytes[at..].first_chunk().map_or(0, |field| i64::from_be_bytes(*field));
        let int = |at: usize| bytes[at..].first_chunk().map_or(0, |field| i32::from_be_bytes(*field));
        let header = Self {
            begin_ms: long(0),
            end_ms: long(8),
            begin_offset: u64::try_from(long(16)).ok()?,
            end_offset: u64::try_from(long(24)).ok()?,
            slots_in_use: u32::try_from(int(32)).ok()?,
            next: u32::try_from(int(36)).ok()?.max(1),
        };
        let possible = header.next <= shape.entries
            && header.begin_offset <= header.end_offset
            && header.begin_ms >= 0
            && header.end_ms >= 0;
        possible.then_some(header)
    }

    fn encode(&self) -> [u8; HEADER_SIZE] {
        let mut out = [0; HEADER_SIZE];
        out[..8].copy_from_slice(&self.begin_ms.to_be_bytes());
        out[8..16].copy_from_slice(&self.end_ms.to_be_bytes());
        out[16..24].copy_from_slice(&self.begin_offset.to_be_bytes());
        out[24..32].copy_from_slice(&self.end_offset.to_be_bytes());
        out[32..36].copy_from_slice(&self.slots_in_use.to_be_bytes());
        out[36..].copy_from_slice(&self.next.to_be_bytes());
        out
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.next == 1
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct IndexEntry {
    pub(crate) hash: u32,
    pub(crate) physical: u64,
    pub(crate) seconds: u32,
    pub(crate) previous: u32,
}

impl IndexEntry {
    pub(crate) fn decode(bytes: &[u8; ENTRY_SIZE]) -> Self {
        let int = |at: usize| bytes[at..].first_chunk().map_or(0, |field| u32::from_be_bytes(*field));
        let physical = bytes[4..].first_chunk().map_or(0, |field| u64::from_be_bytes(*field));
        Self { hash: int(0), physical, seconds: int(12), previous: int(16) }
    }

    fn encode(&self) -> [u8; ENTRY_SIZE] {
        let mut out = [0; ENTRY_SIZE];
        out[..4].copy_from_slice(&self.hash.to_be_bytes());
        out[4..12].copy_from_slice(&self.physical.to_be_bytes());
        out[12..16].copy_from_slice(&self.seconds.to_be_bytes());
        out[16..].copy_from_slice(&self.previous.to_be_bytes());
        out
    }
}

/// A walk along a chain.
pub(super) struct Walk {
    pub(super) hash: u32,
    /// Store times that are wanted, ms since 1970, both included.
    pub(super) begin_ms: i64,
    pub(super) end_ms: i64,
    /// The entry to look at next; `None` before the first.
    pub(super) at: Option<u32>,
}

/// An index file that is open.
pub(crate) struct IndexFile {
    pub(crate) path: PathBuf,
    shape: Shape,
    table: Box<dyn Table>,
    pub(crate) header: Header,
}

impl IndexFile {
    /// Takes `table`, which has the length of `shape`, for the file at `path`. `None` if its header is damaged.
    pub(crate) fn open(path: PathBuf, shape: Shape, table: Box<dyn Table>) -> Option<Self> {
        let mut bytes = [0; HEADER_SIZE];
        table.read(0, &mut bytes);
        let header = Header::decode(&bytes, shape)?;
        Some(Self { path, shape, table, header })
    }

    pub(crate) fn is_full(&self) -> bool {
        self.header.next >= self.shape.entries
    }

    /// Adds an entry, for which there must be room.
    ///
    /// # Errors
    /// What the system says if there is no space; the entry is not there then.
    /// Java: `IndexFile#putKey`.
    pub(crate) fn put(&mut self, hash: u32, physical: u64, store_ms: i64) -> io::Result<()> {
        debug_assert!(!self.is_full());
        let ordinal = self.header.next;
        if ordinal == 1 {
            self.header.begin_ms = store_ms;
            self.header.begin_offset = physical;
        }
        let slot = hash % self.shape.slots;
        let previous = self.slot(slot);
        let entry = IndexEntry { hash, physical, seconds: self.seconds(store_ms), previous };
        // The slot comes last: it must not name an entry that could not be written.
        self.table.write(self.entry_at(ordinal), &entry.encode())?;
        self.table.write(slot_at(slot), &ordinal.to_be_bytes())?;
        self.header.slots_in_use += u32::from(previous == 0);
        self.header.next += 1;
        self.header.end_offset = physical;
        self.header.end_ms = store_ms;
        Ok(())
    }

    /// Writes the header, without which the entries since the last time do not count at the next start.
    pub(crate) fn write_header(&mut self) -> io::Result<()> {
        self.table.write(0, &self.header.encode())
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.table.sync()
    }

    /// True if the file may have entries of records stored from `begin_ms` to `end_ms`.
    pub(super) fn overlaps(&self, begin_ms: i64, end_ms: i64) -> bool {
        !self.header.is_empty() && begin_ms <= self.header.end_ms && end_ms >= self.header.begin_ms
    }

    /// Goes on with `walk` for at most `steps` entries and appends to `out` the physical offsets of those with its
    /// hash whose time may be in its range, newest first. False at the end of the chain.
    ///
    /// Java: `IndexFile#selectPhyOffset`.
    pub(super) fn follow(&self, walk: &mut Walk, steps: u32, out: &mut Vec<u64>) -> bool {
        let mut at = walk.at.unwrap_or_else(|| self.slot(walk.hash % self.shape.slots));
        for _ in 0..steps {
            if at == 0 {
                return false;
            }
            let entry = self.entry(at);
            let from_ms = self.header.begin_ms.saturating_add(i64::from(entry.seconds) * 1000);
            let to_ms = from_ms.saturating_add(999);
            if to_ms < walk.begin_ms {
                return false;
            }
            if entry.hash == walk.hash && from_ms <= walk.end_ms {
                out.push(entry.physical);
            }
            // Damage must not lead in a circle.
            at = if entry.previous < at { entry.previous } else { 0 };
            walk.at = Some(at);
        }
        true
    }

    /// Makes a file that was not closed whole again: keeps the longest beginning whose entries are what they must be,
    /// without records at or beyond `limit`. What lies behind is the caller's to clear.
    ///
    /// `stored`: the store time of the record at a physical offset, if it has a key of that hash.
    pub(super) fn repair(&mut self, limit: u64, stored: impl Fn(u64, u32) -> Option<i64>) -> io::Result<()> {
        let mut slots = vec![0u32; self.shape.slots as usize];
        let slot_of = |entry: &IndexEntry| (entry.hash % self.shape.slots) as usize;
        let mut next = 1;
        let mut last = 0;
        while next < self.header.next {
            let entry = self.entry(next);
            // The chains are known at every step, so what the entry says of its own can be compared.
            let possible = entry != IndexEntry::default()
                && entry.hash <= i32::MAX as u32
                && entry.seconds <= i32::MAX as u32
                && (last..limit).contains(&entry.physical)
                && entry.previous == slots[slot_of(&entry)];
            let right =
                || stored(entry.physical, entry.hash).is_some_and(|ms| self.seconds(ms) == entry.seconds);
            if !possible || (self.is_torn(next) && !right()) {
                break;
            }
            last = entry.physical;
            slots[slot_of(&entry)] = next;
            next += 1;
        }
        // The last one may lie on two pages of which one was lost: only its record can tell.
        let mut end_ms = 0;
        while next > 1 {
            let last = self.entry(next - 1);
            if let Some(store_ms) = stored(last.physical, last.hash)
                && self.seconds(store_ms) == last.seconds
            {
                end_ms = store_ms;
                break;
            }
            next -= 1;
            slots[slot_of(&last)] = last.previous;
        }
        for (slot, ordinal) in (0..).zip(&slots) {
            if self.raw_slot(slot) != *ordinal {
                self.table.write(slot_at(slot), &ordinal.to_be_bytes())?;
            }
        }
        self.header.next = next;
        self.header.slots_in_use = slots.iter().filter(|ordinal| **ordinal > 0).count() as u32;
        if next > 1 {
            self.header.end_offset = self.entry(next - 1).physical;
            self.header.end_ms = end_ms;
        }
        self.write_header()
    }

    /// True if the entry lies in two sectors and what of it is in one of them is zero, as if that had never been written.
    fn is_torn(&self, ordinal: u32) -> bool {
        const SECTOR: usize = 512;
        let mut bytes = [0; ENTRY_SIZE];
        self.table.read(self.entry_at(ordinal), &mut bytes);
        let (first, second) = bytes.split_at(ENTRY_SIZE.min(SECTOR - self.entry_at(ordinal) % SECTOR));
        let zero = |part: &[u8]| part.iter().all(|&byte| byte == 0);
        !second.is_empty() && (zero(first) || zero(second))
    }

    /// The key hash of the first entry.
    pub(super) fn first_hash(&self) -> u32 {
        self.entry(1).hash
    }

    /// The physical offset of the last entry.
    pub(super) fn last_physical(&self) -> u64 {
        self.entry(self.header.next - 1).physical
    }

    /// How many of the last entries are of the record at `physical`.
    pub(super) fn last_entries_of(&self, physical: u64) -> u32 {
        let mut ordinals = (1..self.header.next).rev();
        ordinals.position(|at| self.entry(at).physical != physical).map_or(self.header.next - 1, |n| n as u32)
    }

    /// Where the room for entries that are not there yet begins.
    pub(super) fn used(&self) -> u64 {
        self.entry_at(self.header.next) as u64
    }

    /// Whole seconds from the begin time to `store_ms`. A clock that was set back gives 0, as in Java.
    fn seconds(&self, store_ms: i64) -> u32 {
        (store_ms.saturating_sub(self.header.begin_ms) / 1000).clamp(0, i64::from(i32::MAX)) as u32
    }

    /// The ordinal in `slot`; 0 if there is none that can be true.
    fn slot(&self, slot: u32) -> u32 {
        let ordinal = self.raw_slot(slot);
        if ordinal < self.header.next { ordinal } else { 0 }
    }

    fn raw_slot(&self, slot: u32) -> u32 {
        let mut bytes = [0; SLOT_SIZE];
        self.table.read(slot_at(slot), &mut bytes);
        u32::from_be_bytes(bytes)
    }

    /// The entry of `ordinal`, which is below the number of entries that there is room for.
    fn entry(&self, ordinal: u32) -> IndexEntry {
        let mut bytes = [0; ENTRY_SIZE];
        self.table.read(self.entry_at(ordinal), &mut bytes);
        IndexEntry::decode(&bytes)
    }

    fn entry_at(&self, ordinal: u32) -> usize {
        slot_at(self.shape.slots) + ordinal as usize * ENTRY_SIZE
    }
}

fn slot_at(slot: u32) -> usize {
    HEADER_SIZE + slot as usize * SLOT_SIZE
}
