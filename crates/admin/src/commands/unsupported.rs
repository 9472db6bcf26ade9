// SPDX-License-Identifier: Apache-2.0
//! Commands of Java for what OxMQ does not have. They are listed, so that nobody searches for them, and say why.

use super::{Command, run};
use crate::cli::{CommandError, Context, Given, Opt};

async fn static_topics(_: &mut Context<'_>, _: &Given) -> Result<(), CommandError> {
    Err(CommandError::failed(
        "not supported: OxMQ has no static topics (queues that move between brokers); use updateTopic for the topic on each broker",
    ))
}

async fn container(_: &mut Context<'_>, _: &Given) -> Result<(), CommandError> {
    Err(CommandError::failed("not supported: OxMQ has no broker containers; run one process for each broker"))
}

async fn controller(_: &mut Context<'_>, _: &Given) -> Result<(), CommandError> {
    Err(CommandError::failed(
        "not supported: OxMQ has no controller mode; brokers have fixed roles, and haStatus shows their replication",
    ))
}

async fn rocks(_: &mut Context<'_>, _: &Given) -> Result<(), CommandError> {
    Err(CommandError::failed(
        "not supported: OxMQ keeps no metadata and no consume queues in RocksDB; its configuration lies as JSON in store/config, and exportMetadata writes it out",
    ))
}

async fn pop(_: &mut Context<'_>, _: &Given) -> Result<(), CommandError> {
    Err(CommandError::failed("not supported: OxMQ has no pop consumers with records of their own to export"))
}

async fn compaction(_: &mut Context<'_>, _: &Given) -> Result<(), CommandError> {
    Err(CommandError::failed(
        "not supported: OxMQ has no compaction topics; printMsg shows the messages of a topic",
    ))
}

async fn cold(_: &mut Context<'_>, _: &Given) -> Result<(), CommandError> {
    Err(CommandError::failed(
        "not supported: OxMQ has no flow control by group for cold data; cold reads have threads of their own and slow nobody down, and the kernel is advised by itself",
    ))
}

async fn acl(_: &mut Context<'_>, _: &Given) -> Result<(), CommandError> {
    Err(CommandError::failed(
        "not supported: OxMQ has no access control lists of 5.x that could be changed at run time; see adminAllowedNetworks for who may administer a broker",
    ))
}

pub(super) static ADD_BROKER: Command = Command {
    name: "addBroker",
    alias: None,
    description: "Add a broker to specified container.",
    options: &[
        Opt::value("c", "brokerContainerAddr", "Broker container address").required(),
        Opt::value("b", "brokerConfigPath", "Broker config path").required(),
    ],
    run: run!(container),
};

pub(super) static REMOVE_BROKER: Command = Command {
    name: "removeBroker",
    alias: None,
    description: "Remove a broker from specified container.",
    options: &[
        Opt::value("c", "brokerContainerAddr", "Broker container address").required(),
        Opt::value(
            "b",
            "brokerIdentity",
            "Information to identify a broker: clusterName:brokerName:brokerId(dLedgerId for dLedger)",
        )
        .required(),
    ],
    run: run!(container),
};

pub(super) static UPDATE_STATIC_TOPIC: Command = Command {
    name: "updateStaticTopic",
    alias: None,
    description: "Update or create static topic, which has fixed number of queues.",
    options: &[
        Opt::value("c", "clusters", "remapping static topic to clusters, comma separated").one_of(1),
        Opt::value("b", "brokers", "remapping static topic to brokers, comma separated").one_of(1),
        Opt::value("t", "topic", "topic name").required(),
        Opt::value("qn", "totalQueueNum", "total queue num").required(),
        Opt::value("mf", "mapFile", "The mapping data file name"),
        Opt::value("fr", "forceReplace", "Force replace the old mapping"),
    ],
    run: run!(static_topics),
};

