// SPDX-License-Identifier: Apache-2.0
//! Message trace: what became of each message, told to a topic of its own, so that tools can show its way.
//! Java: `AsyncTraceDispatcher`, `SendMessageTraceHookImpl`, `ConsumeMessageTraceHookImpl`.
//!
//! Records go through a bounded queue to one task, which sends them together. If it cannot keep up, records are dropped and
//! counted: tracing must not hold up what it traces.

mod encode;

use crate::{
    Cause, Client, Message, Producer, SendContext, SendHook, SendKind, SendResult, SendStatus, StartError,
    TransactionState,
    consumer::{ConsumeHook, Consumption, Ending},
    ids, property,
};
use encode::{ConsumeOutcome, Given, Sent, TraceRecord};
use futures_util::future::BoxFuture;
use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{Instant, timeout_at},
};
use tracing::{debug, warn};

/// The topic that tools look into. Java: `TopicValidator#RMQ_SYS_TRACE_TOPIC`.
pub const TRACE_TOPIC: &str = "RMQ_SYS_TRACE_TOPIC";

/// The region of brokers that name none. Java: `MixAll#DEFAULT_TRACE_REGION_ID`.
const REGION: &str = "DefaultRegion";
/// Records that may wait. Java: `traceQueueSize`… 2048.
const QUEUE_MAX: usize = 2048;
/// Records that are sent together, at most.
const TOGETHER_MAX: usize = 100;
/// Bytes that are sent together, at most, unless one record alone is longer. Java: `maxTraceMsgSize`.
const TOGETHER_MAX_BYTES: usize = 128_000;
/// How long a record waits for others. Java: `waitTimeThresholdMil`.
const WAIT_MAX: Duration = Duration::from_millis(500);

/// Tells a trace topic what becomes of messages. Cheap to clone; one serves all producers and consumers of a client.
///
/// What it is told waits for at most 0.5 s, or until 100 records are together, and is sent by a task and a producer of its own.
/// Up to 2,048 records wait; more are dropped, and counted: tracing holds up nothing that it traces.
///
/// For a producer it is a [`SendHook`]: `client.producer("group").hook(tracer.hook())`; for a consumer a [`ConsumeHook`]:
/// `ConsumerOptions::new("group").hook(tracer.clone())`.
#[derive(Clone)]
pub struct Tracer {
    shared: Arc<Shared>,
}

struct Shared {
    topic: Arc<str>,
    queue: mpsc::Sender<Item>,
    dropped: AtomicU64,
    task: JoinHandle<()>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.task.abort();
    }
}

enum Item {
    Record(TraceRecord),
    Flush(oneshot::Sender<()>),
}

impl Tracer {
    /// Traces to [`TRACE_TOPIC`], which brokers have with `traceTopicEnable=true`.
    ///
    /// # Errors
    /// [`StartError::ShutDown`] if the client was shut down.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(client: &Client) -> Result<Self, StartError> {
        Self::with_topic(client, TRACE_TOPIC)
    }

    /// Traces to another topic. Java: `customizedTraceTopic`.
    ///
    /// # Errors
    /// [`StartError::ShutDown`] if the client was shut down.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn with_topic(client: &Client, topic: &str) -> Result<Self, StartError> {
        let group = format!("_INNER_TRACE_PRODUCER-{:016x}", ids::random());
        let producer = client.producer(group).send_timeout(Duration::from_secs(5)).start()?;
        let (queue, items) = mpsc::channel(QUEUE_MAX);
        let topic: Arc<str> = topic.into();
        let task = tokio::spawn(run(producer, topic.clone(), items));
        Ok(Self { shared: Arc::new(Shared { topic, queue, dropped: AtomicU64::new(0), task }) })
    }

    /// For [`ProducerBuilder::hook`](crate::ProducerBuilder::hook).
    #[must_use]
    pub fn hook(&self) -> Arc<dyn SendHook> {
        Arc::new(self.clone())
    }

    /// Records that were dropped because too many waited.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Waits until what was told so far is sent, or could not be: that is a warning in the log. A producer's shutdown does so, too.
    pub async fn flush(&self) {
        let (done, sent) = oneshot::channel();
        if self.shared.queue.send(Item::Flush(done)).await.is_ok() {
            let _ = sent.await;
        }
    }

    fn tell(&self, record: TraceRecord) {
        if self.shared.queue.try_send(Item::Record(record)).is_err() {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn of_send<T>(&self, send: &SendContext<'_>, then: impl FnOnce(Sent<'_>) -> T) -> Option<T> {
        if send.topic.starts_with(&*self.shared.topic) {
            return None;
        }
        let (tags, keys) = (send.get(property::TAGS), send.get(property::KEYS));
        Some(then(Sent {
            at_ms: ids::now_ms(),
            region: REGION,
            group: send.group,
            topic: send.topic,
            msg_id: send.msg_id,
            tags: tags.as_deref().unwrap_or_default(),
            keys: keys.as_deref().unwrap_or_default(),
            broker: send.addr,
            body_size: send.body_size,
            cost_ms: 0,
            kind: send.kind(),
            offset_msg_id: "",
            success: true,
        }))
    }
}

