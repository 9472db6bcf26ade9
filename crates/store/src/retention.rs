// SPDX-License-Identifier: Apache-2.0
//! Retention: what is removed from a store and when, and when it takes nothing more because its disk fills up.
//!
//! The thread `store-clean` looks at the clock and at the disks, once in `interval_ms`. Of the log the oldest segments go:
//! - those of which all is older than `reserved_ms`, in the hours of the day in `delete_hours`, while a disk is used above
//!   `max_used_percent`, or when somebody asks for it ([`crate::Store::clean`])
//! - while a disk is used above `clean_forcibly_percent` (or `warning_percent`, if that is less), as many as bring it back
//!   there, however old they are. What removed files have not given back yet counts: their space may come late, as it does
//!   while a reader holds them. None goes while one that was given up before is still on the disk.
//!
//! and `files_at_once` at most. Queue units and index files below the first segment follow. Above `warning_percent` the
//! store refuses records, until both disks are back at `clean_forcibly_percent`.
//!
//! Age: the time since the later of the file's modification (what Java goes by) and the store time of the next segment's
//! first record, as people copy folders without their times. A clock that is wrong must not make anything old:
//! - A time in the future says nothing.
//! - When the clock has jumped, ahead or back, from the time that has passed since the start, the times of all files are set
//!   to now: what is there is kept for its whole time again. The same if all is from the future, and if a store is opened
//!   whose newest sign of life is older than `reserved_ms`. That is a jump or a long rest, and in a rest nobody could read.
//!
//! The clock is watched from when the store is opened. Jumps of less than [`JUMP_MS`] count as they are, and so does a clock
//! that was set ahead by less than `reserved_ms` while the broker was down, until it is set right: nothing shows it, and at
//! worst messages go earlier by as much. Removal by space looks at no clock.
//!
//! Invariants
//! - The last segment stays, and the one of the last record that the checkpoint knows: recovery starts there.
//! - Files go from the front, and none before its neighbour is gone: a gap would stop the next start. If one cannot be
//!   removed, those behind it wait, and it is tried again after `retry_ms`.
//! - The last file of a queue stays: it knows where the queue ends. The last index file stays.
//! - Files are removed under no lock. Readers keep what they hold: the mapping outlives the file.
//!
//! Java: `DefaultMessageStore.CleanCommitLogService`, `CleanConsumeQueueService`, `MappedFileQueue#deleteExpiredFileByTime`.

#[cfg(test)]
mod tests;

use std::{
    any::Any,
    collections::VecDeque,
    fmt, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, OnceLock, Weak,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use oxmq_types::{PhysicalOffset, QueueId, QueueOffset};

use crate::{
    disk::Space,
    error::QueueError,
    log::file_at,
    store::Shared,
    sync::{Bell, lock},
};

/// A clock that is so far from where it should be has jumped, in ms.
const JUMP_MS: i64 = 3_600_000;
/// As in Java, nothing is removed so shortly after the start: who starts a broker with the wrong settings can stop it.
const FIRST_LOOK: Duration = Duration::from_secs(60);
/// Looks that one request is good for. Java: `MAX_MANUAL_DELETE_FILE_TIMES`.
const LOOKS_ASKED: u32 = 20;

/// When messages go. The Java name of each stands beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetentionConfig {
    /// `cleanResourceInterval`: ms between two looks.
    pub interval_ms: u64,
    /// `deleteWhen`: hours of the day, local time, in which expired segments are removed.
    pub delete_hours: Vec<u8>,
    /// `fileReservedTime`: how long messages are kept, in ms.
    pub reserved_ms: u64,
    /// `diskMaxUsedSpaceRatio`: above it, expired segments are removed at any hour.
    pub max_used_percent: u8,
    /// `diskSpaceCleanForciblyRatio`: above it, segments are removed before they expire.
    pub clean_forcibly_percent: u8,
    /// `diskSpaceWarningLevelRatio`: above it, the store takes no records.
    pub warning_percent: u8,
    /// `cleanFileForciblyEnable`: false keeps segments until they expire, whatever the disk says.
    pub forcibly: bool,
    /// `deleteFileBatchMax`: segments that one look removes at most.
    pub files_at_once: usize,
    /// `deleteCommitLogFilesInterval`: ms between two files of the log.
    pub log_pause_ms: u64,
    /// `deleteConsumeQueueFilesInterval`: ms between two queues of which files were removed.
    pub queue_pause_ms: u64,
    /// `redeleteHangedFileInterval`: ms until a file that could not be removed is tried again.
    pub retry_ms: u64,
    /// `replicasPerDiskPartition`: brokers that share the disk. With several, this one's part of the disk is what it may
    /// fill, instead of the whole.
    pub replicas: u32,
    /// `logicalDiskSpaceCleanForciblyThreshold`, in percent: what `clean_forcibly_percent` is for a part of the disk.
    pub clean_part_forcibly_percent: u8,
}

