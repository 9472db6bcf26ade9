// SPDX-License-Identifier: Apache-2.0
//! A request or an answer of ours, and how it is written.

use crate::{Encoding, Language, code};
use bytes::Bytes;
use smallvec::SmallVec;
use std::{borrow::Cow, sync::Arc};

/// Version that OxMQ tells its peers: the ordinal of `V5_3_3` in Java's `MQVersion`.
pub const VERSION: i32 = 479;

/// What people read for [`VERSION`].
#[must_use]
pub fn version_name() -> &'static str {
    "V5_3_3"
}

/// What people read for the version that a peer tells: `V5_3_3` for 479. Java: `MQVersion#getVersionDesc`.
#[must_use]
pub fn version_of(version: i32) -> String {
    const FIRST: [&str; 16] = [
        "SNAPSHOT",
        "ALPHA1",
        "BETA1",
        "BETA2",
        "BETA3",
        "BETA4",
        "BETA5",
        "BETA6_SNAPSHOT",
        "BETA6",
        "BETA7_SNAPSHOT",
        "BETA7",
        "BETA8_SNAPSHOT",
        "BETA8",
        "BETA9_SNAPSHOT",
        "BETA9",
        "FINAL",
    ];
    // After those of 3.0.0, each release has an ordinal for its snapshot and one for itself.
    let (minor, patch) = match version {
        ..0 => return "UNKNOWN".to_owned(),
        0..16 => return format!("V3_0_0_{}", FIRST[version.cast_unsigned() as usize]),
        16..46 => (30, 1 + (version - 16) / 2),
        46..86 => (31 + (version - 46) / 20, (version - 46) % 20 / 2),
        86..212 => (33 + (version - 86) / 18, 1 + (version - 86) % 18 / 2),
        212..612 => (40 + (version - 212) / 20, (version - 212) % 20 / 2),
        _ => return "HIGHER_VERSION".to_owned(),
    };
    let snapshot = if version % 2 == 0 { "_SNAPSHOT" } else { "" };
    format!("V{}_{}_{patch}{snapshot}", minor / 10, minor % 10)
}

/// A value of a custom field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldValue {
    /// Written in decimal.
    Int(i64),
    /// Written as `true` or `false`.
    Bool(bool),
    /// Written as it is.
    Text(Cow<'static, str>),
    /// The same, for text that many answers have in common.
    Shared(Arc<str>),
}

impl From<i64> for FieldValue {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<i32> for FieldValue {
    fn from(value: i32) -> Self {
        Self::Int(value.into())
    }
}

impl From<u32> for FieldValue {
    fn from(value: u32) -> Self {
        Self::Int(value.into())
    }
}

impl From<u64> for FieldValue {
    /// Java has no unsigned numbers: what does not fit becomes its largest.
    fn from(value: u64) -> Self {
        Self::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<bool> for FieldValue {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<&'static str> for FieldValue {
    fn from(value: &'static str) -> Self {
        Self::Text(Cow::Borrowed(value))
    }
}

impl From<Arc<str>> for FieldValue {
    fn from(value: Arc<str>) -> Self {
        Self::Shared(value)
    }
}

impl From<String> for FieldValue {
    fn from(value: String) -> Self {
        Self::Text(Cow::Owned(value))
    }
}

/// The body of a command: pieces that are written one after the other, never copied together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Body(SmallVec<[Bytes; 1]>);

impl Body {
    /// Bytes in all pieces.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    /// True if there is not a byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The pieces in their order.
    #[must_use]
    pub fn pieces(&self) -> &[Bytes] {
        &self.0
    }

    /// The pieces in their order.
    pub fn into_pieces(self) -> impl Iterator<Item = Bytes> {
        self.0.into_iter()
    }

    /// Adds a piece at the end.
    pub fn push(&mut self, piece: Bytes) {
        self.0.push(piece);
    }
}

impl<B: Into<Bytes>> From<B> for Body {
    fn from(bytes: B) -> Self {
        let mut body = Self::default();
        body.push(bytes.into());
        body
    }
}

/// Custom fields of the answer to a send or a pull, which are most of all commands.
const FIELDS_USUAL: usize = 6;

/// A request or an answer to be written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Command {
    /// Request code or response code.
    pub code: i32,
    /// Text for people; in an answer, the reason of a failure.
    pub remark: Option<Cow<'static, str>>,
    /// The custom fields (`extFields`).
    pub fields: Vec<(Cow<'static, str>, FieldValue)>,
    /// What follows the header.
    pub body: Body,
}

/// What a command is on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Wants an answer.
    Request,
    /// Wants none.
    OneWay,
    /// Is one.
    Response,
}

impl Kind {
    fn flag(self) -> i32 {
        match self {
            Self::Request => 0,
            Self::OneWay => 2,
            Self::Response => 1,
        }
    }
}

impl Command {
    /// A command without fields and body.
    #[must_use]
    pub fn new(code: i32) -> Self {
        Self { code, ..Self::default() }
    }

