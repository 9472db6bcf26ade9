// SPDX-License-Identifier: Apache-2.0
//! Bodies of messages that are shown are written where Java writes them, because scripts read them there.

use oxmq_client::ReceivedMessage;
use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// Java: `QueryMsgByIdSubCommand#createBodyFile`.
const FOLDER: &str = "/tmp/rocketmq/msgbodys";

/// Writes the body into its file, and gives its path. `index`: of several messages with one unique key, which.
///
/// # Errors
/// Those of the file system.
pub(crate) fn write_body(message: &ReceivedMessage, index: usize) -> io::Result<String> {
    let path = write_in(Path::new(FOLDER), &file_name(message, index), message.body())?;
    Ok(path.to_string_lossy().into_owned())
}

/// The id that its producer made names the file. A hostile producer may make any: what is no plain name becomes the id
/// of its place.
fn file_name(message: &ReceivedMessage, index: usize) -> String {
    let id = message.msg_id();
    let plain = !id.is_empty() && id.len() <= 128 && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let id = if plain { id } else { message.offset_msg_id() };
    if index > 0 { format!("{id}_{index}") } else { id }
}

/// Writes a file whole, and gives its path. The folder is made if it is not there.
///
/// # Errors
/// Those of the file system.
pub(crate) fn write_in(folder: &Path, name: &str, body: &[u8]) -> io::Result<PathBuf> {
    fs::create_dir_all(folder)?;
    let path = folder.join(name);
    // The folder may be open to all: what somebody put there under this name, a link perhaps, is replaced and not followed.
    let temporary = folder.join(format!(".{name}.{}", std::process::id()));
    let written = OpenOptions::new().write(true).create_new(true).open(&temporary).and_then(|mut file| {
        file.write_all(body)?;
        fs::rename(&temporary, &path)
    });
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written.map(|()| path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_in_the_folder_is_replaced_and_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let outside = folder.path().join("outside");
        fs::write(&outside, "precious").unwrap();
        let inside = folder.path().join("bodies");
        fs::create_dir(&inside).unwrap();
        std::os::unix::fs::symlink(&outside, inside.join("ID")).unwrap();
        let path = write_in(&inside, "ID", b"body").unwrap();
        assert_eq!(
            (fs::read(&path).unwrap(), fs::read(&outside).unwrap()),
            (b"body".to_vec(), b"precious".to_vec())
        );
        write_in(&inside, "ID", b"again").unwrap();
        assert_eq!(fs::read_dir(&inside).unwrap().count(), 1);
    }
}
