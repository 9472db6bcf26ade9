// SPDX-License-Identifier: Apache-2.0
use super::*;
use proptest::prelude::*;

/// A registration with as many topics as `topics` names (`T=6` has permission 6) and a data version of that counter.
fn broker(name: &str, id: i64, port: u16, counter: i64, topics: &str) -> Registration {
    let table = topics.split_whitespace().map(|topic| {
        let (topic_name, perm) = topic.split_once('=').unwrap_or((topic, "6"));
        let config = TopicConfig {
            topic_name: topic_name.to_owned(),
            perm: perm.parse().unwrap(),
            read_queue_nums: 4,
            write_queue_nums: 4,
            ..TopicConfig::default()
        };
        (topic_name.to_owned(), config)
    });
    Registration {
        cluster: "C".into(),
        broker_name: name.into(),
        broker_addr: format!("127.0.0.1:{port}"),
        broker_id: id,
        ha_server_addr: format!("127.0.0.1:{}", port + 2),
        topics: TopicConfigAndMappingSerializeWrapper {
            data_version: DataVersion { counter, ..DataVersion::default() },
            topic_config_table: table.collect(),
            ..TopicConfigAndMappingSerializeWrapper::default()
        },
        peer: u64::from(port),
        ..Registration::default()
    }
}

fn key(port: u16) -> BrokerAddress {
    BrokerAddress { cluster: "C".into(), address: format!("127.0.0.1:{port}") }
}

fn register(routes: &mut Routes, broker: Registration) -> Vec<Change> {
    let changes = routes.register(broker, 0).unwrap().changes;
    check_invariants(routes);
    changes
}

fn check_invariants(routes: &Routes) {
    let places: usize = routes.groups.values().map(|group| group.data.broker_addrs.len()).sum();
    assert_eq!(places, routes.live.len(), "every place has a live broker");
    for (address, live) in &routes.live {
        let group = &routes.groups[&live.broker_name];
        assert_eq!(group.data.broker_addrs.values().filter(|addr| **addr == address.address).count(), 1);
        assert!(routes.clusters[&address.cluster].contains(&live.broker_name));
    }
    for names in routes.clusters.values() {
        assert!(!names.is_empty() && names.iter().all(|name| routes.groups.contains_key(name)));
    }
    for (name, group) in &routes.groups {
        let topics = routes.topics.values().filter(|topic| topic.queues.contains_key(name)).count();
        assert_eq!(topics, group.topics, "{name}");
    }
    assert!(routes.topics.values().all(|topic| !topic.queues.is_empty()));
}

/// The route of a topic as `broker(perm) id=port …`, one group after the other.
fn shown(routes: &Routes, topic: &str, view: RouteView<'_>) -> String {
    let Some(route) = routes.route(topic, view) else { return "none".into() };
    assert_eq!(route.broker_datas.len(), route.queue_datas.len());
    let groups = route.broker_datas.iter().zip(&route.queue_datas).map(|(data, queues)| {
        assert_eq!(data.broker_name, queues.broker_name);
        let addrs: Vec<_> = data
            .broker_addrs
            .iter()
            .map(|(id, addr)| format!("{id}={}", addr.strip_prefix("127.0.0.1:").unwrap()))
            .collect();
        format!("{}({}) {}", data.broker_name, queues.perm, addrs.join(" "))
    });
    groups.collect::<Vec<_>>().join(", ")
}

fn route(routes: &Routes, topic: &str) -> String {
    shown(routes, topic, RouteView::default())
}

#[test]
fn a_route_names_every_broker_of_the_topic() {
    let mut routes = Routes::default();
    let changes = register(&mut routes, broker("a", 0, 1000, 1, "T U"));
    assert_eq!(changes.len(), 1, "one line for a new broker: {changes:?}");
    assert_eq!(changes[0].to_string(), "new broker registered, C@127.0.0.1:1000 name a id 0, 2 topics");
    register(&mut routes, broker("b", 0, 2000, 1, "T V"));
    register(&mut routes, broker("b", 1, 2001, 1, "only masters are asked for topics"));
    assert_eq!(route(&routes, "T"), "a(6) 0=1000, b(6) 0=2000 1=2001");
    assert_eq!(route(&routes, "U"), "a(6) 0=1000");
    assert_eq!(route(&routes, "masters"), "none");
    assert_eq!(routes.topics().topic_list, ["T", "U", "V"]);
    assert_eq!(routes.system_topics().topic_list, ["C", "a", "b"]);
    assert_eq!(routes.system_topics().broker_addr.as_deref(), Some("127.0.0.1:1000"));
    assert_eq!(routes.topics_of_cluster("C").topic_list, ["T", "U", "V"]);
    assert_eq!(routes.topics_of_cluster("D").topic_list, [""; 0]);
    assert_eq!(routes.cluster_info().cluster_addr_table["C"].len(), 2);
    assert_eq!(routes.member_group("C", "b").broker_addrs.len(), 2);
    assert_eq!(routes.member_group("C", "x").broker_addrs.len(), 0);
}

