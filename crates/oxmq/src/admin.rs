// SPDX-License-Identifier: Apache-2.0
//! `mqadmin` and `oxmq admin`. They come before everything else, because a script may call them a thousand times: no
//! log, no parser of other commands, one thread.

use std::{
    ffi::OsString,
    io::{self, BufWriter},
    path::Path,
    process::ExitCode,
};

use oxmq_admin::Surroundings;

use crate::terminal::{EXIT_FAILURE, Failure};

/// The arguments of a command of `mqadmin`, if that is what was called.
pub(crate) fn args(args: impl IntoIterator<Item = OsString>) -> Option<Vec<OsString>> {
    let mut args = args.into_iter();
    let name = args.next()?;
    if Path::new(&name).file_name().is_some_and(|name| name == "mqadmin") {
        return Some(args.collect());
    }
    (args.next()? == "admin").then(|| args.collect())
}

/// Runs it to its end.
pub(crate) fn run(args: Vec<OsString>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return Failure::new(EXIT_FAILURE, format!("mqadmin: cannot start: {error}")).report(),
    };
    let (mut out, mut err) = (BufWriter::new(io::stdout().lock()), io::stderr().lock());
    let code = runtime.block_on(oxmq_admin::run(args, Surroundings::of_process(), &mut out, &mut err));
    // What still runs in the background (a name that is being looked up) keeps nobody waiting.
    runtime.shutdown_background();
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_or_the_first_argument_decides() {
        let args = |line: &[&str]| args(line.iter().map(OsString::from));
        assert_eq!(args(&["/opt/bin/mqadmin", "help", "x"]), Some(vec!["help".into(), "x".into()]));
        assert_eq!(args(&["mqadmin"]), Some(vec![]));
        assert_eq!(args(&["oxmq", "admin", "clusterList"]), Some(vec!["clusterList".into()]));
        assert_eq!((args(&["oxmq", "broker", "admin"]), args(&["oxmq"]), args(&[])), (None, None, None));
    }
}
