// SPDX-License-Identifier: Apache-2.0
//! Servers as processes on free ports, in folders of their own, and a client that is nothing but a socket.
#![allow(dead_code, unreachable_pub)] // Every test file is a program of its own and uses its part of this one.

pub mod cluster;

use oxmq_record::RecordView;
use oxmq_remoting::{Command as Frame, Encoding, FRAME_MAX_BYTES, Header, Kind, code::request, split_frame};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    collections::{BTreeSet, HashMap},
    fs,
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Longest time that anything here may take; a test that comes near it has failed.
pub const LONG: Duration = Duration::from_secs(20);

pub const BOTH: [Encoding; 2] = [Encoding::Json, Encoding::RocketMq];

/// Waits until `condition` holds.
#[track_caller]
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < LONG, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A port that is free, as is the one two below it, on which a broker listens, too. It lies below the ports that
/// systems give to outgoing connections; should another take it nevertheless, [`Ground::start`] tries the next.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 10_000 + u16::try_from((std::process::id() * 211 + step * 4) % 20_000).unwrap();
        let free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        if free(port) && free(port - 2) {
            return port;
        }
    }
}

/// Where a server lives: a temporary folder that is its home and holds its store.
pub struct Ground {
    pub folder: TempDir,
}

/// A server that did not start.
#[derive(Debug)]
pub struct NotStarted {
    pub status: ExitStatus,
    pub stderr: String,
}

impl Ground {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts `oxmq` with these arguments and waits until it prints `lines` lines, or ends.
    pub fn start(&self, args: &[&str], lines: usize) -> Result<Process, NotStarted> {
        self.run(&mut Command::new(env!("CARGO_BIN_EXE_oxmq")), args, lines)
    }

    /// The same after the shell commands `before`, in a world of mounted disks of its own. `None` where nobody may have one.
    pub fn start_after(
        &self,
        before: &str,
        args: &[&str],
        lines: usize,
    ) -> Option<Result<Process, NotStarted>> {
        let own = |command: &mut Command| command.args(["-rm", "sh", "-e", "-c"]).arg("true").status();
        if !own(&mut Command::new("unshare")).is_ok_and(|status| status.success()) {
            return None;
        }
        let script = format!("{before}\nexec \"$0\" \"$@\"");
        let mut command = Command::new("unshare");
        command.args(["-rm", "sh", "-e", "-c", &script, env!("CARGO_BIN_EXE_oxmq")]);
        Some(self.run(&mut command, args, lines))
    }

    fn run(&self, program: &mut Command, args: &[&str], lines: usize) -> Result<Process, NotStarted> {
        let stderr = self.path("stderr");
        let mut child = program
            .args(args)
            .env("HOME", self.folder.path())
            .env_remove("NAMESRV_ADDR")
            .env_remove("RUST_LOG")
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(&stderr).unwrap())
            .spawn()
            .unwrap();
        let (say, said) = mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| say.send(line)));
        let mut process = Process { child, lines: Vec::new() };
        while process.lines.len() < lines {
            match said.recv_timeout(LONG) {
                Ok(line) => process.lines.push(line),
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("it did not start: {:?}", process.lines),
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    let status = process.child.wait().unwrap();
                    return Err(NotStarted { status, stderr: fs::read_to_string(stderr).unwrap() });
                }
            }
        }
        Ok(process)
    }

    /// All folders here, but for those of logs.
    pub fn folders(&self) -> BTreeSet<PathBuf> {
        fn collect(folder: &Path, found: &mut BTreeSet<PathBuf>) {
            for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
                if entry.file_type().unwrap().is_dir() {
                    collect(&entry.path(), found);
                    found.insert(entry.path());
                }
            }
        }
        let mut found = BTreeSet::new();
        collect(self.folder.path(), &mut found);
        found
    }
}

/// A running server, killed when it is dropped.
pub struct Process {
    child: Child,
    /// What it has printed up to its start.
    pub lines: Vec<String>,
}

impl Process {
    /// Ends it as a power switch would.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end, as init systems do, and waits for it.
    pub fn stop(self) -> ExitStatus {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        self.ends()
    }

    /// Waits until it ends by itself.
    pub fn ends(mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < LONG, "it does not end");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Where `path` is as it sees the disks.
    pub fn seen_by_it(&self, path: &Path) -> PathBuf {
        Path::new(&format!("/proc/{}/root", self.child.id())).join(path.strip_prefix("/").unwrap())
    }

