// SPDX-License-Identifier: Apache-2.0
//! The settings of a running broker, as tools change them: kept in the file that `-c` named.
//!
//! Most count at once; what the parts of the broker are built from at the start counts from the next start on. Without
//! a file there is nothing that a next start could read: then only what counts at once can be changed.

use crate::keep::keep;
use oxmq_broker::{Configuration, UpdateRefused};
use oxmq_config::{BrokerSettings, UpdateError};
use oxmq_types::Properties;
use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
};
use tracing::warn;

/// Settings and where they are kept.
pub(crate) struct LiveSettings {
    settings: Mutex<BrokerSettings>,
    file: Option<PathBuf>,
    apply: Apply,
}

/// Has the broker do as they say from now on.
type Apply = Box<dyn Fn(&BrokerSettings) + Send + Sync>;

impl LiveSettings {
    pub(crate) fn new(
        settings: BrokerSettings,
        file: Option<PathBuf>,
        apply: impl Fn(&BrokerSettings) + Send + Sync + 'static,
    ) -> Self {
        Self { settings: Mutex::new(settings), file, apply: Box::new(apply) }
    }
}

impl Configuration for LiveSettings {
    fn read(&self) -> Properties {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner).to_properties()
    }

    fn update(&self, changes: &Properties) -> Result<Option<String>, UpdateRefused> {
        let mut settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = settings.clone();
        let list = changed.update(changes).map_err(|error| match error {
            UpdateError::Fixed { .. } => UpdateRefused::NotAllowed(error.to_string()),
            other => UpdateRefused::Impossible(other.to_string()),
        })?;
        if list.is_empty() {
            return Ok(None);
        }
        let later: Vec<_> = list.iter().filter(|change| !change.at_once).map(|change| change.key).collect();
        let remark = match &self.file {
            Some(file) => {
                keep(file, changes).map_err(|error| UpdateRefused::NotKept(format!("{error:#}")))?;
                (!later.is_empty()).then(|| format!("counts from the next start on: {}", later.join(", ")))
            }
            None if later.is_empty() => {
                let why = "the broker was started without a configuration file";
                Some(format!("counts until the broker stops: {why}"))
            }
            None => {
                return Err(UpdateRefused::NotAllowed(format!(
                    "the broker was started without a configuration file, so there is nothing to keep it in, and it would \
                     count from the next start on: {}",
                    later.join(", ")
                )));
            }
        };
        for change in list {
            let from = if change.at_once { "now" } else { "the next start" };
            warn!(key = change.key, old = change.old, new = change.new, "changed from {from} on");
        }
        (self.apply)(&changed);
        *settings = changed;
        Ok(remark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oxmq_config::Host;
    use std::{fs, sync::Arc};

    fn changes(pairs: &[(&str, &str)]) -> Properties {
        pairs.iter().copied().collect()
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
        let applied = Arc::new(Mutex::new(Vec::new()));
        let applying = Arc::clone(&applied);
        let live = LiveSettings::new(load(), Some(file.clone()), move |settings| {
            applying.lock().unwrap().push((settings.sends().trace_on, settings.retention().reserved_hours));
        });
        let update = |pairs: &[(&str, &str)]| live.update(&changes(pairs));
        assert_eq!(update(&[("traceOn", "true"), ("maxMessageSize", "1024")]), Ok(None));
        assert_eq!(update(&[("traceOn", "false"), ("fileReservedTime", "48")]), Ok(None));
        assert_eq!(update(&[("traceOn", "FALSE"), ("fileReservedTime", "48")]), Ok(None), "as it is");
        let remark = update(&[("flushIntervalCommitLog", "100"), ("traceOn", "true")]).unwrap().unwrap();
        assert_eq!(remark, "counts from the next start on: flushIntervalCommitLog");
        assert_eq!(live.read().get("traceOn"), Some("true"));
        assert_eq!(load().to_properties().get("fileReservedTime"), Some("48"));
        for (key, value, allowed) in [
            ("brokerName", "b", false),
            ("storePathRootDir", "/x", false),
            ("noSuchKey", "1", true),
            ("traceOn", "maybe", true),
            ("adminAllowedNetworks", "everybody", true),
        ] {
            let refused = update(&[("fileReservedTime", "24"), (key, value)]).unwrap_err();
            assert_eq!(matches!(refused, UpdateRefused::Impossible(_)), allowed, "{key}: {refused}");
        }
        assert_eq!(load().to_properties().get("fileReservedTime"), Some("48"), "nothing of a refused change");
        let expected = [(true, 72), (false, 48), (true, 48)];
        assert_eq!(*applied.lock().unwrap(), expected, "when it changed, and only then");
    }

    #[test]
    fn without_a_file_only_what_counts_at_once_is_changed() {
        let host = Host { home: "/nowhere".into(), ..Host::default() };
        let (none, settings) = (Properties::default(), BrokerSettings::load);
        let (settings, _) = settings(&none, &none, &host).unwrap();
        let applied = Arc::new(Mutex::new(0));
        let applying = Arc::clone(&applied);
        let homeless = LiveSettings::new(settings, None, move |_| *applying.lock().unwrap() += 1);
        for pairs in
            [&[("flushIntervalCommitLog", "1")][..], &[("traceOn", "false"), ("compressedRegister", "true")]]
        {
            let refused = homeless.update(&changes(pairs)).unwrap_err();
            assert!(matches!(refused, UpdateRefused::NotAllowed(_)), "{refused}");
        }
        assert_eq!((homeless.read().get("traceOn"), *applied.lock().unwrap()), (Some("true"), 0));
        let remark = homeless.update(&changes(&[("traceOn", "false")])).unwrap().unwrap();
        assert!(remark.starts_with("counts until the broker stops"), "{remark}");
        assert_eq!((homeless.read().get("traceOn"), *applied.lock().unwrap()), (Some("false"), 1));
    }
}
