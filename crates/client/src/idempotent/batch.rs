// SPDX-License-Identifier: Apache-2.0
//! The wrappers as handlers of a consumer.

use super::{ByLease, ClaimStore, HandleError, Handled, MessageHandler};
use crate::{
    ReceivedMessage,
    consumer::{Batch, Handler, Outcome},
};
use std::{sync::Arc, time::Duration};
use tracing::{debug, warn};

/// A claim whose end is not known is looked at again after this time.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Handles the messages of a batch one after the other. The first that has to come again ends the batch: it and those
/// behind it come again, those before it are done.
async fn in_turn<F>(batch: &Batch, handle: impl Fn(Arc<ReceivedMessage>) -> F + Send) -> Outcome
where
    F: Future<Output = Result<Handled, HandleError>> + Send,
{
    for (at, message) in batch.iter().enumerate() {
        let error = match handle(message.clone()).await {
            Ok(Handled::Now) => continue,
            Ok(Handled::Before) => {
                debug!(msg_id = message.msg_id(), "its key was handled before");
                continue;
            }
            Err(error) => error,
        };
        warn!(msg_id = message.msg_id(), queue = %batch.queue(), %error, "a message has to come again");
        return match error {
            _ if at > 0 => Outcome::Partly(at),
            HandleError::Held(left) => Outcome::RetryAfter(left.max(LOOK_AGAIN)),
            _ => Outcome::Retry,
        };
    }
    Outcome::Success
}

impl<S: ClaimStore, H: MessageHandler> Handler for ByLease<S, H> {
    async fn handle(&self, batch: Batch) -> Outcome {
        in_turn(&batch, |message| async move { self.handle_message(&message).await }).await
    }
}

#[cfg(any(feature = "sqlite", feature = "mysql", feature = "postgres"))]
impl<DB: super::Sql, H: super::TransactionHandler<DB>> Handler for super::InTransaction<DB, H> {
    async fn handle(&self, batch: Batch) -> Outcome {
        in_turn(&batch, |message| async move { self.handle_message(&message).await }).await
    }
}
