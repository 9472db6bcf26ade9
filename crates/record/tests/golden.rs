// SPDX-License-Identifier: Apache-2.0
//! Bytes that Java brokers 4.9.7 and 5.3.3 wrote: decode, encode again, compare.
//!
//! `java-VERSION-sent.bin`: what a stock client sent to a broker: tags (Chinese too), keys, user properties, a
//! compressed body, a batch of three, a delayed message (in 5.3.3 its delivery, too).
//! `java-VERSION-hosts.bin`: a whole segment of 2,048 bytes with every mix of IPv4 and IPv6 hosts, blank record at its
//! end; that of 5.3.3 has a V2 record, for a topic of 137 bytes.

use oxmq_record::{Draft, Encoder, Peeked, RecordView, Version, peek_size_and_magic, properties, stamp};
use oxmq_types::{PhysicalOffset, QueueOffset};

/// All records of `bytes`, and what ends them.
fn records(mut bytes: &[u8]) -> (Vec<RecordView<'_>>, Peeked) {
    let mut all = Vec::new();
    while let Peeked::Message { size } = peek_size_and_magic(bytes) {
        let record = RecordView::parse(bytes).unwrap();
        assert_eq!(record.size(), size);
        assert!(record.verify_crc());
        all.push(record);
        bytes = &bytes[size as usize..];
    }
    (all, peek_size_and_magic(bytes))
}

fn encodes_again(record: &RecordView<'_>) {
    let draft = Draft {
        topic: record.topic(),
        queue_id: record.queue_id(),
        flag: record.flag(),
        sys_flag: record.sys_flag(),
        born_timestamp_ms: record.born_timestamp_ms(),
        born_host: record.born_host(),
        store_host: record.store_host(),
        reconsume_times: record.reconsume_times(),
        prepared_transaction_offset: record.prepared_transaction_offset(),
        body: record.body(),
        properties: record.properties(),
    };
    let mut out = Vec::new();
    let range = Encoder::new(4 * 1024 * 1024).encode(&draft, &mut out).unwrap();
    stamp(&mut out[range], record.queue_offset(), record.physical_offset(), record.store_timestamp_ms());
    assert_eq!(out, record.bytes(), "{record:?}");
    assert_eq!(RecordView::store_timestamp_of(&out), Some(record.store_timestamp_ms()));
}

fn check_sent(bytes: &[u8]) {
    let (records, end) = records(bytes);
    records.iter().for_each(encodes_again);
    assert_eq!(end, Peeked::Nothing);

    let topics: Vec<_> = records.iter().map(RecordView::topic).collect();
    assert_eq!(topics[..10], ["TopicTest"; 10]);
    assert_eq!(topics[10], "SCHEDULE_TOPIC_XXXX");
    let mut expected = PhysicalOffset(0);
    for record in &records {
        assert_eq!(record.physical_offset(), expected);
        expected = expected.plus(u64::from(record.size()));
        assert!(record.store_timestamp_ms() >= record.born_timestamp_ms());
        assert_eq!(record.version(), Version::V1);
    }
    for (i, record) in records[..6].iter().enumerate() {
        assert_eq!(record.body(), format!("hello 世界 {i}").as_bytes());
        assert_eq!(record.property("KEYS"), Some(format!("key{i}").as_bytes()));
        assert_eq!(record.property("user"), Some(format!("v{i}").as_bytes()));
        assert_eq!(record.property("TAGS"), Some(if i % 2 == 0 { "TagA" } else { "标签" }.as_bytes()));
        assert_eq!(record.property(properties::CLUSTER), Some(&b"DefaultCluster"[..]));
        assert_eq!(record.property(properties::UNIQ_KEY).map(<[u8]>::len), Some(56));
        assert_eq!(record.queue_id().0, i as u32 % 2);
        assert_eq!(record.queue_offset(), QueueOffset(i as u64 / 2));
    }
    assert!(records[6].body().len() < 100 && records[6].sys_flag() & 1 == 1, "compressed");
    for (i, record) in records[7..10].iter().enumerate() {
        assert_eq!(record.body(), format!("batch {i}").as_bytes());
        assert_eq!(record.queue_offset(), QueueOffset(3 + i as u64));
    }
    assert_eq!(records[10].property("REAL_TOPIC"), Some(&b"TopicTest"[..]));
}

#[test]
fn records_of_sent_messages() {
    check_sent(include_bytes!("golden/java-5.3.3-sent.bin"));
    check_sent(include_bytes!("golden/java-4.9.7-sent.bin"));
}

#[test]
fn records_with_every_mix_of_hosts() {
    for (bytes, count) in [
        (&include_bytes!("golden/java-5.3.3-hosts.bin")[..], 13),
        (&include_bytes!("golden/java-4.9.7-hosts.bin")[..], 14),
    ] {
        let (records, end) = records(bytes);
        records.iter().for_each(encodes_again);
        assert_eq!(records.len(), count);
        let hosts: Vec<_> =
            records[..4].iter().map(|r| (r.born_host().to_string(), r.store_host().to_string())).collect();
        assert_eq!(
            hosts,
            [
                ("127.0.0.1:40000", "127.0.0.1:10911"),
                ("[::1]:40001", "127.0.0.1:10911"),
                ("127.0.0.1:40002", "[::1]:10911"),
                ("[::1]:40003", "[::1]:10911")
            ]
            .map(|(born, store)| (born.to_owned(), store.to_owned()))
        );
        let used: u32 = records.iter().map(RecordView::size).sum();
        match end {
            Peeked::Blank { size } => assert_eq!(used + size, 2048),
            Peeked::Nothing => assert!(bytes[used as usize..].iter().all(|&byte| byte == 0)),
            Peeked::Message { .. } => unreachable!("records() stops at what is no message"),
        }
        assert_eq!(records[0].body(), "body 正文 0".as_bytes());
    }
    let (records, _) = records(include_bytes!("golden/java-5.3.3-hosts.bin"));
    let long = &records[5];
    assert_eq!((long.version(), long.topic().len()), (Version::V2, 137));
    assert_eq!(long.message_id().to_string(), "7F00000100002A9F00000000000002C3");
}
