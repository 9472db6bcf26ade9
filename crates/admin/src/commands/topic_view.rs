// SPDX-License-Identifier: Apache-2.0
//! Topics are looked at: `topicList`, `topicRoute`, `topicStatus`, `topicClusterList`, `allocateMQ`.

use super::{Command, run, topic::in_set_order};
use crate::{
    address_of,
    cli::{CommandError, Context, Given, Opt},
    format::{double, front, time},
    java_text::{SLOTS, Table, by_queue, in_table_order, queue_hash},
};
use futures_util::{StreamExt, stream};
use oxmq_remoting::bodies::{ClusterInfo, MessageQueue, TopicOffset, TopicRouteData, TopicStatsTable};
use oxmq_types::java_string_hash;
use serde::Serialize;
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

pub(super) static TOPIC_LIST: Command = Command {
    name: "topicList",
    alias: None,
    description: "Fetch all topic list from name server.",
    options: &[Opt::flag("c", "clusterModel", "clusterModel")],
    run: run!(list),
};

pub(super) static TOPIC_ROUTE: Command = Command {
    name: "topicRoute",
    alias: None,
    description: "Examine topic route info.",
    options: &[
        Opt::value("t", "topic", "topic name").required(),
        Opt::flag("l", "list", "Use list format to print data"),
    ],
    run: run!(route),
};

pub(super) static TOPIC_STATUS: Command = Command {
    name: "topicStatus",
    alias: None,
    description: "Examine topic Status info.",
    options: &[
        Opt::value("t", "topic", "topic name").required(),
        Opt::value("c", "cluster", "cluster name or lmq parent topic, lmq is used to find the route."),
    ],
    run: run!(status),
};

pub(super) static TOPIC_CLUSTER_LIST: Command = Command {
    name: "topicClusterList",
    alias: None,
    description: "Get cluster info for topic.",
    options: &[Opt::value("t", "topic", "topic name").required()],
    run: run!(clusters),
};

pub(super) static ALLOCATE_MQ: Command = Command {
    name: "allocateMQ",
    alias: None,
    description: "Allocate MQ.",
    options: &[
        Opt::value("t", "topic", "topic name").required(),
        Opt::value("i", "ipList", "ipList").required(),
    ],
    run: run!(allocate),
};

/// How many topics are asked for at the same time.
const AT_ONCE: usize = 16;

/// A topic in the list by clusters.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<String>,
    topic: String,
    groups: Vec<String>,
}

async fn list(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    let topics = context.admin.topics().await?.topic_list;
    let topics = in_set_order(topics.into_iter().collect());
    if !given.has("c") {
        return context.show(&topics, |topics| topics.iter().map(|topic| format!("{topic}\n")).collect());
    }
    let info = context.admin.cluster_info().await?;
    let (admin, info) = (&context.admin, &info);
    let plain = topics.into_iter().filter(|topic| !is_of_group(topic));
    let listed: Vec<Listed> = stream::iter(plain)
        .map(|topic| async move {
            // COMPAT(java): what cannot be found out is left empty.
            let cluster = match admin.route(&topic).await {
                Ok(route) => Some(cluster_of(&route, info).unwrap_or_else(|| "null".to_owned())),
                Err(_) => Some(String::new()),
            };
            let groups = admin.groups_of(&topic).await.unwrap_or_default();
            Listed { cluster, topic, groups: in_set_order(groups.into_iter().collect()) }
        })
        .buffered(AT_ONCE)
        .collect()
        .await;
    context.show(&listed, render_list)
}

/// True for topics of a group: those of retries and of dead letters.
pub(super) fn is_of_group(topic: &str) -> bool {
    topic.starts_with(oxmq_types::RETRY_GROUP_PREFIX) || topic.starts_with(oxmq_types::DLQ_GROUP_PREFIX)
}

fn cluster_of(route: &TopicRouteData, info: &ClusterInfo) -> Option<String> {
    let broker = &route.broker_datas.first()?.broker_name;
    let found = info.cluster_addr_table.iter().find(|(_, names)| names.contains(broker));
    found.map(|(cluster, _)| cluster.clone())
}

