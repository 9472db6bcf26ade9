// SPDX-License-Identifier: Apache-2.0
//! The command line. Java: `ServerUtil`, `BrokerStartup`, `NamesrvStartup`, on commons-cli, whose spellings all work:
//! `-n ADDRS`, `-nADDRS`, `--namesrvAddr ADDRS`, `--namesrvAddr=ADDRS`, `-namesrvAddr ADDRS`, and any clear prefix.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use clap::{
    Arg, ArgAction, ArgMatches, Command,
    error::{ContextKind, ContextValue, ErrorKind},
    value_parser,
};

use crate::{
    shutdown::Role,
    store_tool::{self, EXIT_NOT_EXAMINED},
    terminal::{EXIT_USAGE, Failure},
};

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Invocation {
    /// Print this and end.
    Help(String),
    /// Run a name server, or print its configuration.
    Namesrv { config_file: Option<PathBuf>, print: Print },
    /// Run a broker, or print its configuration.
    Broker { namesrv_addr: Option<String>, config_file: Option<PathBuf>, print: Print },
    /// Run both on loopback.
    Dev { data: PathBuf, namesrv_port: u16, broker_port: u16 },
    /// Look into the folder of a store.
    Store(store_tool::Request),
    /// Stop the running servers of a role.
    Shutdown(Role),
}

/// What `-p` and `-m` ask for. With both, Java heeds `-p`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Print {
    Nothing,
    Important,
    All,
}

const NAMESRV_HELP: &str = "\
usage: mqnamesrv [-c <arg>] [-h] [-n <arg>] [-p]
 -c,--configFile <arg>    Name server config properties file
 -h,--help                Print help
 -n,--namesrvAddr <arg>   Name server address list, eg: '192.168.0.1:9876;192.168.0.2:9876'
 -p,--printConfigItem     Print all config items";

const BROKER_HELP: &str = "\
usage: mqbroker [-c <arg>] [-h] [-m] [-n <arg>] [-p]
 -c,--configFile <arg>       Broker config properties file
 -h,--help                   Print help
 -m,--printImportantConfig   Print important config item
 -n,--namesrvAddr <arg>      Name server address list, eg: '192.168.0.1:9876;192.168.0.2:9876'
 -p,--printConfigItem        Print all config item";

const SHUTDOWN_HELP: &str = "Usage: mqshutdown broker | namesrv";

/// Long names of Java's options, which commons-cli also takes behind a single dash.
const LONG_NAMES: [&str; 5] =
    ["configFile", "help", "namesrvAddr", "printConfigItem", "printImportantConfig"];

/// Understands the command line, the name of the command included.
///
/// # Errors
/// [`Failure`] with Java's message where Java has one.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Invocation, Failure> {
    let mut args: Vec<OsString> = args.into_iter().collect();
    let named = args.first().and_then(|name| Path::new(name).file_name()).and_then(|name| name.to_str());
    // Under a Java name the subcommand is implied; under any other the first argument has to say it.
    let implied = match named {
        Some("mqnamesrv") => Some("namesrv"),
        Some("mqbroker") => Some("broker"),
        Some("mqshutdown") => Some("shutdown"),
        _ => None,
    };
    if let Some(subcommand) = implied {
        args.insert(1, subcommand.into());
    }
    let subcommand = args.get(1).and_then(|name| name.to_str()).unwrap_or_default().to_owned();
    if matches!(subcommand.as_str(), "namesrv" | "broker") {
        args.iter_mut().skip(2).take_while(|arg| *arg != "--").for_each(double_the_dash);
    }
    let help = match subcommand.as_str() {
        "namesrv" => Some(NAMESRV_HELP),
        "broker" => Some(BROKER_HELP),
        "shutdown" => Some(SHUTDOWN_HELP),
        _ => None,
    };
    match command().try_get_matches_from(args) {
        Ok(matches) => Ok(invocation(&matches)),
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                Ok(Invocation::Help(error.to_string().trim_end().to_owned()))
            }
            _ => {
                let code = if subcommand == "store" { EXIT_NOT_EXAMINED } else { EXIT_USAGE };
                let failure = Failure::new(code, message(&error));
                Err(match help {
                    Some(usage) => failure.with_output(usage.to_owned()),
                    None => failure,
                })
            }
        },
    }
}

/// `-namesrvAddr` becomes `--namesrvAddr`.
fn double_the_dash(arg: &mut OsString) {
    if let Some(text) = arg.to_str()
        && let Some(name) = text.strip_prefix('-').and_then(|rest| rest.split('=').next())
        && name.len() > 1
        && LONG_NAMES.iter().any(|long| long.starts_with(name))
    {
        *arg = format!("-{text}").into();
    }
}

