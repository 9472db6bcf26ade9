// SPDX-License-Identifier: Apache-2.0
//! A name server's settings. Java: `NamesrvStartup#parseCommandlineAndConfigFile`.

use std::path::PathBuf;

use oxmq_types::{Networks, Properties};

use crate::{
    keys,
    settings::{Change, ConfigError, Host, Listener, Notice, UpdateError, Values},
};

const UNSUPPORTED: [(&str, &str, &str); 2] = [
    ("enableControllerInNamesrv", "true", "there is no controller yet, brokers would wait for it in vain"),
    ("clusterTest", "true", "routes of another cluster would not be asked for"),
];

/// Everything a name server is told at its start.
#[derive(Debug, Clone)]
pub struct NamesrvSettings(Values);

/// What a name server writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamesrvFiles {
    /// `kvConfigPath`: the key-value configuration, as JSON.
    pub kv_config: PathBuf,
    /// `configStorePath`: where a change of the name server's own configuration is kept; the file given by `-c`, if any.
    pub config_store: PathBuf,
}

/// How routes are kept and answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routes {
    /// `scanNotActiveBrokerInterval`: milliseconds between two looks for silent brokers.
    pub scan_interval_ms: u64,
    /// `orderMessageEnable`: routes carry the order configuration.
    pub order_configuration: bool,
    /// `returnOrderTopicConfigToBroker`: a registration is answered with the order configuration.
    pub order_configuration_to_brokers: bool,
    /// `enableAllTopicList`: GET_ALL_TOPIC_LIST_FROM_NAMESERVER is answered.
    pub all_topic_list: bool,
    /// `enableTopicList`: the other topic lists are answered.
    pub topic_list: bool,
    /// `supportActingMaster`: where the master is gone, its slave with the smallest id is told instead.
    pub acting_master: bool,
    /// `notifyMinBrokerIdChanged`: brokers hear which id is the smallest one alive.
    pub notify_min_broker_id: bool,
    /// `deleteTopicWithBrokerRegistration`: a full registration removes the topics it does not name.
    pub delete_topics_on_registration: bool,
    /// `needWaitForService`: routes are refused for the first `wait_seconds`.
    pub wait_for_service: bool,
    /// `waitSecondsForService`.
    pub wait_seconds: u64,
}

impl NamesrvSettings {
    /// Checks `file` and the command line's `overrides`, and fills in what they do not say.
    ///
    /// # Errors
    /// As [`crate::BrokerSettings::load`].
    pub fn load(
        file: &Properties,
        overrides: &Properties,
        host: &Host,
    ) -> Result<(Self, Vec<Notice>), ConfigError> {
        let mut defaults = vec![
            ("listenPort", "9876".to_owned()),
            ("kvConfigPath", format!("{}/namesrv/kvConfig.json", host.home)),
            ("configStorePath", format!("{}/namesrv/namesrv.properties", host.home)),
        ];
        defaults.extend(host.rocketmq_home.clone().map(|home| ("rocketmqHome", home)));
        let (values, notices) = Values::load(&keys::NAMESRV, defaults, file, overrides)?;
        values.refuse(&UNSUPPORTED)?;
        Ok((Self(values), notices))
    }

    /// Changes keys at run time, as [`crate::BrokerSettings::update`] does.
    ///
    /// # Errors
    /// The same.
    pub fn update(&mut self, updates: &Properties) -> Result<Vec<Change>, UpdateError> {
        self.0.update(updates)
    }

    /// The lines of `mqnamesrv -p`: `key=value` in Java's order, secrets masked.
    #[must_use]
    pub fn print_all(&self) -> Vec<String> {
        self.0.print(false)
    }

    /// Every key that has a value, secrets masked: the answer to GET_NAMESRV_CONFIG.
    #[must_use]
    pub fn to_properties(&self) -> Properties {
        self.0.to_properties()
    }

    /// `adminAllowedNetworks`: whose tools may ask for what destroys, besides those on this machine.
    #[must_use]
    pub fn admin_networks(&self) -> Networks {
        self.0.admin_networks()
    }

    /// Where the name server listens.
    #[must_use]
    pub fn listener(&self) -> Listener {
        self.0.listener()
    }

    /// What the name server writes.
    #[must_use]
    pub fn files(&self) -> NamesrvFiles {
        NamesrvFiles { kv_config: self.0.path("kvConfigPath"), config_store: self.0.path("configStorePath") }
    }

    /// How routes are kept and answered.
    #[must_use]
    pub fn routes(&self) -> Routes {
        let all = &self.0;
        Routes {
            scan_interval_ms: all.number("scanNotActiveBrokerInterval"),
            order_configuration: all.flag("orderMessageEnable"),
            order_configuration_to_brokers: all.flag("returnOrderTopicConfigToBroker"),
            all_topic_list: all.flag("enableAllTopicList"),
            topic_list: all.flag("enableTopicList"),
            acting_master: all.flag("supportActingMaster"),
            notify_min_broker_id: all.flag("notifyMinBrokerIdChanged"),
            delete_topics_on_registration: all.flag("deleteTopicWithBrokerRegistration"),
            wait_for_service: all.flag("needWaitForService"),
            wait_seconds: all.number("waitSecondsForService"),
        }
    }
}
