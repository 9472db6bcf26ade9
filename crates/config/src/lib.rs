// SPDX-License-Identifier: Apache-2.0
//! Java's configuration keys with Java's meanings and defaults, checked once at the start.
//!
//! A `.properties` file goes in; [`BrokerSettings`] or [`NamesrvSettings`] come out, with [`Notice`]s for the log, or a
//! [`ConfigError`] that stops the start. Code elsewhere asks for the typed part it needs ([`Identity`], [`StoreFiles`], ...)
//! and never sees a key. What may change at run time is the allow-list of keys marked `live` in the tables: no path, no
//! port, nothing of the identity, nothing that starts a process (CVE-2023-33246, CVE-2023-37582).
//!
//! No I/O, no environment: what depends on the machine comes in through [`Host`].
#![forbid(unsafe_code)]

mod broker;
mod keys;
mod namesrv;
mod settings;

pub use broker::{
    BrokerRole, BrokerSettings, Consumers, Delays, FlushType, Identity, Pulls, Registration, Retention,
    Sends, StoreFiles, Topics, Transactions,
};
pub use keys::{Effect, Key, Kind};
pub use namesrv::{NamesrvFiles, NamesrvSettings, Routes};
pub use settings::{Change, ConfigError, Host, Listener, Notice, UpdateError};
