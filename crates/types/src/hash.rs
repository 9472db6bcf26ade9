// SPDX-License-Identifier: Apache-2.0
//! Java's hash of a string, on which tag filtering rests: producer, broker and consumer must agree on it.

use crate::TagsCode;

/// `java.lang.String#hashCode` of `text`: over UTF-16 code units, wrapping at 32 bits.
#[must_use]
pub fn java_string_hash(text: &str) -> i32 {
    if text.is_ascii() {
        return text.bytes().fold(0i32, |hash, byte| hash.wrapping_mul(31).wrapping_add(i32::from(byte)));
    }
    text.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
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
        }
        assert_eq!(tags_code(None), TagsCode(0));
    }
}
