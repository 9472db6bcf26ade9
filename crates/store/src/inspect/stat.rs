// SPDX-License-Identifier: Apache-2.0
//! What fills the disk. The consume queues tell it, at 20 bytes a message: the log itself is not read.

use std::{collections::BTreeMap, ops::ControlFlow, path::PathBuf, sync::Arc};

use super::{Folder, InspectError, Part, Watch, failed, queues::Units, segments::Seen, unreadable};
use crate::{log::file_at, unit::UNIT_SIZE};

/// Bytes of units read at once.
const STEP: usize = 12_000 * UNIT_SIZE as usize;

/// A topic's share.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicStat {
    /// Its name.
    pub topic: String,
    /// Its queues.
    pub queues: u32,
    /// Messages in them that the log still has.
    pub messages: u64,
    /// Bytes of their records.
    pub bytes: u64,
    /// Store time of the oldest, in ms since 1970.
    pub oldest_ms: Option<i64>,
    /// Store time of the newest, in ms since 1970.
    pub newest_ms: Option<i64>,
}

/// A file of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentStat {
    /// Its path.
    pub path: PathBuf,
    /// Physical offset at which it begins.
    pub start: u64,
    /// Its length.
    pub bytes: u64,
    /// Store time of its first record, in ms since 1970. `None` if there is none.
    pub first_ms: Option<i64>,
}

/// What fills the disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stat {
    /// By name.
    pub topics: Vec<TopicStat>,
    /// From the oldest on.
    pub segments: Vec<SegmentStat>,
    /// Bytes of the log, from its beginning to the end of its last record.
    pub log_bytes: u64,
    /// Consume queue files.
    pub queue_files: u64,
    /// Their lengths together; they take up less, as they are sparse.
    pub queue_bytes: u64,
    /// Index files.
    pub index_files: u64,
    /// Their lengths together.
    pub index_bytes: u64,
}

/// Reads all queues, and of the log what lies behind all that they know. Progress is in bytes of queue files, then of the log.
///
/// # Errors
/// [`InspectError`] if a folder cannot be listed. A file that cannot be read is a finding.
pub fn stat(folder: &Folder, watch: &mut dyn Watch) -> Result<Stat, InspectError> {
    let queues = folder.queue_folders(watch)?;
    let mut stat = Stat::default();
    for (i, segment) in folder.segments.iter().enumerate() {
        let path = file_at(&folder.log_dir, segment.start);
        let first_ms = folder.first_store_time(i);
        stat.segments.push(SegmentStat { path, start: segment.start, bytes: segment.length, first_ms });
    }
    let index_dir = folder.index_dir();
    for entry in folder.disk.list(&index_dir).map_err(failed(&index_dir))? {
        stat.index_files += 1;
        stat.index_bytes += entry.length;
    }
    let min = folder.log_min();
    let max = folder.segments.last().map_or(0, |last| last.start.saturating_add(folder.segment_size));
    let mut end = min;
    let mut topics: BTreeMap<Arc<str>, TopicStat> = BTreeMap::new();
    let total = queues.iter().flat_map(|queue| &queue.files).map(|file| file.length).sum();
    let mut done = 0;
    let file_size = folder.queue_file_size(&queues);
    for queue in &queues {
        let topic = topics.entry(Arc::clone(&queue.name.topic)).or_default();
        topic.queues += 1;
        stat.queue_files += queue.files.len() as u64;
        let length: u64 = queue.files.iter().map(|file| file.length).sum();
        stat.queue_bytes += length;
        let Some(file_size) = file_size else { continue };
        let mut units = Units::new(folder, queue, file_size, STEP);
        let mut walk = || -> std::io::Result<()> {
            let mut at = units.first_from(min)?;
            let mut places = None;
            while let Some(unit) = units.get(at)? {
                at += 1;
                if unit.is_filler() || unit.physical.0 < min || unit.physical.0 >= max {
                    continue;
                }
                topic.messages += 1;
                topic.bytes += u64::from(unit.size);
                end = end.max(unit.physical.0.saturating_add(u64::from(unit.size)));
                places = Some((places.map_or(unit.physical.0, |(first, _)| first), unit.physical.0));
            }
            if let Some((first, last)) = places {
                let time = |at| folder.store_time_at(at);
                topic.oldest_ms = [topic.oldest_ms, time(first)].into_iter().flatten().min();
                topic.newest_ms = [topic.newest_ms, time(last)].into_iter().flatten().max();
            }
            Ok(())
        };
        if let Err(error) = walk() {
            let path = folder.queue_dir().join(&*queue.name.topic).join(queue.name.id.to_string());
            watch.finding(unreadable(Part::Queues, path, None, &error));
        }
        done += length;
        watch.progress(done, total);
    }
    // What is in no queue, behind all that is.
    let (mut passed, mut told) = (0, 0);
    let left = folder.log_bytes(end);
    let end = folder.walk_log(end, &mut |seen| {
        if let Seen::Passed(bytes) = seen {
            passed += bytes;
            if passed - told >= 1 << 20 {
                told = passed;
                watch.progress(passed, left);
            }
        }
        ControlFlow::Continue(())
    });
    stat.log_bytes = end - min;
    stat.topics =
        topics.into_iter().map(|(name, topic)| TopicStat { topic: name.to_string(), ..topic }).collect();
    Ok(stat)
}
