// SPDX-License-Identifier: Apache-2.0
//! Why a request is refused: the one table from a reason to the response code and the remark.
//!
//! Clients branch on the code, people read the remark; both are Java's where Java has the case.

use oxmq_remoting::{Command, FieldError, code};
use oxmq_store::QueueError;
use oxmq_types::NameError;
use thiserror::Error;

/// Longest remark, in bytes.
const REMARK_MAX: usize = 4_096;

const SEE_FAQ: &str = "\nSee https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details.";

/// A request that is not done, and why.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub(crate) enum Refusal {
    /// A field of the header is missing or of another type.
    #[error("{0}")]
    Field(#[from] FieldError),
    /// The body is not what the request code carries.
    #[error("the body cannot be read: {0}")]
    Body(String),
    /// A topic or group name breaks the rules.
    #[error("{0}")]
    Name(#[from] NameError),
    /// A value is outside of what is allowed.
    #[error("{0}")]
    Parameter(String),
    /// Clients must not send to this topic.
    #[error("Sending message to topic[{0}] is forbidden.")]
    SendForbidden(String),
    /// The broker takes no messages.
    #[error("the broker[{0}] sending message is forbidden")]
    BrokerNotWritable(String),
    /// The broker takes no transactional messages.
    #[error("the broker[{0}] sending transaction message is forbidden")]
    TransactionsRejected(String),
    /// What is to end is no half message of that group in that place.
    #[error("{0}")]
    NoHalf(&'static str),
    /// The time in which the producer may end the transaction unasked is over.
    #[error("the immunity time of the half message is over, its transaction ends when the producer is asked")]
    TransactionTooLate,
    /// The broker gives no messages.
    #[error("the broker[{0}] pulling message is forbidden")]
    BrokerNotReadable(String),
    /// The topic gives no messages.
    #[error("the topic[{0}] pulling message is forbidden")]
    TopicNotReadable(String),
    /// The topic takes no messages.
    #[error("the topic[{0}] sending message is forbidden")]
    TopicNotWritable(String),
    /// The topic is unknown here and cannot be made.
    #[error("topic[{0}] not exist, apply first please!{SEE_FAQ}")]
    NoTopic(String),
    /// The topic is unknown here, a tool is told.
    #[error("topic[{0}] not exist")]
    TopicUnknown(String),
    /// The group is unknown here and cannot be made, a tool is told.
    #[error("No group in this broker")]
    GroupUnknown,
    /// The topic belongs to the system.
    #[error("The topic[{0}] is conflict with system topic.")]
    SystemTopic(String),
    /// The group is unknown here and cannot be made.
    #[error("subscription group [{0}] does not exist, {SEE_FAQ}")]
    NoGroup(String),
    /// A message is sent back for a group that is unknown here and cannot be made.
    #[error("subscription group not exist, {0} {SEE_FAQ}")]
    RetryOfNoGroup(String),
    /// The mode is to be set of a group that is unknown here.
    #[error("subscription group does not exist")]
    RequestModeOfNoGroup,
    /// An offset is committed for a group that is unknown here.
    #[error("Group {0} not exist!")]
    CommitOfNoGroup(String),
    /// An offset is committed in a topic that is unknown here.
    #[error("Topic {0} not exist!")]
    CommitInNoTopic(String),
    /// Offsets are to be reset in a topic that is unknown here.
    #[error("Topic {0} does not exist")]
    ResetInNoTopic(String),
    /// Offsets are to be reset of a group that is unknown here.
    #[error("Group {0} does not exist")]
    ResetOfNoGroup(String),
    /// The group may not consume.
    #[error("subscription group no permission, {0}")]
    GroupForbidden(String),
    /// The group may not consume this topic.
    #[error("the consumer group[{0}] is forbidden for topic[{1}]")]
    TopicForbidden(String, String),
    /// The group may not broadcast.
    #[error("the consumer group[{0}] can not consume by broadcast way")]
    BroadcastForbidden(String),
    /// No member of the group is known here.
    #[error("the consumer's group info not exist{SEE_FAQ}")]
    NoConsumers,
    /// The group does not subscribe to the topic.
    #[error("the consumer's subscription not exist{SEE_FAQ}")]
    NoSubscription,
    /// The client has a newer subscription than its last heartbeat told.
    #[error("the consumer's subscription not latest")]
    SubscriptionNotLatest,
    /// The expression of a subscription cannot be read.
    #[error("parse the consumer's subscription failed")]
    SubscriptionMalformed,
    /// The expression of a filter that is more than tags cannot be read.
    #[error("parse the consumer's subscription failed: {0}")]
    ExpressionMalformed(String),
    /// The expression that a heartbeat told is no filter.
    #[error("The broker's consumer filter data is not exist!Your expression may be wrong!")]
    NoFilterData,
    /// Filtering by anything but tags is switched off.
    #[error("The broker does not support consumer to filter message by {0}")]
    NoPropertyFilter(String),
    /// No member of the group is connected.
    #[error("the consumer group[{0}] not online")]
    ConsumerNotOnline(String),
    /// No member of the producer group is connected.
    #[error("the producer group[{0}] not exist")]
    ProducerNotOnline(String),
    /// What was asked for is not there.
    #[error("{0}")]
    NotFound(String),
    /// The message breaks a rule: too large, most often.
    #[error("{0}")]
    MessageIllegal(String),
    /// The asker may not do this.
    #[error("{0}")]
    NoPermission(String),
    /// What is asked for cannot be done with what is given.
    #[error("{0}")]
    IllegalOperation(String),
    /// A message of a topic that is unknown here is recalled.
    #[error("recall failed, the topic[{0}] not exist")]
    RecallInNoTopic(String),
    /// The store takes nothing now.
    #[error("{0}")]
    ServiceNotAvailable(String),
    /// Something else went wrong.
    #[error("{0}")]
    System(String),
}

impl Refusal {
    /// The response code that clients branch on.
    #[must_use]
    pub(crate) fn code(&self) -> i32 {
        match self {
            Self::Field(_)
            | Self::Body(_)
            | Self::NoPropertyFilter(_)
            | Self::ProducerNotOnline(_)
            | Self::NoHalf(_)
            | Self::System(_) => code::SYSTEM_ERROR,
            Self::Name(_) | Self::Parameter(_) | Self::SystemTopic(_) => code::INVALID_PARAMETER,
            Self::SendForbidden(_)
            | Self::BrokerNotWritable(_)
            | Self::TransactionsRejected(_)
            | Self::BrokerNotReadable(_)
            | Self::TopicNotReadable(_)
            | Self::TopicNotWritable(_)
            | Self::GroupForbidden(_)
            | Self::TopicForbidden(..)
            | Self::BroadcastForbidden(_)
            | Self::NoPermission(_) => code::NO_PERMISSION,
            Self::NoTopic(_)
            | Self::CommitInNoTopic(_)
            | Self::RecallInNoTopic(_)
            | Self::TopicUnknown(_)
            | Self::ResetInNoTopic(_) => code::TOPIC_NOT_EXIST,
            Self::NoGroup(_)
            | Self::RetryOfNoGroup(_)
            | Self::CommitOfNoGroup(_)
            | Self::GroupUnknown
            | Self::RequestModeOfNoGroup
            | Self::ResetOfNoGroup(_) => code::SUBSCRIPTION_GROUP_NOT_EXIST,
            Self::NoConsumers | Self::NoSubscription => code::SUBSCRIPTION_NOT_EXIST,
            Self::SubscriptionNotLatest => code::SUBSCRIPTION_NOT_LATEST,
            Self::SubscriptionMalformed | Self::ExpressionMalformed(_) => code::SUBSCRIPTION_PARSE_FAILED,
            Self::NoFilterData => code::FILTER_DATA_NOT_EXIST,
            Self::ConsumerNotOnline(_) => code::CONSUMER_NOT_ONLINE,
            Self::NotFound(_) => code::QUERY_NOT_FOUND,
            Self::IllegalOperation(_) => code::ILLEGAL_OPERATION,
            Self::MessageIllegal(_) => code::MESSAGE_ILLEGAL,
            Self::ServiceNotAvailable(_) => code::SERVICE_NOT_AVAILABLE,
            Self::TransactionTooLate => code::ILLEGAL_OPERATION,
        }
    }
}

impl From<QueueError> for Refusal {
    fn from(error: QueueError) -> Self {
        match error {
            // The code that makes clients try again, after a while.
            QueueError::Rebuilding { .. } => {
                Self::ServiceNotAvailable(format!("service not available now: {error}"))
            }
            error => Self::System(error.to_string()),
        }
    }
}

impl From<Refusal> for Command {
    fn from(refusal: Refusal) -> Self {
        // What was asked for may be as long as a frame.
        let mut remark = refusal.to_string();
        let boundary = (0..=REMARK_MAX.min(remark.len())).rev().find(|at| remark.is_char_boundary(*at));
        remark.truncate(boundary.unwrap_or(0));
        Self::failure(refusal.code(), remark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_remarks_are_those_of_java() {
        // Seen on Java 5.3.3.
        let name = oxmq_types::validate_topic("a/b").unwrap_err();
        for (refusal, code, remark) in [
            (Refusal::Field(FieldError::Missing("topic")), 1, "the custom field <topic> is null"),
            (
                name.into(),
                29,
                "The specified topic contains illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$",
            ),
            (Refusal::Parameter("queueId[9] is illegal".into()), 29, "queueId[9] is illegal"),
            (Refusal::SendForbidden("X".into()), 16, "Sending message to topic[X] is forbidden."),
            (
                Refusal::BrokerNotWritable("1.2.3.4".into()),
                16,
                "the broker[1.2.3.4] sending message is forbidden",
            ),
            (
                Refusal::TransactionsRejected("1.2.3.4".into()),
                16,
                "the broker[1.2.3.4] sending transaction message is forbidden",
            ),
            (Refusal::NoHalf("The producer group wrong"), 1, "The producer group wrong"),
            (Refusal::TransactionTooLate, 604, "the immunity time of the half message is over"),
            (
                Refusal::BrokerNotReadable("1.2.3.4".into()),
                16,
                "the broker[1.2.3.4] pulling message is forbidden",
            ),
            (Refusal::TopicNotReadable("X".into()), 16, "the topic[X] pulling message is forbidden"),
            (Refusal::TopicNotWritable("X".into()), 16, "the topic[X] sending message is forbidden"),
            (Refusal::NoTopic("X".into()), 17, "topic[X] not exist, apply first please!\nSee "),
            (Refusal::TopicUnknown("X".into()), 17, "topic[X] not exist"),
            (Refusal::GroupUnknown, 26, "No group in this broker"),
            (Refusal::SystemTopic("X".into()), 29, "The topic[X] is conflict with system topic."),
            (Refusal::NoGroup("g".into()), 26, "subscription group [g] does not exist, \nSee "),
            (Refusal::RetryOfNoGroup("g".into()), 26, "subscription group not exist, g \nSee "),
            (Refusal::RequestModeOfNoGroup, 26, "subscription group does not exist"),
            (Refusal::CommitOfNoGroup("g".into()), 26, "Group g not exist!"),
            (Refusal::CommitInNoTopic("X".into()), 17, "Topic X not exist!"),
            (Refusal::GroupForbidden("g".into()), 16, "subscription group no permission, g"),
            (
                Refusal::TopicForbidden("g".into(), "X".into()),
                16,
                "the consumer group[g] is forbidden for topic[X]",
            ),
            (
                Refusal::BroadcastForbidden("g".into()),
                16,
                "the consumer group[g] can not consume by broadcast way",
            ),
            (Refusal::NoConsumers, 24, "the consumer's group info not exist\nSee "),
            (Refusal::NoSubscription, 24, "the consumer's subscription not exist\nSee "),
            (Refusal::SubscriptionNotLatest, 25, "the consumer's subscription not latest"),
            (Refusal::SubscriptionMalformed, 23, "parse the consumer's subscription failed"),
            (Refusal::ExpressionMalformed("x".into()), 23, "parse the consumer's subscription failed: x"),
            (
                Refusal::NoFilterData,
                27,
                "The broker's consumer filter data is not exist!Your expression may be wrong!",
            ),
            (
                Refusal::NoPropertyFilter("SQL92".into()),
                1,
                "The broker does not support consumer to filter message by SQL92",
            ),
            (Refusal::ResetInNoTopic("t".into()), 17, "Topic t does not exist"),
            (Refusal::ResetOfNoGroup("g".into()), 26, "Group g does not exist"),
            (Refusal::ConsumerNotOnline("g".into()), 206, "the consumer group[g] not online"),
            (Refusal::ProducerNotOnline("g".into()), 1, "the producer group[g] not exist"),
            (Refusal::NotFound("x".into()), 22, "x"),
            (Refusal::MessageIllegal("x".into()), 13, "x"),
            (Refusal::NoPermission("x".into()), 16, "x"),
            (Refusal::IllegalOperation("x".into()), 604, "x"),
            (Refusal::RecallInNoTopic("X".into()), 17, "recall failed, the topic[X] not exist"),
            (Refusal::ServiceNotAvailable("x".into()), 14, "x"),
            (
                QueueError::Rebuilding { topic: "t".into(), queue_id: 3, percent: 40 }.into(),
                14,
                "service not available now: queue 3 of topic t is being built again",
            ),
            (Refusal::System("x".into()), 1, "x"),
            (Refusal::Body("x".into()), 1, "the body cannot be read: x"),
        ] {
            let command = Command::from(refusal);
            assert_eq!(command.code, code, "{remark}");
            assert!(command.remark.clone().unwrap().starts_with(remark), "{command:?}");
        }
    }
}
