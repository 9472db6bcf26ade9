// SPDX-License-Identifier: Apache-2.0
//! The commit log, read from its files from one end to the other.

use std::{ops::ControlFlow, path::PathBuf};

use oxmq_record::{
    BLANK_SIZE_MIN, MAGIC_BLANK, MAGIC_V1, MAGIC_V2, MAX_STAMPED_PREFIX, Peeked, RECORD_SIZE_MIN, RecordView,
    peek_size_and_magic,
};

use super::{FilePart, Finding, Flaw, Folder, Part, What, read_once, unreadable};
use crate::{disk::File, log::file_at};

/// Bytes read at once.
const WINDOW: usize = 1024 * 1024;
/// Longest record that is read. Nobody can send a longer one.
const RECORD_SIZE_MAX: u64 = 128 * 1024 * 1024;
/// What is read at once where a larger read fails: one bad sector is to hide no more than it must.
const BLOCK: usize = 4096;

/// What a walk meets.
pub(super) enum Seen<'a> {
    /// A record, whole in structure and at its place.
    Record(RecordView<'a>),
    /// Something is wrong.
    Finding(Finding),
    /// So many bytes of the log have been passed.
    Passed(u64),
}

/// What stands at a place of the log.
enum At {
    Record {
        size: u64,
    },
    /// The rest of the segment is filler.
    Filler,
    Nothing(Flaw),
}

/// Damage whose end is not known yet.
struct Open {
    from: u64,
    flaw: Flaw,
    /// Behind the last byte that is not zero.
    used: u64,
}

