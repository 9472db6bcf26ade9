// SPDX-License-Identifier: Apache-2.0
//! Folders that are whole, and folders with one thing wrong: each kind of damage has its finding, and no other.

use std::{fs, ops::ControlFlow, os::unix::fs::FileExt, path::PathBuf};

use oxmq_record::{Draft, Encoder, RecordView, properties};
use oxmq_store::{
    IndexConfig, KeyQuery, Store, StoreConfig, TagsRule,
    inspect::{
        self, Checked, Finding, Flaw, Folder, InspectError, Layout, NotInQueue, Part, Plan, QueueName,
        RepairError, Severity, Step, UnitFault, Use, Wanted, Watch, What,
    },
    tags_of,
};
use oxmq_types::{QueueId, TagsCode};

const SEGMENT: u64 = 3000;
/// Ten units.
const QUEUE_FILE: u64 = 200;

#[derive(Default)]
struct Findings {
    all: Vec<Finding>,
    progress: (u64, u64),
}

impl Watch for Findings {
    fn finding(&mut self, finding: Finding) {
        self.all.push(finding);
    }
    fn progress(&mut self, done: u64, total: u64) {
        assert!(done <= total, "{done} of {total}");
        self.progress = (done, total);
    }
}

struct Ground {
    dir: tempfile::TempDir,
    config: StoreConfig,
}

impl Ground {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = StoreConfig {
            segment_size_bytes: SEGMENT,
            consume_queue_file_size_bytes: QUEUE_FILE,
            index: Some(IndexConfig { dir: dir.path().join("index"), slots: 7, entries: 28 }),
            ..StoreConfig::new(dir.path())
        };
        Self { dir, config }
    }

    /// A closed store with 60 messages: three segments, topics `A` (two queues) and `B` (one), a key each.
    fn filled() -> Self {
        let ground = Self::new();
        let store = ground.store();
        for i in 0..60u32 {
            let (topic, id) = if i % 3 == 0 { ("B", 0) } else { ("A", i % 3 - 1) };
            append(&store, topic, id, &format!("key-{i}"), &format!("body of the message {i}"));
        }
        store.close().unwrap();
        ground
    }

    fn store(&self) -> std::sync::Arc<Store> {
        Store::open(self.config.clone(), Box::new(tags_of)).unwrap()
    }

    fn layout(&self) -> Layout {
        Layout { root: self.dir.path().to_owned(), ..Layout::default() }
    }

    fn open(&self) -> Folder {
        Folder::open(self.layout()).unwrap()
    }

    fn check(&self) -> (Vec<Finding>, Checked) {
        let folder = self.open();
        let mut findings = Findings::default();
        let tags = |record: &RecordView<'_>| Some(tags_of(record));
        let checked = inspect::check(&folder, &|_| true, &tags, &mut findings).unwrap();
        let (done, total) = findings.progress;
        assert!(done == total || folder.state() == Use::Running, "{done} of {total}");
        (findings.all, checked)
    }

    /// All that is found, as part and text, without the folder's name.
    fn texts(&self) -> Vec<String> {
        let root = format!("{}/", self.dir.path().display());
        self.check().0.iter().map(|finding| finding.to_string().replace(&root, "")).collect()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    fn write_at(&self, name: &str, at: u64, bytes: &[u8]) {
        let file = fs::OpenOptions::new().write(true).open(self.path(name)).unwrap();
        file.write_all_at(bytes, at).unwrap();
    }

    fn records(&self, wanted: &Wanted) -> Vec<(u64, String)> {
        let mut out = Vec::new();
        let mut findings = Findings::default();
        inspect::dump(&self.open(), wanted, &mut findings, &mut |found| {
            let body = String::from_utf8_lossy(found.record.body()).into_owned();
            out.push((found.record.physical_offset().0, body));
            ControlFlow::Continue(())
        })
        .unwrap();
        out
    }

    /// Where the `n`th record of the log starts, and how long it is.
    fn place(&self, n: usize) -> (u64, u64) {
        let all = self.records(&Wanted::default());
        let next = all.get(n + 1).map_or(0, |next| next.0);
        (all[n].0, next - all[n].0)
    }
}

