// SPDX-License-Identifier: Apache-2.0
//! What a transactional message looks like at each of its stations. Pure: drafts and records in, drafts out.
//!
//! | | topic, queue | system flag | prepared offset | properties |
//! |---|---|---|---|---|
//! | half | `RMQ_SYS_TRANS_HALF_TOPIC` 0 | no transaction type | 0 | the message's and `REAL_TOPIC`, `REAL_QID`, `__transactionId__` |
//! | half, stored anew | the same | the same | 0 | the half's and `TRANSACTION_CHECK_TIMES`, `TRAN_FIRST_QUEUE_OFFSET` |
//! | op | `RMQ_SYS_TRANS_OP_HALF_TOPIC` 0 | 0 | 0 | `TAGS` = `d`; the body is the half's queue offset in decimal |
//! | committed | the real ones | [`sys_flag::COMMIT`] | the half's place in the log | the half's |
//! | discarded | `TRANS_CHECK_MAX_TIME_TOPIC` 0 | as the half | 0 | the half's and `TRANSACTION_CHECK_TIMES` |
//!
//! Java means to take `REAL_TOPIC` and `REAL_QID` from a committed message and leaves them in its record. Java 5 writes
//! several offsets into an op, each followed by a comma; Java 4 reads one number. Java stores a half anew for each
//! check and loses the application's flag then; it stays here.

use crate::{delay, refusal::Refusal};
use oxmq_record::{
    Draft, PROPERTIES_LENGTH_MAX, RecordView,
    properties::{self, REAL_QUEUE_ID, REAL_TOPIC},
    sys_flag,
};
use oxmq_types::{
    HALF_TOPIC, OP_HALF_TOPIC, PhysicalOffset, QueueId, SCHEDULE_TOPIC, TIMER_TOPIC, validate_group,
};
use std::{
    borrow::Cow,
    hash::{DefaultHasher, Hash, Hasher},
    net::SocketAddr,
};

/// The topics of halves and of ops have one queue, and so has that of what was given up.
pub(super) const QUEUE: QueueId = QueueId(0);

const PRODUCER_GROUP: &str = "PGROUP";
const TRANSACTION_ID: &str = "__transactionId__";
const CHECK_TIMES: &str = "TRANSACTION_CHECK_TIMES";
const IMMUNITY: &str = "CHECK_IMMUNITY_TIME_IN_SECONDS";
/// Java's, in halves that it stored anew because they were immune: where the half stood first.
const PREPARED_QUEUE_OFFSET: &str = "TRAN_PREPARED_QUEUE_OFFSET";
/// Ours, in halves that we stored anew: where the half stood first. Not Java's, which takes a half for ended if the op of
/// the place that it names is there.
const FIRST_QUEUE_OFFSET: &str = "TRAN_FIRST_QUEUE_OFFSET";
/// Most bytes that a half's properties grow by while it waits: two names, their numbers and separators.
pub(super) const ADDED_MAX: usize = CHECK_TIMES.len() + FIRST_QUEUE_OFFSET.len() + 10 + 20 + 5;
const DONE: &[u8] = b"TAGS\x01d\x02";

/// What only the broker notes.
const NOTED: [&str; 6] =
    [REAL_TOPIC, REAL_QUEUE_ID, TRANSACTION_ID, CHECK_TIMES, PREPARED_QUEUE_OFFSET, FIRST_QUEUE_OFFSET];

/// The properties of the half message of `draft`, and its producer group: that of its properties, or else that of the
/// request, so that there is somebody who can be asked.
pub(super) fn half_properties(
    draft: &Draft<'_>,
    producer_group: Cow<'_, str>,
) -> Result<(Vec<u8>, String), Refusal> {
    let mut out = draft.properties.to_vec();
    for name in NOTED {
        properties::remove(&mut out, name);
    }
    let group = match properties::find(&out, PRODUCER_GROUP) {
        Some(group) => String::from_utf8_lossy(group).into_owned(),
        None => {
            properties::append(&mut out, PRODUCER_GROUP, producer_group.as_bytes());
            producer_group.into_owned()
        }
    };
    validate_group(&group)?;
    if let Some(unique_key) = properties::find(draft.properties, properties::UNIQ_KEY) {
        properties::append(&mut out, TRANSACTION_ID, unique_key);
    }
    properties::append(&mut out, REAL_TOPIC, draft.topic.as_bytes());
    properties::append(&mut out, REAL_QUEUE_ID, draft.queue_id.0.to_string().as_bytes());
    Ok((out, group))
}

