// SPDX-License-Identifier: Apache-2.0
//! The command line of `oxmq bench`.

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use std::time::Duration;

/// What is done over and over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    /// Messages are sent one by one.
    Producer,
    /// Messages are sent in batches of so many.
    Batch(u32),
    /// Transactions; so many of a hundred are rolled back.
    Transaction(u32),
    /// Messages are consumed.
    Consumer,
}

impl Load {
    /// How many messages a request has.
    pub(super) fn messages(self) -> u32 {
        if let Self::Batch(messages) = self { messages } else { 1 }
    }
}

/// A load and how long it lasts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Request {
    pub(super) load: Load,
    pub(super) name_servers: String,
    pub(super) topic: String,
    pub(super) group: String,
    /// Make the topic with so many queues on each master.
    pub(super) create: Option<u32>,
    /// Messages per second; `None`: as many as answers allow.
    pub(super) rate: Option<f64>,
    pub(super) warm_up: Duration,
    pub(super) time: Duration,
    pub(super) body_bytes: usize,
    pub(super) clients: u32,
    /// Requests, or handlers, at a time in all.
    pub(super) in_flight: u32,
    pub(super) with_keys: bool,
    pub(super) filter: String,
    /// A consumer begins with the first message that there is.
    pub(super) from_first: bool,
    /// How long a handler takes.
    pub(super) work: Duration,
    pub(super) json: bool,
    /// Access key and secret key.
    pub(super) credentials: Option<(String, String)>,
}

const ABOUT: &str = "\
Puts load on a RocketMQ cluster, ours or Java's, and measures it.

With --rate, messages are due at fixed times, whatever the answers do, and latencies count from when each was due: a cluster that
stands still for a second shows it (no coordinated omission). Without it, as much is done as the answers allow.";

impl Request {
    pub(crate) fn new(matches: &ArgMatches) -> Self {
        let (name, args) = matches.subcommand().expect("clap requires a subcommand");
        let number = |id| args.try_get_one::<u32>(id).ok().flatten().copied();
        let text = |id| args.try_get_one::<String>(id).ok().flatten().cloned();
        let flag = |id| args.try_get_one::<bool>(id).ok().flatten().copied().unwrap_or_default();
        let load = match name {
            "batch" => Load::Batch(number("batch").unwrap_or(32)),
            "transaction" => Load::Transaction(number("rollback").unwrap_or_default()),
            "consumer" => Load::Consumer,
            _ => Load::Producer,
        };
        let rate = args.try_get_one::<f64>("rate").ok().flatten().copied();
        let many = if rate.is_some() { 1000 } else { 64 };
        Self {
            load,
            name_servers: text("namesrvAddr")
                .or_else(|| std::env::var("NAMESRV_ADDR").ok().filter(|addresses| !addresses.is_empty()))
                .unwrap_or_else(|| "127.0.0.1:9876".into()),
            topic: text("topic").unwrap_or_default(),
            group: text("group").unwrap_or_default(),
            create: flag("create-topic").then(|| number("queues").unwrap_or(8)),
            rate,
            warm_up: Duration::from_secs(number("warm-up").unwrap_or_default().into()),
            time: Duration::from_secs(number("secs").unwrap_or_default().into()),
            body_bytes: number("size").unwrap_or(128) as usize,
            clients: number("clients").unwrap_or(1),
            in_flight: number("in-flight").unwrap_or(many),
            with_keys: flag("keys"),
            filter: text("filter").unwrap_or_else(|| "*".into()),
            from_first: flag("from-first"),
            work: Duration::from_micros(number("work-us").unwrap_or_default().into()),
            json: flag("json"),
            credentials: text("access-key").zip(text("secret-key")),
        }
    }
}

pub(crate) fn command() -> Command {
    let producer = with_send(with_common("producer", "Sends messages one by one", "bench-producers"));
    let batch = with_send(with_common(
        "batch",
        "Sends messages in batches; latencies are those of batches",
        "bench-producers",
    ))
    .arg(number("batch", "32", 1, 10_000, "Messages of a batch"));
    let transaction =
        with_send(with_common("transaction", "Sends messages in transactions", "bench-producers"))
            .arg(number("rollback", "0", 0, 100, "How many of a hundred transactions are rolled back"));
    let consumer = with_common(
        "consumer",
        "Consumes; latencies are from when a message was due, or made, to its handler",
        "bench-consumers",
    )
    .args([
        optional("in-flight", "N")
            .help("Handlers at a time, 64 by default")
            .value_parser(value_parser!(u32).range(1..=10_000)),
        number("work-us", "0", 0, 60_000_000, "How long a handler takes, in microseconds"),
        optional("filter", "TAGS").help("Tags, as \"A || B\"").default_value("*"),
        Arg::new("from-first")
            .long("from-first")
            .action(ArgAction::SetTrue)
            .help("Begin with the first message that there is, if the group is new"),
    ]);
    Command::new("bench")
        .about("Puts load on a RocketMQ cluster and measures it")
        .long_about(ABOUT)
        .subcommand_required(true)
        .disable_help_subcommand(true)
        .subcommands([producer, consumer, batch, transaction])
}

