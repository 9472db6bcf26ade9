// SPDX-License-Identifier: Apache-2.0
//! What a cluster is, in files: `exportMetadata`, `exportConfigs`, `exportMetrics`.
//!
//! Each writes one file of JSON below the folder `-f`, as Java does, and says where it is; `-o json` prints the content
//! as well.

use super::{
    Command,
    body_file::write_in,
    fastjson_text::{in_order, pretty},
    message_text::in_usual_order,
    run,
};
use crate::{
    admin::Runtime,
    cli::{CommandError, Context, Given, Opt},
    java_text::now_ms,
};
use oxmq_remoting::{
    bodies::{SubscriptionGroupConfig, TopicConfig},
    version_name, version_of,
};
use oxmq_types::{DLQ_GROUP_PREFIX, RETRY_GROUP_PREFIX, is_system_group, is_system_topic};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

pub(super) static EXPORT_METADATA: Command = Command {
    name: "exportMetadata",
    alias: None,
    description: "Export metadata.",
    options: &[
        Opt::value("c", "clusterName", "choose a cluster to export"),
        Opt::value("b", "brokerAddr", "choose a broker to export"),
        Opt::value("f", "filePath", "export metadata.json path | default /tmp/rocketmq/export"),
        Opt::flag("t", "topic", "only export topic metadata"),
        Opt::flag("g", "subscriptionGroup", "only export subscriptionGroup metadata"),
        Opt::flag("s", "specialTopic", "need retryTopic and dlqTopic"),
    ],
    run: run!(export_metadata),
};

pub(super) static EXPORT_CONFIGS: Command = Command {
    name: "exportConfigs",
    alias: None,
    description: "Export configs.",
    options: &[
        Opt::value("c", "clusterName", "choose a cluster to export").required(),
        Opt::value("f", "filePath", "export configs.json path | default /tmp/rocketmq/export"),
    ],
    run: run!(export_configs),
};

pub(super) static EXPORT_METRICS: Command = Command {
    name: "exportMetrics",
    alias: None,
    description: "Export metrics.",
    options: &[
        Opt::value("c", "clusterName", "choose a cluster to export").required(),
        Opt::value("f", "filePath", "export metrics.json path | default /tmp/rocketmq/export"),
    ],
    run: run!(export_metrics),
};

const FOLDER: &str = "/tmp/rocketmq/export";

/// Settings of a broker that are worth to be kept. Java: `needBrokerProprties`, which knows two more that no broker has.
const KEYS: [&str; 16] = [
    "brokerClusterName",
    "brokerId",
    "brokerName",
    "brokerRole",
    "fileReservedTime",
    "filterServerNums",
    "flushDiskType",
    "maxMessageSize",
    "messageDelayLevel",
    "msgTraceTopicName",
    "slaveReadEnable",
    "traceOn",
    "traceTopicEnable",
    "useTLS",
    "autoCreateTopicEnable",
    "autoCreateSubscriptionGroup",
];

/// Writes the file, and says so. `line`: whether Java ends the line.
fn write(
    context: &mut Context<'_>,
    given: &Given,
    name: &str,
    content: &Value,
    line: bool,
) -> Result<(), CommandError> {
    let folder = given.value("f").unwrap_or(FOLDER);
    let failed = |error| CommandError::failed(format!("cannot write {folder}/{name}: {error}"));
    write_in(Path::new(folder), name, pretty(content).as_bytes()).map_err(failed)?;
    let path = format!("{folder}/{name}");
    if context.is_json() {
        return context.json(&json!({"path": path, "content": content}));
    }
    context.print(&format!("export {path} success{}", if line { "\n" } else { "" }))
}

/// A table in the order of Java's.
fn table<T: Serialize>(entries: impl IntoIterator<Item = (String, T)>) -> Value {
    let entries = entries.into_iter().map(|(name, value)| (name, in_order(&value))).collect();
    Value::Object(in_usual_order(entries).into_iter().collect())
}