fn render_list(listed: &Vec<Listed>) -> String {
    let mut text = format!("{:<20}  {:<48}  {:<48}\n", "#Cluster Name", "#Topic", "#Consumer Group");
    for Listed { cluster, topic, groups } in listed {
        let none = [String::new()];
        for group in if groups.is_empty() { &none[..] } else { groups } {
            let cluster = front(cluster.as_deref().unwrap_or("null"), 20);
            let _ = writeln!(text, "{cluster:<20}  {:<64}  {:<64}", front(topic, 64), front(group, 64));
        }
    }
    text
}

async fn route(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    let route = context.admin.route(given.required("t")).await?;
    context.show(&route, if given.has("l") { render_route_list } else { render_route })
}

/// The route as fastjson lays it out: tabs, and numbers bare that are names.
fn render_route(route: &TopicRouteData) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let list = |out: &mut String, name: &str, items: Vec<String>, last: bool| {
        let _ = write!(out, "\t\"{name}\":[");
        for (at, item) in items.iter().enumerate() {
            let _ = write!(out, "{}\n\t\t{{{item}\n\t\t}}", if at == 0 { "" } else { "," });
        }
        let _ =
            writeln!(out, "{}]{}", if items.is_empty() { "" } else { "\n\t" }, if last { "" } else { "," });
    };
    let brokers = route.broker_datas.iter().map(|broker| {
        let addrs: Vec<_> =
            broker.broker_addrs.iter().map(|(id, addr)| format!("{id}:{}", quoted(addr))).collect();
        let end = if addrs.is_empty() { "" } else { "\n\t\t\t" };
        let mut text = format!(
            "\n\t\t\t\"brokerAddrs\":{{{}{end}}},\n\t\t\t\"brokerName\":{},\n\t\t\t\"cluster\":{},\n\t\t\t\"enableActingMaster\":{}",
            addrs.join(","),
            quoted(&broker.broker_name),
            quoted(&broker.cluster),
            broker.enable_acting_master,
        );
        if let Some(zone) = &broker.zone_name {
            let _ = write!(text, ",\n\t\t\t\"zoneName\":{}", quoted(zone));
        }
        text
    });
    let queues = route.queue_datas.iter().map(|data| {
        format!(
            "\n\t\t\t\"brokerName\":{},\n\t\t\t\"perm\":{},\n\t\t\t\"readQueueNums\":{},\n\t\t\t\"topicSysFlag\":{},\n\t\t\t\"writeQueueNums\":{}",
            quoted(&data.broker_name),
            data.perm,
            data.read_queue_nums,
            data.topic_sys_flag,
            data.write_queue_nums,
        )
    });
    let mut out = String::from("{\n");
    list(&mut out, "brokerDatas", brokers.collect(), false);
    let filters: Vec<_> = route
        .filter_server_table
        .iter()
        .map(|(addr, servers)| format!("\n\t\t{}:{}", quoted(addr), json!(servers)))
        .collect();
    let end = if filters.is_empty() { "" } else { "\n\t" };
    let _ = writeln!(out, "\t\"filterServerTable\":{{{}{end}}},", filters.join(","));
    if let Some(conf) = &route.order_topic_conf {
        let _ = writeln!(out, "\t\"orderTopicConf\":{},", quoted(conf));
    }
    list(&mut out, "queueDatas", queues.collect(), true);
    out + "}\n"
}

fn render_route_list(route: &TopicRouteData) -> String {
    fn push(text: &mut String, cells: [String; 6]) {
        let [cluster, broker, addrs, read, write, perm] = cells;
        let _ = writeln!(text, "{cluster:<45} {broker:<32} {addrs:<50} {read:<10} {write:<11} {perm:<5}");
    }
    let mut text = String::new();
    let head = ["#ClusterName", "#BrokerName", "#BrokerAddrs", "#ReadQueue", "#WriteQueue", "#Perm"];
    push(&mut text, head.map(str::to_owned));
    let queues: BTreeMap<_, _> =
        route.queue_datas.iter().map(|data| (data.broker_name.as_str(), data)).collect();
    let mut brokers: Vec<_> = route.broker_datas.iter().collect();
    brokers.sort_by(|one, other| one.broker_name.cmp(&other.broker_name));
    let (mut read, mut write) = (0_u64, 0_u64);
    for broker in brokers {
        let addrs: Vec<_> = broker.broker_addrs.iter().map(|(id, addr)| format!("{id}={addr}")).collect();
        // A broker without queues is not in a route of a name server; a hostile one may say so.
        let (of_read, of_write, perm) = queues
            .get(broker.broker_name.as_str())
            .map_or((0, 0, 0), |data| (data.read_queue_nums, data.write_queue_nums, data.perm));
        read += u64::from(of_read);
        write += u64::from(of_write);
        push(
            &mut text,
            [
                broker.cluster.clone(),
                broker.broker_name.clone(),
                format!("{{{}}}", addrs.join(", ")),
                of_read.to_string(),
                of_write.to_string(),
                perm.to_string(),
            ],
        );
    }
    text += &("-".repeat(158) + "\n");
    let total = ["Total:".to_owned(), queues.len().to_string(), String::new()];
    let [name, count, none] = total;
    push(&mut text, [name, count, none, read.to_string(), write.to_string(), String::new()]);
    text
}

