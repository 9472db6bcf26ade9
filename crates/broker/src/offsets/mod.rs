// SPDX-License-Identifier: Apache-2.0
//! How far each group has consumed each queue: `config/consumerOffset.json`.
//!
//! An offset is the next message to consume. They are written every few seconds, so after a crash a group may
//! consume a few seconds of messages again; none is skipped. Which commits count is decided by `position`. Resets are
//! kept in memory only: after a restart every client asks for its offset again. Java: `ConsumerOffsetManager`.

mod position;

pub(crate) use position::{Commit, Committer, Verdict};

use crate::persist::{ConfigFile, Kept, LoadError};
use oxmq_remoting::bodies::DataVersion;
use oxmq_types::{QueueId, QueueOffset};
use position::Position;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Instant,
};
use tracing::warn;

/// Between topic and group in the file; neither can contain it.
const SEPARATOR: char = '@';

/// Counts of resets that wait.
const RESET_SLOTS: usize = 1024;

fn slot_of(group: &str, topic: &str, queue: u32) -> usize {
    let mut hasher = DefaultHasher::new();
    (group, topic, queue).hash(&mut hasher);
    hasher.finish() as usize % RESET_SLOTS
}

/// All committed offsets. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Offsets {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    file: ConfigFile,
    /// Changes since the start.
    changes: AtomicU64,
    /// Those of them that are on disk.
    saved: AtomicU64,
    table: Mutex<Table>,
    /// Resets that wait to be followed, by the hash of group, topic and queue: pulls look for them only if there are
    /// any. Some are never followed, and should not have all pulls look.
    resetting: [AtomicUsize; RESET_SLOTS],
    /// Commits that would have moved an offset backward.
    backward: AtomicU64,
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
    /// By queue.
    positions: BTreeMap<u32, Position>,
}

/// The file, and the answer to GET_ALL_CONSUMER_OFFSET.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct File {
    data_version: DataVersion,
    offset_table: BTreeMap<String, BTreeMap<u32, i64>>,
}

impl Kept for File {
    const MEMBER: &str = "offsetTable";
}