/// Topics of one broker that belong to users. `special`: those of retries and dead letters, too.
async fn user_topics(
    context: &Context<'_>,
    addr: &str,
    special: bool,
) -> Result<oxmq_remoting::bodies::TopicConfigSerializeWrapper, CommandError> {
    let mut all = context.admin.all_topics(addr).await?;
    let system = context.admin.system_topics_at(addr).await?;
    all.topic_config_table.retain(|name, config| {
        let hidden = name.starts_with(RETRY_GROUP_PREFIX) || name.starts_with(DLQ_GROUP_PREFIX);
        !system.contains(name) && !is_system_topic(name) && (special || !hidden) && config.perm < 8
    });
    Ok(all)
}

async fn user_groups(
    context: &Context<'_>,
    addr: &str,
) -> Result<oxmq_remoting::bodies::SubscriptionGroupWrapper, CommandError> {
    let mut all = context.admin.all_groups(addr).await?;
    all.subscription_group_table.retain(|name, _| !is_system_group(name));
    all.subscription_group_table.values_mut().for_each(complete);
    Ok(all)
}

/// Adds what a broker has left out because it is as always. Java's tool has it in every file.
fn complete(group: &mut SubscriptionGroupConfig) {
    for (name, value) in [
        ("attributes", json!({})),
        ("consumeFromMinEnable", json!(true)),
        ("consumeMessageOrderly", json!(false)),
        ("consumeTimeoutMinute", json!(15)),
        ("groupRetryPolicy", json!({"type": "CUSTOMIZED"})),
    ] {
        group.other.entry(name).or_insert(value);
    }
}

async fn export_metadata(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    let (topics_only, groups_only, special) = (given.has("t"), given.has("g"), given.has("s"));
    if topics_only && groups_only {
        return Err(CommandError::usage(
            "-t exports topics only, -g groups only: give one, or none for both",
        ));
    }
    if let Some(addr) = given.value("b") {
        return match (topics_only, groups_only) {
            (true, _) => {
                let topics = user_topics(context, addr, special).await?;
                let content = json!({
                    "dataVersion": in_order(&topics.data_version),
                    "topicConfigTable": table(topics.topic_config_table),
                });
                write(context, given, "topic.json", &content, false)
            }
            (_, true) => {
                let groups = user_groups(context, addr).await?;
                // Java's tool leaves it out: who may not read what would be forgotten.
                let forbidden = groups.forbidden_table.filter(|table| *table != json!({}));
                let content = json!({
                    "dataVersion": in_order(&groups.data_version),
                    "forbiddenTable": forbidden,
                    "subscriptionGroupTable": table(groups.subscription_group_table),
                });
                write(context, given, "subscriptionGroup.json", &content, false)
            }
            // Java does nothing.
            _ => Err(CommandError::usage("with -b, give -t for topics or -g for groups")),
        };
    }
    let Some(cluster) = given.value("c") else {
        return Err(CommandError::usage("give a cluster (-c NAME) or a broker (-b HOST:PORT)"));
    };
    let mut topics: BTreeMap<String, TopicConfig> = BTreeMap::new();
    let mut groups: BTreeMap<String, SubscriptionGroupConfig> = BTreeMap::new();
    for addr in context.admin.masters_of(cluster).await? {
        for (name, mut config) in user_topics(context, &addr, special).await?.topic_config_table {
            if let Some(known) = topics.get(&name) {
                config.write_queue_nums = config.write_queue_nums.saturating_add(known.write_queue_nums);
                config.read_queue_nums = config.read_queue_nums.saturating_add(known.read_queue_nums);
            }
            topics.insert(name, config);
        }
        for (name, mut config) in user_groups(context, &addr).await?.subscription_group_table {
            if let Some(known) = groups.get(&name) {
                config.retry_queue_nums = config.retry_queue_nums.saturating_add(known.retry_queue_nums);
            }
            groups.insert(name, config);
        }
    }
    let mut content = Vec::new();
    if !groups_only {
        content.push(("topicConfigTable".to_owned(), table(topics)));
    }
    if !topics_only {
        content.push(("subscriptionGroupTable".to_owned(), table(groups)));
    }
    content.push(("exportTime".to_owned(), now_ms().into()));
    let name = match (topics_only, groups_only) {
        (true, _) => "topic.json",
        (_, true) => "subscriptionGroup.json",
        _ => "metadata.json",
    };
    write(context, given, name, &Value::Object(in_usual_order(content).into_iter().collect()), true)
}

