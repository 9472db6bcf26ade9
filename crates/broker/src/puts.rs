// SPDX-License-Identifier: Apache-2.0
//! Puts: the one way into the store, for what producers send and for what the broker's own parts store.
//!
//! Java: `MessageStore#putMessage` with its `PutMessageHook`s.

use crate::{
    delay::{self, Delays, Waiting},
    live::Live,
    refusal::Refusal,
    send::SendRules,
    stats::Stats,
    topics::{TopicQueue, Topics},
};
use oxmq_record::{Draft, EncodeError, Encoder, PROPERTIES_LENGTH_MAX, properties};
use oxmq_store::{AppendError, Appended, Entry, Store};
use oxmq_types::{PhysicalOffset, QueueId, TagsCode, is_system_topic};
use std::{
    cell::RefCell,
    ops::Range,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::sync::oneshot;

/// Takes messages into the store. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Puts {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Arc<Store>,
    topics: Topics,
    stats: Arc<Stats>,
    delays: Delays,
    /// Without a limit of bodies, which counts where messages come in: what the log has already must not be kept from
    /// going on by a limit that was lowered since.
    encoder: Encoder,
    rules: Live<SendRules>,
}

thread_local! {
    static RECORD: RefCell<Vec<u8>> = RefCell::default();
}

/// A thread's buffer above this size is given back.
pub(crate) const BUFFER_MAX_BYTES: usize = 1 << 20;

impl Puts {
    pub(crate) fn new(
        (store, topics): (Arc<Store>, Topics),
        stats: Arc<Stats>,
        delays: Delays,
        rules: Live<SendRules>,
    ) -> Self {
        let encoder = Encoder::new(usize::MAX).with_checksums(rules.get().record_checksums);
        Self { shared: Arc::new(Shared { store, topics, stats, delays, encoder, rules }) }
    }

    /// What makes messages wait for their time.
    pub(crate) fn delays(&self) -> &Delays {
        &self.shared.delays
    }

    /// Stores a message in its topic and queue or, if its properties say that it is to be delivered later, where such
    /// messages wait.
    ///
    /// # Errors
    /// [`Refusal`] if the store takes it not, or its delivery time is none.
    pub(crate) fn put(&self, draft: &Draft<'_>) -> Result<Appended, Refusal> {
        if !delay::is_delayed(draft.properties) {
            return self.put_as_is(draft);
        }
        let mut properties = draft.properties.to_vec();
        let target = (draft.topic, draft.queue_id);
        let Some(waiting) = self.shared.delays.redirect(target, &mut properties)? else {
            return self.put_as_is(draft);
        };
        let draft =
            Draft { topic: waiting.topic, queue_id: waiting.queue_id, properties: &properties, ..*draft };
        self.put_waiting(&draft, &waiting)
    }

    /// Stores a message where it waits: `draft` is what the [`Delays`] made of it when they said `waiting`.
    ///
    /// # Errors
    /// [`Refusal`] if the store takes it not.
    pub(crate) fn put_waiting(&self, draft: &Draft<'_>, waiting: &Waiting) -> Result<Appended, Refusal> {
        let appended = self.put_coded(draft, waiting.tags_code)?;
        self.shared.delays.arrived(waiting.due_ms, appended.queue_offset.0);
        Ok(appended)
    }

    /// Stores a message exactly where it says, whatever its properties say, even in a topic that has no settings any
    /// more.
    ///
    /// # Errors
    /// [`Refusal`] if the store takes it not.
    pub(crate) fn put_as_is(&self, draft: &Draft<'_>) -> Result<Appended, Refusal> {
        self.put_coded(draft, properties::tags_code(draft.properties))
    }

    /// Stores a dead letter as [`Self::put_as_is`] does. Java counts it with what the broker took, but not with what was
    /// sent by applications.
    ///
    /// # Errors
    /// As [`Self::put_as_is`].
    pub(crate) fn put_dead(&self, draft: &Draft<'_>) -> Result<Appended, Refusal> {
        let appended = self.put_as_is(draft)?;
        self.shared.stats.dead();
        Ok(appended)
    }