impl Offsets {
    /// Reads the file at `path`, if there is one.
    ///
    /// # Errors
    /// If neither the file nor its backup can be read.
    pub(crate) fn open(path: PathBuf) -> Result<Self, LoadError> {
        let kept = ConfigFile::new(path);
        let file = kept.load::<File>()?;
        let missing = file.is_none();

        let mut table = Table::default();
        for (key, queues) in file.unwrap_or_default().offset_table {
            let Some((topic, group)) = key.split_once(SEPARATOR) else { continue };
            let positions = queues
                .into_iter()
                .filter_map(|(queue, at)| Some((queue, Position::at(u64::try_from(at).ok()?))))
                .collect();
            let progress = Progress { positions };
            table.groups.entry(group.to_owned()).or_default().insert(topic.to_owned(), progress);
        }
        let shared = Shared {
            file: kept,
            // So that a file is written where there is none.
            changes: AtomicU64::new(missing.into()),
            saved: AtomicU64::new(0),
            table: Mutex::new(table),
            resetting: [const { AtomicUsize::new(0) }; RESET_SLOTS],
            backward: AtomicU64::new(0),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    fn with<T>(&self, work: impl FnOnce(&mut Table) -> T) -> T {
        work(&mut self.shared.table.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The next message that `group` consumes; `None` if it never committed.
    #[must_use]
    pub(crate) fn get(&self, group: &str, topic: &str, queue: QueueId) -> Option<QueueOffset> {
        self.with(|table| {
            let position = table.groups.get(group)?.get(topic)?.positions.get(&queue.0)?;
            Some(QueueOffset(position.next()))
        })
    }

    /// Has `group` consume `commit.next` next, if that commit counts.
    pub(crate) fn commit(&self, group: &str, topic: &str, queue: QueueId, commit: &Commit) -> Verdict {
        let (verdict, changed) = self.with(|table| {
            let Table { groups, consumed } = table;
            let progress = groups.get_mut(group).and_then(|topics| topics.get_mut(topic));
            let Some(progress) = progress.filter(|progress| progress.positions.contains_key(&queue.0)) else {
                if commit.next > commit.end {
                    return (Verdict::BeyondEnd(commit.end), false);
                }
                // Where a group begins says nothing about what it consumed.
                let topics = groups.entry(group.to_owned()).or_default();
                let positions = &mut topics.entry(topic.to_owned()).or_default().positions;
                positions.insert(queue.0, Position::at(commit.next));
                return (Verdict::Taken, true);
            };
            let position = progress.positions.entry(queue.0).or_default();
            let (before, resetting) = (position.next(), position.is_resetting());
            let verdict = position.commit(commit);
            if verdict == Verdict::Taken {
                let forward = commit.next.saturating_sub(before);
                *consumed += forward;
                self.count_resets((group, topic, queue.0), resetting, position.is_resetting());
            }
            (verdict, position.next() != before)
        });
        if changed {
            self.changed();
        }
        if matches!(verdict, Verdict::Backward(..)) {
            self.shared.backward.fetch_add(1, Ordering::Relaxed);
        }
        verdict
    }

    /// Orders that `group` goes on at `to`, wherever it is.
    pub(crate) fn reset(&self, group: &str, topic: &str, queue: QueueId, to: QueueOffset) {
        self.with(|table| {
            let topics = table.groups.entry(group.to_owned()).or_default();
            let positions = &mut topics.entry(topic.to_owned()).or_default().positions;
            let position = positions.entry(queue.0).or_default();
            let resetting = position.is_resetting();
            position.reset(to.0);
            self.count_resets((group, topic, queue.0), resetting, position.is_resetting());
        });
        self.changed();
    }

    /// Where a pull of the connection `peer` from `from` on has to go on instead, if a reset says so.
    pub(crate) fn redirected(
        &self,
        group: &str,
        topic: &str,
        queue: QueueId,
        (peer, from): (u64, i64),
    ) -> Option<u64> {
        if self.shared.resetting[slot_of(group, topic, queue.0)].load(Ordering::Relaxed) == 0 {
            return None;
        }
        self.with(|table| {
            let position = table.groups.get_mut(group)?.get_mut(topic)?.positions.get_mut(&queue.0)?;
            let resetting = position.is_resetting();
            let to = position.pulled(peer, from, Instant::now());
            self.count_resets((group, topic, queue.0), resetting, position.is_resetting());
            to
        })
    }

    fn count_resets(&self, (group, topic, queue): (&str, &str, u32), before: bool, after: bool) {
        if before != after {
            let count = &self.shared.resetting[slot_of(group, topic, queue)];
            // Wraps around, as minus one.
            count.fetch_add(if after { 1 } else { usize::MAX }, Ordering::Relaxed);
        }
    }

    /// Gives `to` the offsets that `from` has in `topic`, in place of its own. False if there are none.
    pub(crate) fn clone_group(&self, from: &str, to: &str, topic: &str) -> bool {
        let cloned = self.with(|table| {
            let source = table.groups.get(from).and_then(|topics| topics.get(topic));
            let next = source.map(|progress| progress.positions.iter());
            let positions: BTreeMap<_, _> =
                next?.map(|(queue, position)| (*queue, Position::at(position.next()))).collect();
            let target = table.groups.entry(to.to_owned()).or_default().entry(topic.to_owned()).or_default();
            let replaced = std::mem::replace(&mut target.positions, positions);
            self.forget_resets(to, topic, &replaced);
            Some(())
        });
        self.changed();
        cloned.is_some()
    }

    fn forget_resets(&self, group: &str, topic: &str, positions: &BTreeMap<u32, Position>) {
        for (queue, position) in positions {
            self.count_resets((group, topic, *queue), position.is_resetting(), false);
        }
    }

    /// Cuts all offsets to the ends of their queues; `end` gives that of a topic and queue. After a crash the log may
    /// end before what was committed: whoever went on there would skip the messages that take these places.
    pub(crate) fn cut(&self, end: impl Fn(&str, QueueId) -> Option<QueueOffset>) {
        let mut changed = false;
        self.with(|table| {
            for (group, topics) in &mut table.groups {
                for (topic, progress) in topics {
                    for (queue, position) in &mut progress.positions {
                        let Some(end) = end(topic, QueueId(*queue)) else { continue };
                        if let Some(before) = position.cut(end.0) {
                            warn!(
                                group,
                                topic,
                                queue,
                                from = before,
                                to = end.0,
                                "offset beyond the end of its queue, cut"
                            );
                            changed = true;
                        }
                    }
                }
            }
        });
        if changed {
            self.changed();
        }
    }

    /// Commits since the start that would have moved an offset backward.
    pub(crate) fn backward(&self) -> u64 {
        self.shared.backward.load(Ordering::Relaxed)
    }

    /// The offsets of `group` in `topic`, by queue.
    #[must_use]
    pub(crate) fn queues(&self, group: &str, topic: &str) -> BTreeMap<u32, u64> {
        self.with(|table| {
            let progress = table.groups.get(group).and_then(|topics| topics.get(topic));
            let positions = progress.into_iter().flat_map(|progress| &progress.positions);
            positions.map(|(queue, position)| (*queue, position.next())).collect()
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
        self.with(|table| {
            let removed = table.groups.remove(group).unwrap_or_default();
            for (topic, progress) in &removed {
                self.forget_resets(group, topic, &progress.positions);
            }
        });
        self.changed();
    }

    /// Forgets the offsets in `topic`, of all groups.
    pub(crate) fn remove_topic(&self, topic: &str) {
        self.with(|table| {
            for (group, topics) in &mut table.groups {
                if let Some(progress) = topics.remove(topic) {
                    self.forget_resets(group, topic, &progress.positions);
                }
            }
        });
        self.changed();
    }

    /// All offsets: group, topic, and the next message by queue.
    pub(crate) fn all(&self) -> Vec<(String, String, BTreeMap<u32, u64>)> {
        self.with(|table| {
            let topics = table.groups.iter().flat_map(|(group, topics)| {
                topics.iter().map(move |(topic, progress)| (group, topic, progress))
            });
            let next = |progress: &Progress| {
                progress.positions.iter().map(|(queue, position)| (*queue, position.next())).collect()
            };
            topics.map(|(group, topic, progress)| (group.clone(), topic.clone(), next(progress))).collect()
        })
    }

    /// Messages that all groups consumed since the start.
    pub(crate) fn consumed(&self) -> u64 {
        self.with(|table| table.consumed)
    }

    /// All offsets as JSON, as other brokers and tools read them.
    #[must_use]
    pub(crate) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(&self.file()).unwrap_or_default()
    }

    fn changed(&self) {
        self.shared.changes.fetch_add(1, Ordering::Release);
    }

    /// Writes the file if anything changed. What was changed before the call is on disk when it returns.
    ///
    /// # Errors
    /// If it cannot be written; the change is then still to be written.
    pub(crate) fn save(&self) -> io::Result<()> {
        let Shared { file, changes, saved, .. } = &*self.shared;
        let mut writing = 0;
        // Looked at when no other call writes any more, which may fail.
        file.replace_if(|| {
            writing = changes.load(Ordering::Acquire);
            if writing == saved.load(Ordering::Acquire) {
                return Ok(None);
            }
            Ok(Some(serde_json::to_vec_pretty(&self.file())?))
        })?;
        saved.fetch_max(writing, Ordering::Release);
        Ok(())
    }

    fn file(&self) -> File {
        let mut file = File::default();
        self.with(|table| {
            for (group, topics) in &table.groups {
                for (topic, progress) in topics {
                    let queues = progress.positions.iter().map(|(queue, position)| {
                        (*queue, i64::try_from(position.next()).unwrap_or(i64::MAX))
                    });
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

    fn commit(offsets: &Offsets, group: &str, topic: &str, queue: u32, next: u64) -> Verdict {
        let commit = Commit { next, end: 1000, by: Committer::Push, now: Instant::now() };
        offsets.commit(group, topic, QueueId(queue), &commit)
    }

    #[test]
    fn survives_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("consumerOffset.json");
        let offsets = Offsets::open(path.clone()).unwrap();
        assert_eq!(offsets.get("g", "t", QueueId(0)), None);
        commit(&offsets, "g", "t", 0, 2);
        commit(&offsets, "g", "t", 0, 5);
        commit(&offsets, "g", "%RETRY%g", 0, 1);
        commit(&offsets, "h", "t", 3, 9);
        assert_eq!(offsets.consumed(), 3);
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

    #[test]
    fn resets_are_looked_for_while_there_are_any() {
        let folder = tempfile::tempdir().unwrap();
        let offsets = Offsets::open(folder.path().join("consumerOffset.json")).unwrap();
        let pull = |group, from| offsets.redirected(group, "t", QueueId(0), (1, from));
        let open =
            || offsets.shared.resetting.iter().map(|count| count.load(Ordering::Relaxed)).sum::<usize>();
        commit(&offsets, "g", "t", 0, 9);
        offsets.reset("g", "t", QueueId(0), QueueOffset(4));
        offsets.reset("g", "t", QueueId(0), QueueOffset(3));
        offsets.reset("h", "t", QueueId(0), QueueOffset(7));
        assert_eq!((open(), offsets.get("h", "t", QueueId(0))), (2, Some(QueueOffset(7))));
        assert_eq!((pull("g", 9), pull("g", 3), pull("x", 9)), (Some(3), None, None));
        assert_eq!(open(), 1);
        offsets.reset("g", "t", QueueId(0), QueueOffset(1));
        // The one ends with its topic, the other with its group; a clone takes positions, and no resets.
        assert!(offsets.clone_group("h", "i", "t") && !offsets.clone_group("nobody", "i", "t"));
        assert_eq!((offsets.get("i", "t", QueueId(0)), open()), (Some(QueueOffset(7)), 2));
        offsets.remove_group("h");
        assert_eq!(open(), 1);
        offsets.remove_topic("t");
        assert_eq!((open(), pull("g", 9)), (0, None));
    }

    #[test]
    fn what_is_not_written_is_still_to_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config");
        let path = config.join("consumerOffset.json");
        let offsets = Offsets::open(path.clone()).unwrap();
        offsets.save().unwrap();
        assert!(path.exists(), "there is a file from the start on");
        std::fs::remove_dir_all(&config).unwrap();
        commit(&offsets, "g", "t", 0, 5);
        std::fs::write(&config, "no folder").unwrap();
        assert!(offsets.save().is_err());
        assert!(offsets.save().is_err());
        std::fs::remove_file(&config).unwrap();
        offsets.save().unwrap();
        assert_eq!(Offsets::open(path.clone()).unwrap().queues("g", "t"), BTreeMap::from([(0, 5)]));
        std::fs::remove_file(&path).unwrap();
        offsets.save().unwrap();
        assert!(!path.exists(), "nothing new");
    }

    #[test]
    fn a_backward_commit_is_counted_and_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let offsets = Offsets::open(folder.path().join("consumerOffset.json")).unwrap();
        assert_eq!(commit(&offsets, "g", "t", 0, 1001), Verdict::BeyondEnd(1000));
        assert_eq!(offsets.get("g", "t", QueueId(0)), None);
        assert_eq!(commit(&offsets, "g", "t", 0, 7), Verdict::Taken);
        assert_eq!(commit(&offsets, "g", "t", 0, 3), Verdict::Backward(7, false));
        assert_eq!((offsets.get("g", "t", QueueId(0)), offsets.backward()), (Some(QueueOffset(7)), 1));
        offsets.cut(|topic, queue| (topic == "t" && queue == QueueId(0)).then_some(QueueOffset(2)));
        assert_eq!(offsets.get("g", "t", QueueId(0)), Some(QueueOffset(2)));
    }
}
