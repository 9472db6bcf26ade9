// SPDX-License-Identifier: Apache-2.0
//! The position of one group in one queue: who may move it, and where to. Nothing here knows a clock or a lock.
//!
//! A client commits one-way, from its memory, every few seconds and once more when it gives a queue up. Such a commit
//! can be late (a client that was cut off for an hour, the old owner of a queue) or wrong (a client that another
//! broker sent to the queue's beginning). So commits of push clients move a position forward only. Backward it goes
//! - by a reset: a tool asks the broker, which tells the next puller where to go on;
//! - by a tool that commits itself, as `mqadmin` does for groups that are offline;
//! - for groups of pull clients, whose applications seek;
//! - as far as the queue itself has lost messages that were consumed.
//!
//! A reset is *ordered*; *told* to a puller, who gets its offset as that of an illegal pull would be corrected; and
//! *followed*, once a pull or a commit comes from exactly there. Until then no commit counts: what clients have in
//! memory is older than the reset. For a while after that commits count as they come, down to where the reset went:
//! the old owner of a queue may still write what it had in memory over what the new one has consumed since.
//!
//! Java 5: `ConsumerOffsetManager`, where every commit counts, and a reset ends with the first answer to a pull.

use std::time::{Duration, Instant};

/// How long after a reset commits may still come from before it: a client that gives up a queue does so within the
/// 20 s between two rebalances, and 4.9 and Go clients wait 10 s before they follow a reset.
pub(crate) const SETTLING: Duration = Duration::from_secs(60);

/// Who commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Committer {
    /// A client whose position only its consumption moves.
    Push,
    /// A client whose application moves its position as it likes.
    Pull,
    /// A tool: no member of the group, and it wants an answer.
    Tool,
}

/// What became of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It counts.
    Taken,
    /// It does not: a reset to this offset is under way.
    ResetPending(u64),
    /// It does not: the group has come to this offset already. True if the last commit did not count, either, as a
    /// client repeats its commits.
    Backward(u64, bool),
    /// It does not: the queue ends at this offset.
    BeyondEnd(u64),
}

/// A commit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Commit {
    /// The next message to consume.
    pub(crate) next: u64,
    /// The queue's end, the offset of the next message to come.
    pub(crate) end: u64,
    pub(crate) by: Committer,
    pub(crate) now: Instant,
}

/// Where a group is in a queue.
#[derive(Debug, Clone, Default)]
pub(crate) struct Position {
    next: u64,
    /// The last commit would have moved it backward.
    held: bool,
    reset: Option<Reset>,
}

#[derive(Debug, Clone, Copy)]
struct Reset {
    to: u64,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Ordered,
    /// To the pull of this connection.
    Told(u64),
    Followed {
        settled: Instant,
    },
}

impl Position {
    pub(crate) fn at(next: u64) -> Self {
        Self { next, ..Self::default() }
    }

    /// The next message to consume.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// True while a reset waits to be followed.
    pub(crate) fn is_resetting(&self) -> bool {
        self.reset.is_some_and(|reset| !matches!(reset.stage, Stage::Followed { .. }))
    }

    /// Moves the position, if the commit counts.
    pub(crate) fn commit(&mut self, commit: &Commit) -> Verdict {
        let Commit { next, end, by, now } = *commit;
        if next > end {
            return Verdict::BeyondEnd(end);
        }
        match self.reset {
            _ if by == Committer::Tool => self.reset = None,
            Some(Reset { to, stage: Stage::Followed { settled } }) if now < settled && next >= to => {}
            Some(Reset { to, stage: Stage::Ordered | Stage::Told(_) }) if next == to => self.follow(now),
            Some(Reset { to, stage: Stage::Ordered | Stage::Told(_) }) => return Verdict::ResetPending(to),
            // A position beyond the end is none: what it counted is lost.
            _ if by == Committer::Push && next < self.next.min(end) => {
                return Verdict::Backward(self.next, std::mem::replace(&mut self.held, true));
            }
            _ => {}
        }
        self.next = next;
        self.held = false;
        Verdict::Taken
    }

    /// Orders a reset.
    pub(crate) fn reset(&mut self, to: u64) {
        *self = Self { next: to, held: false, reset: Some(Reset { to, stage: Stage::Ordered }) };
    }

