// SPDX-License-Identifier: Apache-2.0
//! The store on a disk in memory, against a plain map; and what it does when the disk fails.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, atomic::Ordering, mpsc},
    time::{Duration, Instant},
};

use oxmq_record::{Draft, Encoder, RecordView, sys_flag};
use oxmq_types::{PhysicalOffset, QueueId, QueueOffset, TagsCode};
use proptest::{collection::vec, prelude::*};

use crate::{
    AppendError, Appended, Boundary, Entry, FlushError, FlushMode, IndexConfig, OpenError, Queue, QueueError,
    Store, StoreConfig, Unit,
    disk::{Disk, memory::MemoryDisk},
    tags_of,
};

const SEGMENT: u64 = 2048;

fn config() -> StoreConfig {
    StoreConfig {
        segment_size_bytes: SEGMENT,
        // Three units, so that queues have several files.
        consume_queue_file_size_bytes: 60,
        flush: FlushMode::Sync,
        queue_flush_interval_ms: 1,
        checkpoint_interval_ms: 5,
        index: Some(IndexConfig { dir: "/store/index".into(), slots: 10, entries: 20 }),
        ..StoreConfig::new("/store")
    }
}

fn open(disk: &Arc<MemoryDisk>) -> Result<Arc<Store>, OpenError> {
    Store::open_in_memory(disk, config(), Box::new(tags_of))
}

/// The queue, as soon as it is built.
fn built(store: &Store, topic: &str, queue_id: u32) -> Arc<Queue> {
    let began = std::time::Instant::now();
    loop {
        match store.queue(topic, QueueId(queue_id)) {
            Err(QueueError::Rebuilding { percent, .. }) => {
                assert!(percent < 100 && began.elapsed().as_secs() < 30, "not built");
                std::thread::yield_now();
            }
            queue => return queue.unwrap(),
        }
    }
}

fn record(topic: &str, queue_id: u32, flags: i32, body: &[u8]) -> Vec<u8> {
    let draft = Draft {
        sys_flag: flags,
        properties: b"TAGS\x01TagA\x02",
        ..Draft::plain(topic, QueueId(queue_id), body)
    };
    let mut out = Vec::new();
    Encoder::new(1 << 20).encode(&draft, &mut out).unwrap();
    out
}

fn append(store: &Store, topic: &str, queue_id: u32, body: &[u8]) -> Result<Appended, AppendError> {
    let queue = store.queue(topic, QueueId(queue_id)).unwrap();
    store.append(&queue, &mut record(topic, queue_id, 0, body), TagsCode(2_598_919))
}

fn units(queue: &Queue) -> Vec<Unit> {
    let mut out = Vec::new();
    queue.read_units(queue.min_offset(), usize::MAX, &mut out).unwrap();
    assert_eq!(out.len() as u64, queue.max_offset().0 - queue.min_offset().0);
    out
}

/// Bodies of all messages of a queue from offset 0 on, each checked to be what its unit says; `None` for filler and
/// below the minimum.
fn bodies(store: &Store, topic: &str, queue_id: u32) -> Vec<Option<Vec<u8>>> {
    let queue = built(store, topic, queue_id);
    let min = queue.min_offset().0;
    let read = |(i, unit): (usize, &Unit)| {
        let bytes = store.read_record(unit.physical, unit.size);
        if unit.is_filler() {
            assert_eq!(bytes, None);
            return None;
        }
        let bytes = bytes.unwrap();
        let record = RecordView::parse(&bytes).unwrap();
        assert!(record.verify_crc());
        assert_eq!((record.topic(), record.queue_id()), (topic, QueueId(queue_id)));
        assert_eq!(record.queue_offset(), QueueOffset(min + i as u64));
        assert_eq!((record.physical_offset(), record.size()), (unit.physical, unit.size));
        assert_eq!(unit.tags_code, TagsCode(2_598_919));
        Some(record.body().to_vec())
    };
    let lost = std::iter::repeat_n(None, min as usize);
    lost.chain(units(&queue).iter().enumerate().map(read)).collect()
}

#[test]
fn what_is_appended_is_read_at_once_and_after_a_clean_close() {
    let disk = Arc::new(MemoryDisk::default());
    let store = open(&disk).unwrap();
    let mut expected = Vec::new();
    for i in 0..50u8 {
        let body = vec![i; usize::from(i) * 7];
        let appended = append(&store, "T", 1, &body).unwrap();
        assert_eq!(appended.queue_offset, QueueOffset(u64::from(i)));
        expected.push(Some(body));
        assert_eq!(bodies(&store, "T", 1), expected);
    }
    assert!(store.max_physical().0 > 3 * SEGMENT, "rolled");
    assert_eq!(bodies(&store, "T", 0), []);
    store.close().unwrap();
    assert!(!disk.exists(Path::new("/store/abort")));
    assert!(matches!(append(&store, "T", 1, b""), Err(AppendError::Closed)));
    assert!(matches!(open(&disk), Err(OpenError::Locked { .. })));
    let (end, last) = (store.max_physical(), store.last_store_timestamp_ms());
    drop(store);

    let store = open(&disk).unwrap();
    assert!(disk.exists(Path::new("/store/abort")));
    assert_eq!((store.max_physical(), store.last_store_timestamp_ms()), (end, last));
    assert_eq!(store.queues(), [(Arc::from("T"), QueueId(1))]);
    assert_eq!(bodies(&store, "T", 1), expected);
    let appended = append(&store, "T", 1, b"more").unwrap();
    assert_eq!((appended.queue_offset, appended.physical), (QueueOffset(50), end));
}

