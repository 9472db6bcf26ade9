// SPDX-License-Identifier: Apache-2.0
//! The header of a frame, read in place.
//!
//! JSON: an object with `code`, `flag`, `language`, `opaque`, `version`, `remark`, `extFields` and
//! `serializeTypeCurrentRPC`, in any order; unknown members are passed over.
//!
//! ROCKETMQ, big-endian:
//! ```text
//! | code i16 | language u8 | version i16 | opaque i32 | flag i32 | remark: i32 length, bytes |
//! | fields: i32 length, then { key: i16 length, bytes; value: i32 length, bytes }* |
//! ```
//! The code has 16 bits only: POP_MESSAGE (200050) arrives as 3442. Java: `RocketMQSerializable`, `RemotingCommand`.

use crate::{Encoding, Text, text::escape_length};
use std::{fmt, str};
use thiserror::Error;

const RESPONSE_FLAG: i32 = 1;
const ONE_WAY_FLAG: i32 = 2;
/// Deepest nesting that is passed over in a JSON header. Headers have two levels.
const JSON_DEPTH_MAX: u32 = 16;

/// Language of the peer, as its byte in the ROCKETMQ encoding. Java: `LanguageCode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Language(pub u8);

const LANGUAGES: [&str; 14] = [
    "JAVA", "CPP", "DOTNET", "PYTHON", "DELPHI", "ERLANG", "RUBY", "OTHER", "HTTP", "GO", "PHP", "OMS",
    "RUST", "NODE_JS",
];

impl Language {
    /// A language that has no name of its own; every client version knows it, unlike `RUST`.
    pub const OTHER: Self = Self(7);

    /// The language that Java calls `name`; [`Language::OTHER`] if there is none.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        LANGUAGES
            .iter()
            .position(|known| *known == name)
            .and_then(|at| u8::try_from(at).ok())
            .map_or(Self::OTHER, Self)
    }

    /// Java's name of the language.
    #[must_use]
    pub fn name(self) -> &'static str {
        LANGUAGES.get(usize::from(self.0)).copied().unwrap_or("OTHER")
    }
}

/// A parsed header that borrows from the receive buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header<'a> {
    /// Request code or response code.
    pub code: i32,
    /// Language of the sender.
    pub language: Language,
    /// Version of the sender, an ordinal of Java's `MQVersion`.
    pub version: i32,
    /// Number by which the sender finds the answer to its request.
    pub opaque: i32,
    /// Bit 0: response; bit 1: one-way.
    pub flag: i32,
    /// Text for people, most often the reason of a failure.
    pub remark: Option<Text<'a>>,
    /// The custom fields (`extFields`).
    pub fields: Fields<'a>,
    /// How the header was written, hence how the answer has to be.
    pub encoding: Encoding,
}

/// Custom fields of a header, in the order in which they stand. Of a repeated name the last counts, as in Java.
///
/// Sixteen of them need no allocation, which is more than a send or a pull has.
#[derive(Clone)]
pub struct Fields<'a> {
    first: [Field<'a>; FIELDS_INLINE],
    count: usize,
    rest: Vec<Field<'a>>,
}

type Field<'a> = (&'a str, Text<'a>);
const FIELDS_INLINE: usize = 16;

/// A header that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// Not UTF-8.
    #[error("header is not UTF-8")]
    NotUtf8,
    /// Not the JSON that a header is; `at` is the byte where that shows.
    #[error("header is not valid JSON at byte {at}: expected {expected}")]
    Json {
        /// Byte of the header, from 0.
        at: usize,
        /// What would have been right there.
        expected: &'static str,
    },
    /// A ROCKETMQ header that ends within a field, or whose inner lengths do not add up.
    #[error("header is cut short or its inner lengths do not add up, at byte {at}")]
    Truncated {
        /// Byte of the header, from 0.
        at: usize,
    },
    /// More fields than any client sends.
    #[error("header has more than {0} fields")]
    TooManyFields(usize),
}

/// Most custom fields in one header; Java clients send fewer than thirty.
const FIELDS_MAX: usize = 1024;

impl<'a> Header<'a> {
    /// Reads a header.
    ///
    /// # Errors
    /// [`HeaderError`] says where the bytes stop to make sense.
    pub fn parse(encoding: Encoding, bytes: &'a [u8]) -> Result<Self, HeaderError> {
        match encoding {
            Encoding::Json => {
                Json { text: str::from_utf8(bytes).map_err(|_| HeaderError::NotUtf8)?, at: 0 }.header()
            }
            Encoding::RocketMq => Binary { bytes, at: 0 }.header(),
        }
    }

