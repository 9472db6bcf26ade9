// SPDX-License-Identifier: Apache-2.0
//! Locks of queues. Java: `RebalanceLockManager`; a lock that is not renewed ends after 60 s, in Java brokers as in ours.

use super::{Admin, AdminError};
use oxmq_remoting::{Command, bodies::MessageQueue, code::request};
use serde::Deserialize;

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
        #[derive(Deserialize)]
        struct Locked {
            #[serde(rename = "lockOKMQSet", default)]
            queues: Option<Vec<MessageQueue>>,
        }
        let command = Command::new(request::LOCK_BATCH_MQ).with_body(body(group, client, queues));
        let locked: Locked = self.ask_json(addr, command, "a list of locked queues").await?;
        Ok(locked.queues.unwrap_or_default())
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
        let command = Command::new(request::UNLOCK_BATCH_MQ).with_body(body(group, client, queues));
        self.ask(addr, command).await.map(drop)
    }
}

fn body(group: &str, client: &str, queues: &[MessageQueue]) -> String {
    serde_json::json!({
        "clientId": client,
        "consumerGroup": group,
        "mqSet": queues,
        "onlyThisBroker": false,
    })
    .to_string()
}
