// SPDX-License-Identifier: Apache-2.0
//! Cases of the producer.

use crate::{
    Case,
    env::{Env, Need, all_differ, wait_for},
};
use anyhow::{Context, Result, bail, ensure};
use futures_util::future::{join_all, try_join_all};
use oxmq_client::{
    Command, Compression, Encoding, Message, MessageError, ProducerOptions, ReceivedMessage, RouteError,
    SendError, SendStatus, Tracer, TransactionState,
    code::{self, request},
    property, reply_to,
};
use oxmq_remoting::{bodies::ProducerConnection, fastjson};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

pub(crate) const CASES: &[Case] = &[
    ("send", Need::Any, |env| Box::pin(send(env))),
    ("send_many_at_once", Need::Any, |env| Box::pin(send_many_at_once(env))),
    ("send_with_binary_headers", Need::Any, |env| Box::pin(send_with_binary_headers(env))),
    ("send_one_way", Need::Any, |env| Box::pin(send_one_way(env))),
    ("send_to_a_queue", Need::Any, |env| Box::pin(send_to_a_queue(env))),
    ("send_ordered_by_key", Need::Any, |env| Box::pin(send_ordered_by_key(env))),
    ("send_to_a_new_topic", Need::Any, |env| Box::pin(send_to_a_new_topic(env))),
    ("send_batch", Need::Any, |env| Box::pin(send_batch(env))),
    ("compress", Need::Any, |env| Box::pin(compress(env))),
    ("delay_by_level", Need::Any, |env| Box::pin(delay_by_level(env))),
    ("delay_by_time", Need::Five, |env| Box::pin(delay_by_time(env))),
    ("recall", Need::Five, |env| Box::pin(recall(env))),
    ("transactions", Need::Any, |env| Box::pin(transactions(env))),
    ("transaction_check", Need::Any, |env| Box::pin(transaction_check(env))),
    ("request_and_reply", Need::Any, |env| Box::pin(request_and_reply(env))),
    ("trace", Need::Any, |env| Box::pin(trace(env))),
    ("errors_say_what_to_do", Need::Any, |env| Box::pin(errors_say_what_to_do(env))),
    ("dropped_without_shutdown", Need::Any, |env| Box::pin(dropped_without_shutdown(env))),
];

fn bodies(messages: &[ReceivedMessage]) -> Vec<String> {
    let mut bodies: Vec<_> =
        messages.iter().map(|message| message.text().unwrap_or("?").to_owned()).collect();
    bodies.sort();
    bodies
}

async fn send(env: Env) -> Result<()> {
    let client = env.client()?;
    env.create_topic(&client, 4).await?;
    let producer = client.producer(env.group()).start()?;
    let mut ids = Vec::new();
    for n in 0..20 {
        let message = Message::new(&*env.topic, format!("body {n}"))
            .tag("A")
            .key(&format!("key{n}"))
            .property("shop", "中文 \"quoted\"")
            .flag(n);
        let sent = producer.send(message).await?;
        ensure!(sent.status == SendStatus::SendOk, "{sent}");
        let stored = env.message_at(&client, &sent.offset_msg_id).await?;
        ensure!(stored.text() == Some(&*format!("body {n}")), "{stored:?}");
        ensure!(stored.msg_id() == sent.msg_id && stored.queue_offset() == sent.queue_offset, "{stored:?}");
        ensure!(stored.queue_id() == sent.queue.queue_id && stored.flag() == n, "{stored:?}");
        ensure!(stored.tag().as_deref() == Some("A"), "{stored:?}");
        ensure!(stored.get("shop").as_deref() == Some("中文 \"quoted\""), "{stored:?}");
        ids.push(sent);
    }
    ensure!(all_differ(ids.iter().map(|sent| &sent.msg_id)), "an id came twice");
    let mut queues: Vec<_> = ids.iter().map(|sent| sent.queue.clone()).collect();
    queues.sort();
    queues.dedup();
    ensure!(queues.len() >= 4, "queues do not take turns: {queues:?}");
    let numbers = producer.metrics();
    ensure!(numbers.sent == 20 && numbers.failed == 0 && numbers.in_flight == 0, "{numbers:?}");
    producer.shutdown().await;
    let refused = producer.send(Message::new(&*env.topic, "late")).await;
    ensure!(refused == Err(SendError::ShutDown), "{refused:?}");
    Ok(())
}