#[test]
fn a_slave_is_told_its_master() {
    let mut routes = Routes::default();
    let result = routes.register(broker("a", 1, 1001, 1, ""), 0).unwrap().result;
    assert_eq!((result.master_addr, result.ha_server_addr), (None, None));
    let result = routes.register(broker("a", 0, 1000, 1, ""), 0).unwrap().result;
    assert_eq!((result.master_addr, result.ha_server_addr), (None, None));
    let result = routes.register(broker("a", 1, 1001, 1, ""), 0).unwrap().result;
    assert_eq!(result.master_addr.as_deref(), Some("127.0.0.1:1000"));
    assert_eq!(result.ha_server_addr.as_deref(), Some("127.0.0.1:1002"));
}

#[test]
fn topics_are_looked_at_when_the_version_changes() {
    let mut routes = Routes::default();
    register(&mut routes, broker("a", 0, 1000, 1, "T U"));
    assert_eq!(register(&mut routes, broker("a", 0, 1000, 1, "T=4 U")), []);
    assert_eq!(route(&routes, "T"), "a(6) 0=1000");
    let changes = register(&mut routes, broker("a", 0, 1000, 2, "T=4 U N"));
    let changes: Vec<_> = changes.iter().map(ToString::to_string).collect();
    assert_eq!(
        changes,
        [
            "new topic registered, N of broker a: 4 to read, 4 to write, perm 6, flags 0",
            "topic changed, T of broker a: 4 to read, 4 to write, perm 6, flags 0, \
             now 4 to read, 4 to write, perm 4, flags 0",
        ]
    );
    assert_eq!(route(&routes, "T"), "a(4) 0=1000");
    // A topic that was deleted here comes back with the next registration, whatever its version.
    routes.delete_topic("N", None);
    assert_eq!(register(&mut routes, broker("a", 0, 1000, 2, "T=4 U N")).len(), 1);
    assert_eq!(route(&routes, "N"), "a(6) 0=1000");
    // What a registration does not name stays, unless it is asked to go.
    register(&mut routes, broker("a", 0, 1000, 3, "T=4 U"));
    assert_eq!(route(&routes, "N"), "a(6) 0=1000");
    let changes =
        register(&mut routes, Registration { delete_other_topics: true, ..broker("a", 0, 1000, 3, "T U") });
    assert_eq!(changes, [Change::TopicRemoved { topic: "N".into(), name: "a".into() }]);
    assert_eq!(route(&routes, "N"), "none");
}

#[test]
fn the_version_of_a_broker_is_known_while_it_lives() {
    let mut routes = Routes::default();
    assert_eq!(routes.data_version(&key(1000)), None);
    register(&mut routes, broker("a", 0, 1000, 7, ""));
    assert_eq!(routes.data_version(&key(1000)).unwrap().counter, 7);
    routes.unregister(&key(1000));
    assert_eq!(routes.data_version(&key(1000)), None);
}

#[test]
fn wiped_permissions_stay_until_the_next_change() {
    let mut routes = Routes::default();
    register(&mut routes, broker("a", 0, 1000, 1, "T U=7"));
    register(&mut routes, broker("b", 0, 2000, 1, "T V"));
    assert_eq!(routes.wipe_write_perm("a"), 2);
    assert_eq!(routes.wipe_write_perm("x"), 0);
    register(&mut routes, broker("a", 0, 1000, 1, "T U=7"));
    assert_eq!(route(&routes, "T"), "a(4) 0=1000, b(6) 0=2000");
    assert_eq!(route(&routes, "U"), "a(5) 0=1000");
    assert_eq!(routes.add_write_perm("a"), 2);
    assert_eq!(route(&routes, "U"), "a(6) 0=1000");
    routes.wipe_write_perm("a");
    register(&mut routes, broker("a", 0, 1000, 2, "T U=7"));
    assert_eq!(route(&routes, "U"), "a(7) 0=1000");
}

