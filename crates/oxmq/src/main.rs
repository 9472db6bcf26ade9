// SPDX-License-Identifier: Apache-2.0
//! The one binary. Under the name `mqnamesrv`, `mqbroker`, `mqadmin` or `mqshutdown` it takes the options of Java's command of that
//! name; under its own it has them as subcommands, and `oxmq dev` and `oxmq store`.
//!
//! Standard output carries what Java's commands print there and nothing else; the log goes to standard error and to a file.
#![forbid(unsafe_code)]

mod admin;
mod bench_tool;
mod cli;
mod keep;
mod live;
mod log;
mod name_server;
mod parts;
mod quickstart;
mod run;
mod settings;
mod shutdown;
mod store_tool;
mod terminal;

use std::{path::PathBuf, process::ExitCode};

use oxmq_config::Notice;
use tracing::{info, warn};

use crate::{
    cli::{Invocation, Print},
    settings::{Dev, Loaded},
    terminal::{EXIT_FAILURE, Failure, complain, say},
};

fn main() -> ExitCode {
    if let Some(args) = admin::args(std::env::args_os()) {
        return admin::run(args);
    }
    match cli::parse(std::env::args_os()).and_then(execute) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn execute(invocation: Invocation) -> Result<(), Failure> {
    match invocation {
        Invocation::Help(text) => say(&text),
        Invocation::Store(request) => store_tool::run(request)?,
        Invocation::Bench(request) => bench_tool::run(request)?,
        Invocation::Quickstart(part) => quickstart::run(part)?,
        Invocation::Shutdown(role) => shutdown::shut_down(role)?,
        Invocation::Namesrv { config_file, print } => {
            let Loaded { settings, notices, .. } = settings::namesrv(config_file)?;
            if print != Print::Nothing {
                return print_settings(&settings.print_all(), &notices);
            }
            start("mqnamesrv", log_folder(), "namesrv", &notices, run::run_namesrv(settings))?;
        }
        Invocation::Broker { namesrv_addr, config_file, print } => {
            let Loaded { settings, notices, config_file } = settings::broker(namesrv_addr, config_file)?;
            match print {
                Print::All => return print_settings(&settings.print_all(), &notices),
                Print::Important => return print_settings(&settings.print_important(), &notices),
                Print::Nothing => {}
            }
            start("mqbroker", log_folder(), "broker", &notices, run::run_broker(settings, config_file))?;
        }
        Invocation::Dev { data, namesrv_port, broker_port } => {
            let Dev { namesrv, broker, data } = settings::dev(&data, namesrv_port, broker_port)?;
            start("oxmq dev", data.join("logs"), "dev", &[], run::run_dev(namesrv, broker))?;
        }
    }
    Ok(())
}

fn print_settings(lines: &[String], notices: &[Notice]) -> Result<(), Failure> {
    notices.iter().filter(|notice| notice.is_warning()).for_each(|notice| complain(&notice.to_string()));
    lines.iter().for_each(|line| say(line));
    Ok(())
}

fn log_folder() -> PathBuf {
    settings::home().join("logs").join("rocketmqlogs")
}

/// Runs a server to its end. `command` names it in messages, `log_name` its log file.
fn start(
    command: &'static str,
    log_folder: PathBuf,
    log_name: &str,
    notices: &[Notice],
    server: impl Future<Output = anyhow::Result<()>>,
) -> Result<(), Failure> {
    let _log = log::start(&log_folder, log_name);
    if let Err(error) = oxmq_store::tell_of_bad_pages(Some(&log_folder.join(format!("{log_name}.log")))) {
        warn!(%error, "a page of a file that cannot be read will end this process without a word");
    }
    for notice in notices {
        if notice.is_warning() { warn!("{notice}") } else { info!("{notice}") }
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(EXIT_FAILURE, format!("{command}: cannot start: {error}")))?;
    runtime.block_on(server).map_err(|error| {
        // Who looks for the reason tomorrow has no terminal any more.
        tracing::error!(target: log::FILE_ONLY, "{error:#}");
        Failure::new(EXIT_FAILURE, format!("{command}: {error:#}"))
    })
}
