// SPDX-License-Identifier: Apache-2.0
//! The task that owns all others of a consumer: it shares queues, takes them and lets them go, and ends in order.
//!
//! Java: `RebalanceImpl`, `RebalancePushImpl`, `RebalanceService`.

use super::{
    calls::RequestError,
    concurrent,
    held::{Held, now_ms},
    orderly,
    process_queue::Ticket,
    pulling,
    pulse::Pulse,
    push::Shutdown,
    rebalance::{Before, by_broker},
    shared::Shared,
    start::Start,
    stats::SAMPLE_EVERY_MS,
};
use crate::{MessageQueue, instance::Side};
use futures_util::{StreamExt, future::join_all, stream};
use oxmq_types::RETRY_GROUP_PREFIX;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};
use tokio::{
    task::{AbortHandle, JoinSet},
    time::{Interval, MissedTickBehavior, interval},
};
use tracing::{error, info, warn};

/// How often queues are shared anew, without a reason. Java: `RebalanceService#waitInterval`.
const REBALANCE_INTERVAL: Duration = Duration::from_secs(20);
/// The same as long as not all that is ours could be taken.
const UNBALANCED_INTERVAL: Duration = Duration::from_secs(1);
/// How often locks of queues are renewed. Java: `ProcessQueue#REBALANCE_LOCK_INTERVAL`.
const LOCK_INTERVAL: Duration = Duration::from_secs(20);
/// Requests to brokers that are under way at the same time.
const AT_ONCE: usize = 16;
/// How long a rebalance may go on when the consumer stops.
const STOP_GRACE: Duration = Duration::from_secs(3);
/// How long the last commits and unlocks may take.
const GOODBYE: Duration = Duration::from_secs(10);

/// The task that owns all others of a consumer.
pub(crate) struct Keeper {
    shared: Arc<Shared>,
    /// All tasks; they end when this is dropped.
    tasks: JoinSet<()>,
    /// Those that pull.
    pullers: BTreeMap<MessageQueue, AbortHandle>,
    /// Why the queues of topics could not be shared the last time: what goes on for hours is told once.
    told: BTreeMap<String, RequestError>,
}

