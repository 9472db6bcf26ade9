// SPDX-License-Identifier: Apache-2.0
//! Requests and answers between one socket and a server.

mod kit;

use kit::*;
use oxmq_net::{CallError, Limits};
use oxmq_remoting::{Command, Encoding, Kind};
use std::{
    io::Write,
    thread,
    time::{Duration, Instant},
};

#[test]
fn many_frames_in_one_write_are_answered_in_order_and_in_kind() {
    let server = serve(Limits::default());
    let mut wire = server.connect();
    let encoding = |opaque: i32| BOTH[usize::from(opaque % 3 == 0)];
    let mut bytes = Vec::new();
    for opaque in 0..3000 {
        let command = Command::new(ECHO).with("n", opaque).with_body(vec![opaque as u8; opaque as usize]);
        bytes.extend(frame(encoding(opaque), Kind::Request, opaque, &command));
    }
    let mut writer = wire.stream.try_clone().unwrap();
    let writing = thread::spawn(move || writer.write_all(&bytes).unwrap());
    for opaque in 0..3000 {
        let answer = wire.read();
        assert_eq!((answer.opaque, answer.code, answer.flag), (opaque, 0, 1));
        assert_eq!(answer.encoding, encoding(opaque));
        assert_eq!(answer.number, Some(opaque.to_string()));
        assert_eq!(answer.body, vec![opaque as u8; opaque as usize]);
    }
    writing.join().unwrap();
    drop(wire);
    server.service.all_closed(1);
}

#[test]
fn a_frame_that_comes_byte_by_byte_is_answered_in_kind() {
    let server = serve(Limits::default());
    for encoding in BOTH {
        let mut wire = server.connect();
        let command = Command::new(ECHO).with("n", 5).with_body(&b"body"[..]);
        for _ in 0..2 {
            for byte in frame(encoding, Kind::Request, 9, &command) {
                wire.write(&[byte]);
            }
            let answer = wire.read();
            assert_eq!((answer.encoding, answer.opaque, answer.body.as_slice()), (encoding, 9, &b"body"[..]));
        }
    }
    server.service.all_closed(2);
}

#[test]
fn frames_of_all_sizes_cut_at_any_place_arrive_whole() {
    let server = serve(Limits::default());
    let mut wire = server.connect();
    let sizes = [0, 1, 4000, 16_300, 16_384, 70_000, 262_144, 300_000, 3, 5_000_000, 20, 260_000];
    let bytes: Vec<u8> =
        (0..).zip(sizes).flat_map(|(opaque, size)| request(opaque, ECHO, size, vec![3; size])).collect();
    let mut writer = wire.stream.try_clone().unwrap();
    let writing = thread::spawn(move || {
        let (mut rest, mut step) = (&bytes[..], 1);
        while !rest.is_empty() {
            let (now, then) = rest.split_at(step.min(rest.len()));
            writer.write_all(now).unwrap();
            // Anything from a few bytes to more than the server reads in one call.
            step = step * 31 % 524_287;
            rest = then;
        }
    });
    for (opaque, size) in (0..).zip(sizes) {
        let answer = wire.read();
        assert_eq!((answer.opaque, answer.body.len()), (opaque, size));
    }
    writing.join().unwrap();
}

#[test]
fn answers_that_had_to_wait_come_out_of_order() {
    let server = serve(Limits::default());
    let mut wire = server.connect();
    wire.write(&[request(1, HOLD, 0, "a"), request(2, HOLD, 0, "b"), request(3, ECHO, 0, "now")].concat());
    assert_eq!(wire.read().opaque, 3);
    server.service.release(b"b");
    assert_eq!(wire.read().opaque, 2);
    wire.write(&request(4, RELEASE, 0, "a"));
    let mut last = [wire.read().opaque, wire.read().opaque];
    last.sort_unstable();
    assert_eq!(last, [1, 4]);
}

