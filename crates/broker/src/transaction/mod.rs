// SPDX-License-Identifier: Apache-2.0
//! Transactional messages: stored as half messages, which nobody consumes, and let go or dropped when their producer
//! says so; a producer that says nothing is asked.
//!
//! ```text
//! send with TRAN_MSG    half message -> RMQ_SYS_TRANS_HALF_TOPIC      and into the table (`pending`)
//! END_TRANSACTION (37)  committed message -> its topic, op behind it  and out of the table
//!                       rolled back: the op only
//! every check interval  CHECK_TRANSACTION_STATE (39) -> any producer of the group, for halves older than the timeout
//!                       after `transactionCheckMax` of them -> TRANS_CHECK_MAX_TIME_TOPIC, op behind it
//! ```
//! An op in `RMQ_SYS_TRANS_OP_HALF_TOPIC` names the half that is done with. What follows from both queues is the table; it
//! is built at the start by reading them from where the group `CID_RMQ_SYS_TRANS` has committed (`load`). A Java broker,
//! 4.9 or 5.x, goes on with what is left here, and the other way round.
//!
//! Invariants
//! - One lock orders the ends: of several for one half, the first that stores its op wins, the others change nothing.
//! - A committed message and its op are appended together, so that no crash comes between them but one that tears the
//!   log in that very place; the start looks there.
//! - The committed offset of the half queue is at most that of the first half that waits; that of the op queue is at
//!   most that of the first op for it or for one behind it.
//!
//! What Java does otherwise and we do not: there each check stores the half anew, also when nobody is there to be asked
//! and also while it is immune to checks, and each counts (apache/rocketmq#8311). Here a check counts when it was sent;
//! halves are stored anew only if they get old or far behind. A half that cannot be handled now stays in the table and is
//! taken up in the next round (apache/rocketmq#9500).
//!
//! Java: `TransactionalMessageServiceImpl`, `TransactionalMessageBridge`, `EndTransactionProcessor`,
//! `AbstractTransactionalMessageCheckListener`.

mod load;
mod pending;
mod rewrite;
#[cfg(test)]
mod tests;

use crate::{
    clients::Clients,
    cold::ColdReads,
    delay,
    groups::now_ms,
    live::Live,
    offsets::{Commit, Committer, Offsets},
    persist::LoadError,
    puts::Puts,
    refusal::Refusal,
    topics::Topics,
};
use bytes::Bytes;
use oxmq_net::{Answer, Peer, Request};
use oxmq_record::{
    Draft, Encoder, MessageId, PROPERTIES_LENGTH_MAX, RecordView, properties, stamp, sys_flag,
};
use oxmq_remoting::{
    Command, RequestHeader,
    bodies::TopicConfig,
    code,
    requests::{EndTransaction, ResumeCheckHalfMessage},
};
use oxmq_store::{Access, Appended, Queue, ReadError, Store};
use oxmq_types::{CHECK_MAX_TIME_TOPIC, HALF_TOPIC, OP_HALF_TOPIC, Perm, PhysicalOffset, QueueOffset};
use pending::{Action, Half, Next, Pending, Rules};
use rewrite::QUEUE;
use std::{
    borrow::Cow,
    marker::PhantomData,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{sync::Notify, time::Instant};
use tracing::{debug, error, info, warn};

/// The group whose committed offsets say how far both queues are done with.
pub(crate) const GROUP: &str = "CID_RMQ_SYS_TRANS";
/// Most half messages that may wait: about 1 GB of table.
const PENDING_MAX: usize = 10_000_000;
/// How long a round waits for answers before it goes on.
const ANSWER_WAIT: Duration = Duration::from_millis(200);
const COMMIT: i32 = sys_flag::COMMIT;
const ROLLBACK: i32 = sys_flag::ROLLBACK;

/// How a broker treats transactions.
#[derive(Debug, Clone)]
pub struct TransactionRules {
    /// `brokerName`, for those who are asked.
    pub broker: String,
    /// Address of the broker as clients know it.
    pub store_host: SocketAddr,
    /// `transactionTimeOut`: younger half messages are not checked, in ms.
    pub timeout_ms: i64,
    /// `transactionCheckInterval`: time between two checks of a half message.
    pub check_interval: Duration,
    /// `transactionCheckMax`: checks before a half message is discarded.
    pub checks_max: u32,
    /// `rejectTransactionMessage`.
    pub rejected: bool,
    /// Half messages older than this are stored anew, so that they outlive their segment; well below `fileReservedTime`.
    pub renew_after: Duration,
    /// Half messages that so many others follow are stored anew: a start reads so many.
    pub renew_behind: u64,
    /// With `SYNC_FLUSH`, how long an answer waits for the disk. `None` with `ASYNC_FLUSH`.
    pub sync_flush_timeout: Option<Duration>,
}

impl TransactionRules {
    /// Java's defaults.
    #[must_use]
    pub fn new(broker: String, store_host: SocketAddr) -> Self {
        Self {
            broker,
            store_host,
            timeout_ms: 6_000,
            check_interval: Duration::from_secs(30),
            checks_max: 15,
            rejected: false,
            renew_after: Duration::from_secs(18 * 3600),
            renew_behind: 250_000,
            sync_flush_timeout: None,
        }
    }
}

/// Keeps half messages and ends transactions. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Transactions {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Arc<Store>,
    puts: Puts,
    topics: Topics,
    offsets: Offsets,
    clients: Clients,
    cold: ColdReads,
    rules: Live<TransactionRules>,
    halves: Arc<Queue>,
    ops: Arc<Queue>,
    /// Held while half messages, their ends and their ops are appended: what the table says and what the queues say
    /// is then the same.
    pending: Mutex<Pending>,
    /// What is committed of both queues as soon as the log is durable so far: else a crash could take the end of a
    /// transaction from the log whose half message nobody looks at again.
    noted: Mutex<Progress>,
    /// A check was answered.
    answered: Notify,
    next_producer: AtomicUsize,
}

