// SPDX-License-Identifier: Apache-2.0
//! What a consumer did: counters, and rates of the last minute as mqadmin shows them.
//!
//! Java: `ConsumerStatsManager`, `ConsumeStatus`.

use oxmq_remoting::bodies::ConsumeStatus;
use std::{
    collections::VecDeque,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// How often [`TopicStats::sample`] is to be called, in ms.
pub(crate) const SAMPLE_EVERY_MS: i64 = 10_000;
/// Samples that are kept: an hour's.
const SAMPLES: usize = 361;

/// What a consumer did with one topic since it was started; differences of two readings are rates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ConsumeTotals {
    /// Pulls that brought messages.
    pub pulls: u64,
    /// Messages pulled.
    pub pulled: u64,
    /// Time of those pulls, in ms, that of waiting at the broker included.
    pub pull_ms: u64,
    /// Messages that handlers consumed.
    pub consumed: u64,
    /// Messages that come again, or became dead letters.
    pub failed: u64,
    /// Calls of handlers.
    pub calls: u64,
    /// Time that handlers took, all together, in µs.
    pub consume_us: u64,
    /// Handlers that panicked.
    pub panics: u64,
    /// Handlers that took longer than the consume timeout.
    pub timeouts: u64,
}

/// Counters of one topic.
#[derive(Debug, Default)]
pub(crate) struct TopicStats {
    pulls: AtomicU64,
    pulled: AtomicU64,
    pull_ms: AtomicU64,
    consumed: AtomicU64,
    failed: AtomicU64,
    calls: AtomicU64,
    consume_us: AtomicU64,
    panics: AtomicU64,
    timeouts: AtomicU64,
    samples: Mutex<VecDeque<(i64, ConsumeTotals)>>,
}

impl TopicStats {
    pub(crate) fn pulled(&self, messages: usize, ms: u64) {
        self.pulls.fetch_add(1, Relaxed);
        self.pulled.fetch_add(messages as u64, Relaxed);
        self.pull_ms.fetch_add(ms, Relaxed);
    }

    pub(crate) fn consumed(&self, consumed: usize, failed: usize, us: u64) {
        self.calls.fetch_add(1, Relaxed);
        self.consumed.fetch_add(consumed as u64, Relaxed);
        if failed > 0 {
            self.failed.fetch_add(failed as u64, Relaxed);
        }
        self.consume_us.fetch_add(us, Relaxed);
    }

    pub(crate) fn panicked(&self) {
        self.panics.fetch_add(1, Relaxed);
    }

    pub(crate) fn timed_out(&self) {
        self.timeouts.fetch_add(1, Relaxed);
    }

    pub(crate) fn totals(&self) -> ConsumeTotals {
        ConsumeTotals {
            pulls: self.pulls.load(Relaxed),
            pulled: self.pulled.load(Relaxed),
            pull_ms: self.pull_ms.load(Relaxed),
            consumed: self.consumed.load(Relaxed),
            failed: self.failed.load(Relaxed),
            calls: self.calls.load(Relaxed),
            consume_us: self.consume_us.load(Relaxed),
            panics: self.panics.load(Relaxed),
            timeouts: self.timeouts.load(Relaxed),
        }
    }

    /// Remembers where the counters stand.
    pub(crate) fn sample(&self, now_ms: i64) {
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.push_back((now_ms, self.totals()));
        while samples.len() > SAMPLES {
            samples.pop_front();
        }
    }

    pub(crate) fn status(&self, now_ms: i64) -> ConsumeStatus {
        let now = self.totals();
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let since = |ms: i64| samples.iter().find(|(at, _)| now_ms - at <= ms).copied();
        let hour = since(3_600_000).map_or(ConsumeTotals::default(), |(_, totals)| totals);
        let mut status = ConsumeStatus {
            consume_failed_msgs: (now.failed - hour.failed) as i64,
            ..ConsumeStatus::default()
        };
        let Some((at, minute)) = since(60_000).filter(|(at, _)| now_ms > *at) else { return status };
        let seconds = (now_ms - at) as f64 / 1000.0;
        let mean = |sum: u64, count: u64| if count == 0 { 0.0 } else { sum as f64 / count as f64 };
        status.consume_failed_tps = (now.failed - minute.failed) as f64 / seconds;
        status.consume_ok_tps = (now.consumed - minute.consumed) as f64 / seconds;
        status.pull_tps = (now.pulled - minute.pulled) as f64 / seconds;
        status.consume_rt = mean(now.consume_us - minute.consume_us, now.calls - minute.calls) / 1000.0;
        status.pull_rt = mean(now.pull_ms - minute.pull_ms, now.pulls - minute.pulls);
        status
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_of_the_last_minute_and_failures_those_of_the_last_hour() {
        let stats = TopicStats::default();
        assert_eq!(stats.status(0), ConsumeStatus::default());
        stats.consumed(0, 7, 0);
        assert_eq!(stats.status(1).consume_failed_msgs, 7, "before the first sample");
        stats.sample(0);
        stats.sample(3_600_000);
        for _ in 0..10 {
            stats.pulled(32, 5);
            stats.consumed(30, 2, 4000);
        }
        stats.sample(3_610_000);
        let expected = ConsumeStatus {
            consume_failed_msgs: 20,
            consume_failed_tps: 0.4,
            consume_ok_tps: 6.0,
            consume_rt: 4.0,
            pull_rt: 5.0,
            pull_tps: 6.4,
        };
        assert_eq!(stats.status(3_650_000), expected);
        assert_eq!(stats.status(3_700_000).consume_ok_tps, 0.0, "no sample of the last minute");
        for at in 0..1000 {
            stats.sample(4_000_000 + at);
        }
        assert_eq!(stats.samples.lock().unwrap().len(), SAMPLES);
    }
}