impl Folder {
    /// Goes through the log from the record or segment at `from` on. Returns where the last whole record ends, or
    /// where the visitor broke off.
    ///
    /// Where no record stands, the next place is looked for that has one: what it says of its own place makes it sure.
    pub(super) fn walk_log(&self, from: u64, visit: &mut dyn FnMut(Seen<'_>) -> ControlFlow<()>) -> u64 {
        let mut open: Option<Open> = None;
        let mut end = self.log_min().max(from);
        for (i, segment) in self.segments.iter().enumerate() {
            let stop = self.segment_stop(i);
            if stop <= from {
                continue;
            }
            let Some(mut window) = Window::open(self, *segment, visit) else { continue };
            let mut at = segment.start.max(from);
            let mut passed = at;
            // No record begins in what is left of a segment when a blank record no longer fits.
            while stop - at >= BLANK_SIZE_MIN as u64 {
                let found = window.judge(at, stop);
                let next = match found {
                    At::Record { .. } => Some(at),
                    At::Filler => break,
                    At::Nothing(flaw) => {
                        let (next, used) = window.next_place(at, stop);
                        let open = open.get_or_insert(Open { from: at, flaw, used });
                        open.used = open.used.max(used);
                        next
                    }
                };
                let flow = window.unreadable.drain(..).try_for_each(|finding| visit(Seen::Finding(finding)));
                if flow.is_break() {
                    return at;
                }
                let Some(next) = next else { break };
                if let Some(Open { from, flaw, .. }) = open.take() {
                    let what = What::Damaged { end: next, flaw };
                    if visit(Seen::Finding(self.log_finding(from, what))).is_break() {
                        return at;
                    }
                }
                at = next;
                let At::Record { size } = window.judge(at, stop) else { break };
                let Ok(record) = RecordView::parse(window.bytes(at, size as usize)) else { break };
                if visit(Seen::Record(record)).is_break() {
                    return at;
                }
                at += size;
                end = at;
                let _ = visit(Seen::Passed(at - passed));
                passed = at;
            }
            let _ = visit(Seen::Passed(stop - passed));
        }
        if let Some(Open { from, flaw, used }) = open
            && used > from
        {
            let what = What::TornTail { bytes: used - from, flaw };
            // The end is what matters; that the visitor wants no more changes nothing.
            let _ = visit(Seen::Finding(self.log_finding(from, what)));
        }
        end
    }

    /// The record at `at`, copied out of the log. `None` if none stands there.
    pub(super) fn record_at(&self, at: u64) -> Option<Vec<u8>> {
        let i = self.segments.partition_point(|segment| segment.start <= at).checked_sub(1)?;
        let stop = self.segment_stop(i);
        if stop.saturating_sub(at) < BLANK_SIZE_MIN as u64 {
            return None;
        }
        let mut window = Window::open(self, self.segments[i], &mut |_| ControlFlow::Continue(()))?;
        window.step = BLOCK;
        match window.judge(at, stop) {
            At::Record { size } => Some(window.bytes(at, size as usize).to_vec()),
            _ => None,
        }
    }

    /// Store time of the first record of the segment `i`, in ms since 1970. `None` if it does not begin with one.
    pub(super) fn first_store_time(&self, i: usize) -> Option<i64> {
        self.store_time_at(self.segments.get(i)?.start)
    }

    /// Store time of the record at `at`. `None` if its head is not that of a record.
    pub(super) fn store_time_at(&self, at: u64) -> Option<i64> {
        let i = self.segments.partition_point(|segment| segment.start <= at).checked_sub(1)?;
        let start = self.segments[i].start;
        let mut head = [0; MAX_STAMPED_PREFIX];
        let read = read_once(&*self.disk, &file_at(&self.log_dir, start), at - start, &mut head).ok()?;
        RecordView::store_timestamp_of(&head[..read])
    }

    /// Where the segment `i` ends, as far as it is there.
    pub(super) fn segment_stop(&self, i: usize) -> u64 {
        let segment = self.segments[i];
        segment.start + segment.length.min(self.segment_size)
    }

    /// Bytes of the log from `from` on, filler and room for more included.
    pub(super) fn log_bytes(&self, from: u64) -> u64 {
        (0..self.segments.len())
            .map(|i| self.segment_stop(i).saturating_sub(self.segments[i].start.max(from)))
            .sum()
    }

    pub(super) fn log_finding(&self, at: u64, what: What) -> Finding {
        let start = self.segments.iter().rev().map(|segment| segment.start).find(|start| *start <= at);
        let path = start.map_or_else(|| self.log_dir.clone(), |start| file_at(&self.log_dir, start));
        Finding { part: Part::Log, path, offset: Some(at), what }
    }
}

/// A piece of a segment in memory, that moves on.
struct Window {
    file: Box<dyn File>,
    path: PathBuf,
    start: u64,
    stop: u64,
    /// Where `buffer` begins.
    from: u64,
    buffer: Vec<u8>,
    /// Bytes read at once.
    step: usize,
    /// Blocks that could not be read, and are taken as zeros.
    unreadable: Vec<Finding>,
}

impl Window {
    fn open(
        folder: &Folder,
        segment: FilePart,
        visit: &mut dyn FnMut(Seen<'_>) -> ControlFlow<()>,
    ) -> Option<Self> {
        let path = file_at(&folder.log_dir, segment.start);
        match folder.disk.open_to_read(&path) {
            Ok(file) => Some(Self {
                file,
                path,
                start: segment.start,
                stop: segment.start + segment.length.min(folder.segment_size),
                from: segment.start,
                buffer: Vec::new(),
                step: WINDOW,
                unreadable: Vec::new(),
            }),
            Err(error) => {
                let _ = visit(Seen::Finding(unreadable(Part::Log, path, Some(segment.start), &error)));
                None
            }
        }
    }

    /// The bytes from `at` on: `least` of them if the segment has so many.
    fn bytes(&mut self, at: u64, least: usize) -> &[u8] {
        let least = least.min((self.stop.saturating_sub(at)) as usize);
        let have = (self.from + self.buffer.len() as u64).saturating_sub(at);
        if at < self.from || have < least as u64 {
            let length = least.max(self.step).min((self.stop - at) as usize);
            self.buffer.resize(length, 0);
            self.buffer.shrink_to(WINDOW.max(length));
            self.from = at;
            let within = at - self.start;
            match self.file.read_at(within, &mut self.buffer) {
                Ok(read) => self.buffer[read..].fill(0),
                Err(_) => self.read_in_blocks(within),
            }
        }
        &self.buffer[(at - self.from) as usize..]
    }

    fn read_in_blocks(&mut self, within: u64) {
        let mut at = 0;
        while at < self.buffer.len() {
            let next = (at + BLOCK - (within as usize + at) % BLOCK).min(self.buffer.len());
            let block = &mut self.buffer[at..next];
            match self.file.read_at(within + at as u64, block) {
                Ok(read) => block[read..].fill(0),
                Err(error) => {
                    block.fill(0);
                    let offset = self.start + within + at as u64;
                    self.unreadable.push(unreadable(Part::Log, self.path.clone(), Some(offset), &error));
                }
            }
            at = next;
        }
    }

    /// What stands at `at` of a segment that ends at `stop`. Checksums are not looked at.
    fn judge(&mut self, at: u64, stop: u64) -> At {
        let remaining = stop - at;
        let head = self.bytes(at, RECORD_SIZE_MIN);
        let size = match peek_size_and_magic(head) {
            Peeked::Blank { size } if u64::from(size) == remaining => return At::Filler,
            Peeked::Message { size } => u64::from(size),
            _ if head.iter().take(RECORD_SIZE_MIN).all(|&byte| byte == 0) => return At::Nothing(Flaw::Zeros),
            _ => return At::Nothing(Flaw::NoRecord),
        };
        // Before so much is read.
        let says = head.get(28..).and_then(|rest| rest.first_chunk()).map(|says| u64::from_be_bytes(*says));
        if let Some(says) = says.filter(|says| *says != at) {
            return At::Nothing(Flaw::Place { says });
        }
        if size + BLANK_SIZE_MIN as u64 > remaining || size > RECORD_SIZE_MAX {
            return At::Nothing(Flaw::TooLong { size: size as u32 });
        }
        match RecordView::parse(self.bytes(at, size as usize)) {
            Ok(record) if record.physical_offset().0 == at => At::Record { size: u64::from(record.size()) },
            Ok(record) => At::Nothing(Flaw::Place { says: record.physical_offset().0 }),
            Err(error) => At::Nothing(Flaw::Fields(error)),
        }
    }

    /// The next place behind `at` where a record stands, or filler begins that ends with the segment; and behind
    /// the last byte before it that is not zero, 0 if all are.
    fn next_place(&mut self, at: u64, stop: u64) -> (Option<u64>, u64) {
        const MAGIC_AT: usize = 4;
        let mut used = 0;
        let mut from = at;
        while from < stop {
            let chunk = self.bytes(from, BLANK_SIZE_MIN);
            let chunk = &chunk[..chunk.len().min((stop - from) as usize)];
            let length = chunk.len();
            let last = if is_zero(chunk) { None } else { chunk.iter().rposition(|&byte| byte != 0) };
            let places: Vec<usize> = (0..last.unwrap_or(0).min(length.saturating_sub(MAGIC_AT + 3)))
                .filter(|i| {
                    let magic = chunk[i + MAGIC_AT..].first_chunk().map(|magic| u32::from_be_bytes(*magic));
                    matches!(magic, Some(MAGIC_V1 | MAGIC_V2 | MAGIC_BLANK))
                })
                .collect();
            for place in places.into_iter().map(|i| from + i as u64).filter(|place| *place > at) {
                if matches!(self.judge(place, stop), At::Record { .. } | At::Filler) {
                    return (Some(place), place);
                }
            }
            used = last.map_or(used, |last| from + last as u64 + 1);
            if from + length as u64 >= stop {
                break;
            }
            // Places whose magic this chunk does not hold whole are looked at with the next.
            from += (length - (MAGIC_AT + 3)) as u64;
        }
        (None, used)
    }
}

/// True if all of `bytes` are zero. In blocks, without a way out of each, because that runs at the speed of the memory: the
/// room for more at the end of a segment may be a GiB.
fn is_zero(bytes: &[u8]) -> bool {
    bytes.chunks(256).all(|block| block.iter().fold(0, |all, byte| all | byte) == 0)
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc};

