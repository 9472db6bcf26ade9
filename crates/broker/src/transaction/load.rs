// SPDX-License-Identifier: Apache-2.0
//! The start: which half messages still wait.
//!
//! The ops are read first, from the committed offset on, into one bit for each half from its committed offset on; then
//! the halves, and of those without an op their records. Offsets that point before what the log has are corrected, as a
//! group that never committed begins with what there is.

use super::{
    GROUP, Shared,
    pending::Half,
    rewrite::{self, QUEUE},
};
use crate::{groups::now_ms, persist::LoadError};
use oxmq_record::{RecordView, sys_flag};
use oxmq_store::{Access, Queue, ReadError, Unit};
use oxmq_types::{OP_HALF_TOPIC, QueueOffset};
use std::{collections::HashSet, fmt};
use tracing::{info, warn};

/// Units that are read together.
const UNITS: usize = 1_024;

pub(super) fn failed(topic: &str, error: &dyn fmt::Display) -> LoadError {
    LoadError { path: format!("consumequeue/{topic}/{QUEUE}").into(), reason: error.to_string() }
}

/// Which halves are done with.
struct Ended {
    from: u64,
    bits: Vec<u64>,
    /// Those before `from`: Java's halves that were stored anew name where they stood first.
    earlier: HashSet<u64>,
}

impl Ended {
    fn insert(&mut self, offset: u64) {
        match offset.checked_sub(self.from) {
            None => drop(self.earlier.insert(offset)),
            // What an op says beyond the end is nobody's.
            Some(at) => {
                if let Some(word) = self.bits.get_mut((at / 64) as usize) {
                    *word |= 1 << (at % 64);
                }
            }
        }
    }

    fn contains(&self, offset: u64) -> bool {
        match offset.checked_sub(self.from) {
            None => self.earlier.contains(&offset),
            Some(at) => self.bits.get((at / 64) as usize).is_some_and(|word| word & (1 << (at % 64)) != 0),
        }
    }
}

impl Shared {
    /// Fills the table.
    pub(super) fn load(&self) -> Result<(), LoadError> {
        let from = |queue: &Queue| {
            let committed = self.offsets.get(GROUP, queue.topic(), QUEUE).unwrap_or_default();
            committed.clamp(queue.min_offset(), queue.max_offset()).0
        };
        let (half_from, op_from) = (from(&self.halves), from(&self.ops));
        let count = self.halves.max_offset().0 - half_from;
        let words = usize::try_from(count.div_ceil(64)).unwrap_or(0);
        let mut ended = Ended { from: half_from, bits: vec![0; words], earlier: HashSet::new() };
        self.each(&self.ops, op_from, |_, op| {
            rewrite::offsets_of_op(&op).for_each(|offset| ended.insert(offset));
        })?;
        let mut found = Vec::new();
        self.each_unit(&self.halves, half_from, |offset, unit| {
            if !ended.contains(offset) {
                found.push((offset, unit));
            }
        })?;
        // A crash that tore the log between a committed message and its op left the message as the last record.
        let last = self.store.last_record();
        let last = last.as_ref().and_then(|record| RecordView::parse(record).ok());
        let torn = last.filter(|last| last.sys_flag() & sys_flag::TRANSACTION_TYPE == sys_flag::COMMIT);
        let mut pending = self.pending();
        for (offset, unit) in found {
            let record = match self.store.record(unit.physical, Access::Disk) {
                Ok(record) => record,
                Err(ReadError::Gone | ReadError::Damaged) => {
                    warn!(offset, physical = unit.physical.0, "the log has lost a half message");
                    continue;
                }
                Err(error) => return Err(failed(self.halves.topic(), &error)),
            };
            let Ok(half) = RecordView::parse(&record) else { continue };
            let times = (half.born_timestamp_ms(), half.store_timestamp_ms());
            let facts = rewrite::facts(half.properties(), times, self.rules.get().timeout_ms);
            let first = facts.first.unwrap_or(offset);
            if facts.ends_by_first && ended.contains(first) {
                continue;
            }
            if torn.as_ref().is_some_and(|last| rewrite::is_committed_of(last, &half)) {
                self.store_lost_op(offset)?;
                continue;
            }
            // Stored anew, and the op that says so is not there: Java writes none, and a crash may have taken ours.
            if let Some(old) = pending.find(&facts.group, first) {
                self.store_lost_op(old.offset)?;
                pending.ended(&facts.group, &old);
            }
            let waiting = Half {
                offset,
                first,
                physical: unit.physical.0,
                size: unit.size,
                op_offset: op_from,
                stored_ms: half.store_timestamp_ms(),
                due_ms: facts.due_ms,
                // Whoever sent those checks: before it is discarded, it is asked for once more.
                checks: facts.checks.min(self.rules.get().checks_max.max(1) - 1),
                key: facts.key,
            };
            pending.seen(&facts.group, waiting);
        }
        if pending.len() > 0 {
            info!(half_messages = pending.len(), "half messages wait for the end of their transactions");
        }
        Ok(())
    }

    fn store_lost_op(&self, offset: u64) -> Result<(), LoadError> {
        info!(offset, "the op of a half message that is done with was lost, it is stored again");
        let body = offset.to_string();
        let op = rewrite::op(&body, self.rules.get().store_host, now_ms());
        self.puts.put_as_is(&op).map(drop).map_err(|error| failed(OP_HALF_TOPIC, &error))
    }

    /// Reads the units of `queue` from `from` on.
    fn each_unit(
        &self,
        queue: &Queue,
        mut from: u64,
        mut visit: impl FnMut(u64, Unit),
    ) -> Result<(), LoadError> {
        let mut units = Vec::with_capacity(UNITS);
        loop {
            units.clear();
            queue
                .read_units(QueueOffset(from), UNITS, &mut units)
                .map_err(|error| failed(queue.topic(), &error))?;
            if units.is_empty() {
                return Ok(());
            }
            for unit in units.drain(..) {
                if !unit.is_filler() {
                    visit(from, unit);
                }
                from += 1;
            }
        }
    }

    /// Reads the records of `queue` from `from` on, as far as the log has them.
    fn each(
        &self,
        queue: &Queue,
        from: u64,
        mut visit: impl FnMut(u64, RecordView<'_>),
    ) -> Result<(), LoadError> {
        let mut unreadable = None;
        self.each_unit(queue, from, |offset, unit| match self.store.read_unit(&unit) {
            Ok(record) => {
                if let Ok(view) = RecordView::parse(&record) {
                    visit(offset, view);
                }
            }
            Err(ReadError::Gone | ReadError::Damaged) => {}
            Err(error) => unreadable = Some(error),
        })?;
        unreadable.map_or(Ok(()), |error| Err(failed(queue.topic(), &error)))
    }
}
