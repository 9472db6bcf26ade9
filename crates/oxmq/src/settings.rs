// SPDX-License-Identifier: Apache-2.0
//! From the command line, the file and the environment to checked settings.

use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

use oxmq_config::{BrokerSettings, ConfigError, Host, NamesrvSettings, Notice};
use oxmq_types::Properties;

use crate::terminal::{EXIT_CONFIGURATION, EXIT_FAILURE, Failure, say};

/// Longest configuration file. Java's own, with every key, has 15 KiB.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Settings, what the log should say about them, and the file they came from.
pub(crate) struct Loaded<S> {
    pub(crate) settings: S,
    pub(crate) notices: Vec<Notice>,
    pub(crate) config_file: Option<PathBuf>,
}

/// Settings of `oxmq dev`.
pub(crate) struct Dev {
    pub(crate) namesrv: NamesrvSettings,
    pub(crate) broker: BrokerSettings,
    pub(crate) data: PathBuf,
}

/// Settings of `mqnamesrv`.
pub(crate) fn namesrv(config_file: Option<PathBuf>) -> Result<Loaded<NamesrvSettings>, Failure> {
    let (file, mut overrides) = (read(config_file.as_deref())?, Properties::default());
    if let Some(path) = &config_file {
        // Java keeps later changes in the file that it was started with.
        overrides.set("configStorePath", path.to_string_lossy());
        say(&format!("load config properties file OK, {}", path.display()));
    }
    let (settings, notices) = NamesrvSettings::load(&file, &overrides, &host()).map_err(refused)?;
    Ok(Loaded { settings, notices, config_file })
}

/// Settings of `mqbroker`.
pub(crate) fn broker(
    namesrv_addr: Option<String>,
    config_file: Option<PathBuf>,
) -> Result<Loaded<BrokerSettings>, Failure> {
    let file = read(config_file.as_deref())?;
    let overrides = namesrv_addr.map(|list| ("namesrvAddr", list)).into_iter().collect();
    let (settings, notices) = BrokerSettings::load(&file, &overrides, &host()).map_err(refused)?;
    Ok(Loaded { settings, notices, config_file })
}

/// Settings of `oxmq dev`: both servers on loopback, everything they write under `data`.
pub(crate) fn dev(data: &Path, namesrv_port: u16, broker_port: u16) -> Result<Dev, Failure> {
    let data = std::path::absolute(data)
        .map_err(|error| Failure::new(EXIT_FAILURE, format!("oxmq dev: {}: {error}", data.display())))?;
    let under = |name: &str| data.join(name).to_string_lossy().into_owned();
    let (none, host) = (Properties::default(), Host { namesrv_addr: None, ..host() });
    let namesrv = [
        ("bindAddress", "127.0.0.1".to_owned()),
        ("listenPort", namesrv_port.to_string()),
        ("kvConfigPath", under("namesrv/kvConfig.json")),
        ("configStorePath", under("namesrv/namesrv.properties")),
    ];
    let broker = [
        ("bindAddress", "127.0.0.1".to_owned()),
        ("brokerIP1", "127.0.0.1".to_owned()),
        ("brokerIP2", "127.0.0.1".to_owned()),
        ("listenPort", broker_port.to_string()),
        ("namesrvAddr", format!("127.0.0.1:{namesrv_port}")),
        ("storePathRootDir", under("store")),
        // Java has these off. Here every sample is to run as it is.
        ("enablePropertyFilter", "true".to_owned()),
        ("traceTopicEnable", "true".to_owned()),
        ("recallMessageEnable", "true".to_owned()),
    ];
    let (namesrv, _) =
        NamesrvSettings::load(&none, &namesrv.into_iter().collect(), &host).map_err(refused)?;
    let (broker, _) = BrokerSettings::load(&none, &broker.into_iter().collect(), &host).map_err(refused)?;
    Ok(Dev { namesrv, broker, data })
}

/// The user's home folder, Java's `user.home`.
pub(crate) fn home() -> PathBuf {
    std::env::home_dir().unwrap_or_else(|| PathBuf::from("."))
}

fn host() -> Host {
    Host {
        home: home().to_string_lossy().into_owned(),
        name: rustix::system::uname().nodename().to_str().ok().map(str::to_owned),
        namesrv_addr: std::env::var("NAMESRV_ADDR").ok(),
        rocketmq_home: std::env::var("ROCKETMQ_HOME").ok(),
    }
}

fn read(path: Option<&Path>) -> Result<Properties, Failure> {
    let Some(path) = path else { return Ok(Properties::default()) };
    let fail = |why: String| Failure::new(EXIT_FAILURE, format!("cannot read {}: {why}", path.display()));
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| fail(error.to_string()))?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| fail(error.to_string()))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(fail("it is longer than 1 MiB, which no configuration is".into()));
    }
    // What is not UTF-8 (comments in GBK, mostly) is ISO 8859-1, as Java reads all files.
    let text = String::from_utf8(bytes)
        .unwrap_or_else(|error| error.as_bytes().iter().copied().map(char::from).collect());
    Properties::parse(&text).map_err(|error| fail(error.to_string()))
}

fn refused(error: ConfigError) -> Failure {
    let message = match error {
        ConfigError::Value { key, value, .. } if key == "namesrvAddr" => format!(
            "The Name Server Address[{value}] illegal, please set it as follows, \"127.0.0.1:9876;192.168.0.1:9876\""
        ),
        error => format!("configuration: {error}"),
    };
    Failure::new(EXIT_CONFIGURATION, message)
}
