// SPDX-License-Identifier: Apache-2.0
//! Request and reply: SEND_REPLY_MESSAGE (324) and its V2 (325), PUSH_REPLY_MESSAGE_TO_CLIENT (326).
//!
//! A request is an ordinary message whose properties name the client that waits for the reply (`REPLY_TO_CLIENT`) and
//! which of its requests it is (`CORRELATION_ID`). Whoever consumed it sends the reply to this broker, which hands it to
//! that client over the connection of its heartbeats and answers the sender with what became of it.
//!
//! - A reply is handed over whether or not it can be stored, and stored whether or not somebody waits for it.
//! - It is handed over once: a requester that is gone, or does not answer for [`PUSH_TIMEOUT`], does not get it later.
//! - Nothing is kept of a reply but the two requests on the wire, which end with their connections.
//!
//! Java: `ReplyMessageProcessor`.

#[cfg(test)]
mod tests;

use crate::{
    clients::Clients,
    groups::now_ms,
    live::Live,
    overload::Admission,
    puts::Puts,
    refusal::Refusal,
    send::{SendRules, Sends},
};
use bytes::Bytes;
use oxmq_net::{Answer, Request};
use oxmq_record::{Draft, MessageId, properties, sys_flag};
use oxmq_remoting::{
    Command, RequestHeader,
    code::{self, request::PUSH_REPLY_MESSAGE_TO_CLIENT},
    requests::SendMessage,
};
use oxmq_store::Appended;
use oxmq_types::QueueId;
use std::{sync::Arc, time::Duration};
use tracing::warn;

/// How long a client may take to answer that it has the reply. Java: the timeout of `Broker2Client#callClient`.
const PUSH_TIMEOUT: Duration = Duration::from_secs(10);
const REPLY_TO_CLIENT: &str = "REPLY_TO_CLIENT";
const PUSH_REPLY_TIME: &str = "PUSH_REPLY_TIME";

/// Hands replies over.
#[derive(Debug)]
pub(crate) struct Replies {
    clients: Clients,
    puts: Puts,
    admission: Arc<Admission>,
    rules: Live<SendRules>,
}

impl Replies {
    pub(crate) fn new(
        clients: Clients,
        puts: Puts,
        admission: Arc<Admission>,
        rules: Live<SendRules>,
    ) -> Self {
        Self { clients, puts, admission, rules }
    }

    /// SEND_REPLY_MESSAGE and SEND_REPLY_MESSAGE_V2. `sends` says where a reply is stored.
    pub(crate) fn handle(&self, sends: &Sends, request: Request<'_>) -> Result<Answer, Refusal> {
        let header = SendMessage::from_fields(&request.header.fields)?;
        if request.body.is_empty() {
            // Java's code, which there comes from a null pointer.
            return Err(Refusal::System("the message body is empty".into()));
        }
        let (topic, _) = sends.topic(&header, request)?;
        let queue_id = sends.queue_id(&topic, &header, request)?;
        let properties = self.properties(&header);
        let (message_id, queue_offset) = self.store(&header, request, (topic.name(), queue_id), &properties);
        let answer = Command::success()
            .with("msgId", message_id)
            .with("queueId", queue_id.0)
            .with("queueOffset", queue_offset)
            .with("MSG_REGION", self.rules.get().region.clone())
            .with("TRACE_ON", self.rules.get().trace_on);
        let failed = |answer: Command, remark: String| Command {
            code: code::SYSTEM_ERROR,
            remark: Some(remark.into()),
            ..answer
        };
        let Some(client_id) = properties::find(&properties, REPLY_TO_CLIENT) else {
            let remark = format!("reply message properties[{REPLY_TO_CLIENT}] is null");
            return Ok(Answer::Now(failed(answer, remark)));
        };
        let client_id = String::from_utf8_lossy(client_id).into_owned();
        let Some(requester) = self.clients.producer(&client_id) else {
            let remark = format!("push reply message fail, channel of <{client_id}> not found.");
            return Ok(Answer::Now(failed(answer, remark)));
        };
        let push = self.push(&header, request, properties);
        Ok(Answer::later(async move {
            match requester.call(push, PUSH_TIMEOUT).await {
                Ok(taken) if taken.code == code::SUCCESS => return answer,
                Ok(refused) => warn!(client_id, remark = refused.remark, "a client refuses a reply"),
                Err(error) => warn!(client_id, %error, "a client does not take a reply"),
            }
            failed(answer, format!("push reply message to {client_id}fail."))
        }))
    }

