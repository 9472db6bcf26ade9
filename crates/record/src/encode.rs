// SPDX-License-Identifier: Apache-2.0
//! Values to bytes.

use std::{borrow::Cow, fmt, net::IpAddr, net::SocketAddr, ops::Range};

use oxmq_types::{PhysicalOffset, QueueId, QueueOffset};

use crate::{
    BLANK_SIZE_MIN, MAGIC_BLANK, MAGIC_V1, MAGIC_V2, PROPERTIES_LENGTH_MAX, TOPIC_LENGTH_MAX_V1, at,
    checksum, properties, sys_flag,
};

/// Everything about a message that is known before it is stored. Borrowed: encoding copies each part once.
#[derive(Debug, Clone, Copy)]
pub struct Draft<'a> {
    /// Topic name, already validated.
    pub topic: &'a str,
    /// The queue of that topic.
    pub queue_id: QueueId,
    /// The application's own flag.
    pub flag: i32,
    /// Bits of [`sys_flag`]; the two host bits are set from the hosts, whatever stands here.
    pub sys_flag: i32,
    /// When the producer made the message, in ms since 1970.
    pub born_timestamp_ms: i64,
    /// The producer's address as the broker sees it.
    pub born_host: SocketAddr,
    /// The broker's own address; it becomes part of the offset message id.
    pub store_host: SocketAddr,
    /// How often a consumer group sent the message back.
    pub reconsume_times: i32,
    /// Physical offset of the half message that this one resolves; else 0.
    pub prepared_transaction_offset: i64,
    /// The message's content, compressed or not.
    pub body: &'a [u8],
    /// `name 0x01 value 0x02`, repeated; written as they are.
    pub properties: &'a [u8],
}

impl<'a> Draft<'a> {
    /// A message without flags and properties, made 1 ms after 1970 at 127.0.0.1:10911, as tests and examples want them:
    /// what is to be another follows in `Draft { properties, ..Draft::plain(topic, queue_id, body) }`.
    #[must_use]
    pub fn plain(topic: &'a str, queue_id: QueueId, body: &'a [u8]) -> Self {
        let host = SocketAddr::from(([127, 0, 0, 1], 10911));
        Self {
            topic,
            queue_id,
            flag: 0,
            sys_flag: 0,
            born_timestamp_ms: 1,
            born_host: host,
            store_host: host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body,
            properties: b"",
        }
    }
}

/// Why a draft cannot become a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeError {
    /// The body is longer than the encoder allows.
    BodyTooLarge {
        /// Bytes in the body.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The properties are longer than their length field can say.
    PropertiesTooLarge {
        /// Bytes in the properties; [`PROPERTIES_LENGTH_MAX`] are allowed.
        size: usize,
    },
    /// The topic is longer than its length field can say.
    TopicTooLong {
        /// Bytes in the topic; 32,767 are allowed.
        size: usize,
    },
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BodyTooLarge { size, limit } => write!(f, "body of {size} bytes, {limit} allowed"),
            Self::PropertiesTooLarge { size } => {
                write!(f, "properties of {size} bytes, {PROPERTIES_LENGTH_MAX} allowed")
            }
            Self::TopicTooLong { size } => write!(f, "topic of {size} bytes, {} allowed", i16::MAX),
        }
    }
}

impl std::error::Error for EncodeError {}

/// Turns drafts into records.
#[derive(Debug, Clone, Copy)]
pub struct Encoder {
    body_bytes_max: usize,
    checksums: bool,
}

/// Beyond this, a total size could leave the range of its signed 32-bit field.
const BODY_BYTES_LIMIT: usize = i32::MAX as usize - 128 * 1024;

impl Encoder {
    /// An encoder that refuses bodies of more than `body_bytes_max` bytes. Java: `maxMessageSize`.
    #[must_use]
    pub fn new(body_bytes_max: usize) -> Self {
        Self { body_bytes_max: body_bytes_max.min(BODY_BYTES_LIMIT), checksums: false }
    }

    /// The same, whose records end with a checksum of all of them, not of the body only: 20 bytes more of properties.
    /// Java 5.x: `enabledAppendPropCRC`.
    #[must_use]
    pub fn with_checksums(self, checksums: bool) -> Self {
        Self { checksums, ..self }
    }

