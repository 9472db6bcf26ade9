// SPDX-License-Identifier: Apache-2.0
//! What cases have at hand.

use anyhow::{Context, Result, bail, ensure};
use oxmq_client::{
    Client, ClientOptions, Command, MessageQueue, ReceivedMessage,
    code::{self, request},
};
use std::{
    collections::HashSet,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

/// What a case needs of the servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    Any,
    /// A broker of version 5, or OxMQ.
    Five,
    /// Access control or TLS: what they refuse is tried.
    Keys,
    Tls,
    /// A master and its slave.
    Slave,
    /// A slave whose master was killed.
    SlaveAlone,
}

/// The servers, and how they are asked.
#[derive(Debug, Clone)]
pub(crate) struct Servers {
    pub(crate) options: ClientOptions,
    pub(crate) version: String,
    pub(crate) access_key: Option<String>,
    pub(crate) certificates: Option<PathBuf>,
    pub(crate) slave: Option<String>,
}

impl Servers {
    pub(crate) fn new(name_server: String) -> Self {
        Self {
            options: ClientOptions::new(name_server),
            version: "oxmq".into(),
            access_key: None,
            certificates: None,
            slave: None,
        }
    }

    pub(crate) fn meet(&self, need: Need) -> bool {
        match need {
            Need::Slave => self.slave.as_deref() == Some("alive"),
            Need::SlaveAlone => self.slave.as_deref() == Some("alone"),
            _ if self.slave.is_some() => false,
            Need::Any => true,
            Need::Five => !self.version.starts_with('4'),
            Need::Keys => self.access_key.is_some(),
            Need::Tls => self.certificates.is_some(),
        }
    }
}

/// The servers, and a name that belongs to the case.
#[derive(Clone)]
pub(crate) struct Env {
    pub(crate) servers: Servers,
    /// A topic of its own, not made yet.
    pub(crate) topic: String,
}

impl Env {
    pub(crate) fn new(servers: &Servers, case: &str) -> Self {
        let topic = format!("{}_{}", case.replace([' ', '.'], "_"), std::process::id());
        Self { servers: servers.clone(), topic }
    }

    pub(crate) fn options(&self) -> ClientOptions {
        self.servers.options.clone()
    }

    pub(crate) fn client(&self) -> Result<Client> {
        Ok(Client::new(self.options())?)
    }

    /// A group of this case.
    pub(crate) fn group(&self) -> String {
        format!("g_{}", self.topic)
    }

    /// Makes the topic on all brokers, with `queues` queues on each, and waits until the name server tells it. Gives the number
    /// of its queues.
    pub(crate) async fn create_topic(&self, client: &Client, queues: u32) -> Result<usize> {
        self.create(client, &self.topic, queues, 6).await
    }

    pub(crate) async fn create(&self, client: &Client, topic: &str, queues: u32, perm: u32) -> Result<usize> {
        let inherited = client.route("TBW102").await?;
        let masters: Vec<Arc<str>> =
            inherited.brokers().values().filter_map(|addrs| addrs.get(&0).cloned()).collect();
        for addr in &masters {
            let command = Command::new(request::UPDATE_AND_CREATE_TOPIC)
                .with("topic", topic.to_owned())
                .with("defaultTopic", "TBW102")
                .with("readQueueNums", queues)
                .with("writeQueueNums", queues)
                .with("perm", perm)
                .with("topicFilterType", "SINGLE_TAG")
                .with("topicSysFlag", 0)
                .with("order", false);
            let reply = client.call(addr, command).await?;
            ensure!(reply.code == code::SUCCESS, "topic not created: {:?}", reply.remark);
        }
        wait_for("the route of the topic", Duration::from_secs(30), || async {
            match client.refresh_route(topic).await {
                Ok(route) => {
                    Ok((route.brokers().len() == masters.len()).then_some(queues as usize * masters.len()))
                }
                Err(_) => Ok(None),
            }
        })
        .await
    }

