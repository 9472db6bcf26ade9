// SPDX-License-Identifier: Apache-2.0
//! One run: several lives of a store, each with its work, its faults and its end.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
};

use oxmq_record::{Encoder, sys_flag};
use oxmq_types::{PhysicalOffset, QueueId};

use super::model::{Found, Loss, Model, record};
use crate::{
    Entry, FlushMode, IndexConfig, Store, StoreConfig,
    disk::{
        Disk,
        memory::{BadRange, MemoryDisk, Random},
    },
    flush::{Part, flush_log, flush_part, prepare_segment},
    index,
    store::DeleteError,
    sync::lock,
    tags_of,
};

/// How a life of the store ended, or what went wrong in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Crash {
    /// Closed, and opened again.
    Close,
    /// Closed; then the power went.
    CloseThenPowerLoss,
    /// The process died between two requests.
    Kill,
    /// The process died between two operations on the disk.
    KillInside,
    /// The power went.
    PowerLoss,
    /// The power went between two operations on the disk.
    PowerLossInside,
    /// The process died, or the power went, while the store recovered from the one before.
    CrashInRecovery,
    /// The disk was full for a while, while appending or at a start.
    DiskFull,
    /// Files could not be read for a while.
    ReadError,
    /// Files could not be written for a while.
    WriteError,
    /// Syncing failed.
    SyncError,
    /// The store refused to open as long as the disk did not work.
    RefusedOpen,
}

/// What happened in a run.
#[derive(Debug, Default, Clone)]
pub struct Counts {
    /// How many of each kind.
    pub crashes: BTreeMap<Crash, u64>,
    /// Messages that were appended.
    pub appended: u64,
    /// Messages that were found after crashes, and compared.
    pub kept: u64,
    /// Messages that were lost rightly: nobody had been told that they are durable.
    pub lost: u64,
    /// Operations on the disk.
    pub operations: u64,
    /// Of all operations, in their order: the same for the same seed.
    pub trace: u64,
}

/// Runs the simulation of `seed`.
///
/// # Errors
/// What went wrong, with the last operations on the disk.
pub fn run(seed: u64) -> Result<Counts, String> {
    let mut world = World::new(seed);
    let result = catch_unwind(AssertUnwindSafe(|| world.run()));
    let trace = world.disk.trace();
    world.counts.operations = trace.operations;
    world.counts.trace = trace.hash;
    result.map(|()| world.counts.clone()).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("panic");
        let last: Vec<_> = trace.last.iter().rev().take(40).rev().cloned().collect();
        format!("seed {seed}: {text}\n  story: {}\n  {}", world.story.join(", "), last.join("\n  "))
    })
}

