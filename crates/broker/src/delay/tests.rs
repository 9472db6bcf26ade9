// SPDX-License-Identifier: Apache-2.0
//! What is sent, and what Java makes of it; and the engine with its files against a simple model, on a log and a clock
//! that go as the test wants.

use super::{
    DelayRules, Levels, Waiting, dispatch_rule,
    engine::{Engine, Line, Next, World},
    pending::Sizes,
    progress::{Files, Version},
    rewrite,
};
use crate::{
    Broker,
    fixture::{Fixture, GOLDEN, Stored, by_name},
    refusal::Refusal,
};
use bytes::Bytes;
use oxmq_record::{Draft, Encoder, RecordView, properties, stamp};
use oxmq_remoting::code::request as codes;
use oxmq_store::Unit;
use oxmq_types::{PhysicalOffset, QueueId, QueueOffset, SCHEDULE_TOPIC, TIMER_TOPIC, TagsCode};
use proptest::prelude::*;
use serde_json::json;
use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    path::Path,
    str::FromStr,
    time::{Duration, Instant},
};

const NOW: i64 = 1_795_240_155_709;

fn text(properties: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in properties {
        properties::append(&mut out, name, value.as_bytes());
    }
    out
}

fn redirect(sent: &[(&str, &str)]) -> (Result<Option<Waiting>, Refusal>, String) {
    let mut properties = text(sent);
    let waiting = rewrite::redirect(&DelayRules::default(), ("T", QueueId(3)), &mut properties, NOW);
    let after = String::from_utf8(properties).unwrap().replace('\u{1}', "=").replace('\u{2}', " ");
    (waiting, after)
}

#[test]
fn redirects_as_java_does() {
    // Seen on Java 5.3.3: properties that the consumer got, slots, handles.
    let check = |sent: &[(&str, &str)], waits: Option<(&str, u32, i64)>, after: &str| {
        let (waiting, properties) = redirect(sent);
        let waiting =
            waiting.unwrap().map(|waiting| (waiting.topic, waiting.queue_id.0, waiting.due_ms - NOW));
        assert_eq!(waiting, waits, "{sent:?}");
        assert_eq!(properties, after, "{sent:?}");
    };
    let schedule = |level: u32, ms| Some((SCHEDULE_TOPIC, level - 1, ms));
    let timer = |ms| Some((TIMER_TOPIC, 0, ms));
    check(&[("DELAY", "1")], schedule(1, 1_000), "DELAY=1 REAL_TOPIC=T REAL_QID=3 ");
    check(&[("DELAY", "+2"), ("TAGS", "A")], schedule(2, 5_000), "DELAY=+2 TAGS=A REAL_TOPIC=T REAL_QID=3 ");
    check(&[("DELAY", "19")], schedule(18, 7_200_000), "DELAY=18 REAL_TOPIC=T REAL_QID=3 ");
    check(&[("DELAY", "0")], None, "DELAY=0 ");
    check(&[("DELAY", "-1")], None, "DELAY=-1 ");
    check(
        &[("TIMER_DELAY_SEC", "2"), ("DELAY", "2")],
        schedule(2, 5_000),
        "DELAY=2 REAL_TOPIC=T REAL_QID=3 ",
    );
    let out = "TIMER_OUT_MS=1795240157000 REAL_TOPIC=T REAL_QID=3 ";
    check(&[("TIMER_DELAY_SEC", "2")], timer(2_000), &format!("TIMER_DELAY_SEC=2 {out}"));
    check(&[("TIMER_DELAY_MS", "+1500")], timer(1_500), &format!("TIMER_DELAY_MS=+1500 {out}"));
    check(
        &[("TIMER_DELAY_SEC", "2"), ("DELAY", "0")],
        timer(2_000),
        &format!("TIMER_DELAY_SEC=2 DELAY=0 {out}"),
    );
    // Of several the first counts, the others need not even be numbers.
    check(
        &[("TIMER_DELIVER_MS", "x"), ("TIMER_DELAY_SEC", "2")],
        timer(2_000),
        &format!("TIMER_DELIVER_MS=x TIMER_DELAY_SEC=2 {out}"),
    );
    // On the edge of a slot, the slot before.
    check(
        &[("TIMER_DELIVER_MS", "1795240158000")],
        timer(2_291),
        &format!("TIMER_DELIVER_MS=1795240158000 {out}"),
    );
    // What the sender says of the target is replaced.
    check(
        &[("REAL_TOPIC", "SCHEDULE_TOPIC_XXXX"), ("REAL_QID", "x"), ("DELAY", "1")],
        schedule(1, 1_000),
        "DELAY=1 REAL_TOPIC=T REAL_QID=3 ",
    );
    // A time that has come is no delay; nor is one that was kept.
    for (name, value) in
        [("TIMER_DELIVER_MS", "1795240155709"), ("TIMER_DELAY_SEC", "-5"), ("TIMER_DELAY_MS", "0")]
    {
        check(&[(name, value)], None, &format!("{name}={value} "));
    }
    check(&[("TIMER_OUT_MS", "5"), ("TIMER_DELAY_SEC", "2")], None, "TIMER_OUT_MS=5 TIMER_DELAY_SEC=2 ");
    check(&[], None, "");
}

