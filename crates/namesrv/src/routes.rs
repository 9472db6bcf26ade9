// SPDX-License-Identifier: Apache-2.0
//! Which brokers are alive and which queues they have: events in, state and changes out. Time is an argument, in ms
//! of any clock that never goes back.
//!
//! - Brokers of one name are a group: one master (id 0) and its slaves. Topics belong to the group; only its master
//!   sets them, or in the 5.x acting-master mode the slave with the smallest id.
//! - A broker is alive until its connection closes, it unregisters, or it has not been heard of for its timeout.
//!   With the last broker of a group go the group and its queues.
//!
//! Invariants
//! - Every live broker has a place (an id) in one group, and every place has a live broker.
//! - A cluster holds the groups of its live brokers, and there is no cluster without any.
//! - Every queue of `topics` belongs to a group, which counts its topics; no topic is without queues.
//!
//! Differences to Java: all brokers of a closed connection go, not just one of them; a broker whose place was taken
//! goes at once, with the topics that only it had; a refused registration leaves nothing behind; mappings of static
//! topics go with their topic or group.
//!
//! Java: `RouteInfoManager`.

use crate::names::{IllegalName, check_address, check_name, check_topic};
use oxmq_remoting::bodies::{
    BrokerData, BrokerMemberGroup, ClusterInfo, DataVersion, QueueData, RegisterBrokerResult, TOPICS_MAX,
    TopicConfig, TopicConfigAndMappingSerializeWrapper, TopicList, TopicQueueMappingInfo, TopicRouteData,
};
use oxmq_types::Perm;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    sync::Arc,
};
use thiserror::Error;

/// Most brokers that can be registered at a time.
pub const BROKERS_MAX: usize = 10_000;

const MASTER_ID: i64 = 0;
/// How long a broker that names no timeout lives on after its last sign of life. Java:
/// `DEFAULT_BROKER_CHANNEL_EXPIRED_TIME`.
const EXPIRY_MS: u64 = 120_000;
/// Slaves find the brokers of their group by the route of this prefix and the broker name, so that route must not
/// show a slave as master. Java: `TopicValidator#SYNC_BROKER_MEMBER_GROUP_PREFIX`.
const MEMBER_GROUP_TOPIC_PREFIX: &str = "rmq_sys_SYNC_BROKER_MEMBER_";

/// What every broker has told, as long as it is alive.
#[derive(Debug, Default)]
pub struct Routes {
    topics: HashMap<String, Topic>,
    groups: BTreeMap<Arc<str>, Group>,
    clusters: BTreeMap<String, BTreeSet<Arc<str>>>,
    live: HashMap<BrokerAddress, Live>,
}

#[derive(Debug, Default)]
struct Topic {
    queues: BTreeMap<Arc<str>, Queues>,
    mappings: BTreeMap<Arc<str>, TopicQueueMappingInfo>,
}

/// What [`QueueData`] holds, but for the broker's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Queues {
    perm: Perm,
    read: u32,
    write: u32,
    sys_flag: u32,
}

#[derive(Debug)]
struct Group {
    data: BrokerData,
    /// Topics that have queues of this group.
    topics: usize,
}

#[derive(Debug)]
struct Live {
    broker_name: Arc<str>,
    last_update_ms: u64,
    timeout_ms: u64,
    data_version: DataVersion,
    peer: u64,
    ha_server_addr: String,
}

/// How a broker is told from all others. Java: `BrokerAddrInfo`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BrokerAddress {
    /// Its cluster.
    pub cluster: String,
    /// Where clients reach it, `host:port`.
    pub address: String,
}

/// A broker that registers.
#[derive(Debug, Clone, Default)]
pub struct Registration {
    /// Cluster.
    pub cluster: String,
    /// Name of its group.
    pub broker_name: String,
    /// Where clients reach it, `host:port`.
    pub broker_addr: String,
    /// 0 for the master.
    pub broker_id: i64,
    /// Where slaves fetch the commit log.
    pub ha_server_addr: String,
    /// 5.x zone.
    pub zone_name: Option<String>,
    /// How long it counts as alive after its last sign of life; `None` for 120 s.
    pub timeout_ms: Option<u64>,
    /// `None` from a 4.x broker, which knows no acting masters.
    pub enable_acting_master: Option<bool>,
    /// Its topics.
    pub topics: TopicConfigAndMappingSerializeWrapper,
    /// True if topics that it does not name are to go. Java: `deleteTopicWithBrokerRegistration`.
    pub delete_other_topics: bool,
    /// Number of its connection.
    pub peer: u64,
}

