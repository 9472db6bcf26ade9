// SPDX-License-Identifier: Apache-2.0
//! How far each group has consumed each queue: `config/consumerOffset.json`.
//!
//! An offset is the next message to consume. They are written every few seconds, so after a crash a group may
//! consume a few seconds of messages again; none is skipped. Java: `ConsumerOffsetManager`.

use crate::persist::{self, ConfigFile, LoadError};
use oxmq_remoting::bodies::DataVersion;
use oxmq_types::{QueueId, QueueOffset};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashMap},
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// Between topic and group in the file; neither can contain it.
const SEPARATOR: char = '@';

/// All committed offsets. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Offsets {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    file: ConfigFile,
    changed: AtomicBool,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    /// Group, topic, queue.
    groups: HashMap<String, HashMap<String, Progress>>,
    /// Messages that all groups consumed since the start.
    consumed: u64,
}

/// How far a group has come in a topic.
#[derive(Debug, Default)]
struct Progress {
    /// The next message of each queue.
    next: BTreeMap<u32, u64>,
    /// Messages that it consumed since the start: by how much its offsets went forward.
    consumed: u64,
}

/// The file, and the answer to GET_ALL_CONSUMER_OFFSET.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct File {
    data_version: DataVersion,
    offset_table: BTreeMap<String, BTreeMap<u32, i64>>,
}

impl Offsets {
    /// Reads the file at `path`, if there is one.
    ///
    /// # Errors
    /// If neither the file nor its backup can be read.
    pub(crate) fn open(path: PathBuf) -> Result<Self, LoadError> {
        let file = persist::load::<File>(&path)?.unwrap_or_default();
        let mut table = Table::default();
        for (key, queues) in file.offset_table {
            let Some((topic, group)) = key.split_once(SEPARATOR) else { continue };
            let queues = queues.into_iter().filter_map(|(queue, at)| Some((queue, u64::try_from(at).ok()?)));
            let progress = Progress { next: queues.collect(), consumed: 0 };
            table.groups.entry(group.to_owned()).or_default().insert(topic.to_owned(), progress);
        }
        let shared =
            Shared { file: ConfigFile::new(path), changed: AtomicBool::new(false), table: Mutex::new(table) };
        Ok(Self { shared: Arc::new(shared) })
    }