#[test]
fn refuses_what_is_no_delay() {
    let check = |sent: &[(&str, &str)], code: i32, remark: &str| {
        let refusal = redirect(sent).0.expect_err(remark);
        assert_eq!(refusal.code(), code, "{sent:?}");
        assert!(refusal.to_string().starts_with(remark), "{refusal}");
    };
    for level in ["text", " 3", "99999999999", "1.5"] {
        check(&[("DELAY", level)], 1, &format!("the delay level \"{level}\" is no number"));
    }
    let illegal = "timer message illegal, the delay time should not be bigger than the max delay 259200000ms; or if set \
                   del msg, the delay time should be bigger than the current time";
    let past_end = (NOW + 3 * 86_400_000 + 1).to_string();
    for (name, value) in [
        ("TIMER_DELIVER_MS", "x"),
        ("TIMER_DELAY_SEC", "1s"),
        ("TIMER_DELAY_MS", ""),
        ("TIMER_DELIVER_MS", &past_end),
        ("TIMER_DELAY_SEC", "259201"),
        ("TIMER_DELAY_SEC", "9223372036854775807"),
        ("TIMER_DELAY_MS", "9223372036854775807"),
    ] {
        if !value.is_empty() {
            check(&[(name, value)], 13, illegal);
        }
    }
    check(&[("TIMER_DELIVER_MS", "5"), ("TIMER_DEL_UNIQKEY", "T+k")], 13, illegal);
    let off = DelayRules { timer: false, ..DelayRules::default() };
    let refusal =
        rewrite::redirect(&off, ("T", QueueId(0)), &mut text(&[("TIMER_DELAY_SEC", "x")]), NOW).unwrap_err();
    assert_eq!(
        refusal,
        Refusal::System("accurate timer message is not enabled, timerWheelEnable is false".into())
    );
}

fn record(topic: &str, queue_id: u32, stored_ms: i64, properties: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let draft = Draft {
        topic,
        queue_id: QueueId(queue_id),
        flag: 7,
        sys_flag: 0,
        born_timestamp_ms: 11,
        born_host: ([10, 0, 0, 1], 1).into(),
        store_host: ([10, 0, 0, 2], 2).into(),
        reconsume_times: 4,
        prepared_transaction_offset: 0,
        body: b"body",
        properties,
    };
    Encoder::new(1 << 20).encode(&draft, &mut out).unwrap();
    stamp(&mut out, QueueOffset(0), PhysicalOffset(0), stored_ms);
    out
}

#[test]
fn reads_the_exact_time_of_records_of_java_and_of_its_own() {
    let check = |properties: &[(&str, &str)], due_ms: Option<i64>| {
        let record = record(TIMER_TOPIC, 0, 5_500, &text(properties));
        let timed = rewrite::timed(&DelayRules::default(), &RecordView::parse(&record).unwrap());
        assert_eq!(timed.map(|timed| timed.due_ms), due_ms, "{properties:?}");
    };
    check(&[("TIMER_DELAY_SEC", "10"), ("TIMER_OUT_MS", "15000")], Some(15_500));
    check(&[("TIMER_DELAY_MS", "1"), ("TIMER_OUT_MS", "5000")], Some(5_501));
    check(&[("TIMER_DELIVER_MS", "15001"), ("TIMER_OUT_MS", "15000")], Some(15_001));
    // Moved on by Java: stored anew; never early then.
    check(&[("TIMER_DELAY_SEC", "10"), ("TIMER_OUT_MS", "15000"), ("TIMER_ROLL_TIMES", "1")], Some(16_000));
    // Sent when slots were longer: not early.
    check(&[("TIMER_DELAY_SEC", "49"), ("TIMER_OUT_MS", "0")], Some(54_500));
    check(&[("TIMER_DELIVER_MS", "60000"), ("TIMER_OUT_MS", "0")], Some(60_000));
    // The clock was set back before it was stored.
    check(&[("TIMER_DELAY_SEC", "1"), ("TIMER_OUT_MS", "15000")], Some(16_000));
    check(&[("TIMER_OUT_MS", "15000")], Some(16_000));
    // A recall comes before the messages of its slot.
    check(
        &[("TIMER_DELIVER_MS", "15001"), ("TIMER_OUT_MS", "15000"), ("TIMER_DEL_UNIQKEY", "T+k")],
        Some(15_000),
    );
    check(&[("TIMER_DELAY_SEC", "10")], None);
    check(&[("TIMER_OUT_MS", "x")], None);
}

#[test]
fn recovery_gives_levels_their_time_back() {
    let rule = dispatch_rule(Levels::default());
    let check = |topic, properties: &[(&str, &str)], expected| {
        let record = record(topic, 0, 5_000, &text(properties));
        assert_eq!(rule(&RecordView::parse(&record).unwrap()), TagsCode(expected), "{properties:?}");
    };
    check(SCHEDULE_TOPIC, &[("DELAY", "2"), ("TAGS", "TagA")], 10_000);
    check(SCHEDULE_TOPIC, &[("DELAY", "99")], 7_205_000);
    for level in ["0", "-1", "x"] {
        check(SCHEDULE_TOPIC, &[("DELAY", level), ("TAGS", "TagA")], 2_598_919);
    }
    check("T", &[("DELAY", "2"), ("TAGS", "TagA")], 2_598_919);
}

