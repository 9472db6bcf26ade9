// SPDX-License-Identifier: Apache-2.0
//! From the settings of a broker to what its parts are told, at the start and when a tool has changed some.

use oxmq_broker::{
    AdminRules, Configuration, DelayRules, Levels, PullRules, SendRules, Settings, TopicRules,
    TransactionRules,
};
use oxmq_config::{BrokerRole, BrokerSettings, FlushType};
use oxmq_net::AdminAccess;
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

/// Bytes of a consume queue unit, in which Java counts how much a pull may look at.
const UNIT_BYTES: usize = 20;

/// The share of the memory that may hold messages which are not on the disk yet: below that at which Linux stops whoever
/// writes (`vm.dirty_ratio`, a fifth).
const UNFLUSHED_SHARE: u64 = 8;

/// So much may wait on the smallest machine.
const UNFLUSHED_MAX_LEAST_BYTES: u64 = 256 << 20;

/// What the start found out, and what never changes.
#[derive(Debug, Clone)]
pub(crate) struct Fixed {
    /// Where clients reach the broker.
    pub(crate) ip1: String,
    /// Where the consume queues lie.
    pub(crate) consume_queue_dir: PathBuf,
    /// `messageDelayLevel`.
    pub(crate) levels: Levels,
    /// Whose tools may ask for what destroys.
    pub(crate) access: Arc<AdminAccess>,
}

/// What the parts of a broker are told by its settings.
pub(crate) fn parts(
    settings: &BrokerSettings,
    fixed: &Fixed,
    configuration: Arc<dyn Configuration>,
) -> Settings {
    let Fixed { ip1, consume_queue_dir, levels, access } = fixed.clone();
    let (identity, files, delays) = (settings.identity(), settings.store(), settings.delays());
    let (topics, sends, pulls) = (settings.topics(), settings.sends(), settings.pulls());
    let transactions = settings.transactions();
    let port = identity.listen_port;
    let store_host = SocketAddr::new(ip1.parse().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)), port);
    let sync_flush_timeout =
        (files.flush_type == FlushType::Sync).then(|| Duration::from_millis(files.sync_flush_timeout_ms));
    Settings {
        root: files.root_dir.clone(),
        topics: TopicRules {
            cluster: identity.cluster_name.clone(),
            broker: identity.broker_name.clone(),
            auto_create: topics.auto_create_topic,
            default_queues: topics.default_queue_count,
            trace_topic: topics.trace_topic.clone(),
            cluster_topic: topics.cluster_topic,
            broker_topic: topics.broker_topic,
        },
        sends: SendRules {
            store_host,
            cluster: identity.cluster_name.clone(),
            region: identity.region_id.clone(),
            trace_on: sends.trace_on,
            stores_replies: sends.stores_replies,
            permission: topics.broker_permission,
            body_max_bytes: files.max_message_bytes as usize,
            record_checksums: files.record_checksums,
            waits_for_slave: identity.role == BrokerRole::SyncMaster,
            accepts_from_ms: milliseconds(sends.accept_from_ms),
            unflushed_max_bytes: (memory_bytes() / UNFLUSHED_SHARE).max(UNFLUSHED_MAX_LEAST_BYTES),
            sync_flush_timeout,
        },
        pulls: PullRules {
            address: ip1.clone(),
            permission: topics.broker_permission,
            long_polling: pulls.long_polling,
            short_polling: Duration::from_millis(pulls.short_polling_timeout_ms),
            property_filter: pulls.property_filter,
            lite_pull: pulls.lite_pull,
            slave_read: pulls.slave_read,
            messages_max: pulls.max_messages_in_memory as usize,
            bytes_max: pulls.max_bytes_in_memory as usize,
            old_messages_max: pulls.max_messages_on_disk as usize,
            old_bytes_max: pulls.max_bytes_on_disk as usize,
            units_max: pulls.max_filter_bytes as usize / UNIT_BYTES,
        },
        transactions: TransactionRules {
            timeout_ms: milliseconds(transactions.timeout_ms),
            check_interval: Duration::from_millis(transactions.check_interval_ms),
            checks_max: transactions.checks_max,
            rejected: transactions.rejected,
            // Well before its segment may be removed.
            renew_after: Duration::from_secs(transactions.reserved_hours * 3600 / 4),
            sync_flush_timeout,
            ..TransactionRules::new(identity.broker_name.clone(), store_host)
        },
        delays: DelayRules {
            levels,
            timer: delays.timer,
            timer_max_ms: milliseconds(delays.timer_max_delay_seconds.saturating_mul(1_000)),
            timer_precision_ms: milliseconds(delays.timer_precision_ms),
            save_period: Duration::from_millis(delays.save_interval_ms),
            recall: delays.recall,
            recall_when_not_writable: delays.recall_when_not_writable,
            broker: identity.broker_name.clone(),
        },
        admin: AdminRules {
            address: format!("{ip1}:{port}"),
            commit_log_dir: files.commit_log_dir.clone(),
            consume_queue_dir,
            key_query_max: files.key_query_max as usize,
            unique_query_max: files.unique_query_max as usize,
            server_side_reset: settings.consumers().server_side_reset,
            accepts_sends_from_ms: sends.accept_from_ms,
            configuration,
            access,
        },
        auto_create_groups: topics.auto_create_subscription_group,
        memory_bytes: memory_bytes() / 100 * u64::from(pulls.in_memory_percent),
        offset_save_period: Duration::from_millis(settings.consumers().offset_flush_interval_ms),
    }
}

fn milliseconds(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Memory of this machine, in bytes.
pub(crate) fn memory_bytes() -> u64 {
    rustix::system::sysinfo().totalram as u64
}
