// SPDX-License-Identifier: Apache-2.0
//! A name server and broker of one process, in memory: what consumers need of them, and what they should not have to
//! endure.

use oxmq_client::{Command, MessageQueue, code, code::request};
use oxmq_net::{Answer, Limits, Peer, Request, Server, Service, Workers};
use oxmq_record::{Draft, Encoder, properties, stamp};
use oxmq_remoting::{
    bodies::{HeartbeatData, LockBatch},
    fastjson,
};
use oxmq_types::{PhysicalOffset, QueueId, QueueOffset, java_string_hash};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// Longest time that anything here may take.
pub const LONG: Duration = Duration::from_secs(60);
pub const BROKER: &str = "broker-a";

/// Waits until `condition` holds.
#[track_caller]
pub fn until(what: &str, mut condition: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let at = std::panic::Location::caller();
    async move {
        let start = Instant::now();
        while !condition() {
            assert!(start.elapsed() < LONG, "waited in vain: {what} ({at})");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Answers a request in the broker's place. `None` leaves it to the broker.
pub type Intercept = Box<dyn Fn(&Request<'_>) -> Option<Answer> + Send + Sync>;

#[derive(Default)]
pub struct State {
    /// By topic and queue.
    pub queues: BTreeMap<String, Vec<Vec<Stored>>>,
    /// By group, topic and queue.
    pub committed: BTreeMap<(String, String, i32), i64>,
    /// Offset before which a queue has nothing.
    pub min_offset: i64,
    /// Client ids by group, with where they are.
    pub members: BTreeMap<String, BTreeMap<String, Arc<Peer>>>,
    /// Owner by queue.
    pub locks: HashMap<(String, i32), String>,
    /// Level and offset of messages that were sent back.
    pub sent_back: Vec<(i32, i64)>,
    /// Messages that were sent back too often, or became dead letters at once.
    pub dead: Vec<String>,
    pub unregistered: Vec<String>,
    /// Codes of all requests.
    pub asked: Vec<i32>,
    pub pulls: usize,
}

#[derive(Clone)]
pub struct Stored {
    pub record: Vec<u8>,
    pub tag_hash: i32,
    pub body: Vec<u8>,
    pub properties: String,
    pub reconsume_times: i32,
}

/// What is common to the connections of a broker.
#[derive(Default)]
pub struct Broker {
    pub state: Mutex<State>,
    intercept: Mutex<Option<Intercept>>,
    peers: Mutex<Vec<Arc<Peer>>>,
    port: AtomicUsize,
}

/// A broker that listens. Ends when dropped.
pub struct Fake {
    pub broker: Arc<Broker>,
    running: Option<(Server, Workers)>,
    pub addr: SocketAddr,
}

impl Fake {
    /// With a topic `t` of `queues` queues.
    pub fn start(queues: usize) -> Self {
        let broker = Arc::new(Broker::default());
        broker.state().queues.insert("t".into(), vec![Vec::new(); queues]);
        let (running, addr) = listen(&broker, ([127, 0, 0, 1], 0).into());
        Self { broker, running: Some(running), addr }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.broker.state()
    }

    /// Ends all connections and listens no more.
    pub fn die(&mut self) {
        if let Some((server, workers)) = self.running.take() {
            server.close();
            for peer in self.broker.peers.lock().unwrap().drain(..) {
                peer.close("the broker dies");
            }
            drop(server);
            workers.shutdown();
        }
        let mut state = self.state();
        state.members.clear();
        state.locks.clear();
    }

    /// Listens again, on the same port.
    pub fn live(&mut self) {
        self.running = Some(listen(&self.broker, self.addr).0);
    }

    /// Puts `count` messages with the bodies `first`, `first + 1`, ... into the queues of `t`, in turn.
    pub fn put(&self, first: usize, count: usize) {
        let queues = self.state().queues["t"].len();
        for number in first..first + count {
            self.broker.put("t", number % queues, number.to_string().as_bytes(), "", 0);
        }
    }

    pub fn intercept(&self, intercept: impl Fn(&Request<'_>) -> Option<Answer> + Send + Sync + 'static) {
        *self.broker.intercept.lock().unwrap() = Some(Box::new(intercept));
    }

    /// The sum of what `group` committed of `t`.
    pub fn committed(&self, group: &str) -> i64 {
        let state = self.state();
        state
            .committed
            .iter()
            .filter(|((of, topic, _), _)| of == group && topic == "t")
            .map(|(_, at)| *at)
            .sum()
    }

    /// Connections that are open.
    pub fn connections(&self) -> usize {
        self.broker.peers.lock().unwrap().iter().filter(|peer| !peer.is_closed()).count()
    }

    /// Asks the only member of `group`.
    pub async fn ask(&self, group: &str, command: Command) -> oxmq_client::Reply {
        let peer = self.state().members[group].values().next().unwrap().clone();
        peer.call(command, LONG).await.unwrap()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.die();
    }
}

fn listen(broker: &Arc<Broker>, addr: SocketAddr) -> ((Server, Workers), SocketAddr) {
    let workers = Workers::start(1).unwrap();
    let listening = Server::listen(&[addr]).unwrap();
    let server = listening.serve(&workers, broker.clone(), Limits::default()).unwrap();
    let addr = server.local_addrs()[0];
    broker.port.store(addr.port().into(), Ordering::Release);
    ((server, workers), addr)
}

impl Service for Broker {
    fn opened(&self, peer: &Arc<Peer>) {
        self.peers.lock().unwrap().push(peer.clone());
    }

    fn closed(&self, peer: &Arc<Peer>) {
        let groups = {
            let mut state = self.state();
            let mut left = Vec::new();
            for (group, members) in &mut state.members {
                let before = members.len();
                members.retain(|_, member| member.id() != peer.id());
                if members.len() < before {
                    left.push(group.clone());
                }
            }
            left
        };
        groups.iter().for_each(|group| self.notify(group));
    }

    fn handle(&self, request: Request<'_>) -> Answer {
        self.state().asked.push(request.header.code);
        if let Some(intercept) = &*self.intercept.lock().unwrap()
            && let Some(answer) = intercept(&request)
        {
            return answer;
        }
        self.answer(request)
    }
}

/// A field of a request; empty if it is not there.
pub fn field(request: &Request<'_>, name: &str) -> String {
    request.header.fields.get(name).map(|value| value.to_cow().into_owned()).unwrap_or_default()
}

fn number(request: &Request<'_>, name: &str) -> i64 {
    field(request, name).parse().unwrap_or(-1)
}

fn json_answer(value: &serde_json::Value) -> Answer {
    Command::success().with_body(value.to_string().into_bytes()).into()
}

impl Broker {
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub fn put(&self, topic: &str, queue: usize, body: &[u8], text: &str, reconsume_times: i32) {
        let mut state = self.state();
        let queues = state.queues.entry(topic.into()).or_insert_with(|| vec![Vec::new(); 1]);
        let offset = queues[queue].len();
        let host = ([127, 0, 0, 1], self.port.load(Ordering::Acquire) as u16).into();
        let draft = Draft {
            topic,
            queue_id: QueueId(queue as u32),
            flag: 0,
            sys_flag: 0,
            born_timestamp_ms: 1,
            born_host: host,
            store_host: host,
            reconsume_times,
            prepared_transaction_offset: 0,
            body,
            properties: text.as_bytes(),
        };
        let mut record = Vec::new();
        Encoder::new(1 << 22).encode(&draft, &mut record).unwrap();
        // Of a retry topic, so that it can be told apart: 900 is no queue of `t`.
        let place = if topic.starts_with("%RETRY%") { 900 } else { queue };
        stamp(
            &mut record,
            QueueOffset(offset as u64),
            PhysicalOffset((place * 1_000_000 + offset) as u64),
            2,
        );
        let tag = properties::find(text.as_bytes(), properties::TAGS).map(String::from_utf8_lossy);
        let stored = Stored {
            record,
            tag_hash: tag.map_or(0, |tag| java_string_hash(&tag)),
            body: body.to_vec(),
            properties: text.into(),
            reconsume_times,
        };
        queues[queue].push(stored);
    }

    fn notify(&self, group: &str) {
        let members: Vec<_> =
            self.state().members.get(group).into_iter().flat_map(|all| all.values().cloned()).collect();
        for peer in members {
            peer.send(
                Command::new(request::NOTIFY_CONSUMER_IDS_CHANGED).with("consumerGroup", group.to_owned()),
            );
        }
    }

    fn answer(&self, request: Request<'_>) -> Answer {
        let (group, topic) = (field(&request, "consumerGroup"), field(&request, "topic"));
        let queue = number(&request, "queueId");
        match request.header.code {
            request::GET_ROUTEINFO_BY_TOPIC => {
                let state = self.state();
                let Some(queues) = state.queues.get(&topic) else {
                    return Command::failure(code::TOPIC_NOT_EXIST, "No topic route info").into();
                };
                let addr = format!("127.0.0.1:{}", self.port.load(Ordering::Acquire));
                json_answer(&json!({
                    "brokerDatas": [{"brokerAddrs": {"0": addr}, "brokerName": BROKER, "cluster": "c"}],
                    "filterServerTable": {},
                    "queueDatas": [{"brokerName": BROKER, "perm": 6, "readQueueNums": queues.len(),
                        "writeQueueNums": queues.len(), "topicSysFlag": 0}],
                }))
            }
            request::HEART_BEAT => {
                let data: HeartbeatData = fastjson::from_slice(request.body).unwrap();
                for consumer in &data.consumer_data_set {
                    let new = {
                        let mut state = self.state();
                        let retry = format!("%RETRY%{}", consumer.group_name);
                        state.queues.entry(retry).or_insert_with(|| vec![Vec::new(); 1]);
                        let members = state.members.entry(consumer.group_name.clone()).or_default();
                        members.insert(data.client_id.clone(), request.peer.clone()).is_none()
                    };
                    if new {
                        self.notify(&consumer.group_name);
                    }
                }
                Command::success().into()
            }
            request::UNREGISTER_CLIENT => {
                let client = field(&request, "clientID");
                {
                    let mut state = self.state();
                    state.members.entry(group.clone()).or_default().remove(&client);
                    state.unregistered.push(client);
                }
                self.notify(&group);
                Command::success().into()
            }
            request::GET_CONSUMER_LIST_BY_GROUP => {
                let state = self.state();
                let ids: Vec<_> = state.members.get(&group).into_iter().flat_map(|all| all.keys()).collect();
                json_answer(&json!({"consumerIdList": ids}))
            }
            request::QUERY_CONSUMER_OFFSET => match self.state().committed.get(&(group, topic, queue as i32))
            {
                Some(offset) => Command::success().with("offset", *offset).into(),
                None => Command::failure(code::QUERY_NOT_FOUND, "not found").into(),
            },
            request::UPDATE_CONSUMER_OFFSET => {
                let offset = number(&request, "commitOffset");
                self.state().committed.insert((group, topic, queue as i32), offset);
                Command::success().into()
            }
            request::GET_MAX_OFFSET | request::SEARCH_OFFSET_BY_TIMESTAMP => {
                let end = self.state().queues[&topic][queue as usize].len() as i64;
                let offset = if request.header.code == request::GET_MAX_OFFSET { end } else { end / 2 };
                Command::success().with("offset", offset).into()
            }
            request::GET_MIN_OFFSET => Command::success().with("offset", self.state().min_offset).into(),
            request::CHECK_CLIENT_CONFIG if request.body.windows(6).any(|part| part == b"broken") => {
                Command::failure(code::SUBSCRIPTION_PARSE_FAILED, "no such expression").into()
            }
            request::LOCK_BATCH_MQ => {
                let body: LockBatch = fastjson::from_slice(request.body).unwrap();
                let (client, mut state) = (body.client_id.unwrap(), self.state());
                let locked: Vec<_> = body
                    .mq_set
                    .unwrap()
                    .into_iter()
                    .filter(|queue| {
                        let key = (queue.topic.clone(), queue.queue_id);
                        *state.locks.entry(key).or_insert_with(|| client.clone()) == client
                    })
                    .collect();
                json_answer(&json!({"lockOKMQSet": locked}))
            }
            request::UNLOCK_BATCH_MQ => {
                let body: LockBatch = fastjson::from_slice(request.body).unwrap();
                let (client, mut state) = (body.client_id.unwrap(), self.state());
                for queue in body.mq_set.unwrap() {
                    let key = (queue.topic, queue.queue_id);
                    if state.locks.get(&key) == Some(&client) {
                        state.locks.remove(&key);
                    }
                }
                Command::success().into()
            }
            request::CONSUMER_SEND_MSG_BACK => {
                let (offset, level) = (number(&request, "offset"), number(&request, "delayLevel") as i32);
                let most = number(&request, "maxReconsumeTimes") as i32;
                let group = field(&request, "group");
                let stored = {
                    let mut state = self.state();
                    state.sent_back.push((level, offset));
                    let (place, at) = (offset as usize / 1_000_000, offset as usize % 1_000_000);
                    let retry = format!("%RETRY%{group}");
                    let queue =
                        if place == 900 { &state.queues[&retry][0] } else { &state.queues["t"][place] };
                    queue[at].clone()
                };
                let body = String::from_utf8(stored.body.clone()).unwrap();
                if level < 0 || stored.reconsume_times >= most {
                    self.state().dead.push(body);
                } else {
                    let mut text = stored.properties.clone().into_bytes();
                    properties::remove(&mut text, "RETRY_TOPIC");
                    properties::append(&mut text, "RETRY_TOPIC", b"t");
                    let text = String::from_utf8(text).unwrap();
                    self.put(&format!("%RETRY%{group}"), 0, &stored.body, &text, stored.reconsume_times + 1);
                }
                Command::success().into()
            }
            request::SEND_MESSAGE => {
                // Only dead letters of orderly consumers come so.
                self.state().dead.push(String::from_utf8(request.body.to_vec()).unwrap());
                Command::success().with("msgId", "x").with("queueId", 0).with("queueOffset", 0).into()
            }
            request::PULL_MESSAGE => self.pull(request),
            _ => Command::success().into(),
        }
    }

    fn pull(&self, request: Request<'_>) -> Answer {
        let topic = field(&request, "topic");
        let (queue, offset) = (number(&request, "queueId"), number(&request, "queueOffset"));
        let flags = number(&request, "sysFlag");
        let key = (field(&request, "consumerGroup"), topic.clone(), queue as i32);
        self.state().pulls += 1;
        if flags & 1 != 0 {
            self.state().committed.insert(key, number(&request, "commitOffset"));
        }
        let (count, filter) = (number(&request, "maxMsgNums") as usize, field(&request, "subscription"));
        let hash = (flags & 4 != 0 && filter != "*").then(|| java_string_hash(filter.trim()));
        let answer = answer_pull(&mut self.state(), &topic, queue as usize, offset, count, hash);
        if answer.code != code::PULL_NOT_FOUND || flags & 2 == 0 {
            return answer.into();
        }
        // Held until something arrives, or a short time.
        let peer = request.peer.clone();
        Answer::later(async move {
            let end = Instant::now() + Duration::from_millis(50);
            while Instant::now() < end && !peer.is_closed() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            answer
        })
    }
}

fn answer_pull(
    state: &mut State,
    topic: &str,
    queue: usize,
    offset: i64,
    count: usize,
    hash: Option<i32>,
) -> Command {
    let min = state.min_offset;
    let Some(messages) = state.queues.get(topic).and_then(|queues| queues.get(queue)) else {
        return Command::failure(code::TOPIC_NOT_EXIST, "no such topic");
    };
    let end = messages.len() as i64;
    let fields = |command: Command, next: i64| {
        command
            .with("nextBeginOffset", next)
            .with("minOffset", min)
            .with("maxOffset", end)
            .with("suggestWhichBrokerId", 0)
    };
    if offset > end || offset < min {
        return fields(Command::failure(code::PULL_OFFSET_MOVED, "moved"), offset.clamp(min, end));
    }
    let found: Vec<_> = messages[offset as usize..].iter().take(count).collect();
    let next = offset + found.len() as i64;
    if found.is_empty() {
        return fields(Command::failure(code::PULL_NOT_FOUND, "nothing"), next);
    }
    let body: Vec<u8> = found
        .iter()
        .filter(|message| hash.is_none_or(|hash| hash == message.tag_hash))
        .flat_map(|message| message.record.clone())
        .collect();
    if body.is_empty() {
        return fields(Command::failure(code::PULL_RETRY_IMMEDIATELY, "none matches"), next);
    }
    fields(Command::success(), next).with_body(body)
}

/// Bodies that handlers had, in their order, as numbers.
#[derive(Clone, Default)]
pub struct Seen(Arc<Mutex<Vec<(usize, MessageQueue, i32)>>>);

impl Seen {
    pub fn add(&self, message: &oxmq_client::ReceivedMessage) {
        let number = message.text().unwrap().parse().unwrap();
        self.0.lock().unwrap().push((number, message.queue(), message.reconsume_times()));
    }

    pub fn numbers(&self) -> Vec<usize> {
        self.0.lock().unwrap().iter().map(|(number, ..)| *number).collect()
    }

    pub fn all(&self) -> Vec<(usize, MessageQueue, i32)> {
        self.0.lock().unwrap().clone()
    }

    pub fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// True if all numbers below `count` were seen.
    pub fn has_all(&self, count: usize) -> bool {
        let numbers: BTreeSet<_> = self.numbers().into_iter().collect();
        (0..count).all(|number| numbers.contains(&number))
    }

    /// All numbers below `count`, each once.
    #[track_caller]
    pub fn assert_once(&self, count: usize) {
        let mut numbers = self.numbers();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..count).collect::<Vec<_>>());
    }
}
