// SPDX-License-Identifier: Apache-2.0
//! A Java broker that finds its log shorter after a power loss cuts its queues in memory only. Where no later message
//! took their place, the units of those that are lost stay in the files, behind the end of the queue, also when that
//! broker is closed in order: they point beyond the end of the log, or to what was written there since.

use std::{
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use oxmq_record::{Draft, Encoder, RecordView};
use oxmq_store::{Access, Queue, QueueError, Store, StoreConfig, Unit, tags_of};
use oxmq_types::{QueueId, QueueOffset, TagsCode};

const SEGMENT: u64 = 4096;
/// Of the quiet queue, and of the other.
const MESSAGES: [u64; 2] = [10, 60];

fn config(root: &Path) -> StoreConfig {
    StoreConfig {
        segment_size_bytes: SEGMENT,
        consume_queue_file_size_bytes: 400,
        index: None,
        ..StoreConfig::new(root)
    }
}

fn record(queue: u32, body: &str) -> Vec<u8> {
    let draft = Draft::plain("T", QueueId(queue), body.as_bytes());
    let mut out = Vec::new();
    Encoder::new(1 << 20).encode(&draft, &mut out).unwrap();
    out
}

fn append(store: &Store, queue: u32, body: &str) -> QueueOffset {
    let to = store.queue("T", QueueId(queue)).unwrap();
    store.append(&to, &mut record(queue, body), TagsCode(0)).unwrap().queue_offset
}

/// A folder that a Java broker closed, whose queues have their messages, the quiet one the older ones; and where the log
/// ends, and where each message of the quiet queue stands.
fn folder() -> (tempfile::TempDir, PathBuf, u64, Vec<Unit>) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("store");
    let store = Store::open(config(&root), Box::new(tags_of)).unwrap();
    for (queue, messages) in (0..).zip(MESSAGES) {
        for i in 0..messages {
            append(&store, queue, &format!("{queue} {i}"));
        }
    }
    let units = units(&store.queue("T", QueueId(0)).unwrap());
    let end = store.max_physical().0;
    store.close().unwrap();
    // Which knows nothing of our part of the checkpoint, and of our list.
    let file = root.join("checkpoint");
    let mut bytes = fs::read(&file).unwrap();
    bytes[2048..].fill(0);
    fs::write(file, bytes).unwrap();
    fs::remove_file(root.join("oxmq-queues")).unwrap();
    (dir, root, end, units)
}

fn units(queue: &Queue) -> Vec<Unit> {
    let mut out = Vec::new();
    queue.read_units(queue.min_offset(), usize::MAX, &mut out).unwrap();
    out
}

fn built(store: &Store, queue: u32) -> Arc<Queue> {
    let began = Instant::now();
    loop {
        match store.queue("T", QueueId(queue)) {
            Err(QueueError::Rebuilding { .. }) => {
                assert!(began.elapsed() < Duration::from_secs(30), "not built");
                std::thread::sleep(Duration::from_millis(1));
            }
            queue => return queue.unwrap(),
        }
    }
}

/// The quiet queue, when all its messages have been read: whoever meets a wrong unit has the queue built again.
fn read_all(store: &Store) -> Arc<Queue> {
    let began = Instant::now();
    loop {
        let queue = built(store, 0);
        let mut reader = store.reader(&queue, Access::Disk);
        let mut units = Vec::new();
        let read = reader.units(QueueOffset(0), usize::MAX, &mut units).is_ok()
            && (0..).zip(&units).all(|(at, unit)| reader.record(QueueOffset(at), unit).is_ok());
        if read {
            return queue;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "not built");
    }
}

/// The bodies of a queue's messages; `None` for filler.
fn bodies(store: &Store, queue: &Queue) -> Vec<Option<String>> {
    let body = |unit: &Unit| {
        let bytes = store.read_record(unit.physical, unit.size)?;
        Some(String::from_utf8(RecordView::parse(&bytes).unwrap().body().to_vec()).unwrap())
    };
    units(queue).iter().map(body).collect()
}

