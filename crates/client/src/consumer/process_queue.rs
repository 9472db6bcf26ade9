// SPDX-License-Identifier: Apache-2.0
//! What a push consumer holds of one queue: which messages were pulled and are not finished, and how far the queue may
//! be committed. Pure; time is an argument.
//!
//! Invariants
//! - The offset to commit is that of the first message that is not finished; if all are, the offset pulled to. So a
//!   crash repeats messages and never passes one over.
//! - A message is given to one handler at a time. Its result counts once, and only while the message is here: not
//!   after it was sent back because it took too long, nor after a reset.
//!
//! Java: `ProcessQueue`.

use crate::ReceivedMessage;
use std::{collections::VecDeque, sync::Arc};

/// Unfinished messages of one queue.
#[derive(Debug)]
pub(crate) struct ProcessQueue {
    /// In the order of their offsets, which strictly increase. The first one is never [`State::Finished`].
    slots: VecDeque<Slot>,
    /// Slots not finished.
    count: usize,
    /// Bytes of their bodies.
    bytes: usize,
    /// Those that wait for a handler, in the order in which they are given.
    ready: VecDeque<i64>,
    /// Where the next pull begins.
    pulled_to: i64,
    /// Grows with each reset, so that results of before are known.
    epoch: u64,
    /// When a pull began, and when a message was given or finished, in ms since 1970. For mqadmin.
    pub(crate) last_pull_ms: i64,
    pub(crate) last_consume_ms: i64,
}

#[derive(Debug)]
struct Slot {
    offset: i64,
    state: State,
    message: Option<Arc<ReceivedMessage>>,
    bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    /// Given to a handler, in ms since 1970.
    Given(i64),
    /// In hand for another reason: it is being sent back.
    Held,
    Finished,
}

/// A message that was given to a handler, and of which epoch it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) epoch: u64,
    pub(crate) offset: i64,
}

/// How many messages and bytes may be held before no more are pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) count: usize,
    pub(crate) bytes: usize,
    /// Between the first and the last offset; `None` for orderly consumers.
    pub(crate) span: Option<i64>,
}

/// Figures for mqadmin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Snapshot {
    pub(crate) commit_offset: i64,
    pub(crate) bytes: usize,
    /// Messages that wait for a handler.
    pub(crate) waiting: Span,
    /// Messages that one has.
    pub(crate) given: Span,
}

/// Some messages of a queue: how many, and offset of the first and the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Span {
    pub(crate) count: i64,
    pub(crate) min: i64,
    pub(crate) max: i64,
}

impl Span {
    fn add(&mut self, offset: i64) {
        *self = self.with(Self { count: 1, min: offset, max: offset });
    }

    /// Both together.
    pub(crate) fn with(self, other: Self) -> Self {
        match (self.count, other.count) {
            (0, _) => other,
            (_, 0) => self,
            (one, two) => {
                Self { count: one + two, min: self.min.min(other.min), max: self.max.max(other.max) }
            }
        }
    }
}

impl ProcessQueue {
    /// A queue of which the first pull begins at `start`.
    pub(crate) fn new(start: i64, now_ms: i64) -> Self {
        Self {
            slots: VecDeque::new(),
            count: 0,
            bytes: 0,
            ready: VecDeque::new(),
            pulled_to: start,
            epoch: 0,
            last_pull_ms: now_ms,
            last_consume_ms: now_ms,
        }
    }

    /// Where the next pull begins.
    pub(crate) fn pulled_to(&self) -> i64 {
        self.pulled_to
    }

    /// Grows with each [`Self::reset`].
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Messages that are not finished.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Bytes of their bodies.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Messages that wait for a handler.
    pub(crate) fn waiting(&self) -> usize {
        self.ready.len()
    }

    /// The next message to consume, if the consumer ended now.
    pub(crate) fn commit_offset(&self) -> i64 {
        self.slots.front().map_or(self.pulled_to, |slot| slot.offset)
    }

    /// True if so much is held that nothing more is to be pulled.
    pub(crate) fn is_full(&self, bounds: Bounds) -> bool {
        let span = match (self.slots.front(), self.slots.back()) {
            (Some(first), Some(last)) => last.offset - first.offset,
            _ => 0,
        };
        self.count > bounds.count || self.bytes > bounds.bytes || bounds.span.is_some_and(|most| span > most)
    }

    /// Takes in what a pull brought that began at [`Self::pulled_to`] of the epoch `epoch`; the next one begins at `next`.
    /// Gives the number of messages taken; of those with an offset below the last one's none is, so that a broker that
    /// answers wrongly costs nothing but its messages.
    pub(crate) fn put(
        &mut self,
        epoch: u64,
        messages: impl IntoIterator<Item = Arc<ReceivedMessage>>,
        next: i64,
    ) -> usize {
        if epoch != self.epoch {
            return 0;
        }
        let before = self.ready.len();
        for message in messages {
            let offset = message.queue_offset();
            if offset < self.pulled_to || self.slots.back().is_some_and(|last| last.offset >= offset) {
                continue;
            }
            let bytes = message.body().len();
            self.slots.push_back(Slot { offset, state: State::Waiting, message: Some(message), bytes });
            self.ready.push_back(offset);
            self.count += 1;
            self.bytes += bytes;
        }
        let beyond_last = self.slots.back().map_or(0, |last| last.offset + 1);
        self.pulled_to = self.pulled_to.max(next).max(beyond_last);
        self.ready.len() - before
    }

