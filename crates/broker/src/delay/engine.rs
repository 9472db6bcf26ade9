// SPDX-License-Identifier: Apache-2.0
//! The one timer behind levels and times: it merges what waits by the time at which it is due, and delivers it.
//!
//! The queue of a level is in the order of its times by nature, so an offset says how far it is delivered. Messages
//! that wait for a time stand in one queue in the order of their arrival; [`Pending`] sorts them.
//!
//! Nothing is passed over because its delivery failed: if the store takes nothing, all wait, and the tries become rarer;
//! if one message alone is refused, it is set aside and tried again, and the others go on. What can never be delivered,
//! because its record is gone or does not say where to, is logged and counted.
//!
//! Time and everything outside come through [`World`], so that tests control them.

use super::{DelayRules, marks::Key, pending::Pending, rewrite};
use crate::refusal::Refusal;
use bytes::Bytes;
use oxmq_record::{Draft, RecordView};
use oxmq_store::Unit;
use oxmq_types::is_send_forbidden;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    io,
};
use tracing::{error, info, warn};

/// A queue of messages that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Line {
    /// Of the level, from 1 on.
    Level(u32),
    /// Of the timer.
    Timer,
}

/// What the engine needs of the broker.
pub(crate) trait World {
    /// Ms since 1970; may go back.
    fn now_ms(&self) -> i64;
    /// The first offset that a queue still has, and that of its next message.
    fn range(&self, line: Line) -> (u64, u64);
    /// Appends to `out` up to `max` units from the offset `from` on; before an error, those that could be read.
    fn units(&self, line: Line, from: u64, max: usize, out: &mut Vec<Unit>) -> Result<(), String>;
    /// A record. `None` if the log has lost it; an error if it cannot be read now.
    fn record(&self, unit: &Unit) -> Result<Option<Bytes>, String>;
    /// Stores a message whose time has come.
    fn put(&self, draft: &Draft<'_>) -> Result<(), Refusal>;
}

/// Messages delivered in one step, and units read from the timer's queue.
const DELIVERED_PER_STEP: usize = 512;
const READ_PER_STEP: usize = 8_192;
/// Units of a level that are read at once.
const UNITS_AHEAD: usize = 256;
/// Messages that can be set aside; more, and all wait.
const ASIDE_MAX: usize = 1_000;
/// How long a failed delivery waits for its next try, doubled each time.
const RETRY_MS: i64 = 100;
const RETRY_MS_MAX: i64 = 5_000;

/// When the engine wants to be called again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// There is more to do.
    Now,
    /// Ms since 1970, or when a message arrives that is due before.
    At(i64),
    /// When a message arrives.
    Idle,
}

#[derive(Debug)]
struct Level {
    number: u32,
    /// The offset of the next message to deliver.
    next: u64,
    /// Units from there on.
    ahead: VecDeque<Unit>,
    /// Reading them failed the last time.
    stuck: bool,
}

/// A message whose delivery alone was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Aside {
    pub(crate) line: Line,
    pub(crate) offset: u64,
}

/// What became of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// It is done with.
    Done,
    /// The store takes it not, or cannot read it.
    SetAside,
    /// The store takes nothing.
    Blocked,
}

/// Since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    pub(crate) delivered: u64,
    pub(crate) recalled: u64,
    /// Could not be delivered for ever: see the log.
    pub(crate) lost: u64,
    /// Deliveries that failed and are tried again.
    pub(crate) failed: u64,
}

#[derive(Debug)]
pub(crate) struct Engine {
    rules: DelayRules,
    levels: Vec<Level>,
    pub(crate) pending: Pending,
    /// Recalls whose slot has begun: the offset of the recall, and until when messages of that slot may come.
    recalls: HashMap<Vec<u8>, (u64, i64)>,
    aside: Vec<Aside>,
    aside_retry_at_ms: i64,
    aside_wait_ms: i64,
    /// When to try again, if the store takes nothing; how long to wait the next time.
    blocked_until_ms: Option<i64>,
    blocked_wait_ms: i64,
    /// Reading the timer's queue failed the last time.
    stuck: bool,
    pub(crate) counts: Counts,
    /// Something changed that should be saved.
    pub(crate) changed: bool,
    units: Vec<Unit>,
}

