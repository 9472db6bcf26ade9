// SPDX-License-Identifier: Apache-2.0
//! The bytes of one file: as the system shows them, and as the disk has them.
//!
//! Invariants
//! - A sector that is not dirty will not be written any more. Ordinarily the disk has it then; after a failed fsync it
//!   may not, as Linux takes the pages for written.
//! - A sector is on the disk in one of the states in which it was written, never in a mixture.

use std::{collections::BTreeSet, ops::Range};

use super::Random;

pub(super) const SECTOR: usize = 512;

#[derive(Default)]
pub(super) struct Content {
    pub(super) now: Vec<u8>,
    /// What a power loss leaves for certain; bytes behind its end are zero.
    durable: Vec<u8>,
    /// Sectors that the system will write some time.
    dirty: BTreeSet<usize>,
    /// The length that a power loss leaves for certain, and those that the file had since.
    durable_length: usize,
    lengths: Vec<usize>,
    /// When the file was made, or what it was set to.
    pub(super) modified_ms: i64,
}

impl Content {
    pub(super) fn write(&mut self, at: usize, bytes: &[u8]) {
        let end = at + bytes.len();
        if self.now.len() < end {
            self.set_length(end);
        }
        self.now[at..end].copy_from_slice(bytes);
        self.dirty.extend(sectors(at..end));
    }

    pub(super) fn set_length(&mut self, length: usize) {
        let old = self.now.len();
        self.now.resize(length, 0);
        self.lengths.push(length);
        self.dirty.extend(sectors(length.min(old)..old));
    }

    /// The bytes that the system shows, all of them durable.
    pub(super) fn copy(&self) -> Self {
        Self {
            now: self.now.clone(),
            durable: self.now.clone(),
            durable_length: self.now.len(),
            modified_ms: self.modified_ms,
            ..Self::default()
        }
    }

    /// Makes the sectors that `range` touches durable, and the length, as the system does.
    pub(super) fn sync(&mut self, range: Range<usize>) {
        self.lengths.clear();
        self.durable.truncate(self.now.len());
        let wanted = range.start / SECTOR..range.end.div_ceil(SECTOR);
        let some: Vec<usize> = self.dirty.range(wanted).copied().collect();
        some.into_iter().for_each(|sector| self.write_back(sector));
        self.durable.resize(self.now.len(), 0);
        self.durable_length = self.now.len();
    }

    /// What a failed sync may do: some of the sectors are written, some are not and never will be.
    pub(super) fn fail_sync(&mut self, range: Range<usize>, random: &mut Random) {
        let wanted = range.start / SECTOR..range.end.div_ceil(SECTOR);
        let some: Vec<usize> = self.dirty.range(wanted).copied().collect();
        for sector in some {
            match random.below(3) {
                0 => self.write_back(sector),
                1 => drop(self.dirty.remove(&sector)),
                _ => {}
            }
        }
    }

    /// The system writes some of what is dirty, in any order, as it does at any time.
    pub(super) fn write_back_some(&mut self, random: &mut Random) {
        let some: Vec<usize> = self.dirty.iter().copied().filter(|_| random.one_in(3)).collect();
        some.into_iter().for_each(|sector| self.write_back(sector));
    }

    fn write_back(&mut self, sector: usize) {
        self.dirty.remove(&sector);
        let from = sector * SECTOR;
        let to = (from + SECTOR).min(self.now.len());
        if from < to {
            if self.durable.len() < to {
                self.durable.resize(to, 0);
            }
            self.durable[from..to].copy_from_slice(&self.now[from..to]);
            // The disk takes whole sectors: what was cut off is zero there.
            let whole = (from + SECTOR).min(self.durable.len());
            self.durable[to..whole].fill(0);
        }
    }

    /// The power goes: of what is dirty, each sector is there or not, and the length is one that the file had.
    pub(super) fn lose_power(&mut self, random: &mut Random) {
        self.lengths.push(self.durable_length);
        let length = self.lengths[random.below(self.lengths.len() as u64) as usize];
        let some: Vec<usize> = self.dirty.iter().copied().filter(|_| random.one_in(2)).collect();
        some.into_iter().for_each(|sector| self.write_back(sector));
        self.durable.resize(length, 0);
        self.durable_length = length;
        self.now.clone_from(&self.durable);
        self.dirty.clear();
        self.lengths.clear();
    }

    /// The system forgets what it holds in memory and need not write: it is read from the disk again.
    pub(super) fn evict(&mut self) {
        for sector in 0..self.now.len().div_ceil(SECTOR) {
            if !self.dirty.contains(&sector) {
                let range = sector * SECTOR..((sector + 1) * SECTOR).min(self.now.len());
                let on_disk = self.durable.get(range.start..range.end.min(self.durable.len()));
                let on_disk = on_disk.unwrap_or_default();
                self.now[range.start..range.start + on_disk.len()].copy_from_slice(on_disk);
                self.now[range.start + on_disk.len()..range.end].fill(0);
            }
        }
    }
}

/// The sectors that `range` touches.
fn sectors(range: Range<usize>) -> Range<usize> {
    if range.is_empty() { 0..0 } else { range.start / SECTOR..range.end.div_ceil(SECTOR) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the disk may have after a power loss, over many seeds.
    fn states(prepare: impl Fn(&mut Content)) -> BTreeSet<Vec<u8>> {
        (0..200)
            .map(|seed| {
                let mut content = Content::default();
                prepare(&mut content);
                content.lose_power(&mut Random::new(seed));
                content.now
            })
            .collect()
    }

    #[test]
    fn what_was_not_synced_is_there_by_sectors_or_not() {
        let found = states(|content| {
            content.set_length(2 * SECTOR);
            content.sync(0..usize::MAX);
            content.write(SECTOR - 1, &[1, 2]);
        });
        let with = |first, second| {
            let mut all = vec![0; 2 * SECTOR];
            (all[SECTOR - 1], all[SECTOR]) = (first, second);
            all
        };
        assert_eq!(found, BTreeSet::from([with(0, 0), with(1, 0), with(0, 2), with(1, 2)]));
        let synced = states(|content| {
            content.write(SECTOR - 1, &[1, 2]);
            content.sync(SECTOR..SECTOR + 1);
        });
        let half = |first| with(first, 2)[..=SECTOR].to_vec();
        assert_eq!(synced, BTreeSet::from([half(0), half(1)]));
    }

    #[test]
    fn lengths_that_were_not_synced_are_lost_or_not() {
        let found = states(|content| {
            content.write(0, b"old");
            content.sync(0..usize::MAX);
            content.set_length(1);
            content.set_length(2);
        });
        // Only the sector as it was, or as it is; and three lengths.
        let expected = [&b"o"[..], b"ol", b"o\0", b"old", b"o\0\0"].map(<[u8]>::to_vec);
        assert_eq!(found, BTreeSet::from(expected));
    }

    #[test]
    fn after_a_failed_sync_the_system_shows_what_the_disk_does_not_have() {
        let mut lost = 0;
        for seed in 0..50 {
            let mut content = Content::default();
            content.set_length(1);
            content.sync(0..1);
            content.write(0, b"x");
            content.fail_sync(0..1, &mut Random::new(seed));
            let dirty = !content.dirty.is_empty();
            content.sync(0..1);
            assert_eq!(content.now, b"x");
            content.evict();
            lost += u32::from(content.now == b"\0");
            assert!(content.now == b"x" || !dirty);
        }
        assert!((5..30).contains(&lost), "{lost}");
    }
}
