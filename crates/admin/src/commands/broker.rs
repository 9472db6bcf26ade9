// SPDX-License-Identifier: Apache-2.0
//! Single brokers: their settings, what they say of themselves, what they clean, their copies.

use super::{Command, namesrv::setting_lines, run, topic::in_set_order};
use crate::{
    AdminError, Clean, HaStatus, Runtime,
    cli::{CommandError, Context, Given, Opt, shorten},
    format::{fixed, time},
};
use serde::Serialize;
use serde_json::json;
use std::{fmt::Write as _, time::Duration};

pub(super) static UPDATE_BROKER_CONFIG: Command = Command {
    name: "updateBrokerConfig",
    alias: None,
    description: "Update broker's config.",
    options: &[
        Opt::value("b", "brokerAddr", "update which broker"),
        Opt::value("c", "clusterName", "update which cluster"),
        Opt::value("a", "updateAllBroker", "update all brokers include slave"),
        Opt::value("k", "key", "config key").required(),
        Opt::value("v", "value", "config value").required(),
    ],
    run: run!(update_config),
};

pub(super) static GET_BROKER_CONFIG: Command = Command {
    name: "getBrokerConfig",
    alias: None,
    description: "Get broker config by cluster or special broker.",
    options: &[
        Opt::value("b", "brokerAddr", "get which broker"),
        Opt::value("c", "clusterName", "get which cluster"),
    ],
    run: run!(get_config),
};

pub(super) static BROKER_STATUS: Command = Command {
    name: "brokerStatus",
    alias: None,
    description: "Fetch broker runtime status data.",
    options: &[
        Opt::value("b", "brokerAddr", "Broker address").one_of(1),
        Opt::value("c", "clusterName", "which cluster").one_of(1),
    ],
    run: run!(status),
};

pub(super) static CLEAN_EXPIRED_CQ: Command = Command {
    name: "cleanExpiredCQ",
    alias: None,
    description: "Clean expired ConsumeQueue on broker.",
    options: &[Opt::value("b", "brokerAddr", "Broker address"), Opt::value("c", "cluster", "clustername")],
    run: run!(clean_queues),
};

pub(super) static DELETE_EXPIRED_COMMIT_LOG: Command = Command {
    name: "deleteExpiredCommitLog",
    alias: None,
    description: "Delete expired CommitLog files.",
    options: &[
        Opt::value("n", "namesrvAddr", "Name server address"),
        Opt::value("b", "brokerAddr", "Broker address"),
        Opt::value("c", "cluster", "clustername"),
    ],
    run: run!(clean_log),
};

pub(super) static CLEAN_UNUSED_TOPIC: Command = Command {
    name: "cleanUnusedTopic",
    alias: None,
    description: "Clean unused topic on broker.",
    options: &[Opt::value("b", "brokerAddr", "Broker address"), Opt::value("c", "cluster", "cluster name")],
    run: run!(clean_topics),
};

pub(super) static HA_STATUS: Command = Command {
    name: "haStatus",
    alias: None,
    description: "Fetch ha runtime status data.",
    options: &[
        Opt::value("c", "clusterName", "which cluster"),
        Opt::value("b", "brokerAddr", "which broker to fetch"),
        Opt::value("i", "interval", "the interval(second) of get info"),
    ],
    run: run!(ha_status),
};

pub(super) static SET_CONSUME_MODE: Command = Command {
    name: "setConsumeMode",
    alias: None,
    description: "Set consume message mode. pull/pop etc.",
    options: &[
        Opt::value("b", "brokerAddr", "create subscription group to which broker"),
        Opt::value("c", "clusterName", "create subscription group to which cluster"),
        Opt::value("t", "topicName", "topic name").required(),
        Opt::value("g", "groupName", "consumer group name").required(),
        Opt::value("m", "mode", "consume mode. PULL/POP").required(),
        Opt::value("q", "popShareQueueNum", "num of queue which share in pop mode"),
    ],
    run: run!(set_mode),
};

