// SPDX-License-Identifier: Apache-2.0
//! Settings of brokers and name servers, and what brokers clean on demand.

use super::{Admin, AdminError};
use oxmq_remoting::{Command, code::request};
use oxmq_types::Properties;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Cleaning looks at every queue.
const CLEAN_TIMEOUT: Duration = Duration::from_secs(30);

/// Namespace of the key-value table in which the queues of ordered topics stand.
pub(crate) const ORDER_NAMESPACE: &str = "ORDER_TOPIC_CONFIG";

/// What a broker may be told to clean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Clean {
    /// Units of consume queues whose messages are gone: CLEAN_EXPIRED_CONSUMEQUEUE (306).
    ExpiredConsumeQueues,
    /// Commit log files that are older than `fileReservedTime`: DELETE_EXPIRED_COMMITLOG (329).
    ExpiredCommitLog,
    /// Queues of topics that no longer exist: CLEAN_UNUSED_TOPIC (316).
    UnusedTopics,
}

/// How a broker's copies are. Java: `HARuntimeInfo`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HaStatus {
    /// True for a master.
    pub master: bool,
    /// End of its commit log.
    pub master_commit_log_max_offset: i64,
    /// Slaves that are near enough.
    pub in_sync_slave_nums: i32,
    /// Its slaves.
    pub ha_connection_info: Vec<HaSlave>,
    /// What a slave says of itself.
    pub ha_client_runtime_info: HaClient,
}

/// A slave, as its master sees it. Java: `HAConnectionRuntimeInfo`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HaSlave {
    /// Where it connects from.
    pub addr: String,
    /// What it has.
    pub slave_ack_offset: i64,
    /// How many bytes it is behind.
    pub diff: i64,
    /// True if that is little enough.
    pub in_sync: bool,
    /// Bytes sent to it per second.
    pub transferred_byte_in_second: i64,
    /// Where sending began.
    pub transfer_from_where: i64,
}

/// A slave, as it sees itself. Java: `HAClientRuntimeInfo`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HaClient {
    /// Its master.
    pub master_addr: String,
    /// Bytes received per second.
    pub transferred_byte_in_second: i64,
    /// End of its commit log.
    pub max_offset: i64,
    /// Last time that it heard of the master, in ms since 1970.
    pub last_read_timestamp: i64,
    /// Last time that it told the master something, in ms since 1970.
    pub last_write_timestamp: i64,
    /// How far the master's disk is.
    pub master_flush_offset: i64,
}

impl Admin {
    /// Settings of a broker: GET_BROKER_CONFIG (26), or of a name server: GET_NAMESRV_CONFIG (319).
    async fn config_of(&self, addr: &str, code: i32) -> Result<Vec<(String, String)>, AdminError> {
        let reply = self.ask(addr, Command::new(code)).await?;
        let text = String::from_utf8_lossy(&reply.body);
        let read = Properties::parse(&text).map_err(|error| AdminError::Unreadable {
            addr: addr.to_owned(),
            what: "settings",
            reason: error.to_string(),
        })?;
        Ok(read.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
    }

    /// Settings of a broker, by key: GET_BROKER_CONFIG (26).
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn broker_config(&self, addr: &str) -> Result<Vec<(String, String)>, AdminError> {
        self.config_of(addr, request::GET_BROKER_CONFIG).await
    }

    /// Settings of a name server, by key: GET_NAMESRV_CONFIG (319).
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn name_server_config(&self, addr: &str) -> Result<Vec<(String, String)>, AdminError> {
        self.config_of(addr, request::GET_NAMESRV_CONFIG).await
    }

    /// Changes a setting of a broker: UPDATE_BROKER_CONFIG (25).
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn update_broker_config(&self, addr: &str, key: &str, value: &str) -> Result<(), AdminError> {
        let command = Command::new(request::UPDATE_BROKER_CONFIG).with_body(line(key, value)?);
        self.ask(addr, command).await.map(drop)
    }

    /// Changes a setting of a name server: UPDATE_NAMESRV_CONFIG (318).
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn update_name_server_config(
        &self,
        addr: &str,
        key: &str,
        value: &str,
    ) -> Result<(), AdminError> {
        let command = Command::new(request::UPDATE_NAMESRV_CONFIG).with_body(line(key, value)?);
        self.ask(addr, command).await.map(drop)
    }

    /// Has a broker clean now what it would clean by itself at its time.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn clean(&self, addr: &str, what: Clean) -> Result<(), AdminError> {
        let command = Command::new(match what {
            Clean::ExpiredConsumeQueues => request::CLEAN_EXPIRED_CONSUMEQUEUE,
            Clean::ExpiredCommitLog => request::DELETE_EXPIRED_COMMITLOG,
            Clean::UnusedTopics => request::CLEAN_UNUSED_TOPIC,
        });
        super::accept(addr, self.ask_within(addr, command, CLEAN_TIMEOUT).await?).map(drop)
    }

