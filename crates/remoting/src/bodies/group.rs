// SPDX-License-Identifier: Apache-2.0
//! Settings of groups: on the wire, and in `subscriptionGroup.json`.
//!
//! Members that we do not know are kept as they are, so that a file may go to a newer Java broker and back.

use super::{DataVersion, heartbeat::null_as_default};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Settings of a consumer group. Java: `subscription.SubscriptionGroupConfig`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SubscriptionGroupConfig {
    /// Its name.
    pub group_name: String,
    /// False if it may not consume.
    pub consume_enable: bool,
    /// False if it may not broadcast.
    pub consume_broadcast_enable: bool,
    /// Queues of its retry topic.
    pub retry_queue_nums: u32,
    /// Consumptions in vain before a message becomes a dead letter.
    pub retry_max_times: i32,
    /// Broker id that it reads from.
    pub broker_id: u64,
    /// Broker id that it is sent to when it reads what memory no longer holds.
    pub which_broker_when_consume_slowly: u64,
    /// True if members are told when others come and go.
    pub notify_consumer_ids_changed_enable: bool,
    /// Unit bits.
    pub group_sys_flag: i32,
    /// What else Java keeps of it.
    #[serde(flatten)]
    pub other: serde_json::Map<String, serde_json::Value>,
}

impl Default for SubscriptionGroupConfig {
    fn default() -> Self {
        Self {
            group_name: String::new(),
            consume_enable: true,
            consume_broadcast_enable: true,
            retry_queue_nums: 1,
            retry_max_times: 16,
            broker_id: 0,
            which_broker_when_consume_slowly: 1,
            notify_consumer_ids_changed_enable: true,
            group_sys_flag: 0,
            other: serde_json::Map::new(),
        }
    }
}

/// Groups of a broker: the answer of GET_ALL_SUBSCRIPTIONGROUP_CONFIG (201).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SubscriptionGroupWrapper {
    /// Version of the table.
    #[serde(deserialize_with = "null_as_default")]
    pub data_version: DataVersion,
    /// 5.x: topics that groups may not read from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forbidden_table: Option<serde_json::Value>,
    /// Settings by group.
    #[serde(deserialize_with = "null_as_default")]
    pub subscription_group_table: BTreeMap<String, SubscriptionGroupConfig>,
}
