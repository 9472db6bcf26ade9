// SPDX-License-Identifier: Apache-2.0
//! Who is connected: producers and consumers by group, as their heartbeats tell.
//!
//! A member is a connection, not a client id: two processes with one client id (containers with one address and one
//! process id) are two members, and are named in the log. Subscriptions are kept for each member, so that a pull is
//! served by the expression of the one who pulls even if the members of its group disagree.
//!
//! Java: `ProducerManager`, `ConsumerManager`, `ConsumerGroupInfo`.

use crate::{filter::Filter, refusal::Refusal};
use oxmq_net::Peer;
use oxmq_remoting::{
    Command, Language,
    bodies::{ConsumerData, SubscriptionData},
    code::request,
};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tracing::{info, warn};

/// A client that sent no heartbeat for so long is taken for dead. Java: `CHANNEL_EXPIRED_TIMEOUT`.
pub(crate) const CLIENT_EXPIRY: Duration = Duration::from_secs(120);
/// Most groups that one connection may claim; a real client has a handful.
const GROUPS_PER_PEER_MAX: usize = 10_000;
/// Most bytes that the subscriptions of one connection may take in all its groups, see [`bytes_of`]: a hundred
/// thousand short ones.
const SUBSCRIPTIONS_PER_PEER_MAX_BYTES: usize = 64 << 20;

/// All connected clients. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Clients {
    shared: Arc<Mutex<Tables>>,
}

#[derive(Debug, Default)]
struct Tables {
    producers: HashMap<String, BTreeMap<u64, Member>>,
    /// The connections of each client id that produces, by their number and the group that they are members of: the
    /// same facts as in `producers`, for replies, which know an id alone.
    producing: HashMap<String, BTreeMap<(u64, String), Arc<Peer>>>,
    consumers: HashMap<String, ConsumerGroup>,
    /// The groups of each connection, so that its end costs no search.
    groups: HashMap<u64, PeerGroups>,
}

#[derive(Debug, Default)]
struct PeerGroups {
    producers: HashSet<String>,
    consumers: HashSet<String>,
    /// What its subscriptions take, see [`bytes_of`].
    subscription_bytes: usize,
}

/// One connection's membership in a group.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    /// The connection.
    pub(crate) peer: Arc<Peer>,
    /// `IP@instance`.
    pub(crate) client_id: String,
    /// Language of the client.
    pub(crate) language: Language,
    /// Version of the client.
    pub(crate) version: i32,
    /// When it was heard of last.
    pub(crate) heard: Instant,
    /// What it subscribes to, by topic. Empty for producers.
    pub(crate) subscriptions: HashMap<String, Arc<Subscription>>,
}

/// What a member wants of a topic.
#[derive(Debug)]
pub(crate) struct Subscription {
    /// As the member told it.
    pub(crate) data: SubscriptionData,
    /// Its expression, compiled; pulls use it as it is.
    pub(crate) filter: Result<Filter, Refusal>,
}

impl Subscription {
    /// `before`: what the member said before of this topic; the same expression is not compiled again.
    pub(crate) fn new(data: SubscriptionData, before: Option<&Self>) -> Self {
        let filter = match before {
            Some(before) if before.has(&data.sub_string, &data.expression_type) => before.filter.clone(),
            _ => Filter::compile(&data.sub_string, &data.expression_type),
        };
        Self { data, filter }
    }

    /// True if this is its expression.
    pub(crate) fn has(&self, expression: &str, expression_type: &str) -> bool {
        self.data.sub_string == expression && self.data.expression_type == expression_type
    }
}

/// A consumer group as its members describe it; where they disagree, the last heartbeat counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct ConsumerGroup {
    /// `CONSUME_PASSIVELY` or `CONSUME_ACTIVELY`.
    pub(crate) consume_type: String,
    /// `CLUSTERING` or `BROADCASTING`.
    pub(crate) message_model: String,
    /// Where it starts if it has no offset.
    pub(crate) consume_from_where: String,
    /// Its members by the number of their connection.
    pub(crate) members: BTreeMap<u64, Member>,
    /// What the group subscribes to, by topic: the newest of what its members say.
    pub(crate) subscriptions: BTreeMap<String, Arc<Subscription>>,
}

