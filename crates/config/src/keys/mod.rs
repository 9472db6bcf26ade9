// SPDX-License-Identifier: Apache-2.0
//! The tables of keys, one per Java class, in the order in which Java declares (and so prints) them.
//!
//! One line per key: name, what its value may be, Java 5.3.3's default, and whether it has an effect here. `unset` is
//! Java's `null`, or a default that depends on the machine. A key that two classes share has one value.

mod auth;
mod broker;
mod namesrv;
mod netty;
mod store;

use oxmq_types::Networks;

/// Whether a key means something in OxMQ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It is acted on.
    Used,
    /// It is checked and kept; what acts on it is not there yet.
    Later,
    /// It means nothing here (a thread pool, a matter of the JVM or of Netty): accepted, and said so once.
    Ignored,
}

/// What a value may be. Java's `int` and `long` are both [`Kind::Int`], with the narrower range where that is the case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// Any text.
    Text,
    /// Text that is not blank and holds no control character: it appears in names, lists and log lines.
    Name,
    /// A file or folder. Never changes at run time.
    Path,
    /// A whole number, bounds included.
    Int {
        /// Smallest value.
        min: i64,
        /// Largest value.
        max: i64,
    },
    /// A number from 0 to 1.
    Ratio,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Hours of the day, `04` or `04;16`. Java: `UtilAll#isItTimeToDo`.
    Hours,
    /// Delays separated by blanks, each a number and one of `s m h d`. Java: `ScheduleMessageService#parseDelayLevel`.
    DelayLevels,
    /// `host:port`, several separated by `;`. Java: `NetworkUtil#string2SocketAddress`.
    Addresses,
    /// Addresses and networks such as `10.0.0.0/8`, separated by commas; none at all, too.
    Networks,
}

impl Kind {
    /// True if `value`, already trimmed, is possible.
    #[must_use]
    pub fn accepts(self, value: &str) -> bool {
        match self {
            Self::Bool => value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false"),
            Self::Text | Self::Path => true,
            Self::Name => !value.is_empty() && !value.chars().any(char::is_control),
            Self::Int { min, max } => value.parse().is_ok_and(|n: i64| (min..=max).contains(&n)),
            Self::Ratio => value.parse().is_ok_and(|n: f64| (0.0..=1.0).contains(&n)),
            Self::Word(words) => words.contains(&value),
            Self::Hours => value.split(';').all(|hour| {
                (1..=2).contains(&hour.len()) && digits(hour) && hour.parse().is_ok_and(|h: u8| h < 24)
            }),
            Self::DelayLevels => {
                let level = |word: &str| {
                    word.strip_suffix(['s', 'm', 'h', 'd'])
                        .is_some_and(|n| digits(n) && n.parse().is_ok_and(|n: u32| n > 0))
                };
                !value.is_empty() && value.split_whitespace().all(level)
            }
            Self::Addresses => {
                let address = |address: &str| {
                    address.rsplit_once(':').is_some_and(|(host, port)| {
                        !host.is_empty() && digits(port) && port.parse().is_ok_and(|port: u16| port > 0)
                    })
                };
                addresses(value).next().is_some() && addresses(value).all(address)
            }
            Self::Networks => value.parse::<Networks>().is_ok(),
        }
    }

    /// What an error message says is expected.
    #[must_use]
    pub fn expected(self) -> String {
        match self {
            Self::Bool => "true or false".to_owned(),
            Self::Text | Self::Path => "text".to_owned(),
            Self::Name => "text that is not blank and holds no control characters".to_owned(),
            Self::Int { min, max: i64::MAX } => format!("a whole number of at least {min}"),
            Self::Int { min, max } => format!("a whole number from {min} to {max}"),
            Self::Ratio => "a number from 0 to 1".to_owned(),
            Self::Word(words) => format!("one of {}", words.join(", ")),
            Self::Hours => "hours from 00 to 23, several separated by \";\"".to_owned(),
            Self::DelayLevels => {
                "delays such as 1s 5m 2h 1d (number above 0 and unit), separated by blanks".to_owned()
            }
            Self::Addresses => "host:port, such as 127.0.0.1:9876;192.168.0.1:9876".to_owned(),
            Self::Networks => "addresses and networks, such as 10.0.0.0/8,192.168.1.7".to_owned(),
        }
    }
}

/// The one key that Java does not have: networks whose tools may ask for what destroys. This machine always may.
pub(crate) const ADMIN_NETWORKS: Key =
    key("adminAllowedNetworks", Kind::Networks, "", Effect::Used).at_once();

/// The addresses of a `;`-separated list. Empty parts are skipped, as Java's `split` does at the end.
pub(crate) fn addresses(list: &str) -> impl Iterator<Item = &str> {
    list.split(';').map(str::trim).filter(|address| !address.is_empty())
}

fn digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// One configuration key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Java's spelling.
    pub name: &'static str,
    /// What its value may be.
    pub kind: Kind,
    /// Java 5.3.3's default; `None` is Java's `null`, or a default that depends on the machine.
    pub default: Option<&'static str>,
    /// Whether it means something here.
    pub effect: Effect,
    /// Printed by `-m`. Java: `@ImportantField`.
    pub important: bool,
    /// May change at run time.
    pub live: bool,
    /// Such a change counts at once, not from the next start on.
    pub at_once: bool,
    /// Masked wherever it is printed or answered.
    pub secret: bool,
}

