// SPDX-License-Identifier: Apache-2.0
//! Where the servers are put together from their parts.

use crate::{
    live::LiveSettings,
    name_server::RunningNameServer,
    parts::{Fixed, memory_bytes, parts},
    shutdown::ShutdownSignals,
    terminal::say,
};
use anyhow::Context;
use oxmq_broker::{Broker, Levels, NoConfiguration, Registration, dispatch_rule};
use oxmq_config::{BrokerRole, BrokerSettings, FlushType, NamesrvSettings, Retention};
use oxmq_net::{AdminAccess, Client, Limits, NoService, Server, Workers};
use oxmq_store::{
    FlushMode, Folder, IndexConfig, OpenError, Problems, RetentionConfig, Store, StoreConfig, preflight,
};
use rustix::process::{Resource, getrlimit, setrlimit};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{Arc, OnceLock, Weak},
    thread,
    time::Duration,
};
use tracing::{error, info, warn};

/// The share of the memory that the end of the log is taken to fill, so that the kernel need not be asked about it. Far
/// less than it does fill: if the kernel was short of memory, a reader waits for the disk in everybody's way.
const HOT_SHARE: u64 = 16;

/// The share of the memory for what was read from the disk, and what is enough for it.
const COLD_BUFFER_SHARE: u64 = 64;
const COLD_BUFFER_MAX_BYTES: u64 = 64 << 20;

/// Runs a name server until it is told to stop.
pub(crate) async fn run_namesrv(settings: NamesrvSettings) -> anyhow::Result<()> {
    let workers = workers()?;
    let name_server = RunningNameServer::start(settings, &workers)?;
    let signals = ShutdownSignals::listen()?;
    announce(&name_server.boot_line);
    let signal = signals.next().await;
    info!(signal, "stopping");
    name_server.stop();
    workers.shutdown();
    Ok(())
}

/// Runs a broker until it is told to stop.
///
/// `config_file`: what `-c` named; changes at run time are kept there.
pub(crate) async fn run_broker(settings: BrokerSettings, config_file: Option<PathBuf>) -> anyhow::Result<()> {
    let workers = workers()?;
    let broker = RunningBroker::start(&settings, config_file, &workers)?;
    let signals = ShutdownSignals::listen()?;
    announce(&broker.boot_line);
    let signal = signals.next().await;
    info!(signal, "stopping");
    broker.stop().await;
    workers.shutdown();
    Ok(())
}

/// Runs both in this process until it is told to stop.
pub(crate) async fn run_dev(namesrv: NamesrvSettings, broker: BrokerSettings) -> anyhow::Result<()> {
    let workers = workers()?;
    let name_server = RunningNameServer::start(namesrv, &workers)?;
    announce(&name_server.boot_line);
    let addresses = broker.namesrv().addresses.join(";");
    let data = broker.store().root_dir;
    let broker = RunningBroker::start(&broker, None, &workers)?;
    let signals = ShutdownSignals::listen()?;
    announce(&broker.boot_line);
    say(&format!(
        "Data is kept under {}. Topics are made by their first message. Stop with Ctrl-C.",
        data.display()
    ));
    say(&format!(
        "Try next: export NAMESRV_ADDR={addresses} and run any RocketMQ client, or mqadmin clusterList."
    ));
    let signal = signals.next().await;
    info!(signal, "stopping");
    broker.stop().await;
    name_server.stop();
    workers.shutdown();
    Ok(())
}

/// Prints the line that people and scripts wait for.
fn announce(boot_line: &str) {
    say(boot_line);
    info!("{boot_line}");
}

fn workers() -> anyhow::Result<Workers> {
    raise_file_limit();
    let count = thread::available_parallelism().map_or(1, usize::from);
    Workers::start(count).context("cannot start the worker threads")
}

/// Each connection takes a file handle, and the usual soft limit of 1,024 is below what one broker serves.
fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        warn!(%error, "the limit of open files could not be raised");
    }
}

struct RunningBroker {
    broker: Arc<Broker>,
    store: Arc<Store>,
    client: Client,
    registration: Registration,
    registering: tokio::task::JoinHandle<()>,
    server: Server,
    boot_line: String,
}

