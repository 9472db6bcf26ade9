// SPDX-License-Identifier: Apache-2.0
//! Folders that Java brokers wrote, opened as they are.
//!
//! `tests/golden/java-VERSION-HOW/` holds every file without the zeros at its end; the test gives them their length
//! back. `closed`: by the store of that version, segments of 2,048 bytes, queue files of 2,000. `killed`: the folder
//! of a running 5.3.3 broker, segments of 4,096 bytes, queue files of 6,000,000. `index`: by a broker of that version
//! that was stopped, with 15 messages in segments of 1 MiB and index files of 8 slots and 24 entries.

use std::{fs, path::Path};

use oxmq_record::{RecordView, properties};
use oxmq_store::{Access, IndexConfig, KeyQuery, Store, StoreConfig, Unit, tags_of};
use oxmq_types::{QueueId, QueueOffset};

fn copy(from: &Path, to: &Path, length_of: &dyn Fn(&Path) -> u64) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target, length_of);
        } else {
            fs::copy(entry.path(), &target).unwrap();
            let file = fs::OpenOptions::new().write(true).open(&target).unwrap();
            file.set_len(length_of(&target)).unwrap();
        }
    }
}

/// Header, 8 slots, 24 entries.
const INDEX_FILE: u64 = 40 + 8 * 4 + 24 * 20;

struct Folder {
    config: StoreConfig,
    _dir: tempfile::TempDir,
}

fn folder(name: &str, segment: u64, queue_file: u64) -> Folder {
    let dir = tempfile::tempdir().unwrap();
    let config = StoreConfig {
        segment_size_bytes: segment,
        consume_queue_file_size_bytes: queue_file,
        index: Some(IndexConfig { dir: dir.path().join("index"), slots: 8, entries: 24 }),
        ..StoreConfig::new(dir.path())
    };
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    copy(&golden, dir.path(), &|file| {
        if file.starts_with(&config.commit_log_dir) {
            segment
        } else if file.starts_with(&config.consume_queue_dir) {
            queue_file
        } else if file == config.checkpoint_file {
            4096
        } else if file.parent().is_some_and(|dir| dir.ends_with("index")) {
            INDEX_FILE
        } else {
            0
        }
    });
    Folder { config, _dir: dir }
}

fn units(store: &Store, topic: &str, queue_id: u32) -> Vec<Unit> {
    let queue = store.existing_queue(topic, QueueId(queue_id)).unwrap().unwrap();
    assert_eq!(queue.min_offset(), QueueOffset(0));
    let mut out = Vec::new();
    queue.read_units(QueueOffset(0), 1000, &mut out).unwrap();
    for (i, unit) in out.iter().enumerate() {
        let bytes = store.reader(&queue, Access::Disk).record(QueueOffset(i as u64), unit).unwrap();
        let record = RecordView::parse(&bytes).unwrap();
        assert!(record.verify_crc());
        assert_eq!(record.queue_offset(), QueueOffset(i as u64));
        assert_eq!((record.topic(), record.queue_id().0), (topic, queue_id));
        if topic != "SCHEDULE_TOPIC_XXXX" {
            assert_eq!(unit.tags_code, properties::tags_code(record.properties()));
        }
    }
    out
}

/// Opens the folder, reads all of it, adds a message, closes, opens and reads again; with the queues as they are and
/// with queues built from the log, which must come out the same.
fn check(name: &str, segment: u64, queue_file: u64, end: u64, expected: &[(&str, u32, usize)]) {
    let mut all = Vec::new();
    for rebuilt in [false, true] {
        let folder = folder(name, segment, queue_file);
        if rebuilt {
            fs::remove_dir_all(&folder.config.consume_queue_dir).unwrap();
        }
        let delay = |record: &RecordView<'_>| match record.topic() {
            "SCHEDULE_TOPIC_XXXX" => oxmq_types::TagsCode(record.store_timestamp_ms() + 10_000),
            _ => tags_of(record),
        };
        let store = Store::open(folder.config.clone(), Box::new(delay)).unwrap();
        assert_eq!(store.max_physical().0, end, "{name}");
        assert_eq!(store.queues().len(), expected.len());
        for (topic, queue_id, count) in expected {
            let found = units(&store, topic, *queue_id);
            assert_eq!(found.len(), *count, "{name} {topic} {queue_id}");
            all.push(found);
        }
        let (topic, queue_id, count) = expected[0];
        let queue = store.queue(topic, QueueId(queue_id)).unwrap();
        let mut record = store.read_record(all[0][0].physical, all[0][0].size).unwrap().to_vec();
        let appended = store.append(&queue, &mut record, all[0][0].tags_code).unwrap();
        assert_eq!(appended.queue_offset.0, count as u64);
        store.close().unwrap();
        drop(store);

        let store = Store::open(folder.config.clone(), Box::new(tags_of)).unwrap();
        assert_eq!(units(&store, topic, queue_id).len(), count + 1);
        drop((queue, store));
        // As after a kill.
        let store = Store::open(folder.config.clone(), Box::new(tags_of)).unwrap();
        assert_eq!(units(&store, topic, queue_id).len(), count + 1);
    }
    assert_eq!(all[..expected.len()], all[expected.len()..], "rebuilt queues are the same");
}