fn append(store: &Store, topic: &str, id: u32, key: &str, body: &str) {
    let mut properties = b"TAGS\x01TagA\x02".to_vec();
    properties::append(&mut properties, "KEYS", key.as_bytes());
    let draft = Draft { properties: &properties, ..Draft::plain(topic, QueueId(id), body.as_bytes()) };
    let mut record = Vec::new();
    Encoder::new(1 << 20).encode(&draft, &mut record).unwrap();
    let queue = store.queue(topic, QueueId(id)).unwrap();
    store.append(&queue, &mut record, TagsCode(2_598_919)).unwrap();
}

const FIRST: &str = "commitlog/00000000000000000000";
const SECOND: &str = "commitlog/00000000000000003000";
const THIRD: &str = "commitlog/00000000000000006000";
const QUEUE: &str = "consumequeue/A/0/00000000000000000000";
const QUEUE_2: &str = "consumequeue/A/0/00000000000000000200";

fn severities(found: &[Finding]) -> Vec<Severity> {
    found.iter().map(Finding::severity).collect()
}

#[test]
fn a_whole_folder_has_no_findings() {
    let ground = Ground::filled();
    let (found, checked) = ground.check();
    assert_eq!(found, []);
    assert_eq!((checked.records, checked.segments, checked.queues, checked.units), (60, 3, 3, 60));
    assert_eq!((checked.index_files, checked.index_entries), (3, 60));
    assert_eq!(ground.open().state(), Use::Closed);
}

#[test]
fn a_damaged_body_is_found_and_nothing_else() {
    let ground = Ground::filled();
    let (at, _) = ground.place(7);
    let body = ground.read(FIRST).windows(4).position(|found| found == b"ge 7").unwrap() as u64;
    assert!(body > at);
    ground.write_at(FIRST, body, b"x");
    let expected = format!("{FIRST} at {at}: the body of message 2 of A queue 0 is damaged (checksum)");
    assert_eq!(ground.texts(), [expected]);
    assert_eq!(severities(&ground.check().0), [Severity::Damage]);
}

#[test]
fn damage_in_the_middle_is_told_with_its_end() {
    let ground = Ground::filled();
    let ((seventh, _), (ninth, _)) = (ground.place(7), ground.place(9));
    ground.write_at(FIRST, seventh, &[0xff; 150]);
    let (found, checked) = ground.check();
    assert_eq!(checked.records, 58);
    assert_eq!(found[0].offset, Some(seventh));
    assert_eq!(found[0].what, What::Damaged { end: ninth, flaw: Flaw::NoRecord });
    // What was there is still in its queue and in the index.
    let rest: Vec<_> = found[1..].iter().map(|finding| (finding.part, &finding.what)).collect();
    let unit = |topic: &str, id, first| What::Units {
        queue: QueueName { topic: topic.into(), id },
        how: UnitFault::NoRecord,
        first,
        count: 1,
    };
    let entries = What::IndexEntries { first: 8, count: 2 };
    let mut expected =
        [(Part::Queues, &unit("A", 0, 2)), (Part::Queues, &unit("A", 1, 2)), (Part::Index, &entries)];
    expected.sort_by_key(|(part, what)| (*part, what.to_string()));
    let mut rest = rest;
    rest.sort_by_key(|(part, what)| (*part, what.to_string()));
    assert_eq!(rest, expected);
}

#[test]
fn a_torn_tail_is_told_with_its_length() {
    let ground = Ground::filled();
    let end = ground.check().1.log_end;
    ground.write_at(THIRD, end - 6000, b"\0\0\0\x50torn");
    let (found, checked) = ground.check();
    assert_eq!(checked.log_end, end);
    let torn: Vec<_> = found.iter().map(|finding| (finding.offset, finding.what.clone())).collect();
    assert_eq!(torn, [(Some(end), What::TornTail { bytes: 8, flaw: Flaw::NoRecord })]);
}

