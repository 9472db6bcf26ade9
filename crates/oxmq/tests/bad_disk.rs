// SPDX-License-Identifier: Apache-2.0
//! Disks that take nothing, with all of the broker: it says so, serves what is there, and goes on when it can. The disks
//! are mounted for the broker alone, which takes a right that not every machine gives; the tests of the store and its
//! simulation meet the same on a disk in memory, everywhere.

mod kit;

use kit::*;
use oxmq_remoting::{Command as Frame, code::request};
use rustix::process::Signal;
use std::{
    collections::BTreeMap, fs, io::Write, os::unix::process::ExitStatusExt, path::Path, path::PathBuf,
    time::SystemTime,
};

/// Every file below `dir`, with its bytes and the time of its last change.
fn content(dir: &Path) -> BTreeMap<PathBuf, (SystemTime, Vec<u8>)> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            all.extend(content(&entry.path()));
        } else {
            let bytes = fs::read(entry.path()).unwrap();
            all.insert(entry.path(), (entry.metadata().unwrap().modified().unwrap(), bytes));
        }
    }
    all
}

#[test]
fn a_disk_that_can_only_be_read() {
    let mut broker = Broker::start("messageIndexEnable=false");
    broker.connect().ask(&send("T", 0, "", "kept")).is(0, "");
    assert!(broker.stop().success());
    let store = broker.ground.path("store");
    let before = content(&store);
    let mount = format!("mount --bind {0} {0}\nmount -o remount,bind,ro {0}", store.display());
    let Some(started) = broker.ground.start_after(&mount, &["broker", "-c", "broker.conf"], 1) else {
        return;
    };
    let failed = started.err().expect("it started");
    assert_eq!(failed.status.code(), Some(255), "{failed:?}");
    for words in [store.to_str().unwrap(), "Read-only file system", "a broker writes to its store"] {
        assert!(failed.stderr.contains(words), "{words} in {failed:?}");
    }
    assert!(!failed.stderr.contains("panicked"), "{failed:?}");
    assert!(content(&store) == before, "it was touched");
    broker.start_again();
    assert_eq!(broker.connect().pull("T", 0, 0).messages()[0].body(), b"kept");
}

#[test]
fn a_disk_that_is_full() {
    let config = "messageIndexEnable=false\ncleanResourceInterval=100\nflushDiskType=SYNC_FLUSH";
    let mut broker = Broker::start(config);
    for i in 0..10 {
        broker.connect().ask(&send("T", 0, "", format!("kept {i}"))).is(0, "");
    }
    assert!(broker.stop().success());
    // A disk of its own with a copy of the store, and nothing free. The segment has room.
    let (store, disk) = (broker.ground.path("store"), broker.ground.path("disk"));
    fs::create_dir(&disk).unwrap();
    let full = format!(
        "mount -t tmpfs -o size=24m tmpfs {0}\ncp -a {1} {0}\ndd if=/dev/zero of={0}/ballast bs=64k 2>/dev/null || true",
        disk.display(),
        store.display()
    );
    write_config(&broker.ground, "full.conf", &disk.join("store"), broker.port, config);
    let Some(started) = broker.ground.start_after(&full, &["broker", "-c", "full.conf"], 1) else { return };
    let process = started.unwrap();
    let mut wire = broker.connect();
    let refused = wire.ask(&send("T", 0, "", "more"));
    refused.is(14, "");
    assert!(refused.remark.contains("disk"), "{refused:?}");
    let pulled = wire.pull("T", 0, 0);
    assert_eq!(pulled.messages().len(), 10, "what is there is served");
    // Goes on by itself once there is room.
    fs::remove_file(process.seen_by_it(&disk.join("ballast"))).unwrap();
    until("sends are taken again", || wire.ask(&send("T", 0, "", "more")).code == 0);
    let taken = wire.pull("T", 0, 10);
    assert_eq!(taken.messages()[0].body(), b"more");

    // It fills up while the broker runs: what was answered with success is there, the rest is refused.
    let ballast = process.seen_by_it(&disk.join("ballast"));
    let free = 6 * 1024 * 1024;
    fs::write(&ballast, vec![1; 24 * 1024 * 1024 - 4 * 1024 * 1024 - free]).unwrap();
    let mut acknowledged = 1;
    let body = vec![b'x'; 100_000];
    loop {
        let answer = wire.ask(&send("T", 0, "", body.clone()));
        if answer.code != 0 {
            answer.is(14, "");
            break;
        }
        acknowledged += 1;
        assert!(acknowledged < 1000, "the disk is not full");
    }
    let end = Frame::new(request::GET_MAX_OFFSET).with("topic", "T").with("queueId", 0);
    assert_eq!(wire.ask(&end).number("offset"), 10 + acknowledged);
    fs::remove_file(&ballast).unwrap();
    until("sends are taken again", || wire.ask(&send("T", 0, "", "last")).code == 0);
    assert!(process.stop().success());
}

/// What is mapped and cannot be read or written ends the broker. It says why, and what it had stored is served by the next.
#[test]
fn a_page_of_the_log_that_is_gone() {
    let mut broker = Broker::start("messageIndexEnable=false");
    let mut wire = broker.connect();
    wire.ask(&send("T", 0, "", "kept")).is(0, "");
    let file = broker.store("commitlog").join(format!("{:020}", 0));
    let whole = fs::read(&file).unwrap();
    fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(0).unwrap();
    wire.stream.write_all(&frame(wire.encoding, 7, &send("T", 0, "", "never answered"))).unwrap();
    let ended = broker.process.take().unwrap().ends();
    assert_eq!(ended.signal(), Some(Signal::BUS.as_raw()), "{ended:?}");
    let said = format!(
        "the page at byte 0 of the file {} cannot be read or written (SIGBUS): another process made the file shorter, to 0 bytes",
        file.display()
    );
    for told in ["stderr", "logs/rocketmqlogs/broker.log"].map(|file| broker.ground.path(file)) {
        let text = fs::read_to_string(&told).unwrap();
        assert!(text.contains(&said), "{said} in {}: {text}", told.display());
    }
    fs::write(&file, whole).unwrap();
    broker.start_again();
    let pulled = broker.connect().pull("T", 0, 0);
    assert_eq!(pulled.messages()[0].body(), b"kept");
}