#[test]
fn a_batch_is_stored_as_a_whole_or_not_at_all() {
    let disk = Arc::new(MemoryDisk::default());
    let store = open(&disk).unwrap();
    let (a, b) = (store.queue("T", QueueId(0)).unwrap(), store.queue("T", QueueId(1)).unwrap());
    let mut bytes = Vec::new();
    let mut entries = Vec::new();
    for i in 0..30u32 {
        let one = record("T", i % 2, 0, &[i as u8; 300]);
        let start = bytes.len();
        bytes.extend(one);
        let queue = if i % 2 == 0 { &a } else { &b };
        entries.push(Entry { queue, range: start..bytes.len(), tags_code: TagsCode(2_598_919) });
    }
    disk.faults().space.store(4 * SEGMENT, Ordering::SeqCst);
    let mut out = Vec::new();
    assert!(matches!(store.append_all(&mut bytes, &entries, &mut out), Err(AppendError::DiskFull { .. })));
    assert_eq!((out.len(), store.max_physical(), a.max_offset()), (0, PhysicalOffset(0), QueueOffset(0)));
    disk.faults().space.store(u64::MAX, Ordering::SeqCst);
    // A full disk is not asked again within a second.
    let started = std::time::Instant::now();
    while store.append_all(&mut bytes, &entries, &mut out).is_err() {
        assert!(started.elapsed().as_secs() < 10);
        std::thread::yield_now();
    }
    let offsets: Vec<_> = out.iter().map(|appended| appended.queue_offset.0).collect();
    assert_eq!(offsets, (0..30).map(|i| i / 2).collect::<Vec<_>>());
    assert_eq!(bodies(&store, "T", 1).len(), 15);

    let mut cut = record("T", 0, 0, b"x");
    cut.pop();
    assert!(matches!(store.append(&a, &mut cut, TagsCode(0)), Err(AppendError::NotARecord { .. })));
    let mut large = record("T", 0, 0, &[0; 2000]);
    assert!(matches!(store.append(&a, &mut large, TagsCode(0)), Err(AppendError::TooLarge { .. })));
}

/// The flusher and the checkpoint sync the log: the kernel tells only one of them.
#[test]
fn after_a_failed_sync_of_the_log_none_succeeds() {
    let disk = Arc::new(MemoryDisk::default());
    let store = open(&disk).unwrap();
    let end = append(&store, "T", 0, b"unsure").unwrap().end.0;
    disk.faults().fsync_fails.store(true, Ordering::SeqCst);
    let log = &store.shared.log;
    let first = log.sync(0, end).unwrap_err();
    disk.faults().fsync_fails.store(false, Ordering::SeqCst);
    assert_eq!(log.sync(0, end).unwrap_err().to_string(), first.to_string());
    assert!(matches!(store.flush(), Err(FlushError::Failed { .. })));
    assert!(store.close().is_err());
}

#[test]
fn a_failed_fsync_ends_writing() {
    let disk = Arc::new(MemoryDisk::default());
    let store = open(&disk).unwrap();
    append(&store, "T", 0, b"kept").unwrap();
    store.flush().unwrap();
    disk.faults().fsync_fails.store(true, Ordering::SeqCst);
    // The flush in the background may have failed, and refused this, by now: both are right.
    let appended = append(&store, "T", 0, b"unsure");
    if appended.is_ok() {
        assert!(matches!(store.flush(), Err(FlushError::Failed { .. })));
    }
    disk.faults().fsync_fails.store(false, Ordering::SeqCst);
    assert!(matches!(append(&store, "T", 0, b"no"), Err(AppendError::Poisoned { .. })));
    assert!(matches!(store.refuses(), Some(AppendError::Poisoned { .. })));
    assert_eq!(bodies(&store, "T", 0)[0].as_deref(), Some(&b"kept"[..]));
    assert!(store.close().is_err() && disk.exists(Path::new("/store/abort")));
    drop(store);
    let store = open(&disk).unwrap();
    append(&store, "T", 0, b"again").unwrap();
}

/// A store whose only fsyncs are those of the log.
fn open_quiet(disk: &Arc<MemoryDisk>) -> Arc<Store> {
    let config = StoreConfig {
        segment_size_bytes: 1 << 20,
        queue_flush_interval_ms: 3_600_000,
        checkpoint_interval_ms: 3_600_000,
        ..config()
    };
    Store::open_in_memory(disk, config, Box::new(tags_of)).unwrap()
}

