// SPDX-License-Identifier: Apache-2.0
//! Dead letters that are to be consumed after all: `resendDlq`. Java has nothing like it.
//!
//! A dead letter is sent once more to the topic it came from, or to another one, with its body, keys, tag and unique key.
//! Before that it is noted, and the copy carries the property [`MARK`], whose value is the id of the dead letter's place:
//! see [`super::moves`], which holds what this has in common with `redistribute`. A run passes over what was noted and has
//! a copy. So a second run sends nothing twice, and a run that was killed, or whose broker did not answer, is simply begun
//! again.
//!
//! Without `--yes` the notes are only read.
//!
//! The dead letters stay where they are until they expire.

use super::{
    Command,
    moves::{Ledger, Place, Reading, Run, check_names, copy, is_copy, queue_of_key},
    run,
};
use crate::{
    admin::{AdminError, Outgoing, QueueAt, TOOLS_GROUP},
    cli::{CommandError, Context, Given, Opt, shorten},
    format::time,
    java_text::parse_time,
};
use oxmq_client::ReceivedMessage;
use oxmq_remoting::{bodies::MessageQueue, code};
use oxmq_types::{DLQ_GROUP_PREFIX, dlq_topic, retry_topic, validate_topic};
use serde_json::json;
use std::{
    collections::HashMap,
    io::IsTerminal,
    time::{Duration, Instant},
};

pub(super) static RESEND_DLQ: Command = Command {
    name: "resendDlq",
    alias: None,
    description: "Send dead letters of a group once more. Shows what it would do, unless --yes is given.",
    options: &[
        Opt::value("g", "group", "consumer group whose dead letters are meant").required(),
        Opt::value(
            "t",
            "topic",
            "topic to send to | default: the one each came from; %RETRY%GROUP for the group alone",
        ),
        Opt::value(
            "i",
            "msgId",
            "ids of dead letters, separated by commas: unique keys, or ids of their places",
        ),
        Opt::value("b", "beginTimestamp", "died at or after [currentTimeMillis|yyyy-MM-dd#HH:mm:ss:SSS]"),
        Opt::value("e", "endTimestamp", "died before [currentTimeMillis|yyyy-MM-dd#HH:mm:ss:SSS]"),
        Opt::flag("a", "all", "all dead letters of the group"),
        Opt::flag("y", "yes", "do it"),
    ],
    run: run!(resend),
};

/// Property of a copy: the id of the place of the dead letter that it is a copy of.
const MARK: &str = "DLQ_RESENT_FROM";
/// How much later than its note a copy may have been stored: clocks of two brokers may differ by some minutes.
const LATER_MS: i64 = 600_000;
/// Ids on one command line.
const IDS_MAX: usize = 1000;
/// Topics whose queues are remembered.
const TOPICS_MAX: usize = 1000;

/// What becomes of a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    /// It would be sent.
    ToSend,
    /// It was sent now, to this place.
    Sent(String),
    /// It was sent before.
    Before,
    /// It cannot be sent.
    Cannot(String),
}

impl Fate {
    fn name(&self) -> &'static str {
        match self {
            Self::ToSend => "TO_SEND",
            Self::Sent(_) => "SENT",
            Self::Before => "SENT_BEFORE",
            Self::Cannot(_) => "CANNOT_SEND",
        }
    }

    fn detail(&self) -> &str {
        match self {
            Self::Sent(place) => place,
            Self::Cannot(why) => why,
            Self::ToSend | Self::Before => "",
        }
    }
}

#[derive(Debug, Default)]
struct Counts {
    to_send: u64,
    sent: u64,
    before: u64,
    cannot: u64,
}

/// What a run does.
struct Resend<'a> {
    group: &'a str,
    topic: Option<&'a str>,
    /// `None` if it is only to be told what would be sent.
    run: Option<Run>,
    ledger: Ledger,
    /// A queue of the dead letters on each broker that has some.
    brokers: Vec<QueueAt>,
    /// Queues of the targets, and which of them was used last.
    targets: HashMap<String, (Vec<QueueAt>, usize)>,
    counts: Counts,
    told: Instant,
    first: bool,
}

