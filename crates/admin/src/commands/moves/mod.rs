// SPDX-License-Identifier: Apache-2.0
//! Messages that are copied to other queues, each once: what `resendDlq` and `redistribute` share.
//!
//! A copy too many may be a card that is charged twice, a copy too few an order that nobody fulfils. So:
//!
//! - **One run at a time.** A [`Run`] holds locks of what it copies from, as orderly consumers do (LOCK_BATCH_MQ), and
//!   renews them while it works. A second run is refused, and told who was the last to begin. Who finds its lock gone
//!   ends.
//! - **First noted, then done.** Before copies are sent, a note of the [`ledger`] says which messages they are of, and
//!   from where on they lie in the target. Notes are messages, kept by the broker that has what is copied.
//! - **A copy names its message** by the id of its place, in a property. Message and property are one record.
//!
//! A run looks for copies of what was noted before, from the noted places on, and passes over those that it finds. It
//! needs no index for that, and no offset that a crash of the broker could take back.
//!
//! The locks of a run that was killed end after 60 s, and so do those of a run that got no answer to a send, which keeps
//! them. What it had on the way has arrived by then: nobody looks for a copy earlier.
//!
//! INVARIANT: a message is sent again only if it is known that the copy that was noted is not there.
//!
//! What is left: locks are in the memory of a broker. If it is restarted, and a second run begins and sends within the
//! second that the first takes to notice, the two send a message twice. And notes and copies are as durable as the brokers
//! flush: a power loss can take the note and leave the copy.

mod ledger;
mod reading;

pub(super) use ledger::{LEDGER, Ledger, Place};
pub(super) use reading::Reading;

use super::Command;
use crate::{
    admin::{AdminError, Outgoing, QueueAt, Sent, one_line},
    cli::{CommandError, Context, shorten},
    format::{now_ms, time},
    java_text::queue_text,
};
use oxmq_client::ReceivedMessage;
use oxmq_remoting::bodies::MessageQueue;
use oxmq_types::{java_string_hash, validate_group, validate_topic};
use std::collections::BTreeMap;

/// How often locks are renewed.
const RENEW_MS: i64 = 1_000;
/// Locks that were not renewed for so long are not relied upon any more; they end after 60 s.
const STALE_MS: i64 = 50_000;

/// Properties that say how a message came to where it is, or that it waits for something: a copy begins anew.
const FORGOTTEN: [&str; 18] = [
    "DELAY",
    "REAL_TOPIC",
    "REAL_QID",
    "ORIGIN_MESSAGE_ID",
    "RECONSUME_TIME",
    "MAX_RECONSUME_TIMES",
    "TIMER_DELIVER_MS",
    "TIMER_DELAY_MS",
    "TIMER_DELAY_SEC",
    "TIMER_OUT_MS",
    "TIMER_ENQUEUE_MS",
    "TIMER_DEQUEUE_MS",
    "TIMER_ROLL_TIMES",
    "TRAN_MSG",
    "PGROUP",
    "CLUSTER",
    "1ST_POP_TIME",
    "__CRC32#",
];

/// Checks names before anything is asked.
///
/// # Errors
/// [`CommandError::Usage`] for those that no group and no topic can have.
pub(super) fn check_names(group: &str, topics: &[&str]) -> Result<(), CommandError> {
    let topics = topics.iter().map(|topic| validate_topic(topic));
    let mut all = std::iter::once(validate_group(group)).chain(topics);
    all.try_for_each(|name| name.map_err(|error| CommandError::usage(error.to_string())))
}

/// The message that is sent: that of `message`, with its place in the property `mark`.
pub(super) fn copy(message: &ReceivedMessage, mark: &str) -> Outgoing {
    let mut copy = Outgoing::copy_of(message);
    for name in FORGOTTEN {
        copy.unset(name);
    }
    copy.set("UNIQ_KEY", &message.msg_id());
    copy.set("WAIT", "true");
    copy.set(mark, &message.offset_msg_id());
    copy
}

