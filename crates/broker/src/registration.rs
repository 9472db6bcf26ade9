// SPDX-License-Identifier: Apache-2.0
//! The broker's registration at its name servers: at the start, every period, at once when a topic changes, and taken
//! back when it stops. Java: `BrokerOuterAPI#registerBrokerAll`.

use crate::{Broker, topics::Topics};
use oxmq_net::{CallError, Client, Reply};
use oxmq_remoting::{
    Command,
    bodies::{KVTable, RegisterBrokerBody, TopicConfigAndMappingSerializeWrapper},
    code::{self, request},
    fastjson,
};
use oxmq_types::{BrokerId, Perm};
use std::{collections::HashMap, future::Future, sync::Arc, time::Duration};
use thiserror::Error;
use tracing::{info, warn};

/// Changes that come close together are told together: a tool that makes a thousand topics costs a few
/// registrations, and a consumer that starts after its producer still finds the route.
const GATHER: Duration = Duration::from_millis(10);

/// What a broker tells of itself.
#[derive(Debug, Clone)]
pub struct Registration {
    /// `namesrvAddr`, split.
    pub name_servers: Vec<String>,
    /// `brokerClusterName`.
    pub cluster: String,
    /// `brokerName`.
    pub name: String,
    /// `brokerId`.
    pub id: BrokerId,
    /// Where clients reach it: `brokerIP1:listenPort`.
    pub address: String,
    /// Where slaves reach it: `brokerIP2:haListenPort`.
    pub ha_address: String,
    /// `compressedRegister`.
    pub compressed: bool,
    /// `registerNameServerPeriod`.
    pub period: Duration,
    /// `registerBrokerTimeoutMills`.
    pub timeout: Duration,
}

/// A name server that did not take the registration.
#[derive(Debug, Error)]
enum RegisterError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("refused with code {code}: {remark}")]
    Refused { code: i32, remark: String },
}

impl Registration {
    /// Registers for as long as the program runs, or until it is dropped.
    pub async fn run(self, client: Client, broker: Arc<Broker>) {
        let topics = broker.topics();
        let mut states: HashMap<String, Option<String>> = HashMap::new();
        loop {
            // What changes from here on is told next.
            let counter = topics.counter();
            self.everywhere(
                |address| {
                    let (client, command) = (client.clone(), self.register(&topics, broker.permission()));
                    let (timeout, topics) = (self.timeout, topics.clone());
                    async move {
                        let answer = accepted(client.call(&address, command, timeout).await)?;
                        // The queues of ordered topics, which `updateOrderConf` keeps in the name server.
                        if let Ok(ordered) = fastjson::from_slice::<KVTable>(&answer.body) {
                            topics.set_ordered(ordered.table.keys());
                        }
                        Ok(())
                    }
                },
                &mut states,
            )
            .await;
            topics.told(counter);
            // Topics that changed while this was under way have left their permit.
            if tokio::time::timeout(self.period, topics.changed()).await.is_ok() {
                tokio::time::sleep(GATHER).await;
            }
        }
    }

    /// Takes the registration back, so that no client comes any more.
    pub async fn withdraw(&self, client: &Client) {
        for address in &self.name_servers {
            let command = self.identified(Command::new(request::UNREGISTER_BROKER));
            match accepted(client.call(address, command, Duration::from_secs(3)).await) {
                Ok(_) => info!(name_server = address, "registration taken back"),
                Err(error) => warn!(name_server = address, %error, "registration could not be taken back"),
            }
        }
    }

    /// Does one thing at all name servers side by side: one that is down must not delay the others.
    async fn everywhere<F>(&self, work: impl Fn(String) -> F, states: &mut HashMap<String, Option<String>>)
    where
        F: Future<Output = Result<(), RegisterError>> + Send + 'static,
    {
        let tasks: Vec<_> =
            self.name_servers.iter().map(|address| (address, tokio::spawn(work(address.clone())))).collect();
        for (address, task) in tasks {
            let Ok(result) = task.await else { continue };
            let failure = result.err().map(|error| error.to_string());
            // Said when it changes, not every 30 seconds.
            if states.get(address) != Some(&failure) {
                match &failure {
                    None => info!(name_server = address, broker = self.name, "registered"),
                    Some(error) => warn!(name_server = address, error, "registration failed, tried again"),
                }
                states.insert(address.clone(), failure);
            }
        }
    }

    fn identified(&self, command: Command) -> Command {
        command
            .with("brokerName", self.name.clone())
            .with("brokerAddr", self.address.clone())
            .with("clusterName", self.cluster.clone())
            .with("brokerId", self.id.0)
    }

    /// `permission`: `brokerPermission`: what it takes away, it takes from the topics as others see them.
    fn register(&self, topics: &Topics, permission: Perm) -> Command {
        let known = topics.snapshot();
        let mut table = known.topic_config_table;
        for config in table.values_mut() {
            config.perm &= permission.0;
        }
        let body = RegisterBrokerBody {
            filter_server_list: Vec::new(),
            topic_config_serialize_wrapper: TopicConfigAndMappingSerializeWrapper {
                data_version: known.data_version,
                mapping_data_version: known.data_version,
                topic_config_table: table,
                ..Default::default()
            },
        };
        let body = if self.compressed { body.encode_compressed() } else { body.encode() };
        self.identified(Command::new(request::REGISTER_BROKER))
            .with("haServerAddr", self.ha_address.clone())
            .with("compressed", self.compressed)
            .with("enableActingMaster", false)
            .with("bodyCrc32", RegisterBrokerBody::checksum(&body))
            .with_body(body)
    }
}

fn accepted(answer: Result<Reply, CallError>) -> Result<Reply, RegisterError> {
    let answer = answer?;
    match answer.code {
        code::SUCCESS => Ok(answer),
        code => Err(RegisterError::Refused { code, remark: answer.remark.unwrap_or_default() }),
    }
}
