// SPDX-License-Identifier: Apache-2.0
//! When each request is due.
//!
//! With a rate, request number n is due n / rate after the start, whatever the others do: who takes a number late still counts from
//! when it was due. A thread of its own gives the numbers out, because timers of the runtime are exact to a millisecond only.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use tokio::sync::Semaphore;

/// Shortest sleep of the thread: at higher rates it gives out several numbers at a time.
const STEP: Duration = Duration::from_micros(100);
/// Most numbers that are given out and not taken; beyond it the load is not behind, it stands still.
const BEHIND_MAX: u64 = 1 << 40;

/// Gives out when requests are due. Ends when it is dropped.
pub(super) struct Pace {
    start: Instant,
    rate: Option<f64>,
    taken: AtomicU64,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    due: Semaphore,
    given: AtomicU64,
    ended: AtomicBool,
}

impl Pace {
    /// From now on, `rate` requests per second; `None`: whenever somebody asks.
    pub(super) fn start(rate: Option<f64>) -> Self {
        let shared = Arc::new(Shared {
            due: Semaphore::new(0),
            given: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        });
        let start = Instant::now();
        let thread = rate.map(|rate| {
            let shared = shared.clone();
            thread::spawn(move || shared.give(start, rate))
        });
        Self { start, rate, taken: AtomicU64::new(0), shared, thread }
    }

    /// When the next request is due, as soon as it is. `None` at the end.
    pub(super) async fn next(&self) -> Option<Instant> {
        let Some(rate) = self.rate else {
            return (!self.shared.ended.load(Relaxed)).then(Instant::now);
        };
        self.shared.due.acquire().await.ok()?.forget();
        Some(self.start + nth(self.taken.fetch_add(1, Relaxed), rate))
    }

    /// No more requests.
    pub(super) fn end(&self) {
        self.shared.ended.store(true, Relaxed);
        self.shared.due.close();
    }

    /// How many were due and nobody took.
    pub(super) fn behind(&self) -> u64 {
        self.shared.given.load(Relaxed).saturating_sub(self.taken.load(Relaxed))
    }
}

impl Shared {
    fn give(&self, start: Instant, rate: f64) {
        while !self.ended.load(Relaxed) {
            let given = self.given.load(Relaxed);
            let due = ((start.elapsed().as_secs_f64() * rate) as u64 + 1).min(given + 1_000_000);
            if due > given && given < BEHIND_MAX {
                self.given.store(due, Relaxed);
                self.due.add_permits((due - given) as usize);
            }
            let next = start + nth(self.given.load(Relaxed), rate);
            // Never longer than a moment, so that it notices the end.
            let rest = next.saturating_duration_since(Instant::now()).min(Duration::from_millis(20));
            thread::sleep(rest.max(STEP));
        }
    }
}

fn nth(number: u64, rate: f64) -> Duration {
    Duration::from_secs_f64(number as f64 / rate)
}

impl Drop for Pace {
    fn drop(&mut self) {
        self.end();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn requests_are_due_at_fixed_times_however_late_they_are_taken() {
        let pace = Pace::start(Some(1000.0));
        let first = pace.next().await.unwrap();
        tokio::time::sleep(Duration::from_millis(30)).await;
        for number in 1..20 {
            let due = pace.next().await.unwrap();
            assert_eq!(due - first, Duration::from_millis(number));
        }
        assert!(pace.behind() > 0);
        pace.end();
        // What was due and not taken is not given out any more.
        assert_eq!(pace.next().await, None);
    }

    #[tokio::test]
    async fn without_a_rate_a_request_is_due_when_somebody_asks() {
        let pace = Pace::start(None);
        let (one, other) = (pace.next().await.unwrap(), pace.next().await.unwrap());
        assert!(one <= other && pace.behind() == 0);
        pace.end();
        assert_eq!(pace.next().await, None);
    }
}