impl Default for RetentionConfig {
    /// Java's defaults.
    fn default() -> Self {
        Self {
            interval_ms: 10_000,
            delete_hours: vec![4],
            reserved_ms: 72 * 3_600_000,
            max_used_percent: 75,
            clean_forcibly_percent: 85,
            warning_percent: 90,
            forcibly: true,
            files_at_once: 10,
            log_pause_ms: 100,
            queue_pause_ms: 100,
            retry_ms: 120_000,
            replicas: 1,
            clean_part_forcibly_percent: 80,
        }
    }
}

/// How much of the disks is used, in percent, rounded up. `None`: the system does not say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskUse {
    /// Under the commit log.
    pub log: Option<u8>,
    /// Under the consume queues.
    pub queues: Option<u8>,
    /// Under the index.
    pub index: Option<u8>,
}

impl DiskUse {
    /// The fuller one of the disks on which the store depends.
    fn fullest(self) -> Option<u8> {
        self.log.max(self.queues)
    }
}

impl fmt::Display for DiskUse {
    /// As Java's brokers tell it to producers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ratio = |percent: Option<u8>| percent.map_or(-1.0, |percent| f64::from(percent) / 100.0);
        let Self { log, queues, index } = *self;
        write!(f, "CL: {:5.2} CQ: {:5.2} INDEX: {:5.2}", ratio(log), ratio(queues), ratio(index))
    }
}

/// Why segments are removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemovalReason {
    /// They are older than `fileReservedTime`.
    Expired,
    /// The disk is too full; they may be younger than that.
    Space,
}

/// What the disks and the clock say.
struct Sight {
    hour: u8,
    used: DiskUse,
    /// This broker's part of the disk, if it has only a part.
    part: Option<Part>,
    asked: bool,
}

/// What a broker has of a disk that several share, in bytes.
#[derive(Debug, Clone, Copy)]
struct Part {
    total: u64,
    /// What its log takes.
    used: u64,
}

impl Part {
    fn percent(self) -> u8 {
        u8::try_from(u128::from(self.used) * 100 / u128::from(self.total.max(1))).unwrap_or(u8::MAX)
    }
}

/// Bytes of `used` that are more than `percent` of `total`.
fn excess(used: u64, total: u64, percent: u8) -> u64 {
    let allowed = u128::from(total) * u128::from(percent) / 100;
    used.saturating_sub(u64::try_from(allowed).unwrap_or(u64::MAX))
}

impl RetentionConfig {
    /// A disk that is used above this percentage is cleaned by force. No store refuses records and leaves it at that.
    fn forcibly_above(&self) -> u8 {
        self.clean_forcibly_percent.min(self.warning_percent)
    }

    /// What is to go now, if anything.
    fn due(&self, sight: &Sight) -> Option<RemovalReason> {
        let used = sight.used.fullest();
        let part = sight.part.map(Part::percent);
        let full = used > Some(self.forcibly_above()) || part > Some(self.clean_part_forcibly_percent);
        if full && self.forcibly {
            return Some(RemovalReason::Space);
        }
        let unknown = sight.used.log.is_none() || sight.used.queues.is_none();
        let expired = full
            || unknown
            || sight.asked
            || self.delete_hours.contains(&sight.hour)
            || part.or(used) > Some(self.max_used_percent);
        expired.then_some(RemovalReason::Expired)
    }

