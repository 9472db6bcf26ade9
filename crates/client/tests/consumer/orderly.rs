// SPDX-License-Identifier: Apache-2.0
//! Orderly push consumers.

use crate::{
    kit::{Fake, Seen, until},
    push::{client, options, recorder},
};
use oxmq_client::consumer::{Batch, Outcome, PushConsumer};
use std::time::Duration;

/// The numbers of each queue, as they were seen.
fn by_queue(seen: &Seen, queues: usize) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new(); queues];
    for (number, queue, _) in seen.all() {
        all[queue.queue_id as usize].push(number);
    }
    all
}

fn assert_sorted(seen: &Seen, queues: usize) {
    for numbers in by_queue(seen, queues) {
        assert!(numbers.is_sorted(), "{numbers:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_queue_stays_in_order_though_some_messages_fail() {
    let fake = Fake::start(3);
    fake.put(0, 300);
    let seen = Seen::default();
    let record = seen.clone();
    let handler = move |batch: Batch| {
        let record = record.clone();
        async move {
            let number: usize = batch[0].text().unwrap().parse().unwrap();
            tokio::time::sleep(Duration::from_micros(number as u64 % 3 * 300)).await;
            if number % 50 == 7 && batch[0].reconsume_times() < 2 {
                return Outcome::RetryAfter(Duration::from_millis(10));
            }
            record.add(&batch[0]);
            Outcome::Success
        }
    };
    let client = client(&fake);
    let consumer = PushConsumer::start_orderly(&client, options(), handler).await.unwrap();
    until("all are consumed", || seen.len() >= 300 && consumer.in_flight() == (0, 0)).await;
    consumer.shutdown().await;
    seen.assert_once(300);
    assert_sorted(&seen, 3);
    assert_eq!(
        (fake.committed("g"), fake.state().sent_back.len()),
        (300, 0),
        "nothing goes over the retry topic"
    );
    assert!(fake.state().locks.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_fails_too_often_becomes_a_dead_letter_and_the_queue_goes_on() {
    let fake = Fake::start(1);
    fake.put(0, 6);
    let seen = Seen::default();
    let record = seen.clone();
    let handler = move |batch: Batch| {
        record.add(&batch[0]);
        let fails = batch[0].text() == Some("2");
        async move { if fails { Outcome::RetryAfter(Duration::ZERO) } else { Outcome::Success } }
    };
    let client = client(&fake);
    let options = options().max_reconsume_times(2);
    let consumer = PushConsumer::start_orderly(&client, options, handler).await.unwrap();
    until("all are done with", || {
        fake.state().dead.len() == 1 && consumer.in_flight() == (0, 0) && seen.len() == 8
    })
    .await;
    consumer.shutdown().await;
    assert_eq!(seen.numbers(), [0, 1, 2, 2, 2, 3, 4, 5]);
    assert_eq!(fake.state().dead, ["2"]);
    assert_eq!(fake.committed("g"), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_changes_its_owner_without_repetition_and_without_overtaking() {
    let fake = Fake::start(4);
    fake.put(0, 400);
    let seen = Seen::default();
    let handler = || {
        let record = seen.clone();
        move |batch: Batch| {
            let record = record.clone();
            async move {
                // Added at the end: whoever overtakes shows.
                tokio::time::sleep(Duration::from_millis(2)).await;
                record.add(&batch[0]);
            }
        }
    };
    let (one, two) = (client(&fake), client(&fake));
    let first = PushConsumer::start_orderly(&one, options(), handler()).await.unwrap();
    until("the first has begun", || seen.len() > 20).await;
    let second = PushConsumer::start_orderly(&two, options(), handler()).await.unwrap();
    until("all are consumed", || seen.has_all(400)).await;
    assert!(second.totals().iter().any(|(topic, totals)| topic == "t" && totals.consumed > 0));
    first.shutdown().await;
    fake.put(400, 40);
    until("the second goes on", || seen.has_all(440)).await;
    second.shutdown().await;
    seen.assert_once(440);
    assert_sorted(&seen, 4);
    assert_eq!(fake.committed("g"), 440);
}

#[tokio::test]
async fn a_queue_that_somebody_has_locked_is_left_to_them() {
    let fake = Fake::start(2);
    fake.put(0, 10);
    fake.state().locks.insert(("t".into(), 0), "somebody".into());
    let seen = Seen::default();
    let client = client(&fake);
    let consumer = PushConsumer::start_orderly(&client, options(), recorder(&seen)).await.unwrap();
    until("the other queue is consumed", || seen.len() == 5).await;
    assert_eq!(by_queue(&seen, 2)[0], Vec::<usize>::new());
    fake.state().locks.clear();
    until("it is taken when it is free", || seen.len() == 10).await;
    consumer.shutdown().await;
    seen.assert_once(10);
}