    fn empty(encoding: Encoding) -> Self {
        Self {
            code: 0,
            language: Language::OTHER,
            version: 0,
            opaque: 0,
            flag: 0,
            remark: None,
            fields: Fields::default(),
            encoding,
        }
    }

    /// True for an answer to a request that we sent.
    #[must_use]
    pub fn is_response(&self) -> bool {
        self.flag & RESPONSE_FLAG != 0
    }

    /// True for a request that must not be answered.
    #[must_use]
    pub fn is_one_way(&self) -> bool {
        self.flag & ONE_WAY_FLAG != 0
    }
}

impl Default for Fields<'_> {
    fn default() -> Self {
        Self { first: [("", Text::plain("")); FIELDS_INLINE], count: 0, rest: Vec::new() }
    }
}

impl fmt::Debug for Fields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl PartialEq for Fields<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Fields<'_> {}

impl<'a> Fields<'a> {
    /// The value of `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Text<'a>> {
        self.iter().filter(|(key, _)| *key == name).last().map(|(_, value)| value)
    }

    /// Names and values in the order in which they stand.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, Text<'a>)> {
        self.first[..self.count.min(FIELDS_INLINE)].iter().chain(&self.rest).copied()
    }

    fn push(&mut self, name: &'a str, value: Text<'a>) -> Result<(), HeaderError> {
        match self.first.get_mut(self.count) {
            Some(free) => *free = (name, value),
            None if self.count == FIELDS_MAX => return Err(HeaderError::TooManyFields(FIELDS_MAX)),
            None => self.rest.push((name, value)),
        }
        self.count += 1;
        Ok(())
    }
}

