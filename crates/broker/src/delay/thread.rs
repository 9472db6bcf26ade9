// SPDX-License-Identifier: Apache-2.0
//! The thread of the engine, and the thread that saves what it has done: no delivery waits for the disk.

use super::{
    Delays, SCHEDULE_TOPIC, TIMER_TOPIC,
    engine::{Counts, Engine, Line, Next, World},
    pending::Sizes,
    progress::{DelayOffsets, Files, Snapshot, TimerCheck, Version},
};
use crate::{groups::now_ms, persist::LoadError, puts::Puts, refusal::Refusal};
use bytes::Bytes;
use oxmq_record::Draft;
use oxmq_remoting::{Command, code};
use oxmq_store::{Queue, Store, Unit};
use oxmq_types::{QueueId, QueueOffset};
use std::{
    cell::RefCell,
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::Ordering,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use tracing::{error, info};

/// What the engine can leave unread: arrivals that are due later than this ring no bell while it looks.
const GRAIN_MS: i64 = 50;
/// Longest sleep while messages wait: the clock may be set forward.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// What tools are told.
#[derive(Debug, Clone, Default)]
pub(crate) struct Status {
    pub(crate) delay_offsets: DelayOffsets,
    pub(crate) timer_check: TimerCheck,
    /// By level: the next message to deliver, and the end of its queue.
    pub(crate) levels: BTreeMap<u32, (u64, u64)>,
    /// Messages that wait for a time.
    pub(crate) pending: u64,
    /// Messages of the timer's queue that have not been read.
    pub(crate) unread: u64,
    pub(crate) counts: Counts,
}

/// The engine at work, until [`Self::stop`].
#[derive(Debug)]
pub(crate) struct DelayThread {
    delays: Delays,
    status: Arc<Mutex<Status>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl DelayThread {
    /// Begins where the last one ended. `root`: the store's folder.
    ///
    /// # Errors
    /// [`LoadError`] names the file that cannot be read.
    pub(crate) fn start(
        root: &Path,
        store: Arc<Store>,
        puts: Puts,
        delays: Delays,
    ) -> Result<Self, LoadError> {
        let failed = |reason: String| LoadError { path: root.to_owned(), reason };
        let files = Files::new(root);
        let known: Vec<_> = store
            .queues()
            .into_iter()
            .filter(|(topic, _)| [SCHEDULE_TOPIC, TIMER_TOPIC].contains(&&**topic))
            .collect();
        for (topic, id) in &known {
            // Rather no start than to take what cannot be read for empty.
            store.existing_queue(topic, *id).map_err(|error| failed(error.to_string()))?;
        }
        // Levels that are not configured any more may have messages that wait.
        let levels = known.iter().filter(|(topic, _)| &**topic == SCHEDULE_TOPIC).map(|(_, id)| id.0 + 1);
        let levels = (1..=delays.rules().levels.max()).chain(levels);
        let world = Broker { store: store.clone(), puts, queues: RefCell::default() };
        let (engine, version) = files.load(delays.rules(), Sizes::default(), levels, &world)?;
        let status = Arc::new(Mutex::default());
        // None waits while another is written: it would be old before its turn.
        let (sender, receiver) = sync_channel(0);
        let save = move || save(&files, &store, &receiver);
        let run = Run {
            engine,
            world,
            version,
            delays: delays.clone(),
            status: Arc::clone(&status),
            sender,
            save_at: Instant::now(),
        };
        let spawn =
            |name: &str, body: Box<dyn FnOnce() + Send>| thread::Builder::new().name(name.into()).spawn(body);
        let spawned = [spawn("delay-save", Box::new(save)), spawn("delay-deliver", Box::new(|| run.run()))];
        let threads: Result<Vec<_>, _> = spawned.into_iter().collect();
        let threads = Mutex::new(threads.map_err(|error| failed(error.to_string()))?);
        Ok(Self { delays, status, threads })
    }

    /// What tools are told.
    pub(crate) fn status(&self) -> Status {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Answers GET_ALL_DELAY_OFFSET (45).
    pub(crate) fn delay_offsets(&self) -> Command {
        Command::new(code::SUCCESS).with_body(self.status().delay_offsets.to_json())
    }

    /// Answers GET_TIMER_CHECK_POINT (60).
    pub(crate) fn timer_check(&self) -> Command {
        Command::new(code::SUCCESS).with_body(self.status().timer_check.encode().to_vec())
    }

    /// Answers GET_TIMER_METRICS (61): which topics have how many messages that wait is not counted.
    pub(crate) fn timer_metrics(&self) -> Command {
        let version = &self.status().delay_offsets.data_version;
        let metrics = serde_json::json!({"dataVersion": version, "timingCount": {}});
        Command::new(code::SUCCESS).with_body(metrics.to_string().into_bytes())
    }

    /// Ends the engine and saves how far it came. The store must still be open. A second call does nothing.
    pub(crate) fn stop(&self) {
        self.delays.shared.bell.stop();
        for thread in self.threads.lock().unwrap_or_else(PoisonError::into_inner).drain(..).rev() {
            if thread.join().is_err() {
                error!("a thread of the delayed messages panicked");
            }
        }
    }
}

impl Drop for DelayThread {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Run {
    engine: Engine,
    world: Broker,
    version: Version,
    delays: Delays,
    status: Arc<Mutex<Status>>,
    sender: SyncSender<Snapshot>,
    save_at: Instant,
}

impl Run {
    fn run(mut self) {
        let delays = self.delays.clone();
        let bell = &delays.shared.bell;
        let looks_at = |at_ms| bell.looks_at_ms.store(at_ms, Ordering::SeqCst);
        loop {
            looks_at(now_ms() + GRAIN_MS);
            let next = self.engine.step(&self.world);
            let sleep = match next {
                Next::Now => Duration::ZERO,
                Next::At(at_ms) => Duration::from_millis((at_ms - now_ms()).max(0) as u64).min(SLEEP_MAX),
                Next::Idle => Duration::MAX,
            };
            let unsaved = self.offer_snapshot();
            match next {
                Next::Now => {}
                Next::At(at_ms) => looks_at(at_ms),
                Next::Idle => looks_at(i64::MAX),
            }
            // What arrived since the step began may be due before that, and rang no bell.
            let news = if self.engine.has_news(&self.world) {
                Duration::from_millis(GRAIN_MS as u64 / 2)
            } else {
                SLEEP_IDLE
            };
            if !bell.wait(sleep.min(news).min(unsaved.unwrap_or(SLEEP_IDLE))) {
                break;
            }
        }
        if let Err(error) = self.engine.pending.cut() {
            error!(%error, "the next start reads pending messages again from their queue");
        }
        let snapshot = Files::snapshot(&mut self.engine, &mut self.version, now_ms());
        // The other thread ends when this one lets go of the sender.
        drop(self.sender.send(snapshot));
    }

    /// Has what changed saved, if it is time. Says when it will be.
    fn offer_snapshot(&mut self) -> Option<Duration> {
        if !self.engine.changed {
            return None;
        }
        let left = self.save_at.saturating_duration_since(Instant::now());
        if !left.is_zero() {
            return Some(left);
        }
        let snapshot = Files::snapshot(&mut self.engine, &mut self.version, now_ms());
        let levels = self
            .engine
            .progress()
            .into_iter()
            .map(|(level, next)| (level, (next, self.world.range(Line::Level(level)).1)));
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = Status {
            delay_offsets: snapshot.delay_offsets().clone(),
            timer_check: snapshot.timer_check(),
            levels: levels.filter(|(_, (_, end))| *end > 0).collect(),
            pending: self.engine.pending.len(),
            unread: self.world.range(Line::Timer).1.saturating_sub(self.engine.pending.next()),
            counts: self.engine.counts,
        };
        let period = self.delays.rules().save_period;
        self.save_at = Instant::now() + period;
        if self.sender.try_send(snapshot).is_err() {
            // The last one is still being written.
            return Some(period);
        }
        self.engine.changed = false;
        None
    }
}

/// Nothing wakes the engine for longer.
const SLEEP_IDLE: Duration = Duration::from_secs(86_400);

fn save(files: &Files, store: &Store, snapshots: &Receiver<Snapshot>) {
    let mut failing = false;
    while let Ok(mut snapshot) = snapshots.recv() {
        loop {
            // INVARIANT: what the snapshot calls delivered was appended before it was taken, so it is durable then.
            let flushed = store.flush().map_err(|error| error.to_string());
            let Err(error) = flushed.and_then(|()| files.save(&snapshot).map_err(|error| error.to_string()))
            else {
                break;
            };
            if !std::mem::replace(&mut failing, true) {
                error!(error, "progress of delayed messages could not be saved, tried again every second");
            }
            match snapshots.recv_timeout(RETRY_SAVE) {
                Ok(newer) => snapshot = newer,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
        if std::mem::take(&mut failing) {
            info!("progress of delayed messages is saved again");
        }
    }
}

const RETRY_SAVE: Duration = Duration::from_secs(1);

/// The world as it is.
struct Broker {
    store: Arc<Store>,
    puts: Puts,
    /// Those that were there when they were asked for: asking makes none.
    /// `None` for one that could not be opened the last time.
    queues: RefCell<BTreeMap<Line, Option<Arc<Queue>>>>,
}

impl Broker {
    fn queue(&self, line: Line) -> Result<Option<Arc<Queue>>, String> {
        let mut queues = self.queues.borrow_mut();
        if let Some(Some(queue)) = queues.get(&line) {
            return Ok(Some(Arc::clone(queue)));
        }
        let (topic, id) = match line {
            Line::Level(level) => (SCHEDULE_TOPIC, level - 1),
            Line::Timer => (TIMER_TOPIC, 0),
        };
        match self.store.existing_queue(topic, QueueId(id)) {
            Ok(Some(queue)) => {
                queues.insert(line, Some(Arc::clone(&queue)));
                Ok(Some(queue))
            }
            Ok(None) => Ok(None),
            Err(error) => {
                if queues.insert(line, None).is_none() {
                    error!(%error, topic, id, "delayed messages cannot be delivered, tried again");
                }
                Err(error.to_string())
            }
        }
    }
}

impl World for Broker {
    fn now_ms(&self) -> i64 {
        now_ms()
    }

    fn range(&self, line: Line) -> (u64, u64) {
        let queue = self.queue(line).ok().flatten();
        queue.map_or((0, 0), |queue| (queue.min_offset().0, queue.max_offset().0))
    }

    fn units(&self, line: Line, from: u64, max: usize, out: &mut Vec<Unit>) -> Result<(), String> {
        let Some(queue) = self.queue(line)? else { return Ok(()) };
        queue.read_units(QueueOffset(from), max, out).map_err(|error| error.to_string())
    }

    fn record(&self, unit: &Unit) -> Option<Bytes> {
        self.store.read_record(unit.physical, unit.size)
    }

    fn put(&self, draft: &Draft<'_>) -> Result<(), Refusal> {
        self.puts.put_waited(draft).map(drop)
    }
}
