// SPDX-License-Identifier: Apache-2.0
//! The layout of one stored message: the only code that knows byte positions inside a record.
//!
//! A record is what the commit log holds for one message, what a pull answer carries, what the client decodes.
//! Big-endian; lengths in bytes.
//!
//! ```text
//!   0  total size 4       the whole record, this field included
//!   4  magic 4            V1 0xDAA320A7, V2 0xDAA320AB, blank 0xCBD43194
//!   8  body CRC 4         CRC-32 (IEEE) of the body & 0x7FFFFFFF
//!  12  queue id 4
//!  16  flag 4             the application's own
//!  20  queue offset 8     *  ordinal in the queue; 0 for prepared and rolled back transaction parts
//!  28  physical offset 8  *  where this record starts in the commit log
//!  36  system flag 4      see `sys_flag`; two bits say how long the hosts are
//!  40  born time 8        ms since 1970, the producer's clock
//!  48  born host 8 | 20   IPv4 or IPv6 address, then the port in 4 bytes
//!      store time 8       *  ms since 1970, the broker's clock
//!      store host 8 | 20
//!      reconsume times 4
//!      prepared offset 8  physical offset of the half message that this one resolves
//!      body 4 + n
//!      topic 1 + n (V1: at most 127) | 2 + n (V2)
//!      properties 2 + n   at most 32,767; name 0x01 value 0x02, repeated
//! ```
//! The properties may end with a checksum of the whole record, see `checksum`.
//!
//! `*` only the store knows these three: [`stamp`] patches them into an encoded record.
//!
//! A **blank** record fills what a message did not fit into at the end of a segment: total size = all that remains, then
//! its magic; the bytes after that mean nothing.
//!
//! Invariants
//! - Total size = the sum of the fields, so a parser that reads the lengths must arrive exactly at the end.
//! - V2 is used for topics longer than 127 bytes only: brokers before 5.0 cannot read it.
//!
//! Java: `MessageExtEncoder`, `MessageDecoder`, `MessageVersion`, `CommitLog#checkMessageAndReturnSize`.
//! Bytes: `tests/golden/`, written by Java brokers 4.9.7 and 5.3.3.
#![forbid(unsafe_code)]

mod batch;
mod checksum;
mod encode;
mod message_id;
pub mod properties;
pub mod sys_flag;
mod view;

pub use batch::{BatchError, BatchMessage, BatchMessages, encode_batch_message};
pub use encode::{Draft, EncodeError, Encoder, body_crc, stamp, write_blank};
pub use message_id::{MessageId, MessageIdError};
pub use view::{MAX_STAMPED_PREFIX, Peeked, RecordError, RecordView, Version, peek_size_and_magic};

/// Magic of a record whose topic length takes one byte.
pub const MAGIC_V1: u32 = 0xDAA3_20A7;
/// Magic of a record whose topic length takes two bytes.
pub const MAGIC_V2: u32 = 0xDAA3_20AB;
/// Magic of the filler at the end of a segment.
pub const MAGIC_BLANK: u32 = 0xCBD4_3194;
/// Size of a blank record's head; no message may leave less than this at the end of a segment.
pub const BLANK_SIZE_MIN: usize = 8;
/// Size of a record with IPv4 hosts, no body, no topic and no properties: nothing shorter is a record.
pub const RECORD_SIZE_MIN: usize = 91;
/// Longest topic of a V1 record, in bytes.
pub const TOPIC_LENGTH_MAX_V1: usize = 127;
/// Longest properties, in bytes: their length is a signed 16-bit number.
pub const PROPERTIES_LENGTH_MAX: usize = 32_767;

/// Byte positions that do not depend on the hosts.
mod at {
    pub(crate) const MAGIC: usize = 4;
    pub(crate) const BODY_CRC: usize = 8;
    pub(crate) const QUEUE_ID: usize = 12;
    pub(crate) const FLAG: usize = 16;
    pub(crate) const QUEUE_OFFSET: usize = 20;
    pub(crate) const PHYSICAL_OFFSET: usize = 28;
    pub(crate) const SYS_FLAG: usize = 36;
    pub(crate) const BORN_TIMESTAMP: usize = 40;
    pub(crate) const BORN_HOST: usize = 48;
}