/// What a registration did.
#[derive(Debug, Default)]
pub struct Registered {
    /// What the broker is told; the key-value table is not known here.
    pub result: RegisterBrokerResult,
    /// For the log.
    pub changes: Vec<Change>,
}

/// Why a registration is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RegisterRefusal {
    /// A single topic came before the broker itself. The text is Java's.
    #[error("register broker failed")]
    TopicBeforeBroker,
    /// A name that cannot be.
    #[error("register broker failed: {0}")]
    Name(#[from] IllegalName),
    /// [`BROKERS_MAX`] brokers are registered.
    #[error("register broker failed: {BROKERS_MAX} brokers are registered already")]
    TooManyBrokers,
}

/// Why a broker is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// It said so.
    Unregistered,
    /// Its connection is closed.
    ConnectionClosed,
    /// It has not been heard of for longer than its timeout.
    Expired,
    /// A registration has put another broker, or itself under another name, in its place.
    Replaced,
}

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unregistered => "it unregistered",
            Self::ConnectionClosed => "its connection is closed",
            Self::Expired => "it expired, nothing was heard of it",
            Self::Replaced => "another registration has taken its place",
        })
    }
}

/// A change, one line of the log each.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// A broker was not there before.
    BrokerRegistered {
        /// Which.
        broker: BrokerAddress,
        /// Its group.
        name: String,
        /// 0 for the master.
        id: i64,
        /// Topics that it named.
        topics: usize,
    },
    /// A broker is ignored because one of a newer epoch has its place.
    BrokerConflict {
        /// Which is ignored.
        broker: BrokerAddress,
        /// Its group.
        name: String,
        /// The id that both want.
        id: i64,
        /// Address of the broker that stays.
        stays: String,
    },
    /// A broker is not there any more.
    BrokerGone {
        /// Which.
        broker: BrokerAddress,
        /// Its group.
        name: String,
        /// Why.
        why: Gone,
        /// True if it was the last of its group.
        group_gone: bool,
    },
    /// A known group has a new topic, or other queues for one.
    TopicChanged {
        /// Topic.
        topic: String,
        /// Old queues, `None` if there were none.
        old: Option<QueueData>,
        /// New queues.
        new: QueueData,
    },
    /// A group has no queues of a topic any more, though it lives.
    TopicRemoved {
        /// Topic.
        topic: String,
        /// Group.
        name: String,
    },
    /// Topics of a registration that were left out: illegal names, or too many.
    TopicsRefused {
        /// Group.
        name: String,
        /// How many.
        count: usize,
        /// What is wrong with the first of them.
        first: String,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BrokerRegistered { broker, name, id, topics } => {
                write!(f, "new broker registered, {broker} name {name} id {id}, {topics} topics")
            }
            Self::BrokerConflict { broker, name, id, stays } => write!(
                f,
                "broker {broker} name {name} id {id} is ignored: {stays} of a newer epoch has its place"
            ),
            Self::BrokerGone { broker, name, why, group_gone } => {
                let last = if *group_gone { "; no broker of that name is left" } else { "" };
                write!(f, "broker removed, {broker} name {name}: {why}{last}")
            }
            Self::TopicChanged { topic, old: None, new } => {
                write!(f, "new topic registered, {topic} of broker {}: {}", new.broker_name, Brief(new))
            }
            Self::TopicChanged { topic, old: Some(old), new } => {
                let (name, old, new) = (&new.broker_name, Brief(old), Brief(new));
                write!(f, "topic changed, {topic} of broker {name}: {old}, now {new}")
            }
            Self::TopicRemoved { topic, name } => write!(f, "topic removed, {topic} of broker {name}"),
            Self::TopicsRefused { name, count, first } => {
                write!(f, "{count} topics of broker {name} are left out, the first because {first}")
            }
        }
    }
}

/// Queues in a line of the log.
struct Brief<'a>(&'a QueueData);

