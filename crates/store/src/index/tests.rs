// SPDX-License-Identifier: Apache-2.0
//! The index on a disk in memory, against a list of all messages; what damage and a full disk do to it.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use oxmq_record::{Draft, Encoder, RecordView, sys_flag};
use oxmq_types::{PhysicalOffset, QueueId, TagsCode, java_string_hash};
use proptest::{collection::vec, prelude::*, sample::Index as Any};

use super::{KeyMatches, KeyQuery, hash_after, topic_hash};
use crate::{
    FlushMode, IndexConfig, OpenError, Store, StoreConfig,
    disk::{Disk, memory::MemoryDisk},
    sync::read,
    tags_of,
};

/// Some have the same hash: "Aa" and "BB" do, and so do texts that are made of them.
const KEYS: [&str; 7] = ["Aa", "BB", "AaBB", "BBAa", "k", "键", "order-1"];
const TOPICS: [&str; 3] = ["T", "Aa", "BB"];
/// Records of these tests are at most so long that a segment takes a few of them.
const SEGMENT: u64 = 4096;

fn open_with(disk: &Arc<MemoryDisk>, slots: u32, entries: u32) -> Arc<Store> {
    let config = StoreConfig {
        segment_size_bytes: SEGMENT,
        flush: FlushMode::Sync,
        queue_flush_interval_ms: 1,
        checkpoint_interval_ms: 5,
        index: Some(IndexConfig { dir: "/store/index".into(), slots, entries }),
        ..StoreConfig::new("/store")
    };
    Store::open_on(Arc::clone(disk) as Arc<dyn Disk>, config, Box::new(tags_of)).unwrap()
}

/// Files of 8 slots and 49 entries: several pages, and a few messages fill one.
fn open(disk: &Arc<MemoryDisk>) -> Arc<Store> {
    open_with(disk, 8, 50)
}

fn append(store: &Store, topic: &str, flags: i32, unique: Option<&str>, keys: &str) -> (u64, i64) {
    let mut properties = String::from("TAGS\u{1}TagA\u{2}");
    if !keys.is_empty() {
        properties += &format!("KEYS\u{1}{keys}\u{2}");
    }
    if let Some(unique) = unique {
        properties += &format!("UNIQ_KEY\u{1}{unique}\u{2}");
    }
    let draft = Draft {
        sys_flag: flags,
        properties: properties.as_bytes(),
        ..Draft::plain(topic, QueueId(0), b"body")
    };
    let mut record = Vec::new();
    Encoder::new(1 << 20).encode(&draft, &mut record).unwrap();
    let queue = store.queue(topic, QueueId(0)).unwrap();
    let appended = store.append(&queue, &mut record, TagsCode(0)).unwrap();
    (appended.physical.0, appended.store_timestamp_ms)
}

fn query(store: &Store, topic: &str, key: &str, max: usize) -> Vec<u64> {
    offsets(&store.query(&KeyQuery { topic, key, max, begin_ms: 0, end_ms: i64::MAX }))
}

fn offsets(found: &KeyMatches) -> Vec<u64> {
    let offset = |bytes| RecordView::parse(bytes).unwrap().physical_offset().0;
    found.records.iter().map(|record| offset(record)).collect()
}

fn files(disk: &MemoryDisk) -> Vec<PathBuf> {
    let dir = Path::new("/store/index");
    let mut names: Vec<_> = disk.list(dir).unwrap().into_iter().map(|entry| dir.join(entry.name)).collect();
    names.sort();
    names
}

/// Entries in all files.
fn entries(store: &Store) -> usize {
    let index = store.shared.index.as_ref().unwrap();
    read(&index.files).iter().map(|file| read(file).header.next as usize - 1).sum()
}

