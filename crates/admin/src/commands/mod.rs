// SPDX-License-Identifier: Apache-2.0
//! The commands of `mqadmin`, one module for each family.
//!
//! # How to add a command
//!
//! `clusterList` in `cluster.rs` is the example. A command has four parts, which stand together:
//!
//! 1. a `pub(super) static NAME: Command` with Java's name, description and options, word for word, because the usage
//!    text is made of them. Options stand in the order in which Java adds them: complaints name them in that order.
//!    `Opt::value` takes a value, `Opt::flag` does not; `.required()`; `.one_of(1)` marks those of which exactly one
//!    must be given. `-h`, `-n`, `-o json` and `--watch` come by themselves.
//! 2. `async fn`: reads the options (`given.value("t")`, trimmed as Java trims; `given.number("r")?`), asks the cluster
//!    through `context.admin`, and gathers the answer in a plain struct with `Serialize`.
//! 3. a pure `fn render(&Answer) -> String` with Java's columns; `crate::format` has Java's numbers and times.
//! 4. `context.show(&answer, render)`: prints the text, or the struct as JSON. What is reported step by step goes through
//!    `context.say`, what is no answer (progress, one server of several that failed) through `context.note`.
//!
//! Then it gets its line in [`COMMANDS`], in Java's order. Questions that the console may have, too, are methods of
//! [`crate::Admin`] rather than code of the command. `run: run!(list)` wraps the `async fn`.
//!
//! A command fails with [`crate::cli::CommandError`]: one line on standard error that says what to do, exit code 1.
//! Nothing was printed on standard output then, unless part of the work was done.
//!
//! Where Java prints what a hash table holds, the lines stand in the order of that table (`crate::java_text`): scripts
//! count lines.

mod body_file;
mod broker;
mod charset;
mod cluster;
mod connections;
mod consumer_progress;
mod consumer_status;
mod doctor;
mod export;
mod fastjson_text;
mod group_text;
mod groups;
mod message_text;
mod monitoring;
mod moves;
mod namesrv;
mod print_message;
mod probe;
mod progress_text;
mod query_message;
mod queue_units;
mod redistribute;
mod resend_dlq;
mod reset_offset;
mod running_text;
mod send_message;
mod stats_all;
mod topic;
mod topic_view;
mod trace;
mod tracks;
mod unsupported;

use crate::cli::{CommandError, Context, Given, Opt};
use std::pin::Pin;

/// A command of `mqadmin`.
pub(crate) struct Command {
    /// What it is called. Case does not matter.
    pub(crate) name: &'static str,
    /// Another name for it.
    pub(crate) alias: Option<&'static str>,
    /// What the list of commands says.
    pub(crate) description: &'static str,
    /// Its options, without those that every command has.
    pub(crate) options: &'static [Opt],
    /// Does it.
    pub(crate) run: Run,
}

/// What [`Command::run`] is.
pub(crate) type Run = for<'a> fn(&'a mut Context<'_>, &'a Given) -> Running<'a>;
/// A command that runs.
pub(crate) type Running<'a> = Pin<Box<dyn Future<Output = Result<(), CommandError>> + 'a>>;

/// Makes a [`Run`] of an `async fn(&mut Context<'_>, &Given) -> Result<(), CommandError>`.
macro_rules! run {
    ($function:path) => {
        |context, given| Box::pin($function(context, given))
    };
}
use run;

