// SPDX-License-Identifier: Apache-2.0
//! The name server behind a socket: brokers come, go and die silently.

use oxmq_namesrv::{Configuration, NameServer, Settings, UpdateRefusal};
use oxmq_net::{Client, Limits, NoService, Reply, Server, Workers};
use oxmq_remoting::{
    Command,
    bodies::{ClusterInfo, RegisterBrokerBody},
    code::{self, request},
    fastjson,
};
use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

struct Fixed;

impl Configuration for Fixed {
    fn text(&self) -> String {
        String::new()
    }

    fn update(&self, _: &str) -> Result<Settings, UpdateRefusal> {
        Ok(Settings::default())
    }
}

const TIMEOUT: Duration = Duration::from_secs(20);

fn call(workers: &Workers, client: &Client, addr: &str, command: Command) -> Reply {
    let (client, addr) = (client.clone(), addr.to_owned());
    let (send, receive) = std::sync::mpsc::channel();
    workers.handle().spawn(async move {
        let _ = send.send(client.call(&addr, command, TIMEOUT).await);
    });
    receive.recv_timeout(TIMEOUT).unwrap().unwrap()
}

fn registration(name: &str, port: u16) -> Command {
    let body = RegisterBrokerBody::default().encode_compressed();
    Command::new(request::REGISTER_BROKER)
        .with("brokerName", name.to_owned())
        .with("brokerAddr", format!("127.0.0.1:{port}"))
        .with("clusterName", "C")
        .with("haServerAddr", "127.0.0.1:1")
        .with("brokerId", 0)
        .with("bodyCrc32", RegisterBrokerBody::checksum(&body))
        .with_body(body)
}

#[test]
fn brokers_go_with_their_connection_or_their_heartbeat() {
    let folder = std::env::temp_dir().join(format!("oxmq-namesrv-socket-{}", std::process::id()));
    let settings = Settings { scan_interval_ms: 20, ..Settings::default() };
    let server = Arc::new(
        NameServer::new(settings, folder.join("kvConfig.json"), Arc::new(Fixed), Arc::default()).unwrap(),
    );
    let workers = Workers::start(1).unwrap();
    workers.handle().spawn(server.clone().run_scans());
    let listener =
        Server::bind(&workers, &["127.0.0.1:0".parse().unwrap()], server, Limits::default()).unwrap();
    let addr = listener.local_addrs()[0].to_string();
    let admin = Client::new(&workers, Arc::new(NoService));
    let wait_for = |expected: &[&str]| {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let reply = call(&workers, &admin, &addr, Command::new(request::GET_BROKER_CLUSTER_INFO));
            let info: ClusterInfo = fastjson::from_slice(&reply.body).unwrap();
            let names: Vec<_> = info.broker_addr_table.into_keys().collect();
            if names == expected {
                return;
            }
            assert!(Instant::now() < deadline, "{names:?} instead of {expected:?}");
        }
    };

    // On workers of its own, whose end closes its connection.
    let broker_workers = Workers::start(1).unwrap();
    let broker = Client::new(&broker_workers, Arc::new(NoService));
    for (name, port) in [("a", 1000), ("b", 2000)] {
        let reply = call(&broker_workers, &broker, &addr, registration(name, port));
        assert_eq!(reply.code, code::SUCCESS, "{reply:?}");
    }
    let silent = Client::new(&workers, Arc::new(NoService));
    let dies_soon = registration("c", 3000).with("heartbeatTimeoutMillis", 200);
    assert_eq!(call(&workers, &silent, &addr, dies_soon).code, code::SUCCESS);
    wait_for(&["a", "b"]);
    drop(broker);
    broker_workers.shutdown();
    wait_for(&[]);

    // Writing waits for the disk on another thread.
    let put = Command::new(request::PUT_KV_CONFIG).with("namespace", "N").with("key", "k").with("value", "v");
    assert_eq!(call(&workers, &admin, &addr, put).code, code::SUCCESS);
    let get = Command::new(request::GET_KV_CONFIG).with("namespace", "N").with("key", "k");
    assert_eq!(call(&workers, &admin, &addr, get).field("value"), Some("v"));
    workers.shutdown();
    let _ = fs::remove_dir_all(folder);
}
