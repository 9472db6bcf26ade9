// SPDX-License-Identifier: Apache-2.0
//! From properties to checked values, and back to text. Java: `MixAll#properties2Object`, `MixAll#printObjectProperties`,
//! `Configuration`.
//!
//! Later wins: Java's default, the machine's ([`Host`]), the file, the command line. Java passes silently over a value it
//! cannot read and goes on with the default; here it stops the start, because nobody notices a default.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use oxmq_types::{Networks, Properties};

use crate::keys::{Effect, Group, Key, Kind, RENAMED};

/// What defaults depend on: the machine and the environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Host {
    /// The user's home folder, parent of the default `store` and `namesrv` folders.
    pub home: String,
    /// The machine's name, the default broker name. Without one it is `DEFAULT_BROKER`, as in Java.
    pub name: Option<String>,
    /// `NAMESRV_ADDR`. A file and the command line override it, as in Java.
    pub namesrv_addr: Option<String>,
    /// `ROCKETMQ_HOME`. Only printed: nothing is started or read from there.
    pub rocketmq_home: Option<String>,
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// `bindAddress`: address or name of the interface, 0.0.0.0 for all.
    pub bind_address: String,
    /// `listenPort`.
    pub port: u16,
    /// `serverChannelMaxIdleTimeSeconds`: a connection without traffic for this long is closed.
    pub idle_timeout_seconds: u64,
    /// `serverSocketBacklog`: connections that wait to be accepted.
    pub backlog: u32,
}

/// Something the log should say after a successful load.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// A key that nothing knows; probably the nearest known one was meant.
    Unknown {
        /// The key as it stands in the file.
        key: String,
        /// The known key with the smallest edit distance, `None` if none resembles it.
        nearest: Option<&'static str>,
    },
    /// A value that another setting overrules.
    Overruled {
        /// The key.
        key: &'static str,
        /// The value as it stands in the file.
        value: String,
        /// What counts instead, and why.
        by: String,
    },
    /// Keys without meaning here, with a value other than Java's default.
    Ignored(Vec<&'static str>),
    /// Keys with a value other than the default that this version does not act on yet.
    NotYet(Vec<&'static str>),
}

impl Notice {
    /// True if the log should warn: something is not as the file says and Java would have done otherwise, or nobody knows.
    #[must_use]
    pub fn is_warning(&self) -> bool {
        !matches!(self, Self::Ignored(_))
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { key, nearest: Some(nearest) } => {
                write!(f, "unknown configuration key {key:?}; did you mean {nearest}?")
            }
            Self::Unknown { key, nearest: None } => write!(f, "unknown configuration key {key:?}"),
            Self::Overruled { key, value, by } => write!(f, "{key}={value} does not count: {by}"),
            Self::Ignored(keys) => {
                write!(f, "accepted, but without meaning for this server: {}", keys.join(", "))
            }
            Self::NotYet(keys) => {
                write!(f, "accepted, but not acted on by this version: {}", keys.join(", "))
            }
        }
    }
}

/// Why a configuration stops the start.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// A value that cannot be.
    Value {
        /// The key as it stands in the file.
        key: String,
        /// The value, cut if very long.
        value: String,
        /// What it should be.
        expected: String,
    },
    /// A value that Java knows and this version cannot honour, where going on without it would lose data or let in strangers.
    Unsupported {
        /// The key.
        key: &'static str,
        /// The value.
        value: String,
        /// What would go wrong.
        why: &'static str,
    },
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value { key, value, expected } => {
                write!(f, "{key}={value:?} is impossible: expected {expected}")
            }
            Self::Unsupported { key, value, why } => write!(f, "{key}={value} is not supported: {why}"),
        }
    }
}

/// A value that changed at run time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: &'static str,
    /// What it was.
    pub old: String,
    /// What it is now.
    pub new: String,
    /// True if it counts at once, false if from the next start on.
    pub at_once: bool,
}

/// Why a change at run time is refused. Nothing was changed then.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum UpdateError {
    /// The key may not change at run time. Java answers NO_PERMISSION and the words with which this displays.
    Fixed {
        /// The key as it was sent.
        key: String,
        /// Why not.
        why: &'static str,
    },
    /// Nobody knows the key. Java answers SUCCESS and does nothing.
    Unknown {
        /// The key as it was sent.
        key: String,
        /// The known key that resembles it most.
        nearest: Option<&'static str>,
    },
    /// The value cannot be. Java answers SUCCESS and keeps the old one.
    Value(ConfigError),
}

impl std::error::Error for UpdateError {}

