// SPDX-License-Identifier: Apache-2.0
//! `mqadmin`: from the arguments to the exit code. Java: `MQAdminStartup`.

mod completion;
mod context;
mod option;
mod tls;
mod usage;

pub(crate) use context::{CommandError, Context};
pub(crate) use option::{Given, Opt, Output, UsageError, shorten};

use crate::{Admin, commands};
use commands::Command;
use oxmq_client::{Credentials, NoService, Remote, RemoteOptions};
use std::{
    ffi::OsString,
    fmt::Write as _,
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
};

/// All is well.
const EXIT_OK: u8 = 0;
/// The command line cannot be understood, or the command failed.
const EXIT_FAILURE: u8 = 1;

/// What the commands take from their surroundings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Surroundings {
    /// Name servers if `-n` does not name any. Java: `NAMESRV_ADDR`.
    pub namesrv_addr: Option<String>,
    /// Where `conf/tools.yml` with the keys of an access control list lies. Java: `ROCKETMQ_HOME`.
    pub rocketmq_home: Option<PathBuf>,
    /// Options for Java, of which those of TLS count: `-Dtls.enable=true`. Java: `JAVA_OPT`.
    pub java_opt: Option<String>,
}

impl Surroundings {
    /// Those of this process.
    #[must_use]
    pub fn of_process() -> Self {
        Self {
            namesrv_addr: std::env::var("NAMESRV_ADDR").ok(),
            rocketmq_home: std::env::var_os("ROCKETMQ_HOME").map(PathBuf::from),
            java_opt: std::env::var("JAVA_OPT").ok(),
        }
    }
}

