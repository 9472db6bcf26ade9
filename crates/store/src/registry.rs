// SPDX-License-Identifier: Apache-2.0
//! All consume queues of a store, by topic and number. Those that nobody asked for yet are known by name only.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, RwLock,
        atomic::{AtomicU32, Ordering},
    },
};

use oxmq_types::{QueueId, QueueOffset, validate_group};

use crate::{
    error::{QueueError, QueueFileError},
    queue::{Queue, QueueFiles},
    retention::absent_is_fine,
    sync::{read, write},
};

/// Longest name of a folder on the usual file systems.
const FOLDER_NAME_MAX: usize = 255;

/// Queues of a topic by number; `None` for one that nobody opened yet.
type TopicQueues = BTreeMap<u32, Option<Arc<Queue>>>;

pub(crate) struct Registry {
    pub(crate) files: Arc<QueueFiles>,
    topics: RwLock<HashMap<Arc<str>, TopicQueues>>,
    next_key: AtomicU32,
    /// What queues that are opened from now on leave out, see [`Queue::load`].
    pub(crate) limits: RwLock<Limits>,
}

#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// Units of records at or beyond this physical offset do not count.
    pub(crate) limit: u64,
    pub(crate) log_min: u64,
    pub(crate) torn: bool,
}

impl Registry {
    /// Learns the names of all queues under the consume queue folder.
    pub(crate) fn list(files: Arc<QueueFiles>, limits: Limits) -> Result<Self, QueueFileError> {
        let failed = |path: &std::path::Path| {
            let path = path.to_owned();
            move |source| QueueFileError { path, source }
        };
        let mut topics = HashMap::new();
        for topic in files.disk.list(&files.dir).map_err(failed(&files.dir))? {
            let dir = files.dir.join(&topic.name);
            if !topic.is_dir || check_name(&topic.name).is_err() {
                tracing::warn!(path = %dir.display(), "not a topic's folder, ignored");
                continue;
            }
            let queues = files.disk.list(&dir).map_err(failed(&dir))?;
            let ids = queues.iter().filter(|queue| queue.is_dir).filter_map(|queue| queue.name.parse().ok());
            let queues: TopicQueues = ids.map(|id| (id, None)).collect();
            topics.insert(Arc::from(topic.name), queues);
        }
        Ok(Self {
            files,
            topics: RwLock::new(topics),
            next_key: AtomicU32::new(0),
            limits: RwLock::new(limits),
        })
    }

    /// The queue, opened or, if there is none, made in memory.
    pub(crate) fn get(&self, topic: &str, id: QueueId) -> Result<Arc<Queue>, QueueError> {
        if let Some(Some(queue)) = read(&self.topics).get(topic).and_then(|queues| queues.get(&id.0)) {
            return Ok(Arc::clone(queue));
        }
        check_name(topic)?;
        let mut topics = write(&self.topics);
        let name = topics.get_key_value(topic).map_or_else(|| Arc::from(topic), |(name, _)| Arc::clone(name));
        let known = topics.get(topic).and_then(|queues| queues.get(&id.0));
        if let Some(Some(queue)) = known {
            return Ok(Arc::clone(queue));
        }
        let Limits { limit, log_min, torn } = *read(&self.limits);
        let key = self.next_key.fetch_add(1, Ordering::Relaxed);
        let queue = Arc::new(Queue::load(&self.files, &name, id, key, limit, log_min, torn)?);
        topics.entry(name).or_default().insert(id.0, Some(Arc::clone(&queue)));
        Ok(queue)
    }

    /// Forgets what was opened, so that it is opened again by the limits of now. Only before anything is appended.
    pub(crate) fn close_all(&self) {
        write(&self.topics).values_mut().flat_map(BTreeMap::values_mut).for_each(|queue| *queue = None);
    }

    /// True if the queue is in memory or in files.
    pub(crate) fn contains(&self, topic: &str, id: QueueId) -> bool {
        read(&self.topics).get(topic).is_some_and(|queues| queues.contains_key(&id.0))
    }

    /// Names of all queues, opened or not, ascending.
    pub(crate) fn names(&self) -> Vec<(Arc<str>, QueueId)> {
        let topics = read(&self.topics);
        let mut topics: Vec<_> = topics.iter().collect();
        topics.sort_unstable_by_key(|(topic, _)| *topic);
        let names = topics
            .into_iter()
            .flat_map(|(topic, queues)| queues.keys().map(|id| (Arc::clone(topic), QueueId(*id))));
        names.collect()
    }

    /// Has a queue forget what the log does not have any more, which begins at `log_min`, and removes its files that
    /// hold nothing else. Returns how many.
    pub(crate) fn drop_below(&self, topic: &str, id: QueueId, log_min: u64) -> Result<usize, QueueError> {
        let known = read(&self.topics).get(topic).and_then(|queues| queues.get(&id.0).cloned());
        match known {
            None => Ok(0),
            Some(Some(queue)) => Ok(queue.drop_below(log_min)?),
            Some(None) => {
                let dir = self.files.dir.join(topic).join(id.0.to_string());
                let failed = |source| QueueFileError { path: dir.clone(), source };
                // The last file stays, so most queues need not be opened.
                let files = self.files.disk.list(&dir).map_err(failed)?.len();
                if files < 2 { Ok(0) } else { Ok(self.get(topic, id)?.drop_below(log_min)?) }
            }
        }
    }

    /// True if no queue ever had a unit since it was made.
    pub(crate) fn is_empty(&self) -> bool {
        let unused = |queue: &Arc<Queue>| queue.max_offset() == QueueOffset(0);
        let topics = read(&self.topics);
        topics.values().flat_map(BTreeMap::values).all(|queue| queue.as_ref().is_some_and(unused))
    }

    /// Forgets the queues of `topic`, has `each` that was opened deleted, and removes their files.
    pub(crate) fn delete(&self, topic: &str, each: impl FnMut(Arc<Queue>)) -> Result<(), QueueError> {
        check_name(topic)?;
        let mut topics = write(&self.topics);
        let Some(queues) = topics.remove(topic) else { return Ok(()) };
        queues.into_values().flatten().for_each(each);
        let dir = self.files.dir.join(topic);
        let removed = absent_is_fine(self.files.disk.remove_dir_all(&dir));
        // Or else a power loss brings the old queues back, in place of new ones perhaps.
        let removed = removed.and_then(|()| self.files.disk.sync_dir(&self.files.dir));
        Ok(removed.map_err(|source| QueueFileError { path: dir, source })?)
    }
}

/// Retry and dead letter topics may be longer than [`oxmq_types::TOPIC_NAME_MAX_LENGTH`]: a prefix and a group's name.
fn check_name(topic: &str) -> Result<(), QueueError> {
    if topic.len() > FOLDER_NAME_MAX {
        return Err(QueueError::TooLong(topic.len()));
    }
    Ok(validate_group(topic)?)
}
