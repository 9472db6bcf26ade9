// SPDX-License-Identifier: Apache-2.0
//! Typed headers of the requests that a name server answers.

use crate::request_headers;
use std::borrow::Cow;

request_headers! {
    /// REGISTER_BROKER (103). Java: `RegisterBrokerRequestHeader`.
    RegisterBroker<'a> {
        /// Name that a master shares with its slaves.
        broker_name: Cow<'a, str> = b"brokerName",
        /// Where clients reach the broker, `host:port`.
        broker_addr: Cow<'a, str> = b"brokerAddr",
        /// Cluster.
        cluster_name: Cow<'a, str> = b"clusterName",
        /// Where slaves fetch the commit log, `host:port`.
        ha_server_addr: Cow<'a, str> = b"haServerAddr",
        /// 0 for the master.
        broker_id: i64 = b"brokerId",
        /// 5.x: how long the broker counts as alive after its last sign of life.
        heartbeat_timeout_ms: Option<i64> = b"heartbeatTimeoutMillis",
        /// 5.x: whether a slave may stand in for the master; absent from 4.x brokers.
        enable_acting_master: Option<bool> = b"enableActingMaster",
        /// Checksum of the body, 0 or absent for none.
        body_crc32: Option<i32> = b"bodyCrc32",
        /// 5.x: zone of the broker.
        zone_name: Option<Cow<'a, str>> = b"__ZONE_NAME",
    }

    /// UNREGISTER_BROKER (104) and QUERY_DATA_VERSION (322). Java: `UnRegisterBrokerRequestHeader`,
    /// `QueryDataVersionRequestHeader`.
    BrokerIdentity<'a> {
        /// Name that a master shares with its slaves.
        broker_name: Cow<'a, str> = b"brokerName",
        /// Where clients reach the broker, `host:port`.
        broker_addr: Cow<'a, str> = b"brokerAddr",
        /// Cluster.
        cluster_name: Cow<'a, str> = b"clusterName",
        /// 0 for the master.
        broker_id: i64 = b"brokerId",
    }

    /// BROKER_HEARTBEAT (904); the rest of Java's `BrokerHeartbeatRequestHeader` is for controllers.
    BrokerHeartbeat<'a> {
        /// Where clients reach the broker, `host:port`.
        broker_addr: Cow<'a, str> = b"brokerAddr",
        /// Cluster.
        cluster_name: Cow<'a, str> = b"clusterName",
    }

    /// GET_ROUTEINFO_BY_TOPIC (105). Java: `GetRouteInfoRequestHeader`, `ZoneRouteRPCHook`.
    GetRouteInfo<'a> {
        /// Topic.
        topic: Cow<'a, str> = b"topic",
        /// True if numeric names in the answer must stand in quotes.
        accept_standard_json_only: Option<bool> = b"acceptStandardJsonOnly",
        /// 5.x: true if only brokers of the zone are wanted.
        zone_mode: Option<bool> = b"__ZONE_MODE",
        /// 5.x: zone of the client.
        zone_name: Option<Cow<'a, str>> = b"__ZONE_NAME",
    }

    /// PUT_KV_CONFIG (100). Java: `PutKVConfigRequestHeader`.
    PutKvConfig<'a> {
        /// Namespace.
        namespace: Cow<'a, str> = b"namespace",
        /// Key.
        key: Cow<'a, str> = b"key",
        /// Value.
        value: Cow<'a, str> = b"value",
    }

    /// GET_KV_CONFIG (101) and DELETE_KV_CONFIG (102). Java: `GetKVConfigRequestHeader`.
    KvKey<'a> {
        /// Namespace.
        namespace: Cow<'a, str> = b"namespace",
        /// Key.
        key: Cow<'a, str> = b"key",
    }

    /// GET_KVLIST_BY_NAMESPACE (219). Java: `GetKVListByNamespaceRequestHeader`.
    KvNamespace<'a> {
        /// Namespace.
        namespace: Cow<'a, str> = b"namespace",
    }

    /// WIPE_WRITE_PERM_OF_BROKER (205) and ADD_WRITE_PERM_OF_BROKER (327).
    WritePermOfBroker<'a> {
        /// Name that a master shares with its slaves.
        broker_name: Cow<'a, str> = b"brokerName",
    }

    /// DELETE_TOPIC_IN_NAMESRV (216). Java: `DeleteTopicFromNamesrvRequestHeader`.
    DeleteTopicInNamesrv<'a> {
        /// Topic.
        topic: Cow<'a, str> = b"topic",
        /// The only cluster in which it goes, absent or empty for all.
        cluster_name: Option<Cow<'a, str>> = b"clusterName",
    }

    /// REGISTER_TOPIC_IN_NAMESRV (217). Java: `RegisterTopicRequestHeader`.
    RegisterTopicInNamesrv<'a> {
        /// Topic.
        topic: Cow<'a, str> = b"topic",
    }

    /// GET_TOPICS_BY_CLUSTER (224). Java: `GetTopicsByClusterRequestHeader`.
    GetTopicsByCluster<'a> {
        /// Cluster.
        cluster: Cow<'a, str> = b"cluster",
    }

    /// GET_BROKER_MEMBER_GROUP (901). Java: `GetBrokerMemberGroupRequestHeader`.
    GetBrokerMemberGroup<'a> {
        /// Cluster.
        cluster_name: Cow<'a, str> = b"clusterName",
        /// Name that a master shares with its slaves.
        broker_name: Cow<'a, str> = b"brokerName",
    }
}
