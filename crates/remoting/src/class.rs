// SPDX-License-Identifier: Apache-2.0
//! What a request does to others: the one table of request codes by which broker and name server decide who may ask.
//!
//! - **Read** changes nothing.
//! - **Change** adds, or is what clients do all day: sends, heartbeats, commits, registrations of brokers, new topics and
//!   groups. Who reaches the port may do it, as in Java without access control.
//! - **Destroy** takes away what others rely on, or leads their messages elsewhere: deletions, resets of offsets,
//!   cleaning, permissions of brokers, the order of topics, configuration. Only tools ask for it.
//!
//! A change that takes something away from a topic or group that is there (queues, permissions) counts as Destroy as well; that
//! is found out where it is made, because the code does not tell.

use crate::code::request as codes;

/// What a request does to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestClass {
    /// It changes nothing.
    Read,
    /// It adds something, or is what clients and brokers do all day.
    Change,
    /// It takes away what others rely on, or leads their messages elsewhere.
    Destroy,
}

macro_rules! classes {
    ($($class:ident: $($name:ident)+;)+) => {
        impl RequestClass {
            /// The class of a request code and the code's name in Java. `None` for a code that no version of Java has:
            /// nobody serves it.
            #[must_use]
            pub fn of(code: i32) -> Option<(Self, &'static str)> {
                match code {
                    $($(codes::$name => Some((Self::$class, stringify!($name))),)+)+
                    _ => None,
                }
            }
        }

        /// All codes of the table.
        #[cfg(test)]
        const KNOWN: &[(i32, &str)] = &[$($((codes::$name, stringify!($name)),)+)+];
    };
}

