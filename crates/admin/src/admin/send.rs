// SPDX-License-Identifier: Apache-2.0
//! Sends of single messages to one queue, once: tools must know what became of each, and where it lies.

use super::{Admin, AdminError};
use bytes::Bytes;
use oxmq_client::{ReceivedMessage, SendStatus};
use oxmq_record::properties;
use oxmq_remoting::{
    Command,
    bodies::{MessageQueue, TopicRouteData},
    code::{self, request},
};
use oxmq_types::AUTO_CREATE_TOPIC;
use std::{fmt, time::Duration};

/// How long a broker may take to store a message. Java: `DefaultMQProducer#sendMsgTimeout`, and more for a disk that is
/// slow: a tool that gives up early sends twice.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// A message that a tool sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Body, as it is stored.
    pub body: Bytes,
    /// Properties in the form of the wire.
    pub properties: Vec<u8>,
    /// The application's own flag.
    pub flag: i32,
    /// When it was made, in ms since 1970.
    pub born_timestamp_ms: i64,
}

impl Outgoing {
    /// A new message, with an id of its own.
    #[must_use]
    pub fn new(body: impl Into<Bytes>, now_ms: i64) -> Self {
        let mut message =
            Self { body: body.into(), properties: Vec::new(), flag: 0, born_timestamp_ms: now_ms };
        message.set(properties::UNIQ_KEY, &oxmq_client::next_unique_id());
        message.set("WAIT", "true");
        message
    }

    /// The same message as one that is stored, its unique key included.
    #[must_use]
    pub fn copy_of(message: &ReceivedMessage) -> Self {
        Self {
            body: message.body().clone(),
            properties: message.raw_properties().to_vec(),
            flag: message.flag(),
            born_timestamp_ms: message.born_timestamp_ms(),
        }
    }

    /// Sets a property in place of what it was. Separators, which would make two of it, become blanks.
    pub fn set(&mut self, name: &str, value: &str) {
        properties::remove(&mut self.properties, name);
        if !value.is_empty() {
            let value = value.replace(['\u{1}', '\u{2}'], " ");
            properties::append(&mut self.properties, name, value.as_bytes());
        }
    }

    /// Removes a property.
    pub fn unset(&mut self, name: &str) {
        properties::remove(&mut self.properties, name);
    }

    /// The value of a property.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<String> {
        properties::find(&self.properties, name).map(|value| String::from_utf8_lossy(value).into_owned())
    }
}

/// What became of a message. Java: `SendResult`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// How safe it is: it is stored in all cases.
    pub status: SendStatus,
    /// The id that was made for it.
    pub msg_id: String,
    /// Where it lies.
    pub offset_msg_id: String,
    /// The queue it lies in.
    pub queue: MessageQueue,
    /// Address of its broker.
    pub addr: String,
    /// Its place there, in messages.
    pub queue_offset: i64,
}

impl fmt::Display for Sent {
    /// As Java prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "SendResult [sendStatus={}, msgId={}, offsetMsgId={}, messageQueue={}, queueOffset={}, recallHandle=null]",
            self.status,
            self.msg_id,
            self.offset_msg_id,
            crate::java_text::queue_text(&self.queue),
            self.queue_offset
        )
    }
}

/// A queue with the address of its broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueAt {
    /// The queue.
    pub queue: MessageQueue,
    /// Its broker's master.
    pub addr: String,
}

impl Admin {
    /// Stores a message in a queue: SEND_MESSAGE_V2 (310), once.
    ///
    /// # Errors
    /// [`AdminError::Refused`] if it is not stored; [`AdminError::Call`] if that is not known.
    pub async fn send(
        &self,
        group: &str,
        queue: &QueueAt,
        message: &Outgoing,
        timeout: Option<Duration>,
    ) -> Result<Sent, AdminError> {
        let QueueAt { queue, addr } = queue;
        let text = String::from_utf8(message.properties.clone()).map_err(|_| {
            AdminError::NotFound("the message has properties that are no UTF-8: it cannot be sent".into())
        })?;
        let command = Command::new(request::SEND_MESSAGE_V2)
            .with("a", group.to_owned())
            .with("b", queue.topic.clone())
            .with("c", AUTO_CREATE_TOPIC)
            .with("d", 4)
            .with("e", queue.queue_id)
            .with("f", 0)
            .with("g", message.born_timestamp_ms)
            .with("h", message.flag)
            .with("i", text)
            .with("j", 0)
            .with("k", false)
            .with("m", false)
            .with_body(message.body.clone());
        let reply = self.ask_within(addr, command, timeout.unwrap_or(SEND_TIMEOUT)).await?;
        let status = match reply.code {
            code::SUCCESS => SendStatus::SendOk,
            code::FLUSH_DISK_TIMEOUT => SendStatus::FlushDiskTimeout,
            code::FLUSH_SLAVE_TIMEOUT => SendStatus::FlushSlaveTimeout,
            code::SLAVE_NOT_AVAILABLE => SendStatus::SlaveNotAvailable,
            code => {
                return Err(AdminError::refused(addr, code, reply.remark.unwrap_or_default()));
            }
        };
        Ok(Sent {
            status,
            msg_id: message.get(properties::UNIQ_KEY).unwrap_or_default(),
            offset_msg_id: reply.field("msgId").unwrap_or_default().to_owned(),
            queue: MessageQueue {
                queue_id: reply.field("queueId").and_then(|id| id.parse().ok()).unwrap_or(queue.queue_id),
                ..queue.clone()
            },
            addr: addr.clone(),
            queue_offset: super::field(addr, &reply, "queueOffset")?,
        })
    }

