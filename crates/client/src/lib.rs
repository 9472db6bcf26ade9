// SPDX-License-Identifier: Apache-2.0
//! A client for Apache RocketMQ (4.9 and 5.x, over the remoting protocol) and OxMQ, on tokio.
//!
//! It knows what the Java client knows: sends of all kinds, transactions, delays, requests with replies, traces, ACL, TLS;
//! and is made to work with Java's brokers, consumers and tools side by side. It needs no OpenSSL and no JVM.
//!
//! # Begin
//!
//! ```toml
//! [dependencies]
//! oxmq-client = "0.1"
//! tokio = { version = "1", features = ["rt-multi-thread", "macros"] }
//! ```
//!
//! A cluster to try it with is one command: `oxmq dev` starts a name server on port 9876 and a broker.
//!
//! A [`Client`] is what producers and consumers of one program share: its id, its connections, what it knows of the cluster.
//! Make one, and from it a [`Producer`]:
//!
//! ```no_run
//! use oxmq_client::{Client, ClientOptions, Message};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::new(ClientOptions::new("127.0.0.1:9876"))?;
//! let producer = client.producer("shop").start()?;
//!
//! let order = Message::new("Orders", "42 apples").tag("created").key("order-7");
//! let sent = producer.send(order).await?;
//! println!("{sent}");
//!
//! producer.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! [`Client::new`] asks nobody yet; whether the name server answers shows with the first send. Without a broker that knows
//! the topic `Orders`, brokers create it, unless they are set up not to (`autoCreateTopicEnable=false`).
//!
//! # How safe is a message that was sent?
//!
//! [`SendResult::status`] says it. [`SendStatus::SendOk`]: as safe as the broker's flush and replication mode make it. The
//! others: stored, will be delivered, but the disk or the slave did not confirm in time.
//!
//! An error says that no broker has confirmed it. That is not always the same as not stored: if the connection was lost
//! before the answer came, the message may be there. [`SendError::may_be_stored`] tells the two apart:
//!
//! ```no_run
//! # use oxmq_client::{Message, Producer};
//! # async fn example(producer: &Producer, order: Message) {
//! match producer.send(order).await {
//!     Ok(sent) => println!("stored: {}", sent.msg_id),
//!     Err(error) if error.may_be_stored() => println!("perhaps stored: {error}"),
//!     Err(error) => println!("not stored: {error}"),
//! }
//! # }
//! ```
//!
//! Before that error comes, the producer has tried other brokers ([`ProducerOptions::retries`]) as long as its time allows
//! ([`ProducerOptions::send_timeout`], 3 s for all attempts). So a message may be stored twice; both copies have one id
//! ([`SendResult::msg_id`]), by which consumers can tell.
//!
//! # Many at once, and none to wait for
//!
//! A send is a future, and nothing is spawned for it. To have many under way, have many futures:
//!
//! ```no_run
//! # use oxmq_client::{Message, Producer, SendError};
//! use futures_util::future::try_join_all;
//!
//! # async fn example(producer: &Producer) -> Result<(), SendError> {
//! let sends = (0..1000).map(|n| producer.send(Message::new("Orders", format!("order {n}"))));
//! let all = try_join_all(sends).await?;
//! assert_eq!(all.len(), 1000);
//! # Ok(())
//! # }
//! ```
//!
//! They wait for their turn when the connection cannot keep up. [`Producer::send_one_way`] does not wait for an answer: for
//! what may get lost. [`Producer::send_batch`] puts many small messages into few requests, as large as brokers allow.
//!
//! # Order
//!
//! Messages of one queue come in their order. [`Producer::send_ordered`] sends all messages with one key to one queue;
//! await each before you send the next of that key:
//!
//! ```no_run
//! # use oxmq_client::{Message, Producer, SendError};
//! # async fn example(producer: &Producer) -> Result<(), SendError> {
//! for step in ["created", "paid", "shipped"] {
//!     producer.send_ordered(Message::new("Orders", step), "order-7").await?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! [`Producer::send_to`] and [`Producer::send_by`] name the queue themselves. All of these go to that queue or fail: there is
//! no other broker to try.
//!
//! # Later
//!
//! ```
//! use oxmq_client::Message;
//! use std::time::{Duration, SystemTime};
//!
//! // By a level of the broker's table, on all versions: 3 is 10 s.
//! let by_level = Message::new("Reminders", "pay").delay_level(3);
//! // By time: version 5 and OxMQ.
//! let in_two_hours = Message::new("Reminders", "pay").delay(Duration::from_secs(7200));
//! let then = Message::new("Reminders", "pay").deliver_at(SystemTime::now() + Duration::from_secs(90));
//! assert!(by_level.is_delayed() && in_two_hours.is_delayed() && then.is_delayed());
//! ```
//!
//! [`SendResult::recall_handle`] and [`Producer::recall`] take back one that is not due yet.
//!
//! # Transactions
//!
//! A message that must be seen if and only if a database transaction commits: the producer sends a *half message*, which
//! nobody sees; the application commits or rolls back its own transaction; then the half message is committed or rolled
//! back. If the process dies between, the broker asks any producer of the group what became of it, so the answer has to come
//! from the database:
//!
//! ```no_run
//! # use oxmq_client::{Client, Message, ReceivedMessage, SendError, TransactionState};
//! # async fn payment_is_booked(id: &str) -> bool { true }
//! # async fn book_payment(id: &str) -> Result<(), ()> { Ok(()) }
//! # async fn example(client: &Client) -> Result<(), Box<dyn std::error::Error>> {
//! let producer = client
//!     .producer("payments")
//!     .transaction_listener(|half: ReceivedMessage| async move {
//!         let id = half.keys().unwrap_or_default().into_owned();
//!         if payment_is_booked(&id).await { TransactionState::Commit } else { TransactionState::Unknown }
//!     })
//!     .start()?;
//!
//! let message = Message::new("Paid", "order-7").key("order-7");
//! let result = producer
//!     .send_in_transaction(message, async |_half| match book_payment("order-7").await {
//!         Ok(()) => TransactionState::Commit,
//!         Err(()) => TransactionState::Rollback,
//!     })
//!     .await?;
//! println!("{:?}", result.state);
//! # Ok(())
//! # }
//! ```
//!
//! # Requests with replies
//!
//! [`Producer::request`] sends a message and waits for the reply; whoever consumes it sends [`reply_to`].
//!
//! # Who asks: ACL and TLS
//!
//! ```
//! use oxmq_client::{ClientOptions, Credentials, Tls};
//!
//! # fn example(authority: &[u8]) -> Result<(), oxmq_client::TlsError> {
//! let options = ClientOptions::new("broker.example:9876")
//!     .credentials(Credentials::new("RocketMQ", "12345678"))
//!     .tls(Tls::trusting(authority)?);
//! # Ok(())
//! # }
//! ```
//!
//! # When something goes wrong
//!
//! Errors are small enums for each operation, and their text says what to do: that no name server answers and which were
//! tried, that a broker listens where a name server was expected, which brokers refused and why. Every call has a time limit;
//! every future can be dropped at any time. Servers are not believed: lengths are checked, and an answer that makes no
//! sense is an error.
//!
//! # The end
//!
//! [`Producer::shutdown`] waits for what is under way and tells the brokers; [`Client::shutdown`] closes the connections.
//! Dropping does the same without waiting: the task of the client ends, connections close, and brokers notice that.
//!
//! # To look inside
//!
//! [`Producer::metrics`] counts; sends are spans of `tracing` at level `debug`; [`SendHook`] is told of every attempt, and
//! [`Tracer`] is one that writes RocketMQ's message trace, for `mqadmin queryMsgTraceById`.
//!
//! # How the modules fit
//!
//! For those who change this crate:
//! - `remote` asks one server one thing, signed (`acl`) and encrypted; `oxmq-net` has the connections.
//! - `instance` is a [`Client`]: id, name servers, routes, heartbeats, and who gets what brokers ask. Its `Member` trait is
//!   what a producer or a consumer is to it: `Client::join` adds one, `Client::leave` removes it.
//! - `route` (pure) makes of a name server's answer what producers and consumers need.
//! - [`idempotent`] makes a handler run once for a key.
//! - `message` has what is sent and received; `compression` its bodies; `ids` makes ids.
//! - `producer` sends; [`consumer`] gives to handlers; `trace` tells of both.
#![forbid(unsafe_code)]

