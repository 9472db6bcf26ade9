// SPDX-License-Identifier: Apache-2.0
//! Sending: `sendMessage`, `checkMsgSendRT`.

use super::{Command, run};
use crate::{
    admin::{AdminError, Outgoing, QueueAt, Sent},
    cli::{CommandError, Context, Given, Opt},
    format::fixed,
    java_text::now_ms,
};
use oxmq_client::{ReceivedMessage, SendTrace, TRACE_TOPIC};
use oxmq_remoting::{bodies::MessageQueue, code};
use oxmq_types::{RETRY_GROUP_PREFIX, validate_topic};
use serde::Serialize;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

pub(super) static SEND_MESSAGE: Command = Command {
    name: "sendMessage",
    alias: None,
    description: "Send a message.",
    options: &[
        Opt::value("t", "topic", "Topic name").required(),
        Opt::value("p", "body", "UTF-8 string format of the message body").required(),
        Opt::value("k", "key", "Message keys"),
        Opt::value("c", "tags", "Message tags"),
        Opt::value("b", "broker", "Send message to target broker"),
        Opt::value("i", "qid", "Send message to target queue"),
        Opt::value("m", "msgTraceEnable", "Message Trace Enable, Default: false"),
    ],
    run: run!(send_message),
};

pub(super) static CHECK_MSG_SEND_RT: Command = Command {
    name: "checkMsgSendRT",
    alias: None,
    description: "Check message send response time.",
    options: &[
        Opt::value("t", "topic", "topic name").required(),
        Opt::value("a", "amount", "message amount | default 100"),
        Opt::value("s", "size", "message size | default 128 Byte"),
    ],
    run: run!(check_send_rt),
};

/// Brokers that a message is offered to before the command fails. Java: `retryTimesWhenSendFailed` and the first.
const ATTEMPTS: usize = 3;
/// Largest body that is made for a check: no broker takes one of more.
const BODY_MAX: usize = 64 << 20;

/// A topic that a tool may send to.
fn check_topic(topic: &str) -> Result<(), CommandError> {
    validate_topic(topic).map_err(|error| CommandError::usage(error.to_string()))?;
    if oxmq_types::is_send_forbidden(topic) || topic.starts_with(RETRY_GROUP_PREFIX) {
        return Err(CommandError::usage(format!(
            "sending to topic {topic} is forbidden: only brokers write there"
        )));
    }
    Ok(())
}

/// A group of a producer that lives for one command, as Java names it.
fn producer_group() -> String {
    now_ms().to_string()
}

/// Where in the list of queues a tool begins, so that not all use the first queue.
fn somewhere(queues: usize) -> usize {
    usize::try_from(now_ms()).unwrap_or_default() % queues.max(1)
}

/// Offers a message to several brokers until one has it. A broker that did not answer may have it, too: then the message
/// may be there twice, with one unique key, as with Java's producer.
async fn send_somewhere(
    context: &mut Context<'_>,
    topic: &str,
    message: &Outgoing,
) -> Result<Sent, CommandError> {
    let queues = context.admin.writable_queues(topic).await?;
    let start = somewhere(queues.len());
    let mut failed: Vec<AdminError> = Vec::new();
    let mut tried: Vec<&str> = Vec::new();
    // Another queue of the same broker only if there is no other broker.
    let round = (0..queues.len()).map(|step| &queues[(start + step) % queues.len()]);
    let mut candidates: Vec<&QueueAt> = round.collect();
    while let Some(at) = candidates
        .iter()
        .position(|queue| !tried.contains(&queue.addr.as_str()))
        .or(if candidates.is_empty() { None } else { Some(0) })
    {
        let queue = candidates.remove(at);
        match context.admin.send(&producer_group(), queue, message, None).await {
            Ok(sent) => return Ok(sent),
            Err(error) => {
                // What no other broker would take either.
                let hopeless = matches!(error.code(), Some(code::MESSAGE_ILLEGAL));
                tried.push(&queue.addr);
                failed.push(error);
                if hopeless || failed.len() == ATTEMPTS {
                    break;
                }
            }
        }
    }
    Err(failed.pop().map_or_else(|| CommandError::failed("no queue to send to"), CommandError::from))
}

