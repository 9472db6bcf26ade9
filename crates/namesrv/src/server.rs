// SPDX-License-Identifier: Apache-2.0
//! The name server's answers, one function for each request code.
//!
//! Java: `DefaultRequestProcessor`, `ClientRequestProcessor`, `BrokerHousekeepingService`.

use crate::{
    kv::{KvConfigs, KvError, ORDER_TOPIC_NAMESPACE},
    names::check_topic,
    routes::{BrokerAddress, Change, Registration, RouteView, Routes},
};
use oxmq_net::{AdminAccess, Answer, Peer, Request, Service};
use oxmq_remoting::{
    Command, FieldError, RequestHeader,
    bodies::{
        BrokerMemberGroupBody, DataVersion, RegisterBodyError, RegisterBrokerBody, TopicList, TopicRouteData,
    },
    code::{self, request},
    fastjson,
    namesrv_requests::{
        BrokerHeartbeat, BrokerIdentity, DeleteTopicInNamesrv, GetBrokerMemberGroup, GetRouteInfo,
        GetTopicsByCluster, KvKey, KvNamespace, PutKvConfig, RegisterBroker, RegisterTopicInNamesrv,
        WritePermOfBroker,
    },
};
use oxmq_types::Properties;
use serde::Serialize;
use std::{
    borrow::Cow,
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::{Duration, Instant},
};
use tracing::{error, info, warn};

/// Clients of this and later versions (`V4_9_4` of Java's `MQVersion`) read numeric map keys in quotes; older ones
/// of other languages than Java may know only the bare form.
const QUOTED_KEYS_VERSION: i32 = 401;
/// What Java adds to the remark of a topic without route. Java: `FAQUrl`.
const NO_ROUTE_ADVICE: &str =
    "\nSee https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details.";
const UNIT: u32 = 1;
const UNIT_SUB: u32 = 1 << 1;

/// How routes are kept and answered. The fields carry Java's keys, the defaults are Java's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `scanNotActiveBrokerInterval`: ms between two looks for brokers that have died silently.
    pub scan_interval_ms: u64,
    /// `orderMessageEnable`: routes carry the queues of ordered topics.
    pub order_configuration: bool,
    /// `returnOrderTopicConfigToBroker`: a registration is answered with the queues of ordered topics.
    pub order_configuration_to_brokers: bool,
    /// `enableAllTopicList`: the list of all topics is answered.
    pub all_topic_list: bool,
    /// `enableTopicList`: lists of topics by cluster and by unit are answered.
    pub topic_list: bool,
    /// `supportActingMaster`: where the master is gone, routes show its slave with the smallest id instead.
    pub acting_master: bool,
    /// `deleteTopicWithBrokerRegistration`: a registration removes the topics that it does not name.
    pub delete_topics_on_registration: bool,
    /// `needWaitForService`: routes are refused for the first `wait_seconds`.
    pub wait_for_service: bool,
    /// `waitSecondsForService`.
    pub wait_seconds: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            scan_interval_ms: 5000,
            order_configuration: false,
            order_configuration_to_brokers: true,
            all_topic_list: true,
            topic_list: true,
            acting_master: false,
            delete_topics_on_registration: false,
            wait_for_service: false,
            wait_seconds: 45,
        }
    }
}

/// The name server's own configuration, as tools see it.
pub trait Configuration: Send + Sync + 'static {
    /// All keys, one `key=value` a line, secrets masked.
    fn text(&self) -> String;

    /// Changes the keys of a `.properties` text and gives the settings that hold from now on. May block.
    ///
    /// # Errors
    /// [`UpdateRefusal`]; nothing was changed then.
    fn update(&self, text: &str) -> Result<Settings, UpdateRefusal>;
}

/// Why a change of the configuration is refused: what the tool is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateRefusal {
    /// Response code: `NO_PERMISSION` for a key that must not change.
    pub code: i32,
    /// Why.
    pub remark: String,
}

/// The name server as the service of a listener.
///
/// `state` is held for table work only, never while bytes are read or written; no other lock is taken under it.
pub struct NameServer {
    state: RwLock<State>,
    settings: Arc<RwLock<Settings>>,
    kv: Arc<KvConfigs>,
    configuration: Arc<dyn Configuration>,
    access: Arc<AdminAccess>,
    started: Instant,
}

#[derive(Default)]
struct State {
    routes: Routes,
    /// The connections over which brokers registered, to close them when their brokers expire.
    peers: HashMap<u64, Arc<Peer>>,
}

