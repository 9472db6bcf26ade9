// SPDX-License-Identifier: Apache-2.0
//! The broker. Each part owns its state and takes the two to four others that it uses; [`Broker`] puts them together
//! and says which request code goes to which of them, and knows nothing else.
//!
//! - `topics`, `groups`, `offsets`: what is kept in `config/*.json`, written by `persist`, looked at first by `kept`
//! - `clients`: who is connected
//! - `send`, `pull` with `filter`: the way of a message in and out; `puts`: the way in for the broker's own parts, too
//! - `cold`: what may wait for the disk because it is old
//! - `delay`, `transaction`: messages that wait before they go to their topic
//! - `overload`: sends that are refused while the disk is behind
//! - `retry`: messages that come back, and dead letters
//! - `reply`: replies to requests that are messages
//! - `heartbeat`, `positions`, `order_lock`: what clients need besides
//! - `registration`: what the name servers are told
//! - `removal`: what the store is about to remove, and who still waits for it
//! - `admin` with `rates`: what tools ask
//! - `refusal`: every reason to say no, with its response code
#![forbid(unsafe_code)]

mod admin;
mod clients;
mod cold;
mod delay;
mod filter;
#[cfg(test)]
mod fixture;
mod groups;
mod heartbeat;
mod kept;
mod live;
mod offsets;
mod order_lock;
mod overload;
mod persist;
mod positions;
mod pull;
mod puts;
mod rates;
mod refusal;
mod registration;
mod removal;
mod reply;
mod retry;
mod send;
mod stats;
mod topics;
mod transaction;
mod unique_id;

pub use admin::{AdminRules, Configuration, NoConfiguration, UpdateRefused};
pub use delay::{DelayRules, Levels, dispatch_rule};
pub use filter::sql::{Incomparable, Sql, SqlError};
pub use kept::check;
pub use persist::LoadError;
pub use pull::PullRules;
pub use registration::Registration;
pub use send::SendRules;
pub use topics::TopicRules;
pub use transaction::TransactionRules;

use admin::{Admin, RequestModes};
use clients::Clients;
use cold::ColdReads;
use delay::{DelayThread, Delays, Recalls};
use filter::consumer_filter::ConsumerFilters;
use groups::Groups;
use heartbeat::Heartbeats;
use live::Live;
use offsets::Offsets;
use order_lock::OrderLocks;
use overload::Admission;
use oxmq_net::{Answer, Peer, Request, Service};
use oxmq_remoting::{Command, code::request as codes};
use oxmq_store::{Store, StoreConfig};
use oxmq_types::{Perm, QueueOffset};
use positions::Positions;
use pull::Pulls;
use puts::Puts;
use rates::SAMPLE_PERIOD;
use refusal::Refusal;
use reply::Replies;
use retry::Retries;
use send::Sends;
use stats::Stats;
use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};
use topics::Topics;
use tracing::{debug, error};
use transaction::Transactions;

/// What a broker is to be.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where `config/` lies: `storePathRootDir`.
    pub root: PathBuf,
    /// Which topics are made by themselves.
    pub topics: TopicRules,
    /// How messages are taken.
    pub sends: SendRules,
    /// How messages are given.
    pub pulls: PullRules,
    /// How transactions are treated.
    pub transactions: TransactionRules,
    /// How messages are delayed.
    pub delays: DelayRules,
    /// What tools are told.
    pub admin: AdminRules,
    /// `autoCreateSubscriptionGroup`.
    pub auto_create_groups: bool,
    /// Bytes at the end of the log that are taken to be in memory: `accessMessageInMemoryMaxRatio` of it all.
    pub memory_bytes: u64,
    /// `flushConsumerOffsetInterval`: how often committed offsets are written.
    pub offset_save_period: Duration,
}

