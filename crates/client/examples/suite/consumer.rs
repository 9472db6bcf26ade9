// SPDX-License-Identifier: Apache-2.0
//! Cases of the consumers.

use crate::{
    Case,
    env::{Env, Need, wait_for},
};
use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use oxmq_client::{
    Client, Command, Compression, Message, ReceivedMessage,
    code::{self, request},
    consumer::{
        Batch, ConsumeFrom, ConsumerOptions, Filter, LiteOptions, LitePullConsumer, Model, Outcome,
        PullConsumer, PullStatus, PushConsumer,
    },
    property,
};
use oxmq_remoting::{
    bodies::{ConsumeMessageDirectlyResult, ConsumerRunningInfo},
    fastjson,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

pub(crate) const CASES: &[Case] = &[
    ("consume_everything_once", Need::Any, |env| Box::pin(consume_everything_once(env))),
    ("consume_by_tags", Need::Any, |env| Box::pin(consume_by_tags(env))),
    ("consume_by_sql", Need::Any, |env| Box::pin(consume_by_sql(env))),
    ("consume_zlib", Need::Any, |env| Box::pin(consume_compressed(env, &[Compression::Zlib]))),
    ("consume_lz4_and_zstd", Need::Five, |env| {
        Box::pin(consume_compressed(env, &[Compression::Lz4, Compression::Zstd]))
    }),
    ("consume_from_a_time", Need::Any, |env| Box::pin(consume_from_a_time(env))),
    ("retry_and_dead_letter", Need::Any, |env| Box::pin(retry_and_dead_letter(env))),
    ("orderly_handover", Need::Any, |env| Box::pin(orderly_handover(env))),
    ("orderly_dead_letter", Need::Any, |env| Box::pin(orderly_dead_letter(env))),
    ("broadcasting", Need::Any, |env| Box::pin(broadcasting(env))),
    ("members_come_and_go", Need::Any, |env| Box::pin(members_come_and_go(env))),
    ("tools_ask_a_consumer", Need::Any, |env| Box::pin(tools_ask_a_consumer(env))),
    ("reset_of_an_online_group", Need::Any, |env| Box::pin(reset_of_an_online_group(env))),
    ("lite_pull", Need::Any, |env| Box::pin(lite_pull(env))),
    ("pull_by_hand", Need::Any, |env| Box::pin(pull_by_hand(env))),
];

const LONG: Duration = Duration::from_secs(90);

/// What handlers had, in their order.
#[derive(Clone, Default)]
pub(crate) struct Seen(Arc<Mutex<Vec<Arc<ReceivedMessage>>>>);

impl Seen {
    fn add(&self, batch: &Batch) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(batch.iter().cloned());
    }

    pub(crate) fn handler(&self) -> impl Fn(Batch) -> std::future::Ready<()> + Send + Sync + 'static {
        let seen = self.clone();
        move |batch| {
            seen.add(&batch);
            std::future::ready(())
        }
    }

    pub(crate) fn all(&self) -> Vec<Arc<ReceivedMessage>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn bodies(&self) -> Vec<String> {
        self.all().iter().map(|message| message.text().unwrap_or("?").to_owned()).collect()
    }

    pub(crate) fn sorted(&self) -> Vec<usize> {
        let mut numbers: Vec<usize> =
            self.bodies().iter().map(|body| body.parse().unwrap_or(usize::MAX)).collect();
        numbers.sort_unstable();
        numbers
    }

    pub(crate) async fn wait(&self, count: usize) -> Result<()> {
        let what = format!("{count} messages");
        let result = wait_for(&what, LONG, || async { Ok((self.all().len() >= count).then_some(())) }).await;
        result.with_context(|| format!("{} came", self.all().len()))
    }
}

fn numbers(to: usize) -> Vec<usize> {
    (0..to).collect()
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) -> Result<()> {
    wait_for(what, LONG, || std::future::ready(Ok(condition().then_some(())))).await
}

fn options(env: &Env) -> ConsumerOptions {
    ConsumerOptions::new(env.group()).consume_from(ConsumeFrom::FirstOffset)
}

