// SPDX-License-Identifier: Apache-2.0
//! The store as a whole: what is shared, how records get in, how they get out.

use std::{
    io,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use oxmq_record::{BLANK_SIZE_MIN, RECORD_SIZE_MIN, RecordView};
use oxmq_types::{PhysicalOffset, QueueId, QueueOffset, TagsCode};

use crate::{
    checkpoint::{self, Checkpoint},
    config::{FlushMode, StoreConfig},
    disk::{Disk, Locked},
    error::{AppendError, CloseError, FlushError, OpenError, QueueError, QueueFileError},
    flush::{FlushState, QueueFlusher, flush_log, log_flusher, prepare, queue_flusher},
    index::{Index, KeyMatches, KeyQuery, Opening, index_builder},
    list::{self, List, ListFile},
    log::CommitLog,
    preflight,
    queue::{Boundary, Queue, QueueFiles},
    read::{Access, LogReader, ReadError, Reader},
    rebuild::{rebuilder, see_all, step},
    recovery::{TagsRule, recover},
    registry::Registry,
    retention::{Cleaning, Removal, RetentionConfig, cleaner, measure},
    sync::{Bell, lock},
    unit::{UNIT_SIZE, Unit},
    writer::Writer,
};

/// So few queues are all looked at after a crash before the store is open.
const SEEN_AT_START: usize = 1_000;
/// After a crash, at most so many bytes at the end of the log are written again. A failed sync ends writing, so what it
/// left undone is not far from the end.
const WRITTEN_AGAIN_MAX: u64 = 1024 * 1024 * 1024;
/// Java keeps lengths of files in 32 bits, signed.
const FILE_SIZE_MAX: u64 = i32::MAX as u64;

/// A store that is open. One thread flushes the commit log, one the consume queues, one prepares pages and segments,
/// one builds the index; without appends all of them sleep. One looks at clock and disks and removes what is old.
///
/// Dropping it without [`Store::close`] is like a crash of the process.
pub struct Store {
    pub(crate) shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    recovered: bool,
}

pub(crate) struct Shared {
    pub(crate) config: StoreConfig,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) log: Arc<CommitLog>,
    pub(crate) tags_rule: TagsRule,
    pub(crate) registry: Registry,
    pub(crate) writer: Mutex<Writer>,
    pub(crate) flush: Mutex<FlushState>,
    pub(crate) flush_bell: Bell,
    pub(crate) queue_flusher: Mutex<QueueFlusher>,
    pub(crate) queue_bell: Bell,
    pub(crate) prepare_bell: Bell,
    pub(crate) index: Option<Index>,
    pub(crate) cleaning: Cleaning,
    /// When somebody used the store last before it was opened, as far as it shows, in ms since 1970.
    pub(crate) alive_ms: i64,
    /// When it was opened, before recovery, by both clocks.
    pub(crate) opened: Instant,
    pub(crate) opened_ms: i64,
    /// The threads are to end.
    pub(crate) stop: AtomicBool,
    _lock: Box<dyn Locked>,
}

impl Store {
    /// Opens the store that `config` names, creating it if there is none: takes its lock file, recovers what a crash
    /// left, starts the threads. `tags_rule` gives records that recovery dispatches again their tags code;
    /// [`crate::tags_of`] does for ordinary topics.
    ///
    /// # Errors
    /// [`OpenError`] with one line for the operator. Nothing has been changed then, unless it is a file that failed.
    /// Java: `DefaultMessageStore#load`, `#start`.
    #[cfg(unix)]
    pub fn open(config: StoreConfig, tags_rule: TagsRule) -> Result<Arc<Self>, OpenError> {
        Self::open_on(Arc::new(crate::disk::real::RealDisk::default()), config, tags_rule)
    }

    /// Opens a store on a disk in memory, for tests; without an index, whose files would take all their length there.
    /// The store that was open on it before must have been dropped.
    ///
    /// # Errors
    /// As [`Self::open`].
    #[cfg(any(test, feature = "memory-disk"))]
    pub fn open_in_memory(
        disk: &Arc<crate::MemoryDisk>,
        mut config: StoreConfig,
        tags_rule: TagsRule,
    ) -> Result<Arc<Self>, OpenError> {
        config.index = None;
        Self::open_on(Arc::clone(disk) as Arc<dyn Disk>, config, tags_rule)
    }

