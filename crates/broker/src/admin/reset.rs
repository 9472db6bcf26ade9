// SPDX-License-Identifier: Apache-2.0
//! Groups are moved to other offsets: INVOKE_BROKER_TO_RESET_OFFSET (222), CLONE_GROUP_OFFSET (314); and how far
//! clients think they are: INVOKE_BROKER_TO_GET_CONSUMER_STATUS (223), asked of them by
//! GET_CONSUMER_STATUS_FROM_CLIENT (221).
//!
//! A reset is the broker's (`offsets`): the offset is another at once, and pulls, those that are held as well, are
//! told where to go on, so groups follow it whether they are online or not. With `useServerSideResetOffset=false` it is
//! as in 4.9: the members must be online, and are told by RESET_CONSUMER_CLIENT_OFFSET (220), too.
//!
//! Java: `AdminBrokerProcessor#resetOffset`, `#cloneGroupOffset`, `Broker2Client`.

use super::Parts;
use crate::refusal::Refusal;
use oxmq_net::{Answer, Request};
use oxmq_remoting::{
    Command, Language, RequestHeader,
    admin_requests::{CloneGroupOffset, GetConsumerStatus, ResetOffset},
    bodies::MessageQueue,
    code, fastjson,
};
use oxmq_store::{Boundary, QueueFileError};
use oxmq_types::{QueueId, QueueOffset};
use serde::Serialize;
use std::{net::SocketAddr, time::Duration};
use tokio::task::JoinSet;
use tracing::info;

/// How long a client may take to say how far it is. Java: `Broker2Client#getConsumeStatus`.
const STATUS_TIMEOUT: Duration = Duration::from_secs(5);
/// Most bytes of one client's status: twenty thousand queues fit.
const STATUS_MAX_BYTES: usize = 2 << 20;
/// Most bytes of the status of a group; half of what a frame can hold.
const STATUSES_MAX_BYTES: usize = 8 << 20;

/// Which offsets a tool wants reset, and to what.
pub(super) struct Wanted {
    group: String,
    topic: String,
    /// Negative for all.
    queue_id: i32,
    to: Target,
    /// From a tool for C++ clients, who read another body.
    for_c: bool,
    /// `timestamp`, for the clients that are told.
    timestamp_ms: i64,
    by: SocketAddr,
}

/// Which offsets a tool wants cloned.
pub(super) struct Clone {
    from: String,
    to: String,
    topic: Option<String>,
    offline: bool,
    by: SocketAddr,
}

impl Clone {
    pub(super) fn new(request: Request<'_>) -> Result<Self, Refusal> {
        let header = CloneGroupOffset::from_fields(&request.header.fields)?;
        let topic = header.topic.as_deref().map(str::trim).filter(|topic| !topic.is_empty());
        Ok(Self {
            topic: topic.map(str::to_owned),
            from: header.src_group.into_owned(),
            to: header.dest_group.into_owned(),
            offline: header.offline == Some(true),
            by: request.peer.remote(),
        })
    }
}

enum Target {
    Offset(i64),
    /// Store time in ms since 1970; negative for the end. With `force` false, nothing goes forward.
    Time {
        timestamp_ms: i64,
        force: bool,
    },
}

impl Wanted {
    pub(super) fn new(request: Request<'_>) -> Result<Self, Refusal> {
        let header = ResetOffset::from_fields(&request.header.fields)?;
        let queue_id = header.queue_id.unwrap_or(-1);
        let to = match header.offset {
            Some(offset) if queue_id >= 0 && offset != -1 => Target::Offset(offset),
            _ => Target::Time { timestamp_ms: header.timestamp_ms, force: header.is_force },
        };
        Ok(Self {
            group: header.group.into_owned(),
            topic: header.topic.into_owned(),
            queue_id,
            to,
            for_c: is_c(request.header.language),
            timestamp_ms: header.timestamp_ms,
            by: request.peer.remote(),
        })
    }
}

fn is_c(language: Language) -> bool {
    language.name() == "CPP"
}

/// A queue and its offset, as C++ clients read them. Java: `MessageQueueForC`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct QueueForC<'a> {
    broker_name: &'a str,
    offset: u64,
    queue_id: i32,
    topic: &'a str,
}

