// SPDX-License-Identifier: Apache-2.0
//! What the tasks of a load do.

use super::{
    args::{Load, Request},
    meter::{Answered, Meter},
    pace::Pace,
};
use oxmq_client::{
    Client, Compression, Message, Producer, ReceivedMessage, SendStatus, TransactionState,
    consumer::{Batch, ConsumeFrom, ConsumerOptions, Outcome, PushConsumer},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::task::JoinSet;

/// Property of a message: when it was due, in microseconds since 1970.
const DUE: &str = "BENCH_DUE_US";
/// Pause of a task whose request failed, so that a cluster that refuses everything is not asked as fast as it can refuse.
const PAUSE: Duration = Duration::from_millis(20);

/// Producers, one for each client; none if the load consumes.
pub(super) struct Members {
    clients: Vec<Client>,
    producers: Vec<Producer>,
}

impl Members {
    pub(super) async fn start(request: &Request, clients: &[Client]) -> anyhow::Result<Self> {
        let mut producers = Vec::new();
        if request.load != Load::Consumer {
            for client in clients {
                let builder = client.producer(request.group.as_str());
                // Compressing bodies that are noise would measure nothing that anybody has.
                let builder = builder.compression(Compression::Zlib, usize::MAX).retries(0);
                let check = |_: ReceivedMessage| async { TransactionState::Commit };
                let producer = builder.transaction_listener(check).start()?;
                // Routes and connections are there before the first message is due.
                producer.queues(&request.topic).await?;
                producers.push(producer);
            }
        }
        Ok(Self { clients: clients.to_vec(), producers })
    }

    /// Starts the tasks. Gives the consumers, which end by being asked.
    pub(super) async fn work(
        &self,
        request: &Request,
        pace: &Arc<Pace>,
        meter: &Arc<Meter>,
        tasks: &mut JoinSet<()>,
    ) -> anyhow::Result<Vec<PushConsumer>> {
        let mut consumers = Vec::new();
        if request.load == Load::Consumer {
            for (number, client) in self.clients.iter().enumerate() {
                consumers.push(consume(request, client, number, meter.clone()).await?);
            }
        }
        let transactions = Arc::new(AtomicU64::new(0));
        for (number, producer) in (0..request.in_flight as usize).zip(self.producers.iter().cycle()) {
            let sender = Sender {
                place: number,
                producer: producer.clone(),
                topic: request.topic.as_str().into(),
                body: noise(request.body_bytes, number as u64).into(),
                with_keys: request.with_keys,
                load: request.load,
                sent: 0,
                transactions: transactions.clone(),
            };
            tasks.spawn(sender.run(pace.clone(), meter.clone()));
        }
        Ok(consumers)
    }

    pub(super) async fn shutdown(self) {
        for producer in self.producers {
            producer.shutdown().await;
        }
        for client in self.clients {
            client.shutdown().await;
        }
    }
}

struct Sender {
    place: usize,
    producer: Producer,
    topic: Arc<str>,
    body: bytes::Bytes,
    with_keys: bool,
    load: Load,
    sent: u64,
    /// Those of all senders: a sender alone may have a single one.
    transactions: Arc<AtomicU64>,
}

impl Sender {
    async fn run(mut self, pace: Arc<Pace>, meter: Arc<Meter>) {
        while let Some(due) = pace.next().await {
            let messages: Vec<_> = (0..self.load.messages()).map(|_| self.message(due)).collect();
            let (count, sent) = (messages.len() as u64, Instant::now());
            let result = self.send(messages).await;
            match result {
                Ok(()) => {
                    let bytes = self.body.len() as u64 * count;
                    meter.answered(self.place, &Answered { due, sent, messages: count, bytes });
                }
                Err(why) => {
                    meter.failed(self.place, due, count, &why);
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn send(&self, mut messages: Vec<Message>) -> Result<(), String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let statuses = match self.load {
            Load::Batch(_) => {
                let results = self.producer.send_batch(messages).await.map_err(|error| text(&error))?;
                results.into_iter().map(|result| result.status).collect()
            }
            Load::Transaction(percent) => {
                let number = self.transactions.fetch_add(1, Relaxed);
                let state = if rolled_back(number, percent) {
                    TransactionState::Rollback
                } else {
                    TransactionState::Commit
                };
                let Some(message) = messages.pop() else { return Ok(()) };
                let result = self.producer.send_in_transaction(message, |_| async move { state }).await;
                let result = result.map_err(|error| text(&error))?;
                if !result.confirmed {
                    return Err("the end of a transaction was not confirmed".into());
                }
                vec![result.send.status]
            }
            Load::Producer | Load::Consumer => {
                let Some(message) = messages.pop() else { return Ok(()) };
                vec![self.producer.send(message).await.map_err(|error| text(&error))?.status]
            }
        };
        match statuses.into_iter().find(|status| *status != SendStatus::SendOk) {
            Some(status) => Err(format!("stored, but {status}")),
            None => Ok(()),
        }
    }

    fn message(&mut self, due: Instant) -> Message {
        self.sent += 1;
        let late = due.elapsed();
        let due_us = now_us().saturating_sub(late.as_micros() as u64);
        let message = Message::new(self.topic.clone(), self.body.clone()).property(DUE, &due_us.to_string());
        if self.with_keys { message.key(&format!("{}-{}", self.place, self.sent)) } else { message }
    }
}

/// Whether this transaction is one of the so many of a hundred, which are as far apart as can be.
fn rolled_back(number: u64, percent: u32) -> bool {
    number * u64::from(percent) % 100 + u64::from(percent) >= 100
}

async fn consume(
    request: &Request,
    client: &Client,
    number: usize,
    meter: Arc<Meter>,
) -> anyhow::Result<PushConsumer> {
    let work = request.work;
    let each = (request.in_flight / request.clients).max(1) as usize;
    let from = if request.from_first { ConsumeFrom::FirstOffset } else { ConsumeFrom::LastOffset };
    let options = ConsumerOptions::new(request.group.clone())
        .subscribe(request.topic.clone(), request.filter.as_str())
        .consume_from(from)
        .concurrency(each);
    let handler = move |batch: Batch| {
        let meter = meter.clone();
        async move {
            for message in &batch {
                let came = Instant::now();
                let age = Duration::from_micros(now_us().saturating_sub(due_of(message)));
                if !work.is_zero() {
                    tokio::time::sleep(work).await;
                }
                meter.took(number, came, age, came.elapsed(), 1, message.body().len() as u64);
            }
            Outcome::Success
        }
    };
    Ok(PushConsumer::start(client, options, handler).await?)
}

/// When a message was due; one of other producers, when it was made.
fn due_of(message: &ReceivedMessage) -> u64 {
    let due = message.get(DUE).and_then(|due| due.parse().ok());
    due.unwrap_or_else(|| u64::try_from(message.born_timestamp_ms()).unwrap_or_default().saturating_mul(1000))
}

fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_micros() as u64)
}

/// A body that does not compress, the same for the same seed.
fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..bytes).map(|_| next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_of_a_hundred_transactions_are_rolled_back() {
        for percent in 0..=100 {
            for first in [0, 100, 50_000] {
                let count = (first..first + 100).filter(|number| rolled_back(*number, percent)).count();
                assert_eq!(count, percent as usize);
            }
        }
        let few: Vec<_> = (0..30).filter(|number| rolled_back(*number, 10)).collect();
        assert_eq!(few, [9, 19, 29]);
    }
}
