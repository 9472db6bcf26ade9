// SPDX-License-Identifier: Apache-2.0
//! Keys in memory: for tests, and where a process that is gone may handle again what it handled.

use super::{Claim, ClaimStore, Key, StoreError, Token};
use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Remembers the keys of this process, as long as it lives. Cheap to clone; clones share the keys.
///
/// It protects from what one process gets twice (a rebalance, a send that was retried), and from nothing that
/// happens between two processes or across a restart.
///
/// Bounded: with `capacity` keys remembered, the one that would be forgotten first makes place. Keys that are being handled are
/// never forgotten; if there are only those, a claim fails.
#[derive(Clone)]
pub struct MemoryStore {
    shared: Arc<Mutex<Keys>>,
    capacity: usize,
}

#[derive(Default)]
struct Keys {
    rows: HashMap<Key, Row>,
    /// The rows that are done, by their end.
    done: BTreeSet<(Instant, Key)>,
}

struct Row {
    end: Instant,
    /// `None`: done.
    holder: Option<Token>,
}

impl MemoryStore {
    /// Remembers at most `capacity` keys, and at least one.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { shared: Arc::default(), capacity: capacity.max(1) }
    }

    /// How many keys it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().rows.len()
    }

    /// True if it has no keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, Keys> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keys {
    fn remove(&mut self, key: &Key) {
        if let Some(row) = self.rows.remove(key)
            && row.holder.is_none()
        {
            self.done.remove(&(row.end, key.clone()));
        }
    }

    fn held(&mut self, key: &Key, token: Token) -> Option<&mut Row> {
        self.rows.get_mut(key).filter(|row| row.holder == Some(token))
    }
}

impl ClaimStore for MemoryStore {
    async fn claim(&self, key: &Key, token: Token, lease: Duration) -> Result<Claim, StoreError> {
        let now = Instant::now();
        let mut keys = self.lock();
        if let Some(row) = keys.rows.get(key).filter(|row| row.end > now) {
            return Ok(if row.holder.is_none() { Claim::Done } else { Claim::Held(row.end - now) });
        }
        keys.remove(key);
        if keys.rows.len() >= self.capacity {
            let Some((_, first)) = keys.done.pop_first() else {
                let full = format!("all {} keys that the memory may hold are being handled", self.capacity);
                return Err(StoreError::Failed(full.into()));
            };
            keys.rows.remove(&first);
        }
        keys.rows.insert(key.clone(), Row { end: now + lease, holder: Some(token) });
        Ok(Claim::Granted)
    }

    async fn renew(&self, key: &Key, token: Token, lease: Duration) -> Result<bool, StoreError> {
        let mut keys = self.lock();
        let row = keys.held(key, token);
        Ok(row.map(|row| row.end = Instant::now() + lease).is_some())
    }

    async fn complete(&self, key: &Key, token: Token, retention: Duration) -> Result<bool, StoreError> {
        let end = Instant::now() + retention;
        let mut keys = self.lock();
        let Some(row) = keys.held(key, token) else { return Ok(false) };
        *row = Row { end, holder: None };
        keys.done.insert((end, key.clone()));
        Ok(true)
    }

    async fn release(&self, key: &Key, token: Token) -> Result<(), StoreError> {
        let mut keys = self.lock();
        if keys.held(key, token).is_some() {
            keys.remove(key);
        }
        Ok(())
    }

    async fn forget_expired(&self, limit: u32) -> Result<u64, StoreError> {
        let now = Instant::now();
        let mut keys = self.lock();
        let mut count = 0;
        while count < u64::from(limit)
            && keys.done.first().is_some_and(|(end, _)| *end <= now)
            && let Some((_, key)) = keys.done.pop_first()
        {
            keys.rows.remove(&key);
            count += 1;
        }
        Ok(count)
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}
