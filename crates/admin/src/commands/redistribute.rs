// SPDX-License-Identifier: Apache-2.0
//! A backlog that few queues hold, spread over many: `redistribute`. Java has nothing like it.
//!
//! A group cannot have more members at work than its topic has queues, and queues that are added get new messages only.
//! So the messages that a group has before it are copied to a topic with more queues, and the group's offsets move past
//! them: it has consumed them, as far as the old topic goes, and consumes them from the new one. Other groups do not
//! notice.
//!
//! The way of a queue, from the group's offset to the end that the queue had when the run began:
//! 1. some messages are noted (see [`super::moves`], which holds what this has in common with `resendDlq`);
//! 2. one is sent to the target, with a property [`MARK`] that names its place in the old topic;
//! 3. when it is stored, the group's offset in the old queue is set to the one after it.
//!
//! INVARIANT: an offset moves past a message only after its copy is stored: a run that is killed loses nothing. The next
//! run reads in the target what may have been sent from the group's offset on, and sends none of it again.
//!
//! The queues of the old topic are locked in the name of the group: a second run is refused, and an orderly member that
//! starts too early gets no queue.
//!
//! With `-k`, all messages of one key go to one queue of the target, in the order that they had. A key's messages have to
//! be in one queue of the old topic for that, as they are if they were sent by key.
//!
//! The members of the group must not run meanwhile: they would consume what is being copied.

