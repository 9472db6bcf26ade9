// SPDX-License-Identifier: Apache-2.0
//! Connections that speak the remoting protocol. The only code with sockets.
//!
//! [`Workers`] are threads with one single-threaded tokio runtime each. A [`Server`] accepts connections and spreads
//! them over the workers, where each stays for life: a request is read, handled and answered on one thread, so one
//! wake-up serves it. A [`Service`] is what a product does with requests; it must not block. A [`Client`] calls
//! other servers, on the workers or on any other tokio runtime, in plain or over [`Tls`]. Both ends of a connection may ask and answer, so there is one connection loop for both
//! (`connection.rs`).
//!
//! Bounds: a frame has [`Limits::frame_max_bytes`], incomplete frames of all connections together have
//! [`Limits::incomplete_max_bytes`], a peer that does not read its answers is not read from once
//! [`UNSENT_MAX_BYTES`] wait for it, and is closed when nothing moves for [`Limits::stall_timeout`].
#![forbid(unsafe_code)]

mod access;
mod client;
mod connection;
mod outbox;
mod peer;
mod server;
mod service;
mod stream;
mod tls;
mod workers;

pub use access::AdminAccess;
pub use client::{Client, ClientOptions};
pub use connection::{Limits, UNSENT_MAX_BYTES};
pub use peer::{CallError, Peer, Reply, ReplyFields};
pub use server::{Listening, Server};
pub use service::{Answer, NoService, Request, Service};
pub use tls::{Tls, TlsError};
pub use workers::Workers;
