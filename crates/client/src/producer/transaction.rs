// SPDX-License-Identifier: Apache-2.0
//! Transactions: a half message, the application's own transaction, and the end; and what a broker asks when the end did
//! not come. Java: `TransactionMQProducer`.

use super::{Producer, SendContext, SendError, Shared, command::Outgoing, refuse_delay};
use crate::{
    Answer, Command, Message, ReceivedMessage, Request, SendResult, SendStatus,
    code::{self, request},
    instance::{field, lock},
    property,
    route::WriteQueue,
};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use oxmq_record::{MessageId, sys_flag};
use std::{
    sync::{Arc, Mutex},
    time::Instant,
};
use tokio::{sync::Semaphore, task::JoinSet};
use tracing::{debug, warn};

/// Questions of brokers that may wait. Java: `checkRequestHoldMax`.
const CHECKS_MAX: usize = 2000;
/// Of those, how many are asked of the application at once.
const CHECKS_AT_ONCE: usize = 16;

/// What became of the application's own transaction. Java: `LocalTransactionState`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TransactionState {
    /// It is committed: the message is delivered.
    Commit,
    /// It is rolled back: the message is never seen.
    Rollback,
    /// Not known yet: the broker asks later.
    Unknown,
}

/// What a [`TransactionListener`] gives.
pub type Checking = BoxFuture<'static, TransactionState>;

/// Says what became of a transaction whose end did not reach the broker: because the process died, or
/// [`TransactionState::Unknown`] was said. Any producer of the group may be asked, so the answer must come from what is
/// durable, such as a row that the transaction writes.
///
/// A function from a [`ReceivedMessage`] to a future will do. It runs on tasks of the producer, at most 16 of them at a time; up to
/// 2,000 questions wait. A panic counts as [`TransactionState::Unknown`]. A broker asks 6 s after the half message at the earliest, by
/// default, and gives up after 15 questions.
pub trait TransactionListener: Send + Sync + 'static {
    /// What became of the transaction that `half` belongs to. Java: `checkLocalTransaction`.
    fn check(&self, half: ReceivedMessage) -> Checking;
}

impl<F, Fut> TransactionListener for F
where
    F: Fn(ReceivedMessage) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = TransactionState> + Send + 'static,
{
    fn check(&self, half: ReceivedMessage) -> Checking {
        Box::pin(self(half))
    }
}

/// A half message that is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HalfMessage {
    /// The transaction's id: that of the message.
    pub transaction_id: String,
    /// The keys of the message, separated by blanks. `None`: it has none.
    pub keys: Option<String>,
    /// Its body, as it was given.
    pub body: Bytes,
}

/// What became of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransactionResult {
    /// The half message.
    pub send: SendResult,
    /// What the application said, or [`TransactionState::Rollback`] without asking it if the half message is not as safe
    /// as the broker is set up for.
    pub state: TransactionState,
    /// True if the broker has confirmed the end. If not, it will ask.
    pub confirmed: bool,
}

/// Questions of brokers that wait, and the tasks that answer them. They end with the producer.
pub(super) struct Checks {
    listener: Option<Arc<dyn TransactionListener>>,
    tasks: Mutex<JoinSet<()>>,
    at_once: Arc<Semaphore>,
}

/// Which half message is to be ended.
struct End<'a> {
    topic: &'a str,
    broker_name: &'a str,
    queue_offset: i64,
    physical_offset: i64,
    msg_id: &'a str,
    transaction_id: &'a str,
    from_check: bool,
}

