// SPDX-License-Identifier: Apache-2.0
//! Servers that are not there, are not what they should be, lie, or die; and applications that just end.

mod kit;

use kit::*;
use oxmq_client::{
    CallError, Cause, Client, ClientOptions, Command, Message, MessageError, MessageQueue, OptionsError,
    ProducerOptions, RouteError, SendError, TransactionState, code,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

async fn send(client: &Client) -> Result<oxmq_client::SendResult, SendError> {
    let producer = client.producer("g").start().unwrap();
    let sent = producer.send(Message::new("T", "body")).await;
    producer.shutdown().await;
    sent
}

#[tokio::test]
async fn without_a_name_server_the_error_names_all_that_were_tried() {
    let (one, other) = (nobody(), nobody());
    let error = send(&client(&format!("{one};{other}"))).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, SendError::Route(RouteError::NameServers(_))), "{text}");
    assert!(text.contains(&one) && text.contains(&other) && text.contains("is it running"), "{text}");
    assert!(!error.may_be_stored());
}

#[tokio::test]
async fn one_name_server_of_several_is_enough() {
    let broker = broker();
    let names = name_server(&[&broker.addr]);
    for addrs in [format!("{};{}", nobody(), names.addr), format!("{};{}", names.addr, nobody())] {
        send(&client(&addrs)).await.unwrap();
    }
}

#[test]
fn addresses_that_are_none_are_refused_at_once() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _inside = runtime.enter();
    assert_eq!(Client::new(ClientOptions::new("")).err(), Some(OptionsError::NoNameServer));
    assert_eq!(Client::new(ClientOptions::new("ns")).err(), Some(OptionsError::NameServer("ns".into())));
    let mut options = ClientOptions::new("ns:1");
    options.call_timeout = Duration::ZERO;
    assert_eq!(Client::new(options).err(), Some(OptionsError::Zero("call_timeout")));
}

#[tokio::test]
async fn a_broker_instead_of_a_name_server_is_recognized() {
    let broker = broker();
    let error = send(&client(&broker.addr)).await.unwrap_err();
    assert!(matches!(error, SendError::Route(RouteError::NotANameServer { .. })), "{error}");
    assert!(error.to_string().contains("is that a broker's port?"), "{error}");
}

#[tokio::test]
async fn a_name_server_without_brokers_is_recognized() {
    let names = Fake::start(|request| match request.header.code {
        106 => {
            Command::success().with_body(b"{\"brokerAddrTable\":{},\"clusterAddrTable\":{}}".to_vec()).into()
        }
        _ => Command::failure(code::TOPIC_NOT_EXIST, "No topic route info").into(),
    });
    let error = send(&client(&names.addr)).await.unwrap_err();
    assert!(matches!(error, SendError::Route(RouteError::NoBroker { .. })), "{error}");
}

/// Java: "message's topic not equal mq's topic".
#[tokio::test]
async fn a_queue_of_another_topic_is_refused_before_anybody_is_asked() {
    let client = client(&nobody());
    let (producer, queue) = (client.producer("g").start().unwrap(), MessageQueue::new("T", "a", 0));
    let expected = SendError::Message(MessageError::QueueTopic("U".into(), "T".into()));
    let message = || Message::new("U", "body");
    assert_eq!(producer.send_to(message(), &queue).await, Err(expected.clone()));
    assert_eq!(producer.send_one_way_to(message(), &queue).await, Err(expected));
}

#[tokio::test]
async fn a_silent_server_costs_the_time_out_and_no_more() {
    let silent = Fake::start(|_| oxmq_client::Answer::Nothing);
    let mut options = ClientOptions::new(silent.addr.clone());
    options.call_timeout = Duration::from_millis(100);
    let client = Client::new(options).unwrap();
    let error = send(&client).await.unwrap_err();
    assert!(error.to_string().contains("no answer within 100 ms"), "{error}");
    // The same of a broker: all attempts together have the time of the send.
    let names = name_server(&[&silent.addr]);
    let client = kit::client(&names.addr);
    let producer = client.producer("g").send_timeout(Duration::from_millis(200)).start().unwrap();
    let begun = Instant::now();
    let error = producer.send(Message::new("T", "body")).await.unwrap_err();
    assert!(error.may_be_stored() && begun.elapsed() < LONG, "{error}");
}

#[tokio::test]
async fn answers_that_are_no_frames_close_the_connection_and_nothing_else() {
    for answer in [
        &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
        // Lengths that are giant, negative, or too small; a header beyond its frame; an unknown encoding.
        b"\x7F\xFF\xFF\xFF\x00\x00\x00\x10",
        b"\xFF\xFF\xFF\xFF\x00\x00\x00\x10",
        b"\x00\x00\x00\x00",
        b"\x00\x00\x00\x08\x00\xFF\xFF\xFF1234",
        b"\x00\x00\x00\x08\x09\x00\x00\x04{}{}",
        b"\x00\x00\x00\x06\x00\x00\x00\x02{]",
        b"",
    ] {
        let addr = raw(answer).to_string();
        let error = send(&client(&addr)).await.unwrap_err();
        let SendError::Route(RouteError::NameServers(tried)) = &error else { panic!("{error}") };
        assert_eq!(tried.tried[0].1, CallError::Closed, "{answer:?}");
    }
}