#[test]
fn an_answer_keeps_the_encoding_of_its_request_while_others_come_in_another() {
    let server = serve(Limits::default());
    let mut wire = server.connect();
    let hold = Command::new(HOLD).with_body(&b"x"[..]);
    wire.write(&frame(Encoding::RocketMq, Kind::Request, 1, &hold));
    wire.echoes("in JSON");
    server.service.release(b"x");
    let answer = wire.read();
    assert_eq!((answer.opaque, answer.encoding), (1, Encoding::RocketMq));
}

#[test]
fn a_one_way_request_gets_no_answer() {
    let server = serve(Limits::default());
    let mut wire = server.connect();
    for encoding in BOTH {
        for code in [ECHO, NOTHING, PANIC, 4711] {
            wire.write(&frame(encoding, Kind::OneWay, 1, &Command::new(code)));
        }
    }
    wire.echoes("next");
    assert!(wire.has_nothing_more());
    assert_eq!(server.service.handled(), 9);
}

/// Its answer used to be written like that of any other request once it was there.
#[test]
fn a_one_way_request_that_has_to_wait_gets_no_answer() {
    let server = serve(Limits::default());
    let mut wire = server.connect();
    wire.write(&frame(Encoding::Json, Kind::OneWay, 1, &Command::new(HOLD).with_body(&b"a"[..])));
    wire.write(&frame(Encoding::Json, Kind::OneWay, 2, &Command::new(GIVE_LATER).with("n", 5)));
    wire.write(&request(3, HOLD, 0, "a"));
    server.service.release(b"a");
    assert_eq!(wire.read().opaque, 3);
    wire.echoes("next");
    assert!(wire.has_nothing_more());
}

#[test]
fn an_unknown_code_is_answered_as_java_does() {
    let server = serve(Limits::default());
    let mut wire = server.connect();
    wire.write(&request(5, 4711, 0, ""));
    let answer = wire.read();
    assert_eq!((answer.code, answer.opaque), (3, 5));
    assert_eq!(answer.remark.as_deref(), Some(" request type 4711 not supported"));
}

#[test]
fn a_panic_of_a_handler_is_an_answer_and_the_connection_lives_on() {
    let server = serve(Limits::default());
    let mut wire = server.connect();
    wire.write(&[request(1, PANIC, 0, ""), request(2, ECHO, 0, "")].concat());
    let (first, second) = (wire.read(), wire.read());
    assert_eq!((first.opaque, first.code, second.opaque, second.code), (1, 1, 2, 0));
    assert!(first.remark.unwrap().starts_with("internal error"));
    wire.echoes("alive");
}

/// It used to end the connection, with all that its other requests waited for.
#[test]
fn a_panic_of_an_answer_that_had_to_wait_is_an_answer_too() {
    let server = serve(Limits::default());
    let mut wire = server.connect();
    wire.write(&[request(1, HOLD, 0, "a"), request(2, PANIC_LATER, 0, "")].concat());
    let answer = wire.read();
    assert_eq!((answer.opaque, answer.code), (2, 1));
    server.service.release(b"a");
    assert_eq!(wire.read().opaque, 1);
}

#[test]
fn good_requests_before_a_bad_frame_are_answered() {
    let server = serve(Limits::default());
    let mut wire = server.connect();
    wire.write(&[request(1, ECHO, 0, "a"), request(2, ECHO, 0, "b"), vec![0xff; 4]].concat());
    assert_eq!((wire.read().opaque, wire.read().opaque), (1, 2));
    wire.is_closed();
}