impl Keeper {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, tasks: JoinSet::new(), pullers: BTreeMap::new(), told: BTreeMap::new() }
    }

    pub(crate) async fn run(mut self) {
        let shared = self.shared.clone();
        let _pulse = (!shared.is_polled()).then(|| Pulse::start(shared.group()));
        self.spawn_workers(shared.options.concurrency);
        // Each on its own: a broker that does not answer the one must not keep the others waiting.
        if shared.commits_by_itself() {
            self.tasks.spawn(keep_offsets(shared.clone()));
        }
        self.tasks.spawn(keep_house(shared.clone()));
        if shared.locks() {
            self.tasks.spawn(keep_locks(shared.clone()));
        }
        let mut rebalanced: Option<Instant> = None;
        loop {
            let balanced = shared.balanced.load(Ordering::Acquire);
            let pause = if balanced { REBALANCE_INTERVAL } else { UNBALANCED_INTERVAL };
            let next = rebalanced
                .map_or(Duration::ZERO, |at| (at + pause).saturating_duration_since(Instant::now()));
            tokio::select! {
                biased;
                () = shared.stopping() => break,
                () = shared.rebalance.notified() => {}
                () = tokio::time::sleep(next) => {}
                Some(ended) = self.tasks.join_next(), if !self.tasks.is_empty() => {
                    if let Err(error) = ended && error.is_panic() {
                        // INVARIANT: handlers are guarded, so this is our own mistake: go on with what is left.
                        error!(group = shared.group(), %error, "a task of the consumer panicked");
                        self.spawn_workers(1);
                    }
                    continue;
                }
            }
            tokio::select! {
                () = self.rebalance() => rebalanced = Some(Instant::now()),
                // Not at once, so that a queue that was locked is taken, and unlocked at the end.
                () = async { shared.stopping().await; tokio::time::sleep(STOP_GRACE).await } => break,
            }
        }
        self.end().await;
    }

    fn spawn_workers(&mut self, count: usize) {
        if !self.shared.orderly && !self.shared.is_polled() {
            for _ in 0..count {
                self.tasks.spawn(concurrent::work(self.shared.clone()));
            }
        }
    }

    /// Shares the queues of all topics anew.
    async fn rebalance(&mut self) {
        let assigned = self.shared.assigned().clone();
        if let Some(assigned) = assigned {
            return self.take_assigned(assigned).await;
        }
        let shared = self.shared.clone();
        let topics: Vec<_> = shared.subscriptions().keys().cloned().collect();
        let mut balanced = true;
        for topic in &topics {
            match self.rebalance_topic(topic).await {
                Ok(all) => {
                    balanced &= all;
                    self.told.remove(topic);
                }
                // It comes with the first message that is sent back, or with the first heartbeat.
                Err(_) if topic.starts_with(RETRY_GROUP_PREFIX) => {}
                Err(error) => {
                    if self.told.get(topic) != Some(&error) {
                        warn!(group = shared.group(), topic, %error, "its queues cannot be shared now");
                        self.told.insert(topic.clone(), error);
                    }
                    balanced = false;
                }
            }
        }
        let foreign = |held: &Arc<Held>| !topics.iter().any(|topic| **topic == *held.queue.topic);
        for held in shared.held().into_iter().filter(foreign) {
            self.let_go(held).await;
        }
        shared.balanced.store(balanced, Ordering::Release);
    }

    /// Takes what the application chose, and lets go all else.
    async fn take_assigned(&mut self, assigned: BTreeSet<MessageQueue>) {
        let held = self.shared.held();
        for held in held.iter().filter(|held| !assigned.contains(&held.queue)) {
            self.let_go(held.clone()).await;
        }
        let mut topics = BTreeMap::<Arc<str>, Vec<MessageQueue>>::new();
        for queue in assigned.into_iter().filter(|queue| !held.iter().any(|held| *held.queue == *queue)) {
            topics.entry(queue.topic.clone()).or_default().push(queue);
        }
        let mut balanced = true;
        for (topic, queues) in topics {
            let wanted = queues.len();
            balanced &= self.take(&topic, queues).await == wanted;
        }
        self.shared.balanced.store(balanced, Ordering::Release);
    }

    /// True if all that is ours was taken, and all else let go.
    async fn rebalance_topic(&mut self, topic: &str) -> Result<bool, RequestError> {
        let shared = self.shared.clone();
        let queues = shared.calls.queues(topic).await?;
        let members = if shared.is_broadcasting() {
            None
        } else {
            match shared.calls.members(topic).await? {
                Some(members) => Some(members),
                // What is held stays held.
                None => return Ok(false),
            }
        };
        let held: BTreeMap<_, _> = shared
            .queues()
            .iter()
            .filter(|(queue, _)| *queue.topic == *topic)
            .map(|(queue, held)| (queue.clone(), held.clone()))
            .collect();
        let client_id = shared.calls.client().client_id();
        let before = Before { member: client_id, members, queues, held: held.keys().cloned().collect() };
        let step = match before.step(&shared.options.allocation) {
            Ok(step) => step,
            Err(error) => {
                error!(group = shared.group(), topic, %error, "queues cannot be shared");
                return Ok(false);
            }
        };
        let leaving = held.values().filter(|held| held.is_released()).count();
        if !step.take.is_empty() || !step.release.is_empty() {
            info!(
                group = shared.group(),
                topic,
                take = step.take.len(),
                release = step.release.len(),
                share = step.share.len(),
                "queues are shared anew"
            );
        }
        for queue in &step.release {
            self.let_go(held[queue].clone()).await;
        }
        let wanted = step.take.len();
        let taken = self.take(topic, step.take).await;
        Ok(taken == wanted && leaving == 0)
    }

    /// Begins with queues. Gives how many could be taken.
    async fn take(&mut self, topic: &str, queues: Vec<MessageQueue>) -> usize {
        let shared = self.shared.clone();
        let Some(subscription) = shared.subscriptions().get(topic).cloned() else { return 0 };
        let mut ours = Vec::new();
        if shared.locks() {
            for (broker_name, queues) in by_broker(queues) {
                match shared.calls.lock(&broker_name, &queues).await {
                    Ok(locked) => ours.extend(locked.into_iter().filter(|queue| queues.contains(queue))),
                    Err(error) => warn!(group = shared.group(), %error, "queues cannot be locked now"),
                }
            }
        } else {
            ours = queues;
        }
        let locked_at = now_ms();
        // The offset is asked for when the lock is ours: the owner before us commits before it unlocks.
        let started = stream::iter(ours)
            .map(|queue| {
                let shared = shared.clone();
                async move { (shared.start_of(&queue).await, queue) }
            })
            .buffer_unordered(AT_ONCE)
            .collect::<Vec<_>>()
            .await;
        let mut taken = 0;
        for (start, queue) in started {
            let start = match start {
                Ok(start) => start,
                Err(error) => {
                    warn!(group = shared.group(), %queue, %error, "nobody says where to begin; the queue is taken later");
                    if shared.locks()
                        && let Err(error) = shared.calls.unlock(vec![queue.clone()]).await
                    {
                        warn!(group = shared.group(), %queue, %error, "it stays locked for a minute");
                    }
                    continue;
                }
            };
            let stats = shared.stats(topic);
            let held = Held::new(queue.clone(), subscription.clone(), stats, shared.totals.clone(), start);
            if shared.locks() {
                held.locked_at_ms.store(locked_at, Ordering::Release);
            }
            shared.queues().insert(queue.clone(), held.clone());
            let puller = self.tasks.spawn(pulling::pull(shared.clone(), held.clone()));
            self.pullers.insert(queue, puller);
            if shared.orderly {
                self.tasks.spawn(orderly::consume(shared.clone(), held));
            }
            taken += 1;
        }
        taken
    }

    /// Lets a queue go.
    async fn let_go(&mut self, held: Arc<Held>) {
        if !held.release() {
            return;
        }
        let shared = self.shared.clone();
        if let Some(puller) = self.pullers.remove(&held.queue) {
            puller.abort();
        }
        if shared.locks() {
            // Its handler may run: the lock is kept, and renewed, until it ends, so that nothing overtakes it.
            self.tasks.spawn(async move {
                held.idle().await;
                shared.persist_at_last(std::slice::from_ref(&held)).await;
                if let Err(error) = shared.calls.unlock(vec![(*held.queue).clone()]).await {
                    warn!(group = shared.group(), queue = %held.queue, %error, "it stays locked for a minute");
                }
                shared.forget(&held);
                shared.rebalance.notify_one();
            });
        } else {
            // What handlers do with it from now on does not count: its new owner begins here.
            if shared.commits_by_itself() {
                shared.persist_at_last(std::slice::from_ref(&held)).await;
            }
            shared.forget(&held);
        }
    }

    /// The end: no more pulls; handlers that run may end; offsets are committed; locks are given back.
    async fn end(mut self) {
        let shared = self.shared.clone();
        self.pullers.values().for_each(AbortHandle::abort);
        let held = shared.held();
        let idle = join_all(held.iter().map(|held| held.idle()));
        let in_time = tokio::time::timeout(shared.options.shutdown_timeout, idle).await.is_ok();
        let unfinished = if in_time { 0 } else { held.iter().filter(|held| !held.is_idle()).count() };
        for held in &held {
            held.release();
        }
        let goodbye = async {
            let failed = if shared.commits_by_itself() { shared.persist_at_last(&held).await } else { 0 };
            if shared.locks()
                && let Err(error) =
                    shared.calls.unlock(held.iter().map(|held| (*held.queue).clone()).collect()).await
            {
                warn!(group = shared.group(), %error, "queues stay locked for a minute");
            }
            shared.calls.client().leave(Side::Consumer, &Arc::from(shared.group())).await;
            failed
        };
        let failed = tokio::time::timeout(GOODBYE, goodbye).await.unwrap_or(held.len());
        *shared.shutdown.lock().unwrap_or_else(PoisonError::into_inner) =
            Shutdown { unfinished_handlers: unfinished, uncommitted_queues: failed };
        // What still runs ends here.
        self.tasks.shutdown().await;
    }
}

