// SPDX-License-Identifier: Apache-2.0
//! Messages are sent to see how long that takes: `sendMsgStatus`, `clusterRT`. They go to topics with the names of
//! brokers, which every broker makes for itself.

use super::{Command, run, topic::in_set_order};
use crate::{
    Outgoing, QueueAt,
    cli::{CommandError, Context, Given, Opt, shorten},
    format::{fixed, now_ms, time_at_8},
};
use serde::Serialize;
use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

pub(super) static SEND_MSG_STATUS: Command = Command {
    name: "sendMsgStatus",
    alias: None,
    description: "Send msg to broker.",
    options: &[
        Opt::value("b", "brokerName", "Broker Name e.g. clusterName_brokerName as DefaultCluster_broker-a")
            .required(),
        Opt::value("s", "messageSize", "Message Size, Default: 128"),
        Opt::value("c", "count", "send message count, Default: 50"),
    ],
    run: run!(send_msg_status),
};

pub(super) static CLUSTER_RT: Command = Command {
    name: "clusterRT",
    alias: None,
    description: "List All clusters Message Send RT.",
    options: &[
        Opt::value("a", "amount", "message amount | default 100"),
        Opt::value("s", "size", "message size | default 128 Byte"),
        Opt::value("c", "cluster", "cluster name | default display all cluster"),
        Opt::value("p", "print log", "print as tlog | default false"),
        Opt::value("m", "machine room", "machine room name | default noname"),
        Opt::value("i", "interval", "print interval | default 10 seconds"),
    ],
    run: run!(cluster_rt),
};

/// Most bytes of a body that a broker takes by default.
const SIZE_MAX: usize = 4 << 20;
/// Producer group of the probes. Java: `SendMsgStatusCommand`.
const GROUP: &str = "PID_SMSC";

/// The queues of the topic with a broker's name.
async fn queues(context: &Context<'_>, broker_name: &str) -> Result<Vec<QueueAt>, CommandError> {
    let queues = context.admin.writable_queues(broker_name).await?;
    if queues.is_empty() {
        return Err(CommandError::failed(format!("topic {} has no queue to write to", shorten(broker_name))));
    }
    Ok(queues)
}

fn size(given: &Given, default: usize) -> Result<usize, CommandError> {
    match given.number::<usize>("s")?.unwrap_or(default) {
        size if (1..=SIZE_MAX).contains(&size) => Ok(size),
        size => Err(CommandError::usage(format!("-s is from 1 to {SIZE_MAX} bytes, not {size}"))),
    }
}

/// A message that was sent.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Probe {
    rt_ms: u128,
    send_status: String,
    msg_id: String,
    offset_msg_id: String,
    broker_name: String,
    queue_id: i32,
    queue_offset: i64,
}

async fn send_msg_status(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    let (size, count) = (size(given, 128)?, given.number::<u64>("c")?.unwrap_or(50));
    let queues = queues(context, given.required("b")).await?;
    // COMPAT(java): the first makes the connection and is not shown.
    let first = Outgoing::new(body(16), now_ms());
    context.admin.send(GROUP, &queues[0], &first, None).await?;
    let mut probes = Vec::new();
    for number in 0..count {
        let message = Outgoing::new(body(size), now_ms());
        let queue = &queues[usize::try_from(number).unwrap_or_default() % queues.len()];
        let start = Instant::now();
        let sent = context.admin.send(GROUP, queue, &message, None).await?;
        let rt_ms = start.elapsed().as_millis();
        context.say(&format!("rt={rt_ms}ms, SendResult={sent}"))?;
        if context.is_json() {
            probes.push(Probe {
                rt_ms,
                send_status: sent.status.to_string(),
                msg_id: sent.msg_id,
                offset_msg_id: sent.offset_msg_id,
                broker_name: sent.queue.broker_name,
                queue_id: sent.queue.queue_id,
                queue_offset: sent.queue_offset,
            });
        }
    }
    if context.is_json() { context.json(&probes) } else { Ok(()) }
}

/// Text of at least the size that was asked for. Java: `SendMsgStatusCommand#buildMessage`.
fn body(size: usize) -> Vec<u8> {
    b"hello jodie".repeat(size.div_ceil(11))
}

