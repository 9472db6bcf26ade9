// SPDX-License-Identifier: Apache-2.0
//! Transactions over a socket: a producer that is asked, a broker that is killed between half message and commit.

mod kit;

use kit::*;
use oxmq_record::RecordView;
use oxmq_remoting::{Command, code::request};

const COMMIT: i32 = 8;
const SETTINGS: &str = "transactionTimeOut=1\ntransactionCheckInterval=50\ntransactionCheckMax=3";

/// A connection of a producer of the group `P`.
fn producer(broker: &Broker) -> Wire {
    let mut wire = broker.connect();
    let body = r#"{"clientID":"c","producerDataSet":[{"groupName":"P"}],"consumerDataSet":[]}"#;
    wire.ask(&Command::new(request::HEART_BEAT).with_body(body)).is(0, "");
    wire
}

fn half(key: &str) -> Command {
    send("T", 0, &format!("TRAN_MSG\u{1}true\u{2}PGROUP\u{1}P\u{2}UNIQ_KEY\u{1}{key}\u{2}"), key)
}

fn end(check: &Received, outcome: i32) -> Command {
    Command::new(request::END_TRANSACTION)
        .with("producerGroup", "P")
        .with("tranStateTableOffset", check.number("tranStateTableOffset"))
        .with("commitLogOffset", check.number("commitLogOffset"))
        .with("commitOrRollback", outcome)
        .with("fromTransactionCheck", true)
        .with("msgId", check.fields["msgId"].clone())
}

fn max_offset(wire: &mut Wire, topic: &'static str) -> i64 {
    let query = Command::new(request::GET_MAX_OFFSET).with("topic", topic).with("queueId", 0);
    wire.ask(&query).number("offset")
}

#[test]
fn a_producer_is_asked_also_after_a_crash() {
    let mut broker = Broker::start(SETTINGS);
    let sent = producer(&broker).ask(&half("one"));
    sent.is(0, "");
    assert_eq!((sent.number("queueOffset"), sent.fields["transactionId"].as_str()), (0, "one"));
    broker.kill();
    broker.start_again();
    assert_eq!(max_offset(&mut broker.connect(), "T"), 0);

    let mut wire = producer(&broker);
    let check = wire.read_request(request::CHECK_TRANSACTION_STATE);
    let message = RecordView::parse(&check.body).unwrap();
    assert_eq!((message.topic(), message.body()), ("T", &b"one"[..]));
    assert_eq!((check.number("tranStateTableOffset"), check.fields["transactionId"].as_str()), (0, "one"));
    let mut other = broker.connect();
    other.ask(&end(&check, COMMIT)).is(0, "");
    let again = other.ask(&end(&check, COMMIT));
    assert!(again.code == 0 && again.remark.ends_with("nothing was changed"), "{again:?}");
    let pulled = other.pull("T", 0, 0);
    assert_eq!(pulled.messages().iter().map(RecordView::body).collect::<Vec<_>>(), [b"one"]);
    broker.kill();
    broker.start_again();
    assert_eq!(max_offset(&mut broker.connect(), "T"), 1);
}

#[test]
fn what_no_producer_knows_is_put_aside() {
    let broker = Broker::start(SETTINGS);
    let mut wire = producer(&broker);
    wire.ask(&half("two")).is(0, "");
    for times in ["1", "2", "3"] {
        let check = wire.read_request(request::CHECK_TRANSACTION_STATE);
        let message = RecordView::parse(&check.body).unwrap();
        assert_eq!(message.property("TRANSACTION_CHECK_TIMES"), Some(times.as_bytes()));
    }
    until("it is discarded", || max_offset(&mut wire, "TRANS_CHECK_MAX_TIME_TOPIC") == 1);
    let aside = wire.pull("TRANS_CHECK_MAX_TIME_TOPIC", 0, 0);
    assert_eq!(aside.messages()[0].body(), b"two");
    assert_eq!(max_offset(&mut wire, "T"), 0);
}
