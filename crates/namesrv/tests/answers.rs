// SPDX-License-Identifier: Apache-2.0
//! What the name server answers to each request code. Remarks and codes are those that a Java name server 5.3.3
//! gave to the same requests, but for missing fields, where Java fails with a `NullPointerException` or does as if
//! all were well.

use oxmq_namesrv::{Configuration, NameServer, Settings, UpdateRefusal};
use oxmq_net::{AdminAccess, Answer, Peer, Request, Service};
use oxmq_remoting::{
    Command, Encoding, FRAME_MAX_BYTES, Header, Kind, RequestClass,
    bodies::{RegisterBrokerBody, TopicConfig},
    code::{self, request},
    split_frame,
};
use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

macro_rules! golden {
    ($name:literal) => {
        include_bytes!(concat!("../../remoting/tests/golden/", $name, ".bin"))
    };
}

/// A configuration that knows one key.
struct OneKey;

impl Configuration for OneKey {
    fn text(&self) -> String {
        "listenPort=9876\norderMessageEnable=false\n".into()
    }

    fn update(&self, text: &str) -> Result<Settings, UpdateRefusal> {
        match text.trim() {
            "orderMessageEnable=true" => Ok(Settings { order_configuration: true, ..Settings::default() }),
            other => Err(UpdateRefusal { code: code::NO_PERMISSION, remark: format!("not {other}") }),
        }
    }
}

/// A name server and one peer of it.
struct Asked {
    server: NameServer,
    peer: Arc<Peer>,
    folder: PathBuf,
    runtime: tokio::runtime::Runtime,
}

impl Drop for Asked {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

const NOW: i32 = 479;
const OLD: i32 = 400;

impl Asked {
    fn new() -> Self {
        Self::with(Settings::default())
    }

