// SPDX-License-Identifier: Apache-2.0
//! What all tasks of one push or lite pull consumer have in common.

use super::{
    calls::Calls,
    concurrent::Line,
    handler::{AnyHandler, Batch, Ended, Outcome},
    held::{Held, Totals, now_ms},
    hook::{Consumption, Ending},
    local_offsets::LocalOffsets,
    options::{ConsumerOptions, Model},
    process_queue::Bounds,
    push::Shutdown,
    stats::{ConsumeTotals, TopicStats},
    subscription::Subscription,
};
use crate::MessageQueue;
use std::{
    collections::{BTreeMap, BTreeSet},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
    time::Duration,
};
use tokio::sync::{Notify, Semaphore, watch};
use tracing::warn;

/// Queues by name.
pub(crate) type Queues = BTreeMap<MessageQueue, Arc<Held>>;

/// Who takes the messages.
pub(crate) enum Taker {
    /// A handler, called by us.
    Handler(Box<dyn AnyHandler>),
    /// The application, which polls.
    Poll {
        /// Offsets are committed by themselves.
        auto_commit: bool,
    },
}

/// What the tasks of a push or lite pull consumer share.
pub(crate) struct Shared {
    pub(crate) options: ConsumerOptions,
    pub(crate) orderly: bool,
    pub(crate) taker: Taker,
    /// Queues that the application chose itself. `None`: the group shares them.
    assigned: Mutex<Option<BTreeSet<MessageQueue>>>,
    pub(crate) calls: Calls,
    pub(crate) line: Line,
    /// One permit for each handler of an orderly consumer that may run.
    pub(crate) handlers: Semaphore,
    pub(crate) totals: Arc<Totals>,
    /// Rung when the group's members, the routes or the subscriptions changed.
    pub(crate) rebalance: Notify,
    pub(crate) started_ms: i64,
    /// What is subscribed to, by topic, the retry topic included.
    subscriptions: Mutex<BTreeMap<String, Arc<Subscription>>>,
    stats: Mutex<BTreeMap<String, Arc<TopicStats>>>,
    /// Queues that are ours, and for orderly consumers those that are being let go.
    queues: Mutex<Queues>,
    stopping: watch::Sender<bool>,
    paused: watch::Sender<bool>,
    /// All that is ours was taken, and all else let go.
    pub(crate) balanced: AtomicBool,
    /// Offsets of a broadcasting consumer. Only held on threads for blocking work, and for looking one up.
    pub(crate) local: Option<Arc<Mutex<LocalOffsets>>>,
    /// How it ended.
    pub(crate) shutdown: Mutex<Shutdown>,
}

impl Shared {
    pub(crate) fn new(
        options: ConsumerOptions,
        orderly: bool,
        taker: Taker,
        calls: Calls,
        subscriptions: BTreeMap<String, Arc<Subscription>>,
        local: Option<Arc<Mutex<LocalOffsets>>>,
    ) -> Self {
        Self {
            handlers: Semaphore::new(options.concurrency),
            options,
            orderly,
            taker,
            assigned: Mutex::default(),
            calls,
            line: Line::default(),
            totals: Arc::default(),
            rebalance: Notify::new(),
            started_ms: now_ms(),
            subscriptions: Mutex::new(subscriptions),
            stats: Mutex::default(),
            queues: Mutex::default(),
            stopping: watch::Sender::new(false),
            paused: watch::Sender::new(false),
            balanced: AtomicBool::new(false),
            local,
            shutdown: Mutex::default(),
        }
    }

    pub(crate) fn group(&self) -> &str {
        &self.options.group
    }

    /// The handler; nobody asks a consumer that has none.
    pub(crate) fn handler(&self) -> &dyn AnyHandler {
        match &self.taker {
            Taker::Handler(handler) => handler.as_ref(),
            Taker::Poll { .. } => &no_handler,
        }
    }

    /// True if the application polls.
    pub(crate) fn is_polled(&self) -> bool {
        matches!(self.taker, Taker::Poll { .. })
    }

    /// True if offsets are committed without the application's doing.
    pub(crate) fn commits_by_itself(&self) -> bool {
        !matches!(self.taker, Taker::Poll { auto_commit: false })
    }

    pub(crate) fn is_broadcasting(&self) -> bool {
        self.options.model == Model::Broadcasting
    }

    /// True if queues have to be locked.
    pub(crate) fn locks(&self) -> bool {
        self.orderly && !self.is_broadcasting()
    }

