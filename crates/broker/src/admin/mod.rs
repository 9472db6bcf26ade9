// SPDX-License-Identifier: Apache-2.0
//! What tools ask of a broker: `mqadmin`, the dashboard, exporters. Java: `AdminBrokerProcessor`.
//!
//! - `runtime`: GET_BROKER_RUNTIME_INFO (28), VIEW_BROKER_STATS_DATA (315)
//! - `configuration`: GET_BROKER_CONFIG (26), UPDATE_BROKER_CONFIG (25)
//! - `topics` with `attributes`: UPDATE_AND_CREATE_TOPIC (17) and its list (18), DELETE_TOPIC_IN_BROKER (215),
//!   GET_ALL_TOPIC_CONFIG (21), GET_TOPIC_CONFIG (351), GET_SYSTEM_TOPIC_LIST_FROM_BROKER (305),
//!   CLEAN_EXPIRED_CONSUMEQUEUE (306), CLEAN_UNUSED_TOPIC (316)
//! - `groups`: UPDATE_AND_CREATE_SUBSCRIPTIONGROUP (200) and its list (225), DELETE_SUBSCRIPTIONGROUP (207),
//!   GET_ALL_SUBSCRIPTIONGROUP_CONFIG (201), GET_SUBSCRIPTIONGROUP_CONFIG (352), UPDATE_AND_GET_GROUP_FORBIDDEN (353)
//! - `progress`: GET_TOPIC_STATS_INFO (202), GET_CONSUME_STATS (208), GET_BROKER_CONSUME_STATS (317),
//!   QUERY_CONSUME_TIME_SPAN (303), QUERY_CORRECTION_OFFSET (308), GET_ALL_CONSUMER_OFFSET (43),
//!   GET_ALL_DELAY_OFFSET (45), GET_TIMER_CHECK_POINT (60), GET_TIMER_METRICS (61)
//! - `clients`: GET_CONSUMER_CONNECTION_LIST (203), GET_PRODUCER_CONNECTION_LIST (204), GET_ALL_PRODUCER_INFO (328),
//!   QUERY_TOPIC_CONSUME_BY_WHO (300), QUERY_TOPICS_BY_CONSUMER (343), QUERY_SUBSCRIPTION_BY_CONSUMER (345), and what
//!   is passed on to a client: GET_CONSUMER_RUNNING_INFO (307), CONSUME_MESSAGE_DIRECTLY (309)
//! - `reset`: INVOKE_BROKER_TO_RESET_OFFSET (222), CLONE_GROUP_OFFSET (314), INVOKE_BROKER_TO_GET_CONSUMER_STATUS (223)
//! - `messages`: QUERY_MESSAGE (12), VIEW_MESSAGE_BY_ID (33), QUERY_CONSUME_QUEUE (321)
//! - `request_modes`: SET_MESSAGE_REQUEST_MODE (401), GET_ALL_MESSAGE_REQUEST_MODE (402)
//! - `replicas`: GET_BROKER_HA_STATUS (907), GET_COLD_DATA_FLOW_CTR_INFO (2003)
//! - here: DELETE_EXPIRED_COMMITLOG (329), and RESET_MASTER_FLUSH_OFFSET (908), GET_BROKER_EPOCH_CACHE (1007), of
//!   which a master without a controller has nothing
//!
//! What destroys is refused to other machines (`oxmq_net::AdminAccess`). What cannot be here (access control, RocksDB,
//! static topics, POP, containers, the controller) is answered with code 3 and the reason.
//!
//! A request is read where it came in; the work is done aside, on a few threads that may block, because most of it
//! reads files. Where Java answers a missing field with the text of its exception, the remark names the field; what
//! Java takes and cannot mean (a negative number of queues, an illegal group name) is refused.

#[cfg(test)]
mod access_tests;
mod attributes;
#[cfg(test)]
mod bad_input_tests;
mod clients;
mod configuration;
mod groups;
mod messages;
mod progress;
mod replicas;
mod request_modes;
mod reset;
mod runtime;
#[cfg(test)]
mod tests;
mod topics;

