// SPDX-License-Identifier: Apache-2.0
//! Messages for tests.

use bytes::Bytes;
use oxmq_client::ReceivedMessage;
use oxmq_record::{Draft, Encoder};
use oxmq_types::QueueId;
use std::{ops::Range, sync::Arc};

/// A message that a broker has found. `properties`: name and value.
pub(crate) fn message(topic: &str, body: &[u8], properties: &[(&str, &str)]) -> ReceivedMessage {
    let record = record(topic, body, properties);
    ReceivedMessage::decode_all(&record, &Arc::from("broker-a")).unwrap().remove(0)
}

/// The same as it is pulled from a queue with these offsets.
pub(crate) fn pulled(
    topic: &str,
    body: &[u8],
    properties: &[(&str, &str)],
    queue: Range<i64>,
) -> ReceivedMessage {
    let record = record(topic, body, properties);
    ReceivedMessage::decode_pulled(&record, &Arc::from("broker-a"), queue).unwrap().remove(0)
}

fn record(topic: &str, body: &[u8], properties: &[(&str, &str)]) -> Bytes {
    let properties: String =
        properties.iter().map(|(name, value)| format!("{name}\u{1}{value}\u{2}")).collect();
    let draft = Draft {
        topic,
        queue_id: QueueId(3),
        flag: 5,
        sys_flag: 0,
        born_timestamp_ms: 1_700_000_000_000,
        born_host: "10.0.0.7:5000".parse().unwrap(),
        store_host: "127.0.0.1:10911".parse().unwrap(),
        reconsume_times: 1,
        prepared_transaction_offset: 0,
        body,
        properties: properties.as_bytes(),
    };
    let mut record = Vec::new();
    Encoder::new(1 << 22).encode(&draft, &mut record).unwrap();
    record.into()
}
