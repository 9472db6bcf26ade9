// SPDX-License-Identifier: Apache-2.0
//! Files that Java's users have, and what Java 5.3.3 prints of its own defaults.

use std::path::Path;

use oxmq_config::{
    BrokerRole, BrokerSettings, ConfigError, FlushType, Host, NamesrvSettings, Notice, UpdateError,
};
use oxmq_types::{BrokerId, Perm, Properties};

fn host() -> Host {
    Host { home: "/home/rocketmq".into(), name: Some("machine".into()), ..Host::default() }
}

fn broker(file: &str) -> Result<(BrokerSettings, Vec<Notice>), ConfigError> {
    BrokerSettings::load(&Properties::parse(file).unwrap(), &Properties::default(), &host())
}

fn good(file: &str) -> BrokerSettings {
    broker(file).unwrap().0
}

/// Lines of `-p` or `-m`, without the values that depend on the machine.
fn masked(lines: Vec<String>) -> Vec<String> {
    let depends =
        ["rocketmqHome", "brokerIP1", "brokerIP2", "storePathRootDir", "kvConfigPath", "configStorePath"];
    let mask = |line: String| match line.split_once('=') {
        Some((key, _)) if depends.contains(&key) => format!("{key}=*"),
        _ => line,
    };
    lines.into_iter().map(mask).collect()
}

/// A golden text as this project prints it: Java's lines, the real default port, the identity after the class that lost it.
fn golden(text: &str, after: &str) -> Vec<String> {
    let mut lines: Vec<String> =
        text.lines().map(|line| line.replace("listenPort=6888", "listenPort=10911")).collect();
    let at = lines.iter().position(|line| line.starts_with(after)).unwrap() + 1;
    let identity = ["brokerName=machine", "brokerClusterName=DefaultCluster", "brokerId=0"];
    lines.splice(at..at, identity.map(str::to_owned));
    lines
}

#[test]
fn defaults_are_those_that_java_prints() {
    let settings = good("");
    let mut all = masked(settings.print_all());
    // Two fields of the parent class are Java's own bookkeeping.
    all.retain(|line| !line.starts_with("isBrokerContainer") && !line.starts_with("isInBrokerContainer"));
    assert_eq!(all, golden(include_str!("golden/mqbroker-p-5.3.3.txt"), "enableCreateSysGroup"));
    assert_eq!(
        masked(settings.print_important()),
        golden(include_str!("golden/mqbroker-m-5.3.3.txt"), "aclEnable")
    );

    let (namesrv, notices) =
        NamesrvSettings::load(&Properties::default(), &Properties::default(), &host()).unwrap();
    let java: Vec<_> = include_str!("golden/mqnamesrv-p-5.3.3.txt").lines().collect();
    assert_eq!(masked(namesrv.print_all()), java);
    assert_eq!(notices, []);
}

#[test]
fn what_is_printed_is_a_valid_file_without_a_word_to_say() {
    let settings = good("brokerName=a\nlistenPort=20911\nnamesrvAddr=n:9876");
    let (again, notices) = broker(&settings.print_all().join("\n")).unwrap();
    assert_eq!(notices, []);
    assert_eq!(again.print_all(), settings.print_all());
    let (again, notices) = broker(&settings.to_properties().to_string()).unwrap();
    assert_eq!(notices, []);
    assert_eq!(again.to_properties(), settings.to_properties());
}