#[test]
fn hashes_are_javas() {
    assert_eq!(java_string_hash("Aa"), java_string_hash("BB"));
    assert_eq!(hash_after(topic_hash("orders"), "m0"), 0x1749_f83f);
    // A hash that is negative loses its sign; the smallest becomes 0.
    assert!(java_string_hash("polygenelubricants") == i32::MIN);
    assert_eq!(hash_after(0, "polygenelubricants"), 0);
    assert_eq!(hash_after(0, "polygenelubricantt"), i32::MIN.wrapping_add(1).unsigned_abs());
}

#[test]
fn messages_are_found_by_key_as_soon_as_they_are_stored() {
    let disk = Arc::new(MemoryDisk::default());
    let store = open(&disk);
    assert_eq!(query(&store, "T", "k", 64), []);
    assert_eq!(files(&disk), [] as [PathBuf; 0]);
    let (a, first_ms) = append(&store, "T", 0, Some("U1"), "k  Aa");
    assert_eq!(query(&store, "T", "k", 64), [a]);
    let (b, _) = append(&store, "T", sys_flag::PREPARED, Some("U2"), "k");
    append(&store, "T", sys_flag::ROLLBACK, Some("U2"), "k");
    let (c, last_ms) = append(&store, "T", sys_flag::COMMIT, Some("U2"), "k k k");
    append(&store, "T", 0, None, "");
    for (topic, key, max, expected) in [
        ("T", "k", 64, vec![a, b, c]),
        ("T", "k", 2, vec![b, c]),
        ("T", "k", 0, vec![]),
        ("T", "U2", 64, vec![b, c]),
        ("T", "Aa", 64, vec![a]),
        ("T", "BB", 64, vec![]),
        ("T", "", 64, vec![]),
        ("T", "k k k", 64, vec![]),
        ("U", "k", 64, vec![]),
        ("T#k", "k", 64, vec![]),
    ] {
        assert_eq!(query(&store, topic, key, max), expected, "{topic} {key} {max}");
    }
    let between = |begin_ms, end_ms| {
        offsets(&store.query(&KeyQuery { topic: "T", key: "k", max: 64, begin_ms, end_ms }))
    };
    assert_eq!(between(first_ms, last_ms), [a, b, c]);
    assert_eq!(between(i64::MIN, i64::MAX), [a, b, c]);
    assert_eq!(between(last_ms + 1, i64::MAX), []);
    assert_eq!(between(i64::MIN, first_ms - 1), []);
    assert_eq!(between(i64::MAX, i64::MIN), []);
    let found = store.query(&KeyQuery { topic: "T", key: "k", max: 64, begin_ms: 0, end_ms: i64::MAX });
    assert_eq!(found.indexed_timestamp_ms, last_ms);
    assert!(found.indexed_physical > c);
}

#[test]
fn a_file_may_end_within_the_first_message_of_a_segment() {
    let disk = Arc::new(MemoryDisk::default());
    let store = open(&disk);
    for _ in 0..12 {
        append(&store, "T", 0, None, "Aa BB k 键");
    }
    let unique = "U".repeat(150);
    while store.max_physical().0 < SEGMENT - unique.len() as u64 {
        append(&store, "T", 0, None, "");
    }
    // The 49th entry, the last of the first file, and the first of the second.
    let (at, _) = append(&store, "T", 0, Some(&unique), "order-1");
    assert_eq!(at, SEGMENT);
    assert_eq!(query(&store, "T", "order-1", 10), [at]);
    assert_eq!(query(&store, "T", &unique, 10), [at]);
    assert_eq!((files(&disk).len(), entries(&store)), (2, 50));
}

#[test]
fn a_file_without_entries_hides_nothing() {
    let disk = Arc::new(MemoryDisk::default());
    let store = open(&disk);
    let (first, first_ms) = append(&store, "T", 0, None, &"k ".repeat(49));
    assert_eq!(query(&store, "T", "k", 64), [first]);
    append(&store, "T", 0, None, "");
    assert_eq!(query(&store, "T", "k", 64), [first]);
    assert_eq!(files(&disk).len(), 2);
    let wanted = KeyQuery { topic: "T", key: "k", max: 64, begin_ms: first_ms, end_ms: first_ms };
    let found = store.query(&wanted);
    assert_eq!((offsets(&found), found.indexed_timestamp_ms), (vec![first], first_ms));
    store.close().unwrap();
    drop(store);
    let store = open(&disk);
    assert_eq!(offsets(&store.query(&wanted)), [first]);
    assert_eq!((entries(&store), files(&disk).len()), (49, 2));
}

