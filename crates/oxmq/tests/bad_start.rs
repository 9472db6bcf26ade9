// SPDX-License-Identifier: Apache-2.0
//! Starts that cannot be: each ends with a message that names what is in the way, and harms nobody.

mod kit;

use kit::*;
use std::{
    collections::BTreeMap,
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// Starts a broker of which `config` says more than its port, and expects that it fails with all of `words`.
#[track_caller]
fn fails(ground: &Ground, store: &Path, port: u16, config: &str, words: &[&str]) {
    write_config(ground, "bad.conf", store, port, config);
    let failed = ground.start(&["broker", "-c", "bad.conf"], 1).err().expect("it started");
    assert_eq!(failed.status.code(), Some(255), "{failed:?}");
    let last = failed.stderr.lines().last().unwrap();
    assert!(last.starts_with("mqbroker: "), "{failed:?}");
    assert!(words.iter().all(|word| last.contains(word)), "{words:?} in {last}");
    assert!(!failed.stderr.contains("panicked"), "{failed:?}");
}

#[test]
fn a_store_folder_that_cannot_be_written() {
    let ground = Ground::new();
    let file = ground.path("in_the_way");
    fs::write(&file, "precious").unwrap();
    let name = file.to_str().unwrap();
    fails(&ground, &file, free_port(), "", &[name]);
    fails(&ground, &file.join("below").join("it"), free_port(), "", &[name]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");

    // A file in the place of a folder inside of the store.
    let store = ground.path("store");
    fs::create_dir(&store).unwrap();
    fs::write(store.join("commitlog"), "precious").unwrap();
    fails(&ground, &store, free_port(), "", &[store.join("commitlog").to_str().unwrap()]);
    assert_eq!(fs::read_to_string(store.join("commitlog")).unwrap(), "precious");
}

#[test]
fn a_store_that_another_broker_holds() {
    let broker = Broker::start("");
    broker.connect().ask(&send("T", 0, "", "first")).is(0, "");
    let store = broker.ground.path("store");
    fails(&broker.ground, &store, free_port(), "", &[store.to_str().unwrap(), "in use by another broker"]);
    // The one that holds it goes on.
    assert_eq!(broker.connect().ask(&send("T", 0, "", "second")).number("queueOffset"), 1);
    assert_eq!(broker.connect().pull("T", 0, 0).messages().len(), 2);
}

#[test]
fn a_port_in_use() {
    let ground = Ground::new();
    let port = free_port() - 2;
    let _listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let store = ground.path("store");
    fails(&ground, &store, port, "", &[&format!("127.0.0.1:{port}"), "in use"]);
    // The port for clients of old, two below, counts as well.
    fails(&ground, &store, port + 2, "", &[&format!("127.0.0.1:{port}"), "in use"]);
    assert!(!store.exists(), "nothing was touched");

    fs::write(ground.path("names.conf"), format!("listenPort={port}\nbindAddress=127.0.0.1\n")).unwrap();
    let failed = ground.start(&["namesrv", "-c", "names.conf"], 2).err().expect("it started");
    assert_eq!(failed.status.code(), Some(255), "{failed:?}");
    let expected = format!("127.0.0.1:{port}");
    assert!(failed.stderr.contains(&expected) && failed.stderr.contains("in use"), "{failed:?}");
}

#[test]
fn a_store_of_another_segment_size() {
    let mut broker = Broker::start("");
    broker.connect().ask(&send("T", 0, "", "kept")).is(0, "");
    assert!(broker.stop().success());
    let store = broker.ground.path("store");
    let segment = store.join("commitlog").join("00000000000000000000");
    let words = [segment.to_str().unwrap(), "has 4194304 bytes, but mappedFileSizeCommitLog is 8388608"];
    fails(&broker.ground, &store, free_port(), "mappedFileSizeCommitLog=8388608", &words);
    // It did not touch what it could not read.
    broker.start_again();
    assert_eq!(broker.connect().pull("T", 0, 0).messages()[0].body(), b"kept");
}

/// Every name below `dir`, with its bytes and the time of its last change.
fn content(dir: &Path) -> BTreeMap<PathBuf, (SystemTime, Option<Vec<u8>>)> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let (path, about) = (entry.path(), entry.metadata().unwrap());
        if about.is_dir() {
            all.extend(content(&path));
        }
        let bytes = about.is_file().then(|| fs::read(&path).unwrap());
        all.insert(path, (about.modified().unwrap(), bytes));
    }
    all
}

#[test]
fn a_store_without_its_offsets() {
    let mut broker = Broker::start("");
    broker.connect().ask(&send("T", 0, "", "kept")).is(0, "");
    broker.kill();
    broker.start_again();
    assert!(broker.stop().success());
    let store = broker.ground.path("store");
    let config = store.join("config");
    let mut away = Vec::new();
    for name in ["consumerOffset.json", "consumerOffset.json.bak"] {
        if let Ok(text) = fs::read(config.join(name)) {
            fs::remove_file(config.join(name)).unwrap();
            away.push((config.join(name), text));
        }
    }
    let before = content(&store);
    fails(&broker.ground, &store, free_port(), "", &["consumerOffset.json cannot be used: it is missing"]);
    assert!(content(&store) == before, "it was touched");
    // Whatever else is wrong is said as well.
    fs::write(config.join("topics.json"), "{").unwrap();
    let _ = fs::remove_file(config.join("topics.json.bak"));
    fs::write(store.join("commitlog").join("notes"), "").unwrap();
    let before = content(&store);
    write_config(&broker.ground, "bad.conf", &store, free_port(), "");
    let failed = broker.ground.start(&["broker", "-c", "bad.conf"], 1).err().expect("it started");
    for words in
        ["nothing in it was changed", "notes is not a commit log file", "topics.json cannot be used: EOF"]
    {
        assert!(failed.stderr.contains(words), "{words} in {failed:?}");
    }
    assert!(content(&store) == before, "it was touched");
}