/// How sends to one broker went.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Round {
    cluster: String,
    broker_name: String,
    /// Mean of all but the first, in ms.
    rt_ms: f64,
    success_count: u64,
    fail_count: u64,
}

async fn cluster_rt(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    let amount = given.number::<u64>("a")?.unwrap_or(100);
    let size = size(given, 128)?;
    let pause = given.number::<u64>("i")?.unwrap_or(10);
    let as_log = given.is_true("p");
    let room = given.value("m").unwrap_or("noname").to_owned();
    let info = context.admin.cluster_info().await?;
    if let Some(cluster) = given.value("c").filter(|cluster| !info.cluster_addr_table.contains_key(*cluster))
    {
        context.print(&format!("cluster [{}] not exist\n", shorten(cluster)))?;
        return Err(CommandError::Exit(1));
    }
    if !as_log {
        context.say(&format!(
            "{:<24}  {:<24}  {:<4}  {:<8}  {:<8}",
            "#Cluster Name", "#Broker Name", "#RT", "#successCount", "#failCount"
        ))?;
    }
    loop {
        let mut rounds = Vec::new();
        for (cluster, brokers) in &info.cluster_addr_table {
            if given.value("c").is_some_and(|wanted| wanted != cluster) {
                continue;
            }
            for broker_name in in_set_order(brokers.clone()) {
                let round = round(context, cluster, &broker_name, amount, size).await;
                context.say(&if as_log {
                    let time = time_at_8(now_ms());
                    format!("{time}|{room}|{cluster}|{broker_name}|{}", fixed(round.rt_ms, 0))
                } else {
                    render_round(&round)
                })?;
                rounds.push(round);
            }
        }
        if context.is_json() {
            context.json(&rounds)?;
        }
        // COMPAT(java): it goes on until it is stopped; with `-i 0`, which Java does not stop for, it ends after one.
        if pause == 0 || given.watch.is_some() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_secs(pause)).await;
    }
}

async fn round(
    context: &mut Context<'_>,
    cluster: &str,
    broker_name: &str,
    amount: u64,
    size: usize,
) -> Round {
    let (mut success_count, mut fail_count, mut elapsed) = (0, 0, Duration::ZERO);
    let mut last_error = None;
    match queues(context, broker_name).await {
        Err(error) => (fail_count, last_error) = (amount, Some(error.to_string())),
        Ok(queues) => {
            for number in 0..amount {
                let message = Outgoing::new(vec![b'a'; size], now_ms());
                let queue = &queues[usize::try_from(number).unwrap_or_default() % queues.len()];
                let start = Instant::now();
                match context.admin.send(GROUP, queue, &message, None).await {
                    Ok(_) => success_count += 1,
                    Err(error) => (fail_count, last_error) = (fail_count + 1, Some(error.to_string())),
                }
                // The first makes the connection.
                if number > 0 {
                    elapsed += start.elapsed();
                }
            }
        }
    }
    if let Some(error) = last_error {
        context.note(&format!("{broker_name}: {error}"));
    }
    let counted = amount.saturating_sub(1).max(1);
    Round {
        cluster: cluster.to_owned(),
        broker_name: broker_name.to_owned(),
        rt_ms: elapsed.as_secs_f64() * 1000.0 / counted as f64,
        success_count,
        fail_count,
    }
}

fn render_round(round: &Round) -> String {
    let mut text = String::new();
    let _ = write!(
        text,
        "{:<24}  {:<24}  {:<8}  {:<16}  {:<16}",
        round.cluster,
        round.broker_name,
        fixed(round.rt_ms, 2),
        round.success_count,
        round.fail_count,
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_at_least_the_size_that_was_asked_for() {
        assert_eq!((body(16), body(0).len()), (b"hello jodiehello jodie".to_vec(), 0));
    }

    #[test]
    fn a_round_has_javas_columns() {
        let round = Round {
            cluster: "DefaultCluster".into(),
            broker_name: "broker-a".into(),
            rt_ms: 1.005,
            success_count: 99,
            fail_count: 1,
        };
        let expected =
            format!("{:<24}  {:<24}  1.01      99{:<14}  1{:<15}", "DefaultCluster", "broker-a", "", "");
        assert_eq!(render_round(&round), expected);
    }
}
