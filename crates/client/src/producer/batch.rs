// SPDX-License-Identifier: Apache-2.0
//! Many messages in one request.

use super::{
    Producer, SendError,
    command::{Encoded, Outgoing, split},
};
use crate::{Message, MessageError, SendResult};
use oxmq_types::RETRY_GROUP_PREFIX;
use std::time::Instant;
use thiserror::Error;

/// Some messages of a batch were not sent.
#[derive(Debug, Clone, PartialEq, Error)]
#[error("of {total} messages, the first {sent} are stored, then: {error}")]
pub struct BatchError {
    /// Messages that were to be sent.
    pub total: usize,
    /// The first so many are stored.
    pub sent: usize,
    /// What became of those, one result for each request.
    pub results: Vec<SendResult>,
    /// Why the next request failed. Its messages may be stored, if [`SendError::may_be_stored`] says so; those behind it are not.
    #[source]
    pub error: SendError,
}

impl Producer {
    /// Sends many messages of one topic in as few requests as the size limit
    /// ([`ProducerOptions::batch_size`](super::ProducerOptions::batch_size)) allows, in their order. Each part is stored as
    /// a whole or not at all, in one queue; different parts may go to different queues. The parts go one after the other, each within
    /// [`ProducerOptions::send_timeout`](super::ProducerOptions::send_timeout). One result for each part.
    ///
    /// ```
    /// # use oxmq_client::{Client, ClientOptions, Message};
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = oxmq_testkit::Cluster::start().await;
    /// # let producer = Client::new(ClientOptions::new(cluster.name_server()))?.producer("shop").start()?;
    /// let orders = (0..100).map(|n| Message::new("Orders", format!("order {n}")).key(&format!("order-{n}")));
    /// let results = producer.send_batch(orders).await?;
    /// assert_eq!(results.len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`BatchError`] says how many messages are stored. Nothing is sent if a message cannot be: messages of several
    /// topics, delayed ones, and those that are too large.
    pub async fn send_batch(
        &self,
        messages: impl IntoIterator<Item = Message>,
    ) -> Result<Vec<SendResult>, BatchError> {
        let shared = &self.shared;
        let mut encoded: Vec<Encoded> = Vec::new();
        let mut topic = None;
        let mut failure: Option<SendError> = None;
        let mut total = 0;
        for message in messages {
            total += 1;
            if failure.is_some() {
                continue;
            }
            let topic = topic.get_or_insert_with(|| message.topic.clone());
            let fits = shared.check(&message).and_then(|()| {
                if message.topic != *topic {
                    let (first, other) = (topic.to_string(), message.topic.to_string());
                    return Err(MessageError::BatchTopics(first, other).into());
                }
                if message.is_delayed() || message.topic.starts_with(RETRY_GROUP_PREFIX) {
                    return Err(MessageError::BatchKind.into());
                }
                Ok(Encoded::new(message)?)
            });
            match fits {
                Ok(message) => encoded.push(message),
                Err(error) => failure = Some(error),
            }
        }
        let failed = |sent, results, error| Err(BatchError { total, sent, results, error });
        if let Some(error) = failure {
            return failed(0, Vec::new(), error);
        }
        let Some(topic) = topic else { return failed(0, Vec::new(), MessageError::EmptyBatch.into()) };
        let mut results = Vec::new();
        for part in split(&encoded, shared.options.batch_size) {
            let outgoing = Outgoing::batch(&encoded[part.clone()], &topic);
            match shared.send_anywhere(&outgoing, Instant::now(), shared.options.send_timeout).await {
                Ok(result) => results.push(result),
                Err(error) => return failed(part.start, results, error),
            }
        }
        Ok(results)
    }
}