impl Parts {
    /// Moves a group to other offsets, and answers with them.
    pub(super) fn reset(&self, wanted: &Wanted) -> Result<Command, Refusal> {
        let Wanted { group, topic: name, by, .. } = wanted;
        let topic = self.topics.get(name).ok_or_else(|| Refusal::ResetInNoTopic(name.clone()))?;
        self.groups.get(group).ok_or_else(|| Refusal::ResetOfNoGroup(group.clone()))?;
        let config = topic.config();
        let queues = match u32::try_from(wanted.queue_id) {
            Ok(id) if id < config.read_queue_nums.max(config.write_queue_nums) => id..id + 1,
            Ok(id) => return Err(Refusal::Parameter(format!("queueId[{id}] is illegal"))),
            Err(_) => 0..config.read_queue_nums,
        };
        if queues.is_empty() {
            return Err(Refusal::System("No queues to reset.".into()));
        }
        let server_side = self.rules.get().server_side_reset;
        let online = self.clients.consumer_group(group, |_| ()).is_some();
        if !server_side && !online {
            return Err(Refusal::ConsumerNotOnline(group.clone()));
        }
        // All are found before any is moved.
        let targets: Result<Vec<_>, Refusal> =
            queues.map(|id| Ok((id, self.target(wanted, QueueId(id))?))).collect();
        let mut table = Vec::new();
        for (id, to) in targets? {
            let from = self.offsets.get(group, name, QueueId(id)).map(|at| at.0);
            self.offsets.reset(group, name, QueueId(id), QueueOffset(to));
            info!(group, topic = name, queue = id, ?from, to, %by, "offset reset");
            // Who holds a pull uses the queue.
            if let Some(queue) = topic.used_queue(QueueId(id)) {
                queue.arrived.notify_waiters();
            }
            table.push((self.named(name, id), to));
        }
        self.offsets.save().map_err(|error| Refusal::System(error.to_string()))?;
        let text = fastjson::structured_table(table.iter().map(|(queue, to)| (queue, to)))
            .map_err(|error| Refusal::System(error.to_string()))?;
        let body = format!(r#"{{"offsetTable":{text}}}"#);
        if !server_side {
            self.tell_members(wanted, &table, &body)?;
        }
        Ok(Command::success().with_body(body.into_bytes()))
    }

    fn target(&self, wanted: &Wanted, queue_id: QueueId) -> Result<u64, Refusal> {
        let queue = self.store.existing_queue(&wanted.topic, queue_id)?;
        let (min, max) = queue.as_ref().map_or((0, 0), |queue| (queue.min_offset().0, queue.max_offset().0));
        let (timestamp_ms, force) = match wanted.to {
            Target::Offset(offset) => {
                let inside = u64::try_from(offset).ok().filter(|offset| (min..=max).contains(offset));
                return inside.ok_or_else(|| {
                    let range = format!("[{min}-{max}]");
                    Refusal::System(format!("Target offset {offset} not in consume queue range {range}"))
                });
            }
            Target::Time { timestamp_ms, force } => (timestamp_ms, force),
        };
        let found = match &queue {
            Some(queue) if timestamp_ms >= 0 => {
                let found = self.store.offset_by_time(queue, timestamp_ms, Boundary::Lower);
                found.map_err(|error: QueueFileError| Refusal::System(error.to_string()))?.0
            }
            _ => max,
        };
        let known = self.offsets.get(&wanted.group, &wanted.topic, queue_id);
        Ok(known.filter(|_| !force).map_or(found, |known| found.min(known.0)))
    }

    fn tell_members(
        &self,
        wanted: &Wanted,
        table: &[(MessageQueue, u64)],
        body: &str,
    ) -> Result<(), Refusal> {
        let list: Vec<_> = table
            .iter()
            .map(|(queue, offset)| QueueForC {
                broker_name: &queue.broker_name,
                offset: *offset,
                queue_id: queue.queue_id,
                topic: &queue.topic,
            })
            .collect();
        let list = serde_json::to_string(&list).map_err(|error| Refusal::System(error.to_string()))?;
        let body_for_c = format!(r#"{{"offsetTable":{list}}}"#);
        self.clients.consumer_group(&wanted.group, |group| {
            for member in group.members.values() {
                let body = if wanted.for_c || is_c(member.language) { &body_for_c } else { body };
                let command = Command::new(code::request::RESET_CONSUMER_CLIENT_OFFSET)
                    .with("topic", wanted.topic.clone())
                    .with("group", wanted.group.clone())
                    .with("timestamp", wanted.timestamp_ms)
                    .with("isForce", false)
                    .with_body(body.as_bytes().to_vec());
                member.peer.send(command);
            }
        });
        Ok(())
    }

    /// Gives a group the offsets of another.
    pub(super) fn clone_offsets(&self, wanted: &Clone) -> Result<Command, Refusal> {
        let Clone { from, to, by, .. } = wanted;
        self.groups.get_or_create(to).ok_or_else(|| Refusal::NoGroup(to.clone()))?;
        let mut topics = match &wanted.topic {
            None => self.offsets.topics_of(from),
            Some(topic) => vec![topic.clone()],
        };
        topics.retain(|topic| self.topics.get(topic).is_some());
        if !wanted.offline {
            topics = self.subscribed(from, topics);
        }
        for topic in &topics {
            if self.offsets.clone_group(from, to, topic) {
                info!(group = to, topic, like = from, %by, "offsets cloned");
            }
        }
        self.offsets.save().map_err(|error| Refusal::System(error.to_string()))?;
        Ok(Command::success())
    }

    /// Asks the members of a group, or one of them, how far they are in a topic.
    pub(super) fn statuses(&self, request: Request<'_>) -> Result<Answer, Refusal> {
        let header = GetConsumerStatus::from_fields(&request.header.fields)?;
        let (group, topic) = (header.group.into_owned(), header.topic.into_owned());
        let wanted = header.client_addr.as_deref().map(str::trim).filter(|id| !id.is_empty());
        let members = self.clients.consumer_group(&group, |online| {
            let members =
                online.members.values().filter(|member| wanted.is_none_or(|id| member.client_id == id));
            members.map(|member| (member.client_id.clone(), member.peer.clone())).collect::<Vec<_>>()
        });
        let offline = || Refusal::System(format!("No Any Consumer online in the consumer group: [{group}]"));
        let mut calls = JoinSet::new();
        for (client, peer) in members.ok_or_else(offline)? {
            let command = Command::new(code::request::GET_CONSUMER_STATUS_FROM_CLIENT)
                .with("topic", topic.clone())
                .with("group", group.clone());
            calls.spawn(async move { (client, peer.call(command, STATUS_TIMEOUT).await) });
        }
        Ok(Answer::later(async move {
            let mut table = String::new();
            while let Some(called) = calls.join_next().await {
                // Who does not answer is left out, as Java does.
                let Ok((client, Ok(reply))) = called else { continue };
                let Some(status) = status(reply.code, &reply.body) else { continue };
                let Ok(client) = serde_json::to_string(&client) else { continue };
                if table.len() + status.len() > STATUSES_MAX_BYTES {
                    break;
                }
                let comma = if table.is_empty() { "" } else { "," };
                table += &format!("{comma}{client}:{status}");
            }
            let body = format!(r#"{{"consumerTable":{{{table}}},"messageQueueTable":{{}}}}"#);
            Command::success().with_body(body.into_bytes())
        }))
    }
}

/// The table in a client's answer, as it is: its keys are structures, which is no JSON.
fn status(code: i32, body: &[u8]) -> Option<&str> {
    if code != code::SUCCESS || body.len() > STATUS_MAX_BYTES {
        return None;
    }
    let table = std::str::from_utf8(fastjson::member(body, "messageQueueTable")?).ok()?;
    table.starts_with('{').then_some(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_a_client_answers() {
        let table = r#"{{"brokerName":"b","queueId":0,"topic":"t"}:5}"#;
        let body = format!(r#"{{"consumerTable":{{}},"messageQueueTable":{table}}}"#);
        assert_eq!(status(0, body.as_bytes()), Some(table));
        assert_eq!(status(1, body.as_bytes()), None);
        for bad in ["", "{}", r#"{"messageQueueTable":null}"#, r#"{"messageQueueTable":{"#] {
            assert_eq!(status(0, bad.as_bytes()), None, "{bad}");
        }
    }
}
