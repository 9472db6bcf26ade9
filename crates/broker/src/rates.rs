// SPDX-License-Identifier: Apache-2.0
//! How fast counters grow: looked at every [`SAMPLE_PERIOD`], kept for a day, thinner the older they are.
//!
//! What does not change costs nothing: a counter leaves a point only when it grew, and one that did not for a day
//! is down to a single point. Java: `StatsItem`, `StoreStatsService`, `BrokerStats`.

use crate::stats::Totals;
use serde::Serialize;
use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// How often counters are looked at.
pub(crate) const SAMPLE_PERIOD: Duration = Duration::from_secs(10);
const SECOND_MS: i64 = 1000;
const MINUTE_MS: i64 = 60 * SECOND_MS;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;
/// Samples of the totals: as many as ten minutes need.
const TOTALS_MAX: usize = 61;

/// Growth of one counter. Java: `BrokerStatsItem`.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub(crate) struct Growth {
    /// How much it grew in each call; calls are not counted here.
    avgpt: f64,
    /// By how much it grew.
    pub(crate) sum: u64,
    /// The same for each second.
    pub(crate) tps: f64,
}

/// Growth of one counter in the last minute, hour and day. Java: `BrokerStatsData`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Growths {
    stats_day: Growth,
    stats_hour: Growth,
    pub(crate) stats_minute: Growth,
}

/// Totals as they were when days began, in UTC.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Mornings {
    pub(crate) yesterday: Totals,
    pub(crate) today: Totals,
}

/// The samples.
#[derive(Debug)]
pub(crate) struct Rates {
    started_ms: i64,
    samples: Mutex<Samples>,
}

#[derive(Debug)]
struct Samples {
    totals: VecDeque<(i64, Totals)>,
    mornings: Mornings,
    /// By what is counted and of whom: `TOPIC_PUT_NUMS@topic`.
    series: HashMap<String, Series>,
}

impl Rates {
    /// Starts with all counters at 0.
    pub(crate) fn new(now_ms: i64) -> Self {
        let samples = Samples {
            totals: VecDeque::from([(now_ms, Totals::default())]),
            mornings: Mornings::default(),
            series: HashMap::new(),
        };
        Self { started_ms: now_ms, samples: Mutex::new(samples) }
    }

    fn samples(&self) -> MutexGuard<'_, Samples> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When this began, in ms since 1970.
    pub(crate) fn started_ms(&self) -> i64 {
        self.started_ms
    }

    /// Takes note of all counters. `counts` is asked only if the totals changed; who is no longer among them is
    /// forgotten.
    pub(crate) fn sample(&self, now_ms: i64, totals: Totals, counts: impl FnOnce() -> Vec<(String, u64)>) {
        let mut samples = self.samples();
        let (before_ms, before) = samples.totals.back().copied().unwrap_or_default();
        if now_ms / DAY_MS != before_ms / DAY_MS {
            samples.mornings = Mornings { yesterday: samples.mornings.today, today: before };
        }
        if samples.totals.len() >= TOTALS_MAX {
            samples.totals.pop_front();
        }
        samples.totals.push_back((now_ms, totals));
        if before == totals {
            return;
        }
        let mut old = std::mem::take(&mut samples.series);
        samples.series = counts()
            .into_iter()
            .map(|(key, count)| {
                let mut series = old.remove(&key).unwrap_or_default();
                series.push(now_ms, count);
                (key, series)
            })
            .collect();
    }

    /// Growth of `counter` (the one that `pick` takes of the totals) for each second of the last `seconds`, or since
    /// the start if that was later.
    pub(crate) fn per_second(
        &self,
        now_ms: i64,
        totals: &Totals,
        seconds: i64,
        pick: impl Fn(&Totals) -> u64,
    ) -> f64 {
        let samples = self.samples();
        let from = now_ms - seconds * SECOND_MS;
        let old_enough = samples.totals.iter().rev().find(|(at, _)| *at <= from);
        let Some((at, then)) = old_enough.or(samples.totals.front()) else { return 0.0 };
        let elapsed = (now_ms - at).max(1) as f64;
        pick(totals).saturating_sub(pick(then)) as f64 * SECOND_MS as f64 / elapsed
    }

    /// The totals of the last two mornings.
    pub(crate) fn mornings(&self) -> Mornings {
        self.samples().mornings
    }

    /// Growth of the counter `key`; `None` if it never grew.
    pub(crate) fn growths(&self, now_ms: i64, key: &str) -> Option<Growths> {
        let samples = self.samples();
        let series = samples.series.get(key)?;
        let growth = |window_ms: i64| {
            let sum = series.last().saturating_sub(series.at(now_ms - window_ms));
            let elapsed = window_ms.min(now_ms - self.started_ms).max(1);
            Growth { avgpt: 0.0, sum, tps: sum as f64 * SECOND_MS as f64 / elapsed as f64 }
        };
        Some(Growths {
            stats_day: growth(DAY_MS),
            stats_hour: growth(HOUR_MS),
            stats_minute: growth(MINUTE_MS),
        })
    }

