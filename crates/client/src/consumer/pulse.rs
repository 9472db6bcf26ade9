// SPDX-License-Identifier: Apache-2.0
//! Keeps the runtime awake while a handler blocks one of its threads, and says when none is free.
//!
//! The thread of a tokio runtime that waited for network and timers goes on with what they made ready. If that blocks
//! while the other threads sleep, nobody waits for network and timers until something wakes one of them: heartbeats of
//! the whole client would end, and its queues go to others. A task that comes from outside of the runtime wakes one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    time::Duration,
};
use tokio::runtime::Handle;
use tracing::{info, warn};

const EVERY: Duration = Duration::from_secs(1);
/// After so many beats without a free thread it is told.
const TOLD_AFTER: u32 = 5;

/// A thread that has the runtime run a task every second; it ends when this is dropped.
pub(super) struct Pulse(#[expect(dead_code, reason = "its end is the signal")] mpsc::Sender<()>);

impl Pulse {
    /// For the runtime in which this is called. `None` if the system has no thread to give.
    pub(super) fn start(group: &str) -> Option<Self> {
        let (end, ended) = mpsc::channel();
        let (runtime, group) = (Handle::current(), group.to_owned());
        let thread = std::thread::Builder::new().name("oxmq-pulse".to_owned());
        let started = thread.spawn(move || beat(&runtime, &group, &ended));
        started.map_err(|error| warn!(%error, "no thread to look after handlers that block")).ok()?;
        Some(Self(end))
    }
}

fn beat(runtime: &Handle, group: &str, ended: &mpsc::Receiver<()>) {
    // The task of the last beat has run.
    let ran = Arc::new(AtomicBool::new(true));
    let mut missed = 0;
    while ended.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
        if !ran.swap(false, Ordering::AcqRel) {
            missed += 1;
            if missed == TOLD_AFTER {
                warn!(
                    group,
                    "no thread of the runtime was free for {missed} s, heartbeats included: handlers block them all; \
                     put blocking code into `oxmq_client::consumer::blocking`"
                );
            }
            continue;
        }
        if missed >= TOLD_AFTER {
            info!(group, "a thread of the runtime is free again, after {missed} s");
        }
        missed = 0;
        let ran = ran.clone();
        runtime.spawn(async move { ran.store(true, Ordering::Release) });
    }
}
