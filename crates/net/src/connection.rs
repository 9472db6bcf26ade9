// SPDX-License-Identifier: Apache-2.0
//! The loop of one connection: read what the socket has, decode every whole frame, handle them in order, write all
//! answers with one call.
//!
//! Nearly all connections are idle nearly all the time, so buffers belong to the worker thread and are lent to the
//! connection that has something to do; it keeps bytes of its own only for an incomplete frame or unsent answers.

use crate::{Answer, Peer, Reply, Request, Service, outbox::Outbox};
use futures_util::{StreamExt, stream::FuturesUnordered};
use oxmq_remoting::{Command, Encoding, FRAME_MAX_BYTES, Frame, Header, Kind, code, split_frame};
use std::{
    cell::RefCell,
    future::Future,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncRead, ReadBuf},
    net::TcpStream,
    time::Sleep,
};
use tracing::{debug, error, info, warn};

/// Once so many bytes of answers wait to be written, no more requests are read from that peer.
pub const UNSENT_MAX_BYTES: usize = 1 << 20;
/// Once so many requests of a peer wait for something, no more are read from it.
const LATER_MAX: usize = 16 * 1024;
/// Bytes read in one call.
const READ_BYTES: usize = 256 * 1024;
/// A frame up to this size may be incomplete at no charge to the common budget.
const FREE_INCOMPLETE_BYTES: usize = 16 * 1024;
/// A thread's spare buffers above this size are given back.
const SPARE_MAX_BYTES: usize = 1 << 20;

/// What a listener allows its peers.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Longest frame, in bytes.
    pub frame_max_bytes: usize,
    /// Bytes of incomplete frames that all connections may hold together.
    pub incomplete_max_bytes: usize,
    /// A connection on which nothing came or went for so long is closed. Java: `serverChannelMaxIdleTimeSeconds`.
    pub idle_timeout: Duration,
    /// A peer that takes none of its answers for so long, or needs longer for one frame, is closed.
    pub stall_timeout: Duration,
    /// Most connections at once.
    pub connections_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame_max_bytes: FRAME_MAX_BYTES,
            incomplete_max_bytes: 256 << 20,
            idle_timeout: Duration::from_secs(120),
            stall_timeout: Duration::from_secs(60),
            connections_max: 100_000,
        }
    }
}

/// What the connections of one listener share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) limits: Limits,
    /// Bytes of incomplete frames beyond each connection's free part.
    incomplete: AtomicUsize,
    pub(crate) connections: AtomicUsize,
}

impl Shared {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, ..Self::default() })
    }
}

/// Buffers of a worker thread.
#[derive(Debug, Default)]
struct Spare {
    read: Vec<u8>,
    write: Vec<u8>,
}

thread_local! {
    static SPARE: RefCell<Spare> = RefCell::default();
}

/// A request that waits for something, and how its answer has to be written.
type Waiting = Pin<Box<dyn Future<Output = (Command, Encoding, i32)> + Send>>;

/// Why a connection ends.
enum End {
    /// The peer closed it.
    ByPeer,
    /// The socket failed.
    Io(io::Error),
    /// We close it, and say why.
    Because(String),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The task of one connection.
pub(crate) struct Connection {
    stream: TcpStream,
    peer: Arc<Peer>,
    service: Arc<dyn Service>,
    shared: Arc<Shared>,
    /// The beginning of a frame whose rest has not come yet.
    incomplete: Vec<u8>,
    /// What `incomplete` takes of the common budget.
    charged: usize,
    outbox: Outbox,
    waiting: FuturesUnordered<Waiting>,
    /// Encoding of the peer's last request: what it writes, it reads.
    encoding: Encoding,
    timer: Pin<Box<Sleep>>,
    last_active: Instant,
    /// Since when a frame is incomplete, or answers wait without one byte of them being taken.
    frame_since: Option<Instant>,
    unsent_since: Option<Instant>,
}

impl Connection {
    /// A connection over `stream`, to be polled until it ends.
    pub(crate) fn new(
        stream: TcpStream,
        peer: Arc<Peer>,
        service: Arc<dyn Service>,
        shared: Arc<Shared>,
    ) -> Self {
        let timer = Box::pin(tokio::time::sleep(check_interval(&shared.limits)));
        service.opened(&peer);
        Self {
            stream,
            peer,
            service,
            shared,
            incomplete: Vec::new(),
            charged: 0,
            outbox: Outbox::default(),
            waiting: FuturesUnordered::new(),
            encoding: Encoding::Json,
            timer,
            last_active: Instant::now(),
            frame_since: None,
            unsent_since: None,
        }
    }

