// SPDX-License-Identifier: Apache-2.0
//! Facts in, findings out.

use super::facts::{BrokerFacts, Facts, GroupFacts, TopicFacts};
use oxmq_remoting::bodies::SubscriptionData;
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Severity {
    /// Good to know.
    Note,
    /// Something will go wrong one day.
    Warning,
    /// Something goes wrong now.
    Error,
}

impl Severity {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Note => "NOTE",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
        }
    }
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// How bad it is.
    pub(super) severity: Severity,
    /// What was looked at, for scripts.
    pub(super) check: &'static str,
    /// Of whom.
    pub(super) subject: String,
    /// What is so.
    pub(super) what: String,
    /// What to do.
    pub(super) advice: String,
}

/// From where on something is a finding.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Messages that a group may be behind.
    pub(super) lag: i64,
    /// Part of a disk that may be used, from 0 to 1.
    pub(super) disk_ratio: f64,
    /// How much clocks may differ, in ms.
    pub(super) clock_skew_ms: i64,
}

/// Part of a disk from which on brokers refuse to store. Java: `diskSpaceWarningLevelRatio`.
const DISK_FULL_RATIO: f64 = 0.90;
/// Bytes that queues may be behind the log.
const DISPATCH_BEHIND_BYTES: i64 = 64 << 20;

/// Judges.
pub(super) fn examine(facts: &Facts, limits: &Limits) -> Vec<Finding> {
    let mut findings = Findings(Vec::new());
    findings.name_servers(facts);
    findings.broker_names(facts);
    for broker in &facts.brokers {
        findings.broker(broker, limits);
    }
    findings.addresses(facts);
    findings.versions(facts);
    let masters = facts.brokers.iter().filter(|broker| broker.id == 0).count();
    for topic in &facts.topics {
        findings.topic(topic, masters);
    }
    for group in &facts.groups {
        findings.group(group, facts, limits);
    }
    findings.0
}

/// Name, id and address of a broker.
type Advertised<'a> = (&'a str, i64, &'a str);

struct Findings(Vec<Finding>);

impl Findings {
    fn add(
        &mut self,
        severity: Severity,
        check: &'static str,
        subject: impl Into<String>,
        what: impl Into<String>,
        advice: impl Into<String>,
    ) {
        self.0.push(Finding {
            severity,
            check,
            subject: crate::admin::one_line(&subject.into()),
            what: crate::admin::one_line(&what.into()),
            advice: crate::admin::one_line(&advice.into()),
        });
    }

