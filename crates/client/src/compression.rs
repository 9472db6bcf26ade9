// SPDX-License-Identifier: Apache-2.0
//! Compressed bodies. Java: `CompressorFactory`, `CompressionType`.
//!
//! The method stands in three bits of the system flag: 0 and 3 zlib (4.x knows no other and leaves the bits 0), 1 an LZ4
//! frame, 2 Zstandard. The body's checksum is that of the compressed bytes.

use bytes::Bytes;
use flate2::{read::ZlibDecoder, write::ZlibEncoder};
use oxmq_record::sys_flag;
use std::io::{self, Read, Write};

/// Longest body that decompression may give, in bytes: a small body can claim to be a large one.
const PLAIN_MAX_BYTES: u64 = 64 << 20;

/// How bodies are compressed. Consumers decompress each of them. Java: `CompressionType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Understood by every client.
    #[default]
    Zlib,
    /// Fast. Understood by clients of version 5.
    Lz4,
    /// Small and fast. Understood by clients of version 5.
    Zstd,
}

impl Compression {
    /// The bits of the system flag that tell it.
    pub(crate) fn sys_flag(self) -> i32 {
        let method = match self {
            // COMPAT(java 4.x): they leave the bits 0. COMPAT(java 5.x): writes 3, and reads both.
            Self::Zlib => 0,
            Self::Lz4 => 1 << 8,
            Self::Zstd => 2 << 8,
        };
        sys_flag::COMPRESSED | method
    }
}

/// Compresses `body`; `level` 0 to 9 for zlib and as far as the other methods have levels.
pub(crate) fn compress(method: Compression, level: u32, body: &[u8]) -> io::Result<Vec<u8>> {
    let out = Vec::with_capacity(body.len() / 2);
    match method {
        Compression::Zlib => {
            let mut encoder = ZlibEncoder::new(out, flate2::Compression::new(level.min(9)));
            encoder.write_all(body)?;
            encoder.finish()
        }
        Compression::Lz4 => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(out);
            encoder.write_all(body)?;
            encoder.finish().map_err(io::Error::other)
        }
        Compression::Zstd => zstd::bulk::compress(body, i32::try_from(level.min(22)).unwrap_or(3)),
    }
}

/// Decompresses `body` by the method that `flags` tell.
pub(crate) fn decompress(flags: i32, body: &[u8]) -> io::Result<Bytes> {
    if body.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    match (flags & sys_flag::COMPRESSION_TYPE) >> 8 {
        0 | 3 => read_all(ZlibDecoder::new(body), body.len()),
        1 => read_all(lz4_flex::frame::FrameDecoder::new(body), body.len()),
        2 => read_all(zstd::stream::read::Decoder::with_buffer(body)?, body.len()),
        other => Err(io::Error::other(format!("compression method {other} is unknown"))),
    }
}

fn read_all(from: impl Read, compressed: usize) -> io::Result<Bytes> {
    let mut out = Vec::with_capacity(compressed.saturating_mul(2));
    from.take(PLAIN_MAX_BYTES + 1).read_to_end(&mut out)?;
    if out.len() as u64 > PLAIN_MAX_BYTES {
        return Err(io::Error::other(format!("it would have more than {PLAIN_MAX_BYTES} bytes")));
    }
    Ok(out.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Compression; 3] = [Compression::Zlib, Compression::Lz4, Compression::Zstd];

    #[test]
    fn comes_back_as_it_was() {
        let body = b"the same again and again, ".repeat(400);
        for method in ALL {
            let small = compress(method, 5, &body).unwrap();
            assert!(small.len() < body.len() / 10, "{method:?}: {}", small.len());
            assert_eq!(decompress(method.sys_flag(), &small).unwrap(), body, "{method:?}");
        }
    }

    #[test]
    fn what_is_not_compressed_so_is_refused() {
        for method in ALL {
            assert!(decompress(method.sys_flag(), b"no such thing").is_err(), "{method:?}");
            assert!(decompress(method.sys_flag(), b"").is_err(), "{method:?}");
        }
        assert!(decompress(7 << 8, b"x").is_err());
    }

    #[test]
    fn a_small_body_cannot_become_an_enormous_one() {
        let zeros = vec![0; PLAIN_MAX_BYTES as usize + 1];
        for method in [Compression::Lz4, Compression::Zstd] {
            let small = compress(method, 1, &zeros).unwrap();
            let error = decompress(method.sys_flag(), &small).unwrap_err();
            assert!(error.to_string().contains("more than"), "{method:?}: {error}");
        }
    }
}
