// SPDX-License-Identifier: Apache-2.0
//! Cases of a master with a slave whose settings say that a consumer that is behind goes to the slave
//! (`slaveReadEnable=true`, `accessMessageInMemoryMaxRatio=0`). The second one goes on with what the first one left, after
//! the master was killed.

use crate::{
    Case,
    consumer::Seen,
    env::{Env, Need, wait_for},
};
use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use oxmq_client::{
    Client, Command, Message,
    code::{self, request},
    consumer::{ConsumeFrom, ConsumerOptions, PushConsumer},
};
use std::{ops::Range, sync::Arc, time::Duration};

pub(crate) const CASES: &[Case] = &[
    ("slave_is_read", Need::Slave, |env| Box::pin(slave_is_read(env))),
    ("slave_alone", Need::SlaveAlone, |env| Box::pin(slave_alone(env))),
];

const LONG: Duration = Duration::from_secs(60);
/// A slave asks its master for topics and offsets a minute after the last time (5.x; looked at each 3 s) or each 10 s (4.x).
const SYNCHRONIZED: Duration = Duration::from_secs(75);
/// Both cases have one topic and one group.
const TOPIC: &str = "read_from_slave";
const GROUP: &str = "g_read_from_slave";
const QUEUES: u32 = 2;
/// Bodies: read while both live, then left for the slave alone.
const BEHIND: Range<usize> = 0..2000;
const FRESH: Range<usize> = 2000..2100;
const LEFT: Range<usize> = 2100..2600;

async fn send(client: &Client, range: Range<usize>) -> Result<()> {
    let producer = client.producer(format!("p_{}", range.start)).send_timeout(LONG).start()?;
    try_join_all(range.map(|n| producer.send(Message::new(TOPIC, n.to_string())))).await?;
    producer.shutdown().await;
    Ok(())
}

async fn consumer(client: &Client, seen: &Seen) -> Result<PushConsumer> {
    let options = ConsumerOptions::new(GROUP).consume_from(ConsumeFrom::FirstOffset).subscribe(TOPIC, "*");
    Ok(PushConsumer::start(client, options, seen.handler()).await?)
}

/// The sum of a number that a broker tells of each queue. What it does not know counts as 0.
async fn sum(client: &Client, addr: &str, code: i32, field: &str) -> Result<i64> {
    let mut sum = 0;
    for queue in 0..QUEUES {
        let command =
            Command::new(code).with("topic", TOPIC).with("queueId", queue).with("consumerGroup", GROUP);
        let reply = client.call(addr, command).await?;
        if reply.code == code::SUCCESS {
            sum += reply.field(field).context("no number")?.parse::<i64>()?;
        }
    }
    Ok(sum)
}

/// Messages that a broker has given to consumers since it started.
async fn given(client: &Client, addr: &str) -> Result<i64> {
    let reply = client.call(addr, Command::new(request::GET_BROKER_RUNTIME_INFO)).await?;
    let table: serde_json::Value = serde_json::from_slice(&reply.body)?;
    let text = table["table"]["msgGetTotalTodayNow"].as_str().context("no msgGetTotalTodayNow")?;
    Ok(text.parse()?)
}

async fn slave_is_read(env: Env) -> Result<()> {
    let client = env.client()?;
    env.create(&client, TOPIC, QUEUES, 6).await?;
    send(&client, BEHIND).await?;
    let slave = wait_for("the slave in the route", LONG, || async {
        let route = client.refresh_route(TOPIC).await?;
        Ok(route.brokers().values().find_map(|addrs| addrs.get(&1).cloned()))
    })
    .await?;
    // A slave that has nothing yet would answer that the offset does not exist.
    let copied = async |expected: usize| {
        wait_for("all at the slave", LONG, || async {
            let sum = sum(&client, &slave, request::GET_MAX_OFFSET, "offset").await?;
            Ok((sum == expected as i64).then_some(()))
        })
        .await
    };
    copied(BEHIND.end).await?;
    // Messages reach it at once, the topic does not, and it answers pulls of a topic that it does not know with 17.
    wait_for("the topic at the slave", SYNCHRONIZED, || async {
        let reply = client.call(&slave, Command::new(request::GET_ALL_TOPIC_CONFIG)).await?;
        Ok(String::from_utf8_lossy(&reply.body).contains(&format!("\"{TOPIC}\"")).then_some(()))
    })
    .await?;
    let before = given(&client, &slave).await?;
    let seen = Seen::default();
    let member = consumer(&client, &seen).await?;
    seen.wait(BEHIND.end).await?;
    // At the end of the queue it is the master's turn again.
    send(&client, FRESH).await?;
    seen.wait(FRESH.end).await?;
    let shutdown = member.shutdown().await;
    ensure!(shutdown.uncommitted_queues == 0, "{shutdown:?}");
    ensure!(seen.sorted() == (0..FRESH.end).collect::<Vec<_>>(), "{} came", seen.all().len());
    let from_slave = given(&client, &slave).await? - before;
    ensure!(from_slave > BEHIND.end as i64 / 2, "only {from_slave} messages came from the slave");
    println!("  {from_slave} of {} messages came from the slave", FRESH.end);
    send(&client, LEFT).await?;
    copied(LEFT.end).await?;
    wait_for("the offsets at the slave", SYNCHRONIZED, || async {
        let sum = sum(&client, &slave, request::QUERY_CONSUMER_OFFSET, "offset").await?;
        Ok((sum == FRESH.end as i64).then_some(()))
    })
    .await
}

async fn slave_alone(env: Env) -> Result<()> {
    let client = env.client()?;
    let slave: Arc<str> = wait_for("a route without the master", LONG, || async {
        let route = client.refresh_route(TOPIC).await?;
        let mut addrs = route.brokers().values();
        Ok(addrs.find(|addrs| !addrs.contains_key(&0)).and_then(|addrs| addrs.get(&1).cloned()))
    })
    .await?;
    let seen = Seen::default();
    let member = consumer(&client, &seen).await?;
    seen.wait(LEFT.len()).await?;
    let shutdown = member.shutdown().await;
    ensure!(seen.sorted() == LEFT.collect::<Vec<_>>(), "{} came", seen.all().len());
    ensure!(shutdown.uncommitted_queues == 0, "{shutdown:?}");
    let committed = sum(&client, &slave, request::QUERY_CONSUMER_OFFSET, "offset").await?;
    ensure!(committed == LEFT.end as i64, "{committed} are committed at the slave");
    Ok(())
}
