// SPDX-License-Identifier: Apache-2.0
//! JSON bodies, one module for each part of the protocol that uses them. Read with [`crate::fastjson::from_slice`].

mod cluster;
mod group;
mod heartbeat;
mod queue;
mod register;
mod route;
mod topic;

pub use cluster::{BrokerMemberGroup, BrokerMemberGroupBody, ClusterInfo};
pub use group::SubscriptionGroupConfig;
pub use heartbeat::{ConsumerData, ConsumerGroupList, HeartbeatData, ProducerData, SubscriptionData};
pub use queue::{LockBatch, LockedBatch, MessageQueue};
pub use register::{
    KVTable, REGISTER_BODY_MAX_BYTES, RegisterBodyError, RegisterBrokerBody, RegisterBrokerResult,
};
pub use route::{BrokerData, QueueData, TopicQueueMappingInfo, TopicRouteData};
pub use topic::{
    DataVersion, TOPICS_MAX, TopicConfig, TopicConfigAndMappingSerializeWrapper, TopicConfigSerializeWrapper,
    TopicFilterType, TopicList,
};
