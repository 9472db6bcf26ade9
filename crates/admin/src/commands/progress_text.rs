// SPDX-License-Identifier: Apache-2.0
//! Progress of groups as Java prints it. Java: `ConsumerProgressSubCommand`, `BrokerConsumeStatsSubCommad`,
//! `ResetOffsetByTimeOldCommand`, `GetConsumerStatusCommand`.

use crate::{
    format::{fixed, front},
    java_text::{SLOTS, Table, by_queue, in_table_order, queue_hash, seconds},
};
use oxmq_remoting::bodies::{ConsumeStats, ConsumeStatsList, MessageQueue, OffsetWrapper};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fmt::{Display, Write},
};

/// Which client has which queue: its address, from its id.
pub(crate) type Holders = BTreeMap<MessageQueue, String>;

/// The table of `consumerProgress -g`.
pub(crate) fn progress(stats: &ConsumeStats, holders: Option<&Holders>) -> String {
    let mut out = String::new();
    let last = "#LastTime";
    let (topic, broker, id) = ("#Topic", "#Broker Name", "#QID");
    let (end, next, diff, inflight) = ("#Broker Offset", "#Consumer Offset", "#Diff", "#Inflight");
    // COMPAT(java): no blank stands before the last title.
    let _ = match holders {
        Some(_) => writeln!(
            out,
            "{topic:<64}  {broker:<32}  {id:<4}  {end:<20}  {next:<20}  {:<20} {diff:<20} {inflight:<20}{last}",
            "#Client IP"
        ),
        None => writeln!(
            out,
            "{topic:<64}  {broker:<32}  {id:<4}  {end:<20}  {next:<20}  {diff:<20} {inflight:<20}{last}"
        ),
    };
    let (mut diffs, mut inflights) = (0_i64, 0_i64);
    for (queue, offsets) in sorted(stats) {
        let OffsetWrapper { broker_offset, consumer_offset, last_timestamp, .. } = *offsets;
        let (diff, inflight) = (offsets.diff(), offsets.inflight());
        diffs = diffs.wrapping_add(diff);
        inflights = inflights.wrapping_add(inflight);
        let last = if last_timestamp == 0 { "N/A".to_owned() } else { seconds(last_timestamp) };
        let (topic, broker, id) = (front(&queue.topic, 64), front(&queue.broker_name, 32), queue.queue_id);
        let _ =
            write!(out, "{topic:<64}  {broker:<32}  {id:<4}  {broker_offset:<20}  {consumer_offset:<20}  ");
        if let Some(holders) = holders {
            let _ = write!(out, "{:<20} ", holders.get(queue).map_or("N/A", String::as_str));
        }
        let _ = writeln!(out, "{diff:<20} {inflight:<20} {last}");
    }
    let _ = writeln!(out, "\nConsume TPS: {}", fixed(stats.consume_tps, 2));
    let _ = writeln!(out, "Consume Diff Total: {diffs}\nConsume Inflight Total: {inflights}");
    out
}

/// The same for programs.
pub(crate) fn progress_json(group: &str, stats: &ConsumeStats, holders: Option<&Holders>) -> Value {
    let queues = sorted(stats).into_iter().map(|(queue, offsets)| {
        let mut value = queue_json(queue);
        value["brokerOffset"] = offsets.broker_offset.into();
        value["consumerOffset"] = offsets.consumer_offset.into();
        value["diff"] = offsets.diff().into();
        value["inflight"] = offsets.inflight().into();
        value["lastTimestamp"] = offsets.last_timestamp.into();
        if let Some(holder) = holders.map(|holders| holders.get(queue)) {
            value["clientIp"] = holder.map(String::as_str).into();
        }
        value
    });
    let inflight =
        stats.offset_table.0.iter().fold(0_i64, |sum, (_, queue)| sum.wrapping_add(queue.inflight()));
    json!({
        "group": group,
        "consumeTps": stats.consume_tps,
        "diffTotal": stats.total_diff(),
        "inflightTotal": inflight,
        "queues": queues.collect::<Vec<_>>(),
    })
}

/// A queue for programs.
pub(crate) fn queue_json(queue: &MessageQueue) -> Value {
    json!({"topic": queue.topic, "brokerName": queue.broker_name, "queueId": queue.queue_id})
}

fn sorted(stats: &ConsumeStats) -> Vec<(&MessageQueue, &OffsetWrapper)> {
    let mut queues: Vec<_> = stats.offset_table.0.iter().map(|(queue, offsets)| (queue, offsets)).collect();
    queues.sort_by(|(one, _), (other, _)| by_queue(one, other));
    queues
}

/// A group in the list of `consumerProgress` without `-g`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct GroupLine {
    /// Its name.
    pub(crate) group: String,
    /// Members.
    pub(crate) count: usize,
    /// Their lowest version, as people read it.
    pub(crate) version: String,
    /// `CONSUME_PASSIVELY` and the like.
    pub(crate) consume_type: String,
    /// `CLUSTERING` or `BROADCASTING`.
    pub(crate) model: String,
    /// Messages per second.
    pub(crate) tps: i32,
    /// Messages not consumed.
    pub(crate) diff: i64,
}

