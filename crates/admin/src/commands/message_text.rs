// SPDX-License-Identifier: Apache-2.0
//! A message as `mqadmin` shows it: the list of `queryMsgById`, the line of `printMsg`, and JSON.
//!
//! Java: `QueryMsgByIdSubCommand#printMsg`, `PrintMessageSubCommand#printMessage`.

use crate::{
    format::time,
    java_text::{SLOTS, Table, in_table_order, map_text},
    message_ext::{address, message_ext, properties},
};
use oxmq_client::ReceivedMessage;
use oxmq_types::java_string_hash;
use serde_json::{Value, json};
use std::fmt::Write;

fn properties_text(message: &ReceivedMessage) -> String {
    let pairs = properties(message, &[]);
    map_text(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())))
}

/// What a property is, or Java's `null`.
fn or_null(value: Option<impl Into<String>>) -> String {
    value.map_or_else(|| "null".to_owned(), Into::into)
}

/// The list that `queryMsgById` shows, without who consumed the message. `body_path`: the file with its body;
/// `body`: its text, if it is wanted.
pub(crate) fn list(
    message: &ReceivedMessage,
    with_offset_id: bool,
    body_path: &str,
    body: Option<&str>,
) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: &dyn std::fmt::Display| {
        let _ = writeln!(out, "{name:<20} {value}");
    };
    if with_offset_id {
        line("OffsetID:", &message.offset_msg_id());
    }
    line("Topic:", &message.topic());
    line("Tags:", &format!("[{}]", or_null(message.tag())));
    line("Keys:", &format!("[{}]", or_null(message.keys())));
    line("Queue ID:", &message.queue_id());
    line("Queue Offset:", &message.queue_offset());
    line("CommitLog Offset:", &message.physical_offset());
    line("Reconsume Times:", &message.reconsume_times());
    line("Born Timestamp:", &time(message.born_timestamp_ms()));
    line("Store Timestamp:", &time(message.store_timestamp_ms()));
    line("Born Host:", &address(message.born_host()));
    line("Store Host:", &address(message.store_host()));
    line("System Flag:", &message.sys_flag());
    line("Properties:", &properties_text(message));
    line("Message Body Path:", &body_path);
    if let Some(body) = body {
        line("Message Body:", &body);
    }
    out
}

/// The line of `printMsg`. `body`: its text, if it is wanted.
pub(crate) fn line(message: &ReceivedMessage, body: Option<&str>) -> String {
    let body = body.unwrap_or("NOT PRINT BODY");
    let text = message_ext(message, &[]);
    format!("MSGID: {} {text} BODY: {body}\n", message.msg_id())
}

/// A message for programs. A body that is no UTF-8 is given in base64.
pub(crate) fn json(message: &ReceivedMessage, with_body: bool) -> Value {
    let properties = properties(message, &[]).into_iter().map(|(name, value)| (name, Value::String(value)));
    let mut value = json!({
        "msgId": message.msg_id(),
        "offsetMsgId": message.offset_msg_id(),
        "topic": message.topic(),
        "brokerName": message.broker_name(),
        "queueId": message.queue_id(),
        "queueOffset": message.queue_offset(),
        "commitLogOffset": message.physical_offset(),
        "tags": message.tag(),
        "keys": message.keys(),
        "reconsumeTimes": message.reconsume_times(),
        "bornTimestamp": message.born_timestamp_ms(),
        "storeTimestamp": message.store_timestamp_ms(),
        "bornHost": address(message.born_host()),
        "storeHost": address(message.store_host()),
        "sysFlag": message.sys_flag(),
        "flag": message.flag(),
        "storeSize": message.store_size(),
        "bodyCRC": message.body_crc(),
        "properties": Value::Object(properties.collect()),
    });
    if let Some(fault) = message.body_fault() {
        value["bodyFault"] = fault.to_string().into();
    }
    if with_body {
        match message.text() {
            Some(text) => value["body"] = text.into(),
            None => {
                use base64::{Engine, prelude::BASE64_STANDARD};
                value["bodyBase64"] = BASE64_STANDARD.encode(message.body()).into();
            }
        }
    }
    value
}

/// Pairs of the properties that Java has in a table of the usual size.
pub(crate) fn in_usual_order<V>(pairs: Vec<(String, V)>) -> Vec<(String, V)> {
    in_table_order(Table::Hash, SLOTS, pairs, |(name, _)| java_string_hash(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{message, pulled};

    #[test]
    fn a_message_is_listed_field_by_field() {
        let message = message("T", b"hi", &[("KEYS", "k"), ("UNIQ_KEY", "U"), ("TAGS", "A")]);
        let text = list(&message, true, "/tmp/x", Some("hi"));
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "OffsetID:            7F00000100002A9F0000000000000000");
        assert_eq!(
            lines[1..4],
            ["Topic:               T", "Tags:                [A]", "Keys:                [k]"]
        );
        assert_eq!(
            lines[10..12],
            ["Born Host:           10.0.0.7:5000", "Store Host:          127.0.0.1:10911"]
        );
        assert_eq!(lines[13], "Properties:          {UNIQ_KEY=U, TAGS=A, KEYS=k}");
        assert_eq!(lines[15], "Message Body:        hi");
    }

    #[test]
    fn a_message_is_one_line_of_print_msg() {
        let message = pulled("T", &[104, 0xFF], &[("UNIQ_KEY", "U")], 0..9);
        let text = line(&message, None);
        assert!(
            text.starts_with("MSGID: U MessageExt [brokerName=broker-a, queueId=3, storeSize="),
            "{text}"
        );
        assert!(
            text.contains("bornHost=/10.0.0.7:5000, ") && text.contains("storeHost=/127.0.0.1:10911, "),
            "{text}"
        );
        assert!(text.contains("MAX_OFFSET=9") && text.contains("MIN_OFFSET=0"), "{text}");
        assert!(text.ends_with("body=[104, -1], transactionId='null'}] BODY: NOT PRINT BODY\n"), "{text}");
        let half = pulled("T", b"x", &[("UNIQ_KEY", "U"), ("TRAN_MSG", "true")], 0..9);
        assert!(line(&half, None).contains("transactionId='U'"));
    }

    #[test]
    fn json_has_text_or_base64() {
        let value = json(&message("T", b"hi", &[("a", "1"), ("a", "2")]), true);
        assert_eq!((&value["body"], &value["properties"]["a"]), (&"hi".into(), &"2".into()));
        let value = json(&message("T", &[0xFF], &[]), true);
        assert_eq!((&value["bodyBase64"], &value["tags"]), (&"/w==".into(), &Value::Null));
    }
}
