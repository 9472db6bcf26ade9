// SPDX-License-Identifier: Apache-2.0
//! When each request is due.
//!
//! With a rate, request number n is due n / rate after the start, whatever the others do: who takes a number late still counts from
//! when it was due. A thread of its own gives the numbers out, because timers of the runtime are exact to a millisecond only.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
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
    ended: OnceLock<Instant>,
    /// Numbers from here on are not to be taken: known when the last one was given out.
    limit: AtomicU64,
}

impl Pace {
    /// From now on, `rate` requests per second; `None`: whenever somebody asks.
    pub(super) fn start(rate: Option<f64>) -> Self {
        let shared = Arc::new(Shared {
            due: Semaphore::new(0),
            given: AtomicU64::new(0),
            ended: OnceLock::new(),
            limit: AtomicU64::new(u64::MAX),
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
            return self.shared.ended.get().is_none().then(Instant::now);
        };
        self.shared.due.acquire().await.ok()?.forget();
        let number = self.taken.fetch_add(1, Relaxed);
        (number < self.shared.limit.load(Relaxed)).then(|| self.start + nth(number, rate))
    }

    /// No more requests than those that are due by now and somebody is free to take.
    pub(super) fn end(&self) {
        let _ = self.shared.ended.set(Instant::now());
    }

    /// How many were due and nobody took. To be asked when [`Pace::next`] gave `None`.
    pub(super) fn behind(&self) -> u64 {
        self.shared.given.load(Relaxed).saturating_sub(self.shared.limit.load(Relaxed))
    }
}

impl Shared {
    fn give(&self, start: Instant, rate: f64) {
        loop {
            let ended = self.ended.get();
            self.give_due(ended.copied().unwrap_or_else(Instant::now) - start, rate);
            if ended.is_some() {
                return self.finish();
            }
            let next = start + nth(self.given.load(Relaxed), rate);
            // Never longer than a moment, so that it notices the end.
            let rest = next.saturating_duration_since(Instant::now()).min(Duration::from_millis(20));
            thread::sleep(rest.max(STEP));
        }
    }

    fn give_due(&self, elapsed: Duration, rate: f64) {
        let given = self.given.load(Relaxed);
        let due = ((elapsed.as_secs_f64() * rate) as u64 + 1).min(given + 1_000_000);
        if due > given && given < BEHIND_MAX {
            self.given.store(due, Relaxed);
            self.due.add_permits((due - given) as usize);
        }
    }

    /// Takes back what nobody was free to take. The rest belongs to somebody, awake or not: to close the semaphore would take that back too.
    fn finish(&self) {
        let left = self.due.forget_permits(Semaphore::MAX_PERMITS) as u64;
        self.limit.store(self.given.load(Relaxed) - left, Relaxed);
        self.due.add_permits(Semaphore::MAX_PERMITS);
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
        pace.end();
        // What was due was taken, or it is told that it was not.
        let mut taken = 20;
        while pace.next().await.is_some() {
            taken += 1;
        }
        assert_eq!(taken + pace.behind(), pace.shared.given.load(Relaxed));
        assert!(taken + pace.behind() > 30);
    }

    #[tokio::test]
    async fn only_what_nobody_was_free_to_take_is_behind() {
        let mut pace = Pace::start(None);
        pace.rate = Some(1.0);
        let mut waiting = std::pin::pin!(pace.next());
        tokio::select! { biased; _ = &mut waiting => panic!("nothing is due"), () = async {} => {} }
        pace.shared.give_due(Duration::from_secs(2), 1.0);
        pace.shared.finish();
        // It was given the first of three and has not woken yet.
        assert_eq!(waiting.await, Some(pace.start));
        assert_eq!((pace.next().await, pace.behind()), (None, 2));
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
