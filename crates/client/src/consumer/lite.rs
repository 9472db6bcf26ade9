// SPDX-License-Identifier: Apache-2.0
//! The lite pull consumer: the application asks for messages when it wants some.
//!
//! It is a push consumer without a handler: queues are shared, pulled and committed alike; who polls takes the place of
//! the workers.
//!
//! Java: `DefaultLitePullConsumer`, `DefaultLitePullConsumerImpl`.

use super::{
    allocate::Allocation,
    answers::Answers,
    calls::{Calls, RequestError},
    handler::Batch,
    held::{Held, now_ms},
    keeper::Keeper,
    options::{ConsumerOptions, ConsumerOptionsError, Model, check_group, check_topic},
    push::{ConsumerError, Shutdown, local_offsets},
    shared::{Shared, Taker},
    start::ConsumeFrom,
    subscription::{Filter, Subscription},
};
use crate::{Client, MessageQueue, ReceivedMessage, instance::Side};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use thiserror::Error;
use tokio::task::JoinHandle;
use tracing::info;

/// How a lite pull consumer behaves. All has Java's defaults; only the group must be given. What is said twice in
/// [`ConsumerOptions`] has the ranges that stand there.
#[derive(Debug, Clone)]
#[must_use]
pub struct LiteOptions {
    inner: ConsumerOptions,
    auto_commit: bool,
    poll_max: usize,
}

impl LiteOptions {
    /// Options of a member of `group`.
    pub fn new(group: impl Into<String>) -> Self {
        let inner = ConsumerOptions::new(group).pull_batch_max(10).total_bounds(10_000, 1 << 30);
        Self { inner, auto_commit: true, poll_max: 10 }
    }

    /// Who gets a message: one member (the default), or every one.
    pub fn model(mut self, model: Model) -> Self {
        self.inner = self.inner.model(model);
        self
    }

    /// Where the group begins in a queue that is new to it; by default behind the last message.
    pub fn consume_from(mut self, from: ConsumeFrom) -> Self {
        self.inner = self.inner.consume_from(from);
        self
    }

    /// How subscribed queues are shared by the members; evenly by default. All members must say the same.
    pub fn allocation(mut self, allocation: Allocation) -> Self {
        self.inner = self.inner.allocation(allocation);
        self
    }

    /// Whether offsets are committed without [`LitePullConsumer::commit`]; they are by default. A message counts as
    /// consumed when the next poll begins.
    pub fn auto_commit(mut self, auto_commit: bool) -> Self {
        self.auto_commit = auto_commit;
        self
    }

    /// How often offsets are committed without [`LitePullConsumer::commit`], 10 ms to 10 min; 5 s by default.
    pub fn auto_commit_interval(mut self, interval: Duration) -> Self {
        self.inner = self.inner.persist_interval(interval);
        self
    }

    /// Most messages of one poll, 1 to 1024; 10 by default. They are of one queue.
    pub fn poll_max(mut self, messages: usize) -> Self {
        self.poll_max = messages;
        self
    }

    /// Most messages of one pull, 1 to 1024; 10 by default. Java: `pullBatchSize`.
    pub fn pull_batch_max(mut self, messages: usize) -> Self {
        self.inner = self.inner.pull_batch_max(messages);
        self
    }

    /// See [`ConsumerOptions::queue_bounds`].
    pub fn queue_bounds(mut self, messages: usize, bytes: usize) -> Self {
        self.inner = self.inner.queue_bounds(messages, bytes);
        self
    }

    /// See [`ConsumerOptions::total_bounds`]; 10,000 messages and 1 GiB by default. Java: `pullThresholdForAll`.
    pub fn total_bounds(mut self, messages: usize, bytes: usize) -> Self {
        self.inner = self.inner.total_bounds(messages, bytes);
        self
    }

    /// See [`ConsumerOptions::local_offsets`].
    pub fn local_offsets(mut self, folder: impl Into<PathBuf>) -> Self {
        self.inner = self.inner.local_offsets(folder);
        self
    }
}

