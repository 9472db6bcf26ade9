// SPDX-License-Identifier: Apache-2.0
//! How the broker is doing: the lines of `brokerStatus`, the columns of `clusterList`, the counters of `statsAll`.
//!
//! Exporters read every key of Java and stumble over one that is absent. So those of thread pools, of latencies and
//! of timers are there, too, with 0: there are no such pools, and nothing of that kind is measured here.

use super::{Parts, answer};
use crate::{groups::now_ms, rates::Growths, refusal::Refusal, stats::Totals};
use oxmq_remoting::{Command, VERSION, bodies::KVTable, version_name};
use rustix::fs::statvfs;
use std::{collections::BTreeMap, path::Path};

/// Keys of what there is none of.
const ZEROS: [&str; 17] = [
    "dispatchBehindBytes",
    "dispatchMaxBuffer",
    "pageCacheLockTimeMills",
    "putMessageEntireTimeMax",
    "getMessageEntireTimeMax",
    "timerReadBehind",
    "sendThreadPoolQueueSize",
    "sendThreadPoolQueueHeadWaitTimeMills",
    "pullThreadPoolQueueSize",
    "pullThreadPoolQueueHeadWaitTimeMills",
    "litePullThreadPoolQueueSize",
    "litePullThreadPoolQueueHeadWaitTimeMills",
    "queryThreadPoolQueueSize",
    "queryThreadPoolQueueHeadWaitTimeMills",
    "ackThreadPoolQueueSize",
    "ackThreadPoolQueueHeadWaitTimeMills",
    "EndTransactionQueueSize",
];

/// Lengths of queues in front of pools, by the key that says them.
const CAPACITIES: [(&str, &str); 6] = [
    ("sendThreadPoolQueueCapacity", "sendThreadPoolQueueCapacity"),
    ("pullThreadPoolQueueCapacity", "pullThreadPoolQueueCapacity"),
    ("litePullThreadPoolQueueCapacity", "litePullThreadPoolQueueCapacity"),
    ("queryThreadPoolQueueCapacity", "queryThreadPoolQueueCapacity"),
    ("ackThreadPoolQueueCapacity", "ackThreadPoolQueueCapacity"),
    ("EndTransactionThreadPoolQueueCapacity", "endTransactionPoolQueueCapacity"),
];

/// Java's shares of sends that took no longer, in ms.
const LATENCIES: [&str; 2] = ["putLatency99", "putLatency999"];

/// Java's slots of times that sends took.
const NO_DISTRIBUTION: &str = "[<=0ms]:0 [0~10ms]:0 [10~50ms]:0 [50~100ms]:0 [100~200ms]:0 [200~500ms]:0 \
                               [500ms~1s]:0 [1~2s]:0 [2~3s]:0 [3~4s]:0 [4~5s]:0 [5~10s]:0 [10s~]:0 ";

