// SPDX-License-Identifier: Apache-2.0
//! What the doctor looks at. Nothing here fails because one server does: that is a fact, too.

use crate::{
    Admin, AdminError, Runtime,
    cli::{CommandError, Context},
    format::now_ms,
};
use futures_util::{StreamExt, future::join_all, stream};
use oxmq_remoting::bodies::{
    ClusterInfo, ConsumerConnection, ConsumerRunningInfo, TopicRouteData, TopicStatsTable,
};
use std::collections::{BTreeMap, BTreeSet};

/// How many topics, groups or clients are asked for at the same time.
const AT_ONCE: usize = 16;
/// Most clients of a group that are asked for their inside: each asks through a broker, and takes a while.
const CLIENTS_OF_GROUP_MAX: usize = 50;

/// All that is known of a cluster.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// Each name server, and the brokers that it knows or why it does not say so.
    pub(super) name_servers: Vec<(String, Result<ClusterInfo, String>)>,
    /// Each advertised address.
    pub(super) brokers: Vec<BrokerFacts>,
    /// Topics of applications.
    pub(super) topics: Vec<TopicFacts>,
    /// Groups of applications.
    pub(super) groups: Vec<GroupFacts>,
}

#[derive(Debug)]
pub(super) struct BrokerFacts {
    pub(super) cluster: String,
    pub(super) name: String,
    pub(super) id: i64,
    pub(super) addr: String,
    /// What it says of itself, or why it does not.
    pub(super) runtime: Result<Runtime, String>,
    /// When it was asked, in ms since 1970 by the clock here.
    pub(super) asked_ms: i64,
    /// When it had answered.
    pub(super) answered_ms: i64,
}

#[derive(Debug, Default)]
pub(super) struct TopicFacts {
    pub(super) name: String,
    pub(super) route: TopicRouteData,
    /// Messages in it, for dead letters; `None` if it was not looked at.
    pub(super) messages: Option<i64>,
}

#[derive(Debug, Default)]
pub(super) struct GroupFacts {
    pub(super) name: String,
    /// Its members, as each broker knows them.
    pub(super) members: Vec<(String, ConsumerConnection)>,
    /// Messages that it has not consumed, by topic. `None` if it has no offsets.
    pub(super) lag: Option<BTreeMap<String, i64>>,
    /// What each member says of itself, or why it does not.
    pub(super) running: Vec<(String, Result<ConsumerRunningInfo, String>)>,
}

impl GroupFacts {
    /// The ids of its members.
    pub(super) fn clients(&self) -> BTreeSet<&str> {
        let connections = self.members.iter().flat_map(|(_, members)| &members.connection_set);
        connections.map(|connection| connection.client_id.as_str()).collect()
    }
}

/// Asks for everything. `inside`: also consumers for what they subscribe to.
///
/// # Errors
/// If no name server answers at all.
pub(super) async fn gather(context: &mut Context<'_>, inside: bool) -> Result<Facts, CommandError> {
    let admin = context.admin.clone();
    let mut facts = Facts { name_servers: name_servers(&admin).await?, ..Facts::default() };
    if facts.name_servers.iter().all(|(_, info)| info.is_err()) {
        // Who has no map has nothing to look at; the reasons are in the error.
        admin.cluster_info().await?;
    }
    facts.brokers = brokers(&admin, &facts.name_servers).await;
    let masters: BTreeSet<String> = facts
        .brokers
        .iter()
        .filter(|broker| broker.id == 0 && broker.runtime.is_ok())
        .map(|broker| broker.addr.clone())
        .collect();
    let of_system: BTreeSet<String> = facts
        .brokers
        .iter()
        .flat_map(|broker| {
            let BrokerFacts { cluster, name, .. } = broker;
            [name.clone(), cluster.clone(), format!("{cluster}_REPLY_TOPIC")]
        })
        .collect();
    facts.topics = topics(context, &admin, &of_system).await;
    facts.groups = groups(&admin, &masters, &facts.topics, inside).await;
    Ok(facts)
}

async fn name_servers(admin: &Admin) -> Result<Vec<(String, Result<ClusterInfo, String>)>, AdminError> {
    let asked = admin.name_servers()?.iter().map(|addr| async move {
        let one = admin.with_name_servers(vec![addr.clone()]);
        (addr.clone(), one.cluster_info().await.map_err(|error| error.to_string()))
    });
    Ok(join_all(asked).await)
}

