// SPDX-License-Identifier: Apache-2.0
//! Kills processes that append to a store on the real disk, opens the store again each time, and compares it with what
//! they had acknowledged.
//!
//! `cargo run --release -p oxmq-store --example kills -- [ROUNDS=200] [SEED=1]`

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, ExitCode, Stdio},
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use oxmq_record::{Draft, Encoder, RecordView, properties};
use oxmq_store::{Access, Entry, FlushMode, IndexConfig, KeyQuery, Store, StoreConfig, tags_of};
use oxmq_types::{QueueId, QueueOffset};

const TOPICS: [&str; 2] = ["orders", "payments"];
const QUEUES: u64 = 3;
/// A folder is used so many times; then another one begins.
const ROUNDS_ON_A_FOLDER: u64 = 10;
/// Messages that are appended together at most.
const GROUP_MAX: u64 = 8;

/// How a child appends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Mode {
    Async,
    Sync,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [child, root, mode, first] = &arguments[..]
        && child == "child"
    {
        append(
            Path::new(root),
            if mode == "Sync" { Mode::Sync } else { Mode::Async },
            first.parse().expect("a number"),
        );
    }
    let number = |at: usize, otherwise| arguments.get(at).map_or(Ok(otherwise), |text: &String| text.parse());
    let (Ok(rounds), Ok(seed)) = (number(0, 200), number(1, 1)) else {
        eprintln!("usage: kills [ROUNDS] [SEED]");
        return ExitCode::from(2);
    };
    run(rounds, seed);
    ExitCode::SUCCESS
}

fn open(root: &Path, mode: Mode) -> Arc<Store> {
    let flush = match mode {
        Mode::Sync => FlushMode::Sync,
        Mode::Async => FlushMode::Async { interval_ms: 50, least_pages: 4, thorough_interval_ms: 500 },
    };
    let config = StoreConfig {
        segment_size_bytes: 1 << 20,
        consume_queue_file_size_bytes: 20_000,
        checkpoint_interval_ms: 100,
        index: Some(IndexConfig { dir: root.join("index"), slots: 500, entries: 4000 }),
        flush,
        ..StoreConfig::new(root)
    };
    Store::open(config, Box::new(tags_of)).unwrap_or_else(|error| panic!("does not open: {error}"))
}

/// The message `id`, all of which follows from its number and that of the first one appended together with it.
fn record(id: u64, first: u64) -> (usize, QueueId, Vec<u8>) {
    let mixed = id.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let (topic, queue_id) = ((mixed >> 20) as usize % TOPICS.len(), QueueId(((mixed >> 30) % QUEUES) as u32));
    let mut body = [id.to_be_bytes(), first.to_be_bytes()].concat();
    body.resize(16 + (mixed >> 40) as usize % 1500, id as u8);
    let mut all = Vec::new();
    properties::append(&mut all, properties::KEYS, format!("key-{id}").as_bytes());
    let host = "127.0.0.1:10911".parse().expect("an address");
    let draft = Draft {
        topic: TOPICS[topic],
        queue_id,
        flag: 0,
        sys_flag: 0,
        born_timestamp_ms: id as i64,
        born_host: host,
        store_host: host,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: &body,
        properties: &all,
    };
    let mut out = Vec::new();
    Encoder::new(1 << 20).encode(&draft, &mut out).expect("a record");
    (topic, queue_id, out)
}

/// Appends until it is killed, and says what it appended: number, topic, queue and offset of each message.
fn append(root: &Path, mode: Mode, mut next: u64) -> ! {
    let store = open(root, mode);
    let mut out = std::io::stdout().lock();
    writeln!(out, "open").expect("a parent");
    loop {
        // Every third time several together.
        let count = if next.is_multiple_of(3) { 2 + next % (GROUP_MAX - 1) } else { 1 };
        let (mut bytes, mut parts) = (Vec::new(), Vec::new());
        for id in next..next + count {
            let (topic, queue_id, one) = record(id, next);
            let queue = store.queue(TOPICS[topic], queue_id).expect("a queue");
            parts.push((id, topic, queue, bytes.len()..bytes.len() + one.len()));
            bytes.extend(one);
        }
        let entries: Vec<Entry<'_>> = parts
            .iter()
            .map(|(_, _, queue, range)| {
                let tags_code = tags_of(&RecordView::parse(&bytes[range.clone()]).expect("a record"));
                Entry { queue, range: range.clone(), tags_code }
            })
            .collect();
        let mut appended = Vec::new();
        store.append_all(&mut bytes, &entries, &mut appended).expect("space");
        if mode == Mode::Sync {
            let (tell, told) = mpsc::channel();
            let end = appended.last().expect("an end").end;
            store.wait_flushed(end, Box::new(move |outcome| drop(tell.send(outcome))));
            told.recv().expect("an answer").expect("flushed");
        }
        for ((id, topic, queue, _), appended) in parts.iter().zip(&appended) {
            let (queue, offset) = (queue.queue_id().0, appended.queue_offset.0);
            writeln!(out, "{id} {topic} {queue} {offset}").expect("a parent");
        }
        next += count;
    }
}

#[derive(Default)]
struct Counts {
    rounds: u64,
    acknowledged: u64,
    compared: u64,
    unacknowledged: u64,
    while_opening: u64,
    longest_open: Duration,
}

