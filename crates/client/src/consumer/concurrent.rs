// SPDX-License-Identifier: Apache-2.0
//! Concurrent consumption: the workers of a consumer take batches from the queues that have some, in turn.
//!
//! There are as many workers as handlers may run at a time. Waking one costs more than a quick handler, so a worker
//! wakes another only if its handler waits for something, or took long the last time.
//!
//! Java: `ConsumeMessageConcurrentlyService`.

use super::{
    handler::{Batch, Ended, outcome_of, run},
    held::{Held, now_ms, ticket},
    shared::Shared,
};
use crate::ReceivedMessage;
use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::Notify;
use tracing::{error, warn};

/// A handler that took longer than this is not quick: while it runs, another worker should.
const QUICK: Duration = Duration::from_micros(20);
/// When a message whose way back to the broker failed is given to the handler again. Java:
/// `ConsumeMessageConcurrentlyService#submitConsumeRequestLater`.
const AGAIN_AFTER: Duration = Duration::from_secs(5);
/// Delay level of messages whose handler does not come back. Java: `ProcessQueue#cleanExpiredMsg`.
const OVERDUE_LEVEL: i32 = 3;

/// Delay level that makes a dead letter.
pub(crate) const DEAD_LETTER: i32 = -1;

/// Queues that have messages for the workers.
#[derive(Debug, Default)]
pub(crate) struct Line {
    queues: Mutex<VecDeque<Arc<Held>>>,
    bell: Notify,
    closed: AtomicBool,
    /// The last handler was not quick.
    slow: AtomicBool,
    /// Messages that wait until they are given to a handler again.
    later: Mutex<Vec<Later>>,
}

#[derive(Debug)]
struct Later {
    at: Instant,
    held: Arc<Held>,
    epoch: u64,
    message: Arc<ReceivedMessage>,
}

impl Line {
    fn queues(&self) -> MutexGuard<'_, VecDeque<Arc<Held>>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `held` has messages; a worker is woken.
    pub(crate) fn join(&self, held: &Arc<Held>) {
        self.enter(held);
        self.bell.notify_one();
    }

    fn enter(&self, held: &Arc<Held>) {
        if !held.in_line.swap(true, Ordering::AcqRel) {
            self.queues().push_back(held.clone());
        }
    }

    /// Wakes a worker if there is work, and no more come to it: a handler that was quick before may block now.
    pub(crate) fn nudge(&self) {
        if !self.queues().is_empty() {
            self.bell.notify_one();
        }
    }

    /// No worker gets anything more.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.bell.notify_waiters();
    }

    pub(crate) async fn next(&self) -> Option<Arc<Held>> {
        loop {
            let bell = self.bell.notified();
            if self.closed.load(Ordering::Acquire) {
                return None;
            }
            if let Some(held) = self.queues().pop_front() {
                // Before its messages are taken: what comes after that brings it back into the line.
                held.in_line.store(false, Ordering::Release);
                return Some(held);
            }
            bell.await;
        }
    }

    /// Gives back to the handlers what has waited long enough.
    pub(crate) fn give_again(&self, now: Instant) {
        let due: Vec<_> = {
            let mut later = self.later.lock().unwrap_or_else(PoisonError::into_inner);
            later.extract_if(.., |later| later.at <= now).collect()
        };
        for Later { held, epoch, message, .. } in due {
            held.change(|state| state.again(epoch, std::iter::once(message)));
            self.join(&held);
        }
    }

    fn put_by(&self, held: &Arc<Held>, epoch: u64, message: &ReceivedMessage) {
        let mut again = message.clone();
        again.reconsume_times = message.reconsume_times().saturating_add(1);
        let later =
            Later { at: Instant::now() + AGAIN_AFTER, held: held.clone(), epoch, message: Arc::new(again) };
        self.later.lock().unwrap_or_else(PoisonError::into_inner).push(later);
    }
}

/// One worker, until the line is closed.
pub(crate) async fn work(shared: Arc<Shared>) {
    while let Some(held) = shared.line.next().await {
        consume(&shared, &held).await;
        // Handlers that never wait must not keep the thread from others.
        tokio::task::coop::consume_budget().await;
    }
}

