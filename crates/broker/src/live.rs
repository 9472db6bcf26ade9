// SPDX-License-Identifier: Apache-2.0
//! Settings that tools change while the broker runs.
//!
//! Whoever reads them takes one whole set for one request, and writes nothing that other threads read.

use arc_swap::{ArcSwap, Guard};
use std::{fmt, sync::Arc};

/// Settings that are replaced as a whole. Cheap to clone; all clones have the same.
pub(crate) struct Live<T>(Arc<ArcSwap<T>>);

impl<T> Live<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(value)))
    }

    /// Those that hold now. Not to be kept across an await.
    pub(crate) fn get(&self) -> Guard<Arc<T>> {
        self.0.load()
    }

    pub(crate) fn set(&self, value: T) {
        self.0.store(Arc::new(value));
    }
}

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: fmt::Debug> fmt::Debug for Live<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use crate::{Settings, fixture::Fixture};
    use oxmq_remoting::code::request as codes;
    use oxmq_store::StoreConfig;
    use oxmq_types::Perm;
    use serde_json::{Value, json};

    /// The broker of the fixture, told what `change` makes of its settings.
    fn change(broker: &Fixture, change: impl FnOnce(&mut Settings)) {
        let config = StoreConfig::new(broker.folder.path());
        let mut settings = Settings::new(("C", "B"), ([127, 0, 0, 1], 10911).into(), &config);
        settings.topics.default_queues = 4;
        settings.sends.body_max_bytes = 1 << 16;
        change(&mut settings);
        broker.broker.change(&settings);
    }

    async fn perm(broker: &Fixture, topic: &str) -> Option<Value> {
        let answer = broker.ask(codes::GET_TOPIC_CONFIG, json!({"topic": topic}), b"").await;
        let body = answer.body.pieces().concat();
        (answer.code == 0).then(|| serde_json::from_slice::<Value>(&body).unwrap()["perm"].clone())
    }

    #[tokio::test]
    async fn what_changes_counts_for_the_next_request() {
        let broker = Fixture::new();
        let sent = broker.send("T", &[], json!({})).await;
        assert_eq!((sent.code, sent.field("TRACE_ON").as_deref()), (0, Some("true")));
        change(&broker, |settings| {
            settings.sends.trace_on = false;
            settings.sends.body_max_bytes = 5;
        });
        let sent = broker.send("T", &[], json!({})).await;
        assert_eq!((sent.code, sent.field("TRACE_ON").as_deref()), (0, Some("false")));
        assert_eq!(broker.stored("T", 0)[1].property("TRACE_ON").as_deref(), Some("false"));
        change(&broker, |settings| settings.sends.body_max_bytes = 4);
        Fixture::check_refused(&broker.send("T", &[], json!({})).await, (13, ""));
        assert_eq!(broker.stored("T", 0).len(), 2, "4 bytes are too few for hello");

        change(&broker, |settings| settings.pulls.permission = Perm::WRITE);
        let pull = json!({"consumerGroup": "g", "topic": "T", "queueId": 0, "queueOffset": 0, "maxMsgNums": 1,
            "sysFlag": 4, "commitOffset": 0, "suspendTimeoutMillis": 0, "subVersion": 0, "subscription": "*"});
        let refused = broker.ask(codes::PULL_MESSAGE, pull.clone(), b"").await;
        Fixture::check_refused(&refused, (16, "the broker[127.0.0.1] pulling message is forbidden"));
        change(&broker, |settings| settings.auto_create_groups = false);
        let other = json!({"consumerGroup": "other"});
        let mut asked = pull.clone();
        asked.as_object_mut().unwrap().extend(other.as_object().unwrap().clone());
        let refused = broker.ask(codes::PULL_MESSAGE, asked, b"").await;
        Fixture::check_refused(&refused, (26, "subscription group [other] does not exist"));

        change(&broker, |settings| settings.transactions.rejected = true);
        let half = broker.send("T", &[("TRAN_MSG", "true"), ("PGROUP", "P")], json!({})).await;
        Fixture::check_refused(&half, (16, "the broker[127.0.0.1] sending transaction message is forbidden"));
        change(&broker, |settings| settings.sends.accepts_from_ms = i64::MAX);
        let early = broker.send("T", &[], json!({})).await;
        Fixture::check_refused(&early, (1, "broker unable to service, until "));
        change(&broker, |settings| settings.sends.accepts_from_ms = 1);
        assert_eq!(broker.send("T", &[], json!({})).await.code, 0);
    }

    #[tokio::test]
    async fn topics_are_made_by_themselves_or_not() {
        let broker = Fixture::new();
        let template = json!({"topic": "TBW102", "defaultTopic": "", "readQueueNums": 2, "writeQueueNums": 2,
            "perm": 7, "topicFilterType": "SINGLE_TAG"});
        assert_eq!(perm(&broker, "TBW102").await, Some(7.into()));
        change(&broker, |settings| settings.topics.auto_create = false);
        assert_eq!(perm(&broker, "TBW102").await, Some(6.into()));
        Fixture::check_refused(&broker.send("A", &[], json!({})).await, (17, "topic[A] not exist"));
        change(&broker, |_| {});
        assert_eq!(perm(&broker, "TBW102").await, Some(7.into()));
        assert_eq!(broker.send("A", &[], json!({})).await.code, 0);
        // A system topic is not for tools to change, but another setting must not touch it either.
        assert_eq!(broker.ask(17, template, b"").await.code, 29);
        change(&broker, |settings| settings.topics.default_queues = 2);
        assert_eq!(broker.send("Two", &[], json!({})).await.code, 0);
        let two = broker.broker.topics.get("Two").unwrap().config().write_queue_nums;
        assert_eq!(two, 2);
    }

    #[tokio::test]
    async fn name_servers_are_told_of_another_permission() {
        let broker = Fixture::new();
        let version = || broker.broker.topics.snapshot().data_version;
        let before = version();
        change(&broker, |settings| settings.sends.trace_on = false);
        assert_eq!(version(), before);
        change(&broker, |settings| settings.sends.permission = Perm::READ);
        assert_ne!(version(), before);
        assert_eq!(broker.broker.permission(), Perm::READ);
    }
}
