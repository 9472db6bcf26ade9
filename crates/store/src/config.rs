// SPDX-License-Identifier: Apache-2.0
//! Where the store lies and how it flushes.

use std::path::PathBuf;

use crate::retention::RetentionConfig;

/// Settings of a store. The Java name of each stands beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreConfig {
    /// `storePathRootDir`: holds `abort`, `lock` and what is not told otherwise.
    pub root: PathBuf,
    /// `storePathCommitLog`.
    pub commit_log_dir: PathBuf,
    /// `storePathConsumeQueue`.
    pub consume_queue_dir: PathBuf,
    /// `storeCheckpoint`.
    pub checkpoint_file: PathBuf,
    /// `mappedFileSizeCommitLog`: bytes in a segment of the commit log. A multiple of 4,096 is advisable.
    pub segment_size_bytes: u64,
    /// `mappedFileSizeConsumeQueue`: bytes in a consume queue file. As Java, the store rounds it up to
    /// whole units of 20 bytes.
    pub consume_queue_file_size_bytes: u64,
    /// `flushDiskType` and what belongs to it.
    pub flush: FlushMode,
    /// How long consume queue units may lie in memory only, in ms. Nothing is lost with them: recovery dispatches
    /// them again from the commit log.
    pub queue_flush_interval_ms: u64,
    /// How often consume queue files are made durable and the checkpoint is moved on, in ms. Recovery after a crash
    /// reads about so much of the log again.
    pub checkpoint_interval_ms: u64,
    /// So many bytes at the end of the log, if this process wrote them, are taken to be in the page cache: they are read
    /// without asking. No Java name: there, whoever reads waits.
    pub hot_bytes: u64,
    /// So many bytes that were read from the disk are kept for those who read them next.
    pub cold_buffer_bytes: u64,
    /// `messageIndexEnable`, and what belongs to it. `None`: keys of messages are not indexed.
    pub index: Option<IndexConfig>,
    /// When messages go. `None`: never, and a disk that fills up is noticed when it is full.
    pub retention: Option<RetentionConfig>,
}

/// Where the index lies and how large its files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexConfig {
    /// Java: `index` under `storePathRootDir`.
    pub dir: PathBuf,
    /// `maxHashSlotNum`: slots in a file.
    pub slots: u32,
    /// `maxIndexNum`: one more than the entries that a file takes.
    pub entries: u32,
}

/// When the commit log is made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlushMode {
    /// `ASYNC_FLUSH`: in the background.
    Async {
        /// `flushIntervalCommitLog`, in ms.
        interval_ms: u64,
        /// `flushCommitLogLeastPages`: with fewer dirty pages of 4,096 bytes than this, wait for the thorough
        /// interval.
        least_pages: u64,
        /// `flushCommitLogThoroughInterval`, in ms.
        thorough_interval_ms: u64,
    },
    /// `SYNC_FLUSH`: whenever someone waits for it, one fsync for all who wait. Who waits how long is the caller's
    /// business (`syncFlushTimeout`).
    Sync,
}

impl StoreConfig {
    /// Java's defaults under `root`, without retention.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        Self {
            commit_log_dir: root.join("commitlog"),
            consume_queue_dir: root.join("consumequeue"),
            checkpoint_file: root.join("checkpoint"),
            index: Some(IndexConfig { dir: root.join("index"), slots: 5_000_000, entries: 20_000_000 }),
            root,
            segment_size_bytes: 1024 * 1024 * 1024,
            consume_queue_file_size_bytes: 6_000_000,
            flush: FlushMode::Async { interval_ms: 500, least_pages: 4, thorough_interval_ms: 10_000 },
            queue_flush_interval_ms: 200,
            checkpoint_interval_ms: 5_000,
            retention: None,
            hot_bytes: 256 * 1024 * 1024,
            cold_buffer_bytes: 32 * 1024 * 1024,
        }
    }
}
