// SPDX-License-Identifier: Apache-2.0
//! Messages that come back, over a store in a temporary folder. What is expected was seen on Java 5.3.3, unless a
//! comment says otherwise.

use super::{copy, decide::Fate};
use crate::{
    delay::Levels,
    fixture::{Fixture, GOLDEN, Stored, answer, by_name},
    groups::now_ms,
};
use oxmq_remoting::{Command, code::request as codes};
use oxmq_types::Perm;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const KEY: &str = "0123456789ABCDEF0123456789ABCDEF";

/// Sends a message and says where it lies.
async fn sent(broker: &Fixture) -> u64 {
    let properties = [("TAGS", "A"), ("KEYS", "k"), ("UNIQ_KEY", KEY), ("WAIT", "true")];
    assert_eq!(broker.send("T", &properties, json!({})).await.code, 0);
    let stored = broker.stored("T", 0);
    stored[stored.len() - 1].view().physical_offset().0
}

async fn back(broker: &Fixture, fields: Value) -> Command {
    let mut all = json!({"offset": 0, "group": "g", "delayLevel": 0, "originMsgId": "X", "originTopic": "T",
        "unitMode": "false", "maxReconsumeTimes": 16});
    for (name, value) in fields.as_object().unwrap() {
        match value {
            Value::Null => drop(all.as_object_mut().unwrap().remove(name)),
            value => all[name] = value.clone(),
        }
    }
    broker.ask(codes::CONSUMER_SEND_MSG_BACK, all, b"").await
}

async fn set_group(broker: &Fixture, config: Value) {
    let body = config.to_string();
    assert_eq!(
        broker.ask(codes::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, json!({}), body.as_bytes()).await.code,
        0
    );
}

#[tokio::test]
async fn a_dead_letter_is_the_message_with_its_history() {
    let broker = Fixture::new();
    let offset = sent(&broker).await;
    let origin = broker.stored("T", 0)[0].clone();
    let answered = back(&broker, json!({"offset": offset, "delayLevel": -1})).await;
    assert_eq!((answered.code, answered.remark, answered.fields), (0, None, vec![]));
    let letters = broker.stored("%DLQ%g", 0);
    let (letter, origin) = (&letters[0], origin.view());
    let copy = letter.view();
    assert_eq!(
        (copy.body(), copy.flag(), copy.sys_flag()),
        (origin.body(), origin.flag(), origin.sys_flag())
    );
    assert_eq!((copy.born_timestamp_ms(), copy.born_host()), (77, broker.peer.remote()));
    assert_eq!(copy.reconsume_times(), 1);
    for (name, value) in [
        ("TAGS", "A"),
        ("KEYS", "k"),
        ("UNIQ_KEY", KEY),
        ("RETRY_TOPIC", "T"),
        ("ORIGIN_MESSAGE_ID", &origin.message_id().to_text()),
        ("DELAY", "0"),
        ("WAIT", "false"),
        ("CLUSTER", "C"),
    ] {
        assert_eq!(letter.property(name).as_deref(), Some(value), "{name}");
    }
    assert_eq!(broker.topic("%DLQ%g"), Some((1, 1, Perm::READ_WRITE.0, 0)), "it can be read");

    // Sent back once more, by a group that reads the dead letters, it still knows where it came from.
    let copied = copy.physical_offset().0;
    assert_eq!(back(&broker, json!({"offset": copied, "delayLevel": -1, "group": "h"})).await.code, 0);
    let second = &broker.stored("%DLQ%h", 0)[0];
    assert_eq!(second.property("RETRY_TOPIC").as_deref(), Some("T"));
    assert_eq!(second.property("ORIGIN_MESSAGE_ID"), letter.property("ORIGIN_MESSAGE_ID"));
    assert_eq!(second.view().reconsume_times(), 2);
}

#[tokio::test]
async fn a_message_tried_too_often_becomes_a_dead_letter() {
    let broker = Fixture::new();
    let offset = sent(&broker).await;
    for own in [0, -1] {
        assert_eq!(back(&broker, json!({"offset": offset, "maxReconsumeTimes": own})).await.code, 0);
    }
    set_group(&broker, json!({"groupName": "once", "retryMaxTimes": 0})).await;
    let no_limit_of_its_own = json!({"offset": offset, "group": "once", "maxReconsumeTimes": null});
    assert_eq!(back(&broker, no_limit_of_its_own).await.code, 0);
    assert_eq!((broker.stored("%DLQ%g", 0).len(), broker.stored("%DLQ%once", 0).len()), (2, 1));
    // As in Java, what applications sent is one message.
    let told = broker.ask(codes::GET_BROKER_RUNTIME_INFO, json!({}), b"").await;
    let told: Vec<u8> = told.body.pieces().iter().flat_map(|piece| piece.to_vec()).collect();
    let told: Value = serde_json::from_slice(&told).unwrap();
    assert_eq!(
        (&told["table"]["msgPutTotalTodayNow"], &told["table"]["putMessageTimesTotal"]),
        (&"1".into(), &"4".into())
    );
}