#[test]
fn a_segment_of_zeros_or_of_another_place_is_damage() {
    for (content, flaw) in [(None, Flaw::Zeros), (Some(THIRD), Flaw::Place { says: 6000 })] {
        let ground = Ground::filled();
        let bytes = content.map_or(vec![0; SEGMENT as usize], |name| ground.read(name));
        ground.write_at(SECOND, 0, &bytes);
        let (found, _) = ground.check();
        assert_eq!((found[0].offset, &found[0].what), (Some(3000), &What::Damaged { end: 6000, flaw }));
        assert!(found[1..].iter().all(|finding| finding.part != Part::Log), "{found:?}");
    }
}

#[test]
fn files_of_the_log_that_are_missing_short_or_strange_are_found() {
    let ground = Ground::filled();
    fs::remove_file(ground.path(SECOND)).unwrap();
    let found = ground.check().0;
    assert_eq!((found[0].part, &found[0].what), (Part::Log, &What::FilesMissing { next: 6000 }));
    assert_eq!(found[0].path, ground.path(SECOND));

    let ground = Ground::filled();
    fs::OpenOptions::new().write(true).open(ground.path(THIRD)).unwrap().set_len(2000).unwrap();
    fs::write(ground.path("commitlog/notes.txt"), "x").unwrap();
    fs::create_dir(ground.path("commitlog/00000000000000009000")).unwrap();
    let texts = ground.texts();
    assert!(texts.contains(&"commitlog/notes.txt: not a name that belongs here".into()), "{texts:?}");
    assert!(texts.contains(&"commitlog/00000000000000009000: not a name that belongs here".into()));
    assert!(texts.contains(&format!("{THIRD}: has 2000 bytes instead of 3000")));
}

#[test]
fn wrong_units_are_found() {
    let check = |damage: &dyn Fn(&Ground), expected: &[&str]| {
        let ground = Ground::filled();
        damage(&ground);
        assert_eq!(ground.texts(), expected);
        assert!(severities(&ground.check().0).iter().all(|severity| *severity == Severity::Derived));
    };
    // Units 3 and 4 in each other's place.
    let swap = |ground: &Ground| {
        let bytes = ground.read(QUEUE);
        ground.write_at(QUEUE, 60, &[&bytes[80..100], &bytes[60..80]].concat());
    };
    check(
        &swap,
        &[
            "consumequeue/A/0/00000000000000000000 at 60: A queue 0, units from 3 on (2): not those of the records with their numbers",
        ],
    );
    check(
        &|ground| ground.write_at(QUEUE, 40, &[0x7f; 8]),
        &[
            "consumequeue/A/0/00000000000000000000 at 40: A queue 0, units from 2 on (1): not those of the records with their numbers",
        ],
    );
    check(
        &|ground| ground.write_at(QUEUE, 40, &[0; 8]),
        &[
            "consumequeue/A/0/00000000000000000000 at 40: A queue 0, units from 2 on (1): not those of the records with their numbers",
        ],
    );
    check(
        &|ground| ground.write_at(QUEUE_2, 8, &[0, 0, 0, 9]),
        &[
            "consumequeue/A/0/00000000000000000200 at 0: A queue 0, units from 10 on (1): another size than the records have",
        ],
    );
    check(
        &|ground| ground.write_at(QUEUE_2, 19, &[9]),
        &[
            "consumequeue/A/0/00000000000000000200 at 0: A queue 0, units from 10 on (1): the code of another tag than the records have",
        ],
    );
    check(
        &|ground| ground.write_at(QUEUE, 40, &[0; 60]),
        &[
            "consumequeue/A/0/00000000000000000000 at 40: A queue 0, messages from 2 on (3): their units were never written",
        ],
    );
    check(
        &|ground| ground.write_at(QUEUE_2, 100, &[0; 100]),
        &[
            "consumequeue/A/0/00000000000000000200 at 100: A queue 0, messages from 15 on (5): their units were never written",
        ],
    );
    check(
        &|ground| fs::remove_file(ground.path(QUEUE)).unwrap(),
        &[
            "consumequeue/A/0/00000000000000000000 at 0: A queue 0, messages from 0 on (10): their units were never written",
        ],
    );
    check(
        &|ground| fs::remove_dir_all(ground.path("consumequeue/A/0")).unwrap(),
        &["consumequeue/A/0: A queue 0, messages from 0 on (20): the topic has no such queue on the disk"],
    );
    let other = |ground: &Ground| {
        fs::copy(ground.path("consumequeue/A/1/00000000000000000000"), ground.path(QUEUE)).unwrap();
    };
    check(
        &other,
        &[
            "consumequeue/A/0/00000000000000000000 at 0: A queue 0, units from 0 on (10): not those of the records with their numbers",
        ],
    );
    let beyond = |ground: &Ground| {
        let path = ground.path("consumequeue/A/0/00000000000000000400");
        let unit = [&9_000u64.to_be_bytes()[..], &[0, 0, 0, 100], &[0; 8]].concat();
        fs::write(path, [unit, vec![0; 180]].concat()).unwrap();
    };
    check(
        &beyond,
        &[
            "consumequeue/A/0/00000000000000000400 at 0: A queue 0, units from 20 on (1): point to or beyond the end of the log",
        ],
    );
}