#[test]
fn the_last_broker_of_a_name_takes_its_topics_along() {
    let mut routes = Routes::default();
    register(&mut routes, broker("a", 0, 1000, 1, "T U"));
    register(&mut routes, broker("a", 1, 1001, 1, ""));
    register(&mut routes, broker("b", 0, 2000, 1, "T V"));
    let changes = routes.unregister(&key(1000));
    assert_eq!(changes[0].to_string(), "broker removed, C@127.0.0.1:1000 name a: it unregistered");
    check_invariants(&routes);
    assert_eq!(route(&routes, "T"), "a(6) 1=1001, b(6) 0=2000");
    let changes = routes.unregister(&key(1001));
    assert!(changes[0].to_string().ends_with("no broker of that name is left"));
    check_invariants(&routes);
    assert_eq!((route(&routes, "T"), route(&routes, "U")), ("b(6) 0=2000".into(), "none".into()));
    assert_eq!(routes.unregister(&key(1001)), []);
    routes.unregister(&key(2000));
    check_invariants(&routes);
    assert_eq!(routes.cluster_info(), ClusterInfo::default());
    assert_eq!(routes.topics().topic_list, [""; 0]);
}

#[test]
fn silent_brokers_expire_after_their_own_timeout() {
    let mut routes = Routes::default();
    routes.register(broker("a", 0, 1000, 1, "T U"), 0).unwrap();
    routes.register(Registration { timeout_ms: Some(10_000), ..broker("b", 0, 2000, 1, "T V") }, 0).unwrap();
    routes.register(Registration { timeout_ms: Some(u64::MAX), ..broker("c", 0, 3000, 1, "") }, 5).unwrap();
    assert_eq!(routes.expire(10_000), (vec![], vec![]));
    routes.touch(&key(2000), 9_000);
    assert_eq!(routes.expire(19_000), (vec![], vec![]));
    let (changes, peers) = routes.expire(19_001);
    assert_eq!((changes.len(), peers), (1, vec![2000]));
    assert_eq!(route(&routes, "T"), "a(6) 0=1000");
    assert_eq!(routes.expire(120_000).0, []);
    assert_eq!(routes.expire(120_001).1, [1000]);
    assert_eq!(routes.expire(u64::MAX), (vec![], vec![]), "a timeout without end");
    check_invariants(&routes);
    routes.touch(&key(1000), 0);
    assert_eq!(routes.topics().topic_list, [""; 0]);
}

#[test]
fn a_closed_connection_takes_all_its_brokers_along() {
    let mut routes = Routes::default();
    for port in [1000, 2000, 3000] {
        let name = format!("b{port}");
        let peer = if port == 3000 { 8 } else { 7 };
        register(&mut routes, Registration { peer, ..broker(&name, 0, port, 1, "T U") });
    }
    assert_eq!(routes.peer_closed(9), []);
    // The broker has another connection by now: the end of the old one is not its own.
    register(&mut routes, Registration { peer: 8, ..broker("b1000", 0, 1000, 1, "T U") });
    assert_eq!(routes.peer_closed(7).len(), 1);
    assert_eq!(route(&routes, "T"), "b1000(6) 0=1000, b3000(6) 0=3000");
    assert_eq!(routes.peer_closed(8).len(), 2);
    check_invariants(&routes);
    assert_eq!(route(&routes, "T"), "none");
}

#[test]
fn a_slave_that_becomes_master_has_one_place() {
    let mut routes = Routes::default();
    register(&mut routes, broker("a", 1, 1001, 1, ""));
    register(&mut routes, broker("a", 0, 1001, 1, "T U"));
    assert_eq!(route(&routes, "T"), "a(6) 0=1001");
}