    /// Appends the record of `draft` to `out` and returns where it stands there. Nothing else is allocated, so a
    /// reused `out` makes this free of allocations. The three fields that the store knows are 0 until [`stamp`].
    ///
    /// # Errors
    /// [`EncodeError`]; `out` is then unchanged.
    pub fn encode(&self, draft: &Draft<'_>, out: &mut Vec<u8>) -> Result<Range<usize>, EncodeError> {
        if draft.body.len() > self.body_bytes_max {
            return Err(EncodeError::BodyTooLarge { size: draft.body.len(), limit: self.body_bytes_max });
        }
        let mut properties = Cow::Borrowed(draft.properties);
        if self.checksums {
            // That of the record from which the properties were copied, perhaps.
            if properties::find(&properties, properties::CRC32).is_some() {
                properties::remove(properties.to_mut(), properties::CRC32);
            }
            if properties.last().is_some_and(|&last| last != properties::PROPERTY_SEPARATOR) {
                properties.to_mut().push(properties::PROPERTY_SEPARATOR);
            }
        }
        let end: &[u8] = if self.checksums { &checksum::placeholder() } else { &[] };
        let properties_size = properties.len() + end.len();
        if properties_size > PROPERTIES_LENGTH_MAX {
            return Err(EncodeError::PropertiesTooLarge { size: properties_size });
        }
        if draft.topic.len() > i16::MAX as usize {
            return Err(EncodeError::TopicTooLong { size: draft.topic.len() });
        }
        let (born_ip, store_ip) = (draft.born_host.ip().to_canonical(), draft.store_host.ip().to_canonical());
        let mut flags = draft.sys_flag & !(sys_flag::BORN_HOST_V6 | sys_flag::STORE_HOST_V6);
        if born_ip.is_ipv6() {
            flags |= sys_flag::BORN_HOST_V6;
        }
        if store_ip.is_ipv6() {
            flags |= sys_flag::STORE_HOST_V6;
        }
        let v2 = draft.topic.len() > TOPIC_LENGTH_MAX_V1;

        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&if v2 { MAGIC_V2 } else { MAGIC_V1 }.to_be_bytes());
        out.extend_from_slice(&body_crc(draft.body).to_be_bytes());
        out.extend_from_slice(&draft.queue_id.0.to_be_bytes());
        out.extend_from_slice(&draft.flag.to_be_bytes());
        out.extend_from_slice(&[0; 16]);
        out.extend_from_slice(&flags.to_be_bytes());
        out.extend_from_slice(&draft.born_timestamp_ms.to_be_bytes());
        push_host(out, born_ip, draft.born_host.port());
        out.extend_from_slice(&[0; 8]);
        push_host(out, store_ip, draft.store_host.port());
        out.extend_from_slice(&draft.reconsume_times.to_be_bytes());
        out.extend_from_slice(&draft.prepared_transaction_offset.to_be_bytes());
        out.extend_from_slice(&(draft.body.len() as u32).to_be_bytes());
        out.extend_from_slice(draft.body);
        if v2 {
            out.extend_from_slice(&(draft.topic.len() as u16).to_be_bytes());
        } else {
            out.push(draft.topic.len() as u8);
        }
        out.extend_from_slice(draft.topic.as_bytes());
        out.extend_from_slice(&(properties_size as u16).to_be_bytes());
        out.extend_from_slice(&properties);
        out.extend_from_slice(end);

        let end = out.len();
        out[start..start + 4].copy_from_slice(&((end - start) as u32).to_be_bytes());
        Ok(start..end)
    }
}

fn push_host(out: &mut Vec<u8>, ip: IpAddr, port: u16) {
    match ip {
        IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
        IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
    }
    out.extend_from_slice(&u32::from(port).to_be_bytes());
}

/// Patches the three fields that only the store knows into a record that [`Encoder::encode`] made, and the checksum of the
/// whole record if it ends with one.
///
/// # Panics
/// If `record` is shorter than any record is: a bug of the caller.
pub fn stamp(
    record: &mut [u8],
    queue_offset: QueueOffset,
    physical_offset: PhysicalOffset,
    store_timestamp_ms: i64,
) {
    record[at::QUEUE_OFFSET..at::PHYSICAL_OFFSET].copy_from_slice(&queue_offset.0.to_be_bytes());
    record[at::PHYSICAL_OFFSET..at::SYS_FLAG].copy_from_slice(&physical_offset.0.to_be_bytes());
    // The low byte of the system flag holds both host bits.
    let born_v6 = i32::from(record[at::SYS_FLAG + 3]) & sys_flag::BORN_HOST_V6 != 0;
    let at = at::BORN_HOST + if born_v6 { 20 } else { 8 };
    record[at..at + 8].copy_from_slice(&store_timestamp_ms.to_be_bytes());
    checksum::fill(record);
}

/// Writes the head of a blank record that fills `remaining` bytes.
///
/// # Panics
/// If `out` is shorter than [`BLANK_SIZE_MIN`]: a bug of the caller.
pub fn write_blank(out: &mut [u8], remaining: u32) {
    out[..at::MAGIC].copy_from_slice(&remaining.to_be_bytes());
    out[at::MAGIC..BLANK_SIZE_MIN].copy_from_slice(&MAGIC_BLANK.to_be_bytes());
}

/// The body checksum that a record carries. Java: `UtilAll#crc32`.
#[must_use]
pub fn body_crc(body: &[u8]) -> u32 {
    crc32fast::hash(body) & 0x7FFF_FFFF
}
