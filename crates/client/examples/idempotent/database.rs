// SPDX-License-Identifier: Apache-2.0
//! What the three databases are asked here.

use futures_util::future::BoxFuture;
use oxmq_client::idempotent::Sql;
use sqlx::{Executor, Pool, pool::PoolOptions};

pub(crate) trait Database: Sql {
    /// Sum of all accounts, as a number of 64 bits, which each casts in words of its own.
    const ON_ACCOUNTS: &'static str;

    /// Runs statements that have no values from outside. Gives the number of rows that they touched.
    fn run<'a>(
        connection: &'a mut Self::Connection,
        statements: &'a str,
    ) -> BoxFuture<'a, Result<u64, sqlx::Error>>;

    /// Reads one number.
    fn number<'a>(
        connection: &'a mut Self::Connection,
        query: &'a str,
    ) -> BoxFuture<'a, Result<i64, sqlx::Error>>;

    fn connect(url: &str) -> BoxFuture<'_, Result<Pool<Self>, sqlx::Error>>;
}

macro_rules! database {
    ($database:ty, $connections:literal, $integer:literal, $first:literal) => {
        impl Database for $database {
            const ON_ACCOUNTS: &'static str =
                concat!("SELECT CAST(SUM(paid) AS ", $integer, ") FROM account");

            fn run<'a>(
                connection: &'a mut Self::Connection,
                statements: &'a str,
            ) -> BoxFuture<'a, Result<u64, sqlx::Error>> {
                Box::pin(async move { Ok(connection.execute(statements).await?.rows_affected()) })
            }

            fn number<'a>(
                connection: &'a mut Self::Connection,
                query: &'a str,
            ) -> BoxFuture<'a, Result<i64, sqlx::Error>> {
                Box::pin(sqlx::query_scalar(query).fetch_one(connection))
            }

            fn connect(url: &str) -> BoxFuture<'_, Result<Pool<Self>, sqlx::Error>> {
                let options = PoolOptions::new().max_connections($connections);
                let options = options.after_connect(|connection, _| {
                    Box::pin(async move {
                        if !$first.is_empty() {
                            Self::run(connection, $first).await?;
                        }
                        Ok(())
                    })
                });
                Box::pin(options.connect(url))
            }
        }
    };
}

// SQLite has one writer at a time, so more connections only wait. With a write-ahead log and this mode a crash of the process
// loses nothing; after a power loss the last transactions may be missing, as a whole.
database!(
    sqlx::Sqlite,
    2,
    "INTEGER",
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA busy_timeout = 5000"
);
#[cfg(feature = "mysql")]
database!(sqlx::MySql, 16, "SIGNED", "");
#[cfg(feature = "postgres")]
database!(sqlx::Postgres, 16, "BIGINT", "");