/// A request that is answered with a failure: response code and remark.
struct Failure {
    code: i32,
    remark: Cow<'static, str>,
}

impl From<FieldError> for Failure {
    fn from(error: FieldError) -> Self {
        Self::system(error.to_string())
    }
}

impl From<RegisterBodyError> for Failure {
    fn from(error: RegisterBodyError) -> Self {
        Self::system(error.to_string())
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::system(format!("the body is not the JSON that it has to be: {error}"))
    }
}

impl Failure {
    fn system(remark: impl Into<Cow<'static, str>>) -> Self {
        Self { code: code::SYSTEM_ERROR, remark: remark.into() }
    }
}

type Outcome = Result<Answer, Failure>;

impl Service for NameServer {
    fn handle(&self, request: Request<'_>) -> Answer {
        if let Err(remark) = self.access.check(request.header.code, request.peer) {
            warn!(peer = %request.peer.remote(), code = request.header.code, "a tool on another machine was refused");
            return Command::failure(code::NO_PERMISSION, remark).into();
        }
        let outcome = match request.header.code {
            request::GET_ROUTEINFO_BY_TOPIC => self.route(request),
            request::REGISTER_BROKER => self.register_broker(request),
            request::UNREGISTER_BROKER => self.unregister_broker(request),
            request::BROKER_HEARTBEAT => self.heartbeat(request),
            request::QUERY_DATA_VERSION => self.query_data_version(request),
            request::GET_BROKER_MEMBER_GROUP => self.member_group(request),
            request::GET_BROKER_CLUSTER_INFO => self.cluster_info(request),
            request::WIPE_WRITE_PERM_OF_BROKER => {
                self.write_perm(request, "wipeTopicCount", Routes::wipe_write_perm)
            }
            request::ADD_WRITE_PERM_OF_BROKER => {
                self.write_perm(request, "addTopicCount", Routes::add_write_perm)
            }
            request::GET_ALL_TOPIC_LIST_FROM_NAMESERVER => {
                self.list(request, self.settings().all_topic_list, Routes::topics)
            }
            request::GET_TOPICS_BY_CLUSTER => self.topics_by_cluster(request),
            request::GET_SYSTEM_TOPIC_LIST_FROM_NS => self.list(request, true, Routes::system_topics),
            request::GET_UNIT_TOPIC_LIST => self.unit_list(request, |flags| flags & UNIT != 0),
            request::GET_HAS_UNIT_SUB_TOPIC_LIST => self.unit_list(request, |flags| flags & UNIT_SUB != 0),
            request::GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST => {
                self.unit_list(request, |flags| flags & (UNIT | UNIT_SUB) == UNIT_SUB)
            }
            request::REGISTER_TOPIC_IN_NAMESRV => self.register_topic(request),
            request::DELETE_TOPIC_IN_NAMESRV => self.delete_topic(request),
            request::PUT_KV_CONFIG => self.put_kv(request),
            request::GET_KV_CONFIG => self.get_kv(request),
            request::DELETE_KV_CONFIG => self.delete_kv(request),
            request::GET_KVLIST_BY_NAMESPACE => self.kv_namespace(request),
            request::UPDATE_NAMESRV_CONFIG => self.update_configuration(request),
            request::GET_NAMESRV_CONFIG => {
                Ok(Command::success().with_body(self.configuration.text().into_bytes()).into())
            }
            code => Ok(Answer::unsupported(code)),
        };
        outcome.unwrap_or_else(|failure| Command::failure(failure.code, failure.remark).into())
    }

    fn closed(&self, peer: &Arc<Peer>) {
        // Most connections are those of clients, which need not wait for the write lock.
        if self.read().peers.contains_key(&peer.id()) {
            let mut state = self.write();
            state.peers.remove(&peer.id());
            let changes = state.routes.peer_closed(peer.id());
            drop(state);
            log(&changes);
        }
    }
}

fn no_route(topic: &str) -> Failure {
    let remark = format!("No topic route info in name server for the topic: {topic}{NO_ROUTE_ADVICE}");
    Failure { code: code::TOPIC_NOT_EXIST, remark: remark.into() }
}

