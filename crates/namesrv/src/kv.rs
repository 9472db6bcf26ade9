// SPDX-License-Identifier: Apache-2.0
//! Key-value configuration: namespaces of keys and values that tools set, kept in one JSON file.
//!
//! File: `{"configTable":{"NAMESPACE":{"KEY":"VALUE"}}}`, by default `~/namesrv/kvConfig.json`; `.bak` beside it
//! holds what was there before the last change.
//!
//! Invariants
//! - What is answered as done is on disk: the file is replaced first, the table that others see after it.
//! - A crash leaves the old file or the new one.
//!
//! Locks: `writing`, which is held while the file is written, then `table` for a moment.
//!
//! Java: `KVConfigManager`, `KVConfigSerializeWrapper`; there a failure to write is only logged.

use crate::names::{IllegalName, check_name, check_topic};
use oxmq_remoting::{bodies::KVTable, fastjson};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
};
use thiserror::Error;

/// The namespace in which the queues of ordered topics stand by topic. Java: `NamesrvUtil`.
pub(crate) const ORDER_TOPIC_NAMESPACE: &str = "ORDER_TOPIC_CONFIG";
/// Most keys in all namespaces.
pub const KV_ENTRIES_MAX: usize = 100_000;
/// Longest value, in bytes.
const VALUE_MAX_BYTES: usize = 64 * 1024;

type Table = BTreeMap<String, BTreeMap<String, String>>;

/// Why a key-value configuration cannot be read or changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KvError {
    /// The file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("{path} is damaged: {source}; {path}.bak may hold what was there before the last change")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A namespace or key that cannot be.
    #[error(transparent)]
    Name(#[from] IllegalName),
    /// A value that is too long.
    #[error("the value has {0} bytes, at most {VALUE_MAX_BYTES} are allowed")]
    ValueTooLong(usize),
    /// There are [`KV_ENTRIES_MAX`] keys.
    #[error("there are {KV_ENTRIES_MAX} keys already")]
    TooManyKeys,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Stored {
    config_table: Option<Table>,
}

#[derive(Debug)]
pub(crate) struct KvConfigs {
    path: PathBuf,
    writing: Mutex<()>,
    table: RwLock<Arc<Table>>,
}

impl KvConfigs {
    /// Reads the file. One that is not there holds nothing, as does an empty one, which Java leaves after a crash.
    pub(crate) fn load(path: PathBuf) -> Result<Self, KvError> {
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(KvError::File { path, source }),
        };
        let stored = if bytes.trim_ascii().is_empty() {
            Stored::default()
        } else {
            let damaged = |source| KvError::Damaged { path: path.display().to_string(), source };
            fastjson::from_slice(&bytes).map_err(damaged)?
        };
        let table = RwLock::new(Arc::new(stored.config_table.unwrap_or_default()));
        Ok(Self { path, writing: Mutex::default(), table })
    }

    /// Sets a key. Blocks until it is on disk.
    pub(crate) fn put(&self, namespace: &str, key: &str, value: String) -> Result<(), KvError> {
        check_name(namespace, "namespace")?;
        // Keys are topics in the namespace of ordered topics.
        check_topic(key)?;
        if value.len() > VALUE_MAX_BYTES {
            return Err(KvError::ValueTooLong(value.len()));
        }
        self.change(|table| {
            let old = table.entry(namespace.to_owned()).or_default().insert(key.to_owned(), value);
            if old.is_none() && table.values().map(BTreeMap::len).sum::<usize>() > KV_ENTRIES_MAX {
                return Err(KvError::TooManyKeys);
            }
            Ok(true)
        })
    }

    /// Removes a key, if it is there. Its namespace stays, as in Java. Blocks until it is on disk.
    pub(crate) fn delete(&self, namespace: &str, key: &str) -> Result<(), KvError> {
        self.change(|table| Ok(table.get_mut(namespace).is_some_and(|keys| keys.remove(key).is_some())))
    }

    /// Lets `apply` change a copy of the table; if it did, and the file takes it, the copy becomes the table.
    fn change(&self, apply: impl FnOnce(&mut Table) -> Result<bool, KvError>) -> Result<(), KvError> {
        let _one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut table = Table::clone(&self.current());
        if apply(&mut table)? {
            let stored = Stored { config_table: Some(table) };
            let bytes = serde_json::to_vec(&stored).unwrap_or_default();
            replace(&self.path, &bytes)
                .map_err(|source| KvError::File { path: self.path.clone(), source })?;
            let table = Arc::new(stored.config_table.unwrap_or_default());
            *self.table.write().unwrap_or_else(PoisonError::into_inner) = table;
        }
        Ok(())
    }

    fn current(&self) -> Arc<Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn get(&self, namespace: &str, key: &str) -> Option<String> {
        self.current().get(namespace)?.get(key).cloned()
    }

    /// All keys of a namespace, `None` if it was never written to.
    pub(crate) fn namespace(&self, namespace: &str) -> Option<KVTable> {
        self.current().get(namespace).map(|keys| KVTable { table: keys.clone() })
    }
}