impl GroupLine {
    /// The titles.
    pub(crate) fn titles() -> String {
        format!(
            "{:<64}  {:<6}  {:<24} {:<5}  {:<14}  {:<7}  #Diff Total\n",
            "#Group", "#Count", "#Version", "#Type", "#Model", "#TPS"
        )
    }

    fn kind(&self) -> &str {
        match self.consume_type.as_str() {
            _ if self.count == 0 => "",
            "CONSUME_ACTIVELY" => "PULL",
            _ => "PUSH",
        }
    }

    fn shown_model(&self) -> &str {
        if self.count > 0 && self.consume_type == "CONSUME_PASSIVELY" { &self.model } else { "" }
    }

    /// Its line.
    pub(crate) fn text(&self) -> String {
        let Self { group, count, version, tps, diff, .. } = self;
        let group = front(group, 64);
        let version = if *count > 0 { version } else { "OFFLINE" };
        format!(
            "{group:<64}  {count:<6}  {version:<24} {:<5}  {:<14}  {tps:<7}  {diff}\n",
            self.kind(),
            self.shown_model()
        )
    }

    /// The same for programs.
    pub(crate) fn json(&self) -> Value {
        json!({
            "group": self.group,
            "count": self.count,
            "version": if self.count > 0 { Some(&self.version) } else { None },
            "type": self.kind(),
            "model": self.shown_model(),
            "tps": self.tps,
            "diffTotal": self.diff,
        })
    }
}

/// The titles of `brokerConsumeStats`.
pub(crate) fn broker_stats_titles() -> String {
    format!(
        "{:<64}  {:<64}  {:<32}  {:<4}  {:<20}  {:<20}  {:<20}  #LastTime\n",
        "#Topic", "#Group", "#Broker Name", "#QID", "#Broker Offset", "#Consumer Offset", "#Diff"
    )
}

/// The queues that `brokerConsumeStats` shows: those a group has consumed from, and lags by `level` at least.
pub(crate) fn lagging(
    list: &ConsumeStatsList,
    level: i64,
) -> impl Iterator<Item = (&String, &MessageQueue, &OffsetWrapper)> {
    let groups = list.consume_stats_list.iter().flatten();
    groups.flat_map(move |(group, all)| {
        all.iter()
            .flat_map(sorted)
            .filter(move |(_, offsets)| offsets.diff() >= level && offsets.last_timestamp > 0)
            .map(move |(queue, offsets)| (group, queue, offsets))
    })
}

/// A line of `brokerConsumeStats`.
pub(crate) fn broker_stats_line(group: &str, queue: &MessageQueue, offsets: &OffsetWrapper) -> String {
    let (topic, broker) = (front(&queue.topic, 64), front(&queue.broker_name, 32));
    format!(
        "{topic:<64}  {group:<64}  {broker:<32}  {:<4}  {:<20}  {:<20}  {:<20}  {}\n",
        queue.queue_id,
        offsets.broker_offset,
        offsets.consumer_offset,
        offsets.diff(),
        seconds(offsets.last_timestamp)
    )
}

/// What a reset of an offline group did to one queue. Java: `RollbackStats`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rollback {
    /// The queue.
    pub(crate) queue: MessageQueue,
    /// Offset after its last message.
    pub(crate) broker_offset: i64,
    /// Next message of the group before.
    pub(crate) consumer_offset: i64,
    /// Offset at the time that was asked for.
    pub(crate) timestamp_offset: i64,
    /// Next message of the group now.
    pub(crate) rollback_offset: i64,
}

/// The table of a reset of an offline group. `last`: the last title, for which Java has two names.
pub(crate) fn rollbacks(all: &[Rollback], last: &str) -> String {
    let row = |out: &mut String, cells: [&dyn Display; 6]| {
        let cells: Vec<_> = cells.iter().map(|cell| format!("{:<20}", cell.to_string())).collect();
        let _ = writeln!(out, "{}", cells.join("  "));
    };
    let mut out = String::new();
    row(
        &mut out,
        [&"#brokerName", &"#queueId", &"#brokerOffset", &"#consumerOffset", &"#timestampOffset", &last],
    );
    for each in all {
        row(
            &mut out,
            [
                &front(&each.queue.broker_name, 32),
                &each.queue.queue_id,
                &each.broker_offset,
                &each.consumer_offset,
                &each.timestamp_offset,
                &each.rollback_offset,
            ],
        );
    }
    out
}

/// The same for programs.
pub(crate) fn rollbacks_json(all: &[Rollback]) -> Value {
    let each = |each: &Rollback| {
        let mut value = queue_json(&each.queue);
        value["brokerOffset"] = each.broker_offset.into();
        value["consumerOffset"] = each.consumer_offset.into();
        value["timestampOffset"] = each.timestamp_offset.into();
        value["resetOffset"] = each.rollback_offset.into();
        value
    };
    all.iter().map(each).collect()
}

