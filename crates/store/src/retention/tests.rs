// SPDX-License-Identifier: Apache-2.0
//! The rules by tables and against a simulated clock; the store on a disk in memory against a plain list; real files.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, atomic::Ordering},
    time::SystemTime,
};

use oxmq_record::{Draft, Encoder, RecordView};
use oxmq_types::{QueueId, QueueOffset, TagsCode};
use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    AppendError, FlushMode, IndexConfig, KeyQuery, MemoryDisk, Store, StoreConfig,
    disk::{Disk, real::RealDisk},
    store::ms_of,
    tags_of,
};

const HOUR: i64 = 3_600_000;
const SEGMENT: u64 = 2048;
const RESERVED: u64 = 72 * HOUR as u64;

fn used(log: u8, queues: u8) -> DiskUse {
    DiskUse { log: Some(log), queues: Some(queues), index: None }
}

#[test]
fn what_is_due_is_as_in_java() {
    let config = RetentionConfig { delete_hours: vec![4, 16], ..RetentionConfig::default() };
    let (expired, space) = (Some(RemovalReason::Expired), Some(RemovalReason::Space));
    let check = |config: &RetentionConfig, used, part, hour, asked, expected| {
        let found = config.due(&Sight { hour, used, part, asked });
        assert_eq!(found, expected, "{used:?} {part:?} at {hour}, asked: {asked}");
    };
    for (disks, hour, asked, expected) in [
        (used(75, 75), 3, false, None),
        (used(75, 75), 4, false, expired),
        (used(10, 10), 16, false, expired),
        (used(10, 10), 5, true, expired),
        (used(76, 10), 5, false, expired),
        (used(10, 76), 5, false, expired),
        (used(85, 85), 5, false, expired),
        (used(86, 10), 5, false, space),
        (used(10, 86), 4, true, space),
        (DiskUse::default(), 5, false, expired),
        (DiskUse { queues: None, ..used(10, 10) }, 5, false, expired),
    ] {
        check(&config, disks, None, hour, asked, expected);
    }
    let gentle = RetentionConfig { forcibly: false, ..config.clone() };
    check(&gentle, used(99, 99), None, 5, false, expired);
    // A part of a disk counts instead of the disk, up to where the disk itself is too full.
    for (disks, part, expected) in [
        (used(80, 80), 75, None),
        (used(80, 80), 76, expired),
        (used(1, 1), 81, space),
        (used(86, 86), 1, space),
    ] {
        check(&config, disks, Some(Part { total: 1_000, used: part * 10 }), 5, false, expected);
    }
}

#[test]
fn records_are_refused_above_the_warning_level_until_there_is_space() {
    let config = RetentionConfig::default();
    let mut refuses = false;
    for (disks, expected) in [
        (used(90, 90), false),
        (used(91, 10), true),
        (used(86, 86), true),
        (DiskUse::default(), true),
        (used(85, 10), false),
        (used(86, 86), false),
        (used(10, 91), true),
        (used(85, 86), true),
        (used(85, 85), false),
    ] {
        refuses = config.refuses(refuses, disks);
        assert_eq!(refuses, expected, "{disks:?}");
    }
    let disks = DiskUse { log: Some(91), queues: Some(7), index: None };
    assert_eq!(disks.to_string(), "CL:  0.91 CQ:  0.07 INDEX: -1.00");
}

#[test]
fn percent_is_rounded_up_and_forced_removal_takes_what_is_needed() {
    let space = |used, usable| Space { total: 1_000, used, usable };
    for (found, percent) in
        [(space(0, 0), 0), (space(850, 150), 85), (space(851, 149), 86), (space(1, 999), 1)]
    {
        assert_eq!(found.percent(), percent);
    }
    let config = RetentionConfig::default();
    let sight = |used, part| Sight { hour: 5, used, part, asked: false };
    for (found, disks, owed, segments) in [
        (space(851, 149), used(86, 86), 0, 1),
        (space(950, 50), used(95, 95), 0, 1),
        (space(951, 49), used(96, 96), 0, 2),
        (space(1_000, 0), used(100, 100), 0, 2),
        // What was removed and is not free yet.
        (space(1_000, 0), used(100, 100), 100, 1),
        (space(1_000, 0), used(100, 100), 150, 0),
        // Another disk.
        (space(100, 900), used(10, 90), 0, 10),
        (space(100, 900), used(10, 90), 1, 0),
        // The disk was measured anew, and it has become emptier meanwhile.
        (space(840, 160), used(86, 86), 0, 0),
    ] {
        assert_eq!(config.forced(found, &sight(disks, None), owed, 100), segments, "{found:?} {owed}");
        let after = (found.used + owed).saturating_sub(owed + owed + segments as u64 * 100);
        assert!(Space { total: 1_000, used: after, usable: 1_000 - after }.percent() <= 85);
    }
    // Half of the disk is ours, and of that we have 82 and 100 percent.
    let config = RetentionConfig { replicas: 2, ..config };
    for (log, segments) in [(400, 0), (410, 1), (411, 2), (500, 10)] {
        let part = Some(Part { total: 500, used: log });
        assert_eq!(
            config.forced(space(log, 1_000 - log), &sight(used(50, 50), part), 0, 10),
            segments,
            "{log}"
        );
    }
}

