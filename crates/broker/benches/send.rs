// SPDX-License-Identifier: Apache-2.0
//! What one send costs without its socket: frame, header, checks, record, append, answer.
//!
//! `cargo bench -p oxmq-broker`
#![allow(missing_docs)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use oxmq_broker::{
    AdminRules, Broker, Configuration, DelayRules, PullRules, SendRules, Settings, TopicRules,
    TransactionRules, UpdateRefused,
};
use oxmq_net::{Answer, Peer, Request, Service};
use oxmq_remoting::{Encoding, FRAME_MAX_BYTES, Header, Kind, split_frame};
use oxmq_store::{Store, StoreConfig, tags_of};
use oxmq_types::{Perm, Properties};
use std::{hint::black_box, sync::Arc, time::Duration};

struct Fixed;

impl Configuration for Fixed {
    fn read(&self) -> Properties {
        Properties::default()
    }

    fn update(&self, _changes: &Properties) -> Result<(), UpdateRefused> {
        Err(UpdateRefused::NotAllowed("not here".into()))
    }
}

fn settings(root: &std::path::Path) -> Settings {
    let address = "127.0.0.1:10911".parse().unwrap();
    Settings {
        root: root.to_owned(),
        topics: TopicRules {
            cluster: "DefaultCluster".into(),
            broker: "bench".into(),
            auto_create: true,
            default_queues: 8,
            trace_topic: None,
            cluster_topic: true,
            broker_topic: true,
        },
        sends: SendRules {
            store_host: address,
            cluster: "DefaultCluster".into(),
            region: "DefaultRegion".into(),
            trace_on: true,
            stores_replies: true,
            permission: Perm::READ_WRITE,
            body_max_bytes: 4 << 20,
            waits_for_slave: false,
            unflushed_max_bytes: 1 << 30,
            sync_flush_timeout: None,
        },
        pulls: PullRules {
            address: "127.0.0.1".into(),
            permission: Perm::READ_WRITE,
            long_polling: true,
            short_polling: Duration::from_secs(1),
            property_filter: false,
            lite_pull: true,
            slave_read: false,
            messages_max: 32,
            bytes_max: 256 << 10,
            units_max: 800,
        },
        transactions: TransactionRules::new("bench".into(), address),
        delays: DelayRules::default(),
        admin: AdminRules {
            address: "127.0.0.1:10911".into(),
            commit_log_dir: root.join("commitlog"),
            consume_queue_dir: root.join("consumequeue"),
            key_query_max: 64,
            unique_query_max: 32,
            server_side_reset: true,
            accepts_sends_from_ms: 0,
            configuration: Arc::new(Fixed),
        },
        auto_create_groups: true,
        memory_bytes: 1 << 30,
        offset_save_period: Duration::from_secs(5),
    }
}

/// A frame as the stock Java client writes it.
fn frame(unique_key: bool) -> Vec<u8> {
    let key = if unique_key { r"UNIQ_KEY\u00017F000001000058644D4673DEDB8E0000\u0002" } else { "" };
    let header = format!(
        r#"{{"code":310,"extFields":{{"a":"rmqload","b":"LoadTest","c":"TBW102","d":"8","e":"3","f":"0","g":"1795229284019","h":"0","i":"KEYS\u0001k1\u0002TAGS\u0001TagA\u0002{key}","j":"0","k":"false","m":"false"}},"flag":0,"language":"JAVA","opaque":17,"serializeTypeCurrentRPC":"JSON","version":435}}"#
    );
    let body = [b'x'; 128];
    let mut frame = ((4 + header.len() + body.len()) as u32).to_be_bytes().to_vec();
    frame.extend((header.len() as u32).to_be_bytes());
    frame.extend(header.as_bytes());
    frame.extend(body);
    frame
}

fn benches(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let mut config = StoreConfig::new(folder.path());
    config.segment_size_bytes = 64 << 20;
    let store = Store::open(config, Box::new(tags_of)).unwrap();
    let broker = Broker::open(settings(folder.path()), store.clone()).unwrap();
    let peer = Peer::unconnected("127.0.0.1:40000".parse().unwrap());

    let mut group = criterion.benchmark_group("send");
    group.throughput(Throughput::Elements(1));
    for (name, bytes) in [("with unique key", frame(true)), ("without", frame(false))] {
        group.bench_function(format!("header parse, {name}"), |bencher| {
            bencher.iter(|| {
                let frame = split_frame(black_box(&bytes), FRAME_MAX_BYTES).unwrap().unwrap();
                Header::parse(frame.encoding, frame.header).unwrap().opaque
            });
        });
        let mut out = Vec::new();
        let mut sent = 0u32;
        group.bench_function(format!("whole, {name}"), |bencher| {
            bencher.iter(|| {
                let frame = split_frame(black_box(&bytes), FRAME_MAX_BYTES).unwrap().unwrap();
                let header = Header::parse(frame.encoding, frame.header).unwrap();
                let request = Request { header: &header, body: frame.body, peer: &peer };
                let Answer::Now(answer) = broker.handle(request) else {
                    // The first message makes the topic and waits for its file.
                    return;
                };
                assert_eq!(answer.code, 0, "{answer:?}");
                out.clear();
                answer.encode(Encoding::Json, Kind::Response, header.opaque, &mut out);
                sent += 1;
            });
        });
        assert!(sent > 0);
    }
    group.finish();
    store.close().unwrap();
}

criterion_group!(send, benches);
criterion_main!(send);
