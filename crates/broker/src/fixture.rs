// SPDX-License-Identifier: Apache-2.0
//! A whole broker over a store in a temporary folder, and clients without a network, for tests.

use crate::{Broker, Settings};
use oxmq_net::{Answer, Peer, Request, Service};
use oxmq_record::{Draft, Encoder, RecordView, properties, stamp};
use oxmq_remoting::{Command, Encoding, Header, code::request as codes};
use oxmq_store::{MemoryDisk, Store, StoreConfig, tags_of};
use oxmq_types::{QueueId, QueueOffset};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};

pub(crate) struct Fixture {
    pub(crate) broker: Arc<Broker>,
    pub(crate) store: Arc<Store>,
    pub(crate) peer: Arc<Peer>,
    pub(crate) folder: tempfile::TempDir,
}

/// A stored message, owned.
#[derive(Debug, Clone)]
pub(crate) struct Stored(Vec<u8>);

impl Stored {
    pub(crate) fn view(&self) -> RecordView<'_> {
        RecordView::parse(&self.0).unwrap()
    }

    pub(crate) fn property(&self, name: &str) -> Option<String> {
        self.view().property(name).map(|value| String::from_utf8(value.to_vec()).unwrap())
    }
}

impl Fixture {
    /// With settings that `change` makes of the defaults. Within a runtime.
    pub(crate) fn with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::over(|config| Store::open(config, Box::new(tags_of)).unwrap(), change)
    }

    /// The same, over a store on that disk.
    pub(crate) fn on(disk: &Arc<MemoryDisk>, change: impl FnOnce(&mut Settings)) -> Self {
        Self::over(|config| Store::open_in_memory(disk, config, Box::new(tags_of)).unwrap(), change)
    }

    /// The same, over the store that `open` makes of its settings.
    pub(crate) fn over(
        open: impl FnOnce(StoreConfig) -> Arc<Store>,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = StoreConfig { segment_size_bytes: 1 << 20, ..StoreConfig::new(folder.path()) };
        let mut settings = Settings::new(("C", "B"), ([127, 0, 0, 1], 10911).into(), &config);
        settings.topics.default_queues = 4;
        settings.sends.region = "R".into();
        settings.sends.body_max_bytes = 1 << 16;
        let store = open(config);
        change(&mut settings);
        let broker = Broker::open(settings, store.clone()).unwrap();
        broker.spawn_tasks(|task| drop(tokio::spawn(task)));
        Self { broker, store, peer: Peer::unconnected(([127, 0, 0, 1], 5000).into()), folder }
    }

    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    /// Whose tools it lets destroy.
    pub(crate) fn access(&self) -> Arc<oxmq_net::AdminAccess> {
        self.broker.admin.access()
    }

    /// What the broker answers to a request of `peer`. All values of `fields` are text on the wire.
    pub(crate) fn handle(&self, peer: &Arc<Peer>, code: i32, fields: &Value, body: &[u8]) -> Answer {
        self.handle_of(479, peer, code, fields, body)
    }

    /// The same for a client of that version.
    pub(crate) fn handle_of(
        &self,
        version: i32,
        peer: &Arc<Peer>,
        code: i32,
        fields: &Value,
        body: &[u8],
    ) -> Answer {
        handle((&self.broker, version), peer, code, fields, body)
    }

    pub(crate) async fn ask(&self, code: i32, fields: Value, body: &[u8]) -> Command {
        answer(self.handle(&self.peer, code, &fields, body)).await
    }

    /// Asks for what is refused, and checks the code and how the remark begins.
    #[track_caller]
    pub(crate) fn check_refused(answer: &Command, (code, remark): (i32, &str)) {
        let found = answer.remark.clone().unwrap_or_default();
        assert!(
            answer.code == code && found.starts_with(remark),
            "expected {code} {remark}, found {answer:?}"
        );
    }

    /// Sends to queue 0 with these properties and changes of the usual fields.
    pub(crate) async fn send(&self, topic: &str, properties: &[(&str, &str)], more: Value) -> Command {
        let properties: String =
            properties.iter().map(|(name, value)| format!("{name}\u{1}{value}\u{2}")).collect();
        let mut fields = json!({"a": "P", "b": topic, "c": "TBW102", "d": 4, "e": 0, "f": 0, "g": 77, "h": 9,
            "i": properties, "j": 0});
        fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.ask(codes::SEND_MESSAGE_V2, fields, b"hello").await
    }

    /// All messages of a queue.
    pub(crate) fn stored(&self, topic: &str, queue: u32) -> Vec<Stored> {
        let Some(queue) = self.store.existing_queue(topic, QueueId(queue)).unwrap() else {
            return Vec::new();
        };
        let mut units = Vec::new();
        queue.read_units(QueueOffset(0), 1000, &mut units).unwrap();
        units
            .iter()
            .map(|unit| Stored(self.store.read_record(unit.physical, unit.size).unwrap().to_vec()))
            .collect()
    }

    /// The settings of a topic in few words, `None` if there is none.
    pub(crate) fn topic(&self, name: &str) -> Option<(u32, u32, u32, u32)> {
        let config = self.broker.topics.get(name)?.config().clone();
        Some((config.read_queue_nums, config.write_queue_nums, config.perm, config.topic_sys_flag))
    }
}

