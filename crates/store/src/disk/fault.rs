// SPDX-License-Identifier: Apache-2.0
//! Says which file it was when the kernel cannot give, or take, a page of a mapped file, before the process ends.
//!
//! A bad sector, a file that somebody shortened, or a hole in a sparse file on a full disk: whoever looks at such a page
//! gets a SIGBUS, and by itself that ends the process without a word. Nothing can go on there: a thread stands in the
//! middle of anything, and what it was to read or write is not known. So the process still ends, at once and by that
//! signal, as by `kill -9`. But first a line goes to standard error and to the log, with the file and the place in it.
//!
//! INVARIANT: what runs in the handler neither allocates nor takes a lock nor panics: it may have interrupted anything.
//! It asks the system for the mapping (`/proc/self/maps`), so that nobody has to keep a table of them.
#![allow(unsafe_code)]

use std::{
    ffi::{CStr, CString, c_int, c_void},
    fmt::{self, Write as _},
    io, mem, ptr,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::date::date;

/// The log that is told, too.
static LOG: OnceLock<CString> = OnceLock::new();
/// A thread is telling already.
static TELLING: AtomicBool = AtomicBool::new(false);

/// Longest line of the list of mappings that is understood: numbers, and a path as long as the system allows.
const LINE_MAX: usize = 4096 + 128;
const PAGE: usize = 4096;

/// From now on, the process says so before it ends by a SIGBUS: on standard error and at the end of the file `log`.
pub(crate) fn tell_of_bad_pages(log: Option<CString>) -> io::Result<()> {
    if let Some(log) = log {
        // Whoever comes second writes to the log of the first.
        let _ = LOG.set(log);
    }
    // SAFETY: all zeros is a valid `sigaction`: no flags, an empty mask. The handler has the form that SA_SIGINFO asks for,
    // and calls only what may be called in one. It runs on the stack of the thread, which a SIGBUS leaves as it is.
    let done = unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = on_bus_error;
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_SIGINFO;
        libc::sigaction(libc::SIGBUS, &action, ptr::null_mut())
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

extern "C" fn on_bus_error(_signal: c_int, info: *mut libc::siginfo_t, _context: *mut c_void) {
    if TELLING.swap(true, Ordering::SeqCst) {
        // The process ends as soon as the other thread has told.
        loop {
            // SAFETY: it takes nothing, and may be called in a handler.
            unsafe { libc::pause() };
        }
    }
    // SAFETY: the kernel hands over a `siginfo_t` of its own; for a SIGBUS that it raised itself, which positive codes
    // say, that has an address.
    let fault = unsafe {
        let code = (*info).si_code;
        (code > 0).then(|| ((*info).si_addr() as usize, code))
    };
    let mut line = Line::new();
    // A line that is too long is cut: nothing else fails here.
    let _ = line.begin(now()).and_then(|()| match fault {
        None => line.write_str("another process sent a SIGBUS"),
        Some((address, code)) => tell(&mut line, address, code),
    });
    line.end(". This process ends now, as by kill -9: the next start recovers the store.\n");
    write_to(libc::STDERR_FILENO, line.bytes());
    if let Some(log) = LOG.get() {
        let opened = open(log, libc::O_WRONLY | libc::O_APPEND);
        if opened >= 0 {
            write_to(opened, line.bytes());
        }
    }
    // Looking at the page again might go well, and then the process would go on: so the signal is raised again. It is
    // delivered when this returns.
    // SAFETY: numbers only, and both may be called in a handler.
    unsafe {
        libc::signal(libc::SIGBUS, libc::SIG_DFL);
        libc::raise(libc::SIGBUS);
    }
}

/// What is wrong at `address`; `code` is the kernel's.
fn tell(line: &mut Line, address: usize, code: c_int) -> fmt::Result {
    let maps = open(c"/proc/self/maps", libc::O_RDONLY);
    let mut found = [0; LINE_MAX];
    let found = find(address, &mut found, |into| read_from(maps, into));
    let Some((at, path)) = found else {
        return write!(
            line,
            "the memory at address {address:#x}, which is of no file, cannot be used (SIGBUS)"
        );
    };
    let page = at / PAGE * PAGE;
    write!(line, "the page at byte {page} of the file ")?;
    line.add(path.to_bytes())?;
    line.write_str(" cannot be read or written (SIGBUS): ")?;
    match (code, length(path)) {
        (libc::BUS_MCEERR_AR | libc::BUS_MCEERR_AO, _) => {
            line.write_str("the memory that holds it is broken")
        }
        (_, Some(length)) if page >= length => {
            write!(line, "another process made the file shorter, to {length} bytes")
        }
        _ => line.write_str("the disk failed, or is full; the kernel's log (dmesg) says which"),
    }
}

/// The place in its file of `address`, and the file, by a list of mappings that `read` gives piece by piece, 0 at its
/// end. `None` if it is of no file.
fn find(
    address: usize,
    line: &mut [u8; LINE_MAX],
    mut read: impl FnMut(&mut [u8]) -> usize,
) -> Option<(usize, &CStr)> {
    let mut piece = [0; PAGE];
    let mut length = 0;
    loop {
        let read = read(&mut piece);
        if read == 0 {
            return None;
        }
        for &byte in piece.get(..read)? {
            if byte != b'\n' {
                // What is too long is cut, and the last byte stays a zero.
                if let Some(place) = line.get_mut(length).filter(|_| length + 1 < LINE_MAX) {
                    *place = byte;
                    length += 1;
                }
                continue;
            }
            let this = mem::take(&mut length);
            if let Some((at, path)) = line.get(..this).and_then(|line| parse(address, line)) {
                *line.get_mut(this)? = 0;
                return Some((at, CStr::from_bytes_until_nul(line.get(path..)?).ok()?));
            }
        }
    }
}

/// If `line` is of the mapping that has `address`: the place in the file, and where in the line its path begins.
/// Such a line: `7f00-7f01 rw-s 00000000 fe:00 1234      /data/store/commitlog/00000000000000000000`.
fn parse(address: usize, line: &[u8]) -> Option<(usize, usize)> {
    let dash = line.iter().position(|&byte| byte == b'-')?;
    let (start, rest) = (hexadecimal(line.get(..dash)?)?, line.get(dash + 1..)?);
    let mut words = rest.split(|&byte| byte == b' ').filter(|word| !word.is_empty());
    let end = hexadecimal(words.next()?)?;
    let offset = hexadecimal(words.nth(1)?)?;
    if !(start..end).contains(&address) {
        return None;
    }
    let path = line.iter().position(|&byte| byte == b'/')?;
    Some((offset + (address - start), path))
}

fn hexadecimal(digits: &[u8]) -> Option<usize> {
    digits.iter().try_fold(0usize, |number, digit| {
        let digit = (*digit as char).to_digit(16)?;
        number.checked_mul(16)?.checked_add(digit as usize)
    })
}

/// A line of the log, of limited length; its end has room in any case.
struct Line {
    bytes: [u8; Self::ROOM + Self::ROOM_OF_END],
    length: usize,
}

impl Line {
    const ROOM: usize = LINE_MAX + 384;
    const ROOM_OF_END: usize = 128;

    fn new() -> Self {
        Self { bytes: [0; Self::ROOM + Self::ROOM_OF_END], length: 0 }
    }

    /// As the other lines of the log begin. `now`: seconds since 1970.
    fn begin(&mut self, now: u64) -> fmt::Result {
        let (days, second) = (now / 86_400, now % 86_400);
        let (year, month, day) = date(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(self, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z ERROR oxmq_store: ")
    }

    fn add(&mut self, text: &[u8]) -> fmt::Result {
        let end = self.length + text.len();
        let room = self.bytes.get_mut(..Self::ROOM).and_then(|room| room.get_mut(self.length..end));
        let room = room.ok_or(fmt::Error)?;
        room.copy_from_slice(text);
        self.length = end;
        Ok(())
    }

    fn end(&mut self, text: &str) {
        let end = self.length + text.len();
        if let Some(room) = self.bytes.get_mut(self.length..end) {
            room.copy_from_slice(text.as_bytes());
            self.length = end;
        }
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.add(text.as_bytes())
    }
}

/// Seconds since 1970.
fn now() -> u64 {
    // SAFETY: it writes to a valid place, or to none, and may be called in a handler.
    u64::try_from(unsafe { libc::time(ptr::null_mut()) }).unwrap_or(0)
}

fn open(path: &CStr, flags: c_int) -> c_int {
    // SAFETY: `path` ends with a zero and outlives the call, which may be made in a handler.
    unsafe { libc::open(path.as_ptr(), flags | libc::O_CLOEXEC) }
}

/// Reads what there is; 0 if there is nothing, or it cannot be read.
fn read_from(file: c_int, into: &mut [u8]) -> usize {
    // SAFETY: `into` has room for so many bytes. The call may be made in a handler.
    let read = unsafe { libc::read(file, into.as_mut_ptr().cast(), into.len()) };
    usize::try_from(read).unwrap_or(0)
}

fn write_to(file: c_int, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        // SAFETY: so many bytes are there. The call may be made in a handler.
        let written = unsafe { libc::write(file, bytes.as_ptr().cast(), bytes.len()) };
        match usize::try_from(written).ok().and_then(|written| bytes.get(written..)) {
            Some(rest) if rest.len() < bytes.len() => bytes = rest,
            _ => return,
        }
    }
}

/// Bytes of the file. `None` if it has no such name any more.
fn length(path: &CStr) -> Option<usize> {
    // SAFETY: `path` ends with a zero, all zeros is a valid `stat`, and both outlive the call, which may be made in a
    // handler.
    let (done, found) = unsafe {
        let mut found: libc::stat = mem::zeroed();
        (libc::stat(path.as_ptr(), &mut found), found)
    };
    if done == 0 { usize::try_from(found.st_size).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::Write as _,
        os::unix::process::ExitStatusExt,
        path::{Path, PathBuf},
        process::Command,
        sync::Arc,
    };

    use super::*;
    use crate::disk::{Disk, real::RealDisk};

    const MAPS: &str = "\
00400000-00452000 r-xp 00000000 08:02 173521      /usr/bin/dbus-daemon
7f0000000000-7f0000021000 rw-p 00000000 00:00 0
7f0000100000-7f0000200000 rw-s 00004000 fe:00 42                         /data/my store/commitlog/00000000000000000000
7ffc0000-7ffc1000 rw-p 00000000 00:00 0           [stack]
";

    fn found(address: usize, maps: &str, at_once: usize) -> Option<(usize, String)> {
        let mut rest = maps.as_bytes();
        let mut line = [0; LINE_MAX];
        let found = find(address, &mut line, |into| {
            let length = rest.len().min(at_once).min(into.len());
            let (now, later) = rest.split_at(length);
            into[..length].copy_from_slice(now);
            rest = later;
            length
        });
        found.map(|(at, path)| (at, path.to_str().unwrap().to_owned()))
    }

    #[test]
    fn the_file_behind_an_address() {
        for at_once in [1, 7, 4096] {
            let log = "/data/my store/commitlog/00000000000000000000".to_owned();
            assert_eq!(found(0x7f0000100000, MAPS, at_once), Some((0x4000, log.clone())));
            assert_eq!(found(0x7f00001fffff, MAPS, at_once), Some((0x103fff, log)));
            assert_eq!(found(0x451fff, MAPS, at_once), Some((0x51fff, "/usr/bin/dbus-daemon".to_owned())));
            for of_no_file in [0x7f0000200000, 0x7f0000000000, 0x7ffc0000, 0] {
                assert_eq!(found(of_no_file, MAPS, at_once), None);
            }
        }
        let long = format!("1000-2000 rw-s 00000000 fe:00 42 /{}\n{MAPS}", "x".repeat(10_000));
        assert_eq!(found(0x1001, &long, 4096).unwrap().0, 1);
        assert_eq!(found(0x400000, &long, 4096).unwrap().1, "/usr/bin/dbus-daemon");
        for nonsense in
            ["", "\n\n", "-", "-\n", "1000-\n", "zz-yy rw-s 0 0 0 /x\n", "1000-2000 rw-s", "1000-2000\n"]
        {
            assert_eq!(found(0x1001, nonsense, 4096), None);
        }
    }

    #[test]
    fn a_line_begins_with_the_time_and_keeps_its_end() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_795_897_843, "2026-11-28T20:30:43Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            let mut line = Line::new();
            line.begin(seconds).unwrap();
            assert_eq!(line.bytes(), format!("{expected} ERROR oxmq_store: ").as_bytes());
        }
        let mut line = Line::new();
        while line.write_str("too long ").is_ok() {}
        line.end("the end\n");
        assert!(line.bytes().ends_with(b"too long the end\n"));
    }

    /// Set for the child of a test: the folder to work in.
    const FOLDER: &str = "OXMQ_TEST_BAD_PAGE_IN";

    /// A process maps a file of four pages, and somebody makes it one page long: threads that then look at the others
    /// end the process, and it says why.
    #[test]
    fn a_page_that_cannot_be_read_ends_the_process_with_a_word() {
        if let Some(folder) = std::env::var_os(FOLDER) {
            look_at_a_bad_page(Path::new(&folder));
        }
        let folder = tempfile::tempdir().unwrap();
        let (file, log) = (folder.path().join("00000000000000000000"), folder.path().join("broker.log"));
        fs::write(&log, "a line\n").unwrap();
        let test = "disk::fault::tests::a_page_that_cannot_be_read_ends_the_process_with_a_word";
        let ended = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(FOLDER, folder.path())
            .output()
            .unwrap();
        assert_eq!(ended.status.signal(), Some(libc::SIGBUS), "{ended:?}");
        let said = format!(
            "Z ERROR oxmq_store: the page at byte 8192 of the file {} cannot be read or written (SIGBUS): another process made the file shorter, \
             to 4096 bytes. This process ends now, as by kill -9: the next start recovers the store.\n",
            file.display()
        );
        let log = fs::read_to_string(log).unwrap();
        for told in [String::from_utf8(ended.stderr).unwrap(), log] {
            assert!(told.ends_with(&said) && told.matches("SIGBUS").count() == 1, "{told}");
        }
    }

    fn look_at_a_bad_page(folder: &Path) -> ! {
        let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
        rustix::process::setrlimit(rustix::process::Resource::Core, none).unwrap();
        let (path, log): (PathBuf, _) = (folder.join("00000000000000000000"), folder.join("broker.log"));
        tell_of_bad_pages(Some(CString::new(log.into_os_string().into_encoded_bytes()).unwrap())).unwrap();
        let segment: Arc<dyn crate::disk::Segment> =
            RealDisk::default().create_segment(&path, 4 * PAGE as u64).unwrap().into();
        segment.write(2 * PAGE + 100, b"there");
        assert_eq!(&segment.slice(2 * PAGE + 100..2 * PAGE + 105)[..], b"there");
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(PAGE as u64).unwrap();
        let looks: Vec<_> = (0..4)
            .map(|_| {
                let segment = Arc::clone(&segment);
                std::thread::spawn(move || segment.slice(2 * PAGE + 100..2 * PAGE + 105)[0])
            })
            .collect();
        for look in looks {
            let _ = writeln!(std::io::stderr(), "a thread went on: {:?}", look.join());
        }
        std::process::exit(1);
    }

    /// Sent by somebody, it ends the process as well, and no file is blamed.
    #[test]
    fn a_signal_from_outside_ends_the_process_too() {
        if std::env::var_os(FOLDER).is_some() {
            let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
            rustix::process::setrlimit(rustix::process::Resource::Core, none).unwrap();
            tell_of_bad_pages(None).unwrap();
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::BUS).unwrap();
            std::thread::sleep(std::time::Duration::from_secs(20));
            std::process::exit(1);
        }
        let ended = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "disk::fault::tests::a_signal_from_outside_ends_the_process_too",
                "--nocapture",
            ])
            .env(FOLDER, "")
            .output()
            .unwrap();
        assert_eq!(ended.status.signal(), Some(libc::SIGBUS), "{ended:?}");
        let stderr = String::from_utf8(ended.stderr).unwrap();
        assert!(
            stderr.contains("Z ERROR oxmq_store: another process sent a SIGBUS. This process ends now"),
            "{stderr}"
        );
    }
}