    /// How many of `candidates` segments go, from the front: `forced` in any case, and those whose `age_ms` is enough.
    fn doomed(&self, candidates: usize, forced: usize, mut age_ms: impl FnMut(usize) -> u64) -> usize {
        let most = candidates.min(self.files_at_once);
        (0..most).take_while(|&segment| segment < forced || age_ms(segment) >= self.reserved_ms).count()
    }

    /// Segments that must go for the disk to be used no more than it may be, when `owed` bytes will come anyhow.
    fn forced(&self, space: Space, sight: &Sight, owed: u64, segment_size: u64) -> usize {
        let limit = self.forcibly_above();
        // Another disk is too full: what its files hold becomes less with the log.
        if sight.used.queues > Some(limit) && sight.used.log != sight.used.queues {
            return if owed == 0 { self.files_at_once } else { 0 };
        }
        let whole = excess(space.used, space.used + space.usable, limit).saturating_sub(owed);
        // The log is what it is at once, whenever its space comes.
        let part =
            sight.part.map_or(0, |part| excess(part.used, part.total, self.clean_part_forcibly_percent));
        usize::try_from(whole.max(part).div_ceil(segment_size.max(1))).unwrap_or(usize::MAX)
    }

    /// Whether the store refuses records, if it did so before.
    fn refuses(&self, before: bool, used: DiskUse) -> bool {
        used.fullest() > Some(self.warning_percent)
            || (before && used.fullest().is_none_or(|used| used > self.forcibly_above()))
    }
}

/// A moment, by the clock of the wall and by one that only goes forward.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// In ms since 1970.
    pub(crate) wall_ms: i64,
    /// In ms since some start.
    pub(crate) up_ms: u64,
}

/// Compares the clocks.
struct Watch {
    /// When they were together.
    anchor: Moment,
}

impl Watch {
    /// `alive_ms`: the newest sign of life of the store; 0 if there is none.
    fn new(now: Moment, alive_ms: i64, reserved_ms: u64) -> Self {
        let rest = now.wall_ms.saturating_sub(alive_ms);
        let jumped = alive_ms > 0 && rest > JUMP_MS && rest as u64 > reserved_ms;
        Self { anchor: if jumped { Moment { wall_ms: alive_ms, ..now } } else { now } }
    }

    /// By how much the wall's clock has jumped ahead (if positive) or back, in ms, if it has.
    fn jumped(&mut self, now: Moment) -> Option<i64> {
        let passed = now.up_ms.saturating_sub(self.anchor.up_ms) as i64;
        let ahead = now.wall_ms.saturating_sub(self.anchor.wall_ms.saturating_add(passed));
        if ahead.saturating_abs() <= JUMP_MS {
            return None;
        }
        self.anchor = now;
        Some(ahead)
    }
}

/// The later of `times` that are not in the future.
fn last_use(now_ms: i64, times: [Option<i64>; 2]) -> Option<i64> {
    times.into_iter().flatten().filter(|time| *time <= now_ms.saturating_add(JUMP_MS)).max()
}

/// What the store shares with the thread that cleans it.
pub(crate) struct Cleaning {
    pub(crate) bell: Bell,
    /// What the next look goes by; `None` if there is no thread that looks.
    config: Mutex<Option<Arc<RetentionConfig>>>,
    /// Looks that somebody asked for.
    asked: AtomicU32,
    announce: OnceLock<Announce>,
    /// Files of the log that could not be removed yet.
    pub(crate) hanged: AtomicUsize,
}

