// SPDX-License-Identifier: Apache-2.0
//! `oxmq store` as a shell sees it: what it prints where, and how it ends.

mod kit;

use std::{
    fs,
    os::unix::fs::FileExt,
    path::PathBuf,
    process::{Command, Stdio},
};

use kit::*;
use oxmq_store::{IndexConfig, Store, StoreConfig, tags_of};
use oxmq_types::QueueId;
use serde_json::Value;

const QUEUE: &str = "consumequeue/A/0/00000000000000000000";
const SEGMENT: &str = "commitlog/00000000000000000000";

struct Folder(tempfile::TempDir);

impl Folder {
    /// A closed store of ten messages in queue 0 of topic `A`, body and key `m0` to `m9`.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = StoreConfig {
            segment_size_bytes: 1 << 20,
            consume_queue_file_size_bytes: 2000,
            index: Some(IndexConfig { dir: dir.path().join("index"), slots: 10, entries: 40 }),
            ..StoreConfig::new(dir.path())
        };
        let store = Store::open(config, Box::new(tags_of)).unwrap();
        let host = "127.0.0.1:10911".parse().unwrap();
        for i in 0..10 {
            let mut record = Vec::new();
            let (body, properties) = (format!("m{i}"), format!("KEYS\x01m{i}\x02TAGS\x01T\x02"));
            let draft = oxmq_record::Draft {
                topic: "A",
                queue_id: QueueId(0),
                flag: 0,
                sys_flag: 0,
                born_timestamp_ms: 0,
                born_host: host,
                store_host: host,
                reconsume_times: 0,
                prepared_transaction_offset: 0,
                body: body.as_bytes(),
                properties: properties.as_bytes(),
            };
            oxmq_record::Encoder::new(1000).encode(&draft, &mut record).unwrap();
            let tags = oxmq_record::properties::tags_code(draft.properties);
            store.append(&store.queue("A", QueueId(0)).unwrap(), &mut record, tags).unwrap();
        }
        store.close().unwrap();
        Self(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn damage(&self, name: &str, at: u64, bytes: &[u8]) {
        let file = fs::OpenOptions::new().write(true).open(self.path(name)).unwrap();
        file.write_all_at(bytes, at).unwrap();
    }

    /// Runs `oxmq store VERB DIR ARGS`; gives its code and what it printed, with `DIR` for the folder.
    fn run(&self, verb: &str, args: &[&str]) -> (i32, String, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_oxmq"))
            .args(["store", verb, self.0.path().to_str().unwrap()])
            .args(args)
            .env_remove("NAMESRV_ADDR")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = |bytes: &[u8]| {
            String::from_utf8(bytes.to_vec()).unwrap().replace(self.0.path().to_str().unwrap(), "DIR")
        };
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    }
}

const WHOLE: &str = "\
DIR: closed
commit log 0 to 1090: 1 file of 1.0 MiB, 10 records, 1.1 KiB
1 queue: 10 units right
1 index file: 10 of their entries right
all is well
";

#[test]
fn check_ends_with_0_1_or_2() {
    let folder = Folder::new();
    assert_eq!(folder.run("check", &[]), (0, WHOLE.into(), String::new()));

    folder.damage(QUEUE, 40, &[1; 8]);
    let (code, out, err) = folder.run("check", &[]);
    let line = format!(
        "derived  {QUEUE} at 40: A queue 0, units from 2 on (1): not those of the records with their numbers\n"
    );
    assert!(out.contains(&line), "{out}");
    assert_eq!((code, err.as_str()), (1, "DIR: 1 problem\n"));

    fs::remove_dir_all(folder.path("commitlog")).unwrap();
    let (code, out, err) = folder.run("check", &[]);
    assert_eq!(
        (code, out.as_str(), err.as_str()),
        (2, "", "DIR: no store: there is no folder DIR/commitlog\n")
    );
    for args in [&["--no-such"][..], &["-o", "xml"], &["-c", "/no/such/file"]] {
        assert_eq!(folder.run("check", args).0, 2, "{args:?}");
    }
    assert_eq!(folder.run("no-such", &[]).0, 2);
    assert!(folder.run("check", &["--help"]).1.contains("Exit codes: 0 all is well"));
}

#[test]
fn results_are_json_on_request() {
    let folder = Folder::new();
    folder.damage(QUEUE, 40, &[1; 8]);
    folder.damage(SEGMENT, 1090, b"torn");
    let (code, out, err) = folder.run("check", &["-o", "json"]);
    assert_eq!(err, "DIR: 2 problems\n");
    let found: Value = serde_json::from_str(&out).unwrap();
    let kinds: Vec<_> =
        found["findings"].as_array().unwrap().iter().filter_map(|found| found["kind"].as_str()).collect();
    assert_eq!((code, kinds), (1, vec!["tornTail", "units"]));
    assert_eq!(found["findings"][0]["offset"], 1090);
    assert_eq!((&found["summary"]["records"], &found["summary"]["derived"]), (&10.into(), &1.into()));

    let (code, out, _) = folder.run("stat", &["-o", "json"]);
    let stat: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (code, &stat["topics"][0]["topic"], &stat["topics"][0]["messages"]),
        (0, &"A".into(), &9.into())
    );
}

