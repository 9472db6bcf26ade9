// SPDX-License-Identifier: Apache-2.0
//! Moving groups: `resetOffsetByTime`, `resetOffsetByTimeOld`, `skipAccumulatedMessage`, `cloneGroupOffset`.

use super::{
    Command,
    progress_text::{Rollback, in_queue_table_order, offsets_json, resets, rollbacks, rollbacks_json},
    run,
};
use crate::{
    admin::Reset,
    cli::{CommandError, Context, Given, Opt, shorten},
    java_text::{SLOTS, Table, in_table_order, now_ms, parse_time, parse_time_or_now, queue_hash},
};
use oxmq_remoting::{
    bodies::{MessageQueue, OffsetWrapper},
    code,
};
use serde_json::json;

const GROUP: Opt = Opt::value("g", "group", "set the consumer group").required();
const TOPIC: Opt = Opt::value("t", "topic", "set the topic").required();
const FORCE: Opt = Opt::value("f", "force", "set the force rollback by timestamp switch[true|false]");
const CLUSTER: Opt =
    Opt::value("c", "cluster", "Cluster name or lmq parent topic, lmq is used to find the route.");

pub(super) static RESET_OFFSET_BY_TIME: Command = Command {
    name: "resetOffsetByTime",
    alias: None,
    description: "Reset consumer offset by timestamp(without client restart).",
    options: &[
        GROUP,
        TOPIC,
        Opt::value("s", "timestamp", "set the timestamp[now|currentTimeMillis|yyyy-MM-dd#HH:mm:ss:SSS]")
            .required(),
        Opt::value("f", "force", "set the force rollback by timestamp switch[true|false]. Deprecated."),
        CLUSTER,
        Opt::value("b", "broker", "broker addr"),
        Opt::value("q", "queue", "queue id"),
        Opt::value("o", "offset", "Expect queue offset, not support old version broker"),
    ],
    run: run!(reset_by_time),
};

pub(super) static RESET_OFFSET_BY_TIME_OLD: Command = Command {
    name: "resetOffsetByTimeOld",
    alias: None,
    description: "Reset consumer offset by timestamp(execute this command required client restart).",
    options: &[
        GROUP,
        TOPIC,
        Opt::value("s", "timestamp", "set the timestamp[currentTimeMillis|yyyy-MM-dd#HH:mm:ss:SSS]")
            .required(),
        FORCE,
        CLUSTER,
    ],
    run: run!(reset_by_time_old),
};

pub(super) static SKIP_ACCUMULATED_MESSAGE: Command = Command {
    name: "skipAccumulatedMessage",
    alias: None,
    description: "Skip all messages that are accumulated (not consumed) currently.",
    options: &[GROUP, TOPIC, FORCE, CLUSTER],
    run: run!(skip_accumulated),
};

pub(super) static CLONE_GROUP_OFFSET: Command = Command {
    name: "cloneGroupOffset",
    alias: None,
    description: "Clone offset from other group.",
    options: &[
        Opt::value("s", "srcGroup", "set source consumer group").required(),
        Opt::value("d", "destGroup", "set destination consumer group").required(),
        Opt::value("t", "topic", "set the topic").required(),
        Opt::value("o", "offline", "the group or the topic is offline"),
    ],
    run: run!(clone_offsets),
};

/// The end of all queues.
const END: i64 = -1;

fn force(given: &Given) -> bool {
    !given.has("f") || given.is_true("f")
}

/// A time to go to. Negative ones mean something else to brokers.
fn not_negative(ms: i64) -> Result<i64, CommandError> {
    if ms >= 0 {
        Ok(ms)
    } else {
        Err(CommandError::usage(
            "-s wants a time, not a negative number: skipAccumulatedMessage goes to the end",
        ))
    }
}

async fn reset_by_time(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    let (group, topic, time) = (given.required("g"), given.required("t"), given.required("s"));
    let timestamp_ms =
        parse_time_or_now(time, now_ms()).map_err(|error| CommandError::usage(error.to_string()))?;
    let timestamp_ms = not_negative(timestamp_ms)?;
    let reset = Reset { topic, group, timestamp_ms, force: force(given) };
    let queue_id: Option<i32> = given.number("q")?;
    let offset: Option<i64> = given.number("o")?;
    match (given.value("b"), queue_id) {
        (Some(addr), Some(queue_id)) if queue_id >= 0 => {
            return reset_queue(context, addr, reset, queue_id, offset, time).await;
        }
        (_, Some(_)) => {
            return Err(CommandError::usage(
                "-q resets one queue, from 0 on, of the broker -b: both are needed",
            ));
        }
        (_, None) if offset.is_some() => {
            return Err(CommandError::usage("-o is the offset of one queue: give -b and -q, too"));
        }
        _ => {}
    }
    let Some(offsets) = reset_online(context, reset, given.value("c"), given.value("b")).await? else {
        return reset_offline(context, reset, given.value("c"), &Wording::by_time(reset, time)).await;
    };
    if context.is_json() {
        return context.json(&json!({
            "group": group, "topic": topic, "timestamp": timestamp_ms, "offsets": offsets_json(&offsets),
        }));
    }
    let first = format!(
        "start reset consumer offset by specified, group[{group}], topic[{topic}], force[{}], \
         timestamp(string)[{time}], timestamp(long)[{timestamp_ms}]\n",
        reset.force
    );
    context.print(&(first + &resets(&offsets)))
}

