// SPDX-License-Identifier: Apache-2.0
//! `resendDlq` and `redistribute` when two run at once, when one is killed, and on a broker that keeps no index: nothing is
//! sent twice, and nothing is left out.

mod kit;

use kit::{Wire, cluster::Cluster, commit, create_topic, send, until};
use oxmq_record::properties;
use oxmq_remoting::{Command as Frame, code::request};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const LEDGER: &str = "MQADMIN_LEDGER";
const NO_INDEX: &str = "messageIndexEnable=false";
const RESEND: [&str; 5] = ["resendDlq", "-g", "g", "-a", "-y"];
const REDISTRIBUTE: [&str; 8] = ["redistribute", "-g", "g", "-t", "Old", "-d", "New", "-y"];

/// Body and a property of all messages of a topic of four queues.
fn read(wire: &mut Wire, topic: &str, property: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for queue in 0..4 {
        let mut offset = 0;
        loop {
            let answer = wire.pull(topic, queue, offset);
            if answer.code != 0 {
                break;
            }
            for message in answer.messages() {
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                let value = properties::find(message.properties(), property).unwrap_or_default();
                all.push((text(message.body()), text(value)));
                offset = message.queue_offset().0.cast_signed() + 1;
            }
        }
    }
    all
}

/// How many messages a topic of four queues has.
fn count(wire: &mut Wire, topic: &str) -> i64 {
    let end = |queue| {
        let frame =
            Frame::new(request::GET_MAX_OFFSET).with("topic", topic.to_owned()).with("queueId", queue);
        wire.ask(&frame).number("offset")
    };
    (0..4).map(end).sum()
}

/// Checks that a topic has a copy of each of `messages` messages, and none twice.
#[track_caller]
fn has_each_once(wire: &mut Wire, topic: &str, mark: &str, messages: usize) {
    let all = read(wire, topic, mark);
    let bodies: BTreeSet<_> = all.iter().map(|(body, _)| body).collect();
    let marks: BTreeSet<_> = all.iter().map(|(_, mark)| mark).collect();
    assert_eq!((all.len(), bodies.len(), marks.len()), (messages, messages, messages));
}

fn locks(code: i32, group: &str, client: &str, topic: &str) -> Frame {
    let queues: Vec<_> = (0..4).map(|id| json!({"topic": topic, "brokerName": "b", "queueId": id})).collect();
    let body = json!({"consumerGroup": group, "clientId": client, "mqSet": queues});
    Frame::new(code).with_body(body.to_string())
}

/// Gives back the locks of a run that was killed, as 60 s would.
fn expire(wire: &mut Wire, group: &str, topic: &str) {
    let notes = read(wire, LEDGER, "");
    let note: Value = serde_json::from_str(&notes.last().unwrap().0).unwrap();
    let client = note["by"].as_str().unwrap();
    wire.ask(&locks(request::UNLOCK_BATCH_MQ, group, client, topic)).is(0, "");
}

fn with_dead_letters(letters: u32) -> Cluster {
    let cluster = Cluster::start_with(NO_INDEX);
    let mut wire = cluster.connect();
    for topic in ["T", "Other", "%DLQ%g"] {
        wire.ask(&create_topic(topic, 6, false)).is(0, "");
    }
    for n in 0..letters {
        let properties = format!("UNIQ_KEY\u{1}U{n}\u{2}RETRY_TOPIC\u{1}T\u{2}");
        wire.ask(&send("%DLQ%g", 0, &properties, format!("{n}"))).is(0, "");
    }
    cluster
}

fn with_a_backlog(messages: u32) -> Cluster {
    let cluster = Cluster::start_with(NO_INDEX);
    let mut wire = cluster.connect();
    for topic in ["Old", "New"] {
        wire.ask(&create_topic(topic, 6, false)).is(0, "");
    }
    for n in 0..messages {
        wire.ask(&send("Old", 0, &format!("UNIQ_KEY\u{1}U{n}\u{2}"), format!("{n}"))).is(0, "");
    }
    cluster.text(&["updateSubGroup", "-b", &cluster.broker(), "-g", "g"]);
    for queue in 0..4 {
        wire.ask(&commit("g", "Old", queue, 0)).is(0, "");
    }
    cluster
}

/// How many dead letters a run of [`RESEND`] sent, and how many were sent before.
#[track_caller]
fn resend(cluster: &Cluster) -> (usize, usize) {
    let value = cluster.json(&RESEND);
    let count = |name: &str| value.as_array().unwrap().iter().filter(|each| each["result"] == name).count();
    (count("SENT"), count("SENT_BEFORE"))
}

