// SPDX-License-Identifier: Apache-2.0
//! Batches, and flags that contradict the properties. What Java 5.3.3 does is said where it differs.

use crate::fixture::Fixture;
use oxmq_record::{BatchMessage, encode_batch_message};
use oxmq_remoting::{Command, code::request as codes};
use oxmq_store::{FlushMode, MemoryDisk, Store, StoreConfig, tags_of};
use serde_json::{Value, json};
use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

fn batch(messages: &[(&[u8], &str)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (content, properties) in messages {
        let message = BatchMessage { flag: 3, body: content, properties: properties.as_bytes() };
        encode_batch_message(&message, &mut body);
    }
    body
}

async fn send_batch(broker: &Fixture, more: Value, body: &[u8]) -> Command {
    let mut fields =
        json!({"a": "P", "b": "T", "c": "TBW102", "d": 4, "e": 0, "f": 0, "g": 77, "h": 0, "m": "true"});
    fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    broker.ask(codes::SEND_BATCH_MESSAGE, fields, body).await
}

#[tokio::test]
async fn consumers_see_single_messages_with_their_own_ids() {
    let broker = Fixture::new();
    let body = batch(&[(b"a", "UNIQ_KEY\u{1}A\u{2}TAGS\u{1}x"), (b"b", "UNIQ_KEY\u{1}B\u{2}")]);
    let sent = send_batch(&broker, json!({"i": "UNIQ_KEY\u{1}BATCH\u{2}K\u{1}v\u{2}"}), &body).await;
    assert_eq!(sent.code, 0, "{sent:?}");
    let stored = broker.stored("T", 0);
    let ids: Vec<_> = stored.iter().map(|message| message.view().message_id().to_text()).collect();
    assert_eq!(sent.field("msgId").unwrap(), ids.join(","));
    assert_eq!(sent.field("queueOffset").as_deref(), Some("0"));
    for (message, (content, key)) in stored.iter().zip([(b"a", "A"), (b"b", "B")]) {
        assert_eq!((message.view().body(), message.view().flag()), (&content[..], 3));
        assert_eq!(message.property("UNIQ_KEY").as_deref(), Some(key));
        assert_eq!(message.property("K").as_deref(), Some("v"), "what the batch says belongs to each");
    }
    assert_eq!(stored[0].property("TAGS").as_deref(), Some("x"));
}

#[tokio::test]
async fn a_batch_that_is_more_than_a_batch_is_refused_and_nothing_of_it_stored() {
    let broker = Fixture::new();
    let plain = batch(&[(b"a", ""), (b"b", "")]);
    let illegal = "a batch can be neither delayed nor transactional";
    let of_one = "a message of a batch can be neither delayed nor transactional";
    let long = format!("K\u{1}{}\u{2}", "x".repeat(32_700));
    for (more, body, code, remark) in [
        (json!({"i": "DELAY\u{1}3\u{2}"}), plain.clone(), 13, illegal),
        (json!({"f": 4}), plain.clone(), 13, illegal),
        (json!({"f": 8}), plain.clone(), 13, illegal),
        (json!({"b": "%RETRY%g"}), plain.clone(), 13, "batch request does not support retry group %RETRY%g"),
        // Java takes these. The timed ones it puts where nobody finds them.
        (json!({"i": "TIMER_DELAY_SEC\u{1}3\u{2}"}), plain.clone(), 13, illegal),
        (json!({"i": "TRAN_MSG\u{1}true\u{2}"}), plain.clone(), 13, illegal),
        (json!({}), batch(&[(b"a", ""), (b"b", "DELAY\u{1}3\u{2}")]), 13, of_one),
        (json!({}), batch(&[(b"a", ""), (b"b", "TRAN_MSG\u{1}true\u{2}")]), 13, of_one),
        (json!({}), batch(&[(b"a", ""), (b"", "")]), 1, "the message body is empty"),
        // Java answers SUCCESS, and the message cannot be read.
        (
            json!({"i": format!("Q\u{1}{}\u{2}", "y".repeat(200))}),
            batch(&[(b"a", ""), (b"b", &long)]),
            13,
            "the message is illegal",
        ),
        // Java answers 1 and the text of an exception.
        (json!({}), batch(&[(b"a", ""), (&[0; 1 << 16], "")]), 13, "the message is illegal"),
        (json!({}), plain[..plain.len() - 2].to_vec(), 13, "message 1 of the batch: "),
        (json!({}), Vec::new(), 13, "the batch is empty"),
    ] {
        Fixture::check_refused(&send_batch(&broker, more, &body).await, (code, remark));
    }
    assert!(broker.stored("T", 0).is_empty());
    assert!(broker.topic("%RETRY%g").is_none());
}

/// Java 5.3.3 acknowledges such a message and gives it to nobody.
#[tokio::test]
async fn a_flag_of_a_transaction_without_one_is_refused() {
    let broker = Fixture::new();
    for flag in [4, 12] {
        let refused = broker.send("T", &[], json!({"f": flag})).await;
        Fixture::check_refused(&refused, (13, "the system flag is that of a transaction"));
    }
    assert_eq!(broker.send("T", &[], json!({"f": 8})).await.code, 0);
    // What a client before 4.6.1 sends back of a transaction is found again.
    let more = json!({"f": 4, "j": 1});
    assert_eq!(broker.send("%RETRY%g", &[("TRAN_MSG", "true")], more).await.code, 0);
    assert_eq!(broker.stored("%RETRY%g", 0).len(), 1);
}

/// Java 5.3.3 answers the same for what is a little too long; what is much too long must not be worked on.
#[tokio::test]
async fn properties_that_no_record_can_have_are_refused_at_once() {
    let broker = Fixture::new();
    let repeated = "DELAY\u{1}3\u{2}".repeat(15 << 17);
    let begin = Instant::now();
    let refused = broker.send("T", &[], json!({"i": repeated})).await;
    Fixture::check_refused(&refused, (13, "the message is illegal"));
    let refused = send_batch(&broker, json!({"i": repeated}), &batch(&[(b"a", "")])).await;
    Fixture::check_refused(&refused, (13, "the message is illegal"));
    assert!(begin.elapsed() < Duration::from_secs(60), "{:?}", begin.elapsed());
    assert!(broker.stored("T", 0).is_empty());
}

#[tokio::test]
async fn a_batch_does_not_become_many_times_its_size() {
    let broker = Fixture::with(|settings| settings.sends.body_max_bytes = 4 << 20);
    let many = batch(&[(b"a", "")]).repeat((4 << 20) / 23);
    let long = format!("K\u{1}{}\u{2}", "x".repeat(32_000));
    let refused = send_batch(&broker, json!({"i": long}), &many).await;
    Fixture::check_refused(
        &refused,
        (13, "the messages of the batch take more than 67108864 bytes in the log"),
    );
    assert!(broker.stored("T", 0).is_empty());
    // What fits is taken.
    let sent = send_batch(&broker, json!({"i": long}), &many[..100 * 23]).await;
    assert_eq!((sent.code, broker.stored("T", 0).len()), (0, 100), "{sent:?}");
}

/// A broker with `SYNC_FLUSH` on a disk in memory.
fn sync_flush(disk: &Arc<MemoryDisk>, timeout: Duration) -> Fixture {
    Fixture::over(
        |config| {
            let config = StoreConfig { flush: FlushMode::Sync, ..config };
            Store::open_in_memory(disk, config, Box::new(tags_of)).unwrap()
        },
        |settings| settings.sends.sync_flush_timeout = Some(timeout),
    )
}

async fn pull(broker: &Fixture, offset: u64, hold_ms: u64) -> Command {
    let fields = json!({"consumerGroup": "g", "topic": "T", "queueId": 0, "queueOffset": offset, "maxMsgNums": 32,
        "sysFlag": if hold_ms > 0 { 6 } else { 4 }, "commitOffset": 0, "suspendTimeoutMillis": hold_ms,
        "subscription": "*", "subVersion": 0});
    broker.ask(codes::PULL_MESSAGE, fields, b"").await
}

const PULL_NOT_FOUND: i32 = 19;

#[tokio::test]
async fn with_sync_flush_a_send_waits_for_the_disk_but_not_for_ever() {
    let disk = Arc::new(MemoryDisk::default());
    let broker = sync_flush(&disk, Duration::from_millis(50));
    assert_eq!(broker.send("T", &[], json!({})).await.code, 0);
    assert_eq!(pull(&broker, 0, 0).await.code, 0);
    disk.faults().fsync_stalls.store(true, Ordering::SeqCst);
    let late = broker.send("T", &[], json!({})).await;
    // It is stored, and the producer is told where; it decides whether to send again.
    assert_eq!((late.code, late.field("queueOffset").as_deref()), (10, Some("1")));
    assert!(late.field("msgId").is_some() && late.remark.is_none());
    // Who does not want to wait does not.
    let quick = broker.send("T", &[("WAIT", "false")], json!({})).await;
    assert_eq!((quick.code, quick.field("queueOffset").as_deref()), (0, Some("2")));
    // As in Java 5, nobody consumes what may still be lost.
    let answer = pull(&broker, 1, 0).await;
    assert_eq!((answer.code, answer.field("nextBeginOffset").as_deref()), (PULL_NOT_FOUND, Some("1")));
    let answer = pull(&broker, 0, 0).await;
    assert_eq!((answer.code, answer.field("nextBeginOffset").as_deref()), (0, Some("1")));
    // Who holds a pull gets it when it is on the disk.
    let goes_on = async {
        tokio::task::yield_now().await;
        disk.faults().fsync_stalls.store(false, Ordering::SeqCst);
    };
    let (answer, ()) = tokio::join!(pull(&broker, 1, 60_000), goes_on);
    assert_eq!(answer.code, 0, "{answer:?}");
    assert_eq!(broker.send("T", &[], json!({})).await.code, 0);
    let answer = pull(&broker, 3, 0).await;
    assert_eq!((answer.code, answer.field("nextBeginOffset").as_deref()), (0, Some("4")));
}

#[tokio::test]
async fn after_a_failed_fsync_sends_are_refused_and_what_is_on_the_disk_is_consumed() {
    let disk = Arc::new(MemoryDisk::default());
    let broker = sync_flush(&disk, Duration::from_secs(60));
    assert_eq!(broker.send("T", &[], json!({})).await.code, 0);
    disk.faults().fsync_fails.store(true, Ordering::SeqCst);
    // FLUSH_DISK_TIMEOUT at once: clients have no other word for stored, but perhaps not on the disk.
    assert_eq!(broker.send("T", &[], json!({})).await.code, 10);
    disk.faults().fsync_fails.store(false, Ordering::SeqCst);
    let refused = broker.send("T", &[], json!({})).await;
    let remark = "service not available now: store refuses writes after a failed fsync: simulated";
    Fixture::check_refused(&refused, (14, remark));
    let answer = pull(&broker, 0, 0).await;
    assert_eq!((answer.code, answer.field("nextBeginOffset").as_deref()), (0, Some("1")));
    assert_eq!(pull(&broker, 1, 0).await.code, PULL_NOT_FOUND);
}