/// Sends the bodies `first`, `first + 1`, ... each with what `with` adds.
async fn send(
    env: &Env,
    client: &Client,
    range: std::ops::Range<usize>,
    with: impl Fn(usize, Message) -> Message,
) -> Result<()> {
    let group = format!("p_{}_{}", env.topic, range.start);
    let producer = client.producer(group).send_timeout(Duration::from_secs(20)).start()?;
    let sends = range.map(|n| producer.send(with(n, Message::new(&*env.topic, n.to_string()))));
    try_join_all(sends).await?;
    producer.shutdown().await;
    Ok(())
}

async fn idle(consumer: &PushConsumer) -> Result<()> {
    until("handlers end", || consumer.in_flight() == (0, 0)).await
}

async fn consume_everything_once(env: Env) -> Result<()> {
    let client = env.client()?;
    let count = env.create_topic(&client, 4).await?;
    send(&env, &client, 0..1000, |_, message| message).await?;
    let seen = Seen::default();
    let start = || PushConsumer::start(&client, options(&env).subscribe(&*env.topic, "*"), seen.handler());
    let consumer = start().await?;
    seen.wait(1000).await?;
    send(&env, &client, 1000..1500, |_, message| message).await?;
    seen.wait(1500).await?;
    idle(&consumer).await?;
    let shutdown = consumer.shutdown().await;
    ensure!(shutdown.uncommitted_queues == 0 && shutdown.unfinished_handlers == 0, "{shutdown:?}");
    let consumer = start().await?;
    send(&env, &client, 1500..1600, |_, message| message).await?;
    seen.wait(1600).await?;
    consumer.shutdown().await;
    ensure!(seen.sorted() == numbers(1600), "{} came", seen.all().len());
    let queues: std::collections::BTreeSet<_> = seen.all().iter().map(|message| message.queue()).collect();
    ensure!(queues.len() == count, "{queues:?}");
    Ok(())
}

async fn consume_by_tags(env: Env) -> Result<()> {
    let client = env.client()?;
    env.create_topic(&client, 2).await?;
    let tags = ["A", "B", "中文", "C"];
    send(&env, &client, 0..40, |n, message| message.tag(tags[n % 4])).await?;
    let seen = Seen::default();
    let options = options(&env).subscribe(&*env.topic, "A || 中文");
    let consumer = PushConsumer::start(&client, options, seen.handler()).await?;
    seen.wait(20).await?;
    consumer.shutdown().await;
    ensure!(seen.sorted() == (0..40).filter(|n| n % 2 == 0).collect::<Vec<_>>(), "{:?}", seen.sorted());
    Ok(())
}

async fn consume_by_sql(env: Env) -> Result<()> {
    let client = env.client()?;
    env.create_topic(&client, 2).await?;
    send(&env, &client, 0..40, |n, message| message.property("n", &n.to_string())).await?;
    let seen = Seen::default();
    let start = |expression: &str| {
        let options = options(&env).subscribe(&*env.topic, Filter::sql(expression));
        PushConsumer::start(&client, options, seen.handler())
    };
    let refused = start("n >").await;
    ensure!(refused.is_err(), "an expression that is none was taken");
    let consumer = start("n BETWEEN 10 AND 19 AND absent IS NULL").await?;
    seen.wait(10).await?;
    consumer.shutdown().await;
    ensure!(seen.sorted() == (10..20).collect::<Vec<_>>(), "{:?}", seen.sorted());
    Ok(())
}

async fn consume_compressed(env: Env, methods: &[Compression]) -> Result<()> {
    let client = env.client()?;
    env.create_topic(&client, 1).await?;
    let body = "the same again and again ".repeat(1000);
    for method in methods {
        let group = format!("p_{}_{method:?}", env.topic);
        let producer = client.producer(group).compression(*method, 4096).start()?;
        producer.send(Message::new(&*env.topic, body.clone())).await?;
        producer.shutdown().await;
    }
    let seen = Seen::default();
    let consumer =
        PushConsumer::start(&client, options(&env).subscribe(&*env.topic, "*"), seen.handler()).await?;
    seen.wait(methods.len()).await?;
    consumer.shutdown().await;
    for message in seen.all() {
        ensure!(
            message.text() == Some(&*body) && (message.store_size() as usize) < body.len(),
            "{message:?}"
        );
    }
    Ok(())
}

