// SPDX-License-Identifier: Apache-2.0
//! When the next request is due.

use std::time::{Duration, Instant};

/// A schedule that does not ask how the server does: one that is late is sent as soon as it can be, and its time counts from
/// when it was due. Otherwise a server that stops for a second would spoil one figure instead of those of a whole second
/// ("coordinated omission").
#[derive(Debug)]
pub(crate) struct Pace {
    start: Instant,
    /// `None`: as fast as answers come.
    interval: Option<f64>,
    taken: u64,
}

impl Pace {
    /// `rate`: requests per second from `start` on, the first one at `start`.
    pub(crate) fn new(start: Instant, rate: Option<f64>) -> Self {
        Self { start, interval: rate.map(f64::recip), taken: 0 }
    }

    /// When the next request is or was due.
    pub(crate) fn due(&self, now: Instant) -> Instant {
        self.interval.map_or(now, |seconds| self.start + Duration::from_secs_f64(seconds * self.taken as f64))
    }

    /// Takes that request off the schedule.
    pub(crate) fn take(&mut self) {
        self.taken += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_late_for_as_long_as_it_is_late() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut pace = Pace::new(start, Some(100.0));
        assert_eq!(pace.due(start), start);
        pace.take();
        assert_eq!(pace.due(start), at(10));
        // Nothing could be sent until 35 ms: three are due, each from its own time on.
        for due in [10, 20, 30] {
            assert_eq!(pace.due(at(35)), at(due));
            pace.take();
        }
        assert_eq!(pace.due(at(35)), at(40));
    }

    #[test]
    fn without_a_rate_it_is_always_now() {
        let start = Instant::now();
        let mut pace = Pace::new(start, None);
        pace.take();
        let now = start + Duration::from_secs(7);
        assert_eq!(pace.due(now), now);
    }
}