/// A cursor over a JSON header.
struct Json<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Json<'a> {
    fn header(mut self) -> Result<Header<'a>, HeaderError> {
        let mut header = Header::empty(Encoding::Json);
        self.object(|json, name| {
            match name {
                "code" => header.code = json.int()?,
                "flag" => header.flag = json.int()?,
                "opaque" => header.opaque = json.int()?,
                "version" => header.version = json.int()?,
                "language" => {
                    header.language =
                        json.scalar()?.map_or(Language::OTHER, |name| Language::from_name(&name.to_cow()));
                }
                "remark" => header.remark = json.scalar()?,
                "extFields" => json.fields(&mut header.fields)?,
                _ => json.skip(0)?,
            }
            Ok(())
        })?;
        self.blank();
        if self.at != self.text.len() { Err(self.expected("the end")) } else { Ok(header) }
    }

    fn fields(&mut self, fields: &mut Fields<'a>) -> Result<(), HeaderError> {
        if self.literal("null") {
            return Ok(());
        }
        if self.plain_fields(fields)? {
            return Ok(());
        }
        self.object(|json, name| match json.scalar()? {
            Some(value) => fields.push(name, value),
            None => Ok(()),
        })
    }

    /// Reads the fields as every client of ours writes them: text only, and no blanks. False if they are not written
    /// so; then nothing was read.
    fn plain_fields(&mut self, fields: &mut Fields<'a>) -> Result<bool, HeaderError> {
        let bytes = self.text.as_bytes();
        let byte = |at: usize| bytes.get(at).copied();
        if byte(self.at) != Some(b'{') || byte(self.at + 1) != Some(b'"') {
            return Ok(false);
        }
        let mut at = self.at + 2;
        loop {
            let name = at;
            // Sends have names of one letter.
            let letter = byte(at + 1) == Some(b'"') && !matches!(byte(at), Some(b'"' | b'\\'));
            let end = if letter { Some(at + 1) } else { quote_or_backslash(bytes, at) };
            let Some(end) = end else { break };
            if bytes[end] != b'"' || byte(end + 1) != Some(b':') || byte(end + 2) != Some(b'"') {
                break;
            }
            let value = end + 3;
            let mut escaped = false;
            at = value;
            let close = loop {
                let Some(found) = quote_or_backslash(bytes, at) else { break None };
                if bytes[found] == b'"' {
                    break Some(found);
                }
                escaped = true;
                let Some(length) = escape_length(bytes, found + 1) else { break None };
                at = found + 1 + length;
            };
            let Some(close) = close else { break };
            let raw = &self.text[value..close];
            fields
                .push(&self.text[name..end], if escaped { Text::escaped(raw) } else { Text::plain(raw) })?;
            match (byte(close + 1), byte(close + 2)) {
                (Some(b','), Some(b'"')) => at = close + 3,
                (Some(b'}'), _) => {
                    self.at = close + 2;
                    return Ok(true);
                }
                _ => break,
            }
        }
        *fields = Fields::default();
        Ok(false)
    }

    /// Calls `member` with each name of an object; it has to consume the value.
    fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, &'a str) -> Result<(), HeaderError>,
    ) -> Result<(), HeaderError> {
        self.expect(b'{', "an object")?;
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            self.blank();
            if self.peek() != Some(b'"') {
                return Err(self.expected("a name"));
            }
            // A name with escapes is none that the protocol knows, so its raw form does no harm.
            let name = self.string()?.raw();
            self.expect(b':', "a colon")?;
            member(self, name)?;
            if self.take(b'}') {
                return Ok(());
            }
            self.expect(b',', "a comma")?;
        }
    }

    /// A string, number or boolean as text; `None` for null.
    fn scalar(&mut self) -> Result<Option<Text<'a>>, HeaderError> {
        self.blank();
        match self.peek() {
            Some(b'"') => self.string().map(Some),
            Some(b'n') if self.literal("null") => Ok(None),
            Some(b't') if self.literal("true") => Ok(Some(Text::plain("true"))),
            Some(b'f') if self.literal("false") => Ok(Some(Text::plain("false"))),
            Some(b'-' | b'0'..=b'9') => Ok(Some(Text::plain(self.number()))),
            _ => Err(self.expected("a string or a number")),
        }
    }

    fn int(&mut self) -> Result<i32, HeaderError> {
        let at = self.at;
        let wrong = HeaderError::Json { at, expected: "a 32-bit number" };
        self.scalar()?.map_or(Ok(0), |value| value.raw().parse().map_err(|_| wrong))
    }

    fn number(&mut self) -> &'a str {
        let start = self.at;
        while matches!(self.peek(), Some(b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9')) {
            self.at += 1;
        }
        &self.text[start..self.at]
    }

    /// A string; the cursor stands on its opening quote.
    fn string(&mut self) -> Result<Text<'a>, HeaderError> {
        let bytes = self.text.as_bytes();
        let start = self.at + 1;
        let mut at = start;
        let mut escaped = false;
        loop {
            at = quote_or_backslash(bytes, at)
                .ok_or(HeaderError::Json { at: bytes.len(), expected: "a closing quote" })?;
            if bytes[at] == b'"' {
                break;
            }
            escaped = true;
            at += 1 + escape_length(bytes, at + 1)
                .ok_or(HeaderError::Json { at, expected: "a JSON escape" })?;
        }
        self.at = at + 1;
        let raw = &self.text[start..at];
        Ok(if escaped { Text::escaped(raw) } else { Text::plain(raw) })
    }

    fn skip(&mut self, depth: u32) -> Result<(), HeaderError> {
        self.blank();
        if depth == JSON_DEPTH_MAX {
            return Err(self.expected("less nesting"));
        }
        match self.peek() {
            Some(b'{') => self.object(|json, _| json.skip(depth + 1)),
            Some(b'[') => {
                self.at += 1;
                if self.take(b']') {
                    return Ok(());
                }
                loop {
                    self.skip(depth + 1)?;
                    if self.take(b']') {
                        return Ok(());
                    }
                    self.expect(b',', "a comma")?;
                }
            }
            _ => self.scalar().map(drop),
        }
    }

    fn literal(&mut self, word: &str) -> bool {
        self.blank();
        let found = self.text.as_bytes()[self.at..].starts_with(word.as_bytes());
        if found {
            self.at += word.len();
        }
        found
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blank(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        self.blank();
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8, expected: &'static str) -> Result<(), HeaderError> {
        if self.take(byte) { Ok(()) } else { Err(self.expected(expected)) }
    }

    fn expected(&self, expected: &'static str) -> HeaderError {
        HeaderError::Json { at: self.at, expected }
    }
}

