// SPDX-License-Identifier: Apache-2.0
//! Permission bits of a topic or a broker.

use std::fmt;

/// What may be done with a topic or through a broker. Java: `PermName`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Perm(pub u32);

impl Perm {
    /// New queues inherit from the topic that carries this bit (`TBW102`).
    pub const INHERIT: Self = Self(1);
    /// Messages may be sent.
    pub const WRITE: Self = Self(1 << 1);
    /// Messages may be consumed.
    pub const READ: Self = Self(1 << 2);
    /// The usual permission of a topic and of a broker: 6.
    pub const READ_WRITE: Self = Self(Self::READ.0 | Self::WRITE.0);

    /// True if every bit of `wanted` is set.
    #[must_use]
    pub fn allows(self, wanted: Self) -> bool {
        self.0 & wanted.0 == wanted.0
    }

    /// This permission without the bits of `taken`.
    #[must_use]
    pub fn without(self, taken: Self) -> Self {
        Self(self.0 & !taken.0)
    }

    /// This permission with the bits of `given`.
    #[must_use]
    pub fn with(self, given: Self) -> Self {
        Self(self.0 | given.0)
    }
}

impl fmt::Display for Perm {
    /// `RW-`, as `PermName#perm2String` prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bit = |perm, letter| if self.allows(perm) { letter } else { '-' };
        write!(f, "{}{}{}", bit(Self::READ, 'R'), bit(Self::WRITE, 'W'), bit(Self::INHERIT, 'X'))
    }
}
