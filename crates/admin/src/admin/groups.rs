// SPDX-License-Identifier: Apache-2.0
//! Groups: who is in them, how far they have come, their settings.

use super::{Admin, AdminError};
use oxmq_remoting::{
    Command,
    bodies::{
        BrokerData, ConsumeMessageDirectlyResult, ConsumeStats, ConsumeStatsList, ConsumerConnection,
        ConsumerRunningInfo, GetConsumerStatusBody, GroupList, MessageQueue, ProducerConnection,
        ProducerTableInfo, ResetOffsetBody, SubscriptionGroupConfig, SubscriptionGroupWrapper,
    },
    code::{self, request},
};
use oxmq_types::retry_topic;
use std::time::Duration;

/// How long a broker may take to look at all offsets of a group. Java: three times the usual.
const STATS_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a broker may take to ask a client, which it gives 10 s.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(12);

/// Where a reset goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reset<'a> {
    /// Topic.
    pub topic: &'a str,
    /// Group.
    pub group: &'a str,
    /// Store time to go to, in ms since 1970; -1 for the end.
    pub timestamp_ms: i64,
    /// False if no offset is to go forward.
    pub force: bool,
}

/// The address of a broker that can be asked: its master, or else a slave. Java: `BrokerData#selectBrokerAddr`.
#[must_use]
pub fn address_of(broker: &BrokerData) -> Option<&str> {
    broker.broker_addrs.values().next().map(String::as_str)
}

impl Admin {
    /// The brokers that have a topic, with an address of each.
    ///
    /// # Errors
    /// [`AdminError`]; a topic without a route is refused with TOPIC_NOT_EXIST.
    pub async fn addresses_of_topic(&self, topic: &str) -> Result<Vec<(String, String)>, AdminError> {
        let route = self.route(topic).await?;
        let address = |broker: BrokerData| {
            let addr = address_of(&broker).map(str::to_owned);
            addr.map(|addr| (broker.broker_name, addr))
        };
        Ok(route.broker_datas.into_iter().filter_map(address).collect())
    }

    /// The brokers that a group consumes from: those that have its retry topic, or else `topic`.
    async fn addresses_of_group(&self, group: &str, topic: Option<&str>) -> Result<Vec<String>, AdminError> {
        let found = match (self.addresses_of_topic(&retry_topic(group)).await, topic) {
            (Err(error), Some(topic)) if error.code() == Some(code::TOPIC_NOT_EXIST) => {
                self.addresses_of_topic(topic).await?
            }
            (found, _) => found?,
        };
        Ok(found.into_iter().map(|(_, addr)| addr).collect())
    }

    /// Progress of a group on one broker, in one topic or in all: GET_CONSUME_STATS (208).
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn consume_stats(
        &self,
        addr: &str,
        group: &str,
        topic: Option<&str>,
    ) -> Result<ConsumeStats, AdminError> {
        let mut command = Command::new(request::GET_CONSUME_STATS).with("consumerGroup", group.to_owned());
        if let Some(topic) = topic {
            command = command.with("topic", topic.to_owned());
        }
        self.ask_json_within(addr, command, STATS_TIMEOUT, "the progress of a group").await
    }

    /// Progress of a group on all brokers, in one topic or in all. Java: `examineConsumeStats`.
    ///
    /// # Errors
    /// [`AdminError::Refused`] with CONSUMER_NOT_ONLINE if the group has consumed nothing, or BROADCAST_CONSUMPTION if
    /// its members keep their offsets themselves.
    pub async fn progress(&self, group: &str, topic: Option<&str>) -> Result<ConsumeStats, AdminError> {
        let mut all = ConsumeStats::default();
        for addr in self.addresses_of_group(group, topic).await? {
            let stats = self.consume_stats(&addr, group, topic).await?;
            all.consume_tps += stats.consume_tps;
            all.offset_table.0.extend(stats.offset_table.0);
        }
        if all.offset_table.0.is_empty() {
            let nothing =
                "Not found the consumer group consume stats, because return offset table is empty, ";
            let broadcasts = match self.consumers(group).await {
                Ok(connection) => connection.message_model == "BROADCASTING",
                Err(_) => {
                    let why = format!("{nothing}maybe the consumer not online");
                    return Err(AdminError::refused("the name server", code::CONSUMER_NOT_ONLINE, why));
                }
            };
            if broadcasts {
                let why = format!("{nothing}the consumer is under the broadcast mode");
                return Err(AdminError::refused("the name server", code::BROADCAST_CONSUMPTION, why));
            }
        }
        Ok(all)
    }

