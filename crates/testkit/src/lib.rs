// SPDX-License-Identifier: Apache-2.0
//! Servers for the examples and tests of other crates, never a dependency of product code.
//!
//! [`Cluster`] is what `oxmq dev` starts, in the process of a test: a real name server and a real broker, whose topics are made by
//! their first message.
#![forbid(unsafe_code)]

use oxmq_broker::{Broker, Levels, Registration, Settings, dispatch_rule};
use oxmq_namesrv::{Configuration, NameServer, UpdateRefusal};
use oxmq_net::{Client, Limits, NoService, Server, Workers};
use oxmq_remoting::{Command, code};
use oxmq_store::{Store, StoreConfig};
use oxmq_types::{AUTO_CREATE_TOPIC, BrokerId};
use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Longest time that the start may take.
const LONG: Duration = Duration::from_secs(20);

/// A name server and a broker on free ports of loopback, with their data in a temporary folder. Both end when this is dropped.
pub struct Cluster {
    name_server: String,
    broker: Arc<Broker>,
    store: Arc<Store>,
    /// Listens as long as it lives.
    _servers: [Server; 2],
    workers: Option<Workers>,
    _folder: TempDir,
}

/// The name server's settings do not change.
struct Fixed;

impl Configuration for Fixed {
    fn text(&self) -> String {
        String::new()
    }

    fn update(&self, _: &str) -> Result<oxmq_namesrv::Settings, UpdateRefusal> {
        Err(UpdateRefusal { code: code::NO_PERMISSION, remark: "these settings do not change".into() })
    }
}

impl Cluster {
    /// Starts both. Comes back when the name server knows the broker.
    ///
    /// # Panics
    /// If one of them cannot start.
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let workers = Workers::start(1).unwrap();
        let handle = workers.handle();
        let any_port = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0))];

        let key_values = folder.path().join("kvConfig.json");
        let names = NameServer::new(Default::default(), key_values, Arc::new(Fixed), Arc::default()).unwrap();
        let names = Server::bind(&workers, &any_port, Arc::new(names), Limits::default()).unwrap();
        let name_server = names.local_addrs()[0].to_string();

        let listening = Server::listen(&any_port).unwrap();
        let address = listening.local_addrs().unwrap()[0];
        let root = folder.path().join("store");
        let config = StoreConfig { segment_size_bytes: 16 << 20, index: None, ..StoreConfig::new(&root) };
        let mut settings = Settings::new(("DefaultCluster", "broker-a"), address, &config);
        // As `oxmq dev`: every sample is to run as it is.
        settings.topics.trace_topic = Some("RMQ_SYS_TRACE_TOPIC".into());
        settings.pulls.property_filter = true;
        settings.delays.recall = true;
        let store = Store::open(config, Box::new(dispatch_rule(Levels::default()))).unwrap();
        let broker = Broker::open(settings, store.clone()).unwrap();
        broker.spawn_tasks(|task| drop(handle.spawn(task)));
        let server = listening.serve(&workers, broker.clone(), Limits::default()).unwrap();

        let client = Client::new(&workers, Arc::new(NoService));
        let registration = Registration {
            name_servers: vec![name_server.clone()],
            cluster: "DefaultCluster".into(),
            name: "broker-a".into(),
            id: BrokerId(0),
            address: address.to_string(),
            ha_address: address.to_string(),
            compressed: false,
            period: Duration::from_secs(30),
            timeout: LONG,
        };
        handle.spawn(registration.run(client.clone(), broker.clone()));
        handle.spawn(registered(client, name_server.clone())).await.unwrap();
        let workers = Some(workers);
        Self { name_server, broker, store, _servers: [names, server], workers, _folder: folder }
    }

    /// The name server's address, `host:port`.
    #[must_use]
    pub fn name_server(&self) -> &str {
        &self.name_server
    }
}

/// Waits until the name server knows a broker where topics can be made.
async fn registered(client: Client, name_server: String) {
    let start = Instant::now();
    loop {
        let command = Command::new(code::request::GET_ROUTEINFO_BY_TOPIC).with("topic", AUTO_CREATE_TOPIC);
        let reply = client.call(&name_server, command, LONG).await.unwrap();
        if reply.code == code::SUCCESS {
            return;
        }
        assert!(start.elapsed() < LONG, "the broker does not register");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.broker.stop();
        let _ = self.store.close();
        if let Some(workers) = self.workers.take() {
            workers.shutdown();
        }
    }
}
