// SPDX-License-Identifier: Apache-2.0
//! `oxmq bench`: load on any RocketMQ cluster, through the client that applications use.
//!
//! `bench/load` is something else: it speaks the protocol itself, to one broker, so that what it measures is the broker alone.
//!
//! The story: `args` says what; [`run`] looks whether the topic is there and starts the tasks of the load; `pace` tells them
//! when a request is due; `meter` takes how long it took; `report` says what it came to. Latencies count from when a request was
//! due (open loop, no coordinated omission), see the head of `pace`.

mod args;
mod meter;
mod pace;
mod report;
mod work;

pub(crate) use args::{Request, command};

use crate::terminal::{EXIT_FAILURE, Failure, complain, say};
use indicatif::{ProgressBar, ProgressStyle};
use meter::Meter;
use oxmq_admin::{Admin, AdminError};
use oxmq_client::{Client, ClientOptions, Command, Credentials, code::request};
use pace::Pace;
use report::Outcome;
use std::{
    io::{IsTerminal as _, stderr},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{task::JoinSet, time::MissedTickBehavior};

/// How long the requests that are under way at the end may take.
const REST: Duration = Duration::from_secs(10);

/// Runs a load and prints what it came to.
///
/// # Errors
/// [`Failure`] if it cannot begin, or nothing succeeded.
pub(crate) fn run(request: Request) -> Result<(), Failure> {
    let failure = |error: &dyn std::fmt::Display| Failure::new(EXIT_FAILURE, format!("oxmq bench: {error}"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome = runtime.map_err(|error| failure(&error))?.block_on(measure(&request));
    let outcome = outcome.map_err(|error| failure(&format!("{error:#}")))?;
    if request.json {
        say(&report::json(&request, &outcome).to_string());
    } else {
        say(report::text(&request, &outcome).trim_end());
    }
    match outcome.seen.messages {
        0 => Err(failure(&"no message was measured")),
        _ => Ok(()),
    }
}

async fn measure(request: &Request) -> anyhow::Result<Outcome> {
    let mut options = ClientOptions::new(request.name_servers.clone());
    if let Some((access, secret)) = &request.credentials {
        options = options.credentials(Credentials::new(access, secret));
    }
    let clients =
        (0..request.clients).map(|_| Client::new(options.clone())).collect::<Result<Vec<_>, _>>()?;
    let admin = Admin::new(
        clients[0].remote().clone(),
        request.name_servers.split(';').map(|address| address.trim().to_owned()).collect(),
    );
    prepare(request, &admin).await?;

    let members = work::Members::start(request, &clients).await?;
    let begin = Instant::now();
    // A batch is due as a whole.
    let messages = request.load.messages();
    let pace = Arc::new(Pace::start(request.rate.map(|rate| rate / f64::from(messages))));
    let meter = Arc::new(Meter::new(begin + request.warm_up, request.time));
    let mut tasks = JoinSet::new();
    let consumers = members.work(request, &pace, &meter, &mut tasks).await?;
    watch(request, begin, &meter).await;
    pace.end();
    let time = meter.counted(Instant::now());
    let rest = tokio::time::timeout(REST, async { while tasks.join_next().await.is_some() {} });
    if rest.await.is_err() {
        complain(&format!("{} requests did not end within {} s", tasks.len(), REST.as_secs()));
    }
    tasks.shutdown().await;
    let (seen, failures) = meter.result();
    let outcome = Outcome { time, seen, failures, not_sent: pace.behind() * u64::from(messages) };
    for consumer in consumers {
        consumer.shutdown().await;
    }
    members.shutdown().await;
    Ok(outcome)
}

/// Makes the topic if it is not there and that is wanted. One that is there keeps its queues.
async fn prepare(request: &Request, admin: &Admin) -> anyhow::Result<()> {
    if route(request, admin).await? {
        return Ok(());
    }
    if let Some(queues) = request.create {
        let info = admin.cluster_info().await?;
        let masters: Vec<_> =
            info.broker_addr_table.values().filter_map(|broker| broker.broker_addrs.get(&0)).collect();
        anyhow::ensure!(!masters.is_empty(), "the name server {} knows no broker", request.name_servers);
        for addr in masters {
            let create = Command::new(request::UPDATE_AND_CREATE_TOPIC)
                .with("topic", request.topic.clone())
                .with("defaultTopic", oxmq_types::AUTO_CREATE_TOPIC)
                .with("readQueueNums", queues)
                .with("writeQueueNums", queues)
                .with("perm", 6)
                .with("topicFilterType", "SINGLE_TAG")
                .with("topicSysFlag", 0)
                .with("order", false);
            admin.ask(addr, create).await?;
        }
    }
    // Brokers tell name servers of a new topic at once, but not before they answer.
    for _ in 0..50 {
        match route(request, admin).await {
            Ok(true) => return Ok(()),
            Ok(false) if request.create.is_some() => tokio::time::sleep(Duration::from_millis(100)).await,
            Ok(false) => break,
            Err(error) => return Err(error.into()),
        }
    }
    anyhow::bail!(
        "no broker of {} has the topic {}: make it with --create-topic, or name another with -t",
        request.name_servers,
        request.topic
    )
}

/// True if a name server knows the topic.
async fn route(request: &Request, admin: &Admin) -> Result<bool, AdminError> {
    let ask = Command::new(request::GET_ROUTEINFO_BY_TOPIC).with("topic", request.topic.clone());
    match admin.ask_name_server(ask).await {
        Ok(_) => Ok(true),
        Err(error) if error.code() == Some(oxmq_client::code::TOPIC_NOT_EXIST) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Tells every second how it goes, until the time is over or somebody presses Ctrl-C.
async fn watch(request: &Request, begin: Instant, meter: &Meter) {
    let bar = stderr().is_terminal().then(|| {
        let style = ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
        ProgressBar::new(0).with_style(style)
    });
    let total = request.warm_up + request.time;
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    seconds.tick().await;
    let end = tokio::time::sleep_until((begin + total).into());
    // One for all turns: a signal that came while a line is printed would be lost.
    let interrupt = tokio::signal::ctrl_c();
    tokio::pin!(end, interrupt);
    loop {
        tokio::select! {
            () = &mut end => break,
            _ = &mut interrupt => break,
            _ = seconds.tick() => {
                let second = begin.elapsed().as_secs();
                let line = report::progress(second, begin.elapsed() < request.warm_up, &meter.glance());
                match &bar {
                    Some(bar) => bar.set_message(line),
                    None => complain(&line),
                }
            }
        }
    }
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
}
