// SPDX-License-Identifier: Apache-2.0
//! JSON bodies, one module for each part of the protocol that uses them. Read with [`crate::fastjson::from_slice`].

mod cluster;
mod connection;
mod consume_queue;
mod group;
mod heartbeat;
mod progress;
mod queue;
mod queue_table;
mod register;
mod route;
mod running;
mod topic;

pub use cluster::{BrokerMemberGroup, BrokerMemberGroupBody, ClusterInfo};
pub use connection::{
    Connection, ConsumerConnection, GroupList, ProducerConnection, ProducerInfo, ProducerTableInfo,
};
pub use consume_queue::{ConsumeQueueData, QueryConsumeQueueResponseBody};
pub use group::{SubscriptionGroupConfig, SubscriptionGroupWrapper};
pub use heartbeat::{ConsumerData, ConsumerGroupList, HeartbeatData, ProducerData, SubscriptionData};
pub use progress::{
    ConsumeStats, ConsumeStatsList, GetConsumerStatusBody, OffsetWrapper, ResetOffsetBody, TopicOffset,
    TopicStatsTable,
};
pub use queue::{LockBatch, LockedBatch, MessageQueue};
pub use queue_table::{QUEUES_MAX, QueueTable};
pub use register::{
    KVTable, REGISTER_BODY_MAX_BYTES, RegisterBodyError, RegisterBrokerBody, RegisterBrokerResult,
};
pub use route::{BrokerData, QueueData, TopicQueueMappingInfo, TopicRouteData};
pub use running::{
    ConsumeMessageDirectlyResult, ConsumeStatus, ConsumerRunningInfo, PopProcessQueueInfo, ProcessQueueInfo,
    property,
};
pub use topic::{
    DataVersion, TOPICS_MAX, TopicConfig, TopicConfigAndMappingSerializeWrapper, TopicConfigSerializeWrapper,
    TopicFilterType, TopicList,
};