/// Runs one command and returns the code to exit with: 0 if all is well, 1 if the command line is wrong or the command
/// failed, or what the command says.
///
/// `args`: without the name of the program. What Java prints on standard output goes to `out`; complaints, one line each,
/// and progress go to `err`. Has to run inside of a tokio runtime.
pub async fn run(
    args: impl IntoIterator<Item = OsString>,
    surroundings: Surroundings,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> u8 {
    let args: Result<Vec<String>, OsString> = args.into_iter().map(OsString::into_string).collect();
    let args = match args {
        Ok(args) => args,
        Err(arg) => {
            let _ = writeln!(err, "an argument is no UTF-8: {}", shorten(&arg.to_string_lossy()));
            return EXIT_FAILURE;
        }
    };
    let code = match args.split_first() {
        None => print(out, &list()),
        Some((name, [command])) if name == "help" => match commands::find(command) {
            Some(command) => print(out, &usage_of(command)),
            None => no_such_command(command, out, err),
        },
        Some((name, [])) if matches!(name.as_str(), "-h" | "--help" | "help") => print(out, &list()),
        Some((name, rest)) if name == "completion" => complete(rest, out, err),
        Some((name, rest)) => match commands::find(name) {
            Some(command) => run_command(command, rest, surroundings, out, err).await,
            None => no_such_command(name, out, err),
        },
    };
    // Whoever reads has what is there before the process ends.
    let _ = out.flush();
    let _ = err.flush();
    code
}

fn print(out: &mut dyn Write, text: &str) -> u8 {
    // Nobody reading it (`mqadmin | head -1`) is no failure.
    let _ = out.write_all(text.as_bytes());
    EXIT_OK
}

fn list() -> String {
    let mut text = String::from("The most commonly used mqadmin commands are:\n");
    for command in commands::all() {
        let _ = writeln!(text, "   {:<35} {}", command.name, command.description);
    }
    text + "\nSee 'mqadmin help <command>' for more information on a specific command.\n"
}

fn usage_of(command: &Command) -> String {
    usage::usage(&format!("mqadmin {}", command.name), &option::with_common(command.options))
}

fn no_such_command(name: &str, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let shown = shorten(name);
    // COMPAT(java): on standard output. The exit code is ours: Java's is 0.
    let _ = writeln!(out, "The sub command {shown} not exist.");
    if let Some(near) = commands::nearest(name) {
        let _ = writeln!(err, "did you mean {near}?");
    }
    EXIT_FAILURE
}

fn complete(args: &[String], out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let script = match args {
        [shell] => completion::script(shell),
        _ => None,
    };
    match script {
        Some(script) => print(out, &script),
        None => {
            let _ = writeln!(err, "completion is for bash, zsh or fish: mqadmin completion bash");
            EXIT_FAILURE
        }
    }
}

async fn run_command(
    command: &Command,
    args: &[String],
    surroundings: Surroundings,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> u8 {
    let options = option::with_common(command.options);
    let given = match option::parse(&options, args) {
        Ok(given) if given.has("h") => return print(out, &usage_of(command)),
        Ok(given) => given,
        Err(error) => return usage_error(command, &error, out, err),
    };
    let namesrv_addr = given.value("n").map(str::to_owned).or(surroundings.namesrv_addr);
    let name_servers = addresses(namesrv_addr.as_deref().unwrap_or_default());
    let mut remote = RemoteOptions::default();
    remote.credentials = surroundings.rocketmq_home.and_then(|home| credentials(&home));
    remote.tls = match tls::of_java_options(surroundings.java_opt.as_deref().unwrap_or_default()) {
        Ok(tls) => tls,
        Err(reason) => {
            let _ = writeln!(err, "mqadmin {}: JAVA_OPT: {}", command.name, context::one_line(&reason));
            return EXIT_FAILURE;
        }
    };
    let remote = Remote::new(remote, Arc::new(NoService));
    let mut context = Context::new(Admin::new(remote, name_servers), given.output, out, err);
    loop {
        let result = (command.run)(&mut context, &given).await;
        if let Err(error) = result {
            let (out, err) = context.streams();
            match error {
                CommandError::Usage(error) => return usage_error(command, &error, out, err),
                CommandError::Output(_) => return EXIT_OK,
                CommandError::Exit(code) => return code,
                error => {
                    let _ = out.flush();
                    let _ =
                        writeln!(err, "mqadmin {}: {}", command.name, context::one_line(&error.to_string()));
                    // Who watches wants to go on watching when a broker is away for a moment.
                    if given.watch.is_none() {
                        return EXIT_FAILURE;
                    }
                }
            }
        }
        let Some(pause) = given.watch else { return EXIT_OK };
        if context.flush().is_err() {
            return EXIT_OK;
        }
        tokio::time::sleep(pause).await;
    }
}

fn usage_error(command: &Command, error: &UsageError, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let _ = writeln!(err, "{}", context::one_line(&error.to_string()));
    let _ = out.write_all(usage_of(command).as_bytes());
    EXIT_FAILURE
}

/// The addresses in `a:1;b:2`. Java also takes them from `http://` sources, which nobody should.
pub(crate) fn addresses(text: &str) -> Vec<String> {
    text.split(';').map(str::trim).filter(|addr| !addr.is_empty()).map(str::to_owned).collect()
}

/// The keys in `conf/tools.yml`, `None` if there are none. Java: `AclUtils#getAclRPCHook`.
fn credentials(home: &Path) -> Option<Credentials> {
    let text = fs::read_to_string(home.join("conf").join("tools.yml")).ok()?;
    let value = |key: &str| {
        let line =
            text.lines().find_map(|line| line.trim().strip_prefix(key)?.trim_start().strip_prefix(':'))?;
        let value = line.split(" #").next()?.trim().trim_matches(['"', '\'']);
        Some(value.to_owned()).filter(|value| !value.is_empty())
    };
    Some(Credentials::new(&value("accessKey")?, &value("secretKey")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_taken_from_tools_yml() {
        let home = std::env::temp_dir().join(format!("oxmq-admin-{}", std::process::id()));
        fs::create_dir_all(home.join("conf")).unwrap();
        let file = home.join("conf").join("tools.yml");
        for (text, found) in [
            ("accessKey: rocketmq2\nsecretKey: \"12345678\" # secret\n", true),
            ("accessKey:\nsecretKey:\n", false),
            ("secretKey: x\n", false),
        ] {
            fs::write(&file, text).unwrap();
            assert_eq!(credentials(&home).is_some(), found, "{text}");
        }
        fs::remove_dir_all(&home).unwrap();
        assert!(credentials(&home).is_none());
    }

    #[test]
    fn addresses_stand_between_semicolons() {
        assert_eq!(addresses(" a:1; ;b:2;"), ["a:1", "b:2"]);
        assert!(addresses("").is_empty());
    }
}