/// Where the queues of a topic begin and end.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    queues: Vec<QueueStatus>,
    topic_put_tps: f64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct QueueStatus {
    #[serde(flatten)]
    queue: MessageQueue,
    #[serde(flatten)]
    offsets: TopicOffset,
}

async fn status(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    let topic = given.required("t");
    // The route of a cluster is that of the topic with its name.
    let route = context.admin.route(given.value("c").unwrap_or(topic)).await?;
    let mut all = TopicStatsTable::default();
    for addr in route.broker_datas.iter().filter_map(address_of) {
        let stats = context.admin.topic_stats(addr, topic).await?;
        all.offset_table.0.extend(stats.offset_table.0);
        // COMPAT(java): its sum stays 0; ours is that of the brokers.
        all.topic_put_tps += stats.topic_put_tps;
    }
    if all.offset_table.0.is_empty() && !given.has("c") {
        return Err(CommandError::failed("Not found the topic stats info: the topic has no queue"));
    }
    let mut queues: Vec<_> =
        all.offset_table.0.into_iter().map(|(queue, offsets)| QueueStatus { queue, offsets }).collect();
    queues.sort_by(|one, other| by_queue(&one.queue, &other.queue));
    context.show(&Status { queues, topic_put_tps: all.topic_put_tps }, render_status)
}

fn render_status(status: &Status) -> String {
    let mut text = format!(
        "{:<32}  {:<4}  {:<20}  {:<20}    {}\n",
        "#Broker Name", "#QID", "#Min Offset", "#Max Offset", "#Last Updated"
    );
    for QueueStatus { queue, offsets } in &status.queues {
        let updated = match offsets.last_update_timestamp {
            ms if ms > 0 => time(ms),
            _ => String::new(),
        };
        let _ = writeln!(
            text,
            "{:<32}  {:<4}  {:<20}  {:<20}    {updated}",
            front(&queue.broker_name, 32),
            queue.queue_id,
            offsets.min_offset,
            offsets.max_offset,
        );
    }
    let _ = writeln!(text, "\nTopic Put TPS: {}", double(status.topic_put_tps));
    text
}

async fn clusters(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    let info = context.admin.cluster_info().await?;
    let route = context.admin.route(given.required("t")).await?;
    // COMPAT(java): Java looks at the first broker alone; a topic may be in several clusters.
    let brokers: BTreeSet<_> = route.broker_datas.iter().map(|broker| &broker.broker_name).collect();
    let found = info
        .cluster_addr_table
        .iter()
        .filter(|(_, names)| names.iter().any(|name| brokers.contains(name)))
        .map(|(cluster, _)| cluster.clone())
        .collect();
    context.show(&in_set_order(found), |found| found.iter().map(|cluster| format!("{cluster}\n")).collect())
}

async fn allocate(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    let topic = given.required("t");
    let mut clients: Vec<String> = given.required("i").split(',').map(str::to_owned).collect();
    // COMPAT(java): blanks at the end of the list are dropped by `String#split`.
    while clients.last().is_some_and(String::is_empty) {
        clients.pop();
    }
    if clients.is_empty() {
        return Err(CommandError::usage("-i wants the clients, with commas between them"));
    }
    let queues = context.admin.readable_queues(topic, topic).await?;
    let queues = queues.into_iter().map(|at| at.queue).collect();
    let queues = in_table_order(Table::Hash, SLOTS, queues, queue_hash);
    let shares: Vec<_> = clients
        .iter()
        .enumerate()
        .map(|(at, client)| (client.clone(), averagely(&queues, at, clients.len())))
        .collect();
    let shares = in_table_order(Table::Hash, SLOTS, shares, |(client, _)| java_string_hash(client));
    let result: serde_json::Map<_, _> =
        shares.into_iter().map(|(client, queues)| (client, json!(queues))).collect();
    // COMPAT(java): JSON in any case, in one line.
    context.print(&(json!({ "result": result }).to_string() + "\n"))
}

