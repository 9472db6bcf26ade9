// SPDX-License-Identifier: Apache-2.0
//! The pull loop of one queue of a push consumer.
//!
//! Java: `DefaultMQPushConsumerImpl#pullMessage`, `PullAPIWrapper`.

use super::{
    calls::{Pull, PullStatus, Pulled, RequestError},
    held::{Held, now_ms},
    shared::Shared,
};
use oxmq_remoting::code;
use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};
use tracing::{debug, warn};

/// How long a broker may hold a pull that finds nothing. Java: `BROKER_SUSPEND_MAX_TIME_MILLIS`.
pub(crate) const HOLD: Duration = Duration::from_secs(15);
/// How long its answer may take. Java: `CONSUMER_TIMEOUT_MILLIS_WHEN_SUSPEND`.
pub(crate) const HELD_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause when the broker is overloaded. Java: `PULL_TIME_DELAY_MILLS_WHEN_BROKER_FLOW_CONTROL`.
const AFTER_FLOW_CONTROL: Duration = Duration::from_millis(20);
/// How often it is looked whether a queue is locked.
const UNTIL_LOCKED: Duration = Duration::from_millis(100);

/// Pulls until the queue is released or the consumer stops; its owner ends it then.
pub(crate) async fn pull(shared: Arc<Shared>, held: Arc<Held>) {
    loop {
        shared.resumed().await;
        held.resumed().await;
        held.wait_for_room(shared.bounds(), shared.options.total_count_max, shared.options.total_bytes_max)
            .await;
        if shared.locks() && !held.is_locked() {
            tokio::time::sleep(UNTIL_LOCKED).await;
            continue;
        }
        if held.is_released() {
            return;
        }
        let pause = match once(&shared, &held).await {
            Ok(pause) => pause,
            Err(error) => after(&shared, &held, &error).await,
        };
        // The least sleep takes a millisecond or two, however short it is to be.
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        tokio::task::coop::consume_budget().await;
    }
}

/// One pull, and how long the next one waits.
async fn once(shared: &Arc<Shared>, held: &Arc<Held>) -> Result<Duration, RequestError> {
    let subscription = held.subscription();
    let (epoch, offset, commit) = held.change(|state| {
        state.last_pull_ms = now_ms();
        (state.epoch(), state.pulled_to(), state.commit_offset())
    });
    let begin = Instant::now();
    let pull = Pull {
        queue: &held.queue,
        offset,
        count_max: shared.options.pull_batch_max,
        bytes_max: shared.options.pull_bytes_max,
        // Not for who polls, as in Java: a pull under way would overtake the commit that the application waits for.
        commit: (!shared.is_broadcasting() && !shared.is_polled() && commit > 0).then_some(commit),
        hold: Some(HOLD),
        timeout: HELD_TIMEOUT,
        subscription: &subscription,
        own_filter: shared.is_polled(),
        broker_id: held.pull_from.load(Ordering::Acquire),
    };
    held.pull_commits(pull.commit);
    let answer = tokio::select! {
        answer = shared.calls.pull(&pull) => answer,
        () = held.moved.notified() => return Ok(Duration::ZERO),
    };
    held.pull_ended();
    let Pulled { status, messages, next, from, suggested, .. } = answer?;
    held.pull_from.store(suggested, Ordering::Release);
    match status {
        PullStatus::Found => {
            held.stats.pulled(messages.len(), begin.elapsed().as_millis() as u64);
            let put = held.change(|state| state.put(epoch, messages.into_iter().map(Arc::new), next));
            if put > 0 && !held.is_released() {
                if shared.orderly { held.arrived.notify_one() } else { shared.line.join(held) }
            }
            Ok(if put > 0 { shared.options.pull_interval } else { Duration::ZERO })
        }
        PullStatus::NothingNew | PullStatus::NoneMatched => {
            held.change(|state| state.put(epoch, [], next));
            // COMPAT(java): a slave that was behind when its master died has nothing for who was not. It only says that the
            // master is to be asked, and while that is gone, it is the slave that is asked again, and again.
            let stays = || shared.calls.pulled_from(&held.queue, suggested) == Some(from);
            let vain = status == PullStatus::NoneMatched && next <= offset && stays();
            Ok(if vain { shared.options.error_pause } else { Duration::ZERO })
        }
        PullStatus::OffsetMoved => {
            warn!(group = shared.group(), queue = %held.queue, offset, next,
                "the broker has nothing at this offset, or the group was reset; the queue goes on elsewhere");
            held.change(|state| {
                if state.epoch() == epoch {
                    state.reset(next)
                }
            });
            if shared.commits_by_itself() {
                shared.persist(std::slice::from_ref(held)).await;
            }
            Ok(Duration::ZERO)
        }
    }
}

/// What is done after an error, and how long the next pull waits.
async fn after(shared: &Shared, held: &Held, error: &RequestError) -> Duration {
    // Its slave may be gone; the master knows better.
    held.pull_from.store(0, Ordering::Release);
    match error {
        RequestError::Refused { code: code::FLOW_CONTROL, .. } => return AFTER_FLOW_CONTROL,
        RequestError::Refused {
            code: code::SUBSCRIPTION_NOT_EXIST | code::SUBSCRIPTION_NOT_LATEST, ..
        } => {
            // A broker that was restarted does not know us until the next heartbeat.
            debug!(group = shared.group(), queue = %held.queue, %error, "the broker does not know the subscription yet");
            shared.calls.heartbeat().await;
        }
        error => {
            warn!(group = shared.group(), queue = %held.queue, %error, "a pull failed, the next one waits")
        }
    }
    if error.is_about_route() {
        shared.calls.refresh(&held.queue.topic).await;
    }
    shared.options.error_pause
}
