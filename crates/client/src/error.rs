// SPDX-License-Identifier: Apache-2.0
//! Errors that more than one part has. Each says what to do.

use crate::{CallError, OptionsError};
use std::{fmt, sync::Arc};
use thiserror::Error;

/// No name server has answered. Its text names each, with the reason.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct NameServersError {
    /// Those that were asked, and why they did not answer.
    pub tried: Vec<(Arc<str>, CallError)>,
}

impl fmt::Display for NameServersError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no name server answers (")?;
        for (at, (addr, error)) in self.tried.iter().enumerate() {
            if at > 0 {
                f.write_str("; ")?;
            }
            match error {
                // It names the address already.
                CallError::Connect { .. } => write!(f, "{error}")?,
                error => write!(f, "{addr}: {error}")?,
            }
        }
        f.write_str("): is it running, are address and port right?")
    }
}

/// Why it is not known where the queues of a topic are.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RouteError {
    /// No name server has answered.
    #[error(transparent)]
    NameServers(#[from] NameServersError),
    /// Whoever listens there is no name server: a broker, most often.
    #[error(
        "{addr} is no name server (answer {code}): is that a broker's port? Name servers listen on 9876 by default"
    )]
    NotANameServer {
        /// The address.
        addr: Arc<str>,
        /// The answer's code.
        code: i32,
    },
    /// The name server knows no broker at all.
    #[error(
        "the name server {addr} knows no broker: start one with -n {addr}, or wait until it is registered"
    )]
    NoBroker {
        /// The name server.
        addr: Arc<str>,
    },
    /// No broker has the topic.
    #[error(
        "No route info of this topic: {topic}. Create it with `mqadmin updateTopic -n {addr} -c CLUSTER -t {topic}`, or \
         check its name"
    )]
    TopicNotFound {
        /// The topic.
        topic: Arc<str>,
        /// The name server that was asked.
        addr: Arc<str>,
    },
    /// The name server refuses to answer.
    #[error("the name server {addr} does not tell the route of {topic}: code {code}, {remark}")]
    Refused {
        /// The topic.
        topic: Arc<str>,
        /// The name server.
        addr: Arc<str>,
        /// Its code.
        code: i32,
        /// Its reason.
        remark: String,
    },
    /// The answer cannot be read.
    #[error("the name server {addr} tells a route of {topic} that cannot be read: {reason}")]
    Malformed {
        /// The topic.
        topic: Arc<str>,
        /// The name server.
        addr: Arc<str>,
        /// What is wrong with it.
        reason: String,
    },
    /// The client was shut down.
    #[error("the client was shut down: make a new one")]
    ShutDown,
}

/// Why a producer or consumer cannot start.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StartError {
    /// Its settings are wrong.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// One of the same group is there already.
    #[error(
        "the {what} group \"{group}\" is started twice on one client: use the first one, or make another Client"
    )]
    GroupTaken {
        /// `producer` or `consumer`.
        what: &'static str,
        /// The group.
        group: String,
    },
    /// The client was shut down.
    #[error("the client was shut down: make a new one")]
    ShutDown,
}