fn with_send(command: Command) -> Command {
    command.args([
        optional("rate", "N")
            .help("Messages per second in all; without it, as many as the answers allow")
            .value_parser(rate),
        number("size", "128", 1, 4_194_304, "Bytes of a body"),
        optional("in-flight", "N")
            .help("Requests at a time in all: 64 by default, at most 1000 with --rate")
            .value_parser(value_parser!(u32).range(1..=100_000)),
        Arg::new("keys")
            .long("keys")
            .action(ArgAction::SetTrue)
            .help("Give each message a key, which the broker indexes"),
    ])
}

fn with_common(name: &'static str, about: &'static str, group: &'static str) -> Command {
    Command::new(name).about(about).args([
        optional("namesrvAddr", "ADDRS")
            .short('n')
            .help("Name servers, else NAMESRV_ADDR, else 127.0.0.1:9876"),
        optional("topic", "TOPIC").short('t').help("Topic").default_value("BenchmarkTest"),
        optional("group", "GROUP").short('g').help("Group of the producer or consumer").default_value(group),
        Arg::new("create-topic")
            .long("create-topic")
            .action(ArgAction::SetTrue)
            .help("Make the topic on every master first"),
        number("queues", "8", 1, 65_536, "Queues that it gets on each"),
        number("warm-up", "5", 0, 86_400, "Seconds before anything counts"),
        number("secs", "30", 1, 604_800, "Seconds that count"),
        number("clients", "1", 1, 1000, "Clients, each with connections of its own"),
        Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print the result as JSON"),
        optional("access-key", "KEY").help("Sign requests, with --secret-key").requires("secret-key"),
        optional("secret-key", "KEY").help("The secret of --access-key").requires("access-key"),
    ])
}

fn optional(id: &'static str, value: &'static str) -> Arg {
    Arg::new(id).long(id).value_name(value)
}

fn number(id: &'static str, default: &'static str, least: i64, most: i64, help: &'static str) -> Arg {
    optional(id, "N").help(help).default_value(default).value_parser(value_parser!(u32).range(least..=most))
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate: &f64| (0.01..=10_000_000.0).contains(rate));
    rate.ok_or_else(|| "not within 0.01 and 10000000".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &[&str]) -> Result<Request, clap::Error> {
        let matches = command().try_get_matches_from([&["bench"], line].concat())?;
        Ok(Request::new(&matches))
    }

    #[test]
    fn understands_its_loads() {
        command().debug_assert();
        let request = parsed(&["producer", "-n", "a:1", "--rate", "2e4", "--keys"]).unwrap();
        assert_eq!((request.load, request.rate, request.in_flight), (Load::Producer, Some(20_000.0), 1000));
        assert_eq!((request.name_servers.as_str(), request.with_keys, request.create), ("a:1", true, None));
        let request = parsed(&["batch", "--batch", "7", "--create-topic"]).unwrap();
        assert_eq!((request.load, request.create, request.in_flight), (Load::Batch(7), Some(8), 64));
        assert_eq!(parsed(&["transaction", "--rollback", "10"]).unwrap().load, Load::Transaction(10));
        let request = parsed(&["consumer", "-t", "T", "--work-us", "5", "--json"]).unwrap();
        assert_eq!(
            (request.load, request.work, request.json),
            (Load::Consumer, Duration::from_micros(5), true)
        );
        assert_eq!((request.topic.as_str(), request.group.as_str()), ("T", "bench-consumers"));
        for wrong in [
            &["producer", "--rate", "0"][..],
            &["producer", "--rate", "NaN"],
            &["producer", "--size", "0"],
            &["producer", "--secs", "0"],
            &["consumer", "--rate", "1"],
            &["producer", "--access-key", "a"],
            &[],
        ] {
            assert!(parsed(wrong).is_err(), "{wrong:?}");
        }
    }
}