impl Settings {
    /// Those of a Java broker without a configuration file, over the store of `store`; clients know it by `address`.
    #[must_use]
    pub fn new((cluster, broker): (&str, &str), address: SocketAddr, store: &StoreConfig) -> Self {
        Self {
            root: store.root.clone(),
            topics: TopicRules::new(cluster, broker),
            sends: SendRules::new(cluster, address),
            pulls: PullRules::new(&address.ip().to_string()),
            transactions: TransactionRules::new(broker.to_owned(), address),
            delays: DelayRules { broker: broker.to_owned(), ..DelayRules::default() },
            admin: AdminRules {
                address: address.to_string(),
                commit_log_dir: store.commit_log_dir.clone(),
                consume_queue_dir: store.consume_queue_dir.clone(),
                key_query_max: 64,
                unique_query_max: 32,
                server_side_reset: true,
                accepts_sends_from_ms: 0,
                configuration: Arc::new(NoConfiguration),
                access: Arc::default(),
            },
            auto_create_groups: true,
            memory_bytes: 1 << 30,
            offset_save_period: Duration::from_secs(5),
        }
    }
}

/// A broker over an open store.
#[derive(Debug)]
pub struct Broker {
    admin: Admin,
    topics: Topics,
    groups: Groups,
    offsets: Offsets,
    clients: Clients,
    consumer_filters: ConsumerFilters,
    offset_save_period: Duration,
    heartbeats: Heartbeats,
    order_locks: OrderLocks,
    positions: Positions,
    pulls: Pulls,
    sends: Sends,
    transactions: Transactions,
    recalls: Recalls,
    delays: Delays,
    delay_thread: Arc<DelayThread>,
    retries: Retries,
    replies: Replies,
    store: Arc<Store>,
    stats: Arc<Stats>,
    send_rules: Live<SendRules>,
    pull_rules: Live<PullRules>,
}

impl Broker {
    /// Reads what is kept under `config/`.
    ///
    /// # Errors
    /// [`LoadError`] names the file that cannot be read.
    pub fn open(settings: Settings, store: Arc<Store>) -> Result<Arc<Self>, LoadError> {
        let Settings {
            root,
            topics,
            sends,
            pulls,
            transactions,
            delays,
            admin,
            auto_create_groups,
            memory_bytes,
            offset_save_period,
        } = settings;
        let config = root.join("config");
        let unflushed_max_bytes = sends.unflushed_max_bytes;
        let (sends, pulls) = (Live::new(sends), Live::new(pulls));
        let (send_rules, pull_rules) = (sends.clone(), pulls.clone());
        let topics = Topics::open(config.join("topics.json"), topics, store.clone())?;
        let groups = Groups::open(config.join("subscriptionGroup.json"), auto_create_groups)?;
        let offsets = Offsets::open(config.join("consumerOffset.json"))?;
        let modes = RequestModes::open(config.join("messageRequestMode.json"))?;
        if store.was_recovered() {
            offsets.cut(|topic, queue| match store.existing_queue(topic, queue) {
                Ok(queue) => Some(queue.map_or(QueueOffset(0), |queue| queue.max_offset())),
                Err(error) => {
                    error!(topic, %error, "a queue cannot be read, offsets in it are taken as they are");
                    None
                }
            });
        }
        let clients = Clients::default();
        let consumer_filters = ConsumerFilters::open(config.join("consumerFilter.json"), clients.clone());
        let (stats, cold) = (Arc::new(Stats::default()), ColdReads::default());
        let delays = Delays::new(delays);
        let puts = Puts::new((store.clone(), topics.clone()), stats.clone(), delays.clone(), sends.clone());
        let admission = Arc::new(Admission::new(store.clone(), unflushed_max_bytes));
        let transactions = Transactions::open(
            (store.clone(), puts.clone(), topics.clone()),
            (offsets.clone(), clients.clone()),
            (transactions, cold.clone()),
        )?;
        // Behind the transactions, which look at the last record of the log: delayed messages that are due are appended.
        let delay_thread = Arc::new(DelayThread::start(&root, store.clone(), puts.clone(), delays.clone())?);
        let retries = Retries::new(
            (store.clone(), puts.clone(), cold.clone()),
            (groups.clone(), topics.clone()),
            admission.clone(),
            sends.clone(),
        );
        // From now on their absence means that they were lost: see `kept`.
        let no_topics = !config.join("topics.json").exists();
        for (name, saved) in [
            ("topics.json", if no_topics { topics.save() } else { Ok(()) }),
            ("consumerOffset.json", offsets.save()),
        ] {
            if let Err(error) = saved {
                error!(file = name, %error, "could not be written, tried again later");
            }
        }
        let broker = Arc::new(Self {
            admin: Admin::new(
                (topics.clone(), groups.clone(), offsets.clone(), clients.clone()),
                (store.clone(), stats.clone(), delay_thread.clone()),
                (admin, cold.clone()),
                modes,
            ),
            heartbeats: Heartbeats::new(clients.clone(), groups.clone(), topics.clone(), pulls.clone()),
            order_locks: OrderLocks::new(topics.clone(), groups.clone()),
            positions: Positions::new(
                (store.clone(), cold.clone()),
                (topics.clone(), groups.clone()),
                (clients.clone(), offsets.clone()),
                memory_bytes,
            ),
            pulls: Pulls::new(
                (store.clone(), topics.clone(), groups.clone()),
                (clients.clone(), offsets.clone(), stats.clone()),
                (pulls, cold),
                memory_bytes,
            ),
            recalls: Recalls::new(topics.clone(), puts.clone(), sends.clone()),
            delays,
            delay_thread,
            replies: Replies::new(clients.clone(), puts.clone(), admission.clone(), sends.clone()),
            sends: Sends::new(topics.clone(), puts, retries.clone(), transactions.clone(), admission, sends),
            retries,
            topics,
            groups,
            offsets,
            clients,
            transactions,
            consumer_filters,
            offset_save_period,
            store: store.clone(),
            stats,
            send_rules,
            pull_rules,
        });
        let weak = Arc::downgrade(&broker);
        store.on_removal(move |removal| {
            if let Some(broker) = weak.upgrade() {
                let Self { offsets, delay_thread, transactions, stats, .. } = &*broker;
                stats.removed(removal::announce(removal, offsets, delay_thread, transactions));
            }
        });
        Ok(broker)
    }

