// SPDX-License-Identifier: Apache-2.0
//! Which brokers there are. Java: `ClusterInfo`, `BrokerMemberGroup`.

use super::{BrokerData, heartbeat::null_as_default};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Answer of GET_BROKER_CLUSTER_INFO (106).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterInfo {
    /// Brokers by their name.
    #[serde(deserialize_with = "null_as_default")]
    pub broker_addr_table: BTreeMap<String, BrokerData>,
    /// Broker names by cluster.
    #[serde(deserialize_with = "null_as_default")]
    pub cluster_addr_table: BTreeMap<String, BTreeSet<String>>,
}

/// Answer of GET_BROKER_MEMBER_GROUP (901). Java: `GetBrokerMemberGroupResponseBody`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BrokerMemberGroupBody {
    /// The brokers of the name that was asked for.
    pub broker_member_group: BrokerMemberGroup,
}

/// The brokers of one name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BrokerMemberGroup {
    /// Address by broker id; none if the name is unknown.
    #[serde(deserialize_with = "null_as_default")]
    pub broker_addrs: BTreeMap<i64, String>,
    /// Their name.
    #[serde(deserialize_with = "null_as_default")]
    pub broker_name: String,
    /// Their cluster.
    #[serde(deserialize_with = "null_as_default")]
    pub cluster: String,
}