    /// Memory of its own, without mapped files, in bytes.
    pub fn anonymous_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A broker with small segments that is alone in the world.
pub struct Broker {
    pub ground: Ground,
    pub port: u16,
    pub process: Option<Process>,
}

impl Broker {
    /// Starts one whose configuration has these lines besides its own.
    pub fn start(config: &str) -> Self {
        let ground = Ground::new();
        for _ in 0..10 {
            let port = free_port();
            write_config(&ground, "broker.conf", &ground.path("store"), port, config);
            match ground.start(&["broker", "-c", "broker.conf"], 1) {
                Ok(process) => return Self { ground, port, process: Some(process) },
                Err(failed) if failed.stderr.contains(&format!(":{port}")) => {}
                Err(failed) => panic!("{failed:?}"),
            }
        }
        panic!("no port was free");
    }

    pub fn kill(&mut self) {
        self.process.take().unwrap().kill();
    }

    pub fn stop(&mut self) -> ExitStatus {
        self.process.take().unwrap().stop()
    }

    /// Starts it again, on the same port and store.
    #[track_caller]
    pub fn start_again(&mut self) {
        self.process = Some(self.ground.start(&["broker", "-c", "broker.conf"], 1).unwrap());
    }

    pub fn connect(&self) -> Wire {
        Wire::connect(self.port)
    }

    pub fn store(&self, name: &str) -> PathBuf {
        self.ground.path("store").join(name)
    }
}

/// Writes the configuration of a broker on loopback with small files.
pub fn write_config(ground: &Ground, name: &str, store: &Path, port: u16, more: &str) {
    let text = format!(
        "brokerName=b\nbrokerIP1=127.0.0.1\nbindAddress=127.0.0.1\nlistenPort={port}\nhaListenPort=1\n\
         storePathRootDir={}\nmappedFileSizeCommitLog=4194304\nmappedFileSizeConsumeQueue=20000\n{more}\n",
        store.display()
    );
    fs::write(ground.path(name), text).unwrap();
}

/// An answer, owned.
#[derive(Debug)]
pub struct Received {
    pub code: i32,
    pub opaque: i32,
    pub remark: String,
    pub fields: HashMap<String, String>,
    pub body: Vec<u8>,
}

impl Received {
    #[track_caller]
    pub fn number(&self, field: &str) -> i64 {
        self.fields[field].parse().unwrap()
    }

    /// Checks the code and how the remark begins.
    #[track_caller]
    pub fn is(&self, code: i32, remark: &str) {
        assert!(self.code == code && self.remark.starts_with(remark), "{code} {remark:?}: {self:?}");
    }

    /// The messages that a pull gave.
    pub fn messages(&self) -> Vec<RecordView<'_>> {
        let mut rest = self.body.as_slice();
        let mut messages = Vec::new();
        while !rest.is_empty() {
            let size = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
            let (record, after) = rest.split_at(size);
            let message = RecordView::parse(record).unwrap();
            assert!(message.verify_crc());
            messages.push(message);
            rest = after;
        }
        messages
    }
}

/// A socket that speaks the protocol.
pub struct Wire {
    pub stream: TcpStream,
    pub encoding: Encoding,
    received: Vec<u8>,
    next_opaque: i32,
}

/// A frame whose body is one piece.
pub fn frame(encoding: Encoding, opaque: i32, command: &Frame) -> Vec<u8> {
    let mut bytes = Vec::new();
    command.encode(encoding, Kind::Request, opaque, &mut bytes);
    bytes.extend(command.body.pieces().iter().flatten());
    bytes
}

impl Wire {
    pub fn connect(port: u16) -> Self {
        Self::try_connect(port).unwrap()
    }