#[test]
fn a_place_is_taken_over_unless_its_holder_is_of_a_newer_epoch() {
    let mut routes = Routes::default();
    register(&mut routes, broker("a", 0, 1000, 1, "T U"));
    let changes = register(&mut routes, broker("a", 0, 3000, 1, "T U"));
    assert_eq!(
        changes[0].to_string(),
        concat!(
            "broker removed, C@127.0.0.1:1000 name a: another registration has taken its place; ",
            "no broker of that name is left"
        )
    );
    assert_eq!(route(&routes, "T"), "a(6) 0=3000");

    let with_epoch = |port, epoch| {
        let mut broker = broker("a", 0, port, 1, "T U");
        broker.topics.data_version.state_version = epoch;
        broker
    };
    register(&mut routes, with_epoch(3000, 5));
    let changes = register(&mut routes, with_epoch(1000, 4));
    assert!(changes[0].to_string().contains("127.0.0.1:3000 of a newer epoch has its place"), "{changes:?}");
    assert_eq!(route(&routes, "T"), "a(6) 0=3000");
    register(&mut routes, with_epoch(1000, 5));
    assert_eq!(route(&routes, "T"), "a(6) 0=1000");
    // The slave that wants to be master again and loses is no slave any more, either.
    register(&mut routes, broker("a", 1, 1001, 1, ""));
    let refused = Registration { broker_id: 0, ..broker("a", 1, 1001, 1, "") };
    register(&mut routes, refused);
    assert_eq!(route(&routes, "T"), "a(6) 0=1000");
}

#[test]
fn a_broker_that_changes_name_or_cluster_leaves_nothing_behind() {
    let mut routes = Routes::default();
    register(&mut routes, broker("a", 0, 1000, 1, "T U"));
    register(&mut routes, broker("b", 0, 1000, 1, "T V"));
    assert_eq!(route(&routes, "T"), "b(6) 0=1000");
    register(&mut routes, Registration { cluster: "D".into(), ..broker("b", 0, 1000, 1, "T V") });
    assert_eq!(route(&routes, "T"), "b(6) 0=1000");
    assert_eq!(routes.cluster_info().cluster_addr_table.into_keys().collect::<Vec<_>>(), ["D"]);
    assert_eq!(routes.cluster_info().broker_addr_table["b"].cluster, "D");
}

#[test]
fn a_single_topic_does_not_make_a_broker() {
    let mut routes = Routes::default();
    let refusal = routes.register(broker("a", 0, 1000, 1, "T"), 0).unwrap_err();
    assert_eq!(refusal.to_string(), "register broker failed");
    assert_eq!(routes.cluster_info(), ClusterInfo::default());
    register(&mut routes, broker("a", 0, 1000, 1, ""));
    register(&mut routes, broker("a", 0, 1000, 2, "T"));
    assert_eq!(route(&routes, "T"), "a(6) 0=1000");
}

#[test]
fn the_smallest_slave_acts_for_a_lost_master() {
    let acting = RouteView { acting_master: true, ..RouteView::default() };
    let registration = |id, port| Registration {
        enable_acting_master: Some(true),
        ..broker("a", id, port, 1, "T U rmq_sys_SYNC_BROKER_MEMBER_a")
    };
    let mut routes = Routes::default();
    for (id, port) in [(0, 1000), (2, 1002), (3, 1003)] {
        register(&mut routes, registration(id, port));
    }
    assert_eq!(shown(&routes, "T", acting), "a(6) 0=1000 2=1002 3=1003");
    routes.peer_closed(1000);
    assert_eq!(shown(&routes, "T", acting), "a(4) 0=1002 3=1003");
    assert_eq!(route(&routes, "T"), "a(4) 2=1002 3=1003");
    assert_eq!(shown(&routes, "rmq_sys_SYNC_BROKER_MEMBER_a", acting), "a(4) 2=1002 3=1003");
    // The slave may bring topics now, read-only; the other slave may not.
    let with = |mut broker: Registration, topic: &str, counter| {
        let config = TopicConfig { topic_name: topic.into(), ..TopicConfig::default() };
        broker.topics.topic_config_table.insert(topic.into(), config);
        broker.topics.data_version.counter = counter;
        broker
    };
    register(&mut routes, with(registration(2, 1002), "N", 2));
    register(&mut routes, with(registration(3, 1003), "M", 2));
    assert_eq!(
        (shown(&routes, "N", acting), route(&routes, "M")),
        ("a(4) 0=1002 3=1003".into(), "none".into())
    );
    register(&mut routes, registration(0, 1000));
    assert_eq!(shown(&routes, "T", acting), "a(6) 0=1000 2=1002 3=1003");
    // Without the mode at the brokers nothing is wiped and nobody acts.
    for (id, port) in [(0, 2000), (1, 2001)] {
        register(&mut routes, broker("b", id, port, 1, "V W"));
    }
    routes.peer_closed(2000);
    assert_eq!(shown(&routes, "V", acting), "b(6) 1=2001");
}

