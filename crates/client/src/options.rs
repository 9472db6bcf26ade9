// SPDX-License-Identifier: Apache-2.0
//! Settings of a client.

use crate::{Credentials, Encoding, RemoteOptions, Tls, ids};
use std::{sync::Arc, time::Duration};
use thiserror::Error;

/// The environment variable that Java's clients and ours take name servers from.
pub const NAMESRV_ADDR: &str = "NAMESRV_ADDR";

/// Settings of a [`Client`](crate::Client), all but the name servers with Java's defaults. [`Client::new`](crate::Client::new)
/// checks them. Java: `ClientConfig`.
///
/// ```
/// use oxmq_client::ClientOptions;
/// use std::time::Duration;
///
/// let options = ClientOptions::new("10.0.0.1:9876;10.0.0.2:9876").call_timeout(Duration::from_secs(5));
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClientOptions {
    /// Name servers, `host:port`, separated by `;`.
    pub name_servers: String,
    /// Name of this instance. `None`, the default: one that no other process has.
    pub instance_name: Option<String>,
    /// The address that stands in the client id. `None`, the default: the first of this machine that is not loopback.
    pub client_ip: Option<String>,
    /// Name of the unit, for clusters divided into units; none by default.
    pub unit_name: Option<String>,
    /// Signs all requests, for brokers with ACL; nobody by default.
    pub credentials: Option<Credentials>,
    /// Encrypts all connections; plain by default. Java: `useTLS`.
    pub tls: Option<Tls>,
    /// What headers are written in; JSON by default. Every server reads both.
    pub encoding: Encoding,
    /// True: sends go to the brokers' listen port - 2, as from old clients; false by default. Java: `vipChannelEnabled`.
    pub vip_channel: bool,
    /// How long a connection may take to be made, TLS included; 3 s by default.
    pub connect_timeout: Duration,
    /// How long a name server or a broker may take for a request that has no time of its own; 3 s by default.
    /// Java: `mqClientApiTimeout`.
    pub call_timeout: Duration,
    /// How often routes are asked for; every 30 s by default. Java: `pollNameServerInterval`.
    pub route_interval: Duration,
    /// How often brokers are told that this client lives; every 30 s by default, and they give it up after 120 s.
    /// Java: `heartbeatBrokerInterval`.
    pub heartbeat_interval: Duration,
}

impl Default for ClientOptions {
    /// Name servers from the environment variable [`NAMESRV_ADDR`], none if it is not set.
    fn default() -> Self {
        Self::new(std::env::var(NAMESRV_ADDR).unwrap_or_default())
    }
}

/// What is wrong with settings.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OptionsError {
    /// No name server is named.
    #[error(
        "no name server: give ClientOptions::new(\"host:9876\") or set the environment variable NAMESRV_ADDR"
    )]
    NoNameServer,
    /// An address without a port, or with one that is none.
    #[error("name server \"{0}\" is not host:port; several are separated by ';'")]
    NameServer(String),
    /// A name that is empty, too long, or has a character that is not allowed.
    #[error("{what} \"{name}\" is not allowed: letters, digits, '_', '-', '%', '|', and at most 255 of them")]
    Name {
        /// What was named.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A time that must be longer than nothing.
    #[error("{0} must not be zero")]
    Zero(&'static str),
}

impl ClientOptions {
    /// The usual settings, with these name servers: `host:port`, several separated by `;`.
    pub fn new(name_servers: impl Into<String>) -> Self {
        Self {
            name_servers: name_servers.into(),
            instance_name: None,
            client_ip: None,
            unit_name: None,
            credentials: None,
            tls: None,
            encoding: Encoding::Json,
            vip_channel: false,
            connect_timeout: Duration::from_secs(3),
            call_timeout: Duration::from_secs(3),
            route_interval: Duration::from_secs(30),
            heartbeat_interval: Duration::from_secs(30),
        }
    }

    /// Signs all requests.
    #[must_use]
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// Encrypts all connections.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Names this instance. Two processes of one group with one name get the same queues, so leave it out unless something
    /// outside guarantees that the name is used once.
    #[must_use]
    pub fn instance_name(mut self, name: impl Into<String>) -> Self {
        self.instance_name = Some(name.into());
        self
    }

    /// See [`Self::call_timeout`](Self#structfield.call_timeout).
    #[must_use]
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.call_timeout = timeout;
        self
    }

    /// What headers are written in; ROCKETMQ is a little smaller than JSON.
    #[must_use]
    pub fn encoding(mut self, encoding: Encoding) -> Self {
        self.encoding = encoding;
        self
    }

    /// The addresses of the name servers, checked.
    pub(crate) fn addresses(&self) -> Result<Vec<Arc<str>>, OptionsError> {
        let mut found = Vec::new();
        for addr in self.name_servers.split([';', ',']).map(str::trim).filter(|addr| !addr.is_empty()) {
            // Java's clients write the scheme sometimes.
            let addr = addr.strip_prefix("http://").unwrap_or(addr).trim_end_matches('/');
            let port = addr.rsplit_once(':').filter(|(host, _)| !host.is_empty());
            match port.map(|(_, port)| port.parse::<u16>()) {
                Some(Ok(port)) if port > 0 => found.push(addr.into()),
                _ => return Err(OptionsError::NameServer(addr.to_owned())),
            }
        }
        if found.is_empty() { Err(OptionsError::NoNameServer) } else { Ok(found) }
    }

    pub(crate) fn client_id(&self) -> String {
        let found = || ids::local_address().to_string();
        let address = self.client_ip.clone().unwrap_or_else(found);
        ids::client_id(&address, self.instance_name.as_deref(), self.unit_name.as_deref())
    }

    pub(crate) fn check(&self) -> Result<(), OptionsError> {
        for (what, time) in [
            ("connect_timeout", self.connect_timeout),
            ("call_timeout", self.call_timeout),
            ("route_interval", self.route_interval),
            ("heartbeat_interval", self.heartbeat_interval),
        ] {
            if time.is_zero() {
                return Err(OptionsError::Zero(what));
            }
        }
        Ok(())
    }

    pub(crate) fn remote(&self) -> RemoteOptions {
        RemoteOptions {
            credentials: self.credentials.clone(),
            tls: self.tls.clone(),
            connect_timeout: self.connect_timeout,
            encoding: self.encoding,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_are_checked_before_they_are_asked() {
        let check = |text: &str, expected: Result<&[&str], OptionsError>| {
            let found = ClientOptions::new(text).addresses();
            let found: Result<Vec<_>, _> = found.as_ref().map(|all| all.iter().map(|addr| &**addr).collect());
            assert_eq!(found.map_err(Clone::clone), expected.map(<[&str]>::to_vec), "{text}");
        };
        check("a:1;b:2", Ok(&["a:1", "b:2"]));
        check(" http://a:1/ ; ", Ok(&["a:1"]));
        check("[::1]:9876", Ok(&["[::1]:9876"]));
        check("", Err(OptionsError::NoNameServer));
        check("a", Err(OptionsError::NameServer("a".into())));
        check("a:0", Err(OptionsError::NameServer("a:0".into())));
        check("a:1;:2", Err(OptionsError::NameServer(":2".into())));
        check("a:70000", Err(OptionsError::NameServer("a:70000".into())));
    }
}
