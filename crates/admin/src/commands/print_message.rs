// SPDX-License-Identifier: Apache-2.0
//! Queues from one end to the other: `printMsg`, `printMsgByQueue`, `consumeMessage`.
//!
//! Nothing is collected: a batch of messages is printed before the next is pulled, so that memory does not grow with the
//! queue.

use super::{
    Command,
    charset::Charset,
    message_text::{self, in_usual_order},
    run,
};
use crate::{
    admin::{Pull, PullStatus, Pulled, QueueAt, TOOLS_GROUP},
    cli::{CommandError, Context, Given, Opt},
    java_text::{now_ms, parse_time, queue_text},
};
use oxmq_remoting::bodies::MessageQueue;
use serde_json::json;
use std::{
    collections::HashMap,
    io::IsTerminal,
    time::{Duration, Instant},
};

pub(super) static PRINT_MSG: Command = Command {
    name: "printMsg",
    alias: None,
    description: "Print Message Detail.",
    options: &[
        Opt::value("t", "topic", "topic name").required(),
        Opt::value("c", "charsetName ", "CharsetName(eg: UTF-8,GBK)"),
        Opt::value("s", "subExpression ", "Subscribe Expression(eg: TagA || TagB)"),
        Opt::value("b", "beginTimestamp ", "Begin timestamp[currentTimeMillis|yyyy-MM-dd#HH:mm:ss:SSS]"),
        Opt::value("e", "endTimestamp ", "End timestamp[currentTimeMillis|yyyy-MM-dd#HH:mm:ss:SSS]"),
        Opt::value("d", "printBody ", "print body"),
        Opt::value("l", "lmqParentTopic", "Lmq parent topic, lmq is used to find the route."),
    ],
    run: run!(print_topic),
};

pub(super) static PRINT_MSG_BY_QUEUE: Command = Command {
    name: "printMsgByQueue",
    alias: None,
    description: "Print Message Detail by queueId.",
    options: &[
        Opt::value("t", "topic", "topic name").required(),
        Opt::value("a", "brokerName ", "broker name").required(),
        Opt::value("i", "queueId ", "queue id").required(),
        Opt::value("c", "charsetName ", "CharsetName(eg: UTF-8,GBK)"),
        Opt::value("s", "subExpression ", "Subscribe Expression(eg: TagA || TagB)"),
        Opt::value("b", "beginTimestamp ", "Begin timestamp[currentTimeMillis|yyyy-MM-dd#HH:mm:ss:SSS]"),
        Opt::value("e", "endTimestamp ", "End timestamp[currentTimeMillis|yyyy-MM-dd#HH:mm:ss:SSS]"),
        Opt::value("p", "print msg", "print msg. eg: true | false(default)"),
        Opt::value("d", "printBody ", "print body. eg: true | false(default)"),
        Opt::value("f", "calculate", "calculate by tag. eg: true | false(default)"),
    ],
    run: run!(print_queue),
};

pub(super) static CONSUME_MESSAGE: Command = Command {
    name: "consumeMessage",
    alias: None,
    description: "Consume message.",
    options: &[
        Opt::value("t", "topic", "Topic name").required(),
        Opt::value("b", "brokerName", "Broker name"),
        Opt::value("i", "queueId", "Queue Id"),
        Opt::value("o", "offset", "Queue offset"),
        Opt::value("g", "consumerGroup", "Consumer group name"),
        Opt::value("s", "beginTimestamp ", "Begin timestamp[currentTimeMillis|yyyy-MM-dd#HH:mm:ss:SSS]"),
        Opt::value("e", "endTimestamp ", "End timestamp[currentTimeMillis|yyyy-MM-dd#HH:mm:ss:SSS]"),
        Opt::value("c", "MessageNumber", "Number of message to be consumed"),
    ],
    run: run!(consume_message),
};

/// Messages of one pull.
const BATCH: i32 = 32;
/// Text that is printed at once.
const PRINT_BYTES: usize = 64 << 10;
/// Tags that are counted; a topic with more uses them as keys, and no list of them helps.
const TAGS_MAX: usize = 100_000;

