// SPDX-License-Identifier: Apache-2.0
//! The properties that the fuzz target checks, over its seeds.

#[expect(unreachable_pub, reason = "the fuzz target is another crate that shares this file")]
#[path = "../../../fuzz/src/sql_filter.rs"]
mod properties;

// Where the fuzz target has the module.
use oxmq_broker as sql;
use std::{fs, path::Path};

#[test]
fn sql_filter() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/sql_filter");
    let mut count = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        let bytes = fs::read(path).unwrap();
        for end in 0..=bytes.len() {
            properties::sql_filter(&bytes[..end]);
        }
        count += 1;
    }
    assert!(count > 3, "{} holds only {count} seeds", folder.display());
}
