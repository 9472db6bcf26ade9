// SPDX-License-Identifier: Apache-2.0
//! Settings of consumer groups: `updateSubGroup`, `updateSubGroupList`, `deleteSubGroup`, `getConsumerConfig`.

use super::{Command, group_text, run};
use crate::cli::{CommandError, Context, Given, Opt, shorten};
use oxmq_remoting::{bodies::SubscriptionGroupConfig, code};
use oxmq_types::{dlq_topic, retry_topic, validate_group};
use serde::Serialize;
use serde_json::{Value, json};
use std::{collections::BTreeSet, fmt::Write, fs, io::Read};

pub(super) static UPDATE_SUB_GROUP: Command = Command {
    name: "updateSubGroup",
    alias: None,
    description: "Update or create subscription group.",
    options: &[
        Opt::value("b", "brokerAddr", "create subscription group to which broker"),
        Opt::value("c", "clusterName", "create subscription group to which cluster"),
        Opt::value("g", "groupName", "consumer group name").required(),
        Opt::value("s", "consumeEnable", "consume enable"),
        Opt::value("m", "consumeFromMinEnable", "from min offset"),
        Opt::value("d", "consumeBroadcastEnable", "broadcast"),
        Opt::value("o", "consumeMessageOrderly", "consume message orderly"),
        Opt::value("q", "retryQueueNums", "retry queue nums"),
        Opt::value("r", "retryMaxTimes", "retry max times"),
        Opt::value(
            "p",
            "groupRetryPolicy",
            "the json string of retry policy ( exp: {\"type\":\"EXPONENTIAL\",\"exponentialRetryPolicy\":{\"initial\":5000,\"max\":7200000,\"multiplier\":2}} {\"type\":\"CUSTOMIZED\",\"customizedRetryPolicy\":{\"next\":[1000,5000,10000]}} )",
        ),
        Opt::value("i", "brokerId", "consumer from which broker id"),
        Opt::value("w", "whichBrokerWhenConsumeSlowly", "which broker id when consume slowly"),
        Opt::value("a", "notifyConsumerIdsChanged", "notify consumerId changed"),
        Opt::value("", "attributes", "attribute(+a=b,+c=d,-e)"),
    ],
    run: run!(update_group),
};

pub(super) static UPDATE_SUB_GROUP_LIST: Command = Command {
    name: "updateSubGroupList",
    alias: None,
    description: "Update or create subscription group in batch",
    options: &[
        Opt::value("b", "brokerAddr", "create groups to which broker").one_of(1),
        Opt::value("c", "clusterName", "create groups to which cluster").one_of(1),
        Opt::value(
            "f",
            "filename",
            "Path to a file with a list of org.apache.rocketmq.remoting.protocol.subscription.SubscriptionGroupConfig in json format",
        )
        .required(),
    ],
    run: run!(update_group_list),
};

pub(super) static DELETE_SUB_GROUP: Command = Command {
    name: "deleteSubGroup",
    alias: None,
    description: "Delete subscription group from broker.",
    options: &[
        Opt::value("b", "brokerAddr", "delete subscription group from which broker"),
        Opt::value("c", "clusterName", "delete subscription group from which cluster"),
        Opt::value("g", "groupName", "subscription group name").required(),
        Opt::value("r", "removeOffset", "remove offset"),
    ],
    run: run!(delete_group),
};

pub(super) static GET_CONSUMER_CONFIG: Command = Command {
    name: "getConsumerConfig",
    alias: None,
    description: "Get consumer config by subscription group name.",
    options: &[Opt::value("g", "groupName", "subscription group name").required()],
    run: run!(get_consumer_config),
};

/// Largest file of groups.
const FILE_MAX_BYTES: u64 = 16 << 20;

/// The brokers that a command is for. As in Java, `-b` wins over `-c`.
enum Target {
    Broker(String),
    Cluster(String, BTreeSet<String>),
}

impl Target {
    async fn of(context: &Context<'_>, given: &Given) -> Result<Self, CommandError> {
        match (given.value("b"), given.value("c")) {
            (Some(addr), _) => Ok(Self::Broker(addr.to_owned())),
            (None, Some(cluster)) => {
                let masters = context.admin.masters_of(cluster).await?;
                if masters.is_empty() {
                    let why = format!("the cluster {} has no master", shorten(cluster));
                    return Err(CommandError::failed(why));
                }
                Ok(Self::Cluster(cluster.to_owned(), masters))
            }
            (None, None) => Err(CommandError::usage("give a broker (-b HOST:PORT) or a cluster (-c NAME)")),
        }
    }