    /// The answer that all is well.
    #[must_use]
    pub fn success() -> Self {
        Self::new(code::SUCCESS)
    }

    /// An answer that says what went wrong.
    #[must_use]
    pub fn failure(code: i32, remark: impl Into<Cow<'static, str>>) -> Self {
        Self { code, remark: Some(remark.into()), ..Self::default() }
    }

    /// The same command with one more field.
    #[must_use]
    #[inline]
    pub fn with(mut self, name: &'static str, value: impl Into<FieldValue>) -> Self {
        if self.fields.capacity() == 0 {
            self.fields.reserve(FIELDS_USUAL);
        }
        self.fields.push((Cow::Borrowed(name), value.into()));
        self
    }

    /// The same command with another body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }

    /// The value of a field in decimal or as text, `None` if absent. For tests and for answers of peers.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<Cow<'_, str>> {
        self.fields.iter().find(|(key, _)| key == name).map(|(_, value)| match value {
            FieldValue::Int(value) => Cow::Owned(value.to_string()),
            FieldValue::Bool(value) => Cow::Borrowed(if *value { "true" } else { "false" }),
            FieldValue::Text(value) => Cow::Borrowed(value.as_ref()),
            FieldValue::Shared(value) => Cow::Borrowed(value.as_ref()),
        })
    }

    /// Appends the frame up to its body to `out`: the length word, the mark and the header. The pieces of the body
    /// have to follow it.
    pub fn encode(&self, encoding: Encoding, kind: Kind, opaque: i32, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; 8]);
        match encoding {
            Encoding::Json => self.json(kind, opaque, out),
            Encoding::RocketMq => self.binary(kind, opaque, out),
        }
        let header = out.len() - start - 8;
        let length = u32::try_from(4 + header + self.body.len()).unwrap_or(u32::MAX);
        let mark = u32::try_from(header).unwrap_or(u32::MAX) & 0x00FF_FFFF | u32::from(encoding.byte()) << 24;
        out[start..start + 4].copy_from_slice(&length.to_be_bytes());
        out[start + 4..start + 8].copy_from_slice(&mark.to_be_bytes());
    }

    /// Members stand in the order of Java's (alphabetical), for the parsers that were written after its examples.
    fn json(&self, kind: Kind, opaque: i32, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"code\":");
        push_int(out, self.code.into());
        if !self.fields.is_empty() {
            out.extend_from_slice(b",\"extFields\":{");
            for (at, (name, value)) in self.fields.iter().enumerate() {
                out.extend_from_slice(if at == 0 { b"\"" } else { b",\"" });
                match name {
                    Cow::Borrowed(name) => out.extend_from_slice(name.as_bytes()),
                    // A name that was made at run time may hold anything; one of our own text needs no look.
                    Cow::Owned(name) => push_escaped(out, name),
                }
                out.extend_from_slice(b"\":\"");
                match value {
                    FieldValue::Int(value) => push_int(out, *value),
                    FieldValue::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
                    FieldValue::Text(value) => push_escaped(out, value),
                    FieldValue::Shared(value) => push_escaped(out, value),
                }
                out.push(b'"');
            }
            out.push(b'}');
        }
        out.extend_from_slice(b",\"flag\":");
        push_int(out, kind.flag().into());
        out.extend_from_slice(b",\"language\":\"");
        out.extend_from_slice(Language::OTHER.name().as_bytes());
        out.extend_from_slice(b"\",\"opaque\":");
        push_int(out, opaque.into());
        if let Some(remark) = &self.remark {
            out.extend_from_slice(b",\"remark\":\"");
            push_escaped(out, remark);
            out.push(b'"');
        }
        out.extend_from_slice(b",\"serializeTypeCurrentRPC\":\"JSON\",\"version\":");
        push_int(out, VERSION.into());
        out.push(b'}');
    }

    fn binary(&self, kind: Kind, opaque: i32, out: &mut Vec<u8>) {
        // Sixteen bits is all that the encoding has for codes and versions.
        out.extend_from_slice(&(self.code as i16).to_be_bytes());
        out.push(Language::OTHER.0);
        out.extend_from_slice(&(VERSION as i16).to_be_bytes());
        out.extend_from_slice(&opaque.to_be_bytes());
        out.extend_from_slice(&kind.flag().to_be_bytes());
        let remark = self.remark.as_deref().unwrap_or_default();
        push_length(out, remark.len());
        out.extend_from_slice(remark.as_bytes());
        let fields_at = out.len();
        push_length(out, 0);
        for (name, value) in &self.fields {
            out.extend_from_slice(&(name.len() as u16).to_be_bytes());
            out.extend_from_slice(name.as_bytes());
            let value_at = out.len();
            push_length(out, 0);
            match value {
                FieldValue::Int(value) => push_int(out, *value),
                FieldValue::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
                FieldValue::Text(value) => out.extend_from_slice(value.as_bytes()),
                FieldValue::Shared(value) => out.extend_from_slice(value.as_bytes()),
            }
            set_length(out, value_at);
        }
        set_length(out, fields_at);
    }
}