#[test]
fn files_of_a_queue_that_are_short_or_strange_are_found() {
    let ground = Ground::filled();
    fs::OpenOptions::new().write(true).open(ground.path(QUEUE)).unwrap().set_len(190).unwrap();
    fs::write(ground.path("consumequeue/A/0/x"), "").unwrap();
    fs::write(ground.path("consumequeue/notes"), "").unwrap();
    fs::create_dir(ground.path("consumequeue/A/01")).unwrap();
    let mut texts = ground.texts();
    texts.sort();
    assert_eq!(
        texts,
        [
            "consumequeue/A/0/00000000000000000000 at 180: A queue 0, messages from 9 on (1): their units were never written",
            "consumequeue/A/0/00000000000000000000: has 190 bytes instead of 200",
            "consumequeue/A/0/x: not a name that belongs here",
            "consumequeue/A/01: not a name that belongs here",
            "consumequeue/notes: not a name that belongs here",
        ]
    );
}

#[test]
fn a_topic_that_was_deleted_and_made_again_is_only_noted() {
    let ground = Ground::filled();
    let store = ground.store();
    store.delete_topic("A").unwrap();
    append(&store, "A", 0, "new", "first of its second life");
    store.close().unwrap();
    drop(store);
    let (found, _) = ground.check();
    let whys: Vec<_> = found
        .iter()
        .map(|finding| match &finding.what {
            What::NotInQueue { queue, why, count, .. } => (queue.id, *why, *count, finding.severity()),
            other => panic!("{other}"),
        })
        .collect();
    // Whether a queue was lost or is not wanted any more, nothing tells.
    assert_eq!(
        whys,
        [(1, NotInQueue::NoFolder, 20, Severity::Derived), (0, NotInQueue::Taken, 20, Severity::Note)]
    );
}

#[test]
fn a_damaged_index_is_found() {
    let ground = Ground::filled();
    let name =
        fs::read_dir(ground.path("index")).unwrap().map(|entry| entry.unwrap().file_name()).min().unwrap();
    let name = format!("index/{}", name.to_str().unwrap());
    let whole = ground.read(&name);
    let entry = |n: u64| 40 + 7 * 4 + n * 20;
    let check = |at: u64, bytes: &[u8], expected: &str| {
        ground.write_at(&name, at, bytes);
        let texts: Vec<_> = ground.texts().iter().map(|text| text.replace(&name, "INDEX")).collect();
        assert_eq!(texts.first().map(String::as_str), Some(expected), "{texts:?}");
        let found = ground.check().0;
        assert!(severities(&found).iter().all(|severity| *severity == Severity::Derived), "{found:?}");
        assert!(found.iter().all(|finding| finding.part == Part::Index), "{found:?}");
        ground.write_at(&name, 0, &whole);
    };
    check(36, &[0x7f, 0, 0, 0], "INDEX at 0: the header of the index file cannot be");
    check(entry(3), &[0, 0, 0, 1], "INDEX at 128: entries from 3 on (3) that cannot be");
    check(entry(3) + 4, &[0x7f; 8], "INDEX at 128: entries from 3 on (1) that cannot be");
    // In its file's range, but not that of the record: only the record can tell.
    check(
        entry(3) + 11,
        &[1],
        "INDEX at 128: entries from 3 on (1) that are not of a record with such a key",
    );
    check(entry(3) + 16, &[0, 0, 0, 9], "INDEX at 128: entries from 3 on (1) that cannot be");
    check(40, &[0, 0, 0, 1], "INDEX at 40: slots (1) that do not name their newest entry");
    assert_eq!(ground.check().0, []);
}

