// SPDX-License-Identifier: Apache-2.0
//! Counters of the broker as a whole.

use std::{
    cell::Cell,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};

/// What went in and out since the start.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    /// Messages stored.
    pub(crate) put_messages: Counter,
    /// Bytes of their records.
    pub(crate) put_bytes: Counter,
    /// Messages given to consumers.
    pub(crate) got_messages: Counter,
    /// Bytes of their records.
    pub(crate) got_bytes: Counter,
    /// Pulls that found something.
    pub(crate) pulls_found: Counter,
    /// Pulls that found nothing.
    pub(crate) pulls_missed: Counter,
}

impl Stats {
    pub(crate) fn put(&self, messages: u64, bytes: u64) {
        self.put_messages.add(messages);
        self.put_bytes.add(bytes);
    }

    pub(crate) fn found(&self, messages: u64, bytes: u64) {
        self.got_messages.add(messages);
        self.got_bytes.add(bytes);
        self.pulls_found.add(1);
    }

    pub(crate) fn missed(&self) {
        self.pulls_missed.add(1);
    }
}

const SLOTS: usize = 8;

/// A number that many threads add to on every message: each has a cache line of its own.
#[derive(Debug, Default)]
pub(crate) struct Counter([Slot; SLOTS]);

#[derive(Debug, Default)]
#[repr(align(64))]
struct Slot(AtomicU64);

thread_local! {
    static SLOT: Cell<usize> = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        Cell::new(NEXT.fetch_add(1, Ordering::Relaxed) % SLOTS)
    };
}

impl Counter {
    pub(crate) fn add(&self, number: u64) {
        self.0[SLOT.get()].0.fetch_add(number, Ordering::Relaxed);
    }

    /// The sum of what was added.
    pub(crate) fn get(&self) -> u64 {
        self.0.iter().map(|slot| slot.0.load(Ordering::Relaxed)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_all_threads_add() {
        let counter = Counter::default();
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| (0..1000).for_each(|_| counter.add(2)));
            }
        });
        assert_eq!(counter.get(), 40_000);
    }
}
