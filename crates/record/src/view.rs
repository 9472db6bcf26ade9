// SPDX-License-Identifier: Apache-2.0
//! Bytes to values.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use oxmq_types::{PhysicalOffset, QueueId, QueueOffset};

use crate::{
    MAGIC_BLANK, MAGIC_V1, MAGIC_V2, RECORD_SIZE_MIN, at, body_crc, checksum, message_id::MessageId,
    properties, sys_flag,
};

/// So many bytes from a record's start hold all of its fixed fields up to the store time, whatever its hosts are:
/// enough for [`RecordView::store_timestamp_of`].
pub const MAX_STAMPED_PREFIX: usize = at::BORN_HOST + 20 + 8;

/// Which of the two layouts a record has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// Topic length in one byte.
    V1,
    /// Topic length in two bytes, written by Java 5 for topics longer than 127 bytes.
    V2,
}

/// What stands at a position of the commit log, judged by the first eight bytes alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peeked {
    /// A message of `size` bytes seems to start here.
    Message {
        /// Bytes in the whole record, as the record says.
        size: u32,
    },
    /// The rest of the segment, `size` bytes, is filler.
    Blank {
        /// Bytes to the end of the segment, as the record says.
        size: u32,
    },
    /// Neither; never written bytes read as zeros.
    Nothing,
}

/// Looks at the size and the magic at the start of `bytes`. The size is not checked against anything.
#[must_use]
pub fn peek_size_and_magic(bytes: &[u8]) -> Peeked {
    let (Some(size), Some(magic)) = (be32(bytes, 0), be32(bytes, at::MAGIC)) else { return Peeked::Nothing };
    match magic {
        MAGIC_V1 | MAGIC_V2 => Peeked::Message { size },
        MAGIC_BLANK => Peeked::Blank { size },
        _ => Peeked::Nothing,
    }
}

/// Why bytes are not a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordError {
    /// The bytes end inside the record.
    Truncated {
        /// Bytes that the record needs.
        needed: usize,
        /// Bytes that are there.
        found: usize,
    },
    /// Neither of the two magics of a message.
    Magic {
        /// What stands there.
        found: u32,
    },
    /// A length field is negative or points beyond the end of the record.
    Length {
        /// The field.
        field: &'static str,
        /// What it says.
        found: i64,
    },
    /// The fields end before or after the total size says.
    Size {
        /// The total size field.
        declared: usize,
        /// The sum of the fields.
        computed: usize,
    },
    /// The topic is not UTF-8.
    Topic,
    /// A port does not fit 16 bits.
    Port {
        /// What stands there.
        found: u32,
    },
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { needed, found } => write!(f, "{found} bytes of a record that needs {needed}"),
            Self::Magic { found } => write!(f, "magic {found:#010x} is not that of a message"),
            Self::Length { field, found } => write!(f, "{field} length {found} is out of range"),
            Self::Size { declared, computed } => {
                write!(f, "total size {declared}, but the fields take {computed}")
            }
            Self::Topic => f.write_str("topic is not UTF-8"),
            Self::Port { found } => write!(f, "port {found} is out of range"),
        }
    }
}

impl std::error::Error for RecordError {}

/// A record whose every length has been checked; reading its fields cannot fail.
#[derive(Clone, Copy)]
pub struct RecordView<'a> {
    bytes: &'a [u8],
    version: Version,
    born_host: SocketAddr,
    store_host: SocketAddr,
    /// Where the store time stands; the store host follows, 8 bytes on.
    store_timestamp_at: usize,
    /// Where the reconsume times stand; the prepared offset follows, 4 bytes on.
    reconsume_times_at: usize,
    body: &'a [u8],
    topic: &'a str,
    properties: &'a [u8],
}

impl<'a> RecordView<'a> {
    /// Checks the record at the start of `bytes`; what follows it is not looked at. The checksum is another matter:
    /// [`Self::verify_crc`].
    ///
    /// # Errors
    /// [`RecordError`] says what is wrong first.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, RecordError> {
        let truncated = |needed| RecordError::Truncated { needed, found: bytes.len() };
        let size = be32(bytes, 0).ok_or(truncated(RECORD_SIZE_MIN))? as usize;
        let magic = be32(bytes, at::MAGIC).ok_or(truncated(RECORD_SIZE_MIN))?;
        let version = match magic {
            MAGIC_V1 => Version::V1,
            MAGIC_V2 => Version::V2,
            found => return Err(RecordError::Magic { found }),
        };
        if size < RECORD_SIZE_MIN || size > i32::MAX as usize {
            return Err(RecordError::Length { field: "total", found: i64::from(size as u32 as i32) });
        }
        let bytes = bytes.get(..size).ok_or(truncated(size))?;