/// Where the next `"` or `\` stands, from `at` on. Eight bytes at a time: the strings of a header are short, and a call
/// of a vectorised search costs more than it saves.
#[inline]
fn quote_or_backslash(bytes: &[u8], mut at: usize) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    // The high bit of each byte that is zero; what stands above the lowest such byte may be wrong.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & (ONES << 7);
    while let Some(eight) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*eight);
        let found = zeros(word ^ (ONES * u64::from(b'"'))) | zeros(word ^ (ONES * u64::from(b'\\')));
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    let rest = bytes.get(at..)?;
    rest.iter().position(|byte| matches!(byte, b'"' | b'\\')).map(|found| at + found)
}

/// A cursor over a ROCKETMQ header.
struct Binary<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Binary<'a> {
    fn header(mut self) -> Result<Header<'a>, HeaderError> {
        let mut header = Header::empty(Encoding::RocketMq);
        header.code = i32::from(i16::from_be_bytes(self.array()?));
        header.language = Language(self.array::<1>()?[0]);
        header.version = i32::from(i16::from_be_bytes(self.array()?));
        header.opaque = i32::from_be_bytes(self.array()?);
        header.flag = i32::from_be_bytes(self.array()?);
        let remark = self.long_text()?;
        header.remark = (!remark.is_empty()).then_some(Text::plain(remark));
        let fields = i32::from_be_bytes(self.array()?);
        let end = usize::try_from(fields).ok().and_then(|fields| self.at.checked_add(fields));
        let Some(end) = end.filter(|end| *end <= self.bytes.len()) else {
            return Err(HeaderError::Truncated { at: self.at });
        };
        while self.at < end {
            let key_bytes = u16::from_be_bytes(self.array()?);
            let key = self.text(usize::from(key_bytes))?;
            let value = self.long_text()?;
            // Java reads an empty value as null.
            if !value.is_empty() {
                header.fields.push(key, Text::plain(value))?;
            }
        }
        if self.at == end { Ok(header) } else { Err(HeaderError::Truncated { at: self.at }) }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], HeaderError> {
        let found = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<N>());
        let array = *found.ok_or(HeaderError::Truncated { at: self.at })?;
        self.at += N;
        Ok(array)
    }

    fn long_text(&mut self) -> Result<&'a str, HeaderError> {
        let length = i32::from_be_bytes(self.array()?);
        self.text(usize::try_from(length).map_err(|_| HeaderError::Truncated { at: self.at })?)
    }

    fn text(&mut self, length: usize) -> Result<&'a str, HeaderError> {
        let end = self.at.checked_add(length);
        let found =
            end.and_then(|end| self.bytes.get(self.at..end)).ok_or(HeaderError::Truncated { at: self.at })?;
        self.at += length;
        str::from_utf8(found).map_err(|_| HeaderError::NotUtf8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Command, FRAME_MAX_BYTES, Kind, split_frame};
    use proptest::prelude::*;

    fn json(text: &str) -> Result<Header<'_>, HeaderError> {
        Header::parse(Encoding::Json, text.as_bytes())
    }

    #[test]
    fn reads_the_header_of_a_java_client() {
        let text = concat!(
            r#"{"code":310,"extFields":{"a":"g","i":"KEYS\u0001k\u0002","e":"0"},"flag":0,"language":"JAVA","#,
            r#""opaque":7,"serializeTypeCurrentRPC":"JSON","version":433}"#
        );
        let header = json(text).unwrap();
        assert_eq!((header.code, header.opaque, header.version, header.language), (310, 7, 433, Language(0)));
        assert_eq!(header.fields.get("i").unwrap().to_cow(), "KEYS\u{1}k\u{2}");
        assert_eq!(header.fields.get("x"), None);
        assert!(!header.is_response() && !header.is_one_way());
    }

    #[test]
    fn accepts_what_other_clients_write() {
        let header = json(
            r#" { "opaque" : 1, "unknown":[{"a":[]},null,1.5e3], "extFields": {"n":5,"t":true,"z":null,"n":"6"},
            "code":105, "language":"KLINGON","remark":null } "#,
        )
        .unwrap();
        assert_eq!(header.fields.get("n"), Some(Text::plain("6")), "the last of a repeated field counts");
        assert_eq!((header.fields.get("z"), header.language), (None, Language::OTHER));
        assert_eq!(json(r#"{"code":105,"extFields":null}"#).unwrap().code, 105);
    }

    #[test]
    fn refuses_malformed_json() {
        let deep = format!(r#"{{"a":{}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        for text in [
            "",
            "{",
            "{}x",
            "[]",
            r#"{"code"}"#,
            r#"{"code":"x"}"#,
            r#"{"code":9999999999}"#,
            r#"{"code":1.5}"#,
            r#"{"a":"\x"}"#,
            r#"{"extFields":{""":"x"}}"#,
            r#"{"extFields":{"\":"x"}}"#,
            r#"{"a":"\u12"}"#,
            r#"{"a":"open}"#,
            r#"{"extFields":{"a":{}}}"#,
            r#"{"a":1,}"#,
            &deep,
        ] {
            assert!(matches!(json(text), Err(HeaderError::Json { .. })), "{:.40}", text);
        }
        assert_eq!(Header::parse(Encoding::Json, b"{\"a\":\"\xff\"}"), Err(HeaderError::NotUtf8));
        let many = format!(r#"{{"extFields":{{{}"a":1}}}}"#, r#""a":1,"#.repeat(2000));
        assert_eq!(json(&many), Err(HeaderError::TooManyFields(FIELDS_MAX)));
    }

    #[test]
    fn reads_the_binary_header() {
        // code 310, GO, version 317, opaque 5, one-way, no remark, { "a": "g" }
        let bytes = b"\x01\x36\x09\x01\x3d\0\0\0\x05\0\0\0\x02\0\0\0\0\0\0\0\x08\0\x01a\0\0\0\x01g";
        let header = Header::parse(Encoding::RocketMq, bytes).unwrap();
        assert_eq!((header.code, header.opaque, header.version, header.language), (310, 5, 317, Language(9)));
        assert_eq!(header.fields.get("a"), Some(Text::plain("g")));
        assert!(header.is_one_way());
        for end in 0..bytes.len() {
            assert!(Header::parse(Encoding::RocketMq, &bytes[..end]).is_err(), "{end} bytes");
        }
        for at in 13..bytes.len() - 1 {
            let mut wrong = bytes.to_vec();
            wrong[at] = 0xff;
            // Must not panic; a length that lies is refused.
            let _ = Header::parse(Encoding::RocketMq, &wrong);
        }
    }

    fn command() -> impl Strategy<Value = Command> {
        let fields = proptest::collection::vec(("[a-zA-Z]{1,12}", ".{1,40}"), 0..20);
        (0..32_000i32, proptest::option::of(".{1,40}"), fields, proptest::collection::vec(any::<u8>(), 0..50))
            .prop_map(|(code, remark, fields, body)| {
                let mut command = Command::new(code).with_body(body);
                command.remark = remark.map(Into::into);
                command.fields =
                    fields.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
                command
            })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(command in command(), json in any::<bool>(), opaque in any::<i32>()) {
            let encoding = if json { Encoding::Json } else { Encoding::RocketMq };
            let mut bytes = Vec::new();
            command.encode(encoding, Kind::Response, opaque, &mut bytes);
            bytes.extend(command.body.pieces().iter().flatten());
            let frame = split_frame(&bytes, FRAME_MAX_BYTES).unwrap().unwrap();
            prop_assert_eq!(frame.size, bytes.len());
            prop_assert_eq!(frame.body.len(), command.body.len());
            let header = Header::parse(frame.encoding, frame.header).unwrap();
            prop_assert_eq!((header.code, header.opaque, header.is_response()), (command.code, opaque, true));
            prop_assert_eq!(header.remark.map(Text::to_cow), command.remark.clone());
            let found: Vec<_> = header.fields.iter().map(|(k, v)| (k.to_owned(), v.to_cow().into_owned())).collect();
            let sent: Vec<_> = command.fields.iter().map(|(name, _)| name.clone().into_owned()).collect();
            prop_assert_eq!(found.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>(), sent);
            for ((_, value), (_, sent)) in found.iter().zip(&command.fields) {
                prop_assert_eq!(&crate::FieldValue::from(value.clone()), sent);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in ".{0,200}") {
            let _ = split_frame(&bytes, 1000);
            let _ = Header::parse(Encoding::RocketMq, &bytes);
            let _ = Header::parse(Encoding::Json, &bytes);
            let _ = Header::parse(Encoding::Json, text.as_bytes());
            let _ = crate::fastjson::standard(&bytes);
        }
    }
}
