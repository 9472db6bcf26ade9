// SPDX-License-Identifier: Apache-2.0
//! Retries and dead letters: what becomes of a message that a consumer group could not consume.
//!
//! The consumer sends it back by its place in the log (CONSUMER_SEND_MSG_BACK, 36), or as an ordinary message to the
//! group's retry topic when that fails or when it consumes in order. A copy goes into `%RETRY%group`, which the group's
//! members read besides their topics, after a delay that grows with each attempt; or, after too many attempts, into
//! `%DLQ%group`, which nobody reads until somebody looks.
//!
//! | property of the copy | is |
//! |---|---|
//! | `RETRY_TOPIC` | the topic that the message was sent to at first |
//! | `ORIGIN_MESSAGE_ID` | the offset message id that it had there |
//! | `DELAY` | the level: 3 + attempts so far, unless the consumer names one; 0 for a dead letter |
//! | `WAIT` | `false` |
//!
//! Invariants
//! - Body, flags, keys, tag, unique key, born time and born host of a copy are those of the original.
//! - The reconsume times of a copy are one more than those of the message that was sent back.
//! - A message goes to the dead letters instead of being tried more than `1 + retryMaxTimes` times, whichever way it is
//!   sent back; the consumer's own limit wins over the group's.
//! - A refused request changes nothing: no topic is made for it.
//!
//! Sending the same message back twice makes two copies, as in Java: the broker cannot tell a repeated request from
//! two consumers that failed.
//!
//! Java: `AbstractSendMessageProcessor#consumerSendMsgBack`, `SendMessageProcessor#handleRetryAndDLQ`.

mod copy;
mod decide;
#[cfg(test)]
mod tests;

use crate::{
    cold::ColdReads,
    groups::Groups,
    live::Live,
    overload::Admission,
    persist::Ticket,
    puts::Puts,
    refusal::Refusal,
    send::SendRules,
    topics::{Topic, Topics},
};
pub(crate) use copy::adapt;
pub(crate) use decide::Fate;
use decide::{Failure, decide};
use oxmq_net::{Answer, Request};
use oxmq_record::{Draft, RecordView, properties, sys_flag};
use oxmq_remoting::{
    Command, RequestHeader,
    bodies::{SubscriptionGroupConfig, TopicConfig},
    requests::{ConsumerSendBack, SendMessage},
};
use oxmq_store::Store;
use oxmq_types::{
    Perm, PhysicalOffset, QueueId, dlq_topic, is_send_forbidden, is_system_group, retry_topic, validate_topic,
};
use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};
use tracing::info;

/// The sys flag of a topic that consumers of a unit subscribe to. Java: `TopicSysFlag`.
const UNIT_SUBSCRIPTION: u32 = 2;

/// The queues of a dead letter topic. Java: `DLQ_NUMS_PER_GROUP`.
const DEAD_LETTER_QUEUES: u32 = 1;

/// Takes messages back. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Retries {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Arc<Store>,
    groups: Groups,
    topics: Topics,
    puts: Puts,
    cold: ColdReads,
    admission: Arc<Admission>,
    rules: Live<SendRules>,
    next_queue: AtomicU32,
}

/// What a consumer asks for that sends a message back.
struct Asked {
    /// Where the message lies, physically.
    offset: i64,
    level: i32,
    failed_max: Option<i32>,
    unit_mode: Option<bool>,
}

fn missing(offset: i64) -> Refusal {
    Refusal::System(format!("look message by offset failed, {offset}"))
}

/// Where a message goes that was sent to a retry topic.
pub(crate) struct Resent {
    pub(crate) topic: Arc<Topic>,
    /// Tells when the topic is on disk, if it was made now.
    pub(crate) created: Option<Ticket>,
    /// If it becomes a dead letter, the topic is that of the dead letters.
    pub(crate) fate: Fate,
}

impl Retries {
    pub(crate) fn new(
        (store, puts, cold): (Arc<Store>, Puts, ColdReads),
        (groups, topics): (Groups, Topics),
        admission: Arc<Admission>,
        rules: Live<SendRules>,
    ) -> Self {
        let next_queue = AtomicU32::new(0);
        Self { shared: Arc::new(Shared { store, puts, cold, groups, topics, admission, rules, next_queue }) }
    }

    /// CONSUMER_SEND_MSG_BACK.
    pub(crate) fn send_back(&self, request: Request<'_>) -> Result<Answer, Refusal> {
        let header = ConsumerSendBack::from_fields(&request.header.fields)?;
        let group = self.group(&header.group)?;
        let Shared { store, cold, rules, admission, .. } = &*self.shared;
        let rules = rules.get();
        if !rules.permission.allows(Perm::WRITE) {
            return Err(Refusal::BrokerNotWritable(rules.store_host.ip().to_string()));
        }
        if group.retry_queue_nums == 0 {
            // Whoever set that wants no retries.
            return Ok(Answer::Now(Command::success()));
        }
        // The consumer keeps the message and tries again.
        admission.admit()?;
        let at = PhysicalOffset(u64::try_from(header.offset).map_err(|_| missing(header.offset))?);
        let asked = Asked {
            offset: header.offset,
            level: header.delay_level,
            failed_max: header.max_reconsume_times,
            unit_mode: header.unit_mode,
        };
        let this = self.clone();
        cold.with_record((store, at), request.peer, move |record| {
            let record = record.map_err(|_| missing(asked.offset))?;
            this.send_back_record(&record, &group, &asked)
        })
    }

