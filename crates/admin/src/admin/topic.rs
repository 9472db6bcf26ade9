// SPDX-License-Identifier: Apache-2.0
//! Topics: their settings on brokers, and who may change them.

use super::{Admin, AdminError, field};
use oxmq_remoting::{Command, bodies::TopicConfig, code::request, fastjson};
use serde::Deserialize;

/// What a broker counts of one thing. Java: `BrokerStatsData`.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Counted {
    /// Of the last minute.
    pub stats_minute: CountedIn,
    /// Of the last hour.
    pub stats_hour: CountedIn,
    /// Of the last day.
    pub stats_day: CountedIn,
}

/// What was counted in a stretch of time. Java: `BrokerStatsItem`.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct CountedIn {
    /// How many.
    pub sum: i64,
    /// How many per second.
    pub tps: f64,
}

impl Counted {
    /// Those of the longest stretch that has any. Java: `StatsAllSubCommand#compute24HourSum`.
    #[must_use]
    pub fn of_day(&self) -> i64 {
        let sums = [self.stats_day.sum, self.stats_hour.sum, self.stats_minute.sum];
        sums.into_iter().find(|sum| *sum != 0).unwrap_or(0)
    }
}

impl Admin {
    /// Makes a topic on a broker, or changes it: UPDATE_AND_CREATE_TOPIC (17). `attributes`: changes of 5.x attributes as
    /// `+name=value,-name`; those of `topic` are not looked at.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn create_topic(
        &self,
        broker_addr: &str,
        topic: &TopicConfig,
        attributes: &str,
    ) -> Result<(), AdminError> {
        let command = Command::new(request::UPDATE_AND_CREATE_TOPIC)
            .with("topic", topic.topic_name.clone())
            .with("defaultTopic", oxmq_types::AUTO_CREATE_TOPIC)
            .with("readQueueNums", topic.read_queue_nums)
            .with("writeQueueNums", topic.write_queue_nums)
            .with("perm", topic.perm)
            .with("topicFilterType", topic.topic_filter_type.name())
            .with("topicSysFlag", topic.topic_sys_flag)
            .with("order", topic.order)
            .with("attributes", attributes.to_owned());
        self.ask(broker_addr, command).await.map(drop)
    }

    /// Makes or changes many topics at once: UPDATE_AND_CREATE_TOPIC_LIST (18). `topics`: settings as JSON, each kept
    /// as it is, so that members that only the broker knows reach it.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn create_topics(
        &self,
        broker_addr: &str,
        topics: &[serde_json::Value],
    ) -> Result<(), AdminError> {
        let body = serde_json::json!({ "topicConfigList": topics }).to_string();
        let command = Command::new(request::UPDATE_AND_CREATE_TOPIC_LIST).with_body(body);
        self.ask(broker_addr, command).await.map(drop)
    }

    /// The settings of a topic on a broker: GET_TOPIC_CONFIG (351).
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn topic_config(&self, broker_addr: &str, topic: &str) -> Result<TopicConfig, AdminError> {
        let command =
            Command::new(request::GET_TOPIC_CONFIG).with("topic", topic.to_owned()).with("lo", true);
        self.ask_json(broker_addr, command, "the settings of a topic").await
    }

    /// Deletes a topic and its messages' places on a broker: DELETE_TOPIC_IN_BROKER (215).
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn delete_topic_in_broker(&self, broker_addr: &str, topic: &str) -> Result<(), AdminError> {
        let command = Command::new(request::DELETE_TOPIC_IN_BROKER).with("topic", topic.to_owned());
        self.ask(broker_addr, command).await.map(drop)
    }

    /// Takes a topic of a cluster out of the routes of a name server: DELETE_TOPIC_IN_NAMESRV (216).
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn delete_topic_in_name_server(
        &self,
        name_server: &str,
        cluster: &str,
        topic: &str,
    ) -> Result<(), AdminError> {
        let command = Command::new(request::DELETE_TOPIC_IN_NAMESRV)
            .with("topic", topic.to_owned())
            .with("clusterName", cluster.to_owned());
        self.ask(name_server, command).await.map(drop)
    }

    /// What a broker has counted under a name: VIEW_BROKER_STATS_DATA (315). `name`: `TOPIC_PUT_NUMS` and the like;
    /// `key`: a topic, or `topic@group`.
    ///
    /// # Errors
    /// [`AdminError::Refused`] if it has counted nothing yet.
    pub async fn counted(
        &self,
        broker_addr: &str,
        name: &'static str,
        key: &str,
    ) -> Result<Counted, AdminError> {
        let command = Command::new(request::VIEW_BROKER_STATS_DATA)
            .with("statsName", name)
            .with("statsKey", key.to_owned());
        self.ask_json(broker_addr, command, "figures").await
    }

    /// Takes from a broker at a name server the permission to write, on all of its topics:
    /// WIPE_WRITE_PERM_OF_BROKER (205). How many topics it were.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn wipe_write_perm(&self, name_server: &str, broker_name: &str) -> Result<i64, AdminError> {
        let command =
            Command::new(request::WIPE_WRITE_PERM_OF_BROKER).with("brokerName", broker_name.to_owned());
        field(name_server, &self.ask(name_server, command).await?, "wipeTopicCount")
    }

    /// Gives it back: ADD_WRITE_PERM_OF_BROKER (327). How many topics it were.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn add_write_perm(&self, name_server: &str, broker_name: &str) -> Result<i64, AdminError> {
        let command =
            Command::new(request::ADD_WRITE_PERM_OF_BROKER).with("brokerName", broker_name.to_owned());
        field(name_server, &self.ask(name_server, command).await?, "addTopicCount")
    }

    /// Says whether the members of a group pull from a topic or pop: SET_MESSAGE_REQUEST_MODE (401). `mode`: `PULL` or
    /// `POP`.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn set_request_mode(
        &self,
        broker_addr: &str,
        topic: &str,
        group: &str,
        mode: &str,
        pop_share_queue_num: i32,
    ) -> Result<(), AdminError> {
        let body = serde_json::json!({
            "consumerGroup": group,
            "mode": mode,
            "popShareQueueNum": pop_share_queue_num,
            "topic": topic,
        });
        let command = Command::new(request::SET_MESSAGE_REQUEST_MODE).with_body(body.to_string());
        self.ask(broker_addr, command).await.map(drop)
    }
}

/// Reads a list of topics from a file that people wrote.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn parse_topics(text: &[u8]) -> Result<Vec<serde_json::Value>, String> {
    let topics: Vec<serde_json::Value> =
        fastjson::from_slice(text).map_err(|error| format!("no JSON list of topics: {error}"))?;
    for (at, topic) in topics.iter().enumerate() {
        let config: TopicConfig = serde_json::from_value(topic.clone())
            .map_err(|error| format!("topic {} of the list: {error}", at + 1))?;
        if config.topic_name.is_empty() {
            return Err(format!("topic {} of the list has no topicName", at + 1));
        }
    }
    Ok(topics)
}
