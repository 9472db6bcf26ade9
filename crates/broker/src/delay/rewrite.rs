// SPDX-License-Identifier: Apache-2.0
//! From a message as it was sent to one that waits, and back. Properties in, properties out.
//!
//! | property | set by | says |
//! |---|---|---|
//! | `DELAY` | producer | the level; above the highest it becomes the highest |
//! | `TIMER_DELAY_SEC`, `TIMER_DELAY_MS`, `TIMER_DELIVER_MS` | producer | delay or time; of several the first in this order counts |
//! | `REAL_TOPIC`, `REAL_QID` | redirect | where it is to be delivered; consumers see them, as with Java |
//! | `TIMER_OUT_MS` | redirect | the slot of Java's wheel: the last multiple of `timerPrecisionMs` before the time |
//! | `TIMER_ENQUEUE_MS`, `TIMER_DEQUEUE_MS` | delivery | since when it waited, when it was delivered |
//! | `TIMER_DEL_UNIQKEY` | recall | the message is a recall: topic `+` unique key of the message that is not to be delivered |
//!
//! A level wins over a time, and the time is forgotten then. A time that has come is no delay. A message with
//! `TIMER_OUT_MS` has been delayed already.
//!
//! Java: `HookUtils#handleScheduleMessage`, `ScheduleMessageService#messageTimeUp`, `TimerMessageStore#convert`.

use super::DelayRules;
use crate::refusal::Refusal;
use oxmq_record::{PROPERTIES_LENGTH_MAX, RecordView, properties};
use oxmq_types::{QueueId, SCHEDULE_TOPIC, TIMER_TOPIC, TagsCode};

pub(crate) const TIMER_DELAY_SEC: &str = "TIMER_DELAY_SEC";
pub(crate) const TIMER_DELAY_MS: &str = "TIMER_DELAY_MS";
pub(crate) const TIMER_DELIVER_MS: &str = "TIMER_DELIVER_MS";
pub(crate) const TIMER_OUT_MS: &str = "TIMER_OUT_MS";
pub(crate) const TIMER_DEL_UNIQKEY: &str = "TIMER_DEL_UNIQKEY";
const TIMER_ENQUEUE_MS: &str = "TIMER_ENQUEUE_MS";
const TIMER_DEQUEUE_MS: &str = "TIMER_DEQUEUE_MS";
const TIMER_ROLL_TIMES: &str = "TIMER_ROLL_TIMES";

/// Where a message waits for its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) topic: &'static str,
    pub(crate) queue_id: QueueId,
    /// What its consume queue unit carries.
    pub(crate) tags_code: TagsCode,
    /// When it is to be delivered, in ms since 1970.
    pub(crate) due_ms: i64,
    /// What a handle for its recall says of the time. `None` for a level: those cannot be recalled.
    pub(crate) recall_at_ms: Option<i64>,
}

/// Notes in the properties of a delayed message where it is to be delivered, and says where it waits until then.
/// `None` if it does not have to wait; its properties are as before then.
///
/// # Errors
/// [`Refusal`] with Java's code if level or time are none, or the time is too far away.
pub(crate) fn redirect(
    rules: &DelayRules,
    (topic, queue_id): (&str, QueueId),
    properties: &mut Vec<u8>,
    now_ms: i64,
) -> Result<Option<Waiting>, Refusal> {
    let level = match properties::find(properties, properties::DELAY) {
        Some(value) => number::<i32>(value).ok_or_else(|| {
            Refusal::System(format!("the delay level \"{}\" is no number", String::from_utf8_lossy(value)))
        })?,
        None => 0,
    };
    if let Ok(level @ 1..) = u32::try_from(level) {
        for name in [TIMER_DELIVER_MS, TIMER_DELAY_SEC, TIMER_DELAY_MS] {
            properties::remove(properties, name);
        }
        let max = rules.levels.max();
        if level > max {
            set(properties, properties::DELAY, &max.to_string());
        }
        note_target(properties, topic, queue_id);
        let level = level.min(max);
        let due_ms = rules.levels.due_ms(level, now_ms);
        return Ok(Some(Waiting {
            topic: SCHEDULE_TOPIC,
            queue_id: QueueId(level - 1),
            tags_code: TagsCode(due_ms),
            due_ms,
            recall_at_ms: None,
        }));
    }
    if properties::find(properties, TIMER_OUT_MS).is_some() {
        return Ok(None);
    }
    let Some(due_ms) = asked_time(properties, now_ms) else { return Ok(None) };
    if !rules.timer {
        return Err(Refusal::System(
            "accurate timer message is not enabled, timerWheelEnable is false".into(),
        ));
    }
    let illegal = || {
        Refusal::MessageIllegal(format!(
            "timer message illegal, the delay time should not be bigger than the max delay {}ms; \
             or if set del msg, the delay time should be bigger than the current time",
            rules.timer_max_ms
        ))
    };
    let due_ms = due_ms.ok_or_else(illegal)?;
    if due_ms <= now_ms {
        let recall = properties::find(properties, TIMER_DEL_UNIQKEY).is_some();
        return if recall { Err(illegal()) } else { Ok(None) };
    }
    if due_ms.saturating_sub(now_ms) > rules.timer_max_ms {
        return Err(illegal());
    }
    let out_ms = (due_ms - 1).div_euclid(rules.timer_precision_ms) * rules.timer_precision_ms;
    set(properties, TIMER_OUT_MS, &out_ms.to_string());
    note_target(properties, topic, queue_id);
    Ok(Some(Waiting {
        topic: TIMER_TOPIC,
        queue_id: QueueId(0),
        tags_code: properties::tags_code(properties),
        due_ms,
        recall_at_ms: Some(out_ms + 1),
    }))
}

