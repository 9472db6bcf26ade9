// SPDX-License-Identifier: Apache-2.0
//! What name servers keep: key-value entries, the queues of ordered topics, write permissions of brokers, their own
//! settings.

use super::{Command, run};
use crate::{
    admin::ORDER_NAMESPACE,
    cli::{CommandError, Context, Given, Opt, addresses},
    java_text::{SLOTS, Table, in_table_order},
};
use oxmq_types::java_string_hash;
use serde::Serialize;
use serde_json::json;
use std::fmt::Write as _;

pub(super) static UPDATE_KV_CONFIG: Command = Command {
    name: "updateKvConfig",
    alias: None,
    description: "Create or update KV config.",
    options: &[
        Opt::value("s", "namespace", "set the namespace").required(),
        Opt::value("k", "key", "set the key name").required(),
        Opt::value("v", "value", "set the key value").required(),
    ],
    run: run!(update_kv),
};

pub(super) static DELETE_KV_CONFIG: Command = Command {
    name: "deleteKvConfig",
    alias: None,
    description: "Delete KV config.",
    options: &[
        Opt::value("s", "namespace", "set the namespace").required(),
        Opt::value("k", "key", "set the key name").required(),
    ],
    run: run!(delete_kv),
};

pub(super) static UPDATE_ORDER_CONF: Command = Command {
    name: "updateOrderConf",
    alias: None,
    description: "Create or update or delete order conf.",
    options: &[
        Opt::value("t", "topic", "topic name").required(),
        Opt::value("v", "orderConf", "set order conf [eg. brokerName1:num;brokerName2:num]"),
        Opt::value("m", "method", "option type [eg. put|get|delete").required(),
    ],
    run: run!(order_conf),
};

pub(super) static WIPE_WRITE_PERM: Command = Command {
    name: "wipeWritePerm",
    alias: None,
    description: "Wipe write perm of broker in all name server you defined in the -n param.",
    options: &[Opt::value("b", "brokerName", "broker name").required()],
    run: run!(wipe_write_perm),
};

pub(super) static ADD_WRITE_PERM: Command = Command {
    name: "addWritePerm",
    alias: None,
    description: "Add write perm of broker in all name server you defined in the -n param.",
    options: &[Opt::value("b", "brokerName", "broker name").required()],
    run: run!(add_write_perm),
};

pub(super) static GET_NAMESRV_CONFIG: Command = Command {
    name: "getNamesrvConfig",
    alias: None,
    description: "Get configs of name server.",
    options: &[],
    run: run!(get_config),
};

pub(super) static UPDATE_NAMESRV_CONFIG: Command = Command {
    name: "updateNamesrvConfig",
    alias: None,
    description: "Update configs of name server.",
    options: &[
        Opt::value("k", "key", "config key").required(),
        Opt::value("v", "value", "config value").required(),
    ],
    run: run!(update_config),
};

async fn update_kv(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    let (namespace, key, value) = (given.required("s"), given.required("k"), given.required("v"));
    context.admin.put_kv(namespace, key, value).await?;
    context.show(&json!({ "namespace": namespace, "key": key, "value": value }), |_| {
        "create or update kv config to namespace success.\n".to_owned()
    })
}

async fn delete_kv(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    let (namespace, key) = (given.required("s"), given.required("k"));
    context.admin.delete_kv(namespace, key).await?;
    context.show(&json!({ "namespace": namespace, "key": key }), |_| {
        "delete kv config from namespace success.\n".to_owned()
    })
}

