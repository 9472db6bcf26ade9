// SPDX-License-Identifier: Apache-2.0
//! A broker whose disk is slow, fails, or gives back something else than was written.

use crate::fixture::{Fixture, answer};
use oxmq_net::{Answer, Peer};
use oxmq_record::RecordView;
use oxmq_remoting::{Command, code, code::request as codes};
use oxmq_store::{MemoryDisk, Store, StoreConfig, tags_of};
use oxmq_types::{QueueId, QueueOffset};
use serde_json::json;
use std::{
    future::poll_fn,
    path::Path,
    sync::{Arc, Mutex, atomic::Ordering, mpsc},
    task::Poll,
    time::Duration,
};

const SEGMENT: &str = "/store/commitlog/00000000000000000000";

/// A broker on `disk` that takes the last `hot_bytes` to be in memory.
fn start(disk: &Arc<MemoryDisk>, hot_bytes: u64) -> Fixture {
    let open = |_| {
        let config = StoreConfig { segment_size_bytes: 1 << 20, hot_bytes, ..StoreConfig::new("/store") };
        Store::open_in_memory(disk, config, Box::new(tags_of)).unwrap()
    };
    Fixture::over(open, |settings| settings.pulls.property_filter = true)
}

/// The life of a broker: what it does in the background ends, too.
fn lifetime<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn stop(broker: &Fixture) {
    broker.broker.stop();
    broker.store.close().unwrap();
}

async fn send(broker: &Fixture, count: usize) {
    for i in 0..count {
        let n = i.to_string();
        let sent = broker.send("T", &[("TAGS", "A"), ("n", &n)], json!({})).await;
        assert_eq!(sent.code, 0);
    }
}

fn pull(broker: &Fixture, peer: &Arc<Peer>, from: u64, expression: Option<&str>) -> Answer {
    let mut fields = json!({"consumerGroup": "g", "topic": "T", "queueId": 0, "queueOffset": from,
        "maxMsgNums": 32, "sysFlag": 4, "commitOffset": 0, "suspendTimeoutMillis": 0, "subVersion": 1,
        "subscription": expression.unwrap_or("*")});
    if expression.is_some() {
        fields["expressionType"] = "SQL92".into();
    }
    broker.handle(peer, codes::PULL_MESSAGE, &fields, b"")
}

/// Queue offsets of the messages in an answer.
fn offsets(answer: &Command) -> Vec<u64> {
    let body = answer.body.pieces().concat();
    let (mut rest, mut found) = (&body[..], Vec::new());
    while !rest.is_empty() {
        let record = RecordView::parse(rest).unwrap();
        assert!(record.verify_crc());
        found.push(record.queue_offset().0);
        rest = &rest[record.size() as usize..];
    }
    found
}

/// Waits until so many reads from the disk have begun.
async fn begun(disk: &MemoryDisk, reads: u64) {
    while disk.faults().reads.load(Ordering::SeqCst) < reads {
        tokio::task::yield_now().await;
    }
}

fn peer(port: u16) -> Arc<Peer> {
    Peer::unconnected(([127, 0, 0, 1], port).into())
}

