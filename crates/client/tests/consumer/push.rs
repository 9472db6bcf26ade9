// SPDX-License-Identifier: Apache-2.0
//! Concurrent push consumers: what they consume, commit, share and leave.

use crate::kit::{Fake, LONG, Seen, until};
use oxmq_client::{
    Client, ClientOptions, Command, code,
    code::request,
    consumer::{Batch, ConsumeFrom, ConsumerOptions, Filter, Model, Outcome, PushConsumer},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

pub fn client(fake: &Fake) -> Client {
    Client::new(ClientOptions::new(fake.addr.to_string())).unwrap()
}

pub fn options() -> ConsumerOptions {
    let pause = Duration::from_millis(50);
    ConsumerOptions::new("g").subscribe("t", "*").consume_from(ConsumeFrom::FirstOffset).error_pause(pause)
}

pub fn recorder(seen: &Seen) -> impl Fn(Batch) -> std::future::Ready<()> + Send + Sync + 'static {
    let seen = seen.clone();
    move |batch: Batch| {
        batch.iter().for_each(|message| seen.add(message));
        std::future::ready(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consumes_everything_once_and_commits_it_at_the_end() {
    let fake = Fake::start(4);
    fake.put(0, 1000);
    let seen = Seen::default();
    let client = client(&fake);
    let consumer = PushConsumer::start(&client, options(), recorder(&seen)).await.unwrap();
    until("all are consumed", || seen.len() >= 1000).await;
    fake.put(1000, 500);
    until("what comes later, too", || seen.len() >= 1500).await;
    assert_eq!(consumer.queues().len(), 5, "four, and the retry topic's");
    until("the last handlers end", || consumer.in_flight() == (0, 0)).await;
    let shutdown = consumer.shutdown().await;
    assert_eq!((shutdown.unfinished_handlers, shutdown.uncommitted_queues), (0, 0));
    seen.assert_once(1500);
    assert_eq!(fake.committed("g"), 1500);
    assert_eq!(fake.state().unregistered.len(), 1);
}

#[tokio::test]
async fn a_current_thread_runtime_will_do_and_batches_fill() {
    let fake = Fake::start(1);
    fake.put(0, 100);
    let (seen, largest) = (Seen::default(), Arc::new(AtomicUsize::new(0)));
    let record = recorder(&seen);
    let most = largest.clone();
    let handler = move |batch: Batch| {
        most.fetch_max(batch.len(), Ordering::Relaxed);
        record(batch)
    };
    let client = client(&fake);
    let consumer = PushConsumer::start(&client, options().batch_max(8), handler).await.unwrap();
    until("all are consumed", || seen.len() >= 100).await;
    consumer.shutdown().await;
    seen.assert_once(100);
    assert_eq!(largest.load(Ordering::Relaxed), 8);
}

#[tokio::test]
async fn a_new_group_begins_where_it_wants_and_goes_on_where_it_was() {
    for (from, expected) in [
        (ConsumeFrom::FirstOffset, 0..15),
        (ConsumeFrom::LastOffset, 10..15),
        // The broker finds the time in the middle.
        (ConsumeFrom::Timestamp(1), 5..15),
    ] {
        let fake = Fake::start(1);
        fake.put(0, 10);
        let seen = Seen::default();
        let client = client(&fake);
        let start = || PushConsumer::start(&client, options().consume_from(from), recorder(&seen));
        let consumer = start().await.unwrap();
        until("it has its queue", || consumer.queues().iter().any(|queue| &*queue.topic == "t")).await;
        fake.put(10, 5);
        until("the rest is consumed", || seen.len() >= expected.len()).await;
        until("the last handlers end", || consumer.in_flight() == (0, 0)).await;
        consumer.shutdown().await;
        assert_eq!(seen.numbers(), expected.clone().collect::<Vec<_>>(), "{from:?}");
        let consumer = start().await.unwrap();
        fake.put(15, 1);
        until("it goes on", || seen.len() > expected.len()).await;
        consumer.shutdown().await;
        assert_eq!(seen.numbers().last(), Some(&15));
        assert_eq!(seen.len(), expected.len() + 1, "nothing is repeated");
    }
}

#[tokio::test]
async fn tags_are_compared_after_their_hashes() {
    let fake = Fake::start(1);
    // "Aa" and "BB" have one hash; this broker does not filter at all.
    for (number, tag) in ["Aa", "BB", "CC", "Aa"].iter().enumerate() {
        fake.broker.put("t", 0, number.to_string().as_bytes(), &format!("TAGS\u{1}{tag}\u{2}"), 0);
    }
    let seen = Seen::default();
    let client = client(&fake);
    let options = ConsumerOptions::new("g").subscribe("t", "Aa").consume_from(ConsumeFrom::FirstOffset);
    let consumer = PushConsumer::start(&client, options, recorder(&seen)).await.unwrap();
    until("both are consumed", || seen.len() >= 2).await;
    until("what is not wanted is committed, too", || {
        let committed = consumer.in_flight() == (0, 0);
        committed && fake.committed("g") == 4
    })
    .await;
    consumer.shutdown().await;
    assert_eq!(seen.numbers(), [0, 3]);
}

#[tokio::test]
async fn an_expression_that_the_broker_refuses_stops_the_start() {
    let fake = Fake::start(1);
    let client = client(&fake);
    let start = |expression: &str| {
        let options = ConsumerOptions::new("g").subscribe("t", Filter::sql(expression));
        PushConsumer::start(&client, options, |_: Batch| async {})
    };
    let error = start("broken").await.unwrap_err().to_string();
    assert!(error.contains("no such expression"), "{error}");
    // What failed leaves nothing behind.
    let consumer = start("a > 1").await.unwrap();
    let error = start("a > 1").await.unwrap_err().to_string();
    assert!(error.contains("started twice"), "{error}");
    consumer.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_failed_comes_again_with_its_own_topic() {
    let fake = Fake::start(2);
    fake.put(0, 10);
    let seen = Seen::default();
    let record = seen.clone();
    let handler = move |batch: Batch| {
        let record = record.clone();
        async move {
            record.add(&batch[0]);
            match (batch[0].reconsume_times(), batch[0].text().unwrap()) {
                (0, "3") => Outcome::RetryAtLevel(5),
                (0, "4") => Outcome::DeadLetter,
                (_, "5") => Outcome::Retry,
                _ => Outcome::Success,
            }
        }
    };
    let client = client(&fake);
    let consumer = PushConsumer::start(&client, options().max_reconsume_times(2), handler).await.unwrap();
    until("dead letters are there", || fake.state().dead.len() == 2).await;
    until("the last handlers end", || consumer.in_flight() == (0, 0) && seen.len() >= 13).await;
    let totals = consumer.totals();
    consumer.shutdown().await;
    let again: Vec<_> = seen.all().into_iter().filter(|(.., times)| *times > 0).collect();
    assert_eq!(again.len(), 3, "3 once, and 5 twice: {again:?}");
    assert!(again.iter().all(|(_, queue, _)| &*queue.topic == "t"));
    assert!(fake.state().sent_back.iter().any(|(level, _)| *level == 5));
    let mut dead = fake.state().dead.clone();
    dead.sort();
    assert_eq!(dead, ["4", "5"]);
    assert_eq!(fake.committed("g"), 10);
    let failed: u64 = totals.iter().map(|(_, totals)| totals.failed).sum();
    assert_eq!(failed, 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_share_the_queues_and_take_over_from_each_other() {
    let fake = Fake::start(8);
    let seen = Seen::default();
    let (one, two) = (client(&fake), client(&fake));
    let first = PushConsumer::start(&one, options(), recorder(&seen)).await.unwrap();
    let of_t =
        |consumer: &PushConsumer| consumer.queues().iter().filter(|queue| &*queue.topic == "t").count();
    until("the first has all", || of_t(&first) == 8).await;
    fake.put(0, 800);
    let second = PushConsumer::start(&two, options(), recorder(&seen)).await.unwrap();
    until("each has half", || of_t(&first) == 4 && of_t(&second) == 4).await;
    fake.put(800, 800);
    until("all are consumed", || seen.has_all(1600)).await;
    until("the last handlers end", || first.in_flight() == (0, 0)).await;
    first.shutdown().await;
    until("the second has all", || of_t(&second) == 8).await;
    let before = seen.len();
    fake.put(1600, 400);
    until("it consumes all", || seen.has_all(2000)).await;
    assert_eq!(seen.len(), before + 400, "who leaves in order repeats nothing");
    second.shutdown().await;
    assert_eq!(fake.committed("g"), 2000);
}

#[tokio::test]
async fn broadcasting_members_all_get_everything_and_keep_offsets_in_a_file() {
    let fake = Fake::start(2);
    let folder = tempfile::tempdir().unwrap();
    fake.put(0, 20);
    let named =
        |name: &str| Client::new(ClientOptions::new(fake.addr.to_string()).instance_name(name)).unwrap();
    let options = || options().model(Model::Broadcasting).local_offsets(folder.path());
    let seen = [Seen::default(), Seen::default()];
    let clients = [named("a"), named("b")];
    let mut consumers = Vec::new();
    for (client, seen) in clients.iter().zip(&seen) {
        let record = recorder(seen);
        // What fails is dropped, as Java does.
        let handler = move |batch: Batch| {
            let fails = batch[0].text() == Some("7");
            drop(record(batch));
            async move { if fails { Outcome::Retry } else { Outcome::Success } }
        };
        consumers.push(PushConsumer::start(client, options(), handler).await.unwrap());
    }
    for seen in &seen {
        until("each has all", || seen.len() >= 20).await;
        seen.assert_once(20);
    }
    for consumer in consumers {
        until("the last handlers end", || consumer.in_flight() == (0, 0)).await;
        consumer.shutdown().await;
    }
    assert_eq!((fake.committed("g"), fake.state().sent_back.len()), (0, 0));
    fake.put(20, 2);
    let again = PushConsumer::start(&clients[0], options(), recorder(&seen[0])).await.unwrap();
    until("it goes on from its file", || seen[0].len() >= 22).await;
    again.shutdown().await;
    seen[0].assert_once(22);
}

#[tokio::test]
async fn tools_get_their_answers() {
    let fake = Fake::start(2);
    fake.put(0, 10);
    let seen = Seen::default();
    let client = client(&fake);
    let consumer = PushConsumer::start(&client, options(), recorder(&seen)).await.unwrap();
    until("all are consumed", || seen.len() >= 10 && consumer.in_flight() == (0, 0)).await;

    let info =
        fake.ask("g", Command::new(request::GET_CONSUMER_RUNNING_INFO).with("consumerGroup", "g")).await;
    let info: oxmq_remoting::bodies::ConsumerRunningInfo =
        oxmq_remoting::fastjson::from_slice(&info.body).unwrap();
    assert!(info.is_push());
    assert_eq!(
        info.mq_table
            .0
            .iter()
            .filter(|(queue, _)| queue.topic == "t")
            .map(|(_, info)| info.commit_offset)
            .sum::<i64>(),
        10
    );
    assert_eq!(info.subscription_set.len(), 2);

    let status = Command::new(request::GET_CONSUMER_STATUS_FROM_CLIENT).with("group", "g").with("topic", "t");
    let status = String::from_utf8(fake.ask("g", status).await.body.to_vec()).unwrap();
    assert!(status.contains(r#"{"brokerName":"broker-a","queueId":1,"topic":"t"}:5"#), "{status}");

    let record = fake.state().queues["t"][1][2].record.clone();
    let directly = Command::new(request::CONSUME_MESSAGE_DIRECTLY)
        .with("consumerGroup", "g")
        .with("brokerName", "broker-a")
        .with_body(record);
    let directly = String::from_utf8(fake.ask("g", directly).await.body.to_vec()).unwrap();
    assert!(directly.contains(r#""consumeResult":"CR_SUCCESS""#), "{directly}");
    assert_eq!(seen.numbers().last(), Some(&5));
    let nonsense =
        Command::new(request::CONSUME_MESSAGE_DIRECTLY).with("consumerGroup", "g").with_body("nonsense");
    assert_eq!(fake.ask("g", nonsense).await.code, code::SYSTEM_ERROR);

    let reset = r#"{"offsetTable":{{"brokerName":"broker-a","queueId":1,"topic":"t"}:2}}"#;
    let reset = Command::new(request::RESET_CONSUMER_CLIENT_OFFSET)
        .with("group", "g")
        .with("topic", "t")
        .with_body(reset);
    assert_eq!(fake.ask("g", reset).await.code, code::SUCCESS);
    until("queue 1 is consumed again from offset 2", || seen.len() >= 14).await;
    consumer.shutdown().await;
    assert_eq!(seen.numbers()[11..], [5, 7, 9]);
    assert_eq!(fake.committed("g"), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_is_bounded() {
    let fake = Fake::start(2);
    fake.put(0, 2000);
    let seen = Seen::default();
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let (record, wait) = (recorder(&seen), gate.clone());
    let handler = move |batch: Batch| {
        let done = record(batch);
        let wait = wait.clone();
        async move {
            wait.acquire().await.unwrap().forget();
            done.await;
        }
    };
    let options = options().queue_bounds(64, 1 << 20).concurrency(3);
    let client = client(&fake);
    let consumer = PushConsumer::start(&client, options, handler).await.unwrap();
    until("both queues are full", || consumer.in_flight().0 > 2 * 64).await;
    let pulls = fake.state().pulls;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(consumer.in_flight().0 <= 2 * (64 + 32), "{:?}", consumer.in_flight());
    assert_eq!(seen.len(), 3, "no more handlers than allowed");
    assert!(fake.state().pulls < pulls + 20, "only the retry topic is pulled");
    gate.add_permits(5000);
    until("the rest follows", || seen.len() >= 2000).await;
    consumer.shutdown().await;
    seen.assert_once(2000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_waits_for_handlers_and_gives_up_in_time() {
    for (patience, unfinished) in [(LONG, 0), (Duration::from_millis(100), 1)] {
        let fake = Fake::start(1);
        fake.put(0, 3);
        let seen = Seen::default();
        let record = seen.clone();
        let handler = move |batch: Batch| {
            let record = record.clone();
            async move {
                record.add(&batch[0]);
                tokio::time::sleep(Duration::from_millis(700)).await;
            }
        };
        let options = options().concurrency(1).shutdown_timeout(patience);
        let client = client(&fake);
        let consumer = PushConsumer::start(&client, options, handler).await.unwrap();
        until("a handler runs", || seen.len() == 1).await;
        let shutdown = consumer.shutdown().await;
        assert_eq!((shutdown.unfinished_handlers, seen.len()), (unfinished, 1), "none begins any more");
        assert_eq!(fake.committed("g"), 1 - unfinished as i64);
        assert_eq!(fake.state().unregistered.len(), 1);
    }
}