async fn order_conf(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    let topic = given.required("t");
    // COMPAT(java): no newline stands at the end of these lines.
    match given.required("m") {
        "get" => {
            let conf = context.admin.kv(ORDER_NAMESPACE, topic).await?;
            context.show(&json!({ "topic": topic, "orderConf": conf }), |_| {
                format!("get orderConf success. topic=[{topic}], orderConf=[{conf}] ")
            })
        }
        "put" => {
            let Some(conf) = given.value("v").filter(|conf| !conf.is_empty()) else {
                return Err(CommandError::failed("please set orderConf with option -v."));
            };
            context.admin.put_kv(ORDER_NAMESPACE, topic, conf).await?;
            context.show(&json!({ "topic": topic, "orderConf": conf }), |_| {
                format!("update orderConf success. topic=[{topic}], orderConf=[{conf}]")
            })
        }
        "delete" => {
            context.admin.delete_kv(ORDER_NAMESPACE, topic).await?;
            context.show(&json!({ "topic": topic }), |_| format!("delete orderConf success. topic=[{topic}]"))
        }
        _ => Err(CommandError::usage("-m is put, get or delete")),
    }
}

/// What came of a change at one name server.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AtNameServer {
    name_server: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    topics: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

async fn wipe_write_perm(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    write_perm(context, given.required("b"), false).await
}

async fn add_write_perm(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    write_perm(context, given.required("b"), true).await
}

async fn write_perm(context: &mut Context<'_>, broker: &str, add: bool) -> Result<(), CommandError> {
    let mut results = Vec::new();
    for addr in context.admin.name_servers()?.to_vec() {
        let result = match add {
            true => context.admin.add_write_perm(&addr, broker).await,
            false => context.admin.wipe_write_perm(&addr, broker).await,
        };
        let verb = if add { "add" } else { "wipe" };
        let what = format!("{verb} write perm of broker[{broker}] in name server[{addr}]");
        let (topics, error) = match result {
            Ok(count) => {
                context.say(&format!("{what} OK, {count}"))?;
                (Some(count), None)
            }
            Err(error) => {
                context.say(&format!("{what} Failed"))?;
                context.note(&error.to_string());
                (None, Some(error.to_string()))
            }
        };
        results.push(AtNameServer { name_server: addr, topics, error });
    }
    if context.is_json() {
        context.json(&results)?;
    }
    if results.iter().any(|result| result.error.is_some()) { Err(CommandError::Exit(1)) } else { Ok(()) }
}

/// The settings of one server.
#[derive(Debug, Serialize)]
struct Settings {
    server: String,
    settings: serde_json::Map<String, serde_json::Value>,
}

/// Settings in the order of Java's `Properties`, as lines.
pub(super) fn setting_lines(settings: Vec<(String, String)>) -> String {
    let settings = in_table_order(Table::Concurrent, SLOTS, settings, |(key, _): &(String, String)| {
        java_string_hash(key)
    });
    settings.iter().map(|(key, value)| format!("{key:<50}=  {value}\n")).collect()
}

async fn get_config(context: &mut Context<'_>, _: &Given) -> Result<(), CommandError> {
    let mut servers = Vec::new();
    for addr in context.admin.name_servers()?.to_vec() {
        servers.push((addr.clone(), context.admin.name_server_config(&addr).await?));
    }
    let servers = in_table_order(Table::Hash, 4, servers, |(addr, _)| java_string_hash(addr));
    let json: Vec<_> = servers
        .iter()
        .map(|(server, settings)| Settings {
            server: server.clone(),
            settings: settings.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect(),
        })
        .collect();
    context.show(&json, |_| {
        let mut text = String::new();
        for (server, settings) in servers {
            let _ = write!(text, "============{server}============\n{}", setting_lines(settings));
        }
        text
    })
}

async fn update_config(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    let (key, value) = (given.required("k"), given.required("v"));
    for addr in context.admin.name_servers()?.to_vec() {
        context.admin.update_name_server_config(&addr, key, value).await?;
    }
    // COMPAT(java): the list stands there only if `-n` gave it.
    let servers =
        given.value("n").map(|list| format!("[{}]", addresses(list).join(", "))).unwrap_or_default();
    context.show(&json!({ "key": key, "value": value, "nameServers": context.admin.name_servers()? }), |_| {
        format!("update name server config success!{servers}\n{key} : {value}\n")
    })
}
