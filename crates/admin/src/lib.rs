// SPDX-License-Identifier: Apache-2.0
//! Administration of a RocketMQ cluster, this one or Java's.
//!
//! Two layers. [`Admin`] is the library: typed questions to name servers and brokers, with errors that say what to do;
//! the console uses it, too. [`run`] is `mqadmin`: the commands, options, columns and wording of the Java tool, so that
//! scripts and runbooks go on working, and in addition `-o json`, `--watch`, exit codes, and one line instead of a stack
//! trace. How a command is added stands at the head of `commands/mod.rs`.
//!
//! Every answer is foreign: lengths are bounded by the frame, JSON is read into types, text is shortened before it stands
//! in a message, and nothing panics on it.
#![forbid(unsafe_code)]

mod admin;
mod cli;
mod commands;
#[cfg(test)]
mod fixture;
mod format;
mod java_text;
mod message_ext;

pub use admin::{
    Admin, AdminError, Clean, Counted, CountedIn, HaClient, HaSlave, HaStatus, KeyQuery, Outgoing, Pull,
    PullStatus, Pulled, QueueAt, Reset, Runtime, Sent, TOOLS_GROUP, address_of,
};
pub use cli::{Surroundings, run};
pub use message_ext::message_ext;
