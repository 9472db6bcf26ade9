// SPDX-License-Identifier: Apache-2.0
//! A client for Apache RocketMQ and OxMQ, on tokio.
#![forbid(unsafe_code)]
#![allow(dead_code)] // Parts that the producer will use.

mod acl;
mod compression;
pub mod idempotent;
mod message;
mod remote;

pub use acl::Credentials;
pub use compression::Compression;
pub use message::{
    BodyFault, DecodeError, Message, MessageError, MessageQueue, ReceivedMessage, SendResult, SendStatus,
    property,
};
pub use oxmq_net::{Answer, CallError, NoService, Peer, Reply, Request, Service, Tls, TlsError};
pub use oxmq_remoting::{Command, Encoding, code};
pub use remote::{Remote, RemoteOptions};
