// SPDX-License-Identifier: Apache-2.0
//! `mqadmin` on messages, groups and connections, against a running server: what it prints, and how it ends.

mod kit;

use kit::{
    Ground,
    cluster::{Cluster, failed, mqadmin},
    commit, send, until,
};
use oxmq_remoting::{
    Command as Frame, Encoding, Kind,
    bodies::{
        ConsumerData, ConsumerRunningInfo, HeartbeatData, MessageQueue, ProcessQueueInfo, ProducerData,
        QueueTable, SubscriptionData,
    },
    code::request,
    fastjson::to_vec_with_bare_keys,
};
use serde_json::{Value, json};
use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

/// The value of a line `Name:   value`.
#[track_caller]
fn value_of<'a>(text: &'a str, name: &str) -> &'a str {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).trim()
}

fn now_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

#[test]
fn a_message_is_sent_with_its_trace() {
    let cluster = Cluster::start();
    let sent = cluster.text(&["sendMessage", "-t", "Traced", "-p", "hello", "-k", "order-8", "-m", "true"]);
    let id = sent.lines().nth(1).unwrap().split_whitespace().nth(3).unwrap();
    until("the trace is found by the message's id", || {
        let trace = cluster.run(&["queryMsgTraceById", "-i", id]);
        String::from_utf8_lossy(&trace.stdout)
            .lines()
            .any(|line| line.starts_with("Pub ") && line.contains("success"))
    });
    // What keys find is the same record.
    until("the trace is found by the message's key", || {
        let found = cluster.run(&["queryMsgByKey", "-t", "RMQ_SYS_TRACE_TOPIC", "-k", "order-8"]);
        String::from_utf8_lossy(&found.stdout).lines().count() == 2
    });
}

#[test]
fn a_message_is_sent_and_found_in_every_way() {
    let cluster = Cluster::start();
    cluster.connect().ask(&kit::create_topic("T", 6, false));
    until("the route is there", || {
        cluster.run(&["queryCq", "-t", "T", "-q", "0", "-i", "0"]).status.success()
            || String::from_utf8_lossy(&cluster.run(&["queryCq", "-t", "T", "-q", "0", "-i", "0"]).stderr)
                .contains("is not exist")
    });
    let sent = cluster.text(&["sendMessage", "-t", "T", "-p", "hello 订单", "-k", "order-7", "-c", "A"]);
    let lines: Vec<_> = sent.lines().collect();
    assert_eq!(lines[0], format!("{:<32}  {:<4}  {:<20}    #MsgId", "#Broker Name", "#QID", "#Send Result"));
    let cells: Vec<_> = lines[1].split_whitespace().collect();
    assert_eq!(cells[2], "SEND_OK");
    let (queue, id) = (cells[1], cells[3]);

    let shown = cluster.text(&["queryMsgById", "-t", "T", "-i", id, "-f", "UTF-8"]);
    assert_eq!(value_of(&shown, "Topic"), "T");
    assert_eq!(value_of(&shown, "Keys"), "[order-7]");
    assert_eq!(value_of(&shown, "Message Body"), "hello 订单");
    assert!(shown.ends_with("\n\nWARN: No Consumer"), "{shown}");
    assert_eq!(fs::read(value_of(&shown, "Message Body Path")).unwrap(), "hello 订单".as_bytes());
    let place = value_of(&shown, "OffsetID").to_owned();
    assert_eq!(cluster.text(&["queryMsgById", "-t", "T", "-i", &place, "-f", "UTF-8"]), shown);

    let unique = cluster.text(&["queryMsgByUniqueKey", "-t", "T", "-i", id]);
    assert_eq!(value_of(&unique, "Queue ID"), queue);
    let found = cluster.text(&["queryMsgByKey", "-t", "T", "-k", "order-7"]);
    assert_eq!(found.lines().nth(1).unwrap(), format!("{id:<50} {queue:>4} {:>40}", 0));
    let broker = cells[0];
    let at = cluster.text(&["queryMsgByOffset", "-t", "T", "-b", broker, "-i", queue, "-o", "0"]);
    assert_eq!(value_of(&at, "OffsetID"), place);
    assert!(value_of(&at, "Properties").contains("MAX_OFFSET=1"), "{at}");

    let all = cluster.text(&["printMsg", "-t", "T"]);
    assert_eq!(all.lines().filter(|line| line.starts_with("minOffset=")).count(), 4);
    assert!(
        all.contains(&format!("MSGID: {id} MessageExt [brokerName={broker}, queueId={queue}, ")),
        "{all}"
    );
    assert!(all.contains("BODY: hello 订单\n"), "{all}");
    assert!(!cluster.text(&["printMsg", "-t", "T", "-s", "B"]).contains("MSGID"));
    assert!(cluster.text(&["printMsg", "-t", "T", "-d", "false"]).contains("BODY: NOT PRINT BODY\n"));
    let listed = cluster.json(&["printMsg", "-t", "T"]);
    assert_eq!((&listed[0]["msgId"], &listed[0]["body"]), (&id.into(), &"hello 订单".into()));
    let tags = cluster.text(&["printMsgByQueue", "-t", "T", "-a", broker, "-i", queue, "-f", "true"]);
    assert_eq!(tags, format!("Tag: {:<30} Count: 1\n", "A"));
    let consumed = cluster.text(&["consumeMessage", "-t", "T", "-b", broker, "-i", queue]);
    assert!(
        consumed.starts_with("Consume ok\nMSGID: ")
            && consumed.contains("print msg finished. status=NO_NEW_MSG, offset=1"),
        "{consumed}"
    );
    let units = cluster.text(&["queryCq", "-t", "T", "-q", queue, "-i", "0"]);
    assert!(
        units.contains("max: 1, min: 0\n") && units.contains("idx: 0\nConsumeQueueData{physicOffset="),
        "{units}"
    );

    let rt = cluster.text(&["checkMsgSendRT", "-t", "T", "-a", "5", "-s", "10"]);
    assert_eq!(rt.lines().count(), 7);
    assert!(rt.lines().last().unwrap().starts_with("Avg RT: "), "{rt}");

    // Once more, to all who read there: the copy has the same id.
    let again = cluster.text(&["queryMsgById", "-t", "T", "-i", id, "-s", "true"]);
    assert!(
        again.starts_with(&format!(
            "prepare resend msg. originalMsgId={id}SendResult [sendStatus=SEND_OK, msgId={id}, "
        )),
        "{again}"
    );
    let both = cluster.json(&["queryMsgByUniqueKey", "-t", "T", "-i", id, "-a"]);
    assert_eq!(both.as_array().unwrap().len(), 2);

    // An empty queue ends at once; a time before all messages shows all, one after none.
    let future = (now_ms() + 3_600_000).to_string();
    assert!(cluster.text(&["printMsg", "-t", "T", "-b", "0"]).contains("MSGID"));
    assert!(!cluster.text(&["printMsg", "-t", "T", "-b", &future]).contains("MSGID"));
}

