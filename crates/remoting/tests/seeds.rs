// SPDX-License-Identifier: Apache-2.0
//! The properties that the fuzz targets check, over their seeds: frames between Java 5.3.3 clients, its name server
//! and its broker, and what the fuzzer has found.

#[expect(unreachable_pub, reason = "the fuzz targets are another crate that shares this file")]
#[path = "../../../fuzz/src/remoting.rs"]
mod properties;

use std::{fs, path::Path};

fn check(target: &str, property: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(target);
    let mut count = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        let bytes = fs::read(path).unwrap();
        property(&bytes);
        for end in 0..bytes.len() {
            property(&bytes[..end]);
        }
        count += 1;
    }
    assert!(count > 3, "{} holds only {count} seeds", folder.display());
}

#[test]
fn frame_and_header() {
    check("frame_and_header", properties::frame_and_header);
}

#[test]
fn request_fields() {
    check("request_fields", properties::request_fields);
}

#[test]
fn fastjson_bodies() {
    check("fastjson_bodies", properties::fastjson_bodies);
}
