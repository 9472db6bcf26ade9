// SPDX-License-Identifier: Apache-2.0
//! Where a group begins in a queue. Pure.
//!
//! Java: `ConsumeFromWhere`, `RebalancePushImpl#computePullFromWhereWithException`.

/// Where a group begins in a queue that it has not consumed before. A group that has a committed offset goes on there,
/// whatever this says. Java: `ConsumeFromWhere`.
///
/// A broker whose queue still holds its very first message tells a new group to begin there, also with
/// [`Self::LastOffset`] or [`Self::Timestamp`]: it takes the group for one that must not miss anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ConsumeFrom {
    /// Behind the last message: only what comes from now on.
    #[default]
    LastOffset,
    /// With the first message that is still there.
    FirstOffset,
    /// With the first message that was stored at or after this time, in ms since 1970 by the broker's clock.
    Timestamp(i64),
}

/// Which question gives the offset to begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    At(i64),
    End,
    Time(i64),
}

impl ConsumeFrom {
    /// Java's name of it, for heartbeats.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::LastOffset => "CONSUME_FROM_LAST_OFFSET",
            Self::FirstOffset => "CONSUME_FROM_FIRST_OFFSET",
            Self::Timestamp(_) => "CONSUME_FROM_TIMESTAMP",
        }
    }

    /// `committed`: what the offset store has, `None` if nothing. `retry`: a `%RETRY%` topic, of which nothing may be
    /// missed: all that is there failed before.
    pub(crate) fn start(self, committed: Option<i64>, retry: bool) -> Start {
        match (committed, self, retry) {
            (Some(offset), ..) => Start::At(offset.max(0)),
            (None, Self::LastOffset, true) | (None, Self::FirstOffset, _) => Start::At(0),
            // COMPAT(java): with a time, Java begins a retry topic at its end. A message that failed and came back before
            // the group asked for its offset would be lost, so we begin at its start.
            (None, Self::Timestamp(_), true) => Start::At(0),
            (None, Self::LastOffset, false) => Start::End,
            (None, Self::Timestamp(ms), false) => Start::Time(ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_goes_on_where_it_was_and_else_begins_where_it_wants() {
        for from in [ConsumeFrom::LastOffset, ConsumeFrom::FirstOffset, ConsumeFrom::Timestamp(5)] {
            assert_eq!(from.start(Some(12), false), Start::At(12));
            assert_eq!(from.start(Some(0), true), Start::At(0));
            assert_eq!(from.start(None, true), Start::At(0), "nothing of a retry topic is missed");
        }
        assert_eq!(ConsumeFrom::LastOffset.start(None, false), Start::End);
        assert_eq!(ConsumeFrom::FirstOffset.start(None, false), Start::At(0));
        assert_eq!(ConsumeFrom::Timestamp(5).start(None, false), Start::Time(5));
    }
}
