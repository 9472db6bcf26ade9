// SPDX-License-Identifier: Apache-2.0
//! Transactions in conflict with others are run again.

use crate::{
    database::{Database, Ground},
    keyed,
    transactions::noting,
    with_every_database,
};
use oxmq_client::idempotent::{CONFLICTS_MAX, HandleError, Handled};
use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering::SeqCst},
};
use tokio::sync::Barrier;

/// A handler that meets the lock of another on SQLite, so many times.
async fn busy(ground: &Ground<sqlx::Sqlite>, times: u32) -> (Result<Handled, HandleError>, u32) {
    let (runs, other) = (Arc::new(AtomicU32::new(0)), ground.other().await);
    let handler = noting(ground, ground.store(), {
        let (runs, pool) = (runs.clone(), other.pool().clone());
        move |_| {
            let (run, pool) = (runs.fetch_add(1, SeqCst), pool.clone());
            Box::pin(async move {
                if run < times {
                    // The handler's own transaction has the lock.
                    sqlx::query("CREATE TABLE more (x)").execute(&pool).await?;
                }
                Ok(())
            })
        }
    });
    let result = handler.handle_message(&keyed("a")).await;
    (result, runs.load(SeqCst))
}

#[tokio::test]
async fn a_transaction_in_conflict_is_run_again_but_not_for_ever() {
    let ground = Ground::<sqlx::Sqlite>::new(None).await;
    let (result, runs) = busy(&ground, u32::MAX).await;
    assert!(matches!(result, Err(HandleError::Handler(_))), "{result:?}");
    assert_eq!(runs, CONFLICTS_MAX + 1);
    assert_eq!(ground.count("a").await, 0);
    let (result, runs) = busy(&ground, CONFLICTS_MAX).await;
    assert_eq!((result.unwrap(), runs), (Handled::Now, CONFLICTS_MAX + 1));
    assert_eq!(ground.count("a").await, 1);
    ground.end().await;
}

mod generic {
    use super::*;

    pub(super) async fn both_sides_of_a_deadlock_end_well<DB: Database>(ground: &Ground<DB>) {
        if !DB::SIDE_BY_SIDE {
            return;
        }
        // With a key: an update without one would lock all rows of MySQL.
        let table = format!("{}_rows", ground.effects());
        ground.run(&format!("CREATE TABLE {table} (name VARCHAR(10) PRIMARY KEY, count INT)")).await;
        ground.run(&format!("INSERT INTO {table} VALUES ('x', 0), ('y', 0)")).await;
        let (meet, runs) = (Arc::new(Barrier::new(2)), Arc::new(AtomicU32::new(0)));
        let handler = |first: &'static str, second: &'static str| {
            let (meet, runs, table) = (meet.clone(), runs.clone(), table.clone());
            noting(ground, ground.store(), move |transaction| {
                let (meet, run, table) = (meet.clone(), runs.fetch_add(1, SeqCst), table.clone());
                Box::pin(async move {
                    for (number, name) in [first, second].into_iter().enumerate() {
                        let statement = format!("UPDATE {table} SET count = count + 1 WHERE name = '{name}'");
                        DB::run(transaction, &statement).await?;
                        if number == 0 && run < 2 {
                            meet.wait().await;
                        }
                    }
                    Ok(())
                })
            })
        };
        let (one, other) = (handler("x", "y"), handler("y", "x"));
        let (a, b) = (keyed("a"), keyed("b"));
        let (one, other) = tokio::join!(one.handle_message(&a), other.handle_message(&b));
        assert_eq!((one.unwrap(), other.unwrap()), (Handled::Now, Handled::Now));
        assert_eq!((ground.count("a").await, ground.count("b").await), (1, 1));
        assert!(runs.load(SeqCst) > 2, "one was the victim");
        ground.run(&format!("DROP TABLE {table}")).await;
    }
}

with_every_database!(both_sides_of_a_deadlock_end_well);
