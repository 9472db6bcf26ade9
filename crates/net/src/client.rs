// SPDX-License-Identifier: Apache-2.0
//! Outgoing connections: made on first use, one for each address, shared by all callers, made anew when lost.

use crate::{
    CallError, Limits, Peer, Reply, Service, Tls, Workers,
    connection::{Connection, Shared},
    stream::Stream,
};
use oxmq_remoting::{Command, Encoding};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{net::TcpStream, runtime::Handle};

/// How a [`Client`] makes its connections.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// How long a connection may take to be made, TLS included.
    pub connect_timeout: Duration,
    /// What requests are written in.
    pub encoding: Encoding,
    /// Encrypts all connections. `None`: plain.
    pub tls: Option<Tls>,
}

impl Default for ClientOptions {
    /// 3 s, JSON, plain.
    fn default() -> Self {
        Self { connect_timeout: Duration::from_secs(3), encoding: Encoding::Json, tls: None }
    }
}

/// Calls servers by their address. Cheap to clone. When the last clone is dropped, its connections are closed.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    handle: Handle,
    service: Arc<dyn Service>,
    shared: Arc<Shared>,
    options: ClientOptions,
    /// A slot for each address, so that callers of one wait for its connection and not for that of another.
    slots: Mutex<HashMap<String, Arc<Slot>>>,
    closed: AtomicBool,
}

#[derive(Default)]
struct Slot {
    peer: Mutex<Option<Arc<Peer>>>,
    /// Held while the connection is made.
    making: tokio::sync::Mutex<()>,
}

impl Client {
    /// A client whose connections run on `workers` and answer requests of the other side with `service`.
    #[must_use]
    pub fn new(workers: &Workers, service: Arc<dyn Service>) -> Self {
        Self::on(workers.handle(), service, ClientOptions::default())
    }

    /// A client whose connections run on the runtime of `handle`, which must drive sockets and time.
    #[must_use]
    pub fn on(handle: Handle, service: Arc<dyn Service>, options: ClientOptions) -> Self {
        // A server closes an idle connection; this side just keeps it.
        let limits = Limits { idle_timeout: Duration::from_secs(24 * 3600), ..Limits::default() };
        let inner = Inner {
            handle,
            service,
            shared: Shared::new(limits),
            options,
            slots: Mutex::default(),
            closed: AtomicBool::new(false),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Asks the server at `addr` (`host:port`). `timeout` covers connecting, too.
    ///
    /// # Errors
    /// [`CallError`] if no answer came; an answer that says that it failed is a [`Reply`].
    pub async fn call(&self, addr: &str, command: Command, timeout: Duration) -> Result<Reply, CallError> {
        if let Some(peer) = self.connected(addr) {
            return peer.call_in_turn(command, timeout).await;
        }
        let call = async { self.peer(addr).await?.call_in_turn(command, timeout).await };
        let timed_out = Err(CallError::Timeout(timeout.as_millis()));
        tokio::time::timeout(timeout, call).await.unwrap_or(timed_out)
    }

    /// Sends a request that wants no answer.
    ///
    /// # Errors
    /// [`CallError::Connect`] if there is no connection and none can be made, [`CallError::Closed`] if it ends before
    /// the request had its turn.
    pub async fn send_one_way(&self, addr: &str, command: Command) -> Result<(), CallError> {
        if self.peer(addr).await?.send_in_turn(command).await { Ok(()) } else { Err(CallError::Closed) }
    }

    /// The connection to `addr`, if there is one now.
    #[must_use]
    pub fn connected(&self, addr: &str) -> Option<Arc<Peer>> {
        let slots = lock(&self.inner.slots);
        let peer = lock(&slots.get(addr)?.peer).clone();
        peer.filter(|peer| !peer.is_closed())
    }

    /// The connection to `addr`, made if there is none.
    ///
    /// # Errors
    /// [`CallError::Connect`].
    pub async fn peer(&self, addr: &str) -> Result<Arc<Peer>, CallError> {
        if let Some(peer) = self.connected(addr) {
            return Ok(peer);
        }
        let slot = lock(&self.inner.slots).entry(addr.to_owned()).or_default().clone();
        let _making = slot.making.lock().await;
        if let Some(peer) = lock(&slot.peer).as_ref().filter(|peer| !peer.is_closed()) {
            return Ok(peer.clone());
        }
        let failed = |reason: String| CallError::Connect { addr: addr.to_owned(), reason };
        if self.inner.closed.load(Ordering::Acquire) {
            return Err(failed("this client was closed".into()));
        }
        let wait = self.inner.options.connect_timeout;
        let stream = tokio::time::timeout(wait, self.connect(addr))
            .await
            .map_err(|_| failed(format!("no answer within {} s", wait.as_secs_f32())))?
            .map_err(|error| failed(error.to_string()))?;
        let peer = self.open(stream).map_err(|error| failed(error.to_string()))?;
        *lock(&slot.peer) = Some(peer.clone());
        // Whoever closed the client meanwhile did not see this one.
        if self.inner.closed.load(Ordering::Acquire) {
            peer.hang_up();
        }
        Ok(peer)
    }

    /// Closes all connections; what is asked from now on fails.
    pub fn close(&self) {
        self.inner.close();
    }

    async fn connect(&self, addr: &str) -> std::io::Result<Dialled> {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        let (remote, local) = (stream.peer_addr()?, stream.local_addr()?);
        let Some(tls) = &self.inner.options.tls else {
            // The socket moves to the runtime that its connection lives on.
            return Ok(Dialled { stream: NewStream::Plain(stream.into_std()?), remote, local });
        };
        // A stream with a handshake behind it cannot move, so it is made where it stays.
        let (tls, addr, stream) = (tls.clone(), addr.to_owned(), stream.into_std()?);
        let shaken = self.inner.handle.spawn(async move {
            let stream = TcpStream::from_std(stream)?;
            tls.connect(&addr, stream).await
        });
        let mut shaken = AbortOnDrop(shaken);
        let stream = (&mut shaken.0).await.map_err(std::io::Error::other)??;
        Ok(Dialled { stream: NewStream::Tls(Box::new(stream)), remote, local })
    }

    fn open(&self, dialled: Dialled) -> std::io::Result<Arc<Peer>> {
        let inner = &self.inner;
        let peer = Peer::new(dialled.remote, dialled.local);
        let (service, shared) = (inner.service.clone(), inner.shared.clone());
        let connection = {
            let _inside = inner.handle.enter();
            let stream = match dialled.stream {
                NewStream::Plain(stream) => Stream::Plain(TcpStream::from_std(stream)?),
                NewStream::Tls(stream) => Stream::Tls(stream),
            };
            shared.connections.fetch_add(1, Ordering::Relaxed);
            Connection::new(stream, peer.clone(), service, shared, inner.options.encoding)
        };
        inner.handle.spawn(connection);
        Ok(peer)
    }
}

/// A socket that is connected and belongs to no loop yet.
struct Dialled {
    stream: NewStream,
    remote: std::net::SocketAddr,
    local: std::net::SocketAddr,
}

enum NewStream {
    Plain(std::net::TcpStream),
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

/// Nobody waits for this task any more when its guard is gone.
struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Inner {
    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        for slot in lock(&self.slots).values() {
            if let Some(peer) = lock(&slot.peer).take() {
                peer.hang_up();
            }
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}