async fn send_many_at_once(env: Env) -> Result<()> {
    let client = env.client()?;
    env.create_topic(&client, 4).await?;
    // A debug build on a busy machine may take seconds for this.
    let producer = client.producer(env.group()).send_timeout(Duration::from_secs(30)).start()?;
    let count = 20_000;
    let sends = (0..count).map(|n| producer.send(Message::new(&*env.topic, n.to_string())));
    let sent = try_join_all(sends).await?;
    ensure!(all_differ(sent.iter().map(|sent| (&sent.queue, sent.queue_offset))), "a place came twice");
    ensure!(all_differ(sent.iter().map(|sent| &sent.msg_id)), "an id came twice");
    let stored = env.pull_until(&client, &env.topic, count).await?;
    ensure!(stored.len() == count && all_differ(bodies(&stored)), "{} of {count}", stored.len());
    Ok(())
}

async fn send_with_binary_headers(env: Env) -> Result<()> {
    let client = oxmq_client::Client::new(env.options().encoding(Encoding::RocketMq))?;
    env.create_topic(&client, 1).await?;
    let producer = client.producer(env.group()).start()?;
    let sent = producer.send(Message::new(&*env.topic, "binary").tag("ü")).await?;
    let stored = env.message_at(&client, &sent.offset_msg_id).await?;
    ensure!(stored.text() == Some("binary") && stored.tag().as_deref() == Some("ü"), "{stored:?}");
    Ok(())
}

async fn send_one_way(env: Env) -> Result<()> {
    let client = env.client()?;
    env.create_topic(&client, 2).await?;
    let producer = client.producer(env.group()).start()?;
    let count = 10_000;
    for n in 0..count {
        producer.send_one_way(Message::new(&*env.topic, n.to_string())).await?;
    }
    let stored = env.pull_until(&client, &env.topic, count).await?;
    ensure!(stored.len() == count && all_differ(bodies(&stored)), "{} of {count}", stored.len());
    Ok(())
}

async fn send_to_a_queue(env: Env) -> Result<()> {
    let client = env.client()?;
    env.create_topic(&client, 3).await?;
    let producer = client.producer(env.group()).start()?;
    let queues = producer.queues(&env.topic).await?;
    let third = &queues[2];
    let sent = producer.send_to(Message::new(&*env.topic, "there"), third).await?;
    ensure!(sent.queue == *third, "{sent}");
    let sent = producer.send_by(Message::new(&*env.topic, "chosen"), |queues, _| queues.len() - 1).await?;
    ensure!(sent.queue == queues[queues.len() - 1], "{sent}");
    let wrong = producer.send_by(Message::new(&*env.topic, "nowhere"), |_, _| 4711).await;
    ensure!(matches!(wrong, Err(SendError::Selector { chosen: 4711, .. })), "{wrong:?}");
    let absent = oxmq_client::MessageQueue::new(&*env.topic, "no-such-broker", 0);
    let wrong = producer.send_to(Message::new(&*env.topic, "nowhere"), &absent).await;
    ensure!(matches!(wrong, Err(SendError::NoSuchQueue(_))), "{wrong:?}");
    Ok(())
}