    fn poll_end(&mut self, context: &mut Context<'_>, spare: &mut Spare) -> Poll<End> {
        match self.poll_io(context, spare) {
            Ok(()) => Poll::Pending,
            Err(end) => Poll::Ready(end),
        }
    }

    /// Does all that can be done now; every source that can go on later has been told to wake this task.
    fn poll_io(&mut self, context: &mut Context<'_>, spare: &mut Spare) -> Result<(), End> {
        self.take_inbox(context, spare)?;
        self.poll_waiting(context, spare);
        loop {
            let flushed = self.poll_flush(context, spare)?;
            if !flushed && self.outbox.len() >= UNSENT_MAX_BYTES || self.waiting.len() >= LATER_MAX {
                break;
            }
            if !self.poll_read(context, spare)? {
                break;
            }
            // What was just asked may already have its answer.
            self.poll_waiting(context, spare);
        }
        if self.timer.as_mut().poll(context).is_ready() {
            self.check_time(context)?;
        }
        Ok(())
    }

    fn take_inbox(&mut self, context: &mut Context<'_>, spare: &mut Spare) -> Result<(), End> {
        let mut inbox = self.peer.inbox();
        if let Some(reason) = inbox.close {
            return Err(End::Because(reason.to_owned()));
        }
        if !inbox.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            inbox.waker = Some(context.waker().clone());
        }
        if inbox.commands.is_empty() {
            return Ok(());
        }
        let commands = std::mem::take(&mut inbox.commands);
        drop(inbox);
        for (command, kind, opaque) in commands {
            self.outbox.push(command, self.encoding, kind, opaque, &mut spare.write);
        }
        Ok(())
    }

    fn poll_waiting(&mut self, context: &mut Context<'_>, spare: &mut Spare) {
        while !self.waiting.is_empty() {
            let Poll::Ready(Some((command, encoding, opaque))) = self.waiting.poll_next_unpin(context) else {
                return;
            };
            self.outbox.push(command, encoding, Kind::Response, opaque, &mut spare.write);
        }
    }

    /// True if nothing is left to write.
    fn poll_flush(&mut self, context: &mut Context<'_>, spare: &mut Spare) -> Result<bool, End> {
        let before = self.outbox.len();
        if before == 0 {
            return Ok(true);
        }
        let flushed = match self.outbox.poll_write(&mut self.stream, context, &mut spare.write) {
            Poll::Ready(result) => result.map(|()| true)?,
            Poll::Pending => false,
        };
        if flushed {
            self.unsent_since = None;
        } else if self.outbox.len() < before || self.unsent_since.is_none() {
            self.unsent_since = Some(Instant::now());
        }
        Ok(flushed)
    }

    /// Reads once and handles what came. False if there is nothing to read.
    fn poll_read(&mut self, context: &mut Context<'_>, spare: &mut Spare) -> Result<bool, End> {
        if !self.incomplete.is_empty() {
            return self.poll_read_more(context, spare);
        }
        spare.read.resize(READ_BYTES, 0);
        let mut read = std::mem::take(&mut spare.read);
        let result = self.read_into(context, &mut read).and_then(|length| {
            let Some(length) = length else { return Ok(false) };
            let used = self.handle_all(&read[..length], spare)?;
            if used < length {
                self.incomplete.extend_from_slice(&read[used..length]);
                self.frame_since = Some(self.last_active);
                self.charge()?;
            }
            Ok(true)
        });
        spare.read = read;
        result
    }

    /// Reads on behind an incomplete frame.
    fn poll_read_more(&mut self, context: &mut Context<'_>, spare: &mut Spare) -> Result<bool, End> {
        let mut incomplete = std::mem::take(&mut self.incomplete);
        let before = incomplete.len();
        // Doubling, so that a length that lies costs no more than what was really sent.
        incomplete.resize(before + before.clamp(4096, READ_BYTES), 0);
        let Some(length) = self.read_into(context, &mut incomplete[before..])? else {
            incomplete.truncate(before);
            self.incomplete = incomplete;
            return Ok(false);
        };
        incomplete.truncate(before + length);
        let used = self.handle_all(&incomplete, spare)?;
        if used == incomplete.len() {
            self.frame_since = None;
            incomplete = Vec::new();
        } else if used > 0 {
            self.frame_since = Some(self.last_active);
            incomplete = incomplete[used..].to_vec();
        }
        self.incomplete = incomplete;
        self.charge()?;
        Ok(true)
    }