impl Producer {
    /// Sends a half message, which nobody sees; runs `local`, the application's own transaction; and commits the message or
    /// rolls it back, as `local` says. Needs a
    /// [`transaction_listener`](super::ProducerBuilder::transaction_listener). `local` may take as long as it likes.
    ///
    /// If this future is dropped, or the process dies, after the half message was stored, a broker asks the listener.
    ///
    /// # Errors
    /// [`SendError`] if the half message was not sent; `local` was not run then. A delayed message is refused
    /// ([`MessageError::TransactionDelayed`](crate::MessageError::TransactionDelayed)). That the end did not reach the broker is no
    /// error: see [`TransactionResult::confirmed`].
    ///
    /// # Panics
    /// Never by itself; a panic of `local` goes through, and the broker asks the listener.
    pub async fn send_in_transaction<F, Fut>(
        &self,
        message: Message,
        local: F,
    ) -> Result<TransactionResult, SendError>
    where
        F: FnOnce(HalfMessage) -> Fut,
        Fut: Future<Output = TransactionState>,
    {
        let shared = &self.shared;
        shared.check(&message)?;
        refuse_delay(&message)?;
        if shared.checks.listener.is_none() {
            warn!(group = %shared.group, "a transaction without a listener: if its end gets lost, the message does, too");
        }
        let (body, keys) = (message.body.clone(), message.get(property::KEYS).map(ToOwned::to_owned));
        let message = message
            .property(property::TRANSACTION_PREPARED, "true")
            .property(property::PRODUCER_GROUP, &shared.group);
        let outgoing = Outgoing::new(message, &shared.form)?;
        let send = shared.send_anywhere(&outgoing, Instant::now(), shared.options.send_timeout).await?;
        let state = match send.status {
            SendStatus::SendOk => {
                let transaction_id = send.transaction_id.clone().unwrap_or_else(|| send.msg_id.clone());
                local(HalfMessage { transaction_id, keys, body }).await
            }
            _ => TransactionState::Rollback,
        };
        let confirmed = shared.end_transaction(&outgoing, &send, state).await;
        Ok(TransactionResult { send, state, confirmed })
    }
}

impl Shared {
    async fn end_transaction(&self, outgoing: &Outgoing, send: &SendResult, state: TransactionState) -> bool {
        let Ok(id) = send.offset_msg_id.parse::<MessageId>() else {
            warn!(msg_id = send.offset_msg_id, "the broker told no place of the half message: it has to ask");
            return false;
        };
        let Some(addr) = self.client.master_addr(&send.queue.broker_name) else { return false };
        let end = End {
            topic: &outgoing.topic,
            broker_name: &send.queue.broker_name,
            queue_offset: send.queue_offset,
            physical_offset: id.physical_offset.0 as i64,
            msg_id: &send.msg_id,
            transaction_id: send.transaction_id.as_deref().unwrap_or_default(),
            from_check: false,
        };
        let confirmed = self.end(&addr, &end, state, None).await;
        let target = WriteQueue { queue: send.queue.clone(), master: addr };
        let context = SendContext::new(self, outgoing, &target);
        self.hooks.iter().for_each(|hook| hook.ended(&context, state, false));
        confirmed
    }

    /// Tells the broker the end of a transaction. True if it has confirmed it.
    async fn end(
        &self,
        addr: &Arc<str>,
        end: &End<'_>,
        state: TransactionState,
        remark: Option<String>,
    ) -> bool {
        let outcome = match state {
            TransactionState::Commit => sys_flag::COMMIT,
            TransactionState::Rollback => sys_flag::ROLLBACK,
            TransactionState::Unknown => 0,
        };
        let mut command = Command::new(request::END_TRANSACTION)
            .with("topic", end.topic.to_owned())
            .with("producerGroup", self.group.clone())
            .with("tranStateTableOffset", end.queue_offset)
            .with("commitLogOffset", end.physical_offset)
            .with("commitOrRollback", outcome)
            .with("fromTransactionCheck", end.from_check)
            .with("msgId", end.msg_id.to_owned())
            .with("transactionId", end.transaction_id.to_owned())
            .with("bname", end.broker_name.to_owned());
        command.remark = remark.map(Into::into);
        if state == TransactionState::Unknown {
            // COMPAT(java): brokers do not answer this one.
            if let Err(error) = self.client.remote().send_one_way(addr, command).await {
                debug!(%addr, %error, "the broker was not told that a transaction goes on");
            }
            return false;
        }
        match self.client.call(addr, command).await {
            Ok(reply) if reply.code == code::SUCCESS => true,
            Ok(reply) => {
                let remark = reply.remark;
                warn!(%addr, msg_id = end.msg_id, code = reply.code, remark, "the broker does not end a transaction");
                false
            }
            Err(error) => {
                warn!(%addr, msg_id = end.msg_id, %error, "the end of a transaction may be lost: the broker will ask");
                false
            }
        }
    }

