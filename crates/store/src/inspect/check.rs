// SPDX-License-Identifier: Apache-2.0
//! Everything a folder holds, compared with everything else it holds.

use std::{
    ops::ControlFlow,
    time::{SystemTime, UNIX_EPOCH},
};

use oxmq_record::RecordView;
use oxmq_types::TagsCode;

use super::{
    Finding, Folder, InspectError, Part, QueueName, Use, Watch, What, index::IndexFollower, queues::Queues,
    read_once, segments::Seen, unreadable,
};
use crate::{
    checkpoint::{self, Checkpoint},
    read::has_lost_sector,
};

/// Beside a running broker, records younger than this, in ms, are left alone: they may not be in their queues yet.
const SETTLED_MS: i64 = 5_000;
/// What was examined.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Checked {
    /// Where the log begins.
    pub log_min: u64,
    /// Where its last whole record ends.
    pub log_end: u64,
    /// Files of the log.
    pub segments: usize,
    /// Records in it.
    pub records: u64,
    /// Bytes in them.
    pub record_bytes: u64,
    /// Consume queues.
    pub queues: usize,
    /// Their units that are as they should be.
    pub units: u64,
    /// Files of the index.
    pub index_files: usize,
    /// Entries in them that are as they should be.
    pub index_entries: u64,
}

/// Examines everything: each record with its checksums, each queue, each index file, the checkpoint. Nothing is written.
///
/// `topic_exists`: by the broker's configuration; records of other topics need no queue. `expected_tags`: the tags code
/// of a record's unit, `None` if that cannot be told.
///
/// # Errors
/// [`InspectError`] if a folder cannot be listed.
pub fn check(
    folder: &Folder,
    topic_exists: &dyn Fn(&str) -> bool,
    expected_tags: &dyn Fn(&RecordView<'_>) -> Option<TagsCode>,
    watch: &mut dyn Watch,
) -> Result<Checked, InspectError> {
    folder.findings.iter().for_each(|finding| watch.finding(finding.clone()));
    let mut queues = Queues::new(folder, topic_exists, expected_tags, watch)?;
    let mut index = IndexFollower::new(folder, watch)?;
    let settled_ms = match folder.state {
        Use::Running => {
            let now =
                SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
            now - SETTLED_MS
        }
        _ => i64::MAX,
    };
    let mut checked = Checked {
        log_min: folder.log_min(),
        segments: folder.segments.len(),
        queues: queues.count,
        index_files: index.as_ref().map_or(0, |index| index.count),
        ..Checked::default()
    };
    let total = folder.log_bytes(0);
    let (mut done, mut told) = (0, 0);
    let mark = checkpoint_of(folder, watch);
    checked.log_end = folder.walk_log(0, &mut |seen| {
        match seen {
            Seen::Record(record) => {
                if record.store_timestamp_ms() > settled_ms {
                    return ControlFlow::Break(());
                }
                checked.records += 1;
                checked.record_bytes += u64::from(record.size());
                let fault = fault_of(&record);
                // A damaged record need be in no queue, and its keys not in the index.
                let damaged = fault.is_some();
                if let Some(what) = fault {
                    watch.finding(folder.log_finding(record.physical_offset().0, what));
                }
                queues.record(&record, damaged, watch);
                if let Some(index) = &mut index {
                    index.record(&record, damaged, watch);
                }
            }
            Seen::Finding(Finding { what: What::TornTail { .. }, .. }) if folder.state == Use::Running => {}
            Seen::Finding(finding) => watch.finding(finding),
            Seen::Passed(bytes) => {
                done += bytes;
                if done - told >= 1 << 20 || done == total {
                    told = done;
                    watch.progress(done, total);
                }
            }
        }
        ControlFlow::Continue(())
    });
    let ahead = |dispatched: &u64| *dispatched > checked.log_end && folder.state != Use::Running;
    if let Some(dispatched) = mark.filter(ahead) {
        let path = folder.checkpoint_file();
        let what = What::CheckpointAhead { dispatched };
        watch.finding(Finding { part: Part::Rest, path, offset: None, what });
    }
    checked.units = queues.units;
    queues.finish(checked.log_end, mark.unwrap_or(u64::MAX), watch);
    if let Some(index) = index {
        checked.index_entries = index.entries;
        index.finish(checked.log_end, watch);
    }
    Ok(checked)
}

/// Where our part of the checkpoint says that the log was dispatched to, if it has one.
fn checkpoint_of(folder: &Folder, watch: &mut dyn Watch) -> Option<u64> {
    let path = folder.checkpoint_file();
    let mut bytes = [0; checkpoint::LENGTH];
    let what = if folder.disk.exists(&path) {
        match read_once(&*folder.disk, &path, 0, &mut bytes) {
            Ok(checkpoint::LENGTH) => {
                return Checkpoint::decode(&bytes).mark.map(|mark| mark.dispatched.0);
            }
            Ok(_) => What::NoCheckpoint,
            Err(error) => {
                watch.finding(unreadable(Part::Rest, path, None, &error));
                return None;
            }
        }
    } else {
        What::NoCheckpoint
    };
    watch.finding(Finding { part: Part::Rest, path, offset: None, what });
    None
}

/// What is wrong with a record whose structure is right.
pub(super) fn fault_of(record: &RecordView<'_>) -> Option<What> {
    let name = || QueueName { topic: record.topic().into(), id: record.queue_id().0 };
    let queue_offset = record.queue_offset().0;
    if !record.verify_crc() {
        return Some(What::BodyChecksum { queue: name(), queue_offset });
    }
    if has_lost_sector(record) {
        return Some(What::LostSector { queue: name(), queue_offset });
    }
    // A message that was copied from another record with its checksum has it in the middle, where it means nothing.
    (record.verify_checksum() == Some(false)).then(|| What::RecordChecksum { queue: name(), queue_offset })
}