/// Sends a message that is stored once more, to all groups of its topic.
pub(super) async fn send_again(
    context: &mut Context<'_>,
    message: &ReceivedMessage,
) -> Result<Sent, CommandError> {
    let topic = message.topic();
    check_topic(topic)?;
    if let Some(fault) = message.body_fault() {
        return Err(CommandError::failed(format!("{} is not sent again: {fault}", message.msg_id())));
    }
    send_somewhere(context, topic, &Outgoing::copy_of(message)).await
}

/// A sent message for programs.
pub(super) fn result_json(sent: &Sent) -> Value {
    json!({
        "sendStatus": sent.status.to_string(),
        "msgId": sent.msg_id,
        "offsetMsgId": sent.offset_msg_id,
        "topic": sent.queue.topic,
        "brokerName": sent.queue.broker_name,
        "queueId": sent.queue.queue_id,
        "queueOffset": sent.queue_offset,
    })
}

async fn send_message(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    let topic = given.required("t");
    check_topic(topic)?;
    let queue_id: Option<i32> = given.number("i")?;
    let broker = given.value("b");
    if queue_id.is_some() && broker.is_none() {
        // COMPAT(java): on standard output.
        context.print("Broker name must be set if the queue is chosen!")?;
        return Err(CommandError::Exit(1));
    }
    let body = given.required("p").as_bytes().to_vec();
    if body.is_empty() {
        return Err(CommandError::usage("-p is empty: brokers take no message without a body"));
    }
    let mut message = Outgoing::new(body, now_ms());
    if let Some(keys) = given.value("k") {
        message.set("KEYS", keys);
    }
    if let Some(tags) = given.value("c") {
        message.set("TAGS", tags);
    }
    let start = Instant::now();
    let sent = match (broker, queue_id) {
        (Some(broker), Some(queue_id)) if queue_id >= 0 => {
            let queue = MessageQueue { topic: topic.to_owned(), broker_name: broker.to_owned(), queue_id };
            let addr = context.admin.address_of_queue(&queue).await?;
            context.admin.send(&producer_group(), &QueueAt { queue, addr }, &message, None).await?
        }
        (_, Some(queue_id)) => {
            return Err(CommandError::usage(format!("-i wants the number of a queue, not {queue_id}")));
        }
        // COMPAT(java): a broker without a queue is not looked at.
        _ => send_somewhere(context, topic, &message).await?,
    };
    if given.is_true("m")
        && let Err(error) = trace(context, &sent, &message, start.elapsed()).await
    {
        // The message is there, whether its trace is or not.
        context.note(&format!("the message is sent, its trace is not: {error}"));
    }
    if context.is_json() { context.json(&result_json(&sent)) } else { context.print(&table(&sent)) }
}

/// Tells the trace topic of a message that was sent and took so long.
async fn trace(
    context: &mut Context<'_>,
    sent: &Sent,
    message: &Outgoing,
    took: Duration,
) -> Result<(), CommandError> {
    let cost_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let property = |name| message.get(name).unwrap_or_default();
    let trace = SendTrace {
        at_ms: message.born_timestamp_ms,
        cost_ms,
        group: &producer_group(),
        topic: &sent.queue.topic,
        msg_id: &sent.msg_id,
        tags: &property("TAGS"),
        keys: &property("KEYS"),
        broker: &sent.addr,
        body_size: message.body.len(),
        offset_msg_id: &sent.offset_msg_id,
    }
    .message();
    let mut outgoing = Outgoing::new(trace.body().clone(), now_ms());
    outgoing.set("KEYS", trace.get("KEYS").unwrap_or_default());
    send_somewhere(context, TRACE_TOPIC, &outgoing).await.map(drop)
}