async fn send_ordered_by_key(env: Env) -> Result<()> {
    let client = env.client()?;
    env.create_topic(&client, 4).await?;
    let producer = client.producer(env.group()).start()?;
    // Orders side by side, the steps of each one after the other.
    let orders = (0..10).map(|order| {
        let (producer, topic) = (&producer, &env.topic);
        async move {
            for step in 0..20 {
                let message = Message::new(topic.as_str(), format!("{order}:{step}"));
                producer.send_ordered(message, &format!("order-{order}")).await?;
            }
            Ok::<_, SendError>(())
        }
    });
    try_join_all(orders).await?;
    let mut steps: BTreeMap<String, Vec<(String, i64, u32)>> = BTreeMap::new();
    for message in env.pull_until(&client, &env.topic, 200).await? {
        let (order, step) = message.text().and_then(|text| text.split_once(':')).context("no body")?;
        let place = format!("{}", message.queue());
        steps.entry(order.into()).or_default().push((place, message.queue_offset(), step.parse()?));
    }
    ensure!(steps.len() == 10, "{} orders", steps.len());
    for (order, mut steps) in steps {
        steps.sort();
        ensure!(steps.iter().all(|(queue, ..)| *queue == steps[0].0), "order {order} is in several queues");
        ensure!(steps.iter().map(|(.., step)| *step).eq(0..20), "order {order}: {steps:?}");
    }
    Ok(())
}

async fn send_to_a_new_topic(env: Env) -> Result<()> {
    let client = env.client()?;
    let producer = client.producer(env.group()).start()?;
    let sent = producer.send(Message::new(&*env.topic, "first")).await?;
    ensure!(sent.status == SendStatus::SendOk, "{sent}");
    // The broker tells the name server in the background.
    let stored = wait_for("the topic", Duration::from_secs(40), || async {
        match client.refresh_route(&env.topic).await {
            Ok(_) => Ok(Some(env.pull_until(&client, &env.topic, 1).await?)),
            Err(_) => Ok(None),
        }
    })
    .await?;
    ensure!(bodies(&stored) == ["first"], "{stored:?}");
    Ok(())
}

async fn send_batch(env: Env) -> Result<()> {
    let client = env.client()?;
    env.create_topic(&client, 2).await?;
    let producer = client.producer(env.group()).start()?;
    let body = "x".repeat(1000);
    let messages = (0..3000).map(|n| Message::new(&*env.topic, format!("{n:05}{body}")).tag("B"));
    let results = producer.send_batch(messages).await?;
    ensure!(results.len() == 4, "{} parts of 3 MB", results.len());
    let ids: Vec<_> = results.iter().flat_map(|result| result.msg_id.split(',')).collect();
    ensure!(ids.len() == 3000 && all_differ(&ids), "{} ids", ids.len());
    let stored = env.pull_until(&client, &env.topic, 3000).await?;
    let numbers: Vec<_> = bodies(&stored).iter().map(|body| body[..5].parse().unwrap_or(-1)).collect();
    ensure!(numbers == (0..3000).collect::<Vec<i32>>(), "{} messages", numbers.len());
    ensure!(stored.iter().all(|message| message.tag().as_deref() == Some("B")), "a tag is lost");
    let mixed = [Message::new(&*env.topic, "a"), Message::new("Other", "b")];
    let error = producer.send_batch(mixed).await.err().context("two topics in one batch")?;
    ensure!(matches!(error.error, SendError::Message(MessageError::BatchTopics(..))), "{error}");
    let delayed = producer.send_batch([Message::new(&*env.topic, "a").delay_level(1)]).await;
    ensure!(delayed.is_err(), "a delayed message in a batch");
    Ok(())
}