#[test]
fn a_disk_that_refuses_records_is_cleaned_whatever_the_other_ratio_is() {
    let config = RetentionConfig { warning_percent: 50, ..RetentionConfig::default() };
    let sight = Sight { hour: 5, used: used(51, 51), part: None, asked: false };
    assert!(config.refuses(false, sight.used) && !config.refuses(true, used(50, 50)));
    assert_eq!(config.due(&sight), Some(RemovalReason::Space));
    let space = Space { total: 1_000, used: 510, usable: 490 };
    assert_eq!(config.forced(space, &sight, 0, 10), 1);
    let space = Space { used: 500, usable: 500, ..space };
    assert_eq!(config.forced(space, &sight, 0, 10), 0);
}

#[test]
fn space_that_removed_files_give_late_is_waited_for_but_not_for_ever() {
    let at = |up_ms| Moment { wall_ms: 0, up_ms };
    let mut owed = Owed::default();
    for (up_ms, removed, used, last_segment, expected) in [
        (0, 0, 1_000, 500, 0),
        (10, 300, 1_000, 500, 0),
        (20, 0, 1_000, 500, 300),
        // 100 came, and the log has used them.
        (30, 0, 1_000, 600, 200),
        (40, 0, 950, 600, 150),
        (50, 0, 700, 600, 0),
        (60, 300, 1_000, 600, 0),
        (70, 0, 1_200, 600, 300),
        (160, 0, 1_200, 600, 0),
    ] {
        owed.look(used, last_segment, at(up_ms));
        assert_eq!(owed.total(100), expected, "at {up_ms}");
        if removed > 0 {
            owed.bytes += removed;
            owed.until = up_ms + 100;
        }
    }
}

#[test]
fn segments_go_from_the_front_and_not_too_many_at_once() {
    let config = RetentionConfig { files_at_once: 3, reserved_ms: 10, ..RetentionConfig::default() };
    for (ages, forced, count) in [
        (&[][..], 9, 0),
        (&[9, 99], 0, 0),
        (&[10, 9, 99], 0, 1),
        (&[99; 5], 0, 3),
        (&[0, 0, 99], 1, 1),
        (&[0, 10, 10, 10], 1, 3),
        (&[0; 5], 9, 3),
    ] {
        assert_eq!(config.doomed(ages.len(), forced, |at| ages[at]), count, "{ages:?} {forced}");
    }
}

#[test]
fn a_clock_that_jumps_ahead_is_noticed() {
    let at =
        |wall_hours: i64, up_hours: u64| Moment { wall_ms: wall_hours * HOUR, up_ms: up_hours * HOUR as u64 };
    let mut watch = Watch::new(at(1_000, 0), 999 * HOUR, RESERVED);
    for (now, ahead) in [
        (at(1_010, 10), None),
        (at(1_021, 20), None),
        (at(1_022, 20), Some(2)),
        (at(1_032, 30), None),
        (at(900, 31), Some(-133)),
        (at(901, 32), None),
        (at(1_033, 32), Some(132)),
    ] {
        assert_eq!(watch.jumped(now), ahead.map(|hours| hours * HOUR), "{now:?}");
    }
    // A store that rested for longer than messages are kept.
    for (alive, ahead) in [(928, None), (927, Some(73)), (2_000, None)] {
        let mut watch = Watch::new(at(1_000, 0), alive * HOUR, RESERVED);
        assert_eq!(watch.jumped(at(1_000, 0)), ahead.map(|hours| hours * HOUR));
        assert_eq!(watch.jumped(at(1_001, 1)), None);
    }
    assert_eq!(last_use(10 * HOUR, [Some(9 * HOUR), Some(8 * HOUR)]), Some(9 * HOUR));
    assert_eq!(last_use(10 * HOUR, [Some(11 * HOUR + 1), Some(8 * HOUR)]), Some(8 * HOUR));
    assert_eq!(last_use(10 * HOUR, [Some(11 * HOUR + 1), None]), None);
}

