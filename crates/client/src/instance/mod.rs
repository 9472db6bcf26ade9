// SPDX-License-Identifier: Apache-2.0
//! What the producers and consumers of one client have in common: its id, its connections, what it knows of topics and
//! brokers, the heartbeats, and who gets what a broker asks. Java: `MQClientInstance`.
//!
//! `routes` keeps routes and addresses; `background` is the one task, which asks for routes and beats; `dispatch` gives
//! the requests of brokers to the member of the group that they are for. A [`Member`] is a producer or a consumer.
//!
//! Owners: a [`Client`] and its clones hold a guard that ends the task when the last of them is dropped, and with it the
//! connections. Members hold a clone; here they are known weakly.

mod background;
mod dispatch;
mod routes;

use crate::{
    CallError, ClientOptions, Command, NameServersError, OptionsError, Remote, Reply, Route, RouteError,
    StartError,
    code::{self, request},
};
use dispatch::Dispatch;
pub(crate) use dispatch::{Member, Presence, Replies, field};
use futures_util::stream::{self, StreamExt};
use oxmq_remoting::bodies::HeartbeatData;
use routes::Routes;
use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};
use tokio::{sync::Notify, task::JoinHandle};
use tracing::{debug, warn};

/// Brokers that are told something at once, at most.
const AT_ONCE: usize = 16;

/// A client of a cluster, from which producers and consumers are made. Cheap to clone.
///
/// It owns one task (routes and heartbeats) and one connection to each server it needs, on the tokio runtime in which it
/// was made. When it, its clones and all producers and consumers made from it are dropped, the task and the connections
/// end; [`Self::shutdown`] does the same at once.
///
/// A program needs one; to brokers it is one member of each group in which it has a producer or consumer. Two, for two clusters
/// or two accounts, know nothing of each other.
#[derive(Clone)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
    _guard: Arc<Guard>,
}

/// The state behind a [`Client`].
pub(crate) struct Inner {
    pub(crate) options: ClientOptions,
    client_id: Arc<str>,
    remote: Remote,
    name_servers: Vec<Arc<str>>,
    /// Index of the name server that answered last.
    name_server: AtomicUsize,
    pub(crate) routes: Routes,
    members: Mutex<Members>,
    pub(crate) replies: Replies,
    /// Rung if brokers are to be told at once who is here.
    beat_now: Notify,
    shut_down: AtomicBool,
}

type Members = HashMap<(Side, Arc<str>), Weak<dyn Member>>;

/// Which of the two a member is: groups of producers and consumers may have one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Side {
    Producer,
    Consumer,
}

