// SPDX-License-Identifier: Apache-2.0
//! Messages for tests.

use crate::ReceivedMessage;
use oxmq_record::{Draft, Encoder, stamp};
use oxmq_types::{PhysicalOffset, QueueId, QueueOffset};

/// The record of a message of queue 0.
pub(crate) fn record(topic: &str, offset: i64, body: &[u8], properties: &str) -> Vec<u8> {
    let host = ([127, 0, 0, 1], 10911).into();
    let draft = Draft {
        topic,
        queue_id: QueueId(0),
        flag: 0,
        sys_flag: 0,
        born_timestamp_ms: 1,
        born_host: host,
        store_host: host,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body,
        properties: properties.as_bytes(),
    };
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
