// SPDX-License-Identifier: Apache-2.0
//! What an application does with messages.
//!
//! Java: `MessageListenerConcurrently`, `MessageListenerOrderly`, `ConsumeConcurrentlyStatus`, `ConsumeOrderlyStatus`.

use crate::{MessageQueue, ReceivedMessage};
use futures_util::FutureExt;
use std::{
    any::Any,
    fmt,
    future::Future,
    ops::Deref,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    time::Duration,
};
use tracing::{Instrument, debug_span, error};

/// Consumes batches of messages.
///
/// An async closure is a handler; its result may be an [`Outcome`], `()` for success, or a `Result` whose error means
/// "again, later":
///
/// ```
/// use oxmq_client::consumer::{Batch, Handler, Outcome};
///
/// # #[derive(Debug)] struct Broken;
/// # impl std::fmt::Display for Broken { fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result { f.write_str("broken") } }
/// # async fn pay(_: &[u8]) -> Result<(), Broken> { Err(Broken) }
/// fn handler() -> impl Handler {
///     |batch: Batch| async move {
///         for message in &batch {
///             pay(message.body()).await?;
///         }
///         Ok::<(), Broken>(())
///     }
/// }
///
/// struct Payments;
/// impl Handler for Payments {
///     async fn handle(&self, batch: Batch) -> Outcome {
///         println!("{} payments", batch.len());
///         Outcome::Success
///     }
/// }
/// # let message = oxmq_client::ReceivedMessage::from_message(oxmq_client::Message::new("Orders", "42 apples"));
/// # let batch = Batch::new(message.queue().into(), [message.into()]);
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// assert_eq!(handler().handle(batch.clone()).await, Outcome::Retry); // if `pay` fails
/// assert_eq!(Payments.handle(batch).await, Outcome::Success);
/// # });
/// ```
///
/// What may go wrong in a handler costs its batch, not the consumer:
/// - It **panics**: the panic is caught, counted and logged, and the batch comes again later.
/// - It **never ends**: after the consume timeout (15 minutes, as Java's) its future is dropped at the `.await` where it
///   stands, and the batch comes again later. Code that blocks its thread cannot be stopped by anybody: its batch comes
///   again all the same, its result is ignored, and its share of the concurrency is lost until it returns. If such
///   handlers block all threads of the runtime, nothing of the client goes on, heartbeats included, which a warning in
///   the log tells after some seconds. Put blocking code into [`blocking`].
///
/// Messages come **at least once**: after a crash, a rebalance or a lost answer they come again. A handler that charges
/// a card must recognise what it did, see [`idempotent`](crate::idempotent).
pub trait Handler: Send + Sync + 'static {
    /// Consumes one batch: messages of one queue, in the order of the queue.
    fn handle(&self, batch: Batch) -> impl Future<Output = Outcome> + Send;
}

impl<F, Fut, O> Handler for F
where
    F: Fn(Batch) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = O> + Send + 'static,
    O: Into<Outcome>,
{
    fn handle(&self, batch: Batch) -> impl Future<Output = Outcome> + Send {
        let future = self(batch);
        async { future.await.into() }
    }
}

/// A handler that blocks its thread: a database without an async driver, heavy computation. Each batch runs on tokio's
/// threads for blocking work, up to [`ConsumerOptions::concurrency`](super::ConsumerOptions::concurrency) at a time. It cannot be ended:
/// when the consume timeout is over, its messages come again while it goes on.
///
/// ```
/// use oxmq_client::consumer::{Batch, blocking};
///
/// let handler = blocking(|batch: Batch| {
///     std::thread::sleep(std::time::Duration::from_millis(batch.len() as u64));
/// });
/// # let _ = handler;
/// ```
pub fn blocking<F, O>(work: F) -> impl Handler
where
    F: Fn(Batch) -> O + Send + Sync + 'static,
    O: Into<Outcome> + Send + 'static,
{
    let work = Arc::new(work);
    move |batch: Batch| {
        let work = work.clone();
        async move {
            match tokio::task::spawn_blocking(move || work(batch).into()).await {
                Ok(outcome) => outcome,
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    // The runtime is shutting down.
                    Err(_) => Outcome::Retry,
                },
            }
        }
    }
}

/// What became of a batch.
///
/// How messages come again depends on the consumer. To a **concurrent** one the broker brings each as a new message, of
/// the topic `%RETRY%group`, after a time: by its delay level, by default 10 s, 30 s, 1 min and so on up to 2 h, and
/// after 16 times (`maxReconsumeTimes`) it becomes a dead letter in `%DLQ%group`. An **orderly** one keeps the batch, and
/// its queue stands still for a moment (1 s by default), so that nothing overtakes it. A **broadcasting** one drops what
/// failed, with a warning, as Java does: nobody could bring it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Outcome {
    /// All are consumed.
    #[default]
    Success,
    /// Only so many from the start of the batch are consumed; the others come again. An orderly consumer takes anything
    /// less than all for [`Self::Retry`]. Java: `ackIndex` + 1.
    Partly(usize),
    /// All come again.
    Retry,
    /// All come again after the time of this delay level: 1 is 1 s, 2 is 5 s, 3 is 10 s, up to 18, which is 2 h.
    RetryAtLevel(i32),
    /// All come again after about this time: for a concurrent consumer that of the next higher delay level; for an orderly
    /// one exactly, within 10 ms to 30 s.
    RetryAfter(Duration),
    /// They become dead letters at once. An orderly consumer tries them again, as Java's.
    DeadLetter,
}

