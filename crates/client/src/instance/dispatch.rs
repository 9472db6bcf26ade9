// SPDX-License-Identifier: Apache-2.0
//! Gives the requests of brokers to whom they are for. Java: `ClientRemotingProcessor`.

use super::{Inner, Side, lock};
use crate::{
    Answer, Command, ReceivedMessage, Request, Route, Service,
    code::{self, request},
    property,
};
use oxmq_remoting::bodies::{ConsumerData, ProducerData};
use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, OnceLock, Weak},
};
use tokio::sync::oneshot;
use tracing::{debug, warn};

/// A producer or a consumer, as the rest of the client sees it.
pub(crate) trait Member: Send + Sync + 'static {
    /// Its group.
    fn group(&self) -> &Arc<str>;

    /// What the heartbeat tells of it.
    fn presence(&self) -> Presence;

    /// Topics whose routes it wants kept fresh.
    fn topics(&self) -> BTreeSet<Arc<str>> {
        BTreeSet::new()
    }

    /// A route is new or has changed. Must not block.
    fn route_changed(&self, _route: &Arc<Route>) {}

    /// Answers what a broker asks. Runs in the task of the connection: what takes time goes into an
    /// [`Answer::Later`] or a task of the member's.
    fn handle(self: Arc<Self>, request: Request<'_>) -> Answer;
}

/// What a heartbeat tells of a member.
pub(crate) enum Presence {
    Producer(ProducerData),
    Consumer(ConsumerData),
}

/// Requests of this client that wait for a reply that is a message.
#[derive(Default)]
pub(crate) struct Replies {
    waiting: Mutex<HashMap<String, oneshot::Sender<ReceivedMessage>>>,
}

impl Replies {
    /// Waits for the reply with this correlation id. Dropping what it gives ends the waiting.
    pub(crate) fn wait(self: &Replies, correlation: &str) -> oneshot::Receiver<ReceivedMessage> {
        let (sender, receiver) = oneshot::channel();
        lock(&self.waiting).insert(correlation.to_owned(), sender);
        receiver
    }

    pub(crate) fn forget(&self, correlation: &str) {
        lock(&self.waiting).remove(correlation);
    }

    pub(super) fn clear(&self) {
        lock(&self.waiting).clear();
    }

    fn arrived(&self, correlation: &str, reply: ReceivedMessage) -> bool {
        let sender = lock(&self.waiting).remove(correlation);
        sender.is_some_and(|sender| sender.send(reply).is_ok())
    }
}

/// The service of a client's connections. Connected to the client after that is made, because each needs the other.
#[derive(Default)]
pub(super) struct Dispatch {
    inner: OnceLock<Weak<Inner>>,
}

impl Dispatch {
    pub(super) fn connect(&self, inner: &Arc<Inner>) {
        // Set once, by the constructor.
        let _ = self.inner.set(Arc::downgrade(inner));
    }
}

impl Service for Dispatch {
    fn handle(&self, request: Request<'_>) -> Answer {
        let Some(inner) = self.inner.get().and_then(Weak::upgrade) else { return Answer::Nothing };
        let code = request.header.code;
        let (side, group) = match code {
            request::PUSH_REPLY_MESSAGE_TO_CLIENT => return reply(&inner, request),
            request::CHECK_TRANSACTION_STATE => (Side::Producer, producer_group(request)),
            request::NOTIFY_CONSUMER_IDS_CHANGED
            | request::GET_CONSUMER_RUNNING_INFO
            | request::CONSUME_MESSAGE_DIRECTLY => (Side::Consumer, field(request, "consumerGroup")),
            request::RESET_CONSUMER_CLIENT_OFFSET | request::GET_CONSUMER_STATUS_FROM_CLIENT => {
                (Side::Consumer, field(request, "group"))
            }
            _ => return Answer::unsupported(code),
        };
        let Some(group) = group else {
            warn!(code, peer = %request.peer.remote(), "a broker asks for no group");
            return refuse("the request names no group".into());
        };
        match inner.member(side, &group) {
            Some(member) => member.handle(request),
            None => {
                debug!(code, group, "a broker asks for a group that is not here");
                refuse(format!("The Consumer Group <{group}> not exist in this consumer"))
            }
        }
    }
}

fn refuse(remark: String) -> Answer {
    Command::failure(code::SYSTEM_ERROR, remark).into()
}

pub(crate) fn field(request: Request<'_>, name: &str) -> Option<String> {
    let found = request.header.fields.iter().find(|(found, _)| *found == name);
    found.map(|(_, value)| value.to_cow().into_owned())
}

/// The group of a half message that a broker asks about.
fn producer_group(request: Request<'_>) -> Option<String> {
    let view = oxmq_record::RecordView::parse(request.body).ok()?;
    let group = view.property(property::PRODUCER_GROUP)?;
    Some(String::from_utf8_lossy(group).into_owned())
}

/// A reply to a request of this client. It comes as the fields of a send.
fn reply(inner: &Inner, request: Request<'_>) -> Answer {
    let message = ReceivedMessage::from_push(request);
    let correlation = message.get(property::CORRELATION_ID).map(std::borrow::Cow::into_owned);
    match correlation {
        Some(correlation) => {
            if !inner.replies.arrived(&correlation, message) {
                debug!(correlation, "a reply comes too late");
            }
            Command::success().into()
        }
        None => refuse(format!("process reply message fail, property {} is null", property::CORRELATION_ID)),
    }
}
