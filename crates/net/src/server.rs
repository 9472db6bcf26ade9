// SPDX-License-Identifier: Apache-2.0
//! Listeners.

use crate::{
    Limits, Peer, Service, Workers,
    connection::{Connection, Shared},
    stream::Stream,
};
use oxmq_remoting::Encoding;
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::{net::TcpListener, runtime::Handle, task::JoinHandle};
use tracing::{error, warn};

/// Connections that the kernel holds for us until we accept them. Java: `serverSocketBacklog`.
const BACKLOG: i32 = 1024;

/// One or more listening sockets with one service behind them. Dropping it closes the sockets, not the connections.
#[derive(Debug)]
pub struct Server {
    addrs: Vec<SocketAddr>,
    listeners: Vec<JoinHandle<()>>,
}

/// Sockets that listen and do not accept yet: clients that connect wait in the backlog.
#[derive(Debug)]
pub struct Listening {
    sockets: Vec<std::net::TcpListener>,
}

impl Listening {
    /// The addresses that clients can dial, in the order in which they were given.
    ///
    /// # Errors
    /// If the system does not tell.
    pub fn local_addrs(&self) -> io::Result<Vec<SocketAddr>> {
        self.sockets.iter().map(std::net::TcpListener::local_addr).collect()
    }

    /// Serves what connects with `service`.
    ///
    /// # Errors
    /// If a socket cannot be handed to the runtime.
    pub fn serve(self, workers: &Workers, service: Arc<dyn Service>, limits: Limits) -> io::Result<Server> {
        let addrs = self.local_addrs()?;
        let shared = Shared::new(limits);
        let handle = workers.handle();
        let mut listeners = Vec::new();
        for socket in self.sockets {
            let listener = {
                let _inside = handle.enter();
                TcpListener::from_std(socket)?
            };
            listeners.push(handle.spawn(accept(
                listener,
                workers.handles(),
                service.clone(),
                shared.clone(),
            )));
        }
        Ok(Server { addrs, listeners })
    }
}

impl Server {
    /// Listens on every address of `addrs` (port 0: any free one).
    ///
    /// # Errors
    /// The first address that cannot be bound, named in the error's text.
    pub fn listen(addrs: &[SocketAddr]) -> io::Result<Listening> {
        Ok(Listening { sockets: addrs.iter().map(|addr| listen(*addr)).collect::<io::Result<_>>()? })
    }

    /// [`Server::listen`] and [`Listening::serve`] in one.
    ///
    /// # Errors
    /// As theirs.
    pub fn bind(
        workers: &Workers,
        addrs: &[SocketAddr],
        service: Arc<dyn Service>,
        limits: Limits,
    ) -> io::Result<Self> {
        Self::listen(addrs)?.serve(workers, service, limits)
    }

    /// The addresses it listens on, in the order in which they were given.
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }

    /// Accepts no more connections.
    pub fn close(&self) {
        self.listeners.iter().for_each(JoinHandle::abort);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.close();
    }
}

fn listen(addr: SocketAddr) -> io::Result<std::net::TcpListener> {
    let bind = || {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        // A restart must not wait for the connections of the last run to be forgotten.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&addr.into())?;
        socket.listen(BACKLOG)?;
        Ok(std::net::TcpListener::from(socket))
    };
    bind()
        .map_err(|error: io::Error| io::Error::new(error.kind(), format!("cannot listen on {addr}: {error}")))
}

async fn accept(listener: TcpListener, handles: Vec<Handle>, service: Arc<dyn Service>, shared: Arc<Shared>) {
    for handle in handles.iter().cycle() {
        let stream = loop {
            match listener.accept().await {
                Ok((stream, remote)) => {
                    if shared.connections.fetch_add(1, Ordering::Relaxed) < shared.limits.connections_max {
                        break stream;
                    }
                    shared.connections.fetch_sub(1, Ordering::Relaxed);
                    warn!(peer = %remote, limit = shared.limits.connections_max, "connection refused: too many");
                }
                Err(error) => {
                    // Most often no file handle is left; those that wait in the backlog are served when there is.
                    error!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        };
        let (service, shared) = (service.clone(), shared.clone());
        // Moved to the worker's own epoll.
        let stream = stream.into_std();
        handle.spawn(async move {
            if let Err(error) = serve(stream, service, &shared).await {
                shared.connections.fetch_sub(1, Ordering::Relaxed);
                warn!(%error, "a connection could not be set up");
            }
        });
    }
}

async fn serve(
    stream: io::Result<std::net::TcpStream>,
    service: Arc<dyn Service>,
    shared: &Arc<Shared>,
) -> io::Result<()> {
    let stream = stream?;
    stream.set_nodelay(true)?;
    let stream = tokio::net::TcpStream::from_std(stream)?;
    let peer = Peer::new(stream.peer_addr()?, stream.local_addr()?);
    Connection::new(Stream::Plain(stream), peer, service, shared.clone(), Encoding::Json).await;
    Ok(())
}