const fn key(name: &'static str, kind: Kind, default: &'static str, effect: Effect) -> Key {
    Key {
        name,
        kind,
        default: Some(default),
        effect,
        important: false,
        live: false,
        at_once: false,
        secret: false,
    }
}

const fn unset(name: &'static str, kind: Kind, effect: Effect) -> Key {
    Key { name, kind, default: None, effect, important: false, live: false, at_once: false, secret: false }
}

impl Key {
    const fn important(mut self) -> Self {
        self.important = true;
        self
    }

    const fn live(mut self) -> Self {
        self.live = true;
        self
    }

    const fn at_once(mut self) -> Self {
        (self.live, self.at_once) = (true, true);
        self
    }

    const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }
}

const BOOL: Kind = Kind::Bool;
const TEXT: Kind = Kind::Text;
const INT: Kind = int(0, i32::MAX as i64);
const POSITIVE: Kind = int(1, i32::MAX as i64);
/// -1 has a meaning of its own, mostly "off".
const SIGNED: Kind = int(-1, i32::MAX as i64);
const LONG: Kind = int(0, i64::MAX);
const POSITIVE_LONG: Kind = int(1, i64::MAX);
const PERCENT: Kind = int(0, 100);
const PORT: Kind = int(1, 65535);
/// 0 leaves the choice to the broker.
const PORT_OR_NONE: Kind = int(0, 65535);

const fn int(min: i64, max: i64) -> Kind {
    Kind::Int { min, max }
}

/// The keys of one Java class.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) keys: &'static [Key],
    /// False for what Java's `-p` leaves out.
    pub(crate) printed: bool,
}

const fn printed(keys: &'static [Key]) -> Group {
    Group { keys, printed: true }
}

const fn silent(keys: &'static [Key]) -> Group {
    Group { keys, printed: false }
}

/// What a broker's file may hold, in the order of Java's `mqbroker -p`.
// COMPAT(java 5.x): `-p` of 5.3.3 leaves out cluster, name and id (they moved to a parent class); 4.x prints them, and so do we.
pub(crate) static BROKER: [Group; 7] = [
    printed(broker::BROKER_CONFIG),
    printed(broker::BROKER_IDENTITY),
    printed(netty::NETTY_SERVER_CONFIG),
    printed(netty::NETTY_CLIENT_CONFIG),
    printed(store::MESSAGE_STORE_CONFIG),
    silent(auth::AUTH_CONFIG),
    silent(broker::OTHERS),
];

/// What a name server's file may hold, in the order of Java's `mqnamesrv -p`.
pub(crate) static NAMESRV: [Group; 4] = [
    printed(namesrv::NAMESRV_CONFIG),
    printed(netty::NETTY_SERVER_CONFIG),
    printed(netty::NETTY_CLIENT_CONFIG),
    silent(namesrv::OTHERS),
];

/// Older spelling, present spelling. When a file holds both, the present one counts.
pub(crate) const RENAMED: [(&str, &str); 2] = [
    ("mapedFileSizeCommitLog", "mappedFileSizeCommitLog"),
    ("mapedFileSizeConsumeQueue", "mappedFileSizeConsumeQueue"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_told_apart() {
        let check = |kind: Kind, good: &[&str], bad: &[&str]| {
            good.iter().for_each(|value| assert!(kind.accepts(value), "{kind:?} {value:?}"));
            bad.iter().for_each(|value| assert!(!kind.accepts(value), "{kind:?} {value:?}"));
        };
        check(BOOL, &["true", "FALSE"], &["yes", "1", ""]);
        check(INT, &["0", "2147483647"], &["-1", "2147483648", "1k", "1.5", "", "99999999999999999999"]);
        check(PORT, &["1", "65535"], &["0", "65536", "-1"]);
        check(Kind::Ratio, &["0", "0.8", "1"], &["-0.1", "1.01", "NaN", "80%"]);
        check(Kind::Hours, &["04", "4", "00;23"], &["24", "", "04;", "004", "+4", "4-5", "04,05"]);
        check(Kind::DelayLevels, &["1s", "1s 5m  2h 1d"], &["", "5", "s", "-1s", "0s", "1w", "1s,2s", "1秒"]);
        check(
            Kind::Addresses,
            &["a:9876", "127.0.0.1:9876;[::1]:9876;", " a:1 ; b:2"],
            &["", ";", "a", "a:", ":9876", "a:0", "a:65536", "a:b", "a:1;b"],
        );
        check(
            Kind::Networks,
            &["", "10.0.0.0/8, ::1", "0.0.0.0/0"],
            &["10.0.0.0/33", "everybody", "10.0.0.0-8"],
        );
        check(Kind::Name, &["broker-a", "经纪人"], &["", "a\nb"]);
    }

    #[test]
    fn defaults_are_possible_values_and_only_what_acts_is_live() {
        for key in BROKER.iter().chain(&NAMESRV).flat_map(|group| group.keys) {
            assert!(key.default.is_none_or(|value| key.kind.accepts(value)), "{}", key.name);
            assert!(!key.live || key.effect != Effect::Ignored, "{}", key.name);
            assert!(!key.at_once || (key.live && key.effect == Effect::Used), "{}", key.name);
            assert!(!key.live || (key.kind != Kind::Path && !key.name.ends_with("Port")), "{}", key.name);
        }
    }
}