impl fmt::Display for Brief<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let QueueData { perm, read_queue_nums, write_queue_nums, topic_sys_flag, .. } = self.0;
        write!(
            f,
            "{read_queue_nums} to read, {write_queue_nums} to write, perm {perm}, flags {topic_sys_flag}"
        )
    }
}

impl fmt::Display for BrokerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.cluster, self.address)
    }
}

/// How a route is looked at.
#[derive(Debug, Clone, Copy, Default)]
pub struct RouteView<'a> {
    /// Show the slave with the smallest id as master where the master is lost and the group allows it.
    pub acting_master: bool,
    /// Only groups of this zone, and groups without a master.
    pub zone: Option<&'a str>,
}

impl Queues {
    fn of(config: &TopicConfig) -> Self {
        Self {
            perm: Perm(config.perm),
            read: config.read_queue_nums,
            write: config.write_queue_nums,
            sys_flag: config.topic_sys_flag,
        }
    }

    fn data(self, broker_name: &str) -> QueueData {
        QueueData {
            broker_name: broker_name.to_owned(),
            perm: self.perm.0,
            read_queue_nums: self.read,
            topic_sys_flag: self.sys_flag,
            write_queue_nums: self.write,
        }
    }
}

impl Group {
    fn smallest_id(&self) -> Option<i64> {
        self.data.broker_addrs.keys().next().copied()
    }
}

impl Routes {
    /// A broker says that it is there and which topics it has.
    ///
    /// Topics are looked at if the broker or its data version is new, or if a topic is not known. So permissions
    /// that were wiped stay wiped until the broker's next change, as in Java.
    ///
    /// # Errors
    /// [`RegisterRefusal`]; nothing has changed then.
    pub fn register(&mut self, broker: Registration, now_ms: u64) -> Result<Registered, RegisterRefusal> {
        check_name(&broker.cluster, "cluster")?;
        check_name(&broker.broker_name, "broker name")?;
        check_address(&broker.broker_addr, "broker address")?;
        if !broker.ha_server_addr.is_empty() {
            check_name(&broker.ha_server_addr, "HA address")?;
        }
        if let Some(zone) = &broker.zone_name {
            check_name(zone, "zone")?;
        }
        let Registration { cluster, broker_name, broker_addr, broker_id, topics, .. } = broker;
        let key = BrokerAddress { cluster, address: broker_addr };
        let live = self.live.get(&key);
        let is_new = live.is_none();
        let changed = live.is_none_or(|live| live.data_version != topics.data_version);
        if is_new && self.live.len() == BROKERS_MAX {
            return Err(RegisterRefusal::TooManyBrokers);
        }
        let mut registered = Registered::default();
        let known = self.groups.get(broker_name.as_str());
        let old_addr = known.and_then(|group| group.data.broker_addrs.get(&broker_id));
        let has_place = old_addr == Some(&key.address);
        let moves = live.is_some_and(|live| *live.broker_name != *broker_name);
        // Whoever has the place of this broker, and this broker in a group that it leaves.
        let replaced = if has_place && !is_new && !moves {
            Vec::new()
        } else {
            self.live_brokers(|other, live| {
                let in_group = *live.broker_name == *broker_name;
                let in_place = old_addr == Some(&other.address) || other.address == key.address;
                if *other == key { !in_group } else { in_group && in_place }
            })
        };
        let epoch = topics.data_version.state_version;
        let newer = |other: &&LiveBroker| {
            let version = self.live.get(&other.address).map(|live| live.data_version.state_version);
            other.address.address != key.address && version > Some(epoch)
        };
        if let Some(stays) = replaced.iter().find(newer) {
            let stays = stays.address.address.clone();
            let this = self.live_brokers(|other, _| *other == key);
            registered.changes = self.remove(this, Gone::Replaced);
            let conflict = Change::BrokerConflict { broker: key, name: broker_name, id: broker_id, stays };
            registered.changes.push(conflict);
            return Ok(registered);
        }
        if (is_new || !has_place) && topics.topic_config_table.len() == 1 {
            return Err(RegisterRefusal::TopicBeforeBroker);
        }
        registered.changes = self.remove(replaced, Gone::Replaced);
        if is_new {
            registered.changes.push(Change::BrokerRegistered {
                broker: key.clone(),
                name: broker_name.clone(),
                id: broker_id,
                topics: topics.topic_config_table.len(),
            });
        }

        let name = self.groups.get_key_value(broker_name.as_str()).map(|(name, _)| name.clone());
        let name = name.unwrap_or_else(|| Arc::from(broker_name));
        let group = self.groups.entry(name.clone()).or_insert_with(|| Group {
            data: BrokerData {
                cluster: key.cluster.clone(),
                broker_name: name.to_string(),
                ..BrokerData::default()
            },
            topics: 0,
        });
        group.data.enable_acting_master = broker.enable_acting_master.unwrap_or(false);
        group.data.zone_name = broker.zone_name;
        // A broker that changes its id, a slave that becomes master for one, has one record only.
        group.data.broker_addrs.retain(|id, addr| *addr != key.address || *id == broker_id);
        group.data.broker_addrs.insert(broker_id, key.address.clone());
        let stands_in = broker.enable_acting_master.is_some()
            && broker_id != MASTER_ID
            && group.smallest_id() == Some(broker_id);
        let read_only = stands_in && group.data.enable_acting_master;
        let master_addr = group.data.broker_addrs.get(&MASTER_ID).filter(|_| broker_id != MASTER_ID).cloned();
        self.clusters.entry(key.cluster.clone()).or_default().insert(name.clone());

        let data_version = topics.data_version;
        if broker_id == MASTER_ID || stands_in {
            let take = TakeTopics {
                look_at_all: !has_place || changed,
                // What a new broker brings is told in one line.
                tell: !is_new,
                read_only,
                delete_others: broker.delete_other_topics,
            };
            self.take_topics(&name, topics, take, &mut registered.changes);
        }
        let live = Live {
            broker_name: name,
            last_update_ms: now_ms,
            timeout_ms: broker.timeout_ms.unwrap_or(EXPIRY_MS),
            data_version,
            peer: broker.peer,
            ha_server_addr: broker.ha_server_addr,
        };
        self.live.insert(key.clone(), live);
        if let Some(address) = master_addr {
            let master = BrokerAddress { cluster: key.cluster, address };
            if let Some(live) = self.live.get(&master) {
                registered.result.ha_server_addr = Some(live.ha_server_addr.clone());
                registered.result.master_addr = Some(master.address);
            }
        }
        Ok(registered)
    }

