// SPDX-License-Identifier: Apache-2.0
//! The request that carries a message, and its answer.

use crate::{
    Command, Message, MessageError, MessageQueue, Reply, SendResult, SendStatus,
    code::{self, request},
    compression::{self, Compression},
    ids,
    message::push_property,
    property,
};
use bytes::Bytes;
use oxmq_record::{BatchMessage, PROPERTIES_LENGTH_MAX, encode_batch_message, sys_flag};
use oxmq_types::{AUTO_CREATE_TOPIC, RETRY_GROUP_PREFIX};
use std::sync::Arc;

/// A message, or several in one, as it goes to whichever broker takes it.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub(crate) topic: Arc<str>,
    /// The id that the producer made, or all ids of a batch.
    pub(crate) msg_id: String,
    properties: String,
    body: Bytes,
    sys_flag: i32,
    flag: i32,
    born_ms: i64,
    kind: Kind,
    retry: Option<Retry>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    One,
    Batch,
    Reply,
}

/// What a message to a retry topic tells in fields of their own.
#[derive(Debug, Clone, Copy)]
struct Retry {
    reconsume_times: i64,
    max_reconsume_times: Option<i64>,
}

/// Settings that decide how messages are written.
#[derive(Debug, Clone)]
pub(crate) struct Form {
    pub(crate) compress_over: usize,
    pub(crate) compression: Compression,
    pub(crate) compression_level: u32,
    pub(crate) new_topic_queues: u32,
}

impl Outgoing {
    /// Writes properties and body of `message`. The message was checked.
    pub(crate) fn new(message: Message, form: &Form) -> Result<Self, MessageError> {
        let unique = message.get(property::UNIQ_KEY).map(ToOwned::to_owned);
        let prepared = message.get(property::TRANSACTION_PREPARED).is_some_and(|value| value == "true");
        let is_reply = message.get(property::MSG_TYPE) == Some("reply");
        let retry = message.topic.starts_with(RETRY_GROUP_PREFIX).then(|| {
            let number = |name| message.get(name).and_then(|value| value.parse().ok());
            Retry {
                reconsume_times: number(property::RECONSUME_TIME).unwrap_or(0),
                max_reconsume_times: number(property::MAX_RECONSUME_TIMES),
            }
        });
        let mut message = message;
        if retry.is_some() {
            message.remove_property(property::RECONSUME_TIME);
            message.remove_property(property::MAX_RECONSUME_TIMES);
        }
        let has_wait = message.get(property::WAIT).is_some();
        let Message { topic, body, flag, mut properties, .. } = message;
        properties.reserve(64);
        let born_ms = ids::now_ms();
        let msg_id = unique.unwrap_or_else(|| {
            let id = ids::unique_id_at(born_ms);
            push_property(&mut properties, property::UNIQ_KEY, &id);
            id
        });
        if !has_wait {
            push_property(&mut properties, property::WAIT, "true");
        }
        if properties.len() > PROPERTIES_LENGTH_MAX {
            return Err(MessageError::PropertiesTooLong(properties.len()));
        }
        let mut sys_flag = if prepared { sys_flag::PREPARED } else { 0 };
        let body = match compressed(&body, form) {
            Some(small) => {
                sys_flag |= form.compression.sys_flag();
                small
            }
            None => body,
        };
        let kind = if is_reply { Kind::Reply } else { Kind::One };
        Ok(Self { topic, msg_id, properties, body, sys_flag, flag, born_ms, kind, retry })
    }

    /// Writes several messages into one. They were checked and have one topic.
    pub(crate) fn batch(messages: &[Encoded], topic: &Arc<str>) -> Self {
        let mut body = Vec::with_capacity(messages.iter().map(|message| message.bytes.len()).sum());
        let mut ids = String::with_capacity(messages.len() * 33);
        for message in messages {
            body.extend_from_slice(&message.bytes);
            if !ids.is_empty() {
                ids.push(',');
            }
            ids.push_str(&message.msg_id);
        }
        let mut properties = String::new();
        push_property(&mut properties, property::WAIT, "true");
        Self {
            topic: topic.clone(),
            msg_id: ids,
            properties,
            body: body.into(),
            sys_flag: 0,
            flag: 0,
            born_ms: ids::now_ms(),
            kind: Kind::Batch,
            retry: None,
        }
    }

