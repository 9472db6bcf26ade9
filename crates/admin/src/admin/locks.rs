// SPDX-License-Identifier: Apache-2.0
//! Locks of queues. Java: `RebalanceLockManager`; a lock that is not renewed ends after 60 s, in Java brokers as in ours.

use super::{Admin, AdminError};
use oxmq_remoting::{
    Command,
    bodies::{LockBatch, LockedBatch, MessageQueue},
    code::request,
};

impl Admin {
    /// Locks queues of one broker in the name of `group` for `client`, or renews its locks: LOCK_BATCH_MQ (41). What is
    /// answered is those that `client` has now.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn lock_queues(
        &self,
        addr: &str,
        group: &str,
        client: &str,
        queues: &[MessageQueue],
    ) -> Result<Vec<MessageQueue>, AdminError> {
        let command = about(request::LOCK_BATCH_MQ, group, client, queues);
        let locked: LockedBatch = self.ask_json(addr, command, "a list of locked queues").await?;
        Ok(locked.locked)
    }

    /// Gives back what `client` has of these locks: UNLOCK_BATCH_MQ (42).
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn unlock_queues(
        &self,
        addr: &str,
        group: &str,
        client: &str,
        queues: &[MessageQueue],
    ) -> Result<(), AdminError> {
        self.ask(addr, about(request::UNLOCK_BATCH_MQ, group, client, queues)).await.map(drop)
    }
}

fn about(code: i32, group: &str, client: &str, queues: &[MessageQueue]) -> Command {
    let body = serde_json::json!(LockBatch::new(group, client, queues.to_vec()));
    Command::new(code).with_body(body.to_string())
}
