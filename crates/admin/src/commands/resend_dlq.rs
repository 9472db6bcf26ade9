// SPDX-License-Identifier: Apache-2.0
//! Dead letters that are to be consumed after all: `resendDlq`. Java has nothing like it.
//!
//! A dead letter is sent once more to the topic it came from, or to another one, with its body, keys, tag and unique key.
//! The copy carries the property [`MARK`], whose value is the id of the dead letter's place: message and mark are one
//! record, so that nothing can come between them. A run looks in the target for copies with the unique key of a dead
//! letter, and passes over those of which there is one. So a second run sends nothing twice, and a run that was killed,
//! or whose broker did not answer, is simply begun again.
//!
//! INVARIANT: nothing is sent of which it is not known whether it was sent before: where a broker keeps no index, or
//! does not answer, the run ends.
//!
//! The dead letters stay where they are until they expire.

use super::{Command, run};
use crate::{
    admin::{AdminError, KeyQuery, Outgoing, Pull, PullStatus, QueueAt, TOOLS_GROUP},
    cli::{CommandError, Context, Given, Opt, shorten},
    format::time,
    java_text::{now_ms, parse_time},
};
use oxmq_client::ReceivedMessage;
use oxmq_remoting::code;
use oxmq_types::{DLQ_GROUP_PREFIX, dlq_topic, retry_topic, validate_group, validate_topic};
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
pub(crate) const MARK: &str = "DLQ_RESENT_FROM";

/// Properties that say how a message came to be a dead letter, or that it waits for something: a copy begins anew.
const FORGOTTEN: [&str; 18] = [
    "DELAY",
    "REAL_TOPIC",
    "REAL_QID",
    "ORIGIN_MESSAGE_ID",
    "RECONSUME_TIME",
    "MAX_RECONSUME_TIMES",
    "TIMER_DELIVER_MS",
    "TIMER_DELAY_MS",
    "TIMER_DELAY_SEC",
    "TIMER_OUT_MS",
    "TIMER_ENQUEUE_MS",
    "TIMER_DEQUEUE_MS",
    "TIMER_ROLL_TIMES",
    "TRAN_MSG",
    "PGROUP",
    "CLUSTER",
    "1ST_POP_TIME",
    "__CRC32#",
];

/// How long the index of a broker may take to know a message.
const INDEX_TIMEOUT: Duration = Duration::from_secs(5);
/// Ids on one command line.
const IDS_MAX: usize = 1000;
/// Topics whose queues are remembered.
const TOPICS_MAX: usize = 1000;
/// Messages of one pull.
const BATCH: i32 = 32;

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

/// A run.
struct Resend<'a> {
    group: &'a str,
    topic: Option<&'a str>,
    really: bool,
    /// Queues of the targets, and which of them was used last.
    targets: HashMap<String, (Vec<QueueAt>, usize)>,
    /// Targets of which it is known that their brokers find copies again.
    indexed: Vec<String>,
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

/// The key by which a copy is found again: that of the message, or else the id of the dead letter's place.
fn unique_key(letter: &ReceivedMessage) -> String {
    letter.msg_id()
}

/// The message that is sent.
fn copy(letter: &ReceivedMessage, target: &str) -> Outgoing {
    let mut copy = Outgoing::copy_of(letter);
    for name in FORGOTTEN {
        copy.unset(name);
    }
    // Consumers read the topic of what comes through a retry topic from this property.
    match target.starts_with('%') {
        true => {
            if let Some(origin) = origin(letter) {
                copy.set("RETRY_TOPIC", &origin);
            }
        }
        false => copy.unset("RETRY_TOPIC"),
    }
    copy.set("UNIQ_KEY", &unique_key(letter));
    copy.set("WAIT", "true");
    copy.set(MARK, &letter.offset_msg_id());
    copy
}

/// True if one of `found` is a copy of `letter`.
fn is_among(letter: &ReceivedMessage, found: &[ReceivedMessage]) -> bool {
    let place = letter.offset_msg_id();
    found.iter().any(|message| message.get(MARK).is_some_and(|mark| mark == place))
}