#[test]
fn the_server_sends_and_asks_over_the_same_connection() {
    let server = serve(Limits::default());
    let mut wire = server.connect();
    wire.write(&frame(Encoding::RocketMq, Kind::Request, 1, &Command::new(ECHO)));
    assert_eq!(wire.read().opaque, 1);
    let peer = server.peer();
    assert_eq!(peer.remote(), wire.stream.local_addr().unwrap());
    assert_eq!(peer.local(), server.addr);

    peer.send(Command::new(40).with("n", 8).with_body(&b"notice"[..]));
    let notice = wire.read();
    assert_eq!((notice.code, notice.flag, notice.encoding), (40, 2, Encoding::RocketMq), "as it last wrote");
    assert_eq!((notice.number.as_deref(), notice.body.as_slice()), (Some("8"), &b"notice"[..]));

    // It asks back within a request of the client, whose own number 1 has nothing to do with the server's.
    wire.write(&request(1, ASK_BACK, 307, "question"));
    let question = wire.read();
    assert_eq!((question.code, question.flag, question.body.as_slice()), (307, 0, &b"question"[..]));
    let answer = Command::success().with_body(&b"reply"[..]);
    wire.write(&frame(Encoding::Json, Kind::Response, question.opaque + 99, &answer));
    wire.write(&frame(Encoding::Json, Kind::Response, question.opaque, &answer));
    wire.write(&frame(Encoding::Json, Kind::Response, question.opaque, &answer));
    let last = wire.read();
    assert_eq!((last.opaque, last.flag, last.body.as_slice()), (1, 1, &b"reply"[..]));
    wire.echoes("answers that nobody waits for do no harm");
}

#[test]
fn a_call_without_an_answer_times_out() {
    let server = serve(Limits::default());
    let mut wire = server.connect();
    let peer = server.peer();
    let call = peer.call(Command::new(307), Duration::from_millis(50));
    assert_eq!(server.workers.handle().block_on(call), Err(CallError::Timeout(50)));
    let question = wire.read();
    wire.write(&frame(Encoding::Json, Kind::Response, question.opaque, &Command::success()));
    wire.echoes("a late answer does no harm");
}

#[test]
fn a_call_ends_when_its_connection_does() {
    let server = serve(Limits::default());
    let mut wire = server.connect();
    let peer = server.peer();
    let start = Instant::now();
    let call = server.workers.handle().spawn({
        let peer = peer.clone();
        async move { peer.call(Command::new(307), LONG).await }
    });
    assert_eq!(wire.read().code, 307);
    drop(wire);
    let block_on = |call| server.workers.handle().block_on(call);
    assert_eq!(block_on(call).unwrap(), Err(CallError::Closed));
    assert!(peer.is_closed());
    let again = server.workers.handle().block_on(peer.call(Command::new(307), LONG));
    assert_eq!(again, Err(CallError::Closed));
    peer.send(Command::new(40));
    assert!(start.elapsed() < LONG / 4);
    server.service.all_closed(1);
}

#[test]
fn the_server_closes_a_peer_when_told() {
    let server = serve(Limits::default());
    let mut wire = server.connect();
    wire.echoes("first");
    server.peer().close("the test wants it");
    wire.is_closed();
    server.service.all_closed(1);
}

#[test]
fn stopping_the_workers_closes_every_connection_once() {
    let server = serve(Limits::default());
    let mut wires: Vec<_> = (0..20).map(|_| server.connect()).collect();
    for wire in &mut wires {
        wire.echoes("there");
        wire.write(&request(1, HOLD, 0, "never released"));
    }
    until("all requests came", || server.service.handled() == 40);
    server.workers.shutdown();
    wires.iter_mut().for_each(Wire::is_closed);
    server.service.all_closed(20);
}

#[test]
fn several_addresses_have_one_service_behind_them() {
    let first = serve(Limits::default());
    let any = "127.0.0.1:0".parse().unwrap();
    let both = oxmq_net::Server::bind(&first.workers, &[any, any], first.service.clone(), Limits::default());
    let both = both.unwrap();
    assert_ne!(both.local_addrs()[0], both.local_addrs()[1]);
    for addr in both.local_addrs() {
        Wire::connect(*addr).echoes("here");
    }
    let taken =
        oxmq_net::Server::bind(&first.workers, &[first.addr], first.service.clone(), Limits::default());
    let text = taken.unwrap_err().to_string();
    assert!(text.starts_with(&format!("cannot listen on {}: ", first.addr)), "{text}");
}
