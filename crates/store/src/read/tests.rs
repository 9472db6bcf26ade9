// SPDX-License-Identifier: Apache-2.0
//! What is given from where, on a disk that says what it is asked for; and what is damaged.

use std::{
    ops::Range,
    path::Path,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use oxmq_record::{Draft, Encoder, RecordView};
use oxmq_types::{QueueId, QueueOffset, TagsCode};

use super::{Access, ReadError};
use crate::{MemoryDisk, Store, StoreConfig, Unit, tags_of};

const SEGMENT: u64 = 8 * 1024 * 1024;

fn open(disk: &Arc<MemoryDisk>, hot_bytes: u64) -> Arc<Store> {
    let config = StoreConfig { segment_size_bytes: SEGMENT, hot_bytes, ..StoreConfig::new("/store") };
    Store::open_in_memory(disk, config, Box::new(tags_of)).unwrap()
}

/// Appends `count` messages with bodies of `length` bytes and returns where each lies.
fn append(store: &Store, count: usize, length: usize) -> Vec<Range<u64>> {
    append_with(store, count, length, b"TAGS\x01TagA\x02")
}

/// The same with these properties.
fn append_with(store: &Store, count: usize, length: usize, properties: &[u8]) -> Vec<Range<u64>> {
    let queue = store.queue("Topic", QueueId(3)).unwrap();
    let append = |i: usize| {
        let body = vec![i as u8; length];
        let draft = Draft { properties, ..Draft::plain("Topic", QueueId(3), &body) };
        let mut record = Vec::new();
        Encoder::new(1 << 20).encode(&draft, &mut record).unwrap();
        let appended = store.append(&queue, &mut record, TagsCode(0)).unwrap();
        appended.physical.0..appended.end.0
    };
    (0..count).map(append).collect()
}

/// What a reader of the queue is given for each of its messages; `None` if their units are not in memory.
fn read(store: &Store, access: Access) -> Option<Vec<Result<Bytes, ReadError>>> {
    let queue = store.queue("Topic", QueueId(3)).unwrap();
    let mut reader = store.reader(&queue, access);
    let mut units = Vec::new();
    if reader.units(QueueOffset(0), 1000, &mut units).unwrap() {
        assert_eq!(units, []);
        return None;
    }
    let record = |(offset, unit): (usize, &Unit)| reader.record(QueueOffset(offset as u64), unit);
    Some(units.iter().enumerate().map(record).collect())
}

/// The bodies' first bytes.
fn given(records: &[Result<Bytes, ReadError>]) -> Vec<u8> {
    let body = |record: &Result<Bytes, _>| RecordView::parse(record.as_ref().unwrap()).unwrap().body()[0];
    records.iter().map(body).collect()
}

/// Counts reads from the disk while `work` is done.
fn reads<T>(disk: &MemoryDisk, work: impl FnOnce() -> T) -> (u64, T) {
    let before = disk.faults().reads.load(Ordering::SeqCst);
    let result = work();
    (disk.faults().reads.load(Ordering::SeqCst) - before, result)
}

#[test]
fn what_was_just_written_needs_no_disk() {
    let disk = Arc::new(MemoryDisk::default());
    let store = open(&disk, 1 << 20);
    disk.faults().cold.store(true, Ordering::SeqCst);
    append(&store, 10, 1000);
    let (count, records) = reads(&disk, || read(&store, Access::Memory).unwrap());
    assert_eq!((given(&records), count), ((0..10).collect(), 0));
}

#[test]
fn what_is_far_from_the_end_takes_the_disk_once_for_all_readers() {
    let disk = Arc::new(MemoryDisk::default());
    let store = open(&disk, 20_000);
    append(&store, 100, 40_000);
    store.flush().unwrap();
    disk.faults().cold.store(true, Ordering::SeqCst);

    let units = read(&store, Access::Memory).unwrap();
    assert!(units[..99].iter().all(|record| matches!(record, Err(ReadError::Cold))));
    // 4 MB, in stretches of 1 MiB.
    let (count, records) = reads(&disk, || read(&store, Access::Disk).unwrap());
    assert_eq!((given(&records), count), ((0..100).collect(), 4));
    // They are in memory now, for everybody.
    for access in [Access::Memory, Access::Disk] {
        let (count, records) = reads(&disk, || read(&store, access).unwrap());
        assert_eq!((given(&records), count), ((0..100).collect(), 0));
    }
    store.forget_cold();
    assert_eq!(read(&store, Access::Memory).unwrap().iter().filter(|record| record.is_ok()).count(), 100);
    // Nothing was read from the disk since.
    store.forget_cold();
    assert!(matches!(read(&store, Access::Memory).unwrap()[0], Err(ReadError::Cold)));
}

#[test]
fn readers_of_the_same_stretch_wait_for_one_read() {
    let disk = Arc::new(MemoryDisk::default());
    let store = open(&disk, 0);
    append(&store, 20, 10_000);
    disk.faults().cold.store(true, Ordering::SeqCst);
    disk.faults().reads_stall.store(true, Ordering::SeqCst);
    let (count, ()) = reads(&disk, || {
        std::thread::scope(|scope| {
            let readers: Vec<_> =
                (0..4).map(|_| scope.spawn(|| given(&read(&store, Access::Disk).unwrap()))).collect();
            while disk.faults().reads.load(Ordering::SeqCst) == 0 {
                std::thread::yield_now();
            }
            disk.faults().reads_stall.store(false, Ordering::SeqCst);
            for reader in readers {
                assert_eq!(reader.join().unwrap(), (0..20).collect::<Vec<_>>());
            }
        });
    });
    assert_eq!(count, 1);
}

/// Pages that are in memory only while they are read from the disk do not count as being there.
#[test]
fn what_is_just_being_read_is_not_in_memory() {
    let disk = Arc::new(MemoryDisk::default());
    let store = open(&disk, 0);
    append(&store, 300, 10_000);
    disk.faults().cold.store(true, Ordering::SeqCst);
    disk.faults().reads_stall.store(true, Ordering::SeqCst);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| read(&store, Access::Disk).unwrap().len());
        while disk.faults().reads.load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
        disk.faults().cold.store(false, Ordering::SeqCst);
        let found = read(&store, Access::Memory).unwrap();
        let cold = found.iter().filter(|record| matches!(record, Err(ReadError::Cold))).count();
        // The first stretch, a MiB, but for the message that begins in it and ends behind it.
        assert!((100..110).contains(&cold), "{cold}");
        disk.faults().reads_stall.store(false, Ordering::SeqCst);
        assert_eq!(reader.join().unwrap(), 300);
    });
}

