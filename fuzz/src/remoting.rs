// SPDX-License-Identifier: Apache-2.0
//! Properties of the decoders of the remoting protocol.

use oxmq_remoting::{
    Command, Encoding, FieldError, Fields, Header, Kind, RequestHeader, Text,
    bodies::{
        BrokerMemberGroupBody, ClusterInfo, ConsumerGroupList, HeartbeatData, KVTable, LockBatch,
        RegisterBrokerBody, SubscriptionData, TopicConfigSerializeWrapper, TopicList, TopicRouteData,
    },
    fastjson,
    namesrv_requests::{GetRouteInfo, RegisterBroker},
    requests::{PullMessage, SendMessage},
    split_frame,
};
use serde::{Serialize, de::DeserializeOwned};
use std::fmt::Debug;

const FRAME_MAX_BYTES: usize = 1 << 20;
const ENCODINGS: [Encoding; 2] = [Encoding::Json, Encoding::RocketMq];

/// `data` is a buffer of frames, and each header in it is written again in both encodings.
pub fn frame_and_header(data: &[u8]) {
    let mut rest = data;
    while let Ok(Some(frame)) = split_frame(rest, FRAME_MAX_BYTES) {
        assert_eq!(frame.size, 8 + frame.header.len() + frame.body.len());
        // What is whole stays the same whatever follows it, and is not whole without its last byte.
        assert_eq!(split_frame(&rest[..frame.size], FRAME_MAX_BYTES), Ok(Some(frame)));
        assert_eq!(split_frame(&rest[..frame.size - 1], FRAME_MAX_BYTES), Ok(None));
        if let Ok(header) = Header::parse(frame.encoding, frame.header) {
            written_again(&header, frame.body);
        }
        rest = &rest[frame.size..];
    }
    // The fuzzer finds its way into a header sooner without a frame around it.
    for encoding in ENCODINGS {
        if let Ok(header) = Header::parse(encoding, data) {
            written_again(&header, b"body");
        }
    }
}