#[tokio::test]
async fn what_cannot_be_sent_back_is_refused_and_leaves_nothing() {
    let broker = Fixture::new();
    let offset = sent(&broker).await;
    let end = broker.store.max_physical().0;
    let topics = broker.broker.topics.all().len();
    let no_group = |group: &str| format!("subscription group not exist, {group} \nSee ");
    for (fields, code, remark) in [
        (json!({"offset": -1}), 1, "look message by offset failed, -1".to_owned()),
        (json!({"offset": offset + 8}), 1, format!("look message by offset failed, {}", offset + 8)),
        (json!({"offset": end}), 1, format!("look message by offset failed, {end}")),
        (json!({"offset": i64::MAX}), 1, format!("look message by offset failed, {}", i64::MAX)),
        (json!({"offset": "9999999999999999999999"}), 1, "the custom field <offset> is not".into()),
        (json!({"offset": null}), 1, "the custom field <offset> is null".into()),
        (json!({"offset": offset, "group": null}), 1, "the custom field <group> is null".into()),
        (json!({"offset": offset, "delayLevel": "text"}), 1, "the custom field <delayLevel> is not".into()),
        (json!({"offset": offset, "delayLevel": null}), 1, "the custom field <delayLevel> is null".into()),
        (json!({"offset": offset, "group": "a/b"}), 26, no_group("a/b")),
        // Java takes these.
        (json!({"offset": offset, "group": ""}), 26, no_group("")),
        (json!({"offset": offset, "group": "CID_RMQ_SYS_TRANS"}), 16, "the group[CID_RMQ_SYS_TRANS]".into()),
        (json!({"offset": offset, "group": "TOOLS_CONSUMER"}), 16, "the group[TOOLS_CONSUMER]".into()),
    ] {
        Fixture::check_refused(&back(&broker, fields).await, (code, &remark));
    }
    assert_eq!(broker.store.max_physical().0, end);
    assert_eq!(broker.broker.topics.all().len(), topics);
}

#[tokio::test]
async fn a_record_inside_of_a_body_cannot_be_sent_back() {
    let broker = Fixture::new();
    sent(&broker).await;
    // A record knows where it lies, so the copy of one does not pass for one.
    let inner = broker.stored("T", 0)[0].view().bytes().to_vec();
    let fields = json!({"a": "P", "b": "T", "c": "TBW102", "d": 4, "e": 0, "f": 0, "g": 77, "h": 9});
    broker.ask(codes::SEND_MESSAGE_V2, fields, &inner).await;
    let outer = broker.stored("T", 0)[1].clone();
    let at = outer.view().bytes().windows(inner.len()).position(|window| window == inner).unwrap();
    let at = outer.view().physical_offset().0 + at as u64;
    Fixture::check_refused(&back(&broker, json!({"offset": at})).await, (1, "look message by offset failed"));
}

/// Java takes all of these: what may still be rolled back, or is not due, comes to the group at once.
#[tokio::test]
async fn what_no_consumer_can_have_got_cannot_be_sent_back() {
    let broker = Fixture::new();
    let half = [("TRAN_MSG", "true"), ("PGROUP", "P"), ("UNIQ_KEY", KEY)];
    for (properties, topic, queue) in [
        (&half[..], "RMQ_SYS_TRANS_HALF_TOPIC", 0),
        (&[("DELAY", "18")], "SCHEDULE_TOPIC_XXXX", 17),
        (&[("TIMER_DELAY_SEC", "3600")], "rmq_sys_wheel_timer", 0),
    ] {
        assert_eq!(broker.send("T", properties, json!({})).await.code, 0);
        let at = broker.stored(topic, queue)[0].view().physical_offset().0;
        let answered = back(&broker, json!({"offset": at, "delayLevel": -1})).await;
        Fixture::check_refused(&answered, (1, &format!("look message by offset failed, {at}")));
    }
    let half = broker.stored("RMQ_SYS_TRANS_HALF_TOPIC", 0)[0].view().physical_offset().0;
    let fields = json!({"producerGroup": "P", "tranStateTableOffset": 0, "commitLogOffset": half,
        "commitOrRollback": 12, "fromTransactionCheck": "false"});
    assert_eq!(broker.ask(codes::END_TRANSACTION, fields, b"").await.code, 0);
    let op = broker.stored("RMQ_SYS_TRANS_OP_HALF_TOPIC", 0)[0].view().physical_offset().0;
    Fixture::check_refused(&back(&broker, json!({"offset": op})).await, (1, "look message by offset"));
    assert!(broker.topic("%DLQ%g").is_none());
}