/// A list that grows while it is printed: lines, or one JSON array.
struct Printed {
    with_body: Option<Charset>,
    first: bool,
}

impl Printed {
    fn begin(context: &mut Context<'_>, with_body: Option<Charset>) -> Result<Self, CommandError> {
        if context.is_json() {
            context.print("[")?;
        }
        Ok(Self { with_body, first: true })
    }

    fn messages(&mut self, context: &mut Context<'_>, pulled: &Pulled) -> Result<(), CommandError> {
        let mut text = String::new();
        for message in &pulled.messages {
            if context.is_json() {
                let value = message_text::json(message, self.with_body.is_some());
                text += if std::mem::take(&mut self.first) { "\n" } else { ",\n" };
                text += &value.to_string();
            } else {
                let body = self.with_body.map(|charset| charset.text(message.body()));
                text += &message_text::line(message, body.as_deref());
            }
            // Few large writes, and never much in memory.
            if text.len() >= PRINT_BYTES {
                context.print(&std::mem::take(&mut text))?;
            }
        }
        context.print(&text)
    }

    fn end(&self, context: &mut Context<'_>) -> Result<(), CommandError> {
        if context.is_json() { context.print("\n]\n") } else { Ok(()) }
    }
}

/// Tells people how far a long command is: only on a terminal, and not between the lines of its answer.
struct Progress {
    name: &'static str,
    done: u64,
    told: Instant,
}

impl Progress {
    const INTERVAL: Duration = Duration::from_secs(2);

    fn new(name: &'static str) -> Self {
        Self { name, done: 0, told: Instant::now() }
    }

    fn add(
        &mut self,
        context: &mut Context<'_>,
        messages: usize,
        queue: &MessageQueue,
        offset: i64,
        end: i64,
    ) {
        self.done += messages as u64;
        if self.told.elapsed() < Self::INTERVAL {
            return;
        }
        self.told = Instant::now();
        if std::io::stderr().is_terminal() && !std::io::stdout().is_terminal() {
            let MessageQueue { broker_name, queue_id, .. } = queue;
            context.note(&format!(
                "{}: {} messages, {broker_name} queue {queue_id}: {offset} of {end}",
                self.name, self.done
            ));
        }
    }
}

/// The times between which messages are wanted.
struct Span {
    begin_ms: Option<i64>,
    end_ms: Option<i64>,
}

impl Span {
    fn of(given: &Given, begin: &str, end: &str) -> Result<Self, CommandError> {
        let time = |key| {
            let time = given.value(key).map(parse_time).transpose();
            time.map_err(|error| CommandError::usage(error.to_string()))
        };
        let span = Self { begin_ms: time(begin)?, end_ms: time(end)? };
        match (span.begin_ms, span.end_ms) {
            (Some(begin_ms), Some(end_ms)) if begin_ms > end_ms => {
                Err(CommandError::usage(format!("-{begin} lies after -{end}: nothing can lie between them")))
            }
            _ => Ok(span),
        }
    }

    /// The offsets between which the messages of a queue lie.
    async fn offsets(&self, context: &Context<'_>, at: &QueueAt) -> Result<(i64, i64), CommandError> {
        let QueueAt { queue, addr } = at;
        let begin = match self.begin_ms {
            Some(ms) => context.admin.search_offset(addr, queue, ms).await?,
            None => context.admin.min_offset(addr, queue).await?,
        };
        let end = match self.end_ms {
            Some(ms) => context.admin.search_offset(addr, queue, ms).await?,
            None => context.admin.max_offset(addr, queue).await?,
        };
        Ok((begin, end))
    }
}