    fn send_back_record(
        &self,
        record: &[u8],
        group: &SubscriptionGroupConfig,
        asked: &Asked,
    ) -> Result<Answer, Refusal> {
        let Shared { puts, rules, .. } = &*self.shared;
        let rules = rules.get();
        let missing = || missing(asked.offset);
        let record = RecordView::parse(record).map_err(|_| missing())?;
        // What waits for the end of its transaction or for its time is in queues that no consumer reads.
        let waits = is_send_forbidden(record.topic());
        if waits || !sys_flag::enters_consume_queue(record.sys_flag()) {
            return Err(missing());
        }
        let reconsume_times = record.reconsume_times().saturating_add(1);
        let failure = Failure { failed: reconsume_times, level: asked.level, failed_max: asked.failed_max };
        let fate = decide(failure, group);
        let (topic, created) = self.topic_of(fate, group, asked.unit_mode)?;
        let draft = Draft {
            topic: topic.name(),
            queue_id: self.next_queue(&topic)?,
            flag: record.flag(),
            sys_flag: record.sys_flag(),
            born_timestamp_ms: record.born_timestamp_ms(),
            born_host: record.born_host(),
            store_host: rules.store_host,
            reconsume_times,
            prepared_transaction_offset: 0,
            body: record.body(),
            properties: &copy::properties(&record, fate),
        };
        let appended = match fate {
            Fate::Dead => puts.put_dead(&draft),
            Fate::Retried { .. } => puts.put(&draft),
        };
        // Java's code, whatever the store says. The client goes on with an ordinary send.
        let appended = appended.map_err(|refusal| Refusal::System(refusal.to_string()))?;
        if fate == Fate::Dead {
            let unique_key = record.property(properties::UNIQ_KEY).unwrap_or_default();
            info!(
                group = group.group_name,
                unique_key = %String::from_utf8_lossy(unique_key),
                topic = record.topic(),
                attempts = reconsume_times,
                "message became a dead letter"
            );
        }
        // The consumer goes on as if it had consumed the message: the copy is all that is left of it.
        let on_disk = puts.on_disk(appended.end, rules.sync_flush_timeout);
        if created.is_none() && rules.sync_flush_timeout.is_none() {
            return Ok(Answer::Now(Command::success()));
        }
        Ok(Answer::later(async move {
            if let Some(created) = created {
                created.saved().await;
            }
            if on_disk.await {
                Command::success()
            } else {
                Refusal::System("FLUSH_DISK_TIMEOUT".into()).into()
            }
        }))
    }

    /// Where a message goes that was sent to the retry topic of `group`: there, or to the dead letters. Both topics are
    /// made even where topics are not made by sends.
    pub(crate) fn resent(&self, group: &str, header: &SendMessage<'_>) -> Result<Resent, Refusal> {
        validate_topic(&header.topic)?;
        let group = self.group(group)?;
        let mut sent = Vec::new();
        if let Some(text) = header.properties {
            text.write_to(&mut sent);
        }
        let times = header.reconsume_times.unwrap_or(0);
        let failure = Failure::of_resent(times, copy::level_of(&sent), header.max_reconsume_times);
        let fate = decide(failure, &group);
        let (topic, created) = self.topic_of(fate, &group, header.unit_mode)?;
        Ok(Resent { topic, created, fate })
    }

    fn group(&self, name: &str) -> Result<Arc<SubscriptionGroupConfig>, Refusal> {
        if is_system_group(name) {
            return Err(Refusal::NoPermission(format!(
                "the group[{name}] belongs to the system, it has no retries"
            )));
        }
        self.shared.groups.get_or_create(name).ok_or_else(|| Refusal::RetryOfNoGroup(name.to_owned()))
    }

    /// The topic for messages of that fate, made now if there is none.
    fn topic_of(
        &self,
        fate: Fate,
        group: &SubscriptionGroupConfig,
        unit_mode: Option<bool>,
    ) -> Result<(Arc<Topic>, Option<Ticket>), Refusal> {
        let unit = if unit_mode == Some(true) { UNIT_SUBSCRIPTION } else { 0 };
        let (name, queues, sys_flag) = match fate {
            Fate::Dead => (dlq_topic(&group.group_name), DEAD_LETTER_QUEUES, 0),
            Fate::Retried { .. } => (retry_topic(&group.group_name), group.retry_queue_nums, unit),
        };
        let topics = &self.shared.topics;
        let (topic, created) = match topics.get(&name) {
            Some(known) => (known, None),
            None => {
                let unknown = Refusal::System(format!("topic[{name}] not exist"));
                let config = TopicConfig {
                    topic_name: name,
                    read_queue_nums: queues,
                    write_queue_nums: queues,
                    perm: Perm::READ_WRITE.0,
                    topic_sys_flag: sys_flag,
                    ..TopicConfig::default()
                };
                let (topic, created) = topics.create(config).ok_or(unknown)?;
                (topic, Some(created))
            }
        };
        if !Perm(topic.config().perm).allows(Perm::WRITE) {
            return Err(Refusal::TopicNotWritable(topic.name().to_owned()));
        }
        Ok((topic, created))
    }

    /// One queue after the other, of those that the topic has: not of those that the group's settings name, which may
    /// have been changed since the topic was made. What lies in a queue beyond them is read by nobody.
    fn next_queue(&self, topic: &Topic) -> Result<QueueId, Refusal> {
        let config = topic.config();
        let queues = config.write_queue_nums.min(config.read_queue_nums);
        let next = self.shared.next_queue.fetch_add(1, Ordering::Relaxed);
        let none = || Refusal::System(format!("topic[{}] has no queue", topic.name()));
        next.checked_rem(queues).map(QueueId).ok_or_else(none)
    }
}