impl Transactions {
    /// Finds the half messages that wait.
    ///
    /// # Errors
    /// If one of both queues cannot be read.
    pub(crate) fn open(
        (store, puts, topics): (Arc<Store>, Puts, Topics),
        (offsets, clients): (Offsets, Clients),
        (rules, cold): (TransactionRules, ColdReads),
    ) -> Result<Self, LoadError> {
        let queue =
            |topic: &str| store.queue_when_built(topic, QUEUE).map_err(|error| load::failed(topic, &error));
        let (halves, ops) = (queue(HALF_TOPIC)?, queue(OP_HALF_TOPIC)?);
        let pending = Pending::new(Rules {
            checks_max: rules.checks_max.max(1),
            renew_after_ms: i64::try_from(rules.renew_after.as_millis()).unwrap_or(i64::MAX),
            renew_behind: rules.renew_behind,
        });
        let shared = Shared {
            store,
            puts,
            topics,
            offsets,
            clients,
            cold,
            rules: Live::new(rules),
            halves,
            ops,
            pending: Mutex::new(pending),
            noted: Mutex::default(),
            answered: Notify::new(),
            next_producer: AtomicUsize::new(0),
        };
        shared.load()?;
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Takes over what may change while the broker runs: times and numbers of checks, and whether there are any
    /// transactions. The next round begins when the old interval is over.
    pub(crate) fn change(&self, new: &TransactionRules) {
        let TransactionRules { timeout_ms, check_interval, checks_max, rejected, sync_flush_timeout, .. } =
            *new;
        let now = TransactionRules::clone(&self.shared.rules.get());
        let sync_flush_timeout = now.sync_flush_timeout.and(sync_flush_timeout);
        self.shared.pending().set_checks_max(checks_max.max(1));
        self.shared.rules.set(TransactionRules {
            timeout_ms,
            check_interval,
            checks_max,
            rejected,
            sync_flush_timeout,
            ..now
        });
    }

    /// Stores a message of a transaction until that ends.
    ///
    /// `producer_group`: that of the request.
    ///
    /// # Errors
    /// [`Refusal`] if the broker takes none, the group is illegal, or the store takes it not.
    pub(crate) fn half(&self, draft: &Draft<'_>, producer_group: Cow<'_, str>) -> Result<Appended, Refusal> {
        let shared = &*self.shared;
        if shared.rules.get().rejected {
            return Err(Refusal::TransactionsRejected(shared.rules.get().store_host.ip().to_string()));
        }
        let (properties, group) = rewrite::half_properties(draft, producer_group)?;
        let mut longest = Cow::Borrowed(&properties);
        if delay::is_delayed(draft.properties) {
            // It is delayed when it is committed; then it is too late to say that it cannot be.
            let target = (draft.topic, draft.queue_id);
            shared.puts.delays().redirect(target, longest.to_mut())?;
        }
        if longest.len() + rewrite::ADDED_MAX > PROPERTIES_LENGTH_MAX {
            return Err(shared.puts.too_large());
        }
        let facts = |appended: &Appended| {
            let times = (draft.born_timestamp_ms, appended.store_timestamp_ms);
            rewrite::facts(&properties, times, shared.rules.get().timeout_ms)
        };
        let mut pending = shared.pending();
        if pending.len() >= PENDING_MAX {
            return Err(Refusal::ServiceNotAvailable(format!("{PENDING_MAX} half messages wait already")));
        }
        let op_offset = shared.ops.max_offset().0;
        let appended = shared.puts.put_as_is(&rewrite::half(draft, &properties))?;
        let facts = facts(&appended);
        pending.seen(&group, new_half(&appended, op_offset, (facts.due_ms, facts.key)));
        Ok(appended)
    }

    /// END_TRANSACTION (37).
    pub(crate) fn end(&self, request: Request<'_>) -> Result<Answer, Refusal> {
        let header = EndTransaction::from_fields(&request.header.fields)?;
        let header = EndTransaction {
            producer_group: Cow::from(header.producer_group.into_owned()),
            half_queue_offset: header.half_queue_offset,
            half_physical_offset: header.half_physical_offset,
            outcome: header.outcome,
            from_check: header.from_check,
            lifetime: PhantomData,
        };
        // What is negative is beyond the end.
        let at = PhysicalOffset(u64::try_from(header.half_physical_offset).unwrap_or(u64::MAX));
        let (this, peer) = (self.clone(), request.peer.clone());
        self.with_record(at, request.peer, move |record| {
            this.shared.end((&header, record), &peer, now_ms()).map(|ended| match ended {
                None => Answer::Nothing,
                Some(end) => this.answer(end),
            })
        })
    }

    fn with_record(
        &self,
        at: PhysicalOffset,
        peer: &Peer,
        then: impl FnOnce(Result<Bytes, ReadError>) -> Result<Answer, Refusal> + Send + 'static,
    ) -> Result<Answer, Refusal> {
        self.shared.cold.with_record((&self.shared.store, at), peer, then)
    }

    /// RESUME_CHECK_HALF_MESSAGE (323): a half message that was discarded waits again.
    pub(crate) fn resume(&self, request: Request<'_>) -> Result<Answer, Refusal> {
        let header = ResumeCheckHalfMessage::from_fields(&request.header.fields)?;
        let id: MessageId = header
            .message_id
            .parse()
            .map_err(|error| Refusal::System(format!("the message cannot wait again: {error}")))?;
        let this = self.clone();
        self.with_record(id.physical_offset, request.peer, move |record| {
            this.shared.resume(record).map(|end| this.answer(Some(end)))
        })
    }

    /// Success, when the log is durable up to `end`; without an end, nothing was changed.
    fn answer(&self, end: Option<PhysicalOffset>) -> Answer {
        let Some(end) = end else {
            let remark = "the half message does not wait: it was committed, rolled back, discarded or stored anew; \
                          nothing was changed";
            return Answer::Now(Command { remark: Some(remark.into()), ..Command::success() });
        };
        let timeout = self.shared.rules.get().sync_flush_timeout;
        if timeout.is_none() {
            return Answer::Now(Command::success());
        }
        let on_disk = self.shared.puts.on_disk(end, timeout);
        Answer::later(async move {
            Command::new(if on_disk.await { code::SUCCESS } else { code::FLUSH_DISK_TIMEOUT })
        })
    }

    /// Asks producers for the state of transactions that did not end, round by round.
    pub(crate) async fn run(self) {
        let mut next_round = Instant::now();
        loop {
            next_round = (next_round + self.shared.rules.get().check_interval).max(Instant::now());
            tokio::time::sleep_until(next_round).await;
            self.shared.begin_round();
            loop {
                let answered = self.shared.answered.notified();
                // Half messages may be days old, and have to be read from the disk.
                let shared = self.shared.clone();
                let step = tokio::task::spawn_blocking(move || shared.step(now_ms())).await;
                match step.unwrap_or(Step::Done) {
                    Step::Worked => {}
                    Step::Waits => drop(tokio::time::timeout(ANSWER_WAIT, answered).await),
                    Step::Done => break,
                }
            }
            self.shared.note_progress();
        }
    }

    /// Commits how far both queues are done with, before the program ends. Waits for the disk.
    pub(crate) fn commit_progress(&self) {
        let progress = self.shared.progress();
        if self.shared.store.flush().is_ok() {
            self.shared.commit(progress);
        }
    }

    /// Half messages that wait and stand below `physical` in the log.
    pub(crate) fn waiting_below(&self, physical: PhysicalOffset) -> u64 {
        self.shared.pending().below(physical.0)
    }
}

/// How far both queues are done with.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    half: QueueOffset,
    op: QueueOffset,
    /// The end of the log when that was so.
    log: PhysicalOffset,
}

