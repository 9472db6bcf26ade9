// SPDX-License-Identifier: Apache-2.0
//! Messages that are delivered later than they are sent: after one of the delays of a table (levels), or at any time.
//!
//! A message of a level waits in `SCHEDULE_TOPIC_XXXX`, queue = level - 1, one with a time in `rmq_sys_wheel_timer`,
//! queue 0. Its properties name the topic and queue that it is for. When its time has come, it is stored there.
//!
//! - `level`: the table `messageDelayLevel`
//! - `rewrite`: what its properties say, when it is sent and when it is delivered; pure
//! - `engine`: what is due next, and delivers it; pure but for the run files
//! - `pending`, `run`, `marks`: what waits for a time, in bounded memory
//! - `progress`: the files that say how far the engine came, Java's and ours
//! - `thread`: the engine's thread, and the one that saves
//! - `recall`: RECALL_MESSAGE (370)
//!
//! What must hold
//! - Progress moves only after the append to the target, and is written only when that is durable. So after a crash a
//!   message can come again; it is never lost, whatever fails.
//! - Never early by the clock of this machine; late by the time that the work takes. If the clock is set back, what was
//!   sent before waits longer, and what is sent then is not mixed up with what has been delivered.
//! - In memory are 8 MiB of keys and 4 KiB for each run file, however many messages wait.
//! - Nobody who sends waits for the engine, and it has no lock in common with them but those of the store.
//!
//! A recall is a message, too. It waits in the timer's queue for the slot of the message that it recalls; when that
//! begins it is remembered, and the message is passed over.
//!
//! Java: `HookUtils#handleScheduleMessage`, `ScheduleMessageService`, `TimerMessageStore`, `RecallMessageProcessor`.

mod engine;
mod level;
mod marks;
mod pending;
mod progress;
mod recall;
mod rewrite;
mod run;
#[cfg(test)]
mod tests;
mod thread;

pub use level::Levels;
pub(crate) use progress::DelayOffsets;
pub(crate) use recall::{Recalls, handle as recall_handle};
pub(crate) use rewrite::Waiting;
pub(crate) use thread::DelayThread;

use crate::{groups::now_ms, live::Live, refusal::Refusal};
use arc_swap::Guard;
use oxmq_record::{RecordView, properties};
use oxmq_store::tags_of;
use oxmq_types::{QueueId, SCHEDULE_TOPIC, TagsCode};
use std::{
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

/// How messages are delayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DelayRules {
    /// `messageDelayLevel`.
    pub levels: Levels,
    /// `timerWheelEnable`: times are allowed.
    pub timer: bool,
    /// `timerMaxDelaySec`, in ms: how far away a time may be.
    pub timer_max_ms: i64,
    /// `timerPrecisionMs`: the slots of Java's wheel. Messages are delivered to the millisecond all the same.
    pub timer_precision_ms: i64,
    /// `timerFlushIntervalMs`: how often progress is saved, while there is any.
    pub save_period: Duration,
    /// `recallMessageEnable`.
    pub recall: bool,
    /// `allowRecallWhenBrokerNotWriteable`.
    pub recall_when_not_writable: bool,
    /// `brokerName`, part of the handles of recalls.
    pub broker: String,
}

impl Default for DelayRules {
    /// Java's.
    fn default() -> Self {
        Self {
            levels: Levels::default(),
            timer: true,
            timer_max_ms: 3 * 86_400_000,
            timer_precision_ms: 1_000,
            save_period: Duration::from_secs(1),
            recall: false,
            recall_when_not_writable: true,
            broker: String::new(),
        }
    }
}

