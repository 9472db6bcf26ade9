// SPDX-License-Identifier: Apache-2.0
//! Consumers.

mod allocate;
mod answers;
mod calls;
mod concurrent;
mod handler;
mod held;
mod hook;
mod keeper;
mod lite;
mod local_offsets;
mod options;
mod orderly;
mod process_queue;
mod pull;
mod pulling;
mod push;
mod rebalance;
mod shared;
mod start;
mod stats;
mod subscription;
#[cfg(test)]
mod testing;

pub use allocate::{AllocateError, Allocation, Rooms, VIRTUAL_NODES, java_order};
pub use calls::{PullStatus, RequestError};
pub use handler::{Batch, Handler, Outcome, blocking};
pub use hook::{ConsumeHook, Consumption, Ending};
pub use lite::{LiteError, LiteOptions, LitePullConsumer};
pub use local_offsets::LocalOffsetsError;
pub use options::{ConsumerOptions, ConsumerOptionsError, Model};
pub use pull::{PullConsumer, PullError, PullResult};
pub use push::{ConsumerError, PushConsumer, Shutdown};
pub use start::ConsumeFrom;
pub use stats::ConsumeTotals;
pub use subscription::{Filter, FilterError};
