// SPDX-License-Identifier: Apache-2.0
//! `config/consumerFilter.json`: which groups filter which topics by more than tags, from when on and until when.
//!
//! Nothing here reads it: members are served by what they told themselves. It is kept for a Java broker, before us or
//! after us, whose filters by bit maps go by it. What Java computed for them (`bloomFilterData`) is kept; entries of
//! ours have none, and Java then passes over the bit maps, which is always right.
//!
//! An entry is born when a group first subscribes with its expression, dead as soon as no member subscribes to the
//! topic any more, and removed a day later. At the start all are dead until they are heard of.
//!
//! Java: `ConsumerFilterManager`, `ConsumerFilterData`, every 10 s and for each heartbeat.

use super::is_tag_type;
use crate::{
    clients::{Clients, Subscription},
    groups::now_ms,
    persist::{ConfigFile, Kept},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashMap},
    io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tracing::warn;

/// Java's `filterDataCleanTimeSpan`, unless it is configured otherwise.
const REMOVED_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
/// An entry that was alive when the file was written has died so long before the start.
const DEAD_BEFORE_START: Duration = Duration::from_secs(30);

/// Most bytes of the entries, each counted with [`FilterData::bytes`]. Dead ones stay for a day, so whoever subscribes
/// in one group after the other could fill the memory.
const MAX_BYTES: usize = 64 << 20;

/// The entries of the file. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct ConsumerFilters {
    clients: Clients,
    kept: Arc<ConfigFile>,
    file: Arc<Mutex<File>>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct File {
    filter_data_by_topic: BTreeMap<String, TopicFilters>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct TopicFilters {
    group_filter_data: BTreeMap<String, FilterData>,
    topic: String,
}

/// An entry. Times are milliseconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct FilterData {
    #[serde(skip_serializing_if = "Option::is_none")]
    bloom_filter_data: Option<serde_json::Value>,
    born_time: i64,
    /// `subVersion` of the subscription.
    client_version: i64,
    consumer_group: String,
    /// Written for people; [`FilterData::is_dead`] decides.
    dead: bool,
    /// 0 as long as it lives.
    dead_time: i64,
    expression: String,
    expression_type: String,
    topic: String,
}

impl Kept for File {
    const MEMBER: &str = "filterDataByTopic";
}

impl ConsumerFilters {
    /// Reads the file at `path`, if there is one that can be read.
    pub(crate) fn open(path: PathBuf, clients: Clients) -> Self {
        let kept = ConfigFile::new(path);
        let file = kept.load::<File>().unwrap_or_else(|error| {
            warn!(%error, "it is built again as consumers subscribe");
            None
        });
        let mut file = file.unwrap_or_default();
        file.all_dead(now_ms());
        Self { clients, kept: Arc::new(kept), file: Arc::new(Mutex::new(file)) }
    }

    /// Takes note of who subscribes now, and writes the file if that changed anything.
    ///
    /// # Errors
    /// If it cannot be written; the next call sees the change again.
    pub(crate) fn save(&self) -> io::Result<()> {
        let told = self.clients.subscriptions_where(|each| !is_tag_type(&each.data.expression_type));
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = file.clone();
        next.update(&told, now_ms());
        if next != *file {
            self.kept.replace(|| Ok(serde_json::to_vec_pretty(&next)?))?;
            *file = next;
        }
        Ok(())
    }
}

impl File {
    fn entries(&mut self) -> impl Iterator<Item = &mut FilterData> {
        self.filter_data_by_topic.values_mut().flat_map(|topic| topic.group_filter_data.values_mut())
    }

    /// Who lived when the file was written is not known to live now.
    fn all_dead(&mut self, now: i64) {
        for entry in self.entries().filter(|entry| entry.dead_time == 0) {
            entry.die(entry.born_time.max(now - DEAD_BEFORE_START.as_millis() as i64));
        }
    }

    /// `told`: what the groups with members subscribe to with more than tags, by the name of the group.
    fn update(&mut self, told: &[(String, Arc<Subscription>)], now: i64) {
        let mut alive: HashMap<(&str, &str), &Subscription> = HashMap::new();
        let mut room = MAX_BYTES.saturating_sub(self.entries().map(|entry| entry.bytes()).sum());
        for (group, subscription) in told {
            alive.insert((&subscription.data.topic, group), subscription);
            self.register(group, subscription, now, &mut room);
        }
        for (name, topic) in &mut self.filter_data_by_topic {
            topic.group_filter_data.retain(|group, entry| {
                if !entry.is_dead() && !alive.contains_key(&(name.as_str(), group.as_str())) {
                    entry.die(now);
                }
                !entry.is_dead() || now - entry.dead_time < REMOVED_AFTER.as_millis() as i64
            });
        }
        self.filter_data_by_topic.retain(|_, topic| !topic.group_filter_data.is_empty());
    }

