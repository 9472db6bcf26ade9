// SPDX-License-Identifier: Apache-2.0
//! Key and effect in one transaction.

use crate::{
    database::{Database, Ground},
    fails, keyed, with_every_database,
};
use futures_util::future::BoxFuture;
use oxmq_client::{
    ReceivedMessage,
    idempotent::{
        Claim, ClaimStore, HandleError, Handled, HandlerError, InTransaction, Key, SqlStore, Token,
        TransactionHandler,
    },
};
use sqlx::Transaction;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::sync::Notify;

type Then<DB> =
    dyn for<'a> Fn(&'a mut Transaction<'static, DB>) -> BoxFuture<'a, Result<(), HandlerError>> + Send + Sync;

/// A handler that notes its effect, and then does as it is told.
pub(crate) struct Noting<DB: Database> {
    table: String,
    then: Box<Then<DB>>,
}

impl<DB: Database> TransactionHandler<DB> for Noting<DB> {
    async fn handle(
        &self,
        message: &ReceivedMessage,
        transaction: &mut Transaction<'static, DB>,
    ) -> Result<(), HandlerError> {
        let statement = format!("INSERT INTO {} VALUES ('{}')", self.table, message.keys().unwrap());
        DB::run(transaction, &statement).await?;
        (self.then)(transaction).await
    }
}

pub(crate) fn noting<DB: Database>(
    ground: &Ground<DB>,
    store: SqlStore<DB>,
    then: impl for<'a> Fn(&'a mut Transaction<'static, DB>) -> BoxFuture<'a, Result<(), HandlerError>>
    + Send
    + Sync
    + 'static,
) -> InTransaction<DB, Noting<DB>> {
    let noting = Noting { table: ground.effects(), then: Box::new(then) };
    InTransaction::new("g", store, noting).unwrap()
}

fn good<DB: Database>(ground: &Ground<DB>) -> InTransaction<DB, Noting<DB>> {
    noting(ground, ground.store(), |_| Box::pin(async { Ok(()) }))
}

mod generic {
    use super::*;

    pub(super) async fn an_effect_happens_once<DB: Database>(ground: &Ground<DB>) {
        let handler = good(ground);
        assert_eq!(handler.handle_message(&keyed("a")).await.unwrap(), Handled::Now);
        assert_eq!(handler.handle_message(&keyed("a")).await.unwrap(), Handled::Before);
        assert_eq!(handler.handle_message(&keyed("b")).await.unwrap(), Handled::Now);
        let other = noting(ground, ground.other().await, |_| Box::pin(async { panic!("it does not run") }));
        assert_eq!(other.handle_message(&keyed("a")).await.unwrap(), Handled::Before);
        assert_eq!((ground.count("a").await, ground.count("b").await), (1, 1));
        let forgetful = good(ground).retention(Duration::ZERO);
        assert_eq!(forgetful.handle_message(&keyed("c")).await.unwrap(), Handled::Now);
        assert_eq!(forgetful.handle_message(&keyed("c")).await.unwrap(), Handled::Now, "forgotten");
    }

    pub(super) async fn what_fails_leaves_nothing_and_comes_again<DB: Database>(ground: &Ground<DB>) {
        let failing = noting(ground, ground.store(), |_| Box::pin(async { fails("no") }));
        let error = failing.handle_message(&keyed("a")).await.unwrap_err();
        assert_eq!(error.to_string(), "the handler failed: no");
        let panicking = noting(ground, ground.store(), |_| Box::pin(async { panic!("boom") }));
        let error = panicking.handle_message(&keyed("a")).await.unwrap_err();
        assert_eq!(error.to_string(), "the handler panicked: boom");
        let endless = noting(ground, ground.store(), |_| Box::pin(std::future::pending()));
        let endless = endless.handler_timeout(Duration::from_millis(100));
        let error = endless.handle_message(&keyed("a")).await.unwrap_err();
        assert!(matches!(error, HandleError::TimedOut(_)), "{error}");
        // The consumer gave the handler up, or shut down.
        let dropped = noting(ground, ground.store(), |_| Box::pin(std::future::pending()));
        let message = keyed("a");
        let call = tokio::time::timeout(Duration::from_millis(100), dropped.handle_message(&message));
        assert!(call.await.is_err());
        assert_eq!(ground.count("a").await, 0);
        assert_eq!(good(ground).handle_message(&keyed("a")).await.unwrap(), Handled::Now);
        assert_eq!(ground.count("a").await, 1);
    }