        let mut rest = Rest { bytes, at: at::SYS_FLAG };
        let flags = rest.number("system flag")? as i32;
        rest.take("born time", 8)?;
        let born_host = rest.host(flags & sys_flag::BORN_HOST_V6 != 0)?;
        let store_timestamp_at = rest.at;
        rest.take("store time", 8)?;
        let store_host = rest.host(flags & sys_flag::STORE_HOST_V6 != 0)?;
        let reconsume_times_at = rest.at;
        rest.take("reconsume times", 12)?;
        let body_length = rest.number("body")?;
        let body = rest.take("body", i64::from(body_length as i32))?;
        let topic_length = match version {
            Version::V1 => i64::from(rest.take("topic", 1)?[0] as i8),
            Version::V2 => rest.short("topic")?,
        };
        let topic = std::str::from_utf8(rest.take("topic", topic_length)?).map_err(|_| RecordError::Topic)?;
        let properties_length = rest.short("properties")?;
        let properties = rest.take("properties", properties_length)?;
        if rest.at != size {
            return Err(RecordError::Size { declared: size, computed: rest.at });
        }
        Ok(Self {
            bytes,
            version,
            born_host,
            store_host,
            store_timestamp_at,
            reconsume_times_at,
            body,
            topic,
            properties,
        })
    }

    /// The store time in ms since 1970, from the first bytes of a record alone ([`MAX_STAMPED_PREFIX`] of them are
    /// enough). `None` if they are not those of a message.
    ///
    /// Java: `CommitLog#pickupStoreTimestamp`.
    #[must_use]
    pub fn store_timestamp_of(prefix: &[u8]) -> Option<i64> {
        let Peeked::Message { .. } = peek_size_and_magic(prefix) else { return None };
        let born_v6 = be32(prefix, at::SYS_FLAG)? as i32 & sys_flag::BORN_HOST_V6 != 0;
        be64(prefix, at::BORN_HOST + if born_v6 { 20 } else { 8 }).map(|ms| ms as i64)
    }

    /// Where the record says that it starts in the commit log, whatever else is wrong with it. `None` if the bytes are
    /// too few.
    #[must_use]
    pub fn physical_offset_of(prefix: &[u8]) -> Option<PhysicalOffset> {
        be64(prefix, at::PHYSICAL_OFFSET).map(PhysicalOffset)
    }

    /// The system flag, from the first bytes of a record alone. `None` if they are too few.
    #[must_use]
    pub fn sys_flag_of(prefix: &[u8]) -> Option<i32> {
        be32(prefix, at::SYS_FLAG).map(|flags| flags as i32)
    }

    /// The whole record.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }
    /// Bytes in the whole record.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.bytes.len() as u32
    }
    /// Which layout it has.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }
    /// The body checksum as stored.
    #[must_use]
    pub fn body_crc(&self) -> u32 {
        self.fixed32(at::BODY_CRC)
    }
    /// The queue of the topic.
    #[must_use]
    pub fn queue_id(&self) -> QueueId {
        QueueId(self.fixed32(at::QUEUE_ID))
    }
    /// The application's own flag.
    #[must_use]
    pub fn flag(&self) -> i32 {
        self.fixed32(at::FLAG) as i32
    }
    /// Ordinal in the queue.
    #[must_use]
    pub fn queue_offset(&self) -> QueueOffset {
        QueueOffset(self.fixed64(at::QUEUE_OFFSET))
    }
    /// Where the record says that it stands in the commit log.
    #[must_use]
    pub fn physical_offset(&self) -> PhysicalOffset {
        PhysicalOffset(self.fixed64(at::PHYSICAL_OFFSET))
    }
    /// Bits of [`sys_flag`].
    #[must_use]
    pub fn sys_flag(&self) -> i32 {
        self.fixed32(at::SYS_FLAG) as i32
    }
    /// When the producer made it, in ms since 1970.
    #[must_use]
    pub fn born_timestamp_ms(&self) -> i64 {
        self.fixed64(at::BORN_TIMESTAMP) as i64
    }
    /// The producer's address.
    #[must_use]
    pub fn born_host(&self) -> SocketAddr {
        self.born_host
    }
    /// When the broker stored it, in ms since 1970.
    #[must_use]
    pub fn store_timestamp_ms(&self) -> i64 {
        self.fixed64(self.store_timestamp_at) as i64
    }
    /// The broker's address.
    #[must_use]
    pub fn store_host(&self) -> SocketAddr {
        self.store_host
    }
    /// How often a consumer group sent it back.
    #[must_use]
    pub fn reconsume_times(&self) -> i32 {
        self.fixed32(self.reconsume_times_at) as i32
    }
    /// Physical offset of the half message that this one resolves.
    #[must_use]
    pub fn prepared_transaction_offset(&self) -> i64 {
        self.fixed64(self.reconsume_times_at + 4) as i64
    }
    /// The content, compressed or not.
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        self.body
    }
    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &'a str {
        self.topic
    }
    /// The properties as stored; [`properties`] reads them.
    #[must_use]
    pub fn properties(&self) -> &'a [u8] {
        self.properties
    }
    /// The value of the property `name`. `None` if the record has none.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<&'a [u8]> {
        properties::find(self.properties, name)
    }
    /// The offset message id: store host and physical offset.
    #[must_use]
    pub fn message_id(&self) -> MessageId {
        MessageId { store_host: self.store_host, physical_offset: self.physical_offset() }
    }

    /// Where in the record its topic and its properties lie: what may have any bytes and no checksum covers.
    #[must_use]
    pub fn unchecked_ranges(&self) -> [std::ops::Range<usize>; 2] {
        let properties = self.bytes.len() - self.properties.len();
        let topic = properties - 2 - self.topic.len();
        [topic..topic + self.topic.len(), properties..self.bytes.len()]
    }

    /// True if the body is the one that was stored. As in Java, an empty body is not checked.
    #[must_use]
    pub fn verify_crc(&self) -> bool {
        self.body.is_empty() || body_crc(self.body) == self.body_crc()
    }

    /// True if all of the record is what was stored, false if not. `None` if it does not end with a checksum of all of it.
    #[must_use]
    pub fn verify_checksum(&self) -> Option<bool> {
        checksum::verify(self.bytes)
    }

    fn fixed32(&self, at: usize) -> u32 {
        be32(self.bytes, at).unwrap_or_default()
    }
    fn fixed64(&self, at: usize) -> u64 {
        be64(self.bytes, at).unwrap_or_default()
    }
}

