// SPDX-License-Identifier: Apache-2.0
//! Messages: [`Message`] is what an application sends, [`ReceivedMessage`] what it is given, [`MessageQueue`] where a
//! message lies, [`SendResult`] what became of one that was sent.
//!
//! Properties are kept in the form of the wire (`name 0x01 value 0x02`, repeated): a message is written once and its
//! properties are looked at seldom.

mod outgoing;
mod properties;
mod queue;
mod received;

pub(crate) use outgoing::push_property;
pub use outgoing::{Message, MessageError};
pub(crate) use properties::PropertyText;
pub use queue::{MessageQueue, SendResult, SendStatus};
pub use received::{BodyFault, DecodeError, ReceivedMessage, RecordErrorText};

/// Names of properties that both sides know, as Java's `MessageConst` has them. Most are set by a method of [`Message`], by the
/// client or by the broker; an application reads them with [`ReceivedMessage::get`].
pub mod property {
    #[doc(inline)]
    pub use oxmq_record::properties::{DELAY, KEYS, RETRY_TOPIC, TAGS, TRANSACTION_PREPARED, UNIQ_KEY};
    /// `true`: the broker answers when the message is as safe as its flush and replication mode make it.
    pub const WAIT: &str = "WAIT";
    /// The key by which messages are ordered.
    pub const SHARDING_KEY: &str = "__SHARDINGKEY";
    /// Delivery time, in ms since 1970.
    pub const TIMER_DELIVER_MS: &str = "TIMER_DELIVER_MS";
    /// Delay, in ms.
    pub const TIMER_DELAY_MS: &str = "TIMER_DELAY_MS";
    /// Delay, in s.
    pub const TIMER_DELAY_SEC: &str = "TIMER_DELAY_SEC";
    /// Producer group of a half message.
    pub const PRODUCER_GROUP: &str = "PGROUP";
    /// So many seconds after a half message was sent brokers ask for it at the earliest.
    pub const CHECK_IMMUNITY_SECONDS: &str = "CHECK_IMMUNITY_TIME_IN_SECONDS";
    /// Transaction id that the application knows.
    pub const TRANSACTION_ID: &str = "__transactionId__";
    /// Offset message id of a message that was sent back, when it was sent first.
    pub const ORIGIN_MESSAGE_ID: &str = "ORIGIN_MESSAGE_ID";
    /// Consumptions of a message that a client sends to a retry topic itself.
    pub const RECONSUME_TIME: &str = "RECONSUME_TIME";
    /// Most consumptions of such a message.
    pub const MAX_RECONSUME_TIMES: &str = "MAX_RECONSUME_TIMES";
    /// When the application was given a message, in ms since 1970.
    pub const CONSUME_START_TIME: &str = "CONSUME_START_TIME";
    /// Smallest offset of the queue when a message was pulled; see [`ReceivedMessage::queue_range`](super::ReceivedMessage::queue_range).
    pub const MIN_OFFSET: &str = "MIN_OFFSET";
    /// Largest offset of the queue when a message was pulled.
    pub const MAX_OFFSET: &str = "MAX_OFFSET";
    /// Region of the broker.
    pub const MSG_REGION: &str = "MSG_REGION";
    /// `false` if the broker wants no trace of a message.
    pub const TRACE_ON: &str = "TRACE_ON";
    /// Which request a reply belongs to.
    pub const CORRELATION_ID: &str = "CORRELATION_ID";
    /// Client that waits for the reply.
    pub const REPLY_TO_CLIENT: &str = "REPLY_TO_CLIENT";
    /// How long it waits, in ms.
    pub const TTL: &str = "TTL";
    /// What kind of message it is, `reply` for one.
    pub const MSG_TYPE: &str = "MSG_TYPE";
    /// The cluster whose broker stored a message.
    pub const CLUSTER: &str = "CLUSTER";
    /// Instance id: the namespace of Java's clients.
    pub const INSTANCE_ID: &str = "INSTANCE_ID";
    /// Topic of a dead letter, before it was one.
    pub const DLQ_ORIGIN_TOPIC: &str = "DLQ_ORIGIN_TOPIC";
    /// Offset message id of a dead letter, before it was one.
    pub const DLQ_ORIGIN_MESSAGE_ID: &str = "DLQ_ORIGIN_MESSAGE_ID";
}
