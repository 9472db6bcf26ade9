// SPDX-License-Identifier: Apache-2.0
//! Single messages: `queryMsgById`, `queryMsgByKey`, `queryMsgByOffset`, `queryMsgByUniqueKey`.

use super::{
    Command,
    body_file::write_body,
    charset::Charset,
    message_text, run, running_text,
    tracks::{Track, tracks},
};
use crate::{
    admin::{KeyQuery, Pull, PullStatus, TOOLS_GROUP},
    cli::{CommandError, Context, Given, Opt, shorten},
};
use oxmq_client::ReceivedMessage;
use oxmq_remoting::bodies::{ConsumerRunningInfo, MessageQueue};
use serde_json::{Value, json};
use std::fmt::Write;

const CLUSTER: Opt =
    Opt::value("c", "cluster", "Cluster name or lmq parent topic, lmq is used to find the route.");

pub(super) static QUERY_MSG_BY_ID: Command = Command {
    name: "queryMsgById",
    alias: None,
    description: "Query Message by Id.",
    options: &[
        Opt::value("t", "topic", "topic name").required(),
        Opt::value("i", "msgId", "Message Id").required(),
        Opt::value("g", "consumerGroup", "consumer group name"),
        Opt::value("d", "clientId", "The consumer's client id"),
        Opt::value("s", "sendMessage", "resend message"),
        Opt::value("u", "unitName", "unit name"),
        Opt::value("f", "bodyFormat", "print message body by the specified format"),
        CLUSTER,
    ],
    run: run!(query_by_id),
};

pub(super) static QUERY_MSG_BY_KEY: Command = Command {
    name: "queryMsgByKey",
    alias: None,
    description: "Query Message by Key.",
    options: &[
        Opt::value("t", "topic", "Topic name").required(),
        Opt::value("k", "msgKey", "Message Key").required(),
        Opt::value("b", "beginTimestamp", "Begin timestamp(ms). default:0, eg:1676730526212"),
        Opt::value("e", "endTimestamp", "End timestamp(ms). default:Long.MAX_VALUE, eg:1676730526212"),
        Opt::value("m", "maxNum", "The maximum number of messages returned by the query, default:64"),
        CLUSTER,
    ],
    run: run!(query_by_key),
};

pub(super) static QUERY_MSG_BY_OFFSET: Command = Command {
    name: "queryMsgByOffset",
    alias: None,
    description: "Query Message by offset.",
    options: &[
        Opt::value("t", "topic", "topic name").required(),
        Opt::value("b", "brokerName", "Broker Name").required(),
        Opt::value("i", "queueId", "Queue Id").required(),
        Opt::value("o", "offset", "Queue Offset").required(),
        Opt::value("f", "bodyFormat", "print message body by the specified format"),
    ],
    run: run!(query_by_offset),
};

pub(super) static QUERY_MSG_BY_UNIQUE_KEY: Command = Command {
    name: "queryMsgByUniqueKey",
    alias: None,
    description: "Query Message by Unique key.",
    options: &[
        Opt::value("i", "msgId", "Message Id").required(),
        Opt::value("g", "consumerGroup", "consumer group name"),
        Opt::value("d", "clientId", "The consumer's client id"),
        Opt::value("t", "topic", "The topic of msg").required(),
        Opt::flag("a", "showAll", "Print all message, the limit is 32"),
        CLUSTER,
    ],
    run: run!(query_by_unique_key),
};

