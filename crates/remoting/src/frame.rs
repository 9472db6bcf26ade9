// SPDX-License-Identifier: Apache-2.0
//! A frame on the wire. Big-endian.
//!
//! ```text
//! | 0..4 length of all that follows | 4 encoding | 5..8 header length H | 8..8+H header | body to the end |
//! ```
//! Encoding: 0 JSON, 1 ROCKETMQ. Java: `RemotingCommand#decode`, `NettyDecoder`.

use thiserror::Error;

/// Longest frame accepted, in bytes after its length word. Java: `com.rocketmq.remoting.frameMaxLength`.
pub const FRAME_MAX_BYTES: usize = 16 * 1024 * 1024;

const LENGTH_BYTES: usize = 4;
const HEADER_LENGTH_BYTES: usize = 4;

/// How a header is written. Java: `SerializeType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// A JSON object.
    Json,
    /// Java's compact binary form.
    RocketMq,
}

impl Encoding {
    /// The byte that names this encoding in a frame.
    #[must_use]
    pub fn byte(self) -> u8 {
        match self {
            Self::Json => 0,
            Self::RocketMq => 1,
        }
    }
}

/// A whole frame within a receive buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// How `header` is written.
    pub encoding: Encoding,
    /// Header bytes, not yet checked.
    pub header: &'a [u8],
    /// Everything after the header.
    pub body: &'a [u8],
    /// Bytes that the frame takes in the buffer, its length word included.
    pub size: usize,
}

/// Bytes that cannot be a frame. Nothing after them can be trusted, so the connection has to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The length word is above the limit, or negative as Java reads it.
    #[error("frame of {length} bytes exceeds the limit of {limit}")]
    TooLong {
        /// What the length word says.
        length: u32,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The frame has no room for the header length.
    #[error("frame of {length} bytes is too short for a header")]
    TooShort {
        /// What the length word says.
        length: u32,
    },
    /// The header would end beyond its frame.
    #[error("header of {header} bytes does not fit into a frame of {length}")]
    HeaderTooLong {
        /// What the header length says.
        header: u32,
        /// What the length word says.
        length: u32,
    },
    /// An encoding that is neither JSON nor ROCKETMQ.
    #[error("header encoding {0} is unknown")]
    UnknownEncoding(u8),
}

/// Finds the first frame of `buffer`; `Ok(None)` while bytes of it are missing.
///
/// What is wrong is found as early as the bytes allow, before anything is stored for the frame.
///
/// # Errors
/// [`FrameError`] for bytes that cannot become a frame.
pub fn split_frame(buffer: &[u8], limit: usize) -> Result<Option<Frame<'_>>, FrameError> {
    let Some((length_word, rest)) = buffer.split_first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
    let length = u32::from_be_bytes(*length_word);
    let frame_bytes = length as usize;
    if frame_bytes > limit {
        return Err(FrameError::TooLong { length, limit });
    }
    if frame_bytes < HEADER_LENGTH_BYTES {
        return Err(FrameError::TooShort { length });
    }
    let Some((mark, _)) = rest.split_first_chunk::<HEADER_LENGTH_BYTES>() else { return Ok(None) };
    let encoding = match mark[0] {
        0 => Encoding::Json,
        1 => Encoding::RocketMq,
        other => return Err(FrameError::UnknownEncoding(other)),
    };
    let header = u32::from_be_bytes([0, mark[1], mark[2], mark[3]]);
    let header_end = HEADER_LENGTH_BYTES + header as usize;
    if header_end > frame_bytes {
        return Err(FrameError::HeaderTooLong { header, length });
    }
    if rest.len() < frame_bytes {
        return Ok(None);
    }
    Ok(Some(Frame {
        encoding,
        header: &rest[HEADER_LENGTH_BYTES..header_end],
        body: &rest[header_end..frame_bytes],
        size: LENGTH_BYTES + frame_bytes,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(length: u32, mark: u32, rest: &[u8]) -> Vec<u8> {
        [&length.to_be_bytes()[..], &mark.to_be_bytes(), rest].concat()
    }

    #[test]
    fn splits_header_and_body() {
        let bytes = frame(4 + 2 + 3, 0x0100_0002, b"hhbbbnext");
        let found = split_frame(&bytes, 100).unwrap().unwrap();
        assert_eq!(found, Frame { encoding: Encoding::RocketMq, header: b"hh", body: b"bbb", size: 13 });
        for end in 0..13 {
            assert_eq!(split_frame(&bytes[..end], 100), Ok(None), "{end} bytes");
        }
    }

    #[test]
    fn refuses_what_cannot_be_a_frame() {
        let check = |bytes: &[u8], expected| assert_eq!(split_frame(bytes, 100), Err(expected), "{bytes:?}");
        check(&u32::MAX.to_be_bytes(), FrameError::TooLong { length: u32::MAX, limit: 100 });
        check(&101u32.to_be_bytes(), FrameError::TooLong { length: 101, limit: 100 });
        check(&frame(3, 0, b""), FrameError::TooShort { length: 3 });
        check(&frame(6, 3, b""), FrameError::HeaderTooLong { header: 3, length: 6 });
        check(&frame(6, 0x0200_0001, b""), FrameError::UnknownEncoding(2));
        check(b"GET / HTTP/1.1\r\n", FrameError::TooLong { length: 0x4745_5420, limit: 100 });
    }
}