impl From<()> for Outcome {
    fn from((): ()) -> Self {
        Self::Success
    }
}

impl<E: fmt::Display> From<Result<(), E>> for Outcome {
    /// An error is logged, and the batch comes again.
    fn from(result: Result<(), E>) -> Self {
        match result {
            Ok(()) => Self::Success,
            Err(error) => {
                tracing::warn!(%error, "a handler failed, its messages come again");
                Self::Retry
            }
        }
    }
}

/// Times of the delay levels 1 to 18, in s: `1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h`. A broker may
/// have others.
const LEVELS_S: [u64; 18] =
    [1, 5, 10, 30, 60, 120, 180, 240, 300, 360, 420, 480, 540, 600, 1200, 1800, 3600, 7200];

impl Outcome {
    /// How many of `count` messages are consumed.
    pub(crate) fn consumed(self, count: usize) -> usize {
        match self {
            Self::Success => count,
            Self::Partly(consumed) => consumed.min(count),
            _ => 0,
        }
    }

    /// The delay level that the broker is told: 0 leaves it to the broker, -1 makes dead letters.
    pub(crate) fn level(self) -> i32 {
        match self {
            Self::RetryAtLevel(level) => level.clamp(0, LEVELS_S.len() as i32),
            Self::RetryAfter(time) => {
                let found = LEVELS_S.iter().position(|&level| Duration::from_secs(level) >= time);
                found.map_or(LEVELS_S.len(), |at| at + 1) as i32
            }
            Self::DeadLetter => -1,
            Self::Success | Self::Partly(_) | Self::Retry => 0,
        }
    }

    /// How long an ordered queue stands still. Java: within 10 ms and 30 s.
    pub(crate) fn suspension(self, usual: Duration) -> Duration {
        let time = match self {
            Self::RetryAfter(time) => time,
            Self::RetryAtLevel(level) => {
                let level = usize::try_from(level).unwrap_or(0).clamp(1, LEVELS_S.len());
                Duration::from_secs(LEVELS_S[level - 1])
            }
            _ => usual,
        };
        time.clamp(Duration::from_millis(10), Duration::from_secs(30))
    }
}

/// Messages of one queue that a handler gets together. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Batch {
    queue: Arc<MessageQueue>,
    messages: Together,
}

/// Cheap to clone, and without memory of its own for a single message.
#[derive(Debug, Clone)]
enum Together {
    One(Arc<ReceivedMessage>),
    Many(Arc<[Arc<ReceivedMessage>]>),
}

impl Batch {
    /// Messages of `queue`, for the tests of a handler; see [`ReceivedMessage::from_message`].
    #[must_use]
    pub fn new(queue: Arc<MessageQueue>, messages: impl IntoIterator<Item = Arc<ReceivedMessage>>) -> Self {
        let mut messages = messages.into_iter();
        let messages = match (messages.next(), messages.next()) {
            (Some(one), None) => Together::One(one),
            (first, second) => Together::Many(first.into_iter().chain(second).chain(messages).collect()),
        };
        Self { queue, messages }
    }

    /// Where they come from. Of messages that come again its topic is `%RETRY%group`, while that of the messages is
    /// their own.
    #[must_use]
    pub fn queue(&self) -> &MessageQueue {
        &self.queue
    }

    /// The messages, at least one, in the order of the queue.
    #[must_use]
    pub fn messages(&self) -> &[Arc<ReceivedMessage>] {
        match &self.messages {
            Together::One(one) => std::slice::from_ref(one),
            Together::Many(many) => many,
        }
    }
}

impl Deref for Batch {
    type Target = [Arc<ReceivedMessage>];

    fn deref(&self) -> &Self::Target {
        self.messages()
    }
}

impl<'a> IntoIterator for &'a Batch {
    type Item = &'a Arc<ReceivedMessage>;
    type IntoIter = std::slice::Iter<'a, Arc<ReceivedMessage>>;

    fn into_iter(self) -> Self::IntoIter {
        self.messages().iter()
    }
}

/// How a handler ended. Java: `ConsumeReturnType`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    Outcome(Outcome),
    Panicked(String),
    TimedOut,
}

/// A handler of any type.
pub(crate) trait AnyHandler: Send + Sync {
    fn call(&self, batch: Batch) -> Pin<Box<dyn Future<Output = Outcome> + Send + '_>>;
}