#[test]
fn the_files_of_javas_distribution_are_understood() {
    for (folder, role) in
        [("2m-2s-async", "ASYNC_MASTER"), ("2m-2s-sync", "SYNC_MASTER"), ("2m-noslave", "ASYNC_MASTER")]
    {
        for (name, id, role) in [("a", 0, role), ("b", 0, role), ("a", 1, "SLAVE"), ("b", 1, "SLAVE")] {
            let (settings, notices) = broker(&format!(
                "brokerClusterName=DefaultCluster\nbrokerName=broker-{name}\nbrokerId={id}\ndeleteWhen=04\n\
                 fileReservedTime=48\nbrokerRole={role}\nflushDiskType=ASYNC_FLUSH\n"
            ))
            .unwrap();
            assert_eq!(notices, [], "{folder}");
            assert_eq!(settings.retention().reserved_hours, 48);
            let identity = settings.identity();
            assert_eq!(identity.broker_name, format!("broker-{name}"));
            assert_eq!((identity.broker_id, identity.ha_listen_port), (BrokerId(id), 10912));
            assert_eq!(identity.role == BrokerRole::Slave, role == "SLAVE");
            assert_eq!(identity.role == BrokerRole::SyncMaster, role == "SYNC_MASTER");
        }
    }
    let conf = "brokerClusterName = DefaultCluster\nbrokerName = broker-a\nbrokerId = 0 \ndeleteWhen = 04\n\
                fileReservedTime = 48\nbrokerRole = ASYNC_MASTER \nflushDiskType = ASYNC_FLUSH\n";
    assert_eq!(good(conf).identity().broker_name, "broker-a");
}

#[test]
fn ratios_of_the_disk_are_corrected_as_in_java() {
    for (text, expected) in [
        ("", (75, 85, 90, 80)),
        (
            "diskMaxUsedSpaceRatio=5\ndiskSpaceCleanForciblyRatio=20\ndiskSpaceWarningLevelRatio=30",
            (10, 30, 35, 80),
        ),
        (
            "diskMaxUsedSpaceRatio=99\ndiskSpaceCleanForciblyRatio=99\ndiskSpaceWarningLevelRatio=99",
            (95, 85, 90, 80),
        ),
        ("logicalDiskSpaceCleanForciblyThreshold=0.075\nreplicasPerDiskPartition=2", (75, 85, 90, 8)),
    ] {
        let kept = good(text).retention();
        let found = (
            kept.max_used_percent,
            kept.clean_forcibly_percent,
            kept.warning_percent,
            kept.clean_part_forcibly_percent,
        );
        assert_eq!(found, expected, "{text}");
    }
    assert_eq!(good("deleteWhen=04;16;0").retention().delete_hours, [4, 16, 0]);
    assert!(broker("deleteWhen=04,16").is_err());
}

/// The file that most tutorials for a cluster of two masters and two slaves hand around.
const TUTORIAL: &str = "\
brokerClusterName=rocketmq-cluster
brokerName=broker-a
brokerId=1
namesrvAddr=rocketmq-nameserver1:9876;rocketmq-nameserver2:9876
brokerIP1=192.168.0.11
brokerIP2=192.168.0.12
listenPort=11011
haListenPort=11015
defaultTopicQueueNums=4
autoCreateTopicEnable=false
autoCreateSubscriptionGroup=true
deleteWhen=04
fileReservedTime=120
mapedFileSizeCommitLog=134217728
mapedFileSizeConsumeQueue=300000
destroyMapedFileIntervalForcibly=120000
redeleteHangedFileInterval=120000
diskMaxUsedSpaceRatio=88
storePathRootDir=/usr/local/rocketmq/store
storePathCommitLog=/data/commitlog
storePathConsumeQueue=/usr/local/rocketmq/store/consumequeue
storePathIndex=/usr/local/rocketmq/store/index
storeCheckpoint=/usr/local/rocketmq/store/checkpoint
abortFile=/usr/local/rocketmq/store/abort
maxMessageSize=65536
flushCommitLogLeastPages=4
flushConsumeQueueLeastPages=2
flushCommitLogThoroughInterval=10000
flushConsumeQueueThoroughInterval=60000
brokerRole=SLAVE
flushDiskType=SYNC_FLUSH
syncFlushTimeout=7000
checkTransactionMessageEnable=false
transactionCheckMax=15
transactionTimeOut=6000
sendMessageThreadPoolNums=128
pullMessageThreadPoolNums=128
enablePropertyFilter=true
longPollingEnable=false
shortPollingTimeMills=500
messageDelayLevel=1s 5s 10s 30s 1m 2m
slaveReadEnable=true
";