/// Every byte that a folder holds may be anything: what is examined is then damaged or not, but nothing panics, and a
/// damaged record is never taken for a good one.
#[test]
fn whatever_a_file_holds_it_is_examined() {
    let ground = Ground::filled();
    let files = |dir: &str| -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(ground.path(dir))
            .unwrap()
            .map(|entry| format!("{dir}/{}", entry.unwrap().file_name().to_str().unwrap()))
            .collect();
        names.sort();
        names
    };
    let mut names = files("commitlog");
    names.extend(files("consumequeue/A/0"));
    names.extend(files("index"));
    names.push("checkpoint".into());
    let (mut runs, mut unseen) = (0, 0);
    for name in &names {
        let whole = ground.read(name);
        for at in (0..whole.len()).step_by(whole.len().div_ceil(60)) {
            let flipped = [&whole[..at], &[whole[at] ^ 0x10], &whole[at + 1..]].concat();
            let zeroed = [&whole[..at], &vec![0; whole.len() - at]].concat();
            for (how, bytes) in [("flip", flipped), ("zero", zeroed), ("cut", whole[..at].to_vec())] {
                let same = bytes == whole;
                fs::write(ground.path(name), bytes).unwrap();
                let (found, checked) = match Folder::open(ground.layout()) {
                    Ok(_) => ground.check(),
                    Err(error) => panic!("{how} {name} at {at}: {error}"),
                };
                runs += 1;
                assert!(checked.records <= 60, "{how} {name} at {at}");
                assert!(!same || found.is_empty(), "{how} {name} at {at}: {found:?}");
                // Not all bytes have a meaning: hosts, born times, the rest of filler.
                if !same && found.is_empty() {
                    unseen += 1;
                    assert!(how != "cut" && !name.starts_with("consumequeue"), "{how} {name} at {at}");
                }
                let folder = ground.open();
                inspect::stat(&folder, &mut Findings::default()).unwrap();
                let key = Wanted { key: Some("key-33".into()), ..Wanted::default() };
                ground.records(&key);
            }
        }
        fs::write(ground.path(name), &whole).unwrap();
    }
    assert_eq!(ground.check().0, []);
    println!("{runs} damages, {unseen} of them where nothing looks");
    assert!(runs > 1000 && unseen * 5 < runs, "{unseen} of {runs}");
}

fn plan(ground: &Ground) -> (Plan, Vec<Finding>) {
    let (found, folder) = (ground.check().0, ground.open());
    let mut plan = Plan::default();
    found.iter().for_each(|finding| plan.add(&folder, finding));
    (plan, found)
}

