// SPDX-License-Identifier: Apache-2.0
//! How far the engine has come, on the disk.
//!
//! | file | says | whose |
//! |---|---|---|
//! | `config/delayOffset.json` | by level, the next message to deliver | Java's, used both ways |
//! | `config/timercheck` | how far the timer came | Java's, used both ways: see [`TimerCheck`] |
//! | `delay/checkpoint` | [`Checkpoint`] | ours |
//! | `delay/run-N` | what is pending | ours: `run` |
//! | `timerwheel`, `timerlog/` | what is pending | Java's; removed when we have taken it over |
//!
//! INVARIANT: nothing is written here before the messages that it calls delivered are durable in their topics. It may
//! be old after a crash: then messages are delivered again, and none is lost.
//!
//! Java: `ScheduleMessageService`, `DelayOffsetSerializeWrapper`, `TimerCheckpoint`.

use super::{
    DelayRules,
    engine::{Aside, Engine, Line, World},
    marks::{Key, Marks},
    pending::{Pending, Sizes},
    run::RunName,
};
use crate::persist::{ConfigFile, Kept, LoadError};
use oxmq_remoting::{bodies::DataVersion, fastjson};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};
use tracing::{info, warn};

/// `config/delayOffset.json`, and the answer to GET_ALL_DELAY_OFFSET (45).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct DelayOffsets {
    pub(super) data_version: DataVersion,
    offset_table: BTreeMap<u32, i64>,
}

impl Kept for DelayOffsets {
    const MEMBER: &str = "offsetTable";
}

impl DelayOffsets {
    /// As Java writes it.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        // A map of numbers cannot fail to become JSON.
        fastjson::to_vec_with_bare_keys(self).unwrap_or_default()
    }
}

/// `config/timercheck` and the answer to GET_TIMER_CHECK_POINT (60): 56 bytes, big-endian; the file has 4,096.
/// ```text
/// 0 last read time 8 | 8 flushed end of the timerlog 8 | 16 queue offset 8 | 24 of the master 8
/// 32 state version 8 | 40 version: changed at 8 | 48 version: changes 8
/// ```
/// A message is delivered if it stands before the queue offset, and its slot before the last read time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct TimerCheck {
    read_ms: i64,
    queue_offset: i64,
    /// A Java broker that works here changes it, we do not: so we notice that one did.
    version_ms: i64,
    changes: i64,
}

/// No queue has a higher number.
const LEVELS_MAX: u32 = 65_536;
/// Java maps a page of this size.
const TIMER_CHECK_FILE: u64 = 4096;

impl TimerCheck {
    pub(crate) fn encode(&self) -> [u8; 56] {
        let mut out = [0; 56];
        for (at, value) in [
            (0, self.read_ms),
            (16, self.queue_offset),
            (24, self.queue_offset),
            (40, self.version_ms),
            (48, self.changes),
        ] {
            out[at..at + 8].copy_from_slice(&value.to_be_bytes());
        }
        out
    }

    pub(super) fn read(path: &Path) -> io::Result<Option<Self>> {
        let content = match fs::read(path) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let at = |at: usize| Some(i64::from_be_bytes(*content.get(at..)?.first_chunk()?));
        let read = || {
            // As Java's own start does: the lesser of both offsets.
            let queue_offset = at(16)?.min(at(24)?);
            Some(Self { read_ms: at(0)?, queue_offset, version_ms: at(40)?, changes: at(48)? })
        };
        Ok(read())
    }

    /// What a Java broker has delivered.
    fn marks(&self) -> Marks {
        Marks::new(Key::end_of(self.read_ms), u64::try_from(self.queue_offset).unwrap_or(0))
    }
}

/// `delay/checkpoint`, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Checkpoint {
    marks: Marks,
    cut: u64,
    runs: Vec<RunName>,
    next_run: u64,
    recalls: Vec<u64>,
    aside: Vec<Aside>,
    timer_check: TimerCheck,
    /// `delayOffset.json` as it was written next. As long as it is that, `levels` say more: how far the levels are
    /// delivered but for what is set aside.
    delay_offsets: DelayOffsets,
    levels: BTreeMap<u32, u64>,
}

