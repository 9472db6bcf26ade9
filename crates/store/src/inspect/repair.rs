// SPDX-License-Identifier: Apache-2.0
//! Puts right what an examination found, as far as the log tells what is right.
//!
//! Nothing is deleted: what is replaced is moved to `ROOT/repair-TIME`, and bytes that are cut are copied there first.
//! The log is only written to for a torn tail, which becomes zeros. A damaged record in the middle stays; who reads
//! passes over it.
//!
//! Queues and index are built beside the old ones and put in their place when they are whole and on the disk. The units
//! and entries come from where they come at a start of the store, `Queue::dispatch` and `IndexFile::put`; but it is not the store
//! that is opened: a start may take what follows damage for the rest of a power loss and cut it, and it would hold up
//! what is whole for what is not.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use oxmq_record::{RecordView, sys_flag};
use oxmq_types::QueueId;

use super::{
    Finding, Folder, InspectError, NotInQueue, Part, QueueName, Severity, Use, Watch, What, check::fault_of,
    segments::Seen,
};
use crate::{
    dispatch::Dispatch,
    error::QueueFileError,
    index::{
        file::{IndexFile, Shape},
        hash_after, keys_of, name_after, topic_hash,
    },
    list::{self, List},
    log::file_at,
    queue::{Queue, QueueFiles},
    recovery::TagsRule,
};

/// Java's length of a queue file, if no file tells.
const QUEUE_FILE_SIZE: u64 = 6_000_000;
/// Java's slots and entries of an index file, if no file tells.
const INDEX_SHAPE: Shape = Shape { slots: 5_000_000, entries: 20_000_000 };

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Save the bytes behind the last record and make them zeros.
    CutTail {
        /// Physical offset of the first.
        at: u64,
        /// How many.
        bytes: u64,
    },
    /// Build a queue from the log.
    BuildQueue(QueueName),
    /// Build the index from the log.
    BuildIndex,
}

/// What there is to do. Made from the findings of an examination.
#[derive(Debug, Default)]
pub struct Plan {
    tail: Option<(u64, u64)>,
    queues: BTreeSet<QueueName>,
    /// Queues of which the log has two lives; it cannot tell which records belong to the last.
    twice: BTreeSet<QueueName>,
    index: bool,
}

impl Plan {
    /// Takes note of a finding.
    pub fn add(&mut self, folder: &Folder, finding: &Finding) {
        match (&finding.what, finding.part, finding.severity()) {
            (What::TornTail { bytes, .. }, ..) => self.tail = finding.offset.map(|at| (at, *bytes)),
            (What::NotInQueue { queue, why: NotInQueue::Taken, .. }, ..) => {
                self.twice.insert(queue.clone());
            }
            (_, Part::Queues, Severity::Derived) => self.queues.extend(folder.queue_of(&finding.path)),
            (_, Part::Index, Severity::Derived) => self.index = true,
            _ => {}
        }
    }

    /// The steps, in their order.
    #[must_use]
    pub fn steps(&self) -> Vec<Step> {
        let tail = self.tail.map(|(at, bytes)| Step::CutTail { at, bytes });
        let queues = self.queues.difference(&self.twice).cloned().map(Step::BuildQueue);
        tail.into_iter().chain(queues).chain(self.index.then_some(Step::BuildIndex)).collect()
    }

    /// Queues that should be built again but cannot: other messages had their numbers before.
    pub fn left(&self) -> impl Iterator<Item = &QueueName> {
        self.queues.intersection(&self.twice)
    }
}

/// Why a repair ended. What was done until then is done; what was to be replaced is in its place or in the folder
/// for what is kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepairError {
    /// A broker has the folder.
    #[error("{}: a broker is running on it; stop it first", root.display())]
    Running {
        /// The folder.
        root: PathBuf,
    },
    /// The folder cannot be listed.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// A file or folder cannot be read, written or moved.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl From<QueueFileError> for RepairError {
    fn from(QueueFileError { path, source }: QueueFileError) -> Self {
        Self::Io { path, source }
    }
}

/// Does what `plan` says, which must have been made of this `folder`. Returns the folder with what was replaced. Progress is
/// in bytes of the log.
///
/// # Errors
/// [`RepairError`]; calling it again goes on.
pub fn repair(
    folder: &Folder,
    plan: &Plan,
    tags_rule: &TagsRule,
    watch: &mut dyn Watch,
) -> Result<PathBuf, RepairError> {
    let root = &folder.layout.root;
    let (disk, lock_file) = (&folder.disk, root.join("lock"));
    let running = || RepairError::Running { root: root.clone() };
    if folder.state == Use::Running {
        return Err(running());
    }
    let _held = disk.lock(&lock_file).map_err(at(&lock_file))?.ok_or_else(running)?;
    let aside = root.join(format!("repair-{}", jiff::Timestamp::now().strftime("%Y%m%dT%H%M%S%.3fZ")));
    disk.create_dir_all(&aside).map_err(at(&aside))?;
    let steps = plan.steps();
    for step in &steps {
        if let Step::CutTail { at, bytes } = step {
            cut(folder, &aside, *at, *bytes)?;
        }
    }
    let queues: BTreeSet<&QueueName> = steps
        .iter()
        .filter_map(|step| match step {
            Step::BuildQueue(queue) => Some(queue),
            _ => None,
        })
        .collect();
    disk.watch_file_system(root).map_err(at(root))?;
    let new = aside.join("new");
    let mut builds = Builds {
        queues: NewQueues::new(folder, &new, &queues, tags_rule)?,
        index: plan.index.then(|| NewIndex::new(folder, &new)).transpose()?,
    };
    if !queues.is_empty() || builds.index.is_some() {
        builds.build(folder, watch)?;
        disk.sync_file_system(root).map_err(at(root))?;
    }
    for queue in queues {
        let name = Path::new("consumequeue").join(&*queue.topic).join(queue.id.to_string());
        replace(folder, &aside, &name)?;
    }
    if plan.index {
        replace(folder, &aside, Path::new("index"))?;
    }
    let _ = disk.remove_dir_all(&new);
    disk.sync_file_system(root).map_err(at(root))?;
    Ok(aside)
}

