// SPDX-License-Identifier: Apache-2.0
//! Who is connected: `consumerConnection`, `producerConnection`, `producer`.

use super::{Command, run};
use crate::{
    cli::{CommandError, Context, Given, Opt},
    java_text::{SLOTS, Table, in_table_order},
};
use oxmq_remoting::{
    bodies::{Connection, ConsumerConnection, ProducerConnection, ProducerTableInfo},
    version_of,
};
use oxmq_types::java_string_hash;
use serde_json::{Value, json};
use std::fmt::Write;

pub(super) static CONSUMER_CONNECTION: Command = Command {
    name: "consumerConnection",
    alias: None,
    description: "Query consumer's socket connection, client version and subscription.",
    options: &[
        Opt::value("g", "consumerGroup", "consumer group name").required(),
        Opt::value("b", "brokerAddr", "broker address"),
    ],
    run: run!(consumer_connection),
};

pub(super) static PRODUCER_CONNECTION: Command = Command {
    name: "producerConnection",
    alias: None,
    description: "Query producer's socket connection and client version.",
    options: &[
        Opt::value("g", "producerGroup", "producer group name").required(),
        Opt::value("t", "topic", "topic name").required(),
    ],
    run: run!(producer_connection),
};

pub(super) static PRODUCER: Command = Command {
    name: "producer",
    alias: None,
    description: "Query producer's instances, connection, status, etc.",
    options: &[Opt::value("b", "broker", "broker address").required()],
    run: run!(producers),
};

async fn consumer_connection(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    let group = given.required("g");
    let connection = match given.value("b") {
        Some(addr) => context.admin.consumers_at(addr, group).await?,
        None => context.admin.consumers(group).await?,
    };
    if context.is_json() {
        let subscriptions = connection.subscription_table.iter();
        return context.json(&json!({
            "group": group,
            "connections": connections_json(&connection.connection_set),
            "subscriptions": subscriptions
                .map(|(_, told)| json!({"topic": told.topic, "subExpression": told.sub_string, "expressionType": told.expression_type}))
                .collect::<Vec<_>>(),
            "consumeType": connection.consume_type,
            "messageModel": connection.message_model,
            "consumeFromWhere": connection.consume_from_where,
        }));
    }
    context.print(&consumers_text(connection))
}

/// Members in the order of their ids: Java's has none.
fn sorted(connections: &[Connection]) -> Vec<&Connection> {
    let mut sorted: Vec<_> = connections.iter().collect();
    sorted.sort_by(|one, other| one.client_id.cmp(&other.client_id));
    sorted
}

fn connections_json(connections: &[Connection]) -> Value {
    let each = |member: &Connection| {
        json!({
            "clientId": member.client_id,
            "clientAddr": member.client_addr,
            "language": member.language,
            "version": version_of(member.version),
        })
    };
    sorted(connections).into_iter().map(each).collect()
}

fn consumers_text(connection: ConsumerConnection) -> String {
    let mut out = format!("{:<36} {:<22} {:<10} #Version\n", "#ClientId", "#ClientAddr", "#Language");
    for member in sorted(&connection.connection_set) {
        let Connection { client_addr, client_id, language, version } = member;
        let _ = writeln!(out, "{client_id:<36} {client_addr:<22} {language:<10} {}", version_of(*version));
    }
    let _ = writeln!(out, "\nBelow is subscription:\n{:<20} #SubExpression", "#Topic");
    let told = in_table_order(Table::Concurrent, SLOTS, connection.subscription_table, |(topic, _)| {
        java_string_hash(topic)
    });
    for (_, told) in told {
        let _ = writeln!(out, "{:<20} {}", told.topic, told.sub_string);
    }
    let _ = writeln!(out, "\nConsumeType: {}", connection.consume_type);
    let _ = writeln!(out, "MessageModel: {}", connection.message_model);
    let _ = writeln!(out, "ConsumeFromWhere: {}", connection.consume_from_where);
    out
}

