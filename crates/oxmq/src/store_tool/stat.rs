// SPDX-License-Identifier: Apache-2.0
//! `oxmq store stat`.

use std::time::{SystemTime, UNIX_EPOCH};

use oxmq_store::inspect::{self, Finding, Stat, Watch};
use serde_json::json;

use super::{
    EXIT_PROBLEMS, Opened, Target, not_examined, open,
    progress::Progress,
    short, state, state_word,
    table::{bytes, grouped, lines, percent},
    time::{iso, span},
};
use crate::terminal::{Failure, complain, say};

struct Quiet {
    progress: Progress,
    problems: u64,
}

impl Watch for Quiet {
    fn finding(&mut self, finding: Finding) {
        self.problems += u64::from(finding.severity() > inspect::Severity::Note);
        self.progress.aside(|| complain(&finding.to_string()));
    }
    fn progress(&mut self, done: u64, total: u64) {
        self.progress.set(done, total);
    }
}

pub(super) fn run(target: &Target, json: bool, top: usize) -> Result<(), Failure> {
    let Opened { folder, settings, .. } = open(target)?;
    let mut watch = Quiet { progress: Progress::new("reading queues"), problems: 0 };
    let mut stat = inspect::stat(&folder, &mut watch).map_err(not_examined)?;
    watch.progress.end();
    stat.topics.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.topic.cmp(&b.topic)));
    let hours = settings.map_or(72, |settings| settings.transactions().reserved_hours);
    let hours = i64::try_from(hours).unwrap_or(i64::MAX);
    let expired = expired(&stat, hours);
    if json {
        print_json(&folder, &stat, top, expired);
    } else {
        print_text(&folder, &stat, top, expired, hours);
    }
    match watch.problems {
        0 => Ok(()),
        problems => Err(Failure::new(
            EXIT_PROBLEMS,
            format!("{}: {problems} files could not be read", target.root.display()),
        )),
    }
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// How many of the oldest segments hold nothing younger than `hours`: the one behind begins with something older. The last
/// one always stays.
fn expired(stat: &Stat, hours: i64) -> usize {
    let limit = now_ms().saturating_sub(hours.saturating_mul(3_600_000));
    let ends = stat.segments.iter().skip(1).map(|next| next.first_ms);
    ends.take_while(|first| first.is_some_and(|first| first < limit)).count()
}

fn print_text(folder: &inspect::Folder, stat: &Stat, top: usize, expired: usize, hours: i64) {
    let now = now_ms();
    let age = |ms: Option<i64>| ms.map_or_else(|| "-".to_owned(), |ms| span(now - ms));
    let segment_bytes: u64 = stat.segments.iter().map(|segment| segment.bytes).sum();
    say(&format!("{}: {}", folder.root().display(), state(folder)));
    say(&format!(
        "commit log    {} in {} files, {} of it used",
        bytes(segment_bytes),
        stat.segments.len(),
        bytes(stat.log_bytes)
    ));
    let queues: u64 = stat.topics.iter().map(|topic| u64::from(topic.queues)).sum();
    say(&format!(
        "consume queue {} in {} files of {} queues (sparse)",
        bytes(stat.queue_bytes),
        grouped(stat.queue_files),
        grouped(queues)
    ));
    say(&format!("index         {} in {} files (sparse)", bytes(stat.index_bytes), stat.index_files));
    say("");
    let in_queues: u64 = stat.topics.iter().map(|topic| topic.bytes).sum();
    let mut rows: Vec<[String; 8]> = stat
        .topics
        .iter()
        .take(top)
        .map(|topic| {
            [
                topic.topic.clone(),
                grouped(topic.queues.into()),
                grouped(topic.messages),
                bytes(topic.bytes),
                percent(topic.bytes, stat.log_bytes),
                bytes(topic.bytes / topic.messages.max(1)),
                age(topic.oldest_ms),
                age(topic.newest_ms),
            ]
        })
        .collect();
    let rest = stat.topics.get(top..).unwrap_or_default();
    let row = |name: String, messages: String, size: u64| {
        let dash = || "-".to_owned();
        [name, dash(), messages, bytes(size), percent(size, stat.log_bytes), dash(), dash(), dash()]
    };
    if !rest.is_empty() {
        let messages = rest.iter().map(|topic| topic.messages).sum();
        let size = rest.iter().map(|topic| topic.bytes).sum();
        rows.push(row(format!("({} more topics)", rest.len()), grouped(messages), size));
    }
    let other = stat.log_bytes.saturating_sub(in_queues);
    rows.push(row("(in no queue)".to_owned(), "-".to_owned(), other));
    let head = ["TOPIC", "QUEUES", "MESSAGES", "BYTES", "SHARE", "AVERAGE", "OLDEST", "NEWEST"];
    lines(head, &rows).iter().for_each(|line| say(line));
    say("");
    let rows: Vec<[String; 3]> = stat
        .segments
        .iter()
        .map(|segment| {
            [short(&segment.path, folder.root()).to_string(), bytes(segment.bytes), age(segment.first_ms)]
        })
        .collect();
    lines(["SEGMENT", "BYTES", "BEGAN"], &rows).iter().for_each(|line| say(line));
    say("");
    let size: u64 = stat.segments.iter().take(expired).map(|segment| segment.bytes).sum();
    say(&format!(
        "older than fileReservedTime ({hours} h): {expired} files, {}, removed when deleteWhen comes next",
        bytes(size)
    ));
}

fn print_json(folder: &inspect::Folder, stat: &Stat, top: usize, expired: usize) {
    let time = |ms: Option<i64>| ms.map(iso);
    let topics: Vec<_> = stat
        .topics
        .iter()
        .take(top)
        .map(|topic| {
            json!({
                "topic": topic.topic,
                "queues": topic.queues,
                "messages": topic.messages,
                "bytes": topic.bytes,
                "oldest": time(topic.oldest_ms),
                "newest": time(topic.newest_ms),
            })
        })
        .collect();
    let segments: Vec<_> = stat
        .segments
        .iter()
        .map(|segment| {
            json!({
                "file": short(&segment.path, folder.root()).to_string(),
                "offset": segment.start,
                "bytes": segment.bytes,
                "first": time(segment.first_ms),
            })
        })
        .collect();
    let all = json!({
        "root": folder.root().to_string_lossy(),
        "state": state_word(folder),
        "logBytes": stat.log_bytes,
        "topicCount": stat.topics.len(),
        "topics": topics,
        "segments": segments,
        "expiredSegments": expired,
        "queueFiles": stat.queue_files,
        "queueBytes": stat.queue_bytes,
        "indexFiles": stat.index_files,
        "indexBytes": stat.index_bytes,
    });
    say(&all.to_string());
}