async fn consume_from_a_time(env: Env) -> Result<()> {
    let client = env.client()?;
    env.create_topic(&client, 1).await?;
    send(&env, &client, 0..10, |_, message| message).await?;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as i64;
    send(&env, &client, 10..20, |_, message| message).await?;
    // A push group of a topic that still has its first message begins there, whatever it wants; a pull group asks itself.
    let consumer = PullConsumer::new(&client, &env.group())?;
    let mut came = Vec::new();
    for queue in consumer.queues(&env.topic).await? {
        let at = consumer.search_offset(&queue, now - 700).await?;
        let found = consumer.pull(&queue, &Filter::all(), at, 32).await?;
        came.extend(found.messages.iter().filter_map(|message| message.text()?.parse::<usize>().ok()));
    }
    came.sort_unstable();
    ensure!(came == (10..20).collect::<Vec<_>>(), "{came:?}");
    Ok(())
}

async fn retry_and_dead_letter(env: Env) -> Result<()> {
    let client = env.client()?;
    env.create_topic(&client, 1).await?;
    let seen = Seen::default();
    let record = seen.clone();
    let handler = move |batch: Batch| {
        record.add(&batch);
        let outcome = match (batch[0].text(), batch[0].reconsume_times()) {
            (Some("1"), 0) | (Some("2"), _) => Outcome::RetryAtLevel(1),
            (Some("3"), 0) => panic!("this handler does not like 3"),
            _ => Outcome::Success,
        };
        async move { outcome }
    };
    let options = options(&env).subscribe(&*env.topic, "*").max_reconsume_times(1);
    let consumer = PushConsumer::start(&client, options, handler).await?;
    send(&env, &client, 0..5, |n, message| message.key(&format!("key{n}")).tag("T")).await?;
    seen.wait(8).await?;
    let dead = format!("%DLQ%{}", env.group());
    // Java makes such a topic without the right to read it.
    let dead = wait_for("the dead letter", LONG, || async {
        let found = env.by_key(&client, &dead, "key2").await?;
        Ok((!found.is_empty()).then_some(found))
    })
    .await?;
    idle(&consumer).await?;
    consumer.shutdown().await;
    let mut counts = BTreeMap::<String, usize>::new();
    seen.bodies().into_iter().for_each(|body| *counts.entry(body).or_default() += 1);
    let counts: Vec<_> = counts.into_values().collect();
    ensure!(counts == [1, 2, 2, 2, 1], "{counts:?}");
    for message in seen.all().iter().filter(|message| message.reconsume_times() > 0) {
        ensure!(message.topic() == env.topic && message.tag().as_deref() == Some("T"), "{message:?}");
    }
    ensure!(dead.len() == 1 && dead[0].text() == Some("2"), "{dead:?}");
    ensure!(dead[0].get(property::RETRY_TOPIC).as_deref() == Some(&*env.topic), "{dead:?}");
    Ok(())
}