    #[cfg(test)]
    pub(crate) fn pulls_cold(&self) -> &ColdReads {
        self.pulls.cold()
    }

    /// The topics, for the registration.
    #[must_use]
    pub fn topics(&self) -> Topics {
        self.topics.clone()
    }

    /// `brokerPermission` as it is now.
    pub(crate) fn permission(&self) -> Perm {
        self.send_rules.get().permission
    }

    /// Takes over what may change while the broker runs; the rest of `new` is left for the next start.
    pub fn change(&self, new: &Settings) {
        let sends = SendRules::clone(&self.send_rules.get());
        let permission_changed = sends.permission != new.sends.permission;
        self.send_rules.set(SendRules {
            trace_on: new.sends.trace_on,
            stores_replies: new.sends.stores_replies,
            permission: new.sends.permission,
            accepts_from_ms: new.sends.accepts_from_ms,
            body_max_bytes: new.sends.body_max_bytes,
            sync_flush_timeout: sends.sync_flush_timeout.and(new.sends.sync_flush_timeout),
            ..sends
        });
        let address = self.pull_rules.get().address.clone();
        let units_max = self.pull_rules.get().units_max;
        self.pull_rules.set(PullRules { address, units_max, ..new.pulls.clone() });
        self.transactions.change(&new.transactions);
        self.delays.change(&new.delays);
        self.admin.change(&new.admin);
        self.groups.set_auto_create(new.auto_create_groups);
        self.topics.set_auto_create(new.topics.auto_create, new.topics.default_queues);
        if permission_changed {
            self.topics.touch();
        }
    }

    /// Starts what goes on in the background, on the runtime that `spawn` gives it to.
    pub fn spawn_tasks(self: &Arc<Self>, spawn: impl Fn(std::pin::Pin<Box<dyn Future<Output = ()> + Send>>)) {
        let topics = self.topics.clone();
        spawn(Box::pin(topics.saver.clone().run("topics.json", move || topics.save())));
        let groups = self.groups.clone();
        spawn(Box::pin(groups.saver.clone().run("subscriptionGroup.json", move || groups.save())));
        let broker = self.clone();
        spawn(Box::pin(async move {
            loop {
                tokio::time::sleep(SAMPLE_PERIOD).await;
                broker.admin.sample();
                // Java's `ClientHousekeepingService` looks for them as often; one wake-up does for both.
                broker.clients.close_expired();
                broker.order_locks.forget_expired();
                broker.store.forget_cold();
            }
        }));
        spawn(Box::pin(self.transactions.clone().run()));
        let (offsets, filters) = (self.offsets.clone(), self.consumer_filters.clone());
        let period = self.offset_save_period;
        spawn(Box::pin(save_every(period, "consumerOffset.json", move || offsets.save())));
        spawn(Box::pin(save_every(period, "consumerFilter.json", move || filters.save())));
    }

