// SPDX-License-Identifier: Apache-2.0
//! The JSON files under `config/`: one object each, replaced as a whole, the last content kept as `.bak`.
//!
//! Java: `ConfigManager`, `MixAll#string2File`. A file that is missing or damaged is read from its `.bak`, as Java
//! does; if that is damaged, too, the start fails rather than to go on with nothing. What is missing altogether is
//! looked at by `kept`.

use memchr::memmem;
use oxmq_remoting::fastjson;
use serde::de::DeserializeOwned;
use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use thiserror::Error;
use tokio::sync::watch;
use tracing::{error, warn};

/// A configuration file that cannot be used, nor its backup.
#[derive(Debug, Error)]
#[error("{} cannot be used: {reason}", path.display())]
pub struct LoadError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

/// What one of these files holds.
pub(crate) trait Kept: DeserializeOwned {
    /// The member without which a file is none of this kind. `{}` is one with nothing in it.
    const MEMBER: &str;
}

/// Reads `path` or, if it is missing or damaged, its backup; `None` if there is neither.
///
/// # Errors
/// If there is something that cannot be read: a damaged file without a backup, or one that only permissions keep from
/// being read, whose backup would be older.
pub(crate) fn load<T: Kept>(path: &Path) -> Result<Option<T>, LoadError> {
    Ok(load_either(path)?.0)
}

/// The same, and true if the file is damaged, so that its backup is all there is.
fn load_either<T: Kept>(path: &Path) -> Result<(Option<T>, bool), LoadError> {
    let backup = beside(path, ".bak");
    let failed = |path: &Path, reason: String| LoadError { path: path.to_owned(), reason };
    let reason = match read(path) {
        Ok(value) => return Ok((Some(value), false)),
        Err(Unread::System(error)) => return Err(failed(path, error.to_string())),
        Err(Unread::Missing) => None,
        Err(Unread::Damaged(reason)) => Some(reason),
    };
    match (read(&backup), reason) {
        (Ok(value), reason) => {
            let damaged = reason.is_some();
            let reason = reason.unwrap_or_else(|| "it is missing".to_owned());
            warn!(file = %path.display(), reason, "its backup is used, which is what was written before it");
            Ok((Some(value), damaged))
        }
        (Err(Unread::Missing), None) => Ok((None, false)),
        (Err(Unread::Missing), Some(reason)) => Err(failed(path, format!("{reason}; it has no backup"))),
        (Err(unread), None) => {
            Err(failed(&backup, format!("{unread}; the file that it is the backup of is missing")))
        }
        (Err(unread), Some(reason)) => Err(failed(path, format!("{reason}; its backup neither: {unread}"))),
    }
}

/// Why a file gave nothing.
#[derive(Debug, Error)]
enum Unread {
    #[error("missing")]
    Missing,
    #[error("{0}")]
    System(io::Error),
    #[error("{0}")]
    Damaged(String),
}

fn read<T: Kept>(path: &Path) -> Result<T, Unread> {
    match fs::read(path) {
        // What a power failure leaves of a file that was just written.
        Ok(text) if text.iter().all(|&byte| byte == 0 || byte.is_ascii_whitespace()) => {
            Err(Unread::Damaged("it is empty".to_owned()))
        }
        Ok(text) => parse(&text).map_err(Unread::Damaged),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Unread::Missing),
        Err(error) => Err(Unread::System(error)),
    }
}

fn parse<T: Kept>(text: &[u8]) -> Result<T, String> {
    let value = fastjson::from_slice(text).map_err(|error| error.to_string())?;
    let text = text.trim_ascii();
    let inside = text.strip_prefix(b"{").and_then(|text| text.strip_suffix(b"}")).map(<[u8]>::trim_ascii);
    let member = format!("\"{}\"", T::MEMBER);
    // One of another kind, in which all that is looked for is missing, must not pass for an empty one.
    match inside {
        Some(b"") => Ok(value),
        Some(inside) if memmem::find(inside, member.as_bytes()).is_some() => Ok(value),
        _ => Err(format!("it has no {member}, so it is another file")),
    }
}