    fn name_servers(&mut self, facts: &Facts) {
        let mut known: Vec<(&str, BTreeSet<Advertised<'_>>)> = Vec::new();
        for (addr, info) in &facts.name_servers {
            match info {
                Err(error) => self.add(
                    Severity::Error,
                    "name server",
                    format!("name server {addr}"),
                    error.as_str(),
                    "start it, or take it out of the list that clients and brokers have",
                ),
                Ok(info) => {
                    let brokers = info.broker_addr_table.values();
                    let entries = brokers.flat_map(|data| {
                        data.broker_addrs
                            .iter()
                            .map(|(id, addr)| (data.broker_name.as_str(), *id, addr.as_str()))
                    });
                    known.push((addr.as_str(), entries.collect()));
                }
            }
        }
        let all: BTreeSet<_> = known.iter().flat_map(|(_, brokers)| brokers.iter().copied()).collect();
        for (addr, brokers) in &known {
            for (name, id, broker) in all.difference(brokers) {
                self.add(
                    Severity::Error,
                    "name servers agree",
                    format!("name server {addr}"),
                    format!("does not know {name} (id {id}, {broker}), which another one knows"),
                    format!(
                        "name all name servers in namesrvAddr of {name}; clients get different routes now"
                    ),
                );
            }
        }
        if all.is_empty() && !known.is_empty() {
            self.add(
                Severity::Error,
                "brokers",
                "cluster",
                "no broker is registered",
                "start a broker with namesrvAddr of this name server",
            );
        }
        if facts.name_servers.len() == 1 {
            self.add(
                Severity::Note,
                "single name server",
                "cluster",
                "there is one name server, or -n names only one",
                "run a second one and name both everywhere: clients of a lost one find no new routes",
            );
        }
    }

    fn broker_names(&mut self, facts: &Facts) {
        let mut names: BTreeMap<(&str, &str), BTreeMap<i64, BTreeSet<&str>>> = BTreeMap::new();
        for broker in &facts.brokers {
            let ids = names.entry((&broker.cluster, &broker.name)).or_default();
            ids.entry(broker.id).or_default().insert(&broker.addr);
        }
        for ((_, name), ids) in &names {
            let subject = format!("broker {name}");
            for (id, addrs) in ids.iter().filter(|(_, addrs)| addrs.len() > 1) {
                let addrs: Vec<_> = addrs.iter().copied().collect();
                self.add(
                    Severity::Error,
                    "broker id",
                    subject.as_str(),
                    format!("several brokers have the id {id}: {}", addrs.join(", ")),
                    "give each broker of a name its own brokerId, and only the master 0",
                );
            }
            if !ids.contains_key(&0) {
                self.add(
                    Severity::Error,
                    "master",
                    subject.as_str(),
                    "has no master: it can be read from, and takes no message",
                    "start its master again",
                );
            } else if ids.len() == 1 {
                self.add(
                    Severity::Note,
                    "single broker",
                    subject,
                    "has no slave: its messages wait until it is back when its machine is away",
                    "take backups of its store, or have messages that must not wait on several brokers",
                );
            }
        }
        let clusters: BTreeSet<_> = names.keys().map(|(cluster, _)| *cluster).collect();
        for cluster in clusters {
            if names.keys().filter(|(known, _)| *known == cluster).count() == 1 {
                self.add(
                    Severity::Note,
                    "single broker",
                    format!("cluster {cluster}"),
                    "has one broker: while it restarts, nobody can send",
                    "add a second one, and have topics on both",
                );
            }
        }
    }

    fn broker(&mut self, broker: &BrokerFacts, limits: &Limits) {
        let subject = format!("broker {} ({})", broker.name, broker.addr);
        let runtime = match &broker.runtime {
            Ok(runtime) => runtime,
            Err(error) => {
                let container = broker.addr.starts_with("172.1") || broker.addr.starts_with("172.2");
                self.add(
                    Severity::Error,
                    "reachable",
                    subject,
                    format!("is registered, but does not answer from here: {error}"),
                    if container {
                        "its address looks like one inside of a container: set brokerIP1 to one that clients reach"
                    } else {
                        "start it; if it runs, set brokerIP1 to an address that clients reach, and open its ports"
                    },
                );
                return;
            }
        };
        let number = |name: &str| runtime.number::<i64>(name).unwrap_or(0);
        if runtime.get("brokerActive").is_some_and(|active| active != "true") {
            self.add(
                Severity::Warning,
                "active",
                subject.as_str(),
                "is not active: it takes no message now",
                "wait until its start or change of role has ended; its log says what it does",
            );
        }
        for (name, text) in &runtime.table {
            let ratio =
                name.starts_with("commitLogDiskRatio").then(|| text.trim().parse::<f64>().ok()).flatten();
            let Some(ratio) = ratio.filter(|ratio| *ratio > limits.disk_ratio) else { continue };
            let folder = name.strip_prefix("commitLogDiskRatio_").unwrap_or_default();
            if folder.is_empty() && runtime.table.keys().any(|name| name.starts_with("commitLogDiskRatio_")) {
                continue;
            }
            self.add(
                if ratio >= DISK_FULL_RATIO { Severity::Error } else { Severity::Warning },
                "disk",
                subject.as_str(),
                format!("its disk {folder} is full to {:.0} %", ratio * 100.0),
                "free space, shorten fileReservedTime, or add a disk; at diskSpaceWarningLevelRatio it takes no message",
            );
        }
        if number("dispatchBehindBytes") > DISPATCH_BEHIND_BYTES {
            self.add(
                Severity::Warning,
                "dispatch",
                subject.as_str(),
                format!("queues are {} bytes behind the log", number("dispatchBehindBytes")),
                "look at the load of its disk: messages reach consumers late",
            );
        }
        if number("damagedRecordsMet") > 0 {
            self.add(
                Severity::Error,
                "damage",
                subject.as_str(),
                format!("has met {} damaged records", number("damagedRecordsMet")),
                "check its disk, and look with `oxmq store check` which messages are lost",
            );
        }
        if number("removedUnconsumed") > 0 {
            self.add(
                Severity::Warning,
                "removed",
                subject.as_str(),
                format!("has removed {} messages that a group had not consumed", number("removedUnconsumed")),
                "its log names the groups; add disk, raise fileReservedTime, or speed them up",
            );
        }
        if let Some(skew) = clock_skew(broker).filter(|skew| skew.abs() > limits.clock_skew_ms) {
            self.add(
                Severity::Warning,
                "clock",
                subject,
                format!(
                    "its clock is {} s {} the one here",
                    skew.abs() / 1000,
                    if skew > 0 { "ahead of" } else { "behind" }
                ),
                "run NTP on all machines: delays, transactions and resets by time go by these clocks",
            );
        }
    }

    fn addresses(&mut self, facts: &Facts) {
        let ip = |addr: &str| addr.rsplit_once(':')?.0.trim_matches(['[', ']']).parse::<IpAddr>().ok();
        let far_name_server = facts
            .name_servers
            .iter()
            .find(|(addr, info)| info.is_ok() && ip(addr).is_some_and(|ip| !ip.is_loopback()));
        let kinds: Vec<(&BrokerFacts, IpAddr)> =
            facts.brokers.iter().filter_map(|broker| Some((broker, ip(&broker.addr)?))).collect();
        let any_far = kinds.iter().any(|(_, ip)| !ip.is_loopback());
        for (broker, ip) in &kinds {
            let subject = format!("broker {} ({})", broker.name, broker.addr);
            if ip.is_unspecified() || ip.is_multicast() {
                self.add(
                    Severity::Error,
                    "address",
                    subject,
                    "this is no address that anybody can connect to",
                    "set brokerIP1 to the address under which clients reach it",
                );
            } else if ip.is_loopback() && (any_far || far_name_server.is_some()) {
                self.add(
                    Severity::Error,
                    "address",
                    subject,
                    "it is registered under a loopback address: only clients on its own machine reach it",
                    "set brokerIP1 to the address under which clients reach it",
                );
            }
        }
        let private = |ip: &IpAddr| match ip {
            IpAddr::V4(ip) => ip.is_private() || ip.is_link_local(),
            IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local(),
        };
        let far: Vec<_> = kinds.iter().filter(|(_, ip)| !ip.is_loopback() && !ip.is_unspecified()).collect();
        let inner = far.iter().filter(|(_, ip)| private(ip)).count();
        if inner > 0 && inner < far.len() {
            let public: Vec<_> =
                far.iter().filter(|(_, ip)| !private(ip)).map(|(broker, _)| broker.addr.as_str()).collect();
            self.add(
                Severity::Warning,
                "address",
                "cluster",
                format!("some brokers have private addresses, others public ones: {}", public.join(", ")),
                "register all under addresses of one network; who reaches some of them only gets half of each topic",
            );
        }
    }

    fn versions(&mut self, facts: &Facts) {
        let versions: BTreeMap<&str, &str> = facts
            .brokers
            .iter()
            .filter_map(|broker| {
                Some((broker.runtime.as_ref().ok()?.get("brokerVersionDesc")?, broker.name.as_str()))
            })
            .collect();
        if versions.len() > 1 {
            let each: Vec<_> =
                versions.iter().map(|(version, broker)| format!("{version} ({broker})")).collect();
            self.add(
                Severity::Note,
                "versions",
                "cluster",
                format!("brokers have different versions: {}", each.join(", ")),
                "fine while you move from one to the other; what only one of them can do works on half of a topic",
            );
        }
    }

    fn topic(&mut self, topic: &TopicFacts, masters: usize) {
        let TopicFacts { name, route, messages } = topic;
        let subject = format!("topic {name}");
        if let Some(group) = name.strip_prefix(oxmq_types::DLQ_GROUP_PREFIX) {
            if messages.is_some_and(|count| count > 0) {
                self.add(
                    Severity::Warning,
                    "dead letters",
                    format!("group {group}"),
                    format!("{} messages could not be consumed at last", messages.unwrap_or_default()),
                    format!(
                        "look at them with consumeMessage -t {name}; resendDlq gives them to the group again"
                    ),
                );
            }
            return;
        }
        let write: u64 = route
            .queue_datas
            .iter()
            .filter(|data| data.perm & 2 != 0)
            .map(|data| u64::from(data.write_queue_nums))
            .sum();
        if write == 0 && !route.queue_datas.is_empty() {
            self.add(
                Severity::Warning,
                "permission",
                subject.as_str(),
                "nobody can send to it: no broker has queues that can be written",
                "if that is not meant, see updateTopicPerm and addWritePerm",
            );
        }
        for data in &route.queue_datas {
            if data.read_queue_nums < data.write_queue_nums {
                self.add(
                    Severity::Error,
                    "queues",
                    subject.as_str(),
                    format!(
                        "{} has {} queues to write and {} to read: what goes to the others is never consumed",
                        data.broker_name, data.write_queue_nums, data.read_queue_nums
                    ),
                    "set both numbers to the same with updateTopic -r -w",
                );
            }
        }
        if masters > 1 && route.queue_datas.len() == 1 {
            self.add(
                Severity::Note,
                "single point",
                subject,
                format!(
                    "is on one broker alone ({}): it is away when that one is",
                    route.queue_datas[0].broker_name
                ),
                "make it on all with updateTopic -c, unless it has to be in one order",
            );
        } else if write == 1 {
            self.add(
                Severity::Note,
                "single point",
                subject,
                "has a single queue: one consumer at a time works on it",
                "if order is not needed, give it more with updateTopic -r -w; redistribute moves a backlog over",
            );
        }
    }

    fn group(&mut self, group: &GroupFacts, facts: &Facts, limits: &Limits) {
        let subject = format!("group {}", group.name);
        let lag: i64 = group.lag.iter().flatten().fold(0, |sum, (_, lag)| sum.saturating_add(*lag));
        if lag > 0 && group.members.is_empty() {
            self.add(
                Severity::Warning,
                "offline",
                subject.as_str(),
                format!("nobody consumes, and {lag} messages wait"),
                "start its consumers; if it is no longer used, deleteSubGroup takes it away",
            );
        } else if lag > limits.lag {
            let (topic, most) = group.lag.iter().flatten().max_by_key(|(_, lag)| **lag).unzip();
            let topic = topic.map_or("", String::as_str);
            self.add(
                Severity::Warning,
                "lag",
                subject.as_str(),
                format!("{lag} messages wait, {} of them in {topic}", most.copied().unwrap_or_default()),
                "look with consumerStatus what its members do; with all queues taken, more queues and members help",
            );
        }
        for (addr, members) in &group.members {
            let mut places: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
            for connection in &members.connection_set {
                places.entry(&connection.client_id).or_default().insert(&connection.client_addr);
            }
            for (client, places) in places.iter().filter(|(_, places)| places.len() > 1) {
                let places: Vec<_> = places.iter().copied().collect();
                self.add(
                    Severity::Error,
                    "client id",
                    subject.as_str(),
                    format!("several members have the id {client} at {addr}: {}", places.join(", ")),
                    "give each its own instanceName: they take the same queues, and leave others alone",
                );
            }
        }
        self.subscriptions(group, &subject);
        self.idle_members(group, facts, &subject);
    }

    fn subscriptions(&mut self, group: &GroupFacts, subject: &str) {
        let mut kinds: BTreeMap<BTreeSet<String>, Vec<&str>> = BTreeMap::new();
        let mut orders: BTreeSet<String> = BTreeSet::new();
        for (client, info) in &group.running {
            match info {
                Ok(info) => {
                    let set = info.subscription_set.iter().filter_map(shown).collect();
                    kinds.entry(set).or_default().push(client);
                    orders.extend(info.property("PROP_CONSUMEORDERLY"));
                }
                Err(error) => self.add(
                    Severity::Note,
                    "inside",
                    subject,
                    format!("member {client} does not tell its inside: {error}"),
                    "old clients and those of some languages cannot; else look whether it hangs",
                ),
            }
        }
        if kinds.len() > 1 {
            let each: Vec<_> = kinds
                .iter()
                .map(|(set, clients)| {
                    let set: Vec<_> = set.iter().map(String::as_str).collect();
                    format!("{} has {{{}}}", clients.join(" and "), set.join(", "))
                })
                .collect();
            self.add(
                Severity::Error,
                "subscriptions",
                subject,
                format!("members subscribe to different things: {}", each.join("; ")),
                "give members that want different things different groups: messages are passed over now",
            );
        }
        if orders.len() > 1 {
            self.add(
                Severity::Error,
                "order",
                subject,
                "some members consume in order, others do not",
                "use one kind of listener in a group: order is lost now",
            );
        }
    }

    fn idle_members(&mut self, group: &GroupFacts, facts: &Facts, subject: &str) {
        let clustering = group.members.iter().all(|(_, members)| members.message_model != "BROADCASTING");
        let members = group.clients().len();
        let mut most = 0_u64;
        let mut known = false;
        for (topic, _) in group.members.iter().flat_map(|(_, members)| &members.subscription_table) {
            if let Some(topic) = facts.topics.iter().find(|known| known.name == *topic) {
                known = true;
                let queues = topic.route.queue_datas.iter().map(|data| u64::from(data.read_queue_nums));
                most = most.max(queues.sum());
            }
        }
        if clustering && known && (members as u64) > most {
            self.add(
                Severity::Warning,
                "idle members",
                subject,
                format!("{members} members share {most} queues: {} get none", members as u64 - most),
                "give the topic more queues with updateTopic -r -w, or run fewer members",
            );
        }
    }
}

/// A subscription for comparison. Each group subscribes to its own retries, which differs for no one.
fn shown(subscription: &SubscriptionData) -> Option<String> {
    let SubscriptionData { topic, sub_string, expression_type, .. } = subscription;
    if topic.starts_with(oxmq_types::RETRY_GROUP_PREFIX) {
        return None;
    }
    // The order in which tags stand means nothing.
    let mut tags: Vec<_> = sub_string.split("||").map(str::trim).collect();
    tags.sort_unstable();
    let kind = if expression_type == "SQL92" { "SQL92 " } else { "" };
    Some(format!("{topic}: {kind}{}", if kind.is_empty() { tags.join(" || ") } else { sub_string.clone() }))
}

/// How much the clock of a broker is ahead of the one here, in ms. Brokers tell when they started and for how many
/// seconds they have run; `None` if one does not.
fn clock_skew(broker: &BrokerFacts) -> Option<i64> {
    let runtime = broker.runtime.as_ref().ok()?;
    let start: i64 = runtime.number("bootTimestamp").filter(|start| *start > 0)?;
    let numbers: Vec<i64> = runtime
        .get("runtime")?
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|part| part.parse().ok())
        .collect();
    let [days, hours, minutes, seconds] = numbers.try_into().ok()?;
    let up_ms = days
        .checked_mul(86_400)?
        .checked_add(hours.checked_mul(3600)?)?
        .checked_add(minutes.checked_mul(60)?)?
        .checked_add(seconds)?
        .checked_mul(1000)?;
    // It was some time between the question and the answer, and the seconds are cut.
    let (earliest, latest) = (start.checked_add(up_ms)?, start.checked_add(up_ms)?.checked_add(999)?);
    Some(if earliest > broker.answered_ms {
        earliest.checked_sub(broker.answered_ms)?
    } else if latest < broker.asked_ms {
        latest.checked_sub(broker.asked_ms)?
    } else {
        0
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Runtime;
    use oxmq_remoting::bodies::{
        BrokerData, ClusterInfo, Connection, ConsumerConnection, ConsumerRunningInfo, QueueData,
        TopicRouteData,
    };

    const LIMITS: Limits = Limits { lag: 100, disk_ratio: 0.75, clock_skew_ms: 5000 };

    fn broker(name: &str, id: i64, addr: &str, values: &[(&str, &str)]) -> BrokerFacts {
        let table = values.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        BrokerFacts {
            cluster: "c".into(),
            name: name.into(),
            id,
            addr: addr.into(),
            runtime: Ok(Runtime { table }),
            asked_ms: 1_000_000,
            answered_ms: 1_000_100,
        }
    }

    fn info(brokers: &[&BrokerFacts]) -> ClusterInfo {
        let mut info = ClusterInfo::default();
        for broker in brokers {
            let data = info.broker_addr_table.entry(broker.name.clone()).or_insert_with(|| BrokerData {
                broker_name: broker.name.clone(),
                cluster: "c".into(),
                ..BrokerData::default()
            });
            data.broker_addrs.insert(broker.id, broker.addr.clone());
        }
        info
    }

    fn checks(facts: &Facts) -> Vec<(Severity, &'static str)> {
        let mut found: Vec<_> =
            examine(facts, &LIMITS).iter().map(|finding| (finding.severity, finding.check)).collect();
        found.sort_unstable();
        found
    }

    /// Two name servers, two brokers with a slave each.
    fn healthy() -> Facts {
        let brokers: Vec<_> = [("a", 0), ("a", 1), ("b", 0), ("b", 1)]
            .iter()
            .enumerate()
            .map(|(at, (name, id))| {
                let values = [
                    ("brokerActive", "true"),
                    ("commitLogDiskRatio", "0.5"),
                    ("brokerVersionDesc", "V5_3_3"),
                    ("bootTimestamp", "940000"),
                    ("runtime", "[ 0 days, 0 hours, 1 minutes, 0 seconds ]"),
                ];
                broker(name, *id, &format!("10.0.0.{}:10911", at + 1), &values)
            })
            .collect();
        let known = info(&brokers.iter().collect::<Vec<_>>());
        Facts {
            name_servers: vec![
                ("10.0.0.9:9876".into(), Ok(known.clone())),
                ("10.0.0.8:9876".into(), Ok(known)),
            ],
            brokers,
            ..Facts::default()
        }
    }

    fn topic(name: &str, queues: &[(&str, u32, u32, u32)]) -> TopicFacts {
        let queue_datas = queues.iter().map(|(broker, read, write, perm)| QueueData {
            broker_name: (*broker).into(),
            read_queue_nums: *read,
            write_queue_nums: *write,
            perm: *perm,
            ..QueueData::default()
        });
        let route = TopicRouteData { queue_datas: queue_datas.collect(), ..TopicRouteData::default() };
        TopicFacts { name: name.into(), route, messages: None }
    }

    #[test]
    fn a_healthy_cluster_has_no_finding() {
        let mut facts = healthy();
        facts.topics.push(topic("t", &[("a", 4, 4, 6), ("b", 4, 4, 6)]));
        assert_eq!(checks(&facts), []);
    }

    #[test]
    fn name_servers_that_are_away_or_know_different_brokers_are_found() {
        let mut facts = healthy();
        facts.name_servers[0].1 = Err("cannot connect".into());
        assert_eq!(checks(&facts), [(Severity::Error, "name server")]);
        facts.name_servers[0].1 = Ok(info(&facts.brokers.iter().take(3).collect::<Vec<_>>()));
        assert_eq!(checks(&facts), [(Severity::Error, "name servers agree")]);
        let lonely =
            Facts { name_servers: vec![("h:1".into(), Ok(ClusterInfo::default()))], ..Facts::default() };
        assert_eq!(checks(&lonely), [(Severity::Note, "single name server"), (Severity::Error, "brokers")]);
    }

    #[test]
    fn brokers_that_are_away_full_damaged_or_wrong_in_time_are_found() {
        for (name, value, expected) in [
            ("commitLogDiskRatio", "0.8", (Severity::Warning, "disk")),
            ("commitLogDiskRatio", "0.95", (Severity::Error, "disk")),
            ("brokerActive", "false", (Severity::Warning, "active")),
            ("dispatchBehindBytes", "99999999", (Severity::Warning, "dispatch")),
            ("damagedRecordsMet", "1", (Severity::Error, "damage")),
            ("removedUnconsumed", "7", (Severity::Warning, "removed")),
            ("bootTimestamp", "930000", (Severity::Warning, "clock")),
            ("bootTimestamp", "950000", (Severity::Warning, "clock")),
            ("brokerVersionDesc", "V4_9_7", (Severity::Note, "versions")),
        ] {
            let mut facts = healthy();
            facts.brokers[0].runtime.as_mut().unwrap().table.insert(name.into(), value.into());
            assert_eq!(checks(&facts), [expected], "{name}={value}");
        }
        let mut facts = healthy();
        facts.brokers[0].runtime = Err("no answer".into());
        assert_eq!(checks(&facts), [(Severity::Error, "reachable")]);
        // What a hostile broker says is no reason to panic.
        facts.brokers[1].runtime = Ok(Runtime {
            table: [("bootTimestamp", i64::MAX.to_string()), ("runtime", "9223372036854775807 1 1 1".into())]
                .map(|(k, v)| (k.to_owned(), v))
                .into(),
        });
        assert_eq!(checks(&facts).len(), 1);
    }

    #[test]
    fn names_without_master_or_with_one_id_twice_are_found() {
        let mut facts = healthy();
        facts.brokers.remove(0);
        let known = info(&facts.brokers.iter().collect::<Vec<_>>());
        facts.name_servers.iter_mut().for_each(|(_, info)| *info = Ok(known.clone()));
        assert_eq!(checks(&facts), [(Severity::Error, "master")]);
        let mut facts = healthy();
        facts.brokers.push(broker("a", 1, "10.0.0.77:10911", &[]));
        assert_eq!(checks(&facts), [(Severity::Error, "broker id")]);
    }

    #[test]
    fn addresses_that_clients_cannot_reach_are_found() {
        let addr = |facts: &mut Facts, addr: &str| facts.brokers[0].addr = addr.into();
        let mut facts = healthy();
        for (name, severity) in [
            ("127.0.0.1:1", Severity::Error),
            ("0.0.0.0:1", Severity::Error),
            ("8.8.8.8:1", Severity::Warning),
        ] {
            addr(&mut facts, name);
            let known = info(&facts.brokers.iter().collect::<Vec<_>>());
            facts.name_servers.iter_mut().for_each(|(_, info)| *info = Ok(known.clone()));
            assert_eq!(checks(&facts), [(severity, "address")], "{name}");
        }
        addr(&mut facts, "no address");
        assert!(checks(&facts).iter().all(|(_, check)| *check != "address"));
    }

    #[test]
    fn topics_that_lose_messages_or_hang_on_one_broker_are_found() {
        for (queues, expected) in [
            (&[("a", 4, 4, 6)][..], (Severity::Note, "single point")),
            (&[("a", 1, 1, 6), ("b", 1, 0, 4)], (Severity::Note, "single point")),
            (&[("a", 4, 4, 4), ("b", 4, 4, 4)], (Severity::Warning, "permission")),
            (&[("a", 4, 8, 6), ("b", 4, 4, 6)], (Severity::Error, "queues")),
        ] {
            let mut facts = healthy();
            facts.topics.push(topic("t", queues));
            assert_eq!(checks(&facts), [expected], "{queues:?}");
        }
        let mut facts = healthy();
        facts.topics.push(TopicFacts { messages: Some(3), ..topic("%DLQ%g", &[("a", 1, 1, 6)]) });
        assert_eq!(checks(&facts), [(Severity::Warning, "dead letters")]);
    }

    fn member(id: &str, addr: &str) -> Connection {
        Connection { client_addr: addr.into(), client_id: id.into(), ..Connection::default() }
    }

    fn running(sub: &str, orderly: &str) -> ConsumerRunningInfo {
        let mut info = ConsumerRunningInfo {
            subscription_set: vec![SubscriptionData {
                topic: "t".into(),
                sub_string: sub.into(),
                ..SubscriptionData::default()
            }],
            ..ConsumerRunningInfo::default()
        };
        info.properties.insert("PROP_CONSUMEORDERLY".into(), orderly.into());
        info
    }

    #[test]
    fn groups_that_differ_inside_lag_or_share_ids_are_found() {
        let group = |members: Vec<Connection>| GroupFacts {
            name: "g".into(),
            members: vec![(
                "10.0.0.1:10911".into(),
                ConsumerConnection {
                    connection_set: members,
                    subscription_table: vec![("t".into(), SubscriptionData::default())],
                    ..ConsumerConnection::default()
                },
            )],
            ..GroupFacts::default()
        };
        let two = || group(vec![member("x", "1"), member("y", "2")]);
        let with = |group: GroupFacts| {
            let mut facts = healthy();
            facts.topics.push(topic("t", &[("a", 1, 1, 6), ("b", 1, 1, 6)]));
            facts.groups.push(group);
            checks(&facts)
        };
        assert_eq!(with(two()), []);
        let same =
            vec![("x".into(), Ok(running("A || B", "true"))), ("y".into(), Ok(running("B||A", "true")))];
        assert_eq!(with(GroupFacts { running: same, ..two() }), []);
        let tags = vec![("x".into(), Ok(running("A", "true"))), ("y".into(), Ok(running("B", "true")))];
        assert_eq!(with(GroupFacts { running: tags, ..two() }), [(Severity::Error, "subscriptions")]);
        let order = vec![("x".into(), Ok(running("A", "true"))), ("y".into(), Ok(running("A", "false")))];
        assert_eq!(with(GroupFacts { running: order, ..two() }), [(Severity::Error, "order")]);
        let silent = vec![("x".into(), Err("timeout".into()))];
        assert_eq!(with(GroupFacts { running: silent, ..two() }), [(Severity::Note, "inside")]);
        let twice = group(vec![member("x", "1"), member("x", "2")]);
        assert_eq!(with(twice), [(Severity::Error, "client id")]);
        let three = group(vec![member("x", "1"), member("y", "2"), member("z", "3")]);
        assert_eq!(with(three), [(Severity::Warning, "idle members")]);
        let lag = || Some([("t".to_owned(), 101)].into());
        assert_eq!(with(GroupFacts { lag: lag(), ..two() }), [(Severity::Warning, "lag")]);
        let offline = GroupFacts { name: "g".into(), lag: lag(), ..GroupFacts::default() };
        assert_eq!(with(offline), [(Severity::Warning, "offline")]);
    }
}
