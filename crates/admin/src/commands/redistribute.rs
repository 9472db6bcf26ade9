// SPDX-License-Identifier: Apache-2.0
//! A backlog that few queues hold, spread over many: `redistribute`. Java has nothing like it.
//!
//! A group cannot have more members at work than its topic has queues, and queues that are added get new messages only.
//! So the messages that a group has before it are copied to a topic with more queues, and the group's offsets move past
//! them: it has consumed them, as far as the old topic goes, and consumes them from the new one. Other groups do not
//! notice.
//!
//! The way of a queue, from the group's offset to the end that the queue had when the run began:
//! 1. a message is sent to the target, with a property [`MARK`] that names its place in the old topic;
//! 2. when it is stored, the group's offset in the old queue is set to the one after it.
//!
//! INVARIANT: an offset moves past a message only after its copy is stored: a run that is killed loses nothing. It may
//! have sent messages whose offset was not set yet; they are the first of a queue, so that the next run looks there
//! which of them have a copy in the target, until it finds one that has none.
//!
//! With `-k`, all messages of one key go to one queue of the target, in the order that they had. A key's messages have to
//! be in one queue of the old topic for that, as they are if they were sent by key.
//!
//! The members of the group must not run meanwhile: they would consume what is being copied.

use super::{Command, run};
use crate::{
    admin::{AdminError, KeyQuery, Outgoing, Pull, PullStatus, QueueAt, TOOLS_GROUP},
    cli::{CommandError, Context, Given, Opt, shorten},
    java_text::queue_text,
};
use oxmq_client::ReceivedMessage;
use oxmq_remoting::code;
use oxmq_types::{java_string_hash, validate_group, validate_topic};
use serde_json::json;
use std::{
    io::IsTerminal,
    time::{Duration, Instant},
};

pub(super) static REDISTRIBUTE: Command = Command {
    name: "redistribute",
    alias: None,
    description: "Move the backlog of a group to a topic with more queues. Shows what it would do, unless --yes is given.",
    options: &[
        Opt::value("g", "group", "consumer group whose backlog is meant; none of its members may run")
            .required(),
        Opt::value("t", "topic", "topic that has the backlog").required(),
        Opt::value("d", "destTopic", "topic to move it to; it must be there").required(),
        Opt::value(
            "k",
            "key",
            "keep the order of a key: sharding (the sharding key), keys (the message keys) | default none",
        ),
        Opt::flag("y", "yes", "do it"),
    ],
    run: run!(redistribute),
};

/// Property of a copy: the id of the place of the message that it is a copy of.
pub(crate) const MARK: &str = "REDISTRIBUTED_FROM";
/// Messages of one pull.
const BATCH: i32 = 32;
/// How often people are told how far it is.
const TELL: Duration = Duration::from_secs(2);
/// How often it is looked whether a member came online.
const LOOK: Duration = Duration::from_secs(1);
/// How long the index of a broker may take to know a message.
const INDEX_TIMEOUT: Duration = Duration::from_secs(5);

/// By what messages keep their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// By nothing: each goes to the next queue.
    None,
    /// By the key that the producer ordered them by.
    Sharding,
    /// By their message keys.
    Keys,
}

impl Order {
    fn named(name: Option<&str>) -> Result<Self, CommandError> {
        match name {
            None | Some("none") => Ok(Self::None),
            Some("sharding") => Ok(Self::Sharding),
            Some("keys") => Ok(Self::Keys),
            Some(other) => {
                Err(CommandError::usage(format!("-k is sharding, keys or none, not {}", shorten(other))))
            }
        }
    }

    /// Which of `queues` a message goes to; `next` is the one whose turn it is.
    fn queue(self, message: &ReceivedMessage, queues: usize, next: usize) -> usize {
        let key = match self {
            Self::None => None,
            Self::Sharding => message.get("__SHARDINGKEY"),
            Self::Keys => message.keys(),
        };
        match key {
            Some(key) => java_string_hash(&key).unsigned_abs() as usize % queues,
            None => next % queues,
        }
    }
}

/// A queue of the old topic.
struct Source {
    at: QueueAt,
    /// Next message of the group.
    begin: i64,
    /// Where this run ends.
    end: i64,
}

