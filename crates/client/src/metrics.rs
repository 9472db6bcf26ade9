// SPDX-License-Identifier: Apache-2.0
//! What a producer counts.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};
use tokio::sync::Notify;

/// What a producer has done so far; differences of two readings are rates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ProducerNumbers {
    /// Requests that a broker has taken, and one-way sends. A part of a batch counts as one.
    pub sent: u64,
    /// Bytes of body in them, as they were sent, compressed perhaps.
    pub sent_bytes: u64,
    /// Requests that no broker has taken.
    pub failed: u64,
    /// Attempts after the first.
    pub retried: u64,
    /// Requests that are under way now.
    pub in_flight: usize,
    /// Time that those sent have taken with all attempts, all together, in microseconds.
    pub sent_micros: u64,
}

#[derive(Debug, Default)]
pub(crate) struct ProducerMetrics {
    sent: AtomicU64,
    sent_bytes: AtomicU64,
    failed: AtomicU64,
    retried: AtomicU64,
    sent_micros: AtomicU64,
    in_flight: AtomicUsize,
    idle: Notify,
}

/// One send that is under way.
pub(crate) struct UnderWay<'a>(&'a ProducerMetrics);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if self.0.in_flight.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}

impl ProducerMetrics {
    pub(crate) fn begin(&self) -> UnderWay<'_> {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        UnderWay(self)
    }

    pub(crate) fn sent(&self, elapsed: Duration, bytes: usize) {
        self.sent.fetch_add(1, Ordering::Relaxed);
        self.sent_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.sent_micros.fetch_add(elapsed.as_micros() as u64, Ordering::Relaxed);
    }

    pub(crate) fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn again(&self) {
        self.retried.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits until nothing is under way.
    pub(crate) async fn idle(&self) {
        loop {
            let idle = self.idle.notified();
            let mut idle = std::pin::pin!(idle);
            idle.as_mut().enable();
            if self.in_flight.load(Ordering::Acquire) == 0 {
                return;
            }
            idle.await;
        }
    }

    pub(crate) fn numbers(&self) -> ProducerNumbers {
        ProducerNumbers {
            sent: self.sent.load(Ordering::Relaxed),
            sent_bytes: self.sent_bytes.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            retried: self.retried.load(Ordering::Relaxed),
            in_flight: self.in_flight.load(Ordering::Relaxed),
            sent_micros: self.sent_micros.load(Ordering::Relaxed),
        }
    }
}
