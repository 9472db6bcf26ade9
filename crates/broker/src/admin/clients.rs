// SPDX-License-Identifier: Apache-2.0
//! Who is connected, what they subscribe to, and requests that go on to one of them.

use super::{Parts, answer, messages::not_found};
use crate::{
    clients::{ConsumerGroup, Member},
    groups::now_ms,
    refusal::Refusal,
};
use oxmq_net::{Answer, CallError, Peer, Reply, Request};
use oxmq_record::MessageId;
use oxmq_remoting::{
    Command, FieldValue, RequestHeader,
    admin_requests::ConsumerCall,
    bodies::{SubscriptionData, TopicList},
    code,
};
use serde::Serialize;
use std::{borrow::Cow, collections::BTreeMap, sync::Arc, time::Duration};

/// How long a client may take to answer what is passed on to it. Java: `Broker2Client#callClient`.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// One connected client. Java: `Connection`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Connection {
    client_addr: String,
    client_id: String,
    language: &'static str,
    version: i32,
}

/// Java: `ConsumerConnection`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ConsumerConnection {
    connection_set: Vec<Connection>,
    consume_from_where: String,
    consume_type: String,
    message_model: String,
    subscription_table: BTreeMap<String, SubscriptionData>,
}

/// Java: `ProducerConnection`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProducerConnection {
    connection_set: Vec<Connection>,
}

/// Java: `ProducerInfo`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProducerInfo {
    client_id: String,
    language: &'static str,
    last_update_timestamp: i64,
    #[serde(rename = "remoteIP")]
    remote_ip: String,
    version: i32,
}

/// Java: `ProducerTableInfo`.
#[derive(Serialize)]
struct ProducerTable {
    data: BTreeMap<String, Vec<ProducerInfo>>,
}

/// Java: `GroupList`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GroupList {
    group_list: Vec<String>,
}

/// Java: `QuerySubscriptionResponseBody`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Subscription<'a> {
    group: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subscription_data: Option<SubscriptionData>,
    topic: &'a str,
}

impl From<&Member> for Connection {
    fn from(member: &Member) -> Self {
        Self {
            client_addr: member.peer.remote().to_string(),
            client_id: member.client_id.clone(),
            language: member.language.name(),
            version: member.version,
        }
    }
}

impl From<&Member> for ProducerInfo {
    fn from(member: &Member) -> Self {
        let ago = i64::try_from(member.heard.elapsed().as_millis()).unwrap_or(i64::MAX);
        Self {
            client_id: member.client_id.clone(),
            language: member.language.name(),
            last_update_timestamp: now_ms().saturating_sub(ago),
            // COMPAT(java): the text of Java's socket address.
            remote_ip: format!("/{}", member.peer.remote()),
            version: member.version,
        }
    }
}

impl Parts {
    pub(super) fn consumers(&self, group: &str) -> Result<Command, Refusal> {
        let connection = self.clients.consumer_group(group, |group: &ConsumerGroup| ConsumerConnection {
            connection_set: group.members.values().map(Connection::from).collect(),
            consume_from_where: group.consume_from_where.clone(),
            consume_type: group.consume_type.clone(),
            message_model: group.message_model.clone(),
            subscription_table: group
                .subscriptions
                .iter()
                .map(|(topic, each)| (topic.clone(), each.data.clone()))
                .collect(),
        });
        answer(&connection.ok_or_else(|| Refusal::ConsumerNotOnline(group.to_owned()))?)
    }

    pub(super) fn producers(&self, group: &str) -> Result<Command, Refusal> {
        let members = self.clients.producers(group);
        if members.is_empty() {
            return Err(Refusal::ProducerNotOnline(group.to_owned()));
        }
        answer(&ProducerConnection { connection_set: members.iter().map(Connection::from).collect() })
    }

    pub(super) fn all_producers(&self) -> Result<Command, Refusal> {
        let all = self.clients.all_producers();
        let infos = |members: Vec<Member>| members.iter().map(ProducerInfo::from).collect();
        answer(&ProducerTable {
            data: all.into_iter().map(|(group, members)| (group, infos(members))).collect(),
        })
    }