    fn take_topics(
        &mut self,
        name: &Arc<str>,
        sent: TopicConfigAndMappingSerializeWrapper,
        take: TakeTopics,
        changes: &mut Vec<Change>,
    ) {
        if take.delete_others && sent.topic_queue_mapping_info_map.is_empty() {
            let other = |topic: &str| !sent.topic_config_table.contains_key(topic);
            let others: Vec<_> =
                self.topics_with(|topic, queues| queues.contains_key(name) && other(topic)).collect();
            for topic in others {
                self.remove_queues(&topic, name);
                changes.push(Change::TopicRemoved { topic, name: name.to_string() });
            }
        }
        let mut refused = 0;
        let mut first_refused = String::new();
        for config in sent.topic_config_table.into_values() {
            let known = self.topics.get(&config.topic_name);
            if !take.look_at_all && known.is_some_and(|topic| topic.queues.contains_key(name)) {
                continue;
            }
            let mut queues = Queues::of(&config);
            if take.read_only {
                queues.perm = queues.perm.without(Perm::WRITE);
            }
            match self.put_queues(config.topic_name, name, queues) {
                Ok(change) => changes.extend(change.filter(|_| take.tell)),
                Err(why) => {
                    if refused == 0 {
                        first_refused = why;
                    }
                    refused += 1;
                }
            }
        }
        if refused > 0 && take.look_at_all {
            let name = name.to_string();
            changes.push(Change::TopicsRefused { name, count: refused, first: first_refused });
        }
        for mapping in sent.topic_queue_mapping_info_map.into_values() {
            // A broker speaks of its own queues only.
            if let Some(topic) = self.topics.get_mut(&mapping.topic).filter(|_| *mapping.bname == **name) {
                topic.mappings.insert(name.clone(), mapping);
            }
        }
    }

