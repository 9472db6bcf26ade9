// SPDX-License-Identifier: Apache-2.0
//! What a broker tells a name server when it registers. Java: `RegisterBrokerBody`, `KVTable`,
//! `RegisterBrokerResult`.
//!
//! The body is JSON, or a zlib stream (`compressedRegister=true`) of, big-endian:
//! ```text
//! | i32 length, data version as JSON |
//! | i32 number of topics, then for each { i32 length, line of TopicConfig } |
//! | i32 length, filter servers as a JSON array |
//! | i32 number of mappings, then for each { i32 length, TopicQueueMappingInfo as JSON } |   5.x only
//! ```
//! COMPAT(java 5.3.3): a broker with `compressedRegister=true` compresses and says `compressed=false` in the header
//! (its own name server refuses that), so the first byte decides here: 0x78 begins zlib, `{` JSON.

use super::{
    TOPICS_MAX, TopicConfig, TopicConfigAndMappingSerializeWrapper, TopicQueueMappingInfo,
    heartbeat::null_as_default,
};
use crate::fastjson;
use flate2::{Compression, Crc, bufread::ZlibDecoder, write::ZlibEncoder};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
};
use thiserror::Error;

/// Most bytes that a compressed registration may unfold to; a million topics take some 60 MB.
pub const REGISTER_BODY_MAX_BYTES: u64 = 128 * 1024 * 1024;
/// Most bytes of one piece of a compressed registration.
const PIECE_MAX_BYTES: usize = 1024 * 1024;
const ZLIB_FIRST_BYTE: u8 = 0x78;

/// Body of REGISTER_BROKER (103).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RegisterBrokerBody {
    /// Addresses of filter servers; no broker since 5.1.1 has any.
    #[serde(deserialize_with = "null_as_default")]
    pub filter_server_list: Vec<String>,
    /// The broker's topics.
    #[serde(deserialize_with = "null_as_default")]
    pub topic_config_serialize_wrapper: TopicConfigAndMappingSerializeWrapper,
}

