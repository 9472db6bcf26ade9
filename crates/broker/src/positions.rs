// SPDX-License-Identifier: Apache-2.0
//! Where queues begin and end, where a time lies in them, and how far groups have come: GET_MAX_OFFSET (30),
//! GET_MIN_OFFSET (31), SEARCH_OFFSET_BY_TIMESTAMP (29), GET_EARLIEST_MSG_STORETIME (32), QUERY_CONSUMER_OFFSET (14),
//! UPDATE_CONSUMER_OFFSET (15). Java: `AdminBrokerProcessor`, `ConsumerManageProcessor`.

use crate::{
    clients::Clients,
    cold::ColdReads,
    groups::Groups,
    offsets::{Commit, Committer, Offsets, Verdict},
    refusal::Refusal,
    topics::{TopicQueue, Topics},
};
use oxmq_net::{Answer, Request};
use oxmq_remoting::{
    Command, RequestHeader,
    code::request::UPDATE_CONSUMER_OFFSET,
    requests::{QueryConsumerOffset, QueueQuery, SearchOffset, UpdateConsumerOffset},
};
use oxmq_store::{Access, Boundary, QueueFileError, Store, Unit};
use oxmq_types::{QueueId, QueueOffset};
use std::{sync::Arc, time::Instant};
use tracing::{debug, warn};

/// Answers questions about positions.
#[derive(Debug)]
pub(crate) struct Positions {
    store: Arc<Store>,
    cold: ColdReads,
    topics: Topics,
    groups: Groups,
    clients: Clients,
    offsets: Offsets,
    /// Bytes at the end of the log that are taken to be in memory: `accessMessageInMemoryMaxRatio` of it all.
    memory_bytes: u64,
}

impl Positions {
    pub(crate) fn new(
        (store, cold): (Arc<Store>, ColdReads),
        (topics, groups): (Topics, Groups),
        (clients, offsets): (Clients, Offsets),
        memory_bytes: u64,
    ) -> Self {
        Self { store, cold, topics, groups, clients, offsets, memory_bytes }
    }

    /// A queue that is there to be looked at; asking must not create one.
    fn queue(&self, topic: &str, queue_id: i32) -> Option<Arc<TopicQueue>> {
        let topic = self.topics.get(topic)?;
        let config = topic.config();
        let queue_id = u32::try_from(queue_id).ok()?;
        let known = queue_id < config.read_queue_nums.max(config.write_queue_nums);
        known.then(|| topic.queue(QueueId(queue_id)).ok()).flatten()
    }

    pub(crate) fn max(&self, request: Request<'_>) -> Result<Command, Refusal> {
        let header = QueueQuery::from_fields(&request.header.fields)?;
        let queue = self.queue(&header.topic, header.queue_id);
        Ok(Command::success().with("offset", queue.map_or(0, |queue| queue.stored.max_offset().0)))
    }

    pub(crate) fn min(&self, request: Request<'_>) -> Result<Command, Refusal> {
        let header = QueueQuery::from_fields(&request.header.fields)?;
        let queue = self.queue(&header.topic, header.queue_id);
        Ok(Command::success().with("offset", queue.map_or(0, |queue| queue.stored.min_offset().0)))
    }

    pub(crate) fn search(&self, request: Request<'_>) -> Result<Answer, Refusal> {
        let header = SearchOffset::from_fields(&request.header.fields)?;
        let boundary = match header.boundary.as_deref() {
            Some(name) if name.eq_ignore_ascii_case("upper") => Boundary::Upper,
            _ => Boundary::Lower,
        };
        let Some(queue) = self.queue(&header.topic, header.queue_id) else {
            return Ok(Answer::Now(Command::success().with("offset", 0)));
        };
        // The binary search looks at old records, wherever what it looks for lies.
        let (store, time_ms) = (self.store.clone(), header.timestamp_ms);
        Ok(self.cold.answer(request.peer, move || {
            let found = store.offset_by_time(&queue.stored, time_ms, boundary).map_err(unreadable)?;
            Ok(Command::success().with("offset", found.0))
        }))
    }

    pub(crate) fn earliest(&self, request: Request<'_>) -> Result<Answer, Refusal> {
        let header = QueueQuery::from_fields(&request.header.fields)?;
        let Some(queue) = self.queue(&header.topic, header.queue_id) else {
            return Ok(Answer::Now(Command::success().with("timestamp", -1)));
        };
        let store = self.store.clone();
        Ok(self.cold.answer(request.peer, move || {
            let time = store.earliest_time(&queue.stored).map_err(unreadable)?;
            Ok(Command::success().with("timestamp", time.unwrap_or(-1)))
        }))
    }

    pub(crate) fn committed(&self, request: Request<'_>) -> Result<Answer, Refusal> {
        let header = QueryConsumerOffset::from_fields(&request.header.fields)?;
        let queue_id = u32::try_from(header.queue_id).map(QueueId);
        let known = queue_id.ok().and_then(|id| self.offsets.get(&header.consumer_group, &header.topic, id));
        if let Some(offset) = known {
            return Ok(Answer::Now(Command::success().with("offset", offset.0)));
        }
        if header.set_zero_if_not_found == Some(false) {
            return Err(Refusal::NotFound(
                "Not found, do not set to zero, maybe this group boot first".into(),
            ));
        }
        // A group that is new to a queue that still has its first message starts there, whatever it would rather:
        // else what was sent between the topic's first message and the group's first start would be skipped.
        let queue =
            self.queue(&header.topic, header.queue_id).filter(|queue| queue.stored.min_offset().0 == 0);
        let Some(queue) = queue else { return starts_at_zero(false).map(Answer::Now) };
        match first_in_memory((&self.store, Access::Memory), &queue, self.memory_bytes) {
            Some(young) => starts_at_zero(young).map(Answer::Now),
            None => {
                let (store, memory_bytes) = (self.store.clone(), self.memory_bytes);
                Ok(self.cold.answer(request.peer, move || {
                    let young = first_in_memory((&store, Access::Disk), &queue, memory_bytes);
                    starts_at_zero(young.unwrap_or(false))
                }))
            }
        }
    }