proptest! {
    /// Whatever the clock does while the broker runs, nothing goes by its age before it has been kept long enough; and when
    /// the clock is left alone, everything goes.
    #[test]
    fn no_clock_makes_messages_old(
        steps in vec((0..30u64, prop_oneof![4 => Just(0), 2 => -20_000..20_000i64, 1 => -2..3i64]), 1..200),
    ) {
        let config = RetentionConfig { files_at_once: 1000, ..RetentionConfig::default() };
        let start = 500_000 * HOUR;
        let mut offset = 0;
        let mut up = 0;
        let mut watch = Watch::new(Moment { wall_ms: start, up_ms: 0 }, start, config.reserved_ms);
        // When each segment was written in truth, its store time and the file's time.
        let mut segments: VecDeque<(u64, i64, i64)> = VecDeque::new();
        let quiet = std::iter::repeat_n((30, 0), 10);
        for (hours, jump_hours) in steps.into_iter().chain(quiet) {
            up += hours * HOUR as u64;
            offset += jump_hours * HOUR;
            let wall = start + up as i64 + offset;
            let now = Moment { wall_ms: wall, up_ms: up };
            if watch.jumped(now).is_some() {
                segments.iter_mut().for_each(|(.., modified)| *modified = wall);
            }
            let mut unknown = false;
            let count = config.doomed(segments.len(), 0, |at| {
                let (_, stored, modified) = segments[at];
                let last = last_use(wall, [Some(modified), Some(stored)]);
                unknown |= last.is_none();
                last.map_or(0, |last| u64::try_from(wall - last).unwrap_or(0))
            });
            if unknown {
                segments.iter_mut().for_each(|(.., modified)| *modified = wall);
            }
            for (written, ..) in segments.drain(..count) {
                prop_assert!(up - written + 2 * JUMP_MS as u64 >= config.reserved_ms, "{written} {up}");
            }
            if segments.back().is_none_or(|(written, ..)| *written < up) && up < 4_000 * HOUR as u64 {
                segments.push_back((up, wall, wall));
            }
        }
        // The last ten steps were 300 hours without a jump; what they wrote may still be young.
        let old = segments.iter().filter(|(written, ..)| up - written > 200 * HOUR as u64).count();
        prop_assert_eq!(old, 0);
    }
}

fn config(root: &Path) -> StoreConfig {
    StoreConfig {
        segment_size_bytes: SEGMENT,
        consume_queue_file_size_bytes: 60,
        flush: FlushMode::Sync,
        queue_flush_interval_ms: 1,
        checkpoint_interval_ms: 5,
        index: Some(IndexConfig { dir: root.join("index"), slots: 5, entries: 11 }),
        retention: Some(RetentionConfig { log_pause_ms: 0, queue_pause_ms: 0, ..RetentionConfig::default() }),
        ..StoreConfig::new(root)
    }
}

fn open(disk: &Arc<MemoryDisk>) -> Arc<Store> {
    open_with(disk, config(Path::new("/store")))
}

fn open_with(disk: &Arc<MemoryDisk>, config: StoreConfig) -> Arc<Store> {
    Store::open_on(Arc::clone(disk) as Arc<dyn Disk>, config, Box::new(tags_of)).unwrap()
}

/// No thread makes segments ahead meanwhile.
fn open_without_threads(disk: &Arc<MemoryDisk>, config: StoreConfig) -> Arc<Store> {
    Store::open_with(Arc::clone(disk) as Arc<dyn Disk>, config, Box::new(tags_of), false).unwrap()
}

fn append(store: &Store, topic: &str, body: &[u8]) -> Result<u64, AppendError> {
    let draft = Draft { properties: b"KEYS\x01k\x02", ..Draft::plain(topic, QueueId(0), body) };
    let mut record = Vec::new();
    Encoder::new(1 << 20).encode(&draft, &mut record).unwrap();
    let queue = store.queue(topic, QueueId(0)).unwrap();
    Ok(store.append(&queue, &mut record, TagsCode(0))?.physical.0)
}

/// Makes everything durable that a checkpoint covers.
fn settle(store: &Store) {
    store.flush().unwrap();
    let mut flusher = lock(&store.shared.queue_flusher);
    flusher.flush(&store.shared).unwrap();
    flusher.checkpoint(&store.shared, false).unwrap();
}

fn now() -> Moment {
    Moment { wall_ms: ms_of(SystemTime::now()), up_ms: 0 }
}

/// A cleaner that began `hours` ago, and the moment that it is now.
fn after(store: &Store, hours: i64) -> (Cleaner, Moment) {
    let begin = now();
    let cleaner = Cleaner::new(&store.shared, &store.shared.cleaning.config().unwrap(), begin);
    (cleaner, Moment { wall_ms: begin.wall_ms + hours * HOUR, up_ms: (hours * HOUR) as u64 })
}

fn names(disk: &dyn Disk, dir: &Path) -> Vec<u64> {
    let mut names: Vec<_> = disk.list(dir).unwrap().iter().map(|entry| entry.name.parse().unwrap()).collect();
    names.sort_unstable();
    names
}

