// SPDX-License-Identifier: Apache-2.0
//! The topics of this broker: their settings (`config/topics.json`) and their queues.
//!
//! A topic that nobody made is made by its first message, with the settings of `TBW102`, if that is allowed.
//! Java: `TopicConfigManager`.

use crate::{
    groups::now_ms,
    persist::{ConfigFile, Kept, LoadError, Saver, Ticket},
    refusal::Refusal,
};
use arc_swap::ArcSwap;
use oxmq_remoting::bodies::{DataVersion, TOPICS_MAX, TopicConfig, TopicConfigSerializeWrapper};
use oxmq_store::{DeleteError, Queue, Store};
use oxmq_types::{
    AUTO_CREATE_TOPIC, HALF_TOPIC, OP_HALF_TOPIC, Perm, QueueId, SCHEDULE_TOPIC, SELF_TEST_TOPIC,
    SYSTEM_TOPICS, TIMER_TOPIC, is_system_topic,
};
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fmt, io,
    ops::Deref,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::{Notify, watch};
use tracing::info;

/// Most queues of one topic. Java has no limit; its tools refuse more, and each queue costs a folder.
pub(crate) const QUEUES_MAX: u32 = 65_536;

/// Parts of the table: a change copies one of them.
const SHARDS: usize = 64;

/// So long a tool waits at most until the name servers know what it changed; its own patience is five seconds.
const TOLD_MAX: Duration = Duration::from_secs(3);

fn shard_of(name: &str) -> usize {
    name.bytes().fold(0, |sum, byte| usize::rotate_left(sum, 3) ^ usize::from(byte)) % SHARDS
}

/// What decides which topics exist without anybody having made them.
#[derive(Debug, Clone)]
pub struct TopicRules {
    /// `brokerClusterName`, itself a topic.
    pub cluster: String,
    /// `brokerName`, itself a topic.
    pub broker: String,
    /// `autoCreateTopicEnable`.
    pub auto_create: bool,
    /// `defaultTopicQueueNums`: queues of a topic made by its first message.
    pub default_queues: u32,
    /// `msgTraceTopicName` with `traceTopicEnable`: the topic to which clients send their traces, if this broker has it.
    pub trace_topic: Option<String>,
    /// `clusterTopicEnable`.
    pub cluster_topic: bool,
    /// `brokerTopicEnable`.
    pub broker_topic: bool,
}

impl TopicRules {
    /// Java's defaults.
    #[must_use]
    pub fn new(cluster: &str, broker: &str) -> Self {
        Self {
            cluster: cluster.to_owned(),
            broker: broker.to_owned(),
            auto_create: true,
            default_queues: 8,
            trace_topic: None,
            cluster_topic: true,
            broker_topic: true,
        }
    }
}

/// All topics. Cheap to clone.
#[derive(Clone)]
pub struct Topics {
    shared: Arc<Shared>,
    /// Writes the file.
    pub(crate) saver: Saver,
}

struct Shared {
    file: ConfigFile,
    rules: TopicRules,
    /// `autoCreateTopicEnable` and `defaultTopicQueueNums` as they are now.
    auto_create: Mutex<(bool, u32)>,
    store: Arc<Store>,
    /// By the hash of the name. Every send and pull reads them and none writes even a reference count that all
    /// threads share; a change copies one shard.
    shards: [ArcSwap<HashMap<String, Arc<Topic>>>; SHARDS],
    /// Held while the table changes, so that changes are made one after the other.
    version: Mutex<DataVersion>,
    /// Topics whose files are being removed, which cannot be made until they are gone. Nothing is locked under it.
    deleting: Mutex<HashSet<String>>,
    changed: Notify,
    /// The counter of the version that the name servers were told last, as far as they could be reached. `None` until
    /// somebody tells them.
    told: watch::Sender<Option<i64>>,
}

/// One topic.
pub(crate) struct Topic {
    name: Box<str>,
    store: Arc<Store>,
    config: ArcSwap<TopicConfig>,
    /// By their number; changed under the lock.
    queues: ArcSwap<Vec<Option<Arc<TopicQueue>>>>,
    queues_lock: Mutex<()>,
}

/// One queue of a topic, and those who wait for its next message.
pub(crate) struct TopicQueue {
    /// Where its messages are.
    pub(crate) stored: Arc<Queue>,
    /// Woken by each message that consumers may see.
    pub(crate) arrived: Notify,
    /// Messages sent to it since the start.
    pub(crate) sent: AtomicU64,
    /// True for a queue of a topic of the system, whose messages are nobody's.
    pub(crate) of_system: bool,
    /// By group, as far as it pulled since the start. A group costs as much in the table of offsets.
    pulled: Mutex<HashMap<Box<str>, Pulled>>,
}

