// SPDX-License-Identifier: Apache-2.0
//! Outgoing connections: made on first use, one for each address, shared by all callers, made anew when lost.

use crate::{
    CallError, Limits, Peer, Reply, Service, Workers,
    connection::{Connection, Shared},
};
use oxmq_remoting::Command;
use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::{net::TcpStream, runtime::Handle, sync::Mutex};

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Calls servers by their address. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    handle: Handle,
    service: Arc<dyn Service>,
    shared: Arc<Shared>,
    /// A slot for each address, so that callers of one wait for its connection and not for that of another.
    peers: Arc<std::sync::Mutex<HashMap<String, Slot>>>,
}

type Slot = Arc<Mutex<Option<Arc<Peer>>>>;

impl Client {
    /// A client whose connections run on `workers` and answer requests of the other side with `service`.
    #[must_use]
    pub fn new(workers: &Workers, service: Arc<dyn Service>) -> Self {
        // A server closes an idle connection; this side just keeps it.
        let limits = Limits { idle_timeout: Duration::from_secs(24 * 3600), ..Limits::default() };
        Self { handle: workers.handle(), service, shared: Shared::new(limits), peers: Arc::default() }
    }

    /// Asks the server at `addr` (`host:port`). `timeout` covers connecting, too.
    ///
    /// # Errors
    /// [`CallError`] if no answer came; an answer that says that it failed is a [`Reply`].
    pub async fn call(&self, addr: &str, command: Command, timeout: Duration) -> Result<Reply, CallError> {
        let call = async { self.peer(addr).await?.call(command, timeout).await };
        let timed_out = Err(CallError::Timeout(timeout.as_millis()));
        tokio::time::timeout(timeout, call).await.unwrap_or(timed_out)
    }

    /// Sends a request that wants no answer.
    ///
    /// # Errors
    /// [`CallError::Connect`] if there is no connection and none can be made.
    pub async fn send_one_way(&self, addr: &str, command: Command) -> Result<(), CallError> {
        self.peer(addr).await?.send(command);
        Ok(())
    }

    async fn peer(&self, addr: &str) -> Result<Arc<Peer>, CallError> {
        let slot = {
            let mut peers = self.peers.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            peers.entry(addr.to_owned()).or_default().clone()
        };
        let mut slot = slot.lock().await;
        if let Some(peer) = slot.as_ref().filter(|peer| !peer.is_closed()) {
            return Ok(peer.clone());
        }
        let failed = |reason: String| CallError::Connect { addr: addr.to_owned(), reason };
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(addr)).await;
        let stream = connected
            .map_err(|_| failed(format!("no answer within {} s", CONNECT_TIMEOUT.as_secs())))?
            .map_err(|error| failed(error.to_string()))?;
        let peer = self.open(stream).map_err(|error| failed(error.to_string()))?;
        *slot = Some(peer.clone());
        Ok(peer)
    }

    fn open(&self, stream: TcpStream) -> std::io::Result<Arc<Peer>> {
        stream.set_nodelay(true)?;
        let peer = Peer::new(stream.peer_addr()?, stream.local_addr()?);
        // The socket moves to the runtime that its connection lives on.
        let stream = stream.into_std()?;
        let (service, shared) = (self.service.clone(), self.shared.clone());
        shared.connections.fetch_add(1, Ordering::Relaxed);
        let connection = {
            let _inside = self.handle.enter();
            Connection::new(TcpStream::from_std(stream)?, peer.clone(), service, shared)
        };
        self.handle.spawn(connection);
        Ok(peer)
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}
