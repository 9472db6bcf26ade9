// SPDX-License-Identifier: Apache-2.0
//! For handlers that write into the database that remembers their keys: both in one transaction.

use super::{
    CONFLICTS_MAX, Claim, HANDLER_TIMEOUT, HandleError, Handled, HandlerError, Key, KeyError, KeyOf,
    RETENTION, Sql, SqlStore, StoreError, Token, WithoutKey, guarded, key::Keys, sql::is_conflict,
};
use crate::ReceivedMessage;
use sqlx::Transaction;
use std::{fmt, future::Future, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};
use tracing::{debug, warn};

/// Pause before a transaction that was in conflict is tried again; twice as long every time.
const PAUSE: Duration = Duration::from_millis(20);

/// Handles one message inside of a transaction.
///
/// Three rules:
/// - Pass errors of the database on (`?`). A database that met a deadlock has rolled everything back; that is noticed
///   before the commit, and the message comes again.
/// - Do not end the transaction: no `COMMIT`, and on MySQL no DDL, which commits. Savepoints are fine.
/// - It may run more than once for a message, so whatever it does elsewhere is not protected.
pub trait TransactionHandler<DB: Sql>: Send + Sync + 'static {
    /// Handles a message whose key is claimed by `transaction`. An error rolls it back, and the message comes again.
    fn handle(
        &self,
        message: &ReceivedMessage,
        transaction: &mut Transaction<'static, DB>,
    ) -> impl Future<Output = Result<(), HandlerError>> + Send;
}

/// Runs a handler in a transaction that also claims the message's key. **The effect happens exactly once**: it and the key are one commit.
pub struct InTransaction<DB: Sql, H> {
    keys: Keys,
    store: SqlStore<DB>,
    handler: H,
    retention: Duration,
    handler_timeout: Duration,
}

impl<DB: Sql, H: TransactionHandler<DB>> InTransaction<DB, H> {
    /// A handler for a consumer of `group`, by the messages' keys.
    ///
    /// The pool of `store` should have as many connections as the consumer has handlers at a time; who finds none waits.
    ///
    /// # Errors
    /// [`KeyError::Name`] if that is no name of a group.
    pub fn new(group: &str, store: SqlStore<DB>, handler: H) -> Result<Self, KeyError> {
        let keys = Keys::new(group)?;
        Ok(Self { keys, store, handler, retention: RETENTION, handler_timeout: HANDLER_TIMEOUT })
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

    /// How long a key is remembered; 7 days by default.
    #[must_use]
    pub fn retention(mut self, retention: Duration) -> Self {
        self.retention = retention;
        self
    }

    /// How long the handler may take; 15 minutes by default.
    #[must_use]
    pub fn handler_timeout(mut self, timeout: Duration) -> Self {
        self.handler_timeout = timeout;
        self
    }

    /// Handles one message, unless its key is done. If the future is dropped, the transaction is rolled back.
    ///
    /// # Errors
    /// [`HandleError`]: nothing is committed, or nobody knows; the message has to come again.
    pub async fn handle_message(&self, message: &Arc<ReceivedMessage>) -> Result<Handled, HandleError> {
        let key = self.keys.key(message)?;
        let deadline = Instant::now() + self.handler_timeout;
        let mut pause = PAUSE;
        for _ in 0..CONFLICTS_MAX {
            match self.once(&key, message, deadline).await {
                Err(error) if conflict::<DB>(&error) && Instant::now() + pause < deadline => {
                    debug!(%key, %error, "a transaction was in conflict with another, trying again");
                    sleep(pause).await;
                    pause *= 2;
                }
                result => return result,
            }
        }
        self.once(&key, message, deadline).await
    }

    async fn once(
        &self,
        key: &Key,
        message: &Arc<ReceivedMessage>,
        deadline: Instant,
    ) -> Result<Handled, HandleError> {
        let token = Token::random()?;
        let mut transaction = self.store.begin().await?;
        // From here on whoever goes early drops the transaction, which rolls it back.
        let result = match self.store.claim_in(&mut transaction, key, token).await? {
            Claim::Granted => {
                let left = deadline.saturating_duration_since(Instant::now());
                guarded(left, self.handler.handle(message, &mut transaction)).await
            }
            Claim::Done => {
                self.roll_back(transaction, key).await;
                return Ok(Handled::Before);
            }
            Claim::Held(left) => Err(HandleError::Held(left)),
        };
        if let Err(error) = result {
            self.roll_back(transaction, key).await;
            return Err(error);
        }
        // Also asks the transaction whether it is still there: a database commits without a word what it has rolled back.
        if !self.store.complete_in(&mut transaction, key, token, self.retention).await? {
            self.roll_back(transaction, key).await;
            return Err(HandleError::TransactionGone);
        }
        self.store.commit(transaction).await?;
        Ok(Handled::Now)
    }

    async fn roll_back(&self, transaction: Transaction<'static, DB>, key: &Key) {
        // If it cannot be told so, the database rolls back when the connection ends.
        if let Err(error) = self.store.roll_back(transaction).await {
            warn!(%key, %error, "a transaction could not be rolled back by asking");
        }
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &SqlStore<DB> {
        &self.store
    }
}

/// True if the transaction was rolled back for another's sake. A commit without an answer is not among these: it may have
/// happened.
fn conflict<DB: Sql>(error: &HandleError) -> bool {
    match error {
        HandleError::Handler(error) => is_conflict::<DB>(&**error),
        HandleError::Store(StoreError::Failed(error)) => is_conflict::<DB>(&**error),
        _ => false,
    }
}

impl<DB: Sql, H> fmt::Debug for InTransaction<DB, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InTransaction").field("keys", &self.keys).finish_non_exhaustive()
    }
}