#[test]
fn a_zone_sees_its_brokers_and_those_without_master() {
    let zoned = |name, id, port, zone: &str| Registration {
        zone_name: Some(zone.into()),
        ..broker(name, id, port, 1, "T U")
    };
    let mut routes = Routes::default();
    register(&mut routes, zoned("a", 0, 1000, "East"));
    register(&mut routes, zoned("b", 0, 2000, "west"));
    register(&mut routes, broker("c", 0, 3000, 1, "T U"));
    register(&mut routes, zoned("d", 0, 4000, "west"));
    register(&mut routes, zoned("d", 1, 4001, "west"));
    routes.peer_closed(4000);
    let view = RouteView { zone: Some("east"), ..RouteView::default() };
    assert_eq!(shown(&routes, "T", view), "a(6) 0=1000, d(6) 1=4001");
}

#[test]
fn topics_can_be_set_and_deleted_from_outside() {
    let mut routes = Routes::default();
    register(&mut routes, broker("a", 0, 1000, 1, ""));
    register(&mut routes, Registration { cluster: "D".into(), ..broker("b", 0, 2000, 1, "") });
    let queues = |name: &str, flags| QueueData {
        broker_name: name.into(),
        perm: 6,
        read_queue_nums: 0,
        topic_sys_flag: flags,
        write_queue_nums: 0,
    };
    assert_eq!(routes.register_topic("T", &[queues("a", 1), queues("b", 3)]).unwrap().len(), 2);
    assert_eq!(routes.register_topic("T", &[queues("a", 1)]).unwrap(), []);
    assert_eq!(routes.register_topic("S", &[queues("b", 2)]).unwrap().len(), 1);
    assert_eq!(routes.register_topic("X", &[queues("a", 0), queues("nobody", 0)]).unwrap(), []);
    assert_eq!(
        routes.register_topic("../x", &[queues("a", 0)]).unwrap_err(),
        "the topic contains white space, control characters or slashes"
    );
    check_invariants(&routes);
    assert_eq!(routes.topics_with_flags(|flags| flags & 1 != 0).topic_list, ["T"]);
    assert_eq!(routes.topics_with_flags(|flags| flags & 2 != 0).topic_list, ["S"]);
    assert_eq!(routes.topics_of_cluster("D").topic_list, ["S", "T"]);
    assert_eq!(routes.delete_topic("T", Some("nowhere")), []);
    assert_eq!(routes.delete_topic("T", Some("D")).len(), 1);
    assert_eq!(route(&routes, "T"), "a(6) 0=1000");
    assert_eq!(routes.delete_topic("T", None).len(), 1);
    assert_eq!(routes.delete_topic("T", None), []);
    check_invariants(&routes);
    assert_eq!(routes.topics().topic_list, ["S"]);
}

#[test]
fn mappings_of_static_topics_come_and_go_with_the_topic() {
    let mut routes = Routes::default();
    let mapped = |bname: &str| {
        let mut broker = broker("a", 0, 1000, 1, "T U");
        let mapping = TopicQueueMappingInfo {
            topic: "T".into(),
            bname: bname.into(),
            ..TopicQueueMappingInfo::default()
        };
        broker.topics.topic_queue_mapping_info_map.insert("T".into(), mapping);
        broker
    };
    register(&mut routes, mapped("somebody else"));
    assert_eq!(routes.route("T", RouteView::default()).unwrap().topic_queue_mapping_by_broker, None);
    register(&mut routes, mapped("a"));
    let mappings = routes.route("T", RouteView::default()).unwrap().topic_queue_mapping_by_broker.unwrap();
    assert_eq!(mappings["a"].bname, "a");
    routes.delete_topic("T", None);
    register(&mut routes, broker("a", 0, 1000, 1, "T U"));
    assert_eq!(routes.route("T", RouteView::default()).unwrap().topic_queue_mapping_by_broker, None);
}

#[test]
fn illegal_names_do_not_enter() {
    let mut routes = Routes::default();
    let good = || broker("a", 0, 1000, 1, "T U");
    for (bad, expected) in [
        (Registration { cluster: String::new(), ..good() }, "the cluster is blank"),
        (Registration { broker_name: "a/b".into(), ..good() }, "the broker name contains"),
        (Registration { broker_name: "x".repeat(256), ..good() }, "the broker name is longer than 255 bytes"),
        (Registration { broker_addr: "nowhere".into(), ..good() }, "the broker address is not host:port"),
        (Registration { ha_server_addr: "a b".into(), ..good() }, "the HA address contains"),
        (Registration { zone_name: Some("z\n".into()), ..good() }, "the zone contains"),
    ] {
        let refusal = routes.register(bad, 0).unwrap_err().to_string();
        assert!(refusal.contains(expected), "{refusal}");
    }
    assert_eq!(routes.cluster_info(), ClusterInfo::default());
    // One odd topic must not keep a broker out.
    let changes = register(&mut routes, broker("a", 0, 1000, 1, "../x T \u{7f} U"));
    assert_eq!(
        changes[1].to_string(),
        "2 topics of broker a are left out, the first because the topic contains white space, control characters or slashes"
    );
    assert_eq!(routes.topics().topic_list, ["T", "U"]);
}

