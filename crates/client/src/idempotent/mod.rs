// SPDX-License-Identifier: Apache-2.0
//! Handlers that run once for a key, although messages come more than once.
//!
//! RocketMQ delivers **at least once**. A message comes again after a crash, after a rebalance, after an acknowledgement that got
//! lost; and a producer that got no answer sends twice. What charges a card must recognise what it did. Here is that, off the
//! shelf: wrap the handler, say by what a message is recognised, and give it a place that remembers.
//!
//! Two ways, by where the effects of the handler go:
//!
//! | | [`InTransaction`] | [`ByLease`] |
//! |---|---|---|
//! | the handler's effects | rows of the database that remembers the keys | anything else: a payment service, a mail, another database |
//! | stores | [`SqlStore`] | [`SqlStore`], [`MemoryStore`], or your own [`ClaimStore`] |
//! | **effect of a key** | **exactly once** | at least once; once unless a process dies, or loses the store, between the effect and the mark that it is done |
//! | two handlers of a key at once | never: the second waits or comes again | never within the lease |
//!
//! The namespace of a key is group and topic: two groups handle the same message once each. Where the text of a key comes from is
//! said by [`KeyOf`]: the message's keys, its unique id, or a function of the message.
//!
//! ```
//! use oxmq_client::{
//!     Client, ClientOptions, ReceivedMessage,
//!     consumer::{ConsumeFrom, ConsumerOptions, PushConsumer},
//!     idempotent::{Cleanup, HandlerError, InTransaction, SqlStore, TransactionHandler},
//! };
//! use sqlx::{Sqlite, SqlitePool, Transaction};
//! use std::time::Duration;
//!
//! struct Payments;
//!
//! impl TransactionHandler<Sqlite> for Payments {
//!     async fn handle(
//!         &self,
//!         message: &ReceivedMessage,
//!         transaction: &mut Transaction<'static, Sqlite>,
//!     ) -> Result<(), HandlerError> {
//!         let order = message.keys().unwrap_or_default();
//!         let pay = sqlx::query("UPDATE orders SET paid = paid + 1 WHERE id = ?").bind(&*order);
//!         pay.execute(&mut **transaction).await?;
//!         Ok(())
//!     }
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let cluster = oxmq_testkit::Cluster::start().await;
//! # let folder = tempfile::tempdir()?;
//! # std::env::set_current_dir(&folder)?;
//! let pool = SqlitePool::connect("sqlite:shop.db?mode=rwc").await?;
//! # sqlx::query("CREATE TABLE orders (id TEXT PRIMARY KEY, paid INTEGER)").execute(&pool).await?;
//! # sqlx::query("INSERT INTO orders VALUES ('order-7', 0)").execute(&pool).await?;
//! let store = SqlStore::new(pool.clone());
//! store.create_table().await?;
//! let _cleanup = Cleanup::start(store.clone(), Duration::from_secs(3600));
//! let handler = InTransaction::new("payments", store, Payments)?;
//!
//! let name_server = "127.0.0.1:9876";
//! # let name_server = cluster.name_server();
//! let client = Client::new(ClientOptions::new(name_server))?;
//! # let producer = client.producer("shop").start()?;
//! # for _ in 0..2 {
//! #     producer.send(oxmq_client::Message::new("Orders", "42 apples").key("order-7")).await?;
//! # }
//! let options = ConsumerOptions::new("payments").subscribe("Orders", "*").consume_from(ConsumeFrom::FirstOffset);
//! let consumer = PushConsumer::start(&client, options, handler).await?;
//! # while consumer.totals().iter().map(|(_, totals)| totals.consumed).sum::<u64>() < 2 {
//! #     tokio::time::sleep(Duration::from_millis(5)).await;
//! # }
//! # let paid: i64 = sqlx::query_scalar("SELECT paid FROM orders WHERE id = 'order-7'").fetch_one(&pool).await?;
//! # assert_eq!(paid, 1, "two messages with one key");
//! # consumer.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! By lease, where the effect is somewhere else:
//!
//! ```
//! use oxmq_client::{Message, ReceivedMessage, idempotent::{ByLease, Handled, HandlerError, MemoryStore}};
//! use std::sync::Arc;
//!
//! # async fn charge(id: &str) -> Result<(), HandlerError> { Ok(()) }
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let handler = ByLease::new("payments", MemoryStore::new(100_000), |message: Arc<ReceivedMessage>| async move {
//!     // Whoever takes a key for idempotence should be given this one, too.
//!     charge(&message.keys().unwrap_or_default()).await
//! })?;
//!
//! let order = Arc::new(ReceivedMessage::from_message(Message::new("Orders", "42 apples").key("order-7")));
//! assert_eq!(handler.handle_message(&order).await?, Handled::Now);
//! assert_eq!(handler.handle_message(&order).await?, Handled::Before);
//! # Ok(())
//! # }
//! ```
//!
//! # Databases
//!
//! `InTransaction` and `SqlStore` are there with one of the features of this crate `sqlite`, `mysql` (also for MariaDB) and `postgres`,
//! which are all off by default. The program needs `sqlx` 0.8 besides.
//!
//! # What happens when
//!
//! | | in a transaction | by lease |
//! |---|---|---|
//! | the key is done | acknowledged, the handler does not run | the same |
//! | another process handles the key right now | waits for its end, or comes again; never acknowledged before the other has committed | comes again when the lease may have ended |
//! | the handler fails or panics | rolled back, the message comes again | the claim is given up, the message comes again |
//! | the handler takes longer than it may | dropped at its `.await` and rolled back, the message comes again | dropped at its `.await`, the claim is given up, the message comes again |
//! | the process dies before the handler has ended | the database rolls back, the message comes again | the message comes again, is put off until the lease has ended, and then is handled |
//! | the process dies after the effect, before the mark | cannot be: they are one commit | the same, so **the effect happens again** |
//! | the process dies between mark and acknowledgement | the message comes again and is acknowledged | the same |
//! | the database is not there | the message comes again; never acknowledged | the same |
//! | a commit without an answer | the message comes again; what the database knows decides | – |
//! | deadlock, conflict of transactions | tried again at once, [`CONFLICTS_MAX`] times, then the message comes again | the claim fails, the message comes again |
//!
//! Of a batch of several messages, the first that has to come again takes those behind it along.
//!
//! "Comes again" costs one of the message's tries (16 by default); what fails every time becomes a dead letter of the group.
//!
//! # Memory of the past
//!
//! A key that is done is remembered for the retention, 7 days by default, and then may be handled again. It must be longer than
//! messages can come again: than the broker keeps them (`fileReservedTime`, 72 h by default), since an offset can be
//! reset. Rows past their end are removed by [`Cleanup`], or by your own calls of [`ClaimStore::forget_expired`].
// Without a database their pages are not there.
#![cfg_attr(
    not(any(feature = "sqlite", feature = "mysql", feature = "postgres")),
    doc = "",
    doc = "[`InTransaction`]: #databases",
    doc = "[`SqlStore`]: #databases"
)]

