// SPDX-License-Identifier: Apache-2.0
//! The store on the real disk: locks, refusals, and a process that is killed.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use oxmq_record::{Draft, Encoder, RecordView};
use oxmq_store::{FlushMode, KeyQuery, OpenError, Store, StoreConfig, tags_of};
use oxmq_types::{PhysicalOffset, QueueId, QueueOffset, TagsCode};

fn config(root: &Path) -> StoreConfig {
    StoreConfig { segment_size_bytes: 1024 * 1024, flush: FlushMode::Sync, ..StoreConfig::new(root) }
}

fn open(root: &Path) -> Result<Arc<Store>, OpenError> {
    Store::open(config(root), Box::new(tags_of))
}

fn record(queue_id: u32, body: &[u8]) -> Vec<u8> {
    record_with(queue_id, body, b"")
}

fn record_with(queue_id: u32, body: &[u8], properties: &[u8]) -> Vec<u8> {
    let draft = Draft { properties, ..Draft::plain("TopicTest", QueueId(queue_id), body) };
    let mut out = Vec::new();
    Encoder::new(1 << 20).encode(&draft, &mut out).unwrap();
    out
}

#[test]
fn a_folder_has_one_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let error = open(dir.path()).unwrap_err();
    assert!(matches!(error, OpenError::Locked { .. }), "{error}");
    assert!(error.to_string().contains(&dir.path().display().to_string()));
    // Another process is kept out, too, and the failed attempts above did not let go of the lock.
    let other = run_child(dir.path(), "open").wait_with_output().unwrap();
    assert!(other.stdout.ends_with(b"\nlocked\n"), "{}", String::from_utf8_lossy(&other.stdout));
    store.close().unwrap();
    drop(store);
    // Not before: closing any handle of that file lets go of this process's lock on it.
    assert_eq!(fs::read(dir.path().join("lock")).unwrap(), b"lock");
    open(dir.path()).unwrap();
}

#[test]
fn an_index_file_takes_the_space_that_it_uses() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let queue = store.queue("TopicTest", QueueId(0)).unwrap();
    let find = |key: &str| {
        let wanted = KeyQuery { topic: "TopicTest", key, max: 64, begin_ms: 0, end_ms: i64::MAX };
        store.query(&wanted).records.len()
    };
    for i in 0..20 {
        let properties = format!("KEYS\u{1}k{i} all\u{2}");
        store.append(&queue, &mut record_with(0, b"x", properties.as_bytes()), TagsCode(0)).unwrap();
    }
    assert_eq!((find("k7"), find("all"), find("none")), (1, 20, 0));
    store.close().unwrap();
    let files: Vec<_> = fs::read_dir(dir.path().join("index")).unwrap().map(Result::unwrap).collect();
    assert_eq!(files.len(), 1);
    assert_eq!(files[0].file_name().len(), 17);
    let found = files[0].metadata().unwrap();
    assert_eq!(found.len(), 420_000_040);
    // Blocks of 64 KiB around the header, 21 slots and 40 entries.
    assert!(found.blocks() * 512 < 3 << 20, "{} blocks", found.blocks());
}

#[test]
fn folders_that_cannot_be_used_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, b"x").unwrap();
    let mut unusable = vec![file.clone(), file.join("below")];
    if cfg!(target_os = "linux") {
        unusable.push("/proc/store".into());
    }
    for root in unusable {
        let error = open(&root).unwrap_err();
        assert!(matches!(error, OpenError::Io { .. } | OpenError::Refused(_)), "{error}");
        assert!(error.to_string().starts_with(&root.display().to_string()), "{error}");
        assert!(!error.to_string().contains('\n'));
    }
}

#[test]
fn slices_stay_readable_after_the_store_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let queue = store.queue("TopicTest", QueueId(0)).unwrap();
    let appended = store.append(&queue, &mut record(0, b"still here"), TagsCode(0)).unwrap();
    let size = (appended.end.0 - appended.physical.0) as u32;
    let bytes = store.read_record(appended.physical, size).unwrap();
    assert!(store.read_record(appended.physical, size + 1).is_none());
    assert!(store.read_record(PhysicalOffset(u64::MAX), 1).is_none());
    store.close().unwrap();
    drop((queue, store));
    assert_eq!(RecordView::parse(&bytes).unwrap().body(), b"still here");
}