impl Engine {
    /// `next`: by level, the next message to deliver. `recalls`, `aside`: as [`Self::recalls`], [`Self::aside`] said.
    pub(crate) fn new(
        rules: DelayRules,
        next: &BTreeMap<u32, u64>,
        pending: Pending,
        (recalls, aside): (&[u64], Vec<Aside>),
        world: &impl World,
    ) -> Self {
        let levels = next.iter().map(|(&number, &next)| {
            let (min, max) = world.range(Line::Level(number));
            let corrected = next.clamp(min, max);
            if corrected != next {
                error!(level = number, from = next, to = corrected, "offset of a delay level corrected");
            }
            Level { number, next: corrected, ahead: VecDeque::new(), stuck: false }
        });
        let mut engine = Self {
            levels: levels.collect(),
            rules,
            pending,
            recalls: HashMap::new(),
            aside,
            aside_retry_at_ms: 0,
            aside_wait_ms: RETRY_MS,
            blocked_until_ms: None,
            blocked_wait_ms: RETRY_MS,
            stuck: false,
            counts: Counts::default(),
            changed: true,
            units: Vec::new(),
        };
        for offset in recalls {
            let Ok(Some(record)) = look_up(Line::Timer, *offset, world) else { continue };
            let Ok(view) = RecordView::parse(&record) else { continue };
            if let Some(rewrite::Timed { due_ms, recalls: Some(key) }) = rewrite::timed(&engine.rules, &view)
            {
                engine.remember_recall(key, *offset, due_ms.max(view.store_timestamp_ms()));
            }
        }
        engine
    }

    pub(crate) fn rules(&self) -> &DelayRules {
        &self.rules
    }

    /// By level, the next message to deliver.
    pub(crate) fn progress(&self) -> BTreeMap<u32, u64> {
        self.levels.iter().map(|level| (level.number, level.next)).collect()
    }

    /// Offsets of recalls that may still meet their message.
    pub(crate) fn recalls(&mut self) -> Vec<u64> {
        let past_ms = self.pending.marks().least().due_ms;
        self.recalls.retain(|_, (_, until_ms)| *until_ms >= past_ms);
        self.recalls.values().map(|(offset, _)| *offset).collect()
    }

    /// Messages that are tried again though others behind them are delivered.
    pub(crate) fn aside(&self) -> &[Aside] {
        &self.aside
    }

    /// True if a queue has messages that were not looked at, and could be.
    pub(crate) fn has_news(&self, world: &impl World) -> bool {
        let unread = |line, next| world.range(line).1 > next;
        (!self.stuck && unread(Line::Timer, self.pending.next()))
            || self.levels.iter().any(|level| {
                level.ahead.is_empty() && !level.stuck && unread(Line::Level(level.number), level.next)
            })
    }

    /// Does a bounded amount of what is to be done.
    pub(crate) fn step(&mut self, world: &impl World) -> Next {
        // Before the queues are read: what arrives after that is stored later, so it is not due before.
        let now_ms = world.now_ms();
        let read_all = self.read_timer_queue(world);
        self.read_levels(world);
        if let Some(until) = self
            .blocked_until_ms
            .filter(|until| (now_ms..=now_ms + RETRY_MS_MAX).contains(until) && *until > now_ms)
        {
            return Next::At(until);
        }
        self.retry_aside(world, now_ms);
        for _ in 0..DELIVERED_PER_STEP {
            let first = self.first(now_ms, read_all && self.is_whole(), world);
            let Some((_, level)) = first.filter(|(due_ms, _)| *due_ms <= now_ms) else {
                let due_ms = first.map(|(due_ms, _)| due_ms);
                return if read_all { self.rest(due_ms, now_ms) } else { Next::Now };
            };
            let (line, offset, unit) = match level {
                Some(at) => {
                    let level = &self.levels[at];
                    (Line::Level(level.number), level.next, level.ahead.front().copied())
                }
                None => (Line::Timer, self.pending.first().map_or(0, |first| first.offset), None),
            };
            match self.deliver(line, offset, unit, world, now_ms) {
                Outcome::Done => {}
                Outcome::SetAside if self.aside.len() < ASIDE_MAX => {
                    if self.aside.is_empty() {
                        // Else those that wait would never be tried while more of them come.
                        self.aside_retry_at_ms = now_ms + self.aside_wait_ms;
                    }
                    self.aside.push(Aside { line, offset });
                }
                Outcome::SetAside | Outcome::Blocked => {
                    let until = now_ms + self.blocked_wait_ms;
                    self.blocked_until_ms = Some(until);
                    self.blocked_wait_ms = (self.blocked_wait_ms * 2).min(RETRY_MS_MAX);
                    return Next::At(until);
                }
            }
            if self.blocked_until_ms.take().is_some() {
                self.blocked_wait_ms = RETRY_MS;
                info!("delayed messages are delivered again");
            }
            self.advance(level, world);
        }
        Next::Now
    }

