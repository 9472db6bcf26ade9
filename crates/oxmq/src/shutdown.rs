// SPDX-License-Identifier: Apache-2.0
//! How servers are told to stop, from within and from without. Java: `bin/mqshutdown`.

use std::{
    fs, io,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::Path,
};

use rustix::process::{Pid, Signal, geteuid, getpid, kill_process};
use tokio::signal::unix::{self, SignalKind, signal};

use crate::terminal::{EXIT_FAILURE, EXIT_NOT_RUNNING, Failure, say};

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Broker,
    Namesrv,
}

impl Role {
    /// The subcommand that runs it.
    fn subcommand(self) -> &'static str {
        match self {
            Self::Broker => "broker",
            Self::Namesrv => "namesrv",
        }
    }

    /// Java's command that runs it.
    fn command(self) -> &'static str {
        match self {
            Self::Broker => "mqbroker",
            Self::Namesrv => "mqnamesrv",
        }
    }

    /// True if a process runs this role, by its arguments, separated by zero bytes, and its executable's file name.
    ///
    /// Both must fit: an editor that has `mqbroker` open is no broker. `oxmq dev` is neither role: it is stopped where it
    /// was started.
    fn runs(self, executable: &[u8], cmdline: &[u8]) -> bool {
        let executable = executable.strip_suffix(b" (deleted)").unwrap_or(executable);
        let mut arguments = cmdline.split(|&byte| byte == 0);
        let name = arguments.next().and_then(|path| path.rsplit(|&byte| byte == b'/').next());
        match (executable, name) {
            (b"oxmq" | b"mqbroker" | b"mqnamesrv" | b"mqshutdown", Some(name)) => match name {
                b"mqbroker" | b"mqnamesrv" | b"mqshutdown" => name == self.command().as_bytes(),
                _ => arguments.next() == Some(self.subcommand().as_bytes()),
            },
            _ => false,
        }
    }
}

/// SIGTERM and SIGINT, from now on. Until then they end the process at once, which is right during a long recovery.
pub(crate) struct ShutdownSignals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
}

impl ShutdownSignals {
    /// # Errors
    /// The operating system refuses the handlers.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for one and returns its name.
    pub(crate) async fn next(mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Sends SIGTERM to every server of this role that this user runs, and does not wait for its end, as in Java.
///
/// # Errors
/// [`Failure`] if there is none, or one cannot be signalled.
pub(crate) fn shut_down(role: Role) -> Result<(), Failure> {
    let command = role.command();
    let processes = running(role, Path::new("/proc"))
        .map_err(|error| Failure::new(EXIT_FAILURE, format!("mqshutdown: cannot read /proc: {error}")))?;
    if processes.is_empty() {
        // COMPAT(java): scripts look for this line on standard output; the line on standard error is the same.
        let line = format!("No {command} running.");
        return Err(Failure::new(EXIT_NOT_RUNNING, &*line).with_output(line));
    }
    for process in processes {
        let pid = process.as_raw_nonzero();
        say(&format!("The {command}({pid}) is running..."));
        kill_process(process, Signal::TERM).map_err(|error| {
            Failure::new(EXIT_FAILURE, format!("mqshutdown: cannot signal {command}({pid}): {error}"))
        })?;
        say(&format!("Send shutdown request to {command}({pid}) OK"));
    }
    Ok(())
}

/// The processes of this user that run `role`. `proc`: where the kernel lists processes.
fn running(role: Role, proc: &Path) -> io::Result<Vec<Pid>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(proc)? {
        let path = entry?.path();
        let pid = path
            .file_name()
            .and_then(|name| name.to_str())
            .and_then(|name| name.parse().ok())
            .and_then(Pid::from_raw);
        // A process may end while it is looked at: whatever cannot be read is not running.
        if let Some(pid) = pid
            && pid != getpid()
            && is_own(&path)
            && let (Ok(executable), Ok(cmdline)) =
                (fs::read_link(path.join("exe")), fs::read(path.join("cmdline")))
            && let Some(name) = executable.file_name()
            && role.runs(name.as_bytes(), &cmdline)
        {
            found.push(pid);
        }
    }
    Ok(found)
}

fn is_own(process: &Path) -> bool {
    fs::metadata(process).is_ok_and(|metadata| metadata.uid() == geteuid().as_raw())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::{Role, running};

    #[test]
    fn processes_are_found_and_odd_entries_passed_over() {
        let proc = tempfile::tempdir().unwrap();
        for (pid, executable, cmdline) in [
            ("11", "/opt/oxmq", "/opt/oxmq\0broker\0"),
            ("12", "/opt/oxmq", "mqnamesrv\0"),
            ("13", "/usr/bin/vim", "vim\0mqbroker\0"),
            ("self", "/opt/oxmq", "mqbroker\0"),
        ] {
            let process = proc.path().join(pid);
            fs::create_dir(&process).unwrap();
            symlink(executable, process.join("exe")).unwrap();
            fs::write(process.join("cmdline"), cmdline).unwrap();
        }
        fs::create_dir(proc.path().join("14")).unwrap();
        fs::write(proc.path().join("uptime"), "1").unwrap();
        let pids = |role| -> Vec<_> {
            running(role, proc.path()).unwrap().into_iter().map(|pid| pid.as_raw_nonzero().get()).collect()
        };
        assert_eq!((pids(Role::Broker), pids(Role::Namesrv)), (vec![11], vec![12]));
    }

    #[test]
    fn a_servers_process_is_told_from_others() {
        for (executable, cmdline, broker, namesrv) in [
            ("oxmq", "mqbroker\0-n\0a:1\0", true, false),
            ("oxmq", "/opt/oxmq/oxmq\0broker\0-c\0f\0", true, false),
            ("oxmq (deleted)", "oxmq\0broker\0", true, false),
            ("mqbroker", "./mqbroker\0", true, false),
            ("oxmq", "oxmq\0namesrv\0", false, true),
            ("oxmq", "mqnamesrv\0", false, true),
            ("oxmq", "oxmq\0dev\0", false, false),
            ("oxmq", "oxmq\0shutdown\0broker\0", false, false),
            ("oxmq", "mqshutdown\0broker\0", false, false),
            ("vim", "mqbroker\0", false, false),
            ("vim", "vim\0broker\0", false, false),
            ("dash", "sh\0bin/mqbroker\0", false, false),
            ("oxmq", "", false, false),
        ] {
            let runs = |role: Role| role.runs(executable.as_bytes(), cmdline.as_bytes());
            assert_eq!(
                (runs(Role::Broker), runs(Role::Namesrv)),
                (broker, namesrv),
                "{executable} {cmdline:?}"
            );
        }
    }
}
