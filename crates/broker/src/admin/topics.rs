// SPDX-License-Identifier: Apache-2.0
//! Topics: made, changed, deleted, listed.

use super::{Parts, answer, attributes, body_json, bounded_list};
use crate::{persist::Ticket, refusal::Refusal, topics::QUEUES_MAX};
use oxmq_net::Peer;
use oxmq_remoting::{
    Command,
    admin_requests::CreateTopic,
    bodies::{TopicConfig, TopicConfigAndMappingSerializeWrapper, TopicFilterType, TopicList},
};
use oxmq_types::{Perm, validate_topic};
use serde::Deserialize;
use std::{collections::BTreeMap, net::SocketAddr, sync::PoisonError};
use tracing::info;

/// All permission bits.
const PERM_MAX: u32 = Perm::READ_WRITE.0 | Perm::INHERIT.0;

/// Names of light queues begin so. Java: `MixAll.LMQ_PREFIX`.
const LIGHT_QUEUE: &str = "%LMQ%";

/// Body of UPDATE_AND_CREATE_TOPIC_LIST. Java: `CreateTopicListRequestBody`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TopicConfigs {
    #[serde(deserialize_with = "bounded_list")]
    topic_config_list: Vec<TopicConfig>,
}

/// The settings that a request asks for; their attributes are changes still.
pub(super) fn requested(header: &CreateTopic<'_>) -> Result<TopicConfig, Refusal> {
    let name = header.topic_filter_type.as_ref();
    let filter =
        [TopicFilterType::SingleTag, TopicFilterType::MultiTag].into_iter().find(|f| f.name() == name);
    let queues =
        |what: &str, count: i32| u32::try_from(count).map_err(|_| illegal_queues(what, count.into()));
    let bits = |what: &str, value: i32| {
        u32::try_from(value).map_err(|_| Refusal::Parameter(format!("{what}[{value}] is illegal")))
    };
    Ok(TopicConfig {
        topic_name: header.topic.clone().into_owned(),
        read_queue_nums: queues("readQueueNums", header.read_queue_nums)?,
        write_queue_nums: queues("writeQueueNums", header.write_queue_nums)?,
        perm: bits("perm", header.perm)?,
        topic_filter_type: filter
            .ok_or_else(|| Refusal::System(format!("topicFilterType = [{name}] value invalid")))?,
        topic_sys_flag: bits("topicSysFlag", header.topic_sys_flag.unwrap_or(0))?,
        order: header.order.unwrap_or(false),
        attributes: attributes::parse(header.attributes.as_deref().unwrap_or_default())?,
    })
}

pub(super) fn requested_list(body: &[u8]) -> Result<Vec<TopicConfig>, Refusal> {
    Ok(body_json::<TopicConfigs>(body)?.topic_config_list)
}

