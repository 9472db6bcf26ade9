// SPDX-License-Identifier: Apache-2.0
//! Removal: says which messages the store is about to remove that somebody still waits for, while they are still there.
//!
//! A group waits for what lies behind its committed offset, the delays for what they have not delivered of their levels,
//! the transactions for their half messages. A delayed message that waits for a time of its own counts when that has
//! come (`delayedLost`). A message for which two groups wait counts twice.
//!
//! Java removes them without a word.

use crate::{
    delay::DelayThread,
    offsets::Offsets,
    transaction::{self, Transactions},
};
use oxmq_store::{QueueError, Removal};
use oxmq_types::{QueueId, QueueOffset, SCHEDULE_TOPIC};
use tracing::{error, warn};

/// Lines that one removal may cost; the largest losses are named.
const LINES_MAX: usize = 20;

/// Messages of one queue that will be missed.
struct Loss {
    group: String,
    topic: String,
    queue: u32,
    next: u64,
    messages: u64,
}

/// Writes to the log what will be missed, and returns how many messages that are.
pub(crate) fn announce(
    removal: &Removal<'_>,
    offsets: &Offsets,
    delays: &DelayThread,
    transactions: &Transactions,
) -> u64 {
    let mut losses = Vec::new();
    let mut unreadable: Option<QueueError> = None;
    let mut note = |group: &str, topic: &str, queue: u32, next: u64| match removal.unread(
        topic,
        QueueId(queue),
        QueueOffset(next),
    ) {
        Ok(0) => {}
        Ok(messages) => {
            let (group, topic) = (group.to_owned(), topic.to_owned());
            losses.push(Loss { group, topic, queue, next, messages });
        }
        Err(error) => unreadable = Some(error),
    };
    for (group, topic, queues) in offsets.all() {
        // Its offset stands at the first half message that waits; most of those behind it have ended.
        if group != transaction::GROUP {
            queues.into_iter().for_each(|(queue, next)| note(&group, &topic, queue, next));
        }
    }
    for (level, (next, _)) in delays.status().levels {
        note("delayed messages", SCHEDULE_TOPIC, level - 1, next);
    }
    if let Some(error) = unreadable {
        error!(%error, "a queue cannot be read; what is removed from it unread is not counted");
    }

    losses.sort_unstable_by_key(|loss| std::cmp::Reverse(loss.messages));
    let mut total: u64 = losses.iter().map(|loss| loss.messages).sum();
    let reason = removal.reason;
    for Loss { group, topic, queue, next, messages } in losses.iter().take(LINES_MAX) {
        let to = next + messages;
        warn!(
            group,
            topic,
            queue,
            next,
            to,
            messages,
            ?reason,
            "messages are removed that were not consumed"
        );
    }
    if losses.len() > LINES_MAX {
        let (queues, messages) = (losses.len(), total);
        warn!(
            queues,
            messages,
            ?reason,
            "messages are removed that were not consumed, in these and other queues"
        );
    }
    let halves = transactions.waiting_below(removal.end());
    if halves > 0 {
        warn!(messages = halves, ?reason, "half messages are removed whose transactions have not ended");
        total += halves;
    }
    total
}

#[cfg(test)]
mod tests {
    use crate::fixture::Fixture;
    use oxmq_remoting::code::{self, request as codes};
    use oxmq_store::{MemoryDisk, RetentionConfig, Store, StoreConfig, tags_of};
    use oxmq_types::{QueueId, QueueOffset};
    use serde_json::{Value, json};
    use std::{
        sync::{Arc, atomic::Ordering},
        time::{Duration, Instant},
    };

    fn broker(disk: &Arc<MemoryDisk>, retention: RetentionConfig) -> Fixture {
        Fixture::over(
            |config| {
                let retention = Some(RetentionConfig { log_pause_ms: 0, queue_pause_ms: 0, ..retention });
                let config =
                    StoreConfig { segment_size_bytes: 4096, checkpoint_interval_ms: 5, retention, ..config };
                Store::open_in_memory(disk, config, Box::new(tags_of)).unwrap()
            },
            |settings| settings.topics.default_queues = 1,
        )
    }

