// SPDX-License-Identifier: Apache-2.0
package compat;

import java.util.Collections;
import java.util.Map;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;

/** The code and the words of a refusal. All of them are what the Java server 5.3.3 answers. */
final class Errors {
    private static final int SEND_MESSAGE = 10;
    private static final int PULL_MESSAGE = 11;
    private static final int SEND_MESSAGE_V2 = 310;
    private static final int GET_ROUTE = 105;
    private static final int QUERY_CONSUMER_OFFSET = 14;
    private static final int UPDATE_CONSUMER_OFFSET = 15;
    private static final int SEARCH_OFFSET_BY_TIMESTAMP = 29;
    private static final int GET_MAX_OFFSET = 30;
    private static final int GET_MIN_OFFSET = 31;
    private static final int GET_EARLIEST_MSG_STORETIME = 32;
    private static final int HEART_BEAT = 34;
    private static final int GET_CONSUMER_LIST_BY_GROUP = 38;

    private Errors() {
    }

    static void add(Map<String, Main.Case> cases) {
        cases.put("error.body_too_big", Errors::bodyTooBig);
        cases.put("error.properties_too_big", Errors::propertiesTooBig);
        cases.put("error.send_raw", Errors::sendRaw);
        cases.put("error.send_v2_raw", Errors::sendV2Raw);
        cases.put("error.pull_raw", Errors::pullRaw);
        cases.put("error.unknown_code", Errors::unknownCode);
        cases.put("error.route", Errors::route);
        cases.put("error.offsets", Errors::offsets);
        cases.put("error.client", Errors::client);
    }

    private static void expect(String what, RemotingCommand answer, int code, String remark) {
        Check.equal(what + ", code (remark " + answer.getRemark() + ")", code, answer.getCode());
        Check.that(what + ", remark: " + answer.getRemark(), remark == null ? answer.getRemark() == null || answer.getRemark().isEmpty()
            : answer.getRemark() != null && answer.getRemark().startsWith(remark));
    }

    private static Map<String, String> send(String topic, Object... changes) {
        Map<String, String> fields = Scope.fields("producerGroup", "raw", "topic", topic, "defaultTopic", "TBW102", "defaultTopicQueueNums", 4,
            "queueId", 0, "sysFlag", 0, "bornTimestamp", System.currentTimeMillis(), "flag", 0, "properties", "", "reconsumeTimes", 0,
            "unitMode", false, "batch", false);
        fields.putAll(Scope.fields(changes));
        return fields;
    }

    private static Map<String, String> pull(String topic, Object... changes) {
        Map<String, String> fields = Scope.fields("consumerGroup", "raw", "topic", topic, "queueId", 0, "queueOffset", 0, "maxMsgNums", 32,
            "sysFlag", 4, "commitOffset", 0, "suspendTimeoutMillis", 0, "subscription", "*", "subVersion", 0, "expressionType", "TAG");
        fields.putAll(Scope.fields(changes));
        return fields;
    }

    private static void bodyTooBig(Scope scope) throws Exception {
        String topic = scope.topic("t", 1);
        DefaultMQProducer producer = scope.producer();
        refused(producer, new Message(topic, new byte[(4 << 20) + 1]));
        Check.equal("still serves", 0L, producer.send(Scope.message(topic, "", "small")).getQueueOffset());
    }

    private static void propertiesTooBig(Scope scope) throws Exception {
        String topic = scope.topic("t", 1);
        DefaultMQProducer producer = scope.producer();
        Message message = Scope.message(topic, "", "m");
        message.putUserProperty("big", String.join("", Collections.nCopies(32768, "x")));
        refused(producer, message);
        Check.equal("still serves", 0L, producer.send(Scope.message(topic, "", "small")).getQueueOffset());
    }

    private static void refused(DefaultMQProducer producer, Message message) throws Exception {
        try {
            producer.send(message);
        } catch (MQBrokerException e) {
            Check.equal("code", 13, e.getResponseCode());
            Check.that("remark: " + e.getErrorMessage(), e.getErrorMessage().startsWith("the message is illegal"));
            return;
        }
        throw new AssertionError("accepted");
    }