/// The topic that a dead letter came from. `None` if it does not say.
fn origin(letter: &ReceivedMessage) -> Option<String> {
    let named = ["DLQ_ORIGIN_TOPIC", "RETRY_TOPIC"].iter().filter_map(|name| letter.get(name));
    let mut fine = named.filter(|topic| validate_topic(topic).is_ok() && !topic.starts_with('%'));
    fine.next().map(std::borrow::Cow::into_owned)
}

/// The message that is sent.
fn copy_for(letter: &ReceivedMessage, target: &str) -> Outgoing {
    let mut copy = copy(letter, MARK);
    // Consumers read the topic of what comes through a retry topic from this property.
    match target.starts_with('%') {
        true => {
            if let Some(origin) = origin(letter) {
                copy.set("RETRY_TOPIC", &origin);
            }
        }
        false => copy.unset("RETRY_TOPIC"),
    }
    copy
}

async fn resend(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    let group = given.required("g");
    let topic = given.value("t");
    check_names(group, topic.as_slice())?;
    if let Some(topic) = topic
        && (oxmq_types::is_send_forbidden(topic) || topic.starts_with(DLQ_GROUP_PREFIX))
    {
        return Err(CommandError::usage(format!("-t {topic}: dead letters cannot be sent there")));
    }
    let time_of = |key| {
        let time = given.value(key).map(parse_time).transpose();
        time.map_err(|error| CommandError::usage(error.to_string()))
    };
    let (begin, end) = (time_of("b")?, time_of("e")?);
    let ranged = begin.is_some() || end.is_some();
    match (given.has("i"), ranged, given.has("a")) {
        (false, false, false) => {
            return Err(CommandError::usage("say which dead letters: -i IDS, -b and -e TIME, or -a for all"));
        }
        (true, false, false) | (false, true, false) | (false, false, true) => {}
        _ => return Err(CommandError::usage("-i, -a, and -b with -e exclude each other: give one")),
    }
    if let (Some(begin), Some(end)) = (begin, end)
        && begin > end
    {
        return Err(CommandError::usage("-b lies after -e: nothing can lie between them"));
    }
    let brokers = brokers(context, group).await?;
    let (run, ledger) = match given.has("y") {
        true => {
            let (run, ledger) =
                Run::begin(context, &RESEND_DLQ, (TOOLS_GROUP, group), brokers.clone()).await?;
            (Some(run), ledger)
        }
        false => (None, Ledger::read(context, RESEND_DLQ.name, group, &brokers).await?),
    };
    let mut resend = Resend {
        group,
        topic,
        run,
        ledger,
        brokers,
        targets: HashMap::new(),
        counts: Counts::default(),
        told: Instant::now(),
        first: true,
    };
    let result = resend.all_that_are_meant(context, given.value("i"), (begin, end)).await;
    let said = resend.sum_up(context);
    if let Some(run) = resend.run {
        run.end(context).await;
    }
    result.and(said)?;
    if resend.counts.cannot > 0 { Err(CommandError::Exit(1)) } else { Ok(()) }
}

/// The first queue of the group's dead letters on each broker that has some. These are locked.
async fn brokers(context: &Context<'_>, group: &str) -> Result<Vec<QueueAt>, CommandError> {
    let letters = dlq_topic(group);
    let brokers = context.admin.addresses_of_topic(&letters).await;
    let brokers = brokers.map_err(|error| no_letters(error, group, ""))?;
    let first = |(broker_name, addr)| QueueAt {
        queue: MessageQueue { topic: letters.clone(), broker_name, queue_id: 0 },
        addr,
    };
    Ok(brokers.into_iter().map(first).collect())
}

fn no_letters(error: AdminError, group: &str, id: &str) -> CommandError {
    match error.code() {
        Some(code::TOPIC_NOT_EXIST) => CommandError::failed(format!(
            "the group {group} has no dead letters: there is no topic {}",
            dlq_topic(group)
        )),
        Some(code::NO_MESSAGE) => no_letter(group, id),
        _ => error.into(),
    }
}

fn no_letter(group: &str, id: &str) -> CommandError {
    CommandError::failed(format!("the group {group} has no dead letter {}", shorten(id)))
}

fn row(id: &str, topic: &str, died: &str, result: &str, detail: &str) -> String {
    let text = format!("{id:<42} {topic:<32} {died:<24} {result:<12} {detail}");
    text.trim_end().to_owned() + "\n"
}

