// SPDX-License-Identifier: Apache-2.0
//! Pulls: PULL_MESSAGE (11), LITE_PULL_MESSAGE (361).
//!
//! Consume queue units, filtered by their tags code or by the properties in their records, become slices of the commit log that go to the socket from
//! where they are. A pull that finds nothing is held: its future waits for the queue's next append or for the end of
//! its time, and lives and dies with its connection.
//!
//! What is not in memory is read elsewhere (`cold`), and is not in the way of other connections meanwhile.
//!
//! Java: `PullMessageProcessor`, `DefaultMessageStore#getMessage`, `PullRequestHoldService`.

use crate::{
    clients::Clients,
    cold::{ColdReads, Room},
    filter::{Filter, is_tag_type},
    groups::Groups,
    live::Live,
    offsets::Offsets,
    positions::commit,
    refusal::Refusal,
    stats::Stats,
    topics::{Topic, TopicQueue, Topics},
};
use oxmq_net::{Answer, Request};
use oxmq_remoting::{Command, RequestHeader, bodies::SubscriptionGroupConfig, code, requests::PullMessage};
use oxmq_store::{Access, ReadError, Store, Unit};
use oxmq_types::{BrokerId, Perm, QueueId, QueueOffset};
use std::{
    cell::RefCell,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

/// How a broker gives messages.
#[derive(Debug, Clone)]
pub struct PullRules {
    /// Address of the broker for remarks: `brokerIP1`.
    pub address: String,
    /// `brokerPermission`.
    pub permission: Perm,
    /// `longPollingEnable`.
    pub long_polling: bool,
    /// How long a pull is held without long polling: `shortPollingTimeMills`.
    pub short_polling: Duration,
    /// `enablePropertyFilter`.
    pub property_filter: bool,
    /// `litePullMessageEnable`.
    pub lite_pull: bool,
    /// `slaveReadEnable`: whether groups are sent to the broker id that their settings name.
    pub slave_read: bool,
    /// Most messages in one answer: `maxTransferCountOnMessageInMemory`.
    pub messages_max: usize,
    /// Most bytes in one answer, but for a first message that is larger: `maxTransferBytesOnMessageInMemory`.
    pub bytes_max: usize,
    /// Most messages in one answer if memory is taken to hold them no more: `maxTransferCountOnMessageInDisk`.
    pub old_messages_max: usize,
    /// Most bytes of them: `maxTransferBytesOnMessageInDisk`.
    pub old_bytes_max: usize,
    /// Most units that one pull looks at: `maxFilterMessageSize` / 20.
    pub units_max: usize,
}

impl PullRules {
    /// Java's defaults.
    #[must_use]
    pub fn new(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            permission: Perm::READ_WRITE,
            long_polling: true,
            short_polling: Duration::from_secs(1),
            property_filter: false,
            lite_pull: true,
            slave_read: false,
            messages_max: 32,
            bytes_max: 256 << 10,
            old_messages_max: 8,
            old_bytes_max: 64 << 10,
            units_max: 800,
        }
    }
}

/// Bits of a pull. Java: `PullSysFlag`.
mod sys_flag {
    pub(super) const COMMIT_OFFSET: i32 = 1;
    pub(super) const SUSPEND: i32 = 1 << 1;
    pub(super) const SUBSCRIPTION: i32 = 1 << 2;
}

/// Longest time that a pull is held, whatever it asks for.
const HOLD_MAX: Duration = Duration::from_secs(300);

/// Most units that one pull looks at because it asks for so many messages. Nobody gets more than `messages_max`.
const UNITS_ASKED_MAX: usize = 4_096;

/// A thread's buffer of more units than this is given back.
const UNITS_KEPT_MAX: usize = 65_536;

/// How long one look at a queue reads records that are not wanted, before others have their turn.
const SEARCH_TIME_MAX: Duration = Duration::from_millis(20);

/// Gives messages.
#[derive(Debug)]
pub(crate) struct Pulls {
    store: Arc<Store>,
    topics: Topics,
    groups: Groups,
    clients: Clients,
    offsets: Offsets,
    stats: Arc<Stats>,
    cold: ColdReads,
    rules: Live<PullRules>,
    /// Bytes at the end of the log that are taken to be in memory: `accessMessageInMemoryMaxRatio` of it all.
    memory_bytes: u64,
}

thread_local! {
    static UNITS: RefCell<Vec<Unit>> = RefCell::default();
}