async fn export_configs(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    let brokers = context.admin.brokers_of(given.required("c")).await?;
    let mut configs = Vec::new();
    let mut slaves = 0;
    for broker in &brokers {
        slaves += broker.broker_addrs.keys().filter(|id| **id != 0).count();
        let Some(addr) = broker.broker_addrs.get(&0) else { continue };
        let config = context.admin.broker_properties(addr).await?;
        let kept =
            KEYS.iter().filter_map(|key| Some(((*key).to_owned(), Value::from(config.get(*key)?.as_str()))));
        let name = config.get("brokerName").cloned().unwrap_or_else(|| broker.broker_name.clone());
        configs.push((name, Value::Object(kept.collect())));
    }
    let scale = json!({
        "namesrvSize": context.admin.name_servers()?.len(),
        "masterBrokerSize": configs.len(),
        "slaveBrokerSize": slaves,
    });
    let configs: Map<_, _> = in_usual_order(configs).into_iter().collect();
    let content =
        vec![("brokerConfigs".to_owned(), Value::Object(configs)), ("clusterScale".to_owned(), scale)];
    write(
        context,
        given,
        "configs.json",
        &Value::Object(in_usual_order(content).into_iter().collect()),
        false,
    )
}

/// Sums over all brokers of a cluster.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Totals {
    total_normal_in_tps: f64,
    total_normal_out_tps: f64,
    total_trans_in_tps: f64,
    total_schedule_in_tps: f64,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct DayTotals {
    normal_one_day_in_num: i64,
    normal_one_day_out_num: i64,
    trans_one_day_in_num: i64,
    schedule_one_day_in_num: i64,
}

async fn export_metrics(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    let brokers = context.admin.brokers_of(given.required("c")).await?;
    let (mut report, mut totals, mut day) = (Vec::new(), Totals::default(), DayTotals::default());
    for broker in brokers {
        let Some(addr) = broker.broker_addrs.get(&0) else { continue };
        let runtime = context.admin.runtime(addr).await?;
        let config = context.admin.broker_properties(addr).await?;
        let groups = user_groups(context, addr).await?.subscription_group_table;
        let topics = user_topics(context, addr, false).await?.topic_config_table.len();
        let half = context.admin.put_stats(addr, oxmq_types::HALF_TOPIC).await;
        let delayed = context.admin.put_stats(addr, oxmq_types::SCHEDULE_TOPIC).await;
        let quota = quota(&runtime, half, delayed, (topics, groups.len()), &mut totals, &mut day);
        let env = json!({
            "cpuNum": config.get("clientCallbackExecutorThreads"),
            "totalMemKBytes": runtime.get("totalMemKBytes"),
        });
        let version = json!({
            "rocketmqVersion": version_name(),
            "clientInfo": clients(context, groups.keys()).await,
        });
        report.push((
            broker.broker_name,
            json!({"runtimeEnv": env, "runtimeQuota": quota, "runtimeVersion": version}),
        ));
    }
    let report: Map<_, _> = in_usual_order(report).into_iter().collect();
    let content = vec![
        ("evaluateReport".to_owned(), Value::Object(report)),
        ("totalData".to_owned(), json!({"totalTps": totals, "totalOneDayNum": day})),
    ];
    write(
        context,
        given,
        "metrics.json",
        &Value::Object(in_usual_order(content).into_iter().collect()),
        false,
    )
}

