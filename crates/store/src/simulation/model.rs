// SPDX-License-Identifier: Apache-2.0
//! What ought to be in a store.

use std::collections::{BTreeMap, BTreeSet};

use oxmq_record::{Draft, Encoder, RecordView, properties, sys_flag};
use oxmq_types::{PhysicalOffset, QueueId};

use crate::{KeyQuery, Store, Unit, tags_of};

/// A message as it was appended.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) topic: String,
    pub(super) queue_id: u32,
    /// `None`: it has no place in its queue.
    pub(super) queue_offset: Option<u64>,
    /// The whole record, with what the store wrote into it.
    pub(super) bytes: Vec<u8>,
    pub(super) keys: Vec<String>,
    /// Those that were appended together and go into one segment have one number.
    pub(super) group: Option<u64>,
    /// It may be missing: its topic was deleted, or was to be.
    pub(super) deleted: bool,
    /// The process died while it was appended.
    pub(super) unsure: bool,
}

/// What ought to be in a store.
#[derive(Debug, Default)]
pub(super) struct Model {
    /// By physical offset.
    pub(super) log: BTreeMap<u64, Message>,
    /// Queues by topic and number, with the offset that the next message gets.
    pub(super) queues: BTreeMap<(String, u32), u64>,
    /// Up to where somebody was told that the log is durable.
    pub(super) promised: u64,
    /// Where the log ends.
    end: u64,
    /// The same without what was appended while the process died.
    sure_end: u64,
    /// Physical offsets of messages that the store let go of though their bytes may be whole: they follow one that a
    /// power loss took. A query by key may find them.
    ghosts: BTreeMap<u64, Message>,
    /// Topics of which nobody knows whether they were deleted.
    pub(super) half_deleted: BTreeSet<String>,
    /// Topics that were deleted some time.
    ever_deleted: BTreeSet<String>,
}

/// What a crash may take away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loss {
    Nothing,
    /// What nobody was told to be durable.
    Unflushed,
}

/// What a look into the store after a crash found.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Found {
    pub(super) kept: u64,
    pub(super) lost: u64,
}

/// A record to be appended, made by `encoder`.
pub(super) fn record(
    encoder: Encoder,
    (topic, queue_id): (&str, u32),
    flags: i32,
    body: &[u8],
    keys: &[String],
) -> Vec<u8> {
    let mut all = Vec::new();
    properties::append(&mut all, properties::TAGS, topic.as_bytes());
    if let Some((unique, others)) = keys.split_first() {
        properties::append(&mut all, properties::UNIQ_KEY, unique.as_bytes());
        if !others.is_empty() {
            properties::append(&mut all, properties::KEYS, others.join(" ").as_bytes());
        }
    }
    let draft = Draft { sys_flag: flags, properties: &all, ..Draft::plain(topic, QueueId(queue_id), body) };
    let mut out = Vec::new();
    encoder.encode(&draft, &mut out).expect("a record");
    out
}

impl Model {
    /// Takes over a message that was appended; `bytes` as the store stamped them.
    /// Not `sure`: the process died meanwhile.
    pub(super) fn add(&mut self, bytes: Vec<u8>, group: Option<u64>, sure: bool) {
        let view = RecordView::parse(&bytes).expect("a record");
        let (topic, queue_id) = (view.topic().to_owned(), view.queue_id().0);
        let physical = view.physical_offset().0;
        assert!(
            physical >= self.end,
            "physical offset {physical} was given before, the end was {}",
            self.end
        );
        let mut queue_offset = None;
        if sys_flag::enters_consume_queue(view.sys_flag()) {
            let next = self.queues.entry((topic.clone(), queue_id)).or_default();
            assert_eq!(view.queue_offset().0, *next, "queue offset in {topic} {queue_id}");
            queue_offset = Some(*next);
            *next += 1;
        }
        let rolled_back = view.sys_flag() & sys_flag::TRANSACTION_TYPE == sys_flag::ROLLBACK;
        let mut keys: Vec<String> = Vec::new();
        if !rolled_back {
            let words =
                |name| view.property(name).map(String::from_utf8_lossy).unwrap_or_default().into_owned();
            keys.push(words(properties::UNIQ_KEY));
            keys.extend(words(properties::KEYS).split(' ').map(str::to_owned));
            keys.retain(|key| !key.is_empty());
        }
        self.end = physical + bytes.len() as u64;
        if sure {
            self.sure_end = self.end;
        }
        let (deleted, unsure) = (false, !sure);
        let message = Message { topic, queue_id, queue_offset, bytes, keys, group, deleted, unsure };
        self.log.insert(physical, message);
    }