    /// `None` if nothing is there to be read.
    fn read_into(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Result<Option<usize>, End> {
        let mut buffer = ReadBuf::new(buffer);
        match Pin::new(&mut self.stream).poll_read(context, &mut buffer)? {
            Poll::Pending => Ok(None),
            Poll::Ready(()) if buffer.filled().is_empty() => Err(End::ByPeer),
            Poll::Ready(()) => {
                self.last_active = Instant::now();
                Ok(Some(buffer.filled().len()))
            }
        }
    }

    /// Charges the incomplete frame to the common budget.
    fn charge(&mut self) -> Result<(), End> {
        let now = self.incomplete.capacity().saturating_sub(FREE_INCOMPLETE_BYTES);
        let budget = &self.shared.incomplete;
        if now >= self.charged {
            let more = now - self.charged;
            let before = budget.fetch_add(more, Ordering::Relaxed);
            self.charged = now;
            if more > 0 && before + more > self.shared.limits.incomplete_max_bytes {
                return Err(End::Because(
                    "incomplete frames of all peers exceed the memory set aside for them".into(),
                ));
            }
        } else {
            budget.fetch_sub(self.charged - now, Ordering::Relaxed);
            self.charged = now;
        }
        Ok(())
    }

    /// Handles every whole frame of `bytes`; returns how many bytes they took.
    fn handle_all(&mut self, bytes: &[u8], spare: &mut Spare) -> Result<usize, End> {
        let mut used = 0;
        let limit = self.shared.limits.frame_max_bytes;
        while let Some(frame) =
            split_frame(&bytes[used..], limit).map_err(|error| End::Because(error.to_string()))?
        {
            used += frame.size;
            self.handle(frame, spare)?;
        }
        Ok(used)
    }

    fn handle(&mut self, frame: Frame<'_>, spare: &mut Spare) -> Result<(), End> {
        let header =
            Header::parse(frame.encoding, frame.header).map_err(|error| End::Because(error.to_string()))?;
        if header.is_response() {
            self.peer.answered(header.opaque, || Reply::new(&header, frame.body));
            return Ok(());
        }
        self.encoding = header.encoding;
        let request = Request { header: &header, body: frame.body, peer: &self.peer };
        let answer = catch_unwind(AssertUnwindSafe(|| self.service.handle(request))).unwrap_or_else(|_| {
            error!(code = header.code, peer = %self.peer.remote(), "the handler of a request panicked");
            Command::failure(code::SYSTEM_ERROR, "internal error, see the log of the server").into()
        });
        let (encoding, opaque) = (header.encoding, header.opaque);
        match answer {
            Answer::Nothing => {}
            Answer::Now(_) if header.is_one_way() => {}
            Answer::Now(command) => {
                self.outbox.push(command, encoding, Kind::Response, opaque, &mut spare.write)
            }
            Answer::Later(future) => {
                self.waiting.push(Box::pin(async move { (future.await, encoding, opaque) }))
            }
        }
        Ok(())
    }

    fn check_time(&mut self, context: &mut Context<'_>) -> Result<(), End> {
        let limits = &self.shared.limits;
        let late =
            |since: Option<Instant>, limit: Duration| since.is_some_and(|since| since.elapsed() >= limit);
        if late(self.frame_since, limits.stall_timeout) {
            return Err(End::Because("its frame was not complete in time".into()));
        }
        if late(self.unsent_since, limits.stall_timeout) {
            return Err(End::Because("it does not read its answers".into()));
        }
        if late(Some(self.last_active), limits.idle_timeout) && self.waiting.is_empty() {
            return Err(End::Because("it was idle for too long".into()));
        }
        let next = tokio::time::Instant::now() + check_interval(limits);
        self.timer.as_mut().reset(next);
        // Registers the new time.
        if self.timer.as_mut().poll(context).is_ready() {
            context.waker().wake_by_ref();
        }
        self.outbox.shrink();
        Ok(())
    }
}

/// Often enough for both time-outs to be kept within a quarter of their length.
fn check_interval(limits: &Limits) -> Duration {
    limits.idle_timeout.min(limits.stall_timeout) / 4
}

impl Future for Connection {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut spare = SPARE.take();
        let end = self.poll_end(context, &mut spare);
        spare.write.clear();
        if spare.write.capacity() > SPARE_MAX_BYTES {
            spare.write = Vec::new();
        }
        SPARE.set(spare);
        let Poll::Ready(end) = end else { return Poll::Pending };
        let peer = self.peer.remote();
        match end {
            End::ByPeer => debug!(%peer, "connection closed by its peer"),
            End::Io(error) => info!(%peer, %error, "connection lost"),
            End::Because(reason) => warn!(%peer, reason, "connection closed"),
        }
        Poll::Ready(())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.incomplete.fetch_sub(self.charged, Ordering::Relaxed);
        self.shared.connections.fetch_sub(1, Ordering::Relaxed);
        self.peer.mark_closed();
        self.service.closed(&self.peer);
    }
}
