// SPDX-License-Identifier: Apache-2.0
//! Consumers: readers that each have one pull in flight, through a part of their queue, once or round and round.

use crate::{
    connection::Connection,
    run::{Seen, Signals},
    target::{self, Queue, Target},
};
use anyhow::{Result, anyhow, bail};
use oxmq_remoting::code::{self, request};
use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

const LOOK: Duration = Duration::from_millis(100);
/// How long a server that refused a pull for the moment is left alone.
const PAUSE: Duration = Duration::from_millis(10);
const DRAIN_MAX: Duration = Duration::from_secs(30);

/// Which messages of a queue are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// All that there is at the start.
    All,
    /// The oldest ones.
    First(u64),
    /// The newest ones.
    Last(u64),
}

impl Part {
    /// From `--first` and `--last`.
    pub(crate) fn new(first: Option<u64>, last: Option<u64>) -> Self {
        match (first, last) {
            (Some(count), _) => Self::First(count),
            (None, Some(count)) => Self::Last(count),
            (None, None) => Self::All,
        }
    }

    /// Its offsets in a queue with those from `min` to `max`, the latter excluded.
    fn offsets(self, min: u64, max: u64) -> (u64, u64) {
        match self {
            Self::All => (min, max),
            Self::First(count) => (min, max.min(min + count)),
            Self::Last(count) => (min.max(max.saturating_sub(count)), max),
        }
    }
}

/// What all connections do.
#[derive(Debug, Clone)]
pub(crate) struct Pulls {
    pub(crate) target: Target,
    pub(crate) connections: u32,
    /// Readers of each queue. They begin at equal distances of each other if they read round and round.
    pub(crate) readers: u32,
    /// Most messages of a pull.
    pub(crate) batch: u32,
    pub(crate) part: Part,
    /// Whether a reader begins anew when it is through.
    pub(crate) round: bool,
    /// Most bytes per second, of all connections.
    pub(crate) bytes_per_second: Option<f64>,
}

#[derive(Debug)]
struct Reader {
    queue: Queue,
    begin: u64,
    end: u64,
    next: u64,
    asked: Instant,
    counts: bool,
}

/// How it goes on for a reader.
enum Step {
    Pull,
    Later,
    Through,
}

impl Pulls {
    /// The work of the connection `number`.
    pub(crate) fn work(&self, number: u32, signals: &Signals) -> (Seen, Result<()>) {
        let mut seen = Seen::default();
        let result = self.pull(number, signals, &mut seen);
        (seen, result)
    }

    fn pull(&self, number: u32, signals: &Signals, seen: &mut Seen) -> Result<()> {
        let mut connection = Connection::open(self.target.server)?;
        let mut readers = self.readers(number, &mut connection)?;
        let mut ready: VecDeque<usize> = (0..readers.len()).collect();
        let mut flying = 0;
        let (start, mut bytes) = (Instant::now(), 0u64);
        let (mut not_before, mut drained_by) = (start, None);
        let mut failure = None;
        loop {
            let now = Instant::now();
            let (ended, counts) = (signals.ended(), signals.measuring());
            if let Some(per_second) = self.bytes_per_second {
                let share = per_second / f64::from(self.connections);
                not_before = not_before.max(start + Duration::from_secs_f64(bytes as f64 / share));
            }
            while !ended
                && not_before <= now
                && let Some(at) = ready.pop_front()
            {
                let reader = &mut readers[at];
                (reader.asked, reader.counts) = (now, counts);
                connection.push(&target::pull(&reader.queue, reader.next, self.batch), at as i32);
                flying += 1;
            }
            connection.flush()?;
            if flying == 0 && (ended || ready.is_empty()) {
                return Ok(());
            }
            if ended && now >= *drained_by.get_or_insert(now + DRAIN_MAX) {
                seen.unanswered += flying;
                return Ok(());
            }
            let wake = if ready.is_empty() { now + LOOK } else { not_before.clamp(now, now + LOOK) };
            connection.receive(wake, |answer| {
                let at = answer.opaque as usize;
                let Some(reader) = readers.get_mut(at) else { return };
                flying -= 1;
                if reader.counts {
                    seen.answered(signals, reader.asked, reader.asked);
                }
                let before = reader.next;
                let step = reader.answered(answer.code, answer.number("nextBeginOffset"), self.round);
                if answer.code == code::SUCCESS {
                    bytes += answer.body.len() as u64;
                    if signals.measuring() && !signals.ended() {
                        seen.messages +=
                            answer.number("nextBeginOffset").unwrap_or(before).saturating_sub(before);
                        seen.bytes += answer.body.len() as u64;
                    }
                } else {
                    seen.refused(answer.code, || answer.reason());
                }
                match step {
                    Some(Step::Pull) => ready.push_back(at),
                    Some(Step::Later) => {
                        ready.push_back(at);
                        not_before = Instant::now() + PAUSE;
                    }
                    Some(Step::Through) => {}
                    None => {
                        failure = Some(anyhow!(
                            "a pull of {} {}: {}",
                            reader.queue.topic,
                            reader.queue.id,
                            answer.reason()
                        ))
                    }
                }
            })?;
            if let Some(failure) = failure {
                return Err(failure);
            }
        }
    }