#[test]
fn derived_files_are_built_again_as_they_were_and_the_old_ones_kept() {
    type Damage<'a> = (&'a str, &'a dyn Fn(&Ground));
    let damages: &[Damage<'_>] = &[
        ("a wrong unit", &|ground| ground.write_at(QUEUE, 40, &[0x7f; 8])),
        ("a missing file", &|ground| fs::remove_file(ground.path(QUEUE)).unwrap()),
        ("a missing queue", &|ground| fs::remove_dir_all(ground.path("consumequeue/A/0")).unwrap()),
        ("no queue at all", &|ground| fs::remove_dir_all(ground.path("consumequeue/A")).unwrap()),
        ("a short file", &|ground| {
            fs::OpenOptions::new().write(true).open(ground.path(QUEUE)).unwrap().set_len(20).unwrap();
        }),
        ("an index without its middle", &|ground| {
            let mut names: Vec<_> =
                fs::read_dir(ground.path("index")).unwrap().map(|e| e.unwrap().path()).collect();
            names.sort();
            fs::remove_file(&names[1]).unwrap();
        }),
    ];
    for (name, damage) in damages {
        let ground = Ground::filled();
        let log = |ground: &Ground| [FIRST, SECOND, THIRD].map(|name| ground.read(name));
        let before = (ground.read(QUEUE), log(&ground));
        damage(&ground);
        let (plan, found) = plan(&ground);
        assert!(!found.is_empty() && !plan.steps().is_empty(), "{name}");
        let rule: TagsRule = Box::new(tags_of);
        let aside = inspect::repair(&ground.open(), &plan, &rule, &mut Findings::default()).unwrap();
        assert_eq!(ground.check().0, [], "{name}");
        assert_eq!((ground.read(QUEUE), log(&ground)), before, "{name}");
        assert!(aside.starts_with(ground.dir.path()), "{name}");
        assert!(!aside.join("new").exists(), "{name}");
        // The store opens it, and finds what a key names.
        let store = ground.store();
        let query = KeyQuery { topic: "A", key: "key-31", max: 9, begin_ms: 0, end_ms: i64::MAX };
        assert_eq!(store.query(&query).records.len(), 1, "{name}");
    }
}

#[test]
fn what_was_replaced_is_kept() {
    let ground = Ground::filled();
    ground.write_at(QUEUE, 40, &[0x7f; 8]);
    let damaged = ground.read(QUEUE);
    let (plan, _) = plan(&ground);
    assert_eq!(plan.steps(), [Step::BuildQueue(QueueName { topic: "A".into(), id: 0 })]);
    let rule: TagsRule = Box::new(tags_of);
    let aside = inspect::repair(&ground.open(), &plan, &rule, &mut Findings::default()).unwrap();
    assert_eq!(fs::read(aside.join(QUEUE)).unwrap(), damaged);
}

#[test]
fn a_torn_tail_is_kept_and_cut() {
    let ground = Ground::filled();
    let end = ground.check().1.log_end;
    ground.write_at(THIRD, end - 6000, b"\0\0\0\x50torn");
    let (plan, _) = plan(&ground);
    assert_eq!(plan.steps(), [Step::CutTail { at: end, bytes: 8 }]);
    let rule: TagsRule = Box::new(tags_of);
    let aside = inspect::repair(&ground.open(), &plan, &rule, &mut Findings::default()).unwrap();
    assert_eq!(ground.check().0, []);
    let kept = aside.join(format!("commitlog/{end:020}-8-bytes"));
    assert_eq!(fs::read(kept).unwrap(), b"\0\0\0\x50torn");
}

/// Rebuilding must take nothing away of what stands behind damage, and leave the damage to be seen.
#[test]
fn damage_in_the_middle_stays_and_so_does_what_is_behind_it() {
    let ground = Ground::filled();
    let (seventh, _) = ground.place(7);
    ground.write_at(FIRST, seventh, &[0; 150]);
    ground.write_at(QUEUE_2, 0, &[0; 20]);
    let log = [FIRST, SECOND, THIRD].map(|name| ground.read(name));
    let (plan, _) = plan(&ground);
    let rule: TagsRule = Box::new(tags_of);
    inspect::repair(&ground.open(), &plan, &rule, &mut Findings::default()).unwrap();
    assert_eq!([FIRST, SECOND, THIRD].map(|name| ground.read(name)), log);
    let (found, checked) = ground.check();
    assert_eq!(checked.records, 58);
    assert_eq!(severities(&found), [Severity::Damage], "{found:?}");
}

