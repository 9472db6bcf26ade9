// SPDX-License-Identifier: Apache-2.0
//! [`Client`]: connections made on first use, shared, and made anew.

mod kit;

use kit::*;
use oxmq_net::{CallError, Client, Limits, NoService, Workers};
use oxmq_remoting::Command;
use std::{
    net::TcpListener,
    sync::Arc,
    time::{Duration, Instant},
};

struct Asker {
    workers: Workers,
    client: Client,
    service: Arc<TestService>,
}

fn asker() -> Asker {
    let workers = Workers::start(1).unwrap();
    let service = Arc::new(TestService::default());
    Asker { client: Client::new(&workers, service.clone()), workers, service }
}

impl Asker {
    fn call(&self, addr: &str, command: Command) -> Result<oxmq_net::Reply, CallError> {
        self.workers.handle().block_on(self.client.call(addr, command, LONG))
    }
}

#[test]
fn asks_and_is_asked() {
    let server = serve(Limits::default());
    let asker = asker();
    let addr = server.addr.to_string();
    let reply = asker.call(&addr, Command::new(ECHO).with("n", 5).with_body(&b"body"[..])).unwrap();
    assert_eq!((reply.code, reply.field("n"), &reply.body[..]), (0, Some("5"), &b"body"[..]));
    let failure = asker.call(&addr, Command::new(4711)).unwrap();
    assert_eq!((failure.code, failure.remark.as_deref()), (3, Some(" request type 4711 not supported")));
    // The server's question is answered by the client's own service.
    let there_and_back = Command::new(ASK_BACK).with("n", ECHO).with_body(&b"ball"[..]);
    assert_eq!(&asker.call(&addr, there_and_back).unwrap().body[..], b"ball");
    assert_eq!((asker.service.handled(), asker.service.alive()), (1, 1));
    let one_way = asker.client.send_one_way(&addr, Command::new(NOTHING));
    asker.workers.handle().block_on(one_way).unwrap();
    until("the one-way request came", || server.service.handled() == 4);
    assert_eq!(server.service.peers.lock().unwrap().len(), 1, "one connection for all of it");
    asker.workers.shutdown();
    asker.service.all_closed(1);
    server.service.all_closed(1);
}

#[test]
fn a_refused_connection_is_an_error_that_names_the_address() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let asker = asker();
    let Err(CallError::Connect { addr, reason }) = asker.call(&free, Command::new(ECHO)) else {
        panic!("nobody listens there");
    };
    assert_eq!(addr, free);
    assert!(reason.contains("refused"), "{reason}");
    let one_way = asker.client.send_one_way(&free, Command::new(ECHO));
    assert!(matches!(asker.workers.handle().block_on(one_way), Err(CallError::Connect { .. })));
    assert!(matches!(asker.call("no port", Command::new(ECHO)), Err(CallError::Connect { .. })));
}

#[test]
fn connects_again_when_the_server_is_back() {
    let asker = asker();
    let server = serve(Limits::default());
    let at = server.addr;
    let addr = at.to_string();
    for round in 0..3 {
        assert_eq!(asker.call(&addr, Command::new(ECHO)).unwrap().code, 0, "round {round}");
        assert_eq!(asker.service.alive(), 1);
        if round == 0 {
            server.peer().close("the test wants it");
            until("the client knows", || asker.service.alive() == 0);
        }
    }
    let TestServer { server, workers, service, .. } = server;
    drop(server);
    workers.shutdown();
    service.all_closed(2);
    until("the client knows", || asker.service.alive() == 0);
    assert!(matches!(asker.call(&addr, Command::new(ECHO)), Err(CallError::Connect { .. })));
    let back = serve_at(at, Limits::default());
    assert_eq!(asker.call(&addr, Command::new(ECHO)).unwrap().code, 0);
    assert_eq!(back.service.alive(), 1);
}

#[test]
fn concurrent_callers_share_one_connection() {
    let server = serve(Limits::default());
    let asker = asker();
    let calls: Vec<_> = (0..200)
        .map(|number| {
            let (client, addr) = (asker.client.clone(), server.addr.to_string());
            asker.workers.handle().spawn(async move {
                let body = format!("body of {number}");
                let command = Command::new(HOLD).with("n", number).with_body(body.clone());
                let reply = client.call(&addr, command, LONG).await.unwrap();
                assert_eq!(
                    (reply.field("n"), &reply.body[..]),
                    (Some(&*number.to_string()), body.as_bytes())
                );
            })
        })
        .collect();
    until("all wait", || server.service.handled() == 200);
    // Answered in another order than asked: each caller must find its own.
    for number in (0..200).rev() {
        server.service.release(format!("body of {number}").as_bytes());
    }
    for call in calls {
        asker.workers.handle().block_on(call).unwrap();
    }
    assert_eq!(server.service.peers.lock().unwrap().len(), 1);
}

#[test]
fn a_server_that_closes_while_a_call_waits_ends_the_call_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let asker = asker();
    let client = asker.client.clone();
    let call =
        asker.workers.handle().spawn(async move { client.call(&addr, Command::new(ECHO), LONG).await });
    let (stream, _) = listener.accept().unwrap();
    // The request has come when there is something to read.
    assert_eq!(stream.peek(&mut [0]).unwrap(), 1);
    let start = Instant::now();
    drop(stream);
    assert_eq!(asker.workers.handle().block_on(call).unwrap(), Err(CallError::Closed));
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[test]
fn a_server_that_never_answers_costs_no_more_than_the_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let workers = Workers::start(1).unwrap();
    let client = Client::new(&workers, Arc::new(NoService));
    let start = Instant::now();
    let call = client.call(&addr, Command::new(ECHO), Duration::from_millis(100));
    assert_eq!(workers.handle().block_on(call), Err(CallError::Timeout(100)));
    assert!(start.elapsed() < LONG / 4);
}
