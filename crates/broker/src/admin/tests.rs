// SPDX-License-Identifier: Apache-2.0
//! Tools ask a whole broker over a store in a temporary folder. What is expected was seen on Java 5.3.3, unless a
//! comment says otherwise.

use super::{Configuration, UpdateRefused};
use crate::{Settings, fixture};
use oxmq_remoting::{code::request as codes, fastjson};
use oxmq_types::{Properties, QueueId, QueueOffset, TagsCode};
use serde_json::{Value, json};
use std::{
    ops::Deref,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

/// Settings of which one may change.
#[derive(Default)]
struct OneKey(Mutex<Properties>);

impl Configuration for OneKey {
    fn read(&self) -> Properties {
        self.0.lock().unwrap().clone()
    }

    fn update(&self, changes: &Properties) -> Result<Option<String>, UpdateRefused> {
        for (key, value) in changes.iter() {
            match (key, value) {
                ("traceOn", "true" | "false") => self.0.lock().unwrap().set(key, value),
                ("traceOn", _) => {
                    return Err(UpdateRefused::Impossible(format!("{value} is not true or false")));
                }
                _ => return Err(UpdateRefused::NotAllowed(format!("{key} is fixed"))),
            }
        }
        Ok(None)
    }
}

/// A whole broker that tools ask.
struct Fixture(fixture::Fixture);

impl Deref for Fixture {
    type Target = fixture::Fixture;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Fixture {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Settings)) -> Self {
        Self(fixture::Fixture::with(|settings| {
            settings.topics.default_queues = 8;
            settings.sends.region = "DefaultRegion".into();
            settings.admin.configuration = Arc::new(OneKey::default());
            change(settings);
        }))
    }

    /// The body of a successful answer, as text.
    async fn text(&self, code: i32, fields: Value) -> String {
        let answer = self.ask(code, fields, b"").await;
        assert_eq!((answer.code, &answer.remark), (0, &None));
        answer.body.pieces().iter().map(|piece| String::from_utf8_lossy(piece).into_owned()).collect()
    }

    async fn json(&self, code: i32, fields: Value) -> Value {
        fastjson::from_slice(self.text(code, fields).await.as_bytes()).unwrap()
    }

    async fn succeeds(&self, code: i32, fields: Value, body: &[u8]) {
        let answer = self.ask(code, fields, body).await;
        assert_eq!((answer.code, answer.remark), (0, None));
    }

    async fn succeeds_with_body(&self, code: i32, fields: Value) {
        self.text(code, fields).await;
    }

    /// Asks for what is refused, and checks the code and how the remark begins.
    async fn refused(&self, code: i32, fields: Value, body: &[u8], expected: (i32, &str)) {
        let answer = self.ask(code, fields.clone(), body).await;
        let remark = answer.remark.clone().unwrap_or_default();
        assert_eq!(answer.code, expected.0, "{code} {fields}: {remark}");
        assert!(remark.starts_with(expected.1), "{code} {fields}: {remark}");
    }

    async fn send(&self, topic: &str, queue: i32) {
        let fields = json!({"a": "P", "b": topic, "c": "TBW102", "d": 4, "e": queue, "f": 0, "g": 1, "h": 0, "i": "TAGS\u{1}T\u{2}"});
        assert_eq!(self.ask(codes::SEND_MESSAGE_V2, fields, b"hello").await.code, 0);
    }

    /// Commits an offset, of a group that is made for it: those of others are refused.
    async fn commit(&self, group: &str, topic: &str, queue: i32, next: i64) {
        let config = json!({"groupName": group}).to_string();
        self.succeeds(codes::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, json!({}), config.as_bytes()).await;
        let fields = json!({"consumerGroup": group, "topic": topic, "queueId": queue, "commitOffset": next});
        self.succeeds(codes::UPDATE_CONSUMER_OFFSET, fields, b"").await;
    }

    async fn heartbeat(&self, group: &str, topic: &str) {
        let body = json!({"clientID": "c@1", "producerDataSet": [{"groupName": "P"}], "consumerDataSet": [{
            "groupName": group, "consumeType": "CONSUME_PASSIVELY", "messageModel": "CLUSTERING",
            "consumeFromWhere": "CONSUME_FROM_FIRST_OFFSET",
            "subscriptionDataSet": [{"topic": topic, "subString": "*", "subVersion": 7, "expressionType": "TAG"}],
        }]});
        assert_eq!(self.ask(codes::HEART_BEAT, json!({}), body.to_string().as_bytes()).await.code, 0);
    }
}

fn create(topic: &str) -> Value {
    json!({"topic": topic, "defaultTopic": "TBW102", "readQueueNums": 4, "writeQueueNums": 3, "perm": 6,
        "topicFilterType": "SINGLE_TAG", "topicSysFlag": 0, "order": "false"})
}

fn with(mut fields: Value, name: &str, value: impl Into<Value>) -> Value {
    fields[name] = value.into();
    fields
}

fn without(mut fields: Value, name: &str) -> Value {
    fields.as_object_mut().unwrap().remove(name);
    fields
}

#[tokio::test]
async fn topics_are_made_changed_and_listed() {
    let tools = Fixture::new();
    tools.succeeds(17, with(create("T"), "attributes", "+message.type=FIFO"), b"").await;
    let expected = json!({"attributes": {"message.type": "FIFO"}, "order": false, "perm": 6, "readQueueNums": 4,
        "topicFilterType": "SINGLE_TAG", "topicName": "T", "topicSysFlag": 0, "writeQueueNums": 3});
    assert_eq!(tools.json(351, json!({"topic": "T"})).await, expected);
    // It was answered when it was on disk.
    let file = std::fs::read_to_string(tools.folder.path().join("config/topics.json")).unwrap();
    assert!(file.contains("\"T\""), "{file}");

    // What a change does not say about attributes stays; queues may become fewer.
    tools
        .succeeds(17, with(without(without(create("T"), "order"), "defaultTopic"), "readQueueNums", 0), b"")
        .await;
    let changed = tools.json(351, json!({"topic": "T"})).await;
    assert_eq!((&changed["readQueueNums"], &changed["attributes"]), (&json!(0), &expected["attributes"]));

    let before = tools.json(21, json!({})).await;
    assert_eq!(before["topicConfigTable"]["T"], changed);
    assert!(before["topicQueueMappingDetailMap"].is_object() && before["mappingDataVersion"].is_object());
    tools.succeeds(17, with(create("T"), "readQueueNums", 0), b"").await;
    assert_eq!(tools.json(21, json!({})).await, before, "nothing new, no new version");

    let list = json!({"topicConfigList": [{"topicName": "L1", "perm": 6, "attributes": {"+message.type": "DELAY"}}, {"topicName": "L2"}]});
    tools.succeeds(18, json!({}), list.to_string().as_bytes()).await;
    assert_eq!(tools.json(351, json!({"topic": "L1"})).await["attributes"]["message.type"], "DELAY");
    assert_eq!(tools.json(351, json!({"topic": "L2"})).await["readQueueNums"], 16);

    let system = tools.json(305, json!({})).await;
    let system = system["topicList"].as_array().unwrap();
    for topic in ["TBW102", "C", "B", "rmq_sys_REVIVE_LOG_C", "RMQ_SYS_TRACE_TOPIC", "C_REPLY_TOPIC"] {
        assert!(system.contains(&json!(topic)), "{topic}");
    }
}

