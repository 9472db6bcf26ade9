// SPDX-License-Identifier: Apache-2.0
//! When a server that was just started takes messages again, gives them out, and does so for every queue.

use crate::{
    connection::Connection,
    target::{self, Messages, Target},
};
use anyhow::{Result, bail};
use oxmq_remoting::{Command, code};
use std::{
    panic, thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

const PAUSE: Duration = Duration::from_millis(1);
const WINDOW: u64 = 64;

/// Asks until there are answers, at most for `limit`. `since`: when the server was started, microseconds since 1970.
/// The line has the milliseconds from then to the first message taken, the first given, and the last queue that
/// answered a pull.
pub(crate) fn line(target: &Target, since: u64, limit: Duration) -> Result<String> {
    let deadline = Instant::now() + limit;
    let messages = Messages::new(16, true);
    let queue = target.queue(0);
    let pull = target::pull(&queue, 0, 1);
    let (pulled, sent) = thread::scope(|scope| {
        let pulled =
            scope.spawn(|| until(target, deadline, &pull, "a pull", |found, bytes| found == 0 && bytes > 0));
        let sent = until(target, deadline, &messages.send(&queue, 0), "a send", |found, _| found == 0);
        (pulled.join().unwrap_or_else(|cause| panic::resume_unwind(cause)), sent)
    });
    let (pulled, sent) = (ms_between(since, pulled?), ms_between(since, sent?));
    let (with_messages, empty) = all(target, deadline)?;
    Ok(format!(
        "pull_ms={pulled:.1} send_ms={sent:.1} all_ms={:.1} queues={} empty={empty}",
        ms_between(since, SystemTime::now()),
        with_messages + empty
    ))
}

/// Repeats a request, on a new connection if need be, until its answer is good; returns when that was.
fn until(
    target: &Target,
    deadline: Instant,
    request: &Command,
    what: &str,
    good: impl Fn(i32, usize) -> bool,
) -> Result<SystemTime> {
    let mut connection = None;
    let mut last = String::from("not tried");
    while Instant::now() < deadline {
        let asked = match connection.take() {
            Some(open) => Ok(open),
            None => Connection::open(target.server),
        };
        let answer = asked.and_then(|mut open| {
            let answer =
                open.ask(request, |answer| (good(answer.code, answer.body.len()), answer.reason()))?;
            connection = Some(open);
            Ok(answer)
        });
        match answer {
            Ok((true, _)) => return Ok(SystemTime::now()),
            Ok((false, reason)) => last = reason,
            Err(error) => last = format!("{error:#}"),
        }
        thread::sleep(PAUSE);
    }
    bail!("{what} was not answered well in time, at last: {last}")
}

/// Pulls the first message of every queue; the numbers of those that gave one and of those that have none.
fn all(target: &Target, deadline: Instant) -> Result<(u64, u64)> {
    let mut connection = Connection::open(target.server)?;
    let (queues, mut next, mut with_messages, mut empty) = (target.queues(), 0, 0, 0);
    let mut failure = None;
    while with_messages + empty < queues {
        while next < queues && next < with_messages + empty + WINDOW {
            connection.push(&target::pull(&target.queue(next), 0, 1), 0);
            next += 1;
        }
        connection.flush()?;
        connection.receive(deadline, |answer| match answer.code {
            code::SUCCESS => with_messages += 1,
            code::PULL_NOT_FOUND | code::PULL_OFFSET_MOVED | code::PULL_RETRY_IMMEDIATELY => empty += 1,
            _ => failure = Some(answer.reason()),
        })?;
        if let Some(reason) = failure {
            bail!("a queue does not answer: {reason}");
        }
        if Instant::now() >= deadline {
            bail!("only {} of {queues} queues answered in time", with_messages + empty);
        }
    }
    Ok((with_messages, empty))
}

fn ms_between(micros: u64, end: SystemTime) -> f64 {
    let end = end.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64);
    end.saturating_sub(micros) as f64 / 1e3
}