#[test]
fn a_file_without_entries_does_not_stand_for_one_that_was_removed() {
    let disk = Arc::new(MemoryDisk::default());
    let store = open(&disk);
    let all: Vec<_> = (0..49).map(|_| append(&store, "T", 0, None, "k").0).collect();
    assert_eq!(query(&store, "T", "k", 100), all);
    // The first file is full, and this needs one that has nothing.
    append(&store, "T", 0, None, "");
    assert_eq!(query(&store, "T", "k", 100), all);
    store.close().unwrap();
    drop(store);
    let files = files(&disk);
    assert_eq!(files.len(), 2);
    disk.remove_file(&files[0]).unwrap();
    assert_eq!(query(&open(&disk), "T", "k", 100), all);
}

#[test]
fn impossible_sizes_are_refused() {
    for (slots, entries, name) in
        [(0, 50, "maxHashSlotNum"), (8, 1, "maxIndexNum"), (8, 1 << 30, "maxIndexNum")]
    {
        let index = Some(IndexConfig { dir: "/i".into(), slots, entries });
        let config = StoreConfig { index, ..StoreConfig::new("/store") };
        let disk = Arc::new(MemoryDisk::default());
        let refused = Store::open_on(disk, config, Box::new(tags_of));
        assert!(matches!(refused, Err(OpenError::Setting { name: found, .. }) if found == name), "{name}");
    }
}

#[test]
fn answers_are_bounded_by_bytes() {
    let disk = Arc::new(MemoryDisk::default());
    let config =
        StoreConfig { flush: FlushMode::Sync, segment_size_bytes: 1 << 26, ..StoreConfig::new("/store") };
    let config =
        StoreConfig { index: Some(IndexConfig { dir: "/i".into(), slots: 8, entries: 50 }), ..config };
    let store = Store::open_on(Arc::clone(&disk) as Arc<dyn Disk>, config, Box::new(tags_of)).unwrap();
    let queue = store.queue("T", QueueId(0)).unwrap();
    let mut all = Vec::new();
    for size in [3, 3, 3, 3, 9] {
        let body = vec![1; size << 20];
        let draft = Draft { properties: b"KEYS\x01k\x02", ..Draft::plain("T", QueueId(0), &body) };
        let mut record = Vec::new();
        Encoder::new(1 << 30).encode(&draft, &mut record).unwrap();
        all.push(store.append(&queue, &mut record, TagsCode(0)).unwrap().physical.0);
        let expected = if size == 9 { &all[4..] } else { &all[all.len().saturating_sub(2)..] };
        assert_eq!(query(&store, "T", "k", 64), expected);
    }
}

#[test]
fn without_an_index_nothing_is_found_and_no_file_is_made() {
    let disk = Arc::new(MemoryDisk::default());
    let config = StoreConfig { segment_size_bytes: SEGMENT, index: None, ..StoreConfig::new("/store") };
    let store = Store::open_on(Arc::clone(&disk) as Arc<dyn Disk>, config, Box::new(tags_of)).unwrap();
    let (at, _) = append(&store, "T", 0, Some("U"), "k");
    assert_eq!(query(&store, "T", "k", 64), []);
    store.close().unwrap();
    drop(store);
    assert_eq!(files(&disk), [] as [PathBuf; 0]);
    // It is switched on again, and for a time off: all is found.
    let store = open(&disk);
    assert_eq!(query(&store, "T", "k", 64), [at]);
}