mod acl;
mod compression;
pub mod consumer;
mod error;
pub mod idempotent;
mod ids;
mod instance;
mod message;
mod metrics;
mod options;
mod producer;
mod remote;
mod route;
mod trace;

pub use acl::Credentials;
pub use compression::Compression;
pub use error::{NameServersError, RouteError, StartError};
pub use ids::next_unique_id;
pub use instance::Client;
pub use message::{
    BodyFault, DecodeError, Message, MessageError, MessageQueue, ReceivedMessage, SendResult, SendStatus,
    property,
};
pub use metrics::ProducerNumbers;
pub use options::{ClientOptions, NAMESRV_ADDR, OptionsError};
pub use oxmq_net::{Answer, CallError, NoService, Peer, Reply, ReplyFields, Request, Service, Tls, TlsError};
pub use oxmq_remoting::{Command, Encoding, code};
pub use producer::{
    Attempt, BatchError, Cause, Checking, HalfMessage, Producer, ProducerBuilder, ProducerOptions,
    RequestError, SendContext, SendError, SendHook, SendKind, TransactionListener, TransactionResult,
    TransactionState, reply_to,
};
pub use remote::{Remote, RemoteOptions};
pub use route::Route;
pub use trace::{SendTrace, TRACE_TOPIC, Tracer};
