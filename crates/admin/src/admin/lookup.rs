// SPDX-License-Identifier: Apache-2.0
//! Topics: where they are, and how far their queues reach.

use super::{Admin, AdminError};
use oxmq_remoting::{
    Command,
    bodies::{TopicList, TopicRouteData, TopicStatsTable},
    code::request,
};

impl Admin {
    /// Where the queues of a topic are: GET_ROUTEINFO_BY_TOPIC (105).
    ///
    /// # Errors
    /// [`AdminError::Refused`] with TOPIC_NOT_EXIST if no broker has it.
    pub async fn route(&self, topic: &str) -> Result<TopicRouteData, AdminError> {
        let command = Command::new(request::GET_ROUTEINFO_BY_TOPIC).with("topic", topic.to_owned());
        self.name_server_json(command, "a route").await
    }

    /// All topics that the name server knows: GET_ALL_TOPIC_LIST_FROM_NAMESERVER (206).
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn topics(&self) -> Result<TopicList, AdminError> {
        self.name_server_json(Command::new(request::GET_ALL_TOPIC_LIST_FROM_NAMESERVER), "a list of topics")
            .await
    }

    /// Where the queues of a topic begin and end on one broker: GET_TOPIC_STATS_INFO (202).
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn topic_stats(&self, addr: &str, topic: &str) -> Result<TopicStatsTable, AdminError> {
        let command = Command::new(request::GET_TOPIC_STATS_INFO).with("topic", topic.to_owned());
        self.ask_json(addr, command, "offsets of a topic").await
    }

    /// Deletes a topic on all masters of a cluster, and then at all name servers: DELETE_TOPIC_IN_BROKER (215),
    /// DELETE_TOPIC_IN_NAMESRV (216). One that is not there is deleted.
    ///
    /// # Errors
    /// [`AdminError`] of the first server that refuses.
    pub async fn delete_topic(&self, topic: &str, cluster: &str) -> Result<(), AdminError> {
        for addr in self.masters_of(cluster).await? {
            let command = Command::new(request::DELETE_TOPIC_IN_BROKER).with("topic", topic.to_owned());
            self.ask(&addr, command).await?;
        }
        for addr in self.name_servers()? {
            let command = Command::new(request::DELETE_TOPIC_IN_NAMESRV).with("topic", topic.to_owned());
            self.ask(addr, command).await?;
        }
        Ok(())
    }
}
