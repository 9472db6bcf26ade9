// SPDX-License-Identifier: Apache-2.0
//! What the client costs, for `bench/client.sh`: the same work as `compat.ClientCost` does with the Java client.
//!
//! `cost send NAME_SERVER TOPIC SECONDS WARM_UP_SECONDS BODY_BYTES IN_FLIGHT`: sends without a pause; prints
//! `messages=N cpu_us=X per_second=Y`, of which `cpu_us` is processor time of this process for each message.
//! `cost fill NAME_SERVER TOPIC COUNT BODY_BYTES`: puts messages there to be consumed.
//!
//! `cost consume NAME_SERVER TOPIC GROUP WARM_UP_COUNT COUNT`: by a push consumer, from the beginning, in batches of 32.
//!
//! THREADS=1 takes a runtime of one thread, as `#[tokio::main(flavor = "current_thread")]` does.

use anyhow::{Context, Result, bail};
use oxmq_client::{
    Client, ClientOptions, Message, Producer,
    consumer::{Batch, ConsumeFrom, ConsumerOptions, PushConsumer},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mut builder = match std::env::var("THREADS").as_deref() {
        Ok("1") => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = builder.enable_all().build()?;
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["send", name_server, topic, seconds, warm_up, size, in_flight] => {
            let plan = Plan {
                topic: topic.into(),
                measured: Duration::from_secs(seconds.parse()?),
                warm_up: Duration::from_secs(warm_up.parse()?),
                body: bytes::Bytes::from(vec![b'x'; size.parse()?]),
                in_flight: in_flight.parse()?,
            };
            println!("{}", runtime.block_on(send(name_server, plan))?);
            Ok(())
        }
        ["fill", name_server, topic, count, size] => {
            runtime.block_on(fill(name_server, topic, count.parse()?, size.parse()?))
        }
        ["consume", name_server, topic, group, warm_up, count] => {
            println!(
                "{}",
                runtime.block_on(consume(name_server, topic, group, warm_up.parse()?, count.parse()?))?
            );
            Ok(())
        }
        _ => bail!("usage: cost send|fill|consume NAME_SERVER TOPIC …, see its source"),
    }
}

struct Plan {
    topic: Arc<str>,
    measured: Duration,
    warm_up: Duration,
    body: bytes::Bytes,
    in_flight: usize,
}

async fn send(name_server: &str, plan: Plan) -> Result<String> {
    let client = Client::new(ClientOptions::new(name_server))?;
    let producer = client.producer("cost").start()?;
    let (sent, end) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let senders: Vec<_> = (0..plan.in_flight)
        .map(|_| {
            let (producer, topic, body) = (producer.clone(), plan.topic.clone(), plan.body.clone());
            tokio::spawn(one_after_another(producer, topic, body, sent.clone(), end.clone()))
        })
        .collect();
    tokio::time::sleep(plan.warm_up).await;
    let (before, cpu_before, begun) = (sent.load(Ordering::Relaxed), cpu_us()?, Instant::now());
    tokio::time::sleep(plan.measured).await;
    let (messages, cpu, took) =
        (sent.load(Ordering::Relaxed) - before, cpu_us()? - cpu_before, begun.elapsed());
    end.store(true, Ordering::Relaxed);
    for sender in senders {
        sender.await??;
    }
    producer.shutdown().await;
    let per_message = cpu as f64 / messages.max(1) as f64;
    let per_second = messages as f64 / took.as_secs_f64();
    Ok(format!("messages={messages} cpu_us={per_message:.2} per_second={per_second:.0}"))
}

async fn fill(name_server: &str, topic: &str, count: usize, size: usize) -> Result<()> {
    let client = Client::new(ClientOptions::new(name_server))?;
    let producer = client.producer("cost_fill").start()?;
    let body = bytes::Bytes::from(vec![b'x'; size]);
    let mut left = count;
    while left > 0 {
        let part = left.min(2000);
        producer.send_batch((0..part).map(|_| Message::new(topic, body.clone()))).await?;
        left -= part;
    }
    producer.shutdown().await;
    Ok(())
}

async fn consume(name_server: &str, topic: &str, group: &str, warm_up: u64, count: u64) -> Result<String> {
    let client = Client::new(ClientOptions::new(name_server))?;
    let got = Arc::new(AtomicU64::new(0));
    let counter = got.clone();
    let options = ConsumerOptions::new(group)
        .consume_from(ConsumeFrom::FirstOffset)
        .batch_max(32)
        .subscribe(topic, "*");
    let consumer = PushConsumer::start(&client, options, move |batch: Batch| {
        counter.fetch_add(batch.len() as u64, Ordering::Relaxed);
        async {}
    })
    .await?;
    let until = async |wanted: u64| {
        while got.load(Ordering::Relaxed) < wanted {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    until(warm_up).await;
    let (before, cpu_before, begun) = (got.load(Ordering::Relaxed), cpu_us()?, Instant::now());
    until(warm_up + count).await;
    let (messages, cpu, took) =
        (got.load(Ordering::Relaxed) - before, cpu_us()? - cpu_before, begun.elapsed());
    consumer.shutdown().await;
    let per_message = cpu as f64 / messages.max(1) as f64;
    let per_second = messages as f64 / took.as_secs_f64();
    Ok(format!("messages={messages} cpu_us={per_message:.2} per_second={per_second:.0}"))
}

async fn one_after_another(
    producer: Producer,
    topic: Arc<str>,
    body: bytes::Bytes,
    sent: Arc<AtomicU64>,
    end: Arc<AtomicBool>,
) -> Result<()> {
    while !end.load(Ordering::Relaxed) {
        producer.send(Message::new(topic.clone(), body.clone())).await?;
        sent.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Processor time of this process, user and system, in microseconds: in steps of 10 ms.
fn cpu_us() -> Result<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The name of the program may hold anything; what follows it does not.
    let rest = stat.rsplit_once(')').context("no name")?.1;
    let ticks: Vec<u64> =
        rest.split_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<u64>() * 10_000)
}
