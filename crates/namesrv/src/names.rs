// SPDX-License-Identifier: Apache-2.0
//! Which names a name server takes from brokers and tools.
//!
//! Java checks none. The rules of topics that clients create (`oxmq_types::validate_topic`) are too narrow here:
//! every cluster and every broker is a topic, too, and these may be called `prod.cn-hangzhou`; retry topics of pop
//! consumers hold a `+` and are longer. So only what no name needs is refused: white space, control characters,
//! slashes, and more length than the longest name that clients can make.

use thiserror::Error;

/// Longest name of a cluster or broker, and longest address, in bytes.
const NAME_MAX_BYTES: usize = 255;
/// Longest topic: `%RETRY%`, a group of 255, a separator, a topic of 255.
const TOPIC_MAX_BYTES: usize = 520;

/// A name that is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum IllegalName {
    /// There is nothing.
    #[error("the {0} is blank")]
    Blank(&'static str),
    /// It is longer than any client makes it.
    #[error("the {what} is longer than {max_bytes} bytes")]
    TooLong {
        /// What was named.
        what: &'static str,
        /// The limit.
        max_bytes: usize,
    },
    /// It holds white space, a control character or a slash.
    #[error("the {0} contains white space, control characters or slashes")]
    Character(&'static str),
    /// An address that clients could not dial.
    #[error("the {0} is not host:port")]
    Address(&'static str),
}

fn check(name: &str, what: &'static str, max_bytes: usize) -> Result<(), IllegalName> {
    if name.trim().is_empty() {
        return Err(IllegalName::Blank(what));
    }
    if name.len() > max_bytes {
        return Err(IllegalName::TooLong { what, max_bytes });
    }
    let illegal = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | '\\');
    if name.contains(illegal) { Err(IllegalName::Character(what)) } else { Ok(()) }
}

/// Checks the name of a cluster, a broker or a namespace.
pub(crate) fn check_name(name: &str, what: &'static str) -> Result<(), IllegalName> {
    check(name, what, NAME_MAX_BYTES)
}

/// Checks the name of a topic.
pub(crate) fn check_topic(name: &str) -> Result<(), IllegalName> {
    check(name, "topic", TOPIC_MAX_BYTES)
}

/// Checks an address. One that clients cannot take apart would break the whole route for them.
pub(crate) fn check_address(address: &str, what: &'static str) -> Result<(), IllegalName> {
    check(address, what, NAME_MAX_BYTES)?;
    let parts = address.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    match parts.map(|(_, port)| port.parse::<u16>()) {
        Some(Ok(port)) if port != 0 => Ok(()),
        _ => Err(IllegalName::Address(what)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_real_names_are() {
        for name in ["TopicTest", "%RETRY%g+t", "prod.cn-hangzhou", "集群", "MQ_INST_1%t", &"x".repeat(520)]
        {
            assert_eq!(check_topic(name), Ok(()), "{name}");
        }
        for address in ["127.0.0.1:10911", "broker-a:1", "[::1]:65535"] {
            assert_eq!(check_address(address, "address"), Ok(()), "{address}");
        }
    }

    #[test]
    fn refuses_the_rest() {
        for name in ["", " ", "../../etc/passwd", "a b", "a\nb", "a\\b", "a\0", &"x".repeat(521)] {
            assert!(check_topic(name).is_err(), "{name}");
        }
        assert_eq!(
            check_name(&"x".repeat(256), "cluster").unwrap_err().to_string(),
            "the cluster is longer than 255 bytes"
        );
        for address in ["127.0.0.1", ":10911", "a:", "a:0", "a:65536", "a:-1", "a b:1"] {
            assert!(check_address(address, "address").is_err(), "{address}");
        }
    }
}
