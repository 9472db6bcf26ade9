// SPDX-License-Identifier: Apache-2.0
//! One small enum per operation.

use std::{io, path::PathBuf};

use oxmq_types::NameError;

use crate::{preflight::Problems, retention::DiskUse};

/// Why a store does not open. The text has one line, or one for each problem, that an operator can act on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process, a Java broker perhaps, or another store of this process has the folder.
    #[error("store folder {} is in use by another broker (its file \"lock\" is locked)", root.display())]
    Locked {
        /// The store's root.
        root: PathBuf,
    },
    /// A file or folder cannot be read, written or made.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The folder is not one that this store can go on with. Nothing in it was changed.
    #[error(transparent)]
    Refused(Problems),
    /// A setting that no store can have.
    #[error("{name} = {value} is out of range: {reason}")]
    Setting {
        /// Its Java name.
        name: &'static str,
        /// Its value.
        value: u64,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// Why a record was not appended. Nothing of it, and nothing of the batch it is in, was stored.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The bytes are not one whole record.
    #[error("{found} bytes that are not a record, or one that says it has {declared}")]
    NotARecord {
        /// Bytes given.
        found: usize,
        /// Size that the record declares; 0 if there is none.
        declared: u32,
    },
    /// The record cannot fit into any segment.
    #[error("record of {size} bytes does not fit into a segment of {segment_size}")]
    TooLarge {
        /// Bytes in the record.
        size: usize,
        /// Bytes in a segment.
        segment_size: u64,
    },
    /// A disk is used above the warning level (`diskSpaceWarningLevelRatio`).
    #[error("the broker's disk is full [{0}]")]
    DiskNearlyFull(DiskUse),
    /// There is no space for the next segment.
    #[error("no space on disk for the next commit log file: {reason}")]
    DiskFull {
        /// What the system says.
        reason: String,
    },
    /// Consume queue units cannot be written and too many of them wait in memory.
    #[error("{units} consume queue units wait to be written: {reason}")]
    QueuesStuck {
        /// How many wait.
        units: usize,
        /// What the system said about the last attempt.
        reason: String,
    },
    /// The queue was deleted; ask the store for it again.
    #[error("queue {queue_id} of topic {topic} was deleted")]
    QueueDeleted {
        /// Its topic.
        topic: String,
        /// Its number.
        queue_id: u32,
    },
    /// An fsync failed earlier, so nobody knows what is on the disk. The store takes no more records.
    #[error("store refuses writes after a failed fsync: {reason}")]
    Poisoned {
        /// What the system said then.
        reason: String,
    },
    /// The store is closed.
    #[error("store is closed")]
    Closed,
}

/// Why a flush that was waited for did not happen.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum FlushError {
    /// An fsync failed; see [`AppendError::Poisoned`].
    #[error("fsync failed: {reason}")]
    Failed {
        /// What the system said.
        reason: String,
    },
    /// The store closed, or was dropped, before the flush.
    #[error("store is closed")]
    Closed,
}

/// Why there is no queue.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// The topic's name cannot be a folder name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The topic's name is longer than a file name may be.
    #[error("topic name of {0} characters is too long for a folder name")]
    TooLong(usize),
    /// A file of the queue cannot be read or written.
    #[error(transparent)]
    File(#[from] QueueFileError),
}

/// A file of a consume queue cannot be read or written, or is not what it should be.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
pub struct QueueFileError {
    /// The file.
    pub path: PathBuf,
    /// What the system says.
    pub source: io::Error,
}

/// A store did not close cleanly: the next start recovers as after a crash.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CloseError {
    /// Flushing failed.
    #[error(transparent)]
    Flush(#[from] FlushError),
    /// A consume queue cannot be written.
    #[error(transparent)]
    Queue(#[from] QueueFileError),
    /// Checkpoint or abort file.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}
