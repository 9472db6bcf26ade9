// SPDX-License-Identifier: Apache-2.0
//! What a product does with the requests of its peers.

use crate::Peer;
use oxmq_remoting::{Command, Header, absent_because, code};
use std::{future::Future, pin::Pin, sync::Arc};

/// The product's side of every connection.
///
/// All methods run on the connection's worker thread and must not block: what has to wait answers
/// [`Answer::Later`].
pub trait Service: Send + Sync + 'static {
    /// A peer has connected.
    fn opened(&self, _peer: &Arc<Peer>) {}

    /// Answers one request. Requests of one connection come in the order in which they were sent.
    fn handle(&self, request: Request<'_>) -> Answer;

    /// A peer is gone; none of its requests will follow.
    fn closed(&self, _peer: &Arc<Peer>) {}
}

/// A request as it lies in the receive buffer.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Its header.
    pub header: &'a Header<'a>,
    /// What follows the header.
    pub body: &'a [u8],
    /// Who asks.
    pub peer: &'a Arc<Peer>,
}

/// What becomes of a request. The answer to a one-way request is dropped.
pub enum Answer {
    /// It is answered at once.
    Now(Command),
    /// It has to wait: for the disk, for a replica, for a message. Dropped when the connection ends.
    Later(Pin<Box<dyn Future<Output = Command> + Send>>),
    /// It is not answered.
    Nothing,
}

impl Answer {
    /// An answer that `future` gives.
    pub fn later(future: impl Future<Output = Command> + Send + 'static) -> Self {
        Self::Later(Box::pin(future))
    }

    /// Java's answer to a request code that it does not know, with the reason if it is one that others know.
    #[must_use]
    pub fn unsupported(code: i32) -> Self {
        let mut remark = format!(" request type {code} not supported");
        if let Some(why) = absent_because(code) {
            remark.extend([": ", why]);
        }
        Self::Now(Command::failure(code::REQUEST_CODE_NOT_SUPPORTED, remark))
    }
}

impl From<Command> for Answer {
    fn from(command: Command) -> Self {
        Self::Now(command)
    }
}

/// The service of those who only ask.
#[derive(Debug, Clone, Copy)]
pub struct NoService;

impl Service for NoService {
    fn handle(&self, request: Request<'_>) -> Answer {
        Answer::unsupported(request.header.code)
    }
}