/// What waits for the disk lets everybody else go on, and does not wait for ever behind one who asks much.
#[tokio::test]
async fn who_reads_what_is_old_is_in_nobodys_way() {
    let disk = Arc::new(MemoryDisk::default());
    let broker = start(&disk, 1000);
    send(&broker, 100).await;
    let places: Vec<u64> =
        broker.stored("T", 0).iter().map(|stored| stored.view().physical_offset().0).collect();
    // Readers of the same page would wait for one read.
    let (back_at, end_at) = (places[30], places[80]);
    assert!(back_at > 4096 && places[50] / 4096 != back_at / 4096 && places[50] / 4096 != end_at / 4096);
    let faults = disk.faults();
    faults.cold.store(true, Ordering::SeqCst);
    faults.reads_stall.store(true, Ordering::SeqCst);

    let slow: Vec<_> = (0..20)
        .map(|from| match pull(&broker, &broker.peer, from, None) {
            Answer::Later(answer) => tokio::spawn(answer),
            _ => panic!("without the disk"),
        })
        .collect();
    begun(&disk, 1).await;
    // Others send and pull, on the same thread.
    let quick = peer(5001);
    send(&broker, 1).await;
    let Answer::Now(newest) = pull(&broker, &quick, 100, None) else { panic!("it waits") };
    assert_eq!(offsets(&newest), [100]);
    // Whatever else reads old records waits elsewhere, too, and one of another connection does not wait its turn behind
    // the first one's.
    let other = peer(5002);
    let fields = json!({"topic": "T", "queueId": 0, "timestamp": 1});
    let Answer::Later(search) = broker.handle(&other, codes::SEARCH_OFFSET_BY_TIMESTAMP, &fields, b"") else {
        panic!("without the disk")
    };
    let search = tokio::spawn(search);
    begun(&disk, 2).await;
    let back = json!({"group": "g", "offset": back_at, "delayLevel": 3, "originMsgId": "", "originTopic": "T",
        "unitMode": false, "maxReconsumeTimes": 16});
    let Answer::Later(back) = broker.handle(&peer(5003), codes::CONSUMER_SEND_MSG_BACK, &back, b"") else {
        panic!("without the disk")
    };
    let back = tokio::spawn(back);
    begun(&disk, 3).await;
    let end = json!({"producerGroup": "g", "tranStateTableOffset": 0, "commitLogOffset": end_at,
        "commitOrRollback": 8, "fromTransactionCheck": false});
    let Answer::Later(end) = broker.handle(&peer(5004), codes::END_TRANSACTION, &end, b"") else {
        panic!("without the disk")
    };
    let end = tokio::spawn(end);
    begun(&disk, 4).await;
    assert!(slow.iter().all(|pull| !pull.is_finished()));
    assert_eq!(faults.reads.load(Ordering::SeqCst), 4, "one for each connection");

    faults.reads_stall.store(false, Ordering::SeqCst);
    for (from, pull) in slow.into_iter().enumerate() {
        let answer = pull.await.unwrap();
        assert_eq!((answer.code, offsets(&answer)), (0, (from as u64..from as u64 + 32).collect()));
    }
    assert_eq!(search.await.unwrap().field("offset").as_deref(), Some("0"));
    assert_eq!(back.await.unwrap().code, 0);
    assert_eq!(end.await.unwrap().code, code::SYSTEM_ERROR, "not a half message");
    let cold = &broker.broker.pulls_cold().shared;
    assert!(cold.turns().is_empty());
    assert_eq!(cold.answers.available_permits(), super::ANSWERS_MAX_KIB, "all answers are gone");
}

/// An answer that was read from the disk takes room until it is gone; who finds none waits for it.
#[tokio::test]
async fn answers_from_the_disk_take_room() {
    let disk = Arc::new(MemoryDisk::default());
    let broker = start(&disk, 0);
    send(&broker, 40).await;
    disk.faults().cold.store(true, Ordering::SeqCst);
    let room = broker.broker.pulls_cold().shared.answers.clone();
    let all = room.available_permits();
    let taken = answer(pull(&broker, &broker.peer, 0, None)).await;
    let bytes = taken.body.len();
    assert_eq!(all - room.available_permits(), bytes.div_ceil(1024));
    // The next one finds them in memory, and takes no more than it needs, too.
    let Answer::Now(second) = pull(&broker, &broker.peer, 0, None) else { panic!("it is in memory") };
    assert_eq!(all - room.available_permits(), 2 * bytes.div_ceil(1024));
    drop((taken, second));
    assert_eq!(room.available_permits(), all);

    let everything = room.acquire_many(u32::try_from(all).unwrap()).await.unwrap();
    let Answer::Later(waits) = pull(&broker, &broker.peer, 0, None) else { panic!("there is no room") };
    let waits = tokio::spawn(waits);
    tokio::task::yield_now().await;
    assert!(!waits.is_finished());
    drop(everything);
    assert_eq!(offsets(&waits.await.unwrap()).len(), 32);
}