impl fmt::Display for UpdateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed { key, why } => write!(f, "Can not update config in black list. {key}: {why}"),
            Self::Unknown { key, nearest } => Notice::Unknown { key: key.clone(), nearest: *nearest }.fmt(f),
            Self::Value(error) => error.fmt(f),
        }
    }
}

/// Keys that say who a broker is to others; a change under way would make two of one.
const IDENTITY: [&str; 7] =
    ["brokerClusterName", "brokerName", "brokerId", "brokerIP1", "brokerIP2", "brokerRole", "namesrvAddr"];

/// Checked values of all keys of some groups. A key without entry is unset, Java's `null`.
#[derive(Clone)]
pub(crate) struct Values {
    groups: &'static [Group],
    values: BTreeMap<&'static str, String>,
}

impl fmt::Debug for Values {
    /// With the secrets masked.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.to_properties().iter()).finish()
    }
}

impl Values {
    /// Takes over `file`, then `overrides`, on top of Java's defaults and `host_defaults`.
    pub(crate) fn load(
        groups: &'static [Group],
        host_defaults: Vec<(&'static str, String)>,
        file: &Properties,
        overrides: &Properties,
    ) -> Result<(Self, Vec<Notice>), ConfigError> {
        let mut all = Self { groups, values: BTreeMap::new() };
        all.values.extend(all.keys().filter_map(|key| Some((key.name, key.default?.to_owned()))));
        for (name, value) in host_defaults {
            let key = all.key(name).expect("a default belongs to a key");
            all.values.insert(key.name, checked(key, name, &value)?);
        }
        let (mut notices, mut ignored, mut not_yet) = (Vec::new(), Vec::new(), Vec::new());
        let pairs =
            [file, overrides].into_iter().flat_map(|source| source.iter().map(move |pair| (source, pair)));
        for (source, (name, value)) in pairs {
            let present = RENAMED.iter().find(|(older, _)| *older == name).map(|&(_, present)| present);
            let Some(key) = all.key(present.unwrap_or(name)) else {
                notices.push(Notice::Unknown { key: name.to_owned(), nearest: all.nearest(name) });
                continue;
            };
            let value = value.trim();
            // What has no default is unset by an empty value, so that the output of `-p` is a valid file.
            if value.is_empty() && key.default.is_none() {
                continue;
            }
            let value = checked(key, name, value)?;
            if let Some(present) = present
                && source.get(present).is_some_and(|other| other.trim() != value)
            {
                let by = format!("{present} is set too");
                notices.push(Notice::Overruled { key: key.name, value: format!("{value} (as {name})"), by });
                continue;
            }
            // A Java broker that was configured at run time leaves a file with all keys: defaults are not worth a word.
            match key.effect {
                Effect::Ignored if key.default != Some(&value) => ignored.push(key.name),
                Effect::Later if key.default != Some(&value) => not_yet.push(key.name),
                _ => {}
            }
            all.values.insert(key.name, value);
        }
        if !ignored.is_empty() {
            notices.push(Notice::Ignored(ignored));
        }
        if !not_yet.is_empty() {
            notices.push(Notice::NotYet(not_yet));
        }
        Ok((all, notices))
    }

    /// Refuses each `(key, value)` that stands so; an empty value refuses any.
    pub(crate) fn refuse(
        &self,
        unsupported: &[(&'static str, &str, &'static str)],
    ) -> Result<(), ConfigError> {
        match unsupported
            .iter()
            .find(|(key, value, _)| self.get(key).is_some_and(|found| value.is_empty() || found == *value))
        {
            Some(&(key, _, why)) => {
                Err(ConfigError::Unsupported { key, value: self.text(key).to_owned(), why })
            }
            None => Ok(()),
        }
    }

    /// Changes live keys: all of `updates`, or nothing.
    pub(crate) fn update(&mut self, updates: &Properties) -> Result<Vec<Change>, UpdateError> {
        let mut changes = Vec::new();
        for (name, value) in updates.iter() {
            let Some(key) = self.key(name) else {
                let fixed = RENAMED.iter().any(|(older, _)| *older == name);
                return Err(match fixed {
                    true => UpdateError::Fixed { key: name.to_owned(), why: "it needs a restart" },
                    false => UpdateError::Unknown { key: name.to_owned(), nearest: self.nearest(name) },
                });
            };
            if let Some(why) = self.fixed_because(key) {
                return Err(UpdateError::Fixed { key: name.to_owned(), why });
            }
            let new = checked(key, name, value.trim()).map_err(UpdateError::Value)?;
            let old = self.get(key.name).unwrap_or_default().to_owned();
            if old != new {
                changes.push(Change { key: key.name, old, new, at_once: key.at_once });
            }
        }
        self.values.extend(changes.iter().map(|change| (change.key, change.new.clone())));
        Ok(changes)
    }

    fn fixed_because(&self, key: &Key) -> Option<&'static str> {
        if key.live {
            let mut listed = self.text("configBlackList").split(';');
            return listed.any(|name| name.trim() == key.name).then_some("configBlackList names it");
        }
        Some(match key {
            Key { kind: Kind::Path, .. } => "paths never change at run time",
            Key { name, .. } if IDENTITY.contains(name) => "it is part of the identity",
            Key { effect: Effect::Ignored, .. } => "it has no meaning for this server",
            _ => "it needs a restart",
        })
    }

