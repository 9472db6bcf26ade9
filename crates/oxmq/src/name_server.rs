// SPDX-License-Identifier: Apache-2.0
//! The name server put together from its parts.

use crate::keep::keep;
use anyhow::Context;
use oxmq_config::{Change, NamesrvSettings, UpdateError};
use oxmq_namesrv::{Configuration, NameServer, Settings, UpdateRefusal};
use oxmq_net::{AdminAccess, Limits, Server, Workers};
use oxmq_remoting::code;
use oxmq_types::Properties;
use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tracing::{info, warn};

/// A name server that serves.
pub(crate) struct RunningNameServer {
    server: Server,
    scans: tokio::task::JoinHandle<()>,
    /// What Java prints once it is up.
    pub(crate) boot_line: String,
}

impl RunningNameServer {
    pub(crate) fn start(settings: NamesrvSettings, workers: &Workers) -> anyhow::Result<Self> {
        let listener = settings.listener();
        let bind: IpAddr = listener.bind_address.parse().context("bindAddress is no IP address")?;
        let addr = SocketAddr::new(bind, listener.port);
        let listening = Server::listen(&[addr])?;
        let (routes, files) = (routes(&settings), settings.files());
        let access = Arc::new(AdminAccess::new(settings.admin_networks()));
        let configuration = Arc::new(Kept { settings: Mutex::new(settings), access: access.clone() });
        let name_server = Arc::new(NameServer::new(routes, files.kv_config, configuration, access)?);
        let limits =
            Limits { idle_timeout: Duration::from_secs(listener.idle_timeout_seconds), ..Limits::default() };
        let server = listening.serve(workers, name_server.clone(), limits)?;
        let scans = workers.handle().spawn(name_server.run_scans());
        let boot_line = format!("The Name Server boot success. serializeType=JSON, address {addr}");
        Ok(Self { server, scans, boot_line })
    }

    pub(crate) fn stop(self) {
        self.scans.abort();
        self.server.close();
    }
}

fn routes(settings: &NamesrvSettings) -> Settings {
    let routes = settings.routes();
    Settings {
        scan_interval_ms: routes.scan_interval_ms,
        order_configuration: routes.order_configuration,
        order_configuration_to_brokers: routes.order_configuration_to_brokers,
        all_topic_list: routes.all_topic_list,
        topic_list: routes.topic_list,
        acting_master: routes.acting_master,
        delete_topics_on_registration: routes.delete_topics_on_registration,
        wait_for_service: routes.wait_for_service,
        wait_seconds: routes.wait_seconds,
    }
}

/// The settings as tools read and change them; changes are kept in `configStorePath`.
struct Kept {
    settings: Mutex<NamesrvSettings>,
    access: Arc<AdminAccess>,
}

impl Kept {
    fn settings(&self) -> MutexGuard<'_, NamesrvSettings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Configuration for Kept {
    fn text(&self) -> String {
        self.settings().to_properties().to_string()
    }

    fn update(&self, text: &str) -> Result<Settings, UpdateRefusal> {
        let refuse = |code, remark: String| UpdateRefusal { code, remark };
        let updates =
            Properties::parse(text).map_err(|error| refuse(code::SYSTEM_ERROR, error.to_string()))?;
        let mut settings = self.settings();
        let changes: Vec<Change> = settings.update(&updates).map_err(|error| {
            let code = if matches!(error, UpdateError::Fixed { .. }) {
                code::NO_PERMISSION
            } else {
                code::SYSTEM_ERROR
            };
            refuse(code, error.to_string())
        })?;
        info!(?changes, "configuration changed at run time");
        let file = settings.files().config_store;
        if let Err(error) = keep(&file, &updates) {
            warn!(file = %file.display(), %error, "the change holds until the next start only");
        }
        self.access.allow(settings.admin_networks());
        Ok(routes(&settings))
    }
}
