// SPDX-License-Identifier: Apache-2.0
//! How a consumer behaves, checked before it starts.
//!
//! Java: the setters of `DefaultMQPushConsumer`, `#checkConfig`.

use super::{
    allocate::Allocation,
    hook::ConsumeHook,
    start::ConsumeFrom,
    subscription::{Filter, FilterError, Subscription},
};
use oxmq_types::{validate_group, validate_topic};
use std::{collections::BTreeMap, fmt, path::PathBuf, sync::Arc, time::Duration};
use thiserror::Error;

/// Who gets a message. Java: `MessageModel`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Model {
    /// One member of the group.
    #[default]
    Clustering,
    /// Every member. Offsets are kept in a file on the member's machine ([`ConsumerOptions::local_offsets`]), and nothing is
    /// retried.
    Broadcasting,
}

impl Model {
    /// Java's name of it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Clustering => "CLUSTERING",
            Self::Broadcasting => "BROADCASTING",
        }
    }
}

/// What a push consumer wants and how it behaves. All has Java's defaults; only group and topics must be given. Values out of their
/// range are told when the consumer is started ([`Self::check`]).
///
/// ```
/// use oxmq_client::consumer::{ConsumeFrom, ConsumerOptions, Filter};
/// use std::time::Duration;
///
/// let options = ConsumerOptions::new("payments")
///     .subscribe("orders", "paid || refunded")
///     .subscribe("audit", Filter::sql("amount > 1000"))
///     .consume_from(ConsumeFrom::FirstOffset)
///     .concurrency(8)
///     .consume_timeout(Duration::from_secs(60));
/// assert!(options.check().is_ok());
/// ```
#[derive(Clone)]
#[must_use]
pub struct ConsumerOptions {
    pub(crate) group: String,
    pub(crate) subscriptions: BTreeMap<String, Filter>,
    pub(crate) model: Model,
    pub(crate) from: ConsumeFrom,
    pub(crate) allocation: Allocation,
    pub(crate) batch_max: usize,
    pub(crate) concurrency: usize,
    pub(crate) pull_batch_max: usize,
    pub(crate) pull_bytes_max: usize,
    pub(crate) pull_interval: Duration,
    pub(crate) error_pause: Duration,
    pub(crate) queue_count_max: usize,
    pub(crate) queue_bytes_max: usize,
    pub(crate) queue_span_max: usize,
    pub(crate) total_count_max: usize,
    pub(crate) total_bytes_max: usize,
    pub(crate) max_reconsume_times: i32,
    pub(crate) suspension: Duration,
    pub(crate) consume_timeout: Duration,
    pub(crate) shutdown_timeout: Duration,
    pub(crate) persist_interval: Duration,
    pub(crate) local_offsets: Option<PathBuf>,
    pub(crate) hooks: Vec<Arc<dyn ConsumeHook>>,
}

/// Why options cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConsumerOptionsError {
    /// The group's name is not allowed: the name, and what is wrong with it.
    #[error("consumer group {0:?}: {1}")]
    Group(String, String),
    /// Java's clients refuse this name, too.
    #[error("consumer group DEFAULT_CONSUMER is reserved, choose another name")]
    DefaultGroup,
    /// A topic's name is not allowed: the name, and what is wrong with it.
    #[error("topic {0:?}: {1}")]
    Topic(String, String),
    /// Nothing to consume.
    #[error("consumer group {0} subscribes to no topic; call subscribe before start")]
    NoTopic(String),
    /// A filter that says nothing.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// A number or a time out of its range.
    #[error("{name} is {found}, but must be within {least} and {most}")]
    Range {
        /// The option.
        name: &'static str,
        /// What it is.
        found: u128,
        /// Its least value.
        least: u128,
        /// Its greatest value.
        most: u128,
    },
}

impl ConsumerOptions {
    /// Options of a member of `group`: up to 255 letters, digits, `_`, `-`, `%` and `|`.
    pub fn new(group: impl Into<String>) -> Self {
        Self {
            group: group.into(),
            subscriptions: BTreeMap::new(),
            model: Model::default(),
            from: ConsumeFrom::default(),
            allocation: Allocation::default(),
            batch_max: 1,
            concurrency: 20,
            pull_batch_max: 32,
            pull_bytes_max: 256 << 10,
            pull_interval: Duration::ZERO,
            error_pause: Duration::from_secs(3),
            queue_count_max: 1000,
            queue_bytes_max: 100 << 20,
            queue_span_max: 2000,
            total_count_max: 100_000,
            total_bytes_max: 1 << 30,
            max_reconsume_times: -1,
            suspension: Duration::from_secs(1),
            consume_timeout: Duration::from_secs(15 * 60),
            shutdown_timeout: Duration::from_secs(30),
            persist_interval: Duration::from_secs(5),
            local_offsets: None,
            hooks: Vec::new(),
        }
    }

