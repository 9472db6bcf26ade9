// SPDX-License-Identifier: Apache-2.0
//! Every request code with fields and bodies that cannot be: each is answered, and nothing that is there changes.

use crate::fixture::{Fixture, answer};
use oxmq_remoting::{Command, code::request as codes};
use serde_json::{Value, json};
use std::{collections::HashMap, time::Duration};

const BODIES: [&str; 17] = [
    "",
    "{",
    "{}",
    "[]",
    "null",
    "0",
    "\"",
    "\u{0}\u{1}\u{2}",
    "not json at all",
    r#"{"topicConfigList":[{"topicName":"T","readQueueNums":99999999999999999999}]}"#,
    r#"{"topicConfigList":[{"topicName":"T","readQueueNums":-1,"writeQueueNums":1}]}"#,
    r#"{"topicConfigList":[{"topicName":["T"]}]}"#,
    r#"{"topicConfigList":{},"groupConfigList":{}}"#,
    r#"{"groupName":"g","retryQueueNums":1e300}"#,
    r#"{"groupConfigList":[{"groupName":"g","retryMaxTimes":"many"}]}"#,
    r#"{"consumerGroup":"g","mode":7,"topic":"T"}"#,
    r#"{"consumerGroup":"g","mode":"PULL","topic":"T","popShareQueueNum":99999999999}"#,
];