    /// A pull of the connection `peer` from `from` on: gives where it is to go on instead, if there is a reset that it
    /// has not been told of.
    pub(crate) fn pulled(&mut self, peer: u64, from: i64, now: Instant) -> Option<u64> {
        let Reset { to, stage } = self.reset.as_mut()?;
        let there = u64::try_from(from) == Ok(*to);
        match *stage {
            Stage::Followed { .. } => None,
            // Whoever was told and pulls again has read the answer; an application that knows better is not told
            // for ever.
            Stage::Told(told) if told == peer => {
                self.follow(now);
                None
            }
            _ if there => {
                self.follow(now);
                None
            }
            _ => {
                *stage = Stage::Told(peer);
                Some(*to)
            }
        }
    }

    fn follow(&mut self, now: Instant) {
        if let Some(reset) = &mut self.reset {
            reset.stage = Stage::Followed { settled: now + SETTLING };
        }
    }

    /// Cuts the position to the queue's end; gives what it was, if it was beyond.
    pub(crate) fn cut(&mut self, end: u64) -> Option<u64> {
        (self.next > end).then(|| std::mem::replace(&mut self.next, end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PUSH: Committer = Committer::Push;

    fn commit(position: &mut Position, next: u64, by: Committer, now: Instant) -> Verdict {
        position.commit(&Commit { next, end: 100, by, now })
    }

    #[test]
    fn only_pull_clients_and_tools_move_back() {
        let now = Instant::now();
        let mut position = Position::at(50);
        for (by, next, verdict, at) in [
            (PUSH, 60, Verdict::Taken, 60),
            (PUSH, 60, Verdict::Taken, 60),
            (PUSH, 59, Verdict::Backward(60, false), 60),
            (PUSH, 58, Verdict::Backward(60, true), 60),
            (PUSH, 101, Verdict::BeyondEnd(100), 60),
            (Committer::Tool, 101, Verdict::BeyondEnd(100), 60),
            (Committer::Pull, 40, Verdict::Taken, 40),
            (Committer::Tool, 10, Verdict::Taken, 10),
            (PUSH, 9, Verdict::Backward(10, false), 10),
        ] {
            assert_eq!(
                (commit(&mut position, next, by, now), position.next()),
                (verdict, at),
                "{by:?} {next}"
            );
        }
    }

    #[test]
    fn what_the_queue_has_lost_is_given_back() {
        let mut position = Position::at(500);
        assert_eq!(commit(&mut position, 99, PUSH, Instant::now()), Verdict::Backward(500, false));
        // The broker corrects a pull beyond the end to the end, and its client commits that.
        assert_eq!(commit(&mut position, 100, PUSH, Instant::now()), Verdict::Taken);
        assert_eq!(position.next(), 100);
        let mut position = Position::at(500);
        assert_eq!((position.cut(100), position.cut(100), position.next()), (Some(500), None, 100));
    }

    /// As a Java client of 5.x does it: told by its pull, it commits the offset and pulls from there.
    #[test]
    fn a_reset_is_told_and_followed() {
        let (now, a, b) = (Instant::now(), 1, 2);
        let mut position = Position::at(50);
        position.reset(20);
        assert_eq!((position.next(), position.is_resetting()), (20, true));
        assert_eq!(commit(&mut position, 51, PUSH, now), Verdict::ResetPending(20), "from before the reset");
        assert_eq!(position.pulled(a, 52, now), Some(20));
        assert_eq!(
            commit(&mut position, 52, PUSH, now),
            Verdict::ResetPending(20),
            "it has not read the answer"
        );
        assert_eq!(position.pulled(b, 52, now), Some(20), "another that thinks the queue is its own");
        assert_eq!(commit(&mut position, 20, PUSH, now), Verdict::Taken);
        assert!(!position.is_resetting());
        assert_eq!(position.pulled(a, 20, now), None);
        assert_eq!(commit(&mut position, 25, PUSH, now), Verdict::Taken);
        // The old owner gives the queue up, and the new one goes on.
        assert_eq!(commit(&mut position, 53, PUSH, now), Verdict::Taken);
        assert_eq!(commit(&mut position, 27, PUSH, now), Verdict::Taken);
        assert_eq!(commit(&mut position, 19, PUSH, now), Verdict::Backward(27, false));
        let later = now + SETTLING;
        assert_eq!(commit(&mut position, 26, PUSH, later), Verdict::Backward(27, true));
        assert_eq!(commit(&mut position, 28, PUSH, later), Verdict::Taken);
    }

    #[test]
    fn who_starts_where_the_reset_went_is_not_disturbed() {
        let now = Instant::now();
        let mut position = Position::at(50);
        position.reset(20);
        assert_eq!(position.pulled(1, 20, now), None);
        assert_eq!(commit(&mut position, 30, PUSH, now), Verdict::Taken);
        assert_eq!(position.pulled(1, 30, now), None);
    }

    #[test]
    fn who_knows_better_is_told_once() {
        let now = Instant::now();
        let mut position = Position::at(50);
        position.reset(20);
        assert_eq!(position.pulled(1, -1, now), Some(20));
        assert_eq!(position.pulled(1, 50, now), None);
        assert_eq!(commit(&mut position, 60, Committer::Pull, now), Verdict::Taken);
    }

    #[derive(Debug, Clone)]
    enum Event {
        Commit(u64, Committer),
        Reset(u64),
        Pull(u64, u64),
        Pass(u64),
        Cut(u64),
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let by = prop_oneof![4 => Just(PUSH), 1 => Just(Committer::Pull), 1 => Just(Committer::Tool)];
        let event = prop_oneof![
            5 => (0..12u64, by).prop_map(|(next, by)| Event::Commit(next, by)),
            1 => (0..10u64).prop_map(Event::Reset),
            3 => (0..3u64, 0..12u64).prop_map(|(peer, from)| Event::Pull(peer, from)),
            1 => (0..80u64).prop_map(Event::Pass),
            1 => (5..10u64).prop_map(Event::Cut),
        ];
        prop::collection::vec(event, 1..60)
    }

    proptest! {
        /// The model: what may lower a position, what must keep it, and who must be told, said without stages.
        #[test]
        fn as_the_model(events in events()) {
            let start = Instant::now();
            let mut now = start;
            let mut position = Position::at(5);
            let end = 10;
            // The reset that nobody followed yet, those who were told of it last; the last one followed, until when.
            let (mut open, mut told, mut free) = (None, None, None::<(u64, Instant)>);
            let mut held = false;
            for event in events {
                let before = position.next();
                match event {
                    Event::Commit(next, by) => {
                        let verdict = commit_to(&mut position, next, end, by, now);
                        let settling = free.is_some_and(|(to, until)| now < until && next >= to);
                        let expected = if next > end {
                            Verdict::BeyondEnd(end)
                        } else if let (Some(to), true) = (open, by != Committer::Tool && open != Some(next)) {
                            Verdict::ResetPending(to)
                        } else if by == PUSH && next < before && open.is_none() && !settling {
                            Verdict::Backward(before, held)
                        } else {
                            Verdict::Taken
                        };
                        prop_assert_eq!(verdict, expected);
                        held = matches!(verdict, Verdict::Backward(..)) || (held && verdict != Verdict::Taken);
                        prop_assert_eq!(position.next(), if verdict == Verdict::Taken { next } else { before });
                        if verdict == Verdict::Taken && by == Committer::Tool {
                            (open, free) = (None, None);
                        } else if verdict == Verdict::Taken && open.take().is_some() {
                            free = Some((next, now + SETTLING));
                        }
                    }
                    Event::Reset(to) => {
                        position.reset(to);
                        (open, told, free, held) = (Some(to), None, None, false);
                        prop_assert_eq!(position.next(), to);
                    }
                    Event::Pull(peer, from) => {
                        let answer = position.pulled(peer, from.cast_signed(), now);
                        let expected = open.filter(|to| *to != from && told != Some(peer));
                        prop_assert_eq!(answer, expected);
                        if answer.is_some() {
                            told = Some(peer);
                        } else if let Some(to) = open.take() {
                            free = Some((to, now + SETTLING));
                        }
                        prop_assert_eq!(position.next(), before, "a pull moves nothing");
                    }
                    Event::Pass(seconds) => now += Duration::from_secs(seconds),
                    Event::Cut(end) => {
                        prop_assert_eq!(position.cut(end), (before > end).then_some(before));
                        prop_assert_eq!(position.next(), before.min(end));
                    }
                }
                prop_assert_eq!(position.is_resetting(), open.is_some());
            }
        }
    }

    fn commit_to(position: &mut Position, next: u64, end: u64, by: Committer, now: Instant) -> Verdict {
        position.commit(&Commit { next, end, by, now })
    }
}
