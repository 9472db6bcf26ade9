// SPDX-License-Identifier: Apache-2.0
//! All consume queues of a store, by topic and number. Those that nobody asked for yet are known by name only.
//!
//! A queue is checked when it is opened: it must go as far as the [`list`](crate::list) says, and its first and last
//! units must point to messages of it. One that does not, or of which a reader found damage, is built again from the
//! log by the thread `store-rebuild`; until then whoever asks for it is told so, and it takes nothing.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    io,
    sync::{
        Arc, Mutex, MutexGuard, RwLock,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
};

use oxmq_types::{QueueId, QueueOffset, validate_group};

use crate::{
    error::{QueueError, QueueFileError},
    list::{Lines, List, ListFile, Listed},
    log::CommitLog,
    queue::{Loaded, Queue, QueueFiles, Verdict},
    read::LMQ_PREFIX,
    retention::absent_is_fine,
    sync::{lock, read, write},
};

/// Longest name of a folder on the usual file systems.
const FOLDER_NAME_MAX: usize = 255;
/// Queues that can be opened at the same time.
const OPENING_MAX: usize = 16;

/// A queue that may be there.
enum Slot {
    /// Nobody opened it yet; what the list says of it.
    Closed(Listed),
    Open(Arc<Queue>),
}

pub(crate) struct Registry {
    pub(crate) files: Arc<QueueFiles>,
    log: Arc<CommitLog>,
    topics: RwLock<HashMap<Arc<str>, BTreeMap<u32, Slot>>>,
    /// Held while a queue is opened, by the hash of its name: others need not wait for its files.
    opening: [Mutex<()>; OPENING_MAX],
    next_key: AtomicU32,
    /// What queues that are opened from now on leave out, see [`Queue::load`].
    pub(crate) limits: RwLock<Limits>,
    /// Queues that nobody opened yet may have units that a crash left; the checkpoint must not move on, see
    /// `recovery`.
    pub(crate) unseen: AtomicBool,
    /// Topic -> where the log ended when it was deleted last.
    deleted: RwLock<BTreeMap<Arc<str>, u64>>,
    /// Below this physical offset, topics may have been deleted without our knowing.
    pub(crate) since: AtomicU64,
    list: Mutex<ListFile>,
    /// What the list is to say of queues that were condemned.
    ///
    /// INVARIANT: the checkpoint does not move on before it does. Recovery leaves their records to the rebuild; after
    /// a crash that comes before it, nothing else would remember that there is something to build.
    condemned: Mutex<Lines>,
}

#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// Units of records at or beyond this physical offset do not count.
    pub(crate) limit: u64,
    pub(crate) torn: bool,
}

/// A queue by name.
pub(crate) type Name = (Arc<str>, QueueId);

