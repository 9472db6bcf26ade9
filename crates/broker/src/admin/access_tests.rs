// SPDX-License-Identifier: Apache-2.0
//! Tools on other machines ask for what destroys. Java takes it from anybody.

use crate::fixture::{Fixture, answer};
use oxmq_net::{Answer, Peer};
use oxmq_remoting::{Command, RequestClass, code::request as codes};
use serde_json::{Value, json};
use std::sync::Arc;

const REMARK: &str = "is refused to 10.0.0.9: it comes from another machine. Run the tool on this server's machine, or add \
                      10.0.0.9 to adminAllowedNetworks in";

fn foreign() -> Arc<Peer> {
    Peer::unconnected_to("10.0.0.1:10911".parse().unwrap(), "10.0.0.9:5000".parse().unwrap())
}

async fn ask(tools: &Fixture, code: i32, fields: Value, body: &[u8]) -> Command {
    answer(tools.handle(&foreign(), code, &fields, body)).await
}

#[track_caller]
fn refused(answer: &Command, what: &str) {
    Fixture::check_refused(answer, (16, &format!("{what} {REMARK}")));
}

#[tokio::test]
async fn every_code_that_destroys_is_refused() {
    let tools = Fixture::new();
    let mut count = 0;
    for code in (-5..4000).chain(200_040..200_160) {
        let answer = tools.handle(&foreign(), code, &json!({}), b"");
        match RequestClass::of(code) {
            Some((RequestClass::Destroy, name)) => {
                let Answer::Now(answer) = answer else { panic!("{name} is done") };
                refused(&answer, &format!("{name} ({code})"));
                count += 1;
            }
            Some(_) => {
                if let Answer::Now(answer) = answer {
                    assert_ne!(answer.code, 16, "{code}: {answer:?}");
                }
            }
            None => assert!(matches!(answer, Answer::Now(Command { code: 3, .. })), "{code}"),
        }
    }
    assert!(count > 30, "{count}");
    for unknown in [i32::MIN, i32::MAX, 3442] {
        let answer = tools.handle(&foreign(), unknown, &json!({}), b"");
        assert!(matches!(answer, Answer::Now(Command { code: 3, .. })), "{unknown}");
    }
}

#[tokio::test]
async fn what_was_refused_is_still_there_and_an_allowed_network_deletes_it() {
    let tools = Fixture::new();
    tools.send("T", &[], json!({})).await;
    let topic = json!({"topic": "T"});
    refused(&ask(&tools, 215, topic.clone(), b"").await, "DELETE_TOPIC_IN_BROKER (215)");
    assert_eq!(tools.stored("T", 0).len(), 1);
    assert_eq!(ask(&tools, codes::GET_TOPIC_CONFIG, topic.clone(), b"").await.code, 0);

    let access = tools.access();
    access.allow("10.0.1.0/24".parse().unwrap());
    refused(&ask(&tools, 215, topic.clone(), b"").await, "DELETE_TOPIC_IN_BROKER (215)");
    access.allow("192.168.0.0/16,10.0.0.8/31".parse().unwrap());
    assert_eq!(ask(&tools, 215, topic.clone(), b"").await.code, 0);
    assert_eq!(ask(&tools, codes::GET_TOPIC_CONFIG, topic, b"").await.code, 17);
    // Who was let in does not let in others.
    for text in ["adminAllowedNetworks=::/0", "traceOn=true\nadmin\\u0041llowedNetworks : ::/0"] {
        let answer = ask(&tools, codes::UPDATE_BROKER_CONFIG, json!({}), text.as_bytes()).await;
        Fixture::check_refused(&answer, (16, "adminAllowedNetworks is changed from this machine only"));
    }
}

fn topic(queues: (u32, u32), perm: u32) -> Value {
    json!({"topic": "T", "defaultTopic": "TBW102", "readQueueNums": queues.0, "writeQueueNums": queues.1,
        "perm": perm, "topicFilterType": "SINGLE_TAG"})
}

/// Applications make their topics when they start, and tools give them more queues.
#[tokio::test]
async fn topics_are_made_and_grow_but_do_not_shrink_from_elsewhere() {
    let tools = Fixture::new();
    for grown in [topic((4, 4), 6), topic((4, 4), 6), topic((8, 6), 6), topic((8, 6), 7)] {
        assert_eq!(ask(&tools, 17, grown.clone(), b"").await.code, 0, "{grown}");
    }
    for less in [topic((7, 6), 7), topic((8, 5), 7), topic((8, 6), 4), topic((9, 9), 2), topic((0, 0), 0)] {
        refused(&ask(&tools, 17, less, b"").await, "Taking queues or permissions from topic T");
    }
    let list = json!({"topicConfigList": [
        {"topicName": "New", "readQueueNums": 1, "writeQueueNums": 1, "perm": 6},
        {"topicName": "T", "readQueueNums": 1, "writeQueueNums": 1, "perm": 6},
    ]});
    let answer = ask(&tools, 18, json!({}), list.to_string().as_bytes()).await;
    refused(&answer, "Taking queues or permissions from topic T");
    assert_eq!(ask(&tools, 351, json!({"topic": "New"}), b"").await.code, 17, "all or none");
    // Here it is done.
    assert_eq!(tools.ask(17, topic((1, 1), 4), b"").await.code, 0);
}

#[tokio::test]
async fn groups_are_made_but_not_stopped_from_elsewhere() {
    let tools = Fixture::new();
    let group = |more: Value| {
        let mut all = json!({"groupName": "g", "retryQueueNums": 2, "retryMaxTimes": 16});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all.to_string()
    };
    for fine in [json!({}), json!({"retryMaxTimes": 17}), json!({"retryMaxTimes": 17, "retryQueueNums": 3})] {
        assert_eq!(ask(&tools, 200, json!({}), group(fine.clone()).as_bytes()).await.code, 0, "{fine}");
    }
    let now = json!({"retryMaxTimes": 17, "retryQueueNums": 3});
    for (key, value) in [
        ("retryMaxTimes", json!(0)),
        ("retryQueueNums", json!(2)),
        ("consumeEnable", json!(false)),
        ("consumeBroadcastEnable", json!(false)),
    ] {
        let mut less = now.clone();
        less[key] = value;
        let answer = ask(&tools, 200, json!({}), group(less.clone()).as_bytes()).await;
        refused(&answer, "Taking permissions or retries from group g");
        let list = format!(r#"{{"groupConfigList":[{{"groupName":"new"}},{}]}}"#, group(less));
        let answer = ask(&tools, 225, json!({}), list.as_bytes()).await;
        refused(&answer, "Taking permissions or retries from group g");
    }
    tools.send("T", &[], json!({})).await;
    let forbid = |readable: &str| json!({"group": "g", "topic": "T", "readable": readable});
    refused(&ask(&tools, 353, forbid("false"), b"").await, "Keeping group g from topic T");
    for fine in [forbid("true"), json!({"group": "g", "topic": "T"})] {
        assert_eq!(ask(&tools, 353, fine, b"").await.code, 0);
    }
}
