// SPDX-License-Identifier: Apache-2.0
//! How long things took, in bounded memory.
//!
//! Counts by nanoseconds: one for each value below 64, 64 for each power of two above, so a quantile is at most 1.6 % too
//! high. The largest value is kept as it is.

use std::time::Duration;

const STEPS_BITS: u32 = 6;
const STEPS: usize = 1 << STEPS_BITS;

/// Durations and how often each came.
#[derive(Debug, Clone)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; bucket(u64::MAX) + 1], total: 0, max: 0 }
    }
}

impl Histogram {
    /// Counts one duration.
    pub(crate) fn record(&mut self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(nanos)] += 1;
        self.total += 1;
        self.max = self.max.max(nanos);
    }

    /// Counts `took` as one who asks every `interval` whatever happens would have seen it: who waits for an answer before he
    /// asks again cannot ask while it does not come, and each question left out would have waited for the rest of the time.
    pub(crate) fn record_corrected(&mut self, took: Duration, interval: Duration) {
        self.record(took);
        let mut rest = took.saturating_sub(interval);
        while !interval.is_zero() && rest >= interval {
            self.record(rest);
            rest -= interval;
        }
    }

    /// Adds what another has counted.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(mine, theirs)| *mine += theirs);
        self.total += other.total;
        self.max = self.max.max(other.max);
    }

    /// A value that the share `quantile` (0 to 1) of all durations does not exceed; zero if there are none.
    pub(crate) fn quantile(&self, quantile: f64) -> Duration {
        let wanted = (self.total as f64 * quantile).ceil() as u64;
        let mut seen = 0;
        for (at, count) in self.counts.iter().enumerate() {
            seen += count;
            if *count > 0 && seen >= wanted {
                return Duration::from_nanos(last_of(at).min(self.max));
            }
        }
        Duration::ZERO
    }

    /// The longest duration; zero if there are none.
    pub(crate) fn max(&self) -> Duration {
        Duration::from_nanos(self.max)
    }

    /// How many were counted.
    pub(crate) fn len(&self) -> u64 {
        self.total
    }
}

fn bucket(nanos: u64) -> usize {
    let shift = (u64::BITS - nanos.leading_zeros()).saturating_sub(STEPS_BITS + 1);
    (shift as usize) * STEPS + (nanos >> shift) as usize
}

/// The largest value that is counted at `at`.
fn last_of(at: usize) -> u64 {
    let shift = (at / STEPS).saturating_sub(1);
    let above = (at - shift * STEPS) as u128 + 1;
    u64::try_from((above << shift) - 1).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(nanos: impl IntoIterator<Item = u64>) -> Histogram {
        let mut histogram = Histogram::default();
        nanos.into_iter().for_each(|nanos| histogram.record(Duration::from_nanos(nanos)));
        histogram
    }

    #[test]
    fn every_value_has_its_bucket() {
        let mut before = None;
        for nanos in (0..5000).chain((13..63).flat_map(|bits| [(1 << bits) - 1, 1 << bits, (1 << bits) + 1]))
        {
            let at = bucket(nanos);
            let last = last_of(at);
            assert!(
                nanos <= last && last - nanos <= nanos / 64,
                "{nanos} is at {at}, which ends with {last}"
            );
            assert!(before <= Some(at), "{nanos}");
            before = Some(at);
        }
        assert_eq!(last_of(bucket(u64::MAX)), u64::MAX);
    }

    #[test]
    fn quantiles_and_max() {
        let histogram = of(1..=1000);
        assert_eq!(histogram.quantile(0.0).as_nanos(), 1);
        assert_eq!(histogram.quantile(0.05).as_nanos(), 50);
        let p99 = histogram.quantile(0.99).as_nanos();
        assert!((990..=1000).contains(&p99), "{p99}");
        assert_eq!((histogram.quantile(1.0).as_nanos(), histogram.max().as_nanos()), (1000, 1000));
        let none = Histogram::default();
        assert_eq!((none.quantile(0.5), none.max(), none.len()), (Duration::ZERO, Duration::ZERO, 0));
    }

    #[test]
    fn merges() {
        let mut one = of([1, 2]);
        one.merge(&of([3, 1_000_000]));
        assert_eq!((one.len(), one.max().as_nanos(), one.quantile(0.75).as_nanos()), (4, 1_000_000, 3));
    }

    #[test]
    fn what_could_not_be_asked_counts() {
        let mut histogram = Histogram::default();
        histogram.record_corrected(Duration::from_nanos(45), Duration::from_nanos(10));
        // Asked at 0, 10, 20 and 30, answered at 45: the one at 40 waited 5, less than an interval.
        assert_eq!(histogram.len(), 4);
        assert_eq!(histogram.quantile(0.25).as_nanos(), 15);
        histogram.record_corrected(Duration::from_nanos(7), Duration::from_nanos(10));
        histogram.record_corrected(Duration::from_nanos(7), Duration::ZERO);
        assert_eq!(histogram.len(), 6);
    }
}