/// One thing in the log.
#[derive(Debug, Clone)]
enum Entry {
    Waits { id: usize, line: Line, unit: Unit, record: Bytes },
    Delivered { id: usize, at_ms: i64 },
}

/// How the next puts end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Unavailable,
    Illegal,
    NoQueue,
}

/// A log and a clock.
#[derive(Debug, Default)]
struct FakeWorld {
    now_ms: Cell<i64>,
    log: RefCell<Vec<Entry>>,
    trouble: Cell<Option<(Trouble, u8)>>,
    /// So many times queues cannot be read beyond the next unit.
    unreadable: Cell<u8>,
    /// So many messages of the timer's queue are too old to be there.
    gone: Cell<u64>,
    /// So many readings of records fail.
    records_unreadable: Cell<u64>,
}

impl FakeWorld {
    fn waiting(&self, line: Line) -> Vec<Unit> {
        let log = self.log.borrow();
        let units = log.iter().filter_map(|entry| match entry {
            Entry::Waits { line: of, unit, .. } if *of == line => Some(*unit),
            _ => None,
        });
        units.collect()
    }

    /// Sends the message `id` with these properties. Says when it is due, if it waits.
    fn send(&self, id: usize, properties: Vec<u8>, rules: &DelayRules) -> Option<Waiting> {
        self.send_to("T", id, properties, rules)
    }

    fn send_to(
        &self,
        topic: &str,
        id: usize,
        mut properties: Vec<u8>,
        rules: &DelayRules,
    ) -> Option<Waiting> {
        let now_ms = self.now_ms.get();
        properties::append(&mut properties, "UNIQ_KEY", format!("k{id}").as_bytes());
        let waiting = rewrite::redirect(rules, (topic, QueueId(0)), &mut properties, now_ms).unwrap()?;
        let record: Bytes = record(waiting.topic, waiting.queue_id.0, now_ms, &properties).into();
        let line = match waiting.topic {
            TIMER_TOPIC => Line::Timer,
            _ => Line::Level(waiting.queue_id.0 + 1),
        };
        let mut log = self.log.borrow_mut();
        let unit = Unit {
            physical: PhysicalOffset(log.len() as u64),
            size: record.len() as u32,
            tags_code: waiting.tags_code,
        };
        log.push(Entry::Waits { id, line, unit, record });
        Some(waiting)
    }
}

impl World for FakeWorld {
    fn now_ms(&self) -> i64 {
        self.now_ms.get()
    }

    fn range(&self, line: Line) -> (u64, u64) {
        let gone = if line == Line::Timer { self.gone.get() } else { 0 };
        (gone, self.waiting(line).len() as u64)
    }

    fn units(&self, line: Line, from: u64, max: usize, out: &mut Vec<Unit>) -> Result<(), String> {
        let units = self.waiting(line).into_iter().skip(from as usize);
        if let Some(left) = self.unreadable.get().checked_sub(1) {
            self.unreadable.set(left);
            out.extend(units.take(max - 1).take(1));
            return Err("torn".into());
        }
        out.extend(units.take(max));
        Ok(())
    }

    fn record(&self, unit: &Unit) -> Result<Option<Bytes>, String> {
        if let Some(left) = self.records_unreadable.get().checked_sub(1) {
            self.records_unreadable.set(left);
            return Err("the disk".into());
        }
        Ok(match self.log.borrow().get(unit.physical.0 as usize) {
            Some(Entry::Waits { record, .. }) => Some(record.clone()),
            Some(Entry::Delivered { .. }) | None => None,
        })
    }

    fn put(&self, draft: &Draft<'_>) -> Result<(), Refusal> {
        if let Some((trouble, left)) = self.trouble.get() {
            self.trouble.set((left > 1).then(|| (trouble, left - 1)));
            return Err(match trouble {
                Trouble::Unavailable => Refusal::ServiceNotAvailable("no".into()),
                Trouble::Illegal => Refusal::MessageIllegal("no".into()),
                Trouble::NoQueue => Refusal::Parameter("no".into()),
            });
        }
        assert_eq!((draft.topic, draft.queue_id, draft.flag), ("T", QueueId(0), 7));
        assert_eq!((draft.born_timestamp_ms, draft.reconsume_times, draft.body), (11, 4, &b"body"[..]));
        let key = properties::find(draft.properties, "UNIQ_KEY").unwrap();
        let id = str::from_utf8(key).unwrap()[1..].parse().unwrap();
        self.log.borrow_mut().push(Entry::Delivered { id, at_ms: self.now_ms.get() });
        Ok(())
    }
}

/// `config/timercheck` of a Java broker 5.3.3 that was closed.
const TIMER_CHECK: &str = "000001a1fcd866f8000000000000013800000000000000060000000000000006\
                           0000000000000000000001a1fcd86747000000000000002a";
/// Its first number: slots before this time are delivered.
const READ_MS: i64 = 1_795_243_403_000;

fn timer_check() -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&TIMER_CHECK[2 * at..2 * at + 2], 16).unwrap();
    let mut page: Vec<u8> = (0..56).map(byte).collect();
    page.resize(4096, 0);
    page
}

