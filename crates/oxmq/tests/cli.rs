// SPDX-License-Identifier: Apache-2.0
//! The commands as a shell sees them: what they print where, and how they end.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;

/// A home folder of its own, and the binary under all its names.
struct Shell {
    home: TempDir,
}

impl Shell {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        for name in ["oxmq", "mqnamesrv", "mqbroker", "mqshutdown"] {
            symlink(env!("CARGO_BIN_EXE_oxmq"), home.path().join(name)).unwrap();
        }
        Self { home }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn file(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), text).unwrap();
        self.path(name).to_str().unwrap().to_owned()
    }

    fn command(&self, program: impl AsRef<Path>, args: &[&str]) -> Command {
        let mut command = Command::new(self.path(program.as_ref().to_str().unwrap()));
        command.args(args).env("HOME", self.home.path()).current_dir(self.home.path());
        command.env_remove("NAMESRV_ADDR").env_remove("RUST_LOG").stdin(Stdio::null());
        command
    }

    fn run(&self, program: &str, args: &[&str]) -> Output {
        self.command(program, args).output().unwrap()
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[track_caller]
fn check(output: &Output, code: i32, stdout: &str, stderr: &str) {
    assert_eq!(text(&output.stderr), stderr);
    assert_eq!(text(&output.stdout), stdout);
    assert_eq!(output.status.code(), Some(code));
}

const BROKER_HELP: &str = "\
usage: mqbroker [-c <arg>] [-h] [-m] [-n <arg>] [-p]
 -c,--configFile <arg>       Broker config properties file
 -h,--help                   Print help
 -m,--printImportantConfig   Print important config item
 -n,--namesrvAddr <arg>      Name server address list, eg: '192.168.0.1:9876;192.168.0.2:9876'
 -p,--printConfigItem        Print all config item
";

#[test]
fn help_is_javas() {
    let shell = Shell::new();
    check(&shell.run("mqbroker", &["-h"]), 0, BROKER_HELP, "");
    check(&shell.run("oxmq", &["broker", "--help"]), 0, BROKER_HELP, "");
    let output = shell.run("mqnamesrv", &["-help"]);
    assert!(text(&output.stdout).starts_with("usage: mqnamesrv [-c <arg>] [-h] [-n <arg>] [-p]\n"));
    let output = shell.run("oxmq", &["-h"]);
    assert!(text(&output.stdout).contains("dev") && text(&output.stdout).contains("mqadmin"));
    assert_eq!(
        text(&shell.run("oxmq", &["--version"]).stdout),
        concat!("oxmq ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[test]
fn a_wrong_command_line_is_answered_as_java_does() {
    let shell = Shell::new();
    check(&shell.run("mqbroker", &["-x"]), 1, BROKER_HELP, "Unrecognized option: -x\n");
    check(&shell.run("mqbroker", &["--no-such"]), 1, BROKER_HELP, "Unrecognized option: --no-such\n");
    check(&shell.run("mqbroker", &["-c"]), 1, BROKER_HELP, "Missing argument for option: c\n");
    check(
        &shell.run("mqshutdown", &[]),
        1,
        "Usage: mqshutdown broker | namesrv\n",
        "the following required arguments were not provided: <role>\n",
    );
    let output = shell.run("oxmq", &["no-such"]);
    assert_eq!(
        (output.status.code(), text(&output.stderr)),
        (Some(1), "unrecognized subcommand 'no-such'\n")
    );
    let output = shell.run("oxmq", &["dev", "--broker-port", "0"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr).lines().count(), 1, "{output:?}");
}

#[test]
fn the_configuration_is_printed() {
    let shell = Shell::new();
    let file =
        shell.file("broker.conf", "# 注释\nbrokerName = broker-a\nbrokername=typo\nlistenPort=20911\n");
    let output = shell.run("mqbroker", &["-n", "a:9876;b:9876", "-c", &file, "-m"]);
    assert_eq!(text(&output.stderr), "unknown configuration key \"brokername\"; did you mean brokerName?\n");
    let important: Vec<_> = text(&output.stdout).lines().collect();
    assert_eq!(important[..2], ["namesrvAddr=a:9876;b:9876", "listenPort=20911"]);
    assert!(important.contains(&"brokerName=broker-a"));
    assert!(important.contains(&&*format!("storePathRootDir={}/store", shell.home.path().display())));
    assert!(!important.contains(&"brokerPermission=6"));
    assert!(output.status.success());

    let output = shell.run("mqbroker", &["-c", &file, "-p"]);
    let all: Vec<_> = text(&output.stdout).lines().collect();
    assert!(all.contains(&"brokerPermission=6") && all.contains(&"haListenPort=20912"));

    let file = shell.file("namesrv.conf", "listenPort=19876\n");
    let output = shell.run("mqnamesrv", &["-p", "-c", &file]);
    let all: Vec<_> = text(&output.stdout).lines().collect();
    assert_eq!(all[0], format!("load config properties file OK, {file}"));
    assert!(all.contains(&"listenPort=19876") && all.contains(&&*format!("configStorePath={file}")));
}

#[test]
fn the_environment_names_name_servers_and_everything_else_overrides_it() {
    let shell = Shell::new();
    let file = shell.file("broker.conf", "namesrvAddr=file:1\n");
    for (args, expected) in [
        (&["-m"][..], "namesrvAddr=env:1"),
        (&["-m", "-c", &file], "namesrvAddr=file:1"),
        (&["-m", "-c", &file, "-n", "line:1"], "namesrvAddr=line:1"),
    ] {
        let output = shell.command("mqbroker", args).env("NAMESRV_ADDR", "env:1").output().unwrap();
        assert_eq!(text(&output.stdout).lines().next(), Some(expected));
    }
}

#[test]
fn an_impossible_configuration_stops_the_start() {
    let shell = Shell::new();
    let illegal = "The Name Server Address[nowhere] illegal, please set it as follows, \
                   \"127.0.0.1:9876;192.168.0.1:9876\"\n";
    check(&shell.run("mqbroker", &["-n", "nowhere"]), 253, "", illegal);
    let missing = "cannot read /no/such/file: No such file or directory (os error 2)\n";
    check(&shell.run("mqbroker", &["-c", "/no/such/file"]), 255, "", missing);
    check(&shell.run("mqnamesrv", &["-c", "/no/such/file"]), 255, "", missing);
    let endless = "cannot read /dev/zero: it is longer than 1 MiB, which no configuration is\n";
    check(&shell.run("mqbroker", &["-c", "/dev/zero"]), 255, "", endless);

    let file = shell.file("port.conf", "listenPort=a\n");
    let port = "configuration: listenPort=\"a\" is impossible: expected a whole number from 1 to 65535\n";
    check(&shell.run("mqbroker", &["-c", &file]), 253, "", port);
    let file = shell.file("slave.conf", "brokerRole=SLAVE\n");
    let output = shell.run("mqbroker", &["-c", &file, "-p"]);
    assert!(text(&output.stderr).contains("Slave's brokerId must be > 0"), "{output:?}");
    assert_eq!(output.status.code(), Some(253));
    let file = shell.file("escape.conf", "brokerName=\\uXYZ\n");
    let escape = format!("cannot read {file}: line 1: malformed \\uXXXX escape\n");
    check(&shell.run("mqbroker", &["-c", &file]), 255, "", &escape);
}

#[test]
fn a_file_that_is_not_utf_8_is_read_as_java_reads_it() {
    let shell = Shell::new();
    fs::write(shell.path("gbk.conf"), b"# \xd6\xd0\xce\xc4\nbrokerName=caf\xe9\n").unwrap();
    let output = shell.run("mqbroker", &["-c", "gbk.conf", "-m"]);
    assert!(text(&output.stdout).contains("brokerName=café\n"), "{output:?}");
}

#[test]
fn nobody_reading_is_no_failure() {
    let shell = Shell::new();
    let mut child =
        shell.command("mqbroker", &["-p"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    check(&output, 0, "", "");
}

#[test]
fn a_failed_start_is_one_line_on_the_terminal_and_in_the_log() {
    let shell = Shell::new();
    let file = shell.file("broker.conf", "brokername=typo\nstorePathRootDir=/dev/null/store\n");
    let output = shell.run("mqbroker", &["-c", &file]);
    assert_eq!(output.status.code(), Some(255));
    let why = text(&output.stderr).lines().filter_map(|line| line.strip_prefix("mqbroker: ")).next().unwrap();
    let log = fs::read_to_string(shell.path("logs/rocketmqlogs/broker.log")).unwrap();
    assert!(log.contains(why) && log.contains("did you mean brokerName?"), "{log}");

    fs::remove_dir_all(shell.path("logs")).unwrap();
    fs::write(shell.path("logs"), "in the way").unwrap();
    let output = shell.run("mqbroker", &["-c", &file]);
    let first = text(&output.stderr).lines().next().unwrap();
    assert!(
        first.starts_with("cannot write logs to ") && first.ends_with("logging to the terminal only"),
        "{first}"
    );
    assert!(text(&output.stderr).contains("did you mean brokerName?"), "{output:?}");
}

#[test]
fn the_scripts_find_the_binary_through_links() {
    let shell = Shell::new();
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bin");
    fs::create_dir_all(shell.path("opt/bin")).unwrap();
    fs::create_dir_all(shell.path("links")).unwrap();
    for name in ["mqbroker", "mqnamesrv", "mqshutdown"] {
        fs::copy(scripts.join(name), shell.path("opt/bin").join(name)).unwrap();
        symlink(Path::new("../opt/bin").join(name), shell.path("links").join(name)).unwrap();
    }
    let run =
        |args: &[&str]| shell.command("links/mqbroker", args).env("PATH", "/usr/bin:/bin").output().unwrap();
    let output = run(&["-h"]);
    assert_eq!(output.status.code(), Some(255));
    assert!(text(&output.stderr).starts_with("mqbroker: no oxmq in "), "{output:?}");

    symlink(env!("CARGO_BIN_EXE_oxmq"), shell.path("opt/oxmq")).unwrap();
    check(&run(&["-h"]), 0, BROKER_HELP, "");
    let output = run(&["-n", "a:1;b:2", "-m"]);
    assert!(text(&output.stdout).starts_with("namesrvAddr=a:1;b:2\n"), "{output:?}");
    check(
        &shell.run("links/mqshutdown", &["x"]),
        1,
        "Usage: mqshutdown broker | namesrv\n",
        "invalid value 'x' for '<role>' [possible values: broker, namesrv]\n",
    );
}
