// SPDX-License-Identifier: Apache-2.0
//! What messages cost that wait: memory for the pending ones, lateness of those that are due.
//!
//! `cargo run --release -p oxmq-broker --example delayed -- PENDING DUE SECONDS`: sends PENDING messages that are due in
//! two days, then DUE messages at random times within SECONDS, prints how late they came, and starts again on what is
//! left. Needs about 400 bytes of disk for a message, in the folder for temporary files.
#![allow(missing_docs)]

use oxmq_broker::{Broker, Settings, dispatch_rule};
use oxmq_net::{Answer, Peer, Request, Service};
use oxmq_record::RecordView;
use oxmq_remoting::{Encoding, Header};
use oxmq_store::{Store, StoreConfig};
use oxmq_types::{QueueId, QueueOffset};
use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

fn open(root: &std::path::Path) -> (Arc<Store>, Arc<Broker>) {
    let config = StoreConfig::new(root);
    let mut settings = Settings::new(("DefaultCluster", "example"), ([127, 0, 0, 1], 10911).into(), &config);
    settings.topics.default_queues = 1;
    let rule = dispatch_rule(settings.delays.levels.clone());
    let store = Store::open(config, Box::new(rule)).unwrap();
    let broker = Broker::open(settings, store.clone()).unwrap();
    (store, broker)
}

fn send(broker: &Broker, peer: &Arc<Peer>, number: u64, due_ms: u64) {
    let header = format!(
        r#"{{"code":310,"extFields":{{"a":"p","b":"T","c":"TBW102","d":"1","e":"0","f":"0","g":"{due_ms}","h":"0","i":"UNIQ_KEY\u0001{number:032X}\u0002TIMER_DELIVER_MS\u0001{due_ms}\u0002"}},"language":"JAVA","version":479}}"#
    );
    let header = Header::parse(Encoding::Json, header.as_bytes()).unwrap();
    match broker.handle(Request { header: &header, body: b"example", peer }) {
        Answer::Now(answer) => assert_eq!(answer.code, 0, "{answer:?}"),
        // The first one makes the topic.
        _ => assert_eq!(number, 0),
    }
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

fn print_memory(when: &str) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let value =
        |name| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("?").trim().to_owned();
    println!("{when}: anonymous {}, of files {}", value("RssAnon:"), value("RssFile:"));
}

fn main() {
    let numbers: Vec<u64> = std::env::args().skip(1).map(|text| text.parse().expect("a number")).collect();
    let &[pending, due, seconds] = &numbers[..] else { panic!("PENDING DUE SECONDS") };
    let folder = tempfile::tempdir().unwrap();
    let peer = Peer::unconnected(([127, 0, 0, 1], 40000).into());
    let (store, broker) = open(folder.path());
    print_memory("empty");
    let began = Instant::now();
    let mut random = 88_172_645_463_325_252_u64;
    let mut next = |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    for number in 0..pending {
        send(&broker, &peer, number, now_ms() + 172_800_000 + next(3_600_000));
        if number % 1_000_000 == 999_999 {
            print_memory(&format!("{} pending", number + 1));
        }
    }
    println!("sent {pending} in {:?}", began.elapsed());
    // One that is sent when its time has passed is not delayed, and says nothing of the engine.
    let each = began.elapsed() / pending.max(1) as u32;
    let start_ms = now_ms() + 2_000 + (each * due as u32 * 2).as_millis() as u64;
    for number in 0..due {
        send(&broker, &peer, pending + number + 1, start_ms + next(seconds * 1_000));
    }
    println!("sent {due} more until {} ms before the first is due", start_ms as i64 - now_ms() as i64);

    let queue = store.queue("T", QueueId(0)).unwrap();
    let (mut late, mut units) = (Vec::new(), Vec::new());
    while (late.len() as u64) < due {
        thread::sleep(Duration::from_millis(500));
        units.clear();
        queue.read_units(QueueOffset(late.len() as u64), 1 << 20, &mut units).unwrap();
        for unit in &units {
            let record = store.read_record(unit.physical, unit.size).unwrap();
            let view = RecordView::parse(&record).unwrap();
            let delay = view.store_timestamp_ms() - view.born_timestamp_ms();
            assert!(delay >= 0, "{} ms early", -delay);
            late.push(delay);
        }
        assert!(now_ms() < start_ms + seconds * 1_000 + 120_000, "{} came", late.len());
    }
    print_memory("delivered");
    late.sort_unstable();
    for part in [500, 900, 990, 999, 1_000] {
        if let Some(ms) = late.get((late.len() * part / 1_000).saturating_sub(1)) {
            println!("lateness p{}: {ms} ms", part as f64 / 10.0);
        }
    }
    let began = Instant::now();
    broker.stop();
    store.close().unwrap();
    drop((broker, store));
    println!("stopped in {:?}", began.elapsed());
    let began = Instant::now();
    let (store, broker) = open(folder.path());
    println!("opened again in {:?}", began.elapsed());
    print_memory("opened again");
    broker.stop();
    store.close().unwrap();
}
