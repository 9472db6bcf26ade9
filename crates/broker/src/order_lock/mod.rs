// SPDX-License-Identifier: Apache-2.0
//! Locks of queues for consumers that keep the order of messages: LOCK_BATCH_MQ (41), UNLOCK_BATCH_MQ (42).
//!
//! A rebalance moves queues from one member of a group to another, and for a moment both may think that a queue is
//! theirs. An orderly consumer therefore consumes a queue only while it holds the queue's lock. It renews its locks
//! every 20 s, starts nothing 30 s after its last renewal, and loses them here after 60 s. They live in memory: after a
//! restart whoever asks first has the lock, and the others wait as long as it goes on.
//!
//! - Who unregisters gives its locks back at once, before the others are told: their rebalance finds the queues free.
//! - A connection that closes gives back nothing. A process that was killed would do no harm then, but one that only
//!   lost its connection consumes on for up to 30 s, and its queues would be consumed twice at the same time, out of
//!   order. So the queues of a killed consumer rest until their locks expire. Java does the same.
//! - Locks are given for queues that are there, and to groups that may be there: whoever asks for others gets none.
//!
//! Java: `RebalanceLockManager`, `AdminBrokerProcessor#lockBatchMQ`. `lockInStrictMode` asks the replicas, too.

mod table;

use crate::{groups::Groups, heartbeat::json, refusal::Refusal, topics::Topics};
use oxmq_net::Request;
use oxmq_remoting::{
    Command, RequestHeader,
    bodies::{LockBatch, LockedBatch, MessageQueue},
    fastjson,
    requests::UnregisterClient,
};
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};
use table::{Holder, Locks};
use tracing::warn;

/// Longest body, in bytes; the queues of 20,000 fit.
const BODY_MAX_BYTES: usize = 2 << 20;
/// Longest client id, in bytes: each lock may keep one.
const CLIENT_ID_MAX_BYTES: usize = 255;

/// Gives and takes the locks of queues.
#[derive(Debug)]
pub(crate) struct OrderLocks {
    topics: Topics,
    groups: Groups,
    locks: Mutex<Locks>,
}

/// A checked request.
struct Wanted {
    group: String,
    client: String,
    queues: Vec<MessageQueue>,
}

impl OrderLocks {
    pub(crate) fn new(topics: Topics, groups: Groups) -> Self {
        Self { topics, groups, locks: Mutex::default() }
    }

    fn locks(&self) -> MutexGuard<'_, Locks> {
        self.locks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks what is free, and renews what the client has already.
    pub(crate) fn lock(&self, request: Request<'_>) -> Result<Command, Refusal> {
        let Wanted { group, client, mut queues } = wanted(request)?;
        self.groups.get_or_create(&group).ok_or_else(|| Refusal::NoGroup(group.clone()))?;
        queues.retain(|queue| self.exists(queue));
        let (holder, now) = (Holder { group: &group, client: client.as_str().into() }, Instant::now());
        let mut locks = self.locks();
        queues.retain(|queue| locks.lock(&holder, &queue.topic, queue.queue_id, now));
        if locks.is_full() {
            warn!(group, client, "too many locks of queues are held, some are not given");
        }
        drop(locks);
        Ok(Command::success().with_body(json(&LockedBatch { locked: queues })?))
    }

    /// Unlocks what the client has locked.
    pub(crate) fn unlock(&self, request: Request<'_>) -> Result<Command, Refusal> {
        let Wanted { group, client, queues } = wanted(request)?;
        let mut locks = self.locks();
        for queue in queues {
            locks.unlock(&group, &client, &queue.topic, queue.queue_id);
        }
        Ok(Command::success())
    }

    /// Takes the locks of a client that leaves its group.
    pub(crate) fn unregistered(&self, request: Request<'_>) -> Result<(), Refusal> {
        let header = UnregisterClient::from_fields(&request.header.fields)?;
        if let Some(group) = header.consumer_group {
            self.locks().leave(&group, &header.client_id);
        }
        Ok(())
    }

    /// Forgets the locks that have expired; to be called now and then.
    pub(crate) fn forget_expired(&self) {
        self.locks().forget_expired(Instant::now());
    }

    fn exists(&self, queue: &MessageQueue) -> bool {
        let Some(topic) = self.topics.get(&queue.topic) else { return false };
        let config = topic.config();
        u32::try_from(queue.queue_id).is_ok_and(|id| id < config.read_queue_nums.max(config.write_queue_nums))
    }
}

fn wanted(request: Request<'_>) -> Result<Wanted, Refusal> {
    if request.body.len() > BODY_MAX_BYTES {
        return Err(Refusal::Body(format!("it has {BODY_MAX_BYTES} bytes at most")));
    }
    let body: LockBatch =
        fastjson::from_slice(request.body).map_err(|error| Refusal::Body(error.to_string()))?;
    let missing = |name: &str| Refusal::Body(format!("{name} is missing"));
    let client = body.client_id.ok_or_else(|| missing("clientId"))?;
    if client.len() > CLIENT_ID_MAX_BYTES {
        return Err(Refusal::Parameter(format!("clientId has more than {CLIENT_ID_MAX_BYTES} bytes")));
    }
    Ok(Wanted {
        group: body.consumer_group.ok_or_else(|| missing("consumerGroup"))?,
        client,
        queues: body.mq_set.ok_or_else(|| missing("mqSet"))?,
    })
}

#[cfg(test)]
mod tests;
