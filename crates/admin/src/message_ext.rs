// SPDX-License-Identifier: Apache-2.0
//! A message as Java prints it: in `printMsg`, and wherever a Java program prints the messages that it got.

use crate::java_text::{Table, in_table_order, map_text};
use oxmq_client::{ReceivedMessage, property};
use oxmq_types::java_string_hash;
use std::{fmt::Write, net::SocketAddr};

/// Slots of the table into which Java decodes the properties of a message.
const PROPERTY_SLOTS: usize = 128;

/// A message on one line, with all bytes of its body as numbers. Java: `MessageExt#toString`.
///
/// `added`: properties that Java's client adds when it gives the message to an application.
#[must_use]
pub fn message_ext(message: &ReceivedMessage, added: &[(&str, String)]) -> String {
    let mut out = String::with_capacity(512 + message.body().len() * 5);
    let broker = match message.broker_name() {
        "" => "null",
        name => name,
    };
    let properties = properties(message, added);
    let _ = write!(
        out,
        "MessageExt [brokerName={broker}, queueId={}, storeSize={}, queueOffset={}, sysFlag={}, bornTimestamp={}, \
         bornHost=/{}, storeTimestamp={}, storeHost=/{}, msgId={}, commitLogOffset={}, bodyCRC={}, \
         reconsumeTimes={}, preparedTransactionOffset={}, toString()=Message{{topic='{}', flag={}, properties={}, \
         body=[",
        message.queue_id(),
        message.store_size(),
        message.queue_offset(),
        message.sys_flag(),
        message.born_timestamp_ms(),
        address(message.born_host()),
        message.store_timestamp_ms(),
        address(message.store_host()),
        message.offset_msg_id(),
        message.physical_offset(),
        message.body_crc(),
        message.reconsume_times(),
        message.prepared_transaction_offset(),
        message.topic(),
        message.flag(),
        map_text(properties.iter().map(|(name, value)| (name.as_str(), value.as_str()))),
    );
    for (at, byte) in message.body().iter().enumerate() {
        let _ = write!(out, "{}{}", if at == 0 { "" } else { ", " }, byte.cast_signed());
    }
    // A half message, and only if it was pulled, has its unique key as the id of its transaction.
    let half = message.get("TRAN_MSG").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let transaction = message.get("UNIQ_KEY").filter(|_| half && message.queue_range().is_some());
    let _ = write!(out, "], transactionId='{}'}}]", transaction.as_deref().unwrap_or("null"));
    out
}

/// All properties in the order in which Java prints them, with those that its client adds to what it pulled; of a repeated
/// one the last value.
pub(crate) fn properties(message: &ReceivedMessage, added: &[(&str, String)]) -> Vec<(String, String)> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    let mut put = |name: String, value: String| match pairs.iter_mut().find(|(known, _)| *known == name) {
        Some((_, known)) => *known = value,
        None => pairs.push((name, value)),
    };
    for (name, value) in message.properties() {
        put(name.into_owned(), value.into_owned());
    }
    if let Some(queue) = message.queue_range() {
        put(property::MIN_OFFSET.to_owned(), queue.start.to_string());
        put(property::MAX_OFFSET.to_owned(), queue.end.to_string());
    }
    for (name, value) in added {
        put((*name).to_owned(), value.clone());
    }
    in_table_order(Table::Hash, PROPERTY_SLOTS, pairs, |(name, _)| java_string_hash(name))
}

/// An address without Java's slash.
pub(crate) fn address(host: SocketAddr) -> String {
    SocketAddr::new(host.ip().to_canonical(), host.port()).to_string()
}