#[test]
fn a_folder_in_use_is_examined_but_not_repaired() {
    let ground = Ground::filled();
    let store = ground.store();
    append(&store, "A", 0, "fresh", "too young to be looked at");
    let (found, checked) = ground.check();
    assert_eq!((found, checked.records), (vec![], 0), "all are younger than 5 s");
    assert_eq!(ground.open().state(), Use::Running);
    let rule: TagsRule = Box::new(tags_of);
    let refused = inspect::repair(&ground.open(), &Plan::default(), &rule, &mut Findings::default());
    assert!(matches!(refused, Err(RepairError::Running { .. })), "{refused:?}");
    drop(store);
    assert_eq!(ground.open().state(), Use::NotClosed);
    let rule: TagsRule = Box::new(tags_of);
    // Between listing and repairing a broker may have come.
    let folder = ground.open();
    let _store = ground.store();
    let refused = inspect::repair(&folder, &Plan::default(), &rule, &mut Findings::default());
    assert!(matches!(refused, Err(RepairError::Running { .. })), "{refused:?}");
}

/// What a crash leaves is not taken for damage: the next start puts it right.
#[test]
fn what_a_crash_leaves_is_only_noted() {
    let ground = Ground::filled();
    let store = ground.store();
    append(&store, "A", 0, "late", "its unit is in a file");
    append(&store, "C", 0, "late", "its queue, too");
    store.close().unwrap();
    drop(store);
    fs::write(ground.path("abort"), "").unwrap();
    // As if the units had been in memory only. The checkpoint is that of a store that was closed before.
    let whole = ground.read("consumequeue/A/0/00000000000000000400");
    ground.write_at("consumequeue/A/0/00000000000000000400", 0, &vec![0; whole.len()]);
    fs::remove_dir_all(ground.path("consumequeue/C")).unwrap();
    let why = |ground: &Ground| -> Vec<_> {
        let found = ground.check().0.into_iter();
        found
            .filter_map(|finding| match finding.what {
                What::NotInQueue { queue, why, .. } => Some((queue.topic.to_string(), why)),
                _ => None,
            })
            .collect()
    };
    assert_eq!(why(&ground), [("C".into(), NotInQueue::NoFolder), ("A".into(), NotInQueue::Behind)]);
    let mark = ground.records(&Wanted { key: Some("late".into()), ..Wanted::default() })[0].0;
    let mut ours = ground.read("checkpoint")[2048..2080].to_vec();
    ours[8..16].copy_from_slice(&mark.to_be_bytes());
    let crc = crc32fast::hash(&ours[..28]);
    ours[28..].copy_from_slice(&crc.to_be_bytes());
    ground.write_at("checkpoint", 2048, &ours);
    assert_eq!(why(&ground), [("C".into(), NotInQueue::Behind), ("A".into(), NotInQueue::Behind)]);
    assert!(severities(&ground.check().0).iter().all(|severity| *severity == Severity::Note));
}

/// The header of an index file comes after its slots and entries; a broker may be killed in between.
#[test]
fn slots_that_are_newer_than_the_header_are_left_by_a_crash_only() {
    let ground = Ground::filled();
    let mut names: Vec<_> =
        fs::read_dir(ground.path("index")).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    let slots = |path: &PathBuf| {
        let mut bytes = fs::read(path).unwrap();
        let next = bytes[36..40].to_vec();
        bytes[40..44].copy_from_slice(&next);
        fs::write(path, bytes).unwrap();
    };
    let chains = |ground: &Ground| {
        let found = ground.check().0;
        found.iter().filter(|finding| matches!(finding.what, What::IndexChain { first: 0, .. })).count()
    };
    slots(&names[2]);
    assert_eq!(chains(&ground), 1);
    fs::write(ground.path("abort"), "").unwrap();
    assert_eq!(chains(&ground), 0);
    slots(&names[1]);
    assert_eq!(chains(&ground), 1, "nobody writes to that one any more");
}

