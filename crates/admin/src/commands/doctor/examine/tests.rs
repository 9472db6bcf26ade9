// SPDX-License-Identifier: Apache-2.0
//! Each check on facts that are healthy but for one.
use super::*;
use crate::{
    Runtime,
    commands::doctor::facts::{BrokerFacts, GroupFacts, TopicFacts},
};
use oxmq_remoting::bodies::{
    BrokerData, ClusterInfo, Connection, ConsumerConnection, ConsumerRunningInfo, QueueData,
    SubscriptionData, TopicRouteData,
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
        name_servers: vec![("10.0.0.9:9876".into(), Ok(known.clone())), ("10.0.0.8:9876".into(), Ok(known))],
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
    let lonely = Facts { name_servers: vec![("h:1".into(), Ok(ClusterInfo::default()))], ..Facts::default() };
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
    for (name, severity) in
        [("127.0.0.1:1", Severity::Error), ("0.0.0.0:1", Severity::Error), ("8.8.8.8:1", Severity::Warning)]
    {
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
    let same = vec![("x".into(), Ok(running("A || B", "true"))), ("y".into(), Ok(running("B||A", "true")))];
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
