// SPDX-License-Identifier: Apache-2.0
//! Text as Java prints it: times in the local zone, the order of its hash tables, cut names. Scripts read the lines of
//! `mqadmin` by place, so the order of two lines is part of what it promises to them.
//!
//! Java: `UtilAll`, `HashMap`, `ConcurrentHashMap`.

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use oxmq_remoting::bodies::MessageQueue;
use oxmq_types::java_string_hash;
use std::cmp::Ordering;
use thiserror::Error;

/// Which of Java's hash tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Table {
    /// `HashMap`, `HashSet`: grows after the entry with which it is more than three quarters full.
    Hash,
    /// `ConcurrentHashMap`, `Properties`: grows when it is three quarters full.
    Concurrent,
}

/// Slots of a table that was made without a size.
pub(crate) const SLOTS: usize = 16;

/// The entries in the order in which a table gives them out that had `slots` slots at first (a power of two).
///
/// Of entries that share a slot, the earlier comes first. Java makes trees of slots with eight and more; nobody will
/// miss their order.
pub(crate) fn in_table_order<T>(
    table: Table,
    slots: usize,
    mut entries: Vec<T>,
    hash: impl Fn(&T) -> i32,
) -> Vec<T> {
    let full = |slots: usize| match table {
        Table::Hash => entries.len() > slots / 4 * 3,
        Table::Concurrent => entries.len() >= slots / 4 * 3,
    };
    let mut slots = slots;
    while full(slots) {
        slots *= 2;
    }
    let slot = |entry: &T| {
        let hash = hash(entry).cast_unsigned();
        (hash ^ (hash >> 16)) as usize & (slots - 1)
    };
    entries.sort_by_key(slot);
    entries
}

/// Java: `MessageQueue#hashCode`.
pub(crate) fn queue_hash(queue: &MessageQueue) -> i32 {
    let step = |hash: i32, part: i32| hash.wrapping_mul(31).wrapping_add(part);
    let hash = step(1, java_string_hash(&queue.broker_name));
    step(step(hash, queue.queue_id), java_string_hash(&queue.topic))
}

/// The order of `MessageQueue#compareTo`: topic, broker, number.
pub(crate) fn by_queue(one: &MessageQueue, other: &MessageQueue) -> Ordering {
    let key = |queue: &MessageQueue| (queue.topic.clone(), queue.broker_name.clone(), queue.queue_id);
    key(one).cmp(&key(other))
}

/// A queue as `MessageQueue#toString` has it.
pub(crate) fn queue_text(queue: &MessageQueue) -> String {
    let MessageQueue { topic, broker_name, queue_id } = queue;
    format!("MessageQueue [topic={topic}, brokerName={broker_name}, queueId={queue_id}]")
}

/// Pairs as the `toString` of a map has them, in the order that they are given.
pub(crate) fn map_text<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let pairs: Vec<_> = pairs.map(|(name, value)| format!("{name}={value}")).collect();
    format!("{{{}}}", pairs.join(", "))
}

fn local(ms: i64) -> Option<DateTime> {
    // What no calendar holds is text of a hostile server.
    Some(Timestamp::from_millisecond(ms).ok()?.to_zoned(TimeZone::system()).datetime())
}

fn formatted(ms: i64, text: impl Fn(DateTime) -> String) -> String {
    local(ms).map_or_else(|| ms.to_string(), text)
}

/// `2026-11-28 16:00:00`. Java: `formatDate` with `YYYY_MM_DD_HH_MM_SS`.
pub(crate) fn seconds(ms: i64) -> String {
    formatted(ms, |t| {
        let (year, month, day) = (t.year(), t.month(), t.day());
        format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}", t.hour(), t.minute(), t.second())
    })
}

/// `20261128160000123`. Java: `timeMillisToHumanString`.
pub(crate) fn digits(ms: i64) -> String {
    formatted(ms, |t| {
        let day = format!("{:04}{:02}{:02}", t.year(), t.month(), t.day());
        format!("{day}{:02}{:02}{:02}{:03}", t.hour(), t.minute(), t.second(), t.millisecond())
    })
}

/// The text is no time.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("\"{0}\" is no time: give ms since 1970, or yyyy-MM-dd#HH:mm:ss:SSS in the local zone")]
pub(crate) struct TimeError(pub(crate) String);