    /// Everything below `to` is durable, which may lie within a record.
    pub(super) fn promise(&mut self, to: u64) {
        let ends = self.log.range(..to).rev().map(|(at, message)| at + message.bytes.len() as u64);
        let whole = ends.take(2).find(|end| *end <= to).unwrap_or(0);
        self.promised = self.promised.max(whole);
    }

    /// `topic` is deleted, or may be if not `surely`. Then those that were deleted before may be there again: if there
    /// are no queues left, these are taken for lost and all are built again from the log.
    pub(super) fn delete(&mut self, topic: &str, surely: bool) {
        self.ever_deleted.insert(topic.to_owned());
        if !surely {
            self.half_deleted.clone_from(&self.ever_deleted);
        }
        let gone = |name: &str| name == topic || (!surely && self.ever_deleted.contains(name));
        self.log
            .values_mut()
            .filter(|message| gone(&message.topic))
            .for_each(|message| message.deleted = true);
        self.queues.retain(|(name, _), _| !gone(name));
    }

    /// Compares with a store that was opened after a crash, and forgets what it rightly lost.
    pub(super) fn check_and_forget(&mut self, store: &Store, loss: Loss) -> Found {
        let promised = self.promised;
        let required =
            |end: u64, message: &Message| end <= promised || (loss == Loss::Nothing && !message.unsure);
        let end = store.max_physical().0;
        let least = if loss == Loss::Nothing { self.sure_end.max(promised) } else { promised };
        assert!(end >= least, "the log ends at {end}, not {least}");

        let served = self.served(store);
        let mut found = Found::default();
        let mut groups: BTreeMap<u64, Vec<(bool, u64)>> = BTreeMap::new();
        for (&physical, message) in &self.log {
            let message_end = physical + message.bytes.len() as u64;
            let bytes = store.record_at(PhysicalOffset(physical));
            let intact = bytes.as_ref().is_some_and(|bytes| **bytes == *message.bytes);
            let here = if message.deleted || message.queue_offset.is_none() {
                intact
            } else {
                served.contains(&physical)
            };
            assert!(
                here || !required(message_end, message),
                "lost: {} {} offset {:?} at {physical}..{message_end}, promised {}, intact {intact}, queue {:?}",
                message.topic,
                message.queue_id,
                message.queue_offset,
                self.promised,
                units_of(store, &message.topic, message.queue_id),
            );
            found.kept += u64::from(here);
            found.lost += u64::from(!here);
            if let Some(group) = message.group.filter(|_| !message.deleted) {
                groups.entry(group).or_default().push((here, physical));
            }
        }
        for (group, here) in groups {
            let in_order = here.is_sorted_by(|(a, _), (b, _)| a >= b);
            assert!(in_order, "of group {group} there is {here:?}, promised {promised}, end {end}");
        }

        self.ghosts.retain(|at, _| *at < end);
        for (physical, message) in std::mem::take(&mut self.log) {
            let kept = if message.deleted || message.queue_offset.is_none() {
                required(physical + message.bytes.len() as u64, &message)
            } else {
                served.contains(&physical)
            };
            if kept {
                self.log.insert(physical, message);
            } else if physical < end {
                self.ghosts.insert(physical, message);
            }
        }
        self.queues.retain(|(topic, id), next| {
            let queue = store.existing_queue(topic, QueueId(*id)).expect("a queue");
            let found = queue.map_or(0, |queue| queue.max_offset().0);
            let may_lose = loss == Loss::Unflushed || self.sure_end < self.end;
            assert!(
                found == *next || (may_lose && found < *next),
                "{topic} {id} ends at {found}, not {next}"
            );
            *next = found;
            true
        });
        self.log.values_mut().for_each(|message| message.unsure = false);
        (self.end, self.sure_end, self.promised) = (end, end, end);
        self.check_queries(store);
        found
    }