/// The half message of `draft`, with the properties that were made for it.
pub(super) fn half<'a>(draft: &Draft<'a>, properties: &'a [u8]) -> Draft<'a> {
    let sys_flag = draft.sys_flag & !sys_flag::TRANSACTION_TYPE;
    Draft { topic: HALF_TOPIC, queue_id: QUEUE, sys_flag, properties, ..*draft }
}

/// The properties of `half` after `checks` checks.
pub(super) fn counted_properties(half: &RecordView<'_>, checks: u32) -> Vec<u8> {
    let mut out = half.properties().to_vec();
    set_checks(&mut out, checks);
    out
}

/// Writes the count if there is room for it: the table has it too, and a half without the count can be checked and put
/// aside, while a record that is too large can be nothing.
fn set_checks(properties: &mut Vec<u8>, checks: u32) {
    properties::remove(properties, CHECK_TIMES);
    let checks = checks.to_string();
    let separators = 3;
    if properties.len() + CHECK_TIMES.len() + checks.len() + separators <= PROPERTIES_LENGTH_MAX {
        properties::append(properties, CHECK_TIMES, checks.as_bytes());
    }
}

/// The properties of `half`, which stood at `first` in the beginning, when it is stored anew after `checks` checks.
pub(super) fn renewed_properties(half: &RecordView<'_>, checks: u32, first: u64) -> Vec<u8> {
    let mut out = resumed_properties(half);
    set_checks(&mut out, checks);
    properties::append(&mut out, FIRST_QUEUE_OFFSET, first.to_string().as_bytes());
    out
}

/// The properties of `half` when it begins anew: what it was before is done with.
pub(super) fn resumed_properties(half: &RecordView<'_>) -> Vec<u8> {
    let mut out = counted_properties(half, 0);
    properties::remove(&mut out, PREPARED_QUEUE_OFFSET);
    properties::remove(&mut out, FIRST_QUEUE_OFFSET);
    out
}

/// `half` in another place.
pub(super) fn moved<'a>(half: &RecordView<'a>, topic: &'a str, properties: &'a [u8]) -> Draft<'a> {
    Draft {
        topic,
        queue_id: QUEUE,
        flag: half.flag(),
        sys_flag: half.sys_flag(),
        born_timestamp_ms: half.born_timestamp_ms(),
        born_host: half.born_host(),
        store_host: half.store_host(),
        reconsume_times: half.reconsume_times(),
        prepared_transaction_offset: 0,
        body: half.body(),
        properties,
    }
}

/// The message of `half` as its topic gets it. `None` if the half does not say which.
pub(super) fn real<'a>(half: &RecordView<'a>, properties: &'a [u8]) -> Option<Draft<'a>> {
    let topic = str::from_utf8(half.property(REAL_TOPIC)?).ok()?;
    let queue_id = QueueId(number(half.property(REAL_QUEUE_ID)?)?);
    Some(Draft { topic, queue_id, ..moved(half, topic, properties) })
}

/// The message that the end of its transaction lets go. `waits_at`: where the half stands now, if it was stored anew.
pub(super) fn committed<'a>(half: &RecordView<'a>, waits_at: PhysicalOffset) -> Option<Draft<'a>> {
    let real = real(half, half.properties())?;
    let sys_flag = (real.sys_flag & !sys_flag::TRANSACTION_TYPE) | sys_flag::COMMIT;
    Some(Draft { sys_flag, prepared_transaction_offset: waits_at.0.cast_signed(), ..real })
}

/// True if `message`, which has [`sys_flag::COMMIT`], is what the end of its transaction let go of `half`.
///
/// Its prepared offset alone does not say so: later copies, of a message that was delayed or sent back, keep the bit,
/// and their prepared offset is 0, where the first half of a log may stand.
pub(super) fn is_committed_of(message: &RecordView<'_>, half: &RecordView<'_>) -> bool {
    let topic = message.topic();
    let is_there = if delay::is_delayed(half.properties()) {
        [SCHEDULE_TOPIC, TIMER_TOPIC].contains(&topic)
    } else {
        half.property(REAL_TOPIC) == Some(topic.as_bytes())
    };
    is_there
        && message.prepared_transaction_offset() == half.physical_offset().0.cast_signed()
        && message.property(properties::UNIQ_KEY) == half.property(properties::UNIQ_KEY)
        && message.body() == half.body()
        && message.property(properties::RETRY_TOPIC).is_none()
}