/// Bodies of a topic's messages, each checked to be in its place.
fn bodies(store: &Store, topic: &str) -> Vec<Vec<u8>> {
    let queue = store.queue(topic, QueueId(0)).unwrap();
    let (min, max) = (queue.min_offset(), queue.max_offset());
    let mut units = Vec::new();
    queue.read_units(min, usize::MAX, &mut units).unwrap();
    assert_eq!(units.len() as u64, max.0 - min.0);
    let body = |(at, unit): (usize, &crate::Unit)| {
        let bytes = store.read_record(unit.physical, unit.size).unwrap();
        let record = RecordView::parse(&bytes).unwrap();
        assert!(record.verify_crc());
        assert_eq!((record.topic(), record.queue_offset()), (topic, QueueOffset(min.0 + at as u64)));
        record.body().to_vec()
    };
    units.iter().enumerate().map(body).collect()
}

#[test]
fn expired_segments_go_with_their_queue_and_index_files() {
    let disk = Arc::new(MemoryDisk::default());
    let store = open(&disk);
    for i in 0..10 {
        append(&store, "old", &[i; 100]).unwrap();
    }
    for i in 0..40 {
        append(&store, "T", &[i; 300]).unwrap();
    }
    settle(&store);
    // So that everything is in the index.
    let found = |store: &Store, topic| {
        let wanted = KeyQuery { topic, key: "k", max: 64, begin_ms: 0, end_ms: i64::MAX };
        store.query(&wanted).records.len()
    };
    assert_eq!((found(&store, "old"), found(&store, "T")), (10, 40));
    let log = Path::new("/store/commitlog");
    let before = names(&*disk, log);
    let indexes = disk.list(Path::new("/store/index")).unwrap().len();
    assert!(before.len() > 6 && indexes > 3);

    let (mut cleaner, late) = after(&store, 71);
    assert_eq!(cleaner.clean(&store.shared, late, 4, used(10, 10)), 0, "too young");
    let (mut cleaner, late) = after(&store, 73);
    assert_eq!(cleaner.clean(&store.shared, late, 3, used(10, 10)), 0, "not the hour");
    assert_eq!(names(&*disk, log), before);
    let removed = cleaner.clean(&store.shared, late, 4, used(10, 10));
    assert!(removed > 0 && removed <= 10);
    while cleaner.clean(&store.shared, late, 4, used(10, 10)) > 0 {}

    let min = store.min_physical().0;
    let last_record = store.shared.log.record_at(lock(&store.shared.writer).last_record).unwrap();
    let kept = RecordView::parse(&last_record).unwrap().physical_offset().0 / SEGMENT * SEGMENT;
    assert_eq!(min, kept, "all but the segment of the last record");
    assert_eq!(names(&*disk, log)[0], min);
    assert_eq!(store.hanged_files(), 0);
    let (old, t) = (store.queue("old", QueueId(0)).unwrap(), store.queue("T", QueueId(0)).unwrap());
    assert_eq!((old.min_offset(), old.max_offset()), (QueueOffset(10), QueueOffset(10)));
    assert!(t.min_offset().0 >= 35 && t.max_offset() == QueueOffset(40));
    assert_eq!(bodies(&store, "T").last().unwrap(), &vec![39; 300]);
    // The last file of each queue, which says where it ends: units 9 and 39 are in them.
    assert_eq!(names(&*disk, Path::new("/store/consumequeue/old/0")), [180]);
    let t_files = names(&*disk, Path::new("/store/consumequeue/T/0"));
    assert_eq!((t_files[0], *t_files.last().unwrap()), (t.min_offset().0 / 3 * 60, 780));
    assert!(disk.list(Path::new("/store/index")).unwrap().len() < indexes);
    assert_eq!(found(&store, "T") as u64, 40 - t.min_offset().0);
    assert_eq!(found(&store, "old"), 0);

    append(&store, "old", b"next").unwrap();
    let (t_min, end) = (t.min_offset(), store.max_physical());
    store.close().unwrap();
    drop((store, old, t));
    let store = open(&disk);
    assert_eq!((store.min_physical().0, store.max_physical()), (min, end));
    let (old, t) = (store.queue("old", QueueId(0)).unwrap(), store.queue("T", QueueId(0)).unwrap());
    assert_eq!((old.min_offset(), old.max_offset()), (QueueOffset(10), QueueOffset(11)));
    assert_eq!((t.min_offset(), t.max_offset()), (t_min, QueueOffset(40)));
    assert_eq!(bodies(&store, "old"), [b"next"]);
    assert_eq!(found(&store, "T") as u64, 40 - t_min.0);
}