    /// The request to the broker that has `queue`. Java: `SendMessageRequestHeaderV2`, whose names are letters.
    pub(crate) fn command(&self, group: &Arc<str>, queue: &MessageQueue, form: &Form) -> Command {
        let mut command = Command::new(match self.kind {
            Kind::One => request::SEND_MESSAGE_V2,
            Kind::Batch => request::SEND_BATCH_MESSAGE,
            Kind::Reply => request::SEND_REPLY_MESSAGE_V2,
        });
        command.fields.reserve(14);
        let retry = self.retry.unwrap_or(Retry { reconsume_times: 0, max_reconsume_times: None });
        let mut command = command
            .with("a", group.clone())
            .with("b", self.topic.clone())
            .with("c", AUTO_CREATE_TOPIC)
            .with("d", form.new_topic_queues)
            .with("e", queue.queue_id)
            .with("f", self.sys_flag)
            .with("g", self.born_ms)
            .with("h", self.flag)
            .with("i", self.properties.clone())
            .with("j", retry.reconsume_times)
            .with("k", false);
        if let Some(max) = retry.max_reconsume_times {
            command = command.with("l", max);
        }
        command
            .with("m", self.kind == Kind::Batch)
            .with("n", queue.broker_name.clone())
            .with_body(self.body.clone())
    }

    /// In the form of the wire.
    pub(crate) fn properties(&self) -> &str {
        &self.properties
    }

    /// Bytes of body as they are sent.
    pub(crate) fn size(&self) -> usize {
        self.body.len()
    }

    /// What the answer says. `None`: the broker refuses it.
    pub(crate) fn result(&self, reply: &Reply, queue: &MessageQueue) -> Option<SendResult> {
        let status = match reply.code {
            code::SUCCESS => SendStatus::SendOk,
            code::FLUSH_DISK_TIMEOUT => SendStatus::FlushDiskTimeout,
            code::FLUSH_SLAVE_TIMEOUT => SendStatus::FlushSlaveTimeout,
            code::SLAVE_NOT_AVAILABLE => SendStatus::SlaveNotAvailable,
            _ => return None,
        };
        let (mut queue, mut queue_offset) = (queue.clone(), -1);
        let (mut offset_msg_id, mut region_id, mut trace_on) = (String::new(), None, true);
        let (mut transaction_id, mut recall_handle) = (None, None);
        for (name, value) in reply.fields.iter() {
            match name {
                "msgId" => value.clone_into(&mut offset_msg_id),
                "queueId" => queue.queue_id = value.parse().unwrap_or(queue.queue_id),
                "queueOffset" => queue_offset = value.parse().unwrap_or(-1),
                "transactionId" => transaction_id = Some(value.to_owned()),
                "MSG_REGION" => region_id = Some(value.to_owned()),
                "TRACE_ON" => trace_on = value != "false",
                "recallHandle" => recall_handle = Some(value.to_owned()),
                _ => {}
            }
        }
        Some(SendResult {
            status,
            msg_id: self.msg_id.clone(),
            offset_msg_id,
            queue,
            queue_offset,
            transaction_id,
            region_id: region_id.unwrap_or_else(|| "DefaultRegion".into()),
            trace_on,
            recall_handle,
        })
    }
}

/// `None`: it is short, or no shorter compressed.
fn compressed(body: &Bytes, form: &Form) -> Option<Bytes> {
    if body.len() < form.compress_over {
        return None;
    }
    let small = compression::compress(form.compression, form.compression_level, body).ok()?;
    (small.len() < body.len()).then(|| small.into())
}

/// A message as it stands in a batch.
#[derive(Debug, Clone)]
pub(crate) struct Encoded {
    pub(crate) msg_id: String,
    bytes: Bytes,
}

impl Encoded {
    /// Bytes that it takes in a batch.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Writes a message that was checked. Batches are not compressed, nor is what is in them.
    pub(crate) fn new(message: Message) -> Result<Self, MessageError> {
        let unique = message.get(property::UNIQ_KEY).map(ToOwned::to_owned);
        let has_wait = message.get(property::WAIT).is_some();
        let Message { body, flag, mut properties, .. } = message;
        let msg_id = unique.unwrap_or_else(|| {
            let id = ids::next_unique_id();
            push_property(&mut properties, property::UNIQ_KEY, &id);
            id
        });
        if !has_wait {
            push_property(&mut properties, property::WAIT, "true");
        }
        if properties.len() > PROPERTIES_LENGTH_MAX {
            return Err(MessageError::PropertiesTooLong(properties.len()));
        }
        let mut bytes = Vec::with_capacity(22 + body.len() + properties.len());
        encode_batch_message(
            &BatchMessage { flag, body: &body, properties: properties.as_bytes() },
            &mut bytes,
        );
        Ok(Self { msg_id, bytes: bytes.into() })
    }
}

/// Divides messages into batches of at most `limit` bytes, in their order. A message that alone is larger makes a batch
/// alone.
pub(crate) fn split(messages: &[Encoded], limit: usize) -> Vec<std::ops::Range<usize>> {
    let (mut parts, mut start, mut size) = (Vec::new(), 0, 0);
    for (at, message) in messages.iter().enumerate() {
        if at > start && size + message.size() > limit {
            parts.push(start..at);
            (start, size) = (at, 0);
        }
        size += message.size();
    }
    if start < messages.len() {
        parts.push(start..messages.len());
    }
    parts
}

