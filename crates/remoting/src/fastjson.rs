// SPDX-License-Identifier: Apache-2.0
//! Java's JSON library writes numeric map keys without quotes (`{0:"127.0.0.1:10911"}`) and reads both forms. We
//! write standard JSON and read both; old clients of other languages, which know only the bare form, get it from
//! [`to_vec_with_bare_keys`].

use serde::Serialize;
use serde_json::ser::{CharEscape, Formatter};
use std::{borrow::Cow, io};

/// Makes standard JSON of what fastjson may have written: puts numeric names into quotes, and structures that stand
/// as names, whose own text becomes the name. Text that needs nothing comes back borrowed; text that is no JSON at
/// all is left for the parser to refuse.
#[must_use]
pub fn standard(text: &[u8]) -> Cow<'_, [u8]> {
    let mut out: Option<Vec<u8>> = None;
    let (mut at, mut copied) = (0, 0);
    // Of each object or array that is open, whether it is an object: only there do names stand.
    let mut open: Vec<bool> = Vec::new();
    let mut name_may_follow = false;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => {
                at = string_end(text, at);
                name_may_follow = false;
            }
            b'-' | b'0'..=b'9' => {
                let start = at;
                while matches!(text.get(at), Some(b'-' | b'0'..=b'9')) {
                    at += 1;
                }
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
            b'{' | b'[' if name_may_follow => {
                // What does not end is no JSON.
                let Some(end) = structure_end(text, at) else { break };
                let out = out.get_or_insert_with(|| Vec::with_capacity(text.len() * 2));
                out.extend_from_slice(&text[copied..at]);
                out.push(b'"');
                for &byte in &text[at..end] {
                    if matches!(byte, b'"' | b'\\') {
                        out.push(b'\\');
                    }
                    out.push(byte);
                }
                out.push(b'"');
                (at, copied) = (end, end);
                name_may_follow = false;
            }
            byte => {
                match byte {
                    b'{' | b'[' => open.push(byte == b'{'),
                    b'}' | b']' => drop(open.pop()),
                    _ => {}
                }
                name_may_follow = match byte {
                    b'{' => true,
                    b',' => open.last() == Some(&true),
                    byte => name_may_follow && byte.is_ascii_whitespace(),
                };
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

/// Where the string that opens at `at` has ended.
fn string_end(text: &[u8], mut at: usize) -> usize {
    at += 1;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => break,
            _ => at += 1,
        }
    }
    at + 1
}

/// Where the object or array that opens at `at` has ended. `None` if it does not.
fn structure_end(text: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    loop {
        match *text.get(at)? {
            b'"' => {
                at = string_end(text, at);
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
}

/// Reads a body or a file that fastjson may have written.
///
/// # Errors
/// What is wrong with the text, with its place.
pub fn from_slice<T: serde::de::DeserializeOwned>(text: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(&standard(text))
}

/// First character of a map key that is the text of a structure: [`to_vec_with_bare_keys`] writes it as it is.
pub(crate) const STRUCTURE_MARK: char = '\0';

/// Writes JSON with numeric map keys bare, and queues as keys as they come, as fastjson does.
///
/// # Errors
/// A value that JSON cannot hold, such as a map with a structure as its key.
pub fn to_vec_with_bare_keys<T: Serialize>(value: &T) -> Result<Vec<u8>, serde_json::Error> {
    let mut out = Vec::with_capacity(512);
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut out, BareKeys::default()))?;
    Ok(out)
}

/// Writes a map whose keys are structures, which JSON does not have and fastjson writes as they come:
/// `{{"queueId":0}:{"maxOffset":3}}`. Java reads queues as keys in this form only.
///
/// # Errors
/// As [`to_vec_with_bare_keys`].
pub fn structured_table<K: Serialize, V: Serialize>(
    entries: impl IntoIterator<Item = (K, V)>,
) -> Result<String, serde_json::Error> {
    let mut out = String::from("{");
    for (key, value) in entries {
        if out.len() > 1 {
            out.push(',');
        }
        out += &serde_json::to_string(&key)?;
        out.push(':');
        out += &serde_json::to_string(&value)?;
    }
    out.push('}');
    Ok(out)
}

/// The value of a member of the outermost object as it is written, for values that are no JSON: tables with
/// structures as their keys. `None` if there is none, or it does not end.
#[must_use]
pub fn member<'a>(text: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let (mut at, mut depth, mut start) = (0, 0_usize, None);
    loop {
        match *text.get(at)? {
            b'"' => {
                let opening = at;
                at += 1;
                while *text.get(at)? != b'"' {
                    at += if text[at] == b'\\' { 2 } else { 1 };
                }
                let is_name = depth == 1 && start.is_none() && &text[opening + 1..at] == name.as_bytes();
                let rest = text[at + 1..].trim_ascii_start();
                if is_name && rest.first() == Some(&b':') {
                    at = text.len() - rest.len();
                    start = Some(at + 1);
                }
            }
            b'{' | b'[' => depth += 1,
            byte @ (b'}' | b']' | b',') => {
                if depth == 1
                    && let Some(start) = start
                {
                    return Some(text[start..at].trim_ascii());
                }
                if byte != b',' {
                    depth = depth.checked_sub(1)?;
                }
            }
            _ => {}
        }
        at += 1;
    }
}