type Announce = Box<dyn Fn(&Removal<'_>) + Send + Sync>;

impl Cleaning {
    pub(crate) fn new(config: Option<RetentionConfig>) -> Self {
        Self {
            bell: Bell::default(),
            config: Mutex::new(config.map(Arc::new)),
            asked: AtomicU32::new(0),
            announce: OnceLock::new(),
            hanged: AtomicUsize::new(0),
        }
    }

    pub(crate) fn config(&self) -> Option<Arc<RetentionConfig>> {
        lock(&self.config).clone()
    }

    /// See [`crate::Store::set_retention`].
    pub(crate) fn set(&self, changed: RetentionConfig) {
        if let Some(config) = &mut *lock(&self.config) {
            *config = Arc::new(changed);
        }
        self.bell.ring();
    }

    /// See [`crate::Store::clean`].
    pub(crate) fn ask(&self) {
        self.asked.store(LOOKS_ASKED, Ordering::Release);
        self.bell.ring();
    }

    /// See [`crate::Store::on_removal`].
    pub(crate) fn announce_to(&self, announce: Announce) {
        let _ = self.announce.set(announce);
    }
}

/// Segments that will be removed as soon as those who want to know it know it.
pub struct Removal<'a> {
    shared: &'a Shared,
    /// Where the first segment starts that stays.
    to: u64,
    /// Why they go.
    pub reason: RemovalReason,
    /// How many go.
    pub segments: usize,
}

impl Removal<'_> {
    /// Where the log will begin.
    #[must_use]
    pub fn end(&self) -> PhysicalOffset {
        PhysicalOffset(self.to)
    }

    /// How many messages of a queue go that someone who has come to `next` has not read.
    ///
    /// # Errors
    /// [`QueueError`] if the queue cannot be read.
    pub fn unread(&self, topic: &str, queue: QueueId, next: QueueOffset) -> Result<u64, QueueError> {
        let registry = &self.shared.registry;
        if !registry.contains(topic, queue) {
            return Ok(0);
        }
        let queue = registry.get(topic, queue)?;
        let from = next.max(queue.min_offset());
        if from >= queue.max_offset() {
            return Ok(0);
        }
        Ok(queue.first_at(self.to)?.0.saturating_sub(from.0))
    }
}

impl fmt::Debug for Removal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { to, reason, segments, .. } = self;
        f.debug_struct("Removal")
            .field("to", to)
            .field("reason", reason)
            .field("segments", segments)
            .finish_non_exhaustive()
    }
}

/// Cleans until the store stops.
pub(crate) fn cleaner(shared: &Shared) {
    let Some(config) = shared.cleaning.config() else { return };
    let start = shared.opened;
    let moment = || Moment { wall_ms: shared.now_ms(), up_ms: start.elapsed().as_millis() as u64 };
    let mut cleaner = Cleaner::new(shared, &config, Moment { wall_ms: shared.opened_ms, up_ms: 0 });
    let mut due = Instant::now() + FIRST_LOOK;
    loop {
        let asked = shared.cleaning.asked.load(Ordering::Acquire) > 0;
        if !asked {
            let mut pause = due.saturating_duration_since(Instant::now());
            // Whoever made space on a full disk is not to wait for the first look.
            if lock(&shared.writer).disk_full.is_some() {
                pause = pause.min(Duration::from_millis(config.interval_ms));
            }
            shared.cleaning.bell.wait_at_most(pause);
        }
        if shared.stopping() {
            return;
        }
        let Some(config) = shared.cleaning.config() else { return };
        // Rung as well when a segment was begun: a fast writer fills a disk between two looks.
        let used = measure(shared, &config);
        if asked || Instant::now() >= due {
            due = Instant::now() + Duration::from_millis(config.interval_ms);
            let now = moment();
            let removed = cleaner.clean(shared, now, local_hour(now.wall_ms), used);
            let left = if removed < config.files_at_once { LOOKS_ASKED } else { 1 };
            let less = |asked: u32| Some(asked.saturating_sub(left));
            let _ = shared.cleaning.asked.fetch_update(Ordering::AcqRel, Ordering::Acquire, less);
        }
    }
}

/// The hour of the day on the clock of the wall. Java: `UtilAll#isItTimeToDo`.
fn local_hour(wall_ms: i64) -> u8 {
    let time = jiff::Timestamp::from_millisecond(wall_ms).unwrap_or_default();
    u8::try_from(time.to_zoned(jiff::tz::TimeZone::system()).hour()).unwrap_or(0)
}

