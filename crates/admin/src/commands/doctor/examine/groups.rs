// SPDX-License-Identifier: Apache-2.0
//! Groups and their members.

use super::{Findings, Limits, Severity};
use crate::commands::doctor::facts::{Facts, GroupFacts};
use oxmq_remoting::bodies::SubscriptionData;
use std::collections::{BTreeMap, BTreeSet};

impl Findings {
    pub(super) fn group(&mut self, group: &GroupFacts, facts: &Facts, limits: &Limits) {
        let subject = format!("group {}", group.name);
        let lag: i64 = group.lag.iter().flatten().fold(0, |sum, (_, lag)| sum.saturating_add(*lag));
        if lag > 0 && group.members.is_empty() {
            self.add(
                Severity::Warning,
                "offline",
                subject.as_str(),
                format!("nobody consumes, and {lag} messages wait"),
                "start its consumers; if it is no longer used, deleteSubGroup takes it away",
            );
        } else if lag > limits.lag {
            let (topic, most) = group.lag.iter().flatten().max_by_key(|(_, lag)| **lag).unzip();
            let topic = topic.map_or("", String::as_str);
            self.add(
                Severity::Warning,
                "lag",
                subject.as_str(),
                format!("{lag} messages wait, {} of them in {topic}", most.copied().unwrap_or_default()),
                "look with consumerStatus what its members do; with all queues taken, more queues and members help",
            );
        }
        for (addr, members) in &group.members {
            let mut places: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
            for connection in &members.connection_set {
                places.entry(&connection.client_id).or_default().insert(&connection.client_addr);
            }
            for (client, places) in places.iter().filter(|(_, places)| places.len() > 1) {
                let places: Vec<_> = places.iter().copied().collect();
                self.add(
                    Severity::Error,
                    "client id",
                    subject.as_str(),
                    format!("several members have the id {client} at {addr}: {}", places.join(", ")),
                    "give each its own instanceName: they take the same queues, and leave others alone",
                );
            }
        }
        self.subscriptions(group, &subject);
        self.idle_members(group, facts, &subject);
    }

    fn subscriptions(&mut self, group: &GroupFacts, subject: &str) {
        let mut kinds: BTreeMap<BTreeSet<String>, Vec<&str>> = BTreeMap::new();
        let mut orders: BTreeSet<String> = BTreeSet::new();
        for (client, info) in &group.running {
            match info {
                Ok(info) => {
                    let set = info.subscription_set.iter().filter_map(shown).collect();
                    kinds.entry(set).or_default().push(client);
                    orders.extend(info.property("PROP_CONSUMEORDERLY"));
                }
                Err(error) => self.add(
                    Severity::Note,
                    "inside",
                    subject,
                    format!("member {client} does not tell its inside: {error}"),
                    "old clients and those of some languages cannot; else look whether it hangs",
                ),
            }
        }
        if kinds.len() > 1 {
            let each: Vec<_> = kinds
                .iter()
                .map(|(set, clients)| {
                    let set: Vec<_> = set.iter().map(String::as_str).collect();
                    format!("{} has {{{}}}", clients.join(" and "), set.join(", "))
                })
                .collect();
            self.add(
                Severity::Error,
                "subscriptions",
                subject,
                format!("members subscribe to different things: {}", each.join("; ")),
                "give members that want different things different groups: messages are passed over now",
            );
        }
        if orders.len() > 1 {
            self.add(
                Severity::Error,
                "order",
                subject,
                "some members consume in order, others do not",
                "use one kind of listener in a group: order is lost now",
            );
        }
    }

    fn idle_members(&mut self, group: &GroupFacts, facts: &Facts, subject: &str) {
        let clustering = group.members.iter().all(|(_, members)| members.message_model != "BROADCASTING");
        let members = group.clients().len();
        let mut most = 0_u64;
        let mut known = false;
        for (topic, _) in group.members.iter().flat_map(|(_, members)| &members.subscription_table) {
            if let Some(topic) = facts.topics.iter().find(|known| known.name == *topic) {
                known = true;
                let queues = topic.route.queue_datas.iter().map(|data| u64::from(data.read_queue_nums));
                most = most.max(queues.sum());
            }
        }
        if clustering && known && (members as u64) > most {
            self.add(
                Severity::Warning,
                "idle members",
                subject,
                format!("{members} members share {most} queues: {} get none", members as u64 - most),
                "give the topic more queues with updateTopic -r -w, or run fewer members",
            );
        }
    }
}

/// A subscription for comparison. Each group subscribes to its own retries, which differs for no one.
fn shown(subscription: &SubscriptionData) -> Option<String> {
    let SubscriptionData { topic, sub_string, expression_type, .. } = subscription;
    if topic.starts_with(oxmq_types::RETRY_GROUP_PREFIX) {
        return None;
    }
    // The order in which tags stand means nothing.
    let mut tags: Vec<_> = sub_string.split("||").map(str::trim).collect();
    tags.sort_unstable();
    let kind = if expression_type == "SQL92" { "SQL92 " } else { "" };
    Some(format!("{topic}: {kind}{}", if kind.is_empty() { tags.join(" || ") } else { sub_string.clone() }))
}
