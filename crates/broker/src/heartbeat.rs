// SPDX-License-Identifier: Apache-2.0
//! What clients tell of themselves: HEART_BEAT (34), UNREGISTER_CLIENT (35), CHECK_CLIENT_CONFIG (46), and what they
//! ask of each other: GET_CONSUMER_LIST_BY_GROUP (38). Java: `ClientManageProcessor`, `ConsumerManageProcessor`.

use crate::{
    clients::{Clients, ConsumerGroup, Sender},
    filter::{Filter, is_tag_type},
    groups::Groups,
    live::Live,
    pull::PullRules,
    refusal::Refusal,
    topics::Topics,
};
use oxmq_net::{Peer, Request};
use oxmq_remoting::{
    Command, RequestHeader,
    bodies::{ConsumerGroupList, HeartbeatData, SubscriptionData, TopicConfig},
    fastjson,
    requests::{ConsumerGroupQuery, UnregisterClient},
};
use oxmq_types::{Perm, retry_topic, validate_group};
use serde::Deserialize;

/// Longest heartbeat, in bytes. Its parts may take forty times as much memory; ten thousand subscriptions fit.
const HEARTBEAT_MAX_BYTES: usize = 2 << 20;

/// Longest client id, in bytes. Each membership in a group keeps it.
const CLIENT_ID_MAX_BYTES: usize = 255;

/// Serves the members of groups.
#[derive(Debug)]
pub(crate) struct Heartbeats {
    clients: Clients,
    groups: Groups,
    topics: Topics,
    /// `enablePropertyFilter`.
    rules: Live<PullRules>,
}

/// Body of CHECK_CLIENT_CONFIG. Java: `CheckClientRequestBody`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct CheckedSubscription {
    subscription_data: SubscriptionData,
}

impl Heartbeats {
    pub(crate) fn new(clients: Clients, groups: Groups, topics: Topics, rules: Live<PullRules>) -> Self {
        Self { clients, groups, topics, rules }
    }

    pub(crate) fn heartbeat(&self, request: Request<'_>) -> Result<Command, Refusal> {
        if request.body.len() > HEARTBEAT_MAX_BYTES {
            return Err(Refusal::Body(format!("a heartbeat has {HEARTBEAT_MAX_BYTES} bytes at most")));
        }
        let data: HeartbeatData =
            fastjson::from_slice(request.body).map_err(|error| Refusal::Body(error.to_string()))?;
        if data.client_id.len() > CLIENT_ID_MAX_BYTES {
            return Err(Refusal::Parameter(format!(
                "the client id has {} bytes, {CLIENT_ID_MAX_BYTES} are allowed",
                data.client_id.len()
            )));
        }
        let sender = Sender {
            peer: request.peer,
            client_id: &data.client_id,
            language: request.header.language,
            version: request.header.version,
        };
        let mut changed = data.heartbeat_fingerprint == 0;
        for consumer in &data.consumer_data_set {
            let Some(group) = self.groups.get_or_create(&consumer.group_name) else {
                tracing::debug!(
                    group = consumer.group_name,
                    client = data.client_id,
                    "unknown group in a heartbeat"
                );
                continue;
            };
            // Its name is the group's with a prefix, and may be longer than a topic's; then there are no retries.
            let retry_topic = retry_topic(&consumer.group_name);
            if self.topics.get(&retry_topic).is_none() {
                let ordered = |topic: &str| self.topics.get(topic).is_some_and(|topic| topic.config().order);
                let order = consumer.subscription_data_set.iter().any(|told| ordered(&told.topic));
                let _ = self.topics.create(TopicConfig {
                    topic_name: retry_topic,
                    read_queue_nums: group.retry_queue_nums,
                    write_queue_nums: group.retry_queue_nums,
                    perm: Perm::READ_WRITE.0,
                    topic_sys_flag: if consumer.unit_mode { 2 } else { 0 },
                    order,
                    ..TopicConfig::default()
                });
            }
            let notify = group.notify_consumer_ids_changed_enable;
            changed |= self.clients.consumes(sender, consumer, notify, data.without_sub);
        }
        for producer in &data.producer_data_set {
            if validate_group(&producer.group_name).is_ok() {
                self.clients.produces(sender, &producer.group_name);
            }
        }
        Ok(Command::success().with("IS_SUPPORT_HEART_BEAT_V2", true).with("IS_SUB_CHANGE", changed))
    }

    pub(crate) fn unregister(&self, request: Request<'_>) -> Result<Command, Refusal> {
        let header = UnregisterClient::from_fields(&request.header.fields)?;
        let peer = request.peer.id();
        if let Some(group) = header.producer_group {
            self.clients.leaves_production(peer, &group);
        }
        if let Some(group) = header.consumer_group {
            self.clients.leaves_consumption(peer, &group, self.groups.notifies(&group));
        }
        Ok(Command::success())
    }

    /// Tells a consumer at its start whether its expression will work here.
    pub(crate) fn check(&self, request: Request<'_>) -> Result<Command, Refusal> {
        let body: CheckedSubscription =
            fastjson::from_slice(request.body).map_err(|error| Refusal::Body(error.to_string()))?;
        let SubscriptionData { sub_string, expression_type, .. } = body.subscription_data;
        if !self.rules.get().property_filter && !is_tag_type(&expression_type) {
            return Err(Refusal::NoPropertyFilter(expression_type));
        }
        Filter::compile(&sub_string, &expression_type)?;
        Ok(Command::success())
    }

    pub(crate) fn list(&self, request: Request<'_>) -> Result<Command, Refusal> {
        let header = ConsumerGroupQuery::from_fields(&request.header.fields)?;
        let ids = self.clients.consumer_group(&header.consumer_group, ConsumerGroup::client_ids);
        let Some(consumer_id_list) = ids else {
            return Err(Refusal::System(format!("no consumer for this group, {}", header.consumer_group)));
        };
        Ok(Command::success().with_body(json(&ConsumerGroupList { consumer_id_list })?))
    }

    pub(crate) fn gone(&self, peer: &Peer) {
        self.clients.gone(peer.id(), |group| self.groups.notifies(group));
    }
}

/// A body in JSON.
pub(crate) fn json(body: &impl serde::Serialize) -> Result<Vec<u8>, Refusal> {
    serde_json::to_vec(body).map_err(|error| Refusal::System(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Fixture;
    use oxmq_remoting::code::request as codes;
    use serde_json::json;

    #[tokio::test]
    async fn a_client_id_that_is_too_long_joins_nothing() {
        let broker = Fixture::new();
        for (length, code) in [(CLIENT_ID_MAX_BYTES + 1, 29), (CLIENT_ID_MAX_BYTES, 0)] {
            let client = "c".repeat(length);
            let body = json!({"clientID": client, "producerDataSet": [{"groupName": "p"}],
                "consumerDataSet": [{"groupName": "g", "subscriptionDataSet": []}]});
            let answer = broker.ask(codes::HEART_BEAT, json!({}), body.to_string().as_bytes()).await;
            assert_eq!(answer.code, code, "{answer:?}");
            let listed =
                broker.ask(codes::GET_CONSUMER_LIST_BY_GROUP, json!({"consumerGroup": "g"}), b"").await;
            assert_eq!(listed.code == 0, code == 0, "{listed:?}");
        }
    }
}
