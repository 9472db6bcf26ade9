// SPDX-License-Identifier: Apache-2.0
//! How far the work is: a bar on a terminal, else a line every 5 s.

use std::{
    io::{IsTerminal as _, stderr},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

use super::table;
use crate::terminal::complain;

const LINE_EVERY: Duration = Duration::from_secs(5);
const BAR: &str =
    "{msg} {bar:30} {percent}%  {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left";

pub(super) struct Progress {
    what: &'static str,
    bar: Option<ProgressBar>,
    began: Instant,
    told: Instant,
}

impl Progress {
    pub(super) fn new(what: &'static str) -> Self {
        let bar = stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template(BAR).unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::new(0).with_style(style).with_message(what)
        });
        let now = Instant::now();
        Self { what, bar, began: now, told: now }
    }

    pub(super) fn set(&mut self, done: u64, total: u64) {
        if let Some(bar) = &self.bar {
            bar.set_length(total);
            bar.set_position(done);
            return;
        }
        if self.told.elapsed() < LINE_EVERY {
            return;
        }
        self.told = Instant::now();
        let seconds = self.began.elapsed().as_secs_f64();
        let rate = done as f64 / seconds;
        complain(&format!(
            "{} {}, {} of {}, {}/s, {:.0} s left",
            self.what,
            table::percent(done, total),
            table::bytes(done),
            table::bytes(total),
            table::bytes(rate as u64),
            total.saturating_sub(done) as f64 / rate.max(1.0),
        ));
    }

    /// Prints, with the bar out of the way.
    pub(super) fn aside(&self, print: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    pub(super) fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}
