// SPDX-License-Identifier: Apache-2.0
//! Configuration that was changed at run time, kept for the next start.

use oxmq_types::Properties;
use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

/// Sets `changes` in the `.properties` file at `path`, which is made if there is none. As in Java, comments are lost;
/// what the file said before stays beside it as `.bak`.
pub(crate) fn keep(path: &Path, changes: &Properties) -> io::Result<()> {
    let before = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    let mut all = Properties::parse(&before).map_err(io::Error::other)?;
    changes.iter().for_each(|(key, value)| all.set(key, value));
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let beside = |suffix: &str| {
        let mut name: OsString = path.into();
        name.push(suffix);
        name
    };
    fs::write(beside(".bak"), before)?;
    let mut file = File::create(beside(".tmp"))?;
    for (key, value) in all.iter() {
        writeln!(file, "{key}={}", value.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r"))?;
    }
    file.sync_data()?;
    fs::rename(beside(".tmp"), path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_was_there_and_what_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("conf").join("n.properties");
        keep(&path, &[("a", "1")].into_iter().collect()).unwrap();
        fs::write(&path, "# mine\na=1\nb=C:\\\\x\n").unwrap();
        keep(&path, &[("a", "2")].into_iter().collect()).unwrap();
        let found = Properties::parse(&fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(found, [("a", "2"), ("b", "C:\\x")].into_iter().collect());
        assert!(fs::read_to_string(folder.path().join("conf/n.properties.bak")).unwrap().contains("# mine"));
    }
}
