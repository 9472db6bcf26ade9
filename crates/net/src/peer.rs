// SPDX-License-Identifier: Apache-2.0
//! The other end of a connection, as the rest of the program sees it.

use bytes::Bytes;
use oxmq_remoting::{Command, FieldValue, Header, Kind, Text};
use smallvec::SmallVec;
use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering},
    },
    task::{Poll, Waker},
    time::Duration,
};
use thiserror::Error;
use tokio::sync::oneshot;

/// Most commands that may wait to be sent to one peer; a peer that lets more pile up is closed.
const QUEUED_MAX: usize = 4096;
/// As many bytes of bodies and texts may wait, and the command with which there are more.
const QUEUED_MAX_BYTES: usize = 16 << 20;

/// With so many commands it is not waited for more to be written together.
const GATHERED_MAX: usize = 64;

/// The reason of [`Peer::hang_up`].
pub(crate) const HUNG_UP: &str = "not needed any more";

/// A connected peer. Commands can be sent to it from any thread.
#[derive(Debug)]
pub struct Peer {
    id: u64,
    remote: SocketAddr,
    local: SocketAddr,
    closed: AtomicBool,
    next_opaque: AtomicI32,
    inbox: Mutex<Inbox>,
}

/// What other threads left for the connection's loop, and how to wake it.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    commands: Vec<(Command, Kind, i32)>,
    /// Of those commands, see [`size`].
    bytes: usize,
    pub(crate) close: Option<&'static str>,
    pub(crate) waker: Option<Waker>,
    /// Calls of ours that the peer has not answered, by opaque.
    pending: HashMap<i32, oneshot::Sender<Reply>, BuildHasherDefault<OpaqueHasher>>,
    /// Those who wait until there is room for their command.
    room: Vec<Waker>,
}

/// Bytes in the fields of the answer to a send or a pull.
const TEXT_USUAL: usize = 160;

/// Opaques are numbers that we count up ourselves: no peer can choose them so that they meet.
#[derive(Debug, Default)]
struct OpaqueHasher(u64);

impl Hasher for OpaqueHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_i32(i32::from(*byte)));
    }

    fn write_i32(&mut self, opaque: i32) {
        self.0 = (self.0 ^ u64::from(opaque.cast_unsigned())).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// An answer of a peer, owned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Response code.
    pub code: i32,
    /// The reason, if it failed.
    pub remark: Option<String>,
    /// Version of the peer.
    pub version: i32,
    /// Its custom fields.
    pub fields: ReplyFields,
    /// What followed the header.
    pub body: Bytes,
}

impl Inbox {
    /// True if no command waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// True if some commands wait, and other callers may be about to add theirs.
    pub(crate) fn may_grow(&self) -> bool {
        let waiting = self.commands.len();
        (1..GATHERED_MAX).contains(&waiting) && self.pending.len() > waiting && self.close.is_none()
    }

    /// All commands that wait, in their order.
    pub(crate) fn take(&mut self) -> Vec<(Command, Kind, i32)> {
        self.bytes = 0;
        self.room.drain(..).for_each(Waker::wake);
        std::mem::take(&mut self.commands)
    }

    /// Adds a command. The caller has seen that there is room, or does not care.
    fn push(&mut self, command: Command, kind: Kind, opaque: i32, answer: Option<oneshot::Sender<Reply>>) {
        if let Some(answer) = answer {
            self.pending.insert(opaque, answer);
        }
        self.bytes += size(&command);
        self.commands.push((command, kind, opaque));
    }
}

impl Reply {
    pub(crate) fn new(header: &Header<'_>, body: &[u8]) -> Self {
        let own = |text: Text<'_>| text.to_cow().into_owned();
        Self {
            code: header.code,
            remark: header.remark.map(own),
            version: header.version,
            fields: header.fields.iter().map(|(name, value)| (name, value.to_cow())).collect(),
            body: Bytes::copy_from_slice(body),
        }
    }

    /// The value of a custom field.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().filter(|(key, _)| *key == name).last().map(|(_, value)| value)
    }
}

/// The custom fields of an answer, in the order in which they came, in one piece of memory.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct ReplyFields {
    /// Name, value, name, value...
    text: String,
    /// Where each name and its value end in it.
    ends: SmallVec<[(u32, u32); 8]>,
}

impl ReplyFields {
    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut start = 0;
        self.ends.iter().map(move |&(name, value)| {
            let (name, value) = (name as usize, value as usize);
            let field = (&self.text[start..name], &self.text[name..value]);
            start = value;
            field
        })
    }
}

