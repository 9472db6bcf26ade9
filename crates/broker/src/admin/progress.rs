// SPDX-License-Identifier: Apache-2.0
//! How far queues and groups have come.

use super::{Parts, answer};
use crate::{groups::now_ms, refusal::Refusal};
use oxmq_remoting::{
    Command,
    admin_requests::CorrectionOffsetQuery,
    bodies::{MessageQueue, TopicConfig},
    fastjson::structured_table,
};
use oxmq_store::Queue;
use oxmq_types::{QueueId, QueueOffset};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Java: `TopicOffset`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TopicOffset {
    last_update_timestamp: i64,
    max_offset: u64,
    min_offset: u64,
}

/// Java: `OffsetWrapper`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OffsetWrapper {
    broker_offset: u64,
    consumer_offset: u64,
    /// Store time of the last message that was consumed; 0 if there is none.
    last_timestamp: i64,
    /// How far the group has pulled since the start; at least what is consumed.
    pull_offset: u64,
}

/// Java: `QueueTimeSpan`; times are -1 where there is no message.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct QueueTimeSpan {
    consume_time_stamp: i64,
    delay_time: i64,
    max_time_stamp: i64,
    message_queue: MessageQueue,
    min_time_stamp: i64,
}

/// Java: `QueryConsumeTimeSpanBody`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TimeSpans {
    consume_time_span_set: Vec<QueueTimeSpan>,
}

/// Which topics of a group a tool asks for.
pub(super) enum Wanted {
    /// All in which the group has offsets and, if it is online, to which it subscribes.
    All,
    /// This one, under the same condition.
    One(String),
    /// These.
    List(Vec<String>),
}

impl Wanted {
    pub(super) fn new(topic: Option<&str>, list: Option<&str>) -> Self {
        let listed = list.unwrap_or_default().split(';').filter(|topic| !topic.is_empty());
        let listed: BTreeSet<_> = listed.map(str::to_owned).collect();
        match topic {
            _ if !listed.is_empty() => Self::List(listed.into_iter().collect()),
            Some(topic) if !topic.trim().is_empty() => Self::One(topic.to_owned()),
            _ => Self::All,
        }
    }
}

/// Whose offsets are compared, in which topic.
pub(super) struct Correction {
    topic: String,
    /// These do not count.
    without: Vec<String>,
    with: String,
}

impl Correction {
    pub(super) fn new(header: &CorrectionOffsetQuery<'_>) -> Self {
        let without = header.filter_groups.as_deref().unwrap_or_default().split(',');
        Self {
            topic: header.topic.clone().into_owned(),
            without: without.map(str::to_owned).collect(),
            with: header.compare_group.clone().into_owned(),
        }
    }
}

/// Java: `QueryCorrectionOffsetBody`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CorrectionOffsets {
    correction_offsets: BTreeMap<u32, i64>,
}

/// What a group consumed of some topics. Java: `ConsumeStats`.
#[derive(Default)]
struct ConsumeStats {
    tps: f64,
    queues: BTreeMap<MessageQueue, OffsetWrapper>,
}

