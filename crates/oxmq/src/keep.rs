// SPDX-License-Identifier: Apache-2.0
//! Configuration that was changed at run time, kept for the next start.

use anyhow::Context;
use oxmq_types::Properties;
use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

/// Writes `changes` into the `.properties` file at `file`, which is made if there is none, and leaves its other lines
/// as they are.
pub(crate) fn keep(file: &Path, changes: &Properties) -> anyhow::Result<()> {
    let text = match fs::read_to_string(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        read => read.with_context(|| format!("cannot read {}", file.display()))?,
    };
    let new = with_changes(&text, changes)?;
    let beside = file.with_extension("tmp");
    let write = || {
        fs::create_dir_all(file.parent().unwrap_or(file))?;
        let mut beside_file = File::create(&beside)?;
        beside_file.write_all(new.as_bytes())?;
        beside_file.sync_data()?;
        fs::rename(&beside, file)
    };
    write().with_context(|| format!("cannot write {}", file.display()))
}

fn with_changes(text: &str, changes: &Properties) -> anyhow::Result<String> {
    let mut new = String::with_capacity(text.len() + 64);
    let mut continued = false;
    for line in text.lines() {
        let whole = !continued && !line.ends_with('\\');
        continued = line.ends_with('\\');
        let key = line.split(['=', ':']).next().unwrap_or_default().trim();
        if !(whole && changes.get(key).is_some()) {
            new.push_str(line);
            new.push('\n');
        }
    }
    for (key, value) in changes.iter() {
        new += &format!("{key}={value}\n");
    }
    let mut expected = Properties::parse(text)?;
    for (key, value) in changes.iter() {
        expected.set(key, value);
    }
    // A value with a backslash, a file that ends in the middle of a line: rather no change than another.
    anyhow::ensure!(Properties::parse(&new)? == expected, "the file cannot hold these values in this form");
    Ok(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(pairs: &[(&str, &str)]) -> Properties {
        pairs.iter().copied().collect()
    }

    #[test]
    fn other_lines_stay_as_they_are() {
        let text = "# ours\nbrokerName=a\n traceOn = true\nx=1,\\\n traceOn=no\n";
        let new = with_changes(text, &changes(&[("traceOn", "false")])).unwrap();
        assert_eq!(new, "# ours\nbrokerName=a\nx=1,\\\n traceOn=no\ntraceOn=false\n");
        assert!(with_changes("x=1\\", &changes(&[("traceOn", "false")])).is_err());
        assert!(with_changes("", &changes(&[("traceOn", "a\\nb")])).is_err());
    }

    #[test]
    fn a_file_is_made_where_there_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("conf").join("namesrv.properties");
        keep(&file, &changes(&[("a", "1")])).unwrap();
        keep(&file, &changes(&[("a", "2")])).unwrap();
        assert_eq!(fs::read_to_string(file).unwrap(), "a=2\n");
    }
}
