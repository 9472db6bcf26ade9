// SPDX-License-Identifier: Apache-2.0
//! What remembers the keys: claims with a lease, and marks of what is done.

use super::Key;
use ring::rand::{SecureRandom, SystemRandom};
use std::{error::Error, future::Future, time::Duration};

/// Who holds a claim. Random: no two claims, of whatever process, have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token([u8; 16]);

impl Token {
    /// One that nobody else has.
    ///
    /// # Errors
    /// [`StoreError::Failed`] if the system gives no random bytes.
    pub fn random() -> Result<Self, StoreError> {
        let mut bytes = [0; 16];
        let filled = SystemRandom::new().fill(&mut bytes);
        filled.map_err(|_| StoreError::Failed("the system gives no random bytes".into()))?;
        Ok(Self(bytes))
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// What a store says to somebody who wants to handle a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// The key is theirs until the lease ends.
    Granted,
    /// It was handled.
    Done,
    /// Somebody else has it, for this long unless they renew it.
    Held(Duration),
}

/// Remembers keys. One statement each, atomic also against other processes, by one clock: that of the store.
///
/// Every row has an end: that of the lease of a claim, or when what is done is forgotten. A row past its end counts as if it
/// were not there.
pub trait ClaimStore: Send + Sync + 'static {
    /// Claims `key` for `token` if it is neither done nor held by anybody.
    ///
    /// # Errors
    /// Of all methods: [`StoreError`]; whether it happened nevertheless is not known.
    fn claim(
        &self,
        key: &Key,
        token: Token,
        lease: Duration,
    ) -> impl Future<Output = Result<Claim, StoreError>> + Send;

    /// Gives the claim a new lease from now on. False if `token` does not hold `key`.
    fn renew(
        &self,
        key: &Key,
        token: Token,
        lease: Duration,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Marks `key` as done, to be remembered for `retention`. False if `token` does not hold it.
    fn complete(
        &self,
        key: &Key,
        token: Token,
        retention: Duration,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Gives the claim up, so that the next one need not wait for the end of the lease.
    fn release(&self, key: &Key, token: Token) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Removes at most `limit` rows past their end. Returns how many.
    fn forget_expired(&self, limit: u32) -> impl Future<Output = Result<u64, StoreError>> + Send;
}

/// Why a store did not do what it was asked. Whether it happened nevertheless is not known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database refused or is not there.
    #[error("the store of handled keys failed: {0}")]
    Failed(#[source] Box<dyn Error + Send + Sync>),
    /// No answer in time.
    #[error("the store of handled keys did not answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// The name of the table.
    #[error("\"{0}\" is no name of a table: letters, digits and _, one point at most, at most 63 bytes")]
    Table(String),
}
