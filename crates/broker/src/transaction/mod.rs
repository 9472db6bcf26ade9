// SPDX-License-Identifier: Apache-2.0
//! Transactional messages.

use crate::refusal::Refusal;
use oxmq_types::QueueId;

/// Notes in the properties of a half message where it goes when it is committed, and says where it waits.
pub(crate) fn half(
    _topic: &str,
    _queue_id: QueueId,
    _properties: &mut Vec<u8>,
) -> Result<(&'static str, QueueId), Refusal> {
    Err(Refusal::MessageIllegal(
        "transactional messages are not supported by this version of the broker".into(),
    ))
}
