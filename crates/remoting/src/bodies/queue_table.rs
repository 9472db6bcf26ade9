// SPDX-License-Identifier: Apache-2.0
//! Tables whose keys are queues. Java writes a queue as it comes, where JSON has a string:
//! `{{"brokerName":"b","queueId":0,"topic":"T"}:{"maxOffset":3}}`.

use super::MessageQueue;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeMap};
use std::{fmt, marker::PhantomData};

/// Most queues in one table: more is an attack on memory.
pub const QUEUES_MAX: usize = 1_000_000;

/// Values by queue, in the order in which they stand in the body.
///
/// Read with [`crate::fastjson::from_slice`], written with [`crate::fastjson::to_vec_with_bare_keys`]: both know such
/// keys, and nobody else does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueTable<V>(pub Vec<(MessageQueue, V)>);

impl<V> Default for QueueTable<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<V> FromIterator<(MessageQueue, V)> for QueueTable<V> {
    fn from_iter<I: IntoIterator<Item = (MessageQueue, V)>>(entries: I) -> Self {
        Self(entries.into_iter().collect())
    }
}

impl<V> QueueTable<V> {
    /// The value of `queue`. `None` if it has none.
    #[must_use]
    pub fn get(&self, queue: &MessageQueue) -> Option<&V> {
        self.0.iter().find(|(known, _)| known == queue).map(|(_, value)| value)
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for QueueTable<V> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Table<V>(PhantomData<V>);

        impl<'de, V: Deserialize<'de>> de::Visitor<'de> for Table<V> {
            type Value = QueueTable<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a table of at most {QUEUES_MAX} queues")
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(QueueTable::default())
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut table = Vec::new();
                while let Some(key) = map.next_key::<String>()? {
                    if table.len() == QUEUES_MAX {
                        return Err(de::Error::invalid_length(QUEUES_MAX + 1, &self));
                    }
                    let queue = serde_json::from_str(&key).map_err(|error| {
                        de::Error::custom(format!("a key of the table is no queue: {error}"))
                    })?;
                    table.push((queue, map.next_value()?));
                }
                Ok(QueueTable(table))
            }
        }
        from.deserialize_any(Table(PhantomData))
    }
}

impl<V: Serialize> Serialize for QueueTable<V> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(self.0.len()))?;
        for (queue, value) in &self.0 {
            let key = serde_json::to_string(queue).map_err(serde::ser::Error::custom)?;
            map.serialize_entry(&format!("{}{key}", crate::fastjson::STRUCTURE_MARK), value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fastjson::{from_slice, to_vec_with_bare_keys};

    #[test]
    fn tables_are_written_as_java_does() {
        let java = r#"{{"brokerName":"b\"","queueId":0,"topic":"T"}:1,{"brokerName":"a","queueId":3,"topic":"T"}:2}"#;
        let table: QueueTable<i64> = from_slice(java.as_bytes()).unwrap();
        assert_eq!(table.0[0].0.broker_name, "b\"");
        assert_eq!(table.get(&table.0[1].0), Some(&2));
        assert_eq!(String::from_utf8(to_vec_with_bare_keys(&table).unwrap()).unwrap(), java);
        assert_eq!(from_slice::<QueueTable<i64>>(b"null").unwrap(), QueueTable::default());
        for bad in
            ["[]", r#"{"x":1}"#, r#"{{"queueId":"x"}:1}"#, r#"{{"queueId":1}:"x"}"#, r#"{{"queueId":1}}"#]
        {
            assert!(from_slice::<QueueTable<i64>>(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn more_queues_than_allowed_are_refused() {
        let entries = vec![r#"{}:0"#; QUEUES_MAX + 1].join(",");
        let error = from_slice::<QueueTable<u8>>(format!("{{{entries}}}").as_bytes()).unwrap_err();
        assert!(error.to_string().contains("at most 1000000 queues"), "{error}");
    }
}