async fn compress(env: Env) -> Result<()> {
    let client = env.client()?;
    env.create_topic(&client, 1).await?;
    let body = "compressible ".repeat(2000);
    for (n, method) in [Compression::Zlib, Compression::Lz4, Compression::Zstd].into_iter().enumerate() {
        let producer = client.producer(format!("{}_{n}", env.group())).compression(method, 4096).start()?;
        let sent = producer.send(Message::new(&*env.topic, body.clone())).await?;
        let numbers = producer.metrics();
        ensure!(numbers.sent_bytes < 2000, "{method:?} sends {} bytes", numbers.sent_bytes);
        // 4.9.7 says that a message is stored before it can be pulled.
        let stored = wait_for("the message", Duration::from_secs(10), || async {
            let stored = env.pull(&client, &sent.queue, sent.queue_offset).await?;
            Ok((!stored.is_empty()).then_some(stored))
        })
        .await?;
        ensure!(stored.len() == 1 && stored[0].body_fault().is_none(), "{method:?}: {stored:?}");
        ensure!(stored[0].text() == Some(&*body), "{method:?} changes the body");
        ensure!(stored[0].store_size() < 2000, "{method:?}: {} bytes", stored[0].store_size());
    }
    Ok(())
}

async fn arrives(env: &Env, client: &oxmq_client::Client, begun: Instant) -> Result<Duration> {
    env.pull_until(client, &env.topic, 1).await?;
    Ok(begun.elapsed())
}

async fn delay_by_level(env: Env) -> Result<()> {
    let client = env.client()?;
    env.create_topic(&client, 1).await?;
    let producer = client.producer(env.group()).start()?;
    let begun = Instant::now();
    producer.send(Message::new(&*env.topic, "later").delay_level(2)).await?;
    let took = arrives(&env, &client, begun).await?;
    ensure!(took >= Duration::from_secs(5), "level 2 is 5 s, not {took:?}");
    Ok(())
}

async fn delay_by_time(env: Env) -> Result<()> {
    let client = env.client()?;
    env.create_topic(&client, 1).await?;
    let producer = client.producer(env.group()).start()?;
    let begun = Instant::now();
    let at = SystemTime::now() + Duration::from_millis(3500);
    producer.send(Message::new(&*env.topic, "at").deliver_at(at)).await?;
    producer.send(Message::new(&*env.topic, "after").delay(Duration::from_millis(3500))).await?;
    let took = arrives(&env, &client, begun).await?;
    ensure!(took >= Duration::from_millis(2900), "it came after {took:?}");
    let all = env.pull_until(&client, &env.topic, 2).await?;
    ensure!(bodies(&all) == ["after", "at"], "{all:?}");
    Ok(())
}

async fn recall(env: Env) -> Result<()> {
    let client = env.client()?;
    env.create_topic(&client, 1).await?;
    let producer = client.producer(env.group()).start()?;
    let sent = producer.send(Message::new(&*env.topic, "never").delay(Duration::from_secs(8))).await?;
    let Some(handle) = &sent.recall_handle else { bail!("no handle: {sent}") };
    let id = producer.recall(&env.topic, handle).await?;
    ensure!(id == sent.msg_id, "{id} of {sent}");
    producer.send(Message::new(&*env.topic, "due").delay(Duration::from_secs(9))).await?;
    let all = env.pull_until(&client, &env.topic, 1).await?;
    ensure!(bodies(&all) == ["due"], "{all:?}");
    let wrong = producer.recall(&env.topic, "nonsense").await;
    ensure!(wrong.is_err(), "a handle that is none: {wrong:?}");
    Ok(())
}

