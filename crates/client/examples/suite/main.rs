// SPDX-License-Identifier: Apache-2.0
//! Cases of the client against real servers, run by `compat/client/run.sh`.
//!
//! `suite NAME_SERVER [--version V] [FILTER...]`: runs the cases whose names contain a filter, all without one. V is what
//! serves: `oxmq`, `4.9.7` or `5.3.3`; some cases need what 4.x does not have. Prints `ok NAME` or `FAILED NAME why`, and
//! `N passed, N failed` at the end; exits with 1 if one failed.
//!
//! A new case: a function as those in `producer.rs`, and its line in the table of its file.

mod env;
mod producer;

use env::{Env, Need};
use std::{future::Future, pin::Pin, process::ExitCode, time::Duration};

/// What a case is: its name, what it needs, and what it does.
type Case = (&'static str, Need, fn(Env) -> Pin<Box<dyn Future<Output = anyhow::Result<()>>>>);

/// Longest time that a case may take.
const PATIENCE: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let mut version = "oxmq".to_owned();
    if let Some(at) = args.iter().position(|arg| arg == "--version")
        && at + 1 < args.len()
    {
        version = args.remove(at + 1);
        args.remove(at);
    }
    let Some(name_server) = args.first().cloned() else {
        eprintln!("usage: suite NAME_SERVER [--version oxmq|4.9.7|5.3.3] [FILTER...]");
        return ExitCode::from(2);
    };
    let filters = &args[1..];
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let cases: Vec<Case> = [producer::CASES].concat();
    let (mut passed, mut failed) = (0, 0);
    for (name, need, case) in cases {
        if !filters.is_empty() && !filters.iter().any(|filter| name.contains(filter.as_str())) {
            continue;
        }
        if !need.met_by(&version) {
            println!("skipped {name} ({version} does not have it)");
            continue;
        }
        let env = Env::new(&name_server, name);
        let begun = std::time::Instant::now();
        let result = runtime.block_on(async {
            let limited = tokio::time::timeout(PATIENCE, case(env));
            limited.await.unwrap_or_else(|_| Err(anyhow::anyhow!("not done after {} s", PATIENCE.as_secs())))
        });
        match result {
            Ok(()) => {
                passed += 1;
                println!("ok {name} ({} ms)", begun.elapsed().as_millis());
            }
            Err(error) => {
                failed += 1;
                println!("FAILED {name} {error:#}");
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
