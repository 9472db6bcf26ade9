// SPDX-License-Identifier: Apache-2.0
//! Brokers that die and lie, handlers that panic and never end, applications that forget to shut down.

use crate::{
    kit::{BROKER, Fake, Seen, field, until},
    push::{client, options, recorder},
};
use oxmq_client::{
    Command, code,
    code::request,
    consumer::{Batch, ConsumeHook, Consumption, Ending, Outcome, PushConsumer},
};
use oxmq_net::{Answer, Request};
use serde_json::json;
use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_panics_costs_its_message_a_detour_and_nothing_else() {
    struct Note(Arc<Mutex<Vec<Ending>>>);
    impl ConsumeHook for Note {
        fn before(&self, _group: &str, _batch: &Batch) {
            panic!("a hook may panic, too");
        }
        fn after(&self, consumption: &Consumption<'_>) {
            self.0.lock().unwrap().push(consumption.ending);
        }
    }
    let fake = Fake::start(1);
    fake.put(0, 50);
    let seen = Seen::default();
    let record = seen.clone();
    let handler = move |batch: Batch| {
        let record = record.clone();
        async move {
            let number: usize = batch[0].text().unwrap().parse().unwrap();
            if number % 10 == 3 && batch[0].reconsume_times() == 0 {
                panic!("number {number}");
            }
            record.add(&batch[0]);
        }
    };
    let endings = Arc::new(Mutex::new(Vec::new()));
    let client = client(&fake);
    let options = options().hook(Note(endings.clone()));
    let consumer = PushConsumer::start(&client, options, handler).await.unwrap();
    until("all are consumed", || seen.len() >= 50 && consumer.in_flight() == (0, 0)).await;
    let panics: u64 = consumer.totals().iter().map(|(_, totals)| totals.panics).sum();
    consumer.shutdown().await;
    seen.assert_once(50);
    assert_eq!((panics, fake.committed("g")), (5, 50));
    let endings = endings.lock().unwrap();
    assert_eq!(endings.iter().filter(|ending| **ending == Ending::Panicked).count(), 5);
    assert_eq!(endings.len(), 55);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_never_ends_is_ended() {
    let fake = Fake::start(1);
    fake.put(0, 20);
    let seen = Seen::default();
    let record = seen.clone();
    let handler = move |batch: Batch| {
        let record = record.clone();
        async move {
            if batch[0].text() == Some("4") && batch[0].reconsume_times() == 0 {
                std::future::pending::<()>().await;
            }
            record.add(&batch[0]);
        }
    };
    let client = client(&fake);
    let options = options().consume_timeout(Duration::from_millis(200));
    let consumer = PushConsumer::start(&client, options, handler).await.unwrap();
    until("all are consumed", || seen.len() >= 20 && consumer.in_flight() == (0, 0)).await;
    consumer.shutdown().await;
    seen.assert_once(20);
    assert_eq!(fake.state().sent_back, [(3, 4)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_handler_that_blocks_its_thread_loses_its_message_to_others() {
    let fake = Fake::start(1);
    fake.put(0, 20);
    let seen = Seen::default();
    let record = seen.clone();
    // The handler returns when this end is gone, also if the test fails: a blocked thread keeps its runtime for ever.
    let (blocked, gate) = std::sync::mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let handler = move |batch: Batch| {
        if batch[0].text() == Some("4") && batch[0].reconsume_times() == 0 {
            let _ = gate.lock().unwrap().recv();
            return std::future::ready(Outcome::Retry);
        }
        record.add(&batch[0]);
        std::future::ready(Outcome::Success)
    };
    let client = client(&fake);
    let options = options().consume_timeout(Duration::from_millis(200));
    let consumer = PushConsumer::start(&client, options, handler).await.unwrap();
    until("all are consumed, that message over the retry topic", || seen.len() >= 20).await;
    assert_eq!(fake.state().sent_back, [(3, 4)]);
    drop(blocked);
    until("its queue is done with", || consumer.in_flight() == (0, 0)).await;
    consumer.shutdown().await;
    assert_eq!(fake.state().sent_back, [(3, 4)], "the late result does not count");
    assert_eq!(fake.committed("g"), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_cannot_be_sent_back_is_given_to_the_handler_again() {
    let fake = Fake::start(1);
    fake.put(0, 3);
    fake.intercept(|request| match request.header.code {
        request::CONSUMER_SEND_MSG_BACK | request::SEND_MESSAGE => {
            Some(Command::failure(code::SYSTEM_ERROR, "not now").into())
        }
        _ => None,
    });
    let seen = Seen::default();
    let record = seen.clone();
    let handler = move |batch: Batch| {
        record.add(&batch[0]);
        let fails = batch[0].text() == Some("1") && batch[0].reconsume_times() == 0;
        async move { if fails { Outcome::Retry } else { Outcome::Success } }
    };
    let client = client(&fake);
    let consumer = PushConsumer::start(&client, options(), handler).await.unwrap();
    until("it is consumed in the end", || seen.len() >= 4 && consumer.in_flight() == (0, 0)).await;
    consumer.shutdown().await;
    assert_eq!(seen.all().last().map(|(number, _, times)| (*number, *times)), Some((1, 1)));
    assert_eq!(fake.committed("g"), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_dies_and_comes_back_is_consumed_on() {
    let mut fake = Fake::start(4);
    fake.put(0, 200);
    let seen = Seen::default();
    let client = client(&fake);
    let consumer = PushConsumer::start(&client, options(), recorder(&seen)).await.unwrap();
    until("some are consumed", || seen.len() >= 200).await;
    fake.die();
    until("all connections are gone", || fake.connections() == 0).await;
    fake.live();
    fake.put(200, 200);
    until("the rest is consumed", || seen.has_all(400)).await;
    consumer.shutdown().await;
    seen.assert_once(400);
    assert_eq!(fake.committed("g"), 400);
}

/// Has `fake` tell routes with these brokers, by id.
fn route(
    fake: &Fake,
    addrs: &[(&str, SocketAddr)],
    pulls: impl Fn(&Request<'_>) -> Option<Answer> + Send + Sync + 'static,
) {
    let addrs: serde_json::Map<_, _> =
        addrs.iter().map(|(id, addr)| (id.to_string(), addr.to_string().into())).collect();
    let route = json!({
        "brokerDatas": [{"brokerAddrs": addrs, "brokerName": BROKER, "cluster": "c"}],
        "filterServerTable": {},
        "queueDatas": [{"brokerName": BROKER, "perm": 6, "readQueueNums": 1, "writeQueueNums": 1, "topicSysFlag": 0}],
    });
    fake.intercept(move |request| match request.header.code {
        request::GET_ROUTEINFO_BY_TOPIC => {
            Some(Command::success().with_body(route.to_string().into_bytes()).into())
        }
        request::PULL_MESSAGE if field(request, "topic") == "t" => pulls(request),
        _ => None,
    });
}

/// What a slave of Java answers to who is further than it.
fn ask_the_master(request: &Request<'_>) -> Answer {
    Command::failure(code::PULL_RETRY_IMMEDIATELY, "OFFSET_OVERFLOW_BADLY")
        .with("nextBeginOffset", field(request, "queueOffset"))
        .with("minOffset", 0)
        .with("maxOffset", 3)
        .with("suggestWhichBrokerId", 0)
        .into()
}

/// A consumer asked such a slave thousands of times a second as long as the master was gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slave_alone_is_not_asked_without_a_pause() {
    let slave = Fake::start(1);
    slave.state().committed.insert(("g".into(), "t".into(), 0), 10);
    let pulled = Arc::new(Mutex::new(Vec::new()));
    let times = pulled.clone();
    route(&slave, &[("1", slave.addr)], move |request| {
        times.lock().unwrap().push(Instant::now());
        Some(ask_the_master(request))
    });
    let (client, pause) = (client(&slave), Duration::from_millis(20));
    let options = options().error_pause(pause);
    let consumer = PushConsumer::start(&client, options, recorder(&Seen::default())).await.unwrap();
    until("some pulls", || pulled.lock().unwrap().len() >= 5).await;
    consumer.shutdown().await;
    let pulled = pulled.lock().unwrap();
    assert!(pulled.windows(2).all(|two| two[1] - two[0] >= pause), "{pulled:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slave_that_is_behind_sends_to_its_master_at_once() {
    let (master, slave) = (Fake::start(1), Fake::start(1));
    master.put(0, 10);
    slave
        .intercept(|request| (request.header.code == request::PULL_MESSAGE).then(|| ask_the_master(request)));
    let sent_away = Arc::new(AtomicUsize::new(0));
    let count = sent_away.clone();
    route(&master, &[("0", master.addr), ("1", slave.addr)], move |_| {
        let behind = Command::failure(code::PULL_RETRY_IMMEDIATELY, "NO_MATCHED_MESSAGE")
            .with("nextBeginOffset", 4)
            .with("minOffset", 0)
            .with("maxOffset", 10)
            .with("suggestWhichBrokerId", 1);
        (count.fetch_add(1, Ordering::AcqRel) == 0).then(|| behind.into())
    });
    let seen = Seen::default();
    let client = client(&master);
    // No pause would end in the time of this test.
    let options = options().error_pause(Duration::from_secs(600));
    let consumer = PushConsumer::start(&client, options, recorder(&seen)).await.unwrap();
    until("the rest is consumed", || seen.len() >= 6 && consumer.in_flight() == (0, 0)).await;
    consumer.shutdown().await;
    assert_eq!(seen.numbers(), [4, 5, 6, 7, 8, 9]);
    assert!(slave.state().asked.contains(&request::PULL_MESSAGE));
}

/// A Java broker handles pulls and commits in different threads: what a pull said of before came after the last commit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_is_overtaken_by_an_older_one_is_made_again() {
    let fake = Fake::start(1);
    fake.put(0, 10);
    let key = ("g".to_owned(), "t".to_owned(), 0);
    fake.state().committed.insert(key.clone(), 2);
    let (asked, overtaken) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (pulls, overtakes, broker) = (asked.clone(), overtaken.clone(), fake.broker.clone());
    fake.intercept(move |request| match request.header.code {
        request::PULL_MESSAGE if field(request, "topic") == "t" && field(request, "queueOffset") == "10" => {
            assert_eq!(field(request, "commitOffset"), "2");
            pulls.fetch_add(1, Ordering::AcqRel);
            Some(Answer::later(std::future::pending::<Command>()))
        }
        request::UPDATE_CONSUMER_OFFSET
            if field(request, "topic") == "t" && overtakes.fetch_add(1, Ordering::AcqRel) == 0 =>
        {
            broker.state.lock().unwrap().committed.insert(key.clone(), 2);
            Some(Command::success().into())
        }
        _ => None,
    });
    let (seen, gate) = (Seen::default(), Arc::new(tokio::sync::Semaphore::new(0)));
    let (record, wait) = (recorder(&seen), gate.clone());
    let client = client(&fake);
    let consumer = PushConsumer::start(&client, options(), move |batch: Batch| {
        let (done, wait) = (record(batch), wait.clone());
        async move {
            wait.acquire().await.unwrap().forget();
            done.await
        }
    });
    let consumer = consumer.await.unwrap();
    until("it pulls on", || asked.load(Ordering::Acquire) > 0).await;
    gate.add_permits(10);
    until("all are consumed", || seen.len() == 8 && consumer.in_flight() == (0, 0)).await;
    assert_eq!(consumer.shutdown().await.uncommitted_queues, 0);
    assert_eq!((fake.committed("g"), overtaken.load(Ordering::Acquire)), (10, 2));
}

/// An answer to a pull of topic `t` that says `next` and has `body`.
fn answer(code: i32, next: &str, body: Vec<u8>) -> Answer {
    let command = Command::new(code)
        .with("nextBeginOffset", next.to_owned())
        .with("minOffset", 0)
        .with("maxOffset", 10)
        .with("suggestWhichBrokerId", "x")
        .with_body(body);
    command.into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_of_a_hostile_broker_pass_nothing_over() {
    let fake = Fake::start(1);
    fake.put(0, 10);
    let record = fake.state().queues["t"][0][0].record.clone();
    let with = |at: usize, value: u32| {
        let mut record = record.clone();
        record[at..at + 4].copy_from_slice(&value.to_be_bytes());
        record
    };
    let lies = [
        (code::SUCCESS, "1", with(0, u32::MAX)),
        (code::SUCCESS, "1", with(0, 0)),
        (code::SUCCESS, "1", with(4, 7)),
        // The length of the body.
        (code::SUCCESS, "1", with(84, i32::MAX as u32)),
        (code::SUCCESS, "1", record[..record.len() - 1].to_vec()),
        (code::SUCCESS, "1", vec![0xFF; 100_000]),
        (code::SUCCESS, "-1", record.clone()),
        (code::SUCCESS, "9223372036854775807", record.clone()),
        (code::SUCCESS, "much", record.clone()),
        (code::PULL_NOT_FOUND, "9223372036854775807", vec![]),
        (code::PULL_RETRY_IMMEDIATELY, "1000000", vec![]),
        (code::PULL_OFFSET_MOVED, "-5", vec![]),
        (12345, "1", vec![]),
    ];
    for (code, next, body) in lies {
        let told = Arc::new(AtomicUsize::new(0));
        let count = told.clone();
        let (text, lie) = (format!("{code} {next} {}", body.len()), body);
        let next = next.to_owned();
        fake.intercept(move |request| {
            let of_t = request.header.code == request::PULL_MESSAGE && field(request, "topic") == "t";
            (of_t && count.fetch_add(1, Ordering::AcqRel) == 0).then(|| answer(code, &next, lie.clone()))
        });
        fake.state().committed.clear();
        let seen = Seen::default();
        let client = client(&fake);
        let consumer = PushConsumer::start(&client, options(), recorder(&seen)).await.unwrap();
        until(&format!("all are consumed after {text}"), || seen.len() >= 10).await;
        until("the last handlers end", || consumer.in_flight() == (0, 0)).await;
        consumer.shutdown().await;
        seen.assert_once(10);
        assert_eq!(fake.committed("g"), 10, "{text}");
        assert!(told.load(Ordering::Acquire) > 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offset_that_is_gone_is_corrected_at_once() {
    let fake = Fake::start(1);
    fake.put(0, 10);
    fake.state().committed.insert(("g".into(), "t".into(), 0), 2);
    fake.state().min_offset = 6;
    let seen = Seen::default();
    let client = client(&fake);
    let consumer = PushConsumer::start(&client, options(), recorder(&seen)).await.unwrap();
    until("what is there is consumed", || seen.len() >= 4 && consumer.in_flight() == (0, 0)).await;
    consumer.shutdown().await;
    assert_eq!(seen.numbers(), [6, 7, 8, 9]);
    assert_eq!(fake.committed("g"), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_cannot_be_read_becomes_a_dead_letter() {
    let fake = Fake::start(1);
    fake.put(0, 3);
    // Its checksum is wrong.
    let end = fake.state().queues["t"][0][1].record.len();
    fake.state().queues.get_mut("t").unwrap()[0][1].record[end - 5] ^= 1;
    let seen = Seen::default();
    let client = client(&fake);
    let consumer = PushConsumer::start(&client, options(), recorder(&seen)).await.unwrap();
    until("it is a dead letter", || fake.state().dead.len() == 1 && seen.len() == 2).await;
    until("all is done with", || consumer.in_flight() == (0, 0)).await;
    consumer.shutdown().await;
    assert_eq!((seen.numbers(), fake.committed("g")), (vec![0, 2], 3));
    assert_eq!(fake.state().sent_back, [(-1, 1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_dropped_without_shutdown_ends_and_repeats_elsewhere() {
    let fake = Fake::start(2);
    fake.put(0, 10);
    let seen = Seen::default();
    {
        let client = client(&fake);
        let record = seen.clone();
        let handler = move |batch: Batch| {
            record.add(&batch[0]);
            std::future::pending::<()>()
        };
        let _consumer = PushConsumer::start(&client, options(), handler).await.unwrap();
        until("handlers run", || seen.len() >= 10).await;
    }
    until("its connections are closed", || fake.connections() == 0).await;
    let begun = seen.len();
    let client = client(&fake);
    let consumer = PushConsumer::start(&client, options(), recorder(&seen)).await.unwrap();
    until("nothing was committed, so all come again", || seen.len() >= begun + 10).await;
    consumer.shutdown().await;
    assert_eq!(fake.committed("g"), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_server_at_all_is_an_error_that_says_so_or_a_wait() {
    let mut fake = Fake::start(1);
    fake.die();
    let seen = Seen::default();
    let client = client(&fake);
    // A push consumer waits: a machine room that starts has no order.
    let consumer = PushConsumer::start(&client, options(), recorder(&seen)).await.unwrap();
    let lone = oxmq_client::consumer::PullConsumer::new(&client, "g").unwrap();
    let error = lone.queues("t").await.unwrap_err().to_string();
    assert!(error.contains("no name server answers"), "{error}");
    fake.live();
    fake.put(0, 3);
    until("it consumes when there is a server", || seen.len() >= 3).await;
    consumer.shutdown().await;
}
