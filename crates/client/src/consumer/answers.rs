// SPDX-License-Identifier: Apache-2.0
//! What brokers and tools ask of a consumer, answered as Java's client does.
//!
//! Java: `ClientRemotingProcessor`, `DefaultMQPushConsumerImpl#consumerRunningInfo`, `MQClientInstance#resetOffset`.

use super::{
    handler::{Batch, Ended, run},
    held::{Held, now_ms},
    local_offsets::parse_table,
    process_queue::Span,
    shared::Shared,
};
use crate::{
    Answer, Command, MessageQueue, ReceivedMessage, Request, Route,
    code::{self, request},
    instance::{Member, Presence},
};
use bytes::Bytes;
use oxmq_remoting::{
    bodies::{
        self, ConsumeMessageDirectlyResult, ConsumerRunningInfo, GetConsumerStatusBody, ProcessQueueInfo,
        property as running_property,
    },
    fastjson,
};
use serde::Serialize;
use std::{
    collections::BTreeSet,
    sync::{Arc, Weak, atomic::Ordering},
    time::Instant,
};
use tracing::{info, warn};

/// A consumer as its client knows it. Whoever owns the consumer owns this, so that heartbeats tell of it as long as it is
/// there, whatever its tasks do.
pub(crate) struct Answers {
    group: Arc<str>,
    shared: Weak<Shared>,
}

impl Answers {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        Self { group: shared.group().into(), shared: Arc::downgrade(shared) }
    }
}

impl Member for Answers {
    fn group(&self) -> &Arc<str> {
        &self.group
    }

    fn presence(&self) -> Presence {
        let gone =
            || bodies::ConsumerData { group_name: self.group.to_string(), ..bodies::ConsumerData::default() };
        Presence::Consumer(self.shared.upgrade().map_or_else(gone, |shared| shared.consumer_data()))
    }

    fn topics(&self) -> BTreeSet<Arc<str>> {
        let topics =
            |shared: Arc<Shared>| shared.subscriptions().keys().map(|topic| topic.as_str().into()).collect();
        self.shared.upgrade().map(topics).unwrap_or_default()
    }

    fn route_changed(&self, route: &Arc<Route>) {
        if let Some(shared) = self.shared.upgrade()
            && shared.subscriptions().contains_key(&**route.topic())
        {
            shared.rebalance.notify_one();
        }
    }

    fn handle(self: Arc<Self>, request: Request<'_>) -> Answer {
        let Some(shared) = self.shared.upgrade() else {
            let remark = format!("The Consumer Group <{}> not exist in this consumer", self.group);
            return Command::failure(code::SYSTEM_ERROR, remark).into();
        };
        let field = |name| {
            let found = request.header.fields.iter().find(|(found, _)| *found == name);
            found.map(|(_, value)| value.to_cow().into_owned()).unwrap_or_default()
        };
        match request.header.code {
            request::NOTIFY_CONSUMER_IDS_CHANGED => {
                shared.rebalance.notify_one();
                Command::success().into()
            }
            request::RESET_CONSUMER_CLIENT_OFFSET => {
                let (topic, body) = (field("topic"), request.body.to_vec());
                Answer::later(async move {
                    shared.reset(&topic, &body).await;
                    Command::success()
                })
            }
            request::GET_CONSUMER_STATUS_FROM_CLIENT => shared.status(&field("topic")).into(),
            request::GET_CONSUMER_RUNNING_INFO => shared.running_info().into(),
            request::CONSUME_MESSAGE_DIRECTLY => {
                let (broker_name, body) = (field("brokerName"), Bytes::copy_from_slice(request.body));
                Answer::later(async move { shared.consume_directly(&broker_name, &body).await })
            }
            other => Answer::unsupported(other),
        }
    }
}

impl Shared {
    /// What heartbeats tell of the group.
    pub(crate) fn consumer_data(&self) -> bodies::ConsumerData {
        bodies::ConsumerData {
            group_name: self.group().to_owned(),
            consume_type: self.consume_type().into(),
            message_model: self.options.model.name().into(),
            consume_from_where: self.options.from.name().into(),
            subscription_data_set: self.subscriptions().values().map(|one| one.data.clone()).collect(),
            unit_mode: false,
        }
    }