    pub fn try_connect(port: u16) -> std::io::Result<Self> {
        let stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LONG))?;
        stream.set_write_timeout(Some(LONG))?;
        Ok(Self { stream, encoding: Encoding::Json, received: Vec::new(), next_opaque: 0 })
    }

    /// Asks and waits for the answer.
    #[track_caller]
    pub fn ask(&mut self, command: &Frame) -> Received {
        self.next_opaque += 1;
        let bytes = frame(self.encoding, self.next_opaque, command);
        self.stream.write_all(&bytes).unwrap();
        let answer = self.read().expect("the connection was closed");
        assert_eq!(answer.opaque, self.next_opaque);
        answer
    }

    /// Asks with fields that are written as they stand in `json`, for what no client writes.
    #[track_caller]
    pub fn ask_raw(&mut self, code: i32, json: &str, body: &[u8]) -> Received {
        let header = format!(r#"{{"code":{code},"opaque":7,"extFields":{{{json}}}}}"#);
        let length = u32::try_from(4 + header.len() + body.len()).unwrap();
        let mark = u32::try_from(header.len()).unwrap();
        let bytes = [&length.to_be_bytes()[..], &mark.to_be_bytes(), header.as_bytes(), body].concat();
        self.stream.write_all(&bytes).unwrap();
        self.read().expect("the connection was closed")
    }

    /// The next answer; `None` if the connection ended.
    pub fn read(&mut self) -> Option<Received> {
        // Requests of the server come between, such as that the members of a group changed.
        loop {
            let (is_answer, received) = self.read_any()?;
            if is_answer {
                return Some(received);
            }
        }
    }

    /// Waits for a request of the server.
    #[track_caller]
    pub fn read_request(&mut self, code: i32) -> Received {
        loop {
            let (is_answer, received) = self.read_any().expect("the connection was closed");
            if !is_answer && received.code == code {
                return received;
            }
        }
    }

    /// What comes next, and whether it is an answer.
    fn read_any(&mut self) -> Option<(bool, Received)> {
        loop {
            if let Some(frame) = split_frame(&self.received, FRAME_MAX_BYTES).unwrap() {
                let header = Header::parse(frame.encoding, frame.header).unwrap();
                assert_eq!(frame.encoding, self.encoding, "answers come as they were asked");
                let fields = header.fields.iter();
                let received = Received {
                    code: header.code,
                    opaque: header.opaque,
                    remark: header.remark.map(|text| text.to_cow().into_owned()).unwrap_or_default(),
                    fields: fields.map(|(name, value)| (name.into(), value.to_cow().into_owned())).collect(),
                    body: frame.body.to_vec(),
                };
                let is_answer = header.is_response();
                let size = frame.size;
                self.received.drain(..size);
                return Some((is_answer, received));
            }
            let mut buffer = [0; 64 * 1024];
            match self.stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(length) => self.received.extend_from_slice(&buffer[..length]),
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                    return None;
                }
                Err(error) => panic!("nothing came from the server: {error}"),
            }
        }
    }

    /// Messages of a queue from `offset` on, with the group `g` and every tag, at once.
    #[track_caller]
    pub fn pull(&mut self, topic: &str, queue: i32, offset: i64) -> Received {
        self.ask(&pull(topic, queue, offset))
    }
}

/// A send as 5.x clients write it, of a topic that is made if it is not there.
pub fn send(topic: &str, queue: i32, properties: &str, body: impl Into<Vec<u8>>) -> Frame {
    let fields = [("a", "P"), ("b", topic), ("c", "TBW102"), ("d", "4"), ("f", "0"), ("g", "1700000000000")];
    fields
        .into_iter()
        .fold(Frame::new(request::SEND_MESSAGE_V2), |frame, (name, value)| frame.with(name, value.to_owned()))
        .with("e", queue)
        .with("h", 0)
        .with("i", properties.to_owned())
        .with_body(body.into())
}

/// A pull that carries its own subscription to everything and is not held.
pub fn pull(topic: &str, queue: i32, offset: i64) -> Frame {
    pull_as("g", topic, queue, offset, "TAG", "*")
}

pub fn pull_as(
    group: &str,
    topic: &str,
    queue: i32,
    offset: i64,
    expression_type: &str,
    expression: &str,
) -> Frame {
    Frame::new(request::PULL_MESSAGE)
        .with("consumerGroup", group.to_owned())
        .with("topic", topic.to_owned())
        .with("queueId", queue)
        .with("queueOffset", offset)
        .with("maxMsgNums", 32)
        .with("sysFlag", 4)
        .with("commitOffset", 0)
        .with("suspendTimeoutMillis", 0)
        .with("subscription", expression.to_owned())
        .with("subVersion", 0)
        .with("expressionType", expression_type.to_owned())
}

/// The request of tools that makes a topic of four queues.
pub fn create_topic(topic: &str, perm: i32, order: bool) -> Frame {
    Frame::new(request::UPDATE_AND_CREATE_TOPIC)
        .with("topic", topic.to_owned())
        .with("defaultTopic", "TBW102")
        .with("readQueueNums", 4)
        .with("writeQueueNums", 4)
        .with("perm", perm)
        .with("topicFilterType", "SINGLE_TAG")
        .with("topicSysFlag", 0)
        .with("order", order)
}

pub fn commit(group: &str, topic: &str, queue: i32, next: i64) -> Frame {
    Frame::new(request::UPDATE_CONSUMER_OFFSET)
        .with("consumerGroup", group.to_owned())
        .with("topic", topic.to_owned())
        .with("queueId", queue)
        .with("commitOffset", next)
}
