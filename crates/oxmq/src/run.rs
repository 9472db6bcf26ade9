// SPDX-License-Identifier: Apache-2.0
//! Where the servers are put together from their parts.

use std::path::PathBuf;

use anyhow::bail;
use oxmq_config::{BrokerSettings, NamesrvSettings};

/// Runs a name server until [`crate::shutdown::shutdown_signal`].
///
/// `config_file`: what `-c` named; changes at run time are kept there.
pub(crate) async fn run_namesrv(
    settings: NamesrvSettings,
    config_file: Option<PathBuf>,
) -> anyhow::Result<()> {
    let _ = (settings, config_file);
    bail!("the name server is not wired to its command yet")
}

/// Runs a broker until [`crate::shutdown::shutdown_signal`].
///
/// `config_file`: what `-c` named; changes at run time are kept there.
pub(crate) async fn run_broker(settings: BrokerSettings, config_file: Option<PathBuf>) -> anyhow::Result<()> {
    let _ = (settings, config_file);
    bail!("the broker is not wired to its command yet")
}

/// Runs both in this process until [`crate::shutdown::shutdown_signal`].
pub(crate) async fn run_dev(namesrv: NamesrvSettings, broker: BrokerSettings) -> anyhow::Result<()> {
    let _ = (namesrv, broker);
    bail!("name server and broker are not wired to this command yet")
}