impl ConsumerGroup {
    /// The ids of its clients, each once, sorted.
    #[must_use]
    pub(crate) fn client_ids(&self) -> Vec<String> {
        let mut ids: Vec<_> = self.members.values().map(|member| member.client_id.clone()).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// The subscription under which `peer` pulls from `topic`: its own, or that of its group if the heartbeats
    /// come over another connection.
    #[must_use]
    pub(crate) fn subscription(&self, peer: u64, topic: &str) -> Option<&Arc<Subscription>> {
        let own = self.members.get(&peer).and_then(|member| member.subscriptions.get(topic));
        own.or_else(|| self.subscriptions.get(topic))
    }

    fn tell_changed(&self, group: &str) {
        let changed =
            Command::new(request::NOTIFY_CONSUMER_IDS_CHANGED).with("consumerGroup", group.to_owned());
        self.members.values().for_each(|member| member.peer.send(changed.clone()));
    }
}

/// What a heartbeat says about its sender.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sender<'a> {
    pub(crate) peer: &'a Arc<Peer>,
    pub(crate) client_id: &'a str,
    pub(crate) language: Language,
    pub(crate) version: i32,
}

impl Sender<'_> {
    fn member(&self, subscriptions: HashMap<String, Arc<Subscription>>) -> Member {
        Member {
            peer: self.peer.clone(),
            client_id: self.client_id.to_owned(),
            language: self.language,
            version: self.version,
            heard: Instant::now(),
            subscriptions,
        }
    }
}

impl Clients {
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of a producer.
    pub(crate) fn produces(&self, sender: Sender<'_>, group: &str) {
        let mut tables = self.tables();
        let peer = sender.peer.id();
        if !tables.claim(peer, group, |groups| &mut groups.producers) {
            return;
        }
        let members = tables.producers.entry(group.to_owned()).or_default();
        match members.insert(peer, sender.member(HashMap::new())) {
            Some(before) if before.client_id == sender.client_id => return,
            Some(before) => tables.produces_no_more(&before, group),
            None => info!(group, client = sender.client_id, peer = %sender.peer.remote(), "producer joined"),
        }
        let connections = tables.producing.entry(sender.client_id.to_owned()).or_default();
        connections.insert((peer, group.to_owned()), sender.peer.clone());
    }

    /// Takes note of a consumer; `notify` says whether the members are told of a change. True if there was one.
    ///
    /// `without_subscriptions`: a 5.x client that knows that we know them; what it said before stays.
    pub(crate) fn consumes(
        &self,
        sender: Sender<'_>,
        data: &ConsumerData,
        notify: bool,
        without_subscriptions: bool,
    ) -> bool {
        let peer = sender.peer.id();
        let name = data.group_name.as_str();
        // Before the lock: compiling long expressions takes its time.
        let told = self.compiled(peer, data);
        let mut tables = self.tables();
        let before = tables.consumers.get(name).and_then(|group| group.members.get(&peer));
        let before = before.map(|member| &member.subscriptions);
        let subscriptions = match before {
            Some(before) if without_subscriptions => before.clone(),
            _ => told,
        };
        let bytes = (before.map_or(0, bytes_of), bytes_of(&subscriptions));
        if !tables.claim(peer, name, |groups| &mut groups.consumers) || !tables.weigh(peer, bytes) {
            return false;
        }
        let group = tables.consumers.entry(name.to_owned()).or_default();
        group.consume_type.clone_from(&data.consume_type);
        group.message_model.clone_from(&data.message_model);
        group.consume_from_where.clone_from(&data.consume_from_where);
        let before = group.members.get(&peer).map(|member| &member.subscriptions);
        let joined = before.is_none();
        let changed = before.is_none_or(|before| !same_subscriptions(before, &subscriptions));
        let told_anew = before.is_none_or(|before| !same_data(before, &subscriptions));
        if joined {
            info!(group = name, client = sender.client_id, peer = %sender.peer.remote(), "consumer joined");
            warn_of_twin(group, name, sender);
        }
        warn_of_disagreement(group, name, sender, &subscriptions);
        group.members.insert(peer, sender.member(subscriptions));
        if told_anew {
            group.refresh();
        }
        if changed && notify {
            group.tell_changed(name);
        }
        changed
    }