fn wait_for(what: &str, mut happened: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !happened() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn one_fsync_is_for_all_who_wait() {
    let disk = Arc::new(MemoryDisk::default());
    let store = open_quiet(&disk);
    let fsyncs = || disk.faults().fsyncs.load(Ordering::SeqCst);
    let durable = append(&store, "T", 0, b"x").unwrap().end;
    store.flush().unwrap();
    let before = fsyncs();
    disk.faults().fsync_stalls.store(true, Ordering::SeqCst);
    let (tell, told) = mpsc::channel();
    let wait = |message: u64| {
        let end = append(&store, "T", 0, b"x").unwrap().end;
        let tell = tell.clone();
        store.wait_flushed(end, Box::new(move |outcome| tell.send((message, outcome.is_ok())).unwrap()));
        end
    };
    let first = wait(0);
    wait_for("the first is being flushed", || fsyncs() == before + 1);
    let last = (1..500).map(wait).fold(first, |_, end| end);
    assert_eq!((store.readable_to(), told.try_recv().is_err()), (durable, true));
    assert!(first < last);
    disk.faults().fsync_stalls.store(false, Ordering::SeqCst);
    // In their order, too.
    let outcomes: Vec<_> = (0..500).map(|_| told.recv_timeout(Duration::from_secs(10)).unwrap()).collect();
    assert_eq!(outcomes, (0..500).map(|message| (message, true)).collect::<Vec<_>>());
    assert_eq!((fsyncs() - before, store.readable_to()), (2, last));
    // What nobody waits for becomes durable as well.
    let end = append(&store, "T", 0, b"x").unwrap().end;
    wait_for("flushed", || store.readable_to() == end);
    assert_eq!(fsyncs() - before, 3);
}

/// Dropping hung: the flusher took the ring that tells of the end for that of the one who waits.
#[test]
fn a_store_that_is_dropped_tells_those_who_wait() {
    for _ in 0..100 {
        let disk = Arc::new(MemoryDisk::default());
        let store = open_quiet(&disk);
        let (tell, told) = mpsc::channel();
        let end = append(&store, "T", 0, b"x").unwrap().end;
        store.wait_flushed(end, Box::new(move |outcome| tell.send(outcome).unwrap()));
        drop(store);
        assert!(told.try_recv().unwrap().is_ok());
    }
}

#[test]
fn a_failed_fsync_is_told_to_those_who_wait_and_those_who_come() {
    let disk = Arc::new(MemoryDisk::default());
    let store = open_quiet(&disk);
    let kept = append(&store, "T", 0, b"kept").unwrap().end;
    store.flush().unwrap();
    let before = disk.faults().fsyncs.load(Ordering::SeqCst);
    disk.faults().fsync_stalls.store(true, Ordering::SeqCst);
    let (tell, told) = mpsc::channel();
    let wait = |to: PhysicalOffset| {
        let tell = tell.clone();
        store.wait_flushed(to, Box::new(move |outcome| tell.send(outcome).unwrap()));
    };
    wait(append(&store, "T", 0, b"unsure").unwrap().end);
    wait_for("it is being flushed", || disk.faults().fsyncs.load(Ordering::SeqCst) > before);
    // This one waits for the next fsync, which never comes.
    wait(append(&store, "T", 0, b"unsure").unwrap().end);
    disk.faults().fsync_fails.store(true, Ordering::SeqCst);
    disk.faults().fsync_stalls.store(false, Ordering::SeqCst);
    for _ in 0..2 {
        let outcome = told.recv_timeout(Duration::from_secs(10)).unwrap();
        assert!(matches!(outcome, Err(FlushError::Failed { .. })), "{outcome:?}");
    }
    // The disk says that all is well again. Nobody believes it.
    disk.faults().fsync_fails.store(false, Ordering::SeqCst);
    wait(store.max_physical());
    assert!(matches!(told.try_recv().unwrap(), Err(FlushError::Failed { .. })));
    assert!(matches!(append(&store, "T", 0, b"no"), Err(AppendError::Poisoned { .. })));
    wait(kept);
    assert!(told.try_recv().unwrap().is_ok());
    assert_eq!(store.readable_to(), kept);
    assert_eq!(bodies(&store, "T", 0)[0].as_deref(), Some(&b"kept"[..]));
}

#[test]
fn prepared_and_rolled_back_parts_get_no_unit() {
    let disk = Arc::new(MemoryDisk::default());
    let store = open(&disk).unwrap();
    let queue = store.queue("T", QueueId(0)).unwrap();
    for (flags, offset, max) in
        [(0, 0, 1), (sys_flag::PREPARED, 0, 1), (sys_flag::ROLLBACK, 0, 1), (sys_flag::COMMIT, 1, 2)]
    {
        let appended = store.append(&queue, &mut record("T", 0, flags, b"x"), TagsCode(2_598_919)).unwrap();
        assert_eq!((appended.queue_offset.0, queue.max_offset().0), (offset, max));
    }
    drop(store);
    let store = open(&disk).unwrap();
    assert_eq!(bodies(&store, "T", 0).len(), 2);
}

const FIRST_SEGMENT: &str = "/store/commitlog/00000000000000000000";

/// Bodies 1, 2, 3 ... of `count` messages in queue 0; where they start, and where the last one ends.
fn fill(store: &Store, count: u8) -> Vec<u64> {
    let body = |i| vec![i; 100 + usize::from(i)];
    let all: Vec<_> = (1..=count).map(|i| append(store, "T", 0, &body(i)).unwrap()).collect();
    all.iter().map(|appended| appended.physical.0).chain([store.max_physical().0]).collect()
}

/// Checks that of [`fill`] exactly those are gone; of a last one that is gone nothing reminds.
fn check_filled(store: &Store, count: usize, gone: &[usize]) {
    let found = bodies(store, "T", 0);
    let ends = (0..count).rev().find(|i| !gone.contains(i)).map_or(0, |last| last + 1);
    assert!((ends..=count).contains(&found.len()), "{} of {count}, without {gone:?}", found.len());
    for (i, body) in found.iter().enumerate() {
        let expected = (!gone.contains(&i)).then(|| vec![i as u8 + 1; 101 + i]);
        assert_eq!(*body, expected, "message {i}, without {gone:?}");
    }
}

#[test]
fn a_damaged_old_record_takes_no_other_with_it() {
    let disk = Arc::new(MemoryDisk::default());
    let store = open(&disk).unwrap();
    let starts = fill(&store, 40);
    store.close().unwrap();
    drop(store);
    // The body of the second record; and the queues are to be built again, so that recovery reads everything.
    disk.flip(Path::new(FIRST_SEGMENT), starts[1] as usize + 100);
    disk.remove_dir_all(Path::new("/store/consumequeue")).unwrap();
    let store = open(&disk).unwrap();
    assert_eq!(bodies(&store, "T", 0).len(), 40);
    check_filled(&store, 40, &[1]);
    assert_eq!(store.record_at(PhysicalOffset(starts[1])), None);
    assert!(store.record_at(PhysicalOffset(starts[39])).is_some());
    assert!(store.record_at(PhysicalOffset(starts[39] + 1)).is_none());
}

/// Where the layout keeps what a record is found and checked by, each bit is flipped, in the tail that recovery reads.
#[test]
fn a_flipped_bit_in_the_tail_takes_its_record_only() {
    let made = Arc::new(MemoryDisk::default());
    let store = open(&made).unwrap();
    let starts = fill(&store, 14);
    drop(store);
    let last_of_first = starts.iter().rposition(|start| *start < SEGMENT).unwrap();
    assert!((5..12).contains(&last_of_first));
    for damaged in [0, 2, last_of_first] {
        let start = starts[damaged] as usize;
        // A segment that says that it belongs into the place of another is refused before recovery.
        let place = start + if damaged == 0 { 35 } else { 28 };
        for at in (start..start + 12).chain(place..start + 36).chain([start + 90, start + 170]) {
            let disk = Arc::new(made.copy());
            disk.flip(Path::new(FIRST_SEGMENT), at);
            let store = open(&disk).unwrap();
            check_filled(&store, 14, &[damaged]);
            assert_eq!(bodies(&store, "T", 0).len(), 14);
            assert_eq!(append(&store, "T", 0, b"more").unwrap().queue_offset, QueueOffset(14));
            store.close().unwrap();
            drop(store);
            let store = open(&disk).unwrap();
            assert_eq!(bodies(&store, "T", 0).len(), 15);
        }
    }
}

#[test]
fn a_lost_page_in_the_tail_ends_the_log() {
    let made = Arc::new(MemoryDisk::default());
    let store = open(&made).unwrap();
    let starts = fill(&store, 14);
    drop(store);
    for from in (0..SEGMENT as usize).step_by(512) {
        // As a sector that was never written, and as one of which an older state was, up to the end of a record.
        let ends = starts.iter().map(|start| *start as usize);
        for kept in ends.filter(|end| (from + 1..from + 512).contains(end)).chain([from]) {
            let disk = Arc::new(made.copy());
            disk.zero(Path::new(FIRST_SEGMENT), kept..from + 512);
            let store = open(&disk).unwrap();
            // Where only filler was lost, it might have been a record.
            let lost = starts.windows(2).position(|of| of[1] as usize > kept).unwrap();
            check_filled(&store, 14, &(lost..14).collect::<Vec<_>>());
            assert!(store.max_physical().0 <= starts[lost], "sector {from}, {kept} kept");
        }
    }
}

#[test]
fn damage_in_the_last_record_of_a_closed_log_does_not_cut_it() {
    let disk = Arc::new(MemoryDisk::default());
    let store = open(&disk).unwrap();
    let starts = fill(&store, 5);
    store.close().unwrap();
    drop(store);
    for offset in [0, 100] {
        disk.flip(Path::new(FIRST_SEGMENT), starts[4] as usize + offset);
        let store = open(&disk).unwrap();
        assert_eq!(store.max_physical().0, starts[5]);
        assert_eq!(store.queue("T", QueueId(0)).unwrap().max_offset(), QueueOffset(5));
        assert_eq!(store.record_at(PhysicalOffset(starts[4])), None);
        store.close().unwrap();
    }
}

#[test]
fn missing_queue_files_are_built_again() {
    let disk = Arc::new(MemoryDisk::default());
    let store = open(&disk).unwrap();
    (0..20u8).for_each(|i| drop(append(&store, "T", u32::from(i) % 3, &[i; 10])));
    store.close().unwrap();
    drop(store);
    disk.remove_dir_all(Path::new("/store/consumequeue")).unwrap();
    let store = open(&disk).unwrap();
    assert_eq!((0..3).map(|id| bodies(&store, "T", id).len()).sum::<usize>(), 20);
}

#[test]
fn a_deleted_topic_starts_at_zero_and_stays_deleted_after_a_crash() {
    let disk = Arc::new(MemoryDisk::default());
    let store = open(&disk).unwrap();
    (0..10).for_each(|_| drop(append(&store, "T", 0, b"x")));
    let old = store.queue("T", QueueId(0)).unwrap();
    append(&store, "U", 0, b"y").unwrap();
    store.delete_topic("T").unwrap();
    assert!(store.existing_queue("T", QueueId(0)).unwrap().is_none());
    let refused = store.append(&old, &mut record("T", 0, 0, b"x"), TagsCode(0));
    assert!(matches!(refused, Err(AppendError::QueueDeleted { .. })));
    assert_eq!(append(&store, "T", 0, b"new").unwrap().queue_offset, QueueOffset(0));
    drop(store);
    let store = open(&disk).unwrap();
    assert_eq!(bodies(&store, "T", 0), [Some(b"new".to_vec())]);
    assert_eq!(bodies(&store, "U", 0).len(), 1);
    assert!(store.queue("../x", QueueId(0)).is_err() && store.delete_topic("../x").is_err());
    assert!(store.queue(&"x".repeat(256), QueueId(0)).is_err());
}

const QUEUES: &str = "/store/consumequeue";
const LIST: &str = "/store/oxmq-queues";

/// Old messages of a topic that was deleted stay in the log, and must not come back when its queues are built again.
#[test]
fn of_a_topic_that_was_made_again_the_later_one_counts() {
    // How the store ends, whether the queues go, whether the list goes as in a folder that a Java broker had.
    for (close, queues, list) in
        [(false, false, true), (false, true, true), (true, true, true), (true, true, false)]
    {
        let disk = Arc::new(MemoryDisk::default());
        let store = open(&disk).unwrap();
        (0..10).for_each(|_| drop(append(&store, "T", 0, b"old")));
        append(&store, "U", 0, b"other").unwrap();
        store.delete_topic("T").unwrap();
        let news: Vec<_> = (0..3u8).map(|i| vec![i; 5]).collect();
        for body in &news {
            append(&store, "T", 0, body).unwrap();
        }
        store.delete_topic("U").unwrap();
        append(&store, "U", 0, b"again").unwrap();
        if close {
            store.close().unwrap();
        }
        drop(store);
        if queues {
            disk.remove_dir_all(Path::new(QUEUES)).unwrap();
        }
        if !list {
            disk.remove_file(Path::new(LIST)).unwrap();
        }
        for _ in 0..2 {
            let store = open(&disk).unwrap();
            let expected: Vec<_> = news.iter().cloned().map(Some).collect();
            assert_eq!(bodies(&store, "T", 0), expected, "{close} {queues} {list}");
            assert_eq!(bodies(&store, "U", 0), [Some(b"again".to_vec())]);
        }
    }
}

/// A flipped bit in a queue offset must not be taken for a topic that was made again.
#[test]
fn a_queue_offset_that_goes_back_once_takes_its_record_only() {
    let disk = Arc::new(MemoryDisk::default());
    let store = open(&disk).unwrap();
    // Offset 16 becomes 0: its last byte is the 28th of the record.
    let all: Vec<_> = (0..20u8).map(|i| append(&store, "T", 0, &[i + 1; 10]).unwrap().physical.0).collect();
    store.close().unwrap();
    drop(store);
    let segment = all[16] / SEGMENT * SEGMENT;
    disk.flip(Path::new(&format!("/store/commitlog/{segment:020}")), (all[16] - segment) as usize + 27);
    disk.remove_dir_all(Path::new(QUEUES)).unwrap();
    disk.remove_file(Path::new(LIST)).unwrap();
    let store = open(&disk).unwrap();
    let found = bodies(&store, "T", 0);
    let expected: Vec<_> = (0..20u8).map(|i| (i != 16).then(|| vec![i + 1; 10])).collect();
    assert_eq!(found, expected);
}

/// What happens to the files of a queue of 10 messages, in files of 3 units.
#[derive(Debug, Clone, Copy)]
enum QueueDamage {
    Topic,
    Folder,
    FirstFile,
    LastFile,
    Short,
    Zeroed,
    ZeroedInTheMiddle,
    Swapped,
    Flipped,
}

const QUEUE_DAMAGES: [QueueDamage; 9] = {
    use QueueDamage::*;
    [Topic, Folder, FirstFile, LastFile, Short, Zeroed, ZeroedInTheMiddle, Swapped, Flipped]
};

/// Damages queue 0 of the topic `T`; another may take its place.
fn damage(disk: &MemoryDisk, what: QueueDamage, other: &str) {
    let dir = Path::new(QUEUES).join("T/0");
    let mut names: Vec<_> = disk.list(&dir).unwrap().into_iter().map(|entry| entry.name).collect();
    names.sort();
    let (Some(first), Some(last)) = (names.first().map(|name| dir.join(name)), names.last()) else { return };
    let last = dir.join(last);
    match what {
        QueueDamage::Topic => disk.remove_dir_all(&Path::new(QUEUES).join("T")).unwrap(),
        QueueDamage::Folder => disk.remove_dir_all(&dir).unwrap(),
        QueueDamage::FirstFile => disk.remove_file(&first).unwrap(),
        QueueDamage::LastFile => disk.remove_file(&last).unwrap(),
        QueueDamage::Short => disk.open(&last, false).unwrap().set_length(13).unwrap(),
        QueueDamage::Zeroed => disk.zero(&last, 0..60),
        QueueDamage::ZeroedInTheMiddle => disk.zero(&first, 20..40),
        QueueDamage::Swapped => {
            let there = Path::new(QUEUES).join(other).join("0");
            let aside = Path::new("/store/aside");
            for (from, to) in [(&*dir, aside), (&*there, &*dir), (aside, &*there)] {
                disk.rename(from, to).unwrap();
            }
        }
        QueueDamage::Flipped => disk.flip(&first, 26),
    }
}

#[test]
fn a_damaged_queue_is_built_again_while_others_serve() {
    for what in QUEUE_DAMAGES {
        for crash in [false, true] {
            let disk = Arc::new(MemoryDisk::default());
            let store = open(&disk).unwrap();
            for i in 0..10u8 {
                append(&store, "T", 0, &[i; 20]).unwrap();
                append(&store, "U", 0, &[i; 30]).unwrap();
                append(&store, "V", 0, &[i; 40]).unwrap();
            }
            store.close().unwrap();
            drop(store);
            if crash {
                // Opened and killed: what was there before is below the checkpoint.
                let store = open(&disk).unwrap();
                append(&store, "V", 0, &[10; 40]).unwrap();
            }
            damage(&disk, what, "U");
            let store = open(&disk).unwrap();
            // Served at once, unless it is the one that was swapped.
            assert_eq!(store.queue("V", QueueId(0)).unwrap().max_offset().0, 10 + u64::from(crash));
            let queue = built(&store, "T", 0);
            // A unit in the middle is not looked at before somebody wants it.
            let began = std::time::Instant::now();
            loop {
                assert!(began.elapsed().as_secs() < 30, "{what:?}");
                let mut units = Vec::new();
                if queue.read_units(QueueOffset(0), 100, &mut units).is_ok() && units.len() == 10 {
                    break;
                }
                std::thread::yield_now();
            }
            let expected = |length| (0..10u8).map(|i| Some(vec![i; length])).collect::<Vec<_>>();
            assert_eq!(bodies(&store, "T", 0), expected(20), "{what:?} {crash}");
            assert_eq!(bodies(&store, "U", 0), expected(30), "{what:?} {crash}");
            assert_eq!(append(&store, "T", 0, b"next").unwrap().queue_offset, QueueOffset(10));
            store.close().unwrap();
            drop(store);
            let store = open(&disk).unwrap();
            assert_eq!(store.queue("T", QueueId(0)).unwrap().max_offset(), QueueOffset(11), "{what:?}");
        }
    }
}

#[test]
fn a_queue_that_is_damaged_while_it_is_open_is_built_again() {
    let disk = Arc::new(MemoryDisk::default());
    let store = open(&disk).unwrap();
    for i in 0..10u8 {
        append(&store, "T", 0, &[i; 20]).unwrap();
    }
    store.close().unwrap();
    drop(store);
    let store = open(&disk).unwrap();
    let queue = store.queue("T", QueueId(0)).unwrap();
    damage(&disk, QueueDamage::ZeroedInTheMiddle, "");
    assert!(queue.read_units(QueueOffset(0), 10, &mut Vec::new()).is_err());
    let began = std::time::Instant::now();
    // Whoever holds it goes on with it.
    while queue.read_units(QueueOffset(0), 10, &mut Vec::new()).is_err() {
        assert!(began.elapsed().as_secs() < 30);
        match store.append(&queue, &mut record("T", 0, 0, b"x"), TagsCode(2_598_919)) {
            Ok(_) => {}
            Err(error) => assert!(matches!(error, AppendError::QueueRebuilding { .. }), "{error}"),
        }
    }
    assert_eq!(queue.rebuilding(), None);
    let found = bodies(&store, "T", 0);
    assert_eq!(found[..10], (0..10u8).map(|i| Some(vec![i; 20])).collect::<Vec<_>>());
    assert_eq!(found.len() as u64, queue.max_offset().0);
}

/// The log has lost messages as well: their offsets are not given to others.
#[test]
fn an_offset_is_not_given_twice_when_its_message_is_lost() {
    let disk = Arc::new(MemoryDisk::default());
    let store = open(&disk).unwrap();
    let starts = fill(&store, 3);
    append(&store, "U", 0, b"last").unwrap();
    store.close().unwrap();
    drop(store);
    disk.flip(Path::new(FIRST_SEGMENT), starts[2] as usize + 4);
    damage(&disk, QueueDamage::Folder, "");
    let store = open(&disk).unwrap();
    assert_eq!(built(&store, "T", 0).max_offset(), QueueOffset(3));
    check_filled(&store, 3, &[2]);
    assert_eq!(append(&store, "T", 0, b"next").unwrap().queue_offset, QueueOffset(3));
}

#[test]
fn offsets_by_time() {
    let disk = Arc::new(MemoryDisk::default());
    let store = open(&disk).unwrap();
    let queue = store.queue("T", QueueId(0)).unwrap();
    assert_eq!(store.offset_by_time(&queue, 5, Boundary::Lower).unwrap(), QueueOffset(0));
    assert_eq!(store.earliest_time(&queue).unwrap(), None);
    let times: Vec<i64> =
        (0..40u8).map(|i| append(&store, "T", 0, &[i]).unwrap().store_timestamp_ms).collect();
    let (first, last) = (times[0], times[39]);
    assert_eq!(store.earliest_time(&queue).unwrap(), Some(first));
    for time in [first - 1, first, last, last + 1].into_iter().chain(first..=last) {
        let lower = times.partition_point(|&stored| stored < time) as u64;
        let upper = (times.partition_point(|&stored| stored <= time) as u64).saturating_sub(1);
        assert_eq!(store.offset_by_time(&queue, time, Boundary::Lower).unwrap(), QueueOffset(lower));
        assert_eq!(store.offset_by_time(&queue, time, Boundary::Upper).unwrap(), QueueOffset(upper));
    }
}

#[derive(Debug, Clone)]
enum Op {
    Append {
        queue: u32,
        length: usize,
    },
    Batch {
        queue: u32,
        count: usize,
    },
    Flush,
    /// Lets the queues be flushed, and the checkpoint be written.
    Checkpoint,
    Reopen,
    /// Closed; a queue's files are damaged; opened.
    DamageQueue(usize),
    /// The process dies.
    Kill,
    /// The power goes.
    PowerLoss {
        seed: u64,
    },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => (0u32..4, 0usize..400).prop_map(|(queue, length)| Op::Append { queue, length }),
        3 => (0u32..4, 1usize..12).prop_map(|(queue, count)| Op::Batch { queue, count }),
        2 => Just(Op::Flush),
        1 => Just(Op::Checkpoint),
        1 => Just(Op::Reopen),
        1 => (0..QUEUE_DAMAGES.len()).prop_map(Op::DamageQueue),
        1 => Just(Op::Kill),
        2 => any::<u64>().prop_map(|seed| Op::PowerLoss { seed }),
    ]
}

