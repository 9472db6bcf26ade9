// SPDX-License-Identifier: Apache-2.0
//! The log: to standard error, and to a file that is rolled by size and bounded in number.
//!
//! `NAME.log` is written; at 100 MiB it becomes `NAME.1.log`, the former `NAME.1.log` becomes `NAME.2.log`, and so on to 5, as
//! many as Java's name server keeps. `RUST_LOG` sets the level, `info` without it.
//!
//! Writing happens on threads of its own behind bounded queues: a full disk or a stopped terminal loses log lines, it does
//! not stop the server.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    fs::{self, File, OpenOptions},
    io::{self, Write},
    panic,
    path::{Path, PathBuf},
};

use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    EnvFilter, Layer as _, filter::filter_fn, fmt::layer, layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use crate::terminal::complain;

const FILE_BYTES_MAX: u64 = 100 << 20;
const OLDER_FILES: u32 = 5;

/// Target of what the terminal hears by other means.
pub(crate) const FILE_ONLY: &str = "oxmq::file_only";

/// What is still to be written is written when this is dropped.
pub(crate) struct Log {
    _guards: Vec<WorkerGuard>,
}

/// Lines that may wait for a slow disk or terminal. Those beyond are dropped; each place takes memory from the start.
const LINES_MAX: usize = 8192;

fn queued(writer: impl io::Write + Send + 'static) -> (NonBlocking, WorkerGuard) {
    NonBlockingBuilder::default().buffered_lines_limit(LINES_MAX).finish(writer)
}

/// Sends the log to standard error and to `folder/name.log`, and panics to the log.
pub(crate) fn start(folder: &Path, name: &str) -> Log {
    let (terminal, terminal_guard) = queued(io::stderr());
    let mut guards = vec![terminal_guard];
    let file = match RollingFile::open(folder, name, FILE_BYTES_MAX) {
        Ok(file) => {
            let (file, guard) = queued(file);
            guards.push(guard);
            Some(layer().with_ansi(false).with_writer(file))
        }
        Err(error) => {
            let folder = folder.display();
            complain(&format!("cannot write logs to {folder}: {error}; logging to the terminal only"));
            None
        }
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|error| {
        if std::env::var_os("RUST_LOG").is_some() {
            complain(&format!("RUST_LOG is not understood, logging at info: {error}"));
        }
        EnvFilter::new("info")
    });
    let terminal = layer()
        .with_ansi(false)
        .with_writer(terminal)
        .with_filter(filter_fn(|metadata| metadata.target() != FILE_ONLY));
    // Only a second start in one process could fail here, and then the first log goes on.
    let _ = tracing_subscriber::registry().with(filter).with(terminal).with(file).try_init();
    panic::set_hook(Box::new(|info| {
        let backtrace = Backtrace::capture();
        match backtrace.status() {
            BacktraceStatus::Captured => tracing::error!("{info}\n{backtrace}"),
            _ => tracing::error!("{info}"),
        }
    }));
    Log { _guards: guards }
}

/// A file that makes room for itself.
struct RollingFile {
    folder: PathBuf,
    name: String,
    file: File,
    written_bytes: u64,
    max_bytes: u64,
}

impl RollingFile {
    fn open(folder: &Path, name: &str, max_bytes: u64) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let file = OpenOptions::new().create(true).append(true).open(folder.join(format!("{name}.log")))?;
        let written_bytes = file.metadata()?.len();
        Ok(Self { folder: folder.to_owned(), name: name.to_owned(), file, written_bytes, max_bytes })
    }

    fn roll(&mut self) -> io::Result<()> {
        let file = |number: u32| match number {
            0 => self.folder.join(format!("{}.log", self.name)),
            _ => self.folder.join(format!("{}.{number}.log", self.name)),
        };
        // Somebody may have removed any of them meanwhile.
        for number in (0..OLDER_FILES).rev().filter(|&number| file(number).exists()) {
            fs::rename(file(number), file(number + 1))?;
        }
        *self = Self::open(&self.folder, &self.name, self.max_bytes)?;
        Ok(())
    }
}

impl Write for RollingFile {
    /// Takes one whole log line, so that no line is torn between two files.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.written_bytes > 0 && self.written_bytes + line.len() as u64 > self.max_bytes {
            self.roll()?;
        }
        self.file.write_all(line)?;
        self.written_bytes += line.len() as u64;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_bounded_in_size_and_number() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("broker.log"), "from the last run\n").unwrap();
        let mut log = RollingFile::open(&folder.path().join("."), "broker", 20).unwrap();
        for number in 0..20 {
            log.write_all(format!("line number {number:02}\n").as_bytes()).unwrap();
        }
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 6);
        assert_eq!(read("broker.log"), "line number 19\n");
        assert_eq!(read("broker.1.log"), "line number 18\n");
        assert_eq!(read("broker.5.log"), "line number 14\n");

        fs::remove_file(folder.path().join("broker.log")).unwrap();
        log.write_all(b"after a removal\n").unwrap();
        assert_eq!(read("broker.log"), "after a removal\n");
    }
}