#[test]
fn a_queue_of_which_all_is_gone_knows_its_end_after_a_restart() {
    let disk = Arc::new(MemoryDisk::default());
    for crash in [false, true] {
        let store = open(&disk);
        let before = store.queue("idle", QueueId(0)).unwrap().max_offset();
        for _ in 0..4 {
            append(&store, "idle", b"x").unwrap();
        }
        for _ in 0..20 {
            append(&store, "T", &[0; 500]).unwrap();
        }
        settle(&store);
        let (mut cleaner, late) = after(&store, 100);
        while cleaner.clean(&store.shared, late, 4, used(10, 10)) > 0 {}
        if !crash {
            store.close().unwrap();
        }
        drop(store);
        if crash {
            disk.lose_power(7);
        }
        let store = open(&disk);
        let idle = store.queue("idle", QueueId(0)).unwrap();
        assert_eq!(
            (idle.min_offset(), idle.max_offset()),
            (QueueOffset(before.0 + 4), QueueOffset(before.0 + 4))
        );
        assert_eq!(
            append(&store, "idle", b"next").map(|_| idle.max_offset()).unwrap(),
            QueueOffset(before.0 + 5)
        );
        settle(&store);
    }
}

#[test]
fn nothing_goes_that_recovery_would_need() {
    let disk = Arc::new(MemoryDisk::default());
    let slow = StoreConfig {
        queue_flush_interval_ms: 3_600_000,
        checkpoint_interval_ms: 3_600_000,
        ..config(Path::new("/store"))
    };
    let store = open_with(&disk, slow);
    for i in 0..20 {
        append(&store, "T", &[i; 500]).unwrap();
    }
    let (mut cleaner, late) = after(&store, 100);
    assert_eq!(cleaner.clean(&store.shared, late, 4, used(99, 99)), 0);
    assert_eq!(cleaner.helpless, Some(Helpless::NoCheckpoint));
    settle(&store);
    assert!(cleaner.clean(&store.shared, late, 4, used(10, 10)) > 0);
}

#[test]
fn a_file_that_cannot_be_removed_is_tried_again_in_its_turn() {
    let disk = Arc::new(MemoryDisk::default());
    let store = open_without_threads(&disk, config(Path::new("/store")));
    for i in 0..20 {
        append(&store, "T", &[i; 500]).unwrap();
    }
    settle(&store);
    let log = Path::new("/store/commitlog");
    let before = names(&*disk, log);
    disk.faults().remove_fails.store(true, Ordering::SeqCst);
    let (mut cleaner, mut late) = after(&store, 100);
    let removed = cleaner.clean(&store.shared, late, 4, used(10, 10));
    assert!(removed > 2);
    // Readers do not get them any more, and nothing has become a gap.
    assert_eq!(store.min_physical().0, removed as u64 * SEGMENT);
    assert_eq!((names(&*disk, log), store.hanged_files()), (before.clone(), removed));
    disk.faults().remove_fails.store(false, Ordering::SeqCst);
    cleaner.clean(&store.shared, late, 3, used(10, 10));
    assert_eq!((names(&*disk, log), store.hanged_files()), (before, removed), "before its time");
    for i in 0..20 {
        append(&store, "T", &[i; 500]).unwrap();
    }
    settle(&store);
    let more = cleaner.clean(&store.shared, late, 4, used(10, 10));
    assert!(more > 0);
    assert_eq!(store.hanged_files(), removed + more);
    late.up_ms += 120_000;
    cleaner.clean(&store.shared, late, 3, used(10, 10));
    assert_eq!((names(&*disk, log)[0], store.hanged_files()), (store.min_physical().0, 0));
    let queue = store.queue("T", QueueId(0)).unwrap();
    assert_eq!(names(&*disk, Path::new("/store/consumequeue/T/0"))[0], queue.min_offset().0 / 3 * 60);
}

#[test]
fn a_full_disk_refuses_records_is_cleaned_and_takes_them_again() {
    let disk = Arc::new(MemoryDisk::default());
    // Index files take their whole length on this disk.
    let store = open_without_threads(&disk, StoreConfig { index: None, ..config(Path::new("/store")) });
    let retention = store.shared.cleaning.config().unwrap();
    for i in 0..200 {
        append(&store, "T", &[i; 500]).unwrap();
    }
    settle(&store);
    let look = || measure(&store.shared, &retention);
    assert!(look().fullest() < Some(2));
    let space = disk.space(Path::new("/store")).unwrap();
    disk.faults().space.store(space.used / 15, Ordering::SeqCst);
    let full = look();
    assert_eq!(full.log, Some(94));
    let refused = append(&store, "T", b"no").unwrap_err();
    assert!(matches!(refused, AppendError::DiskNearlyFull(_)), "{refused}");
    assert_eq!(refused.to_string(), "the broker's disk is full [CL:  0.94 CQ:  0.94 INDEX: -1.00]");
    assert!(store.refuses().is_some());

    let log = Path::new("/store/commitlog");
    let (mut cleaner, moment) = after(&store, 0);
    let removed = cleaner.clean(&store.shared, moment, 3, full);
    // Of the last file nothing is said: the thread that prepares the next one may make it just now.
    assert!(removed > 0 && names(&*disk, log)[0] == removed as u64 * SEGMENT);
    assert!((84..=85).contains(&look().log.unwrap()), "not more than is needed");
    append(&store, "T", b"yes").unwrap();
    assert_eq!(cleaner.clean(&store.shared, moment, 3, look()), 0);
    assert_eq!(cleaner.helpless, None);
    assert_eq!(bodies(&store, "T").last().unwrap(), b"yes");
}