    /// How a broker's copies are: GET_BROKER_HA_STATUS (907).
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn ha_status(&self, addr: &str) -> Result<HaStatus, AdminError> {
        self.ask_json(addr, Command::new(request::GET_BROKER_HA_STATUS), "the state of copies").await
    }

    /// Tells a slave how far its master's disk is: RESET_MASTER_FLUSH_OFFSET (908).
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn reset_master_flush_offset(&self, addr: &str, offset: i64) -> Result<(), AdminError> {
        let command = Command::new(request::RESET_MASTER_FLUSH_OFFSET).with("masterFlushOffset", offset);
        self.ask(addr, command).await.map(drop)
    }

    /// An entry of the key-value table, from the first name server that answers: GET_KV_CONFIG (101).
    ///
    /// # Errors
    /// [`AdminError::Refused`] with QUERY_NOT_FOUND if there is none.
    pub async fn kv(&self, namespace: &str, key: &str) -> Result<String, AdminError> {
        let (addr, reply) = self.ask_name_server(kv_command(request::GET_KV_CONFIG, namespace, key)).await?;
        reply.field("value").map(str::to_owned).ok_or_else(|| AdminError::Unreadable {
            addr,
            what: "a value",
            reason: "it has no value".to_owned(),
        })
    }

    /// Sets an entry at every name server: PUT_KV_CONFIG (100).
    ///
    /// # Errors
    /// [`AdminError`] of the first name server that fails; those before it have the entry.
    pub async fn put_kv(&self, namespace: &str, key: &str, value: &str) -> Result<(), AdminError> {
        for addr in self.name_servers()? {
            let command = kv_command(request::PUT_KV_CONFIG, namespace, key).with("value", value.to_owned());
            self.ask(addr, command).await?;
        }
        Ok(())
    }

    /// Removes an entry at every name server: DELETE_KV_CONFIG (102).
    ///
    /// # Errors
    /// [`AdminError`] of the first name server that fails; those before it no longer have the entry.
    pub async fn delete_kv(&self, namespace: &str, key: &str) -> Result<(), AdminError> {
        for addr in self.name_servers()? {
            self.ask(addr, kv_command(request::DELETE_KV_CONFIG, namespace, key)).await?;
        }
        Ok(())
    }
}

fn kv_command(code: i32, namespace: &str, key: &str) -> Command {
    Command::new(code).with("namespace", namespace.to_owned()).with("key", key.to_owned())
}

/// A setting as it is sent. A line break in it would be a second setting, which nobody asked for.
fn line(key: &str, value: &str) -> Result<String, AdminError> {
    if key.is_empty() || key.contains(['\n', '\r', '=']) || value.contains(['\n', '\r']) {
        return Err(AdminError::NotFound("a key is one word, and a value is one line".to_owned()));
    }
    Ok(format!("{key}={value}\n"))
}