#[tokio::test]
async fn routes_that_cannot_be_are_refused() {
    for route in [
        "",
        "null and void",
        "5",
        r#"{"queueDatas":"many"}"#,
        r#"{"brokerDatas":[{"brokerAddrs":{"x":"y"},"brokerName":"a"}]}"#,
        r#"{"queueDatas":[{"brokerName":"a","perm":6,"readQueueNums":2147483647,"writeQueueNums":2147483647}]}"#,
    ] {
        let names = Fake::start(move |request| answer_route(request, route));
        let error = send(&client(&names.addr)).await.unwrap_err();
        assert!(matches!(error, SendError::Route(RouteError::Malformed { .. })), "{route}: {error}");
    }
    // Nobody there to write to.
    let names = name_server(&[]);
    let error = send(&client(&names.addr)).await.unwrap_err();
    assert!(matches!(error, SendError::NoWriteQueue { .. }), "{error}");
}

#[tokio::test]
async fn answers_to_sends_that_make_no_sense_are_no_panic() {
    let broker = Fake::start(|_| {
        Command::success()
            .with("queueId", "nine")
            .with("queueOffset", "-1e9")
            .with("transactionId", "\u{0}")
            .into()
    });
    let names = name_server(&[&broker.addr]);
    let client = client(&names.addr);
    let producer =
        client.producer("g").transaction_listener(|_| async { TransactionState::Unknown }).start().unwrap();
    assert_eq!(producer.send(Message::new("T", "b")).await.unwrap().queue_offset, -1);
    // A half message of which nobody knows where it lies cannot be ended.
    let result =
        producer.send_in_transaction(Message::new("T", "b"), async |_| TransactionState::Commit).await;
    assert!(!result.unwrap().confirmed);
}

/// A broker whose connection ends when a message comes.
fn dying() -> Fake {
    Fake::start(|request| {
        if request.header.code == 310 {
            request.peer.close("as the test wants it");
            return oxmq_client::Answer::Nothing;
        }
        taken(request)
    })
}

#[tokio::test]
async fn a_broker_that_dies_in_the_middle_is_passed_over() {
    let (dying, other) = (dying(), broker());
    let names = name_server(&[&dying.addr, &other.addr]);
    let client = client(&names.addr);
    let producer = client.producer("g").start().unwrap();
    for _ in 0..10 {
        let sent = producer.send(Message::new("T", "body")).await.unwrap();
        assert_eq!(&*sent.queue.broker_name, "b");
    }
    assert!(dying.count(310) > 0 && producer.metrics().retried as usize == dying.count(310));
}

#[tokio::test]
async fn without_another_broker_it_is_told_that_the_message_may_be_stored() {
    let dying = dying();
    let names = name_server(&[&dying.addr]);
    let client = client(&names.addr);
    let error = send(&client).await.unwrap_err();
    assert!(error.may_be_stored(), "{error}");
    let SendError::Failed { attempts, .. } = &error else { panic!("{error}") };
    assert_eq!(attempts.len(), 3);
    assert!(attempts.iter().all(|attempt| attempt.cause == Cause::Call(CallError::Closed)), "{error}");
}

#[tokio::test]
async fn codes_that_java_retries_are_retried_elsewhere_and_others_are_not() {
    let check = async |refused: i32, attempts: usize| {
        let refuses = move |request: oxmq_client::Request<'_>| match request.header.code {
            310 => Command::failure(refused, "as the test wants it").into(),
            _ => taken(request),
        };
        let (one, other) = (Fake::start(refuses), Fake::start(refuses));
        let names = name_server(&[&one.addr, &other.addr]);
        let error = send(&client(&names.addr)).await.unwrap_err();
        assert_eq!(error.code(), Some(refused));
        assert_eq!(one.count(310) + other.count(310), attempts, "{refused}");
        assert!(one.count(310).abs_diff(other.count(310)) <= 1 && !error.may_be_stored(), "{error}");
    };
    check(code::SYSTEM_BUSY, 3).await;
    check(code::SYSTEM_ERROR, 3).await;
    check(code::NO_PERMISSION, 3).await;
    check(code::MESSAGE_ILLEGAL, 1).await;
    check(code::REQUEST_CODE_NOT_SUPPORTED, 1).await;
}

#[tokio::test]
async fn brokers_that_fail_are_avoided_if_that_is_wanted() {
    let (failing, other) = (dying(), broker());
    let names = name_server(&[&failing.addr, &other.addr]);
    let client = client(&names.addr);
    let producer = client.producer("g").latency_faults(true).start().unwrap();
    for _ in 0..40 {
        producer.send(Message::new("T", "body")).await.unwrap();
    }
    assert!(failing.count(310) <= 1, "{} times", failing.count(310));
}