impl Registry {
    /// Knows the queues that `list` has, and, unless `list` is all there is to know, those under the consume queue
    /// folder.
    pub(crate) fn new(
        files: Arc<QueueFiles>,
        log: Arc<CommitLog>,
        list: List,
        list_file: ListFile,
        complete: bool,
    ) -> Result<Self, QueueFileError> {
        let mut topics: HashMap<Arc<str>, BTreeMap<u32, Slot>> = HashMap::new();
        let mut damaged = Vec::new();
        for (topic, queues) in list.queues {
            let slots = queues.iter().map(|(id, listed)| (*id, Slot::Closed(*listed))).collect();
            let building = queues.iter().filter(|(_, listed)| listed.building);
            damaged.extend(building.map(|(id, _)| (Arc::clone(&topic), QueueId(*id))));
            topics.insert(topic, slots);
        }
        let failed = |path: &std::path::Path| {
            let path = path.to_owned();
            move |source| QueueFileError { path, source }
        };
        let mut vanished: BTreeSet<Arc<str>> = topics.keys().cloned().collect();
        let mut seen = 0;
        for topic in files.disk.list(&files.dir).map_err(failed(&files.dir))? {
            let dir = files.dir.join(&topic.name);
            if !topic.is_dir || check_name(&topic.name).is_err() {
                tracing::warn!(path = %dir.display(), "not a topic's folder, ignored");
                continue;
            }
            seen += 1;
            vanished.remove(&*topic.name);
            if complete && topics.contains_key(&*topic.name) {
                continue;
            }
            let queues = files.disk.list(&dir).map_err(failed(&dir))?;
            let ids = queues.iter().filter(|queue| queue.is_dir).filter_map(|queue| queue.name.parse().ok());
            let slots = topics.entry(Arc::from(topic.name)).or_default();
            for id in ids {
                slots.entry(id).or_insert(Slot::Closed(Listed::default()));
            }
        }
        for topic in vanished {
            let slots = topics.get(&topic).into_iter().flatten();
            let had = slots.filter(|(_, slot)| matches!(slot, Slot::Closed(listed) if listed.max > 0));
            damaged.extend(had.map(|(id, _)| (Arc::clone(&topic), QueueId(*id))));
        }
        if seen == 0 {
            // People remove the folder to have it built again.
            topics.clear();
        }
        let unseen = !complete && !topics.is_empty();
        let registry = Self {
            files,
            log,
            topics: RwLock::new(topics),
            opening: Default::default(),
            next_key: AtomicU32::new(0),
            limits: RwLock::new(Limits { limit: 0, torn: false }),
            unseen: AtomicBool::new(unseen),
            deleted: RwLock::new(list.deleted),
            since: AtomicU64::new(list.since.unwrap_or(u64::MAX)),
            list: Mutex::new(list_file),
            condemned: Mutex::default(),
        };
        for (topic, id) in damaged {
            if registry.contains(&topic, id) {
                registry.condemn(&topic, id, "its files are not there, or were being built again");
            }
        }
        Ok(registry)
    }

    /// The queue, opened or, if there is none, made in memory.
    pub(crate) fn get(&self, topic: &str, id: QueueId) -> Result<Arc<Queue>, QueueError> {
        match self.opened(topic, id) {
            Some(queue) => queue.ready().map(|()| queue),
            None => {
                check_name(topic)?;
                let _opening = self.opening(topic, id);
                loop {
                    if let Some(queue) = self.opened(topic, id) {
                        return queue.ready().map(|()| queue);
                    }
                    let was_there = self.contains(topic, id);
                    let queue = Arc::new(self.load(topic, id, true)?);
                    if self.insert(&queue, was_there) {
                        return queue.ready().map(|()| queue);
                    }
                }
            }
        }
    }

    fn opened(&self, topic: &str, id: QueueId) -> Option<Arc<Queue>> {
        match read(&self.topics).get(topic)?.get(&id.0)? {
            Slot::Open(queue) => Some(Arc::clone(queue)),
            Slot::Closed(_) => None,
        }
    }

