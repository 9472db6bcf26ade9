// SPDX-License-Identifier: Apache-2.0
//! Name servers and brokers that do what a test wants.
#![allow(dead_code, unreachable_pub)] // Every test file is a program of its own and uses its part of this one.

use oxmq_client::{Answer, Client, ClientOptions, Command, Peer, Request, Service, code};
use oxmq_net::{Limits, Server, Workers};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Longest time that anything here may take.
pub const LONG: Duration = Duration::from_secs(20);

type Handler = Box<dyn Fn(Request<'_>) -> Answer + Send + Sync>;

/// A server that answers by a function.
pub struct Fake {
    pub addr: String,
    pub state: Arc<State>,
    server: Server,
    workers: Option<Workers>,
}

pub struct State {
    handler: Handler,
    /// Codes of the requests that came.
    pub codes: Mutex<Vec<i32>>,
    pub connected: AtomicUsize,
}

impl Service for State {
    fn opened(&self, _: &Arc<Peer>) {
        self.connected.fetch_add(1, Ordering::SeqCst);
    }

    fn handle(&self, request: Request<'_>) -> Answer {
        self.codes.lock().unwrap().push(request.header.code);
        (self.handler)(request)
    }

    fn closed(&self, _: &Arc<Peer>) {
        self.connected.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Fake {
    pub fn start(handler: impl Fn(Request<'_>) -> Answer + Send + Sync + 'static) -> Self {
        Self::start_at("127.0.0.1:0", handler)
    }

    pub fn start_at(addr: &str, handler: impl Fn(Request<'_>) -> Answer + Send + Sync + 'static) -> Self {
        let workers = Workers::start(1).unwrap();
        let handler = Box::new(handler);
        let state = Arc::new(State { handler, codes: Mutex::default(), connected: AtomicUsize::new(0) });
        let server =
            Server::bind(&workers, &[addr.parse().unwrap()], state.clone(), Limits::default()).unwrap();
        let addr = server.local_addrs()[0].to_string();
        Self { addr, state, server, workers: Some(workers) }
    }

    /// How often a request with this code came.
    pub fn count(&self, code: i32) -> usize {
        self.state.codes.lock().unwrap().iter().filter(|found| **found == code).count()
    }

    pub fn connected(&self) -> usize {
        self.state.connected.load(Ordering::SeqCst)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.server.close();
        if let Some(workers) = self.workers.take() {
            workers.shutdown();
        }
    }
}

/// A name server that knows topic `T` with two queues on each of these brokers, which are called a, b, c, …
pub fn name_server(brokers: &[&str]) -> Fake {
    let route = route(brokers);
    Fake::start(move |request| answer_route(request, &route))
}

pub fn route(brokers: &[&str]) -> String {
    let named = || brokers.iter().zip('a'..);
    let datas: Vec<_> = named()
        .map(|(addr, name)| {
            format!(r#"{{"brokerAddrs":{{0:"{addr}"}},"brokerName":"{name}","cluster":"c"}}"#)
        })
        .collect();
    let queues: Vec<_> = named()
        .map(|(_, name)| {
            format!(r#"{{"brokerName":"{name}","perm":6,"readQueueNums":2,"writeQueueNums":2}}"#)
        })
        .collect();
    format!(r#"{{"brokerDatas":[{}],"queueDatas":[{}]}}"#, datas.join(","), queues.join(","))
}

pub fn answer_route(request: Request<'_>, route: &str) -> Answer {
    let topic = request.header.fields.get("topic").map(|topic| topic.to_cow().into_owned());
    match (request.header.code, topic.as_deref()) {
        (105, Some("T")) => Command::success().with_body(route.as_bytes().to_vec()).into(),
        (105, _) => Command::failure(code::TOPIC_NOT_EXIST, "No topic route info").into(),
        (106, _) => {
            Command::success().with_body(br#"{"brokerAddrTable":{},"clusterAddrTable":{}}"#.to_vec()).into()
        }
        (code, _) => Answer::unsupported(code),
    }
}

/// A broker that takes everything.
pub fn broker() -> Fake {
    Fake::start(taken)
}

pub fn taken(request: Request<'_>) -> Answer {
    match request.header.code {
        310 | 320 => Command::success()
            .with("msgId", "7F00000100002A9F0000000000000083")
            .with("queueId", 1)
            .with("queueOffset", 7)
            .into(),
        34 | 35 => Command::success().into(),
        code => Answer::unsupported(code),
    }
}

/// A socket that answers whatever comes with these bytes and closes, and so again for the next one.
pub fn raw(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    // Ends with the test program.
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(answer);
        }
    });
    addr
}

/// An address where nobody listens.
pub fn nobody() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

pub fn client(name_server: &str) -> Client {
    Client::new(ClientOptions::new(name_server)).unwrap()
}

/// Waits until `condition` holds.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < LONG, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