async fn orderly_handover(env: Env) -> Result<()> {
    let (one, two) = (env.client()?, env.client()?);
    env.create_topic(&one, 4).await?;
    let seen = Seen::default();
    let handler = || {
        let seen = seen.clone();
        move |batch: Batch| {
            let seen = seen.clone();
            async move {
                tokio::time::sleep(Duration::from_millis(3)).await;
                if batch[0].text().is_some_and(|body| body.ends_with("00")) && batch[0].reconsume_times() == 0
                {
                    return Outcome::RetryAfter(Duration::from_millis(50));
                }
                // At the end: whoever overtakes shows.
                seen.add(&batch);
                Outcome::Success
            }
        }
    };
    let options = || options(&env).subscribe(&*env.topic, "*");
    let first = PushConsumer::start_orderly(&one, options(), handler()).await?;
    let producer = one.producer(format!("p_{}", env.topic)).start()?;
    let mut second = None;
    for n in 0..600 {
        producer.send_ordered(Message::new(&*env.topic, n.to_string()), &(n % 20).to_string()).await?;
        if n == 200 {
            second = Some(PushConsumer::start_orderly(&two, options(), handler()).await?);
        }
    }
    let second = second.context("no second consumer")?;
    seen.wait(600).await?;
    until("both have queues", || !second.queues().is_empty() && !first.queues().is_empty()).await?;
    first.shutdown().await;
    for n in 600..700 {
        producer.send_ordered(Message::new(&*env.topic, n.to_string()), &(n % 20).to_string()).await?;
    }
    seen.wait(700).await?;
    second.shutdown().await;
    producer.shutdown().await;
    ensure!(seen.sorted() == numbers(700), "{} came", seen.all().len());
    let mut last = BTreeMap::new();
    for message in seen.all() {
        let before = last.insert(message.queue(), message.queue_offset());
        ensure!(before.is_none_or(|before| before < message.queue_offset()), "out of order: {message:?}");
    }
    Ok(())
}

async fn orderly_dead_letter(env: Env) -> Result<()> {
    let client = env.client()?;
    env.create_topic(&client, 1).await?;
    send(&env, &client, 0..20, |_, message| message).await?;
    let seen = Seen::default();
    let record = seen.clone();
    let handler = move |batch: Batch| {
        record.add(&batch);
        let fails = batch[0].text() == Some("7");
        async move { if fails { Outcome::RetryAfter(Duration::from_millis(20)) } else { Outcome::Success } }
    };
    let options = options(&env).subscribe(&*env.topic, "*").max_reconsume_times(2);
    let consumer = PushConsumer::start_orderly(&client, options, handler).await?;
    seen.wait(22).await?;
    idle(&consumer).await?;
    consumer.shutdown().await;
    let tried = seen.bodies().iter().filter(|body| *body == "7").count();
    ensure!(tried == 3 && seen.all().len() == 22, "tried {tried} times, {} in all", seen.all().len());
    Ok(())
}