    /// What a member tells, by topic.
    fn compiled(&self, peer: u64, data: &ConsumerData) -> HashMap<String, Arc<Subscription>> {
        let before = self.consumer_group(&data.group_name, |group| {
            group.members.get(&peer).map(|member| member.subscriptions.clone())
        });
        let before = before.flatten().unwrap_or_default();
        let told = data.subscription_data_set.iter();
        told.map(|each| {
            let before = before.get(&each.topic).map(Arc::as_ref);
            (each.topic.clone(), Arc::new(Subscription::new(each.clone(), before)))
        })
        .collect()
    }

    /// Forgets a producer.
    pub(crate) fn leaves_production(&self, peer: u64, group: &str) {
        let left = self.tables().remove_producer(peer, group);
        left.iter().for_each(|member| log_producer_left(group, member));
    }

    /// Forgets a consumer and tells the others, if `notify`.
    pub(crate) fn leaves_consumption(&self, peer: u64, group: &str, notify: bool) {
        let left = self.tables().remove_consumer(peer, group, notify);
        left.iter().for_each(|member| log_consumer_left(group, member));
    }

    /// Forgets a connection. `notify` says for a group whether its members are told of changes.
    pub(crate) fn gone(&self, peer: u64, notify: impl Fn(&str) -> bool) {
        let mut tables = self.tables();
        let Some(groups) = tables.groups.remove(&peer) else { return };
        let left = |(group, member): (String, Option<Member>)| member.map(|member| (group, member));
        let producers = groups.producers.into_iter().map(|group| {
            let member = tables.remove_producer(peer, &group);
            (group, member)
        });
        let producers: Vec<_> = producers.filter_map(left).collect();
        let consumers = groups.consumers.into_iter().map(|group| {
            let member = tables.remove_consumer(peer, &group, notify(&group));
            (group, member)
        });
        let consumers: Vec<_> = consumers.filter_map(left).collect();
        // There may be thousands, and everybody else waits for this lock.
        drop(tables);
        producers.iter().for_each(|(group, member)| log_producer_left(group, member));
        consumers.iter().for_each(|(group, member)| log_consumer_left(group, member));
    }

    /// Closes the connections of clients that sent no heartbeat for [`CLIENT_EXPIRY`].
    pub(crate) fn close_expired(&self) {
        let tables = self.tables();
        let consumers = tables.consumers.values().flat_map(|group| group.members.values());
        for member in tables.producers.values().flat_map(BTreeMap::values).chain(consumers) {
            if member.heard.elapsed() > CLIENT_EXPIRY {
                member.peer.close("no heartbeat of its client for 120 s");
            }
        }
    }

    /// Looks at a consumer group; `None` if none of its members is connected.
    pub(crate) fn consumer_group<T>(&self, group: &str, look: impl FnOnce(&ConsumerGroup) -> T) -> Option<T> {
        self.tables().consumers.get(group).map(look)
    }

    /// Names of the consumer groups that have members who subscribe to `topic`.
    pub(crate) fn subscribers(&self, topic: &str) -> Vec<String> {
        let tables = self.tables();
        let subscribers =
            tables.consumers.iter().filter(|(_, group)| group.subscriptions.contains_key(topic));
        subscribers.map(|(name, _)| name.clone()).collect()
    }