/// Ends the task with the last client.
struct Guard {
    task: JoinHandle<()>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Client {
    /// A client with these settings. Nothing is asked yet: whether the name servers answer shows with the first use.
    ///
    /// # Errors
    /// [`OptionsError`] if the settings cannot be.
    ///
    /// # Panics
    /// Outside of a tokio runtime with time and I/O enabled.
    pub fn new(options: ClientOptions) -> Result<Self, OptionsError> {
        options.check()?;
        let name_servers = options.addresses()?;
        let dispatch = Arc::new(Dispatch::default());
        let start = crate::ids::random() as usize % name_servers.len();
        let inner = Arc::new(Inner {
            client_id: options.client_id().into(),
            remote: Remote::new(options.remote(), dispatch.clone()),
            name_servers,
            name_server: AtomicUsize::new(start),
            routes: Routes::default(),
            members: Mutex::default(),
            replies: Replies::default(),
            beat_now: Notify::new(),
            shut_down: AtomicBool::new(false),
            options,
        });
        dispatch.connect(&inner);
        let task = tokio::spawn(background::run(inner.clone()));
        Ok(Self { inner, _guard: Arc::new(Guard { task }) })
    }

    /// Its id, as brokers and tools know it: `IP@process#number`.
    #[must_use]
    pub fn client_id(&self) -> &Arc<str> {
        &self.inner.client_id
    }

    /// Its settings.
    #[must_use]
    pub fn options(&self) -> &ClientOptions {
        &self.inner.options
    }

    /// Asks servers by their address, with this client's connections.
    #[must_use]
    pub fn remote(&self) -> &Remote {
        &self.inner.remote
    }

    /// Asks one of the name servers: the one that answered last, then the others, each for at most
    /// [`ClientOptions::call_timeout`]. Returns who answered.
    ///
    /// # Errors
    /// [`NameServersError`] if none answers. An answer that says that it failed is a [`Reply`].
    pub async fn call_name_server(&self, command: Command) -> Result<(Arc<str>, Reply), NameServersError> {
        self.inner.call_name_server(command).await
    }

    /// Where the queues of a topic are; asks a name server if that is not known yet.
    ///
    /// # Errors
    /// [`RouteError`].
    pub async fn route(&self, topic: &str) -> Result<Arc<Route>, RouteError> {
        match self.inner.routes.get(topic) {
            Some(route) => Ok(route),
            None => self.refresh_route(topic).await,
        }
    }

    /// Asks a name server where the queues of a topic are. Several callers at once share one question.
    ///
    /// # Errors
    /// [`RouteError`].
    pub async fn refresh_route(&self, topic: &str) -> Result<Arc<Route>, RouteError> {
        self.inner.refresh_route(topic).await
    }

    /// The address of the master of `broker_name`, if a route told it.
    #[must_use]
    pub fn master_addr(&self, broker_name: &str) -> Option<Arc<str>> {
        self.inner.routes.broker_addr(broker_name, 0, true).map(|(addr, _)| addr)
    }

    /// The address and id of the broker `broker_id` (0 is the master) of `broker_name`, if a route told it. If it is not there and
    /// `only` is false, another of the same name. Java: `findBrokerAddressInSubscribe`.
    #[must_use]
    pub fn broker_addr(&self, broker_name: &str, broker_id: i64, only: bool) -> Option<(Arc<str>, i64)> {
        self.inner.routes.broker_addr(broker_name, broker_id, only)
    }

    /// Asks the broker at `addr` (`host:port`), which has [`ClientOptions::call_timeout`] to answer.
    ///
    /// # Errors
    /// [`CallError`] if no answer came. An answer that says that it failed is a [`Reply`].
    pub async fn call(&self, addr: &str, command: Command) -> Result<Reply, CallError> {
        self.inner.remote.call(addr, command, self.inner.options.call_timeout).await
    }

    /// The client ids of a consumer group, asked from a broker of `topic`.
    /// Java: `findConsumerIdList`.
    ///
    /// # Errors
    /// [`RouteError`] if there is no broker to ask. `Ok(None)`: the broker does not answer or knows no member.
    pub(crate) async fn consumer_ids(
        &self,
        topic: &str,
        group: &str,
    ) -> Result<Option<Vec<String>>, RouteError> {
        let route = self.route(topic).await?;
        let turn = self.inner.name_server.load(Ordering::Relaxed).wrapping_add(self.inner.client_id.len());
        let addrs: Vec<_> = route.brokers().values().filter_map(|addrs| addrs.values().next()).collect();
        let Some(addr) = (!addrs.is_empty()).then(|| addrs[turn % addrs.len()]) else { return Ok(None) };
        let command =
            Command::new(request::GET_CONSUMER_LIST_BY_GROUP).with("consumerGroup", group.to_owned());
        match self.call(addr, command).await {
            Ok(reply) if reply.code == code::SUCCESS => {
                let list = oxmq_remoting::fastjson::from_slice::<oxmq_remoting::bodies::ConsumerGroupList>(
                    &reply.body,
                );
                Ok(list.ok().map(|list| list.consumer_id_list))
            }
            Ok(reply) => {
                debug!(%addr, group, code = reply.code, remark = reply.remark, "no members of the group are told");
                Ok(None)
            }
            Err(error) => {
                warn!(%addr, group, %error, "the members of a group cannot be asked for");
                Ok(None)
            }
        }
    }

    /// Tells all known brokers now who is here.
    pub(crate) async fn beat(&self) {
        self.inner.beat().await;
    }

    /// Adds a member; brokers hear of it with the next heartbeat, which comes at once.
    pub(crate) fn join(&self, side: Side, member: &Arc<impl Member>) -> Result<(), StartError> {
        let member: Arc<dyn Member> = member.clone();
        if self.inner.shut_down.load(Ordering::Acquire) {
            return Err(StartError::ShutDown);
        }
        let group = member.group().clone();
        let mut members = lock(&self.inner.members);
        if members.get(&(side, group.clone())).is_some_and(|other| other.strong_count() > 0) {
            let what = if side == Side::Producer { "producer" } else { "consumer" };
            return Err(StartError::GroupTaken { what, group: group.to_string() });
        }
        members.insert((side, group), Arc::downgrade(&member));
        drop(members);
        self.inner.beat_now.notify_one();
        Ok(())
    }

    /// Removes a member and tells all known brokers.
    pub(crate) async fn leave(&self, side: Side, group: &Arc<str>) {
        if lock(&self.inner.members).remove(&(side, group.clone())).is_none() {
            return;
        }
        let field = if side == Side::Producer { "producerGroup" } else { "consumerGroup" };
        let command = Command::new(request::UNREGISTER_CLIENT)
            .with("clientID", self.inner.client_id.clone())
            .with(field, group.clone());
        self.inner
            .tell_brokers(|addr| {
                let (addr, command) = (addr.clone(), command.clone());
                async move {
                    // Without a connection the broker has forgotten us already.
                    if self.inner.remote.connected(&addr).is_some()
                        && let Err(error) = self.call(&addr, command).await
                    {
                        debug!(%addr, %error, "a broker was not told that a group leaves");
                    }
                }
            })
            .await;
    }

    /// Ends the task and the connections, of all clones. Producers and consumers should be shut down before: what they ask from now
    /// on fails.
    pub async fn shutdown(&self) {
        self.inner.shut_down.store(true, Ordering::Release);
        self._guard.task.abort();
        self.inner.remote.close();
        self.inner.replies.clear();
        // Lets the connections see it.
        tokio::task::yield_now().await;
    }

    /// True after [`Self::shutdown`].
    #[must_use]
    pub fn is_shut_down(&self) -> bool {
        self.inner.shut_down.load(Ordering::Acquire)
    }
}

impl Inner {
    async fn call_name_server(&self, command: Command) -> Result<(Arc<str>, Reply), NameServersError> {
        let count = self.name_servers.len();
        let start = self.name_server.load(Ordering::Relaxed);
        let mut tried = Vec::new();
        for turn in 0..count {
            let index = (start + turn) % count;
            let addr = &self.name_servers[index];
            match self.remote.call(addr, command.clone(), self.options.call_timeout).await {
                Ok(reply) => {
                    self.name_server.store(index, Ordering::Relaxed);
                    return Ok((addr.clone(), reply));
                }
                Err(error) => {
                    debug!(%addr, %error, "a name server does not answer");
                    tried.push((addr.clone(), error));
                }
            }
        }
        Err(NameServersError { tried })
    }

