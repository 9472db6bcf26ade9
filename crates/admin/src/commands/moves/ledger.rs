// SPDX-License-Identifier: Apache-2.0
//! What was copied, and where to: notes in the topic [`LEDGER`], in the one queue that it has on each broker.
//!
//! A note lies on the broker that has what is copied, and is younger: it is there as long as the messages that it is
//! about. It is JSON, with the hash of the group as its tag, so that a broker gives out those of one group only.

use super::Reading;
use crate::{
    admin::{Outgoing, QueueAt},
    cli::{CommandError, Context},
    format::now_ms,
};
use oxmq_remoting::{
    bodies::{MessageQueue, TopicConfig},
    code,
};
use oxmq_types::java_string_hash;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// Topic of the notes.
pub(crate) const LEDGER: &str = "MQADMIN_LEDGER";

/// A note: messages `from` to `to` (not included) of `source` are about to be copied to `target`. One that is about no
/// message says that a run begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Note {
    command: String,
    group: String,
    /// Who runs the command.
    by: String,
    source: MessageQueue,
    from: i64,
    to: i64,
    target: String,
    places: Vec<Place>,
}

/// Where copies lie in a queue: from this offset on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) queue: MessageQueue,
    pub(crate) offset: i64,
}

/// What a note says of messages of a queue.
struct Noted {
    to: i64,
    target: String,
    /// Where copies lie, if they were sent.
    places: Vec<Place>,
    /// When it was noted, in ms since 1970, by the clock of the broker, or ours if this run did.
    noted_ms: i64,
}

/// The notes that a command has left for a group.
pub(crate) struct Ledger {
    command: &'static str,
    group: String,
    by: String,
    /// Queues of the topic by name of the broker, and whether it is there.
    books: BTreeMap<String, (QueueAt, bool)>,
    /// Notes by queue and first message.
    notes: HashMap<MessageQueue, BTreeMap<i64, Vec<Noted>>>,
    last_begun: Option<(String, i64)>,
}

impl Ledger {
    /// Reads the notes that brokers have of what `command` copied for `group`. `sources`: queues that are copied from.
    pub(crate) async fn read(
        context: &Context<'_>,
        command: &'static str,
        group: &str,
        sources: &[QueueAt],
    ) -> Result<Self, CommandError> {
        let mut ledger = Self {
            command,
            group: group.to_owned(),
            by: String::new(),
            books: BTreeMap::new(),
            notes: HashMap::new(),
            last_begun: None,
        };
        for QueueAt { queue, addr } in sources {
            let book = || {
                let queue = MessageQueue { topic: LEDGER.to_owned(), queue_id: 0, ..queue.clone() };
                (QueueAt { queue, addr: addr.clone() }, false)
            };
            ledger.books.entry(queue.broker_name.clone()).or_insert_with(book);
        }
        let mut books = std::mem::take(&mut ledger.books);
        for (at, is_there) in books.values_mut() {
            *is_there = ledger.read_book(context, at).await?;
        }
        ledger.books = books;
        Ok(ledger)
    }

    /// False if the broker has none.
    async fn read_book(&mut self, context: &Context<'_>, at: &QueueAt) -> Result<bool, CommandError> {
        let tag = tag(&self.group);
        let mut reading = Reading::new(at, &tag, 0, i64::MAX);
        loop {
            let messages = match reading.next(context).await {
                Err(CommandError::Admin(error)) if error.code() == Some(code::TOPIC_NOT_EXIST) => {
                    return Ok(false);
                }
                messages => messages?,
            };
            let Some(messages) = messages else { return Ok(true) };
            for message in messages {
                let note = match message.body_fault() {
                    None => serde_json::from_slice(message.body()).map_err(|error| error.to_string()),
                    Some(fault) => Err(fault.to_string()),
                };
                let note = note.map_err(|error| {
                    CommandError::failed(format!(
                        "the note at offset {} of {LEDGER} on {} cannot be read ({error}): without it, it is not known \
                         what was sent before",
                        message.queue_offset(),
                        at.addr
                    ))
                })?;
                self.add(note, message.store_timestamp_ms());
            }
        }
    }

    fn add(&mut self, note: Note, noted_ms: i64) {
        let Note { command, group, by, source, from, to, target, places } = note;
        // Hashes of tags may be alike.
        if command != self.command || group != self.group {
            return;
        }
        if from < to {
            let noted = Noted { to, target, places, noted_ms };
            self.notes.entry(source).or_default().entry(from).or_default().push(noted);
        } else if self.last_begun.as_ref().is_none_or(|(_, ms)| *ms <= noted_ms) {
            self.last_begun = Some((by, noted_ms));
        }
    }

    /// Who was the last to begin, and when, in ms since 1970.
    pub(super) fn last_begun(&self) -> Option<(&str, i64)> {
        self.last_begun.as_ref().map(|(by, ms)| (by.as_str(), *ms))
    }

    /// Notes that a run begins, on each broker.
    pub(super) async fn begin(&mut self, context: &Context<'_>, by: &str) -> Result<(), CommandError> {
        by.clone_into(&mut self.by);
        let brokers: Vec<String> = self.books.keys().cloned().collect();
        for broker_name in brokers {
            let source = MessageQueue { broker_name, ..MessageQueue::default() };
            self.note(context, (&source, 0, 0), "", Vec::new()).await?;
        }
        Ok(())
    }