    /// What the groups subscribe to, as far as `wanted` says so, with the name of the group.
    pub(crate) fn subscriptions_where(
        &self,
        wanted: impl Fn(&Subscription) -> bool,
    ) -> Vec<(String, Arc<Subscription>)> {
        let tables = self.tables();
        let all = tables
            .consumers
            .iter()
            .flat_map(|(name, group)| group.subscriptions.values().map(move |each| (name, each)));
        all.filter(|(_, each)| wanted(each)).map(|(name, each)| (name.clone(), each.clone())).collect()
    }

    /// The members of a producer group.
    #[must_use]
    pub(crate) fn producers(&self, group: &str) -> Vec<Member> {
        self.tables()
            .producers
            .get(group)
            .map(|members| members.values().cloned().collect())
            .unwrap_or_default()
    }

    /// True if a member of the producer group is connected.
    pub(crate) fn has_producer(&self, group: &str) -> bool {
        let tables = self.tables();
        tables
            .producers
            .get(group)
            .is_some_and(|members| members.values().any(|member| !member.peer.is_closed()))
    }

    /// One of the connected members of the producer group, another for each `turn`.
    #[must_use]
    pub(crate) fn next_producer(&self, group: &str, turn: usize) -> Option<Arc<Peer>> {
        let tables = self.tables();
        let members = tables.producers.get(group)?.values();
        let mut open = members.map(|member| &member.peer).filter(|peer| !peer.is_closed());
        let turn = turn.checked_rem(open.clone().count())?;
        open.nth(turn).cloned()
    }

    /// The connection of the producer with that client id, the newest that is open if there are several. Java:
    /// `ProducerManager#findChannel`.
    #[must_use]
    pub(crate) fn producer(&self, client_id: &str) -> Option<Arc<Peer>> {
        let tables = self.tables();
        tables.producing.get(client_id)?.values().rfind(|peer| !peer.is_closed()).cloned()
    }

    /// All producer groups with their members.
    #[must_use]
    pub(crate) fn all_producers(&self) -> BTreeMap<String, Vec<Member>> {
        let tables = self.tables();
        tables
            .producers
            .iter()
            .map(|(name, members)| (name.clone(), members.values().cloned().collect()))
            .collect()
    }
}

impl ConsumerGroup {
    /// Puts together what the group subscribes to from what its members say.
    fn refresh(&mut self) {
        self.subscriptions.clear();
        for subscription in self.members.values().flat_map(|member| member.subscriptions.values()) {
            let topic = &subscription.data.topic;
            match self.subscriptions.get(topic) {
                Some(known) if known.data.sub_version >= subscription.data.sub_version => {}
                _ => drop(self.subscriptions.insert(topic.clone(), subscription.clone())),
            }
        }
    }
}

impl Tables {
    /// Notes that `peer` is a member of `group`; false if it claims too many.
    fn claim(
        &mut self,
        peer: u64,
        group: &str,
        kind: impl FnOnce(&mut PeerGroups) -> &mut HashSet<String>,
    ) -> bool {
        let groups = kind(self.groups.entry(peer).or_default());
        if groups.contains(group) {
            return true;
        }
        if groups.len() >= GROUPS_PER_PEER_MAX {
            warn!(
                peer,
                limit = GROUPS_PER_PEER_MAX,
                "a connection claims too many groups, the rest is ignored"
            );
            return false;
        }
        groups.insert(group.to_owned())
    }

    /// Notes that subscriptions of `peer` take `after` bytes in place of `before`; false if it has too many then.
    fn weigh(&mut self, peer: u64, (before, after): (usize, usize)) -> bool {
        let groups = self.groups.entry(peer).or_default();
        let bytes = groups.subscription_bytes.saturating_sub(before) + after;
        if bytes > SUBSCRIPTIONS_PER_PEER_MAX_BYTES {
            warn!(
                peer,
                limit_bytes = SUBSCRIPTIONS_PER_PEER_MAX_BYTES,
                "a connection has too many subscriptions, the rest is ignored"
            );
            return false;
        }
        groups.subscription_bytes = bytes;
        true
    }

