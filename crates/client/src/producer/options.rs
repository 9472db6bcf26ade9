// SPDX-License-Identifier: Apache-2.0
//! Settings of a producer.

use super::{Producer, SendHook, TransactionListener};
use crate::{Client, Compression, OptionsError, StartError};
use std::{sync::Arc, time::Duration};

/// Settings of a producer, with Java's defaults; for [`ProducerBuilder::options`]. Java: `DefaultMQProducer`.
///
/// ```
/// use oxmq_client::ProducerOptions;
/// use std::time::Duration;
///
/// let mut options = ProducerOptions::default();
/// options.send_timeout = Duration::from_secs(10);
/// options.retries = 5;
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ProducerOptions {
    /// How long a send may take with all its attempts; 3 s by default. Java: `sendMsgTimeout`.
    pub send_timeout: Duration,
    /// Attempts after the first, each at another broker if there is one; 2 by default. Java: `retryTimesWhenSendFailed`.
    pub retries: u32,
    /// True: a message that is stored, but not as safely as the broker is set up for, is sent again elsewhere, and is there
    /// twice. False by default. Java: `retryAnotherBrokerWhenNotStoreOK`.
    pub retry_if_not_safe: bool,
    /// True: brokers that were slow (from 0.55 s on) or failed are avoided for 2 to 30 s. False by default. Java:
    /// `sendLatencyFaultEnable`.
    pub latency_faults: bool,
    /// Longest body, in bytes, before compression; 4 MiB by default. Brokers have a limit of their own. Java: `maxMessageSize`.
    pub max_message_size: usize,
    /// Bodies of so many bytes and more are compressed, if that makes them shorter; 4096 by default. `usize::MAX`: none. Java:
    /// `compressMsgBodyOverHowmuch`.
    pub compress_over: usize,
    /// How they are compressed; zlib by default. Java: `compressType`.
    pub compression: Compression,
    /// From 1, fast, to 9, small; 5 by default. Java: `compressLevel`.
    pub compression_level: u32,
    /// True, the default: a topic that does not exist is sent to all the same, and brokers with `autoCreateTopicEnable` create
    /// it. False: [`RouteError::TopicNotFound`](crate::RouteError::TopicNotFound).
    pub create_topics: bool,
    /// Queues that such a topic gets on each broker; 4 by default, and never more than the broker's own default. Java:
    /// `defaultTopicQueueNums`.
    pub new_topic_queues: u32,
    /// Most bytes of one request of [`Producer::send_batch`], bodies and properties; 1 MiB by default. Batches are not compressed.
    pub batch_size: usize,
    /// Topics whose routes are kept fresh even while nothing is sent; none by default. Of others the route is kept as long as it is
    /// used, and asked for by the first send.
    pub topics: Vec<Arc<str>>,
}

impl Default for ProducerOptions {
    /// Java's.
    fn default() -> Self {
        Self {
            send_timeout: Duration::from_secs(3),
            retries: 2,
            retry_if_not_safe: false,
            latency_faults: false,
            max_message_size: 4 << 20,
            compress_over: 4096,
            compression: Compression::Zlib,
            compression_level: 5,
            create_topics: true,
            new_topic_queues: 4,
            batch_size: 1 << 20,
            topics: Vec::new(),
        }
    }
}

/// Sets up a producer; made by [`Client::producer`]. Nothing happens before [`Self::start`].
#[must_use]
pub struct ProducerBuilder {
    client: Client,
    group: Arc<str>,
    built: Built,
}

/// What a producer is made of.
#[derive(Default)]
pub(super) struct Built {
    pub(super) options: ProducerOptions,
    pub(super) hooks: Vec<Arc<dyn SendHook>>,
    pub(super) listener: Option<Arc<dyn TransactionListener>>,
}

impl ProducerBuilder {
    pub(super) fn new(client: Client, group: Arc<str>) -> Self {
        Self { client, group, built: Built::default() }
    }

    /// All settings at once, in place of those said before.
    pub fn options(mut self, options: ProducerOptions) -> Self {
        self.built.options = options;
        self
    }

    /// See [`ProducerOptions::send_timeout`].
    pub fn send_timeout(mut self, timeout: Duration) -> Self {
        self.built.options.send_timeout = timeout;
        self
    }

    /// See [`ProducerOptions::retries`].
    pub fn retries(mut self, retries: u32) -> Self {
        self.built.options.retries = retries;
        self
    }

    /// See [`ProducerOptions::latency_faults`].
    pub fn latency_faults(mut self, on: bool) -> Self {
        self.built.options.latency_faults = on;
        self
    }

    /// How bodies are compressed, and from how many bytes on: see [`ProducerOptions::compress_over`].
    pub fn compression(mut self, compression: Compression, over: usize) -> Self {
        self.built.options.compression = compression;
        self.built.options.compress_over = over;
        self
    }

    /// Adds one who is told of every attempt to send. Several are told in the order in which they were added.
    pub fn hook(mut self, hook: Arc<dyn SendHook>) -> Self {
        self.built.hooks.push(hook);
        self
    }

    /// Says what became of transactions that a broker asks about: needed for [`Producer::send_in_transaction`].
    pub fn transaction_listener(mut self, listener: impl TransactionListener) -> Self {
        self.built.listener = Some(Arc::new(listener));
        self
    }

    /// Checks the settings and joins the client. Brokers are told of the group when the first route is known.
    ///
    /// # Errors
    /// [`StartError`] if a setting or the group's name cannot be, or the client has a producer of this group already.
    pub fn start(self) -> Result<Producer, StartError> {
        let Self { client, group, built } = self;
        oxmq_types::validate_group(&group).map_err(|_| {
            StartError::Options(OptionsError::Name { what: "producer group", name: group.to_string() })
        })?;
        for (what, zero) in [
            ("send_timeout", built.options.send_timeout.is_zero()),
            ("max_message_size", built.options.max_message_size == 0),
            ("batch_size", built.options.batch_size == 0),
            ("new_topic_queues", built.options.new_topic_queues == 0),
        ] {
            if zero {
                return Err(OptionsError::Zero(what).into());
            }
        }
        Producer::start(client, group, built)
    }
}
