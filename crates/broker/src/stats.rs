// SPDX-License-Identifier: Apache-2.0
//! Counters of the broker as a whole.

use std::{
    cell::Cell,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};

/// What went in and out since the start.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    put_messages: Counter,
    put_bytes: Counter,
    put_of_system: Counter,
    put_failures: Counter,
    got_messages: Counter,
    got_of_system: Counter,
    pulls_found: Counter,
    pulls_missed: Counter,
    removed_unconsumed: Counter,
}

/// The counters at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Totals {
    /// Messages stored.
    pub(crate) put_messages: u64,
    /// Those of them in topics of the system, and dead letters.
    pub(crate) put_of_system: u64,
    /// Bytes of their records.
    pub(crate) put_bytes: u64,
    /// Messages that the store refused.
    pub(crate) put_failures: u64,
    /// Messages given to consumers.
    pub(crate) got_messages: u64,
    /// Those of them from topics of the system.
    pub(crate) got_of_system: u64,
    /// Pulls that found something.
    pub(crate) pulls_found: u64,
    /// Pulls that found nothing.
    pub(crate) pulls_missed: u64,
    /// Messages that groups committed as consumed.
    pub(crate) committed: u64,
}

impl Totals {
    /// Messages stored for applications. Java: `getBrokerPutNumsWithoutSystemTopic`.
    pub(crate) fn put_for_users(&self) -> u64 {
        self.put_messages.saturating_sub(self.put_of_system)
    }

    /// Messages given of those. Java: `getBrokerGetNumsWithoutSystemTopic`.
    pub(crate) fn got_by_users(&self) -> u64 {
        self.got_messages.saturating_sub(self.got_of_system)
    }
}

impl Stats {
    pub(crate) fn put(&self, messages: u64, bytes: u64, of_system: bool) {
        self.put_messages.add(messages);
        if of_system {
            self.put_of_system.add(messages);
        }
        self.put_bytes.add(bytes);
    }

    /// A message that was stored is a dead letter: counted as one of the system, since nobody sent it.
    pub(crate) fn dead(&self) {
        self.put_of_system.add(1);
    }

    pub(crate) fn put_failed(&self) {
        self.put_failures.add(1);
    }

    pub(crate) fn found(&self, messages: u64, of_system: bool) {
        self.got_messages.add(messages);
        if of_system {
            self.got_of_system.add(messages);
        }
        self.pulls_found.add(1);
    }

    pub(crate) fn missed(&self) {
        self.pulls_missed.add(1);
    }

    pub(crate) fn removed(&self, unconsumed: u64) {
        self.removed_unconsumed.add(unconsumed);
    }

    /// Messages that were removed before those who waited for them had them.
    pub(crate) fn removed_unconsumed(&self) -> u64 {
        self.removed_unconsumed.get()
    }

    /// All counters; `committed` comes from where offsets are kept.
    pub(crate) fn totals(&self, committed: u64) -> Totals {
        Totals {
            put_messages: self.put_messages.get(),
            put_of_system: self.put_of_system.get(),
            put_bytes: self.put_bytes.get(),
            put_failures: self.put_failures.get(),
            got_messages: self.got_messages.get(),
            got_of_system: self.got_of_system.get(),
            pulls_found: self.pulls_found.get(),
            pulls_missed: self.pulls_missed.get(),
            committed,
        }
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
