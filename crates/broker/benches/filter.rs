// SPDX-License-Identifier: Apache-2.0
//! What an SQL92 filter costs: once for its expression, and for each message.
//!
//! `cargo bench -p oxmq-broker --bench filter`
#![allow(missing_docs)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use oxmq_broker::Sql;
use std::hint::black_box;

const EXPRESSION: &str =
    "region IN ('hz', 'sh', 'bj') AND price BETWEEN 10 AND 99.5 OR level >= 3 AND TAGS IS NOT NULL";
const PROPERTIES: &[u8] =
    b"KEYS\x01order-4711\x02UNIQ_KEY\x017F000001000058644D4673DEDB8E0000\x02CLUSTER\x01DefaultCluster\x02\
    WAIT\x01true\x02TAGS\x01TagA\x02region\x01hz\x02price\x0142\x02level\x012\x02";

fn benches(criterion: &mut Criterion) {
    let sql = Sql::parse(EXPRESSION).unwrap();
    assert!(sql.wants(PROPERTIES));
    let mut group = criterion.benchmark_group("SQL92");
    group.throughput(Throughput::Elements(1));
    group.bench_function("compile", |bencher| bencher.iter(|| Sql::parse(black_box(EXPRESSION)).unwrap()));
    group.bench_function("evaluate", |bencher| bencher.iter(|| sql.wants(black_box(PROPERTIES))));
    group.finish();
}

criterion_group!(filter, benches);
criterion_main!(filter);