impl Kept for Checkpoint {
    const MEMBER: &str = "marks";
}

/// What is to be saved.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    checkpoint: Checkpoint,
}

impl Snapshot {
    pub(crate) fn delay_offsets(&self) -> &DelayOffsets {
        &self.checkpoint.delay_offsets
    }
    pub(crate) fn timer_check(&self) -> TimerCheck {
        self.checkpoint.timer_check
    }
}

/// The files.
#[derive(Debug)]
pub(crate) struct Files {
    root: PathBuf,
    checkpoint: ConfigFile,
    delay_offsets: ConfigFile,
}

/// What stays the same from one snapshot to the next, or counts them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Version {
    delay_offsets: DataVersion,
    timer_check: TimerCheck,
}

impl Files {
    /// `root`: the store's folder, `storePathRootDir`.
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            checkpoint: ConfigFile::new(root.join("delay/checkpoint")),
            delay_offsets: ConfigFile::new(root.join("config/delayOffset.json")),
        }
    }

    fn dir(&self) -> PathBuf {
        self.root.join("delay")
    }

    fn timer_check(&self) -> PathBuf {
        self.root.join("config/timercheck")
    }

    /// Begins where the files say. `levels`: numbers of the levels that have a queue.
    ///
    /// # Errors
    /// If one of Java's files cannot be read. Of ours, any can be missing or damaged.
    pub(crate) fn load(
        &self,
        rules: &DelayRules,
        sizes: Sizes,
        levels: impl Iterator<Item = u32>,
        world: &impl World,
    ) -> Result<(Engine, Version), LoadError> {
        let unreadable = |path: PathBuf| |error: io::Error| LoadError { path, reason: error.to_string() };
        let dir = self.dir();
        fs::create_dir_all(&dir).map_err(unreadable(dir.clone()))?;

        let ours = self.checkpoint.load::<Checkpoint>().unwrap_or_else(|error| {
            warn!(%error, "messages may be delivered again");
            None
        });
        let offsets = self.delay_offsets.load::<DelayOffsets>()?;
        let offsets =
            offsets.or_else(|| ours.as_ref().map(|ours| ours.delay_offsets.clone())).unwrap_or_default();
        let mut next: BTreeMap<u32, u64> = levels.map(|level| (level, 0)).collect();
        for (&level, &offset) in &offsets.offset_table {
            if !(1..=LEVELS_MAX).contains(&level) {
                warn!(level, "delayOffset.json has a level that cannot be");
                continue;
            }
            next.insert(level, u64::try_from(offset).unwrap_or(0));
        }

        let java = TimerCheck::read(&self.timer_check()).map_err(unreadable(self.timer_check()))?;
        if let Some(ours) = ours.as_ref().filter(|ours| ours.delay_offsets == offsets) {
            next.extend(&ours.levels);
        }
        // Even if the rest does not count: nothing else knows of them but Java's offsets, which its broker moves on.
        let aside = ours.as_ref().map_or_else(Vec::new, |ours| ours.aside.clone());
        let same = |ours: &Checkpoint| {
            java.is_none_or(|java| {
                (java.version_ms, java.changes) == (ours.timer_check.version_ms, ours.timer_check.changes)
            })
        };
        let (first, end) = world.range(Line::Timer);
        let (pending, recalls) = match ours.filter(|ours| ours.marks.is_sound()) {
            Some(ours) if same(&ours) => {
                let whole = ours.marks.known() <= end && ours.cut <= ours.marks.known();
                let runs = (&ours.runs[..], ours.next_run);
                let opened = Pending::open(&dir, sizes, ours.marks.clone(), ours.cut, runs);
                let pending = opened.map_err(|error| error.to_string());
                let pending =
                    pending.and_then(|pending| whole.then_some(pending).ok_or("the queue is shorter".into()));
                let pending = pending.unwrap_or_else(|reason| {
                    warn!(reason, "pending messages are read again from their queue");
                    let mut marks = ours.marks;
                    marks.truncate(end);
                    Pending::unread(&dir, sizes, marks, first, ours.next_run)
                });
                (pending, ours.recalls)
            }
            ours => {
                let next_run = ours.map_or(0, |ours| ours.next_run);
                let mut marks = java.map_or_else(Marks::default, |java| java.marks());
                marks.truncate(end);
                if end > 0 {
                    info!(
                        from = first,
                        to = end,
                        known = marks.known(),
                        "pending messages are read from their queue"
                    );
                }
                (Pending::unread(&dir, sizes, marks, first, next_run), Vec::new())
            }
        };
        let engine = Engine::new(rules.clone(), &next, pending, (&recalls, aside), world);
        let fresh = TimerCheck { version_ms: world.now_ms(), ..TimerCheck::default() };
        Ok((engine, Version { delay_offsets: offsets.data_version, timer_check: java.unwrap_or(fresh) }))
    }

    /// What of `engine` is to be saved.
    pub(crate) fn snapshot(engine: &mut Engine, version: &mut Version, now_ms: i64) -> Snapshot {
        version.delay_offsets.advance(now_ms);
        let pending = &engine.pending;
        let precision_ms = engine.rules().timer_precision_ms;
        // A message that is set aside is not delivered, so what Java is told ends before it.
        let before_aside = |line, next: u64| {
            let aside = engine.aside().iter().filter(|aside| aside.line == line);
            aside.map(|aside| aside.offset).fold(next, u64::min)
        };
        let timer_check = TimerCheck {
            read_ms: pending.marks().least().due_ms.max(0) / precision_ms * precision_ms,
            // From there on a Java broker reads the queue again.
            queue_offset: before_aside(Line::Timer, pending.least_offset()) as i64,
            ..version.timer_check
        };
        let levels = engine.progress();
        let begun = levels.iter().filter(|(_, next)| **next > 0);
        let offset_table =
            begun.map(|(&level, &next)| (level, before_aside(Line::Level(level), next) as i64));
        let delay_offsets =
            DelayOffsets { data_version: version.delay_offsets, offset_table: offset_table.collect() };
        let checkpoint = Checkpoint {
            marks: pending.marks().clone(),
            cut: pending.cut_at(),
            runs: pending.runs().collect(),
            next_run: pending.next_run(),
            aside: engine.aside().to_vec(),
            recalls: engine.recalls(),
            timer_check,
            delay_offsets,
            levels,
        };
        Snapshot { checkpoint }
    }

    /// Writes a snapshot. All messages that it calls delivered must be durable.
    ///
    /// # Errors
    /// If a file cannot be written: the last snapshot, or part of this one, counts then.
    pub(crate) fn save(&self, snapshot: &Snapshot) -> io::Result<()> {
        let dir = self.dir();
        let Snapshot { checkpoint } = snapshot;
        for run in &checkpoint.runs {
            File::open(run.path(&dir))?.sync_data()?;
        }
        File::open(&dir)?.sync_all()?;
        self.checkpoint.replace(|| Ok(serde_json::to_vec(checkpoint)?))?;
        self.delay_offsets.replace(|| Ok(checkpoint.delay_offsets.to_json()))?;
        // Written in place, as Java does: an empty file would make it deliver everything again.
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(self.timer_check())?;
        file.set_len(TIMER_CHECK_FILE)?;
        file.write_all_at(&checkpoint.timer_check.encode(), 0)?;
        file.sync_data()?;
        Pending::remove_others(&dir, &checkpoint.runs, checkpoint.next_run)?;
        self.forget_wheel()
    }

    /// Removes Java's wheel. What it holds is known to us, and if it stayed, a Java broker that is started here later
    /// would go on from where it stood and deliver again what we have delivered since.
    fn forget_wheel(&self) -> io::Result<()> {
        let gone = |result: io::Result<()>| match result {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
        gone(fs::remove_dir_all(self.root.join("timerlog")))?;
        gone(fs::remove_file(self.root.join("timerwheel")))
    }
}
