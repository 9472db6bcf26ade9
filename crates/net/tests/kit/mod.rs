// SPDX-License-Identifier: Apache-2.0
//! A service whose every behaviour is a request code, and a client that is nothing but a socket.
#![allow(dead_code, unreachable_pub)] // Every test file is a program of its own and uses its part of this one.

use bytes::Bytes;
use oxmq_net::{Answer, Limits, Peer, Request, Server, Service, Workers};
use oxmq_remoting::{Body, Command, Encoding, FRAME_MAX_BYTES, Header, Kind, split_frame};
use std::{
    collections::HashMap,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use tokio::sync::Notify;

/// Answered with its own body and its field `n`.
pub const ECHO: i32 = 1;
/// Answered as ECHO, once a RELEASE came with the same body.
pub const HOLD: i32 = 2;
pub const RELEASE: i32 = 3;
/// Never answered.
pub const NOTHING: i32 = 4;
/// The handler panics at once, or when its answer is waited for.
pub const PANIC: i32 = 5;
pub const PANIC_LATER: i32 = 6;
/// Answered with as many bytes as its field `n` says, at once or from a future.
pub const GIVE: i32 = 7;
pub const GIVE_LATER: i32 = 8;
/// The server asks the asker (code `n`, same body) and passes its answer on.
pub const ASK_BACK: i32 = 9;
/// Takes the worker's thread for `n` microseconds.
pub const WORK: i32 = 10;

/// Longest time that anything here may take; a test that comes near it has failed.
pub const LONG: Duration = Duration::from_secs(20);

pub const BOTH: [Encoding; 2] = [Encoding::Json, Encoding::RocketMq];

/// Waits until `condition` holds.
#[track_caller]
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < LONG, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

#[derive(Default)]
pub struct TestService {
    /// Bytes of answers given and not yet freed, now and at most.
    pub given: Arc<Given>,
    pub handled: AtomicUsize,
    /// All that ever connected.
    pub peers: Mutex<Vec<Arc<Peer>>>,
    /// How often each peer was opened and closed, by its id.
    pub lives: Mutex<HashMap<u64, (u32, u32)>>,
    gates: Mutex<HashMap<Vec<u8>, Arc<Gate>>>,
}

#[derive(Default)]
struct Gate {
    open: AtomicBool,
    opened: Notify,
}

#[derive(Default)]
pub struct Given {
    now: AtomicUsize,
    most: AtomicUsize,
}

struct Counted(Vec<u8>, Arc<Given>);

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.now.fetch_sub(self.0.len(), Ordering::SeqCst);
    }
}

impl Given {
    pub fn now(&self) -> usize {
        self.now.load(Ordering::SeqCst)
    }

    pub fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }

    pub fn bytes(self: &Arc<Self>, length: usize) -> Bytes {
        let now = self.now.fetch_add(length, Ordering::SeqCst) + length;
        self.most.fetch_max(now, Ordering::SeqCst);
        Bytes::from_owner(Counted(vec![7; length], self.clone()))
    }
}

impl TestService {
    fn gate(&self, name: &[u8]) -> Arc<Gate> {
        self.gates.lock().unwrap().entry(name.to_vec()).or_default().clone()
    }

    /// Lets the HOLD requests with this body go.
    pub fn release(&self, name: &[u8]) {
        let gate = self.gate(name);
        gate.open.store(true, Ordering::SeqCst);
        gate.opened.notify_waiters();
    }

    pub fn handled(&self) -> usize {
        self.handled.load(Ordering::SeqCst)
    }

    /// Peers that are connected.
    pub fn alive(&self) -> usize {
        self.lives.lock().unwrap().values().filter(|(_, closed)| *closed == 0).count()
    }

    /// Waits until no peer is connected, each having been opened and closed once.
    #[track_caller]
    pub fn all_closed(&self, expected: usize) {
        until("all connections closed", || self.alive() == 0);
        let lives = self.lives.lock().unwrap();
        assert_eq!(lives.len(), expected);
        assert!(lives.values().all(|life| *life == (1, 1)), "{lives:?}");
    }
}

impl Service for TestService {
    fn opened(&self, peer: &Arc<Peer>) {
        self.lives.lock().unwrap().entry(peer.id()).or_default().0 += 1;
        self.peers.lock().unwrap().push(peer.clone());
    }

    fn closed(&self, peer: &Arc<Peer>) {
        assert!(peer.is_closed());
        self.lives.lock().unwrap().entry(peer.id()).or_default().1 += 1;
    }

