// SPDX-License-Identifier: Apache-2.0
//! What consumers ask of brokers.
//!
//! Java: `MQClientAPIImpl`, `PullAPIWrapper`, `RemoteBrokerOffsetStore`, `RebalanceImpl`.

use super::{rebalance::by_broker, subscription::Subscription};
use crate::{CallError, Client, Command, MessageQueue, ReceivedMessage, Reply, RouteError, code, property};
use oxmq_remoting::{bodies, fastjson};
use oxmq_types::{RETRY_GROUP_PREFIX, retry_topic};
use std::{sync::Arc, time::Duration};
use thiserror::Error;

/// How long brokers may take for requests other than pulls. Java uses 1 to 5 s.
const TIMEOUT: Duration = Duration::from_secs(5);
/// So far an answer may lead beyond the end of the queue that it tells.
const AHEAD_MAX: i64 = 65_536;
/// Bits of a pull's flag. Java: `PullSysFlag`.
const FLAG_COMMIT: i32 = 1;
const FLAG_HOLD: i32 = 1 << 1;
const FLAG_SUBSCRIPTION: i32 = 1 << 2;

/// Why a broker did not do what a consumer asked. (What a producer's request ends with is [`crate::RequestError`].)
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RequestError {
    /// No route tells where it is.
    #[error(
        "no address of broker {0} is known: it is not registered, or the topic moved; the route is asked for again"
    )]
    NoBroker(String),
    /// Nobody tells where the topic is.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// No answer.
    #[error("{addr}: {error}")]
    Call {
        /// Who was asked.
        addr: String,
        /// What happened.
        error: CallError,
    },
    /// An answer that says no.
    #[error("{addr} answered with code {code}: {remark}")]
    Refused {
        /// Who was asked.
        addr: String,
        /// Response code, see [`code`].
        code: i32,
        /// The broker's reason.
        remark: String,
    },
    /// An answer that makes no sense.
    #[error("{addr} gave a wrong answer: {reason}")]
    WrongAnswer {
        /// Who was asked.
        addr: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl RequestError {
    /// True if another route could help.
    pub(crate) fn is_about_route(&self) -> bool {
        match self {
            Self::NoBroker(_) | Self::Route(_) | Self::Call { .. } => true,
            Self::Refused { code, .. } => {
                matches!(*code, code::TOPIC_NOT_EXIST | code::NO_PERMISSION | code::SERVICE_NOT_AVAILABLE)
            }
            Self::WrongAnswer { .. } => false,
        }
    }
}

/// A pull.
#[derive(Debug)]
pub(crate) struct Pull<'a> {
    pub(crate) queue: &'a MessageQueue,
    pub(crate) offset: i64,
    pub(crate) count_max: usize,
    pub(crate) bytes_max: usize,
    /// Committed on the way.
    pub(crate) commit: Option<i64>,
    /// How long the broker may hold it if there is nothing.
    pub(crate) hold: Option<Duration>,
    pub(crate) timeout: Duration,
    pub(crate) subscription: &'a Subscription,
    /// True if the filter is sent along, for groups whose heartbeats have none.
    pub(crate) own_filter: bool,
    /// Where to pull from; any if that one is not known.
    pub(crate) broker_id: i64,
}

/// What a pull found. Java: `PullStatus`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullStatus {
    /// Messages.
    Found,
    /// Nothing at the offset yet: it is the end of the queue.
    NothingNew,
    /// Messages, but none that the filter wants: go on at [`next_offset`](super::PullResult::next_offset).
    NoneMatched,
    /// There is nothing at the offset any more, or it is beyond the end, or the group was reset: go on at
    /// [`next_offset`](super::PullResult::next_offset).
    OffsetMoved,
}

/// The answer to a pull.
#[derive(Debug)]
pub(crate) struct Pulled {
    pub(crate) status: PullStatus,
    pub(crate) messages: Vec<ReceivedMessage>,
    /// Where the next pull begins.
    pub(crate) next: i64,
    pub(crate) min: i64,
    pub(crate) max: i64,
    /// Id of the broker that answered.
    pub(crate) from: i64,
    /// Broker id to pull from next.
    pub(crate) suggested: i64,
}

/// Asks brokers for one group.
#[derive(Debug, Clone)]
pub(crate) struct Calls {
    client: Client,
    group: Arc<str>,
    retry_topic: Arc<str>,
}

