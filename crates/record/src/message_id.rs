// SPDX-License-Identifier: Apache-2.0
//! The offset message id: the store host and the physical offset of a record, in upper case hexadecimal.
//!
//! ```text
//! IPv4 4 | port 4 | physical offset 8    = 16 bytes, 32 digits
//! IPv6 16 | port 4 | physical offset 8   = 28 bytes, 56 digits
//! ```
//! Java: `MessageDecoder#createMessageId`, `#decodeMessageId`. Java calls the producer's `UNIQ_KEY` `msgId` too.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use oxmq_types::PhysicalOffset;

/// Names a record by the broker that stored it and by its place there. `Display` and `FromStr` are its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageId {
    /// The broker's address.
    pub store_host: SocketAddr,
    /// Where the record starts in that broker's commit log.
    pub physical_offset: PhysicalOffset,
}

/// The text is not an offset message id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageIdError;

impl fmt::Display for MessageIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an offset message id has 32 or 56 hexadecimal digits")
    }
}

impl std::error::Error for MessageIdError {}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text())
    }
}

impl MessageId {
    /// Its text: what `to_string` gives, without the machinery of formatting, because every send is answered with it.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::with_capacity(56);
        match self.store_host.ip().to_canonical() {
            IpAddr::V4(ip) => push_hex(&mut text, &ip.octets()),
            IpAddr::V6(ip) => push_hex(&mut text, &ip.octets()),
        }
        push_hex(&mut text, &u32::from(self.store_host.port()).to_be_bytes());
        push_hex(&mut text, &self.physical_offset.0.to_be_bytes());
        text
    }
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

impl FromStr for MessageId {
    type Err = MessageIdError;

    fn from_str(text: &str) -> Result<Self, MessageIdError> {
        if !matches!(text.len(), 32 | 56) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(MessageIdError);
        }
        // Only ASCII digits are left, so these positions are character boundaries.
        let (host, rest) = text.split_at(text.len() - 24);
        let (port, offset) = rest.split_at(8);
        let number = |digits| u128::from_str_radix(digits, 16).map_err(|_| MessageIdError);
        let ip = match host.len() {
            8 => IpAddr::V4(Ipv4Addr::from_bits(number(host)? as u32)),
            _ => IpAddr::V6(Ipv6Addr::from_bits(number(host)?)),
        };
        let port = u16::try_from(number(port)?).map_err(|_| MessageIdError)?;
        Ok(Self {
            store_host: SocketAddr::new(ip, port),
            physical_offset: PhysicalOffset(number(offset)? as u64),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_those_of_java() {
        // Printed by Java 5.3.3 for records that it stored.
        for (text, host, offset) in [
            ("7F00000100002A9F0000000000000083", "127.0.0.1:10911", 0x83),
            ("0000000000000000000000000000000100002A9F00000000000009A5", "[::1]:10911", 0x9A5),
        ] {
            let id = MessageId { store_host: host.parse().unwrap(), physical_offset: PhysicalOffset(offset) };
            assert_eq!(id.to_string(), text);
            assert_eq!(text.parse(), Ok(id));
            assert_eq!(text.to_lowercase().parse(), Ok(id));
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "7F", &"Z".repeat(32), &"F".repeat(32), &"é".repeat(16), &"0".repeat(57), "+0000000"]
        {
            assert_eq!(text.parse::<MessageId>(), Err(MessageIdError), "{text}");
        }
    }
}