#[test]
fn goes_on_where_a_java_broker_ended() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config");
    std::fs::create_dir_all(&config).unwrap();
    std::fs::create_dir_all(dir.path().join("timerlog")).unwrap();
    std::fs::write(dir.path().join("timerwheel"), "").unwrap();
    std::fs::write(config.join("timercheck"), timer_check()).unwrap();
    let offsets = "{\n\t\"dataVersion\":{\"counter\":2,\"stateVersion\":0,\"timestamp\":7},\n\
                   \t\"offsetTable\":{1:1,0:9,19:0\n\t}\n}";
    std::fs::write(config.join("delayOffset.json"), offsets).unwrap();

    let (rules, files, world) = (DelayRules::default(), Files::new(dir.path()), FakeWorld::default());
    let send = |id, at_ms, name: &str, value: i64| {
        world.now_ms.set(at_ms);
        world.send(id, text(&[(name, &value.to_string())]), &rules).unwrap();
    };
    let sent_ms = READ_MS - 10_000;
    send(0, sent_ms, "DELAY", 1);
    send(1, sent_ms, "DELAY", 1);
    // Of the timer's queue Java has read six messages: delivered are those of slots before the time that it gives.
    for (id, due_ms) in [(2, -5_000), (3, 0), (4, 1), (5, 500), (6, 1_000), (7, 9_000)] {
        send(id, sent_ms, "TIMER_DELIVER_MS", READ_MS + due_ms);
    }
    // What it has not read is pending, whenever it is due.
    send(8, sent_ms, "TIMER_DELIVER_MS", READ_MS - 3_000);

    world.now_ms.set(READ_MS + 20_000);
    let (mut engine, mut version) = files.load(&rules, SIZES, 1..19, &world).unwrap();
    let run = |engine: &mut Engine| while engine.step(&world) == Next::Now {};
    run(&mut engine);
    let came = |from: usize| -> Vec<usize> {
        let log = world.log.borrow();
        let ids = log[from..].iter().filter_map(|entry| match entry {
            Entry::Delivered { id, .. } => Some(*id),
            Entry::Waits { .. } => None,
        });
        ids.collect()
    };
    assert_eq!(came(0), [1, 8, 4, 5, 6, 7]);
    let save = |engine: &mut Engine, version: &mut Version| {
        files.save(&Files::snapshot(engine, version, READ_MS)).unwrap();
    };
    save(&mut engine, &mut version);
    assert!(!dir.path().join("timerwheel").exists() && !dir.path().join("timerlog").exists());
    let saved = std::fs::read_to_string(config.join("delayOffset.json")).unwrap();
    assert_eq!(
        saved,
        format!(
            r#"{{"dataVersion":{{"counter":3,"stateVersion":0,"timestamp":{READ_MS}}},"offsetTable":{{1:2}}}}"#
        )
    );

    // Opened again it knows; a Java broker that worked here in between knows better.
    let length = world.log.borrow().len();
    let (mut engine, mut version) = files.load(&rules, SIZES, 1..19, &world).unwrap();
    run(&mut engine);
    assert_eq!(came(length), [0; 0]);
    save(&mut engine, &mut version);
    let mut other = timer_check();
    other[55] += 1;
    std::fs::write(config.join("timercheck"), other).unwrap();
    let (mut engine, _) = files.load(&rules, SIZES, 1..19, &world).unwrap();
    run(&mut engine);
    assert_eq!(came(length), [8, 4, 5, 6, 7]);
}

#[test]
fn files_that_are_lost_or_damaged_lose_no_message() {
    let check = |what: &str, damage: &dyn Fn(&Path), twice: bool| {
        let dir = tempfile::tempdir().unwrap();
        let mut bench = Bench::new(dir.path());
        for (id, name, value) in [(40, "TIMER_DELAY_MS", "100"), (41, "DELAY", "1"), (42, "DELAY", "1")] {
            bench.world.send(id, text(&[(name, value)]), &bench.rules).unwrap();
        }
        // Two are set aside, and others behind them delivered.
        bench.world.now_ms.set(NOW + 1_000);
        bench.world.trouble.set(Some((Trouble::Illegal, 2)));
        bench.run();
        assert_eq!(bench.engine.aside().len(), 2);
        for id in 0..40 {
            let delay = if id % 2 == 0 { "1500" } else { "9000" };
            bench.world.send(id, text(&[("TIMER_DELAY_MS", delay)]), &bench.rules).unwrap();
        }
        bench.world.now_ms.set(NOW + 2_600);
        bench.world.trouble.set(Some((Trouble::Illegal, 2)));
        bench.run();
        assert_eq!(bench.engine.aside().len(), 2);
        bench.save();
        damage(&dir.path().join("delay"));
        bench.reopen();
        bench.world.now_ms.set(NOW + 12_000);
        bench.run();
        let mut came = BTreeMap::<usize, u32>::new();
        for entry in bench.world.log.borrow().iter() {
            if let Entry::Delivered { id, .. } = entry {
                *came.entry(*id).or_default() += 1;
            }
        }
        assert_eq!(came.len(), 43, "{what}");
        assert_eq!(came.values().any(|times| *times > 1), twice, "{what}: {came:?}");
    };
    let each_run = |folder: &Path, change: &dyn Fn(&Path)| {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.file_name().to_string_lossy().starts_with("run-") {
                change(&entry.path());
            }
        }
    };
    check("nothing", &|_| {}, false);
    check("no runs", &|folder| each_run(folder, &|run| std::fs::remove_file(run).unwrap()), false);
    check("empty runs", &|folder| each_run(folder, &|run| std::fs::write(run, "").unwrap()), false);
    check("zeros", &|folder| each_run(folder, &|run| std::fs::write(run, [0; 4096]).unwrap()), false);
    let of_java = |folder: &Path| {
        let file = folder.parent().unwrap().join("config/timercheck");
        let mut check = std::fs::read(&file).unwrap();
        check[55] += 1;
        std::fs::write(file, check).unwrap();
    };
    check("a Java broker was here", &of_java, true);
    // Then Java's file tells: from the oldest message that waits on, they come again.
    check("no folder", &|folder| std::fs::remove_dir_all(folder).unwrap(), true);
    check(
        "no checkpoint",
        &|folder| {
            std::fs::write(folder.join("checkpoint"), "{").unwrap();
            let _ = std::fs::remove_file(folder.join("checkpoint.bak"));
        },
        true,
    );
}