    /// Ends what goes on in threads of its own, before the store is closed.
    pub fn stop(&self) {
        self.delay_thread.stop();
    }

    /// Writes what is kept under `config/`, before the program ends.
    ///
    /// # Errors
    /// The first file that could not be written; the others are written all the same.
    pub fn save(&self) -> std::io::Result<()> {
        self.transactions.commit_progress();
        [self.topics.save(), self.groups.save(), self.offsets.save(), self.consumer_filters.save()]
            .into_iter()
            .collect()
    }

    fn answer(&self, request: Request<'_>) -> Result<Answer, Refusal> {
        let now: fn(Command) -> Answer = Answer::Now;
        match request.header.code {
            codes::SEND_MESSAGE | codes::SEND_MESSAGE_V2 | codes::SEND_BATCH_MESSAGE => {
                self.sends.handle(request)
            }
            codes::END_TRANSACTION => self.transactions.end(request),
            codes::RESUME_CHECK_HALF_MESSAGE => self.transactions.resume(request),
            codes::RECALL_MESSAGE => self.recalls.handle(request),
            codes::SEND_REPLY_MESSAGE | codes::SEND_REPLY_MESSAGE_V2 => {
                self.replies.handle(&self.sends, request)
            }
            codes::CONSUMER_SEND_MSG_BACK => self.retries.send_back(request),
            codes::PULL_MESSAGE | codes::LITE_PULL_MESSAGE => self.pulls.handle(request),
            codes::HEART_BEAT => self.heartbeats.heartbeat(request).map(now),
            codes::UNREGISTER_CLIENT => {
                // Before the others hear of it: they ask for the locks at once.
                self.order_locks.unregistered(request)?;
                self.heartbeats.unregister(request).map(now)
            }
            codes::LOCK_BATCH_MQ => self.order_locks.lock(request).map(now),
            codes::UNLOCK_BATCH_MQ => self.order_locks.unlock(request).map(now),
            codes::CHECK_CLIENT_CONFIG => self.heartbeats.check(request).map(now),
            codes::GET_CONSUMER_LIST_BY_GROUP => self.heartbeats.list(request).map(now),
            codes::UPDATE_CONSUMER_OFFSET => self.positions.commit(request).map(now),
            codes::QUERY_CONSUMER_OFFSET => self.positions.committed(request),
            codes::GET_MAX_OFFSET => self.positions.max(request).map(now),
            codes::GET_MIN_OFFSET => self.positions.min(request).map(now),
            codes::SEARCH_OFFSET_BY_TIMESTAMP => self.positions.search(request),
            codes::GET_EARLIEST_MSG_STORETIME => self.positions.earliest(request),
            _ => self.admin.handle(request),
        }
    }
}

/// Writes a file again and again, until the program ends.
async fn save_every(
    period: Duration,
    name: &'static str,
    save: impl Fn() -> std::io::Result<()> + Clone + Send + 'static,
) {
    loop {
        tokio::time::sleep(period).await;
        if let Ok(Err(error)) = tokio::task::spawn_blocking(save.clone()).await {
            error!(file = name, %error, "could not be written, tried again");
        }
    }
}

impl Service for Broker {
    fn handle(&self, request: Request<'_>) -> Answer {
        self.answer(request).unwrap_or_else(|refusal| {
            debug!(code = request.header.code, peer = %request.peer.remote(), %refusal, "request refused");
            Answer::Now(refusal.into())
        })
    }

    fn closed(&self, peer: &Arc<Peer>) {
        self.heartbeats.gone(peer);
    }
}
