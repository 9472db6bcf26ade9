// SPDX-License-Identifier: Apache-2.0
//! Folders that a store cannot go on with: each is refused with all that is wrong, and stays as it was to the byte and
//! the time of every file.

use std::{
    collections::BTreeMap,
    fs,
    io::ErrorKind,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use oxmq_record::{Draft, Encoder};
use oxmq_store::{IndexConfig, OpenError, Store, StoreConfig, preflight, tags_of};
use oxmq_types::{QueueId, QueueOffset, TagsCode};

const SEGMENT: u64 = 4096;
const QUEUE_FILE: u64 = 400;

fn config(root: &Path) -> StoreConfig {
    StoreConfig {
        segment_size_bytes: SEGMENT,
        consume_queue_file_size_bytes: QUEUE_FILE,
        index: Some(IndexConfig { dir: root.join("index"), slots: 8, entries: 24 }),
        ..StoreConfig::new(root)
    }
}

/// A folder with four segments and two queues of several files, closed in order.
struct Ground {
    dir: tempfile::TempDir,
    config: StoreConfig,
}

const MESSAGES: u64 = 80;

impl Ground {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = config(&dir.path().join("store"));
        let ground = Self { dir, config };
        let store = Store::open(ground.config.clone(), Box::new(tags_of)).unwrap();
        for i in 0..MESSAGES {
            let queue = store.queue("T", QueueId((i % 2) as u32)).unwrap();
            store.append(&queue, &mut record((i % 2) as u32), TagsCode(0)).unwrap();
        }
        store.close().unwrap();
        assert_eq!(fs::read_dir(ground.log()).unwrap().count(), 4);
        ground
    }

    fn root(&self) -> &Path {
        &self.config.root
    }

    fn log(&self) -> PathBuf {
        self.root().join("commitlog")
    }

    fn segment(&self, number: u64) -> PathBuf {
        self.log().join(format!("{:020}", number * SEGMENT))
    }

    /// As a Java broker leaves it, which knows nothing of our part of the checkpoint.
    fn of_java(self) -> Self {
        let file = self.root().join("checkpoint");
        let mut bytes = fs::read(&file).unwrap();
        bytes[2048..].fill(0);
        fs::write(file, bytes).unwrap();
        self
    }

    /// Refused, by both ways to ask, with a line for each of `expected`, which has all its words.
    #[track_caller]
    fn refused_with(&self, config: &StoreConfig, expected: &[&[&str]]) {
        let before = self.content();
        for error in
            [Store::open(config.clone(), Box::new(tags_of)).unwrap_err(), preflight(config).unwrap_err()]
        {
            assert!(matches!(error, OpenError::Refused(_)), "{error}");
            let text = error.to_string();
            assert_eq!(text.lines().count(), expected.len(), "{text}");
            for words in expected {
                let said = text.lines().any(|line| words.iter().all(|word| line.contains(word)));
                assert!(said, "{words:?} in {text}");
            }
        }
        assert!(self.content() == before, "the refusal changed something");
    }

    #[track_caller]
    fn refused(&self, expected: &[&[&str]]) {
        self.refused_with(&self.config, expected);
    }

    /// Opens, and all messages are there.
    #[track_caller]
    fn opens(&self) {
        let store = Store::open(self.config.clone(), Box::new(tags_of)).unwrap();
        for queue in 0..2 {
            let queue = store.queue("T", QueueId(queue)).unwrap();
            assert_eq!(queue.max_offset(), QueueOffset(MESSAGES / 2));
        }
        store.close().unwrap();
    }

    /// Every name, with its bytes and the time of its last change.
    fn content(&self) -> BTreeMap<PathBuf, (i64, i64, Option<Vec<u8>>)> {
        fn add(path: &Path, all: &mut BTreeMap<PathBuf, (i64, i64, Option<Vec<u8>>)>) {
            let about = fs::symlink_metadata(path).unwrap();
            let bytes = about.is_file().then(|| fs::read(path).unwrap_or_default());
            all.insert(path.to_owned(), (about.mtime(), about.mtime_nsec(), bytes));
            if about.is_dir() {
                fs::read_dir(path).into_iter().flatten().for_each(|entry| add(&entry.unwrap().path(), all));
            }
        }
        let mut all = BTreeMap::new();
        add(self.dir.path(), &mut all);
        all
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

fn record(queue_id: u32) -> Vec<u8> {
    let draft = Draft { properties: b"KEYS\x01k\x02", ..Draft::plain("T", QueueId(queue_id), &[b'x'; 100]) };
    let mut out = Vec::new();
    Encoder::new(1 << 20).encode(&draft, &mut out).unwrap();
    out
}

fn set_length(path: &Path, length: u64) {
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(length).unwrap();
}

#[test]
fn a_folder_that_is_right_and_one_that_is_new() {
    let ground = Ground::new();
    let before = ground.content();
    let found = preflight(&ground.config).unwrap();
    assert!(found.has_records && found.settled);
    assert!(ground.content() == before);
    ground.opens();

    let new = config(&ground.dir.path().join("new"));
    let found = preflight(&new).unwrap();
    assert!(!found.has_records);
    assert!(!new.root.exists(), "looking makes nothing");
}

#[test]
fn files_of_another_length() {
    let ground = Ground::new();
    let segments = StoreConfig { segment_size_bytes: 8192, ..ground.config.clone() };
    let words = ["has 4096 bytes, but mappedFileSizeCommitLog is 8192", "set mappedFileSizeCommitLog=4096"];
    ground.refused_with(&segments, &[&words]);
    for (size, rounded) in [(300, "300"), (801, "820")] {
        let queues = StoreConfig { consume_queue_file_size_bytes: size, ..ground.config.clone() };
        let is = format!("has 400 bytes, but mappedFileSizeConsumeQueue is {rounded}");
        ground.refused_with(&queues, &[&[&is, "set mappedFileSizeConsumeQueue=400"]]);
    }
    // All of them at once.
    let all = StoreConfig { consume_queue_file_size_bytes: 200, ..segments };
    ground.refused_with(&all, &[&["CommitLog=4096"], &["ConsumeQueue=400"]]);
    // The index is built again.
    let dir = ground.root().join("index");
    let index = Some(IndexConfig { dir, slots: 9, entries: 24 });
    drop(Store::open(StoreConfig { index, ..ground.config.clone() }, Box::new(tags_of)).unwrap());
    ground.opens();
}

#[test]
fn lengths_that_no_store_can_have() {
    let dir = tempfile::tempdir().unwrap();
    for (segment, queue_file) in [(10, 6_000_000), (1 << 31, 6_000_000), (1 << 20, 10), (1 << 20, 1 << 31)] {
        let bad = StoreConfig {
            segment_size_bytes: segment,
            consume_queue_file_size_bytes: queue_file,
            ..config(&dir.path().join("new"))
        };
        assert!(matches!(preflight(&bad).unwrap_err(), OpenError::Setting { .. }));
        assert!(matches!(Store::open(bad, Box::new(tags_of)).unwrap_err(), OpenError::Setting { .. }));
    }
}

#[test]
fn commit_logs_that_were_not_copied_whole() {
    let ground = Ground::new();
    set_length(&ground.segment(1), 1000);
    let (first, third) = (ground.segment(1), ground.segment(2));
    let (first, third) = (first.to_str().unwrap(), third.to_str().unwrap());
    ground.refused(&[&[first, "has 1000 bytes instead of 4096", "copy it again"]]);
    fs::remove_file(first).unwrap();
    ground.refused(&[&[first, "is missing:", "the next one that exists starts at 8192"]]);
    fs::remove_file(third).unwrap();
    ground.refused(&[&[first, "is missing and 1 after it:", "starts at 12288"]]);
    ground.put("commitlog/readme.txt", "");
    fs::create_dir(third).unwrap();
    ground.refused(&[
        &[first, "is missing"],
        &["readme.txt is not a commit log file"],
        &[third, "directory"],
    ]);

    let ground = Ground::new();
    let swapped = ground.log().join("swapped");
    fs::rename(ground.segment(1), &swapped).unwrap();
    fs::rename(ground.segment(2), ground.segment(1)).unwrap();
    fs::rename(&swapped, ground.segment(2)).unwrap();
    let names = [1, 2].map(|number| format!("{:020}", number * SEGMENT));
    let expected = [
        [&*names[0], " holds the records of ", &names[1]],
        [&*names[1], " holds the records of ", &names[0]],
    ];
    ground.refused(&[&expected[0], &expected[1]]);
}

#[test]
fn a_log_that_ends_before_what_queues_know() {
    for java in [false, true] {
        let ground = if java { Ground::new().of_java() } else { Ground::new() };
        fs::remove_file(ground.segment(3)).unwrap();
        ground.refused(&[&["ends at 12288", "knows of messages up to", "last files of the log are missing"]]);
        fs::remove_dir_all(ground.log()).unwrap();
        ground.refused(&[&["ends at 0", "knows of messages up to"]]);
        // What the message tells to do helps.
        for derived in ["consumequeue", "index", "checkpoint"] {
            let path = ground.root().join(derived);
            fs::rename(&path, ground.dir.path().join(format!("{derived}.away"))).unwrap();
        }
        Store::open(ground.config.clone(), Box::new(tags_of)).unwrap();
    }
    // A power failure can leave units of the last file that Java made, and not the file.
    let ground = Ground::new().of_java();
    fs::remove_file(ground.segment(3)).unwrap();
    ground.put("abort", "");
    Store::open(ground.config.clone(), Box::new(tags_of)).unwrap();
}

/// A Java broker that was killed: was it killed in its first seconds?
#[test]
fn a_folder_shows_whether_a_broker_lived_for_long() {
    let settled = |ground: &Ground| preflight(&ground.config).unwrap().settled;
    let dir = tempfile::tempdir().unwrap();
    let young = Ground { config: config(&dir.path().join("store")), dir };
    let store = Store::open(young.config.clone(), Box::new(tags_of)).unwrap();
    let queue = store.queue("T", QueueId(0)).unwrap();
    store.append(&queue, &mut record(0), TagsCode(0)).unwrap();
    store.close().unwrap();
    drop(store);
    let young = young.of_java();
    assert!(settled(&young), "closed");
    young.put("abort", "");
    // Java makes two segments at once.
    fs::File::create(young.segment(1)).unwrap().set_len(SEGMENT).unwrap();
    assert!(!settled(&young));
    let written = |seconds| {
        let file = fs::OpenOptions::new().write(true).open(young.segment(0)).unwrap();
        file.set_modified(std::time::SystemTime::now() + std::time::Duration::from_secs(seconds)).unwrap();
    };
    written(50);
    assert!(!settled(&young));
    written(70);
    assert!(settled(&young), "written for more than a minute");

    let ground = Ground::new().of_java();
    ground.put("abort", "");
    assert!(settled(&ground), "several segments");
    for segment in [0, 1, 2] {
        fs::remove_file(ground.segment(segment)).unwrap();
    }
    assert!(settled(&ground), "segments were removed");
}

#[test]
fn what_is_built_again_is_not_refused() {
    let ground = Ground::new();
    set_length(&ground.root().join("index").join(first_in(&ground.root().join("index"))), 100);
    set_length(&ground.root().join("consumequeue/T/0/00000000000000000400"), 20);
    fs::remove_file(ground.root().join("consumequeue/T/1/00000000000000000000")).unwrap();
    preflight(&ground.config).unwrap();
    fs::remove_dir_all(ground.root().join("consumequeue")).unwrap();
    fs::remove_dir_all(ground.root().join("index")).unwrap();
    ground.opens();
    // A segment that a crash left unfinished.
    fs::write(ground.segment(4), [0; 100]).unwrap();
    ground.opens();
}

fn first_in(dir: &Path) -> String {
    fs::read_dir(dir).unwrap().next().unwrap().unwrap().file_name().into_string().unwrap()
}

#[test]
fn folders_that_only_java_can_read() {
    let ground = Ground::new();
    // What a broker 5.3.3 makes in any case.
    ground.put("compaction/position-checkpoint", "");
    ground.opens();
    for (file, words) in [
        ("consumequeue/CURRENT", ["RocksDB", "rocksDBConfigToJson"]),
        ("config/consumerOffsets/CURRENT", ["RocksDB", "rocksDBConfigToJson"]),
        ("consumequeue_ext/T/0/00000000000000000000", ["enableConsumeQueueExt", "built again"]),
        ("batchconsumequeue/T/0/00000000000000000000", ["BatchCQ", "Java broker"]),
        ("compaction/compactionLog/T/0/00000000000000000000", ["COMPACTION", "Java broker"]),
        ("config/tieredStoreMetadata.json", ["tiered", "move the file away"]),
        ("dledger-n0/data/00000000000000000000", ["DLedger", "Java broker"]),
    ] {
        ground.put(file, "MANIFEST-000005\n");
        ground.refused(&[&words]);
        fs::remove_file(ground.root().join(file)).unwrap();
        for dir in Path::new(file).ancestors().skip(1) {
            // The folders that were made for it.
            let _ = fs::remove_dir(ground.root().join(dir));
        }
    }
    // Of a configuration that was exported, the JSON counts.
    ground.put("config/topics/CURRENT", "MANIFEST-000005\n");
    ground.put("config/topics.json", "{}");
    ground.opens();
}

#[test]
fn files_and_folders_in_each_others_place() {
    for name in ["lock", "abort", "checkpoint"] {
        let ground = Ground::new();
        let path = ground.root().join(name);
        let _ = fs::remove_file(&path);
        fs::create_dir(&path).unwrap();
        ground.refused(&[&[path.to_str().unwrap(), "a folder in the place of a file"]]);
    }
    for name in ["commitlog", "consumequeue", "index"] {
        let ground = Ground::new();
        let path = ground.root().join(name);
        fs::remove_dir_all(&path).unwrap();
        fs::write(&path, "").unwrap();
        ground.refused(&[&[path.to_str().unwrap(), "a file in the place of a folder"]]);
    }
    let ground = Ground::new();
    let root = ground.segment(0);
    ground.refused_with(&config(&root), &[&[root.to_str().unwrap(), "a file in the place of a folder"]]);
}

#[test]
fn what_may_not_be_read_or_written() {
    without_rights_over_permissions(|| {
        let advice = "the user that runs the broker must be able to read and write";
        let ground = Ground::new();
        let files = ["checkpoint", "commitlog/00000000000000004096", "consumequeue/T/1"];
        let set = |mode| {
            for file in files {
                fs::set_permissions(ground.root().join(file), fs::Permissions::from_mode(mode)).unwrap();
            }
        };
        for mode in [0o000, 0o222] {
            set(mode);
            let refused = fs::read(ground.root().join("checkpoint")).map_err(|error| error.kind());
            assert_eq!(refused, Err(ErrorKind::PermissionDenied), "nothing keeps this user from anything");
            ground.refused(&files.map(|file| [file, advice]).each_ref().map(|words| &words[..]));
        }
        set(0o755);
        ground.opens();
    });
}

/// Runs `test` on a thread that has to keep to the permissions of files, whoever runs it: root may pass over them.
fn without_rights_over_permissions(test: impl FnOnce() + Send) {
    let run = || {
        #[cfg(target_os = "linux")]
        {
            use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
            let mut kept = capabilities(None).unwrap();
            let given_up = CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH;
            kept.effective -= given_up;
            kept.permitted -= given_up;
            set_capabilities(None, kept).unwrap();
        }
        test();
    };
    std::thread::scope(|scope| {
        scope.spawn(run).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}