/// Why a lite pull consumer did not do what it was asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LiteError {
    /// Options, topics or filters that make no sense, or the consumer cannot be started.
    #[error(transparent)]
    Start(#[from] ConsumerError),
    /// A broker did not do what was asked.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// Java: "Subscribe and assign are mutually exclusive."
    #[error("a consumer either subscribes or assigns queues itself, not both")]
    SubscribeAndAssign,
    /// The queue is not held now.
    #[error("{0} is not assigned to this consumer now")]
    NotAssigned(MessageQueue),
    /// An offset that the queue does not have.
    #[error("offset {offset} of {queue} is not within {min} and {max}")]
    OutOfRange {
        /// The queue.
        queue: MessageQueue,
        /// What was asked for.
        offset: i64,
        /// Offset of its first message.
        min: i64,
        /// Offset behind its last one.
        max: i64,
    },
    /// Offsets could not be committed.
    #[error("the offsets of {0} queues could not be committed")]
    Uncommitted(usize),
}

/// Gives messages to an application that polls. Java: `DefaultLitePullConsumer`.
///
/// Either it [`subscribe`](Self::subscribe)s to topics, whose queues are then shared by the members of the group, or the
/// application [`assign`](Self::assign)s queues itself. Messages that were polled count as consumed when the next poll
/// begins; so an application that fails in between gets them again. Nothing is retried: an application that cannot use
/// a message seeks back or sends it somewhere.
///
/// Queues are pulled ahead, within bounds, by tasks on the tokio runtime in which it was started. End it with [`Self::shutdown`]; one
/// that is only dropped tells nobody, see [`PushConsumer`](super::PushConsumer).
#[must_use = "it ends when it is dropped"]
pub struct LitePullConsumer {
    shared: Arc<Shared>,
    /// As long as this lives, heartbeats tell of it.
    /// The client knows it only as long as somebody holds it.
    _member: Arc<Answers>,
    keeper: Option<JoinHandle<()>>,
    poll_max: usize,
    /// What was polled and is not finished.
    polled: Mutex<Vec<(Arc<Held>, u64, Batch)>>,
}

impl LitePullConsumer {
    /// Starts one, without a topic yet: [`Self::subscribe`] or [`Self::assign`] comes next.
    ///
    /// # Errors
    /// [`ConsumerError`].
    pub async fn start(client: &Client, options: LiteOptions) -> Result<Self, ConsumerError> {
        let LiteOptions { inner, auto_commit, poll_max } = options;
        check_group(&inner.group)?;
        // What is subscribed to comes later; the other options are checked with any topic.
        inner.clone().subscribe("any", "*").batch_max(poll_max).check()?;
        let local = local_offsets(client, &inner)?;
        let calls = Calls::new(client.clone(), &inner.group.as_str().into());
        let taker = Taker::Poll { auto_commit };
        let shared = Arc::new(Shared::new(inner, false, taker, calls, BTreeMap::new(), local));
        let member = Arc::new(Answers::new(&shared));
        client.join(Side::Consumer, &member).map_err(ConsumerError::from)?;
        let keeper = tokio::spawn(Keeper::new(shared.clone()).run());
        info!(group = shared.group(), client_id = &**client.client_id(), "lite pull consumer started");
        Ok(Self { shared, _member: member, keeper: Some(keeper), poll_max, polled: Mutex::default() })
    }

    /// Subscribes to a topic, or to the same with another filter. Its queues come when the members have shared them: until then a poll
    /// finds nothing.
    ///
    /// # Errors
    /// [`LiteError::SubscribeAndAssign`]; [`LiteError::Start`] for a topic or filter that cannot be.
    pub async fn subscribe(&self, topic: &str, filter: impl Into<Filter>) -> Result<(), LiteError> {
        if self.shared.assigned().is_some() {
            return Err(LiteError::SubscribeAndAssign);
        }
        check_topic(topic).map_err(ConsumerError::from)?;
        let subscription = Subscription::new(topic, &filter.into(), now_ms()).map_err(ConsumerError::from)?;
        self.shared.add_subscription(Arc::new(subscription));
        self.shared.calls.refresh(topic).await;
        self.shared.calls.heartbeat().await;
        self.shared.rebalance.notify_one();
        Ok(())
    }