/// Looks at the disks, and has the store refuse records or take them again.
pub(crate) fn measure(shared: &Shared, config: &RetentionConfig) -> DiskUse {
    let percent = |dir: &Path| Some(shared.disk.space(dir).ok()?.percent());
    let used = DiskUse {
        log: percent(&shared.config.commit_log_dir),
        queues: percent(&shared.config.consume_queue_dir),
        index: shared.config.index.as_ref().and_then(|index| percent(&index.dir)),
    };
    let (before, refuses) = {
        let mut writer = lock(&shared.writer);
        let before = writer.disk_full.is_some();
        let refuses = config.refuses(before, used);
        writer.disk_full = refuses.then_some(used);
        (before, refuses)
    };
    match (before, refuses) {
        (false, true) => tracing::error!(
            %used, limit = config.warning_percent,
            "the disk is nearly full, messages are refused until there is space"
        ),
        (true, false) => tracing::info!(%used, "there is space on the disk, messages are taken again"),
        _ => {}
    }
    used
}

/// What files were removed for and has not come yet: space on the disk of the log.
#[derive(Default)]
struct Owed {
    /// Bytes of removed files by which the use of the disk has not gone down yet.
    bytes: u64,
    /// How much of the disk was used when that was looked at last, and where the log's last segment began.
    used: u64,
    last_segment: u64,
    /// Until when it is waited for, in ms of [`Moment::up_ms`]: others may have filled the space as fast as it came.
    until: u64,
    /// Segments that were given up; alive while somebody holds one, which keeps its space.
    held: Vec<Weak<dyn Any + Send + Sync>>,
}

impl Owed {
    /// Compares with what is used now.
    fn look(&mut self, used: u64, last_segment: u64, now: Moment) {
        let grown = last_segment.saturating_sub(self.last_segment);
        self.bytes = self.bytes.saturating_sub((self.used + grown).saturating_sub(used));
        if self.bytes > 0 && now.up_ms >= self.until {
            tracing::warn!(
                bytes = self.bytes,
                "removed commit log files gave no space back: a snapshot or another process may hold it, or others fill the disk"
            );
            self.bytes = 0;
        }
        (self.used, self.last_segment) = (used, last_segment);
        self.held.retain(|segment| segment.strong_count() > 0);
    }

    fn total(&self, segment_size: u64) -> u64 {
        self.bytes.max(self.held.len() as u64 * segment_size)
    }
}

/// Removes what is due.
pub(crate) struct Cleaner {
    watch: Watch,
    /// Files' times are to be set to now before anything goes by its age.
    touch_due: bool,
    /// Files that the log has given up, oldest first.
    condemned: VecDeque<PathBuf>,
    owed: Owed,
    /// When they are tried again, in ms of [`Moment::up_ms`].
    retry_at: u64,
    /// Queue units and index files below are gone.
    swept: u64,
    /// What goes on.
    sweep: Option<Sweep>,
    /// When the next one may begin, in ms of [`Moment::up_ms`].
    sweep_at: u64,
    /// What has been said of why nothing is removed.
    helpless: Option<Helpless>,
}

/// Why nothing can be removed for space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Helpless {
    /// There is one segment, or what else there is was written just now.
    Short,
    /// Recovery needs the whole log as long as no checkpoint of OxMQ says otherwise, which takes some space to write.
    NoCheckpoint,
}

impl fmt::Display for Helpless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Short => "the disk is too full, and there is nothing to remove; make room outside of the store",
            Self::NoCheckpoint => {
                "the disk is too full, and nothing is removed from the commit log until the consume queues and the first \
                 checkpoint are written; if that does not happen by itself, there is no space for it: make some room \
                 outside of the store, and the rest is done"
            }
        })
    }
}

/// The removal of queue files that follows when the log has become shorter. With very many queues it takes more than one
/// look: the disk must be watched meanwhile.
struct Sweep {
    /// Where the log began then.
    min: u64,
    left: Vec<(Arc<str>, QueueId)>,
    removed: usize,
    failed: Option<String>,
}

