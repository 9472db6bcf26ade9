// SPDX-License-Identifier: Apache-2.0
//! Ten thousand clients that have nothing to say.
#![cfg(target_os = "linux")] // Where the memory of a process can be read from a file.

mod kit;

use kit::*;
use oxmq_net::Limits;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::{
    env, fs,
    io::{BufRead, BufReader, Read},
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const CONNECTIONS: usize = 10_000;
/// Clients live in processes of their own, so that no process needs more handles than systems commonly allow and
/// the memory that is measured is the server's.
const HOLDERS: usize = 4;
/// What an idle connection may take in the memory of the process.
const BYTES_MAX: usize = 4096;

const ADDR: &str = "OXMQ_TEST_HOLD_ADDR";

fn raise_open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).expect("the soft limit may be raised to the hard one");
    limit.maximum.unwrap_or(u64::MAX)
}

fn resident_bytes() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

#[test]
#[ignore = "ten_thousand_idle_connections runs it in processes of its own"]
fn hold_connections() {
    let Ok(addr) = env::var(ADDR) else { return };
    raise_open_files();
    let held: Vec<_> =
        (0..CONNECTIONS / HOLDERS).map(|_| TcpStream::connect(&addr).expect("connects")).collect();
    println!("\nholding");
    // Until the other process has seen enough, or is gone.
    let _ = std::io::stdin().read(&mut [0]);
    drop(held);
}

fn holder(addr: &str) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["hold_connections", "--exact", "--ignored", "--nocapture"])
        .env(ADDR, addr)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn ten_thousand_idle_connections() {
    let allowed = raise_open_files();
    assert!(
        allowed >= CONNECTIONS as u64 + 200,
        "this system allows a process {allowed} open files, too few to show {CONNECTIONS} connections"
    );
    let server = serve(Limits::default());
    server.connect().echoes("warm");
    until("it is gone", || server.service.alive() == 0);
    let before = resident_bytes();
    let mut holders: Vec<_> = (0..HOLDERS).map(|_| holder(&server.addr.to_string())).collect();
    let mut outputs: Vec<_> =
        holders.iter_mut().map(|holder| BufReader::new(holder.stdout.take().unwrap()).lines()).collect();
    for lines in &mut outputs {
        let holding = lines.map_while(Result::ok).any(|line| line == "holding");
        assert!(holding, "a holder could not connect");
    }
    until("all are accepted", || server.service.alive() == CONNECTIONS);
    let each = resident_bytes().saturating_sub(before) / CONNECTIONS;
    println!("{each} bytes for each idle connection");
    assert!(each <= BYTES_MAX, "{each} bytes for each idle connection");

    let start = Instant::now();
    let mut wire = server.connect();
    for _ in 0..100 {
        wire.echoes("one more");
    }
    let took = start.elapsed();
    assert!(took < Duration::from_secs(1), "100 requests of one more connection took {took:?}");

    for mut holder in holders {
        drop(holder.stdin.take());
        assert!(holder.wait().unwrap().success());
    }
    drop(wire);
    server.service.all_closed(CONNECTIONS + 2);
}
