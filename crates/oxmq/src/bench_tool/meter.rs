// SPDX-License-Identifier: Apache-2.0
//! What was measured.

use hdrhistogram::Histogram;
use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// Threads of a load meet here rarely if there are so many places.
const PLACES: usize = 16;
/// Longest time that is told apart from longer ones, in microseconds.
const LONGEST_US: u64 = 600_000_000;
/// Different failures that are told.
const FAILURES_MAX: usize = 20;

/// Takes what happens, from all tasks of a load.
pub(super) struct Meter {
    /// What was due, or without a rate began, from here to there counts.
    from: Instant,
    until: Instant,
    places: Vec<Mutex<Seen>>,
    failures: Mutex<BTreeMap<String, u64>>,
    messages: AtomicU64,
    failed: AtomicU64,
}

/// What counts.
pub(super) struct Seen {
    pub(super) messages: u64,
    pub(super) bytes: u64,
    pub(super) failed: u64,
    /// From when a request was due to its answer, in microseconds.
    pub(super) latency: Histogram<u64>,
    /// From when it was sent.
    pub(super) service: Histogram<u64>,
    /// Latencies since the last look.
    recent: Histogram<u64>,
}

/// What happened since the last look, whether it counts or not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Glance {
    pub(super) messages: u64,
    pub(super) failed: u64,
    pub(super) p50_us: u64,
    pub(super) p99_us: u64,
    pub(super) max_us: u64,
}

/// A request that was answered.
pub(super) struct Answered {
    pub(super) due: Instant,
    pub(super) sent: Instant,
    pub(super) messages: u64,
    pub(super) bytes: u64,
}

impl Meter {
    pub(super) fn new(from: Instant, time: Duration) -> Self {
        Self {
            from,
            until: from + time,
            places: (0..PLACES).map(|_| Mutex::new(Seen::new())).collect(),
            failures: Mutex::default(),
            messages: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    /// Counts an answer that came just now. `place`: any number, the same for one task.
    pub(super) fn answered(&self, place: usize, answered: &Answered) {
        let now = Instant::now();
        self.took(
            place,
            answered.due,
            now - answered.due,
            now - answered.sent,
            answered.messages,
            answered.bytes,
        );
    }

    /// Counts what took so long.
    pub(super) fn took(
        &self,
        place: usize,
        due: Instant,
        latency: Duration,
        service: Duration,
        messages: u64,
        bytes: u64,
    ) {
        self.messages.fetch_add(messages, Relaxed);
        let mut seen = lock(&self.places[place % PLACES]);
        seen.recent.saturating_record(us(latency));
        if self.counts(due) {
            seen.messages += messages;
            seen.bytes += bytes;
            seen.latency.saturating_record(us(latency));
            seen.service.saturating_record(us(service));
        }
    }

    /// Counts a request that failed, of so many messages.
    pub(super) fn failed(&self, place: usize, due: Instant, messages: u64, why: &str) {
        self.failed.fetch_add(messages, Relaxed);
        if self.counts(due) {
            lock(&self.places[place % PLACES]).failed += messages;
        }
        let mut failures = lock(&self.failures);
        // Times and addresses make many texts of one failure.
        let why = without_numbers(why);
        let known = failures.len() < FAILURES_MAX || failures.contains_key(&why);
        *failures.entry(if known { why } else { "other failures".into() }).or_default() += messages;
    }

    fn counts(&self, due: Instant) -> bool {
        (self.from..self.until).contains(&due)
    }

    /// How long anything counted, if no request begins after `end`.
    pub(super) fn counted(&self, end: Instant) -> Duration {
        end.min(self.until).saturating_duration_since(self.from)
    }

    /// What happened since this was asked last.
    pub(super) fn glance(&self) -> Glance {
        let mut recent = histogram();
        for place in &self.places {
            let mut seen = lock(place);
            add(&mut recent, &seen.recent);
            seen.recent.reset();
        }
        Glance {
            messages: self.messages.swap(0, Relaxed),
            failed: self.failed.swap(0, Relaxed),
            p50_us: recent.value_at_quantile(0.5),
            p99_us: recent.value_at_quantile(0.99),
            max_us: recent.max(),
        }
    }

    /// All that counts, and how often each failure happened, warm-up included.
    pub(super) fn result(&self) -> (Seen, BTreeMap<String, u64>) {
        let mut all = Seen::new();
        for place in &self.places {
            let seen = lock(place);
            all.messages += seen.messages;
            all.bytes += seen.bytes;
            all.failed += seen.failed;
            add(&mut all.latency, &seen.latency);
            add(&mut all.service, &seen.service);
        }
        (all, lock(&self.failures).clone())
    }
}

impl Seen {
    fn new() -> Self {
        Self {
            messages: 0,
            bytes: 0,
            failed: 0,
            latency: histogram(),
            service: histogram(),
            recent: histogram(),
        }
    }
}

/// Three digits are exact.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_US, 3).expect("the bounds are in order")
}

fn add(to: &mut Histogram<u64>, from: &Histogram<u64>) {
    to.add(from).expect("all have the same bounds");
}

/// The beginning of the text, each number in it as one `#`.
fn without_numbers(text: &str) -> String {
    let mut short = String::new();
    for c in text.chars().take(300) {
        if !c.is_ascii_digit() {
            short.push(c);
        } else if !short.ends_with('#') {
            short.push('#');
        }
    }
    short
}

fn us(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_due_in_time_counts_and_a_glance_sees_all() {
        let ms = Duration::from_millis;
        let start = Instant::now();
        let meter = Meter::new(start + ms(100), ms(100));
        for (due, took) in [(99, 1), (100, 2), (199, 3), (200, 4)] {
            meter.took(due as usize, start + ms(due), ms(took), ms(1), 2, 10);
            meter.failed(0, start + ms(due), 1, &format!("after {} ms", took * 9));
        }
        let glance = meter.glance();
        assert_eq!((glance.messages, glance.failed), (8, 4));
        assert!((4000..4010).contains(&glance.max_us), "{glance:?}");
        assert_eq!(meter.glance(), Glance::default());
        for (end, counted) in [(50, 0), (150, 50), (201, 100)] {
            assert_eq!(meter.counted(start + ms(end)), ms(counted));
        }
        let (seen, failures) = meter.result();
        assert_eq!((seen.messages, seen.bytes, seen.failed, seen.latency.len()), (4, 20, 2, 2));
        assert!((3000..3010).contains(&seen.latency.max()) && seen.service.max() < 1010);
        assert_eq!(failures, BTreeMap::from([("after # ms".to_owned(), 4)]));
    }

    #[test]
    fn there_are_not_more_kinds_of_failures_than_anybody_reads() {
        let meter = Meter::new(Instant::now(), Duration::from_secs(1));
        for number in 0..100_u8 {
            meter.failed(
                0,
                Instant::now(),
                1,
                &format!("{}", char::from(b'a' + number % 26)).repeat(1 + usize::from(number) / 26),
            );
        }
        let (_, failures) = meter.result();
        assert_eq!((failures.len(), failures["other failures"]), (FAILURES_MAX + 1, 80));
    }
}