    /// The time of the message that is due first, and the place of its level in the list; `None` for the timer.
    fn first(&self, now_ms: i64, with_timer: bool, world: &impl World) -> Option<(i64, Option<usize>)> {
        let levels = self.levels.iter().enumerate().filter_map(|(at, level)| {
            let unit = level.ahead.front()?;
            let due_ms = unit.tags_code.0;
            let shorter = self.rules.levels.delay_ms(level.number).filter(|delay| due_ms > now_ms + delay);
            let Some(delay_ms) = shorter else { return Some((due_ms, Some(at))) };
            // The level was made shorter, or the clock set back; Java takes both for the first, and delivers at once.
            let record = world.record(unit).ok().flatten();
            let stored_ms = record.and_then(|record| RecordView::store_timestamp_of(&record));
            Some((stored_ms.map_or(now_ms, |stored| due_ms.min(stored.saturating_add(delay_ms))), Some(at)))
        });
        let timer = self.pending.first().filter(|_| with_timer).map(|first| (first.due_ms, None));
        levels.chain(timer).min()
    }

    /// False while messages of the timer's queue are read again.
    ///
    /// INVARIANT: nothing of that queue is delivered then. Messages that are still missing may come before it, and the
    /// marks would call them delivered.
    fn is_whole(&self) -> bool {
        self.pending.next() >= self.pending.marks().known()
    }

    /// Until when there is nothing to do, if the next message is due at `due_ms`.
    fn rest(&self, due_ms: Option<i64>, now_ms: i64) -> Next {
        let stuck = self.stuck || !self.is_whole() || self.levels.iter().any(|level| level.stuck);
        let read_ms = stuck.then_some(now_ms + RETRY_MS);
        let aside_ms = (!self.aside.is_empty()).then_some(self.aside_retry_at_ms);
        [due_ms, read_ms, aside_ms].into_iter().flatten().min().map_or(Next::Idle, Next::At)
    }

    /// Moves past a message that is done with or set aside.
    fn advance(&mut self, level: Option<usize>, world: &impl World) {
        self.changed = true;
        match level {
            Some(at) => {
                let level = &mut self.levels[at];
                level.next += 1;
                level.ahead.pop_front();
                if level.ahead.is_empty() {
                    self.read_levels(world);
                }
            }
            None => {
                if let Err(error) = self.pending.deliver_first() {
                    self.begin_again(&error, world);
                }
            }
        }
    }

    fn begin_again(&mut self, error: &io::Error, world: &impl World) {
        error!(%error, "pending messages are read again from their queue");
        self.pending.read_again(world.range(Line::Timer).0);
    }

    /// Reads units of those levels of which none is in memory.
    fn read_levels(&mut self, world: &impl World) {
        for level in self.levels.iter_mut().filter(|level| level.ahead.is_empty()) {
            let line = Line::Level(level.number);
            let (min, _) = world.range(line);
            if level.next < min {
                error!(
                    level = level.number,
                    from = level.next,
                    to = min,
                    "delayed messages expired before they were delivered"
                );
                self.counts.lost += min - level.next;
                level.next = min;
                self.changed = true;
            }
            self.units.clear();
            let result = world.units(line, level.next, UNITS_AHEAD, &mut self.units);
            level.ahead.extend(self.units.drain(..));
            let was_stuck = std::mem::replace(&mut level.stuck, result.is_err());
            match result {
                Err(error) if !was_stuck => {
                    error!(
                        level = level.number,
                        error, "the queue of a level cannot be read on, tried again"
                    );
                }
                Ok(()) if was_stuck => info!(level = level.number, "the queue of a level is read again"),
                _ => {}
            }
        }
    }

