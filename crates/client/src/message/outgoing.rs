// SPDX-License-Identifier: Apache-2.0
//! A message to be sent.

use super::{properties::fits, property};
use bytes::Bytes;
use oxmq_record::properties;
use oxmq_types::NameError;
use std::{
    borrow::Cow,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};
use thiserror::Error;

/// A message to be sent, built step by step. Cheap to clone. Java: `Message`.
///
/// ```
/// use oxmq_client::Message;
///
/// let order = Message::new("Orders", "42 apples").tag("created").key("order-7").property("shop", "berlin");
/// assert_eq!(order.get("KEYS"), Some("order-7"));
/// ```
///
/// The body has 1 byte to [`max_message_size`](crate::ProducerOptions::max_message_size), by default 4 MiB; all properties together
/// have 32,767 bytes, tag, keys and the message id among them. What is wrong with a message (a separator in a property, a topic that
/// cannot be) is told when it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub(crate) topic: Arc<str>,
    pub(crate) body: Bytes,
    pub(crate) flag: i32,
    /// In the form of the wire.
    pub(crate) properties: String,
    fault: Option<MessageError>,
}

/// What is wrong with a message.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MessageError {
    /// The topic's name is not allowed.
    #[error("topic \"{topic}\": {error}")]
    Topic {
        /// The topic.
        topic: String,
        /// What is wrong with it.
        error: NameError,
    },
    /// A topic to which only the broker writes.
    #[error("sending to topic \"{0}\" is forbidden: only the broker writes there")]
    Forbidden(String),
    /// A body must have a byte at least.
    #[error("the body is empty: brokers refuse such messages; put what is to be told into the body")]
    EmptyBody,
    /// The body is larger than the producer allows.
    #[error(
        "the body has {size} bytes, more than the {limit} that are allowed: store it elsewhere and send its place, \
         or raise max_message_size here and maxMessageSize at the broker"
    )]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// Name or value of a property is empty or has one of the separators (bytes 1 and 2).
    #[error("property \"{0}\": name and value must not be empty and must not have the bytes 1 and 2")]
    Property(String),
    /// All properties together are too long for a record.
    #[error("the properties have {0} bytes, more than the 32767 that fit into a record")]
    PropertiesTooLong(usize),
    /// The queue that was named is one of another topic.
    #[error("the message is for topic \"{0}\", and the queue one of \"{1}\"")]
    QueueTopic(String, String),
    /// Messages of a batch have different topics.
    #[error("the messages of a batch must have one topic, not \"{0}\" and \"{1}\"")]
    BatchTopics(String, String),
    /// A batch cannot hold messages that are delayed, or go to a retry topic.
    #[error("a batch cannot hold delayed messages nor messages to retry topics: send them one by one")]
    BatchKind,
    /// A batch without messages.
    #[error("the batch is empty")]
    EmptyBatch,
    /// A transaction cannot be combined with this.
    #[error("a half message cannot be delayed: its delay would be lost or begin at the wrong time")]
    TransactionDelayed,
}

impl Message {
    /// A message with `body` for `topic`. A text, a `Vec` of bytes or [`Bytes`] will do for the body. A topic's name has up to 127
    /// letters, digits, `_`, `-`, `%` and `|`.
    pub fn new(topic: impl Into<Arc<str>>, body: impl Into<Bytes>) -> Self {
        let (topic, body) = (topic.into(), body.into());
        Self { topic, body, flag: 0, properties: String::new(), fault: None }
    }

    /// The tag by which consumers choose. A message has one at most.
    #[must_use]
    pub fn tag(self, tag: &str) -> Self {
        self.property(property::TAGS, tag)
    }

    /// A key by which tools find it, such as the number of an order. Several calls add several keys, which are separated by blanks:
    /// a key must not have one.
    #[must_use]
    pub fn key(self, key: &str) -> Self {
        match self.get(property::KEYS).map(|keys| format!("{keys} {key}")) {
            Some(keys) => self.property(property::KEYS, &keys),
            None => self.property(property::KEYS, key),
        }
    }

