// SPDX-License-Identifier: Apache-2.0
//! Topics.

use super::{Findings, Severity};
use crate::commands::{doctor::facts::TopicFacts, moves::LEDGER};

impl Findings {
    pub(super) fn topic(&mut self, topic: &TopicFacts, masters: usize) {
        let TopicFacts { name, route, messages } = topic;
        // One queue of notes on each broker that had something to copy.
        if name == LEDGER {
            return;
        }
        let subject = format!("topic {name}");
        if let Some(group) = name.strip_prefix(oxmq_types::DLQ_GROUP_PREFIX) {
            if messages.is_some_and(|count| count > 0) {
                self.add(
                    Severity::Warning,
                    "dead letters",
                    format!("group {group}"),
                    format!("{} messages could not be consumed at last", messages.unwrap_or_default()),
                    format!(
                        "look at them with consumeMessage -t {name}; resendDlq gives them to the group again"
                    ),
                );
            }
            return;
        }
        let write: u64 = route
            .queue_datas
            .iter()
            .filter(|data| data.perm & 2 != 0)
            .map(|data| u64::from(data.write_queue_nums))
            .sum();
        if write == 0 && !route.queue_datas.is_empty() {
            self.add(
                Severity::Warning,
                "permission",
                subject.as_str(),
                "nobody can send to it: no broker has queues that can be written",
                "if that is not meant, see updateTopicPerm and addWritePerm",
            );
        }
        for data in &route.queue_datas {
            if data.read_queue_nums < data.write_queue_nums {
                self.add(
                    Severity::Error,
                    "queues",
                    subject.as_str(),
                    format!(
                        "{} has {} queues to write and {} to read: what goes to the others is never consumed",
                        data.broker_name, data.write_queue_nums, data.read_queue_nums
                    ),
                    "set both numbers to the same with updateTopic -r -w",
                );
            }
        }
        if masters > 1 && route.queue_datas.len() == 1 {
            self.add(
                Severity::Note,
                "single point",
                subject,
                format!(
                    "is on one broker alone ({}): it is away when that one is",
                    route.queue_datas[0].broker_name
                ),
                "make it on all with updateTopic -c, unless it has to be in one order",
            );
        } else if write == 1 {
            self.add(
                Severity::Note,
                "single point",
                subject,
                "has a single queue: one consumer at a time works on it",
                "if order is not needed, give it more with updateTopic -r -w; redistribute moves a backlog over",
            );
        }
    }
}