#[tokio::test]
async fn settings_of_the_group_and_of_the_broker_count() {
    let broker = Fixture::new();
    let offset = sent(&broker).await;
    set_group(&broker, json!({"groupName": "g", "retryQueueNums": 0})).await;
    let answered = back(&broker, json!({"offset": offset, "delayLevel": -1})).await;
    assert_eq!((answered.code, answered.remark), (0, None), "no retries are wanted");
    assert!(broker.topic("%DLQ%g").is_none());

    let closed = Fixture::with(|settings| settings.sends.permission = Perm::READ);
    let answered = back(&closed, json!({"offset": 0})).await;
    Fixture::check_refused(&answered, (16, "the broker[127.0.0.1] sending message is forbidden"));

    let known = Fixture::with(|settings| settings.auto_create_groups = false);
    let answered = back(&known, json!({"offset": 0})).await;
    Fixture::check_refused(&answered, (26, "subscription group not exist, g \nSee "));
}

#[tokio::test]
async fn a_send_to_a_retry_topic_makes_it_for_known_groups() {
    let broker = Fixture::with(|settings| {
        (settings.topics.auto_create, settings.auto_create_groups) = (false, false);
    });
    set_group(&broker, json!({"groupName": "g", "retryQueueNums": 3})).await;
    let refused = broker.send("%RETRY%other", &[], json!({})).await;
    Fixture::check_refused(&refused, (26, "subscription group not exist, other \nSee "));
    Fixture::check_refused(&broker.send("%RETRY%a/b", &[], json!({})).await, (29, "The specified topic"));
    assert!(broker.topic("%RETRY%other").is_none());
    assert_eq!(broker.send("%RETRY%g", &[("TRAN_MSG", "true")], json!({"e": -1, "k": "true"})).await.code, 0);
    assert_eq!(broker.topic("%RETRY%g"), Some((3, 3, Perm::READ_WRITE.0, 2)));
    Fixture::check_refused(
        &broker.send("%RETRY%g", &[], json!({"m": "true"})).await,
        (13, "batch request does not support retry group %RETRY%g"),
    );
}

#[tokio::test]
async fn a_send_to_a_retry_topic_may_end_among_the_dead_letters() {
    let broker = Fixture::new();
    let resend = async |times: i32, level: &str, own: Value| {
        let properties = [("DELAY", level), ("RETRY_TOPIC", "T"), ("UNIQ_KEY", KEY)];
        broker.send("%RETRY%g", &properties, json!({"j": times, "l": own, "e": 0})).await
    };
    // The 17th failure, as clients that consume concurrently count it, and as those of 4.x that consume in order do.
    for (times, level) in [(17, "19"), (16, "19")] {
        assert_eq!(resend(times, level, json!(16)).await.code, 0);
    }
    // Consumption in order, 5.x, after its first failure; the consumer's own limit is 0.
    assert_eq!(resend(1, "3", json!(0)).await.code, 0);
    let letters = broker.stored("%DLQ%g", 0);
    assert_eq!(letters.len(), 3);
    for letter in &letters {
        assert_eq!(letter.property("DELAY").as_deref(), Some("0"), "nobody has to wait for it");
        assert_eq!(letter.property("UNIQ_KEY").as_deref(), Some(KEY));
    }
    assert!(broker.topic("%RETRY%g").is_none());
}

#[tokio::test]
async fn members_of_a_group_find_its_retry_topic() {
    let broker = Fixture::new();
    set_group(&broker, json!({"groupName": "g", "retryQueueNums": 2})).await;
    for (group, unit) in [("g", false), ("u", true)] {
        let body = json!({"clientID": "c@1", "consumerDataSet": [{"groupName": group, "unitMode": unit,
            "messageModel": "CLUSTERING", "subscriptionDataSet": []}]});
        let told = broker.handle(&broker.peer, codes::HEART_BEAT, &json!({}), body.to_string().as_bytes());
        assert_eq!(answer(told).await.code, 0);
    }
    assert_eq!(broker.topic("%RETRY%g"), Some((2, 2, Perm::READ_WRITE.0, 0)));
    assert_eq!(broker.topic("%RETRY%u"), Some((1, 1, Perm::READ_WRITE.0, 2)));
}

/// A broker whose levels all take a second.
fn quick() -> Fixture {
    Fixture::with(|settings| settings.delays.levels = Levels::parse("1s 1s 1s 1s 1s 1s").unwrap())
}