    /// Several keys, see [`Self::key`].
    #[must_use]
    pub fn keys<'k>(self, keys: impl IntoIterator<Item = &'k str>) -> Self {
        keys.into_iter().fold(self, Self::key)
    }

    /// A property of the application's, or one of [`property`]. Replaces one of the same name. Consumers read it with
    /// [`ReceivedMessage::get`](crate::ReceivedMessage::get), and brokers can filter by it
    /// ([`Filter::sql`](crate::consumer::Filter::sql)).
    #[must_use]
    pub fn property(mut self, name: &str, value: &str) -> Self {
        self.set_property(name, value);
        self
    }

    /// The same on a message that is there already.
    pub fn set_property(&mut self, name: &str, value: &str) {
        if name.is_empty() || value.is_empty() || !fits(name) || !fits(value) {
            self.fault.get_or_insert_with(|| MessageError::Property(name.to_owned()));
            return;
        }
        if self.get(name).is_some() {
            self.remove_property(name);
        }
        push_property(&mut self.properties, name, value);
    }

    /// Removes a property.
    pub fn remove_property(&mut self, name: &str) {
        let mut text = std::mem::take(&mut self.properties).into_bytes();
        properties::remove(&mut text, name);
        self.properties = String::from_utf8(text).unwrap_or_default();
    }

    /// The application's own flag, a number that the broker hands through.
    #[must_use]
    pub fn flag(mut self, flag: i32) -> Self {
        self.flag = flag;
        self
    }

    /// Delays it by a level of the broker's table (`messageDelayLevel`), by default of 1 to 18: `1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m
    /// 9m 10m 20m 30m 1h 2h`. Brokers take a level beyond the last for the last.
    #[must_use]
    pub fn delay_level(self, level: i32) -> Self {
        self.property(property::DELAY, itoa::Buffer::new().format(level))
    }

    /// Delays it by any length of time, in steps of 1 ms, at most three days unless the broker allows more (`timerMaxDelaySec`): then
    /// it refuses the message. Brokers of version 5 and OxMQ know this; older ones deliver at once. Java's are exact to a second.
    #[must_use]
    pub fn delay(self, delay: std::time::Duration) -> Self {
        let ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.property(property::TIMER_DELAY_MS, itoa::Buffer::new().format(ms))
    }

    /// Delivers it at `time`, by the broker's clock. As [`Self::delay`]; a time that has passed delivers at once.
    #[must_use]
    pub fn deliver_at(self, time: SystemTime) -> Self {
        let ms = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        self.deliver_at_ms(u64::try_from(ms).unwrap_or(u64::MAX))
    }

    /// Delivers it at a time in ms since 1970. As [`Self::delay`].
    #[must_use]
    pub fn deliver_at_ms(self, ms: u64) -> Self {
        self.property(property::TIMER_DELIVER_MS, itoa::Buffer::new().format(ms))
    }

    /// Notes the key by which messages are ordered, for those who read it
    /// ([`property::SHARDING_KEY`]). [`Producer::send_ordered`](crate::Producer::send_ordered) is told its key apart.
    #[must_use]
    pub fn sharding_key(self, key: &str) -> Self {
        self.property(property::SHARDING_KEY, key)
    }

    /// False: the broker answers before the message is on the disk, whatever its flush mode. True by default.
    #[must_use]
    pub fn wait_store_ok(self, wait: bool) -> Self {
        self.property(property::WAIT, if wait { "true" } else { "false" })
    }

    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The value of a property. `None`: there is none of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        properties::find(self.properties.as_bytes(), name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// All properties, in the order in which they were set.
    pub fn properties(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        properties::iter(self.properties.as_bytes())
            .map(|(name, value)| (String::from_utf8_lossy(name), String::from_utf8_lossy(value)))
    }

    /// True if the broker is to deliver it later.
    #[must_use]
    pub fn is_delayed(&self) -> bool {
        use property::{DELAY, TIMER_DELAY_MS, TIMER_DELAY_SEC, TIMER_DELIVER_MS};
        // Most messages have short properties without any delay: one pass instead of four.
        properties::iter(self.properties.as_bytes()).any(|(name, _)| {
            [DELAY, TIMER_DELAY_MS, TIMER_DELAY_SEC, TIMER_DELIVER_MS]
                .iter()
                .any(|delay| delay.as_bytes() == name)
        })
    }

    /// Checks what can be known before it is sent. `body_max` in bytes.
    pub(crate) fn check(&self, body_max: usize) -> Result<(), MessageError> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        let topic = || self.topic.to_string();
        oxmq_types::validate_topic(&self.topic)
            .map_err(|error| MessageError::Topic { topic: topic(), error })?;
        if oxmq_types::is_send_forbidden(&self.topic) {
            return Err(MessageError::Forbidden(topic()));
        }
        if self.body.is_empty() {
            return Err(MessageError::EmptyBody);
        }
        if self.body.len() > body_max {
            return Err(MessageError::TooLarge { size: self.body.len(), limit: body_max });
        }
        Ok(())
    }
}

/// Appends a pair that is known to be well-formed and new.
pub(crate) fn push_property(text: &mut String, name: &str, value: &str) {
    text.reserve(name.len() + value.len() + 2);
    text.push_str(name);
    text.push('\u{1}');
    text.push_str(value);
    text.push('\u{2}');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builds_properties_in_the_form_of_the_wire() {
        let message =
            Message::new("T", "b").tag("A").key("k1").key("k2").property("x", "1").property("x", "2");
        assert_eq!(message.properties, "TAGS\u{1}A\u{2}KEYS\u{1}k1 k2\u{2}x\u{1}2\u{2}");
        assert_eq!((message.get("x"), message.get("y")), (Some("2"), None));
        assert_eq!(message.check(10), Ok(()));
        assert!(!message.is_delayed() && message.delay_level(3).is_delayed());
    }

    #[test]
    fn what_is_wrong_is_told_when_it_is_checked() {
        let body = || Message::new("T", "b");
        let check = |message: Message, expected: &str| {
            assert_eq!(message.check(4).unwrap_err().to_string().split(':').next().unwrap(), expected);
        };
        check(body().property("a\u{1}b", "c"), "property \"a\u{1}b\"");
        check(body().property("a", ""), "property \"a\"");
        check(Message::new("", "b"), "topic \"\"");
        check(Message::new("a b", "b"), "topic \"a b\"");
        check(Message::new("T", ""), "the body is empty");
        check(Message::new("T", "12345"), "the body has 5 bytes, more than the 4 that are allowed");
        check(
            Message::new("SCHEDULE_TOPIC_XXXX", "b"),
            "sending to topic \"SCHEDULE_TOPIC_XXXX\" is forbidden",
        );
    }
}
