// SPDX-License-Identifier: Apache-2.0
//! Headers of what tools ask of a broker. Java: package `remoting.protocol.header`.

use std::borrow::Cow;

crate::request_headers! {
    /// UPDATE_AND_CREATE_TOPIC (17). Java: `CreateTopicRequestHeader`.
    CreateTopic<'a> {
        /// Topic.
        topic: Cow<'a, str> = b"topic",
        /// Queues that consumers see.
        read_queue_nums: i32 = b"readQueueNums",
        /// Queues that producers see.
        write_queue_nums: i32 = b"writeQueueNums",
        /// Permission bits.
        perm: i32 = b"perm",
        /// `SINGLE_TAG` or `MULTI_TAG`.
        topic_filter_type: Cow<'a, str> = b"topicFilterType",
        /// Unit bits.
        topic_sys_flag: Option<i32> = b"topicSysFlag",
        /// True for an ordered topic.
        order: Option<bool> = b"order",
        /// 5.x: changes of attributes, `+name=value,-name`.
        attributes: Option<Cow<'a, str>> = b"attributes",
    }

    /// Requests about a topic alone: DELETE_TOPIC_IN_BROKER (215), GET_TOPIC_CONFIG (351), GET_TOPIC_STATS_INFO (202),
    /// QUERY_TOPIC_CONSUME_BY_WHO (300).
    TopicQuery<'a> {
        /// Topic.
        topic: Cow<'a, str> = b"topic",
    }

    /// Requests about a group alone that call it `group`: GET_SUBSCRIPTIONGROUP_CONFIG (352),
    /// QUERY_TOPICS_BY_CONSUMER (343).
    GroupQuery<'a> {
        /// Group.
        group: Cow<'a, str> = b"group",
    }

    /// QUERY_SUBSCRIPTION_BY_CONSUMER (345), QUERY_CONSUME_TIME_SPAN (303).
    TopicOfGroup<'a> {
        /// Topic.
        topic: Cow<'a, str> = b"topic",
        /// Group.
        group: Cow<'a, str> = b"group",
    }

    /// UPDATE_AND_GET_GROUP_FORBIDDEN (353). Java: `UpdateGroupForbiddenRequestHeader`.
    GroupForbidden<'a> {
        /// Topic.
        topic: Cow<'a, str> = b"topic",
        /// Group.
        group: Cow<'a, str> = b"group",
        /// Whether the group may read from the topic; absent to ask.
        readable: Option<bool> = b"readable",
    }

    /// DELETE_SUBSCRIPTIONGROUP (207). Java: `DeleteSubscriptionGroupRequestHeader`.
    DeleteGroup<'a> {
        /// Group.
        group: Cow<'a, str> = b"groupName",
        /// True if its offsets are to go, too.
        clean_offset: Option<bool> = b"cleanOffset",
    }

    /// GET_CONSUME_STATS (208). Java: `GetConsumeStatsRequestHeader`.
    ConsumeStatsQuery<'a> {
        /// Group.
        consumer_group: Cow<'a, str> = b"consumerGroup",
        /// The only topic to look at; all that the group consumes if absent.
        topic: Option<Cow<'a, str>> = b"topic",
        /// 5.x: several topics with a `;` behind each, whether the group subscribes to them or not.
        topic_list: Option<Cow<'a, str>> = b"topicList",
    }

    /// GET_BROKER_CONSUME_STATS (317). Java: `GetConsumeStatsInBrokerHeader`.
    BrokerConsumeStatsQuery<'a> {
        /// True if only ordered topics are wanted.
        is_order: Option<bool> = b"isOrder",
    }

    /// GET_PRODUCER_CONNECTION_LIST (204).
    ProducerGroupQuery<'a> {
        /// Group.
        producer_group: Cow<'a, str> = b"producerGroup",
    }

    /// VIEW_MESSAGE_BY_ID (33). Java: `ViewMessageRequestHeader`.
    ViewMessage<'a> {
        /// Where its record starts in the commit log.
        offset: i64 = b"offset",
    }

    /// QUERY_MESSAGE (12). Java: `QueryMessageRequestHeader`, `MixAll.UNIQUE_MSG_QUERY_FLAG`.
    QueryMessage<'a> {
        /// Topic.
        topic: Cow<'a, str> = b"topic",
        /// A key of the message, or its unique key.
        key: Cow<'a, str> = b"key",
        /// Most messages wanted.
        max_num: i32 = b"maxNum",
        /// Earliest store time, in ms since 1970.
        begin_timestamp: i64 = b"beginTimestamp",
        /// Latest store time, in ms since 1970.
        end_timestamp: i64 = b"endTimestamp",
        /// True if the key is a unique key: how many are wanted is then the broker's choice.
        unique_key: Option<bool> = b"_UNIQUE_KEY_QUERY",
    }

    /// QUERY_CORRECTION_OFFSET (308). Java: `QueryCorrectionOffsetHeader`.
    CorrectionOffsetQuery<'a> {
        /// Groups that do not count, separated by commas.
        filter_groups: Option<Cow<'a, str>> = b"filterGroups",
        /// Group whose offsets are compared with those of all.
        compare_group: Cow<'a, str> = b"compareGroup",
        /// Topic.
        topic: Cow<'a, str> = b"topic",
    }

    /// QUERY_CONSUME_QUEUE (321). Java: `QueryConsumeQueueRequestHeader`.
    ConsumeQueueQuery<'a> {
        /// Topic.
        topic: Cow<'a, str> = b"topic",
        /// Queue.
        queue_id: i32 = b"queueId",
        /// First unit wanted.
        index: i64 = b"index",
        /// Most units wanted.
        count: i32 = b"count",
        /// Group whose subscription is wanted, too.
        consumer_group: Option<Cow<'a, str>> = b"consumerGroup",
    }

    /// VIEW_BROKER_STATS_DATA (315). Java: `ViewBrokerStatsDataRequestHeader`.
    StatsQuery<'a> {
        /// What is counted: `TOPIC_PUT_NUMS` and the like.
        stats_name: Cow<'a, str> = b"statsName",
        /// Of whom: a topic, `topic@group`, a cluster.
        stats_key: Cow<'a, str> = b"statsKey",
    }

    /// GET_CONSUMER_RUNNING_INFO (307) and CONSUME_MESSAGE_DIRECTLY (309), which a broker passes on to a client.
    ConsumerCall<'a> {
        /// Group.
        consumer_group: Cow<'a, str> = b"consumerGroup",
        /// Client in it.
        client_id: Cow<'a, str> = b"clientId",
        /// Message that it is to consume; only in 309.
        message_id: Option<Cow<'a, str>> = b"msgId",
        /// Its topic; only in 309.
        topic: Option<Cow<'a, str>> = b"topic",
    }

    /// INVOKE_BROKER_TO_RESET_OFFSET (222). Java: `ResetOffsetRequestHeader`.
    ResetOffset<'a> {
        /// Topic.
        topic: Cow<'a, str> = b"topic",
        /// Group.
        group: Cow<'a, str> = b"group",
        /// 5.x: the only queue to reset; negative for all.
        queue_id: Option<i32> = b"queueId",
        /// 5.x: where to, if a queue is named; -1 if the time is to decide.
        offset: Option<i64> = b"offset",
        /// Store time to go to, in ms since 1970; negative for the end.
        timestamp_ms: i64 = b"timestamp",
        /// False if no offset is to go forward.
        is_force: bool = b"isForce",
    }

    /// CLONE_GROUP_OFFSET (314). Java: `CloneGroupOffsetRequestHeader`.
    CloneGroupOffset<'a> {
        /// Group that has the offsets.
        src_group: Cow<'a, str> = b"srcGroup",
        /// Group that gets them.
        dest_group: Cow<'a, str> = b"destGroup",
        /// The only topic; all in which the first has offsets if absent.
        topic: Option<Cow<'a, str>> = b"topic",
        /// True if topics count to which the first does not subscribe now.
        offline: Option<bool> = b"offline",
    }

    /// INVOKE_BROKER_TO_GET_CONSUMER_STATUS (223). Java: `GetConsumerStatusRequestHeader`.
    GetConsumerStatus<'a> {
        /// Topic.
        topic: Cow<'a, str> = b"topic",
        /// Group.
        group: Cow<'a, str> = b"group",
        /// The id of the only client to ask, whatever the name says.
        client_addr: Option<Cow<'a, str>> = b"clientAddr",
    }
}