async fn brokers(admin: &Admin, name_servers: &[(String, Result<ClusterInfo, String>)]) -> Vec<BrokerFacts> {
    let mut addrs = BTreeSet::new();
    for info in name_servers.iter().filter_map(|(_, info)| info.as_ref().ok()) {
        for data in info.broker_addr_table.values() {
            for (id, addr) in &data.broker_addrs {
                addrs.insert((data.cluster.clone(), data.broker_name.clone(), *id, addr.clone()));
            }
        }
    }
    let asked = addrs.into_iter().map(|(cluster, name, id, addr)| async move {
        let asked_ms = now_ms();
        let runtime = admin.runtime(&addr).await.map_err(|error| error.to_string());
        BrokerFacts { cluster, name, id, addr, runtime, asked_ms, answered_ms: now_ms() }
    });
    stream::iter(asked).buffered(AT_ONCE).collect().await
}

/// Topics of applications and their dead letters. `of_system`: topics that each broker has for itself.
async fn topics(context: &mut Context<'_>, admin: &Admin, of_system: &BTreeSet<String>) -> Vec<TopicFacts> {
    let names = match admin.topics().await {
        Ok(list) => list.topic_list,
        Err(error) => {
            context.note(&format!("topics were not looked at: {error}"));
            return Vec::new();
        }
    };
    let names: BTreeSet<String> = names
        .into_iter()
        .filter(|name| {
            !oxmq_types::is_system_topic(name)
                && !of_system.contains(name)
                && !name.starts_with(oxmq_types::RETRY_GROUP_PREFIX)
        })
        .collect();
    let asked = names.into_iter().map(|name| async move {
        // A topic that was deleted a moment ago is none.
        let route = admin.route(&name).await.ok()?;
        let dead = name.starts_with(oxmq_types::DLQ_GROUP_PREFIX);
        let messages = if dead { Some(messages(admin, &name, &route).await) } else { None };
        Some(TopicFacts { name, route, messages })
    });
    stream::iter(asked).buffered(AT_ONCE).filter_map(|topic| async { topic }).collect().await
}

async fn messages(admin: &Admin, topic: &str, route: &TopicRouteData) -> i64 {
    let mut sum = 0_i64;
    for addr in route.broker_datas.iter().filter_map(crate::address_of) {
        let stats: TopicStatsTable = admin.topic_stats(addr, topic).await.unwrap_or_default();
        for (_, offsets) in &stats.offset_table.0 {
            sum = sum.saturating_add(offsets.max_offset.saturating_sub(offsets.min_offset).max(0));
        }
    }
    sum
}

async fn groups(
    admin: &Admin,
    masters: &BTreeSet<String>,
    topics: &[TopicFacts],
    inside: bool,
) -> Vec<GroupFacts> {
    let mut names = BTreeSet::new();
    for addr in masters {
        let known = admin.all_groups(addr).await.unwrap_or_default().subscription_group_table;
        names.extend(known.into_keys().filter(|name| !oxmq_types::is_system_group(name)));
    }
    // Groups that consume without settings of their own.
    let consumed = stream::iter(topics).map(|topic| admin.groups_of(&topic.name)).buffered(AT_ONCE);
    let consumed: Vec<_> = consumed.collect().await;
    names.extend(consumed.into_iter().flatten().flatten().filter(|name| !oxmq_types::is_system_group(name)));
    let asked = names.into_iter().map(|name| group(admin, masters, name, inside));
    let groups: Vec<GroupFacts> = stream::iter(asked).buffered(AT_ONCE).collect().await;
    groups.into_iter().filter(|group| !group.members.is_empty() || group.lag.is_some()).collect()
}

async fn group(admin: &Admin, masters: &BTreeSet<String>, name: String, inside: bool) -> GroupFacts {
    let mut facts = GroupFacts { name, ..GroupFacts::default() };
    let mut lag = BTreeMap::new();
    for addr in masters {
        if let Ok(members) = admin.consumers_at(addr, &facts.name).await {
            facts.members.push((addr.clone(), members));
        }
        let stats = admin.consume_stats(addr, &facts.name, None).await.unwrap_or_default();
        for (queue, progress) in stats.offset_table.0 {
            let sum = lag.entry(queue.topic).or_insert(0_i64);
            *sum = sum.saturating_add(progress.diff().max(0));
        }
    }
    facts.lag = (!lag.is_empty()).then_some(lag);
    if inside {
        let clients: Vec<String> =
            facts.clients().into_iter().take(CLIENTS_OF_GROUP_MAX).map(str::to_owned).collect();
        let name = &facts.name;
        let asked = clients.into_iter().map(|client| async move {
            let info = admin.running_info(name, &client, false).await.map_err(|error| error.to_string());
            (client, info)
        });
        facts.running = join_all(asked).await;
    }
    facts
}
