// SPDX-License-Identifier: Apache-2.0
//! Messages that are delivered later than they are sent.

use crate::refusal::Refusal;
use oxmq_record::properties;
use oxmq_types::{QueueId, TagsCode};

/// Where a message waits for its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) topic: &'static str,
    pub(crate) queue_id: QueueId,
    /// What its consume queue unit carries.
    pub(crate) tags_code: TagsCode,
}

/// True if a property of that name and value asks for a later delivery.
pub(crate) fn asks_for_delay(name: &[u8], value: &[u8]) -> bool {
    match name {
        b"DELAY" => value != b"0",
        b"TIMER_DELIVER_MS" | b"TIMER_DELAY_SEC" | b"TIMER_DELAY_MS" => true,
        _ => false,
    }
}

/// True if the properties ask for a later delivery.
pub(crate) fn is_delayed(properties: &[u8]) -> bool {
    properties::iter(properties).any(|(name, value)| asks_for_delay(name, value))
}

/// Notes in the properties of a delayed message where it is to be delivered, and says where it waits until then.
pub(crate) fn redirect(
    _topic: &str,
    _queue_id: QueueId,
    _properties: &mut Vec<u8>,
) -> Result<Waiting, Refusal> {
    Err(Refusal::MessageIllegal("delayed messages are not supported by this version of the broker".into()))
}