    /// Subscribes to a topic no more.
    pub async fn unsubscribe(&self, topic: &str) {
        self.shared.subscriptions().remove(topic);
        self.shared.rebalance.notify_one();
        self.shared.calls.heartbeat().await;
    }

    /// Takes these queues and no others, whatever other members do. Offsets are those of the group.
    ///
    /// # Errors
    /// [`LiteError::SubscribeAndAssign`].
    pub async fn assign(&self, queues: impl IntoIterator<Item = MessageQueue>) -> Result<(), LiteError> {
        let queues: BTreeSet<_> = queues.into_iter().collect();
        let topics: BTreeSet<_> = queues.iter().map(|queue| queue.topic.clone()).collect();
        {
            let mut assigned = self.shared.assigned();
            if assigned.is_none() && !self.shared.subscriptions().is_empty() {
                return Err(LiteError::SubscribeAndAssign);
            }
            for topic in &topics {
                let subscription =
                    Subscription::new(topic, &Filter::all(), now_ms()).map_err(ConsumerError::from)?;
                self.shared.add_subscription(Arc::new(subscription));
            }
            *assigned = Some(queues);
        }
        for topic in &topics {
            self.shared.calls.refresh(topic).await;
        }
        self.shared.rebalance.notify_one();
        Ok(())
    }

    /// The queues of a topic, to choose from.
    ///
    /// # Errors
    /// [`LiteError::Request`] if there is no such topic or no name server answers.
    pub async fn queues(&self, topic: &str) -> Result<Vec<MessageQueue>, LiteError> {
        Ok(self.shared.calls.queues(topic).await?)
    }

    /// The queues that it holds now.
    #[must_use]
    pub fn assignment(&self) -> Vec<MessageQueue> {
        self.shared.held_queues()
    }

    /// The next messages, of one queue, at most [`LiteOptions::poll_max`]; none if none came within `timeout`. What was polled before
    /// counts as consumed (with auto commit). Several tasks may poll; then what one polls counts when any polls again. A poll whose
    /// future is dropped has taken nothing.
    pub async fn poll(&self, timeout: Duration) -> Vec<Arc<ReceivedMessage>> {
        self.finish_polled();
        let next = async {
            loop {
                let Some(held) = self.shared.line.next().await else {
                    // The consumer ended.
                    return std::future::pending().await;
                };
                if held.is_released() || held.is_paused() {
                    continue;
                }
                let (epoch, messages, more) = held.change(|state| {
                    let messages = state.take(self.poll_max, now_ms());
                    (state.epoch(), messages, state.waiting() > 0)
                });
                if more {
                    self.shared.line.join(&held);
                }
                if !messages.is_empty() {
                    return (held, epoch, messages);
                }
            }
        };
        let Ok((held, epoch, messages)) = tokio::time::timeout(timeout, next).await else {
            return Vec::new();
        };
        held.stats.consumed(messages.len(), 0, 0);
        let batch = Batch::new(held.queue.clone(), messages.iter().cloned());
        self.polled().push((held, epoch, batch));
        messages
    }

    /// Commits all that was polled so far, by whichever task, and waits until the brokers have it.
    ///
    /// # Errors
    /// [`LiteError::Uncommitted`]; what is not committed is tried again with the next commit.
    pub async fn commit(&self) -> Result<(), LiteError> {
        self.finish_polled();
        match self.shared.persist(&self.shared.held()).await {
            0 => Ok(()),
            failed => Err(LiteError::Uncommitted(failed)),
        }
    }

