// SPDX-License-Identifier: Apache-2.0
//! From records that are found in the log to units of queues: for recovery, and for queues that are built again.
//!
//! A queue of a topic that was deleted and made again begins again at 0. Its older records are still in the log; which
//! they are the list of queues knows (`Registry::was_deleted`). Of what was deleted before there was a list, under a
//! Java broker, the records themselves tell: one with offset 0 comes after others, and one with offset 1 after that. A
//! single one that goes back may be a flipped bit, as no checksum covers the offset; unless it is the queue's last.

use std::{collections::BTreeMap, sync::Arc};

use oxmq_record::RecordView;
use oxmq_types::QueueOffset;

use crate::{
    error::QueueFileError,
    queue::{Added, Dispatched, Queue},
    recovery::TagsRule,
    unit::Unit,
};

/// Units that are kept in memory before they are written.
const UNITS_IN_MEMORY_MAX: usize = 256 * 1024;

/// Adds records to queues.
pub(crate) struct Dispatch<'a> {
    tags_rule: &'a TagsRule,
    /// Below this physical offset, topics may have been deleted without our knowing.
    since: u64,
    /// Queues with units that are not in files yet.
    dirty: Vec<Arc<Queue>>,
    waiting: usize,
    /// Records with offset 0 behind others, by topic and queue.
    again: BTreeMap<(Arc<str>, u32), (Arc<Queue>, Unit)>,
}

impl<'a> Dispatch<'a> {
    pub(crate) fn new(tags_rule: &'a TagsRule, since: u64) -> Self {
        let (dirty, again) = Default::default();
        Self { tags_rule, since, dirty, waiting: 0, again }
    }

    /// Adds a record to its queue. False if others before it are missing that may be found elsewhere: not if the
    /// records are `whole`.
    pub(crate) fn add(
        &mut self,
        queue: Arc<Queue>,
        record: &RecordView<'_>,
        whole: bool,
    ) -> Result<bool, QueueFileError> {
        let offset = record.queue_offset();
        let unit = Unit {
            physical: record.physical_offset(),
            size: record.size(),
            tags_code: (self.tags_rule)(record),
        };
        if !self.again.is_empty()
            && let Some((queue, first)) = self.again.remove(&(queue.topic_name(), queue.queue_id().0))
            && offset.0 == 1
        {
            self.begin_again(&queue, first)?;
        }
        match queue.dispatch(offset, unit, whole) {
            Dispatched::Added(added) => self.added(queue, added)?,
            Dispatched::Missing => return Ok(false),
            Dispatched::Back if offset.0 == 0 && unit.physical.0 < self.since => {
                self.again.insert((queue.topic_name(), queue.queue_id().0), (queue, unit));
            }
            Dispatched::Back => tracing::error!(
                topic = queue.topic(),
                queue = queue.queue_id().0,
                queue_offset = offset.0,
                physical = unit.physical.0,
                "record with a queue offset that another has, passed over"
            ),
            Dispatched::Known | Dispatched::Impossible => {}
        }
        Ok(true)
    }

    fn begin_again(&mut self, queue: &Arc<Queue>, first: Unit) -> Result<(), QueueFileError> {
        tracing::info!(
            topic = queue.topic(),
            queue = queue.queue_id().0,
            physical = first.physical.0,
            "the queue begins again at 0: its topic was deleted before"
        );
        queue.begin_again()?;
        if let Dispatched::Added(added) = queue.dispatch(QueueOffset(0), first, true) {
            self.added(Arc::clone(queue), added)?;
        }
        Ok(())
    }

    fn added(&mut self, queue: Arc<Queue>, added: Added) -> Result<(), QueueFileError> {
        if let Added::FirstOfTail = added {
            self.dirty.push(queue);
        }
        self.waiting += 1;
        if self.waiting >= UNITS_IN_MEMORY_MAX { self.write() } else { Ok(()) }
    }

    /// Writes all units to files.
    fn write(&mut self) -> Result<(), QueueFileError> {
        self.waiting = 0;
        for queue in self.dirty.drain(..) {
            queue.write_tail()?;
        }
        Ok(())
    }

    /// There are no more records. Returns the queues with units that are not in files yet.
    pub(crate) fn finish(&mut self) -> Result<Vec<Arc<Queue>>, QueueFileError> {
        for (_, (queue, first)) in std::mem::take(&mut self.again) {
            self.begin_again(&queue, first)?;
        }
        Ok(std::mem::take(&mut self.dirty))
    }
}
