// SPDX-License-Identifier: Apache-2.0
//! Held pulls, turn by turn, on a clock that only goes on when everybody waits.

use super::{PullRules, Pulls, UNITS_ASKED_MAX};
use crate::{
    clients::Clients,
    cold::ColdReads,
    delay::{DelayRules, Delays},
    groups::Groups,
    heartbeat::Heartbeats,
    live::Live,
    offsets::Offsets,
    overload::Admission,
    puts::Puts,
    refusal::Refusal,
    retry::Retries,
    send::{SendRules, Sends},
    stats::Stats,
    topics::{TopicRules, Topics},
    transaction::{TransactionRules, Transactions},
};
use oxmq_net::{Answer, Peer, Request};
use oxmq_record::RecordView;
use oxmq_remoting::{
    Command, Encoding, Header, bodies::SubscriptionGroupConfig, code, code::request as codes,
};
use oxmq_store::{Store, StoreConfig, tags_of};
use oxmq_types::{QueueId, QueueOffset};
use serde_json::{Value, json};
use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake},
    time::Duration,
};
use tokio::time::Instant;

/// As long as Java's clients ask for.
const SUSPEND: Duration = Duration::from_secs(15);
const SHORT: Duration = Duration::from_secs(1);

struct Fixture {
    topics: Topics,
    sends: Sends,
    pulls: Pulls,
    heartbeats: Heartbeats,
    offsets: Offsets,
    groups: Groups,
    store: Arc<Store>,
    peer: Arc<Peer>,
    folder: tempfile::TempDir,
}

impl Fixture {
    fn new(long_polling: bool) -> Self {
        Self::with(long_polling, false, 1 << 30)
    }

    fn with(long_polling: bool, slave_read: bool, memory_bytes: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = StoreConfig { segment_size_bytes: 1 << 20, ..StoreConfig::new(folder.path()) };
        let store = Store::open(config, Box::new(tags_of)).unwrap();
        let rules = TopicRules { default_queues: 4, ..TopicRules::new("C", "B") };
        let topics = Topics::open(folder.path().join("topics.json"), rules, store.clone()).unwrap();
        let groups = Groups::open(folder.path().join("groups.json"), true).unwrap();
        let offsets = Offsets::open(folder.path().join("offsets.json")).unwrap();
        let (clients, stats) = (Clients::default(), Arc::new(Stats::default()));
        let cold = ColdReads::default();
        let sends =
            SendRules { body_max_bytes: 1 << 16, ..SendRules::new("C", ([127, 0, 0, 1], 10911).into()) };
        let pulls = PullRules {
            long_polling,
            short_polling: SHORT,
            property_filter: true,
            slave_read,
            ..PullRules::new("127.0.0.1")
        };
        let pulls = Live::new(pulls);
        let delays = Delays::new(DelayRules::default());
        let puts =
            Puts::new((store.clone(), topics.clone()), stats.clone(), delays, Live::new(sends.clone()));
        let transactions = Transactions::open(
            (store.clone(), puts.clone(), topics.clone()),
            (offsets.clone(), clients.clone()),
            (TransactionRules::new("B".into(), sends.store_host), cold.clone()),
        )
        .unwrap();
        let admission = Arc::new(Admission::new(store.clone(), sends.unflushed_max_bytes));
        let retries = Retries::new(
            (store.clone(), puts.clone(), cold.clone()),
            (groups.clone(), topics.clone()),
            admission.clone(),
            Live::new(sends.clone()),
        );
        let fixture = Self {
            sends: Sends::new(topics.clone(), puts, retries, transactions, admission, Live::new(sends)),
            heartbeats: Heartbeats::new(clients.clone(), groups.clone(), topics.clone(), pulls.clone()),
            pulls: Pulls::new(
                (store.clone(), topics.clone(), groups.clone()),
                (clients, offsets.clone(), stats),
                (pulls, cold),
                memory_bytes,
            ),
            offsets,
            groups,
            topics,
            store,
            peer: Peer::unconnected(([127, 0, 0, 1], 5000).into()),
            folder,
        };
        fixture.send("before");
        fixture
    }

