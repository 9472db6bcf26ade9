// SPDX-License-Identifier: Apache-2.0
//! Messages: single ones, those of a key, and queues read from one end to the other.

use super::{Admin, AdminError};
use oxmq_client::{DecodeError, ReceivedMessage};
use oxmq_net::Reply;
use oxmq_record::MessageId;
use oxmq_remoting::{
    Command,
    bodies::{MessageQueue, QueryConsumeQueueResponseBody},
    code::{self, request},
};
use std::{sync::Arc, time::Duration};

/// How long a broker may look for a key. Java: three times the usual.
const QUERY_TIMEOUT: Duration = Duration::from_secs(15);
/// The group of tools. Java: `MixAll.TOOLS_CONSUMER_GROUP`.
pub const TOOLS_GROUP: &str = "TOOLS_CONSUMER";

/// Which messages of a key are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyQuery<'a> {
    /// Topic.
    pub topic: &'a str,
    /// A key of the message, or its unique key.
    pub key: &'a str,
    /// True for a unique key.
    pub unique: bool,
    /// The only cluster to ask; all if `None`.
    pub cluster: Option<&'a str>,
    /// Most messages of each broker.
    pub max: i32,
    /// Earliest store time, in ms since 1970.
    pub begin_ms: i64,
    /// Latest store time, in ms since 1970.
    pub end_ms: i64,
}

/// What a pull found. Java: `PullStatus`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullStatus {
    /// Messages.
    Found,
    /// There are messages, and the expression wants none of them.
    NoMatchedMsg,
    /// The queue ends there.
    NoNewMsg,
    /// The offset lies outside of the queue.
    OffsetIllegal,
}

impl PullStatus {
    /// Java's name of it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Found => "FOUND",
            Self::NoMatchedMsg => "NO_MATCHED_MSG",
            Self::NoNewMsg => "NO_NEW_MSG",
            Self::OffsetIllegal => "OFFSET_ILLEGAL",
        }
    }
}

/// What a pull gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// What was found.
    pub status: PullStatus,
    /// Where the next pull begins.
    pub next_offset: i64,
    /// Offset of the queue's first message.
    pub min_offset: i64,
    /// Offset after its last message.
    pub max_offset: i64,
    /// The messages.
    pub messages: Vec<ReceivedMessage>,
}

/// What to pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pull<'a> {
    /// Group; it need not be known, and nothing is committed.
    pub group: &'a str,
    /// Queue.
    pub queue: &'a MessageQueue,
    /// Tags, `A || B`, or `*`.
    pub expression: &'a str,
    /// First message wanted.
    pub offset: i64,
    /// Most messages wanted.
    pub max: i32,
}

impl Admin {
    /// The message that lies at a place of a broker's log: VIEW_MESSAGE_BY_ID (33).
    ///
    /// # Errors
    /// [`AdminError::Refused`] if there is none, or one of another topic.
    pub async fn view_message(&self, topic: &str, id: &MessageId) -> Result<ReceivedMessage, AdminError> {
        let offset = i64::try_from(id.physical_offset.0).unwrap_or(-1);
        self.view_message_at(&id.store_host.to_string(), topic, offset).await
    }

    /// The same of the broker at `addr`, at `physical_offset` of its log.
    ///
    /// # Errors
    /// As [`Admin::view_message`].
    pub async fn view_message_at(
        &self,
        addr: &str,
        topic: &str,
        physical_offset: i64,
    ) -> Result<ReceivedMessage, AdminError> {
        let command = Command::new(request::VIEW_MESSAGE_BY_ID)
            .with("offset", physical_offset)
            .with("topic", topic.to_owned());
        let reply = self.ask(addr, command).await?;
        let messages = decode(addr, &reply, &Arc::from(""))?;
        messages.into_iter().next().ok_or_else(|| {
            AdminError::refused(addr, code::SYSTEM_ERROR, "no message was answered".to_owned())
        })
    }

