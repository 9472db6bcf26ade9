// SPDX-License-Identifier: Apache-2.0
//! The loop of one connection: read what the socket has, decode every whole frame, handle them in order, write all
//! answers with one call.
//!
//! Nearly all connections are idle nearly all the time, so buffers belong to the worker thread and are lent to the
//! connection that has something to do; it keeps bytes of its own only for an incomplete frame or unsent answers.

use crate::{Answer, Peer, Reply, Request, Service, outbox::Outbox, peer::HUNG_UP, stream::Stream};
use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use oxmq_remoting::{Command, Encoding, FRAME_MAX_BYTES, Frame, Header, Kind, code, split_frame};
use std::{
    cell::RefCell,
    future::Future,
    io,
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};
use tracing::{debug, error, info, warn};

/// Once so many bytes of answers wait to be written, no more requests are read from that peer.
pub const UNSENT_MAX_BYTES: usize = 1 << 20;
/// Once so many requests of a peer wait for something, no more are read from it.
const LATER_MAX: usize = 16 * 1024;
/// Requests handled before other connections of the thread have their turn.
const TURN_REQUESTS: usize = 1024;
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
/// Nothing is written for a one-way request.
type Waiting = Pin<Box<dyn Future<Output = Option<(Command, Encoding, i32)>> + Send>>;

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
    stream: Stream,
    peer: Arc<Peer>,
    service: Arc<dyn Service>,
    shared: Arc<Shared>,
    /// What was read and is not handled: the beginning of a frame whose rest has not come yet.
    received: Vec<u8>,
    /// True if whole frames may be among it, because there was no room for their answers or no time.
    stopped: bool,
    /// Requests that may be handled before others have their turn.
    turn: usize,
    /// True if others were let run before the inbox is taken.
    gathered: bool,
    /// What `received` takes of the common budget.
    charged: usize,
    outbox: Outbox,
    waiting: FuturesUnordered<Waiting>,
    /// What our requests are written in: what was agreed upon, then what the peer's last request was written in.
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
        stream: Stream,
        peer: Arc<Peer>,
        service: Arc<dyn Service>,
        shared: Arc<Shared>,
        encoding: Encoding,
    ) -> Self {
        let timer = Box::pin(tokio::time::sleep(check_interval(&shared.limits)));
        service.opened(&peer);
        Self {
            stream,
            peer,
            service,
            shared,
            received: Vec::new(),
            stopped: false,
            turn: 0,
            gathered: false,
            charged: 0,
            outbox: Outbox::default(),
            waiting: FuturesUnordered::new(),
            encoding,
            timer,
            last_active: Instant::now(),
            frame_since: None,
            unsent_since: None,
        }
    }

    fn poll_end(&mut self, context: &mut Context<'_>, spare: &mut Spare) -> Poll<End> {
        let Err(end) = self.poll_io(context, spare) else { return Poll::Pending };
        if let End::Because(_) = end {
            // Whatever was asked before it went wrong is answered, if the socket takes it; the end is sure anyway.
            let _ = self.poll_flush(context, spare);
        }
        Poll::Ready(end)
    }

    /// Does all that can be done now; every source that can go on later has been told to wake this task.
    fn poll_io(&mut self, context: &mut Context<'_>, spare: &mut Spare) -> Result<(), End> {
        if self.lets_others_run(context) {
            return Ok(());
        }
        self.turn = TURN_REQUESTS;
        loop {
            self.take_inbox(context, spare)?;
            // What was just asked may already have its answer.
            self.poll_waiting(context, spare);
            let left_behind = self.outbox.len() >= UNSENT_MAX_BYTES;
            self.poll_flush(context, spare)?;
            if !self.has_room() {
                // That nothing is read now is no fault of the peer's.
                self.frame_since = self.frame_since.map(|_| Instant::now());
            }
            if self.outbox.len() >= UNSENT_MAX_BYTES {
                break;
            }
            if left_behind {
                continue;
            }
            if !self.has_room() {
                break;
            }
            if self.turn == 0 {
                // Unlike a wake-up of itself, this lets the runtime see first what other sockets have.
                let _ = pin!(tokio::task::yield_now()).poll(context);
                break;
            }
            if !self.poll_read(context, spare)? {
                break;
            }
        }
        if self.timer.as_mut().poll(context).is_ready() {
            self.check_time(context)?;
        }
        Ok(())
    }

    /// True if callers that are ready now are to run before this task goes on. Answers wake their callers, and the first who
    /// asks again wakes this task, which the runtime runs next: each request would be written by a call of its own. So as long as
    /// there are others, this task takes what they ask together, once all have run that can.
    fn lets_others_run(&mut self, context: &mut Context<'_>) -> bool {
        if std::mem::take(&mut self.gathered) || !self.peer.inbox().may_grow() {
            return false;
        }
        self.gathered = true;
        // Not by `yield_now`: who yields waits for its thread, and a caller may block that. What wakes itself stands in line, and
        // another thread can take it.
        context.waker().wake_by_ref();
        true
    }

    /// True if one more request may be handled.
    fn has_room(&self) -> bool {
        self.outbox.len() < UNSENT_MAX_BYTES && self.waiting.len() < LATER_MAX
    }

    fn take_inbox(&mut self, context: &mut Context<'_>, spare: &mut Spare) -> Result<(), End> {
        let mut inbox = self.peer.inbox();
        if let Some(reason) = inbox.close {
            if reason == HUNG_UP {
                // What was sent before that is still written, if the socket takes it.
                let commands = inbox.take();
                drop(inbox);
                for (command, kind, opaque) in commands {
                    self.outbox.push(command, self.encoding, kind, opaque, &mut spare.write);
                }
            }
            return Err(End::Because(reason.to_owned()));
        }
        if !inbox.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            inbox.waker = Some(context.waker().clone());
        }
        // Where too many wait, they are counted; in the outbox they are not.
        if inbox.is_empty() || self.outbox.len() >= UNSENT_MAX_BYTES {
            return Ok(());
        }
        let commands = inbox.take();
        drop(inbox);
        for (command, kind, opaque) in commands {
            self.outbox.push(command, self.encoding, kind, opaque, &mut spare.write);
        }
        Ok(())
    }

    fn poll_waiting(&mut self, context: &mut Context<'_>, spare: &mut Spare) {
        while !self.waiting.is_empty() && self.outbox.len() < UNSENT_MAX_BYTES {
            let Poll::Ready(Some(answer)) = self.waiting.poll_next_unpin(context) else { return };
            if let Some((command, encoding, opaque)) = answer {
                self.outbox.push(command, encoding, Kind::Response, opaque, &mut spare.write);
            }
        }
    }

    /// Writes what the socket takes.
    fn poll_flush(&mut self, context: &mut Context<'_>, spare: &mut Spare) -> io::Result<()> {
        let before = self.outbox.len();
        if before > 0
            && let Poll::Ready(result) = self.outbox.poll_write(&mut self.stream, context, &mut spare.write)
        {
            result?;
        }
        // With TLS, what was written may still lie there encrypted.
        if self.stream.is_tls()
            && let Poll::Ready(result) = Pin::new(&mut self.stream).poll_flush(context)
        {
            result?;
        }
        if before == 0 {
            return Ok(());
        }
        let (left, now) = (self.outbox.len(), Instant::now());
        if left < before {
            self.last_active = now;
            self.unsent_since = None;
        }
        if left > 0 {
            self.unsent_since.get_or_insert(now);
        }
        Ok(())
    }

    /// Handles what was left over, or reads once and handles what came. False if there is nothing to read.
    fn poll_read(&mut self, context: &mut Context<'_>, spare: &mut Spare) -> Result<bool, End> {
        let before = self.received.len();
        if before > FREE_INCOMPLETE_BYTES {
            return self.poll_read_more(context, spare);
        }
        // A little is sooner copied to the front of the thread's buffer than read on in a buffer of its own.
        let mut buffer = std::mem::take(&mut spare.read);
        buffer.resize(READ_BYTES, 0);
        buffer[..before].copy_from_slice(&self.received);
        let result = self.read_behind(context, &mut buffer, before).and_then(|filled| {
            let Some(filled) = filled else { return Ok(false) };
            let used = self.handle_all(&buffer[..filled], spare)?;
            self.received.clear();
            self.received.extend_from_slice(&buffer[used..filled]);
            self.keep_rest(used)
        });
        spare.read = buffer;
        result
    }

    /// Reads on behind much that was left over.
    fn poll_read_more(&mut self, context: &mut Context<'_>, spare: &mut Spare) -> Result<bool, End> {
        let mut buffer = std::mem::take(&mut self.received);
        let before = buffer.len();
        if !self.stopped {
            // Doubling, so that a length that lies costs no more than what was really sent.
            buffer.resize(before + before.min(READ_BYTES), 0);
        }
        let filled = self.read_behind(context, &mut buffer, before)?;
        buffer.truncate(filled.unwrap_or(before));
        let used = if filled.is_some() { self.handle_all(&buffer, spare)? } else { 0 };
        buffer.drain(..used);
        self.received = buffer;
        if filled.is_some() { self.keep_rest(used) } else { Ok(false) }
    }

    /// Reads behind the first `before` bytes of `buffer`, unless whole frames may be among those: they come first.
    /// Returns how many bytes are there then, `None` if nothing is there to be read.
    fn read_behind(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
        before: usize,
    ) -> Result<Option<usize>, End> {
        if self.stopped {
            return Ok(Some(before));
        }
        let mut free = ReadBuf::new(&mut buffer[before..]);
        match Pin::new(&mut self.stream).poll_read(context, &mut free)? {
            Poll::Pending => Ok(None),
            Poll::Ready(()) if free.filled().is_empty() => Err(End::ByPeer),
            Poll::Ready(()) => {
                self.last_active = Instant::now();
                Ok(Some(before + free.filled().len()))
            }
        }
    }

    /// After `used` bytes were handled, what is left takes no more memory than it needs, and its time runs.
    fn keep_rest(&mut self, used: usize) -> Result<bool, End> {
        let rest = self.received.len();
        if rest == 0 {
            self.received = Vec::new();
        } else if rest <= FREE_INCOMPLETE_BYTES {
            self.received.shrink_to(FREE_INCOMPLETE_BYTES);
        }
        if rest == 0 || self.stopped || used > 0 {
            self.frame_since = None;
        }
        if rest > 0 && !self.stopped {
            self.frame_since.get_or_insert_with(Instant::now);
        }
        self.charge()?;
        Ok(true)
    }

    /// Charges what was received to the common budget.
    fn charge(&mut self) -> Result<(), End> {
        let now = self.received.capacity().saturating_sub(FREE_INCOMPLETE_BYTES);
        let before = std::mem::replace(&mut self.charged, now);
        let budget = &self.shared.incomplete;
        if now < before {
            budget.fetch_sub(before - now, Ordering::Relaxed);
        } else if now > before {
            let more = now - before;
            if budget.fetch_add(more, Ordering::Relaxed) + more > self.shared.limits.incomplete_max_bytes {
                return Err(End::Because(
                    "incomplete frames of all peers exceed the memory set aside for them".into(),
                ));
            }
        }
        Ok(())
    }

    /// Handles the whole frames of `bytes`, as long as there is room for their answers and it is this connection's
    /// turn; returns how many bytes they took.
    fn handle_all(&mut self, bytes: &[u8], spare: &mut Spare) -> Result<usize, End> {
        let mut used = 0;
        let limit = self.shared.limits.frame_max_bytes;
        self.stopped = false;
        while let Some(frame) =
            split_frame(&bytes[used..], limit).map_err(|error| End::Because(error.to_string()))?
        {
            if self.turn == 0 || !self.has_room() {
                self.stopped = true;
                break;
            }
            self.turn -= 1;
            used += frame.size;
            self.handle(frame, spare)?;
        }
        Ok(used)
    }

    fn handle(&mut self, frame: Frame<'_>, spare: &mut Spare) -> Result<(), End> {
        // Borrowed, not moved out: it is large, and this is done for every request.
        let parsed = Header::parse(frame.encoding, frame.header);
        let header = match &parsed {
            Ok(header) => header,
            Err(error) => return Err(End::Because(error.to_string())),
        };
        if header.is_response() {
            self.peer.answered(header.opaque, || Reply::new(header, frame.body));
            return Ok(());
        }
        self.encoding = header.encoding;
        let (code, encoding, opaque) = (header.code, header.encoding, header.opaque);
        let (wanted, remote) = (!header.is_one_way(), self.peer.remote());
        let request = Request { header, body: frame.body, peer: &self.peer };
        let answer = catch_unwind(AssertUnwindSafe(|| self.service.handle(request)))
            .unwrap_or_else(|_| panicked(code, remote).into());
        match answer {
            Answer::Now(command) if wanted => {
                self.outbox.push(command, encoding, Kind::Response, opaque, &mut spare.write);
            }
            Answer::Now(_) | Answer::Nothing => {}
            Answer::Later(future) => self.waiting.push(Box::pin(async move {
                let command =
                    AssertUnwindSafe(future).catch_unwind().await.unwrap_or_else(|_| panicked(code, remote));
                wanted.then_some((command, encoding, opaque))
            })),
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

/// The answer to a request whose handler panicked: one bad request must not end the others of its peer.
fn panicked(code: i32, peer: SocketAddr) -> Command {
    error!(code, %peer, "the handler of a request panicked");
    Command::failure(code::SYSTEM_ERROR, "internal error, see the log of the server")
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
            End::Because(reason) if reason == HUNG_UP => debug!(%peer, "connection closed by us"),
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