    /// The groups that subscribe to a topic or have offsets in it.
    pub(super) fn groups_of(&self, topic: &str) -> Result<Command, Refusal> {
        let mut group_list = self.offsets.groups_of(topic);
        group_list.extend(self.clients.subscribers(topic));
        group_list.sort_unstable();
        group_list.dedup();
        answer(&GroupList { group_list })
    }

    /// The topics in which a group has offsets.
    pub(super) fn topics_of(&self, group: &str) -> Result<Command, Refusal> {
        let broker_addr = Some(self.rules.get().address.clone());
        answer(&TopicList { broker_addr, topic_list: self.offsets.topics_of(group) })
    }

    pub(super) fn subscription(&self, group: &str, topic: &str) -> Result<Command, Refusal> {
        answer(&Subscription { group, subscription_data: self.subscription_of(group, topic), topic })
    }

    pub(super) fn subscription_of(&self, group: &str, topic: &str) -> Option<SubscriptionData> {
        let told = self.clients.consumer_group(group, |group| group.subscriptions.get(topic).cloned());
        told.flatten().map(|told| told.data.clone())
    }

    /// Passes a request on to the client that it names.
    pub(super) fn call_consumer(&self, request: Request<'_>) -> Result<Answer, Refusal> {
        let header = ConsumerCall::from_fields(&request.header.fields)?;
        Ok(pass_on(self.member(&header)?, who(&header), copy(request)))
    }

    /// Has a client consume one message, and passes its answer back.
    pub(super) fn consume_directly(&self, request: Request<'_>) -> Result<Answer, Refusal> {
        let header = ConsumerCall::from_fields(&request.header.fields)?;
        let peer = self.member(&header)?;
        let text = header.message_id.as_deref().unwrap_or_default();
        let id: MessageId =
            text.parse().map_err(|error| Refusal::Parameter(format!("msgId[{text}]: {error}")))?;
        let at = id.physical_offset;
        let mut call = copy(request).with("brokerName", self.topics.rules().broker.clone());
        if let Some(topic) = header.topic.as_deref().and_then(|name| self.topics.get(name)) {
            call = call.with("topicSysFlag", topic.config().topic_sys_flag);
        }
        if let Some(group) = self.groups.get(&header.consumer_group) {
            call = call.with("groupSysFlag", group.group_sys_flag);
        }
        let who = who(&header);
        self.cold.with_record((&self.store, at), request.peer, move |record| {
            let record = record.map_err(|error| not_found(at, &error))?;
            Ok(pass_on(peer, who, call.with_body(record)))
        })
    }

    fn member(&self, header: &ConsumerCall<'_>) -> Result<Arc<Peer>, Refusal> {
        let (group, client) = (header.consumer_group.as_ref(), header.client_id.as_ref());
        let found = self.clients.consumer_group(group, |group| {
            group.members.values().find(|member| member.client_id == client).map(|member| member.peer.clone())
        });
        let offline = || Refusal::System(format!("The Consumer <{group}> <{client}> not online"));
        found.flatten().ok_or_else(offline)
    }
}

fn copy(request: Request<'_>) -> Command {
    let mut command = Command::new(request.header.code).with_body(request.body.to_vec());
    for (name, value) in request.header.fields.iter() {
        if !matches!(name, "brokerName" | "topicSysFlag" | "groupSysFlag") {
            command.fields.push((Cow::Owned(name.to_owned()), FieldValue::from(value.to_cow().into_owned())));
        }
    }
    command
}

fn who(header: &ConsumerCall<'_>) -> String {
    format!("consumer <{}> <{}>", header.consumer_group, header.client_id)
}

fn pass_on(peer: Arc<Peer>, who: String, command: Command) -> Answer {
    Answer::later(async move {
        match peer.call(command, CALL_TIMEOUT).await {
            Ok(reply) => passed_back(reply),
            Err(error @ CallError::Timeout(_)) => {
                Command::failure(code::CONSUME_MSG_TIMEOUT, format!("{who} Timeout: {error}"))
            }
            Err(error) => Command::failure(code::SYSTEM_ERROR, format!("invoke {who} Exception: {error}")),
        }
    })
}

fn passed_back(reply: Reply) -> Command {
    let mut command = Command::new(reply.code).with_body(reply.body);
    command.remark = reply.remark.map(Cow::Owned);
    command.fields.extend(
        reply.fields.iter().map(|(name, value)| (Cow::Owned(name.to_owned()), value.to_owned().into())),
    );
    command
}
