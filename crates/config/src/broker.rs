// SPDX-License-Identifier: Apache-2.0
//! A broker's settings, and the parts of it that the broker's parts ask for. Java: `BrokerStartup#buildBrokerController`.

use std::path::PathBuf;

use oxmq_types::{BrokerId, Networks, Perm, Properties};

use crate::{
    keys::{self, addresses},
    settings::{Change, ConfigError, Host, Listener, Notice, UpdateError, Values},
};

/// Bytes of one consume queue unit; a consume queue file holds whole ones.
const CONSUME_QUEUE_UNIT_BYTES: u64 = 20;

/// What Java knows, this version does not, and silence would make dangerous.
const UNSUPPORTED: [(&str, &str, &str); 9] = [
    ("aclEnable", "true", "access control is not there yet, everybody would be let in"),
    ("authenticationEnabled", "true", "access control is not there yet, everybody would be let in"),
    ("authorizationEnabled", "true", "access control is not there yet, everybody would be let in"),
    (
        "enableDLegerCommitLog",
        "true",
        "the store of a DLedger group has another layout, and this broker would be a master on its own",
    ),
    ("enableControllerMode", "true", "this broker would be a master without asking the controller"),
    ("storeType", "defaultRocksDB", "queues and settings in RocksDB would not be seen"),
    ("rocksdbCQDoubleWriteEnable", "true", "queues in RocksDB would not be written"),
    ("readOnlyCommitLogStorePaths", "", "messages in these folders would not be seen"),
    ("storePathDLedgerCommitLog", "", "messages in this folder would not be seen"),
];

/// Everything a broker is told at its start.
#[derive(Debug, Clone)]
pub struct BrokerSettings(Values);

/// Java: `BrokerRole`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokerRole {
    /// Answers a send without waiting for a slave.
    AsyncMaster,
    /// Answers a send when a slave has the message too.
    SyncMaster,
    /// Follows a master.
    Slave,
}

/// Java: `FlushDiskType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlushType {
    /// A send is answered when its message is on the disk.
    Sync,
    /// A send is answered when its message is in memory; the disk follows.
    Async,
}

/// Who the broker is to others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// `brokerClusterName`.
    pub cluster_name: String,
    /// `brokerName`: shared by a master and its slaves.
    pub broker_name: String,
    /// `brokerId`: 0 is the master.
    pub broker_id: BrokerId,
    /// `brokerRole`.
    pub role: BrokerRole,
    /// `brokerIP1`: the address that clients are told. `None`: the caller chooses, Java takes the first that is not loopback.
    pub ip1: Option<String>,
    /// `brokerIP2`: the address that slaves are told. `None`: the same as `ip1`'s default.
    pub ip2: Option<String>,
    /// `listenPort`. The VIP channel is at this port - 2.
    pub listen_port: u16,
    /// `haListenPort`: where slaves connect. Java's default: `listenPort` + 1.
    pub ha_listen_port: u16,
    /// `regionId`: told to producers for message traces.
    pub region_id: String,
}