    /// The messages of a key, of all brokers that have the topic: QUERY_MESSAGE (12). Brokers that have none are passed
    /// over; of those that fail the last one is told if nothing is found.
    ///
    /// # Errors
    /// [`AdminError::Refused`] with NO_MESSAGE if there is none.
    pub async fn query_message(&self, query: KeyQuery<'_>) -> Result<Vec<ReceivedMessage>, AdminError> {
        let KeyQuery { topic, key, unique, cluster, max, begin_ms, end_ms } = query;
        let route = self.route(topic).await?;
        let mut found = Vec::new();
        let mut failed = None;
        for broker in &route.broker_datas {
            if cluster.is_some_and(|cluster| !cluster.is_empty() && cluster != broker.cluster) {
                continue;
            }
            let Some(addr) = super::groups::address_of(broker) else { continue };
            let mut command = Command::new(request::QUERY_MESSAGE)
                .with("topic", topic.to_owned())
                .with("key", key.to_owned())
                .with("maxNum", max)
                .with("beginTimestamp", begin_ms)
                .with("endTimestamp", end_ms);
            if unique {
                command = command.with("_UNIQUE_KEY_QUERY", "true");
            }
            let reply = match self.ask_within(addr, command, QUERY_TIMEOUT).await {
                Ok(reply) if reply.code == code::SUCCESS => reply,
                Ok(reply) if reply.code == code::QUERY_NOT_FOUND => continue,
                Ok(reply) => {
                    failed = super::accept(addr, reply).err();
                    continue;
                }
                Err(error) => {
                    failed = Some(error);
                    continue;
                }
            };
            // Other keys may have the same hash.
            let wanted = |message: &ReceivedMessage| match unique {
                true => message.msg_id() == key,
                false => {
                    let keys = message.keys();
                    message.topic() == topic
                        && keys.is_some_and(|keys| keys.split(' ').any(|each| each == key))
                }
            };
            found.extend(decode(addr, &reply, &Arc::from(""))?.into_iter().filter(wanted));
        }
        if found.is_empty() {
            let why = "query message by key finished, but no message.".to_owned();
            return Err(failed.unwrap_or_else(|| AdminError::refused("the cluster", code::NO_MESSAGE, why)));
        }
        Ok(found)
    }

    /// The message of an id of either kind: where it lies, or the one that its producer made.
    ///
    /// # Errors
    /// As [`Admin::view_message`] and [`Admin::query_message`].
    pub async fn message_of_id(
        &self,
        cluster: Option<&str>,
        topic: &str,
        id: &str,
    ) -> Result<ReceivedMessage, AdminError> {
        // Both kinds look the same. As in Java, an id that names no broker that can be reached is one of a producer.
        if let Ok(offset_id) = id.parse::<MessageId>()
            && offset_id.store_host.port() > 0
            && let Ok(message) = self.view_message(topic, &offset_id).await
        {
            return Ok(message);
        }
        let query = KeyQuery {
            topic,
            key: id,
            unique: true,
            cluster,
            max: 32,
            // Java looks back three days only.
            begin_ms: 0,
            end_ms: i64::MAX,
        };
        let mut found = self.query_message(query).await?;
        Ok(found.swap_remove(0))
    }

    /// Where a queue begins: GET_MIN_OFFSET (31).
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn min_offset(&self, addr: &str, queue: &MessageQueue) -> Result<i64, AdminError> {
        self.queue_offset(addr, queue_command(request::GET_MIN_OFFSET, queue)).await
    }

    /// The offset after a queue's last message: GET_MAX_OFFSET (30).
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn max_offset(&self, addr: &str, queue: &MessageQueue) -> Result<i64, AdminError> {
        self.queue_offset(addr, queue_command(request::GET_MAX_OFFSET, queue)).await
    }

    /// The offset of the first message that was stored at `timestamp_ms` or later: SEARCH_OFFSET_BY_TIMESTAMP (29).
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn search_offset(
        &self,
        addr: &str,
        queue: &MessageQueue,
        timestamp_ms: i64,
    ) -> Result<i64, AdminError> {
        let command = queue_command(request::SEARCH_OFFSET_BY_TIMESTAMP, queue)
            .with("timestamp", timestamp_ms)
            .with("boundaryType", "LOWER");
        self.queue_offset(addr, command).await
    }