/// A pull that does not move the offset would go on for ever.
fn moved(offset: i64, pulled: &Pulled, addr: &str) -> Result<i64, CommandError> {
    if pulled.next_offset > offset
        || matches!(pulled.status, PullStatus::NoNewMsg | PullStatus::OffsetIllegal)
    {
        return Ok(pulled.next_offset);
    }
    Err(CommandError::failed(format!(
        "{addr} answered a pull at offset {offset} with the next offset {}: the queue cannot be read to its end",
        pulled.next_offset
    )))
}

async fn print_topic(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    let topic = given.required("t");
    let charset = given.value("c").map_or(Ok(Charset::UTF_8), Charset::named)?;
    let expression = given.value("s").unwrap_or("*");
    let with_body = (!given.has("d") || given.is_true("d")).then_some(charset);
    let span = Span::of(given, "b", "e")?;
    let queues = context.admin.readable_queues(topic, given.value("l").unwrap_or(topic)).await?;
    let queues = super::progress_text::in_queue_table_order(
        queues.into_iter().map(|QueueAt { queue, addr }| (queue, addr)).collect(),
    );
    let mut printed = Printed::begin(context, with_body)?;
    let mut progress = Progress::new("printMsg");
    for (queue, addr) in queues {
        let at = QueueAt { queue, addr };
        let text = queue_text(&at.queue);
        let (begin, end) = span.offsets(context, &at).await?;
        context.say(&format!("minOffset={begin}, maxOffset={end}, {text}"))?;
        let mut offset = begin;
        while offset < end {
            let pull = Pull { group: TOOLS_GROUP, queue: &at.queue, expression, offset, max: BATCH };
            let pulled = context.admin.pull(&at.addr, pull).await?;
            offset = moved(offset, &pulled, &at.addr)?;
            let status = pulled.status.name();
            match pulled.status {
                PullStatus::Found => printed.messages(context, &pulled)?,
                PullStatus::NoMatchedMsg => {
                    context.say(&format!("{text} no matched msg. status={status}, offset={offset}"))?;
                }
                PullStatus::NoNewMsg | PullStatus::OffsetIllegal => {
                    context.say(&format!("{text} print msg finished. status={status}, offset={offset}"))?;
                    break;
                }
            }
            progress.add(context, pulled.messages.len(), &at.queue, offset, end);
        }
        context.say("--------------------------------------------------------")?;
    }
    printed.end(context)
}

async fn print_queue(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    let queue = MessageQueue {
        topic: given.required("t").to_owned(),
        broker_name: given.required("a").to_owned(),
        queue_id: given.number("i")?.unwrap_or_default(),
    };
    let charset = given.value("c").map_or(Ok(Charset::UTF_8), Charset::named)?;
    let (print, count) = (given.is_true("p"), given.is_true("f"));
    let with_body = given.is_true("d").then_some(charset);
    let expression = given.value("s").unwrap_or("*");
    let span = Span::of(given, "b", "e")?;
    let at = QueueAt { addr: context.admin.address_of_queue(&queue).await?, queue };
    let (begin, end) = span.offsets(context, &at).await?;
    let json = context.is_json();
    if json && print && count {
        return Err(CommandError::usage("-o json prints one list: give either -p true or -f true"));
    }
    let mut printed =
        if json && !print { Printed { with_body, first: true } } else { Printed::begin(context, with_body)? };
    let mut progress = Progress::new("printMsgByQueue");
    let mut tags: HashMap<String, u64> = HashMap::new();
    let mut offset = begin;
    while offset < end {
        let pull = Pull { group: TOOLS_GROUP, queue: &at.queue, expression, offset, max: BATCH };
        let pulled = context.admin.pull(&at.addr, pull).await?;
        offset = moved(offset, &pulled, &at.addr)?;
        match pulled.status {
            PullStatus::Found => {
                if count {
                    count_tags(&mut tags, &pulled)?;
                }
                if print {
                    printed.messages(context, &pulled)?;
                }
            }
            // Java ends here. Messages that the expression wants may follow.
            PullStatus::NoMatchedMsg => {}
            PullStatus::NoNewMsg | PullStatus::OffsetIllegal => break,
        }
        progress.add(context, pulled.messages.len(), &at.queue, offset, end);
    }
    let counted = by_count(tags);
    match (json, print) {
        (true, true) => printed.end(context),
        (true, false) => {
            let each = |(tag, count): &(String, u64)| json!({"tag": tag, "count": count});
            context.json(&counted.iter().map(each).collect::<Vec<_>>())
        }
        (false, _) => {
            let lines = counted.iter().map(|(tag, count)| format!("Tag: {tag:<30} Count: {count}\n"));
            context.print(&lines.collect::<String>())
        }
    }
}