pub(super) static RESET_MASTER_FLUSH_OFFSET: Command = Command {
    name: "resetMasterFlushOffset",
    alias: None,
    description: "Reset master flush offset in slave.",
    options: &[
        Opt::value("b", "brokerAddr", "which broker to reset"),
        Opt::value("o", "offset", "the offset to reset at"),
    ],
    run: run!(reset_flush_offset),
};

/// How a change went on one broker.
#[derive(Debug, Serialize)]
struct Done {
    broker: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Does the same on several brokers, whether one of them fails or not, and ends with code 1 if one did. `line`: what is
/// printed for one that did it.
async fn on_each<F: Future<Output = Result<(), AdminError>>>(
    context: &mut Context<'_>,
    addrs: Vec<String>,
    line: impl Fn(&str) -> String,
    change: impl Fn(crate::Admin, String) -> F,
) -> Result<(), CommandError> {
    if addrs.is_empty() {
        return Err(CommandError::failed("the cluster has no such broker now"));
    }
    let alone = addrs.len() == 1;
    let mut done = Vec::new();
    for addr in addrs {
        let error = match change(context.admin.clone(), addr.clone()).await {
            Ok(()) => {
                context.say(&line(&addr))?;
                None
            }
            Err(error) if alone => return Err(error.into()),
            Err(error) => {
                context.note(&error.to_string());
                Some(error.to_string())
            }
        };
        done.push(Done { broker: addr, error });
    }
    if context.is_json() {
        context.json(&done)?;
    }
    if done.iter().any(|done| done.error.is_some()) { Err(CommandError::Exit(1)) } else { Ok(()) }
}

/// The brokers that `-b` or `-c` name; `-b` wins.
async fn targets(
    context: &Context<'_>,
    given: &Given,
    with_slaves: bool,
) -> Result<Vec<String>, CommandError> {
    match (given.value("b"), given.value("c")) {
        (Some(addr), _) => Ok(vec![addr.to_owned()]),
        (None, Some(cluster)) if with_slaves => Ok(in_set_order(context.admin.addresses_of(cluster).await?)),
        (None, Some(cluster)) => Ok(in_set_order(context.admin.masters_of(cluster).await?)),
        (None, None) => Err(CommandError::usage("give -b BROKER_ADDR or -c CLUSTER")),
    }
}

async fn update_config(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    let (key, value) = (given.required("k").to_owned(), given.required("v").to_owned());
    let addrs = targets(context, given, given.has("a")).await?;
    let line = |addr: &str| format!("update broker config success, {addr}");
    on_each(context, addrs, line, |admin, addr| {
        let (key, value) = (key.clone(), value.clone());
        async move { admin.update_broker_config(&addr, &key, &value).await }
    })
    .await
}

async fn get_config(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    // Headline and address; of a slave without a master there is only the first.
    let mut brokers: Vec<(String, Option<String>)> = Vec::new();
    if let Some(addr) = given.value("b") {
        brokers.push((format!("============{addr}============\n"), Some(addr.to_owned())));
    } else {
        let Some(cluster) = given.value("c") else {
            return Err(CommandError::usage("give -b BROKER_ADDR or -c CLUSTER"));
        };
        for broker in context.admin.brokers_of(cluster).await? {
            // COMPAT(java): its placeholder for a master that is away.
            let master = broker.broker_addrs.get(&0);
            let name = master.map_or("NO_MASTER", String::as_str).to_owned();
            brokers.push((format!("============Master: {name}============\n"), master.cloned()));
            for (_, slave) in broker.broker_addrs.iter().filter(|(id, _)| **id != 0) {
                let head = format!("============My Master: {name}=====Slave: {slave}============\n");
                brokers.push((head, Some(slave.clone())));
            }
        }
    }
    let mut json = Vec::new();
    for (head, addr) in brokers {
        let Some(addr) = addr else {
            context.say(head.trim_end())?;
            continue;
        };
        let settings = context.admin.broker_config(&addr).await?;
        if context.is_json() {
            let settings: serde_json::Map<_, _> =
                settings.into_iter().map(|(key, value)| (key, value.into())).collect();
            json.push(json!({ "broker": addr, "settings": settings }));
        } else {
            context.print(&format!("{head}{}\n", setting_lines(settings)))?;
        }
    }
    if context.is_json() { context.json(&json) } else { Ok(()) }
}

async fn status(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    let one = given.has("b");
    let mut failed = false;
    let mut json = Vec::new();
    for addr in targets(context, given, true).await? {
        match context.admin.runtime(&addr).await {
            Ok(runtime) if context.is_json() => json.push(json!({ "broker": addr, "runtime": runtime })),
            Ok(runtime) => context.print(&render_status(&runtime, (!one).then_some(&*addr)))?,
            Err(error) if one => return Err(error.into()),
            Err(error) => {
                failed = true;
                context.note(&error.to_string());
            }
        }
    }
    if context.is_json() {
        context.json(&json)?;
    }
    if failed { Err(CommandError::Exit(1)) } else { Ok(()) }
}

fn render_status(runtime: &Runtime, addr: Option<&str>) -> String {
    let mut text = String::new();
    for (name, value) in &runtime.table {
        if let Some(addr) = addr {
            let _ = write!(text, "{addr:<24} ");
        }
        let _ = writeln!(text, "{name:<32}: {value}");
    }
    text
}

async fn clean_queues(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    clean(context, given, Clean::ExpiredConsumeQueues).await
}

async fn clean_log(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    clean(context, given, Clean::ExpiredCommitLog).await
}

async fn clean_topics(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    clean(context, given, Clean::UnusedTopics).await
}

async fn clean(context: &mut Context<'_>, given: &Given, what: Clean) -> Result<(), CommandError> {
    let addrs: Vec<String> = match (given.value("b"), given.value("c")) {
        (Some(addr), _) => vec![addr.to_owned()],
        (None, Some(cluster)) if !cluster.is_empty() => {
            context.admin.addresses_of(cluster).await?.into_iter().collect()
        }
        // Every broker of every cluster.
        _ => {
            let info = context.admin.cluster_info().await?;
            let brokers = info.broker_addr_table.into_values();
            brokers.flat_map(|broker| broker.broker_addrs.into_values()).collect()
        }
    };
    if addrs.is_empty() {
        return Err(AdminError::NoBroker.into());
    }
    for addr in &addrs {
        context.admin.clean(addr, what).await?;
    }
    // COMPAT(java): one word, and no newline behind it.
    context.show(&json!({ "cleaned": addrs }), |_| "success".to_owned())
}

async fn ha_status(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    let pause = match given.value("i") {
        Some("") => Some(3),
        _ => given.number::<u64>("i")?,
    };
    if !given.has("b") && !given.has("c") {
        return Err(CommandError::usage("give -b BROKER_ADDR or -c CLUSTER"));
    }
    loop {
        let mut json = Vec::new();
        for addr in targets(context, given, false).await? {
            let status = context.admin.ha_status(&addr).await?;
            if context.is_json() {
                json.push(json!({ "broker": addr, "status": status }));
            } else {
                context.print(&render_ha_status(&addr, &status))?;
            }
        }
        if context.is_json() {
            context.json(&json)?;
        }
        let Some(pause) = pause else { return Ok(()) };
        tokio::time::sleep(Duration::from_secs(pause.max(1))).await;
    }
}

fn render_ha_status(addr: &str, status: &HaStatus) -> String {
    let speed = |bytes: i64| fixed(bytes as f64 / 1024.0, 2);
    let mut text = String::new();
    if !status.master {
        let own = &status.ha_client_runtime_info;
        let _ = write!(
            text,
            "\n#MasterAddr\t{}\n#CommitLogMaxOffset\t{}\n#TransferSpeed(KB/s)\t{}\n#LastReadTime\t{}\n\
             #LastWriteTime\t{}\n#MasterFlushOffset\t{}\n",
            own.master_addr,
            own.max_offset,
            speed(own.transferred_byte_in_second),
            time(own.last_read_timestamp),
            time(own.last_write_timestamp),
            own.master_flush_offset,
        );
        return text;
    }
    let _ = write!(
        text,
        "\n#MasterAddr\t{addr}\n#MasterCommitLogMaxOffset\t{}\n#SlaveNum\t{}\n#InSyncSlaveNum\t{}\n",
        status.master_commit_log_max_offset,
        status.ha_connection_info.len(),
        status.in_sync_slave_nums,
    );
    let _ = writeln!(
        text,
        "{:<32}  {:<16} {:>16} {:>16} {:>16} {:>16}",
        "#SlaveAddr", "#SlaveAckOffset", "#Diff", "#TransferSpeed(KB/s)", "#Status", "#TransferFromWhere"
    );
    for slave in &status.ha_connection_info {
        let _ = writeln!(
            text,
            "{:<32}  {:<16} {:>16} {:>16} {:>16} {:>16}",
            slave.addr,
            slave.slave_ack_offset,
            slave.diff,
            speed(slave.transferred_byte_in_second),
            if slave.in_sync { "OK" } else { "Fall Behind" },
            slave.transfer_from_where,
        );
    }
    text
}

async fn set_mode(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    let (topic, group) = (given.required("t").to_owned(), given.required("g").to_owned());
    let mode = given.required("m").to_owned();
    if !matches!(mode.as_str(), "PULL" | "POP") {
        return Err(CommandError::usage(format!("-m is PULL or POP, not \"{}\"", shorten(&mode))));
    }
    let share = given.number::<i32>("q")?.unwrap_or(0);
    let addrs = targets(context, given, false).await?;
    let line = |addr: &str| format!("set consume mode to {addr} success.");
    let end = format!("topic[{topic}] group[{group}] consume mode[{mode}] popShareQueueNum[{share}]");
    on_each(context, addrs, line, |admin, addr| {
        let (topic, group, mode) = (topic.clone(), group.clone(), mode.clone());
        async move { admin.set_request_mode(&addr, &topic, &group, &mode, share).await }
    })
    .await?;
    // COMPAT(java): no newline stands behind it.
    if context.is_json() { Ok(()) } else { context.print(&end) }
}

async fn reset_flush_offset(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    let (Some(addr), Some(offset)) = (given.value("b"), given.number::<i64>("o")?) else {
        return Err(CommandError::usage("give -b BROKER_ADDR and -o OFFSET"));
    };
    context.admin.reset_master_flush_offset(addr, offset).await?;
    context.show(&json!({ "broker": addr, "masterFlushOffset": offset }), |_| {
        format!("reset master flush offset to {offset} success\n")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HaSlave;

    #[test]
    fn a_status_is_sorted_and_names_its_broker_if_there_are_several() {
        let table = [("b".to_owned(), "2".to_owned()), ("a".to_owned(), "1".to_owned())].into();
        let runtime = Runtime { table };
        let blanks = " ".repeat(31);
        assert_eq!(render_status(&runtime, None), format!("a{blanks}: 1\nb{blanks}: 2\n"));
        assert!(
            render_status(&runtime, Some("127.0.0.1:10911")).starts_with("127.0.0.1:10911          a   ")
        );
    }

    #[test]
    fn copies_have_javas_columns() {
        let slave = HaSlave {
            addr: "10.0.0.2:4000".into(),
            slave_ack_offset: 5,
            diff: 3,
            in_sync: true,
            transferred_byte_in_second: 1536,
            transfer_from_where: 1,
        };
        let status = HaStatus {
            master: true,
            master_commit_log_max_offset: 8,
            in_sync_slave_nums: 1,
            ha_connection_info: vec![slave],
            ..HaStatus::default()
        };
        let text = render_ha_status("10.0.0.1:10911", &status);
        assert!(
            text.starts_with("\n#MasterAddr\t10.0.0.1:10911\n#MasterCommitLogMaxOffset\t8\n#SlaveNum\t1\n")
        );
        let last: Vec<_> = text.lines().last().unwrap().split_whitespace().collect();
        assert_eq!(last, ["10.0.0.2:4000", "5", "3", "1.50", "OK", "1"]);
        assert!(render_ha_status("x", &HaStatus::default()).contains("#MasterFlushOffset\t0\n"));
    }
}