async fn broadcasting(env: Env) -> Result<()> {
    let folder = std::env::temp_dir().join(format!("offsets_{}", env.topic));
    let client = |name: &str| Client::new(env.options().instance_name(format!("{name}_{}", env.topic)));
    let clients = [client("a")?, client("b")?];
    let count = env.create_topic(&clients[0], 2).await?;
    let options =
        || options(&env).subscribe(&*env.topic, "*").model(Model::Broadcasting).local_offsets(&folder);
    let seen = [Seen::default(), Seen::default()];
    let mut consumers = Vec::new();
    for (client, seen) in clients.iter().zip(&seen) {
        consumers.push(PushConsumer::start(client, options(), seen.handler()).await?);
    }
    // A broadcasting consumer has no committed offset to begin at: let it take its queues first.
    for consumer in &consumers {
        until("all queues are taken", || consumer.queues().len() == count).await?;
    }
    send(&env, &clients[0], 0..100, |_, message| message).await?;
    for seen in &seen {
        seen.wait(100).await?;
        ensure!(seen.sorted() == numbers(100), "{} came", seen.all().len());
    }
    for consumer in consumers {
        idle(&consumer).await?;
        consumer.shutdown().await;
    }
    send(&env, &clients[0], 100..110, |_, message| message).await?;
    let again = PushConsumer::start(&clients[0], options(), seen[0].handler()).await?;
    seen[0].wait(110).await?;
    again.shutdown().await;
    ensure!(seen[0].sorted() == numbers(110), "{} came", seen[0].all().len());
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

async fn members_come_and_go(env: Env) -> Result<()> {
    let (one, two) = (env.client()?, env.client()?);
    let count = env.create_topic(&one, 4).await?;
    let seen = Seen::default();
    let options = || options(&env).subscribe(&*env.topic, "*");
    let of_topic =
        |consumer: &PushConsumer| consumer.queues().iter().filter(|queue| *queue.topic == *env.topic).count();
    let first = PushConsumer::start(&one, options(), seen.handler()).await?;
    until("the first has all", || of_topic(&first) == count).await?;
    let second = PushConsumer::start(&two, options(), seen.handler()).await?;
    until("each has half", || of_topic(&first) == count / 2 && of_topic(&second) == count / 2).await?;
    send(&env, &one, 0..500, |_, message| message).await?;
    seen.wait(500).await?;
    idle(&second).await?;
    second.shutdown().await;
    until("the first has all again", || of_topic(&first) == count).await?;
    send(&env, &one, 500..600, |_, message| message).await?;
    seen.wait(600).await?;
    first.shutdown().await;
    ensure!(seen.sorted() == numbers(600), "{} came", seen.all().len());
    Ok(())
}

async fn tools_ask_a_consumer(env: Env) -> Result<()> {
    let client = env.client()?;
    let count = env.create_topic(&client, 1).await?;
    let seen = Seen::default();
    let consumer =
        PushConsumer::start(&client, options(&env).subscribe(&*env.topic, "*"), seen.handler()).await?;
    send(&env, &client, 0..10, |_, message| message).await?;
    seen.wait(10).await?;
    idle(&consumer).await?;
    // Brokers make the retry topic with the first heartbeat, and the group takes its queues a rebalance later.
    until("queues of the retry topic", || consumer.queues().len() > count).await?;
    let message = seen.all()[0].clone();
    let addr = client.master_addr(message.broker_name()).context("no broker")?;
    let asked = |code: i32| {
        Command::new(code).with("consumerGroup", env.group()).with("clientId", client.client_id().clone())
    };
    let reply =
        client.call(&addr, asked(request::GET_CONSUMER_RUNNING_INFO).with("jstackEnable", false)).await?;
    ensure!(reply.code == code::SUCCESS, "{reply:?}");
    let info: ConsumerRunningInfo = fastjson::from_slice(&reply.body)?;
    ensure!(info.is_push() && info.mq_table.0.len() > count, "{info:?}");
    let directly = asked(request::CONSUME_MESSAGE_DIRECTLY)
        .with("msgId", message.offset_msg_id())
        .with("brokerName", message.broker_name().to_owned())
        .with("topic", env.topic.clone());
    let reply = client.call(&addr, directly).await?;
    ensure!(reply.code == code::SUCCESS, "{reply:?}");
    let result: ConsumeMessageDirectlyResult = fastjson::from_slice(&reply.body)?;
    ensure!(result.consume_result.as_deref() == Some("CR_SUCCESS"), "{result:?}");
    ensure!(seen.all().len() == 11 && seen.all()[10].text() == message.text(), "{:?}", seen.bodies());
    let status = Command::new(request::INVOKE_BROKER_TO_GET_CONSUMER_STATUS)
        .with("topic", env.topic.clone())
        .with("group", env.group())
        .with("clientAddr", "");
    let reply = client.call(&addr, status).await?;
    let told = String::from_utf8_lossy(&reply.body).into_owned();
    ensure!(reply.code == code::SUCCESS && told.contains(&env.topic), "{} {told}", reply.code);
    consumer.shutdown().await;
    Ok(())
}

async fn reset_of_an_online_group(env: Env) -> Result<()> {
    let client = env.client()?;
    env.create_topic(&client, 1).await?;
    let seen = Seen::default();
    let consumer =
        PushConsumer::start(&client, options(&env).subscribe(&*env.topic, "*"), seen.handler()).await?;
    send(&env, &client, 0..20, |_, message| message).await?;
    seen.wait(20).await?;
    idle(&consumer).await?;
    let route = client.route(&env.topic).await?;
    for addrs in route.brokers().values() {
        let reset = Command::new(request::INVOKE_BROKER_TO_RESET_OFFSET)
            .with("topic", env.topic.clone())
            .with("group", env.group())
            .with("timestamp", 0)
            .with("isForce", true);
        // 4.9.7 refuses as long as no heartbeat of the group has come.
        wait_for("a broker that knows the group", LONG, || async {
            let reply = client.call(&addrs[&0], reset.clone()).await?;
            Ok((reply.code == code::SUCCESS).then_some(()))
        })
        .await?;
    }
    seen.wait(40).await?;
    idle(&consumer).await?;
    consumer.shutdown().await;
    let (mut twice, sorted) = (numbers(20), seen.sorted());
    twice.extend(numbers(20));
    twice.sort_unstable();
    ensure!(sorted == twice, "{sorted:?}");
    Ok(())
}

async fn lite_pull(env: Env) -> Result<()> {
    let client = env.client()?;
    let count = env.create_topic(&client, 2).await?;
    send(&env, &client, 0..100, |_, message| message).await?;
    let start = || {
        LitePullConsumer::start(&client, LiteOptions::new(env.group()).consume_from(ConsumeFrom::FirstOffset))
    };
    let poll = async |consumer: &LitePullConsumer, count: usize| -> Result<Vec<usize>> {
        let mut came = Vec::new();
        while came.len() < count {
            let messages = consumer.poll(LONG).await;
            ensure!(!messages.is_empty(), "only {} of {count} came", came.len());
            came.extend(messages.iter().filter_map(|message| message.text()?.parse::<usize>().ok()));
        }
        came.sort_unstable();
        Ok(came)
    };
    let consumer = start().await?;
    consumer.subscribe(&env.topic, "*").await?;
    ensure!(poll(&consumer, 100).await? == numbers(100), "not each once");
    consumer.commit().await?;
    let queues = consumer.assignment();
    ensure!(queues.len() == count, "{queues:?}");
    let committed = try_join_all(queues.iter().map(|queue| consumer.committed(queue))).await?;
    ensure!(committed.into_iter().flatten().sum::<i64>() == 100, "not all is committed");
    consumer.seek_to_begin(&queues[0]).await?;
    let end = PullConsumer::new(&client, &env.group())?.max_offset(&queues[0]).await?;
    poll(&consumer, end as usize).await?;
    consumer.shutdown().await;
    send(&env, &client, 100..110, |_, message| message).await?;
    let consumer = start().await?;
    consumer.subscribe(&env.topic, "*").await?;
    let fresh = poll(&consumer, 10).await?;
    ensure!(fresh == (100..110).collect::<Vec<_>>(), "it does not go on where it was: {fresh:?}");
    consumer.shutdown().await;
    Ok(())
}

async fn pull_by_hand(env: Env) -> Result<()> {
    let client = env.client()?;
    env.create_topic(&client, 1).await?;
    send(&env, &client, 0..20, |n, message| message.tag(if n % 2 == 0 { "even" } else { "odd" })).await?;
    let consumer = PullConsumer::new(&client, &env.group())?;
    let mut came = Vec::new();
    for queue in consumer.queues(&env.topic).await? {
        let (mut at, filter) = (consumer.min_offset(&queue).await?, Filter::tags("even"));
        loop {
            let found = consumer.pull(&queue, &filter, at, 5).await?;
            came.extend(found.messages.iter().filter_map(|message| message.text()?.parse::<usize>().ok()));
            at = found.next_offset;
            if found.status == PullStatus::NothingNew || at >= found.max_offset {
                break;
            }
        }
        consumer.commit(&queue, at).await?;
        ensure!(consumer.committed(&queue).await? == Some(at), "what was committed is not there");
        ensure!(consumer.max_offset(&queue).await? == at, "{queue} ends elsewhere");
        let beyond = consumer.pull(&queue, &filter, at + 100, 5).await?;
        ensure!(beyond.status == PullStatus::OffsetMoved && beyond.next_offset == at, "{beyond:?}");
    }
    came.sort_unstable();
    ensure!(came == (0..20).step_by(2).collect::<Vec<_>>(), "{came:?}");
    Ok(())
}
