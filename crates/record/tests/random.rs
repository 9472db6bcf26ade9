// SPDX-License-Identifier: Apache-2.0
//! Round trips of random messages, and parsers on random and damaged bytes.

use std::net::SocketAddr;

use oxmq_record::{
    BatchMessage, BatchMessages, Draft, EncodeError, Encoder, MessageId, RecordView, encode_batch_message,
    peek_size_and_magic, properties, stamp,
};
use oxmq_types::{PhysicalOffset, QueueId, QueueOffset};
use proptest::{collection::vec, prelude::*};

fn record(
    topic: &str,
    body: &[u8],
    properties: &[u8],
    born: SocketAddr,
    store: SocketAddr,
    n: u64,
) -> Vec<u8> {
    let draft = Draft {
        topic,
        queue_id: QueueId(n as u32),
        flag: n as i32,
        sys_flag: n as i32,
        born_timestamp_ms: n as i64,
        born_host: born,
        store_host: store,
        reconsume_times: n as i32,
        prepared_transaction_offset: n as i64,
        body,
        properties,
    };
    let mut out = vec![0xAA; 3];
    let range = Encoder::new(usize::MAX).encode(&draft, &mut out).unwrap();
    assert_eq!(range, 3..out.len());
    stamp(&mut out[range.clone()], QueueOffset(n), PhysicalOffset(!n), n as i64 + 1);
    out[range].to_vec()
}

fn host() -> impl Strategy<Value = SocketAddr> {
    any::<(bool, u32, u128, u16)>().prop_map(|(v6, four, six, port)| {
        let ip = if v6 {
            std::net::Ipv6Addr::from(six | 1 << 127).into()
        } else {
            std::net::Ipv4Addr::from(four).into()
        };
        SocketAddr::new(ip, port)
    })
}

proptest! {
    #[test]
    fn round_trip(topic in "[a-zA-Z%_|-]{0,200}", body in vec(any::<u8>(), 0..300),
                  props in vec(any::<u8>(), 0..300), born in host(), store in host(), n: u64) {
        let bytes = record(&topic, &body, &props, born, store, n);
        let view = RecordView::parse(&bytes).unwrap();
        prop_assert_eq!(view.bytes(), &bytes[..]);
        prop_assert_eq!(view.topic(), topic);
        prop_assert_eq!(view.body(), &body[..]);
        prop_assert_eq!(view.properties(), &props[..]);
        prop_assert_eq!((view.born_host(), view.store_host()), (born, store));
        prop_assert_eq!((view.queue_id(), view.queue_offset()), (QueueId(n as u32), QueueOffset(n)));
        prop_assert_eq!((view.physical_offset(), view.store_timestamp_ms()), (PhysicalOffset(!n), n as i64 + 1));
        prop_assert_eq!((view.flag(), view.born_timestamp_ms()), (n as i32, n as i64));
        prop_assert_eq!(view.sys_flag() & !0x30, n as i32 & !0x30);
        prop_assert_eq!((view.reconsume_times(), view.prepared_transaction_offset()), (n as i32, n as i64));
        prop_assert!(view.verify_crc());
        prop_assert_eq!(RecordView::store_timestamp_of(&bytes), Some(n as i64 + 1));
        prop_assert_eq!(view.message_id().to_string().parse::<MessageId>(), Ok(view.message_id()));
    }

    #[test]
    fn arbitrary_bytes_never_panic(mut bytes in vec(any::<u8>(), 0..200), head in 0u8..4) {
        let magic = [0xDAA3_20A7u32, 0xDAA3_20AB, 0xCBD4_3194, 0][head as usize];
        if bytes.len() >= 8 {
            let size = (bytes.len() as u32).to_be_bytes();
            bytes[..4].copy_from_slice(&size);
            bytes[4..8].copy_from_slice(&magic.to_be_bytes());
        }
        let _ = peek_size_and_magic(&bytes);
        if let Ok(view) = RecordView::parse(&bytes) {
            let _ = view.verify_crc();
            let _ = properties::tags_code(view.properties());
        }
        let _ = RecordView::store_timestamp_of(&bytes);
        BatchMessages::new(&bytes).for_each(drop);
        properties::iter(&bytes).for_each(drop);
        let _ = String::from_utf8_lossy(&bytes).parse::<MessageId>();
    }

    #[test]
    fn damaged_records_never_panic(at in 0usize..200, to: u8, cut in 0usize..200) {
        let host = "127.0.0.1:1".parse().unwrap();
        let mut bytes = record("TopicTest", b"0123456789", b"a\x01b\x02", host, host, 5);
        let at = at % bytes.len();
        bytes[at] = to;
        if let Ok(view) = RecordView::parse(&bytes) {
            prop_assert_eq!(view.bytes().len(), bytes.len());
            let _ = view.verify_crc();
        }
        prop_assert!(RecordView::parse(&bytes[..cut % bytes.len()]).is_err());
    }

    #[test]
    fn batches_round_trip(messages in vec((any::<i32>(), vec(any::<u8>(), 0..50), vec(any::<u8>(), 0..50)), 0..8)) {
        let mut body = Vec::new();
        for (flag, text, properties) in &messages {
            encode_batch_message(&BatchMessage { flag: *flag, body: text, properties }, &mut body);
        }
        let read: Vec<_> = BatchMessages::new(&body)
            .map(|message| message.map(|m| (m.flag, m.body.to_vec(), m.properties.to_vec())).unwrap())
            .collect();
        prop_assert_eq!(read, messages);
    }
}

#[test]
fn sizes_are_checked_before_anything_is_written() {
    let host = "127.0.0.1:1".parse().unwrap();
    let draft = Draft {
        topic: "T",
        queue_id: QueueId(0),
        flag: 0,
        sys_flag: 0,
        born_timestamp_ms: 0,
        born_host: host,
        store_host: host,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: b"12345",
        properties: b"",
    };
    let mut out = Vec::new();
    let mut check = |draft: &Draft<'_>, expected| {
        assert_eq!(Encoder::new(5).encode(draft, &mut out), Err(expected));
        assert!(out.is_empty());
    };
    check(&Draft { body: b"123456", ..draft }, EncodeError::BodyTooLarge { size: 6, limit: 5 });
    let properties = vec![b'x'; 32_768];
    check(&Draft { properties: &properties, ..draft }, EncodeError::PropertiesTooLarge { size: 32_768 });
    let topic = "x".repeat(32_768);
    check(&Draft { topic: &topic, ..draft }, EncodeError::TopicTooLong { size: 32_768 });
    let longest = Draft { properties: &properties[1..], topic: &topic[1..], ..draft };
    let range = Encoder::new(5).encode(&longest, &mut out).unwrap();
    assert_eq!(RecordView::parse(&out[range]).unwrap().topic().len(), 32_767);
    // An IPv4 address that a dual-stack socket reports as IPv6 is stored as IPv4, as Java does.
    out.clear();
    let mapped = Draft { born_host: "[::ffff:10.0.0.1]:9".parse().unwrap(), ..draft };
    Encoder::new(5).encode(&mapped, &mut out).unwrap();
    assert_eq!(RecordView::parse(&out).unwrap().born_host().to_string(), "10.0.0.1:9");
}