/// Where messages lie and when they reach the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreFiles {
    /// `storePathRootDir`. Consume queues, index, checkpoint, abort and lock file lie in it, wherever the commit log is.
    pub root_dir: PathBuf,
    /// `storePathCommitLog`; `commitlog` in the root when unset.
    pub commit_log_dir: PathBuf,
    /// `mappedFileSizeCommitLog`, older `mapedFileSizeCommitLog`: length of a segment.
    pub segment_bytes: u64,
    /// `mappedFileSizeConsumeQueue`, older `mapedFileSizeConsumeQueue`: length of a consume queue file, rounded up to whole units as in Java.
    pub consume_queue_file_bytes: u64,
    /// `flushDiskType`.
    pub flush_type: FlushType,
    /// `syncFlushTimeout`: how long a send waits for the disk, in milliseconds.
    pub sync_flush_timeout_ms: u64,
    /// `flushIntervalCommitLog`: milliseconds between two looks at what is not flushed yet.
    pub commit_log_flush_interval_ms: u64,
    /// `flushCommitLogTimed`: true sleeps the interval out, false is woken by a message.
    pub commit_log_flush_timed: bool,
    /// `flushCommitLogLeastPages`: less than this many dirty 4 KiB pages wait for the thorough flush. 0 never waits.
    pub commit_log_flush_least_pages: u32,
    /// `flushCommitLogThoroughInterval`: after this many milliseconds everything is flushed.
    pub commit_log_flush_thorough_interval_ms: u64,
    /// `flushIntervalConsumeQueue`, in milliseconds.
    pub consume_queue_flush_interval_ms: u64,
    /// `flushConsumeQueueLeastPages`, in 4 KiB pages.
    pub consume_queue_flush_least_pages: u32,
    /// `flushConsumeQueueThoroughInterval`, in milliseconds.
    pub consume_queue_flush_thorough_interval_ms: u64,
    /// `maxMessageSize`: longest body, in bytes.
    pub max_message_bytes: u32,
    /// `enabledAppendPropCRC`: records end with a checksum of all of them.
    pub record_checksums: bool,
    /// `messageIndexEnable`: messages can be found by their keys.
    pub index: bool,
    /// `maxHashSlotNum`: slots in an index file.
    pub index_slots: u32,
    /// `maxIndexNum`: entries in an index file, and one.
    pub index_entries: u32,
    /// `maxMsgsNumBatch`: messages in one answer to those who look for a key.
    pub key_query_max: u32,
    /// `defaultQueryMaxNum`: the same for a unique key.
    pub unique_query_max: u32,
    /// `checkCRCOnRecover`: compare bodies with their checksums after a crash.
    pub check_crc_on_recover: bool,
}

/// When messages are removed. Java corrects ratios that are out of its range, silently; so are these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// `cleanResourceInterval`: milliseconds between two looks.
    pub interval_ms: u64,
    /// `deleteWhen`: hours of the day, local time, in which what is expired is removed.
    pub delete_hours: Vec<u8>,
    /// `fileReservedTime`: how long messages are kept, in hours.
    pub reserved_hours: u64,
    /// `diskMaxUsedSpaceRatio`, from 10 to 95: above it, what is expired is removed at any hour.
    pub max_used_percent: u8,
    /// `diskSpaceCleanForciblyRatio`, from 30 to 85: above it, messages are removed before they expire.
    pub clean_forcibly_percent: u8,
    /// `diskSpaceWarningLevelRatio`, from 35 to 90: above it, no messages are taken.
    pub warning_percent: u8,
    /// `cleanFileForciblyEnable`: messages may be removed before they expire.
    pub forcibly: bool,
    /// `deleteFileBatchMax`: commit log files that one look removes at most.
    pub files_at_once: usize,
    /// `deleteCommitLogFilesInterval`: milliseconds between two files of the commit log.
    pub log_pause_ms: u64,
    /// `deleteConsumeQueueFilesInterval`: milliseconds between two queues of which files are removed.
    pub queue_pause_ms: u64,
    /// `redeleteHangedFileInterval`: milliseconds until a file that could not be removed is tried again.
    pub retry_ms: u64,
    /// `replicasPerDiskPartition`: brokers that share a disk.
    pub replicas: u32,
    /// `logicalDiskSpaceCleanForciblyThreshold`, in percent: the same as `clean_forcibly_percent` for a part of the disk.
    pub clean_part_forcibly_percent: u8,
}

/// What topics and groups come into being, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    /// `brokerPermission`: what may be done through this broker at all.
    pub broker_permission: Perm,
    /// `defaultTopicQueueNums`: queues of a topic that is made on first use, at most.
    pub default_queue_count: u32,
    /// `autoCreateTopicEnable`: topics are made on first use, from `TBW102`.
    pub auto_create_topic: bool,
    /// `autoCreateSubscriptionGroup`: groups are made on first use.
    pub auto_create_subscription_group: bool,
    /// `msgTraceTopicName` with `traceTopicEnable`: the topic for traces of clients, if the broker is to have it.
    pub trace_topic: Option<String>,
    /// `clusterTopicEnable`: the topic named as the cluster inherits to new topics.
    pub cluster_topic: bool,
    /// `brokerTopicEnable`: there is a topic named as the broker.
    pub broker_topic: bool,
}

/// How producers are answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sends {
    /// `startAcceptSendRequestTimeStamp`: before this time, in milliseconds since 1970, sends are refused.
    pub accept_from_ms: u64,
    /// `traceOn`: told to clients, which then trace or do not.
    pub trace_on: bool,
    /// `storeReplyMessageEnable`: replies are kept in the log.
    pub stores_replies: bool,
}