use super::{
    Command,
    moves::{Ledger, Place, Reading, Run, check_names, copy, queue_of_key},
    run,
};
use crate::{
    admin::{AdminError, QueueAt},
    cli::{CommandError, Context, Given, Opt, shorten},
    java_text::queue_text,
};
use oxmq_client::ReceivedMessage;
use oxmq_remoting::{bodies::MessageQueue, code};
use serde_json::json;
use std::{
    collections::{BTreeSet, HashMap, HashSet},
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
const MARK: &str = "REDISTRIBUTED_FROM";
/// Messages that are noted together.
const NOTED: i64 = 1000;
/// How often people are told how far it is.
const TELL: Duration = Duration::from_secs(2);
/// How often it is looked whether a member came online.
const LOOK: Duration = Duration::from_secs(1);

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
            Some(key) => queue_of_key(&key, queues),
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
    check_names(group, &[topic, target])?;
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
    let locked = context.admin.readable_queues(topic, topic).await?;
    let (run, ledger) = Run::begin(context, &REDISTRIBUTE, (group, group), locked).await?;
    let mut work = Work {
        run,
        ledger,
        group,
        target,
        order,
        queues: Vec::new(),
        next: 0,
        copied: HashSet::new(),
        moved: 0,
        found: 0,
        backlog,
        told: Instant::now(),
        looked: Instant::now(),
    };
    let result = work.all(context, topic, queues).await;
    let Work { run, moved, found, .. } = work;
    run.end(context).await;
    result?;
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
    let mut known: BTreeSet<String> = BTreeSet::new();
    for at in context.admin.readable_queues(topic, topic).await? {
        let (addr, queue) = (&at.addr, &at.queue);
        // A group of which a broker never heard is a typing error, and would have all of the topic before it.
        if known.insert(addr.clone())
            && !context.admin.all_groups(addr).await?.subscription_group_table.contains_key(group)
        {
            return Err(CommandError::failed(format!("the broker {addr} knows no group {}", shorten(group))));
        }
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

/// A queue of the target, and an offset from which on it has nothing yet.
struct Target {
    at: QueueAt,
    end: i64,
}

/// What a run does.
struct Work<'a> {
    run: Run,
    ledger: Ledger,
    group: &'a str,
    target: &'a str,
    order: Order,
    queues: Vec<Target>,
    /// The queue whose turn it is.
    next: usize,
    /// Places of messages of which runs before have left a copy in the target.
    copied: HashSet<String>,
    moved: u64,
    /// Of those that a run before had sent.
    found: u64,
    backlog: i64,
    told: Instant,
    /// When it was last looked whether members are online.
    looked: Instant,
}

impl Work<'_> {
    async fn all(
        &mut self,
        context: &mut Context<'_>,
        topic: &str,
        queues: Vec<QueueAt>,
    ) -> Result<(), CommandError> {
        // Again: another run may have moved it before the queues were locked.
        let sources = sources(context, self.group, topic).await?;
        self.backlog = sources.iter().map(|source| source.end - source.begin).sum();
        prepare_target(context, self.group, self.target).await?;
        for at in queues {
            let end = context.admin.max_offset(&at.addr, &at.queue).await?;
            self.queues.push(Target { at, end });
        }
        self.find_copies(context, &sources).await?;
        for source in &sources {
            self.queue(context, source).await?;
        }
        Ok(())
    }

    /// Reads in the target what runs before may have left there of these messages.
    async fn find_copies(&mut self, context: &Context<'_>, sources: &[Source]) -> Result<(), CommandError> {
        let mut first: HashMap<MessageQueue, i64> = HashMap::new();
        for source in sources {
            for Place { queue, offset } in
                self.ledger.places_from(&source.at.queue, source.begin, self.target)
            {
                let first = first.entry(queue).or_insert(offset);
                *first = offset.min(*first);
            }
        }
        for (queue, offset) in first {
            let addr = context.admin.address_of_queue(&queue).await?;
            if context.admin.min_offset(&addr, &queue).await? > offset {
                return Err(CommandError::failed(format!(
                    "what was moved before to {} from offset {offset} on has expired, so that it is not known what is to \
                     be moved still: move the rest to another topic",
                    queue_text(&queue)
                )));
            }
            let end = context.admin.max_offset(&addr, &queue).await?;
            let at = QueueAt { queue, addr };
            let mut reading = Reading::new(&at, "*", offset, end);
            while let Some(messages) = reading.next(context).await? {
                let marks = messages.iter().filter_map(|message| message.get(MARK));
                self.copied.extend(marks.map(std::borrow::Cow::into_owned));
                self.run.keep(context).await?;
            }
        }
        Ok(())
    }

    async fn queue(&mut self, context: &mut Context<'_>, source: &Source) -> Result<(), CommandError> {
        let Source { at, begin, end } = source;
        let QueueAt { queue, addr } = at;
        let mut noted = *begin;
        let mut reading = Reading::new(at, "*", *begin, *end);
        while let Some(messages) = reading.next(context).await? {
            if self.looked.elapsed() > LOOK {
                nobody_online(self.group, members(context, self.group).await?)?;
                self.looked = Instant::now();
            }
            for message in &messages {
                let offset = message.queue_offset();
                if let Some(fault) = message.body_fault() {
                    return Err(CommandError::failed(format!(
                        "{} at offset {offset}: {fault}; resetOffsetByTime with -o moves past it",
                        queue_text(queue),
                    )));
                }
                if self.copied.contains(&message.offset_msg_id()) {
                    self.run.keep(context).await?;
                    self.found += 1;
                } else {
                    if offset >= noted {
                        noted = end.min(&(offset + NOTED)).to_owned();
                        let place =
                            |Target { at, end }: &Target| Place { queue: at.queue.clone(), offset: *end };
                        let places = self.queues.iter().map(place).collect();
                        self.ledger.note(context, (queue, offset, noted), self.target, places).await?;
                    }
                    self.send(context, message).await?;
                    self.moved += 1;
                }
                context.admin.update_offset(addr, self.group, queue, offset + 1).await?;
                self.tell(context);
            }
        }
        Ok(())
    }

    async fn send(&mut self, context: &Context<'_>, message: &ReceivedMessage) -> Result<(), CommandError> {
        let at = self.order.queue(message, self.queues.len(), self.next);
        self.next = self.next.wrapping_add(1);
        let to = &mut self.queues[at];
        let sent = self.run.send(context, &to.at, &copy(message, MARK)).await;
        let sent = sent.map_err(|error| {
            CommandError::failed(format!("after {} messages: {error}; nothing is lost", self.moved))
        })?;
        to.end = sent.queue_offset + 1;
        Ok(())
    }

    fn tell(&mut self, context: &mut Context<'_>) {
        if self.told.elapsed() > TELL && std::io::stderr().is_terminal() {
            self.told = Instant::now();
            context.note(&format!("redistribute: {} of {} messages", self.moved + self.found, self.backlog));
        }
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
}
