// SPDX-License-Identifier: Apache-2.0
//! Counters of the broker as a whole.

use std::sync::atomic::{AtomicU64, Ordering};

/// What went in and out since the start.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    put_messages: AtomicU64,
    put_bytes: AtomicU64,
    put_failures: AtomicU64,
    got_messages: AtomicU64,
    pulls_found: AtomicU64,
    pulls_missed: AtomicU64,
}

/// The counters at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Totals {
    /// Messages stored.
    pub(crate) put_messages: u64,
    /// Bytes of their records.
    pub(crate) put_bytes: u64,
    /// Messages that the store refused.
    pub(crate) put_failures: u64,
    /// Messages given to consumers.
    pub(crate) got_messages: u64,
    /// Pulls that found something.
    pub(crate) pulls_found: u64,
    /// Pulls that found nothing.
    pub(crate) pulls_missed: u64,
    /// Messages that groups committed as consumed.
    pub(crate) committed: u64,
}

impl Stats {
    pub(crate) fn put(&self, messages: u64, bytes: u64) {
        self.put_messages.fetch_add(messages, Ordering::Relaxed);
        self.put_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn put_failed(&self) {
        self.put_failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn found(&self, messages: u64) {
        self.got_messages.fetch_add(messages, Ordering::Relaxed);
        self.pulls_found.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn missed(&self) {
        self.pulls_missed.fetch_add(1, Ordering::Relaxed);
    }

    /// All counters; `committed` comes from where offsets are kept.
    pub(crate) fn totals(&self, committed: u64) -> Totals {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Totals {
            put_messages: read(&self.put_messages),
            put_bytes: read(&self.put_bytes),
            put_failures: read(&self.put_failures),
            got_messages: read(&self.got_messages),
            pulls_found: read(&self.pulls_found),
            pulls_missed: read(&self.pulls_missed),
            committed,
        }
    }
}