    async fn queue_offset(&self, addr: &str, command: Command) -> Result<i64, AdminError> {
        super::field(addr, &self.ask(addr, command).await?, "offset")
    }

    /// Messages from one place of a queue on: PULL_MESSAGE (11). Nothing is held, nothing committed.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn pull(&self, addr: &str, pull: Pull<'_>) -> Result<Pulled, AdminError> {
        /// The pull has its own expression. Java: `PullSysFlag`.
        const SUBSCRIPTION: i32 = 1 << 2;
        let Pull { group, queue, expression, offset, max } = pull;
        let command = Command::new(request::PULL_MESSAGE)
            .with("consumerGroup", group.to_owned())
            .with("topic", queue.topic.clone())
            .with("queueId", queue.queue_id)
            .with("queueOffset", offset)
            .with("maxMsgNums", max)
            .with("sysFlag", SUBSCRIPTION)
            .with("commitOffset", 0_i64)
            .with("suspendTimeoutMillis", 0_i64)
            .with("subscription", expression.to_owned())
            .with("subVersion", 0_i64)
            .with("expressionType", "TAG");
        let reply = self.ask_any(addr, command).await?;
        let status = match reply.code {
            code::SUCCESS => PullStatus::Found,
            code::PULL_NOT_FOUND => PullStatus::NoNewMsg,
            code::PULL_RETRY_IMMEDIATELY => PullStatus::NoMatchedMsg,
            code::PULL_OFFSET_MOVED => PullStatus::OffsetIllegal,
            _ => return Err(super::accept(addr, reply).err().unwrap_or_else(|| unreachable_code(addr))),
        };
        let number = |name| super::field(addr, &reply, name);
        let mut pulled = Pulled {
            status,
            next_offset: number("nextBeginOffset")?,
            min_offset: number("minOffset")?,
            max_offset: number("maxOffset")?,
            messages: Vec::new(),
        };
        if status == PullStatus::Found {
            let broker_name = Arc::from(queue.broker_name.as_str());
            let bounds = pulled.min_offset..pulled.max_offset;
            let messages = ReceivedMessage::decode_pulled(&reply.body, &broker_name, bounds);
            pulled.messages = messages.map_err(|error| no_messages(addr, &error))?;
            // COMPAT(java): brokers compare hashes of tags, so what they give is looked at again.
            let tags: Vec<&str> =
                expression.split("||").map(str::trim).filter(|tag| !tag.is_empty()).collect();
            if !tags.contains(&"*") && !tags.is_empty() {
                pulled
                    .messages
                    .retain(|message| message.tag().is_some_and(|tag| tags.contains(&tag.as_ref())));
            }
        }
        Ok(pulled)
    }

    /// Units of a consume queue: QUERY_CONSUME_QUEUE (321).
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn consume_queue(
        &self,
        addr: &str,
        queue: &MessageQueue,
        index: i64,
        count: i32,
        group: Option<&str>,
    ) -> Result<QueryConsumeQueueResponseBody, AdminError> {
        let mut command =
            queue_command(request::QUERY_CONSUME_QUEUE, queue).with("index", index).with("count", count);
        if let Some(group) = group {
            command = command.with("consumerGroup", group.to_owned());
        }
        self.ask_json(addr, command, "units of a queue").await
    }
}

fn unreachable_code(addr: &str) -> AdminError {
    AdminError::refused(addr, code::SYSTEM_ERROR, "the pull failed".to_owned())
}

fn queue_command(code: i32, queue: &MessageQueue) -> Command {
    Command::new(code).with("topic", queue.topic.clone()).with("queueId", queue.queue_id)
}

fn decode(addr: &str, reply: &Reply, broker_name: &Arc<str>) -> Result<Vec<ReceivedMessage>, AdminError> {
    ReceivedMessage::decode_all(&reply.body, broker_name).map_err(|error| no_messages(addr, &error))
}

fn no_messages(addr: &str, error: &DecodeError) -> AdminError {
    AdminError::Unreadable { addr: addr.to_owned(), what: "a list of messages", reason: error.to_string() }
}
