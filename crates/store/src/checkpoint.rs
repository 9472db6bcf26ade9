// SPDX-License-Identifier: Apache-2.0
//! The checkpoint file: how much of the store is known to be on the disk.
//!
//! 4,096 bytes, big-endian.
//! ```text
//!    0  store time of the last flushed record 8      ms since 1970
//!    8  store time of the last dispatched record 8   all units of older records are in the consume queue files
//!   16  store time of the last indexed record 8
//!   24  master flushed offset 8                      Java 5.x
//!   32  confirm physical offset 8                    Java 5.x
//! 2048  magic 8 "OXMQ CP1"
//! 2056  dispatched offset 8    all units of records below it are in the consume queue files, and they and the log
//!                              below it are on the disk
//! 2064  last record 8          physical offset of the record that ends there; dispatched offset itself if none
//! 2072  flags 4                1: the store was closed with its log ending at the dispatched offset
//!                              2: no queue had a unit of a record below the dispatched offset
//! 2076  CRC-32 of 2048..2076
//! 2080  CRC-32 of 0..40        unless it is right, a Java broker worked here since
//! ```
//! Java 4.9.7 and 5.3.3 rewrite the first 24 and 40 bytes in place and leave the rest alone, so our part survives a
//! time under Java: it then is old but still true, unless Java cut the log. The last record tells: it must still
//! end where it did.
//!
//! Java: `StoreCheckpoint`.

use oxmq_types::PhysicalOffset;

pub(crate) const LENGTH: usize = 4096;
const OURS: usize = 2048;
/// No clock shows such a time, of the year 2527.
const TIME_MAX_MS: u64 = 1 << 44;
const MAGIC: [u8; 8] = *b"OXMQ CP1";

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// Java's five numbers, as drawn above.
    pub(crate) flushed_timestamp_ms: u64,
    pub(crate) dispatched_timestamp_ms: u64,
    pub(crate) indexed_timestamp_ms: u64,
    pub(crate) master_flushed_offset: u64,
    pub(crate) confirm_offset: u64,
    pub(crate) mark: Option<Mark>,
    /// Nobody but us wrote it last. Not written: it is so then.
    pub(crate) ours: bool,
}

/// Our part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) dispatched: PhysicalOffset,
    pub(crate) last_record: PhysicalOffset,
    pub(crate) clean: bool,
    /// All topics had been deleted: that there are no consume queues does not mean that somebody removed them.
    pub(crate) no_queues: bool,
}

impl Checkpoint {
    /// Reads a checkpoint file; one that is too short counts as zeros, and so does a time that cannot be.
    pub(crate) fn decode(bytes: &[u8]) -> Self {
        let number = |at: usize| {
            let field = bytes.get(at..).and_then(|rest| rest.first_chunk());
            field.map_or(0, |field| u64::from_be_bytes(*field))
        };
        // Another file in its place, or a flipped bit: nothing is known then.
        let time = |at: usize| Some(number(at)).filter(|ms| *ms < TIME_MAX_MS).unwrap_or(0);
        let mark = bytes.get(OURS..OURS + 32).filter(|ours| {
            let crc = crc32fast::hash(&ours[..28]).to_be_bytes();
            ours[..8] == MAGIC && ours[28..] == crc
        });
        Self {
            flushed_timestamp_ms: time(0),
            dispatched_timestamp_ms: time(8),
            indexed_timestamp_ms: time(16),
            master_flushed_offset: number(24),
            confirm_offset: number(32),
            ours: bytes
                .get(OURS + 32..OURS + 36)
                .is_some_and(|crc| crc == crc32fast::hash(&bytes[..40]).to_be_bytes()),
            mark: mark.map(|ours| Mark {
                dispatched: PhysicalOffset(number(OURS + 8)),
                last_record: PhysicalOffset(number(OURS + 16)),
                clean: ours[27] & 1 != 0,
                no_queues: ours[27] & 2 != 0,
            }),
        }
    }

    pub(crate) fn encode(&self) -> [u8; LENGTH] {
        let mut out = [0; LENGTH];
        let java = [
            self.flushed_timestamp_ms,
            self.dispatched_timestamp_ms,
            self.indexed_timestamp_ms,
            self.master_flushed_offset,
            self.confirm_offset,
        ];
        for (i, number) in java.iter().enumerate() {
            out[i * 8..i * 8 + 8].copy_from_slice(&number.to_be_bytes());
        }
        if let Some(mark) = &self.mark {
            let ours = &mut out[OURS..OURS + 32];
            ours[..8].copy_from_slice(&MAGIC);
            ours[8..16].copy_from_slice(&mark.dispatched.0.to_be_bytes());
            ours[16..24].copy_from_slice(&mark.last_record.0.to_be_bytes());
            let flags = u32::from(mark.clean) | u32::from(mark.no_queues) << 1;
            ours[24..28].copy_from_slice(&flags.to_be_bytes());
            let crc = crc32fast::hash(&ours[..28]);
            ours[28..].copy_from_slice(&crc.to_be_bytes());
        }
        let crc = crc32fast::hash(&out[..40]);
        out[OURS + 32..OURS + 36].copy_from_slice(&crc.to_be_bytes());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_wrote_and_distrusts_the_rest() {
        let checkpoint = Checkpoint {
            flushed_timestamp_ms: 1,
            dispatched_timestamp_ms: 2,
            indexed_timestamp_ms: 3,
            master_flushed_offset: 4,
            confirm_offset: 5,
            mark: Some(Mark {
                dispatched: PhysicalOffset(600),
                last_record: PhysicalOffset(500),
                clean: true,
                no_queues: true,
            }),
            ours: true,
        };
        let bytes = checkpoint.encode();
        assert_eq!(Checkpoint::decode(&bytes), checkpoint);
        for at in OURS..OURS + 32 {
            let mut bad = bytes;
            bad[at] ^= 1;
            assert_eq!(Checkpoint::decode(&bad), Checkpoint { mark: None, ..checkpoint }, "{at}");
        }
        let mut since = bytes;
        since[7] ^= 1;
        assert!(!Checkpoint::decode(&since).ours);
        assert_eq!(Checkpoint::decode(&bytes[..16]).dispatched_timestamp_ms, 2);
        assert_eq!(Checkpoint::decode(&[]), Checkpoint::default());
    }

    #[test]
    fn reads_what_java_wrote() {
        // The head of a checkpoint that a Java 5.3.3 broker left after a clean stop; all zeros follow.
        let mut bytes = [0; LENGTH];
        bytes[..16]
            .copy_from_slice(&[0, 0, 1, 0xa1, 0xfc, 1, 0x39, 0xf3, 0, 0, 1, 0xa1, 0xfc, 1, 0x39, 0xf3]);
        let found = Checkpoint::decode(&bytes);
        assert_eq!(found.flushed_timestamp_ms, 1_795_229_301_235);
        assert_eq!((found.flushed_timestamp_ms, found.mark), (found.dispatched_timestamp_ms, None));
    }
}