fn every(time: Duration) -> Interval {
    let mut interval = interval(time);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// Commits offsets.
async fn keep_offsets(shared: Arc<Shared>) {
    let mut persist = every(shared.options.persist_interval);
    loop {
        persist.tick().await;
        shared.persist(&shared.held()).await;
    }
}

/// Renews locks, and asks for those that are not ours.
async fn keep_locks(shared: Arc<Shared>) {
    let mut all = every(LOCK_INTERVAL);
    let mut lost = every(UNBALANCED_INTERVAL);
    loop {
        tokio::select! {
            _ = all.tick() => shared.renew_locks(shared.held()).await,
            _ = lost.tick() => {
                let held = shared.held().into_iter().filter(|held| !held.is_locked()).collect();
                shared.renew_locks(held).await;
            }
        }
    }
}

/// Looks after messages that wait or are stuck, and remembers figures.
async fn keep_house(shared: Arc<Shared>) {
    let (least, most) = (Duration::from_millis(50), Duration::from_secs(60));
    let mut sweep = every((shared.options.consume_timeout / 4).clamp(least, most));
    let mut tick = every(Duration::from_secs(1));
    let mut sample = every(Duration::from_millis(SAMPLE_EVERY_MS as u64));
    loop {
        tokio::select! {
            _ = sweep.tick(), if !shared.orderly => concurrent::sweep(&shared, &shared.held()).await,
            _ = sample.tick() => shared.sample_stats(),
            _ = tick.tick() => {
                shared.line.give_again(Instant::now());
                shared.line.nudge();
            }
        }
    }
}

impl Shared {
    /// Renews the locks of queues. Java: `RebalanceImpl#lockAll`.
    async fn renew_locks(&self, held: Vec<Arc<Held>>) {
        let queues = held.iter().map(|held| (*held.queue).clone());
        for (broker_name, queues) in by_broker(queues) {
            let at = now_ms();
            let locked = match self.calls.lock(&broker_name, &queues).await {
                Ok(locked) => locked,
                Err(error) => {
                    warn!(group = self.group(), broker_name, %error, "locks of queues cannot be renewed now");
                    continue;
                }
            };
            for held in held.iter().filter(|held| *held.queue.broker_name == *broker_name) {
                if locked.contains(&held.queue) {
                    self.locked(held, at).await;
                } else if held.locked_at_ms.swap(0, Ordering::AcqRel) != 0 {
                    warn!(group = self.group(), queue = %held.queue, "another member has the lock of this queue");
                }
            }
        }
    }

    /// Where a queue begins for this group.
    pub(crate) async fn start_of(&self, queue: &MessageQueue) -> Result<i64, RequestError> {
        let committed = self.committed(queue).await?;
        let retry = queue.topic.starts_with(RETRY_GROUP_PREFIX);
        match self.options.from.start(committed, retry) {
            Start::At(offset) => Ok(offset),
            Start::End => self.calls.max_offset(queue).await,
            Start::Time(ms) => self.calls.search_offset(queue, ms).await,
        }
    }

    /// Asks brokers what they think of filters that they have to parse. Java: `MQClientInstance#checkClientInBroker`.
    pub(crate) async fn check_filters(&self) -> Result<(), RequestError> {
        let all: Vec<_> = self.subscriptions().values().cloned().collect();
        for subscription in all.iter().filter(|subscription| subscription.data.expression_type != "TAG") {
            match self.calls.check_filter(subscription).await {
                // The topic may come later.
                Ok(()) | Err(RequestError::Route(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The offset that the group, or this member of a broadcasting one, committed.
    pub(crate) async fn committed(&self, queue: &MessageQueue) -> Result<Option<i64>, RequestError> {
        match &self.local {
            Some(local) => {
                let (local, queue) = (local.clone(), queue.clone());
                // It may be locked while the file is written.
                let get = move || local.lock().unwrap_or_else(PoisonError::into_inner).get(&queue);
                Ok(tokio::task::spawn_blocking(get).await.unwrap_or_default())
            }
            None => self.calls.committed(queue).await,
        }
    }

    /// Commits what changed. Gives the number of queues for which that failed.
    pub(crate) async fn persist(&self, queues: &[Arc<Held>]) -> usize {
        let due: Vec<_> = queues.iter().filter_map(|held| Some((held.clone(), held.due_commit()?))).collect();
        if due.is_empty() {
            return 0;
        }
        if let Some(local) = &self.local {
            let local = local.clone();
            let offsets: Vec<_> = due.iter().map(|(held, due)| ((*held.queue).clone(), due.offset)).collect();
            let save = move || local.lock().unwrap_or_else(PoisonError::into_inner).save(offsets);
            return match tokio::task::spawn_blocking(save).await {
                Ok(Ok(())) => {
                    due.iter().for_each(|(held, due)| held.note_commit(*due));
                    0
                }
                Ok(Err(error)) => {
                    error!(group = self.group(), %error, "offsets cannot be kept");
                    due.len()
                }
                Err(_) => due.len(),
            };
        }
        let commit = |(held, due): (Arc<Held>, Ticket)| async move {
            match self.calls.commit(&held.queue, due.offset).await {
                Ok(()) => {
                    held.note_commit(due);
                    0
                }
                Err(error) => {
                    warn!(group = self.group(), queue = %held.queue, %error, "an offset cannot be committed now");
                    1
                }
            }
        };
        stream::iter(due)
            .map(commit)
            .buffer_unordered(AT_ONCE)
            .fold(0, async |sum, failed| sum + failed)
            .await
    }

    /// [`Self::persist`] for the last time, after which other members begin there: if an older offset, of a pull that is
    /// still under way, overtook what was committed, that is committed again.
    async fn persist_at_last(&self, queues: &[Arc<Held>]) -> usize {
        let failed = self.persist(queues).await;
        let overtaken = queues.iter().filter_map(|held| Some((held, held.overtaken()?)));
        stream::iter(overtaken)
            .for_each_concurrent(AT_ONCE, async |(held, (carried, offset))| {
                if matches!(self.calls.committed(&held.queue).await, Ok(Some(now)) if now == carried)
                    && let Err(error) = self.calls.commit(&held.queue, offset).await
                {
                    warn!(group = self.group(), queue = %held.queue, %error, "messages from {carried} on come again");
                }
            })
            .await;
        failed
    }

    /// The queue is no longer ours.
    fn forget(&self, held: &Arc<Held>) {
        held.change(|state| state.reset(0));
        let mut queues = self.queues();
        if queues.get(&held.queue).is_some_and(|now| Arc::ptr_eq(now, held)) {
            queues.remove(&held.queue);
        }
    }

    /// The lock of a queue was renewed at `at`. If it had not been ours for certain, another member may have consumed
    /// meanwhile: the queue begins anew where that one came to.
    async fn locked(&self, held: &Held, at: i64) {
        if !held.is_locked() && !held.is_released() {
            if !held.is_idle() {
                // Its handler has messages of before: later.
                return;
            }
            match self.start_of(&held.queue).await {
                Ok(start) => held.change(|state| state.reset(start)),
                Err(error) => {
                    warn!(group = self.group(), queue = %held.queue, %error, "nobody says where to go on");
                    return;
                }
            }
        }
        held.locked_at_ms.store(at, Ordering::Release);
        held.arrived.notify_one();
    }
}
