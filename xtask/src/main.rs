// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask check`: what CI runs, apart from the suites with foreign clients. `cargo xtask STEP` runs one step.
#![forbid(unsafe_code)]

mod arrows;
mod graph;
mod licences;
mod tidy;

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

/// What is wrong, a line for each finding; a step without findings has passed.
type Findings = Vec<String>;

type Step = (&'static str, fn() -> Findings);

/// The quick ones come first.
const STEPS: [Step; 7] = [
    ("fmt", || cargo(&["fmt", "--all", "--check"])),
    ("tidy", || tidy::check(&root())),
    ("arrows", || graph::read(&root()).map_or_else(|error| vec![error], |graph| arrows::check(&graph))),
    ("licences", || graph::read(&root()).map_or_else(|error| vec![error], |graph| licences::check(&graph))),
    ("clippy", || cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"])),
    ("test", || cargo(&["test", "--workspace", "--locked"])),
    // With a database, so that the pages about keys in SQL are among them.
    ("doc", || cargo(&["doc", "--workspace", "--no-deps", "--locked", "--features", "oxmq-client/sqlite"])),
];

fn main() -> ExitCode {
    let wanted = env::args().nth(1).unwrap_or_default();
    let steps: Vec<_> = STEPS.iter().filter(|(name, _)| wanted == "check" || wanted == *name).collect();
    if steps.is_empty() {
        eprintln!("cargo xtask check, or one of its steps: {}", STEPS.map(|(name, _)| name).join(", "));
        return ExitCode::from(2);
    }
    let mut failed = Vec::new();
    for (name, step) in steps {
        eprintln!("== {name}");
        let findings = step();
        findings.iter().for_each(|finding| eprintln!("{finding}"));
        if !findings.is_empty() {
            failed.push(*name);
        }
    }
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!("failed: {}", failed.join(", "));
    ExitCode::FAILURE
}

/// The workspace. Asked for at run time: a target folder that several work trees share may hold the program of another.
fn root() -> PathBuf {
    env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| ".".into(), |xtask| Path::new(&xtask).join(".."))
}

/// The cargo that runs this program.
fn cargo_program() -> String {
    env::var("CARGO").unwrap_or_else(|_| "cargo".into())
}

/// Runs cargo in the workspace, its output passed through.
fn cargo(args: &[&str]) -> Findings {
    let mut command = Command::new(cargo_program());
    command.args(args).current_dir(root());
    if args[0] == "doc" {
        command.env("RUSTDOCFLAGS", "-D warnings");
    }
    match command.status() {
        Ok(status) if status.success() => Vec::new(),
        Ok(status) => vec![format!("cargo {}: {status}", args.join(" "))],
        Err(error) => vec![format!("cargo {}: {error}", args.join(" "))],
    }
}