impl RunningBroker {
    fn start(
        settings: &BrokerSettings,
        config_file: Option<PathBuf>,
        workers: &Workers,
    ) -> anyhow::Result<Self> {
        let identity = settings.identity();
        match identity.role {
            BrokerRole::Slave => anyhow::bail!(
                "brokerRole=SLAVE: replication is not there yet, and a slave that copies nothing would pass for one"
            ),
            BrokerRole::SyncMaster => warn!(
                "brokerRole=SYNC_MASTER: replication is not there yet, so sends are answered with SLAVE_NOT_AVAILABLE"
            ),
            BrokerRole::AsyncMaster => {}
        }
        let listener = settings.listener();
        let bind: IpAddr = listener.bind_address.parse().context("bindAddress is no IP address")?;
        let address = |name: Option<&String>| match name {
            Some(name) => Ok(name.clone()),
            None => advertised_address().map(|ip| ip.to_string()),
        };
        let ip1 = address(identity.ip1.as_ref())?;
        let ip2 = address(identity.ip2.as_ref().or(Some(&ip1)))?;
        // Ports first: whoever holds them most often holds the store, too, and a taken port is the clearer message.
        let port = identity.listen_port;
        let ports = [Some(port), port.checked_sub(2).filter(|vip| *vip > 0)];
        let addrs: Vec<_> = ports.into_iter().flatten().map(|port| SocketAddr::new(bind, port)).collect();
        let listening = Server::listen(&addrs)?;

        let files = settings.store();
        let mut config = StoreConfig::new(&files.root_dir);
        config.commit_log_dir.clone_from(&files.commit_log_dir);
        config.segment_size_bytes = files.segment_bytes;
        config.consume_queue_file_size_bytes = files.consume_queue_file_bytes;
        config.hot_bytes = memory_bytes() / HOT_SHARE;
        config.cold_buffer_bytes = (memory_bytes() / COLD_BUFFER_SHARE).min(COLD_BUFFER_MAX_BYTES);
        config.index = files.index.then(|| IndexConfig {
            dir: files.root_dir.join("index"),
            slots: files.index_slots,
            entries: files.index_entries,
        });
        config.flush = match files.flush_type {
            FlushType::Sync => FlushMode::Sync,
            FlushType::Async => FlushMode::Async {
                interval_ms: files.commit_log_flush_interval_ms,
                least_pages: files.commit_log_flush_least_pages.into(),
                thorough_interval_ms: files.commit_log_flush_thorough_interval_ms,
            },
        };
        let kept = settings.retention();
        config.retention = Some(retention(&kept));
        look_first(&config)?;
        let consume_queue_dir = config.consume_queue_dir.clone();
        let delays = settings.delays();
        if delays.timer && delays.timer_max_delay_seconds > kept.reserved_hours.saturating_mul(3600) {
            warn!(
                "timerMaxDelaySec is longer than fileReservedTime: \
                 messages may be removed before the time has come for which they wait"
            );
        }
        let levels = Levels::parse(&delays.levels).context("messageDelayLevel: too many levels")?;
        let store = Store::open(config, Box::new(dispatch_rule(levels.clone())))?;

        let access = Arc::new(AdminAccess::new(settings.admin_networks()));
        let fixed = Fixed { ip1: ip1.clone(), consume_queue_dir, levels, access: access.clone() };
        let running = Arc::new(OnceLock::<Weak<Broker>>::new());
        let live = LiveSettings::new(settings.clone(), config_file, {
            let (store, fixed, running) = (store.clone(), fixed.clone(), running.clone());
            move |changed| {
                access.allow(changed.admin_networks());
                store.set_retention(changed_retention(&kept, &changed.retention()));
                // Nobody asks before it is there.
                if let Some(broker) = running.get().and_then(Weak::upgrade) {
                    broker.change(&parts(changed, &fixed, Arc::new(NoConfiguration)));
                }
            }
        });
        let broker = Broker::open(parts(settings, &fixed, Arc::new(live)), store.clone())?;
        let _ = running.set(Arc::downgrade(&broker));
        let handle = workers.handle();
        broker.spawn_tasks(|task| drop(handle.spawn(task)));

        let registered = settings.namesrv();
        let registration = Registration {
            name_servers: registered.addresses.clone(),
            cluster: identity.cluster_name.clone(),
            name: identity.broker_name.clone(),
            id: identity.broker_id,
            address: format!("{ip1}:{port}"),
            ha_address: format!("{ip2}:{}", identity.ha_listen_port),
            compressed: registered.compressed,
            period: Duration::from_millis(registered.period_ms),
            timeout: Duration::from_millis(registered.timeout_ms),
        };
        let limits =
            Limits { idle_timeout: Duration::from_secs(listener.idle_timeout_seconds), ..Limits::default() };
        let server = listening.serve(workers, broker.clone(), limits)?;
        let client = Client::new(workers, Arc::new(NoService));
        let registering = handle.spawn(registration.clone().run(client.clone(), broker.clone()));

        let mut boot_line =
            format!("The broker[{}, {ip1}:{port}] boot success. serializeType=JSON", identity.broker_name);
        if !registered.addresses.is_empty() {
            boot_line += &format!(" and name server is {}", registered.addresses.join(";"));
        }
        Ok(Self { broker, store, client, registration, registering, server, boot_line })
    }

