// SPDX-License-Identifier: Apache-2.0
//! A stretch of a queue, read from its beginning to its end.

use crate::{
    admin::{Pull, QueueAt, TOOLS_GROUP},
    cli::{CommandError, Context},
    java_text::queue_text,
};
use oxmq_client::ReceivedMessage;

/// Messages of one pull.
const BATCH: i32 = 32;

/// Reads a stretch of a queue.
pub(crate) struct Reading<'a> {
    at: &'a QueueAt,
    tag: &'a str,
    offset: i64,
    end: i64,
    /// Where the queue begins and ends, by the last answer; nothing is known before the first.
    pub(crate) bounds: Option<(i64, i64)>,
}

impl<'a> Reading<'a> {
    /// From `offset` as far as `end`, or as the queue goes. `tag`: the one that is wanted, or `*`.
    pub(crate) fn new(at: &'a QueueAt, tag: &'a str, offset: i64, end: i64) -> Self {
        Self { at, tag, offset, end, bounds: None }
    }

    /// The next messages; `None` at the end. What has expired meanwhile is passed over.
    ///
    /// # Errors
    /// [`CommandError`]; nothing is ever left out because it cannot be read.
    pub(crate) async fn next(
        &mut self,
        context: &Context<'_>,
    ) -> Result<Option<Vec<ReceivedMessage>>, CommandError> {
        let QueueAt { queue, addr } = self.at;
        while self.offset < self.end {
            let offset = self.offset;
            let pull = Pull { group: TOOLS_GROUP, queue, expression: self.tag, offset, max: BATCH };
            let mut pulled = context.admin.pull(addr, pull).await?;
            self.bounds = Some((pulled.min_offset, pulled.max_offset));
            if offset >= pulled.max_offset {
                break;
            }
            if pulled.next_offset <= offset {
                return Err(CommandError::failed(format!(
                    "{} cannot be read from offset {offset} on, with {} to go: nothing is lost, the same command begins \
                     there",
                    queue_text(queue),
                    self.end.min(pulled.max_offset) - offset
                )));
            }
            self.offset = pulled.next_offset;
            pulled.messages.retain(|message| (offset..self.end).contains(&message.queue_offset()));
            if !pulled.messages.is_empty() {
                return Ok(Some(pulled.messages));
            }
        }
        Ok(None)
    }
}
