// SPDX-License-Identifier: Apache-2.0
//! What every part of OxMQ agrees on: typed ids and offsets, topic and group names with their rules,
//! Java's `String.hashCode`, and Java's `.properties` format.
//!
//! No I/O, no clock, no dependency on another crate of the workspace.
#![forbid(unsafe_code)]

mod hash;
mod ids;
mod names;
mod networks;
mod perm;
mod properties;

pub use hash::{java_string_hash, java_string_hash_after, tags_code};
pub use ids::{BrokerId, PhysicalOffset, QueueId, QueueOffset, TagsCode};
pub use names::{
    AUTO_CREATE_TOPIC, CHECK_MAX_TIME_TOPIC, DLQ_GROUP_PREFIX, GROUP_NAME_MAX_LENGTH, HALF_TOPIC, NameError,
    OP_HALF_TOPIC, RETRY_GROUP_PREFIX, SCHEDULE_TOPIC, SELF_TEST_TOPIC, SYSTEM_TOPICS, TIMER_TOPIC,
    TOPIC_NAME_MAX_LENGTH, dlq_topic, is_send_forbidden, is_system_group, is_system_topic, retry_topic,
    validate_group, validate_topic,
};
pub use networks::{Networks, NetworksError};
pub use perm::Perm;
pub use properties::{Properties, PropertiesError};