fn command() -> Command {
    let java = |name, help| {
        let option = |id, short| Arg::new(id).short(short).long(id);
        Command::new(name).override_help(help).infer_long_args(true).args([
            option("configFile", 'c').value_parser(value_parser!(PathBuf)),
            option("namesrvAddr", 'n'),
            option("printConfigItem", 'p').action(ArgAction::SetTrue),
            // COMPAT(java): commons-cli leaves what is no option to the program, and the program never asks for it.
            Arg::new("strays").num_args(0..).hide(true),
        ])
    };
    let port = |id: &'static str, default| {
        Arg::new(id)
            .long(id)
            .value_name("PORT")
            .default_value(default)
            .value_parser(value_parser!(u16).range(1..))
    };
    Command::new("oxmq")
        .about("Apache RocketMQ in one binary")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .disable_help_subcommand(true)
        .subcommand(
            Command::new("dev").about("Name server and broker in one process, on loopback").args([
                Arg::new("data")
                    .long("data")
                    .value_name("DIR")
                    .help("Where messages, configuration and logs lie")
                    .default_value("./oxmq-data")
                    .value_parser(value_parser!(PathBuf)),
                port("namesrv-port", "9876").help("Port of the name server"),
                port("broker-port", "10911").help("Port of the broker"),
            ]),
        )
        .subcommand(java("namesrv", NAMESRV_HELP).about("The name server, with the options of mqnamesrv"))
        .subcommand(
            java("broker", BROKER_HELP).about("The broker, with the options of mqbroker").arg(
                Arg::new("printImportantConfig")
                    .short('m')
                    .long("printImportantConfig")
                    .action(ArgAction::SetTrue),
            ),
        )
        .subcommand(store_tool::command())
        // Only for the list: `admin::run` takes it before anything is parsed here.
        .subcommand(Command::new("admin").about("Administers a cluster, with the commands of mqadmin"))
        .subcommand(
            Command::new("shutdown")
                .about("Stops the running broker or name server, as mqshutdown does")
                .override_help(SHUTDOWN_HELP)
                .arg(Arg::new("role").required(true).value_parser(["broker", "namesrv"])),
        )
}

fn invocation(matches: &ArgMatches) -> Invocation {
    let (name, matches) = matches.subcommand().expect("clap requires a subcommand");
    let path = |id| matches.get_one::<PathBuf>(id).cloned();
    let port = |id| *matches.get_one::<u16>(id).expect("it has a default");
    match name {
        "dev" => Invocation::Dev {
            data: path("data").expect("it has a default"),
            namesrv_port: port("namesrv-port"),
            broker_port: port("broker-port"),
        },
        "namesrv" => Invocation::Namesrv {
            config_file: path("configFile"),
            print: if matches.get_flag("printConfigItem") { Print::All } else { Print::Nothing },
        },
        "broker" => Invocation::Broker {
            namesrv_addr: matches.get_one::<String>("namesrvAddr").cloned(),
            config_file: path("configFile"),
            print: match (matches.get_flag("printConfigItem"), matches.get_flag("printImportantConfig")) {
                (true, _) => Print::All,
                (false, true) => Print::Important,
                (false, false) => Print::Nothing,
            },
        },
        "store" => Invocation::Store(store_tool::Request::new(matches)),
        _ => Invocation::Shutdown(match matches.get_one::<String>("role").map(String::as_str) {
            Some("namesrv") => Role::Namesrv,
            _ => Role::Broker,
        }),
    }
}

/// Java's words where it has some, else the first paragraph of clap's.
fn message(error: &clap::Error) -> String {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.as_str(),
        _ => "",
    };
    let argument = context(ContextKind::InvalidArg);
    match error.kind() {
        ErrorKind::UnknownArgument if argument.starts_with('-') => format!("Unrecognized option: {argument}"),
        ErrorKind::InvalidValue
            if context(ContextKind::InvalidValue).is_empty() && argument.starts_with('-') =>
        {
            let name = argument.split(' ').next().unwrap_or(argument).trim_start_matches('-');
            // Java names the short form.
            let shown = if LONG_NAMES.contains(&name) { &name[..1] } else { name };
            format!("Missing argument for option: {shown}")
        }
        _ => {
            let text = error.to_string();
            let paragraph = text.lines().take_while(|line| !line.is_empty()).map(str::trim);
            paragraph.collect::<Vec<_>>().join(" ").trim_start_matches("error: ").to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &[&str]) -> Result<Invocation, Failure> {
        parse(line.iter().map(OsString::from))
    }

    #[test]
    fn clap_finds_nothing_wrong_with_the_definitions() {
        command().debug_assert();
    }

    #[test]
    fn every_spelling_of_commons_cli_works() {
        for line in [
            &["mqbroker", "-n", "a:1;b:2", "-c", "f"][..],
            &["/opt/bin/mqbroker", "-na:1;b:2", "-cf"],
            &["oxmq", "broker", "--namesrvAddr", "a:1;b:2", "--configFile", "f"],
            &["mqbroker", "--namesrvAddr=a:1;b:2", "--configFile=f"],
            &["mqbroker", "-namesrvAddr", "a:1;b:2", "-configFile", "f"],
            &["mqbroker", "-namesrvAddr=a:1;b:2", "-configFile=f"],
            &["mqbroker", "--names", "a:1;b:2", "-config", "f", "stray"],
        ] {
            let expected = Invocation::Broker {
                namesrv_addr: Some("a:1;b:2".into()),
                config_file: Some("f".into()),
                print: Print::Nothing,
            };
            assert_eq!(parsed(line).unwrap(), expected, "{line:?}");
        }
        for (line, print) in [
            (&["mqbroker", "-p"][..], Print::All),
            (&["mqbroker", "-m"], Print::Important),
            (&["mqbroker", "-pm"], Print::All),
            (&["mqbroker", "-printImportantConfig"], Print::Important),
        ] {
            let expected = Invocation::Broker { namesrv_addr: None, config_file: None, print };
            assert_eq!(parsed(line).unwrap(), expected, "{line:?}");
        }
    }

    #[test]
    fn the_name_decides() {
        assert_eq!(
            parsed(&["./mqnamesrv", "-n", "ignored"]).unwrap(),
            Invocation::Namesrv { config_file: None, print: Print::Nothing }
        );
        assert_eq!(parsed(&["mqshutdown", "namesrv"]).unwrap(), Invocation::Shutdown(Role::Namesrv));
        assert_eq!(parsed(&["oxmq", "shutdown", "broker"]).unwrap(), Invocation::Shutdown(Role::Broker));
        assert_eq!(
            parsed(&["anything", "dev", "--broker-port", "20911"]).unwrap(),
            Invocation::Dev { data: "./oxmq-data".into(), namesrv_port: 9876, broker_port: 20911 }
        );
    }
}
