// SPDX-License-Identifier: Apache-2.0
//! Threads with one single-threaded runtime each.

use std::{
    io,
    sync::atomic::{AtomicUsize, Ordering},
    thread::{self, JoinHandle},
};
use tokio::{
    runtime::{Builder, Handle},
    sync::watch,
};

/// The threads on which connections and background tasks run.
///
/// Compared with one work-stealing runtime this saves the wake-ups of idle threads: on two cores a request that
/// comes alone costs about a third less (`docs/adr/2026-11-21-worker-threads.md`).
#[derive(Debug)]
pub struct Workers {
    handles: Vec<Handle>,
    threads: Vec<JoinHandle<()>>,
    next: AtomicUsize,
    stop: watch::Sender<bool>,
}

impl Workers {
    /// Starts `count` threads, at least one.
    ///
    /// # Errors
    /// If the system gives no thread or no epoll handle.
    pub fn start(count: usize) -> io::Result<Self> {
        let (stop, _) = watch::channel(false);
        let mut workers = Self { handles: Vec::new(), threads: Vec::new(), next: AtomicUsize::new(0), stop };
        for number in 0..count.max(1) {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            workers.handles.push(runtime.handle().clone());
            let mut stopped = workers.stop.subscribe();
            let thread = thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
                // An error means that the sender is gone, which is as good a reason to stop.
                let _ = runtime.block_on(stopped.wait_for(|stop| *stop));
            })?;
            workers.threads.push(thread);
        }
        Ok(workers)
    }

    /// The runtime of background tasks.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handles[0].clone()
    }

    /// The runtimes, of which connections take one after the other.
    pub(crate) fn handles(&self) -> Vec<Handle> {
        // Each user starts at another thread, so that a lone listener's work does not always meet the first.
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        let mut handles = self.handles.clone();
        handles.rotate_left(start % self.handles.len());
        handles
    }

    /// Ends all tasks where they wait, and the threads.
    pub fn shutdown(mut self) {
        self.stop.send_replace(true);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a worker thread had panicked");
            }
        }
    }
}
