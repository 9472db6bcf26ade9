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

pub(super) static UPDATE_SUB_GROUP: Command = Command {
    name: "updateSubGroup",
    alias: None,
    description: "Update or create subscription group.",
    options: &[
        Opt::value("b", "brokerAddr", "create subscription group to which broker"),
        Opt::value("c", "clusterName", "create subscription group to which cluster"),
        Opt::value("g", "groupName", "consumer group name").required(),
        Opt::value("s", "consumeEnable", "consume enable"),
        Opt::value("m", "consumeFromMinEnable", "from min offset"),
        Opt::value("d", "consumeBroadcastEnable", "broadcast"),
        Opt::value("o", "consumeMessageOrderly", "consume message orderly"),
        Opt::value("q", "retryQueueNums", "retry queue nums"),
        Opt::value("r", "retryMaxTimes", "retry max times"),
        Opt::value(
            "p",
            "groupRetryPolicy",
            "the json string of retry policy ( exp: {\"type\":\"EXPONENTIAL\",\"exponentialRetryPolicy\":{\"initial\":5000,\"max\":7200000,\"multiplier\":2}} {\"type\":\"CUSTOMIZED\",\"customizedRetryPolicy\":{\"next\":[1000,5000,10000]}} )",
        ),
        Opt::value("i", "brokerId", "consumer from which broker id"),
        Opt::value("w", "whichBrokerWhenConsumeSlowly", "which broker id when consume slowly"),
        Opt::value("a", "notifyConsumerIdsChanged", "notify consumerId changed"),
        Opt::value("", "attributes", "attribute(+a=b,+c=d,-e)"),
    ],
    run: run!(not_yet),
};