#[test]
fn stat_names_the_topics_by_their_bytes() {
    let (code, out, err) = Folder::new().run("stat", &[]);
    assert_eq!((code, err.as_str()), (0, ""));
    let row = out.lines().find(|line| line.starts_with("A ")).unwrap();
    let cells: Vec<_> = row.split_whitespace().collect();
    assert_eq!(cells[..8], ["A", "1", "10", "1.1", "KiB", "100.0%", "109", "B"], "{out}");
    assert!(out.contains("(in no queue)"), "{out}");
}

#[test]
fn dump_prints_a_record_a_line() {
    let folder = Folder::new();
    let lines = |args: &[&str]| -> Vec<Value> {
        let (code, out, err) = folder.run("dump", args);
        assert_eq!((code, err.as_str()), (0, ""), "{args:?}");
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let bodies = |args: &[&str]| -> Vec<String> {
        lines(args).iter().map(|line| line["body"].as_str().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(bodies(&[]).len(), 10);
    assert_eq!(bodies(&["--limit", "2"]), ["m0", "m1"]);
    assert_eq!(bodies(&["--offset", "109", "--limit", "1"]), ["m1"]);
    assert_eq!(bodies(&["--topic", "A", "--queue", "0", "--from", "8"]), ["m8", "m9"]);
    assert_eq!(bodies(&["--key", "m3"]), ["m3"]);
    assert_eq!(bodies(&["--since", "2100-01-01"]), [""; 0]);
    assert_eq!(bodies(&["--until", "2100-01-01T00:00:00Z"]).len(), 10);
    let one = &lines(&["--limit", "1", "--body", "base64"])[0];
    assert_eq!(one["bodyBase64"], "bTA=");
    assert_eq!((&one["tags"], &one["properties"]["KEYS"]), (&"T".into(), &"m0".into()));
    assert_eq!((&one["bornTime"], &one["queueOffset"]), (&"1970-01-01T00:00:00Z".into(), &0.into()));
    assert_eq!(lines(&["--limit", "1", "--body", "none"])[0].get("body"), None);
}

#[test]
fn repair_asks_and_then_checks() {
    let folder = Folder::new();
    folder.damage(QUEUE, 40, &[1; 8]);
    let damaged = fs::read(folder.path(QUEUE)).unwrap();
    let (code, out, err) = folder.run("repair", &["--dry-run"]);
    assert!(
        out.ends_with(
            "to be done, with what is replaced kept in the folder:\n- build A queue 0 from the commit log\n"
        ),
        "{out}"
    );
    assert_eq!((code, err.as_str()), (1, "DIR: 1 problem\n"));
    let (code, _, err) = folder.run("repair", &[]);
    assert_eq!(code, 1);
    assert_eq!(err, "standard input is no terminal: give --yes to have it done\nDIR: nothing was changed\n");
    assert_eq!(fs::read(folder.path(QUEUE)).unwrap(), damaged);

    let (code, out, err) = folder.run("repair", &["--yes"]);
    assert!(out.ends_with(WHOLE), "{out}");
    assert_eq!((code, err.as_str()), (0, ""));
    let (code, out, _) = folder.run("repair", &["--yes"]);
    assert!(out.ends_with("all is well\nnothing to repair\n"), "{out}");
    assert_eq!(code, 0);
}

#[test]
fn configuration_files_are_looked_at() {
    let folder = Folder::new();
    fs::create_dir(folder.path("config")).unwrap();
    // Java writes numbers as names without quotes.
    fs::write(folder.path("config/consumerOffset.json"), "{\"offsetTable\":{\"A@g\":{0:5}}}").unwrap();
    assert_eq!(folder.run("check", &[]).0, 0);
    fs::write(folder.path("config/topics.json"), "{\"topicConfigTable\":{").unwrap();
    fs::write(folder.path("config/topics.json.bak"), "{}").unwrap();
    let (code, out, _) = folder.run("check", &[]);
    assert_eq!(code, 1);
    let line = out.lines().find(|line| line.starts_with("damage")).unwrap();
    assert!(line.starts_with("damage   config/topics.json: cannot be read: no JSON: "), "{line}");
    assert!(line.ends_with("; its backup is whole"), "{line}");
}

#[test]
fn a_running_broker_is_not_in_the_way_and_not_repaired() {
    let broker = Broker::start("");
    broker.connect().ask(&send("T", 0, "", "first")).is(0, "");
    let store = broker.ground.path("store");
    let run = |verb: &str| {
        let oxmq =
            Command::new(env!("CARGO_BIN_EXE_oxmq")).args(["store", verb]).arg(&store).output().unwrap();
        (
            oxmq.status.code().unwrap(),
            String::from_utf8(oxmq.stdout).unwrap(),
            String::from_utf8(oxmq.stderr).unwrap(),
        )
    };
    for verb in ["check", "stat", "dump"] {
        let (code, out, err) = run(verb);
        assert_eq!((code, err.as_str()), (0, ""), "{verb}: {out}");
        assert!(verb == "dump" || out.contains("a broker is running on it"), "{out}");
    }
    let (code, _, err) = run("repair");
    assert_eq!(code, 2);
    assert!(err.ends_with("a broker is running on it; stop it first\n"), "{err}");
    // The broker's lock and files are as they were.
    assert_eq!(broker.connect().ask(&send("T", 0, "", "second")).number("queueOffset"), 1);
}
