// SPDX-License-Identifier: Apache-2.0
//! Which member of a group reads which queue.
//!
//! Nobody decides this for a group: each member takes the sorted queues of a topic and the sorted client ids of the
//! group, and computes its own share. So all members must compute the same, whatever language they are written in: a
//! strategy here gives to the last queue what Java's gives (`tests/golden/allocate.txt`, printed by Java 4.9.7 and
//! 5.3.3). Members of one group must not use different strategies.
//!
//! Java: package `client.consumer.rebalance`, `ConsistentHashRouter`.

use crate::MessageQueue;
use md5::{Digest, Md5};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

/// The virtual nodes that each member has on the ring of [`Allocation::ConsistentHash`] in Java.
pub const VIRTUAL_NODES: u32 = 10;

/// How the queues of a topic are shared by the members of a group. Java: `AllocateMessageQueueStrategy`.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Allocation {
    /// Neighbouring queues, as even as can be: of 8 queues, the first of 3 members has 0, 1, 2. Java:
    /// `AllocateMessageQueueAveragely`, its default and ours.
    #[default]
    Averagely,
    /// Every n-th queue: of 8 queues, the first of 3 members has 0, 3, 6. Spreads the queues of each broker. Java:
    /// `AllocateMessageQueueAveragelyByCircle`.
    AveragelyByCircle,
    /// By a hash of queue and member, so that few queues move when a member comes or goes; the shares are uneven.
    /// `virtual_nodes` for each member, [`VIRTUAL_NODES`] in Java. Java: `AllocateMessageQueueConsistentHash`.
    ConsistentHash {
        /// Points that a member has on the ring.
        virtual_nodes: u32,
    },
    /// Queues of brokers whose names begin with one of these rooms and `@`. Others are read by nobody. Java:
    /// `AllocateMessageQueueByMachineRoom`.
    MachineRoom(BTreeSet<String>),
    /// First the members in the room of a broker; a room without members is shared by all. `within` shares the queues of
    /// each room. Java: `AllocateMachineRoomNearby`.
    MachineRoomNearby {
        /// Says where brokers and members stand.
        rooms: Arc<dyn Rooms>,
        /// Shares the queues of one room.
        within: Box<Allocation>,
    },
    /// These queues and no others, whoever else is there. Java: `AllocateMessageQueueByConfig`.
    Configured(BTreeSet<MessageQueue>),
}

/// Where brokers and members of a group stand. Java: `AllocateMachineRoomNearby.MachineRoomResolver`.
pub trait Rooms: Send + Sync + 'static {
    /// The room of the broker that has `queue`. An empty name is an error: then the member keeps what it has.
    fn of_broker(&self, queue: &MessageQueue) -> String;
    /// The room of the member with this client id.
    fn of_member(&self, client_id: &str) -> String;
}

/// Why queues cannot be shared. The member keeps what it has until they can.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AllocateError {
    /// [`Rooms`] gave an empty name.
    #[error("nobody knows the machine room of {0}")]
    NoRoom(String),
}

impl Allocation {
    /// The share of `member`. `queues` of one topic and `members` (client ids) must be sorted as Java sorts them
    /// ([`java_order`]). Empty if `member` is not among `members`: the broker does not know it yet.
    ///
    /// # Errors
    /// [`AllocateError`], for [`Self::MachineRoomNearby`] only.
    pub fn allocate(
        &self,
        member: &str,
        queues: &[MessageQueue],
        members: &[String],
    ) -> Result<Vec<MessageQueue>, AllocateError> {
        if let Self::Configured(configured) = self {
            // COMPAT(java): Java takes the whole list for every topic, also queues that there are not.
            return Ok(queues.iter().filter(|queue| configured.contains(queue)).cloned().collect());
        }
        let Some(index) = members.iter().position(|other| other == member) else { return Ok(Vec::new()) };
        let count = members.len();
        Ok(match self {
            Self::Averagely => averagely(index, count, queues),
            Self::AveragelyByCircle => queues.iter().skip(index).step_by(count).cloned().collect(),
            Self::ConsistentHash { virtual_nodes } => {
                consistent_hash(*virtual_nodes, member, queues, members)
            }
            Self::MachineRoom(rooms) => {
                let inside = |queue: &&MessageQueue| {
                    let mut parts = queue.broker_name.split('@');
                    let room = parts.next().is_some_and(|room| rooms.contains(room));
                    room && parts.next().is_some_and(|name| !name.is_empty()) && parts.all(str::is_empty)
                };
                let queues: Vec<_> = queues.iter().filter(inside).cloned().collect();
                let each = queues.len() / count;
                let mut share = queues[each * index..each * (index + 1)].to_vec();
                share.extend(queues.get(each * count..).and_then(|rest| rest.get(index)).cloned());
                share
            }
            Self::MachineRoomNearby { rooms, within } => {
                nearby(rooms.as_ref(), within, member, queues, members)?
            }
            Self::Configured(_) => Vec::new(),
        })
    }