/// How transactions are treated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transactions {
    /// `transactionTimeOut`: younger half messages are not checked, in milliseconds.
    pub timeout_ms: u64,
    /// `transactionCheckInterval`: milliseconds between two checks of a half message.
    pub check_interval_ms: u64,
    /// `transactionCheckMax`: checks before a half message is discarded.
    pub checks_max: u32,
    /// `rejectTransactionMessage`: none are taken.
    pub rejected: bool,
    /// `fileReservedTime`: how long the log keeps what is in it, in hours.
    pub reserved_hours: u64,
}

/// How messages are delayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delays {
    /// `messageDelayLevel`: delays separated by blanks, each a number and one of `s m h d`.
    pub levels: String,
    /// `timerWheelEnable`: messages may name a time.
    pub timer: bool,
    /// `timerMaxDelaySec`: how far away that time may be, in seconds.
    pub timer_max_delay_seconds: u64,
    /// `timerPrecisionMs`: slots of Java's wheel, in milliseconds.
    pub timer_precision_ms: u64,
    /// `timerFlushIntervalMs`: milliseconds between two writes of how far delivery has come.
    pub save_interval_ms: u64,
    /// `recallMessageEnable`: messages that wait for a time can be recalled.
    pub recall: bool,
    /// `allowRecallWhenBrokerNotWriteable`.
    pub recall_when_not_writable: bool,
}

/// How pulls are answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulls {
    /// `longPollingEnable`: an empty pull is held as long as the client asks for.
    pub long_polling: bool,
    /// `shortPollingTimeMills`: how long it is held otherwise, in milliseconds.
    pub short_polling_timeout_ms: u64,
    /// `litePullMessageEnable`: clients may use LITE_PULL_MESSAGE.
    pub lite_pull: bool,
    /// `maxTransferBytesOnMessageInMemory`: bytes in one answer, from the page cache.
    pub max_bytes_in_memory: u32,
    /// `maxTransferCountOnMessageInMemory`: messages in one answer, from the page cache.
    pub max_messages_in_memory: u32,
    /// `maxTransferBytesOnMessageInDisk`: bytes in one answer, from the disk.
    pub max_bytes_on_disk: u32,
    /// `maxTransferCountOnMessageInDisk`: messages in one answer, from the disk.
    pub max_messages_on_disk: u32,
    /// `maxFilterMessageSize`: consume queue bytes that one filtered pull looks at.
    pub max_filter_bytes: u32,
    /// `accessMessageInMemoryMaxRatio`: percent of the memory that is taken to hold the end of the log.
    pub in_memory_percent: u32,
    /// `enablePropertyFilter`: filters that are more than tags.
    pub property_filter: bool,
    /// `slaveReadEnable`: groups are sent to the broker that their settings name.
    pub slave_read: bool,
}

/// What is kept of consumers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consumers {
    /// `flushConsumerOffsetInterval`: milliseconds between two writes of `consumerOffset.json`.
    pub offset_flush_interval_ms: u64,
    /// `notifyConsumerIdsChangedEnable`: a group hears when a member comes or goes.
    pub notify_members_changed: bool,
    /// `realTimeNotifyConsumerChange`: at once; otherwise collected for a while.
    pub notify_at_once: bool,
    /// `channelExpiredTimeout`: a client without heartbeat for this many milliseconds is dropped.
    pub channel_expiry_ms: u64,
    /// `useServerSideResetOffset`: offsets are reset by the broker; otherwise by the clients, which must be online.
    pub server_side_reset: bool,
}

/// How the broker makes itself known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// `namesrvAddr`, else `NAMESRV_ADDR`: each as `host:port`. Empty: nobody is told.
    pub addresses: Vec<String>,
    /// `registerNameServerPeriod`: milliseconds between two registrations, held between 10 s and 60 s as in Java.
    pub period_ms: u64,
    /// `registerBrokerTimeoutMills`: how long one name server may take to answer, in milliseconds.
    pub timeout_ms: u64,
    /// `connectTimeoutMillis`: how long a connection to it may take, in milliseconds.
    pub connect_timeout_ms: u64,
    /// `forceRegister`: register even when the name server has the same data version.
    pub force: bool,
    /// `compressedRegister`: compress the list of topics.
    pub compressed: bool,
}