    pub(crate) fn open_on(
        disk: Arc<dyn Disk>,
        config: StoreConfig,
        tags_rule: TagsRule,
    ) -> Result<Arc<Self>, OpenError> {
        Self::open_with(disk, config, tags_rule, true)
    }

    /// Without `threads`, what they do is only done when somebody calls it: waiting for a flush does it on the spot.
    pub(crate) fn open_with(
        disk: Arc<dyn Disk>,
        mut config: StoreConfig,
        tags_rule: TagsRule,
        threads: bool,
    ) -> Result<Arc<Self>, OpenError> {
        let (opened, opened_ms) = (Instant::now(), ms_of(disk.now()));
        check(&mut config)?;
        let (_, held) = preflight::look(&*disk, &config)?;
        for dir in [&config.root, &config.commit_log_dir, &config.consume_queue_dir] {
            make_dir(&*disk, dir).map_err(at(dir))?;
        }
        // Before anything is written there.
        disk.watch_file_system(&config.consume_queue_dir).map_err(at(&config.consume_queue_dir))?;
        let lock_file = config.root.join("lock");
        let held = match held {
            Some(held) => held,
            None => match disk.lock(&lock_file).map_err(at(&lock_file))? {
                Some(held) => held,
                None => return Err(OpenError::Locked { root: config.root }),
            },
        };
        let crashed = disk.exists(&config.root.join("abort"));
        let checkpoint =
            read_checkpoint(&*disk, &config.checkpoint_file).map_err(at(&config.checkpoint_file))?;
        let closed_ms = disk.modified_ms(&config.checkpoint_file).unwrap_or(0);
        let log =
            CommitLog::open(Arc::clone(&disk), config.commit_log_dir.clone(), config.segment_size_bytes)?;
        let log = Arc::new(log);
        let files = QueueFiles::new(
            Arc::clone(&disk),
            config.consume_queue_dir.clone(),
            config.consume_queue_file_size_bytes,
        );
        let list_path = config.root.join(list::NAME);
        let mut list = List::read(&*disk, &config.root).map_err(at(&list_path))?;
        let list_file = ListFile::new(Arc::clone(&disk), config.root.clone(), &list);
        if log.segment_starts().is_empty() {
            list = List::of_empty_log();
        } else if !checkpoint.ours {
            // A Java broker was here, and may have deleted topics.
            list.since = None;
            list.queues.clear();
        }
        let closed_at = checkpoint.mark.filter(|mark| mark.clean && !crashed && checkpoint.ours);
        let complete = closed_at.is_some_and(|mark| list.closed == Some(mark.dispatched.0));
        let registry = Registry::new(files, Arc::clone(&log), list, list_file, complete)
            .map_err(|error| OpenError::Io { path: error.path, source: error.source })?;

        let abort = config.root.join("abort");
        mark_running(&*disk, &abort).map_err(at(&abort))?;
        let found = recover(&log, &registry, &checkpoint, crashed, &tags_rule).inspect_err(|_| {
            // Refused: the next attempt is to find things as this one did.
            if !crashed {
                let _ = disk.remove_file(&abort);
            }
        })?;
        // What recovery read may be in the page cache only.
        let synced = if crashed {
            let from = found.start.max(found.end.saturating_sub(WRITTEN_AGAIN_MAX));
            log.write_again(from, found.end).and_then(|()| log.sync(found.start, from))
        } else {
            log.sync(found.start, found.end)
        };
        synced.map_err(at(&config.commit_log_dir))?;
        log.begin_writing(config.hot_bytes, config.cold_buffer_bytes);

        let writer = Writer {
            current: log.segment(found.end),
            end: found.end,
            last_record: found.last_record,
            last_timestamp_ms: found.last_timestamp_ms,
            units_waiting: 0,
            dirty: found.dirty,
            queues_stuck: None,
            flush_due: false,
            queues_due: false,
            prepare_at: found.end,
            poisoned: None,
            disk_full: None,
            closed: false,
        };
        let opening = Opening {
            crashed,
            log_end: found.end,
            durable_ms: i64::try_from(checkpoint.indexed_timestamp_ms).unwrap_or(0),
            threads,
        };
        let index = config.index.clone().map(|config| Index::new(config, Arc::clone(&disk), opening));
        let shared = Arc::new(Shared {
            index,
            cleaning: Cleaning::new(config.retention.take()),
            alive_ms: found.last_timestamp_ms.max(closed_ms),
            opened,
            opened_ms,
            flush: Mutex::new(FlushState::new(found.end, found.last_timestamp_ms)),
            queue_flusher: Mutex::new(QueueFlusher::new(checkpoint, !found.clean)),
            config,
            disk,
            log,
            tags_rule,
            registry,
            writer: Mutex::new(writer),
            flush_bell: Bell::default(),
            queue_bell: Bell::default(),
            prepare_bell: Bell::default(),
            stop: AtomicBool::new(false),
            _lock: held,
        });
        if !found.clean {
            let flushed = lock(&shared.queue_flusher).flush(&shared);
            match flushed {
                Ok(()) => shared.checkpoint(false).map_err(|error| match error {
                    CloseError::Io { path, source } => OpenError::Io { path, source },
                    other => OpenError::Io {
                        path: shared.config.checkpoint_file.clone(),
                        source: io::Error::other(other),
                    },
                })?,
                // They are served from memory until there is room, which retention may make once the store is open.
                Err(error) if error.source.kind() == io::ErrorKind::StorageFull => {
                    tracing::error!(%error, "what was dispatched again cannot be written yet");
                }
                Err(error) => return Err(OpenError::Io { path: error.path, source: error.source }),
            }
            if !shared.registry.holds_checkpoint() {
                shared.registry.write_list(None);
            }
        }
        if shared.registry.holds_checkpoint() && shared.registry.names().len() <= SEEN_AT_START {
            see_all(&shared, &AtomicBool::new(false)).map_err(|error| match error {
                QueueError::File(error) => OpenError::Io { path: error.path, source: error.source },
                other => OpenError::Io { path: shared.config.root.clone(), source: io::Error::other(other) },
            })?;
        }
        if let Some(retention) = shared.cleaning.config() {
            measure(&shared, &retention);
        }
        let store = Arc::new(Self { shared, threads: Mutex::default(), recovered: !found.clean });
        if threads {
            store.start_threads().map_err(at(&store.shared.config.root))?;
        }
        Ok(store)
    }