#[test]
fn what_goes_is_announced_while_it_can_still_be_read() {
    let disk = Arc::new(MemoryDisk::default());
    let store = open(&disk);
    for i in 0..20 {
        append(&store, "T", &[i; 500]).unwrap();
        append(&store, "U", b"").unwrap();
    }
    settle(&store);
    let told: Arc<Mutex<Vec<Vec<u64>>>> = Arc::default();
    let telling = Arc::clone(&told);
    store.on_removal(move |removal| {
        assert_eq!(removal.reason, RemovalReason::Expired);
        assert!(removal.shared.log.min() + removal.segments as u64 * SEGMENT == removal.end().0);
        let unread = |topic, next| removal.unread(topic, QueueId(0), QueueOffset(next)).unwrap();
        let counts = [unread("T", 0), unread("T", 3), unread("T", 20), unread("U", 0), unread("none", 0)];
        lock(&telling).push(counts.to_vec());
    });
    let (mut cleaner, late) = after(&store, 100);
    assert!(cleaner.clean(&store.shared, late, 4, used(10, 10)) > 0);
    let (t, u) = (store.queue("T", QueueId(0)).unwrap(), store.queue("U", QueueId(0)).unwrap());
    let (t, u) = (t.min_offset().0, u.min_offset().0);
    assert!(t > 3 && u > 3);
    assert_eq!(*lock(&told), [vec![t, t - 3, 0, u, 0]]);
    assert_eq!(store.queues().len(), 2, "asking makes no queue");
    cleaner.clean(&store.shared, late, 3, used(10, 10));
    assert_eq!(lock(&told).len(), 1);
}

#[test]
fn a_jump_of_the_clock_gives_everything_its_time_again() {
    let disk = Arc::new(MemoryDisk::default());
    let store = open(&disk);
    for i in 0..20 {
        append(&store, "T", &[i; 500]).unwrap();
    }
    settle(&store);
    let (mut cleaner, _) = after(&store, 0);
    let ahead = |hours: i64, up_hours: u64| Moment {
        wall_ms: ms_of(SystemTime::now()) + hours * HOUR,
        up_ms: up_hours * HOUR as u64,
    };
    for (moment, goes) in [(ahead(9_000, 1), false), (ahead(9_071, 72), false), (ahead(9_074, 75), true)] {
        assert_eq!(cleaner.clean(&store.shared, moment, 4, used(10, 10)) > 0, goes, "{moment:?}");
    }
    // Back at the right time, the files are from the future.
    assert_eq!(cleaner.clean(&store.shared, ahead(1, 80), 4, used(10, 10)), 0);
    // Closed, and opened a year later: it does not go in the first hour.
    store.close().unwrap();
    drop(store);
    let store = open(&disk);
    let begin = ahead(9_000, 0);
    let mut cleaner = Cleaner::new(&store.shared, &RetentionConfig::default(), begin);
    assert_eq!(cleaner.clean(&store.shared, begin, 4, used(10, 10)), 0);
}