impl BrokerSettings {
    /// Checks `file` and the command line's `overrides`, and fills in what they do not say.
    ///
    /// # Errors
    /// [`ConfigError::Value`] for a known key with an impossible value, also of `NAMESRV_ADDR`;
    /// [`ConfigError::Unsupported`] for what cannot be honoured and must not be passed over.
    pub fn load(
        file: &Properties,
        overrides: &Properties,
        host: &Host,
    ) -> Result<(Self, Vec<Notice>), ConfigError> {
        let broker_name = host.name.as_deref().filter(|name| !name.is_empty()).unwrap_or("DEFAULT_BROKER");
        let mut defaults = vec![
            ("brokerName", broker_name.to_owned()),
            ("storePathRootDir", format!("{}/store", host.home)),
        ];
        defaults.extend(
            host.namesrv_addr
                .clone()
                .filter(|list| !list.trim().is_empty())
                .map(|list| ("namesrvAddr", list)),
        );
        defaults.extend(host.rocketmq_home.clone().map(|home| ("rocketmqHome", home)));
        let (mut values, mut notices) = Values::load(&keys::BROKER, defaults, file, overrides)?;
        values.refuse(&UNSUPPORTED)?;
        if values.get("storePathCommitLog").is_some_and(|path| path.contains(',')) {
            let why = "messages in all but one of these folders would not be seen";
            return Err(ConfigError::Unsupported {
                key: "storePathCommitLog",
                value: values.text("storePathCommitLog").to_owned(),
                why,
            });
        }

        let id = values.text("brokerId").to_owned();
        match (values.text("brokerRole"), id.as_str()) {
            ("SLAVE", _) if values.number::<i64>("brokerId") == 0 => {
                let expected = "a number above 0, because brokerRole is SLAVE (Slave's brokerId must be > 0)";
                return Err(ConfigError::Value {
                    key: "brokerId".into(),
                    value: id,
                    expected: expected.into(),
                });
            }
            ("SLAVE", _) | (_, "0") => {}
            // COMPAT(java 4.x, 5.x): a master's id becomes 0 whatever the file says; files with brokerId=1 and no brokerRole exist.
            (role, _) => {
                let by =
                    format!("brokerRole is {role}, and a master's id is 0; a slave needs brokerRole=SLAVE");
                notices.push(Notice::Overruled { key: "brokerId", value: id, by });
                values.set("brokerId", "0".into());
            }
        }

        let (port, ha_port): (u32, u32) = (values.number("listenPort"), values.number("haListenPort"));
        match ha_port {
            0 if port == 65535 => {
                let expected = "at most 65534, because haListenPort is the next port".to_owned();
                return Err(ConfigError::Value {
                    key: "listenPort".into(),
                    value: port.to_string(),
                    expected,
                });
            }
            0 => values.set("haListenPort", (port + 1).to_string()),
            _ if ha_port == port => {
                let expected = format!("another port than listenPort={port}");
                return Err(ConfigError::Value {
                    key: "haListenPort".into(),
                    value: ha_port.to_string(),
                    expected,
                });
            }
            _ => {}
        }
        Ok((Self(values), notices))
    }

    /// Changes keys at run time: all of `updates`, or none. Parts that were handed out before keep their old values.
    ///
    /// # Errors
    /// [`UpdateError::Fixed`] for a key that is not on the allow-list, [`UpdateError::Unknown`] and [`UpdateError::Value`]
    /// where Java answers success and does nothing.
    pub fn update(&mut self, updates: &Properties) -> Result<Vec<Change>, UpdateError> {
        self.0.update(updates)
    }

    /// The lines of `mqbroker -p`: `key=value` in Java's order, secrets masked.
    #[must_use]
    pub fn print_all(&self) -> Vec<String> {
        self.0.print(false)
    }

    /// The lines of `mqbroker -m`.
    #[must_use]
    pub fn print_important(&self) -> Vec<String> {
        self.0.print(true)
    }

    /// Every key that has a value, secrets masked: the answer to GET_BROKER_CONFIG.
    #[must_use]
    pub fn to_properties(&self) -> Properties {
        self.0.to_properties()
    }

