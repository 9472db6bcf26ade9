// SPDX-License-Identifier: Apache-2.0
//! Typed questions to name servers and brokers. Java: `DefaultMQAdminExt`.

mod cluster;
mod config;
mod error;
mod groups;
mod inventory;
mod locks;
mod lookup;
mod messages;
mod send;
mod topic;

pub use cluster::Runtime;
pub(crate) use cluster::no_cluster;
pub(crate) use config::ORDER_NAMESPACE;
pub use config::{Clean, HaClient, HaSlave, HaStatus};
pub use error::AdminError;
pub(crate) use error::one_line;
pub use groups::{Reset, address_of};
pub use messages::{KeyQuery, Pull, PullStatus, Pulled, TOOLS_GROUP};
pub use send::{Outgoing, QueueAt, Sent};
pub(crate) use topic::parse_topics;
pub use topic::{Counted, CountedIn};

use error::code_name;
use oxmq_client::Remote;
use oxmq_net::Reply;
use oxmq_remoting::{Command, code, fastjson};
use serde::de::DeserializeOwned;
use std::{sync::Arc, time::Duration};

/// How long a server may take for an answer, unless told otherwise. Java: `DefaultMQAdminExt#timeoutMillis`.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Asks name servers and brokers. Cheap to clone.
///
/// The methods are named after what they ask for; each names its request code. All fail with [`AdminError`].
#[derive(Debug, Clone)]
pub struct Admin {
    remote: Remote,
    name_servers: Arc<[String]>,
    timeout: Duration,
}

impl Admin {
    /// `name_servers`: their addresses, `host:port`; may be empty for those who ask brokers alone.
    #[must_use]
    pub fn new(remote: Remote, name_servers: Vec<String>) -> Self {
        Self { remote, name_servers: name_servers.into(), timeout: TIMEOUT }
    }

    /// The same with other name servers.
    #[must_use]
    pub fn with_name_servers(&self, name_servers: Vec<String>) -> Self {
        Self { name_servers: name_servers.into(), ..self.clone() }
    }

    /// The same with another time for answers, 5 s by default.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The addresses of the name servers.
    ///
    /// # Errors
    /// [`AdminError::NoNameServer`] if there is none.
    pub fn name_servers(&self) -> Result<&[String], AdminError> {
        if self.name_servers.is_empty() { Err(AdminError::NoNameServer) } else { Ok(&self.name_servers) }
    }

    /// The connections below.
    #[must_use]
    pub fn remote(&self) -> &Remote {
        &self.remote
    }

    /// Asks one server; the answer may say that it failed.
    ///
    /// # Errors
    /// [`AdminError::Call`] if no answer came.
    pub async fn ask_any(&self, addr: &str, command: Command) -> Result<Reply, AdminError> {
        self.ask_within(addr, command, self.timeout).await
    }

    /// The same with a time of its own, for what takes long.
    ///
    /// # Errors
    /// [`AdminError::Call`] if no answer came.
    pub async fn ask_within(
        &self,
        addr: &str,
        command: Command,
        timeout: Duration,
    ) -> Result<Reply, AdminError> {
        let answer = self.remote.call(addr, command, timeout).await;
        answer.map_err(|error| AdminError::Call { addr: addr.to_owned(), error })
    }

    /// Asks one server, and takes nothing but success.
    ///
    /// # Errors
    /// [`AdminError::Refused`] if it says that it failed.
    pub async fn ask(&self, addr: &str, command: Command) -> Result<Reply, AdminError> {
        accept(addr, self.ask_any(addr, command).await?)
    }

    /// Asks one server for JSON.
    ///
    /// # Errors
    /// [`AdminError::Unreadable`] if the body is something else. `what`: for that message, "a route".
    pub async fn ask_json<T: DeserializeOwned>(
        &self,
        addr: &str,
        command: Command,
        what: &'static str,
    ) -> Result<T, AdminError> {
        read_json(addr, &self.ask(addr, command).await?.body, what)
    }

    /// Asks one server for JSON within a time of its own.
    ///
    /// # Errors
    /// As [`Admin::ask_json`].
    pub async fn ask_json_within<T: DeserializeOwned>(
        &self,
        addr: &str,
        command: Command,
        timeout: Duration,
        what: &'static str,
    ) -> Result<T, AdminError> {
        let reply = accept(addr, self.ask_within(addr, command, timeout).await?)?;
        read_json(addr, &reply.body, what)
    }

    /// Asks the first name server that answers at all; the others know the same.
    ///
    /// # Errors
    /// What the last one said if none answered.
    pub async fn ask_name_server(&self, command: Command) -> Result<(String, Reply), AdminError> {
        let mut failed = Vec::new();
        for addr in self.name_servers()? {
            match self.ask_any(addr, command.clone()).await {
                Ok(reply) => return Ok((addr.clone(), accept(addr, reply)?)),
                Err(error) => failed.push(error),
            }
        }
        Err(match failed.len() {
            1 => failed.remove(0),
            _ => AdminError::NoneAnswered(failed.iter().map(ToString::to_string).collect()),
        })
    }

    /// Asks the first name server that answers for JSON.
    ///
    /// # Errors
    /// As [`Admin::ask_name_server`] and [`Admin::ask_json`].
    pub async fn name_server_json<T: DeserializeOwned>(
        &self,
        command: Command,
        what: &'static str,
    ) -> Result<T, AdminError> {
        let (addr, reply) = self.ask_name_server(command).await?;
        read_json(&addr, &reply.body, what)
    }
}

fn accept(addr: &str, reply: Reply) -> Result<Reply, AdminError> {
    if reply.code == code::SUCCESS {
        return Ok(reply);
    }
    Err(AdminError::Refused {
        addr: addr.to_owned(),
        code: reply.code,
        name: code_name(reply.code),
        remark: reply.remark.unwrap_or_default(),
    })
}

/// Reads a body that fastjson may have written.
///
/// # Errors
/// [`AdminError::Unreadable`].
pub(crate) fn read_json<T: DeserializeOwned>(
    addr: &str,
    body: &[u8],
    what: &'static str,
) -> Result<T, AdminError> {
    fastjson::from_slice(body).map_err(|error| AdminError::Unreadable {
        addr: addr.to_owned(),
        what,
        reason: error.to_string(),
    })
}

/// A custom field of an answer as a number.
///
/// # Errors
/// [`AdminError::Unreadable`] if it is absent or none.
pub(crate) fn field(addr: &str, reply: &Reply, name: &'static str) -> Result<i64, AdminError> {
    let text = reply.field(name).unwrap_or_default();
    text.parse().map_err(|_| AdminError::Unreadable {
        addr: addr.to_owned(),
        what: "an answer with numbers",
        reason: format!("{name} is \"{}\"", crate::cli::shorten(text)),
    })
}