async fn resend(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    let group = given.required("g");
    validate_group(group).map_err(|error| CommandError::usage(error.to_string()))?;
    let topic = given.value("t");
    if let Some(topic) = topic {
        validate_topic(topic).map_err(|error| CommandError::usage(error.to_string()))?;
        if oxmq_types::is_send_forbidden(topic) || topic.starts_with(DLQ_GROUP_PREFIX) {
            return Err(CommandError::usage(format!("-t {topic}: dead letters cannot be sent there")));
        }
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
    let mut resend = Resend {
        group,
        topic,
        really: given.has("y"),
        targets: HashMap::new(),
        indexed: Vec::new(),
        counts: Counts::default(),
        told: Instant::now(),
        first: true,
    };
    if context.is_json() {
        context.print("[")?;
    } else {
        context.print(&row("#Message ID", "#Topic", "#Died", "#Result", ""))?;
    }
    let result = match given.value("i") {
        Some(ids) => resend.by_id(context, ids).await,
        None => resend.all(context, begin, end).await,
    };
    if context.is_json() {
        context.print("\n]\n")?;
    }
    let Counts { to_send, sent, before, cannot } = resend.counts;
    let line = if resend.really {
        format!("sent: {sent}, sent before: {before}, cannot be sent: {cannot}")
    } else {
        format!(
            "to send: {to_send}, sent before: {before}, cannot be sent: {cannot}; nothing was sent, --yes does it"
        )
    };
    context.say(&format!("\n{line}"))?;
    result?;
    if cannot > 0 { Err(CommandError::Exit(1)) } else { Ok(()) }
}

fn row(id: &str, topic: &str, died: &str, result: &str, detail: &str) -> String {
    let text = format!("{id:<42} {topic:<32} {died:<24} {result:<12} {detail}");
    text.trim_end().to_owned() + "\n"
}

impl Resend<'_> {
    async fn by_id(&mut self, context: &mut Context<'_>, ids: &str) -> Result<(), CommandError> {
        let ids: Vec<&str> = ids.split(',').map(str::trim).filter(|id| !id.is_empty()).collect();
        if ids.is_empty() || ids.len() > IDS_MAX {
            return Err(CommandError::usage(format!("-i wants 1 to {IDS_MAX} ids")));
        }
        let letters = dlq_topic(self.group);
        for id in ids {
            let letter = context.admin.message_of_id(None, &letters, id).await;
            let letter = letter.map_err(|error| self.no_letters(error, id))?;
            if letter.topic() != letters {
                return Err(CommandError::failed(format!(
                    "{} is a message of {}, no dead letter of {}",
                    shorten(id),
                    shorten(letter.topic()),
                    self.group
                )));
            }
            self.one(context, &letter).await?;
        }
        Ok(())
    }

    fn no_letters(&self, error: AdminError, id: &str) -> CommandError {
        match error.code() {
            Some(code::TOPIC_NOT_EXIST) => CommandError::failed(format!(
                "the group {} has no dead letters: there is no topic {}",
                self.group,
                dlq_topic(self.group)
            )),
            Some(code::NO_MESSAGE) => {
                CommandError::failed(format!("the group {} has no dead letter {}", self.group, shorten(id)))
            }
            _ => error.into(),
        }
    }

    async fn all(
        &mut self,
        context: &mut Context<'_>,
        begin_ms: Option<i64>,
        end_ms: Option<i64>,
    ) -> Result<(), CommandError> {
        let letters = dlq_topic(self.group);
        let queues = context.admin.readable_queues(&letters, &letters).await;
        let queues = queues.map_err(|error| self.no_letters(error, ""))?;
        if queues.is_empty() {
            return Err(CommandError::failed(format!(
                "{letters} may not be read: mqadmin updateTopicPerm -t {letters} -p 6 allows it"
            )));
        }
        for at in queues {
            let (addr, queue) = (&at.addr, &at.queue);
            let mut offset = match begin_ms {
                Some(ms) => context.admin.search_offset(addr, queue, ms).await?,
                None => context.admin.min_offset(addr, queue).await?,
            };
            // What dies from now on is for the next run.
            let end = context.admin.max_offset(addr, queue).await?;
            while offset < end {
                let pull = Pull { group: TOOLS_GROUP, queue, expression: "*", offset, max: BATCH };
                let pulled = context.admin.pull(addr, pull).await?;
                if matches!(pulled.status, PullStatus::NoNewMsg) {
                    break;
                }
                if pulled.next_offset <= offset {
                    return Err(CommandError::failed(format!(
                        "{addr} cannot read {letters} from offset {offset} on"
                    )));
                }
                offset = pulled.next_offset;
                for letter in &pulled.messages {
                    let died = letter.store_timestamp_ms();
                    if letter.queue_offset() < end
                        && begin_ms.is_none_or(|ms| died >= ms)
                        && end_ms.is_none_or(|ms| died < ms)
                    {
                        self.one(context, letter).await?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Sends one dead letter, if that has not been done, and tells it.
    async fn one(&mut self, context: &mut Context<'_>, letter: &ReceivedMessage) -> Result<(), CommandError> {
        let target = self.topic.map(str::to_owned).or_else(|| origin(letter));
        let fate = match &target {
            None => Fate::Cannot("it does not say where it came from: give -t".into()),
            Some(target) => self.fate(context, letter, target).await?,
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
        if is_among(letter, &copies(context, target, letter).await?) {
            return Ok(Fate::Before);
        }
        if !self.really {
            return Ok(Fate::ToSend);
        }
        let Some((queues, last)) = self.targets.get_mut(target) else {
            return Err(CommandError::failed("the target has no queues"));
        };
        *last = match letter.get("__SHARDINGKEY") {
            Some(key) => oxmq_types::java_string_hash(&key).unsigned_abs() as usize % queues.len(),
            None => (*last + 1) % queues.len(),
        };
        let queue = &queues[*last];
        let sent = context.admin.send("resendDlq", queue, &copy(letter, target), None).await;
        let sent = sent.map_err(|error| {
            CommandError::failed(format!(
                "{} was not sent, or that is not known: {error}; the same command goes on where this one ended",
                letter.msg_id()
            ))
        })?;
        if !self.indexed.iter().any(|known| known == target) {
            self.wait_indexed(context, target, letter).await?;
        }
        Ok(Fate::Sent(sent.offset_msg_id))
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

    /// Waits until the target's broker finds the copy that was just sent. One that never does cannot tell what was sent.
    async fn wait_indexed(
        &mut self,
        context: &Context<'_>,
        target: &str,
        letter: &ReceivedMessage,
    ) -> Result<(), CommandError> {
        let begun = Instant::now();
        while begun.elapsed() < INDEX_TIMEOUT {
            if is_among(letter, &copies(context, target, letter).await?) {
                self.indexed.push(target.to_owned());
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err(CommandError::failed(format!(
            "{} was sent, but {target} does not find it by its key: without an index (messageIndexEnable) it cannot be \
             known what was sent, so nothing more is",
            letter.msg_id()
        )))
    }
}

/// The messages in the target with the unique key of a dead letter.
async fn copies(
    context: &Context<'_>,
    target: &str,
    letter: &ReceivedMessage,
) -> Result<Vec<ReceivedMessage>, CommandError> {
    let key = unique_key(letter);
    let query = KeyQuery {
        topic: target,
        key: &key,
        unique: true,
        cluster: None,
        max: 64,
        // A copy is younger than its dead letter; clocks of two brokers may differ by some minutes.
        begin_ms: letter.store_timestamp_ms().saturating_sub(600_000),
        end_ms: now_ms().saturating_add(600_000),
    };
    match context.admin.query_message(query).await {
        Ok(found) => Ok(found),
        Err(error) if error.code() == Some(code::NO_MESSAGE) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
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
    fn a_copy_is_the_message_without_its_fate() {
        let letter = letter(&[
            ("UNIQ_KEY", "U1"),
            ("KEYS", "order-7"),
            ("TAGS", "A"),
            ("RETRY_TOPIC", "T"),
            ("DELAY", "18"),
            ("ORIGIN_MESSAGE_ID", "X"),
            ("mine", "y"),
        ]);
        assert_eq!(origin(&letter).as_deref(), Some("T"));
        let sent = copy(&letter, "T");
        for (name, value) in [
            ("UNIQ_KEY", Some("U1")),
            ("KEYS", Some("order-7")),
            ("TAGS", Some("A")),
            ("mine", Some("y")),
            ("DELAY", None),
            ("RETRY_TOPIC", None),
            ("ORIGIN_MESSAGE_ID", None),
        ] {
            assert_eq!(sent.get(name).as_deref(), value, "{name}");
        }
        assert_eq!(sent.get(MARK), Some(letter.offset_msg_id()));
        // Who consumes it from the retry topic must see where it came from.
        assert_eq!(copy(&letter, "%RETRY%g").get("RETRY_TOPIC").as_deref(), Some("T"));
    }

    #[test]
    fn a_copy_is_known_again_by_its_mark() {
        let dead = letter(&[("UNIQ_KEY", "U1"), ("RETRY_TOPIC", "T")]);
        let place = dead.offset_msg_id();
        let first = message("T", b"body", &[("UNIQ_KEY", "U1")]);
        let again = message("T", b"body", &[("UNIQ_KEY", "U1"), (MARK, &place)]);
        let other = message("T", b"body", &[("UNIQ_KEY", "U1"), (MARK, "7F00000100002A9F0000000000000083")]);
        assert!(!is_among(&dead, &[first.clone(), other.clone()]));
        assert!(is_among(&dead, &[first, other, again]));
    }

    #[test]
    fn a_letter_without_a_key_gets_one_that_is_always_the_same() {
        let dead = letter(&[("RETRY_TOPIC", "T")]);
        assert_eq!(copy(&dead, "T").get("UNIQ_KEY"), Some(dead.offset_msg_id()));
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
