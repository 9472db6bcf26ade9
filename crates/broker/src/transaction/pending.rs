// SPDX-License-Identifier: Apache-2.0
//! The half messages that wait for the end of their transactions, and what is to be done about them when. Pure: events
//! in, actions out, time an argument; what the log holds is never looked at.
//!
//! A table of about 100 bytes for each half, by producer group and by place in the half queue. Time goes in rounds, one
//! each check interval. A round passes each half that was there when it began once, a few at a time, and says what to
//! do about it; halves of a group without a producer cost nothing.
//!
//! Invariants
//! - A half that was seen is in the table until it is ended or discarded: nothing else takes it out.
//! - Ops for a half and for all halves behind it stand at or behind its `op_offset`.
//! - A check counts when it was sent. A half is discarded only after [`Rules::checks_max`] of them, and an interval.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

/// Most checks of a group that wait for an answer. They wait in the inbox of a peer, which takes 4,096 commands, and
/// then in the client, whose queue takes 2,000.
const ASKED_MAX: usize = 256;
/// Most bytes of such checks.
const ASKED_MAX_BYTES: u64 = 4 << 20;
/// A group that has answered nothing for so long is asked on: nobody knows whether its checks were lost.
const SILENCE_MS: i64 = 1_000;
/// Most actions that are given out together.
const ACTIONS_MAX: usize = 64;
/// Most halves that are looked at together.
const LOOKED_AT_MAX: usize = 1_024;

/// When what is to be done about a half.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// `transactionCheckMax`: after so many checks without an end, the half is discarded.
    pub(crate) checks_max: u32,
    /// A half that was stored so long ago is stored anew, or the log may lose it.
    pub(crate) renew_after_ms: i64,
    /// A half that so many others follow is stored anew, or the next start reads them all. More, by four times the
    /// halves that wait, so that renewing does not cause renewing.
    pub(crate) renew_behind: u64,
}

/// A half message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Half {
    /// Where it stands in the half queue.
    pub(crate) offset: u64,
    /// Where it stood when its producer was told.
    pub(crate) first: u64,
    /// Where its record starts in the log.
    pub(crate) physical: u64,
    /// Bytes in its record.
    pub(crate) size: u32,
    /// The end of the op queue, taken before the half was stored.
    pub(crate) op_offset: u64,
    /// When it was stored, in ms since 1970.
    pub(crate) stored_ms: i64,
    /// From when on it is checked, in ms since 1970.
    pub(crate) due_ms: i64,
    /// Checks that were sent.
    pub(crate) checks: u32,
    /// The hash of its unique key.
    pub(crate) key: u64,
}

/// What is to be done about a half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Ask a producer; then [`Pending::sent`].
    Check(Half),
    /// Store it anew; then [`Pending::renewed`].
    Renew(Half),
    /// Both: store it anew and ask.
    RenewAndCheck(Half),
    /// Put it where such halves go; then [`Pending::ended`].
    Discard(Half),
}

/// What comes next in a round.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// This, for halves of this group; then ask again.
    Do(Arc<str>, Vec<Action>),
    /// The group has no producer, and halves that are due.
    Offline(Arc<str>, usize),
    /// An answer, or [`SILENCE_MS`].
    Wait,
    /// The next round.
    Done,
}

/// All half messages that wait.
#[derive(Debug)]
pub(crate) struct Pending {
    rules: Rules,
    groups: HashMap<Arc<str>, Group>,
    halves: usize,
    /// Groups that the round has not done with.
    round: VecDeque<Arc<str>>,
    /// Halves from here on belong to the next round.
    round_end: u64,
}

#[derive(Debug, Default)]
struct Group {
    /// By their place in the half queue.
    halves: BTreeMap<u64, Half>,
    /// From where producers know a half to be to where it is, for those that were stored anew.
    moved: HashMap<u64, u64>,
    /// Where the round goes on.
    cursor: u64,
    /// Halves whose last check was not answered, and the bytes of each. About [`ASKED_MAX`] of them: after a silence
    /// they are forgotten.
    asked: HashMap<u64, u32>,
    asked_bytes: u64,
    /// When the last check was sent or answered.
    heard_ms: i64,
}

impl Pending {
    pub(crate) fn new(rules: Rules) -> Self {
        Self { rules, groups: HashMap::new(), halves: 0, round: VecDeque::new(), round_end: 0 }
    }

    /// Halves that wait.
    pub(crate) fn len(&self) -> usize {
        self.halves
    }

    /// The half queue and the op queue must be read from here on at the next start. `None` if no half waits.
    pub(crate) fn lowest(&self) -> Option<(u64, u64)> {
        let firsts = self.groups.values().filter_map(|group| group.halves.first_key_value());
        firsts.map(|(offset, half)| (*offset, half.op_offset)).min()
    }

    /// Halves that stand below `physical` in the log.
    pub(crate) fn below(&self, physical: u64) -> u64 {
        // In the order of the half queue, which is that of the log.
        let below = |group: &Group| group.halves.values().take_while(|half| half.physical < physical).count();
        self.groups.values().map(below).sum::<usize>() as u64
    }

    /// A half of `group` was stored.
    pub(crate) fn seen(&mut self, group: &str, half: Half) {
        let group = match self.groups.get_mut(group) {
            Some(group) => group,
            None => self.groups.entry(group.into()).or_default(),
        };
        if half.first != half.offset {
            group.moved.insert(half.first, half.offset);
        }
        if group.halves.insert(half.offset, half).is_none() {
            self.halves += 1;
        }
    }

