// SPDX-License-Identifier: Apache-2.0
//! How much goes in and out of topics: `statsAll`.

use super::{Command, run, topic::in_set_order, topic_view::is_of_group};
use crate::{
    Admin, AdminError,
    cli::{CommandError, Context, Given, Opt},
    format::{fixed, front},
};
use futures_util::{StreamExt, stream};
use serde::Serialize;
use std::fmt::Write as _;

pub(super) static STATS_ALL: Command = Command {
    name: "statsAll",
    alias: None,
    description: "Topic and Consumer tps stats.",
    options: &[
        Opt::flag("a", "activeTopic", "print active topic only"),
        Opt::value("t", "topic", "print select topic only"),
    ],
    run: run!(all),
};

/// How many topics are asked for at the same time.
const AT_ONCE: usize = 16;

/// A topic and a group that consumes it, or none.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    topic: String,
    group: Option<String>,
    /// Messages that the group has not consumed.
    accumulation: i64,
    in_tps: f64,
    out_tps: f64,
    in_24_hours: i64,
    out_24_hours: i64,
}

async fn all(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    let topics = in_set_order(context.admin.topics().await?.topic_list.into_iter().collect());
    let selected = given.value("t").filter(|topic| !topic.is_empty());
    let topics = topics
        .into_iter()
        .filter(|topic| !is_of_group(topic) && selected.is_none_or(|selected| selected == topic));
    let (admin, only_active) = (context.admin.clone(), given.has("a"));
    // COMPAT(java): a topic that cannot be looked at is left out.
    let found: Vec<Result<Vec<Line>, AdminError>> =
        stream::iter(topics).map(|topic| lines(&admin, topic)).buffered(AT_ONCE).collect().await;
    let mut all = Vec::new();
    for lines in found {
        match lines {
            Ok(lines) => all.extend(lines.into_iter().filter(|line| !only_active || line.is_active())),
            Err(error) => context.note(&error.to_string()),
        }
    }
    context.show(&all, render)
}

impl Line {
    fn is_active(&self) -> bool {
        self.in_24_hours > 0 || self.out_24_hours > 0
    }
}

async fn lines(admin: &Admin, topic: String) -> Result<Vec<Line>, AdminError> {
    let route = admin.route(&topic).await?;
    let groups = admin.groups_of(&topic).await?;
    let masters: Vec<_> =
        route.broker_datas.iter().filter_map(|broker| broker.broker_addrs.get(&0)).collect();
    // A broker that has counted nothing refuses, which means none.
    let count = async |name: &'static str, key: &str| {
        let (mut tps, mut sum) = (0.0, 0_i64);
        for addr in &masters {
            if let Ok(counted) = admin.counted(addr, name, key).await {
                tps += counted.stats_minute.tps;
                sum = sum.saturating_add(counted.of_day());
            }
        }
        (tps, sum)
    };
    let (in_tps, in_24_hours) = count("TOPIC_PUT_NUMS", &topic).await;
    let line =
        Line { topic, group: None, accumulation: 0, in_tps, out_tps: 0.0, in_24_hours, out_24_hours: 0 };
    if groups.is_empty() {
        return Ok(vec![line]);
    }
    let mut lines = Vec::new();
    for group in in_set_order(groups.into_iter().collect()) {
        let (out_tps, out_24_hours) = count("GROUP_GET_NUMS", &format!("{}@{group}", line.topic)).await;
        let accumulation = match admin.progress(&group, Some(&line.topic)).await {
            Ok(stats) => stats.total_diff().max(0),
            Err(_) => 0,
        };
        lines.push(Line { group: Some(group), accumulation, out_tps, out_24_hours, ..line.clone() });
    }
    Ok(lines)
}

fn render(lines: &Vec<Line>) -> String {
    let mut text = format!(
        "{:<64}  {:<64} {:>12} {:>11} {:>11} {:>14} {:>14}\n",
        "#Topic", "#Consumer Group", "#Accumulation", "#InTPS", "#OutTPS", "#InMsg24Hour", "#OutMsg24Hour"
    );
    for line in lines {
        let (topic, in_tps) = (front(&line.topic, 64), fixed(line.in_tps, 2));
        let _ = match &line.group {
            Some(group) => writeln!(
                text,
                "{topic:<64}  {:<64} {:>12} {in_tps:>11} {:>11} {:>14} {:>14}",
                front(group, 64),
                line.accumulation,
                fixed(line.out_tps, 2),
                line.in_24_hours,
                line.out_24_hours,
            ),
            None => writeln!(
                text,
                "{topic:<64}  {:<64} {:>12} {in_tps:>11} {:>11} {:>14} {:>14}",
                "", 0, "", line.in_24_hours, "NO_CONSUMER"
            ),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_has_a_line_for_each_group_or_one_without() {
        let line = Line {
            topic: "t".into(),
            group: None,
            accumulation: 0,
            in_tps: 1.5,
            out_tps: 0.25,
            in_24_hours: 7,
            out_24_hours: 0,
        };
        let of_group = Line { group: Some("g".into()), accumulation: 3, ..line.clone() };
        let text = render(&vec![line, of_group]);
        let cells: Vec<Vec<_>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(cells[1], ["t", "0", "1.50", "7", "NO_CONSUMER"]);
        assert_eq!(cells[2], ["t", "g", "3", "1.50", "0.25", "7", "0"]);
        // The head of that column is wider than its cells, in Java, too.
        assert_eq!(text.lines().map(str::len).collect::<Vec<_>>(), [198, 197, 197]);
    }
}
