// SPDX-License-Identifier: Apache-2.0
//! Messages from a socket to the disk and back, through servers that end as they should and as they should not.

mod kit;

use kit::*;
use oxmq_remoting::{Command, code, code::request};
use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    net::TcpListener,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

#[test]
fn dev_takes_and_gives_a_message() {
    let ground = Ground::new();
    let (process, ports) = (0..10)
        .find_map(|_| {
            let ports = [free_port(), free_port()];
            let [namesrv, broker] = ports.map(|port| port.to_string());
            let args = ["dev", "--namesrv-port", &namesrv, "--broker-port", &broker, "--data", "data"];
            match ground.start(&args, 4) {
                Ok(process) => Some((process, ports)),
                Err(failed) if ports.iter().any(|port| failed.stderr.contains(&format!(":{port}"))) => None,
                Err(failed) => panic!("{failed:?}"),
            }
        })
        .expect("free ports");
    let [namesrv, broker] = ports;
    let expected = format!("The Name Server boot success. serializeType=JSON, address 127.0.0.1:{namesrv}");
    assert_eq!(process.lines[0], expected);
    let line = &process.lines[1];
    let address = format!("127.0.0.1:{broker}");
    assert!(
        line.starts_with("The broker[") && line.contains(&format!(", {address}] boot success.")),
        "{line}"
    );
    assert!(line.ends_with(&format!("and name server is 127.0.0.1:{namesrv}")), "{line}");
    // Were it bound to all addresses, nobody else could bind another one of them.
    for port in [namesrv, broker, broker - 2] {
        TcpListener::bind(("127.0.0.2", port)).unwrap();
        drop(Wire::connect(port));
    }

    let mut wire = Wire::connect(broker);
    let properties = "TAGS\u{1}标签\u{2}KEYS\u{1}k1 k2\u{2}自己的\u{1}值\u{2}UNIQ_KEY\u{1}0A\u{2}";
    let sent = wire.ask(&send("Fresh", 1, properties, "你好，世界"));
    sent.is(0, "");
    let answered = Instant::now();
    let topics = fs::read_to_string(ground.path("data/store/config/topics.json")).unwrap();
    assert!(topics.contains("\"Fresh\""), "it was answered before it was on disk: {topics}");
    assert_eq!((sent.number("queueId"), sent.number("queueOffset")), (1, 0));
    assert_eq!(sent.fields["transactionId"], "0A");

    let route = Command::new(request::GET_ROUTEINFO_BY_TOPIC).with("topic", "Fresh");
    let mut names = Wire::connect(namesrv);
    until("the topic has a route", || {
        let route = names.ask(&route);
        route.code == 0 && String::from_utf8_lossy(&route.body).contains(&address)
    });
    assert!(answered.elapsed() < Duration::from_secs(1), "{:?}", answered.elapsed());

    let pulled = wire.pull("Fresh", 1, 0);
    pulled.is(0, "FOUND");
    assert_eq!((pulled.number("nextBeginOffset"), pulled.number("maxOffset")), (1, 1));
    let messages = pulled.messages();
    assert_eq!(messages.len(), 1);
    let message = &messages[0];
    assert_eq!((message.topic(), message.body()), ("Fresh", "你好，世界".as_bytes()));
    for (name, value) in [("TAGS", "标签"), ("KEYS", "k1 k2"), ("自己的", "值"), ("UNIQ_KEY", "0A")] {
        assert_eq!(message.property(name), Some(value.as_bytes()), "{name}");
    }
    assert_eq!(message.message_id().to_text(), sent.fields["msgId"]);
    assert!(process.stop().success());
}

/// What was acknowledged, by queue and queue offset.
type Acknowledged = Arc<Mutex<BTreeMap<(i32, i64), Vec<u8>>>>;