    /// `room`: bytes that new entries may take. What is beyond is not kept: nothing here depends on it.
    fn register(
        &mut self,
        group: &str,
        Subscription { data, filter }: &Subscription,
        now: i64,
        room: &mut usize,
    ) {
        let topic = self.filter_data_by_topic.entry(data.topic.clone()).or_default();
        topic.topic.clone_from(&data.topic);
        let known = topic.group_filter_data.get_mut(group);
        let newer = known.as_ref().is_none_or(|known| data.sub_version > known.client_version);
        if newer && filter.is_err() {
            topic.group_filter_data.remove(group);
            return;
        }
        match known {
            Some(known) if !newer => {
                // Java: an older subscription changes nothing, and does not wake the dead.
                if data.sub_version == known.client_version {
                    known.live();
                }
            }
            Some(known)
                if known.expression == data.sub_string && known.expression_type == data.expression_type =>
            {
                known.client_version = data.sub_version;
                known.live();
            }
            known => {
                let entry = FilterData {
                    // It depends on the names of group and topic only.
                    bloom_filter_data: known.and_then(|known| known.bloom_filter_data.take()),
                    born_time: now,
                    client_version: data.sub_version,
                    consumer_group: group.to_owned(),
                    dead: false,
                    dead_time: 0,
                    expression: data.sub_string.clone(),
                    expression_type: data.expression_type.clone(),
                    topic: data.topic.clone(),
                };
                let Some(left) = room.checked_sub(entry.bytes()) else { return };
                *room = left;
                topic.group_filter_data.insert(group.to_owned(), entry);
            }
        }
    }
}

impl FilterData {
    /// About what it takes in memory. What Java computed is short.
    fn bytes(&self) -> usize {
        640 + self.expression.len() + 2 * (self.topic.len() + self.consumer_group.len())
    }

    fn is_dead(&self) -> bool {
        self.dead_time >= self.born_time
    }

    fn live(&mut self) {
        (self.dead, self.dead_time) = (false, 0);
    }

