// SPDX-License-Identifier: Apache-2.0
//! The checksum of a whole record, which some records end with: the last pair of their properties.
//!
//! ```text
//! "__CRC32#" 8 | 0x01 | ten decimal digits, the last one first | 0x02
//! ```
//! CRC-32 (IEEE) & 0x7FFFFFFF of all bytes before it, what only the store knows included. Without it, the body has a
//! checksum and nothing else has.
//!
//! Java 5.x: `enabledAppendPropCRC`, `MessageDecoder#createCrc32`, `CommitLog#checkMessageAndReturnSize`.

use crate::{body_crc, properties};

const NAME: &[u8; 9] = b"__CRC32#\x01";
const DIGITS: usize = 10;
/// Bytes that it takes.
pub(crate) const SIZE: usize = NAME.len() + DIGITS + 1;

/// Room for it, with a number that [`fill`] replaces.
pub(crate) fn placeholder() -> [u8; SIZE] {
    let mut out = [b'0'; SIZE];
    out[..NAME.len()].copy_from_slice(NAME);
    out[SIZE - 1] = properties::PROPERTY_SEPARATOR;
    out
}

/// The bytes that the checksum at the end of `record` covers, and its digits. `None` if there is none.
///
/// No other record ends so by accident: one without properties ends with two zeros.
fn split(record: &[u8]) -> Option<(&[u8], &[u8])> {
    let (covered, end) = record.split_at_checked(record.len().checked_sub(SIZE)?)?;
    let digits = end.strip_prefix(NAME)?.strip_suffix(&[properties::PROPERTY_SEPARATOR])?;
    Some((covered, digits))
}

fn digits_of(mut checksum: u32) -> [u8; DIGITS] {
    std::array::from_fn(|_| {
        let digit = b'0' + (checksum % 10) as u8;
        checksum /= 10;
        digit
    })
}

/// Puts the number in its place if `record` has one.
pub(crate) fn fill(record: &mut [u8]) {
    let Some((covered, _)) = split(record) else { return };
    let (at, digits) = (covered.len() + NAME.len(), digits_of(body_crc(covered)));
    record[at..at + DIGITS].copy_from_slice(&digits);
}

/// True if `record` is the one that was stored, false if not. `None` if it has no such checksum.
pub(crate) fn verify(record: &[u8]) -> Option<bool> {
    split(record).map(|(covered, digits)| digits == digits_of(body_crc(covered)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Draft, Encoder, RecordView, stamp};
    use oxmq_types::{PhysicalOffset, QueueId, QueueOffset};

    fn record(properties: &[u8], checksums: bool) -> Vec<u8> {
        let draft = Draft { properties, ..Draft::plain("T", QueueId(1), b"body") };
        let mut out = Vec::new();
        Encoder::new(100).with_checksums(checksums).encode(&draft, &mut out).unwrap();
        stamp(&mut out, QueueOffset(3), PhysicalOffset(4096), 1_700_000_000_000);
        out
    }

    #[test]
    fn every_flipped_bit_shows() {
        for properties in
            [&b""[..], b"TAGS\x01a", b"TAGS\x01a\x02", b"__CRC32#\x010000000000\x02TAGS\x01a\x02"]
        {
            let good = record(properties, true);
            let view = RecordView::parse(&good).unwrap();
            assert_eq!(view.verify_checksum(), Some(true));
            let others = view.properties().strip_suffix(&good[good.len() - SIZE..]).unwrap();
            assert_eq!(others, if properties.is_empty() { &b""[..] } else { b"TAGS\x01a\x02" });
            for bit in 0..good.len() * 8 {
                let mut bad = good.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                let seen = RecordView::parse(&bad).is_ok_and(|view| view.verify_checksum() == Some(true));
                assert!(!seen, "bit {bit}");
            }
        }
        let plain = record(b"TAGS\x01a", false);
        assert_eq!(RecordView::parse(&plain).unwrap().verify_checksum(), None);
    }

    #[test]
    fn what_java_wrote_is_right() {
        // By a Java 5.3.3 broker with `enabledAppendPropCRC=true`.
        let record = include_bytes!("../tests/golden/java-5.3.3-checksum.record");
        assert_eq!(RecordView::parse(record).unwrap().verify_checksum(), Some(true));
        let mut filled = record.to_vec();
        let at = record.len() - SIZE;
        filled[at..].copy_from_slice(&placeholder());
        fill(&mut filled);
        assert_eq!(filled, record);
    }
}
