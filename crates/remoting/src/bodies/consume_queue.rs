// SPDX-License-Identifier: Apache-2.0
//! Units of a consume queue. Java: `QueryConsumeQueueResponseBody`, `ConsumeQueueData`.

use super::{SubscriptionData, heartbeat::null_as_default};
use serde::{Deserialize, Serialize};

/// Answer of QUERY_CONSUME_QUEUE (321).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueryConsumeQueueResponseBody {
    /// What the broker says of the group's filter.
    pub filter_data: Option<String>,
    /// Offset after the queue's last message.
    #[serde(deserialize_with = "null_as_default")]
    pub max_queue_index: i64,
    /// Offset of the queue's first message.
    #[serde(deserialize_with = "null_as_default")]
    pub min_queue_index: i64,
    /// Units.
    pub queue_data: Option<Vec<ConsumeQueueData>>,
    /// The group's subscription.
    pub subscription_data: Option<SubscriptionData>,
}

/// One unit.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumeQueueData {
    /// Bits of an extended unit.
    pub bit_map: Option<String>,
    /// True if the group's filter takes the message.
    pub eval: bool,
    /// Extended unit, as JSON.
    pub extend_data_json: Option<String>,
    /// What failed.
    pub msg: Option<String>,
    /// Where the record starts in the commit log.
    pub physic_offset: i64,
    /// Bytes of the record.
    pub physic_size: i32,
    /// Hash of its tag.
    pub tags_code: i64,
}
