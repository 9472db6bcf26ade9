// SPDX-License-Identifier: Apache-2.0
//! What an operator sees of long work: a line each 5 s, and one at the end if there was one before.

use std::time::{Duration, Instant};

const REPORT_EVERY: Duration = Duration::from_secs(5);
/// The clock is looked at once in so many bytes.
const LOOK_EVERY: u64 = 1024 * 1024;

/// Reading a stretch of the commit log.
pub(crate) struct Progress {
    what: &'static str,
    from: u64,
    to: u64,
    at: u64,
    look_at: u64,
    began: Instant,
    reported: Instant,
    lines: u64,
}

impl Progress {
    pub(crate) fn new(what: &'static str, from: u64, to: u64) -> Self {
        let now = Instant::now();
        Self { what, from, to, at: from, look_at: from, began: now, reported: now, lines: 0 }
    }

    /// The work has come to `at`.
    pub(crate) fn at(&mut self, at: u64) {
        self.at = at;
        if at < self.look_at {
            return;
        }
        self.look_at = at + LOOK_EVERY;
        if self.reported.elapsed() < REPORT_EVERY {
            return;
        }
        self.reported = Instant::now();
        self.lines += 1;
        let bytes_per_s = self.bytes_per_s();
        let left_s = self.to.saturating_sub(at) / bytes_per_s.max(1);
        tracing::info!(percent = self.percent(), mb_per_s = bytes_per_s / 1_000_000, left_s, "{}", self.what);
    }

    /// How much is done.
    pub(crate) fn percent(&self) -> u8 {
        let (done, all) = (self.at - self.from, self.to.saturating_sub(self.from));
        u8::try_from(u128::from(done) * 100 / u128::from(all.max(1))).unwrap_or(100).min(100)
    }

    /// The work is done.
    pub(crate) fn done(&self) {
        if self.lines > 0 {
            let mb = (self.at - self.from) / 1_000_000;
            let (seconds, mb_per_s) = (self.began.elapsed().as_secs(), self.bytes_per_s() / 1_000_000);
            tracing::info!(mb, seconds, mb_per_s, "{}: done", self.what);
        }
    }

    fn bytes_per_s(&self) -> u64 {
        ((self.at - self.from) as f64 / self.began.elapsed().as_secs_f64().max(0.001)) as u64
    }
}