#[test]
fn a_group_is_made_moved_and_forgotten() {
    let cluster = Cluster::start();
    let broker = cluster.broker();
    let mut wire = cluster.connect();
    wire.ask(&kit::create_topic("T", 6, false));
    for n in 0..10 {
        wire.ask(&send("T", n % 4, "", "x"));
    }
    let made = cluster.text(&["updateSubGroup", "-b", &broker, "-g", "g", "-r", "3", "-o", "true"]);
    assert!(
        made.starts_with(&format!(
            "create subscription group to {broker} success.\nSubscriptionGroupConfig{{groupName=g, "
        )),
        "{made}"
    );
    assert!(made.contains("consumeMessageOrderly=true") && made.contains("retryMaxTimes=3"), "{made}");
    let list = json!([{"groupName": "g-2", "retryMaxTimes": 5}, {"groupName": "g-3"}]).to_string();
    fs::write(cluster.ground.path("groups.json"), list).unwrap();
    let made = cluster.text(&["updateSubGroupList", "-b", &broker, "-f", "groups.json"]);
    assert_eq!(
        made,
        format!("submit batch of group config to {broker} success, please check the result later.\n")
    );
    let config = cluster.text(&["getConsumerConfig", "-g", "g-2"]);
    assert!(config.contains(&format!("{:<40}=  5\n", "retryMaxTimes")), "{config}");
    // Looking for a group must not make it.
    for _ in 0..2 {
        let absent = cluster.run(&["getConsumerConfig", "-g", "nobody"]);
        assert!(!String::from_utf8_lossy(&absent.stdout).contains("retryMaxTimes"), "{absent:?}");
    }

    wire.ask(&commit("g", "T", 0, 1));
    let progress = |group: &str| cluster.json(&["consumerProgress", "-g", group, "-t", "T"]);
    until("the group is known", || cluster.run(&["consumerProgress", "-g", "g", "-t", "T"]).status.success());
    assert_eq!(
        (&progress("g")["diffTotal"], &progress("g")["queues"][0]["consumerOffset"]),
        (&9.into(), &1.into())
    );
    let text = cluster.text(&["consumerProgress", "-g", "g", "-t", "T"]);
    assert!(
        text.contains("\nConsume TPS: 0.00\nConsume Diff Total: 9\nConsume Inflight Total: 0\n"),
        "{text}"
    );
    let stats = cluster.text(&["brokerConsumeStats", "-b", &broker]);
    assert!(stats.contains("\nDiff Total: 9\n"), "{stats}");

    // As Java's, it asks the brokers that the group's retry topic is on.
    wire.ask(&kit::create_topic("%RETRY%g", 6, false)).is(0, "");
    until("the retry topic is known", || cluster.run(&["consumerProgress", "-g", "g"]).status.success());
    let cloned = cluster.text(&["cloneGroupOffset", "-s", "g", "-d", "g-2", "-t", "T"]);
    assert_eq!(cloned, "clone group offset success. srcGroup[g], destGroup=[g-2], topic[T]");
    assert_eq!(progress("g-2")["diffTotal"], 9);

    let skipped = cluster.text(&["skipAccumulatedMessage", "-g", "g", "-t", "T"]);
    assert!(
        skipped.starts_with(&format!("{:<40}  {:<40}  {:<40}\n", "#brokerName", "#queueId", "#offset"))
            || skipped.contains("#rollbackOffset"),
        "{skipped}"
    );
    assert_eq!(progress("g")["diffTotal"], 0);
    let reset = cluster.text(&["resetOffsetByTime", "-g", "g", "-t", "T", "-s", "0"]);
    assert!(
        reset.contains("reset consumer offset by specified") && reset.contains("timestamp(long)[0]"),
        "{reset}"
    );
    assert_eq!(progress("g")["diffTotal"], 10);
    assert!(
        cluster
            .text(&["resetOffsetByTime", "-g", "g", "-t", "T", "-s", "now"])
            .contains("timestamp(string)[now]")
    );
    assert_eq!(progress("g")["diffTotal"], 0);
    let old = cluster.text(&["resetOffsetByTimeOld", "-g", "g", "-t", "T", "-s", "2020-01-01#00:00:00:000"]);
    assert!(
        old.starts_with("reset consumer offset by specified consumerGroup[g], topic[T], force[true], "),
        "{old}"
    );
    assert_eq!(old.lines().count(), 6);
    let one = cluster.text(&[
        "resetOffsetByTime",
        "-g",
        "g",
        "-t",
        "T",
        "-s",
        "0",
        "-b",
        &broker,
        "-q",
        "1",
        "-o",
        "2",
    ]);
    assert!(one.ends_with("reset consumer offset to 2\n"), "{one}");
    assert_eq!(progress("g")["queues"][1]["consumerOffset"], 2);
    cluster.fails(
        &["resetOffsetByTime", "-g", "g", "-t", "T", "-s", "0", "-b", &broker, "-q", "1", "-o", "99"],
        "lies outside",
    );

    let deleted = cluster.text(&["deleteSubGroup", "-b", &broker, "-g", "g", "-r", "true"]);
    assert_eq!(deleted, format!("delete subscription group [g] from broker [{broker}] success.\n"));
}

