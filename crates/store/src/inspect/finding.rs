// SPDX-License-Identifier: Apache-2.0
//! What an examination finds, as values.

use std::{fmt, path::PathBuf, sync::Arc};

use oxmq_record::RecordError;

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The part of the store that it concerns.
    pub part: Part,
    /// The file, or the folder that should hold one.
    pub path: PathBuf,
    /// Where: for the commit log the physical offset, else the byte in the file.
    pub offset: Option<u64>,
    /// What.
    pub what: What,
}

/// A part of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The commit log.
    Log,
    /// The consume queues.
    Queues,
    /// The index.
    Index,
    /// `checkpoint`, `config`.
    Rest,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing is wrong, or the next start puts it right by itself.
    Note,
    /// A derived file, consume queue or index, is wrong: it can be built again from the commit log.
    Derived,
    /// The commit log, from which everything else is built, is damaged.
    Damage,
}

/// Why no record stands where one should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Flaw {
    /// Nothing but zeros.
    Zeros,
    /// Bytes that do not begin like a record.
    NoRecord,
    /// A record that says that it stands somewhere else.
    Place {
        /// Where it says that it stands.
        says: u64,
    },
    /// A record that is longer than what is left of its file.
    TooLong {
        /// Bytes that it says it has.
        size: u32,
    },
    /// A record whose fields cannot be.
    Fields(RecordError),
}

/// Which queue: topic and number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct QueueName {
    /// The topic.
    pub topic: Arc<str>,
    /// The number within the topic.
    pub id: u32,
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} queue {}", self.topic, self.id)
    }
}

/// What is wrong. Text by `Display`: one line for an operator, without file and offset.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    /// A file or folder cannot be read.
    Unreadable {
        /// What the system says.
        reason: String,
    },
    /// A name that does not belong there.
    StrangeName,
    /// A file has another length than the others, or than is configured.
    Length {
        /// Bytes that it should have.
        expected: u64,
        /// Bytes that it has.
        found: u64,
    },
    /// A file between two others is not there, or several.
    FilesMissing {
        /// Where the next one starts, in bytes.
        next: u64,
    },
    /// Part of the commit log is no sequence of records; behind it are records again.
    Damaged {
        /// Physical offset at which records go on.
        end: u64,
        /// What stands there instead.
        flaw: Flaw,
    },
    /// The last bytes of the commit log are no whole record.
    TornTail {
        /// How many, up to the last that is not zero.
        bytes: u64,
        /// What stands there instead.
        flaw: Flaw,
    },
    /// The checksum of a record's body does not match.
    BodyChecksum {
        /// The queue of the message.
        queue: QueueName,
        /// Its ordinal there.
        queue_offset: u64,
    },
    /// The checksum of a whole record (Java's `enabledAppendPropCRC`) does not match.
    RecordChecksum {
        /// The queue of the message.
        queue: QueueName,
        /// Its ordinal there.
        queue_offset: u64,
    },
    /// Topic or properties of a record are zeros in part: a sector did not reach the disk.
    LostSector {
        /// The queue of the message.
        queue: QueueName,
        /// Its ordinal there.
        queue_offset: u64,
    },
    /// Units of a queue are not what the records say.
    Units {
        /// The queue.
        queue: QueueName,
        /// How they differ.
        how: UnitFault,
        /// Ordinal of the first one.
        first: u64,
        /// How many in a row.
        count: u64,
    },
    /// A queue has units behind one that was never written; Java ends there.
    UnitsBehindHole {
        /// The queue.
        queue: QueueName,
        /// Ordinal of the first one that is there.
        first: u64,
    },
    /// Records are in no queue.
    NotInQueue {
        /// The queue that they should be in.
        queue: QueueName,
        /// Why they are not.
        why: NotInQueue,
        /// How many, in a row of the queue.
        count: u64,
        /// Ordinal that the first of them says it has.
        first: u64,
    },
    /// The folder is not a topic's or a queue's, or holds what this does not know.
    NotExamined {
        /// Why.
        why: &'static str,
    },
    /// The header of an index file cannot be.
    IndexHeader,
    /// Entries of an index file cannot be, or are not where their slot points.
    IndexChain {
        /// Ordinal of the first one; 0 for a slot that names a wrong one.
        first: u32,
        /// How many.
        count: u64,
    },
    /// Entries of the index do not belong to a record with such a key.
    IndexEntries {
        /// Ordinal of the first one in its file.
        first: u32,
        /// How many.
        count: u64,
    },
    /// Records have keys that are not in the index.
    KeysMissing {
        /// How many records, in a row of the log.
        count: u64,
    },
    /// The last records have keys that are not in the index yet: the next start adds them.
    IndexBehind {
        /// How many records.
        count: u64,
    },
    /// The checkpoint is not there or too short: the next start does without.
    NoCheckpoint,
    /// What the checkpoint says of the end of the log is not so: the next start does without.
    CheckpointAhead {
        /// Where, it says, the log has been dispatched to.
        dispatched: u64,
    },
}

/// How a consume queue unit differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitFault {
    /// It points to no record of its queue.
    NoRecord,
    /// It is not that of the record with its ordinal.
    Wrong,
    /// It has the record's place, but another size.
    Size,
    /// It has the record's place, but the code of another tag.
    Tags,
    /// It points to the end of the log or beyond.
    BeyondEnd,
}

/// Why a record is in no queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotInQueue {
    /// The unit was never written.
    NoUnit,
    /// The queue ends before it: the next start adds it.
    Behind,
    /// Another record has its ordinal: its topic was deleted and made again, or two brokers wrote at once.
    Taken,
    /// The topic is there, but has no such queue on the disk.
    NoFolder,
    /// There is no such topic any more.
    Deleted,
}

