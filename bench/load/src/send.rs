// SPDX-License-Identifier: Apache-2.0
//! Producers: some requests in flight on each connection, as fast as answers come or at a fixed rate.

use crate::{
    connection::Connection,
    pace::Pace,
    run::{Seen, Signals},
    target::{Messages, Target},
};
use anyhow::Result;
use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// The end of a run is looked at this often.
const LOOK: Duration = Duration::from_millis(100);
/// How long answers are waited for when nothing more is sent.
const DRAIN_MAX: Duration = Duration::from_secs(30);
/// How long a server that refused a send is left alone by who sends it again.
const PAUSE: Duration = Duration::from_millis(10);

/// What each connection does.
#[derive(Debug, Clone)]
pub(crate) struct Sends {
    pub(crate) target: Target,
    pub(crate) messages: Messages,
    pub(crate) body_bytes: u64,
    pub(crate) connections: u32,
    /// Requests in flight on each connection.
    pub(crate) window: u32,
    /// Requests per second of all connections.
    pub(crate) rate: Option<f64>,
    /// Messages of a request.
    pub(crate) batch: u64,
    /// Messages in all; `None` for as many as there is time for.
    pub(crate) total: Option<u64>,
    /// Whether what is refused is sent again until it is taken.
    pub(crate) again: bool,
}

/// A request without an answer.
#[derive(Debug, Clone, Copy)]
struct Flight {
    due: Instant,
    written: Instant,
    sequence: u64,
    counts: bool,
}

impl Sends {
    /// The work of the connection `number`.
    pub(crate) fn work(&self, number: u32, signals: &Signals) -> (Seen, Result<()>) {
        let mut seen = Seen::default();
        let result = self.send(number, signals, &mut seen);
        (seen, result)
    }

    fn send(&self, number: u32, signals: &Signals, seen: &mut Seen) -> Result<()> {
        let mut connection = Connection::open(self.target.server)?;
        let share = f64::from(self.connections);
        // The connections take turns.
        let offset =
            self.rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(f64::from(number) / rate));
        let mut pace = Pace::new(Instant::now() + offset, self.rate.map(|rate| rate / share));
        let mut flights: Vec<Option<Flight>> = vec![None; self.window as usize];
        let mut free: Vec<usize> = (0..flights.len()).collect();
        let mut again = VecDeque::new();
        let mut next = u64::from(number);
        let (mut not_before, mut drained_by) = (Instant::now(), None);
        loop {
            let now = Instant::now();
            let (ended, counts) = (signals.ended(), signals.measuring());
            let mut wake = now + LOOK;
            while !ended && !free.is_empty() {
                let due = pace.due(now).max(not_before);
                if due > now {
                    wake = wake.min(due);
                    break;
                }
                let Some(sequence) = again.pop_front().or_else(|| self.next(&mut next)) else { break };
                let Some(slot) = free.pop() else { break };
                pace.take();
                self.push(&mut connection, slot, sequence);
                flights[slot] = Some(Flight { due, written: now, sequence, counts });
            }
            connection.flush()?;
            let all_sent = ended || (again.is_empty() && self.is_last(next));
            if all_sent {
                if free.len() == flights.len() {
                    return Ok(());
                }
                if now >= *drained_by.get_or_insert(now + DRAIN_MAX) {
                    seen.unanswered += (flights.len() - free.len()) as u64;
                    return Ok(());
                }
            }
            let received = connection.receive(wake, |answer| {
                let slot = answer.opaque as usize;
                let Some(flight) = flights.get_mut(slot).and_then(Option::take) else { return };
                free.push(slot);
                if answer.code != 0 {
                    seen.refused(answer.code, || answer.reason());
                    if self.again {
                        again.push_back(flight.sequence);
                        not_before = Instant::now() + PAUSE;
                    }
                } else if signals.measuring() && !signals.ended() {
                    let messages = self.messages_of(flight.sequence);
                    seen.messages += messages;
                    seen.bytes += messages * self.body_bytes;
                }
                if flight.counts {
                    seen.answered(signals, flight.due, flight.written);
                }
            });
            if received.is_err() {
                seen.unanswered += (flights.len() - free.len()) as u64;
                return received;
            }
        }
    }

    /// The number of the next request of this connection; the connections share them in turn.
    fn next(&self, next: &mut u64) -> Option<u64> {
        let sequence = *next;
        (!self.is_last(sequence)).then(|| *next += u64::from(self.connections))?;
        Some(sequence)
    }

    fn is_last(&self, sequence: u64) -> bool {
        self.total.is_some_and(|total| sequence * self.batch >= total)
    }

    fn messages_of(&self, sequence: u64) -> u64 {
        self.total.map_or(self.batch, |total| self.batch.min(total - sequence * self.batch))
    }

    fn push(&self, connection: &mut Connection, slot: usize, sequence: u64) {
        let queue = self.target.queue(sequence);
        let request = match self.batch {
            1 => self.messages.send(&queue, sequence),
            batch => self.messages.send_batch(&queue, sequence * batch, self.messages_of(sequence)),
        };
        connection.push(&request, slot as i32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_connections_share_all_messages() {
        for (total, batch, connections) in [(10, 3, 4), (12, 3, 2), (1, 5, 3), (7, 1, 7), (100, 7, 1)] {
            let sends = Sends {
                target: Target::new("127.0.0.1:1", "T", 1, 1).unwrap(),
                messages: Messages::new(1, false),
                body_bytes: 1,
                connections,
                window: 1,
                rate: None,
                batch,
                total: Some(total),
                again: true,
            };
            let mut all = Vec::new();
            for mut next in 0..u64::from(connections) {
                while let Some(sequence) = sends.next(&mut next) {
                    all.extend((sequence * batch..).take(sends.messages_of(sequence) as usize));
                }
            }
            all.sort_unstable();
            assert!(all.iter().copied().eq(0..total), "{total} in {batch} on {connections}: {all:?}");
        }
    }
}
