// SPDX-License-Identifier: Apache-2.0
//! Consumers: what reads messages.
//!
//! [Begin](#begin) · [groups](#groups) · [at least once](#at-least-once) · [when a handler fails](#when-a-handler-fails) ·
//! [order](#order) · [asking instead of being called](#asking-instead-of-being-called) · [bounds](#bounds)
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
//! ```
//! use oxmq_client::{
//!     Client, ClientOptions,
//!     consumer::{Batch, ConsumeFrom, ConsumerOptions, PushConsumer},
//! };
//!
//! # use oxmq_client::Message;
//! # async fn pay(order: &str) -> Result<(), std::io::Error> { Ok(()) }
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let cluster = oxmq_testkit::Cluster::start().await;
//! let name_server = "127.0.0.1:9876";
//! # let name_server = cluster.name_server();
//! let client = Client::new(ClientOptions::new(name_server))?;
//! # client.producer("shop").start()?.send(Message::new("Orders", "42 apples")).await?;
//! # let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
//! let options = ConsumerOptions::new("payments")
//!     .subscribe("Orders", "*")
//!     .consume_from(ConsumeFrom::FirstOffset);
//! let consumer = PushConsumer::start(&client, options, move |batch: Batch| {
//! #     let tell = tell.clone();
//!     async move {
//!         for message in &batch {
//!             // An error brings the message again, later.
//!             pay(message.text().unwrap_or_default()).await?;
//! #             tell.send(()).unwrap();
//!         }
//!         Ok::<(), std::io::Error>(())
//!     }
//! })
//! .await?;
//! // Here the program waits until it is to end.
//! # told.recv().await.unwrap();
//! let ended = consumer.shutdown().await;
//! client.shutdown().await;
//! # assert_eq!((ended.unfinished_handlers, ended.uncommitted_queues), (0, 0));
//! # Ok(())
//! # }
//! ```
//!
//! # Groups
//!
//! Consumers of one **group** share the work: each queue of a topic is read by one of them, so a group has at most as many
//! busy members as the topic has queues. Members find each other through the broker: when one comes or goes, the others
//! hear of it and all compute the new shares ([`Allocation`]). Members may be written in any language; they must want the
//! same topics with the same filters. A process is one member for each [`Client`](crate::Client) it makes.
//!
//! Each group reads all messages, whatever other groups do. With [`Model::Broadcasting`] each *member* does. Where a group begins
//! that is new to a queue says [`ConsumeFrom`]; [`Filter`] says which messages it wants. A topic that does
//! not exist yet is looked for every second.
//!
//! # At least once
//!
//! For each queue the broker keeps the group's **committed offset**: the next message to consume. A push consumer commits the
//! first message that is not finished, every 5 s, with its pulls, when it lets a queue go and when it ends. So nothing is
//! passed over, and after a crash what was finished since is repeated. A handler must be able to bear that: it does
//! something that may be done twice, or it remembers what it did: [`idempotent`](crate::idempotent) does that off the shelf.
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
//! # Order
//!
//! [`PushConsumer::start_orderly`] consumes each queue in its order: the next batch of a queue begins when the one before it
//! succeeded. What fails is tried again at its place after a second, for ever unless [`ConsumerOptions::max_reconsume_times`] says
//! otherwise, and its queue stands still meanwhile. What has to stay in order must be sent to one queue:
//! [`Producer::send_ordered`](crate::Producer::send_ordered). Queues run side by side, up to [`ConsumerOptions::concurrency`].
//!
//! # Asking instead of being called
//!
//! A [`LitePullConsumer`] is a member of its group whose application asks for messages when it wants some:
//!
//! ```
//! use oxmq_client::consumer::{ConsumeFrom, LiteOptions, LitePullConsumer};
//! use std::time::Duration;
//!
//! # use oxmq_client::{Client, ClientOptions, Message};
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let cluster = oxmq_testkit::Cluster::start().await;
//! # let client = Client::new(ClientOptions::new(cluster.name_server()))?;
//! # client.producer("shop").start()?.send(Message::new("Orders", "42 apples")).await?;
//! # let mut got = 0;
//! let options = LiteOptions::new("audit").consume_from(ConsumeFrom::FirstOffset);
//! let consumer = LitePullConsumer::start(&client, options).await?;
//! consumer.subscribe("Orders", "*").await?;
//! loop {
//!     let messages = consumer.poll(Duration::from_secs(5)).await;
//!     if messages.is_empty() {
//!         break; // none came within 5 s
//!     }
//!     for message in &messages {
//!         println!("{:?}", message.text());
//! #         got += 1;
//!     }
//! #     if got > 0 { break }
//! }
//! consumer.shutdown().await;
//! # assert_eq!(got, 1);
//! # Ok(())
//! # }
//! ```
//!
//! A [`PullConsumer`] is a member of nothing: it reads where it is told to.
//!
//! ```
//! use oxmq_client::consumer::{Filter, PullConsumer, PullStatus};
//!
//! # use oxmq_client::{Client, ClientOptions, Message};
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let cluster = oxmq_testkit::Cluster::start().await;
//! # let client = Client::new(ClientOptions::new(cluster.name_server()))?;
//! # client.producer("shop").start()?.send(Message::new("Orders", "42 apples")).await?;
//! # let mut got = 0;
//! let reader = PullConsumer::new(&client, "replay")?;
//! for queue in reader.queues("Orders").await? {
//!     let mut offset = reader.min_offset(&queue).await?;
//!     loop {
//!         let pulled = reader.pull(&queue, &Filter::all(), offset, 32).await?;
//!         if pulled.status == PullStatus::NothingNew {
//!             break;
//!         }
//!         for message in &pulled.messages {
//!             println!("{}: {:?}", message.queue_offset(), message.text());
//! #             got += 1;
//!         }
//!         offset = pulled.next_offset;
//!     }
//! }
//! # assert_eq!(got, 1);
//! # Ok(())
//! # }
//! ```
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
