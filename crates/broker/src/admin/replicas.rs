// SPDX-License-Identifier: Apache-2.0
//! What tools ask of replication, as a master without slaves answers it, and of cold reads.

use super::{Parts, answer};
use crate::refusal::Refusal;
use oxmq_remoting::Command;
use serde::Serialize;
use std::collections::BTreeMap;

/// Java: `HARuntimeInfo`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HaStatus {
    /// What a slave says of itself; zeros at a master.
    ha_client_runtime_info: HaClient,
    /// One for each slave.
    ha_connection_info: [(); 0],
    in_sync_slave_nums: u32,
    master: bool,
    master_commit_log_max_offset: u64,
}

/// Java: `HAClientRuntimeInfo`.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct HaClient {
    activated: bool,
    last_read_timestamp: u64,
    last_write_timestamp: u64,
    master_flush_offset: u64,
    max_offset: u64,
    transferred_byte_in_second: u64,
}

/// Java: `ColdDataCgCtrService#getColdDataFlowCtrInfo`. Java's limits are not there: who reads old messages waits for a
/// turn, whatever his group.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ColdReadLimits {
    runtime_table: BTreeMap<String, ()>,
    config_table: BTreeMap<String, ()>,
    cg_cold_read_threshold: u64,
    global_cold_read_threshold: u64,
    global_acc: u64,
}

impl Parts {
    /// GET_BROKER_HA_STATUS (907).
    pub(super) fn ha_status(&self) -> Result<Command, Refusal> {
        answer(&HaStatus {
            ha_client_runtime_info: HaClient::default(),
            ha_connection_info: [],
            in_sync_slave_nums: 0,
            master: true,
            master_commit_log_max_offset: self.store.max_physical().0,
        })
    }

    /// GET_COLD_DATA_FLOW_CTR_INFO (2003).
    pub(super) fn cold_read_limits(&self) -> Result<Command, Refusal> {
        let all = self.rules.get().configuration.read();
        let number = |key| all.get(key).and_then(|value| value.parse().ok()).unwrap_or(0);
        answer(&ColdReadLimits {
            runtime_table: BTreeMap::new(),
            config_table: BTreeMap::new(),
            cg_cold_read_threshold: number("cgColdReadThreshold"),
            global_cold_read_threshold: number("globalColdReadThreshold"),
            global_acc: 0,
        })
    }
}
