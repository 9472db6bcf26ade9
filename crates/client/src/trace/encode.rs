// SPDX-License-Identifier: Apache-2.0
//! What is told of one message, as Java's `TraceDataEncoder` writes it and `mqadmin queryMsgTraceById` reads it.
//!
//! ```text
//! Pub            time region group topic id tags keys broker body-bytes cost-ms kind place success
//! SubBefore      time region group request id retries keys
//! SubAfter       request id cost-ms success keys code time group
//! EndTransaction time region group topic id tags keys broker kind transaction state from-check
//! ```
//! Byte 1 between fields, byte 2 after each line; times in ms since 1970. Pure.

use crate::{SendKind, TransactionState};
use std::fmt::{Display, Write};

const BETWEEN_FIELDS: char = '\u{1}';
const AFTER_LINE: char = '\u{2}';

/// What is told, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct TraceRecord {
    /// Region of the broker; records of one region are sent together.
    pub(crate) region: String,
    pub(crate) data: String,
    /// What it can be found by: ids and keys of the messages.
    pub(crate) keys: Vec<String>,
}

/// How a consumption ended. Java: `ConsumeReturnType`, by its ordinal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConsumeOutcome {
    Success = 0,
    TimedOut = 1,
    Panicked = 2,
    Failed = 4,
}

/// A message that was sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent<'a> {
    pub(crate) at_ms: i64,
    pub(crate) region: &'a str,
    pub(crate) group: &'a str,
    pub(crate) topic: &'a str,
    pub(crate) msg_id: &'a str,
    pub(crate) tags: &'a str,
    pub(crate) keys: &'a str,
    pub(crate) broker: &'a str,
    pub(crate) body_size: usize,
    pub(crate) cost_ms: u64,
    pub(crate) kind: SendKind,
    pub(crate) offset_msg_id: &'a str,
    pub(crate) success: bool,
}

/// A message that a consumer is given.
#[derive(Debug, Clone)]
pub(crate) struct Given {
    pub(crate) msg_id: String,
    pub(crate) keys: String,
    pub(crate) reconsume_times: i32,
}

struct Line<'a>(&'a mut String, bool);

impl Line<'_> {
    fn field(mut self, value: impl Display) -> Self {
        if self.1 {
            self.0.push(BETWEEN_FIELDS);
        }
        self.1 = true;
        // Writing into a string cannot fail.
        let _ = write!(self.0, "{value}");
        self
    }

    fn end(self) {
        self.0.push(AFTER_LINE);
    }
}

fn line<'a>(out: &'a mut String, kind: &str) -> Line<'a> {
    Line(out, false).field(kind)
}

fn kind_code(kind: SendKind) -> i32 {
    match kind {
        SendKind::Normal => 0,
        SendKind::Half => 1,
        SendKind::Ended => 2,
        SendKind::Delayed => 3,
    }
}

fn keys_of(msg_id: &str, keys: &str) -> Vec<String> {
    std::iter::once(msg_id)
        .chain(keys.split(' '))
        .filter(|key| !key.is_empty())
        .map(ToOwned::to_owned)
        .collect()
}

/// A message was sent.
pub(crate) fn sent(sent: &Sent<'_>) -> TraceRecord {
    let mut data = String::with_capacity(256);
    line(&mut data, "Pub")
        .field(sent.at_ms)
        .field(sent.region)
        .field(sent.group)
        .field(sent.topic)
        .field(sent.msg_id)
        .field(sent.tags)
        .field(sent.keys)
        .field(sent.broker)
        .field(sent.body_size)
        .field(sent.cost_ms)
        .field(kind_code(sent.kind))
        .field(sent.offset_msg_id)
        .field(sent.success)
        .end();
    TraceRecord { region: sent.region.into(), data, keys: keys_of(sent.msg_id, sent.keys) }
}