    /// Reads on in the timer's queue. True if it was read to its end, or cannot be read further for now.
    fn read_timer_queue(&mut self, world: &impl World) -> bool {
        let (min, max) = world.range(Line::Timer);
        if self.pending.next() < min {
            self.expired(min);
        }
        let (mut left, mut units) = (READ_PER_STEP, std::mem::take(&mut self.units));
        let mut stuck = false;
        while left > 0 && self.pending.next() < max && !stuck {
            units.clear();
            if let Err(error) =
                world.units(Line::Timer, self.pending.next(), left.min(UNITS_AHEAD), &mut units)
            {
                self.stuck(&error);
                stuck = true;
            }
            if units.is_empty() {
                // Shortened meanwhile by the retention: the next step begins with another minimum.
                break;
            }
            left = left.saturating_sub(units.len());
            for unit in &units {
                if let Err(error) = self.meet(unit, world) {
                    self.stuck(&error);
                    stuck = true;
                    break;
                }
                self.changed = true;
            }
        }
        self.units = units;
        self.stuck &= stuck;
        stuck || self.pending.next() >= max
    }

    /// What the timer's queue had before `min` is gone, and was not read.
    fn expired(&mut self, min: u64) {
        let (next, known) = (self.pending.next(), self.pending.marks().known());
        if next < known {
            // They have been read before, but which of them were delivered cannot be told any more.
            warn!(from = next, to = min.min(known), "messages expired that may have waited for their time");
        }
        let from = next.max(known);
        if from < min {
            error!(from, to = min, "timed messages expired before they were delivered");
            self.counts.lost += min - from;
        }
        self.pending.pass_to(min);
        self.changed = true;
    }

    fn stuck(&mut self, why: &dyn std::fmt::Display) {
        if !std::mem::replace(&mut self.stuck, true) {
            error!(%why, "the timer's queue cannot be read on, tried again");
        }
    }

    /// Takes the message of one unit of the timer's queue.
    fn meet(&mut self, unit: &Unit, world: &impl World) -> io::Result<()> {
        let offset = self.pending.next();
        let record = if unit.is_filler() { Ok(None) } else { world.record(unit) };
        let record = record.map_err(io::Error::other)?;
        let view = record.as_ref().and_then(|record| RecordView::parse(record).ok());
        let Some((view, timed)) = view.and_then(|view| Some((view, rewrite::timed(&self.rules, &view)?)))
        else {
            self.counts.lost += 1;
            warn!(offset, physical = unit.physical.0, "no timed message where the timer's queue has one");
            self.pending.pass_to(offset + 1);
            return Ok(());
        };
        let due_ms = timed.due_ms.max(view.store_timestamp_ms());
        let pending = self.pending.take(Key { due_ms, offset })?;
        if let (false, Some(key)) = (pending, timed.recalls)
            && self.recall_ends_ms(due_ms) > self.pending.marks().least().due_ms
        {
            self.remember_recall(key, offset, due_ms);
        }
        Ok(())
    }

    /// Until when messages of the slot of a recall may come.
    fn recall_ends_ms(&self, due_ms: i64) -> i64 {
        due_ms.saturating_add(self.rules.timer_precision_ms.saturating_mul(2))
    }

    fn remember_recall(&mut self, key: &[u8], offset: u64, due_ms: i64) {
        self.recalls.insert(key.to_vec(), (offset, self.recall_ends_ms(due_ms)));
    }

    fn retry_aside(&mut self, world: &impl World, now_ms: i64) {
        // Also if the clock was set back.
        let due = now_ms >= self.aside_retry_at_ms || self.aside_retry_at_ms > now_ms + RETRY_MS_MAX;
        if self.aside.is_empty() || !due {
            return;
        }
        let before = self.aside.len();
        for aside in std::mem::take(&mut self.aside) {
            if self.deliver(aside.line, aside.offset, None, world, now_ms) != Outcome::Done {
                self.aside.push(aside);
            }
        }
        self.changed |= self.aside.len() < before;
        let longer = if self.aside.is_empty() { RETRY_MS } else { self.aside_wait_ms * 2 };
        self.aside_wait_ms = longer.min(RETRY_MS_MAX);
        self.aside_retry_at_ms = now_ms + self.aside_wait_ms;
    }

