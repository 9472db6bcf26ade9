// SPDX-License-Identifier: Apache-2.0
//! A queue that a consumer holds: its unfinished messages, and what its tasks tell each other.

use super::{
    process_queue::{Bounds, ProcessQueue, Ticket},
    stats::TopicStats,
    subscription::Subscription,
};
use crate::{MessageQueue, ReceivedMessage};
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::sync::{Notify, watch};

/// How long a lock of a queue is trusted after it was renewed. Java: `ProcessQueue#REBALANCE_LOCK_MAX_LIVE_TIME`. The
/// broker gives it to another after 60 s.
pub(crate) const LOCK_TRUSTED: Duration = Duration::from_secs(30);

/// Ms since 1970.
pub(crate) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as i64)
}

/// Unfinished messages of all queues of a consumer.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    count: AtomicUsize,
    bytes: AtomicUsize,
}

impl Totals {
    fn change(&self, before: (usize, usize), after: (usize, usize)) {
        self.count.fetch_add(after.0.wrapping_sub(before.0), Ordering::Relaxed);
        self.bytes.fetch_add(after.1.wrapping_sub(before.1), Ordering::Relaxed);
    }

    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// One queue of a push or lite pull consumer.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) queue: Arc<MessageQueue>,
    pub(crate) stats: Arc<TopicStats>,
    subscription: Mutex<Arc<Subscription>>,
    state: Mutex<ProcessQueue>,
    totals: Arc<Totals>,
    /// Set once, when the queue is another member's: nothing of it is given to handlers any more.
    released: watch::Sender<bool>,
    /// Rung when messages came that wait for a handler (orderly), or when a queue was paused, locked or released.
    pub(crate) arrived: Notify,
    /// Rung when a pull may go on.
    pub(crate) room: Notify,
    waits_for_room: AtomicBool,
    /// True while it stands in the line of the workers.
    pub(crate) in_line: AtomicBool,
    /// Broker id that the broker told us to pull from.
    pub(crate) pull_from: AtomicI64,
    /// Offset that was committed last, -1 for none, and when, in ms since 1970.
    pub(crate) committed: AtomicI64,
    pub(crate) committed_at_ms: AtomicI64,
    /// Offset that the pull under way commits, -1 for none.
    carried: AtomicI64,
    /// When the lock was renewed, in ms since 1970; 0 if it is not ours.
    pub(crate) locked_at_ms: AtomicI64,
    /// Handlers that have messages of it, for releases and shutdown.
    running: AtomicUsize,
    idle: Notify,
    /// Not pulled from (lite pull).
    paused: watch::Sender<bool>,
    /// Rung when the queue goes on elsewhere: a pull that is held for the old place is given up.
    pub(crate) moved: Notify,
}

impl Held {
    pub(crate) fn new(
        queue: MessageQueue,
        subscription: Arc<Subscription>,
        stats: Arc<TopicStats>,
        totals: Arc<Totals>,
        start: i64,
    ) -> Arc<Self> {
        Arc::new(Self {
            queue: Arc::new(queue),
            stats,
            subscription: Mutex::new(subscription),
            state: Mutex::new(ProcessQueue::new(start, now_ms())),
            totals,
            released: watch::Sender::new(false),
            arrived: Notify::new(),
            room: Notify::new(),
            waits_for_room: AtomicBool::new(false),
            in_line: AtomicBool::new(false),
            pull_from: AtomicI64::new(0),
            committed: AtomicI64::new(-1),
            committed_at_ms: AtomicI64::new(0),
            carried: AtomicI64::new(-1),
            locked_at_ms: AtomicI64::new(0),
            running: AtomicUsize::new(0),
            idle: Notify::new(),
            paused: watch::Sender::new(false),
            moved: Notify::new(),
        })
    }

