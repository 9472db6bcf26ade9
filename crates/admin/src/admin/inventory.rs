// SPDX-License-Identifier: Apache-2.0
//! What a broker has and how it is set, as a whole: for exports.

use super::{Admin, AdminError};
use oxmq_remoting::{
    Command,
    bodies::{TopicConfigSerializeWrapper, TopicList},
    code::request,
};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// How long a broker may take to write all of its settings. Java: 10 s.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Java: `BrokerStatsData`, `BrokerStatsItem`.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct BrokerStatsData {
    stats_minute: BrokerStatsItem,
    stats_hour: BrokerStatsItem,
    stats_day: BrokerStatsItem,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct BrokerStatsItem {
    sum: i64,
    tps: f64,
}

impl Admin {
    /// Settings of all topics of a broker: GET_ALL_TOPIC_CONFIG (21).
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn all_topics(&self, addr: &str) -> Result<TopicConfigSerializeWrapper, AdminError> {
        let command = Command::new(request::GET_ALL_TOPIC_CONFIG);
        self.ask_json_within(addr, command, TIMEOUT, "settings of topics").await
    }

    /// Topics of the system on a broker: GET_SYSTEM_TOPIC_LIST_FROM_BROKER (305).
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn system_topics_at(&self, addr: &str) -> Result<BTreeSet<String>, AdminError> {
        let command = Command::new(request::GET_SYSTEM_TOPIC_LIST_FROM_BROKER);
        let list: TopicList = self.ask_json_within(addr, command, TIMEOUT, "a list of topics").await?;
        Ok(list.topic_list.into_iter().collect())
    }

    /// Settings of a broker by their names: GET_BROKER_CONFIG (26).
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn broker_properties(&self, addr: &str) -> Result<BTreeMap<String, String>, AdminError> {
        let reply = self.ask(addr, Command::new(request::GET_BROKER_CONFIG)).await?;
        let text = String::from_utf8_lossy(&reply.body);
        let properties = oxmq_types::Properties::parse(&text).map_err(|error| AdminError::Unreadable {
            addr: addr.to_owned(),
            what: "settings of a broker",
            reason: error.to_string(),
        })?;
        Ok(properties.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    /// Messages per second that a topic got in the last minute, and messages of the last day: VIEW_BROKER_STATS_DATA
    /// (315). A broker that has counted none refuses, which means none.
    pub async fn put_stats(&self, addr: &str, topic: &str) -> (f64, i64) {
        let command = Command::new(request::VIEW_BROKER_STATS_DATA)
            .with("statsName", "TOPIC_PUT_NUMS")
            .with("statsKey", topic.to_owned());
        let stats: BrokerStatsData = self.ask_json(addr, command, "statistics").await.unwrap_or_default();
        // COMPAT(java): the longest time that has been counted. Java: `StatsAllSubCommand#compute24HourSum`.
        let sums = [stats.stats_day.sum, stats.stats_hour.sum, stats.stats_minute.sum];
        (stats.stats_minute.tps, sums.into_iter().find(|sum| *sum != 0).unwrap_or(0))
    }
}