/// Offsets by queue in the order of Java's table, for which the order in which they came matters little.
pub(crate) fn in_queue_table_order<V>(entries: Vec<(MessageQueue, V)>) -> Vec<(MessageQueue, V)> {
    in_table_order(Table::Hash, SLOTS, entries, |(queue, _)| queue_hash(queue))
}

/// The table of a reset of an online group.
pub(crate) fn resets(offsets: &[(MessageQueue, i64)]) -> String {
    let mut out = format!("{:<40}  {:<40}  {:<40}\n", "#brokerName", "#queueId", "#offset");
    for (queue, offset) in offsets {
        let broker = front(&queue.broker_name, 32);
        let _ = writeln!(out, "{broker:<40}  {:<40}  {offset:<40}", queue.queue_id);
    }
    out
}

/// The same for programs.
pub(crate) fn offsets_json(offsets: &[(MessageQueue, i64)]) -> Value {
    let each = |(queue, offset): &(MessageQueue, i64)| {
        let mut value = queue_json(queue);
        value["offset"] = (*offset).into();
        value
    };
    offsets.iter().map(each).collect()
}

/// The table of `getConsumerStatus`.
pub(crate) fn client_offsets(clients: &[(String, Vec<(MessageQueue, i64)>)]) -> String {
    let mut out =
        format!("{:<50}  {:<15}  {:<15}  {:<20}\n", "#clientId", "#brokerName", "#queueId", "#offset");
    for (client, queue, offset) in clients
        .iter()
        .flat_map(|(client, offsets)| offsets.iter().map(move |(queue, offset)| (client, queue, offset)))
    {
        let MessageQueue { broker_name, queue_id, .. } = queue;
        let _ = writeln!(out, "{:<50}  {broker_name:<15}  {queue_id:<15}  {offset:<20}", front(client, 50));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use oxmq_remoting::bodies::QueueTable;

    fn queue(queue_id: i32) -> MessageQueue {
        MessageQueue { topic: "T".into(), broker_name: "b".into(), queue_id }
    }

    fn stats() -> ConsumeStats {
        let offsets = |broker_offset, last_timestamp| OffsetWrapper {
            broker_offset,
            consumer_offset: 3,
            last_timestamp,
            pull_offset: 4,
        };
        let table = QueueTable(vec![(queue(1), offsets(5, 0)), (queue(0), offsets(10, 1_795_881_600_123))]);
        ConsumeStats { consume_tps: 1.0 / 3.0, offset_table: table }
    }

    #[test]
    fn progress_is_printed_by_queue() {
        let text = progress(&stats(), None);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].starts_with(&format!("{:<64}  {:<32}  #QID  ", "#Topic", "#Broker Name")));
        assert!(lines[0].ends_with("#Inflight           #LastTime"), "{}", lines[0]);
        assert_eq!(
            lines[2],
            format!("{:<64}  {:<32}  1     {:<20}  {:<20}  {:<20} {:<20} N/A", "T", "b", 5, 3, 2, 1)
        );
        assert_eq!(
            &lines[3..],
            ["", "Consume TPS: 0.33", "Consume Diff Total: 9", "Consume Inflight Total: 2"]
        );
        let holders = Holders::from([(queue(0), "10.0.0.1".to_owned())]);
        let text = progress(&stats(), Some(&holders));
        assert!(text.lines().nth(1).unwrap().contains("  10.0.0.1             7  "), "{text}");
        assert!(text.lines().nth(2).unwrap().contains("  N/A                  2  "), "{text}");
        let value = progress_json("g", &stats(), Some(&holders));
        assert_eq!((&value["queues"][0]["clientIp"], &value["diffTotal"]), (&"10.0.0.1".into(), &9.into()));
    }

    #[test]
    fn what_nobody_consumed_is_left_out_of_the_brokers_list() {
        let list = ConsumeStatsList {
            consume_stats_list: vec![[("g".to_owned(), vec![stats()])].into()],
            ..ConsumeStatsList::default()
        };
        assert_eq!(lagging(&list, 0).count(), 1);
        assert_eq!(lagging(&list, 8).count(), 0);
    }

    #[test]
    fn resets_are_printed_with_their_titles() {
        let rollback = Rollback {
            queue: queue(2),
            broker_offset: 9,
            consumer_offset: 4,
            timestamp_offset: 1,
            rollback_offset: 1,
        };
        let text = rollbacks(&[rollback], "#resetOffset");
        assert_eq!(text.lines().next().unwrap().split_whitespace().last(), Some("#resetOffset"));
        assert_eq!(
            text.lines().nth(1).unwrap().split_whitespace().collect::<Vec<_>>(),
            ["b", "2", "9", "4", "1", "1"]
        );
        assert_eq!(resets(&[(queue(0), 7)]).lines().nth(1).unwrap().len(), 40 * 3 + 4);
        let line = GroupLine { group: "g".into(), diff: 5, ..GroupLine::default() };
        assert_eq!(line.text().split_whitespace().collect::<Vec<_>>(), ["g", "0", "OFFLINE", "0", "5"]);
    }
}