fn written_again(header: &Header<'_>, body: &[u8]) {
    let own = |text: Text<'_>| text.to_cow().into_owned();
    // Commands name their fields by constants, so the values come back under names of ours.
    const NAMES: [&str; 5] = ["a", "msgId", "queueOffset", "MSG_REGION", "proxyFrowardClientId"];
    let fields: Vec<_> =
        header.fields.iter().zip(NAMES.into_iter().cycle()).map(|((_, v), n)| (n, v)).collect();
    let mut command = Command::new(header.code).with_body(body.to_vec());
    command.remark = header.remark.map(|remark| own(remark).into());
    command.fields =
        fields.iter().map(|(name, value)| ((*name).to_owned().into(), own(*value).into())).collect();
    for encoding in ENCODINGS {
        let mut bytes = b"before".to_vec();
        command.encode(encoding, Kind::OneWay, header.opaque, &mut bytes);
        bytes.extend_from_slice(body);
        let bytes = &bytes[6..];
        let frame = split_frame(bytes, 16 * FRAME_MAX_BYTES).unwrap().unwrap();
        assert_eq!((frame.encoding, frame.size, frame.body), (encoding, bytes.len(), body));
        let again = Header::parse(encoding, frame.header).unwrap();
        assert_eq!(again.opaque, header.opaque);
        assert!(again.is_one_way() && !again.is_response());
        // ROCKETMQ has 16 bits for a code, and no empty strings: they read as absent, as in Java.
        let json = encoding == Encoding::Json;
        assert_eq!(again.code, if json { header.code } else { i32::from(header.code as i16) });
        assert_eq!(again.remark.map(own), header.remark.map(own).filter(|remark| json || !remark.is_empty()));
        let values = |fields: &[(&str, Text<'_>)]| -> Vec<String> {
            fields.iter().map(|(_, value)| own(*value)).filter(|value| json || !value.is_empty()).collect()
        };
        let found: Vec<_> = again.fields.iter().collect();
        assert_eq!(values(&found), values(&fields));
        if !json {
            let names = fields.iter().filter(|(_, value)| !value.to_cow().is_empty()).map(|(name, _)| *name);
            assert!(found.iter().map(|(name, _)| *name).eq(names));
        }
        for (name, _) in &found {
            assert_eq!(again.fields.get(name), found.iter().rfind(|(other, _)| other == name).map(|f| f.1));
        }
    }
}

/// `data` is a header in either encoding, or the custom fields of a JSON header without their braces.
pub fn request_fields(data: &[u8]) {
    let wrapped = [b"{\"extFields\":{", data, b"}}"].concat();
    let headers = [(Encoding::Json, data), (Encoding::RocketMq, data), (Encoding::Json, &wrapped[..])];
    for (encoding, bytes) in headers {
        if let Ok(header) = Header::parse(encoding, bytes) {
            typed(&header.fields);
        }
    }
}

fn typed(fields: &Fields<'_>) {
    let told = |error: &FieldError| error.to_string().starts_with("the custom field <");
    // Either name of a field will do, and the later of both counts.
    let either = |long: &str, short: &str| {
        fields.iter().filter(|(name, _)| *name == long || *name == short).last().map(|(_, value)| value)
    };
    match SendMessage::from_fields(fields) {
        Ok(send) => {
            assert_eq!(either("topic", "b").unwrap().to_cow(), send.topic);
            assert_eq!(either("queueId", "e").unwrap().as_plain().unwrap().parse(), Ok(send.queue_id));
            assert_eq!(either("properties", "i"), send.properties);
        }
        Err(error) => assert!(told(&error)),
    }
    match PullMessage::from_fields(fields) {
        Ok(pull) => {
            let offset = fields.get("queueOffset").unwrap();
            assert_eq!(offset.as_plain().unwrap().parse(), Ok(pull.queue_offset));
        }
        Err(error) => assert!(told(&error)),
    }
    if let Err(error) = RegisterBroker::from_fields(fields) {
        assert!(told(&error));
    }
    assert_eq!(GetRouteInfo::from_fields(fields).is_ok(), fields.get("topic").is_some());
}

/// `data` is a JSON body as fastjson may have written it.
pub fn fastjson_bodies(data: &[u8]) {
    let _ = fastjson::from_slice::<LockBatch>(data);
    let _ = fastjson::member(data, "t");
    if serde_json::from_slice::<serde::de::IgnoredAny>(data).is_ok() {
        let around = [b"{\"s\":\"t\",\"t\" : ", data, b",\"u\":1}"].concat();
        assert_eq!(fastjson::member(&around, "t"), Some(data.trim_ascii()));
    }
    let standard = fastjson::standard(data);
    assert_eq!(fastjson::standard(&standard), standard, "what is standard stays as it is");
    if let Ok(value) = serde_json::from_slice::<serde_json::Value>(data) {
        let again = fastjson::from_slice::<serde_json::Value>(data).unwrap();
        assert_eq!(value, again, "standard JSON means the same");
    }
    read::<HeartbeatData>(data);
    read::<SubscriptionData>(data);
    read::<ConsumerGroupList>(data);
    read::<TopicRouteData>(data);
    read::<ClusterInfo>(data);
    read::<BrokerMemberGroupBody>(data);
    read::<TopicConfigSerializeWrapper>(data);
    read::<TopicList>(data);
    read::<KVTable>(data);
    if let Ok(body) = RegisterBrokerBody::decode(data) {
        assert_eq!(RegisterBrokerBody::decode(&body.encode()).unwrap(), body);
    }
}

fn read<T: DeserializeOwned + Serialize + PartialEq + Debug>(data: &[u8]) {
    if let Ok(body) = fastjson::from_slice::<T>(data) {
        let written = serde_json::to_vec(&body).unwrap();
        assert_eq!(fastjson::from_slice::<T>(&written).unwrap(), body);
        let bare = fastjson::to_vec_with_bare_keys(&body).unwrap();
        assert_eq!(fastjson::from_slice::<T>(&bare).unwrap(), body);
    }
}