impl<N: AsRef<str>, V: AsRef<str>> FromIterator<(N, V)> for ReplyFields {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(fields: I) -> Self {
        let mut all = Self { text: String::with_capacity(TEXT_USUAL), ends: SmallVec::new() };
        // No frame is longer than 32 bits can say.
        let end = |text: &String| u32::try_from(text.len()).unwrap_or(u32::MAX);
        for (name, value) in fields {
            all.text.push_str(name.as_ref());
            let name = end(&all.text);
            all.text.push_str(value.as_ref());
            all.ends.push((name, end(&all.text)));
        }
        all
    }
}

impl std::fmt::Debug for ReplyFields {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Why a call got no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CallError {
    /// No connection could be made.
    #[error("connect to {addr} failed: {reason}")]
    Connect {
        /// Address that was dialled.
        addr: String,
        /// What the system said.
        reason: String,
    },
    /// The connection ended before the answer came.
    #[error("the connection was closed before the answer came")]
    Closed,
    /// No answer within the time given, which is in ms.
    #[error("no answer within {0} ms")]
    Timeout(u128),
}

impl Peer {
    pub(crate) fn new(remote: SocketAddr, local: SocketAddr) -> Arc<Self> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        Arc::new(Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            remote,
            local,
            closed: AtomicBool::new(false),
            next_opaque: AtomicI32::new(1),
            inbox: Mutex::default(),
        })
    }

    /// A peer without a connection, for tests: what is sent to it waits for ever, or until [`Self::mark_closed`].
    #[must_use]
    pub fn unconnected(remote: SocketAddr) -> Arc<Self> {
        Self::new(remote, remote)
    }

    /// The same, of a peer that dialled another address than its own, as those on other machines do.
    #[must_use]
    pub fn unconnected_to(local: SocketAddr, remote: SocketAddr) -> Arc<Self> {
        Self::new(remote, local)
    }

    /// A number that no other peer of this process ever has.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Its address.
    #[must_use]
    pub fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// Our address, as it dialled it.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// True once the connection is gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Sends a request that wants no answer. Nothing happens if the peer is gone.
    pub fn send(&self, command: Command) {
        self.push(command, Kind::OneWay, 0, None);
    }

    /// Asks the peer.
    ///
    /// # Errors
    /// [`CallError::Closed`] and [`CallError::Timeout`].
    pub async fn call(&self, command: Command, timeout: Duration) -> Result<Reply, CallError> {
        let opaque = self.next_opaque.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        self.push(command, Kind::Request, opaque, Some(sender));
        let forget = ForgetCall { peer: self, opaque };
        match tokio::time::timeout(timeout, receiver).await {
            Ok(answer) => forget.answered(answer),
            Err(_) => Err(CallError::Timeout(timeout.as_millis())),
        }
    }

    /// As [`Self::call`], but waits for its turn if much waits to be sent, where the other gives the peer up.
    ///
    /// # Errors
    /// [`CallError::Closed`] and [`CallError::Timeout`].
    pub async fn call_in_turn(&self, command: Command, timeout: Duration) -> Result<Reply, CallError> {
        let opaque = self.next_opaque.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        let forget = ForgetCall { peer: self, opaque };
        let answer = async {
            // If the peer is gone, the sender is dropped, and so the receiver ends at once.
            self.push_when_room(command, Kind::Request, opaque, Some(sender)).await;
            receiver.await
        };
        match tokio::time::timeout(timeout, answer).await {
            Ok(answer) => forget.answered(answer),
            Err(_) => Err(CallError::Timeout(timeout.as_millis())),
        }
    }

    /// As [`Self::send`], but waits for its turn if much waits to be sent. False if the peer is gone.
    pub async fn send_in_turn(&self, command: Command) -> bool {
        self.push_when_room(command, Kind::OneWay, 0, None).await
    }

    /// Commands that wait to be sent to it.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.inbox().commands.len()
    }

    /// Ends the connection; `reason` goes to the log.
    pub fn close(&self, reason: &'static str) {
        let mut inbox = self.inbox();
        inbox.close = Some(reason);
        wake(inbox);
    }

    /// Ends the connection because it is not needed any more. What was sent before is written if the socket takes it.
    pub fn hang_up(&self) {
        self.close(HUNG_UP);
    }

    fn push(&self, command: Command, kind: Kind, opaque: i32, answer: Option<oneshot::Sender<Reply>>) {
        let mut inbox = self.inbox();
        // Under the lock: the loop marks the peer closed and clears the inbox under it, too.
        if self.is_closed() {
            return;
        }
        if inbox.commands.len() >= QUEUED_MAX || inbox.bytes > QUEUED_MAX_BYTES {
            inbox.close = Some("too many commands wait to be sent to it");
            return wake(inbox);
        }
        inbox.push(command, kind, opaque, answer);
        wake(inbox);
    }

    /// As [`Self::push`], but waits until there is room instead of giving the peer up. False if it is gone.
    async fn push_when_room(
        &self,
        command: Command,
        kind: Kind,
        opaque: i32,
        mut answer: Option<oneshot::Sender<Reply>>,
    ) -> bool {
        let mut command = Some(command);
        std::future::poll_fn(|context| {
            let mut inbox = self.inbox();
            if self.is_closed() {
                return Poll::Ready(false);
            }
            // Half of what others may leave here, so that nobody who waits pushes the peer over its limit.
            if inbox.commands.len() >= QUEUED_MAX / 2 || inbox.bytes > QUEUED_MAX_BYTES / 2 {
                inbox.room.push(context.waker().clone());
                return Poll::Pending;
            }
            if let Some(command) = command.take() {
                inbox.push(command, kind, opaque, answer.take());
            }
            wake(inbox);
            Poll::Ready(true)
        })
        .await
    }

    pub(crate) fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn answered(&self, opaque: i32, reply: impl FnOnce() -> Reply) {
        let sender = self.inbox().pending.remove(&opaque);
        // Whoever asked may have given up; then nobody wants the answer.
        if let Some(sender) = sender {
            let _ = sender.send(reply());
        }
    }

    /// Forgets what waits to be sent and takes no more. For the loop of the connection when it ends, and for tests.
    pub fn mark_closed(&self) {
        let mut inbox = self.inbox();
        self.closed.store(true, Ordering::Release);
        inbox.room.drain(..).for_each(Waker::wake);
        *inbox = Inbox::default();
    }
}