    /// Wants messages of `topic`; may be called for several topics. `filter`: tags as text, or a [`Filter`]. All members of a group
    /// must want the same: a broker knows one filter for a group and topic, that of the newest.
    pub fn subscribe(mut self, topic: impl Into<String>, filter: impl Into<Filter>) -> Self {
        self.subscriptions.insert(topic.into(), filter.into());
        self
    }

    /// Who gets a message: one member (the default), or every one.
    pub fn model(mut self, model: Model) -> Self {
        self.model = model;
        self
    }

    /// Where the group begins in a queue that is new to it; by default behind the last message.
    pub fn consume_from(mut self, from: ConsumeFrom) -> Self {
        self.from = from;
        self
    }

    /// How the queues are shared by the members; evenly by default. All members must say the same.
    pub fn allocation(mut self, allocation: Allocation) -> Self {
        self.allocation = allocation;
        self
    }

    /// Most messages that a handler gets at a time, 1 to 1024; 1 by default. A handler is not kept waiting for a batch to
    /// fill. Java: `consumeMessageBatchMaxSize`.
    pub fn batch_max(mut self, messages: usize) -> Self {
        self.batch_max = messages;
        self
    }

    /// Most handlers that run at the same time, 1 to 10,000; 20 by default. For an orderly consumer also at most one for
    /// each queue. Java: `consumeThreadMax`.
    pub fn concurrency(mut self, handlers: usize) -> Self {
        self.concurrency = handlers;
        self
    }

    /// Most messages of one pull, 1 to 1024; 32 by default, which is also most that brokers give. Java: `pullBatchSize`.
    pub fn pull_batch_max(mut self, messages: usize) -> Self {
        self.pull_batch_max = messages;
        self
    }

    /// Most bytes of one pull, 1 to 1 GiB; 256 KiB by default. A larger message comes alone. Java: `pullBatchSizeInBytes`.
    pub fn pull_bytes_max(mut self, bytes: usize) -> Self {
        self.pull_bytes_max = bytes;
        self
    }

    /// Time between two pulls of a queue that brought messages, up to 65 s; none by default. Java: `pullInterval`.
    pub fn pull_interval(mut self, interval: Duration) -> Self {
        self.pull_interval = interval;
        self
    }

    /// How long a queue is not pulled from after an error, 1 ms to 10 min; 3 s by default. Java:
    /// `pullTimeDelayMillsWhenException`.
    pub fn error_pause(mut self, pause: Duration) -> Self {
        self.error_pause = pause;
        self
    }

    /// With more unfinished messages than this of one queue (1 to 65,535; 1000 by default), or more bytes of bodies (1 to 1 GiB;
    /// 100 MiB by default), nothing more is pulled from it. Java: `pullThresholdForQueue`, `pullThresholdSizeForQueue`.
    pub fn queue_bounds(mut self, messages: usize, bytes: usize) -> Self {
        (self.queue_count_max, self.queue_bytes_max) = (messages, bytes);
        self
    }

    /// The same when the first unfinished message of a queue is so many offsets behind the last one; 2000 by default.
    /// It bounds how much is repeated after a crash. Not for orderly consumers. Java: `consumeConcurrentlyMaxSpan`.
    pub fn queue_span_max(mut self, offsets: usize) -> Self {
        self.queue_span_max = offsets;
        self
    }

    /// With more unfinished messages than this of all queues together (100,000), or more bytes of bodies (1 GiB), nothing
    /// more is pulled.
    pub fn total_bounds(mut self, messages: usize, bytes: usize) -> Self {
        (self.total_count_max, self.total_bytes_max) = (messages, bytes);
        self
    }

    /// How often a message is tried again before it becomes a dead letter. -1, the default: 16 times, or for an orderly
    /// consumer for ever. The group's `retryMaxTimes` at the broker counts for clients that do not say. Java:
    /// `maxReconsumeTimes`.
    pub fn max_reconsume_times(mut self, times: i32) -> Self {
        self.max_reconsume_times = times;
        self
    }

    /// How long an ordered queue stands still after its handler failed, 10 ms to 30 s; 1 s by default. Java:
    /// `suspendCurrentQueueTimeMillis`.
    pub fn suspension(mut self, time: Duration) -> Self {
        self.suspension = time;
        self
    }

    /// How long a handler may take for one batch, up to 7 days; 15 minutes by default. Then it is ended, and the batch comes again,
    /// see [`Handler`](super::Handler). Java: `consumeTimeout`.
    pub fn consume_timeout(mut self, timeout: Duration) -> Self {
        self.consume_timeout = timeout;
        self
    }

    /// How long `shutdown` waits for handlers that run, up to a day; 30 s by default. What is not finished then comes again to
    /// another member. Java: `awaitTerminationMillisWhenShutdown`, by default 0.
    pub fn shutdown_timeout(mut self, timeout: Duration) -> Self {
        self.shutdown_timeout = timeout;
        self
    }

    /// How often offsets are committed, 10 ms to 10 min; 5 s by default. So much is repeated after a crash. Java:
    /// `persistConsumerOffsetInterval`.
    pub fn persist_interval(mut self, interval: Duration) -> Self {
        self.persist_interval = interval;
        self
    }