impl Pulls {
    pub(crate) fn new(
        (store, topics, groups): (Arc<Store>, Topics, Groups),
        (clients, offsets, stats): (Clients, Offsets, Arc<Stats>),
        (rules, cold): (Live<PullRules>, ColdReads),
        memory_bytes: u64,
    ) -> Self {
        Self { store, topics, groups, clients, offsets, stats, cold, rules, memory_bytes }
    }

    #[cfg(test)]
    pub(crate) fn cold(&self) -> &ColdReads {
        &self.cold
    }

    pub(crate) fn handle(&self, request: Request<'_>) -> Result<Answer, Refusal> {
        let header = PullMessage::from_fields(&request.header.fields)?;
        let rules = self.rules.get();
        if !rules.permission.allows(Perm::READ) {
            return Err(Refusal::BrokerNotReadable(rules.address.clone()));
        }
        if request.header.code == code::request::LITE_PULL_MESSAGE && !rules.lite_pull {
            let remark = format!("the broker[{}] for lite pull consumer is forbidden", rules.address);
            return Err(Refusal::NoPermission(remark));
        }
        let name = header.consumer_group.as_ref();
        let group = self.groups.get_or_create(name).ok_or_else(|| Refusal::NoGroup(name.to_owned()))?;
        if !group.consume_enable {
            return Err(Refusal::GroupForbidden(name.to_owned()));
        }
        if self.groups.is_forbidden(name, &header.topic) {
            return Err(Refusal::TopicForbidden(name.to_owned(), header.topic.into_owned()));
        }
        let (topic, queue_id) = self.queue(&header, request)?;
        let filter = self.filter(&header, &group, request)?;
        let queue = topic.queue(queue_id)?;
        if header.sys_flag & sys_flag::COMMIT_OFFSET != 0
            && let Ok(next) = u64::try_from(header.commit_offset)
        {
            let queue = (queue_id, &*queue);
            commit(&self.offsets, &self.clients, request, (name, topic.name()), queue, next);
        }
        let pull = Pull {
            store: self.store.clone(),
            stats: self.stats.clone(),
            offsets: self.offsets.clone(),
            cold: self.cold.clone(),
            peer: request.peer.id(),
            topic,
            queue_id,
            queue,
            filter,
            messages_max: usize::try_from(header.max_messages).unwrap_or(0).min(rules.messages_max),
            bytes_max: header.max_bytes.map_or(rules.bytes_max, |bytes| {
                usize::try_from(bytes).unwrap_or(0).max(100).min(rules.bytes_max)
            }),
            old_max: (rules.old_messages_max, rules.old_bytes_max),
            units_max: usize::try_from(header.max_messages)
                .unwrap_or(0)
                .min(UNITS_ASKED_MAX)
                .max(rules.units_max),
            broker_ids: if rules.slave_read {
                (BrokerId(group.broker_id), BrokerId(group.which_broker_when_consume_slowly))
            } else {
                (BrokerId::MASTER, BrokerId::MASTER)
            },
            memory_bytes: self.memory_bytes,
            group,
        };
        let hold = (header.sys_flag & sys_flag::SUSPEND != 0).then(|| {
            let wanted =
                u64::try_from(header.suspend_timeout_ms).map_or(Duration::ZERO, Duration::from_millis);
            let time = if rules.long_polling { wanted } else { rules.short_polling };
            time.min(HOLD_MAX)
        });
        let from = header.queue_offset;
        Ok(match (pull.read(from, Access::Memory, None)?, hold) {
            (None, _) => Answer::later(Arc::new(pull).answer_from_disk(from, hold)),
            (Some(read), Some(time)) if read.is_to_wait() => Answer::later(Arc::new(pull).hold(from, time)),
            (Some(read), _) => Answer::Now(pull.answer(read)),
        })
    }

    fn queue(
        &self,
        header: &PullMessage<'_>,
        request: Request<'_>,
    ) -> Result<(Arc<Topic>, QueueId), Refusal> {
        let name = header.topic.as_ref();
        let topic = self.topics.get(name).ok_or_else(|| Refusal::NoTopic(name.to_owned()))?;
        let config = topic.config();
        if !Perm(config.perm).allows(Perm::READ) {
            return Err(Refusal::TopicNotReadable(name.to_owned()));
        }
        let queue_id = u32::try_from(header.queue_id).ok().filter(|id| *id < config.read_queue_nums);
        let illegal = || {
            Refusal::Parameter(format!(
                "queueId[{}] is illegal, topic:[{name}] topicConfig.readQueueNums:[{}] consumer:[{}]",
                header.queue_id,
                config.read_queue_nums,
                request.peer.remote()
            ))
        };
        Ok((topic.clone(), QueueId(queue_id.ok_or_else(illegal)?)))
    }