fn count_tags(tags: &mut HashMap<String, u64>, pulled: &Pulled) -> Result<(), CommandError> {
    for message in &pulled.messages {
        let Some(tag) = message.tag().filter(|tag| !tag.trim().is_empty()) else { continue };
        if let Some(count) = tags.get_mut(tag.as_ref()) {
            *count += 1;
        } else if tags.len() == TAGS_MAX {
            return Err(CommandError::failed(format!(
                "the queue has more than {TAGS_MAX} different tags: they cannot be counted; tags are for few kinds of \
                 messages, keys for many"
            )));
        } else {
            tags.insert(tag.into_owned(), 1);
        }
    }
    Ok(())
}

/// The most frequent first; of two alike the one that Java's table has first.
fn by_count(tags: HashMap<String, u64>) -> Vec<(String, u64)> {
    let mut sorted: Vec<_> = tags.into_iter().collect();
    sorted.sort();
    let mut counted = in_usual_order(sorted);
    counted.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counted
}

/// What `consumeMessage` reads.
struct Consume<'a> {
    group: &'a str,
    span: Span,
    count: i64,
}

async fn consume_message(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    let topic = given.required("t");
    // COMPAT(java): what does not fit together is said on standard output. The exit code is ours.
    let count: i64 = given.number("c")?.unwrap_or(128);
    let complaint = if count <= 0 {
        Some("Please input a positive messageNumber!")
    } else if given.has("i") && !given.has("b") {
        Some("Please set the brokerName before queueId!")
    } else if given.has("o") && !given.has("i") {
        Some("Please set queueId before offset!")
    } else {
        None
    };
    if let Some(complaint) = complaint {
        context.print(complaint)?;
        return Err(CommandError::Exit(1));
    }
    let time = |key| {
        let time = given.value(key).map(parse_time).transpose();
        time.map_err(|error| CommandError::usage(error.to_string()))
    };
    let span = Span { begin_ms: time("s")?, end_ms: time("e")? };
    let now = now_ms();
    let complaint = match (span.begin_ms, span.end_ms) {
        (Some(begin), _) if begin > now => Some("Please set the beginTimestamp before now!"),
        (_, Some(end)) if end > now => Some("Please set the endTimestamp before now!"),
        (Some(begin), Some(end)) if begin > end => {
            Some("Please make sure that the beginTimestamp is less than or equal to the endTimestamp")
        }
        _ => None,
    };
    if let Some(complaint) = complaint {
        context.print(complaint)?;
        return Err(CommandError::Exit(1));
    }
    let consume = Consume { group: given.value("g").unwrap_or(TOOLS_GROUP), span, count };
    let mut printed = Printed::begin(context, Some(Charset::UTF_8))?;
    match (given.value("b"), given.number("i")?) {
        (Some(broker), Some(queue_id)) => {
            let queue = MessageQueue { topic: topic.to_owned(), broker_name: broker.to_owned(), queue_id };
            let offset = given.number("o")?.unwrap_or(0);
            let at = QueueAt { addr: context.admin.address_of_queue(&queue).await?, queue };
            consume.one(context, &mut printed, &at, offset).await?;
        }
        _ => consume.all(context, &mut printed, topic).await?,
    }
    printed.end(context)
}