#[test]
fn records_are_found_by_place_queue_key_and_time() {
    let ground = Ground::filled();
    let all = ground.records(&Wanted::default());
    assert_eq!(all.len(), 60);
    let bodies = |wanted: Wanted| -> Vec<String> {
        ground
            .records(&wanted)
            .into_iter()
            .map(|(_, body)| body.replace("body of the message ", ""))
            .collect()
    };
    assert_eq!(bodies(Wanted { offset: Some(all[57].0), ..Wanted::default() }), ["57", "58", "59"]);
    assert_eq!(bodies(Wanted { offset: Some(all[57].0 + 1), ..Wanted::default() }), ["58", "59"]);
    let queue = Wanted { topic: Some("A".into()), queue: Some(1), from: Some(18), ..Wanted::default() };
    assert_eq!(bodies(queue.clone()), ["56", "59"]);
    let key = Wanted { key: Some("key-33".into()), ..Wanted::default() };
    assert_eq!(bodies(key.clone()), ["33"]);
    assert_eq!(bodies(Wanted { topic: Some("A".into()), ..key.clone() }), [""; 0]);
    let future = Wanted { since_ms: Some(i64::MAX), ..Wanted::default() };
    assert_eq!(bodies(future), [""; 0]);
    assert_eq!(bodies(Wanted { until_ms: Some(0), ..Wanted::default() }), [""; 0]);
    assert_eq!(bodies(Wanted { since_ms: Some(0), until_ms: Some(i64::MAX), ..Wanted::default() }).len(), 60);
    // Without queues and index the log is walked.
    fs::remove_dir_all(ground.path("index")).unwrap();
    assert_eq!(bodies(key), ["33"]);
    fs::remove_dir_all(ground.path("consumequeue")).unwrap();
    assert_eq!(bodies(queue), ["56", "59"]);
}

#[test]
fn stat_counts_what_is_there() {
    let ground = Ground::filled();
    let count = |ground: &Ground| {
        let stat = inspect::stat(&ground.open(), &mut Findings::default()).unwrap();
        let topics: Vec<_> =
            stat.topics.iter().map(|topic| (topic.topic.clone(), topic.queues, topic.messages)).collect();
        (topics, stat.log_bytes, stat.segments.len(), stat.index_files)
    };
    let end = ground.check().1.log_end;
    assert_eq!(count(&ground), (vec![("A".into(), 2, 40), ("B".into(), 1, 20)], end, 3, 3));
    fs::remove_dir_all(ground.path("consumequeue")).unwrap();
    assert_eq!(count(&ground), (vec![], end, 3, 3));
}

#[test]
fn what_is_no_store_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let open = |root: PathBuf| Folder::open(Layout { root, ..Layout::default() });
    assert!(matches!(open(dir.path().into()), Err(InspectError::NoStore { .. })));
    assert!(matches!(open(dir.path().join("nothing")), Err(InspectError::NoStore { .. })));
    fs::create_dir(dir.path().join("commitlog")).unwrap();
    let folder = open(dir.path().into()).unwrap();
    let mut findings = Findings::default();
    let checked = inspect::check(&folder, &|_| true, &|_| None, &mut findings).unwrap();
    assert_eq!((checked.records, checked.log_end), (0, 0));
    assert!(findings.all.iter().all(|finding| finding.severity() == Severity::Note), "{:?}", findings.all);
    fs::write(dir.path().join("commitlog/00000000000000000000"), "").unwrap();
    assert!(matches!(open(dir.path().into()), Err(InspectError::NoLength { .. })));
}

#[test]
fn what_the_index_lacks_is_found() {
    let ground = Ground::filled();
    let names = |ground: &Ground| {
        let mut names: Vec<_> =
            fs::read_dir(ground.path("index")).unwrap().map(|entry| entry.unwrap().path()).collect();
        names.sort();
        names
    };
    fs::remove_file(&names(&ground)[1]).unwrap();
    let what: Vec<_> = ground.check().0.into_iter().map(|finding| finding.what).collect();
    assert_eq!(what, [What::KeysMissing { count: 27 }]);

    let ground = Ground::filled();
    fs::remove_file(&names(&ground)[2]).unwrap();
    let found = ground.check().0;
    assert_eq!(found[0].what, What::IndexBehind { count: 6 });
    assert_eq!(severities(&found), [Severity::Note]);

    fs::OpenOptions::new().write(true).open(&names(&ground)[0]).unwrap().set_len(100).unwrap();
    assert!(matches!(ground.check().0[0].what, What::Length { found: 100, .. }));
}
