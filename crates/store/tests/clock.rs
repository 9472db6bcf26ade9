// SPDX-License-Identifier: Apache-2.0
//! A clock that was set back between stop and start: the log has store times of the future, and smaller ones follow.

use std::{fs, path::Path, sync::Arc};

use oxmq_record::{Draft, Encoder, Peeked, RecordView, peek_size_and_magic, stamp};
use oxmq_store::{Boundary, IndexConfig, KeyQuery, Store, StoreConfig, tags_of};
use oxmq_types::{QueueId, QueueOffset, TagsCode};

const SEGMENT: u64 = 4096;
const HOUR_MS: i64 = 3_600_000;
const BEFORE: u64 = 12;
const AFTER: u64 = 60;

fn config(root: &Path) -> StoreConfig {
    StoreConfig {
        segment_size_bytes: SEGMENT,
        consume_queue_file_size_bytes: 400,
        index: Some(IndexConfig { dir: root.join("index"), slots: 8, entries: 24 }),
        // What is not closed leaves neither units nor a checkpoint.
        queue_flush_interval_ms: 3_600_000,
        checkpoint_interval_ms: 3_600_000,
        ..StoreConfig::new(root)
    }
}

fn open(root: &Path) -> Arc<Store> {
    Store::open(config(root), Box::new(tags_of)).unwrap()
}

fn append(store: &Store, count: u64) {
    let queue = store.queue("T", QueueId(0)).unwrap();
    for _ in 0..count {
        let draft = Draft { properties: b"KEYS\x01k\x02", ..Draft::plain("T", QueueId(0), &[b'x'; 100]) };
        let mut out = Vec::new();
        Encoder::new(1 << 20).encode(&draft, &mut out).unwrap();
        store.append(&queue, &mut out, TagsCode(0)).unwrap();
    }
}

/// As if all that is there had been written by a clock that was an hour ahead.
fn put_ahead(root: &Path) {
    let file = root.join("commitlog/00000000000000000000");
    let mut log = fs::read(&file).unwrap();
    let mut at = 0;
    while let Peeked::Message { size } = peek_size_and_magic(&log[at..]) {
        let record = RecordView::parse(&log[at..]).unwrap();
        let (offset, physical) = (record.queue_offset(), record.physical_offset());
        let stored_ms = record.store_timestamp_ms() + HOUR_MS;
        stamp(&mut log[at..at + size as usize], offset, physical, stored_ms);
        at += size as usize;
    }
    fs::write(file, log).unwrap();
    let file = root.join("checkpoint");
    let mut checkpoint = fs::read(&file).unwrap();
    for time in checkpoint[..24].chunks_mut(8) {
        let ms = i64::from_be_bytes(time.try_into().unwrap());
        time.copy_from_slice(&(ms + HOUR_MS).to_be_bytes());
    }
    fs::write(file, checkpoint).unwrap();
}

fn check(store: &Store) {
    let queue = store.queue("T", QueueId(0)).unwrap();
    assert_eq!(queue.max_offset(), QueueOffset(BEFORE + AFTER));
    let mut units = Vec::new();
    let mut last = 0;
    while (units.len() as u64) < BEFORE + AFTER {
        queue.read_units(QueueOffset(units.len() as u64), 100, &mut units).unwrap();
    }
    for (i, unit) in units.iter().enumerate() {
        let record = store.read_record(unit.physical, unit.size).unwrap();
        let record = RecordView::parse(&record).unwrap();
        assert_eq!(record.queue_offset(), QueueOffset(i as u64));
        if i as u64 == BEFORE {
            // As in Java, each message has the time that the clock showed.
            assert!(record.store_timestamp_ms() < last - HOUR_MS / 2);
        }
        last = record.store_timestamp_ms();
    }
    let wanted = KeyQuery { topic: "T", key: "k", max: 1000, begin_ms: 0, end_ms: i64::MAX };
    assert_eq!(store.query(&wanted).records.len() as u64, BEFORE + AFTER);
    // No place is right for a time that came twice; there is an answer, in the queue.
    for time_ms in [0, last - HOUR_MS, last, last + HOUR_MS, i64::MAX] {
        let found = store.offset_by_time(&queue, time_ms, Boundary::Lower).unwrap();
        assert!(found.0 <= BEFORE + AFTER, "{found:?}");
    }
}

fn set_back(end: impl Fn(Arc<Store>)) {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    append(&store, BEFORE);
    store.close().unwrap();
    drop(store);
    put_ahead(dir.path());
    let store = open(dir.path());
    append(&store, AFTER);
    check(&store);
    end(store);
    check(&open(dir.path()));
}

#[test]
fn and_the_store_was_closed() {
    set_back(|store| store.close().unwrap());
}

/// The checkpoint's times, of before the clock was set back, are later than those of segments that no checkpoint knows.
#[test]
fn and_the_broker_was_killed() {
    set_back(drop);
}
