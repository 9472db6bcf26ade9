// SPDX-License-Identifier: Apache-2.0
//! A name server with a broker, and `mqadmin` that asks them.

use super::{Ground, Process, Wire, free_port, until, write_config};
use serde_json::Value;
use std::{
    fs,
    os::unix::process::CommandExt,
    process::{Child, Command, Output, Stdio},
};

/// A name server and a broker.
pub struct Cluster {
    pub ground: Ground,
    pub namesrv: String,
    pub broker_port: u16,
    _processes: Vec<Process>,
}

impl Cluster {
    /// Starts both in one process.
    pub fn start() -> Self {
        let ground = Ground::new();
        for _ in 0..10 {
            let (namesrv, broker) = (free_port(), free_port());
            let (namesrv, broker) = (namesrv.to_string(), broker);
            let args =
                ["dev", "--data", "data", "--namesrv-port", &namesrv, "--broker-port", &broker.to_string()];
            match ground.start(&args, 1) {
                Ok(process) => {
                    let namesrv = format!("127.0.0.1:{namesrv}");
                    return Self::registered(ground, namesrv, broker, vec![process]);
                }
                Err(failed) if failed.stderr.contains("in use") => {}
                Err(failed) => panic!("{failed:?}"),
            }
        }
        panic!("no port was free");
    }

    /// Starts each in a process of its own, with these lines in the configuration of the broker `b`.
    pub fn start_with(config: &str) -> Self {
        let ground = Ground::new();
        for _ in 0..10 {
            let (port, broker) = (free_port(), free_port());
            fs::write(ground.path("names.conf"), format!("listenPort={port}\nbindAddress=127.0.0.1\n"))
                .unwrap();
            let namesrv = format!("127.0.0.1:{port}");
            let config = format!("namesrvAddr={namesrv}\n{config}");
            write_config(&ground, "broker.conf", &ground.path("store"), broker, &config);
            let Ok(names) = ground.start(&["namesrv", "-c", "names.conf"], 2) else { continue };
            let Ok(process) = ground.start(&["broker", "-c", "broker.conf"], 1) else { continue };
            return Self::registered(ground, namesrv, broker, vec![process, names]);
        }
        panic!("no port was free");
    }

    fn registered(ground: Ground, namesrv: String, broker_port: u16, processes: Vec<Process>) -> Self {
        let cluster = Self { ground, namesrv, broker_port, _processes: processes };
        until("the broker registers", || {
            let output = cluster.run(&["queryCq", "-t", "TBW102", "-q", "0", "-i", "0"]);
            !String::from_utf8_lossy(&output.stderr).contains("TOPIC_NOT_EXIST")
        });
        cluster
    }

    pub fn broker(&self) -> String {
        format!("127.0.0.1:{}", self.broker_port)
    }

    pub fn connect(&self) -> Wire {
        Wire::connect(self.broker_port)
    }

    /// Begins a command, of which nobody reads what it prints.
    pub fn begin(&self, args: &[&str]) -> Child {
        let nothing = Stdio::null;
        command(&self.ground, &[args, &["-n", &self.namesrv]].concat())
            .stdout(nothing())
            .stderr(nothing())
            .spawn()
            .unwrap()
    }

    pub fn run(&self, args: &[&str]) -> Output {
        mqadmin(&self.ground, &[args, &["-n", &self.namesrv]].concat())
    }

    /// Runs a command that must succeed, and gives what it prints.
    #[track_caller]
    pub fn text(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {stderr}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    pub fn json(&self, args: &[&str]) -> Value {
        let text = self.text(&[args, &["--output", "json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{args:?}: {error}: {text}"))
    }

    /// Runs a command that must fail with one line that has `part`.
    #[track_caller]
    pub fn fails(&self, args: &[&str], part: &str) {
        failed(&self.run(args), part, args);
    }
}

pub fn mqadmin(ground: &Ground, args: &[&str]) -> Output {
    command(ground, args).output().unwrap()
}

/// `mqadmin`, which is the binary by another name, away from what the environment says.
pub fn command(ground: &Ground, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oxmq"));
    command
        .arg0("mqadmin")
        .args(args)
        .env("HOME", ground.folder.path())
        .env("TZ", "UTC")
        .env_remove("NAMESRV_ADDR")
        .env_remove("ROCKETMQ_HOME")
        .current_dir(ground.folder.path())
        .stdin(Stdio::null());
    command
}

#[track_caller]
pub fn failed(output: &Output, part: &str, args: &[&str]) {
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let shown: Vec<_> = args.iter().map(|arg| arg.get(..40).unwrap_or(arg)).collect();
    assert_eq!(output.status.code(), Some(1), "{shown:?}: {stdout}{stderr}");
    let said = if stderr.is_empty() { &stdout } else { &stderr };
    assert!(said.contains(part), "{shown:?}: {stdout}{stderr}");
    assert!(stderr.lines().count() <= 1 && stderr.len() < 4000, "{shown:?}: {stderr}");
    assert!(!stderr.contains("panicked") && !stderr.contains("Exception"), "{stderr}");
}
