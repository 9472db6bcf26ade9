// SPDX-License-Identifier: Apache-2.0
//! Cases of the client against real servers, run by `compat/client/run.sh`.
//!
//! `suite NAME_SERVER [OPTION VALUE]... [FILTER...]`: runs the cases whose names contain a filter, all without one. Prints
//! `ok NAME` or `FAILED NAME why`, and `N passed, N failed` at the end; exits with 1 if one failed.
//!
//! - `--version V`: what serves, `oxmq`, `4.9.7` or `5.3.3`; some cases need what 4.x does not have
//! - `--keys ACCESS:SECRET`: all cases sign their requests, and what a broker with ACL refuses is tried, too
//! - `--tls FOLDER`: all cases encrypt, with the certificates of that folder, and what such a broker refuses is tried
//! - `--slave alive|alone`: only the cases of a broker with a slave, before and after its master was killed
//!
//! `suite certificates FOLDER` makes an authority (`ca.pem`), certificates with keys of a server and of a client that it
//! has signed, and one that it has not.
//!
//! A new case: a function as those in `producer.rs`, and its line in the table of its file.

mod certificates;
mod consumer;
mod env;
mod producer;
mod secured;
mod slave;

use anyhow::{Context, Result, bail};
use env::{Env, Need, Servers};
use oxmq_client::Credentials;
use std::{future::Future, path::Path, pin::Pin, process::ExitCode, time::Duration};

/// What a case is: its name, what it needs, and what it does.
type Case = (&'static str, Need, fn(Env) -> Pin<Box<dyn Future<Output = Result<()>>>>);

/// Longest time that a case may take.
const PATIENCE: Duration = Duration::from_secs(150);

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(2)
        }
    }
}

/// True if something was run and nothing failed.
fn run() -> Result<bool> {
    let mut args = std::env::args().skip(1);
    let first =
        args.next().context("usage: suite NAME_SERVER [OPTION VALUE]... [FILTER...], see its source")?;
    if first == "certificates" {
        certificates::write(Path::new(&args.next().context("usage: suite certificates FOLDER")?))?;
        return Ok(true);
    }
    let (servers, filters) = arguments(first, args)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let cases: Vec<Case> = [producer::CASES, consumer::CASES, secured::CASES, slave::CASES].concat();
    let (mut passed, mut failed) = (0, 0);
    for (name, need, case) in cases {
        if !filters.is_empty() && !filters.iter().any(|filter| name.contains(filter.as_str())) {
            continue;
        }
        if !servers.meet(need) {
            continue;
        }
        let env = Env::new(&servers, name);
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
    Ok(failed == 0 && passed > 0)
}

fn arguments(name_server: String, mut args: impl Iterator<Item = String>) -> Result<(Servers, Vec<String>)> {
    let (mut servers, mut filters) = (Servers::new(name_server), Vec::new());
    while let Some(arg) = args.next() {
        if !arg.starts_with("--") {
            filters.push(arg);
            continue;
        }
        let value = args.next().with_context(|| format!("{arg} wants a value"))?;
        match arg.as_str() {
            "--version" => servers.version = value,
            "--keys" => {
                let (access, secret) = value.split_once(':').context("--keys ACCESS:SECRET")?;
                servers.options.credentials = Some(Credentials::new(access, secret));
                servers.access_key = Some(access.to_owned());
            }
            "--tls" => {
                servers.options.tls = Some(certificates::client(Path::new(&value))?);
                servers.certificates = Some(value.into());
            }
            "--slave" => servers.slave = Some(value),
            _ => bail!("{arg} is no option"),
        }
    }
    Ok((servers, filters))
}