/// Reads ms since 1970, or `yyyy-MM-dd#HH:mm:ss:SSS` in the local zone. Java: `timestampFormat`, which takes days and
/// hours that do not exist for later ones; here they are errors.
///
/// # Errors
/// [`TimeError`].
pub(crate) fn parse_time(text: &str) -> Result<i64, TimeError> {
    text.parse().ok().or_else(|| parse_date(text)).ok_or_else(|| TimeError(text.to_owned()))
}

/// As [`parse_time`], and `now`, which is `now_ms`.
///
/// # Errors
/// [`TimeError`].
pub(crate) fn parse_time_or_now(text: &str, now_ms: i64) -> Result<i64, TimeError> {
    // Java's usage calls it so; its tool does not know it.
    if matches!(text, "now" | "currentTimeMillis") { Ok(now_ms) } else { parse_time(text) }
}

/// The time in ms since 1970.
pub(crate) fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

fn parse_date(text: &str) -> Option<i64> {
    let (date, time) = text.split_once('#')?;
    let numbers = |text: &str, separator: char| -> Option<Vec<i16>> {
        let number = |part: &str| {
            let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            if digits { part.parse().ok() } else { None }
        };
        text.split(separator).map(number).collect()
    };
    let ([year, month, day], [hour, minute, second, ms]) =
        (numbers(date, '-')?.try_into().ok()?, numbers(time, ':')?.try_into().ok()?);
    if !(0..1000).contains(&ms) {
        return None;
    }
    let small = |number: i16| i8::try_from(number).ok();
    let civil = DateTime::new(
        year,
        small(month)?,
        small(day)?,
        small(hour)?,
        small(minute)?,
        small(second)?,
        i32::from(ms) * 1_000_000,
    );
    Some(civil.ok()?.to_zoned(TimeZone::system()).ok()?.timestamp().as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_give_entries_in_the_order_of_java() {
        // Printed by Java 17.
        let order = |table, names: &[&str]| {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            in_table_order(table, SLOTS, names, |name: &String| java_string_hash(name)).join(" ")
        };
        let names = ["KEYS", "UNIQ_KEY", "CLUSTER", "WAIT", "TAGS", "MIN_OFFSET", "MAX_OFFSET"];
        let twelve = "topic-6 topic-7 topic-8 topic-9 topic-0 topic-1 topic-2 topic-3 topic-10 topic-4 topic-11 topic-5";
        let many: Vec<String> = (0..13).map(|n| format!("topic-{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(order(Table::Hash, &names), "MIN_OFFSET MAX_OFFSET KEYS UNIQ_KEY CLUSTER WAIT TAGS");
        assert_eq!(order(Table::Hash, &many[..12]), twelve);
        assert_eq!(order(Table::Hash, &many), format!("{twelve} topic-12"));
        assert_eq!(order(Table::Concurrent, &many[..12]), twelve);
        let queues: Vec<_> = (0..4)
            .map(|queue_id| MessageQueue {
                topic: "TopicTest".into(),
                broker_name: "broker-a".into(),
                queue_id,
            })
            .collect();
        assert_eq!(queue_hash(&queues[1]), -222_122_260);
        assert_eq!(queue_text(&queues[1]), "MessageQueue [topic=TopicTest, brokerName=broker-a, queueId=1]");
    }

    #[test]
    fn times_are_those_of_the_local_zone() {
        let now = 1_795_881_600_123;
        let [date, clock] = [crate::format::time(now).replace(' ', "#").replace(',', ":"), digits(now)];
        assert_eq!(parse_time(&date), Ok(now));
        assert_eq!(clock.len(), 17);
        assert_eq!(seconds(now).len(), 19);
        assert_eq!(seconds(i64::MAX), i64::MAX.to_string());
        assert_eq!(parse_time("-1"), Ok(-1));
        assert_eq!(parse_time("2026-1-2#3:4:5:6"), parse_time("2026-01-02#03:04:05:006"));
        assert_eq!(parse_time_or_now("now", 7), Ok(7));
        for bad in [
            "",
            "yesterday",
            "2026-11-28",
            "2026-11-28 16:00:00",
            "2026-13-28#16:00:00:000",
            "2026-02-30#16:00:00:000",
            "2026-11-28#16:00:00",
            "2026-11-28#25:00:00:000",
            "2026-11-28#16:00:00:1000",
            "2026-11-28#16:00:00:-01",
            "99999999999999999999",
            "now",
            "1e3",
            "０",
        ] {
            assert_eq!(parse_time(bad), Err(TimeError(bad.to_owned())), "{bad}");
        }
    }
}