/// How far a group has pulled a queue.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pulled {
    /// The offset behind the last message that it was given, whether it has committed that or not.
    pub(crate) next: u64,
    /// Messages that it was given since the start.
    pub(crate) messages: u64,
}

impl Topic {
    fn new(config: TopicConfig, store: Arc<Store>) -> Arc<Self> {
        let name = config.topic_name.clone().into();
        let (config, queues) = (ArcSwap::from_pointee(config), ArcSwap::default());
        Arc::new(Self { name, store, config, queues, queues_lock: Mutex::default() })
    }

    /// Its name.
    #[must_use]
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Its settings.
    #[must_use]
    pub(crate) fn config(&self) -> impl Deref<Target = Arc<TopicConfig>> + use<> {
        self.config.load()
    }

    /// Messages sent to it since the start.
    pub(crate) fn sent(&self) -> u64 {
        let queues = self.queues.load();
        queues.iter().flatten().map(|queue| queue.sent.load(Ordering::Relaxed)).sum()
    }

    /// Messages that each group was given since the start.
    pub(crate) fn given(&self) -> HashMap<Box<str>, u64> {
        let mut given = HashMap::new();
        for queue in self.queues.load().iter().flatten() {
            for (group, pulled) in queue.pulled.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                *given.entry(group.clone()).or_default() += pulled.messages;
            }
        }
        given
    }

    /// One of its queues, if somebody has used it since the start.
    pub(crate) fn used_queue(&self, id: QueueId) -> Option<Arc<TopicQueue>> {
        self.queues.load().get(id.0 as usize)?.clone()
    }

    /// One of its queues. The caller has checked the number against the settings.
    ///
    /// # Errors
    /// [`Refusal::System`] if the store cannot open it; [`Refusal::ServiceNotAvailable`] while it is being built again.
    pub(crate) fn queue(&self, id: QueueId) -> Result<Arc<TopicQueue>, Refusal> {
        let at = id.0 as usize;
        if let Some(Some(queue)) = self.queues.load().get(at)
            && queue.stored.rebuilding().is_none()
        {
            return Ok(queue.clone());
        }
        if id.0 >= QUEUES_MAX {
            return Err(Refusal::Parameter(format!("queueId[{id}] is illegal")));
        }
        let stored = self.store.queue(&self.name, id)?;
        let _changing = self.queues_lock.lock().unwrap_or_else(PoisonError::into_inner);
        let mut queues = Vec::clone(&self.queues.load());
        if queues.len() <= at {
            queues.resize_with(at + 1, || None);
        }
        let of_system = is_system_topic(&self.name);
        let queue = queues[at].get_or_insert_with(|| Arc::new(TopicQueue::new(stored, of_system))).clone();
        self.queues.store(Arc::new(queues));
        Ok(queue)
    }
}

impl TopicQueue {
    pub(crate) fn new(stored: Arc<Queue>, of_system: bool) -> Self {
        let (arrived, sent, pulled) = (Notify::new(), AtomicU64::new(0), Mutex::default());
        Self { stored, arrived, sent, of_system, pulled }
    }

    /// Notes that `group` was given messages, and that it goes on at `next`.
    pub(crate) fn gave(&self, group: &str, messages: u64, next: u64) {
        let mut pulled = self.pulled.lock().unwrap_or_else(PoisonError::into_inner);
        match pulled.get_mut(group) {
            Some(known) => *known = Pulled { next, messages: known.messages + messages },
            None => drop(pulled.insert(group.into(), Pulled { next, messages })),
        }
    }

    /// How far `group` has pulled; `None` if it was given nothing since the start.
    pub(crate) fn pulled(&self, group: &str) -> Option<Pulled> {
        self.pulled.lock().unwrap_or_else(PoisonError::into_inner).get(group).copied()
    }
}

impl Kept for TopicConfigSerializeWrapper {
    const MEMBER: &str = "topicConfigTable";
}

