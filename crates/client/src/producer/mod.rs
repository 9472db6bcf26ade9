// SPDX-License-Identifier: Apache-2.0
//! Sends messages. Java: `DefaultMQProducerImpl`, `TransactionMQProducer`.
//!
//! A send takes the topic's route, a queue in turn (`faults` says which brokers to avoid), writes the message once
//! (`command`) and asks the queue's broker, then others, until one has it or the time is over. Nothing is spawned for a
//! send: the future that the application awaits does it all, and may be dropped at any time. A message whose future was
//! dropped is stored or not, as one whose answer was lost.

mod batch;
mod command;
mod error;
mod faults;
mod hook;
mod options;
mod reply;
mod transaction;

pub use batch::BatchError;
pub use error::{Attempt, Cause, SendError};
pub use hook::{SendContext, SendHook, SendKind};
pub use options::{ProducerBuilder, ProducerOptions};
pub use reply::{RequestError, reply_to};
pub use transaction::{Checking, HalfMessage, TransactionListener, TransactionResult, TransactionState};

use crate::{
    Answer, CallError, Client, Message, MessageError, MessageQueue, Request, Route, RouteError, SendResult,
    SendStatus, StartError,
    code::{self, request},
    instance::{Member, Presence, Side, lock},
    metrics::{ProducerMetrics, ProducerNumbers},
    route::WriteQueue,
};
use command::{Form, Outgoing};
use faults::{Faults, Outcome};
use oxmq_remoting::bodies::ProducerData;
use oxmq_types::{AUTO_CREATE_TOPIC, java_string_hash};
use std::{
    borrow::Cow,
    collections::BTreeSet,
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tracing::{Instrument, debug, debug_span};

/// Codes after which another broker may take what one refuses. Java: `DefaultMQProducer#retryResponseCodes`.
const RETRIED: [i32; 8] = [
    code::TOPIC_NOT_EXIST,
    code::SERVICE_NOT_AVAILABLE,
    code::SYSTEM_ERROR,
    code::SYSTEM_BUSY,
    code::NO_PERMISSION,
    code::NO_BUYER_ID,
    code::NOT_IN_CURRENT_UNIT,
    code::GO_AWAY,
];

/// Sends messages of one producer group. Cheap to clone; made by [`Client::producer`].
///
/// All methods take `&self` and may be called from any number of tasks: many sends in flight are many futures. A send whose future
/// is dropped is stored or not, as one whose answer was lost. When all clones are dropped, the group leaves with the connections of
/// its [`Client`]; [`Self::shutdown`] tells the brokers at once.
///
/// Every kind of send gives [`SendError::Message`] or [`SendError::ShutDown`] before anything is asked, and [`SendError::Route`],
/// [`SendError::NoWriteQueue`] or [`SendError::Failed`] afterwards.
#[derive(Clone)]
pub struct Producer {
    shared: Arc<Shared>,
}

/// The state behind a [`Producer`].
struct Shared {
    client: Client,
    group: Arc<str>,
    options: ProducerOptions,
    form: Form,
    faults: Mutex<Faults>,
    hooks: Vec<Arc<dyn SendHook>>,
    checks: transaction::Checks,
    metrics: ProducerMetrics,
    closed: AtomicBool,
}

impl Client {
    /// A producer of `group`, to be set up and started. A client has one producer of a group, and any number of groups. For sends
    /// alone the group is a name that tools show; for transactions its members answer for each other.
    pub fn producer(&self, group: impl Into<Arc<str>>) -> ProducerBuilder {
        ProducerBuilder::new(self.clone(), group.into())
    }
}

impl Producer {
    fn start(client: Client, group: Arc<str>, built: options::Built) -> Result<Self, StartError> {
        let options::Built { options, hooks, listener } = built;
        let form = Form {
            compress_over: options.compress_over,
            compression: options.compression,
            compression_level: options.compression_level,
            new_topic_queues: options.new_topic_queues,
        };
        let shared = Arc::new(Shared {
            checks: transaction::Checks::new(listener),
            group,
            options,
            form,
            faults: Mutex::default(),
            hooks,
            metrics: ProducerMetrics::default(),
            closed: AtomicBool::new(false),
            client,
        });
        shared.client.join(Side::Producer, &shared)?;
        Ok(Self { shared })
    }

    /// The client that it was made from.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.shared.client
    }

    /// Its group.
    #[must_use]
    pub fn group(&self) -> &str {
        &self.shared.group
    }

    /// Sends a message to a queue of its topic; if a broker fails, to one of another broker. Comes back when a broker has it, at the
    /// latest after [`ProducerOptions::send_timeout`]. Awaiting is the synchronous send of Java, having many of these futures at once
    /// the asynchronous one.
    ///
    /// # Errors
    /// [`SendError`]; see [`SendError::may_be_stored`] before sending again.
    pub async fn send(&self, message: Message) -> Result<SendResult, SendError> {
        self.send_within(message, self.shared.options.send_timeout).await
    }

    /// As [`Self::send`], with a time of its own for all attempts together.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn send_within(&self, message: Message, timeout: Duration) -> Result<SendResult, SendError> {
        let shared = &self.shared;
        shared.check(&message)?;
        let started = Instant::now();
        let outgoing = Outgoing::new(message, &shared.form)?;
        shared.send_anywhere(&outgoing, started, timeout).await
    }

    /// Sends a message to this queue of its topic, and nowhere else: one attempt.
    ///
    /// # Errors
    /// [`SendError`], also [`SendError::NoSuchQueue`] if the queue cannot be written to now.
    pub async fn send_to(&self, message: Message, queue: &MessageQueue) -> Result<SendResult, SendError> {
        let shared = &self.shared;
        shared.check(&message)?;
        check_topic(&message, queue)?;
        let started = Instant::now();
        let outgoing = Outgoing::new(message, &shared.form)?;
        let target = shared.write_queue(queue).await?;
        shared.send_once(&outgoing, &target, started).await
    }

    /// Sends a message to the queue that `select` chooses, by its index among the queues of the topic, and nowhere else: one attempt.
    /// The queues are sorted, by broker and number; there is one at least.
    ///
    /// # Errors
    /// [`SendError`], also [`SendError::Selector`] if there is no queue with that index.
    pub async fn send_by(
        &self,
        message: Message,
        select: impl FnOnce(&[MessageQueue], &Message) -> usize,
    ) -> Result<SendResult, SendError> {
        let shared = &self.shared;
        shared.check(&message)?;
        let started = Instant::now();
        let route = shared.publish_route(&message.topic).await?;
        let queues: Vec<MessageQueue> = route.write_queues().cloned().collect();
        if queues.is_empty() {
            return Err(SendError::NoWriteQueue { topic: message.topic.clone() });
        }
        let (chosen, count) = (select(&queues, &message), queues.len());
        let target = route.write_queue(chosen).ok_or(SendError::Selector { chosen, count })?;
        let outgoing = Outgoing::new(message, &shared.form)?;
        shared.send_once(&outgoing, target, started).await
    }

    /// Sends a message to the queue that belongs to `key`: those of one key come in the order in which they were sent, as
    /// long as the number of queues does not change and each is awaited before the next is sent. One attempt. The key chooses the
    /// queue that it chooses in Java: `SelectMessageQueueByHash`.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn send_ordered(&self, message: Message, key: &str) -> Result<SendResult, SendError> {
        let hash = java_string_hash(key);
        self.send_by(message, |queues, _| queue_by_hash(hash, queues.len())).await
    }

    /// Sends a message without waiting for an answer: for what may get lost, such as logs. `Ok` says that it is on its way,
    /// not that it arrives.
    ///
    /// # Errors
    /// [`SendError`] if it cannot even be sent.
    pub async fn send_one_way(&self, message: Message) -> Result<(), SendError> {
        let shared = &self.shared;
        shared.check(&message)?;
        let started = Instant::now();
        let outgoing = Outgoing::new(message, &shared.form)?;
        let route = shared.publish_route(&outgoing.topic).await?;
        let Some(target) = shared.choose(&route, None) else {
            return Err(SendError::NoWriteQueue { topic: outgoing.topic });
        };
        shared.send_away(&outgoing, target, started).await
    }

    /// As [`Self::send_one_way`], to this queue.
    ///
    /// # Errors
    /// [`SendError`] if it cannot even be sent.
    pub async fn send_one_way_to(&self, message: Message, queue: &MessageQueue) -> Result<(), SendError> {
        let shared = &self.shared;
        shared.check(&message)?;
        check_topic(&message, queue)?;
        let started = Instant::now();
        let outgoing = Outgoing::new(message, &shared.form)?;
        let target = shared.write_queue(queue).await?;
        shared.send_away(&outgoing, &target, started).await
    }

    /// The queues of a topic that can be written to, sorted by broker and number. Of a topic that does not exist, those that it would
    /// get. Java: `fetchPublishMessageQueues`.
    ///
    /// # Errors
    /// [`SendError::Route`].
    pub async fn queues(&self, topic: &str) -> Result<Vec<MessageQueue>, SendError> {
        let route = self.shared.publish_route(&Arc::from(topic)).await?;
        Ok(route.write_queues().cloned().collect())
    }

    /// Takes back a message with a delivery time that has not come yet: `handle` is [`SendResult::recall_handle`]. Returns
    /// the message's id. Brokers of 5.3.2 and later, and OxMQ, with `recallMessageEnable=true`.
    ///
    /// # Errors
    /// [`SendError::Failed`] if no broker takes it back: it was delivered, or they do not allow it. [`SendError::Route`].
    pub async fn recall(&self, topic: &str, handle: &str) -> Result<String, SendError> {
        let shared = &self.shared;
        let topic: Arc<str> = topic.into();
        let started = Instant::now();
        let route = shared.publish_route(&topic).await?;
        // The handle names its broker, but only brokers read it: each is asked, those that do not have it refuse.
        let mut attempts = Vec::new();
        let mut masters: Vec<&WriteQueue> = (0..).map_while(|at| route.write_queue(at)).collect();
        masters.dedup_by(|a, b| a.master == b.master);
        for target in masters {
            let command = crate::Command::new(request::RECALL_MESSAGE)
                .with("producerGroup", shared.group.clone())
                .with("topic", topic.clone())
                .with("recallHandle", handle.to_owned())
                .with("bname", target.queue.broker_name.clone());
            let cause = match shared.client.call(&target.master, command).await {
                Ok(reply) if reply.code == code::SUCCESS => {
                    return Ok(reply.field("msgId").unwrap_or_default().to_owned());
                }
                Ok(reply) => Cause::Refused { code: reply.code, remark: reply.remark.unwrap_or_default() },
                Err(error) => Cause::Call(error),
            };
            attempts.push(Attempt { queue: target.queue.clone(), addr: target.master.clone(), cause });
        }
        Err(SendError::Failed { topic, attempts, elapsed: started.elapsed() })
    }

    /// What it has sent so far.
    #[must_use]
    pub fn metrics(&self) -> ProducerNumbers {
        self.shared.metrics.numbers()
    }

    /// Takes no more messages, waits for the answers to those that are under way (at most [`ProducerOptions::send_timeout`]), has
    /// hooks send what they keep back, and tells the brokers that the group leaves. All clones are shut down with it; a second call
    /// comes back at once. Sends then give [`SendError::ShutDown`]. The [`Client`] stays.
    pub async fn shutdown(&self) {
        let shared = &self.shared;
        if shared.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        let idle = shared.metrics.idle();
        if tokio::time::timeout(shared.options.send_timeout, idle).await.is_err() {
            debug!(group = %shared.group, "sends are under way while their producer leaves");
        }
        shared.checks.end();
        for hook in &shared.hooks {
            hook.flush().await;
        }
        shared.client.leave(Side::Producer, &shared.group).await;
    }
}