impl Consume<'_> {
    async fn all(
        &self,
        context: &mut Context<'_>,
        printed: &mut Printed,
        topic: &str,
    ) -> Result<(), CommandError> {
        let queues = context.admin.readable_queues(topic, topic).await?;
        let queues = super::progress_text::in_queue_table_order(
            queues.into_iter().map(|QueueAt { queue, addr }| (queue, addr)).collect(),
        );
        let mut left = self.count;
        for (queue, addr) in queues {
            if left <= 0 {
                break;
            }
            let at = QueueAt { queue, addr };
            let (begin, mut end) = self.span.offsets(context, &at).await?;
            let there = end.saturating_sub(begin);
            if there > left {
                let id = at.queue.queue_id;
                context.say(&format!("The older {left} message of the {id} queue will be provided"))?;
                end = begin.saturating_add(left - 1);
                left = 0;
            } else {
                // COMPAT(java): a queue counts for one message more than it has.
                left = left - there - 1;
            }
            self.read(context, printed, &at, begin, end).await?;
        }
        Ok(())
    }

    async fn one(
        &self,
        context: &mut Context<'_>,
        printed: &mut Printed,
        at: &QueueAt,
        offset: i64,
    ) -> Result<(), CommandError> {
        let (begin, mut end) = self.span.offsets(context, at).await?;
        if offset > end {
            return context.say(&format!("{} no matched msg, offset={offset}", queue_text(&at.queue)));
        }
        let begin = begin.max(offset);
        if end.saturating_sub(begin) > self.count {
            context.say(&format!("The oldler {} message will be provided", self.count))?;
            end = begin.saturating_add(self.count - 1);
        }
        self.read(context, printed, at, begin, end).await
    }

    /// Prints the messages from `begin` to `end`, both included.
    async fn read(
        &self,
        context: &mut Context<'_>,
        printed: &mut Printed,
        at: &QueueAt,
        begin: i64,
        end: i64,
    ) -> Result<(), CommandError> {
        let text = queue_text(&at.queue);
        let mut offset = begin;
        while offset <= end {
            let max = i32::try_from(end.saturating_sub(offset).saturating_add(1)).unwrap_or(i32::MAX);
            let pull = Pull { group: self.group, queue: &at.queue, expression: "*", offset, max };
            let mut pulled = context.admin.pull(&at.addr, pull).await?;
            offset = moved(offset, &pulled, &at.addr)?;
            let status = pulled.status.name();
            match pulled.status {
                PullStatus::Found => {
                    context.say("Consume ok")?;
                    // A server may give more than was asked for.
                    pulled.messages.truncate(usize::try_from(max).unwrap_or(usize::MAX));
                    printed.messages(context, &pulled)?;
                }
                PullStatus::NoMatchedMsg => {
                    context.say(&format!("{text} no matched msg. status={status}, offset={offset}"))?;
                }
                PullStatus::NoNewMsg | PullStatus::OffsetIllegal => {
                    context.say(&format!("{text} print msg finished. status={status}, offset={offset}"))?;
                    break;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pulled(status: PullStatus, next_offset: i64) -> Pulled {
        Pulled { status, next_offset, min_offset: 0, max_offset: 9, messages: Vec::new() }
    }

    #[test]
    fn a_queue_that_does_not_go_on_is_not_read_for_ever() {
        assert_eq!(moved(3, &pulled(PullStatus::Found, 4), "h:1").unwrap(), 4);
        assert_eq!(moved(3, &pulled(PullStatus::NoNewMsg, 3), "h:1").unwrap(), 3);
        for next in [3, 2, i64::MIN] {
            assert!(moved(3, &pulled(PullStatus::Found, next), "h:1").is_err());
            assert!(moved(3, &pulled(PullStatus::NoMatchedMsg, next), "h:1").is_err());
        }
    }

    #[test]
    fn tags_are_counted_the_most_frequent_first() {
        let tags = [("b", 2), ("a", 3), ("c", 2)].map(|(tag, count)| (tag.to_owned(), count));
        let counted = by_count(tags.into());
        assert_eq!(counted.iter().map(|(tag, _)| tag.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
    }
}