/// Fills three files and a part of one.
fn filled(disk: &Arc<MemoryDisk>) -> Vec<u64> {
    let store = open(disk);
    let all = (0..80).map(|i| append(&store, "T", 0, Some(&format!("U{i}")), "k").0).collect();
    store.close().unwrap();
    all
}

#[test]
fn missing_and_damaged_files_are_built_again() {
    let check = |what: &str, damage: &dyn Fn(&Arc<MemoryDisk>, &[PathBuf])| {
        let disk = Arc::new(MemoryDisk::default());
        let all = filled(&disk);
        let before = files(&disk);
        assert_eq!(before.len(), 4);
        damage(&disk, &before);
        let store = open(&disk);
        assert_eq!(query(&store, "T", "k", 1000), all, "{what}");
        assert_eq!(entries(&store), 160, "{what}");
        assert_eq!(files(&disk).len(), 4, "{what}");
        let (new, now_ms) = append(&store, "T", 0, None, "new");
        let until_now = |key| {
            offsets(&store.query(&KeyQuery { topic: "T", key, max: 1000, begin_ms: 1, end_ms: now_ms }))
        };
        assert_eq!((until_now("k"), until_now("new")), (all, vec![new]), "{what}");
    };
    check("nothing", &|_, _| {});
    check("all gone", &|disk, _| disk.remove_dir_all(Path::new("/store/index")).unwrap());
    for i in 0..4 {
        check("one gone", &|disk, files| disk.remove_file(&files[i]).unwrap());
        check("short", &|disk, files| disk.open(&files[i], false).unwrap().set_length(100).unwrap());
        check("long", &|disk, files| disk.open(&files[i], false).unwrap().set_length(9999).unwrap());
        check("empty", &|disk, files| disk.open(&files[i], false).unwrap().write_at(0, &[0; 1072]).unwrap());
        // Negative offsets and counts, an end beyond the log.
        for at in [16, 24, 32, 36, 28] {
            check("header", &|disk, files| {
                disk.open(&files[i], false).unwrap().write_at(at, &[0xff]).unwrap();
            });
        }
        // The times of the first and the last message, by which searches pass over files and entries.
        for (at, bit) in (0..16).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            check("time", &|disk, files| {
                let file = disk.open(&files[i], false).unwrap();
                let mut byte = [0];
                file.read_at(at, &mut byte).unwrap();
                file.write_at(at, &[byte[0] ^ 1 << bit]).unwrap();
            });
        }
    }
    check("of another size", &|disk, _| {
        let store = open_with(disk, 5, 33);
        assert_eq!(query(&store, "T", "k", 1000).len(), 80);
        store.close().unwrap();
    });
    check("foreign names", &|disk, _| {
        disk.open(Path::new("/store/index/notes.txt"), true).unwrap();
        disk.create_dir_all(Path::new("/store/index/123")).unwrap();
        disk.remove_file(Path::new("/store/index/notes.txt")).unwrap();
        disk.remove_dir_all(Path::new("/store/index/123")).unwrap();
    });
}

#[test]
fn a_full_disk_is_waited_for() {
    let disk = Arc::new(MemoryDisk::default());
    let store = open(&disk);
    let mut all = vec![append(&store, "T", 0, Some("U"), "k").0];
    assert_eq!(query(&store, "T", "k", 64), all);
    disk.faults().space.store(0, Ordering::SeqCst);
    all.push(append(&store, "T", 0, Some("V"), "k k").0);
    // The store itself still has room in its segment. The index gives up after a while, and goes on later.
    assert_eq!(query(&store, "T", "k", 64), all[..1]);
    disk.faults().space.store(u64::MAX, Ordering::SeqCst);
    let started = Instant::now();
    while query(&store, "T", "k", 64) != all {
        assert!(started.elapsed() < Duration::from_secs(20));
    }
    assert_eq!(entries(&store), 5);
}