    fn with(settings: Settings) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("oxmq-namesrv-{}-{number}", std::process::id()));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let server =
            NameServer::new(settings, folder.join("kvConfig.json"), Arc::new(OneKey), Arc::default())
                .unwrap();
        Self { server, peer: peer(), folder, runtime }
    }

    /// The answer to a frame as it came from a broker.
    fn frame(&self, peer: &Arc<Peer>, frame: &[u8]) -> Command {
        let frame = split_frame(frame, FRAME_MAX_BYTES).unwrap().unwrap();
        let header = Header::parse(frame.encoding, frame.header).unwrap();
        match self.server.handle(Request { header: &header, body: frame.body, peer }) {
            Answer::Now(command) => command,
            Answer::Later(future) => self.runtime.block_on(future),
            Answer::Nothing => panic!("no answer"),
        }
    }

    fn ask_as(&self, version: i32, code: i32, fields: &[(&'static str, &str)], body: &[u8]) -> Command {
        let mut command = Command::new(code).with_body(body.to_vec());
        for (name, value) in fields {
            command = command.with(name, (*value).to_owned());
        }
        let mut bytes = Vec::new();
        command.encode(Encoding::Json, Kind::Request, 1, &mut bytes);
        // The encoder writes our own version.
        let text = String::from_utf8(bytes[8..].to_vec()).unwrap();
        let text = text.replace("\"version\":479", &format!("\"version\":{version}"));
        let header = Header::parse(Encoding::Json, text.as_bytes()).unwrap();
        assert_eq!(header.version, version);
        match self.server.handle(Request { header: &header, body, peer: &self.peer }) {
            Answer::Now(command) => command,
            Answer::Later(future) => self.runtime.block_on(future),
            Answer::Nothing => panic!("no answer"),
        }
    }

    fn ask(&self, code: i32, fields: &[(&'static str, &str)], body: &[u8]) -> Command {
        self.ask_as(NOW, code, fields, body)
    }

    /// Registers the brokers of the golden frames.
    fn with_java_brokers(self) -> Self {
        for frame in [
            &golden!("register_broker_5.3.3")[..],
            golden!("register_broker_4.9.7"),
            golden!("register_broker_compressed_4.9.7"),
        ] {
            assert_eq!(self.frame(&self.peer, frame), Command::success());
        }
        self
    }
}

fn peer() -> Arc<Peer> {
    Peer::unconnected("127.0.0.1:50000".parse().unwrap())
}

fn text(command: &Command) -> String {
    assert_eq!(command.code, code::SUCCESS, "{command:?}");
    command.body.pieces().iter().map(|piece| String::from_utf8_lossy(piece)).collect()
}

/// Checks that a request is refused with `code` and a remark that contains `remark`.
fn check_refused(answer: &Command, code: i32, remark: &str) {
    let found = answer.remark.as_deref().unwrap_or_default();
    assert!(answer.code == code && found.contains(remark), "{answer:?}");
}

const B49: [(&str, &str); 4] = [
    ("brokerName", "broker-49"),
    ("brokerAddr", "127.0.0.1:21130"),
    ("clusterName", "DefaultCluster"),
    ("brokerId", "0"),
];

fn registration<'a>(name: &'a str, addr: &'a str, id: &'a str) -> [(&'static str, &'a str); 5] {
    [
        ("brokerName", name),
        ("brokerAddr", addr),
        ("clusterName", "C"),
        ("haServerAddr", "127.0.0.1:2"),
        ("brokerId", id),
    ]
}

fn topics(names: &[&str]) -> Vec<u8> {
    let mut body = RegisterBrokerBody::default();
    for name in names {
        let config = TopicConfig { topic_name: (*name).into(), ..TopicConfig::default() };
        body.topic_config_serialize_wrapper.topic_config_table.insert((*name).into(), config);
    }
    body.encode()
}

#[test]
fn routes_are_what_a_java_name_server_answers_about_the_same_brokers() {
    let asked = Asked::new().with_java_brokers();
    let golden = |bytes: &'static [u8]| {
        let body = split_frame(bytes, FRAME_MAX_BYTES).unwrap().unwrap().body;
        let mut value: serde_json::Value = oxmq_remoting::fastjson::from_slice(body).unwrap();
        // Java's order is that of its hash table.
        for list in ["brokerDatas", "queueDatas"] {
            let by_name = |one: &serde_json::Value| one["brokerName"].as_str().unwrap().to_owned();
            value[list].as_array_mut().unwrap().sort_by_key(by_name);
        }
        value
    };
    let route = text(&asked.ask(request::GET_ROUTEINFO_BY_TOPIC, &[("topic", "BenchmarkTest")], b""));
    assert_eq!(serde_json::from_str::<serde_json::Value>(&route).unwrap(), golden(golden!("route_5.3.3")));

    // Old clients get numeric keys bare, unless they say otherwise.
    let old = text(&asked.ask_as(OLD, request::GET_ROUTEINFO_BY_TOPIC, &[("topic", "BenchmarkTest")], b""));
    assert_eq!(old, route.replace("{\"0\":", "{0:"));
    let fields = [("topic", "BenchmarkTest"), ("acceptStandardJsonOnly", "true")];
    assert_eq!(text(&asked.ask_as(OLD, request::GET_ROUTEINFO_BY_TOPIC, &fields, b"")), route);
    let clusters = text(&asked.ask_as(OLD, request::GET_BROKER_CLUSTER_INFO, &[], b""));
    assert!(clusters.contains(r#""brokerAddrs":{0:"127.0.0.1:21130"}"#), "{clusters}");
}

#[test]
fn a_topic_without_route_is_told_in_javas_words() {
    let asked = Asked::new();
    let answer = asked.ask(request::GET_ROUTEINFO_BY_TOPIC, &[("topic", "nope")], b"");
    assert_eq!(answer.code, code::TOPIC_NOT_EXIST);
    assert_eq!(
        answer.remark.unwrap(),
        "No topic route info in name server for the topic: nope\n\
         See https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details."
    );
    for topic in ["", "../x", &"x".repeat(1_000_000)] {
        let answer = asked.ask(request::GET_ROUTEINFO_BY_TOPIC, &[("topic", topic)], b"");
        check_refused(&answer, code::TOPIC_NOT_EXIST, "No topic route info");
        assert!(answer.remark.unwrap().len() < 200);
    }
}

#[test]
fn routes_wait_for_the_brokers_if_told_so() {
    let settings = Settings { wait_for_service: true, ..Settings::default() };
    let asked = Asked::with(settings.clone()).with_java_brokers();
    let answer = asked.ask(request::GET_ROUTEINFO_BY_TOPIC, &[("topic", "TBW102")], b"");
    check_refused(&answer, code::SYSTEM_ERROR, "name server not ready");
    let asked = Asked::with(Settings { wait_seconds: 0, ..settings }).with_java_brokers();
    text(&asked.ask(request::GET_ROUTEINFO_BY_TOPIC, &[("topic", "TBW102")], b""));
}

#[test]
fn a_compressed_registration_of_5_3_3_is_taken() {
    let asked = Asked::new();
    let peer = peer();
    assert_eq!(asked.frame(&peer, golden!("register_broker_compressed_5.3.3")), Command::success());
    let route = text(&asked.ask(request::GET_ROUTEINFO_BY_TOPIC, &[("topic", "broker-53z")], b""));
    assert!(route.contains(r#""enableActingMaster":true"#), "{route}");
    // Its heartbeats.
    assert_eq!(asked.frame(&peer, golden!("broker_heartbeat_5.3.3")), Command::success());
    let answer = asked.frame(&peer, golden!("query_data_version_one_way_5.3.3"));
    assert_eq!(answer.field("changed").as_deref(), Some("false"));
    asked.server.closed(&self::peer());
    assert_eq!(asked.ask(request::GET_ROUTEINFO_BY_TOPIC, &[("topic", "TBW102")], b"").code, code::SUCCESS);
    asked.server.closed(&peer);
    let answer = asked.ask(request::GET_ROUTEINFO_BY_TOPIC, &[("topic", "TBW102")], b"");
    assert_eq!(answer.code, code::TOPIC_NOT_EXIST);
}

#[test]
fn lists_of_topics() {
    let asked = Asked::new().with_java_brokers();
    let all = text(&asked.ask(request::GET_ALL_TOPIC_LIST_FROM_NAMESERVER, &[], b""));
    assert!(all.starts_with(r#"{"topicList":["BenchmarkTest","DefaultCluster","#), "{all}");
    let cluster = [("cluster", "DefaultCluster")];
    assert_eq!(text(&asked.ask(request::GET_TOPICS_BY_CLUSTER, &cluster, b"")), all);
    let nowhere = [("cluster", "x")];
    assert_eq!(text(&asked.ask(request::GET_TOPICS_BY_CLUSTER, &nowhere, b"")), r#"{"topicList":[]}"#);
    let system = text(&asked.ask(request::GET_SYSTEM_TOPIC_LIST_FROM_NS, &[], b""));
    assert_eq!(
        system,
        r#"{"brokerAddr":"127.0.0.1:21130","topicList":["DefaultCluster","broker-49","broker-49z","broker-53"]}"#
    );
    for (topic, flags) in [("Unit", 1), ("Sub", 2), ("Both", 3)] {
        let queues =
            format!(r#"{{"queueDatas":[{{"brokerName":"broker-49","perm":6,"topicSysFlag":{flags}}}]}}"#);
        let answer = asked.ask(request::REGISTER_TOPIC_IN_NAMESRV, &[("topic", topic)], queues.as_bytes());
        assert_eq!(answer, Command::success());
    }
    for (code, expected) in [
        (request::GET_UNIT_TOPIC_LIST, r#"{"topicList":["Both","Unit"]}"#),
        (request::GET_HAS_UNIT_SUB_TOPIC_LIST, r#"{"topicList":["Both","Sub"]}"#),
        (request::GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST, r#"{"topicList":["Sub"]}"#),
    ] {
        assert_eq!(text(&asked.ask(code, &[], b"")), expected);
    }
    let asked = Asked::with(Settings { all_topic_list: false, topic_list: false, ..Settings::default() });
    for code in [
        request::GET_ALL_TOPIC_LIST_FROM_NAMESERVER,
        request::GET_TOPICS_BY_CLUSTER,
        request::GET_UNIT_TOPIC_LIST,
        request::GET_HAS_UNIT_SUB_TOPIC_LIST,
        request::GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST,
    ] {
        check_refused(&asked.ask(code, &cluster, b""), code::SYSTEM_ERROR, "disable");
    }
    text(&asked.ask(request::GET_SYSTEM_TOPIC_LIST_FROM_NS, &[], b""));
}

#[test]
fn topics_are_set_and_deleted() {
    let asked = Asked::new().with_java_brokers();
    let set =
        |topic: &str, body: &[u8]| asked.ask(request::REGISTER_TOPIC_IN_NAMESRV, &[("topic", topic)], body);
    let route = |topic: &str| asked.ask(request::GET_ROUTEINFO_BY_TOPIC, &[("topic", topic)], b"").code;
    let queues =
        br#"{"queueDatas":[{"brokerName":"broker-49","perm":6,"readQueueNums":2,"writeQueueNums":2}]}"#;
    assert_eq!((set("T", queues), route("T")), (Command::success(), code::SUCCESS));
    let unknown = br#"{"queueDatas":[{"brokerName":"zz","perm":6}]}"#;
    assert_eq!((set("X", unknown), route("X")), (Command::success(), code::TOPIC_NOT_EXIST));
    assert_eq!((set("X", b""), set("X", b"{}")), (Command::success(), Command::success()));
    check_refused(&set("X", b"{x"), code::SYSTEM_ERROR, "the body is not the JSON");
    check_refused(&set("../x", queues), code::SYSTEM_ERROR, "the topic contains");
    let delete = |fields: &[(&'static str, &str)]| asked.ask(request::DELETE_TOPIC_IN_NAMESRV, fields, b"");
    assert_eq!(delete(&[("topic", "T"), ("clusterName", "nowhere")]), Command::success());
    assert_eq!(route("T"), code::SUCCESS);
    assert_eq!(delete(&[("topic", "T"), ("clusterName", "DefaultCluster")]), Command::success());
    assert_eq!(route("T"), code::TOPIC_NOT_EXIST);
    assert_eq!(delete(&[("topic", "TBW102"), ("clusterName", "")]), Command::success());
    assert_eq!(route("TBW102"), code::TOPIC_NOT_EXIST);
}

#[test]
fn write_permissions_are_wiped_and_added() {
    let asked = Asked::new().with_java_brokers();
    let broker = [("brokerName", "broker-49")];
    let answer = asked.ask(request::WIPE_WRITE_PERM_OF_BROKER, &broker, b"");
    assert_eq!(answer, Command::success().with("wipeTopicCount", 8));
    let route = text(&asked.ask(request::GET_ROUTEINFO_BY_TOPIC, &[("topic", "BenchmarkTest")], b""));
    assert!(route.contains(r#"{"brokerName":"broker-49","perm":4,"#), "{route}");
    assert!(route.contains(r#"{"brokerName":"broker-53","perm":6,"#), "{route}");
    let answer = asked.ask(request::ADD_WRITE_PERM_OF_BROKER, &broker, b"");
    assert_eq!(answer, Command::success().with("addTopicCount", 8));
    let answer = asked.ask(request::WIPE_WRITE_PERM_OF_BROKER, &[("brokerName", "zz")], b"");
    assert_eq!(answer, Command::success().with("wipeTopicCount", 0));
}

#[test]
fn brokers_are_known_by_version_and_group() {
    let asked = Asked::new().with_java_brokers();
    let ask = |body: &[u8]| asked.ask(request::QUERY_DATA_VERSION, &B49, body);
    let known = ask(br#"{"counter":0,"timestamp":1}"#);
    assert_eq!(known.field("changed").as_deref(), Some("true"));
    let version = text(&known);
    assert!(version.starts_with(r#"{"counter":0,"stateVersion":0,"timestamp":1"#), "{version}");
    assert_eq!(ask(version.as_bytes()).field("changed").as_deref(), Some("false"));
    assert_eq!(ask(b"").field("changed").as_deref(), Some("true"));
    check_refused(&ask(b"{"), code::SYSTEM_ERROR, "the body is not the JSON");
    let stranger = [("brokerName", "b"), ("brokerAddr", "h:1"), ("clusterName", "D"), ("brokerId", "0")];
    let answer = asked.ask(request::QUERY_DATA_VERSION, &stranger, version.as_bytes());
    assert_eq!(answer, Command::success().with("changed", true));
    assert_eq!(asked.ask(request::BROKER_HEARTBEAT, &stranger, b""), Command::success());

    let group = |name: &str| {
        let fields = [("clusterName", "DefaultCluster"), ("brokerName", name)];
        text(&asked.ask(request::GET_BROKER_MEMBER_GROUP, &fields, b""))
    };
    let frame = split_frame(golden!("broker_member_group_5.3.3"), FRAME_MAX_BYTES).unwrap().unwrap();
    assert_eq!(group("broker-53").replace("\"0\"", "0").as_bytes(), frame.body);
    assert_eq!(
        group("x"),
        r#"{"brokerMemberGroup":{"brokerAddrs":{},"brokerName":"x","cluster":"DefaultCluster"}}"#
    );

    assert_eq!(asked.ask(request::UNREGISTER_BROKER, &stranger, b""), Command::success());
    assert_eq!(asked.ask(request::UNREGISTER_BROKER, &B49, b""), Command::success());
    assert!(!text(&asked.ask(request::GET_BROKER_CLUSTER_INFO, &[], b"")).contains("21130"));
}

#[test]
fn a_slave_is_told_its_master_and_the_ordered_topics() {
    let asked = Asked::new().with_java_brokers();
    let order = [("namespace", "ORDER_TOPIC_CONFIG"), ("key", "T"), ("value", "broker-49:4")];
    assert_eq!(asked.ask(request::PUT_KV_CONFIG, &order, b""), Command::success());
    let mut slave = registration("broker-49", "127.0.0.1:5", "1");
    slave[2] = ("clusterName", "DefaultCluster");
    let answer = asked.ask(request::REGISTER_BROKER, &slave, b"");
    assert_eq!(answer.field("masterAddr").as_deref(), Some("127.0.0.1:21130"));
    assert_eq!(answer.field("haServerAddr").as_deref(), Some("127.0.0.1:21131"));
    assert_eq!(text(&answer), r#"{"table":{"T":"broker-49:4"}}"#);
    let asked = Asked::with(Settings { order_configuration_to_brokers: false, ..Settings::default() });
    asked.ask(request::PUT_KV_CONFIG, &order, b"");
    assert_eq!(text(&asked.ask(request::REGISTER_BROKER, &registration("b", "h:1", "0"), b"")), "");
}

#[test]
fn registrations_that_cannot_be_are_refused() {
    let asked = Asked::new();
    let register =
        |fields: &[(&'static str, &str)], body: &[u8]| asked.ask(request::REGISTER_BROKER, fields, body);
    let good = registration("b", "127.0.0.1:1", "0");
    let with = |name: &'static str, value: &'static str| [&good[..], &[(name, value)]].concat();
    let two = topics(&["T", "U"]);
    for (fields, body, expected) in [
        (with("bodyCrc32", "5"), &two[..], "crc32 not match"),
        (with("bodyCrc32", "x"), &two, "the custom field <bodyCrc32> is not a 32-bit number"),
        (with("brokerId", "zero"), &two, "the custom field <brokerId> is not a 64-bit number"),
        (with("heartbeatTimeoutMillis", "1.5"), &two, "the custom field <heartbeatTimeoutMillis> is not"),
        (with("brokerName", "../b"), &two, "the broker name contains"),
        (with("brokerAddr", "127.0.0.1"), &two, "the broker address is not host:port"),
        (with("clusterName", " "), &two, "the cluster is blank"),
        (good.to_vec(), &two[..two.len() - 9], "registration body: EOF"),
        (good.to_vec(), b"x\xda\0", "compressed registration body"),
        (good.to_vec(), b"\xff\xff", "registration body"),
        (good.to_vec(), &topics(&["T"]), "register broker failed"),
    ] {
        check_refused(&register(&fields, body), code::SYSTEM_ERROR, expected);
    }
    assert_eq!(
        text(&asked.ask(request::GET_BROKER_CLUSTER_INFO, &[], b"")),
        r#"{"brokerAddrTable":{},"clusterAddrTable":{}}"#
    );
    assert_eq!(register(&good, &two), Command::success());
    let compressed = RegisterBrokerBody::decode(&two).unwrap().encode_compressed();
    let crc = RegisterBrokerBody::checksum(&compressed).to_string();
    let fields = [&good[..], &[("compressed", "true"), ("bodyCrc32", &crc)]].concat();
    assert_eq!(register(&fields, &compressed), Command::success());
}

#[test]
fn every_missing_field_is_named() {
    let asked = Asked::new();
    for (code, field) in [
        (request::REGISTER_BROKER, "brokerName"),
        (request::UNREGISTER_BROKER, "brokerName"),
        (request::BROKER_HEARTBEAT, "brokerAddr"),
        (request::QUERY_DATA_VERSION, "brokerName"),
        (request::GET_BROKER_MEMBER_GROUP, "clusterName"),
        (request::WIPE_WRITE_PERM_OF_BROKER, "brokerName"),
        (request::ADD_WRITE_PERM_OF_BROKER, "brokerName"),
        (request::GET_TOPICS_BY_CLUSTER, "cluster"),
        (request::REGISTER_TOPIC_IN_NAMESRV, "topic"),
        (request::DELETE_TOPIC_IN_NAMESRV, "topic"),
        (request::PUT_KV_CONFIG, "namespace"),
        (request::GET_KV_CONFIG, "namespace"),
        (request::DELETE_KV_CONFIG, "namespace"),
        (request::GET_KVLIST_BY_NAMESPACE, "namespace"),
    ] {
        let remark = format!("the custom field <{field}> is null");
        check_refused(&asked.ask(code, &[], b""), code::SYSTEM_ERROR, &remark);
    }
    // As in Java, nobody has a topic without a name.
    let route = asked.ask(request::GET_ROUTEINFO_BY_TOPIC, &[], b"");
    check_refused(&route, code::TOPIC_NOT_EXIST, "for the topic: null\n");
}

#[test]
fn keys_and_values() {
    let asked = Asked::new();
    let ask = |code, fields: &[(&'static str, &str)]| asked.ask(code, fields, b"");
    let key = [("namespace", "N"), ("key", "k")];
    check_refused(
        &ask(request::GET_KV_CONFIG, &key),
        code::QUERY_NOT_FOUND,
        "No config item, Namespace: N Key: k",
    );
    let put = |value: &str| ask(request::PUT_KV_CONFIG, &[key[0], key[1], ("value", value)]);
    assert_eq!(put("v中"), Command::success());
    assert_eq!(ask(request::GET_KV_CONFIG, &key), Command::success().with("value", "v中"));
    assert_eq!(text(&ask(request::GET_KVLIST_BY_NAMESPACE, &key[..1])), r#"{"table":{"k":"v中"}}"#);
    let none = ask(request::GET_KVLIST_BY_NAMESPACE, &[("namespace", "X")]);
    check_refused(&none, code::QUERY_NOT_FOUND, "No config item, Namespace: X");
    assert_eq!(ask(request::DELETE_KV_CONFIG, &key), Command::success());
    assert_eq!(ask(request::DELETE_KV_CONFIG, &key), Command::success());
    assert_eq!(text(&ask(request::GET_KVLIST_BY_NAMESPACE, &key[..1])), r#"{"table":{}}"#);
    check_refused(&put(&"v".repeat(70_000)), code::SYSTEM_ERROR, "the value has 70000 bytes");
    let bad = [("namespace", "../N"), ("key", "k"), ("value", "v")];
    check_refused(&ask(request::PUT_KV_CONFIG, &bad), code::SYSTEM_ERROR, "the namespace contains");
    let long = "n".repeat(100_000);
    let answer = ask(request::GET_KVLIST_BY_NAMESPACE, &[("namespace", &long)]);
    assert!(answer.code == code::QUERY_NOT_FOUND && answer.remark.unwrap().len() < 2000);
}

#[test]
fn the_order_of_a_topic_is_told_once_it_is_enabled() {
    let asked = Asked::new().with_java_brokers();
    let order = [("namespace", "ORDER_TOPIC_CONFIG"), ("key", "BenchmarkTest"), ("value", "broker-49:4")];
    asked.ask(request::PUT_KV_CONFIG, &order, b"");
    let route = || text(&asked.ask(request::GET_ROUTEINFO_BY_TOPIC, &[("topic", "BenchmarkTest")], b""));
    assert!(!route().contains("orderTopicConf"));
    let update = |body: &[u8]| asked.ask(request::UPDATE_NAMESRV_CONFIG, &[], body);
    assert_eq!(update(b""), Command::success());
    check_refused(&update(b"kvConfigPath=/x"), code::NO_PERMISSION, "not kvConfigPath=/x");
    check_refused(&update(b"\xff"), code::SYSTEM_ERROR, "the configuration is not UTF-8");
    assert!(!route().contains("orderTopicConf"));
    assert_eq!(update(b"orderMessageEnable=true\n"), Command::success());
    assert!(route().contains(r#""orderTopicConf":"broker-49:4""#));
    let configuration = text(&asked.ask(request::GET_NAMESRV_CONFIG, &[], b""));
    assert_eq!(configuration, "listenPort=9876\norderMessageEnable=false\n");
}

/// Java takes them from anybody.
#[test]
fn what_destroys_is_refused_to_other_machines() {
    let mut asked = Asked::new().with_java_brokers();
    let foreign = Peer::unconnected_to("10.0.0.1:9876".parse().unwrap(), "10.0.0.9:50000".parse().unwrap());
    asked.peer = foreign.clone();
    let mut refused = 0;
    for code in 0..4000 {
        let answer = asked.ask(code, &[], b"");
        match RequestClass::of(code) {
            Some((RequestClass::Destroy, name)) => {
                check_refused(
                    &answer,
                    code::NO_PERMISSION,
                    &format!("{name} ({code}) is refused to 10.0.0.9: "),
                );
                check_refused(&answer, code::NO_PERMISSION, "add 10.0.0.9 to adminAllowedNetworks in");
                refused += 1;
            }
            Some(_) => assert_ne!(answer.code, code::NO_PERMISSION, "{code}: {answer:?}"),
            None => assert_eq!(answer.code, code::REQUEST_CODE_NOT_SUPPORTED, "{code}"),
        }
    }
    assert!(refused > 30, "{refused}");
    let topic = [("topic", "BenchmarkTest")];
    assert_eq!(asked.ask(request::GET_ROUTEINFO_BY_TOPIC, &topic, b"").code, code::SUCCESS);

    // The same request, when the network is allowed.
    let access = Arc::new(AdminAccess::new("10.0.0.0/24".parse().unwrap()));
    let file = asked.folder.join("kvConfig.json");
    asked.server = NameServer::new(Settings::default(), file, Arc::new(OneKey), access).unwrap();
    assert_eq!(asked.ask(request::DELETE_TOPIC_IN_NAMESRV, &topic, b"").code, code::SUCCESS);
    assert_eq!(
        asked.ask(request::UPDATE_NAMESRV_CONFIG, &[], b"orderMessageEnable=true").code,
        code::SUCCESS
    );
    // It does not open the door further.
    for text in
        ["adminAllowedNetworks=0.0.0.0/0", "orderMessageEnable=true\nadmin\\u0041llowedNetworks : ::/0"]
    {
        let answer = asked.ask(request::UPDATE_NAMESRV_CONFIG, &[], text.as_bytes());
        check_refused(&answer, code::NO_PERMISSION, "adminAllowedNetworks is changed from this machine only");
    }
    asked.peer = peer();
    let answer = asked.ask(request::UPDATE_NAMESRV_CONFIG, &[], b"adminAllowedNetworks=::/0");
    check_refused(&answer, code::NO_PERMISSION, "not adminAllowedNetworks=::/0");
}

#[test]
fn other_codes_are_not_supported() {
    let asked = Asked::new();
    for code in [0, -1, request::SEND_MESSAGE, 999, request::REGISTER_FILTER_SERVER] {
        let remark = format!(" request type {code} not supported");
        check_refused(&asked.ask(code, &[], b""), code::REQUEST_CODE_NOT_SUPPORTED, &remark);
    }
}
