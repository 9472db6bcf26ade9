// SPDX-License-Identifier: Apache-2.0
//! Typed headers of requests: which fields a request code carries, under which names, and which must be there.
//!
//! A field that is missing or of the wrong type becomes a [`FieldError`], whose text is the remark of the answer
//! (`SYSTEM_ERROR`, as Java answers it).

use crate::{Fields, Text};
use std::borrow::Cow;
use thiserror::Error;

/// Why the fields of a request cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FieldError {
    /// A required field is absent. Java: the message of its `RemotingCommandException`.
    #[error("the custom field <{0}> is null")]
    Missing(&'static str),
    /// A field that is no number or no boolean.
    #[error("the custom field <{name}> is not {expected}")]
    WrongType {
        /// Its name on the wire.
        name: &'static str,
        /// What would have been right.
        expected: &'static str,
    },
}

/// A typed view of the custom fields of one request code.
pub trait RequestHeader<'a>: Sized {
    /// Takes what the request needs from `fields`.
    ///
    /// # Errors
    /// [`FieldError`] names the first field that is missing or wrong.
    fn from_fields(fields: &Fields<'a>) -> Result<Self, FieldError>;
}

/// A type that a field's text can become.
pub trait FromField<'a>: Sized {
    /// Reads `text`, the value of the field `name`, `None` if it is absent.
    ///
    /// # Errors
    /// [`FieldError`] if it is needed and absent, or is of another type.
    fn from_field(name: &'static str, text: Option<Text<'a>>) -> Result<Self, FieldError>;
}

impl<'a> FromField<'a> for Text<'a> {
    fn from_field(name: &'static str, text: Option<Text<'a>>) -> Result<Self, FieldError> {
        text.ok_or(FieldError::Missing(name))
    }
}

impl<'a> FromField<'a> for Cow<'a, str> {
    fn from_field(name: &'static str, text: Option<Text<'a>>) -> Result<Self, FieldError> {
        text.map(Text::to_cow).ok_or(FieldError::Missing(name))
    }
}

macro_rules! parsed {
    ($($type:ty: $expected:literal),*) => {$(
        impl<'a> FromField<'a> for $type {
            fn from_field(name: &'static str, text: Option<Text<'a>>) -> Result<Self, FieldError> {
                let text = text.ok_or(FieldError::Missing(name))?;
                let wrong = FieldError::WrongType { name, expected: $expected };
                text.as_plain().and_then(|text| text.parse().ok()).ok_or(wrong)
            }
        }
    )*};
}
parsed!(i32: "a 32-bit number", i64: "a 64-bit number");

impl<'a> FromField<'a> for bool {
    /// As `Boolean.parseBoolean`: anything but `true` is false.
    fn from_field(name: &'static str, text: Option<Text<'a>>) -> Result<Self, FieldError> {
        text.map(|text| text.to_cow().eq_ignore_ascii_case("true")).ok_or(FieldError::Missing(name))
    }
}

impl<'a, T: FromField<'a>> FromField<'a> for Option<T> {
    fn from_field(name: &'static str, text: Option<Text<'a>>) -> Result<Self, FieldError> {
        text.map(|text| T::from_field(name, Some(text))).transpose()
    }
}

