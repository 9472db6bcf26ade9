// SPDX-License-Identifier: Apache-2.0
//! Queues in bodies. Java: `MessageQueue`, `LockBatchRequestBody`, `UnlockBatchRequestBody`, `LockBatchResponseBody`.

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
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LockBatch {
    /// Group.
    pub consumer_group: Option<String>,
    /// Client in it.
    pub client_id: Option<String>,
    /// Queues.
    pub mq_set: Option<Vec<MessageQueue>>,
}

/// Answer of LOCK_BATCH_MQ (41).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct LockedBatch {
    /// Those of the queues that the client may consume now.
    #[serde(rename = "lockOKMQSet")]
    pub locked: Vec<MessageQueue>,
}