    async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
        let begin = Instant::now();
        while !holds().await {
            assert!(begin.elapsed() < Duration::from_secs(20), "{what}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn status(fixture: &Fixture, key: &str) -> String {
        let answer = fixture.ask(codes::GET_BROKER_RUNTIME_INFO, json!({}), b"").await;
        let body: Value = oxmq_remoting::fastjson::from_slice(&answer.body.pieces()[0]).unwrap();
        body["table"][key].as_str().unwrap().to_owned()
    }

    /// Removes all that can be removed, and says where queue 0 of `T` begins then.
    async fn clean(fixture: &Fixture) -> u64 {
        let queue = fixture.store.queue("T", QueueId(0)).unwrap();
        let max = queue.max_offset();
        until("not cleaned", async || {
            // The checkpoint may not have come so far when it was asked for the first time.
            let answer = fixture.ask(codes::DELETE_EXPIRED_COMMITLOG, json!({}), b"").await;
            assert_eq!(answer.code, 0);
            queue.min_offset().0 + 40 > max.0 && fixture.store.hanged_files() == 0
        })
        .await;
        queue.min_offset().0
    }

    #[tokio::test]
    async fn what_groups_have_not_consumed_is_counted_before_it_goes() {
        let disk = Arc::new(MemoryDisk::default());
        let fixture = broker(&disk, RetentionConfig { reserved_ms: 0, ..RetentionConfig::default() });
        let half = [("TRAN_MSG", "true"), ("PGROUP", "G"), ("UNIQ_KEY", "half")];
        assert_eq!(fixture.send("H", &half, json!({"f": 4})).await.code, 0);
        assert_eq!(fixture.send("T", &[("DELAY", "18")], json!({})).await.code, 0);
        for _ in 0..200 {
            assert_eq!(fixture.send("T", &[], json!({})).await.code, 0);
        }
        for (group, next) in [("behind", 3), ("far", 0), ("done", 200)] {
            fixture.broker.offsets.reset(group, "T", QueueId(0), QueueOffset(next));
        }
        fixture.broker.offsets.reset("behind", "never made", QueueId(0), QueueOffset(0));
        assert_eq!(status(&fixture, "removedUnconsumed").await, "0");
        let min = clean(&fixture).await;
        assert!(min > 100);
        // Two groups, the delayed message and the half message.
        assert_eq!(status(&fixture, "removedUnconsumed").await, (min - 3 + min + 2).to_string());
        assert_eq!(status(&fixture, "commitLogFilesHanged").await, "0");
        assert_ne!(status(&fixture, "commitLogMinOffset").await, "0");
        // Who asks for what is gone is sent to what is there.
        let pull = json!({"consumerGroup": "new", "topic": "T", "queueId": 0, "queueOffset": 3, "maxMsgNums": 1,
            "sysFlag": 4, "commitOffset": 0, "suspendTimeoutMillis": 0, "subVersion": 0, "subscription": "*"});
        let answer = fixture.ask(codes::PULL_MESSAGE, pull, b"").await;
        assert_eq!(answer.code, code::PULL_OFFSET_MOVED);
        assert_eq!(answer.field("nextBeginOffset").unwrap(), min.to_string());
    }

    #[tokio::test]
    async fn a_nearly_full_disk_is_said_as_by_java_and_over_when_there_is_space() {
        let disk = Arc::new(MemoryDisk::default());
        let kept = RetentionConfig { forcibly: false, ..RetentionConfig::default() };
        let fixture = broker(&disk, kept);
        for _ in 0..100 {
            assert_eq!(fixture.send("T", &[], json!({})).await.code, 0);
        }
        let half = [("TRAN_MSG", "true"), ("PGROUP", "G"), ("UNIQ_KEY", "half")];
        assert_eq!(fixture.send("H", &half, json!({"f": 4})).await.code, 0);
        let halves = fixture.store.existing_queue("RMQ_SYS_TRANS_HALF_TOPIC", QueueId(0)).unwrap().unwrap();
        let mut units = Vec::new();
        halves.read_units(QueueOffset(0), 1, &mut units).unwrap();
        let end = json!({"producerGroup": "G", "tranStateTableOffset": 0, "commitLogOffset": units[0].physical.0,
            "commitOrRollback": 8, "fromTransactionCheck": false, "msgId": "half", "transactionId": "half"});
        assert_eq!(fixture.send("D", &[("DELAY", "1")], json!({})).await.code, 0);

        let space = disk.faults().space.swap(1, Ordering::SeqCst);
        // Has the thread look at the disk.
        fixture.store.clean();
        until("still taken", async || fixture.store.refuses().is_some()).await;
        let refused = fixture.send("T", &[], json!({})).await;
        assert_eq!(refused.code, 14);
        assert_eq!(
            refused.remark.unwrap(),
            "service not available now. It may be caused by one of the following reasons: \
             the broker's disk is full [CL:  1.00 CQ:  1.00 INDEX: -1.00], messages are put to the slave, \
             message store has been shut down, etc."
        );
        // What waits goes on to wait.
        assert_eq!(fixture.ask(codes::END_TRANSACTION, end.clone(), b"").await.code, 14);
        until("not tried", async || status(&fixture, "delayedFailed").await != "0").await;
        assert_eq!((fixture.stored("D", 0).len(), fixture.stored("H", 0).len()), (0, 0));

        disk.faults().space.store(space, Ordering::SeqCst);
        fixture.store.clean();
        until("still refused", async || fixture.store.refuses().is_none()).await;
        assert_eq!(fixture.send("T", &[], json!({})).await.code, 0);
        assert_eq!(fixture.ask(codes::END_TRANSACTION, end, b"").await.code, 0);
        until("not delivered", async || fixture.stored("D", 0).len() == 1).await;
        assert_eq!(fixture.stored("H", 0).len(), 1);
        assert_eq!(status(&fixture, "delayedLost").await, "0");
    }
}