async fn producer_connection(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    let (group, topic) = (given.required("g"), given.required("t"));
    let connection = context.admin.producers(group, topic).await?;
    if context.is_json() {
        return context
            .json(&json!({"group": group, "connections": connections_json(&connection.connection_set)}));
    }
    context.print(&producers_text(&connection))
}

fn producers_text(connection: &ProducerConnection) -> String {
    let mut out = String::new();
    for (at, member) in sorted(&connection.connection_set).into_iter().enumerate() {
        let Connection { client_addr, client_id, language, version } = member;
        let version = version_of(*version);
        let _ = writeln!(out, "{:04}  {client_id:<32} {client_addr:<22} {language:<8} {version}", at + 1);
    }
    out
}

async fn producers(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    let table = context.admin.all_producers(given.required("b")).await?;
    if context.is_json() { context.json(&table.data) } else { context.print(&table_text(table)) }
}

fn table_text(table: ProducerTableInfo) -> String {
    let mut out = String::new();
    let groups = super::message_text::in_usual_order(table.data.into_iter().collect());
    for (group, members) in groups {
        if members.is_empty() {
            let _ = writeln!(out, "producer group ({group}) instances are empty");
        }
        for member in members {
            let _ = writeln!(
                out,
                "producer group ({group}) instance : clientId={},remoteIP={}, language={}, version={}, \
                 lastUpdateTimestamp={}",
                member.client_id,
                member.remote_ip,
                member.language,
                member.version,
                member.last_update_timestamp
            );
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use oxmq_remoting::bodies::{ProducerInfo, SubscriptionData};

    fn member(client_id: &str) -> Connection {
        Connection {
            client_addr: "127.0.0.1:5000".into(),
            client_id: client_id.into(),
            language: "JAVA".into(),
            version: 479,
        }
    }

    #[test]
    fn members_are_printed_with_what_they_subscribe_to() {
        let told = |topic: &str| {
            let told = SubscriptionData {
                topic: topic.into(),
                sub_string: "*".into(),
                ..SubscriptionData::default()
            };
            (topic.to_owned(), told)
        };
        let text = consumers_text(ConsumerConnection {
            connection_set: vec![member("b"), member("a")],
            consume_type: "CONSUME_PASSIVELY".into(),
            message_model: "CLUSTERING".into(),
            consume_from_where: "CONSUME_FROM_LAST_OFFSET".into(),
            subscription_table: vec![told("TopicTest"), told("%RETRY%g")],
        });
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[1], format!("{:<36} {:<22} {:<10} V5_3_3", "a", "127.0.0.1:5000", "JAVA"));
        assert_eq!(lines[3..5], ["", "Below is subscription:"]);
        assert_eq!(
            lines[8..],
            [
                "",
                "ConsumeType: CONSUME_PASSIVELY",
                "MessageModel: CLUSTERING",
                "ConsumeFromWhere: CONSUME_FROM_LAST_OFFSET"
            ]
        );
    }

    #[test]
    fn producers_are_numbered() {
        let connection = ProducerConnection { connection_set: vec![member("p")] };
        assert_eq!(
            producers_text(&connection),
            format!("0001  {:<32} {:<22} JAVA     V5_3_3\n", "p", "127.0.0.1:5000")
        );
        let info = ProducerInfo {
            client_id: "p".into(),
            remote_ip: "/h:1".into(),
            language: "GO".into(),
            ..ProducerInfo::default()
        };
        let table =
            ProducerTableInfo { data: [("g".to_owned(), vec![info]), ("h".to_owned(), vec![])].into() };
        assert_eq!(
            table_text(table),
            "producer group (g) instance : clientId=p,remoteIP=/h:1, language=GO, version=0, lastUpdateTimestamp=0\n\
             producer group (h) instances are empty\n"
        );
    }
}