    fn opening(&self, topic: &str, id: QueueId) -> MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        (topic, id.0).hash(&mut hasher);
        lock(&self.opening[hasher.finish() as usize % OPENING_MAX])
    }

    /// False if the queue was deleted while its files were read, which `was_there` before.
    fn insert(&self, queue: &Arc<Queue>, was_there: bool) -> bool {
        let mut topics = write(&self.topics);
        let id = queue.queue_id().0;
        if was_there && topics.get(queue.topic()).is_none_or(|slots| !slots.contains_key(&id)) {
            return false;
        }
        topics.entry(queue.topic_name()).or_default().insert(id, Slot::Open(Arc::clone(queue)));
        true
    }

    /// A queue beside those that are known.
    pub(crate) fn new_queue(&self, topic: &Arc<str>, id: QueueId) -> Queue {
        Queue::new(&self.files, topic, id, self.next_key.fetch_add(1, Ordering::Relaxed))
    }

    /// True while the checkpoint must not move on: after a crash, until all queues were looked at.
    pub(crate) fn holds_checkpoint(&self) -> bool {
        self.unseen.load(Ordering::Acquire) && read(&self.limits).torn
    }

    /// Opens a queue from its files; as one that has to be built again, if they are not what they should be.
    /// `thorough`: also asks the log about its first and last units.
    fn load(&self, topic: &str, id: QueueId, thorough: bool) -> Result<Queue, QueueFileError> {
        let (name, listed) = {
            let topics = read(&self.topics);
            let known = topics.get_key_value(topic);
            let listed = match known.and_then(|(_, queues)| queues.get(&id.0)) {
                Some(Slot::Closed(listed)) => *listed,
                _ => Listed::default(),
            };
            (known.map_or_else(|| Arc::from(topic), |(name, _)| Arc::clone(name)), listed)
        };
        let limits = *read(&self.limits);
        let mut queue = self.new_queue(&name, id);
        let problem = match queue.load(limits, self.log.min(), listed) {
            Err(error) if is_damage(&error.source) => Some((0, error.to_string())),
            Err(error) => return Err(error),
            Ok(Loaded::Less) => {
                let (now, was) = (queue.listed(), listed);
                let why = format!(
                    "it goes from {} to {}, but went from {} to {}",
                    now.start, now.max, was.start, was.max
                );
                Some((0, why))
            }
            Ok(Loaded::Rest { from, what }) => Some((from, what.to_string())),
            Ok(Loaded::Right) if thorough => match queue.verdict(&self.log) {
                Ok(Verdict::Wrong) => Some((u64::MAX, "its units point to what is not its".to_owned())),
                Ok(Verdict::Right) => None,
                Err(error) if is_damage(&error.source) => Some((0, error.to_string())),
                Err(error) => return Err(error),
            },
            Ok(Loaded::Right) => None,
        };
        if let Some((from, problem)) = problem {
            if name.starts_with(LMQ_PREFIX) {
                // It has units of other topics' records, and cannot be built from the log.
                let source = io::Error::new(io::ErrorKind::InvalidData, problem);
                return Err(QueueFileError { path: queue.dir(), source });
            }
            queue = self.new_queue(&name, id);
            queue.condemn(listed.max);
            self.remember(&queue, listed.start);
            self.files.suspect(&name, id, from, &problem);
        }
        Ok(queue)
    }

    /// Has a queue that nobody opened yet built again.
    fn condemn(&self, topic: &str, id: QueueId, why: &str) {
        let slot = read(&self.topics).get(topic).and_then(|queues| match queues.get(&id.0)? {
            Slot::Closed(listed) => Some(listed.max),
            Slot::Open(_) => None,
        });
        let queue = self.new_queue(&Arc::from(topic), id);
        queue.condemn(slot.unwrap_or(0));
        self.remember(&queue, 0);
        self.insert(&Arc::new(queue), false);
        self.files.suspect(topic, id, 0, why);
    }

    /// Looks at all queues that are not opened, on all processors, and leaves them so; `each` is told of every one.
    /// Ends early, and says so, when `stop` is set.
    pub(crate) fn see_all(
        &self,
        stop: &AtomicBool,
        each: impl Fn(&Queue) -> Result<(), QueueFileError> + Sync,
    ) -> Result<bool, QueueError> {
        let names = self.names();
        let next = AtomicU64::new(0);
        let work = || -> Result<(), QueueError> {
            while let Some((topic, id)) = names.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                if stop.load(Ordering::Acquire) {
                    return Ok(());
                }
                let _opening = self.opening(topic, *id);
                if self.opened(topic, *id).is_some() || !self.contains(topic, *id) {
                    continue;
                }
                let queue = self.load(topic, *id, false)?;
                if queue.rebuilding().is_some() {
                    self.insert(&Arc::new(queue), true);
                    continue;
                }
                each(&queue)?;
                if let Some(slot) = write(&self.topics).get_mut(topic).and_then(|slots| slots.get_mut(&id.0))
                {
                    *slot = Slot::Closed(queue.listed());
                }
            }
            Ok(())
        };
        let threads =
            std::thread::available_parallelism().map_or(1, usize::from).min(8).min(1 + names.len() / 64);
        let done = std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
            let mine = work();
            let join = |thread: std::thread::ScopedJoinHandle<'_, Result<(), QueueError>>| {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            others.into_iter().map(join).fold(mine, Result::and)
        });
        done.map(|()| !stop.load(Ordering::Acquire))
    }

    /// True if a queue of `topic` is being built again.
    pub(crate) fn rebuilds(&self, topic: &str) -> Option<Arc<Queue>> {
        let topics = read(&self.topics);
        let mut queues = topics.get(topic)?.values();
        queues.find_map(|slot| match slot {
            Slot::Open(queue) if queue.rebuilding().is_some() => Some(Arc::clone(queue)),
            _ => None,
        })
    }

    /// True if the queue is in memory or in files.
    pub(crate) fn contains(&self, topic: &str, id: QueueId) -> bool {
        read(&self.topics).get(topic).is_some_and(|queues| queues.contains_key(&id.0))
    }

    /// Names of all queues, opened or not, ascending.
    pub(crate) fn names(&self) -> Vec<Name> {
        let topics = read(&self.topics);
        let mut topics: Vec<_> = topics.iter().collect();
        topics.sort_unstable_by_key(|(topic, _)| *topic);
        let names = topics
            .into_iter()
            .flat_map(|(topic, queues)| queues.keys().map(|id| (Arc::clone(topic), QueueId(*id))));
        names.collect()
    }

    /// The queue, in whatever state. `None` if nobody opened it, or it was deleted.
    pub(crate) fn existing(&self, topic: &str, id: QueueId) -> Option<Arc<Queue>> {
        // Whoever opens it names it to be built again before others find it.
        let _opening = self.opening(topic, id);
        self.opened(topic, id)
    }

    /// True if a record of `topic` at `physical` was deleted with its topic.
    pub(crate) fn was_deleted(&self, topic: &str, physical: u64) -> bool {
        read(&self.deleted).get(topic).is_some_and(|end| physical < *end)
    }

    /// Forgets what was deleted beyond `end`, where recovery cut the log: new records will stand there. Durable then.
    pub(crate) fn log_ends_at(&self, end: u64) -> Result<(), QueueFileError> {
        let mut beyond = false;
        for at in write(&self.deleted).values_mut() {
            beyond |= *at > end;
            *at = end.min(*at);
        }
        let since = self.since.load(Ordering::Relaxed);
        if since != u64::MAX && since > end {
            beyond = true;
            self.since.store(end, Ordering::Relaxed);
        }
        let mut lines = Lines::default();
        if beyond {
            lines.cut(end);
            self.note(&lines)?;
        }
        Ok(())
    }

    /// Has a queue forget what the log does not have any more, which begins at `log_min`, and removes its files that
    /// hold nothing else. Returns how many.
    pub(crate) fn drop_below(&self, topic: &str, id: QueueId, log_min: u64) -> Result<usize, QueueError> {
        let queue = match self.opened(topic, id) {
            Some(queue) if queue.rebuilding().is_some() => return Ok(0),
            Some(queue) => queue,
            None if !self.contains(topic, id) => return Ok(0),
            None => {
                let dir = self.files.dir.join(topic).join(id.0.to_string());
                let failed = |source| QueueFileError { path: dir.clone(), source };
                // The last file stays, so most queues need not be opened.
                if self.files.disk.list(&dir).map_err(failed)?.len() < 2 {
                    return Ok(0);
                }
                match self.get(topic, id) {
                    Err(QueueError::Rebuilding { .. }) => return Ok(0),
                    queue => queue?,
                }
            }
        };
        let removed = queue.drop_below(log_min)?;
        if removed > 0 {
            let mut lines = Lines::default();
            lines.start(topic, id.0, queue.listed().start);
            self.note(&lines)?;
        }
        Ok(removed)
    }

    /// True if no queue ever had a unit since it was made.
    pub(crate) fn is_empty(&self) -> bool {
        // Of one that is being built again nobody knows what it had.
        let unused = |slot: &Slot| match slot {
            Slot::Open(queue) => queue.max_offset() == QueueOffset(0) && queue.rebuilding().is_none(),
            Slot::Closed(_) => false,
        };
        read(&self.topics).values().flat_map(BTreeMap::values).all(unused)
    }

    /// Forgets the queues of `topic`, has `each` that was opened deleted, and removes their files. `end`: of the log,
    /// asked when no queue takes records any more.
    pub(crate) fn delete(
        &self,
        topic: &str,
        each: impl FnMut(Arc<Queue>),
        end: impl FnOnce() -> u64,
    ) -> Result<(), QueueError> {
        check_name(topic)?;
        let mut topics = write(&self.topics);
        let Some(queues) = topics.remove(topic) else { return Ok(()) };
        let opened = queues.into_values().filter_map(|slot| match slot {
            Slot::Open(queue) => Some(queue),
            Slot::Closed(_) => None,
        });
        opened.for_each(each);
        let dir = self.files.dir.join(topic);
        let removed = absent_is_fine(self.files.disk.remove_dir_all(&dir));
        // Or else a power loss brings the old queues back, in place of new ones perhaps.
        let removed = removed.and_then(|()| self.files.disk.sync_dir(&self.files.dir));
        removed.map_err(|source| QueueFileError { path: dir, source })?;
        let end = end();
        let mut lines = Lines::default();
        lines.deleted(topic, end);
        write(&self.deleted).insert(Arc::from(topic), end);
        Ok(self.note(&lines)?)
    }

    /// Has the list say, before the next checkpoint, that a condemned queue is to be built again.
    pub(crate) fn remember(&self, queue: &Queue, start: u64) {
        let listed = Listed { start, max: queue.max_offset().0, building: true };
        lock(&self.condemned).queue(queue.topic(), queue.queue_id().0, listed);
    }

    /// Adds lines to the list, behind those of queues that were condemned.
    pub(crate) fn note(&self, lines: &Lines) -> Result<(), QueueFileError> {
        let mut list = lock(&self.list);
        let mut condemned = lock(&self.condemned);
        let all = std::mem::take(&mut *condemned).then(lines);
        if all.is_empty() {
            return Ok(());
        }
        list.add(&all).map_err(|source| {
            // All of them: one line too many costs a rebuild, one too few a message.
            *condemned = all;
            QueueFileError { path: list.path(), source }
        })
    }

    /// Writes the whole list. `closed`: where the log ends, if nothing will be appended any more. If that fails, as on a
    /// full disk, the old one stays, which knows less but nothing that is wrong.
    pub(crate) fn write_list(&self, closed: Option<u64>) {
        let mut lines = Lines::default();
        {
            let since = self.since.load(Ordering::Relaxed);
            lines.since(if since == u64::MAX { self.log.end() } else { since });
            let min = self.log.min();
            let deleted = read(&self.deleted);
            deleted.iter().filter(|(_, end)| **end > min).for_each(|(topic, end)| lines.deleted(topic, *end));
            let topics = read(&self.topics);
            let mut topics: Vec<_> = topics.iter().collect();
            topics.sort_unstable_by_key(|(topic, _)| *topic);
            for (topic, slots) in topics {
                for (id, slot) in slots {
                    let listed = match slot {
                        Slot::Closed(listed) => *listed,
                        Slot::Open(queue) => queue.listed(),
                    };
                    // One that was asked for and never got a message has no files; of one that has to be built again
                    // nobody knows yet what it had.
                    if listed.max > 0 || listed.building || matches!(slot, Slot::Closed(_)) {
                        lines.queue(topic, *id, listed);
                    }
                }
            }
            if let Some(end) = closed {
                lines.closed(end);
            }
        }
        let mut list = lock(&self.list);
        if let Err(error) = list.replace(&lines) {
            tracing::warn!(file = %list.path().display(), %error, "cannot write the list of queues");
        }
    }
}

/// True if files that fail so are no use, and others have to take their place.
pub(crate) fn is_damage(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, IsADirectory, NotADirectory, NotFound, UnexpectedEof};
    const EIO: i32 = 5;
    matches!(error.kind(), InvalidData | IsADirectory | NotADirectory | NotFound | UnexpectedEof)
        || error.raw_os_error() == Some(EIO)
}

/// Retry and dead letter topics may be longer than [`oxmq_types::TOPIC_NAME_MAX_LENGTH`]: a prefix and a group's name.
fn check_name(topic: &str) -> Result<(), QueueError> {
    if topic.len() > FOLDER_NAME_MAX {
        return Err(QueueError::TooLong(topic.len()));
    }
    Ok(validate_group(topic)?)
}
