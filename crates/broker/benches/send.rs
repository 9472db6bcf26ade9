// SPDX-License-Identifier: Apache-2.0
//! What one send costs without its socket: frame, header, checks, record, append, answer.
//!
//! `cargo bench -p oxmq-broker`
#![allow(missing_docs)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use oxmq_broker::{Broker, Settings};
use oxmq_net::{Answer, Peer, Request, Service};
use oxmq_remoting::{Encoding, FRAME_MAX_BYTES, Header, Kind, split_frame};
use oxmq_store::{Store, StoreConfig, tags_of};
use std::hint::black_box;

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
    let address = ([127, 0, 0, 1], 10911).into();
    let settings = Settings::new(("DefaultCluster", "bench"), address, &config);
    let store = Store::open(config, Box::new(tags_of)).unwrap();
    let broker = Broker::open(settings, store.clone()).unwrap();
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