    pub(crate) fn commit(&self, request: Request<'_>) -> Result<Command, Refusal> {
        let header = UpdateConsumerOffset::from_fields(&request.header.fields)?;
        let group = header.consumer_group.as_ref();
        self.groups.get(group).ok_or_else(|| Refusal::CommitOfNoGroup(group.to_owned()))?;
        let name = header.topic.as_ref();
        let topic = self.topics.get(name).ok_or_else(|| Refusal::CommitInNoTopic(name.to_owned()))?;
        let config = topic.config();
        let queue_id = u32::try_from(header.queue_id)
            .ok()
            .filter(|id| *id < config.read_queue_nums.max(config.write_queue_nums))
            .ok_or_else(|| Refusal::Parameter(format!("queueId[{}] is illegal", header.queue_id)))?;
        let next = u64::try_from(header.commit_offset)
            .map_err(|_| Refusal::Parameter(format!("commitOffset[{}] is illegal", header.commit_offset)))?;
        let queue = (QueueId(queue_id), &*topic.queue(QueueId(queue_id))?);
        match commit(&self.offsets, &self.clients, request, (group, name), queue, next) {
            Verdict::Taken => Ok(Command::success()),
            // COMPAT(java): success, as nothing is wrong with a client that is late. Java 5 has the first remark.
            Verdict::ResetPending(_) => Ok(ignored("Offset has been previously reset".into())),
            Verdict::Backward(at, _) => Ok(ignored(format!("Offset is {at} already"))),
            Verdict::BeyondEnd(end) => {
                Err(Refusal::Parameter(format!("commitOffset[{next}] is beyond the end of the queue, {end}")))
            }
        }
    }
}

fn starts_at_zero(does: bool) -> Result<Command, Refusal> {
    if does {
        return Ok(Command::success().with("offset", 0));
    }
    Err(Refusal::NotFound("Not found, V3_0_6_SNAPSHOT maybe this group consumer boot first".into()))
}

/// Whether the first message of a queue is so young that it is still held in memory, as Java guesses it: by how far the
/// log has grown since. `None` if `access` goes not so far.
fn first_in_memory((store, access): (&Store, Access), queue: &TopicQueue, memory_bytes: u64) -> Option<bool> {
    let mut units = Vec::new();
    match store.reader(&queue.stored, access).units(QueueOffset(0), 1, &mut units) {
        Ok(true) => return None,
        Ok(false) => {}
        Err(_) => return Some(false),
    }
    let behind = |unit: &Unit| store.max_physical().0.saturating_sub(unit.physical.0);
    Some(units.first().is_some_and(|unit| behind(unit) <= memory_bytes))
}

fn ignored(remark: String) -> Command {
    Command { remark: Some(remark.into()), ..Command::success() }
}

/// Has a group consume `next` next in a queue, as whoever sent `request` says, if that counts; what does not is named
/// in the log.
pub(crate) fn commit(
    offsets: &Offsets,
    clients: &Clients,
    request: Request<'_>,
    (group, topic): (&str, &str),
    (queue_id, queue): (QueueId, &TopicQueue),
    next: u64,
) -> Verdict {
    let end = queue.stored.max_offset().0;
    let by = committer(clients, group, request);
    let verdict = offsets.commit(group, topic, queue_id, &Commit { next, end, by, now: Instant::now() });
    let (peer, queue) = (request.peer.remote(), queue_id.0);
    match verdict {
        Verdict::Taken => {}
        Verdict::ResetPending(to) => {
            debug!(group, topic, queue, from = to, to = next, %peer, "commit from before a reset ignored");
        }
        // Said once: clients commit every few seconds, and start a queue anew without anybody's fault.
        Verdict::Backward(at, true) => {
            debug!(group, topic, queue, from = at, to = next, %peer, "commit that goes backward ignored");
        }
        Verdict::Backward(at, false) => {
            warn!(group, topic, queue, from = at, to = next, %peer, "commit that goes backward ignored");
        }
        Verdict::BeyondEnd(end) => {
            warn!(group, topic, queue, end, to = next, %peer, "commit beyond the end of its queue ignored");
        }
    }
    verdict
}

/// Who commits by `request`. Clients of all languages commit one-way; `mqadmin` waits for the answer, and its
/// connection is no member of the group. A client whose heartbeat has not come yet must not pass for a tool.
fn committer(clients: &Clients, group: &str, request: Request<'_>) -> Committer {
    let peer = request.peer.id();
    let known = clients.consumer_group(group, |group| {
        (group.members.contains_key(&peer), group.consume_type == "CONSUME_ACTIVELY")
    });
    match known.unwrap_or_default() {
        (false, _) if request.header.code == UPDATE_CONSUMER_OFFSET && !request.header.is_one_way() => {
            Committer::Tool
        }
        (_, true) => Committer::Pull,
        (_, false) => Committer::Push,
    }
}

fn unreadable(error: QueueFileError) -> Refusal {
    Refusal::System(error.to_string())
}
