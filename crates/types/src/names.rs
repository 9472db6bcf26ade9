// SPDX-License-Identifier: Apache-2.0
//! Topic and group names. They become file names, so nothing enters without passing here (CVE-2019-17572).
//!
//! Java: `TopicValidator`, `Validators`, `MixAll`.

use std::fmt;

/// Longest topic name, in characters. Java: `TopicValidator#TOPIC_MAX_LENGTH`.
pub const TOPIC_NAME_MAX_LENGTH: usize = 127;
/// Longest group name, in characters. Java: `Validators#CHARACTER_MAX_LENGTH`.
pub const GROUP_NAME_MAX_LENGTH: usize = 255;
/// The topic that new topics take their settings from.
pub const AUTO_CREATE_TOPIC: &str = "TBW102";
/// The topic that a broker uses to test itself.
pub const SELF_TEST_TOPIC: &str = "SELF_TEST_TOPIC";
/// Where messages of delay levels wait.
pub const SCHEDULE_TOPIC: &str = "SCHEDULE_TOPIC_XXXX";
/// Where messages with a delivery time wait. Java: `TimerMessageStore#TIMER_TOPIC`.
pub const TIMER_TOPIC: &str = "rmq_sys_wheel_timer";
/// Where half messages wait for the end of their transaction.
pub const HALF_TOPIC: &str = "RMQ_SYS_TRANS_HALF_TOPIC";
/// Where it is written which of them are done with.
pub const OP_HALF_TOPIC: &str = "RMQ_SYS_TRANS_OP_HALF_TOPIC";
/// Where half messages go whose producers do not know what became of them.
pub const CHECK_MAX_TIME_TOPIC: &str = "TRANS_CHECK_MAX_TIME_TOPIC";
/// A group's retry topic is this prefix and the group's name.
pub const RETRY_GROUP_PREFIX: &str = "%RETRY%";
/// A group's dead letter topic is this prefix and the group's name.
pub const DLQ_GROUP_PREFIX: &str = "%DLQ%";

const SYSTEM_TOPIC_PREFIX: &str = "rmq_sys_";
const SYSTEM_GROUP_PREFIX: &str = "CID_RMQ_SYS_";

/// Topics that belong to the system, in the order in which Java 5 lists them in its source.
pub const SYSTEM_TOPICS: [&str; 10] = [
    AUTO_CREATE_TOPIC,
    SCHEDULE_TOPIC,
    "BenchmarkTest",
    HALF_TOPIC,
    "RMQ_SYS_TRACE_TOPIC",
    OP_HALF_TOPIC,
    CHECK_MAX_TIME_TOPIC,
    SELF_TEST_TOPIC,
    "OFFSET_MOVED_EVENT",
    "CHECKPOINT_TOPIC",
];

const SEND_FORBIDDEN_TOPICS: [&str; 7] = [
    SCHEDULE_TOPIC,
    // Not among Java's: what lies there says itself where it is to be delivered.
    TIMER_TOPIC,
    HALF_TOPIC,
    OP_HALF_TOPIC,
    CHECK_MAX_TIME_TOPIC,
    SELF_TEST_TOPIC,
    "OFFSET_MOVED_EVENT",
];

const SYSTEM_GROUPS: [&str; 13] = [
    "DEFAULT_CONSUMER",
    "DEFAULT_PRODUCER",
    "TOOLS_CONSUMER",
    "SCHEDULE_CONSUMER",
    "FILTERSRV_CONSUMER",
    "__MONITOR_CONSUMER",
    "CLIENT_INNER_PRODUCER",
    "SELF_TEST_P_GROUP",
    "SELF_TEST_C_GROUP",
    "CID_ONS-HTTP-PROXY",
    "CID_ONSAPI_PERMISSION",
    "CID_ONSAPI_OWNER",
    "CID_ONSAPI_PULL",
];

