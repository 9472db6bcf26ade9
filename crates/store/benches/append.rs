// SPDX-License-Identifier: Apache-2.0
//! What it costs to append a record of about 330 bytes, and to read what was appended.
#![allow(missing_docs)] // of the functions that criterion's macros make

use std::{hint::black_box, time::Duration};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use oxmq_record::{Draft, Encoder, properties};
use oxmq_store::{Entry, FlushMode, Store, StoreConfig, tags_of};
use oxmq_types::{QueueId, QueueOffset, TagsCode};

fn record() -> Vec<u8> {
    let mut props = Vec::new();
    properties::append(&mut props, "TAGS", b"TagA");
    properties::append(&mut props, "KEYS", b"order-000001");
    properties::append(&mut props, "UNIQ_KEY", b"7F0000010002018B4AAC2A139F0000AB");
    properties::append(&mut props, "CLUSTER", b"DefaultCluster");
    let draft = Draft {
        topic: "TopicTest",
        queue_id: QueueId(0),
        flag: 0,
        sys_flag: 0,
        born_timestamp_ms: 1_700_000_000_000,
        born_host: "127.0.0.1:40000".parse().unwrap(),
        store_host: "127.0.0.1:10911".parse().unwrap(),
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: &[b'x'; 128],
        properties: &props,
    };
    let mut out = Vec::new();
    Encoder::new(4 * 1024 * 1024).encode(&draft, &mut out).unwrap();
    out
}

fn thread_cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The log is on the file system of the temporary folder; `TMPDIR=/dev/shm` takes the disk out of the figures.
fn bench(c: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let config = StoreConfig {
        segment_size_bytes: 256 * 1024 * 1024,
        flush: FlushMode::Async { interval_ms: 500, least_pages: 4, thorough_interval_ms: 10_000 },
        ..StoreConfig::new(dir.path())
    };
    let store = Store::open(config, Box::new(tags_of)).unwrap();
    let queues: Vec<_> = (0..8).map(|id| store.queue("TopicTest", QueueId(id)).unwrap()).collect();
    let template = record();

    let mut group = c.benchmark_group(format!("append, {} bytes", template.len()));
    group.throughput(Throughput::Elements(1));
    let mut one = template.clone();
    let mut next = 0;
    group.bench_function("one", |b| {
        b.iter(|| {
            next = (next + 1) % queues.len();
            store.append(&queues[next], black_box(&mut one), TagsCode(1)).unwrap()
        });
    });
    // What a broker sees at some 100,000 records a second: the preparing thread keeps ahead, so that appends find
    // their pages ready. CPU time of the appending thread, so that other load on the machine does not count.
    group.bench_function("one, pages ready, CPU time", |b| {
        b.iter_custom(|iterations| {
            let mut taken = Duration::ZERO;
            let mut left = iterations;
            while left > 0 {
                let burst = left.min(2_000);
                left -= burst;
                std::thread::sleep(Duration::from_millis(20));
                let before = thread_cpu_time();
                for _ in 0..burst {
                    next = (next + 1) % queues.len();
                    black_box(store.append(&queues[next], black_box(&mut one), TagsCode(1)).unwrap());
                }
                taken += thread_cpu_time() - before;
            }
            taken
        });
    });
    let mut sixteen = template.repeat(16);
    let entries: Vec<_> = (0..16)
        .map(|i| Entry {
            queue: &queues[i % 8],
            range: i * template.len()..(i + 1) * template.len(),
            tags_code: TagsCode(1),
        })
        .collect();
    group.throughput(Throughput::Elements(16));
    let mut out = Vec::new();
    group.bench_function("sixteen", |b| {
        b.iter(|| {
            out.clear();
            store.append_all(black_box(&mut sixteen), &entries, &mut out).unwrap();
        });
    });
    group.finish();

    let mut group = c.benchmark_group("read");
    group.throughput(Throughput::Elements(32));
    for (name, from) in [("32 from the files", 0), ("32 at the end", u64::MAX)] {
        group.bench_function(name, |b| {
            b.iter_batched_ref(
                || {
                    // At the end, units are still in memory: some are put there before each measurement.
                    if from > 0 {
                        (0..8 * 33).for_each(|i| {
                            store.append(&queues[i % 8], &mut template.clone(), TagsCode(1)).unwrap();
                        });
                    }
                    Vec::with_capacity(32)
                },
                |units| {
                    let queue = &queues[0];
                    let at = from.min(queue.max_offset().0 - 32);
                    queue.read_units(QueueOffset(at), 32, units).unwrap();
                    units
                        .iter()
                        .map(|unit| store.read_record(unit.physical, unit.size).unwrap().len())
                        .sum::<usize>()
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    // Two seconds write about 3 GB, of which none is kept.
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(2));
    targets = bench
}
criterion_main!(benches);