    /// Sets the queues that the group `name`, which must exist, has for a topic.
    fn put_queues(
        &mut self,
        topic: String,
        name: &Arc<str>,
        queues: Queues,
    ) -> Result<Option<Change>, String> {
        let Some(group) = self.groups.get_mut(name) else { return Ok(None) };
        let known = self.topics.get_mut(&topic);
        let old = known.as_ref().and_then(|known| known.queues.get(name)).copied();
        if old == Some(queues) {
            return Ok(None);
        }
        if old.is_none() {
            check_topic(&topic).map_err(|illegal| illegal.to_string())?;
            if group.topics == TOPICS_MAX {
                return Err(format!("it has {TOPICS_MAX} already"));
            }
            group.topics += 1;
        }
        match known {
            Some(known) => known.queues.insert(name.clone(), queues),
            None => self.topics.entry(topic.clone()).or_default().queues.insert(name.clone(), queues),
        };
        Ok(Some(Change::TopicChanged { topic, old: old.map(|old| old.data(name)), new: queues.data(name) }))
    }

    /// Takes the queues of a group from a topic, and the topic if they were the last.
    fn remove_queues(&mut self, topic: &str, name: &Arc<str>) {
        let Some(known) = self.topics.get_mut(topic) else { return };
        known.mappings.remove(name);
        if known.queues.remove(name).is_some()
            && let Some(group) = self.groups.get_mut(name)
        {
            group.topics -= 1;
        }
        if known.queues.is_empty() {
            self.topics.remove(topic);
        }
    }

    /// A broker says that it leaves. Nothing happens if it is not registered.
    pub fn unregister(&mut self, broker: &BrokerAddress) -> Vec<Change> {
        let brokers = self.live_brokers(|address, _| address == broker);
        self.remove(brokers, Gone::Unregistered)
    }

    /// A connection is closed: its brokers are gone.
    pub fn peer_closed(&mut self, peer: u64) -> Vec<Change> {
        let brokers = self.live_brokers(|_, live| live.peer == peer);
        self.remove(brokers, Gone::ConnectionClosed)
    }

    /// Removes the brokers that were not heard of for longer than their timeout. Gives the numbers of their
    /// connections, which are of no more use.
    pub fn expire(&mut self, now_ms: u64) -> (Vec<Change>, Vec<u64>) {
        let late = |live: &Live| live.last_update_ms.saturating_add(live.timeout_ms) < now_ms;
        let brokers = self.live_brokers(|_, live| late(live));
        let peers = brokers.iter().map(|broker| broker.peer).collect();
        (self.remove(brokers, Gone::Expired), peers)
    }

    fn live_brokers(&self, which: impl Fn(&BrokerAddress, &Live) -> bool) -> Vec<LiveBroker> {
        let found = self.live.iter().filter(|(address, live)| which(address, live));
        let own = |(address, live): (&BrokerAddress, &Live)| LiveBroker {
            address: address.clone(),
            name: live.broker_name.clone(),
            peer: live.peer,
        };
        found.map(own).collect()
    }

    /// Removes brokers. The table of topics is gone through once for all of them.
    fn remove(&mut self, brokers: Vec<LiveBroker>, why: Gone) -> Vec<Change> {
        if brokers.is_empty() {
            return Vec::new();
        }
        let mut changes = Vec::new();
        let mut lost_groups = BTreeSet::new();
        let mut lost_masters = BTreeSet::new();
        for LiveBroker { address, name, .. } in brokers {
            self.live.remove(&address);
            let Some(group) = self.groups.get_mut(&name) else { continue };
            group.data.broker_addrs.retain(|_, addr| *addr != address.address);
            let group_gone = group.data.broker_addrs.is_empty();
            if group_gone {
                self.groups.remove(&name);
                lost_groups.insert(name.clone());
            } else if group.data.enable_acting_master && group.smallest_id() > Some(MASTER_ID) {
                lost_masters.insert(name.clone());
            }
            changes.push(Change::BrokerGone { broker: address, name: name.to_string(), why, group_gone });
        }
        let left: BTreeSet<_> = self
            .live
            .iter()
            .map(|(address, live)| (address.cluster.as_str(), live.broker_name.clone()))
            .collect();
        self.clusters.retain(|cluster, names| {
            names.retain(|name| left.contains(&(cluster.as_str(), name.clone())));
            !names.is_empty()
        });
        if !lost_groups.is_empty() || !lost_masters.is_empty() {
            self.topics.retain(|_, topic| {
                for name in &lost_groups {
                    topic.queues.remove(name);
                    topic.mappings.remove(name);
                }
                for name in &lost_masters {
                    if let Some(queues) = topic.queues.get_mut(name) {
                        queues.perm = queues.perm.without(Perm::WRITE);
                    }
                }
                !topic.queues.is_empty()
            });
        }
        changes
    }