/// True if `found` is a copy of `message`.
pub(super) fn is_copy(found: &ReceivedMessage, message: &ReceivedMessage, mark: &str) -> bool {
    found.get(mark).is_some_and(|place| place == message.offset_msg_id())
}

/// The queue of a key among `count`.
pub(super) fn queue_of_key(key: &str, count: usize) -> usize {
    java_string_hash(key).unsigned_abs() as usize % count
}

/// One who copies, with its locks.
pub(super) struct Run {
    command: &'static str,
    /// Who runs it: the client of the locks.
    by: String,
    /// In whose name the queues are locked.
    lock_group: String,
    sources: Vec<QueueAt>,
    /// When the locks were renewed, in ms since 1970. The clock on the wall goes on while a machine sleeps.
    renewed_ms: i64,
    /// True while it is not known whether the last copy was stored.
    in_doubt: bool,
}

impl Run {
    /// Locks `sources` in the name of `lock_group`.
    ///
    /// # Errors
    /// [`CommandError::Failed`] if somebody else has one of them.
    pub(super) async fn begin(
        context: &Context<'_>,
        command: &'static Command,
        (lock_group, group): (&str, &str),
        sources: Vec<QueueAt>,
    ) -> Result<(Self, Ledger), CommandError> {
        let (by, lock_group, command) = (me(), lock_group.to_owned(), command.name);
        let mut run = Self { command, by, lock_group, sources, renewed_ms: 0, in_doubt: false };
        let result = run.prepare(context, group).await;
        match result {
            Ok(ledger) => Ok((run, ledger)),
            Err(error) => {
                run.end(context).await;
                Err(error)
            }
        }
    }

    async fn prepare(&mut self, context: &Context<'_>, group: &str) -> Result<Ledger, CommandError> {
        let taken = self.lock(context).await?;
        let mut ledger = Ledger::read(context, self.command, group, &self.sources).await?;
        if let Some(queue) = taken {
            let last = ledger.last_begun().map_or_else(String::new, |(by, ms)| {
                format!(" (the last to begin was {}, at {})", one_line(&shorten(by)), time(ms))
            });
            return Err(CommandError::failed(format!(
                "somebody else has locked {}{last}: two at once would send messages twice; if it was killed, its lock \
                 ends after 60 s",
                queue_text(&queue)
            )));
        }
        ledger.begin(context, &self.by).await?;
        Ok(ledger)
    }

    /// Locks the sources, or renews their locks. `Some` is a queue that somebody else has.
    async fn lock(&mut self, context: &Context<'_>) -> Result<Option<MessageQueue>, AdminError> {
        let asked_ms = now_ms();
        for (addr, queues) in self.by_broker() {
            let locked = context.admin.lock_queues(&addr, &self.lock_group, &self.by, &queues).await?;
            if let Some(queue) = queues.into_iter().find(|queue| !locked.contains(queue)) {
                return Ok(Some(queue));
            }
        }
        self.renewed_ms = asked_ms;
        Ok(None)
    }

    fn by_broker(&self) -> BTreeMap<String, Vec<MessageQueue>> {
        let mut brokers: BTreeMap<String, Vec<MessageQueue>> = BTreeMap::new();
        for QueueAt { queue, addr } in &self.sources {
            brokers.entry(addr.clone()).or_default().push(queue.clone());
        }
        brokers
    }

    /// Renews the locks now and then: to be called before each step.
    ///
    /// # Errors
    /// [`CommandError::Failed`] if they are lost.
    pub(super) async fn keep(&mut self, context: &Context<'_>) -> Result<(), CommandError> {
        let since_ms = now_ms() - self.renewed_ms;
        if (0..RENEW_MS).contains(&since_ms) {
            return Ok(());
        }
        if since_ms >= STALE_MS || self.lock(context).await?.is_some() {
            return Err(CommandError::failed(
                "the lock is lost, because a broker was restarted or this process stood still: another may be at work; \
                 nothing is lost, the same command goes on",
            ));
        }
        Ok(())
    }

