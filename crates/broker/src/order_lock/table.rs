// SPDX-License-Identifier: Apache-2.0
//! The table of locks: pure, time is an argument.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

/// A lock that was not renewed for longer is free. Java: `REBALANCE_LOCK_MAX_LIVE_TIME`.
pub(super) const EXPIRY: Duration = Duration::from_secs(60);
/// Most locks of all groups together.
const LOCKS_MAX: usize = 1_000_000;

/// Who asks.
pub(super) struct Holder<'a> {
    pub(super) group: &'a str,
    /// Shared by all the locks that it is given together.
    pub(super) client: Arc<str>,
}

/// Locks of one group by topic and queue.
type Topics = HashMap<String, BTreeMap<i32, Lock>>;

/// All locks.
#[derive(Debug, Default)]
pub(super) struct Locks {
    groups: HashMap<String, Topics>,
    /// How many there are, expired ones among them.
    count: usize,
}

#[derive(Debug)]
struct Lock {
    client: Arc<str>,
    renewed: Instant,
}

impl Lock {
    fn is_expired(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.renewed) > EXPIRY
    }
}

impl Locks {
    /// Locks a queue for `holder`, or renews its lock. False if another client has it, or there are too many locks.
    pub(super) fn lock(&mut self, holder: &Holder<'_>, topic: &str, queue: i32, now: Instant) -> bool {
        let known = self
            .groups
            .get_mut(holder.group)
            .and_then(|topics| topics.get_mut(topic))
            .and_then(|queues| queues.get_mut(&queue));
        if let Some(lock) = known {
            let own = lock.client == holder.client;
            if own || lock.is_expired(now) {
                *lock = Lock { client: holder.client.clone(), renewed: now };
                return true;
            }
            return false;
        }
        if self.is_full() {
            return false;
        }
        let topics = self.groups.entry(holder.group.to_owned()).or_default();
        let lock = Lock { client: holder.client.clone(), renewed: now };
        topics.entry(topic.to_owned()).or_default().insert(queue, lock);
        self.count += 1;
        true
    }

    /// True if no more locks are given, but for those that are there.
    pub(super) fn is_full(&self) -> bool {
        self.count >= LOCKS_MAX
    }

    /// Unlocks a queue, if `client` has it.
    pub(super) fn unlock(&mut self, group: &str, client: &str, topic: &str, queue: i32) {
        let Some(topics) = self.groups.get_mut(group) else { return };
        let Some(queues) = topics.get_mut(topic) else { return };
        if queues.get(&queue).is_none_or(|lock| *lock.client != *client) {
            return;
        }
        queues.remove(&queue);
        self.count -= 1;
        if queues.is_empty() {
            topics.remove(topic);
        }
        if topics.is_empty() {
            self.groups.remove(group);
        }
    }

    /// Unlocks all that `client` has in `group`.
    pub(super) fn leave(&mut self, group: &str, client: &str) {
        let Some(topics) = self.groups.get_mut(group) else { return };
        self.count -= remove(topics, |lock| *lock.client == *client);
        if topics.is_empty() {
            self.groups.remove(group);
        }
    }

    /// Forgets what has expired.
    pub(super) fn forget_expired(&mut self, now: Instant) {
        self.groups.retain(|_, topics| {
            self.count -= remove(topics, |lock| lock.is_expired(now));
            !topics.is_empty()
        });
    }
}

/// Removes locks, and gives how many there were.
fn remove(topics: &mut Topics, gone: impl Fn(&Lock) -> bool) -> usize {
    let mut count = 0;
    topics.retain(|_, queues| {
        let before = queues.len();
        queues.retain(|_, lock| !gone(lock));
        count += before - queues.len();
        !queues.is_empty()
    });
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GROUPS: [&str; 2] = ["g", "h"];
    const CLIENTS: [&str; 3] = ["a", "b", "c"];
    const TOPICS: [&str; 2] = ["t", "u"];

    #[derive(Debug, Clone)]
    enum Event {
        Lock { group: usize, client: usize, topic: usize, queue: i32 },
        Unlock { group: usize, client: usize, topic: usize, queue: i32 },
        Leave { group: usize, client: usize },
        Pass { seconds: u64 },
        Sweep,
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let place = || (0..2usize, 0..3usize, 0..2usize, 0..2i32);
        let event = prop_oneof![
            6 => place().prop_map(|(group, client, topic, queue)| Event::Lock { group, client, topic, queue }),
            2 => place().prop_map(|(group, client, topic, queue)| Event::Unlock { group, client, topic, queue }),
            1 => (0..2usize, 0..3usize).prop_map(|(group, client)| Event::Leave { group, client }),
            3 => (0..70u64).prop_map(|seconds| Event::Pass { seconds }),
            1 => Just(Event::Sweep),
        ];
        prop::collection::vec(event, 1..80)
    }

    proptest! {
        /// The model is a list of who locked what until when.
        #[test]
        fn as_a_list(events in events()) {
            let mut now = Instant::now();
            let mut locks = Locks::default();
            let mut model: HashMap<(usize, usize, i32), (usize, Instant)> = HashMap::new();
            for event in events {
                match event {
                    Event::Lock { group, client, topic, queue } => {
                        let held = model.get(&(group, topic, queue)).copied();
                        let given = held.is_none_or(|(by, until)| by == client || now > until);
                        let holder = Holder { group: GROUPS[group], client: CLIENTS[client].into() };
                        prop_assert_eq!(locks.lock(&holder, TOPICS[topic], queue, now), given);
                        if given {
                            model.insert((group, topic, queue), (client, now + EXPIRY));
                        }
                    }
                    Event::Unlock { group, client, topic, queue } => {
                        locks.unlock(GROUPS[group], CLIENTS[client], TOPICS[topic], queue);
                        model.retain(|at, (by, _)| *at != (group, topic, queue) || *by != client);
                    }
                    Event::Leave { group, client } => {
                        locks.leave(GROUPS[group], CLIENTS[client]);
                        model.retain(|at, (by, _)| at.0 != group || *by != client);
                    }
                    Event::Pass { seconds } => now += Duration::from_secs(seconds),
                    Event::Sweep => {
                        locks.forget_expired(now);
                        model.retain(|_, (_, until)| now <= *until);
                    }
                }
                // Nothing stays behind, not even an empty table.
                prop_assert_eq!(locks.count, model.len());
                let kept: usize = locks.groups.values().flat_map(HashMap::values).map(BTreeMap::len).sum();
                prop_assert_eq!(kept, model.len());
                prop_assert!(locks.groups.values().all(|topics| topics.values().all(|queues| !queues.is_empty())));
                prop_assert!(locks.groups.values().all(|topics| !topics.is_empty()));
            }
        }
    }

    #[test]
    fn their_number_has_a_bound() {
        let now = Instant::now();
        let mut locks = Locks { count: LOCKS_MAX - 1, ..Locks::default() };
        let holder = |client: &str| Holder { group: "g", client: client.into() };
        assert!(locks.lock(&holder("a"), "t", 0, now) && locks.is_full());
        assert!(!locks.lock(&holder("a"), "t", 1, now));
        assert!(locks.lock(&holder("a"), "t", 0, now), "renewed");
        assert!(locks.lock(&holder("b"), "t", 0, now + EXPIRY + Duration::from_millis(1)), "taken over");
    }
}