pub(super) static REMAPPING_STATIC_TOPIC: Command = Command {
    name: "remappingStaticTopic",
    alias: None,
    description: "Remapping static topic.",
    options: &[
        Opt::value("c", "clusters", "remapping static topic to clusters, comma separated").one_of(1),
        Opt::value("b", "brokers", "remapping static topic to brokers, comma separated").one_of(1),
        Opt::value("t", "topic", "topic name").required(),
        Opt::value("mf", "mapFile", "The mapping data file name "),
        Opt::value("fr", "forceReplace", "Force replace the old mapping"),
    ],
    run: run!(static_topics),
};

pub(super) static EXPORT_METADATA_IN_ROCKS_DB: Command = Command {
    name: "exportMetadataInRocksDB",
    alias: None,
    description: "export RocksDB kv config (topics/subscriptionGroups). Recommend to use [mqadmin rocksDBConfigToJson]",
    options: &[
        Opt::value("p", "path", "Absolute path for the metadata directory").required(),
        Opt::value("t", "configType", "Name of kv config, e.g. topics/subscriptionGroups").required(),
        Opt::value("j", "jsonEnable", "Json format enable, Default: false"),
    ],
    run: run!(rocks),
};

pub(super) static EXPORT_POP_RECORD: Command = Command {
    name: "exportPopRecord",
    alias: None,
    description: "Export pop consumer record",
    options: &[
        Opt::value("c", "clusterName", "choose one cluster to export"),
        Opt::value("b", "brokerAddr", "choose one broker to export"),
        Opt::value("d", "dryRun", "no actual changes will be made"),
    ],
    run: run!(pop),
};

pub(super) static GET_SYNC_STATE_SET: Command = Command {
    name: "getSyncStateSet",
    alias: None,
    description: "Fetch syncStateSet for target brokers.",
    options: &[
        Opt::value("a", "controllerAddress", "the address of controller").required(),
        Opt::value("c", "clusterName", "which cluster"),
        Opt::value("b", "brokerName", "which broker to fetch"),
        Opt::value("i", "interval", "the interval(second) of get info"),
    ],
    run: run!(controller),
};

pub(super) static GET_BROKER_EPOCH: Command = Command {
    name: "getBrokerEpoch",
    alias: None,
    description: "Fetch broker epoch entries.",
    options: &[
        Opt::value("c", "clusterName", "which cluster"),
        Opt::value("b", "brokerName", "which broker to fetch"),
        Opt::value("i", "interval", "the interval(second) of get info"),
    ],
    run: run!(controller),
};

pub(super) static GET_CONTROLLER_META_DATA: Command = Command {
    name: "getControllerMetaData",
    alias: None,
    description: "Get controller cluster's metadata.",
    options: &[Opt::value("a", "controllerAddress", "the address of controller").required()],
    run: run!(controller),
};

pub(super) static GET_CONTROLLER_CONFIG: Command = Command {
    name: "getControllerConfig",
    alias: None,
    description: "Get controller config.",
    options: &[Opt::value(
        "a",
        "controllerAddress",
        "Controller address list, eg: 192.168.0.1:9878;192.168.0.2:9878",
    )
    .required()],
    run: run!(controller),
};

pub(super) static UPDATE_CONTROLLER_CONFIG: Command = Command {
    name: "updateControllerConfig",
    alias: None,
    description: "Update controller config.",
    options: &[
        Opt::value(
            "a",
            "controllerAddress",
            "Controller address list, eg: 192.168.0.1:9878;192.168.0.2:9878",
        )
        .required(),
        Opt::value("k", "key", "config key").required(),
        Opt::value("v", "value", "config value").required(),
    ],
    run: run!(controller),
};

pub(super) static ELECT_MASTER: Command = Command {
    name: "electMaster",
    alias: None,
    description: "Re-elect the specified broker as master.",
    options: &[
        Opt::value("a", "controllerAddress", "The address of controller").required(),
        Opt::value("b", "brokerId", "The id of the broker which requires to become master").required(),
        Opt::value("bn", "brokerName", "The broker name of the replicas that require to be manipulated")
            .required(),
        Opt::value("c", "clusterName", "the clusterName of broker").required(),
    ],
    run: run!(controller),
};