impl Parts {
    pub(super) fn runtime_info(&self) -> Result<Command, Refusal> {
        let now = now_ms();
        let totals = self.stats.totals(self.offsets.consumed());
        let mornings = self.rates.mornings();
        let mut table: BTreeMap<String, String> = ZEROS.iter().map(|&key| (key.into(), "0".into())).collect();
        let mut put = |key: &str, value: String| drop(table.insert(key.to_owned(), value));

        // There are no such pools; tools that divide by these find what is configured.
        let configured = self.rules.get().configuration.read();
        for (shown, key) in CAPACITIES {
            put(shown, configured.get(key).unwrap_or("0").to_owned());
        }
        put("brokerVersion", VERSION.to_string());
        put("brokerVersionDesc", version_name().to_owned());
        put("brokerActive", "true".to_owned());
        put("bootTimestamp", self.rates.started_ms().to_string());
        put("runtime", days_hours(now - self.rates.started_ms()));
        put("startAcceptSendRequestTimeStamp", self.rules.get().accepts_sends_from_ms.to_string());

        put("msgPutTotalYesterdayMorning", mornings.yesterday.put_for_users().to_string());
        put("msgPutTotalTodayMorning", mornings.today.put_for_users().to_string());
        put("msgPutTotalTodayNow", totals.put_for_users().to_string());
        put("msgGetTotalYesterdayMorning", mornings.yesterday.got_by_users().to_string());
        put("msgGetTotalTodayMorning", mornings.today.got_by_users().to_string());
        put("msgGetTotalTodayNow", totals.got_by_users().to_string());

        put("putMessageTimesTotal", totals.put_messages.to_string());
        put("putMessageFailedTimes", totals.put_failures.to_string());
        put("putMessageSizeTotal", totals.put_bytes.to_string());
        put(
            "putMessageAverageSize",
            (totals.put_bytes as f64 / totals.put_messages.max(1) as f64).to_string(),
        );
        for key in LATENCIES {
            put(key, "0.00".to_owned());
        }
        put("putMessageDistributeTime", NO_DISTRIBUTION.to_owned());
        let tps = |pick: fn(&Totals) -> u64| {
            [10, 60, 600]
                .map(|seconds| self.rates.per_second(now, &totals, seconds, pick).to_string())
                .join(" ")
        };
        put("putTps", tps(|totals| totals.put_messages));
        put("getFoundTps", tps(|totals| totals.pulls_found));
        put("getMissTps", tps(|totals| totals.pulls_missed));
        put("getTotalTps", tps(|totals| totals.pulls_found + totals.pulls_missed));
        put("getTransferredTps", tps(|totals| totals.got_messages));
        // COMPAT(java 4.9): mqadmin of 4.x stumbles over its absence, with brokers of Java 5 as well.
        put("getTransferedTps", tps(|totals| totals.got_messages));
        put("commitOffsetBackwardIgnored", self.offsets.backward().to_string());

        put("removedUnconsumed", self.stats.removed_unconsumed().to_string());
        put("commitLogFilesHanged", self.store.hanged_files().to_string());

        let (first, end) = (self.store.min_physical(), self.store.max_physical());
        put("commitLogMinOffset", first.0.to_string());
        put("commitLogMaxOffset", end.0.to_string());
        put("earliestMessageTimeStamp", self.store.store_timestamp(first).unwrap_or(-1).to_string());
        put("damagedRecordsMet", self.store.damage_met().to_string());
        put("remainHowManyDataToFlush", readable(end.0.saturating_sub(self.store.flushed_to().0)));
        put("remainTransientStoreBufferNumbs", i32::MAX.to_string());
        let delays = self.delays.status();
        put("timerOffsetBehind", delays.unread.to_string());
        put("timerCongestNum", delays.pending.to_string());
        put("delayedDelivered", delays.counts.delivered.to_string());
        put("delayedRecalled", delays.counts.recalled.to_string());
        put("delayedFailed", delays.counts.failed.to_string());
        put("delayedLost", delays.counts.lost.to_string());
        for (level, (next, end)) in delays.levels {
            put(&format!("scheduleMessageOffset_{level}"), format!("{next},{end}"));
        }
        put("timerEnqueueTps", "0.0".to_owned());
        put("timerDequeueTps", "0.0".to_owned());
        for (key, dir) in [
            ("commitLogDiskRatio", &self.rules.get().commit_log_dir),
            ("consumeQueueDiskRatio", &self.rules.get().consume_queue_dir),
        ] {
            let disk = Disk::of(dir);
            let ratio = disk.as_ref().map_or(-1.0, Disk::used_ratio).to_string();
            if key == "commitLogDiskRatio" {
                put(&format!("{key}_{}", dir.display()), ratio.clone());
                if let Some(disk) = disk {
                    let (total, free) = (readable(disk.total), readable(disk.free));
                    put("commitLogDirCapacity", format!("Total : {total}, Free : {free}."));
                }
            }
            put(key, ratio);
        }
        answer(&KVTable { table })
    }

    /// How fast one counter grows.
    pub(super) fn growths(&self, name: &str, key: &str) -> Result<Command, Refusal> {
        let growths: Option<Growths> = self.rates.growths(now_ms(), &format!("{name}@{key}"));
        answer(&growths.ok_or_else(|| Refusal::System(format!("The stats <{name}> <{key}> not exist")))?)
    }
}

/// The file system under a folder, in bytes.
struct Disk {
    total: u64,
    free: u64,
    /// What is free for those who are not root.
    usable: u64,
}

impl Disk {
    fn of(dir: &Path) -> Option<Self> {
        let found = statvfs(dir).ok()?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        Some(Self { total: bytes(found.f_blocks), free: bytes(found.f_bfree), usable: bytes(found.f_bavail) })
    }

    /// From 0 to 1, in whole percent, rounded up. Java: `UtilAll#getDiskPartitionSpaceUsedPercent`.
    fn used_ratio(&self) -> f64 {
        let used = u128::from(self.total.saturating_sub(self.free));
        let all = used + u128::from(self.usable);
        let percent = (used * 100).div_ceil(all.max(1));
        percent as f64 / 100.0
    }
}

/// Java: `MixAll#humanReadableByteCount`.
fn readable(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = "";
    for next in ["K", "M", "G", "T", "P", "E"] {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    if unit.is_empty() { format!("{bytes} B") } else { format!("{value:.1} {unit}iB") }
}

fn days_hours(time_ms: i64) -> String {
    let seconds = time_ms.max(0) / 1000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    format!("[ {days} days, {hours} hours, {minutes} minutes, {} seconds ]", seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_what_java_writes() {
        for (bytes, text) in [(0, "0 B"), (1023, "1023 B"), (2882, "2.8 KiB"), (270_582_939_648, "252.0 GiB")]
        {
            assert_eq!(readable(bytes), text);
        }
        assert_eq!(days_hours(90_061_999), "[ 1 days, 1 hours, 1 minutes, 1 seconds ]");
        assert_eq!(days_hours(-5), "[ 0 days, 0 hours, 0 minutes, 0 seconds ]");
        let disk = Disk { total: 1000, free: 800, usable: 790 };
        assert_eq!(disk.used_ratio(), 0.21);
        assert_eq!(Disk { total: 0, free: 0, usable: 0 }.used_ratio(), 0.0);
    }
}