    /// A broker is alive, as its heartbeat tells. Nothing happens if it is not registered.
    pub fn touch(&mut self, broker: &BrokerAddress, now_ms: u64) {
        if let Some(live) = self.live.get_mut(broker) {
            live.last_update_ms = now_ms;
        }
    }

    /// Which version of its topics a broker registered, `None` if it did not.
    #[must_use]
    pub fn data_version(&self, broker: &BrokerAddress) -> Option<DataVersion> {
        self.live.get(broker).map(|live| live.data_version)
    }

    /// Where the queues of a topic are, `None` if no broker has any.
    #[must_use]
    pub fn route(&self, topic: &str, view: RouteView<'_>) -> Option<TopicRouteData> {
        let found = self.topics.get(topic)?;
        let mut route = TopicRouteData::default();
        for (name, queues) in &found.queues {
            let Some(group) = self.groups.get(name) else { continue };
            let mut data = group.data.clone();
            let has_master = data.broker_addrs.contains_key(&MASTER_ID);
            let other_zone = view.zone.is_some_and(|zone| {
                !data.zone_name.as_ref().is_some_and(|name| name.eq_ignore_ascii_case(zone))
            });
            if has_master && other_zone {
                continue;
            }
            if view.acting_master
                && !has_master
                && data.enable_acting_master
                && !queues.perm.allows(Perm::WRITE)
                && !topic.starts_with(MEMBER_GROUP_TOPIC_PREFIX)
                && let Some((_, address)) = data.broker_addrs.pop_first()
            {
                data.broker_addrs.insert(MASTER_ID, address);
            }
            route.broker_datas.push(data);
            route.queue_datas.push(queues.data(name));
        }
        if !found.mappings.is_empty() {
            let mappings = found.mappings.iter().map(|(name, mapping)| (name.to_string(), mapping.clone()));
            route.topic_queue_mapping_by_broker = Some(mappings.collect());
        }
        Some(route)
    }

    /// All brokers and clusters.
    #[must_use]
    pub fn cluster_info(&self) -> ClusterInfo {
        let groups = self.groups.iter().map(|(name, group)| (name.to_string(), group.data.clone()));
        let clusters = self.clusters.iter();
        let clusters = clusters
            .map(|(cluster, names)| (cluster.clone(), names.iter().map(|name| name.to_string()).collect()));
        ClusterInfo { broker_addr_table: groups.collect(), cluster_addr_table: clusters.collect() }
    }

    /// The brokers of one name; without addresses if there are none.
    #[must_use]
    pub fn member_group(&self, cluster: &str, name: &str) -> BrokerMemberGroup {
        let group = self.groups.get(name);
        BrokerMemberGroup {
            broker_addrs: group.map(|group| group.data.broker_addrs.clone()).unwrap_or_default(),
            broker_name: name.to_owned(),
            cluster: cluster.to_owned(),
        }
    }

    /// Names of the topics of which `which` is true, sorted.
    fn list(&self, which: impl Fn(&BTreeMap<Arc<str>, Queues>) -> bool) -> TopicList {
        let mut topic_list: Vec<_> = self.topics_with(|_, queues| which(queues)).collect();
        topic_list.sort_unstable();
        TopicList { broker_addr: None, topic_list }
    }

    fn topics_with(
        &self,
        which: impl Fn(&str, &BTreeMap<Arc<str>, Queues>) -> bool,
    ) -> impl Iterator<Item = String> {
        let found = self.topics.iter().filter(move |(topic, known)| which(topic, &known.queues));
        found.map(|(topic, _)| topic.clone())
    }

    /// All topics.
    #[must_use]
    pub fn topics(&self) -> TopicList {
        self.list(|_| true)
    }

