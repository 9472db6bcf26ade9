// SPDX-License-Identifier: Apache-2.0
//! The same by lease: the effect of an order is a line of a file, which no transaction of the database reaches.
//!
//! The file tells all that happens, in the order in which it does, for all processes that share it: `ask`, `begin`,
//! `effect`, `done` or `failed`, then the key, the process, and the time in ms.

use crate::{Fallible, Numbers, database::Database};
use oxmq_client::{
    ReceivedMessage,
    consumer::{Batch, Handler, Outcome},
    idempotent::{ByLease, HandleError, Handled, HandlerError, MessageHandler, SqlStore},
};
use std::{
    fs::File,
    io::{self, Write},
    process,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Short, so that nobody waits long for what a process that is killed had claimed.
const LEASE: Duration = Duration::from_secs(5);
/// What comes before the effect, and what comes between it and the mark that it is done: a kill shall find both.
const WORK: Duration = Duration::from_millis(50);

/// A file to which several processes write.
#[derive(Clone)]
struct Effects(Arc<File>);

impl Effects {
    fn write(&self, what: &str, message: &ReceivedMessage) -> io::Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let key = message.keys().unwrap_or_default();
        // One write of a file that is appended to: lines of several processes do not mix.
        (&*self.0).write_all(format!("{what} {key} {} {now}\n", process::id()).as_bytes())
    }
}

impl MessageHandler for Effects {
    async fn handle(&self, message: Arc<ReceivedMessage>) -> Result<(), HandlerError> {
        self.write("begin", &message)?;
        tokio::time::sleep(WORK).await;
        self.write("effect", &message)?;
        tokio::time::sleep(WORK).await;
        Ok(())
    }
}

/// The handler, which also tells what it asked and what became of it.
pub(crate) struct Leased<DB: Database> {
    inner: ByLease<SqlStore<DB>, Effects>,
    effects: Effects,
    numbers: Arc<Numbers>,
}

impl<DB: Database> Leased<DB> {
    pub(crate) fn new(store: SqlStore<DB>, effects: &str, numbers: Arc<Numbers>) -> Fallible<Self> {
        let effects = Effects(Arc::new(File::options().append(true).create(true).open(effects)?));
        let inner = ByLease::new("payments", store, effects.clone())?.lease(LEASE);
        Ok(Self { inner, effects, numbers })
    }

    async fn one(&self, message: &Arc<ReceivedMessage>) -> io::Result<bool> {
        self.effects.write("ask", message)?;
        let result = self.inner.handle_message(message).await;
        match &result {
            Ok(Handled::Now) => self.effects.write("done", message)?,
            // The others come before the handler.
            Err(HandleError::LeaseLost | HandleError::Handler(_) | HandleError::TimedOut(_)) => {
                self.effects.write("failed", message)?;
            }
            _ => {}
        }
        Ok(self.numbers.count(message, result))
    }
}

impl<DB: Database> Handler for Leased<DB> {
    async fn handle(&self, batch: Batch) -> Outcome {
        for message in &batch {
            match self.one(message).await {
                Ok(true) => {}
                Ok(false) => return Outcome::Retry,
                Err(error) => {
                    eprintln!("the file of effects: {error}");
                    return Outcome::Retry;
                }
            }
        }
        Outcome::Success
    }
}
