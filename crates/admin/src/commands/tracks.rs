// SPDX-License-Identifier: Apache-2.0
//! Who consumed a message. Java: `messageTrackDetail`, `MessageTrack`.

use crate::{Admin, AdminError};
use oxmq_client::ReceivedMessage;
use oxmq_remoting::{
    bodies::{ConsumeStats, ConsumerConnection},
    code,
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, fmt};

/// What one group did with a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Track {
    group: String,
    kind: &'static str,
    /// Why it is not known, or Java's null.
    reason: Option<String>,
}

impl fmt::Display for Track {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { group, kind, reason } = self;
        let reason = reason.as_deref().unwrap_or("null");
        write!(f, "MessageTrack [consumerGroup={group}, trackType={kind}, exceptionDesc={reason}]")
    }
}

impl Track {
    /// The same for programs.
    pub(crate) fn json(&self) -> Value {
        json!({"consumerGroup": self.group, "trackType": self.kind, "reason": self.reason})
    }
}

/// What all groups of the message's topic did with it.
///
/// # Errors
/// [`AdminError`] if the groups are not known.
pub(crate) async fn tracks(admin: &Admin, message: &ReceivedMessage) -> Result<Vec<Track>, AdminError> {
    let groups = admin.groups_of(message.topic()).await?;
    let mut tracks = Vec::with_capacity(groups.len());
    for group in groups {
        let (kind, reason) = match admin.consumers(&group).await {
            Ok(connection) => done(admin, &group, &connection, message).await,
            Err(error) => failed(&error),
        };
        tracks.push(Track { group, kind, reason });
    }
    Ok(tracks)
}

fn failed(error: &AdminError) -> (&'static str, Option<String>) {
    match error {
        AdminError::Refused { code: code::CONSUMER_NOT_ONLINE, remark, .. } => {
            ("NOT_ONLINE", Some(format!("CODE:206 DESC:{remark}")))
        }
        AdminError::Refused { code: code::BROADCAST_CONSUMPTION, .. } => ("CONSUME_BROADCASTING", None),
        AdminError::Refused { code, remark, .. } => ("UNKNOWN", Some(format!("CODE:{code} DESC:{remark}"))),
        error => ("UNKNOWN", Some(error.to_string())),
    }
}

async fn done(
    admin: &Admin,
    group: &str,
    connection: &ConsumerConnection,
    message: &ReceivedMessage,
) -> (&'static str, Option<String>) {
    match connection.consume_type.as_str() {
        "CONSUME_ACTIVELY" => return ("PULL", None),
        "CONSUME_PASSIVELY" => {}
        _ => return ("UNKNOWN", None),
    }
    let progress = async {
        let masters = admin.cluster_info().await?.broker_addr_table;
        let masters = masters.into_iter().filter_map(|(name, broker)| {
            let master = broker.broker_addrs.get(&0).cloned();
            master.map(|master| (name, master))
        });
        Ok::<_, AdminError>((admin.progress(group, None).await?, masters.collect()))
    };
    match progress.await {
        Err(error) => failed(&error),
        Ok((stats, masters)) if !is_consumed(message, &stats, &masters) => ("NOT_CONSUME_YET", None),
        Ok(_) if is_filtered(message, connection) => ("CONSUMED_BUT_FILTERED", None),
        Ok(_) => ("CONSUMED", None),
    }
}

/// Whether the group has come past the message. `masters`: addresses of brokers by their name.
fn is_consumed(message: &ReceivedMessage, stats: &ConsumeStats, masters: &BTreeMap<String, String>) -> bool {
    let store_host = message.store_host().to_string();
    stats.offset_table.0.iter().any(|(queue, offsets)| {
        queue.topic == message.topic()
            && queue.queue_id == message.queue_id()
            && masters.get(&queue.broker_name).is_some_and(|addr| is_same_host(addr, &store_host))
            && offsets.consumer_offset > message.queue_offset()
    })
}

/// A broker may be registered by its name, and stores its number.
fn is_same_host(addr: &str, store_host: &str) -> bool {
    use std::net::ToSocketAddrs;
    addr == store_host
        || (addr.parse::<std::net::SocketAddr>().is_err()
            && addr.to_socket_addrs().is_ok_and(|mut all| all.any(|addr| addr.to_string() == store_host)))
}

fn is_filtered(message: &ReceivedMessage, connection: &ConsumerConnection) -> bool {
    let mut told = connection.subscription_table.iter().filter(|(topic, _)| topic == message.topic());
    told.any(|(_, told)| {
        let tag = message.tag();
        let wants = |wanted: &String| wanted == "*" || tag.as_deref() == Some(wanted);
        !told.tags_set.is_empty() && !told.tags_set.iter().any(wants)
    })
}