/// Copies the `bytes` of the log from `from` on to the folder `aside`, then makes them zeros.
fn cut(folder: &Folder, aside: &Path, from: u64, bytes: u64) -> Result<(), RepairError> {
    let dir = aside.join("commitlog");
    folder.disk.create_dir_all(&dir).map_err(at(&dir))?;
    let kept = dir.join(format!("{from:020}-{bytes}-bytes"));
    let copy = folder.disk.open(&kept, true).map_err(at(&kept))?;
    let parts = folder.segments.iter().enumerate().filter_map(|(i, segment)| {
        let (begin, end) = (segment.start.max(from), folder.segment_stop(i).min(from + bytes));
        (begin < end).then_some((segment.start, begin..end))
    });
    let mut buffer = vec![0; 1 << 20];
    for pass in [Pass::Save, Pass::Clear] {
        for (start, range) in parts.clone() {
            let path = file_at(&folder.log_dir, start);
            let file = folder.disk.open(&path, false).map_err(at(&path))?;
            let mut place = range.start;
            while place < range.end {
                let length = ((range.end - place) as usize).min(buffer.len());
                let buffer = &mut buffer[..length];
                match pass {
                    Pass::Save => {
                        file.read_at(place - start, buffer).map_err(at(&path))?;
                        copy.write_at(place - from, buffer).map_err(at(&kept))?;
                    }
                    Pass::Clear => {
                        buffer.fill(0);
                        file.write_at(place - start, buffer).map_err(at(&path))?;
                    }
                }
                place += length as u64;
            }
            if pass == Pass::Clear {
                file.sync().map_err(at(&path))?;
            }
        }
        if pass == Pass::Save {
            copy.sync().and_then(|()| folder.disk.sync_dir(&dir)).map_err(at(&kept))?;
        }
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    Save,
    Clear,
}

/// Moves `name` of the root aside, and the new one, if there is one, to its place.
fn replace(folder: &Folder, aside: &Path, name: &Path) -> Result<(), RepairError> {
    let disk = &folder.disk;
    let (place, new, kept) = (folder.layout.root.join(name), aside.join("new").join(name), aside.join(name));
    for parent in [place.parent(), kept.parent()].into_iter().flatten() {
        disk.create_dir_all(parent).map_err(at(parent))?;
    }
    match disk.rename(&place, &kept) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(&place)(error)),
        _ => {}
    }
    match disk.rename(&new, &place) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(&new)(error)),
        _ => Ok(()),
    }
}

/// What is built along one walk of the log.
struct Builds<'a> {
    queues: NewQueues<'a>,
    index: Option<NewIndex>,
}

impl Builds<'_> {
    fn build(&mut self, folder: &Folder, watch: &mut dyn Watch) -> Result<(), RepairError> {
        let total = folder.log_bytes(0);
        let (mut done, mut told) = (0, 0);
        let mut result = Ok(());
        folder.walk_log(0, &mut |seen| {
            match seen {
                // Of those that are damaged nobody is to hear.
                Seen::Record(record) if fault_of(&record).is_none() => {
                    let added = self.queues.add(&record);
                    let added = added.and_then(|()| match &mut self.index {
                        Some(index) => index.add(folder, &record),
                        None => Ok(()),
                    });
                    if added.is_err() {
                        result = added;
                        return ControlFlow::Break(());
                    }
                }
                Seen::Passed(bytes) => {
                    done += bytes;
                    if done - told >= 1 << 20 || done == total {
                        told = done;
                        watch.progress(done, total);
                    }
                }
                _ => {}
            }
            ControlFlow::Continue(())
        });
        result?;
        self.queues.flush()?;
        self.index.as_mut().map_or(Ok(()), NewIndex::finish)
    }
}

struct NewQueues<'a> {
    queues: HashMap<&'a str, BTreeMap<u32, Arc<Queue>>>,
    /// What was deleted when, of which the log still has records.
    list: List,
    dispatch: Dispatch<'a>,
}