#[test]
fn a_tutorial_cluster_file_is_understood() {
    let (settings, notices) = broker(TUTORIAL).unwrap();
    let ignored = [
        "abortFile",
        "checkTransactionMessageEnable",
        "pullMessageThreadPoolNums",
        "sendMessageThreadPoolNums",
        "storeCheckpoint",
        "storePathConsumeQueue",
        "storePathIndex",
    ];
    assert_eq!(notices, [Notice::Ignored(ignored.to_vec())]);
    let kept = settings.retention();
    assert_eq!((kept.reserved_hours, kept.max_used_percent, kept.delete_hours), (120, 88, vec![4]));

    let identity = settings.identity();
    assert_eq!(identity.cluster_name, "rocketmq-cluster");
    assert_eq!(
        (identity.ip1.as_deref(), identity.ip2.as_deref()),
        (Some("192.168.0.11"), Some("192.168.0.12"))
    );
    assert_eq!((identity.listen_port, identity.ha_listen_port), (11011, 11015));
    assert_eq!((identity.broker_id, identity.role), (BrokerId(1), BrokerRole::Slave));
    let store = settings.store();
    assert_eq!(store.root_dir, Path::new("/usr/local/rocketmq/store"));
    assert_eq!(store.commit_log_dir, Path::new("/data/commitlog"));
    assert_eq!((store.segment_bytes, store.consume_queue_file_bytes), (134_217_728, 300_000));
    assert_eq!((store.flush_type, store.sync_flush_timeout_ms), (FlushType::Sync, 7000));
    assert_eq!(store.max_message_bytes, 65536);
    let topics = settings.topics();
    assert_eq!((topics.default_queue_count, topics.auto_create_topic), (4, false));
    assert_eq!(topics.broker_permission, Perm::READ_WRITE);
    let pulls = settings.pulls();
    assert_eq!((pulls.long_polling, pulls.short_polling_timeout_ms), (false, 500));
    assert_eq!(settings.namesrv().addresses, ["rocketmq-nameserver1:9876", "rocketmq-nameserver2:9876"]);
}

#[test]
fn paths_follow_the_root() {
    let store = good("").store();
    assert_eq!(store.root_dir, Path::new("/home/rocketmq/store"));
    assert_eq!(store.commit_log_dir, Path::new("/home/rocketmq/store/commitlog"));
    assert_eq!(good("storePathRootDir=/data").store().commit_log_dir, Path::new("/data/commitlog"));
}

#[test]
fn both_spellings_of_a_file_size_count_and_the_present_one_wins() {
    assert_eq!(good("mapedFileSizeCommitLog=4096").store().segment_bytes, 4096);
    assert_eq!(good("mappedFileSizeCommitLog=4096").store().segment_bytes, 4096);
    let (settings, notices) = broker("mapedFileSizeCommitLog=4096\nmappedFileSizeCommitLog=8192").unwrap();
    assert_eq!(settings.store().segment_bytes, 8192);
    assert!(
        notices[0].is_warning() && notices[0].to_string().contains("mapedFileSizeCommitLog"),
        "{notices:?}"
    );
    assert_eq!(good("mapedFileSizeConsumeQueue=30").store().consume_queue_file_bytes, 40);
}

#[test]
fn the_command_line_beats_the_file_and_the_file_the_environment() {
    let host = Host { namesrv_addr: Some("env:1".into()), ..host() };
    let addresses = |file: &[(&str, &str)], line: &[(&str, &str)]| {
        let properties = |pairs: &[(&str, &str)]| pairs.iter().copied().collect::<Properties>();
        BrokerSettings::load(&properties(file), &properties(line), &host).unwrap().0.namesrv().addresses
    };
    assert_eq!(addresses(&[], &[]), ["env:1"]);
    assert_eq!(addresses(&[("namesrvAddr", "file:1;file:2;")], &[]), ["file:1", "file:2"]);
    assert_eq!(addresses(&[("namesrvAddr", "file:1")], &[("namesrvAddr", "line:1")]), ["line:1"]);
}