/// Why the body of a registration cannot be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RegisterBodyError {
    /// JSON that is none, or says something else.
    #[error("registration body: {0}")]
    Json(#[from] serde_json::Error),
    /// A zlib stream that is damaged, ends within a piece or unfolds to more than [`REGISTER_BODY_MAX_BYTES`].
    #[error("compressed registration body: {0}")]
    Inflate(#[from] io::Error),
    /// A count or a length that is negative or above its limit.
    #[error("compressed registration body: {what} is {found}, at most {limit} allowed")]
    Count {
        /// What is counted.
        what: &'static str,
        /// What was found.
        found: i32,
        /// The limit.
        limit: usize,
    },
    /// A topic's line that does not say what it has to.
    #[error("compressed registration body: \"{0:.200}\" is no topic")]
    Topic(String),
}

impl RegisterBrokerBody {
    /// Reads the body of a registration, compressed or not. An empty body is a registration without topics.
    ///
    /// # Errors
    /// [`RegisterBodyError`]; memory stays bounded whatever the bytes are.
    pub fn decode(bytes: &[u8]) -> Result<Self, RegisterBodyError> {
        Self::decode_bounded(bytes, REGISTER_BODY_MAX_BYTES)
    }

    fn decode_bounded(bytes: &[u8], max_bytes: u64) -> Result<Self, RegisterBodyError> {
        match bytes.first() {
            None => Ok(Self::default()),
            Some(&ZLIB_FIRST_BYTE) => Self::inflate(ZlibDecoder::new(bytes).take(max_bytes)),
            Some(_) => Ok(fastjson::from_slice(bytes)?),
        }
    }

    fn inflate(mut from: impl Read) -> Result<Self, RegisterBodyError> {
        let mut body = Self::default();
        let wrapper = &mut body.topic_config_serialize_wrapper;
        let mut piece = Vec::new();
        read_piece(&mut from, &mut piece)?;
        wrapper.data_version = fastjson::from_slice(&piece)?;
        for _ in 0..read_count(&mut from, "the number of topics", TOPICS_MAX)? {
            read_piece(&mut from, &mut piece)?;
            let line = String::from_utf8_lossy(&piece);
            let topic =
                TopicConfig::from_line(&line).ok_or_else(|| RegisterBodyError::Topic(line.into_owned()))?;
            wrapper.topic_config_table.insert(topic.topic_name.clone(), topic);
        }
        read_piece(&mut from, &mut piece)?;
        body.filter_server_list = fastjson::from_slice::<Option<_>>(&piece)?.unwrap_or_default();
        // What 4.x brokers write ends here. The next byte tells, and asking for it checks the stream's own checksum.
        let mut next = [0];
        if from.read(&mut next)? == 0 {
            return Ok(body);
        }
        let mut from = next.as_slice().chain(from);
        for _ in 0..read_count(&mut from, "the number of mappings", TOPICS_MAX)? {
            read_piece(&mut from, &mut piece)?;
            let mapping: TopicQueueMappingInfo = fastjson::from_slice(&piece)?;
            wrapper.topic_queue_mapping_info_map.insert(mapping.topic.clone(), mapping);
        }
        io::copy(&mut from, &mut io::sink())?;
        Ok(body)
    }

    /// The body as JSON.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // Maps with text as keys and numbers: nothing of it can fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The body as a zlib stream with the mappings of 5.x, over which 4.x name servers pass.
    #[must_use]
    pub fn encode_compressed(&self) -> Vec<u8> {
        let wrapper = &self.topic_config_serialize_wrapper;
        let mut out = ZlibEncoder::new(Vec::new(), Compression::best());
        let mut write = || -> io::Result<()> {
            write_piece(&mut out, &serde_json::to_vec(&wrapper.data_version)?)?;
            write_count(&mut out, wrapper.topic_config_table.len())?;
            for topic in wrapper.topic_config_table.values() {
                write_piece(&mut out, topic.to_line().as_bytes())?;
            }
            write_piece(&mut out, &serde_json::to_vec(&self.filter_server_list)?)?;
            write_count(&mut out, wrapper.topic_queue_mapping_info_map.len())?;
            for mapping in wrapper.topic_queue_mapping_info_map.values() {
                write_piece(&mut out, &serde_json::to_vec(mapping)?)?;
            }
            Ok(())
        };
        // Writing into memory cannot fail.
        write().and_then(|()| out.finish()).unwrap_or_default()
    }

    /// The checksum of a body's bytes that goes into the field `bodyCrc32`. Java: `UtilAll#crc32`.
    #[must_use]
    pub fn checksum(bytes: &[u8]) -> i32 {
        let mut crc = Crc::new();
        crc.update(bytes);
        i32::try_from(crc.sum() & 0x7FFF_FFFF).unwrap_or_default()
    }
}

fn read_count(from: &mut impl Read, what: &'static str, limit: usize) -> Result<usize, RegisterBodyError> {
    let mut bytes = [0; 4];
    from.read_exact(&mut bytes)?;
    let found = i32::from_be_bytes(bytes);
    let count = usize::try_from(found).ok().filter(|count| *count <= limit);
    count.ok_or(RegisterBodyError::Count { what, found, limit })
}

fn read_piece(from: &mut impl Read, piece: &mut Vec<u8>) -> Result<(), RegisterBodyError> {
    let length = read_count(from, "the length of a piece", PIECE_MAX_BYTES)?;
    piece.clear();
    if from.take(length as u64).read_to_end(piece)? < length {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    Ok(())
}

fn write_count(to: &mut impl Write, count: usize) -> io::Result<()> {
    to.write_all(&i32::try_from(count).unwrap_or(i32::MAX).to_be_bytes())
}

fn write_piece(to: &mut impl Write, piece: &[u8]) -> io::Result<()> {
    write_count(to, piece.len())?;
    to.write_all(piece)
}

/// Keys and values of a namespace: answer of GET_KVLIST_BY_NAMESPACE (219) and of a registration.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct KVTable {
    /// Values by key.
    #[serde(deserialize_with = "null_as_default")]
    pub table: BTreeMap<String, String>,
}

/// What a name server answers to a registration: two fields of the header, and the body.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RegisterBrokerResult {
    /// `haServerAddr`: where the master of a slave hands out its commit log.
    pub ha_server_addr: Option<String>,
    /// `masterAddr`: the master of a slave.
    pub master_addr: Option<String>,
    /// The namespace of ordered topics, if it exists and the name server is set to return it.
    pub kv_table: Option<KVTable>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bodies::DataVersion;

    fn deflate(pieces: &[&[u8]]) -> Vec<u8> {
        let mut out = ZlibEncoder::new(Vec::new(), Compression::fast());
        pieces.iter().for_each(|piece| out.write_all(piece).unwrap());
        out.finish().unwrap()
    }

    fn body() -> RegisterBrokerBody {
        let mut body = RegisterBrokerBody::default();
        let wrapper = &mut body.topic_config_serialize_wrapper;
        wrapper.data_version = DataVersion { counter: 3, state_version: 1, timestamp: 1_795_229_810_438 };
        let topic = TopicConfig { topic_name: "t".into(), ..TopicConfig::default() };
        wrapper.topic_config_table.insert("t".into(), topic);
        let mapping = TopicQueueMappingInfo {
            topic: "t".into(),
            bname: "b".into(),
            curr_id_map: [(0, 0), (1, 3)].into(),
            ..TopicQueueMappingInfo::default()
        };
        wrapper.topic_queue_mapping_info_map.insert("t".into(), mapping);
        body.filter_server_list.push("127.0.0.1:1".into());
        body
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(RegisterBrokerBody::decode(&body().encode()).unwrap(), body());
        assert_eq!(RegisterBrokerBody::decode(&body().encode_compressed()).unwrap(), body());
        assert_eq!(RegisterBrokerBody::decode(b"").unwrap(), RegisterBrokerBody::default());
    }

    #[test]
    fn refuses_every_truncation() {
        let bytes = body().encode_compressed();
        for end in 1..bytes.len() {
            assert!(RegisterBrokerBody::decode(&bytes[..end]).is_err(), "{end} bytes");
        }
        let json = body().encode();
        for end in 1..json.len() {
            assert!(RegisterBrokerBody::decode(&json[..end]).is_err(), "{end} bytes");
        }
    }

    #[test]
    fn refuses_lengths_that_lie() {
        let version = b"\0\0\0\x02{}";
        for (pieces, expected) in [
            (vec![&b"\xff\xff\xff\xff"[..]], "the length of a piece is -1"),
            (vec![&b"\x7f\xff\xff\xff"[..]], "the length of a piece is 2147483647"),
            (vec![version, b"\x7f\xff\xff\xff"], "the number of topics is 2147483647"),
            (vec![version, b"\0\0\0\x01\0\0\0\x01x"], "\"x\" is no topic"),
            (vec![version, b"\0\0\0\x05"], "failed to fill whole buffer"),
            (vec![version, b"\0\0\0\0\0\0\0\x02[]", b"\xff\xff\xff\xff"], "the number of mappings is -1"),
            (vec![b"\0\0\0\x01{"], "EOF while parsing"),
        ] {
            let error = RegisterBrokerBody::decode(&deflate(&pieces)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        assert!(RegisterBrokerBody::decode(b"x\xda\0").is_err());
    }

    #[test]
    fn a_bomb_is_given_up() {
        // One topic again and again, so nothing but the bytes counts.
        let line = format!("t 8 8 6 SINGLE_TAG {}", " ".repeat(1_000_000));
        let mut out = ZlibEncoder::new(Vec::new(), Compression::fast());
        out.write_all(b"\0\0\0\x02{}\0\0\x10\0").unwrap();
        for _ in 0..4 {
            write_piece(&mut out, line.as_bytes()).unwrap();
        }
        let bytes = out.finish().unwrap();
        assert!(bytes.len() < 100_000);
        let error = RegisterBrokerBody::decode_bounded(&bytes, 2_500_000).unwrap_err().to_string();
        assert!(error.contains("unexpected end of file"), "{error}");
    }
}
