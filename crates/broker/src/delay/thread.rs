// SPDX-License-Identifier: Apache-2.0
//! The thread of the engine, and the thread that saves what it has done: no delivery waits for the disk.

use super::{
    Delays,
    engine::{Counts, Engine, Line, Next, World},
    pending::Sizes,
    progress::{DelayOffsets, Files, Snapshot, TimerCheck, Version},
};
use crate::{groups::now_ms, persist::LoadError, puts::Puts, refusal::Refusal};
use bytes::Bytes;
use oxmq_record::Draft;
use oxmq_remoting::{Command, code};
use oxmq_store::{Queue, ReadError, Store, Unit};
use oxmq_types::{QueueId, QueueOffset, SCHEDULE_TOPIC, TIMER_TOPIC};
use std::{
    cell::RefCell,
    collections::BTreeMap,
    error::Error,
    panic::{self, AssertUnwindSafe},
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::Ordering,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
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
    /// How far the timer's queue is read.
    read: u64,
    /// Messages of the timer's queue that have not been read.
    pub(crate) unread: u64,
    pub(crate) counts: Counts,
}

/// The engine at work, until [`Self::stop`].
#[derive(Debug)]
pub(crate) struct DelayThread {
    work: Arc<Work>,
    thread: Mutex<Option<JoinHandle<()>>>,
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
        let known: Vec<_> = store
            .queues()
            .into_iter()
            .filter(|(topic, _)| [SCHEDULE_TOPIC, TIMER_TOPIC].contains(&&**topic))
            .collect();
        for (topic, id) in &known {
            // Rather no start than to take what cannot be read for empty.
            store.queue_when_built(topic, *id).map_err(|error| failed(error.to_string()))?;
        }
        // Levels that are not configured any more may have messages that wait.
        let levels = known.iter().filter(|(topic, _)| &**topic == SCHEDULE_TOPIC).map(|(_, id)| id.0 + 1);
        let levels = (1..=delays.rules().levels.max()).chain(levels).collect();
        let status = Mutex::default();
        let work = Arc::new(Work { files: Files::new(root), levels, store, puts, delays, status });
        let mut first = Some(work.load()?);
        let body = {
            let work = Arc::clone(&work);
            move || {
                let attempt = || work.deliver(first.take().map_or_else(|| work.load(), Ok)?);
                again(attempt, |pause| work.delays.shared.bell.pause(pause));
            }
        };
        let thread = thread::Builder::new().name("delay-deliver".into()).spawn(body);
        let thread = Mutex::new(Some(thread.map_err(|error| failed(error.to_string()))?));
        Ok(Self { work, thread })
    }

    /// What tools are told.
    pub(crate) fn status(&self) -> Status {
        let mut status = self.work.status().clone();
        // The engine sleeps through arrivals that are not due soon, so it does not know the ends.
        let end = |topic, id| {
            let queue = self.work.store.existing_queue(topic, QueueId(id)).ok().flatten();
            queue.map_or(0, |queue| queue.max_offset().0)
        };
        for (level, (_, of_queue)) in &mut status.levels {
            *of_queue = end(SCHEDULE_TOPIC, level - 1);
        }
        status.levels.retain(|_, (_, end)| *end > 0);
        status.unread = end(TIMER_TOPIC, 0).saturating_sub(status.read);
        status
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
        self.work.delays.shared.bell.stop();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            error!("the thread of the delayed messages panicked");
        }
    }
}

impl Drop for DelayThread {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What the threads work with.
#[derive(Debug)]
struct Work {
    files: Files,
    /// Numbers of the levels that have a queue, or are configured.
    levels: Vec<u32>,
    store: Arc<Store>,
    puts: Puts,
    delays: Delays,
    status: Mutex<Status>,
}

impl Work {
    fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn load(&self) -> Result<Loaded, LoadError> {
        let world = Broker { store: self.store.clone(), puts: self.puts.clone(), queues: RefCell::default() };
        let levels = self.levels.iter().copied();
        let (mut engine, version) =
            self.files.load(&self.delays.rules(), Sizes::default(), levels, &world)?;
        engine.counts = self.status().counts;
        Ok(Loaded { engine, world, version })
    }

