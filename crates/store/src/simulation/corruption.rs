// SPDX-License-Identifier: Apache-2.0
//! Every file of a small store, damaged at every place and in every way; then the store is opened and compared with
//! what had been stored.
//!
//! It must open and serve all that is intact, or refuse with a text that names the file. What it serves is what was
//! stored, byte for byte, but for what the format cannot show: without `enabledAppendPropCRC` the checksum of a record
//! covers its body only.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
};

use oxmq_record::{Encoder, RecordView};
use oxmq_types::{QueueId, QueueOffset};

use super::model::record;
use crate::{
    Access, FlushMode, IndexConfig, KeyQuery, Store, StoreConfig,
    disk::{
        Disk,
        memory::{BadRange, MemoryDisk},
    },
    flush::flush_log,
    index, list, rebuild,
    sync::lock,
    tags_of,
};

/// What is done to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Case {
    /// Cut off at a position.
    Truncated,
    /// Zeros from a position on.
    Zeroed,
    /// One bit at a position is another.
    Flipped,
    /// Not there.
    Missing,
    /// Of length 0.
    Empty,
    /// A folder in its place.
    Folder,
    /// Its content and that of another file have changed places.
    Swapped,
    /// The disk answers with an input/output error.
    Unreadable,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Opened; everything is served.
    All,
    /// Opened; everything is served, and the file is again what it was.
    Rebuilt,
    /// Opened; the records that were hit are not served, all others are.
    PassedOver,
    /// Opened; the log ends where the damage begins. Only after a crash, for zeros behind the checkpoint: they are what a
    /// power loss leaves of bytes that nobody was told to be durable, and what follows such must not count.
    CutOff,
    /// Opened; what needs the file is refused with its name as long as the disk does not give it.
    Partly,
    /// Opened; everything is served, but a query by key does not find some of it. The index has no checksums.
    KeysMissing,
    /// Opened; a record is served that was changed where no checksum covers it.
    NotShown,
    /// Not opened, with a text that names the file.
    Refused,
    /// What must not be.
    Wrong,
}

