// SPDX-License-Identifier: Apache-2.0
//! Being told of every batch, for traces and metrics. Java: `ConsumeMessageHook`, `ConsumeMessageContext`.

use super::handler::{Batch, Outcome};
use std::time::Duration;

/// How a handler ended. Java: `ConsumeReturnType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// All of the batch was consumed.
    Success,
    /// The handler said that some or all have to come again.
    Failed,
    /// It panicked.
    Panicked,
    /// It took longer than the consume timeout.
    TimedOut,
}

impl Ending {
    /// Java's name of it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Success => "SUCCESS",
            Self::Failed => "FAILED",
            Self::Panicked => "EXCEPTION",
            Self::TimedOut => "TIME_OUT",
        }
    }
}

/// A batch that a handler had.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Consumption<'a> {
    /// The group.
    pub group: &'a str,
    /// The messages.
    pub batch: &'a Batch,
    /// What becomes of them.
    pub outcome: Outcome,
    /// How the handler ended.
    pub ending: Ending,
    /// How long it took.
    pub elapsed: Duration,
}

/// Is told of every batch, on the consumer's tasks: it must not block. A hook that panics is passed over, with a warning. Lite pull
/// consumers have no handlers, and tell nobody.
///
/// ```
/// use oxmq_client::consumer::{ConsumeHook, ConsumerOptions, Consumption, Ending};
///
/// struct Failures;
///
/// impl ConsumeHook for Failures {
///     fn after(&self, consumption: &Consumption<'_>) {
///         if consumption.ending != Ending::Success {
///             println!("{}: {} after {:?}", consumption.group, consumption.ending.name(), consumption.elapsed);
///         }
///     }
/// }
///
/// let options = ConsumerOptions::new("payments").subscribe("Orders", "*").hook(Failures);
/// # let _ = options;
/// ```
pub trait ConsumeHook: Send + Sync + 'static {
    /// A handler is about to get `batch`.
    fn before(&self, _group: &str, _batch: &Batch) {}

    /// It is done with it.
    fn after(&self, consumption: &Consumption<'_>);
}