/// The kernel tells of a failed fsync once: one of the next file that succeeds says nothing about this one.
#[test]
fn what_could_not_be_synced_never_counts_as_durable() {
    let disk = Arc::new(MemoryDisk::default());
    let never_ms = 3_600_000;
    let config = StoreConfig {
        segment_size_bytes: 1 << 20,
        // Nobody else syncs meanwhile.
        flush: FlushMode::Async {
            interval_ms: never_ms,
            least_pages: 1 << 20,
            thorough_interval_ms: never_ms,
        },
        queue_flush_interval_ms: 1,
        checkpoint_interval_ms: never_ms,
        index: Some(IndexConfig { dir: "/store/index".into(), slots: 8, entries: 50 }),
        ..StoreConfig::new("/store")
    };
    let open =
        || Store::open_on(Arc::clone(&disk) as Arc<dyn Disk>, config.clone(), Box::new(tags_of)).unwrap();
    let store = open();
    let fill_to = |count: usize| {
        let started = Instant::now();
        while files(&disk).len() < count {
            append(&store, "T", 0, None, "k");
            query(&store, "T", "k", 1);
            assert!(started.elapsed() < Duration::from_secs(20));
        }
    };
    let durable_ms = || store.shared.index.as_ref().unwrap().durable_timestamp_ms();
    // The commit log needs no further segment from here on, whose length would have to be synced.
    fill_to(1);
    disk.faults().fsync_fails.store(true, Ordering::SeqCst);
    // When the third is made, the sync of the first is over.
    fill_to(3);
    disk.faults().fsync_fails.store(false, Ordering::SeqCst);
    fill_to(6);
    assert_eq!(durable_ms(), 0);
    assert!(store.close().is_err(), "the next start must be as after a crash");
    drop(store);
    let store = open();
    assert!(store.was_recovered());
    let found = query(&store, "T", "k", 1000).len();
    assert!(found > 200, "{found}");
}