/// Java's `SelectMessageQueueByHash`: the absolute remainder.
fn queue_by_hash(hash: i32, queues: usize) -> usize {
    let count = i64::try_from(queues.max(1)).unwrap_or(i64::MAX);
    usize::try_from((i64::from(hash) % count).abs()).unwrap_or(0)
}

impl Shared {
    /// What can be refused before anything is asked.
    fn check(&self, message: &Message) -> Result<(), SendError> {
        if self.closed.load(Ordering::Acquire) || self.client.is_shut_down() {
            return Err(SendError::ShutDown);
        }
        message.check(self.options.max_message_size)?;
        Ok(())
    }

    /// The route of a topic; if there is none, the one under which brokers create it.
    async fn publish_route(&self, topic: &Arc<str>) -> Result<Arc<Route>, SendError> {
        match self.client.inner.routes.get(topic) {
            Some(route) => Ok(route),
            None => self.ask_for_route(topic).await,
        }
    }

    /// The same, of a topic whose route is not known.
    async fn ask_for_route(&self, topic: &Arc<str>) -> Result<Arc<Route>, SendError> {
        let client = &self.client;
        let absent = match client.refresh_route(topic).await {
            Ok(route) => return Ok(route),
            Err(absent @ RouteError::TopicNotFound { .. }) if self.options.create_topics => absent,
            Err(absent @ RouteError::TopicNotFound { .. }) => {
                return Err(client.inner.explain(absent).await.into());
            }
            Err(error) => return Err(error.into()),
        };
        let inherited = match client.route(AUTO_CREATE_TOPIC).await {
            Ok(inherited) => inherited,
            Err(RouteError::TopicNotFound { .. }) => return Err(client.inner.explain(absent).await.into()),
            Err(error) => return Err(error.into()),
        };
        match inherited.for_new_topic(topic, self.options.new_topic_queues) {
            Ok(route) => {
                let route = Arc::new(route);
                client.inner.routes.assume(&route);
                Ok(route)
            }
            Err(reason) => {
                debug!(%topic, reason, "the route of new topics cannot be used");
                Err(absent.into())
            }
        }
    }