async fn transactions(env: Env) -> Result<()> {
    let client = env.client()?;
    env.create_topic(&client, 2).await?;
    let unknown = |_| async { TransactionState::Unknown };
    let producer = client.producer(env.group()).transaction_listener(unknown).start()?;
    for n in 0..20 {
        let state = if n % 2 == 0 { TransactionState::Commit } else { TransactionState::Rollback };
        let ran = AtomicBool::new(false);
        let message = Message::new(&*env.topic, format!("{n:02}")).key("k");
        let result = producer
            .send_in_transaction(message, async |half| {
                ran.store(
                    half.keys.as_deref() == Some("k") && !half.transaction_id.is_empty(),
                    Ordering::SeqCst,
                );
                state
            })
            .await?;
        ensure!(result.state == state && result.confirmed, "{result:?}");
        ensure!(ran.load(Ordering::SeqCst), "the application's transaction did not run");
    }
    let stored = env.pull_until(&client, &env.topic, 10).await?;
    let expected: Vec<_> = (0..20).step_by(2).map(|n| format!("{n:02}")).collect();
    ensure!(bodies(&stored) == expected, "{:?}", bodies(&stored));
    let delayed = Message::new(&*env.topic, "x").delay_level(1);
    let refused = producer.send_in_transaction(delayed, async |_| TransactionState::Commit).await;
    ensure!(matches!(refused, Err(SendError::Message(MessageError::TransactionDelayed))), "{refused:?}");
    Ok(())
}

/// The servers of the suite ask after 3 s and then every 3 s.
async fn transaction_check(env: Env) -> Result<()> {
    let client = env.client()?;
    env.create_topic(&client, 1).await?;
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let listener = move |half: ReceivedMessage| {
        let turn = count.fetch_add(1, Ordering::SeqCst);
        async move {
            match half.text() {
                // A panic is an answer, too: not known.
                Some("commit") if turn == 0 => panic!("the case wants a panic"),
                Some("commit") => TransactionState::Commit,
                _ => TransactionState::Rollback,
            }
        }
    };
    let producer = client.producer(env.group()).transaction_listener(listener).start()?;
    for body in ["commit", "rollback"] {
        let message = Message::new(&*env.topic, body).property(property::CHECK_IMMUNITY_SECONDS, "1");
        let result = producer.send_in_transaction(message, async |_| TransactionState::Unknown).await?;
        ensure!(!result.confirmed, "{result:?}");
    }
    let stored = env.pull_until(&client, &env.topic, 1).await?;
    ensure!(bodies(&stored) == ["commit"], "{stored:?}");
    ensure!(asked.load(Ordering::SeqCst) >= 2, "asked {asked:?} times");
    Ok(())
}

async fn request_and_reply(env: Env) -> Result<()> {
    let (asker, replier) = (env.client()?, env.client()?);
    env.create_topic(&asker, 1).await?;
    let producer = asker.producer(env.group()).start()?;
    let answers = replier.producer(format!("{}_r", env.group())).start()?;
    let serve = async {
        let request = env.pull_until(&replier, &env.topic, 1).await?.swap_remove(0);
        let reply = reply_to(&request, format!("{}!", request.text().unwrap_or("?")));
        answers.send(reply.context("it wants no reply")?).await?;
        Ok::<_, anyhow::Error>(())
    };
    let ask = producer.request(Message::new(&*env.topic, "ping"), Duration::from_secs(30));
    let (served, reply) = tokio::join!(serve, ask);
    served?;
    let reply = reply?;
    ensure!(reply.text() == Some("ping!"), "{reply:?}");
    let nobody = producer.request(Message::new(&*env.topic, "anybody?"), Duration::from_millis(800)).await;
    ensure!(nobody.is_err(), "who replied? {nobody:?}");
    Ok(())
}

async fn trace(env: Env) -> Result<()> {
    let client = env.client()?;
    env.create_topic(&client, 1).await?;
    let tracer = Tracer::new(&client)?;
    let producer = client.producer(env.group()).hook(tracer.hook()).start()?;
    let sent = producer.send(Message::new(&*env.topic, "traced").tag("A").key("k")).await?;
    producer.shutdown().await;
    let line = wait_for("the trace", Duration::from_secs(40), || async {
        let Ok(all) = env.pull_all(&client, oxmq_client::TRACE_TOPIC).await else { return Ok(None) };
        let found = all.iter().find(|trace| trace.keys().is_some_and(|keys| keys.contains(&sent.msg_id)));
        Ok(found.map(|trace| trace.text().unwrap_or_default().to_owned()))
    })
    .await?;
    let fields: Vec<_> = line.trim_end_matches('\u{2}').split('\u{1}').collect();
    ensure!(fields[0] == "Pub" && fields[4] == env.topic && fields[5] == sent.msg_id, "{fields:?}");
    ensure!(fields[6] == "A" && fields[7] == "k" && fields[13] == "true", "{fields:?}");
    ensure!(tracer.dropped() == 0, "dropped {}", tracer.dropped());
    Ok(())
}