    fn remove_producer(&mut self, peer: u64, name: &str) -> Option<Member> {
        if let Some(groups) = self.groups.get_mut(&peer) {
            groups.producers.remove(name);
        }
        let members = self.producers.get_mut(name)?;
        let left = members.remove(&peer);
        if members.is_empty() {
            self.producers.remove(name);
        }
        if let Some(member) = &left {
            self.produces_no_more(member, name);
        }
        left
    }

    fn produces_no_more(&mut self, member: &Member, group: &str) {
        let Some(connections) = self.producing.get_mut(&member.client_id) else { return };
        connections.remove(&(member.peer.id(), group.to_owned()));
        if connections.is_empty() {
            self.producing.remove(&member.client_id);
        }
    }

    fn remove_consumer(&mut self, peer: u64, name: &str, notify: bool) -> Option<Member> {
        let group = self.consumers.get_mut(name);
        let member = group.and_then(|group| group.members.remove(&peer));
        if let Some(groups) = self.groups.get_mut(&peer) {
            groups.consumers.remove(name);
            let bytes = member.as_ref().map_or(0, |member| bytes_of(&member.subscriptions));
            groups.subscription_bytes = groups.subscription_bytes.saturating_sub(bytes);
        }
        let (member, group) = (member?, self.consumers.get_mut(name)?);
        if group.members.is_empty() {
            self.consumers.remove(name);
            return Some(member);
        }
        group.refresh();
        if notify {
            group.tell_changed(name);
        }
        Some(member)
    }
}

fn log_producer_left(group: &str, member: &Member) {
    info!(group, client = member.client_id, peer = %member.peer.remote(), "producer left");
}

fn log_consumer_left(group: &str, member: &Member) {
    info!(group, client = member.client_id, peer = %member.peer.remote(), "consumer left");
}

/// About what subscriptions take in memory, compiled filters included, which are several times their text.
fn bytes_of(subscriptions: &HashMap<String, Arc<Subscription>>) -> usize {
    let bytes = |data: &SubscriptionData| {
        let tags = data.tags_set.iter().map(|tag| size_of::<String>() + tag.len()).sum::<usize>();
        let texts = 2 * data.topic.len() + 8 * data.sub_string.len() + data.expression_type.len();
        640 + texts + tags + size_of_val(data.code_set.as_slice())
    };
    subscriptions.values().map(|each| bytes(&each.data)).sum()
}

/// True if both say the same, versions included.
fn same_data(one: &HashMap<String, Arc<Subscription>>, other: &HashMap<String, Arc<Subscription>>) -> bool {
    one.len() == other.len()
        && one.iter().all(|(topic, each)| other.get(topic).is_some_and(|other| other.data == each.data))
}

/// True if both say the same, whatever their versions: a restart of a client is no change of its subscriptions.
fn same_subscriptions(
    one: &HashMap<String, Arc<Subscription>>,
    other: &HashMap<String, Arc<Subscription>>,
) -> bool {
    one.len() == other.len()
        && one.values().map(|each| &each.data).all(|each| {
            let other = other.get(&each.topic);
            other.is_some_and(|other| other.has(&each.sub_string, &each.expression_type))
        })
}

fn warn_of_twin(group: &ConsumerGroup, name: &str, sender: Sender<'_>) {
    let twin = group.members.values().find(|member| {
        member.client_id == sender.client_id && member.peer.remote().ip() != sender.peer.remote().ip()
    });
    if let Some(twin) = twin {
        warn!(
            group = name, client = sender.client_id, peer = %sender.peer.remote(), other = %twin.peer.remote(),
            "duplicate client id: both take the same share of the queues; give each its own instance name"
        );
    }
}