/// Body, if it was not lost, and physical end of a message.
type Expected = (Option<Vec<u8>>, u64);

/// What ought to be in the store.
#[derive(Default)]
struct Model {
    queues: BTreeMap<u32, Vec<Expected>>,
    /// Up to where someone was told that the log is durable.
    promised: u64,
    count: u64,
    /// What was appended together, by queue and offset.
    batches: Vec<Vec<(u32, usize)>>,
}

impl Model {
    fn body(&mut self, length: usize) -> Vec<u8> {
        self.count += 1;
        let mut body = self.count.to_be_bytes().to_vec();
        body.resize(8 + length, self.count as u8);
        body
    }

    fn add(&mut self, queue: u32, body: Vec<u8>, appended: &Appended) {
        let all = self.queues.entry(queue).or_default();
        assert_eq!(appended.queue_offset.0, all.len() as u64);
        all.push((Some(body), appended.end.0));
    }

    fn check(&self, store: &Store) {
        for (&queue, expected) in &self.queues {
            let expected: Vec<_> = expected.iter().map(|(body, _)| body.clone()).collect();
            assert_eq!(bodies(store, "T", queue), expected, "queue {queue}");
        }
    }

    /// What was promised must be there; of the rest anything may be missing, but nothing may be wrong.
    fn check_and_forget_lost(&mut self, store: &Store) {
        for (&queue, expected) in &mut self.queues {
            let found = bodies(store, "T", queue);
            assert!(found.len() <= expected.len());
            for (i, (body, end)) in expected.iter_mut().enumerate() {
                match found.get(i) {
                    Some(Some(found)) => assert_eq!(Some(found), body.as_ref(), "queue {queue} at {i}"),
                    _ => {
                        assert!(body.is_none() || *end > self.promised, "queue {queue} lost {i}");
                        *body = None;
                    }
                }
            }
            expected.truncate(found.len());
        }
        let is_there =
            |(queue, at): &(u32, usize)| self.queues[queue].get(*at).is_some_and(|(body, _)| body.is_some());
        for batch in &self.batches {
            assert!(
                batch.iter().is_sorted_by_key(|one| !is_there(one)),
                "a later one without an earlier one"
            );
        }
        // Offsets are given again.
        self.batches.clear();
    }
}