/// Gives a record that recovery dispatches again its tags code: the time for `SCHEDULE_TOPIC_XXXX`, else the hash of
/// its tag. Java: `CommitLog#checkMessageAndReturnSize`.
pub fn dispatch_rule(levels: Levels) -> impl Fn(&RecordView<'_>) -> TagsCode + Send + Sync + 'static {
    move |record| {
        if record.topic() == SCHEDULE_TOPIC
            && let Some(level @ 1..) = record.property(properties::DELAY).and_then(rewrite::number::<u32>)
        {
            return TagsCode(levels.due_ms(level.min(levels.max()), record.store_timestamp_ms()));
        }
        tags_of(record)
    }
}

/// True if a property of that name and value asks for a later delivery.
pub(crate) fn asks_for_delay(name: &[u8], value: &[u8]) -> bool {
    match name {
        b"DELAY" => !matches!(value, b"0" | b"-1"),
        b"TIMER_DELIVER_MS" | b"TIMER_DELAY_SEC" | b"TIMER_DELAY_MS" => true,
        _ => false,
    }
}

/// True if the properties ask for a later delivery.
pub(crate) fn is_delayed(properties: &[u8]) -> bool {
    properties::iter(properties).any(|(name, value)| asks_for_delay(name, value))
}

/// What those who store messages need of this feature. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Delays {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    rules: Live<DelayRules>,
    bell: Bell,
}

impl Delays {
    pub(crate) fn new(rules: DelayRules) -> Self {
        Self { shared: Arc::new(Shared { rules: Live::new(rules), bell: Bell::default() }) }
    }

    pub(crate) fn rules(&self) -> Guard<Arc<DelayRules>> {
        self.shared.rules.get()
    }

    /// Takes over what may change while the broker runs: how far away a time may be, and recalls.
    pub(crate) fn change(&self, new: &DelayRules) {
        let DelayRules { timer_max_ms, recall, recall_when_not_writable, .. } = *new;
        let now = DelayRules::clone(&self.rules());
        self.shared.rules.set(DelayRules { timer_max_ms, recall, recall_when_not_writable, ..now });
    }

    /// Notes in the properties of a message that is to be delivered later where that is, and says where it waits until
    /// then. `None` if it does not have to wait.
    ///
    /// # Errors
    /// [`Refusal`] with Java's code if level or time are none, or the time is too far away.
    pub(crate) fn redirect(
        &self,
        target: (&str, QueueId),
        properties: &mut Vec<u8>,
    ) -> Result<Option<Waiting>, Refusal> {
        rewrite::redirect(&self.rules(), target, properties, now_ms())
    }

    /// Says that a message that is due at `due_ms` was stored at `offset` of the queue where it waits.
    pub(crate) fn arrived(&self, due_ms: i64, offset: u64) {
        // The engine looks at the queues before anything that it knows is due, so most arrivals need not wake it; but
        // not so rarely that there is much to read then.
        let bell = &self.shared.bell;
        if due_ms < bell.looks_at_ms.load(Ordering::SeqCst) || offset.is_multiple_of(ARRIVALS_MAX) {
            bell.ring();
        }
    }
}

/// Arrivals that the engine can leave unread as long as nothing is due.
const ARRIVALS_MAX: u64 = 4_096;

/// Wakes the engine.
#[derive(Debug)]
struct Bell {
    /// Until when the engine can sleep on, unless something arrives that is due before; ms since 1970.
    looks_at_ms: AtomicI64,
    rung: Mutex<Rung>,
    condvar: Condvar,
}

#[derive(Debug, Default)]
struct Rung {
    rung: bool,
    stop: bool,
}

impl Default for Bell {
    fn default() -> Self {
        Self { looks_at_ms: AtomicI64::new(i64::MAX), rung: Mutex::default(), condvar: Condvar::new() }
    }
}

impl Bell {
    fn ring(&self) {
        self.rung.lock().unwrap_or_else(PoisonError::into_inner).rung = true;
        self.condvar.notify_one();
    }

    fn stop(&self) {
        self.rung.lock().unwrap_or_else(PoisonError::into_inner).stop = true;
        self.condvar.notify_one();
    }

    /// Sleeps for `pause`, whatever rings. False if the engine is to end.
    fn pause(&self, pause: Duration) -> bool {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.condvar.wait_timeout_while(rung, pause, |rung| !rung.stop);
        !waited.unwrap_or_else(PoisonError::into_inner).0.stop
    }

    /// Sleeps until the bell rings, `timeout` at most. False if the engine is to end.
    fn wait(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        while !rung.rung && !rung.stop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            rung = self.condvar.wait_timeout(rung, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        rung.rung = false;
        !rung.stop
    }
}