pub(super) static CLEAN_BROKER_METADATA: Command = Command {
    name: "cleanBrokerMetadata",
    alias: None,
    description: "Clean metadata of broker on controller.",
    options: &[
        Opt::value("a", "controllerAddress", "The address of controller").required(),
        Opt::value(
            "b",
            "brokerControllerIdsToClean",
            "The brokerController id list which requires to clean metadata. eg: 1;2;3, means that clean broker-1, broker-2 and broker-3",
        ),
        Opt::value("bn", "brokerName", "The broker name of the replicas that require to be manipulated")
            .required(),
        Opt::value("c", "clusterName", "The clusterName of broker"),
        Opt::flag("l", "cleanLivingBroker", "Whether clean up living brokers,default value is false"),
    ],
    run: run!(controller),
};

pub(super) static DUMP_COMPACTION_LOG: Command = Command {
    name: "dumpCompactionLog",
    alias: None,
    description: "Parse compaction log to message.",
    options: &[Opt::value("f", "file", "to dump file name")],
    run: run!(compaction),
};

pub(super) static GET_COLD_DATA_FLOW_CTR_INFO: Command = Command {
    name: "getColdDataFlowCtrInfo",
    alias: None,
    description: "Get cold data flow ctr info.",
    options: &[
        Opt::value("b", "brokerAddr", "get from which broker"),
        Opt::value("c", "clusterName", "get from which cluster"),
    ],
    run: run!(cold),
};

pub(super) static UPDATE_COLD_DATA_FLOW_CTR_GROUP_CONFIG: Command = Command {
    name: "updateColdDataFlowCtrGroupConfig",
    alias: None,
    description: "Add or update cold data flow ctr group config.",
    options: &[
        Opt::value("b", "brokerAddr", "update which broker"),
        Opt::value("c", "clusterName", "update which cluster"),
        Opt::value("g", "consumerGroup", "specific consumerGroup").required(),
        Opt::value("v", "threshold", "cold read threshold value").required(),
    ],
    run: run!(cold),
};

pub(super) static REMOVE_COLD_DATA_FLOW_CTR_GROUP_CONFIG: Command = Command {
    name: "removeColdDataFlowCtrGroupConfig",
    alias: None,
    description: "Remove consumer from cold ctr config.",
    options: &[
        Opt::value("b", "brokerAddr", "update which broker"),
        Opt::value("c", "clusterName", "update which cluster"),
        Opt::value("g", "consumerGroup", "the consumer group will remove from the config").required(),
    ],
    run: run!(cold),
};

pub(super) static SET_COMMIT_LOG_READ_AHEAD_MODE: Command = Command {
    name: "setCommitLogReadAheadMode",
    alias: None,
    description: "Set read ahead mode for all commitlog files.",
    options: &[
        Opt::value("b", "brokerAddr", "set which broker"),
        Opt::value("c", "clusterName", "set which cluster"),
        Opt::value(
            "m",
            "commitLogReadAheadMode",
            "set the CommitLog read ahead mode; 0 is default, 1 random read",
        )
        .required(),
    ],
    run: run!(cold),
};

pub(super) static CREATE_USER: Command = Command {
    name: "createUser",
    alias: None,
    description: "Create user to cluster.",
    options: &[
        Opt::value("c", "clusterName", "create user to which cluster").one_of(1),
        Opt::value("b", "brokerAddr", "create user to which broker").one_of(1),
        Opt::value("u", "username", "the username of user to create.").required(),
        Opt::value("p", "password", "the password of user to create").required(),
        Opt::value("t", "userType", "the userType of user to create"),
    ],
    run: run!(acl),
};