classes! {
    Read:
        PULL_MESSAGE LITE_PULL_MESSAGE PEEK_MESSAGE NOTIFICATION POLLING_INFO QUERY_ASSIGNMENT
        QUERY_MESSAGE VIEW_MESSAGE_BY_ID QUERY_CONSUME_QUEUE
        QUERY_BROKER_OFFSET QUERY_CONSUMER_OFFSET SEARCH_OFFSET_BY_TIMESTAMP GET_MAX_OFFSET GET_MIN_OFFSET
        GET_EARLIEST_MSG_STORETIME QUERY_CORRECTION_OFFSET QUERY_CONSUME_TIME_SPAN
        GET_ALL_TOPIC_CONFIG GET_TOPIC_CONFIG GET_TOPIC_CONFIG_LIST GET_TOPIC_NAME_LIST
        GET_SYSTEM_TOPIC_LIST_FROM_BROKER GET_TOPIC_STATS_INFO
        GET_ALL_SUBSCRIPTIONGROUP_CONFIG GET_SUBSCRIPTIONGROUP_CONFIG
        GET_BROKER_CONFIG GET_BROKER_RUNTIME_INFO VIEW_BROKER_STATS_DATA GET_BROKER_HA_STATUS
        GET_CONSUME_STATS GET_BROKER_CONSUME_STATS GET_ALL_CONSUMER_OFFSET GET_ALL_DELAY_OFFSET
        GET_TIMER_CHECK_POINT GET_TIMER_METRICS GET_ALL_MESSAGE_REQUEST_MODE
        GET_CONSUMER_LIST_BY_GROUP GET_CONSUMER_CONNECTION_LIST GET_PRODUCER_CONNECTION_LIST GET_ALL_PRODUCER_INFO
        GET_CONSUMER_RUNNING_INFO INVOKE_BROKER_TO_GET_CONSUMER_STATUS GET_CONSUMER_STATUS_FROM_CLIENT
        QUERY_TOPIC_CONSUME_BY_WHO QUERY_TOPICS_BY_CONSUMER QUERY_SUBSCRIPTION_BY_CONSUMER WHO_CONSUME_THE_MESSAGE
        CHECK_CLIENT_CONFIG GET_CLIENT_CONFIG
        GET_COLD_DATA_FLOW_CTR_INFO CHECK_ROCKSDB_CQ_WRITE_PROGRESS
        GET_BROKER_CLUSTER_ACL_INFO GET_BROKER_CLUSTER_ACL_CONFIG
        AUTH_GET_USER AUTH_LIST_USER AUTH_GET_ACL AUTH_LIST_ACL
        GET_KV_CONFIG GET_KVLIST_BY_NAMESPACE GET_ROUTEINFO_BY_TOPIC GET_BROKER_CLUSTER_INFO GET_BROKER_MEMBER_GROUP
        GET_ALL_TOPIC_LIST_FROM_NAMESERVER GET_TOPICS_BY_CLUSTER GET_SYSTEM_TOPIC_LIST_FROM_NS GET_UNIT_TOPIC_LIST
        GET_HAS_UNIT_SUB_TOPIC_LIST GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST QUERY_DATA_VERSION GET_NAMESRV_CONFIG
        CONTROLLER_GET_REPLICA_INFO CONTROLLER_GET_METADATA_INFO CONTROLLER_GET_SYNC_STATE_DATA
        CONTROLLER_GET_NEXT_BROKER_ID GET_BROKER_EPOCH_CACHE GET_CONTROLLER_CONFIG;
    Change:
        SEND_MESSAGE SEND_MESSAGE_V2 SEND_BATCH_MESSAGE END_TRANSACTION RECALL_MESSAGE
        SEND_REPLY_MESSAGE SEND_REPLY_MESSAGE_V2 CONSUMER_SEND_MSG_BACK UPDATE_CONSUMER_OFFSET
        POP_MESSAGE ACK_MESSAGE BATCH_ACK_MESSAGE CHANGE_MESSAGE_INVISIBLETIME
        HEART_BEAT UNREGISTER_CLIENT LOCK_BATCH_MQ UNLOCK_BATCH_MQ
        CHECK_TRANSACTION_STATE NOTIFY_CONSUMER_IDS_CHANGED PUSH_REPLY_MESSAGE_TO_CLIENT RESET_CONSUMER_CLIENT_OFFSET
        REGISTER_FILTER_SERVER REGISTER_MESSAGE_FILTER_CLASS SUSPEND_CONSUMER RESUME_CONSUMER
        RESET_CONSUMER_OFFSET_IN_CONSUMER ADJUST_CONSUMER_THREAD_POOL
        UPDATE_AND_CREATE_TOPIC UPDATE_AND_CREATE_TOPIC_LIST
        UPDATE_AND_CREATE_SUBSCRIPTIONGROUP UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST
        UPDATE_AND_GET_GROUP_FORBIDDEN CONSUME_MESSAGE_DIRECTLY RESUME_CHECK_HALF_MESSAGE
        REGISTER_BROKER UNREGISTER_BROKER BROKER_HEARTBEAT REGISTER_TOPIC_IN_NAMESRV
        ADD_BROKER REMOVE_BROKER NOTIFY_MIN_BROKER_ID_CHANGE EXCHANGE_BROKER_HA_INFO NOTIFY_BROKER_ROLE_CHANGED
        CONTROLLER_ALTER_SYNC_STATE_SET CONTROLLER_REGISTER_BROKER CONTROLLER_APPLY_BROKER_ID;
    Destroy:
        DELETE_TOPIC_IN_BROKER DELETE_SUBSCRIPTIONGROUP UPDATE_AND_CREATE_STATIC_TOPIC
        SET_MESSAGE_REQUEST_MODE
        INVOKE_BROKER_TO_RESET_OFFSET RESET_CONSUMER_OFFSET_IN_BROKER CLONE_GROUP_OFFSET POP_ROLLBACK
        UPDATE_BROKER_CONFIG
        CLEAN_EXPIRED_CONSUMEQUEUE CLEAN_UNUSED_TOPIC DELETE_EXPIRED_COMMITLOG TRIGGER_DELETE_FILES
        RESET_MASTER_FLUSH_OFFSET EXPORT_ROCKSDB_CONFIG_TO_JSON
        UPDATE_COLD_DATA_FLOW_CTR_CONFIG REMOVE_COLD_DATA_FLOW_CTR_CONFIG SET_COMMITLOG_READ_MODE
        UPDATE_AND_CREATE_ACL_CONFIG DELETE_ACL_CONFIG UPDATE_GLOBAL_WHITE_ADDRS_CONFIG
        AUTH_CREATE_USER AUTH_UPDATE_USER AUTH_DELETE_USER AUTH_CREATE_ACL AUTH_UPDATE_ACL AUTH_DELETE_ACL
        PUT_KV_CONFIG DELETE_KV_CONFIG WIPE_WRITE_PERM_OF_BROKER ADD_WRITE_PERM_OF_BROKER DELETE_TOPIC_IN_NAMESRV
        UPDATE_NAMESRV_CONFIG
        CONTROLLER_ELECT_MASTER UPDATE_CONTROLLER_CONFIG CLEAN_BROKER_DATA;
}