/// The next segment is made by a thread and, when that is late, by the append itself; a benchmark once found them
/// making the same one.
#[test]
fn segments_roll_while_the_next_one_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let small = StoreConfig { segment_size_bytes: 4096, ..config(dir.path()) };
    let store = Store::open(small.clone(), Box::new(tags_of)).unwrap();
    let queue = store.queue("TopicTest", QueueId(0)).unwrap();
    for i in 0..5_000u64 {
        let appended = store.append(&queue, &mut record(0, &[1; 1200]), TagsCode(0)).unwrap();
        assert_eq!(appended.queue_offset, QueueOffset(i));
    }
    assert!(store.max_physical().0 > 1_600 * 4096);
    drop((queue, store));
    let store = Store::open(small, Box::new(tags_of)).unwrap();
    assert_eq!(store.queue("TopicTest", QueueId(0)).unwrap().max_offset(), QueueOffset(5_000));
}

const CHILD: &str = "OXMQ_STORE_TEST_CHILD";

fn run_child(root: &Path, what: &str) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env(CHILD, format!("{what}:{}", root.display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// What the other tests run as a process of its own; nothing unless they do.
#[test]
fn child() {
    let Ok(task) = std::env::var(CHILD) else { return };
    let (what, root) = task.split_once(':').unwrap();
    // Past the test harness, which keeps a line open.
    let mut out = fs::OpenOptions::new().write(true).open("/dev/stdout").unwrap();
    let store = match open(Path::new(root)) {
        Ok(store) => store,
        Err(error) => {
            let text = if matches!(error, OpenError::Locked { .. }) { "locked" } else { "failed" };
            writeln!(out, "\n{text}").unwrap();
            std::process::exit(0);
        }
    };
    if what == "open" {
        std::process::exit(1);
    }
    let queues: Vec<_> = (0..3).map(|id| store.queue("TopicTest", QueueId(id)).unwrap()).collect();
    for i in 0u64.. {
        let id = (i % 3) as u32;
        let body = vec![i as u8; 100 + (i % 1000) as usize];
        let mut record = record(id, &body);
        let appended = store.append(&queues[id as usize], &mut record, TagsCode(i as i64)).unwrap();
        writeln!(out, "\n{id} {} {} {}", appended.queue_offset, body.len(), body[0]).unwrap();
    }
}

/// The process dies at any moment: what it acknowledged is in the page cache and must all be there.
#[test]
fn everything_acknowledged_survives_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    // Queue, offset -> length and first byte of the body.
    let mut acknowledged = std::collections::BTreeMap::new();
    for round in 0..6 {
        let mut child = run_child(dir.path(), "append");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let wanted = 500 + round * 1700;
        let mut seen = 0;
        let mut read = |line: String| {
            let numbers: Vec<u64> = line.split(' ').filter_map(|number| number.parse().ok()).collect();
            if let [id, offset, length, byte] = numbers[..] {
                acknowledged.insert((id as u32, offset), (length as usize, byte as u8));
                return true;
            }
            false
        };
        while seen < wanted {
            let Some(Ok(line)) = lines.next() else { break };
            seen += usize::from(read(line));
        }
        child.kill().unwrap();
        // What it said before it died counts, but a line that death cut short does not.
        let rest: Vec<_> = lines.map_while(Result::ok).collect();
        for line in rest.into_iter().rev().skip(1) {
            read(line);
        }
        child.wait().unwrap();
        assert!(seen >= wanted, "the child wrote {seen}");

        let store = open(dir.path()).unwrap();
        let mut units = Vec::new();
        for (&(id, offset), &(length, byte)) in &acknowledged {
            let queue = store.queue("TopicTest", QueueId(id)).unwrap();
            units.clear();
            queue.read_units(QueueOffset(offset), 1, &mut units).unwrap();
            let bytes = store.read_record(units[0].physical, units[0].size).unwrap();
            let record = RecordView::parse(&bytes).unwrap();
            assert!(record.verify_crc());
            assert_eq!((record.queue_id(), record.queue_offset()), (QueueId(id), QueueOffset(offset)));
            assert_eq!((record.body().len(), record.body()[0]), (length, byte));
        }
        if round % 2 == 0 {
            store.close().unwrap();
        }
    }
}