    /// Sends a copy that has been noted.
    ///
    /// # Errors
    /// [`CommandError::Failed`] if it is not stored, or that is not known; then nobody else has the locks for 60 s.
    pub(super) async fn send(
        &mut self,
        context: &Context<'_>,
        to: &QueueAt,
        copy: &Outgoing,
    ) -> Result<Sent, CommandError> {
        self.keep(context).await?;
        self.in_doubt = true;
        let sent = context.admin.send(self.command, to, copy, None).await;
        self.in_doubt = matches!(sent, Err(AdminError::Call { .. } | AdminError::Unreadable { .. }));
        sent.map_err(|error| {
            let id = copy.get("UNIQ_KEY").unwrap_or_default();
            CommandError::failed(match self.in_doubt {
                true => format!(
                    "it is not known whether {id} was sent: {error}; the same command finds out and goes on, after 60 s"
                ),
                false => format!("{id} was not sent: {error}; the same command goes on where this one ended"),
            })
        })
    }

    /// Gives the locks back, unless it is not known what became of the last copy.
    pub(super) async fn end(self, context: &Context<'_>) {
        if self.in_doubt {
            return;
        }
        for (addr, queues) in self.by_broker() {
            // What is not given back expires.
            let _ = context.admin.unlock_queues(&addr, &self.lock_group, &self.by, &queues).await;
        }
    }
}

/// Who runs this, and no other run: user, machine, process, and an id.
fn me() -> String {
    let user = ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let host = host.or_else(|| std::env::var("HOSTNAME").ok());
    let plain = |text: Option<String>| -> String {
        let fits = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        text.unwrap_or_else(|| "unknown".into()).chars().filter(fits).take(64).collect()
    };
    format!("{}@{}@{}@{}", plain(user), plain(host), std::process::id(), oxmq_client::next_unique_id())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::message;

    #[test]
    fn a_copy_is_the_message_without_its_fate() {
        let message = message(
            "%DLQ%g",
            b"body",
            &[
                ("UNIQ_KEY", "U1"),
                ("KEYS", "order-7"),
                ("TAGS", "A"),
                ("DELAY", "18"),
                ("ORIGIN_MESSAGE_ID", "X"),
                ("mine", "y"),
            ],
        );
        let sent = copy(&message, "M");
        for (name, value) in [
            ("UNIQ_KEY", Some("U1")),
            ("KEYS", Some("order-7")),
            ("TAGS", Some("A")),
            ("mine", Some("y")),
            ("DELAY", None),
            ("ORIGIN_MESSAGE_ID", None),
        ] {
            assert_eq!(sent.get(name).as_deref(), value, "{name}");
        }
        assert_eq!(sent.get("M"), Some(message.offset_msg_id()));
    }

    #[test]
    fn a_copy_is_known_again_by_its_mark() {
        let dead = message("%DLQ%g", b"body", &[("UNIQ_KEY", "U1")]);
        let place = dead.offset_msg_id();
        let with = |properties: &[(&str, &str)]| message("T", b"body", properties);
        assert!(!is_copy(&with(&[("UNIQ_KEY", "U1")]), &dead, "M"));
        assert!(!is_copy(&with(&[("M", "7F00000100002A9F0000000000000083")]), &dead, "M"));
        assert!(!is_copy(&with(&[("N", &place)]), &dead, "M"));
        assert!(is_copy(&with(&[("M", &place)]), &dead, "M"));
    }

    #[test]
    fn a_message_without_a_key_gets_one_that_is_always_the_same() {
        let dead = message("%DLQ%g", b"body", &[]);
        assert_eq!(copy(&dead, "M").get("UNIQ_KEY"), Some(dead.offset_msg_id()));
    }

    #[test]
    fn who_runs_it_differs_from_run_to_run() {
        assert_ne!(me(), me());
        assert!(me().len() < 255 && me().split('@').count() == 4, "{}", me());
    }
}
