// SPDX-License-Identifier: Apache-2.0
//! What a client knows of topics and brokers.

use super::lock;
use crate::{Route, RouteError};
use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex},
};

/// A route that nobody asked for during so many rounds is forgotten: an application may send to any number of topics.
const IDLE_ROUNDS_MAX: u32 = 20;

type Asked = BoxFuture<'static, Result<Arc<Route>, RouteError>>;

/// Routes by topic and addresses by broker name.
#[derive(Default)]
pub(crate) struct Routes {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    topics: HashMap<Arc<str>, Known>,
    /// Questions that are under way.
    /// Weak: one that nobody waits for any more is not gone on with, lest it time out while nobody looks.
    asking: HashMap<Arc<str>, WeakShared<Asked>>,
    brokers: HashMap<Arc<str>, BTreeMap<i64, Arc<str>>>,
    new_brokers: bool,
}

struct Known {
    route: Arc<Route>,
    idle_rounds: u32,
    stale: bool,
}

impl Routes {
    /// What is known of `topic`.
    pub(crate) fn get(&self, topic: &str) -> Option<Arc<Route>> {
        let mut state = lock(&self.state);
        let known = state.topics.get_mut(topic)?;
        known.idle_rounds = 0;
        if known.stale {
            // One asks; the others go on with what is known.
            known.stale = false;
            return None;
        }
        Some(known.route.clone())
    }

    /// Takes a route for a topic that does not exist yet, unless a real one is known.
    pub(crate) fn assume(&self, route: &Arc<Route>) {
        let mut state = lock(&self.state);
        if !state.topics.contains_key(route.topic()) {
            let known = Known { route: route.clone(), idle_rounds: 0, stale: false };
            state.topics.insert(route.topic().clone(), known);
            state.learn_brokers(route);
        }
    }

    /// The next one who wants the route of `topic` asks for it anew.
    pub(crate) fn mark_stale(&self, topic: &str) {
        if let Some(known) = lock(&self.state).topics.get_mut(topic) {
            known.stale = true;
        }
    }

    /// The question for `topic` that is under way; without one, `ask` begins it.
    pub(super) fn asking<F>(&self, topic: &str, ask: impl FnOnce(Arc<str>) -> F) -> Shared<Asked>
    where
        F: Future<Output = Result<Arc<Route>, RouteError>> + Send + 'static,
    {
        let mut state = lock(&self.state);
        if let Some(answer) = state.asking.get(topic).and_then(WeakShared::upgrade) {
            return answer;
        }
        let topic: Arc<str> = topic.into();
        let answer = ask(topic.clone()).boxed().shared();
        if let Some(weak) = answer.downgrade() {
            state.asking.insert(topic, weak);
        }
        answer
    }

    /// Takes an answer. True if it tells something new.
    pub(super) fn answered(&self, topic: &Arc<str>, answer: &Result<Arc<Route>, RouteError>) -> bool {
        let mut state = lock(&self.state);
        state.asking.remove(topic);
        let Ok(route) = answer else { return false };
        if let Some(known) = state.topics.get(topic)
            && known.route.data() == route.data()
        {
            return false;
        }
        let idle_rounds = state.topics.get(topic).map_or(0, |known| known.idle_rounds);
        state.topics.insert(topic.clone(), Known { route: route.clone(), idle_rounds, stale: false });
        state.learn_brokers(route);
        true
    }

    /// The topics whose routes are due: `wanted` by members, and others that were used lately. What none of their routes
    /// names is forgotten.
    pub(super) fn due(&self, mut wanted: BTreeSet<Arc<str>>) -> BTreeSet<Arc<str>> {
        let mut state = lock(&self.state);
        state.topics.retain(|topic, known| {
            known.idle_rounds += 1;
            known.idle_rounds <= IDLE_ROUNDS_MAX || wanted.contains(topic)
        });
        let named: BTreeSet<Arc<str>> =
            state.topics.values().flat_map(|known| known.route.brokers().keys().cloned()).collect();
        state.brokers.retain(|name, _| named.contains(name));
        wanted.extend(state.topics.keys().cloned());
        wanted
    }

    pub(super) fn take_new_brokers(&self) -> bool {
        std::mem::take(&mut lock(&self.state).new_brokers)
    }

    pub(super) fn broker_addr(&self, name: &str, id: i64, only: bool) -> Option<(Arc<str>, i64)> {
        let state = lock(&self.state);
        let addrs = state.brokers.get(name)?;
        if let Some(addr) = addrs.get(&id) {
            return Some((addr.clone(), id));
        }
        if only {
            return None;
        }
        // A slave that is gone may have another beside it, else the master.
        let next = addrs.range(id..).next().filter(|_| id > 0).or_else(|| addrs.iter().next());
        next.map(|(id, addr)| (addr.clone(), *id))
    }

    pub(super) fn broker_addrs(&self, masters_only: bool) -> BTreeSet<Arc<str>> {
        let state = lock(&self.state);
        let all = state.brokers.values().flatten();
        all.filter(|(id, _)| !masters_only || **id == 0).map(|(_, addr)| addr.clone()).collect()
    }
}

impl State {
    fn learn_brokers(&mut self, route: &Route) {
        for (name, addrs) in route.brokers() {
            let known = self.brokers.get(name);
            if known != Some(addrs) {
                self.new_brokers = true;
                self.brokers.insert(name.clone(), addrs.clone());
            }
        }
    }
}