    fn handle(&self, request: Request<'_>) -> Answer {
        self.handled.fetch_add(1, Ordering::SeqCst);
        let number = request.header.fields.get("n").map_or(0, |text| text.to_cow().parse::<usize>().unwrap());
        let body = Bytes::copy_from_slice(request.body);
        match request.header.code {
            ECHO => echo(number, body).into(),
            HOLD => {
                let gate = self.gate(&body);
                Answer::later(async move {
                    let opened = gate.opened.notified();
                    let mut opened = std::pin::pin!(opened);
                    opened.as_mut().enable();
                    if !gate.open.load(Ordering::SeqCst) {
                        opened.await;
                    }
                    echo(number, body)
                })
            }
            RELEASE => {
                self.release(&body);
                echo(number, body).into()
            }
            NOTHING => Answer::Nothing,
            PANIC => panic!("as the test wants it"),
            PANIC_LATER => Answer::later(async {
                tokio::task::yield_now().await;
                panic!("as the test wants it")
            }),
            GIVE => echo(number, self.given.bytes(number)).into(),
            GIVE_LATER => {
                let given = self.given.clone();
                Answer::later(async move { echo(number, given.bytes(number)) })
            }
            ASK_BACK => {
                let peer = request.peer.clone();
                let code = i32::try_from(number).unwrap();
                Answer::later(async move {
                    match peer.call(Command::new(code).with_body(body), LONG).await {
                        Ok(reply) => Command::success().with_body(reply.body),
                        Err(error) => Command::failure(1, error.to_string()),
                    }
                })
            }
            WORK => {
                let start = Instant::now();
                while start.elapsed() < Duration::from_micros(number as u64) {
                    std::hint::spin_loop();
                }
                echo(number, body).into()
            }
            code => Answer::unsupported(code),
        }
    }
}

fn echo(number: usize, body: Bytes) -> Command {
    Command::success().with("n", number as u64).with_body(body)
}

/// A server on a free port, with one worker unless said otherwise.
pub struct TestServer {
    pub service: Arc<TestService>,
    pub server: Server,
    pub workers: Workers,
    pub addr: SocketAddr,
}

pub fn serve(limits: Limits) -> TestServer {
    serve_at("127.0.0.1:0".parse().unwrap(), limits)
}

pub fn serve_at(addr: SocketAddr, limits: Limits) -> TestServer {
    let workers = Workers::start(1).unwrap();
    let service = Arc::new(TestService::default());
    let server = Server::bind(&workers, &[addr], service.clone(), limits).unwrap();
    let addr = server.local_addrs()[0];
    TestServer { service, server, workers, addr }
}

impl TestServer {
    pub fn connect(&self) -> Wire {
        Wire::connect(self.addr)
    }

    /// The only peer.
    #[track_caller]
    pub fn peer(&self) -> Arc<Peer> {
        until("a peer", || !self.service.peers.lock().unwrap().is_empty());
        self.service.peers.lock().unwrap()[0].clone()
    }
}

/// An answer or a request that came from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    pub encoding: Encoding,
    pub code: i32,
    pub opaque: i32,
    pub flag: i32,
    pub remark: Option<String>,
    pub number: Option<String>,
    pub body: Vec<u8>,
}

/// A socket that speaks the protocol by hand.
pub struct Wire {
    pub stream: TcpStream,
    received: Vec<u8>,
}

/// A frame whose body is one piece.
pub fn frame(encoding: Encoding, kind: Kind, opaque: i32, command: &Command) -> Vec<u8> {
    let mut bytes = Vec::new();
    command.encode(encoding, kind, opaque, &mut bytes);
    bytes.extend(command.body.pieces().iter().flatten());
    bytes
}

pub fn request(opaque: i32, code: i32, number: usize, body: impl Into<Body>) -> Vec<u8> {
    let command = Command::new(code).with("n", number as u64).with_body(body);
    frame(Encoding::Json, Kind::Request, opaque, &command)
}

/// A frame made by hand around any header.
pub fn raw_frame(encoding: u8, header: &[u8]) -> Vec<u8> {
    let mark = u32::from(encoding) << 24 | u32::try_from(header.len()).unwrap();
    let length = u32::try_from(4 + header.len()).unwrap();
    [&length.to_be_bytes()[..], &mark.to_be_bytes(), header].concat()
}

impl Wire {
    pub fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream.set_write_timeout(Some(LONG)).unwrap();
        Self { stream, received: Vec::new() }
    }

    pub fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// The next frame; panics if none comes.
    #[track_caller]
    pub fn read(&mut self) -> Received {
        self.try_read().expect("the connection was closed")
    }

    #[track_caller]
    pub fn try_read(&mut self) -> Option<Received> {
        loop {
            if let Some(frame) = split_frame(&self.received, FRAME_MAX_BYTES).unwrap() {
                let header = Header::parse(frame.encoding, frame.header).unwrap();
                let received = Received {
                    encoding: frame.encoding,
                    code: header.code,
                    opaque: header.opaque,
                    flag: header.flag,
                    remark: header.remark.map(|text| text.to_cow().into_owned()),
                    number: header.fields.get("n").map(|text| text.to_cow().into_owned()),
                    body: frame.body.to_vec(),
                };
                let size = frame.size;
                self.received.drain(..size);
                return Some(received);
            }
            let mut buffer = [0; 64 * 1024];
            match self.stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(length) => self.received.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("nothing came from the server: {error}"),
            }
        }
    }

    #[track_caller]
    pub fn echoes(&mut self, body: &str) {
        self.write(&request(77, ECHO, 1, body.as_bytes().to_vec()));
        let answer = self.read();
        assert_eq!((answer.opaque, answer.code, answer.body.as_slice()), (77, 0, body.as_bytes()));
    }

    /// Waits until the server has closed; no frame may come before.
    #[track_caller]
    pub fn is_closed(&mut self) {
        assert_eq!(self.try_read(), None);
    }

    /// True if nothing comes within a moment; for what must not be sent, after something that follows it came.
    #[track_caller]
    pub fn has_nothing_more(&mut self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let read = self.stream.read(&mut [0]);
        self.stream.set_nonblocking(false).unwrap();
        self.received.is_empty() && read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }
}