async fn redistribute(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    let (group, topic, target) = (given.required("g"), given.required("t"), given.required("d"));
    validate_group(group).map_err(|error| CommandError::usage(error.to_string()))?;
    for name in [topic, target] {
        validate_topic(name).map_err(|error| CommandError::usage(error.to_string()))?;
    }
    if topic == target {
        return Err(CommandError::usage("-t and -d name one topic: a backlog is moved to another one"));
    }
    if oxmq_types::is_send_forbidden(target) || target.starts_with('%') {
        return Err(CommandError::usage(format!("-d {target}: messages cannot be moved there")));
    }
    let order = Order::named(given.value("k"))?;
    // A topic that is only a typing error must not be made on the way.
    context.admin.route(target).await?;
    let queues = context.admin.writable_queues(target).await?;
    let sources = sources(context, group, topic).await?;
    let backlog: i64 = sources.iter().map(|source| source.end - source.begin).sum();
    let members = members(context, group).await?;
    if !given.has("y") {
        return plan(context, &sources, &queues, (group, topic, target), backlog, members);
    }
    nobody_online(group, members)?;
    prepare_target(context, group, target).await?;
    let mut work = Work {
        group,
        target,
        order,
        queues,
        next: 0,
        moved: 0,
        found: 0,
        backlog,
        told: Instant::now(),
        looked: Instant::now(),
        indexed: false,
    };
    for source in &sources {
        work.queue(context, source).await?;
    }
    let Work { moved, found, .. } = work;
    if context.is_json() {
        return context.json(&json!({"group": group, "topic": topic, "destTopic": target, "moved": moved, "movedBefore": found}));
    }
    context.print(&format!(
        "moved {moved} messages of group [{group}] from topic [{topic}] to topic [{target}], {found} had been moved before\n"
    ))
}

/// Members of the group that are online.
async fn members(context: &Context<'_>, group: &str) -> Result<usize, AdminError> {
    match context.admin.consumers(group).await {
        Ok(connection) => Ok(connection.connection_set.len()),
        // A group that was never online has no retry topic.
        Err(error) if matches!(error.code(), Some(code::CONSUMER_NOT_ONLINE | code::TOPIC_NOT_EXIST)) => {
            Ok(0)
        }
        Err(error) => Err(error),
    }
}

fn nobody_online(group: &str, members: usize) -> Result<(), CommandError> {
    if members == 0 {
        return Ok(());
    }
    Err(CommandError::failed(format!(
        "the group {group} has {members} members online, which would consume what is being moved: stop them first"
    )))
}

/// The queues in which the group has messages before it.
async fn sources(context: &Context<'_>, group: &str, topic: &str) -> Result<Vec<Source>, CommandError> {
    let mut sources = Vec::new();
    for at in context.admin.readable_queues(topic, topic).await? {
        let (addr, queue) = (&at.addr, &at.queue);
        let min = context.admin.min_offset(addr, queue).await?;
        let end = context.admin.max_offset(addr, queue).await?;
        let Some(offset) = context.admin.offset(addr, group, queue).await? else {
            if end > min {
                return Err(CommandError::failed(format!(
                    "the group {group} has no offset in {}: where its backlog begins is not known; resetOffsetByTime \
                     sets one",
                    queue_text(queue)
                )));
            }
            continue;
        };
        // What has been removed meanwhile cannot be moved.
        let begin = offset.max(min);
        if begin < end {
            sources.push(Source { at, begin, end });
        }
    }
    Ok(sources)
}

