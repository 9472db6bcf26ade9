// SPDX-License-Identifier: Apache-2.0
//! Settings of consumer groups: made, changed, deleted, listed.

use super::{Parts, answer, body_json, bounded_list};
use crate::{persist::Ticket, refusal::Refusal, topics::QUEUES_MAX};
use oxmq_net::Peer;
use oxmq_remoting::{Command, admin_requests::GroupForbidden, bodies::SubscriptionGroupConfig};
use oxmq_types::validate_group;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{net::SocketAddr, sync::PoisonError};
use tracing::info;

/// Longest settings of one group, in bytes: what of them is unknown here is kept.
const GROUP_MAX_BYTES: usize = 16 * 1024;

/// Body of UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST. Java: `SubscriptionGroupList`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SubscriptionGroupList {
    #[serde(deserialize_with = "bounded_list")]
    group_config_list: Vec<SubscriptionGroupConfig>,
}

/// The settings that a request asks for.
pub(super) fn requested(body: &[u8]) -> Result<SubscriptionGroupConfig, Refusal> {
    if body.len() > GROUP_MAX_BYTES {
        return Err(Refusal::Body(format!("{} bytes, and a group may have {GROUP_MAX_BYTES}", body.len())));
    }
    body_json(body)
}

pub(super) fn requested_list(body: &[u8]) -> Result<Vec<SubscriptionGroupConfig>, Refusal> {
    Ok(body_json::<SubscriptionGroupList>(body)?.group_config_list)
}

fn check(config: &SubscriptionGroupConfig) -> Result<(), Refusal> {
    // COMPAT(java 5.3.3): the broker of Java takes any name here, and then has it in its files.
    validate_group(&config.group_name)?;
    if config.retry_queue_nums > QUEUES_MAX {
        let count = config.retry_queue_nums;
        return Err(Refusal::Parameter(format!("retryQueueNums[{count}] is illegal, at most {QUEUES_MAX}")));
    }
    // As topics, groups have attributes; none has been defined yet.
    match config.other.get("attributes") {
        None | Some(Value::Null) => Ok(()),
        Some(Value::Object(attributes)) => match attributes.keys().next() {
            None => Ok(()),
            Some(key) => {
                Err(Refusal::System(format!("unsupported key: {}", key.trim_start_matches(['+', '-']))))
            }
        },
        Some(_) => Err(Refusal::Body("attributes is not an object".into())),
    }
}

/// True if the group could do less than now, or messages died sooner.
fn takes_away(known: &SubscriptionGroupConfig, new: &SubscriptionGroupConfig) -> bool {
    (known.consume_enable && !new.consume_enable)
        || (known.consume_broadcast_enable && !new.consume_broadcast_enable)
        || new.retry_queue_nums < known.retry_queue_nums
        || new.retry_max_times < known.retry_max_times
}

/// Java: `GroupForbidden`.
#[derive(Serialize)]
struct Readable<'a> {
    group: &'a str,
    readable: bool,
    topic: &'a str,
}

impl Parts {
    /// Makes or changes groups: all, or none if one of them is illegal.
    pub(super) fn put_groups(
        &self,
        configs: Vec<SubscriptionGroupConfig>,
        peer: &Peer,
    ) -> Result<Ticket, Refusal> {
        configs.iter().try_for_each(check)?;
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        for config in &configs {
            let name = &config.group_name;
            if self.groups.get(name).is_some_and(|known| takes_away(&known, config)) {
                self.check_destroy(&format!("Taking permissions or retries from group {name}"), peer)?;
            }
        }
        for config in &configs {
            info!(group = config.group_name, peer = %peer.remote(), "group set by a tool");
        }
        let too_many = || Refusal::System("the broker has too many groups".into());
        self.groups.put_all(configs).ok_or_else(too_many)
    }

    pub(super) fn delete_group(
        &self,
        group: &str,
        clean_offsets: bool,
        peer: SocketAddr,
    ) -> Result<Ticket, Refusal> {
        info!(group, clean_offsets, %peer, "group deleted by a tool");
        let ticket = self.groups.remove(group);
        if clean_offsets {
            self.offsets.remove_group(group);
            self.offsets.save().map_err(|error| Refusal::System(format!("consumerOffset.json: {error}")))?;
        }
        Ok(ticket)
    }

    /// The settings of a group, which is made if that is allowed: as Java, where asking is using.
    pub(super) fn group(&self, name: &str) -> Result<Command, Refusal> {
        let config = self.groups.get_or_create(name).ok_or(Refusal::GroupUnknown)?;
        answer(&*config)
    }

    /// Lets a group read from a topic, or not, if the request says so. Java takes names of what is not there.
    pub(super) fn set_readable(
        &self,
        header: &GroupForbidden<'_>,
        peer: &Peer,
    ) -> Result<Option<Ticket>, Refusal> {
        let Some(readable) = header.readable else { return Ok(None) };
        let GroupForbidden { group, topic, .. } = header;
        if !readable {
            self.check_destroy(&format!("Keeping group {group:.255} from topic {topic:.255}"), peer)?;
        }
        self.groups.get(group).ok_or(Refusal::GroupUnknown)?;
        self.topics.get(topic).ok_or_else(|| Refusal::TopicUnknown(topic.to_string()))?;
        info!(%group, %topic, readable, peer = %peer.remote(), "reading set by a tool");
        Ok(Some(self.groups.set_forbidden(group, topic, !readable)))
    }

    /// Whether a group may read from a topic.
    pub(super) fn readable(&self, header: &GroupForbidden<'_>) -> Result<Command, Refusal> {
        let GroupForbidden { group, topic, .. } = header;
        answer(&Readable { group, readable: !self.groups.is_forbidden(group, topic), topic })
    }
}