    fn die(&mut self, at: i64) {
        (self.dead, self.dead_time) = (true, at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::Sender;
    use oxmq_net::Peer;
    use oxmq_remoting::{
        Language,
        bodies::{ConsumerData, SubscriptionData},
    };

    /// What a Java 5.3.3 broker wrote when its one consumer had left.
    const OF_JAVA: &str = r#"{
	"filterDataByTopic":{
		"SqlT":{
			"groupFilterData":{
				"cg":{
					"bloomFilterData":{
						"bitNum":112,
						"bitPos":[22,94,57]
					},
					"bornTime":1795240663406,
					"clientVersion":1795240664436,
					"consumerGroup":"cg",
					"dead":true,
					"deadTime":1795240677748,
					"expression":"n > 1",
					"expressionType":"SQL92",
					"topic":"SqlT"
				}
			},
			"topic":"SqlT"
		}
	}
}"#;
    const BORN: i64 = 1_795_240_663_406;
    const VERSION: i64 = 1_795_240_664_436;
    const DIED: i64 = 1_795_240_677_748;

    fn told(topic: &str, expression: &str, version: i64) -> (String, Arc<Subscription>) {
        let data = SubscriptionData {
            topic: topic.into(),
            sub_string: expression.into(),
            expression_type: "SQL92".into(),
            sub_version: version,
            ..SubscriptionData::default()
        };
        ("cg".into(), Arc::new(Subscription::new(data, None)))
    }

    fn of_java() -> File {
        serde_json::from_str(OF_JAVA).unwrap()
    }

    fn entry(file: &mut File) -> FilterData {
        let mut entries = file.entries();
        let entry = entries.next().unwrap().clone();
        assert!(entries.next().is_none());
        entry
    }

    #[test]
    fn what_java_wrote_stays_as_it_is() {
        let mut file = of_java();
        file.all_dead(DIED + 1);
        file.update(&[], DIED + 1);
        let text = serde_json::to_string_pretty(&file).unwrap();
        let blanks = |text: &str| text.split_whitespace().collect::<String>();
        assert_eq!(blanks(&text), blanks(OF_JAVA));
    }

    #[test]
    fn entries_are_born_and_die_as_in_java() {
        let now = DIED + 1000;
        let step = |told: &[_], now| {
            let mut file = of_java();
            file.update(told, now);
            entry(&mut file)
        };
        let (java, bloom) = (entry(&mut of_java()), entry(&mut of_java()).bloom_filter_data);
        assert!(bloom.is_some());
        // Subscribed to again, by the same client, by an older and by a newer one.
        let alive = FilterData { dead: false, dead_time: 0, ..java.clone() };
        assert_eq!(step(&[told("SqlT", "n > 1", VERSION)], now), alive);
        assert_eq!(step(&[told("SqlT", "n > 2", VERSION)], now), alive);
        assert_eq!(step(&[told("SqlT", "n > 1", VERSION - 1)], now), java);
        let newer = FilterData { client_version: VERSION + 1, ..alive.clone() };
        assert_eq!(step(&[told("SqlT", "n > 1", VERSION + 1)], now), newer);
        let other = FilterData { expression: "n > 2".into(), born_time: now, ..newer };
        assert_eq!(step(&[told("SqlT", "n > 2", VERSION + 1)], now), other);

        let mut file = of_java();
        file.update(&[told("SqlT", "n >", VERSION + 1)], now);
        assert_eq!(file, File::default(), "an expression that cannot be read leaves no entry");
        file.update(&[told("T", "a = 1", 5)], now);
        let born = entry(&mut file);
        assert_eq!((born.born_time, born.dead, born.bloom_filter_data), (now, false, None));
        file.update(&[], now + 7);
        assert_eq!((entry(&mut file).dead, entry(&mut file).dead_time), (true, now + 7));
        let day = REMOVED_AFTER.as_millis() as i64;
        file.update(&[], now + 7 + day - 1);
        assert_eq!(entry(&mut file).dead_time, now + 7);
        file.update(&[], now + 7 + day);
        assert_eq!(file, File::default());
    }

    #[test]
    fn entries_are_bounded() {
        let mut file = File::default();
        let expression = format!("a = '{}'", "x".repeat(60_000));
        let (_, subscription) = told("T", &expression, 1);
        let all: Vec<_> = (0..1200).map(|i| (format!("g{i}"), subscription.clone())).collect();
        for _ in 0..2 {
            file.update(&all, BORN);
            let bytes: usize = file.entries().map(|entry| entry.bytes()).sum();
            assert!((MAX_BYTES - 100_000..=MAX_BYTES).contains(&bytes), "{bytes}");
        }
    }

    #[test]
    fn all_are_dead_at_the_start() {
        let start = |born, now| {
            let mut file = of_java();
            file.entries().for_each(|entry| (entry.born_time, entry.dead_time) = (born, 0));
            file.all_dead(now);
            entry(&mut file).dead_time
        };
        assert_eq!(start(BORN, BORN + 50_000), BORN + 20_000);
        assert_eq!(start(BORN, BORN + 10_000), BORN);
    }

    #[test]
    fn is_written_when_somebody_comes_or_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("consumerFilter.json");
        let (clients, peer) = (Clients::default(), Peer::unconnected(([127, 0, 0, 1], 1).into()));
        let filters = ConsumerFilters::open(path.clone(), clients.clone());
        let subscribe = |expression_type: &str| {
            let sender = Sender { peer: &peer, client_id: "c", language: Language(0), version: 433 };
            let mut data = told("T", "a = 1", 1).1.data.clone();
            data.expression_type = expression_type.into();
            let subscription_data_set = vec![data];
            let data = ConsumerData { group_name: "cg".into(), subscription_data_set, ..Default::default() };
            clients.consumes(sender, &data, false, false);
        };
        subscribe("TAG");
        filters.save().unwrap();
        assert!(!path.exists(), "nothing to say");
        let written = || entry(&mut serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap());
        subscribe("SQL92");
        filters.save().unwrap();
        assert_eq!((written().dead, written().expression), (false, "a = 1".to_owned()));
        clients.gone(peer.id(), |_| false);
        filters.save().unwrap();
        assert!(written().dead);
        let filters = ConsumerFilters::open(path.clone(), clients.clone());
        std::fs::remove_file(&path).unwrap();
        filters.save().unwrap();
        assert!(!path.exists(), "nothing new");
    }
}
