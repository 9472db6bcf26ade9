// SPDX-License-Identifier: Apache-2.0
//! A string value as it stands in a header: borrowed, its JSON escapes still in place.

use std::borrow::Cow;

/// A string of a header. Its escapes have been checked when the header was parsed, so reading it cannot fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Text<'a> {
    raw: &'a str,
    escaped: bool,
}

impl<'a> Text<'a> {
    /// A string that contains no escapes.
    #[must_use]
    pub fn plain(raw: &'a str) -> Self {
        Self { raw, escaped: false }
    }

    pub(crate) fn escaped(raw: &'a str) -> Self {
        Self { raw, escaped: true }
    }

    /// The string, borrowed where it has no escapes.
    #[must_use]
    pub fn to_cow(self) -> Cow<'a, str> {
        if !self.escaped {
            return Cow::Borrowed(self.raw);
        }
        let mut out = Vec::with_capacity(self.raw.len());
        self.write_to(&mut out);
        Cow::Owned(String::from_utf8(out).unwrap_or_default())
    }

    /// The string if it has no escapes.
    #[must_use]
    pub fn as_plain(self) -> Option<&'a str> {
        (!self.escaped).then_some(self.raw)
    }

    /// The string as it stands in the header, escapes unresolved.
    pub(crate) fn raw(self) -> &'a str {
        self.raw
    }

    /// Appends the string's UTF-8 bytes to `out`.
    pub fn write_to(self, out: &mut Vec<u8>) {
        if !self.escaped {
            out.extend_from_slice(self.raw.as_bytes());
            return;
        }
        let mut rest = self.raw;
        while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
            out.extend_from_slice(&rest.as_bytes()[..at]);
            let (c, used) = unescape(&rest.as_bytes()[at + 1..]);
            if c.is_ascii() {
                out.push(c as u8);
            } else {
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
            rest = &rest[at + 1 + used..];
        }
        out.extend_from_slice(rest.as_bytes());
    }
}

/// The character of the escape that follows a backslash, and the bytes it takes. A surrogate without its partner
/// becomes U+FFFD.
fn unescape(after: &[u8]) -> (char, usize) {
    match after.first() {
        Some(b'n') => ('\n', 1),
        Some(b't') => ('\t', 1),
        Some(b'r') => ('\r', 1),
        Some(b'b') => ('\u{8}', 1),
        Some(b'f') => ('\u{c}', 1),
        Some(b'u') => {
            let first = hex4(&after[1..]);
            if let Some(c) = char::from_u32(first) {
                return (c, 5);
            }
            let second = match after.get(5..7) {
                Some(b"\\u") => hex4(&after[7..]),
                _ => 0,
            };
            if (0xD800..0xDC00).contains(&first) && (0xDC00..0xE000).contains(&second) {
                let c = 0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00);
                return (char::from_u32(c).unwrap_or(char::REPLACEMENT_CHARACTER), 11);
            }
            (char::REPLACEMENT_CHARACTER, 5)
        }
        // `"`, `\` and `/` stand for themselves; the parser let nothing else through.
        Some(&other) => (char::from(other), 1),
        None => (char::REPLACEMENT_CHARACTER, 0),
    }
}

fn hex4(digits: &[u8]) -> u32 {
    digits.iter().take(4).fold(0, |value, &digit| value * 16 + char::from(digit).to_digit(16).unwrap_or(0))
}

/// Bytes of the escape sequence at `at` (just after a backslash), `None` if it is none that JSON knows.
pub(crate) fn escape_length(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(1),
        b'u' => bytes.get(at + 1..at + 5)?.iter().all(u8::is_ascii_hexdigit).then_some(5),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolves_escapes() {
        for (raw, expected) in [
            ("plain", "plain"),
            (r"KEYS\u0001k1\u0002", "KEYS\u{1}k1\u{2}"),
            (r#"\"\\\/\b\f\n\r\t"#, "\"\\/\u{8}\u{c}\n\r\t"),
            (r"\u4e2d\uD83D\uDE00!", "中😀!"),
            (r"\ud83dx", "\u{fffd}x"),
            (r"\ud83d\u0041", "\u{fffd}A"),
        ] {
            assert_eq!(Text::escaped(raw).to_cow(), expected, "{raw}");
        }
        assert_eq!(Text::plain("a").as_plain(), Some("a"));
    }
}