#[derive(Debug, Clone)]
enum Op {
    Append {
        topic: usize,
        unique: bool,
        keys: Vec<usize>,
        flags: i32,
    },
    Reopen,
    /// The process dies.
    Kill,
    /// The power goes.
    PowerLoss {
        seed: u64,
    },
    /// Someone removes a file, or all.
    Remove {
        file: Option<Any>,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let flags = prop_oneof![6 => Just(0), 1 => Just(sys_flag::ROLLBACK), 1 => Just(sys_flag::PREPARED)];
    let append = (0..TOPICS.len(), any::<bool>(), vec(0..KEYS.len(), 0..5), flags);
    prop_oneof![
        20 => append.prop_map(|(topic, unique, keys, flags)| Op::Append { topic, unique, keys, flags }),
        1 => Just(Op::Reopen),
        1 => Just(Op::Kill),
        2 => any::<u64>().prop_map(|seed| Op::PowerLoss { seed }),
        1 => any::<Option<Any>>().prop_map(|file| Op::Remove { file }),
    ]
}

/// A message that was stored.
struct Stored {
    at: u64,
    topic: &'static str,
    /// As they are indexed.
    keys: Vec<String>,
    /// The log has it.
    readable: bool,
    /// Recovery gets there. Where the power loss left damage, it passes over the rest of the segment: whole messages
    /// may be found there, or not.
    sure: bool,
}

fn check(store: &Store, all: &[Stored]) {
    let ours = all.iter().flat_map(|stored| stored.keys.iter().map(|key| (stored.topic, key.as_str())));
    let others = TOPICS.into_iter().flat_map(|topic| KEYS.map(|key| (topic, key)));
    for (topic, key) in ours.chain(others).collect::<BTreeSet<_>>() {
        let has = |stored: &&Stored| stored.topic == topic && stored.keys.iter().any(|found| found == key);
        let possible: Vec<_> = all.iter().filter(|stored| stored.readable).filter(has).collect();
        let found = query(store, topic, key, usize::MAX);
        assert!(found.is_sorted_by(|a, b| a < b));
        let missing = possible.iter().find(|stored| stored.sure && !found.contains(&stored.at));
        assert!(missing.is_none(), "{topic} {key} at {}: {found:?}", missing.unwrap().at);
        let wrong = found.iter().find(|at| possible.iter().all(|stored| stored.at != **at));
        assert_eq!(wrong, None, "{topic} {key}");
        assert_eq!(query(store, topic, key, 3), found[found.len().saturating_sub(3)..], "{topic} {key}");
    }
    let sure: usize = all.iter().filter(|stored| stored.sure).map(|stored| stored.keys.len()).sum();
    let most: usize = all.iter().map(|stored| stored.keys.len()).sum();
    assert!((sure..=most).contains(&entries(store)), "{sure} to {most}, not {}", entries(store));
}

fn run(ops: Vec<Op>) {
    let disk = Arc::new(MemoryDisk::default());
    let mut store = open(&disk);
    let mut all: Vec<Stored> = Vec::new();
    for op in ops {
        match op {
            Op::Append { topic, unique, keys, flags } => {
                let unique = unique.then(|| format!("U{}", all.len()));
                let others: Vec<_> = keys.iter().map(|&key| KEYS[key].to_owned()).collect();
                let (at, _) = append(&store, TOPICS[topic], flags, unique.as_deref(), &others.join(" "));
                let mut keys = Vec::from_iter(unique);
                keys.extend(others);
                if flags == sys_flag::ROLLBACK {
                    keys.clear();
                }
                all.push(Stored { at, topic: TOPICS[topic], keys, readable: true, sure: true });
                continue;
            }
            Op::Reopen => {
                store.close().unwrap();
                drop(store);
            }
            Op::Kill => drop(store),
            Op::PowerLoss { seed } => {
                drop(store);
                disk.lose_power(seed);
            }
            Op::Remove { file } => {
                store.close().unwrap();
                drop(store);
                let files = files(&disk);
                let gone: Vec<_> = match file {
                    None => files,
                    Some(_) if files.is_empty() => files,
                    Some(file) => vec![files[file.index(files.len())].clone()],
                };
                gone.iter().for_each(|path| disk.remove_file(path).unwrap());
            }
        }
        store = open(&disk);
        all.retain(|stored| stored.at < store.max_physical().0);
        let mut reached = BTreeSet::new();
        let log = &store.shared.log;
        let Ok(_) = log.walk(0, log.end(), log.end(), |bytes| {
            reached.insert(RecordView::parse(bytes).unwrap().physical_offset().0);
            Ok::<_, Infallible>(())
        });
        for stored in &mut all {
            stored.readable = store.record_at(PhysicalOffset(stored.at)).is_some();
            stored.sure = reached.contains(&stored.at);
        }
        check(&store, &all);
    }
    check(&store, &all);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn behaves_like_a_list_through_crashes(ops in vec(op(), 1..100)) {
        run(ops);
    }

    /// Whatever stands in the files: what is found is right, and every search ends.
    #[test]
    fn damage_never_gives_a_wrong_answer(
        flips in vec((any::<Any>(), any::<Any>(), any::<u8>()), 1..40),
        crashed in any::<bool>(),
    ) {
        let disk = Arc::new(MemoryDisk::default());
        let all: BTreeSet<u64> = filled(&disk).into_iter().collect();
        let paths = files(&disk);
        for (file, at, byte) in flips {
            let file = disk.open(&paths[file.index(paths.len())], false).unwrap();
            // Header, slots or entries.
            file.write_at(at.index(1072) as u64, &[byte]).unwrap();
        }
        if crashed {
            disk.open(Path::new("/store/abort"), true).unwrap();
        }
        let store = open(&disk);
        for key in ["k", "U3", "U79"] {
            let found = query(&store, "T", key, 1000);
            prop_assert!(found.is_sorted() && found.iter().all(|at| all.contains(at)));
        }
        let (at, _) = append(&store, "T", 0, None, "new");
        prop_assert_eq!(query(&store, "T", "new", 10), vec![at]);
        store.close().unwrap();
    }
}