pub(super) static UPDATE_USER: Command = Command {
    name: "updateUser",
    alias: None,
    description: "Update user to cluster.",
    options: &[
        Opt::value("c", "clusterName", "update user to which cluster").one_of(1),
        Opt::value("b", "brokerAddr", "update user to which broker").one_of(1),
        Opt::value("u", "username", "the username of user to update.").required(),
        Opt::value("p", "password", "the password of user to update").one_of(2),
        Opt::value("t", "userType", "the userType of user to update").one_of(2),
        Opt::value("s", "userStatus", "the userStatus of user to update").one_of(2),
    ],
    run: run!(acl),
};

pub(super) static DELETE_USER: Command = Command {
    name: "deleteUser",
    alias: None,
    description: "Delete user from cluster.",
    options: &[
        Opt::value("c", "clusterName", "delete acl from which cluster").one_of(1),
        Opt::value("b", "brokerAddr", "delete user from which broker").one_of(1),
        Opt::value("u", "username", "the username of user to delete.").required(),
    ],
    run: run!(acl),
};

pub(super) static GET_USER: Command = Command {
    name: "getUser",
    alias: None,
    description: "Get user from cluster.",
    options: &[
        Opt::value("b", "brokerAddr", "get user for which broker").one_of(1),
        Opt::value("c", "clusterName", "get user for specified cluster").one_of(1),
        Opt::value("u", "username", "the username of user to get"),
    ],
    run: run!(acl),
};

pub(super) static LIST_USER: Command = Command {
    name: "listUser",
    alias: None,
    description: "List user from cluster.",
    options: &[
        Opt::value("b", "brokerAddr", "list user for which broker").one_of(1),
        Opt::value("c", "clusterName", "list user for specified cluster").one_of(1),
        Opt::value("f", "filter", "the filter to list users"),
    ],
    run: run!(acl),
};

pub(super) static COPY_USER: Command = Command {
    name: "copyUser",
    alias: None,
    description: "Copy user to cluster.",
    options: &[
        Opt::value("f", "fromBroker", "the source broker that the users copy from").required(),
        Opt::value("t", "toBroker", "the target broker that the users copy to").required(),
        Opt::value("u", "usernames", "the username list of user to copy."),
    ],
    run: run!(acl),
};

pub(super) static CREATE_ACL: Command = Command {
    name: "createAcl",
    alias: None,
    description: "Create acl to cluster.",
    options: &[
        Opt::value("c", "clusterName", "create acl to which cluster").one_of(1),
        Opt::value("b", "brokerAddr", "create acl to which broker").one_of(1),
        Opt::value("s", "subject", "the subject of acl to create.").required(),
        Opt::value("r", "resources", "the resources of acl to create").required(),
        Opt::value("a", "actions", "the actions of acl to create").required(),
        Opt::value("i", "sourceIp", "the sourceIps of acl to create"),
        Opt::value("d", "decision", "the decision of acl to create").required(),
    ],
    run: run!(acl),
};

pub(super) static UPDATE_ACL: Command = Command {
    name: "updateAcl",
    alias: None,
    description: "Update acl to cluster.",
    options: &[
        Opt::value("c", "clusterName", "update acl to which cluster").one_of(1),
        Opt::value("b", "brokerAddr", "update acl to which broker").one_of(1),
        Opt::value("s", "subject", "the subject of acl to update.").required(),
        Opt::value("r", "resources", "the resources of acl to update").required(),
        Opt::value("a", "actions", "the actions of acl to update").required(),
        Opt::value("d", "decision", "the decision of acl to update").required(),
        Opt::value("i", "sourceIp", "the sourceIps of acl to update"),
    ],
    run: run!(acl),
};