    /// The half of `group` that its producers know to be at `offset`, if it waits.
    pub(crate) fn find(&self, group: &str, offset: u64) -> Option<Half> {
        let group = self.groups.get(group)?;
        let offset = group.moved.get(&offset).unwrap_or(&offset);
        group.halves.get(offset).copied()
    }

    /// True if a half of `group` with that hash of its unique key waits. Looks at each.
    pub(crate) fn has_key(&self, group: &str, key: u64) -> bool {
        self.groups.get(group).is_some_and(|group| group.halves.values().any(|half| half.key == key))
    }

    /// The transaction of `half` has ended.
    pub(crate) fn ended(&mut self, name: &str, half: &Half) {
        let Some(group) = self.groups.get_mut(name) else { return };
        group.answered(half.offset);
        group.moved.remove(&half.first);
        if group.halves.remove(&half.offset).is_some() {
            self.halves -= 1;
        }
        if group.halves.is_empty() {
            self.groups.remove(name);
        }
    }

    /// A producer answered a check of the half at `offset`, whatever it said.
    pub(crate) fn answered(&mut self, group: &str, offset: u64, now_ms: i64) {
        if let Some(group) = self.groups.get_mut(group) {
            group.heard_ms = now_ms;
            group.answered(*group.moved.get(&offset).unwrap_or(&offset));
        }
    }

    /// A check of the half at `offset` went to a producer.
    pub(crate) fn sent(&mut self, group: &str, offset: u64, now_ms: i64) {
        let Some(group) = self.groups.get_mut(group) else { return };
        let Some(half) = group.halves.get_mut(&offset) else { return };
        half.checks += 1;
        if group.asked.insert(offset, half.size).is_none() {
            group.asked_bytes += u64::from(half.size);
        }
        group.heard_ms = now_ms;
    }

    /// `old` was stored anew as `new`.
    pub(crate) fn renewed(&mut self, group: &str, old: &Half, new: Half) {
        self.ended(group, old);
        self.seen(group, new);
    }

    /// Changes how often a half message is checked before it is discarded.
    pub(crate) fn set_checks_max(&mut self, checks_max: u32) {
        self.rules.checks_max = checks_max;
    }

    /// Begins a round with the halves before `end`, the end of the half queue.
    pub(crate) fn begin_round(&mut self, end: u64) {
        self.round_end = end;
        self.round = self.groups.keys().cloned().collect();
        self.groups.values_mut().for_each(|group| group.cursor = 0);
    }

    /// What comes next in this round. `online` says whether a group has a producer.
    pub(crate) fn next(&mut self, now_ms: i64, online: impl Fn(&str) -> bool) -> Next {
        let (end, halves) = (self.round_end, self.halves as u64);
        let rules = self.rules;
        let far = end.saturating_sub(rules.renew_behind.saturating_add(4 * halves));
        let old = |half: &Half| half.offset < far || half.stored_ms < now_ms - rules.renew_after_ms;
        for _ in 0..self.round.len() {
            let Some(name) = self.round.pop_front() else { break };
            let Some(group) = self.groups.get_mut(&name) else { continue };
            if group.is_busy(now_ms) {
                self.round.push_back(name);
                continue;
            }
            let online = online(&name);
            let (mut actions, mut looked_at, mut bytes) = (Vec::new(), 0, group.asked_bytes);
            let mut rest = None;
            for (offset, half) in group.halves.range(group.cursor..end) {
                let full = group.asked.len() + actions.len() >= ASKED_MAX || bytes >= ASKED_MAX_BYTES;
                if full || looked_at == LOOKED_AT_MAX || actions.len() == ACTIONS_MAX {
                    rest = Some(*offset);
                    break;
                }
                looked_at += 1;
                let due = half.due_ms <= now_ms;
                // Nobody can answer for a half without a group.
                let hopeless = name.is_empty() || (online && half.checks >= rules.checks_max);
                actions.push(match (old(half), due) {
                    (_, true) if hopeless => Action::Discard(*half),
                    (false, true) if online => Action::Check(*half),
                    (true, true) if online => Action::RenewAndCheck(*half),
                    (true, _) => Action::Renew(*half),
                    // Those behind it are younger.
                    (false, _) if !online => break,
                    (false, _) => continue,
                });
                bytes += u64::from(half.size);
            }
            match rest {
                Some(offset) => {
                    group.cursor = offset;
                    self.round.push_back(name.clone());
                }
                None if !online && actions.is_empty() && !name.is_empty() => {
                    let due = group.halves.first_key_value().is_some_and(|(_, half)| half.due_ms <= now_ms);
                    if due {
                        return Next::Offline(name, group.halves.len());
                    }
                    continue;
                }
                // What is renewed for a group that is offline does not speak for it; the next look does.
                None if !online && !actions.is_empty() => {
                    group.cursor = end;
                    self.round.push_back(name.clone());
                }
                None => {}
            }
            return Next::Do(name, actions);
        }
        if self.round.is_empty() { Next::Done } else { Next::Wait }
    }
}

impl Group {
    fn answered(&mut self, offset: u64) {
        if let Some(size) = self.asked.remove(&offset) {
            self.asked_bytes -= u64::from(size);
        }
    }

    /// True while it has enough to answer.
    fn is_busy(&mut self, now_ms: i64) -> bool {
        if now_ms - self.heard_ms >= SILENCE_MS {
            self.asked.clear();
            self.asked_bytes = 0;
        }
        self.asked.len() >= ASKED_MAX || self.asked_bytes >= ASKED_MAX_BYTES
    }
}