async fn consume(shared: &Shared, held: &Arc<Held>) {
    let line = &shared.line;
    let running = held.running();
    if held.is_released() {
        return;
    }
    let (epoch, mut messages, more) = held.change(|state| {
        let messages = state.take(shared.options.batch_max, now_ms());
        (state.epoch(), messages, state.waiting() > 0)
    });
    if more {
        line.enter(held);
        if line.slow.load(Ordering::Relaxed) {
            line.bell.notify_one();
        }
    }
    let faulty: Vec<_> = messages.extract_if(.., |message| message.body_fault().is_some()).collect();
    for message in faulty {
        error!(group = shared.group(), queue = %held.queue, offset = message.queue_offset(), fault = ?message.body_fault(),
            "a body cannot be read; its message becomes a dead letter");
        if shared.is_broadcasting() {
            held.finish(epoch, &[message]);
        } else {
            send_back(shared, held, epoch, &message, DEAD_LETTER).await;
        }
    }
    if messages.is_empty() {
        return;
    }
    let batch = Batch::new(held.queue.clone(), messages);
    shared.before(&batch);
    let begin = Instant::now();
    let handler = run(shared.handler(), batch.clone(), shared.options.consume_timeout);
    let mut handler = std::pin::pin!(handler);
    let first = std::future::poll_fn(|context| std::task::Poll::Ready(handler.as_mut().poll(context))).await;
    let ended = match first {
        std::task::Poll::Ready(ended) => ended,
        std::task::Poll::Pending => {
            line.slow.store(true, Ordering::Relaxed);
            line.nudge();
            handler.await
        }
    };
    let elapsed = begin.elapsed();
    line.slow.store(elapsed > QUICK, Ordering::Relaxed);
    finish(shared, held, epoch, &batch, ended, elapsed).await;
    drop(running);
}

/// What is done with the result of a handler. Java: `#processConsumeResult`.
async fn finish(
    shared: &Shared,
    held: &Arc<Held>,
    epoch: u64,
    batch: &Batch,
    ended: Ended,
    elapsed: Duration,
) {
    let ending = shared.count(held, &ended);
    let outcome = outcome_of(ended, shared.group(), &held.queue);
    let consumed = outcome.consumed(batch.len());
    shared.after(batch, outcome, ending.unless_failed(consumed == batch.len()), elapsed);
    held.stats.consumed(consumed, batch.len() - consumed, elapsed.as_micros() as u64);
    if held.is_released() {
        // The new owner begins at what was committed, and gets these messages, too.
        return;
    }
    if consumed == batch.len() {
        held.finish(epoch, batch);
        return;
    }
    let (done, failed) = batch.split_at(consumed);
    held.finish(epoch, done);
    for message in failed {
        if shared.is_broadcasting() {
            warn!(group = shared.group(), queue = %held.queue, offset = message.queue_offset(),
                "a broadcast message was not consumed and is dropped");
            held.finish(epoch, std::slice::from_ref(message));
        } else {
            send_back(shared, held, epoch, message, outcome.level()).await;
        }
    }
}

/// Gives a message back to the broker, who brings it again later. If that fails, the handler gets it again, 5 s later.
async fn send_back(
    shared: &Shared,
    held: &Arc<Held>,
    epoch: u64,
    message: &Arc<ReceivedMessage>,
    level: i32,
) {
    // It may have been sent back already, because it took too long.
    if !held.change(|state| state.hold(ticket(epoch, message))) {
        return;
    }
    match shared.calls.send_back(&held.queue, message, level, shared.max_reconsume_times()).await {
        Ok(()) => {
            held.finish(epoch, std::slice::from_ref(message));
        }
        Err(error) => {
            error!(group = shared.group(), queue = %held.queue, offset = message.queue_offset(), %error,
                "a message that was not consumed could not be sent back; the handler gets it again");
            shared.line.put_by(held, epoch, message);
        }
    }
}

/// Sends messages back whose handlers do not come back because they block their threads; others are ended by their
/// timeout before. Java: `ProcessQueue#cleanExpiredMsg`.
pub(crate) async fn sweep(shared: &Shared, queues: &[Arc<Held>]) {
    const MOST: usize = 16;
    const GRACE_MS: i64 = 2000;
    let before = now_ms() - shared.options.consume_timeout.as_millis() as i64 - GRACE_MS;
    for held in queues {
        let (epoch, overdue) = held.change(|state| (state.epoch(), state.overdue(before, MOST)));
        for message in overdue {
            held.stats.timed_out();
            error!(group = shared.group(), queue = %held.queue, offset = message.queue_offset(),
                "a handler blocks its thread for longer than the consume timeout; its message comes again");
            if shared.is_broadcasting() {
                held.finish(epoch, &[message]);
                continue;
            }
            let level = OVERDUE_LEVEL;
            match shared.calls.send_back(&held.queue, &message, level, shared.max_reconsume_times()).await {
                Ok(()) => drop(held.finish(epoch, &[message])),
                // Its handler runs; it stays in hand until the handler ends or this succeeds later.
                Err(error) => {
                    error!(group = shared.group(), %error, "it could not be sent back");
                    held.change(|state| state.give(ticket(epoch, &message), now_ms()));
                }
            }
        }
    }
}
