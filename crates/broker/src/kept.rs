// SPDX-License-Identifier: Apache-2.0
//! What is kept under `config/`, looked at before anything is opened or changed: a start that goes on with nothing
//! where there was something is worse than none.
//!
//! | file | missing in a folder that has messages | neither it nor its backup can be read |
//! |---|---|---|
//! | `consumerOffset.json` | refused: every group would begin anew | refused |
//! | `topics.json` | refused: topics would be made anew, with other queues, or not at all | refused |
//! | `subscriptionGroup.json` | groups are made with the default settings when they come | refused |
//! | `delayOffset.json` | from `delay/checkpoint`; else delayed messages are delivered again | refused |
//! | `messageRequestMode.json` | groups pull, as all do | refused |
//! | `consumerFilter.json` | built again as consumers subscribe | the same, and the log says so |
//! | `timercheck` | from `delay/checkpoint`; else timed messages are delivered again | the same |
//! | `delay/checkpoint`, `delay/run-N` | read again from the queues | the same, and the log says so |
//!
//! A broker writes the first two in its first seconds. One that was killed before has them not, and its folder passes, as
//! long as its log is not longer, or written for longer, than that.

use crate::{
    admin::RequestModesFile,
    delay::DelayOffsets,
    groups, offsets,
    persist::{Kept, LoadError, load},
};
use oxmq_remoting::bodies::TopicConfigSerializeWrapper;
use oxmq_store::Folder;
use serde::{Deserialize, de::IgnoredAny};
use std::{collections::BTreeMap, path::Path};

const WITHOUT_TOPICS: &str = "without it topics would be lost or made anew with other queues";
const WITHOUT_OFFSETS: &str = "without it every consumer group would begin anew, at messages that it had, or after messages that it had not";

/// Looks at the files below `root`, which is `storePathRootDir`, without changing anything. `folder`: what the store has
/// to say.
///
/// # Errors
/// A [`LoadError`] for each file that cannot be used.
pub fn check(root: &Path, folder: &Folder) -> Result<(), Vec<LoadError>> {
    let config = root.join("config");
    let mut problems = Vec::new();
    let mut look = |name: &str, found: Result<Option<()>, LoadError>, without: Option<&str>| {
        match found {
        Ok(None) if folder.has_records && folder.settled => problems.extend(without.map(|without| {
            let reason = format!(
                "it is missing and so is its backup, although the store has messages: {without}; copy it, too, or put {{}} \
                 there if that is meant"
            );
            LoadError { path: config.join(name), reason }
        })),
        Ok(_) => {}
        Err(mut error) => {
            if let Some(without) = without {
                error.reason += &format!(": {without}; put a copy there, or {{}} if that is meant");
            }
            problems.push(error);
        }
    }
    };
    fn read<T: Kept>(path: &Path) -> Result<Option<()>, LoadError> {
        Ok(load::<T>(path)?.map(drop))
    }
    let at = |name| config.join(name);
    look("topics.json", read::<TopicConfigSerializeWrapper>(&at("topics.json")), Some(WITHOUT_TOPICS));
    look("consumerOffset.json", read::<offsets::File>(&at("consumerOffset.json")), Some(WITHOUT_OFFSETS));
    look("subscriptionGroup.json", read::<groups::File>(&at("subscriptionGroup.json")), None);
    let modes = read::<RequestModesFile>(&at("messageRequestMode.json"));
    look("messageRequestMode.json", modes, None);
    look("delayOffset.json", read::<DelayOffsets>(&at("delayOffset.json")), None);
    let path = at("topicQueueMapping.json");
    match load::<Mappings>(&path) {
        Ok(Some(Mappings { topic_queue_mapping_info_map: Some(topics) })) if !topics.is_empty() => {
            let names: Vec<_> = topics.keys().take(3).map(|name| &**name).collect();
            let reason = format!(
                "it has static topics ({}), whose queues OxMQ does not map: consumers would go on elsewhere. Delete these \
                 topics with the Java broker, or move the file away",
                names.join(", ")
            );
            problems.push(LoadError { path, reason });
        }
        Ok(_) => {}
        Err(error) => problems.push(error),
    }
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// `config/topicQueueMapping.json`, of a Java broker 5.x.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mappings {
    topic_queue_mapping_info_map: Option<BTreeMap<String, IgnoredAny>>,
}

impl Kept for Mappings {
    // The table is left out if there is none.
    const MEMBER: &str = "dataVersion";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::GOLDEN;
    use oxmq_remoting::fastjson;
    use serde::Serialize;
    use serde_json::Value;
    use std::fs;

    const NEW: Folder = Folder { has_records: false, settled: true };
    const SETTLED: Folder = Folder { has_records: true, settled: true };