/// A send that a tool made without a [`Producer`]: what is told of it. [`Self::message`] makes a message of it.
#[derive(Debug, Clone, Copy)]
pub struct SendTrace<'a> {
    /// When the send began, in ms since 1970.
    pub at_ms: i64,
    /// How long it took, in ms.
    pub cost_ms: u64,
    /// Producer group.
    pub group: &'a str,
    /// Topic that it was sent to.
    pub topic: &'a str,
    /// Its unique id.
    pub msg_id: &'a str,
    /// Its tags, or nothing.
    pub tags: &'a str,
    /// Its keys, or nothing.
    pub keys: &'a str,
    /// Address of the broker.
    pub broker: &'a str,
    /// Size of the body, in bytes.
    pub body_size: usize,
    /// Where it lies.
    pub offset_msg_id: &'a str,
}

impl SendTrace<'_> {
    /// The message for [`TRACE_TOPIC`].
    #[must_use]
    pub fn message(&self) -> Message {
        let Self { at_ms, cost_ms, group, topic, msg_id, tags, keys, broker, body_size, offset_msg_id } =
            *self;
        let record = encode::sent(&Sent {
            at_ms,
            region: REGION,
            group,
            topic,
            msg_id,
            tags,
            keys,
            broker,
            body_size,
            cost_ms,
            kind: SendKind::Normal,
            offset_msg_id,
            success: true,
        });
        message(&TRACE_TOPIC.into(), record.data, &record.keys)
    }
}

impl SendHook for Tracer {
    fn after(&self, send: &SendContext<'_>, result: Result<&SendResult, &Cause>, elapsed: Duration) {
        // As in Java, what no broker has taken has no trace: where would it be found?
        let Ok(result) = result else { return };
        if !result.trace_on {
            return;
        }
        let record = self.of_send(send, |sent| {
            let cost_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
            encode::sent(&Sent {
                at_ms: sent.at_ms.saturating_sub(cost_ms as i64),
                region: &result.region_id,
                cost_ms,
                offset_msg_id: &result.offset_msg_id,
                success: result.status == SendStatus::SendOk,
                ..sent
            })
        });
        record.into_iter().for_each(|record| self.tell(record));
    }

    fn ended(&self, send: &SendContext<'_>, state: TransactionState, from_check: bool) {
        let record = self.of_send(send, |sent| {
            let sent = Sent { kind: SendKind::Ended, ..sent };
            encode::ended(&sent, sent.msg_id, state, from_check)
        });
        record.into_iter().for_each(|record| self.tell(record));
    }

    fn flush(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.flush())
    }
}