fn put_units(root: &Path, queue: u32, at: u64, units: &[(u64, u32)]) {
    for (at, (physical, size)) in (at..).zip(units) {
        let dir = root.join(format!("consumequeue/T/{queue}"));
        let file = dir.join(format!("{:020}", at * 20 / 400 * 400));
        let unit = [&physical.to_be_bytes()[..], &size.to_be_bytes(), &[0; 8]].concat();
        let file = fs::OpenOptions::new().write(true).open(file).unwrap();
        file.write_all_at(&unit, at * 20 % 400).unwrap();
    }
}

#[test]
fn units_of_lost_messages_behind_the_end_of_a_queue() {
    let (_, _, end, known) = folder();
    let size = known[0].size;
    for (what, stale) in [
        ("beyond the log", vec![(end + 500, size), (end + 900, size)]),
        ("beyond it, in a segment that is empty", vec![(end / SEGMENT * SEGMENT + SEGMENT + 64, size)]),
        ("where others stand now", vec![(end - 3 * u64::from(size), size), (end - u64::from(size), size)]),
        ("within others", vec![(end - 1000, size), (end - 777, size), (end - 5, size)]),
        ("both", vec![(end - 1000, size), (end + 500, size)]),
    ] {
        let (_dir, root, _, known) = folder();
        fs::File::create(root.join(format!("commitlog/{:020}", end / SEGMENT * SEGMENT + SEGMENT)))
            .and_then(|next| next.set_len(SEGMENT))
            .unwrap();
        put_units(&root, 0, MESSAGES[0], &stale);
        // Were the log read from its beginning, this one would not be found whole.
        let damaged = &known[2];
        let first =
            fs::OpenOptions::new().write(true).open(root.join(format!("commitlog/{:020}", 0))).unwrap();
        first.write_all_at(b"?", damaged.physical.0 + u64::from(damaged.size) - 6).unwrap();

        let store = Store::open(config(&root), Box::new(tags_of)).unwrap();
        assert_eq!(store.max_physical().0, end, "{what}");
        let queue = built(&store, 0);
        let mut expected: Vec<_> = (0..MESSAGES[0]).map(|i| Some(format!("0 {i}"))).collect();
        expected[2] = None;
        let found = bodies(&store, &queue);
        assert_eq!(found[..MESSAGES[0] as usize], expected, "{what}");
        // An offset that a lost message had may be given again or not; nothing stands there.
        assert!(found[MESSAGES[0] as usize..].iter().all(Option::is_none), "{what}: {found:?}");
        assert_eq!(units(&queue)[..MESSAGES[0] as usize], known, "{what}: not only its end was built");
        let next = append(&store, 0, "next");
        assert_eq!(next, QueueOffset(found.len() as u64), "{what}");
        assert_eq!(bodies(&store, &queue).last(), Some(&Some("next".to_owned())), "{what}");
        let other = built(&store, 1);
        assert_eq!(
            bodies(&store, &other),
            (0..MESSAGES[1]).map(|i| Some(format!("1 {i}"))).collect::<Vec<_>>()
        );
        store.close().unwrap();
        drop(store);
        let store = Store::open(config(&root), Box::new(tags_of)).unwrap();
        let queue = store.queue("T", QueueId(0)).unwrap();
        assert_eq!(queue.max_offset().0, found.len() as u64 + 1, "{what}");
    }
}

/// Messages that the log has and whose units are wrong are found, wherever they stand behind the last right one.
#[test]
fn wrong_units_of_messages_that_are_there() {
    let (_, _, end, known) = folder();
    let size = known[0].size;
    for from in [1, 4, MESSAGES[0] - 1] {
        for wrong in [end + 500, end - 777, 12] {
            let (_dir, root, _, known) = folder();
            let count = MESSAGES[0] - from;
            put_units(&root, 0, from, &(0..count).map(|i| (wrong + i, size)).collect::<Vec<_>>());
            let store = Store::open(config(&root), Box::new(tags_of)).unwrap();
            let queue = read_all(&store);
            assert_eq!(units(&queue), known, "{wrong} from {from}");
            store.close().unwrap();
        }
    }
}
