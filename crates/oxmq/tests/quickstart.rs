// SPDX-License-Identifier: Apache-2.0
//! The tutorials' programs by the names of their Java classes, and `oxmq bench`, against servers of `oxmq dev`.

mod kit;

use kit::*;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::{
    fs,
    io::{BufRead, BufReader, Read},
    os::unix::fs::symlink,
    path::Path,
    process::{Child, Command, Output, Stdio},
};

/// `oxmq dev`, and a folder as a distribution has it.
struct Place {
    ground: Ground,
    _dev: Process,
    name_server: String,
}

impl Place {
    fn new() -> Self {
        let ground = Ground::new();
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bin");
        fs::create_dir_all(ground.path("opt/bin")).unwrap();
        fs::copy(scripts.join("tools.sh"), ground.path("opt/bin/tools.sh")).unwrap();
        symlink(env!("CARGO_BIN_EXE_oxmq"), ground.path("opt/oxmq")).unwrap();
        for _ in 0..10 {
            let ports = [free_port(), free_port()];
            let [namesrv, broker] = ports.map(|port| port.to_string());
            let args = ["dev", "--namesrv-port", &namesrv, "--broker-port", &broker, "--data", "data"];
            match ground.start(&args, 4) {
                Ok(dev) => return Self { ground, _dev: dev, name_server: format!("127.0.0.1:{namesrv}") },
                Err(failed) if ports.iter().any(|port| failed.stderr.contains(&format!(":{port}"))) => {}
                Err(failed) => panic!("{failed:?}"),
            }
        }
        panic!("no port was free");
    }

    fn command(&self, program: &str, args: &[&str]) -> Command {
        command(&self.ground, program, args, &self.name_server)
    }

    fn bench(&self, args: &[&str]) -> Output {
        self.command("opt/oxmq", &[&["bench"], args].concat()).output().unwrap()
    }
}