/// Sends to a queue, several requests at a time, until the broker is gone, and notes what it acknowledges.
fn send_until_the_end(
    mut wire: Wire,
    queue: i32,
    round: u32,
    acknowledged: &Acknowledged,
    count: &AtomicUsize,
) {
    const WINDOW: i32 = 16;
    for first in (0..).step_by(WINDOW as usize) {
        let body = |opaque: i32| {
            // Of many lengths, so that segments end wherever they can.
            let mut body = format!("round {round}, queue {queue}, message {opaque} ").into_bytes();
            body.resize(body.len() + opaque as usize * 37 % 4000, b'x');
            body
        };
        let requests: Vec<u8> = (first..first + WINDOW)
            .flat_map(|opaque| {
                frame(wire.encoding, opaque, &send("T", queue, "TAGS\u{1}a\u{2}", body(opaque)))
            })
            .collect();
        if wire.stream.write_all(&requests).is_err() {
            return;
        }
        for _ in 0..WINDOW {
            let Some(answer) = wire.read() else { return };
            answer.is(0, "");
            let place = (queue, answer.number("queueOffset"));
            let before = acknowledged.lock().unwrap().insert(place, body(answer.opaque));
            assert!(before.is_none(), "{place:?} was given twice");
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost_by_kill() {
    let mut broker = Broker::start("flushConsumerOffsetInterval=20");
    let acknowledged = Acknowledged::default();
    for round in 0..5 {
        let count = AtomicUsize::new(0);
        let mut wire = broker.connect();
        // The first pull makes the group, and only groups that are there have offsets.
        wire.ask(&send("T", 3, "", "x")).is(0, "");
        wire.pull("T", 3, 0).is(0, "FOUND");
        // As many as the queue has by now.
        let committed = 1 + round as i64;
        wire.ask(&commit("g", "T", 3, committed)).is(0, "");
        let offsets = broker.store("config/consumerOffset.json");
        until("the offset is saved", || {
            let text = fs::read_to_string(&offsets).unwrap_or_default();
            text.replace(['"', ' ', '\t', '\n'], "").contains(&format!("T@g:{{3:{committed}"))
        });

        let wires = [0, 1].map(|queue| (queue, broker.connect()));
        thread::scope(|scope| {
            for (queue, wire) in wires {
                let (acknowledged, count) = (&acknowledged, &count);
                scope.spawn(move || send_until_the_end(wire, queue, round, acknowledged, count));
            }
            until("there is something to lose", || count.load(Ordering::Relaxed) > 600);
            broker.kill();
        });
        assert!(broker.store("abort").exists());
        broker.start_again();

        let mut wire = broker.connect();
        let query = Command::new(request::QUERY_CONSUMER_OFFSET)
            .with("consumerGroup", "g")
            .with("topic", "T")
            .with("queueId", 3);
        assert_eq!(wire.ask(&query).number("offset"), committed);
        let found: BTreeMap<_, _> = [0, 1].into_iter().flat_map(|queue| read_all(&mut wire, queue)).collect();
        for (place, body) in &*acknowledged.lock().unwrap() {
            assert!(found.get(place) == Some(body), "round {round}: {place:?} is not what was acknowledged");
        }
    }
    let segments = fs::read_dir(broker.store("commitlog")).unwrap().count();
    assert!(segments > 1, "all went into one segment, which shows less");
}

/// All messages of a queue with their places.
fn read_all(wire: &mut Wire, queue: i32) -> Vec<((i32, i64), Vec<u8>)> {
    let (mut next, mut found) = (0, Vec::new());
    loop {
        let pulled = wire.pull("T", queue, next);
        if pulled.code == code::PULL_NOT_FOUND {
            return found;
        }
        pulled.is(0, "FOUND");
        for message in pulled.messages() {
            assert_eq!(message.queue_offset().0 as i64, next, "no gap in queue {queue}");
            found.push(((queue, next), message.body().to_vec()));
            next += 1;
        }
        assert_eq!(pulled.number("nextBeginOffset"), next);
    }
}

#[test]
fn a_clean_stop_leaves_everything_in_order() {
    let mut broker = Broker::start("");
    let mut wire = broker.connect();
    for number in 0..50 {
        wire.ask(&send("T", 0, "", format!("{number}"))).is(0, "");
    }
    wire.pull("T", 0, 0).is(0, "FOUND");
    wire.ask(&commit("g", "T", 0, 7)).is(0, "");
    assert!(broker.store("abort").exists());
    assert!(broker.stop().success());
    assert!(wire.read().is_none());
    assert!(!broker.store("abort").exists(), "the next start would take it for a crash");

    broker.start_again();
    let mut wire = broker.connect();
    let bodies: Vec<_> = read_all(&mut wire, 0).into_iter().map(|(_, body)| body).collect();
    assert_eq!(bodies, (0..50).map(|number| number.to_string().into_bytes()).collect::<Vec<_>>());
    let query = Command::new(request::QUERY_CONSUMER_OFFSET)
        .with("consumerGroup", "g")
        .with("topic", "T")
        .with("queueId", 0);
    assert_eq!(wire.ask(&query).number("offset"), 7);
    assert_eq!(wire.ask(&send("T", 0, "", "on")).number("queueOffset"), 50);
}

#[test]
fn synchronous_flush_answers_when_it_is_on_disk() {
    let mut broker = Broker::start("flushDiskType=SYNC_FLUSH");
    for number in 0..20 {
        broker.connect().ask(&send("T", 0, "", format!("{number}"))).is(0, "");
    }
    // A producer may say that it does not wait.
    broker.connect().ask(&send("T", 0, "WAIT\u{1}false\u{2}", "20")).is(0, "");
    broker.kill();
    broker.start_again();
    let bodies: Vec<_> = read_all(&mut broker.connect(), 0).into_iter().map(|(_, body)| body).collect();
    assert_eq!(bodies, (0..21).map(|number| number.to_string().into_bytes()).collect::<Vec<_>>());
}
