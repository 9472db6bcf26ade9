// SPDX-License-Identifier: Apache-2.0
//! What the databases do differently when they are asked.

use super::{super::Key, statements::Dialect};
use futures_util::future::BoxFuture;
use sqlx::{Database, Pool, Transaction};
use std::error::Error;

/// A value of a statement.
#[derive(Debug, Clone, Copy)]
pub(super) enum Bind<'a> {
    Text(&'a str),
    Bytes(&'a [u8]),
    Int(i64),
}

/// A row: state, token, ms to its end.
pub(super) type Row = (i64, Vec<u8>, i64);

/// A database that a [`SqlStore`](super::SqlStore) can use: `sqlx::Sqlite`, `sqlx::MySql` (also for MariaDB) or
/// `sqlx::Postgres`, with the feature of the same name. Nobody else can be one.
pub trait Sql: Database + sealed::Private {}

impl<DB: Database + sealed::Private> Sql for DB {}

pub(super) mod sealed {
    use super::*;

    /// What a store needs of a database.
    #[allow(unnameable_types, unreachable_pub, private_interfaces, reason = "it seals `Sql`")]
    pub trait Private: Database {
        /// How its statements are written.
        const DIALECT: Dialect;

        /// Runs a statement, and returns the number of rows that it touched.
        fn execute<'a>(
            connection: &'a mut Self::Connection,
            statement: &'a str,
            binds: &'a [Bind<'a>],
        ) -> BoxFuture<'a, Result<u64, sqlx::Error>>;

        /// Reads the row of a key.
        fn read<'a>(
            connection: &'a mut Self::Connection,
            statement: &'a str,
            binds: &'a [Bind<'a>],
        ) -> BoxFuture<'a, Result<Option<Row>, sqlx::Error>>;

        /// Begins a transaction that is going to write.
        fn begin(pool: &Pool<Self>) -> BoxFuture<'_, Result<Transaction<'static, Self>, sqlx::Error>>;

        /// False if another transaction is handling the key. Where this cannot be asked it is true, and the claim waits for
        /// the other.
        fn alone<'a>(
            connection: &'a mut Self::Connection,
            key: &'a Key,
        ) -> BoxFuture<'a, Result<bool, sqlx::Error>>;

        /// True if the same may succeed when it is tried again: a deadlock, a conflict of transactions, a lock that
        /// was waited for in vain.
        fn conflict(error: &sqlx::Error) -> bool;
    }
}

/// True if a conflict of transactions is among the causes of `error`.
pub(in crate::idempotent) fn is_conflict<DB: Sql>(error: &(dyn Error + Send + Sync + 'static)) -> bool {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        if error.downcast_ref::<sqlx::Error>().is_some_and(DB::conflict) {
            return true;
        }
        next = error.source();
    }
    false
}

macro_rules! database {
    ($feature:literal, $database:ty, $dialect:expr, begin: $begin:expr, alone: $alone:expr, conflict: $conflict:expr) => {
        #[cfg(feature = $feature)]
        #[allow(private_interfaces, reason = "it seals `Sql`")]
        impl sealed::Private for $database {
            const DIALECT: Dialect = $dialect;

            fn execute<'a>(
                connection: &'a mut Self::Connection,
                statement: &'a str,
                binds: &'a [Bind<'a>],
            ) -> BoxFuture<'a, Result<u64, sqlx::Error>> {
                Box::pin(async move {
                    let query = binds.iter().fold(sqlx::query(statement), |query, bind| match *bind {
                        Bind::Text(text) => query.bind(text),
                        Bind::Bytes(bytes) => query.bind(bytes),
                        Bind::Int(number) => query.bind(number),
                    });
                    Ok(query.execute(connection).await?.rows_affected())
                })
            }

            fn read<'a>(
                connection: &'a mut Self::Connection,
                statement: &'a str,
                binds: &'a [Bind<'a>],
            ) -> BoxFuture<'a, Result<Option<Row>, sqlx::Error>> {
                Box::pin(async move {
                    let query = binds.iter().fold(sqlx::query_as(statement), |query, bind| match *bind {
                        Bind::Text(text) => query.bind(text),
                        Bind::Bytes(bytes) => query.bind(bytes),
                        Bind::Int(number) => query.bind(number),
                    });
                    query.fetch_optional(connection).await
                })
            }

            fn begin(pool: &Pool<Self>) -> BoxFuture<'_, Result<Transaction<'static, Self>, sqlx::Error>> {
                let begin: Option<&'static str> = $begin;
                Box::pin(async move {
                    match begin {
                        Some(begin) => pool.begin_with(begin).await,
                        None => pool.begin().await,
                    }
                })
            }

            fn alone<'a>(
                connection: &'a mut Self::Connection,
                key: &'a Key,
            ) -> BoxFuture<'a, Result<bool, sqlx::Error>> {
                Box::pin($alone(connection, key))
            }

            fn conflict(error: &sqlx::Error) -> bool {
                let conflict: fn(&sqlx::Error) -> bool = $conflict;
                conflict(error)
            }
        }
    };
}

database!("sqlite", sqlx::Sqlite, Dialect::Sqlite,
    // One that begins by reading may find that it cannot write when it wants to.
    begin: Some("BEGIN IMMEDIATE"),
    alone: |_, _| std::future::ready(Ok(true)),
    // SQLITE_BUSY and SQLITE_LOCKED, whatever the high bits add.
    conflict: |error| code(error).and_then(|code| code.parse::<i32>().ok()).is_some_and(|code| matches!(code & 0xFF, 5 | 6)));

database!("mysql", sqlx::MySql, Dialect::MySql,
begin: None,
// A claim waits for that of another for `innodb_lock_wait_timeout`, 50 s by default.
alone: |_, _| std::future::ready(Ok(true)),
// ER_LOCK_WAIT_TIMEOUT, ER_LOCK_DEADLOCK; "record has changed since last read" of MariaDB.
conflict: |error| {
    let error = error.as_database_error();
    let error = error.and_then(|error| error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>());
    error.is_some_and(|error| matches!(error.number(), 1205 | 1213 | 1020))
});

database!("postgres", sqlx::Postgres, Dialect::Postgres,
    begin: None,
    alone: postgres_alone,
    // serialization_failure, deadlock_detected, lock_not_available.
    conflict: |error| code(error).is_some_and(|code| matches!(&*code, "40001" | "40P01" | "55P03")));

/// A lock that lasts as long as the transaction: who does not get it need not wait for the other, which PostgreSQL would
/// let it do for ever.
#[cfg(feature = "postgres")]
async fn postgres_alone(connection: &mut sqlx::PgConnection, key: &Key) -> Result<bool, sqlx::Error> {
    let digest = ring::digest::digest(&ring::digest::SHA256, format!("oxmq_handled {key}").as_bytes());
    let number = digest.as_ref().first_chunk().copied().map(i64::from_be_bytes).unwrap_or_default();
    let query = sqlx::query_scalar("SELECT pg_try_advisory_xact_lock($1)").bind(number);
    query.fetch_one(connection).await
}

#[cfg(any(feature = "sqlite", feature = "postgres"))]
fn code(error: &sqlx::Error) -> Option<std::borrow::Cow<'_, str>> {
    error.as_database_error().and_then(|error| error.code())
}
