// SPDX-License-Identifier: Apache-2.0
//! Run file: keys of pending messages, sorted, never changed.
//!
//! `delay/run-N` under the store's root; blocks of 4,096 bytes, big-endian:
//! ```text
//! 0 CRC-32 of the rest 4 | 4 number of the run 8 | 12 keys in this block 4 | 16 keys 255 x 16
//! key: 0 due, ms since 1970 8 | 8 offset in the timer's queue 8
//! ```
//! Only the last block may hold less than 255 keys; what it does not use is zero.
//!
//! Derived: a run that is missing or damaged is built again from the queue.

use super::marks::{Key, Marks};
use serde::{Deserialize, Serialize};
use std::{
    fs::File,
    io::{self, BufWriter, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

const BLOCK: usize = 4096;
const HEAD: usize = 16;
const KEY: usize = 16;
const KEYS: usize = (BLOCK - HEAD) / KEY;

/// How the checkpoint names a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunName {
    pub(crate) number: u64,
    /// Keys in it.
    pub(crate) keys: u64,
    /// The least offset in it.
    pub(crate) least_offset: u64,
}

impl RunName {
    pub(crate) fn path(&self, dir: &Path) -> PathBuf {
        dir.join(format!("run-{}", self.number))
    }
}

/// A run that is being used up. Of its file, one block is in memory.
#[derive(Debug)]
pub(crate) struct Run {
    name: RunName,
    file: File,
    /// The key at its head, and those of its block after it.
    block: std::vec::IntoIter<Key>,
    /// The block after that.
    next_block: u64,
    head: Option<Key>,
}

impl Run {
    /// Writes `keys`, which are sorted, to a new file. It is durable only when it was synced.
    ///
    /// # Errors
    /// If the file cannot be written; nothing of it is left then.
    pub(crate) fn write(dir: &Path, number: u64, keys: &[Key]) -> io::Result<Self> {
        let least_offset = keys.iter().map(|key| key.offset).min().unwrap_or(u64::MAX);
        let name = RunName { number, keys: keys.len() as u64, least_offset };
        let path = name.path(dir);
        let write = || {
            let mut file = BufWriter::with_capacity(64 * BLOCK, File::create(&path)?);
            for keys in keys.chunks(KEYS) {
                file.write_all(&encode(number, keys))?;
            }
            file.into_inner().map_err(io::IntoInnerError::into_error).map(drop)
        };
        write().and_then(|()| Self::open(dir, name, &Marks::default())).inspect_err(|_| {
            let _ = std::fs::remove_file(&path);
        })
    }

    /// Opens a run at its first key that is pending by `marks`.
    ///
    /// # Errors
    /// If the file is not what `name` says, or a block is damaged.
    pub(crate) fn open(dir: &Path, name: RunName, marks: &Marks) -> io::Result<Self> {
        let file = File::open(name.path(dir))?;
        let blocks = name.keys.div_ceil(KEYS as u64);
        if file.metadata()?.len() != blocks * BLOCK as u64 {
            return Err(damaged(name, "has another length"));
        }
        let mut run = Self { name, file, block: Vec::new().into_iter(), next_block: 0, head: None };
        // The last block that starts at or before what everything is delivered up to.
        let least = marks.least();
        let (mut low, mut high) = (0, blocks);
        while low < high {
            let middle = low.midpoint(high);
            if run.read_block(middle)?.first().is_some_and(|first| *first <= least) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        run.next_block = low.saturating_sub(1);
        run.pop(marks)?;
        Ok(run)
    }

    pub(crate) fn name(&self) -> RunName {
        self.name
    }

    /// The least key. `None` if the run is used up.
    pub(crate) fn head(&self) -> Option<Key> {
        self.head
    }

    /// Keys that it may still hold.
    pub(crate) fn rest(&self) -> u64 {
        let unread = self.name.keys.saturating_sub(self.next_block * KEYS as u64);
        unread + self.block.len() as u64 + u64::from(self.head.is_some())
    }

    /// Takes the head away; the next key that is pending by `marks` becomes the head.
    ///
    /// # Errors
    /// If a block is damaged.
    pub(crate) fn pop(&mut self, marks: &Marks) -> io::Result<()> {
        loop {
            if let Some(key) = self.block.find(|key| !marks.is_delivered(*key)) {
                self.head = Some(key);
                return Ok(());
            }
            if self.next_block * KEYS as u64 >= self.name.keys {
                self.head = None;
                return Ok(());
            }
            self.block = self.read_block(self.next_block)?.into_iter();
            self.next_block += 1;
        }
    }

    fn read_block(&self, at: u64) -> io::Result<Vec<Key>> {
        let mut block = [0; BLOCK];
        self.file.read_exact_at(&mut block, at * BLOCK as u64)?;
        let expected = (self.name.keys - at * KEYS as u64).min(KEYS as u64);
        decode(self.name.number, expected as usize, &block).ok_or_else(|| damaged(self.name, "is damaged"))
    }
}

fn damaged(name: RunName, what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("run-{} {what}", name.number))
}

fn encode(number: u64, keys: &[Key]) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    block[4..12].copy_from_slice(&number.to_be_bytes());
    block[12..HEAD].copy_from_slice(&(keys.len() as u32).to_be_bytes());
    for (slot, key) in block[HEAD..].chunks_exact_mut(KEY).zip(keys) {
        slot[..8].copy_from_slice(&key.due_ms.to_be_bytes());
        slot[8..].copy_from_slice(&key.offset.to_be_bytes());
    }
    let crc = crc32fast::hash(&block[4..]);
    block[..4].copy_from_slice(&crc.to_be_bytes());
    block
}

