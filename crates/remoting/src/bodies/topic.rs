// SPDX-License-Identifier: Apache-2.0
//! What a broker knows of its topics. Java: `TopicConfig`, `DataVersion`, `TopicConfigSerializeWrapper`.
//!
//! [`TopicConfigSerializeWrapper`] is also what stands in a broker's `config/topics.json`.

use super::{TopicQueueMappingInfo, heartbeat::null_as_default};
use serde::{Deserialize, Deserializer, Serialize, de};
use std::{collections::BTreeMap, fmt};

/// Most topics that a body or a file may hold: more is an attack on memory.
pub const TOPICS_MAX: usize = 1_000_000;

/// Settings of a topic on one broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicConfig {
    /// 5.x attributes, `message.type` and the like, without the `+` of commands.
    #[serde(deserialize_with = "null_as_default")]
    pub attributes: BTreeMap<String, String>,
    /// True for an ordered topic.
    pub order: bool,
    /// Permission bits: 4 read, 2 write, 1 inherit.
    pub perm: u32,
    /// Queues that consumers see.
    pub read_queue_nums: u32,
    /// What a message has to filter by.
    #[serde(deserialize_with = "null_as_default")]
    pub topic_filter_type: TopicFilterType,
    /// Name.
    #[serde(deserialize_with = "null_as_default")]
    pub topic_name: String,
    /// Bit 0: topic of a unit; bit 1: subscribed across units. Java: `TopicSysFlag`.
    pub topic_sys_flag: u32,
    /// Queues that producers see.
    pub write_queue_nums: u32,
}

impl Default for TopicConfig {
    /// Java's: 16 queues, read and write.
    fn default() -> Self {
        Self {
            attributes: BTreeMap::new(),
            order: false,
            perm: 6,
            read_queue_nums: 16,
            topic_filter_type: TopicFilterType::SingleTag,
            topic_name: String::new(),
            topic_sys_flag: 0,
            write_queue_nums: 16,
        }
    }
}

/// How many tags a message may have. Nothing but one was ever built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TopicFilterType {
    /// One.
    #[default]
    SingleTag,
    /// Several.
    MultiTag,
}

impl TopicFilterType {
    /// Java's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SingleTag => "SINGLE_TAG",
            Self::MultiTag => "MULTI_TAG",
        }
    }
}

impl TopicConfig {
    /// The line of a compressed registration: name, read queues, write queues, permission, filter type and the
    /// attributes as JSON, a space between them. It has neither the flag nor the order of a topic.
    /// Java: `TopicConfig#encode`.
    #[must_use]
    pub fn to_line(&self) -> String {
        let attributes = serde_json::to_string(&self.attributes).unwrap_or_default();
        format!(
            "{} {} {} {} {} {attributes}",
            self.topic_name,
            self.read_queue_nums,
            self.write_queue_nums,
            self.perm,
            self.topic_filter_type.name(),
        )
    }

    /// Reads what [`TopicConfig::to_line`] writes, `None` if it is something else. Attributes that cannot be read
    /// are left out, as in Java. Java: `TopicConfig#decode`.
    #[must_use]
    pub fn from_line(line: &str) -> Option<Self> {
        let mut parts = line.splitn(6, ' ');
        let topic_name = parts.next()?.to_owned();
        let mut number = || parts.next()?.parse().ok();
        let (read_queue_nums, write_queue_nums, perm) = (number()?, number()?, number()?);
        let filter = parts.next()?;
        let topic_filter_type = [TopicFilterType::SingleTag, TopicFilterType::MultiTag]
            .into_iter()
            .find(|f| f.name() == filter)?;
        let attributes = parts.next().and_then(|json| crate::fastjson::from_slice(json.as_bytes()).ok());
        Some(Self {
            attributes: attributes.unwrap_or_default(),
            perm,
            read_queue_nums,
            topic_filter_type,
            topic_name,
            write_queue_nums,
            ..Self::default()
        })
    }
}

/// By which a change of a table is seen. Two that are equal stand for the same content of one broker's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DataVersion {
    /// Changes since the broker's first start.
    #[serde(deserialize_with = "null_as_default")]
    pub counter: i64,
    /// 5.x: epoch of the broker's controller, 0 without one.
    pub state_version: i64,
    /// When it was last changed, in ms since 1970.
    pub timestamp: i64,
}

/// Topics of a broker: its `topics.json`, and the answer of GET_ALL_TOPIC_CONFIG (21) to 4.x brokers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicConfigSerializeWrapper {
    /// Version of the table.
    #[serde(deserialize_with = "null_as_default")]
    pub data_version: DataVersion,
    /// Settings by topic.
    #[serde(deserialize_with = "bounded_table")]
    pub topic_config_table: BTreeMap<String, TopicConfig>,
}

