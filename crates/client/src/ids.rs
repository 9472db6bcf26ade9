// SPDX-License-Identifier: Apache-2.0
//! Ids that this process makes: of clients and of messages.
//!
//! A message id (`UNIQ_KEY`) is what Java's `MessageClientIDSetter` makes, in hexadecimal digits:
//!
//! ```text
//! | address 4 or 16 | process id 2 | number of this process 4 | ms since the month began 4 | counter 2 |
//! ```
//! Java takes the hash of a class loader for the third part, which is alike in all containers of one image; with process
//! id 1 and an address that several networks use, their ids collide. Here it is random.

use jiff::{Timestamp, ToSpan, tz::TimeZone};
use std::{
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    process,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU16, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

const DIGITS: &[u8; 16] = b"0123456789ABCDEF";

/// The address that others know this machine by, as Java finds it: the first IPv4 address that is not of the machine
/// alone, preferring those that are not `192.168.…`; else an IPv6 address, else that of the machine alone.
pub(crate) fn local_address() -> IpAddr {
    static ADDRESS: OnceLock<IpAddr> = OnceLock::new();
    *ADDRESS.get_or_init(|| {
        let all: Vec<IpAddr> = if_addrs::get_if_addrs()
            .map(|interfaces| interfaces.iter().map(if_addrs::Interface::ip).collect())
            .unwrap_or_default();
        let rank = |address: &IpAddr| match address {
            IpAddr::V4(v4) if v4.is_loopback() || v4.is_link_local() => 4,
            IpAddr::V4(v4) if v4.octets()[..2] == [192, 168] => 2,
            IpAddr::V4(_) => 1,
            IpAddr::V6(v6) if v6.is_loopback() || v6.is_unicast_link_local() => 5,
            IpAddr::V6(_) => 3,
        };
        all.into_iter().min_by_key(rank).unwrap_or(IpAddr::from([127, 0, 0, 1]))
    })
}

/// A number that no other process has, and no other call in this one.
pub(crate) fn random() -> u64 {
    // Its keys come from the system; the time and the process id are there in case it has none to give yet.
    RandomState::new().hash_one((process::id(), now_ms()))
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// `IP@process#number`: unique even where all containers have process id 1 and one address, because the number is
/// random.
pub(crate) fn client_id(address: &str, instance: Option<&str>, unit: Option<&str>) -> String {
    let instance = instance
        .map_or_else(|| format!("{}#{}", process::id(), random() & i64::MAX as u64), ToOwned::to_owned);
    match unit {
        Some(unit) => format!("{address}@{instance}@{unit}"),
        None => format!("{address}@{instance}"),
    }
}

/// An id for a message that no other message has (`UNIQ_KEY`), as Java's clients make them. Producers of this crate give
/// each message one; this is for those who send by other ways. Java: `MessageClientIDSetter#createUniqID`.
#[must_use]
pub fn next_unique_id() -> String {
    unique_id_at(now_ms())
}

/// The same, for a message that is made at `now_ms`.
pub(crate) fn unique_id_at(now_ms: i64) -> String {
    static PROCESS: OnceLock<UniqueIds> = OnceLock::new();
    PROCESS
        .get_or_init(|| UniqueIds::new(local_address(), process::id() as u16, random() as u32))
        .next(now_ms)
}

/// Makes message ids.
struct UniqueIds {
    prefix: Vec<u8>,
    counter: AtomicU16,
    clock: Mutex<Clock>,
}

#[derive(Default)]
struct Clock {
    month_began_ms: i64,
    month_ends_ms: i64,
    last_ms: i64,
}

impl UniqueIds {
    fn new(address: IpAddr, process: u16, number: u32) -> Self {
        let mut prefix = Vec::with_capacity(44);
        match address {
            IpAddr::V4(v4) => push_hex(&mut prefix, &v4.octets()),
            IpAddr::V6(v6) => push_hex(&mut prefix, &v6.octets()),
        }
        push_hex(&mut prefix, &process.to_be_bytes());
        push_hex(&mut prefix, &number.to_be_bytes());
        Self { prefix, counter: AtomicU16::new(0), clock: Mutex::default() }
    }

    fn next(&self, now_ms: i64) -> String {
        let since = self.ms_since_month_began(now_ms);
        let mut id = Vec::with_capacity(self.prefix.len() + 12);
        id.extend_from_slice(&self.prefix);
        push_hex(&mut id, &since.to_be_bytes());
        push_hex(&mut id, &self.counter.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        // All of it is digits.
        String::from_utf8(id).unwrap_or_default()
    }

    fn ms_since_month_began(&self, now_ms: i64) -> u32 {
        let mut clock = self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that is set back must not give the same ids again.
        let now_ms = now_ms.max(clock.last_ms);
        clock.last_ms = now_ms;
        if now_ms >= clock.month_ends_ms {
            (clock.month_began_ms, clock.month_ends_ms) = month_of(now_ms);
        }
        u32::try_from(now_ms - clock.month_began_ms).unwrap_or(0)
    }
}

/// When the month of `ms` began and when it ends, by the clock on the wall here.
fn month_of(ms: i64) -> (i64, i64) {
    let month = || {
        let now = Timestamp::from_millisecond(ms)?.to_zoned(TimeZone::system());
        let first = now.date().first_of_month();
        let next = first.checked_add(1.month())?;
        let ms = |date: jiff::civil::Date| {
            date.to_zoned(TimeZone::system()).map(|zoned| zoned.timestamp().as_millisecond())
        };
        Ok::<_, jiff::Error>((ms(first)?, ms(next)?))
    };
    month().unwrap_or((ms, ms + 1))
}

fn push_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        out.push(DIGITS[usize::from(byte >> 4)]);
        out.push(DIGITS[usize::from(byte & 15)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn message_ids_have_the_parts_of_java() {
        let ids = UniqueIds::new(IpAddr::from([10, 0, 0, 7]), 1, 0xABCD);
        let now = now_ms();
        let (first, second) = (ids.next(now), ids.next(now));
        let since = u32::try_from(now - month_of(now).0).unwrap();
        assert_eq!(first, format!("0A0000070001{:08X}{since:08X}0000", 0xABCD));
        assert_eq!(second[28..], *"0001");
        let ids = UniqueIds::new("::1".parse().unwrap(), 1, 2);
        assert_eq!(ids.next(now).len(), 56);
    }

    #[test]
    fn a_clock_that_is_set_back_gives_no_id_again() {
        let ids = UniqueIds::new(IpAddr::from([10, 0, 0, 7]), 1, 2);
        let now = now_ms();
        let mut seen = HashSet::new();
        for turn in 0..200_000 {
            assert!(seen.insert(ids.next(now + turn % 7 - 3 + turn / 1000)));
        }
    }

    #[test]
    fn client_ids_of_containers_that_are_alike_differ() {
        let id = || client_id("172.17.0.2", None, None);
        assert_ne!(id(), id());
        assert_eq!(client_id("172.17.0.2", Some("shop"), Some("u")), "172.17.0.2@shop@u");
        assert!(id().starts_with(&format!("172.17.0.2@{}#", process::id())));
    }
}