/// The only message of a queue, as soon as there is one.
async fn only(broker: &Fixture, topic: &str) -> Stored {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(message) = broker.stored(topic, 0).pop() {
            return message;
        }
        assert!(Instant::now() < deadline, "nothing came to {topic}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_message_comes_back_until_it_is_dead() {
    let broker = quick();
    let offset = sent(&broker).await;
    let origin = broker.stored("T", 0)[0].view().message_id().to_text();
    // The second group names its level; Java takes the last one for those that are not there.
    for (group, asked, level) in [("g", 0, "3"), ("h", 1, "1"), ("i", 99, "6")] {
        let before = now_ms();
        let fields = json!({"offset": offset, "group": group, "delayLevel": asked, "maxReconsumeTimes": 1});
        assert_eq!(back(&broker, fields).await.code, 0);
        let again = only(&broker, &format!("%RETRY%{group}")).await;
        assert!(again.view().store_timestamp_ms() - before >= 1000, "it came early");
        assert_eq!(again.property("DELAY").as_deref(), Some(level));
        for (name, value) in
            [("UNIQ_KEY", KEY), ("RETRY_TOPIC", "T"), ("ORIGIN_MESSAGE_ID", &origin), ("TAGS", "A")]
        {
            assert_eq!(again.property(name).as_deref(), Some(value), "{name}");
        }
        assert_eq!((again.view().reconsume_times(), again.view().born_timestamp_ms()), (1, 77));

        let again = again.view().physical_offset().0;
        let fields = json!({"offset": again, "group": group, "maxReconsumeTimes": 1});
        assert_eq!(back(&broker, fields).await.code, 0);
        let letter = only(&broker, &format!("%DLQ%{group}")).await;
        for (name, value) in
            [("UNIQ_KEY", KEY), ("RETRY_TOPIC", "T"), ("ORIGIN_MESSAGE_ID", &origin), ("DELAY", "0")]
        {
            assert_eq!(letter.property(name).as_deref(), Some(value), "{name}");
        }
        assert_eq!(letter.view().reconsume_times(), 2);
    }
}

/// Java 5.3.3 puts every other message where no consumer looks, from the moment at which `retryQueueNums` was raised.
#[tokio::test]
async fn no_message_goes_to_a_queue_that_the_retry_topic_does_not_have() {
    let broker = quick();
    let offset = sent(&broker).await;
    set_group(&broker, json!({"groupName": "g", "retryQueueNums": 1})).await;
    assert_eq!(back(&broker, json!({"offset": offset})).await.code, 0);
    set_group(&broker, json!({"groupName": "g", "retryQueueNums": 8})).await;
    for _ in 0..8 {
        assert_eq!(back(&broker, json!({"offset": offset})).await.code, 0);
    }
    let waiting = broker.stored("SCHEDULE_TOPIC_XXXX", 2);
    assert_eq!(waiting.len(), 9);
    for message in waiting {
        assert_eq!(message.property("REAL_QID").as_deref(), Some("0"));
    }
}

#[tokio::test]
async fn a_message_that_is_sent_back_as_an_ordinary_one_waits_as_well() {
    let broker = quick();
    let properties = [("DELAY", "3"), ("RETRY_TOPIC", "T"), ("UNIQ_KEY", KEY), ("TRAN_MSG", "true")];
    assert_eq!(broker.send("%RETRY%g", &properties, json!({"j": 1, "f": 4})).await.code, 0);
    let again = only(&broker, "%RETRY%g").await;
    assert_eq!((again.view().reconsume_times(), again.view().sys_flag()), (1, 0));
    assert_eq!(again.property("UNIQ_KEY").as_deref(), Some(KEY));
}

/// Copies of messages that were sent back, as Java brokers stored them.
#[test]
fn copies_have_the_properties_of_javas() {
    for java in &GOLDEN {
        let copy = |topic, body, fate| by_name(&copy::properties(&java.records(topic, body)[0], fate));
        let mut again = copy("retries", "g-retry-0", Fate::Retried { level: 3 });
        let waits = &java.records("SCHEDULE_TOPIC_XXXX", "g-retry-0")[0];
        again.insert("REAL_TOPIC".into(), "%RETRY%again".into());
        again.insert("REAL_QID".into(), "0".into());
        assert_eq!(again, by_name(waits.properties()), "{}", java.version);
        assert_eq!((waits.queue_id().0, waits.reconsume_times()), (2, 1));
        let dead = &java.records("%DLQ%never", "g-dead-0")[0];
        assert_eq!(copy("dead", "g-dead-0", Fate::Dead), by_name(dead.properties()), "{}", java.version);
        assert_eq!(dead.reconsume_times(), 1);
    }
}
