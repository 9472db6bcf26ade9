// SPDX-License-Identifier: Apache-2.0
//! A client for Apache RocketMQ and OxMQ, on tokio.
//!
//! How the modules fit:
//! - `remote` asks one server one thing, signed (`acl`) and encrypted; `oxmq-net` has the connections.
//! - `instance` is a [`Client`]: id, name servers, routes, heartbeats, and who gets what brokers ask. Its `Member` trait is
//!   what a producer or a consumer is to it: `Client::join` adds one, `Client::leave` removes it.
//! - `route` (pure) makes of a name server's answer what producers and consumers need.
//! - [`idempotent`] makes a handler run once for a key.
//! - `message` has what is sent and received; `compression` its bodies; `ids` makes ids.
#![forbid(unsafe_code)]
#![allow(dead_code)] // Parts that the producer will use.

mod acl;
mod compression;
pub mod consumer;
mod error;
pub mod idempotent;
mod ids;
mod instance;
mod message;
mod options;
mod remote;
mod route;

pub use acl::Credentials;
pub use compression::Compression;
pub use error::{NameServersError, RouteError, StartError};
pub use instance::Client;
pub use message::{
    BodyFault, DecodeError, Message, MessageError, MessageQueue, ReceivedMessage, SendResult, SendStatus,
    property,
};
pub use options::{ClientOptions, NAMESRV_ADDR, OptionsError};
pub use oxmq_net::{Answer, CallError, NoService, Peer, Reply, Request, Service, Tls, TlsError};
pub use oxmq_remoting::{Command, Encoding, code};
pub use remote::{Remote, RemoteOptions};
pub use route::Route;
