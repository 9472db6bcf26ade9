// SPDX-License-Identifier: Apache-2.0
//! The keys of all messages that wait for a time: the newest in memory, the others in run files.
//!
//! The table in memory is bounded. When it is full, and when the queue has grown far beyond the last time, it is cut:
//! its keys become a run, and take in what is left of small runs, so that there are never many. The least key is that
//! of the table or of one of the runs.
//!
//! Everything here can be built again from the timer's queue and the [`Marks`].

use super::{
    marks::{Key, Marks},
    run::{Run, RunName},
};
use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fs, io,
    path::{Path, PathBuf},
};

/// How large the parts may become.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// Most keys in the table.
    pub(crate) table: usize,
    /// Messages of the queue, pending or not, that are read again after a crash.
    pub(crate) distance: u64,
}

impl Default for Sizes {
    /// 8 MiB of keys; and about a second.
    fn default() -> Self {
        Self { table: 512 * 1024, distance: 1 << 20 }
    }
}

#[derive(Debug)]
pub(crate) struct Pending {
    dir: PathBuf,
    sizes: Sizes,
    table: BinaryHeap<Reverse<Key>>,
    runs: Vec<Run>,
    next_run: u64,
    marks: Marks,
    /// The next offset to read from the queue.
    next: u64,
    /// What is pending before this offset is in the runs.
    cut: u64,
}

impl Pending {
    /// Everything is still to be read from the queue, which begins with `first`.
    pub(crate) fn unread(dir: &Path, sizes: Sizes, marks: Marks, first: u64, next_run: u64) -> Self {
        let (table, runs) = (BinaryHeap::new(), Vec::new());
        Self { dir: dir.to_owned(), sizes, table, runs, next_run, marks, next: first, cut: first }
    }

    /// What is pending before the offset `cut` is in the runs of those names.
    ///
    /// # Errors
    /// If one of them is missing or damaged.
    pub(crate) fn open(
        dir: &Path,
        sizes: Sizes,
        marks: Marks,
        cut: u64,
        (names, next_run): (&[RunName], u64),
    ) -> io::Result<Self> {
        let runs = names.iter().map(|name| Run::open(dir, *name, &marks)).collect::<io::Result<Vec<_>>>()?;
        let mut pending = Self::unread(dir, sizes, marks, cut, next_run);
        pending.runs = runs;
        pending.forget_used_up();
        Ok(pending)
    }

    /// Begins again with an empty table at the offset `first`, because a run cannot be read.
    pub(crate) fn read_again(&mut self, first: u64) {
        self.table.clear();
        self.runs.clear();
        self.next = first;
        self.cut = first;
    }

    pub(crate) fn marks(&self) -> &Marks {
        &self.marks
    }
    /// The next offset to read from the queue.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }
    /// What is pending before this offset is in the runs.
    pub(crate) fn cut_at(&self) -> u64 {
        self.cut
    }
    pub(crate) fn next_run(&self) -> u64 {
        self.next_run
    }
    /// The runs that hold something.
    pub(crate) fn runs(&self) -> impl Iterator<Item = RunName> {
        self.runs.iter().map(Run::name)
    }
    /// Keys in the table and, about, in the runs.
    pub(crate) fn len(&self) -> u64 {
        self.table.len() as u64 + self.runs.iter().map(Run::rest).sum::<u64>()
    }
    /// No message before this offset is pending.
    pub(crate) fn least_offset(&self) -> u64 {
        let from_table = if self.table.is_empty() { self.next } else { self.cut };
        self.runs().map(|run| run.least_offset).fold(from_table, u64::min)
    }

    /// Takes the message at [`Self::next`]. False if it has been delivered.
    ///
    /// # Errors
    /// If the table is full and cannot be cut; nothing has changed then.
    pub(crate) fn take(&mut self, key: Key) -> io::Result<bool> {
        debug_assert_eq!(key.offset, self.next, "read in order");
        if self.table.len() >= self.sizes.table || self.next - self.cut >= self.sizes.distance {
            self.cut()?;
        }
        self.next = key.offset + 1;
        let pending = self.marks.meet(key);
        if pending {
            self.table.push(Reverse(key));
        }
        Ok(pending)
    }

    /// There is nothing to deliver before the offset `next`.
    pub(crate) fn pass_to(&mut self, next: u64) {
        self.next = self.next.max(next);
        self.marks.pass_to(next);
    }

    /// The least key of all.
    pub(crate) fn first(&self) -> Option<Key> {
        let table = self.table.peek().map(|Reverse(key)| *key);
        self.runs.iter().filter_map(Run::head).chain(table).min()
    }

