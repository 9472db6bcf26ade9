// SPDX-License-Identifier: Apache-2.0
//! Claims, marks and their ends.

use crate::{database::Database, with_every_database};
use oxmq_client::idempotent::{Claim, ClaimStore, Cleanup, Key, Sql, SqlStore, Token};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_millis(300);

fn key(text: &str) -> Key {
    Key::new("g", "T", text).unwrap()
}

fn token() -> Token {
    Token::random().unwrap()
}

/// Claims until the lease of another has ended.
async fn claim_in_time<DB: Sql>(store: &SqlStore<DB>, key: &Key, token: Token) {
    for _ in 0..1000 {
        match store.claim(key, token, LONG).await.unwrap() {
            Claim::Granted => return,
            Claim::Held(left) => tokio::time::sleep(left).await,
            Claim::Done => panic!("done"),
        }
    }
    panic!("the lease does not end");
}

mod generic {
    use super::*;
    use crate::database::Ground;

    pub(super) async fn a_claim_is_for_one_until_its_lease_ends<DB: Database>(ground: &Ground<DB>) {
        let (store, other) = (ground.store(), ground.other().await);
        let (mine, theirs) = (token(), token());
        assert_eq!(store.claim(&key("a"), mine, LONG).await.unwrap(), Claim::Granted);
        let Claim::Held(left) = other.claim(&key("a"), theirs, LONG).await.unwrap() else { panic!() };
        assert!(left > LONG / 2 && left <= LONG, "{left:?}");
        assert!(!other.renew(&key("a"), theirs, LONG).await.unwrap());
        assert!(!other.complete(&key("a"), theirs, LONG).await.unwrap());
        other.release(&key("a"), theirs).await.unwrap();
        assert!(store.renew(&key("a"), mine, LONG).await.unwrap(), "it is still mine");
        // Twice within a millisecond: nothing changes, and yet it is mine.
        assert!(store.renew(&key("a"), mine, LONG).await.unwrap());
        store.release(&key("a"), mine).await.unwrap();
        assert_eq!(other.claim(&key("a"), theirs, SHORT).await.unwrap(), Claim::Granted);
        assert!(matches!(store.claim(&key("a"), mine, LONG).await.unwrap(), Claim::Held(_)));
        claim_in_time(&store, &key("a"), mine).await;
        assert!(!other.complete(&key("a"), theirs, LONG).await.unwrap(), "the lease was lost");
        assert!(!other.renew(&key("a"), theirs, LONG).await.unwrap());
        assert!(store.complete(&key("a"), mine, LONG).await.unwrap());
        assert!(!store.complete(&key("a"), mine, LONG).await.unwrap());
        store.release(&key("a"), mine).await.unwrap();
        assert_eq!(other.claim(&key("a"), theirs, LONG).await.unwrap(), Claim::Done);
    }

    pub(super) async fn of_many_who_claim_one_gets_it<DB: Database>(ground: &Ground<DB>) {
        let stores = [ground.store(), ground.other().await, ground.other().await];
        for round in 0..10 {
            let claims = (0..9).map(|number| {
                let store = stores[number % 3].clone();
                tokio::spawn(async move {
                    // A database that says "busy" says nothing: it is asked again.
                    loop {
                        if let Ok(claim) = store.claim(&key(&round.to_string()), token(), LONG).await {
                            return claim;
                        }
                    }
                })
            });
            let mut granted = 0;
            for claim in claims.collect::<Vec<_>>() {
                match claim.await.unwrap() {
                    Claim::Granted => granted += 1,
                    claim => assert!(matches!(claim, Claim::Held(_)), "{claim:?}"),
                }
            }
            assert_eq!(granted, 1);
        }
    }

    pub(super) async fn keys_are_compared_byte_by_byte<DB: Database>(ground: &Ground<DB>) {
        let store = ground.store();
        let long = "x".repeat(512);
        let texts = [
            "order",
            "Order",
            "order ",
            " order",
            "örder",
            "o\u{308}rder",
            "訂單😀",
            "a'b\"c\\d?$1",
            &long,
            "a\0",
        ];
        for round in [Claim::Granted, Claim::Done] {
            for text in texts {
                let token = token();
                assert_eq!(store.claim(&key(text), token, LONG).await.unwrap(), round, "{text}");
                assert_eq!(store.complete(&key(text), token, LONG).await.unwrap(), round == Claim::Granted);
            }
        }
        for other in [Key::new("G", "T", "order"), Key::new("g", "t", "order"), Key::new("gT", "T", "order")]
        {
            assert_eq!(store.claim(&other.unwrap(), token(), LONG).await.unwrap(), Claim::Granted);
        }
    }

    pub(super) async fn what_is_past_its_end_is_removed_in_bounded_steps<DB: Database>(ground: &Ground<DB>) {
        let store = ground.store();
        for number in 0..7 {
            let (key, token) = (key(&number.to_string()), token());
            store.claim(&key, token, LONG).await.unwrap();
            let retention = if number < 5 { Duration::ZERO } else { LONG };
            assert!(store.complete(&key, token, retention).await.unwrap());
        }
        assert_eq!(store.claim(&key("held"), token(), LONG).await.unwrap(), Claim::Granted);
        assert_eq!(
            store.claim(&key("0"), token(), Duration::ZERO).await.unwrap(),
            Claim::Granted,
            "forgotten"
        );
        assert_eq!(store.forget_expired(2).await.unwrap(), 2);
        assert_eq!(store.forget_expired(2).await.unwrap(), 2);
        assert_eq!(Cleanup::once(&store).await, 1);
        assert_eq!(store.claim(&key("6"), token(), LONG).await.unwrap(), Claim::Done);
        assert!(matches!(store.claim(&key("held"), token(), LONG).await.unwrap(), Claim::Held(_)));
    }

    pub(super) async fn a_store_that_is_gone_says_so<DB: Database>(ground: &Ground<DB>) {
        let store = ground.other().await;
        store.pool().close().await;
        assert!(store.claim(&key("a"), token(), LONG).await.is_err());
        let none = SqlStore::in_table(ground.pool.clone(), "no_such_table").unwrap();
        let error = none.claim(&key("a"), token(), LONG).await.unwrap_err();
        assert!(error.to_string().contains("no_such_table"), "{error}");
        // All connections are in use.
        let busy = ground.other().await.statement_timeout(SHORT);
        let mut connections = Vec::new();
        for _ in 0..4 {
            connections.push(busy.pool().acquire().await.unwrap());
        }
        let error = busy.claim(&key("a"), token(), LONG).await.unwrap_err();
        assert_eq!(error.to_string(), "the store of handled keys did not answer within 300 ms");
    }
}

with_every_database!(
    a_claim_is_for_one_until_its_lease_ends
    of_many_who_claim_one_gets_it
    keys_are_compared_byte_by_byte
    what_is_past_its_end_is_removed_in_bounded_steps
    a_store_that_is_gone_says_so
);