/// Why there is no answer to a request code that Java knows; `None` for those that nobody serves, or for which there is
/// nothing to say.
#[must_use]
pub fn absent_because(code: i32) -> Option<&'static str> {
    Some(match code {
        50..=54 | 3001..=3010 => "access control is not there yet",
        codes::CHECK_ROCKSDB_CQ_WRITE_PROGRESS | codes::EXPORT_ROCKSDB_CONFIG_TO_JSON => {
            "queues and settings are in files, there is no RocksDB"
        }
        codes::UPDATE_AND_CREATE_STATIC_TOPIC => "there are no static topics",
        codes::ADD_BROKER | codes::REMOVE_BROKER => "this is no broker container",
        codes::POP_MESSAGE
        | codes::ACK_MESSAGE
        | codes::BATCH_ACK_MESSAGE
        | codes::PEEK_MESSAGE
        | codes::CHANGE_MESSAGE_INVISIBLETIME
        | codes::NOTIFICATION
        | codes::POLLING_INFO
        | codes::POP_ROLLBACK => "POP consumption is not there yet",
        codes::QUERY_ASSIGNMENT => "clients assign their queues themselves",
        codes::NOTIFY_MIN_BROKER_ID_CHANGE | codes::EXCHANGE_BROKER_HA_INFO => "replication is not there yet",
        codes::CONTROLLER_ALTER_SYNC_STATE_SET..=codes::CONTROLLER_APPLY_BROKER_ID => {
            "there is no controller"
        }
        codes::UPDATE_COLD_DATA_FLOW_CTR_CONFIG | codes::REMOVE_COLD_DATA_FLOW_CTR_CONFIG => {
            "who reads old messages waits for a turn, there are no limits by group"
        }
        codes::SET_COMMITLOG_READ_MODE => "how far the kernel reads ahead is left to it",
        codes::REGISTER_FILTER_SERVER | codes::REGISTER_MESSAGE_FILTER_CLASS => {
            "messages are filtered by expressions, not by classes"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_given_for_known_codes_only() {
        for code in -10..300_000 {
            assert!(absent_because(code).is_none() || RequestClass::of(code).is_some(), "{code}");
        }
        assert_eq!(absent_because(3003), Some("access control is not there yet"));
        assert_eq!(absent_because(7777), None);
    }

    #[test]
    fn every_code_has_one_class() {
        let mut codes: Vec<_> = KNOWN.iter().map(|(code, _)| *code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), KNOWN.len(), "a code stands twice");
        assert_eq!(codes.len(), 158);
        for (code, name) in KNOWN {
            assert_eq!(RequestClass::of(*code).unwrap().1, *name);
        }
        for unknown in [0, -1, 1, 99, 7777, i32::MIN, i32::MAX, 3442] {
            assert_eq!(RequestClass::of(unknown), None, "{unknown}");
        }
        for code in -10..300_000 {
            assert_eq!(RequestClass::of(code).is_some(), codes.binary_search(&code).is_ok(), "{code}");
        }
    }
}