/// What came of a step of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Worked,
    Waits,
    Done,
}

fn new_half(appended: &Appended, op_offset: u64, (due_ms, key): (i64, u64)) -> Half {
    Half {
        offset: appended.queue_offset.0,
        first: appended.queue_offset.0,
        physical: appended.physical.0,
        size: u32::try_from(appended.end.0 - appended.physical.0).unwrap_or(u32::MAX),
        op_offset,
        stored_ms: appended.store_timestamp_ms,
        due_ms,
        checks: 0,
        key,
    }
}

impl Shared {
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends a transaction: the end of what was stored for it. `Some(None)` if the half message does not wait, `None` if
    /// the producer does not know.
    fn end(
        &self,
        (header, record): (&EndTransaction<'_>, Result<Bytes, ReadError>),
        peer: &Peer,
        now_ms: i64,
    ) -> Result<Option<Option<PhysicalOffset>>, Refusal> {
        let group = header.producer_group.as_ref();
        // -1, which no half has, for what is negative.
        let offset = u64::try_from(header.half_queue_offset).unwrap_or(u64::MAX);
        if header.from_check == Some(true) {
            self.pending().answered(group, offset, now_ms);
            self.answered.notify_one();
        }
        match header.outcome {
            COMMIT | ROLLBACK => {}
            0 => {
                debug!(group, offset, peer = %peer.remote(), "the producer does not know the state of a transaction");
                return Ok(None);
            }
            _ => return Err(Refusal::System("commitOrRollback field wrong".into())),
        }
        let record = record.map_err(|_| Refusal::NoHalf("Find prepared transaction message failed"))?;
        let half = RecordView::parse(&record).map_err(|error| Refusal::System(error.to_string()))?;
        if half.topic() != HALF_TOPIC {
            return Err(Refusal::NoHalf("what is stored there is not a half message"));
        }
        if rewrite::group(&half) != group {
            return Err(Refusal::NoHalf("The producer group wrong"));
        }
        if half.queue_offset().0 != offset {
            return Err(Refusal::NoHalf("The transaction state table offset wrong"));
        }
        if header.from_check != Some(true) && rewrite::is_too_late(&half, self.rules.get().timeout_ms, now_ms)
        {
            return Err(Refusal::TransactionTooLate);
        }
        let mut pending = self.pending();
        let Some(found) = pending.find(group, offset) else { return Ok(Some(None)) };
        let op_body = found.offset.to_string();
        let op = rewrite::op(&op_body, self.rules.get().store_host, now_ms);
        let end = if header.outcome == COMMIT {
            let message = rewrite::committed(&half, PhysicalOffset(found.physical));
            let message = message.ok_or(Refusal::NoHalf("the half message does not name its topic"))?;
            self.puts.put_with(&message, &op)?[1].end
        } else {
            self.puts.put_as_is(&op)?.end
        };
        pending.ended(group, &found);
        Ok(Some(Some(end)))
    }

    fn resume(&self, record: Result<Bytes, ReadError>) -> Result<PhysicalOffset, Refusal> {
        let record = record.map_err(|_| Refusal::NoHalf("Find prepared transaction message failed"))?;
        let discarded = RecordView::parse(&record).map_err(|error| Refusal::System(error.to_string()))?;
        if discarded.topic() != CHECK_MAX_TIME_TOPIC {
            return Err(Refusal::NoHalf("what is stored there is not a half message that was discarded"));
        }
        let properties = rewrite::resumed_properties(&discarded);
        let draft = rewrite::moved(&discarded, HALF_TOPIC, &properties);
        let (group, key) = (rewrite::group(&discarded), rewrite::key(&properties));
        let mut pending = self.pending();
        if pending.has_key(&group, key) {
            return Err(Refusal::NoHalf("a half message of that group and unique key waits already"));
        }
        let op_offset = self.ops.max_offset().0;
        let appended = self.puts.put_as_is(&draft)?;
        pending.seen(&group, new_half(&appended, op_offset, (appended.store_timestamp_ms, key)));
        Ok(appended.end)
    }

    fn begin_round(&self) {
        let mut pending = self.pending();
        let end = self.halves.max_offset().0;
        pending.begin_round(end);
    }

    /// Does the next part of a round.
    fn step(&self, now_ms: i64) -> Step {
        let online = |group: &str| self.clients.has_producer(group);
        let next = self.pending().next(now_ms, online);
        match next {
            Next::Do(group, actions) => {
                actions.into_iter().for_each(|action| self.perform(&group, action, now_ms));
                Step::Worked
            }
            Next::Offline(group, halves) => {
                warn!(%group, halves, "half messages wait, and no producer of their group is connected");
                Step::Worked
            }
            Next::Wait => Step::Waits,
            Next::Done => Step::Done,
        }
    }

    fn perform(&self, group: &str, action: Action, now_ms: i64) {
        match action {
            Action::Check(half) => self.check(group, half, now_ms),
            Action::Renew(half) => drop(self.renew(group, half, now_ms)),
            Action::RenewAndCheck(half) => {
                // If it cannot be stored anew now, the old one can still be ended.
                let half = self.renew(group, half, now_ms).unwrap_or(half);
                self.check(group, half, now_ms);
            }
            Action::Discard(half) => self.discard(group, half, now_ms),
        }
    }

    /// The record of a half that waits, unless the log lost it. May wait for the disk.
    fn record(&self, group: &str, half: &Half) -> Option<Bytes> {
        let (offset, physical) = (half.offset, half.physical);
        match self.store.record(PhysicalOffset(physical), Access::Disk) {
            Ok(record) => return Some(record),
            Err(ReadError::Gone | ReadError::Damaged) => {
                error!(group, offset, physical, "the log has lost a half message");
                self.pending().ended(group, half);
            }
            // The next round tries again.
            Err(error) => error!(group, offset, physical, %error, "a half message cannot be read"),
        }
        None
    }

    /// Asks a producer of the group what became of the transaction.
    fn check(&self, group: &str, half: Half, now_ms: i64) {
        let turn = self.next_producer.fetch_add(1, Ordering::Relaxed);
        // They may have gone since the round looked.
        let Some(producer) = self.clients.next_producer(group, turn) else { return };
        let Some(record) = self.record(group, &half) else { return };
        let Ok(view) = RecordView::parse(&record) else { return };
        let Some(command) = self.check_command(&view, &half) else {
            warn!(group, offset = half.offset, "a half message does not name its topic");
            return;
        };
        let mut pending = self.pending();
        // Meanwhile it may have ended.
        if pending.find(group, half.first).is_some() {
            producer.send(command);
            pending.sent(group, half.offset, now_ms);
        }
    }

    fn check_command(&self, view: &RecordView<'_>, half: &Half) -> Option<Command> {
        let properties = rewrite::counted_properties(view, half.checks + 1);
        let message = rewrite::real(view, &properties)?;
        let mut body = Vec::with_capacity(view.bytes().len() + 128);
        Encoder::new(usize::MAX).encode(&message, &mut body).ok()?;
        stamp(&mut body, QueueOffset(half.offset), PhysicalOffset(half.physical), view.store_timestamp_ms());
        let unique_key = view.property(properties::UNIQ_KEY).map(String::from_utf8_lossy);
        let mut command = Command::new(code::request::CHECK_TRANSACTION_STATE)
            .with("topic", HALF_TOPIC)
            .with("tranStateTableOffset", half.offset)
            .with("commitLogOffset", half.physical)
            .with("offsetMsgId", view.message_id().to_text())
            .with("bname", self.rules.get().broker.clone())
            .with_body(body);
        if let Some(unique_key) = unique_key {
            let unique_key = unique_key.into_owned();
            command = command.with("msgId", unique_key.clone()).with("transactionId", unique_key);
        }
        Some(command)
    }

    /// Stores a half anew, at the end of the log and of the half queue. `None` if that is impossible now.
    fn renew(&self, group: &str, half: Half, now_ms: i64) -> Option<Half> {
        let record = self.record(group, &half)?;
        let view = RecordView::parse(&record).ok()?;
        let mut pending = self.pending();
        let old = pending.find(group, half.first)?;
        let properties = rewrite::renewed_properties(&view, old.checks, old.first);
        let op_offset = self.ops.max_offset().0;
        let op_body = old.offset.to_string();
        let op = rewrite::op(&op_body, self.rules.get().store_host, now_ms);
        let stored = self.puts.put_as_is_with(&rewrite::moved(&view, HALF_TOPIC, &properties), &op);
        let [appended, _] = stored
            .inspect_err(
                |error| warn!(group, offset = half.offset, %error, "a half message could not be stored anew"),
            )
            .ok()?;
        let new = Half {
            first: old.first,
            checks: old.checks,
            ..new_half(&appended, op_offset, (old.due_ms, old.key))
        };
        pending.renewed(group, &old, new);
        Some(new)
    }

    /// Puts a half where people find it, as no producer could say what became of its transaction.
    fn discard(&self, group: &str, half: Half, now_ms: i64) {
        let Some(record) = self.record(group, &half) else { return };
        let Ok(view) = RecordView::parse(&record) else { return };
        let config = TopicConfig {
            topic_name: CHECK_MAX_TIME_TOPIC.to_owned(),
            read_queue_nums: 1,
            write_queue_nums: 1,
            perm: Perm::READ_WRITE.0,
            ..TopicConfig::default()
        };
        if self.topics.create(config).is_none() {
            return;
        }
        let mut pending = self.pending();
        let Some(half) = pending.find(group, half.first) else { return };
        let properties = rewrite::counted_properties(&view, half.checks);
        let op_body = half.offset.to_string();
        let op = rewrite::op(&op_body, self.rules.get().store_host, now_ms);
        let discarded = rewrite::moved(&view, CHECK_MAX_TIME_TOPIC, &properties);
        match self.puts.put_as_is_with(&discarded, &op) {
            Ok(_) => pending.ended(group, &half),
            Err(error) => {
                warn!(group, offset = half.offset, %error, "a half message could not be discarded");
                return;
            }
        }
        drop(pending);
        let text = |name| view.property(name).map(String::from_utf8_lossy).unwrap_or_default();
        info!(
            group, topic = %text(properties::REAL_TOPIC), keys = %text(properties::KEYS), unique_key = %text(properties::UNIQ_KEY),
            checks = half.checks, "a half message was discarded: no check found out what became of its transaction; it is in {CHECK_MAX_TIME_TOPIC}"
        );
    }

    fn progress(&self) -> Progress {
        let pending = self.pending();
        let log = self.store.max_physical();
        match pending.lowest() {
            Some((half, op)) => Progress { half: QueueOffset(half), op: QueueOffset(op), log },
            None => Progress { half: self.halves.max_offset(), op: self.ops.max_offset(), log },
        }
    }

    fn commit(&self, progress: Progress) {
        let now = std::time::Instant::now();
        for (queue, next) in [(&self.halves, progress.half), (&self.ops, progress.op)] {
            // As with Java's broker, tools see no group of transactions where there are none.
            if next == QueueOffset(0) {
                continue;
            }
            let end = queue.max_offset().0;
            // As a tool, for whom alone it counts whatever stands there: nobody else knows.
            let commit = Commit { next: next.0, end, by: Committer::Tool, now };
            self.offsets.commit(GROUP, queue.topic(), QUEUE, &commit);
        }
    }

    /// Commits what was noted last, if the log is durable so far, and notes how far it is now.
    fn note_progress(&self) {
        let progress = self.progress();
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if self.store.flushed_to() >= noted.log {
            if noted.log > PhysicalOffset(0) {
                self.commit(*noted);
            }
            *noted = progress;
        }
    }
}
