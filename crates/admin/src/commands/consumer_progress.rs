// SPDX-License-Identifier: Apache-2.0
//! How far groups have come: `consumerProgress`, `brokerConsumeStats`.

use super::{
    Command,
    progress_text::{
        GroupLine, Holders, broker_stats_line, broker_stats_titles, lagging, progress, progress_json,
        queue_json,
    },
    run,
};
use crate::cli::{CommandError, Context, Given, Opt};
use oxmq_remoting::version_of;
use oxmq_types::RETRY_GROUP_PREFIX;
use serde_json::json;
use std::time::Duration;

pub(super) static CONSUMER_PROGRESS: Command = Command {
    name: "consumerProgress",
    alias: None,
    description: "Query consumer's progress, speed.",
    options: &[
        Opt::value("g", "groupName", "consumer group name"),
        Opt::value("t", "topicName", "topic name"),
        Opt::value("s", "showClientIP", "Show Client IP per Queue"),
        Opt::value("c", "cluster", "Cluster name or lmq parent topic, lmq is used to find the route."),
    ],
    run: run!(consumer_progress),
};

pub(super) static BROKER_CONSUME_STATS: Command = Command {
    name: "brokerConsumeStats",
    alias: None,
    description: "Fetch broker consume stats data.",
    options: &[
        Opt::value("b", "brokerAddr", "Broker address").required(),
        Opt::value("t", "timeoutMillis", "request timeout Millis"),
        Opt::value("l", "level", "threshold of print diff"),
        Opt::value("o", "order", "order topic"),
    ],
    run: run!(broker_consume_stats),
};

async fn consumer_progress(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    let Some(group) = given.value("g") else { return all_groups(context).await };
    let stats = context.admin.progress(group, given.value("t")).await?;
    let holders = match given.is_true("s") {
        true => Some(holders(context, group).await),
        false => None,
    };
    if context.is_json() {
        return context.json(&progress_json(group, &stats, holders.as_ref()));
    }
    context.print(&progress(&stats, holders.as_ref()))
}

/// Which member has which queue. Who does not answer has none that is known.
async fn holders(context: &mut Context<'_>, group: &str) -> Holders {
    let mut holders = Holders::new();
    let connection = match context.admin.consumers(group).await {
        Ok(connection) => connection,
        Err(error) => {
            context.note(&format!("who has which queue is unknown: {error}"));
            return holders;
        }
    };
    for member in connection.connection_set {
        match context.admin.running_info(group, &member.client_id, false).await {
            Ok(info) => {
                let address = member.client_id.split('@').next().unwrap_or_default();
                let queues = info.mq_table.0.into_iter().map(|(queue, _)| (queue, address.to_owned()));
                holders.extend(queues);
            }
            Err(error) => context.note(&format!("the queues of {} are unknown: {error}", member.client_id)),
        }
    }
    holders
}

/// One line for each group, printed as it is known: there may be thousands.
async fn all_groups(context: &mut Context<'_>) -> Result<(), CommandError> {
    let json = context.is_json();
    if !json {
        context.print(&GroupLine::titles())?;
    }
    let mut all = Vec::new();
    for topic in context.admin.topics().await?.topic_list {
        let Some(group) = topic.strip_prefix(RETRY_GROUP_PREFIX) else { continue };
        let mut line = GroupLine { group: group.to_owned(), ..GroupLine::default() };
        if let Ok(stats) = context.admin.progress(group, None).await {
            line.tps = stats.consume_tps as i32;
            line.diff = stats.total_diff();
        }
        if let Ok(connection) = context.admin.consumers(group).await {
            line.count = connection.connection_set.len();
            line.version = connection
                .connection_set
                .iter()
                .map(|member| member.version)
                .min()
                .map_or_else(String::new, version_of);
            line.consume_type = connection.consume_type;
            line.model = connection.message_model;
        }
        if json { all.push(line.json()) } else { context.print(&line.text())? }
    }
    if json { context.json(&all) } else { Ok(()) }
}

async fn broker_consume_stats(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    let addr = given.required("b");
    let timeout_ms: u64 = given.number("t")?.unwrap_or(50_000);
    let level: i64 = given.number("l")?.unwrap_or(0);
    if timeout_ms == 0 {
        return Err(CommandError::usage("-t wants a time above 0 ms"));
    }
    let timeout = Duration::from_millis(timeout_ms);
    let list = context.admin.broker_consume_stats(addr, given.is_true("o"), timeout).await?;
    if context.is_json() {
        let queues = lagging(&list, level).map(|(group, queue, offsets)| {
            let mut value = queue_json(queue);
            value["group"] = group.as_str().into();
            value["brokerOffset"] = offsets.broker_offset.into();
            value["consumerOffset"] = offsets.consumer_offset.into();
            value["diff"] = offsets.diff().into();
            value["lastTimestamp"] = offsets.last_timestamp.into();
            value
        });
        return context.json(&json!({"queues": queues.collect::<Vec<_>>(), "diffTotal": list.total_diff}));
    }
    let mut text = broker_stats_titles();
    for (group, queue, offsets) in lagging(&list, level) {
        text.push_str(&broker_stats_line(group, queue, offsets));
    }
    text.push_str(&format!("\nDiff Total: {}\n", list.total_diff));
    context.print(&text)
}
