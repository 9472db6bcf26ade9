// SPDX-License-Identifier: Apache-2.0
//! Commands of Java that nobody has built yet: their names and usage are known, and they say so when they are run.

use super::{Command, run};
use crate::cli::{CommandError, Context, Given, Opt};

async fn not_yet(_: &mut Context<'_>, _: &Given) -> Result<(), CommandError> {
    Err(CommandError::failed("this command is not built yet"))
}

pub(super) static UPDATE_TOPIC: Command = Command {
    name: "updateTopic",
    alias: None,
    description: "Update or create topic.",
    options: &[
        Opt::value("b", "brokerAddr", "create topic to which broker").one_of(1),
        Opt::value("c", "clusterName", "create topic to which cluster").one_of(1),
        Opt::value("a", "attributes", "attribute(+a=b,+c=d,-e)"),
        Opt::value("t", "topic", "topic name").required(),
        Opt::value("r", "readQueueNums", "set read queue nums"),
        Opt::value("w", "writeQueueNums", "set write queue nums"),
        Opt::value("p", "perm", "set topic's permission(2|4|6), intro[2:W 4:R; 6:RW]"),
        Opt::value("o", "order", "set topic's order(true|false)"),
        Opt::value("u", "unit", "is unit topic (true|false)"),
        Opt::value("s", "hasUnitSub", "has unit sub (true|false)"),
    ],
    run: run!(not_yet),
};

pub(super) static UPDATE_TOPIC_LIST: Command = Command {
    name: "updateTopicList",
    alias: None,
    description: "create or update topic in batch",
    options: &[
        Opt::value("b", "brokerAddr", "create topic to which broker").one_of(1),
        Opt::value("c", "clusterName", "create topic to which cluster").one_of(1),
        Opt::value(
            "f",
            "filename",
            "Path to a file with list of org.apache.rocketmq.common.TopicConfig in json format",
        )
        .required(),
    ],
    run: run!(not_yet),
};

pub(super) static DELETE_TOPIC: Command = Command {
    name: "deleteTopic",
    alias: None,
    description: "Delete topic from broker and NameServer.",
    options: &[
        Opt::value("t", "topic", "topic name").required(),
        Opt::value("c", "clusterName", "delete topic from which cluster").required(),
    ],
    run: run!(not_yet),
};

pub(super) static SET_CONSUME_MODE: Command = Command {
    name: "setConsumeMode",
    alias: None,
    description: "Set consume message mode. pull/pop etc.",
    options: &[
        Opt::value("b", "brokerAddr", "create subscription group to which broker"),
        Opt::value("c", "clusterName", "create subscription group to which cluster"),
        Opt::value("t", "topicName", "topic name").required(),
        Opt::value("g", "groupName", "consumer group name").required(),
        Opt::value("m", "mode", "consume mode. PULL/POP").required(),
        Opt::value("q", "popShareQueueNum", "num of queue which share in pop mode"),
    ],
    run: run!(not_yet),
};

pub(super) static UPDATE_BROKER_CONFIG: Command = Command {
    name: "updateBrokerConfig",
    alias: None,
    description: "Update broker's config.",
    options: &[
        Opt::value("b", "brokerAddr", "update which broker"),
        Opt::value("c", "clusterName", "update which cluster"),
        Opt::value("a", "updateAllBroker", "update all brokers include slave"),
        Opt::value("k", "key", "config key").required(),
        Opt::value("v", "value", "config value").required(),
    ],
    run: run!(not_yet),
};

pub(super) static UPDATE_TOPIC_PERM: Command = Command {
    name: "updateTopicPerm",
    alias: None,
    description: "Update topic perm.",
    options: &[
        Opt::value("b", "brokerAddr", "create topic to which broker"),
        Opt::value("c", "clusterName", "create topic to which cluster"),
        Opt::value("t", "topic", "topic name").required(),
        Opt::value("p", "perm", "set topic's permission(2|4|6), intro[2:W; 4:R; 6:RW]").required(),
    ],
    run: run!(not_yet),
};

pub(super) static TOPIC_ROUTE: Command = Command {
    name: "topicRoute",
    alias: None,
    description: "Examine topic route info.",
    options: &[
        Opt::value("t", "topic", "topic name").required(),
        Opt::flag("l", "list", "Use list format to print data"),
    ],
    run: run!(not_yet),
};

pub(super) static TOPIC_STATUS: Command = Command {
    name: "topicStatus",
    alias: None,
    description: "Examine topic Status info.",
    options: &[
        Opt::value("t", "topic", "topic name").required(),
        Opt::value("c", "cluster", "cluster name or lmq parent topic, lmq is used to find the route."),
    ],
    run: run!(not_yet),
};

pub(super) static TOPIC_CLUSTER_LIST: Command = Command {
    name: "topicClusterList",
    alias: None,
    description: "Get cluster info for topic.",
    options: &[Opt::value("t", "topic", "topic name").required()],
    run: run!(not_yet),
};

pub(super) static RESET_MASTER_FLUSH_OFFSET: Command = Command {
    name: "resetMasterFlushOffset",
    alias: None,
    description: "Reset master flush offset in slave.",
    options: &[
        Opt::value("b", "brokerAddr", "which broker to reset"),
        Opt::value("o", "offset", "the offset to reset at"),
    ],
    run: run!(not_yet),
};

