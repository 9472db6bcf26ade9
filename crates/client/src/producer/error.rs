// SPDX-License-Identifier: Apache-2.0
//! Why a message was not sent.

use crate::{CallError, MessageError, MessageQueue, RouteError, code};
use std::{fmt, sync::Arc, time::Duration};
use thiserror::Error;

/// Why a message was not sent, or why it is not known whether it was: [`Self::may_be_stored`].
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum SendError {
    /// Something is wrong with the message itself.
    #[error("the message cannot be sent: {0}")]
    Message(#[from] MessageError),
    /// It is not known where to send it.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// The topic has no queue that can be written to.
    #[error(
        "topic {topic} has no queue that can be written to: its permission is read only, it has no write queues, or no \
         master of its brokers is registered (mqadmin topicRoute -t {topic})"
    )]
    NoWriteQueue {
        /// The topic.
        topic: Arc<str>,
    },
    /// The queue that was named is not among those of the topic.
    #[error(
        "{0} is not a queue that can be written to now: its broker is gone, or the queue id is too large"
    )]
    NoSuchQueue(MessageQueue),
    /// The closure of [`Producer::send_by`](crate::Producer::send_by) chose none of the queues.
    #[error("the selector chose queue {chosen} of {count}")]
    Selector {
        /// What it chose.
        chosen: usize,
        /// How many there are.
        count: usize,
    },
    /// All attempts failed: each says why. Whether the message is stored nevertheless: [`Self::may_be_stored`].
    #[error("sending to topic {topic} failed after {} in {} ms: {}", times(.attempts), .elapsed.as_millis(), Attempts(.attempts))]
    Failed {
        /// The topic.
        topic: Arc<str>,
        /// What was tried, in order.
        attempts: Vec<Attempt>,
        /// How long they took together.
        elapsed: Duration,
    },
    /// The producer or its client was shut down.
    #[error("the producer was shut down: make a new one")]
    ShutDown,
}

/// One attempt to send a message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attempt {
    /// The queue that was tried.
    pub queue: MessageQueue,
    /// The address of its broker.
    pub addr: Arc<str>,
    /// What went wrong.
    pub cause: Cause,
}

/// What went wrong with one attempt.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Cause {
    /// No answer.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The broker refuses it.
    #[error("code {code} ({}), {remark}", code_name(*.code))]
    Refused {
        /// Its code, one of [`code`].
        code: i32,
        /// Its reason.
        remark: String,
    },
}

impl SendError {
    /// True if the message may be stored although this error came: an answer was lost or came too late. Sending it again
    /// may store it twice, with another message id; consumers that must not act twice need a key of the application's.
    #[must_use]
    pub fn may_be_stored(&self) -> bool {
        match self {
            Self::Failed { attempts, .. } => attempts.iter().any(|attempt| {
                matches!(attempt.cause, Cause::Call(CallError::Closed | CallError::Timeout(_)))
            }),
            _ => false,
        }
    }

    /// The response code (see [`code`]) of the broker that refused it last, if one did.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        match self {
            Self::Failed { attempts, .. } => attempts.iter().rev().find_map(|attempt| match attempt.cause {
                Cause::Refused { code, .. } => Some(code),
                Cause::Call(_) => None,
            }),
            _ => None,
        }
    }
}

fn times(attempts: &[Attempt]) -> String {
    match attempts.len() {
        1 => "one attempt".into(),
        count => format!("{count} attempts"),
    }
}

/// Several attempts as text.
struct Attempts<'a>(&'a [Attempt]);

impl fmt::Display for Attempts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, attempt) in self.0.iter().enumerate() {
            let Attempt { queue, addr, cause } = attempt;
            let between = if at == 0 { "" } else { "; " };
            write!(f, "{between}{}/{} ({addr}): {cause}", queue.broker_name, queue.queue_id)?;
        }
        let refused = |code| {
            self.0
                .iter()
                .any(|attempt| matches!(attempt.cause, Cause::Refused { code: found, .. } if found == code))
        };
        if refused(code::NO_PERMISSION) {
            f.write_str(". Is the topic or the broker read only, or do the ACL credentials not allow it?")?;
        } else if refused(code::TOPIC_NOT_EXIST) {
            f.write_str(". Create the topic, or let the broker create it (autoCreateTopicEnable=true)")?;
        }
        Ok(())
    }
}

fn code_name(code: i32) -> &'static str {
    match code {
        code::SYSTEM_ERROR => "SYSTEM_ERROR",
        code::SYSTEM_BUSY => "SYSTEM_BUSY: the broker is overloaded, send slower",
        code::REQUEST_CODE_NOT_SUPPORTED => "REQUEST_CODE_NOT_SUPPORTED: is that a broker?",
        code::MESSAGE_ILLEGAL => "MESSAGE_ILLEGAL",
        code::SERVICE_NOT_AVAILABLE => "SERVICE_NOT_AVAILABLE",
        code::NO_PERMISSION => "NO_PERMISSION",
        code::TOPIC_NOT_EXIST => "TOPIC_NOT_EXIST",
        code::GO_AWAY => "GO_AWAY",
        _ => "see RocketMQ's ResponseCode",
    }
}