impl Calls {
    pub(crate) fn new(client: Client, group: &Arc<str>) -> Self {
        Self { client, group: group.clone(), retry_topic: retry_topic(group).into() }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The queues of a topic that can be consumed from.
    pub(crate) async fn queues(&self, topic: &str) -> Result<Vec<MessageQueue>, RequestError> {
        Ok(self.client.route(topic).await?.read_queues().to_vec())
    }

    /// Client ids of the group, as a broker that has `topic` knows them. `None` if none tells.
    pub(crate) async fn members(&self, topic: &str) -> Result<Option<Vec<String>>, RequestError> {
        Ok(self.client.consumer_ids(topic, &self.group).await?)
    }

    /// Address of a broker that has `topic`.
    async fn any_broker(&self, topic: &str) -> Result<Arc<str>, RequestError> {
        let route = self.client.route(topic).await?;
        let addr = route.brokers().values().find_map(|addrs| addrs.values().next().cloned());
        addr.ok_or_else(|| RequestError::NoBroker(format!("of topic {topic}")))
    }

    /// Address and id of the broker `id` that has a queue, or of another of its name.
    async fn broker(&self, queue: &MessageQueue, id: i64) -> Result<(Arc<str>, i64), RequestError> {
        self.find(queue, |client| client.broker_addr(&queue.broker_name, id, false)).await
    }

    /// Id of the broker that a pull of a queue from `id` goes to. `None` if none is known.
    pub(crate) fn pulled_from(&self, queue: &MessageQueue, id: i64) -> Option<i64> {
        self.client.broker_addr(&queue.broker_name, id, false).map(|(_, id)| id)
    }

    async fn master(&self, queue: &MessageQueue) -> Result<Arc<str>, RequestError> {
        self.find(queue, |client| client.master_addr(&queue.broker_name)).await
    }

    /// Address and id of the master that has a queue, else of a slave: for what a slave can tell as well.
    async fn master_or_slave(&self, queue: &MessageQueue) -> Result<(Arc<str>, i64), RequestError> {
        self.broker(queue, 0).await
    }

    /// What the routes tell, asked for anew if they tell nothing.
    async fn find<T>(
        &self,
        queue: &MessageQueue,
        find: impl Fn(&Client) -> Option<T>,
    ) -> Result<T, RequestError> {
        if let Some(found) = find(&self.client) {
            return Ok(found);
        }
        self.client.refresh_route(&queue.topic).await?;
        find(&self.client).ok_or_else(|| RequestError::NoBroker(queue.broker_name.to_string()))
    }

    /// The group's committed offset. `None` if it has none. If the master is gone, its slave tells what it had heard: at
    /// most some messages come twice.
    pub(crate) async fn committed(&self, queue: &MessageQueue) -> Result<Option<i64>, RequestError> {
        let (addr, id) = self.master_or_slave(queue).await?;
        let command =
            self.queue(code::request::QUERY_CONSUMER_OFFSET, queue).with("consumerGroup", self.group.clone());
        match self.ask(&addr, command, TIMEOUT).await {
            Ok(reply) => number(&addr, &reply, "offset").map(Some),
            // A slave may not have heard of the group: one that began at the end then would pass messages over.
            Err(RequestError::Refused { code: code::QUERY_NOT_FOUND, .. }) if id == 0 => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Commits an offset and waits until the broker says that it has it: the master, or as long as it is gone, a slave.
    pub(crate) async fn commit(&self, queue: &MessageQueue, offset: i64) -> Result<(), RequestError> {
        let (addr, _) = self.master_or_slave(queue).await?;
        let command = self
            .queue(code::request::UPDATE_CONSUMER_OFFSET, queue)
            .with("consumerGroup", self.group.clone())
            .with("commitOffset", offset);
        self.ask(&addr, command, TIMEOUT).await.map(drop)
    }

    /// The offset behind the last message.
    pub(crate) async fn max_offset(&self, queue: &MessageQueue) -> Result<i64, RequestError> {
        self.offset(queue, self.queue(code::request::GET_MAX_OFFSET, queue)).await
    }

    /// The offset of the first message that is still there.
    pub(crate) async fn min_offset(&self, queue: &MessageQueue) -> Result<i64, RequestError> {
        self.offset(queue, self.queue(code::request::GET_MIN_OFFSET, queue)).await
    }

    /// The offset of the first message stored at or after a time in ms since 1970.
    pub(crate) async fn search_offset(&self, queue: &MessageQueue, ms: i64) -> Result<i64, RequestError> {
        let command = self.queue(code::request::SEARCH_OFFSET_BY_TIMESTAMP, queue).with("timestamp", ms);
        self.offset(queue, command).await
    }

    /// Locks queues of one broker. Gives those that are ours now.
    pub(crate) async fn lock(
        &self,
        broker_name: &str,
        queues: &[MessageQueue],
    ) -> Result<Vec<MessageQueue>, RequestError> {
        let reply = self.ask_about(code::request::LOCK_BATCH_MQ, broker_name, queues).await?;
        let locked: bodies::LockedBatch = json(broker_name, &reply)?;
        let own =
            |queue: bodies::MessageQueue| MessageQueue::new(queue.topic, queue.broker_name, queue.queue_id);
        Ok(locked.locked.into_iter().map(own).collect())
    }

    /// Unlocks queues of all brokers.
    pub(crate) async fn unlock(&self, queues: Vec<MessageQueue>) -> Result<(), RequestError> {
        for (broker_name, queues) in by_broker(queues) {
            self.ask_about(code::request::UNLOCK_BATCH_MQ, &broker_name, &queues).await?;
        }
        Ok(())
    }

    /// Gives a message back to its broker, which brings it again after the time of `level`. If that broker cannot take it,
    /// another one brings it.
    pub(crate) async fn send_back(
        &self,
        queue: &MessageQueue,
        message: &ReceivedMessage,
        level: i32,
        max_reconsume_times: i32,
    ) -> Result<(), RequestError> {
        let error = match self.master(queue).await {
            Ok(addr) => {
                let command = Command::new(code::request::CONSUMER_SEND_MSG_BACK)
                    .with("bname", queue.broker_name.clone())
                    .with("delayLevel", level)
                    .with("group", self.group.clone())
                    .with("maxReconsumeTimes", max_reconsume_times)
                    .with("offset", message.physical_offset())
                    .with("originMsgId", message.msg_id())
                    .with("originTopic", message.topic().to_owned())
                    .with("unitMode", false);
                match self.ask(&addr, command, TIMEOUT).await {
                    Ok(_) => return Ok(()),
                    Err(error) => error,
                }
            }
            Err(error) => error,
        };
        tracing::warn!(group = &*self.group, %queue, %error, "a message could not be given back to its broker; it is sent anew");
        self.send_as_new(message, max_reconsume_times).await.map_err(|_| error)
    }

    /// Sends a message to the group's retry topic as a new one with one reconsume more; with more than
    /// `max_reconsume_times` the broker makes it a dead letter. Java: `#sendMessageBackAsNormalMessage`.
    pub(crate) async fn send_as_new(
        &self,
        message: &ReceivedMessage,
        max_reconsume_times: i32,
    ) -> Result<(), RequestError> {
        let times = message.reconsume_times().saturating_add(1);
        let mut properties = message.raw_properties().to_vec();
        let mut set = |name: &str, value: &str| {
            oxmq_record::properties::remove(&mut properties, name);
            if !value.is_empty() {
                oxmq_record::properties::append(&mut properties, name, value.as_bytes());
            }
        };
        if message.get(property::ORIGIN_MESSAGE_ID).is_none() {
            set(property::ORIGIN_MESSAGE_ID, &message.msg_id());
        }
        set(property::RETRY_TOPIC, message.topic());
        // Both go into the header.
        set(property::RECONSUME_TIME, "");
        set(property::MAX_RECONSUME_TIMES, "");
        set(property::TRANSACTION_PREPARED, "");
        set(property::DELAY, &(3_i32.saturating_add(message.reconsume_times())).min(18).to_string());
        let command = Command::new(code::request::SEND_MESSAGE)
            .with("producerGroup", "CLIENT_INNER_PRODUCER")
            .with("topic", self.retry_topic.clone())
            .with("defaultTopic", "TBW102")
            .with("defaultTopicQueueNums", 4)
            .with("queueId", 0)
            // The body is no longer compressed.
            .with("sysFlag", 0)
            .with("bornTimestamp", super::held::now_ms())
            .with("flag", message.flag())
            .with("properties", String::from_utf8_lossy(&properties).into_owned())
            .with("reconsumeTimes", times)
            .with("unitMode", false)
            .with("maxReconsumeTimes", max_reconsume_times)
            .with("batch", false)
            .with_body(message.body().clone());
        // Any broker will do; not first the one that has the message: that one may just have refused it.
        let route = self.client.route(message.topic()).await?;
        let masters = route.brokers().iter().filter_map(|(name, addrs)| Some((name, addrs.get(&0)?)));
        let (own, mut addrs): (Vec<_>, Vec<_>) =
            masters.partition(|(name, _)| ***name == *message.broker_name());
        addrs.extend(own);
        let mut failed = RequestError::NoBroker(format!("of topic {}", message.topic()));
        for (_, addr) in addrs.into_iter().take(3) {
            match self.ask(addr, command.clone(), TIMEOUT).await {
                Ok(_) => return Ok(()),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// Pulls.
    pub(crate) async fn pull(&self, pull: &Pull<'_>) -> Result<Pulled, RequestError> {
        let (addr, id) = self.broker(pull.queue, pull.broker_id).await?;
        let mut flags = 0;
        if pull.commit.is_some() && id == 0 {
            flags |= FLAG_COMMIT;
        }
        if pull.hold.is_some() {
            flags |= FLAG_HOLD;
        }
        let data = &pull.subscription.data;
        let mut command = self
            .queue(code::request::PULL_MESSAGE, pull.queue)
            .with("consumerGroup", self.group.clone())
            .with("queueOffset", pull.offset)
            .with("maxMsgNums", pull.count_max as u64)
            .with("maxMsgBytes", pull.bytes_max as u64)
            .with("commitOffset", pull.commit.unwrap_or(0))
            .with("suspendTimeoutMillis", pull.hold.map_or(0, |time| time.as_millis() as i64))
            .with("subVersion", data.sub_version)
            .with("expressionType", data.expression_type.clone());
        if pull.own_filter {
            flags |= FLAG_SUBSCRIPTION;
            command = command.with("subscription", data.sub_string.clone());
        }
        let command = command.with("sysFlag", flags);
        let reply = self.client.remote().call(&addr, command, pull.timeout).await;
        let reply = reply.map_err(|error| RequestError::Call { addr: addr.to_string(), error })?;
        let status = match reply.code {
            code::SUCCESS => PullStatus::Found,
            code::PULL_NOT_FOUND => PullStatus::NothingNew,
            code::PULL_RETRY_IMMEDIATELY => PullStatus::NoneMatched,
            code::PULL_OFFSET_MOVED => PullStatus::OffsetMoved,
            _ => return Err(refused(addr.to_string(), reply)),
        };
        let pulled = Pulled {
            status,
            next: number(&addr, &reply, "nextBeginOffset")?,
            min: number(&addr, &reply, "minOffset")?,
            max: number(&addr, &reply, "maxOffset")?,
            from: id,
            suggested: number(&addr, &reply, "suggestWhichBrokerId").unwrap_or(0),
            messages: Vec::new(),
        };
        self.checked(&addr, pull, pulled, &reply)
    }

    /// Believes nothing that would pass messages over.
    fn checked(
        &self,
        addr: &str,
        pull: &Pull<'_>,
        mut pulled: Pulled,
        reply: &Reply,
    ) -> Result<Pulled, RequestError> {
        let wrong = |reason: String| RequestError::WrongAnswer { addr: addr.to_owned(), reason };
        let Pulled { status, next, min, max, .. } = pulled;
        // A broker may find messages that came after it looked where the queue ends.
        let most = max.max(pull.offset).saturating_add(AHEAD_MAX);
        if next < 0 || (status != PullStatus::OffsetMoved && next > most) {
            return Err(wrong(format!("the next offset {next} of a queue that ends at {max}")));
        }
        if status != PullStatus::Found {
            return Ok(pulled);
        }
        let messages = ReceivedMessage::decode_pulled(&reply.body, &pull.queue.broker_name, min..max);
        let messages = messages.map_err(|error| wrong(error.to_string()))?;
        if let Some(message) = messages.iter().find(|message| message.topic() != &*pull.queue.topic) {
            return Err(wrong(format!("a message of topic {} in queue {}", message.topic(), pull.queue)));
        }
        pulled.messages = messages
            .into_iter()
            .filter(|message| pull.subscription.wants(|| message.tag()))
            .map(|message| self.restored(message, pull.queue))
            .collect();
        Ok(pulled)
    }

    /// A message that comes again gets back the topic to which it was sent at first. Java: `#resetRetryAndNamespace`.
    pub(crate) fn restored(&self, mut message: ReceivedMessage, queue: &MessageQueue) -> ReceivedMessage {
        message.queue_id = queue.queue_id;
        if message.topic.starts_with(RETRY_GROUP_PREFIX)
            && message.topic == self.retry_topic
            && let Some(topic) = message.get(property::RETRY_TOPIC).map(|topic| Arc::from(&*topic))
        {
            message.topic = topic;
        }
        message
    }

    /// Asks a broker whether it can filter so. Java: `checkClientInBroker`.
    pub(crate) async fn check_filter(&self, subscription: &Subscription) -> Result<(), RequestError> {
        let data = &subscription.data;
        let addr = self.any_broker(&data.topic).await?;
        let body = serde_json::json!({
            "clientId": self.client.client_id(),
            "group": &*self.group,
            "subscriptionData": data,
        });
        let command =
            Command::new(code::request::CHECK_CLIENT_CONFIG).with_body(body.to_string().into_bytes());
        self.ask(&addr, command, TIMEOUT).await.map(drop)
    }

    /// Tells all brokers of us now.
    pub(crate) async fn heartbeat(&self) {
        self.client.beat().await;
    }

    /// Asks the name servers for a topic anew.
    pub(crate) async fn refresh(&self, topic: &str) {
        if let Err(error) = self.client.refresh_route(topic).await {
            tracing::debug!(group = &*self.group, topic, %error, "no route yet");
        }
    }

    fn queue(&self, request: i32, queue: &MessageQueue) -> Command {
        Command::new(request)
            .with("bname", queue.broker_name.clone())
            .with("queueId", queue.queue_id)
            .with("topic", queue.topic.clone())
    }

    async fn offset(&self, queue: &MessageQueue, command: Command) -> Result<i64, RequestError> {
        // A slave's queue may end earlier: who begins there repeats some.
        let (addr, _) = self.master_or_slave(queue).await?;
        let reply = self.ask(&addr, command, TIMEOUT).await?;
        number(&addr, &reply, "offset")
    }

    async fn ask_about(
        &self,
        request: i32,
        broker_name: &str,
        queues: &[MessageQueue],
    ) -> Result<Reply, RequestError> {
        let Some(first) = queues.first() else { return Err(RequestError::NoBroker(broker_name.to_owned())) };
        let addr = self.master(first).await?;
        let queue = |queue: &MessageQueue| bodies::MessageQueue {
            broker_name: queue.broker_name.to_string(),
            queue_id: queue.queue_id,
            topic: queue.topic.to_string(),
        };
        let queues = queues.iter().map(queue).collect();
        let body = serde_json::json!(bodies::LockBatch::new(&self.group, self.client.client_id(), queues));
        self.ask(&addr, Command::new(request).with_body(body.to_string().into_bytes()), TIMEOUT).await
    }

    /// An answer that is no refusal.
    async fn ask(&self, addr: &str, command: Command, timeout: Duration) -> Result<Reply, RequestError> {
        let reply = self.client.remote().call(addr, command, timeout).await;
        let reply = reply.map_err(|error| RequestError::Call { addr: addr.to_owned(), error })?;
        if reply.code == code::SUCCESS { Ok(reply) } else { Err(refused(addr.to_owned(), reply)) }
    }
}

fn refused(addr: String, reply: Reply) -> RequestError {
    RequestError::Refused { addr, code: reply.code, remark: reply.remark.unwrap_or_default() }
}

fn number(addr: &str, reply: &Reply, field: &str) -> Result<i64, RequestError> {
    let value = reply.field(field);
    value.and_then(|value| value.parse().ok()).ok_or_else(|| RequestError::WrongAnswer {
        addr: addr.to_owned(),
        reason: format!("{field} is {}", value.unwrap_or("missing")),
    })
}

fn json<T: serde::de::DeserializeOwned>(addr: &str, reply: &Reply) -> Result<T, RequestError> {
    fastjson::from_slice(&reply.body)
        .map_err(|error| RequestError::WrongAnswer { addr: addr.to_owned(), reason: error.to_string() })
}