    /// All keys that Java's `-p` prints, `key=value`, in Java's order; unset ones with nothing behind the `=`.
    pub(crate) fn print(&self, only_important: bool) -> Vec<String> {
        let keys = self.groups.iter().filter(|group| group.printed).flat_map(|group| group.keys);
        keys.filter(|key| key.important || !only_important)
            .map(|key| format!("{}={}", key.name, self.shown(key).unwrap_or_default()))
            .collect()
    }

    /// All keys that are set.
    pub(crate) fn to_properties(&self) -> Properties {
        self.keys().filter_map(|key| Some((key.name, self.shown(key)?))).collect()
    }

    /// What others may see of a value: of a secret, only whether it was given.
    fn shown(&self, key: &Key) -> Option<&str> {
        let value = self.get(key.name);
        if key.secret && value != key.default { Some("******") } else { value }
    }

    /// Sets a value that the start decided.
    pub(crate) fn set(&mut self, name: &'static str, value: String) {
        self.values.insert(name, value);
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// The value of a key that has a default.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.get(name).expect("a key with a default has a value")
    }

    /// The value of a `Bool` key.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.text(name) == "true"
    }

    /// The value of an `Int` key whose range lies within `T`.
    pub(crate) fn number<T: TryFrom<i64>>(&self, name: &str) -> T {
        let number: i64 = self.text(name).parse().expect("it was checked when it was set");
        T::try_from(number).ok().expect("the key's range lies within the type")
    }

    /// The value of a `Ratio` key, in percent.
    pub(crate) fn percent(&self, name: &str) -> u8 {
        let ratio: f64 = self.text(name).parse().expect("it was checked when it was set");
        (ratio * 100.0).round() as u8
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(self.text(name))
    }

    pub(crate) fn listener(&self) -> Listener {
        Listener {
            bind_address: self.text("bindAddress").to_owned(),
            port: self.number("listenPort"),
            idle_timeout_seconds: self.number("serverChannelMaxIdleTimeSeconds"),
            backlog: self.number("serverSocketBacklog"),
        }
    }

    /// `adminAllowedNetworks`.
    pub(crate) fn admin_networks(&self) -> Networks {
        self.text("adminAllowedNetworks").parse().expect("it was checked when it was set")
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &'static Key> + use<> {
        self.groups.iter().flat_map(|group| group.keys)
    }

    fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys().find(|key| key.name == name)
    }

    fn nearest(&self, name: &str) -> Option<&'static str> {
        // No known key is longer than 60 characters; a longer text resembles none, and would only cost time.
        if name.len() > 80 {
            return None;
        }
        let name = name.to_lowercase();
        let (distance, nearest) = self
            .keys()
            .map(|key| (edit_distance(&name, &key.name.to_lowercase()), key.name))
            .min_by_key(|(distance, _)| *distance)?;
        (distance * 2 <= nearest.len()).then_some(nearest)
    }
}

/// `value` in the form in which it is kept, if it is possible.
fn checked(key: &Key, name: &str, value: &str) -> Result<String, ConfigError> {
    if !key.kind.accepts(value) {
        let shown = value.chars().take(200).collect();
        return Err(ConfigError::Value { key: name.to_owned(), value: shown, expected: key.kind.expected() });
    }
    Ok(if key.kind == Kind::Bool { value.to_ascii_lowercase() } else { value.to_owned() })
}

/// Insertions, deletions and replacements that turn `from` into `to`.
fn edit_distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (at, a) in from.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], at + 1);
        for (column, b) in to.chars().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[row.len() - 1]
}

#[cfg(test)]
mod tests {
    use super::edit_distance;

    #[test]
    fn distances() {
        for (from, to, distance) in
            [("", "", 0), ("", "abc", 3), ("kitten", "sitting", 3), ("flaw", "lawn", 2), ("端口", "端", 1)]
        {
            assert_eq!(edit_distance(from, to), distance, "{from} {to}");
        }
    }
}
