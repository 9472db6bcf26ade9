// SPDX-License-Identifier: Apache-2.0
//! Why a question got no good answer.

use oxmq_net::CallError;
use oxmq_remoting::code;
use thiserror::Error;

/// Why a question got no good answer. The text is one line that says what to do.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AdminError {
    /// Nobody said where a name server is.
    #[error("no name server address: give -n HOST:PORT, or set NAMESRV_ADDR")]
    NoNameServer,
    /// No answer came.
    #[error("{}", no_answer(addr, error))]
    Call {
        /// Server.
        addr: String,
        /// Why.
        error: CallError,
    },
    /// No name server answered.
    #[error("no name server answered: {}", .0.join("; "))]
    NoneAnswered(Vec<String>),
    /// The server says that it failed.
    #[error("{addr} answered {name} ({code}): {}", one_line(remark))]
    Refused {
        /// Server.
        addr: String,
        /// Response code.
        code: i32,
        /// Java's name of it.
        name: &'static str,
        /// The reason.
        remark: String,
    },
    /// The answer is not what it should be.
    #[error(
        "{addr} answered with something that is not {what}: {}; is it a RocketMQ server?",
        one_line(reason)
    )]
    Unreadable {
        /// Server.
        addr: String,
        /// What was wanted.
        what: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The name server knows no broker at all.
    #[error(
        "the name server knows no broker: is it the right one, and do the brokers name it (namesrvAddr)?"
    )]
    NoBroker,
    /// A name that does not exist, or something else that is not there.
    #[error("{0}")]
    NotFound(String),
}

impl AdminError {
    /// What a server would have said.
    pub(crate) fn refused(addr: &str, code: i32, remark: String) -> Self {
        Self::Refused { addr: addr.to_owned(), code, name: code_name(code), remark }
    }

    /// The response code, if a server refused.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }
}

/// Text of a server as it may stand in a message: in one line, and not without end.
pub(crate) fn one_line(text: &str) -> String {
    const MAX: usize = 2000;
    let line = text.chars().take(MAX).map(|c| if c.is_control() { ' ' } else { c });
    let mut line: String = line.collect();
    if text.chars().nth(MAX).is_some() {
        line.push_str("...");
    }
    line
}

fn no_answer(addr: &str, error: &CallError) -> String {
    match error {
        CallError::Connect { reason, .. } => {
            let hint = if reason.contains("refused") {
                "nothing listens there; is the server running, and is the port right?"
            } else if reason.contains("invalid socket address") || reason.contains("invalid port") {
                "an address is HOST:PORT"
            } else {
                "is the address right, and does a firewall let you through?"
            };
            format!("cannot connect to {addr}: {}; {hint}", one_line(reason))
        }
        CallError::Timeout(ms) => {
            format!("{addr} did not answer within {ms} ms; is it a RocketMQ server, and is it overloaded?")
        }
        CallError::Closed => {
            format!(
                "{addr} closed the connection before it answered; did the server die, or is it no RocketMQ server?"
            )
        }
        other => format!("{addr}: {other}"),
    }
}

/// Java's name of a response code.
pub(crate) fn code_name(value: i32) -> &'static str {
    match value {
        code::SUCCESS => "SUCCESS",
        code::SYSTEM_ERROR => "SYSTEM_ERROR",
        code::SYSTEM_BUSY => "SYSTEM_BUSY",
        code::REQUEST_CODE_NOT_SUPPORTED => "REQUEST_CODE_NOT_SUPPORTED",
        code::FLUSH_DISK_TIMEOUT => "FLUSH_DISK_TIMEOUT",
        code::SLAVE_NOT_AVAILABLE => "SLAVE_NOT_AVAILABLE",
        code::FLUSH_SLAVE_TIMEOUT => "FLUSH_SLAVE_TIMEOUT",
        code::MESSAGE_ILLEGAL => "MESSAGE_ILLEGAL",
        code::SERVICE_NOT_AVAILABLE => "SERVICE_NOT_AVAILABLE",
        code::VERSION_NOT_SUPPORTED => "VERSION_NOT_SUPPORTED",
        code::NO_PERMISSION => "NO_PERMISSION",
        code::TOPIC_NOT_EXIST => "TOPIC_NOT_EXIST",
        code::TOPIC_EXIST_ALREADY => "TOPIC_EXIST_ALREADY",
        code::PULL_NOT_FOUND => "PULL_NOT_FOUND",
        code::PULL_OFFSET_MOVED => "PULL_OFFSET_MOVED",
        code::QUERY_NOT_FOUND => "QUERY_NOT_FOUND",
        code::SUBSCRIPTION_PARSE_FAILED => "SUBSCRIPTION_PARSE_FAILED",
        code::SUBSCRIPTION_NOT_EXIST => "SUBSCRIPTION_NOT_EXIST",
        code::SUBSCRIPTION_GROUP_NOT_EXIST => "SUBSCRIPTION_GROUP_NOT_EXIST",
        code::INVALID_PARAMETER => "INVALID_PARAMETER",
        code::CONSUMER_NOT_ONLINE => "CONSUMER_NOT_ONLINE",
        code::CONSUME_MSG_TIMEOUT => "CONSUME_MSG_TIMEOUT",
        code::NO_MESSAGE => "NO_MESSAGE",
        code::BROKER_NOT_EXIST => "BROKER_NOT_EXIST",
        code::BROADCAST_CONSUMPTION => "BROADCAST_CONSUMPTION",
        code::FLOW_CONTROL => "FLOW_CONTROL",
        code::ILLEGAL_OPERATION => "ILLEGAL_OPERATION",
        _ => "an unknown code",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_is_one_line_that_says_what_to_do() {
        let addr = || "h:1".to_owned();
        let connect = |reason: &str| AdminError::Call {
            addr: addr(),
            error: CallError::Connect { addr: addr(), reason: reason.to_owned() },
        };
        for (error, expected) in [
            (AdminError::NoNameServer, "give -n HOST:PORT"),
            (connect("Connection refused (os error 111)"), "is the server running"),
            (connect("invalid socket address"), "an address is HOST:PORT"),
            (connect("no answer within 3 s"), "firewall"),
            (AdminError::Call { addr: addr(), error: CallError::Timeout(5000) }, "within 5000 ms"),
            (AdminError::Call { addr: addr(), error: CallError::Closed }, "did the server die"),
            (
                AdminError::Refused {
                    addr: addr(),
                    code: 17,
                    name: code_name(17),
                    remark: "No topic\r\nat x.java:1\x1b[2J".into(),
                },
                "TOPIC_NOT_EXIST (17): No topic  at x.java:1 [2J",
            ),
            (
                AdminError::Unreadable { addr: addr(), what: "a route", reason: "é".repeat(100_000) },
                "is not a route",
            ),
        ] {
            let text = error.to_string();
            assert!(text.contains(expected), "{text}");
            assert!(text.len() < 5000 && !text.contains(char::is_control), "{text}");
        }
    }
}
