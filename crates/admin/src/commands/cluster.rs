// SPDX-License-Identifier: Apache-2.0
//! Which brokers there are, and how busy they are: `clusterList`.

use super::{Command, run};
use crate::{
    AdminError, Runtime,
    admin::no_cluster,
    cli::{CommandError, Context, Given, Opt},
    format::{fixed, now_ms},
};
use futures_util::future::join_all;
use oxmq_remoting::bodies::ClusterInfo;
use serde::Serialize;
use std::{fmt::Write as _, time::Duration};

pub(super) static CLUSTER_LIST: Command = Command {
    name: "clusterList",
    alias: None,
    description: "List cluster infos.",
    options: &[
        Opt::flag("m", "moreStats", "Print more stats"),
        Opt::value("i", "interval", "specify intervals numbers, it is in seconds"),
        Opt::value("c", "clusterName", "which cluster"),
    ],
    run: run!(list),
};

/// A broker, as one line shows it.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Broker {
    cluster: String,
    broker_name: String,
    broker_id: i64,
    addr: String,
    /// False if it did not answer: what follows is then empty.
    reachable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// What it says of itself.
    runtime: Runtime,
}

async fn list(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    let pause = given.number::<u64>("i")?.map(|seconds| Duration::from_secs(seconds.max(1)));
    loop {
        let brokers = brokers(context, given.value("c").filter(|cluster| !cluster.is_empty())).await?;
        let render = if given.has("m") { more_stats } else { base_info };
        let now = now_ms();
        context.show(&brokers, |brokers| render(brokers, now))?;
        if brokers.is_empty() {
            return Err(AdminError::NoBroker.into());
        }
        match pause {
            Some(pause) => tokio::time::sleep(pause).await,
            None => return Ok(()),
        }
    }
}

/// All brokers of all clusters, or of one, each asked at the same time.
async fn brokers(context: &mut Context<'_>, cluster: Option<&str>) -> Result<Vec<Broker>, CommandError> {
    let info = context.admin.cluster_info().await?;
    if let Some(cluster) = cluster.filter(|cluster| !info.cluster_addr_table.contains_key(*cluster)) {
        return Err(no_cluster(cluster, &info).into());
    }
    let mut brokers = listed(&info, cluster);
    let admin = &context.admin;
    let runtimes = join_all(brokers.iter().map(|broker| admin.runtime(&broker.addr))).await;
    for (broker, runtime) in brokers.iter_mut().zip(runtimes) {
        match runtime {
            Ok(runtime) => (broker.reachable, broker.runtime) = (true, runtime),
            // COMPAT(java): the line of a broker that is away stands there without its figures.
            Err(error) => {
                context.note(&format!("broker {}: {error}", broker.broker_name));
                broker.error = Some(error.to_string());
            }
        }
    }
    Ok(brokers)
}

fn listed(info: &ClusterInfo, cluster: Option<&str>) -> Vec<Broker> {
    let mut brokers = Vec::new();
    for (name, members) in &info.cluster_addr_table {
        if cluster.is_some_and(|wanted| wanted != name) {
            continue;
        }
        for broker_name in members {
            let addrs = info.broker_addr_table.get(broker_name).map(|data| &data.broker_addrs);
            for (id, addr) in addrs.into_iter().flatten() {
                brokers.push(Broker {
                    cluster: name.clone(),
                    broker_name: broker_name.clone(),
                    broker_id: *id,
                    addr: addr.clone(),
                    ..Broker::default()
                });
            }
        }
    }
    brokers
}

fn base_info(brokers: &Vec<Broker>, now_ms: i64) -> String {
    let mut text = format!(
        "{:<22}  {:<22}  {:<4}  {:<22} {:<16}  {:>16}  {:>30}  {:<22}  {:<11}  {:<12}  {:<8}  {:<10}\n",
        "#Cluster Name",
        "#Broker Name",
        "#BID",
        "#Addr",
        "#Version",
        "#InTPS(LOAD)",
        "#OutTPS(LOAD)",
        "#Timer(Progress)",
        "#PCWait(ms)",
        "#Hour",
        "#SPACE",
        "#ACTIVATED"
    );
    for broker in brokers {
        let of = &broker.runtime;
        // COMPAT(java): what an older broker does not tell is "null"; of one that did not answer nothing stands there.
        let told = |name| of.get(name).unwrap_or(if broker.reachable { "null" } else { "" });
        let told_or_n = |name| of.get(name).unwrap_or(if broker.reachable { "N" } else { "" });
        let in_load = format!(
            "{:>9}({},{}ms)",
            fixed(of.first_rate("putTps").unwrap_or(0.0), 2),
            told("sendThreadPoolQueueSize"),
            told("sendThreadPoolQueueHeadWaitTimeMills")
        );
        let out_load = format!(
            "{:>9}({},{}ms|{},{}ms)",
            fixed(of.first_rate("getTransferredTps").unwrap_or(0.0), 2),
            told("pullThreadPoolQueueSize"),
            told("pullThreadPoolQueueHeadWaitTimeMills"),
            told_or_n("ackThreadPoolQueueSize"),
            told_or_n("ackThreadPoolQueueHeadWaitTimeMills")
        );
        let number = |name| of.number::<f64>(name).unwrap_or(0.0);
        let timer = format!(
            "{}-{}({}w, {}, {})",
            of.number::<i64>("timerReadBehind").unwrap_or(0),
            of.number::<i64>("timerOffsetBehind").unwrap_or(0),
            fixed(number("timerCongestNum") / 10_000.0, 1),
            fixed(number("timerEnqueueTps"), 1),
            fixed(number("timerDequeueTps"), 1)
        );
        let earliest = of.number::<i64>("earliestMessageTimeStamp");
        let hours = earliest.map_or(0.0, |earliest| now_ms.saturating_sub(earliest) as f64 / 3_600_000.0);
        let space = of.number::<f64>("commitLogDiskRatio").unwrap_or(0.0);
        let active = of.get("brokerActive").is_some_and(|active| active.eq_ignore_ascii_case("true"));
        let _ = writeln!(
            text,
            "{:<22}  {:<22}  {:<4}  {:<22} {:<16}  {in_load:>16}  {out_load:>30}  {timer:<22}  {:>11}  {:<12}  {:<8}  {active:>10}",
            broker.cluster,
            broker.broker_name,
            broker.broker_id,
            broker.addr,
            told("brokerVersionDesc"),
            told("pageCacheLockTimeMills"),
            fixed(hours, 2),
            fixed(space, 4),
        );
    }
    text
}