#[test]
fn an_unknown_key_names_its_nearest() {
    let (_, notices) = broker("brokername=a\nflushDiskTyp=x\nqwertzuiop=1").unwrap();
    let texts: Vec<_> = notices.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "unknown configuration key \"brokername\"; did you mean brokerName?",
            "unknown configuration key \"flushDiskTyp\"; did you mean flushDiskType?",
            "unknown configuration key \"qwertzuiop\"",
        ]
    );
    assert!(notices.iter().all(Notice::is_warning));
    assert!(broker(&format!("{}=1", "k".repeat(1_000_000))).is_ok());
}

#[test]
fn an_impossible_value_stops_the_start() {
    for (file, says) in [
        ("listenPort=abc", r#"listenPort="abc" is impossible: expected a whole number from 1 to 65535"#),
        ("listenPort=65536", r#"listenPort="65536" is impossible: expected a whole number from 1 to 65535"#),
        ("listenPort=", r#"listenPort="" is impossible"#),
        ("listenPort=65535", "expected at most 65534"),
        ("listenPort=20911\nhaListenPort=20911", "expected another port than listenPort=20911"),
        ("brokerId=-1", r#"brokerId="-1" is impossible: expected a whole number of at least 0"#),
        ("brokerRole=SLAVE", "expected a number above 0, because brokerRole is SLAVE"),
        ("brokerRole=MASTER", "expected one of ASYNC_MASTER, SYNC_MASTER, SLAVE"),
        ("flushDiskType=async", "expected one of SYNC_FLUSH, ASYNC_FLUSH"),
        ("autoCreateTopicEnable=yes", "expected true or false"),
        ("diskMaxUsedSpaceRatio=101", "expected a whole number from 0 to 100"),
        ("logicalDiskSpaceCleanForciblyThreshold=1.2", "expected a number from 0 to 1"),
        ("mapedFileSizeCommitLog=-5", r#"mapedFileSizeCommitLog="-5" is impossible"#),
        ("mappedFileSizeCommitLog=1G", r#"mappedFileSizeCommitLog="1G" is impossible"#),
        ("maxMessageSize=99999999999", "expected a whole number from 1 to 2147483647"),
        ("deleteWhen=4,5", r#"expected hours from 00 to 23, several separated by ";""#),
        ("messageDelayLevel=1s 5x", "messageDelayLevel=\"1s 5x\" is impossible"),
        ("namesrvAddr=localhost", "namesrvAddr=\"localhost\" is impossible: expected host:port"),
        ("brokerPermission=8", "expected a whole number from 0 to 7"),
        ("brokerName=a\\u0000b", "brokerName="),
        ("aclEnable=true", "aclEnable=true is not supported: access control"),
        ("enableDLegerCommitLog=true", "enableDLegerCommitLog=true is not supported"),
        ("storeType=defaultRocksDB", "storeType=defaultRocksDB is not supported"),
        ("storePathCommitLog=/a,/b", "storePathCommitLog=/a,/b is not supported"),
        ("readOnlyCommitLogStorePaths=/a", "readOnlyCommitLogStorePaths=/a is not supported"),
    ] {
        let error = broker(file).unwrap_err().to_string();
        assert!(error.contains(says), "{file}: {error}");
    }
    let host = Host { namesrv_addr: Some("nowhere".into()), ..host() };
    let error = BrokerSettings::load(&Properties::default(), &Properties::default(), &host).unwrap_err();
    assert!(error.to_string().starts_with("namesrvAddr=\"nowhere\""), "{error}");
}

#[test]
fn a_masters_id_is_0_as_in_java() {
    let (settings, notices) = broker("brokerId=1").unwrap();
    assert_eq!(settings.identity().broker_id, BrokerId::MASTER);
    assert!(
        notices[0].to_string().starts_with("brokerId=1 does not count: brokerRole is ASYNC_MASTER"),
        "{notices:?}"
    );
}

#[test]
fn every_number_fits_the_part_that_hands_it_out() {
    let parts = |file: &str| {
        if let Ok((settings, _)) = broker(file) {
            let _ = (settings.identity(), settings.store(), settings.topics(), settings.sends());
            let _ = (settings.pulls(), settings.consumers(), settings.namesrv(), settings.listener());
        }
        let file = Properties::parse(file).unwrap();
        if let Ok((settings, _)) = NamesrvSettings::load(&file, &Properties::default(), &host()) {
            let _ = (settings.files(), settings.routes(), settings.listener());
        }
    };
    for (key, _) in good("").to_properties().iter() {
        for value in ["-1", "0", "1", "65535", "2147483647", "9223372036854775807"] {
            parts(&format!("{key}={value}"));
        }
    }
}

#[test]
fn only_listed_keys_change_at_run_time() {
    let mut settings = good("brokerName=a");
    let update =
        |settings: &mut BrokerSettings, text: &str| settings.update(&Properties::parse(text).unwrap());

    let changes =
        update(&mut settings, "brokerPermission=4\nfileReservedTime=72\nmaxMessageSize=1024").unwrap();
    let changed: Vec<_> = changes.iter().map(|change| (change.key, &*change.old, &*change.new)).collect();
    assert_eq!(changed, [("brokerPermission", "6", "4"), ("maxMessageSize", "4194304", "1024")]);
    assert_eq!(settings.topics().broker_permission, Perm::READ);

    for (key, why) in [
        ("rocketmqHome", "paths never change at run time"),
        ("brokerConfigPath", "paths never change at run time"),
        ("storePathRootDir", "paths never change at run time"),
        ("filterServerNums", "it has no meaning for this server"),
        ("messageStorePlugIn", "it has no meaning for this server"),
        ("sendMessageThreadPoolNums", "it has no meaning for this server"),
        ("brokerName", "it is part of the identity"),
        ("namesrvAddr", "it is part of the identity"),
        ("listenPort", "it needs a restart"),
        ("configBlackList", "it needs a restart"),
        ("mapedFileSizeCommitLog", "it needs a restart"),
        ("aclEnable", "it needs a restart"),
    ] {
        let error = update(&mut settings, &format!("brokerPermission=2\n{key}=1")).unwrap_err();
        assert_eq!(error, UpdateError::Fixed { key: key.into(), why });
        assert_eq!(error.to_string(), format!("Can not update config in black list. {key}: {why}"));
    }
    assert!(matches!(update(&mut settings, "brokerPermission=9"), Err(UpdateError::Value(_))));
    assert!(matches!(
        update(&mut settings, "autoCreateTopic=1"),
        Err(UpdateError::Unknown { nearest: Some("autoCreateTopicEnable"), .. })
    ));
    assert_eq!(settings.topics().broker_permission, Perm::READ, "a refused update changes nothing");

    let mut settings = good("configBlackList=configBlackList;brokerConfigPath;brokerPermission");
    assert!(matches!(update(&mut settings, "brokerPermission=4"), Err(UpdateError::Fixed { .. })));
}

#[test]
fn a_name_servers_paths_never_change_at_run_time() {
    let none = Properties::default();
    let (mut settings, _) = NamesrvSettings::load(&none, &none, &host()).unwrap();
    for key in
        ["configStorePath", "kvConfigPath", "rocketmqHome", "configBlackList", "listenPort", "bindAddress"]
    {
        let update = [(key, "/etc/cron.d/x")].into_iter().collect();
        assert!(matches!(settings.update(&update), Err(UpdateError::Fixed { .. })), "{key}");
    }
    let update = [("enableTopicList", "false")].into_iter().collect();
    assert_eq!(settings.update(&update).unwrap().len(), 1);
    assert!(!settings.routes().topic_list);
    assert_eq!(settings.listener().port, 9876);
    assert_eq!(settings.files().kv_config, Path::new("/home/rocketmq/namesrv/kvConfig.json"));
}

#[test]
fn secrets_stay_inside() {
    let (settings, notices) = broker(
        "metricsGrpcExporterHeader=auth:hunter2\nsocksProxyConfig=hunter2\n\
         initAuthenticationUser={\"password\":\"hunter2\"}\ninnerClientAuthenticationCredentials=hunter2",
    )
    .unwrap();
    let shown =
        format!("{:?}{}{}{notices:?}", settings, settings.to_properties(), settings.print_all().join(""));
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(shown.contains("metricsGrpcExporterHeader=******"));
}
