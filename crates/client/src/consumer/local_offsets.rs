// SPDX-License-Identifier: Apache-2.0
//! Offsets of a broadcasting consumer, in a file of its own machine.
//!
//! `FOLDER/CLIENT_ID/GROUP/offsets.json`, with the file of before as `offsets.json.bak`. A table whose keys are
//! structures, as Java's fastjson writes it, so that a Java consumer with the same client id goes on from it:
//!
//! ```text
//! {
//! <tab>"offsetTable":{{
//! <tab><tab><tab>"brokerName":"broker-a",
//! <tab><tab><tab>"queueId":0,
//! <tab><tab><tab>"topic":"TopicTest"
//! <tab><tab>}:12,{
//! ...
//! ```
//! Java: `LocalFileOffsetStore`, `OffsetSerializeWrapper`. Bytes: `tests/golden/offsets.json`.

use crate::MessageQueue;
use oxmq_remoting::{
    bodies::{self, QueueTable},
    fastjson,
};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};
use thiserror::Error;

/// Largest file that is read: a million queues fit.
const FILE_MAX: u64 = 256 << 20;

/// Why offsets cannot be kept or read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LocalOffsetsError {
    /// Neither the file nor the one of before can be read.
    #[error("{path} holds no offsets: {reason}; repair it, or remove it to begin anew")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The file system said no.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
}

/// The file of one group.
#[derive(Debug)]
pub(crate) struct LocalOffsets {
    path: PathBuf,
    offsets: BTreeMap<MessageQueue, i64>,
}

impl LocalOffsets {
    /// Reads the file of `group` under `folder`; there may be none yet.
    pub(crate) fn open(folder: &Path, client_id: &str, group: &str) -> Result<Self, LocalOffsetsError> {
        let path = folder.join(client_id).join(group).join("offsets.json");
        let offsets = match read(&path) {
            Ok(Some(offsets)) => offsets,
            Ok(None) => read(&backup(&path)).map_err(|reason| damaged(&path, reason))?.unwrap_or_default(),
            Err(reason) => {
                let before = read(&backup(&path)).ok().flatten();
                before.ok_or_else(|| damaged(&path, reason))?
            }
        };
        Ok(Self { path, offsets })
    }

    /// The offset of a queue, if it has one.
    pub(crate) fn get(&self, queue: &MessageQueue) -> Option<i64> {
        self.offsets.get(queue).copied()
    }

    /// Takes in offsets and replaces the file as a whole, if one is new. Blocking.
    pub(crate) fn save(
        &mut self,
        offsets: impl IntoIterator<Item = (MessageQueue, i64)>,
    ) -> Result<(), LocalOffsetsError> {
        let mut changed = false;
        for (queue, offset) in offsets {
            changed |= self.offsets.insert(queue, offset) != Some(offset);
        }
        if !changed {
            return Ok(());
        }
        let text = write(&self.offsets);
        let replace = || {
            fs::create_dir_all(self.path.parent().unwrap_or(Path::new(".")))?;
            let new = self.path.with_extension("json.tmp");
            let mut file = fs::File::create(&new)?;
            io::Write::write_all(&mut file, text.as_bytes())?;
            file.sync_all()?;
            match fs::rename(&self.path, backup(&self.path)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            fs::rename(&new, &self.path)
        };
        replace().map_err(|error| LocalOffsetsError::Io { path: self.path.clone(), error })
    }
}

fn backup(path: &Path) -> PathBuf {
    path.with_extension("json.bak")
}

fn damaged(path: &Path, reason: String) -> LocalOffsetsError {
    LocalOffsetsError::Damaged { path: path.to_owned(), reason }
}

/// `None` if there is no file, or an empty one.
fn read(path: &Path) -> Result<Option<BTreeMap<MessageQueue, i64>>, String> {
    let size = match fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    if size > FILE_MAX {
        return Err(format!("{size} bytes are too many"));
    }
    let text = fs::read(path).map_err(|error| error.to_string())?;
    if text.trim_ascii().is_empty() {
        return Ok(None);
    }
    parse_table(&text).map(Some)
}

/// Reads the member `offsetTable` of an object, a table of offsets by queue. Absent or `null`, it is empty.
pub(crate) fn parse_table(text: &[u8]) -> Result<BTreeMap<MessageQueue, i64>, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Body {
        #[serde(default)]
        offset_table: QueueTable<i64>,
    }
    let text = on_one_line(text.trim_ascii());
    if !text.starts_with(b"{") {
        return Err("it is no JSON object".to_owned());
    }
    let body: Body = fastjson::from_slice(&text).map_err(|error| error.to_string())?;
    let entry = |(queue, offset): (bodies::MessageQueue, i64)| {
        (MessageQueue::new(queue.topic, queue.broker_name, queue.queue_id), offset)
    };
    Ok(body.offset_table.0.into_iter().map(entry).collect())
}