/// All commands, in Java's order; ours follow.
static COMMANDS: &[&Command] = &[
    &topic::UPDATE_TOPIC,
    &topic::UPDATE_TOPIC_LIST,
    &topic::DELETE_TOPIC,
    &groups::UPDATE_SUB_GROUP,
    &groups::UPDATE_SUB_GROUP_LIST,
    &broker::SET_CONSUME_MODE,
    &groups::DELETE_SUB_GROUP,
    &broker::UPDATE_BROKER_CONFIG,
    &topic::UPDATE_TOPIC_PERM,
    &topic_view::TOPIC_ROUTE,
    &topic_view::TOPIC_STATUS,
    &topic_view::TOPIC_CLUSTER_LIST,
    &unsupported::ADD_BROKER,
    &unsupported::REMOVE_BROKER,
    &broker::RESET_MASTER_FLUSH_OFFSET,
    &broker::BROKER_STATUS,
    &query_message::QUERY_MSG_BY_ID,
    &query_message::QUERY_MSG_BY_KEY,
    &query_message::QUERY_MSG_BY_UNIQUE_KEY,
    &query_message::QUERY_MSG_BY_OFFSET,
    &trace::QUERY_MSG_TRACE_BY_ID,
    &print_message::PRINT_MSG,
    &print_message::PRINT_MSG_BY_QUEUE,
    &probe::SEND_MSG_STATUS,
    &consumer_progress::BROKER_CONSUME_STATS,
    &connections::PRODUCER_CONNECTION,
    &connections::CONSUMER_CONNECTION,
    &consumer_progress::CONSUMER_PROGRESS,
    &consumer_status::CONSUMER_STATUS,
    &reset_offset::CLONE_GROUP_OFFSET,
    &connections::PRODUCER,
    &cluster::CLUSTER_LIST,
    &topic_view::TOPIC_LIST,
    &namesrv::UPDATE_KV_CONFIG,
    &namesrv::DELETE_KV_CONFIG,
    &namesrv::WIPE_WRITE_PERM,
    &namesrv::ADD_WRITE_PERM,
    &reset_offset::RESET_OFFSET_BY_TIME,
    &reset_offset::SKIP_ACCUMULATED_MESSAGE,
    &namesrv::UPDATE_ORDER_CONF,
    &broker::CLEAN_EXPIRED_CQ,
    &broker::DELETE_EXPIRED_COMMIT_LOG,
    &broker::CLEAN_UNUSED_TOPIC,
    &monitoring::START_MONITORING,
    &stats_all::STATS_ALL,
    &topic_view::ALLOCATE_MQ,
    &send_message::CHECK_MSG_SEND_RT,
    &probe::CLUSTER_RT,
    &namesrv::GET_NAMESRV_CONFIG,
    &namesrv::UPDATE_NAMESRV_CONFIG,
    &broker::GET_BROKER_CONFIG,
    &groups::GET_CONSUMER_CONFIG,
    &queue_units::QUERY_CQ,
    &send_message::SEND_MESSAGE,
    &print_message::CONSUME_MESSAGE,
    &unsupported::UPDATE_STATIC_TOPIC,
    &unsupported::REMAPPING_STATIC_TOPIC,
    &export::EXPORT_METADATA,
    &export::EXPORT_CONFIGS,
    &export::EXPORT_METRICS,
    &unsupported::EXPORT_METADATA_IN_ROCKS_DB,
    &unsupported::EXPORT_POP_RECORD,
    &broker::HA_STATUS,
    &unsupported::GET_SYNC_STATE_SET,
    &unsupported::GET_BROKER_EPOCH,
    &unsupported::GET_CONTROLLER_META_DATA,
    &unsupported::GET_CONTROLLER_CONFIG,
    &unsupported::UPDATE_CONTROLLER_CONFIG,
    &unsupported::ELECT_MASTER,
    &unsupported::CLEAN_BROKER_METADATA,
    &unsupported::DUMP_COMPACTION_LOG,
    &unsupported::GET_COLD_DATA_FLOW_CTR_INFO,
    &unsupported::UPDATE_COLD_DATA_FLOW_CTR_GROUP_CONFIG,
    &unsupported::REMOVE_COLD_DATA_FLOW_CTR_GROUP_CONFIG,
    &unsupported::SET_COMMIT_LOG_READ_AHEAD_MODE,
    &unsupported::CREATE_USER,
    &unsupported::UPDATE_USER,
    &unsupported::DELETE_USER,
    &unsupported::GET_USER,
    &unsupported::LIST_USER,
    &unsupported::COPY_USER,
    &unsupported::CREATE_ACL,
    &unsupported::UPDATE_ACL,
    &unsupported::DELETE_ACL,
    &unsupported::GET_ACL,
    &unsupported::LIST_ACL,
    &unsupported::COPY_ACL,
    &unsupported::ROCKS_DB_CONFIG_TO_JSON,
    &unsupported::CHECK_ROCKSDB_CQ_WRITE_PROGRESS,
    &doctor::DOCTOR,
    &reset_offset::RESET_OFFSET_BY_TIME_OLD,
    &consumer_status::GET_CONSUMER_STATUS,
    &resend_dlq::RESEND_DLQ,
    &redistribute::REDISTRIBUTE,
];

/// All commands in the order of the list.
pub(crate) fn all() -> &'static [&'static Command] {
    COMMANDS
}

/// The command of that name, in any case, or alias.
pub(crate) fn find(name: &str) -> Option<&'static Command> {
    let named = |known: &str| known.eq_ignore_ascii_case(name);
    COMMANDS.iter().find(|command| named(command.name) || command.alias.is_some_and(named)).copied()
}

/// The name that may have been meant, if one is near.
pub(crate) fn nearest(name: &str) -> Option<&'static str> {
    // Nobody mistypes a command in hundreds of letters.
    let name = Some(name.to_lowercase()).filter(|name| name.len() < 64)?;
    let near =
        COMMANDS.iter().map(|command| (distance(&name, &command.name.to_lowercase()), command.name)).min()?;
    (near.0 <= 2 + name.len() / 6).then_some(near.1)
}

/// How many letters have to be changed, added or removed.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (line, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], line + 1);
        for (at, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != *y);
            diagonal = row[at + 1];
            row[at + 1] = changed.min(diagonal + 1).min(row[at] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_and_options_are_clear() {
        let mut names = BTreeSet::new();
        for command in all() {
            assert!(names.insert(command.name.to_lowercase()), "{} stands twice", command.name);
            let mut keys = BTreeSet::new();
            for option in command.options {
                assert!(keys.insert(option.key()), "{}: -{} stands twice", command.name, option.key());
                assert!(option.key() != "h" && !option.long.is_empty(), "{}", command.name);
                assert!(!(option.required && option.one_of != 0), "{}: -{}", command.name, option.key());
            }
        }
    }

    #[test]
    fn a_command_is_found_in_any_case_and_guessed_if_it_is_near() {
        assert_eq!(find("CLUSTERLIST").unwrap().name, "clusterList");
        assert_eq!(find("QueryMsgTraceById").unwrap().name, "queryMsgTraceById");
        assert_eq!(nearest("clusterlst"), Some("clusterList"));
        assert_eq!(nearest("updateTopci"), Some("updateTopic"));
        assert_eq!((nearest("kubectl"), nearest(&"x".repeat(1 << 22))), (None, None));
        assert!(find("no").is_none());
    }
}