    /// The properties of the reply, with those that tell where it came by.
    fn properties(&self, header: &SendMessage<'_>) -> Vec<u8> {
        let mut properties = Vec::new();
        if let Some(text) = header.properties {
            text.write_to(&mut properties);
        }
        for (name, value) in [
            ("MSG_REGION", self.rules.get().region.as_str()),
            ("TRACE_ON", if self.rules.get().trace_on { "true" } else { "false" }),
        ] {
            properties::remove(&mut properties, name);
            properties::append(&mut properties, name, value.as_bytes());
        }
        properties
    }

    /// Stores the reply, if that is wanted, for those who look for it later. Its offset message id and queue offset; a
    /// reply that is not stored has those of Java, too.
    fn store(
        &self,
        header: &SendMessage<'_>,
        request: Request<'_>,
        (topic, queue_id): (&str, QueueId),
        properties: &[u8],
    ) -> (String, u64) {
        let not_stored = || ("0".to_owned(), 0);
        // Whoever waits for it gets it all the same.
        let admitted = || self.admission.admit().and_then(|()| self.puts.admit(request.body, properties));
        if !self.rules.get().stores_replies || admitted().is_err() {
            return not_stored();
        }
        let stored = self.puts.put(&Draft {
            topic,
            queue_id,
            flag: header.flag,
            // A reply is no part of a transaction; with the type of a half message no consumer sees it.
            sys_flag: header.sys_flag & !sys_flag::TRANSACTION_TYPE,
            born_timestamp_ms: header.born_timestamp_ms,
            born_host: request.peer.remote(),
            store_host: self.rules.get().store_host,
            reconsume_times: header.reconsume_times.unwrap_or(0),
            prepared_transaction_offset: 0,
            body: request.body,
            properties,
        });
        match stored {
            Ok(Appended { physical, queue_offset, .. }) => {
                let id = MessageId { store_host: self.rules.get().store_host, physical_offset: physical };
                (id.to_text(), queue_offset.0)
            }
            Err(refusal) => {
                warn!(topic, %refusal, "a reply is not stored");
                not_stored()
            }
        }
    }

    fn push(&self, header: &SendMessage<'_>, request: Request<'_>, mut properties: Vec<u8>) -> Command {
        let now = now_ms();
        properties::append(&mut properties, PUSH_REPLY_TIME, now.to_string().as_bytes());
        Command::new(PUSH_REPLY_MESSAGE_TO_CLIENT)
            .with("producerGroup", header.producer_group.to_cow().into_owned())
            .with("topic", header.topic.clone().into_owned())
            .with("defaultTopic", header.default_topic.clone().into_owned())
            .with("defaultTopicQueueNums", header.default_topic_queue_nums)
            .with("queueId", header.queue_id)
            .with("sysFlag", header.sys_flag)
            .with("bornTimestamp", header.born_timestamp_ms)
            .with("flag", header.flag)
            .with("properties", String::from_utf8_lossy(&properties).into_owned())
            .with("reconsumeTimes", header.reconsume_times.unwrap_or(0))
            .with("unitMode", header.unit_mode == Some(true))
            .with("bornHost", request.peer.remote().to_string())
            .with("storeHost", self.rules.get().store_host.to_string())
            .with("storeTimestamp", now)
            .with_body(Bytes::copy_from_slice(request.body))
    }
}