#[test]
fn units_that_only_the_disk_has_are_said_to_be_cold() {
    let disk = Arc::new(MemoryDisk::default());
    let store = open(&disk, 1 << 20);
    append(&store, 10, 10);
    store.close().unwrap();
    drop(store);
    let store = open(&disk, 1 << 20);
    disk.faults().cold.store(true, Ordering::SeqCst);
    assert!(read(&store, Access::Memory).is_none());
    assert_eq!(given(&read(&store, Access::Disk).unwrap()), (0..10).collect::<Vec<_>>());
    // A new one is in memory, whatever is with the others.
    append(&store, 1, 10);
    let queue = store.queue("Topic", QueueId(3)).unwrap();
    let mut units = Vec::new();
    let cold = store.reader(&queue, Access::Memory).units(QueueOffset(10), 10, &mut units).unwrap();
    assert_eq!((cold, units.len()), (false, 1));
}

#[test]
fn a_disk_that_fails_is_not_damage() {
    let disk = Arc::new(MemoryDisk::default());
    let store = open(&disk, 0);
    let places = append(&store, 3, 10);
    disk.faults().cold.store(true, Ordering::SeqCst);
    disk.faults().reads_fail.store(true, Ordering::SeqCst);
    let queue = store.queue("Topic", QueueId(3)).unwrap();
    let mut units = Vec::new();
    assert!(!queue.units(QueueOffset(0), 10, Access::Memory, &mut units).unwrap(), "not flushed yet");
    let mut reader = store.reader(&queue, Access::Disk);
    let error = reader.record(QueueOffset(1), &units[1]).unwrap_err().to_string();
    let file = Path::new("/store/commitlog/00000000000000000000");
    assert_eq!(
        error,
        format!("commit log file {} at {}: simulated read failure", file.display(), places[1].start)
    );
    assert_eq!(store.damage_met(), 1);
    disk.faults().reads_fail.store(false, Ordering::SeqCst);
    assert!(reader.record(QueueOffset(1), &units[1]).is_ok());
}

