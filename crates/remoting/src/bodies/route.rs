// SPDX-License-Identifier: Apache-2.0
//! Where the queues of a topic are. Java: package `remoting.protocol.route`, `TopicQueueMappingInfo`.
//!
//! Members stand in alphabetical order, as fastjson writes them.

use super::heartbeat::null_as_default;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Answer of GET_ROUTEINFO_BY_TOPIC (105), and body of REGISTER_TOPIC_IN_NAMESRV (217).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicRouteData {
    /// The brokers that have the topic.
    #[serde(deserialize_with = "null_as_default")]
    pub broker_datas: Vec<BrokerData>,
    /// Filter servers by broker address; clients insist on the member, no broker since 5.1.1 fills it.
    #[serde(deserialize_with = "null_as_default")]
    pub filter_server_table: BTreeMap<String, Vec<String>>,
    /// Queues of an ordered topic by broker, `broker-a:4;broker-b:4`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order_topic_conf: Option<String>,
    /// How many queues each broker has.
    #[serde(deserialize_with = "null_as_default")]
    pub queue_datas: Vec<QueueData>,
    /// Static topics: by broker name, which logical queues the broker hosts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic_queue_mapping_by_broker: Option<BTreeMap<String, TopicQueueMappingInfo>>,
}

/// The queues that one broker has for a topic.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueueData {
    /// Name of the broker.
    #[serde(deserialize_with = "null_as_default")]
    pub broker_name: String,
    /// Permission bits: 4 read, 2 write, 1 inherit.
    pub perm: u32,
    /// Queues that consumers see.
    pub read_queue_nums: u32,
    /// Bit 0: topic of a unit; bit 1: subscribed across units. Java: `TopicSysFlag`.
    pub topic_sys_flag: u32,
    /// Queues that producers see.
    pub write_queue_nums: u32,
}

/// The brokers of one name: a master and its slaves.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BrokerData {
    /// Address by broker id; 0 is the master.
    #[serde(deserialize_with = "null_as_default")]
    pub broker_addrs: BTreeMap<i64, String>,
    /// Their name.
    #[serde(deserialize_with = "null_as_default")]
    pub broker_name: String,
    /// Their cluster.
    #[serde(deserialize_with = "null_as_default")]
    pub cluster: String,
    /// 5.x: the slave with the smallest id may stand in for a lost master.
    pub enable_acting_master: bool,
    /// 5.x: zone by which clients may choose the nearest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone_name: Option<String>,
}

/// Static topics: which logical queues one broker hosts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicQueueMappingInfo {
    /// Name of the broker.
    #[serde(deserialize_with = "null_as_default")]
    pub bname: String,
    /// Physical queue by logical queue.
    #[serde(deserialize_with = "null_as_default")]
    pub curr_id_map: BTreeMap<i32, i32>,
    /// True if the mapping is being changed.
    pub dirty: bool,
    /// Version of the mapping, a time in ms.
    pub epoch: i64,
    /// `__global__`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Topic.
    #[serde(deserialize_with = "null_as_default")]
    pub topic: String,
    /// Logical queues of the topic.
    pub total_queues: i32,
}