impl NameServer {
    /// A name server that keeps its key-value configuration in the file `kv_path`. `access` says whose tools may ask
    /// for what destroys.
    ///
    /// # Errors
    /// [`KvError`] if that file cannot be read or is damaged.
    pub fn new(
        settings: Settings,
        kv_path: impl Into<PathBuf>,
        configuration: Arc<dyn Configuration>,
        access: Arc<AdminAccess>,
    ) -> Result<Self, KvError> {
        Ok(Self {
            state: RwLock::default(),
            settings: Arc::new(RwLock::new(settings)),
            kv: Arc::new(KvConfigs::load(kv_path.into())?),
            configuration,
            access,
            started: Instant::now(),
        })
    }

    /// Looks for brokers that have died silently, for ever. To be spawned beside the listener.
    pub async fn run_scans(self: Arc<Self>) {
        loop {
            let interval_ms = self.settings().scan_interval_ms.max(1);
            tokio::time::sleep(Duration::from_millis(interval_ms)).await;
            self.scan(self.now_ms());
        }
    }

    fn scan(&self, now_ms: u64) {
        let mut state = self.write();
        let (changes, expired) = state.routes.expire(now_ms);
        let peers: Vec<_> = expired.iter().filter_map(|peer| state.peers.remove(peer)).collect();
        // Other brokers of such a connection go with it: its end will find it forgotten.
        let others: Vec<_> = peers.iter().flat_map(|peer| state.routes.peer_closed(peer.id())).collect();
        drop(state);
        peers.iter().for_each(|peer| peer.close("its broker expired"));
        log(&changes);
        log(&others);
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn settings(&self) -> Settings {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn route(&self, request: Request<'_>) -> Outcome {
        // As in Java, nobody has a topic without a name.
        let asked = GetRouteInfo::from_fields(&request.header.fields).map_err(|_| no_route("null"))?;
        let settings = self.settings();
        if settings.wait_for_service && self.started.elapsed() < Duration::from_secs(settings.wait_seconds) {
            return Err(Failure::system("name server not ready"));
        }
        let zone = asked.zone_name.as_deref().filter(|zone| !zone.trim().is_empty());
        let view = RouteView {
            acting_master: settings.acting_master,
            zone: zone.filter(|_| asked.zone_mode == Some(true)),
        };
        let route = self.read().routes.route(&asked.topic, view);
        let Some(mut route) = route else {
            // A name that nobody can have made is not repeated: it may be as long as a frame.
            let topic = if check_topic(&asked.topic).is_ok() { &asked.topic } else { "(illegal name)" };
            return Err(no_route(topic));
        };
        if settings.order_configuration {
            route.order_topic_conf = self.kv.get(ORDER_TOPIC_NAMESPACE, &asked.topic);
        }
        if asked.accept_standard_json_only == Some(true) {
            return Ok(Command::success().with_body(serde_json::to_vec(&route)?).into());
        }
        json(request, &route)
    }

    fn register_broker(&self, request: Request<'_>) -> Outcome {
        let broker = RegisterBroker::from_fields(&request.header.fields)?;
        let expected = broker.body_crc32.unwrap_or(0);
        if expected != 0 && expected != RegisterBrokerBody::checksum(request.body) {
            return Err(Failure::system("crc32 not match"));
        }
        let body = RegisterBrokerBody::decode(request.body)?;
        let settings = self.settings();
        let registration = Registration {
            cluster: broker.cluster_name.into_owned(),
            broker_name: broker.broker_name.into_owned(),
            broker_addr: broker.broker_addr.into_owned(),
            broker_id: broker.broker_id,
            ha_server_addr: broker.ha_server_addr.into_owned(),
            zone_name: broker.zone_name.map(Cow::into_owned),
            // A negative timeout is over at once.
            timeout_ms: broker.heartbeat_timeout_ms.map(|ms| u64::try_from(ms).unwrap_or(0)),
            enable_acting_master: broker.enable_acting_master,
            topics: body.topic_config_serialize_wrapper,
            delete_other_topics: settings.delete_topics_on_registration,
            peer: request.peer.id(),
        };
        let mut state = self.write();
        let registered = state.routes.register(registration, self.now_ms());
        if registered.is_ok() {
            state.peers.entry(request.peer.id()).or_insert_with(|| request.peer.clone());
        }
        drop(state);
        let registered = registered.map_err(|refusal| Failure::system(refusal.to_string()))?;
        log(&registered.changes);
        let mut answer = Command::success();
        if let Some(address) = registered.result.ha_server_addr {
            answer = answer.with("haServerAddr", address);
        }
        if let Some(address) = registered.result.master_addr {
            answer = answer.with("masterAddr", address);
        }
        if settings.order_configuration_to_brokers
            && let Some(table) = self.kv.namespace(ORDER_TOPIC_NAMESPACE)
        {
            answer = answer.with_body(serde_json::to_vec(&table)?);
        }
        Ok(answer.into())
    }

    fn unregister_broker(&self, request: Request<'_>) -> Outcome {
        let broker = BrokerIdentity::from_fields(&request.header.fields)?;
        let changes = self.write().routes.unregister(&address(broker.cluster_name, broker.broker_addr));
        log(&changes);
        Ok(Command::success().into())
    }

    fn heartbeat(&self, request: Request<'_>) -> Outcome {
        let broker = BrokerHeartbeat::from_fields(&request.header.fields)?;
        let now_ms = self.now_ms();
        self.write().routes.touch(&address(broker.cluster_name, broker.broker_addr), now_ms);
        Ok(Command::success().into())
    }

    /// Brokers ask this before they register, and use it as heartbeat (one-way) with
    /// `compatibleWithOldNameSrv=true`.
    fn query_data_version(&self, request: Request<'_>) -> Outcome {
        let broker = BrokerIdentity::from_fields(&request.header.fields)?;
        let asked: Option<DataVersion> =
            if request.body.is_empty() { None } else { fastjson::from_slice(request.body)? };
        let broker = address(broker.cluster_name, broker.broker_addr);
        let now_ms = self.now_ms();
        let mut state = self.write();
        let known = state.routes.data_version(&broker);
        state.routes.touch(&broker, now_ms);
        drop(state);
        let answer = Command::success().with("changed", known.is_none() || known != asked);
        Ok(match known {
            Some(known) => answer.with_body(serde_json::to_vec(&known)?).into(),
            None => answer.into(),
        })
    }

    fn cluster_info(&self, request: Request<'_>) -> Outcome {
        let clusters = self.read().routes.cluster_info();
        json(request, &clusters)
    }

    fn member_group(&self, request: Request<'_>) -> Outcome {
        let asked = GetBrokerMemberGroup::from_fields(&request.header.fields)?;
        let broker_member_group = self.read().routes.member_group(&asked.cluster_name, &asked.broker_name);
        json(request, &BrokerMemberGroupBody { broker_member_group })
    }

    fn write_perm(
        &self,
        request: Request<'_>,
        field: &'static str,
        change: impl FnOnce(&mut Routes, &str) -> usize,
    ) -> Outcome {
        let asked = WritePermOfBroker::from_fields(&request.header.fields)?;
        let count = change(&mut self.write().routes, &asked.broker_name);
        if count > 0 {
            info!(peer = %request.peer.remote(), broker = %asked.broker_name, code = request.header.code, count,
                "write permission of a broker's topics changed");
        }
        Ok(Command::success().with(field, count as u64).into())
    }

    fn list(&self, request: Request<'_>, enabled: bool, list: impl FnOnce(&Routes) -> TopicList) -> Outcome {
        if !enabled {
            return Err(Failure::system("disable"));
        }
        let topics = list(&self.read().routes);
        json(request, &topics)
    }

    fn unit_list(&self, request: Request<'_>, which: impl Fn(u32) -> bool) -> Outcome {
        self.list(request, self.settings().topic_list, |routes| routes.topics_with_flags(which))
    }

    fn topics_by_cluster(&self, request: Request<'_>) -> Outcome {
        let asked = GetTopicsByCluster::from_fields(&request.header.fields)?;
        self.list(request, self.settings().topic_list, |routes| routes.topics_of_cluster(&asked.cluster))
    }

    fn register_topic(&self, request: Request<'_>) -> Outcome {
        let asked = RegisterTopicInNamesrv::from_fields(&request.header.fields)?;
        let sent: TopicRouteData = if request.body.is_empty() {
            TopicRouteData::default()
        } else {
            fastjson::from_slice(request.body)?
        };
        let changes = self.write().routes.register_topic(&asked.topic, &sent.queue_datas);
        log(&changes.map_err(Failure::system)?);
        Ok(Command::success().into())
    }

    fn delete_topic(&self, request: Request<'_>) -> Outcome {
        let asked = DeleteTopicInNamesrv::from_fields(&request.header.fields)?;
        let cluster = asked.cluster_name.as_deref().filter(|cluster| !cluster.is_empty());
        let changes = self.write().routes.delete_topic(&asked.topic, cluster);
        log(&changes);
        Ok(Command::success().into())
    }

    fn put_kv(&self, request: Request<'_>) -> Outcome {
        let asked = PutKvConfig::from_fields(&request.header.fields)?;
        let (namespace, key) = (asked.namespace.into_owned(), asked.key.into_owned());
        let (value, peer) = (asked.value.into_owned(), request.peer.remote());
        Ok(self.write_kv(move |kv| {
            kv.put(&namespace, &key, value)?;
            info!(%peer, namespace, key, "key-value configuration set");
            Ok(())
        }))
    }

    fn get_kv(&self, request: Request<'_>) -> Outcome {
        let KvKey { namespace, key, .. } = KvKey::from_fields(&request.header.fields)?;
        match self.kv.get(&namespace, &key) {
            Some(value) => Ok(Command::success().with("value", value).into()),
            None => Err(not_found(&format!("Namespace: {namespace} Key: {key}"))),
        }
    }

    fn delete_kv(&self, request: Request<'_>) -> Outcome {
        let asked = KvKey::from_fields(&request.header.fields)?;
        let (namespace, key) = (asked.namespace.into_owned(), asked.key.into_owned());
        let peer = request.peer.remote();
        Ok(self.write_kv(move |kv| {
            kv.delete(&namespace, &key)?;
            info!(%peer, namespace, key, "key-value configuration deleted");
            Ok(())
        }))
    }

    /// Writing waits for the disk, so it happens on a thread of its own.
    fn write_kv(&self, write: impl FnOnce(&KvConfigs) -> Result<(), KvError> + Send + 'static) -> Answer {
        let kv = self.kv.clone();
        blocking(move || match write(&kv) {
            Ok(()) => Command::success(),
            Err(refusal) => {
                error!(%refusal, "key-value configuration not changed");
                Command::failure(code::SYSTEM_ERROR, refusal.to_string())
            }
        })
    }

    fn kv_namespace(&self, request: Request<'_>) -> Outcome {
        let KvNamespace { namespace, .. } = KvNamespace::from_fields(&request.header.fields)?;
        match self.kv.namespace(&namespace) {
            Some(table) => json(request, &table),
            None => Err(not_found(&format!("Namespace: {namespace}"))),
        }
    }

    fn update_configuration(&self, request: Request<'_>) -> Outcome {
        let Ok(text) = std::str::from_utf8(request.body) else {
            return Err(Failure::system("the configuration is not UTF-8"));
        };
        if text.is_empty() {
            return Ok(Command::success().into());
        }
        // What cannot be read is refused below.
        let changes = Properties::parse(text).unwrap_or_default();
        if changes.get(AdminAccess::KEY).is_some() && !AdminAccess::is_here(request.peer) {
            let remark = format!("{} is changed from this machine only", AdminAccess::KEY);
            return Err(Failure { code: code::NO_PERMISSION, remark: remark.into() });
        }
        let (configuration, settings) = (self.configuration.clone(), self.settings.clone());
        let (text, peer) = (text.to_owned(), request.peer.remote());
        Ok(blocking(move || match configuration.update(&text) {
            Ok(new) => {
                info!(%peer, "configuration changed");
                *settings.write().unwrap_or_else(PoisonError::into_inner) = new;
                Command::success()
            }
            Err(refusal) => Command::failure(refusal.code, refusal.remark),
        }))
    }
}

fn address(cluster: Cow<'_, str>, address: Cow<'_, str>) -> BrokerAddress {
    BrokerAddress { cluster: cluster.into_owned(), address: address.into_owned() }
}

/// Java's words for a namespace or key that is not there, cut where no name can be as long.
fn not_found(what: &str) -> Failure {
    Failure { code: code::QUERY_NOT_FOUND, remark: format!("No config item, {what:.1024}").into() }
}

/// An answer with `body` in the form that the asker reads.
fn json(request: Request<'_>, body: &impl Serialize) -> Outcome {
    let bytes = if request.header.version < QUOTED_KEYS_VERSION {
        fastjson::to_vec_with_bare_keys(body)?
    } else {
        serde_json::to_vec(body)?
    };
    Ok(Command::success().with_body(bytes).into())
}

fn blocking(work: impl FnOnce() -> Command + Send + 'static) -> Answer {
    Answer::later(async {
        let done = tokio::task::spawn_blocking(work).await;
        done.unwrap_or_else(|failed| {
            error!(%failed, "a change of the configuration failed");
            Command::failure(code::SYSTEM_ERROR, "the change failed; the log of the name server says why")
        })
    })
}

fn log(changes: &[Change]) {
    changes.iter().for_each(|change| info!("{change}"));
}
