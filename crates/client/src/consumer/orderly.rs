// SPDX-License-Identifier: Apache-2.0
//! Orderly consumption: one task for each queue, which gives the handler the next batch when it is done with the last.
//!
//! In a clustering group the broker locks each queue for its owner. What keeps the order when a queue changes its owner:
//! the old one ends its handler, commits, and unlocks; the new one locks, and only then asks where to begin.
//!
//! Java: `ConsumeMessageOrderlyService`.

use super::{
    concurrent::DEAD_LETTER,
    handler::{Batch, Outcome, outcome_of, run},
    held::{Held, now_ms},
    shared::Shared,
};
use crate::ReceivedMessage;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tracing::{error, warn};

/// Consumes one queue until it is released or the consumer stops.
pub(crate) async fn consume(shared: Arc<Shared>, held: Arc<Held>) {
    while !held.is_released() && !shared.is_stopping() {
        let arrived = held.arrived.notified();
        if !may_consume(&shared, &held) || held.state().waiting() == 0 {
            // All that changes one of the two rings.
            arrived.await;
            continue;
        }
        let Ok(permit) = shared.handlers.acquire().await else { return };
        // Before the last look: who releases the queue waits for this.
        let running = held.running();
        if held.is_released() || shared.is_stopping() || !may_consume(&shared, &held) {
            continue;
        }
        let suspension = turn(&shared, &held).await;
        drop((running, permit));
        if let Some(suspension) = suspension {
            tokio::select! {
                () = tokio::time::sleep(suspension) => {}
                () = held.released() => {}
                () = shared.stopping() => {}
            }
        }
        tokio::task::coop::consume_budget().await;
    }
}

fn may_consume(shared: &Shared, held: &Held) -> bool {
    shared.is_broadcasting() || held.is_locked()
}

/// One turn of the queue. If it did not go on, how long it stands still.
async fn turn(shared: &Shared, held: &Arc<Held>) -> Option<Duration> {
    let (epoch, messages) =
        held.change(|state| (state.epoch(), state.take(shared.options.batch_max, now_ms())));
    let faulty = messages.iter().position(|message| message.body_fault().is_some());
    if let Some(at) = faulty {
        // What is before it first; it and the rest wait.
        let (before, rest) = messages.split_at(at);
        if before.is_empty() {
            let (bad, rest) = rest.split_at(1);
            held.change(|state| state.again(epoch, rest.iter().cloned()));
            return bury(shared, held, epoch, &bad[0]).await;
        }
        held.change(|state| state.again(epoch, rest.iter().cloned()));
        return handle(shared, held, epoch, before.to_vec()).await;
    }
    handle(shared, held, epoch, messages).await
}

/// Makes a message whose body cannot be read a dead letter. If that cannot be now, how long the queue stands still.
async fn bury(shared: &Shared, held: &Held, epoch: u64, message: &Arc<ReceivedMessage>) -> Option<Duration> {
    error!(group = shared.group(), queue = %held.queue, offset = message.queue_offset(), fault = ?message.body_fault(),
        "a body cannot be read; its message becomes a dead letter");
    if !shared.is_broadcasting()
        && let Err(error) = shared.calls.send_back(&held.queue, message, DEAD_LETTER, 0).await
    {
        error!(group = shared.group(), queue = %held.queue, %error, "it cannot become one now, its queue stands still");
        held.change(|state| state.again(epoch, std::iter::once(message.clone())));
        return Some(shared.options.suspension);
    }
    held.finish(epoch, std::slice::from_ref(message));
    None
}

/// Gives messages to the handler. If it failed, how long the queue stands still.
async fn handle(
    shared: &Shared,
    held: &Held,
    epoch: u64,
    messages: Vec<Arc<ReceivedMessage>>,
) -> Option<Duration> {
    if messages.is_empty() {
        return None;
    }
    let batch = Batch::new(held.queue.clone(), messages);
    shared.before(&batch);
    let begin = Instant::now();
    let ended = run(shared.handler(), batch.clone(), shared.options.consume_timeout).await;
    let elapsed = begin.elapsed();
    let ending = shared.count(held, &ended);
    let outcome = match outcome_of(ended, shared.group(), &held.queue) {
        // Nothing may be left behind in the middle of a queue.
        Outcome::Partly(consumed) if consumed < batch.len() => Outcome::Retry,
        outcome => outcome,
    };
    let consumed = outcome.consumed(batch.len());
    let success = consumed == batch.len();
    shared.after(&batch, outcome, ending.unless_failed(success), elapsed);
    held.stats.consumed(consumed, batch.len() - consumed, elapsed.as_micros() as u64);
    if success {
        held.finish(epoch, &batch);
        return None;
    }
    let (again, dead) = give_up(shared, &batch).await;
    held.finish(epoch, &dead);
    if again.is_empty() {
        return None;
    }
    held.change(|state| state.again(epoch, again.into_iter()));
    Some(outcome.suspension(shared.options.suspension))
}

/// What of a failed batch is tried again, with one reconsume more, and what was tried often enough: that became dead
/// letters. Java: `#checkReconsumeTimes`.
async fn give_up(shared: &Shared, batch: &Batch) -> (Vec<Arc<ReceivedMessage>>, Vec<Arc<ReceivedMessage>>) {
    let (mut again, mut dead) = (Vec::with_capacity(batch.len()), Vec::new());
    let most = match shared.options.max_reconsume_times {
        times if times < 0 => i32::MAX,
        times => times,
    };
    for message in batch {
        if message.reconsume_times() >= most {
            if shared.is_broadcasting() {
                warn!(group = shared.group(), queue = %batch.queue(), offset = message.queue_offset(),
                    "a broadcast message was not consumed and is dropped");
                dead.push(message.clone());
                continue;
            }
            match shared.calls.send_as_new(message, most).await {
                Ok(()) => {
                    dead.push(message.clone());
                    continue;
                }
                Err(error) => error!(group = shared.group(), queue = %batch.queue(), %error,
                    "a message that was tried often enough could not become a dead letter; it is tried again"),
            }
        }
        let mut once_more = ReceivedMessage::clone(message);
        once_more.reconsume_times = message.reconsume_times().saturating_add(1);
        again.push(Arc::new(once_more));
    }
    (again, dead)
}
