// SPDX-License-Identifier: Apache-2.0
//! The name server: brokers tell it that they are there and which topics they have, clients ask it for routes.
//!
//! [`NameServer`] is the service of a listener (`oxmq_net::Server`), with [`NameServer::run_scans`] beside it. Behind
//! it stand [`Routes`], which know neither clock nor socket, and the key-value configuration, the only thing that
//! is kept on disk. Several name servers know nothing of each other: brokers register with all.
//!
//! Bounds: [`BROKERS_MAX`] brokers, `TOPICS_MAX` topics for each broker name, [`KV_ENTRIES_MAX`] key-value entries,
//! and names as `names.rs` allows them.
//!
//! Java: modules `namesrv.routeinfo`, `namesrv.processor`, `namesrv.kvconfig`.
#![forbid(unsafe_code)]

mod kv;
mod names;
mod routes;
mod server;

pub use kv::{KV_ENTRIES_MAX, KvError};
pub use names::IllegalName;
pub use routes::{
    BROKERS_MAX, BrokerAddress, Change, Gone, RegisterRefusal, Registered, Registration, RouteView, Routes,
};
pub use server::{Configuration, NameServer, Settings, UpdateRefusal};