/// Bytes in the body of a command and in the texts of its fields.
fn size(command: &Command) -> usize {
    let texts = command.fields.iter().map(|(_, value)| match value {
        FieldValue::Text(text) => text.len(),
        FieldValue::Shared(text) => text.len(),
        FieldValue::Int(_) | FieldValue::Bool(_) => 0,
    });
    command.body.len() + texts.sum::<usize>()
}

fn wake(mut inbox: MutexGuard<'_, Inbox>) {
    let waker = inbox.waker.take();
    drop(inbox);
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// Removes a call from the table when its caller stops waiting, for whatever reason.
struct ForgetCall<'a> {
    peer: &'a Peer,
    opaque: i32,
}

impl ForgetCall<'_> {
    /// The table has forgotten an answered call already.
    fn answered(self, answer: Result<Reply, oneshot::error::RecvError>) -> Result<Reply, CallError> {
        std::mem::forget(self);
        answer.map_err(|_| CallError::Closed)
    }
}

impl Drop for ForgetCall<'_> {
    fn drop(&mut self) {
        self.peer.inbox().pending.remove(&self.opaque);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn who_waits_for_a_turn_gets_it_and_does_not_push_the_peer_over_its_limit() {
        let peer = Peer::unconnected(([127, 0, 0, 1], 1).into());
        let sends: Vec<_> = (0..3 * QUEUED_MAX)
            .map(|_| {
                let peer = peer.clone();
                tokio::spawn(async move { peer.send_in_turn(Command::new(1)).await })
            })
            .collect();
        let mut taken = 0;
        while taken < sends.len() {
            tokio::task::yield_now().await;
            let mut inbox = peer.inbox();
            assert!(inbox.commands.len() <= QUEUED_MAX / 2 && inbox.close.is_none());
            taken += inbox.take().len();
        }
        for send in sends {
            assert!(send.await.unwrap());
        }
        // Who waits when the peer goes is told.
        peer.send(Command::new(1).with_body(vec![0; QUEUED_MAX_BYTES]));
        let late = tokio::spawn({
            let peer = peer.clone();
            async move { peer.call_in_turn(Command::new(1), Duration::from_secs(60)).await }
        });
        tokio::task::yield_now().await;
        peer.mark_closed();
        assert_eq!(late.await.unwrap(), Err(CallError::Closed));
    }

    #[test]
    fn what_waits_is_bounded_by_number_and_by_bytes() {
        let check = |command: Command, fit: usize| {
            let peer = Peer::unconnected(([127, 0, 0, 1], 1).into());
            let send = |times| (0..times).for_each(|_| peer.send(command.clone()));
            // What was taken counts no more.
            send(fit);
            assert_eq!(peer.inbox().take().len(), fit);
            send(fit);
            let state = || {
                let inbox = peer.inbox();
                (inbox.commands.len(), inbox.close.is_some())
            };
            assert_eq!(state(), (fit, false));
            send(1);
            assert_eq!(state(), (fit, true));
        };
        check(Command::new(1), QUEUED_MAX);
        let of = |bytes: usize| Command::new(1).with_body(vec![0; bytes]);
        check(of(QUEUED_MAX_BYTES / 4), 5);
        check(of(QUEUED_MAX_BYTES + 1), 1);
        check(Command::new(1).with("properties", "x".repeat(QUEUED_MAX_BYTES / 4)), 5);
    }
}
