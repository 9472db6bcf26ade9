// SPDX-License-Identifier: Apache-2.0
//! What a consumer tells of its inside. Java: `ConsumerRunningInfo`, `ProcessQueueInfo`, `PopProcessQueueInfo`,
//! `ConsumeStatus`, `ConsumeMessageDirectlyResult`.

use super::{QueueTable, SubscriptionData, heartbeat::null_as_default};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Answer of GET_CONSUMER_RUNNING_INFO (307).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumerRunningInfo {
    /// Stacks of all threads, if they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jstack: Option<String>,
    /// Queues that it pops from.
    pub mq_pop_table: QueueTable<PopProcessQueueInfo>,
    /// Queues that it pulls from.
    pub mq_table: QueueTable<ProcessQueueInfo>,
    /// Its settings, and those of [`property`].
    #[serde(deserialize_with = "null_as_default")]
    pub properties: serde_json::Map<String, serde_json::Value>,
    /// How fast it is, by topic.
    #[serde(deserialize_with = "null_as_default")]
    pub status_table: BTreeMap<String, ConsumeStatus>,
    /// What it subscribes to.
    #[serde(deserialize_with = "null_as_default")]
    pub subscription_set: Vec<SubscriptionData>,
    /// The application's own.
    #[serde(deserialize_with = "null_as_default")]
    pub user_consumer_info: BTreeMap<String, String>,
}

/// Names of the properties that tools look at.
pub mod property {
    /// Name servers.
    pub const NAMESRV_ADDR: &str = "PROP_NAMESERVER_ADDR";
    /// Threads that call the listener.
    pub const THREADPOOL_CORE_SIZE: &str = "PROP_THREADPOOL_CORE_SIZE";
    /// `true` if it consumes in order.
    pub const CONSUME_ORDERLY: &str = "PROP_CONSUMEORDERLY";
    /// `CONSUME_PASSIVELY`, `CONSUME_ACTIVELY`.
    pub const CONSUME_TYPE: &str = "PROP_CONSUME_TYPE";
    /// Version of the client, as people read it.
    pub const CLIENT_VERSION: &str = "PROP_CLIENT_VERSION";
    /// When it started, in ms since 1970.
    pub const CONSUMER_START_TIMESTAMP: &str = "PROP_CONSUMER_START_TIMESTAMP";
}

impl ConsumerRunningInfo {
    /// A property as text. `None` if it is absent.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<String> {
        self.properties.get(name).map(|value| match value {
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        })
    }

    /// True for a push consumer. Java: `isPushType`.
    #[must_use]
    pub fn is_push(&self) -> bool {
        self.property(property::CONSUME_TYPE).as_deref() == Some("CONSUME_PASSIVELY")
    }
}

/// A queue that a consumer pulls from. Times are in ms since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProcessQueueInfo {
    /// Messages that wait for the listener.
    pub cached_msg_count: i64,
    /// Offset of the last of them.
    pub cached_msg_max_offset: i64,
    /// Offset of the first of them.
    pub cached_msg_min_offset: i64,
    /// Their size.
    pub cached_msg_size_in_mi_b: i64,
    /// Offset that it committed.
    pub commit_offset: i64,
    /// True if the queue was taken away.
    pub droped: bool,
    /// Last time that a message was given to the listener.
    pub last_consume_timestamp: i64,
    /// Last time that the queue was locked.
    pub last_lock_timestamp: i64,
    /// Last pull.
    pub last_pull_timestamp: i64,
    /// True if it is locked.
    pub locked: bool,
    /// Messages of an ordered consumer that its listener has now.
    pub transaction_msg_count: i64,
    /// Offset of the last of them.
    pub transaction_msg_max_offset: i64,
    /// Offset of the first of them.
    pub transaction_msg_min_offset: i64,
    /// How often it tried to let go the lock.
    pub try_unlock_times: i64,
}

/// A queue that a consumer pops from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PopProcessQueueInfo {
    /// True if it was taken away.
    pub droped: bool,
    /// Last pop, in ms since 1970.
    pub last_pop_timestamp: i64,
    /// Messages that wait for an acknowledgement.
    pub wait_ack_count: i64,
}

/// How fast a consumer is in one topic. Times are in ms, rates in messages per second.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ConsumeStatus {
    /// Messages that failed in the last hour.
    #[serde(rename = "consumeFailedMsgs")]
    pub consume_failed_msgs: i64,
    /// Messages that fail.
    #[serde(rename = "consumeFailedTPS")]
    pub consume_failed_tps: f64,
    /// Messages that succeed.
    #[serde(rename = "consumeOKTPS")]
    pub consume_ok_tps: f64,
    /// Time that the listener takes.
    #[serde(rename = "consumeRT")]
    pub consume_rt: f64,
    /// Time that a pull takes.
    #[serde(rename = "pullRT")]
    pub pull_rt: f64,
    /// Messages pulled.
    #[serde(rename = "pullTPS")]
    pub pull_tps: f64,
}

/// Answer of CONSUME_MESSAGE_DIRECTLY (309).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumeMessageDirectlyResult {
    /// False if the offset is committed by the application.
    pub auto_commit: bool,
    /// `CR_SUCCESS`, `CR_LATER`, `CR_ROLLBACK`, `CR_COMMIT`, `CR_THROW_EXCEPTION`, `CR_RETURN_NULL`.
    pub consume_result: Option<String>,
    /// True for an ordered consumer.
    pub order: bool,
    /// What the listener threw.
    pub remark: Option<String>,
    /// Time that the listener took, in ms.
    pub spent_time_mills: i64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fastjson::{from_slice, to_vec_with_bare_keys};

    #[test]
    fn what_a_consumer_tells_goes_both_ways() {
        let text = concat!(
            r#"{"mqPopTable":{},"mqTable":{{"brokerName":"b","queueId":1,"topic":"T"}:{"cachedMsgCount":3,"#,
            r#""cachedMsgSizeInMiB":2,"commitOffset":7,"locked":false}},"properties":{"PROP_CONSUME_TYPE":"#,
            r#""CONSUME_PASSIVELY","n":5},"statusTable":{"T":{"consumeOKTPS":1.5,"pullRT":2.0}},"#,
            r#""subscriptionSet":[{"topic":"T","subString":"*"}],"userConsumerInfo":{}}"#
        );
        let info: ConsumerRunningInfo = from_slice(text.as_bytes()).unwrap();
        assert!(info.is_push());
        assert_eq!(info.property("n").as_deref(), Some("5"));
        assert_eq!(info.mq_table.0[0].1.cached_msg_size_in_mi_b, 2);
        assert!((info.status_table["T"].consume_ok_tps - 1.5).abs() < f64::EPSILON);
        let written = to_vec_with_bare_keys(&info).unwrap();
        assert_eq!(from_slice::<ConsumerRunningInfo>(&written).unwrap(), info);
        let text = String::from_utf8(written).unwrap();
        assert!(text.contains(r#"{{"brokerName":"b","queueId":1,"topic":"T"}:{"#), "{text}");
        assert!(text.contains(r#""cachedMsgSizeInMiB":2"#), "{text}");
    }
}
