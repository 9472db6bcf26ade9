// SPDX-License-Identifier: Apache-2.0
//! `oxmq store`: looks into the folder of a store, ours or a Java broker's, and repairs it. What is examined and how
//! stands in `oxmq_store::inspect`; here is what an operator types and reads.
//!
//! Standard output carries the result; progress, and what keeps a command from its work, go to standard error.

mod args;
mod check;
mod dump;
mod progress;
mod repair;
mod stat;
mod table;
mod time;

use std::path::Path;

use oxmq_store::inspect::{Folder, InspectError, Layout, Use};

pub(crate) use args::{Request, command};

use crate::{
    settings,
    terminal::{Failure, complain},
};

/// Something is wrong with the folder.
const EXIT_PROBLEMS: u8 = 1;
/// The folder could not be examined, or the command line not be understood.
pub(crate) const EXIT_NOT_EXAMINED: u8 = 2;

/// Where the folder is, and what is known of its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    root: std::path::PathBuf,
    config_file: Option<std::path::PathBuf>,
}

/// Does what was asked for.
pub(crate) fn run(request: Request) -> Result<(), Failure> {
    match request {
        Request::Check { target, json } => check::run(&target, json),
        Request::Stat { target, json, top } => stat::run(&target, json, top),
        Request::Dump { target, wanted, limit, body } => dump::run(&target, &wanted, limit, body),
        Request::Repair { target, dry_run, yes } => repair::run(&target, dry_run, yes),
    }
}

/// A folder with the configuration of its broker, as far as it was given.
struct Opened {
    folder: Folder,
    settings: Option<oxmq_config::BrokerSettings>,
}

fn open(target: &Target) -> Result<Opened, Failure> {
    let mut layout = Layout { root: target.root.clone(), ..Layout::default() };
    let mut known = None;
    if let Some(file) = &target.config_file {
        let loaded = settings::broker(None, Some(file.clone()))
            .map_err(|failure| failure.with_code(EXIT_NOT_EXAMINED))?;
        loaded
            .notices
            .iter()
            .filter(|notice| notice.is_warning())
            .for_each(|notice| complain(&notice.to_string()));
        let files = loaded.settings.store();
        // The folder that is named counts; a commit log elsewhere is found by its setting alone.
        if files.commit_log_dir != files.root_dir.join("commitlog") {
            layout.commit_log_dir = Some(files.commit_log_dir);
        }
        layout.segment_size_bytes = Some(files.segment_bytes);
        layout.consume_queue_file_size_bytes = Some(files.consume_queue_file_bytes);
        layout.index_shape = Some((files.index_slots, files.index_entries));
        known = Some(loaded.settings);
    }
    let folder = Folder::open(layout).map_err(not_examined)?;
    Ok(Opened { folder, settings: known })
}

fn not_examined(error: InspectError) -> Failure {
    Failure::new(EXIT_NOT_EXAMINED, error.to_string())
}

/// Who has the folder, in words.
fn state(folder: &Folder) -> &'static str {
    match folder.state() {
        Use::Running => "a broker is running on it; its newest messages are not looked at",
        Use::NotClosed => "not closed, the next start recovers it",
        Use::Closed => "closed",
    }
}

/// Who has the folder, for programs.
fn state_word(folder: &Folder) -> &'static str {
    match folder.state() {
        Use::Running => "running",
        Use::NotClosed => "notClosed",
        Use::Closed => "closed",
    }
}

/// `path` as seen from `root`, if it lies there.
fn short<'a>(path: &'a Path, root: &Path) -> std::path::Display<'a> {
    path.strip_prefix(root).unwrap_or(path).display()
}
