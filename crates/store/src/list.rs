// SPDX-License-Identifier: Apache-2.0
//! The list of queues: which the store ought to have, and how far they go at least. Without it a folder that vanished
//! would be a queue that begins again at 0, whose offsets would be given twice.
//!
//! File `oxmq-queues` in the store's folder, which a Java broker leaves alone. Lines, each with the CRC-32 of what
//! follows it in 8 hexadecimal digits; one that is torn or damaged does not count:
//! ```text
//! CRC = PHYSICAL                begun when the log ended there: topics that were deleted before are not known
//! CRC + TOPIC QUEUE START MAX   has files from START on, with messages up to MAX at least
//! CRC ! TOPIC QUEUE START MAX   is being built again: what its files say does not count
//! CRC > TOPIC QUEUE START       its files before START were removed, as all in them was old
//! CRC - TOPIC PHYSICAL          deleted when the log ended there: older records of the topic are nobody's
//! CRC < PHYSICAL                recovery cut the log there: what follows is not older than any deletion
//! CRC . PHYSICAL LINES          closed when the log ended there; the lines before are so many
//! ```
//! Written as a whole when the store is closed and when recovery has seen all queues; in between lines are added,
//! before a checkpoint counts on them.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::disk::Disk;

/// Name of the file.
pub(crate) const NAME: &str = "oxmq-queues";
/// A line has a topic and three numbers.
const LINE_MAX: usize = 512;

/// What the list says of a queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Listed {
    /// The message with which its first file began, or of one that was removed since.
    pub(crate) start: u64,
    /// Where it ended at least.
    pub(crate) max: u64,
    /// It was being built again.
    pub(crate) building: bool,
}

/// What a list says.
#[derive(Debug, Default)]
pub(crate) struct List {
    /// Topics that were deleted when the log ended before this are not known.
    pub(crate) since: Option<u64>,
    pub(crate) queues: BTreeMap<Arc<str>, BTreeMap<u32, Listed>>,
    /// Topic -> where the log ended when it was deleted last.
    pub(crate) deleted: BTreeMap<Arc<str>, u64>,
    /// Where the log ended when the store was closed, if nothing follows and every line was read.
    pub(crate) closed: Option<u64>,
    lines: u64,
    length: u64,
}

impl List {
    /// What there is to know where the log has nothing.
    pub(crate) fn of_empty_log() -> Self {
        Self { since: Some(0), ..Self::default() }
    }

    /// Reads the list in the folder `root`; an empty one if there is none.
    pub(crate) fn read(disk: &dyn Disk, root: &Path) -> io::Result<Self> {
        let mut list = Self::default();
        let path = root.join(NAME);
        if !disk.exists(&path) {
            return Ok(list);
        }
        let file = disk.open(&path, false)?;
        let mut buffer = vec![0; 256 * 1024];
        // Of the buffer, what was read and not yet taken.
        let mut filled = 0;
        loop {
            let read = file.read_at(list.length, &mut buffer[filled..])?;
            list.length += read as u64;
            filled += read;
            let mut rest = &buffer[..filled];
            while let Some(end) = memchr::memchr(b'\n', rest) {
                list.take(&rest[..end]);
                rest = &rest[end + 1..];
            }
            if read == 0 {
                return Ok(list);
            }
            let left = if rest.len() > LINE_MAX { 0 } else { rest.len() };
            buffer.copy_within(filled - left..filled, 0);
            filled = left;
        }
    }

    fn take(&mut self, line: &[u8]) {
        self.closed = None;
        let taken = self.parse(line);
        self.lines += u64::from(taken.is_some());
    }

    fn parse(&mut self, line: &[u8]) -> Option<()> {
        let (crc, rest) = line.split_at_checked(8)?;
        let rest = rest.strip_prefix(b" ")?;
        let crc = u32::from_str_radix(std::str::from_utf8(crc).ok()?, 16).ok()?;
        if crc != crc32fast::hash(rest) {
            return None;
        }
        let mut fields = std::str::from_utf8(rest).ok()?.split(' ');
        let kind = fields.next()?;
        let number = |fields: &mut std::str::Split<'_, char>| fields.next()?.parse::<u64>().ok();
        match kind {
            "=" => self.since = Some(number(&mut fields)?),
            "+" | "!" => {
                let topic = fields.next()?;
                let id = fields.next()?.parse().ok()?;
                let (start, max) = (number(&mut fields)?, number(&mut fields)?);
                let listed = Listed { start, max, building: kind == "!" };
                match self.queues.get_mut(topic) {
                    Some(queues) => drop(queues.insert(id, listed)),
                    None => drop(self.queues.insert(Arc::from(topic), BTreeMap::from([(id, listed)]))),
                }
            }
            ">" => {
                let (topic, id) = (fields.next()?, fields.next()?.parse().ok()?);
                self.queues.get_mut(topic)?.get_mut(&id)?.start = number(&mut fields)?;
            }
            "-" => {
                let topic = fields.next()?;
                self.queues.remove(topic);
                self.deleted.insert(Arc::from(topic), number(&mut fields)?);
            }
            "<" => {
                let end = number(&mut fields)?;
                self.deleted.values_mut().chain(&mut self.since).for_each(|at| *at = end.min(*at));
            }
            "." => {
                let end = number(&mut fields)?;
                self.closed = (number(&mut fields)? == self.lines).then_some(end);
            }
            _ => return None,
        }
        Some(())
    }
}