impl Parts {
    /// Makes or changes topics: all, or none if one of them is illegal.
    pub(super) fn put_topics(&self, requested: Vec<TopicConfig>, peer: &Peer) -> Result<Ticket, Refusal> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let configs: Vec<_> =
            requested.into_iter().map(|config| self.checked(config, peer)).collect::<Result<_, _>>()?;
        let mut ticket = None;
        for config in configs {
            info!(topic = config.topic_name, peer = %peer.remote(), "topic set by a tool");
            let name = config.topic_name.clone();
            let refused = || {
                Refusal::System(format!(
                    "topic[{name}] cannot be made now: it is being deleted, or there are too many"
                ))
            };
            ticket = Some(self.topics.put(config).ok_or_else(refused)?);
        }
        ticket.ok_or_else(|| Refusal::Parameter("the list of topics is empty".into()))
    }

    fn checked(&self, requested: TopicConfig, peer: &Peer) -> Result<TopicConfig, Refusal> {
        let TopicConfig { topic_name, read_queue_nums, write_queue_nums, perm, .. } = &requested;
        validate_topic(topic_name)?;
        if self.topics.is_system(topic_name) {
            return Err(Refusal::SystemTopic(topic_name.clone()));
        }
        for (what, count) in [("readQueueNums", *read_queue_nums), ("writeQueueNums", *write_queue_nums)] {
            if count > QUEUES_MAX {
                return Err(illegal_queues(what, count.into()));
            }
        }
        if *perm > PERM_MAX {
            return Err(Refusal::Parameter(format!(
                "perm[{perm}] is illegal, it is a sum of 4 (read), 2 (write) and 1 (inherit)"
            )));
        }
        let known = self.topics.get(topic_name).map(|topic| topic.config());
        if known.as_ref().is_some_and(|known| takes_away(known, &requested)) {
            self.check_destroy(&format!("Taking queues or permissions from topic {topic_name}"), peer)?;
        }
        let attributes =
            attributes::alter(known.as_ref().map(|known| &known.attributes), &requested.attributes)?;
        Ok(TopicConfig { attributes, ..requested })
    }

    /// Checks whether tools may delete a topic of this name.
    pub(super) fn check_deletable(&self, topic: &str) -> Result<(), Refusal> {
        // Retry topics are deleted, too, and may be longer than topics that can be made.
        if self.topics.get(topic).is_none() {
            validate_topic(topic)?;
        }
        if self.topics.is_system(topic) { Err(Refusal::SystemTopic(topic.to_owned())) } else { Ok(()) }
    }

    /// Deletes a topic with its queues and offsets, as far as they are there.
    pub(super) fn delete_topic(&self, topic: &str, peer: SocketAddr) -> Result<Ticket, Refusal> {
        // One after the other: the end of one deletion must not let the topic be made in the middle of another.
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        info!(topic, %peer, "topic deleted by a tool");
        let deleted = self.topics.delete(topic);
        // After the topic: a consumer that is still there may commit until it is gone.
        self.offsets.remove_topic(topic);
        let ticket = deleted.map_err(|error| Refusal::System(error.to_string()))?;
        // Old offsets would skip messages of a new topic of this name.
        self.offsets.save().map_err(|error| Refusal::System(format!("consumerOffset.json: {error}")))?;
        Ok(ticket)
    }

    /// Removes the queues of topics that are not there, and their offsets: all of them, or those `expired` of which the log
    /// has no message. Light queues (LMQ), as Java brokers leave them, have no topics and stay.
    ///
    /// COMPAT(java): expired queues of topics that are there stay; their offsets would begin at 0 again, and groups would
    /// pass over what is sent then.
    pub(super) fn clean_queues(&self, expired: bool, peer: SocketAddr) -> Result<Command, Refusal> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        info!(expired, %peer, "a tool has queues removed of topics that are not there");
        let failed = |error: &dyn std::error::Error| Refusal::System(error.to_string());
        let mut topics: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (topic, queue) in self.store.queues() {
            topics.entry(topic).or_default().push(queue);
        }
        for (topic, queues) in topics {
            let kept = self.topics.get(&topic).is_some() || self.topics.is_system(&topic);
            if kept || topic.starts_with(LIGHT_QUEUE) {
                continue;
            }
            let mut used = false;
            for queue in queues.into_iter().filter(|_| expired) {
                let queue = self.store.existing_queue(&topic, queue).map_err(|error| failed(&error))?;
                used |= queue.is_some_and(|queue| queue.min_offset() < queue.max_offset());
            }
            if !used && self.topics.delete_unknown(&topic).map_err(|error| failed(&error))? {
                // Old offsets would skip messages of a new topic of this name.
                self.offsets.remove_topic(&topic);
            }
        }
        self.offsets.save().map_err(|error| Refusal::System(format!("consumerOffset.json: {error}")))?;
        Ok(Command::success())
    }

    pub(super) fn all_topics(&self) -> Result<Command, Refusal> {
        let known = self.topics.snapshot();
        answer(&TopicConfigAndMappingSerializeWrapper {
            data_version: known.data_version,
            topic_config_table: known.topic_config_table,
            ..Default::default()
        })
    }

    pub(super) fn topic(&self, name: &str) -> Result<Command, Refusal> {
        let topic = self.topics.get(name).ok_or_else(|| Refusal::TopicUnknown(name.to_owned()))?;
        answer(&*topic.config())
    }

    pub(super) fn system_topics(&self) -> Result<Command, Refusal> {
        answer(&TopicList { broker_addr: None, topic_list: self.topics.system().into_iter().collect() })
    }
}

/// True if messages that can be sent or consumed now could not be any more.
fn takes_away(known: &TopicConfig, new: &TopicConfig) -> bool {
    new.read_queue_nums < known.read_queue_nums
        || new.write_queue_nums < known.write_queue_nums
        || known.perm & !new.perm != 0
}

fn illegal_queues(what: &str, count: i64) -> Refusal {
    Refusal::Parameter(format!("{what}[{count}] is illegal, a topic has 0 to {QUEUES_MAX} queues"))
}