fn run(rounds: u64, seed: u64) {
    let mut random = seed;
    let mut below = move |bound: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % bound
    };
    let mut counts: BTreeMap<Mode, Counts> = BTreeMap::new();
    let began = Instant::now();
    let mut folder = tempfile::tempdir().expect("a folder");
    // Place of each message that was acknowledged.
    let mut acknowledged: BTreeMap<u64, (usize, u32, u64)> = BTreeMap::new();
    let mut next = 0;
    for round in 0..rounds {
        if round % ROUNDS_ON_A_FOLDER == 0 {
            folder = tempfile::tempdir().expect("a folder");
            acknowledged.clear();
            next = 0;
        }
        let mode = if below(2) == 0 { Mode::Sync } else { Mode::Async };
        let counts = counts.entry(mode).or_default();
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["child", &folder.path().display().to_string(), &format!("{mode:?}"), &next.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child");
        let out = BufReader::new(child.stdout.take().expect("a pipe"));
        let reader = std::thread::spawn(move || out.split(b'\n').map_while(Result::ok).collect::<Vec<_>>());
        // A moment in which it opens, perhaps, or one later.
        let most = if below(8) == 0 { 10_000 } else { 200_000 };
        std::thread::sleep(Duration::from_micros(below(most)));
        child.kill().expect("killed");
        child.wait().expect("dead");
        let mut lines = reader.join().expect("lines");
        // A line that death cut short is not said; each whole one ends before the last piece.
        let opened = lines.first().is_some_and(|line| line == b"open");
        lines.pop();
        counts.while_opening += u64::from(!opened);
        for line in lines.iter().skip(1) {
            let numbers: Vec<u64> = String::from_utf8_lossy(line)
                .split(' ')
                .map(|number| number.parse().expect("a number"))
                .collect();
            let [id, topic, queue_id, offset] = numbers[..] else { panic!("{numbers:?}") };
            acknowledged.insert(id, (topic as usize, queue_id as u32, offset));
            counts.acknowledged += 1;
        }

        let opening = Instant::now();
        let store = open(folder.path(), mode);
        counts.longest_open = counts.longest_open.max(opening.elapsed());
        compare(&store, &mut acknowledged, counts);
        // Beyond all numbers that were used, known or not.
        next = acknowledged.last_key_value().map_or(0, |(last, _)| last + 1).max(next) + GROUP_MAX;
        if below(2) == 0 {
            store.close().expect("closed");
        }
        counts.rounds += 1;
    }
    for (mode, counts) in counts {
        println!(
            "{mode:?}: {} kills, {} of them while opening; {} messages acknowledged, {} compared, {} found that were not \
             acknowledged yet; longest start {} ms",
            counts.rounds,
            counts.while_opening,
            counts.acknowledged,
            counts.compared,
            counts.unacknowledged,
            counts.longest_open.as_millis()
        );
    }
    println!(
        "{rounds} rounds in {:.1} s: nothing acknowledged is missing, nothing is wrong, every start succeeded",
        began.elapsed().as_secs_f64()
    );
}

/// Compares all that the store has. What was not acknowledged, but is there, counts as if it had been from now on.
fn compare(store: &Store, acknowledged: &mut BTreeMap<u64, (usize, u32, u64)>, counts: &mut Counts) {
    let mut found = BTreeSet::new();
    let mut firsts = BTreeMap::new();
    for (topic, id) in store.queues() {
        let queue = store.queue(&topic, id).expect("a queue");
        let mut reader = store.reader(&queue, Access::Disk);
        let mut units = Vec::new();
        reader.units(QueueOffset(0), usize::MAX, &mut units).expect("units");
        assert_eq!(units.len() as u64, queue.max_offset().0, "{topic} {}", id.0);
        for (offset, unit) in (0..).zip(&units) {
            let bytes = reader.record(QueueOffset(offset), unit).expect("a record");
            let view = RecordView::parse(&bytes).expect("a record");
            let number =
                |at: usize| u64::from_be_bytes(view.body()[at..at + 8].try_into().expect("eight bytes"));
            let (number, first) = (number(0), number(8));
            let (topic_number, queue_id, right) = record(number, first);
            let right = RecordView::parse(&right).expect("a record");
            assert_eq!((TOPICS[topic_number], queue_id), (&*topic, id), "message {number}");
            assert_eq!(
                (view.body(), view.properties()),
                (right.body(), right.properties()),
                "message {number}"
            );
            assert!(found.insert(number), "message {number} is there twice");
            firsts.insert(number, first);
            let place = *acknowledged.entry(number).or_insert_with(|| {
                counts.unacknowledged += 1;
                (topic_number, id.0, offset)
            });
            assert_eq!(place, (topic_number, id.0, offset), "message {number}");
            counts.compared += 1;
        }
    }
    let lost: Vec<_> = acknowledged.keys().filter(|number| !found.contains(number)).take(5).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    for (number, first) in &firsts {
        assert!(
            (*first..*number).all(|earlier| found.contains(&earlier)),
            "{number} is there without one before it"
        );
    }
    for number in found.iter().rev().step_by(97).take(20) {
        let (topic, _, _) = record(*number, *number);
        let key = format!("key-{number}");
        let query = KeyQuery { topic: TOPICS[topic], key: &key, max: 8, begin_ms: 0, end_ms: i64::MAX };
        // The index may be on its way there.
        let begin = Instant::now();
        while store.query(&query).records.len() != 1 {
            assert!(begin.elapsed() < Duration::from_secs(20), "{key} is not found");
        }
    }
}