impl Resend<'_> {
    async fn all_that_are_meant(
        &mut self,
        context: &mut Context<'_>,
        ids: Option<&str>,
        (begin_ms, end_ms): (Option<i64>, Option<i64>),
    ) -> Result<(), CommandError> {
        if context.is_json() {
            context.print("[")?;
        } else {
            context.print(&row("#Message ID", "#Topic", "#Died", "#Result", ""))?;
        }
        match ids {
            Some(ids) => self.by_id(context, ids).await,
            None => self.all(context, begin_ms, end_ms).await,
        }
    }

    fn sum_up(&self, context: &mut Context<'_>) -> Result<(), CommandError> {
        if context.is_json() {
            context.print("\n]\n")?;
        }
        let Counts { to_send, sent, before, cannot } = self.counts;
        let line = match self.run {
            Some(_) => format!("sent: {sent}, sent before: {before}, cannot be sent: {cannot}"),
            None => format!(
                "to send: {to_send}, sent before: {before}, cannot be sent: {cannot}; nothing was sent, --yes does it"
            ),
        };
        context.say(&format!("\n{line}"))
    }

    async fn by_id(&mut self, context: &mut Context<'_>, ids: &str) -> Result<(), CommandError> {
        let ids: Vec<&str> = ids.split(',').map(str::trim).filter(|id| !id.is_empty()).collect();
        if ids.is_empty() || ids.len() > IDS_MAX {
            return Err(CommandError::usage(format!("-i wants 1 to {IDS_MAX} ids")));
        }
        for id in ids {
            let (source, letter) = self.letter(context, id).await?;
            self.one(context, &source, &letter).await?;
        }
        Ok(())
    }

    /// The dead letter with this id, and the queue in which it lies.
    async fn letter(
        &mut self,
        context: &Context<'_>,
        id: &str,
    ) -> Result<(QueueAt, ReceivedMessage), CommandError> {
        let letters = dlq_topic(self.group);
        let letter = match context.admin.message_of_id(None, &letters, id).await {
            Ok(letter) => letter,
            // The broker keeps no index, or it does not know it yet.
            Err(error) if error.code() == Some(code::NO_MESSAGE) => return self.search(context, id).await,
            Err(error) => return Err(no_letters(error, self.group, id)),
        };
        if letter.topic() != letters {
            return Err(CommandError::failed(format!(
                "{} is a message of {}, no dead letter of {}",
                shorten(id),
                shorten(letter.topic()),
                self.group
            )));
        }
        for at in &self.brokers {
            let found = context.admin.view_message_at(&at.addr, &letters, letter.physical_offset()).await;
            if found.is_ok_and(|found| found.offset_msg_id() == letter.offset_msg_id()) {
                let queue = MessageQueue { queue_id: letter.queue_id(), ..at.queue.clone() };
                return Ok((QueueAt { queue, addr: at.addr.clone() }, letter));
            }
        }
        Err(no_letter(self.group, id))
    }

    /// Looks for a unique key among all dead letters. If it died more than once, the last time counts.
    async fn search(
        &mut self,
        context: &Context<'_>,
        id: &str,
    ) -> Result<(QueueAt, ReceivedMessage), CommandError> {
        let letters = dlq_topic(self.group);
        let mut last: Option<(QueueAt, ReceivedMessage)> = None;
        for at in context.admin.readable_queues(&letters, &letters).await? {
            let mut reading = Reading::new(&at, "*", 0, i64::MAX);
            while let Some(messages) = reading.next(context).await? {
                self.keep(context).await?;
                for message in messages.into_iter().filter(|message| message.msg_id() == id) {
                    let died = message.store_timestamp_ms();
                    if last.as_ref().is_none_or(|(_, last)| last.store_timestamp_ms() <= died) {
                        last = Some((at.clone(), message));
                    }
                }
            }
        }
        last.ok_or_else(|| no_letter(self.group, id))
    }

    async fn all(
        &mut self,
        context: &mut Context<'_>,
        begin_ms: Option<i64>,
        end_ms: Option<i64>,
    ) -> Result<(), CommandError> {
        let letters = dlq_topic(self.group);
        let queues = context.admin.readable_queues(&letters, &letters).await?;
        if queues.is_empty() {
            return Err(CommandError::failed(format!(
                "{letters} may not be read: mqadmin updateTopicPerm -t {letters} -p 6 allows it"
            )));
        }
        for at in queues {
            let (addr, queue) = (&at.addr, &at.queue);
            let offset = match begin_ms {
                Some(ms) => context.admin.search_offset(addr, queue, ms).await?,
                None => context.admin.min_offset(addr, queue).await?,
            };
            // What dies from now on is for the next run.
            let end = context.admin.max_offset(addr, queue).await?;
            let mut reading = Reading::new(&at, "*", offset, end);
            while let Some(messages) = reading.next(context).await? {
                for letter in &messages {
                    let died = letter.store_timestamp_ms();
                    if begin_ms.is_none_or(|ms| died >= ms) && end_ms.is_none_or(|ms| died < ms) {
                        self.one(context, &at, letter).await?;
                    }
                }
            }
        }
        Ok(())
    }

    async fn keep(&mut self, context: &Context<'_>) -> Result<(), CommandError> {
        match &mut self.run {
            Some(run) => run.keep(context).await,
            None => Ok(()),
        }
    }

    /// Sends one dead letter, if that has not been done, and tells it.
    async fn one(
        &mut self,
        context: &mut Context<'_>,
        source: &QueueAt,
        letter: &ReceivedMessage,
    ) -> Result<(), CommandError> {
        let target = self.topic.map(str::to_owned).or_else(|| origin(letter));
        let fate = match &target {
            None => Fate::Cannot("it does not say where it came from: give -t".into()),
            Some(target) => self.fate(context, source, letter, target).await?,
        };
        match &fate {
            Fate::ToSend => self.counts.to_send += 1,
            Fate::Sent(_) => self.counts.sent += 1,
            Fate::Before => self.counts.before += 1,
            Fate::Cannot(_) => self.counts.cannot += 1,
        }
        let target = target.unwrap_or_default();
        if context.is_json() {
            let comma = if std::mem::take(&mut self.first) { "\n" } else { ",\n" };
            let value = json!({
                "msgId": letter.msg_id(), "offsetMsgId": letter.offset_msg_id(), "topic": target,
                "diedTimestamp": letter.store_timestamp_ms(), "result": fate.name(), "detail": fate.detail(),
            });
            return context.print(&format!("{comma}{value}"));
        }
        let died = time(letter.store_timestamp_ms());
        context.print(&row(&letter.msg_id(), &target, &died, fate.name(), fate.detail()))?;
        if self.told.elapsed() > Duration::from_secs(2)
            && std::io::stderr().is_terminal()
            && !std::io::stdout().is_terminal()
        {
            self.told = Instant::now();
            let Counts { to_send, sent, before, cannot } = &self.counts;
            context.note(&format!("resendDlq: {} dead letters", to_send + sent + before + cannot));
        }
        Ok(())
    }

    async fn fate(
        &mut self,
        context: &mut Context<'_>,
        source: &QueueAt,
        letter: &ReceivedMessage,
        target: &str,
    ) -> Result<Fate, CommandError> {
        if let Some(fault) = letter.body_fault() {
            return Ok(Fate::Cannot(fault.to_string()));
        }
        if !self.targets.contains_key(target)
            && let Some(why) = self.open(context, target).await?
        {
            return Ok(Fate::Cannot(why));
        }
        self.keep(context).await?;
        if self.was_sent(context, source, letter, target).await? {
            return Ok(Fate::Before);
        }
        let Some(run) = &mut self.run else { return Ok(Fate::ToSend) };
        let Some((queues, last)) = self.targets.get_mut(target) else {
            return Err(CommandError::failed("the target has no queues"));
        };
        *last = match letter.get("__SHARDINGKEY") {
            Some(key) => queue_of_key(&key, queues.len()),
            None => (*last + 1) % queues.len(),
        };
        let to = &queues[*last];
        let place =
            Place { queue: to.queue.clone(), offset: context.admin.max_offset(&to.addr, &to.queue).await? };
        let offset = letter.queue_offset();
        self.ledger.note(context, (&source.queue, offset, offset + 1), target, vec![place]).await?;
        let sent = run.send(context, to, &copy_for(letter, target)).await?;
        Ok(Fate::Sent(sent.offset_msg_id))
    }

    /// True if it was noted that a copy of this letter would be sent to `target`, and it was. If what lay at the noted place
    /// is not there any more, the copy is taken to have been sent.
    async fn was_sent(
        &mut self,
        context: &Context<'_>,
        source: &QueueAt,
        letter: &ReceivedMessage,
        target: &str,
    ) -> Result<bool, CommandError> {
        let noted = self.ledger.of(&source.queue, letter.queue_offset(), target);
        for (Place { queue, offset }, noted_ms) in noted {
            let addr = context.admin.address_of_queue(queue).await?;
            let at = QueueAt { queue: queue.clone(), addr };
            let mut reading = Reading::new(&at, "*", *offset, i64::MAX);
            let mut messages = reading.next(context).await?;
            if reading.bounds.is_some_and(|(min, max)| !(min..=max).contains(offset)) {
                return Ok(true);
            }
            let until = noted_ms.saturating_add(LATER_MS);
            while let Some(found) = &messages
                && found.first().is_some_and(|message| message.store_timestamp_ms() <= until)
            {
                if found.iter().any(|message| is_copy(message, letter, MARK)) {
                    return Ok(true);
                }
                if let Some(run) = &mut self.run {
                    run.keep(context).await?;
                }
                messages = reading.next(context).await?;
            }
        }
        Ok(false)
    }

    /// Finds the queues of a target, and tells people who else reads there. What is answered is why nothing can be sent
    /// there.
    async fn open(
        &mut self,
        context: &mut Context<'_>,
        target: &str,
    ) -> Result<Option<String>, CommandError> {
        if self.targets.len() == TOPICS_MAX {
            return Err(CommandError::failed(format!(
                "dead letters of more than {TOPICS_MAX} topics: use -t"
            )));
        }
        match context.admin.route(target).await {
            Err(error) if error.code() == Some(code::TOPIC_NOT_EXIST) => {
                return Ok(Some(format!("there is no topic {}", shorten(target))));
            }
            route => drop(route?),
        }
        let queues = context.admin.writable_queues(target).await?;
        self.targets.insert(target.to_owned(), (queues, 0));
        if target != retry_topic(self.group)
            && let Ok(mut others) = context.admin.groups_of(target).await
        {
            others.retain(|group| group != self.group);
            others.sort();
            if !others.is_empty() {
                let more = others.len().saturating_sub(5);
                others.truncate(5);
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                context.note(&format!(
                    "{target} is read by {}{more}, too: they get these messages once more; -t {} sends to {} alone",
                    others.join(", "),
                    retry_topic(self.group),
                    self.group
                ));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::message;

    fn letter(properties: &[(&str, &str)]) -> ReceivedMessage {
        message("%DLQ%g", b"body", properties)
    }

    #[test]
    fn a_letter_goes_to_where_it_came_from() {
        let dead = letter(&[("UNIQ_KEY", "U1"), ("RETRY_TOPIC", "T")]);
        assert_eq!(origin(&dead).as_deref(), Some("T"));
        assert_eq!(copy_for(&dead, "T").get("RETRY_TOPIC"), None);
        assert_eq!(copy_for(&dead, "T").get(MARK), Some(dead.offset_msg_id()));
        // Who consumes it from the retry topic must see where it came from.
        assert_eq!(copy_for(&dead, "%RETRY%g").get("RETRY_TOPIC").as_deref(), Some("T"));
        // Names of foreign messages are not trusted.
        for topic in ["../x", "%RETRY%g", "", "%DLQ%h"] {
            assert_eq!(origin(&letter(&[("RETRY_TOPIC", topic)])), None, "{topic}");
        }
        let both = letter(&[("RETRY_TOPIC", "%RETRY%g"), ("DLQ_ORIGIN_TOPIC", "T")]);
        assert_eq!(origin(&both).as_deref(), Some("T"));
    }

    #[test]
    fn results_have_names() {
        for (fate, name) in [
            (Fate::ToSend, "TO_SEND"),
            (Fate::Sent("X".into()), "SENT"),
            (Fate::Before, "SENT_BEFORE"),
            (Fate::Cannot("why".into()), "CANNOT_SEND"),
        ] {
            assert_eq!(fate.name(), name);
        }
        assert_eq!(row("a", "b", "c", "SENT", "").split_whitespace().count(), 4);
    }
}
