// SPDX-License-Identifier: Apache-2.0
//! `oxmq quickstart producer|consumer`: what the first page of every tutorial runs with `bin/tools.sh`, and the lines it shows.
//!
//! Java: `org.apache.rocketmq.example.quickstart.Producer` and `Consumer`. Like those of 4.x they read `NAMESRV_ADDR`.

use crate::terminal::{EXIT_FAILURE, Failure, complain, say};
use oxmq_admin::message_ext;
use oxmq_client::{
    Client, ClientOptions, Command, Message,
    code::request,
    consumer::{Batch, ConsumeFrom, ConsumerOptions, PushConsumer},
};
use std::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};
use tokio::signal::unix::{SignalKind, signal};

const MESSAGES: u32 = 1000;
const TOPIC: &str = "TopicTest";
const TAG: &str = "TagA";
const PRODUCER_GROUP: &str = "please_rename_unique_group_name";
const CONSUMER_GROUP: &str = "please_rename_unique_group_name_4";
/// As many as Java's consumer has threads.
const HANDLERS: usize = 20;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Producer,
    Consumer,
}

/// Runs it to its end: the producer's after 1000 messages, the consumer's by Ctrl-C or SIGTERM.
///
/// # Errors
/// [`Failure`] if there is no name server or no broker.
pub(crate) fn run(part: Part) -> Result<(), Failure> {
    let failure = |error: anyhow::Error| Failure::new(EXIT_FAILURE, format!("quickstart: {error:#}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| failure(error.into()))?.block_on(async {
        let addresses = std::env::var("NAMESRV_ADDR").ok().filter(|addresses| !addresses.is_empty());
        let addresses = addresses.unwrap_or_else(|| "127.0.0.1:9876".into());
        let client = Client::new(ClientOptions::new(addresses)).map_err(|error| failure(error.into()))?;
        let result = match part {
            Part::Producer => produce(&client).await,
            Part::Consumer => consume(&client).await,
        };
        client.shutdown().await;
        result.map_err(failure)
    })
}

async fn produce(client: &Client) -> anyhow::Result<()> {
    let producer = client.producer(PRODUCER_GROUP).start()?;
    let mut sent = 0;
    for number in 0..MESSAGES {
        let message = Message::new(TOPIC, format!("Hello RocketMQ {number}")).tag(TAG);
        match producer.send(message).await {
            Ok(result) => {
                sent += 1;
                say(&result.to_string());
            }
            // Java's goes on for an hour where there is nobody; what was there may come back.
            Err(error) if sent == 0 => return Err(error.into()),
            Err(error) => {
                complain(&error.to_string());
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
    producer.shutdown().await;
    Ok(())
}

async fn consume(client: &Client) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let options = ConsumerOptions::new(CONSUMER_GROUP)
        .subscribe(TOPIC, "*")
        .consume_from(ConsumeFrom::FirstOffset)
        .concurrency(HANDLERS);
    // The name servers are there, or this says so at once: without a topic a consumer waits for one.
    client.call_name_server(Command::new(request::GET_BROKER_CLUSTER_INFO)).await?;
    let consumer =
        PushConsumer::start(client, options, |batch: Batch| async move { say(&received(&batch)) }).await?;
    say("Consumer Started.");
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    consumer.shutdown().await;
    Ok(())
}

/// The line of a batch, with the blank at its end that Java's has.
fn received(batch: &Batch) -> String {
    static THREAD: AtomicUsize = AtomicUsize::new(0);
    let thread = THREAD.fetch_add(1, Relaxed) % HANDLERS + 1;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let added = [("CONSUME_START_TIME", now.as_millis().to_string())];
    let messages: Vec<_> = batch.iter().map(|message| message_ext(message, &added)).collect();
    format!("ConsumeMessageThread_{CONSUMER_GROUP}_{thread} Receive New Messages: [{}] ", messages.join(", "))
}