    fn addrs(&self) -> Vec<&str> {
        match self {
            Self::Broker(addr) => vec![addr],
            Self::Cluster(_, addrs) => addrs.iter().map(String::as_str).collect(),
        }
    }
}

/// What a command did at several brokers: who failed is told, and the others are done all the same.
#[derive(Default)]
struct Outcome {
    done: Vec<String>,
    failed: Vec<String>,
}

impl Outcome {
    fn failure(&self) -> Result<(), CommandError> {
        if self.failed.is_empty() {
            return Ok(());
        }
        Err(CommandError::failed(self.failed.join("; ")))
    }
}

/// The settings that the options say; the rest are those of a new group. Java: `UpdateSubGroupSubCommand`.
fn config(given: &Given) -> Result<SubscriptionGroupConfig, CommandError> {
    let group = given.required("g");
    validate_group(group).map_err(|error| CommandError::usage(error.to_string()))?;
    let flag = |key: &str, default: bool| if given.has(key) { given.is_true(key) } else { default };
    let default = SubscriptionGroupConfig::default();
    let mut other = serde_json::Map::new();
    other.insert("consumeFromMinEnable".into(), flag("m", false).into());
    other.insert("consumeMessageOrderly".into(), flag("o", false).into());
    let policy = match given.value("p") {
        Some(text) => serde_json::from_str::<Value>(text).ok().filter(Value::is_object).ok_or_else(|| {
            CommandError::usage(format!("-p wants a retry policy as JSON, not {}", shorten(text)))
        })?,
        None => json!({"type": "CUSTOMIZED"}),
    };
    other.insert("groupRetryPolicy".into(), policy);
    other.insert("consumeTimeoutMinute".into(), 15.into());
    let attributes = group_text::parse_attributes(given.value("attributes").unwrap_or_default());
    other.insert("attributes".into(), Value::Object(attributes.map_err(CommandError::usage)?));
    Ok(SubscriptionGroupConfig {
        group_name: group.to_owned(),
        consume_enable: flag("s", true),
        consume_broadcast_enable: flag("d", false),
        retry_queue_nums: given.number("q")?.unwrap_or(default.retry_queue_nums),
        retry_max_times: given.number("r")?.unwrap_or(default.retry_max_times),
        broker_id: given.number("i")?.unwrap_or(default.broker_id),
        which_broker_when_consume_slowly: given
            .number("w")?
            .unwrap_or(default.which_broker_when_consume_slowly),
        notify_consumer_ids_changed_enable: flag("a", true),
        other,
        ..default
    })
}

async fn update_group(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    let config = config(given)?;
    let target = Target::of(context, given).await?;
    let mut outcome = Outcome::default();
    for addr in target.addrs() {
        match context.admin.update_group(addr, &config).await {
            Ok(()) => {
                context.say(&format!("create subscription group to {addr} success."))?;
                outcome.done.push(addr.to_owned());
            }
            Err(error) => outcome.failed.push(error.to_string()),
        }
    }
    if context.is_json() {
        context.json(&json!({"group": config, "brokers": outcome.done}))?;
    } else if !outcome.done.is_empty() {
        context.print(&group_text::to_text(&config))?;
    }
    outcome.failure()
}

async fn update_group_list(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    let path = given.required("f");
    let Ok(file) = fs::File::open(path) else {
        // COMPAT(java): on standard output. The exit code is ours.
        context.print(&format!("the file path {} does not exists\n", shorten(path)))?;
        return Err(CommandError::Exit(1));
    };
    let mut text = Vec::new();
    file.take(FILE_MAX_BYTES + 1)
        .read_to_end(&mut text)
        .map_err(|error| CommandError::failed(format!("{}: {error}", shorten(path))))?;
    if text.len() as u64 > FILE_MAX_BYTES {
        return Err(CommandError::failed(format!("{} has more than {FILE_MAX_BYTES} bytes", shorten(path))));
    }
    let configs: Vec<SubscriptionGroupConfig> = serde_json::from_slice(&text).map_err(|error| {
        CommandError::failed(format!("{} is no list of groups in JSON: {error}", shorten(path)))
    })?;
    if configs.is_empty() {
        return Ok(());
    }
    for config in &configs {
        validate_group(&config.group_name)
            .map_err(|error| CommandError::failed(format!("{}: {error}", shorten(&config.group_name))))?;
    }
    let target = Target::of(context, given).await?;
    // Java has two texts for it.
    let what = if matches!(target, Target::Broker(_)) { "group" } else { "subscription group" };
    let mut outcome = Outcome::default();
    for addr in target.addrs() {
        match context.admin.update_groups(addr, &configs).await {
            Ok(()) => {
                context.say(&format!(
                    "submit batch of {what} config to {addr} success, please check the result later."
                ))?;
                outcome.done.push(addr.to_owned());
            }
            Err(error) if error.code() == Some(code::REQUEST_CODE_NOT_SUPPORTED) => {
                // 4.x takes them one by one.
                for config in &configs {
                    context.admin.update_group(addr, config).await?;
                }
                context.say(&format!(
                    "submit batch of {what} config to {addr} success, please check the result later."
                ))?;
                outcome.done.push(addr.to_owned());
            }
            Err(error) => outcome.failed.push(error.to_string()),
        }
    }
    if context.is_json() {
        context.json(&json!({"groups": configs.len(), "brokers": outcome.done}))?;
    }
    outcome.failure()
}

