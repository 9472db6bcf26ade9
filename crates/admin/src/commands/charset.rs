// SPDX-License-Identifier: Apache-2.0
//! Character sets of bodies.

use crate::cli::{CommandError, shorten};
use encoding_rs::Encoding;

/// How the bytes of a body become text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Charset(&'static Encoding);

impl Charset {
    /// UTF-8.
    pub(crate) const UTF_8: Self = Self(encoding_rs::UTF_8);

    /// The one of this name, in any case: `UTF-8`, `GBK` and the like.
    ///
    /// # Errors
    /// [`CommandError::Usage`] if it is unknown.
    pub(crate) fn named(name: &str) -> Result<Self, CommandError> {
        Encoding::for_label(name.as_bytes()).map(Self).ok_or_else(|| {
            CommandError::usage(format!("there is no character set {}; UTF-8 and GBK are two", shorten(name)))
        })
    }

    /// The text; what is none becomes a mark.
    pub(crate) fn text(self, bytes: &[u8]) -> String {
        self.0.decode_without_bom_handling(bytes).0.into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_read_in_their_character_set() {
        let text = |name, bytes: &[u8]| Charset::named(name).unwrap().text(bytes);
        assert_eq!(text("gbk", &[0xB6, 0xA9, 0xB5, 0xA5]), "订单");
        assert_eq!(text("UTF-8", "订单\u{1b}".as_bytes()), "订单\u{1b}");
        assert_eq!(text("utf8", &[b'a', 0xFF]), "a\u{fffd}");
        assert_eq!(Charset::UTF_8.text(b"a"), "a");
        for bad in ["", "klingon", &"x".repeat(1 << 22)] {
            let error = Charset::named(bad).unwrap_err().to_string();
            assert!(error.len() < 300, "{error}");
        }
    }
}
