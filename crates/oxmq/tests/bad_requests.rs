// SPDX-License-Identifier: Apache-2.0
//! Requests that a broker refuses, over a socket: code and remark are those that Java's clients branch on, nothing is
//! stored for them, and the connection goes on. What is wrong with a frame itself is tested in the crate `net`.

mod kit;

use kit::*;
use oxmq_record::{BatchMessage, encode_batch_message};
use oxmq_remoting::{Command, Encoding, code::request};
use std::{
    collections::BTreeSet,
    io::Write,
    thread,
    time::{Duration, Instant},
};

const ILLEGAL_CHARACTERS: &str = "illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$";

fn illegal_names(too_long: usize) -> Vec<(String, &'static str)> {
    let characters = ["../x", "a/b", "/tmp/x", "..", "a\0b", "主题", "a b", "a.b", "a\nb"];
    let characters = characters.map(|name| (name.to_owned(), ILLEGAL_CHARACTERS));
    let blank = ["", "  "].map(|name| (name.to_owned(), "is blank."));
    let long = [(("x").repeat(too_long), "max length.")];
    characters.into_iter().chain(blank).chain(long).collect()
}

fn offset_of(wire: &mut Wire, topic: &str, queue: i32) -> i64 {
    let query = Command::new(request::GET_MAX_OFFSET).with("topic", topic.to_owned()).with("queueId", queue);
    wire.ask(&query).number("offset")
}

/// The folder of a queue comes a moment after its first message.
fn until_queue_has_a_folder(broker: &Broker) {
    until("the queue has a folder", || broker.ground.folders().iter().any(|name| name.ends_with("Good/0")));
}

#[test]
fn illegal_topic_names() {
    let broker = Broker::start("");
    let mut wire = broker.connect();
    wire.ask(&send("Good", 0, "", "x")).is(0, "");
    wire.pull("Good", 0, 0).is(0, "FOUND");
    until_queue_has_a_folder(&broker);
    let before = broker.ground.folders();
    for encoding in BOTH {
        wire.encoding = encoding;
        for (name, why) in illegal_names(128) {
            // In the binary encoding nothing and an empty value are the same, in Java as well.
            if name.is_empty() && encoding == Encoding::RocketMq {
                wire.ask(&send(&name, 0, "", "x")).is(1, "the custom field <topic> is null");
                continue;
            }
            let refused = wire.ask(&send(&name, 0, "", "x"));
            assert!(refused.code == 29 && refused.remark.ends_with(why), "{name:?}: {refused:?}");
            let refused = wire.ask(&create_topic(&name, 6, false));
            assert!(refused.code == 29 && refused.remark.ends_with(why), "{name:?}: {refused:?}");
            wire.pull(&name, 0, 0).is(17, &format!("topic[{name}] not exist, apply first please!"));
            wire.ask(&commit("g", &name, 0, 1)).is(17, &format!("Topic {name} not exist!"));
            assert_eq!(offset_of(&mut wire, &name, 0), 0);
        }
    }
    assert_eq!(broker.ground.folders(), before);
    wire.ask(&send(&"x".repeat(127), 0, "", "x")).is(0, "");
}

#[test]
fn illegal_group_names() {
    let broker = Broker::start("");
    let mut wire = broker.connect();
    wire.ask(&send("Good", 0, "", "x")).is(0, "");
    until_queue_has_a_folder(&broker);
    let before = broker.ground.folders();
    for encoding in BOTH {
        wire.encoding = encoding;
        for (name, why) in illegal_names(256) {
            if name.is_empty() && encoding == Encoding::RocketMq {
                wire.ask(&commit(&name, "Good", 0, 1)).is(1, "the custom field <consumerGroup> is null");
                continue;
            }
            let pull = pull_as(&name, "Good", 0, 0, "TAG", "*");
            wire.ask(&pull).is(26, &format!("subscription group [{name}] does not exist, \nSee "));
            wire.ask(&commit(&name, "Good", 0, 1)).is(26, &format!("Group {name} not exist!"));
            let name = name.replace('\0', "\\u0000").replace('\n', "\\n");
            // A heartbeat speaks of many groups; the illegal ones are passed over.
            let body = format!(
                r#"{{"clientID":"c","producerDataSet":[{{"groupName":"{name}"}}],"consumerDataSet":[{{"groupName":"{name}",
                "consumeType":"CONSUME_PASSIVELY","messageModel":"CLUSTERING","consumeFromWhere":"CONSUME_FROM_LAST_OFFSET",
                "subscriptionDataSet":[{{"topic":"Good","subString":"*","subVersion":1}}]}}]}}"#
            );
            wire.ask(&Command::new(request::HEART_BEAT).with_body(body)).is(0, "");
            // Java 5.3.3 makes a group `../x` when a tool asks for it.
            let body = format!(r#"{{"groupName":"{name}"}}"#);
            let refused =
                wire.ask(&Command::new(request::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP).with_body(body));
            assert!(refused.code != 0 && refused.remark.ends_with(why), "{name:?}: {refused:?}");
        }
    }
    assert_eq!(broker.ground.folders(), before);
    let topics = wire.ask(&Command::new(request::GET_ALL_TOPIC_CONFIG));
    assert!(!String::from_utf8_lossy(&topics.body).contains("%RETRY%"));
    wire.ask(&pull_as(&"x".repeat(255), "Good", 0, 0, "TAG", "*")).is(0, "FOUND");
}