/// A name on the wire as text, for errors.
#[doc(hidden)]
#[must_use]
pub const fn wire_name(name: &'static [u8]) -> &'static str {
    match std::str::from_utf8(name) {
        Ok(name) => name,
        Err(_) => "?",
    }
}

/// Declares typed headers: fields with their type and their name on the wire, or names, of which the first is told
/// in errors. One pass over the fields fills all.
#[macro_export]
macro_rules! request_headers {
    ($($(#[$doc:meta])* $name:ident<'a> {
        $($(#[$field_doc:meta])* $field:ident: $type:ty = $wire:literal $(| $alias:literal)*,)*
    })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name<'a> {
            $($(#[$field_doc])* pub $field: $type,)*
            #[doc(hidden)]
            pub lifetime: std::marker::PhantomData<&'a ()>,
        }

        impl<'a> $crate::RequestHeader<'a> for $name<'a> {
            fn from_fields(fields: &$crate::Fields<'a>) -> Result<Self, $crate::FieldError> {
                $(let mut $field = None;)*
                for (name, value) in fields.iter() {
                    // Patterns of bytes become a decision tree, patterns of text a chain of comparisons.
                    match name.as_bytes() {
                        $($wire $(| $alias)* => $field = Some(value),)*
                        _ => {}
                    }
                }
                Ok(Self {
                    $($field: $crate::FromField::from_field(const { $crate::requests::wire_name($wire) }, $field)?,)*
                    lifetime: std::marker::PhantomData,
                })
            }
        }
    )*};
}

request_headers! {
    /// SEND_MESSAGE (10), and SEND_MESSAGE_V2 (310) and SEND_BATCH_MESSAGE (320), which shorten the names to letters.
    /// Java: `SendMessageRequestHeader`, `SendMessageRequestHeaderV2`.
    SendMessage<'a> {
        /// Producer group.
        producer_group: Text<'a> = b"producerGroup" | b"a",
        /// Topic.
        topic: Cow<'a, str> = b"topic" | b"b",
        /// Topic whose settings a new topic inherits, `TBW102`.
        default_topic: Cow<'a, str> = b"defaultTopic" | b"c",
        /// Queues that the client wishes for a new topic.
        default_topic_queue_nums: i32 = b"defaultTopicQueueNums" | b"d",
        /// Queue, negative for any.
        queue_id: i32 = b"queueId" | b"e",
        /// Compression, transaction and address bits.
        sys_flag: i32 = b"sysFlag" | b"f",
        /// When the client made the message, in ms since 1970.
        born_timestamp_ms: i64 = b"bornTimestamp" | b"g",
        /// The application's own flag.
        flag: i32 = b"flag" | b"h",
        /// Properties, `k\u{1}v\u{2}…`.
        properties: Option<Text<'a>> = b"properties" | b"i",
        /// How often it was consumed in vain.
        reconsume_times: Option<i32> = b"reconsumeTimes" | b"j",
        /// Set by clients of a unit.
        unit_mode: Option<bool> = b"unitMode" | b"k",
        /// Most consumptions before it becomes a dead letter, for a retry topic.
        max_reconsume_times: Option<i32> = b"maxReconsumeTimes" | b"l",
        /// True if the body is a batch.
        batch: Option<bool> = b"batch" | b"m",
    }

    /// CONSUMER_SEND_MSG_BACK (36). Java: `ConsumerSendMsgBackRequestHeader`, of which the original topic and message id
    /// are told for statistics only.
    ConsumerSendBack<'a> {
        /// Where the message lies in the commit log.
        offset: i64 = b"offset",
        /// The group that could not consume it.
        group: Cow<'a, str> = b"group",
        /// Delay level until the next attempt: negative for none, 0 leaves it to the broker.
        delay_level: i32 = b"delayLevel",
        /// Set by clients of a unit.
        unit_mode: Option<bool> = b"unitMode",
        /// Most consumptions before it becomes a dead letter.
        max_reconsume_times: Option<i32> = b"maxReconsumeTimes",
    }

    /// PULL_MESSAGE (11) and LITE_PULL_MESSAGE (361). Java: `PullMessageRequestHeader`.
    PullMessage<'a> {
        /// Consumer group.
        consumer_group: Cow<'a, str> = b"consumerGroup",
        /// Topic.
        topic: Cow<'a, str> = b"topic",
        /// Queue.
        queue_id: i32 = b"queueId",
        /// First message wanted.
        queue_offset: i64 = b"queueOffset",
        /// Most messages wanted.
        max_messages: i32 = b"maxMsgNums",
        /// Commit, suspend, subscription and class filter bits. Java: `PullSysFlag`.
        sys_flag: i32 = b"sysFlag",
        /// Offset to commit on the way, if its bit is set.
        commit_offset: i64 = b"commitOffset",
        /// How long an empty pull may be held, in ms.
        suspend_timeout_ms: i64 = b"suspendTimeoutMillis",
        /// Filter expression.
        subscription: Option<Cow<'a, str>> = b"subscription",
        /// Version of the subscription, the client's clock in ms.
        sub_version: i64 = b"subVersion",
        /// `TAG` or `SQL92`, absent for tags.
        expression_type: Option<Cow<'a, str>> = b"expressionType",
        /// Most bytes wanted.
        max_bytes: Option<i32> = b"maxMsgBytes",
    }

    /// END_TRANSACTION (37). Java: `EndTransactionRequestHeader`.
    EndTransaction<'a> {
        /// Producer group.
        producer_group: Cow<'a, str> = b"producerGroup",
        /// Queue offset of the half message.
        half_queue_offset: i64 = b"tranStateTableOffset",
        /// Where the record of the half message starts in the log.
        half_physical_offset: i64 = b"commitLogOffset",
        /// 8 to commit, 12 to roll back, 0 if the producer does not know.
        outcome: i32 = b"commitOrRollback",
        /// True if the broker had asked.
        from_check: Option<bool> = b"fromTransactionCheck",
    }

    /// RESUME_CHECK_HALF_MESSAGE (323). Java: `ResumeCheckHalfMessageRequestHeader`.
    ResumeCheckHalfMessage<'a> {
        /// Offset message id.
        message_id: Cow<'a, str> = b"msgId",
    }

    /// RECALL_MESSAGE (370). Java: `RecallMessageRequestHeader`.
    RecallMessage<'a> {
        /// Producer group.
        producer_group: Option<Cow<'a, str>> = b"producerGroup",
        /// Topic.
        topic: Cow<'a, str> = b"topic",
        /// What the answer to the send called `recallHandle`.
        handle: Cow<'a, str> = b"recallHandle",
    }

    /// GET_MAX_OFFSET (30), GET_MIN_OFFSET (31), GET_EARLIEST_MSG_STORETIME (32).
    QueueQuery<'a> {
        /// Topic.
        topic: Cow<'a, str> = b"topic",
        /// Queue.
        queue_id: i32 = b"queueId",
    }

    /// SEARCH_OFFSET_BY_TIMESTAMP (29). Java: `SearchOffsetRequestHeader`.
    SearchOffset<'a> {
        /// Topic.
        topic: Cow<'a, str> = b"topic",
        /// Queue.
        queue_id: i32 = b"queueId",
        /// Store time searched for, in ms since 1970.
        timestamp_ms: i64 = b"timestamp",
        /// 5.x: `LOWER` (the first of equals, the default) or `UPPER` (the last).
        boundary: Option<Cow<'a, str>> = b"boundaryType",
    }

    /// QUERY_CONSUMER_OFFSET (14). Java: `QueryConsumerOffsetRequestHeader`.
    QueryConsumerOffset<'a> {
        /// Group.
        consumer_group: Cow<'a, str> = b"consumerGroup",
        /// Topic.
        topic: Cow<'a, str> = b"topic",
        /// Queue.
        queue_id: i32 = b"queueId",
        /// 5.x: false if a group without an offset is not to be given 0.
        set_zero_if_not_found: Option<bool> = b"setZeroIfNotFound",
    }

    /// UPDATE_CONSUMER_OFFSET (15). Java: `UpdateConsumerOffsetRequestHeader`.
    UpdateConsumerOffset<'a> {
        /// Group.
        consumer_group: Cow<'a, str> = b"consumerGroup",
        /// Topic.
        topic: Cow<'a, str> = b"topic",
        /// Queue.
        queue_id: i32 = b"queueId",
        /// The next message to consume.
        commit_offset: i64 = b"commitOffset",
    }

    /// GET_CONSUMER_LIST_BY_GROUP (38), and other requests about a group alone.
    ConsumerGroupQuery<'a> {
        /// Group.
        consumer_group: Cow<'a, str> = b"consumerGroup",
    }

    /// UNREGISTER_CLIENT (35). Java: `UnregisterClientRequestHeader`.
    UnregisterClient<'a> {
        /// Client id.
        client_id: Cow<'a, str> = b"clientID",
        /// Producer group that it leaves.
        producer_group: Option<Cow<'a, str>> = b"producerGroup",
        /// Consumer group that it leaves.
        consumer_group: Option<Cow<'a, str>> = b"consumerGroup",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Encoding, Header};

    fn pull(fields: &str) -> Result<i64, FieldError> {
        let text = format!(r#"{{"code":11,"extFields":{{{fields}}}}}"#);
        let header = Header::parse(Encoding::Json, text.as_bytes()).unwrap();
        PullMessage::from_fields(&header.fields).map(|pull| pull.queue_offset)
    }

    #[test]
    fn names_the_field_that_is_missing_or_wrong() {
        let rest = r#""consumerGroup":"g","topic":"t","queueId":"0","maxMsgNums":"32","sysFlag":"2",
            "commitOffset":"0","suspendTimeoutMillis":"15000","subVersion":"0""#;
        assert_eq!(pull(&format!(r#"{rest},"queueOffset":"12""#)), Ok(12));
        assert_eq!(pull(rest).unwrap_err().to_string(), "the custom field <queueOffset> is null");
        let wrong = pull(&format!(r#"{rest},"queueOffset":"1x""#)).unwrap_err();
        assert_eq!(wrong.to_string(), "the custom field <queueOffset> is not a 64-bit number");
    }
}