    fn consume_type(&self) -> &'static str {
        if self.is_polled() { "CONSUME_ACTIVELY" } else { "CONSUME_PASSIVELY" }
    }

    /// RESET_CONSUMER_CLIENT_OFFSET (220): queues of `topic` go on elsewhere. What handlers do with messages of before does
    /// not count.
    pub(crate) async fn reset(&self, topic: &str, body: &[u8]) {
        let offsets = match parse_table(body) {
            Ok(offsets) => offsets,
            Err(reason) => return warn!(group = self.group(), topic, reason, "a reset cannot be understood"),
        };
        let mut moved = Vec::new();
        for held in self.held() {
            if let Some(&offset) = offsets.get(&held.queue)
                && *held.queue.topic == *topic
                && offset >= 0
            {
                held.move_to(offset);
                moved.push(held);
            }
        }
        info!(group = self.group(), topic, queues = moved.len(), "offsets were reset");
        self.persist(&moved).await;
    }

    /// GET_CONSUMER_STATUS_FROM_CLIENT (221): how far we are. Java: `GetConsumerStatusBody`.
    pub(crate) fn status(&self, topic: &str) -> Command {
        let all = topic.trim().is_empty();
        let held = self.held();
        let of_topic = held.iter().filter(|held| all || *held.queue.topic == *topic);
        let message_queue_table =
            of_topic.map(|held| (wire(&held.queue), held.state().commit_offset())).collect();
        answer(&GetConsumerStatusBody { message_queue_table, ..GetConsumerStatusBody::default() })
    }

    /// GET_CONSUMER_RUNNING_INFO (307).
    pub(crate) fn running_info(&self) -> Command {
        let options = &self.options;
        let (property, minutes) =
            (running_property::CONSUMER_START_TIMESTAMP, options.consume_timeout.as_secs() / 60);
        let properties: [(&str, String); 20] = [
            (running_property::CLIENT_VERSION, oxmq_remoting::version_name().to_owned()),
            (running_property::CONSUME_ORDERLY, self.orderly.to_string()),
            (property, self.started_ms.to_string()),
            (running_property::CONSUME_TYPE, self.consume_type().to_owned()),
            (running_property::NAMESRV_ADDR, self.calls.client().options().name_servers.clone()),
            (running_property::THREADPOOL_CORE_SIZE, options.concurrency.to_string()),
            ("consumeConcurrentlyMaxSpan", options.queue_span_max.to_string()),
            ("consumeFromWhere", options.from.name().to_owned()),
            ("consumeMessageBatchMaxSize", options.batch_max.to_string()),
            ("consumeThreadMax", options.concurrency.to_string()),
            ("consumeThreadMin", options.concurrency.to_string()),
            ("consumeTimeout", minutes.to_string()),
            ("consumerGroup", self.group().to_owned()),
            ("maxReconsumeTimes", options.max_reconsume_times.to_string()),
            ("messageModel", options.model.name().to_owned()),
            ("pullBatchSize", options.pull_batch_max.to_string()),
            ("pullInterval", options.pull_interval.as_millis().to_string()),
            ("pullThresholdForQueue", options.queue_count_max.to_string()),
            ("pullThresholdSizeForQueue", (options.queue_bytes_max >> 20).to_string()),
            ("suspendCurrentQueueTimeMillis", options.suspension.as_millis().to_string()),
        ];
        let subscription_set: Vec<_> = self.subscriptions().values().map(|one| one.data.clone()).collect();
        let topics = subscription_set.iter().map(|data| &data.topic);
        let info = ConsumerRunningInfo {
            status_table: topics.map(|topic| (topic.clone(), self.stats(topic).status(now_ms()))).collect(),
            mq_table: self.held().iter().map(|held| (wire(&held.queue), self.queue_info(held))).collect(),
            properties: properties.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect(),
            subscription_set,
            ..ConsumerRunningInfo::default()
        };
        answer(&info)
    }

    fn queue_info(&self, held: &Held) -> ProcessQueueInfo {
        let state = held.state();
        let snapshot = state.snapshot();
        let (waiting, given) = (snapshot.waiting, snapshot.given);
        // A concurrent consumer of Java's counts messages with handlers as cached, an orderly one apart.
        let (cached, apart) =
            if self.orderly { (waiting, given) } else { (waiting.with(given), Span::default()) };
        ProcessQueueInfo {
            cached_msg_count: cached.count,
            cached_msg_max_offset: cached.max,
            cached_msg_min_offset: cached.min,
            cached_msg_size_in_mi_b: (snapshot.bytes >> 20) as i64,
            commit_offset: snapshot.commit_offset,
            droped: held.is_released(),
            last_consume_timestamp: state.last_consume_ms,
            last_lock_timestamp: held.locked_at_ms.load(Ordering::Acquire),
            last_pull_timestamp: state.last_pull_ms,
            locked: held.is_locked(),
            transaction_msg_count: apart.count,
            transaction_msg_max_offset: apart.max,
            transaction_msg_min_offset: apart.min,
            try_unlock_times: 0,
        }
    }

    /// CONSUME_MESSAGE_DIRECTLY (309): the handler gets one message that a tool chose; offsets do not change.
    pub(crate) async fn consume_directly(&self, broker_name: &str, body: &Bytes) -> Command {
        let wrong = |reason: String| Command::failure(code::SYSTEM_ERROR, reason);
        let message = match ReceivedMessage::decode_all(body, &broker_name.into()) {
            Ok(mut messages) if messages.len() == 1 => messages.remove(0),
            Ok(messages) => return wrong(format!("{} messages to consume instead of one", messages.len())),
            Err(error) => return wrong(error.to_string()),
        };
        let queue = MessageQueue::new(message.topic.clone(), broker_name, message.queue_id());
        let message = self.calls.restored(message, &queue);
        let batch = Batch::new(Arc::new(queue), [Arc::new(message)]);
        let begin = Instant::now();
        let ended = run(self.handler(), batch, self.options.consume_timeout).await;
        let (result, remark) = match ended {
            Ended::Outcome(outcome) if outcome.consumed(1) == 1 => ("CR_SUCCESS", None),
            Ended::Outcome(_) => ("CR_LATER", None),
            Ended::Panicked(panic) => ("CR_THROW_EXCEPTION", Some(panic)),
            Ended::TimedOut => {
                ("CR_THROW_EXCEPTION", Some("the handler took longer than the consume timeout".into()))
            }
        };
        answer(&ConsumeMessageDirectlyResult {
            auto_commit: true,
            consume_result: Some(result.to_owned()),
            order: self.orderly,
            remark,
            spent_time_mills: begin.elapsed().as_millis() as i64,
        })
    }
}

/// A queue as bodies have it.
fn wire(queue: &MessageQueue) -> bodies::MessageQueue {
    bodies::MessageQueue {
        broker_name: queue.broker_name.to_string(),
        queue_id: queue.queue_id,
        topic: queue.topic.to_string(),
    }
}

fn answer(body: &impl Serialize) -> Command {
    match fastjson::to_vec_with_bare_keys(body) {
        Ok(body) => Command::success().with_body(body),
        Err(error) => Command::failure(code::SYSTEM_ERROR, error.to_string()),
    }
}