impl Cleaner {
    pub(crate) fn new(shared: &Shared, config: &RetentionConfig, now: Moment) -> Self {
        Self {
            watch: Watch::new(now, shared.alive_ms, config.reserved_ms),
            touch_due: false,
            condemned: VecDeque::new(),
            owed: Owed::default(),
            retry_at: 0,
            swept: shared.log.min(),
            sweep: None,
            sweep_at: 0,
            helpless: None,
        }
    }

    /// Removes what is due at `now`, in the hour `hour`, with disks used as in `used`. Returns how many segments went.
    pub(crate) fn clean(&mut self, shared: &Shared, now: Moment, hour: u8, used: DiskUse) -> usize {
        let Some(config) = &shared.cleaning.config() else { return 0 };
        if let Some(ahead_ms) = self.watch.jumped(now) {
            tracing::warn!(
                hours = ahead_ms / 3_600_000,
                "the clock has jumped, or the broker was down for long: \
                 the commit log is kept for fileReservedTime from now on"
            );
            self.touch_due = true;
        }
        let mut starts = shared.log.segment_starts();
        if self.touch_due {
            let touched = starts.iter().try_for_each(|start| touch(shared, *start, now));
            self.touch_due = touched.is_err();
            if let Err(error) = touched {
                tracing::error!(%error, "cannot set the times of commit log files: none is removed for its age");
            }
        }
        let log_bytes = starts.len() as u64 * shared.config.segment_size_bytes;
        let space = shared.disk.space(&shared.config.commit_log_dir).ok();
        if let Some(space) = space {
            self.owed.look(space.used, starts.last().copied().unwrap_or(0), now);
        }
        let part = space
            .filter(|_| config.replicas > 1)
            .map(|space| Part { total: space.total / u64::from(config.replicas), used: log_bytes });
        let asked = shared.cleaning.asked.load(Ordering::Acquire) > 0;
        let sight = Sight { hour, used, part, asked };
        let due = config.due(&sight);
        let owed = self.owed.total(shared.config.segment_size_bytes);
        // More would be lost, and nothing won, as long as what was given up for it is there.
        let waits = due == Some(RemovalReason::Space) && !self.condemned.is_empty();
        let (mut count, mut checkpointed) = (0, true);
        if let Some(reason) = due.filter(|_| !waits) {
            let segment_size = shared.config.segment_size_bytes;
            let durable = lock(&shared.queue_flusher).checkpointed();
            checkpointed = durable > 0;
            starts.pop();
            starts.retain(|start| start + segment_size <= durable);
            let forced = match (reason, space) {
                (RemovalReason::Space, Some(space)) => config.forced(space, &sight, owed, segment_size),
                _ => 0,
            };
            let touch_due = &mut self.touch_due;
            count = config.doomed(starts.len(), forced, |segment| {
                let age_ms = age_ms(shared, starts[segment], now);
                *touch_due |= age_ms.is_none();
                age_ms.filter(|_| !*touch_due).unwrap_or(0)
            });
            if count > 0 {
                self.give_up(shared, reason, &starts[..count]);
            }
        }
        let helpless = due == Some(RemovalReason::Space) && count == 0 && !waits && owed == 0;
        let helpless =
            helpless.then_some(if checkpointed { Helpless::Short } else { Helpless::NoCheckpoint });
        if let Some(why) = helpless.filter(|_| self.helpless != helpless) {
            tracing::warn!(%used, "{why}");
        }
        self.helpless = helpless;
        let until = Instant::now() + Duration::from_millis(config.interval_ms);
        self.unlink(shared, config, now, until);
        shared.cleaning.hanged.store(self.condemned.len(), Ordering::Release);
        self.sweep(shared, config, now, until);
        count
    }

    /// Announces that the segments which start at `starts` go, and takes them out of the log.
    fn give_up(&mut self, shared: &Shared, reason: RemovalReason, starts: &[u64]) {
        let to = starts.last().map_or(0, |last| last + shared.config.segment_size_bytes);
        if let Some(announce) = shared.cleaning.announce.get() {
            announce(&Removal { shared, to, reason, segments: starts.len() });
        }
        tracing::info!(segments = starts.len(), to, ?reason, "removing the oldest part of the commit log");
        self.owed.held.extend(shared.log.remove_front(starts.len()));
        self.condemned.extend(starts.iter().map(|start| file_at(&shared.config.commit_log_dir, *start)));
    }