fn run(ops: Vec<Op>) {
    let disk = Arc::new(MemoryDisk::default());
    let mut store = open(&disk).unwrap();
    let mut model = Model::default();
    for op in ops {
        match op {
            Op::Append { queue, length } => {
                let body = model.body(length);
                built(&store, "T", queue);
                let appended = append(&store, "T", queue, &body).unwrap();
                model.add(queue, body, &appended);
            }
            Op::Batch { queue, count } => {
                let target = built(&store, "T", queue);
                let all: Vec<_> = (0..count).map(|i| model.body(i * 20)).collect();
                let mut bytes = Vec::new();
                let mut entries = Vec::new();
                for body in &all {
                    let start = bytes.len();
                    bytes.extend(record("T", queue, 0, body));
                    let range = start..bytes.len();
                    entries.push(Entry { queue: &target, range, tags_code: TagsCode(2_598_919) });
                }
                let mut out = Vec::new();
                store.append_all(&mut bytes, &entries, &mut out).unwrap();
                all.into_iter().zip(&out).for_each(|(body, appended)| model.add(queue, body, appended));
                model.batches.push(out.iter().map(|one| (queue, one.queue_offset.0 as usize)).collect());
            }
            Op::Flush => {
                store.flush().unwrap();
                model.promised = store.flushed_to().0;
                assert_eq!(store.flushed_to(), store.max_physical());
            }
            Op::Checkpoint => std::thread::sleep(std::time::Duration::from_millis(8)),
            Op::Reopen => {
                store.close().unwrap();
                drop(store);
                store = open(&disk).unwrap();
                model.promised = store.max_physical().0;
                model.check(&store);
            }
            Op::DamageQueue(what) => {
                store.close().unwrap();
                drop(store);
                let what = QUEUE_DAMAGES[what];
                // There is one topic only; and what lies in the middle is found by the first reader.
                if !matches!(
                    what,
                    QueueDamage::Swapped | QueueDamage::ZeroedInTheMiddle | QueueDamage::Flipped
                ) {
                    damage(&disk, what, "");
                }
                store = open(&disk).unwrap();
                model.promised = store.max_physical().0;
                model.check(&store);
            }
            Op::Kill => {
                drop(store);
                store = open(&disk).unwrap();
                model.check(&store);
                model.promised = store.max_physical().0;
            }
            Op::PowerLoss { seed } => {
                drop(store);
                disk.lose_power(seed);
                store = open(&disk).unwrap();
                model.check_and_forget_lost(&store);
                model.promised = store.max_physical().0;
            }
        }
    }
    model.check(&store);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn behaves_like_a_map_through_crashes(ops in vec(op(), 1..60)) {
        run(ops);
    }
}

#[test]
fn a_full_disk_is_no_reason_not_to_start() {
    let disk = Arc::new(MemoryDisk::default());
    let store = open(&disk).unwrap();
    append(&store, "T", 0, b"first").unwrap();
    store.close().unwrap();
    drop(store);
    // A name more finds its place, and nothing else.
    disk.faults().space.store(1, Ordering::SeqCst);
    for crashed in [false, true] {
        let store = open(&disk).unwrap();
        assert_eq!(bodies(&store, "T", 0)[0], Some(b"first".to_vec()));
        if !crashed {
            // There is room in the segment that exists; the next one cannot be made.
            let refused = (0..100).find_map(|_| append(&store, "T", 0, &[b'x'; 200]).err());
            assert!(matches!(refused, Some(AppendError::DiskFull { .. })), "{refused:?}");
        }
    }
    disk.faults().space.store(u64::MAX, Ordering::SeqCst);
    let store = open(&disk).unwrap();
    append(&store, "T", 0, b"last").unwrap();
    assert_eq!(bodies(&store, "T", 0).last().unwrap().as_deref(), Some(&b"last"[..]));
}
