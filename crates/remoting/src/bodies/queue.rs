// SPDX-License-Identifier: Apache-2.0
//! Queues in bodies. Java: `MessageQueue`, `LockBatchRequestBody`, `UnlockBatchRequestBody`, `LockBatchResponseBody`.

use super::heartbeat::null_as_default;
use serde::{Deserialize, Serialize};

/// Names a queue.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MessageQueue {
    /// Broker that has it.
    pub broker_name: String,
    /// Its number in the topic.
    pub queue_id: i32,
    /// Topic.
    pub topic: String,
}

/// Body of LOCK_BATCH_MQ (41) and UNLOCK_BATCH_MQ (42).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LockBatch {
    /// Client in the group.
    pub client_id: Option<String>,
    /// Group.
    pub consumer_group: Option<String>,
    /// Queues.
    pub mq_set: Option<Vec<MessageQueue>>,
    /// Whether a 5.x broker is not to ask others of its replica group. Nothing is read from it here.
    #[serde(skip_deserializing)]
    pub only_this_broker: bool,
}

impl LockBatch {
    /// What `client` of `group` asks about `queues`.
    #[must_use]
    pub fn new(group: &str, client: &str, queues: Vec<MessageQueue>) -> Self {
        Self {
            client_id: Some(client.to_owned()),
            consumer_group: Some(group.to_owned()),
            mq_set: Some(queues),
            only_this_broker: false,
        }
    }
}

/// Answer of LOCK_BATCH_MQ (41).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LockedBatch {
    /// Those of the queues that the client may consume now.
    #[serde(rename = "lockOKMQSet", default, deserialize_with = "null_as_default")]
    pub locked: Vec<MessageQueue>,
}