    /// The filter of a pull: what it carries itself, or what the puller's heartbeat said.
    fn filter(
        &self,
        header: &PullMessage<'_>,
        config: &SubscriptionGroupConfig,
        request: Request<'_>,
    ) -> Result<Filter, Refusal> {
        let filter = if header.sys_flag & sys_flag::SUBSCRIPTION != 0 {
            self.carried_filter(header, request)?
        } else {
            self.told_filter(header, config, request)?
        };
        match filter {
            Filter::Sql(_) if !self.rules.get().property_filter => {
                Err(Refusal::NoPropertyFilter("SQL92".into()))
            }
            allowed => Ok(allowed),
        }
    }

    fn carried_filter(&self, header: &PullMessage<'_>, request: Request<'_>) -> Result<Filter, Refusal> {
        let expression = header.subscription.as_deref().unwrap_or_default();
        let expression_type = header.expression_type.as_deref().unwrap_or_default();
        if is_tag_type(expression_type) {
            return Filter::compile(expression, expression_type);
        }
        // Most who carry one have told it before, and it was compiled then.
        let told = self.clients.consumer_group(&header.consumer_group, |group| {
            let told = group.subscription(request.peer.id(), &header.topic);
            told.filter(|told| told.has(expression, expression_type)).map(|told| told.filter.clone())
        });
        told.flatten().unwrap_or_else(|| Filter::compile(expression, expression_type))
    }

    fn told_filter(
        &self,
        header: &PullMessage<'_>,
        config: &SubscriptionGroupConfig,
        request: Request<'_>,
    ) -> Result<Filter, Refusal> {
        let told = self.clients.consumer_group(&header.consumer_group, |group| {
            if !config.consume_broadcast_enable && group.message_model == "BROADCASTING" {
                return Err(Refusal::BroadcastForbidden(header.consumer_group.clone().into_owned()));
            }
            let told = group.subscription(request.peer.id(), &header.topic).ok_or(Refusal::NoSubscription)?;
            if told.data.sub_version < header.sub_version {
                return Err(Refusal::SubscriptionNotLatest);
            }
            told.filter.clone().map_err(|refusal| match refusal {
                Refusal::ExpressionMalformed(_) => Refusal::NoFilterData,
                other => other,
            })
        });
        told.unwrap_or(Err(Refusal::NoConsumers))
    }
}

/// Where a pull stands. The names are the remarks of its answer. Java: `GetMessageStatus`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Found,
    /// Nothing of what was looked at is wanted.
    NoMatch,
    /// What the queue points to is gone from the commit log.
    Removed,
    /// The queue has never had a message, and the pull waits for its first.
    Empty,
    /// The queue has no message, although the pull has seen some.
    EmptyNow,
    /// The pull asks for the next message to come.
    EndOfQueue,
    TooSmall,
    TooLarge,
    /// A tool has moved the group to another offset.
    Reset,
}

impl Status {
    fn remark(self) -> &'static str {
        match self {
            Self::Found => "FOUND",
            Self::NoMatch => "NO_MATCHED_MESSAGE",
            Self::Removed => "MESSAGE_WAS_REMOVING",
            Self::Empty | Self::EmptyNow => "NO_MESSAGE_IN_QUEUE",
            Self::EndOfQueue => "OFFSET_OVERFLOW_ONE",
            Self::TooSmall => "OFFSET_TOO_SMALL",
            Self::TooLarge => "OFFSET_OVERFLOW_BADLY",
            Self::Reset => "OFFSET_RESET",
        }
    }

    fn code(self) -> i32 {
        match self {
            Self::Found => code::SUCCESS,
            Self::NoMatch | Self::Removed => code::PULL_RETRY_IMMEDIATELY,
            Self::Empty | Self::EndOfQueue => code::PULL_NOT_FOUND,
            Self::EmptyNow | Self::TooSmall | Self::TooLarge | Self::Reset => code::PULL_OFFSET_MOVED,
        }
    }
}