/// The time that the properties ask for. `None` if they ask for none; `Some(None)` if it cannot be read.
fn asked_time(properties: &[u8], now_ms: i64) -> Option<Option<i64>> {
    let delay = |name, unit_ms: i64| {
        let value = properties::find(properties, name)?;
        // Java lets these overflow and then delivers at once; here what overflows is too far away.
        Some(number::<i64>(value).map(|delay| delay.saturating_mul(unit_ms).saturating_add(now_ms)))
    };
    delay(TIMER_DELAY_SEC, 1_000)
        .or_else(|| delay(TIMER_DELAY_MS, 1))
        .or_else(|| properties::find(properties, TIMER_DELIVER_MS).map(number))
}

fn note_target(properties: &mut Vec<u8>, topic: &str, queue_id: QueueId) {
    set(properties, properties::REAL_TOPIC, topic);
    set(properties, properties::REAL_QUEUE_ID, &queue_id.to_string());
}

fn set(properties: &mut Vec<u8>, name: &str, value: &str) {
    properties::remove(properties, name);
    properties::append(properties, name, value.as_bytes());
}

/// As `Integer.parseInt` and `Long.parseLong` read: a sign and digits, nothing around them.
pub(super) fn number<T: std::str::FromStr>(value: &[u8]) -> Option<T> {
    str::from_utf8(value).ok()?.parse().ok()
}

/// What a record that waits for a time is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timed<'a> {
    /// When it is to be delivered, to the millisecond, in ms since 1970; when a recall begins to count.
    pub(crate) due_ms: i64,
    /// For a recall, which message is not to be delivered: topic `+` unique key.
    pub(crate) recalls: Option<&'a [u8]>,
}

/// Reads what a record of the timer's topic waits for. `None` if it is no timed message.
///
/// The exact time follows from what the producer asked for; `TIMER_OUT_MS` alone only says in which slot it lies. A
/// record that a Java broker moved on ("rolled") was stored anew, so a delay does not count from then.
pub(crate) fn timed<'a>(rules: &DelayRules, record: &RecordView<'a>) -> Option<Timed<'a>> {
    let properties = record.properties();
    let out_ms: i64 = properties::find(properties, TIMER_OUT_MS).and_then(number)?;
    let recalls = properties::find(properties, TIMER_DEL_UNIQKEY);
    let slot_end_ms = out_ms.saturating_add(rules.timer_precision_ms);
    let due_ms = if recalls.is_some() {
        // Before every message of its slot.
        out_ms
    } else if properties::find(properties, TIMER_ROLL_TIMES).is_some() {
        slot_end_ms
    } else {
        // Asked before it was stored, so this is never early. It has no upper bound but the slot, whose length may have
        // been another when the message was sent; before the slot it is only if the clock was set back meanwhile.
        let asked = asked_time(properties, record.store_timestamp_ms()).flatten();
        asked.filter(|asked| *asked >= out_ms).unwrap_or(slot_end_ms)
    };
    Some(Timed { due_ms, recalls })
}

/// The topic `+` unique key by which a recall names a message that waits for a time.
pub(crate) fn recall_key(properties: &[u8]) -> Option<Vec<u8>> {
    let topic = properties::find(properties, properties::REAL_TOPIC)?;
    Some([topic, b"+", properties::find(properties, properties::UNIQ_KEY)?].concat())
}

/// Where a message that waited is delivered. `None` if it does not say.
pub(crate) fn target<'a>(record: &RecordView<'a>) -> Option<(&'a str, QueueId)> {
    let topic = str::from_utf8(record.property(properties::REAL_TOPIC)?).ok()?;
    Some((topic, QueueId(record.property(properties::REAL_QUEUE_ID).and_then(number)?)))
}

/// The properties with which a message that waited for a time is delivered.
pub(crate) fn delivered(record: &RecordView<'_>, now_ms: i64) -> Vec<u8> {
    let mut properties = record.properties().to_vec();
    set(&mut properties, TIMER_ENQUEUE_MS, &record.store_timestamp_ms().to_string());
    set(&mut properties, TIMER_DEQUEUE_MS, &now_ms.to_string());
    if properties.len() > PROPERTIES_LENGTH_MAX {
        // Rather without these two than not at all.
        return record.properties().to_vec();
    }
    properties
}