pub(super) static BROKER_STATUS: Command = Command {
    name: "brokerStatus",
    alias: None,
    description: "Fetch broker runtime status data.",
    options: &[
        Opt::value("b", "brokerAddr", "Broker address").one_of(1),
        Opt::value("c", "clusterName", "which cluster").one_of(1),
    ],
    run: run!(not_yet),
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
    run: run!(not_yet),
};

pub(super) static TOPIC_LIST: Command = Command {
    name: "topicList",
    alias: None,
    description: "Fetch all topic list from name server.",
    options: &[Opt::flag("c", "clusterModel", "clusterModel")],
    run: run!(not_yet),
};

pub(super) static UPDATE_KV_CONFIG: Command = Command {
    name: "updateKvConfig",
    alias: None,
    description: "Create or update KV config.",
    options: &[
        Opt::value("s", "namespace", "set the namespace").required(),
        Opt::value("k", "key", "set the key name").required(),
        Opt::value("v", "value", "set the key value").required(),
    ],
    run: run!(not_yet),
};

pub(super) static DELETE_KV_CONFIG: Command = Command {
    name: "deleteKvConfig",
    alias: None,
    description: "Delete KV config.",
    options: &[
        Opt::value("s", "namespace", "set the namespace").required(),
        Opt::value("k", "key", "set the key name").required(),
    ],
    run: run!(not_yet),
};

pub(super) static WIPE_WRITE_PERM: Command = Command {
    name: "wipeWritePerm",
    alias: None,
    description: "Wipe write perm of broker in all name server you defined in the -n param.",
    options: &[Opt::value("b", "brokerName", "broker name").required()],
    run: run!(not_yet),
};

pub(super) static ADD_WRITE_PERM: Command = Command {
    name: "addWritePerm",
    alias: None,
    description: "Add write perm of broker in all name server you defined in the -n param.",
    options: &[Opt::value("b", "brokerName", "broker name").required()],
    run: run!(not_yet),
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
    run: run!(not_yet),
};

pub(super) static CLEAN_EXPIRED_CQ: Command = Command {
    name: "cleanExpiredCQ",
    alias: None,
    description: "Clean expired ConsumeQueue on broker.",
    options: &[Opt::value("b", "brokerAddr", "Broker address"), Opt::value("c", "cluster", "clustername")],
    run: run!(not_yet),
};

pub(super) static DELETE_EXPIRED_COMMIT_LOG: Command = Command {
    name: "deleteExpiredCommitLog",
    alias: None,
    description: "Delete expired CommitLog files.",
    options: &[
        Opt::value("n", "namesrvAddr", "Name server address"),
        Opt::value("b", "brokerAddr", "Broker address"),
        Opt::value("c", "cluster", "clustername"),
    ],
    run: run!(not_yet),
};

pub(super) static CLEAN_UNUSED_TOPIC: Command = Command {
    name: "cleanUnusedTopic",
    alias: None,
    description: "Clean unused topic on broker.",
    options: &[Opt::value("b", "brokerAddr", "Broker address"), Opt::value("c", "cluster", "cluster name")],
    run: run!(not_yet),
};

pub(super) static STATS_ALL: Command = Command {
    name: "statsAll",
    alias: None,
    description: "Topic and Consumer tps stats.",
    options: &[
        Opt::flag("a", "activeTopic", "print active topic only"),
        Opt::value("t", "topic", "print select topic only"),
    ],
    run: run!(not_yet),
};

pub(super) static ALLOCATE_MQ: Command = Command {
    name: "allocateMQ",
    alias: None,
    description: "Allocate MQ.",
    options: &[
        Opt::value("t", "topic", "topic name").required(),
        Opt::value("i", "ipList", "ipList").required(),
    ],
    run: run!(not_yet),
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
    run: run!(not_yet),
};

pub(super) static GET_NAMESRV_CONFIG: Command = Command {
    name: "getNamesrvConfig",
    alias: None,
    description: "Get configs of name server.",
    options: &[],
    run: run!(not_yet),
};

pub(super) static UPDATE_NAMESRV_CONFIG: Command = Command {
    name: "updateNamesrvConfig",
    alias: None,
    description: "Update configs of name server.",
    options: &[
        Opt::value("k", "key", "config key").required(),
        Opt::value("v", "value", "config value").required(),
    ],
    run: run!(not_yet),
};

pub(super) static GET_BROKER_CONFIG: Command = Command {
    name: "getBrokerConfig",
    alias: None,
    description: "Get broker config by cluster or special broker.",
    options: &[
        Opt::value("b", "brokerAddr", "get which broker"),
        Opt::value("c", "clusterName", "get which cluster"),
    ],
    run: run!(not_yet),
};

pub(super) static HA_STATUS: Command = Command {
    name: "haStatus",
    alias: None,
    description: "Fetch ha runtime status data.",
    options: &[
        Opt::value("c", "clusterName", "which cluster"),
        Opt::value("b", "brokerAddr", "which broker to fetch"),
        Opt::value("i", "interval", "the interval(second) of get info"),
    ],
    run: run!(not_yet),
};
