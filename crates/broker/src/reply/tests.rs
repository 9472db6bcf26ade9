// SPDX-License-Identifier: Apache-2.0
//! Replies, over a store in a temporary folder. What is expected was seen on Java 5.3.3, unless a comment says
//! otherwise. What crosses the wire is tested with real clients (`compat/java`, Replies).

use crate::fixture::{Fixture, answer};
use oxmq_net::Peer;
use oxmq_remoting::{Command, code::request as codes};
use serde_json::{Value, json};
use std::sync::Arc;

const TO: [(&str, &str); 2] = [("REPLY_TO_CLIENT", "req@1"), ("CORRELATION_ID", "cid")];

async fn requester(broker: &Fixture) -> Arc<Peer> {
    let peer = Peer::unconnected(([127, 0, 0, 1], 6000).into());
    let body = json!({"clientID": "req@1", "producerDataSet": [{"groupName": "PG"}], "consumerDataSet": []});
    let told = broker.handle(&peer, codes::HEART_BEAT, &json!({}), body.to_string().as_bytes());
    assert_eq!(answer(told).await.code, 0);
    peer
}

async fn reply(broker: &Fixture, properties: &[(&str, &str)], more: Value, body: &[u8]) -> Command {
    let properties: String =
        properties.iter().map(|(name, value)| format!("{name}\u{1}{value}\u{2}")).collect();
    let mut fields = json!({"a": "RG", "b": "C_REPLY_TOPIC", "c": "TBW102", "d": 4, "e": 0, "f": 0, "g": 77, "h": 9,
        "i": properties, "j": 0});
    fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    broker.ask(codes::SEND_REPLY_MESSAGE_V2, fields, body).await
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_nobody_takes_is_stored_and_says_so() {
    let broker = Fixture::new();
    requester(&broker).await;
    let nobody = [("REPLY_TO_CLIENT", "nobody")];
    for (properties, remark) in [
        (&[][..], "reply message properties[REPLY_TO_CLIENT] is null"),
        (&nobody[..], "push reply message fail, channel of <nobody> not found."),
        // It is there, and never answers.
        (&TO[..], "push reply message to req@1fail."),
    ] {
        let answered = reply(&broker, properties, json!({}), b"answer").await;
        assert_eq!((answered.code, answered.remark.as_deref()), (1, Some(remark)));
        for field in ["msgId", "queueId", "queueOffset", "MSG_REGION", "TRACE_ON"] {
            assert!(answered.field(field).is_some(), "{field}");
        }
    }
    let stored = broker.stored("C_REPLY_TOPIC", 0);
    assert_eq!(stored.len(), 3);
    let last = &stored[2];
    assert_eq!((last.view().body(), last.view().flag()), (&b"answer"[..], 9));
    for (name, value) in [TO[0], TO[1], ("MSG_REGION", "R"), ("TRACE_ON", "true")] {
        assert_eq!(last.property(name).as_deref(), Some(value));
    }
    assert_eq!((last.property("PUSH_REPLY_TIME"), last.property("UNIQ_KEY")), (None, None));
}

#[tokio::test(start_paused = true)]
async fn replies_need_not_be_stored() {
    let broker = Fixture::with(|settings| settings.sends.stores_replies = false);
    requester(&broker).await;
    let answered = reply(&broker, &TO, json!({}), b"answer").await;
    assert_eq!(answered.field("msgId").as_deref(), Some("0"));
    assert!(broker.stored("C_REPLY_TOPIC", 0).is_empty());
}

/// Java keeps the flag, and with it the reply from everybody who looks for it.
#[tokio::test]
async fn a_stored_reply_is_no_half_message() {
    let broker = Fixture::new();
    for flag in [4, 8, 12] {
        reply(&broker, &[("REPLY_TO_CLIENT", "nobody")], json!({"f": flag | 1}), b"x").await;
    }
    let flags: Vec<_> =
        broker.stored("C_REPLY_TOPIC", 0).iter().map(|stored| stored.view().sys_flag()).collect();
    assert_eq!(flags, [1; 3]);
}

#[tokio::test]
async fn a_reply_that_is_none_is_refused() {
    let broker = Fixture::new();
    for (more, body, code, remark) in [
        (json!({}), &b""[..], 1, "the message body is empty"),
        (json!({"b": "nix/"}), b"x", 29, "The specified topic contains illegal characters"),
        (json!({"e": 7}), b"x", 29, "request queueId[7] is illegal"),
        (json!({"b": "SCHEDULE_TOPIC_XXXX"}), b"x", 16, "Sending message to topic[SCHEDULE_TOPIC_XXXX]"),
        (json!({"g": "x"}), b"x", 1, "the custom field <bornTimestamp> is not"),
    ] {
        Fixture::check_refused(&reply(&broker, &TO, more, body).await, (code, remark));
    }
    assert!(broker.stored("C_REPLY_TOPIC", 0).is_empty());
}