/// The op that says that the half whose queue offset is `body` is done with.
pub(super) fn op(body: &str, host: SocketAddr, now_ms: i64) -> Draft<'_> {
    Draft {
        topic: OP_HALF_TOPIC,
        queue_id: QUEUE,
        flag: 0,
        sys_flag: 0,
        born_timestamp_ms: now_ms,
        born_host: host,
        store_host: host,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: body.as_bytes(),
        properties: DONE,
    }
}

/// The queue offsets of the halves that an op says are done with.
pub(super) fn offsets_of_op<'a>(op: &RecordView<'a>) -> impl Iterator<Item = u64> + use<'a> {
    let body = if op.property(properties::TAGS) == Some(b"d") { op.body() } else { b"" };
    body.split(|byte| *byte == b',').filter_map(number)
}

/// What a half says about itself that the table must know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    /// Its producer group; empty if it has none.
    pub(super) group: String,
    /// From when on it is checked.
    pub(super) due_ms: i64,
    /// Checks that were sent.
    pub(super) checks: u32,
    /// Where it stood first, if it was stored anew.
    pub(super) first: Option<u64>,
    /// Java stored it anew, and the op of its first place ends it.
    pub(super) ends_by_first: bool,
    /// The hash of its unique key.
    pub(super) key: u64,
}

/// Reads them. `stored_ms`: when the half was stored.
pub(super) fn facts(half: &[u8], (born_ms, stored_ms): (i64, i64), timeout_ms: i64) -> Facts {
    let group = properties::find(half, PRODUCER_GROUP).map(String::from_utf8_lossy).unwrap_or_default();
    let java_first = properties::find(half, PREPARED_QUEUE_OFFSET).and_then(number);
    let first = java_first.or_else(|| properties::find(half, FIRST_QUEUE_OFFSET).and_then(number));
    let checks = properties::find(half, CHECK_TIMES).and_then(number);
    // A half that was stored anew counts from its birth. Others do not: the producer's clock may be wrong.
    let since_ms = if checks.is_some() || first.is_some() { born_ms } else { stored_ms };
    Facts {
        group: group.into_owned(),
        due_ms: since_ms.saturating_add(immunity_ms(half, timeout_ms)),
        // Java counts checks of immune halves that it did not send.
        checks: checks.filter(|_| java_first.is_none()).unwrap_or(0),
        first,
        ends_by_first: java_first.is_some(),
        key: key(half),
    }
}

/// The hash of the unique key, by which the table tells whether one of that key waits.
pub(super) fn key(half: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    properties::find(half, properties::UNIQ_KEY).hash(&mut hasher);
    hasher.finish()
}

/// How long after its birth a half is not checked. Java: `TransactionalMessageUtil#getImmunityTime`.
fn immunity_ms(half: &[u8], timeout_ms: i64) -> i64 {
    let wished: Option<i64> = properties::find(half, IMMUNITY).and_then(number);
    wished.unwrap_or(0).saturating_mul(1_000).max(timeout_ms)
}

/// True if the producer may not end the transaction unasked any more.
/// Java 5: `EndTransactionProcessor#rejectCommitOrRollback`.
pub(super) fn is_too_late(half: &RecordView<'_>, timeout_ms: i64, now_ms: i64) -> bool {
    half.property(IMMUNITY).is_some()
        && now_ms.saturating_sub(half.store_timestamp_ms()) > immunity_ms(half.properties(), timeout_ms)
}

/// The producer group of a half.
pub(super) fn group<'a>(half: &RecordView<'a>) -> Cow<'a, str> {
    half.property(PRODUCER_GROUP).map(String::from_utf8_lossy).unwrap_or_default()
}

fn number<N: std::str::FromStr>(text: &[u8]) -> Option<N> {
    str::from_utf8(text).ok()?.trim().parse().ok()
}