impl ConsumeHook for Tracer {
    /// Tells both that the messages were given and how it ended: one that never ends is told when its time is over.
    fn after(&self, consumption: &Consumption<'_>) {
        let Consumption { group, batch, ending, elapsed, .. } = consumption;
        let traced = || {
            batch.messages().iter().filter(|message| {
                message.get(property::TRACE_ON).as_deref() != Some("false")
                    && !message.topic().starts_with(&*self.shared.topic)
            })
        };
        let Some(first) = traced().next() else { return };
        let region = first.get(property::MSG_REGION).unwrap_or_default().into_owned();
        let messages: Vec<Given> = traced()
            .map(|message| Given {
                msg_id: message.msg_id(),
                keys: message.keys().unwrap_or_default().into_owned(),
                reconsume_times: message.reconsume_times(),
            })
            .collect();
        let (request, now) = (ids::next_unique_id(), ids::now_ms());
        let took_ms = i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX);
        self.tell(encode::given(now.saturating_sub(took_ms), &region, group, &request, &messages));
        let each_ms = took_ms.unsigned_abs() / messages.len() as u64;
        let outcome = match ending {
            Ending::Success => ConsumeOutcome::Success,
            Ending::TimedOut => ConsumeOutcome::TimedOut,
            Ending::Panicked => ConsumeOutcome::Panicked,
            Ending::Failed => ConsumeOutcome::Failed,
        };
        self.tell(encode::consumed((now, each_ms), &region, group, &request, &messages, outcome));
    }
}

async fn run(producer: Producer, topic: Arc<str>, mut items: mpsc::Receiver<Item>) {
    while let Some(first) = items.recv().await {
        let mut flushed = Vec::new();
        let mut records = Vec::new();
        let deadline = Instant::now() + WAIT_MAX;
        let mut next = Some(first);
        while let Some(item) = next {
            match item {
                Item::Record(record) => records.push(record),
                Item::Flush(done) => {
                    flushed.push(done);
                    break;
                }
            }
            if records.len() >= TOGETHER_MAX {
                break;
            }
            next = timeout_at(deadline, items.recv()).await.ok().flatten();
        }
        for message in messages(&topic, records) {
            if let Err(error) = producer.send(message).await {
                warn!(%error, "a trace is lost");
            }
        }
        for done in flushed {
            let _ = done.send(());
        }
    }
    debug!("no more traces");
}

/// The messages that tell `records`: one for each region, unless it would be too long.
fn messages(topic: &Arc<str>, records: Vec<TraceRecord>) -> Vec<Message> {
    let mut regions: BTreeMap<String, Vec<TraceRecord>> = BTreeMap::new();
    for record in records {
        regions.entry(record.region.clone()).or_default().push(record);
    }
    let mut messages = Vec::new();
    for records in regions.into_values() {
        let (mut data, mut keys) = (String::new(), Vec::new());
        for record in records {
            if !data.is_empty() && data.len() + record.data.len() > TOGETHER_MAX_BYTES {
                messages.push(message(topic, std::mem::take(&mut data), &std::mem::take(&mut keys)));
            }
            data += &record.data;
            keys.extend(record.keys);
        }
        messages.push(message(topic, data, &keys));
    }
    messages
}

fn message(topic: &Arc<str>, data: String, keys: &[String]) -> Message {
    let mut message = Message::new(topic.clone(), data);
    let keys = keys.join(" ");
    // Keys of thousands of messages do not fit into a record; then it is found by its time only.
    if !keys.is_empty() && keys.len() < oxmq_record::PROPERTIES_LENGTH_MAX - 1024 {
        message.set_property(property::KEYS, &keys);
    }
    message
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracer").field("topic", &self.shared.topic).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_a_region_go_together_as_long_as_they_fit() {
        let record = |region: &str, size| TraceRecord {
            region: region.into(),
            data: "x".repeat(size),
            keys: vec![format!("{region}{size}")],
        };
        let records = vec![record("a", 100_000), record("b", 5), record("a", 28_000), record("a", 1)];
        let sizes: Vec<_> = messages(&"T".into(), records)
            .iter()
            .map(|message| (message.body().len(), message.get("KEYS").unwrap().to_owned()))
            .collect();
        assert_eq!(
            sizes,
            [(128_000, "a100000 a28000".to_owned()), (1, "a1".to_owned()), (5, "b5".to_owned()),]
        );
    }
}