/// Whether the quotes of a map key have been written.
#[derive(Default, PartialEq, Eq)]
enum KeyQuote {
    /// No key is being written, or one in quotes.
    #[default]
    Written,
    /// A key begins: its opening quote waits for what follows.
    Due,
    /// The key is a number: it gets none.
    Omitted,
    /// The key is the text of a structure: it gets none either, and nothing in it is escaped.
    Structure,
}

/// `serde_json` writes a numeric key as quote, number, quote. This holds the quote back until it is known whether a
/// number or text follows.
#[derive(Default)]
struct BareKeys {
    at_key: bool,
    quote: KeyQuote,
}

impl BareKeys {
    fn number<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        number: impl itoa::Integer,
    ) -> io::Result<()> {
        if self.quote == KeyQuote::Due {
            self.quote = KeyQuote::Omitted;
        }
        writer.write_all(itoa::Buffer::new().format(number).as_bytes())
    }

    fn due_quote<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        if self.quote == KeyQuote::Due {
            self.quote = KeyQuote::Written;
            writer.write_all(b"\"")?;
        }
        Ok(())
    }
}

impl Formatter for BareKeys {
    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.at_key = true;
        if first { Ok(()) } else { writer.write_all(b",") }
    }

    fn begin_string<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        if std::mem::take(&mut self.at_key) {
            self.quote = KeyQuote::Due;
            return Ok(());
        }
        writer.write_all(b"\"")
    }

    fn end_string<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.due_quote(writer)?;
        match std::mem::take(&mut self.quote) {
            KeyQuote::Omitted | KeyQuote::Structure => Ok(()),
            _ => writer.write_all(b"\""),
        }
    }

    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, text: &str) -> io::Result<()> {
        self.due_quote(writer)?;
        writer.write_all(text.as_bytes())
    }

    fn write_char_escape<W: ?Sized + io::Write>(&mut self, writer: &mut W, c: CharEscape) -> io::Result<()> {
        match (&self.quote, &c) {
            (KeyQuote::Due, CharEscape::AsciiControl(0)) => {
                self.quote = KeyQuote::Structure;
                return Ok(());
            }
            (KeyQuote::Structure, CharEscape::Quote) => return writer.write_all(b"\""),
            (KeyQuote::Structure, CharEscape::ReverseSolidus) => return writer.write_all(b"\\"),
            _ => {}
        }
        self.due_quote(writer)?;
        serde_json::ser::CompactFormatter.write_char_escape(writer, c)
    }

    fn write_i32<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: i32) -> io::Result<()> {
        self.number(writer, value)
    }

    fn write_u32<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: u32) -> io::Result<()> {
        self.number(writer, value)
    }

    fn write_i64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: i64) -> io::Result<()> {
        self.number(writer, value)
    }

    fn write_u64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: u64) -> io::Result<()> {
        self.number(writer, value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn writes_bare_keys_for_numbers_only() {
        let addrs: BTreeMap<i64, &str> = [(-1, "x"), (0, "127.0.0.1:1\n"), (12, "")].into();
        assert_eq!(to_vec_with_bare_keys(&addrs).unwrap(), br#"{-1:"x",0:"127.0.0.1:1\n",12:""}"#);
        let names: BTreeMap<&str, BTreeMap<i32, u64>> =
            [("", [].into()), ("0", [(3, 4), (5, 6)].into()), ("\"q", [].into())].into();
        let written = to_vec_with_bare_keys(&names).unwrap();
        assert_eq!(String::from_utf8_lossy(&written), r#"{"":{},"\"q":{},"0":{3:4,5:6}}"#);
        let read: BTreeMap<String, BTreeMap<i32, u64>> = from_slice(&written).unwrap();
        assert_eq!(read["0"], [(3, 4), (5, 6)].into());
    }

    #[test]
    fn writes_structures_as_keys() {
        let table = structured_table(
            [([("q", 0)], 3), ([("q", 1)], 4)].map(|(key, value)| (BTreeMap::from(key), value)),
        );
        assert_eq!(table.unwrap(), r#"{{"q":0}:3,{"q":1}:4}"#);
        assert_eq!(structured_table::<(), ()>([]).unwrap(), "{}");
    }

    #[test]
    fn finds_members_of_what_is_no_json() {
        let text = br#"{"a":"t\"",  "x" : {"t":1},"t" : {{"q":0,"s":"}"}:5,{"q":1}:[6]} , "b":1}"#;
        assert_eq!(member(text, "t"), Some(&br#"{{"q":0,"s":"}"}:5,{"q":1}:[6]}"#[..]));
        assert_eq!((member(text, "b"), member(text, "q")), (Some(&b"1"[..]), None));
        for bad in ["", "{", "}", "]", "\"", "\"\\", r#"{"t":"#, r#"{"t":{"#, r#"{"t"}"#, r#"{"t":{}"#] {
            assert_eq!(member(bad.as_bytes(), "t"), None, "{bad}");
        }
    }

    #[test]
    fn structures_become_names() {
        let table = br#"{"t":{{"b":"a\"}","q":0}:{0:[{"x":1}]}, {"q":[1,{}]}:[2] },"n":[{"a":1},{"b":2}]}"#;
        let read: serde_json::Value = from_slice(table).unwrap();
        let first = r#"{"b":"a\"}","q":0}"#;
        assert_eq!(read["t"][first]["0"][0]["x"], 1);
        assert_eq!(read["t"][r#"{"q":[1,{}]}"#][0], 2);
        assert_eq!(read["n"][1]["b"], 2);
        assert_eq!(standard(b"{{}:1}"), &br#"{"{}":1}"#[..]);
        // A hostile text must not cost more than its length.
        for bad in
            ["{{", "{{\"", "{{]", "{[}:", "]", "}{{}", "{{}}", &"{".repeat(1 << 20), &"{[".repeat(1 << 20)]
        {
            assert!(from_slice::<serde_json::Value>(bad.as_bytes()).is_err());
        }
    }

    #[test]
    fn quotes_numeric_names_only() {
        for (fastjson, json) in [
            (r#"{0:"a",1:"b"}"#, r#"{"0":"a","1":"b"}"#),
            (r#"{"a":{0:1, 12:[1,2]},"b":-1}"#, r#"{"a":{"0":1, "12":[1,2]},"b":-1}"#),
            (r#"{"a":"{0:1,2:3}\"{4:5}"}"#, r#"{"a":"{0:1,2:3}\"{4:5}"}"#),
            (r#"{"offsetTable":{"T@g":{0:5,-1:6}}}"#, r#"{"offsetTable":{"T@g":{"0":5,"-1":6}}}"#),
            ("[1,2,{3:[4,5]}]", r#"[1,2,{"3":[4,5]}]"#),
            ("[1,2:3]", "[1,2:3]"),
            ("", ""),
            ("\"open\\", "\"open\\"),
        ] {
            assert_eq!(String::from_utf8(standard(fastjson.as_bytes()).into_owned()).unwrap(), json);
        }
    }
}
