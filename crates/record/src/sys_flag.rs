// SPDX-License-Identifier: Apache-2.0
//! Bits of a record's system flag. Java: `MessageSysFlag`.

/// The body is compressed, by the method in [`COMPRESSION_TYPE`].
pub const COMPRESSED: i32 = 1;
/// The message has several tags (never set by known clients).
pub const MULTI_TAGS: i32 = 1 << 1;
/// Transaction type, two bits: 0 none, [`PREPARED`], [`COMMIT`], [`ROLLBACK`].
pub const TRANSACTION_TYPE: i32 = 0b11 << 2;
/// A half message.
pub const PREPARED: i32 = 1 << 2;
/// A message that its transaction committed.
pub const COMMIT: i32 = 2 << 2;
/// A message that its transaction rolled back.
pub const ROLLBACK: i32 = 3 << 2;
/// The born host is an IPv6 address.
pub const BORN_HOST_V6: i32 = 1 << 4;
/// The store host is an IPv6 address.
pub const STORE_HOST_V6: i32 = 1 << 5;
/// The record holds several messages that the consumer unwraps.
pub const NEED_UNWRAP: i32 = 1 << 6;
/// The record holds several messages of a batch consume queue.
pub const INNER_BATCH: i32 = 1 << 7;
/// Compression method, three bits: 0 and 3 zlib, 1 LZ4 frame, 2 Zstandard.
pub const COMPRESSION_TYPE: i32 = 0b111 << 8;

/// True if a record with `sys_flag` gets a consume queue unit: prepared and rolled back parts do not.
///
/// Java: `DefaultMessageStore.CommitLogDispatcherBuildConsumeQueue`.
#[must_use]
pub fn enters_consume_queue(sys_flag: i32) -> bool {
    !matches!(sys_flag & TRANSACTION_TYPE, PREPARED | ROLLBACK)
}