    /// Its unfinished messages, to look at.
    pub(crate) fn state(&self) -> MutexGuard<'_, ProcessQueue> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the unfinished messages, and keeps the totals.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut ProcessQueue) -> T) -> T {
        let mut state = self.state();
        let (before, epoch) = ((state.count(), state.bytes()), state.epoch());
        let result = change(&mut state);
        let after = (state.count(), state.bytes());
        if state.epoch() != epoch {
            // The next pulls tell the broker of other places: what it was told before is no longer what it has.
            self.committed.store(-1, Ordering::Release);
        }
        if before != after {
            self.totals.change(before, after);
        }
        result
    }

    pub(crate) fn subscription(&self) -> Arc<Subscription> {
        self.subscription.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn subscribe(&self, subscription: Arc<Subscription>) {
        *self.subscription.lock().unwrap_or_else(PoisonError::into_inner) = subscription;
    }

    /// Puts messages away that are done with. Gives how many of them were here.
    pub(crate) fn finish(&self, epoch: u64, messages: &[Arc<ReceivedMessage>]) -> usize {
        let now = now_ms();
        let finished = self.change(|state| {
            messages.iter().filter(|message| state.finish(ticket(epoch, message), now)).count()
        });
        if self.waits_for_room.load(Ordering::Acquire) {
            self.room.notify_one();
        }
        finished
    }

    /// Waits until `bounds` of this queue and `totals` let another pull begin.
    pub(crate) async fn wait_for_room(&self, bounds: Bounds, most_count: usize, most_bytes: usize) {
        loop {
            let room = self.room.notified();
            self.waits_for_room.store(true, Ordering::Release);
            if !self.state().is_full(bounds) {
                if self.totals.count() <= most_count && self.totals.bytes() <= most_bytes {
                    break;
                }
                // Room may come from any queue: look again soon, as Java does.
                let _ = tokio::time::timeout(Duration::from_millis(50), room).await;
            } else {
                room.await;
            }
        }
        self.waits_for_room.store(false, Ordering::Release);
    }

    /// The queue goes on at `offset`; what is held of it is forgotten.
    pub(crate) fn move_to(&self, offset: i64) {
        self.change(|state| state.reset(offset));
        self.moved.notify_one();
        self.room.notify_one();
    }

    pub(crate) fn pause(&self, paused: bool) {
        self.paused.send_replace(paused);
    }

    pub(crate) fn is_paused(&self) -> bool {
        *self.paused.borrow()
    }

    /// Returns when it is not paused.
    pub(crate) async fn resumed(&self) {
        let _ = self.paused.subscribe().wait_for(|paused| !paused).await;
    }

    /// The queue is another member's from now on. True the first time.
    pub(crate) fn release(&self) -> bool {
        let first = !self.released.send_replace(true);
        self.arrived.notify_one();
        first
    }

    pub(crate) fn is_released(&self) -> bool {
        *self.released.borrow()
    }

    /// Returns when the queue was released.
    pub(crate) async fn released(&self) {
        // The sender lives in self.
        let _ = self.released.subscribe().wait_for(|released| *released).await;
    }

    /// Counts a handler that runs, until the guard is dropped.
    pub(crate) fn running(&self) -> Running<'_> {
        self.running.fetch_add(1, Ordering::AcqRel);
        Running(self)
    }

    /// True if no handler has messages of it.
    pub(crate) fn is_idle(&self) -> bool {
        self.running.load(Ordering::Acquire) == 0
    }

    /// Returns when no handler has messages of it.
    pub(crate) async fn idle(&self) {
        loop {
            let idle = self.idle.notified();
            if self.is_idle() {
                return;
            }
            idle.await;
        }
    }

    /// True while the lock of the queue is ours for certain.
    pub(crate) fn is_locked(&self) -> bool {
        let at = self.locked_at_ms.load(Ordering::Acquire);
        at > 0 && now_ms() - at < LOCK_TRUSTED.as_millis() as i64
    }

    /// The offset to commit, if another was committed before, or it was long ago: a broker may have lost it since.
    pub(crate) fn due_commit(&self) -> Option<Ticket> {
        const AGAIN_AFTER_MS: i64 = 60_000;
        let state = self.state();
        let (epoch, offset) = (state.epoch(), state.commit_offset());
        drop(state);
        let old = now_ms() - self.committed_at_ms.load(Ordering::Acquire) > AGAIN_AFTER_MS;
        (old || self.committed.load(Ordering::Acquire) != offset).then_some(Ticket { epoch, offset })
    }

    /// What [`Self::due_commit`] gave was committed.
    pub(crate) fn note_commit(&self, done: Ticket) {
        let state = self.state();
        if state.epoch() == done.epoch {
            self.committed.store(done.offset, Ordering::Release);
        }
        self.committed_at_ms.store(now_ms(), Ordering::Release);
    }

    /// A pull is sent that commits an offset. A Java broker handles pulls and commits in different threads: it may take what
    /// a pull says after what was committed later.
    pub(crate) fn pull_commits(&self, offset: Option<i64>) {
        self.carried.store(offset.unwrap_or(-1), Ordering::Release);
    }

    /// That pull was answered, or will not be. If something else was committed meanwhile, it is not known which of both the
    /// broker has.
    pub(crate) fn pull_ended(&self) {
        if self.overtaken().is_some() {
            self.committed.store(-1, Ordering::Release);
        }
        self.pull_commits(None);
    }

    /// The offset that the pull under way commits and the one that was committed since, if there are such.
    pub(crate) fn overtaken(&self) -> Option<(i64, i64)> {
        let (carried, committed) =
            (self.carried.load(Ordering::Acquire), self.committed.load(Ordering::Acquire));
        (0..committed).contains(&carried).then_some((carried, committed))
    }
}