    pub(crate) fn bounds(&self) -> Bounds {
        Bounds {
            count: self.options.queue_count_max,
            bytes: self.options.queue_bytes_max,
            span: (!self.orderly).then_some(self.options.queue_span_max as i64),
        }
    }

    /// What the broker is told of how often a message is tried. Java: `#getMaxReconsumeTimes`.
    pub(crate) fn max_reconsume_times(&self) -> i32 {
        if self.options.max_reconsume_times < 0 { 16 } else { self.options.max_reconsume_times }
    }

    pub(crate) fn subscriptions(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Subscription>>> {
        self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn queues(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn assigned(&self) -> MutexGuard<'_, Option<BTreeSet<MessageQueue>>> {
        self.assigned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All queues, to work on one after the other.
    pub(crate) fn held(&self) -> Vec<Arc<Held>> {
        self.queues().values().cloned().collect()
    }

    /// Names of the queues that are ours.
    pub(crate) fn held_queues(&self) -> Vec<MessageQueue> {
        self.queues().iter().filter(|(_, held)| !held.is_released()).map(|(queue, _)| queue.clone()).collect()
    }

    /// Subscribes to a topic, or to the same with another filter.
    pub(crate) fn add_subscription(&self, subscription: Arc<Subscription>) {
        let topic = subscription.data.topic.clone();
        for held in self.held().iter().filter(|held| *held.queue.topic == *topic) {
            held.subscribe(subscription.clone());
        }
        self.subscriptions().insert(topic, subscription);
    }

    pub(crate) fn stats(&self, topic: &str) -> Arc<TopicStats> {
        let mut stats = self.stats.lock().unwrap_or_else(PoisonError::into_inner);
        stats.entry(topic.to_owned()).or_default().clone()
    }

    pub(crate) fn all_stats(&self) -> Vec<(String, ConsumeTotals)> {
        let stats = self.stats.lock().unwrap_or_else(PoisonError::into_inner);
        stats.iter().map(|(topic, stats)| (topic.clone(), stats.totals())).collect()
    }

    pub(crate) fn sample_stats(&self) {
        let stats: Vec<_> =
            self.stats.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        stats.iter().for_each(|stats| stats.sample(now_ms()));
    }

    pub(crate) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Returns when the consumer stops.
    pub(crate) async fn stopping(&self) {
        let _ = self.stopping.subscribe().wait_for(|stopping| *stopping).await;
    }

    /// No more pulls, no more batches.
    pub(crate) fn stop(&self) {
        self.stopping.send_replace(true);
        self.line.close();
        self.held().iter().for_each(|held| held.arrived.notify_one());
    }

    pub(crate) fn pause(&self, paused: bool) {
        self.paused.send_replace(paused);
    }

    /// Returns when the consumer is not paused.
    pub(crate) async fn resumed(&self) {
        let _ = self.paused.subscribe().wait_for(|paused| !paused).await;
    }

    /// Counts how a handler ended.
    pub(crate) fn count(&self, held: &Held, ended: &Ended) -> Ending {
        match ended {
            Ended::Outcome(_) => Ending::Success,
            Ended::Panicked(_) => {
                held.stats.panicked();
                Ending::Panicked
            }
            Ended::TimedOut => {
                held.stats.timed_out();
                Ending::TimedOut
            }
        }
    }

    /// Tells the hooks that a handler is about to get `batch`.
    pub(crate) fn before(&self, batch: &Batch) {
        for hook in &self.options.hooks {
            guarded(|| hook.before(self.group(), batch));
        }
    }

    /// Tells the hooks what became of `batch`.
    pub(crate) fn after(&self, batch: &Batch, outcome: Outcome, ending: Ending, elapsed: Duration) {
        for hook in &self.options.hooks {
            let consumption = Consumption { group: self.group(), batch, outcome, ending, elapsed };
            guarded(|| hook.after(&consumption));
        }
    }
}

async fn no_handler(_: Batch) -> Outcome {
    Outcome::Retry
}

fn guarded(hook: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(hook)).is_err() {
        warn!("a consume hook panicked");
    }
}

impl Ending {
    /// A handler that came back without success for all failed.
    pub(crate) fn unless_failed(self, success: bool) -> Self {
        if self == Self::Success && !success { Self::Failed } else { self }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("options", &self.options)
            .field("orderly", &self.orderly)
            .finish_non_exhaustive()
    }
}
