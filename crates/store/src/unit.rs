// SPDX-License-Identifier: Apache-2.0
//! The unit of a consume queue: 20 bytes, big-endian.
//! ```text
//! 0 physical offset 8 | 8 record size 4 | 12 tags code 8
//! ```
//! Tags code: Java hash of the tag; delivery time in ms since 1970 for `SCHEDULE_TOPIC_XXXX`. A size of 0 is a unit
//! that was never written. A size of 2^31 - 1 is filler: Java writes it, with physical offset 0, before the first
//! message of a queue that does not start at 0; we write it, with the next message's physical offset, where damage
//! in the log took messages away. No record has that size, so reading one finds nothing.
//!
//! Java: `ConsumeQueue`, `CQ_STORE_UNIT_SIZE`.

use oxmq_types::{PhysicalOffset, TagsCode};

pub(crate) const UNIT_SIZE: u64 = 20;
pub(crate) const FILLER_SIZE: u32 = i32::MAX as u32;

/// Where one message lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unit {
    /// Where its record starts in the commit log.
    pub physical: PhysicalOffset,
    /// Bytes in its record.
    pub size: u32,
    /// What filters look at.
    pub tags_code: TagsCode,
}

impl Unit {
    /// True for a unit that stands for no message: pass over it.
    #[must_use]
    pub fn is_filler(&self) -> bool {
        self.size == FILLER_SIZE
    }

    /// True for one that Java writes before the first message of a queue.
    pub(crate) fn is_leading_filler(&self) -> bool {
        self.is_filler() && self.physical.0 == 0
    }

    pub(crate) fn encode(&self) -> [u8; UNIT_SIZE as usize] {
        let mut out = [0; UNIT_SIZE as usize];
        out[..8].copy_from_slice(&self.physical.0.to_be_bytes());
        out[8..12].copy_from_slice(&self.size.to_be_bytes());
        out[12..].copy_from_slice(&self.tags_code.0.to_be_bytes());
        out
    }

    /// `None` for a unit that was never written.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (physical, rest) = bytes.split_first_chunk()?;
        let (size, rest) = rest.split_first_chunk()?;
        let unit = Self {
            physical: PhysicalOffset(u64::from_be_bytes(*physical)),
            size: u32::from_be_bytes(*size),
            tags_code: TagsCode(i64::from_be_bytes(*rest.first_chunk()?)),
        };
        // Both are signed in Java.
        (unit.size != 0 && unit.size <= FILLER_SIZE && unit.physical.0 <= i64::MAX as u64).then_some(unit)
    }
}
