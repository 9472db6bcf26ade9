// SPDX-License-Identifier: Apache-2.0
//! Who is told of every attempt to send. Java: `SendMessageHook`, `EndTransactionHook`.

use super::{Cause, Shared, TransactionState, command::Outgoing, property};
use crate::{MessageQueue, SendResult, property as name, route::WriteQueue};
use futures_util::future::BoxFuture;
use std::{borrow::Cow, sync::Arc, time::Duration};

/// Is told of every attempt to send. Called in the task that sends: must be quick and must not block; a panic goes to who sends.
///
/// ```
/// use oxmq_client::{Cause, SendContext, SendHook, SendResult};
/// use std::time::Duration;
///
/// /// Says which brokers are slow.
/// struct Slow;
///
/// impl SendHook for Slow {
///     fn after(&self, send: &SendContext<'_>, result: Result<&SendResult, &Cause>, elapsed: Duration) {
///         if elapsed > Duration::from_millis(100) {
///             println!("{}: {} ms, stored: {}", send.queue.broker_name, elapsed.as_millis(), result.is_ok());
///         }
///     }
/// }
/// ```
pub trait SendHook: Send + Sync + 'static {
    /// An attempt begins.
    fn before(&self, _send: &SendContext<'_>) {}

    /// An attempt has ended after `elapsed`. One-way sends have no end, nor have attempts whose future was dropped.
    fn after(&self, _send: &SendContext<'_>, _result: Result<&SendResult, &Cause>, _elapsed: Duration) {}

    /// [`Producer::send_in_transaction`](crate::Producer::send_in_transaction) has ended a transaction. Ends that a broker asked for
    /// are not told, so `_from_check` is false.
    fn ended(&self, _send: &SendContext<'_>, _state: TransactionState, _from_check: bool) {}

    /// The producer shuts down and waits for this: what is kept back has to go now.
    fn flush(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

/// What kind of message is sent. Java: `MessageType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendKind {
    /// One without anything special, or a batch.
    Normal,
    /// A half message.
    Half,
    /// A half message that was committed or rolled back.
    Ended,
    /// One that is delivered later.
    Delayed,
}

/// What is being sent.
#[derive(Debug, Clone, Copy)]
pub struct SendContext<'a> {
    /// Producer group.
    pub group: &'a Arc<str>,
    /// Client id.
    pub client_id: &'a Arc<str>,
    /// Topic.
    pub topic: &'a Arc<str>,
    /// The id of the message, or all ids of a batch, separated by commas.
    pub msg_id: &'a str,
    /// The queue that it goes to.
    pub queue: &'a MessageQueue,
    /// The address of its broker.
    pub addr: &'a Arc<str>,
    /// Bytes of body as they are sent: compressed, or of a whole batch.
    pub body_size: usize,
    pub(super) properties: &'a str,
}

impl<'a> SendContext<'a> {
    pub(super) fn new(shared: &'a Shared, outgoing: &'a Outgoing, target: &'a WriteQueue) -> Self {
        Self {
            group: &shared.group,
            client_id: shared.client.client_id(),
            topic: &outgoing.topic,
            msg_id: &outgoing.msg_id,
            queue: &target.queue,
            addr: &target.master,
            body_size: outgoing.size(),
            properties: outgoing.properties(),
        }
    }

    /// The value of a property of the message; a batch has none of its own. `None`: there is none of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Cow<'a, str>> {
        property(self.properties, name)
    }

    /// What kind of message it is.
    #[must_use]
    pub fn kind(&self) -> SendKind {
        let delays = [name::DELAY, name::TIMER_DELIVER_MS, name::TIMER_DELAY_MS, name::TIMER_DELAY_SEC];
        if self.get(name::TRANSACTION_PREPARED).as_deref() == Some("true") {
            SendKind::Half
        } else if delays.iter().any(|name| self.get(name).is_some()) {
            SendKind::Delayed
        } else {
            SendKind::Normal
        }
    }
}