pub use configuration::{Configuration, NoConfiguration, UpdateRefused};
pub(crate) use request_modes::{File as RequestModesFile, RequestModes};

use crate::{
    clients::Clients,
    cold::ColdReads,
    delay::DelayThread,
    groups::{Groups, now_ms},
    live::Live,
    offsets::Offsets,
    persist::Ticket,
    rates::Rates,
    refusal::Refusal,
    stats::Stats,
    topics::Topics,
};
use oxmq_net::{AdminAccess, Answer, Request};
use oxmq_remoting::{
    Command, RequestHeader,
    admin_requests::{
        BrokerConsumeStatsQuery, ConsumeQueueQuery, ConsumeStatsQuery, CorrectionOffsetQuery, CreateTopic,
        DeleteGroup, GroupForbidden, GroupQuery, ProducerGroupQuery, QueryMessage, StatsQuery, TopicOfGroup,
        TopicQuery, ViewMessage,
    },
    bodies::DataVersion,
    code::request as codes,
    requests::ConsumerGroupQuery,
};
use oxmq_store::Store;
use serde::{Deserialize, Deserializer, Serialize, de};
use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
};
use tokio::sync::Semaphore;
use tracing::warn;

/// So many requests of tools are worked on at a time; the others wait.
const WORKING_MAX: usize = 4;
/// Longest body that changes something, in bytes.
const BODY_MAX_BYTES: usize = 2 * 1024 * 1024;
/// Most topics or groups in one body: each takes three bytes of JSON, and far more of memory.
const LIST_MAX: usize = 10_000;

/// What tools are told of a broker that only its owner knows.
#[derive(Clone)]
pub struct AdminRules {
    /// Where clients reach it: `brokerIP1:listenPort`.
    pub address: String,
    /// `storePathCommitLog`.
    pub commit_log_dir: PathBuf,
    /// Where the consume queues lie.
    pub consume_queue_dir: PathBuf,
    /// `maxMsgsNumBatch`: messages in one answer to those who look for a key.
    pub key_query_max: usize,
    /// `defaultQueryMaxNum`: the same for a unique key.
    pub unique_query_max: usize,
    /// `useServerSideResetOffset`: offsets are reset here, and not by the clients.
    pub server_side_reset: bool,
    /// `startAcceptSendRequestTimeStamp`.
    pub accepts_sends_from_ms: u64,
    /// Its configuration.
    pub configuration: Arc<dyn Configuration>,
    /// Whose tools may ask for what destroys.
    pub access: Arc<AdminAccess>,
}

/// Answers tools.
pub(crate) struct Admin {
    parts: Arc<Parts>,
    working: Arc<Semaphore>,
}

struct Parts {
    topics: Topics,
    groups: Groups,
    offsets: Offsets,
    clients: Clients,
    store: Arc<Store>,
    stats: Arc<Stats>,
    rates: Rates,
    delays: Arc<DelayThread>,
    cold: ColdReads,
    rules: Live<AdminRules>,
    access: Arc<AdminAccess>,
    modes: RequestModes,
    /// Held while settings of topics or groups are read, changed and put back, and while a topic is deleted.
    changing: Mutex<()>,
    /// Version of the configuration, from the start on.
    configured: Mutex<DataVersion>,
}

impl Admin {
    pub(crate) fn new(
        (topics, groups, offsets, clients): (Topics, Groups, Offsets, Clients),
        (store, stats, delays): (Arc<Store>, Arc<Stats>, Arc<DelayThread>),
        (rules, cold): (AdminRules, ColdReads),
        modes: RequestModes,
    ) -> Self {
        let rates = Rates::new(now_ms());
        let (changing, mut configured) = (Mutex::default(), DataVersion::default());
        configured.timestamp = rates.started_ms();
        let configured = Mutex::new(configured);
        let parts = Parts {
            topics,
            groups,
            offsets,
            clients,
            store,
            stats,
            rates,
            delays,
            cold,
            access: rules.access.clone(),
            modes,
            rules: Live::new(rules),
            changing,
            configured,
        };
        Self { parts: Arc::new(parts), working: Arc::new(Semaphore::new(WORKING_MAX)) }
    }

