// SPDX-License-Identifier: Apache-2.0
//! Numbers that must not be mistaken for each other.

use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// Position of a record in the commit log, in bytes since its first byte ever.
    PhysicalOffset(u64)
}
number! {
    /// Ordinal of a message in a consume queue, in messages since its first message ever.
    QueueOffset(u64)
}
number! {
    /// Number of a queue within its topic, from 0.
    QueueId(u32)
}
number! {
    /// The 8 bytes of a consume queue unit that filters look at: [`crate::tags_code`] for ordinary topics.
    TagsCode(i64)
}
number! {
    /// Number of a broker under its broker name: 0 is the master.
    BrokerId(u64)
}

impl PhysicalOffset {
    /// This offset moved on by `bytes`.
    #[must_use]
    pub fn plus(self, bytes: u64) -> Self {
        Self(self.0 + bytes)
    }
}

impl QueueOffset {
    /// This offset moved on by `messages`.
    #[must_use]
    pub fn plus(self, messages: u64) -> Self {
        Self(self.0 + messages)
    }
}

impl BrokerId {
    /// The broker id of a master.
    pub const MASTER: Self = Self(0);
}
