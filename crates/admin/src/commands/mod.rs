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
//! Where a Java map has no order, ours are sorted by name.

mod cluster;
mod pending;
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
    &pending::UPDATE_TOPIC,
    &pending::UPDATE_TOPIC_LIST,
    &pending::DELETE_TOPIC,
    &pending::UPDATE_SUB_GROUP,
    &pending::UPDATE_SUB_GROUP_LIST,
    &pending::SET_CONSUME_MODE,
    &pending::DELETE_SUB_GROUP,
    &pending::UPDATE_BROKER_CONFIG,
    &pending::UPDATE_TOPIC_PERM,
    &pending::TOPIC_ROUTE,
    &pending::TOPIC_STATUS,
    &pending::TOPIC_CLUSTER_LIST,
    &unsupported::ADD_BROKER,
    &unsupported::REMOVE_BROKER,
    &pending::RESET_MASTER_FLUSH_OFFSET,
    &pending::BROKER_STATUS,
    &pending::QUERY_MSG_BY_ID,
    &pending::QUERY_MSG_BY_KEY,
    &pending::QUERY_MSG_BY_UNIQUE_KEY,
    &pending::QUERY_MSG_BY_OFFSET,
    &pending::QUERY_MSG_TRACE_BY_ID,
    &pending::PRINT_MSG,
    &pending::PRINT_MSG_BY_QUEUE,
    &pending::SEND_MSG_STATUS,
    &pending::BROKER_CONSUME_STATS,
    &pending::PRODUCER_CONNECTION,
    &pending::CONSUMER_CONNECTION,
    &pending::CONSUMER_PROGRESS,
    &pending::CONSUMER_STATUS,
    &pending::CLONE_GROUP_OFFSET,
    &pending::PRODUCER,
    &cluster::CLUSTER_LIST,
    &pending::TOPIC_LIST,
    &pending::UPDATE_KV_CONFIG,
    &pending::DELETE_KV_CONFIG,
    &pending::WIPE_WRITE_PERM,
    &pending::ADD_WRITE_PERM,
    &pending::RESET_OFFSET_BY_TIME,
    &pending::SKIP_ACCUMULATED_MESSAGE,
    &pending::UPDATE_ORDER_CONF,
    &pending::CLEAN_EXPIRED_CQ,
    &pending::DELETE_EXPIRED_COMMIT_LOG,
    &pending::CLEAN_UNUSED_TOPIC,
    &pending::START_MONITORING,
    &pending::STATS_ALL,
    &pending::ALLOCATE_MQ,
    &pending::CHECK_MSG_SEND_RT,
    &pending::CLUSTER_RT,
    &pending::GET_NAMESRV_CONFIG,
    &pending::UPDATE_NAMESRV_CONFIG,
    &pending::GET_BROKER_CONFIG,
    &pending::GET_CONSUMER_CONFIG,
    &pending::QUERY_CQ,
    &pending::SEND_MESSAGE,
    &pending::CONSUME_MESSAGE,
    &unsupported::UPDATE_STATIC_TOPIC,
    &unsupported::REMAPPING_STATIC_TOPIC,
    &pending::EXPORT_METADATA,
    &pending::EXPORT_CONFIGS,
    &pending::EXPORT_METRICS,
    &unsupported::EXPORT_METADATA_IN_ROCKS_DB,
    &unsupported::EXPORT_POP_RECORD,
    &pending::HA_STATUS,
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