/// A pull that has been checked.
struct Pull {
    store: Arc<Store>,
    stats: Arc<Stats>,
    offsets: Offsets,
    cold: ColdReads,
    /// The connection that pulls.
    peer: u64,
    topic: Arc<Topic>,
    queue_id: QueueId,
    queue: Arc<TopicQueue>,
    filter: Filter,
    messages_max: usize,
    bytes_max: usize,
    /// Most messages, and bytes of them, that memory is taken to hold no more.
    old_max: (usize, usize),
    units_max: usize,
    /// The broker to read from next: ordinarily, and when memory no longer holds what it reads.
    broker_ids: (BrokerId, BrokerId),
    /// Bytes at the end of the log that are taken to be in memory.
    memory_bytes: u64,
    group: Arc<SubscriptionGroupConfig>,
}

/// What one look at the queue gave.
struct Read {
    status: Status,
    next: u64,
    min: u64,
    max: u64,
    body: oxmq_remoting::Body,
    /// What was found is taken to be in memory no more.
    slow: bool,
}

impl Read {
    /// True if there may be a message later.
    fn is_to_wait(&self) -> bool {
        self.status.code() == code::PULL_NOT_FOUND
    }
}

impl Pull {
    /// Reads from `from` on, wherever that is.
    async fn read_anywhere(self: &Arc<Self>, from: i64) -> Result<Read, Refusal> {
        match self.read(from, Access::Memory, None)? {
            Some(read) => Ok(read),
            None => self.read_from_disk(from).await,
        }
    }

    async fn read_from_disk(self: &Arc<Self>, from: i64) -> Result<Read, Refusal> {
        let (this, asked) = (self.clone(), (self.peer, self.bytes_max));
        let read = self.cold.run(asked, move |room| this.read(from, Access::Disk, Some(room))).await??;
        read.ok_or_else(|| Refusal::System("the disk was not asked".into()))
    }

    async fn answer_from_disk(self: Arc<Self>, from: i64, hold: Option<Duration>) -> Command {
        match (self.read_from_disk(from).await, hold) {
            (Ok(read), Some(time)) if read.is_to_wait() => self.hold(from, time).await,
            (Ok(read), _) => self.answer(read),
            (Err(refusal), _) => refusal.into(),
        }
    }

    /// Reads from `from` on, as far as `access` goes; `room` is for what comes from the disk. `None` if it takes the disk.
    /// Refuses if the queue or the log cannot be read: clients then wait a moment before they try again.
    fn read(&self, from: i64, access: Access, room: Option<Room>) -> Result<Option<Read>, Refusal> {
        let stored = &self.queue.stored;
        // One that is held may find it so as well.
        stored.ready()?;
        let (min, max) = (stored.min_offset().0, stored.max_offset().0);
        let mut read =
            Read { status: Status::EndOfQueue, next: max, min, max, body: Default::default(), slow: false };
        let group = self.group.group_name.as_str();
        let pull = (self.peer, from);
        if let Some(to) = self.offsets.redirected(group, self.topic.name(), self.queue_id, pull) {
            read.status = Status::Reset;
            read.next = to;
            return Ok(Some(read));
        }
        let Ok(from) = u64::try_from(from) else {
            // A negative offset is beyond the lower end.
            read.status = if max == 0 { Status::EmptyNow } else { Status::TooSmall };
            read.next = min;
            return Ok(Some(read));
        };
        read.status = match from {
            0 if max == 0 => Status::Empty,
            _ if max == 0 => Status::EmptyNow,
            _ if from < min => Status::TooSmall,
            _ if from == max => Status::EndOfQueue,
            _ if from > max => Status::TooLarge,
            _ => Status::NoMatch,
        };
        match read.status {
            Status::TooSmall => read.next = min,
            Status::NoMatch => {
                let mut units = UNITS.take();
                units.clear();
                let all = self.collect(from, (access, room), &mut read, &mut units);
                if units.capacity() > UNITS_KEPT_MAX {
                    units = Vec::new();
                }
                UNITS.set(units);
                if !all? {
                    return Ok(None);
                }
            }
            _ => {}
        }
        Ok(Some(read))
    }