async fn query_by_id(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    let (topic, cluster) = (given.required("t"), given.value("c"));
    let ids: Vec<&str> = given.required("i").split(',').map(str::trim).filter(|id| !id.is_empty()).collect();
    if ids.is_empty() {
        return Err(CommandError::usage("-i wants a message id, or several separated by commas"));
    }
    if ids.len() > 1000 {
        return Err(CommandError::usage("-i takes 1000 ids at most"));
    }
    if given.has("s") && given.has("g") && given.has("d") {
        return Err(CommandError::usage(
            "-s sends the message again to all groups, -g with -d to one consumer: give one",
        ));
    }
    if let (Some(group), Some(client_id)) = (given.value("g"), given.value("d")) {
        for id in ids {
            let info = context.admin.running_info(group, client_id, false).await?;
            if !info.is_push() {
                context.say(&format!(
                    "this {client_id} client is not push consumer ,not support direct push "
                ))?;
                return Err(no_push_consumer(client_id));
            }
            consume_directly(context, cluster, (group, client_id), topic, id).await?;
        }
        return Ok(());
    }
    if given.has("s") {
        if !given.is_true("s") {
            return Ok(());
        }
        let mut sent = Vec::new();
        for id in ids {
            let message = context.admin.message_of_id(cluster, topic, id).await?;
            if !context.is_json() {
                context.print(&format!("prepare resend msg. originalMsgId={id}"))?;
            }
            let result = super::send_message::send_again(context, &message).await?;
            match context.is_json() {
                true => sent
                    .push(json!({"originalMsgId": id, "result": super::send_message::result_json(&result)})),
                false => context.print(&result.to_string())?,
            }
        }
        return if context.is_json() { context.json(&sent) } else { Ok(()) };
    }
    let charset = given.value("f").map(Charset::named).transpose()?;
    let mut shown = Vec::new();
    for id in ids {
        let message = context.admin.message_of_id(cluster, topic, id).await?;
        shown.extend(show(context, &message, Form { offset_id: true, charset, index: 0 }).await?);
    }
    if context.is_json() { context.json(&shown) } else { Ok(()) }
}

async fn query_by_key(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    let query = KeyQuery {
        topic: given.required("t"),
        key: given.required("k"),
        unique: false,
        cluster: given.value("c"),
        max: given.number("m")?.unwrap_or(64),
        begin_ms: given.number("b")?.unwrap_or(0),
        end_ms: given.number("e")?.unwrap_or(i64::MAX),
    };
    if query.max <= 0 {
        return Err(CommandError::usage("-m wants a number above 0"));
    }
    if query.begin_ms > query.end_ms {
        return Err(CommandError::usage("-b lies after -e: nothing can lie between them"));
    }
    let found = context.admin.query_message(query).await?;
    if context.is_json() {
        let found: Vec<_> = found.iter().map(|message| message_text::json(message, true)).collect();
        return context.json(&found);
    }
    context.print(&key_table(&found))
}

fn key_table(messages: &[ReceivedMessage]) -> String {
    let mut out = format!("{:<50} {:>4} {:>40}\n", "#Message ID", "#QID", "#Offset");
    for message in messages {
        let _ = writeln!(
            out,
            "{:<50} {:>4} {:>40}",
            message.msg_id(),
            message.queue_id(),
            message.queue_offset()
        );
    }
    out
}

async fn query_by_offset(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    let queue = MessageQueue {
        topic: given.required("t").to_owned(),
        broker_name: given.required("b").to_owned(),
        queue_id: given.number("i")?.unwrap_or_default(),
    };
    let offset: i64 = given.number("o")?.unwrap_or_default();
    let charset = given.value("f").map(Charset::named).transpose()?;
    let addr = context.admin.address_of_queue(&queue).await?;
    let pull = Pull { group: TOOLS_GROUP, queue: &queue, expression: "*", offset, max: 1 };
    let pulled = context.admin.pull(&addr, pull).await?;
    match pulled.messages.first() {
        Some(message) if pulled.status == PullStatus::Found => {
            let form = Form { offset_id: true, charset, index: 0 };
            let shown = show(context, message, form).await?;
            shown.map_or(Ok(()), |shown| context.json(&shown))
        }
        // Java prints nothing and says that all is well, which helps nobody.
        _ => Err(CommandError::failed(format!(
            "no message at offset {offset} of {}: the queue has {} up to {}",
            crate::java_text::queue_text(&queue),
            pulled.min_offset,
            pulled.max_offset
        ))),
    }
}