fn decode(number: u64, keys: usize, block: &[u8; BLOCK]) -> Option<Vec<Key>> {
    let word = |at: usize| Some(u32::from_be_bytes(*block[at..].first_chunk()?));
    let long = |bytes: &[u8]| Some(u64::from_be_bytes(*bytes.first_chunk()?));
    let sound = word(0)? == crc32fast::hash(&block[4..])
        && long(&block[4..])? == number
        && word(12)? as usize == keys;
    let key = |slot: &[u8]| Some(Key { due_ms: long(slot)? as i64, offset: long(&slot[8..])? });
    sound.then(|| block[HEAD..].chunks_exact(KEY).take(keys).filter_map(key).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(count: u64) -> Vec<Key> {
        (0..count).map(|n| Key { due_ms: n as i64 / 3, offset: n }).collect()
    }

    fn rest(run: &mut Run, marks: &Marks) -> Vec<Key> {
        std::iter::from_fn(|| {
            let head = run.head();
            run.pop(marks).unwrap();
            head
        })
        .collect()
    }

    #[test]
    fn gives_back_what_was_written_from_any_mark_on() {
        let dir = tempfile::tempdir().unwrap();
        for count in [1, 254, 255, 256, 1_000] {
            let all = keys(count);
            let mut run = Run::write(dir.path(), count, &all).unwrap();
            let name = run.name();
            assert_eq!(run.rest(), count);
            assert_eq!(rest(&mut run, &Marks::default()), all);
            assert_eq!((run.rest(), run.head()), (0, None));
            for at in [0, 1, 253, 254, 255, 509, 510, 999] {
                let Some(&last) = all.get(at) else { continue };
                let marks = Marks::new(last, count);
                assert_eq!(rest(&mut Run::open(dir.path(), name, &marks).unwrap(), &marks), all[at + 1..]);
            }
        }
    }

    #[test]
    fn notices_damage() {
        let dir = tempfile::tempdir().unwrap();
        let name = Run::write(dir.path(), 7, &keys(600)).unwrap().name();
        let path = name.path(dir.path());
        let good = std::fs::read(&path).unwrap();
        let read = |content: &[u8]| {
            std::fs::write(&path, content).unwrap();
            let mut run = Run::open(dir.path(), name, &Marks::default())?;
            while run.head().is_some() {
                run.pop(&Marks::default())?;
            }
            Ok::<(), io::Error>(())
        };
        read(&good).unwrap();
        for at in [0, 5, 13, 16, 5_000, 9_000, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(read(&bad).is_err(), "byte {at}");
        }
        assert!(read(&good[..good.len() - 1]).is_err());
    }
}