/// What `broker` answers to a request of a client of that version. All values of `fields` are text on the wire.
pub(crate) fn handle(
    (broker, version): (&Broker, i32),
    peer: &Arc<Peer>,
    code: i32,
    fields: &Value,
    body: &[u8],
) -> Answer {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let fields =
        fields.as_object().unwrap().iter().map(|(name, value)| (name.clone(), Value::from(text(value))));
    let fields: serde_json::Map<_, _> = fields.collect();
    let text = json!({"code": code, "language": "JAVA", "version": version, "extFields": fields}).to_string();
    let header = Header::parse(Encoding::Json, text.as_bytes()).unwrap();
    broker.handle(Request { header: &header, body, peer })
}

pub(crate) async fn answer(answer: Answer) -> Command {
    match answer {
        Answer::Now(command) => command,
        Answer::Later(future) => future.await,
        Answer::Nothing => panic!("no answer"),
    }
}

/// What a Java broker wrote: `tests/golden/java-VERSION/`. The configuration files as they were after a clean stop, and
/// in `records.bin` some records of its commit log, one behind the other: a message on each of its ways.
pub(crate) struct Golden {
    pub(crate) version: &'static str,
    pub(crate) config: [(&'static str, &'static str); 4],
    records: &'static [u8],
}

macro_rules! golden {
    ($version:literal) => {
        Golden {
            version: $version,
            config: [
                ("topics.json", golden!($version, "topics.json")),
                ("subscriptionGroup.json", golden!($version, "subscriptionGroup.json")),
                ("consumerOffset.json", golden!($version, "consumerOffset.json")),
                ("delayOffset.json", golden!($version, "delayOffset.json")),
            ],
            records: include_bytes!(concat!("../tests/golden/java-", $version, "/records.bin")),
        }
    };
    ($version:literal, $name:literal) => {
        include_str!(concat!("../tests/golden/java-", $version, "/", $name))
    };
}

pub(crate) const GOLDEN: [Golden; 2] = [golden!("4.9.7"), golden!("5.3.3")];

impl Golden {
    /// The records of `topic` with this body, in the order of the log.
    pub(crate) fn records(&self, topic: &str, body: &str) -> Vec<RecordView<'static>> {
        let mut rest = self.records;
        let mut found = Vec::new();
        while !rest.is_empty() {
            let record = RecordView::parse(rest).unwrap();
            rest = &rest[record.size() as usize..];
            if (record.topic(), record.body()) == (topic, body.as_bytes()) {
                found.push(record);
            }
        }
        found
    }
}

/// Java keeps them in no order.
pub(crate) fn by_name(all: &[u8]) -> BTreeMap<String, String> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    properties::iter(all).map(|(name, value)| (text(name), text(value))).collect()
}

/// The bytes of `draft` in the place that `record` has in its log.
pub(crate) fn encoded_as(draft: &Draft<'_>, record: &RecordView<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    let range = Encoder::new(1 << 20).encode(draft, &mut out).unwrap();
    stamp(&mut out[range], record.queue_offset(), record.physical_offset(), record.store_timestamp_ms());
    out
}