    /// Notes that messages from `from` to `to` (not included) of `source` are about to be copied to these places of
    /// `target`.
    ///
    /// # Errors
    /// [`CommandError`]: then they must not be copied.
    pub(crate) async fn note(
        &mut self,
        context: &Context<'_>,
        (source, from, to): (&MessageQueue, i64, i64),
        target: &str,
        places: Vec<Place>,
    ) -> Result<(), CommandError> {
        let Some((at, is_there)) = self.books.get_mut(&source.broker_name) else {
            return Err(CommandError::failed(format!("there is no broker {}", source.broker_name)));
        };
        if !*is_there {
            let topic = TopicConfig {
                topic_name: LEDGER.to_owned(),
                read_queue_nums: 1,
                write_queue_nums: 1,
                ..TopicConfig::default()
            };
            context.admin.create_topic(&at.addr, &topic, "").await?;
            *is_there = true;
        }
        let note = Note {
            command: self.command.to_owned(),
            group: self.group.clone(),
            by: self.by.clone(),
            source: source.clone(),
            from,
            to,
            target: target.to_owned(),
            places,
        };
        let mut message = Outgoing::new(serde_json::json!(note).to_string(), now_ms());
        message.set("TAGS", &tag(&self.group));
        context.admin.send(self.command, at, &message, None).await?;
        self.add(note, now_ms());
        Ok(())
    }

    /// Where a copy of the one message at `offset` of `source` lies in `target`, if it was sent, and when that was noted.
    pub(crate) fn of<'a>(
        &'a self,
        source: &MessageQueue,
        offset: i64,
        target: &'a str,
    ) -> impl Iterator<Item = (&'a Place, i64)> {
        let notes = self.notes.get(source).and_then(|notes| notes.get(&offset));
        let about = notes.into_iter().flatten().filter(move |noted| noted.target == target);
        about.flat_map(|noted| noted.places.iter().map(|place| (place, noted.noted_ms)))
    }

    /// From where on copies of messages of `source` can lie in `target`, those from `offset` on.
    pub(crate) fn places_from(&self, source: &MessageQueue, offset: i64, target: &str) -> Vec<Place> {
        let notes = self.notes.get(source).into_iter().flat_map(BTreeMap::values).flatten();
        let about = notes.filter(|noted| noted.target == target && noted.to > offset);
        about.flat_map(|noted| noted.places.iter().cloned()).collect()
    }
}

fn tag(group: &str) -> String {
    format!("g{:08x}", java_string_hash(group))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(topic: &str, queue_id: i32) -> MessageQueue {
        MessageQueue { topic: topic.into(), broker_name: "b".into(), queue_id }
    }

    fn ledger(notes: &[(i64, i64, &str, i64)]) -> Ledger {
        let mut ledger = Ledger {
            command: "redistribute",
            group: "g".into(),
            by: String::new(),
            books: BTreeMap::new(),
            notes: HashMap::new(),
            last_begun: None,
        };
        for (at, (from, to, target, offset)) in (1..).zip(notes) {
            let note = Note {
                command: "redistribute".into(),
                group: "g".into(),
                by: format!("user {at}"),
                source: queue("Old", 0),
                from: *from,
                to: *to,
                target: (*target).to_owned(),
                places: vec![Place { queue: queue(target, 1), offset: *offset }],
            };
            // Those of others.
            ledger.add(Note { command: "resendDlq".into(), ..note.clone() }, at);
            ledger.add(Note { group: "h".into(), ..note.clone() }, at);
            ledger.add(note, at);
        }
        ledger
    }

    #[test]
    fn copies_are_looked_for_where_a_note_says_so() {
        let ledger = ledger(&[
            (0, 0, "", 0),
            (0, 100, "New", 0),
            (100, 200, "New", 70),
            (100, 200, "Other", 5),
            (0, 0, "", 0),
        ]);
        let offsets = |offset| {
            let places = ledger.places_from(&queue("Old", 0), offset, "New");
            places.iter().map(|place| place.offset).collect::<Vec<_>>()
        };
        assert_eq!(
            (offsets(0), offsets(99), offsets(100), offsets(200)),
            (vec![0, 70], vec![0, 70], vec![70], vec![])
        );
        assert_eq!(ledger.places_from(&queue("Old", 1), 0, "New"), []);
        let of = |offset, target| {
            ledger.of(&queue("Old", 0), offset, target).map(|(_, ms)| ms).collect::<Vec<_>>()
        };
        assert_eq!((of(100, "New"), of(100, "Other"), of(150, "New")), (vec![3], vec![4], vec![]));
        assert_eq!(ledger.last_begun(), Some(("user 5", 5)));
    }

    #[test]
    fn a_note_is_json_that_people_can_read() {
        let note = Note {
            command: "resendDlq".into(),
            group: "g".into(),
            by: "alice".into(),
            source: queue("%DLQ%g", 0),
            from: 7,
            to: 8,
            target: "T".into(),
            places: vec![Place { queue: queue("T", 3), offset: 42 }],
        };
        let text = serde_json::json!(note).to_string();
        assert!(text.contains(r#"{"command":"resendDlq","group":"g","by":"alice","source":{"#), "{text}");
        assert_eq!(serde_json::from_str::<Note>(&text).unwrap(), note);
    }
}
