// SPDX-License-Identifier: Apache-2.0
//! Lite pull and plain pull consumers.

use crate::{
    kit::{BROKER, Fake, LONG, field, until},
    push::client,
};
use oxmq_client::{
    MessageQueue,
    code::request,
    consumer::{ConsumeFrom, Filter, LiteError, LiteOptions, LitePullConsumer, PullConsumer, PullStatus},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

const SHORT: Duration = Duration::from_millis(300);

fn lite() -> LiteOptions {
    LiteOptions::new("g").consume_from(ConsumeFrom::FirstOffset)
}

async fn poll_all(consumer: &LitePullConsumer, count: usize) -> Vec<usize> {
    let mut numbers = Vec::new();
    while numbers.len() < count {
        let messages = consumer.poll(LONG).await;
        assert!(!messages.is_empty(), "waited in vain");
        numbers.extend(messages.iter().map(|message| message.text().unwrap().parse::<usize>().unwrap()));
    }
    numbers
}

#[tokio::test]
async fn polls_what_it_subscribes_to_and_commits_what_was_polled() {
    let fake = Fake::start(2);
    fake.put(0, 50);
    let commits_by_pulls = Arc::new(AtomicUsize::new(0));
    let count = commits_by_pulls.clone();
    fake.intercept(move |request| {
        if request.header.code == request::PULL_MESSAGE && field(request, "commitOffset") != "0" {
            count.fetch_add(1, Ordering::AcqRel);
        }
        None
    });
    let client = client(&fake);
    let consumer = LitePullConsumer::start(&client, lite()).await.unwrap();
    assert_eq!(consumer.poll(Duration::ZERO).await, []);
    consumer.subscribe("t", "*").await.unwrap();
    let mut numbers = poll_all(&consumer, 50).await;
    numbers.sort_unstable();
    assert_eq!(numbers, (0..50).collect::<Vec<_>>());
    assert!(matches!(consumer.assign([]).await, Err(LiteError::SubscribeAndAssign)));
    consumer.commit().await.unwrap();
    assert_eq!(fake.committed("g"), 50);
    fake.put(50, 4);
    poll_all(&consumer, 4).await;
    fake.put(54, 4);
    poll_all(&consumer, 4).await;
    consumer.shutdown().await;
    assert_eq!(fake.committed("g"), 58, "the end commits what was polled");
    assert_eq!(commits_by_pulls.load(Ordering::Acquire), 0, "a pull may come later than the commit");
}

#[tokio::test]
async fn without_auto_commit_nothing_is_committed_but_by_hand() {
    let fake = Fake::start(1);
    fake.put(0, 30);
    let client = client(&fake);
    let queue = MessageQueue::new("t", BROKER, 0);
    let start = async || {
        let consumer = LitePullConsumer::start(&client, lite().auto_commit(false)).await.unwrap();
        consumer.assign([queue.clone()]).await.unwrap();
        consumer
    };
    let consumer = start().await;
    assert_eq!(poll_all(&consumer, 10).await, (0..10).collect::<Vec<_>>());
    consumer.commit().await.unwrap();
    assert_eq!(poll_all(&consumer, 20).await, (10..30).collect::<Vec<_>>());
    consumer.shutdown().await;
    assert_eq!(fake.committed("g"), 10);
    let consumer = start().await;
    assert_eq!(consumer.committed(&queue).await.unwrap(), Some(10));
    assert_eq!(poll_all(&consumer, 20).await, (10..30).collect::<Vec<_>>(), "they come again");
    consumer.shutdown().await;
}

#[tokio::test]
async fn seeks_pauses_and_looks_for_times() {
    let fake = Fake::start(2);
    fake.put(0, 40);
    let client = client(&fake);
    let consumer = LitePullConsumer::start(&client, lite()).await.unwrap();
    let queues = consumer.queues("t").await.unwrap();
    assert_eq!(queues.len(), 2);
    consumer.assign([queues[0].clone()]).await.unwrap();
    poll_all(&consumer, 20).await;
    assert_eq!(consumer.poll(SHORT).await, [], "the other queue was not assigned");
    consumer.seek(&queues[0], 18).await.unwrap();
    assert_eq!(poll_all(&consumer, 2).await, [36, 38]);
    consumer.seek_to_begin(&queues[0]).await.unwrap();
    assert_eq!(poll_all(&consumer, 20).await.len(), 20);
    let at = consumer.offset_for_timestamp(&queues[0], 1).await.unwrap();
    consumer.seek(&queues[0], at).await.unwrap();
    assert_eq!(poll_all(&consumer, 10).await[0], 20);
    consumer.seek_to_end(&queues[0]).await.unwrap();
    assert_eq!(consumer.poll(SHORT).await, []);
    let error = consumer.seek(&queues[0], 99).await.unwrap_err().to_string();
    assert!(error.contains("offset 99") && error.contains("0 and 20"), "{error}");
    assert!(matches!(consumer.seek(&queues[1], 0).await, Err(LiteError::NotAssigned(_))));
    consumer.pause([&queues[0]]);
    consumer.seek_to_begin(&queues[0]).await.unwrap();
    assert_eq!(consumer.poll(SHORT).await, [], "it is paused");
    consumer.resume([&queues[0]]);
    assert_eq!(poll_all(&consumer, 20).await.len(), 20);
    consumer.assign([queues[1].clone()]).await.unwrap();
    until("the assignment changes", || consumer.assignment() == [queues[1].clone()]).await;
    assert_eq!(poll_all(&consumer, 20).await[0], 1);
    consumer.shutdown().await;
}

#[tokio::test]
async fn plain_pulls_say_what_there_is() {
    let fake = Fake::start(1);
    fake.put(0, 10);
    fake.broker.put("t", 0, b"10", "TAGS\u{1}A\u{2}", 0);
    let client = client(&fake);
    let consumer = PullConsumer::new(&client, "g").unwrap();
    let queue = consumer.queues("t").await.unwrap().remove(0);
    let pull = |filter: &str, offset| {
        let (consumer, queue, filter) = (consumer.clone(), queue.clone(), Filter::tags(filter));
        async move { consumer.pull(&queue, &filter, offset, 4).await.unwrap() }
    };
    let found = pull("*", 0).await;
    assert_eq!(
        (found.status, found.messages.len(), found.next_offset, found.max_offset),
        (PullStatus::Found, 4, 4, 11)
    );
    assert_eq!(pull("A", 0).await.status, PullStatus::NoneMatched);
    assert_eq!(pull("A", 8).await.messages[0].text(), Some("10"));
    assert_eq!(pull("*", 11).await.status, PullStatus::NothingNew);
    let moved = pull("*", 99).await;
    assert_eq!((moved.status, moved.next_offset), (PullStatus::OffsetMoved, 11));
    assert_eq!(consumer.committed(&queue).await.unwrap(), None);
    consumer.commit(&queue, 7).await.unwrap();
    assert_eq!(consumer.committed(&queue).await.unwrap(), Some(7));
    assert_eq!((consumer.min_offset(&queue).await, consumer.max_offset(&queue).await), (Ok(0), Ok(11)));
    assert_eq!(consumer.search_offset(&queue, 1).await, Ok(5));
    let error = consumer.queues("none").await.unwrap_err().to_string();
    assert!(error.contains("No route info of this topic: none"), "{error}");
}
