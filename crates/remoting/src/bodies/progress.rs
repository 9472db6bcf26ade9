// SPDX-License-Identifier: Apache-2.0
//! How far queues and groups have come. Java: package `remoting.protocol.admin`, `ConsumeStatsList`,
//! `GetConsumerStatusBody`, `ResetOffsetBody`.

use super::{QueueTable, heartbeat::null_as_default};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Answer of GET_TOPIC_STATS_INFO (202).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicStatsTable {
    /// Offsets of the topic's queues.
    pub offset_table: QueueTable<TopicOffset>,
    /// 5.x: messages per second that come in.
    #[serde(deserialize_with = "null_as_default")]
    pub topic_put_tps: f64,
}

/// Where a queue begins and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicOffset {
    /// Store time of its last message, in ms since 1970; 0 if there is none.
    pub last_update_timestamp: i64,
    /// Offset after its last message.
    pub max_offset: i64,
    /// Offset of its first message.
    pub min_offset: i64,
}

/// Answer of GET_CONSUME_STATS (208).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumeStats {
    /// Messages per second that the group takes.
    #[serde(deserialize_with = "null_as_default")]
    pub consume_tps: f64,
    /// Its progress by queue.
    pub offset_table: QueueTable<OffsetWrapper>,
}

impl ConsumeStats {
    /// Messages that the group has not consumed. Java: `computeTotalDiff`.
    #[must_use]
    pub fn total_diff(&self) -> i64 {
        self.offset_table.0.iter().fold(0, |sum, (_, queue)| sum.wrapping_add(queue.diff()))
    }
}

/// Progress of a group in one queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OffsetWrapper {
    /// Offset after the queue's last message.
    pub broker_offset: i64,
    /// Next message to consume.
    pub consumer_offset: i64,
    /// Store time of the last message that was consumed, in ms since 1970; 0 if there is none.
    pub last_timestamp: i64,
    /// 5.x: next message to pull.
    pub pull_offset: i64,
}

impl OffsetWrapper {
    /// Messages not consumed, as Java computes it: it wraps where a hostile broker tells nonsense.
    #[must_use]
    pub fn diff(&self) -> i64 {
        self.broker_offset.wrapping_sub(self.consumer_offset)
    }

    /// Messages pulled and not consumed.
    #[must_use]
    pub fn inflight(&self) -> i64 {
        self.pull_offset.wrapping_sub(self.consumer_offset)
    }
}

/// Answer of GET_BROKER_CONSUME_STATS (317).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumeStatsList {
    /// Address of the broker.
    #[serde(deserialize_with = "null_as_default")]
    pub broker_addr: String,
    /// Each with one group, and its progress in each topic.
    #[serde(deserialize_with = "null_as_default")]
    pub consume_stats_list: Vec<BTreeMap<String, Vec<ConsumeStats>>>,
    /// Messages not consumed, of all groups.
    #[serde(deserialize_with = "null_as_default")]
    pub total_diff: i64,
    /// 5.x: messages pulled and not consumed, of all groups.
    #[serde(deserialize_with = "null_as_default")]
    pub total_inflight_diff: i64,
}

/// Answer of INVOKE_BROKER_TO_RESET_OFFSET (222), and body of RESET_CONSUMER_CLIENT_OFFSET (220).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResetOffsetBody {
    /// Next message to consume by queue.
    pub offset_table: QueueTable<i64>,
}

/// Answers of INVOKE_BROKER_TO_GET_CONSUMER_STATUS (223) and GET_CONSUMER_STATUS_FROM_CLIENT (221).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GetConsumerStatusBody {
    /// Next message to consume by queue, by client id: the broker's answer.
    #[serde(deserialize_with = "null_as_default")]
    pub consumer_table: BTreeMap<String, QueueTable<i64>>,
    /// The same of one client: its answer.
    pub message_queue_table: QueueTable<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fastjson::from_slice;

    #[test]
    fn reads_what_brokers_write() {
        let text = concat!(
            r#"{"brokerAddr":"127.0.0.1:10911","consumeStatsList":[{"g":[{"consumeTps":0.5,"offsetTable":{"#,
            r#"{"brokerName":"b","queueId":0,"topic":"T"}:{"brokerOffset":9,"consumerOffset":4,"lastTimestamp":1,"#,
            r#""pullOffset":6}}}]},{"h":[]}],"totalDiff":5,"totalInflightDiff":2}"#
        );
        let list: ConsumeStatsList = from_slice(text.as_bytes()).unwrap();
        let stats = &list.consume_stats_list[0]["g"][0];
        assert_eq!((stats.total_diff(), stats.offset_table.0[0].1.inflight()), (5, 2));
        // 4.9 knows no pull offsets.
        let old = r#"{"consumeTps":0.0,"offsetTable":{{"queueId":1}:{"brokerOffset":9,"consumerOffset":4}}}"#;
        assert_eq!(from_slice::<ConsumeStats>(old.as_bytes()).unwrap().total_diff(), 5);
        let status = r#"{"consumerTable":{"ip@1":{{"queueId":1}:7}},"messageQueueTable":{}}"#;
        let status: GetConsumerStatusBody = from_slice(status.as_bytes()).unwrap();
        assert_eq!(status.consumer_table["ip@1"].0[0].1, 7);
        let nonsense =
            OffsetWrapper { broker_offset: i64::MIN, consumer_offset: 1, ..OffsetWrapper::default() };
        assert_eq!(nonsense.diff(), i64::MAX);
    }
}