    /// Takes over what may change while the broker runs.
    pub(crate) fn change(&self, new: &AdminRules) {
        let AdminRules { key_query_max, unique_query_max, server_side_reset, accepts_sends_from_ms, .. } =
            *new;
        let now = AdminRules::clone(&self.parts.rules.get());
        self.parts.rules.set(AdminRules {
            key_query_max,
            unique_query_max,
            server_side_reset,
            accepts_sends_from_ms,
            ..now
        });
    }

    /// Takes note of how far all counters are; to be called every [`crate::rates::SAMPLE_PERIOD`].
    pub(crate) fn sample(&self) {
        self.parts.sample(now_ms());
    }

    #[cfg(test)]
    pub(crate) fn access(&self) -> Arc<AdminAccess> {
        self.parts.access.clone()
    }

    pub(crate) fn handle(&self, request: Request<'_>) -> Result<Answer, Refusal> {
        let fields = &request.header.fields;
        if let Err(remark) = self.parts.access.check(request.header.code, request.peer) {
            warn!(peer = %request.peer.remote(), code = request.header.code, "a tool on another machine was refused");
            return Err(Refusal::NoPermission(remark));
        }
        match request.header.code {
            codes::GET_BROKER_RUNTIME_INFO => Ok(self.aside(Parts::runtime_info)),
            codes::VIEW_BROKER_STATS_DATA => {
                let header = StatsQuery::from_fields(fields)?;
                self.parts.growths(&header.stats_name, &header.stats_key).map(Answer::Now)
            }

            codes::GET_BROKER_CONFIG => self.parts.configuration().map(Answer::Now),
            codes::UPDATE_BROKER_CONFIG => {
                let (text, peer) = (body_text(request.body)?, request.peer.clone());
                Ok(self.aside(move |parts| parts.configure(&text, &peer)))
            }

            codes::UPDATE_AND_CREATE_TOPIC => {
                let config = topics::requested(&CreateTopic::from_fields(fields)?)?;
                let peer = request.peer.clone();
                Ok(self.aside_until_known(move |parts| parts.put_topics(vec![config], &peer)))
            }
            codes::UPDATE_AND_CREATE_TOPIC_LIST => {
                let configs = topics::requested_list(request.body)?;
                let peer = request.peer.clone();
                Ok(self.aside_until_known(move |parts| parts.put_topics(configs, &peer)))
            }
            codes::DELETE_TOPIC_IN_BROKER => {
                let topic = TopicQuery::from_fields(fields)?.topic.into_owned();
                self.parts.check_deletable(&topic)?;
                let peer = request.peer.remote();
                Ok(self.aside_until_known(move |parts| parts.delete_topic(&topic, peer)))
            }
            codes::CLEAN_EXPIRED_CONSUMEQUEUE | codes::CLEAN_UNUSED_TOPIC => {
                let (expired, peer) =
                    (request.header.code == codes::CLEAN_EXPIRED_CONSUMEQUEUE, request.peer.remote());
                Ok(self.aside(move |parts| parts.clean_queues(expired, peer)))
            }
            codes::DELETE_EXPIRED_COMMITLOG => {
                tracing::info!(peer = %request.peer.remote(), "a tool has expired commit log files removed");
                self.parts.store.clean();
                Ok(Answer::Now(Command::success()))
            }
            codes::GET_ALL_TOPIC_CONFIG => Ok(self.aside(Parts::all_topics)),
            codes::GET_TOPIC_CONFIG => {
                self.parts.topic(&TopicQuery::from_fields(fields)?.topic).map(Answer::Now)
            }
            codes::GET_SYSTEM_TOPIC_LIST_FROM_BROKER => self.parts.system_topics().map(Answer::Now),

            codes::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP => {
                let group = groups::requested(request.body)?;
                let peer = request.peer.clone();
                Ok(self.aside_until_saved(move |parts| parts.put_groups(vec![group], &peer)))
            }
            codes::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST => {
                let groups = groups::requested_list(request.body)?;
                let peer = request.peer.clone();
                Ok(self.aside_until_saved(move |parts| parts.put_groups(groups, &peer)))
            }
            codes::DELETE_SUBSCRIPTIONGROUP => {
                let header = DeleteGroup::from_fields(fields)?;
                let (group, clean) = (header.group.into_owned(), header.clean_offset == Some(true));
                let peer = request.peer.remote();
                Ok(self.aside_until_saved(move |parts| parts.delete_group(&group, clean, peer)))
            }
            codes::UPDATE_AND_GET_GROUP_FORBIDDEN => {
                let header = GroupForbidden::from_fields(fields)?;
                let changed = self.parts.set_readable(&header, request.peer)?;
                let answer = self.parts.readable(&header)?;
                let Some(changed) = changed else { return Ok(Answer::Now(answer)) };
                Ok(Answer::later(async move {
                    match saved(changed).await {
                        Command { code: 0, .. } => answer,
                        unsaved => unsaved,
                    }
                }))
            }
            codes::GET_ALL_SUBSCRIPTIONGROUP_CONFIG => {
                Ok(self.aside(|parts| Ok(Command::success().with_body(parts.groups.to_json()))))
            }
            codes::GET_SUBSCRIPTIONGROUP_CONFIG => {
                self.parts.group(&GroupQuery::from_fields(fields)?.group).map(Answer::Now)
            }

            codes::GET_TOPIC_STATS_INFO => {
                let topic = TopicQuery::from_fields(fields)?.topic.into_owned();
                Ok(self.aside(move |parts| parts.topic_stats(&topic)))
            }
            codes::GET_CONSUME_STATS => {
                let header = ConsumeStatsQuery::from_fields(fields)?;
                let wanted = progress::Wanted::new(header.topic.as_deref(), header.topic_list.as_deref());
                let group = header.consumer_group.into_owned();
                Ok(self.aside(move |parts| parts.consume_stats(&group, &wanted)))
            }
            codes::GET_BROKER_CONSUME_STATS => {
                let ordered_only = BrokerConsumeStatsQuery::from_fields(fields)?.is_order == Some(true);
                Ok(self.aside(move |parts| parts.all_consume_stats(ordered_only)))
            }
            codes::QUERY_CONSUME_TIME_SPAN => {
                let header = TopicOfGroup::from_fields(fields)?;
                let (topic, group) = (header.topic.into_owned(), header.group.into_owned());
                Ok(self.aside(move |parts| parts.time_spans(&topic, &group)))
            }
            codes::QUERY_CORRECTION_OFFSET => {
                let header = CorrectionOffsetQuery::from_fields(fields)?;
                let wanted = progress::Correction::new(&header);
                Ok(self.aside(move |parts| parts.correction_offsets(&wanted)))
            }
            codes::GET_ALL_CONSUMER_OFFSET => {
                Ok(self.aside(|parts| Ok(Command::success().with_body(parts.offsets.to_json()))))
            }
            codes::INVOKE_BROKER_TO_RESET_OFFSET => {
                let wanted = reset::Wanted::new(request)?;
                Ok(self.aside(move |parts| parts.reset(&wanted)))
            }
            codes::CLONE_GROUP_OFFSET => {
                let wanted = reset::Clone::new(request)?;
                Ok(self.aside(move |parts| parts.clone_offsets(&wanted)))
            }
            codes::INVOKE_BROKER_TO_GET_CONSUMER_STATUS => self.parts.statuses(request),
            codes::GET_ALL_DELAY_OFFSET => Ok(Answer::Now(self.parts.delays.delay_offsets())),
            codes::GET_TIMER_CHECK_POINT => Ok(Answer::Now(self.parts.delays.timer_check())),
            codes::GET_TIMER_METRICS => Ok(Answer::Now(self.parts.delays.timer_metrics())),

            codes::GET_CONSUMER_CONNECTION_LIST => self
                .parts
                .consumers(&ConsumerGroupQuery::from_fields(fields)?.consumer_group)
                .map(Answer::Now),
            codes::GET_PRODUCER_CONNECTION_LIST => self
                .parts
                .producers(&ProducerGroupQuery::from_fields(fields)?.producer_group)
                .map(Answer::Now),
            codes::GET_ALL_PRODUCER_INFO => Ok(self.aside(Parts::all_producers)),
            codes::QUERY_TOPIC_CONSUME_BY_WHO => {
                self.parts.groups_of(&TopicQuery::from_fields(fields)?.topic).map(Answer::Now)
            }
            codes::QUERY_TOPICS_BY_CONSUMER => {
                self.parts.topics_of(&GroupQuery::from_fields(fields)?.group).map(Answer::Now)
            }
            codes::QUERY_SUBSCRIPTION_BY_CONSUMER => {
                let header = TopicOfGroup::from_fields(fields)?;
                self.parts.subscription(&header.group, &header.topic).map(Answer::Now)
            }
            codes::GET_CONSUMER_RUNNING_INFO => self.parts.call_consumer(request),
            codes::CONSUME_MESSAGE_DIRECTLY => self.parts.consume_directly(request),

            codes::VIEW_MESSAGE_BY_ID => {
                let offset = ViewMessage::from_fields(fields)?.offset;
                Ok(self.aside(move |parts| parts.message(offset)))
            }
            codes::QUERY_MESSAGE => {
                let wanted = self.parts.with_key(&QueryMessage::from_fields(fields)?)?;
                Ok(self.aside(move |parts| parts.messages(&wanted)))
            }
            codes::QUERY_CONSUME_QUEUE => {
                let wanted = messages::Units::new(&ConsumeQueueQuery::from_fields(fields)?);
                Ok(self.aside(move |parts| parts.units(&wanted)))
            }
            codes::SET_MESSAGE_REQUEST_MODE => {
                let (wanted, peer) = (request_modes::requested(request.body)?, request.peer.remote());
                Ok(self.aside(move |parts| parts.set_request_mode(&wanted, peer)))
            }
            codes::GET_ALL_MESSAGE_REQUEST_MODE => self.parts.request_modes().map(Answer::Now),
            codes::GET_BROKER_HA_STATUS => self.parts.ha_status().map(Answer::Now),
            codes::GET_COLD_DATA_FLOW_CTR_INFO => self.parts.cold_read_limits().map(Answer::Now),
            // As Java's master: only a slave has what it resets.
            codes::RESET_MASTER_FLUSH_OFFSET => Ok(Answer::Now(Command::success())),
            codes::GET_BROKER_EPOCH_CACHE => {
                Err(Refusal::System("this request only for controllerMode ".into()))
            }
            other => Ok(Answer::unsupported(other)),
        }
    }