    /// A folder with files that hold nothing.
    fn folder() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("config")).unwrap();
        for name in FILES {
            let text = r#"{"dataVersion":{"counter":1},"offsetTable":{},"topicConfigTable":{},"subscriptionGroupTable":{}}"#;
            fs::write(root.path().join("config").join(name), text).unwrap();
        }
        root
    }

    const FILES: [&str; 5] = [
        "topics.json",
        "consumerOffset.json",
        "subscriptionGroup.json",
        "delayOffset.json",
        "topicQueueMapping.json",
    ];

    #[track_caller]
    fn problems(root: &tempfile::TempDir, folder: &Folder) -> Vec<String> {
        let found = check(root.path(), folder).err().unwrap_or_default();
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_there_is_enough() {
        let root = folder();
        assert_eq!(problems(&root, &SETTLED), [""; 0]);
        for name in &FILES[2..] {
            fs::remove_file(root.path().join("config").join(name)).unwrap();
        }
        assert_eq!(problems(&root, &SETTLED), [""; 0]);
    }

    #[test]
    fn nothing_begins_anew_in_silence() {
        let root = folder();
        for name in FILES {
            fs::remove_file(root.path().join("config").join(name)).unwrap();
        }
        let found = problems(&root, &SETTLED);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(
            found[0].contains("topics.json cannot be used: it is missing")
                && found[0].contains("put {} there")
        );
        assert!(found[1].contains("consumerOffset.json cannot be used: it is missing"), "{found:?}");
        // A broker that was killed in its first seconds, and a new folder.
        assert_eq!(problems(&root, &Folder { settled: false, ..SETTLED }), [""; 0]);
        assert_eq!(problems(&root, &NEW), [""; 0]);
        // The way out that the message names.
        for name in &FILES[..2] {
            fs::write(root.path().join("config").join(name), "{}").unwrap();
        }
        assert_eq!(problems(&root, &SETTLED), [""; 0]);
    }

    #[test]
    fn all_that_is_damaged_is_named_at_once_and_left_alone() {
        for damage in ["", "\0\0\0", "{\"dataVersion\":", "[]"] {
            let root = folder();
            for name in FILES {
                fs::write(root.path().join("config").join(name), damage).unwrap();
            }
            // Of no matter what folder: what cannot be read says that there was something.
            let found = problems(&root, &NEW);
            assert_eq!(found.len(), FILES.len(), "{found:?}");
            for (name, problem) in FILES.iter().zip(&found) {
                assert!(problem.contains(&format!("{name} cannot be used: ")), "{problem}");
            }
            // The backups help.
            for name in FILES {
                fs::write(root.path().join("config").join(format!("{name}.bak")), "{}").unwrap();
            }
            assert_eq!(problems(&root, &SETTLED), [""; 0]);
            for name in FILES {
                assert_eq!(fs::read_to_string(root.path().join("config").join(name)).unwrap(), damage);
            }
        }
    }

    #[test]
    fn files_in_each_others_place() {
        let root = folder();
        let of = |name: &str| root.path().join("config").join(name);
        fs::write(of("topics.json"), r#"{"dataVersion":{},"topicConfigTable":{"t":{"topicName":"t"}}}"#)
            .unwrap();
        fs::write(of("consumerOffset.json"), r#"{"dataVersion":{},"offsetTable":{"t@g":{0:5}}}"#).unwrap();
        assert_eq!(problems(&root, &SETTLED), [""; 0]);
        fs::copy(of("topics.json"), of("subscriptionGroup.json")).unwrap();
        fs::copy(of("consumerOffset.json"), of("delayOffset.json")).unwrap();
        fs::copy(of("topics.json"), of("consumerOffset.json")).unwrap();
        let found = problems(&root, &SETTLED);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].contains("it has no \"offsetTable\""), "{found:?}");
    }

    #[test]
    fn static_topics_are_refused() {
        let root = folder();
        let file = root.path().join("config/topicQueueMapping.json");
        fs::write(
            &file,
            r#"{"dataVersion":{},"topicQueueMappingInfoMap":{"s":{"bname":"b","currIdMap":{0:0}}}}"#,
        )
        .unwrap();
        let found = problems(&root, &SETTLED);
        assert!(found.len() == 1 && found[0].contains("static topics (s)"), "{found:?}");
        fs::write(&file, r#"{"dataVersion":{},"topicQueueMappingInfoMap":null}"#).unwrap();
        assert_eq!(problems(&root, &SETTLED), [""; 0]);
    }

    /// What Java wrote is read, and written again with all that was in it.
    #[test]
    fn files_of_java_come_through() {
        fn again<T: Kept + Serialize>(path: &Path) -> Value {
            serde_json::to_value(load::<T>(path).unwrap().unwrap()).unwrap()
        }
        for java in &GOLDEN {
            let root = tempfile::tempdir().unwrap();
            let config = root.path().join("config");
            fs::create_dir(&config).unwrap();
            for (name, text) in java.config {
                fs::write(config.join(name), text).unwrap();
            }
            assert_eq!(problems(&root, &SETTLED), [""; 0]);
            for (name, text) in java.config {
                let path = config.join(name);
                let written = match name {
                    "topics.json" => again::<TopicConfigSerializeWrapper>(&path),
                    "subscriptionGroup.json" => again::<groups::File>(&path),
                    "consumerOffset.json" => again::<offsets::File>(&path),
                    _ => again::<DelayOffsets>(&path),
                };
                let mut read: Value = fastjson::from_slice(text.as_bytes()).unwrap();
                // Java derives it from the other table.
                read.as_object_mut().unwrap().remove("groupTopicMap");
                lost(&format!("{} {name}", java.version), &read, &written);
                if java.version == "5.3.3" {
                    assert_eq!(read, written, "{name}");
                }
            }
        }
    }

    /// Fails if something of `read` is not in `written`, which may have what later versions added.
    fn lost(at: &str, read: &Value, written: &Value) {
        match (read, written) {
            (Value::Object(read), Value::Object(written)) => {
                for (name, value) in read {
                    lost(&format!("{at} {name}"), value, &written[name]);
                }
            }
            _ => assert_eq!(read, written, "{at}"),
        }
    }
}