mod batch;
mod cleanup;
mod key;
mod lease;
mod memory;
#[cfg(any(feature = "sqlite", feature = "mysql", feature = "postgres"))]
mod sql;
mod store;
#[cfg(test)]
mod tests;
#[cfg(any(feature = "sqlite", feature = "mysql", feature = "postgres"))]
mod transaction;

use std::{error::Error, time::Duration};

pub use cleanup::Cleanup;
pub use key::{KEY_BYTES_MAX, Key, KeyError, KeyOf, NAME_BYTES_MAX, WithoutKey};
pub use lease::{ByLease, MessageHandler};
pub use memory::MemoryStore;
#[cfg(any(feature = "sqlite", feature = "mysql", feature = "postgres"))]
pub use sql::{DEFAULT_TABLE, Sql, SqlStore};
pub use store::{Claim, ClaimStore, StoreError, Token};
#[cfg(any(feature = "sqlite", feature = "mysql", feature = "postgres"))]
pub use transaction::{InTransaction, TransactionHandler};

/// How often a handler in a transaction is run again for one delivery because its transaction was in conflict with another.
pub const CONFLICTS_MAX: u32 = 3;

/// How long a key that is done is remembered if nothing else is said: 7 days.
pub const RETENTION: Duration = Duration::from_secs(7 * 24 * 3600);

/// How long a handler may take if nothing else is said: as long as a consumer waits for it, 15 minutes.
const HANDLER_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// What a handler may fail with: any error, by `?`.
pub type HandlerError = Box<dyn Error + Send + Sync>;

/// What became of a message that was handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handled {
    /// The handler ran, and its key is done.
    Now,
    /// Its key was done already: the handler did not run.
    Before,
}

/// Why a message has to come again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandleError {
    /// It has no key, see [`WithoutKey`].
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Another process, or another message of this one, has the key, for this long at least.
    #[error("its key is being handled elsewhere, for {} ms more unless that is renewed", .0.as_millis())]
    Held(Duration),
    /// The handler says so.
    #[error("the handler failed: {0}")]
    Handler(#[source] HandlerError),
    /// The handler panicked.
    #[error("the handler panicked: {0}")]
    Panicked(String),
    /// The handler took too long and was ended.
    #[error("the handler took longer than {} ms and was ended", .0.as_millis())]
    TimedOut(Duration),
    /// The lease ended while the handler ran, or before its key was marked as done: another may have handled it since.
    #[error("the lease ended before the key was done, another may be handling it")]
    LeaseLost,
    /// The transaction ended under the handler: the database rolled it back (a deadlock whose error the handler did not pass
    /// on), or a statement of the handler committed it.
    #[error(
        "the transaction ended before the handler did: it must pass errors of the database on, and neither commit nor run DDL"
    )]
    TransactionGone,
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Runs a handler within `limit`; a panic becomes an error.
async fn guarded(
    limit: Duration,
    handler: impl Future<Output = Result<(), HandlerError>>,
) -> Result<(), HandleError> {
    use futures_util::FutureExt;
    let handler = std::panic::AssertUnwindSafe(handler).catch_unwind();
    match tokio::time::timeout(limit, handler).await {
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(Ok(Err(error))) => Err(HandleError::Handler(error)),
        Ok(Err(panic)) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            Err(HandleError::Panicked(text.unwrap_or_else(|| "no text".into())))
        }
        Err(_) => Err(HandleError::TimedOut(limit)),
    }
}
