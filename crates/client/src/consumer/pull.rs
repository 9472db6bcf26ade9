// SPDX-License-Identifier: Apache-2.0
//! Pulls by hand. Java: `DefaultMQPullConsumer`.

use super::{
    calls::{Calls, Pull, PullStatus, Pulled, RequestError},
    held::now_ms,
    options::{ConsumerOptionsError, check_group},
    pulling::{HELD_TIMEOUT, HOLD},
    subscription::{Filter, FilterError, Subscription},
};
use crate::{Client, MessageQueue, ReceivedMessage};
use std::time::Duration;
use thiserror::Error;

/// How long a pull that is not held may take. Java: `consumerPullTimeoutMillis`.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Most bytes of one pull.
const BYTES_MAX: usize = 4 << 20;

/// What one pull found. Java: `PullResult`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PullResult {
    /// What there is.
    pub status: PullStatus,
    /// The messages, for [`PullStatus::Found`]; none if the tags of all turned out to be others.
    pub messages: Vec<ReceivedMessage>,
    /// Where the next pull should begin, in messages from 0.
    pub next_offset: i64,
    /// Offset of the first message of the queue.
    pub min_offset: i64,
    /// Offset behind its last one.
    pub max_offset: i64,
}

/// Why a pull failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PullError {
    /// A filter that says nothing.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// A broker did not do what was asked.
    #[error(transparent)]
    Request(#[from] RequestError),
}

/// Pulls from queues and offsets that the application chooses, and keeps no state of its own: for tools, replays, and
/// applications that keep their offsets themselves. Cheap to clone. Offsets are in messages, from 0. Requests other than pulls
/// have 5 s. Java: `DefaultMQPullConsumer`.
#[derive(Debug, Clone)]
pub struct PullConsumer {
    calls: Calls,
}

impl PullConsumer {
    /// A consumer of `group`, under whose name offsets are kept. It is no member of the group: no queues are given to
    /// it, and tools do not list it.
    ///
    /// # Errors
    /// [`ConsumerOptionsError`] for a name that cannot be.
    pub fn new(client: &Client, group: &str) -> Result<Self, ConsumerOptionsError> {
        check_group(group)?;
        Ok(Self { calls: Calls::new(client.clone(), &group.into()) })
    }

    /// The queues of a topic that can be read, sorted by broker and number.
    ///
    /// # Errors
    /// [`RequestError`] if there is no such topic or no name server answers.
    pub async fn queues(&self, topic: &str) -> Result<Vec<MessageQueue>, RequestError> {
        self.calls.queues(topic).await
    }

    /// Pulls up to `count` messages of `queue` from `offset` on; brokers give 32 and 256 KiB at most, unless they are set up for more. An
    /// answer comes at once, and is waited for 10 s.
    ///
    /// # Errors
    /// [`PullError`]. That there is nothing is none: see [`PullResult::status`].
    pub async fn pull(
        &self,
        queue: &MessageQueue,
        filter: &Filter,
        offset: i64,
        count: usize,
    ) -> Result<PullResult, PullError> {
        self.pull_any(queue, filter, offset, count, None).await
    }

    /// The same, but if there is nothing yet, the broker holds the pull for up to 15 s, and the answer is waited for 30 s. Java:
    /// `pullBlockIfNotFound`.
    ///
    /// # Errors
    /// [`PullError`].
    pub async fn pull_or_wait(
        &self,
        queue: &MessageQueue,
        filter: &Filter,
        offset: i64,
        count: usize,
    ) -> Result<PullResult, PullError> {
        self.pull_any(queue, filter, offset, count, Some(HOLD)).await
    }

    async fn pull_any(
        &self,
        queue: &MessageQueue,
        filter: &Filter,
        offset: i64,
        count: usize,
        hold: Option<Duration>,
    ) -> Result<PullResult, PullError> {
        let subscription = Subscription::new(&queue.topic, filter, now_ms())?;
        let pull = Pull {
            queue,
            offset,
            count_max: count,
            bytes_max: BYTES_MAX,
            commit: None,
            hold,
            timeout: if hold.is_some() { HELD_TIMEOUT } else { TIMEOUT },
            subscription: &subscription,
            own_filter: true,
            broker_id: 0,
        };
        let Pulled { status, messages, next, min, max, .. } = self.calls.pull(&pull).await?;
        Ok(PullResult { status, messages, next_offset: next, min_offset: min, max_offset: max })
    }

    /// Offset of the first message of a queue.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn min_offset(&self, queue: &MessageQueue) -> Result<i64, RequestError> {
        self.calls.min_offset(queue).await
    }

    /// Offset behind the last message of a queue.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn max_offset(&self, queue: &MessageQueue) -> Result<i64, RequestError> {
        self.calls.max_offset(queue).await
    }

    /// Offset of the first message stored at or after a time in ms since 1970.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn search_offset(&self, queue: &MessageQueue, ms: i64) -> Result<i64, RequestError> {
        self.calls.search_offset(queue, ms).await
    }

    /// The group's committed offset. `None` if it has none.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn committed(&self, queue: &MessageQueue) -> Result<Option<i64>, RequestError> {
        self.calls.committed(queue).await
    }

    /// Commits an offset, the next message to consume, and waits until the broker has it. Whether members of the group that run go by it
    /// is up to them: they commit their own.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn commit(&self, queue: &MessageQueue, offset: i64) -> Result<(), RequestError> {
        self.calls.commit(queue, offset).await
    }
}
