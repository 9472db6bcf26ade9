// SPDX-License-Identifier: Apache-2.0
//! What of the timer's queue has been delivered, in a few words.
//!
//! Messages are delivered in the order of their [`Key`]s, so one key says it all: everything up to it is delivered,
//! everything beyond is not. That a later message never sorts before that key is a matter of the clock, which may be
//! set back; then a further mark begins with that message, and the two become one when the clock has caught up.

use serde::{Deserialize, Serialize};

/// What a pending message is sorted by. A total order: no two have the same offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Key {
    /// When it is to be delivered, but not before it was stored, in ms since 1970.
    pub(crate) due_ms: i64,
    /// Where it stands in the timer's queue.
    pub(crate) offset: u64,
}

impl Key {
    /// Before every message.
    pub(crate) const FIRST: Self = Self { due_ms: i64::MIN, offset: 0 };

    /// After every message that is due at `due_ms`.
    pub(crate) fn end_of(due_ms: i64) -> Self {
        Self { due_ms, offset: u64::MAX }
    }
}

/// Of the messages from the offset `from` on, up to the next mark, those up to the key `upto` are delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    from: u64,
    upto: Key,
}

/// All marks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Marks {
    /// At least one; by `from`, the first of which is 0.
    marks: Vec<Mark>,
    /// The marks speak of messages before this offset only.
    known: u64,
}

impl Default for Marks {
    fn default() -> Self {
        Self::new(Key::FIRST, 0)
    }
}

impl Marks {
    /// Of the messages before the offset `known`, those up to `upto` are delivered.
    pub(crate) fn new(upto: Key, known: u64) -> Self {
        Self { marks: vec![Mark { from: 0, upto }], known }
    }

    /// False if a file holds what cannot be.
    pub(crate) fn is_sound(&self) -> bool {
        self.marks.first().is_some_and(|first| first.from == 0)
            && self.marks.is_sorted_by_key(|mark| mark.from)
    }

    /// The offset of the first message that nothing is known of.
    pub(crate) fn known(&self) -> u64 {
        self.known
    }

    /// Messages from `known` on were lost: others will have their offsets.
    pub(crate) fn truncate(&mut self, known: u64) {
        self.known = self.known.min(known);
        self.marks.retain(|mark| mark.from == 0 || mark.from < known);
    }

    /// The least that everything known is delivered up to.
    pub(crate) fn least(&self) -> Key {
        self.marks.iter().map(|mark| mark.upto).min().unwrap_or(Key::FIRST)
    }

    /// True if the message, which must be known, is delivered.
    pub(crate) fn is_delivered(&self, key: Key) -> bool {
        let after = self.marks.partition_point(|mark| mark.from <= key.offset);
        key <= self.marks[after.saturating_sub(1)].upto
    }

    /// Takes note of a message. True if it is still to be delivered.
    pub(crate) fn meet(&mut self, key: Key) -> bool {
        if key.offset < self.known {
            return !self.is_delivered(key);
        }
        self.known = key.offset + 1;
        if self.marks.last().is_none_or(|last| key <= last.upto) {
            self.marks.push(Mark { from: key.offset, upto: Key::FIRST });
        }
        true
    }

    /// Takes note that there is nothing to deliver before `known`.
    pub(crate) fn pass_to(&mut self, known: u64) {
        self.known = self.known.max(known);
    }

    /// The message with `key`, the least of all that are pending, is delivered.
    pub(crate) fn deliver(&mut self, key: Key) {
        // INVARIANT: what is pending is greater than `key` wherever it stands, so every mark may move up to it.
        for mark in &mut self.marks {
            mark.upto = mark.upto.max(key);
        }
        self.marks.dedup_by_key(|mark| mark.upto);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(due_ms: i64, offset: u64) -> Key {
        Key { due_ms, offset }
    }

    #[test]
    fn one_mark_as_long_as_the_clock_goes_forward() {
        let mut marks = Marks::default();
        assert!(marks.meet(key(100, 0)) && marks.meet(key(50, 1)));
        marks.deliver(key(50, 1));
        assert!(marks.is_delivered(key(50, 1)) && !marks.is_delivered(key(100, 0)));
        // Met again after a restart.
        assert!(!marks.meet(key(50, 1)) && marks.meet(key(100, 0)));
        assert!(marks.meet(key(60, 2)));
        assert_eq!(marks.marks.len(), 1);
        assert_eq!(marks.known(), 3);
    }

    #[test]
    fn a_clock_that_was_set_back_costs_a_mark_for_a_while() {
        let mut marks = Marks::new(key(100, 4), 5);
        assert!(marks.meet(key(92, 5)), "later than what the mark knows");
        assert!(marks.meet(key(95, 6)));
        marks.deliver(key(92, 5));
        assert!(marks.is_delivered(key(99, 3)) && marks.is_delivered(key(92, 5)));
        assert!(!marks.is_delivered(key(95, 6)));
        assert_eq!((marks.marks.len(), marks.least()), (2, key(92, 5)));
        marks.deliver(key(95, 6));
        assert!(marks.meet(key(120, 7)));
        marks.deliver(key(120, 7));
        assert_eq!(marks.marks, [Mark { from: 0, upto: key(120, 7) }]);
    }
}