    fn start_threads(&self) -> io::Result<()> {
        for (name, body) in [
            ("store-flush", log_flusher as fn(&Shared)),
            ("store-queues", queue_flusher),
            ("store-prepare", prepare),
            ("store-index", index_builder),
            ("store-clean", cleaner),
            ("store-rebuild", rebuilder),
        ] {
            let shared = Arc::clone(&self.shared);
            let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || body(&shared))?;
            lock(&self.threads).push(thread);
        }
        Ok(())
    }

    /// The queue `queue_id` of `topic`; made if there is none. A new queue lives in memory until its first unit is
    /// flushed, so asking costs no file.
    ///
    /// # Errors
    /// [`QueueError`]: the name cannot be a folder, or the queue's files cannot be read.
    pub fn queue(&self, topic: &str, queue_id: QueueId) -> Result<Arc<Queue>, QueueError> {
        let found = self.shared.registry.get(topic, queue_id);
        if matches!(found, Err(QueueError::Rebuilding { .. }))
            && lock(&self.threads).is_empty()
            && !self.shared.stopping()
        {
            step(&self.shared)?;
            return self.shared.registry.get(topic, queue_id);
        }
        found
    }

    /// The queue `queue_id` of `topic`. `None` if nobody made it.
    ///
    /// # Errors
    /// As [`Self::queue`].
    pub fn existing_queue(&self, topic: &str, queue_id: QueueId) -> Result<Option<Arc<Queue>>, QueueError> {
        if !self.shared.registry.contains(topic, queue_id) {
            return Ok(None);
        }
        self.queue(topic, queue_id).map(Some)
    }

    /// As [`Self::queue`]; waits if the queue is being built again. Only where that may take minutes.
    ///
    /// # Errors
    /// As [`Self::queue`], but for [`QueueError::Rebuilding`].
    pub fn queue_when_built(&self, topic: &str, queue_id: QueueId) -> Result<Arc<Queue>, QueueError> {
        loop {
            match self.queue(topic, queue_id) {
                Err(QueueError::Rebuilding { .. }) => std::thread::sleep(Duration::from_millis(10)),
                queue => return queue,
            }
        }
    }

    /// True if the store had not been closed by us, so that its queues may end before where they ended then.
    #[must_use]
    pub fn was_recovered(&self) -> bool {
        self.recovered
    }

    /// Names of all queues, in no order.
    #[must_use]
    pub fn queues(&self) -> Vec<(Arc<str>, QueueId)> {
        self.shared.registry.names()
    }

    /// Forgets all queues of `topic` and removes their files. Records stay in the log until it is cleaned; a queue
    /// that is made again starts at 0. Whoever holds one of the queues gets [`AppendError::QueueDeleted`].
    ///
    /// # Errors
    /// [`DeleteError`] if files cannot be removed, or what was appended before cannot be made durable.
    pub fn delete_topic(&self, topic: &str) -> Result<(), DeleteError> {
        let shared = &*self.shared;
        // With the flusher held, no tail is being written, which would make the files again.
        let mut flusher = lock(&shared.queue_flusher);
        if let Some(queue) = shared.registry.rebuilds(topic) {
            queue.ready()?;
        }
        let delete = |queue: Arc<Queue>| {
            // Between two appends, so that none fails half way.
            let _writer = lock(&shared.writer);
            queue.delete();
        };
        shared.registry.delete(topic, delete, || shared.log.end())?;
        flusher.flush(shared).map_err(CloseError::from)?;
        Ok(flusher.checkpoint(shared, false)?)
    }

    /// Up to where the log is durable.
    #[must_use]
    pub fn flushed_to(&self) -> PhysicalOffset {
        PhysicalOffset(lock(&self.shared.flush).flushed)
    }

    /// Up to where consumers may see the log: with [`FlushMode::Sync`] as far as it is durable, so that nobody has
    /// consumed what a power loss takes back. Reading does not look at it; whoever hands out messages does, and waits for
    /// more by [`Self::wait_flushed`].
    ///
    /// Java: `CommitLog#getConfirmOffset`, since 5.0.
    #[must_use]
    pub fn readable_to(&self) -> PhysicalOffset {
        match self.shared.config.flush {
            FlushMode::Async { .. } => self.max_physical(),
            FlushMode::Sync => self.flushed_to(),
        }
    }

    /// Has `done` called once the log is durable up to `to`, or when that has failed: at once on this thread if it is
    /// so already, else on the flush thread, for all who wait after one fsync. It must not block.
    ///
    /// Works in both flush modes. A timeout is the caller's: what comes after it finds nobody waiting.
    pub fn wait_flushed(&self, to: PhysicalOffset, done: Box<dyn FnOnce(Result<(), FlushError>) + Send>) {
        // More than there is cannot be waited for.
        let to = to.0.min(self.shared.log.end());
        let mut flush = lock(&self.shared.flush);
        if let Some(outcome) = flush.outcome(to) {
            drop(flush);
            return done(outcome);
        }
        flush.waiters.push((to, done));
        let first = flush.waiters.len() == 1;
        drop(flush);
        if first {
            self.shared.flush_bell.ring();
        }
    }

    /// Makes everything appended so far durable, and waits for it.
    ///
    /// # Errors
    /// [`FlushError`].
    pub fn flush(&self) -> Result<(), FlushError> {
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        self.wait_flushed(
            self.max_physical(),
            Box::new(move |outcome| {
                let _ = tell.send(outcome);
            }),
        );
        if lock(&self.threads).is_empty() {
            flush_log(&self.shared);
        }
        told.recv().unwrap_or(Err(FlushError::Closed))
    }

    /// What reads the messages of `queue`: of [`Access::Memory`] for who must not wait for a disk.
    #[must_use]
    pub fn reader<'a>(&'a self, queue: &'a Queue, access: Access) -> Reader<'a> {
        Reader::new(&self.shared.log, queue, access)
    }

    /// The record that `unit` points to, whosesoever it is. May wait for the disk.
    ///
    /// # Errors
    /// [`ReadError`], never [`ReadError::Cold`].
    pub fn read_unit(&self, unit: &Unit) -> Result<Bytes, ReadError> {
        LogReader::new(&self.shared.log, Access::Disk).unit(unit, None)
    }

    /// The record of `size` bytes at `at`, without a copy where it is in memory; it stays readable as long as the result
    /// lives. `None` if no undamaged record of that size is there. May wait for the disk.
    #[must_use]
    pub fn read_record(&self, at: PhysicalOffset, size: u32) -> Option<Bytes> {
        self.read_unit(&Unit { physical: at, size, tags_code: TagsCode(0) }).ok()
    }

    /// The record at `at`, which may be anybody's guess.
    ///
    /// # Errors
    /// [`ReadError`], of which [`ReadError::Gone`] says that none starts there.
    pub fn record(&self, at: PhysicalOffset, access: Access) -> Result<Bytes, ReadError> {
        self.shared.log.read_record_at(at.0, access)
    }

    /// The record at `at`, which may be anybody's guess. `None` unless a whole, undamaged record starts there. May wait
    /// for the disk.
    #[must_use]
    pub fn record_at(&self, at: PhysicalOffset) -> Option<Bytes> {
        self.record(at, Access::Disk).ok()
    }

    /// How often readers met something damaged or unreadable since the start: each time counts, as in the log.
    #[must_use]
    pub fn damage_met(&self) -> u64 {
        self.shared.log.damage_met()
    }

    /// Gives back the memory of what was read from the disk, if nobody did since the last call.
    pub fn forget_cold(&self) {
        self.shared.log.cold.forget_unused();
    }

    /// The store time of the record at `at`, in ms since 1970. `None` if none starts there. May wait for the disk.
    #[must_use]
    pub fn store_timestamp(&self, at: PhysicalOffset) -> Option<i64> {
        self.shared.log.store_timestamp(at.0)
    }

    /// The offset of the message of `queue` that was stored at `timestamp_ms`. `boundary` says which if there are
    /// several or none: `Lower` the first at or after, `Upper` the last at or before. After the last message `Lower`
    /// gives the maximum offset; before the first it gives the minimum offset and `Upper` gives 0.
    ///
    /// # Errors
    /// [`QueueFileError`] if a file cannot be read.
    /// Java: `ConsumeQueue#getOffsetInQueueByTime`.
    pub fn offset_by_time(
        &self,
        queue: &Queue,
        timestamp_ms: i64,
        boundary: Boundary,
    ) -> Result<QueueOffset, QueueFileError> {
        queue.offset_by_time(&self.shared.log, timestamp_ms, boundary)
    }

    /// Store time of the earliest message of `queue` that the store still has. `None` if it has none.
    ///
    /// # Errors
    /// [`QueueFileError`] if a file cannot be read.
    /// Java: `getEarliestMessageTime`.
    pub fn earliest_time(&self, queue: &Queue) -> Result<Option<i64>, QueueFileError> {
        let unit = queue.unit(queue.min_offset().0)?;
        Ok(unit.and_then(|unit| self.shared.log.store_timestamp(unit.physical.0)))
    }

    /// The messages that have a key. What was stored before this call is found, unless the index is being built again
    /// and has not come there yet. Nothing is found without an index.
    ///
    /// Reads files and may wait for a second.
    /// Java: `DefaultMessageStore#queryMessage`, whose matches are those of the hash.
    #[must_use]
    pub fn query(&self, wanted: &KeyQuery<'_>) -> KeyMatches {
        let index = self.shared.index.as_ref();
        index.map(|index| index.query(&self.shared.log, wanted)).unwrap_or_default()
    }

    /// Where the oldest segment starts.
    #[must_use]
    pub fn min_physical(&self) -> PhysicalOffset {
        PhysicalOffset(self.shared.log.min())
    }

    /// Where the next record will start, if it still fits into the segment.
    #[must_use]
    pub fn max_physical(&self) -> PhysicalOffset {
        PhysicalOffset(self.shared.log.end())
    }

    /// The record that was appended last. `None` if there is none, or it does not end where the log does.
    #[must_use]
    pub fn last_record(&self) -> Option<Bytes> {
        let at = lock(&self.shared.writer).last_record;
        self.record_at(PhysicalOffset(at))
    }

    /// Store time of the last record, in ms since 1970; 0 in an empty store.
    #[must_use]
    pub fn last_store_timestamp_ms(&self) -> i64 {
        lock(&self.shared.writer).last_timestamp_ms
    }

    /// Has expired segments removed now and not only in their hour (`deleteWhen`). Returns at once; the thread that
    /// cleans goes on until none is left.
    ///
    /// Java: `MessageStore#executeDeleteFilesManually`.
    pub fn clean(&self) {
        self.shared.cleaning.ask();
    }

    /// From now on messages go as `changed` says. Nothing happens if none go at all, as without [`StoreConfig::retention`].
    pub fn set_retention(&self, changed: RetentionConfig) {
        self.shared.cleaning.set(changed);
    }

    /// Has `announce` called before messages are removed, on the thread that then removes them. Only the first
    /// `announce` counts.
    pub fn on_removal(&self, announce: impl Fn(&Removal<'_>) + Send + Sync + 'static) {
        self.shared.cleaning.announce_to(Box::new(announce));
    }

    /// Files of the log that are to be removed and cannot be yet.
    #[must_use]
    pub fn hanged_files(&self) -> usize {
        self.shared.cleaning.hanged.load(Ordering::Acquire)
    }

    /// Why the store takes no records any more. `None` if it does.
    #[must_use]
    pub fn refuses(&self) -> Option<AppendError> {
        lock(&self.shared.writer).check().err()
    }

    /// Makes everything durable and marks the store as closed, so that the next start takes milliseconds. Appends are
    /// refused from now on; readers may go on. A second call does nothing.
    ///
    /// # Errors
    /// [`CloseError`]: the next start recovers as after a crash.
    pub fn close(&self) -> Result<(), CloseError> {
        if std::mem::replace(&mut lock(&self.shared.writer).closed, true) {
            return Ok(());
        }
        let flushed = self.flush();
        self.stop_threads();
        flushed?;
        let shared = &*self.shared;
        see_all(shared, &AtomicBool::new(false)).map_err(|error| match error {
            QueueError::File(error) => CloseError::Queue(error),
            other => CloseError::Io {
                path: shared.config.consume_queue_dir.clone(),
                source: io::Error::other(other),
            },
        })?;
        lock(&shared.queue_flusher).flush(shared)?;
        if let Some(index) = &shared.index {
            index
                .close(&shared.log)
                .map_err(|error| CloseError::Io { path: error.path, source: error.source })?;
        }
        let dir = &shared.config.commit_log_dir;
        shared.log.remove_spares().map_err(|source| CloseError::Io { path: dir.clone(), source })?;
        shared.checkpoint(true)?;
        // What it says of queues is on the disk by now.
        shared.registry.write_list(Some(shared.log.end()));
        let abort = shared.config.root.join("abort");
        let removed =
            shared.disk.remove_file(&abort).and_then(|()| shared.disk.sync_dir(&shared.config.root));
        removed.map_err(|source| CloseError::Io { path: abort, source })
    }

    fn stop_threads(&self) {
        let shared = &*self.shared;
        shared.stop.store(true, Ordering::Release);
        for bell in [
            &shared.registry.files.bell,
            &shared.flush_bell,
            &shared.queue_bell,
            &shared.prepare_bell,
            &shared.cleaning.bell,
        ] {
            bell.ring();
        }
        if let Some(index) = &shared.index {
            index.ring();
        }
        for thread in lock(&self.threads).drain(..) {
            // Who is told of a removal may let go of the store there.
            if thread.thread().id() == std::thread::current().id() {
                continue;
            }
            if thread.join().is_err() {
                tracing::error!("a thread of the store panicked");
            }
        }
    }
}