/// Languages and versions of all consumers.
async fn clients(context: &Context<'_>, groups: impl Iterator<Item = &String>) -> BTreeSet<String> {
    let mut clients = BTreeSet::new();
    for group in groups {
        // Of a group that is offline there is nothing to tell.
        let Ok(connection) = context.admin.consumers(group).await else { continue };
        let each = connection.connection_set.iter();
        clients.extend(each.map(|member| format!("{}%{}", member.language, version_of(member.version))));
    }
    clients
}

/// Messages per second in the last minute, and messages of the last day.
pub(crate) type Rate = (f64, i64);

fn quota(
    runtime: &Runtime,
    half: Rate,
    delayed: Rate,
    (topics, groups): (usize, usize),
    totals: &mut Totals,
    day: &mut DayTotals,
) -> Value {
    let number = |name: &str| runtime.number::<i64>(name).unwrap_or(0);
    let between = |today: &str, yesterday: &str| number(today).saturating_sub(number(yesterday));
    let (in_tps, out_tps) =
        (runtime.first_rate("putTps").unwrap_or(0.0), runtime.first_rate("getTransferredTps").unwrap_or(0.0));
    let (in_num, out_num) = (
        between("msgPutTotalTodayMorning", "msgPutTotalYesterdayMorning"),
        between("msgGetTotalTodayMorning", "msgGetTotalYesterdayMorning"),
    );
    totals.total_normal_in_tps += in_tps;
    totals.total_normal_out_tps += out_tps;
    totals.total_trans_in_tps += half.0;
    totals.total_schedule_in_tps += delayed.0;
    day.normal_one_day_in_num = day.normal_one_day_in_num.saturating_add(in_num);
    day.normal_one_day_out_num = day.normal_one_day_out_num.saturating_add(out_num);
    day.trans_one_day_in_num = day.trans_one_day_in_num.saturating_add(half.1);
    day.schedule_one_day_in_num = day.schedule_one_day_in_num.saturating_add(delayed.1);
    json!({
        "diskRatio": {
            "commitLogDiskRatio": runtime.get("commitLogDiskRatio"),
            "consumeQueueDiskRatio": runtime.get("consumeQueueDiskRatio"),
        },
        "tps": {
            "normalInTps": in_tps,
            "normalOutTps": out_tps,
            "transInTps": half.0,
            "scheduleInTps": delayed.0,
        },
        "oneDayNum": {
            "normalOneDayInNum": in_num,
            "normalOneDayOutNum": out_num,
            "transOneDayInNum": half.1,
            "scheduleOneDayInNum": delayed.1,
        },
        "messageAverageSize": runtime.get("putMessageAverageSize"),
        "topicSize": topics,
        "groupSize": groups,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_over_brokers_survive_nonsense() {
        let text = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let runtime = Runtime {
            table: [
                text("putTps", "1.5 2 3"),
                text("getTransferredTps", "x"),
                text("msgPutTotalTodayMorning", "9223372036854775807"),
                text("msgPutTotalYesterdayMorning", "-9223372036854775808"),
            ]
            .into(),
        };
        let (mut totals, mut day) = (Totals::default(), DayTotals::default());
        for _ in 0..2 {
            let value = quota(&runtime, (0.5, 7), (0.0, 0), (3, 4), &mut totals, &mut day);
            assert_eq!((&value["tps"]["normalInTps"], &value["topicSize"]), (&1.5.into(), &3.into()));
        }
        assert_eq!((totals.total_normal_in_tps, totals.total_trans_in_tps), (3.0, 1.0));
        assert_eq!((day.normal_one_day_in_num, day.trans_one_day_in_num), (i64::MAX, 14));
    }

    #[test]
    fn members_stand_in_the_order_of_their_names() {
        let config = SubscriptionGroupConfig { group_name: "g".into(), ..SubscriptionGroupConfig::default() };
        let value = in_order(&config);
        let names: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
        assert!(names.is_sorted(), "{names:?}");
    }
}