    private static void sendRaw(Scope scope) throws Exception {
        String topic = scope.topic("t", 4);
        byte[] body = {1};
        expect("fine", scope.call(SEND_MESSAGE, send(topic), body), 0, null);
        expect("queue id over the end", scope.call(SEND_MESSAGE, send(topic, "queueId", 4), body), 29, "request queueId[4] is illegal");
        expect("blank topic", scope.call(SEND_MESSAGE, send(" "), body), 29, "The specified topic is blank.");
        expect("path as topic", scope.call(SEND_MESSAGE, send("../x"), body), 29, "The specified topic contains illegal characters");
        expect("odd topic", scope.call(SEND_MESSAGE, send("a b"), body), 29, "The specified topic contains illegal characters");
        expect("long topic", scope.call(SEND_MESSAGE, send(String.join("", Collections.nCopies(128, "x"))), body), 29,
            "The specified topic is longer than topic max length");
        expect("system topic", scope.call(SEND_MESSAGE, send("SCHEDULE_TOPIC_XXXX"), body), 16, "Sending message to topic[SCHEDULE_TOPIC_XXXX] is forbidden.");
        expect("no such default topic", scope.call(SEND_MESSAGE, send(scope.name("absent"), "defaultTopic", "absent"), body), 17,
            "topic[" + scope.name("absent") + "] not exist, apply first please!");
        // Java 5.x runs into a null; the code is what clients see. It does not miss producerGroup, defaultTopic and defaultTopicQueueNums.
        for (String field : new String[] {"topic", "queueId", "sysFlag", "bornTimestamp", "flag"}) {
            Map<String, String> fields = send(topic);
            fields.remove(field);
            Check.equal("without " + field + ", code", 1, scope.call(SEND_MESSAGE, fields, body).getCode());
        }
        RemotingCommand anywhere = scope.call(SEND_MESSAGE, send(topic, "queueId", -1), body);
        expect("negative queue id: any queue", anywhere, 0, null);
        Check.that("queue " + anywhere.getExtFields(), anywhere.getExtFields().get("queueId").matches("[0-3]"));
        RemotingCommand answer = scope.call(SEND_MESSAGE, send(topic, "queueId", "four"), body);
        Check.equal("queue id that is no number: " + answer.getRemark(), 1, answer.getCode());
        Check.equal("empty body", 1, scope.call(SEND_MESSAGE, send(topic), new byte[0]).getCode());
    }

    private static void sendV2Raw(Scope scope) throws Exception {
        String topic = scope.topic("t", 4);
        byte[] body = {1};
        Map<String, String> fine = Scope.fields("a", "raw", "b", topic, "c", "TBW102", "d", 4, "e", 0, "f", 0, "g", System.currentTimeMillis(),
            "h", 0, "i", "", "j", 0, "k", false, "l", 0, "m", false);
        expect("fine", scope.call(SEND_MESSAGE_V2, fine, body), 0, null);
        fine.put("e", "9");
        expect("queue id over the end", scope.call(SEND_MESSAGE_V2, fine, body), 29, "request queueId[9] is illegal");
        fine.remove("e");
        RemotingCommand answer = scope.call(SEND_MESSAGE_V2, fine, body);
        Check.equal("without e: " + answer.getRemark(), 1, answer.getCode());
    }

