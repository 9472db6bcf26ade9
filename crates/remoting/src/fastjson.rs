// SPDX-License-Identifier: Apache-2.0
//! Java's JSON library writes numeric map keys without quotes (`{0:"127.0.0.1:10911"}`) and its clients read both
//! forms. We write standard JSON and read both.

use std::borrow::Cow;

/// Makes standard JSON of what fastjson may have written: puts numeric names into quotes. Text that needs nothing
/// comes back borrowed; text that is no JSON at all is left for the parser to refuse.
#[must_use]
pub fn standard(text: &[u8]) -> Cow<'_, [u8]> {
    let mut out: Option<Vec<u8>> = None;
    let mut copied = 0;
    let mut at = 0;
    let mut name_may_follow = false;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => {
                at += 1;
                while let Some(&byte) = text.get(at) {
                    match byte {
                        b'\\' => at += 2,
                        b'"' => break,
                        _ => at += 1,
                    }
                }
                at += 1;
                name_may_follow = false;
            }
            b'-' | b'0'..=b'9' => {
                let start = at;
                while matches!(text.get(at), Some(b'-' | b'0'..=b'9')) {
                    at += 1;
                }
                // `[1:2]` is no JSON, so a number after a comma and before a colon can only be a name.
                if name_may_follow && text.get(at) == Some(&b':') {
                    let out = out.get_or_insert_with(|| Vec::with_capacity(text.len() + 64));
                    out.extend_from_slice(&text[copied..start]);
                    out.push(b'"');
                    out.extend_from_slice(&text[start..at]);
                    out.push(b'"');
                    copied = at;
                }
                name_may_follow = false;
            }
            byte => {
                name_may_follow =
                    matches!(byte, b'{' | b',') || (name_may_follow && byte.is_ascii_whitespace());
                at += 1;
            }
        }
    }
    match out {
        None => Cow::Borrowed(text),
        Some(mut out) => {
            out.extend_from_slice(&text[copied..]);
            Cow::Owned(out)
        }
    }
}

/// Reads a body or a file that fastjson may have written.
///
/// # Errors
/// What is wrong with the text, with its place.
pub fn from_slice<T: serde::de::DeserializeOwned>(text: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(&standard(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_numeric_names_only() {
        for (fastjson, json) in [
            (r#"{0:"a",1:"b"}"#, r#"{"0":"a","1":"b"}"#),
            (r#"{"a":{0:1, 12:[1,2]},"b":-1}"#, r#"{"a":{"0":1, "12":[1,2]},"b":-1}"#),
            (r#"{"a":"{0:1,2:3}\"{4:5}"}"#, r#"{"a":"{0:1,2:3}\"{4:5}"}"#),
            (r#"{"offsetTable":{"T@g":{0:5,-1:6}}}"#, r#"{"offsetTable":{"T@g":{"0":5,"-1":6}}}"#),
            ("", ""),
            ("\"open\\", "\"open\\"),
        ] {
            assert_eq!(String::from_utf8(standard(fastjson.as_bytes()).into_owned()).unwrap(), json);
        }
    }
}
