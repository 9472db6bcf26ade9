// SPDX-License-Identifier: Apache-2.0
//! A run: when it measures and when it ends, what its threads saw, and the line that says so.

use crate::histogram::Histogram;
use anyhow::{Result, bail};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs, panic,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

const LOOK: Duration = Duration::from_millis(10);
const SLOWEST_SHOWN: usize = 5;

/// When a run measures and when it ends.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plan {
    /// Time before anything counts.
    pub(crate) warm: Duration,
    /// Time that counts; `None` for as long as there is work.
    pub(crate) time: Option<Duration>,
    /// It ends with this process.
    pub(crate) while_process: Option<u32>,
    /// The server's process, whose CPU time and memory are to be told.
    pub(crate) server: Option<u32>,
}

/// What the threads of a run have in common.
#[derive(Debug)]
pub(crate) struct Signals {
    /// When the run began.
    pub(crate) start: Instant,
    measuring: AtomicBool,
    ended: AtomicBool,
}

impl Signals {
    /// True while what happens counts.
    pub(crate) fn measuring(&self) -> bool {
        self.measuring.load(Relaxed)
    }

    /// True when nothing more is to be asked.
    pub(crate) fn ended(&self) -> bool {
        self.ended.load(Relaxed)
    }
}

/// What a thread saw, and all of them together.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Messages sent, pulled or found.
    pub(crate) messages: u64,
    /// Bytes of their bodies (sends) or records (pulls).
    pub(crate) bytes: u64,
    /// From when a request was due to its answer.
    pub(crate) due: Histogram,
    /// From when it was written to its answer.
    pub(crate) written: Histogram,
    /// Answers that are failures, by code.
    pub(crate) refused: BTreeMap<i32, u64>,
    /// Requests without an answer.
    pub(crate) unanswered: u64,
    /// The reason of one failure.
    pub(crate) why: Option<String>,
    /// The slowest request of each second.
    slowest: Vec<Duration>,
}

impl Seen {
    /// Counts an answer that came just now.
    pub(crate) fn answered(&mut self, signals: &Signals, due: Instant, written: Instant) {
        let now = Instant::now();
        self.due.record(now - due);
        self.written.record(now - written);
        let second = (due - signals.start).as_secs() as usize;
        if self.slowest.len() <= second {
            self.slowest.resize(second + 1, Duration::ZERO);
        }
        self.slowest[second] = self.slowest[second].max(now - due);
    }

    /// Counts a failure.
    pub(crate) fn refused(&mut self, code: i32, reason: impl FnOnce() -> String) {
        *self.refused.entry(code).or_default() += 1;
        self.why.get_or_insert_with(reason);
    }

    fn merge(&mut self, other: Self) {
        self.messages += other.messages;
        self.bytes += other.bytes;
        self.due.merge(&other.due);
        self.written.merge(&other.written);
        other.refused.into_iter().for_each(|(code, count)| *self.refused.entry(code).or_default() += count);
        self.unanswered += other.unanswered;
        self.why = self.why.take().or(other.why);
        self.slowest.resize(self.slowest.len().max(other.slowest.len()), Duration::ZERO);
        self.slowest.iter_mut().zip(other.slowest).for_each(|(mine, theirs)| *mine = theirs.max(*mine));
    }
}

/// Runs `work` on `threads` threads, which are told their numbers, and returns the line to print.
///
/// # Errors
/// That of a thread, if nothing was measured.
pub(crate) fn run(
    plan: &Plan,
    threads: u32,
    work: impl Fn(u32, &Signals) -> (Seen, Result<()>) + Sync,
) -> Result<String> {
    let signals = Signals {
        start: Instant::now(),
        measuring: AtomicBool::new(plan.warm.is_zero()),
        ended: AtomicBool::new(false),
    };
    let mut seen = Seen::default();
    let mut failure = Ok(());
    let (mut span, mut spent) = (Duration::ZERO, None);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|number| {
                scope.spawn({
                    let (work, signals) = (&work, &signals);
                    move || work(number, signals)
                })
            })
            .collect();
        let working = || workers.iter().any(|worker| !worker.is_finished());
        let alive = || plan.while_process.is_none_or(|process| process_folder(process).exists());
        while signals.start.elapsed() < plan.warm && working() {
            thread::sleep(LOOK);
        }
        let (begin, before) = (Instant::now(), plan.server.and_then(cpu_seconds));
        signals.measuring.store(true, Relaxed);
        while working() && alive() && plan.time.is_none_or(|time| begin.elapsed() < time) {
            let rest = plan.time.map_or(LOOK, |time| time.saturating_sub(begin.elapsed()));
            thread::sleep(rest.min(LOOK));
        }
        signals.ended.store(true, Relaxed);
        span = begin.elapsed();
        spent = before.zip(plan.server.and_then(cpu_seconds)).map(|(before, after)| after - before);
        for worker in workers {
            let (one, result) = worker.join().unwrap_or_else(|cause| panic::resume_unwind(cause));
            seen.merge(one);
            failure = std::mem::replace(&mut failure, Ok(())).and(result);
        }
    });
    if let Err(error) = &failure {
        eprintln!("{error:#}");
    }
    if seen.messages == 0 {
        failure?;
        bail!("nothing was measured: {}", seen.why.unwrap_or_default());
    }
    if let Some(why) = &seen.why {
        eprintln!("one failure: {why}");
    }
    Ok(line(&seen, span, spent, plan.server.and_then(anonymous_mib)))
}