impl<'a> NewQueues<'a> {
    fn new(
        folder: &Folder,
        new: &Path,
        wanted: &BTreeSet<&'a QueueName>,
        tags_rule: &'a TagsRule,
    ) -> Result<Self, RepairError> {
        struct Silent;
        impl Watch for Silent {
            fn finding(&mut self, _: Finding) {}
            fn progress(&mut self, _: u64, _: u64) {}
        }
        let file_size =
            folder.queue_file_size(&folder.queue_folders(&mut Silent)?).unwrap_or(QUEUE_FILE_SIZE);
        let files = QueueFiles::new(Arc::clone(&folder.disk), new.join("consumequeue"), file_size);
        let root = &folder.layout.root;
        let list = List::read(&*folder.disk, root).map_err(at(&root.join(list::NAME)))?;
        let mut queues: HashMap<&str, BTreeMap<u32, Arc<Queue>>> = HashMap::new();
        for (key, name) in (0..).zip(wanted) {
            let queue = Queue::new(&files, &Arc::from(&*name.topic), QueueId(name.id), key);
            queues.entry(&*name.topic).or_default().insert(name.id, Arc::new(queue));
        }
        let dispatch = Dispatch::new(tags_rule, list.since.unwrap_or(u64::MAX));
        Ok(Self { queues, list, dispatch })
    }

    fn add(&mut self, record: &RecordView<'_>) -> Result<(), RepairError> {
        let wanted = self.queues.get(record.topic()).and_then(|queues| queues.get(&record.queue_id().0));
        let Some(queue) = wanted else { return Ok(()) };
        let deleted =
            self.list.deleted.get(record.topic()).is_some_and(|end| record.physical_offset().0 < *end);
        if deleted || !sys_flag::enters_consume_queue(record.sys_flag()) {
            return Ok(());
        }
        self.dispatch.add(Arc::clone(queue), record, true)?;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), RepairError> {
        Ok(self.dispatch.finish()?.iter().try_for_each(|queue| queue.write_tail())?)
    }
}

struct NewIndex {
    dir: PathBuf,
    shape: Shape,
    file: Option<IndexFile>,
    last_name: u64,
}

impl NewIndex {
    fn new(folder: &Folder, new: &Path) -> Result<Self, RepairError> {
        let old = folder.index_dir();
        let listed = folder.disk.list(&old).map_err(at(&old))?;
        let length = listed.iter().filter(|entry| !entry.is_dir).map(|entry| entry.length).max();
        let told = folder.layout.index_shape.map(|(slots, entries)| Shape { slots, entries });
        let shape = told.or_else(|| folder.index_shape(length?)).unwrap_or(INDEX_SHAPE);
        let dir = new.join("index");
        folder.disk.create_dir_all(&dir).map_err(at(&dir))?;
        Ok(Self { dir, shape, file: None, last_name: 0 })
    }

    fn add(&mut self, folder: &Folder, record: &RecordView<'_>) -> Result<(), RepairError> {
        let topic = topic_hash(record.topic());
        for key in keys_of(record) {
            if self.file.as_ref().is_none_or(IndexFile::is_full) {
                self.finish()?;
                self.file = Some(self.next(folder, record.store_timestamp_ms())?);
            }
            let Some(file) = &mut self.file else { continue };
            let hash = hash_after(topic, &String::from_utf8_lossy(key));
            let put = file.put(hash, record.physical_offset().0, record.store_timestamp_ms());
            put.map_err(at(&file.path))?;
        }
        // Records without keys, too: a start need not look at them again.
        if let Some(file) = &mut self.file {
            file.header.end_offset = record.physical_offset().0;
        }
        Ok(())
    }

    fn next(&mut self, folder: &Folder, store_ms: i64) -> Result<IndexFile, RepairError> {
        let now = UNIX_EPOCH + Duration::from_millis(u64::try_from(store_ms).unwrap_or(0));
        let name = name_after(self.last_name, now);
        self.last_name = name.parse().unwrap_or(self.last_name);
        let path = self.dir.join(name);
        let made = folder.disk.open(&path, true).and_then(|file| file.set_length(self.shape.length()));
        let table =
            made.and_then(|()| folder.disk.open_table(&path, self.shape.length())).map_err(at(&path))?;
        let empty = || at(&path)(io::ErrorKind::InvalidData.into());
        IndexFile::open(path.clone(), self.shape, table).ok_or_else(empty)
    }

    /// Makes the file that is being filled whole.
    fn finish(&mut self) -> Result<(), RepairError> {
        let Some(mut file) = self.file.take() else { return Ok(()) };
        file.write_header().and_then(|()| file.sync()).map_err(at(&file.path))
    }
}

impl Folder {
    /// The queue in whose folder `path` lies, or which it is.
    fn queue_of(&self, path: &Path) -> Option<QueueName> {
        let dir = self.queue_dir();
        let mut names =
            path.strip_prefix(&dir).ok()?.components().filter_map(|name| name.as_os_str().to_str());
        let topic = Arc::from(names.next()?);
        Some(QueueName { topic, id: names.next()?.parse().ok()? })
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> RepairError {
    let path = path.to_owned();
    move |source| RepairError::Io { path, source }
}
