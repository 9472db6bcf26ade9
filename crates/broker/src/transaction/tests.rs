// SPDX-License-Identifier: Apache-2.0
//! Transactions over a store on a disk in memory. What is expected was seen on Java 4.9.7 and 5.3.3, unless a comment
//! says otherwise.

mod model;

use super::*;
use crate::{
    clients::Sender,
    delay::{DelayRules, Delays},
    fixture::{Fixture, GOLDEN, by_name, encoded_as},
    send::SendRules,
    stats::Stats,
    topics::{TopicRules, Topics},
};
use oxmq_remoting::{Encoding, Header, Language};
use oxmq_store::{Access, FlushMode, MemoryDisk, StoreConfig, tags_of};
use oxmq_types::{QueueId, SCHEDULE_TOPIC, TagsCode};
use serde_json::{Value, json};

const HOST: ([u8; 4], u16) = ([127, 0, 0, 1], 10911);
const TIMEOUT_MS: i64 = 6_000;
const HOUR_MS: i64 = 3_600_000;

/// A broker's transactions, which can be opened again on what they left.
struct World {
    disk: Arc<MemoryDisk>,
    folder: tempfile::TempDir,
    segment_size_bytes: u64,
    rules: TransactionRules,
    parts: Option<Parts>,
    peer: Arc<Peer>,
}

struct Parts {
    store: Arc<Store>,
    puts: Puts,
    offsets: Offsets,
    clients: Clients,
    transactions: Transactions,
}

/// What a producer is told of its half message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Told {
    offset: u64,
    physical: u64,
}

/// A record, owned.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stored {
    body: String,
    sys_flag: i32,
    flag: i32,
    prepared: i64,
    properties: Vec<(String, String)>,
}

