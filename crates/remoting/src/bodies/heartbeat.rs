// SPDX-License-Identifier: Apache-2.0
//! What a client tells a broker of itself. Java: package `remoting.protocol.heartbeat`.

use serde::{Deserialize, Deserializer, Serialize};

/// Body of HEART_BEAT (34) and CHECK_CLIENT_CONFIG (46, one subscription of it).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HeartbeatData {
    /// Client id, `IP@instance`.
    #[serde(rename = "clientID")]
    pub client_id: String,
    /// Groups in which it produces.
    #[serde(deserialize_with = "null_as_default")]
    pub producer_data_set: Vec<ProducerData>,
    /// Groups in which it consumes.
    #[serde(deserialize_with = "null_as_default")]
    pub consumer_data_set: Vec<ConsumerData>,
    /// 5.x: hash of the subscriptions, by which a broker that knows them may be spared them.
    pub heartbeat_fingerprint: i32,
    /// 5.x: true if the subscriptions were left out.
    pub without_sub: bool,
}

/// A producer group of a client.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProducerData {
    /// Its name.
    pub group_name: String,
}

/// A consumer group of a client.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumerData {
    /// Its name.
    pub group_name: String,
    /// `CONSUME_PASSIVELY` (push) or `CONSUME_ACTIVELY` (pull), and `CONSUME_POP` of 5.x.
    #[serde(deserialize_with = "null_as_default")]
    pub consume_type: String,
    /// `CLUSTERING` or `BROADCASTING`.
    #[serde(deserialize_with = "null_as_default")]
    pub message_model: String,
    /// `CONSUME_FROM_LAST_OFFSET`, `CONSUME_FROM_FIRST_OFFSET` or `CONSUME_FROM_TIMESTAMP`.
    #[serde(deserialize_with = "null_as_default")]
    pub consume_from_where: String,
    /// What it subscribes to.
    #[serde(deserialize_with = "null_as_default")]
    pub subscription_data_set: Vec<SubscriptionData>,
    /// Set by clients of a unit.
    pub unit_mode: bool,
}

/// A topic and the filter under which a group wants it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SubscriptionData {
    /// Filtering by an uploaded class, which no broker since 5.1.1 offers.
    pub class_filter_mode: bool,
    /// Topic.
    pub topic: String,
    /// The expression as the application wrote it.
    #[serde(deserialize_with = "null_as_default")]
    pub sub_string: String,
    /// Tags of the expression; none for `*`.
    #[serde(deserialize_with = "null_as_default")]
    pub tags_set: Vec<String>,
    /// Hashes of those tags. The Go client writes them as text.
    #[serde(deserialize_with = "numbers_or_texts")]
    pub code_set: Vec<i32>,
    /// The client's clock in ms when it subscribed: the greater is the newer.
    pub sub_version: i64,
    /// `TAG` or `SQL92`.
    #[serde(deserialize_with = "null_as_default")]
    pub expression_type: String,
}

/// Answer of GET_CONSUMER_LIST_BY_GROUP (38).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumerGroupList {
    /// Client ids.
    pub consumer_id_list: Vec<String>,
}

/// Java writes null where it has nothing.
pub(super) fn null_as_default<'de, T, D>(from: D) -> Result<T, D::Error>
where
    T: Default + Deserialize<'de>,
    D: Deserializer<'de>,
{
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

fn numbers_or_texts<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<i32>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Number(i32),
        Text(String),
    }
    let codes: Vec<Either> = null_as_default(from)?;
    codes
        .into_iter()
        .map(|code| match code {
            Either::Number(number) => Ok(number),
            Either::Text(text) => text.parse().map_err(serde::de::Error::custom),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fastjson;

    #[test]
    fn reads_what_go_writes() {
        let text = br#"{"topic":"T","subString":"A || B","tagsSet":["A","B"],"codeSet":["65","-66",67],"subVersion":1}"#;
        let subscription: SubscriptionData = fastjson::from_slice(text).unwrap();
        assert_eq!(subscription.code_set, [65, -66, 67]);
        assert!(fastjson::from_slice::<SubscriptionData>(br#"{"codeSet":["x"]}"#).is_err());
    }
}
