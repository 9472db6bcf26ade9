// SPDX-License-Identifier: Apache-2.0
//! Keys in a table of a database: SQLite, MySQL and MariaDB, PostgreSQL.

mod connect;
mod statements;

use super::{Claim, ClaimStore, Key, StoreError, Token};
use connect::Bind;
use sqlx::{Pool, Transaction};
use statements::{Dialect, Statements};
use std::{fmt, sync::Arc, time::Duration};
use tokio::time::timeout;

pub use connect::Sql;
pub(super) use connect::is_conflict;
pub use statements::DEFAULT_TABLE;

/// How long a statement of a [`SqlStore`] may take if nothing else is said.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a claim is repeated whose row changes under it.
const CLAIMS_MAX: usize = 3;

/// Remembers keys in a table of the database that `pool` connects to. Cheap to clone.
///
/// All processes of a group must use the same table. Times are taken by the clock of the database, so that the clocks of the
/// processes need not agree.
///
/// [`SqlStore::create_table`] makes the table; [`SqlStore::table_definition`] gives its DDL for those who make tables by
/// migrations. On SQLite it is
///
/// ```sql
/// CREATE TABLE IF NOT EXISTS oxmq_handled (
///   consumer_group TEXT NOT NULL,
///   topic TEXT NOT NULL,
///   message_key TEXT NOT NULL,
///   state INTEGER NOT NULL,       -- 1 claimed, 2 done
///   token BLOB NOT NULL,          -- who claimed it
///   expires_at INTEGER NOT NULL,  -- ms since 1970: the end of the lease, or when it is forgotten
///   PRIMARY KEY (consumer_group, topic, message_key)
/// );
/// CREATE INDEX IF NOT EXISTS oxmq_handled_expires ON oxmq_handled (expires_at);
/// ```
///
/// MySQL 5.7 or MariaDB 10.2 is the oldest that takes its primary key; there the three names are `VARBINARY`, because most
/// collations take `a` and `A` for the same: a message would pass for one that was handled.
pub struct SqlStore<DB: Sql> {
    pool: Pool<DB>,
    statements: Arc<Statements>,
    statement_timeout: Duration,
}

impl<DB: Sql> SqlStore<DB> {
    /// Keys in the table [`DEFAULT_TABLE`].
    ///
    /// # Panics
    /// Never: the name is one.
    #[must_use]
    pub fn new(pool: Pool<DB>) -> Self {
        Self::in_table(pool, DEFAULT_TABLE).expect("the name is one")
    }

    /// Keys in another table: `name` or `schema.name`.
    ///
    /// # Errors
    /// [`StoreError::Table`] if that is no name.
    pub fn in_table(pool: Pool<DB>, table: &str) -> Result<Self, StoreError> {
        let statements = Arc::new(Statements::new(DB::DIALECT, table)?);
        Ok(Self { pool, statements, statement_timeout: STATEMENT_TIMEOUT })
    }

    /// How long a statement may take, 30 s by default, the wait for a connection included.
    #[must_use]
    pub fn statement_timeout(mut self, timeout: Duration) -> Self {
        self.statement_timeout = timeout;
        self
    }

    /// The connections.
    #[must_use]
    pub fn pool(&self) -> &Pool<DB> {
        &self.pool
    }

    /// What makes the table and its index, one statement each.
    #[must_use]
    pub fn table_definition(&self) -> &[String] {
        &self.statements.create
    }

    /// Makes the table and its index where they are not there yet.
    ///
    /// # Errors
    /// [`StoreError`] if the database refuses or is not there.
    pub async fn create_table(&self) -> Result<(), StoreError> {
        self.within(async {
            let mut connection = self.pool.acquire().await?;
            for statement in &self.statements.create {
                DB::execute(&mut connection, statement, &[]).await?;
            }
            Ok(())
        })
        .await
    }

