// SPDX-License-Identifier: Apache-2.0
//! Keys in databases. SQLite is always there; MySQL or MariaDB and PostgreSQL are tested where `OXMQ_TEST_MYSQL_URL` or
//! `OXMQ_TEST_POSTGRES_URL` names an empty database, and the crate is built with their feature.
#![forbid(unsafe_code)]

mod conflicts;
mod database;
mod leases;
mod transactions;

use bytes::Bytes;
use oxmq_client::{ReceivedMessage, idempotent::HandlerError};
use oxmq_record::{Draft, Encoder};
use std::sync::Arc;

/// A message of topic `T` with this key, as it comes from a broker.
fn keyed(key: &str) -> Arc<ReceivedMessage> {
    let properties = format!("KEYS\u{1}{key}\u{2}");
    let draft =
        Draft { properties: properties.as_bytes(), ..Draft::plain("T", oxmq_types::QueueId(0), b"body") };
    let mut record = Vec::new();
    Encoder::new(1 << 20).encode(&draft, &mut record).unwrap();
    let mut messages = ReceivedMessage::decode_all(&Bytes::from(record), &"b".into()).unwrap();
    Arc::new(messages.remove(0))
}

fn fails(text: &str) -> Result<(), HandlerError> {
    Err(text.into())
}
