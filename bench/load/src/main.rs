// SPDX-License-Identifier: Apache-2.0
//! `oxmq-load`: load for any broker that speaks the remoting protocol, for `bench/store.sh` and by hand. JSON headers, as
//! Java clients write them. Every command prints one line of `name=value`; what went wrong goes to standard error.
#![forbid(unsafe_code)]

mod connection;
mod histogram;
mod lag;
mod pace;
mod pull;
mod ready;
mod run;
mod send;
mod target;

use anyhow::{Context, Result, bail};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use connection::Connection;
use pull::{Part, Pulls};
use run::Plan;
use send::Sends;
use std::{process::ExitCode, time::Duration};
use target::{Messages, Target};

fn main() -> ExitCode {
    match perform(&command().get_matches()) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(matches: &ArgMatches) -> Result<String> {
    let Some((name, args)) = matches.subcommand() else { bail!("no command") };
    let target = Target::new(
        args.get_one::<String>("addr").context("no address")?,
        args.get_one::<String>("topic").context("no topic")?,
        number(args, "topics"),
        number(args, "queues"),
    )?;
    match name {
        "topics" => {
            let mut connection = Connection::open(target.server)?;
            for topic in target.topics() {
                let request = target::create(topic, target.queues_of_topic());
                let answer = connection.ask(&request, |answer| (answer.code, answer.reason()))?;
                if answer.0 != 0 {
                    bail!("{topic}: {}", answer.1);
                }
            }
            Ok(format!("topics={} queues={}", target.topics().len(), target.queues()))
        }
        "ready" => {
            let limit = Duration::from_secs(number(args, "secs").into());
            ready::line(&target, *args.get_one("since").context("no time of start")?, limit)
        }
        "send" | "fill" => {
            let sends = Sends {
                target,
                messages: Messages::new(number(args, "size") as usize, !args.get_flag("bare")),
                body_bytes: number(args, "size").into(),
                connections: number(args, "conns"),
                window: number(args, "window"),
                rate: args.try_get_one("rate").ok().flatten().copied(),
                batch: args.try_get_one("batch").ok().flatten().copied().unwrap_or(1),
                total: args.get_one("messages").copied(),
                again: name == "fill",
            };
            run::run(&plan(args), sends.connections, |connection, signals| sends.work(connection, signals))
        }
        "pull" => {
            let pulls = Pulls {
                target,
                connections: number(args, "conns"),
                readers: number(args, "readers"),
                batch: number(args, "batch"),
                part: Part::new(args.get_one("first").copied(), args.get_one("last").copied()),
                round: args.get_flag("round"),
                bytes_per_second: args.get_one::<f64>("mib-per-second").map(|mib| mib * 1_048_576.0),
            };
            run::run(&plan(args), pulls.connections, |connection, signals| pulls.work(connection, signals))
        }
        "lag" => {
            let messages = Messages::new(128, true);
            let interval = Duration::from_millis(number(args, "interval").into());
            run::run(&plan(args), 1, |_, signals| lag::work(&target, &messages, interval, signals))
        }
        _ => bail!("no command {name}"),
    }
}

fn plan(args: &ArgMatches) -> Plan {
    Plan {
        warm: Duration::from_secs(number(args, "warm").into()),
        time: args.get_one::<u32>("secs").map(|secs| Duration::from_secs((*secs).into())),
        while_process: args.get_one("while-pid").copied(),
        server: args.get_one("pid").copied(),
    }
}

/// A number that has a default.
fn number(args: &ArgMatches, name: &str) -> u32 {
    args.get_one(name).copied().unwrap_or_default()
}

fn command() -> Command {
    let time = [
        optional("secs", "seconds that count; without it, as long as there is work")
            .value_parser(value_parser!(u32)),
        with_default("warm", "seconds before that", "0", 0),
        optional("while-pid", "end with this process").value_parser(value_parser!(u32)),
        optional("pid", "the server's process: its CPU time and memory are told")
            .value_parser(value_parser!(u32)),
    ];
    let message = [
        with_default("size", "bytes of a body", "128", 1),
        Arg::new("bare")
            .long("bare")
            .action(ArgAction::SetTrue)
            .help("messages without key, unique key and tag"),
        optional("messages", "messages in all").value_parser(value_parser!(u64)),
    ];
    let conns = || with_default("conns", "connections", "4", 1);
    Command::new("oxmq-load")
        .about("Load for brokers that speak RocketMQ's remoting protocol")
        .subcommand_required(true)
        .subcommand(with_target("topics", "create the topics"))
        .subcommand(
            with_target("send", "send messages")
                .args(&time)
                .args(&message)
                .arg(conns())
                .arg(with_default("window", "requests in flight on each connection", "64", 1))
                .arg(
                    optional("rate", "messages per second in all, whatever the answers do; times count from when each was due")
                        .value_parser(positive),
                ),
        )
        .subcommand(
            with_target("fill", "send batches until all messages are taken")
                .args(&time)
                .args(&message)
                .arg(conns())
                .arg(with_default("window", "batches in flight on each connection", "4", 1))
                .arg(
                    optional("batch", "messages of a batch")
                        .default_value("64")
                        .value_parser(value_parser!(u64).range(1..=32_768)),
                ),
        )
        .subcommand(
            with_target("pull", "read what there is")
                .args(&time)
                .arg(conns())
                .arg(with_default("readers", "readers of each queue", "1", 1))
                .arg(with_default("batch", "most messages of a pull", "32", 1))
                .arg(optional("first", "only the oldest of each queue").value_parser(value_parser!(u64).range(1..)))
                .arg(optional("last", "only the newest of each queue").value_parser(value_parser!(u64).range(1..)))
                .arg(Arg::new("round").long("round").action(ArgAction::SetTrue).help("begin anew at the end"))
                .arg(optional("mib-per-second", "most that is read").value_parser(positive)),
        )
        .subcommand(
            with_target("lag", "send messages and look for each by its key")
                .args(&time)
                .arg(with_default("interval", "milliseconds from one to the next", "20", 1)),
        )
        .subcommand(
            with_target("ready", "ask a server that is starting until it answers")
                .arg(with_default("secs", "seconds to wait at most", "600", 1))
                .arg(
                    optional("since", "when it was started, microseconds since 1970")
                        .required(true)
                        .value_parser(value_parser!(u64)),
                ),
        )
}

fn with_target(name: &'static str, about: &'static str) -> Command {
    Command::new(name).about(about).args([
        optional("addr", "address of the broker").default_value("127.0.0.1:10911"),
        optional("topic", "topic").default_value("Load"),
        with_default("topics", "topics, called TOPIC-0 and so on if there are more than one", "1", 1),
        with_default("queues", "queues of each topic", "8", 1),
    ])
}

fn optional(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).help(help)
}

fn with_default(name: &'static str, help: &'static str, value: &'static str, min: i64) -> Arg {
    optional(name, help).default_value(value).value_parser(value_parser!(u32).range(min..=1_000_000_000))
}

fn positive(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|number: &f64| *number > 0.0 && number.is_finite())
        .ok_or_else(|| "not above 0".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_its_command_line() {
        command().debug_assert();
        let args =
            command().try_get_matches_from(["oxmq-load", "send", "--rate", "2e4", "--secs", "3"]).unwrap();
        let (name, args) = args.subcommand().unwrap();
        assert_eq!((name, args.get_one::<f64>("rate"), number(args, "conns")), ("send", Some(&2e4), 4));
        assert_eq!(plan(args).time, Some(Duration::from_secs(3)));
        for wrong in [
            &["send", "--rate", "0"][..],
            &["send", "--rate", "NaN"],
            &["send", "--conns", "0"],
            &["pull", "--first", "x"],
            &["fill", "--batch", "0"],
            &["ready"],
            &[],
        ] {
            let words = ["oxmq-load"].iter().chain(wrong);
            assert!(command().try_get_matches_from(words).is_err(), "{wrong:?}");
        }
    }
}