/// What a test does next.
#[derive(Debug, Clone)]
enum Step {
    Level(u32),
    After(i64),
    /// The message that was sent so many messages ago.
    Recall(usize),
    Run,
    Clock(i64),
    SetBack(i64),
    Trouble(Trouble, u8),
    Save,
    /// The power goes: of what was not saved, this part of 255 remains.
    Crash(u8),
    /// A run file is damaged, while it is open or before a start.
    Damage(bool),
    Reopen,
    /// Our own checkpoint is lost.
    Forget,
    /// Queues cannot be read, so many times.
    Unreadable(u8),
    /// Run files cannot be written, from now on or not any more.
    Full(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1..4_u32).prop_map(Step::Level),
        8 => (1..20_000_i64).prop_map(Step::After),
        2 => (1..6_usize).prop_map(Step::Recall),
        6 => Just(Step::Run),
        5 => (0..4_000_i64).prop_map(Step::Clock),
        1 => (1..5_000_i64).prop_map(Step::SetBack),
        1 => (prop_oneof![Just(Trouble::Unavailable), Just(Trouble::Illegal)], 1..6_u8)
            .prop_map(|(trouble, times)| Step::Trouble(trouble, times)),
        2 => Just(Step::Save),
        1 => any::<u8>().prop_map(Step::Crash),
        1 => any::<bool>().prop_map(Step::Damage),
        1 => Just(Step::Reopen),
        1 => Just(Step::Forget),
        1 => (1..9_u8).prop_map(Step::Unreadable),
        1 => any::<bool>().prop_map(Step::Full),
    ]
}

/// What must come of a message.
#[derive(Debug)]
struct Sent {
    due_ms: i64,
    slot_ms: Option<i64>,
    /// The message that recalled it before its slot began.
    recall: Option<usize>,
    /// Recalled when it may have been too late.
    recalled_late: bool,
}

struct Bench<'a> {
    rules: DelayRules,
    files: Files,
    dir: &'a Path,
    world: FakeWorld,
    engine: Engine,
    version: Version,
    /// Length of the log when it was saved last.
    durable: usize,
}

const SIZES: Sizes = Sizes { table: 5, distance: 12 };

impl<'a> Bench<'a> {
    fn new(dir: &'a Path) -> Self {
        let rules = DelayRules { levels: Levels::parse("1s 3s 10s").unwrap(), ..DelayRules::default() };
        let (files, world) = (Files::new(dir), FakeWorld::default());
        world.now_ms.set(NOW);
        std::fs::create_dir_all(dir.join("config")).unwrap();
        let (engine, version) = files.load(&rules, SIZES, 1..4, &world).unwrap();
        Self { rules, files, dir, world, engine, version, durable: 0 }
    }

    fn run(&mut self) -> Next {
        for _ in 0..10_000 {
            match self.engine.step(&self.world) {
                Next::Now => {}
                next => return next,
            }
        }
        panic!("the engine does not come to rest");
    }

    fn save(&mut self) {
        self.durable = self.world.log.borrow().len();
        let snapshot = Files::snapshot(&mut self.engine, &mut self.version, self.world.now_ms.get());
        self.files.save(&snapshot).unwrap();
    }

    fn reopen(&mut self) {
        (self.engine, self.version) = self.files.load(&self.rules, SIZES, 1..4, &self.world).unwrap();
    }

    fn crash(&mut self, part: u8) {
        let mut log = self.world.log.borrow_mut();
        let lost = (log.len() - self.durable) * usize::from(255 - part) / 255;
        let length = log.len() - lost;
        log.truncate(length);
        drop(log);
        self.reopen();
    }

    /// Has a folder stand where the next run is to be written, or not.
    fn full(&self, full: bool) {
        let folder = self.dir.join("delay");
        for entry in std::fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            if entry.path().is_dir() {
                std::fs::remove_dir(entry.path()).unwrap();
            }
        }
        let next = folder.join(format!("run-{}", self.engine.pending.next_run()));
        if full && !next.exists() {
            std::fs::create_dir(next).unwrap();
        }
    }

    fn forget(&mut self) {
        for name in ["checkpoint", "checkpoint.bak"] {
            let _ = std::fs::remove_file(self.dir.join("delay").join(name));
        }
        self.reopen();
    }

    fn damage(&self) {
        let runs = std::fs::read_dir(self.dir.join("delay")).unwrap().map(|entry| entry.unwrap().path());
        let runs = runs.filter(|path| path.is_file() && path.to_string_lossy().contains("run-"));
        if let Some(run) = runs.min() {
            let mut content = std::fs::read(&run).unwrap();
            let at = content.len() / 2;
            content[at] ^= 1;
            std::fs::write(run, content).unwrap();
        }
    }
}

