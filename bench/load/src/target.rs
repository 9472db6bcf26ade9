// SPDX-License-Identifier: Apache-2.0
//! Where the load goes, and the requests that carry it.

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use oxmq_record::{BatchMessage, encode_batch_message, properties};
use oxmq_remoting::{Command, FieldValue, code::request};
use std::{
    borrow::Cow,
    net::{SocketAddr, ToSocketAddrs},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

const GROUP: &str = "oxmq-load";
/// Of `PullSysFlag`: the pull carries its subscription. Without the bit to suspend, an empty pull is answered at once.
const PULL_WITH_SUBSCRIPTION: i32 = 4;

/// A server, and queues there.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) server: SocketAddr,
    topics: Vec<Arc<str>>,
    queues_of_topic: u32,
}

/// One queue of a [`Target`].
#[derive(Debug, Clone)]
pub(crate) struct Queue {
    pub(crate) topic: Arc<str>,
    pub(crate) id: u32,
}

impl Target {
    /// `topics`: how many; more than one are called `topic-0`, `topic-1`, ...
    pub(crate) fn new(server: &str, topic: &str, topics: u32, queues: u32) -> Result<Self> {
        if topics == 0 || queues == 0 {
            bail!("there must be a topic and a queue");
        }
        let server = server.to_socket_addrs().with_context(|| format!("{server} is no address"))?.next();
        let server = server.context("the server has no address")?;
        let topics = match topics {
            1 => vec![topic.into()],
            many => (0..many).map(|at| format!("{topic}-{at}").into()).collect(),
        };
        Ok(Self { server, topics, queues_of_topic: queues })
    }

    /// The topics.
    pub(crate) fn topics(&self) -> &[Arc<str>] {
        &self.topics
    }

    /// Queues of one topic.
    pub(crate) fn queues_of_topic(&self) -> u32 {
        self.queues_of_topic
    }

    /// Queues of all topics.
    pub(crate) fn queues(&self) -> u64 {
        self.topics.len() as u64 * u64::from(self.queues_of_topic)
    }

    /// The queue for `sequence`, in turn.
    pub(crate) fn queue(&self, sequence: u64) -> Queue {
        let queues = u64::from(self.queues_of_topic);
        let topic = &self.topics[(sequence / queues) as usize % self.topics.len()];
        Queue { topic: Arc::clone(topic), id: (sequence % queues) as u32 }
    }
}

/// Makes the messages of a run.
#[derive(Debug, Clone)]
pub(crate) struct Messages {
    body: Bytes,
    properties: bool,
    run: u64,
}

impl Messages {
    /// `size`: bytes of a body. `properties`: whether each gets what a Java client would give it, a unique key, a key and
    /// a tag.
    pub(crate) fn new(size: usize, properties: bool) -> Self {
        let run = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
        Self { body: vec![b'x'; size].into(), properties, run }
    }

    /// A key that no other message of any run has.
    pub(crate) fn key(&self, number: u64) -> String {
        format!("{:016X}{number:016X}", self.run)
    }

    fn properties(&self, number: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        if self.properties {
            let key = self.key(number);
            properties::append(&mut bytes, properties::KEYS, format!("k{key}").as_bytes());
            properties::append(&mut bytes, properties::UNIQ_KEY, key.as_bytes());
            properties::append(&mut bytes, properties::TAGS, b"TagA");
        }
        bytes
    }

    /// The request that sends the message `number`.
    pub(crate) fn send(&self, queue: &Queue, number: u64) -> Command {
        let properties = String::from_utf8(self.properties(number)).unwrap_or_default();
        send(request::SEND_MESSAGE_V2, queue, properties, false).with_body(self.body.clone())
    }

    /// The request that sends `count` messages from `first` on together.
    pub(crate) fn send_batch(&self, queue: &Queue, first: u64, count: u64) -> Command {
        let mut body = Vec::with_capacity(count as usize * (self.body.len() + 160));
        for number in first..first + count {
            let message = BatchMessage { flag: 0, body: &self.body, properties: &self.properties(number) };
            encode_batch_message(&message, &mut body);
        }
        send(request::SEND_BATCH_MESSAGE, queue, String::new(), true).with_body(body)
    }
}