/// Why a name is refused. The texts are those of `TopicValidator`, with the word for what was named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameError {
    /// Empty, or nothing but white space.
    Blank(&'static str),
    /// A character outside `%|a-zA-Z0-9_-`.
    IllegalCharacter(&'static str),
    /// Longer than [`TOPIC_NAME_MAX_LENGTH`] or [`GROUP_NAME_MAX_LENGTH`].
    TooLong(&'static str),
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blank(what) => write!(f, "The specified {what} is blank."),
            Self::IllegalCharacter(what) => {
                write!(
                    f,
                    "The specified {what} contains illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$"
                )
            }
            Self::TooLong(what) => write!(f, "The specified {what} is longer than {what} max length."),
        }
    }
}

impl std::error::Error for NameError {}

fn validate(name: &str, what: &'static str, max_length: usize) -> Result<(), NameError> {
    if name.trim().is_empty() {
        return Err(NameError::Blank(what));
    }
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"%|_-".contains(&byte)) {
        return Err(NameError::IllegalCharacter(what));
    }
    // Only ASCII is left, so bytes are characters.
    if name.len() > max_length {
        return Err(NameError::TooLong(what));
    }
    Ok(())
}

/// Checks a topic name by Java's rules.
///
/// # Errors
/// [`NameError`], whose text is the remark that Java answers.
pub fn validate_topic(name: &str) -> Result<(), NameError> {
    validate(name, "topic", TOPIC_NAME_MAX_LENGTH)
}

/// Checks a group name by Java's rules.
///
/// # Errors
/// [`NameError`], whose text is the remark that Java answers.
pub fn validate_group(name: &str) -> Result<(), NameError> {
    validate(name, "group", GROUP_NAME_MAX_LENGTH)
}

/// True for a topic that belongs to the system. Java: `TopicValidator#isSystemTopic`.
#[must_use]
pub fn is_system_topic(name: &str) -> bool {
    SYSTEM_TOPICS.contains(&name) || name.starts_with(SYSTEM_TOPIC_PREFIX)
}

/// True for a topic that clients must not send to. Java: `TopicValidator#isNotAllowedSendTopic`.
#[must_use]
pub fn is_send_forbidden(name: &str) -> bool {
    SEND_FORBIDDEN_TOPICS.contains(&name)
}

/// True for a group that belongs to the system. Java: `MixAll#isSysConsumerGroup` and its predefined set.
#[must_use]
pub fn is_system_group(name: &str) -> bool {
    name.starts_with(SYSTEM_GROUP_PREFIX) || SYSTEM_GROUPS.contains(&name)
}

/// The retry topic of `group`.
#[must_use]
pub fn retry_topic(group: &str) -> String {
    format!("{RETRY_GROUP_PREFIX}{group}")
}

/// The dead letter topic of `group`.
#[must_use]
pub fn dlq_topic(group: &str) -> String {
    format!("{DLQ_GROUP_PREFIX}{group}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rules_of_java() {
        for good in ["TopicTest", "%RETRY%please_rename", "a|b-c_9", &"x".repeat(127)] {
            assert_eq!(validate_topic(good), Ok(()), "{good}");
        }
        for (bad, remark) in [
            ("", "The specified topic is blank."),
            ("  ", "The specified topic is blank."),
            (
                "../../etc/passwd",
                "The specified topic contains illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$",
            ),
            ("主题", "The specified topic contains illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$"),
            ("a.b", "The specified topic contains illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$"),
            (&"x".repeat(128), "The specified topic is longer than topic max length."),
        ] {
            assert_eq!(validate_topic(bad).unwrap_err().to_string(), remark, "{bad}");
        }
        assert!(validate_group(&"g".repeat(255)).is_ok());
        assert!(validate_group(&"g".repeat(256)).is_err());
    }

    #[test]
    fn system_names_are_known() {
        assert!(is_system_topic("TBW102") && is_system_topic("rmq_sys_wheel_timer"));
        assert!(!is_system_topic("TopicTest"));
        assert!(is_send_forbidden("SELF_TEST_TOPIC") && !is_send_forbidden("TBW102"));
        assert!(is_system_group("CID_RMQ_SYS_TRANS") && !is_system_group("shop"));
        assert_eq!(retry_topic("g"), "%RETRY%g");
        assert_eq!(dlq_topic("g"), "%DLQ%g");
    }
}
