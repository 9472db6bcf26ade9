// SPDX-License-Identifier: Apache-2.0
//! Work that may wait for the disk because it reads what is old: off the threads of the connections, a few at a time,
//! and in turn: each connection has one such read under way, and the next one waits behind those of others.

use crate::refusal::Refusal;
use bytes::Bytes;
use oxmq_net::{Answer, Peer};
use oxmq_remoting::{Body, Command};
use oxmq_store::{Access, ReadError, Store};
use oxmq_types::PhysicalOffset;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinHandle,
};

/// Reads under way. More would only make each of them slower, and those that wait cost no thread.
const AT_ONCE: usize = 4;
/// Bytes of answers that were read from the disk and are still in memory, as their askers have not taken them.
const ANSWERS_MAX_KIB: usize = 64 * 1024;

/// Does what may wait for the disk. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct ColdReads {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    threads: Arc<Semaphore>,
    /// By connection, as long as it has a read under way or waiting.
    turns: Mutex<HashMap<u64, Arc<Semaphore>>>,
    answers: Arc<Semaphore>,
}

impl Default for ColdReads {
    fn default() -> Self {
        Self {
            shared: Arc::new(Shared {
                threads: Arc::new(Semaphore::new(AT_ONCE)),
                turns: Mutex::default(),
                answers: Arc::new(Semaphore::new(ANSWERS_MAX_KIB)),
            }),
        }
    }
}

impl Shared {
    fn turns(&self) -> MutexGuard<'_, HashMap<u64, Arc<Semaphore>>> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the line of one connection.
struct Turn {
    shared: Arc<Shared>,
    peer: u64,
    line: Arc<Semaphore>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut turns = self.shared.turns();
        // The map has one, and this is one.
        if Arc::strong_count(&self.line) <= 2 {
            turns.remove(&self.peer);
        }
    }
}

/// What an asker waits for, and what ends with it unless the work has begun.
struct Waiting<T>(JoinHandle<T>);

impl<T> Drop for Waiting<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl ColdReads {
    /// Does `work`, which may wait for the disk, for the connection `peer`, when there is room for an answer of `bytes`.
    ///
    /// # Errors
    /// If it panics.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        (peer, bytes): (u64, usize),
        work: impl FnOnce(Room) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let shared = &self.shared;
        let line = shared.turns().entry(peer).or_insert_with(|| Arc::new(Semaphore::new(1))).clone();
        let turn = Turn { shared: shared.clone(), peer, line };
        let shared = shared.clone();
        // A task of its own: the asker may not be polled for long, as its connection has too much unsent, and a semaphore
        // gives to who is first in line, whether that takes it or not.
        let mut waiting = Waiting(tokio::spawn(async move {
            // The semaphores are never closed. What was taken goes with the work: an asker who leaves does not end it.
            // Room comes after the turn, or one connection could take all of it and wait; before the thread, which is the
            // last to be kept waiting.
            let first = turn.line.clone().acquire_owned().await;
            let room = Room(shared.answers.clone().acquire_many_owned(kib(bytes)).await.ok());
            let thread = shared.threads.clone().acquire_owned().await;
            let done = tokio::task::spawn_blocking(move || {
                let _taken = (thread, first, turn);
                work(room)
            });
            done.await
        }));
        (&mut waiting.0).await.flatten().map_err(|error| Refusal::System(error.to_string()))
    }

    /// The same, for an answer.
    pub(crate) fn answer(
        &self,
        peer: &Peer,
        work: impl FnOnce() -> Result<Command, Refusal> + Send + 'static,
    ) -> Answer {
        let (this, peer) = (self.clone(), peer.id());
        Answer::later(
            async move { this.run((peer, 0), |_| work()).await.flatten().unwrap_or_else(Command::from) },
        )
    }

    /// Answers with what `then` makes of the record at `at`: at once if that is in memory.
    pub(crate) fn with_record(
        &self,
        (store, at): (&Arc<Store>, PhysicalOffset),
        peer: &Peer,
        then: impl FnOnce(Result<Bytes, ReadError>) -> Result<Answer, Refusal> + Send + 'static,
    ) -> Result<Answer, Refusal> {
        let found = store.record(at, Access::Memory);
        if !matches!(found, Err(ReadError::Cold)) {
            return then(found);
        }
        let (this, store, peer) = (self.clone(), store.clone(), peer.id());
        Ok(Answer::later(async move {
            let read = this.run((peer, 0), move |_| store.record(at, Access::Disk)).await;
            match read.and_then(then) {
                Ok(Answer::Now(command)) => command,
                Ok(Answer::Later(answer)) => answer.await,
                // Whoever asked wants none, so nobody sees it.
                Ok(Answer::Nothing) => Command::success(),
                Err(refusal) => refusal.into(),
            }
        }))
    }

    /// Room for an answer of `bytes`, if there is now.
    pub(crate) fn room_now(&self, bytes: usize) -> Option<Room> {
        Some(Room(Some(self.shared.answers.clone().try_acquire_many_owned(kib(bytes)).ok()?)))
    }
}

fn kib(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(1024).min(ANSWERS_MAX_KIB)).unwrap_or(u32::MAX)
}

/// Part of the memory for answers, until it is dropped.
#[derive(Debug)]
pub(crate) struct Room(Option<OwnedSemaphorePermit>);

/// An answer and the room that it takes.
struct Held {
    bytes: Vec<u8>,
    _room: Room,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Room {
    /// A copy of `body` that takes this room as long as somebody has it, and no more of it than it needs.
    pub(crate) fn hold(mut self, body: &Body) -> Body {
        let bytes = body.pieces().concat();
        if let Some(permit) = &mut self.0 {
            let rest = permit.num_permits().saturating_sub(kib(bytes.len()) as usize);
            drop(permit.split(rest));
        }
        Bytes::from_owner(Held { bytes, _room: self }).into()
    }
}

#[cfg(test)]
mod tests;
