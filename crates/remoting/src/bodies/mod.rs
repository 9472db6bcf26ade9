// SPDX-License-Identifier: Apache-2.0
//! JSON bodies, one module for each part of the protocol that uses them. Read with [`crate::fastjson::from_slice`].

mod cluster;
mod heartbeat;
mod register;
mod route;
mod topic;

pub use cluster::{BrokerMemberGroup, BrokerMemberGroupBody, ClusterInfo};
pub use heartbeat::{ConsumerData, ConsumerGroupList, HeartbeatData, ProducerData, SubscriptionData};
pub use register::{
    KVTable, REGISTER_BODY_MAX_BYTES, RegisterBodyError, RegisterBrokerBody, RegisterBrokerResult,
};
pub use route::{BrokerData, QueueData, TopicQueueMappingInfo, TopicRouteData};
pub use topic::{
    DataVersion, TOPICS_MAX, TopicConfig, TopicConfigAndMappingSerializeWrapper, TopicConfigSerializeWrapper,
    TopicFilterType, TopicList,
};