/// Resets one queue of one broker.
async fn reset_queue(
    context: &mut Context<'_>,
    addr: &str,
    reset: Reset<'_>,
    queue_id: i32,
    offset: Option<i64>,
    time: &str,
) -> Result<(), CommandError> {
    let Reset { topic, group, timestamp_ms, .. } = reset;
    let queue = MessageQueue { topic: topic.to_owned(), broker_name: String::new(), queue_id };
    context.say(&format!(
        "start reset consumer offset by specified, group[{group}], topic[{topic}], queueId[{queue_id}], broker[{addr}], \
         timestamp(string)[{time}], timestamp(long)[{timestamp_ms}]"
    ))?;
    let (min, max) =
        (context.admin.min_offset(addr, &queue).await?, context.admin.max_offset(addr, &queue).await?);
    let to = match offset {
        Some(offset) if !(min..=max).contains(&offset) => {
            return Err(CommandError::failed(format!(
                "offset {offset} lies outside of the queue, which has {min} up to {max}: nothing was reset"
            )));
        }
        Some(offset) => offset,
        None => context.admin.search_offset(addr, &queue, timestamp_ms).await?,
    };
    context.say(&format!("reset consumer offset to {to}"))?;
    // Java leaves a queue alone that would go to its very first message.
    context.admin.update_offset(addr, group, &queue, to).await?;
    let told =
        context.admin.reset_offset(addr, Reset { timestamp_ms: 0, ..reset }, Some((queue_id, to))).await;
    if let Err(error) = told {
        context.note(&format!("the offset is set, but members that are online were not told: {error}"));
    }
    if context.is_json() {
        return context.json(
            &json!({"group": group, "topic": topic, "queueId": queue_id, "broker": addr, "offset": to}),
        );
    }
    Ok(())
}