impl Finding {
    /// How bad it is.
    #[must_use]
    pub fn severity(&self) -> Severity {
        use NotInQueue::{Behind, Deleted, Taken};
        match (&self.what, self.part) {
            (
                What::NotInQueue { why: Behind | Deleted | Taken, .. }
                | What::NotExamined { .. }
                | What::IndexBehind { .. }
                | What::NoCheckpoint
                | What::CheckpointAhead { .. },
                _,
            ) => Severity::Note,
            // Passed over by all who read them; in the log's folder they keep a store from opening.
            (What::StrangeName, Part::Queues | Part::Index) => Severity::Note,
            (_, Part::Log | Part::Rest) => Severity::Damage,
            (_, Part::Queues | Part::Index) => Severity::Derived,
        }
    }
}

impl What {
    /// One word for it, for programs.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "unreadable",
            Self::StrangeName => "strangeName",
            Self::Length { .. } => "length",
            Self::FilesMissing { .. } => "filesMissing",
            Self::Damaged { .. } => "damaged",
            Self::TornTail { .. } => "tornTail",
            Self::BodyChecksum { .. } => "bodyChecksum",
            Self::RecordChecksum { .. } => "recordChecksum",
            Self::LostSector { .. } => "lostSector",
            Self::Units { .. } => "units",
            Self::UnitsBehindHole { .. } => "unitsBehindHole",
            Self::NotInQueue { .. } => "notInQueue",
            Self::NotExamined { .. } => "notExamined",
            Self::IndexHeader => "indexHeader",
            Self::IndexChain { .. } => "indexChain",
            Self::IndexEntries { .. } => "indexEntries",
            Self::KeysMissing { .. } => "keysMissing",
            Self::IndexBehind { .. } => "indexBehind",
            Self::NoCheckpoint => "noCheckpoint",
            Self::CheckpointAhead { .. } => "checkpointAhead",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(offset) = self.offset {
            write!(f, " at {offset}")?;
        }
        write!(f, ": {}", self.what)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { reason } => write!(f, "cannot be read: {reason}"),
            Self::StrangeName => f.write_str("not a name that belongs here"),
            Self::Length { expected, found } => write!(f, "has {found} bytes instead of {expected}"),
            Self::FilesMissing { next } => write!(f, "missing; the next file that is there starts at {next}"),
            Self::Damaged { end, flaw } => write!(f, "damaged up to {end}: {flaw}"),
            Self::TornTail { bytes, flaw } => {
                write!(f, "the log ends here, but {bytes} bytes follow that are no record: {flaw}")
            }
            Self::BodyChecksum { queue, queue_offset } => {
                write!(f, "the body of message {queue_offset} of {queue} is damaged (checksum)")
            }
            Self::RecordChecksum { queue, queue_offset } => {
                write!(f, "the record of message {queue_offset} of {queue} is damaged (checksum)")
            }
            Self::LostSector { queue, queue_offset } => {
                write!(f, "topic or properties of message {queue_offset} of {queue} are zeros")
            }
            Self::Units { queue, how, first, count } => {
                let how = match how {
                    UnitFault::NoRecord => "point to no record of the queue",
                    UnitFault::Wrong => "not those of the records with their numbers",
                    UnitFault::Size => "another size than the records have",
                    UnitFault::Tags => "the code of another tag than the records have",
                    UnitFault::BeyondEnd => "point to or beyond the end of the log",
                };
                write!(f, "{queue}, units from {first} on ({count}): {how}")
            }
            Self::UnitsBehindHole { queue, first } => {
                write!(f, "{queue}: unit {first} stands behind one that was never written")
            }
            Self::NotInQueue { queue, why, count, first } => {
                let why = match why {
                    NotInQueue::NoUnit => "their units were never written",
                    NotInQueue::Behind => "not in the queue yet; the next start adds them",
                    NotInQueue::Taken => {
                        "other messages have their numbers, as of a topic that was deleted and made again"
                    }
                    NotInQueue::NoFolder => "the topic has no such queue on the disk",
                    NotInQueue::Deleted => "the topic was deleted",
                };
                write!(f, "{queue}, messages from {first} on ({count}): {why}")
            }
            Self::NotExamined { why } => write!(f, "not examined: {why}"),
            Self::IndexHeader => f.write_str("the header of the index file cannot be"),
            Self::IndexChain { first: 0, count } => {
                write!(f, "slots ({count}) that do not name their newest entry")
            }
            Self::IndexChain { first, count } => {
                write!(f, "entries from {first} on ({count}) that cannot be")
            }
            Self::IndexEntries { first, count } => {
                write!(f, "entries from {first} on ({count}) that are not of a record with such a key")
            }
            Self::KeysMissing { count } => write!(f, "keys of records ({count}) are not in the index"),
            Self::IndexBehind { count } => {
                write!(
                    f,
                    "keys of the last records ({count}) are not in the index yet; the next start adds them"
                )
            }
            Self::NoCheckpoint => {
                f.write_str("there is none, or not a whole one; the next start does without")
            }
            Self::CheckpointAhead { dispatched } => {
                write!(f, "says that the log was dispatched up to {dispatched}, where no record ends")
            }
        }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zeros => f.write_str("zeros"),
            Self::NoRecord => f.write_str("not the beginning of a record"),
            Self::Place { says } => write!(f, "a record that says it stands at {says}"),
            Self::TooLong { size } => write!(f, "a record of {size} bytes does not fit here"),
            Self::Fields(error) => write!(f, "a record that cannot be: {error}"),
        }
    }
}