    /// Sends a message of this tag to queue 0, in the same turn.
    fn send(&self, tag: &str) {
        let fields = json!({"a": "P", "b": "T", "c": "TBW102", "d": "4", "e": "0", "f": "0", "g": "1", "h": "0",
            "i": format!("TAGS\u{1}{tag}\u{2}")});
        let sent = with_request(codes::SEND_MESSAGE_V2, &fields, tag.as_bytes(), &self.peer, |request| {
            self.sends.handle(request)
        });
        assert!(sent.is_ok());
    }

    /// Pulls with a subscription of its own.
    fn pull(&self, queue: i32, from: i64, expression: &str) -> Answer {
        let fields = json!({"sysFlag": "6", "subscription": expression});
        self.pull_with(&self.peer, queue, from, fields).unwrap()
    }

    fn pull_with(&self, peer: &Arc<Peer>, queue: i32, from: i64, more: Value) -> Result<Answer, Refusal> {
        let mut fields = json!({"consumerGroup": "g", "topic": "T", "queueId": queue.to_string(),
            "queueOffset": from.to_string(), "maxMsgNums": "32", "commitOffset": "0", "subVersion": "1",
            "suspendTimeoutMillis": SUSPEND.as_millis().to_string()});
        fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        with_request(codes::PULL_MESSAGE, &fields, b"", peer, |request| self.pulls.handle(request))
    }

    /// A member of the group tells what it subscribes to.
    fn heartbeat(&self, peer: &Arc<Peer>, client: &str, expression: &str) {
        self.heartbeat_of(peer, client, json!({"subString": expression, "subVersion": 1}));
    }

    fn heartbeat_of(&self, peer: &Arc<Peer>, client: &str, mut subscription: Value) {
        subscription["topic"] = "T".into();
        let body =
            json!({"clientID": client, "consumerDataSet": [{"groupName": "g", "messageModel": "CLUSTERING",
            "subscriptionDataSet": [subscription]}]})
            .to_string();
        let told = with_request(codes::HEART_BEAT, &json!({}), body.as_bytes(), peer, |request| {
            self.heartbeats.heartbeat(request)
        });
        assert_eq!(told.unwrap().code, 0);
    }

    /// How many hold queue 0, this test and its topic among them.
    fn holders(&self) -> usize {
        Arc::strong_count(&self.topics.get("T").unwrap().queue(QueueId(0)).unwrap())
    }
}