    fn with<T>(&self, work: impl FnOnce(&mut Table) -> T) -> T {
        work(&mut self.shared.table.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The next message that `group` consumes; `None` if it never committed.
    #[must_use]
    pub(crate) fn get(&self, group: &str, topic: &str, queue: QueueId) -> Option<QueueOffset> {
        self.with(|table| table.groups.get(group)?.get(topic)?.next.get(&queue.0).copied().map(QueueOffset))
    }

    /// Takes note that `group` consumes `next` next.
    pub(crate) fn commit(&self, group: &str, topic: &str, queue: QueueId, next: QueueOffset) {
        let changed = self.with(|table| {
            let Table { groups, consumed } = table;
            if let Some(progress) = groups.get_mut(group).and_then(|topics| topics.get_mut(topic))
                && let Some(known) = progress.next.get_mut(&queue.0)
            {
                let forward = next.0.saturating_sub(*known);
                // Offsets are what clients say, so the sums of them have no bound.
                progress.consumed = progress.consumed.saturating_add(forward);
                *consumed = consumed.saturating_add(forward);
                return std::mem::replace(known, next.0) != next.0;
            }
            // Where a group begins says nothing about what it consumed.
            let topics = groups.entry(group.to_owned()).or_default();
            topics.entry(topic.to_owned()).or_default().next.insert(queue.0, next.0);
            true
        });
        if changed {
            self.shared.changed.store(true, Ordering::Relaxed);
        }
    }

    /// The offsets of `group` in `topic`, by queue.
    #[must_use]
    pub(crate) fn queues(&self, group: &str, topic: &str) -> BTreeMap<u32, u64> {
        self.with(|table| {
            let progress = table.groups.get(group).and_then(|topics| topics.get(topic));
            progress.map(|progress| progress.next.clone()).unwrap_or_default()
        })
    }

    /// The topics in which `group` has offsets, sorted.
    #[must_use]
    pub(crate) fn topics_of(&self, group: &str) -> Vec<String> {
        let mut topics: Vec<_> = self.with(|table| {
            table.groups.get(group).map(|topics| topics.keys().cloned().collect()).unwrap_or_default()
        });
        topics.sort_unstable();
        topics
    }

    /// The groups that have offsets in `topic`, sorted.
    #[must_use]
    pub(crate) fn groups_of(&self, topic: &str) -> Vec<String> {
        let mut groups: Vec<_> = self.with(|table| {
            let in_topic = table.groups.iter().filter(|(_, topics)| topics.contains_key(topic));
            in_topic.map(|(group, _)| group.clone()).collect()
        });
        groups.sort_unstable();
        groups
    }

    /// Forgets the offsets of `group`, of all its topics.
    pub(crate) fn remove_group(&self, group: &str) {
        self.with(|table| table.groups.remove(group));
        self.shared.changed.store(true, Ordering::Relaxed);
    }

    /// Forgets the offsets in `topic`, of all groups.
    pub(crate) fn remove_topic(&self, topic: &str) {
        self.with(|table| table.groups.values_mut().for_each(|topics| drop(topics.remove(topic))));
        self.shared.changed.store(true, Ordering::Relaxed);
    }

    /// Messages that all groups consumed since the start.
    pub(crate) fn consumed(&self) -> u64 {
        self.with(|table| table.consumed)
    }

    /// Messages consumed since the start by each group in each topic, where there were any, as `topic@group`.
    pub(crate) fn consumed_by_group(&self) -> Vec<(String, u64)> {
        self.with(|table| {
            let all =
                table.groups.iter().flat_map(|(group, topics)| topics.iter().map(move |each| (group, each)));
            let some = all.filter(|(_, (_, progress))| progress.consumed > 0);
            some.map(|(group, (topic, progress))| (format!("{topic}{SEPARATOR}{group}"), progress.consumed))
                .collect()
        })
    }

    /// All offsets as JSON, as other brokers and tools read them.
    #[must_use]
    pub(crate) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(&self.file()).unwrap_or_default()
    }

    /// Writes the file if anything changed.
    ///
    /// # Errors
    /// If it cannot be written; the change is then still to be written.
    pub(crate) fn save(&self) -> io::Result<()> {
        if !self.shared.changed.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let replaced = self.shared.file.replace(|| Ok(serde_json::to_vec_pretty(&self.file())?));
        replaced.inspect_err(|_| self.shared.changed.store(true, Ordering::Relaxed))
    }

    fn file(&self) -> File {
        let mut file = File::default();
        self.with(|table| {
            for (group, topics) in &table.groups {
                for (topic, progress) in topics {
                    let queues = progress
                        .next
                        .iter()
                        .map(|(queue, at)| (*queue, i64::try_from(*at).unwrap_or(i64::MAX)));
                    file.offset_table.insert(format!("{topic}{SEPARATOR}{group}"), queues.collect());
                }
            }
        });
        file
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("consumerOffset.json");
        let offsets = Offsets::open(path.clone()).unwrap();
        assert_eq!(offsets.get("g", "t", QueueId(0)), None);
        offsets.commit("g", "t", QueueId(0), QueueOffset(2));
        offsets.commit("g", "t", QueueId(0), QueueOffset(5));
        offsets.commit("g", "%RETRY%g", QueueId(0), QueueOffset(1));
        offsets.commit("h", "t", QueueId(3), QueueOffset(9));
        assert_eq!((offsets.consumed(), offsets.consumed_by_group()), (3, vec![("t@g".into(), 3)]));
        offsets.save().unwrap();
        let offsets = Offsets::open(path.clone()).unwrap();
        assert_eq!(offsets.get("g", "t", QueueId(0)), Some(QueueOffset(5)));
        assert_eq!(offsets.topics_of("g"), ["%RETRY%g", "t"]);
        assert_eq!(offsets.groups_of("t"), ["g", "h"]);
        assert_eq!(offsets.queues("h", "t"), BTreeMap::from([(3, 9)]));
        offsets.remove_topic("t");
        offsets.remove_group("h");
        offsets.save().unwrap();
        assert_eq!(Offsets::open(path).unwrap().topics_of("g"), ["%RETRY%g"]);
    }

    #[test]
    fn reads_the_file_of_java() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("consumerOffset.json");
        std::fs::write(&path, "{\n\t\"dataVersion\":{\"counter\":1,\"stateVersion\":0,\"timestamp\":17},\n\t\"offsetTable\":{\"T@g\":{0:250,1:-1\n\t\t}\n\t}\n}").unwrap();
        let offsets = Offsets::open(path).unwrap();
        assert_eq!(offsets.queues("g", "T"), BTreeMap::from([(0, 250)]));
    }
}
