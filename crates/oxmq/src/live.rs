// SPDX-License-Identifier: Apache-2.0
//! The settings of a running broker, as tools change them: kept in the file that `-c` named.
//!
//! The parts of the broker were built from what the settings were at the start, so a change counts from the next
//! start on. Without a file there would be nothing to count, and the change is refused.

use anyhow::Context;
use oxmq_broker::{Configuration, UpdateRefused};
use oxmq_config::{BrokerSettings, UpdateError};
use oxmq_types::Properties;
use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};
use tracing::warn;

/// Settings and where they are kept.
pub(crate) struct LiveSettings {
    settings: Mutex<BrokerSettings>,
    file: Option<PathBuf>,
}

impl LiveSettings {
    pub(crate) fn new(settings: BrokerSettings, file: Option<PathBuf>) -> Self {
        Self { settings: Mutex::new(settings), file }
    }
}

impl Configuration for LiveSettings {
    fn read(&self) -> Properties {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner).to_properties()
    }

    fn update(&self, changes: &Properties) -> Result<(), UpdateRefused> {
        let mut settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = settings.clone();
        let list = changed.update(changes).map_err(|error| match error {
            UpdateError::Fixed { .. } => UpdateRefused::NotAllowed(error.to_string()),
            other => UpdateRefused::Impossible(other.to_string()),
        })?;
        if list.is_empty() {
            return Ok(());
        }
        let Some(file) = &self.file else {
            let remark =
                "the broker was started without a configuration file, so there is nothing to keep it in";
            return Err(UpdateRefused::NotAllowed(remark.into()));
        };
        keep(file, changes).map_err(|error| UpdateRefused::NotKept(format!("{error:#}")))?;
        for change in list {
            warn!(key = change.key, old = change.old, new = change.new, "changed from the next start on");
        }
        *settings = changed;
        Ok(())
    }
}

/// Writes `changes` into the file, and leaves its other lines as they are.
fn keep(file: &Path, changes: &Properties) -> anyhow::Result<()> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let new = with_changes(&text, changes)?;
    let beside = file.with_extension("tmp");
    let written = File::create(&beside).and_then(|mut beside| {
        beside.write_all(new.as_bytes())?;
        beside.sync_data()
    });
    let replaced = written.and_then(|()| fs::rename(&beside, file));
    replaced.with_context(|| format!("cannot write {}", file.display()))
}

fn with_changes(text: &str, changes: &Properties) -> anyhow::Result<String> {
    let mut new = String::with_capacity(text.len() + 64);
    let mut continued = false;
    for line in text.lines() {
        let whole = !continued && !line.ends_with('\\');
        continued = line.ends_with('\\');
        let key = line.split(['=', ':']).next().unwrap_or_default().trim();
        if !(whole && changes.get(key).is_some()) {
            new.push_str(line);
            new.push('\n');
        }
    }
    for (key, value) in changes.iter() {
        new += &format!("{key}={value}\n");
    }
    let mut expected = Properties::parse(text)?;
    for (key, value) in changes.iter() {
        expected.set(key, value);
    }
    // A value with a backslash, a file that ends in the middle of a line: rather no change than another.
    anyhow::ensure!(Properties::parse(&new)? == expected, "the file cannot hold these values in this form");
    Ok(new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use oxmq_config::Host;

    fn changes(pairs: &[(&str, &str)]) -> Properties {
        pairs.iter().copied().collect()
    }

    #[test]
    fn other_lines_stay_as_they_are() {
        let text = "# ours\nbrokerName=a\n traceOn = true\nx=1,\\\n traceOn=no\n";
        let new = with_changes(text, &changes(&[("traceOn", "false")])).unwrap();
        assert_eq!(new, "# ours\nbrokerName=a\nx=1,\\\n traceOn=no\ntraceOn=false\n");
        assert!(with_changes("x=1\\", &changes(&[("traceOn", "false")])).is_err());
        assert!(with_changes("", &changes(&[("traceOn", "a\\nb")])).is_err());
    }

    #[test]
    fn a_change_is_kept_or_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("broker.conf");
        fs::write(&file, "brokerName=a\n").unwrap();
        let host = Host { home: "/nowhere".into(), ..Host::default() };
        let load = || {
            let text = fs::read_to_string(&file).unwrap();
            BrokerSettings::load(&Properties::parse(&text).unwrap(), &Properties::default(), &host).unwrap().0
        };
        let live = LiveSettings::new(load(), Some(file.clone()));
        live.update(&changes(&[("traceOn", "false"), ("fileReservedTime", "48")])).unwrap();
        assert_eq!(live.read().get("traceOn"), Some("false"));
        assert_eq!(load().to_properties().get("fileReservedTime"), Some("48"));
        for (key, value, allowed) in [
            ("brokerName", "b", false),
            ("storePathRootDir", "/x", false),
            ("noSuchKey", "1", true),
            ("traceOn", "maybe", true),
        ] {
            let refused = live.update(&changes(&[("fileReservedTime", "24"), (key, value)])).unwrap_err();
            assert_eq!(matches!(refused, UpdateRefused::Impossible(_)), allowed, "{key}: {refused}");
        }
        assert_eq!(load().to_properties().get("fileReservedTime"), Some("48"), "nothing of a refused change");
        let homeless = LiveSettings::new(load(), None);
        let refused = homeless.update(&changes(&[("traceOn", "true")])).unwrap_err();
        assert!(matches!(refused, UpdateRefused::NotAllowed(_)), "{refused}");
    }
}