/// A held pull reads what it needs from the disk and is held again.
#[tokio::test]
async fn a_pull_that_is_held_may_read_from_the_disk() {
    let disk = Arc::new(MemoryDisk::default());
    let broker = start(&disk, 0);
    send(&broker, 1).await;
    disk.faults().cold.store(true, Ordering::SeqCst);
    let fields = json!({"consumerGroup": "g", "topic": "T", "queueId": 0, "queueOffset": 1, "maxMsgNums": 32,
        "sysFlag": 6, "commitOffset": 0, "suspendTimeoutMillis": 15_000, "subVersion": 1, "subscription": "*"});
    let Answer::Later(held) = broker.handle(&broker.peer, codes::PULL_MESSAGE, &fields, b"") else {
        panic!("there is nothing")
    };
    let held = tokio::spawn(held);
    tokio::task::yield_now().await;
    send(&broker, 1).await;
    assert_eq!(offsets(&held.await.unwrap()), [1]);
}

/// Damaged messages are passed over by pulls of all kinds; who asks for one is told what is wrong.
#[test]
fn damaged_messages_are_passed_over() {
    let disk = Arc::new(MemoryDisk::default());
    let units = lifetime(async {
        let broker = start(&disk, 1 << 20);
        send(&broker, 10).await;
        let mut units = Vec::new();
        let queue = broker.store.queue("T", QueueId(0)).unwrap();
        queue.read_units(QueueOffset(0), 10, &mut units).unwrap();
        stop(&broker);
        units
    });
    // In the body.
    let damage = |i: usize| disk.flip(Path::new(SEGMENT), units[i].physical.0 as usize + 90);
    [2, 5, 6].into_iter().for_each(damage);

    for (cold, end) in [(false, 11), (true, 12)] {
        disk.faults().cold.store(cold, Ordering::SeqCst);
        lifetime(async {
            let broker = start(&disk, 1 << 20);
            // The topic's settings lie elsewhere, so it is made anew.
            send(&broker, 1).await;
            let found = answer(pull(&broker, &broker.peer, 0, None)).await;
            let good = (0..end).filter(|offset| ![2, 5, 6].contains(offset));
            assert_eq!(offsets(&found), good.collect::<Vec<_>>());
            let expression = Some("n BETWEEN 1 AND 7");
            let found = answer(pull(&broker, &broker.peer, 0, expression)).await;
            assert_eq!(offsets(&found), [1, 3, 4, 7]);
            let found = answer(pull(&broker, &broker.peer, 5, Some("n BETWEEN 5 AND 6"))).await;
            assert_eq!(
                (found.code, found.field("nextBeginOffset").as_deref()),
                (20, Some(&*end.to_string()))
            );
            assert!(broker.store.damage_met() > 0);
            for (at, remark) in [
                (units[2].physical.0, "can not find message by the offset, {}: the record is damaged"),
                (units[2].physical.0 + 1, "can not find message by the offset, {}"),
            ] {
                let found = broker.ask(codes::VIEW_MESSAGE_BY_ID, json!({"offset": at}), b"").await;
                let remark = remark.replace("{}", &at.to_string());
                assert_eq!((found.code, found.remark.as_deref()), (code::SYSTEM_ERROR, Some(&*remark)));
            }
            let back = json!({"group": "g", "offset": units[2].physical.0, "delayLevel": 3, "originMsgId": "",
            "originTopic": "T", "unitMode": false, "maxReconsumeTimes": 16});
            let back = broker.ask(codes::CONSUMER_SEND_MSG_BACK, back, b"").await;
            Fixture::check_refused(&back, (code::SYSTEM_ERROR, "look message by offset failed"));
            stop(&broker);
        });
    }
}

/// A disk that cannot read is said to be that; nothing is passed over, and what can be read later is given later.
#[tokio::test]
async fn a_disk_that_cannot_read_keeps_nobody_from_a_message() {
    let disk = Arc::new(MemoryDisk::default());
    let broker = start(&disk, 0);
    send(&broker, 3).await;
    let faults = disk.faults();
    faults.cold.store(true, Ordering::SeqCst);
    faults.reads_fail.store(true, Ordering::SeqCst);
    let refused = answer(pull(&broker, &broker.peer, 0, None)).await;
    Fixture::check_refused(&refused, (code::SYSTEM_ERROR, "the commit log cannot be read: commit log file"));
    let view = broker.ask(codes::VIEW_MESSAGE_BY_ID, json!({"offset": 0}), b"").await;
    Fixture::check_refused(
        &view,
        (code::SYSTEM_ERROR, "can not find message by the offset, 0: commit log file"),
    );
    faults.reads_fail.store(false, Ordering::SeqCst);
    assert_eq!(offsets(&answer(pull(&broker, &broker.peer, 0, None)).await), [0, 1, 2]);
}

