// SPDX-License-Identifier: Apache-2.0
//! What `oxmq store` understands.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use oxmq_store::inspect::Wanted;

use super::{Target, dump::Body, time};

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Request {
    /// Examine everything.
    Check { target: Target, json: bool },
    /// Say what fills the disk.
    Stat { target: Target, json: bool, top: usize },
    /// Print records.
    Dump { target: Target, wanted: Wanted, limit: u64, body: Body },
    /// Put right what can be put right.
    Repair { target: Target, dry_run: bool, yes: bool },
}

const EXIT_CODES: &str = "\
Exit codes: 0 all is well, 1 something is wrong with the folder, 2 it could not be examined.";

pub(crate) fn command() -> Command {
    let target = |name: &'static str, about: &'static str| {
        Command::new(name).about(about).after_help(EXIT_CODES).args([
            Arg::new("dir")
                .value_name("DIR")
                .required(true)
                .value_parser(value_parser!(PathBuf))
                .help("The folder: storePathRootDir of a broker"),
            Arg::new("configFile")
                .short('c')
                .long("configFile")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("The broker's configuration; without it the files say how long they are"),
        ])
    };
    let output = Arg::new("output")
        .short('o')
        .long("output")
        .value_name("FORMAT")
        .value_parser(["text", "json"])
        .default_value("text")
        .help("How the result is printed");
    let flag =
        |id: &'static str, help: &'static str| Arg::new(id).long(id).action(ArgAction::SetTrue).help(help);
    let text = |id: &'static str, value: &'static str, help: &'static str| {
        Arg::new(id).long(id).value_name(value).help(help)
    };
    let number = |id: &'static str, help: &'static str| text(id, "N", help).value_parser(value_parser!(u64));
    let moment = |id: &'static str, help: &'static str| {
        text(id, "TIME", help).value_parser(time::parse).allow_hyphen_values(true)
    };
    Command::new("store")
        .about("Looks into the folder of a store, of OxMQ or of a Java broker, and repairs it")
        .subcommand_required(true)
        .disable_help_subcommand(true)
        .after_help(EXIT_CODES)
        .subcommand(
            target("check", "Verifies every record, queue and index file; changes nothing")
                .arg(output.clone()),
        )
        .subcommand(
            target("stat", "Shows what fills the disk: topics, ages, segments; changes nothing").args([
                output,
                number("top", "So many topics at most, those with most bytes").default_value("20"),
            ]),
        )
        .subcommand(
            target("dump", "Prints records as JSON, one a line; changes nothing").args([
                number("offset", "From this physical offset on"),
                text("topic", "TOPIC", "Of this topic, queue by queue"),
                text("queue", "ID", "Of the queue of this number")
                    .value_parser(value_parser!(u32))
                    .requires("topic"),
                number("from", "From this queue offset on").requires("topic"),
                text("key", "KEY", "With this key or unique key"),
                moment("since", "Stored then or later: 2026-11-21T08:00:00Z, 2026-11-21, or ms since 1970"),
                moment("until", "Stored then or earlier"),
                number("limit", "So many records at most; 0 for all").default_value("100"),
                text("body", "HOW", "What of the body is printed")
                    .value_parser(["none", "text", "base64"])
                    .default_value("text"),
            ]),
        )
        .subcommand(
            target(
                "repair",
                "Rebuilds damaged queues and index, cuts a torn tail; keeps aside what it replaces",
            )
            .args([flag("dry-run", "Say what would be done, and do nothing"), flag("yes", "Do not ask")]),
        )
}

impl Request {
    /// Takes what clap understood of the arguments of [`command`].
    pub(crate) fn new(matches: &ArgMatches) -> Self {
        let (name, matches) = matches.subcommand().expect("clap requires a subcommand");
        let target = Target {
            root: matches.get_one::<PathBuf>("dir").cloned().expect("clap requires it"),
            config_file: matches.get_one::<PathBuf>("configFile").cloned(),
        };
        let json = || matches.get_one::<String>("output").is_some_and(|format| format == "json");
        let number = |id| matches.get_one::<u64>(id).copied();
        let text = |id| matches.get_one::<String>(id).cloned();
        match name {
            "check" => Self::Check { target, json: json() },
            "stat" => Self::Stat { target, json: json(), top: number("top").unwrap_or(20) as usize },
            "dump" => Self::Dump {
                target,
                wanted: Wanted {
                    offset: number("offset"),
                    topic: text("topic"),
                    queue: matches.get_one::<u32>("queue").copied(),
                    from: number("from"),
                    key: text("key"),
                    since_ms: matches.get_one::<i64>("since").copied(),
                    until_ms: matches.get_one::<i64>("until").copied(),
                },
                limit: number("limit").filter(|limit| *limit > 0).unwrap_or(u64::MAX),
                body: match text("body").as_deref() {
                    Some("none") => Body::None,
                    Some("base64") => Body::Base64,
                    _ => Body::Text,
                },
            },
            _ => Self::Repair { target, dry_run: matches.get_flag("dry-run"), yes: matches.get_flag("yes") },
        }
    }
}
