// SPDX-License-Identifier: Apache-2.0
//! Requests that are messages, and replies to them. Java: `DefaultMQProducer#request`, `MessageUtil`.

use super::{Producer, SendError};
use crate::{Message, ReceivedMessage, ids, property};
use bytes::Bytes;
use std::time::{Duration, Instant};
use thiserror::Error;

/// The reply topic of a cluster is its name and this.
const REPLY_TOPIC_SUFFIX: &str = "_REPLY_TOPIC";

/// Why a request has no reply.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The request was not sent.
    #[error(transparent)]
    Send(#[from] SendError),
    /// It was sent, and nobody has replied in time.
    #[error("no reply within {} ms: is a consumer of the topic running that replies?", .0.as_millis())]
    Timeout(Duration),
    /// The client was shut down meanwhile.
    #[error("the client was shut down before the reply came")]
    ShutDown,
}

/// The reply to a request that a consumer was given, to be sent with [`Producer::send`] by any producer.
///
/// `None`: `request` wants no reply. Java: `MessageUtil#createReplyMessage`.
pub fn reply_to(request: &ReceivedMessage, body: impl Into<Bytes>) -> Option<Message> {
    let cluster = request.get(property::CLUSTER)?;
    let correlation = request.get(property::CORRELATION_ID)?;
    let client = request.get(property::REPLY_TO_CLIENT)?;
    let reply = Message::new(format!("{cluster}{REPLY_TOPIC_SUFFIX}"), body)
        .property(property::MSG_TYPE, "reply")
        .property(property::CORRELATION_ID, &correlation)
        .property(property::REPLY_TO_CLIENT, &client);
    Some(match request.get(property::TTL) {
        Some(ttl) => reply.property(property::TTL, &ttl),
        None => reply,
    })
}

impl Producer {
    /// Sends a message and waits until a consumer has replied to it (with [`reply_to`]), at most `timeout` for both together. The
    /// first reply counts. If the future is dropped, nobody waits any more; the message stays sent.
    ///
    /// # Errors
    /// [`RequestError::Send`]: the request was not sent. [`RequestError::Timeout`]: it was, and it may still be handled.
    /// [`RequestError::ShutDown`].
    pub async fn request(
        &self,
        message: Message,
        timeout: Duration,
    ) -> Result<ReceivedMessage, RequestError> {
        let shared = &self.shared;
        let started = Instant::now();
        let client = &shared.client;
        shared.check(&message)?;
        if client.inner.routes.get(&message.topic).is_none() {
            // The broker pushes the reply to a client that it knows from its heartbeat.
            shared.publish_route(&message.topic).await?;
            client.beat().await;
        }
        let correlation = format!("{:016x}{:016x}", ids::random(), ids::random());
        let message = message
            .property(property::CORRELATION_ID, &correlation)
            .property(property::REPLY_TO_CLIENT, client.client_id())
            .property(property::TTL, itoa::Buffer::new().format(timeout.as_millis()));
        let waiting = Waiting { producer: self, correlation: &correlation };
        let reply = client.inner.replies.wait(&correlation);
        self.send_within(message, timeout).await?;
        let reply = tokio::time::timeout(timeout.saturating_sub(started.elapsed()), reply).await;
        drop(waiting);
        match reply {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(_)) => Err(RequestError::ShutDown),
            Err(_) => Err(RequestError::Timeout(timeout)),
        }
    }
}

/// Forgets a request when nobody waits for its reply any more.
struct Waiting<'a> {
    producer: &'a Producer,
    correlation: &'a str,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.producer.shared.client.inner.replies.forget(self.correlation);
    }
}
