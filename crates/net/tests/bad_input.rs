// SPDX-License-Identifier: Apache-2.0
//! Peers that send what they must not, or do not take what they asked for. Each is closed, or served as far as it
//! can be; memory stays bounded, and the others on the same worker notice nothing.

mod kit;

use kit::*;
use oxmq_net::{Limits, UNSENT_MAX_BYTES};
use oxmq_remoting::{Command, Encoding, Kind};
use std::{
    io::{ErrorKind, Write},
    net::Shutdown,
    thread,
    time::{Duration, Instant},
};

/// Sends `bytes` and expects the connection, but not that of others, to be closed without an answer.
fn closed_after(bytes: &[u8]) {
    let server = serve(Limits { frame_max_bytes: 1 << 20, ..Limits::default() });
    let mut other = server.connect();
    other.echoes("before");
    let mut wire = server.connect();
    let start = Instant::now();
    wire.write(bytes);
    wire.is_closed();
    assert!(start.elapsed() < Duration::from_secs(5), "at once, not by a time-out");
    other.echoes("after");
    assert_eq!(server.service.handled(), 2);
    drop(other);
    server.service.all_closed(2);
}

#[test]
fn an_oversized_frame() {
    closed_after(&(1u32 << 20).saturating_add(1).to_be_bytes());
}

#[test]
fn a_negative_length() {
    closed_after(&(-1i32).to_be_bytes());
    closed_after(&i32::MIN.to_be_bytes());
}

#[test]
fn a_frame_without_room_for_a_header() {
    closed_after(&[0, 0, 0, 3]);
    closed_after(&[0, 0, 0, 0]);
}

#[test]
fn a_header_longer_than_its_frame() {
    closed_after(&[0, 0, 0, 10, 0, 0, 0, 7]);
    closed_after(&[0, 0, 0, 10, 0, 0xff, 0xff, 0xff]);
}

#[test]
fn an_unknown_encoding() {
    closed_after(&[0, 0, 0, 10, 2, 0, 0, 2]);
}

