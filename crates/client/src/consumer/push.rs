// SPDX-License-Identifier: Apache-2.0
//! The push consumer: its start and its end.
//!
//! Java: `DefaultMQPushConsumer`, `DefaultMQPushConsumerImpl`.

use super::{
    answers::Answers,
    calls::{Calls, RequestError},
    handler::Handler,
    held::now_ms,
    keeper::Keeper,
    local_offsets::{LocalOffsets, LocalOffsetsError},
    options::{ConsumerOptions, ConsumerOptionsError, Model, check_topic},
    shared::{Shared, Taker},
    stats::ConsumeTotals,
    subscription::{Filter, FilterError, Subscription},
};
use crate::{Client, MessageQueue, instance::Side};
use oxmq_types::retry_topic;
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};
use thiserror::Error;
use tokio::task::JoinHandle;
use tracing::info;

/// Why a consumer cannot be started or changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConsumerError {
    /// Options that make no sense.
    #[error(transparent)]
    Options(#[from] ConsumerOptionsError),
    /// A filter that says nothing.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// A broker refused an SQL92 filter, or could not be asked about it.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The group consumes with this client already, or the client was shut down.
    #[error(transparent)]
    Join(#[from] crate::StartError),
    /// The offsets of a broadcasting consumer cannot be read.
    #[error(transparent)]
    LocalOffsets(#[from] LocalOffsetsError),
    /// There is no home folder for them.
    #[error("there is no home folder for the offsets of a broadcasting consumer; set local_offsets")]
    NoFolder,
}

/// How a consumer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Shutdown {
    /// Batches whose handlers did not end in time; their messages come again to another member.
    pub unfinished_handlers: usize,
    /// Queues of which the last offset could not be committed; some of their messages come again.
    pub uncommitted_queues: usize,
}

/// Receives messages and gives them to a handler. Java: `DefaultMQPushConsumer`.
///
/// It pulls from its share of the queues, holds what is not consumed within bounds, commits offsets every 5 s, and shares
/// queues anew when members of the group come or go. Its tasks and its handlers run on the tokio runtime in which it was started.
///
/// End it with [`Self::shutdown`]: that ends pulling, waits for handlers, commits, and tells the brokers, so that
/// nothing is repeated. If it is only dropped, its tasks end at once, handlers at their `.await`, and nobody is told: nothing is
/// lost, but its queues go to others only when the connections of its client close, else after two minutes, and what was consumed
/// since the last commit is repeated then.
#[must_use = "it ends when it is dropped"]
pub struct PushConsumer {
    shared: Arc<Shared>,
    /// As long as this lives, heartbeats tell of it.
    /// The client knows it only as long as somebody holds it.
    _member: Arc<Answers>,
    keeper: Option<JoinHandle<()>>,
}

impl PushConsumer {
    /// Starts a concurrent consumer: up to [`ConsumerOptions::concurrency`] batches at a time, in any order.
    ///
    /// Comes back when the brokers know of it. A topic that does not exist yet is no error, nor is a server that cannot be reached:
    /// both are tried every second. A start whose future is dropped ends as a consumer that is dropped.
    ///
    /// # Errors
    /// [`ConsumerError`]; [`ConsumerError::Request`] if a broker refuses an SQL92 filter or cannot be asked about it.
    pub async fn start(
        client: &Client,
        options: ConsumerOptions,
        handler: impl Handler,
    ) -> Result<Self, ConsumerError> {
        Self::start_any(client, options, handler, false).await
    }

    /// Starts an orderly consumer: one batch of each queue at a time, in the order of the queue, and none before the one
    /// before it succeeded. Messages that must stay in order must be sent to one queue, as
    /// [`Producer::send_ordered`](crate::Producer::send_ordered) does.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_orderly(
        client: &Client,
        options: ConsumerOptions,
        handler: impl Handler,
    ) -> Result<Self, ConsumerError> {
        Self::start_any(client, options, handler, true).await
    }

    async fn start_any(
        client: &Client,
        options: ConsumerOptions,
        handler: impl Handler,
        orderly: bool,
    ) -> Result<Self, ConsumerError> {
        options.check()?;
        let local = local_offsets(client, &options)?;
        let version = now_ms();
        let mut subscriptions = BTreeMap::new();
        for (topic, filter) in &options.subscriptions {
            subscriptions.insert(topic.clone(), Arc::new(Subscription::new(topic, filter, version)?));
        }
        if options.model == Model::Clustering {
            let topic = retry_topic(&options.group);
            let subscription = Subscription::new(&topic, &Filter::all(), version)?;
            subscriptions.insert(topic, Arc::new(subscription));
        }
        let calls = Calls::new(client.clone(), &options.group.as_str().into());
        let taker = Taker::Handler(Box::new(handler));
        let shared = Arc::new(Shared::new(options, orderly, taker, calls, subscriptions, local));
        let member = Arc::new(Answers::new(&shared));
        client.join(Side::Consumer, &member)?;
        // From here on, dropping this takes it back.
        let mut consumer = Self { shared: shared.clone(), _member: member, keeper: None };
        for topic in shared.options.subscriptions.keys() {
            shared.calls.refresh(topic).await;
        }
        shared.check_filters().await?;
        shared.calls.heartbeat().await;
        consumer.keeper = Some(tokio::spawn(Keeper::new(shared.clone()).run()));
        info!(group = shared.group(), client_id = &**client.client_id(), orderly, "consumer started");
        Ok(consumer)
    }

    /// The group.
    #[must_use]
    pub fn group(&self) -> &str {
        self.shared.group()
    }

    /// The queues that it holds now.
    #[must_use]
    pub fn queues(&self) -> Vec<MessageQueue> {
        self.shared.held_queues()
    }

    /// What it did since it was started, by topic. Messages that came again count for their `%RETRY%` topic.
    #[must_use]
    pub fn totals(&self) -> Vec<(String, ConsumeTotals)> {
        self.shared.all_stats()
    }

    /// Messages that it holds (pulled, not finished), and bytes of their bodies.
    #[must_use]
    pub fn in_flight(&self) -> (usize, usize) {
        (self.shared.totals.count(), self.shared.totals.bytes())
    }

    /// Pulls nothing until [`Self::resume`]. What was pulled is still consumed. Java: `suspend`.
    pub fn pause(&self) {
        self.shared.pause(true);
    }

    /// Goes on after [`Self::pause`].
    pub fn resume(&self) {
        self.shared.pause(false);
    }

    /// Subscribes to one more topic, or to the same with another filter.
    ///
    /// # Errors
    /// [`ConsumerError::Options`] or [`ConsumerError::Filter`]. What a broker thinks of an SQL92 filter shows in the log.
    pub async fn subscribe(&self, topic: &str, filter: impl Into<Filter>) -> Result<(), ConsumerError> {
        check_topic(topic)?;
        let subscription = Arc::new(Subscription::new(topic, &filter.into(), now_ms())?);
        self.shared.add_subscription(subscription);
        self.shared.calls.refresh(topic).await;
        self.shared.calls.heartbeat().await;
        self.shared.rebalance.notify_one();
        Ok(())
    }

    /// Subscribes to a topic no more; its queues are let go, their offsets committed.
    pub async fn unsubscribe(&self, topic: &str) {
        self.shared.subscriptions().remove(topic);
        self.shared.rebalance.notify_one();
        self.shared.calls.heartbeat().await;
    }

    /// Ends it: pulls no more, waits for the handlers that run (up to [`ConsumerOptions::shutdown_timeout`]), commits all
    /// offsets, unlocks queues, and leaves the group (10 s for all three). Messages that were pulled and not given to a handler go to
    /// others. If the future is dropped, it ends all the same.
    pub async fn shutdown(mut self) -> Shutdown {
        self.shared.stop();
        if let Some(keeper) = self.keeper.take() {
            // The keeper ends by itself, within bounds. Should this future be dropped, it still does.
            let _ = keeper.await;
        }
        let shutdown = *self.shared.shutdown.lock().unwrap_or_else(PoisonError::into_inner);
        info!(group = self.group(), ?shutdown, "consumer ended");
        shutdown
    }
}

/// The file of offsets of a broadcasting consumer.
pub(super) fn local_offsets(
    client: &Client,
    options: &ConsumerOptions,
) -> Result<Option<Arc<Mutex<LocalOffsets>>>, ConsumerError> {
    if options.model == Model::Clustering {
        return Ok(None);
    }
    let folder = match &options.local_offsets {
        Some(folder) => folder.clone(),
        None => {
            let home = std::env::var_os("HOME").ok_or(ConsumerError::NoFolder)?;
            PathBuf::from(home).join(".rocketmq_offsets")
        }
    };
    let offsets = LocalOffsets::open(&folder, client.client_id(), &options.group)?;
    Ok(Some(Arc::new(Mutex::new(offsets))))
}

impl std::fmt::Debug for PushConsumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PushConsumer").field("shared", &self.shared).finish_non_exhaustive()
    }
}

impl Drop for PushConsumer {
    fn drop(&mut self) {
        if let Some(keeper) = self.keeper.take()
            && !self.shared.is_stopping()
        {
            // Its tasks end with it.
            keeper.abort();
        }
    }
}