#[test]
fn of_those_who_resend_at_once_one_sends() {
    let cluster = with_dead_letters(300);
    let mut wire = cluster.connect();
    let mut all: Vec<_> = (0..4).map(|_| cluster.begin(&RESEND)).collect();
    for process in &mut all {
        process.wait().unwrap();
    }
    let (sent, before) = resend(&cluster);
    assert!(before > 0 && sent + before == 300, "{sent} {before}");
    has_each_once(&mut wire, "T", "DLQ_RESENT_FROM", 300);

    // Somebody else, as long as he has the lock.
    wire.ask(&locks(request::LOCK_BATCH_MQ, "TOOLS_CONSUMER", "bob@shop@7@X", "%DLQ%g")).is(0, "");
    cluster.fails(&RESEND, "somebody else has locked MessageQueue [topic=%DLQ%g, brokerName=b, queueId=0] (the last to begin was ");
    assert!(
        cluster.text(&RESEND[..4]).ends_with("nothing was sent, --yes does it\n"),
        "who only looks may look"
    );
    wire.ask(&locks(request::UNLOCK_BATCH_MQ, "TOOLS_CONSUMER", "bob@shop@7@X", "%DLQ%g")).is(0, "");
    assert_eq!(resend(&cluster), (0, 300));
    // A letter that is named twice is sent once, and is found without an index.
    let twice = cluster.text(&["resendDlq", "-g", "g", "-t", "Other", "-i", "U7,U7", "-y"]);
    assert!(twice.ends_with("sent: 1, sent before: 1, cannot be sent: 0\n"), "{twice}");
    cluster.fails(&["resendDlq", "-g", "g", "-i", "U300"], "no dead letter U300");
}

#[test]
fn a_resend_that_is_killed_is_begun_again() {
    let cluster = with_dead_letters(1000);
    let mut wire = cluster.connect();
    let mut killed = cluster.begin(&RESEND);
    until("it is at work", || count(&mut wire, "T") >= 100);
    killed.kill().unwrap();
    killed.wait().unwrap();
    cluster.fails(&RESEND, "if it was killed, its lock ends after 60 s");
    expire(&mut wire, "TOOLS_CONSUMER", "%DLQ%g");
    let (sent, before) = resend(&cluster);
    assert!(sent > 0 && before >= 100 && sent + before == 1000, "{sent} {before}");
    has_each_once(&mut wire, "T", "DLQ_RESENT_FROM", 1000);
}

/// What a run that was killed may leave: a note and a copy, a note and no copy, and a note of a place that is not there
/// any more.
#[test]
fn a_note_without_a_copy_is_no_copy() {
    let cluster = with_dead_letters(3);
    let mut wire = cluster.connect();
    let note = |from: u32, offset: u32| {
        let place = json!({"queue": {"topic": "T", "brokerName": "b", "queueId": 0}, "offset": offset});
        let source = json!({"topic": "%DLQ%g", "brokerName": "b", "queueId": 0});
        let note = json!({"command": "resendDlq", "group": "g", "by": "bob", "source": source, "from": from,
            "to": from + 1, "target": "T", "places": [place]});
        send(LEDGER, 0, "TAGS\u{1}g00000067\u{2}", note.to_string())
    };
    wire.ask(&note(0, 0)).is(0, "");
    let place = cluster.json(&["printMsg", "-t", "%DLQ%g"])[0]["offsetMsgId"].as_str().unwrap().to_owned();
    wire.ask(&send("T", 0, &format!("DLQ_RESENT_FROM\u{1}{place}\u{2}"), "0")).is(0, "");
    wire.ask(&note(1, 1)).is(0, "");
    wire.ask(&note(2, 7)).is(0, "");
    let text = cluster.text(&RESEND);
    let fate = |id: &str| text.lines().find(|line| line.starts_with(id)).unwrap().to_owned();
    assert!(fate("U0 ").contains("SENT_BEFORE") && fate("U2 ").contains("SENT_BEFORE"), "{text}");
    assert!(
        !fate("U1 ").contains("SENT_BEFORE")
            && text.ends_with("sent: 1, sent before: 2, cannot be sent: 0\n"),
        "{text}"
    );
    // What cannot be read may be a note of what was sent.
    wire.ask(&send(LEDGER, 0, "TAGS\u{1}g00000067\u{2}", "{}")).is(0, "");
    cluster.fails(&RESEND, "it is not known what was sent before");
}

#[test]
fn a_backlog_moves_once_though_one_run_is_killed_and_others_begin_at_once() {
    let cluster = with_a_backlog(3000);
    let mut wire = cluster.connect();
    let mut killed = cluster.begin(&REDISTRIBUTE);
    until("it is at work", || count(&mut wire, "New") >= 300);
    killed.kill().unwrap();
    killed.wait().unwrap();
    cluster.fails(&REDISTRIBUTE, "if it was killed, its lock ends after 60 s");
    expire(&mut wire, "g", "Old");
    // A broker that crashes knows the offsets of some seconds ago.
    wire.ask(&commit("g", "Old", 0, 0)).is(0, "");
    let mut all: Vec<_> = (0..4).map(|_| cluster.begin(&REDISTRIBUTE)).collect();
    for process in &mut all {
        process.wait().unwrap();
    }
    cluster.text(&REDISTRIBUTE);
    has_each_once(&mut wire, "New", "REDISTRIBUTED_FROM", 3000);
    // Taken back once more, all is found.
    wire.ask(&commit("g", "Old", 0, 0)).is(0, "");
    let found = cluster.text(&REDISTRIBUTE);
    assert!(found.starts_with("moved 0 ") && found.ends_with(", 3000 had been moved before\n"), "{found}");

    // An orderly member of the group.
    wire.ask(&send("Old", 0, "", "late")).is(0, "");
    wire.ask(&locks(request::LOCK_BATCH_MQ, "g", "10.0.0.5@1", "Old")).is(0, "");
    cluster
        .fails(&REDISTRIBUTE, "somebody else has locked MessageQueue [topic=Old, brokerName=b, queueId=0]");
    assert_eq!(count(&mut wire, "New"), 3000);
}