    /// Folder of the offsets of broadcasting consumers; `.rocketmq_offsets` in the home folder by default. Its
    /// subfolder has the client id as its name, so a consumer that is to go on after a restart needs a fixed
    /// [`instance_name`](crate::ClientOptions::instance_name) and [`client_ip`](crate::ClientOptions#structfield.client_ip).
    /// Java: `rocketmq.client.localOffsetStoreDir`.
    pub fn local_offsets(mut self, folder: impl Into<PathBuf>) -> Self {
        self.local_offsets = Some(folder.into());
        self
    }

    /// Tells `hook` of every batch, for traces and metrics. Several are told in the order in which they were added. Java:
    /// `registerConsumeMessageHook`.
    pub fn hook(mut self, hook: impl ConsumeHook) -> Self {
        self.hooks.push(Arc::new(hook));
        self
    }

    /// The group.
    #[must_use]
    pub fn group(&self) -> &str {
        &self.group
    }

    /// Checks all of it; starting a consumer does so, too.
    ///
    /// # Errors
    /// [`ConsumerOptionsError`] says what is wrong first.
    pub fn check(&self) -> Result<(), ConsumerOptionsError> {
        check_group(&self.group)?;
        if self.subscriptions.is_empty() {
            return Err(ConsumerOptionsError::NoTopic(self.group.clone()));
        }
        for (topic, filter) in &self.subscriptions {
            check_topic(topic)?;
            Subscription::new(topic, filter, 0)?;
        }
        let ranges = [
            ("batch_max", self.batch_max as u128, 1, 1024),
            ("concurrency", self.concurrency as u128, 1, 10_000),
            ("pull_batch_max", self.pull_batch_max as u128, 1, 1024),
            ("pull_bytes_max", self.pull_bytes_max as u128, 1, 1 << 30),
            ("pull_interval in ms", self.pull_interval.as_millis(), 0, 65_535),
            ("error_pause in ms", self.error_pause.as_millis(), 1, 600_000),
            ("queue_bounds messages", self.queue_count_max as u128, 1, 65_535),
            ("queue_bounds bytes", self.queue_bytes_max as u128, 1, 1 << 30),
            ("queue_span_max", self.queue_span_max as u128, 1, 65_535),
            ("total_bounds messages", self.total_count_max as u128, 1, 10_000_000),
            ("total_bounds bytes", self.total_bytes_max as u128, 1, 1 << 40),
            ("suspension in ms", self.suspension.as_millis(), 10, 30_000),
            ("consume_timeout in ms", self.consume_timeout.as_millis(), 1, 7 * 24 * 3_600_000),
            ("shutdown_timeout in ms", self.shutdown_timeout.as_millis(), 0, 24 * 3_600_000),
            ("persist_interval in ms", self.persist_interval.as_millis(), 10, 600_000),
        ];
        for (name, found, least, most) in ranges {
            if !(least..=most).contains(&found) {
                return Err(ConsumerOptionsError::Range { name, found, least, most });
            }
        }
        Ok(())
    }
}

pub(crate) fn check_group(group: &str) -> Result<(), ConsumerOptionsError> {
    validate_group(group)
        .map_err(|error| ConsumerOptionsError::Group(group.to_owned(), error.to_string()))?;
    if group == "DEFAULT_CONSUMER" { Err(ConsumerOptionsError::DefaultGroup) } else { Ok(()) }
}

pub(crate) fn check_topic(topic: &str) -> Result<(), ConsumerOptionsError> {
    validate_topic(topic)
        .map_err(|error| ConsumerOptionsError::Topic(topic.to_owned(), error.to_string()))?;
    Ok(())
}

impl fmt::Debug for ConsumerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsumerOptions")
            .field("group", &self.group)
            .field("subscriptions", &self.subscriptions)
            .field("model", &self.model)
            .field("from", &self.from)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_refused_with_what_would() {
        let good = || ConsumerOptions::new("g").subscribe("t", "*");
        assert_eq!(good().check(), Ok(()));
        let check = |options: ConsumerOptions, expected: &str| {
            let error = options.check().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(ConsumerOptions::new("g"), "subscribes to no topic");
        check(ConsumerOptions::new("").subscribe("t", "*"), "consumer group");
        check(ConsumerOptions::new("a/b").subscribe("t", "*"), "consumer group \"a/b\"");
        check(ConsumerOptions::new("DEFAULT_CONSUMER").subscribe("t", "*"), "reserved");
        check(good().subscribe("../t", "*"), "topic \"../t\"");
        check(good().subscribe("t", "||"), "names no tag");
        check(good().batch_max(0), "batch_max is 0, but must be within 1 and 1024");
        check(good().concurrency(0), "concurrency");
        check(good().queue_bounds(70_000, 1), "queue_bounds messages");
        check(good().consume_timeout(Duration::ZERO), "consume_timeout");
        check(good().suspension(Duration::from_secs(31)), "suspension in ms is 31000");
    }
}