/// The same JSON, on one line: Java writes queues that are keys over several lines, which no parser of such keys expects.
fn on_one_line(text: &[u8]) -> Vec<u8> {
    // In a text there are none: JSON escapes them.
    text.iter().map(|byte| if byte.is_ascii_control() { b' ' } else { *byte }).collect()
}

/// The text that Java writes.
fn write(offsets: &BTreeMap<MessageQueue, i64>) -> String {
    let text = |text: &str| serde_json::Value::from(text).to_string();
    let entry = |(queue, offset): (&MessageQueue, &i64)| {
        let (broker, topic) = (text(&queue.broker_name), text(&queue.topic));
        let id = queue.queue_id;
        format!(
            "{{\n\t\t\t\"brokerName\":{broker},\n\t\t\t\"queueId\":{id},\n\t\t\t\"topic\":{topic}\n\t\t}}:{offset}"
        )
    };
    let entries: Vec<_> = offsets.iter().map(entry).collect();
    match entries.as_slice() {
        [] => "{\n\t\"offsetTable\":{}\n}".to_owned(),
        entries => format!("{{\n\t\"offsetTable\":{{{}\n\t}}\n}}", entries.join(",")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: &str = include_str!("../../tests/golden/offsets.json");

    #[test]
    fn reads_and_writes_what_java_writes() {
        let offsets = parse_table(GOLDEN.as_bytes()).unwrap();
        let expected = [
            (MessageQueue::new("TopicTest", "broker-a", 0), 12),
            (MessageQueue::new("TopicTest", "broker-a", 1), 0),
            (MessageQueue::new("quote\"\\é中", "broker-b", 7), 9_007_199_254_740_993),
        ];
        assert_eq!(offsets, BTreeMap::from(expected));
        // Java's order is that of its hash table: the lines are the same, in another order.
        let lines = |text: &str| {
            let mut lines: Vec<_> = text.split_inclusive('\n').map(str::to_owned).collect();
            lines.sort();
            lines.concat().replace(",\n", "\n")
        };
        let ours = write(&offsets);
        assert_eq!(ours.len(), GOLDEN.len());
        let values = |text: &str| lines(&text.replace("}:", "}:\n").replace(",{", ",\n{"));
        assert_eq!(values(&ours), values(GOLDEN));
        assert_eq!(parse_table(ours.as_bytes()).unwrap(), offsets);
    }

    #[test]
    fn text_that_is_no_table_is_refused() {
        for (text, fine) in [
            ("{}", true),
            (r#"{"offsetTable":null}"#, true),
            (r#"{"offsetTable":{}}"#, true),
            ("", false),
            ("[]", false),
            (r#"{"offsetTable":{"a":1}}"#, false),
            (r#"{"offsetTable":{{"topic":"t","brokerName":"b","queueId":0}}}"#, false),
            (r#"{"offsetTable":{{"topic":"t","brokerName":"b","queueId":0}:x}}"#, false),
            (r#"{"offsetTable":{{"topic":"t","brokerName":"b","queueId":0}:1"#, false),
            (r#"{"offsetTable":{{"topic":"t","brokerName":"b","queueId":0}:1 2}}"#, false),
            (r#"{"offsetTable":{{"topic":1}:1}}"#, false),
        ] {
            assert_eq!(parse_table(text.as_bytes()).is_ok(), fine, "{text}");
        }
    }

    #[test]
    fn offsets_survive_and_a_torn_file_is_replaced_by_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let queue = MessageQueue::new("t", "b", 1);
        let open = || LocalOffsets::open(folder.path(), "10.0.0.1@1", "g");
        let mut offsets = open().unwrap();
        assert_eq!(offsets.get(&queue), None);
        offsets.save([(queue.clone(), 3)]).unwrap();
        offsets.save([(queue.clone(), 4)]).unwrap();
        assert_eq!(open().unwrap().get(&queue), Some(4));
        let path = folder.path().join("10.0.0.1@1/g/offsets.json");
        fs::write(&path, &fs::read(&path).unwrap()[..30]).unwrap();
        assert_eq!(open().unwrap().get(&queue), Some(3), "the file of before");
        fs::write(backup(&path), "{").unwrap();
        assert!(matches!(open(), Err(LocalOffsetsError::Damaged { .. })), "never begins anew by itself");
    }
}