pub(super) static UPDATE_SUB_GROUP_LIST: Command = Command {
    name: "updateSubGroupList",
    alias: None,
    description: "Update or create subscription group in batch",
    options: &[
        Opt::value("b", "brokerAddr", "create groups to which broker").one_of(1),
        Opt::value("c", "clusterName", "create groups to which cluster").one_of(1),
        Opt::value("f", "filename", "Path to a file with a list of org.apache.rocketmq.remoting.protocol.subscription.SubscriptionGroupConfig in json format").required(),
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

pub(super) static DELETE_SUB_GROUP: Command = Command {
    name: "deleteSubGroup",
    alias: None,
    description: "Delete subscription group from broker.",
    options: &[
        Opt::value("b", "brokerAddr", "delete subscription group from which broker"),
        Opt::value("c", "clusterName", "delete subscription group from which cluster"),
        Opt::value("g", "groupName", "subscription group name").required(),
        Opt::value("r", "removeOffset", "remove offset"),
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

pub(super) static QUERY_MSG_BY_ID: Command = Command {
    name: "queryMsgById",
    alias: None,
    description: "Query Message by Id.",
    options: &[
        Opt::value("t", "topic", "topic name").required(),
        Opt::value("i", "msgId", "Message Id").required(),
        Opt::value("g", "consumerGroup", "consumer group name"),
        Opt::value("d", "clientId", "The consumer's client id"),
        Opt::value("s", "sendMessage", "resend message"),
        Opt::value("u", "unitName", "unit name"),
        Opt::value("f", "bodyFormat", "print message body by the specified format"),
        Opt::value("c", "cluster", "Cluster name or lmq parent topic, lmq is used to find the route."),
    ],
    run: run!(not_yet),
};

pub(super) static QUERY_MSG_BY_KEY: Command = Command {
    name: "queryMsgByKey",
    alias: None,
    description: "Query Message by Key.",
    options: &[
        Opt::value("t", "topic", "Topic name").required(),
        Opt::value("k", "msgKey", "Message Key").required(),
        Opt::value("b", "beginTimestamp", "Begin timestamp(ms). default:0, eg:1676730526212"),
        Opt::value("e", "endTimestamp", "End timestamp(ms). default:Long.MAX_VALUE, eg:1676730526212"),
        Opt::value("m", "maxNum", "The maximum number of messages returned by the query, default:64"),
        Opt::value("c", "cluster", "Cluster name or lmq parent topic, lmq is used to find the route."),
    ],
    run: run!(not_yet),
};

pub(super) static QUERY_MSG_BY_UNIQUE_KEY: Command = Command {
    name: "queryMsgByUniqueKey",
    alias: None,
    description: "Query Message by Unique key.",
    options: &[
        Opt::value("i", "msgId", "Message Id").required(),
        Opt::value("g", "consumerGroup", "consumer group name"),
        Opt::value("d", "clientId", "The consumer's client id"),
        Opt::value("t", "topic", "The topic of msg").required(),
        Opt::flag("a", "showAll", "Print all message, the limit is 32"),
        Opt::value("c", "cluster", "Cluster name or lmq parent topic, lmq is used to find the route."),
    ],
    run: run!(not_yet),
};

pub(super) static QUERY_MSG_BY_OFFSET: Command = Command {
    name: "queryMsgByOffset",
    alias: None,
    description: "Query Message by offset.",
    options: &[
        Opt::value("t", "topic", "topic name").required(),
        Opt::value("b", "brokerName", "Broker Name").required(),
        Opt::value("i", "queueId", "Queue Id").required(),
        Opt::value("o", "offset", "Queue Offset").required(),
        Opt::value("f", "bodyFormat", "print message body by the specified format"),
    ],
    run: run!(not_yet),
};

pub(super) static QUERY_MSG_TRACE_BY_ID: Command = Command {
    name: "queryMsgTraceById",
    alias: Some("QueryMsgTraceById"),
    description: "Query a message trace.",
    options: &[
        Opt::value("i", "msgId", "Message Id").required(),
        Opt::value("t", "traceTopic", "The name value of message trace topic"),
        Opt::value("b", "beginTimestamp", "Begin timestamp(ms). default:0, eg:1676730526212"),
        Opt::value("e", "endTimestamp", "End timestamp(ms). default:Long.MAX_VALUE, eg:1676730526212"),
        Opt::value("c", "maxNum", "The maximum number of messages returned by the query, default:64"),
    ],
    run: run!(not_yet),
};

pub(super) static PRINT_MSG: Command = Command {
    name: "printMsg",
    alias: None,
    description: "Print Message Detail.",
    options: &[
        Opt::value("t", "topic", "topic name").required(),
        Opt::value("c", "charsetName ", "CharsetName(eg: UTF-8,GBK)"),
        Opt::value("s", "subExpression ", "Subscribe Expression(eg: TagA || TagB)"),
        Opt::value("b", "beginTimestamp ", "Begin timestamp[currentTimeMillis|yyyy-MM-dd#HH:mm:ss:SSS]"),
        Opt::value("e", "endTimestamp ", "End timestamp[currentTimeMillis|yyyy-MM-dd#HH:mm:ss:SSS]"),
        Opt::value("d", "printBody ", "print body"),
        Opt::value("l", "lmqParentTopic", "Lmq parent topic, lmq is used to find the route."),
    ],
    run: run!(not_yet),
};

pub(super) static PRINT_MSG_BY_QUEUE: Command = Command {
    name: "printMsgByQueue",
    alias: None,
    description: "Print Message Detail by queueId.",
    options: &[
        Opt::value("t", "topic", "topic name").required(),
        Opt::value("a", "brokerName ", "broker name").required(),
        Opt::value("i", "queueId ", "queue id").required(),
        Opt::value("c", "charsetName ", "CharsetName(eg: UTF-8,GBK)"),
        Opt::value("s", "subExpression ", "Subscribe Expression(eg: TagA || TagB)"),
        Opt::value("b", "beginTimestamp ", "Begin timestamp[currentTimeMillis|yyyy-MM-dd#HH:mm:ss:SSS]"),
        Opt::value("e", "endTimestamp ", "End timestamp[currentTimeMillis|yyyy-MM-dd#HH:mm:ss:SSS]"),
        Opt::value("p", "print msg", "print msg. eg: true | false(default)"),
        Opt::value("d", "printBody ", "print body. eg: true | false(default)"),
        Opt::value("f", "calculate", "calculate by tag. eg: true | false(default)"),
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

pub(super) static BROKER_CONSUME_STATS: Command = Command {
    name: "brokerConsumeStats",
    alias: None,
    description: "Fetch broker consume stats data.",
    options: &[
        Opt::value("b", "brokerAddr", "Broker address").required(),
        Opt::value("t", "timeoutMillis", "request timeout Millis"),
        Opt::value("l", "level", "threshold of print diff"),
        Opt::value("o", "order", "order topic"),
    ],
    run: run!(not_yet),
};

pub(super) static PRODUCER_CONNECTION: Command = Command {
    name: "producerConnection",
    alias: None,
    description: "Query producer's socket connection and client version.",
    options: &[
        Opt::value("g", "producerGroup", "producer group name").required(),
        Opt::value("t", "topic", "topic name").required(),
    ],
    run: run!(not_yet),
};

pub(super) static CONSUMER_CONNECTION: Command = Command {
    name: "consumerConnection",
    alias: None,
    description: "Query consumer's socket connection, client version and subscription.",
    options: &[
        Opt::value("g", "consumerGroup", "consumer group name").required(),
        Opt::value("b", "brokerAddr", "broker address"),
    ],
    run: run!(not_yet),
};

pub(super) static CONSUMER_PROGRESS: Command = Command {
    name: "consumerProgress",
    alias: None,
    description: "Query consumer's progress, speed.",
    options: &[
        Opt::value("g", "groupName", "consumer group name"),
        Opt::value("t", "topicName", "topic name"),
        Opt::value("s", "showClientIP", "Show Client IP per Queue"),
        Opt::value("c", "cluster", "Cluster name or lmq parent topic, lmq is used to find the route."),
    ],
    run: run!(not_yet),
};

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
    run: run!(not_yet),
};

pub(super) static CLONE_GROUP_OFFSET: Command = Command {
    name: "cloneGroupOffset",
    alias: None,
    description: "Clone offset from other group.",
    options: &[
        Opt::value("s", "srcGroup", "set source consumer group").required(),
        Opt::value("d", "destGroup", "set destination consumer group").required(),
        Opt::value("t", "topic", "set the topic").required(),
        Opt::value("o", "offline", "the group or the topic is offline"),
    ],
    run: run!(not_yet),
};

pub(super) static PRODUCER: Command = Command {
    name: "producer",
    alias: None,
    description: "Query producer's instances, connection, status, etc.",
    options: &[Opt::value("b", "broker", "broker address").required()],
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

pub(super) static RESET_OFFSET_BY_TIME: Command = Command {
    name: "resetOffsetByTime",
    alias: None,
    description: "Reset consumer offset by timestamp(without client restart).",
    options: &[
        Opt::value("g", "group", "set the consumer group").required(),
        Opt::value("t", "topic", "set the topic").required(),
        Opt::value("s", "timestamp", "set the timestamp[now|currentTimeMillis|yyyy-MM-dd#HH:mm:ss:SSS]")
            .required(),
        Opt::value("f", "force", "set the force rollback by timestamp switch[true|false]. Deprecated."),
        Opt::value("c", "cluster", "Cluster name or lmq parent topic, lmq is used to find the route."),
        Opt::value("b", "broker", "broker addr"),
        Opt::value("q", "queue", "queue id"),
        Opt::value("o", "offset", "Expect queue offset, not support old version broker"),
    ],
    run: run!(not_yet),
};

pub(super) static SKIP_ACCUMULATED_MESSAGE: Command = Command {
    name: "skipAccumulatedMessage",
    alias: None,
    description: "Skip all messages that are accumulated (not consumed) currently.",
    options: &[
        Opt::value("g", "group", "set the consumer group").required(),
        Opt::value("t", "topic", "set the topic").required(),
        Opt::value("f", "force", "set the force rollback by timestamp switch[true|false]"),
        Opt::value("c", "cluster", "Cluster name or lmq parent topic, lmq is used to find the route."),
    ],
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

pub(super) static START_MONITORING: Command = Command {
    name: "startMonitoring",
    alias: None,
    description: "Start Monitoring.",
    options: &[],
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

pub(super) static CHECK_MSG_SEND_RT: Command = Command {
    name: "checkMsgSendRT",
    alias: None,
    description: "Check message send response time.",
    options: &[
        Opt::value("t", "topic", "topic name").required(),
        Opt::value("a", "amount", "message amount | default 100"),
        Opt::value("s", "size", "message size | default 128 Byte"),
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

pub(super) static GET_CONSUMER_CONFIG: Command = Command {
    name: "getConsumerConfig",
    alias: None,
    description: "Get consumer config by subscription group name.",
    options: &[Opt::value("g", "groupName", "subscription group name").required()],
    run: run!(not_yet),
};

pub(super) static QUERY_CQ: Command = Command {
    name: "queryCq",
    alias: None,
    description: "Query cq command.",
    options: &[
        Opt::value("t", "topic", "topic name").required(),
        Opt::value("q", "queue", "queue num, ie. 1").required(),
        Opt::value("i", "index", "start queue index.").required(),
        Opt::value("c", "count", "how many."),
        Opt::value("b", "broker", "broker addr."),
        Opt::value("g", "consumer", "consumer group."),
    ],
    run: run!(not_yet),
};

pub(super) static SEND_MESSAGE: Command = Command {
    name: "sendMessage",
    alias: None,
    description: "Send a message.",
    options: &[
        Opt::value("t", "topic", "Topic name").required(),
        Opt::value("p", "body", "UTF-8 string format of the message body").required(),
        Opt::value("k", "key", "Message keys"),
        Opt::value("c", "tags", "Message tags"),
        Opt::value("b", "broker", "Send message to target broker"),
        Opt::value("i", "qid", "Send message to target queue"),
        Opt::value("m", "msgTraceEnable", "Message Trace Enable, Default: false"),
    ],
    run: run!(not_yet),
};

pub(super) static CONSUME_MESSAGE: Command = Command {
    name: "consumeMessage",
    alias: None,
    description: "Consume message.",
    options: &[
        Opt::value("t", "topic", "Topic name").required(),
        Opt::value("b", "brokerName", "Broker name"),
        Opt::value("i", "queueId", "Queue Id"),
        Opt::value("o", "offset", "Queue offset"),
        Opt::value("g", "consumerGroup", "Consumer group name"),
        Opt::value("s", "beginTimestamp ", "Begin timestamp[currentTimeMillis|yyyy-MM-dd#HH:mm:ss:SSS]"),
        Opt::value("e", "endTimestamp ", "End timestamp[currentTimeMillis|yyyy-MM-dd#HH:mm:ss:SSS]"),
        Opt::value("c", "MessageNumber", "Number of message to be consumed"),
    ],
    run: run!(not_yet),
};

pub(super) static EXPORT_METADATA: Command = Command {
    name: "exportMetadata",
    alias: None,
    description: "Export metadata.",
    options: &[
        Opt::value("c", "clusterName", "choose a cluster to export"),
        Opt::value("b", "brokerAddr", "choose a broker to export"),
        Opt::value("f", "filePath", "export metadata.json path | default /tmp/rocketmq/export"),
        Opt::flag("t", "topic", "only export topic metadata"),
        Opt::flag("g", "subscriptionGroup", "only export subscriptionGroup metadata"),
        Opt::flag("s", "specialTopic", "need retryTopic and dlqTopic"),
    ],
    run: run!(not_yet),
};

pub(super) static EXPORT_CONFIGS: Command = Command {
    name: "exportConfigs",
    alias: None,
    description: "Export configs.",
    options: &[
        Opt::value("c", "clusterName", "choose a cluster to export").required(),
        Opt::value("f", "filePath", "export configs.json path | default /tmp/rocketmq/export"),
    ],
    run: run!(not_yet),
};

pub(super) static EXPORT_METRICS: Command = Command {
    name: "exportMetrics",
    alias: None,
    description: "Export metrics.",
    options: &[
        Opt::value("c", "clusterName", "choose a cluster to export").required(),
        Opt::value("f", "filePath", "export metrics.json path | default /tmp/rocketmq/export"),
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