async fn delete_group(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    let (group, clean) = (given.required("g"), given.is_true("r"));
    validate_group(group).map_err(|error| CommandError::usage(error.to_string()))?;
    let target = Target::of(context, given).await?;
    let mut outcome = Outcome::default();
    for addr in target.addrs() {
        match context.admin.delete_group(addr, group, clean).await {
            Ok(()) => {
                let cluster = match &target {
                    Target::Broker(_) => String::new(),
                    Target::Cluster(name, _) => format!(" in cluster [{name}]"),
                };
                context.say(&format!(
                    "delete subscription group [{group}] from broker [{addr}]{cluster} success."
                ))?;
                outcome.done.push(addr.to_owned());
            }
            Err(error) => outcome.failed.push(error.to_string()),
        }
    }
    // Its retry and dead letter topics go with it, as in Java, once all brokers of the cluster have forgotten it.
    if let Target::Cluster(cluster, _) = &target
        && outcome.failed.is_empty()
    {
        for topic in [retry_topic(group), dlq_topic(group)] {
            if let Err(error) = context.admin.delete_topic(&topic, cluster).await {
                outcome.failed.push(format!("{topic} is still there: {error}"));
            }
        }
    }
    if context.is_json() {
        context.json(&json!({"group": group, "brokers": outcome.done}))?;
    }
    outcome.failure()
}

/// Settings of a group on one broker.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OnBroker {
    cluster: Option<String>,
    broker_name: String,
    config: SubscriptionGroupConfig,
}

async fn get_consumer_config(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    let group = given.required("g");
    let info = context.admin.cluster_info().await?;
    let mut found = Vec::new();
    for (broker_name, broker) in &info.broker_addr_table {
        let Some(addr) = crate::admin::address_of(broker) else { continue };
        // Java says nothing of a broker that does not know the group.
        let Some(config) = context.admin.group(addr, group).await? else { continue };
        let cluster = info.cluster_addr_table.iter().find(|(_, brokers)| brokers.contains(broker_name));
        let cluster = cluster.map(|(cluster, _)| cluster.clone());
        found.push(OnBroker { cluster, broker_name: broker_name.clone(), config });
    }
    if found.is_empty() {
        return Err(CommandError::failed(format!("no broker has a group {}", shorten(group))));
    }
    context.show(&found, |found| found.iter().map(config_text).collect())
}

fn config_text(each: &OnBroker) -> String {
    let cluster = each.cluster.as_deref().unwrap_or("null");
    let line = "=============================";
    let mut out = format!("{line}{cluster}:{}{line}\n", each.broker_name);
    for (name, value) in group_text::fields(&each.config) {
        let _ = writeln!(out, "{name:<40}=  {}", value.unwrap_or_default());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_printed_under_their_broker() {
        let config = SubscriptionGroupConfig { group_name: "g".into(), ..SubscriptionGroupConfig::default() };
        let each =
            OnBroker { cluster: Some("DefaultCluster".into()), broker_name: "broker-a".into(), config };
        let text = config_text(&each);
        let lines: Vec<_> = text.lines().collect();
        let line = "=".repeat(29);
        assert_eq!(lines[0], format!("{line}DefaultCluster:broker-a{line}"));
        assert_eq!(lines[1], format!("{:<40}=  g", "groupName"));
        assert_eq!((lines.len(), lines[14]), (16, format!("{:<40}=  ", "subscriptionDataSet").as_str()));
    }
}