/// Has one writer at a time, so that what is newer is written later.
#[derive(Debug)]
pub(crate) struct ConfigFile {
    path: PathBuf,
    writing: Mutex<Writing>,
}

#[derive(Debug, Default)]
struct Writing {
    /// The file is damaged, and must not take the place of its backup.
    damaged: bool,
}

impl ConfigFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, writing: Mutex::default() }
    }

    fn writing(&self) -> MutexGuard<'_, Writing> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads it as [`load`] does.
    pub(crate) fn load<T: Kept>(&self) -> Result<Option<T>, LoadError> {
        let (value, damaged) = load_either(&self.path)?;
        self.writing().damaged = damaged;
        Ok(value)
    }

    /// Replaces the content by what `text` gives then; what it had becomes its backup. A crash at any point leaves
    /// one of the two whole.
    pub(crate) fn replace(&self, text: impl FnOnce() -> io::Result<Vec<u8>>) -> io::Result<()> {
        self.replace_if(|| text().map(Some))
    }

    /// The same, unless there is no `text`, which is asked for when nobody else writes any more.
    pub(crate) fn replace_if(&self, text: impl FnOnce() -> io::Result<Option<Vec<u8>>>) -> io::Result<()> {
        let mut writing = self.writing();
        let Some(text) = text()? else { return Ok(()) };
        replace(&self.path, &text, writing.damaged)?;
        writing.damaged = false;
        Ok(())
    }
}

fn replace(path: &Path, text: &[u8], damaged: bool) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let new = beside(path, ".tmp");
    let mut file = File::create(&new)?;
    file.write_all(text)?;
    file.sync_data()?;
    if !damaged {
        match fs::rename(path, beside(path, ".bak")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
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

    impl Kept for Numbers {
        const MEMBER: &str = "a";
    }

    #[test]
    fn keeps_the_last_content_as_backup_and_falls_back_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config").join("numbers.json");
        let numbers = |value| Numbers::from([("a".into(), value)]);
        let file = ConfigFile::new(path.clone());
        let save = |value| file.replace(|| Ok(serde_json::to_vec(&numbers(value)).unwrap())).unwrap();
        assert!(load::<Numbers>(&path).unwrap().is_none());
        save(1);
        save(2);
        assert_eq!(load(&path).unwrap(), Some(numbers(2)));
        let backup = beside(&path, ".bak");
        for damage in ["", "\0\0\0\0", "{\"a\":", "[1,2]", "{\"a\":\"x\"}", "{\"b\":1}", "[]", "\u{fffd}{}"] {
            fs::write(&path, damage).unwrap();
            assert_eq!(load(&path).unwrap(), Some(numbers(1)), "{damage:?}");
        }
        // What is damaged does not take the place of the backup.
        assert_eq!(file.load().unwrap(), Some(numbers(1)));
        save(3);
        assert_eq!(read::<Numbers>(&backup).unwrap(), numbers(1));
        save(4);
        assert_eq!(read::<Numbers>(&backup).unwrap(), numbers(3));
        let refused = |words: &[&str]| {
            let error = load::<Numbers>(&path).unwrap_err().to_string();
            assert!(words.iter().all(|word| error.contains(word)), "{words:?} in {error}");
        };
        fs::write(&path, "").unwrap();
        fs::write(&backup, "{").unwrap();
        refused(&["numbers.json cannot be used: it is empty; its backup neither: EOF"]);
        fs::remove_file(&backup).unwrap();
        refused(&["numbers.json cannot be used: it is empty; it has no backup"]);
        fs::remove_file(&path).unwrap();
        assert!(load::<Numbers>(&path).unwrap().is_none());
        fs::write(&backup, "{").unwrap();
        refused(&["numbers.json.bak cannot be used: EOF"]);
        fs::write(&backup, "{\"a\":7}").unwrap();
        assert_eq!(load(&path).unwrap(), Some(numbers(7)), "only the backup is there");
        // An older one is no answer to a file that somebody only has to be allowed to read.
        fs::create_dir(&path).unwrap();
        refused(&["numbers.json cannot be used: Is a directory"]);
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