/// Lines to be written.
#[derive(Default)]
pub(crate) struct Lines {
    text: String,
    count: u64,
}

impl Lines {
    pub(crate) fn since(&mut self, physical: u64) {
        self.line(format_args!("= {physical}"));
    }

    pub(crate) fn queue(&mut self, topic: &str, id: u32, listed: Listed) {
        let Listed { start, max, building } = listed;
        let kind = if building { '!' } else { '+' };
        self.line(format_args!("{kind} {topic} {id} {start} {max}"));
    }

    pub(crate) fn start(&mut self, topic: &str, id: u32, start: u64) {
        self.line(format_args!("> {topic} {id} {start}"));
    }

    pub(crate) fn deleted(&mut self, topic: &str, physical: u64) {
        self.line(format_args!("- {topic} {physical}"));
    }

    /// `end`: of the log.
    pub(crate) fn cut(&mut self, end: u64) {
        self.line(format_args!("< {end}"));
    }

    /// `end`: of the log. Only behind all lines of a list.
    pub(crate) fn closed(&mut self, end: u64) {
        let count = self.count;
        self.line(format_args!(". {end} {count}"));
    }

    /// These lines, and `more` behind them.
    pub(crate) fn then(mut self, more: &Self) -> Self {
        self.text.push_str(&more.text);
        self.count += more.count;
        self
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    fn line(&mut self, rest: std::fmt::Arguments<'_>) {
        let start = self.text.len();
        self.text.push_str("00000000 ");
        // Writing to a string cannot fail.
        let _ = self.text.write_fmt(rest);
        let crc = crc32fast::hash(&self.text.as_bytes()[start + 9..]);
        self.text.replace_range(start..start + 8, &format!("{crc:08x}"));
        self.text.push('\n');
        self.count += 1;
    }
}

/// The file, to be written.
pub(crate) struct ListFile {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    length: u64,
}

impl ListFile {
    /// The file that `list` was read from.
    pub(crate) fn new(disk: Arc<dyn Disk>, root: PathBuf, list: &List) -> Self {
        Self { disk, root, length: list.length }
    }

    /// Adds lines; they are durable then.
    pub(crate) fn add(&mut self, lines: &Lines) -> io::Result<()> {
        let new = self.length == 0;
        let file = self.disk.open(&self.path(), true)?;
        // What a torn line left ends here.
        let text = format!("\n{}", lines.text);
        file.write_at(self.length, text.as_bytes())?;
        file.sync()?;
        self.length += text.len() as u64;
        if new { self.disk.sync_dir(&self.root) } else { Ok(()) }
    }

    /// Replaces all lines at once.
    pub(crate) fn replace(&mut self, lines: &Lines) -> io::Result<()> {
        let new = self.root.join(format!("{NAME}.new"));
        let file = self.disk.open(&new, true)?;
        file.set_length(0)?;
        file.write_at(0, lines.text.as_bytes())?;
        file.sync()?;
        drop(file);
        self.disk.rename(&new, &self.path())?;
        self.length = lines.text.len() as u64;
        self.disk.sync_dir(&self.root)
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.root.join(NAME)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::memory::MemoryDisk;

    #[test]
    fn damaged_lines_do_not_count() {
        let disk: Arc<MemoryDisk> = Arc::default();
        let root = Path::new("/store");
        disk.create_dir_all(root).unwrap();
        let read = || List::read(&*disk, root).unwrap();
        let mut file = ListFile::new(Arc::clone(&disk) as Arc<dyn Disk>, root.into(), &read());
        let mut lines = Lines::default();
        lines.since(5);
        lines.queue("a", 0, Listed { max: 7, ..Listed::default() });
        lines.queue("b", 3, Listed { max: 9, ..Listed::default() });
        lines.closed(500);
        file.replace(&lines).unwrap();
        let list = read();
        assert_eq!((list.since, list.closed, list.queues.len()), (Some(5), Some(500), 2));
        assert_eq!(list.queues["b"][&3], Listed { max: 9, ..Listed::default() });
        let whole = lines.text.len();

        let mut more = Lines::default();
        more.deleted("a", 600);
        more.queue("b", 3, Listed { start: 2, max: 10, building: true });
        file.add(&more).unwrap();
        let list = read();
        assert_eq!((list.closed, list.queues.len(), list.deleted["a"]), (None, 1, 600));
        assert_eq!(list.queues["b"][&3], Listed { start: 2, max: 10, building: true });

        file.replace(&lines).unwrap();
        for at in 0..whole {
            let copy = disk.copy();
            copy.flip(&root.join(NAME), at);
            let list = List::read(&copy, root).unwrap();
            assert_eq!(list.closed, None, "{at}");
            let right = |queue: Option<&BTreeMap<u32, Listed>>, id, max| {
                queue
                    .is_none_or(|found| *found == BTreeMap::from([(id, Listed { max, ..Listed::default() })]))
            };
            assert!(right(list.queues.get("a"), 0, 7) && right(list.queues.get("b"), 3, 9));
        }
    }
}
