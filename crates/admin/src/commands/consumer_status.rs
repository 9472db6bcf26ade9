// SPDX-License-Identifier: Apache-2.0
//! The inside of consumers: `consumerStatus`, `getConsumerStatus`.

use super::{
    Command,
    progress_text::{client_offsets, in_queue_table_order, offsets_json},
    run, running_text,
};
use crate::{
    cli::{CommandError, Context, Given, Opt, shorten},
    java_text::now_ms,
};
use oxmq_remoting::{bodies::ConsumerRunningInfo, version_of};
use serde_json::json;
use std::{collections::BTreeMap, fs, path::Path};

pub(super) static CONSUMER_STATUS: Command = Command {
    name: "consumerStatus",
    alias: None,
    description: "Query consumer's internal data structure.",
    options: &[
        Opt::value("g", "consumerGroup", "consumer group name").required(),
        Opt::value("i", "clientId", "The consumer's client id"),
        Opt::value("b", "brokerAddr", "broker address"),
        Opt::flag("s", "jstack", "Run jstack command in the consumer progress"),
    ],
    run: run!(consumer_status),
};

/// Java has the class, and lists it no more.
pub(super) static GET_CONSUMER_STATUS: Command = Command {
    name: "getConsumerStatus",
    alias: None,
    description: "get consumer status from client.",
    options: &[
        Opt::value("g", "group", "set the consumer group").required(),
        Opt::value("t", "topic", "set the topic").required(),
        Opt::value("i", "originClientId", "set the consumer clientId"),
    ],
    run: run!(get_consumer_status),
};

async fn consumer_status(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    let (group, stacks) = (given.required("g"), given.has("s"));
    let connection = match given.value("b") {
        Some(addr) => context.admin.consumers_at(addr, group).await?,
        None => context.admin.consumers(group).await?,
    };
    if let Some(client_id) = given.value("i") {
        let info = context.admin.running_info(group, client_id, stacks).await?;
        if context.is_json() {
            return context.json(&running_text::to_json(client_id, &info));
        }
        return context.print(&running_text::to_text(&info));
    }
    let now = now_ms();
    let mut members: BTreeMap<String, ConsumerRunningInfo> = BTreeMap::new();
    let json = context.is_json();
    if !json {
        context.print(&row("#Index", "#ClientId", "#Version", "#ConsumerRunningInfoFile"))?;
    }
    let mut failed = None;
    for member in &connection.connection_set {
        let info = match context.admin.running_info(group, &member.client_id, stacks).await {
            Ok(info) => info,
            Err(error) => {
                context.note(&format!("{}: {error}", member.client_id));
                failed = Some(error);
                continue;
            }
        };
        if !json {
            let path = write_info(Path::new(""), now, &member.client_id, &running_text::to_text(&info))
                .map_err(|error| {
                    CommandError::failed(format!("cannot write into the current folder: {error}"))
                })?;
            let index = (members.len() + 1).to_string();
            context.print(&row(&index, &member.client_id, &version_of(member.version), &path))?;
        }
        members.insert(member.client_id.clone(), info);
    }
    if members.is_empty() {
        return Err(failed
            .map_or_else(|| CommandError::failed("no member of the group answered"), CommandError::from));
    }
    let same = running_text::same_subscriptions(&members, now);
    if json {
        let stuck = members.iter().flat_map(|(client_id, info)| {
            let lines = running_text::stuck_queues(client_id, info, now);
            lines.lines().map(str::to_owned).collect::<Vec<_>>()
        });
        return context.json(&json!({
            "group": group,
            "sameSubscription": same,
            "stuckQueues": stuck.collect::<Vec<_>>(),
            "consumers": members.iter().map(|(id, info)| running_text::to_json(id, info)).collect::<Vec<_>>(),
        }));
    }
    if !same {
        return context.print("\n\nWARN: Different subscription in the same group of consumer!!!");
    }
    let stuck: String = members.iter().map(|(id, info)| running_text::stuck_queues(id, info, now)).collect();
    context.print(&format!("\n\nSame subscription in the same group of consumer\n\nRebalance OK\n{stuck}"))
}

fn row(index: &str, client_id: &str, version: &str, path: &str) -> String {
    format!("{index:<10} {client_id:<40} {version:<20} {path}\n")
}

/// Writes what a member told into a file below `folder`, and gives its path from there. The name comes from a client,
/// which may call itself anything: what could leave the folder becomes a mark.
fn write_info(folder: &Path, now_ms: i64, client_id: &str, text: &str) -> std::io::Result<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '@' | '#' | ':');
    let name: String = client_id.chars().take(200).map(|c| if plain(c) { c } else { '_' }).collect();
    let name = if name.chars().all(|c| c == '.') { "_".to_owned() } else { name };
    let relative = format!("{now_ms}/{name}");
    let path = folder.join(&relative);
    fs::create_dir_all(folder.join(now_ms.to_string()))?;
    fs::write(path, text)?;
    Ok(relative)
}

async fn get_consumer_status(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    let (group, topic, client_id) =
        (given.required("g"), given.required("t"), given.value("i").unwrap_or_default());
    let brokers = context.admin.addresses_of_topic(topic).await?;
    let (_, addr) = brokers
        .first()
        .ok_or_else(|| CommandError::failed(format!("no broker has the topic {}", shorten(topic))))?;
    let status = context.admin.client_offsets(addr, topic, group, client_id).await?;
    let clients: Vec<_> = status
        .consumer_table
        .into_iter()
        .map(|(client_id, offsets)| (client_id, in_queue_table_order(offsets.0)))
        .collect();
    if context.is_json() {
        let each = |(client_id, offsets): &(String, Vec<_>)| json!({"clientId": client_id, "offsets": offsets_json(offsets)});
        return context.json(&json!({
            "group": group, "topic": topic, "clients": clients.iter().map(each).collect::<Vec<_>>(),
        }));
    }
    let first = format!(
        "get consumer status from client. group={group}, topic={topic}, originClientId={client_id}\n"
    );
    context.print(&(first + &client_offsets(&super::message_text::in_usual_order(clients))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_cannot_name_a_file_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        for (client_id, name) in [
            ("10.0.0.1@7#9", "5/10.0.0.1@7#9"),
            ("../../etc/passwd", "5/.._.._etc_passwd"),
            ("..", "5/_"),
            ("", "5/_"),
            ("a\0b\nc", "5/a_b_c"),
        ] {
            assert_eq!(write_info(folder.path(), 5, client_id, "x").unwrap(), name);
            assert_eq!(fs::read_to_string(folder.path().join(name)).unwrap(), "x");
        }
        assert!(write_info(folder.path(), 5, &"é".repeat(100_000), "x").unwrap().len() < 210);
    }
}