impl Topics {
    /// Reads the file at `path`, if there is one, and adds the topics that every broker has.
    ///
    /// # Errors
    /// If neither the file nor its backup can be read.
    pub(crate) fn open(path: PathBuf, rules: TopicRules, store: Arc<Store>) -> Result<Self, LoadError> {
        let kept = ConfigFile::new(path);
        let file = kept.load::<TopicConfigSerializeWrapper>()?.unwrap_or_default();
        let mut configs = file.topic_config_table;
        for config in built_in(&rules) {
            configs.entry(config.topic_name.clone()).or_insert(config);
        }
        if !rules.auto_create
            && let Some(default) = configs.get_mut(AUTO_CREATE_TOPIC)
        {
            default.perm = Perm(default.perm).without(Perm::INHERIT).0;
        }
        let topics = configs.into_iter().map(|(name, config)| {
            let config = TopicConfig { topic_name: name.clone(), ..config };
            (name, Topic::new(config, store.clone()))
        });
        let mut shards = [const { Vec::new() }; SHARDS];
        for (name, topic) in topics {
            shards[shard_of(&name)].push((name, topic));
        }
        let shards = shards.map(|topics| ArcSwap::from_pointee(topics.into_iter().collect()));
        let version = Mutex::new(file.data_version);
        let shared = Shared {
            file: kept,
            auto_create: Mutex::new((rules.auto_create, rules.default_queues)),
            rules,
            store,
            shards,
            version,
            deleting: Mutex::default(),
            changed: Notify::new(),
            told: watch::Sender::default(),
        };
        Ok(Self { shared: Arc::new(shared), saver: Saver::default() })
    }

    /// A topic by its name.
    #[must_use]
    pub(crate) fn get(&self, name: &str) -> Option<Arc<Topic>> {
        self.shard(name).load().get(name).cloned()
    }

    fn shard(&self, name: &str) -> &ArcSwap<HashMap<String, Arc<Topic>>> {
        &self.shared.shards[shard_of(name)]
    }

    /// All topics, in no order.
    #[must_use]
    pub(crate) fn all(&self) -> Vec<Arc<Topic>> {
        let shards = self.shared.shards.iter();
        shards.flat_map(|shard| shard.load().values().cloned().collect::<Vec<_>>()).collect()
    }

    /// Makes the topic `name` as its first message asks for it: with the settings of `default_topic` and at most
    /// `queues` queues. `None` if that topic gives none away.
    ///
    /// The name has been validated. The ticket tells when the topic is on disk.
    pub(crate) fn create_by_send(
        &self,
        name: &str,
        default_topic: &str,
        queues: i32,
        sys_flag: u32,
    ) -> Option<(Arc<Topic>, Ticket)> {
        let default = self.get(default_topic)?.config();
        if !Perm(default.perm).allows(Perm::INHERIT) {
            return None;
        }
        let queues = u32::try_from(queues).unwrap_or(0).min(default.write_queue_nums);
        let config = TopicConfig {
            topic_name: name.to_owned(),
            read_queue_nums: queues,
            write_queue_nums: queues,
            perm: Perm(default.perm).without(Perm::INHERIT).0,
            topic_filter_type: default.topic_filter_type,
            topic_sys_flag: sys_flag,
            ..TopicConfig::default()
        };
        self.create(config)
    }

    /// Makes the topic of `config` unless there is one of that name. `None` if the broker has too many, or the last one
    /// of that name is still being deleted.
    pub(crate) fn create(&self, config: TopicConfig) -> Option<(Arc<Topic>, Ticket)> {
        let mut version = self.shared.version.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = self.get(&config.topic_name) {
            return Some((known, self.saver.request()));
        }
        if self.deleting().contains(&config.topic_name) {
            return None;
        }
        let topic = Topic::new(config, self.shared.store.clone());
        let shard = self.shard(topic.name());
        let mut table = HashMap::clone(&shard.load());
        if table.len() >= TOPICS_MAX / SHARDS {
            return None;
        }
        table.insert(topic.name().to_owned(), topic.clone());
        shard.store(Arc::new(table));
        info!(topic = topic.name(), config = ?*topic.config(), "topic made");
        Some((topic, self.touched(&mut version)))
    }

    /// Sets the settings of a topic, which is made if there is none. The name has been validated. `None` as in
    /// [`Self::create`].
    pub(crate) fn put(&self, config: TopicConfig) -> Option<Ticket> {
        if self.get(&config.topic_name).is_none() {
            return self.create(config).map(|(_, ticket)| ticket);
        }
        let mut version = self.shared.version.lock().unwrap_or_else(PoisonError::into_inner);
        let topic = self.get(&config.topic_name)?;
        if **topic.config() == config {
            return Some(self.saver.request());
        }
        info!(topic = topic.name(), ?config, "topic settings changed");
        topic.config.store(Arc::new(config));
        Some(self.touched(&mut version))
    }

