// SPDX-License-Identifier: Apache-2.0
//! Databases to test with, and what tests ask them.

use futures_util::future::BoxFuture;
use oxmq_client::idempotent::{Sql, SqlStore};
use sqlx::{Executor, Pool, pool::PoolOptions};
use std::{
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::Duration,
};
use tempfile::TempDir;

/// What tests ask of a database.
pub(crate) trait Database: Sql {
    /// Whether transactions run side by side.
    const SIDE_BY_SIDE: bool;

    fn run<'a>(
        connection: &'a mut Self::Connection,
        statement: &'a str,
    ) -> BoxFuture<'a, Result<u64, sqlx::Error>>;

    fn number<'a>(
        connection: &'a mut Self::Connection,
        query: &'a str,
    ) -> BoxFuture<'a, Result<i64, sqlx::Error>>;

    /// Connections that do not wait long for locks.
    fn pool(url: &str) -> BoxFuture<'_, Pool<Self>>;
}

macro_rules! database {
    ($database:ty, $side_by_side:literal, $connect:expr) => {
        impl Database for $database {
            const SIDE_BY_SIDE: bool = $side_by_side;

            fn run<'a>(
                connection: &'a mut Self::Connection,
                statement: &'a str,
            ) -> BoxFuture<'a, Result<u64, sqlx::Error>> {
                Box::pin(async move { Ok(connection.execute(statement).await?.rows_affected()) })
            }

            fn number<'a>(
                connection: &'a mut Self::Connection,
                query: &'a str,
            ) -> BoxFuture<'a, Result<i64, sqlx::Error>> {
                Box::pin(sqlx::query_scalar(query).fetch_one(connection))
            }

            fn pool(url: &str) -> BoxFuture<'_, Pool<Self>> {
                Box::pin(async move {
                    let options =
                        PoolOptions::new().max_connections(4).acquire_timeout(Duration::from_secs(20));
                    let set: Option<&'static str> = $connect;
                    let options = options.after_connect(move |connection, _| {
                        Box::pin(async move {
                            if let Some(set) = set {
                                Self::run(connection, set).await?;
                            }
                            Ok(())
                        })
                    });
                    options.connect(url).await.unwrap()
                })
            }
        }
    };
}

database!(sqlx::Sqlite, false, Some("PRAGMA busy_timeout = 100; PRAGMA synchronous = OFF"));
#[cfg(feature = "mysql")]
database!(sqlx::MySql, true, Some("SET innodb_lock_wait_timeout = 1"));
#[cfg(feature = "postgres")]
database!(sqlx::Postgres, true, None);

/// A database with a table of keys and one of effects, that no other test uses.
pub(crate) struct Ground<DB: Database> {
    pub(crate) pool: Pool<DB>,
    url: String,
    table: String,
    _folder: Option<TempDir>,
}

impl<DB: Database> Ground<DB> {
    pub(crate) async fn new(url: Option<String>) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let folder = url.is_none().then(|| tempfile::tempdir().unwrap());
        let url = url.unwrap_or_else(|| {
            format!("sqlite:{}?mode=rwc", folder.as_ref().unwrap().path().join("keys.db").display())
        });
        let table = format!("keys_{}_{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        let ground = Self { pool: DB::pool(&url).await, url, table, _folder: folder };
        ground.store().create_table().await.unwrap();
        ground.store().create_table().await.unwrap();
        ground.run(&format!("CREATE TABLE {} (name VARCHAR(100))", ground.effects())).await;
        ground
    }

    pub(crate) fn effects(&self) -> String {
        format!("{}_effects", self.table)
    }

    pub(crate) fn store(&self) -> SqlStore<DB> {
        SqlStore::in_table(self.pool.clone(), &self.table).unwrap()
    }

    /// The store as another process has it.
    pub(crate) async fn other(&self) -> SqlStore<DB> {
        SqlStore::in_table(DB::pool(&self.url).await, &self.table).unwrap()
    }

    pub(crate) async fn run(&self, statement: &str) {
        let mut connection = self.pool.acquire().await.unwrap();
        DB::run(&mut connection, statement).await.unwrap();
    }

    /// How often the effect `name` happened.
    pub(crate) async fn count(&self, name: &str) -> i64 {
        let mut connection = self.pool.acquire().await.unwrap();
        let query = format!("SELECT COUNT(*) FROM {} WHERE name = '{name}'", self.effects());
        DB::number(&mut connection, &query).await.unwrap()
    }

    pub(crate) async fn end(self) {
        self.run(&format!("DROP TABLE {}", self.table)).await;
        self.run(&format!("DROP TABLE {}", self.effects())).await;
    }
}

/// Runs a test with every database that is there.
#[macro_export]
macro_rules! with_every_database {
    ($($test:ident)*) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            let ground = $crate::database::Ground::<sqlx::Sqlite>::new(None).await;
            generic::$test(&ground).await;
            ground.end().await;
            #[cfg(feature = "mysql")]
            if let Ok(url) = std::env::var("OXMQ_TEST_MYSQL_URL") {
                let ground = $crate::database::Ground::<sqlx::MySql>::new(Some(url)).await;
                generic::$test(&ground).await;
                ground.end().await;
            }
            #[cfg(feature = "postgres")]
            if let Ok(url) = std::env::var("OXMQ_TEST_POSTGRES_URL") {
                let ground = $crate::database::Ground::<sqlx::Postgres>::new(Some(url)).await;
                generic::$test(&ground).await;
                ground.end().await;
            }
        }
    )* };
}