/// A handler that runs.
#[derive(Debug)]
pub(crate) struct Running<'a>(&'a Held);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if self.0.running.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}

/// The ticket of a message that was taken in `epoch`.
pub(crate) fn ticket(epoch: u64, message: &ReceivedMessage) -> Ticket {
    Ticket { epoch, offset: message.queue_offset() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consumer::{subscription::Filter, testing};

    #[test]
    fn the_same_offset_is_committed_again_where_the_broker_may_have_another() {
        let subscription = Subscription::new("t", &Filter::all(), 0).unwrap();
        let queue = MessageQueue::new("t", "b", 0);
        let (stats, totals) = (Arc::default(), Arc::default());
        let held = Held::new(queue, Arc::new(subscription), stats, totals, 0);
        let consume = || {
            let epoch = held.change(|state| {
                state.put(state.epoch(), (0..3).map(|at| Arc::new(testing::message("t", at, b"x"))), 3);
                state.epoch()
            });
            let messages = held.change(|state| state.take(10, 0));
            held.finish(epoch, &messages);
            held.due_commit()
        };
        let first = consume().unwrap();
        assert_eq!(first.offset, 3);
        held.note_commit(first);
        assert_eq!(held.due_commit(), None);
        // A pull tells the broker of a place before that, so the end is news again.
        held.move_to(0);
        let again = consume().unwrap();
        assert_eq!(again.offset, 3);
        // One that was under way when the queue moved says nothing of it.
        held.note_commit(first);
        assert_eq!(held.due_commit(), Some(again));
        held.note_commit(again);
        assert_eq!(held.due_commit(), None);
        // Nor is it known what a broker has that was asked to pull, with an older offset, before it was told of the end.
        held.pull_commits(Some(2));
        assert_eq!((held.overtaken(), held.due_commit()), (Some((2, 3)), None));
        held.pull_ended();
        assert_eq!((held.overtaken(), held.due_commit()), (None, Some(again)));
        held.note_commit(again);
        for same in [None, Some(3)] {
            held.pull_commits(same);
            held.pull_ended();
            assert_eq!((held.overtaken(), held.due_commit()), (None, None), "{same:?}");
        }
    }
}
