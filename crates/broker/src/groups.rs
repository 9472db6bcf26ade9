// SPDX-License-Identifier: Apache-2.0
//! Settings of consumer groups: `config/subscriptionGroup.json`. Java: `SubscriptionGroupManager`.

use crate::persist::{ConfigFile, Kept, LoadError, Saver, Ticket};
use oxmq_remoting::bodies::{DataVersion, SubscriptionGroupConfig};
use oxmq_types::{Perm, is_system_group, validate_group};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};
use tracing::info;

/// Groups that every broker knows from its first start. Java: its `init`.
const BUILT_IN: [&str; 8] = [
    "TOOLS_CONSUMER",
    "FILTERSRV_CONSUMER",
    "SELF_TEST_C_GROUP",
    "CID_ONS-HTTP-PROXY",
    "CID_ONSAPI_PULL",
    "CID_ONSAPI_PERMISSION",
    "CID_ONSAPI_OWNER",
    "CID_RMQ_SYS_TRANS",
];
/// Most groups of one broker; each costs memory and a place in the file.
const GROUPS_MAX: usize = 1_000_000;

/// All groups. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Groups {
    kept: Arc<ConfigFile>,
    auto_create: Arc<AtomicBool>,
    file: Arc<Mutex<File>>,
    /// False if nobody may be kept from any topic, so that pulls need not look.
    any_forbidden: Arc<AtomicBool>,
    /// Writes the file.
    pub(crate) saver: Saver,
}

/// The file, and the answer to GET_ALL_SUBSCRIPTIONGROUP_CONFIG.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct File {
    data_version: DataVersion,
    subscription_group_table: BTreeMap<String, Arc<SubscriptionGroupConfig>>,
    /// By group and topic, what the group may not do there, in bits of [`Perm`]; Java knows reading only.
    forbidden_table: BTreeMap<String, BTreeMap<String, u32>>,
    #[serde(flatten)]
    other: serde_json::Map<String, serde_json::Value>,
}

impl Kept for File {
    const MEMBER: &str = "subscriptionGroupTable";
}

impl Groups {
    /// Reads the file at `path`, if there is one. `auto_create`: whether unknown groups are made on first use.
    ///
    /// # Errors
    /// If neither the file nor its backup can be read.
    pub(crate) fn open(path: PathBuf, auto_create: bool) -> Result<Self, LoadError> {
        let kept = ConfigFile::new(path);
        let mut file = kept.load::<File>()?.unwrap_or_default();
        for name in BUILT_IN {
            let config = || SubscriptionGroupConfig { group_name: name.to_owned(), ..Default::default() };
            file.subscription_group_table.entry(name.to_owned()).or_insert_with(|| Arc::new(config()));
        }
        Ok(Self {
            kept: Arc::new(kept),
            auto_create: Arc::new(AtomicBool::new(auto_create)),
            any_forbidden: Arc::new(AtomicBool::new(!file.forbidden_table.is_empty())),
            file: Arc::new(Mutex::new(file)),
            saver: Saver::default(),
        })
    }

    /// Changes whether unknown groups are made on first use.
    pub(crate) fn set_auto_create(&self, auto_create: bool) {
        self.auto_create.store(auto_create, Ordering::Relaxed);
    }

    fn file(&self) -> MutexGuard<'_, File> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The settings of `name`; made now if that is allowed. `None` if there are none.
    #[must_use]
    pub(crate) fn get_or_create(&self, name: &str) -> Option<Arc<SubscriptionGroupConfig>> {
        let mut file = self.file();
        if let Some(known) = file.subscription_group_table.get(name) {
            return Some(known.clone());
        }
        let auto_create = self.auto_create.load(Ordering::Relaxed);
        let allowed = (auto_create || is_system_group(name)) && validate_group(name).is_ok();
        if !allowed || file.subscription_group_table.len() >= GROUPS_MAX {
            return None;
        }
        let config = SubscriptionGroupConfig { group_name: name.to_owned(), ..Default::default() };
        info!(group = name, "group made on first use");
        Some(self.put_into(&mut file, config))
    }

    /// The settings of `name`; `None` if there are none.
    #[must_use]
    pub(crate) fn get(&self, name: &str) -> Option<Arc<SubscriptionGroupConfig>> {
        self.file().subscription_group_table.get(name).cloned()
    }

    /// True unless the members of `name` are not to be told when others come and go.
    #[must_use]
    pub(crate) fn notifies(&self, name: &str) -> bool {
        self.get(name).is_none_or(|config| config.notify_consumer_ids_changed_enable)
    }

    /// Sets the settings of groups whose names have been validated: of all or, if that would be too many groups, of
    /// none. The ticket tells when they are on disk.
    pub(crate) fn put_all(&self, configs: Vec<SubscriptionGroupConfig>) -> Option<Ticket> {
        let mut file = self.file();
        if file.subscription_group_table.len() + configs.len() > GROUPS_MAX {
            return None;
        }
        for config in configs {
            info!(group = config.group_name, ?config, "group settings changed");
            self.put_into(&mut file, config);
        }
        Some(self.saver.request())
    }