/// The share of the client at `at` of `count`. Java: `AllocateMessageQueueAveragely`.
fn averagely(queues: &[MessageQueue], at: usize, count: usize) -> &[MessageQueue] {
    let (each, rest) = (queues.len() / count, queues.len() % count);
    let start = at * each + at.min(rest);
    &queues[start..start + each + usize::from(at < rest)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use oxmq_remoting::bodies::{BrokerData, QueueData};

    fn route() -> TopicRouteData {
        TopicRouteData {
            broker_datas: vec![BrokerData {
                broker_addrs: [(0, "127.0.0.1:1".to_owned()), (1, "127.0.0.1:2".to_owned())].into(),
                broker_name: "broker-a".into(),
                cluster: "DefaultCluster".into(),
                ..BrokerData::default()
            }],
            queue_datas: vec![QueueData {
                broker_name: "broker-a".into(),
                perm: 6,
                read_queue_nums: 4,
                write_queue_nums: 8,
                ..QueueData::default()
            }],
            ..TopicRouteData::default()
        }
    }

    #[test]
    fn a_route_is_laid_out_as_fastjson_does() {
        assert_eq!(
            render_route(&route()),
            "{\n\t\"brokerDatas\":[\n\t\t{\n\t\t\t\"brokerAddrs\":{0:\"127.0.0.1:1\",1:\"127.0.0.1:2\"\n\t\t\t},\n\
             \t\t\t\"brokerName\":\"broker-a\",\n\t\t\t\"cluster\":\"DefaultCluster\",\n\t\t\t\"enableActingMaster\":false\n\
             \t\t}\n\t],\n\t\"filterServerTable\":{},\n\t\"queueDatas\":[\n\t\t{\n\t\t\t\"brokerName\":\"broker-a\",\n\
             \t\t\t\"perm\":6,\n\t\t\t\"readQueueNums\":4,\n\t\t\t\"topicSysFlag\":0,\n\t\t\t\"writeQueueNums\":8\n\t\t}\n\t]\n}\n"
        );
        let list = render_route_list(&route());
        let lines: Vec<_> = list.lines().collect();
        assert_eq!(lines[1].split_whitespace().last(), Some("6"));
        assert!(lines[1].contains("{0=127.0.0.1:1, 1=127.0.0.1:2}"));
        assert_eq!((lines[2].len(), lines[3].split_whitespace().count()), (158, 4));
    }

    #[test]
    fn a_route_with_brokers_that_have_no_queues_is_no_reason_to_panic() {
        let odd = TopicRouteData { queue_datas: vec![], ..route() };
        assert!(render_route_list(&odd).contains("Total:"));
        assert!(render_route(&TopicRouteData::default()).starts_with("{\n\t\"brokerDatas\":[],\n"));
    }

    #[test]
    fn queues_are_shared_out_averagely() {
        let queues: Vec<_> =
            (0..5).map(|queue_id| MessageQueue { queue_id, ..MessageQueue::default() }).collect();
        let shares: Vec<Vec<i32>> =
            (0..3).map(|at| averagely(&queues, at, 3).iter().map(|queue| queue.queue_id).collect()).collect();
        assert_eq!(shares, [vec![0, 1], vec![2, 3], vec![4]]);
        assert!(averagely(&queues[..1], 2, 3).is_empty());
    }

    #[test]
    fn a_status_has_javas_columns() {
        let status = Status {
            queues: vec![QueueStatus {
                queue: MessageQueue { broker_name: "broker-a".into(), queue_id: 3, topic: "t".into() },
                offsets: TopicOffset { last_update_timestamp: 0, max_offset: 7, min_offset: 2 },
            }],
            topic_put_tps: 0.0,
        };
        let text = render_status(&status);
        let row = format!("{:<32}  3     2{:<19}  7{:<19}    \n", "broker-a", "", "");
        assert_eq!(text.split_once('\n').unwrap().1, row + "\nTopic Put TPS: 0.0\n");
    }
}