fn check_steps(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::new(dir.path());
    let mut sent: BTreeMap<usize, Sent> = BTreeMap::new();
    let (mut next_id, mut crashed, mut set_back, mut set_aside) = (0, false, false, false);
    // A recall that was not read, or is forgotten, comes too late.
    let (mut unread, mut forgot) = (false, false);
    for step in steps {
        match step {
            Step::Level(_) | Step::After(_) => {
                let properties = match step {
                    Step::Level(level) => text(&[("DELAY", &level.to_string())]),
                    Step::After(ms) => text(&[("TIMER_DELAY_MS", &ms.to_string())]),
                    _ => unreachable!(),
                };
                let waiting = bench.world.send(next_id, properties, &bench.rules).unwrap();
                let (due_ms, slot_ms) = (waiting.due_ms, waiting.recall_at_ms.map(|at| at - 1));
                sent.insert(next_id, Sent { due_ms, slot_ms, recall: None, recalled_late: false });
                next_id += 1;
            }
            Step::Recall(ago) => {
                let now_ms = bench.world.now_ms.get();
                let id = next_id.wrapping_sub(ago);
                let Some(message) = sent.get_mut(&id) else { continue };
                let Some(slot_ms) = message.slot_ms.filter(|slot| slot + 1 > now_ms) else { continue };
                let (key, at) = (format!("T+k{id}"), (slot_ms + 1).to_string());
                let recall = text(&[("TIMER_DEL_UNIQKEY", &key), ("TIMER_DELIVER_MS", &at)]);
                bench.world.send(next_id, recall, &bench.rules).unwrap();
                if slot_ms >= now_ms {
                    message.recall = message.recall.or(Some(next_id));
                } else {
                    message.recalled_late = true;
                }
                next_id += 1;
            }
            Step::Run => drop(bench.run()),
            Step::Clock(ms) => bench.world.now_ms.set(bench.world.now_ms.get() + ms),
            Step::SetBack(ms) => {
                set_back = true;
                bench.world.now_ms.set(bench.world.now_ms.get() - ms);
            }
            Step::Trouble(trouble, times) => {
                set_aside |= trouble == Trouble::Illegal;
                bench.world.trouble.set(Some((trouble, times)));
            }
            Step::Save => bench.save(),
            Step::Reopen => {
                bench.save();
                bench.reopen();
            }
            Step::Forget => {
                (crashed, forgot) = (true, true);
                bench.save();
                bench.forget();
            }
            Step::Unreadable(times) => {
                (set_aside, unread) = (true, true);
                bench.world.unreadable.set(times);
            }
            Step::Full(full) => {
                unread |= full;
                bench.full(full);
            }
            Step::Damage(start) => {
                bench.damage();
                if start {
                    crashed = true;
                    bench.reopen();
                }
            }
            Step::Crash(part) => {
                crashed = true;
                bench.crash(part);
            }
        }
    }
    // Everything comes to its end, even if it takes a clock that was set back.
    bench.world.trouble.set(None);
    bench.world.unreadable.set(0);
    bench.full(false);
    for _ in 0..50 {
        bench.run();
        bench.world.now_ms.set(bench.world.now_ms.get() + 1_000);
    }
    prop_assert_eq!(bench.run(), Next::Idle);
    prop_assert!(bench.engine.aside().is_empty());
    prop_assert_eq!((bench.engine.pending.len(), bench.engine.counts.lost), (0, 0));

    let log = bench.world.log.borrow();
    // What the log has after all crashes.
    let kept = log.iter().filter_map(|entry| match entry {
        Entry::Waits { id, .. } => Some(*id),
        Entry::Delivered { .. } => None,
    });
    let kept: BTreeSet<usize> = kept.collect();
    let (mut came, mut last_due) = (BTreeMap::<usize, u32>::new(), i64::MIN);
    for entry in log.iter() {
        let Entry::Delivered { id, at_ms } = entry else { continue };
        let message = &sent[id];
        *came.entry(*id).or_default() += 1;
        // One that was set aside has been due once.
        let early = *at_ms < message.due_ms && !(set_back && set_aside);
        prop_assert!(!early, "message {} came {} ms early", id, message.due_ms - at_ms);
        let recalled = message.recall.is_some_and(|recall| kept.contains(&recall));
        prop_assert!(!recalled || set_back || unread || forgot, "message {} was recalled", id);
        if !(crashed || set_back || set_aside || unread) {
            prop_assert!(message.due_ms >= last_due, "message {} came after one that was due later", id);
            last_due = message.due_ms;
        }
    }
    for (id, message) in sent.iter().filter(|(id, _)| kept.contains(*id)) {
        let times = came.get(id).copied().unwrap_or(0);
        let recalled = message.recall.is_some() || message.recalled_late;
        prop_assert!(times > 0 || recalled, "message {} never came", id);
        prop_assert!(times <= 1 || crashed, "message {} came {} times", id, times);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    /// Each message is delivered, none early, in the order of their times; exactly once as long as nothing crashes.
    #[test]
    fn delivers_each_message_when_it_is_due(steps in proptest::collection::vec(step(), 1..120)) {
        check_steps(steps)?;
    }
}

/// Waits until queue 0 of `topic` has `count` messages; gives them.
async fn arrived(fixture: &Fixture, topic: &str, count: usize) -> Vec<Stored> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let stored = fixture.stored(topic, 0);
        if stored.len() >= count {
            return stored;
        }
        assert!(Instant::now() < deadline, "{} of {count} messages came", stored.len());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn the_broker_delivers_levels_and_times_and_takes_recalls() {
    let mut kept = None;
    let fixture = Fixture::with(|settings| {
        settings.delays = DelayRules {
            levels: Levels::parse("3s 4s").unwrap(),
            timer_precision_ms: 100,
            recall: true,
            broker: "B".into(),
            ..DelayRules::default()
        };
        kept = Some(settings.clone());
    });
    let settings = kept.unwrap();
    fixture.send("T", &[], json!({})).await;
    let start_ms = crate::groups::now_ms();
    let level = fixture.send("T", &[("DELAY", "1"), ("TAGS", "TagA"), ("UNIQ_KEY", "L")], json!({})).await;
    assert_eq!((level.field("queueOffset").as_deref(), level.field("recallHandle")), (Some("0"), None));
    for (key, ms) in [("C", "1500"), ("B", "60000"), ("A", "100")] {
        let sent = fixture.send("T", &[("TIMER_DELAY_MS", ms), ("UNIQ_KEY", key)], json!({})).await;
        let handle = sent.field("recallHandle").unwrap().into_owned();
        if key == "B" {
            let recall = json!({"topic": "T", "recallHandle": handle});
            let answer = fixture.ask(codes::RECALL_MESSAGE, recall, b"").await;
            assert_eq!((answer.code, answer.field("msgId").as_deref()), (0, Some("B")), "{answer:?}");
        }
        let recall = json!({"topic": "U", "recallHandle": handle});
        let refused = fixture.ask(codes::RECALL_MESSAGE, recall, b"").await;
        Fixture::check_refused(&refused, (17, "recall failed, the topic[U] not exist"));
    }
    let stored = arrived(&fixture, "T", 4).await;
    let found: Vec<_> = stored.iter().skip(1).map(|message| message.property("UNIQ_KEY").unwrap()).collect();
    assert_eq!(found, ["A", "C", "L"]);
    let waited = |at: usize| stored[at].view().store_timestamp_ms() - start_ms;
    assert!(waited(2) >= 1_500 && waited(3) >= 3_000);
    let last = &stored[3];
    assert_eq!(
        (last.property("REAL_TOPIC").as_deref(), last.property("DELAY").as_deref()),
        (Some("T"), Some("1"))
    );
    assert_eq!(last.view().born_timestamp_ms(), 77);

    // What waits when the broker ends comes when another one goes on.
    fixture.send("T", &[("TIMER_DELAY_MS", "400"), ("UNIQ_KEY", "D")], json!({})).await;
    fixture.broker.stop();
    let offsets = std::fs::read(settings.root.join("config/delayOffset.json")).unwrap();
    assert!(String::from_utf8(offsets).unwrap().contains("\"offsetTable\":{1:1}"));
    let next = Broker::open(settings, fixture.store.clone()).unwrap();
    let stored = arrived(&fixture, "T", 5).await;
    assert_eq!(stored[4].property("UNIQ_KEY").as_deref(), Some("D"));
    next.stop();
    assert_eq!(fixture.stored("T", 0).len(), 5, "nothing came twice");
}

#[tokio::test]
async fn nobody_sends_to_the_timer_by_himself() {
    // A message that said so was delivered anywhere, and a delayed one to the timer itself again and again.
    let fixture = Fixture::new();
    let forged = [("TIMER_OUT_MS", "5"), ("REAL_TOPIC", "RMQ_SYS_TRANS_OP_HALF_TOPIC"), ("REAL_QID", "0")];
    for properties in [&forged[..], &[("TIMER_DELAY_SEC", "1")], &[("DELAY", "1")], &[]] {
        let refused = fixture.send(TIMER_TOPIC, properties, json!({})).await;
        Fixture::check_refused(&refused, (16, "Sending message to topic[rmq_sys_wheel_timer] is forbidden."));
    }
    assert!(fixture.stored(TIMER_TOPIC, 0).is_empty() && fixture.stored(SCHEDULE_TOPIC, 0).is_empty());
}

#[test]
fn what_cannot_be_delivered_anywhere_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::new(dir.path());
    for topic in [TIMER_TOPIC, SCHEDULE_TOPIC, "RMQ_SYS_TRANS_HALF_TOPIC", "RMQ_SYS_TRANS_OP_HALF_TOPIC"] {
        bench.world.send_to(topic, 0, text(&[("DELAY", "1")]), &bench.rules).unwrap();
        bench.world.send_to(topic, 0, text(&[("TIMER_DELAY_SEC", "1")]), &bench.rules).unwrap();
    }
    bench.world.send(1, text(&[("DELAY", "1")]), &bench.rules).unwrap();
    bench.world.now_ms.set(NOW + 2_000);
    bench.world.trouble.set(Some((Trouble::NoQueue, 1)));
    assert_eq!(bench.run(), Next::Idle);
    assert_eq!((bench.engine.counts.lost, bench.engine.counts.delivered), (9, 0));
}