    /// All messages of a queue from `offset` on, by plain pulls.
    pub(crate) async fn pull(
        &self,
        client: &Client,
        queue: &MessageQueue,
        offset: i64,
    ) -> Result<Vec<ReceivedMessage>> {
        let addr = client.master_addr(&queue.broker_name).context("the broker is not known")?;
        let (mut next, mut all) = (offset, Vec::new());
        loop {
            let command = Command::new(request::PULL_MESSAGE)
                .with("consumerGroup", "suite_pull")
                .with("topic", queue.topic.clone())
                .with("queueId", queue.queue_id)
                .with("queueOffset", next)
                .with("maxMsgNums", 32)
                .with("sysFlag", 4)
                .with("commitOffset", 0)
                .with("suspendTimeoutMillis", 0)
                .with("subscription", "*")
                .with("subVersion", 0)
                .with("expressionType", "TAG");
            let reply = client.call(&addr, command).await?;
            match reply.code {
                code::SUCCESS => {
                    let messages = ReceivedMessage::decode_all(&reply.body, &queue.broker_name)?;
                    ensure!(!messages.is_empty(), "an answer without messages");
                    all.extend(messages);
                    next = reply.field("nextBeginOffset").context("no next offset")?.parse()?;
                }
                code::PULL_NOT_FOUND | code::PULL_RETRY_IMMEDIATELY | code::PULL_OFFSET_MOVED => {
                    return Ok(all);
                }
                code => bail!("pull of {queue} at {next}: code {code}, {:?}", reply.remark),
            }
        }
    }

    /// All messages of the topic.
    pub(crate) async fn pull_all(&self, client: &Client, topic: &str) -> Result<Vec<ReceivedMessage>> {
        let route = client.refresh_route(topic).await?;
        let mut all = Vec::new();
        for queue in route.read_queues() {
            all.extend(self.pull(client, queue, 0).await?);
        }
        Ok(all)
    }

    /// Waits until the topic has `count` messages, and gives them.
    pub(crate) async fn pull_until(
        &self,
        client: &Client,
        topic: &str,
        count: usize,
    ) -> Result<Vec<ReceivedMessage>> {
        let what = format!("{count} messages in {topic}");
        wait_for(&what, Duration::from_secs(60), || async {
            let all = self.pull_all(client, topic).await?;
            Ok((all.len() >= count).then_some(all))
        })
        .await
    }

    /// The messages of a topic that have this key, from the index of its brokers: also of topics that cannot be read.
    pub(crate) async fn by_key(
        &self,
        client: &Client,
        topic: &str,
        key: &str,
    ) -> Result<Vec<ReceivedMessage>> {
        let Ok(route) = client.refresh_route(topic).await else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for (name, addrs) in route.brokers() {
            let Some(master) = addrs.get(&0) else { continue };
            let command = Command::new(request::QUERY_MESSAGE)
                .with("topic", topic.to_owned())
                .with("key", key.to_owned())
                .with("maxNum", 32)
                .with("beginTimestamp", 0)
                .with("endTimestamp", i64::MAX);
            let reply = client.call(master, command).await?;
            if reply.code == code::SUCCESS {
                found.extend(ReceivedMessage::decode_all(&reply.body, name)?);
            }
        }
        Ok(found)
    }

    /// A plain pull needs a subscription group on brokers that do not create groups.
    pub(crate) async fn message_at(&self, client: &Client, offset_msg_id: &str) -> Result<ReceivedMessage> {
        let id: oxmq_record::MessageId = offset_msg_id.parse()?;
        let command = Command::new(request::VIEW_MESSAGE_BY_ID).with("offset", id.physical_offset.0);
        let reply = client.call(&id.store_host.to_string(), command).await?;
        ensure!(reply.code == code::SUCCESS, "{offset_msg_id}: {:?}", reply.remark);
        let mut messages = ReceivedMessage::decode_all(&reply.body, &Arc::from(""))?;
        messages.pop().context("no message")
    }
}

/// Asks until there is an answer.
pub(crate) async fn wait_for<T, F>(what: &str, limit: Duration, mut ask: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<Option<T>>>,
{
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask().await? {
            return Ok(answer);
        }
        ensure!(begun.elapsed() < limit, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// True if all are different.
pub(crate) fn all_differ<T: std::hash::Hash + Eq>(all: impl IntoIterator<Item = T>) -> bool {
    let mut seen = HashSet::new();
    all.into_iter().all(|one| seen.insert(one))
}
