// SPDX-License-Identifier: Apache-2.0
//! Asks name servers and brokers single requests.

use crate::acl::Credentials;
use oxmq_net::{CallError, Client, ClientOptions, Peer, Reply, Service, Tls};
use oxmq_remoting::{Command, Encoding};
use std::{sync::Arc, time::Duration};
use tokio::runtime::Handle;

/// How a [`Remote`] asks servers. A [`Client`](crate::Client) has its own, made of its [`ClientOptions`](crate::ClientOptions).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RemoteOptions {
    /// Signs all requests, for brokers with ACL; nobody by default.
    pub credentials: Option<Credentials>,
    /// Encrypts all connections; plain by default.
    pub tls: Option<Tls>,
    /// How long a connection may take to be made, TLS included; 3 s by default.
    pub connect_timeout: Duration,
    /// What the headers of requests are written in; JSON by default. Every server reads both.
    pub encoding: Encoding,
}

impl Default for RemoteOptions {
    /// Unsigned, plain, 3 s, JSON.
    fn default() -> Self {
        let ClientOptions { connect_timeout, encoding, tls } = ClientOptions::default();
        Self { credentials: None, tls, connect_timeout, encoding }
    }
}

/// Asks servers by their address over connections that are made on first use, shared, and made anew when lost: for tools, which ask
/// what producers and consumers do not. Cheap to clone; when the last clone is dropped, the connections are closed.
#[derive(Debug, Clone)]
pub struct Remote {
    client: Client,
    credentials: Option<Credentials>,
}

impl Remote {
    /// Connections run on the tokio runtime in which this is called. `service` answers what the servers ask:
    /// [`NoService`](crate::NoService) for those who only ask.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn new(options: RemoteOptions, service: Arc<dyn Service>) -> Self {
        let RemoteOptions { credentials, tls, connect_timeout, encoding } = options;
        let options = ClientOptions { connect_timeout, encoding, tls };
        Self { client: Client::on(Handle::current(), service, options), credentials }
    }

    /// Asks the server at `addr` (`host:port`). `timeout` covers connecting, too.
    ///
    /// # Errors
    /// [`CallError`] if no answer came; an answer that says that it failed is a [`Reply`].
    pub async fn call(
        &self,
        addr: &str,
        mut command: Command,
        timeout: Duration,
    ) -> Result<Reply, CallError> {
        self.sign(&mut command);
        self.client.call(addr, command, timeout).await
    }

    /// Sends a request that wants no answer.
    ///
    /// # Errors
    /// [`CallError::Connect`] if there is no connection and none can be made. That it arrives, nobody knows.
    pub async fn send_one_way(&self, addr: &str, mut command: Command) -> Result<(), CallError> {
        self.sign(&mut command);
        self.client.send_one_way(addr, command).await
    }

    /// The connection to `addr`, if there is one now.
    #[must_use]
    pub fn connected(&self, addr: &str) -> Option<Arc<Peer>> {
        self.client.connected(addr)
    }

    /// Closes all connections; what is asked from now on fails.
    pub fn close(&self) {
        self.client.close();
    }

    fn sign(&self, command: &mut Command) {
        if let Some(credentials) = &self.credentials {
            credentials.sign(command);
        }
    }
}
