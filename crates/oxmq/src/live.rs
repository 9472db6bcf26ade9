// SPDX-License-Identifier: Apache-2.0
//! The settings of a running broker, as tools change them: kept in the file that `-c` named.
//!
//! The parts of the broker were built from what the settings were at the start, so a change counts from the next
//! start on, except for what says when messages are removed: who has to make room cannot wait. Without a file there
//! would be nothing to count, and the change is refused.

use crate::keep::keep;
use oxmq_broker::{Configuration, UpdateRefused};
use oxmq_config::{BrokerSettings, Retention, UpdateError};
use oxmq_net::AdminAccess;
use oxmq_types::Properties;
use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};
use tracing::warn;

/// Settings and where they are kept.
pub(crate) struct LiveSettings {
    settings: Mutex<BrokerSettings>,
    file: Option<PathBuf>,
    access: Arc<AdminAccess>,
    retain: Retain,
}

/// Has messages kept and removed as it says from now on.
type Retain = Box<dyn Fn(&Retention) + Send + Sync>;

impl LiveSettings {
    pub(crate) fn new(
        settings: BrokerSettings,
        file: Option<PathBuf>,
        access: Arc<AdminAccess>,
        retain: impl Fn(&Retention) + Send + Sync + 'static,
    ) -> Self {
        Self { settings: Mutex::new(settings), file, access, retain: Box::new(retain) }
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
            let mut alone = settings.clone();
            let one = [(change.key, &*change.new)].into_iter().collect();
            let at_once = change.key == AdminAccess::KEY
                || alone.update(&one).is_ok() && alone.retention() != settings.retention();
            let from = if at_once { "now" } else { "the next start" };
            warn!(key = change.key, old = change.old, new = change.new, "changed from {from} on");
        }
        let retention = changed.retention();
        if retention != settings.retention() {
            (self.retain)(&retention);
        }
        self.access.allow(changed.admin_networks());
        *settings = changed;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oxmq_config::Host;
    use std::fs;

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
        let retained = Arc::new(Mutex::new(Vec::new()));
        let retaining = Arc::clone(&retained);
        let live = LiveSettings::new(load(), Some(file.clone()), Arc::default(), move |retention| {
            retaining.lock().unwrap().push(retention.reserved_hours);
        });
        live.update(&changes(&[("traceOn", "true"), ("maxMessageSize", "1024")])).unwrap();
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
        assert_eq!(*retained.lock().unwrap(), [48], "when it changed, and only then");
        let homeless = LiveSettings::new(load(), None, Arc::default(), |_| panic!("nothing changed"));
        let refused = homeless.update(&changes(&[("traceOn", "true")])).unwrap_err();
        assert!(matches!(refused, UpdateRefused::NotAllowed(_)), "{refused}");
    }
}