    /// A broker asks what became of a transaction.
    pub(super) fn check_back(self: Arc<Self>, request: Request<'_>) -> Answer {
        let Some(listener) = self.checks.listener.clone() else {
            warn!(group = %self.group, "a broker asks about a transaction, and there is no listener");
            return Answer::Nothing;
        };
        let number = |name| field(request, name).and_then(|value| value.parse::<i64>().ok());
        let (Some(queue_offset), Some(physical_offset)) =
            (number("tranStateTableOffset"), number("commitLogOffset"))
        else {
            warn!(peer = %request.peer.remote(), "a broker asks about a transaction without saying which");
            return Answer::Nothing;
        };
        let broker_name = field(request, "bname").unwrap_or_default();
        let transaction_id = field(request, "transactionId").unwrap_or_default();
        let body = Bytes::copy_from_slice(request.body);
        let half = match ReceivedMessage::decode_all(&body, &Arc::from(broker_name.as_str())) {
            Ok(mut messages) if !messages.is_empty() => messages.swap_remove(0),
            _ => {
                warn!(peer = %request.peer.remote(), "a broker asks about a half message that cannot be read");
                return Answer::Nothing;
            }
        };
        let asking = || request.peer.remote().to_string().into();
        let addr: Arc<str> = self.client.master_addr(&broker_name).unwrap_or_else(asking);
        let mut tasks = lock(&self.checks.tasks);
        while tasks.try_join_next().is_some() {}
        if tasks.len() >= CHECKS_MAX {
            // It asks again.
            warn!(group = %self.group, "brokers ask faster than the listener answers");
            return Answer::Nothing;
        }
        let (shared, at_once) = (Arc::downgrade(&self), self.checks.at_once.clone());
        tasks.spawn(async move {
            let Ok(_permit) = at_once.acquire_owned().await else { return };
            let msg_id = half.msg_id();
            let topic =
                half.get("REAL_TOPIC").map_or_else(|| half.topic().to_owned(), |topic| topic.into_owned());
            // Apart, so that a panic of the listener is known from an answer.
            let asked = tokio::spawn(async move { listener.check(half).await });
            let (state, remark) = match AbortOnDrop(asked).await {
                Ok(state) => (state, None),
                Err(error) => (
                    TransactionState::Unknown,
                    Some(format!("checkLocalTransactionState Exception: {error}")),
                ),
            };
            let Some(shared) = shared.upgrade() else { return };
            let end = End {
                topic: &topic,
                broker_name: &broker_name,
                queue_offset,
                physical_offset,
                msg_id: &msg_id,
                transaction_id: &transaction_id,
                from_check: true,
            };
            shared.end(&addr, &end, state, remark).await;
        });
        Answer::Nothing
    }
}

/// Ends a task of ours when nobody waits for it any more.
struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<T> Future for AbortOnDrop<T> {
    type Output = Result<T, tokio::task::JoinError>;

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        std::pin::Pin::new(&mut self.0).poll(context)
    }
}

impl Checks {
    pub(super) fn new(listener: Option<Arc<dyn TransactionListener>>) -> Self {
        Self { listener, tasks: Mutex::default(), at_once: Arc::new(Semaphore::new(CHECKS_AT_ONCE)) }
    }

    /// Ends what is not answered yet: brokers ask again.
    pub(super) fn end(&self) {
        lock(&self.tasks).abort_all();
    }
}
