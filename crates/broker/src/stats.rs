// SPDX-License-Identifier: Apache-2.0
//! Counters of the broker as a whole.

use std::sync::atomic::{AtomicU64, Ordering};

/// What went in and out since the start.
#[derive(Debug, Default)]
pub struct Stats {
    /// Messages stored.
    pub put_messages: AtomicU64,
    /// Bytes of their records.
    pub put_bytes: AtomicU64,
    /// Messages given to consumers.
    pub got_messages: AtomicU64,
    /// Bytes of their records.
    pub got_bytes: AtomicU64,
    /// Pulls that found something.
    pub pulls_found: AtomicU64,
    /// Pulls that found nothing.
    pub pulls_missed: AtomicU64,
}

impl Stats {
    pub(crate) fn put(&self, messages: u64, bytes: u64) {
        self.put_messages.fetch_add(messages, Ordering::Relaxed);
        self.put_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn found(&self, messages: u64, bytes: u64) {
        self.got_messages.fetch_add(messages, Ordering::Relaxed);
        self.got_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.pulls_found.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn missed(&self) {
        self.pulls_missed.fetch_add(1, Ordering::Relaxed);
    }
}