/// Nothing is wrong with what Java writes, and its files say how long they are.
#[test]
fn folders_of_java_are_examined_without_their_configuration() {
    use oxmq_store::inspect::{self, Finding, Folder, Layout, Severity, Watch};
    struct Problems(Vec<Finding>);
    impl Watch for Problems {
        fn finding(&mut self, finding: Finding) {
            if finding.severity() > Severity::Note {
                self.0.push(finding);
            }
        }
        fn progress(&mut self, _: u64, _: u64) {}
    }
    for (name, segment, queue_file, shape, expected) in [
        ("java-5.3.3-closed", 2048, 2000, None, [16, 16, 0]),
        ("java-4.9.7-closed", 2048, 2000, None, [14, 14, 0]),
        ("java-5.3.3-killed", 4096, 6_000_000, None, [11, 11, 0]),
        ("java-5.3.3-index", 1 << 20, 6_000_000, Some((8, 24)), [15, 0, 30]),
        ("java-4.9.7-index", 1 << 20, 6_000_000, Some((8, 24)), [15, 0, 30]),
    ] {
        let ground = folder(name, segment, queue_file);
        let layout = Layout { root: ground.config.root.clone(), index_shape: shape, ..Layout::default() };
        let folder = Folder::open(layout).unwrap();
        assert_eq!(folder.segment_size_bytes(), segment, "{name}");
        let mut problems = Problems(Vec::new());
        let schedule =
            |record: &RecordView<'_>| (record.topic() != "SCHEDULE_TOPIC_XXXX").then(|| tags_of(record));
        let checked = inspect::check(&folder, &|_| false, &schedule, &mut problems).unwrap();
        assert_eq!(problems.0, [], "{name}");
        assert_eq!([checked.records, checked.units, checked.index_entries], expected, "{name}");
    }
}

#[test]
fn closed_by_java_5_3_3() {
    let retry = format!("%RETRY%{}", "g".repeat(130));
    check("java-5.3.3-closed", 2048, 2000, 2628, &[("TopicTest", 0, 8), ("TopicTest", 1, 6), (&retry, 1, 2)]);
}

#[test]
fn closed_by_java_4_9_7() {
    check("java-4.9.7-closed", 2048, 2000, 2010, &[("TopicTest", 0, 8), ("TopicTest", 1, 6)]);
}

#[test]
fn left_by_a_java_5_3_3_that_was_killed() {
    check(
        "java-5.3.3-killed",
        4096,
        6_000_000,
        3285,
        &[("TopicTest", 0, 6), ("TopicTest", 1, 4), ("SCHEDULE_TOPIC_XXXX", 2, 1)],
    );
}

/// What the index files hold, in their order.
fn index_bytes(folder: &Folder) -> Vec<Vec<u8>> {
    let dir = &folder.config.index.as_ref().unwrap().dir;
    let mut paths: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Finds all messages by key in the files as they are; then in files that were built from the log, which must have the
/// same bytes; then goes on with each of the two.
fn check_index(name: &str) {
    let keys: Vec<_> = (0..15).map(|i| format!("m{i}")).collect();
    let check = |store: &Store, key: &str, count: usize| {
        let wanted = KeyQuery { topic: "orders", key, max: 10, begin_ms: 0, end_ms: i64::MAX };
        let found = store.query(&wanted).records;
        assert_eq!(found.len(), count, "{name} {key}");
        for record in &found {
            assert_eq!(RecordView::parse(record).unwrap().property(properties::KEYS), Some(key.as_bytes()));
        }
        found
    };
    let java = index_bytes(&folder(name, 1 << 20, 6_000_000));
    assert_eq!(java.len(), 2);
    for rebuilt in [false, true] {
        let folder = folder(name, 1 << 20, 6_000_000);
        if rebuilt {
            fs::remove_dir_all(folder.config.root.join("index")).unwrap();
        }
        let store = Store::open(folder.config.clone(), Box::new(tags_of)).unwrap();
        for key in &keys {
            check(&store, key, 1);
        }
        check(&store, "m15", 0);
        store.close().unwrap();
        drop(store);
        assert_eq!(index_bytes(&folder), java, "{name}");

        let store = Store::open(folder.config.clone(), Box::new(tags_of)).unwrap();
        let record = check(&store, "m7", 1).remove(0);
        let queue = store.queue("orders", QueueId(0)).unwrap();
        for _ in 0..9 {
            store
                .append(&queue, &mut record.to_vec(), tags_of(&RecordView::parse(&record).unwrap()))
                .unwrap();
        }
        check(&store, "m7", 10);
        assert_eq!(index_bytes(&folder).len(), 3, "{name}");
        drop(store);
        // As after a kill.
        let store = Store::open(folder.config.clone(), Box::new(tags_of)).unwrap();
        check(&store, "m7", 10);
        check(&store, "m3", 1);
    }
}

#[test]
fn index_of_java_5_3_3() {
    check_index("java-5.3.3-index");
}

#[test]
fn index_of_java_4_9_7() {
    check_index("java-4.9.7-index");
}
