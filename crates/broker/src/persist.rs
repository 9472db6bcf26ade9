// SPDX-License-Identifier: Apache-2.0
//! The JSON files under `config/`: one object each, replaced as a whole, the last content kept as `.bak`.
//!
//! Java: `ConfigManager`, `MixAll#string2File`. A file that is missing or damaged is read from its `.bak`, as Java
//! does; if that is damaged, too, the start fails rather than to go on with nothing.

use oxmq_remoting::fastjson;
use serde::de::DeserializeOwned;
use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};
use thiserror::Error;
use tokio::sync::watch;
use tracing::{error, warn};

/// A configuration file that cannot be read, nor its backup.
#[derive(Debug, Error)]
#[error("{} cannot be read: {reason}", path.display())]
pub struct LoadError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

/// Reads `path`, or its backup; `None` if there is neither, or nothing in them.
pub(crate) fn load<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, LoadError> {
    let backup = beside(path, ".bak");
    match read(path) {
        Ok(Some(value)) => Ok(Some(value)),
        Ok(None) => read(&backup).map_err(|reason| LoadError { path: backup, reason }),
        Err(reason) => {
            let value = read(&backup).ok().flatten();
            if value.is_some() {
                warn!(file = %path.display(), reason, "damaged, its backup is used");
            }
            value.map(Some).ok_or_else(|| LoadError { path: path.to_owned(), reason })
        }
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, String> {
    match fs::read(path) {
        Ok(text) if text.trim_ascii().is_empty() => Ok(None),
        Ok(text) => fastjson::from_slice(&text).map(Some).map_err(|error| error.to_string()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

/// Has one writer at a time, so that what is newer is written later.
#[derive(Debug)]
pub(crate) struct ConfigFile {
    path: PathBuf,
    writing: Mutex<()>,
}

impl ConfigFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, writing: Mutex::default() }
    }

    /// Replaces the content by what `text` gives then; what it had becomes its backup. A crash at any point leaves
    /// one of the two whole.
    pub(crate) fn replace(&self, text: impl FnOnce() -> io::Result<Vec<u8>>) -> io::Result<()> {
        self.replace_if(|| text().map(Some))
    }

    /// The same, unless there is no `text`, which is asked for when nobody else writes any more.
    pub(crate) fn replace_if(&self, text: impl FnOnce() -> io::Result<Option<Vec<u8>>>) -> io::Result<()> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        text()?.map_or(Ok(()), |text| replace(&self.path, &text))
    }
}

fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let new = beside(path, ".tmp");
    let mut file = File::create(&new)?;
    file.write_all(text)?;
    file.sync_data()?;
    match fs::rename(path, beside(path, ".bak")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::rename(&new, path)
}

/// Writes one file in the background, so that no connection waits for the disk; those who must know that a change
/// is on disk wait for their [`Ticket`]. Changes that come while the file is written share the next write.
#[derive(Debug, Clone, Default)]
pub(crate) struct Saver {
    requested: watch::Sender<u64>,
    saved: watch::Sender<u64>,
}

/// A change that is to be written.
#[derive(Debug)]
pub(crate) struct Ticket {
    number: u64,
    saved: watch::Receiver<u64>,
}

impl Ticket {
    /// Waits until the change is on disk. False if that takes too long: the disk is in trouble, which is logged
    /// where it is written.
    pub(crate) async fn saved(mut self) -> bool {
        let saved = self.saved.wait_for(|saved| *saved >= self.number);
        matches!(tokio::time::timeout(SAVE_TIMEOUT, saved).await, Ok(Ok(_)))
    }
}

const SAVE_TIMEOUT: Duration = Duration::from_secs(3);
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl Saver {
    /// Has the file written soon.
    pub(crate) fn request(&self) -> Ticket {
        let mut number = 0;
        self.requested.send_modify(|last| {
            *last += 1;
            number = *last;
        });
        Ticket { number, saved: self.saved.subscribe() }
    }

    /// Calls `save` on a thread of its own after each request, until the program ends.
    pub(crate) async fn run(
        self,
        name: &'static str,
        save: impl Fn() -> io::Result<()> + Clone + Send + 'static,
    ) {
        let mut requested = self.requested.subscribe();
        let mut number = 0;
        // Requests may have come before this task ran first. The channel cannot close: this task holds its sender.
        while let Ok(last) = requested.wait_for(|last| *last != number).await.map(|last| *last) {
            number = last;
            loop {
                let save = save.clone();
                match tokio::task::spawn_blocking(save).await {
                    Ok(Ok(())) => break,
                    Ok(Err(error)) => error!(file = name, %error, "could not be written, tried again in 1 s"),
                    Err(error) => error!(file = name, %error, "writing it failed, tried again in 1 s"),
                }
                tokio::time::sleep(RETRY_AFTER).await;
            }
            self.saved.send_replace(number);
        }
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    type Numbers = BTreeMap<String, u32>;

    #[test]
    fn keeps_the_last_content_as_backup_and_falls_back_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config").join("numbers.json");
        let numbers = |value| Numbers::from([("a".into(), value)]);
        let save = |path: &Path, value: &Numbers| replace(path, &serde_json::to_vec(value).unwrap());
        assert!(load::<Numbers>(&path).unwrap().is_none());
        save(&path, &numbers(1)).unwrap();
        save(&path, &numbers(2)).unwrap();
        assert_eq!(load(&path).unwrap(), Some(numbers(2)));
        for damage in ["", "{\"a\":", "[1,2]"] {
            fs::write(&path, damage).unwrap();
            assert_eq!(load(&path).unwrap(), Some(numbers(1)), "{damage:?}");
        }
        fs::write(beside(&path, ".bak"), "{").unwrap();
        let error = load::<Numbers>(&path).unwrap_err();
        assert!(error.to_string().contains("numbers.json cannot be read"), "{error}");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn waits_for_the_write_that_follows_the_request() {
        let saver = Saver::default();
        let fails = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(1));
        let left = fails.clone();
        let save = move || match left.fetch_sub(1, std::sync::atomic::Ordering::SeqCst) {
            1 => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        };
        // The task runs first when the request has come.
        tokio::spawn(saver.clone().run("numbers.json", save));
        assert!(saver.request().saved().await, "the second try succeeds");
        assert!(fails.load(std::sync::atomic::Ordering::SeqCst) > 1, "two writes were tried");
    }
}