    /// Does `work` on a thread that may block.
    fn aside(&self, work: impl FnOnce(&Parts) -> Result<Command, Refusal> + Send + 'static) -> Answer {
        let done = self.work(work);
        Answer::later(async move { done.await.unwrap_or_else(Command::from) })
    }

    /// The same for a change, which is answered when it is on disk.
    fn aside_until_saved(
        &self,
        work: impl FnOnce(&Parts) -> Result<Ticket, Refusal> + Send + 'static,
    ) -> Answer {
        let done = self.work(work);
        Answer::later(async move {
            match done.await {
                Ok(ticket) => saved(ticket).await,
                Err(refusal) => refusal.into(),
            }
        })
    }

    /// The same for a change of topics, which the name servers know as well when it is answered: the next command asks
    /// them, and a registration that is still on its way must not bring back what a tool deletes there.
    fn aside_until_known(
        &self,
        work: impl FnOnce(&Parts) -> Result<Ticket, Refusal> + Send + 'static,
    ) -> Answer {
        let (done, topics) = (self.work(work), self.parts.topics.clone());
        Answer::later(async move {
            match done.await {
                Ok(ticket) => {
                    let (answer, ()) = tokio::join!(saved(ticket), topics.until_told());
                    answer
                }
                Err(refusal) => refusal.into(),
            }
        })
    }

    fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Parts) -> Result<T, Refusal> + Send + 'static,
    ) -> impl Future<Output = Result<T, Refusal>> + Send + 'static {
        let (parts, working) = (self.parts.clone(), self.working.clone());
        async move {
            // The semaphore is never closed. The permit goes with the work: an asker who leaves does not end it.
            let permit = working.acquire_owned().await;
            let done = tokio::task::spawn_blocking(move || {
                let _permit = permit;
                work(&parts)
            });
            done.await.unwrap_or_else(|error| Err(Refusal::System(error.to_string())))
        }
    }
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admin").field("address", &self.parts.rules.get().address).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for AdminRules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdminRules").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Parts {
    fn sample(&self, now_ms: i64) {
        let totals = self.stats.totals(self.offsets.consumed());
        self.rates.sample(now_ms, totals, || {
            let cluster = &self.topics.rules().cluster;
            let sent = self
                .topics
                .all()
                .into_iter()
                .map(|topic| (format!("TOPIC_PUT_NUMS@{}", topic.name()), topic.sent()));
            let given = self.topics.all().into_iter().flat_map(|topic| {
                let counts: Vec<_> = topic
                    .given()
                    .into_iter()
                    .map(|(group, count)| (format!("GROUP_GET_NUMS@{}@{group}", topic.name()), count))
                    .collect();
                counts
            });
            let whole = [
                (format!("BROKER_PUT_NUMS@{cluster}"), totals.put_messages),
                (format!("BROKER_GET_NUMS@{cluster}"), totals.got_messages),
            ];
            sent.chain(given).chain(whole).filter(|(_, count)| *count > 0).collect()
        });
    }
}