/// The same with the mappings of static topics, as 5.x brokers send it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicConfigAndMappingSerializeWrapper {
    /// Version of the table.
    #[serde(deserialize_with = "null_as_default")]
    pub data_version: DataVersion,
    /// Version of the mappings.
    #[serde(deserialize_with = "null_as_default")]
    pub mapping_data_version: DataVersion,
    /// Settings by topic.
    #[serde(deserialize_with = "bounded_table")]
    pub topic_config_table: BTreeMap<String, TopicConfig>,
    /// Static topics: the whole mapping by topic, kept as it came.
    #[serde(deserialize_with = "null_as_default")]
    pub topic_queue_mapping_detail_map: BTreeMap<String, serde_json::Value>,
    /// Static topics: what the route tells of the mapping, by topic.
    #[serde(deserialize_with = "bounded_table")]
    pub topic_queue_mapping_info_map: BTreeMap<String, TopicQueueMappingInfo>,
}

/// Answer of the codes that list topics (206, 224, 304, 311, 312, 313).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicList {
    /// Address of some broker; only in the list of system topics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broker_addr: Option<String>,
    /// Names.
    #[serde(deserialize_with = "null_as_default")]
    pub topic_list: Vec<String>,
}

/// Reads a table of at most [`TOPICS_MAX`] entries. A topic may take six bytes of JSON and many more of memory, so
/// the limit of the frame is not enough.
fn bounded_table<'de, T, D>(from: D) -> Result<BTreeMap<String, T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    struct Table<T>(std::marker::PhantomData<T>);

    impl<'de, T: Deserialize<'de>> de::Visitor<'de> for Table<T> {
        type Value = BTreeMap<String, T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a table of at most {TOPICS_MAX} topics")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(BTreeMap::new())
        }

        fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut table = BTreeMap::new();
            while let Some((topic, value)) = map.next_entry()? {
                if table.len() == TOPICS_MAX {
                    return Err(de::Error::invalid_length(TOPICS_MAX + 1, &self));
                }
                table.insert(topic, value);
            }
            Ok(table)
        }
    }
    from.deserialize_any(Table(std::marker::PhantomData))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_holds_what_java_writes() {
        for line in ["TopicTest 8 8 6 SINGLE_TAG {}", r#"broker-a 1 1 7 MULTI_TAG {"message.type":"DELAY"}"#]
        {
            assert_eq!(TopicConfig::from_line(line).unwrap().to_line(), line);
        }
        // 4.9 writes no attributes; attributes with a space are lost in Java.
        assert_eq!(TopicConfig::from_line("t 8 8 6 SINGLE_TAG").unwrap().to_line(), "t 8 8 6 SINGLE_TAG {}");
        for line in
            ["", "t", "t 8 8 6", "t 8 8 6 OTHER", "t -8 8 6 SINGLE_TAG", "t 8 99999999999 6 SINGLE_TAG"]
        {
            assert_eq!(TopicConfig::from_line(line), None, "{line}");
        }
    }

    #[test]
    fn tolerates_what_is_missing_or_null() {
        let read = |text: &str| {
            crate::fastjson::from_slice::<TopicConfigAndMappingSerializeWrapper>(text.as_bytes())
        };
        assert_eq!(read("{}").unwrap(), TopicConfigAndMappingSerializeWrapper::default());
        let nulls =
            r#"{"dataVersion":null,"topicConfigTable":null,"topicQueueMappingInfoMap":null,"new":[1]}"#;
        assert_eq!(read(nulls).unwrap(), TopicConfigAndMappingSerializeWrapper::default());
        let mapped = read(concat!(
            r#"{"topicConfigTable":{"t":{"topicName":"t"}},"#,
            r#""topicQueueMappingInfoMap":{"t":{"bname":"b","currIdMap":{0:0,1:1},"totalQueues":2}}}"#
        ))
        .unwrap();
        assert_eq!(
            (mapped.topic_config_table["t"].perm, mapped.topic_config_table["t"].read_queue_nums),
            (6, 16)
        );
        assert_eq!(mapped.topic_queue_mapping_info_map["t"].curr_id_map[&1], 1);
        assert!(read(r#"{"topicConfigTable":[]}"#).is_err());
    }

    #[test]
    fn more_topics_than_allowed_are_refused() {
        // The table of mappings has the same limit and smaller entries to parse than that of topics.
        let table: Vec<_> = (0..=TOPICS_MAX).map(|n| format!("\"{n:x}\":{{}}")).collect();
        let text = format!(r#"{{"topicQueueMappingInfoMap":{{{}}}}}"#, table.join(","));
        let error = serde_json::from_str::<TopicConfigAndMappingSerializeWrapper>(&text).unwrap_err();
        assert!(error.to_string().contains("at most 1000000 topics"), "{error}");
    }
}
