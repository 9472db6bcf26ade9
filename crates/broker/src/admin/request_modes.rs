// SPDX-License-Identifier: Apache-2.0
//! Whether a group pulls or pops a topic: SET_MESSAGE_REQUEST_MODE (401), GET_ALL_MESSAGE_REQUEST_MODE (402).
//!
//! There is no POP yet, so that mode is refused; that of pulling is kept where a Java broker looks for it. What a Java broker
//! left in the file stays there.
//!
//! File: `config/messageRequestMode.json`, `{"messageRequestModeMap":{"TOPIC":{"GROUP":{settings}}}}`.
//! Java: `QueryAssignmentProcessor#setMessageRequestMode`, `MessageRequestModeManager`.

use super::{Parts, body_json};
use crate::{
    persist::{ConfigFile, Kept, LoadError},
    refusal::Refusal,
};
use oxmq_remoting::Command;
use oxmq_types::RETRY_GROUP_PREFIX;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};
use tracing::info;

/// Most settings that are kept.
const MODES_MAX: usize = 100_000;

/// The file, and the answer to GET_ALL_MESSAGE_REQUEST_MODE.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct File {
    message_request_mode_map: BTreeMap<String, BTreeMap<String, Value>>,
}

impl Kept for File {
    const MEMBER: &str = "messageRequestModeMap";
}

/// What tools said.
#[derive(Debug)]
pub(crate) struct RequestModes {
    kept: ConfigFile,
    file: Mutex<File>,
}

impl RequestModes {
    /// Reads the file at `path`, if there is one.
    ///
    /// # Errors
    /// If neither the file nor its backup can be read.
    pub(crate) fn open(path: PathBuf) -> Result<Self, LoadError> {
        let kept = ConfigFile::new(path);
        let file = Mutex::new(kept.load()?.unwrap_or_default());
        Ok(Self { kept, file })
    }

    fn to_json(&self) -> io::Result<Vec<u8>> {
        Ok(serde_json::to_vec(&*self.file.lock().unwrap_or_else(PoisonError::into_inner))?)
    }
}

/// Java: `SetMessageRequestModeRequestBody`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RequestMode {
    consumer_group: String,
    mode: String,
    #[serde(default)]
    pop_share_queue_num: i32,
    topic: String,
}

pub(super) fn requested(body: &[u8]) -> Result<RequestMode, Refusal> {
    body_json(body)
}

impl Parts {
    pub(super) fn set_request_mode(
        &self,
        wanted: &RequestMode,
        peer: SocketAddr,
    ) -> Result<Command, Refusal> {
        let RequestMode { consumer_group, mode, topic, .. } = wanted;
        if topic.starts_with(RETRY_GROUP_PREFIX) {
            return Err(Refusal::NoPermission("retry topic is not allowed to set mode".into()));
        }
        self.topics.get(topic).ok_or_else(|| Refusal::TopicUnknown(topic.clone()))?;
        self.groups.get(consumer_group).ok_or(Refusal::RequestModeOfNoGroup)?;
        match mode.as_str() {
            "PULL" => {}
            "POP" => {
                let remark = "POP consumption is not there yet: the group goes on pulling";
                return Err(Refusal::IllegalOperation(remark.into()));
            }
            _ => return Err(Refusal::Parameter("mode is neither PULL nor POP".into())),
        }
        let value = serde_json::to_value(wanted).map_err(|error| Refusal::System(error.to_string()))?;
        {
            let mut file = self.modes.file.lock().unwrap_or_else(PoisonError::into_inner);
            let count: usize = file.message_request_mode_map.values().map(BTreeMap::len).sum();
            let groups = file.message_request_mode_map.entry(topic.clone()).or_default();
            if count >= MODES_MAX && !groups.contains_key(consumer_group) {
                return Err(Refusal::System(format!("{MODES_MAX} modes are kept already")));
            }
            groups.insert(consumer_group.clone(), value);
        }
        info!(group = consumer_group, topic, mode, %peer, "request mode set by a tool");
        let failed = |error: io::Error| Refusal::System(format!("messageRequestMode.json: {error}"));
        self.modes.kept.replace(|| self.modes.to_json()).map_err(failed)?;
        Ok(Command::success())
    }

    pub(super) fn request_modes(&self) -> Result<Command, Refusal> {
        let json = self.modes.to_json().map_err(|error| Refusal::System(error.to_string()))?;
        Ok(Command::success().with_body(json))
    }
}