fn plan(
    context: &mut Context<'_>,
    sources: &[Source],
    queues: &[QueueAt],
    (group, topic, target): (&str, &str, &str),
    backlog: i64,
    members: usize,
) -> Result<(), CommandError> {
    if context.is_json() {
        let each = |source: &Source| {
            let mut value = super::progress_text::queue_json(&source.at.queue);
            value["from"] = source.begin.into();
            value["to"] = source.end.into();
            value
        };
        return context.json(&json!({
            "group": group, "topic": topic, "destTopic": target, "backlog": backlog, "destQueues": queues.len(),
            "membersOnline": members, "queues": sources.iter().map(each).collect::<Vec<_>>(),
        }));
    }
    let mut text = format!(
        "{:<32}  {:<4}  {:<20}  {:<20}  {:<20}\n",
        "#Broker Name", "#QID", "#From", "#To", "#Backlog"
    );
    for Source { at, begin, end } in sources {
        let (broker, id) = (&at.queue.broker_name, at.queue.queue_id);
        text += &format!("{broker:<32}  {id:<4}  {begin:<20}  {end:<20}  {:<20}\n", end - begin);
    }
    text += &format!(
        "\n{backlog} messages of group [{group}] would move to the {} queues of topic [{target}]\n",
        queues.len()
    );
    if members > 0 {
        text += &format!("the group has {members} members online: they must be stopped first\n");
    }
    text += "nothing was moved, --yes does it\n";
    context.print(&text)
}

/// Has the group begin in the target with what will be moved there. Where it has an offset already, it keeps it.
async fn prepare_target(context: &Context<'_>, group: &str, target: &str) -> Result<(), CommandError> {
    for QueueAt { queue, addr } in context.admin.readable_queues(target, target).await? {
        let end = context.admin.max_offset(&addr, &queue).await?;
        // A broker answers 0 for a group that was never there while the queue's first message is in memory, so that
        // "none" and "at the beginning" look the same; where there are messages, it is left alone: better that the
        // group reads some that it need not than that it passes over some that it needs.
        match context.admin.offset(&addr, group, &queue).await? {
            None => context.admin.update_offset(&addr, group, &queue, end).await?,
            Some(0) if end == 0 => context.admin.update_offset(&addr, group, &queue, 0).await?,
            Some(_) => {}
        }
    }
    Ok(())
}

/// A run.
struct Work<'a> {
    group: &'a str,
    target: &'a str,
    order: Order,
    queues: Vec<QueueAt>,
    /// The queue whose turn it is.
    next: usize,
    moved: u64,
    /// Of those that a run before had sent.
    found: u64,
    backlog: i64,
    told: Instant,
    /// When it was last looked whether members are online.
    looked: Instant,
    /// True once the target was seen to find a copy by its key.
    indexed: bool,
}