/// True if properties have a pair of this name, for tests.
#[cfg(test)]
fn has(properties: &str, name: &str) -> bool {
    oxmq_record::properties::find(properties.as_bytes(), name).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use oxmq_record::BatchMessages;

    fn form() -> Form {
        Form {
            compress_over: 4096,
            compression: Compression::Zlib,
            compression_level: 5,
            new_topic_queues: 4,
        }
    }

    fn command(message: Message) -> Command {
        let outgoing = Outgoing::new(message, &form()).unwrap();
        outgoing.command(&"g".into(), &MessageQueue::new("T", "b", 3), &form())
    }

    #[test]
    fn a_send_has_the_fields_of_java() {
        let command = command(Message::new("T", "body").tag("A").flag(7));
        assert_eq!(command.code, 310);
        for (name, expected) in [
            ("a", "g"),
            ("b", "T"),
            ("c", "TBW102"),
            ("d", "4"),
            ("e", "3"),
            ("f", "0"),
            ("h", "7"),
            ("j", "0"),
            ("k", "false"),
            ("m", "false"),
            ("n", "b"),
        ] {
            assert_eq!(command.field(name).as_deref(), Some(expected), "{name}");
        }
        let properties = command.field("i").unwrap();
        assert!(properties.starts_with("TAGS\u{1}A\u{2}UNIQ_KEY\u{1}"), "{properties}");
        assert!(properties.ends_with("WAIT\u{1}true\u{2}"), "{properties}");
    }

    #[test]
    fn long_bodies_are_compressed_if_that_makes_them_shorter() {
        let size = |body: Vec<u8>| {
            let command = command(Message::new("T", body));
            (command.body.len(), command.field("f").unwrap().into_owned())
        };
        assert_eq!(size(vec![7; 4095]), (4095, "0".into()));
        let (small, flag) = size(vec![7; 4096]);
        assert!(small < 100 && flag == "1");
        // What cannot be compressed is sent as it is.
        let noise: Vec<u8> = (0..1000u64).flat_map(|_| ids::random().to_be_bytes()).collect();
        assert_eq!(size(noise), (8000, "0".into()));
    }

    #[test]
    fn what_goes_to_a_retry_topic_tells_its_times() {
        let message = Message::new("%RETRY%g", "b")
            .property(property::RECONSUME_TIME, "3")
            .property(property::MAX_RECONSUME_TIMES, "16");
        let command = command(message);
        assert_eq!((command.field("j").as_deref(), command.field("l").as_deref()), (Some("3"), Some("16")));
        assert!(!has(&command.field("i").unwrap(), property::RECONSUME_TIME));
        let half = Message::new("T", "b").property(property::TRANSACTION_PREPARED, "true");
        assert_eq!(self::command(half).field("f").as_deref(), Some("4"));
    }

    #[test]
    fn batches_are_split_in_order_and_lose_nothing() {
        let encoded: Vec<_> = (0..40)
            .map(|n| Encoded::new(Message::new("T", vec![n; usize::from(n) * 10 + 1])).unwrap())
            .collect();
        for limit in [1, 300, 1000, 5000, 1 << 20] {
            let parts = split(&encoded, limit);
            let mut seen = Vec::new();
            for part in &parts {
                let size: usize = encoded[part.clone()].iter().map(Encoded::size).sum();
                assert!(size <= limit || part.len() == 1, "{limit}: {size}");
                let batch = Outgoing::batch(&encoded[part.clone()], &"T".into());
                assert_eq!(batch.size(), size);
                seen.extend(BatchMessages::new(&batch.body).map(|message| message.unwrap().body[0]));
            }
            assert_eq!(seen, (0..40).collect::<Vec<u8>>(), "{limit}");
            assert_eq!(parts.len() == 1, limit == 1 << 20);
        }
        assert_eq!(split(&[], 10), []);
    }

    #[test]
    fn an_answer_is_read_field_by_field() {
        let outgoing = Outgoing::new(Message::new("T", "b"), &form()).unwrap();
        let queue = MessageQueue::new("T", "b", 3);
        let reply = |code, fields: &[(&str, &str)]| Reply {
            code,
            remark: None,
            version: 0,
            fields: fields.iter().copied().collect(),
            body: Bytes::new(),
        };
        let fields = [("msgId", "X"), ("queueId", "2"), ("queueOffset", "77"), ("TRACE_ON", "false")];
        let result = outgoing.result(&reply(0, &fields), &queue).unwrap();
        assert_eq!((result.queue.queue_id, result.queue_offset, &*result.offset_msg_id), (2, 77, "X"));
        assert!(!result.trace_on && result.msg_id == outgoing.msg_id);
        assert_eq!(outgoing.result(&reply(10, &[]), &queue).unwrap().status, SendStatus::FlushDiskTimeout);
        assert_eq!(outgoing.result(&reply(1, &fields), &queue), None);
        // A hostile broker's numbers are not believed.
        let result = outgoing.result(&reply(0, &[("queueOffset", "x"), ("queueId", "9e9")]), &queue).unwrap();
        assert_eq!((result.queue.queue_id, result.queue_offset), (3, -1));
    }
}
