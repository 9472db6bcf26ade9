// SPDX-License-Identifier: Apache-2.0

use super::*;
use crate::ReceivedMessage;
use bytes::Bytes;
use oxmq_record::{Draft, Encoder};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
    },
    task::Poll,
};
use tokio::{sync::Notify, time::sleep};

/// A message as it comes from a broker.
fn message(topic: &str, body: &str, properties: &[(&str, &str)]) -> Arc<ReceivedMessage> {
    let properties: String =
        properties.iter().map(|(name, value)| format!("{name}\u{1}{value}\u{2}")).collect();
    let draft = Draft {
        properties: properties.as_bytes(),
        ..Draft::plain(topic, oxmq_types::QueueId(0), body.as_bytes())
    };
    let mut record = Vec::new();
    Encoder::new(1 << 20).encode(&draft, &mut record).unwrap();
    let mut messages = ReceivedMessage::decode_all(&Bytes::from(record), &"b".into()).unwrap();
    Arc::new(messages.remove(0))
}

fn keyed(key: &str) -> Arc<ReceivedMessage> {
    message("T", "body", &[("KEYS", key)])
}

#[test]
fn a_key_is_found_as_it_is_said() {
    let keys = |of, without| key::Keys { group: "g".into(), of, without };
    let refuse = |of| keys(of, WithoutKey::Refuse);
    let text =
        |keys: &key::Keys, message: &ReceivedMessage| keys.key(message).map(|key| key.text().to_owned());
    let plain = message("T", "b", &[("KEYS", "a b"), ("UNIQ_KEY", "U")]);
    assert_eq!(text(&refuse(KeyOf::MessageKeys), &plain).unwrap(), "a b");
    let by_body = refuse(KeyOf::function(|message| message.text().map(str::to_owned)));
    assert_eq!(text(&by_body, &plain).unwrap(), "b");
    let none = refuse(KeyOf::function(|_| None));
    assert!(matches!(text(&none, &plain), Err(HandleError::Key(KeyError::Empty))));

    let unique = refuse(KeyOf::UniqueId);
    let id = text(&unique, &plain).unwrap();
    assert!(id.starts_with("id:U:"), "{id}");
    assert_eq!(text(&unique, &message("T", "b", &[("UNIQ_KEY", "U")])).unwrap(), id);
    let other = message("T", "c", &[("UNIQ_KEY", "U")]);
    assert_ne!(text(&unique, &other).unwrap(), id, "another message of a batch");

    let bare = message("T", "b", &[("UNIQ_KEY", "U")]);
    assert!(matches!(text(&refuse(KeyOf::MessageKeys), &bare), Err(HandleError::Key(KeyError::Empty))));
    assert_eq!(text(&keys(KeyOf::MessageKeys, WithoutKey::UniqueId), &bare).unwrap(), id);

    let again = message("%RETRY%g", "b", &[("KEYS", "a b"), ("RETRY_TOPIC", "T")]);
    let messages = refuse(KeyOf::MessageKeys);
    assert_eq!(messages.key(&again).unwrap(), messages.key(&plain).unwrap(), "the key it had first");
}

#[test]
fn keys_have_bounds() {
    let text = |text: &str| Key::new("g", "t", text).map(|key| key.text().to_owned());
    assert_eq!(text(""), Err(KeyError::Empty));
    assert_eq!(text(&"x".repeat(512)).unwrap().len(), 512);
    let long = text(&"x".repeat(513)).unwrap();
    assert!(long.starts_with("sha256:") && long.len() == 71);
    assert_ne!(text(&"x".repeat(514)).unwrap(), long);
    assert!(text("a\0b").unwrap().starts_with("sha256:"));
    assert!(matches!(Key::new("", "t", "k"), Err(KeyError::Name(_))));
    assert!(matches!(Key::new("g", "t".repeat(256), "k"), Err(KeyError::Name(_))));
    assert!(ByLease::new("", MemoryStore::new(1), |_| async { Ok(()) }).is_err());
}

fn key(text: &str) -> Key {
    Key::new("g", "t", text).unwrap()
}