    /// A duplicate that comes while the first is being handled must neither run nor pass for handled.
    pub(super) async fn a_duplicate_waits_for_the_first<DB: Database>(ground: &Ground<DB>) {
        for (name, succeeds) in [("a", true), ("b", false)] {
            let (entered, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
            let first = noting(ground, ground.other().await, {
                let (entered, go_on) = (entered.clone(), go_on.clone());
                move |_| {
                    let (entered, go_on) = (entered.clone(), go_on.clone());
                    Box::pin(async move {
                        entered.notify_one();
                        go_on.notified().await;
                        if succeeds { Ok(()) } else { fails("no") }
                    })
                }
            });
            let first = tokio::spawn(async move { first.handle_message(&keyed(name)).await });
            entered.notified().await;
            let second = good(ground);
            let error = second.handle_message(&keyed(name)).await.unwrap_err();
            assert!(matches!(error, HandleError::Held(_) | HandleError::Store(_)), "{error}");
            // By lease, it is the same.
            let key = Key::new("g", "T", name).unwrap();
            let store = ground.other().await.statement_timeout(Duration::from_millis(500));
            // Without a lease: what got no answer in time may happen later.
            let claim = store.claim(&key, Token::random().unwrap(), Duration::ZERO).await;
            assert!(!matches!(claim, Ok(Claim::Granted | Claim::Done)), "{claim:?}");
            go_on.notify_one();
            assert_eq!(first.await.unwrap().is_ok(), succeeds);
            let expected = if succeeds { Handled::Before } else { Handled::Now };
            assert_eq!(second.handle_message(&keyed(name)).await.unwrap(), expected);
            assert_eq!(ground.count(name).await, 1);
        }
    }

    pub(super) async fn many_duplicates_at_once_have_one_effect<DB: Database>(ground: &Ground<DB>) {
        let handlers = [
            Arc::new(good(ground)),
            Arc::new(noting(ground, ground.other().await, |_| Box::pin(async { Ok(()) }))),
        ];
        let ran = Arc::new(AtomicU32::new(0));
        let calls = (0..60).map(|number: usize| {
            let (handler, ran) = (handlers[number % 2].clone(), ran.clone());
            tokio::spawn(async move {
                let message = keyed(&format!("k{}", number % 5));
                loop {
                    match handler.handle_message(&message).await {
                        Ok(Handled::Now) => return ran.fetch_add(1, SeqCst),
                        Ok(Handled::Before) => return 0,
                        // It comes again.
                        Err(_) => tokio::task::yield_now().await,
                    }
                }
            })
        });
        for call in calls.collect::<Vec<_>>() {
            call.await.unwrap();
        }
        assert_eq!(ran.load(SeqCst), 5);
        for number in 0..5 {
            assert_eq!(ground.count(&format!("k{number}")).await, 1);
        }
    }

    pub(super) async fn a_transaction_that_the_handler_ended_is_no_success<DB: Database>(
        ground: &Ground<DB>,
    ) {
        let ends = |statement: &'static str, result: fn() -> Result<(), HandlerError>| {
            noting(ground, ground.store(), move |transaction| {
                Box::pin(async move {
                    DB::run(&mut *transaction, statement).await?;
                    result()
                })
            })
        };
        let error = ends("ROLLBACK", || Ok(())).handle_message(&keyed("a")).await.unwrap_err();
        assert!(matches!(error, HandleError::TransactionGone), "{error}");
        assert_eq!(ground.count("a").await, 0);
        assert_eq!(good(ground).handle_message(&keyed("a")).await.unwrap(), Handled::Now, "it is not lost");
        // What a DDL statement does on MySQL. The effect cannot be taken back, but the message is not lost.
        let error = ends("COMMIT", || fails("after")).handle_message(&keyed("b")).await.unwrap_err();
        assert_eq!(error.to_string(), "the handler failed: after");
        assert_eq!(good(ground).handle_message(&keyed("b")).await.unwrap(), Handled::Now);
    }

    /// PostgreSQL commits such a transaction without an error, and without its rows.
    pub(super) async fn an_error_that_the_handler_keeps_for_itself_loses_nothing<DB: Database>(
        ground: &Ground<DB>,
    ) {
        let careless = noting(ground, ground.store(), |transaction| {
            Box::pin(async move {
                assert!(DB::run(transaction, "SELECT * FROM no_such_table").await.is_err());
                Ok(())
            })
        });
        let first = careless.handle_message(&keyed("a")).await;
        let count = ground.count("a").await;
        assert_eq!(first.is_ok(), count == 1, "{first:?} with {count} effects");
        good(ground).handle_message(&keyed("a")).await.unwrap();
        assert_eq!(ground.count("a").await, 1);
    }

    pub(super) async fn savepoints_are_the_handlers_own<DB: Database>(ground: &Ground<DB>) {
        let handler = noting(ground, ground.store(), |transaction| {
            Box::pin(async move {
                DB::run(transaction, "SAVEPOINT s").await?;
                assert!(DB::run(transaction, "SELECT * FROM no_such_table").await.is_err());
                DB::run(transaction, "ROLLBACK TO SAVEPOINT s").await?;
                Ok(())
            })
        });
        assert_eq!(handler.handle_message(&keyed("a")).await.unwrap(), Handled::Now);
        assert_eq!(handler.handle_message(&keyed("a")).await.unwrap(), Handled::Before);
        assert_eq!(ground.count("a").await, 1);
    }

    pub(super) async fn without_a_database_nothing_is_handled<DB: Database>(ground: &Ground<DB>) {
        let store = ground.other().await;
        let handler = noting(ground, store.clone(), |_| Box::pin(async { Ok(()) }));
        store.pool().close().await;
        let error = handler.handle_message(&keyed("a")).await.unwrap_err();
        assert!(matches!(error, HandleError::Store(_)), "{error}");
        assert_eq!(ground.count("a").await, 0);
    }
}

with_every_database!(
    an_effect_happens_once
    what_fails_leaves_nothing_and_comes_again
    a_duplicate_waits_for_the_first
    many_duplicates_at_once_have_one_effect
    a_transaction_that_the_handler_ended_is_no_success
    an_error_that_the_handler_keeps_for_itself_loses_nothing
    savepoints_are_the_handlers_own
    without_a_database_nothing_is_handled
);