    /// Java's name of the strategy, as logs and QUERY_ASSIGNMENT have it.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Averagely => "AVG".into(),
            Self::AveragelyByCircle => "AVG_BY_CIRCLE".into(),
            Self::ConsistentHash { .. } => "CONSISTENT_HASH".into(),
            Self::MachineRoom(_) => "MACHINE_ROOM".into(),
            Self::MachineRoomNearby { within, .. } => format!("MACHINE_ROOM_NEARBY-{}", within.name()),
            Self::Configured(_) => "CONFIG".into(),
        }
    }
}

impl fmt::Debug for Allocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

/// The order in which Java sorts client ids: by UTF-16 units.
#[must_use]
pub fn java_order(left: &str, right: &str) -> std::cmp::Ordering {
    left.encode_utf16().cmp(right.encode_utf16())
}

fn averagely(index: usize, members: usize, queues: &[MessageQueue]) -> Vec<MessageQueue> {
    let (each, rest) = (queues.len() / members, queues.len() % members);
    let start = index * each + index.min(rest);
    let size = each + usize::from(index < rest);
    queues[start..start + size].to_vec()
}

fn consistent_hash(
    virtual_nodes: u32,
    member: &str,
    queues: &[MessageQueue],
    members: &[String],
) -> Vec<MessageQueue> {
    let mut ring: BTreeMap<u32, &str> = BTreeMap::new();
    for id in members {
        // A client id that is there twice has twice the nodes, less those that fell together.
        let there = ring.values().filter(|other| *other == id).count() as u64;
        ring.extend(
            (there..there + u64::from(virtual_nodes))
                .map(|node| (ring_hash(&format!("{id}-{node}")), id.as_str())),
        );
    }
    let owner = |queue: &MessageQueue| {
        let MessageQueue { topic, broker_name, queue_id, .. } = queue;
        // Java hashes the text of `MessageQueue#toString`.
        let hash =
            ring_hash(&format!("MessageQueue [topic={topic}, brokerName={broker_name}, queueId={queue_id}]"));
        ring.range(hash..).next().or_else(|| ring.first_key_value()).map(|(_, id)| *id)
    };
    queues.iter().filter(|queue| owner(queue) == Some(member)).cloned().collect()
}

/// The first four bytes of the MD5. Java: `ConsistentHashRouter.MD5Hash`.
fn ring_hash(key: &str) -> u32 {
    let digest = Md5::digest(key.as_bytes());
    u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
}