fn with_request<T>(
    code: i32,
    fields: &Value,
    body: &[u8],
    peer: &Arc<Peer>,
    handle: impl FnOnce(Request<'_>) -> T,
) -> T {
    let text = json!({"code": code, "language": "JAVA", "version": 479, "extFields": fields}).to_string();
    let header = Header::parse(Encoding::Json, text.as_bytes()).unwrap();
    handle(Request { header: &header, body, peer })
}

/// A pull that is held, polled by hand.
struct Held {
    answer: Pin<Box<dyn Future<Output = Command> + Send>>,
    woken: Arc<Wakes>,
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[track_caller]
fn held(answer: Answer) -> Held {
    let Answer::Later(answer) = answer else { panic!("it was answered at once") };
    let mut held = Held { answer, woken: Arc::default() };
    assert!(held.turn().is_none());
    held
}

#[track_caller]
fn at_once(answer: Answer) -> Command {
    let Answer::Now(command) = answer else { panic!("it is held") };
    command
}

impl Held {
    fn turn(&mut self) -> Option<Command> {
        match self.answer.as_mut().poll(&mut Context::from_waker(&self.woken.clone().into())) {
            Poll::Ready(command) => Some(command),
            Poll::Pending => None,
        }
    }

    /// Polls as long as it asks for it.
    async fn turns(&mut self) -> Option<Command> {
        loop {
            // Whoever gives up its turn is woken when the runtime gets its own.
            tokio::task::yield_now().await;
            if self.woken.0.swap(0, Ordering::SeqCst) == 0 {
                return None;
            }
            if let Some(command) = self.turn() {
                return Some(command);
            }
        }
    }
}

fn number(command: &Command, field: &str) -> i64 {
    command.field(field).unwrap().parse().unwrap()
}

/// The tags of the messages in an answer; they are their bodies, too.
fn tags(command: &Command) -> Vec<String> {
    let records = command.body.pieces().iter();
    records
        .map(|record| String::from_utf8(RecordView::parse(record).unwrap().body().to_vec()).unwrap())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_message_wakes_those_who_want_it() {
    let broker = Fixture::new(true);
    let mut pulls = ["*", "A", "B || A"].map(|expression| held(broker.pull(0, 1, expression)));
    let mut other_queue = held(broker.pull(1, 0, "*"));
    broker.send("A");
    for pull in &mut pulls {
        assert!(pull.woken.0.load(Ordering::SeqCst) > 0);
        let answer = pull.turn().expect("it is answered in its next turn");
        assert_eq!((answer.code, answer.remark.as_deref()), (code::SUCCESS, Some("FOUND")));
        assert_eq!((number(&answer, "nextBeginOffset"), tags(&answer)), (2, vec!["A".to_owned()]));
    }
    assert_eq!(other_queue.woken.0.load(Ordering::SeqCst), 0);
    assert!(other_queue.turn().is_none());
}

/// A queue that has never had a message is waited for as well.
#[tokio::test(start_paused = true)]
async fn the_first_message_of_a_queue_wakes() {
    let broker = Fixture::new(true);
    let pull = json!({"sysFlag": "6", "subscription": "*", "topic": "TBW102"});
    let mut first = held(broker.pull_with(&broker.peer, 0, 0, pull).unwrap());
    let fields =
        json!({"a": "P", "b": "TBW102", "c": "TBW102", "d": "4", "e": "0", "f": "0", "g": "1", "h": "0"});
    let sent = with_request(codes::SEND_MESSAGE_V2, &fields, b"first", &broker.peer, |request| {
        broker.sends.handle(request)
    });
    assert!(sent.is_ok());
    assert_eq!(tags(&first.turns().await.unwrap()), ["first"]);
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_is_not_wanted_is_passed_over() {
    let broker = Fixture::new(true);
    let start = Instant::now();
    let mut pull = held(broker.pull(0, 1, "A"));
    for _ in 0..3 {
        broker.send("B");
        assert!(pull.turns().await.is_none(), "woken for what it does not want");
    }
    tokio::time::advance(SUSPEND / 2).await;
    assert!(pull.turns().await.is_none());
    let answer = pull.answer.await;
    assert_eq!(start.elapsed().as_secs(), SUSPEND.as_secs());
    assert_eq!(answer.code, code::PULL_NOT_FOUND);
    // The client's next pull need not look at them again.
    assert_eq!(number(&answer, "nextBeginOffset"), 4);

    // One among others is found from where the pull has come to.
    let mut pull = held(broker.pull(0, 4, "A"));
    broker.send("B");
    assert!(pull.turns().await.is_none());
    broker.send("A");
    let answer = pull.turns().await.unwrap();
    assert_eq!((number(&answer, "nextBeginOffset"), tags(&answer)), (6, vec!["A".to_owned()]));
}

/// What lies there and is not wanted does not hold a pull: the client is to ask again at once.
#[tokio::test(start_paused = true)]
async fn what_is_there_and_not_wanted_is_answered_at_once() {
    let broker = Fixture::new(true);
    let answer = at_once(broker.pull(0, 0, "A"));
    assert_eq!((answer.code, number(&answer, "nextBeginOffset")), (code::PULL_RETRY_IMMEDIATELY, 1));
}

#[tokio::test(start_paused = true)]
async fn a_held_pull_ends_at_its_time() {
    let broker = Fixture::new(true);
    for (long_polling, time) in [(true, SUSPEND), (false, SHORT)] {
        let broker = Fixture::new(long_polling);
        let start = Instant::now();
        let answer = held(broker.pull(0, 1, "*")).answer.await;
        assert_eq!(
            (answer.code, answer.remark.as_deref()),
            (code::PULL_NOT_FOUND, Some("OFFSET_OVERFLOW_ONE"))
        );
        assert_eq!(number(&answer, "nextBeginOffset"), 1);
        let took = start.elapsed();
        assert!(took >= time && took < time + Duration::from_millis(10), "{took:?}");
    }
    // Without the bit that allows it, nothing is held.
    let fields = json!({"sysFlag": "4", "subscription": "*"});
    let answer = at_once(broker.pull_with(&broker.peer, 0, 1, fields).unwrap());
    assert_eq!(answer.code, code::PULL_NOT_FOUND);
    // A time that is impossible is none, and one without end has one.
    for (wish, most) in [("-1", Duration::ZERO), ("9223372036854775807", super::HOLD_MAX)] {
        let start = Instant::now();
        let fields = json!({"sysFlag": "6", "subscription": "*", "suspendTimeoutMillis": wish});
        let Answer::Later(answer) = broker.pull_with(&broker.peer, 0, 1, fields).unwrap() else { panic!() };
        assert_eq!(answer.await.code, code::PULL_NOT_FOUND);
        assert!(start.elapsed() <= most + Duration::from_millis(10));
    }
}

#[tokio::test(start_paused = true)]
async fn a_pull_that_is_dropped_leaves_nothing() {
    let broker = Fixture::new(true);
    let before = broker.holders();
    let mut pulls: Vec<_> = (0..100).map(|_| held(broker.pull(0, 1, "*"))).collect();
    assert_eq!(broker.holders(), before + 100);
    // The loop of a connection drops what it has not answered.
    let woken: Vec<_> = pulls.drain(..99).map(|pull| pull.woken).collect();
    assert_eq!(broker.holders(), before + 1);
    broker.send("A");
    assert!(woken.iter().all(|woken| woken.0.load(Ordering::SeqCst) == 0));
    assert_eq!(tags(&pulls.remove(0).turns().await.unwrap()), ["A"]);
    assert_eq!(broker.holders(), before);
}

/// Members of a group that disagree used to overwrite each other's filters in Java, and lose messages.
#[tokio::test(start_paused = true)]
async fn each_member_has_its_own_filter() {
    let broker = Fixture::new(true);
    let peers = [5001, 5002].map(|port| Peer::unconnected(([127, 0, 0, 1], port).into()));
    for (peer, tag) in peers.iter().zip(["A", "B"]) {
        broker.heartbeat(peer, tag, tag);
    }
    // They pull by what their heartbeats said.
    let [mut a, mut b] =
        peers.each_ref().map(|peer| held(broker.pull_with(peer, 0, 1, json!({"sysFlag": "2"})).unwrap()));
    broker.send("B");
    assert!(a.turns().await.is_none());
    assert_eq!(tags(&b.turns().await.unwrap()), ["B"]);
    broker.send("A");
    let answer = a.turns().await.unwrap();
    assert_eq!((number(&answer, "nextBeginOffset"), tags(&answer)), (3, vec!["A".to_owned()]));
    // Who knows more than its heartbeat has told yet has to wait for that.
    let newer = broker.pull_with(&peers[0], 0, 0, json!({"sysFlag": "2", "subVersion": "2"}));
    assert!(matches!(newer, Err(Refusal::SubscriptionNotLatest)));
}

/// Answers of pulls in all corners of a queue.
#[tokio::test(start_paused = true)]
async fn a_wrong_offset_is_corrected() {
    let broker = Fixture::new(true);
    let fields = |topic: &str| json!({"sysFlag": "4", "subscription": "*", "topic": topic});
    for (topic, from, code, remark, next) in [
        ("T", -1, code::PULL_OFFSET_MOVED, "OFFSET_TOO_SMALL", 0),
        ("T", 0, code::SUCCESS, "FOUND", 1),
        ("T", 1, code::PULL_NOT_FOUND, "OFFSET_OVERFLOW_ONE", 1),
        ("T", 2, code::PULL_OFFSET_MOVED, "OFFSET_OVERFLOW_BADLY", 1),
        ("T", i64::MAX, code::PULL_OFFSET_MOVED, "OFFSET_OVERFLOW_BADLY", 1),
        ("TBW102", -1, code::PULL_OFFSET_MOVED, "NO_MESSAGE_IN_QUEUE", 0),
        ("TBW102", 0, code::PULL_NOT_FOUND, "NO_MESSAGE_IN_QUEUE", 0),
        ("TBW102", 1, code::PULL_OFFSET_MOVED, "NO_MESSAGE_IN_QUEUE", 0),
    ] {
        let answer = at_once(broker.pull_with(&broker.peer, 0, from, fields(topic)).unwrap());
        assert_eq!((answer.code, answer.remark.as_deref()), (code, Some(remark)), "{topic} {from}");
        assert_eq!(number(&answer, "nextBeginOffset"), next, "{topic} {from}");
    }
}

/// Java tells the next pull of a reset, which comes when the held one ends.
#[tokio::test(start_paused = true)]
async fn a_held_pull_is_told_of_a_reset() {
    let broker = Fixture::new(true);
    let mut pull = held(broker.pull(0, 1, "*"));
    broker.offsets.reset("g", "T", QueueId(0), QueueOffset(0));
    broker.topics.get("T").unwrap().queue(QueueId(0)).unwrap().arrived.notify_waiters();
    let answer = pull.turns().await.expect("it is answered in its next turn");
    assert_eq!((answer.code, answer.remark.as_deref()), (code::PULL_OFFSET_MOVED, Some("OFFSET_RESET")));
    assert_eq!(["nextBeginOffset", "minOffset", "maxOffset"].map(|field| number(&answer, field)), [0, 0, 1]);
    // Another that starts from there is served.
    let answer = at_once(broker.pull(0, 0, "*"));
    assert_eq!((answer.code, number(&answer, "nextBeginOffset")), (code::SUCCESS, 1));
}

/// What a pull commits on its way is judged as any other commit.
#[tokio::test(start_paused = true)]
async fn a_commit_on_the_way_does_not_go_back() {
    let broker = Fixture::new(true);
    broker.send("A");
    let pull = |commit: i64| {
        let fields = json!({"sysFlag": "5", "subscription": "*", "commitOffset": commit.to_string()});
        at_once(broker.pull_with(&broker.peer, 0, 0, fields).unwrap());
        broker.offsets.get("g", "T", QueueId(0)).map(|offset| offset.0)
    };
    for (commit, at) in [(-1, None), (3, None), (1, Some(1)), (0, Some(1)), (2, Some(2)), (1, Some(2))] {
        assert_eq!(pull(commit), at, "{commit}");
    }
    broker.offsets.reset("g", "T", QueueId(0), QueueOffset(1));
    assert_eq!(pull(2), Some(1));
}

/// Who reads what memory no longer holds is sent to the broker that its group names, if slaves may be read.
#[tokio::test(start_paused = true)]
async fn a_slow_reader_is_sent_elsewhere() {
    for (slave_read, memory_bytes, broker_id) in [(false, 0, 0), (true, 1 << 30, 0), (true, 0, 1)] {
        let broker = Fixture::with(true, slave_read, memory_bytes);
        let answer = at_once(broker.pull(0, 0, "*"));
        assert_eq!(number(&answer, "suggestWhichBrokerId"), broker_id, "{slave_read} {memory_bytes}");
        let fields = json!({"sysFlag": "4", "subscription": "*"});
        let end = at_once(broker.pull_with(&broker.peer, 0, 1, fields).unwrap());
        assert_eq!(number(&end, "suggestWhichBrokerId"), 0, "nothing was read");
    }
}

/// Who reads what memory no longer holds gets less at once: `maxTransferCountOnMessageInDisk`.
#[tokio::test(start_paused = true)]
async fn a_slow_reader_gets_less() {
    for (memory_bytes, expected) in [(1 << 30, 21), (0, 8), (2_000, 13)] {
        let broker = Fixture::with(true, false, memory_bytes);
        (0..20).for_each(|_| broker.send("A"));
        let from = if memory_bytes == 2_000 { 8 } else { 0 };
        let found = tags(&at_once(broker.pull(0, from, "*"))).len();
        assert_eq!(found, expected, "{memory_bytes}");
    }
}

/// What the settings of a group forbid, and what they leave to others.
#[tokio::test(start_paused = true)]
async fn settings_of_the_group_count() {
    let broker = Fixture::new(true);
    let set = |change: fn(&mut SubscriptionGroupConfig)| {
        let mut config = SubscriptionGroupConfig { group_name: "g".into(), ..Default::default() };
        change(&mut config);
        drop(broker.groups.put_all(vec![config]));
    };
    let pull =
        || broker.pull_with(&broker.peer, 0, 0, json!({"sysFlag": "0"})).map(|answer| at_once(answer).code);
    broker.heartbeat(&broker.peer, "c", "*");
    assert_eq!(pull().ok(), Some(code::SUCCESS));
    set(|config| config.consume_enable = false);
    assert_eq!(pull().unwrap_err(), Refusal::GroupForbidden("g".into()));
    // This one is for broadcasting only.
    set(|config| config.consume_broadcast_enable = false);
    assert_eq!(pull().ok(), Some(code::SUCCESS));
    let body = json!({"clientID": "c", "consumerDataSet": [{"groupName": "g", "messageModel": "BROADCASTING",
        "subscriptionDataSet": [{"topic": "T", "subString": "*", "subVersion": 1}]}]});
    with_request(codes::HEART_BEAT, &json!({}), body.to_string().as_bytes(), &broker.peer, |request| {
        broker.heartbeats.heartbeat(request).unwrap()
    });
    assert_eq!(pull().unwrap_err(), Refusal::BroadcastForbidden("g".into()));
    set(|_| {});
    assert_eq!(pull().ok(), Some(code::SUCCESS));
}

fn sql(expression: &str) -> Value {
    json!({"subString": expression, "expressionType": "SQL92", "subVersion": 1})
}

/// What a pull carries that has an expression of its own.
fn carried(expression: &str) -> Value {
    json!({"sysFlag": "6", "subscription": expression, "expressionType": "SQL92"})
}

#[tokio::test(start_paused = true)]
async fn sql_looks_at_the_properties() {
    let broker = Fixture::new(true);
    let (a, b, c) = ("TAGS = 'A'", "TAGS IN ('B', 'before')", "TAGS > 5");
    let peers = [5001, 5002, 5003].map(|port| Peer::unconnected(([127, 0, 0, 1], port).into()));
    for (peer, expression) in peers.iter().zip([a, b, c]) {
        broker.heartbeat_of(peer, expression, sql(expression));
    }
    // Each member has its own, as with tags; what fails for a message is not wanted.
    let pull = |peer, from| broker.pull_with(peer, 0, from, json!({"sysFlag": "2"})).unwrap();
    let mut one = held(pull(&peers[0], 1));
    let mut none = held(pull(&peers[2], 1));
    let mut its_own = held(broker.pull_with(&peers[2], 0, 1, carried(a)).unwrap());
    for tag in ["B", "A", "B"] {
        broker.send(tag);
    }
    for pull in [&mut one, &mut its_own] {
        let answer = pull.turns().await.unwrap();
        assert_eq!((number(&answer, "nextBeginOffset"), tags(&answer)), (4, vec!["A".to_owned()]));
    }
    assert!(none.turns().await.is_none());
    let answer = at_once(pull(&peers[1], 0));
    assert_eq!((number(&answer, "nextBeginOffset"), tags(&answer).len()), (4, 3));
    let answer = at_once(pull(&peers[2], 0));
    assert_eq!((answer.code, number(&answer, "nextBeginOffset")), (code::PULL_RETRY_IMMEDIATELY, 4));
}

#[tokio::test(start_paused = true)]
async fn an_expression_is_compiled_once() {
    let broker = Fixture::new(true);
    let filter = || {
        let told = broker.pulls.clients.consumer_group("g", |group| {
            group.subscription(broker.peer.id(), "T").unwrap().filter.clone().unwrap()
        });
        let Some(super::Filter::Sql(sql)) = told else { panic!("{told:?}") };
        sql
    };
    broker.heartbeat_of(&broker.peer, "c", sql("a = 1"));
    let first = filter();
    let again = json!({"subString": "a = 1", "expressionType": "SQL92", "subVersion": 2});
    broker.heartbeat_of(&broker.peer, "c", again);
    assert!(Arc::ptr_eq(&first, &filter()));
    let before = Arc::strong_count(&first);
    let pulls = [
        held(broker.pull_with(&broker.peer, 0, 1, carried("a = 1")).unwrap()),
        held(broker.pull_with(&broker.peer, 0, 1, json!({"sysFlag": "2"})).unwrap()),
    ];
    assert_eq!(Arc::strong_count(&first), before + pulls.len());
    broker.heartbeat_of(&broker.peer, "c", sql("a = 2"));
    assert!(!Arc::ptr_eq(&first, &filter()));
}

fn refusal_code<T>(result: Result<T, Refusal>) -> Option<i32> {
    result.err().map(|refusal| refusal.code())
}

/// Java gives *all* messages to a pull that carries an expression which cannot be read.
#[tokio::test(start_paused = true)]
async fn expressions_that_cannot_be_read_are_refused() {
    let broker = Fixture::new(true);
    let check = |broker: &Fixture, subscription: Value| {
        let body = json!({"clientId": "c", "group": "g", "subscriptionData": subscription}).to_string();
        let check = |request: Request<'_>| broker.heartbeats.check(request);
        with_request(codes::CHECK_CLIENT_CONFIG, &json!({}), body.as_bytes(), &broker.peer, check)
    };
    let deep = format!("{}a = 1{}", "(".repeat(1_000), ")".repeat(1_000));
    let long = format!("a = '{}'", "x".repeat(1 << 20));
    for expression in ["", "a = ", "a > 'text'", "a = 1 AND (", &deep, &long] {
        assert_eq!(refusal_code(check(&broker, sql(expression))), Some(code::SUBSCRIPTION_PARSE_FAILED));
        let pull = broker.pull_with(&broker.peer, 0, 0, carried(expression));
        assert_eq!(refusal_code(pull), Some(code::SUBSCRIPTION_PARSE_FAILED));
        broker.heartbeat_of(&broker.peer, "c", sql(expression));
        let pull = broker.pull_with(&broker.peer, 0, 0, json!({"sysFlag": "2"}));
        assert_eq!(refusal_code(pull), Some(code::FILTER_DATA_NOT_EXIST));
    }
    let remark = check(&broker, sql("a > 'text'")).unwrap_err().to_string();
    assert!(remark.contains("only numbers have an order, at character 11"), "{remark}");
    let unknown = json!({"subString": "a = 1", "expressionType": "SQL93"});
    assert_eq!(refusal_code(check(&broker, unknown)), Some(code::SUBSCRIPTION_PARSE_FAILED));
    assert_eq!(refusal_code(check(&broker, sql("a = 1"))), None);

    broker.heartbeat_of(&broker.peer, "c", sql("a = 1"));
    let rules = PullRules { property_filter: false, ..PullRules::clone(&broker.pulls.rules.get()) };
    broker.pulls.rules.set(rules);
    for fields in [carried("a = 1"), json!({"sysFlag": "2"})] {
        let refused = broker.pull_with(&broker.peer, 0, 0, fields);
        assert!(matches!(refused, Err(Refusal::NoPropertyFilter(_))));
    }
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_cannot_be_read_is_said_and_nobody_spins() {
    let broker = Fixture::new(true);
    let held = held(broker.pull(0, 1, "*"));
    broker.send("A");
    // Now all units are in the file, and readers may go on.
    broker.store.close().unwrap();
    let file = broker.folder.path().join("consumequeue/T/0/00000000000000000000");
    std::fs::File::options().write(true).open(file).unwrap().set_len(0).unwrap();
    let refused = crate::fixture::answer(broker.pull(0, 0, "*")).await;
    assert_eq!(refused.code, code::SYSTEM_ERROR, "{refused:?}");
    let answer = held.answer.await;
    assert_eq!(answer.code, code::SYSTEM_ERROR, "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_all_messages_looks_at_no_more_than_others() {
    let broker = Fixture::new(true);
    for _ in 0..UNITS_ASKED_MAX + 10 {
        broker.send("A");
    }
    let all = json!({"sysFlag": "4", "subscription": "B", "maxMsgNums": i32::MAX.to_string()});
    let answer = at_once(broker.pull_with(&broker.peer, 0, 0, all).unwrap());
    assert_eq!(answer.code, code::PULL_RETRY_IMMEDIATELY);
    assert_eq!(number(&answer, "nextBeginOffset"), UNITS_ASKED_MAX as i64);
}