    /// Progress of all groups on one broker: GET_BROKER_CONSUME_STATS (317).
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn broker_consume_stats(
        &self,
        addr: &str,
        ordered_only: bool,
        timeout: Duration,
    ) -> Result<ConsumeStatsList, AdminError> {
        let command = Command::new(request::GET_BROKER_CONSUME_STATS).with("isOrder", ordered_only);
        self.ask_json_within(addr, command, timeout, "the progress of all groups").await
    }

    /// Members of a consumer group, as one broker knows them: GET_CONSUMER_CONNECTION_LIST (203).
    ///
    /// # Errors
    /// [`AdminError::Refused`] with CONSUMER_NOT_ONLINE if there is none.
    pub async fn consumers_at(&self, addr: &str, group: &str) -> Result<ConsumerConnection, AdminError> {
        let command =
            Command::new(request::GET_CONSUMER_CONNECTION_LIST).with("consumerGroup", group.to_owned());
        let connection: ConsumerConnection = self.ask_json(addr, command, "a list of consumers").await?;
        if connection.connection_set.is_empty() {
            let why = "Not found the consumer group connection".to_owned();
            return Err(AdminError::refused(addr, code::CONSUMER_NOT_ONLINE, why));
        }
        Ok(connection)
    }

    /// Members of a consumer group. Every member is connected to every broker that it consumes from, so that the first
    /// broker that knows some is enough. Java: `examineConsumerConnectionInfo`, which asks one by chance.
    ///
    /// # Errors
    /// As [`Admin::consumers_at`].
    pub async fn consumers(&self, group: &str) -> Result<ConsumerConnection, AdminError> {
        let mut failed = None;
        for addr in self.addresses_of_group(group, None).await? {
            match self.consumers_at(&addr, group).await {
                Ok(connection) => return Ok(connection),
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.unwrap_or_else(|| no_broker(&retry_topic(group))))
    }

    /// Members of a producer group: GET_PRODUCER_CONNECTION_LIST (204). `topic`: one that they send to.
    ///
    /// # Errors
    /// [`AdminError::Refused`] if there is none.
    pub async fn producers(&self, group: &str, topic: &str) -> Result<ProducerConnection, AdminError> {
        let mut failed = None;
        for (_, addr) in self.addresses_of_topic(topic).await? {
            let command =
                Command::new(request::GET_PRODUCER_CONNECTION_LIST).with("producerGroup", group.to_owned());
            match self.ask_json::<ProducerConnection>(&addr, command, "a list of producers").await {
                Ok(connection) if !connection.connection_set.is_empty() => return Ok(connection),
                Ok(_) => {
                    let why = "Not found the producer group connection".to_owned();
                    failed = Some(AdminError::refused(&addr, code::SYSTEM_ERROR, why));
                }
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.unwrap_or_else(|| no_broker(topic)))
    }

    /// All producers that are connected to a broker: GET_ALL_PRODUCER_INFO (328).
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn all_producers(&self, addr: &str) -> Result<ProducerTableInfo, AdminError> {
        self.ask_json(addr, Command::new(request::GET_ALL_PRODUCER_INFO), "a list of producers").await
    }

    /// The inside of a consumer, which its broker asks: GET_CONSUMER_RUNNING_INFO (307).
    ///
    /// # Errors
    /// [`AdminError::Refused`] if it is not online, or does not answer.
    pub async fn running_info(
        &self,
        group: &str,
        client_id: &str,
        stacks: bool,
    ) -> Result<ConsumerRunningInfo, AdminError> {
        let addrs = self.addresses_of_group(group, None).await?;
        let addr = addrs.first().ok_or_else(|| no_broker(&retry_topic(group)))?;
        let command = Command::new(request::GET_CONSUMER_RUNNING_INFO)
            .with("consumerGroup", group.to_owned())
            .with("clientId", client_id.to_owned())
            .with("jstackEnable", stacks);
        self.ask_json_within(addr, command, CLIENT_TIMEOUT, "the inside of a consumer").await
    }

    /// Has a client consume one message now: CONSUME_MESSAGE_DIRECTLY (309). `addr`: the broker that stored it.
    ///
    /// # Errors
    /// [`AdminError::Refused`] if it is not online, or does not answer.
    pub async fn consume_directly(
        &self,
        addr: &str,
        group: &str,
        client_id: &str,
        topic: &str,
        offset_msg_id: &str,
    ) -> Result<ConsumeMessageDirectlyResult, AdminError> {
        let command = Command::new(request::CONSUME_MESSAGE_DIRECTLY)
            .with("consumerGroup", group.to_owned())
            .with("clientId", client_id.to_owned())
            .with("msgId", offset_msg_id.to_owned())
            .with("topic", topic.to_owned());
        self.ask_json_within(addr, command, CLIENT_TIMEOUT, "what a consumer did with a message").await
    }

    /// Moves a group that is online, on one broker: INVOKE_BROKER_TO_RESET_OFFSET (222). What is answered is where each
    /// queue goes to.
    ///
    /// # Errors
    /// [`AdminError::Refused`] with CONSUMER_NOT_ONLINE if it is not (4.x; later brokers move it all the same).
    pub async fn reset_offset(
        &self,
        addr: &str,
        reset: Reset<'_>,
        queue: Option<(i32, i64)>,
    ) -> Result<Vec<(MessageQueue, i64)>, AdminError> {
        let (queue_id, offset) = queue.unwrap_or((-1, -1));
        let command = Command::new(request::INVOKE_BROKER_TO_RESET_OFFSET)
            .with("topic", reset.topic.to_owned())
            .with("group", reset.group.to_owned())
            .with("timestamp", reset.timestamp_ms)
            .with("isForce", reset.force)
            .with("queueId", queue_id)
            .with("offset", offset);
        let reply = self.ask_within(addr, command, STATS_TIMEOUT).await?;
        let reply = super::accept(addr, reply)?;
        if reply.body.is_empty() {
            return Ok(Vec::new());
        }
        let body: ResetOffsetBody = super::read_json(addr, &reply.body, "a table of offsets")?;
        Ok(body.offset_table.0)
    }

    /// What the members of a group say of their offsets in a topic: INVOKE_BROKER_TO_GET_CONSUMER_STATUS (223).
    ///
    /// # Errors
    /// [`AdminError::Refused`] if none is online.
    pub async fn client_offsets(
        &self,
        addr: &str,
        topic: &str,
        group: &str,
        client_id: &str,
    ) -> Result<GetConsumerStatusBody, AdminError> {
        let command = Command::new(request::INVOKE_BROKER_TO_GET_CONSUMER_STATUS)
            .with("topic", topic.to_owned())
            .with("group", group.to_owned())
            .with("clientAddr", client_id.to_owned());
        self.ask_json_within(addr, command, CLIENT_TIMEOUT, "a table of offsets").await
    }

    /// Sets the offset of a group in one queue: UPDATE_CONSUMER_OFFSET (15).
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn update_offset(
        &self,
        addr: &str,
        group: &str,
        queue: &MessageQueue,
        offset: i64,
    ) -> Result<(), AdminError> {
        let command = Command::new(request::UPDATE_CONSUMER_OFFSET)
            .with("consumerGroup", group.to_owned())
            .with("topic", queue.topic.clone())
            .with("queueId", queue.queue_id)
            .with("commitOffset", offset)
            .with("brokerName", queue.broker_name.clone());
        self.ask(addr, command).await.map(drop)
    }

    /// The offset of a group in one queue: QUERY_CONSUMER_OFFSET (14). `None` if it has none.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn offset(
        &self,
        addr: &str,
        group: &str,
        queue: &MessageQueue,
    ) -> Result<Option<i64>, AdminError> {
        let command = Command::new(request::QUERY_CONSUMER_OFFSET)
            .with("consumerGroup", group.to_owned())
            .with("topic", queue.topic.clone())
            .with("queueId", queue.queue_id);
        let reply = self.ask_any(addr, command).await?;
        if reply.code == code::QUERY_NOT_FOUND {
            return Ok(None);
        }
        let reply = super::accept(addr, reply)?;
        super::field(addr, &reply, "offset").map(Some)
    }

    /// The groups that consume a topic: QUERY_TOPIC_CONSUME_BY_WHO (300).
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn groups_of(&self, topic: &str) -> Result<Vec<String>, AdminError> {
        let addrs = self.addresses_of_topic(topic).await?;
        let Some((_, addr)) = addrs.first() else { return Ok(Vec::new()) };
        let command = Command::new(request::QUERY_TOPIC_CONSUME_BY_WHO).with("topic", topic.to_owned());
        let groups: GroupList = self.ask_json(addr, command, "a list of groups").await?;
        Ok(groups.group_list)
    }

    /// Makes or changes a group: UPDATE_AND_CREATE_SUBSCRIPTIONGROUP (200).
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn update_group(&self, addr: &str, config: &SubscriptionGroupConfig) -> Result<(), AdminError> {
        let body = serde_json::to_vec(config).unwrap_or_default();
        let command = Command::new(request::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP).with_body(body);
        self.ask(addr, command).await.map(drop)
    }

    /// Makes or changes several groups (5.3): UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST (225).
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn update_groups(
        &self,
        addr: &str,
        configs: &[SubscriptionGroupConfig],
    ) -> Result<(), AdminError> {
        let body = serde_json::to_vec(&serde_json::json!({"groupConfigList": configs})).unwrap_or_default();
        let command = Command::new(request::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST).with_body(body);
        self.ask(addr, command).await.map(drop)
    }

    /// Deletes a group, and its offsets if `clean_offset`: DELETE_SUBSCRIPTIONGROUP (207).
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn delete_group(&self, addr: &str, group: &str, clean_offset: bool) -> Result<(), AdminError> {
        let command = Command::new(request::DELETE_SUBSCRIPTIONGROUP)
            .with("groupName", group.to_owned())
            .with("cleanOffset", clean_offset);
        self.ask(addr, command).await.map(drop)
    }

    /// Settings of a group on one broker, `None` if it does not know the group.
    ///
    /// Taken from the table of all groups, as Java's tool does: who asks a Java broker for one group
    /// (GET_SUBSCRIPTIONGROUP_CONFIG, 352) makes it.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn group(
        &self,
        addr: &str,
        group: &str,
    ) -> Result<Option<SubscriptionGroupConfig>, AdminError> {
        Ok(self.all_groups(addr).await?.subscription_group_table.remove(group))
    }

    /// Settings of all groups of a broker: GET_ALL_SUBSCRIPTIONGROUP_CONFIG (201).
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn all_groups(&self, addr: &str) -> Result<SubscriptionGroupWrapper, AdminError> {
        let command = Command::new(request::GET_ALL_SUBSCRIPTIONGROUP_CONFIG);
        self.ask_json_within(addr, command, STATS_TIMEOUT, "settings of groups").await
    }
}

/// The error of a topic that has a route and no broker.
pub(super) fn no_broker(topic: &str) -> AdminError {
    AdminError::NotFound(format!("no broker has the topic {}", crate::cli::shorten(topic)))
}