/// Resets a group on all brokers of a topic. `None`: some broker says that it is not online.
async fn reset_online(
    context: &mut Context<'_>,
    reset: Reset<'_>,
    cluster: Option<&str>,
    only: Option<&str>,
) -> Result<Option<Vec<(MessageQueue, i64)>>, CommandError> {
    let route = context.admin.route(reset.topic).await?;
    let mut all = Vec::new();
    let mut asked = 0;
    for broker in &route.broker_datas {
        let Some(addr) = crate::admin::address_of(broker) else { continue };
        if cluster.is_some_and(|cluster| cluster != broker.cluster) || only.is_some_and(|only| only != addr) {
            continue;
        }
        asked += 1;
        match context.admin.reset_offset(addr, reset, None).await {
            Ok(offsets) => all.extend(offsets),
            Err(error) if error.code() == Some(code::CONSUMER_NOT_ONLINE) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
    if asked == 0 {
        return Err(CommandError::failed(format!(
            "no broker was reset: the topic {} is on none that -b or -c names",
            shorten(reset.topic)
        )));
    }
    Ok(Some(in_queue_table_order(all)))
}

/// What is printed of the reset of a group that is offline.
struct Wording {
    first: Option<String>,
    last_title: &'static str,
}

impl Wording {
    fn by_time(reset: Reset<'_>, time: &str) -> Self {
        let Reset { topic, group, timestamp_ms, force } = reset;
        let first = format!(
            "reset consumer offset by specified consumerGroup[{group}], topic[{topic}], force[{force}], \
             timestamp(string)[{time}], timestamp(long)[{timestamp_ms}]\n"
        );
        Self { first: Some(first), last_title: "#resetOffset" }
    }

    const fn skip() -> Self {
        Self { first: None, last_title: "#rollbackOffset" }
    }
}

/// Sets the offsets of a group that is offline queue by queue. Java: `resetOffsetByTimestampOld`.
async fn reset_offline(
    context: &mut Context<'_>,
    reset: Reset<'_>,
    cluster: Option<&str>,
    wording: &Wording,
) -> Result<(), CommandError> {
    let Reset { topic, group, timestamp_ms, force } = reset;
    let route = context.admin.route(topic).await?;
    let mut all = Vec::new();
    for broker in &route.broker_datas {
        let Some(addr) = crate::admin::address_of(broker) else { continue };
        if cluster.is_some_and(|cluster| cluster != broker.cluster) {
            continue;
        }
        let stats = context.admin.consume_stats(addr, group, None).await?;
        let mut queues: Vec<(MessageQueue, OffsetWrapper)> =
            stats.offset_table.0.into_iter().filter(|(queue, _)| queue.topic == topic).collect();
        if queues.is_empty() {
            let topic_stats = context.admin.topic_stats(addr, topic).await?;
            queues = topic_stats
                .offset_table
                .0
                .into_iter()
                .map(|(queue, offsets)| {
                    let (broker_offset, consumer_offset) = (offsets.max_offset, offsets.min_offset);
                    (queue, OffsetWrapper { broker_offset, consumer_offset, ..OffsetWrapper::default() })
                })
                .collect();
            queues.sort_by(|(one, _), (other, _)| crate::java_text::by_queue(one, other));
        } else {
            queues = in_table_order(Table::Concurrent, SLOTS, queues, |(queue, _)| queue_hash(queue));
        }
        for (queue, offsets) in queues {
            let to = match timestamp_ms {
                END => context.admin.max_offset(addr, &queue).await?,
                ms => context.admin.search_offset(addr, &queue, ms).await?,
            };
            let mut rollback = Rollback {
                broker_offset: offsets.broker_offset,
                consumer_offset: offsets.consumer_offset,
                timestamp_offset: to,
                rollback_offset: offsets.consumer_offset,
                queue,
            };
            if force || to <= offsets.consumer_offset {
                context.admin.update_offset(addr, group, &rollback.queue, to).await?;
                rollback.rollback_offset = to;
            }
            all.push(rollback);
        }
    }
    if context.is_json() {
        return context.json(&json!({
            "group": group, "topic": topic, "timestamp": timestamp_ms, "queues": rollbacks_json(&all),
        }));
    }
    let first = wording.first.as_deref().unwrap_or_default();
    context.print(&format!("{first}{}", rollbacks(&all, wording.last_title)))
}

async fn reset_by_time_old(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    let (group, topic, time) = (given.required("g"), given.required("t"), given.required("s"));
    let Ok(timestamp_ms) = parse_time(time) else {
        // COMPAT(java): on standard output. The exit code is ours.
        context.print("specified timestamp invalid.\n")?;
        return Err(CommandError::Exit(1));
    };
    let reset = Reset { topic, group, timestamp_ms: not_negative(timestamp_ms)?, force: force(given) };
    reset_offline(context, reset, given.value("c"), &Wording::by_time(reset, time)).await
}

async fn skip_accumulated(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    let (group, topic) = (given.required("g"), given.required("t"));
    let reset = Reset { topic, group, timestamp_ms: END, force: force(given) };
    match reset_online(context, reset, given.value("c"), None).await? {
        None => reset_offline(context, reset, given.value("c"), &Wording::skip()).await,
        Some(offsets) if context.is_json() => {
            context.json(&json!({"group": group, "topic": topic, "offsets": offsets_json(&offsets)}))
        }
        Some(offsets) => context.print(&resets(&offsets)),
    }
}

async fn clone_offsets(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    let (from, to, topic) = (given.required("s"), given.required("d"), given.required("t"));
    if from == to {
        return Err(CommandError::usage("-s and -d name one group: there is nothing to clone"));
    }
    let stats = context.admin.progress(from, None).await?;
    let brokers = context.admin.addresses_of_topic(topic).await?;
    let mut cloned = Vec::new();
    for (queue, offsets) in stats.offset_table.0 {
        // Java clones all topics in which the group has offsets; who names one wants this one.
        if queue.topic != topic || offsets.consumer_offset < 0 {
            continue;
        }
        let Some((_, addr)) = brokers.iter().find(|(name, _)| *name == queue.broker_name) else { continue };
        context.admin.update_offset(addr, to, &queue, offsets.consumer_offset).await?;
        cloned.push((queue, offsets.consumer_offset));
    }
    if cloned.is_empty() {
        return Err(CommandError::failed(format!(
            "{} has no offsets in {}: nothing was cloned",
            shorten(from),
            shorten(topic)
        )));
    }
    if context.is_json() {
        return context.json(&json!({
            "srcGroup": from, "destGroup": to, "topic": topic, "offsets": offsets_json(&cloned),
        }));
    }
    context.print(&format!("clone group offset success. srcGroup[{from}], destGroup=[{to}], topic[{topic}]"))
}
