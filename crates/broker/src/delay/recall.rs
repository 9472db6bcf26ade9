// SPDX-License-Identifier: Apache-2.0
//! RECALL_MESSAGE (370): a message that waits for a time is not to be delivered.
//!
//! The answer to the send carries a handle, URL-safe base64 of `v1 TOPIC BROKER TIME UNIQUE-KEY`. The recall becomes a
//! message of the timer's queue itself, for the slot of that time, see [`super`]. Whether it comes in time, and whether
//! there is such a message, nobody knows when it is answered.
//!
//! Java: `RecallMessageProcessor`, `RecallMessageHandle`.

use super::{Waiting, rewrite::TIMER_DEL_UNIQKEY, rewrite::TIMER_DELIVER_MS};
use crate::{groups::now_ms, live::Live, puts::Puts, refusal::Refusal, send::SendRules, topics::Topics};
use oxmq_net::{Answer, Request};
use oxmq_record::{Draft, properties};
use oxmq_remoting::{Command, RequestHeader, code, requests::RecallMessage};
use oxmq_types::{Perm, QueueId, RETRY_GROUP_PREFIX};
use std::time::Duration;

/// Takes recalls.
#[derive(Debug)]
pub(crate) struct Recalls {
    topics: Topics,
    puts: Puts,
    rules: Live<SendRules>,
}

/// The tag of recalls in the timer's queue. Java: `RecallMessageProcessor.RECALL_MESSAGE_TAG`.
const TAG: &[u8] = b"_RECALL_TAG_";

impl Recalls {
    pub(crate) fn new(topics: Topics, puts: Puts, rules: Live<SendRules>) -> Self {
        Self { topics, puts, rules }
    }

    pub(crate) fn handle(&self, request: Request<'_>) -> Result<Answer, Refusal> {
        let header = RecallMessage::from_fields(&request.header.fields)?;
        let (rules, sends) = (self.puts.delays().rules(), self.rules.get());
        if !rules.recall {
            return Err(Refusal::NoPermission("recall failed, operation is forbidden".into()));
        }
        if !sends.permission.allows(Perm::WRITE) && !rules.recall_when_not_writable {
            return Err(Refusal::ServiceNotAvailable("recall failed, broker service not available".into()));
        }
        if self.topics.get(&header.topic).is_none() {
            return Err(Refusal::RecallInNoTopic(header.topic.into_owned()));
        }
        let handle = Handle::decode(&header.handle)
            .ok_or_else(|| Refusal::IllegalOperation("recall handle is invalid".into()))?;
        if handle.topic != header.topic {
            return Err(Refusal::IllegalOperation("recall failed, topic not match".into()));
        }
        if handle.broker != rules.broker {
            return Err(Refusal::IllegalOperation("recall failed, broker service not available".into()));
        }
        let now_ms = now_ms();
        let left_ms = handle.at_ms.saturating_sub(now_ms);
        if left_ms <= 0 || left_ms >= rules.timer_max_ms {
            return Err(Refusal::IllegalOperation("recall failed, timestamp invalid".into()));
        }
        let mut properties = Vec::new();
        let key = format!("{}+{}", handle.topic, handle.unique_key);
        let group = header.producer_group.unwrap_or_default();
        for (name, value) in [
            (TIMER_DEL_UNIQKEY, key.as_bytes()),
            (properties::UNIQ_KEY, handle.unique_key.as_bytes()),
            (TIMER_DELIVER_MS, handle.at_ms.to_string().as_bytes()),
            ("BORN_TIMESTAMP", now_ms.to_string().as_bytes()),
            ("PGROUP", group.as_bytes()),
            (properties::TAGS, TAG),
        ] {
            if !value.is_empty() {
                properties::append(&mut properties, name, value);
            }
        }
        let draft = Draft {
            topic: &header.topic,
            queue_id: QueueId(0),
            flag: 0,
            sys_flag: 0,
            born_timestamp_ms: now_ms,
            born_host: request.peer.remote(),
            store_host: sends.store_host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: b"0",
            properties: &properties,
        };
        let Ok(appended) = self.puts.put(&draft) else {
            return Err(Refusal::System("recall failed, execute error".into()));
        };
        let answer = Command::new(code::SUCCESS)
            .with("msgId", handle.unique_key)
            .with("MSG_REGION", sends.region.clone());
        let timeout = sends.sync_flush_timeout.map(|timeout| timeout.min(FLUSH_WAIT_MAX));
        if timeout.is_none() {
            return Ok(Answer::Now(answer));
        }
        let on_disk = self.puts.on_disk(appended.end, timeout);
        // As in Java, a slow disk is no reason to say that it failed.
        Ok(Answer::later(async move {
            on_disk.await;
            answer
        }))
    }
}

/// The client's own timeout is 3 s.
const FLUSH_WAIT_MAX: Duration = Duration::from_secs(2);