#[tokio::test]
async fn impossible_topics_are_refused_and_nothing_changes() {
    let tools = Fixture::new();
    let before = tools.text(21, json!({})).await;
    let illegal = "The specified topic contains illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$";
    for (fields, code, remark) in [
        (without(create("N"), "perm"), 1, "the custom field <perm> is null"),
        (without(create("N"), "topic"), 1, "the custom field <topic> is null"),
        (
            with(create("N"), "writeQueueNums", "x"),
            1,
            "the custom field <writeQueueNums> is not a 32-bit number",
        ),
        (with(create("N"), "topicFilterType", "X"), 1, "topicFilterType = [X] value invalid"),
        (create("../x"), 29, illegal),
        (create("主题"), 29, illegal),
        (create(""), 29, "The specified topic is blank."),
        (create(&"x".repeat(128)), 29, "The specified topic is longer than topic max length."),
        (create("TBW102"), 29, "The topic[TBW102] is conflict with system topic."),
        (create("rmq_sys_x"), 29, "The topic[rmq_sys_x] is conflict with system topic."),
        (create("C"), 29, "The topic[C] is conflict with system topic."),
        // Java takes these.
        (with(create("N"), "readQueueNums", -1), 29, "readQueueNums[-1] is illegal"),
        (with(create("N"), "writeQueueNums", i32::MAX), 29, "writeQueueNums[2147483647] is illegal"),
        (with(create("N"), "perm", 8), 29, "perm[8] is illegal"),
        (with(create("N"), "perm", -1), 29, "perm[-1] is illegal"),
        (with(create("N"), "topicSysFlag", -1), 29, "topicSysFlag[-1] is illegal"),
        (with(create("N"), "attributes", "+foo=1"), 1, "unsupported key: foo"),
        (with(create("N"), "attributes", "+message.type=MIXED"), 29, "MIXED message type is not supported."),
    ] {
        tools.refused(17, fields, b"", (code, remark)).await;
    }
    for (body, code, remark) in [
        ("", 1, "the body cannot be read"),
        ("xx", 1, "the body cannot be read"),
        ("{}", 1, "the body cannot be read"),
        (r#"{"topicConfigList":[]}"#, 29, "the list of topics is empty"),
        // One illegal topic refuses all.
        (r#"{"topicConfigList":[{"topicName":"good"},{"topicName":"a/b"}]}"#, 29, illegal),
        (
            r#"{"topicConfigList":[{"topicName":"good"},{"topicName":"n","perm":99}]}"#,
            29,
            "perm[99] is illegal",
        ),
        (r#"{"topicConfigList":[{"topicName":"n","readQueueNums":-1}]}"#, 1, "the body cannot be read"),
    ] {
        tools.refused(18, json!({}), body.as_bytes(), (code, remark)).await;
    }
    let long = vec![b' '; super::BODY_MAX_BYTES + 1];
    tools.refused(18, json!({}), &long, (1, "the body cannot be read: 2097153 bytes")).await;
    let many = format!(r#"{{"topicConfigList":[{}{{}}]}}"#, "{},".repeat(super::LIST_MAX));
    let remark = "the body cannot be read: invalid length 10001, expected a list of at most 10000 entries";
    tools.refused(18, json!({}), many.as_bytes(), (1, remark)).await;
    tools.refused(351, json!({"topic": "N"}), b"", (17, "topic[N] not exist")).await;
    tools.refused(351, json!({}), b"", (1, "the custom field <topic> is null")).await;
    assert_eq!(tools.text(21, json!({})).await, before);
}

#[tokio::test]
async fn a_deleted_topic_leaves_nothing_behind() {
    let tools = Fixture::new();
    for _ in 0..3 {
        tools.send("T", 0).await;
    }
    tools.commit("G", "T", 0, 3).await;
    tools.store.flush().unwrap();
    tools.succeeds(215, json!({"topic": "T"}), b"").await;
    tools.refused(202, json!({"topic": "T"}), b"", (17, "topic[T] not exist")).await;
    assert_eq!(tools.json(343, json!({"group": "G"})).await["topicList"], json!([]));
    let config = tools.folder.path().join("config");
    assert!(!std::fs::read_to_string(config.join("consumerOffset.json")).unwrap().contains("T@G"));
    assert!(!std::fs::read_to_string(config.join("topics.json")).unwrap().contains("\"T\""));
    assert!(!tools.folder.path().join("consumequeue/T").exists());
    // It can be made again, and starts at 0.
    tools.send("T", 0).await;
    assert!(tools.text(202, json!({"topic": "T"})).await.contains(r#""maxOffset":1,"minOffset":0"#));

    tools.succeeds(215, json!({"topic": "nobody"}), b"").await;
    for (topic, remark) in [
        ("TBW102", "The topic[TBW102] is conflict with system topic."),
        ("C", "The topic[C] is conflict with system topic."),
        ("", "The specified topic is blank."),
        ("../x", "The specified topic contains illegal characters"),
    ] {
        tools.refused(215, json!({"topic": topic}), b"", (29, remark)).await;
    }
    tools.refused(215, json!({}), b"", (1, "the custom field <topic> is null")).await;
}

#[tokio::test]
async fn a_producer_that_goes_on_has_its_topic_made_anew() {
    // A send between the removal of a topic and that of its files made the topic again, whose queues then were
    // removed under it: it took no message any more until the next start.
    let tools = Fixture::new();
    let over = Arc::new(AtomicBool::new(false));
    let (broker, peer, until) = (tools.broker.clone(), tools.peer.clone(), over.clone());
    let producer = std::thread::spawn(move || {
        let fields = json!({"a": "P", "b": "T", "c": "TBW102", "d": 4, "e": 0, "f": 0, "g": 1, "h": 0});
        while !until.load(Ordering::Relaxed) {
            drop(fixture::handle((&broker, 479), &peer, codes::SEND_MESSAGE_V2, &fields, b"x"));
        }
    });
    for _ in 0..100 {
        tools.succeeds(215, json!({"topic": "T"}), b"").await;
        tools.send("T", 0).await;
    }
    over.store(true, Ordering::Relaxed);
    producer.join().unwrap();
}

#[tokio::test]
async fn groups_are_made_changed_and_deleted() {
    let tools = Fixture::new();
    let group = json!({"groupName": "G", "retryQueueNums": 2, "retryMaxTimes": -1, "consumeMessageOrderly": true, "attributes": {}});
    tools.succeeds(200, json!({}), group.to_string().as_bytes()).await;
    let found = tools.json(352, json!({"group": "G"})).await;
    assert_eq!((&found["retryQueueNums"], &found["retryMaxTimes"]), (&json!(2), &json!(-1)));
    assert_eq!(found["consumeMessageOrderly"], true, "what is not known here is kept");
    let list = json!({"groupConfigList": [{"groupName": "A"}, {"groupName": "%x|y-z_"}]});
    tools.succeeds(225, json!({}), list.to_string().as_bytes()).await;
    let all = tools.json(201, json!({})).await;
    for name in ["G", "A", "%x|y-z_", "TOOLS_CONSUMER"] {
        assert_eq!(all["subscriptionGroupTable"][name]["groupName"], name);
    }
    let file = || std::fs::read_to_string(tools.folder.path().join("config/subscriptionGroup.json")).unwrap();
    assert!(file().contains("%x|y-z_"), "answered when on disk");

    // Asking for settings is using: the group is made.
    assert_eq!(tools.json(352, json!({"group": "new"})).await["retryMaxTimes"], 16);

    tools.send("T", 0).await;
    tools.commit("G", "T", 0, 1).await;
    tools.succeeds(207, json!({"groupName": "A"}), b"").await;
    tools.succeeds(207, json!({"groupName": "G"}), b"").await;
    assert!(!file().contains("\"G\""));
    assert_eq!(tools.json(343, json!({"group": "G"})).await["topicList"], json!(["T"]), "offsets stay");
    tools.succeeds(207, json!({"groupName": "G", "cleanOffset": "true"}), b"").await;
    assert_eq!(tools.json(343, json!({"group": "G"})).await["topicList"], json!([]));
}

#[tokio::test]
async fn impossible_groups_are_refused_and_nothing_changes() {
    let tools = Fixture::new();
    let before = tools.text(201, json!({})).await;
    let illegal = "The specified group contains illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$";
    for (body, code, remark) in [
        ("", 1, "the body cannot be read"),
        ("xx", 1, "the body cannot be read"),
        ("[]", 1, "the body cannot be read"),
        (r#"{"groupName":"g","retryQueueNums":99999999999}"#, 1, "the body cannot be read"),
        (r#"{"groupName":"g","attributes":{"+x":"1"}}"#, 1, "unsupported key: x"),
        // Java takes these, or fails with an exception.
        ("{}", 29, "The specified group is blank."),
        (r#"{"groupName":"a/b"}"#, 29, illegal),
        (r#"{"groupName":"g","retryQueueNums":-3}"#, 1, "the body cannot be read"),
        (r#"{"groupName":"g","retryQueueNums":65537}"#, 29, "retryQueueNums[65537] is illegal"),
    ] {
        tools.refused(200, json!({}), body.as_bytes(), (code, remark)).await;
        let list = format!(r#"{{"groupConfigList":[{{"groupName":"good"}},{body}]}}"#);
        tools.refused(225, json!({}), list.as_bytes(), (code, remark)).await;
    }
    tools.refused(225, json!({}), b"{}", (1, "the body cannot be read")).await;
    let long = format!(r#"{{"groupName":"g","x":"{}"}}"#, "x".repeat(16 * 1024));
    tools.refused(200, json!({}), long.as_bytes(), (1, "the body cannot be read")).await;
    tools.refused(352, json!({"group": "../x"}), b"", (26, "No group in this broker")).await;
    tools.refused(352, json!({}), b"", (1, "the custom field <group> is null")).await;
    tools.refused(207, json!({}), b"", (1, "the custom field <groupName> is null")).await;
    assert_eq!(tools.text(201, json!({})).await, before);
}

#[tokio::test]
async fn progress_of_queues_and_groups() {
    let tools = Fixture::new();
    for queue in [0, 0, 1] {
        tools.send("T", queue).await;
    }
    tools.commit("G", "T", 0, 1).await;
    let stats = tools.text(202, json!({"topic": "T"})).await;
    let queue = |id: u32| format!(r#"{{"brokerName":"B","queueId":{id},"topic":"T"}}:"#);
    assert!(
        stats.starts_with(&format!(r#"{{"offsetTable":{{{}{{"lastUpdateTimestamp":1"#, queue(0))),
        "{stats}"
    );
    assert!(stats.contains(r#""maxOffset":2,"minOffset":0"#), "{stats}");
    let empty = format!(r#"{}{{"lastUpdateTimestamp":0,"maxOffset":0,"minOffset":0}}"#, queue(3));
    assert!(stats.ends_with(&format!(r#"{empty}}},"topicPutTps":0.0}}"#)), "{stats}");
    let queues = tools.store.queues().into_iter().filter(|(topic, _)| **topic == *"T");
    assert_eq!(queues.count(), 2, "asking makes no queues");
    tools.refused(202, json!({"topic": "x"}), b"", (17, "topic[x] not exist")).await;
    tools.refused(202, json!({}), b"", (1, "the custom field <topic> is null")).await;

    let stats = tools.text(208, json!({"consumerGroup": "G"})).await;
    let first = format!(
        r#"{{"consumeTps":0.0,"offsetTable":{{{}{{"brokerOffset":2,"consumerOffset":1,"lastTimestamp":1"#,
        queue(0)
    );
    assert!(stats.starts_with(&first), "{stats}");
    let untouched = r#"{"brokerOffset":1,"consumerOffset":0,"lastTimestamp":0,"pullOffset":0}"#;
    assert!(stats.contains(&format!("{}{untouched}", queue(1))), "{stats}");
    assert_eq!(tools.text(208, json!({"consumerGroup": "G", "topic": "T"})).await, stats);
    assert_eq!(tools.text(208, json!({"consumerGroup": "G", "topicList": "T;x;"})).await, stats);
    let nothing = r#"{"consumeTps":0.0,"offsetTable":{}}"#;
    assert_eq!(tools.text(208, json!({"consumerGroup": "nobody"})).await, nothing);
    assert_eq!(tools.text(208, json!({"consumerGroup": "G", "topic": "x"})).await, nothing);
    tools.refused(208, json!({}), b"", (1, "the custom field <consumerGroup> is null")).await;
    // Online, a group is asked only for what it subscribes to.
    tools.heartbeat("G", "U").await;
    assert_eq!(tools.text(208, json!({"consumerGroup": "G"})).await, nothing);
    tools.heartbeat("G", "T").await;
    assert_eq!(tools.text(208, json!({"consumerGroup": "G"})).await, stats);

    let all = tools.text(317, json!({"isOrder": "false"})).await;
    assert!(all.starts_with(r#"{"brokerAddr":"127.0.0.1:10911","consumeStatsList":[{"#), "{all}");
    assert!(all.contains(r#"{"G":[{"consumeTps":0.0,"offsetTable":{"#), "{all}");
    assert!(all.ends_with(r#"],"totalDiff":2,"totalInflightDiff":0}"#), "{all}");
    assert!(tools.text(317, json!({"isOrder": "true"})).await.contains(r#"{"G":[]}"#));

    let spans = tools.json(303, json!({"topic": "T", "group": "G"})).await;
    let span = &spans["consumeTimeSpanSet"][0];
    assert_eq!(span["messageQueue"], json!({"brokerName": "B", "queueId": 0, "topic": "T"}));
    assert_eq!(span["consumeTimeStamp"], span["minTimeStamp"]);
    assert_eq!(spans["consumeTimeSpanSet"][3]["maxTimeStamp"], -1);
    tools.refused(303, json!({"topic": "x", "group": "G"}), b"", (17, "topic[x] not exist")).await;

    assert_eq!(tools.json(43, json!({})).await["offsetTable"], json!({"T@G": {"0": 1}}));
    assert_eq!(tools.json(45, json!({})).await["offsetTable"], json!({}));
}

#[tokio::test]
async fn who_is_connected() {
    let tools = Fixture::new();
    tools.refused(203, json!({"consumerGroup": "G"}), b"", (206, "the consumer group[G] not online")).await;
    tools.refused(204, json!({"producerGroup": "P"}), b"", (1, "the producer group[P] not exist")).await;
    assert_eq!(tools.json(328, json!({})).await, json!({"data": {}}));
    tools.heartbeat("G", "T").await;
    let connection =
        json!({"clientAddr": "127.0.0.1:5000", "clientId": "c@1", "language": "JAVA", "version": 479});
    let consumers = tools.json(203, json!({"consumerGroup": "G"})).await;
    assert_eq!(consumers["connectionSet"], json!([connection]));
    assert_eq!(consumers["consumeType"], "CONSUME_PASSIVELY");
    assert_eq!(consumers["messageModel"], "CLUSTERING");
    assert_eq!(consumers["consumeFromWhere"], "CONSUME_FROM_FIRST_OFFSET");
    assert_eq!(consumers["subscriptionTable"]["T"]["subString"], "*");
    assert_eq!(tools.json(204, json!({"producerGroup": "P"})).await, json!({"connectionSet": [connection]}));
    assert_eq!(tools.json(328, json!({})).await["data"]["P"][0]["remoteIP"], "/127.0.0.1:5000");

    tools.send("T", 0).await;
    tools.commit("other", "T", 0, 1).await;
    assert_eq!(tools.json(300, json!({"topic": "T"})).await, json!({"groupList": ["G", "other"]}));
    assert_eq!(tools.json(300, json!({"topic": "x"})).await, json!({"groupList": []}));
    let topics = json!({"brokerAddr": "127.0.0.1:10911", "topicList": ["T"]});
    assert_eq!(tools.json(343, json!({"group": "other"})).await, topics);
    assert_eq!(
        tools.json(345, json!({"group": "G", "topic": "T"})).await["subscriptionData"]["subVersion"],
        7
    );
    assert_eq!(
        tools.json(345, json!({"group": "x", "topic": "T"})).await,
        json!({"group": "x", "topic": "T"})
    );
    for code in [203, 204, 300, 343, 345] {
        tools.refused(code, json!({}), b"", (1, "the custom field <")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_goes_on_to_a_client_comes_back_or_times_out() {
    let tools = Fixture::new();
    let call = json!({"consumerGroup": "G", "clientId": "c@1"});
    tools.refused(307, call.clone(), b"", (1, "The Consumer <G> <c@1> not online")).await;
    tools.refused(307, json!({}), b"", (1, "the custom field <consumerGroup> is null")).await;
    tools.heartbeat("G", "T").await;
    tools
        .refused(307, with(call.clone(), "clientId", "x"), b"", (1, "The Consumer <G> <x> not online"))
        .await;
    // This client never answers.
    tools.refused(307, call.clone(), b"", (207, "consumer <G> <c@1> Timeout: ")).await;
    tools.send("T", 0).await;
    let id = "7F00000100002A9F0000000000000000";
    tools.refused(309, with(call.clone(), "msgId", id), b"", (207, "consumer <G> <c@1> Timeout: ")).await;
    let gone = "7F00000100002A9F0000000000000007";
    tools
        .refused(309, with(call.clone(), "msgId", gone), b"", (1, "can not find message by the offset, 7"))
        .await;
    tools.refused(309, with(call, "msgId", "zz"), b"", (29, "msgId[zz]: ")).await;
}

#[tokio::test]
async fn messages_are_found_by_their_keys() {
    let tools = Fixture::new();
    let send = async |topic: &str, properties: &str| {
        let fields = json!({"a": "P", "b": topic, "c": "TBW102", "d": 4, "e": 0, "f": 0, "g": 1, "h": 0, "i": properties});
        assert_eq!(tools.ask(codes::SEND_MESSAGE_V2, fields, b"hello").await.code, 0);
    };
    for i in 0..70 {
        send("T", &format!("KEYS\u{1}Aa all\u{2}UNIQ_KEY\u{1}U{i}\u{2}")).await;
    }
    send("T", "KEYS\u{1}BB\u{2}UNIQ_KEY\u{1}U0\u{2}").await;
    let query = |key: &str| json!({"topic": "T", "key": key, "maxNum": 5, "beginTimestamp": 0, "endTimestamp": i64::MAX});
    let found = async |fields: Value| {
        let answer = tools.ask(12, fields, b"").await;
        assert_eq!((answer.code, answer.remark), (0, None));
        let of = |piece: &[u8]| oxmq_record::RecordView::parse(piece).unwrap().queue_offset().0;
        answer.body.pieces().iter().map(|piece| of(piece)).collect::<Vec<_>>()
    };
    assert_eq!(found(query("all")).await, [65, 66, 67, 68, 69]);
    assert_eq!(found(with(query("all"), "maxNum", 1000)).await, Vec::from_iter(6..70));
    // The other key has the same hash.
    assert_eq!(found(query("BB")).await, [70]);
    assert_eq!(found(query("U69")).await, [69]);
    let unique = with(with(query("U0"), "_UNIQUE_KEY_QUERY", "true"), "maxNum", 1);
    assert_eq!(found(unique.clone()).await, [0, 70]);
    assert_eq!(found(with(unique, "_UNIQUE_KEY_QUERY", "false")).await, [70]);

    let answer = tools.ask(12, query("U0"), b"").await;
    let last = tools.ask(12, query("BB"), b"").await.body.pieces()[0].clone();
    let last = oxmq_record::RecordView::parse(&last).unwrap();
    for (name, value) in [
        ("indexLastUpdateTimestamp", last.store_timestamp_ms().to_string()),
        ("indexLastUpdatePhyoffset", last.physical_offset().0.to_string()),
    ] {
        assert_eq!(answer.field(name).as_deref(), Some(&*value));
    }

    let nothing = (22, "can not find message, maybe time range not correct");
    for fields in [
        query("absent"),
        query(""),
        with(query("all"), "topic", "../T"),
        with(query("all"), "maxNum", 0),
        with(query("all"), "beginTimestamp", i64::MAX),
        with(query("all"), "endTimestamp", 0),
        with(query("all"), "endTimestamp", i64::MIN),
    ] {
        tools.refused(12, fields, b"", nothing).await;
    }
    tools.refused(12, with(query("all"), "maxNum", -1), b"", (1, "maxNum[-1] is negative")).await;
    tools.refused(12, with(query("all"), "maxNum", "x"), b"", (1, "the custom field <maxNum> is not")).await;
    tools.refused(12, json!({"topic": "T"}), b"", (1, "the custom field <")).await;
}

#[tokio::test]
async fn offsets_are_corrected_by_those_of_other_groups() {
    let tools = Fixture::new();
    for queue in [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1] {
        tools.send("T", queue).await;
    }
    for (group, next) in [("G", 5), ("H", 3), ("I", 9)] {
        tools.commit(group, "T", 0, next).await;
    }
    tools.commit("I", "T", 1, 2).await;
    for (without, compared, expected) in [
        ("", "absent", json!({"0": 3, "1": 2})),
        ("", "G", json!({"0": 3, "1": 2})),
        ("H,I", "absent", json!({"0": 5})),
        ("G,H", "G", json!({"0": i64::MAX, "1": 2})),
        // What is left out here is not forgotten, as it is in Java.
        ("", "G", json!({"0": 3, "1": 2})),
    ] {
        let fields = json!({"topic": "T", "compareGroup": compared, "filterGroups": without});
        assert_eq!(
            tools.json(308, fields).await,
            json!({"correctionOffsets": expected}),
            "{without} {compared}"
        );
    }
    tools.refused(308, json!({"topic": "T"}), b"", (1, "the custom field <compareGroup> is null")).await;
}

#[tokio::test]
async fn messages_and_units_are_found_where_they_are() {
    let tools = Fixture::new();
    tools.send("T", 0).await;
    tools.send("T", 0).await;
    let size = tools.store.max_physical().0 / 2;
    let record = tools.ask(33, json!({"offset": size}), b"").await;
    assert_eq!((record.code, record.body.len() as u64), (0, size));
    for (offset, remark) in [
        (json!(-1), "can not find message by the offset, -1"),
        (json!(7), "can not find message by the offset, 7"),
        (json!(i64::MAX), "can not find message by the offset, 9223372036854775807"),
        (json!("99999999999999999999"), "the custom field <offset> is not a 64-bit number"),
    ] {
        tools.refused(33, json!({"offset": offset}), b"", (1, remark)).await;
    }
    tools.refused(33, json!({}), b"", (1, "the custom field <offset> is null")).await;

    let query = json!({"topic": "T", "queueId": 0, "index": 1, "count": 9, "consumerGroup": "G"});
    let unit = json!({"eval": false, "physicOffset": size, "physicSize": size, "tagsCode": 84});
    let found = tools.json(321, query.clone()).await;
    assert_eq!(found["queueData"], json!([unit]));
    assert_eq!((&found["minQueueIndex"], &found["maxQueueIndex"]), (&json!(0), &json!(2)));
    assert_eq!(found["filterData"], "G@T is not online!");
    for count in [-1, 0] {
        let fields = with(query.clone(), "count", count);
        tools.refused(321, fields, b"", (0, "Index 1 of 0@T is not exist!")).await;
    }
    for index in [-1, 2, i64::MAX] {
        let fields = with(query.clone(), "index", index);
        tools.refused(321, fields, b"", (0, &format!("Index {index} of 0@T is not exist!"))).await;
    }
    for queue in [-1, 1, i32::MAX] {
        let fields = with(query.clone(), "queueId", queue);
        tools.refused(321, fields, b"", (1, &format!("{queue}@T is not exist!"))).await;
    }
    tools.refused(321, with(query, "topic", "../x"), b"", (1, "0@../x is not exist!")).await;
}

#[tokio::test]
async fn the_broker_says_how_it_is_doing() {
    let tools = Fixture::new();
    let info = tools.json(28, json!({})).await;
    assert_eq!(info["table"]["earliestMessageTimeStamp"], "-1");
    tools
        .refused(
            315,
            json!({"statsName": "TOPIC_PUT_NUMS", "statsKey": "T"}),
            b"",
            (1, "The stats <TOPIC_PUT_NUMS> <T> not exist"),
        )
        .await;
    for _ in 0..3 {
        tools.send("T", 0).await;
    }
    let pull = |most: i32| {
        json!({"consumerGroup": "G", "topic": "T", "queueId": 0, "queueOffset": 0, "maxMsgNums": most, "sysFlag": 4,
            "commitOffset": 0, "suspendTimeoutMillis": 0, "subVersion": 0, "subscription": "*"})
    };
    tools.commit("G", "T", 0, 0).await;
    assert_eq!(tools.ask(codes::PULL_MESSAGE, pull(2), b"").await.code, 0);
    tools.commit("G", "T", 0, 1).await;
    let stats = tools.text(208, json!({"consumerGroup": "G", "topic": "T"})).await;
    assert!(stats.contains(r#""brokerOffset":3,"consumerOffset":1,"#), "{stats}");
    assert!(stats.contains(r#""pullOffset":2"#), "one is on its way: {stats}");
    tools.send("RMQ_SYS_TRACE_TOPIC", 0).await;
    let info = tools.json(28, json!({})).await;
    let table = &info["table"];
    for (key, value) in [
        ("brokerVersion", "479"),
        ("brokerVersionDesc", "V5_3_3"),
        ("brokerActive", "true"),
        ("msgPutTotalTodayNow", "3"),
        ("msgPutTotalTodayMorning", "0"),
        ("msgGetTotalTodayNow", "2"),
        ("putMessageTimesTotal", "4"),
        ("commitLogMinOffset", "0"),
        ("dispatchBehindBytes", "0"),
        ("sendThreadPoolQueueSize", "0"),
        ("pageCacheLockTimeMills", "0"),
    ] {
        assert_eq!(table[key], value, "{key}");
    }
    assert_eq!(table["commitLogMaxOffset"], tools.store.max_physical().0.to_string());
    let number = |text: &Value| text.as_str().unwrap().parse::<f64>().unwrap();
    assert!((0.0..=1.0).contains(&number(&table["commitLogDiskRatio"])), "{table}");
    assert!(number(&table["earliestMessageTimeStamp"]) > 1.0e12, "{table}");
    let put: Vec<f64> =
        table["putTps"].as_str().unwrap().split(' ').map(|tps| tps.parse().unwrap()).collect();
    assert!(put.len() == 3 && put[0] > 0.0, "{table}");
    // 4.9 reads the one, 5.x the other.
    assert!(table["getTransferedTps"].is_string() && table["getTransferredTps"].is_string(), "{table}");

    tools.broker.admin.sample();
    let sum = async |name: &str, key: &str| {
        tools.json(315, json!({"statsName": name, "statsKey": key})).await["statsMinute"]["sum"].clone()
    };
    assert_eq!(sum("TOPIC_PUT_NUMS", "T").await, 3);
    assert_eq!(sum("GROUP_GET_NUMS", "T@G").await, 2);
    assert_eq!(sum("BROKER_PUT_NUMS", "C").await, 4);
    tools.refused(315, json!({"statsName": "x"}), b"", (1, "the custom field <statsKey> is null")).await;
}

#[tokio::test]
async fn configuration_is_read_and_changed() {
    let tools = Fixture::new();
    tools.succeeds(25, json!({}), b"traceOn=false\n").await;
    let answer = tools.ask(26, json!({}), b"").await;
    assert_eq!(answer.body.pieces(), [b"traceOn=false\n".as_slice()]);
    assert!(answer.field("version").unwrap().starts_with(r#"{"counter":1,"stateVersion":0,"timestamp":1"#));
    for (text, code, remark) in [
        (b"brokerName=x\n".as_slice(), 16, "brokerName is fixed"),
        (b"traceOn=maybe\n", 29, "maybe is not true or false"),
        (b"traceOn=\\u12\n", 1, "the body cannot be read: line 1"),
        (b"traceOn=\xff\n", 1, "the body cannot be read: "),
    ] {
        tools.refused(25, json!({}), text, (code, remark)).await;
    }
    assert_eq!(tools.ask(26, json!({}), b"").await.body, answer.body);
    // As Java: nothing is asked for, nothing is done.
    tools.succeeds(25, json!({}), b"").await;
    tools.refused(999, json!({}), b"", (3, " request type 999 not supported")).await;
}

fn reset(group: &str, topic: &str, timestamp_ms: i64) -> Value {
    json!({"group": group, "topic": topic, "timestamp": timestamp_ms, "isForce": true})
}

/// The offset of queue 0, as a client is told.
async fn committed(tools: &Fixture, group: &str, topic: &str) -> String {
    let fields = json!({"consumerGroup": group, "topic": topic, "queueId": 0});
    tools
        .ask(codes::QUERY_CONSUMER_OFFSET, fields, b"")
        .await
        .field("offset")
        .unwrap_or_default()
        .into_owned()
}

#[tokio::test]
async fn offsets_are_reset_by_time_and_by_number() {
    let tools = Fixture::new();
    for _ in 0..3 {
        tools.send("T", 0).await;
    }
    tools.commit("g", "T", 0, 2).await;
    let table = tools.text(222, reset("g", "T", 0)).await;
    let expected = r#"{"offsetTable":{{"brokerName":"B","queueId":0,"topic":"T"}:0,{"brokerName":"B","queueId":1,"topic":"T"}:0,"#;
    assert!(table.starts_with(expected), "{table}");
    assert_eq!(committed(&tools, "g", "T").await, "0");
    // It was answered when it was on disk.
    let file = std::fs::read_to_string(tools.folder.path().join("config/consumerOffset.json")).unwrap();
    assert!(file.contains("T@g"), "{file}");
    tools.succeeds_with_body(222, reset("g", "T", -1)).await;
    assert_eq!(committed(&tools, "g", "T").await, "3");
    for (offset, queue, at) in [(1, 0, "1"), (3, 0, "3"), (2, -1, "0"), (-1, 0, "0")] {
        let fields = with(with(reset("g", "T", 0), "queueId", queue), "offset", offset);
        tools.succeeds_with_body(222, fields).await;
        assert_eq!(committed(&tools, "g", "T").await, at, "{offset}");
    }
    // Without force nothing goes forward. Java 5 does not look at it.
    tools.succeeds_with_body(222, with(reset("g", "T", -1), "isForce", "false")).await;
    assert_eq!(committed(&tools, "g", "T").await, "0");
    // A group without an offset has one then.
    tools.commit("h", "T", 1, 0).await;
    tools.succeeds_with_body(222, reset("h", "T", -1)).await;
    assert_eq!(committed(&tools, "h", "T").await, "3");

    let range = "not in consume queue range [0-3]";
    for (fields, code, remark) in [
        (reset("g", "absent", 0), 17, "Topic absent does not exist".to_owned()),
        (reset("absent", "T", 0), 26, "Group absent does not exist".into()),
        (without(reset("g", "T", 0), "timestamp"), 1, "the custom field <timestamp> is null".into()),
        (without(reset("g", "T", 0), "isForce"), 1, "the custom field <isForce> is null".into()),
        (with(reset("g", "T", 0), "queueId", 8), 29, "queueId[8] is illegal".into()),
        (with(with(reset("g", "T", 0), "queueId", 0), "offset", 4), 1, format!("Target offset 4 {range}")),
        (with(with(reset("g", "T", 0), "queueId", 0), "offset", -2), 1, format!("Target offset -2 {range}")),
    ] {
        tools.refused(222, fields, b"", (code, &remark)).await;
    }
    assert_eq!(committed(&tools, "g", "T").await, "0");
}

/// As the clients of 4.9 know it.
#[tokio::test]
async fn members_are_told_if_they_are_to_reset() {
    let tools = Fixture::with(|settings| settings.admin.server_side_reset = false);
    tools.send("T", 0).await;
    tools.commit("g", "T", 0, 1).await;
    tools.refused(222, reset("g", "T", 0), b"", (206, "the consumer group[g] not online")).await;
    tools.heartbeat("g", "T").await;
    tools.succeeds_with_body(222, reset("g", "T", 0)).await;
    assert_eq!(committed(&tools, "g", "T").await, "0");
}

#[tokio::test]
async fn a_group_takes_the_offsets_of_another() {
    let tools = Fixture::new();
    for topic in ["T", "U"] {
        tools.send(topic, 0).await;
        tools.commit("g", topic, 0, 1).await;
    }
    let clone = |fields: Value| with(with(fields, "srcGroup", "g"), "destGroup", "h");
    tools.succeeds(314, clone(json!({"topic": "T", "offline": "false"})), b"").await;
    assert_eq!(
        (committed(&tools, "h", "T").await, committed(&tools, "h", "U").await),
        ("1".into(), "0".into())
    );
    // All topics; but only those to which its members subscribe, if it has any.
    tools.commit("h", "T", 0, 0).await;
    tools.heartbeat("g", "T").await;
    tools.succeeds(314, clone(json!({})), b"").await;
    assert_eq!(
        (committed(&tools, "h", "T").await, committed(&tools, "h", "U").await),
        ("1".into(), "0".into())
    );
    tools.succeeds(314, clone(json!({"offline": "true"})), b"").await;
    assert_eq!(committed(&tools, "h", "U").await, "1");
    tools.succeeds(314, clone(json!({"topic": "absent"})), b"").await;
    tools
        .refused(314, with(clone(json!({})), "destGroup", "../h"), b"", (26, "subscription group [../h]"))
        .await;
    tools.refused(314, json!({"srcGroup": "g"}), b"", (1, "the custom field <destGroup> is null")).await;
}

#[tokio::test]
async fn commits_that_mean_nothing_change_nothing() {
    let tools = Fixture::new();
    tools.send("T", 0).await;
    tools.send("T", 0).await;
    tools.commit("g", "T", 0, 1).await;
    let commit = |next: i64| json!({"consumerGroup": "g", "topic": "T", "queueId": 0, "commitOffset": next});
    tools.refused(15, commit(-1), b"", (29, "commitOffset[-1] is illegal")).await;
    tools.refused(15, commit(3), b"", (29, "commitOffset[3] is beyond the end of the queue, 2")).await;
    tools.refused(15, with(commit(1), "queueId", 8), b"", (29, "queueId[8] is illegal")).await;
    // A tool may go back; a member of a push group may not, and is told so by the remark only.
    tools.succeeds(15, commit(0), b"").await;
    tools.heartbeat("g", "T").await;
    tools.succeeds(15, commit(2), b"").await;
    let answer = tools.ask(15, commit(1), b"").await;
    assert_eq!((answer.code, answer.remark.as_deref()), (0, Some("Offset is 2 already")));
    assert_eq!(committed(&tools, "g", "T").await, "2");
    let ignored = tools.json(28, json!({})).await["table"]["commitOffsetBackwardIgnored"].clone();
    assert_eq!(ignored, "1");
    tools.succeeds_with_body(222, reset("g", "T", 0)).await;
    let answer = tools.ask(15, commit(2), b"").await;
    assert_eq!((answer.code, answer.remark.as_deref()), (0, Some("Offset has been previously reset")));
    tools.succeeds(15, commit(0), b"").await;
    tools.succeeds(15, commit(1), b"").await;
    assert_eq!(committed(&tools, "g", "T").await, "1");
}

#[tokio::test]
async fn the_status_of_nobody_is_refused() {
    let tools = Fixture::new();
    let fields = json!({"topic": "T", "group": "g"});
    tools.refused(223, fields.clone(), b"", (1, "No Any Consumer online in the consumer group: [g]")).await;
    tools.heartbeat("g", "T").await;
    let nobody = with(fields, "clientAddr", "nobody");
    assert_eq!(tools.text(223, nobody).await, r#"{"consumerTable":{},"messageQueueTable":{}}"#);
}

#[tokio::test]
async fn a_group_is_kept_from_a_topic() {
    let tools = Fixture::new();
    tools.send("T", 0).await;
    tools.commit("g", "T", 0, 0).await;
    let forbid = |more: Value| {
        let mut fields = json!({"group": "g", "topic": "T"});
        fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        (codes::UPDATE_AND_GET_GROUP_FORBIDDEN, fields)
    };
    let ask = async |more: Value| {
        let (code, fields) = forbid(more);
        tools.json(code, fields).await["readable"].as_bool().unwrap()
    };
    let pull = json!({"consumerGroup": "g", "topic": "T", "queueId": 0, "queueOffset": 0, "maxMsgNums": 1,
        "sysFlag": 4, "commitOffset": 0, "suspendTimeoutMillis": 0, "subVersion": 0, "subscription": "*"});
    assert!(ask(json!({})).await);
    assert!(!ask(json!({"readable": "false"})).await);
    let remark = "the consumer group[g] is forbidden for topic[T]";
    tools.refused(codes::PULL_MESSAGE, pull.clone(), b"", (16, remark)).await;
    assert!(ask(json!({"readable": "true"})).await);
    assert_eq!(tools.ask(codes::PULL_MESSAGE, pull, b"").await.code, 0);
    let (code, fields) = forbid(json!({"topic": "nix", "readable": "false"}));
    tools.refused(code, fields, b"", (17, "topic[nix] not exist")).await;
    let (code, fields) = forbid(json!({"group": "nix", "readable": "false"}));
    tools.refused(code, fields, b"", (26, "No group in this broker")).await;
}

/// Java removes queues whose messages have all expired, of topics that are there, too: their offsets begin at 0 again.
#[tokio::test]
async fn queues_of_topics_that_are_gone_are_removed() {
    let tools = Fixture::new();
    tools.send("T", 0).await;
    let queues = || {
        let mut topics: Vec<_> = tools.store.queues().into_iter().map(|(topic, _)| topic).collect();
        topics.retain(|topic| !tools.broker.topics.is_system(topic));
        topics.sort_unstable();
        topics.dedup();
        topics
    };
    // Left by a topic that was deleted: one with a message, one without.
    let mut record = tools.stored("T", 0)[0].view().bytes().to_vec();
    let left = tools.store.queue("left", QueueId(0)).unwrap();
    tools.store.append(&left, &mut record, TagsCode(0)).unwrap();
    tools.store.queue("empty", QueueId(3)).unwrap();
    // As a Java broker leaves it; there is never a topic of such a name.
    tools.store.queue("%LMQ%device", QueueId(0)).unwrap();
    for topic in ["T", "left", "empty", "%LMQ%device"] {
        tools.broker.offsets.reset("g", topic, QueueId(0), QueueOffset(0));
    }
    let offsets = || {
        let file = tools.folder.path().join("config/consumerOffset.json");
        let file: Value = fastjson::from_slice(&std::fs::read(file).unwrap()).unwrap();
        let mut topics: Vec<_> = file["offsetTable"].as_object().unwrap().keys().cloned().collect();
        topics.iter_mut().for_each(|name| name.truncate(name.len() - "@g".len()));
        topics.sort_unstable();
        topics
    };
    assert_eq!(queues(), ["%LMQ%device", "T", "empty", "left"].map(Arc::from));
    assert_eq!(tools.ask(codes::CLEAN_EXPIRED_CONSUMEQUEUE, json!({}), b"").await.code, 0);
    assert_eq!(queues(), ["%LMQ%device", "T", "left"].map(Arc::from));
    assert_eq!(offsets(), ["%LMQ%device", "T", "left"]);
    assert_eq!(tools.ask(codes::CLEAN_UNUSED_TOPIC, json!({}), b"").await.code, 0);
    assert_eq!(queues(), ["%LMQ%device", "T"].map(Arc::from));
    assert_eq!(offsets(), ["%LMQ%device", "T"], "of a new topic they would skip messages");
    assert_eq!(tools.stored("T", 0).len(), 1);
}

/// After a crash the log may end before what was committed. Java starts there, and skips what takes these places.
#[tokio::test]
async fn offsets_beyond_the_log_are_cut_after_a_crash() {
    let tools = Fixture::with(|settings| {
        let config = settings.root.join("config");
        std::fs::create_dir_all(&config).unwrap();
        std::fs::write(config.join("consumerOffset.json"), r#"{"offsetTable":{"T@g":{0:7}}}"#).unwrap();
    });
    assert_eq!(committed(&tools, "g", "T").await, "0");
}

/// As a name server tells of `updateOrderConf`.
#[tokio::test]
async fn topics_become_ordered() {
    let tools = Fixture::new();
    tools.succeeds(17, create("T"), b"").await;
    let order = async || tools.json(351, json!({"topic": "T"})).await["order"].clone();
    assert_eq!(order().await, false);
    tools.broker.topics().set_ordered(["T", "absent"].map(str::to_owned).iter());
    assert_eq!(order().await, true);
    assert_eq!(tools.ask(351, json!({"topic": "absent"}), b"").await.code, 17);
}

/// A group without an offset starts where the queue does, if that is recent; what the client would rather counts if
/// not.
#[tokio::test]
async fn a_group_without_an_offset_is_told_where_to_start() {
    for (memory_bytes, first) in [(1 << 30, (0, "0")), (0, (22, ""))] {
        let tools = Fixture::with(|settings| settings.memory_bytes = memory_bytes);
        tools.send("T", 0).await;
        tools.commit("known", "T", 0, 1).await;
        for (group, topic, queue, zero, expected) in [
            ("new", "T", 0, None, first),
            ("new", "T", 0, Some("true"), first),
            ("new", "T", 0, Some("false"), (22, "")),
            // Nothing is there to start at: the client asks for the ends of the queue.
            ("new", "T", 1, None, (22, "")),
            ("new", "T", 8, None, (22, "")),
            ("new", "T", -1, None, (22, "")),
            ("new", "absent", 0, None, (22, "")),
            ("known", "T", 0, Some("false"), (0, "1")),
        ] {
            let mut fields = json!({"consumerGroup": group, "topic": topic, "queueId": queue});
            if let Some(zero) = zero {
                fields["setZeroIfNotFound"] = zero.into();
            }
            let answer = tools.ask(codes::QUERY_CONSUMER_OFFSET, fields.clone(), b"").await;
            let offset = answer.field("offset").unwrap_or_default();
            assert_eq!((answer.code, &*offset), expected, "{fields}, {memory_bytes} bytes in memory");
        }
    }
}