    async fn refresh_route(self: &Arc<Self>, topic: &str) -> Result<Arc<Route>, RouteError> {
        let shared = self.routes.asking(topic, |topic| {
            let inner = Arc::downgrade(self);
            async move {
                // Weak: a question that nobody polls any more must not keep the client alive.
                let inner = inner.upgrade().ok_or(RouteError::ShutDown)?;
                let route = inner.ask_route(&topic).await;
                let changed = inner.routes.answered(&topic, &route);
                if let (true, Ok(route)) = (changed, &route) {
                    inner.route_changed(route);
                }
                route
            }
        });
        shared.await
    }

    /// Asks a name server, without looking at what is known.
    async fn ask_route(&self, topic: &Arc<str>) -> Result<Arc<Route>, RouteError> {
        if self.shut_down.load(Ordering::Acquire) {
            return Err(RouteError::ShutDown);
        }
        let command = Command::new(request::GET_ROUTEINFO_BY_TOPIC)
            .with("topic", topic.clone())
            .with("acceptStandardJsonOnly", true);
        let (addr, reply) = self.call_name_server(command).await?;
        match reply.code {
            code::SUCCESS => Route::from_json(topic, &reply.body)
                .map(Arc::new)
                .map_err(|reason| RouteError::Malformed { topic: topic.clone(), addr, reason }),
            code::TOPIC_NOT_EXIST => Err(RouteError::TopicNotFound { topic: topic.clone(), addr }),
            code @ code::REQUEST_CODE_NOT_SUPPORTED => Err(RouteError::NotANameServer { addr, code }),
            code => {
                let remark = reply.remark.unwrap_or_default();
                Err(RouteError::Refused { topic: topic.clone(), addr, code, remark })
            }
        }
    }