/// Why a topic was not, or not lastingly, deleted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeleteError {
    /// Its name is illegal or its files cannot be removed.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The queues are gone, but a crash before the next checkpoint may bring some of their units back.
    #[error(transparent)]
    Checkpoint(#[from] CloseError),
}

impl Drop for Store {
    fn drop(&mut self) {
        lock(&self.shared.writer).closed = true;
        self.stop_threads();
        self.shared.end_flushing(&FlushError::Closed);
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("root", &self.shared.config.root)
            .field("min_physical", &self.min_physical())
            .field("max_physical", &self.max_physical())
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// Refuses appends for ever.
    pub(crate) fn poison(&self, reason: &str) {
        tracing::error!(
            reason, folder = %self.log.dir.display(),
            "fsync of the commit log failed: what was not on the disk before may be lost; no more messages are taken, \
             those before can be consumed; look after the disk, then start the broker again"
        );
        lock(&self.writer).poisoned = Some(reason.to_owned());
        self.end_flushing(&FlushError::Failed { reason: reason.to_owned() });
    }

    /// Nothing more will be flushed: tells those who wait and those who will.
    pub(crate) fn end_flushing(&self, error: &FlushError) {
        let waiters = {
            let mut flush = lock(&self.flush);
            flush.over.get_or_insert_with(|| error.clone());
            std::mem::take(&mut flush.waiters)
        };
        waiters.into_iter().for_each(|(_, done)| done(Err(error.clone())));
    }

    pub(crate) fn now_ms(&self) -> i64 {
        ms_of(self.disk.now())
    }

    pub(crate) fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Writes the checkpoint file. `clean`: nothing will be appended any more.
    pub(crate) fn checkpoint(&self, clean: bool) -> Result<(), CloseError> {
        lock(&self.queue_flusher).checkpoint(self, clean)
    }

    pub(crate) fn write_checkpoint(&self, checkpoint: &Checkpoint) -> io::Result<()> {
        let path = &self.config.checkpoint_file;
        let new = !self.disk.exists(path);
        let file = self.disk.open(path, true)?;
        file.write_at(0, &checkpoint.encode())?;
        file.sync()?;
        match path.parent() {
            Some(dir) if new => self.disk.sync_dir(dir),
            _ => Ok(()),
        }
    }
}

/// The tags code of a record of an ordinary topic: the Java hash of its tag.
#[must_use]
pub fn tags_of(record: &RecordView<'_>) -> TagsCode {
    oxmq_record::properties::tags_code(record.properties())
}

pub(crate) fn check(config: &mut StoreConfig) -> Result<(), OpenError> {
    let segment = config.segment_size_bytes;
    if !((RECORD_SIZE_MIN + BLANK_SIZE_MIN) as u64..=FILE_SIZE_MAX).contains(&segment) {
        let reason = "must be between 99 bytes and 2 GiB - 1";
        return Err(OpenError::Setting { name: "mappedFileSizeCommitLog", value: segment, reason });
    }
    let queue = config.consume_queue_file_size_bytes;
    if !(UNIT_SIZE..=FILE_SIZE_MAX - UNIT_SIZE).contains(&queue) {
        let reason = "must be between 20 bytes and 2 GiB - 21";
        return Err(OpenError::Setting { name: "mappedFileSizeConsumeQueue", value: queue, reason });
    }
    config.consume_queue_file_size_bytes = queue.next_multiple_of(UNIT_SIZE);
    if let Some(index) = &config.index {
        let setting =
            |name, value: u32, reason| Err(OpenError::Setting { name, value: value.into(), reason });
        if index.slots == 0 {
            return setting("maxHashSlotNum", index.slots, "must be at least 1");
        }
        if index.entries < 2 || index.file_length() > FILE_SIZE_MAX {
            let reason = "must be at least 2, and so small that an index file is shorter than 2 GiB";
            return setting("maxIndexNum", index.entries, reason);
        }
    }
    Ok(())
}

/// Milliseconds from 1970 to `time`; 0 if it is before.
pub(crate) fn ms_of(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| OpenError::Io { path, source }
}

/// Makes the folder `dir`, and those above it, if they are not there, so that a power loss does not take it away with
/// all that will be in it.
fn make_dir(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    let missing: Vec<_> = dir.ancestors().filter(|dir| *dir != Path::new("") && !disk.exists(dir)).collect();
    disk.create_dir_all(dir)?;
    let parents = missing.into_iter().rev().filter_map(Path::parent);
    parents
        .map(|parent| if parent == Path::new("") { Path::new(".") } else { parent })
        .try_for_each(|dir| disk.sync_dir(dir))
}

pub(crate) fn read_checkpoint(disk: &dyn Disk, path: &Path) -> io::Result<Checkpoint> {
    if !disk.exists(path) {
        return Ok(Checkpoint::default());
    }
    let mut bytes = [0; checkpoint::LENGTH];
    let read = disk.open(path, false)?.read_at(0, &mut bytes)?;
    Ok(Checkpoint::decode(&bytes[..read]))
}

/// Creates the file whose presence at the next start means that this one was not closed.
fn mark_running(disk: &dyn Disk, abort: &Path) -> io::Result<()> {
    let file = disk.open(abort, true)?;
    file.set_length(0)?;
    // Java 5 writes its process id; only the file's presence counts, and a full disk is no reason not to serve what is
    // there.
    let _ = file.write_at(0, std::process::id().to_string().as_bytes());
    file.sync()?;
    disk.sync_dir(abort.parent().unwrap_or(Path::new(".")))
}