    /// Changes whether topics are made by their first message, and with how many queues at most. What a tool made of
    /// `TBW102` stays as far as neither of the two changes.
    pub(crate) fn set_auto_create(&self, auto_create: bool, default_queues: u32) {
        let new = (auto_create, default_queues);
        let old = std::mem::replace(
            &mut *self.shared.auto_create.lock().unwrap_or_else(PoisonError::into_inner),
            new,
        );
        if old == new {
            return;
        }
        let known = self.get(AUTO_CREATE_TOPIC).map(|topic| TopicConfig::clone(&topic.config()));
        let mut config = match known {
            Some(known) => known,
            None if auto_create => TopicConfig {
                topic_name: AUTO_CREATE_TOPIC.to_owned(),
                read_queue_nums: default_queues,
                write_queue_nums: default_queues,
                ..TopicConfig::default()
            },
            None => return,
        };
        config.perm = match auto_create {
            true => config.perm | Perm::READ_WRITE.0 | Perm::INHERIT.0,
            false => Perm(config.perm).without(Perm::INHERIT).0,
        };
        if old.1 != default_queues {
            (config.read_queue_nums, config.write_queue_nums) = (default_queues, default_queues);
        }
        self.put(config);
    }

    /// Has the name servers told anew, as if a topic had changed.
    pub(crate) fn touch(&self) {
        let mut version = self.shared.version.lock().unwrap_or_else(PoisonError::into_inner);
        self.touched(&mut version);
    }

    /// Marks those of `names` that are topics here as ordered. Java: `TopicConfigManager#updateOrderTopicConfig`.
    pub(crate) fn set_ordered<'a>(&self, names: impl Iterator<Item = &'a String>) {
        let mut version = self.shared.version.lock().unwrap_or_else(PoisonError::into_inner);
        for topic in names.filter_map(|name| self.get(name)).filter(|topic| !topic.config().order) {
            info!(topic = topic.name(), "topic has an order configuration");
            let config = TopicConfig { order: true, ..TopicConfig::clone(&topic.config()) };
            topic.config.store(Arc::new(config));
            self.touched(&mut version);
        }
    }

    /// Forgets a topic, if there is one, and removes the files of its queues; its messages stay in the commit log
    /// until they expire. Producers may go on meanwhile: the topic is made anew when all is gone, not before, or else
    /// its new queues would be removed with the old. Blocks.
    pub(crate) fn delete(&self, name: &str) -> Result<Ticket, DeleteError> {
        let ticket = {
            let mut version = self.shared.version.lock().unwrap_or_else(PoisonError::into_inner);
            self.deleting().insert(name.to_owned());
            let shard = self.shard(name);
            let mut table = HashMap::clone(&shard.load());
            let known = table.remove(name);
            shard.store(Arc::new(table));
            if known.is_some() { self.touched(&mut version) } else { self.saver.request() }
        };
        let deleted = self.shared.store.delete_topic(name);
        self.deleting().remove(name);
        info!(topic = name, "topic deleted");
        deleted.map(|()| ticket)
    }

    /// Removes the files of queues of a topic that is not known, as [`Self::delete`] does. False if it is.
    pub(crate) fn delete_unknown(&self, name: &str) -> Result<bool, DeleteError> {
        {
            // Nobody makes it from here on.
            let _version = self.shared.version.lock().unwrap_or_else(PoisonError::into_inner);
            if self.get(name).is_some() {
                return Ok(false);
            }
            self.deleting().insert(name.to_owned());
        }
        let deleted = self.shared.store.delete_topic(name);
        self.deleting().remove(name);
        info!(topic = name, "queues of a topic that is not there deleted");
        deleted.map(|()| true)
    }

    fn deleting(&self) -> MutexGuard<'_, HashSet<String>> {
        self.shared.deleting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn touched(&self, version: &mut DataVersion) -> Ticket {
        version.advance(now_ms());
        self.shared.changed.notify_one();
        self.saver.request()
    }

    /// Waits for the next change of any topic.
    pub(crate) async fn changed(&self) {
        self.shared.changed.notified().await;
    }

    /// The counter of the version of the table, which grows with each change.
    pub(crate) fn counter(&self) -> i64 {
        self.shared.version.lock().unwrap_or_else(PoisonError::into_inner).counter
    }

    /// Notes that the name servers were told of the table with this counter.
    pub(crate) fn told(&self, counter: i64) {
        self.shared.told.send_replace(Some(counter));
    }

    /// Waits until the name servers know the table as it is now, three seconds at most; not at all if nobody tells them.
    pub(crate) fn until_told(&self) -> impl Future<Output = ()> + use<> {
        let (mut told, counter) = (self.shared.told.subscribe(), self.counter());
        async move {
            let known = told.wait_for(|told| told.is_none_or(|told| told >= counter));
            // Who waits longer learns it from the next registration.
            let _ = tokio::time::timeout(TOLD_MAX, known).await;
        }
    }

    /// The version of the table, and the settings of all topics by name.
    #[must_use]
    pub(crate) fn snapshot(&self) -> TopicConfigSerializeWrapper {
        let version = self.shared.version.lock().unwrap_or_else(PoisonError::into_inner);
        let configs = self
            .all()
            .into_iter()
            .map(|topic| (topic.name().to_owned(), TopicConfig::clone(&topic.config())));
        TopicConfigSerializeWrapper { data_version: *version, topic_config_table: configs.collect() }
    }

    /// Writes the file.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn save(&self) -> io::Result<()> {
        self.shared.file.replace(|| Ok(serde_json::to_vec_pretty(&self.snapshot())?))
    }

    /// The rules by which topics are made.
    #[must_use]
    pub(crate) fn rules(&self) -> &TopicRules {
        &self.shared.rules
    }

    /// Names of the topics that belong to the system, of this broker or of every one. Java:
    /// `TopicValidator#getSystemTopicSet`.
    pub(crate) fn system(&self) -> BTreeSet<String> {
        let own = built_in(&self.shared.rules).into_iter().map(|config| config.topic_name);
        SYSTEM_TOPICS.iter().map(|&name| name.to_owned()).chain(own).collect()
    }

    /// True for a topic that belongs to the system, which tools must not change.
    pub(crate) fn is_system(&self, name: &str) -> bool {
        is_system_topic(name) || self.system().contains(name)
    }
}

