// SPDX-License-Identifier: Apache-2.0
//! A client for Apache RocketMQ (4.9 and 5.x, over the remoting protocol) and OxMQ, on tokio.
//!
//! It knows what Java's classic client knows: sends of all kinds, consumers of all kinds, transactions, delays, requests with
//! replies, traces, ACL, TLS; and it works beside that client: members of one group may be written in either. It needs no OpenSSL
//! and no JVM.
//!
//! - First: [the words](#the-words), [begin](#begin)
//! - To send: [how safe is a message?](#how-safe-is-a-message-that-was-sent), [many at once](#many-at-once-and-none-to-wait-for),
//!   [order](#order), [later](#later), [transactions](#transactions), [requests with replies](#requests-with-replies)
//! - To consume: [`consumer`], and for what must happen once, [`idempotent`]
//! - To run it: [ACL and TLS](#who-asks-acl-and-tls), [errors and what to do](#when-something-goes-wrong),
//!   [runtime, threads and dropped futures](#runtime-threads-dropped-futures), [metrics, traces, log](#to-look-inside),
//!   [the end](#the-end), [tests of your own](#tests-of-your-own)
//! - [From Java's client](#from-javas-client): which class is which
//!
//! # The words
//!
//! A **broker** keeps messages. A **topic** is the name of a kind of messages; it has **queues** on one broker or several. A message
//! lies in one queue, at an **offset**, which counts messages from 0. A **name server** knows which broker has which queues; its
//! address is all that a client has to be told. A **producer** sends. A **consumer** reads as a member of a **group**: the members
//! share the queues, and each group gets all messages. By a **tag** consumers choose among the messages of a topic; by their
//! **keys** people find messages again (`mqadmin queryMsgByKey`).
//!
//! # Begin
//!
//! ```toml
//! [dependencies]
//! oxmq-client = "0.1"
//! tokio = { version = "1", features = ["rt-multi-thread", "macros"] }
//! ```
//!
//! A cluster to try it with is one command: `oxmq dev` starts a name server on port 9876 of this machine and a broker. The examples
//! on these pages are run by the tests, against such a pair.
//!
//! A [`Client`] is what producers and consumers of one program share: its id, its connections, what it knows of the cluster. Make
//! one, and from it a [`Producer`]:
//!
//! ```
//! use oxmq_client::{Client, ClientOptions, Message};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let cluster = oxmq_testkit::Cluster::start().await;
//! let name_server = "127.0.0.1:9876";
//! # let name_server = cluster.name_server();
//! let client = Client::new(ClientOptions::new(name_server))?;
//! let producer = client.producer("shop").start()?;
//!
//! let order = Message::new("Orders", "42 apples").tag("created").key("order-7");
//! let sent = producer.send(order).await?;
//! println!("{sent}");
//! # Ok(())
//! # }
//! ```
//!
//! [`Client::new`] asks nobody yet; whether the name server answers shows with the first send. A topic that does not exist is
//! created by that send, unless the brokers are set up not to (`autoCreateTopicEnable=false`).
//!
//! And a consumer; all about it stands in [`consumer`]. How both end says [the end](#the-end).
//!
//! ```
//! use oxmq_client::consumer::{Batch, ConsumeFrom, ConsumerOptions, PushConsumer};
//!
//! # use oxmq_client::{Client, ClientOptions, Message};
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let cluster = oxmq_testkit::Cluster::start().await;
//! # let client = Client::new(ClientOptions::new(cluster.name_server()))?;
//! # client.producer("shop").start()?.send(Message::new("Orders", "42 apples").tag("created")).await?;
//! # let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
//! let options = ConsumerOptions::new("shipping").subscribe("Orders", "created").consume_from(ConsumeFrom::FirstOffset);
//! let consumer = PushConsumer::start(&client, options, move |batch: Batch| {
//! #     let tell = tell.clone();
//!     async move {
//!         for order in &batch {
//!             println!("{}: {:?}", order.msg_id(), order.text());
//! #             tell.send(order.text().map(ToOwned::to_owned)).unwrap();
//!         }
//!     }
//! })
//! .await?;
//! // Here the program waits until it is to end, for example for `tokio::signal::ctrl_c()`.
//! # assert_eq!(told.recv().await.flatten().as_deref(), Some("42 apples"));
//! consumer.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! # How safe is a message that was sent?
//!
//! [`SendResult::status`] says it. [`SendStatus::SendOk`]: as safe as the broker's flush and replication mode make it. The
//! others: stored, will be delivered, but the disk or the slave did not confirm in time.
//!
//! An error says that no broker has confirmed it. That is not always the same as not stored: if the connection was lost
//! before the answer came, the message may be there. [`SendError::may_be_stored`] tells the two apart:
//!
//! ```
//! # use oxmq_client::{Client, ClientOptions, Message};
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let cluster = oxmq_testkit::Cluster::start().await;
//! # let producer = Client::new(ClientOptions::new(cluster.name_server()))?.producer("shop").start()?;
//! # let order = Message::new("Orders", "42 apples");
//! # let mut stored = false;
//! match producer.send(order).await {
//!     Ok(sent) => {
//!         println!("stored: {}", sent.msg_id);
//! #         stored = true;
//!     }
//!     Err(error) if error.may_be_stored() => println!("perhaps stored: {error}"),
//!     Err(error) => println!("not stored: {error}"),
//! }
//! # assert!(stored);
//! # Ok(())
//! # }
//! ```
//!
//! Before that error comes, the producer has tried other brokers ([`ProducerOptions::retries`], 2 by default) as long as its time
//! allows ([`ProducerOptions::send_timeout`], 3 s for all attempts). So a message may be stored twice; both copies have one id
//! ([`SendResult::msg_id`]), by which consumers can tell.
//!
//! # Many at once, and none to wait for
//!
//! A send is a future, and nothing is spawned for it. To have many under way, have many futures:
//!
//! ```
//! use futures_util::future::try_join_all;
//!
//! # use oxmq_client::{Client, ClientOptions, Message};
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let cluster = oxmq_testkit::Cluster::start().await;
//! # let producer = Client::new(ClientOptions::new(cluster.name_server()))?.producer("shop").start()?;
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
//! ```
//! # use oxmq_client::{Client, ClientOptions, Message};
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let cluster = oxmq_testkit::Cluster::start().await;
//! # let producer = Client::new(ClientOptions::new(cluster.name_server()))?.producer("shop").start()?;
//! # let mut queues = std::collections::HashSet::new();
//! for step in ["created", "paid", "shipped"] {
//!     let sent = producer.send_ordered(Message::new("Orders", step), "order-7").await?;
//!     println!("{step}: {} in {}", sent.queue_offset, sent.queue);
//! #     queues.insert(sent.queue);
//! }
//! # assert_eq!(queues.len(), 1);
//! # Ok(())
//! # }
//! ```
//!
//! [`Producer::send_to`] and [`Producer::send_by`] name the queue themselves. All of these go to that queue or fail: there is
//! no other broker to try. Who reads in order is [`PushConsumer::start_orderly`](consumer::PushConsumer::start_orderly).
//!
//! # Later
//!
//! ```
//! use oxmq_client::Message;
//! use std::time::{Duration, SystemTime};
//!
//! # use oxmq_client::{Client, ClientOptions};
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let cluster = oxmq_testkit::Cluster::start().await;
//! # let producer = Client::new(ClientOptions::new(cluster.name_server()))?.producer("shop").start()?;
//! // By a level of the broker's table, on all versions: 3 is 10 s.
//! let by_level = Message::new("Reminders", "pay").delay_level(3);
//! // By time: version 5 and OxMQ.
//! let then = Message::new("Reminders", "pay").deliver_at(SystemTime::now() + Duration::from_secs(90));
//! let in_two_hours = Message::new("Reminders", "pay").delay(Duration::from_secs(7200));
//!
//! let sent = producer.send(in_two_hours).await?;
//! // What has a time and is not due yet can be taken back, if the broker has `recallMessageEnable=true` (5.3.2 and later, OxMQ).
//! if let Some(handle) = &sent.recall_handle {
//!     producer.recall("Reminders", handle).await?;
//! }
//! # assert!(sent.recall_handle.is_some() && by_level.is_delayed() && then.is_delayed());
//! # Ok(())
//! # }
//! ```
//!
//! # Transactions
//!
//! A message that must be seen if and only if a database transaction commits: the producer sends a *half message*, which
//! nobody sees; the application commits or rolls back its own transaction; then the half message is committed or rolled
//! back. If the process dies between, the broker asks any producer of the group what became of it, so the answer has to come
//! from the database:
//!
//! ```
//! use oxmq_client::{Message, ReceivedMessage, TransactionState};
//!
//! # use oxmq_client::{Client, ClientOptions};
//! # async fn payment_is_booked(id: &str) -> bool { true }
//! # async fn book_payment(id: &str) -> Result<(), ()> { Ok(()) }
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let cluster = oxmq_testkit::Cluster::start().await;
//! # let client = Client::new(ClientOptions::new(cluster.name_server()))?;
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
//! println!("{:?}, the broker knows: {}", result.state, result.confirmed);
//! # assert!(result.state == TransactionState::Commit && result.confirmed);
//! # Ok(())
//! # }
//! ```
//!
//! # Requests with replies
//!
//! [`Producer::request`] sends a message and waits for the reply; whoever consumes it sends [`reply_to`]:
//!
//! ```
//! use oxmq_client::{Message, SendError, reply_to};
//! use std::time::Duration;
//!
//! # use oxmq_client::{Client, ClientOptions, consumer::{Batch, ConsumeFrom, ConsumerOptions, PushConsumer}};
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let cluster = oxmq_testkit::Cluster::start().await;
//! # let client = Client::new(ClientOptions::new(cluster.name_server()))?;
//! # let producer = client.producer("shop").start()?;
//! # let options = ConsumerOptions::new("clerks").subscribe("Prices", "*").consume_from(ConsumeFrom::FirstOffset);
//! let clerk = producer.clone();
//! let consumer = PushConsumer::start(&client, options, move |batch: Batch| {
//!     let clerk = clerk.clone();
//!     async move {
//!         for question in &batch {
//!             if let Some(reply) = reply_to(question, "3 EUR") {
//!                 clerk.send(reply).await?;
//!             }
//!         }
//!         Ok::<(), SendError>(())
//!     }
//! })
//! .await?;
//!
//! let reply = producer.request(Message::new("Prices", "apples"), Duration::from_secs(10)).await?;
//! assert_eq!(reply.text(), Some("3 EUR"));
//! # consumer.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! A reply reaches the process that asked, and only while it waits.
//!
//! # Who asks: ACL and TLS
//!
//! ```
//! use oxmq_client::{ClientOptions, Credentials, Tls};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let authority = rcgen::generate_simple_self_signed(vec!["broker.example".into()])?.cert.pem();
//! # let authority = authority.as_bytes();
//! // `authority`: the PEM file of whoever signed the certificates of the brokers.
//! let options = ClientOptions::new("broker.example:9876")
//!     .credentials(Credentials::new("RocketMQ", "12345678"))
//!     .tls(Tls::trusting(authority)?);
//! # Ok(())
//! # }
//! ```
//!
//! A [`Credentials`] pair signs each request; without TLS it does not hide it. [`Tls`] counts for name servers and brokers alike, and
//! certificates have to name the address that is dialled: else see [`Tls::expecting`]. [`Tls::mutual`] shows a certificate of our own.
//!
//! # When something goes wrong
//!
//! Errors are small enums for each operation, and their text says what to do: that no name server answers and which were
//! tried, that a broker listens where a name server was expected, which brokers refused and why.
//!
//! | error | what to do |
//! |---|---|
//! | [`OptionsError`], [`StartError::GroupTaken`], [`ConsumerOptionsError`](consumer::ConsumerOptionsError), [`SendError::Message`] | The program is wrong: nothing was sent, and trying again does not help. |
//! | [`RouteError::NameServers`], [`RouteError::NotANameServer`], [`RouteError::NoBroker`] | Address or network are wrong, or the cluster is down. Nothing was sent; try later. |
//! | [`RouteError::TopicNotFound`], [`SendError::NoWriteQueue`] | Create the topic, or look at its permission: `mqadmin updateTopic`, `mqadmin topicRoute`. |
//! | [`SendError::Failed`] and [`may_be_stored`](SendError::may_be_stored) | An answer was lost: send again if twice is better than not at all. |
//! | [`SendError::Failed`] with the [`code`](SendError::code) [`SYSTEM_BUSY`](code::SYSTEM_BUSY) or [`SERVICE_NOT_AVAILABLE`](code::SERVICE_NOT_AVAILABLE) | All brokers that were tried have too much to do: send later and slower. |
//! | [`NO_PERMISSION`](code::NO_PERMISSION) | The topic or broker is read only, or the credentials do not allow it. |
//! | [`RequestError::Timeout`] | Nobody replied in time; somebody may still do what was asked. |
//! | an error of your handler | Return it: the message comes again, see [`consumer`]. |
//!
//! # Runtime, threads, dropped futures
//!
//! - A [`Client`] lives on the tokio runtime in which it was made; time and I/O must be enabled there. One thread is enough
//!   (`flavor = "current_thread"`), and takes a third less time for a message than two that wake each other. Its futures may be awaited on any runtime that has time. A program without async code makes a
//!   runtime and calls its `block_on`.
//! - Nothing here blocks a thread; bodies of 4 KiB and more are compressed in the future that sends them. A *handler* that blocks
//!   belongs into [`consumer::blocking`].
//! - [`Client`], [`Producer`], [`Tracer`] and [`consumer::PullConsumer`] are cheap to clone and serve any number of tasks at once.
//! - All that is asked of servers has a time limit: connections and single requests 3 s ([`ClientOptions`]), sends 3 s with all
//!   attempts ([`ProducerOptions`]), what consumers ask 5 s, pulls as long as the broker may hold them.
//! - Every future may be dropped at any time. Of a dropped send it is not known whether the message was stored; of a dropped batch,
//!   how many parts. After a dropped [`Producer::send_in_transaction`] a broker asks the listener. A dropped
//!   [`poll`](consumer::LitePullConsumer::poll) has taken no message. A consumer whose `shutdown` was dropped ends all the same.
//! - Servers are not believed: lengths are checked, and an answer that makes no sense is an error.
//!
//! # To look inside
//!
//! ```
//! use oxmq_client::Tracer;
//!
//! # use oxmq_client::{Client, ClientOptions, Message};
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let cluster = oxmq_testkit::Cluster::start().await;
//! # let client = Client::new(ClientOptions::new(cluster.name_server()))?;
//! let tracer = Tracer::new(&client)?;
//! let producer = client.producer("shop").hook(tracer.hook()).start()?;
//! producer.send(Message::new("Orders", "42 apples")).await?;
//!
//! let numbers = producer.metrics();
//! println!("{} sent, {} µs each", numbers.sent, numbers.sent_micros / numbers.sent);
//! producer.shutdown().await;
//! # assert_eq!((numbers.sent, numbers.failed, tracer.dropped()), (1, 0, 0));
//! # Ok(())
//! # }
//! ```
//!
//! - [`Producer::metrics`], [`PushConsumer::totals`](consumer::PushConsumer::totals) and
//!   [`in_flight`](consumer::PushConsumer::in_flight) count; read them as often as you like.
//! - [`SendHook`] is told of every attempt to send, [`ConsumeHook`](consumer::ConsumeHook) of every batch.
//! - [`Tracer`] is both, and writes RocketMQ's message trace, which `mqadmin queryMsgTraceById` reads. Brokers need
//!   `traceTopicEnable=true`.
//! - The log goes through `tracing`: what loses or delays something is a warning or an error, an attempt that failed is `debug`, and
//!   sends and calls of handlers are spans of that level.
//!
//! # The end
//!
//! ```
//! # use oxmq_client::{Client, ClientOptions, consumer::{Batch, ConsumerOptions, PushConsumer}};
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let cluster = oxmq_testkit::Cluster::start().await;
//! # let client = Client::new(ClientOptions::new(cluster.name_server()))?;
//! # let producer = client.producer("shop").start()?;
//! # let consumer = PushConsumer::start(&client, ConsumerOptions::new("g").subscribe("T", "*"), |_: Batch| async {}).await?;
//! let ended = consumer.shutdown().await; // its handlers may still send
//! producer.shutdown().await;
//! client.shutdown().await;
//! assert_eq!(ended.unfinished_handlers, 0);
//! # Ok(())
//! # }
//! ```
//!
//! [`Producer::shutdown`] waits for what is under way, at most the send timeout, and tells the brokers;
//! [`PushConsumer::shutdown`](consumer::PushConsumer::shutdown) waits for handlers and commits; [`Client::shutdown`] closes the
//! connections. Dropping ends tasks and connections, too, but commits nothing and tells nobody: what was consumed in the last seconds
//! comes again, and the queues of a dropped consumer go to others when the connections of its client close, else after two minutes.
//!
//! # Tests of your own
//!
//! A handler is a function of a batch, and needs no server:
//!
//! ```
//! use oxmq_client::{Message, ReceivedMessage, consumer::{Batch, Handler, Outcome}};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let handler = |batch: Batch| async move {
//!     if batch.iter().all(|order| order.keys().is_some()) { Outcome::Success } else { Outcome::DeadLetter }
//! };
//!
//! let order = ReceivedMessage::from_message(Message::new("Orders", "42 apples"));
//! let batch = Batch::new(order.queue().into(), [order.into()]);
//! assert_eq!(handler.handle(batch).await, Outcome::DeadLetter);
//! # }
//! ```
//!
//! For a test with a server start `oxmq dev` with a folder and ports of its own (`--data`, `--namesrv-port`, `--broker-port`): it is
//! up in a moment, its topics are made by their first message, and `ClientOptions::default()` takes its address from the
//! environment variable [`NAMESRV_ADDR`].
//!
//! # From Java's client
//!
//! | Java | here |
//! |---|---|
//! | `ClientConfig`, `setNamesrvAddr`, `NAMESRV_ADDR` | [`ClientOptions`] |
//! | `DefaultMQProducer` | [`Client::producer`], [`Producer`]; its setters: [`ProducerOptions`] |
//! | `send(msg)`, `send(msg, timeout)` | [`send`](Producer::send), [`send_within`](Producer::send_within) |
//! | `send(msg, SendCallback)` | [`send`](Producer::send) without awaiting each: the future is the callback |
//! | `sendOneway` | [`send_one_way`](Producer::send_one_way) |
//! | `send(msg, MessageQueue)`, `send(msg, MessageQueueSelector, arg)` | [`send_to`](Producer::send_to), [`send_by`](Producer::send_by) |
//! | `SelectMessageQueueByHash` | [`send_ordered`](Producer::send_ordered) |
//! | `send(Collection<Message>)` | [`send_batch`](Producer::send_batch), which also divides what is too large |
//! | `TransactionMQProducer`, `TransactionListener` | [`transaction_listener`](ProducerBuilder::transaction_listener), [`send_in_transaction`](Producer::send_in_transaction) |
//! | `request`, `MessageUtil.createReplyMessage` | [`request`](Producer::request), [`reply_to`] |
//! | `recallMessage` | [`recall`](Producer::recall) |
//! | `DefaultMQPushConsumer` with `MessageListenerConcurrently` | [`PushConsumer::start`](consumer::PushConsumer::start); its setters: [`ConsumerOptions`](consumer::ConsumerOptions) |
//! | … with `MessageListenerOrderly` | [`PushConsumer::start_orderly`](consumer::PushConsumer::start_orderly) |
//! | `ConsumeConcurrentlyStatus`, `ConsumeOrderlyStatus`, `setAckIndex`, `setDelayLevelWhenNextConsume` | [`Outcome`](consumer::Outcome) |
//! | `DefaultLitePullConsumer` | [`LitePullConsumer`](consumer::LitePullConsumer) |
//! | `DefaultMQPullConsumer` | [`PullConsumer`](consumer::PullConsumer) |
//! | `MessageSelector`, `MessageModel`, `ConsumeFromWhere` | [`Filter`](consumer::Filter), [`Model`](consumer::Model), [`ConsumeFrom`](consumer::ConsumeFrom) |
//! | `AllocateMessageQueueStrategy` | [`Allocation`](consumer::Allocation), with the same results |
//! | `Message`, `MessageExt`, `MessageConst` | [`Message`], [`ReceivedMessage`], [`property`] |
//! | `MessageQueue`, `SendResult`, `SendStatus` | the same names |
//! | `MQClientException`, `RemotingException`, `MQBrokerException` | [`SendError`], with [`Cause::Call`] and [`Cause::Refused`] |
//! | `AclClientRPCHook`, `setUseTLS` | [`Credentials`], [`Tls`] |
//! | `enableMsgTrace`, `SendMessageHook`, `ConsumeMessageHook` | [`Tracer`], [`SendHook`], [`ConsumeHook`](consumer::ConsumeHook) |
//! | `DefaultMQAdminExt` | not here: `mqadmin` |
//! | POP consumption, the gRPC clients of 5.x | not here |
//!
//! Defaults are Java's. What behaves otherwise, and why, stands in `docs/differences.md` of the repository; what you may notice
//! first: `shutdown` waits for handlers, a handler that takes longer than 15 minutes is ended, and a delayed message cannot be a half
//! message.
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
    BodyFault, DecodeError, Message, MessageError, MessageQueue, ReceivedMessage, RecordErrorText,
    SendResult, SendStatus, property,
};
pub use metrics::ProducerNumbers;
pub use options::{ClientOptions, NAMESRV_ADDR, OptionsError};
#[doc(inline)]
pub use oxmq_net::{Answer, CallError, NoService, Peer, Reply, ReplyFields, Request, Service, Tls, TlsError};
#[doc(inline)]
pub use oxmq_remoting::{Body, Command, Encoding, FieldValue, Header, bodies::TopicRouteData, code};
#[doc(inline)]
pub use oxmq_types::NameError;
pub use producer::{
    Attempt, BatchError, Cause, Checking, HalfMessage, Producer, ProducerBuilder, ProducerOptions,
    RequestError, SendContext, SendError, SendHook, SendKind, TransactionListener, TransactionResult,
    TransactionState, reply_to,
};
pub use remote::{Remote, RemoteOptions};
pub use route::Route;
pub use trace::{SendTrace, TRACE_TOPIC, Tracer};