/// A disk that cannot read is no reason to give a message up.
#[test]
fn what_cannot_be_read_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::new(dir.path());
    bench.world.send(0, text(&[("DELAY", "1")]), &bench.rules).unwrap();
    bench.world.send(1, text(&[("TIMER_DELAY_SEC", "1")]), &bench.rules).unwrap();
    for time in [0, 1_000, 1_200, 6_000, 12_000] {
        bench.world.records_unreadable.set(1);
        bench.world.now_ms.set(NOW + time);
        bench.run();
    }
    bench.world.records_unreadable.set(0);
    bench.world.now_ms.set(NOW + 30_000);
    assert_eq!(bench.run(), Next::Idle);
    assert_eq!((bench.engine.counts.lost, bench.engine.counts.delivered), (0, 2));
}

#[test]
fn what_expires_unread_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::new(dir.path());
    for id in 0..3 {
        bench.world.send(id, text(&[("TIMER_DELAY_SEC", "1")]), &bench.rules).unwrap();
    }
    bench.world.gone.set(2);
    bench.world.now_ms.set(NOW + 1_000);
    assert_eq!(bench.run(), Next::Idle);
    assert_eq!((bench.engine.counts.lost, bench.engine.counts.delivered), (2, 1));
}

#[test]
fn what_is_set_aside_is_tried_though_more_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::new(dir.path());
    bench.world.send(0, text(&[("TIMER_DELAY_MS", "10")]), &bench.rules).unwrap();
    bench.world.send(1, text(&[("TIMER_DELAY_MS", "60")]), &bench.rules).unwrap();
    bench.world.trouble.set(Some((Trouble::Illegal, 2)));
    bench.world.now_ms.set(NOW + 10);
    assert_eq!(bench.run(), Next::At(NOW + 60));
    bench.world.now_ms.set(NOW + 60);
    assert_eq!(bench.run(), Next::At(NOW + 110));
    assert_eq!(bench.engine.aside().len(), 2);
    bench.world.now_ms.set(NOW + 110);
    assert_eq!(bench.run(), Next::Idle);
}

