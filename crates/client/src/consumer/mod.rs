// SPDX-License-Identifier: Apache-2.0
//! Consumers: what reads messages.
//!
//! | | who calls whom | queues | what failed |
//! |---|---|---|---|
//! | [`PushConsumer::start`] | your handler is called, many times at once | shared by the group | comes again later, then becomes a dead letter |
//! | [`PushConsumer::start_orderly`] | your handler is called, once at a time for each queue | shared and locked | is tried again at its place |
//! | [`LitePullConsumer`] | you poll | shared, or chosen by you | is your business |
//! | [`PullConsumer`] | you pull from an offset | chosen by you | is your business |
//!
//! # Begin
//!
//! ```no_run
//! use oxmq_client::{
//!     Client, ClientOptions,
//!     consumer::{Batch, ConsumeFrom, ConsumerOptions, PushConsumer},
//! };
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let client = Client::new(ClientOptions::new("127.0.0.1:9876"))?;
//!     let options = ConsumerOptions::new("payments")
//!         .subscribe("orders", "*")
//!         .consume_from(ConsumeFrom::FirstOffset);
//!     let consumer = PushConsumer::start(&client, options, |batch: Batch| async move {
//!         for message in &batch {
//!             println!("{}: {:?}", message.msg_id(), message.text());
//!         }
//!     })
//!     .await?;
//!     // Until somebody says that it is enough.
//!     tokio::time::sleep(std::time::Duration::from_secs(3600)).await;
//!     consumer.shutdown().await;
//!     client.shutdown().await;
//!     Ok(())
//! }
//! ```
//!
//! # Groups
//!
//! Consumers of one **group** share the work: each queue of a topic is read by one of them, so a group has at most as many
//! busy members as the topic has queues. Members find each other through the broker: when one comes or goes, the others
//! hear of it and all compute the new shares ([`Allocation`]). Members may be written in any language; they must want the
//! same topics with the same filters. A process is one member for each [`Client`](crate::Client) it makes.
//!
//! Each group reads all messages, whatever other groups do. With [`Model::Broadcasting`] each *member* does.
//!
//! # At least once
//!
//! For each queue the broker keeps the group's **committed offset**: the next message to consume. A push consumer commits the
//! first message that is not finished, every 5 s, with its pulls, when it lets a queue go and when it ends. So nothing is
//! passed over, and after a crash what was finished since is repeated. A handler must be able to bear that: it does
//! something that may be done twice, or it remembers what it did (by [`msg_id`](crate::ReceivedMessage::msg_id), or better
//! by a key of the application's).
//!
//! End a consumer with [`PushConsumer::shutdown`]: then nothing is repeated. If a queue changes its owner while handlers of
//! a *concurrent* consumer run, their messages are given to the new owner, too. An *orderly* one finishes first.
//!
//! # When a handler fails
//!
//! It says so by its [`Outcome`], by an error, or by a panic; or it takes longer than
//! [`ConsumerOptions::consume_timeout`]. A concurrent consumer then sends the message back to the broker, which brings it
//! again as a message of the topic `%RETRY%group` after 10 s, 30 s, 1 min and so on; the handler sees its own topic, and
//! how often it was tried ([`reconsume_times`](crate::ReceivedMessage::reconsume_times)). After 16 times it goes to
//! `%DLQ%group`, where `mqadmin` finds it. Meanwhile later messages are consumed. Only if the broker does not take it back
//! either, the handler gets it again, 5 s later.
//!
//! A message whose body cannot be read (damaged, or compressed in a way nobody knows) is given to no handler: it becomes a
//! dead letter at once, with an error in the log.
//!
//! # Bounds
//!
//! A consumer holds no more than it may ([`ConsumerOptions::queue_bounds`], [`ConsumerOptions::total_bounds`]): a slow
//! handler makes it stop pulling, not grow. [`PushConsumer::in_flight`] tells how much it holds, [`PushConsumer::totals`]
//! what it did, [`ConsumeHook`] is told of each batch. What `mqadmin consumerStatus`, `consumerProgress` and
//! `consumeMessage` ask of consumers is answered in the form of Java's clients.
//!
//! # How the modules fit
//!
//! Pure, with time as an argument: `allocate` (who reads what), `rebalance` (what to take and let go), `process_queue` (what
//! is unfinished, what may be committed), `start` (where to begin), `subscription` (filters). At the edge: `calls` asks
//! brokers, `pulling` is the task of a queue, `concurrent` and `orderly` give to the handler, `keeper` owns all tasks,
//! `pulse` keeps the runtime awake beside handlers that block it, and `answers` is what brokers and tools are told. `lite`
//! polls instead.

mod allocate;
mod answers;
mod calls;
mod concurrent;
mod handler;
mod held;
mod hook;
mod keeper;
mod lite;
mod local_offsets;
mod options;
mod orderly;
mod process_queue;
mod pull;
mod pulling;
mod pulse;
mod push;
mod rebalance;
mod shared;
mod start;
mod stats;
mod subscription;
#[cfg(test)]
mod testing;

pub use allocate::{AllocateError, Allocation, Rooms, VIRTUAL_NODES, java_order};
pub use calls::{PullStatus, RequestError};
pub use handler::{Batch, Handler, Outcome, blocking};
pub use hook::{ConsumeHook, Consumption, Ending};
pub use lite::{LiteError, LiteOptions, LitePullConsumer};
pub use local_offsets::LocalOffsetsError;
pub use options::{ConsumerOptions, ConsumerOptionsError, Model};
pub use pull::{PullConsumer, PullError, PullResult};
pub use push::{ConsumerError, PushConsumer, Shutdown};
pub use start::ConsumeFrom;
pub use stats::ConsumeTotals;
pub use subscription::{Filter, FilterError};
