// SPDX-License-Identifier: Apache-2.0
//! Java's hash of a string, on which tag filtering rests: producer, broker and consumer must agree on it.

use crate::TagsCode;

/// `java.lang.String#hashCode` of `text`: over UTF-16 code units, wrapping at 32 bits.
#[must_use]
pub fn java_string_hash(text: &str) -> i32 {
    java_string_hash_after(0, text)
}

/// The hash of a text that ends with `text`, when `hash` is that of what comes before it.
#[must_use]
pub fn java_string_hash_after(hash: i32, text: &str) -> i32 {
    let step = |hash: i32, unit: u16| hash.wrapping_mul(31).wrapping_add(i32::from(unit));
    if !text.is_ascii() {
        return text.encode_utf16().fold(hash, step);
    }
    // Four at a time: each step waits for the multiplication of the one before.
    let (fours, rest) = text.as_bytes().as_chunks::<4>();
    let hash = fours.iter().fold(hash, |hash, four| {
        let [a, b, c, d] = four.map(i32::from);
        hash.wrapping_mul(31 * 31 * 31 * 31).wrapping_add(a * (31 * 31 * 31) + b * (31 * 31) + c * 31 + d)
    });
    rest.iter().fold(hash, |hash, &byte| step(hash, byte.into()))
}

/// The tags code of a consume queue unit for a message with tag `tag`; 0 when it has none.
///
/// Java: `MessageExtBrokerInner#tagsString2tagsCode`.
#[must_use]
pub fn tags_code(tag: Option<&str>) -> TagsCode {
    TagsCode(tag.map_or(0, |tag| i64::from(java_string_hash(tag))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_as_java_does() {
        // Printed by `"...".hashCode()` on a JDK 17.
        for (text, hash) in [
            ("", 0),
            ("TagA", 2_598_919),
            ("hello world", 1_794_106_052),
            ("中文标签", 622_041_809),
            ("😀", 1_772_899),
        ] {
            assert_eq!(java_string_hash(text), hash, "{text}");
            for (at, _) in text.char_indices() {
                let (head, tail) = text.split_at(at);
                assert_eq!(java_string_hash_after(java_string_hash(head), tail), hash, "{head} {tail}");
            }
        }
        assert_eq!(tags_code(None), TagsCode(0));
    }
}