    /// Stores a message as [`Self::put`] does, and `behind` directly behind it in the log: both or none.
    ///
    /// # Errors
    /// As [`Self::put`].
    pub(crate) fn put_with(&self, draft: &Draft<'_>, behind: &Draft<'_>) -> Result<[Appended; 2], Refusal> {
        if !delay::is_delayed(draft.properties) {
            return self.put_as_is_with(draft, behind);
        }
        let mut properties = draft.properties.to_vec();
        let target = (draft.topic, draft.queue_id);
        let Some(waiting) = self.shared.delays.redirect(target, &mut properties)? else {
            return self.put_as_is_with(draft, behind);
        };
        let draft =
            Draft { topic: waiting.topic, queue_id: waiting.queue_id, properties: &properties, ..*draft };
        let appended = self.put_both((&draft, waiting.tags_code), behind)?;
        self.shared.delays.arrived(waiting.due_ms, appended[0].queue_offset.0);
        Ok(appended)
    }

    /// Stores a message as [`Self::put_as_is`] does, and `behind` directly behind it in the log: both or none.
    ///
    /// # Errors
    /// As [`Self::put_as_is`].
    pub(crate) fn put_as_is_with(
        &self,
        draft: &Draft<'_>,
        behind: &Draft<'_>,
    ) -> Result<[Appended; 2], Refusal> {
        self.put_both((draft, properties::tags_code(draft.properties)), behind)
    }

