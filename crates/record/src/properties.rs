// SPDX-License-Identifier: Apache-2.0
//! Message properties as they stand in a record and on the wire: `name 0x01 value 0x02`, repeated.
//!
//! The separator after the last pair may be missing: older clients and batches leave it out. As in Java's
//! `MessageDecoder#string2messageProperties`, a pair without a name or without a value is passed over, and of a
//! repeated name the last value counts.

use oxmq_types::TagsCode;

/// Between a name and its value.
pub const NAME_VALUE_SEPARATOR: u8 = 1;
/// After each pair.
pub const PROPERTY_SEPARATOR: u8 = 2;

/// The tag.
pub const TAGS: &str = "TAGS";
/// The keys, separated by blanks.
pub const KEYS: &str = "KEYS";
/// The id that the producer made.
pub const UNIQ_KEY: &str = "UNIQ_KEY";
/// The cluster whose broker stored the message.
pub const CLUSTER: &str = "CLUSTER";
/// `true` if the message waits for the end of a transaction.
pub const TRANSACTION_PREPARED: &str = "TRAN_MSG";
/// The delay level.
pub const DELAY: &str = "DELAY";
/// The topic that a message goes to which waits somewhere else.
pub const REAL_TOPIC: &str = "REAL_TOPIC";
/// The queue of [`REAL_TOPIC`].
pub const REAL_QUEUE_ID: &str = "REAL_QID";
/// The topic that a message was sent to at first which was sent back.
pub const RETRY_TOPIC: &str = "RETRY_TOPIC";

/// The checksum of a whole record, at its end.
pub const CRC32: &str = "__CRC32#";

/// All pairs, in their order.
pub fn iter(properties: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    pairs(properties).map(|(_, name, value)| (name, value))
}

/// The value of `name`. `None` if it is absent.
#[must_use]
pub fn find<'a>(properties: &'a [u8], name: &str) -> Option<&'a [u8]> {
    iter(properties).filter(|(found, _)| *found == name.as_bytes()).last().map(|(_, value)| value)
}

/// Adds a pair at the end, with the separator before it if that is missing. The caller sees to it that neither part
/// is empty or contains a separator, and that `name` is not there yet.
pub fn append(properties: &mut Vec<u8>, name: impl AsRef<[u8]>, value: &[u8]) {
    if properties.last().is_some_and(|&last| last != PROPERTY_SEPARATOR) {
        properties.push(PROPERTY_SEPARATOR);
    }
    properties.extend_from_slice(name.as_ref());
    properties.push(NAME_VALUE_SEPARATOR);
    properties.extend_from_slice(value);
    properties.push(PROPERTY_SEPARATOR);
}

/// Removes every pair of `name`, in one pass, in place. True if there was one. Java: `MessageUtils#deleteProperty`.
pub fn remove(properties: &mut Vec<u8>, name: &str) -> bool {
    // What is kept of the bytes before `at` are the first `kept`.
    let (mut kept, mut at) = (0, 0);
    loop {
        let found = pairs(&properties[at..]).find(|(_, found, _)| *found == name.as_bytes());
        let Some((range, ..)) = found else { break };
        properties.copy_within(at..at + range.start, kept);
        kept += range.start;
        at += range.end;
    }
    properties.drain(kept..at);
    at > 0
}

/// The tags code of a message with these properties: the Java hash of its tag, 0 without one.
#[must_use]
pub fn tags_code(properties: &[u8]) -> TagsCode {
    oxmq_types::tags_code(find(properties, TAGS).map(String::from_utf8_lossy).as_deref())
}

/// All pairs with the range, separator included, that they take.
fn pairs(properties: &[u8]) -> impl Iterator<Item = (std::ops::Range<usize>, &[u8], &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < properties.len() {
            let start = at;
            let rest = &properties[start..];
            let length = rest.iter().position(|&byte| byte == PROPERTY_SEPARATOR).unwrap_or(rest.len());
            at = (start + length + 1).min(properties.len());
            let pair = &rest[..length];
            if let Some(split) = pair.iter().position(|&byte| byte == NAME_VALUE_SEPARATOR)
                && split > 0
                && split + 1 < length
            {
                return Some((start..at, &pair[..split], &pair[split + 1..]));
            }
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(properties: &str) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        iter(properties.as_bytes()).map(|(name, value)| (text(name), text(value))).collect()
    }

    #[test]
    fn reads_what_java_reads() {
        let check = |text: &str, expected: &[(&str, &str)]| {
            let expected: Vec<_> = expected.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
            assert_eq!(all(text), expected, "{text:?}");
        };
        check("", &[]);
        check("TAGS\u{1}A\u{2}KEYS\u{1}k 1\u{2}", &[("TAGS", "A"), ("KEYS", "k 1")]);
        check("TAGS\u{1}A", &[("TAGS", "A")]);
        check("\u{1}v\u{2}n\u{1}\u{2}only\u{2}\u{2}a\u{1}b\u{1}c\u{2}", &[("a", "b\u{1}c")]);
    }

    #[test]
    fn the_last_of_a_repeated_name_counts() {
        assert_eq!(find(b"a\x011\x02b\x012\x02a\x013\x02", "a"), Some(&b"3"[..]));
        assert_eq!(find(b"ab\x011\x02", "a"), None);
    }

    #[test]
    fn appends_and_removes() {
        let mut properties = b"a\x011".to_vec();
        append(&mut properties, "b", b"2");
        assert_eq!(properties, b"a\x011\x02b\x012\x02");
        assert!(remove(&mut properties, "a"));
        assert!(!remove(&mut properties, "a"));
        assert_eq!(properties, b"b\x012\x02");
        let mut twice = b"x\x011\x02y\x012\x02x\x013".to_vec();
        assert!(remove(&mut twice, "x"));
        assert_eq!(twice, b"y\x012\x02");
        let mut mixed = b"only\x02x\x011\x02\x02x\x01\x02x\x012\x02y\x013\x02x\x014\x02z\x015".to_vec();
        assert!(remove(&mut mixed, "x"));
        assert_eq!(mixed, b"only\x02\x02x\x01\x02y\x013\x02z\x015", "what is no pair stays");
    }

    /// A client may repeat a name for as long as a frame is.
    #[test]
    fn many_pairs_are_removed_in_one_pass() {
        let mut properties = b"DELAY\x013\x02K\x01v\x02".repeat(1 << 20);
        let begin = std::time::Instant::now();
        assert!(remove(&mut properties, "DELAY"));
        assert_eq!(properties, b"K\x01v\x02".repeat(1 << 20));
        assert!(begin.elapsed() < std::time::Duration::from_secs(20), "{:?}", begin.elapsed());
    }

    #[test]
    fn tags_code_is_the_java_hash() {
        assert_eq!(tags_code("TAGS\u{1}TagA\u{2}".as_bytes()), TagsCode(2_598_919));
        assert_eq!(tags_code("TAGS\u{1}中文标签\u{2}".as_bytes()), TagsCode(622_041_809));
        assert_eq!(tags_code(b""), TagsCode(0));
    }
}
