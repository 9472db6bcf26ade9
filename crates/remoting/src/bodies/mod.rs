// SPDX-License-Identifier: Apache-2.0
//! JSON bodies, one module for each part of the protocol that uses them. Read with [`crate::fastjson::from_slice`].

mod config;
mod heartbeat;

pub use config::{DataVersion, SubscriptionGroupConfig, TopicConfig};
pub use heartbeat::{ConsumerData, ConsumerGroupList, HeartbeatData, ProducerData, SubscriptionData};