    /// Begins a transaction in which rows can be written.
    pub(super) async fn begin(&self) -> Result<Transaction<'static, DB>, StoreError> {
        self.within(DB::begin(&self.pool)).await
    }

    /// Claims `key` inside of a transaction. The claim has no lease: should the transaction be committed before
    /// [`Self::complete_in`], say by a DDL statement of MySQL, it holds nobody up.
    pub(super) async fn claim_in(
        &self,
        transaction: &mut Transaction<'static, DB>,
        key: &Key,
        token: Token,
    ) -> Result<Claim, StoreError> {
        self.within(async {
            if !DB::alone(&mut *transaction, key).await? {
                return Ok(Claim::Held(Duration::ZERO));
            }
            self.claim_on(&mut *transaction, key, token, Duration::ZERO).await
        })
        .await
    }

    /// Marks `key` as done. False if the claim of this transaction is not there any more: then there is nothing to commit.
    pub(super) async fn complete_in(
        &self,
        transaction: &mut Transaction<'static, DB>,
        key: &Key,
        token: Token,
        retention: Duration,
    ) -> Result<bool, StoreError> {
        let statement = &self.statements.complete;
        self.within(change::<DB>(&mut *transaction, statement, retention, key, token)).await
    }

    pub(super) async fn commit(&self, transaction: Transaction<'static, DB>) -> Result<(), StoreError> {
        self.within(transaction.commit()).await
    }

    pub(super) async fn roll_back(
        &self,
        mut transaction: Transaction<'static, DB>,
    ) -> Result<(), StoreError> {
        self.within(async {
            if DB::DIALECT == Dialect::Sqlite {
                // If the handler ended the transaction there is nothing to roll back, and the connection, which takes that for
                // a failure, could never begin another. If it did not, this changes nothing.
                let _ = DB::execute(&mut transaction, "BEGIN", &[]).await;
            }
            transaction.rollback().await
        })
        .await
    }

    async fn claim_on(
        &self,
        connection: &mut DB::Connection,
        key: &Key,
        token: Token,
        lease: Duration,
    ) -> Result<Claim, sqlx::Error> {
        for _ in 0..CLAIMS_MAX {
            let [group, topic, text] = binds(key);
            let claim = [group, topic, text, Bind::Bytes(token.bytes()), Bind::Int(ms(lease))];
            let touched = DB::execute(&mut *connection, &self.statements.claim, &claim).await?;
            // MySQL counts a row that it left as it was.
            if touched == 1 && DB::DIALECT != Dialect::MySql {
                return Ok(Claim::Granted);
            }
            match DB::read(&mut *connection, &self.statements.read, &binds(key)).await? {
                Some((_, holder, _)) if holder == token.bytes() => return Ok(Claim::Granted),
                Some((2, _, left)) if left > 0 => return Ok(Claim::Done),
                Some((_, _, left)) if left > 0 => {
                    return Ok(Claim::Held(Duration::from_millis(left.unsigned_abs())));
                }
                // Its end came between the two statements, or it was removed: the next claim decides.
                _ => {}
            }
        }
        Ok(Claim::Held(Duration::ZERO))
    }

    async fn within<T>(&self, work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, StoreError> {
        match timeout(self.statement_timeout, work).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(StoreError::Failed(error.into())),
            Err(_) => Err(StoreError::Timeout(self.statement_timeout)),
        }
    }
}

impl<DB: Sql> ClaimStore for SqlStore<DB> {
    async fn claim(&self, key: &Key, token: Token, lease: Duration) -> Result<Claim, StoreError> {
        self.within(async {
            let mut connection = self.pool.acquire().await?;
            self.claim_on(&mut connection, key, token, lease).await
        })
        .await
    }

    async fn renew(&self, key: &Key, token: Token, lease: Duration) -> Result<bool, StoreError> {
        self.within(async {
            let mut connection = self.pool.acquire().await?;
            change::<DB>(&mut connection, &self.statements.renew, lease, key, token).await
        })
        .await
    }

    async fn complete(&self, key: &Key, token: Token, retention: Duration) -> Result<bool, StoreError> {
        self.within(async {
            let mut connection = self.pool.acquire().await?;
            change::<DB>(&mut connection, &self.statements.complete, retention, key, token).await
        })
        .await
    }

    async fn release(&self, key: &Key, token: Token) -> Result<(), StoreError> {
        self.within(async {
            let mut connection = self.pool.acquire().await?;
            let [group, topic, text] = binds(key);
            let binds = [group, topic, text, Bind::Bytes(token.bytes())];
            DB::execute(&mut connection, &self.statements.release, &binds).await?;
            Ok(())
        })
        .await
    }

    async fn forget_expired(&self, limit: u32) -> Result<u64, StoreError> {
        self.within(async {
            let mut connection = self.pool.acquire().await?;
            DB::execute(&mut connection, &self.statements.forget, &[Bind::Int(limit.into())]).await
        })
        .await
    }
}

/// Changes the end of the row that `token` holds. False if it holds none.
async fn change<DB: Sql>(
    connection: &mut DB::Connection,
    statement: &str,
    end: Duration,
    key: &Key,
    token: Token,
) -> Result<bool, sqlx::Error> {
    let [group, topic, text] = binds(key);
    let binds = [Bind::Int(ms(end)), group, topic, text, Bind::Bytes(token.bytes())];
    Ok(DB::execute(connection, statement, &binds).await? == 1)
}

fn binds(key: &Key) -> [Bind<'_>; 3] {
    [Bind::Text(key.group()), Bind::Text(key.topic()), Bind::Text(key.text())]
}

fn ms(time: Duration) -> i64 {
    // A hundred thousand years are enough, and cannot overflow when a time of today is added.
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX).min(i64::MAX / 4)
}

impl<DB: Sql> Clone for SqlStore<DB> {
    fn clone(&self) -> Self {
        let statements = self.statements.clone();
        Self { pool: self.pool.clone(), statements, statement_timeout: self.statement_timeout }
    }
}

impl<DB: Sql> fmt::Debug for SqlStore<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlStore").field("dialect", &DB::DIALECT).finish_non_exhaustive()
    }
}
