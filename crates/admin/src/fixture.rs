// SPDX-License-Identifier: Apache-2.0
//! Messages for tests.

use bytes::Bytes;
use oxmq_client::ReceivedMessage;
use oxmq_record::{Draft, Encoder};
use oxmq_types::QueueId;
use std::sync::Arc;

/// A message as a broker gives it out. `properties`: name and value.
pub(crate) fn message(topic: &str, body: &[u8], properties: &[(&str, &str)]) -> ReceivedMessage {
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
    let mut messages = ReceivedMessage::decode_all(&Bytes::from(record), &Arc::from("broker-a")).unwrap();
    messages.remove(0)
}
