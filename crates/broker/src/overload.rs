// SPDX-License-Identifier: Apache-2.0
//! Overload: what is refused while the disk does not keep up.
//!
//! A send costs memory until its bytes are on the disk. While a disk stalls, the system takes more and more of them and
//! then stops whoever writes, in the middle of an append, and with it everybody else. So sends are refused before it
//! comes to that, and so are messages that are sent back, which consumers keep then; replies are handed over and not
//! stored. Reads, and what the broker stores itself (delayed messages that are due, decided transactions), go on: it is
//! bounded by what was taken before.
//!
//! The refusal is SERVICE_NOT_AVAILABLE with the cause in its remark. Clients of every version try that code again at
//! another broker. SYSTEM_BUSY, which Java answers, they only do since 5.1, and most clients are older.
//!
//! A send looks at two numbers. It asks the disk once in half of the limit, because between two looks at most that much
//! can have come.
//!
//! Java has an age limit for requests in its queues (`BrokerFastFailure`) and for the lock of its log
//! (`osPageCacheBusyTimeOutMills`). Here is no queue before the store.

use crate::refusal::Refusal;
use oxmq_store::Store;
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};
use tracing::{info, warn};

/// Lets sends in as long as the disk keeps up.
#[derive(Debug)]
pub(crate) struct Admission {
    store: Arc<Store>,
    /// Most bytes of the log that may wait for the disk.
    unflushed_max: u64,
    /// Up to this end of the log nobody has to look.
    quiet_until: AtomicU64,
    /// The disk has been told not to wait for its usual time.
    hurried: Arc<AtomicBool>,
    refusing: AtomicBool,
}

/// What is to be done if so many bytes wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Load {
    Usual,
    /// They are to be written now.
    High,
    /// No more is taken.
    Over,
}

fn judge(unflushed: u64, max: u64) -> Load {
    match unflushed {
        bytes if bytes > max => Load::Over,
        bytes if bytes > max / 2 => Load::High,
        _ => Load::Usual,
    }
}

impl Admission {
    pub(crate) fn new(store: Arc<Store>, unflushed_max: u64) -> Self {
        Self {
            store,
            unflushed_max,
            quiet_until: AtomicU64::new(0),
            hurried: Arc::default(),
            refusing: AtomicBool::new(false),
        }
    }

    /// # Errors
    /// [`Refusal::ServiceNotAvailable`] while too much waits for the disk.
    pub(crate) fn admit(&self) -> Result<(), Refusal> {
        let end = self.store.max_physical().0;
        if end <= self.quiet_until.load(Ordering::Relaxed) {
            return Ok(());
        }
        let flushed = self.store.flushed_to().0;
        self.quiet_until.store(flushed + self.unflushed_max / 2, Ordering::Relaxed);
        let unflushed = end.saturating_sub(flushed);
        let load = judge(unflushed, self.unflushed_max);
        if load != Load::Usual && !self.hurried.swap(true, Ordering::Relaxed) {
            let hurried = self.hurried.clone();
            let done = Box::new(move |_| hurried.store(false, Ordering::Relaxed));
            self.store.wait_flushed(self.store.max_physical(), done);
        }
        let refusing = load == Load::Over;
        match (self.refusing.swap(refusing, Ordering::Relaxed), refusing) {
            (false, true) => {
                warn!(unflushed, limit = self.unflushed_max, "the disk is behind, sends are refused")
            }
            (true, false) => info!(unflushed, "the disk has caught up, sends are taken again"),
            _ => {}
        }
        if refusing {
            let (mib, max) = (unflushed >> 20, self.unflushed_max >> 20);
            let remark = format!(
                "service not available now: the disk is behind, {mib} MiB wait for it, limit {max} MiB"
            );
            return Err(Refusal::ServiceNotAvailable(remark));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Fixture;
    use oxmq_store::MemoryDisk;
    use serde_json::json;
    use std::time::{Duration, Instant};

    #[test]
    fn the_limit_counts_what_waits() {
        for (unflushed, load) in
            [(0, Load::Usual), (50, Load::Usual), (51, Load::High), (100, Load::High), (101, Load::Over)]
        {
            assert_eq!(judge(unflushed, 100), load, "{unflushed}");
        }
    }

    #[tokio::test]
    async fn sends_are_refused_while_the_disk_stalls_and_taken_when_it_goes_on() {
        let disk = Arc::new(MemoryDisk::default());
        let broker = Fixture::on(&disk, |settings| settings.sends.unflushed_max_bytes = 64 << 10);
        assert_eq!(broker.send("T", &[], json!({})).await.code, 0);
        disk.faults().fsync_stalls.store(true, Ordering::SeqCst);
        let mut taken = 0;
        let refused = loop {
            let answer = broker.send("T", &[], json!({})).await;
            if answer.code != 0 {
                break answer;
            }
            taken += 1;
            assert!(taken < 10_000, "everything is taken");
        };
        let remark = "service not available now: the disk is behind";
        Fixture::check_refused(&refused, (14, remark));
        let stored = broker.stored("T", 0).len();
        assert!(stored > 100, "{stored} messages fit into the limit");
        // What was consumed and failed stays with its consumer; it would be stored again and again.
        let first = broker.stored("T", 0)[0].view().physical_offset().0;
        let fields = json!({"offset": first, "group": "g", "delayLevel": -1});
        let back = broker.ask(oxmq_remoting::code::request::CONSUMER_SEND_MSG_BACK, fields, b"").await;
        Fixture::check_refused(&back, (14, remark));
        // Nobody waits for this reply, so all that could become of it is to be stored.
        let fields = json!({"a": "RG", "b": "T", "c": "TBW102", "d": 4, "e": 0, "f": 0, "g": 77, "h": 9});
        let reply = broker.ask(oxmq_remoting::code::request::SEND_REPLY_MESSAGE_V2, fields, b"r").await;
        assert_eq!(reply.field("msgId").as_deref(), Some("0"));
        assert_eq!(broker.stored("T", 0).len(), stored);
        disk.faults().fsync_stalls.store(false, Ordering::SeqCst);
        let deadline = Instant::now() + Duration::from_secs(10);
        while broker.send("T", &[], json!({})).await.code != 0 {
            assert!(Instant::now() < deadline, "it has not caught up");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