struct World {
    random: Random,
    disk: Arc<MemoryDisk>,
    config: StoreConfig,
    model: Model,
    counts: Counts,
    /// Everything up to here was told to be durable, by those who were told.
    told: Rc<RefCell<u64>>,
    next_group: u64,
    next_body: u64,
    /// What happened, for whoever reads about a failure.
    story: Vec<String>,
    /// A sync failed: what is in memory may not be on the disk, ever.
    unsure: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x5EED);
        let flush = if random.one_in(2) {
            FlushMode::Sync
        } else {
            FlushMode::Async { interval_ms: 500, least_pages: 4, thorough_interval_ms: 10_000 }
        };
        let (slots, entries) = [(3, 8), (10, 40), (100, 400)][random.below(3) as usize];
        let config = StoreConfig {
            segment_size_bytes: [2048, 4096, 12 * 1024][random.below(3) as usize],
            consume_queue_file_size_bytes: [60, 400, 2000][random.below(3) as usize],
            flush,
            index: Some(IndexConfig { dir: "/store/index".into(), slots, entries }),
            ..StoreConfig::new("/store")
        };
        Self {
            random,
            disk: Arc::new(MemoryDisk::with_seed(seed)),
            config,
            model: Model::default(),
            counts: Counts::default(),
            told: Rc::default(),
            next_group: 0,
            next_body: 0,
            story: Vec::new(),
            unsure: false,
        }
    }

    fn run(&mut self) {
        let mut loss = Loss::Nothing;
        for _ in 0..3 + self.random.below(4) {
            let store = self.open_and_check(&mut loss);
            for topic in std::mem::take(&mut self.model.half_deleted) {
                self.model.delete(&topic, true);
                store.delete_topic(&topic).expect("a topic that can be deleted");
            }
            loss = self.live(store);
        }
        self.open_and_check(&mut loss);
    }

    fn open_and_check(&mut self, loss: &mut Loss) -> Arc<Store> {
        let store = self.open(loss);
        assert!(self.build_index(&store, 10_000), "the index is not built");
        let Found { kept, lost } = self.model.check_and_forget(&store, *loss);
        self.counts.kept += kept;
        self.counts.lost += lost;
        store
    }

    fn count(&mut self, crash: Crash) {
        *self.counts.crashes.entry(crash).or_default() += 1;
        self.story.push(format!("{crash:?} @{}", self.disk.trace().operations));
    }

    /// Opens the store, after some attempts on a disk that fails perhaps.
    fn open(&mut self, loss: &mut Loss) -> Arc<Store> {
        for _ in 0..self.random.below(3) {
            let fault = self.random.below(5);
            match fault {
                0 => self.disk.faults().space.store(self.random.below(20_000), Ordering::SeqCst),
                1 => self.fail_some_files(true),
                2 => self.fail_some_files(false),
                _ => self.disk.faults().stops_after.store(self.random.below(60), Ordering::SeqCst),
            }
            match self.try_open() {
                Ok(store) => {
                    // Opened, and forgotten at once: the process dies.
                    drop(store);
                    self.disk.faults().clear();
                }
                Err(error) => {
                    let text = error.to_string();
                    assert!(text.contains("/store"), "{text}");
                    self.disk.faults().clear();
                    if fault < 3 {
                        self.count(Crash::RefusedOpen);
                    }
                }
            }
            if fault >= 3 {
                self.count(Crash::CrashInRecovery);
                if self.random.one_in(2) {
                    *loss = Loss::Unflushed;
                    self.lose_power();
                }
            }
        }
        match self.try_open() {
            Ok(store) => store,
            Err(error) => panic!("does not open: {error}"),
        }
    }

    fn try_open(&self) -> Result<Arc<Store>, crate::OpenError> {
        let disk = Arc::clone(&self.disk) as Arc<dyn Disk>;
        Store::open_with(disk, self.config.clone(), Box::new(tags_of), false)
    }

    fn lose_power(&mut self) {
        let seed = self.random.next();
        self.disk.lose_power(seed);
        self.unsure = false;
    }

    /// Has some files fail to be read, or to be written.
    fn fail_some_files(&mut self, read: bool) {
        let all = ["commitlog", "consumequeue", "consumequeue/T0", "index", "checkpoint", "abort"];
        let path = Path::new("/store").join(all[self.random.below(6) as usize]);
        let start = if self.random.one_in(2) { 0 } else { self.random.below(2000) };
        let bad = BadRange { path, range: start..u64::MAX, read, write: !read };
        lock(&self.disk.faults().bad).push(bad);
    }

    /// Works on the store and ends. Returns what may be lost.
    fn live(&mut self, store: Arc<Store>) -> Loss {
        let faults = self.disk.faults();
        let end = [
            Crash::Close,
            Crash::CloseThenPowerLoss,
            Crash::Kill,
            Crash::KillInside,
            Crash::PowerLoss,
            Crash::PowerLossInside,
        ][self.random.below(6) as usize];
        if matches!(end, Crash::KillInside | Crash::PowerLossInside) {
            faults.stops_after.store(self.random.below(300), Ordering::SeqCst);
        }
        let steps = 5 + self.random.below(60);
        let fault_at = if self.random.one_in(2) { self.random.below(steps) } else { u64::MAX };
        let fault_ends = fault_at.saturating_add(self.random.below(20));
        let mut sync_failed = false;
        for step in 0..steps {
            if step == fault_at {
                sync_failed |= self.begin_fault();
            } else if step == fault_ends && !self.disk.faults().stopped() && end_is_whole(end) {
                self.disk.faults().clear();
            }
            self.work(&store);
            self.model.promise(store.flushed_to().0.max(*self.told.borrow()));
            assert!(store.flushed_to().0 >= *self.told.borrow(), "told of a flush that was not");
            if self.disk.faults().stopped() || !self.model.half_deleted.is_empty() {
                break;
            }
        }
        if sync_failed {
            self.unsure = true;
        }
        let mut loss = Loss::Nothing;
        let mut end = end;
        if matches!(end, Crash::Close | Crash::CloseThenPowerLoss) {
            if store.close().is_ok() {
                self.model.promised = store.max_physical().0;
            } else {
                end = Crash::Kill;
            }
        }
        drop(store);
        *self.told.borrow_mut() = 0;
        self.disk.faults().clear();
        self.count(end);
        if matches!(end, Crash::CloseThenPowerLoss | Crash::PowerLoss | Crash::PowerLossInside) {
            self.lose_power();
            loss = Loss::Unflushed;
        } else if self.unsure && self.random.one_in(2) {
            // What a failed sync left unwritten is gone from memory, too, some time.
            self.story.push("evicted".to_owned());
            self.disk.evict();
            self.unsure = false;
            loss = Loss::Unflushed;
        }
        loss
    }

    /// True if syncing fails from now on.
    fn begin_fault(&mut self) -> bool {
        let kind = self.random.below(4);
        match kind {
            0 => {
                self.count(Crash::DiskFull);
                let space = self.random.below(30_000);
                self.disk.faults().space.store(space, Ordering::SeqCst);
            }
            1 => {
                self.count(Crash::ReadError);
                self.fail_some_files(true);
            }
            2 => {
                self.count(Crash::WriteError);
                self.fail_some_files(false);
            }
            _ => {
                self.count(Crash::SyncError);
                self.disk.faults().fsync_fails.store(true, Ordering::SeqCst);
            }
        }
        kind >= 2
    }

    fn work(&mut self, store: &Arc<Store>) {
        let shared = &*store.shared;
        match self.random.below(40) {
            0..16 => self.append(store),
            16..21 => self.append_group(store),
            21..24 => {
                let told = Rc::clone(&self.told);
                let to = 1 + self.random.below(store.max_physical().0 + 1);
                let to = PhysicalOffset(to.min(store.max_physical().0));
                let (tell, outcome) = std::sync::mpsc::channel();
                store.wait_flushed(to, Box::new(move |outcome| drop(tell.send(outcome))));
                let _ = flush_log(shared);
                match outcome.try_recv().expect("an answer") {
                    Ok(()) => {
                        let mut told = told.borrow_mut();
                        *told = to.0.max(*told);
                    }
                    Err(_) => assert!(store.refuses().is_some()),
                }
            }
            24 => drop(flush_log(shared)),
            25 => drop(flush_part(shared, Part::WholePages)),
            26..30 => drop(lock(&shared.queue_flusher).flush(shared)),
            30..33 => {
                let _ = lock(&shared.queue_flusher).flush(shared);
                let _ = shared.checkpoint(false);
            }
            33 => prepare_segment(shared),
            34..36 => drop(self.build_index(store, 3)),
            36 => {
                let topic = self.topic();
                match store.delete_topic(&topic) {
                    Ok(()) => self.model.delete(&topic, true),
                    Err(DeleteError::Queue(_) | DeleteError::Checkpoint(_)) => {
                        self.model.delete(&topic, false)
                    }
                }
            }
            37 => self.disk.change_clock(self.random.below(20_000) as i64 - 10_000),
            _ => {
                // Reading fails as long as the disk does; what is read then is right.
                let queries = self.build_index(store, 10_000);
                if lock(&self.disk.faults().bad).is_empty() && !self.disk.faults().stopped() {
                    self.model.check(store, queries);
                }
            }
        }
    }

    /// True if all is in the index.
    fn build_index(&self, store: &Store, steps: u32) -> bool {
        let Some(index) = &store.shared.index else { return false };
        let mut left = (0..steps).map(|_| index::step(&store.shared, index)).take_while(Result::is_ok);
        left.any(|more| matches!(more, Ok(false)))
    }

    fn topic(&mut self) -> String {
        format!("T{}", self.random.below(3))
    }

    fn record(&mut self, topic: &str, queue_id: u32, flags: i32, length: u64) -> Vec<u8> {
        self.next_body += 1;
        let mut body = self.next_body.to_be_bytes().to_vec();
        body.resize(8 + length as usize, self.next_body as u8);
        let keys: Vec<_> = match self.random.below(4) {
            0 => Vec::new(),
            1 => vec![format!("u{}", self.next_body)],
            // The last two have the same Java hash.
            _ => {
                let key = ["k0", "k1", "k2", "Aa", "BB"][self.random.below(5) as usize];
                vec![format!("u{}", self.next_body), key.to_owned(), "all".to_owned()]
            }
        };
        record(Encoder::new(1 << 20), (topic, queue_id), flags, &body, &keys)
    }

    fn append(&mut self, store: &Arc<Store>) {
        let (topic, id) = (self.topic(), self.random.below(3) as u32);
        let flags = [0, 0, 0, 0, sys_flag::PREPARED, sys_flag::COMMIT, sys_flag::ROLLBACK, 0]
            [self.random.below(8) as usize];
        let most = if self.random.one_in(4) { 1200 } else { 100 };
        let length = self.random.below(most);
        let mut bytes = self.record(&topic, id, flags, length);
        let Ok(queue) = store.queue(&topic, QueueId(id)) else { return };
        let tags_code = tags_of(&oxmq_record::RecordView::parse(&bytes).expect("a record"));
        if store.append(&queue, &mut bytes, tags_code).is_ok() {
            self.counts.appended += 1;
            self.model.add(bytes, None, !self.disk.faults().stopped());
        }
    }

    fn append_group(&mut self, store: &Arc<Store>) {
        let mut bytes = Vec::new();
        let mut parts = Vec::new();
        for _ in 0..2 + self.random.below(5) {
            let (topic, id) = (self.topic(), self.random.below(3) as u32);
            let length = self.random.below(300);
            let one = self.record(&topic, id, 0, length);
            let Ok(queue) = store.queue(&topic, QueueId(id)) else { return };
            parts.push((queue, bytes.len()..bytes.len() + one.len()));
            bytes.extend(one);
        }
        let entries: Vec<_> = parts
            .iter()
            .map(|(queue, range)| {
                let view = oxmq_record::RecordView::parse(&bytes[range.clone()]).expect("a record");
                Entry { queue, range: range.clone(), tags_code: tags_of(&view) }
            })
            .collect();
        let fits = (bytes.len() + 8) as u64 <= self.config.segment_size_bytes;
        if store.append_all(&mut bytes, &entries, &mut Vec::new()).is_ok() {
            let sure = !self.disk.faults().stopped();
            self.next_group += 1;
            for (_, range) in parts {
                self.counts.appended += 1;
                self.model.add(bytes[range].to_vec(), fits.then_some(self.next_group), sure);
            }
        }
    }
}

/// True if the process does not die of a fault that was set for it.
fn end_is_whole(end: Crash) -> bool {
    !matches!(end, Crash::KillInside | Crash::PowerLossInside)
}