    /// Delivers the message at `offset`, whose time has come.
    fn deliver(
        &mut self,
        line: Line,
        offset: u64,
        unit: Option<Unit>,
        world: &impl World,
        now_ms: i64,
    ) -> Outcome {
        let record = match unit {
            Some(unit) if unit.is_filler() => return Outcome::Done,
            Some(unit) => world.record(&unit),
            None => look_up(line, offset, world),
        };
        let record = match record {
            Ok(Some(record)) => record,
            Ok(None) => return self.lost(line, offset, "its record is gone or damaged"),
            Err(error) => {
                self.failed(line, offset, &error);
                return Outcome::SetAside;
            }
        };
        let Ok(view) = RecordView::parse(&record) else {
            return self.lost(line, offset, "its record is damaged");
        };
        let properties = if line == Line::Timer {
            let Some(timed) = rewrite::timed(&self.rules, &view) else {
                return self.lost(line, offset, "it does not say when");
            };
            if let Some(key) = timed.recalls {
                self.remember_recall(key, offset, timed.due_ms.max(view.store_timestamp_ms()));
                return Outcome::Done;
            }
            if self.is_recalled(&view, offset, timed.due_ms) {
                self.counts.recalled += 1;
                return Outcome::Done;
            }
            rewrite::delivered(&view, now_ms)
        } else {
            view.properties().to_vec()
        };
        let Some((topic, queue_id)) = rewrite::target(&view) else {
            return self.lost(line, offset, "it does not say where to");
        };
        if is_send_forbidden(topic) {
            // Only a Java broker lets such in. In the timer's topic a message would come back for ever.
            return self.lost(line, offset, "it belongs to the system");
        }
        let put = world.put(&Draft {
            topic,
            queue_id,
            flag: view.flag(),
            sys_flag: view.sys_flag(),
            born_timestamp_ms: view.born_timestamp_ms(),
            born_host: view.born_host(),
            store_host: view.store_host(),
            reconsume_times: view.reconsume_times(),
            prepared_transaction_offset: 0,
            body: view.body(),
            properties: &properties,
        });
        match put {
            Ok(()) => {
                self.counts.delivered += 1;
                Outcome::Done
            }
            // There is no such queue, and never will be.
            Err(Refusal::Parameter(why)) => self.lost(line, offset, &why),
            Err(refusal) => {
                self.failed(line, offset, &refusal);
                match refusal {
                    Refusal::ServiceNotAvailable(_) => Outcome::Blocked,
                    _ => Outcome::SetAside,
                }
            }
        }
    }

    fn is_recalled(&self, view: &RecordView<'_>, offset: u64, due_ms: i64) -> bool {
        if self.recalls.is_empty() {
            return false;
        }
        let key = rewrite::recall_key(view.properties());
        // One that was sent after the recall is another message, though it may have the same unique key.
        let recall = key.and_then(|key| self.recalls.get(&key));
        recall.is_some_and(|(recall, until_ms)| offset < *recall && due_ms <= *until_ms)
    }

    fn failed(&mut self, line: Line, offset: u64, why: &dyn std::fmt::Display) {
        self.counts.failed += 1;
        // The first of a row of failures says it all.
        if self.blocked_until_ms.is_none() && !self.aside.contains(&Aside { line, offset }) {
            warn!(?line, offset, %why, "a delayed message could not be delivered, tried again until it is");
        }
    }

    fn lost(&mut self, line: Line, offset: u64, why: &str) -> Outcome {
        self.counts.lost += 1;
        error!(?line, offset, why, "a delayed message cannot be delivered");
        Outcome::Done
    }
}

/// The record at `offset`. `None` if the queue or the log has it no more.
fn look_up(line: Line, offset: u64, world: &impl World) -> Result<Option<Bytes>, String> {
    let mut units = Vec::with_capacity(1);
    world.units(line, offset, 1, &mut units)?;
    units.first().filter(|unit| !unit.is_filler()).map_or(Ok(None), |unit| world.record(unit))
}
