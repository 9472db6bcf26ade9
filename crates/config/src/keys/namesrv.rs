// SPDX-License-Identifier: Apache-2.0
//! Java: `NamesrvConfig`.

use super::{
    ADMIN_NETWORKS, BOOL,
    Effect::{Ignored, Later, Used},
    INT, Key, Kind, POSITIVE, POSITIVE_LONG, TEXT, key, unset,
};

/// Java: `NamesrvConfig`.
#[rustfmt::skip]
pub(super) const NAMESRV_CONFIG: &[Key] = &[
    unset("rocketmqHome", Kind::Path, Ignored),
    unset("kvConfigPath", Kind::Path, Used),
    unset("configStorePath", Kind::Path, Used),
    key("productEnvName", TEXT, "center", Ignored),
    key("clusterTest", BOOL, "false", Later),
    key("orderMessageEnable", BOOL, "false", Used).at_once(),
    key("returnOrderTopicConfigToBroker", BOOL, "true", Used).at_once(),
    key("clientRequestThreadPoolNums", POSITIVE, "8", Ignored),
    key("defaultThreadPoolNums", POSITIVE, "16", Ignored),
    key("clientRequestThreadPoolQueueCapacity", INT, "50000", Ignored),
    key("defaultThreadPoolQueueCapacity", INT, "10000", Ignored),
    key("scanNotActiveBrokerInterval", POSITIVE_LONG, "5000", Used).at_once(),
    key("unRegisterBrokerQueueCapacity", INT, "3000", Ignored),
    key("supportActingMaster", BOOL, "false", Used).at_once(),
    key("enableAllTopicList", BOOL, "true", Used).at_once(),
    key("enableTopicList", BOOL, "true", Used).at_once(),
    key("notifyMinBrokerIdChanged", BOOL, "false", Used).live(),
    key("enableControllerInNamesrv", BOOL, "false", Later),
    key("needWaitForService", BOOL, "false", Used),
    key("waitSecondsForService", INT, "45", Used),
    key("deleteTopicWithBrokerRegistration", BOOL, "false", Used).at_once(),
    key("configBlackList", TEXT, "configBlackList;configStorePath;kvConfigPath", Used),
];

/// Ours, and `-n` of `mqnamesrv`, which Java accepts and does not use.
#[rustfmt::skip]
pub(super) const OTHERS: &[Key] = &[
    ADMIN_NETWORKS,
    unset("namesrvAddr", Kind::Addresses, Ignored),
];
