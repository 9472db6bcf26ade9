// SPDX-License-Identifier: Apache-2.0
//! What a command works with: the cluster, where its answer goes, and how it fails.

use super::{Output, UsageError};
use crate::{Admin, AdminError};
use serde::Serialize;
use std::io::{self, Write};
use thiserror::Error;

pub(crate) use crate::admin::one_line;

/// What a command works with.
pub(crate) struct Context<'a> {
    /// Asks the cluster.
    pub(crate) admin: Admin,
    output: Output,
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
}

/// Why a command fails.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum CommandError {
    /// The options do not fit: the usage text follows.
    #[error(transparent)]
    Usage(#[from] UsageError),
    /// The cluster did not answer as it should.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// Anything else, as one line that says what to do.
    #[error("{0}")]
    Failed(String),
    /// Nobody reads what is printed: the command ends, and nothing is wrong.
    #[error("cannot print: {0}")]
    Output(#[from] io::Error),
    /// All was said; the process ends with this code.
    #[error("exit code {0}")]
    Exit(u8),
}

impl CommandError {
    /// A failure in one line.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::Failed(message.into())
    }

    /// Options that do not fit, in one line.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Usage(UsageError::Wrong(message.into()))
    }
}

impl<'a> Context<'a> {
    pub(super) fn new(admin: Admin, output: Output, out: &'a mut dyn Write, err: &'a mut dyn Write) -> Self {
        Self { admin, output, out, err }
    }

    /// True for `-o json`: exactly one JSON document is to be printed.
    pub(crate) fn is_json(&self) -> bool {
        self.output == Output::Json
    }

    /// Prints an answer: as JSON, or as the text that `render` makes of it.
    pub(crate) fn show<T: Serialize>(
        &mut self,
        answer: &T,
        render: impl FnOnce(&T) -> String,
    ) -> Result<(), CommandError> {
        if self.is_json() { self.json(answer) } else { self.print(&render(answer)) }
    }

    /// Prints a JSON document.
    pub(crate) fn json<T: Serialize>(&mut self, answer: &T) -> Result<(), CommandError> {
        let text = serde_json::to_string_pretty(answer).map_err(|error| {
            CommandError::failed(format!("the answer cannot be written as JSON: {error}"))
        })?;
        self.print(&(text + "\n"))
    }

    /// Prints text as it is, at once.
    pub(crate) fn print(&mut self, text: &str) -> Result<(), CommandError> {
        self.out.write_all(text.as_bytes())?;
        Ok(self.out.flush()?)
    }

    /// Prints a line of Java's, unless JSON is wanted: for what is reported step by step.
    pub(crate) fn say(&mut self, line: &str) -> Result<(), CommandError> {
        if self.is_json() { Ok(()) } else { self.print(&format!("{line}\n")) }
    }

    /// Tells people something that is no answer, on standard error: progress, or one of several servers that failed.
    pub(crate) fn note(&mut self, line: &str) {
        let _ = writeln!(self.err, "{}", one_line(line));
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    pub(super) fn streams(&mut self) -> (&mut dyn Write, &mut dyn Write) {
        (self.out, self.err)
    }
}