    /// True if `group` may not read from `topic`.
    #[must_use]
    pub(crate) fn is_forbidden(&self, group: &str, topic: &str) -> bool {
        if !self.any_forbidden.load(Ordering::Acquire) {
            return false;
        }
        let file = self.file();
        let bits = file.forbidden_table.get(group).and_then(|topics| topics.get(topic));
        bits.is_some_and(|bits| Perm(*bits).allows(Perm::READ))
    }

    /// Lets a group read from a topic or not.
    pub(crate) fn set_forbidden(&self, group: &str, topic: &str, forbidden: bool) -> Ticket {
        let mut file = self.file();
        let topics = file.forbidden_table.entry(group.to_owned()).or_default();
        let before = Perm(topics.get(topic).copied().unwrap_or_default());
        let bits = if forbidden { before.with(Perm::READ) } else { before.without(Perm::READ) };
        if bits == Perm(0) {
            topics.remove(topic);
        } else {
            topics.insert(topic.to_owned(), bits.0);
        }
        if topics.is_empty() {
            file.forbidden_table.remove(group);
        }
        self.any_forbidden.store(!file.forbidden_table.is_empty(), Ordering::Release);
        info!(group, topic, forbidden, "reading is forbidden or allowed");
        self.changed(&mut file)
    }

    /// Forgets a group, if there is one.
    pub(crate) fn remove(&self, name: &str) -> Ticket {
        let mut file = self.file();
        file.forbidden_table.remove(name);
        self.any_forbidden.store(!file.forbidden_table.is_empty(), Ordering::Release);
        if file.subscription_group_table.remove(name).is_none() {
            return self.saver.request();
        }
        info!(group = name, "group deleted");
        self.changed(&mut file)
    }

    /// Names of all groups, sorted.
    #[must_use]
    pub(crate) fn names(&self) -> Vec<String> {
        self.file().subscription_group_table.keys().cloned().collect()
    }

    /// All settings as JSON, as other brokers and tools read them.
    #[must_use]
    pub(crate) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(&self.copy()).unwrap_or_default()
    }

    /// What is to be written. Pulls wait for the lock, so it is not held while a million groups are formatted.
    fn copy(&self) -> File {
        self.file().clone()
    }

    fn put_into(&self, file: &mut File, config: SubscriptionGroupConfig) -> Arc<SubscriptionGroupConfig> {
        let config = Arc::new(config);
        file.subscription_group_table.insert(config.group_name.clone(), config.clone());
        self.changed(file);
        config
    }

    fn changed(&self, file: &mut File) -> Ticket {
        file.data_version.advance(now_ms());
        self.saver.request()
    }

    /// Writes the file.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn save(&self) -> io::Result<()> {
        self.kept.replace(|| Ok(serde_json::to_vec_pretty(&self.copy())?))
    }
}

/// The time in ms since 1970.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_made_on_first_use_if_allowed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("subscriptionGroup.json");
        let groups = Groups::open(path.clone(), true).unwrap();
        assert!(groups.get("g").is_none());
        assert_eq!(groups.get_or_create("g").unwrap().retry_max_times, 16);
        assert!(groups.get_or_create("../g").is_none());
        assert!(groups.get_or_create("").is_none());
        assert!(groups.get("TOOLS_CONSUMER").is_some());

        groups.save().unwrap();

        let groups = Groups::open(path, false).unwrap();
        assert!(groups.get("g").is_some(), "it was written");
        assert!(groups.get_or_create("other").is_none());
        assert!(groups.get_or_create("CID_RMQ_SYS_x").is_some());
        groups.remove("g");
        groups.remove("g");
        assert!(groups.get("g").is_none());
        assert!(groups.notifies("unknown"));
    }

    #[test]
    fn what_java_keeps_of_a_group_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("subscriptionGroup.json");
        let java = r#"{"dataVersion":{"counter":2,"stateVersion":0,"timestamp":5},"forbiddenTable":{"g":{"t":4}},
            "subscriptionGroupTable":{"g":{"attributes":{},"brokerId":0,"consumeMessageOrderly":true,
            "consumeTimeoutMinute":15,"groupName":"g","groupRetryPolicy":{"type":"CUSTOMIZED"},"retryQueueNums":4}}}"#;
        std::fs::write(&path, java).unwrap();
        let groups = Groups::open(path.clone(), true).unwrap();
        assert_eq!(groups.get("g").unwrap().retry_queue_nums, 4);
        assert!(
            groups.is_forbidden("g", "t") && !groups.is_forbidden("g", "u") && !groups.is_forbidden("h", "t")
        );
        groups.put_all(vec![SubscriptionGroupConfig { group_name: "h".into(), ..Default::default() }]);
        groups.save().unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        for kept in ["forbiddenTable", "consumeMessageOrderly\": true", "CUSTOMIZED", "consumeTimeoutMinute"]
        {
            assert!(text.contains(kept), "{kept} in {text}");
        }
    }
}