/// What a handle says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Handle {
    topic: String,
    broker: String,
    at_ms: i64,
    unique_key: String,
}

impl Handle {
    /// Reads a handle. A time that is none is one that has passed.
    fn decode(text: &str) -> Option<Self> {
        let text = String::from_utf8(base64_decode(text)?).ok()?;
        let mut parts = text.split(' ');
        if parts.next()? != "v1" {
            return None;
        }
        let mut part = || parts.next().map(str::to_owned);
        let (topic, broker, at_ms) = (part()?, part()?, part()?.parse().unwrap_or(-1));
        let handle = Self { topic, broker, at_ms, unique_key: part()? };
        // It becomes part of properties.
        (!handle.unique_key.is_empty() && !handle.unique_key.chars().any(char::is_control)).then_some(handle)
    }
}

/// The handle by which a message that was just stored can be recalled. `None` if it cannot be.
pub(crate) fn handle(broker: &str, topic: &str, waiting: &Waiting, unique_key: &str) -> Option<String> {
    let at_ms = waiting.recall_at_ms.filter(|_| !topic.starts_with(RETRY_GROUP_PREFIX))?;
    Some(base64_encode(format!("v1 {topic} {broker} {at_ms} {unique_key}").as_bytes()))
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// As Java's `Base64.getUrlEncoder`, padding included.
fn base64_encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let letter = ALPHABET[(bits >> (18 - 6 * at)) as usize & 63];
            out.push(if at > chunk.len() as u32 { '=' } else { letter.into() });
        }
    }
    out
}

/// As Java's `Base64.getUrlDecoder`: padding can be left out.
fn base64_decode(text: &str) -> Option<Vec<u8>> {
    let letters = text.trim_end_matches('=').as_bytes();
    if letters.is_empty()
        || letters.len() % 4 == 1
        || (letters.len() != text.len() && !text.len().is_multiple_of(4))
    {
        return None;
    }
    let mut out = Vec::with_capacity(letters.len() / 4 * 3 + 2);
    for chunk in letters.chunks(4) {
        let mut bits = 0;
        for at in 0..4 {
            let value =
                chunk.get(at).map_or(Some(0), |letter| ALPHABET.iter().position(|known| known == letter));
            bits = bits << 6 | value? as u32;
        }
        out.extend_from_slice(&bits.to_be_bytes()[1..chunk.len()]);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use oxmq_types::TagsCode;

    #[test]
    fn handles_are_those_of_java() {
        // As Java 5.3.3 answered a send.
        let text = "djEgRGVsYXlUIGJyb2tlci1hIDE3OTUyNDAxNjAwMDEgRkQwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDI1OUVCNUZGRDJCMjc2ODNFRjJCNjAwMUY=";
        let handle = Handle::decode(text).unwrap();
        let unique_key = "FD00000000000000000000000000000259EB5FFD2B27683EF2B6001F";
        assert_eq!(
            (&*handle.topic, &*handle.broker, handle.at_ms),
            ("DelayT", "broker-a", 1_795_240_160_001)
        );
        assert_eq!(handle.unique_key, unique_key);
        let waiting = |recall_at_ms| Waiting {
            topic: oxmq_types::TIMER_TOPIC,
            queue_id: QueueId(0),
            tags_code: TagsCode(0),
            due_ms: 0,
            recall_at_ms,
        };
        let of = |topic, at| super::handle("broker-a", topic, &waiting(at), unique_key);
        assert_eq!(of("DelayT", Some(1_795_240_160_001)).as_deref(), Some(text));
        assert_eq!(of("%RETRY%g", Some(1)), None);
        assert_eq!(of("DelayT", None), None);
    }

    #[test]
    fn other_text_is_no_handle() {
        assert!(Handle::decode(&base64_encode(b"v1 t b 5 key")).is_some());
        assert_eq!(Handle::decode(&base64_encode(b"v1 t b x key")).unwrap().at_ms, -1);
        for text in [&b"v1 a b"[..], b"v2 t b 5 key", b"v1 t b 5 ", b"v1 t b 5 k\x01", b"\xff", b""] {
            assert_eq!(Handle::decode(&base64_encode(text)), None, "{text:?}");
        }
        for text in ["%%%", "=", "A", "AA=", "AAA==", "äö", "djEg\n"] {
            assert_eq!(Handle::decode(text), None, "{text:?}");
        }
    }

    #[test]
    fn base64_comes_back() {
        for length in 0..20 {
            let bytes: Vec<u8> = (0..length).map(|n| u8::wrapping_mul(n, 37) ^ 0xF7).collect();
            let text = base64_encode(&bytes);
            assert_eq!(base64_decode(&text), (length > 0).then_some(bytes.clone()));
            assert_eq!(base64_decode(text.trim_end_matches('=')), (length > 0).then_some(bytes));
        }
    }
}