impl fmt::Debug for RecordView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordView")
            .field("topic", &self.topic)
            .field("queue_id", &self.queue_id().0)
            .field("queue_offset", &self.queue_offset().0)
            .field("physical_offset", &self.physical_offset().0)
            .field("size", &self.size())
            .finish_non_exhaustive()
    }
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|chunk| u32::from_be_bytes(*chunk))
}

fn be64(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|chunk| u64::from_be_bytes(*chunk))
}

/// What of a record is still to be read.
pub(crate) struct Rest<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) at: usize,
}

impl<'a> Rest<'a> {
    pub(crate) fn take(&mut self, field: &'static str, length: i64) -> Result<&'a [u8], RecordError> {
        let taken = usize::try_from(length)
            .ok()
            .and_then(|length| self.bytes.get(self.at..)?.get(..length))
            .ok_or(RecordError::Length { field, found: length })?;
        self.at += taken.len();
        Ok(taken)
    }

    pub(crate) fn number(&mut self, field: &'static str) -> Result<u32, RecordError> {
        let bytes = self.take(field, 4)?;
        Ok(be32(bytes, 0).unwrap_or_default())
    }

    pub(crate) fn short(&mut self, field: &'static str) -> Result<i64, RecordError> {
        let bytes = self.take(field, 2)?;
        Ok(i64::from(i16::from_be_bytes([bytes[0], bytes[1]])))
    }

    fn host(&mut self, v6: bool) -> Result<SocketAddr, RecordError> {
        let ip = if v6 {
            let octets = self.take("host", 16)?.first_chunk().copied().unwrap_or_default();
            IpAddr::V6(Ipv6Addr::from(octets))
        } else {
            let octets = self.take("host", 4)?.first_chunk().copied().unwrap_or_default();
            IpAddr::V4(Ipv4Addr::from(octets))
        };
        let found = self.number("port")?;
        let port = u16::try_from(found).map_err(|_| RecordError::Port { found })?;
        Ok(SocketAddr::new(ip, port))
    }
}