pub(super) static DELETE_ACL: Command = Command {
    name: "deleteAcl",
    alias: None,
    description: "Delete acl from cluster.",
    options: &[
        Opt::value("c", "clusterName", "delete acl from which cluster").one_of(1),
        Opt::value("b", "brokerAddr", "delete acl from which broker").one_of(1),
        Opt::value("s", "subject", "the subject of acl to delete.").required(),
        Opt::value("r", "resources", "the resources of acl to delete"),
    ],
    run: run!(acl),
};

pub(super) static GET_ACL: Command = Command {
    name: "getAcl",
    alias: None,
    description: "Get acl from cluster.",
    options: &[
        Opt::value("b", "brokerAddr", "get acl for which broker").one_of(1),
        Opt::value("c", "clusterName", "get acl for specified cluster").one_of(1),
        Opt::value("s", "subject", "the subject of acl to get"),
    ],
    run: run!(acl),
};

pub(super) static LIST_ACL: Command = Command {
    name: "listAcl",
    alias: None,
    description: "List acl from cluster.",
    options: &[
        Opt::value("b", "brokerAddr", "list acl for which broker.").one_of(1),
        Opt::value("c", "clusterName", "list acl for specified cluster.").one_of(1),
        Opt::value("s", "subject", "the subject of acl to filter."),
        Opt::value("r", "resource", "the resource of acl to filter."),
    ],
    run: run!(acl),
};

pub(super) static COPY_ACL: Command = Command {
    name: "copyAcl",
    alias: None,
    description: "Copy acl to cluster.",
    options: &[
        Opt::value("f", "fromBroker", "the source broker that the acls copy from").required(),
        Opt::value("t", "toBroker", "the target broker that the acls copy to").required(),
        Opt::value("s", "subjects", "the subject list of acl to copy."),
    ],
    run: run!(acl),
};

pub(super) static ROCKS_DB_CONFIG_TO_JSON: Command = Command {
    name: "rocksDBConfigToJson",
    alias: None,
    description: "Convert RocksDB kv config (topics/subscriptionGroups/consumerOffsets) to json. [rpc mode] Use [-n, -c, -b, -t] to send Request to broker ( version >= 5.3.2 ) or [local mode] use [-p, -t, -j, -e] to load RocksDB. If -e is provided, tools will export json file instead of std print",
    options: &[
        Opt::value(
            "n",
            "nameserverAddr",
            "[rpc mode] nameserverAddr. If nameserverAddr and clusterName are provided, will ignore [-p, -e, -j, -b] args",
        ),
        Opt::value(
            "t",
            "configType",
            "Name of kv config, e.g. topics/subscriptionGroups/consumerOffsets. Required in local mode and default all in rpc mode.",
        ),
        Opt::value("p", "configPath", "[local mode] Absolute path to the metadata config directory"),
        Opt::value(
            "e",
            "exportFile",
            "[local mode] Absolute file path for exporting, auto backup existing file, not directory. If exportFile is provided, will export Json file and ignore [-j].",
        ),
        Opt::value(
            "j",
            "jsonEnable",
            "[local mode] Json format enable, Default: true. If exportFile is provided, will export Json file and ignore [-j].",
        ),
        Opt::value(
            "c",
            "cluster",
            "[rpc mode] Cluster name. If nameserverAddr and clusterName are provided, will ignore [-p, -e, -j, -b] args",
        ),
        Opt::value(
            "b",
            "brokerAddr",
            "[rpc mode] Broker address. If brokerAddr is provided, will ignore [-p, -e, -j] args",
        ),
    ],
    run: run!(rocks),
};

pub(super) static CHECK_ROCKSDB_CQ_WRITE_PROGRESS: Command = Command {
    name: "checkRocksdbCqWriteProgress",
    alias: None,
    description: "check if rocksdb cq is same as file cq",
    options: &[
        Opt::value("n", "nameserverAddr", "nameserverAddr").required(),
        Opt::value("c", "cluster", "cluster name").required(),
        Opt::value("t", "topic", "topic name"),
        Opt::value("cf", "checkFrom", "check from time"),
    ],
    run: run!(rocks),
};
