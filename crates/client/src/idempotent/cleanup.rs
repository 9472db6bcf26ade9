// SPDX-License-Identifier: Apache-2.0
//! Removes what need not be remembered any more, a few rows at a time.

use super::ClaimStore;
use std::time::Duration;
use tokio::{
    task::JoinHandle,
    time::{MissedTickBehavior, interval, sleep},
};
use tracing::{debug, warn};

const ROWS: u32 = 1000;
const PAUSE: Duration = Duration::from_millis(50);

/// A task that removes keys past their end from a store, until it is dropped. One in a group is enough; more do no harm.
///
/// It removes at most 1,000 rows with one statement, so that no lock is held for long, and pauses 50 ms between two of them.
#[derive(Debug)]
#[must_use = "it ends when it is dropped"]
pub struct Cleanup {
    task: JoinHandle<()>,
}

impl Cleanup {
    /// Looks every `every`, at least every second, the first time at once. Must be called inside of a tokio runtime.
    pub fn start(store: impl ClaimStore, every: Duration) -> Self {
        let task = tokio::spawn(async move {
            let mut times = interval(every.max(Duration::from_secs(1)));
            times.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                times.tick().await;
                Self::once(&store).await;
            }
        });
        Self { task }
    }

    /// Removes all that are past their end now. Returns how many; what fails is logged, and left to the next time.
    pub async fn once(store: &impl ClaimStore) -> u64 {
        let mut removed = 0;
        loop {
            match store.forget_expired(ROWS).await {
                Ok(count) => {
                    removed += count;
                    if count < u64::from(ROWS) {
                        debug!(removed, "removed keys that need not be remembered any more");
                        return removed;
                    }
                }
                Err(error) => {
                    warn!(%error, removed, "keys past their end could not be removed");
                    return removed;
                }
            }
            sleep(PAUSE).await;
        }
    }
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        self.task.abort();
    }
}