impl fmt::Debug for Topics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Topics").field("file", &self.shared.file).finish_non_exhaustive()
    }
}

/// Topics that every broker has, as a Java broker 5.3.3 makes them.
fn built_in(rules: &TopicRules) -> Vec<TopicConfig> {
    let TopicRules { cluster, broker, .. } = rules;
    let read_write = Perm::READ_WRITE;
    let inherit = |open: bool| if open { read_write.with(Perm::INHERIT) } else { Perm::INHERIT };
    let mut all = vec![
        (SELF_TEST_TOPIC.to_owned(), 1, read_write),
        ("BenchmarkTest".to_owned(), 1024, read_write),
        (cluster.clone(), 16, inherit(rules.cluster_topic)),
        (broker.clone(), 1, inherit(rules.broker_topic)),
        ("OFFSET_MOVED_EVENT".to_owned(), 1, read_write),
        (SCHEDULE_TOPIC.to_owned(), 18, read_write),
        (format!("{cluster}_REPLY_TOPIC"), 1, read_write),
        (format!("rmq_sys_REVIVE_LOG_{cluster}"), 8, read_write),
        (format!("rmq_sys_SYNC_BROKER_MEMBER_{broker}"), 1, Perm::INHERIT),
        (HALF_TOPIC.to_owned(), 1, read_write),
        (OP_HALF_TOPIC.to_owned(), 1, read_write),
        (TIMER_TOPIC.to_owned(), 1, read_write),
    ];
    all.extend(rules.trace_topic.iter().map(|name| (name.clone(), 1, read_write)));
    if rules.auto_create {
        all.push((AUTO_CREATE_TOPIC.to_owned(), rules.default_queues, inherit(true)));
    }
    let config = |(topic_name, queues, perm): (String, u32, Perm)| TopicConfig {
        topic_name,
        read_queue_nums: queues,
        write_queue_nums: queues,
        perm: perm.0,
        ..TopicConfig::default()
    };
    all.into_iter().map(config).collect()
}

#[cfg(test)]
mod tests {
    use crate::fixture::Fixture;
    use std::{
        pin::pin,
        task::{Context, Poll, Waker},
    };

    #[tokio::test]
    async fn a_tool_waits_until_the_name_servers_know_its_change() {
        let broker = Fixture::new();
        let topics = &broker.broker.topics;
        let mut context = Context::from_waker(Waker::noop());
        topics.touch();
        let nobody_tells = pin!(topics.until_told()).poll(&mut context);
        assert_eq!(nobody_tells, Poll::Ready(()));

        topics.told(topics.counter());
        let all_is_told = pin!(topics.until_told()).poll(&mut context);
        assert_eq!(all_is_told, Poll::Ready(()));

        let before = topics.counter();
        topics.touch();
        let mut changed = pin!(topics.until_told());
        assert_eq!(changed.as_mut().poll(&mut context), Poll::Pending);
        // A registration that began before the change.
        topics.told(before);
        assert_eq!(changed.as_mut().poll(&mut context), Poll::Pending);
        topics.told(topics.counter());
        assert_eq!(changed.as_mut().poll(&mut context), Poll::Ready(()));
    }
}