const S: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn memory_forgets_what_is_past_its_end_and_nothing_that_is_being_handled() {
    let store = MemoryStore::new(2);
    let token = || Token::random().unwrap();
    let (one, two) = (token(), token());
    assert_eq!(store.claim(&key("a"), one, S).await.unwrap(), Claim::Granted);
    assert_eq!(store.claim(&key("a"), two, S).await.unwrap(), Claim::Held(S));
    assert!(!store.renew(&key("a"), two, S).await.unwrap());
    assert!(!store.complete(&key("a"), two, S).await.unwrap());
    store.release(&key("a"), two).await.unwrap();
    assert_eq!(store.claim(&key("a"), two, S).await.unwrap(), Claim::Held(S), "not released by another");
    sleep(S).await;
    assert_eq!(store.claim(&key("a"), two, S).await.unwrap(), Claim::Granted, "the lease has ended");
    assert!(!store.complete(&key("a"), one, S).await.unwrap(), "who lost it cannot complete it");
    assert_eq!(store.claim(&key("b"), one, S).await.unwrap(), Claim::Granted);
    assert!(store.claim(&key("c"), one, S).await.is_err(), "both are being handled");
    assert!(store.complete(&key("a"), two, S * 2).await.unwrap());
    assert_eq!(store.claim(&key("a"), one, S).await.unwrap(), Claim::Done);
    assert_eq!(store.claim(&key("c"), one, S).await.unwrap(), Claim::Granted, "one that is done makes place");
    assert!(store.complete(&key("b"), one, S).await.unwrap());
    assert_eq!(store.forget_expired(9).await.unwrap(), 0);
    sleep(S).await;
    assert_eq!(store.forget_expired(0).await.unwrap(), 0);
    assert_eq!(store.forget_expired(9).await.unwrap(), 1);
    assert_eq!(store.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_cleanup_removes_all_and_ends_with_its_owner() {
    let store = MemoryStore::new(5000);
    let token = Token::random().unwrap();
    for number in 0..2500 {
        store.claim(&key(&number.to_string()), token, S).await.unwrap();
        store.complete(&key(&number.to_string()), token, S).await.unwrap();
    }
    let cleanup = Cleanup::start(store.clone(), S * 10);
    sleep(S * 5).await;
    assert_eq!(store.len(), 2500);
    sleep(S * 10).await;
    assert!(store.is_empty());
    drop(cleanup);
    store.claim(&key("a"), token, S).await.unwrap();
    store.complete(&key("a"), token, S).await.unwrap();
    sleep(S * 100).await;
    assert_eq!(store.len(), 1);
}

/// Fails where it is told to.
#[derive(Clone)]
struct Flaky {
    inner: MemoryStore,
    down: Arc<AtomicBool>,
    marks_that_fail: Arc<AtomicU32>,
}

impl Flaky {
    fn new() -> Self {
        Self { inner: MemoryStore::new(100), down: Arc::default(), marks_that_fail: Arc::default() }
    }

    fn check(&self) -> Result<(), StoreError> {
        if self.down.load(SeqCst) { Err(StoreError::Failed("down".into())) } else { Ok(()) }
    }
}

impl ClaimStore for Flaky {
    async fn claim(&self, key: &Key, token: Token, lease: Duration) -> Result<Claim, StoreError> {
        self.check()?;
        self.inner.claim(key, token, lease).await
    }

    async fn renew(&self, key: &Key, token: Token, lease: Duration) -> Result<bool, StoreError> {
        self.check()?;
        self.inner.renew(key, token, lease).await
    }

    async fn complete(&self, key: &Key, token: Token, retention: Duration) -> Result<bool, StoreError> {
        self.check()?;
        let fails = self.marks_that_fail.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok();
        if fails {
            return Err(StoreError::Failed("no mark".into()));
        }
        self.inner.complete(key, token, retention).await
    }

    async fn release(&self, key: &Key, token: Token) -> Result<(), StoreError> {
        self.check()?;
        self.inner.release(key, token).await
    }

    async fn forget_expired(&self, limit: u32) -> Result<u64, StoreError> {
        self.inner.forget_expired(limit).await
    }
}

/// What a handler does next, and how often it was done.
#[derive(Clone, Default)]
struct Work {
    runs: Arc<AtomicU32>,
    ended: Arc<AtomicU32>,
    takes: Arc<Mutex<Duration>>,
    fails: Arc<AtomicBool>,
    panics: Arc<AtomicBool>,
}

impl MessageHandler for Work {
    async fn handle(&self, _: Arc<ReceivedMessage>) -> Result<(), HandlerError> {
        self.runs.fetch_add(1, SeqCst);
        let takes = *self.takes.lock().unwrap();
        sleep(takes).await;
        assert!(!self.panics.load(SeqCst), "boom");
        if self.fails.load(SeqCst) {
            return Err("no".into());
        }
        self.ended.fetch_add(1, SeqCst);
        Ok(())
    }
}

fn once(work: &Work, store: &Flaky) -> ByLease<Flaky, Work> {
    ByLease::new("g", store.clone(), work.clone()).unwrap().lease(S * 30)
}

#[tokio::test(start_paused = true)]
async fn by_lease_a_handler_runs_once_for_a_key() {
    let (work, store) = (Work::default(), Flaky::new());
    let (one, other) = (once(&work, &store), once(&work, &store));
    assert_eq!(one.handle_message(&keyed("a")).await.unwrap(), Handled::Now);
    assert_eq!(other.handle_message(&keyed("a")).await.unwrap(), Handled::Before);
    assert_eq!(other.handle_message(&keyed("b")).await.unwrap(), Handled::Now);
    assert_eq!(work.runs.load(SeqCst), 2);
    let other_group = ByLease::new("h", store.clone(), work.clone()).unwrap();
    assert_eq!(other_group.handle_message(&keyed("a")).await.unwrap(), Handled::Now);
    assert_eq!(other_group.handle_message(&message("U", "b", &[("KEYS", "a")])).await.unwrap(), Handled::Now);
}

#[tokio::test(start_paused = true)]
async fn by_lease_a_failure_lets_the_message_come_again_at_once() {
    let (work, store) = (Work::default(), Flaky::new());
    let handler = once(&work, &store).handler_timeout(S * 10);
    work.fails.store(true, SeqCst);
    let error = handler.handle_message(&keyed("a")).await.unwrap_err();
    assert_eq!(error.to_string(), "the handler failed: no");
    work.fails.store(false, SeqCst);
    work.panics.store(true, SeqCst);
    let error = handler.handle_message(&keyed("a")).await.unwrap_err();
    assert_eq!(error.to_string(), "the handler panicked: boom");
    work.panics.store(false, SeqCst);
    *work.takes.lock().unwrap() = S * 3600;
    let error = handler.handle_message(&keyed("a")).await.unwrap_err();
    assert_eq!(error.to_string(), "the handler took longer than 10000 ms and was ended");
    *work.takes.lock().unwrap() = S * 9;
    assert_eq!(handler.handle_message(&keyed("a")).await.unwrap(), Handled::Now);
    assert_eq!((work.runs.load(SeqCst), work.ended.load(SeqCst)), (4, 1));
}

/// Polls a future until it waits, and gives what another says meanwhile.
async fn while_waiting<T>(waiting: impl Future, then: impl AsyncFnOnce() -> T) -> T {
    let mut waiting = std::pin::pin!(waiting);
    let first = std::future::poll_fn(|context| Poll::Ready(waiting.as_mut().poll(context))).await;
    assert!(first.is_pending());
    then().await
}

#[tokio::test(start_paused = true)]
async fn by_lease_a_crash_puts_the_message_off_until_the_lease_ends() {
    let (work, store) = (Work::default(), Flaky::new());
    let (one, other) = (once(&work, &store), once(&work, &store));
    *work.takes.lock().unwrap() = S * 5;
    // That nobody polls it any more, and nothing of it runs: what a crash is.
    let message = keyed("a");
    let crashed = one.handle_message(&message);
    while_waiting(crashed, async || {
        let error = other.handle_message(&message).await.unwrap_err();
        assert!(matches!(error, HandleError::Held(left) if left == S * 30), "{error}");
        sleep(S * 29).await;
        assert!(matches!(other.handle_message(&message).await, Err(HandleError::Held(_))));
        sleep(S).await;
        assert_eq!(other.handle_message(&message).await.unwrap(), Handled::Now);
    })
    .await;
    assert_eq!((work.runs.load(SeqCst), work.ended.load(SeqCst)), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn by_lease_a_handler_may_take_longer_than_the_lease() {
    let (work, store) = (Work::default(), Flaky::new());
    let (one, other) = (once(&work, &store), once(&work, &store));
    *work.takes.lock().unwrap() = S * 300;
    let running = tokio::spawn(async move { one.handle_message(&keyed("a")).await });
    tokio::task::yield_now().await;
    for _ in 0..29 {
        sleep(S * 10).await;
        assert!(matches!(other.handle_message(&keyed("a")).await, Err(HandleError::Held(_))));
    }
    assert_eq!(running.await.unwrap().unwrap(), Handled::Now);
    assert_eq!(work.runs.load(SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn by_lease_a_handler_ends_before_a_lease_that_cannot_be_renewed() {
    let (work, store) = (Work::default(), Flaky::new());
    let (one, other) = (once(&work, &store), once(&work, &store));
    *work.takes.lock().unwrap() = S * 300;
    let start = tokio::time::Instant::now();
    let running = tokio::spawn(async move {
        let result = one.handle_message(&keyed("a")).await;
        (result, start.elapsed())
    });
    sleep(S * 15).await;
    store.down.store(true, SeqCst);
    let (result, after) = running.await.unwrap();
    assert!(matches!(result, Err(HandleError::LeaseLost)), "{result:?}");
    assert!(after > S * 30 && after < S * 40, "renewed after 10 s, it ends after 40 s: {after:?}");
    assert_eq!(work.ended.load(SeqCst), 0);
    store.down.store(false, SeqCst);
    assert!(matches!(other.handle_message(&keyed("a")).await, Err(HandleError::Held(_))));
}

#[tokio::test(start_paused = true)]
async fn by_lease_nothing_is_handled_while_the_store_is_down_and_nothing_acknowledged_that_is_not_marked() {
    let (work, store) = (Work::default(), Flaky::new());
    let handler = once(&work, &store);
    store.down.store(true, SeqCst);
    assert!(matches!(handler.handle_message(&keyed("a")).await, Err(HandleError::Store(_))));
    assert_eq!(work.runs.load(SeqCst), 0);
    store.down.store(false, SeqCst);

    store.marks_that_fail.store(3, SeqCst);
    assert_eq!(handler.handle_message(&keyed("a")).await.unwrap(), Handled::Now, "the mark is tried again");
    assert_eq!(handler.handle_message(&keyed("a")).await.unwrap(), Handled::Before);
    assert_eq!(work.runs.load(SeqCst), 1);

    store.marks_that_fail.store(u32::MAX, SeqCst);
    assert!(matches!(handler.handle_message(&keyed("b")).await, Err(HandleError::Store(_))));
    store.marks_that_fail.store(0, SeqCst);
    sleep(S * 30).await;
    assert_eq!(handler.handle_message(&keyed("b")).await.unwrap(), Handled::Now, "at least once, as it says");
    assert_eq!(work.ended.load(SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn a_closure_is_a_handler() {
    let seen = Arc::new(Notify::new());
    let handler = ByLease::new("g", MemoryStore::new(9), {
        let seen = seen.clone();
        move |message: Arc<ReceivedMessage>| {
            let seen = seen.clone();
            async move {
                assert_eq!(message.body(), "body");
                seen.notify_one();
                Ok(())
            }
        }
    });
    let handler = handler.unwrap().key_of(KeyOf::UniqueId).without_key(WithoutKey::Refuse);
    assert!(handler.handle_message(&keyed("a")).await.is_err());
    let message = message("T", "body", &[("UNIQ_KEY", "U")]);
    assert_eq!(handler.handle_message(&message).await.unwrap(), Handled::Now);
    seen.notified().await;
}

#[tokio::test(start_paused = true)]
async fn a_batch_ends_with_the_first_that_has_to_come_again() {
    use crate::consumer::{Batch, Handler, Outcome};
    let (work, store) = (Work::default(), Flaky::new());
    let handler = once(&work, &store);
    let batch = |keys: &[&str]| {
        let queue = Arc::new(crate::MessageQueue::new("T", "b", 0));
        Batch::new(queue, keys.iter().map(|key| keyed(key)))
    };
    assert_eq!(handler.handle(batch(&["a", "b", "a"])).await, Outcome::Success);
    assert_eq!(work.runs.load(SeqCst), 2);
    let key = Key::new("g", "T", "held").unwrap();
    store.claim(&key, Token::random().unwrap(), S * 20).await.unwrap();
    assert_eq!(handler.handle(batch(&["a", "c", "held", "d"])).await, Outcome::Partly(2));
    assert_eq!(handler.handle(batch(&["held", "d"])).await, Outcome::RetryAfter(S * 20));
    work.fails.store(true, SeqCst);
    assert_eq!(handler.handle(batch(&["d"])).await, Outcome::Retry);
    store.down.store(true, SeqCst);
    assert_eq!(handler.handle(batch(&["a"])).await, Outcome::Retry, "nobody knows");
    assert_eq!(handler.handle(batch(&[""])).await, Outcome::Retry, "no key");
}
