// SPDX-License-Identifier: Apache-2.0
//! One step of a rebalance: from what a member should hold and what it holds to what it takes and lets go. Pure.
//!
//! Java: `RebalanceImpl#updateProcessQueueTableInRebalance`.

use super::allocate::{AllocateError, Allocation, java_order};
use crate::MessageQueue;
use std::collections::{BTreeMap, BTreeSet};

/// What a rebalance begins with, for one topic.
#[derive(Debug)]
pub(crate) struct Before<'a> {
    /// Our client id.
    pub(crate) member: &'a str,
    /// Client ids of the group, in any order. `None` if all queues are ours (broadcasting).
    pub(crate) members: Option<Vec<String>>,
    /// The topic's queues, in any order.
    pub(crate) queues: Vec<MessageQueue>,
    /// Of them and others of this topic, what we hold.
    pub(crate) held: BTreeSet<MessageQueue>,
}

/// What is to be done.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Step {
    /// Queues to begin with.
    pub(crate) take: Vec<MessageQueue>,
    /// Queues to let go.
    pub(crate) release: Vec<MessageQueue>,
    /// All that should be held afterwards.
    pub(crate) share: BTreeSet<MessageQueue>,
}

impl Before<'_> {
    /// The step.
    ///
    /// # Errors
    /// [`AllocateError`]: what is held stays held.
    pub(crate) fn step(mut self, allocation: &Allocation) -> Result<Step, AllocateError> {
        self.queues.sort();
        self.queues.dedup();
        let share: BTreeSet<_> = match self.members {
            None => self.queues.into_iter().collect(),
            Some(mut members) => {
                members.sort_by(|left, right| java_order(left, right));
                allocation.allocate(self.member, &self.queues, &members)?.into_iter().collect()
            }
        };
        Ok(Step {
            take: share.difference(&self.held).cloned().collect(),
            release: self.held.difference(&share).cloned().collect(),
            share,
        })
    }
}

/// Queues by the broker that has them, for requests about many queues at once.
pub(crate) fn by_broker(
    queues: impl IntoIterator<Item = MessageQueue>,
) -> BTreeMap<String, Vec<MessageQueue>> {
    let mut brokers = BTreeMap::<_, Vec<_>>::new();
    for queue in queues {
        brokers.entry(queue.broker_name.to_string()).or_default().push(queue);
    }
    brokers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queues(ids: impl IntoIterator<Item = i32>) -> Vec<MessageQueue> {
        ids.into_iter().map(|id| MessageQueue::new("t", "b", id)).collect()
    }

    fn check(
        members: Option<&[&str]>,
        all: Vec<MessageQueue>,
        held: Vec<MessageQueue>,
        expected: (&[i32], &[i32]),
    ) {
        let members = members.map(|ids| ids.iter().map(|id| (*id).to_owned()).collect());
        let before = Before { member: "m2", members, queues: all, held: held.into_iter().collect() };
        let step = before.step(&Allocation::Averagely).unwrap();
        let ids = |queues: Vec<MessageQueue>| queues.iter().map(|queue| queue.queue_id).collect::<Vec<_>>();
        assert_eq!((ids(step.take).as_slice(), ids(step.release).as_slice()), expected);
    }

    #[test]
    fn takes_its_share_and_lets_the_rest_go() {
        // Alone, then with two others, whatever the order in which the broker names them.
        check(Some(&["m2"]), queues(0..4), vec![], (&[0, 1, 2, 3], &[]));
        check(Some(&["m3", "m2", "m1"]), queues((0..4).rev()), queues(0..4), (&[], &[0, 1, 3]));
        check(Some(&["m3", "m2", "m1"]), queues(0..4), queues([2]), (&[], &[]));
        // Not known to the broker, or the topic is gone.
        check(Some(&["m1"]), queues(0..4), queues([0, 1]), (&[], &[0, 1]));
        check(Some(&["m2"]), vec![], queues([0, 1]), (&[], &[0, 1]));
        // Broadcasting.
        check(None, queues(0..3), queues([1, 7]), (&[0, 2], &[7]));
    }

    /// Whoever computes, the shares of all members are all queues, each once.
    #[test]
    fn every_queue_has_one_owner() {
        for allocation in [
            Allocation::Averagely,
            Allocation::AveragelyByCircle,
            Allocation::ConsistentHash { virtual_nodes: 10 },
        ] {
            for members in 1..7 {
                for count in 0..20 {
                    let ids: Vec<_> = (0..members).map(|n| format!("10.0.0.{n}@{n}")).collect();
                    let mut owned = Vec::new();
                    for member in &ids {
                        let before = Before {
                            member,
                            members: Some(ids.iter().rev().cloned().collect()),
                            queues: queues(0..count),
                            held: BTreeSet::new(),
                        };
                        owned.extend(before.step(&allocation).unwrap().share);
                    }
                    owned.sort();
                    assert_eq!(owned, queues(0..count), "{allocation:?} {members}");
                }
            }
        }
    }
}