/// Every byte of a record from before the start is flipped: it is not given, unless the byte is one that nothing
/// vouches for; its neighbours are, and the damage is counted.
#[test]
fn damage_is_passed_over() {
    let disk = Arc::new(MemoryDisk::default());
    let store = open(&disk, 1 << 20);
    let places = append(&store, 3, 40);
    store.close().unwrap();
    drop(store);
    for cold in [false, true] {
        let store = open(&disk, 1 << 20);
        disk.faults().cold.store(cold, Ordering::SeqCst);
        let good = read(&store, Access::Disk).unwrap();
        let record = good[1].as_ref().unwrap();
        let view = RecordView::parse(record).unwrap();
        let [topic, properties] = view.unchecked_ranges();
        let body = topic.start - 1 - view.body().len()..topic.start - 1;
        // Size, magic, checksum, queue, queue offset, physical offset; the lengths.
        let mut vouched_for: Vec<usize> = (0..16).chain(20..36).chain(body.start - 4..body.end).collect();
        vouched_for.extend(topic.start - 1..topic.end + 2);
        assert_eq!(properties.start, topic.end + 2);
        let segment = Path::new("/store/commitlog/00000000000000000000");
        for at in 0..record.len() {
            let (before, place) = (store.damage_met(), places[1].start as usize + at);
            disk.flip(segment, place);
            // What was read before is still in memory.
            store.forget_cold();
            store.forget_cold();
            let found = read(&store, Access::Disk).unwrap();
            disk.flip(segment, place);
            assert_eq!(
                (found[0].as_ref().ok(), found[2].as_ref().ok()),
                (good[0].as_ref().ok(), good[2].as_ref().ok())
            );
            let is_damaged = matches!(found[1], Err(ReadError::Damaged));
            assert_eq!(store.damage_met() - before, u64::from(is_damaged));
            assert!(is_damaged || !vouched_for.contains(&at), "byte {at}, cold: {cold}");
            assert!(is_damaged || found[1].is_ok());
        }
        disk.faults().cold.store(false, Ordering::SeqCst);
        store.close().unwrap();
    }
}

/// A damaged unit leads nobody to the message of another queue, nor into the middle of one that was just written.
#[test]
fn a_unit_that_points_elsewhere_gives_nothing() {
    let disk = Arc::new(MemoryDisk::default());
    let store = open(&disk, 1 << 20);
    let old = append(&store, 2, 40);
    store.close().unwrap();
    drop(store);
    let store = open(&disk, 1 << 20);
    let new = append(&store, 2, 40);
    let queue = store.queue("Topic", QueueId(3)).unwrap();
    let other = store.queue("Topic", QueueId(4)).unwrap();
    let unit = |range: &Range<u64>, moved: u64| Unit {
        physical: oxmq_types::PhysicalOffset(range.start + moved),
        size: (range.end - range.start) as u32,
        tags_code: TagsCode(0),
    };
    let read =
        |queue, offset, unit: &Unit| store.reader(queue, Access::Disk).record(QueueOffset(offset), unit);
    assert!(read(&queue, 1, &unit(&old[1], 0)).is_ok());
    for (queue, offset, unit) in [
        (&queue, 0, unit(&old[1], 0)),
        (&other, 1, unit(&old[1], 0)),
        (&queue, 1, unit(&old[1], 1)),
        (&queue, 2, unit(&new[0], 1)),
        (&queue, 2, Unit { size: 200, ..unit(&new[0], 0) }),
        (&queue, 2, Unit { size: 1 << 30, ..unit(&new[0], 0) }),
    ] {
        assert!(matches!(read(queue, offset, &unit), Err(ReadError::Damaged)), "{offset} {unit:?}");
    }
    let beyond = unit(&(new[1].end..new[1].end + 200), 0);
    assert!(matches!(read(&queue, 4, &beyond), Err(ReadError::Gone)));
}

/// As a Java broker stores them: without a checksum of all of the record.
#[test]
fn zeros_in_properties_are_no_damage() {
    let disk = Arc::new(MemoryDisk::default());
    let store = open(&disk, 1 << 20);
    append_with(&store, 1, 10, b"TAGS\x01TagA\x02k\x01v\0");
    append_with(&store, 1, 10, &[b"TAGS\x01TagA\x02k\x01", &[0; 1200][..], b"\x02"].concat());
    store.close().unwrap();
    drop(store);
    let store = open(&disk, 1 << 20);
    assert_eq!(given(&read(&store, Access::Disk).unwrap()), [0, 0]);
    assert_eq!(store.damage_met(), 0);
    let record = read(&store, Access::Disk).unwrap().remove(1).unwrap();
    let at = RecordView::parse(&record).unwrap().physical_offset();
    assert!(store.record(at, Access::Disk).is_ok());
}