fn warn_of_disagreement(
    group: &ConsumerGroup,
    name: &str,
    sender: Sender<'_>,
    subscriptions: &HashMap<String, Arc<Subscription>>,
) {
    let peer = sender.peer.id();
    if group.members.get(&peer).is_some_and(|member| same_subscriptions(&member.subscriptions, subscriptions))
    {
        return;
    }
    let others = group.members.iter().filter(|(id, _)| **id != peer).map(|(_, member)| member);
    if let Some(other) =
        others.into_iter().find(|other| !same_subscriptions(&other.subscriptions, subscriptions))
    {
        warn!(
            group = name,
            client = sender.client_id,
            other = other.client_id,
            "members of one group subscribe to different things; each is served by its own expression"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(port: u16) -> Arc<Peer> {
        Peer::unconnected(([127, 0, 0, 1], port).into())
    }

    fn sender<'a>(peer: &'a Arc<Peer>, client_id: &'a str) -> Sender<'a> {
        Sender { peer, client_id, language: Language(0), version: 433 }
    }

    fn data(topic: &str, expression: &str, version: i64) -> ConsumerData {
        ConsumerData {
            group_name: "g".into(),
            message_model: "CLUSTERING".into(),
            subscription_data_set: vec![SubscriptionData {
                topic: topic.into(),
                sub_string: expression.into(),
                sub_version: version,
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    #[test]
    fn members_come_and_go() {
        let (clients, one, two) = (Clients::default(), peer(1), peer(2));
        assert!(clients.consumes(sender(&one, "a"), &data("t", "*", 1), true, false));
        assert!(!clients.consumes(sender(&one, "a"), &data("t", "*", 1), true, false), "nothing new");
        assert!(clients.consumes(sender(&two, "b"), &data("t", "*", 1), true, false));
        assert_eq!(clients.consumer_group("g", ConsumerGroup::client_ids).unwrap(), ["a", "b"]);
        assert_eq!((clients.subscribers("t"), clients.subscribers("u")), (vec!["g".to_owned()], vec![]));
        clients.gone(one.id(), |_| true);
        assert_eq!(clients.consumer_group("g", ConsumerGroup::client_ids).unwrap(), ["b"]);
        clients.leaves_consumption(two.id(), "g", true);
        assert!(clients.consumer_group("g", |_| ()).is_none());
        assert!(clients.subscribers("t").is_empty());
    }

    #[test]
    fn each_member_keeps_its_own_expression() {
        let (clients, one, two) = (Clients::default(), peer(1), peer(2));
        clients.consumes(sender(&one, "a"), &data("t", "A", 1), true, false);
        assert!(clients.consumes(sender(&two, "b"), &data("t", "B", 2), true, false));
        let expression = |peer: u64| {
            clients
                .consumer_group("g", |group| group.subscription(peer, "t").unwrap().data.sub_string.clone())
                .unwrap()
        };
        assert_eq!(
            (expression(one.id()), expression(two.id()), expression(0)),
            ("A".into(), "B".into(), "B".into())
        );
        // A heartbeat that leaves the subscriptions out changes nothing.
        assert!(!clients.consumes(
            sender(&one, "a"),
            &ConsumerData { group_name: "g".into(), ..Default::default() },
            true,
            true
        ));
        assert_eq!(expression(one.id()), "A");
    }

    #[test]
    fn a_newer_version_of_the_same_counts() {
        let (clients, one) = (Clients::default(), peer(1));
        for version in [1, 2] {
            clients.consumes(sender(&one, "a"), &data("t", "*", version), true, false);
            let known = clients.consumer_group("g", |group| group.subscriptions["t"].data.sub_version);
            assert_eq!(known, Some(version));
        }
    }

    #[test]
    fn the_subscriptions_of_a_connection_are_bounded() {
        let (clients, one, two) = (Clients::default(), peer(1), peer(2));
        let subscribe = |peer: &Arc<Peer>, group: &str, count: usize, expression: &str| {
            let set = (0..count).map(|i| SubscriptionData {
                topic: format!("t{i}"),
                sub_string: expression.into(),
                ..Default::default()
            });
            let data = ConsumerData {
                group_name: group.into(),
                subscription_data_set: set.collect(),
                ..Default::default()
            };
            clients.consumes(sender(peer, "a"), &data, false, false);
            clients
                .consumer_group(group, |group| group.members.get(&peer.id()).map(|m| m.subscriptions.len()))
        };
        let half = SUBSCRIPTIONS_PER_PEER_MAX_BYTES / 1400;
        assert_eq!(subscribe(&one, "g", half, "*"), Some(Some(half)));
        assert_eq!(subscribe(&one, "g", half, "*"), Some(Some(half)), "again is not more");
        assert_eq!(subscribe(&one, "h", half, "*"), Some(Some(half)));
        assert_eq!(subscribe(&one, "i", half / 2, "*"), None);
        assert_eq!(subscribe(&two, "i", half / 2, "*"), Some(Some(half / 2)), "others may");
        clients.leaves_consumption(one.id(), "h", false);
        let long = "x".repeat(60_000);
        assert_eq!(subscribe(&one, "h", 200, &long), None);
        assert_eq!(subscribe(&one, "h", 20, &long), Some(Some(20)));
    }

    #[test]
    fn one_client_id_on_two_connections_is_listed_once() {
        let (clients, one, two) = (Clients::default(), peer(1), peer(2));
        clients.consumes(sender(&one, "same"), &data("t", "*", 1), true, false);
        clients.consumes(sender(&two, "same"), &data("t", "*", 1), true, false);
        assert_eq!(clients.consumer_group("g", ConsumerGroup::client_ids).unwrap(), ["same"]);
        clients.gone(one.id(), |_| true);
        assert_eq!(clients.consumer_group("g", ConsumerGroup::client_ids).unwrap(), ["same"]);
    }

    #[test]
    fn producers_come_and_go() {
        let (clients, one) = (Clients::default(), peer(1));
        clients.produces(sender(&one, "a"), "p");
        assert_eq!(clients.producers("p").len(), 1);
        assert_eq!(clients.all_producers()["p"][0].client_id, "a");
        clients.leaves_production(one.id(), "p");
        assert!(clients.producers("p").is_empty());
    }

    #[test]
    fn producers_take_turns_while_they_are_open() {
        let (clients, peers) = (Clients::default(), [1, 2, 3].map(peer));
        let turns = || -> Vec<_> {
            (0..4).map(|turn| clients.next_producer("p", turn).map(|peer| peer.remote().port())).collect()
        };
        assert_eq!(turns(), [None; 4]);
        peers.iter().for_each(|peer| clients.produces(sender(peer, "a"), "p"));
        assert_eq!(turns(), [1, 2, 3, 1].map(Some));
        peers[1].mark_closed();
        assert_eq!(turns(), [1, 3, 1, 3].map(Some));
        peers.iter().for_each(|peer| peer.mark_closed());
        assert_eq!(turns(), [None; 4]);
    }

    #[test]
    fn a_producer_is_found_by_its_client_id() {
        let (clients, one, two) = (Clients::default(), peer(1), peer(2));
        let found = |id: &str| clients.producer(id).map(|peer| peer.id());
        clients.produces(sender(&one, "a"), "p");
        clients.produces(sender(&one, "a"), "p");
        clients.produces(sender(&one, "a"), "q");
        assert_eq!(found("a"), Some(one.id()));
        clients.produces(sender(&two, "a"), "p");
        assert_eq!(found("a"), Some(two.id()), "the newest of two");
        two.mark_closed();
        assert_eq!(found("a"), Some(one.id()), "the newest that is open");
        clients.gone(two.id(), |_| true);
        assert_eq!(found("a"), Some(one.id()));
        clients.leaves_production(one.id(), "p");
        assert_eq!(found("a"), Some(one.id()), "still a member of the other group");
        clients.produces(sender(&one, "b"), "q");
        assert_eq!((found("a"), found("b")), (None, Some(one.id())), "another id on the same connection");
        clients.gone(one.id(), |_| true);
        assert!(clients.tables().producing.is_empty());
        clients.consumes(sender(&one, "c"), &data("t", "*", 1), true, false);
        assert_eq!(found("c"), None, "consumers get no replies");
    }
}
