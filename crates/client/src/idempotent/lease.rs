// SPDX-License-Identifier: Apache-2.0
//! For handlers whose effects are elsewhere than their keys: a claim with a lease, and a mark when it is done.

use super::{
    Claim, ClaimStore, HANDLER_TIMEOUT, HandleError, Handled, HandlerError, Key, KeyError, KeyOf, RETENTION,
    StoreError, Token, WithoutKey, guarded, key::Keys,
};
use crate::ReceivedMessage;
use std::{
    fmt,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tracing::warn;

const LEASE: Duration = Duration::from_secs(60);
/// Pause before a mark that failed is tried again.
const AGAIN: Duration = Duration::from_millis(200);

/// Handles one message. An async closure that takes an `Arc<ReceivedMessage>` is one.
pub trait MessageHandler: Send + Sync + 'static {
    /// Handles a message whose key is claimed. An error or a panic gives the claim up, and the message comes again.
    fn handle(&self, message: Arc<ReceivedMessage>) -> impl Future<Output = Result<(), HandlerError>> + Send;
}

impl<F, Fut> MessageHandler for F
where
    F: Fn(Arc<ReceivedMessage>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), HandlerError>> + Send + 'static,
{
    fn handle(&self, message: Arc<ReceivedMessage>) -> impl Future<Output = Result<(), HandlerError>> + Send {
        self(message)
    }
}

/// Runs a handler under a claim of the message's key, and marks the key as done afterwards. **The effect happens at least once**:
/// again only if the process dies, or does not reach the store until the lease has ended, after the effect and before the mark.
/// Give what you call the key as its own idempotence key, if it takes one, and even that does no harm.
///
/// The claim is a lease of 60 s, renewed every third of it while the handler runs. If it cannot be renewed, the handler is dropped at its
/// `.await` before the lease ends: within a lease there are never two handlers of one key, on whatever machines. (Code that
/// blocks its thread cannot be stopped by anybody; put it where it can be waited for.)
pub struct ByLease<S, H> {
    keys: Keys,
    store: S,
    handler: H,
    lease: Duration,
    retention: Duration,
    handler_timeout: Duration,
}

impl<S: ClaimStore, H: MessageHandler> ByLease<S, H> {
    /// A handler for a consumer of `group`, by the messages' keys.
    ///
    /// # Errors
    /// [`KeyError::Name`] if that is no name of a group.
    pub fn new(group: &str, store: S, handler: H) -> Result<Self, KeyError> {
        let keys = Keys::new(group)?;
        let (lease, retention, handler_timeout) = (LEASE, RETENTION, HANDLER_TIMEOUT);
        Ok(Self { keys, store, handler, lease, retention, handler_timeout })
    }

    /// By what messages are recognised; their keys by default.
    #[must_use]
    pub fn key_of(mut self, of: KeyOf) -> Self {
        self.keys.of = of;
        self
    }

    /// What becomes of messages without a key; they are refused by default.
    #[must_use]
    pub fn without_key(mut self, without: WithoutKey) -> Self {
        self.keys.without = without;
        self
    }

    /// How long a claim holds unless it is renewed, 60 s by default, at least 1 s. So long a message waits at least whose handler
    /// died with its process.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease.max(Duration::from_secs(1));
        self
    }

    /// How long a key that is done is remembered; 7 days by default.
    #[must_use]
    pub fn retention(mut self, retention: Duration) -> Self {
        self.retention = retention;
        self
    }

    /// How long the handler may take; 15 minutes by default. A consumer whose consume timeout is shorter ends it earlier, and the
    /// claim is kept until the lease ends.
    #[must_use]
    pub fn handler_timeout(mut self, timeout: Duration) -> Self {
        self.handler_timeout = timeout;
        self
    }

    /// Handles one message, unless its key is done. If the future is dropped, the claim is kept until its lease ends.
    ///
    /// # Errors
    /// [`HandleError`]: the message has to come again.
    pub async fn handle_message(&self, message: &Arc<ReceivedMessage>) -> Result<Handled, HandleError> {
        let key = self.keys.key(message)?;
        let token = Token::random()?;
        // Taken before the store is asked: by the clock of the store the lease ends later.
        let ends = Mutex::new(Instant::now() + self.lease);
        match self.store.claim(&key, token, self.lease).await? {
            Claim::Granted => {}
            Claim::Done => return Ok(Handled::Before),
            Claim::Held(left) => return Err(HandleError::Held(left)),
        }
        let handler = guarded(self.handler_timeout, self.handler.handle(message.clone()));
        tokio::pin!(handler);
        let result = tokio::select! {
            // The handler first: what is done need not be renewed.
            biased;
            result = &mut handler => result,
            lost = self.keep(&key, token, &ends) => return Err(lost),
        };
        if let Err(error) = result {
            if let Err(error) = self.store.release(&key, token).await {
                warn!(%key, %error, "a claim could not be given up, its message is put off until the lease ends");
            }
            return Err(error);
        }
        let ends = *lock(&ends);
        self.mark(&key, token, ends).await?;
        Ok(Handled::Now)
    }

    /// Renews the lease, and comes back when it is lost, or soon will be.
    async fn keep(&self, key: &Key, token: Token, ends: &Mutex<Instant>) -> HandleError {
        let (pause, margin) = (self.lease / 3, self.lease / 10);
        let mut next = *lock(ends) - self.lease + pause;
        loop {
            let last = *lock(ends) - margin;
            if next >= last {
                sleep_until(last).await;
                return HandleError::LeaseLost;
            }
            sleep_until(next).await;
            let asked = Instant::now();
            match timeout_at(last, self.store.renew(key, token, self.lease)).await {
                Ok(Ok(true)) => {
                    *lock(ends) = asked + self.lease;
                    next = asked + pause;
                }
                Ok(Ok(false)) | Err(_) => return HandleError::LeaseLost,
                Ok(Err(error)) => {
                    warn!(%key, %error, "a lease could not be renewed");
                    next = Instant::now() + margin;
                }
            }
        }
    }

    /// Marks the key as done; tries so until the lease has ended for sure.
    async fn mark(&self, key: &Key, token: Token, ends: Instant) -> Result<(), HandleError> {
        let ends = ends.max(Instant::now() + AGAIN);
        loop {
            let error = match self.store.complete(key, token, self.retention).await {
                Ok(true) => return Ok(()),
                Ok(false) => return Err(HandleError::LeaseLost),
                Err(error) => error,
            };
            if matches!(error, StoreError::Timeout(_)) || Instant::now() + AGAIN >= ends {
                return Err(error.into());
            }
            warn!(%key, %error, "a key is done and could not be marked so, trying again");
            sleep(AGAIN).await;
        }
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &S {
        &self.store
    }
}

fn lock(ends: &Mutex<Instant>) -> MutexGuard<'_, Instant> {
    ends.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S, H> fmt::Debug for ByLease<S, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByLease")
            .field("keys", &self.keys)
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}