#[tokio::test]
async fn tools_are_told_of_arrivals_that_wake_nobody() {
    let fixture = Fixture::new();
    for property in [("DELAY", "18"), ("TIMER_DELAY_SEC", "3600")] {
        fixture.send("T", &[property], json!({})).await;
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let status = fixture.broker.delay_thread.status();
        if status.levels == BTreeMap::from([(18, (0, 1))]) && status.unread + status.pending == 1 {
            break;
        }
        assert!(Instant::now() < deadline, "{status:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_lowered_limit_keeps_nothing_that_waits() {
    let mut kept = None;
    let fixture = Fixture::with(|settings| {
        settings.delays.levels = Levels::parse("1s").unwrap();
        kept = Some(settings.clone());
    });
    let mut settings = kept.unwrap();
    for property in [("DELAY", "1"), ("TIMER_DELAY_MS", "1000")] {
        assert_eq!(fixture.send("T", &[property], json!({})).await.code, 0);
    }
    fixture.broker.stop();
    settings.sends.body_max_bytes = 3;
    let next = Broker::open(settings, fixture.store.clone()).unwrap();
    arrived(&fixture, "T", 2).await;
    next.stop();
}

/// Messages that wait, as Java brokers stored them.
#[test]
fn writes_what_java_writes() {
    let mut checked = 0;
    for java in &GOLDEN {
        for (topic, body) in
            [(SCHEDULE_TOPIC, "g-soon"), (SCHEDULE_TOPIC, "g-level-0"), (TIMER_TOPIC, "g-timed-0")]
        {
            for record in java.records(topic, body) {
                let mut sent = record.properties().to_vec();
                let target =
                    u32::from_str(str::from_utf8(record.property("REAL_QID").unwrap()).unwrap()).unwrap();
                for name in ["REAL_TOPIC", "REAL_QID", "TIMER_OUT_MS"] {
                    properties::remove(&mut sent, name);
                }
                let now_ms = record.born_timestamp_ms();
                let waits =
                    rewrite::redirect(&DelayRules::default(), ("later", QueueId(target)), &mut sent, now_ms);
                let waits = waits.unwrap().unwrap();
                assert_eq!((waits.topic, waits.queue_id), (record.topic(), record.queue_id()));
                assert_eq!(by_name(&sent), by_name(record.properties()), "{} {body}", java.version);
                checked += 1;
            }
        }
    }
    assert_eq!(checked, 5);
}

/// What a Java 5.3.3 broker wrote when it stopped, byte for byte but for the end of its own log.
#[test]
fn the_check_file_of_the_timer_is_javas() {
    let java = include_bytes!("../../tests/golden/java-5.3.3/timercheck");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("timercheck");
    std::fs::write(&path, java).unwrap();
    let mut ours = super::progress::TimerCheck::read(&path).unwrap().unwrap().encode();
    ours[8..16].copy_from_slice(&java[8..16]);
    assert_eq!(ours, *java);
    for damaged in [&java[..0], &java[..40]] {
        std::fs::write(&path, damaged).unwrap();
        assert_eq!(super::progress::TimerCheck::read(&path).unwrap(), None);
    }
}
