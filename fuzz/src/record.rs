// SPDX-License-Identifier: Apache-2.0
//! Properties of the decoders of stored and of batched messages.

use oxmq_record::{
    BatchMessages, Draft, Encoder, MessageId, Peeked, RecordView, Version, encode_batch_message,
    peek_size_and_magic, properties, stamp,
};

/// `data` is a part of a commit log, the body of a batch send, properties or the text of a message id.
pub fn record(data: &[u8]) {
    records(data);
    batch(data);
    message_properties(data);
    if let Some(id) = std::str::from_utf8(data).ok().and_then(|text| text.parse::<MessageId>().ok()) {
        assert_eq!(id.to_string().parse::<MessageId>().map(|again| again.to_string()), Ok(id.to_string()));
    }
}

fn records(data: &[u8]) {
    let mut rest = data;
    while let Ok(record) = RecordView::parse(rest) {
        let bytes = record.bytes();
        assert_eq!(peek_size_and_magic(rest), Peeked::Message { size: record.size() });
        assert_eq!(bytes, &rest[..record.size() as usize]);
        assert!(RecordView::parse(&bytes[..bytes.len() - 1]).is_err());
        assert_eq!(RecordView::store_timestamp_of(rest), Some(record.store_timestamp_ms()));
        message_properties(record.properties());
        written_again(&record);
        rest = &rest[bytes.len()..];
    }
}

fn written_again(record: &RecordView<'_>) {
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
    let range = Encoder::new(draft.body.len()).encode(&draft, &mut out).unwrap();
    stamp(&mut out[range], record.queue_offset(), record.physical_offset(), record.store_timestamp_ms());
    let again = RecordView::parse(&out).unwrap();
    assert!(again.verify_crc());
    assert_eq!(
        (again.topic(), again.body(), again.properties()),
        (draft.topic, draft.body, draft.properties)
    );
    assert_eq!((again.queue_id(), again.queue_offset()), (record.queue_id(), record.queue_offset()));
    assert_eq!(again.message_id().to_string(), record.message_id().to_string());
    // What we would have written otherwise: a checksum of the body, the old layout for a short topic, the short form
    // of an IPv4 host.
    let ours = record.verify_crc()
        && !(record.body().is_empty() && record.body_crc() != 0)
        && !(record.version() == Version::V2 && record.topic().len() <= 127)
        && [draft.born_host, draft.store_host].iter().all(|host| host.ip() == host.ip().to_canonical());
    assert!(!ours || out == record.bytes(), "{record:?}");
}

fn batch(data: &[u8]) {
    let (mut written, mut all_well) = (Vec::new(), true);
    for message in BatchMessages::new(data) {
        match message {
            Ok(message) => encode_batch_message(&message, &mut written),
            Err(_) => all_well = false,
        }
    }
    assert!(written.len() <= data.len() && (!all_well || written.len() == data.len()));
    assert!(BatchMessages::new(&written).all(|message| message.is_ok()));
}

fn message_properties(data: &[u8]) {
    let _ = properties::tags_code(data);
    let Some((name, _)) = properties::iter(data).next() else { return };
    let Ok(name) = std::str::from_utf8(name) else { return };
    assert!(properties::find(data, name).is_some());
    let before = properties::iter(data).filter(|(other, _)| *other != name.as_bytes()).count();
    let mut changed = data.to_vec();
    assert!(properties::remove(&mut changed, name));
    assert_eq!((properties::find(&changed, name), properties::iter(&changed).count()), (None, before));
    properties::append(&mut changed, name, b"value");
    assert_eq!(properties::find(&changed, name), Some(&b"value"[..]));
}
