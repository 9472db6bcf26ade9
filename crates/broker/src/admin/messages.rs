// SPDX-License-Identifier: Apache-2.0
//! Single messages, messages of a key, and consume queue units: for those who look for a lost one.

use super::{Parts, answer};
use crate::refusal::Refusal;
use oxmq_remoting::{
    Body, Command,
    admin_requests::{ConsumeQueueQuery, QueryMessage},
    bodies::SubscriptionData,
};
use oxmq_store::{Access, KeyQuery, ReadError};
use oxmq_types::{PhysicalOffset, QueueId, QueueOffset};
use serde::Serialize;
use std::fmt::Display;

/// Most units in one answer.
const UNITS_MAX: usize = 4096;

/// Which units are asked for.
pub(super) struct Units {
    topic: String,
    queue_id: i32,
    from: i64,
    count: usize,
    group: Option<String>,
}

impl Units {
    pub(super) fn new(header: &ConsumeQueueQuery<'_>) -> Self {
        Self {
            topic: header.topic.clone().into_owned(),
            queue_id: header.queue_id,
            from: header.index,
            count: usize::try_from(header.count).unwrap_or(0).min(UNITS_MAX),
            group: header.consumer_group.clone().map(Into::into),
        }
    }
}

/// Which messages are asked for.
pub(super) struct WithKey {
    topic: String,
    key: String,
    max: usize,
    begin_ms: i64,
    end_ms: i64,
}

impl Parts {
    /// What `header` asks for, within the broker's limits.
    pub(super) fn with_key(&self, header: &QueryMessage<'_>) -> Result<WithKey, Refusal> {
        let wanted = usize::try_from(header.max_num)
            .map_err(|_| Refusal::System(format!("maxNum[{}] is negative", header.max_num)))?;
        let wanted = if header.unique_key == Some(true) { self.rules.get().unique_query_max } else { wanted };
        Ok(WithKey {
            topic: header.topic.clone().into_owned(),
            key: header.key.clone().into_owned(),
            max: wanted.min(self.rules.get().key_query_max),
            begin_ms: header.begin_timestamp,
            end_ms: header.end_timestamp,
        })
    }
}

/// Why there is no message at `offset`. Java knows but one reason.
pub(super) fn not_found(offset: impl Display, error: &ReadError) -> Refusal {
    Refusal::System(match error {
        ReadError::Gone => format!("can not find message by the offset, {offset}"),
        error => format!("can not find message by the offset, {offset}: {error}"),
    })
}

/// Java: `ConsumeQueueData`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ConsumeQueueData {
    eval: bool,
    physic_offset: u64,
    physic_size: u32,
    tags_code: i64,
}

/// Java: `QueryConsumeQueueResponseBody`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ConsumeQueueBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    filter_data: Option<String>,
    max_queue_index: u64,
    min_queue_index: u64,
    queue_data: Vec<ConsumeQueueData>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subscription_data: Option<SubscriptionData>,
}

impl Parts {
    /// The record at `offset`, as it lies in the commit log.
    pub(super) fn message(&self, offset: i64) -> Result<Command, Refusal> {
        let at = PhysicalOffset(u64::try_from(offset).map_err(|_| not_found(offset, &ReadError::Gone))?);
        let record = self.store.record(at, Access::Disk).map_err(|error| not_found(offset, &error))?;
        Ok(Command::success().with_body(record))
    }

    /// The records of all messages that have a key, oldest first; of too many the newest.
    pub(super) fn messages(&self, wanted: &WithKey) -> Result<Command, Refusal> {
        let WithKey { topic, key, max, begin_ms, end_ms } = wanted;
        let (max, begin_ms, end_ms) = (*max, *begin_ms, *end_ms);
        let found = self.store.query(&KeyQuery { topic, key, max, begin_ms, end_ms });
        if found.records.is_empty() {
            return Err(Refusal::NotFound("can not find message, maybe time range not correct".into()));
        }
        let mut body = Body::default();
        found.records.into_iter().for_each(|record| body.push(record));
        Ok(Command::success()
            .with("indexLastUpdateTimestamp", found.indexed_timestamp_ms)
            .with("indexLastUpdatePhyoffset", i64::try_from(found.indexed_physical).unwrap_or(i64::MAX))
            .with_body(body))
    }

    pub(super) fn units(&self, wanted: &Units) -> Result<Command, Refusal> {
        let Units { topic, queue_id, from, count, group } = wanted;
        let unreadable = |error: &dyn std::error::Error| Refusal::System(error.to_string());
        let queue = match u32::try_from(*queue_id) {
            Ok(id) => self.store.existing_queue(topic, QueueId(id))?,
            Err(_) => None,
        };
        let queue = queue.ok_or_else(|| Refusal::System(format!("{queue_id}@{topic} is not exist!")))?;
        let mut units = Vec::new();
        if let Ok(from) = u64::try_from(*from) {
            let read = queue.read_units(QueueOffset(from), *count, &mut units);
            read.map_err(|error| unreadable(&error))?;
        }
        let data = units.iter().map(|unit| ConsumeQueueData {
            eval: false,
            physic_offset: unit.physical.0,
            physic_size: unit.size,
            tags_code: unit.tags_code.0,
        });
        let subscription = group.as_ref().and_then(|group| self.subscription_of(group, topic));
        let offline = || group.as_ref().map(|group| format!("{group}@{topic} is not online!"));
        let body = ConsumeQueueBody {
            // COMPAT(java): for a filter by tags, its filter data that is not there as text.
            filter_data: if subscription.is_some() { Some("null".into()) } else { offline() },
            max_queue_index: queue.max_offset().0,
            min_queue_index: queue.min_offset().0,
            queue_data: data.collect(),
            subscription_data: subscription,
        };
        let mut found = answer(&body)?;
        if body.queue_data.is_empty() {
            found.remark = Some(format!("Index {from} of {queue_id}@{topic} is not exist!").into());
        }
        Ok(found)
    }
}