/// All fields that tools send, with this value; a group that takes the offsets of another is made for it.
fn all_fields(value: &str) -> Value {
    let names = [
        "topic",
        "group",
        "consumerGroup",
        "producerGroup",
        "groupName",
        "srcGroup",
        "queueId",
        "offset",
        "timestamp",
        "isForce",
        "readQueueNums",
        "writeQueueNums",
        "perm",
        "topicFilterType",
        "topicSysFlag",
        "order",
        "attributes",
        "defaultTopic",
        "cleanOffset",
        "readable",
        "statsName",
        "statsKey",
        "key",
        "maxNum",
        "beginTimestamp",
        "endTimestamp",
        "index",
        "count",
        "msgId",
        "clientId",
        "clientAddr",
        "filterGroups",
        "compareGroup",
        "isOrder",
        "offline",
        "topicList",
        "masterFlushOffset",
        "commitOffset",
    ];
    names
        .iter()
        .map(|name| ((*name).to_owned(), Value::from(value)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

async fn state(broker: &Fixture) -> Vec<Command> {
    let mut state = Vec::new();
    for (code, fields) in [
        (codes::GET_ALL_TOPIC_CONFIG, json!({})),
        (codes::GET_ALL_SUBSCRIPTIONGROUP_CONFIG, json!({})),
        (codes::GET_ALL_CONSUMER_OFFSET, json!({})),
        (codes::GET_ALL_MESSAGE_REQUEST_MODE, json!({})),
        (codes::GET_BROKER_CONFIG, json!({})),
    ] {
        state.push(broker.ask(code, fields, b"").await);
    }
    state
}

#[tokio::test]
async fn what_cannot_be_is_answered_and_changes_nothing() {
    let broker = Fixture::new();
    broker.send("T", &[], json!({})).await;
    let group = json!({"groupName": "g", "retryQueueNums": 1, "retryMaxTimes": 16}).to_string();
    assert_eq!(broker.ask(200, json!({}), group.as_bytes()).await.code, 0);
    let commit = json!({"consumerGroup": "g", "topic": "T", "queueId": 0, "commitOffset": 1});
    assert_eq!(broker.ask(codes::UPDATE_CONSUMER_OFFSET, commit, b"").await.code, 0);
    let before = state(&broker).await;

    let long = "x".repeat(70_000);
    let fields: Vec<_> =
        ["", "-1", "99999999999999999999", "NaN", "true", "../../etc/passwd", "\u{0}", "a/b", &long]
            .into_iter()
            .map(all_fields)
            .chain([json!({})])
            .collect();
    let mut codes_seen = HashMap::new();
    for code in
        (10..=61).chain(100..=106).chain(200..=410).chain(900..=910).chain([1007, 2001, 2003, 2004, 3001])
    {
        // Clients' own requests have their own tests; a heartbeat or a lock may be new here.
        if matches!(code, 10..=15 | 29..=42 | 310 | 320 | 324 | 325 | 352 | 361 | 370) {
            continue;
        }
        for fields in &fields {
            let no_fields = fields.as_object().is_some_and(|all| all.is_empty());
            let bodies = if no_fields && matches!(code, 18 | 25 | 200 | 225 | 401) {
                &BODIES[..]
            } else {
                &BODIES[..1]
            };
            for body in bodies {
                let asked = answer(broker.handle(&broker.peer, code, fields, body.as_bytes()));
                let answer = tokio::time::timeout(Duration::from_secs(20), asked).await;
                let answer = answer.unwrap_or_else(|_| panic!("no answer to {code} with {body}"));
                assert!(answer.remark.as_ref().is_none_or(|remark| remark.len() < 5_000), "{code}");
                *codes_seen.entry(answer.code).or_insert(0) += 1;
            }
        }
    }
    let after = state(&broker).await;
    for (before, after) in before.iter().zip(&after) {
        let text = |answer: &Command| String::from_utf8_lossy(&answer.body.pieces().concat()).into_owned();
        assert_eq!(text(before), text(after));
    }
    assert_eq!(broker.stored("T", 0).len(), 1);
    assert!(codes_seen[&1] > 100, "{codes_seen:?}");
}

#[tokio::test]
async fn a_group_is_told_to_pull() {
    let broker = Fixture::new();
    broker.send("T", &[], json!({})).await;
    assert_eq!(broker.ask(200, json!({}), br#"{"groupName":"g"}"#).await.code, 0);
    let mode = |topic: &str, group: &str, mode: &str| {
        json!({"consumerGroup": group, "mode": mode, "popShareQueueNum": 3, "topic": topic}).to_string()
    };
    let all = async || {
        let answer = broker.ask(402, json!({}), b"").await;
        serde_json::from_slice::<Value>(&answer.body.pieces().concat()).unwrap()
    };
    assert_eq!(all().await, json!({"messageRequestModeMap": {}}));
    for (body, refused) in [
        (mode("T", "g", "POP"), (604, "POP consumption is not there yet")),
        (mode("T", "g", "PUSH"), (29, "mode is neither PULL nor POP")),
        (mode("nix", "g", "PULL"), (17, "topic[nix] not exist")),
        (mode("T", "nix", "PULL"), (26, "subscription group does not exist")),
        (mode("%RETRY%g", "g", "PULL"), (16, "retry topic is not allowed to set mode")),
    ] {
        Fixture::check_refused(&broker.ask(401, json!({}), body.as_bytes()).await, refused);
    }
    assert_eq!(all().await, json!({"messageRequestModeMap": {}}));
    assert_eq!(broker.ask(401, json!({}), mode("T", "g", "PULL").as_bytes()).await.code, 0);
    let expected = json!({"messageRequestModeMap": {"T": {"g": {
        "consumerGroup": "g", "mode": "PULL", "popShareQueueNum": 3, "topic": "T",
    }}}});
    assert_eq!(all().await, expected);
    let file = std::fs::read(broker.folder.path().join("config/messageRequestMode.json")).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&file).unwrap(), expected);
}

#[tokio::test]
async fn a_master_without_slaves_says_so() {
    let broker = Fixture::new();
    broker.send("T", &[], json!({})).await;
    let json = async |code| {
        let answer = broker.ask(code, json!({}), b"").await;
        assert_eq!(answer.code, 0, "{answer:?}");
        serde_json::from_slice::<Value>(&answer.body.pieces().concat()).unwrap()
    };
    let status = json(codes::GET_BROKER_HA_STATUS).await;
    assert_eq!(status["master"], true);
    assert_eq!(status["haConnectionInfo"], json!([]));
    assert_eq!(status["inSyncSlaveNums"], 0);
    assert_eq!(status["masterCommitLogMaxOffset"], broker.store.max_physical().0);
    assert_eq!(status["haClientRuntimeInfo"]["activated"], false);
    assert_eq!(json(codes::GET_COLD_DATA_FLOW_CTR_INFO).await["configTable"], json!({}));
    assert_eq!(broker.ask(908, json!({"masterFlushOffset": 0}), b"").await.code, 0);
    let refused = broker.ask(1007, json!({}), b"").await;
    Fixture::check_refused(&refused, (1, "this request only for controllerMode "));
    for (code, why) in [
        (50, "access control"),
        (3001, "access control"),
        (354, "queues and settings are in files"),
        (400, "clients assign"),
        (513, "there are no static topics"),
        (902, "this is no broker container"),
        (1001, "there is no controller"),
        (2001, "who reads old messages"),
        (2004, "how far the kernel"),
        (200_050, "POP consumption"),
    ] {
        let refused = broker.ask(code, json!({}), b"").await;
        Fixture::check_refused(&refused, (3, &format!(" request type {code} not supported: {why}")));
    }
}