    /// Where `queue` is now; asks once more if that is not known.
    async fn write_queue(&self, queue: &MessageQueue) -> Result<WriteQueue, SendError> {
        let route = self.publish_route(&queue.topic).await?;
        if let Some(target) = route.find_write_queue(queue) {
            return Ok(target.clone());
        }
        let route = self.client.refresh_route(&queue.topic).await?;
        route.find_write_queue(queue).cloned().ok_or_else(|| SendError::NoSuchQueue(queue.clone()))
    }

    /// A queue in turn: not of the broker that failed last, nor of those that are avoided, unless there is no other.
    fn choose<'r>(&self, route: &'r Route, failed: Option<&str>) -> Option<&'r WriteQueue> {
        let other = |target: &WriteQueue| failed.is_none_or(|failed| *target.queue.broker_name != *failed);
        if self.options.latency_faults {
            let faults = lock(&self.faults);
            if !faults.is_empty() {
                let now = Instant::now();
                let broker = |target: &WriteQueue| target.queue.broker_name.clone();
                let found = route
                    .next_write_queue(|target| other(target) && faults.is_available(&broker(target), now))
                    .or_else(|| {
                        route.next_write_queue(|target| {
                            other(target) && faults.is_reachable(&broker(target), now)
                        })
                    });
                return found.or_else(|| route.next_write_queue(|_| true));
            }
        }
        route.next_write_queue(other).or_else(|| route.next_write_queue(|_| true))
    }

    /// Sends to one queue after the other.
    async fn send_anywhere(
        &self,
        outgoing: &Outgoing,
        started: Instant,
        timeout: Duration,
    ) -> Result<SendResult, SendError> {
        let _under_way = self.metrics.begin();
        let span = debug_span!("send", topic = %outgoing.topic, msg_id = outgoing.msg_id);
        if span.is_disabled() {
            self.try_all(outgoing, started, timeout).await
        } else {
            self.try_all(outgoing, started, timeout).instrument(span).await
        }
    }

    async fn try_all(
        &self,
        outgoing: &Outgoing,
        started: Instant,
        timeout: Duration,
    ) -> Result<SendResult, SendError> {
        let known = self.client.inner.routes.get(&outgoing.topic);
        let asked = known.is_none();
        let mut route = match known {
            Some(route) => route,
            None => self.ask_for_route(&outgoing.topic).await.inspect_err(|_| self.metrics.failed())?,
        };
        let mut attempts: Vec<Attempt> = Vec::new();
        let mut stored = None;
        for turn in 0..=self.options.retries {
            // Reading the clock is a good part of what a send costs, and no time has passed before the first attempt unless a
            // route was asked for.
            let begun = if turn == 0 && !asked { started } else { Instant::now() };
            let left = timeout.saturating_sub(begun - started);
            if left.is_zero() && turn > 0 {
                break;
            }
            let failed = attempts.last().map(|attempt| attempt.queue.broker_name.clone());
            let Some(target) = self.choose(&route, failed.as_deref()) else {
                return Err(SendError::NoWriteQueue { topic: outgoing.topic.clone() });
            };
            match self.attempt(outgoing, target, begun, left).await {
                Ok(result) => {
                    let wanted = result.status == SendStatus::SendOk || !self.options.retry_if_not_safe;
                    if wanted {
                        self.metrics.sent(started.elapsed(), outgoing.size());
                        return Ok(result);
                    }
                    let (addr, queue) = (target.master.clone(), target.queue.clone());
                    let refused =
                        Cause::Refused { code: code::SYSTEM_ERROR, remark: result.status.to_string() };
                    attempts.push(Attempt { queue, addr, cause: refused });
                    stored = Some(result);
                }
                Err(cause) => {
                    debug!(queue = %target.queue, addr = %target.master, %cause, "an attempt to send failed");
                    let again = match &cause {
                        Cause::Call(_) => true,
                        Cause::Refused { code, .. } => RETRIED.contains(code),
                    };
                    let unreachable =
                        matches!(cause, Cause::Call(CallError::Connect { .. } | CallError::Closed));
                    let (addr, queue) = (target.master.clone(), target.queue.clone());
                    attempts.push(Attempt { queue, addr, cause });
                    if !again {
                        break;
                    }
                    if turn < self.options.retries {
                        self.metrics.again();
                    }
                    // Where a broker went, the name server may know by now.
                    if unreachable && turn < self.options.retries {
                        let left = timeout.saturating_sub(started.elapsed()) / 2;
                        let asked =
                            tokio::time::timeout(left, self.client.refresh_route(&outgoing.topic)).await;
                        if let Ok(Ok(newer)) = asked {
                            route = newer;
                        }
                    }
                }
            }
        }
        if let Some(result) = stored {
            // It is stored, if not as safely as was hoped for.
            self.metrics.sent(started.elapsed(), outgoing.size());
            return Ok(result);
        }
        self.metrics.failed();
        Err(SendError::Failed { topic: outgoing.topic.clone(), attempts, elapsed: started.elapsed() })
    }

    /// Sends to one queue, once.
    async fn send_once(
        &self,
        outgoing: &Outgoing,
        target: &WriteQueue,
        started: Instant,
    ) -> Result<SendResult, SendError> {
        let _under_way = self.metrics.begin();
        let left = self.options.send_timeout.saturating_sub(started.elapsed());
        match self.attempt(outgoing, target, Instant::now(), left).await {
            Ok(result) => {
                self.metrics.sent(started.elapsed(), outgoing.size());
                Ok(result)
            }
            Err(cause) => {
                self.metrics.failed();
                if matches!(cause, Cause::Call(CallError::Connect { .. } | CallError::Closed)) {
                    // For the next one; this one has failed whatever the name server says.
                    self.client.inner.routes.mark_stale(&outgoing.topic);
                }
                let attempt = Attempt { queue: target.queue.clone(), addr: target.master.clone(), cause };
                let (topic, elapsed) = (outgoing.topic.clone(), started.elapsed());
                Err(SendError::Failed { topic, attempts: vec![attempt], elapsed })
            }
        }
    }

    async fn attempt(
        &self,
        outgoing: &Outgoing,
        target: &WriteQueue,
        begun: Instant,
        timeout: Duration,
    ) -> Result<SendResult, Cause> {
        let context = SendContext::new(self, outgoing, target);
        self.hooks.iter().for_each(|hook| hook.before(&context));
        let command = outgoing.command(&self.group, &target.queue, &self.form);
        let addr = self.client.inner.send_addr(&target.master);
        let result = match self.client.remote().call(&addr, command, timeout).await {
            Ok(reply) => outgoing
                .result(&reply, &target.queue)
                .ok_or_else(|| Cause::Refused { code: reply.code, remark: reply.remark.unwrap_or_default() }),
            Err(error) => Err(Cause::Call(error)),
        };
        if self.options.latency_faults {
            let outcome = match &result {
                Ok(_) => Outcome::Answered,
                Err(Cause::Call(CallError::Connect { .. })) => Outcome::Unreachable,
                Err(_) => Outcome::Failed,
            };
            let mut faults = lock(&self.faults);
            faults.note(&target.queue.broker_name, begun.elapsed(), outcome, Instant::now());
        }
        self.hooks.iter().for_each(|hook| hook.after(&context, result.as_ref(), begun.elapsed()));
        result
    }

    /// Sends without an answer.
    async fn send_away(
        &self,
        outgoing: &Outgoing,
        target: &WriteQueue,
        started: Instant,
    ) -> Result<(), SendError> {
        let _under_way = self.metrics.begin();
        let context = SendContext::new(self, outgoing, target);
        self.hooks.iter().for_each(|hook| hook.before(&context));
        let command = outgoing.command(&self.group, &target.queue, &self.form);
        let addr = self.client.inner.send_addr(&target.master);
        let sent = self.client.remote().send_one_way(&addr, command);
        let sent = tokio::time::timeout(self.options.send_timeout, sent).await;
        let timed_out = CallError::Timeout(self.options.send_timeout.as_millis());
        match sent.unwrap_or(Err(timed_out)) {
            Ok(()) => {
                self.metrics.sent(started.elapsed(), outgoing.size());
                Ok(())
            }
            Err(error) => {
                self.metrics.failed();
                self.client.inner.routes.mark_stale(&outgoing.topic);
                let cause = Cause::Call(error);
                let attempt = Attempt { queue: target.queue.clone(), addr: target.master.clone(), cause };
                let (topic, elapsed) = (outgoing.topic.clone(), started.elapsed());
                Err(SendError::Failed { topic, attempts: vec![attempt], elapsed })
            }
        }
    }
}

