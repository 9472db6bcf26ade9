// SPDX-License-Identifier: Apache-2.0
//! Who is connected to a broker. Java: `Connection`, `ConsumerConnection`, `ProducerConnection`, `ProducerTableInfo`,
//! `GroupList`.

use super::{SubscriptionData, heartbeat::null_as_default};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One connected client.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Connection {
    /// Its address.
    #[serde(deserialize_with = "null_as_default")]
    pub client_addr: String,
    /// Its id.
    #[serde(deserialize_with = "null_as_default")]
    pub client_id: String,
    /// Its language, `JAVA` and the like.
    #[serde(deserialize_with = "null_as_default")]
    pub language: String,
    /// Its version, see [`crate::version_of`].
    pub version: i32,
}

/// Answer of GET_CONSUMER_CONNECTION_LIST (203).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumerConnection {
    /// Members of the group.
    #[serde(deserialize_with = "null_as_default")]
    pub connection_set: Vec<Connection>,
    /// Where members begin that have no offset.
    #[serde(deserialize_with = "null_as_default")]
    pub consume_from_where: String,
    /// `CONSUME_PASSIVELY` (push), `CONSUME_ACTIVELY` (pull), `CONSUME_POP`.
    #[serde(deserialize_with = "null_as_default")]
    pub consume_type: String,
    /// `CLUSTERING` or `BROADCASTING`.
    #[serde(deserialize_with = "null_as_default")]
    pub message_model: String,
    /// What they subscribe to, by topic, in the order in which it was told.
    #[serde(deserialize_with = "in_order")]
    pub subscription_table: Vec<(String, SubscriptionData)>,
}

/// Answer of GET_PRODUCER_CONNECTION_LIST (204).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProducerConnection {
    /// Members of the group.
    #[serde(deserialize_with = "null_as_default")]
    pub connection_set: Vec<Connection>,
}

/// Answer of GET_ALL_PRODUCER_INFO (328).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ProducerTableInfo {
    /// Members by group.
    #[serde(deserialize_with = "null_as_default")]
    pub data: BTreeMap<String, Vec<ProducerInfo>>,
}

/// A member of a producer group.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProducerInfo {
    /// Its id.
    #[serde(deserialize_with = "null_as_default")]
    pub client_id: String,
    /// Its language.
    #[serde(deserialize_with = "null_as_default")]
    pub language: String,
    /// When it was last heard, in ms since 1970.
    pub last_update_timestamp: i64,
    /// Its address, with a slash before it.
    #[serde(rename = "remoteIP", deserialize_with = "null_as_default")]
    pub remote_ip: String,
    /// Its version.
    pub version: i32,
}

/// Answer of QUERY_TOPIC_CONSUME_BY_WHO (300).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupList {
    /// Groups.
    #[serde(deserialize_with = "null_as_default")]
    pub group_list: Vec<String>,
}

/// A table in the order of its text.
fn in_order<'de, D, V>(from: D) -> Result<Vec<(String, V)>, D::Error>
where
    D: serde::Deserializer<'de>,
    V: Deserialize<'de>,
{
    struct Entries<V>(std::marker::PhantomData<V>);

    impl<'de, V: Deserialize<'de>> serde::de::Visitor<'de> for Entries<V> {
        type Value = Vec<(String, V)>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a table")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(Vec::new())
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut entries = Vec::new();
            while let Some(entry) = map.next_entry()? {
                entries.push(entry);
            }
            Ok(entries)
        }
    }
    from.deserialize_any(Entries(std::marker::PhantomData))
}