async fn query_by_unique_key(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    let (id, topic, cluster) = (given.required("i"), given.required("t"), given.value("c"));
    if let (Some(group), Some(client_id)) = (given.value("g"), given.value("d")) {
        let info = context.admin.running_info(group, client_id, false).await;
        if info.is_err() {
            context.say(&format!("get consumer runtime info for {client_id} client failed "))?;
        }
        if !info.as_ref().is_ok_and(ConsumerRunningInfo::is_push) {
            context.say(&format!(
                "get consumer info failed or this {client_id} client is not push consumer, not support direct push "
            ))?;
            return Err(info.map_or_else(CommandError::from, |_| no_push_consumer(client_id)));
        }
        return consume_directly(context, cluster, (group, client_id), topic, id).await;
    }
    let query = KeyQuery { topic, key: id, unique: true, cluster, max: 32, begin_ms: 0, end_ms: i64::MAX };
    let mut found = context.admin.query_message(query).await?;
    found.sort_by_key(ReceivedMessage::store_timestamp_ms);
    found.truncate(if given.has("a") { 32 } else { 1 });
    let mut shown = Vec::new();
    for (index, message) in found.iter().enumerate() {
        shown.extend(show(context, message, Form { offset_id: false, charset: None, index }).await?);
    }
    if context.is_json() { context.json(&shown) } else { Ok(()) }
}

/// How one message is shown.
struct Form {
    /// With the id of its place, as `queryMsgById` does.
    offset_id: bool,
    /// With its body.
    charset: Option<Charset>,
    /// Of several with one unique key, which.
    index: usize,
}

/// Prints a message and who consumed it; for JSON, gives it.
async fn show(
    context: &mut Context<'_>,
    message: &ReceivedMessage,
    form: Form,
) -> Result<Option<Value>, CommandError> {
    if context.is_json() {
        let mut value = message_text::json(message, true);
        match tracks(&context.admin, message).await {
            Ok(tracks) => value["consumers"] = tracks.iter().map(Track::json).collect(),
            Err(error) => value["consumersUnknown"] = error.to_string().into(),
        }
        return Ok(Some(value));
    }
    // A disk that is full is no reason to show nothing.
    let path = write_body(message, form.index).unwrap_or_else(|error| format!("not written: {error}"));
    let body = form.charset.map(|charset| charset.text(message.body()));
    context.print(&message_text::list(message, form.offset_id, &path, body.as_deref()))?;
    if let Some(fault) = message.body_fault() {
        context.note(&format!("{}: {fault}", message.msg_id()));
    }
    match tracks(&context.admin, message).await {
        Ok(tracks) if tracks.is_empty() => context.print("\n\nWARN: No Consumer")?,
        Ok(tracks) => {
            // COMPAT(java): queryMsgByUniqueKey ends no line.
            let end = if form.offset_id { "\n" } else { "" };
            let lines: String = tracks.iter().map(|track| format!("{track}{end}")).collect();
            context.print(&format!("\n\n{lines}"))?;
        }
        Err(error) => context.note(&format!("who consumes {} is unknown: {error}", message.topic())),
    }
    Ok(None)
}

fn no_push_consumer(client_id: &str) -> CommandError {
    CommandError::failed(format!(
        "{} is no push consumer: only those can be given a message",
        shorten(client_id)
    ))
}

async fn consume_directly(
    context: &mut Context<'_>,
    cluster: Option<&str>,
    (group, client_id): (&str, &str),
    topic: &str,
    id: &str,
) -> Result<(), CommandError> {
    let message = context.admin.message_of_id(cluster, topic, id).await?;
    let addr = message.store_host().to_string();
    let offset_id = message.offset_msg_id();
    let result = context.admin.consume_directly(&addr, group, client_id, topic, &offset_id).await?;
    if context.is_json() {
        context.json(&result)
    } else {
        context.print(&running_text::direct_result(&result))
    }
}