    /// Delivers until the broker ends.
    fn deliver(&self, loaded: Loaded) -> Result<(), Box<dyn Error>> {
        // None waits while another is written: it would be old before its turn.
        let (sender, receiver) = sync_channel(0);
        thread::scope(|scope| {
            let save = move || save(&self.files, &self.store, &receiver);
            thread::Builder::new().name("delay-save".into()).spawn_scoped(scope, save)?;
            let Loaded { engine, world, version } = loaded;
            Run { work: self, engine, world, version, sender, save_at: Instant::now() }.run();
            Ok(())
        })
    }
}

/// How long delivery rests after it failed as a whole; doubled each time that it fails soon again.
const PAUSE: Duration = Duration::from_secs(10);
const PAUSE_MAX: Duration = Duration::from_secs(640);

/// Calls `attempt` until it ends well, or `pause` says that all is to end.
///
/// A panic of the engine is a bug, but one that must not keep messages until somebody notices. Nothing that it left half
/// done is used again: an attempt begins with what was saved, so messages may be delivered again, and none is lost.
fn again(mut attempt: impl FnMut() -> Result<(), Box<dyn Error>>, mut pause: impl FnMut(Duration) -> bool) {
    let mut rest = PAUSE;
    loop {
        let begun = Instant::now();
        let why = match panic::catch_unwind(AssertUnwindSafe(&mut attempt)) {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(panic) => {
                let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
                let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
                format!("panicked: {}", text.unwrap_or_default())
            }
        };
        if begun.elapsed() > PAUSE_MAX {
            rest = PAUSE;
        }
        error!(
            why,
            "delayed messages are not delivered; it begins again in {rest:?} where progress was saved, so some may come \
             twice; if this comes again, report it, and restart the broker without the folder delay/ of its store"
        );
        if !pause(rest) {
            return;
        }
        // Each attempt may deliver the same messages again before it fails.
        rest = (rest * 2).min(PAUSE_MAX);
    }
}

/// What an attempt begins with.
struct Loaded {
    engine: Engine,
    world: Broker,
    version: Version,
}

struct Run<'a> {
    work: &'a Work,
    engine: Engine,
    world: Broker,
    version: Version,
    sender: SyncSender<Snapshot>,
    save_at: Instant,
}

impl Run<'_> {
    fn run(mut self) {
        let bell = &self.work.delays.shared.bell;
        let looks_at = |at_ms| bell.looks_at_ms.store(at_ms, Ordering::SeqCst);
        loop {
            looks_at(now_ms() + GRAIN_MS);
            let next = self.engine.step(&self.world);
            let sleep = match next {
                Next::Now => Duration::ZERO,
                Next::At(at_ms) => Duration::from_millis((at_ms - now_ms()).max(0) as u64).min(SLEEP_MAX),
                Next::Idle => Duration::MAX,
            };
            self.tell();
            let Ok(unsaved) = self.offer_snapshot() else { return };
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

    /// Notes for tools how things stand.
    fn tell(&self) {
        let engine = &self.engine;
        let mut status = self.work.status();
        status.levels = engine.progress().into_iter().map(|(level, next)| (level, (next, 0))).collect();
        status.pending = engine.pending.len();
        status.read = engine.pending.next();
        status.counts = engine.counts;
    }

    /// Has what changed saved, if it is time. Says when it will be.
    ///
    /// # Errors
    /// If the thread that saves is gone.
    fn offer_snapshot(&mut self) -> Result<Option<Duration>, Gone> {
        if !self.engine.changed {
            return Ok(None);
        }
        let left = self.save_at.saturating_duration_since(Instant::now());
        if !left.is_zero() {
            return Ok(Some(left));
        }
        let snapshot = Files::snapshot(&mut self.engine, &mut self.version, now_ms());
        {
            let mut status = self.work.status();
            status.delay_offsets = snapshot.delay_offsets().clone();
            status.timer_check = snapshot.timer_check();
        }
        let period = self.work.delays.rules().save_period;
        self.save_at = Instant::now() + period;
        match self.sender.try_send(snapshot) {
            Ok(()) => {
                self.engine.changed = false;
                Ok(None)
            }
            // The last one is still being written.
            Err(TrySendError::Full(_)) => Ok(Some(period)),
            Err(TrySendError::Disconnected(_)) => Err(Gone),
        }
    }
}

/// The thread that saves panicked, which is told when both have ended.
struct Gone;

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

    fn record(&self, unit: &Unit) -> Result<Option<Bytes>, String> {
        match self.store.read_unit(unit) {
            Ok(record) => Ok(Some(record)),
            Err(ReadError::Gone | ReadError::Damaged) => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    fn put(&self, draft: &Draft<'_>) -> Result<(), Refusal> {
        self.puts.put_as_is(draft).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delivery_begins_again_after_a_panic() {
        let (mut attempts, mut pauses) = (0, Vec::new());
        let attempt = || {
            attempts += 1;
            match attempts {
                1 => panic!("a bug"),
                2 => Err("no such file".into()),
                _ => Ok(()),
            }
        };
        again(attempt, |pause| {
            pauses.push(pause);
            true
        });
        assert_eq!((attempts, pauses), (3, vec![PAUSE, PAUSE * 2]));
        again(|| panic!("the broker ends"), |_| false);
    }
}