/// How many cases had which outcome; with a refusal's text as an example.
#[derive(Debug, Default, Clone)]
pub struct Tally {
    /// By kind of file and damage.
    pub rows: BTreeMap<(&'static str, Case), BTreeMap<Outcome, u64>>,
    /// The texts of refusals, one for each kind of file and damage.
    pub texts: BTreeMap<(&'static str, Case), String>,
    /// Positions that were damaged, each in three ways.
    pub positions: u64,
    /// What must not be: what was found and how to do it again.
    pub wrong: Vec<String>,
}

impl Tally {
    fn count(&mut self, row: (&'static str, Case), outcome: Outcome) {
        *self.rows.entry(row).or_default().entry(outcome).or_default() += 1;
    }

    fn count_wrong(&mut self, row: (&'static str, Case), text: String) {
        self.count(row, Outcome::Wrong);
        self.wrong.push(text);
    }
}

/// How the store was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Closed,
    Killed,
}

/// A message that was stored.
struct Stored {
    topic: String,
    queue_id: u32,
    queue_offset: u64,
    bytes: Vec<u8>,
    physical: u64,
    keys: Vec<String>,
}

/// What queries by key found that they should not, or did not find.
enum Found {
    Wrong(String),
    TooFew,
}

/// A store before anything was done to it.
struct Ground {
    disk: MemoryDisk,
    config: StoreConfig,
    stored: Vec<Stored>,
    left: Left,
    /// Records end with checksums of all of them.
    checksums: bool,
    /// Up to where the checkpoint says that everything is durable.
    checkpoint: u64,
}

/// Segments whose records end with checksums of all of them.
const CHECKSUMS: &str = "commit log, `enabledAppendPropCRC`";
/// No other file is as long.
const SEGMENT: u64 = 4608;

const QUEUE_FILE: u64 = 120;

/// Runs all cases, with every `stride`th position of each file of a kind that is `wanted`, on a store that was closed and
/// on one that was killed.
#[must_use]
pub fn sweep(stride: usize, wanted: impl Fn(&str) -> bool) -> Tally {
    let mut tally = Tally::default();
    for (left, checksums) in
        [(Left::Closed, false), (Left::Killed, false), (Left::Closed, true), (Left::Killed, true)]
    {
        let ground = Ground::new(left, checksums);
        let files: Vec<(PathBuf, usize)> = ground.disk.lengths();
        for (number, (path, length)) in files.iter().enumerate() {
            let kind = match kind_of(path) {
                "commit log" if checksums => CHECKSUMS,
                // As without checksums.
                _ if checksums => continue,
                kind => kind,
            };
            if !wanted(kind) {
                continue;
            }
            // Where the positions of a file begin differs, so that files of one kind together have more of them.
            for at in (number % stride..*length).step_by(stride) {
                tally.positions += 1;
                for case in [Case::Truncated, Case::Zeroed, Case::Flipped] {
                    ground.check(&mut tally, left, kind, case, path, at, None);
                }
            }
            for case in [Case::Missing, Case::Empty, Case::Folder, Case::Unreadable] {
                ground.check(&mut tally, left, kind, case, path, 0, None);
            }
            // The next of its kind, and one of each other kind.
            let mut others = BTreeSet::new();
            for (other, _) in files[number + 1..].iter().chain(&files[..number]) {
                if wanted(kind_of(other)) && others.insert(kind_of(other)) {
                    ground.check(&mut tally, left, kind, Case::Swapped, path, 0, Some(other));
                }
            }
        }
    }
    tally
}

/// What a file is, by its path.
fn kind_of(path: &Path) -> &'static str {
    let below = |dir: &str| path.starts_with(Path::new("/store").join(dir));
    match path.file_name().and_then(|name| name.to_str()) {
        _ if below("commitlog") => "commit log",
        _ if below("consumequeue") => "consume queue",
        _ if below("index") => "index",
        Some("checkpoint") => "checkpoint",
        Some("abort") => "abort",
        Some("lock") => "lock",
        Some(list::NAME) => "list of queues",
        _ => "other",
    }
}

impl Ground {
    fn new(left: Left, checksums: bool) -> Self {
        let config = StoreConfig {
            segment_size_bytes: SEGMENT,
            consume_queue_file_size_bytes: QUEUE_FILE,
            flush: FlushMode::Sync,
            index: Some(IndexConfig { dir: "/store/index".into(), slots: 7, entries: 30 }),
            ..StoreConfig::new("/store")
        };
        let mut ground = Self {
            disk: MemoryDisk::with_seed(7),
            config,
            stored: Vec::new(),
            left,
            checksums,
            checkpoint: 0,
        };
        let disk = Arc::new(ground.disk.copy());
        let store = ground.open(&disk).expect("an empty store");
        let encoder = Encoder::new(1 << 20).with_checksums(checksums);
        for number in 0..64_u32 {
            let topic = ["orders", "orders", "payments"][number as usize % 3].to_owned();
            let queue_id = number / 3 % 2;
            let keys = vec![format!("unique-{number}"), format!("k{}", number % 5), "all".to_owned()];
            let mut bytes = record(
                encoder,
                (&topic, queue_id),
                0,
                &vec![number as u8 | 0x40; 40 + number as usize],
                &keys,
            );
            let queue = store.queue(&topic, QueueId(queue_id)).expect("a queue");
            let tags_code = tags_of(&RecordView::parse(&bytes).expect("a record"));
            let appended = store.append(&queue, &mut bytes, tags_code).expect("space");
            let (queue_offset, physical) = (appended.queue_offset.0, appended.physical.0);
            ground.stored.push(Stored { topic, queue_id, queue_offset, bytes, physical, keys });
            if number == 44 {
                assert!(flush_log(&store.shared));
                lock(&store.shared.queue_flusher).flush(&store.shared).expect("space");
                store.shared.checkpoint(false).expect("a checkpoint");
                ground.checkpoint = store.max_physical().0;
                build_index(&store);
            }
        }
        assert!(flush_log(&store.shared));
        if left == Left::Closed {
            store.close().expect("closed");
            ground.checkpoint = store.max_physical().0;
        }
        drop(store);
        ground.disk = disk.copy();
        ground
    }

    fn open(&self, disk: &Arc<MemoryDisk>) -> Result<Arc<Store>, crate::OpenError> {
        let disk = Arc::clone(disk) as Arc<dyn Disk>;
        Store::open_with(disk, self.config.clone(), Box::new(tags_of), false)
    }

    #[expect(clippy::too_many_arguments, reason = "all that names a case")]
    fn check(
        &self,
        tally: &mut Tally,
        left: Left,
        kind: &'static str,
        case: Case,
        path: &Path,
        at: usize,
        other: Option<&Path>,
    ) {
        let name = || {
            let other = other.map(|other| format!(" with {}", other.display())).unwrap_or_default();
            format!("{left:?}, {}, {case:?} at {at}{other}", path.display())
        };
        let mut text = None;
        let looked = catch_unwind(AssertUnwindSafe(|| self.look(case, path, at, other, &mut text)));
        match looked {
            Ok(Ok(outcome)) => {
                tally.count((kind, case), outcome);
                if let Some(text) = text {
                    tally.texts.entry((kind, case)).or_insert(text);
                }
            }
            Ok(Err(why)) => tally.count_wrong((kind, case), format!("{}: {why}", name())),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("panic");
                tally.count_wrong((kind, case), format!("{}: panic: {text}", name()));
            }
        }
    }

    fn look(
        &self,
        case: Case,
        path: &Path,
        at: usize,
        other: Option<&Path>,
        text: &mut Option<String>,
    ) -> Result<Outcome, String> {
        let disk = Arc::new(self.disk.copy());
        let before = disk.content(path);
        damage(&disk, case, path, at, other);
        let hit: Vec<Range<u64>> =
            [Some(path), other].into_iter().flatten().filter_map(|path| hit(case, path, at)).collect();
        let in_hit = |stored: &Stored| {
            let end = stored.physical + stored.bytes.len() as u64;
            hit.iter().any(|hit| hit.start < end && stored.physical < hit.end)
        };
        // Of what is not there, or is empty, the place is enough.
        let gone_file = matches!(case, Case::Missing | Case::Empty | Case::Swapped);
        let names_it = |text: &str| {
            let says = |path: &Path| text.contains(&path.display().to_string());
            let names = |path: &Path| says(path) || path.parent().is_some_and(|dir| gone_file && says(dir));
            names(path) || other.is_some_and(names)
        };

        let store = match self.open(&disk) {
            Ok(store) => store,
            Err(error) => {
                let said = error.to_string();
                if !names_it(&said) {
                    return Err(format!("refused without the name of the file: {said}"));
                }
                *text = Some(said);
                return Ok(Outcome::Refused);
            }
        };
        let mut outcome = Outcome::All;
        let indexed = build_index(&store);
        meet_damage(&store);
        let mut served = BTreeSet::new();
        let mut gone = BTreeSet::new();
        for (topic, id) in store.queues() {
            let refused = |error: &dyn fmt::Display| {
                let said = error.to_string();
                if case == Case::Unreadable && names_it(&said) { Ok(Outcome::Partly) } else { Err(said) }
            };
            let queue = match store.queue(&topic, id) {
                Ok(queue) => queue,
                Err(error) => {
                    outcome = refused(&error)?;
                    continue;
                }
            };
            let mut reader = store.reader(&queue, Access::Disk);
            let mut units = Vec::new();
            if let Err(error) = reader.units(queue.min_offset(), usize::MAX, &mut units) {
                outcome = refused(&error)?;
            }
            for (offset, unit) in (queue.min_offset().0..).zip(&units) {
                let Ok(bytes) = reader.record(QueueOffset(offset), unit) else { continue };
                let stored = self.stored.iter().find(|stored| stored.physical == unit.physical.0);
                let stored = stored.ok_or_else(|| format!("{topic} {} {offset} is invented", id.0))?;
                let right = bytes == stored.bytes
                    && (&*stored.topic, stored.queue_id, stored.queue_offset) == (&*topic, id.0, offset)
                    && unit.tags_code == tags_of(&RecordView::parse(&stored.bytes).expect("a record"));
                // Nothing vouches for the tags code of a unit, by which filters choose.
                let filtered_wrongly = bytes == stored.bytes && kind_of(path) == "consume queue";
                let hidden = match case {
                    Case::Flipped => self.can_hide(stored, &hit),
                    // Nothing says whether anything followed the last record that the checkpoint knows.
                    Case::Zeroed => stored.physical + stored.bytes.len() as u64 == self.checkpoint,
                    _ => false,
                };
                if !(right || filtered_wrongly || hidden) {
                    return Err(format!("{topic} {} {offset} is served wrongly", id.0));
                }
                if !right {
                    outcome = outcome.max(Outcome::NotShown);
                }
                served.insert(stored.physical);
            }
        }
        for stored in self.stored.iter().filter(|stored| !served.contains(&stored.physical)) {
            let behind = self.left == Left::Killed && stored.physical >= self.checkpoint;
            if in_hit(stored) {
                outcome = outcome.max(Outcome::PassedOver);
            } else if behind && case == Case::Zeroed && hit.iter().any(|hit| hit.start < stored.physical) {
                outcome = Outcome::CutOff;
                gone.insert(stored.physical);
            } else if outcome != Outcome::Partly {
                let Stored { topic, queue_id, queue_offset, physical, .. } = stored;
                return Err(format!(
                    "{topic} {queue_id} {queue_offset} at {physical} is intact and not served"
                ));
            }
        }
        if indexed {
            let touched = |stored: &Stored| in_hit(stored) || gone.contains(&stored.physical);
            match self.look_for_keys(&store, &touched) {
                Err(Found::Wrong(why)) => return Err(why),
                // It is checked after a crash; that all of it is checked at every start would take too long.
                Err(Found::TooFew)
                    if kind_of(path) == "index" || other.is_some_and(|other| kind_of(other) == "index") =>
                {
                    outcome = Outcome::KeysMissing;
                }
                Err(Found::TooFew) => return Err("keys are missing".to_owned()),
                Ok(()) => {}
            }
        } else if case == Case::Unreadable && kind_of(path) == "index" {
            outcome = Outcome::Partly;
        } else {
            return Err("the index is not built".to_owned());
        }
        if outcome != Outcome::Partly {
            let queue = store.queue("orders", QueueId(0)).map_err(|error| error.to_string())?;
            let mut more =
                record(Encoder::new(1 << 20), ("orders", 0), 0, b"more", &["unique-more".to_owned()]);
            let tags_code = tags_of(&RecordView::parse(&more).expect("a record"));
            let appended = store.append(&queue, &mut more, tags_code).map_err(|error| error.to_string())?;
            if store.record_at(appended.physical).as_deref() != Some(&*more) {
                return Err("what is appended then is not read".to_owned());
            }
            store.close().map_err(|error| format!("does not close: {error}"))?;
        }
        let derived = !matches!(kind_of(path), "commit log" | "abort" | "lock");
        let again = derived && outcome == Outcome::All && case != Case::Unreadable;
        let is_as_before = || {
            let now = disk.content(path);
            // More was added behind what was there; an index file that is made again has another name.
            let used = before.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
            now.is_empty() || now.get(..used).is_some_and(|now| *now == before[..used])
        };
        Ok(if again && is_as_before() { Outcome::Rebuilt } else { outcome })
    }

    /// True if the format cannot show a flipped bit in `stored`, as far as the place of it tells.
    fn can_hide(&self, stored: &Stored, hit: &[Range<u64>]) -> bool {
        /// Bytes of the checksum. Without its name, it is a property like others, and the record has none.
        const CHECKSUM: u64 = 20;
        let end = stored.physical + stored.bytes.len() as u64;
        let from = if self.checksums { end - CHECKSUM } else { stored.physical };
        hit.iter().any(|hit| hit.start < end && from < hit.end)
    }

    fn look_for_keys(&self, store: &Store, touched: &impl Fn(&Stored) -> bool) -> Result<(), Found> {
        let mut wanted: BTreeMap<(&str, &str), Vec<&Stored>> = BTreeMap::new();
        for stored in &self.stored {
            for key in &stored.keys {
                wanted.entry((&stored.topic, key)).or_default().push(stored);
            }
        }
        for ((topic, key), expected) in wanted {
            let query = KeyQuery { topic, key, max: usize::MAX, begin_ms: 0, end_ms: i64::MAX };
            let mut found = BTreeSet::new();
            for bytes in store.query(&query).records {
                let at = RecordView::parse(&bytes).expect("a record").physical_offset().0;
                let stored = self.stored.iter().find(|stored| stored.physical == at);
                let expected = expected.iter().any(|stored| stored.physical == at);
                // A flipped bit may have changed a key.
                if !stored.is_some_and(|stored| (expected && bytes == stored.bytes) || touched(stored)) {
                    return Err(Found::Wrong(format!("the message at {at} is found by {topic} {key}")));
                }
                found.insert(at);
            }
            if expected.iter().any(|stored| !touched(stored) && !found.contains(&stored.physical)) {
                return Err(Found::TooFew);
            }
        }
        Ok(())
    }
}

/// Reads everything once: queues whose damage shows then are built again, as they are behind any reader.
fn meet_damage(store: &Store) {
    for (topic, id) in store.queues() {
        let Ok(queue) = store.queue(&topic, id) else { continue };
        let mut reader = store.reader(&queue, Access::Disk);
        let mut units = Vec::new();
        let _ = reader.units(queue.min_offset(), usize::MAX, &mut units);
        for (offset, unit) in (queue.min_offset().0..).zip(&units) {
            let _ = reader.record(QueueOffset(offset), unit);
        }
    }
    // On a disk that fails it is tried again later.
    let _ = rebuild::step(&store.shared);
}

/// True if all is in the index.
fn build_index(store: &Store) -> bool {
    let Some(index) = &store.shared.index else { return false };
    let mut steps = (0..1000).map(|_| index::step(&store.shared, index)).take_while(Result::is_ok);
    steps.any(|more| matches!(more, Ok(false)))
}

/// Positions of the log that the damage may have changed.
fn hit(case: Case, path: &Path, at: usize) -> Option<Range<u64>> {
    if kind_of(path) != "commit log" {
        return None;
    }
    let start: u64 = path.file_name()?.to_str()?.parse().ok()?;
    Some(match case {
        Case::Flipped => start + at as u64..start + at as u64 + 1,
        Case::Truncated | Case::Zeroed => start + at as u64..start + SEGMENT,
        _ => start..start + SEGMENT,
    })
}

fn overwrite(disk: &MemoryDisk, path: &Path, bytes: &[u8]) {
    let file = disk.open(path, false).expect("a file");
    file.set_length(bytes.len() as u64).expect("set");
    file.write_at(0, bytes).expect("written");
}

fn damage(disk: &MemoryDisk, case: Case, path: &Path, at: usize, other: Option<&Path>) {
    let write = |path: &Path, bytes: &[u8]| overwrite(disk, path, bytes);
    let mut bytes = disk.content(path);
    match case {
        Case::Truncated => write(path, &bytes[..at]),
        Case::Zeroed => {
            bytes[at..].fill(0);
            write(path, &bytes);
        }
        Case::Flipped => {
            // Every bit has its turn.
            bytes[at] ^= 1 << ((at * 5 + at / 8) % 8);
            write(path, &bytes);
        }
        Case::Missing => disk.remove_file(path).expect("removed"),
        Case::Empty => write(path, &[]),
        Case::Folder => {
            disk.remove_file(path).expect("removed");
            disk.create_dir_all(path).expect("made");
        }
        Case::Swapped => {
            let Some(other) = other else { return };
            write(path, &disk.content(other));
            write(other, &bytes);
        }
        Case::Unreadable => {
            lock(&disk.faults().bad).push(BadRange {
                path: path.to_owned(),
                range: 0..u64::MAX,
                read: true,
                write: false,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unit::UNIT_SIZE;

    /// `cargo run --release -p oxmq-store --features memory-disk --example corruption` does all of it.
    #[test]
    fn damage_is_passed_over_repaired_or_refused() {
        let tally = sweep(97, |_| true);
        assert!(tally.positions > 200, "{}", tally.positions);
        assert!(tally.wrong.is_empty(), "{}:\n{}", tally.wrong.len(), tally.wrong.join("\n"));
    }

    /// One of them made the last unit point beyond the log: it was taken for what a crash had left, though there was none, the
    /// queue ended before its last message, and the next one got its offset.
    #[test]
    fn whatever_bit_of_the_last_unit_is_another_its_message_is_served() {
        let ground = Ground::new(Left::Closed, false);
        let queues: BTreeMap<_, _> = (ground.stored.iter())
            .map(|stored| ((&*stored.topic, stored.queue_id), stored.queue_offset))
            .collect();
        assert_eq!(queues.len(), 4);
        // Without the list of queues, as in a folder of Java.
        for (list, bit) in [true, false].into_iter().flat_map(|list| (0..96).map(move |bit| (list, bit))) {
            for ((topic, queue_id), last) in &queues {
                let (start, at) =
                    (last * UNIT_SIZE / QUEUE_FILE * QUEUE_FILE, last * UNIT_SIZE % QUEUE_FILE + bit / 8);
                let path = PathBuf::from(format!("/store/consumequeue/{topic}/{queue_id}/{start:020}"));
                let disk = Arc::new(ground.disk.copy());
                let mut bytes = disk.content(&path);
                bytes[at as usize] ^= 1 << (bit % 8);
                overwrite(&disk, &path, &bytes);
                if !list {
                    disk.remove_file(&Path::new("/store").join(list::NAME)).unwrap();
                }
                let store = ground.open(&disk).unwrap();
                meet_damage(&store);
                let queue = store.queue(topic, QueueId(*queue_id)).unwrap();
                let name = format!("{topic} {queue_id}, bit {bit}, list {list}");
                assert_eq!(queue.max_offset(), QueueOffset(last + 1), "{name}");
                let unit = queue.unit(*last).unwrap().unwrap();
                let served = store.reader(&queue, Access::Disk).record(QueueOffset(*last), &unit);
                let stored =
                    ground.stored.iter().find(|stored| stored.physical == unit.physical.0).expect(&name);
                assert!(served.is_ok_and(|served| served == stored.bytes), "{name}");
            }
        }
    }
}