    /// After `error` says that a topic is nowhere: whether there is a broker at all.
    pub(crate) async fn explain(&self, error: RouteError) -> RouteError {
        let RouteError::TopicNotFound { .. } = error else { return error };
        let asked = self.call_name_server(Command::new(request::GET_BROKER_CLUSTER_INFO)).await;
        let Ok((addr, reply)) = asked else { return error };
        let info = oxmq_remoting::fastjson::from_slice::<oxmq_remoting::bodies::ClusterInfo>(&reply.body);
        match info {
            Ok(info) if reply.code == code::SUCCESS && info.broker_addr_table.is_empty() => {
                RouteError::NoBroker { addr }
            }
            _ => error,
        }
    }

    fn route_changed(&self, route: &Arc<Route>) {
        if self.routes.take_new_brokers() {
            self.beat_now.notify_one();
        }
        for member in self.members() {
            member.route_changed(route);
        }
    }

    fn members(&self) -> Vec<Arc<dyn Member>> {
        let mut members = lock(&self.members);
        members.retain(|_, member| member.strong_count() > 0);
        members.values().filter_map(Weak::upgrade).collect()
    }

    fn member(&self, side: Side, group: &str) -> Option<Arc<dyn Member>> {
        lock(&self.members).get(&(side, group.into())).and_then(Weak::upgrade)
    }

    async fn beat(&self) {
        let mut data = HeartbeatData { client_id: self.client_id.to_string(), ..HeartbeatData::default() };
        for member in self.members() {
            match member.presence() {
                Presence::Producer(producer) => data.producer_data_set.push(producer),
                Presence::Consumer(consumer) => data.consumer_data_set.push(consumer),
            }
        }
        if data.producer_data_set.is_empty() && data.consumer_data_set.is_empty() {
            return;
        }
        // Producers have to do with masters only.
        let masters_only = data.consumer_data_set.is_empty();
        let Ok(body) = serde_json::to_vec(&data) else { return };
        let body = bytes::Bytes::from(body);
        let addrs = self.routes.broker_addrs(masters_only);
        stream::iter(addrs)
            .for_each_concurrent(AT_ONCE, |addr| {
                let command = Command::new(request::HEART_BEAT).with_body(body.clone());
                async move {
                    match self.remote.call(&addr, command, self.options.call_timeout).await {
                        Ok(reply) if reply.code == code::SUCCESS => {}
                        Ok(reply) => {
                            warn!(%addr, code = reply.code, remark = reply.remark, "a broker refuses the heartbeat");
                        }
                        Err(error) => debug!(%addr, %error, "a broker does not take the heartbeat"),
                    }
                }
            })
            .await;
    }

    async fn tell_brokers<F: Future<Output = ()>>(&self, tell: impl Fn(&Arc<str>) -> F) {
        let addrs = self.routes.broker_addrs(false);
        stream::iter(addrs).for_each_concurrent(AT_ONCE, |addr| tell(&addr)).await;
    }

    /// The address under which a broker takes sends.
    pub(crate) fn send_addr(&self, addr: &Arc<str>) -> Arc<str> {
        if self.options.vip_channel { vip(addr) } else { addr.clone() }
    }
}

/// The address with its port - 2. Java: `MixAll#brokerVIPChannel`.
fn vip(addr: &Arc<str>) -> Arc<str> {
    let port = addr.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
    match port {
        Some((host, port)) if port > 2 => format!("{host}:{}", port - 2).into(),
        _ => addr.clone(),
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("client_id", &self.inner.client_id).finish_non_exhaustive()
    }
}
