// SPDX-License-Identifier: Apache-2.0
//! What a client asks, and what it is answered. Codes as Java 5.3.3 answers them, unless a comment says otherwise.

use super::*;
use crate::topics::TopicRules;
use oxmq_net::Peer;
use oxmq_remoting::{
    Encoding, Header,
    bodies::TopicConfig,
    code::request::{LOCK_BATCH_MQ, UNLOCK_BATCH_MQ, UNREGISTER_CLIENT},
};
use oxmq_store::{Store, StoreConfig, tags_of};
use serde_json::{Value, json};

struct Fixture {
    locks: OrderLocks,
    _folder: tempfile::TempDir,
}

impl Fixture {
    fn new(auto_create_groups: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = StoreConfig { segment_size_bytes: 1 << 20, ..StoreConfig::new(folder.path()) };
        let store = Store::open(config, Box::new(tags_of)).unwrap();
        let rules = TopicRules { default_queues: 4, ..TopicRules::new("C", "B") };
        let topics = Topics::open(folder.path().join("topics.json"), rules, store).unwrap();
        let (read_queue_nums, write_queue_nums) = (2, 3);
        let topic_name = "T".to_owned();
        let config = TopicConfig { topic_name, read_queue_nums, write_queue_nums, ..TopicConfig::default() };
        drop(topics.create(config));
        let groups = Groups::open(folder.path().join("groups.json"), auto_create_groups).unwrap();
        Self { locks: OrderLocks::new(topics, groups), _folder: folder }
    }

    fn ask(&self, code: i32, fields: &Value, body: &str) -> Result<Command, Refusal> {
        let text = json!({"code": code, "language": "JAVA", "version": 479, "extFields": fields}).to_string();
        let header = Header::parse(Encoding::Json, text.as_bytes()).unwrap();
        let peer = Peer::unconnected(([127, 0, 0, 1], 5000).into());
        let request = Request { header: &header, body: body.as_bytes(), peer: &peer };
        match code {
            LOCK_BATCH_MQ => self.locks.lock(request),
            UNLOCK_BATCH_MQ => self.locks.unlock(request),
            _ => self.locks.unregistered(request).map(|()| Command::success()),
        }
    }

    /// The numbers of the queues of `T` that are locked.
    fn lock(&self, client: &str, queues: &[i32]) -> Vec<i32> {
        let answer = self.ask(LOCK_BATCH_MQ, &json!({}), &body(client, queues)).unwrap();
        let body: Vec<u8> = answer.body.pieces().iter().flat_map(|piece| piece.to_vec()).collect();
        let body: Value = serde_json::from_slice(&body).unwrap();
        let locked = body["lockOKMQSet"].as_array().unwrap().iter();
        locked
            .map(|queue| {
                assert_eq!((&queue["topic"], &queue["brokerName"]), (&json!("T"), &json!("B")));
                i32::try_from(queue["queueId"].as_i64().unwrap()).unwrap()
            })
            .collect()
    }
}

fn body(client: &str, queues: &[i32]) -> String {
    let queues: Vec<_> =
        queues.iter().map(|id| json!({"brokerName": "B", "queueId": id, "topic": "T"})).collect();
    json!({"consumerGroup": "g", "clientId": client, "onlyThisBroker": false, "mqSet": queues}).to_string()
}

#[test]
fn a_queue_has_one_owner() {
    let broker = Fixture::new(true);
    assert_eq!(broker.lock("a", &[0, 1]), [0, 1]);
    assert_eq!(broker.lock("b", &[0, 1, 2]), [2]);
    assert_eq!(broker.lock("a", &[0, 1, 2]), [0, 1]);
    // Only the owner can unlock.
    for (client, free) in [("b", false), ("a", true)] {
        let answer = broker.ask(UNLOCK_BATCH_MQ, &json!({}), &body(client, &[0, 7, -1]));
        assert_eq!(answer.unwrap().code, 0);
        assert_eq!(broker.lock("c", &[0]).len(), usize::from(free), "{client}");
    }
}

#[test]
fn who_unregisters_gives_its_locks_back() {
    let broker = Fixture::new(true);
    assert_eq!(broker.lock("a", &[0, 1]), [0, 1]);
    for fields in [
        json!({"clientID": "b", "consumerGroup": "g"}),
        json!({"clientID": "a", "consumerGroup": "other"}),
        json!({"clientID": "a", "producerGroup": "g"}),
    ] {
        broker.ask(UNREGISTER_CLIENT, &fields, "").unwrap();
        assert_eq!(broker.lock("b", &[0, 1]), [0; 0], "{fields}");
    }
    broker.ask(UNREGISTER_CLIENT, &json!({"clientID": "a", "consumerGroup": "g"}), "").unwrap();
    assert_eq!(broker.lock("b", &[0, 1]), [0, 1]);
}

/// Java locks whatever is named, and keeps it for ever.
#[test]
fn what_is_not_there_is_not_locked() {
    let broker = Fixture::new(true);
    assert_eq!(broker.lock("a", &[-1, 0, 3, i32::MAX]), [0]);
    let absent =
        r#"{"consumerGroup":"g","clientId":"a","mqSet":[{"brokerName":"B","queueId":0,"topic":"absent"}]}"#;
    let answer = broker.ask(LOCK_BATCH_MQ, &json!({}), absent).unwrap();
    assert_eq!(answer.body.pieces()[0].as_ref(), br#"{"lockOKMQSet":[]}"#);
}

#[test]
fn bad_requests_are_refused() {
    let broker = Fixture::new(true);
    for (text, code, remark) in [
        ("", 1, "the body cannot be read"),
        ("[]", 1, "the body cannot be read"),
        (r#"{"consumerGroup":"g","clientId":"a"}"#, 1, "the body cannot be read: mqSet is missing"),
        (r#"{"consumerGroup":"g","mqSet":[]}"#, 1, "the body cannot be read: clientId is missing"),
        (r#"{"clientId":"a","mqSet":[]}"#, 1, "the body cannot be read: consumerGroup is missing"),
        (
            r#"{"clientId":"a","consumerGroup":"../g","mqSet":[]}"#,
            26,
            "subscription group [../g] does not exist",
        ),
        (
            &format!(r#"{{"clientId":"{:300}","consumerGroup":"g","mqSet":[]}}"#, ""),
            29,
            "clientId has more than",
        ),
        (&" ".repeat(BODY_MAX_BYTES + 1), 1, "the body cannot be read: it has 2097152 bytes at most"),
    ] {
        let answer = Command::from(broker.ask(LOCK_BATCH_MQ, &json!({}), text).unwrap_err());
        assert_eq!(answer.code, code, "{text:.80}");
        assert!(answer.remark.clone().unwrap().starts_with(remark), "{answer:?}");
    }
    let strict = Fixture::new(false);
    let refused = strict.ask(LOCK_BATCH_MQ, &json!({}), &body("a", &[0])).unwrap_err();
    assert_eq!(refused.code(), 26);
}