    /// Takes the registration back, accepts nothing more and makes everything durable.
    async fn stop(self) {
        self.registering.abort();
        self.registration.withdraw(&self.client).await;
        self.server.close();
        self.broker.stop();
        if let Err(error) = self.broker.save() {
            error!(%error, "configuration could not be written");
        }
        match self.store.close() {
            Ok(()) => info!("store closed"),
            Err(error) => {
                error!(%error, "the store was not closed, the next start recovers it as after a crash")
            }
        }
    }
}

/// Looks at the store's folder before anything in it is changed, and says all that is wrong with it.
fn look_first(config: &StoreConfig) -> anyhow::Result<()> {
    let (folder, mut problems) = match preflight(config) {
        Ok(folder) => (folder, Vec::new()),
        Err(OpenError::Refused(Problems(problems))) => {
            (Folder::default(), problems.iter().map(ToString::to_string).collect())
        }
        Err(other) => return Err(other.into()),
    };
    if let Err(errors) = oxmq_broker::check(&config.root, &folder) {
        problems.extend(errors.iter().map(ToString::to_string));
    }
    match &problems[..] {
        [] => Ok(()),
        [one] => Err(anyhow::anyhow!("{one}")),
        all => {
            all.iter().for_each(|problem| error!("{problem}"));
            let (root, count) = (config.root.display(), all.len());
            Err(anyhow::anyhow!(
                "store folder {root} is refused, and nothing in it was changed: the {count} lines above say what is wrong"
            ))
        }
    }
}

fn retention(kept: &Retention) -> RetentionConfig {
    RetentionConfig {
        interval_ms: kept.interval_ms,
        delete_hours: kept.delete_hours.clone(),
        reserved_ms: kept.reserved_hours.saturating_mul(3_600_000),
        max_used_percent: kept.max_used_percent,
        clean_forcibly_percent: kept.clean_forcibly_percent,
        warning_percent: kept.warning_percent,
        forcibly: kept.forcibly,
        files_at_once: kept.files_at_once,
        log_pause_ms: kept.log_pause_ms,
        queue_pause_ms: kept.queue_pause_ms,
        retry_ms: kept.retry_ms,
        replicas: kept.replicas,
        clean_part_forcibly_percent: kept.clean_part_forcibly_percent,
    }
}

/// What is kept when that was changed while the broker runs. Transactions that are not ended are stored anew after a
/// quarter of the time that messages were kept for at the start, and must not be removed before.
fn changed_retention(at_start: &Retention, changed: &Retention) -> RetentionConfig {
    let least = at_start.reserved_hours.div_ceil(2);
    if changed.reserved_hours < least {
        warn!(hours = least, "messages are kept for half of what fileReservedTime was, until the next start");
    }
    RetentionConfig {
        reserved_ms: changed.reserved_hours.max(least).saturating_mul(3_600_000),
        ..retention(changed)
    }
}

/// The address that clients are told if `brokerIP1` is not set: the first that is not loopback, IPv4 before IPv6.
fn advertised_address() -> anyhow::Result<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().context("cannot list the network interfaces; set brokerIP1")?;
    let mut addresses: Vec<_> = interfaces
        .into_iter()
        .filter(|interface| !interface.is_loopback() && !interface.is_link_local())
        .map(|interface| interface.ip())
        .collect();
    addresses.sort_by_key(|ip| ip.is_ipv6());
    Ok(addresses.first().copied().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use oxmq_config::Host;
    use oxmq_types::Properties;

    #[test]
    fn a_shorter_time_leaves_transactions_the_time_to_be_stored_anew() {
        let (settings, _) =
            BrokerSettings::load(&Properties::default(), &Properties::default(), &Host::default()).unwrap();
        let kept = settings.retention();
        assert_eq!(kept.reserved_hours, 72);
        for (hours, counts) in [(100, 100), (36, 36), (35, 36), (0, 36)] {
            let changed = Retention { reserved_hours: hours, max_used_percent: 20, ..kept.clone() };
            let config = changed_retention(&kept, &changed);
            assert_eq!((config.reserved_ms, config.max_used_percent), (counts * 3_600_000, 20));
        }
    }
}