    /// The group's committed offset of a queue: the next message to consume. `None` if it has none.
    ///
    /// # Errors
    /// [`LiteError::Request`].
    pub async fn committed(&self, queue: &MessageQueue) -> Result<Option<i64>, LiteError> {
        Ok(self.shared.committed(queue).await?)
    }

    /// Goes on at `offset`, forward or back, in messages from 0. What was pulled ahead of the queue is let go.
    ///
    /// # Errors
    /// [`LiteError::NotAssigned`], [`LiteError::OutOfRange`], [`LiteError::Request`].
    pub async fn seek(&self, queue: &MessageQueue, offset: i64) -> Result<(), LiteError> {
        let held = self.held(queue)?;
        let (min, max) =
            (self.shared.calls.min_offset(queue).await?, self.shared.calls.max_offset(queue).await?);
        if !(min..=max).contains(&offset) {
            return Err(LiteError::OutOfRange { queue: queue.clone(), offset, min, max });
        }
        held.move_to(offset);
        Ok(())
    }

    /// Goes on with the first message that is still there.
    ///
    /// # Errors
    /// As [`Self::seek`].
    pub async fn seek_to_begin(&self, queue: &MessageQueue) -> Result<(), LiteError> {
        let held = self.held(queue)?;
        held.move_to(self.shared.calls.min_offset(queue).await?);
        Ok(())
    }

    /// Goes on behind the last message.
    ///
    /// # Errors
    /// As [`Self::seek`].
    pub async fn seek_to_end(&self, queue: &MessageQueue) -> Result<(), LiteError> {
        let held = self.held(queue)?;
        held.move_to(self.shared.calls.max_offset(queue).await?);
        Ok(())
    }

    /// The offset of the first message of a queue stored at or after a time in ms since 1970.
    ///
    /// # Errors
    /// [`LiteError::Request`].
    pub async fn offset_for_timestamp(&self, queue: &MessageQueue, ms: i64) -> Result<i64, LiteError> {
        Ok(self.shared.calls.search_offset(queue, ms).await?)
    }

    /// Gives nothing of these queues until [`Self::resume`].
    pub fn pause<'a>(&self, queues: impl IntoIterator<Item = &'a MessageQueue>) {
        for held in queues.into_iter().filter_map(|queue| self.held(queue).ok()) {
            held.pause(true);
        }
    }

    /// Goes on after [`Self::pause`].
    pub fn resume<'a>(&self, queues: impl IntoIterator<Item = &'a MessageQueue>) {
        for held in queues.into_iter().filter_map(|queue| self.held(queue).ok()) {
            held.pause(false);
            if held.state().waiting() > 0 {
                self.shared.line.join(&held);
            }
        }
    }

    /// Ends it. With auto commit all that was polled is committed, also the last messages. If the future is dropped, it ends all the
    /// same.
    pub async fn shutdown(mut self) -> Shutdown {
        self.finish_polled();
        self.shared.stop();
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.await;
        }
        *self.shared.shutdown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held(&self, queue: &MessageQueue) -> Result<Arc<Held>, LiteError> {
        let held = self.shared.queues().get(queue).filter(|held| !held.is_released()).cloned();
        held.ok_or_else(|| LiteError::NotAssigned(queue.clone()))
    }

    fn polled(&self) -> MutexGuard<'_, Vec<(Arc<Held>, u64, Batch)>> {
        self.polled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn finish_polled(&self) {
        let polled = std::mem::take(&mut *self.polled());
        for (held, epoch, batch) in polled {
            held.finish(epoch, &batch);
        }
    }
}

impl Drop for LitePullConsumer {
    fn drop(&mut self) {
        if let Some(keeper) = self.keeper.take()
            && !self.shared.is_stopping()
        {
            keeper.abort();
        }
    }
}

impl From<ConsumerOptionsError> for LiteError {
    fn from(error: ConsumerOptionsError) -> Self {
        Self::Start(error.into())
    }
}

impl std::fmt::Debug for LitePullConsumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LitePullConsumer").field("shared", &self.shared).finish_non_exhaustive()
    }
}