#[test]
fn there_is_a_limit_to_brokers() {
    let mut routes = Routes::default();
    for n in 0..BROKERS_MAX {
        let name = format!("b{n}");
        let broker = Registration {
            cluster: "C".into(),
            broker_addr: format!("10.0.0.1:{}", n + 1),
            ..broker(&name, 0, 1000, 1, "")
        };
        routes.register(broker, 0).unwrap();
    }
    assert_eq!(
        routes.register(broker("one more", 0, 1000, 1, ""), 0).unwrap_err(),
        RegisterRefusal::Name(IllegalName::Character("broker name"))
    );
    assert_eq!(
        routes.register(broker("more", 0, 1000, 1, ""), 0).unwrap_err(),
        RegisterRefusal::TooManyBrokers
    );
    // Those that are there go on.
    let known = Registration { broker_addr: "10.0.0.1:1".into(), ..broker("b0", 0, 1000, 2, "T U") };
    register(&mut routes, known);
    assert_eq!(routes.expire(200_000).1.len(), BROKERS_MAX);
    check_invariants(&routes);
}

#[test]
fn there_is_a_limit_to_topics() {
    let mut routes = Routes::default();
    register(&mut routes, broker("a", 0, 1000, 1, "T U"));
    routes.groups.get_mut("a").unwrap().topics = TOPICS_MAX;
    let changes = routes.register(broker("a", 0, 1000, 2, "T=4 U V"), 0).unwrap().changes;
    assert_eq!(
        changes[1].to_string(),
        "1 topics of broker a are left out, the first because it has 1000000 already"
    );
    assert_eq!((route(&routes, "T"), route(&routes, "V")), ("a(4) 0=1000".into(), "none".into()));
}

/// Anything that can happen to the routes.
#[derive(Debug, Clone)]
enum Event {
    Register { name: bool, cluster: bool, id: i64, port: u16, version: i64, epoch: i64, topics: &'static str },
    Unregister(u16),
    PeerClosed(u64),
    Expire(u64),
    DeleteTopic(String),
}

fn event() -> impl Strategy<Value = Event> {
    let topics = proptest::sample::select(vec!["", "T U", "T V", "T", "U V ../x", "T=4 U"]);
    let registration = (any::<bool>(), any::<bool>(), 0..3i64, 1..5u16, 0..2i64, 0..2i64, topics);
    prop_oneof![
        6 => registration.prop_map(|(name, cluster, id, port, version, epoch, topics)| {
            Event::Register { name, cluster, id, port, version, epoch, topics }
        }),
        1 => (1..5u16).prop_map(Event::Unregister),
        1 => (1..3u64).prop_map(Event::PeerClosed),
        1 => (0..200u64).prop_map(Event::Expire),
        1 => "[TUV]".prop_map(Event::DeleteTopic),
    ]
}

proptest! {
    #[test]
    fn invariants_hold_whatever_happens(events in proptest::collection::vec(event(), 0..60)) {
        let mut routes = Routes::default();
        for (now, event) in (0..).zip(events) {
            match event {
                Event::Register { name, cluster, id, port, version, epoch, topics } => {
                    let mut broker = broker(if name { "a" } else { "b" }, id, port, version, topics);
                    broker.cluster = if cluster { "C" } else { "D" }.into();
                    broker.topics.data_version.state_version = epoch;
                    broker.enable_acting_master = Some(cluster);
                    broker.delete_other_topics = version == 1;
                    broker.timeout_ms = Some(100);
                    broker.peer = u64::from(port % 3);
                    let _ = routes.register(broker, now);
                }
                Event::Unregister(port) => drop(routes.unregister(&key(port))),
                Event::PeerClosed(peer) => drop(routes.peer_closed(peer)),
                Event::Expire(ms) => drop(routes.expire(now + ms)),
                Event::DeleteTopic(topic) => drop(routes.delete_topic(&topic, None)),
            }
            check_invariants(&routes);
        }
    }
}
