// SPDX-License-Identifier: Apache-2.0
//! How long after the answer to its send a message is found by its key. One is looked for at a time, so a long search stands
//! for those that could not begin meanwhile.

use crate::{
    connection::Connection,
    run::{Seen, Signals},
    target::{self, Messages, Target},
};
use anyhow::{Result, bail};
use std::{
    thread,
    time::{Duration, Instant},
};

/// Between two questions for a key.
const PAUSE: Duration = Duration::from_millis(1);
/// A key that is not found after this long counts as unanswered.
const SEARCH_MAX: Duration = Duration::from_secs(30);

/// Sends a message each `interval`, the time of the search included, and looks for it.
pub(crate) fn work(
    target: &Target,
    messages: &Messages,
    interval: Duration,
    signals: &Signals,
) -> (Seen, Result<()>) {
    let mut seen = Seen::default();
    let result = probe(target, messages, interval, signals, &mut seen);
    (seen, result)
}

fn probe(
    target: &Target,
    messages: &Messages,
    interval: Duration,
    signals: &Signals,
    seen: &mut Seen,
) -> Result<()> {
    let mut connection = Connection::open(target.server)?;
    for number in 0.. {
        let began = Instant::now();
        if signals.ended() {
            break;
        }
        let (queue, counts) = (target.queue(number), signals.measuring());
        let answer =
            connection.ask(&messages.send(&queue, number), |answer| (answer.code, answer.reason()))?;
        if answer.0 != 0 {
            bail!("the message to look for: {}", answer.1);
        }
        let sent = Instant::now();
        let key = format!("k{}", messages.key(number));
        let found = loop {
            let found = connection.ask(&target::query(&queue.topic, key.clone()), |answer| {
                answer.code == 0 && !answer.body.is_empty()
            })?;
            if found || sent.elapsed() > SEARCH_MAX {
                break found;
            }
            thread::sleep(PAUSE);
        };
        if counts && found {
            seen.messages += 1;
            seen.due.record_corrected(sent.elapsed(), interval);
            seen.written.record(sent.elapsed());
        } else if counts {
            seen.unanswered += 1;
        }
        thread::sleep(interval.saturating_sub(began.elapsed()));
    }
    Ok(())
}
