// SPDX-License-Identifier: Apache-2.0
//! Name servers and brokers.

use super::{Findings, Limits, Severity};
use crate::commands::doctor::facts::{BrokerFacts, Facts};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// Name, id and address of a broker.
type Advertised<'a> = (&'a str, i64, &'a str);

/// Part of a disk from which on brokers refuse to store. Java: `diskSpaceWarningLevelRatio`.
const DISK_FULL_RATIO: f64 = 0.90;
/// Bytes that queues may be behind the log.
const DISPATCH_BEHIND_BYTES: i64 = 64 << 20;

impl Findings {
    pub(super) fn name_servers(&mut self, facts: &Facts) {
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

    pub(super) fn broker_names(&mut self, facts: &Facts) {
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

    pub(super) fn broker(&mut self, broker: &BrokerFacts, limits: &Limits) {
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

    pub(super) fn addresses(&mut self, facts: &Facts) {
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

    pub(super) fn versions(&mut self, facts: &Facts) {
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
