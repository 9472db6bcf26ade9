// SPDX-License-Identifier: Apache-2.0
//! The configuration of a running broker, as tools see and change it.
//!
//! What may change is decided where the settings are: no path, no identity, nothing that starts a process
//! (CVE-2023-33246). Secrets are masked there, too.

use super::Parts;
use crate::{groups::now_ms, refusal::Refusal};
use oxmq_net::{AdminAccess, Peer};
use oxmq_remoting::Command;
use oxmq_types::Properties;
use std::sync::PoisonError;
use thiserror::Error;
use tracing::warn;

/// The settings of a running broker.
pub trait Configuration: Send + Sync + 'static {
    /// All of them, secrets masked.
    fn read(&self) -> Properties;

    /// Changes some: all of `changes`, or none. May block. What the tool should know besides, if anything.
    ///
    /// # Errors
    /// Why none was changed.
    fn update(&self, changes: &Properties) -> Result<Option<String>, UpdateRefused>;
}

/// A configuration that tools neither see nor change.
#[derive(Debug, Clone, Copy)]
pub struct NoConfiguration;

impl Configuration for NoConfiguration {
    fn read(&self) -> Properties {
        Properties::default()
    }

    fn update(&self, _changes: &Properties) -> Result<Option<String>, UpdateRefused> {
        Err(UpdateRefused::NotAllowed("this broker has no configuration that can be changed".into()))
    }
}

/// Why settings were not changed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UpdateRefused {
    /// One of them may not change while the broker runs.
    #[error("{0}")]
    NotAllowed(String),
    /// One of them is unknown, or cannot have this value.
    #[error("{0}")]
    Impossible(String),
    /// They could not be kept.
    #[error("{0}")]
    NotKept(String),
}

impl Parts {
    pub(super) fn configuration(&self) -> Result<Command, Refusal> {
        let all = self.rules.get().configuration.read();
        let version = *self.configured.lock().unwrap_or_else(PoisonError::into_inner);
        let version = serde_json::to_string(&version).map_err(|error| Refusal::System(error.to_string()))?;
        Ok(Command::success().with("version", version).with_body(all.to_string().into_bytes()))
    }

    /// Checks whether a peer may take something away; `what` says what it is.
    pub(super) fn check_destroy(&self, what: &str, peer: &Peer) -> Result<(), Refusal> {
        self.access.check_destroy(what, peer).map_err(|remark| {
            warn!(peer = %peer.remote(), what, "a tool on another machine was refused");
            Refusal::NoPermission(remark)
        })
    }

    pub(super) fn configure(&self, text: &str, peer: &Peer) -> Result<Command, Refusal> {
        let changes = Properties::parse(text).map_err(|error| Refusal::Body(error.to_string()))?;
        if changes.get(AdminAccess::KEY).is_some() && !AdminAccess::is_here(peer) {
            return Err(Refusal::NoPermission(format!(
                "{} is changed from this machine only",
                AdminAccess::KEY
            )));
        }
        let peer = peer.remote();
        match self.rules.get().configuration.update(&changes) {
            Ok(remark) => {
                self.configured.lock().unwrap_or_else(PoisonError::into_inner).advance(now_ms());
                let keys: Vec<_> = changes.iter().map(|(key, _)| key).collect();
                warn!(%peer, keys = keys.join(","), "configuration changed by a tool");
                Ok(Command { remark: remark.map(Into::into), ..Command::success() })
            }
            Err(refused) => {
                warn!(%peer, reason = %refused, "a tool was refused to change the configuration");
                Err(match refused {
                    UpdateRefused::NotAllowed(remark) => Refusal::NoPermission(remark),
                    UpdateRefused::Impossible(remark) => Refusal::Parameter(remark),
                    UpdateRefused::NotKept(remark) => Refusal::System(remark),
                })
            }
        }
    }
}
