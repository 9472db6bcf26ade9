// SPDX-License-Identifier: Apache-2.0
//! What the page cache of the real system has, and what reading old messages leaves there.
#![cfg(target_os = "linux")]

use std::{fs, path::Path, sync::Arc};

use bytes::Bytes;
use oxmq_record::{Draft, Encoder, RecordView};
use oxmq_store::{Access, ReadError, Store, StoreConfig, Unit, tags_of};
use oxmq_types::{QueueId, QueueOffset, TagsCode};

const MESSAGES: u64 = 1000;

fn open(root: &Path) -> Arc<Store> {
    let config = StoreConfig { segment_size_bytes: 4 << 20, index: None, ..StoreConfig::new(root) };
    Store::open(config, Box::new(tags_of)).unwrap()
}

fn fill(store: &Store) {
    let queue = store.queue("T", QueueId(0)).unwrap();
    for i in 0..MESSAGES {
        let body = [i as u8; 3000];
        let draft = Draft::plain("T", QueueId(0), &body);
        let mut record = Vec::new();
        Encoder::new(1 << 20).encode(&draft, &mut record).unwrap();
        store.append(&queue, &mut record, TagsCode(0)).unwrap();
    }
}

/// Has the page cache let go of all files under `dir`.
fn drop_pages(dir: &Path) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            drop_pages(&entry.path());
        } else {
            let file = fs::File::open(entry.path()).unwrap();
            file.sync_all().unwrap();
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        }
    }
}

fn units(store: &Store) -> Vec<Unit> {
    let mut units = Vec::new();
    let queue = store.queue("T", QueueId(0)).unwrap();
    queue.read_units(QueueOffset(0), MESSAGES as usize, &mut units).unwrap();
    assert_eq!(units.len() as u64, MESSAGES);
    units
}

fn read(store: &Store, units: &[Unit], access: Access) -> Vec<Result<Bytes, ReadError>> {
    let queue = store.queue("T", QueueId(0)).unwrap();
    let mut reader = store.reader(&queue, access);
    (0..).zip(units).map(|(offset, unit)| reader.record(QueueOffset(offset), unit)).collect()
}

#[test]
fn reading_old_messages_leaves_nothing_in_the_page_cache() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    fill(&store);
    store.close().unwrap();
    drop(store);
    drop_pages(dir.path());
    let store = open(dir.path());
    let queue = store.queue("T", QueueId(0)).unwrap();
    let units = units(&store);
    let cold = |store: &Store| {
        let read = read(store, &units, Access::Memory);
        read.iter().filter(|record| matches!(record, Err(ReadError::Cold))).count() as u64
    };
    if cold(&store) == 0 {
        // This file system has no disk.
        return;
    }
    // The last page was looked at by the start.
    assert!(cold(&store) >= MESSAGES - 2);
    for (i, record) in read(&store, &units, Access::Disk).iter().enumerate() {
        let record = RecordView::parse(record.as_ref().unwrap()).unwrap();
        assert_eq!(record.body(), [i as u8; 3000]);
    }
    // All of it is kept for the next reader, but not by the system.
    assert_eq!(cold(&store), 0);
    store.forget_cold();
    store.forget_cold();
    assert!(cold(&store) >= MESSAGES - 2);

    // What others have brought in is found there, and stays.
    let segment = dir.path().join("commitlog/00000000000000000000");
    fs::read(&segment).unwrap();
    assert_eq!(cold(&store), 0);
    read(&store, &units, Access::Disk).into_iter().for_each(|record| drop(record.unwrap()));
    store.forget_cold();
    store.forget_cold();
    assert_eq!(cold(&store), 0);
    drop(queue);
}

#[test]
fn units_of_a_queue_are_read_as_far_as_they_are_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    fill(&store);
    store.close().unwrap();
    drop(store);
    drop_pages(dir.path());
    let store = open(dir.path());
    let queue = store.queue("T", QueueId(0)).unwrap();
    let read = |access: Access| {
        let mut units = Vec::new();
        let cold = store.reader(&queue, access).units(QueueOffset(0), MESSAGES as usize, &mut units).unwrap();
        (cold, units.len() as u64)
    };
    // Nobody has opened the file of a queue that nobody reads, or its pages are not there.
    let (cold, count) = read(Access::Memory);
    assert!(cold == (count == 0));
    assert_eq!(read(Access::Disk), (false, MESSAGES));
    assert_eq!(read(Access::Memory), (false, MESSAGES));
}