fn nearby(
    rooms: &dyn Rooms,
    within: &Allocation,
    member: &str,
    queues: &[MessageQueue],
    members: &[String],
) -> Result<Vec<MessageQueue>, AllocateError> {
    let known = |room: String, of: &dyn fmt::Display| {
        if room.is_empty() { Err(AllocateError::NoRoom(of.to_string())) } else { Ok(room) }
    };
    let (mut queues_of, mut members_of) =
        (BTreeMap::<String, Vec<MessageQueue>>::new(), BTreeMap::<String, Vec<String>>::new());
    for queue in queues {
        let room = known(rooms.of_broker(queue), &queue.broker_name)?;
        queues_of.entry(room).or_default().push(queue.clone());
    }
    for id in members {
        members_of.entry(known(rooms.of_member(id), id)?).or_default().push(id.clone());
    }
    let here = rooms.of_member(member);
    let mut share = match (queues_of.remove(&here), members_of.get(&here)) {
        (Some(queues), Some(neighbours)) => within.allocate(member, &queues, neighbours)?,
        _ => Vec::new(),
    };
    for (room, queues) in queues_of {
        if !members_of.contains_key(&room) {
            share.extend(within.allocate(member, &queues, members)?);
        }
    }
    Ok(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct ByName;
    impl Rooms for ByName {
        fn of_broker(&self, queue: &MessageQueue) -> String {
            queue.broker_name.split(['@', '-']).next().unwrap_or_default().to_owned()
        }
        fn of_member(&self, client_id: &str) -> String {
            client_id.split('-').next().unwrap_or_default().to_owned()
        }
    }

    fn queues(brokers: &[(&str, i32)]) -> Vec<MessageQueue> {
        let queues = |&(broker, count): &(&str, i32)| {
            (0..count).map(move |id| MessageQueue::new("TopicTest", broker, id)).collect::<Vec<_>>()
        };
        let mut all: Vec<_> = brokers.iter().flat_map(queues).collect();
        all.sort();
        all
    }

    /// The cases of `tests/golden/AllocateGolden.java`, whose output is `allocate.txt`.
    #[test]
    fn every_strategy_gives_what_java_gives() {
        let members: [&[&str]; 6] = [
            &["192.168.0.1@1"],
            &["a", "b"],
            &["10.0.0.1@7#99", "10.0.0.2@7#98", "10.0.0.3@8#97"],
            &["m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "m9"],
            &["zz", "é", "中"],
            &["room1-c1", "room1-c2", "room2-c1"],
        ];
        let brokers: [&[(&str, i32)]; 5] = [
            &[("room1@b", 1)],
            &[("room1@b", 8)],
            &[("broker-a", 4), ("broker-b", 4)],
            &[("room1@a", 5), ("room2@b", 3), ("room3@c", 2)],
            &[("room2@z", 16), ("room1@y", 1)],
        ];
        let strategies = [
            Allocation::Averagely,
            Allocation::AveragelyByCircle,
            Allocation::ConsistentHash { virtual_nodes: VIRTUAL_NODES },
            Allocation::MachineRoom(["room1".to_owned(), "room2".to_owned()].into()),
            Allocation::MachineRoomNearby { rooms: Arc::new(ByName), within: Box::default() },
        ];
        let mut out = String::new();
        for (b, brokers) in brokers.iter().enumerate() {
            let queues = queues(brokers);
            for (m, members) in members.iter().enumerate() {
                let mut ids: Vec<String> = members.iter().map(|id| (*id).to_owned()).collect();
                ids.sort_by(|left, right| java_order(left, right));
                for strategy in &strategies {
                    for member in &ids {
                        out += &format!("{b}/{m} {} {member}:", strategy.name());
                        for queue in strategy.allocate(member, &queues, &ids).unwrap() {
                            out += &format!(" {}/{}", queue.broker_name, queue.queue_id);
                        }
                        out.push('\n');
                    }
                }
            }
        }
        let golden = include_str!("../../tests/golden/allocate.txt");
        for (ours, javas) in out.lines().zip(golden.lines()) {
            assert_eq!(ours, javas);
        }
        assert_eq!(out.lines().count(), golden.lines().count());
    }

    #[test]
    fn a_member_that_the_broker_does_not_know_gets_nothing() {
        let queues = queues(&[("a", 4)]);
        let members = ["one".to_owned()];
        for strategy in [Allocation::Averagely, Allocation::ConsistentHash { virtual_nodes: 3 }] {
            assert_eq!(strategy.allocate("two", &queues, &members), Ok(vec![]));
        }
        // But what is configured is its own, whoever is there.
        let configured = Allocation::Configured(queues[1..3].iter().cloned().collect());
        assert_eq!(configured.allocate("two", &queues, &members).unwrap(), queues[1..3]);
        let none = Allocation::ConsistentHash { virtual_nodes: 0 };
        assert_eq!(none.allocate("one", &queues, &members), Ok(vec![]));
    }

    #[test]
    fn a_room_that_nobody_knows_is_an_error() {
        let nearby = Allocation::MachineRoomNearby { rooms: Arc::new(ByName), within: Box::default() };
        let queues = [MessageQueue::new("t", "-x", 0)];
        let members = ["room1-a".to_owned()];
        assert_eq!(nearby.allocate("room1-a", &queues, &members), Err(AllocateError::NoRoom("-x".into())));
    }
}