async fn errors_say_what_to_do(env: Env) -> Result<()> {
    let client = env.client()?;
    let options = |change: fn(&mut ProducerOptions)| {
        let mut options = ProducerOptions::default();
        change(&mut options);
        options
    };
    let strict =
        client.producer(env.group()).options(options(|options| options.create_topics = false)).start()?;
    let absent = strict.send(Message::new(&*env.topic, "x")).await;
    ensure!(matches!(absent, Err(SendError::Route(RouteError::TopicNotFound { .. }))), "{absent:?}");
    let large = strict.send(Message::new(&*env.topic, vec![0; (4 << 20) + 1])).await;
    ensure!(matches!(large, Err(SendError::Message(MessageError::TooLarge { .. }))), "{large:?}");
    // The broker has a limit of its own.
    let change: fn(&mut ProducerOptions) = |options| {
        options.max_message_size = 8 << 20;
        options.compress_over = usize::MAX;
    };
    let large = client.producer(format!("{}_l", env.group())).options(options(change)).start()?;
    env.create_topic(&client, 1).await?;
    let refused = large.send(Message::new(&*env.topic, vec![7; 5 << 20])).await;
    let error = refused.err().context("5 MiB were taken")?;
    ensure!(error.code() == Some(oxmq_client::code::MESSAGE_ILLEGAL), "{error}");
    ensure!(!error.may_be_stored(), "{error}");
    // Read only: the route has no queue.
    let read_only = format!("{}_ro", env.topic);
    env.create(&client, &read_only, 1, 4).await?;
    let refused = large.send(Message::new(read_only, "x")).await;
    ensure!(matches!(refused, Err(SendError::NoWriteQueue { .. })), "{refused:?}");
    let twice = client.producer(env.group()).start();
    ensure!(twice.is_err(), "one group twice on one client");
    Ok(())
}

/// The broker forgets a client that is dropped at once, because its connection ends.
async fn dropped_without_shutdown(env: Env) -> Result<()> {
    let watcher = env.client()?;
    env.create_topic(&watcher, 1).await?;
    let client = env.client()?;
    let producer = client.producer(env.group()).start()?;
    let sends = join_all((0..50).map(|n| producer.send(Message::new(&*env.topic, n.to_string())))).await;
    ensure!(sends.iter().all(Result::is_ok), "{sends:?}");
    let addr = client
        .master_addr(&sends[0].as_ref().map_err(Clone::clone)?.queue.broker_name)
        .context("no broker")?;
    let (group, client_id) = (env.group(), client.client_id().clone());
    // Java before 5.0 keeps a group of which nobody is left, and answers with an empty list.
    let connected = || async {
        let command =
            Command::new(request::GET_PRODUCER_CONNECTION_LIST).with("producerGroup", group.clone());
        let reply = watcher.call(&addr, command).await?;
        if reply.code != code::SUCCESS {
            return Ok::<_, anyhow::Error>(false);
        }
        let list: ProducerConnection = fastjson::from_slice(&reply.body)?;
        Ok(list.connection_set.iter().any(|connection| *connection.client_id == *client_id))
    };
    wait_for("the producer to be known", Duration::from_secs(10), || async {
        Ok(connected().await?.then_some(()))
    })
    .await?;
    drop((producer, client));
    wait_for("the producer to be gone", Duration::from_secs(10), || async {
        Ok((!connected().await?).then_some(()))
    })
    .await
}