impl Member for Shared {
    fn group(&self) -> &Arc<str> {
        &self.group
    }

    fn presence(&self) -> Presence {
        Presence::Producer(ProducerData { group_name: self.group.to_string() })
    }

    fn topics(&self) -> BTreeSet<Arc<str>> {
        self.options.topics.iter().cloned().collect()
    }

    fn handle(self: Arc<Self>, request: Request<'_>) -> Answer {
        match request.header.code {
            request::CHECK_TRANSACTION_STATE => self.check_back(request),
            code => Answer::unsupported(code),
        }
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").field("group", &self.shared.group).finish_non_exhaustive()
    }
}

/// The value of a property of what is being sent.
fn property<'a>(properties: &'a str, name: &str) -> Option<Cow<'a, str>> {
    oxmq_record::properties::find(properties.as_bytes(), name).map(String::from_utf8_lossy)
}

/// A message goes to a queue of its own topic only.
fn check_topic(message: &Message, queue: &MessageQueue) -> Result<(), MessageError> {
    if message.topic == queue.topic {
        return Ok(());
    }
    Err(MessageError::QueueTopic(message.topic.to_string(), queue.topic.to_string()))
}

/// Errors of messages that are refused as a whole.
fn refuse_delay(message: &Message) -> Result<(), MessageError> {
    if message.is_delayed() { Err(MessageError::TransactionDelayed) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_choose_the_queues_that_java_chooses() {
        // Computed by Java: Math.abs(key.hashCode() % 4).
        for (key, hash, expected) in [("order-7", -1_207_111_304, 0), ("", 0, 0), ("a", 97, 1)] {
            assert_eq!(java_string_hash(key), hash, "{key}");
            assert_eq!(queue_by_hash(hash, 4), expected, "{key}");
        }
        assert_eq!(queue_by_hash(i32::MIN, 3), 2);
        assert_eq!(queue_by_hash(5, 0), 0);
    }
}