    /// The queues that producers see, in their order. A topic that does not exist yet has those with which brokers would
    /// make it, if they may.
    ///
    /// # Errors
    /// [`AdminError`] if there is no route, or no queue that can be written.
    pub async fn writable_queues(&self, topic: &str) -> Result<Vec<QueueAt>, AdminError> {
        let (route, limit) = match self.route(topic).await {
            Err(error) if error.code() == Some(code::TOPIC_NOT_EXIST) => {
                // Java makes so many: `DefaultMQProducer#defaultTopicQueueNums`.
                (self.route(AUTO_CREATE_TOPIC).await.map_err(|_| error)?, 4)
            }
            route => (route?, u32::MAX),
        };
        let queues = queues(&route, topic, Side::Write, limit);
        if queues.is_empty() {
            return Err(AdminError::NotFound(format!(
                "no queue of {} can be written: its permission or that of its brokers forbids it, or no master is \
                 there",
                crate::cli::shorten(topic)
            )));
        }
        Ok(queues)
    }

    /// The queues that consumers see, in their order. `route_topic`: the topic whose route counts.
    ///
    /// # Errors
    /// [`AdminError`] if there is no route.
    pub async fn readable_queues(&self, topic: &str, route_topic: &str) -> Result<Vec<QueueAt>, AdminError> {
        Ok(queues(&self.route(route_topic).await?, topic, Side::Read, u32::MAX))
    }

    /// The address of the broker that has a queue.
    ///
    /// # Errors
    /// [`AdminError::NotFound`] if the topic has no such broker.
    pub async fn address_of_queue(&self, queue: &MessageQueue) -> Result<String, AdminError> {
        let brokers = self.addresses_of_topic(&queue.topic).await?;
        let found = brokers.iter().find(|(name, _)| *name == queue.broker_name);
        found.map(|(_, addr)| addr.clone()).ok_or_else(|| {
            let names: Vec<_> = brokers.iter().map(|(name, _)| name.as_str()).collect();
            AdminError::NotFound(format!(
                "The broker[{}] not exist: {} is on {}",
                crate::cli::shorten(&queue.broker_name),
                crate::cli::shorten(&queue.topic),
                super::one_line(&names.join(", "))
            ))
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Read,
    Write,
}

/// Queues of a topic, broker by broker. What is read may be read from a slave.
fn queues(route: &TopicRouteData, topic: &str, side: Side, limit: u32) -> Vec<QueueAt> {
    /// More a topic cannot have; a hostile answer may say anything.
    const QUEUES_OF_BROKER_MAX: u32 = 65_536;
    const READ: u32 = 4;
    const WRITE: u32 = 2;
    let mut all = Vec::new();
    for data in &route.queue_datas {
        let broker = route.broker_datas.iter().find(|broker| broker.broker_name == data.broker_name);
        let (bit, count) = match side {
            Side::Read => (READ, data.read_queue_nums),
            Side::Write => (WRITE, data.write_queue_nums),
        };
        let addr = broker.and_then(|broker| match side {
            Side::Read => super::groups::address_of(broker),
            Side::Write => broker.broker_addrs.get(&0).map(String::as_str),
        });
        let Some(addr) = addr.filter(|_| data.perm & bit != 0) else { continue };
        for id in 0..count.min(limit).min(QUEUES_OF_BROKER_MAX) {
            let queue = MessageQueue {
                topic: topic.to_owned(),
                broker_name: data.broker_name.clone(),
                queue_id: id.cast_signed(),
            };
            all.push(QueueAt { queue, addr: addr.to_owned() });
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use oxmq_remoting::bodies::{BrokerData, QueueData};

    fn route(perm: u32, master: bool, count: u32) -> TopicRouteData {
        TopicRouteData {
            broker_datas: vec![BrokerData {
                broker_name: "b".into(),
                broker_addrs: [(i64::from(!master), "h:1".to_owned())].into(),
                ..BrokerData::default()
            }],
            queue_datas: vec![
                QueueData {
                    broker_name: "b".into(),
                    perm,
                    read_queue_nums: count,
                    write_queue_nums: count,
                    ..QueueData::default()
                },
                QueueData {
                    broker_name: "gone".into(),
                    perm: 6,
                    write_queue_nums: 4,
                    ..QueueData::default()
                },
            ],
            ..TopicRouteData::default()
        }
    }

    #[test]
    fn queues_are_those_that_can_be_used() {
        let count = |perm, master, side| queues(&route(perm, master, 4), "t", side, u32::MAX).len();
        assert_eq!((count(6, true, Side::Write), count(6, true, Side::Read)), (4, 4));
        assert_eq!((count(4, true, Side::Write), count(4, true, Side::Read)), (0, 4));
        assert_eq!((count(6, false, Side::Write), count(6, false, Side::Read)), (0, 4));
        assert_eq!(queues(&route(6, true, u32::MAX), "t", Side::Read, u32::MAX).len(), 65_536);
        assert_eq!(queues(&route(6, true, 8), "t", Side::Write, 4).len(), 4);
    }

    #[test]
    fn properties_of_a_copy_can_be_changed() {
        let mut message =
            Outgoing { body: Bytes::new(), properties: Vec::new(), flag: 0, born_timestamp_ms: 0 };
        message.set("a", "1");
        message.set("b", "x\u{1}y\u{2}z");
        message.set("a", "2");
        assert_eq!((message.get("a").as_deref(), message.get("b").as_deref()), (Some("2"), Some("x y z")));
        message.set("a", "");
        message.unset("b");
        assert_eq!((message.get("a"), message.get("b"), message.properties.len()), (None, None, 0));
    }
}