fn more_stats(brokers: &Vec<Broker>, _: i64) -> String {
    let mut text = format!(
        "{:<16}  {:<32} {:>14} {:>14} {:>14} {:>14}\n",
        "#Cluster Name", "#Broker Name", "#InTotalYest", "#OutTotalYest", "#InTotalToday", "#OutTotalToday"
    );
    for broker in brokers {
        // COMPAT(java): if one figure is missing, all are 0.
        let number = |name| broker.runtime.number::<i64>(name);
        let totals = || {
            let between = |from, to| Some(number(to)?.wrapping_sub(number(from)?));
            Some([
                between("msgPutTotalYesterdayMorning", "msgPutTotalTodayMorning")?,
                between("msgGetTotalYesterdayMorning", "msgGetTotalTodayMorning")?,
                between("msgPutTotalTodayMorning", "msgPutTotalTodayNow")?,
                between("msgGetTotalTodayMorning", "msgGetTotalTodayNow")?,
            ])
        };
        let [in_yesterday, out_yesterday, in_today, out_today] = totals().unwrap_or_default();
        let _ = writeln!(
            text,
            "{:<16}  {:<32} {in_yesterday:>14} {out_yesterday:>14} {in_today:>14} {out_today:>14}",
            broker.cluster, broker.broker_name,
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn broker(values: &[(&str, &str)]) -> Broker {
        let table: BTreeMap<_, _> = values.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Broker {
            cluster: "DefaultCluster".into(),
            broker_name: "broker-a".into(),
            addr: "127.0.0.1:10911".into(),
            reachable: true,
            runtime: Runtime { table },
            ..Broker::default()
        }
    }

    #[test]
    fn a_broker_has_javas_columns() {
        let full = broker(&[
            ("brokerActive", "true"),
            ("putTps", "12.005 3 4"),
            ("getTransferredTps", "0.5 1 2"),
            ("sendThreadPoolQueueSize", "0"),
            ("sendThreadPoolQueueHeadWaitTimeMills", "0"),
            ("pullThreadPoolQueueSize", "1"),
            ("pullThreadPoolQueueHeadWaitTimeMills", "2"),
            ("ackThreadPoolQueueSize", "0"),
            ("ackThreadPoolQueueHeadWaitTimeMills", "0"),
            ("pageCacheLockTimeMills", "0"),
            ("earliestMessageTimeStamp", "1000"),
            ("commitLogDiskRatio", "0.25"),
            ("timerReadBehind", "0"),
            ("timerOffsetBehind", "0"),
            ("timerCongestNum", "12345"),
            ("timerEnqueueTps", "0.0"),
            ("timerDequeueTps", "1.25"),
            ("brokerVersionDesc", "V5_3_3"),
        ]);
        let away = Broker { reachable: false, ..broker(&[]) };
        let text = base_info(&vec![full, away], 1000 + 5_400_000);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines[0],
            "#Cluster Name           #Broker Name            #BID  #Addr                  #Version              \
             #InTPS(LOAD)                   #OutTPS(LOAD)  #Timer(Progress)        #PCWait(ms)  #Hour         #SPACE    #ACTIVATED"
        );
        assert_eq!(
            lines[1],
            "DefaultCluster          broker-a                0     127.0.0.1:10911        V5_3_3            \
            \x20   12.01(0,0ms)               0.50(1,2ms|0,0ms)  0-0(1.2w, 0.0, 1.3)               0  1.50          0.2500          true"
        );
        assert_eq!(
            lines[2],
            "DefaultCluster          broker-a                0     127.0.0.1:10911                          \
            \x20      0.00(,ms)                   0.00(,ms|,ms)  0-0(0.0w, 0.0, 0.0)                  0.00          0.0000         false"
        );
    }

    #[test]
    fn totals_are_differences_and_all_zero_if_one_is_missing() {
        let all = broker(&[
            ("msgPutTotalYesterdayMorning", "1"),
            ("msgPutTotalTodayMorning", "11"),
            ("msgPutTotalTodayNow", "111"),
            ("msgGetTotalYesterdayMorning", "2"),
            ("msgGetTotalTodayMorning", "4"),
            ("msgGetTotalTodayNow", "9"),
        ]);
        let text = more_stats(&vec![all, broker(&[("msgPutTotalTodayNow", "x")])], 0);
        let lines: Vec<_> = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
        assert_eq!(lines[1], ["DefaultCluster", "broker-a", "10", "2", "100", "5"]);
        assert_eq!(lines[2], ["DefaultCluster", "broker-a", "0", "0", "0", "0"]);
    }
}
