// SPDX-License-Identifier: Apache-2.0
//! The body of a batch send (request code 320): several messages of one topic, without what they have in common.
//!
//! ```text
//! total size 4 | magic 4 | body CRC 4 | flag 4 | body 4 + n | properties 2 + n
//! ```
//! Big-endian, repeated. Magic and CRC mean nothing: clients write 0. Java: `MessageDecoder#encodeMessage`.

use std::fmt;

use crate::{RecordError, view::Rest};

/// One message of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchMessage<'a> {
    /// The application's own flag.
    pub flag: i32,
    /// The content.
    pub body: &'a [u8],
    /// Its properties, as [`crate::properties`] reads them.
    pub properties: &'a [u8],
}

/// Which message of a batch is malformed, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchError {
    /// Its ordinal, from 0.
    pub index: usize,
    /// What is wrong with it.
    pub error: RecordError,
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "message {} of the batch: {}", self.index, self.error)
    }
}

impl std::error::Error for BatchError {}

/// The messages in the body of a batch send. Ends after the first malformed one.
#[derive(Debug, Clone)]
pub struct BatchMessages<'a> {
    body: &'a [u8],
    index: usize,
}

impl<'a> BatchMessages<'a> {
    /// Reads `body`; nothing is checked before a message is asked for.
    #[must_use]
    pub fn new(body: &'a [u8]) -> Self {
        Self { body, index: 0 }
    }

    fn read(&mut self) -> Result<BatchMessage<'a>, RecordError> {
        let mut rest = Rest { bytes: self.body, at: 0 };
        let declared = rest.number("total")? as usize;
        rest.take("head", 8)?;
        let flag = rest.number("flag")? as i32;
        let length = rest.number("body")?;
        let body = rest.take("body", i64::from(length as i32))?;
        let length = rest.short("properties")?;
        let properties = rest.take("properties", length)?;
        if rest.at != declared {
            return Err(RecordError::Size { declared, computed: rest.at });
        }
        self.body = &self.body[rest.at..];
        Ok(BatchMessage { flag, body, properties })
    }
}

impl<'a> Iterator for BatchMessages<'a> {
    type Item = Result<BatchMessage<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.body.is_empty() {
            return None;
        }
        let index = self.index;
        self.index += 1;
        let message = self.read();
        if message.is_err() {
            self.body = &[];
        }
        Some(message.map_err(|error| BatchError { index, error }))
    }
}

/// Appends `message` to `out`, the body of a batch send in the making.
pub fn encode_batch_message(message: &BatchMessage<'_>, out: &mut Vec<u8>) {
    let size = 22 + message.body.len() + message.properties.len();
    out.extend_from_slice(&(size as u32).to_be_bytes());
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&message.flag.to_be_bytes());
    out.extend_from_slice(&(message.body.len() as u32).to_be_bytes());
    out.extend_from_slice(message.body);
    out.extend_from_slice(&(message.properties.len() as u16).to_be_bytes());
    out.extend_from_slice(message.properties);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> Vec<u8> {
        let mut out = Vec::new();
        encode_batch_message(&BatchMessage { flag: 7, body: b"one", properties: b"TAGS\x01A\x02" }, &mut out);
        encode_batch_message(&BatchMessage { flag: -1, body: b"", properties: b"" }, &mut out);
        out
    }

    #[test]
    fn reads_every_message() {
        let body = two();
        let all: Vec<_> = BatchMessages::new(&body).map(Result::unwrap).collect();
        assert_eq!(
            all,
            [
                BatchMessage { flag: 7, body: b"one", properties: b"TAGS\x01A\x02" },
                BatchMessage { flag: -1, body: b"", properties: b"" },
            ]
        );
    }

    #[test]
    fn a_batch_whose_inner_lengths_lie_is_refused() {
        let good = two();
        // Total size, body length and properties length of the first message; each lie in turn.
        for (at, bytes) in [
            (0, &[0xFF, 0xFF, 0xFF, 0xFF][..]),
            (0, &[0, 0, 0, 0]),
            (0, &[0, 0, 0, 31]),
            (16, &[0x7F, 0xFF, 0xFF, 0xFF]),
            (16, &[0xFF, 0xFF, 0xFF, 0xFF]),
            (16, &[0, 0, 0, 2]),
            (23, &[0xFF, 0xFF]),
            (23, &[0x7F, 0xFF]),
            (23, &[0, 0]),
        ] {
            let mut bad = good.clone();
            bad[at..at + bytes.len()].copy_from_slice(bytes);
            let mut messages = BatchMessages::new(&bad);
            let error = messages.next().unwrap().unwrap_err();
            assert_eq!(error.index, 0, "{at}: {bytes:?}");
            assert!(messages.next().is_none());
        }
        for end in 1..good.len() {
            let whole = end == 32;
            assert_eq!(
                BatchMessages::new(&good[..end]).all(|message| message.is_ok()),
                whole,
                "cut at {end}"
            );
        }
    }
}