/// A crash must not take messages for what a power loss left only because someone sends zeros.
#[test]
fn zeros_in_properties_outlive_a_crash() {
    let disk = Arc::new(MemoryDisk::default());
    let crashed = lifetime(async {
        let broker = start(&disk, 1 << 20);
        send(&broker, 1).await;
        let zeros = "\0".repeat(1200);
        for properties in [format!("zeros\u{1}{zeros}\u{2}"), "ends\u{1}with one\0".into()] {
            assert_eq!(broker.send("T", &[], json!({"i": properties})).await.code, 0);
            send(&broker, 5).await;
        }
        // Where there is no room for a checksum, the broker takes it all the same.
        let mut longest = 32_767;
        let sized = |size| json!({"i": format!("x\u{1}{}", "x".repeat(size))});
        while broker.send("U", &[], sized(longest)).await.code != 0 {
            longest -= 1;
        }
        let longest = format!("x\u{1}{}", "\0".repeat(longest));
        assert_eq!(broker.send("U", &[], json!({"i": longest})).await.code, 0);
        broker.store.flush().unwrap();
        let crashed = Arc::new(disk.copy());
        stop(&broker);
        crashed
    });
    lifetime(async {
        let broker = start(&crashed, 1 << 20);
        // It makes the topic, of which the other broker knew.
        send(&broker, 1).await;
        let stored = broker.stored("T", 0);
        assert_eq!(stored[1].property("zeros"), Some("\0".repeat(1200)));
        assert_eq!(stored[7].property("ends").as_deref(), Some("with one\0"));
        let pulled = answer(pull(&broker, &broker.peer, 0, None)).await;
        assert_eq!(offsets(&pulled), (0..14).collect::<Vec<_>>());
        stop(&broker);
    });
}

/// An asker that nobody polls, as its connection has too much unsent, keeps no thread from others.
#[tokio::test]
async fn an_asker_that_is_not_polled_keeps_nothing() {
    let cold = super::ColdReads::default();
    let (end, ended) = mpsc::channel::<()>();
    let ended = Arc::new(Mutex::new(ended));
    let (begin, begun) = mpsc::channel::<()>();
    let busy: Vec<_> = (0..super::AT_ONCE as u64)
        .map(|peer| {
            let (cold, ended, begin) = (cold.clone(), ended.clone(), begin.clone());
            let work = move |_| {
                begin.send(()).unwrap();
                ended.lock().unwrap().recv().unwrap();
            };
            tokio::spawn(async move { cold.run((peer, 0), work).await.is_ok() })
        })
        .collect();
    for _ in &busy {
        while begun.try_recv().is_err() {
            tokio::task::yield_now().await;
        }
    }
    // As many connections wait for a thread, and then nobody polls them.
    let mut unpolled: Vec<_> = (10..14).map(|peer| Box::pin(cold.run((peer, 0), |_| ()))).collect();
    for asker in &mut unpolled {
        assert!(poll_fn(|context| Poll::Ready(asker.as_mut().poll(context).is_pending())).await);
    }
    // One who leaves before its turn has nothing done.
    let (tell, told) = mpsc::channel();
    let mut leaving = Box::pin(cold.run((20, 0), move |_| tell.send(())));
    assert!(poll_fn(|context| Poll::Ready(leaving.as_mut().poll(context).is_pending())).await);
    drop(leaving);
    for _ in &busy {
        end.send(()).unwrap();
    }
    for one in busy {
        assert!(one.await.unwrap());
    }
    let other = tokio::time::timeout(Duration::from_secs(10), cold.run((99, 0), |_| ())).await;
    assert!(other.is_ok(), "another connection's read waits for ever");
    assert_eq!(told.try_recv(), Err(mpsc::TryRecvError::Disconnected));
    drop(unpolled);
}