    /// Takes the least key away: its message has been delivered, or is noted elsewhere.
    ///
    /// # Errors
    /// If a run is damaged: [`Self::read_again`].
    pub(crate) fn deliver_first(&mut self) -> io::Result<()> {
        let Some(first) = self.first() else { return Ok(()) };
        self.marks.deliver(first);
        if self.table.peek().is_some_and(|Reverse(key)| *key == first) {
            self.table.pop();
            if self.table.is_empty() {
                // After a peak, the memory is not needed for long.
                self.table.shrink_to(self.sizes.table / 16);
            }
        }
        for run in &mut self.runs {
            if run.head() == Some(first) {
                run.pop(&self.marks)?;
            }
        }
        self.forget_used_up();
        Ok(())
    }

    /// Puts what the table holds into a run.
    ///
    /// # Errors
    /// If the run cannot be written; the keys stay where they are.
    pub(crate) fn cut(&mut self) -> io::Result<()> {
        if self.table.is_empty() {
            self.cut = self.next;
            return Ok(());
        }
        let mut keys: Vec<Key> = self.table.iter().map(|Reverse(key)| *key).collect();
        // Small ones first, as long as the new run does not become large.
        self.runs.sort_by_key(Run::rest);
        let mut taken = 0;
        for run in &self.runs {
            if run.rest() > self.sizes.table as u64 / 4
                || keys.len() as u64 + run.rest() > self.sizes.table as u64 * 2
            {
                break;
            }
            let before = keys.len();
            if self.read_rest(run.name(), &mut keys).is_err() {
                // It stays where it is. That it is damaged is noticed when it is used up.
                keys.truncate(before);
                break;
            }
            taken += 1;
        }
        keys.sort_unstable();
        let run = Run::write(&self.dir, self.next_run, &keys)?;
        self.next_run += 1;
        self.runs.drain(..taken);
        self.runs.push(run);
        self.table.clear();
        self.table.shrink_to(self.sizes.table / 16);
        self.cut = self.next;
        Ok(())
    }

    fn read_rest(&self, name: RunName, keys: &mut Vec<Key>) -> io::Result<()> {
        let mut run = Run::open(&self.dir, name, &self.marks)?;
        while let Some(key) = run.head() {
            keys.push(key);
            run.pop(&self.marks)?;
        }
        Ok(())
    }

    fn forget_used_up(&mut self) {
        self.runs.retain(|run| run.head().is_some());
    }

    /// Removes the files of all runs but those of `names` and those from `next_run` on.
    pub(crate) fn remove_others(dir: &Path, names: &[RunName], next_run: u64) -> io::Result<()> {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix("run-")?.parse::<u64>().ok());
            if number.is_some_and(|n| n < next_run && names.iter().all(|name| name.number != n)) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        /// Messages come and go in any order of times, the table is cut, everything is opened again: each key is given
        /// once, and always the least.
        #[test]
        fn gives_each_key_once_and_the_least_first(
            steps in proptest::collection::vec((0..1_000_i64, 0..4_u8), 1..400),
            table in 1..20_usize,
        ) {
            let dir = tempfile::tempdir().unwrap();
            let sizes = Sizes { table, distance: 50 };
            let mut pending = Pending::unread(dir.path(), sizes, Marks::default(), 0, 0);
            let (mut model, mut all, mut now) = (std::collections::BTreeSet::new(), Vec::new(), 0);
            for (due_in, what) in steps {
                match what {
                    0 => {
                        while let Some(first) = pending.first().filter(|first| first.due_ms <= now) {
                            prop_assert_eq!(model.pop_first(), Some(first));
                            pending.deliver_first().unwrap();
                        }
                        now += due_in / 4;
                    }
                    1 => {
                        // As after a crash: what was cut is in files, the rest is read again.
                        let (cut, next) = (pending.cut_at(), pending.next());
                        let names: Vec<_> = pending.runs().collect();
                        let marks = pending.marks().clone();
                        pending = Pending::open(dir.path(), sizes, marks, cut, (&names, pending.next_run())).unwrap();
                        Pending::remove_others(dir.path(), &names, pending.next_run()).unwrap();
                        for key in &all[cut as usize..next as usize] {
                            pending.take(*key).unwrap();
                        }
                    }
                    _ => {
                        let key = Key { due_ms: now + due_in, offset: all.len() as u64 };
                        all.push(key);
                        model.insert(key);
                        prop_assert!(pending.take(key).unwrap());
                    }
                }
                prop_assert_eq!(pending.first(), model.first().copied());
                prop_assert_eq!(pending.len(), model.len() as u64);
                prop_assert!(model.iter().all(|key| key.offset >= pending.least_offset()));
                prop_assert!(pending.table.len() <= table);
            }
        }
    }
}