    private static void pullRaw(Scope scope) throws Exception {
        String topic = scope.topic("t", 2);
        expect("empty queue", scope.call(PULL_MESSAGE, pull(topic), null), 19, "NO_MESSAGE_IN_QUEUE");
        expect("beyond the end", scope.call(PULL_MESSAGE, pull(topic, "queueOffset", 5), null), 21, "NO_MESSAGE_IN_QUEUE");
        expect("absent topic", scope.call(PULL_MESSAGE, pull(scope.name("absent")), null), 17, "topic[" + scope.name("absent") + "] not exist, apply first please!");
        expect("queue id over the end", scope.call(PULL_MESSAGE, pull(topic, "queueId", 2), null), 29, "queueId[2] is illegal");
        expect("negative queue id", scope.call(PULL_MESSAGE, pull(topic, "queueId", -1), null), 29, "queueId[-1] is illegal");
        expect("no subscription", scope.call(PULL_MESSAGE, pull(topic, "sysFlag", 0), null), 24, "the consumer's group info not exist");
        for (String field : new String[] {"consumerGroup", "topic", "queueId", "queueOffset", "maxMsgNums", "sysFlag"}) {
            Map<String, String> fields = pull(topic);
            fields.remove(field);
            Check.equal("without " + field + ", code", 1, scope.call(PULL_MESSAGE, fields, null).getCode());
        }
        expect("group that is a path", scope.call(PULL_MESSAGE, pull(topic, "consumerGroup", "../g"), null), 26, "subscription group [../g] does not exist");
        expect("fine", scope.call(SEND_MESSAGE, send(topic), new byte[] {1}), 0, null);
        Check.within(5, "the message", () -> scope.call(PULL_MESSAGE, pull(topic), null).getCode() == 0);
        expect("far beyond the end", scope.call(PULL_MESSAGE, pull(topic, "queueOffset", 1000), null), 21, "OFFSET_OVERFLOW_BADLY");
        expect("just beyond the end", scope.call(PULL_MESSAGE, pull(topic, "queueOffset", 2), null), 21, "OFFSET_OVERFLOW_BADLY");
        expect("at the end", scope.call(PULL_MESSAGE, pull(topic, "queueOffset", 1), null), 19, "OFFSET_OVERFLOW_ONE");
        expect("before the begin", scope.call(PULL_MESSAGE, pull(topic, "queueOffset", -1), null), 21, "OFFSET_TOO_SMALL");
        expect("another tag", scope.call(PULL_MESSAGE, pull(topic, "subscription", "none"), null), 20, "NO_MATCHED_MESSAGE");
        RemotingCommand one = scope.call(PULL_MESSAGE, pull(topic, "maxMsgNums", 0), null);
        expect("at most 0 messages gets one", one, 0, "FOUND");
        Check.equal("next", "1", one.getExtFields().get("nextBeginOffset"));
    }

    private static void unknownCode(Scope scope) throws Exception {
        expect("at the broker", scope.call(31999, Collections.emptyMap(), null), 3, " request type 31999 not supported");
        expect("at the name server", scope.callNamesrv(31999, Collections.emptyMap()), 3, " request type 31999 not supported");
    }

    private static void route(Scope scope) throws Exception {
        expect("absent topic", scope.callNamesrv(GET_ROUTE, Scope.fields("topic", scope.name("absent"))), 17,
            "No topic route info in name server for the topic: " + scope.name("absent"));
        expect("without topic", scope.callNamesrv(GET_ROUTE, Collections.emptyMap()), 17, "No topic route info in name server");
    }