#[test]
fn an_unknown_request_code() {
    let broker = Broker::start("");
    let mut wire = broker.connect();
    for code in [0, 9999, -1, i32::from(i16::MAX)] {
        for encoding in BOTH {
            wire.encoding = encoding;
            wire.ask(&Command::new(code)).is(3, &format!(" request type {code} not supported"));
        }
    }
    wire.encoding = Encoding::Json;
    wire.ask_raw(i32::MIN, "", b"").is(3, " request type -2147483648 not supported");
}

/// Java 5.3.3 logs a missing field of these two headers and goes on with null: code 1 with the text of a null pointer
/// exception where the field is used, as if nothing were wrong where it is not.
#[test]
fn header_fields_that_are_missing_repeated_or_of_another_type() {
    let broker = Broker::start("");
    let mut wire = broker.connect();
    let sends = [
        ("a", r#""P""#),
        ("b", r#""T""#),
        ("c", r#""TBW102""#),
        ("d", r#""4""#),
        ("e", r#""0""#),
        ("f", r#""0""#),
        ("g", r#""1""#),
        ("h", r#""0""#),
    ];
    let pulls = [
        ("consumerGroup", r#""g""#),
        ("topic", r#""T""#),
        ("queueId", r#""0""#),
        ("queueOffset", r#""0""#),
        ("maxMsgNums", r#""1""#),
        ("sysFlag", r#""4""#),
        ("commitOffset", r#""0""#),
        ("suspendTimeoutMillis", r#""0""#),
        ("subVersion", r#""0""#),
    ];
    let json = |fields: &[(&str, &str)]| {
        fields.iter().map(|(name, value)| format!(r#""{name}":{value}"#)).collect::<Vec<_>>().join(",")
    };
    for (code, fields) in [(request::SEND_MESSAGE_V2, &sends[..]), (request::PULL_MESSAGE, &pulls)] {
        wire.ask_raw(code, &json(fields), b"x").is(0, "");
        wire.ask_raw(code, "", b"x").is(1, "the custom field <");
        for (at, (name, value)) in fields.iter().enumerate() {
            let mut without = fields.to_vec();
            without.remove(at);
            let missing = wire.ask_raw(code, &json(&without), b"x");
            assert_eq!(missing.code, 1, "{missing:?}");
            assert!(
                missing.remark.starts_with("the custom field <") && missing.remark.ends_with("> is null")
            );
            // Of two, the last counts, as in a Java map.
            let twice = [&[(*name, r#""-9x""#)], fields].concat();
            wire.ask_raw(code, &json(&twice), b"x").is(0, "");
            if value.starts_with(r#""P"#) || !value[1..].starts_with(|digit: char| digit.is_ascii_digit()) {
                continue;
            }
            for wrong in ["x", "", "1.5", "99999999999999999999", "0x1", "٣"] {
                let quoted = format!(r#""{wrong}""#);
                let mut other = fields.to_vec();
                other[at].1 = &quoted;
                let refused = wire.ask_raw(code, &json(&other), b"x");
                assert!(
                    refused.code == 1 && refused.remark.contains("number"),
                    "{name} {wrong}: {refused:?}"
                );
            }
        }
    }
    // The good ones: one as it is, eight with a field twice.
    assert_eq!(offset_of(&mut wire, "T", 0), 9);
}

#[test]
fn messages_that_are_too_large() {
    let broker = Broker::start("maxMessageSize=65536");
    let mut wire = broker.connect();
    let remark = "the message is illegal, maybe msg body or properties length not matched. \
                  msg body length limit 65536B, msg properties length limit 32KB.";
    wire.ask(&send("T", 0, "", vec![7; 65_536])).is(0, "");
    wire.ask(&send("T", 0, "", vec![7; 65_537])).is(13, remark);
    wire.ask(&send("T", 0, "", vec![7; 8 << 20])).is(13, remark);
    let properties = format!("k\u{1}{}\u{2}", "v".repeat(32_768 - 3));
    assert_eq!(properties.len(), 32_768);
    wire.ask(&send("T", 0, &properties, "x")).is(13, remark);
    wire.ask(&send("T", 0, &properties.repeat(100), "x")).is(13, remark);
    assert_eq!(offset_of(&mut wire, "T", 0), 1);
    let pulled = wire.pull("T", 0, 0);
    assert_eq!(pulled.messages()[0].body(), vec![7; 65_536]);
}

#[test]
fn queues_that_are_not_there() {
    let broker = Broker::start("");
    let mut wire = broker.connect();
    wire.ask(&create_topic("T", 6, false)).is(0, "");
    for queue in [4, 5, i32::MAX] {
        wire.ask(&send("T", queue, "", "x")).is(29, &format!("request queueId[{queue}] is illegal, "));
        let pulled = wire.pull("T", queue, 0);
        pulled.is(
            29,
            &format!("queueId[{queue}] is illegal, topic:[T] topicConfig.readQueueNums:[4] consumer:["),
        );
    }
    wire.pull("T", -1, 0).is(29, "queueId[-1] is illegal");
    // A negative queue is any.
    for queue in [-1, i32::MIN] {
        let sent = wire.ask(&send("T", queue, "", "x"));
        sent.is(0, "");
        assert!((0..4).contains(&sent.number("queueId")), "{sent:?}");
    }
    assert_eq!((0..4).map(|queue| offset_of(&mut wire, "T", queue)).sum::<i64>(), 2);
}

#[test]
fn topics_that_are_not_there_or_not_for_this() {
    let broker = Broker::start("autoCreateTopicEnable=false");
    let mut wire = broker.connect();
    let unknown = "topic[New] not exist, apply first please!";
    wire.ask(&send("New", 0, "", "x")).is(17, unknown);
    wire.pull("New", 0, 0).is(17, unknown);
    wire.ask(&send("SELF_TEST_TOPIC", 0, "", "x"))
        .is(16, "Sending message to topic[SELF_TEST_TOPIC] is forbidden.");

    wire.ask(&create_topic("WriteOnly", 2, false)).is(0, "");
    wire.ask(&send("WriteOnly", 0, "", "x")).is(0, "");
    wire.pull("WriteOnly", 0, 0).is(16, "the topic[WriteOnly] pulling message is forbidden");
    // Java leaves it to the route that nobody writes here; who names the queue all the same is served.
    wire.ask(&create_topic("ReadOnly", 4, false)).is(0, "");
    wire.ask(&send("ReadOnly", 0, "", "x")).is(0, "");
    wire.pull("ReadOnly", 0, 0).is(0, "FOUND");
}

#[test]
fn a_broker_that_may_not_be_written_or_read() {
    let broker = Broker::start("brokerPermission=4");
    let mut wire = broker.connect();
    wire.ask(&create_topic("Ordered", 6, true)).is(0, "");
    wire.ask(&send("Ordered", 0, "", "x")).is(16, "the broker[127.0.0.1] sending message is forbidden");
    // As Java: other topics are closed by the route alone.
    wire.ask(&send("Plain", 0, "", "x")).is(0, "");
    wire.pull("Plain", 0, 0).is(0, "FOUND");

    let broker = Broker::start("brokerPermission=2");
    let mut wire = broker.connect();
    wire.ask(&send("T", 0, "", "x")).is(0, "");
    wire.pull("T", 0, 0).is(16, "the broker[127.0.0.1] pulling message is forbidden");
}

#[test]
fn delays_that_are_none() {
    let broker = Broker::start("");
    let mut wire = broker.connect();
    wire.ask(&send("T", 0, "", "x")).is(0, "");
    let timer = "timer message illegal, the delay time should not be bigger than the max delay 259200000ms; or if set \
                 del msg, the delay time should be bigger than the current time";
    for (property, code, remark) in [
        ("DELAY=text", 1, "the delay level \"text\" is no number"),
        ("DELAY=99999999999", 1, "the delay level \"99999999999\" is no number"),
        ("TIMER_DELIVER_MS=x", 13, timer),
        ("TIMER_DELAY_SEC=259201", 13, timer),
        ("TIMER_DELAY_SEC=9223372036854775807", 13, timer),
        ("TIMER_DELIVER_MS=9223372036854775807", 13, timer),
        ("TIMER_DELIVER_MS=5 TIMER_DEL_UNIQKEY=T+k", 13, timer),
        // It is delayed when it is committed; what cannot be delayed is refused at once.
        ("TRAN_MSG=true DELAY=text", 1, "the delay level \"text\" is no number"),
        ("TRAN_MSG=true TIMER_DELAY_SEC=259201", 13, timer),
    ] {
        let properties = property.replace('=', "\u{1}").replace(' ', "\u{2}") + "\u{2}";
        wire.ask(&send("T", 0, &properties, "x")).is(code, remark);
    }
    assert_eq!(offset_of(&mut wire, "T", 0), 1);
    // As in Java, these are no delay: the message goes to its topic at once.
    for property in ["DELAY=0", "DELAY=-1", "TIMER_DELIVER_MS=5", "TIMER_DELAY_SEC=-5", "TIMER_DELAY_SEC=0"] {
        wire.ask(&send("T", 0, &(property.replace('=', "\u{1}") + "\u{2}"), "x")).is(0, "");
    }
    assert_eq!(offset_of(&mut wire, "T", 0), 6);
    // Neither may stand in a batch, or on one.
    for (inner, outer) in
        [("DELAY\u{1}3\u{2}", ""), ("", "DELAY\u{1}3\u{2}"), ("TIMER_DELAY_SEC\u{1}3\u{2}", "")]
    {
        let mut batch = Vec::new();
        let message = BatchMessage { flag: 0, body: b"one", properties: inner.as_bytes() };
        encode_batch_message(&message, &mut batch);
        let ask = Command { code: request::SEND_BATCH_MESSAGE, ..send("T", 0, outer, "") };
        assert_eq!(wire.ask(&ask.with("m", true).with_body(batch)).code, 13);
    }
    assert_eq!(offset_of(&mut wire, "T", 0), 6);
    // Above the highest level is the highest: its queue has one message then.
    wire.ask(&send("T", 0, "DELAY\u{1}19\u{2}", "x")).is(0, "");
    assert_eq!(offset_of(&mut wire, "SCHEDULE_TOPIC_XXXX", 17), 1);
    let recall = Command::new(request::RECALL_MESSAGE).with("topic", "T").with("recallHandle", "x");
    wire.ask(&recall).is(16, "recall failed, operation is forbidden");
}

/// Java 5.3.3 stores a batch with a negative body length inside, which no consumer can read.
#[test]
fn batches_whose_lengths_lie() {
    let broker = Broker::start("");
    let mut wire = broker.connect();
    let mut batch = Vec::new();
    let mut starts = Vec::new();
    for body in [&b"one"[..], b"two", b"three"] {
        starts.push(batch.len());
        let message = BatchMessage { flag: 0, body, properties: b"TAGS\x01a\x02" };
        encode_batch_message(&message, &mut batch);
    }
    let ask = |wire: &mut Wire, body: Vec<u8>| {
        wire.ask(&Command { code: request::SEND_BATCH_MESSAGE, ..send("T", 0, "", body) }.with("m", true))
    };
    ask(&mut wire, batch.clone()).is(0, "");
    assert_eq!(offset_of(&mut wire, "T", 0), 3);
    // Total size, body length and properties length of the last message, and of the second.
    let body_length = 16;
    for start in [starts[1], starts[2]] {
        for at in [start, start + body_length] {
            for wrong in [-1, 0, 1, 8, i32::MAX, i32::MIN] {
                let mut lie = batch.clone();
                lie[at..at + 4].copy_from_slice(&wrong.to_be_bytes());
                let refused = ask(&mut wire, lie);
                assert_eq!(refused.code, 13, "{wrong} at {at}: {refused:?}");
            }
        }
    }
    for length in [1, starts[1] + 1, batch.len() - 1] {
        ask(&mut wire, batch[..length].to_vec()).is(13, "");
    }
    assert_eq!(offset_of(&mut wire, "T", 0), 3, "nothing of a batch is stored if not all of it is");
}

#[test]
fn filters_that_are_switched_off_or_cannot_be_read() {
    let broker = Broker::start("");
    let mut wire = broker.connect();
    wire.ask(&send("T", 0, "", "x")).is(0, "");
    let remark = "The broker does not support consumer to filter message by SQL92";
    wire.ask(&pull_as("g", "T", 0, 0, "SQL92", "a > 1")).is(1, remark);
    let body = r#"{"clientId":"c","group":"g","subscriptionData":{"topic":"T","subString":"a > 1","expressionType":"SQL92"}}"#;
    wire.ask(&Command::new(request::CHECK_CLIENT_CONFIG).with_body(body)).is(1, remark);
    wire.ask(&pull_as("g", "T", 0, 0, "TAG", "||")).is(23, "parse the consumer's subscription failed");
    // Without a subscription of its own a pull needs a heartbeat before.
    let bare = pull_as("g", "T", 0, 0, "TAG", "*").with("sysFlag", 0);
    wire.ask(&bare).is(24, "the consumer's group info not exist\nSee ");
}

#[test]
fn bodies_that_cannot_be_read() {
    let broker = Broker::start("");
    let mut wire = broker.connect();
    let deep = "[".repeat(1 << 20);
    for body in ["{", "7", "\u{0}", r#"{"clientID":{},"subscriptionData":7}"#, &deep] {
        for code in [request::HEART_BEAT, request::CHECK_CLIENT_CONFIG] {
            let refused = wire.ask(&Command::new(code).with_body(body.to_owned()));
            assert_eq!(refused.code, 1, "{refused:?}");
        }
    }
    wire.ask(&send("T", 0, "", "")).is(1, "the message body is empty");
}

#[test]
fn a_consumer_that_never_reads() {
    let broker = Broker::start("");
    let mut wire = broker.connect();
    for _ in 0..64 {
        wire.ask(&send("T", 0, "", vec![1; 60_000])).is(0, "");
    }
    // It asks for a gigabyte.
    let mut slow = broker.connect();
    let requests: Vec<u8> =
        (0..4000).flat_map(|opaque| frame(slow.encoding, opaque, &pull("T", 0, 0))).collect();
    let stop = slow.stream.try_clone().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            let _ = slow.stream.write_all(&requests);
        });
        let mut longest = Duration::ZERO;
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(2) {
            let asked = Instant::now();
            wire.ask(&send("T", 1, "", "x")).is(0, "");
            longest = longest.max(asked.elapsed());
        }
        assert!(longest < Duration::from_secs(1), "a send waited {longest:?}");
        let memory = broker.process.as_ref().unwrap().anonymous_memory();
        assert!(memory < 64 << 20, "{memory} bytes");
        stop.shutdown(std::net::Shutdown::Both).unwrap();
    });
    broker.connect().pull("T", 0, 0).is(0, "FOUND");
}

/// Each send wakes those who wait for it. If they are many, and take nothing of what they are given, that is theirs alone.
#[test]
fn a_consumer_that_waits_and_never_reads() {
    let broker = Broker::start("");
    let mut wire = broker.connect();
    wire.ask(&send("T", 0, "", "x")).is(0, "");
    let mut dead = broker.connect();
    let held = pull("T", 0, 1).with("sysFlag", 6).with("suspendTimeoutMillis", 15_000);
    let requests: Vec<u8> = (0..10_000).flat_map(|opaque| frame(dead.encoding, opaque, &held)).collect();
    dead.stream.write_all(&requests).unwrap();
    // It is answered behind all of them.
    dead.ask(&send("Other", 0, "", "x")).is(0, "");
    let mut longest = Duration::ZERO;
    for _ in 0..500 {
        let asked = Instant::now();
        wire.ask(&send("T", 0, "", vec![1; 30_000])).is(0, "");
        longest = longest.max(asked.elapsed());
    }
    assert!(longest < Duration::from_secs(1), "a send waited {longest:?}");
    let memory = broker.process.as_ref().unwrap().anonymous_memory();
    assert!(memory < 64 << 20, "{memory} bytes");
}

/// What is refused leaves no trace among the topics.
#[test]
fn refused_sends_make_no_topic() {
    let broker = Broker::start("");
    let mut wire = broker.connect();
    let names = |wire: &mut Wire| {
        let body = wire.ask(&Command::new(request::GET_ALL_TOPIC_CONFIG)).body;
        let text = String::from_utf8(body).unwrap();
        text.split("\"topicName\":\"")
            .skip(1)
            .map(|rest| rest[..rest.find('"').unwrap()].to_owned())
            .collect()
    };
    let before: BTreeSet<String> = names(&mut wire);
    wire.ask(&send("../x", 0, "", "x")).is(29, "");
    wire.ask(&Command { fields: send("X", 0, "", "").fields, ..Command::new(9999) }).is(3, "");
    wire.ask(&create_topic("Y", 6, false).with("readQueueNums", -1)).is(29, "");
    assert_eq!(names(&mut wire), before);
}
