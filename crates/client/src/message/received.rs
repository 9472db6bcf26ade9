// SPDX-License-Identifier: Apache-2.0
//! A message that a broker gave out.

use super::{Message, MessageQueue, PropertyText, property, push_property};
use crate::{Request, compression, ids};
use bytes::Bytes;
use oxmq_record::{Peeked, RecordError, RecordView, peek_size_and_magic, sys_flag};
use std::{borrow::Cow, net::SocketAddr, ops::Range, sync::Arc};
use thiserror::Error;

/// A message that a broker gave out. Java: `MessageExt`. Cheap to clone. Offsets count messages from 0, times are in ms since 1970
/// and by the clock of who wrote them.
///
/// Body and properties are slices of the answer in which they came: one message that is kept keeps the memory of all
/// that came with it. [`Self::detached`] copies it out.
#[derive(Clone, PartialEq, Eq)]
pub struct ReceivedMessage {
    pub(crate) topic: Arc<str>,
    answer: Arc<Answer>,
    pub(crate) body: Bytes,
    pub(crate) fault: Option<BodyFault>,
    pub(crate) properties: PropertyText,
    pub(crate) queue_id: i32,
    pub(crate) queue_offset: i64,
    pub(crate) physical_offset: i64,
    pub(crate) reconsume_times: i32,
    flag: i32,
    sys_flag: i32,
    born_timestamp_ms: i64,
    born_host: SocketAddr,
    store_timestamp_ms: i64,
    store_host: SocketAddr,
    body_crc: u32,
    prepared_transaction_offset: i64,
    store_size: u32,
}

/// What all messages of one answer share.
#[derive(PartialEq, Eq)]
struct Answer {
    broker_name: Arc<str>,
    queue: Option<Range<i64>>,
}

/// Why a body could not be taken as it was sent.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BodyFault {
    /// Its checksum is not that of the record.
    #[error("the body is damaged: its checksum is not that of the record")]
    Checksum,
    /// It cannot be decompressed.
    #[error("the body cannot be decompressed ({0})")]
    Compression(String),
}

/// Why the body of an answer cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A record is malformed.
    #[error("record {index} of the answer: {error}")]
    Record {
        /// Its ordinal, from 0.
        index: usize,
        /// What is wrong with it.
        error: RecordErrorText,
    },
}

/// What is wrong with a record: its text says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct RecordErrorText(pub(crate) RecordError);

impl ReceivedMessage {
    /// All messages in the body of an answer: of a look for a key, or one alone. Bodies come decompressed. `broker_name`: of
    /// the broker that answered, empty if it is not known.
    ///
    /// # Errors
    /// [`DecodeError`] for bytes that are no records. A body that is damaged is no error here: see [`Self::body_fault`].
    pub fn decode_all(bytes: &Bytes, broker_name: &Arc<str>) -> Result<Vec<Self>, DecodeError> {
        Self::decode(bytes, Answer { broker_name: broker_name.clone(), queue: None })
    }

    /// The same of a pull. `queue`: the offsets of the messages that the queue had then.
    ///
    /// # Errors
    /// As [`Self::decode_all`].
    pub fn decode_pulled(
        bytes: &Bytes,
        broker_name: &Arc<str>,
        queue: Range<i64>,
    ) -> Result<Vec<Self>, DecodeError> {
        Self::decode(bytes, Answer { broker_name: broker_name.clone(), queue: Some(queue) })
    }