#[test]
fn real_files_go_by_the_later_of_their_times_and_leave_what_is_held() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path());
    // What the disk of the machine is used for is more than that.
    config.retention = config.retention.map(|kept| RetentionConfig { clean_forcibly_percent: 0, ..kept });
    let store = Store::open(config, Box::new(tags_of)).unwrap();
    let mut held = Vec::new();
    for i in 0..40u8 {
        let at = append(&store, "T", &[i; 500]).unwrap();
        held.push(store.record_at(PhysicalOffset(at)).unwrap());
    }
    settle(&store);
    let log = folder.path().join("commitlog");
    let starts = names(&RealDisk::default(), &log);
    // Old by their files' times, as they are young by what is in them: a folder whose times were set back.
    for start in &starts {
        RealDisk::default()
            .set_modified_ms(&file_at(&log, *start), ms_of(SystemTime::now()) - 1_000 * HOUR)
            .unwrap();
    }
    let (mut cleaner, moment) = after(&store, 0);
    assert_eq!(cleaner.clean(&store.shared, moment, 4, used(0, 0)), 0);
    // Old by what is in them, and young by their files' times: the third was copied.
    let (mut cleaner, late) = after(&store, 100);
    RealDisk::default().set_modified_ms(&file_at(&log, starts[2]), late.wall_ms - HOUR).unwrap();
    assert_eq!(cleaner.clean(&store.shared, late, 4, used(0, 0)), 2);
    assert_eq!(cleaner.clean(&store.shared, late, 4, used(0, 0)), 0);
    assert_eq!(names(&RealDisk::default(), &log)[0], starts[2]);
    assert_eq!(cleaner.owed.held.len(), 2, "somebody reads them");
    // By force as well, all of it; what somebody holds stays what it was.
    while cleaner.clean(&store.shared, late, 3, used(99, 99)) > 0 {}
    let removed = cleaner.owed.held.len() as u64;
    assert_eq!(store.min_physical().0, removed * SEGMENT);
    assert_eq!(cleaner.owed.total(SEGMENT), removed * SEGMENT);
    assert!(names(&RealDisk::default(), &log).len() <= 2);
    for (i, record) in held.iter().enumerate() {
        let record = RecordView::parse(record).unwrap();
        assert!(record.verify_crc() && record.body() == [i as u8; 500]);
    }
    drop(held);
    cleaner.clean(&store.shared, late, 3, used(0, 0));
    assert_eq!(cleaner.owed.held.len(), 0);
    append(&store, "T", b"next").unwrap();
    store.close().unwrap();
    let space = RealDisk::default().space(folder.path()).unwrap();
    assert!(space.used + space.usable <= space.total && space.percent() <= 100);
    assert!(RealDisk::default().modified_ms(&folder.path().join("none")).is_err());
}

#[test]
fn the_thread_does_what_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path());
    config.retention =
        Some(RetentionConfig { reserved_ms: 0, delete_hours: Vec::new(), ..config.retention.unwrap() });
    let store = Store::open(config, Box::new(tags_of)).unwrap();
    for i in 0..80u8 {
        append(&store, "T", &[i; 500]).unwrap();
    }
    settle(&store);
    // More than one look takes, and before the first look is due.
    store.clean();
    let begin = Instant::now();
    let queue = store.queue("T", QueueId(0)).unwrap();
    // The queue follows the log.
    while store.min_physical().0 < store.max_physical().0 / SEGMENT * SEGMENT - SEGMENT
        || queue.min_offset() < queue.first_at(store.min_physical().0).unwrap()
    {
        assert!(begin.elapsed() < Duration::from_secs(30), "{store:?}");
        std::thread::yield_now();
    }
    assert_eq!(bodies(&store, "T").last().unwrap(), &vec![79; 500]);
    store.close().unwrap();
}

#[derive(Debug, Clone)]
enum Step {
    Append(u8, usize),
    Hours(i64),
    Force,
    Reopen,
    LosePower(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..3u8, 0..900usize).prop_map(|(topic, size)| Step::Append(topic, size)),
        1 => (0..200i64).prop_map(Step::Hours),
        1 => Just(Step::Force),
        1 => Just(Step::Reopen),
        1 => any::<u64>().prop_map(Step::LosePower),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Against lists of all that was ever stored: what is gone is gone from the front, and the rest stays in its place.
    #[test]
    fn a_store_that_is_cleaned_keeps_its_order(steps in vec(step(), 1..120)) {
        let disk = Arc::new(MemoryDisk::default());
        let mut store = open(&disk);
        let mut stored: BTreeMap<String, Vec<(u64, Vec<u8>)>> = BTreeMap::new();
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Append(topic, size) => {
                    let (topic, body) = (format!("T{topic}"), vec![number as u8; size]);
                    let physical = append(&store, &topic, &body).unwrap();
                    stored.entry(topic).or_default().push((physical, body));
                }
                Step::Hours(hours) => {
                    settle(&store);
                    let (mut cleaner, late) = after(&store, hours);
                    let removed = cleaner.clean(&store.shared, late, 4, used(10, 10));
                    prop_assert!(hours >= 72 || removed == 0);
                }
                Step::Force => {
                    settle(&store);
                    let (mut cleaner, moment) = after(&store, 0);
                    let min = store.min_physical().0;
                    // The disk of the queues is another one, of which nothing is known.
                    let removed = cleaner.clean(&store.shared, moment, 3, used(10, 86));
                    prop_assert_eq!(store.min_physical().0, min + removed as u64 * SEGMENT);
                    prop_assert!(removed <= 10);
                }
                Step::Reopen => {
                    store.close().unwrap();
                    drop(store);
                    store = open(&disk);
                }
                Step::LosePower(seed) => {
                    store.flush().unwrap();
                    drop(store);
                    disk.lose_power(seed);
                    store = open(&disk);
                }
            }
            let min = store.min_physical().0;
            for (topic, messages) in &stored {
                let queue = store.queue(topic, QueueId(0)).unwrap();
                let gone = messages.iter().filter(|(physical, _)| *physical < min).count();
                prop_assert_eq!(queue.max_offset().0, messages.len() as u64, "{}", topic);
                prop_assert_eq!(queue.min_offset().0, gone as u64, "{}", topic);
                let kept: Vec<_> = messages[gone..].iter().map(|(_, body)| body.clone()).collect();
                prop_assert_eq!(bodies(&store, topic), kept);
            }
        }
    }
}