#[test]
fn another_protocol() {
    closed_after(b"GET / HTTP/1.1\r\nHost: broker\r\n\r\n");
    closed_after(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
}

#[test]
fn a_header_that_is_not_utf8() {
    closed_after(&raw_frame(0, b"{\"code\":1,\"remark\":\"\xff\xfe\"}"));
    let mut binary = raw_frame(1, b"\0\x01\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02\xc3\x28\0\0\0\0");
    closed_after(&binary);
    // The same with a remark that is UTF-8 shows that nothing else is wrong with it.
    let at = binary.len() - 6;
    binary[at..at + 2].copy_from_slice(b"ok");
    let server = serve(Limits::default());
    let mut wire = server.connect();
    wire.write(&binary);
    assert_eq!(wire.read().code, 0);
}

#[test]
fn a_header_that_is_malformed_json() {
    for header in ["", "{", "[]", "{\"code\":}", "{\"code\":1,}", "{\"code\":1}x", "{'code':1}", "\"code\""] {
        closed_after(&raw_frame(0, header.as_bytes()));
    }
    let deep = format!(r#"{{"a":{}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    closed_after(&raw_frame(0, deep.as_bytes()));
}

#[test]
fn header_members_of_the_wrong_type() {
    for header in [
        r#"{"code":"x"}"#,
        r#"{"code":1.5}"#,
        r#"{"code":9999999999}"#,
        r#"{"code":[1]}"#,
        r#"{"code":1,"opaque":{}}"#,
        r#"{"code":1,"extFields":[]}"#,
        r#"{"code":1,"extFields":"a"}"#,
        r#"{"code":1,"extFields":{"n":{}}}"#,
        r#"{"code":1,"remark":[]}"#,
        r#"{"code":1,"flag":true}"#,
    ] {
        closed_after(&raw_frame(0, header.as_bytes()));
    }
}

#[test]
fn a_binary_header_whose_lengths_lie() {
    let good = b"\0\x01\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\x08\0\x01n\0\0\0\x01\x37";
    for (at, byte) in [(13, 0xff), (16, 99), (17, 0xff), (20, 99), (20, 7), (22, 99), (24, 0xff), (27, 99)] {
        let mut header = good.to_vec();
        header[at] = byte;
        closed_after(&raw_frame(1, &header));
    }
    closed_after(&raw_frame(1, &good[..good.len() - 1]));
    let server = serve(Limits::default());
    let mut wire = server.connect();
    wire.write(&raw_frame(1, good));
    assert_eq!(wire.read().number.as_deref(), Some("7"));
}

#[test]
fn a_truncated_frame() {
    let server = serve(Limits::default());
    let whole = request(1, ECHO, 0, "body");
    for end in [1, 4, 7, 8, 20, whole.len() - 1] {
        let mut wire = server.connect();
        wire.write(&whole[..end]);
        drop(wire);
    }
    until("all came", || server.service.peers.lock().unwrap().len() == 6);
    server.service.all_closed(6);
    assert_eq!(server.service.handled(), 0);
}

#[test]
fn a_frame_that_trickles_in_too_slowly() {
    let limits = Limits { stall_timeout: Duration::from_millis(300), ..Limits::default() };
    let server = serve(limits);
    let mut wire = server.connect();
    // Whole frames may come as slowly as they like, as long as each is complete in time.
    for _ in 0..4 {
        wire.echoes("in time");
        thread::sleep(Duration::from_millis(100));
    }
    let start = Instant::now();
    let bytes = request(1, ECHO, 0, vec![0; 100_000]);
    let mut sent = 0;
    for byte in bytes.chunks(10) {
        match wire.stream.write_all(byte) {
            Ok(()) => sent += byte.len(),
            Err(error) => {
                assert!(
                    matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset),
                    "{error}"
                );
                break;
            }
        }
        thread::sleep(Duration::from_millis(5));
    }
    assert!(sent > 100 && sent < bytes.len(), "{sent} bytes were taken");
    assert!(start.elapsed() >= Duration::from_millis(300) && start.elapsed() < Duration::from_secs(5));
    server.service.all_closed(1);
}

#[test]
fn a_connection_on_which_nothing_comes() {
    let limits = Limits { idle_timeout: Duration::from_millis(300), ..Limits::default() };
    let server = serve(limits);
    // One never says a word, one has been served and falls silent, one goes on.
    let (mut silent, mut served, mut busy) = (server.connect(), server.connect(), server.connect());
    served.echoes("once");
    let start = Instant::now();
    until("the idle ones are closed", || {
        busy.echoes("on and on");
        server.service.alive() == 1
    });
    assert!(start.elapsed() >= Duration::from_millis(200) && start.elapsed() < Duration::from_secs(5));
    silent.is_closed();
    served.is_closed();
    busy.echoes("still");
    drop(busy);
    server.service.all_closed(3);
}

/// Only what came used to count: whoever was answered late was closed right after the answer.
#[test]
fn an_answer_that_took_longer_than_the_idle_time_does_not_end_the_connection() {
    let idle = Duration::from_millis(200);
    let server = serve(Limits { idle_timeout: idle, ..Limits::default() });
    let mut wire = server.connect();
    for round in 0..4 {
        let name = format!("{round}");
        wire.write(&request(1, HOLD, 0, name.clone()));
        // The time itself is what is tested: well beyond the limit, and the checks fall anywhere into it.
        thread::sleep(idle * 2 + idle * round / 7);
        server.service.release(name.as_bytes());
        assert_eq!(wire.read().opaque, 1);
        thread::sleep(idle / 2);
        wire.echoes("still there");
    }
}

/// A client that asks for `count` answers of `size` bytes each and reads none of them.
fn never_reads(code: i32, count: i32, size: usize) {
    let stall = Duration::from_millis(1500);
    let server = serve(Limits { stall_timeout: stall, ..Limits::default() });
    let mut other = server.connect();
    other.echoes("before");
    let mut wire = server.connect();
    let command = Command::new(code).with("n", size as u64);
    let requests: Vec<u8> =
        (0..count).flat_map(|opaque| frame(Encoding::RocketMq, Kind::Request, opaque, &command)).collect();
    let start = Instant::now();
    // The server stops to read at some time, so this write may not end before the connection does.
    let writing = thread::spawn(move || {
        let _ = wire.stream.write_all(&requests);
        wire
    });
    until("the first answers wait", || server.service.given.now() > 0);
    let mut longest = Duration::ZERO;
    until("the connection is closed", || {
        let asked = Instant::now();
        other.echoes("meanwhile");
        longest = longest.max(asked.elapsed());
        server.service.alive() == 1
    });
    assert!(start.elapsed() >= stall, "it had its time");
    assert!(longest < Duration::from_secs(1), "another connection waited {longest:?}");
    let most = server.service.given.most();
    assert!(most <= UNSENT_MAX_BYTES + 2 * size, "{most} bytes waited for a peer that does not read");
    drop(writing.join().unwrap());
    until("its answers are freed", || server.service.given.now() == 0);
    other.echoes("after");
    drop(other);
    server.service.all_closed(2);
}

/// Every whole frame of what was read used to be handled before anything was written: 9,000 small requests fit
/// into one read, and their answers waited in memory all together.
#[test]
fn a_client_that_never_reads_its_answers() {
    never_reads(GIVE, 5000, 100_000);
}

#[test]
fn a_client_that_never_reads_large_answers() {
    never_reads(GIVE, 500, 3_000_000);
}

#[test]
fn a_client_that_never_reads_answers_that_had_to_wait() {
    never_reads(GIVE_LATER, 5000, 100_000);
}

/// They used to go from the bounded queue of the peer to its unbounded outbox at once.
#[test]
fn a_client_that_never_reads_what_the_server_sends() {
    let server = serve(Limits::default());
    let mut wire = server.connect();
    wire.echoes("there");
    let peer = server.peer();
    let start = Instant::now();
    let mut sent = 0;
    while !peer.is_closed() {
        peer.send(Command::new(40).with_body(server.service.given.bytes(4000)));
        sent += 1;
        assert!(sent < 200_000, "nothing stops it");
        if sent % 50 == 0 {
            thread::yield_now();
        }
    }
    assert!(start.elapsed() < LONG, "closed because of what waits, not by a time-out");
    // What waits in the queue, in the outbox, and what was in the hands of either.
    let most = server.service.given.most();
    assert!(most < UNSENT_MAX_BYTES + 2 * 4097 * 4000, "{most} bytes waited");
    server.service.all_closed(1);
}

/// Behind its requests comes a part of one more. The server does not read the rest as long as so much waits to be
/// sent, so it must not count that time as if the client had been slow.
#[test]
fn a_client_that_reads_slowly_gets_everything() {
    let stall = Duration::from_secs(1);
    let server = serve(Limits { stall_timeout: stall, ..Limits::default() });
    let mut wire = server.connect();
    let count = 300;
    let mut requests: Vec<u8> = (0..count)
        .flat_map(|opaque| request(opaque, if opaque % 2 == 0 { GIVE } else { GIVE_LATER }, 100_000, ""))
        .collect();
    let last = request(count, ECHO, 0, "last");
    let (part, rest) = last.split_at(30);
    requests.extend_from_slice(part);
    wire.write(&requests);
    let start = Instant::now();
    let mut seen = vec![false; count as usize];
    for number in 0..count {
        let answer = wire.read();
        assert_eq!(answer.body.len(), 100_000);
        assert!(!std::mem::replace(&mut seen[answer.opaque as usize], true));
        if number % 20 == 0 && number < 200 {
            thread::sleep(stall / 4); // The pace is what is tested.
        }
    }
    assert!(start.elapsed() > 2 * stall);
    wire.write(rest);
    assert_eq!(wire.read().opaque, count);
}

/// A connection used to go on as long as its socket had something to read, and a single read can hold 9,000 requests.
#[test]
fn a_flood_of_requests_does_not_keep_others_waiting() {
    let server = serve(Limits::default());
    let mut other = server.connect();
    let mut wire = server.connect();
    let (count, command) = (100_000, Command::new(WORK).with("n", 200));
    let requests: Vec<u8> =
        (0..count).flat_map(|opaque| frame(Encoding::RocketMq, Kind::OneWay, opaque, &command)).collect();
    let flood = wire.stream.try_clone().unwrap();
    let writing = thread::spawn(move || {
        let _ = wire.stream.write_all(&requests);
    });
    until("the flood has begun", || server.service.handled() > 0);
    let start = Instant::now();
    other.echoes("me, too");
    let waited = start.elapsed();
    assert!(server.service.handled() < count as usize, "the flood is over, this shows nothing");
    assert!(waited < Duration::from_secs(1), "it waited {waited:?}");
    flood.shutdown(Shutdown::Both).unwrap();
    writing.join().unwrap();
}

#[test]
fn incomplete_frames_of_all_peers_together_have_a_budget() {
    let budget = 4 << 20;
    let server = serve(Limits { incomplete_max_bytes: budget, ..Limits::default() });
    let mut small = server.connect();
    small.echoes("before");
    let part = request(1, ECHO, 0, vec![0; 1 << 20]);
    let (part, rest) = part.split_at(1_000_000);
    let mut wires: Vec<_> = (0..8).map(|_| server.connect()).collect();
    until("all are there", || server.service.alive() == 9);
    for wire in &mut wires {
        // Those that are above the budget may be closed while they write.
        let _ = wire.stream.write_all(part);
    }
    until("some are closed", || server.service.alive() < 9);
    small.echoes("in one piece, at no charge");
    let mut answered = 0;
    for wire in &mut wires {
        if wire.stream.write_all(rest).is_ok() && wire.try_read().is_some() {
            answered += 1;
        }
    }
    assert!((1..8).contains(&answered), "{answered} of 8 were answered");
    // What they held is given back: as many find room again.
    drop(wires);
    until("they are gone", || server.service.alive() == 1);
    for _ in 0..5 {
        let mut wire = server.connect();
        wire.write(part);
        wire.write(rest);
        assert_eq!(wire.read().code, 0);
    }
    drop(small);
    server.service.all_closed(14);
}

/// A length word of 16 MiB costs nothing before its bytes are there.
#[test]
fn a_length_that_lies_costs_only_what_was_sent() {
    let server = serve(Limits { incomplete_max_bytes: 1 << 20, ..Limits::default() });
    let mut wires: Vec<_> = (0..200).map(|_| server.connect()).collect();
    for wire in &mut wires {
        wire.write(&(16u32 << 20).to_be_bytes());
        wire.write(&[0, 0, 0, 9]);
    }
    server.connect().echoes("served");
    until("only that one is gone", || server.service.alive() == 200);
    assert_eq!(server.service.peers.lock().unwrap().len(), 201);
}

#[test]
fn connections_beyond_the_limit_are_closed_at_once() {
    let server = serve(Limits { connections_max: 3, ..Limits::default() });
    let mut wires: Vec<_> = (0..3).map(|_| server.connect()).collect();
    for wire in &mut wires {
        wire.echoes("served");
    }
    server.connect().is_closed();
    server.connect().is_closed();
    wires.pop();
    until("one is gone", || server.service.alive() == 2);
    server.connect().echoes("its place is free again");
    drop(wires);
    server.service.all_closed(4);
}
