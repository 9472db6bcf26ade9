// SPDX-License-Identifier: Apache-2.0
//! Which brokers there are, and how they are.

use super::{Admin, AdminError};
use oxmq_remoting::{
    Command,
    bodies::{BrokerData, ClusterInfo},
    code::request,
};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What a broker says of itself: name and value, both text. Java: `KVTable` of GET_BROKER_RUNTIME_INFO (28).
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Runtime {
    /// The values by name, `putTps` and the like.
    #[serde(deserialize_with = "texts")]
    pub table: BTreeMap<String, String>,
}

impl Serialize for Runtime {
    /// The values alone.
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.table.serialize(to)
    }
}

/// Values that should be text and may be numbers, flags or nothing.
fn texts<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, String>, D::Error> {
    let table = Option::<BTreeMap<String, serde_json::Value>>::deserialize(from)?.unwrap_or_default();
    let text = |value: serde_json::Value| match value {
        // It stands in one line, on somebody's terminal.
        serde_json::Value::String(text) => text.replace(char::is_control, " "),
        serde_json::Value::Null => String::new(),
        other => other.to_string(),
    };
    Ok(table.into_iter().map(|(name, value)| (name, text(value))).collect())
}

impl Runtime {
    /// A value, `None` if the broker does not tell it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.table.get(name).map(String::as_str)
    }

    /// A value as a number; `None` if there is none.
    #[must_use]
    pub fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.get(name)?.trim().parse().ok()
    }

    /// The first of several numbers in one value: the rate of the last ten seconds. Java: `putTps`.
    #[must_use]
    pub fn first_rate(&self, name: &str) -> Option<f64> {
        self.get(name)?.split(' ').next()?.parse().ok()
    }
}

impl Admin {
    /// All clusters and brokers that the name server knows: GET_BROKER_CLUSTER_INFO (106).
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn cluster_info(&self) -> Result<ClusterInfo, AdminError> {
        self.name_server_json(Command::new(request::GET_BROKER_CLUSTER_INFO), "a list of brokers").await
    }

    /// What a broker says of itself: GET_BROKER_RUNTIME_INFO (28).
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn runtime(&self, broker_addr: &str) -> Result<Runtime, AdminError> {
        let command = Command::new(request::GET_BROKER_RUNTIME_INFO);
        self.ask_json(broker_addr, command, "a table of values").await
    }

    /// The brokers of a cluster, by name.
    ///
    /// # Errors
    /// [`AdminError::NotFound`] if there is no such cluster, with the names of those that exist.
    pub async fn brokers_of(&self, cluster: &str) -> Result<Vec<BrokerData>, AdminError> {
        let info = self.cluster_info().await?;
        let names = info.cluster_addr_table.get(cluster).ok_or_else(|| no_cluster(cluster, &info))?;
        Ok(names.iter().filter_map(|name| info.broker_addr_table.get(name)).cloned().collect())
    }

    /// The addresses of the masters of a cluster. Java: `CommandUtil#fetchMasterAddrByClusterName`.
    ///
    /// # Errors
    /// As [`Admin::brokers_of`].
    pub async fn masters_of(&self, cluster: &str) -> Result<BTreeSet<String>, AdminError> {
        let brokers = self.brokers_of(cluster).await?;
        Ok(brokers.iter().filter_map(|broker| broker.broker_addrs.get(&0)).cloned().collect())
    }

    /// The addresses of all brokers of a cluster, slaves included.
    ///
    /// # Errors
    /// As [`Admin::brokers_of`].
    pub async fn addresses_of(&self, cluster: &str) -> Result<BTreeSet<String>, AdminError> {
        let brokers = self.brokers_of(cluster).await?;
        Ok(brokers.iter().flat_map(|broker| broker.broker_addrs.values()).cloned().collect())
    }

    /// The name of the broker with this address. Java: `CommandUtil#fetchBrokerNameByAddr`.
    ///
    /// # Errors
    /// [`AdminError::NotFound`] if no broker has it.
    pub async fn name_of(&self, broker_addr: &str) -> Result<String, AdminError> {
        let info = self.cluster_info().await?;
        let mut brokers = info.broker_addr_table.into_iter();
        let found = brokers.find(|(_, broker)| broker.broker_addrs.values().any(|addr| addr == broker_addr));
        found.map(|(name, _)| name).ok_or_else(|| {
            AdminError::NotFound(format!(
                "no broker has the address {broker_addr}; clusterList shows the addresses under which they are registered"
            ))
        })
    }
}

/// The error that there is no such cluster.
pub(crate) fn no_cluster(cluster: &str, info: &ClusterInfo) -> AdminError {
    let known: Vec<_> = info.cluster_addr_table.keys().map(String::as_str).collect();
    let known =
        if known.is_empty() { "knows none yet".to_owned() } else { format!("knows {}", known.join(", ")) };
    AdminError::NotFound(format!(
        "there is no cluster {}; the name server {}",
        crate::cli::shorten(cluster),
        super::error::one_line(&known)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_values_may_hold_anything() {
        let read = |text: &str| crate::admin::read_json::<Runtime>("h:1", text.as_bytes(), "a table");
        let runtime = read(r#"{"table":{"putTps":"1.5 2 3","n":7,"b":true,"z":null,"o":{}}}"#).unwrap();
        assert_eq!((runtime.first_rate("putTps"), runtime.number("n")), (Some(1.5), Some(7)));
        assert_eq!((runtime.get("z"), runtime.get("b"), runtime.get("none")), (Some(""), Some("true"), None));
        assert_eq!(read(r#"{"table":null}"#).unwrap(), Runtime::default());
        assert!(read("[1]").is_err() && read(r#"{"table":5}"#).is_err() && read("").is_err());
    }
}