    fn decode(bytes: &Bytes, answer: Answer) -> Result<Vec<Self>, DecodeError> {
        let answer = Arc::new(answer);
        let mut messages: Vec<Self> = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            if let Peeked::Blank { .. } = peek_size_and_magic(&bytes[at..]) {
                break;
            }
            let index = messages.len();
            let view = RecordView::parse(&bytes[at..])
                .map_err(|error| DecodeError::Record { index, error: RecordErrorText(error) })?;
            // Nearly always all of one topic.
            let topic = match messages.last() {
                Some(last) if *last.topic == *view.topic() => last.topic.clone(),
                _ => view.topic().into(),
            };
            messages.push(Self::of(bytes, &view, topic, answer.clone()));
            at += view.size() as usize;
        }
        Ok(messages)
    }

    fn of(bytes: &Bytes, view: &RecordView<'_>, topic: Arc<str>, answer: Arc<Answer>) -> Self {
        let mut flags = view.sys_flag();
        let mut body = bytes.slice_ref(view.body());
        let mut fault = None;
        if !view.verify_crc() {
            fault = Some(BodyFault::Checksum);
        } else if flags & sys_flag::COMPRESSED != 0 {
            match compression::decompress(flags, &body) {
                Ok(plain) => {
                    body = plain;
                    flags &= !sys_flag::COMPRESSED;
                }
                Err(error) => fault = Some(BodyFault::Compression(error.to_string())),
            }
        }
        Self {
            topic,
            answer,
            body,
            fault,
            properties: PropertyText::new(bytes.slice_ref(view.properties())),
            queue_id: view.queue_id().0 as i32,
            queue_offset: view.queue_offset().0 as i64,
            physical_offset: view.physical_offset().0 as i64,
            reconsume_times: view.reconsume_times(),
            flag: view.flag(),
            sys_flag: flags,
            born_timestamp_ms: view.born_timestamp_ms(),
            born_host: view.born_host(),
            store_timestamp_ms: view.store_timestamp_ms(),
            store_host: view.store_host(),
            body_crc: view.body_crc(),
            prepared_transaction_offset: view.prepared_transaction_offset(),
            store_size: view.size(),
        }
    }

    /// `message` as a consumer would be given it, without a broker: for tests of a handler. It gets a message id if it has none, and
    /// lies at offset 0 of queue 0 of a broker without a name.
    ///
    /// ```
    /// use oxmq_client::{Message, ReceivedMessage};
    ///
    /// let order = ReceivedMessage::from_message(Message::new("Orders", "42 apples").tag("created"));
    /// assert_eq!((order.text(), order.tag().as_deref()), (Some("42 apples"), Some("created")));
    /// assert!(!order.msg_id().is_empty());
    /// ```
    #[must_use]
    pub fn from_message(mut message: Message) -> Self {
        if message.get(property::UNIQ_KEY).is_none() {
            push_property(&mut message.properties, property::UNIQ_KEY, &ids::next_unique_id());
        }
        let Message { topic, body, flag, properties, .. } = message;
        let (now_ms, nowhere) = (ids::now_ms(), SocketAddr::from(([0, 0, 0, 0], 0)));
        Self {
            topic,
            answer: Arc::new(Answer { broker_name: "".into(), queue: None }),
            body,
            fault: None,
            properties: PropertyText::new(properties.into()),
            queue_id: 0,
            queue_offset: 0,
            physical_offset: 0,
            reconsume_times: 0,
            flag,
            sys_flag: 0,
            born_timestamp_ms: now_ms,
            born_host: nowhere,
            store_timestamp_ms: now_ms,
            store_host: nowhere,
            body_crc: 0,
            prepared_transaction_offset: 0,
            store_size: 0,
        }
    }

    /// A reply that a broker pushes (326): the fields of a send, and two more.
    pub(crate) fn from_push(request: Request<'_>) -> Self {
        let text = |name: &str| {
            let found = request.header.fields.iter().find(|(found, _)| *found == name);
            found.map(|(_, value)| value.to_cow().into_owned())
        };
        let number = |name: &str| text(name).and_then(|value| value.parse::<i64>().ok()).unwrap_or(0);
        let host = |name: &str| {
            let text = text(name).unwrap_or_default();
            // Java writes `/127.0.0.1:10911`.
            text.trim_start_matches('/').parse().unwrap_or_else(|_| request.peer.remote())
        };
        let mut flags = number("sysFlag") as i32;
        let body = Bytes::copy_from_slice(request.body);
        let (body, fault) = if flags & sys_flag::COMPRESSED == 0 {
            (body, None)
        } else {
            match compression::decompress(flags, &body) {
                Ok(plain) => {
                    flags &= !sys_flag::COMPRESSED;
                    (plain, None)
                }
                Err(error) => (body, Some(BodyFault::Compression(error.to_string()))),
            }
        };
        Self {
            topic: text("topic").unwrap_or_default().into(),
            answer: Arc::new(Answer { broker_name: "".into(), queue: None }),
            body,
            fault,
            properties: PropertyText::new(text("properties").unwrap_or_default().into()),
            queue_id: number("queueId") as i32,
            queue_offset: 0,
            physical_offset: 0,
            reconsume_times: number("reconsumeTimes") as i32,
            flag: number("flag") as i32,
            sys_flag: flags,
            born_timestamp_ms: number("bornTimestamp"),
            born_host: host("bornHost"),
            store_timestamp_ms: number("storeTimestamp"),
            store_host: host("storeHost"),
            body_crc: 0,
            prepared_transaction_offset: 0,
            store_size: 0,
        }
    }

    /// The topic. Of a message that comes again to a consumer, the topic it was sent to at first.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Name of the broker that gave it out, empty if that is not known.
    #[must_use]
    pub fn broker_name(&self) -> &str {
        &self.answer.broker_name
    }

    /// The offsets of the messages that its queue had when it was pulled; `None` if it came otherwise. Java has the first
    /// and the one behind the last among the properties, as `MIN_OFFSET` and `MAX_OFFSET`.
    #[must_use]
    pub fn queue_range(&self) -> Option<Range<i64>> {
        self.answer.queue.clone()
    }

    /// The queue it lies in.
    #[must_use]
    pub fn queue(&self) -> MessageQueue {
        MessageQueue::new(self.topic.clone(), self.answer.broker_name.clone(), self.queue_id)
    }

    /// The body, decompressed unless [`Self::body_fault`] says otherwise.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The body as text. `None` if it is no UTF-8.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.body).ok()
    }

    /// What is wrong with the body. `None`: nothing.
    #[must_use]
    pub fn body_fault(&self) -> Option<&BodyFault> {
        self.fault.as_ref()
    }

    /// The id that its producer made (`UNIQ_KEY`), or the offset message id if it made none. Java: `getMsgId`.
    #[must_use]
    pub fn msg_id(&self) -> String {
        self.get(property::UNIQ_KEY).map_or_else(|| self.offset_msg_id(), Cow::into_owned)
    }

    /// Where it lies, as text: the broker's address and the physical offset.
    #[must_use]
    pub fn offset_msg_id(&self) -> String {
        let physical_offset = oxmq_types::PhysicalOffset(self.physical_offset as u64);
        oxmq_record::MessageId { store_host: self.store_host, physical_offset }.to_text()
    }

    /// The tag. `None`: it has none.
    #[must_use]
    pub fn tag(&self) -> Option<Cow<'_, str>> {
        self.get(property::TAGS)
    }

    /// The keys, separated by blanks. `None`: it has none.
    #[must_use]
    pub fn keys(&self) -> Option<Cow<'_, str>> {
        self.get(property::KEYS)
    }

    /// The value of a property; what is not UTF-8 in it is replaced. `None`: there is none of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        self.properties.get(name)
    }

    /// All properties, those of client and broker among them.
    pub fn properties(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        self.properties.iter()
    }

    /// All properties in the form of the wire: `name 0x01 value 0x02`, repeated.
    #[must_use]
    pub fn raw_properties(&self) -> &Bytes {
        self.properties.bytes()
    }

    /// Number of the queue on its broker, from 0.
    #[must_use]
    pub fn queue_id(&self) -> i32 {
        self.queue_id
    }

    /// Place in the queue, in messages, from 0.
    #[must_use]
    pub fn queue_offset(&self) -> i64 {
        self.queue_offset
    }

    /// Place in the broker's commit log, in bytes.
    #[must_use]
    pub fn physical_offset(&self) -> i64 {
        self.physical_offset
    }

    /// How often the group consumed it in vain: 0 the first time. An orderly consumer counts what it did itself.
    #[must_use]
    pub fn reconsume_times(&self) -> i32 {
        self.reconsume_times
    }

    /// The application's own flag.
    #[must_use]
    pub fn flag(&self) -> i32 {
        self.flag
    }

    /// Compression, transaction and address bits, Java's `MessageSysFlag`. The bit that says that the body is compressed
    /// is taken away with the compression, as in Java.
    #[must_use]
    pub fn sys_flag(&self) -> i32 {
        self.sys_flag
    }

    /// When its producer made it, in ms since 1970.
    #[must_use]
    pub fn born_timestamp_ms(&self) -> i64 {
        self.born_timestamp_ms
    }

    /// Address of its producer, as the broker saw it.
    #[must_use]
    pub fn born_host(&self) -> SocketAddr {
        self.born_host
    }

    /// When the broker stored it, in ms since 1970.
    #[must_use]
    pub fn store_timestamp_ms(&self) -> i64 {
        self.store_timestamp_ms
    }

    /// Address of the broker.
    #[must_use]
    pub fn store_host(&self) -> SocketAddr {
        self.store_host
    }

    /// Checksum (CRC-32) of the body as it is stored.
    #[must_use]
    pub fn body_crc(&self) -> u32 {
        self.body_crc
    }

    /// Physical offset of the half message that this one resolves.
    #[must_use]
    pub fn prepared_transaction_offset(&self) -> i64 {
        self.prepared_transaction_offset
    }

    /// Bytes of its record at the broker.
    #[must_use]
    pub fn store_size(&self) -> u32 {
        self.store_size
    }

    /// The same with body and properties of its own, so that it keeps no other memory. For messages that are kept for long.
    #[must_use]
    pub fn detached(&self) -> Self {
        let own = |bytes: &Bytes| Bytes::copy_from_slice(bytes);
        let mut copy = self.clone();
        copy.body = own(&self.body);
        copy.properties = PropertyText::new(own(self.properties.bytes()));
        copy
    }
}

impl std::fmt::Debug for ReceivedMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReceivedMessage")
            .field("topic", &self.topic)
            .field("broker_name", &self.broker_name())
            .field("queue_id", &self.queue_id)
            .field("queue_offset", &self.queue_offset)
            .field("msg_id", &self.msg_id())
            .field("reconsume_times", &self.reconsume_times)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}