impl Stored {
    fn property(&self, name: &str) -> Option<&str> {
        self.properties.iter().rev().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

impl World {
    fn new(change: impl FnOnce(&mut TransactionRules)) -> Self {
        Self::with_segments(16 << 10, change)
    }

    fn with_segments(segment_size_bytes: u64, change: impl FnOnce(&mut TransactionRules)) -> Self {
        let mut rules = TransactionRules::new("B".into(), HOST.into());
        change(&mut rules);
        let (disk, folder) = (Arc::default(), tempfile::tempdir().unwrap());
        let peer = Peer::unconnected(([127, 0, 0, 1], 5000).into());
        let mut world = Self { disk, folder, segment_size_bytes, rules, parts: None, peer };
        world.open();
        world
    }

    /// Opens what the last one left; the last one is dropped as by a crash of the process unless it was closed.
    fn open(&mut self) {
        self.parts = None;
        let config = StoreConfig {
            segment_size_bytes: self.segment_size_bytes,
            consume_queue_file_size_bytes: 200,
            flush: FlushMode::Sync,
            queue_flush_interval_ms: 1,
            checkpoint_interval_ms: 5,
            ..StoreConfig::new("/store")
        };
        let store = Store::open_in_memory(&self.disk, config, Box::new(tags_of)).unwrap();
        let topics = TopicRules { default_queues: 4, ..TopicRules::new("C", "B") };
        let path = |name| self.folder.path().join(name);
        let topics = Topics::open(path("topics.json"), topics, store.clone()).unwrap();
        let offsets = Offsets::open(path("consumerOffset.json")).unwrap();
        let (clients, stats) = (Clients::default(), Arc::new(Stats::default()));
        let delays = Delays::new(DelayRules::default());
        let sends =
            SendRules { body_max_bytes: 1 << 16, ..SendRules::new("C", ([127, 0, 0, 1], 10911).into()) };
        let puts = Puts::new((store.clone(), topics.clone()), stats, delays, Live::new(sends.clone()));
        let transactions = Transactions::open(
            (store.clone(), puts.clone(), topics),
            (offsets.clone(), clients.clone()),
            (self.rules.clone(), ColdReads::default()),
        )
        .unwrap();
        self.parts = Some(Parts { store, puts, offsets, clients, transactions });
    }

    /// A crash that takes the last op from the end of the log, and a start.
    fn tear_op_off(&mut self) {
        let ops = self.parts().store.queue(OP_HALF_TOPIC, QUEUE).unwrap();
        let mut units = Vec::new();
        ops.read_units(QueueOffset(ops.max_offset().0 - 1), 1, &mut units).unwrap();
        let (op, size) = (units[0].physical.0, u64::from(units[0].size));
        assert_eq!(self.parts().store.max_physical().0, op + size);
        drop(ops);
        self.parts = None;
        let magic_at = 4;
        self.disk.flip("/store/commitlog/00000000000000000000".as_ref(), op as usize + magic_at);
        self.open();
    }

    /// Stops as a broker stops.
    fn close(&mut self) {
        let parts = self.parts();
        parts.transactions.commit_progress();
        parts.offsets.save().unwrap();
        parts.store.close().unwrap();
    }

    fn parts(&self) -> &Parts {
        self.parts.as_ref().unwrap()
    }

    fn shared(&self) -> &Shared {
        &self.parts().transactions.shared
    }

    fn half_with(&self, group: &str, body: &str, properties: &[(&str, &str)]) -> Result<Told, Refusal> {
        let mut text = Vec::new();
        for (name, value) in properties {
            properties::append(&mut text, name, value.as_bytes());
        }
        let draft = Draft {
            topic: "T",
            queue_id: QueueId(3),
            flag: 7,
            sys_flag: sys_flag::PREPARED | sys_flag::COMPRESSED,
            born_timestamp_ms: now_ms(),
            born_host: self.peer.remote(),
            store_host: HOST.into(),
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: body.as_bytes(),
            properties: &text,
        };
        let appended = self.parts().transactions.half(&draft, group.into())?;
        Ok(Told { offset: appended.queue_offset.0, physical: appended.physical.0 })
    }

    fn half(&self, group: &str, body: &str) -> Result<Told, Refusal> {
        self.half_with(
            group,
            body,
            &[("TRAN_MSG", "true"), ("PGROUP", group), ("UNIQ_KEY", body), ("TAGS", "tag")],
        )
    }

    fn end(&self, group: &str, told: Told, outcome: i32, from_check: bool) -> Result<Answer, Refusal> {
        self.end_with(json!({"producerGroup": group, "tranStateTableOffset": told.offset.to_string(),
            "commitLogOffset": told.physical.to_string(), "commitOrRollback": outcome.to_string(),
            "fromTransactionCheck": from_check.to_string(), "msgId": "U", "transactionId": "U"}))
    }

    fn end_with(&self, fields: Value) -> Result<Answer, Refusal> {
        self.request(fields, |request| self.parts().transactions.end(request))
    }

    fn request<T>(&self, fields: Value, ask: impl FnOnce(Request<'_>) -> T) -> T {
        let text = json!({"code": 0, "extFields": fields}).to_string();
        let header = Header::parse(Encoding::Json, text.as_bytes()).unwrap();
        ask(Request { header: &header, body: b"", peer: &self.peer })
    }

    /// Everything in a queue, from its beginning.
    fn stored(&self, topic: &str, queue: u32) -> Vec<Stored> {
        let store = &self.parts().store;
        let queue = store.queue(topic, QueueId(queue)).unwrap();
        let mut units = Vec::new();
        queue.read_units(queue.min_offset(), 100_000, &mut units).unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        units
            .iter()
            .map(|unit| {
                let record = store.record_at(unit.physical).unwrap();
                let view = RecordView::parse(&record).unwrap();
                Stored {
                    body: text(view.body()),
                    sys_flag: view.sys_flag(),
                    flag: view.flag(),
                    prepared: view.prepared_transaction_offset(),
                    properties: properties::iter(view.properties())
                        .map(|(n, v)| (text(n), text(v)))
                        .collect(),
                }
            })
            .collect()
    }

    fn bodies(&self, topic: &str, queue: u32) -> Vec<String> {
        self.stored(topic, queue).into_iter().map(|stored| stored.body).collect()
    }

    /// A producer of the group connects; the more there are, the more are asked in turn.
    fn join(&self, group: &str) -> Arc<Peer> {
        let peer = Peer::unconnected(([127, 0, 0, 1], 6000).into());
        let sender = Sender { peer: &peer, client_id: "c", language: Language(0), version: 479 };
        self.parts().clients.produces(sender, group);
        peer
    }

    /// A whole round, so many ms from now.
    fn round(&self, after_ms: i64) {
        self.shared().begin_round();
        while self.shared().step(now_ms() + after_ms) == Step::Worked {}
    }

    fn waiting(&self, group: &str, told: Told) -> Option<Half> {
        self.shared().pending().find(group, told.offset)
    }
}

fn answered(answer: Result<Answer, Refusal>) -> (i32, String) {
    match answer {
        Ok(Answer::Now(command)) => (command.code, command.remark.unwrap_or_default().into_owned()),
        Ok(Answer::Later(_)) => (-1, "later".into()),
        Ok(Answer::Nothing) => (-1, "nothing".into()),
        Err(refusal) => (refusal.code(), refusal.to_string()),
    }
}

#[test]
fn a_message_waits_for_its_commit() {
    let world = World::new(|_| ());
    let told = world.half("G", "m").unwrap();
    let half = world.stored(HALF_TOPIC, 0).remove(0);
    assert_eq!((half.sys_flag, half.flag, half.prepared), (sys_flag::COMPRESSED, 7, 0));
    let added = ["REAL_TOPIC", "REAL_QID", "__transactionId__"].map(|name| half.property(name));
    assert_eq!(added, [Some("T"), Some("3"), Some("m")]);
    assert_eq!(world.bodies("T", 3), [""; 0]);

    assert_eq!(answered(world.end("G", told, COMMIT, false)), (0, String::new()));
    let message = world.stored("T", 3).remove(0);
    let prepared = told.physical.cast_signed();
    assert_eq!((message.sys_flag, message.flag, message.prepared), (COMMIT | 1, 7, prepared));
    assert_eq!(message.properties, half.properties);
    let op = world.stored(OP_HALF_TOPIC, 0).remove(0);
    assert_eq!((op.body.as_str(), op.property("TAGS")), ("0", Some("d")));
}

#[test]
fn a_rolled_back_message_is_gone() {
    let world = World::new(|_| ());
    let told = world.half("G", "m").unwrap();
    assert_eq!(answered(world.end("G", told, ROLLBACK, false)), (0, String::new()));
    assert_eq!((world.bodies("T", 3).len(), world.bodies(OP_HALF_TOPIC, 0).len()), (0, 1));
    assert_eq!(world.shared().pending().len(), 0);
}

/// Java stores a message again for each commit, also after a rollback, and answers success.
#[test]
fn a_transaction_ends_once() {
    let world = World::new(|_| ());
    let [one, two] = ["one", "two"].map(|body| world.half("G", body).unwrap());
    world.end("G", one, COMMIT, false).unwrap();
    world.end("G", two, ROLLBACK, false).unwrap();
    let before = world.parts().store.max_physical();
    for (told, outcome) in [(one, COMMIT), (one, ROLLBACK), (two, COMMIT), (two, ROLLBACK)] {
        let (code, remark) = answered(world.end("G", told, outcome, true));
        assert!(code == 0 && remark.ends_with("nothing was changed"), "{remark}");
    }
    assert_eq!(world.parts().store.max_physical(), before);
}

/// The producer's own end and its answer to a check come over two connections.
#[test]
fn of_two_ends_at_once_one_wins() {
    let world = World::new(|_| ());
    for at in 0..200 {
        let told = world.half("G", &at.to_string()).unwrap();
        let end = |outcome, from_check| answered(world.end("G", told, outcome, from_check)).1.is_empty();
        let [one, other] = std::thread::scope(|scope| {
            let one = scope.spawn(|| end(COMMIT, false));
            let other = end(if at % 2 == 0 { COMMIT } else { ROLLBACK }, true);
            [one.join().unwrap(), other]
        });
        assert!(one ^ other);
        let arrived = world.bodies("T", 3).iter().filter(|body| **body == at.to_string()).count();
        assert_eq!(arrived, usize::from(one || at % 2 == 0), "{at}");
    }
    assert_eq!(world.bodies(OP_HALF_TOPIC, 0).len(), 200);
}

#[test]
fn ends_that_are_refused_change_nothing() {
    let world = World::new(|_| ());
    let told = world.half("G", "m").unwrap();
    let plain = rewrite::op("x", HOST.into(), 1);
    let plain = world.parts().puts.put_as_is(&Draft { topic: "P", ..plain }).unwrap().physical.0;
    let before = (world.parts().store.max_physical(), world.waiting("G", told));
    let nowhere = "Find prepared transaction message failed";
    let state = "The transaction state table offset wrong";
    for (changes, expected) in [
        (json!({"producerGroup": "other"}), "The producer group wrong"),
        (json!({"tranStateTableOffset": "1"}), state),
        (json!({"tranStateTableOffset": "-1"}), state),
        (json!({"commitLogOffset": "3"}), nowhere),
        (json!({"commitLogOffset": (1u64 << 40).to_string()}), nowhere),
        (json!({"commitLogOffset": i64::MAX.to_string()}), nowhere),
        (json!({"commitLogOffset": "-5"}), nowhere),
        // Java ends with the text of an exception, or rolls back what never was a transaction.
        (json!({"commitLogOffset": plain.to_string()}), "what is stored there is not a half message"),
        (json!({"commitOrRollback": "3"}), "commitOrRollback field wrong"),
        (json!({"commitOrRollback": "4"}), "commitOrRollback field wrong"),
        (json!({"commitOrRollback": null}), "the custom field <commitOrRollback> is "),
        (json!({"producerGroup": null}), "the custom field <producerGroup> is null"),
        (json!({"tranStateTableOffset": "x"}), "the custom field <tranStateTableOffset> is not"),
    ] {
        for outcome in [COMMIT, ROLLBACK] {
            let mut fields = json!({"producerGroup": "G", "tranStateTableOffset": "0", "commitLogOffset": "0",
                "commitOrRollback": outcome.to_string(), "fromTransactionCheck": "false"});
            fields.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
            fields.as_object_mut().unwrap().retain(|_, value| !value.is_null());
            let (code, remark) = answered(world.end_with(fields));
            assert!(code == 1 && remark.starts_with(expected), "{changes}: {code} {remark}");
        }
    }
    // A producer that does not know gets no answer.
    assert_eq!(answered(world.end("G", told, 0, false)), (-1, "nothing".into()));
    assert_eq!((world.parts().store.max_physical(), world.waiting("G", told)), before);
}

#[test]
fn half_messages_that_are_refused() {
    let world = World::new(|rules| rules.rejected = true);
    let (code, remark) = answered(world.half("G", "m").map(|_| Answer::Nothing));
    assert_eq!(
        (code, remark.as_str()),
        (16, "the broker[127.0.0.1] sending transaction message is forbidden")
    );
    let world = World::new(|_| ());
    // Java takes any group.
    assert_eq!(world.half("a/b", "m").unwrap_err().code(), 29);
    assert_eq!(world.parts().store.max_physical(), PhysicalOffset(0));
}

/// Java takes such a message and then can neither ask anybody nor let anybody end it.
#[test]
fn the_group_of_the_request_stands_in() {
    let world = World::new(|_| ());
    let told = world.half_with("G", "m", &[("TRAN_MSG", "true")]).unwrap();
    assert_eq!(answered(world.end("G", told, COMMIT, false)), (0, String::new()));
}

/// Java delays the half message, and then commits it to the topic of half messages, where nobody finds it.
#[test]
fn a_delay_begins_with_the_commit() {
    let world = World::new(|_| ());
    let told = world.half_with("G", "m", &[("DELAY", "2")]).unwrap();
    assert_eq!(world.bodies(HALF_TOPIC, 0), ["m"]);
    world.end("G", told, COMMIT, false).unwrap();
    let waiting = world.stored("SCHEDULE_TOPIC_XXXX", 1).remove(0);
    assert_eq!((waiting.body.as_str(), waiting.sys_flag & COMMIT), ("m", COMMIT));
    assert_eq!((waiting.property("REAL_TOPIC"), waiting.property("REAL_QID")), (Some("T"), Some("3")));
    assert_eq!((world.bodies("T", 3).len(), world.bodies(OP_HALF_TOPIC, 0).len()), (0, 1));
    assert!(world.half_with("G", "m", &[("DELAY", "text")]).is_err());
    assert_eq!(world.shared().pending().len(), 0);
}

/// Where a message went before is the broker's to say: a name of the producer's own must not count.
#[test]
fn what_the_broker_notes_cannot_be_forged() {
    let world = World::new(|_| ());
    let forged = [("REAL_TOPIC", "X"), ("REAL_QID", "9"), ("TRANSACTION_CHECK_TIMES", "15")];
    let told = world.half_with("G", "m", &forged).unwrap();
    world.end("G", told, COMMIT, false).unwrap();
    assert_eq!((world.bodies("T", 3).len(), world.bodies("X", 9).len()), (1, 0));
}

#[test]
fn the_producer_of_an_immune_message_ends_it_in_time_or_when_asked() {
    let world = World::new(|rules| rules.timeout_ms = 0);
    let immune = [("PGROUP", "G"), ("CHECK_IMMUNITY_TIME_IN_SECONDS", "1")];
    let told = world.half_with("G", "m", &immune).unwrap();
    let end = |outcome: i32, from_check: bool, after_ms: i64| {
        let header = EndTransaction {
            producer_group: "G".into(),
            half_queue_offset: told.offset.cast_signed(),
            half_physical_offset: told.physical.cast_signed(),
            outcome,
            from_check: Some(from_check),
            lifetime: std::marker::PhantomData,
        };
        let record = world.parts().store.record(PhysicalOffset(told.physical), Access::Disk);
        world.shared().end((&header, record), &world.peer, now_ms() + after_ms)
    };
    assert_eq!(end(COMMIT, false, 2_000), Err(Refusal::TransactionTooLate));
    assert_eq!(world.bodies("T", 3).len(), 0);
    assert!(end(COMMIT, true, 2_000).is_ok());
    assert_eq!(world.bodies("T", 3).len(), 1);
}

#[test]
fn a_check_carries_the_message_and_its_place() {
    let world = World::new(|_| ());
    world.half("G", "first").unwrap();
    let told = world.half("G", "m").unwrap();
    let half = world.waiting("G", told).unwrap();
    let record = world.shared().record("G", &half).unwrap();
    let command = world.shared().check_command(&RecordView::parse(&record).unwrap(), &half).unwrap();
    assert_eq!(command.code, code::request::CHECK_TRANSACTION_STATE);
    let field = |name| command.field(name).unwrap().into_owned();
    assert_eq!(
        (field("tranStateTableOffset"), field("commitLogOffset")),
        ("1".into(), told.physical.to_string())
    );
    assert_eq!(
        (field("msgId"), field("transactionId"), field("bname")),
        ("m".into(), "m".into(), "B".into())
    );
    let id = MessageId { store_host: HOST.into(), physical_offset: PhysicalOffset(told.physical) };
    assert_eq!(field("offsetMsgId"), id.to_text());
    let view = RecordView::parse(&command.body.pieces()[0]).unwrap();
    assert_eq!((view.topic(), view.queue_id(), view.body()), ("T", QueueId(3), &b"m"[..]));
    assert_eq!((view.queue_offset().0, view.physical_offset().0), (1, told.physical));
    assert_eq!(view.property("TRANSACTION_CHECK_TIMES"), Some(&b"1"[..]));
}

/// apache/rocketmq#8311 and its like: Java counts checks that it never sent, because nobody was there or the message
/// was immune, and then discards the message unasked.
#[test]
fn only_checks_that_were_sent_count() {
    let world = World::new(|rules| rules.checks_max = 2);
    let told = world.half("G", "m").unwrap();
    let immune = [("PGROUP", "G"), ("CHECK_IMMUNITY_TIME_IN_SECONDS", "600")];
    let immune = world.half_with("G", "immune", &immune).unwrap();
    let checks = |told| world.waiting("G", told).map(|half| half.checks);
    for _ in 0..20 {
        world.round(TIMEOUT_MS + 1);
    }
    assert_eq!((checks(told), checks(immune)), (Some(0), Some(0)), "nobody is there");
    let gone = world.join("G");
    world.round(0);
    assert_eq!(checks(told), Some(0), "too young");
    for _ in 0..2 {
        world.round(TIMEOUT_MS + 1);
    }
    assert_eq!((checks(told), checks(immune)), (Some(2), Some(0)));
    world.parts().clients.leaves_production(gone.id(), "G");
    world.round(TIMEOUT_MS + 1);
    assert_eq!(checks(told), Some(2), "nobody is there again");
    world.join("G");
    world.round(TIMEOUT_MS + 1);
    assert_eq!((checks(told), checks(immune)), (None, Some(0)), "discarded");
    let discarded = world.stored(CHECK_MAX_TIME_TOPIC, 0).remove(0);
    assert_eq!((discarded.body.as_str(), discarded.flag), ("m", 7));
    assert_eq!(discarded.property("TRANSACTION_CHECK_TIMES"), Some("2"));
    world.round(601_000);
    assert_eq!(checks(immune), Some(1));
}

/// A half message that was just small enough was never asked about and never put aside, as its record had no room for
/// the count of its checks. In Java it also stops the checks of all that follow.
#[test]
fn a_half_without_room_for_the_count_can_be_checked_and_discarded() {
    for room in 0..64 {
        let mut properties = Vec::new();
        properties::append(&mut properties, "big", "x".repeat(PROPERTIES_LENGTH_MAX - 5 - room).as_bytes());
        let draft = Draft {
            topic: HALF_TOPIC,
            queue_id: QUEUE,
            flag: 0,
            sys_flag: 0,
            born_timestamp_ms: 0,
            born_host: HOST.into(),
            store_host: HOST.into(),
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: b"m",
            properties: &properties,
        };
        let mut record = Vec::new();
        Encoder::new(usize::MAX).encode(&draft, &mut record).unwrap();
        let counted = rewrite::counted_properties(&RecordView::parse(&record).unwrap(), 12);
        assert!(counted.len() <= PROPERTIES_LENGTH_MAX && counted.starts_with(b"big"), "{room}");
        assert_eq!(counted.len() > properties.len(), room > 27, "{room}");
    }
}

/// So what became of it can always be stored.
#[test]
fn a_half_message_leaves_room_for_what_is_added_to_it() {
    let world = World::with_segments(1 << 20, |rules| rules.checks_max = 100);
    for delay in [&[][..], &[("TIMER_DELAY_SEC", "1000")]] {
        let half = |length: usize| {
            let big = "x".repeat(length);
            let half: Vec<_> = [("PGROUP", "G"), ("big", &big)].iter().chain(delay).copied().collect();
            world.half_with("G", "m", &half)
        };
        let lengths: Vec<_> = (PROPERTIES_LENGTH_MAX - 256..PROPERTIES_LENGTH_MAX).collect();
        let longest = lengths[lengths.partition_point(|length| half(*length).is_ok()) - 1];
        assert_eq!(half(longest + 1).unwrap_err().code(), 13);
        let told = half(longest).unwrap();
        world.join("G");
        for _ in 0..12 {
            world.round(TIMEOUT_MS + 1);
        }
        world.round(19 * HOUR_MS);
        let anew = world.waiting("G", told).unwrap();
        assert_eq!((anew.first, anew.checks), (told.offset, 13));
        assert_ne!(anew.offset, told.offset);
        let anew = Told { offset: anew.offset, physical: anew.physical };
        assert_eq!(answered(world.end("G", anew, COMMIT, true)), (0, String::new()));
    }
}

#[test]
fn what_was_discarded_can_wait_again() {
    let world = World::new(|rules| rules.checks_max = 1);
    world.half("G", "m").unwrap();
    world.join("G");
    world.round(TIMEOUT_MS + 1);
    world.round(TIMEOUT_MS + 1);
    assert_eq!(world.bodies(CHECK_MAX_TIME_TOPIC, 0), ["m"]);
    let store = &world.parts().store;
    let mut units = Vec::new();
    store.queue(CHECK_MAX_TIME_TOPIC, QUEUE).unwrap().read_units(QueueOffset(0), 1, &mut units).unwrap();
    let id = MessageId { store_host: HOST.into(), physical_offset: units[0].physical };
    let resume = |id: String| {
        world.request(json!({"msgId": id}), |request| world.parts().transactions.resume(request))
    };
    assert_eq!(answered(resume(id.to_text())), (0, String::new()));
    let again = "a half message of that group and unique key waits already";
    assert_eq!(answered(resume(id.to_text())), (1, again.into()));
    assert_eq!(world.shared().pending().len(), 1);
    let half = MessageId { physical_offset: PhysicalOffset(0), ..id };
    for (id, why) in
        [("x".into(), "the message cannot wait again"), (half.to_text(), "what is stored there is")]
    {
        let (code, remark) = answered(resume(id));
        assert!(code == 1 && remark.starts_with(why), "{remark}");
    }
    world.round(TIMEOUT_MS + 1);
    assert_eq!(world.shared().pending().find("G", 1).map(|half| half.checks), Some(1));
}

#[test]
fn producers_are_asked_in_turn() {
    let world = World::new(|_| ());
    let peers = ["G", "G", "G", "other"].map(|group| world.join(group));
    let told = world.half("G", "m").unwrap();
    let asked = || {
        world.round(TIMEOUT_MS + 1);
        peers.each_ref().map(|peer| peer.queued())
    };
    let turns = [(); 6].map(|()| asked());
    assert_eq!((turns[2], turns[5]), ([1, 1, 1, 0], [2, 2, 2, 0]));
    peers[0].mark_closed();
    let turns = [(); 2].map(|()| asked());
    assert_eq!(turns[1], [0, 3, 3, 0]);
    peers[1].mark_closed();
    peers[2].mark_closed();
    asked();
    assert_eq!(world.waiting("G", told).unwrap().checks, 8);
}

/// A half message may wait longer than its segment lives, and must not make a start read all that came since.
#[test]
fn old_halves_are_stored_anew() {
    let mut world = World::new(|rules| rules.renew_behind = 4);
    let told = world.half("G", "m").unwrap();
    world.join("G");
    world.round(TIMEOUT_MS + 1);
    world.round(19 * HOUR_MS);
    let half = world.waiting("G", told).unwrap();
    assert_eq!((half.offset, half.first, half.checks), (1, 0, 2), "by age");
    for body in 0..12 {
        let other = world.half("G", &body.to_string()).unwrap();
        world.end("G", other, ROLLBACK, false).unwrap();
    }
    let gone = world.half("offline", "x").unwrap();
    world.round(0);
    let half = world.waiting("G", told).unwrap();
    assert_eq!((half.offset, half.first, half.checks), (15, 0, 2), "by distance");
    assert_eq!(world.waiting("offline", gone).unwrap().offset, 14);
    let anew = world.stored(HALF_TOPIC, 0).pop().unwrap();
    assert_eq!((anew.property("TRANSACTION_CHECK_TIMES"), anew.flag), (Some("2"), 7));
    world.close();
    world.open();
    let again = world.waiting("G", told).unwrap();
    assert_eq!((again.offset, again.first, again.checks), (15, 0, 2));
    assert_eq!(world.shared().pending().len(), 2);
    // Its producer may know the first place, or that of its copy, from a check.
    let copy = Told { offset: half.offset, physical: half.physical };
    assert_eq!(world.waiting("G", copy), Some(again));
    world.end("G", copy, COMMIT, true).unwrap();
    assert_eq!(world.bodies("T", 3), ["m"]);
}

#[test]
fn a_half_that_was_stored_anew_ends_by_its_first_place() {
    let world = World::new(|_| ());
    let told = world.half("G", "m").unwrap();
    world.round(19 * HOUR_MS);
    assert_eq!(world.waiting("G", told).unwrap().offset, 1);
    assert_eq!(answered(world.end("G", told, COMMIT, false)), (0, String::new()));
    assert_eq!(
        (world.bodies("T", 3).len(), world.bodies(OP_HALF_TOPIC, 0)),
        (1, vec!["0".into(), "1".into()])
    );
    assert_eq!(world.shared().pending().len(), 0);
}

/// A crash that tears the log between a committed message and its op.
#[test]
fn a_lost_op_is_stored_again() {
    let mut world = World::new(|_| ());
    let told = world.half("G", "m").unwrap();
    let other = world.half("G", "other").unwrap();
    world.end("G", told, COMMIT, false).unwrap();
    world.tear_op_off();
    assert_eq!((world.waiting("G", told), world.bodies(OP_HALF_TOPIC, 0)), (None, vec!["0".into()]));
    assert!(world.waiting("G", other).is_some());
    world.open();
    assert_eq!((world.shared().pending().len(), world.bodies(OP_HALF_TOPIC, 0).len()), (1, 1));
}

#[test]
fn the_lost_op_of_a_half_that_was_stored_anew_is_stored_again() {
    for by_first_place in [true, false] {
        let mut world = World::new(|_| ());
        let told = world.half("G", "m").unwrap();
        world.round(19 * HOUR_MS);
        let anew = world.waiting("G", told).unwrap();
        let anew = Told { offset: anew.offset, physical: anew.physical };
        world.end("G", if by_first_place { told } else { anew }, COMMIT, false).unwrap();
        assert_eq!(world.stored("T", 3).remove(0).prepared, anew.physical.cast_signed());
        world.tear_op_off();
        assert_eq!((world.shared().pending().len(), world.bodies("T", 3).len()), (0, 1), "{by_first_place}");
        assert_eq!(world.bodies(OP_HALF_TOPIC, 0), ["0", "1"]);
    }
}

#[test]
fn the_lost_op_of_a_delayed_message_is_stored_again() {
    let mut world = World::new(|_| ());
    let told = world.half_with("G", "m", &[("DELAY", "2")]).unwrap();
    world.end("G", told, COMMIT, false).unwrap();
    world.tear_op_off();
    assert_eq!((world.shared().pending().len(), world.bodies(OP_HALF_TOPIC, 0).len()), (0, 1));
}

/// Delayed messages that are due are appended as soon as a broker starts, behind what the crash left.
#[tokio::test]
async fn a_lost_op_is_found_before_delayed_messages_are_delivered() {
    let (disk, halves) = (Arc::default(), 20_000);
    let open = |config| {
        let store = Store::open_in_memory(&disk, config, Box::new(tags_of)).unwrap();
        let put = |draft: &Draft<'_>, tags_code| {
            let queue = store.queue(draft.topic, draft.queue_id).unwrap();
            let mut record = Vec::new();
            Encoder::new(1 << 16).encode(draft, &mut record).unwrap();
            store.append(&queue, &mut record, TagsCode(tags_code)).unwrap().physical
        };
        let text = b"PGROUP\x01G\x02REAL_TOPIC\x01T\x02REAL_QID\x010\x02DELAY\x011\x02".to_vec();
        let delayed = rewrite::op("delayed", HOST.into(), 1);
        put(&Draft { topic: SCHEDULE_TOPIC, properties: &text, ..delayed }, 1);
        let half = Draft { topic: HALF_TOPIC, properties: &text[..text.len() - 8], ..delayed };
        let places: Vec<_> = (0..halves).map(|_| put(&half, 0)).collect();
        let record = store.record_at(places[0]).unwrap();
        put(&rewrite::committed(&RecordView::parse(&record).unwrap(), places[0]).unwrap(), 0);
        store
    };
    let broker = Fixture::over(open, |_| ());
    let pending = broker.broker.transactions.shared.pending();
    assert_eq!((pending.len(), pending.find("G", 0)), (halves - 1, None));
}

/// Copies keep the system flag, and their prepared offset is 0, as is the place of the first half.
#[test]
fn a_half_waits_whatever_the_log_ends_with() {
    for (half, topic, body, properties) in [
        (&[][..], "T", "m", &[("UNIQ_KEY", "other")][..]),
        (&[], "T", "other", &[("UNIQ_KEY", "m")]),
        (&[], "%RETRY%g", "m", &[("UNIQ_KEY", "m"), ("RETRY_TOPIC", "T")]),
        (&[], "T", "m", &[("UNIQ_KEY", "m"), ("RETRY_TOPIC", "T")]),
        // A message of the same producer with the same key, sent twice; the other one was delivered when it was due.
        (&[("DELAY", "2")], "T", "m", &[("UNIQ_KEY", "m"), ("DELAY", "2"), ("REAL_TOPIC", "T")]),
    ] {
        let mut world = World::new(|_| ());
        let half: Vec<_> = [("PGROUP", "G"), ("UNIQ_KEY", "m")].iter().chain(half).copied().collect();
        let told = world.half_with("G", "m", &half).unwrap();
        assert_eq!(told.physical, 0);
        let mut text = Vec::new();
        for (name, value) in properties {
            properties::append(&mut text, name, value.as_bytes());
        }
        let op = rewrite::op(body, HOST.into(), 1);
        let copy = Draft { topic, sys_flag: COMMIT, properties: &text, ..op };
        world.parts().puts.put_as_is(&copy).unwrap();
        world.open();
        assert!(world.waiting("G", told).is_some(), "{topic} {body} {properties:?}");
    }
}

/// What a Java broker leaves: ops of several halves, halves that it stored anew because they were immune, checks that
/// it counted and did not send.
#[test]
fn goes_on_where_java_stopped() {
    let mut world = World::new(|_| ());
    let halves: Vec<_> = (0..6).map(|at| world.half("G", &at.to_string()).unwrap()).collect();
    let put = |properties: &[(&str, &str)]| {
        let mut text = b"PGROUP\x01G\x02REAL_TOPIC\x01T\x02REAL_QID\x013\x02".to_vec();
        for (name, value) in properties {
            properties::append(&mut text, name, value.as_bytes());
        }
        let draft = Draft { topic: HALF_TOPIC, properties: &text, ..rewrite::op("java", HOST.into(), 1) };
        let appended = world.parts().puts.put_as_is(&draft).unwrap();
        Told { offset: appended.queue_offset.0, physical: appended.physical.0 }
    };
    let immune = ("CHECK_IMMUNITY_TIME_IN_SECONDS", "600");
    let ended = put(&[immune, ("TRAN_PREPARED_QUEUE_OFFSET", "4"), ("TRANSACTION_CHECK_TIMES", "9")]);
    let waits = put(&[immune, ("TRAN_PREPARED_QUEUE_OFFSET", "3"), ("TRANSACTION_CHECK_TIMES", "9")]);
    let checked = put(&[("TRANSACTION_CHECK_TIMES", "15")]);
    for body in ["0,1,1,", "2", "4,", "x,,99999999999999999999,77,"] {
        world.parts().puts.put_as_is(&rewrite::op(body, HOST.into(), 1)).unwrap();
    }
    let progress = Progress { half: QueueOffset(1), ..Progress::default() };
    world.shared().commit(progress);
    world.parts().offsets.save().unwrap();
    world.open();
    let checks = |told| world.waiting("G", told).map(|half| half.checks);
    assert_eq!([0, 1, 2, 4].map(|at: usize| checks(halves[at])), [None; 4]);
    assert_eq!((checks(halves[5]), checks(ended)), (Some(0), None));
    assert_eq!((checks(waits), checks(checked)), (Some(0), Some(14)));
    assert_eq!(world.waiting("G", halves[3]).map(|half| half.offset), Some(waits.offset));
}

#[test]
fn offsets_follow_the_first_half_that_waits() {
    let mut world = World::new(|_| ());
    let committed = |world: &World| {
        let get = |topic| world.parts().offsets.get(GROUP, topic, QUEUE).unwrap_or_default().0;
        (get(HALF_TOPIC), get(OP_HALF_TOPIC))
    };
    let halves: Vec<_> = (0..5).map(|at| world.half("G", &at.to_string()).unwrap()).collect();
    for at in [0, 1, 3] {
        world.end("G", halves[at], ROLLBACK, false).unwrap();
    }
    world.close();
    assert_eq!(committed(&world), (2, 0));
    world.open();
    assert_eq!(world.shared().pending().len(), 2);
    world.end("G", halves[2], COMMIT, false).unwrap();
    world.end("G", halves[4], COMMIT, false).unwrap();
    let late = world.half("G", "late").unwrap();
    world.close();
    assert_eq!(committed(&world), (5, 5));
    world.open();
    assert!(world.shared().pending().len() == 1 && world.waiting("G", late).is_some());
    world.end("G", late, ROLLBACK, false).unwrap();
    world.close();
    assert_eq!(committed(&world), (6, 6));
}

/// An offset on the disk must not be ahead of the log on the disk: nobody would look at the half message again.
#[test]
fn offsets_wait_for_the_log() {
    let mut world = World::new(|_| ());
    let told = world.half("G", "m").unwrap();
    world.parts().store.flush().unwrap();
    world.disk.faults().fsync_fails.store(true, Ordering::Relaxed);
    world.end("G", told, COMMIT, false).unwrap();
    for _ in 0..3 {
        world.shared().note_progress();
    }
    world.parts().transactions.commit_progress();
    world.parts().offsets.save().unwrap();
    world.parts = None;
    world.disk.faults().fsync_fails.store(false, Ordering::Relaxed);
    world.disk.lose_power(1);
    world.open();
    let waits = world.waiting("G", told).is_some();
    assert_ne!(waits, world.bodies("T", 3) == ["m"]);
}

#[tokio::test]
async fn with_sync_flush_the_end_waits_for_the_disk() {
    let world = World::new(|rules| rules.sync_flush_timeout = Some(Duration::from_secs(5)));
    for (fails, code) in [(false, 0), (true, 10)] {
        let told = world.half("G", "m").unwrap();
        // No fsync ends, and so none fails, before the end is there.
        world.disk.faults().fsync_stalls.store(true, Ordering::Relaxed);
        world.disk.faults().fsync_fails.store(fails, Ordering::Relaxed);
        let Ok(Answer::Later(answer)) = world.end("G", told, COMMIT, false) else { panic!("at once") };
        world.disk.faults().fsync_stalls.store(false, Ordering::Relaxed);
        assert_eq!(answer.await.code, code);
    }
}

/// A group that answers nothing is not drowned, and does not keep others waiting.
#[test]
fn checks_are_paced_by_answers() {
    let world = World::new(|_| ());
    let told: Vec<_> = (0..600).map(|at| world.half("slow", &at.to_string()).unwrap()).collect();
    let quick = world.half("quick", "x").unwrap();
    let peer = world.join("slow");
    world.join("quick");
    let now = now_ms() + TIMEOUT_MS + 1;
    let shared = world.shared();
    let sent = || told.iter().filter(|told| world.waiting("slow", **told).unwrap().checks > 0).count();
    let all = |now| while shared.step(now) == Step::Worked {};
    shared.begin_round();
    all(now);
    assert_eq!((sent(), world.waiting("quick", quick).unwrap().checks), (256, 1));
    for told in &told[..100] {
        shared.pending().answered("slow", told.offset, now);
    }
    assert_eq!(shared.step(now), Step::Worked);
    all(now);
    assert_eq!((sent(), shared.step(now)), (356, Step::Waits));
    // Those that were asked long ago are not waited for.
    all(now + 2_000);
    assert_eq!(sent(), 600);
    assert_eq!(shared.step(now + 4_000), Step::Done);
    // Nor are they in the next round, which is paced as the first.
    let sent =
        |checks| told.iter().filter(|told| world.waiting("slow", **told).unwrap().checks == checks).count();
    shared.begin_round();
    for (at, count) in [256, 512, 600].into_iter().enumerate() {
        all(now + 6_000 + 2_000 * at as i64);
        assert_eq!(sent(2), count);
    }
    assert_eq!(peer.queued(), 1_200);
}

/// Half, copy after a check, op and committed message, as Java brokers stored them.
#[test]
fn writes_what_java_writes() {
    for java in &GOLDEN {
        let half = &java.records(HALF_TOPIC, "g-deal-0")[0];
        let committed = &java.records("deals", "g-deal-0")[0];
        let mut sent = half.properties().to_vec();
        for name in ["REAL_TOPIC", "REAL_QID", "__transactionId__"] {
            properties::remove(&mut sent, name);
        }
        let draft =
            Draft { topic: "deals", queue_id: committed.queue_id(), properties: &sent, ..moved(half) };
        let (made, group) = rewrite::half_properties(&draft, "other".into()).unwrap();
        assert_eq!(group, "deal_producer");
        let mut made = by_name(&made);
        if java.version == "4.9.7" {
            // What 5.x notes besides.
            assert!(made.remove("__transactionId__").is_some());
        }
        assert_eq!(made, by_name(half.properties()));
        // With Java's order of properties to the byte.
        assert_eq!(encoded_as(&rewrite::half(&draft, half.properties()), half), half.bytes());
        let let_go = rewrite::committed(half, half.physical_offset()).unwrap();
        assert_eq!(encoded_as(&let_go, committed), committed.bytes());
        assert!(rewrite::is_committed_of(committed, half));

        let [first, checked] = &java.records(HALF_TOPIC, "g-deal-2")[..] else { panic!("two halves") };
        assert_eq!(by_name(&rewrite::counted_properties(first, 1)), by_name(checked.properties()));
        let (body, ended): (_, &[u64]) =
            if java.version == "4.9.7" { ("0", &[0]) } else { ("0,1,", &[0, 1]) };
        let op = &java.records("RMQ_SYS_TRANS_OP_HALF_TOPIC", body)[0];
        assert_eq!(rewrite::offsets_of_op(op).collect::<Vec<_>>(), ended);
        let draft = rewrite::op(body, op.store_host(), op.born_timestamp_ms());
        let properties = op.properties();
        let draft = Draft { properties, born_host: op.born_host(), ..draft };
        assert_eq!(encoded_as(&draft, op), op.bytes());
    }
}

fn moved<'a>(record: &RecordView<'a>) -> Draft<'a> {
    rewrite::moved(record, record.topic(), record.properties())
}
