// SPDX-License-Identifier: Apache-2.0
//! What very many queues cost: how long the start takes after a clean stop, after a kill, and after a Java broker, how
//! many bytes a queue takes that is known by name and one that was opened, and how fast all are built again.
//!
//! `cargo run -p oxmq-store --release --example queues -- FOLDER 100000`, twice: if the folder is not there, it is filled;
//! else it is measured, by a process that holds nothing else in memory.

use std::{fs, path::Path, sync::Arc, time::Instant};

use oxmq_record::{Draft, Encoder};
use oxmq_store::{Store, StoreConfig, tags_of};
use oxmq_types::{QueueId, TagsCode};

const QUEUES_OF_A_TOPIC: u32 = 8;

fn open(root: &Path) -> Arc<Store> {
    let config = StoreConfig { index: None, segment_size_bytes: 256 << 20, ..StoreConfig::new(root) };
    Store::open(config, Box::new(tags_of)).expect("the store opens")
}

fn append(store: &Store, number: u32, body: &[u8]) {
    let (topic, id) =
        (format!("topic-{:06}", number / QUEUES_OF_A_TOPIC), QueueId(number % QUEUES_OF_A_TOPIC));
    let draft = Draft::plain(&topic, id, body);
    let mut record = Vec::new();
    Encoder::new(1 << 20).encode(&draft, &mut record).expect("it can be encoded");
    let queue = store.queue(&topic, id).expect("the queue opens");
    store.append(&queue, &mut record, TagsCode(0)).expect("it is stored");
}

/// Anonymous memory of this process, in bytes.
fn memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

fn start(what: &str, root: &Path) -> Arc<Store> {
    let began = Instant::now();
    let store = open(root);
    println!("start {what}: {} ms", began.elapsed().as_millis());
    store
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let root = arguments.next().expect("a folder");
    let root = Path::new(&root);
    let count: u32 = arguments.next().and_then(|count| count.parse().ok()).unwrap_or(100_000);
    if !root.exists() {
        let store = open(root);
        (0..count).for_each(|number| append(&store, number, &[1; 100]));
        close(&store);
        return;
    }

    let before = memory();
    let store = start("after a clean stop", root);
    println!("known by name: {} bytes a queue", memory().saturating_sub(before) / u64::from(count));
    let named = memory();
    let began = Instant::now();
    let queues: Vec<_> =
        store.queues().iter().map(|(topic, id)| store.queue(topic, *id).expect("opens")).collect();
    println!("opened all of {}: {} ms", queues.len(), began.elapsed().as_millis());
    println!("opened: {} bytes a queue", memory().saturating_sub(named) / u64::from(count));
    drop((queues, store));

    let store = start("after a kill", root);
    append(&store, 0, b"one more");
    close(&store);
    drop(store);

    // As Java leaves it: no list, and nothing of ours in the checkpoint.
    fs::remove_file(root.join("oxmq-queues")).expect("the list goes");
    let checkpoint = fs::OpenOptions::new().write(true).open(root.join("checkpoint")).expect("a checkpoint");
    checkpoint.set_len(40).and_then(|()| checkpoint.set_len(4096)).expect("it is cut");
    let store = start("after a Java broker closed it", root);
    (0..1_000_000).for_each(|_| append(&store, 0, &[1; 100]));
    close(&store);
    let mb = store.max_physical().0 / 1_000_000;
    drop(store);

    fs::remove_dir_all(root.join("consumequeue")).expect("the queues go");
    let began = Instant::now();
    drop(open(root));
    println!("all queues built from {mb} MB in {} ms", began.elapsed().as_millis());
}

fn close(store: &Store) {
    let began = Instant::now();
    store.close().expect("it closes");
    println!("close: {} ms", began.elapsed().as_millis());
}