impl<H: Handler> AnyHandler for H {
    fn call(&self, batch: Batch) -> Pin<Box<dyn Future<Output = Outcome> + Send + '_>> {
        Box::pin(async move { self.handle(batch).await })
    }
}

/// Runs a handler: whatever it does, this comes back, unless it blocks its thread.
pub(crate) async fn run(handler: &dyn AnyHandler, batch: Batch, timeout: Duration) -> Ended {
    let span = debug_span!("consume", queue = %batch.queue(), messages = batch.len());
    let mut call = AssertUnwindSafe(handler.call(batch).instrument(span)).catch_unwind();
    // Most handlers are done at once: those need no timer.
    let first = std::future::poll_fn(|context| std::task::Poll::Ready(call.poll_unpin(context))).await;
    let ended = match first {
        std::task::Poll::Ready(ended) => Some(ended),
        std::task::Poll::Pending => tokio::time::timeout(timeout, &mut call).await.ok(),
    };
    let dropped = catch_unwind(AssertUnwindSafe(|| drop(call)));
    match (ended, dropped) {
        (Some(Ok(outcome)), _) => Ended::Outcome(outcome),
        (Some(Err(panic)), _) => Ended::Panicked(text_of(panic.as_ref())),
        (None, Err(panic)) => Ended::Panicked(text_of(panic.as_ref())),
        (None, Ok(())) => Ended::TimedOut,
    }
}

/// Tells of a handler that did not end well. Gives what becomes of its batch.
pub(crate) fn outcome_of(ended: Ended, group: &str, queue: &MessageQueue) -> Outcome {
    match ended {
        Ended::Outcome(outcome) => outcome,
        Ended::Panicked(panic) => {
            error!(group, %queue, panic, "a handler panicked, its messages come again");
            Outcome::Retry
        }
        Ended::TimedOut => {
            error!(group, %queue, "a handler took longer than the consume timeout and was ended, its messages come again");
            // Java: `ProcessQueue#cleanExpiredMsg`.
            Outcome::RetryAtLevel(3)
        }
    }
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no text".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch() -> Batch {
        Batch::new(Arc::new(MessageQueue::new("t", "b", 0)), [])
    }

    #[tokio::test(start_paused = true)]
    async fn whatever_a_handler_does_it_comes_back() {
        let check = async |handler: &dyn AnyHandler, expected: Ended| {
            assert_eq!(run(handler, batch(), Duration::from_secs(900)).await, expected);
        };
        check(&|_| async {}, Ended::Outcome(Outcome::Success)).await;
        check(&|_| async { Err::<(), _>("no") }, Ended::Outcome(Outcome::Retry)).await;
        check(&|_| std::future::pending::<()>(), Ended::TimedOut).await;
        let sleeps = |_| async {
            tokio::time::sleep(Duration::from_secs(899)).await;
            Outcome::Partly(1)
        };
        check(&sleeps, Ended::Outcome(Outcome::Partly(1))).await;
        fn boom(text: &str) -> Outcome {
            panic!("{text}")
        }
        check(&|_| async { boom("at once") }, Ended::Panicked("at once".into())).await;
        // Before there is a future.
        let early = |_| {
            boom("early");
            async {}
        };
        check(&early, Ended::Panicked("early".into())).await;
        let late = |_| async {
            tokio::task::yield_now().await;
            boom("late")
        };
        check(&late, Ended::Panicked("late".into())).await;
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                boom("dropped");
            }
        }
        let bomb = |_| async {
            let _bomb = Bomb;
            std::future::pending::<()>().await;
        };
        check(&bomb, Ended::Panicked("dropped".into())).await;
        check(&blocking(|_| boom("blocking")), Ended::Panicked("blocking".into())).await;
        check(&blocking(|_| Outcome::DeadLetter), Ended::Outcome(Outcome::DeadLetter)).await;
    }

    #[test]
    fn outcomes_become_levels_and_suspensions() {
        let s = Duration::from_secs;
        for (outcome, consumed, level, suspension) in [
            (Outcome::Success, 3, 0, s(1)),
            (Outcome::Partly(2), 2, 0, s(1)),
            (Outcome::Partly(9), 3, 0, s(1)),
            (Outcome::Retry, 0, 0, s(1)),
            (Outcome::RetryAtLevel(2), 0, 2, s(5)),
            (Outcome::RetryAtLevel(-7), 0, 0, s(1)),
            (Outcome::RetryAtLevel(99), 0, 18, s(30)),
            (Outcome::RetryAfter(s(6)), 0, 3, s(6)),
            (Outcome::RetryAfter(s(0)), 0, 1, Duration::from_millis(10)),
            (Outcome::RetryAfter(s(9999)), 0, 18, s(30)),
            (Outcome::DeadLetter, 0, -1, s(1)),
        ] {
            let found = (outcome.consumed(3), outcome.level(), outcome.suspension(s(1)));
            assert_eq!(found, (consumed, level, suspension), "{outcome:?}");
        }
    }
}
