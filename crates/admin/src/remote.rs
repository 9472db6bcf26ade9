// SPDX-License-Identifier: Apache-2.0
//! Connections to servers.

use oxmq_net::{CallError, Client, NoService, Reply, Workers};
use oxmq_remoting::Command;
use std::{io, sync::Arc, time::Duration};

/// Asks servers by their address. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Remote {
    client: Client,
    /// The thread that the connections live on.
    _workers: Arc<Workers>,
}

impl Remote {
    /// # Errors
    /// If the system gives no thread.
    pub fn new() -> io::Result<Self> {
        let workers = Workers::start(1)?;
        let client = Client::new(&workers, Arc::new(NoService));
        Ok(Self { client, _workers: Arc::new(workers) })
    }

    /// Asks the server at `addr` (`host:port`). `timeout` covers connecting, too.
    ///
    /// # Errors
    /// [`CallError`] if no answer came; an answer that says that it failed is a [`Reply`].
    pub async fn call(&self, addr: &str, command: Command, timeout: Duration) -> Result<Reply, CallError> {
        self.client.call(addr, command, timeout).await
    }
}