fn push_int(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn push_length(out: &mut Vec<u8>, length: usize) {
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
}

/// Writes at `at` how many bytes follow the four bytes there.
fn set_length(out: &mut [u8], at: usize) {
    let length = u32::try_from(out.len() - at - 4).unwrap_or(u32::MAX);
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}

fn push_escaped(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let special = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
    let mut rest = text.as_bytes();
    // Without an early end, the compiler looks at many bytes at once.
    if !rest.iter().fold(false, |found, byte| found | special(*byte)) {
        return out.extend_from_slice(rest);
    }
    while let Some(at) = rest.iter().position(|byte| special(*byte)) {
        out.extend_from_slice(&rest[..at]);
        match rest[at] {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            byte => {
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
            }
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Header, split_frame};

    #[test]
    fn versions_have_names() {
        assert_eq!(version_of(VERSION), version_name());
        for (version, name) in [
            (-1, "UNKNOWN"),
            (0, "V3_0_0_SNAPSHOT"),
            (15, "V3_0_0_FINAL"),
            (16, "V3_0_1_SNAPSHOT"),
            (45, "V3_0_15"),
            (46, "V3_1_0_SNAPSHOT"),
            (85, "V3_2_9"),
            (86, "V3_3_1_SNAPSHOT"),
            (211, "V3_9_9"),
            (213, "V4_0_0"),
            (293, "V4_4_0"),
            (407, "V4_9_7"),
            (411, "V4_9_9"),
            (412, "V5_0_0_SNAPSHOT"),
            (611, "V5_9_9"),
            (612, "HIGHER_VERSION"),
            (i32::MAX, "HIGHER_VERSION"),
        ] {
            assert_eq!(version_of(version), name);
        }
    }

    #[test]
    fn a_name_made_at_run_time_cannot_break_the_header() {
        let mut command = Command::new(1);
        command.fields.push((Cow::Owned("a\":0,\"".into()), 5.into()));
        let mut bytes = Vec::new();
        command.encode(Encoding::Json, Kind::Request, 1, &mut bytes);
        let frame = split_frame(&bytes, 1000).unwrap().unwrap();
        let header = Header::parse(Encoding::Json, frame.header).unwrap();
        assert_eq!(header.fields.iter().count(), 1);
    }
}