fn send(code: i32, queue: &Queue, properties: String, batch: bool) -> Command {
    Command {
        // More than a command has room for at first.
        fields: Vec::with_capacity(12),
        ..Command::new(code)
    }
    .with("a", GROUP)
    .with("b", Arc::clone(&queue.topic))
    .with("c", "TBW102")
    .with("d", 8)
    .with("e", queue.id)
    .with("f", 0)
    .with("g", now_ms())
    .with("h", 0)
    .with("i", FieldValue::Text(Cow::Owned(properties)))
    .with("j", 0)
    .with("k", false)
    .with("m", batch)
}

/// The request for up to `count` messages from `offset` on.
pub(crate) fn pull(queue: &Queue, offset: u64, count: u32) -> Command {
    Command { fields: Vec::with_capacity(11), ..Command::new(request::PULL_MESSAGE) }
        .with("consumerGroup", GROUP)
        .with("topic", Arc::clone(&queue.topic))
        .with("queueId", queue.id)
        .with("queueOffset", offset)
        .with("maxMsgNums", count)
        .with("sysFlag", PULL_WITH_SUBSCRIPTION)
        .with("commitOffset", 0)
        .with("suspendTimeoutMillis", 0)
        .with("subscription", "*")
        .with("subVersion", 0)
        .with("expressionType", "TAG")
}

/// A request about a queue alone: GET_MAX_OFFSET, GET_MIN_OFFSET.
pub(crate) fn about(code: i32, queue: &Queue) -> Command {
    Command::new(code).with("topic", Arc::clone(&queue.topic)).with("queueId", queue.id)
}

/// The request for messages of `topic` with `key` that were stored within the last minute.
pub(crate) fn query(topic: &Arc<str>, key: String) -> Command {
    Command::new(request::QUERY_MESSAGE)
        .with("topic", Arc::clone(topic))
        .with("key", key)
        .with("maxNum", 1)
        .with("beginTimestamp", now_ms().saturating_sub(60_000))
        .with("endTimestamp", i64::MAX)
}

/// The request that makes a topic, or changes the number of its queues.
pub(crate) fn create(topic: &Arc<str>, queues: u32) -> Command {
    Command::new(request::UPDATE_AND_CREATE_TOPIC)
        .with("topic", Arc::clone(topic))
        .with("defaultTopic", "TBW102")
        .with("readQueueNums", queues)
        .with("writeQueueNums", queues)
        .with("perm", 6)
        .with("topicFilterType", "SINGLE_TAG")
        .with("topicSysFlag", 0)
        .with("order", false)
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use oxmq_record::BatchMessages;

    #[test]
    fn all_queues_have_their_turn() {
        let target = Target::new("127.0.0.1:1", "T", 3, 2).unwrap();
        let names: Vec<_> =
            (0..7).map(|at| target.queue(at)).map(|q| format!("{} {}", q.topic, q.id)).collect();
        assert_eq!(names, ["T-0 0", "T-0 1", "T-1 0", "T-1 1", "T-2 0", "T-2 1", "T-0 0"]);
        assert_eq!(target.queues(), 6);
        assert_eq!(&*Target::new("127.0.0.1:1", "T", 1, 1).unwrap().queue(5).topic, "T");
        assert!(Target::new("127.0.0.1:1", "T", 0, 1).is_err());
    }

    #[test]
    fn keys_are_unique() {
        let (messages, queue) = (Messages::new(3, true), Queue { topic: "T".into(), id: 7 });
        let properties = |number| messages.send(&queue, number).field("i").unwrap().into_owned();
        assert_eq!(properties(1), properties(1));
        assert_ne!(properties(1), properties(2));
        let batch = messages.send_batch(&queue, 1, 2);
        let body: Vec<_> = batch.body.pieces().concat();
        let found: Vec<_> =
            BatchMessages::new(&body).map(|message| message.unwrap().properties.to_vec()).collect();
        assert_eq!(found, [properties(1).into_bytes(), properties(2).into_bytes()]);
        assert_eq!(Messages::new(3, false).send(&queue, 1).field("i").unwrap(), "");
    }
}
