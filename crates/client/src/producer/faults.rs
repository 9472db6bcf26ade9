// SPDX-License-Identifier: Apache-2.0
//! Which brokers to avoid for a while because they were slow or failed. Java: `MQFaultStrategy`,
//! `LatencyFaultToleranceImpl`, with its table of times.
//!
//! Pure: time is an argument.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// A broker that took this long (ms) is avoided for so long (ms); from the largest on.
const TABLE: [(u64, u64); 7] =
    [(15_000, 30_000), (5_000, 10_000), (3_000, 6_000), (1_800, 5_000), (550, 2_000), (100, 0), (50, 0)];
/// A broker that failed counts as one that took so long.
const FAILED_MS: u64 = 10_000;

/// Brokers that are avoided.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    items: HashMap<Arc<str>, Fault>,
}

#[derive(Debug)]
struct Fault {
    avoided_until: Instant,
    reachable: bool,
}

/// What became of one request to a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It answered.
    Answered,
    /// It answered with a failure, or not in time.
    Failed,
    /// There is no connection to it.
    Unreachable,
}

impl Faults {
    /// Takes what became of a request that `broker` had for `latency`.
    pub(crate) fn note(&mut self, broker: &Arc<str>, latency: Duration, outcome: Outcome, now: Instant) {
        let failed = outcome != Outcome::Answered;
        let ms = if failed { FAILED_MS } else { u64::try_from(latency.as_millis()).unwrap_or(u64::MAX) };
        let avoid = TABLE.iter().find(|(limit, _)| ms >= *limit).map_or(0, |(_, avoid)| *avoid);
        let reachable = outcome != Outcome::Unreachable;
        if avoid == 0 && reachable {
            // Nothing to remember; the time that it is avoided for runs out all the same.
            if let Some(item) = self.items.get_mut(broker) {
                item.reachable = true;
                if item.avoided_until <= now {
                    self.items.remove(broker);
                }
            }
            return;
        }
        let until = now + Duration::from_millis(avoid);
        let item = self.items.entry(broker.clone()).or_insert(Fault { avoided_until: until, reachable });
        item.avoided_until = item.avoided_until.max(until);
        item.reachable = reachable;
    }

    /// True if it is not avoided.
    pub(crate) fn is_available(&self, broker: &str, now: Instant) -> bool {
        self.items.get(broker).is_none_or(|item| now >= item.avoided_until)
    }

    /// True if it is there, however slow. One that was not is tried again when the time is over that it is avoided for:
    /// Java has a detector for that, which is off by default.
    pub(crate) fn is_reachable(&self, broker: &str, now: Instant) -> bool {
        self.items.get(broker).is_none_or(|item| item.reachable || now >= item.avoided_until)
    }

    /// True if no broker is avoided.
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_brokers_are_avoided_for_as_long_as_java_avoids_them() {
        let begin = Instant::now();
        let after = |ms: u64| begin + Duration::from_millis(ms);
        for (latency, avoided) in [
            (0, 0),
            (60, 0),
            (549, 0),
            (550, 2_000),
            (2_999, 5_000),
            (3_000, 6_000),
            (5_000, 10_000),
            (60_000, 30_000),
        ] {
            let mut faults = Faults::default();
            faults.note(&"b".into(), Duration::from_millis(latency), Outcome::Answered, begin);
            assert!(faults.is_available("b", after(avoided)) && faults.is_reachable("b", begin), "{latency}");
            assert_eq!(faults.is_available("b", after(avoided.saturating_sub(1))), avoided == 0, "{latency}");
        }
    }

    #[test]
    fn brokers_that_fail_are_avoided_for_ten_seconds() {
        let begin = Instant::now();
        let after = |ms: u64| begin + Duration::from_millis(ms);
        let (b, quick) = (Arc::from("b"), Duration::from_millis(1));
        let mut faults = Faults::default();
        faults.note(&b, quick, Outcome::Failed, begin);
        assert!(!faults.is_available("b", after(9_999)) && faults.is_available("b", after(10_000)));
        assert!(faults.is_reachable("b", begin) && faults.is_available("other", begin));
        faults.note(&b, quick, Outcome::Unreachable, after(5_000));
        assert!(!faults.is_reachable("b", after(14_999)) && faults.is_reachable("b", after(15_000)));
        // An answer makes it reachable at once, and available when its time is over.
        faults.note(&b, quick, Outcome::Answered, after(6_000));
        assert!(faults.is_reachable("b", after(6_000)) && !faults.is_available("b", after(6_000)));
        faults.note(&b, quick, Outcome::Answered, after(15_000));
        assert!(faults.is_empty());
    }
}
