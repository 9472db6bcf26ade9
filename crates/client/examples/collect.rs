// SPDX-License-Identifier: Apache-2.0
//! Consumes until a line or the end of its standard input, and notes what it got: a member of a group beside clients in other languages,
//! for `compat/client/mixed.sh`.
//!
//! `collect NAME_SERVER TOPIC GROUP FILE [orderly]`: appends a line `BODY BROKER QUEUE` to FILE for each message; prints
//! `ended` after the shutdown.

use oxmq_client::{
    Client, ClientOptions,
    consumer::{Batch, ConsumeFrom, ConsumerOptions, PushConsumer},
};
use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    sync::{Arc, Mutex},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [name_server, topic, group, file, rest @ ..] = args.as_slice() else {
        return Err("usage: collect NAME_SERVER TOPIC GROUP FILE [orderly]".into());
    };
    let file = Arc::new(Mutex::new(OpenOptions::new().create(true).append(true).open(file)?));
    let handler = move |batch: Batch| {
        let noted = note(&file, &batch);
        async move { noted }
    };
    let client = Client::new(ClientOptions::new(name_server.as_str()))?;
    let options = ConsumerOptions::new(group).subscribe(topic, "*").consume_from(ConsumeFrom::FirstOffset);
    let consumer = if rest.iter().any(|arg| arg == "orderly") {
        PushConsumer::start_orderly(&client, options, handler).await?
    } else {
        PushConsumer::start(&client, options, handler).await?
    };
    tokio::task::spawn_blocking(|| io::stdin().read_line(&mut String::new())).await??;
    let shutdown = consumer.shutdown().await;
    client.shutdown().await;
    println!("ended {shutdown:?}");
    Ok(())
}

/// One write for each message, so that a process that is killed leaves whole lines.
fn note(file: &Mutex<File>, batch: &Batch) -> io::Result<()> {
    let mut file = file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    for message in batch {
        let queue = batch.queue();
        let body = message.text().unwrap_or("?");
        file.write_all(format!("{body} {} {}\n", queue.broker_name, queue.queue_id).as_bytes())?;
    }
    Ok(())
}
