// SPDX-License-Identifier: Apache-2.0
//! Sends: SEND_MESSAGE (10), SEND_MESSAGE_V2 (310), SEND_BATCH_MESSAGE (320).
//!
//! A message is checked, encoded into a buffer of the thread, and appended; those who wait for it are woken. With
//! `SYNC_FLUSH` its answer waits for the disk, and that of the first message of a new topic for `topics.json`.
//!
//! Java: `SendMessageProcessor`, `AbstractSendMessageProcessor`.

#[cfg(test)]
mod tests;

use crate::{
    delay,
    groups::now_ms,
    live::Live,
    overload::Admission,
    persist::Ticket,
    puts::{BUFFER_MAX_BYTES, Puts},
    refusal::Refusal,
    retry::{self, Fate, Resent, Retries},
    topics::{Topic, TopicQueue, Topics},
    transaction::Transactions,
    unique_id::UniqueIds,
};
use oxmq_net::{Answer, Request};
use oxmq_record::{BatchMessages, Draft, MessageId, properties, sys_flag};
use oxmq_remoting::{Command, RequestHeader, code, requests::SendMessage};
use oxmq_store::{Appended, Entry};
use oxmq_types::{
    Perm, PhysicalOffset, QueueId, QueueOffset, RETRY_GROUP_PREFIX, TagsCode, is_send_forbidden, tags_code,
    validate_topic,
};
use std::{
    cell::RefCell,
    net::SocketAddr,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

/// How a broker takes messages.
#[derive(Debug, Clone)]
pub struct SendRules {
    /// Address of the broker as clients know it; part of every offset message id.
    pub store_host: SocketAddr,
    /// `brokerClusterName`.
    pub cluster: String,
    /// `regionId`.
    pub region: String,
    /// `traceOn`.
    pub trace_on: bool,
    /// `storeReplyMessageEnable`: replies are kept in the log.
    pub stores_replies: bool,
    /// `brokerPermission`.
    pub permission: Perm,
    /// `maxMessageSize`: longest body, in bytes.
    pub body_max_bytes: usize,
    /// `enabledAppendPropCRC`: records end with a checksum of all of them.
    pub record_checksums: bool,
    /// `brokerRole=SYNC_MASTER`: a message counts as safe only when a slave has it. None can have it yet.
    pub waits_for_slave: bool,
    /// `startAcceptSendRequestTimeStamp`: sends before are refused; ms since 1970.
    pub accepts_from_ms: i64,
    /// Most bytes that may wait for the disk; sends are refused beyond.
    pub unflushed_max_bytes: u64,
    /// With `SYNC_FLUSH`, how long an answer waits for the disk: `syncFlushTimeout`. `None` with `ASYNC_FLUSH`.
    pub sync_flush_timeout: Option<Duration>,
}

impl SendRules {
    /// Java's defaults; a GiB may wait for the disk.
    #[must_use]
    pub fn new(cluster: &str, store_host: SocketAddr) -> Self {
        Self {
            store_host,
            cluster: cluster.to_owned(),
            region: "DefaultRegion".into(),
            trace_on: true,
            stores_replies: true,
            permission: Perm::READ_WRITE,
            body_max_bytes: 4 << 20,
            record_checksums: false,
            waits_for_slave: false,
            accepts_from_ms: 0,
            unflushed_max_bytes: 1 << 30,
            sync_flush_timeout: None,
        }
    }
}

/// Takes messages.
#[derive(Debug)]
pub(crate) struct Sends {
    topics: Topics,
    puts: Puts,
    retries: Retries,
    transactions: Transactions,
    admission: Arc<Admission>,
    rules: Live<SendRules>,
    unique_ids: UniqueIds,
    /// What every message gets behind its own properties, if traces are off and on.
    added_properties: [Vec<u8>; 2],
    region: Arc<str>,
    store_host: SocketAddr,
    next_queue: AtomicU32,
}

/// Buffers of a worker thread.
#[derive(Debug, Default)]
struct Scratch {
    properties: Vec<u8>,
    records: Vec<u8>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Whether a message goes to its topic at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Kind {
    #[default]
    Plain,
    /// Its properties name a later time.
    Delayed,
    /// It waits for the end of its transaction.
    Half,
}

/// What the properties of a message say that the broker has to know.
#[derive(Debug, Clone, Default)]
struct Noted {
    kind: Kind,
    tags_code: TagsCode,
    /// Where the unique key stands among the properties that were copied; empty if there is none.
    unique_key: Range<usize>,
    /// False if the producer does not want the answer to wait for the disk.
    waits: bool,
}

impl Sends {
    pub(crate) fn new(
        topics: Topics,
        puts: Puts,
        retries: Retries,
        transactions: Transactions,
        admission: Arc<Admission>,
        rules: Live<SendRules>,
    ) -> Self {
        let now = rules.get();
        let added_properties = [false, true].map(|trace_on| {
            let mut added = Vec::new();
            properties::append(&mut added, "MSG_REGION", now.region.as_bytes());
            properties::append(&mut added, "TRACE_ON", trace_on.to_string().as_bytes());
            properties::append(&mut added, properties::CLUSTER, now.cluster.as_bytes());
            added
        });
        Self {
            unique_ids: UniqueIds::new(now.store_host.ip()),
            next_queue: AtomicU32::new(0),
            region: now.region.as_str().into(),
            store_host: now.store_host,
            topics,
            puts,
            retries,
            transactions,
            admission,
            rules,
            added_properties,
        }
    }

    pub(crate) fn handle(&self, request: Request<'_>) -> Result<Answer, Refusal> {
        let mut header = SendMessage::from_fields(&request.header.fields)?;
        self.admission.admit()?;
        let accepts_from_ms = self.rules.get().accepts_from_ms;
        if accepts_from_ms > 0 && now_ms() < accepts_from_ms {
            return Err(Refusal::System(format!(
                "broker unable to service, until {accepts_from_ms} ms since 1970"
            )));
        }
        let batch = header.batch == Some(true) || request.header.code == code::request::SEND_BATCH_MESSAGE;
        let (topic, created, resent) = match header.topic.strip_prefix(RETRY_GROUP_PREFIX) {
            Some(_) if batch => {
                let remark = format!("batch request does not support retry group {}", header.topic);
                return Err(Refusal::MessageIllegal(remark));
            }
            Some(group) => {
                let Resent { topic, created, fate } = self.retries.resent(group, &header)?;
                // It is no part of a transaction any more, though clients before 4.6.1 say so.
                header.sys_flag &= !sys_flag::TRANSACTION_TYPE;
                if fate == Fate::Dead {
                    (header.topic, header.queue_id) = (topic.name().to_owned().into(), -1);
                }
                (topic, created, Some(fate))
            }
            None => {
                let (topic, created) = self.topic(&header, request)?;
                (topic, created, None)
            }
        };
        let queue_id = self.queue_id(&topic, &header, request)?;
        let queue = topic.queue(queue_id)?;
        // Taken out while it is used: nothing below comes back here, but a bug there must not become a panic here.
        let mut scratch = SCRATCH.take();
        let sent = if batch {
            self.append_batch(&header, request, &queue, queue_id, &mut scratch)
        } else {
            self.append_one(&header, request, (&queue, queue_id), resent, &mut scratch)
        };
        if scratch.records.capacity() > BUFFER_MAX_BYTES {
            scratch.records = Vec::new();
        }
        if scratch.properties.capacity() > BUFFER_MAX_BYTES {
            scratch.properties = Vec::new();
        }
        SCRATCH.set(scratch);
        Ok(self.answer(sent?, created))
    }

    /// The topic of a send, made now if there is none and that is allowed.
    pub(crate) fn topic(
        &self,
        header: &SendMessage<'_>,
        request: Request<'_>,
    ) -> Result<(Arc<Topic>, Option<Ticket>), Refusal> {
        let name = header.topic.as_ref();
        let known = self.topics.get(name);
        if !self.rules.get().permission.allows(Perm::WRITE)
            && known.as_ref().is_some_and(|topic| topic.config().order)
        {
            return Err(Refusal::BrokerNotWritable(self.store_host.ip().to_string()));
        }
        // What is sent to the timer's topic would be delivered wherever it says.
        if is_send_forbidden(name) {
            return Err(Refusal::SendForbidden(name.to_owned()));
        }
        if let Some(topic) = known {
            return Ok((topic, None));
        }
        validate_topic(name)?;
        let sys_flag = if header.unit_mode == Some(true) { UNIT } else { 0 };
        let created = self.topics.create_by_send(
            name,
            &header.default_topic,
            header.default_topic_queue_nums,
            sys_flag,
        );
        let (topic, ticket) = created.ok_or_else(|| {
            tracing::warn!(topic = name, peer = %request.peer.remote(), "send refused: there is no such topic");
            Refusal::NoTopic(name.to_owned())
        })?;
        Ok((topic, Some(ticket)))
    }

    /// The queue that a send names, or the next one.
    pub(crate) fn queue_id(
        &self,
        topic: &Topic,
        header: &SendMessage<'_>,
        request: Request<'_>,
    ) -> Result<QueueId, Refusal> {
        let config = topic.config();
        let Ok(queue_id) = u32::try_from(header.queue_id) else {
            let next = self.next_queue.fetch_add(1, Ordering::Relaxed);
            let none = || Refusal::Parameter(format!("topic[{}] has no queue to write to", topic.name()));
            return next.checked_rem(config.write_queue_nums).map(QueueId).ok_or_else(none);
        };
        if queue_id >= config.write_queue_nums.max(config.read_queue_nums) {
            let peer = request.peer.remote();
            return Err(Refusal::Parameter(format!(
                "request queueId[{queue_id}] is illegal, topic[{}] writeQueueNums[{}] readQueueNums[{}] Producer: {peer}",
                topic.name(),
                config.write_queue_nums,
                config.read_queue_nums
            )));
        }
        Ok(QueueId(queue_id))
    }

    fn append_one(
        &self,
        header: &SendMessage<'_>,
        request: Request<'_>,
        (queue, queue_id): (&Arc<TopicQueue>, QueueId),
        resent: Option<Fate>,
        scratch: &mut Scratch,
    ) -> Result<Sent, Refusal> {
        let Scratch { properties, records } = scratch;
        properties.clear();
        if let Some(text) = header.properties {
            text.write_to(properties);
        }
        // Now, not when it is encoded: each of the steps in between goes through all of them.
        self.puts.admit(request.body, properties)?;
        if let Some(fate) = resent {
            retry::adapt(properties, fate);
        }
        let mut noted = note(properties);
        if noted.kind != Kind::Half && !sys_flag::enters_consume_queue(header.sys_flag) {
            // Java takes it, and no consumer ever sees it.
            let remark = "the system flag is that of a transaction, the properties are not";
            return Err(Refusal::MessageIllegal(remark.into()));
        }
        self.complete(&mut noted, properties);
        // The unique key may move when properties are added, its text does not change.
        let transaction_id = text(&properties[noted.unique_key.clone()]);
        records.clear();
        let content = (header.flag, request.body);
        let place = (header.topic.as_ref(), queue_id);
        let waiting = match noted.kind {
            Kind::Delayed => self.puts.delays().redirect(place, properties)?,
            _ => None,
        };
        let mut recall_handle = None;
        let appended = if noted.kind == Kind::Half {
            let draft = self.draft(header, request, place, content, properties)?;
            self.transactions.half(&draft, header.producer_group.to_cow())?
        } else if let Some(waiting) = waiting {
            let place = (waiting.topic, waiting.queue_id);
            let draft = self.draft(header, request, place, content, properties)?;
            let rules = self.puts.delays().rules();
            let broker = &rules.broker;
            recall_handle = delay::recall_handle(broker, &header.topic, &waiting, &transaction_id);
            self.puts.put_waiting(&draft, &waiting)?
        } else {
            // Not delayed, or its time has come.
            let range = self.encode(header, request, place, content, properties, records)?;
            self.puts.append(queue, &mut records[range], noted.tags_code)?
        };
        Ok(Sent {
            message_ids: self.message_id(&appended),
            recall_handle,
            transaction_id,
            queue_id,
            waits: noted.waits,
            queue_offset: appended.queue_offset,
            end: appended.end,
        })
    }

    fn append_batch(
        &self,
        header: &SendMessage<'_>,
        request: Request<'_>,
        queue: &Arc<TopicQueue>,
        queue_id: QueueId,
        scratch: &mut Scratch,
    ) -> Result<Sent, Refusal> {
        let Scratch { properties, records } = scratch;
        // The properties of the batch as a whole belong to each of its messages, behind its own.
        let mut common = Vec::new();
        if let Some(text) = header.properties {
            text.write_to(&mut common);
        }
        self.puts.admit(request.body, &common)?;
        let records_max =
            BATCH_MAX_BYTES.max(self.rules.get().body_max_bytes.saturating_mul(BATCH_GROWTH_MAX));
        let batch_noted = note(&mut common);
        let transactional = header.sys_flag & sys_flag::TRANSACTION_TYPE != 0;
        if batch_noted.kind != Kind::Plain || transactional {
            return Err(Refusal::MessageIllegal("a batch can be neither delayed nor transactional".into()));
        }
        let unique_key = common[batch_noted.unique_key.clone()].to_vec();
        properties::remove(&mut common, properties::UNIQ_KEY);
        records.clear();
        let mut entries: Vec<Entry<'_>> = Vec::new();
        for message in BatchMessages::new(request.body) {
            let message = message.map_err(|error| Refusal::MessageIllegal(error.to_string()))?;
            properties.clear();
            properties.extend_from_slice(message.properties);
            let mut noted = note(properties);
            if noted.kind != Kind::Plain {
                return Err(Refusal::MessageIllegal(
                    "a message of a batch can be neither delayed nor transactional".into(),
                ));
            }
            extend(properties, &common);
            if noted.unique_key.is_empty() && !unique_key.is_empty() && entries.is_empty() {
                properties::append(properties, properties::UNIQ_KEY, &unique_key);
                noted.unique_key = last_value(properties, &unique_key);
            }
            self.complete(&mut noted, properties);
            let (place, content) = ((header.topic.as_ref(), queue_id), (message.flag, message.body));
            let range = self.encode(header, request, place, content, properties, records)?;
            if records.len() > records_max {
                return Err(Refusal::MessageIllegal(format!(
                    "the messages of the batch take more than {records_max} bytes in the log, each with the \
                     properties of the batch: send fewer at once, or shorter properties"
                )));
            }
            entries.push(Entry { queue: &queue.stored, range, tags_code: noted.tags_code });
        }
        let appended = self.puts.append_all(queue, records, &entries)?;
        let (Some(first), Some(last)) = (appended.first(), appended.last()) else {
            return Err(Refusal::MessageIllegal("the batch is empty".into()));
        };
        let ids: Vec<_> = appended.iter().map(|each| self.message_id(each)).collect();
        Ok(Sent {
            message_ids: ids.join(","),
            recall_handle: None,
            transaction_id: text(&unique_key),
            queue_id,
            waits: batch_noted.waits,
            queue_offset: first.queue_offset,
            end: last.end,
        })
    }

    /// Adds what the broker adds to the properties of every message.
    fn complete(&self, noted: &mut Noted, properties: &mut Vec<u8>) {
        if noted.unique_key.is_empty() {
            let unique_key = self.unique_ids.next();
            properties::append(properties, properties::UNIQ_KEY, &unique_key);
            noted.unique_key = last_value(properties, &unique_key);
        }
        extend(properties, &self.added_properties[usize::from(self.rules.get().trace_on)]);
    }

    fn encode(
        &self,
        header: &SendMessage<'_>,
        request: Request<'_>,
        place: (&str, QueueId),
        content: (i32, &[u8]),
        properties: &[u8],
        records: &mut Vec<u8>,
    ) -> Result<Range<usize>, Refusal> {
        self.puts.encode(&self.draft(header, request, place, content, properties)?, records)
    }

    fn draft<'a>(
        &self,
        header: &SendMessage<'_>,
        request: Request<'_>,
        (topic, queue_id): (&'a str, QueueId),
        (flag, body): (i32, &'a [u8]),
        properties: &'a [u8],
    ) -> Result<Draft<'a>, Refusal> {
        if body.is_empty() {
            // Java's code, which there comes from a null pointer. No client lets an empty body pass.
            return Err(Refusal::System("the message body is empty".into()));
        }
        Ok(Draft {
            topic,
            queue_id,
            flag,
            // Only the end of a transaction gives a message one; with the type of a half message no consumer sees it.
            sys_flag: header.sys_flag & !sys_flag::TRANSACTION_TYPE,
            born_timestamp_ms: header.born_timestamp_ms,
            born_host: request.peer.remote(),
            store_host: self.store_host,
            reconsume_times: header.reconsume_times.unwrap_or(0),
            prepared_transaction_offset: 0,
            body,
            properties,
        })
    }

    fn message_id(&self, appended: &Appended) -> String {
        MessageId { store_host: self.store_host, physical_offset: appended.physical }.to_text()
    }

    fn answer(&self, sent: Sent, created: Option<Ticket>) -> Answer {
        let rules = self.rules.get();
        let flush = rules.sync_flush_timeout.filter(|_| sent.waits);
        let end = sent.end;
        let alone = rules.waits_for_slave && sent.waits;
        let answer = Command::new(if alone { code::SLAVE_NOT_AVAILABLE } else { code::SUCCESS })
            .with("msgId", sent.message_ids)
            .with("queueId", sent.queue_id.0)
            .with("queueOffset", sent.queue_offset.0)
            .with("transactionId", sent.transaction_id)
            .with("MSG_REGION", self.region.clone())
            .with("TRACE_ON", rules.trace_on);
        let answer = match sent.recall_handle {
            Some(handle) => answer.with("recallHandle", handle),
            None => answer,
        };
        if flush.is_none() && created.is_none() {
            return Answer::Now(answer);
        }
        let on_disk = self.puts.on_disk(end, flush);
        Answer::later(async move {
            if let Some(ticket) = created {
                ticket.saved().await;
            }
            if on_disk.await { answer } else { Command { code: code::FLUSH_DISK_TIMEOUT, ..answer } }
        })
    }
}

/// Most bytes that the records of a batch may take, if bodies have 4 MiB at most: each of its messages gets the
/// properties of the whole. 4 MiB of the smallest messages become some 40 MB without such properties.
const BATCH_MAX_BYTES: usize = 64 << 20;
/// By how much a batch may grow where longer bodies are allowed.
const BATCH_GROWTH_MAX: usize = 16;

/// The sys flag of a topic of a unit. Java: `TopicSysFlag`.
const UNIT: u32 = 1;

/// What was stored of one send.
#[derive(Debug)]
struct Sent {
    message_ids: String,
    /// By which it can be recalled.
    recall_handle: Option<String>,
    transaction_id: String,
    queue_id: QueueId,
    waits: bool,
    /// Of its first message.
    queue_offset: QueueOffset,
    /// Where its last record ends.
    end: PhysicalOffset,
}

/// Notes what the properties of a message say, and takes out those that only the broker may set.
fn note(properties: &mut Vec<u8>) -> Noted {
    let mut noted = Noted { waits: true, ..Noted::default() };
    let mut reserved = false;
    for (name, value) in properties::iter(properties) {
        match name {
            name if RESERVED.contains(&name) => reserved = true,
            b"TAGS" => {
                noted.tags_code = match str::from_utf8(value) {
                    Ok(tag) => tags_code(Some(tag)),
                    Err(_) => tags_code(Some(&String::from_utf8_lossy(value))),
                }
            }
            b"UNIQ_KEY" => {
                let start = value.as_ptr().addr() - properties.as_ptr().addr();
                noted.unique_key = start..start + value.len();
            }
            b"WAIT" => noted.waits = value != b"false",
            b"TRAN_MSG" if value.eq_ignore_ascii_case(b"true") => noted.kind = Kind::Half,
            name if noted.kind == Kind::Plain && delay::asks_for_delay(name, value) => {
                noted.kind = Kind::Delayed;
            }
            _ => {}
        }
    }
    if reserved {
        let mut kept = Vec::with_capacity(properties.len());
        for (name, value) in properties::iter(properties).filter(|(name, _)| !RESERVED.contains(name)) {
            properties::append(&mut kept, name, value);
        }
        *properties = kept;
        return note(properties);
    }
    noted
}

/// Properties that only the broker sets.
const RESERVED: [&[u8]; 4] = [b"MSG_REGION", b"TRACE_ON", b"CLUSTER", b"POP_CK"];

/// Adds pairs at the end.
fn extend(properties: &mut Vec<u8>, pairs: &[u8]) {
    if properties.last().is_some_and(|last| *last != properties::PROPERTY_SEPARATOR) {
        properties.push(properties::PROPERTY_SEPARATOR);
    }
    properties.extend_from_slice(pairs);
}

/// Where the value of the pair that was appended last stands.
fn last_value(properties: &[u8], value: &[u8]) -> Range<usize> {
    let end = properties.len() - 1;
    end - value.len()..end
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