    /// Growth of the counter `key` for each second of the last minute.
    pub(crate) fn tps(&self, now_ms: i64, key: &str) -> f64 {
        self.growths(now_ms, key).map_or(0.0, |growths| growths.stats_minute.tps)
    }
}

/// When a counter grew, and to what: at most one point for each 10 s of the last minute, 10 min of the last hour and
/// hour of the last day, and one before.
#[derive(Debug, Default)]
struct Series(VecDeque<(i64, u64)>);

impl Series {
    fn last(&self) -> u64 {
        self.0.back().map_or(0, |(_, count)| *count)
    }

    /// What it was at `time`.
    fn at(&self, time: i64) -> u64 {
        self.0.iter().rev().find(|(at, _)| *at <= time).map_or(0, |(_, count)| *count)
    }

    fn push(&mut self, now: i64, count: u64) {
        if count < self.last() {
            // Its owner was deleted and made again.
            self.0.clear();
        }
        if count == self.last() {
            return;
        }
        self.0.push_back((now, count));
        let slot = |time: i64| {
            let age = now - time;
            let length = if age <= MINUTE_MS {
                10 * SECOND_MS
            } else if age <= HOUR_MS {
                10 * MINUTE_MS
            } else {
                HOUR_MS
            };
            (length, time / length)
        };
        let mut taken = None;
        let newest_of_slots =
            self.0.iter().rev().filter(|(at, _)| taken.replace(slot(*at)) != Some(slot(*at)));
        let mut kept: VecDeque<_> = newest_of_slots.copied().collect();
        while kept.iter().rev().nth(1).is_some_and(|(at, _)| *at <= now - DAY_MS) {
            kept.pop_back();
        }
        self.0 = kept.into_iter().rev().collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(messages: u64) -> Totals {
        Totals { put_messages: messages, ..Totals::default() }
    }

    #[test]
    fn a_steady_stream_has_one_rate_over_every_time() {
        let rates = Rates::new(0);
        // 5 messages a second for two days.
        let mut now = 0;
        while now < 2 * DAY_MS {
            now += 10 * SECOND_MS;
            let count = now as u64 / 200;
            rates.sample(now, put(count), || vec![("TOPIC_PUT_NUMS@t".into(), count)]);
        }
        let totals = put(now as u64 / 200);
        for seconds in [10, 60, 600] {
            assert_eq!(
                rates.per_second(now, &totals, seconds, |totals| totals.put_messages),
                5.0,
                "{seconds}"
            );
        }
        let growths = rates.growths(now, "TOPIC_PUT_NUMS@t").unwrap();
        assert_eq!((growths.stats_minute.sum, growths.stats_minute.tps), (300, 5.0));
        let near = |found: u64, expected: u64| found.abs_diff(expected) * 5 <= expected;
        assert!(near(growths.stats_hour.sum, 5 * 3600), "{growths:?}");
        assert!(near(growths.stats_day.sum, 5 * 86400), "{growths:?}");
        assert!(rates.samples().series["TOPIC_PUT_NUMS@t"].0.len() < 45);
        assert_eq!(rates.mornings().today.put_messages, 2 * 86400 * 5 - 50);
        assert_eq!(rates.mornings().yesterday.put_messages, 86400 * 5 - 50);
        assert!(rates.growths(now, "TOPIC_PUT_NUMS@other").is_none());
    }

    #[test]
    fn what_is_young_is_measured_since_the_start() {
        let rates = Rates::new(1000);
        assert_eq!(rates.per_second(3000, &put(10), 600, |totals| totals.put_messages), 5.0);
        rates.sample(11_000, put(100), || vec![("k".into(), 100)]);
        assert_eq!(rates.tps(11_000, "k"), 10.0);
        // Nothing happens any more: nobody is asked, and the rate falls to 0.
        rates.sample(90_000, put(100), || unreachable!());
        assert_eq!(rates.tps(90_000, "k"), 0.0);
        assert_eq!(rates.growths(90_000, "k").unwrap().stats_hour.sum, 100);
    }

    #[test]
    fn who_is_gone_is_forgotten_and_who_comes_back_starts_again() {
        let rates = Rates::new(0);
        rates.sample(10_000, put(1), || vec![("a".into(), 7), ("b".into(), 7)]);
        rates.sample(20_000, put(2), || vec![("b".into(), 2)]);
        assert!(rates.growths(20_000, "a").is_none());
        assert_eq!(rates.growths(20_000, "b").unwrap().stats_minute.sum, 2);
    }
}
