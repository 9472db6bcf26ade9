// SPDX-License-Identifier: Apache-2.0
//! A watch over all groups: `startMonitoring`. It runs until it is ended.
//!
//! Java writes what it sees into a log file; here it is printed, so that it can go anywhere, and only what a group is
//! behind and what is stuck: events of removed messages, which no broker has sent for years, are not waited for.
//!
//! Java: `MonitorService`, `DefaultMonitorListener`.

use super::{Command, run, running_text};
use crate::{
    admin::{AdminError, Pull, TOOLS_GROUP},
    cli::{CommandError, Context, Given},
    java_text::now_ms,
};
use oxmq_remoting::bodies::{ConsumeStats, ConsumerRunningInfo, MessageQueue};
use oxmq_types::RETRY_GROUP_PREFIX;
use serde::Serialize;
use serde_json::json;
use std::{collections::BTreeMap, fmt, time::Duration};

pub(super) static START_MONITORING: Command = Command {
    name: "startMonitoring",
    alias: None,
    description: "Start Monitoring.",
    options: &[],
    run: run!(start_monitoring),
};

/// From one round to the next, unless `--watch` says otherwise. Java: `MonitorConfig#roundInterval`.
const ROUND: Duration = Duration::from_secs(60);
/// Members of a group that are asked in one round: the rest of a huge one is much the same.
const MEMBERS_MAX: usize = 256;

/// What a group has before it in one topic. Java: `UndoneMsgs`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Undone {
    consumer_group: String,
    topic: String,
    undone_msgs_total: i64,
    #[serde(rename = "undoneMsgsSingleMQ")]
    undone_msgs_single_mq: i64,
    undone_msgs_delay_time_mills: i64,
}

impl fmt::Display for Undone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "UndoneMsgs [consumerGroup={}, topic={}, undoneMsgsTotal={}, undoneMsgsSingleMQ={}, \
             undoneMsgsDelayTimeMills={}]",
            self.consumer_group,
            self.topic,
            self.undone_msgs_total,
            self.undone_msgs_single_mq,
            self.undone_msgs_delay_time_mills
        )
    }
}

async fn start_monitoring(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    loop {
        round(context).await?;
        // With --watch the command is run again from outside.
        if given.watch.is_some() {
            return Ok(());
        }
        tokio::time::sleep(ROUND).await;
    }
}

async fn round(context: &mut Context<'_>) -> Result<(), CommandError> {
    const LINE: &str = "[MONITOR] =========================================";
    let json = context.is_json();
    context.say(&format!("{LINE}beginRound"))?;
    let topics = match context.admin.topics().await {
        Ok(topics) => topics.topic_list,
        // A name server may be away for a while; the watch goes on.
        Err(error @ AdminError::NoNameServer) => return Err(error.into()),
        Err(error) => {
            context.note(&format!("no topics this time: {error}"));
            Vec::new()
        }
    };
    for topic in topics {
        let Some(group) = topic.strip_prefix(RETRY_GROUP_PREFIX) else { continue };
        let Ok(connection) = context.admin.consumers(group).await else { continue };
        if let Ok(stats) = context.admin.progress(group, None).await {
            for undone in all_undone(context, group, &stats).await {
                match json {
                    true => print_line(context, &json!({"undone": undone}))?,
                    false => context.say(&format!("[MONITOR] reportUndoneMsgs: {undone}"))?,
                }
            }
        }
        let mut members: BTreeMap<String, ConsumerRunningInfo> = BTreeMap::new();
        for member in connection.connection_set.iter().take(MEMBERS_MAX) {
            if let Ok(info) = context.admin.running_info(group, &member.client_id, false).await {
                members.insert(member.client_id.clone(), info);
            }
        }
        let now = now_ms();
        if !running_text::same_subscriptions(&members, now) {
            let text = format!("reportConsumerRunningInfo: ConsumerGroup: {group}, Subscription different");
            notify(context, group, &text)?;
        }
        for (client_id, info) in &members {
            let stuck = running_text::stuck_queues(client_id, info, now);
            if !stuck.is_empty() {
                let text = format!(
                    "reportConsumerRunningInfo: ConsumerGroup: {group}, ClientId: {client_id}, {}",
                    stuck.trim_end()
                );
                notify(context, group, &text)?;
            }
        }
    }
    context.say(&format!("{LINE}endRound"))
}

fn notify(context: &mut Context<'_>, group: &str, text: &str) -> Result<(), CommandError> {
    match context.is_json() {
        true => print_line(context, &json!({"consumerGroup": group, "notify": text})),
        false => context.say(&format!("[MONITOR]  [NOTIFY] {text}")),
    }
}

/// A watch has no end, so that its JSON is a document in each line.
fn print_line(context: &mut Context<'_>, value: &serde_json::Value) -> Result<(), CommandError> {
    context.print(&format!("{value}\n"))
}

async fn all_undone(context: &Context<'_>, group: &str, stats: &ConsumeStats) -> Vec<Undone> {
    let mut by_topic: BTreeMap<&str, Undone> = BTreeMap::new();
    for (queue, offsets) in &stats.offset_table.0 {
        let undone = by_topic.entry(&queue.topic).or_insert_with(|| Undone {
            consumer_group: group.to_owned(),
            topic: queue.topic.clone(),
            ..Undone::default()
        });
        let diff = offsets.diff();
        undone.undone_msgs_single_mq = undone.undone_msgs_single_mq.max(diff);
        undone.undone_msgs_total = undone.undone_msgs_total.saturating_add(diff.max(0));
        if offsets.last_timestamp > 0
            && let Some(stored) = last_stored(context, queue).await
        {
            let delay = stored.saturating_sub(offsets.last_timestamp);
            undone.undone_msgs_delay_time_mills = undone.undone_msgs_delay_time_mills.max(delay);
        }
    }
    by_topic.into_values().collect()
}

/// When the last message of a queue was stored. `None` if that cannot be found out.
async fn last_stored(context: &Context<'_>, queue: &MessageQueue) -> Option<i64> {
    let addr = context.admin.address_of_queue(queue).await.ok()?;
    let end = context.admin.max_offset(&addr, queue).await.ok().filter(|end| *end > 0)?;
    let pull = Pull { group: TOOLS_GROUP, queue, expression: "*", offset: end - 1, max: 1 };
    let pulled = context.admin.pull(&addr, pull).await.ok()?;
    Some(pulled.messages.first()?.store_timestamp_ms())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_undone_is_told_as_java_tells_it() {
        let undone = Undone {
            consumer_group: "g".into(),
            topic: "T".into(),
            undone_msgs_total: 5,
            undone_msgs_single_mq: 3,
            undone_msgs_delay_time_mills: 7,
        };
        assert_eq!(
            undone.to_string(),
            "UndoneMsgs [consumerGroup=g, topic=T, undoneMsgsTotal=5, undoneMsgsSingleMQ=3, undoneMsgsDelayTimeMills=7]"
        );
        assert_eq!(json!(undone)["undoneMsgsSingleMQ"], 3);
    }
}