/// A transaction was ended.
pub(crate) fn ended(
    sent: &Sent<'_>,
    transaction_id: &str,
    state: TransactionState,
    from_check: bool,
) -> TraceRecord {
    let mut data = String::with_capacity(256);
    let state = match state {
        TransactionState::Commit => "COMMIT_MESSAGE",
        TransactionState::Rollback => "ROLLBACK_MESSAGE",
        TransactionState::Unknown => "UNKNOW",
    };
    line(&mut data, "EndTransaction")
        .field(sent.at_ms)
        .field(sent.region)
        .field(sent.group)
        .field(sent.topic)
        .field(sent.msg_id)
        .field(sent.tags)
        .field(sent.keys)
        .field(sent.broker)
        .field(kind_code(sent.kind))
        .field(transaction_id)
        .field(state)
        .field(from_check)
        .end();
    TraceRecord { region: sent.region.into(), data, keys: keys_of(sent.msg_id, sent.keys) }
}

/// A consumer is given messages.
pub(crate) fn given(at_ms: i64, region: &str, group: &str, request: &str, messages: &[Given]) -> TraceRecord {
    let mut record = TraceRecord { region: region.into(), ..TraceRecord::default() };
    for message in messages {
        line(&mut record.data, "SubBefore")
            .field(at_ms)
            .field(region)
            .field(group)
            .field(request)
            .field(&message.msg_id)
            .field(message.reconsume_times)
            .field(&message.keys)
            .end();
        record.keys.extend(keys_of(&message.msg_id, &message.keys));
    }
    record
}

/// A consumer is done with messages, each of which took `cost_ms`.
pub(crate) fn consumed(
    (at_ms, cost_ms): (i64, u64),
    region: &str,
    group: &str,
    request: &str,
    messages: &[Given],
    outcome: ConsumeOutcome,
) -> TraceRecord {
    let mut record = TraceRecord { region: region.into(), ..TraceRecord::default() };
    for message in messages {
        line(&mut record.data, "SubAfter")
            .field(request)
            .field(&message.msg_id)
            .field(cost_ms)
            .field(outcome == ConsumeOutcome::Success)
            .field(&message.keys)
            .field(outcome as i32)
            .field(at_ms)
            .field(group)
            .end();
        record.keys.extend(keys_of(&message.msg_id, &message.keys));
    }
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(record: &TraceRecord) -> String {
        record.data.replace(BETWEEN_FIELDS, "|").replace(AFTER_LINE, "\n")
    }

    #[test]
    fn lines_are_those_of_java() {
        let one = Sent {
            at_ms: 1_700_000_000_000,
            region: "DefaultRegion",
            group: "g",
            topic: "T",
            msg_id: "ID",
            tags: "A",
            keys: "k1 k2",
            broker: "127.0.0.1:10911",
            body_size: 11,
            cost_ms: 3,
            kind: SendKind::Normal,
            offset_msg_id: "OFF",
            success: true,
        };
        let record = sent(&one);
        assert_eq!(
            shown(&record),
            "Pub|1700000000000|DefaultRegion|g|T|ID|A|k1 k2|127.0.0.1:10911|11|3|0|OFF|true\n"
        );
        assert_eq!(record.keys, ["ID", "k1", "k2"]);
        let record = ended(&one, "TX", TransactionState::Commit, false);
        assert_eq!(
            shown(&record),
            "EndTransaction|1700000000000|DefaultRegion|g|T|ID|A|k1 k2|127.0.0.1:10911|0|TX|COMMIT_MESSAGE|false\n"
        );
        let messages = [Given { msg_id: "ID".into(), keys: String::new(), reconsume_times: 2 }];
        let record = given(5, "R", "g", "REQ", &messages);
        assert_eq!(shown(&record), "SubBefore|5|R|g|REQ|ID|2|\n");
        assert_eq!(record.keys, ["ID"]);
        let record = consumed((9, 4), "R", "g", "REQ", &messages, ConsumeOutcome::Failed);
        assert_eq!(shown(&record), "SubAfter|REQ|ID|4|false||4|9|g\n");
    }
}