    /// Those of the connection `number`.
    fn readers(&self, number: u32, connection: &mut Connection) -> Result<Vec<Reader>> {
        let mut readers = Vec::new();
        let all = self.target.queues() * u64::from(self.readers);
        for at in (u64::from(number)..all).step_by(self.connections as usize) {
            let queue = self.target.queue(at / u64::from(self.readers));
            let min = connection.ask_number(&target::about(request::GET_MIN_OFFSET, &queue), "offset")?;
            let max = connection.ask_number(&target::about(request::GET_MAX_OFFSET, &queue), "offset")?;
            let (begin, end) = self.part.offsets(min, max);
            if begin >= end {
                bail!("{} {} has no messages", queue.topic, queue.id);
            }
            let turn = at % u64::from(self.readers);
            let next =
                if self.round { begin + (end - begin) * turn / u64::from(self.readers) } else { begin };
            readers.push(Reader { queue, begin, end, next, asked: Instant::now(), counts: false });
        }
        Ok(readers)
    }
}

impl Reader {
    /// Takes an answer; `None` if it cannot go on after it.
    fn answered(&mut self, code: i32, next: Option<u64>, round: bool) -> Option<Step> {
        match code {
            code::SUCCESS | code::PULL_RETRY_IMMEDIATELY | code::PULL_OFFSET_MOVED => self.next = next?,
            code::PULL_NOT_FOUND => self.next = self.end,
            code::SYSTEM_BUSY | code::SERVICE_NOT_AVAILABLE => return Some(Step::Later),
            _ => return None,
        }
        if self.next < self.end {
            return Some(Step::Pull);
        }
        self.next = self.begin;
        Some(if round { Step::Pull } else { Step::Through })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_queue() {
        for (part, min, max, expected) in [
            (Part::All, 3, 10, (3, 10)),
            (Part::First(4), 3, 10, (3, 7)),
            (Part::First(40), 3, 10, (3, 10)),
            (Part::Last(4), 3, 10, (6, 10)),
            (Part::Last(40), 3, 10, (3, 10)),
        ] {
            assert_eq!(part.offsets(min, max), expected, "{part:?}");
        }
    }

    #[test]
    fn a_reader_goes_on_or_is_through() {
        let reader = |round, answers: &[(i32, Option<u64>)]| {
            let queue = Queue { topic: "T".into(), id: 0 };
            let mut reader =
                Reader { queue, begin: 10, end: 50, next: 10, asked: Instant::now(), counts: false };
            let steps = answers.iter().map(|&(code, next)| match reader.answered(code, next, round) {
                Some(Step::Pull) => 'p',
                Some(Step::Later) => 'l',
                Some(Step::Through) => 't',
                None => 'x',
            });
            (steps.collect::<String>(), reader.next)
        };
        assert_eq!(
            reader(false, &[(0, Some(30)), (20, Some(40)), (2, None), (0, Some(50))]),
            ("pplt".into(), 10)
        );
        assert_eq!(reader(true, &[(0, Some(30)), (0, Some(55)), (0, Some(20))]), ("ppp".into(), 20));
        assert_eq!(reader(false, &[(21, Some(12)), (19, Some(12))]), ("pt".into(), 10));
        assert_eq!(reader(false, &[(0, None)]), ("x".into(), 10));
        assert_eq!(reader(false, &[(17, None)]), ("x".into(), 10));
    }
}
