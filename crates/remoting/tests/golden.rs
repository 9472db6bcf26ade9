// SPDX-License-Identifier: Apache-2.0
//! Frames that Java brokers and Java name servers wrote: `golden/NAME_VERSION.bin`, the version being the writer's.

use oxmq_remoting::{
    FRAME_MAX_BYTES, Header, RequestHeader, Text,
    bodies::{
        BrokerMemberGroupBody, ClusterInfo, DataVersion, RegisterBrokerBody, TopicFilterType, TopicRouteData,
    },
    code::request,
    fastjson,
    namesrv_requests::{BrokerHeartbeat, BrokerIdentity, RegisterBroker},
    split_frame,
};

macro_rules! golden {
    ($name:literal) => {
        frame(include_bytes!(concat!("golden/", $name, ".bin")))
    };
}

fn frame(bytes: &'static [u8]) -> (Header<'static>, &'static [u8]) {
    let frame = split_frame(bytes, FRAME_MAX_BYTES).unwrap().unwrap();
    assert_eq!(frame.size, bytes.len());
    (Header::parse(frame.encoding, frame.header).unwrap(), frame.body)
}

/// Checks a registration against what is known of the broker that sent it, and that ours reads back the same.
fn check_registration(
    (header, bytes): (Header<'static>, &'static [u8]),
    name: &str,
    topics: usize,
    counter: i64,
) {
    assert_eq!(header.code, request::REGISTER_BROKER);
    let fields = RegisterBroker::from_fields(&header.fields).unwrap();
    assert_eq!((fields.broker_name.as_ref(), fields.cluster_name.as_ref()), (name, "DefaultCluster"));
    assert_eq!(fields.broker_id, 0);
    assert_eq!(fields.body_crc32, Some(RegisterBrokerBody::checksum(bytes)));
    let body = RegisterBrokerBody::decode(bytes).unwrap();
    let wrapper = &body.topic_config_serialize_wrapper;
    assert_eq!((wrapper.topic_config_table.len(), wrapper.data_version.counter), (topics, counter));
    assert!(wrapper.data_version.timestamp > 1_700_000_000_000);
    for (topic, config) in &wrapper.topic_config_table {
        assert_eq!((topic, config.topic_filter_type), (&config.topic_name, TopicFilterType::SingleTag));
    }
    let schedule = &wrapper.topic_config_table["SCHEDULE_TOPIC_XXXX"];
    assert_eq!((schedule.read_queue_nums, schedule.write_queue_nums, schedule.perm), (18, 18, 6));
    assert_eq!(wrapper.topic_config_table[name].perm, 7);
    assert_eq!(RegisterBrokerBody::decode(&body.encode()).unwrap(), body);
    assert_eq!(
        RegisterBrokerBody::decode(&body.encode_compressed()).unwrap().encode_compressed(),
        body.encode_compressed()
    );
}

#[test]
fn registrations_of_java_brokers() {
    check_registration(golden!("register_broker_5.3.3"), "broker-53", 13, 0);
    check_registration(golden!("register_broker_4.9.7"), "broker-49", 8, 0);
    check_registration(golden!("register_broker_compressed_4.9.7"), "broker-49z", 8, 0);
    // 5.3.3 says that this body is not compressed.
    let frame = golden!("register_broker_compressed_5.3.3");
    assert_eq!(frame.0.fields.get("compressed"), Some(Text::plain("false")));
    let fields = RegisterBroker::from_fields(&frame.0.fields).unwrap();
    assert_eq!((fields.heartbeat_timeout_ms, fields.enable_acting_master), (Some(10_000), Some(true)));
    check_registration(frame, "broker-53z", 13, 0);
}

#[test]
fn heartbeats_of_java_brokers() {
    let (header, body) = golden!("broker_heartbeat_5.3.3");
    let fields = BrokerHeartbeat::from_fields(&header.fields).unwrap();
    assert_eq!((header.code, header.is_one_way(), body), (request::BROKER_HEARTBEAT, true, &b""[..]));
    assert_eq!(
        (fields.broker_addr.as_ref(), fields.cluster_name.as_ref()),
        ("127.0.0.1:21120", "DefaultCluster")
    );
    let (header, body) = golden!("query_data_version_one_way_5.3.3");
    let fields = BrokerIdentity::from_fields(&header.fields).unwrap();
    assert_eq!((header.code, header.is_one_way()), (request::QUERY_DATA_VERSION, true));
    assert_eq!(fields.broker_name, "broker-53z");
    let version: DataVersion = fastjson::from_slice(body).unwrap();
    assert_eq!(serde_json::to_vec(&version).unwrap(), body);
}

#[test]
fn answers_of_the_java_name_server() {
    let (_, quoted) = golden!("route_5.3.3");
    let (_, bare) = golden!("route_unquoted_5.3.3");
    let route: TopicRouteData = fastjson::from_slice(quoted).unwrap();
    assert_eq!(serde_json::to_vec(&route).unwrap(), quoted);
    assert_eq!(fastjson::from_slice::<TopicRouteData>(bare).unwrap(), route);
    assert_eq!(fastjson::to_vec_with_bare_keys(&route).unwrap(), bare);

    let (_, bytes) = golden!("cluster_5.3.3");
    let cluster: ClusterInfo = fastjson::from_slice(bytes).unwrap();
    assert_eq!(cluster.broker_addr_table["broker-53"].broker_addrs[&0], "127.0.0.1:21110");
    assert_eq!(
        cluster.cluster_addr_table["C1"].len() + cluster.cluster_addr_table["DefaultCluster"].len(),
        5
    );
    assert_eq!(cluster.broker_addr_table.len(), 5);
    let again = fastjson::to_vec_with_bare_keys(&cluster).unwrap();
    assert_eq!((again.len(), fastjson::from_slice::<ClusterInfo>(&again).unwrap()), (bytes.len(), cluster));

    let (_, bytes) = golden!("broker_member_group_5.3.3");
    let group: BrokerMemberGroupBody = fastjson::from_slice(bytes).unwrap();
    assert_eq!(fastjson::to_vec_with_bare_keys(&group).unwrap(), bytes);
}