    /// Removes the files that the log has given up.
    fn unlink(&mut self, shared: &Shared, config: &RetentionConfig, now: Moment, until: Instant) {
        if now.up_ms < self.retry_at {
            return;
        }
        let dir = &shared.config.commit_log_dir;
        while let Some(file) = self.condemned.front() {
            let removed = absent_is_fine(shared.disk.remove_file(file));
            // In their order on the disk, too: a crash must not leave the second without the first.
            if let Err(error) = removed.and_then(|()| shared.disk.sync_dir(dir)) {
                tracing::error!(
                    file = %file.display(), %error, waiting = self.condemned.len(),
                    "cannot remove a commit log file; tried again"
                );
                self.retry_at = now.up_ms + config.retry_ms;
                break;
            }
            self.condemned.pop_front();
            self.owed.bytes += shared.config.segment_size_bytes;
            self.owed.until = now.up_ms + config.retry_ms;
            if !self.condemned.is_empty() && pause(shared, config.log_pause_ms, until) {
                break;
            }
        }
    }

    /// Removes the files of queues and index that hold nothing of what the log has.
    fn sweep(&mut self, shared: &Shared, config: &RetentionConfig, now: Moment, until: Instant) {
        let min = shared.log.min();
        if self.sweep.is_none() && min > self.swept && now.up_ms >= self.sweep_at {
            self.sweep = Some(Sweep { min, left: shared.registry.names(), removed: 0, failed: None });
        }
        let Some(Sweep { min, left, removed, failed }) = &mut self.sweep else { return };
        while let Some((topic, id)) = left.pop() {
            match shared.registry.drop_below(&topic, id, *min) {
                Ok(0) => {}
                Ok(files) => {
                    *removed += files;
                    if pause(shared, config.queue_pause_ms, until) {
                        return;
                    }
                }
                Err(error) => *failed = Some(error.to_string()),
            }
        }
        if let Some(index) = &shared.index {
            match index.drop_below(*min) {
                Ok(files) => *removed += files,
                Err(error) => *failed = Some(error.to_string()),
            }
        }
        if *removed > 0 {
            tracing::info!(files = removed, below = min, "removed files of consume queues and index");
        }
        match failed {
            None => self.swept = *min,
            Some(error) => {
                tracing::error!(
                    error,
                    "cannot remove a file of a consume queue or of the index; tried again"
                );
                self.sweep_at = now.up_ms + config.retry_ms;
            }
        }
        self.sweep = None;
    }
}

/// Waits between two files. True if it is time for something else.
fn pause(shared: &Shared, ms: u64, until: Instant) -> bool {
    if ms > 0 && !shared.stopping() {
        shared.cleaning.bell.wait_at_most(Duration::from_millis(ms));
    }
    shared.stopping() || Instant::now() >= until
}

/// How long ago the segment that starts at `start` was used last; `None` if nothing says it.
fn age_ms(shared: &Shared, start: u64, now: Moment) -> Option<u64> {
    let file = file_at(&shared.config.commit_log_dir, start);
    let modified = shared.disk.modified_ms(&file).ok();
    // Not later than anything in the segment, and much quicker to find than its last record.
    let stored = shared.log.store_timestamp(start + shared.config.segment_size_bytes);
    let last = last_use(now.wall_ms, [modified, stored])?;
    Some(u64::try_from(now.wall_ms.saturating_sub(last)).unwrap_or(0))
}

fn touch(shared: &Shared, start: u64, now: Moment) -> io::Result<()> {
    let file = file_at(&shared.config.commit_log_dir, start);
    absent_is_fine(shared.disk.set_modified_ms(&file, now.wall_ms))
}

/// Someone else may have removed the file.
pub(crate) fn absent_is_fine(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
