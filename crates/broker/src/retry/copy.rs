// SPDX-License-Identifier: Apache-2.0
//! The properties of a message that was sent back.

use super::decide::Fate;
use oxmq_record::{
    RecordView,
    properties::{self, DELAY, RETRY_TOPIC},
};

const ORIGIN_MESSAGE_ID: &str = "ORIGIN_MESSAGE_ID";
const WAIT: &str = "WAIT";

/// The properties of the copy that takes the place of `record`.
pub(super) fn properties(record: &RecordView<'_>, fate: Fate) -> Vec<u8> {
    let mut copy = Vec::with_capacity(record.properties().len() + 128);
    for (name, value) in properties::iter(record.properties()) {
        if ![DELAY, WAIT].iter().any(|replaced| name == replaced.as_bytes()) {
            properties::append(&mut copy, name, value);
        }
    }
    if record.property(RETRY_TOPIC).is_none() {
        properties::append(&mut copy, RETRY_TOPIC, record.topic().as_bytes());
    }
    if record.property(ORIGIN_MESSAGE_ID).is_none_or(|id| id.trim_ascii().is_empty()) {
        properties::remove(&mut copy, ORIGIN_MESSAGE_ID);
        properties::append(&mut copy, ORIGIN_MESSAGE_ID, record.message_id().to_text().as_bytes());
    }
    let level = match fate {
        Fate::Retried { level } => level,
        Fate::Dead => 0,
    };
    properties::append(&mut copy, DELAY, level.to_string().as_bytes());
    properties::append(&mut copy, WAIT, b"false");
    copy
}

/// Makes properties that a client sent to a retry topic those of a message that is tried again, or of a dead letter.
pub(crate) fn adapt(sent: &mut Vec<u8>, fate: Fate) {
    // Clients before 4.6.1 send what came of a transaction back as if it began another one.
    properties::remove(sent, properties::TRANSACTION_PREPARED);
    if fate == Fate::Dead && properties::remove(sent, DELAY) {
        properties::append(sent, DELAY, b"0");
    }
}

/// The delay level among properties; `None` if there is none, or it is no number.
pub(super) fn level_of(all: &[u8]) -> Option<i32> {
    str::from_utf8(properties::find(all, DELAY)?).ok()?.parse().ok()
}
