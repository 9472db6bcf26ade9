// SPDX-License-Identifier: Apache-2.0
//! Lists of networks: `10.0.0.0/8, 192.168.1.7, fd00::/8`.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

/// Prefix of IPv4 addresses that are written as IPv6 ones, in bits.
const MAPPED_BITS: u8 = 96;

/// Networks, each as address and length of the prefix (CIDR).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Networks(Vec<Network>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network {
    /// With zeros behind the prefix.
    address: IpAddr,
    prefix_bits: u8,
}

/// A text that is no list of networks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworksError {
    part: String,
}

impl fmt::Display for NetworksError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is no network: an address, such as 10.0.0.7, or a range, such as 10.0.0.0/8",
            self.part
        )
    }
}

impl std::error::Error for NetworksError {}

impl FromStr for Networks {
    type Err = NetworksError;

    /// Reads networks separated by commas, semicolons or white space. An address alone is a network of its own.
    ///
    /// # Errors
    /// [`NetworksError`] names the first part that is none.
    fn from_str(text: &str) -> Result<Self, NetworksError> {
        let parts = text.split([',', ';', ' ', '\t']).filter(|part| !part.is_empty());
        let network = |part: &str| {
            Network::parse(part).ok_or_else(|| NetworksError { part: part.chars().take(64).collect() })
        };
        parts.map(network).collect::<Result<_, _>>().map(Self)
    }
}

impl Networks {
    /// True if one of them holds `address`. IPv4 addresses that are written as IPv6 ones (`::ffff:10.0.0.7`) count as
    /// IPv4; a prefix of no bits (`0.0.0.0/0`, `::/0`) holds all addresses of both kinds.
    #[must_use]
    pub fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(address))
    }

    /// True if there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, prefix) =
            text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().ok()?;
        let width = bits(address);
        let prefix_bits = match prefix {
            None => width,
            // `parse` alone would take a sign.
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok()?,
            Some(_) => return None,
        };
        if prefix_bits > width {
            return None;
        }
        let (address, prefix_bits) = match (address, address.to_canonical()) {
            (IpAddr::V6(_), canonical @ IpAddr::V4(_)) if prefix_bits >= MAPPED_BITS => {
                (canonical, prefix_bits - MAPPED_BITS)
            }
            _ => (address, prefix_bits),
        };
        Some(Self { address: masked(address, prefix_bits), prefix_bits })
    }

    fn contains(&self, address: IpAddr) -> bool {
        let Self { address: network, prefix_bits } = *self;
        prefix_bits == 0 || (bits(network) == bits(address) && masked(address, prefix_bits) == network)
    }
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn masked(address: IpAddr, prefix_bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix_bits)).unwrap_or(0);
            IpAddr::V4((address.to_bits() & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix_bits)).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(list: &str, inside: &[&str], outside: &[&str]) {
        let networks: Networks = list.parse().unwrap();
        for address in inside {
            assert!(networks.contain(address.parse().unwrap()), "{list} holds {address}");
        }
        for address in outside {
            assert!(!networks.contain(address.parse().unwrap()), "{list} does not hold {address}");
        }
    }

    #[test]
    fn addresses_are_inside_or_outside() {
        check("", &[], &["127.0.0.1", "::1", "0.0.0.0"]);
        check("10.0.0.7", &["10.0.0.7", "::ffff:10.0.0.7"], &["10.0.0.6", "10.0.0.8", "::10.0.0.7"]);
        check("10.0.0.0/8", &["10.0.0.0", "10.255.255.255"], &["9.255.255.255", "11.0.0.0", "::a00:0"]);
        check("10.1.2.3/8", &["10.9.9.9"], &["11.1.2.3"]);
        check("192.168.1.0/25", &["192.168.1.127"], &["192.168.1.128"]);
        check("192.168.1.4/31", &["192.168.1.4", "192.168.1.5"], &["192.168.1.3", "192.168.1.6"]);
        check("fd00::/8 ; 10.0.0.1,", &["fdff::1", "10.0.0.1"], &["fe00::1", "10.0.0.2"]);
        check("::1", &["::1"], &["::2", "127.0.0.1"]);
        check("::ffff:10.0.0.0/104", &["10.9.9.9", "::ffff:10.9.9.9"], &["11.0.0.0", "::ffff:11.0.0.0"]);
        check("::/1", &["::1", "7fff::"], &["8000::", "10.0.0.1"]);
        for all in ["0.0.0.0/0", "::/0", "10.0.0.0/0", "::ffff:0:0/96"] {
            check(all, &["127.0.0.1", "255.255.255.255", "::1", "fe80::1", "::ffff:1.2.3.4"], &[]);
        }
    }

    #[test]
    fn what_is_no_network_is_named() {
        for bad in [
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/-1",
            "10.0.0.0/+8",
            "10.0.0.0/",
            "10.0.0.0/8/8",
            "10.0.0",
            "10.0.0.256",
            "localhost",
            "any",
            "*",
            "/8",
            "10.0.0.0/99999999999999999999",
            "10.0.0.0\\8",
            "10.0.0.0-10.0.0.9",
        ] {
            let error = format!("127.0.0.0/8,{bad}").parse::<Networks>().unwrap_err();
            assert!(error.to_string().starts_with(&format!("{bad:?} is no network")), "{error}");
        }
    }
}