    private static void offsets(Scope scope) throws Exception {
        String topic = scope.topic("t", 2);
        String absent = scope.name("absent");
        Map<String, String> unknown = Scope.fields("consumerGroup", "nog", "topic", topic, "queueId", 0);
        expect("committed, unknown group, empty queue", scope.call(QUERY_CONSUMER_OFFSET, unknown, null), 22, "Not found");
        expect("fine", scope.call(SEND_MESSAGE, send(topic), new byte[] {1}), 0, null);
        // The queue is still whole and in memory: the group is told to start at its begin.
        Check.within(5, "committed, unknown group, queue with a message", () -> scope.call(QUERY_CONSUMER_OFFSET, unknown, null).getCode() == 0);
        Check.equal("that offset", "0", scope.call(QUERY_CONSUMER_OFFSET, unknown, null).getExtFields().get("offset"));
        expect("committed, absent topic", scope.call(QUERY_CONSUMER_OFFSET, Scope.fields("consumerGroup", "nog", "topic", absent, "queueId", 0), null), 22, "Not found");
        expect("committed, queue 99", scope.call(QUERY_CONSUMER_OFFSET, Scope.fields("consumerGroup", "nog", "topic", topic, "queueId", 99), null), 22, "Not found");
        expect("commit, unknown group", scope.call(UPDATE_CONSUMER_OFFSET, Scope.fields("consumerGroup", scope.name("nog"), "topic", topic, "queueId", 0, "commitOffset", 3), null),
            26, "Group " + scope.name("nog") + " not exist!");
        for (int code : new int[] {GET_MAX_OFFSET, GET_MIN_OFFSET}) {
            RemotingCommand answer = scope.call(code, Scope.fields("topic", absent, "queueId", 0), null);
            Check.equal("absent topic, code of " + code, 0, answer.getCode());
            Check.equal("absent topic, offset of " + code, "0", answer.getExtFields().get("offset"));
        }
        for (int code : new int[] {QUERY_CONSUMER_OFFSET, UPDATE_CONSUMER_OFFSET, SEARCH_OFFSET_BY_TIMESTAMP, GET_MAX_OFFSET, GET_MIN_OFFSET, GET_EARLIEST_MSG_STORETIME}) {
            Check.equal("no fields, code of " + code, 1, scope.call(code, Collections.emptyMap(), null).getCode());
        }
        expect("members of an unknown group", scope.call(GET_CONSUMER_LIST_BY_GROUP, Scope.fields("consumerGroup", "nog"), null), 1, "no consumer for this group, nog");
        Check.equal("heartbeat without a body", 1, scope.call(HEART_BEAT, Collections.emptyMap(), null).getCode());
        Check.equal("heartbeat with garbage", 1, scope.call(HEART_BEAT, Collections.emptyMap(), new byte[] {'g'}).getCode());
        expect("topic with an illegal name", scope.call(Scope.UPDATE_AND_CREATE_TOPIC, Scope.fields("topic", "../x", "defaultTopic", "TBW102", "readQueueNums", 1,
            "writeQueueNums", 1, "perm", 6, "topicFilterType", "SINGLE_TAG", "topicSysFlag", 0, "order", false), null), 29, "The specified topic contains illegal characters");
        expect("topic with a system name", scope.call(Scope.UPDATE_AND_CREATE_TOPIC, Scope.fields("topic", "TBW102", "defaultTopic", "TBW102", "readQueueNums", 1,
            "writeQueueNums", 1, "perm", 6, "topicFilterType", "SINGLE_TAG", "topicSysFlag", 0, "order", false), null), 29, "The topic[TBW102] is conflict with system topic.");
    }

    /** What the public clients make of it. */
    @SuppressWarnings("deprecation")
    private static void client(Scope scope) throws Exception {
        String topic = scope.topic("t", 2);
        DefaultMQProducer producer = scope.producer();
        String broker = producer.fetchPublishMessageQueues(topic).get(0).getBrokerName();
        try {
            producer.send(Scope.message(topic, "", "m"), new MessageQueue(topic, broker, 5));
            throw new AssertionError("send to queue 5 of 2 accepted");
        } catch (MQBrokerException e) {
            Check.equal("send to queue 5 of 2", 29, e.getResponseCode());
        }
        DefaultMQPullConsumer consumer = scope.puller("g");
        consumer.fetchSubscribeMessageQueues(topic);
        try {
            consumer.pull(new MessageQueue(topic, broker, 5), "*", 0, 32);
            throw new AssertionError("pull from queue 5 of 2 accepted");
        } catch (MQBrokerException e) {
            Check.equal("pull from queue 5 of 2", 29, e.getResponseCode());
        }
        try {
            consumer.pull(new MessageQueue(scope.name("absent"), broker, 0), "*", 0, 32);
            throw new AssertionError("pull from an absent topic accepted");
        } catch (MQBrokerException e) {
            Check.equal("pull from an absent topic", 17, e.getResponseCode());
        }
        try {
            consumer.fetchSubscribeMessageQueues(scope.name("absent"));
            throw new AssertionError("queues of an absent topic");
        } catch (MQClientException e) {
            Check.that(e.getErrorMessage(), e.getErrorMessage() != null);
        }
    }
}