    /// `adminAllowedNetworks`: whose tools may ask for what destroys, besides those on this machine.
    #[must_use]
    pub fn admin_networks(&self) -> Networks {
        self.0.admin_networks()
    }

    /// Where the broker listens.
    #[must_use]
    pub fn listener(&self) -> Listener {
        self.0.listener()
    }

    /// Who the broker is to others.
    #[must_use]
    pub fn identity(&self) -> Identity {
        let all = &self.0;
        Identity {
            cluster_name: all.text("brokerClusterName").to_owned(),
            broker_name: all.text("brokerName").to_owned(),
            broker_id: BrokerId(all.number("brokerId")),
            role: match all.text("brokerRole") {
                "SLAVE" => BrokerRole::Slave,
                "SYNC_MASTER" => BrokerRole::SyncMaster,
                _ => BrokerRole::AsyncMaster,
            },
            ip1: all.get("brokerIP1").map(str::to_owned),
            ip2: all.get("brokerIP2").map(str::to_owned),
            listen_port: all.number("listenPort"),
            ha_listen_port: all.number("haListenPort"),
            region_id: all.text("regionId").to_owned(),
        }
    }

    /// Where messages lie and when they reach the disk.
    #[must_use]
    pub fn store(&self) -> StoreFiles {
        let all = &self.0;
        let root_dir = all.path("storePathRootDir");
        StoreFiles {
            commit_log_dir: all
                .get("storePathCommitLog")
                .map_or_else(|| root_dir.join("commitlog"), PathBuf::from),
            root_dir,
            segment_bytes: all.number("mappedFileSizeCommitLog"),
            consume_queue_file_bytes: all
                .number::<u64>("mappedFileSizeConsumeQueue")
                .next_multiple_of(CONSUME_QUEUE_UNIT_BYTES),
            flush_type: match all.text("flushDiskType") {
                "SYNC_FLUSH" => FlushType::Sync,
                _ => FlushType::Async,
            },
            sync_flush_timeout_ms: all.number("syncFlushTimeout"),
            commit_log_flush_interval_ms: all.number("flushIntervalCommitLog"),
            commit_log_flush_timed: all.flag("flushCommitLogTimed"),
            commit_log_flush_least_pages: all.number("flushCommitLogLeastPages"),
            commit_log_flush_thorough_interval_ms: all.number("flushCommitLogThoroughInterval"),
            consume_queue_flush_interval_ms: all.number("flushIntervalConsumeQueue"),
            consume_queue_flush_least_pages: all.number("flushConsumeQueueLeastPages"),
            consume_queue_flush_thorough_interval_ms: all.number("flushConsumeQueueThoroughInterval"),
            max_message_bytes: all.number("maxMessageSize"),
            record_checksums: all.flag("enabledAppendPropCRC"),
            index: all.flag("messageIndexEnable"),
            index_slots: all.number("maxHashSlotNum"),
            index_entries: all.number("maxIndexNum"),
            key_query_max: all.number("maxMsgsNumBatch"),
            unique_query_max: all.number("defaultQueryMaxNum"),
            check_crc_on_recover: all.flag("checkCRCOnRecover"),
        }
    }

    /// When messages are removed.
    #[must_use]
    pub fn retention(&self) -> Retention {
        let all = &self.0;
        Retention {
            interval_ms: all.number("cleanResourceInterval"),
            delete_hours: all.text("deleteWhen").split(';').filter_map(|hour| hour.parse().ok()).collect(),
            reserved_hours: all.number("fileReservedTime"),
            max_used_percent: all.number::<u8>("diskMaxUsedSpaceRatio").clamp(10, 95),
            clean_forcibly_percent: all.number::<u8>("diskSpaceCleanForciblyRatio").clamp(30, 85),
            warning_percent: all.number::<u8>("diskSpaceWarningLevelRatio").clamp(35, 90),
            forcibly: all.flag("cleanFileForciblyEnable"),
            files_at_once: all.number("deleteFileBatchMax"),
            log_pause_ms: all.number("deleteCommitLogFilesInterval"),
            queue_pause_ms: all.number("deleteConsumeQueueFilesInterval"),
            retry_ms: all.number("redeleteHangedFileInterval"),
            replicas: all.number("replicasPerDiskPartition"),
            clean_part_forcibly_percent: all.percent("logicalDiskSpaceCleanForciblyThreshold"),
        }
    }