    fn put_both(
        &self,
        (draft, tags_code): (&Draft<'_>, TagsCode),
        behind: &Draft<'_>,
    ) -> Result<[Appended; 2], Refusal> {
        let queues = [self.queue(draft.topic, draft.queue_id)?, self.queue(behind.topic, behind.queue_id)?];
        let mut records = Vec::with_capacity(draft.body.len() + draft.properties.len() + 1024);
        let ranges = [self.encode(draft, &mut records)?, self.encode(behind, &mut records)?];
        let codes = [tags_code, properties::tags_code(behind.properties)];
        let entry =
            |at: usize| Entry { queue: &queues[at].stored, range: ranges[at].clone(), tags_code: codes[at] };
        let mut appended = Vec::with_capacity(2);
        let result = self.shared.store.append_all(&mut records, &[entry(0), entry(1)], &mut appended);
        result.map_err(|error| self.failed(error))?;
        for (at, queue) in queues.iter().enumerate() {
            self.stored(queue, appended[at].end, 1, ranges[at].len());
        }
        Ok([appended[0], appended[1]])
    }

    fn put_coded(&self, draft: &Draft<'_>, tags_code: TagsCode) -> Result<Appended, Refusal> {
        let queue = self.queue(draft.topic, draft.queue_id)?;
        // Taken out while it is used: nothing below comes back here, but a bug there must not become a panic here.
        let mut record = RECORD.take();
        record.clear();
        let appended = self
            .encode(draft, &mut record)
            .and_then(|range| self.append(&queue, &mut record[range], tags_code));
        if record.capacity() > BUFFER_MAX_BYTES {
            record = Vec::new();
        }
        RECORD.set(record);
        appended
    }

    fn queue(&self, topic: &str, id: QueueId) -> Result<Arc<TopicQueue>, Refusal> {
        match self.shared.topics.get(topic) {
            Some(topic) => topic.queue(id),
            // Nobody can pull from it, so nobody has to be woken.
            None => {
                let stored = self.shared.store.queue(topic, id)?;
                Ok(Arc::new(TopicQueue::new(stored, is_system_topic(topic))))
            }
        }
    }

    /// Encodes a message behind what `records` holds, and says where.
    ///
    /// A checksum of all of the record shows recovery after a crash that zeros in its properties are what was sent, and
    /// not what never reached the disk. One that leaves no room for it goes without.
    pub(crate) fn encode(&self, draft: &Draft<'_>, records: &mut Vec<u8>) -> Result<Range<usize>, Refusal> {
        let encoder = self.shared.encoder;
        let with_zeros = draft.properties.contains(&0);
        let checked =
            with_zeros.then(|| encoder.with_checksums(true).encode(draft, records)).and_then(Result::ok);
        let encoded = checked.map_or_else(|| encoder.encode(draft, records), Ok);
        encoded.map_err(|error| match error {
            EncodeError::BodyTooLarge { .. } | EncodeError::PropertiesTooLarge { .. } => self.too_large(),
            other => Refusal::MessageIllegal(other.to_string()),
        })
    }

    /// Refuses bodies and properties of strangers that are larger than allowed, before anything is done with them.
    pub(crate) fn admit(&self, body: &[u8], properties: &[u8]) -> Result<(), Refusal> {
        if body.len() > self.shared.rules.get().body_max_bytes || properties.len() > PROPERTIES_LENGTH_MAX {
            return Err(self.too_large());
        }
        Ok(())
    }

    /// The refusal of a message that is larger than allowed.
    pub(crate) fn too_large(&self) -> Refusal {
        Refusal::MessageIllegal(format!(
            "the message is illegal, maybe msg body or properties length not matched. \
             msg body length limit {}B, msg properties length limit 32KB.",
            self.shared.rules.get().body_max_bytes
        ))
    }

    /// Appends one encoded message and wakes those who wait for it.
    pub(crate) fn append(
        &self,
        queue: &Arc<TopicQueue>,
        record: &mut [u8],
        tags_code: TagsCode,
    ) -> Result<Appended, Refusal> {
        let size = record.len();
        let appended = self.shared.store.append(&queue.stored, record, tags_code);
        let appended = appended.map_err(|error| self.failed(error))?;
        self.stored(queue, appended.end, 1, size);
        Ok(appended)
    }

    /// Appends encoded messages of one queue, all or none, and wakes those who wait for them.
    pub(crate) fn append_all(
        &self,
        queue: &Arc<TopicQueue>,
        records: &mut [u8],
        entries: &[Entry<'_>],
    ) -> Result<Vec<Appended>, Refusal> {
        let mut appended = Vec::with_capacity(entries.len());
        let size = records.len();
        let result = self.shared.store.append_all(records, entries, &mut appended);
        result.map_err(|error| self.failed(error))?;
        if let Some(last) = appended.last() {
            self.stored(queue, last.end, appended.len() as u64, size);
        }
        Ok(appended)
    }

    /// Waits until the log is on the disk up to `end`, unless no `timeout` says that it matters. False if the disk fails
    /// or takes longer, which are the same to who asks: it cannot rely on what it stored.
    pub(crate) fn on_disk(
        &self,
        end: PhysicalOffset,
        timeout: Option<Duration>,
    ) -> impl Future<Output = bool> + use<> {
        let store = self.shared.store.clone();
        async move {
            let Some(timeout) = timeout else { return true };
            let (tell, told) = oneshot::channel();
            store.wait_flushed(end, Box::new(|result| drop(tell.send(result))));
            matches!(tokio::time::timeout(timeout, told).await, Ok(Ok(Ok(()))))
        }
    }

    fn stored(&self, queue: &Arc<TopicQueue>, end: PhysicalOffset, messages: u64, bytes: usize) {
        let store = &self.shared.store;
        if store.readable_to() >= end {
            queue.arrived.notify_waiters();
        } else {
            let queue = queue.clone();
            store.wait_flushed(end, Box::new(move |_| queue.arrived.notify_waiters()));
        }
        queue.sent.fetch_add(messages, Ordering::Relaxed);
        self.shared.stats.put(messages, bytes as u64, queue.of_system);
    }

    fn failed(&self, error: AppendError) -> Refusal {
        self.shared.stats.put_failed();
        match error {
            AppendError::TooLarge { .. } => Refusal::MessageIllegal(error.to_string()),
            AppendError::NotARecord { .. } => Refusal::System(error.to_string()),
            AppendError::QueueDeleted { topic, .. } => Refusal::NoTopic(topic),
            // What tools and people know from Java.
            AppendError::DiskNearlyFull(_) => Refusal::ServiceNotAvailable(format!(
                "service not available now. It may be caused by one of the following reasons: {error}, \
                 messages are put to the slave, message store has been shut down, etc."
            )),
            // The code that clients of every version try again at another broker.
            _ => Refusal::ServiceNotAvailable(format!("service not available now: {error}")),
        }
    }
}
