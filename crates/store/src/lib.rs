// SPDX-License-Identifier: Apache-2.0
//! The store: commit log, consume queues, index, checkpoint, flush and recovery. The only code with message files.
//!
//! ```text
//! ROOT/
//!   lock            one lock on its bytes: one broker, Java or OxMQ, on a folder
//!   abort           there while the store is open; there at a start: the last one was not closed
//!   checkpoint      how far everything is on the disk: `checkpoint`
//!   commitlog/      00000000000000000000, ...: all records in their order: `log`
//!   consumequeue/   TOPIC/QUEUE ID/00000000000000000000, ...: where each message lies: `queue`
//!   oxmq-queues     which queues there ought to be: `list`; a Java broker leaves it alone
//!   index/          20261121055446115, ...: which messages have a key: `index`
//! ```
//! What is old, and what there is no space for, goes: `retention`.
//!
//! The files are those of a Java broker, 4.9 or 5.x with file queues, in both directions.
//!
//! It knows records, but no feature: no delay, no transaction, no retry. Blocking, without a runtime. An append takes
//! one lock, makes no system call and does not allocate; readers get slices of the mapped log, without a copy, or are told
//! that it takes the disk (`read`).
#![deny(unsafe_op_in_unsafe_fn)]

mod checkpoint;
mod cold;
mod config;
mod date;
mod disk;
mod dispatch;
mod error;
mod flush;
mod index;
pub mod inspect;
mod list;
mod log;
mod preflight;
mod progress;
mod queue;
mod read;
mod rebuild;
mod recovery;
mod registry;
mod retention;
mod search;
#[cfg(any(test, feature = "memory-disk"))]
pub mod simulation;
mod store;
mod sync;
#[cfg(test)]
mod tests;
mod unit;
mod writer;

pub use config::{FlushMode, IndexConfig, StoreConfig};
#[cfg(any(test, feature = "memory-disk"))]
pub use disk::memory::{BadRange, Faults, MemoryDisk, Trace};
pub use disk::tell_of_bad_pages;
pub use error::{AppendError, CloseError, FlushError, OpenError, QueueError, QueueFileError};
pub use index::{KeyMatches, KeyQuery};
#[cfg(unix)]
pub use preflight::preflight;
pub use preflight::{Folder, Problem, Problems};
pub use queue::{Boundary, Queue};
pub use read::{Access, ReadError, Reader};
pub use recovery::TagsRule;
pub use retention::{DiskUse, Removal, RemovalReason, RetentionConfig};
pub use store::{DeleteError, Store, tags_of};
pub use unit::Unit;
pub use writer::{Appended, Entry};
