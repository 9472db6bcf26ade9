// SPDX-License-Identifier: Apache-2.0
//! What the commands say, and the codes with which they end.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

/// A command line that cannot be understood. Java: `ServerUtil#parseCmdLine`.
pub(crate) const EXIT_USAGE: u8 = 1;
/// Nothing to shut down. Java: `bin/mqshutdown`.
pub(crate) const EXIT_NOT_RUNNING: u8 = 1;
/// A configuration that cannot be. Java: `System.exit(-3)`.
pub(crate) const EXIT_CONFIGURATION: u8 = 253;
/// Everything else. Java: `System.exit(-1)`.
pub(crate) const EXIT_FAILURE: u8 = 255;

/// Why a command fails.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    /// One line for standard error.
    message: String,
    /// What Java prints on standard output then, usage mostly.
    output: Option<String>,
}

impl Failure {
    pub(crate) fn new(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), output: None }
    }

    pub(crate) fn with_output(self, output: String) -> Self {
        Self { output: Some(output), ..self }
    }

    /// The same with another code, for commands with codes of their own.
    pub(crate) fn with_code(self, code: u8) -> Self {
        Self { code, ..self }
    }

    pub(crate) fn report(&self) -> ExitCode {
        // A message never spans lines, whatever a file name or value in it holds.
        complain(&self.message.replace(['\n', '\r'], " "));
        if let Some(output) = &self.output {
            say(output);
        }
        ExitCode::from(self.code)
    }
}

/// Prints one line, exactly, on standard output. Nobody reading it (`mqbroker -p | head -1`) is no failure.
pub(crate) fn say(line: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Prints one line on standard error, with the same indifference.
pub(crate) fn complain(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