fn command(ground: &Ground, program: &str, args: &[&str], name_server: &str) -> Command {
    let mut command = Command::new(ground.path(program));
    command.args(args).env("NAMESRV_ADDR", name_server).env("HOME", ground.folder.path());
    command.env("PATH", "/usr/bin:/bin").env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Ended with whoever started it.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const CLASSES: &str = "org.apache.rocketmq.example.quickstart";

/// The properties that Java's consumer prints of a message that its producer sent, in its order.
const ORDER: [&str; 9] = [
    "CONSUME_START_TIME",
    "MSG_REGION",
    "UNIQ_KEY",
    "CLUSTER",
    "MIN_OFFSET",
    "TAGS",
    "WAIT",
    "TRACE_ON",
    "MAX_OFFSET",
];

#[test]
fn the_tutorials_producer_and_consumer_print_what_the_tutorials_show() {
    let place = Place::new();
    let output = place.command("opt/bin/tools.sh", &[&format!("{CLASSES}.Producer")]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let lines: Vec<_> = text(&output.stdout).lines().collect();
    assert_eq!(lines.len(), 1000);
    for line in lines {
        let rest = line.strip_prefix("SendResult [sendStatus=SEND_OK, msgId=").unwrap();
        let (id, rest) = rest.split_once(", offsetMsgId=").unwrap();
        let (offset_id, rest) =
            rest.split_once(", messageQueue=MessageQueue [topic=TopicTest, brokerName=").unwrap();
        assert!(
            [id, offset_id]
                .iter()
                .all(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
        );
        let (_, rest) = rest.split_once(", queueId=").unwrap();
        let (queue, rest) = rest.split_once("], queueOffset=").unwrap();
        assert!(queue.parse::<u32>().unwrap() < 8, "{line}");
        assert!(rest.split([',', ']']).next().unwrap().parse::<u64>().unwrap() < 1000, "{line}");
    }

    // Both ways to say where the name server is.
    let jvm = format!("-Drocketmq.namesrv.addr={}", place.name_server);
    let mut consumer = place.command("opt/bin/tools.sh", &["-Xmx1g", &jvm, &format!("{CLASSES}.Consumer")]);
    let consumer = consumer.env_remove("NAMESRV_ADDR").stdout(Stdio::piped()).spawn().unwrap();
    let mut consumer = Killed(consumer);
    let mut bodies = std::collections::BTreeSet::new();
    let mut started = false;
    for line in BufReader::new(consumer.0.stdout.take().unwrap()).lines().map(Result::unwrap) {
        if line == "Consumer Started." {
            started = true;
        } else {
            let rest = line.strip_prefix("ConsumeMessageThread_please_rename_unique_group_name_4_").unwrap();
            let (thread, rest) = rest.split_once(" Receive New Messages: [MessageExt [brokerName=").unwrap();
            assert!((1..=20).contains(&thread.parse::<u32>().unwrap()), "{line}");
            assert!(rest.contains("toString()=Message{topic='TopicTest', flag=0, properties={"), "{line}");
            let properties = rest.split_once("properties={").unwrap().1.split_once('}').unwrap().0;
            let names: Vec<_> = properties.split(", ").map(|pair| pair.split_once('=').unwrap().0).collect();
            assert_eq!(names, ORDER, "{line}");
            assert!(rest.contains("TAGS=TagA") && rest.ends_with("], transactionId='null'}]] "), "{line}");
            let body = rest.split_once("body=[").unwrap().1.split(']').next().unwrap();
            let body: Vec<u8> = body.split(", ").map(|byte| byte.parse().unwrap()).collect();
            bodies.insert(String::from_utf8(body).unwrap());
        }
        if started && bodies.len() == 1000 {
            break;
        }
    }
    assert!((0..1000).all(|number| bodies.contains(&format!("Hello RocketMQ {number}"))));
    kill_process(Pid::from_child(&consumer.0), Signal::TERM).unwrap();
    assert!(consumer.0.wait().unwrap().success());

    // And what people run with it besides.
    let admin = ["org.apache.rocketmq.tools.command.MQAdminStartup", "clusterList", "-n", &place.name_server];
    let output = place.command("opt/bin/tools.sh", &admin).output().unwrap();
    assert!(text(&output.stdout).contains("#Cluster Name"), "{output:?}");
}

#[test]
fn what_cannot_run_is_said_in_a_line() {
    let ground = Ground::new();
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bin");
    fs::create_dir_all(ground.path("opt/bin")).unwrap();
    fs::copy(scripts.join("tools.sh"), ground.path("opt/bin/tools.sh")).unwrap();
    symlink(env!("CARGO_BIN_EXE_oxmq"), ground.path("opt/oxmq")).unwrap();
    // Nobody listens there.
    let nobody = format!("127.0.0.1:{}", free_port());
    let run = |program: &str, args: &[&str]| command(&ground, program, args, &nobody).output().unwrap();
    let output = run("opt/bin/tools.sh", &["org.apache.rocketmq.example.NoSuch"]);
    assert_eq!(output.status.code(), Some(1));
    let lines: Vec<_> = text(&output.stderr).lines().collect();
    assert_eq!(lines[0], "tools.sh: there is no class org.apache.rocketmq.example.NoSuch here");
    assert!(
        lines.len() == 2
            && lines[1].starts_with("Usage: tools.sh ")
            && lines[1].contains("quickstart.Producer")
    );
    assert_eq!(run("opt/bin/tools.sh", &[]).status.code(), Some(1));
    for (args, prefix) in [
        (&["quickstart", "producer"][..], "quickstart: "),
        (&["quickstart", "consumer"], "quickstart: "),
        (&["bench", "producer"], "oxmq bench: "),
        (&["bench", "consumer", "--create-topic"], "oxmq bench: "),
    ] {
        let output = run("opt/oxmq", args);
        assert_eq!(output.status.code(), Some(255), "{output:?}");
        let error = text(&output.stderr);
        assert!(
            error.starts_with(prefix) && error.contains(&nobody) && error.lines().count() == 1,
            "{error}"
        );
    }
}

#[test]
fn a_load_is_measured_and_told_as_json() {
    let place = Place::new();
    // BenchmarkTest, which it takes by default, is on every broker.
    let output = place.bench(&["producer", "-t", "Absent"]);
    assert_eq!(output.status.code(), Some(255));
    let error = text(&output.stderr);
    assert!(error.contains("has the topic Absent: make it with --create-topic"), "{error}");

    let short = ["--secs", "1", "--warm-up", "0", "--create-topic", "--json"];
    for (load, more) in [
        ("producer", &["--rate", "300", "--keys"][..]),
        ("producer", &["--in-flight", "4", "--clients", "2"]),
        ("batch", &["--batch", "10", "--rate", "500"]),
        ("transaction", &["--rollback", "50", "--rate", "50", "-t", "Halves"]),
    ] {
        let output = place.bench(&[&[load], &short[..], more].concat());
        assert!(output.status.success(), "{output:?}");
        let result: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&result["load"], &result["failed"]), (&load.into(), &0.into()), "{result}");
        let messages = result["messages"].as_u64().unwrap();
        // With a rate it is known how many: those that were due in that second, less those that nobody was free to send.
        match result["wantedPerSecond"].as_f64() {
            Some(rate) => {
                let not_sent = result["dueAndNotSent"].as_u64().unwrap();
                assert!((messages..=messages + not_sent).contains(&(rate as u64)), "{result}");
            }
            None => assert!(messages > 0),
        }
        let requests = messages / result["batch"].as_u64().unwrap_or(1);
        assert_eq!(result["latencyUs"]["count"], requests, "{result}");
        let latency = &result["latencyUs"];
        let of = |name: &str| latency[name].as_u64().unwrap();
        assert!(of("min") <= of("p50") && of("p50") <= of("p99") && of("p99") <= of("max"), "{result}");
    }

    let consumed = |topic| {
        let consumer = ["consumer", "-t", topic, "--from-first", "--secs", "6", "--warm-up", "0", "--json"];
        let output = place.bench(&consumer);
        assert!(output.status.success(), "{output:?}");
        let result: Value = serde_json::from_slice(&output.stdout).unwrap();
        result["messages"].as_u64().unwrap()
    };
    assert!(consumed("BenchmarkTest") > 300);
    // Every second transaction was committed. The last may have begun after what counts.
    assert!((25..=26).contains(&consumed("Halves")));
    let output = place.bench(&["producer", "--secs", "1", "--warm-up", "0", "--rate", "10"]);
    let report = text(&output.stdout);
    assert!(
        report.starts_with("producer: topic BenchmarkTest, 1 client, ")
            && report.contains("\nlatency   min "),
        "{report}"
    );
}

/// Starts a load of a minute, does something to it or to its servers when a second is over, and gives what it printed.
fn disturbed(place: Place, disturb: impl FnOnce(&Child, &mut Option<Process>)) -> Value {
    let load = ["bench", "producer", "--secs", "60", "--warm-up", "0", "--rate", "100", "--json"];
    let mut command = place.command("opt/oxmq", &load);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut child = Killed(child);
    let mut progress = BufReader::new(child.0.stderr.take().unwrap()).lines();
    progress.next().unwrap().unwrap();
    let mut dev = Some(place._dev);
    disturb(&child.0, &mut dev);
    // Until it has seen what that did.
    let failed = progress.map_while(Result::ok).any(|line| line.ends_with("FAILED"));
    if failed {
        kill_process(Pid::from_child(&child.0), Signal::INT).unwrap();
    }
    let mut printed = String::new();
    child.0.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
    assert!(child.0.wait().unwrap().success());
    let result: Value = serde_json::from_str(&printed).unwrap();
    assert!((1.0..60.0).contains(&result["seconds"].as_f64().unwrap()), "{result}");
    result
}

#[test]
fn a_load_that_is_ended_early_is_told_by_its_own_time() {
    let result = disturbed(Place::new(), |load, _| kill_process(Pid::from_child(load), Signal::INT).unwrap());
    let [seconds, messages, rate] =
        ["seconds", "messages", "messagesPerSecond"].map(|name| result[name].as_f64().unwrap());
    assert!((messages / seconds - rate).abs() < 0.001, "{result}");
}

#[test]
fn a_cluster_that_dies_under_a_load_is_counted() {
    let result = disturbed(Place::new(), |_, dev| dev.take().unwrap().kill());
    let [messages, failed] = ["messages", "failed"].map(|name| result[name].as_u64().unwrap());
    assert!(messages > 0 && failed > 0, "{result}");
    let told: u64 =
        result["failures"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
    assert!(told >= failed, "{result}");
    // Numbers do not make many texts of one failure.
    assert!(result["failures"].as_object().unwrap().keys().all(|text| !text.contains("##")), "{result}");
}