/// A consumer that answers what tools ask it.
struct FakeConsumer {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl FakeConsumer {
    fn join(cluster: &Cluster, group: &str, client_id: &str, topic: &str) -> Self {
        let mut wire = cluster.connect();
        let told = SubscriptionData {
            topic: topic.into(),
            sub_string: "*".into(),
            expression_type: "TAG".into(),
            ..SubscriptionData::default()
        };
        let heartbeat = HeartbeatData {
            client_id: client_id.into(),
            producer_data_set: vec![ProducerData { group_name: format!("{group}-producer") }],
            consumer_data_set: vec![ConsumerData {
                group_name: group.into(),
                consume_type: "CONSUME_PASSIVELY".into(),
                message_model: "CLUSTERING".into(),
                consume_from_where: "CONSUME_FROM_LAST_OFFSET".into(),
                subscription_data_set: vec![told.clone()],
                unit_mode: false,
            }],
            ..HeartbeatData::default()
        };
        let body = serde_json::to_vec(&heartbeat).unwrap();
        wire.ask(&Frame::new(request::HEART_BEAT).with_body(body)).is(0, "");
        let queue = MessageQueue { topic: topic.into(), broker_name: "b".into(), queue_id: 0 };
        let properties =
            json!({"PROP_CONSUME_TYPE": "CONSUME_PASSIVELY", "PROP_CONSUMER_START_TIMESTAMP": "0"});
        let info = ConsumerRunningInfo {
            mq_table: QueueTable(vec![(
                queue,
                ProcessQueueInfo { cached_msg_count: 1, ..ProcessQueueInfo::default() },
            )]),
            properties: properties.as_object().cloned().unwrap(),
            subscription_set: vec![told],
            ..ConsumerRunningInfo::default()
        };
        let body = to_vec_with_bare_keys(&info).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        wire.stream.set_read_timeout(Some(std::time::Duration::from_millis(50))).unwrap();
        let thread = thread::spawn(move || {
            let (mut received, mut buffer) = (Vec::new(), [0; 4096]);
            while !stopped.load(Ordering::Relaxed) {
                match wire.stream.read(&mut buffer) {
                    Ok(0) => return,
                    Ok(length) => received.extend_from_slice(&buffer[..length]),
                    Err(_) => continue,
                }
                while let Some(frame) = oxmq_remoting::split_frame(&received, 1 << 20).unwrap() {
                    let header = oxmq_remoting::Header::parse(frame.encoding, frame.header).unwrap();
                    let (code, opaque, size) = (header.code, header.opaque, frame.size);
                    if code == request::GET_CONSUMER_RUNNING_INFO {
                        let mut answer = Vec::new();
                        Frame::success().with_body(body.clone()).encode(
                            Encoding::Json,
                            Kind::Response,
                            opaque,
                            &mut answer,
                        );
                        answer.extend_from_slice(&body);
                        wire.stream.write_all(&answer).unwrap();
                    }
                    received.drain(..size);
                }
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for FakeConsumer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map(thread::JoinHandle::join);
    }
}

#[test]
fn connected_clients_are_shown_from_inside() {
    let cluster = Cluster::start();
    cluster.connect().ask(&kit::create_topic("T", 6, false));
    let _consumer = FakeConsumer::join(&cluster, "g", "10.0.0.5@1#../x", "T");
    until("the group is known", || cluster.run(&["consumerConnection", "-g", "g"]).status.success());
    let shown = cluster.text(&["consumerConnection", "-g", "g"]);
    assert!(
        shown.starts_with(&format!(
            "{:<36} {:<22} {:<10} #Version\n10.0.0.5@1#../x",
            "#ClientId", "#ClientAddr", "#Language"
        )),
        "{shown}"
    );
    assert!(
        shown.contains("\nBelow is subscription:\n") && shown.contains(&format!("{:<20} *\n", "T")),
        "{shown}"
    );
    assert!(shown.ends_with("ConsumeType: CONSUME_PASSIVELY\nMessageModel: CLUSTERING\nConsumeFromWhere: CONSUME_FROM_LAST_OFFSET\n"), "{shown}");
    let status = cluster.text(&["consumerStatus", "-g", "g"]);
    assert!(status.contains("Same subscription in the same group of consumer\n\nRebalance OK\n"), "{status}");
    assert!(status.contains("can't consume for a while, maybe blocked"), "{status}");
    // What it calls itself names no file elsewhere.
    let path = status.lines().nth(1).unwrap().split_whitespace().last().unwrap();
    assert!(path.ends_with("/10.0.0.5@1#.._x"), "{path}");
    assert!(fs::read_to_string(cluster.ground.path(path)).unwrap().starts_with("#Consumer Properties#\n"));
    let one = cluster.text(&["consumerStatus", "-g", "g", "-i", "10.0.0.5@1#../x"]);
    assert!(one.contains("#Consumer MQ Detail#"), "{one}");
    let json = cluster.json(&["consumerStatus", "-g", "g"]);
    assert_eq!((&json["sameSubscription"], json["stuckQueues"].as_array().unwrap().len()), (&true.into(), 1));
    let listed = cluster.text(&["consumerProgress"]);
    assert!(listed.contains(&format!("{:<64}  1     ", "g")), "{listed}");
    let producers = cluster.text(&["producerConnection", "-g", "g-producer", "-t", "T"]);
    assert!(producers.starts_with(&format!("0001  {:<32} ", "10.0.0.5@1#../x")), "{producers}");
    let all = cluster.text(&["producer", "-b", &cluster.broker()]);
    assert!(
        all.starts_with(
            "producer group (g-producer) instance : clientId=10.0.0.5@1#../x,remoteIP=/127.0.0.1:"
        ),
        "{all}"
    );
    cluster.fails(&["consumerStatus", "-g", "g", "-i", "nobody"], "not online");
}

#[test]
fn what_a_cluster_is_goes_into_files() {
    let cluster = Cluster::start();
    let mut wire = cluster.connect();
    wire.ask(&kit::create_topic("T", 6, false));
    cluster.text(&["updateSubGroup", "-b", &cluster.broker(), "-g", "g"]);
    let read = |name: &str| -> Value {
        serde_json::from_slice(&fs::read(cluster.ground.path("out").join(name)).unwrap()).unwrap()
    };
    let name = "DefaultCluster";
    assert_eq!(
        cluster.text(&["exportMetadata", "-c", name, "-f", "out"]),
        "export out/metadata.json success\n"
    );
    let metadata = read("metadata.json");
    assert_eq!(metadata["topicConfigTable"]["T"]["readQueueNums"], 4);
    assert_eq!(metadata["subscriptionGroupTable"]["g"]["groupName"], "g");
    assert!(metadata["topicConfigTable"].get("TBW102").is_none(), "{metadata}");
    assert_eq!(
        cluster.text(&["exportMetadata", "-b", &cluster.broker(), "-t", "-f", "out"]),
        "export out/topic.json success"
    );
    assert_eq!(read("topic.json")["topicConfigTable"]["T"]["perm"], 6);
    cluster.text(&["exportMetadata", "-b", &cluster.broker(), "-g", "-f", "out"]);
    assert_eq!(read("subscriptionGroup.json")["subscriptionGroupTable"]["g"]["retryMaxTimes"], 16);
    assert_eq!(cluster.text(&["exportConfigs", "-c", name, "-f", "out"]), "export out/configs.json success");
    let configs = read("configs.json");
    assert_eq!(
        configs["clusterScale"],
        json!({"namesrvSize": 1, "masterBrokerSize": 1, "slaveBrokerSize": 0})
    );
    assert_eq!(cluster.text(&["exportMetrics", "-c", name, "-f", "out"]), "export out/metrics.json success");
    let metrics = read("metrics.json");
    assert!(metrics["totalData"]["totalTps"]["totalNormalInTps"].is_number(), "{metrics}");
    cluster.fails(&["exportConfigs", "-c", "nowhere", "-f", "out"], "no cluster nowhere");
    fs::write(cluster.ground.path("file"), "").unwrap();
    cluster.fails(&["exportConfigs", "-c", name, "-f", "file/x"], "cannot write");
}

#[test]
fn dead_letters_are_sent_again_once() {
    let cluster = Cluster::start();
    let mut wire = cluster.connect();
    for topic in ["T", "U"] {
        wire.ask(&kit::create_topic(topic, 6, false));
    }
    let properties = |n: u32| {
        format!("UNIQ_KEY\u{1}U{n}\u{2}KEYS\u{1}order-{n}\u{2}RETRY_TOPIC\u{1}T\u{2}DELAY_X\u{1}y\u{2}")
    };
    wire.ask(&kit::create_topic("%DLQ%g", 6, false)).is(0, "");
    for n in 0..50 {
        wire.ask(&send("%DLQ%g", 0, &properties(n), format!("body {n}"))).is(0, "");
    }
    // One that does not say where it came from.
    wire.ask(&send("%DLQ%g", 0, "UNIQ_KEY\u{1}U50\u{2}", "lost")).is(0, "");
    let now = now_ms();
    until("the routes are there", || {
        ["T", "U", "%DLQ%g"].iter().all(|topic| cluster.run(&["printMsg", "-t", topic]).status.success())
    });
    let run = |args: &[&str]| {
        let output = cluster.run(&[&["resendDlq", "-g", "g", "--output", "json"], args].concat());
        let value: Value = serde_json::from_slice(&output.stdout).unwrap();
        let count =
            |name: &str| value.as_array().unwrap().iter().filter(|each| each["result"] == name).count();
        (
            count("TO_SEND"),
            count("SENT"),
            count("SENT_BEFORE"),
            count("CANNOT_SEND"),
            output.status.code().unwrap(),
        )
    };
    let in_topic = |topic: &str| cluster.json(&["printMsg", "-t", topic]).as_array().unwrap().clone();
    // Without --yes it only tells.
    assert_eq!(run(&["-a"]), (50, 0, 0, 1, 1));
    assert!(in_topic("T").is_empty());
    // By id, then all: what was sent is passed over, and a second run sends nothing.
    assert_eq!(run(&["-i", "U3,U4", "-y"]), (0, 2, 0, 0, 0));
    assert_eq!(run(&["-a", "--yes"]), (0, 48, 2, 1, 1));
    assert_eq!(run(&["-a", "--yes"]), (0, 0, 50, 1, 1));
    let sent = in_topic("T");
    assert_eq!(sent.len(), 50);
    let mut keys: Vec<_> = sent.iter().map(|message| message["keys"].as_str().unwrap().to_owned()).collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 50);
    assert!(sent.iter().all(|message| message["properties"]["DLQ_RESENT_FROM"].is_string()
        && message["properties"].get("RETRY_TOPIC").is_none()));
    // Another topic is another matter; times choose.
    let (before, after) = ((now - 3_600_000).to_string(), (now + 3_600_000).to_string());
    assert_eq!(run(&["-b", &before, "-e", &after, "-t", "U", "-y"]), (0, 51, 0, 0, 0));
    assert_eq!(run(&["-b", &after, "-t", "U", "-y"]), (0, 0, 0, 0, 0));
    assert_eq!(in_topic("U").len(), 51);
    let text = cluster.text(&["resendDlq", "-g", "g", "-i", "U1", "-t", "U"]);
    assert!(
        text.ends_with("to send: 0, sent before: 1, cannot be sent: 0; nothing was sent, --yes does it\n"),
        "{text}"
    );

    cluster.fails(&["resendDlq", "-g", "g"], "say which dead letters");
    cluster.fails(&["resendDlq", "-g", "g", "-a", "-i", "U1"], "exclude each other");
    cluster.fails(&["resendDlq", "-g", "g", "-b", &after, "-e", &before], "lies after");
    cluster.fails(&["resendDlq", "-g", "nobody", "-a"], "no dead letters");
    cluster.fails(&["resendDlq", "-g", "g", "-i", "U99"], "no dead letter U99");
    cluster.fails(&["resendDlq", "-g", "g", "-a", "-t", "%DLQ%g"], "cannot be sent there");
    cluster.fails(&["resendDlq", "-g", "g", "-a", "-t", "../x"], "illegal characters");
}

#[test]
fn what_cannot_be_done_is_said_in_one_line() {
    let cluster = Cluster::start();
    let broker = cluster.broker();
    cluster.connect().ask(&kit::create_topic("T", 6, false));
    until("the route is there", || cluster.run(&["printMsg", "-t", "T"]).status.success());
    let large = "x".repeat(120_000);
    let id = "7F00000100002A9F0000000000000083";
    for (args, part) in [
        // What does not exist.
        (&["printMsg", "-t", "nothing"][..], "TOPIC_NOT_EXIST"),
        (&["queryMsgById", "-t", "T", "-i", id], "no message"),
        (&["queryMsgByUniqueKey", "-t", "T", "-i", "nothing"], "no message"),
        (&["queryMsgByKey", "-t", "T", "-k", "nothing"], "no message"),
        (&["queryMsgByOffset", "-t", "T", "-b", "nobody", "-i", "0", "-o", "0"], "not exist"),
        (&["consumerProgress", "-g", "nobody"], "nobody"),
        (&["consumerConnection", "-g", "nobody"], "nobody"),
        (&["producerConnection", "-g", "nobody", "-t", "T"], "nobody"),
        (&["cloneGroupOffset", "-s", "nobody", "-d", "g", "-t", "T"], "nobody"),
        (&["updateSubGroup", "-c", "nowhere", "-g", "g"], "nowhere"),
        (&["updateSubGroupList", "-b", &broker, "-f", "nothing.json"], "does not exists"),
        // Ids, numbers and times that are none.
        (&["queryMsgById", "-t", "T", "-i", ","], "-i wants"),
        (&["queryMsgById", "-t", "T", "-i", &large], "no message"),
        (&["queryMsgByOffset", "-t", "T", "-b", "b", "-i", "x", "-o", "0"], "wants a number"),
        (&["queryCq", "-t", "T", "-q", "-1", "-i", "0"], "-q and -i want"),
        (&["queryCq", "-t", "T", "-q", "99999999999", "-i", "0"], "wants a number"),
        (&["printMsg", "-t", "T", "-b", "yesterday"], "is no time"),
        (&["printMsg", "-t", "T", "-c", "klingon"], "no character set"),
        (&["consumeMessage", "-t", "T", "-s", "2026-13-01#00:00:00:000"], "is no time"),
        (&["resetOffsetByTime", "-g", "g", "-t", "T", "-s", "2026-11-28"], "is no time"),
        (&["resetOffsetByTime", "-g", "g", "-t", "T", "-s", "-1"], "not a negative number"),
        (&["resetOffsetByTimeOld", "-g", "g", "-t", "T", "-s", "x"], "specified timestamp invalid."),
        (&["updateSubGroup", "-b", &broker, "-g", "g", "-r", "many"], "wants a number"),
        (&["updateSubGroup", "-b", &broker, "-g", "../g"], "illegal characters"),
        (&["updateSubGroup", "-b", &broker, "-g", "g", "-p", "{"], "-p wants a retry policy"),
        (&["updateSubGroup", "-b", &broker, "-g", "g", "--attributes", "a=b"], "attribute format is wrong"),
        // What contradicts itself, or is incomplete.
        (&["printMsg", "-t", "T", "-b", "2", "-e", "1"], "lies after"),
        (&["queryMsgByKey", "-t", "T", "-k", "k", "-b", "2", "-e", "1"], "lies after"),
        (
            &["sendMessage", "-t", "T", "-p", "x", "-i", "0"],
            "Broker name must be set if the queue is chosen!",
        ),
        (&["sendMessage", "-t", "T", "-p", ""], "-p is empty"),
        (&["sendMessage", "-t", "SCHEDULE_TOPIC_XXXX", "-p", "x"], "forbidden"),
        (&["consumeMessage", "-t", "T", "-i", "0"], "Please set the brokerName before queueId!"),
        (&["consumeMessage", "-t", "T", "-c", "0"], "Please input a positive messageNumber!"),
        (&["updateSubGroup", "-g", "g"], "give a broker"),
        (&["deleteSubGroup", "-g", "g"], "give a broker"),
        (&["exportMetadata"], "give a cluster"),
        (&["exportMetadata", "-c", "DefaultCluster", "-t", "-g"], "give one"),
        (&["resetOffsetByTime", "-g", "g", "-t", "T", "-s", "0", "-o", "1"], "give -b and -q"),
        (&["cloneGroupOffset", "-s", "g", "-d", "g", "-t", "T"], "nothing to clone"),
        (&["queryMsgById", "-t", "T"], "Missing required option: i"),
        (&["checkMsgSendRT", "-t", "T", "-a", "0"], "above 0"),
        (&["brokerConsumeStats", "-b", "127.0.0.1:1"], "cannot connect"),
    ] {
        cluster.fails(args, part);
    }
    // A body as large as an argument may be goes through.
    let sent = cluster.json(&["sendMessage", "-t", "T", "-p", &large]);
    assert_eq!(sent["sendStatus"], "SEND_OK");
    let got = cluster.json(&["queryMsgById", "-t", "T", "-i", sent["msgId"].as_str().unwrap()]);
    assert_eq!(got[0]["body"].as_str().unwrap().len(), large.len());
}

/// A server that answers every request with the same header and body.
fn hostile(header: &str, body: &[u8]) -> (u16, thread::JoinHandle<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (header, body) = (header.to_owned(), body.to_vec());
    let thread = thread::spawn(move || {
        let Ok((mut stream, _)) = listener.accept() else { return };
        let (mut received, mut buffer) = (Vec::new(), [0; 4096]);
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            received.extend_from_slice(&buffer[..length]);
            while let Ok(Some(frame)) = oxmq_remoting::split_frame(&received, 1 << 24) {
                let opaque = oxmq_remoting::Header::parse(frame.encoding, frame.header).unwrap().opaque;
                let size = frame.size;
                received.drain(..size);
                let header = header.replace("OPAQUE", &opaque.to_string());
                let length = u32::try_from(4 + header.len() + body.len()).unwrap();
                let mark = u32::try_from(header.len()).unwrap();
                let bytes =
                    [&length.to_be_bytes()[..], &mark.to_be_bytes(), header.as_bytes(), &body].concat();
                if stream.write_all(&bytes).is_err() {
                    return;
                }
            }
        }
    });
    (port, thread)
}

#[test]
fn hostile_answers_end_in_one_line() {
    let ground = Ground::new();
    let ok = r#"{"code":0,"flag":1,"opaque":OPAQUE,"extFields":{"offset":"x"}}"#;
    let many = format!("{{{}}}", vec![r#"{"queueId":0}:{}"#; 200_000].join(","));
    let stats = format!(r#"{{"offsetTable":{many}}}"#);
    let deep = "[".repeat(1 << 20);
    let bodies: [(&str, &[u8]); 6] = [
        ("nothing", b""),
        ("no JSON", b"\xFF\xFE{{{{"),
        ("another type", b"[1,2,3]"),
        ("wrong members", br#"{"consumeStatsList":5,"data":[],"subscriptionGroupTable":[],"groupName":7}"#),
        ("deep", deep.as_bytes()),
        ("many", stats.as_bytes()),
    ];

    for (name, body) in bodies {
        for command in [
            &["brokerConsumeStats", "-b", "ADDR"][..],
            &["producer", "-b", "ADDR"],
            &["queryCq", "-t", "T", "-q", "0", "-i", "0", "-b", "ADDR"],
            &["consumerProgress", "-n", "ADDR"],
            &["printMsg", "-t", "T", "-n", "ADDR"],
            &["queryMsgById", "-t", "T", "-i", "U1", "-n", "ADDR"],
            &["getConsumerConfig", "-g", "g", "-n", "ADDR"],
            &["resendDlq", "-g", "g", "-a", "-n", "ADDR"],
        ] {
            let (port, thread) = hostile(ok, body);
            let addr = format!("127.0.0.1:{port}");
            let args: Vec<_> =
                command.iter().map(|arg| if *arg == "ADDR" { addr.as_str() } else { arg }).collect();
            let output = mqadmin(&ground, &args);
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(matches!(output.status.code(), Some(0 | 1)), "{name} {args:?}: {stderr}");
            assert!(!stderr.contains("panicked") && stderr.len() < 8000, "{name} {args:?}: {stderr}");
            drop(thread);
        }
    }
    // Records that are cut, or say that they are huge.
    let mut record = vec![0x7F, 0xFF, 0xFF, 0xFF, 0xDA, 0xA3, 0x20, 0xA7];
    record.resize(200, 0);
    let (port, _thread) = hostile(ok, &record);
    let id = format!("7F000001{port:08X}0000000000000083");
    let output = mqadmin(&ground, &["queryMsgById", "-t", "T", "-i", &id, "-n", "127.0.0.1:1"]);
    failed(&output, "cannot connect", &["queryMsgById"]);
}

#[test]
fn a_backlog_moves_to_more_queues_and_keeps_the_order_of_keys() {
    let cluster = Cluster::start();
    let mut wire = cluster.connect();
    for topic in ["Old", "New"] {
        wire.ask(&kit::create_topic(topic, 6, false));
    }
    // All in one queue, five keys.
    for n in 0..60 {
        let properties = format!("UNIQ_KEY\u{1}U{n}\u{2}__SHARDINGKEY\u{1}key-{}\u{2}", n % 5);
        wire.ask(&send("Old", 0, &properties, format!("{n}"))).is(0, "");
    }
    cluster.text(&["updateSubGroup", "-b", &cluster.broker(), "-g", "g"]);
    wire.ask(&commit("g", "Old", 0, 10)).is(0, "");
    for queue in 1..4 {
        wire.ask(&commit("g", "Old", queue, 0));
    }
    until("the routes are there", || {
        ["Old", "New"].iter().all(|topic| cluster.run(&["printMsg", "-t", topic]).status.success())
    });
    let args = ["redistribute", "-g", "g", "-t", "Old", "-d", "New", "-k", "sharding"];
    let plan = cluster.text(&args);
    assert!(
        plan.ends_with("50 messages of group [g] would move to the 4 queues of topic [New]\nnothing was moved, --yes does it\n"),
        "{plan}"
    );
    assert!(cluster.json(&["printMsg", "-t", "New"]).as_array().unwrap().is_empty());

    let done = cluster.text(&[&args[..], &["--yes"]].concat());
    assert_eq!(
        done,
        "moved 50 messages of group [g] from topic [Old] to topic [New], 0 had been moved before\n"
    );
    let moved = cluster.json(&["printMsg", "-t", "New"]);
    let moved = moved.as_array().unwrap();
    assert_eq!(moved.len(), 50);
    for key in 0..5 {
        let of_key: Vec<_> = moved
            .iter()
            .filter(|message| message["properties"]["__SHARDINGKEY"] == format!("key-{key}"))
            .collect();
        assert!(of_key.iter().all(|message| message["queueId"] == of_key[0]["queueId"]), "{of_key:?}");
        let order: Vec<u32> =
            of_key.iter().map(|message| message["body"].as_str().unwrap().parse().unwrap()).collect();
        assert!(order.is_sorted(), "{order:?}");
    }
    // The group is done with the old topic, and has all before it in the new one. A second run has nothing to do.
    until("the group is known", || {
        cluster.run(&["consumerProgress", "-g", "g", "-t", "Old"]).status.success()
    });
    assert_eq!(cluster.json(&["consumerProgress", "-g", "g", "-t", "Old"])["diffTotal"], 0);
    assert_eq!(cluster.json(&["consumerProgress", "-g", "g", "-t", "New"])["diffTotal"], 50);
    assert!(cluster.text(&[&args[..], &["--yes"]].concat()).starts_with("moved 0 messages"));

    cluster.fails(&["redistribute", "-g", "nobody", "-t", "Old", "-d", "New"], "knows no group nobody");
    cluster.fails(&["redistribute", "-g", "g", "-t", "Old", "-d", "Old"], "name one topic");
    cluster.fails(&["redistribute", "-g", "g", "-t", "Old", "-d", "Nothing"], "TOPIC_NOT_EXIST");
    cluster.fails(&["redistribute", "-g", "g", "-t", "Old", "-d", "New", "-k", "x"], "-k is sharding");
    wire.ask(&send("Old", 1, "", "late"));
    let _consumer = FakeConsumer::join(&cluster, "g", "c@1", "Old");
    until("it is online", || cluster.run(&["consumerConnection", "-g", "g"]).status.success());
    cluster.fails(&[&args[..], &["--yes"]].concat(), "1 members online");
}
