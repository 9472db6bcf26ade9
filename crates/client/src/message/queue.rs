// SPDX-License-Identifier: Apache-2.0
//! Where messages lie.

use std::{cmp::Ordering, fmt, sync::Arc};

/// A queue of a topic on one broker. Cheap to clone. Java: `MessageQueue`, whose order this is, too: all members of a group sort
/// the queues alike when they share them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MessageQueue {
    /// Topic.
    pub topic: Arc<str>,
    /// Name of the broker that has it.
    pub broker_name: Arc<str>,
    /// Its number in the topic on that broker, from 0.
    pub queue_id: i32,
}

impl MessageQueue {
    /// The queue `queue_id` of `topic` on `broker_name`.
    pub fn new(topic: impl Into<Arc<str>>, broker_name: impl Into<Arc<str>>, queue_id: i32) -> Self {
        Self { topic: topic.into(), broker_name: broker_name.into(), queue_id }
    }
}

impl Ord for MessageQueue {
    /// By topic, then broker, then number. Names are ASCII, so that the order of bytes is that of Java's UTF-16.
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |queue: &Self| (queue.topic.clone(), queue.broker_name.clone());
        if Arc::ptr_eq(&self.topic, &other.topic) && Arc::ptr_eq(&self.broker_name, &other.broker_name) {
            return self.queue_id.cmp(&other.queue_id);
        }
        key(self).cmp(&key(other)).then(self.queue_id.cmp(&other.queue_id))
    }
}

impl PartialOrd for MessageQueue {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for MessageQueue {
    /// As Java prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, broker_name, queue_id } = self;
        write!(f, "MessageQueue [topic={topic}, brokerName={broker_name}, queueId={queue_id}]")
    }
}

/// How safe a message is that a broker has taken. In all four cases it is stored and will be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SendStatus {
    /// As safe as the broker's flush and replication mode make it.
    SendOk,
    /// The broker flushes synchronously, and the disk did not do so in time.
    FlushDiskTimeout,
    /// The broker replicates synchronously, and no slave did so in time.
    FlushSlaveTimeout,
    /// The broker replicates synchronously, and has no slave that is near enough.
    SlaveNotAvailable,
}

impl fmt::Display for SendStatus {
    /// Java's name of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SendOk => "SEND_OK",
            Self::FlushDiskTimeout => "FLUSH_DISK_TIMEOUT",
            Self::FlushSlaveTimeout => "FLUSH_SLAVE_TIMEOUT",
            Self::SlaveNotAvailable => "SLAVE_NOT_AVAILABLE",
        })
    }
}

/// What became of a message that a broker has taken. Java: `SendResult`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SendResult {
    /// How safe it is.
    pub status: SendStatus,
    /// The id that the producer made (`UNIQ_KEY`), by which consumers and tools know it. Of a batch, all ids, separated
    /// by commas.
    pub msg_id: String,
    /// Where it lies, as text: the broker's address and the physical offset. Of a batch, those of its messages, separated by commas.
    pub offset_msg_id: String,
    /// The queue it lies in.
    pub queue: MessageQueue,
    /// Its place there, in messages, from 0; that of the first of a batch. -1 if the broker did not tell it. Of what waits
    /// (delayed, half) it is the place where it waits.
    pub queue_offset: i64,
    /// Of a half message, its transaction id. `None`: the broker told none.
    pub transaction_id: Option<String>,
    /// Region of the broker, for message traces.
    pub region_id: String,
    /// False if the broker wants no trace of it.
    pub trace_on: bool,
    /// Of a message with a delivery time, what [`Producer::recall`](crate::Producer::recall) takes. `None`: the broker has no recalls,
    /// or the message no time.
    pub recall_handle: Option<String>,
}

impl fmt::Display for SendResult {
    /// As Java prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "SendResult [sendStatus={}, msgId={}, offsetMsgId={}, messageQueue={}, queueOffset={}, recallHandle={}]",
            self.status,
            self.msg_id,
            self.offset_msg_id,
            self.queue,
            self.queue_offset,
            self.recall_handle.as_deref().unwrap_or("null"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_are_ordered_by_topic_broker_and_number() {
        let queue = |topic: &str, broker: &str, id| MessageQueue::new(topic, broker, id);
        let sorted = [queue("A", "b", 9), queue("T", "a", 10), queue("T", "b", 2), queue("T", "b", 10)];
        let mut mixed = [sorted[3].clone(), sorted[1].clone(), sorted[2].clone(), sorted[0].clone()];
        mixed.sort();
        assert_eq!(mixed, sorted);
        assert_eq!(sorted[2].to_string(), "MessageQueue [topic=T, brokerName=b, queueId=2]");
    }
}