fn table(sent: &Sent) -> String {
    let row = |broker: &str, queue: &str, result: &str, id: &str| {
        format!("{broker:<32}  {queue:<4}  {result:<20}    {id}\n")
    };
    let Sent { queue: MessageQueue { broker_name, queue_id, .. }, status, msg_id, .. } = sent;
    row("#Broker Name", "#QID", "#Send Result", "#MsgId")
        + &row(broker_name, &queue_id.to_string(), &status.to_string(), msg_id)
}

/// One send of `checkMsgSendRT`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Check {
    broker_name: String,
    queue_id: i32,
    sent: bool,
    rt_ms: u128,
}

impl Check {
    fn row(broker: &str, queue: &str, sent: &str, rt: &str) -> String {
        format!("{broker:<32}  {queue:<4}  {sent:<20}    {rt}\n")
    }

    fn text(&self) -> String {
        let Self { broker_name, queue_id, sent, rt_ms } = self;
        Self::row(broker_name, &queue_id.to_string(), &sent.to_string(), &rt_ms.to_string())
    }
}

async fn check_send_rt(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    let topic = given.required("t");
    check_topic(topic)?;
    let amount: u32 = given.number("a")?.unwrap_or(100);
    let size: usize = given.number("s")?.unwrap_or(128);
    if amount == 0 || size == 0 || size > BODY_MAX {
        return Err(CommandError::usage("-a wants a number above 0, -s one from 1 to 67108864"));
    }
    let queues = context.admin.writable_queues(topic).await?;
    let body = bytes::Bytes::from(vec![b'a'; size]);
    let group = producer_group();
    if !context.is_json() {
        context.print(&Check::row("#Broker Name", "#QID", "#Send Result", "#RT"))?;
    }
    let (mut total_ms, mut failed, mut all) = (0_u128, 0_u32, Vec::new());
    let mut last_error = None;
    for n in 0..amount {
        let queue = &queues[n as usize % queues.len()];
        let message = Outgoing::new(body.clone(), now_ms());
        let start = Instant::now();
        let sent = context.admin.send(&group, queue, &message, None).await;
        let rt_ms = start.elapsed().as_millis();
        if n > 0 {
            total_ms += rt_ms;
        }
        let check = Check {
            broker_name: queue.queue.broker_name.clone(),
            queue_id: queue.queue.queue_id,
            sent: sent.is_ok(),
            rt_ms,
        };
        match context.is_json() {
            // Bounded: who wants all of a million takes the lines.
            true if all.len() < 10_000 => all.push(check),
            true => {}
            false => context.print(&check.text())?,
        }
        if let Err(error) = sent {
            failed += 1;
            last_error = Some(error);
        }
    }
    // COMPAT(java): the first send, which makes the connection, does not count; of one alone the average is none.
    let average = total_ms as f64 / (f64::from(amount) - 1.0);
    if context.is_json() {
        let average = if average.is_finite() { Some(average) } else { None };
        context.json(&json!({"sends": all, "averageRtMs": average, "failed": failed}))?;
    } else {
        context.print(&format!("Avg RT: {}\n", fixed(average, 2)))?;
    }
    match last_error {
        None => Ok(()),
        Some(error) => Err(CommandError::failed(format!("{failed} of {amount} sends failed: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_that_only_brokers_write_are_refused() {
        for bad in
            ["", " ", "../x", "SCHEDULE_TOPIC_XXXX", "RMQ_SYS_TRANS_HALF_TOPIC", "%RETRY%g", &"x".repeat(128)]
        {
            assert!(matches!(check_topic(bad), Err(CommandError::Usage(_))), "{bad}");
        }
        assert!(check_topic("TopicTest").is_ok() && check_topic("%DLQ%g").is_ok());
    }
}
