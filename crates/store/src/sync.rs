// SPDX-License-Identifier: Apache-2.0
//! Locks that a panic elsewhere does not close, and a bell for threads that sleep until there is work.
//!
//! Lock order, outermost first: writer, queue state, commit log spares, commit log segments. The registry of queues
//! is taken before a queue's state and never with the writer held.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::{Duration, Instant},
};

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

/// Wakes one thread. Rings that come while it works are one ring.
#[derive(Default)]
pub(crate) struct Bell {
    rung: Mutex<bool>,
    condvar: Condvar,
}

impl Bell {
    pub(crate) fn ring(&self) {
        *lock(&self.rung) = true;
        self.condvar.notify_one();
    }

    /// Sleeps until the bell rings; at once if it rang since the last time.
    pub(crate) fn wait(&self) {
        let mut rung = lock(&self.rung);
        while !*rung {
            rung = self.condvar.wait(rung).unwrap_or_else(PoisonError::into_inner);
        }
        *rung = false;
    }

    /// Sleeps until the bell rings, `timeout` at most. True if it rang.
    pub(crate) fn wait_at_most(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut rung = lock(&self.rung);
        while !*rung {
            let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
            else {
                return false;
            };
            rung = self.condvar.wait_timeout(rung, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        std::mem::take(&mut *rung)
    }
}