#[test]
fn many_queues_are_cleaned_in_several_looks() {
    let disk = Arc::new(MemoryDisk::default());
    let mut config = config(Path::new("/store"));
    let retention = RetentionConfig { interval_ms: 0, queue_pause_ms: 1, ..config.retention.unwrap() };
    config.retention = Some(retention);
    let store = open_with(&disk, config);
    for _ in 0..4 {
        for topic in ["A", "B", "C"] {
            append(&store, topic, b"").unwrap();
        }
    }
    for _ in 0..10 {
        append(&store, "T", &[0; 500]).unwrap();
    }
    settle(&store);
    let (mut cleaner, late) = after(&store, 100);
    let files = || {
        let of = |topic: &str| names(&*disk, &Path::new("/store/consumequeue").join(topic).join("0")).len();
        ["A", "B", "C"].map(of).into_iter().sum::<usize>()
    };
    assert_eq!(files(), 6);
    let mut looks = 0;
    while files() > 3 {
        cleaner.clean(&store.shared, late, if looks == 0 { 4 } else { 3 }, used(10, 10));
        looks += 1;
        assert!(looks < 20);
    }
    assert!(looks > 2, "one queue, and then it is time to look again");
}

#[test]
fn no_more_is_given_up_while_removed_files_give_no_space() {
    let disk = Arc::new(MemoryDisk::default());
    // Index files take their whole length on this disk.
    let store = open_without_threads(&disk, StoreConfig { index: None, ..config(Path::new("/store")) });
    let retention = store.shared.cleaning.config().unwrap();
    for i in 0..200 {
        append(&store, "T", &[i; 500]).unwrap();
    }
    settle(&store);
    let space = disk.space(Path::new("/store")).unwrap();
    disk.faults().space.store(space.used / 15, Ordering::SeqCst);
    let (mut cleaner, mut moment) = after(&store, 0);
    let look = |cleaner: &mut Cleaner, moment| {
        let used = measure(&store.shared, &retention);
        assert!(used.log > Some(85));
        cleaner.clean(&store.shared, moment, 3, used)
    };
    // Nothing can be removed.
    disk.faults().remove_fails.store(true, Ordering::SeqCst);
    let first = look(&mut cleaner, moment);
    assert!(first > 1);
    for _ in 0..30 {
        assert_eq!(look(&mut cleaner, moment), 0);
        moment.up_ms += 10_000;
    }
    assert_eq!((store.hanged_files(), store.min_physical().0), (first, first as u64 * SEGMENT));
    disk.faults().remove_fails.store(false, Ordering::SeqCst);
    moment.up_ms += 120_000;
    // Removed, and the space does not come.
    assert_eq!(look(&mut cleaner, moment), 0);
    disk.faults().held.store(first as u64 * SEGMENT, Ordering::SeqCst);
    disk.faults().space.fetch_sub(first as u64 * SEGMENT, Ordering::SeqCst);
    assert_eq!(store.hanged_files(), 0);
    for _ in 0..11 {
        moment.up_ms += 10_000;
        assert_eq!(look(&mut cleaner, moment), 0);
    }
    moment.up_ms += 10_000;
    assert!(look(&mut cleaner, moment) > 0, "others may have filled the disk");
}

#[test]
fn a_change_counts_at_the_next_look() {
    let disk = Arc::new(MemoryDisk::default());
    let store = open(&disk);
    for i in 0..20 {
        append(&store, "T", &[i; 500]).unwrap();
    }
    settle(&store);
    let (mut cleaner, late) = after(&store, 50);
    assert_eq!(cleaner.clean(&store.shared, late, 4, used(10, 10)), 0);
    let kept = store.shared.cleaning.config().unwrap();
    store.set_retention(RetentionConfig { reserved_ms: 48 * HOUR as u64, ..(*kept).clone() });
    assert!(cleaner.clean(&store.shared, late, 4, used(10, 10)) > 0);
}