    use super::*;
    use crate::{
        disk::{
            Disk,
            memory::{BadRange, MemoryDisk},
        },
        inspect::Layout,
        sync::lock,
    };

    /// A disk with a bad sector hides that sector and nothing else.
    #[test]
    fn a_block_that_cannot_be_read_is_a_finding_and_reads_as_zeros() {
        let disk = Arc::new(MemoryDisk::default());
        let (dir, bytes) = (Path::new("/store/commitlog"), vec![7; 5 * BLOCK]);
        let path = file_at(dir, 0);
        disk.create_dir_all(dir).unwrap();
        disk.open(&path, true).unwrap().write_at(0, &bytes).unwrap();
        let (begin, end) = (2 * BLOCK, 3 * BLOCK);
        let range = begin as u64 + 10..begin as u64 + 20;
        lock(&disk.faults().bad).push(BadRange { path: path.clone(), range, read: true, write: false });
        let layout = Layout { root: "/store".into(), ..Layout::default() };
        let folder = Folder::open_on(Arc::clone(&disk) as Arc<dyn Disk>, layout).unwrap();
        let mut window = Window::open(&folder, folder.segments[0], &mut |_| ControlFlow::Break(())).unwrap();
        let mut expected = bytes;
        expected[begin..end].fill(0);
        // From within a block, as records lie.
        assert_eq!(window.bytes(100, 50_000), &expected[100..]);
        let found: Vec<_> = window.unreadable.iter().map(|finding| (&finding.path, finding.offset)).collect();
        assert_eq!(found, [(&path, Some(begin as u64))]);
        assert!(matches!(window.unreadable[0].what, What::Unreadable { .. }));
    }
}
