// SPDX-License-Identifier: Apache-2.0
//! What it costs to encode, stamp and parse one record of about 330 bytes.
#![allow(missing_docs)] // of the functions that criterion's macros make

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use oxmq_record::{Draft, Encoder, RecordView, properties, stamp};
use oxmq_types::{PhysicalOffset, QueueId, QueueOffset};

fn bench(c: &mut Criterion) {
    let mut props = Vec::new();
    properties::append(&mut props, "TAGS", b"TagA");
    properties::append(&mut props, "KEYS", b"order-000001");
    properties::append(&mut props, "UNIQ_KEY", b"7F0000010002018B4AAC2A139F0000AB");
    properties::append(&mut props, "CLUSTER", b"DefaultCluster");
    let body = [b'x'; 128];
    let draft = Draft {
        topic: "TopicTest",
        queue_id: QueueId(3),
        flag: 0,
        sys_flag: 0,
        born_timestamp_ms: 1_700_000_000_000,
        born_host: "127.0.0.1:40000".parse().unwrap(),
        store_host: "127.0.0.1:10911".parse().unwrap(),
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: &body,
        properties: &props,
    };
    let encoder = Encoder::new(4 * 1024 * 1024);
    let mut out = Vec::new();
    c.bench_function("encode and stamp", |b| {
        b.iter(|| {
            out.clear();
            let range = encoder.encode(black_box(&draft), &mut out).unwrap();
            stamp(&mut out[range], QueueOffset(7), PhysicalOffset(4096), 1_700_000_000_001);
        });
    });
    let range = encoder.encode(&draft, &mut out).unwrap();
    let record = &out[range];
    c.bench_function("parse", |b| {
        b.iter(|| RecordView::parse(black_box(record)).map(|r| r.physical_offset()))
    });
    c.bench_function("tags code", |b| b.iter(|| properties::tags_code(black_box(&props))));
}

criterion_group!(benches, bench);
criterion_main!(benches);
