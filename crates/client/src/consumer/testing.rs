// SPDX-License-Identifier: Apache-2.0
//! Messages for tests.

use crate::ReceivedMessage;
use oxmq_record::{Draft, Encoder, stamp};
use oxmq_types::{PhysicalOffset, QueueId, QueueOffset};

/// The record of a message of queue 0.
pub(crate) fn record(topic: &str, offset: i64, body: &[u8], properties: &str) -> Vec<u8> {
    let draft = Draft { properties: properties.as_bytes(), ..Draft::plain(topic, QueueId(0), body) };
    let mut out = Vec::new();
    Encoder::new(1 << 20).encode(&draft, &mut out).unwrap();
    stamp(&mut out, QueueOffset(offset as u64), PhysicalOffset(offset as u64 * 1000), 2);
    out
}

/// A message as a pull brings it.
pub(crate) fn message(topic: &str, offset: i64, body: &[u8]) -> ReceivedMessage {
    let record = record(topic, offset, body, "");
    ReceivedMessage::decode_all(&record.into(), &"b".into()).unwrap().remove(0)
}