#[tokio::test]
async fn a_broker_that_comes_back_is_used_again() {
    let addr = nobody();
    let names = name_server(&[&addr]);
    let client = client(&names.addr);
    for _ in 0..3 {
        let error = send(&client).await.unwrap_err();
        assert!(error.to_string().contains("connect to"), "{error}");
        let broker = Fake::start_at(&addr, taken);
        send(&client).await.unwrap();
        drop(broker);
    }
}

#[tokio::test]
async fn a_send_that_is_given_up_leaves_nothing_behind() {
    let held = Arc::new(AtomicUsize::new(0));
    let count = held.clone();
    let broker = Fake::start(move |request| match request.header.code {
        310 if count.fetch_add(1, Ordering::SeqCst) < 100 => oxmq_client::Answer::Nothing,
        _ => taken(request),
    });
    let names = name_server(&[&broker.addr]);
    let client = client(&names.addr);
    let producer = client.producer("g").start().unwrap();
    for n in 0..100 {
        let send = producer.send(Message::new("T", "body"));
        let given_up = tokio::time::timeout(Duration::from_millis(if n == 0 { 500 } else { 1 }), send).await;
        assert!(given_up.is_err());
    }
    assert_eq!(producer.metrics().in_flight, 0);
    held.store(100, Ordering::SeqCst);
    producer.send(Message::new("T", "body")).await.unwrap();
}

#[tokio::test]
async fn a_client_that_is_dropped_without_shutdown_hangs_up() {
    let broker = broker();
    let names = name_server(&[&broker.addr]);
    for turn in 0..3 {
        let client = client(&names.addr);
        let producer = client.producer("g").start().unwrap();
        producer.send(Message::new("T", "body")).await.unwrap();
        until("two connections", || broker.connected() == 1 && names.connected() == 1).await;
        if turn == 1 {
            // A send is under way, and the client itself is gone first.
            drop(client);
            let _ = futures_util::future::poll_immediate(producer.send(Message::new("T", "body"))).await;
            drop(producer);
        } else {
            drop(producer);
            drop(client);
        }
        until("no connection", || broker.connected() == 0 && names.connected() == 0).await;
    }
}

#[test]
fn a_runtime_that_ends_first_is_no_panic() {
    let broker = broker();
    let names = name_server(&[&broker.addr]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (client, producer) = runtime.block_on(async {
        let client = client(&names.addr);
        let producer = client.producer("g").start().unwrap();
        producer.send(Message::new("T", "body")).await.unwrap();
        (client, producer)
    });
    drop(runtime);
    drop((client, producer));
}

#[tokio::test]
async fn shutdown_waits_for_what_is_under_way_and_takes_no_more() {
    let broker = Fake::start(|request| match request.header.code {
        310 => oxmq_client::Answer::later(async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            Command::success()
        }),
        _ => taken(request),
    });
    let names = name_server(&[&broker.addr]);
    let client = client(&names.addr);
    let producer = client.producer("g").start().unwrap();
    let sending = tokio::spawn({
        let producer = producer.clone();
        async move { producer.send(Message::new("T", "body")).await }
    });
    until("a send under way", || broker.count(310) == 1).await;
    producer.shutdown().await;
    assert!(sending.is_finished() || sending.await.unwrap().is_ok());
    assert_eq!(producer.send(Message::new("T", "body")).await, Err(SendError::ShutDown));
    // The group may be started again, and brokers were told.
    until("the broker was told", || broker.count(35) == 1).await;
    client.producer("g").start().unwrap();
    client.shutdown().await;
    assert!(client.producer("other").start().is_err());
}

#[tokio::test]
async fn many_sends_at_once_do_not_overwhelm_the_connection() {
    let broker = broker();
    let names = name_server(&[&broker.addr]);
    let client = client(&names.addr);
    let options = {
        let mut options = ProducerOptions::default();
        options.send_timeout = LONG;
        options
    };
    let producer = client.producer("g").options(options).start().unwrap();
    // Far more than may wait for one peer.
    let sends = (0..20_000).map(|_| producer.send(Message::new("T", "body")));
    for sent in futures_util::future::join_all(sends).await {
        sent.unwrap();
    }
    let large = (0..20).map(|_| producer.send(Message::new("T", vec![0xA7; 4000 * 1000]).property("x", "y")));
    for sent in futures_util::future::join_all(large).await {
        sent.unwrap();
    }
}

#[tokio::test]
async fn heartbeats_name_the_groups_as_soon_as_brokers_are_known() {
    let broker = broker();
    let names = name_server(&[&broker.addr]);
    let client = client(&names.addr);
    assert_eq!(broker.count(34), 0);
    client.route("T").await.unwrap();
    let producer = client.producer("g").start().unwrap();
    until("a heartbeat", || broker.count(34) > 0).await;
    drop(producer);
}
