// SPDX-License-Identifier: Apache-2.0
//! The one task of a client: it asks for routes and tells brokers who is here.

use super::Inner;
use futures_util::stream::{self, StreamExt};
use std::sync::Arc;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tracing::debug;

/// Routes asked for at once, at most.
const AT_ONCE: usize = 8;

/// Runs until it is aborted.
pub(super) async fn run(inner: Arc<Inner>) {
    let timer = |period| {
        let mut timer = interval_at(Instant::now() + period, period);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        timer
    };
    let mut routes = timer(inner.options.route_interval);
    let mut beats = timer(inner.options.heartbeat_interval);
    loop {
        tokio::select! {
            _ = routes.tick() => refresh_all(&inner).await,
            _ = beats.tick() => inner.beat().await,
            () = inner.beat_now.notified() => inner.beat().await,
        }
    }
}

async fn refresh_all(inner: &Arc<Inner>) {
    let wanted = inner.members().iter().flat_map(|member| member.topics()).collect();
    let topics = inner.routes.due(wanted);
    stream::iter(topics)
        .for_each_concurrent(AT_ONCE, |topic| async move {
            if let Err(error) = inner.refresh_route(&topic).await {
                // What is known goes on being used.
                debug!(%topic, %error, "a route is not renewed");
            }
        })
        .await;
}