impl Work<'_> {
    async fn queue(&mut self, context: &mut Context<'_>, source: &Source) -> Result<(), CommandError> {
        let Source { at: QueueAt { queue, addr }, begin, end } = source;
        let mut offset = *begin;
        // The first messages may have been sent by a run that was killed.
        let mut look = true;
        while offset < *end {
            let pull = Pull { group: TOOLS_GROUP, queue, expression: "*", offset, max: BATCH };
            let pulled = context.admin.pull(addr, pull).await?;
            if self.looked.elapsed() > LOOK {
                nobody_online(self.group, members(context, self.group).await?)?;
                self.looked = Instant::now();
            }
            if pulled.status != PullStatus::Found && pulled.next_offset <= offset {
                return Err(CommandError::failed(format!(
                    "{} cannot be read from offset {offset} on, with {} to go: nothing is lost, the offset stays there",
                    queue_text(queue),
                    end - offset
                )));
            }
            for message in &pulled.messages {
                if message.queue_offset() < offset || message.queue_offset() >= *end {
                    continue;
                }
                if let Some(fault) = message.body_fault() {
                    return Err(CommandError::failed(format!(
                        "{} at offset {}: {fault}; resetOffsetByTime with -o moves past it",
                        queue_text(queue),
                        message.queue_offset()
                    )));
                }
                if look && is_copied(context, self.target, message).await? {
                    self.found += 1;
                } else {
                    look = false;
                    self.send(context, message).await?;
                    self.moved += 1;
                }
                offset = message.queue_offset() + 1;
                context.admin.update_offset(addr, self.group, queue, offset).await?;
                self.tell(context);
            }
            if pulled.messages.is_empty() {
                offset = pulled.next_offset;
            }
        }
        Ok(())
    }

    async fn send(
        &mut self,
        context: &mut Context<'_>,
        message: &ReceivedMessage,
    ) -> Result<(), CommandError> {
        let at = self.order.queue(message, self.queues.len(), self.next);
        self.next = self.next.wrapping_add(1);
        let copy = copy(message);
        let sent = context.admin.send("redistribute", &self.queues[at], &copy, None).await;
        sent.map_err(|error| {
            CommandError::failed(format!(
                "after {} messages: {error}; nothing is lost, the same command goes on",
                self.moved
            ))
        })?;
        if !self.indexed {
            self.wait_indexed(context, message).await?;
        }
        Ok(())
    }

    /// A run that is killed can only be continued if copies are found by their keys.
    async fn wait_indexed(
        &mut self,
        context: &Context<'_>,
        message: &ReceivedMessage,
    ) -> Result<(), CommandError> {
        let begun = Instant::now();
        while begun.elapsed() < INDEX_TIMEOUT {
            if is_copied(context, self.target, message).await? {
                self.indexed = true;
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err(CommandError::failed(format!(
            "one message was moved, but {} does not find it by its key: without an index (messageIndexEnable) a run that \
             ends early could not be continued, so nothing more is moved",
            self.target
        )))
    }

    fn tell(&mut self, context: &mut Context<'_>) {
        if self.told.elapsed() > TELL && std::io::stderr().is_terminal() {
            self.told = Instant::now();
            context.note(&format!("redistribute: {} of {} messages", self.moved + self.found, self.backlog));
        }
    }
}

/// The message that is sent.
fn copy(message: &ReceivedMessage) -> Outgoing {
    let mut copy = Outgoing::copy_of(message);
    // It was delivered: what delayed it must not do so again.
    for name in [
        "DELAY",
        "REAL_TOPIC",
        "REAL_QID",
        "TIMER_DELIVER_MS",
        "TIMER_DELAY_MS",
        "TIMER_DELAY_SEC",
        "TRAN_MSG",
        "PGROUP",
        "CLUSTER",
        "__CRC32#",
    ] {
        copy.unset(name);
    }
    copy.set("UNIQ_KEY", &message.msg_id());
    copy.set("WAIT", "true");
    copy.set(MARK, &message.offset_msg_id());
    copy
}

/// True if the target has a copy of this message.
async fn is_copied(
    context: &Context<'_>,
    target: &str,
    message: &ReceivedMessage,
) -> Result<bool, AdminError> {
    let key = message.msg_id();
    let query = KeyQuery {
        topic: target,
        key: &key,
        unique: true,
        cluster: None,
        max: 64,
        begin_ms: message.store_timestamp_ms().saturating_sub(600_000),
        end_ms: i64::MAX,
    };
    let place = message.offset_msg_id();
    match context.admin.query_message(query).await {
        Ok(found) => Ok(found.iter().any(|copy| copy.get(MARK).is_some_and(|mark| mark == place))),
        Err(error) if error.code() == Some(code::NO_MESSAGE) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::message;

    #[test]
    fn a_key_has_one_queue() {
        let ordered = message("T", b"x", &[("__SHARDINGKEY", "order-7"), ("KEYS", "k")]);
        let plain = message("T", b"x", &[]);
        for next in 0..8 {
            assert_eq!(Order::Sharding.queue(&ordered, 8, next), Order::Sharding.queue(&ordered, 8, 0));
            assert_eq!(Order::Keys.queue(&ordered, 8, next), Order::Keys.queue(&ordered, 8, 0));
            assert_eq!(Order::None.queue(&ordered, 8, next), next);
            assert_eq!(Order::Sharding.queue(&plain, 8, next), next);
        }
        assert!(Order::named(Some("alphabet")).is_err());
    }

    #[test]
    fn a_copy_says_where_it_came_from() {
        let moved = message("T", b"x", &[("UNIQ_KEY", "U"), ("DELAY", "3"), ("mine", "y")]);
        let copy = copy(&moved);
        assert_eq!((copy.get("UNIQ_KEY").as_deref(), copy.get("mine").as_deref()), (Some("U"), Some("y")));
        assert_eq!((copy.get(MARK), copy.get("DELAY")), (Some(moved.offset_msg_id()), None));
    }
}