    /// Compares everything with a store that works. Queries only if `queries`: they take the index to be up to date.
    pub(super) fn check(&self, store: &Store, queries: bool) {
        let served = self.served(store);
        for (physical, message) in &self.log {
            if message.queue_offset.is_some() && !message.deleted {
                assert!(served.contains(physical), "not served: {message:?}");
            }
            let bytes = store.record_at(PhysicalOffset(*physical));
            assert_eq!(bytes.as_deref(), Some(&*message.bytes), "at {physical}");
        }
        if queries {
            self.check_queries(store);
        }
    }

    /// Compares every unit of every queue with the message that it names; returns the physical offsets of all.
    fn served(&self, store: &Store) -> BTreeSet<u64> {
        let mut served = BTreeSet::new();
        for (topic, id) in store.queues() {
            let queue = store.queue(&topic, id).expect("a queue that is listed");
            let (min, max) = (queue.min_offset(), queue.max_offset());
            let half = self.half_deleted.contains(&*topic);
            let known = self.queues.get(&(topic.to_string(), id.0));
            assert!(
                half || known.is_some() || max.0 == 0,
                "queue {topic} {} is there, up to {}",
                id.0,
                max.0
            );
            let mut units = Vec::new();
            queue.read_units(min, usize::MAX, &mut units).expect("units");
            assert_eq!(units.len() as u64, max.0 - min.0, "units of {topic} {}", id.0);
            assert!(units.last().is_none_or(|last| !last.is_filler()), "filler ends {topic} {}", id.0);
            for (offset, unit) in (min.0..).zip(&units) {
                let bytes = store.read_record(unit.physical, unit.size);
                if unit.is_filler() {
                    assert_eq!(bytes, None);
                    continue;
                }
                let ghost = || self.ghosts.get(&unit.physical.0).filter(|_| half);
                let expected = self.log.get(&unit.physical.0).or_else(ghost);
                let expected =
                    expected.unwrap_or_else(|| panic!("{topic} {} {offset} is invented: {unit:?}", id.0));
                assert_eq!(bytes.as_deref(), Some(&*expected.bytes), "{topic} {} at {offset}", id.0);
                let view = RecordView::parse(&expected.bytes).expect("a record");
                let right = Unit {
                    physical: view.physical_offset(),
                    size: expected.bytes.len() as u32,
                    tags_code: tags_of(&view),
                };
                assert_eq!(*unit, right);
                assert!(!expected.deleted || half, "{topic} {} {offset} was deleted", id.0);
                assert_eq!((&*expected.topic, expected.queue_id), (&*topic, id.0));
                assert_eq!(expected.queue_offset, Some(offset), "place in {topic} {}", id.0);
                served.insert(unit.physical.0);
            }
        }
        served
    }

    fn check_queries(&self, store: &Store) {
        let mut wanted: BTreeMap<(&str, &str), Vec<u64>> = BTreeMap::new();
        for (physical, message) in self.log.iter().chain(&self.ghosts) {
            for key in &message.keys {
                wanted.entry((&message.topic, key)).or_default().push(*physical);
            }
        }
        wanted.insert(("T0", "nobody has this"), Vec::new());
        for ((topic, key), mut expected) in wanted {
            expected.sort_unstable();
            expected.dedup();
            let query = KeyQuery { topic, key, max: usize::MAX, begin_ms: i64::MIN, end_ms: i64::MAX };
            let mut found = Vec::new();
            for bytes in store.query(&query).records {
                let at = RecordView::parse(&bytes).expect("a record").physical_offset().0;
                let message = self.log.get(&at).or_else(|| self.ghosts.get(&at));
                assert_eq!(message.map(|message| &*message.bytes), Some(&*bytes), "{topic} {key}");
                found.push(at);
            }
            let ghost = |at: &u64| !self.log.contains_key(at);
            expected.retain(|at| !ghost(at) || found.contains(at));
            assert_eq!(found, expected, "messages of {topic} with key {key}");
        }
    }
}

fn units_of(store: &Store, topic: &str, queue_id: u32) -> Vec<(u64, u64, u32)> {
    let mut units = Vec::new();
    let Ok(Some(queue)) = store.existing_queue(topic, QueueId(queue_id)) else { return Vec::new() };
    let _ = queue.read_units(queue.min_offset(), usize::MAX, &mut units);
    (queue.min_offset().0..).zip(units).map(|(at, unit)| (at, unit.physical.0, unit.size)).collect()
}