async fn saved(ticket: Ticket) -> Command {
    if ticket.saved().await {
        return Command::success();
    }
    Refusal::System("the change is made, but could not be written to disk yet".into()).into()
}

/// The body of a request as text.
fn body_text(body: &[u8]) -> Result<String, Refusal> {
    match std::str::from_utf8(body) {
        Ok(text) if body.len() <= BODY_MAX_BYTES => Ok(text.to_owned()),
        Ok(_) => Err(too_long(body)),
        Err(error) => Err(Refusal::Body(error.to_string())),
    }
}

/// The body of a request as JSON.
fn body_json<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    if body.len() > BODY_MAX_BYTES {
        return Err(too_long(body));
    }
    oxmq_remoting::fastjson::from_slice(body).map_err(|error| Refusal::Body(error.to_string()))
}

/// Reads a list of at most [`LIST_MAX`] entries.
fn bounded_list<'de, T, D>(from: D) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    struct List<T>(std::marker::PhantomData<T>);

    impl<'de, T: Deserialize<'de>> de::Visitor<'de> for List<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "a list of at most {LIST_MAX} entries")
        }

        fn visit_seq<A: de::SeqAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
            let mut list = Vec::new();
            while let Some(entry) = entries.next_element()? {
                if list.len() == LIST_MAX {
                    return Err(de::Error::invalid_length(LIST_MAX + 1, &self));
                }
                list.push(entry);
            }
            Ok(list)
        }
    }
    from.deserialize_seq(List(std::marker::PhantomData))
}

fn too_long(body: &[u8]) -> Refusal {
    Refusal::Body(format!("{} bytes, and at most {BODY_MAX_BYTES} are taken; send it in parts", body.len()))
}

/// An answer with a body in JSON.
fn answer(body: &impl Serialize) -> Result<Command, Refusal> {
    Ok(Command::success().with_body(crate::heartbeat::json(body)?))
}