    /// False if there is nothing to give without the disk.
    fn collect(
        &self,
        from: u64,
        (access, room): (Access, Option<Room>),
        read: &mut Read,
        units: &mut Vec<Unit>,
    ) -> Result<bool, Refusal> {
        let mut reader = self.store.reader(&self.queue.stored, access);
        let looked_at = if self.filter == Filter::All { self.messages_max } else { self.units_max };
        match reader.units(QueueOffset(from), looked_at.max(1), units) {
            Ok(true) => return Ok(false),
            Ok(false) => {}
            Err(error) => {
                tracing::error!(%error, "a consume queue cannot be read");
                if units.is_empty() {
                    return Err(Refusal::System(format!("the consume queue cannot be read: {error}")));
                }
            }
        }
        read.next = from;
        let (mut messages, mut bytes) = (0, 0);
        let mut search = None;
        let (end, readable) = (self.store.max_physical().0, self.store.readable_to().0);
        let is_old = |unit: &Unit| end.saturating_sub(unit.physical.0) > self.memory_bytes;
        for unit in units.iter() {
            if !unit.is_filler() && unit.physical.0 + u64::from(unit.size) > readable {
                // As if it were not there; when it is on the disk, who waits for it is woken.
                if read.next == from {
                    read.status = Status::EndOfQueue;
                }
                break;
            }
            let (mut messages_max, mut bytes_max) = (self.messages_max, self.bytes_max);
            if is_old(unit) {
                (messages_max, bytes_max) = (messages_max.min(self.old_max.0), bytes_max.min(self.old_max.1));
            }
            if messages > 0 && (messages >= messages_max || bytes + unit.size as usize > bytes_max) {
                break;
            }
            read.next += 1;
            if unit.is_filler() || !self.filter.wants(unit.tags_code) {
                continue;
            }
            match reader.record(QueueOffset(read.next - 1), unit) {
                Ok(record) if !self.filter.wants_record(&record) => {
                    if search.get_or_insert_with(Instant::now).elapsed() > SEARCH_TIME_MAX {
                        break;
                    }
                }
                Ok(record) => {
                    messages += 1;
                    bytes += record.len();
                    read.status = Status::Found;
                    read.body.push(record);
                }
                // As a filler: those behind it are given.
                Err(ReadError::Damaged) => {}
                Err(ReadError::Gone) if messages == 0 => read.status = Status::Removed,
                Err(ReadError::Gone) => {}
                // What was passed over so far need not be looked at again.
                Err(error) => {
                    read.next -= 1;
                    if read.next > from {
                        break;
                    }
                    return match error {
                        ReadError::Cold => Ok(false),
                        error => Err(Refusal::System(format!("the commit log cannot be read: {error}"))),
                    };
                }
            }
        }
        if messages > 0 && reader.gave_buffers() {
            let Some(room) = room.or_else(|| self.cold.room_now(bytes)) else { return Ok(false) };
            read.body = room.hold(&read.body);
        }
        // The last unit looked at, as Java has it.
        let last = units.get((read.next - from).saturating_sub(1) as usize);
        read.slow = last.is_some_and(is_old);
        if messages > 0 {
            self.stats.found(messages as u64, self.queue.of_system);
            self.queue.gave(&self.group.group_name, messages as u64, read.next);
        }
        Ok(true)
    }

    fn answer(&self, read: Read) -> Command {
        if read.status != Status::Found {
            self.stats.missed();
        }
        let mut answer = Command::new(read.status.code())
            .with("suggestWhichBrokerId", if read.slow { self.broker_ids.1.0 } else { self.broker_ids.0.0 })
            .with("nextBeginOffset", read.next)
            .with("minOffset", read.min)
            .with("maxOffset", read.max)
            .with("topicSysFlag", self.topic.config().topic_sys_flag)
            .with("groupSysFlag", self.group.group_sys_flag);
        answer.remark = Some(read.status.remark().into());
        answer.body = read.body;
        answer
    }

    /// Waits for a message that is wanted, for `time` at most.
    async fn hold(self: Arc<Self>, from: i64, time: Duration) -> Command {
        let deadline = tokio::time::Instant::now() + time;
        let mut from = from;
        loop {
            let mut arrived = pin!(self.queue.arrived.notified());
            // From here on no append is missed, so what came before is looked for now.
            arrived.as_mut().enable();
            let read = match self.read_anywhere(from).await {
                Ok(read) => read,
                Err(refusal) => return refusal.into(),
            };
            let next = i64::try_from(read.next).unwrap_or(i64::MAX);
            match read.status {
                Status::Empty | Status::EndOfQueue => {}
                // What is not wanted is passed over while the pull is held.
                Status::NoMatch if next > from && tokio::time::Instant::now() < deadline => {
                    from = next;
                    tokio::task::yield_now().await;
                    continue;
                }
                _ => return self.answer(read),
            }
            if tokio::time::timeout_at(deadline, arrived).await.is_err() {
                return self.read_anywhere(from).await.map_or_else(Command::from, |read| self.answer(read));
            }
        }
    }
}

#[cfg(test)]
mod tests;