    /// What topics and groups come into being, and how.
    #[must_use]
    pub fn topics(&self) -> Topics {
        let all = &self.0;
        Topics {
            broker_permission: Perm(all.number("brokerPermission")),
            default_queue_count: all.number("defaultTopicQueueNums"),
            auto_create_topic: all.flag("autoCreateTopicEnable"),
            auto_create_subscription_group: all.flag("autoCreateSubscriptionGroup"),
            trace_topic: all.flag("traceTopicEnable").then(|| all.text("msgTraceTopicName").to_owned()),
            cluster_topic: all.flag("clusterTopicEnable"),
            broker_topic: all.flag("brokerTopicEnable"),
        }
    }

    /// How producers are answered.
    #[must_use]
    pub fn sends(&self) -> Sends {
        let all = &self.0;
        Sends {
            accept_from_ms: all.number("startAcceptSendRequestTimeStamp"),
            trace_on: all.flag("traceOn"),
            stores_replies: all.flag("storeReplyMessageEnable"),
        }
    }

    /// How transactions are treated.
    #[must_use]
    pub fn transactions(&self) -> Transactions {
        let all = &self.0;
        Transactions {
            timeout_ms: all.number("transactionTimeOut"),
            check_interval_ms: all.number("transactionCheckInterval"),
            checks_max: all.number("transactionCheckMax"),
            rejected: all.flag("rejectTransactionMessage"),
            reserved_hours: all.number("fileReservedTime"),
        }
    }

    /// How messages are delayed.
    #[must_use]
    pub fn delays(&self) -> Delays {
        let all = &self.0;
        Delays {
            levels: all.text("messageDelayLevel").to_owned(),
            timer: all.flag("timerWheelEnable"),
            timer_max_delay_seconds: all.number("timerMaxDelaySec"),
            timer_precision_ms: all.number("timerPrecisionMs"),
            save_interval_ms: all.number("timerFlushIntervalMs"),
            recall: all.flag("recallMessageEnable"),
            recall_when_not_writable: all.flag("allowRecallWhenBrokerNotWriteable"),
        }
    }

    /// How pulls are answered.
    #[must_use]
    pub fn pulls(&self) -> Pulls {
        let all = &self.0;
        Pulls {
            long_polling: all.flag("longPollingEnable"),
            short_polling_timeout_ms: all.number("shortPollingTimeMills"),
            lite_pull: all.flag("litePullMessageEnable"),
            max_bytes_in_memory: all.number("maxTransferBytesOnMessageInMemory"),
            max_messages_in_memory: all.number("maxTransferCountOnMessageInMemory"),
            max_bytes_on_disk: all.number("maxTransferBytesOnMessageInDisk"),
            max_messages_on_disk: all.number("maxTransferCountOnMessageInDisk"),
            max_filter_bytes: all.number("maxFilterMessageSize"),
            in_memory_percent: all.number("accessMessageInMemoryMaxRatio"),
            property_filter: all.flag("enablePropertyFilter"),
            slave_read: all.flag("slaveReadEnable"),
        }
    }

    /// What is kept of consumers.
    #[must_use]
    pub fn consumers(&self) -> Consumers {
        let all = &self.0;
        Consumers {
            offset_flush_interval_ms: all.number("flushConsumerOffsetInterval"),
            notify_members_changed: all.flag("notifyConsumerIdsChangedEnable"),
            notify_at_once: all.flag("realTimeNotifyConsumerChange"),
            channel_expiry_ms: all.number("channelExpiredTimeout"),
            server_side_reset: all.flag("useServerSideResetOffset"),
        }
    }

    /// How the broker makes itself known.
    #[must_use]
    pub fn namesrv(&self) -> Registration {
        let all = &self.0;
        Registration {
            addresses: addresses(all.get("namesrvAddr").unwrap_or_default()).map(str::to_owned).collect(),
            period_ms: all.number::<u64>("registerNameServerPeriod").clamp(10_000, 60_000),
            timeout_ms: all.number("registerBrokerTimeoutMills"),
            connect_timeout_ms: all.number("connectTimeoutMillis"),
            force: all.flag("forceRegister"),
            compressed: all.flag("compressedRegister"),
        }
    }
}