    /// Gives up to `most` messages to a handler, in order.
    pub(crate) fn take(&mut self, most: usize, now_ms: i64) -> Vec<Arc<ReceivedMessage>> {
        let mut taken = Vec::with_capacity(most.min(self.ready.len()));
        while taken.len() < most
            && let Some(offset) = self.ready.pop_front()
        {
            let Some(slot) = self.slot(offset) else { continue };
            slot.state = State::Given(now_ms);
            taken.extend(slot.message.clone());
        }
        if !taken.is_empty() {
            self.last_consume_ms = now_ms;
        }
        taken
    }

    /// True if the message of `ticket` is here and not finished: a result of it counts.
    pub(crate) fn holds(&self, ticket: Ticket) -> bool {
        ticket.epoch == self.epoch
            && self.index(ticket.offset).is_some_and(|at| self.slots[at].state != State::Finished)
    }

    /// The message is done with: consumed, sent back, or given up. False if it was not here.
    pub(crate) fn finish(&mut self, ticket: Ticket, now_ms: i64) -> bool {
        if !self.holds(ticket) {
            return false;
        }
        let Some(slot) = self.slot(ticket.offset) else { return false };
        let was_waiting = slot.state == State::Waiting;
        slot.state = State::Finished;
        slot.message = None;
        let bytes = slot.bytes;
        if was_waiting {
            self.ready.retain(|offset| *offset != ticket.offset);
        }
        self.count -= 1;
        self.bytes -= bytes;
        self.last_consume_ms = now_ms;
        while self.slots.front().is_some_and(|slot| slot.state == State::Finished) {
            self.slots.pop_front();
        }
        true
    }

    /// The messages wait for a handler again, before all others. They come with one reconsume more, if `message` says so.
    pub(crate) fn again(
        &mut self,
        epoch: u64,
        messages: impl DoubleEndedIterator<Item = Arc<ReceivedMessage>>,
    ) {
        if epoch != self.epoch {
            return;
        }
        for message in messages.rev() {
            let offset = message.queue_offset();
            let Some(slot) = self.slot(offset) else { continue };
            if matches!(slot.state, State::Given(_) | State::Held) {
                slot.state = State::Waiting;
                slot.message = Some(message);
                self.ready.push_front(offset);
            }
        }
    }

    /// The message is in hand for another reason than a handler, and not overdue. False if it is not here.
    pub(crate) fn hold(&mut self, ticket: Ticket) -> bool {
        if !self.holds(ticket) {
            return false;
        }
        self.slot(ticket.offset).map(|slot| slot.state = State::Held).is_some()
    }

    /// The message is with a handler since `now_ms`: it could not be taken from it after all.
    pub(crate) fn give(&mut self, ticket: Ticket, now_ms: i64) {
        if self.holds(ticket)
            && let Some(slot) = self.slot(ticket.offset)
        {
            slot.state = State::Given(now_ms);
        }
    }

    /// Messages that were given to a handler before `before_ms` and did not come back, `most` of them. They are held from
    /// now on: finished by who takes them, or to wait [`Self::again`].
    pub(crate) fn overdue(&mut self, before_ms: i64, most: usize) -> Vec<Arc<ReceivedMessage>> {
        let late = |slot: &&mut Slot| matches!(slot.state, State::Given(since) if since < before_ms);
        let hold = |slot: &mut Slot| {
            slot.state = State::Held;
            slot.message.clone()
        };
        self.slots.iter_mut().filter(late).take(most).filter_map(hold).collect()
    }

    /// Forgets all messages and goes on at `start`.
    pub(crate) fn reset(&mut self, start: i64) {
        self.slots.clear();
        self.ready.clear();
        (self.count, self.bytes) = (0, 0);
        self.pulled_to = start;
        self.epoch += 1;
    }

    /// Figures for mqadmin.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut snapshot =
            Snapshot { commit_offset: self.commit_offset(), bytes: self.bytes, ..Snapshot::default() };
        for slot in &self.slots {
            match slot.state {
                State::Waiting => snapshot.waiting.add(slot.offset),
                State::Given(_) | State::Held => snapshot.given.add(slot.offset),
                State::Finished => {}
            }
        }
        snapshot
    }

    fn index(&self, offset: i64) -> Option<usize> {
        // Most often the queue has no holes, and most often it is the first that is looked for.
        let first = self.slots.front()?.offset;
        let guess = usize::try_from(offset.checked_sub(first)?).ok()?;
        if self.slots.get(guess).is_some_and(|slot| slot.offset == offset) {
            return Some(guess);
        }
        self.slots.binary_search_by_key(&offset, |slot| slot.offset).ok()
    }

    fn slot(&mut self, offset: i64) -> Option<&mut Slot> {
        let at = self.index(offset)?;
        self.slots.get_mut(at)
    }
}

#[cfg(test)]
mod tests;