impl ConsumeStats {
    fn to_json(&self) -> Result<String, Refusal> {
        let table = structured_table(&self.queues).map_err(unwritable)?;
        Ok(format!(r#"{{"consumeTps":{:?},"offsetTable":{table}}}"#, self.tps))
    }

    /// Messages that the group was given and has not committed.
    fn inflight(&self) -> i128 {
        let inflight =
            |queue: &OffsetWrapper| i128::from(queue.pull_offset) - i128::from(queue.consumer_offset);
        self.queues.values().map(inflight).sum()
    }

    fn behind(&self) -> i128 {
        let behind =
            |queue: &OffsetWrapper| i128::from(queue.broker_offset) - i128::from(queue.consumer_offset);
        self.queues.values().map(behind).sum()
    }
}

/// A queue as far as it is there: asking must not make it.
struct Seen {
    stored: Option<Arc<Queue>>,
    min: u64,
    max: u64,
}

impl Parts {
    fn seen(&self, topic: &str, queue: u32) -> Result<Seen, Refusal> {
        let stored = self.store.existing_queue(topic, QueueId(queue))?;
        let (min, max) = stored.as_ref().map_or((0, 0), |queue| (queue.min_offset().0, queue.max_offset().0));
        Ok(Seen { stored, min, max })
    }

    /// Store time of the message of `queue` at `offset`, in ms since 1970. `None` if there is none.
    fn stored_at(&self, queue: &Seen, offset: Option<u64>) -> Result<Option<i64>, Refusal> {
        let (Some(stored), Some(offset)) = (&queue.stored, offset) else { return Ok(None) };
        let mut units = Vec::new();
        let read = stored.read_units(QueueOffset(offset), 1, &mut units);
        read.map_err(|error| Refusal::System(error.to_string()))?;
        Ok(units.first().and_then(|unit| self.store.store_timestamp(unit.physical)))
    }

    pub(super) fn named(&self, topic: &str, queue_id: u32) -> MessageQueue {
        MessageQueue {
            broker_name: self.topics.rules().broker.clone(),
            queue_id: queue_id.cast_signed(),
            topic: topic.to_owned(),
        }
    }

    fn config(&self, topic: &str) -> Result<Arc<TopicConfig>, Refusal> {
        let known = self.topics.get(topic).ok_or_else(|| Refusal::TopicUnknown(topic.to_owned()))?;
        Ok(known.config().clone())
    }

    pub(super) fn topic_stats(&self, topic: &str) -> Result<Command, Refusal> {
        let config = self.config(topic)?;
        let mut queues = Vec::new();
        for id in 0..config.read_queue_nums.max(config.write_queue_nums) {
            let queue = self.seen(topic, id)?;
            let last = self.stored_at(&queue, queue.max.checked_sub(1))?;
            let offset = TopicOffset {
                last_update_timestamp: last.unwrap_or(0),
                max_offset: queue.max,
                min_offset: queue.min,
            };
            queues.push((self.named(topic, id), offset));
        }
        let table = structured_table(queues).map_err(unwritable)?;
        let tps = self.rates.tps(now_ms(), &format!("TOPIC_PUT_NUMS@{topic}"));
        let body = format!(r#"{{"offsetTable":{table},"topicPutTps":{tps:?}}}"#);
        Ok(Command::success().with_body(body.into_bytes()))
    }

    pub(super) fn consume_stats(&self, group: &str, wanted: &Wanted) -> Result<Command, Refusal> {
        let topics = match wanted {
            Wanted::List(topics) => topics.clone(),
            Wanted::One(topic) => self.subscribed(group, vec![topic.clone()]),
            Wanted::All => self.subscribed(group, self.offsets.topics_of(group)),
        };
        let mut stats = ConsumeStats::default();
        for topic in topics {
            if let Some(known) = self.topics.get(&topic) {
                self.add_stats(&mut stats, group, &topic, known.config().read_queue_nums)?;
            }
        }
        Ok(Command::success().with_body(stats.to_json()?.into_bytes()))
    }

    /// Progress of all groups in all topics in which they have offsets.
    pub(super) fn all_consume_stats(&self, ordered_only: bool) -> Result<Command, Refusal> {
        let mut groups = Vec::new();
        let (mut behind, mut inflight) = (0, 0);
        for group in self.groups.names() {
            let mut topics = Vec::new();
            for topic in self.subscribed(&group, self.offsets.topics_of(&group)) {
                let Some(config) = self.topics.get(&topic).map(|topic| topic.config()) else { continue };
                if ordered_only && !config.order {
                    continue;
                }
                let mut stats = ConsumeStats::default();
                self.add_stats(&mut stats, &group, &topic, config.write_queue_nums)?;
                behind += stats.behind();
                inflight += stats.inflight();
                topics.push(stats.to_json()?);
            }
            let name = serde_json::to_string(&group).map_err(unwritable)?;
            groups.push(format!("{{{name}:[{}]}}", topics.join(",")));
        }
        let address = serde_json::to_string(&self.rules.get().address).map_err(unwritable)?;
        let groups = groups.join(",");
        // A sum that Java's 64 bits do not hold comes from offsets that no client of ours committed.
        let [behind, inflight] =
            [behind, inflight].map(|sum: i128| sum.clamp(i64::MIN.into(), i64::MAX.into()));
        let body = format!(
            r#"{{"brokerAddr":{address},"consumeStatsList":[{groups}],"totalDiff":{behind},"totalInflightDiff":{inflight}}}"#
        );
        Ok(Command::success().with_body(body.into_bytes()))
    }

    /// Those of `topics` to which `group` subscribes; all of them while it is offline.
    pub(super) fn subscribed(&self, group: &str, mut topics: Vec<String>) -> Vec<String> {
        self.clients.consumer_group(group, |online| {
            if !online.subscriptions.is_empty() {
                topics.retain(|topic| online.subscriptions.contains_key(topic));
            }
        });
        topics
    }

    fn pulled(&self, group: &str, topic: &str, queue: u32) -> u64 {
        let used = self.topics.get(topic).and_then(|topic| topic.used_queue(QueueId(queue)));
        used.and_then(|queue| queue.pulled(group)).map_or(0, |pulled| pulled.next)
    }

    fn add_stats(
        &self,
        stats: &mut ConsumeStats,
        group: &str,
        topic: &str,
        queues: u32,
    ) -> Result<(), Refusal> {
        let consumed = self.offsets.queues(group, topic);
        for id in 0..queues {
            let queue = self.seen(topic, id)?;
            let next = consumed.get(&id).copied().unwrap_or(0);
            let last = self.stored_at(&queue, next.checked_sub(1))?;
            let offsets = OffsetWrapper {
                broker_offset: queue.max,
                consumer_offset: next,
                last_timestamp: last.unwrap_or(0),
                pull_offset: self.pulled(group, topic, id).min(queue.max).max(next),
            };
            stats.queues.insert(self.named(topic, id), offsets);
        }
        stats.tps += self.rates.tps(now_ms(), &format!("GROUP_GET_NUMS@{topic}@{group}"));
        Ok(())
    }

    /// By queue, the lowest offset of all groups that is not below the queue's first message; or, where that is beyond
    /// the offset of the group that is compared, the largest number.
    pub(super) fn correction_offsets(&self, wanted: &Correction) -> Result<Command, Refusal> {
        let Correction { topic, without, with } = wanted;
        let mut lowest: BTreeMap<u32, i64> = BTreeMap::new();
        let mut groups = self.offsets.groups_of(topic);
        groups.retain(|group| !without.contains(group));
        for (id, next) in groups.iter().flat_map(|group| self.offsets.queues(group, topic)) {
            if next >= self.seen(topic, id)?.min {
                let next = i64::try_from(next).unwrap_or(i64::MAX);
                lowest.entry(id).and_modify(|known| *known = next.min(*known)).or_insert(next);
            }
        }
        for (id, next) in self.offsets.queues(with, topic) {
            if let Some(known) =
                lowest.get_mut(&id).filter(|known| u64::try_from(**known).is_ok_and(|known| known > next))
            {
                *known = i64::MAX;
            }
        }
        answer(&CorrectionOffsets { correction_offsets: lowest })
    }

    pub(super) fn time_spans(&self, topic: &str, group: &str) -> Result<Command, Refusal> {
        let config = self.config(topic)?;
        let consumed = self.offsets.queues(group, topic);
        let mut spans = Vec::new();
        for id in 0..config.write_queue_nums {
            let queue = self.seen(topic, id)?;
            let next = consumed.get(&id).copied().unwrap_or(0);
            let first = self.stored_at(&queue, Some(queue.min))?;
            let last = self.stored_at(&queue, queue.max.checked_sub(1))?;
            let consumed = match next.checked_sub(1) {
                Some(at) => self.stored_at(&queue, Some(at))?,
                None => first,
            };
            let waiting = self.stored_at(&queue, Some(next))?;
            spans.push(QueueTimeSpan {
                consume_time_stamp: consumed.unwrap_or(-1),
                delay_time: waiting.map_or(0, |stored| now_ms().saturating_sub(stored)),
                max_time_stamp: last.unwrap_or(-1),
                message_queue: self.named(topic, id),
                min_time_stamp: first.unwrap_or(-1),
            });
        }
        answer(&TimeSpans { consume_time_span_set: spans })
    }
}

fn unwritable(error: serde_json::Error) -> Refusal {
    Refusal::System(error.to_string())
}
