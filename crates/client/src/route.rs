// SPDX-License-Identifier: Apache-2.0
//! Where the queues of a topic are, as clients need it.
//!
//! Pure: bytes of a name server in, a [`Route`] out. Java: `MQClientInstance#topicRouteData2TopicPublishInfo`,
//! `topicRouteData2TopicSubscribeInfo`.

use crate::{MessageQueue, ids};
use oxmq_remoting::{
    bodies::{BrokerData, TopicRouteData},
    fastjson,
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Most queues of one topic that a client believes in.
const QUEUES_MAX: usize = 100_000;
const READ: u32 = 4;
const WRITE: u32 = 2;

/// Where the queues of a topic are. Does not change: a newer one takes its place.
#[derive(Debug)]
pub struct Route {
    topic: Arc<str>,
    data: TopicRouteData,
    write: Vec<WriteQueue>,
    read: Vec<MessageQueue>,
    brokers: BTreeMap<Arc<str>, BTreeMap<i64, Arc<str>>>,
    ordered: bool,
    next: AtomicUsize,
}

/// A queue that can be written to, and the address of the broker that takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WriteQueue {
    pub(crate) queue: MessageQueue,
    pub(crate) master: Arc<str>,
}

impl Route {
    /// Reads the answer of a name server about `topic`.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn from_json(topic: &Arc<str>, body: &[u8]) -> Result<Self, String> {
        let data: TopicRouteData = fastjson::from_slice(body).map_err(|error| error.to_string())?;
        Self::new(topic, data)
    }

    pub(crate) fn new(topic: &Arc<str>, mut data: TopicRouteData) -> Result<Self, String> {
        // Java sorts both, so that all clients see the queues in one order.
        data.queue_datas.sort_by(|a, b| a.broker_name.cmp(&b.broker_name));
        data.broker_datas.sort_by(|a, b| a.broker_name.cmp(&b.broker_name));
        let total = data.queue_datas.iter().map(|queues| queues.read_queue_nums.max(queues.write_queue_nums));
        if total.map(u64::from).sum::<u64>() > QUEUES_MAX as u64 {
            return Err(format!("it has more than {QUEUES_MAX} queues"));
        }
        let mut brokers: BTreeMap<Arc<str>, BTreeMap<i64, Arc<str>>> = BTreeMap::new();
        for BrokerData { broker_name, broker_addrs, .. } in &data.broker_datas {
            let addrs = broker_addrs.iter().map(|(id, addr)| (*id, Arc::from(addr.as_str())));
            brokers.entry(broker_name.as_str().into()).or_default().extend(addrs);
        }
        let mut route = Self {
            topic: topic.clone(),
            data,
            write: Vec::new(),
            read: Vec::new(),
            brokers,
            ordered: false,
            next: AtomicUsize::new(ids::random() as usize),
        };
        route.find_read();
        route.find_write()?;
        Ok(route)
    }

    fn find_read(&mut self) {
        for queues in self.data.queue_datas.iter().filter(|queues| queues.perm & READ != 0) {
            let broker: Arc<str> = queues.broker_name.as_str().into();
            let all = (0..queues.read_queue_nums as i32)
                .map(|id| MessageQueue::new(self.topic.clone(), broker.clone(), id));
            self.read.extend(all);
        }
    }

    fn find_write(&mut self) -> Result<(), String> {
        let master_id = 0_i64;
        let order = self.data.order_topic_conf.as_deref().filter(|order| !order.is_empty());
        self.ordered = order.is_some();
        let parts: Vec<(Arc<str>, u32)> = match order {
            Some(order) => order
                .split(';')
                .filter(|part| !part.is_empty())
                .map(|part| {
                    let (broker, count) = part.split_once(':')?;
                    Some((broker.into(), count.trim().parse().ok()?))
                })
                .collect::<Option<_>>()
                .ok_or_else(|| format!("its order is \"{order}\", not broker:queues;…"))?,
            None => self
                .data
                .queue_datas
                .iter()
                .filter(|queues| queues.perm & WRITE != 0)
                .map(|queues| (queues.broker_name.as_str().into(), queues.write_queue_nums))
                .collect(),
        };
        if parts.iter().map(|(_, count)| u64::from(*count)).sum::<u64>() > QUEUES_MAX as u64 {
            return Err(format!("it has more than {QUEUES_MAX} queues"));
        }
        for (broker, count) in parts {
            // Without a master nobody takes messages; its slaves go on giving them out.
            let Some(master) = self.brokers.get(&broker).and_then(|addrs| addrs.get(&master_id)) else {
                continue;
            };
            self.write.extend((0..count as i32).map(|id| WriteQueue {
                queue: MessageQueue::new(self.topic.clone(), broker.clone(), id),
                master: master.clone(),
            }));
        }
        Ok(())
    }

    /// The route under which a message is sent to `topic`, which does not exist yet: that of the topic `self` whose
    /// settings new topics inherit, with at most `queues` queues on each broker.
    pub(crate) fn for_new_topic(&self, topic: &Arc<str>, queues: u32) -> Result<Self, String> {
        let mut data = self.data.clone();
        for on_broker in &mut data.queue_datas {
            let count = queues.min(on_broker.read_queue_nums);
            (on_broker.read_queue_nums, on_broker.write_queue_nums) = (count, count);
        }
        Self::new(topic, data)
    }

    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    /// What the name server told, as it told it.
    #[must_use]
    pub fn data(&self) -> &TopicRouteData {
        &self.data
    }

    /// Queues that can be consumed from, in their order.
    #[must_use]
    pub fn read_queues(&self) -> &[MessageQueue] {
        &self.read
    }

    /// Queues that can be sent to, in their order.
    pub fn write_queues(&self) -> impl ExactSizeIterator<Item = &MessageQueue> {
        self.write.iter().map(|queue| &queue.queue)
    }

    pub(crate) fn write_queue(&self, index: usize) -> Option<&WriteQueue> {
        self.write.get(index)
    }

    pub(crate) fn find_write_queue(&self, queue: &MessageQueue) -> Option<&WriteQueue> {
        self.write.iter().find(|found| found.queue == *queue)
    }

    /// Addresses by broker name and broker id; 0 is the master.
    #[must_use]
    pub fn brokers(&self) -> &BTreeMap<Arc<str>, BTreeMap<i64, Arc<str>>> {
        &self.brokers
    }

    /// True if the order of the topic's queues is fixed by an order configuration (`updateOrderConf`).
    #[must_use]
    pub fn is_ordered(&self) -> bool {
        self.ordered
    }

    /// The next queue in turn of those that `wanted` takes.
    pub(crate) fn next_write_queue(
        &self,
        mut wanted: impl FnMut(&WriteQueue) -> bool,
    ) -> Option<&WriteQueue> {
        let count = self.write.len();
        (0..count).find_map(|_| {
            let turn = self.next.fetch_add(1, Ordering::Relaxed);
            self.write.get(turn % count).filter(|queue| wanted(queue))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(json: &str) -> Result<Route, String> {
        Route::from_json(&"T".into(), json.as_bytes())
    }

    fn names(route: &Route) -> Vec<String> {
        route.write_queues().map(|queue| format!("{}{}", queue.broker_name, queue.queue_id)).collect()
    }

    const TWO: &str = r#"{"brokerDatas":[{"brokerAddrs":{0:"b:1",1:"b:2"},"brokerName":"b"},
        {"brokerAddrs":{0:"a:1"},"brokerName":"a"},{"brokerAddrs":{1:"s:1"},"brokerName":"s"}],
        "queueDatas":[{"brokerName":"b","perm":6,"readQueueNums":3,"writeQueueNums":2},
        {"brokerName":"a","perm":4,"readQueueNums":1,"writeQueueNums":1},
        {"brokerName":"s","perm":6,"readQueueNums":1,"writeQueueNums":1}]}"#;

    #[test]
    fn queues_follow_permissions_and_masters() {
        let route = route(TWO).unwrap();
        assert_eq!(names(&route), ["b0", "b1"], "a is read only, s has no master");
        assert_eq!(route.write_queue(1).unwrap().master, "b:1".into());
        let read: Vec<_> =
            route.read_queues().iter().map(|queue| (&*queue.broker_name, queue.queue_id)).collect();
        assert_eq!(read, [("a", 0), ("b", 0), ("b", 1), ("b", 2), ("s", 0)]);
        assert!(!route.is_ordered());
        let new = route.for_new_topic(&"N".into(), 1).unwrap();
        assert_eq!((names(&new), &**new.topic()), (vec!["b0".to_owned()], "N"));
    }

    #[test]
    fn an_order_configuration_fixes_the_queues() {
        let with = TWO.replacen('{', r#"{"orderTopicConf":"b:1;a:2","#, 1);
        let route = route(&with).unwrap();
        assert!(route.is_ordered());
        assert_eq!(names(&route), ["b0", "a0", "a1"]);
    }

    #[test]
    fn queues_take_turns() {
        let route = route(TWO).unwrap();
        let mut turns: Vec<_> =
            (0..4).map(|_| route.next_write_queue(|_| true).unwrap().queue.queue_id).collect();
        assert_ne!(turns[0], turns[1]);
        turns.sort();
        assert_eq!(turns, [0, 0, 1, 1]);
        assert_eq!(route.next_write_queue(|_| false), None);
    }

    #[test]
    fn hostile_answers_are_refused() {
        for bad in [
            "",
            "{\"queueDatas\":5}",
            r#"{"queueDatas":[{"brokerName":"a","perm":6,"readQueueNums":4294967295,"writeQueueNums":4294967295}]}"#,
            r#"{"queueDatas":[{"brokerName":"a","perm":6,"readQueueNums":-1,"writeQueueNums":1}]}"#,
            r#"{"orderTopicConf":"a:99999999"}"#,
            r#"{"orderTopicConf":"nonsense"}"#,
        ] {
            assert!(route(bad).is_err(), "{bad}");
        }
        assert_eq!(names(&route("{}").unwrap()), [""; 0]);
    }
}
