// SPDX-License-Identifier: Apache-2.0
//! `oxmq store check`.

use std::{collections::HashSet, fs, io, path::Path};

use oxmq_record::RecordView;
use oxmq_remoting::fastjson;
use oxmq_store::{
    inspect::{self, Checked, Finding, Folder, InspectError, Part, Severity, Watch, What},
    tags_of,
};
use oxmq_types::{SCHEDULE_TOPIC, TagsCode};
use serde_json::{Value, json};

use super::{
    EXIT_PROBLEMS, Opened, Target, not_examined, open,
    progress::Progress,
    short, state, state_word,
    table::{bytes, count, grouped},
};
use crate::terminal::{Failure, say};

pub(super) fn run(target: &Target, json: bool) -> Result<(), Failure> {
    let Opened { folder, .. } = open(target)?;
    let mut report = Report::new(&folder, json);
    let checked = examine(&folder, &mut report).map_err(not_examined)?;
    report.end(&folder, &checked);
    let problems = report.damage + report.derived;
    if problems == 0 {
        return Ok(());
    }
    Err(Failure::new(EXIT_PROBLEMS, format!("{}: {}", target.root.display(), count(problems, "problem"))))
}

/// Examines all that the store examines, and what only a broker reads.
pub(super) fn examine(folder: &Folder, watch: &mut dyn Watch) -> Result<Checked, InspectError> {
    let topics = topics(folder.root());
    configuration(folder.root(), watch);
    let exists = |topic: &str| topics.as_ref().is_none_or(|topics| topics.contains(topic));
    inspect::check(folder, &exists, &expected_tags, watch)
}

/// The code of a delayed message's unit is a time, which depends on the levels that were configured when it came.
fn expected_tags(record: &RecordView<'_>) -> Option<TagsCode> {
    (record.topic() != SCHEDULE_TOPIC).then(|| tags_of(record))
}

/// The topics that the broker has. `None` if that cannot be told.
fn topics(root: &Path) -> Option<HashSet<String>> {
    let text = fs::read(root.join("config").join("topics.json")).ok()?;
    let all: Value = fastjson::from_slice(&text).ok()?;
    Some(all.get("topicConfigTable")?.as_object()?.keys().cloned().collect())
}

/// Looks whether the files under `config` can be read.
fn configuration(root: &Path, watch: &mut dyn Watch) {
    let dir = root.join("config");
    let mut finding = |path, reason| {
        watch.finding(Finding { part: Part::Rest, path, offset: None, what: What::Unreadable { reason } });
    };
    let listed = match fs::read_dir(&dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => return finding(dir, error.to_string()),
        Ok(listed) => listed,
    };
    let mut paths: Vec<_> = listed.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort_unstable();
    for path in paths {
        if let Err(reason) = parse(&path) {
            let backup = path.with_extension("json.bak");
            let and = if parse(&backup).is_ok() { "is whole" } else { "cannot be read either" };
            finding(path, format!("{reason}; its backup {and}"));
        }
    }
}

fn parse(path: &Path) -> Result<(), String> {
    let text = fs::read(path).map_err(|error| error.to_string())?;
    if text.trim_ascii().is_empty() {
        return Err("it is empty".to_owned());
    }
    fastjson::from_slice::<Value>(&text).map(drop).map_err(|error| format!("no JSON: {error}"))
}

/// Prints what is found as it is found, and counts.
pub(super) struct Report<'a> {
    folder: &'a Folder,
    json: bool,
    progress: Option<Progress>,
    pub(super) damage: u64,
    pub(super) derived: u64,
    notes: u64,
}

impl<'a> Report<'a> {
    pub(super) fn new(folder: &'a Folder, json: bool) -> Self {
        if json {
            print_json("{\"findings\":[");
        } else {
            say(&format!("{}: {}", folder.root().display(), state(folder)));
        }
        Self { folder, json, progress: Some(Progress::new("checking")), damage: 0, derived: 0, notes: 0 }
    }

    pub(super) fn end(&mut self, folder: &Folder, checked: &Checked) {
        if let Some(progress) = self.progress.take() {
            progress.end();
        }
        if self.json {
            let summary = json!({
                "root": folder.root().to_string_lossy(),
                "state": state_word(folder),
                "logMin": checked.log_min,
                "logEnd": checked.log_end,
                "segments": checked.segments,
                "segmentBytes": folder.segment_size_bytes(),
                "records": checked.records,
                "recordBytes": checked.record_bytes,
                "queues": checked.queues,
                "units": checked.units,
                "indexFiles": checked.index_files,
                "indexEntries": checked.index_entries,
                "damage": self.damage,
                "derived": self.derived,
                "notes": self.notes,
            });
            say(&format!("],\"summary\":{summary}}}"));
            return;
        }
        say(&format!(
            "commit log {} to {}: {} of {}, {}, {}",
            checked.log_min,
            checked.log_end,
            count(checked.segments as u64, "file"),
            bytes(folder.segment_size_bytes()),
            count(checked.records, "record"),
            bytes(checked.record_bytes)
        ));
        let units = count(checked.units, "unit");
        say(&format!("{}: {units} right", count(checked.queues as u64, "queue")));
        let entries = grouped(checked.index_entries);
        say(&format!(
            "{}: {entries} of their entries right",
            count(checked.index_files as u64, "index file")
        ));
        let derived = format!(
            "{} of derived files, which can be built again: oxmq store repair",
            count(self.derived, "problem")
        );
        let damage = format!("{} of the commit log or configuration", count(self.damage, "problem"));
        let verdict = match (self.damage, self.derived) {
            (0, 0) => "all is well".to_owned(),
            (0, _) => derived,
            (_, 0) => damage,
            _ => format!("{damage}, {derived}"),
        };
        say(&match self.notes {
            0 => verdict,
            notes => format!("{verdict}; {}", count(notes, "note")),
        });
    }
}

impl Watch for Report<'_> {
    fn finding(&mut self, finding: Finding) {
        let (count, name) = match finding.severity() {
            Severity::Damage => (&mut self.damage, "damage"),
            Severity::Derived => (&mut self.derived, "derived"),
            Severity::Note => (&mut self.notes, "note"),
        };
        *count += 1;
        let first = self.damage + self.derived + self.notes == 1;
        let file = short(&finding.path, self.folder.root());
        let print = || {
            if self.json {
                let line = json!({
                    "severity": name,
                    "part": format!("{:?}", finding.part).to_lowercase(),
                    "kind": finding.what.kind(),
                    "file": file.to_string(),
                    "offset": finding.offset,
                    "message": finding.what.to_string(),
                });
                print_json(&format!("{}\n{line}", if first { "" } else { "," }));
                return;
            }
            let place = finding.offset.map_or_else(String::new, |offset| format!(" at {offset}"));
            say(&format!("{name:<8} {file}{place}: {}", finding.what));
        };
        match &self.progress {
            Some(progress) => progress.aside(print),
            None => print(),
        }
    }

    fn progress(&mut self, done: u64, total: u64) {
        if let Some(progress) = &mut self.progress {
            progress.set(done, total);
        }
    }
}

/// Prints without an end of the line.
fn print_json(text: &str) {
    use io::Write as _;
    let _ = io::stdout().lock().write_all(text.as_bytes());
}
