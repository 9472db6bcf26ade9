// SPDX-License-Identifier: Apache-2.0
//! Records, by where they stand, by queue, by key or by time.

use std::{
    collections::BTreeSet,
    io,
    ops::{ControlFlow, Range},
};

use oxmq_record::RecordView;

use super::{
    Folder, InspectError, Watch, What, check::fault_of, index::candidates, queues::Units, segments::Seen,
};
use crate::{index::keys_of, unit::UNIT_SIZE};

/// Which records are wanted: those for which all that is given holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Standing at this physical offset or behind it.
    pub offset: Option<u64>,
    /// Of this topic.
    pub topic: Option<String>,
    /// Of the queue of this number.
    pub queue: Option<u32>,
    /// With this ordinal in their queue, or a later one.
    pub from: Option<u64>,
    /// With this key or unique key.
    pub key: Option<String>,
    /// Stored at this time or later, in ms since 1970.
    pub since_ms: Option<i64>,
    /// Stored at this time or earlier, in ms since 1970.
    pub until_ms: Option<i64>,
}

impl Wanted {
    fn matches(&self, record: &RecordView<'_>) -> bool {
        let time = record.store_timestamp_ms();
        self.topic.as_deref().is_none_or(|topic| record.topic() == topic)
            && self.queue.is_none_or(|queue| record.queue_id().0 == queue)
            && self.from.is_none_or(|from| record.queue_offset().0 >= from)
            && self.offset.is_none_or(|offset| record.physical_offset().0 >= offset)
            && self.since_ms.is_none_or(|since| time >= since)
            && self.until_ms.is_none_or(|until| time <= until)
            && self.key.as_deref().is_none_or(|key| keys_of(record).any(|found| found == key.as_bytes()))
    }
}

/// A record that was wanted.
pub struct Found<'a> {
    /// The record.
    pub record: RecordView<'a>,
    /// What is wrong with it: it is never served.
    pub fault: Option<What>,
}

/// Gives `each` the records that are wanted until it has enough.
///
/// A queue's are found by its units, those with a key by the index as far as it goes; otherwise the log is walked. So
/// with a topic they come queue by queue, else in the order of the log.
///
/// # Errors
/// [`InspectError`] if a folder cannot be listed.
pub fn dump(
    folder: &Folder,
    wanted: &Wanted,
    watch: &mut dyn Watch,
    each: &mut dyn FnMut(Found<'_>) -> ControlFlow<()>,
) -> Result<(), InspectError> {
    let mut show = |bytes: &[u8]| match RecordView::parse(bytes) {
        Ok(record) if wanted.matches(&record) => each(Found { record, fault: fault_of(&record) }),
        _ => ControlFlow::Continue(()),
    };
    if let Some(key) = &wanted.key {
        let topics: BTreeSet<String> = match &wanted.topic {
            Some(topic) => [topic.clone()].into(),
            None => {
                folder.queue_folders(watch)?.into_iter().map(|queue| queue.name.topic.to_string()).collect()
            }
        };
        let (places, covered) = candidates(folder, &topics, key, watch)?;
        if walk(folder, wanted, 0..covered.start, watch, &mut show).is_break() {
            return Ok(());
        }
        for place in places {
            if let Some(bytes) = folder.record_at(place)
                && show(&bytes).is_break()
            {
                return Ok(());
            }
        }
        let _ = walk(folder, wanted, covered.end..u64::MAX, watch, &mut show);
        return Ok(());
    }
    if let Some(topic) = &wanted.topic {
        let listed = folder.queue_folders(watch)?;
        if let Some(file_size) = folder.queue_file_size(&listed) {
            let queues = listed.iter().filter(|queue| {
                *queue.name.topic == **topic && wanted.queue.is_none_or(|id| id == queue.name.id)
            });
            let mut any = false;
            for queue in queues {
                any = true;
                let mut units = Units::new(folder, queue, file_size, 1024 * UNIT_SIZE as usize);
                let mut records = || -> io::Result<ControlFlow<()>> {
                    let mut at = units.first_from(folder.log_min())?.max(wanted.from.unwrap_or(0));
                    while let Some(unit) = units.get(at)? {
                        at += 1;
                        if let Some(bytes) = folder.record_at(unit.physical.0)
                            && !unit.is_filler()
                            && show(&bytes).is_break()
                        {
                            return Ok(ControlFlow::Break(()));
                        }
                    }
                    Ok(ControlFlow::Continue(()))
                };
                match records() {
                    Ok(ControlFlow::Break(())) => return Ok(()),
                    Ok(ControlFlow::Continue(())) => {}
                    Err(error) => {
                        let path = folder.queue_dir().join(&**topic).join(queue.name.id.to_string());
                        watch.finding(super::unreadable(super::Part::Queues, path, None, &error));
                    }
                }
            }
            if any {
                return Ok(());
            }
        }
    }
    let _ = walk(folder, wanted, 0..u64::MAX, watch, &mut show);
    Ok(())
}

/// Walks the part of the log that lies in `range`, as far as times do not leave out segments.
fn walk(
    folder: &Folder,
    wanted: &Wanted,
    range: Range<u64>,
    watch: &mut dyn Watch,
    show: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let Range { start: mut from, end: mut until } = range;
    for (i, segment) in folder.segments.iter().enumerate() {
        let Some(first_ms) = folder.first_store_time(i) else { continue };
        let early = wanted.since_ms.is_some_and(|since| first_ms < since);
        if early || wanted.offset.is_some_and(|offset| segment.start <= offset) {
            from = from.max(segment.start);
        }
        if wanted.until_ms.is_some_and(|last| first_ms > last) {
            until = until.min(segment.start);
        }
    }
    if from >= until {
        return ControlFlow::Continue(());
    }
    let total = folder.log_bytes(from);
    let (mut done, mut told) = (0, 0);
    let mut enough = ControlFlow::Continue(());
    folder.walk_log(from, &mut |seen| {
        match seen {
            Seen::Record(record) if record.physical_offset().0 >= until => return ControlFlow::Break(()),
            Seen::Record(record) => {
                enough = show(record.bytes());
                return enough;
            }
            Seen::Finding(finding) => watch.finding(finding),
            Seen::Passed(bytes) => {
                done += bytes;
                if done - told >= 1 << 20 {
                    told = done;
                    watch.progress(done, total);
                }
            }
        }
        ControlFlow::Continue(())
    });
    enough
}