    /// Topics that have queues in a cluster.
    #[must_use]
    pub fn topics_of_cluster(&self, cluster: &str) -> TopicList {
        let Some(names) = self.clusters.get(cluster) else { return TopicList::default() };
        self.list(|queues| queues.keys().any(|name| names.contains(name)))
    }

    /// Topics whose flags, as their first broker has them, satisfy `which`: bit 0 is for a topic of a unit, bit 1 for
    /// one that is subscribed across units. Java: `TopicSysFlag`.
    #[must_use]
    pub fn topics_with_flags(&self, which: impl Fn(u32) -> bool) -> TopicList {
        self.list(|queues| queues.values().next().is_some_and(|queues| which(queues.sys_flag)))
    }

    /// Names of clusters and brokers, each of which is a topic, and the address of some broker.
    #[must_use]
    pub fn system_topics(&self) -> TopicList {
        let mut topics: BTreeSet<String> = self.clusters.keys().cloned().collect();
        topics.extend(self.clusters.values().flatten().map(|name| name.to_string()));
        let broker_addr =
            self.groups.values().find_map(|group| group.data.broker_addrs.values().next().cloned());
        TopicList { broker_addr, topic_list: topics.into_iter().collect() }
    }

    /// Takes the write permission from all topics of a group; gives their number.
    pub fn wipe_write_perm(&mut self, name: &str) -> usize {
        self.change_perm(name, |perm| perm.without(Perm::WRITE))
    }

    /// Makes all topics of a group readable and writable, whatever they were; gives their number.
    pub fn add_write_perm(&mut self, name: &str) -> usize {
        self.change_perm(name, |_| Perm::READ_WRITE)
    }

    fn change_perm(&mut self, name: &str, change: impl Fn(Perm) -> Perm) -> usize {
        let queues = self.topics.values_mut().filter_map(|topic| topic.queues.get_mut(name));
        queues.map(|queues| queues.perm = change(queues.perm)).count()
    }

    /// Sets queues of a topic for groups that exist. As in Java, the first that does not exist ends it silently.
    ///
    /// # Errors
    /// What is wrong with the topic's name, or that a group has too many topics.
    pub fn register_topic(&mut self, topic: &str, sent: &[QueueData]) -> Result<Vec<Change>, String> {
        check_topic(topic).map_err(|illegal| illegal.to_string())?;
        let known = |queue: &&QueueData| self.groups.contains_key(queue.broker_name.as_str());
        let sent: Vec<_> =
            if sent.iter().all(|queue| known(&queue)) { sent.iter().collect() } else { Vec::new() };
        let mut changes = Vec::new();
        for queue in sent {
            let Some((name, _)) = self.groups.get_key_value(queue.broker_name.as_str()) else { continue };
            let queues = Queues {
                perm: Perm(queue.perm),
                read: queue.read_queue_nums,
                write: queue.write_queue_nums,
                sys_flag: queue.topic_sys_flag,
            };
            changes.extend(self.put_queues(topic.to_owned(), &name.clone(), queues)?);
        }
        Ok(changes)
    }

    /// Forgets a topic, in one cluster or in all.
    pub fn delete_topic(&mut self, topic: &str, cluster: Option<&str>) -> Vec<Change> {
        let Some(known) = self.topics.get(topic) else { return Vec::new() };
        let in_cluster = |name: &Arc<str>| {
            cluster.is_none_or(|cluster| self.clusters.get(cluster).is_some_and(|names| names.contains(name)))
        };
        let names: Vec<_> = known.queues.keys().filter(|name| in_cluster(name)).cloned().collect();
        let remove = |name: Arc<str>| {
            self.remove_queues(topic, &name);
            Change::TopicRemoved { topic: topic.to_owned(), name: name.to_string() }
        };
        names.into_iter().map(remove).collect()
    }
}

/// How the topics of a registration are taken.
#[derive(Clone, Copy)]
struct TakeTopics {
    /// Look at topics that are known already, too.
    look_at_all: bool,
    /// Tell each change.
    tell: bool,
    /// Take the write permission from them.
    read_only: bool,
    /// Remove topics that are not among them.
    delete_others: bool,
}

/// A live broker, owned.
struct LiveBroker {
    address: BrokerAddress,
    name: Arc<str>,
    peer: u64,
}

#[cfg(test)]
mod tests;