/// Puts `bytes` in place of the file, whose old content goes to `.bak`.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        fs::create_dir_all(parent)?;
    }
    let new = beside(".tmp");
    let mut file = File::create(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    if path.exists() {
        fs::copy(path, beside(".bak"))?;
    }
    fs::rename(&new, path)?;
    // The rename itself has to be on disk, too.
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of its own for each test, gone with it.
    struct Folder(PathBuf);

    impl Folder {
        fn new(test: &str) -> Self {
            let path = std::env::temp_dir().join(format!("oxmq-kv-{test}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn file(&self) -> PathBuf {
            self.0.join("namesrv/kvConfig.json")
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn survives_a_restart() {
        let folder = Folder::new("restart");
        let kv = KvConfigs::load(folder.file()).unwrap();
        assert_eq!(kv.namespace("N"), None);
        kv.put("N", "k", "1".into()).unwrap();
        kv.put("N", "k", "v中\n".into()).unwrap();
        kv.put(ORDER_TOPIC_NAMESPACE, "T", "broker-a:4".into()).unwrap();
        let kv = KvConfigs::load(folder.file()).unwrap();
        assert_eq!(kv.get("N", "k").unwrap(), "v中\n");
        let text = fs::read_to_string(folder.file()).unwrap();
        assert_eq!(text, r#"{"configTable":{"N":{"k":"v中\n"},"ORDER_TOPIC_CONFIG":{"T":"broker-a:4"}}}"#);
        let before = fs::read_to_string(folder.0.join("namesrv/kvConfig.json.bak")).unwrap();
        assert_eq!(before, r#"{"configTable":{"N":{"k":"v中\n"}}}"#);
        kv.delete("N", "k").unwrap();
        kv.delete("N", "k").unwrap();
        kv.delete("nowhere", "k").unwrap();
        let kv = KvConfigs::load(folder.file()).unwrap();
        assert_eq!(
            (kv.get("N", "k"), kv.namespace("N"), kv.namespace("nowhere")),
            (None, Some(KVTable::default()), None)
        );
    }

    #[test]
    fn reads_what_java_wrote_and_refuses_what_is_damaged() {
        let folder = Folder::new("damaged");
        fs::create_dir_all(folder.file().parent().unwrap()).unwrap();
        for (text, expected) in [
            (r#"{"configTable":{"":{"":""},"ORDER_TOPIC_CONFIG":{},"N":{"k":"v"}}}"#, Some("v")),
            ("{}", None),
            (r#"{"configTable":null}"#, None),
            ("", None),
        ] {
            fs::write(folder.file(), text).unwrap();
            let kv = KvConfigs::load(folder.file()).unwrap();
            assert_eq!(kv.get("N", "k").as_deref(), expected, "{text}");
        }
        for text in
            [r#"{"configTable":{"N":{"k":"#, r#"{"configTable":[]}"#, r#"{"configTable":{"N":3}}"#, "\0\0\0"]
        {
            fs::write(folder.file(), text).unwrap();
            let error = KvConfigs::load(folder.file()).unwrap_err().to_string();
            assert!(error.contains("kvConfig.json is damaged"), "{error}");
        }
    }

    #[test]
    fn what_cannot_be_written_has_not_happened() {
        let folder = Folder::new("unwritable");
        fs::write(folder.0.join("namesrv"), "a file where the folder has to be").unwrap();
        let kv = KvConfigs { path: folder.file(), writing: Mutex::default(), table: RwLock::default() };
        assert!(matches!(kv.put("N", "k", "v".into()), Err(KvError::File { .. })));
        assert_eq!(kv.get("N", "k"), None);
    }

    #[test]
    fn refuses_bad_names_and_sizes() {
        let folder = Folder::new("names");
        let kv = KvConfigs::load(folder.file()).unwrap();
        for (namespace, key) in [("", "k"), ("N", ""), ("../N", "k"), ("N", "a b"), (&"n".repeat(256), "k")] {
            assert!(matches!(kv.put(namespace, key, "v".into()), Err(KvError::Name(_))), "{namespace} {key}");
        }
        assert!(matches!(kv.put("N", "k", "v".repeat(65_537)), Err(KvError::ValueTooLong(65_537))));
        assert!(!folder.file().exists());
        let full = (0..KV_ENTRIES_MAX).map(|n| (n.to_string(), String::new())).collect();
        *kv.table.write().unwrap() = Arc::new([("N".to_owned(), full)].into());
        assert!(matches!(kv.put("N", "one more", "v".into()), Err(KvError::Name(_))));
        assert!(matches!(kv.put("M", "more", "v".into()), Err(KvError::TooManyKeys)));
    }
}
