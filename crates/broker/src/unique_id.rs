// SPDX-License-Identifier: Apache-2.0
//! Unique keys for messages whose producer gave them none.
//!
//! 16 bytes as 32 hexadecimal digits: IP address 4 | process id 2 | random 4 | counter 6, where Java has the time
//! and a shorter counter; 28 bytes with an IPv6 address. Java: `MessageClientIDSetter#createUniqID`.

use std::{
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::atomic::{AtomicU64, Ordering},
};

/// Makes unique keys.
#[derive(Debug)]
pub(crate) struct UniqueIds {
    prefix: Vec<u8>,
    counter: AtomicU64,
}

impl UniqueIds {
    pub(crate) fn new(address: IpAddr) -> Self {
        let random = RandomState::new().hash_one(0u8);
        let mut prefix = Vec::new();
        match address {
            IpAddr::V4(address) => push_hex(&mut prefix, &address.octets()),
            IpAddr::V6(address) => push_hex(&mut prefix, &address.octets()),
        }
        push_hex(&mut prefix, &(std::process::id() as u16).to_be_bytes());
        push_hex(&mut prefix, &(random as u32).to_be_bytes());
        Self { prefix, counter: AtomicU64::new(0) }
    }

    /// One more.
    pub(crate) fn next(&self) -> Vec<u8> {
        let count = self.counter.fetch_add(1, Ordering::Relaxed);
        let mut id = Vec::with_capacity(self.prefix.len() + 12);
        id.extend_from_slice(&self.prefix);
        push_hex(&mut id, &count.to_be_bytes()[2..]);
        id
    }
}

fn push_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in bytes {
        out.push(DIGITS[usize::from(byte >> 4)]);
        out.push(DIGITS[usize::from(byte & 15)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_the_form_of_java_and_differ() {
        let ids = UniqueIds::new([127, 0, 0, 1].into());
        let mut all: Vec<_> = (0..1000).map(|_| ids.next()).collect();
        assert!(all[0].starts_with(b"7F000001") && all.iter().all(|id| id.len() == 32));
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 1000);
        assert_eq!(UniqueIds::new(std::net::Ipv6Addr::LOCALHOST.into()).next().len(), 56);
    }
}