fn line(seen: &Seen, span: Duration, spent: Option<f64>, memory: Option<f64>) -> String {
    let seconds = span.as_secs_f64();
    let mut line = format!(
        "msgs={} secs={seconds:.2} msg/s={:.0} MiB/s={:.1}",
        seen.messages,
        seen.messages as f64 / seconds,
        seen.bytes as f64 / seconds / 1_048_576.0
    );
    for (name, histogram) in [("", &seen.due), ("written_", &seen.written)] {
        for (label, quantile) in [("p50", 0.5), ("p99", 0.99), ("p999", 0.999)] {
            let _ = write!(line, " {name}{label}us={:.1}", micros(histogram.quantile(quantile)));
        }
        let _ = write!(line, " {name}maxus={:.1}", micros(histogram.max()));
    }
    let refused: u64 = seen.refused.values().sum();
    let _ = write!(line, " requests={} refused={refused} unanswered={}", seen.due.len(), seen.unanswered);
    if refused > 0 {
        let codes: Vec<_> = seen.refused.iter().map(|(code, count)| format!("{code}:{count}")).collect();
        let _ = write!(line, " codes={}", codes.join(","));
    }
    let mut slowest: Vec<_> = seen.slowest.iter().enumerate().filter(|(_, took)| !took.is_zero()).collect();
    slowest.sort_by_key(|(_, took)| std::cmp::Reverse(**took));
    let shown =
        slowest.iter().take(SLOWEST_SHOWN).map(|(at, took)| format!("{:.1}ms@{at}s", micros(**took) / 1e3));
    let _ = write!(line, " slowest={}", shown.collect::<Vec<_>>().join(","));
    if let Some(spent) = spent {
        let per_message = spent * 1e6 / seen.messages as f64;
        let _ =
            write!(line, " server_cpu_us/msg={per_message:.3} server_cpu={:.0}%", spent / seconds * 100.0);
    }
    if let Some(memory) = memory {
        let _ = write!(line, " server_anon_MiB={memory:.1}");
    }
    line
}

fn micros(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1e3
}

fn process_folder(process: u32) -> PathBuf {
    PathBuf::from(format!("/proc/{process}"))
}

/// User and system time of a process, threads that have ended included.
fn cpu_seconds(process: u32) -> Option<f64> {
    let ticks = ticks(&fs::read_to_string(process_folder(process).join("stat")).ok()?)?;
    Some(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// Fields 14 and 15 of `/proc/PID/stat`; the second one is a name that may hold anything.
fn ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

fn anonymous_mib(process: u32) -> Option<f64> {
    anonymous_kib(&fs::read_to_string(process_folder(process).join("status")).ok()?)
        .map(|kib| kib as f64 / 1024.0)
}

fn anonymous_kib(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_says_of_a_process() {
        let stat = "4711 (a ) b) S 1 4711 4711 0 -1 4194560 300 0 0 0 17 25 0 0 20 0 9 0 1 2 3";
        assert_eq!(ticks(stat), Some(42));
        assert_eq!(ticks("4711 (cut) S 1"), None);
        assert_eq!(anonymous_kib("VmRSS:\t 9 kB\nRssAnon:\t    2048 kB\nRssFile:\t 1 kB\n"), Some(2048));
        assert_eq!(anonymous_kib("VmRSS:\t 9 kB\n"), None);
    }

    fn one(signals: &Signals, code: i32) -> (Seen, Result<()>) {
        let mut seen = Seen { messages: 2, bytes: 10, ..Seen::default() };
        let now = Instant::now();
        seen.answered(signals, now - Duration::from_millis(20), now - Duration::from_millis(1));
        if code != 0 {
            seen.refused(code, || "full".into());
        }
        (seen, Ok(()))
    }

    #[test]
    fn puts_together_what_the_threads_saw() {
        // The first answers must not be due before the run.
        let line = run(&Plan::default(), 3, |number, signals| {
            thread::sleep(Duration::from_millis(30));
            one(signals, [0, 14, 2][number as usize])
        });
        let line = line.unwrap();
        let field =
            |name: &str| line.split(' ').find_map(|field| field.strip_prefix(&format!("{name}="))).unwrap();
        assert_eq!(
            (field("msgs"), field("requests"), field("refused"), field("codes")),
            ("6", "3", "2", "2:1,14:1")
        );
        let us = |name| field(name).parse::<f64>().unwrap();
        assert!(us("p50us") >= 20_000.0 && us("written_maxus") < us("p50us"), "{line}");
        assert!(field("slowest").ends_with("ms@0s"), "{line}");
    }

    #[test]
    fn nothing_measured_is_a_failure() {
        let broken = run(&Plan::default(), 1, |_, _| (Seen::default(), Err(anyhow::anyhow!("no server"))));
        assert_eq!(broken.unwrap_err().to_string(), "no server");
        assert!(run(&Plan::default(), 1, |_, _| (Seen::default(), Ok(()))).is_err());
    }

    #[test]
    fn ends_with_its_time() {
        let plan = Plan { time: Some(Duration::from_millis(30)), ..Plan::default() };
        let line = run(&plan, 1, |_, signals| {
            let mut seen = Seen::default();
            while !signals.ended() {
                thread::sleep(Duration::from_millis(1));
                seen.messages += u64::from(signals.measuring());
            }
            (seen, Ok(()))
        });
        assert!(line.unwrap().starts_with("msgs="));
    }
}
