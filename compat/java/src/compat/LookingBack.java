// SPDX-License-Identifier: Apache-2.0
package compat;

import java.net.InetSocketAddress;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.QueryResult;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** What an operator asks later: a message by its ids, by key and time, who consumed it, what a consumer does. */
final class LookingBack {
    private LookingBack() {
    }

    static void add(Map<String, Main.Case> cases) {
        cases.put("look.by_id", LookingBack::byId);
        cases.put("look.by_key", LookingBack::byKey);
        cases.put("look.consumer", LookingBack::consumer);
        cases.put("look.consume_directly", LookingBack::consumeDirectly);
        cases.put("look.time_span", LookingBack::timeSpan);
    }

    private static Message message(String topic, int i) {
        Message message = Scope.message(topic, "A", "正文 " + i);
        message.setKeys("all key" + i + " 键" + i % 3);
        message.putUserProperty("user", "值" + i);
        return message;
    }

    private static void same(Message sent, SendResult result, MessageExt found) {
        Check.equal("message id", result.getMsgId(), found.getMsgId());
        Check.equal("body", new String(sent.getBody(), java.nio.charset.StandardCharsets.UTF_8), Received.body(found));
        Check.equal("topic", sent.getTopic(), found.getTopic());
        Check.equal("keys", sent.getKeys(), found.getKeys());
        Check.equal("tag", "A", found.getTags());
        Check.equal("user property", sent.getUserProperty("user"), found.getUserProperty("user"));
        Check.equal("queue", result.getMessageQueue().getQueueId(), found.getQueueId());
        Check.equal("queue offset", result.getQueueOffset(), found.getQueueOffset());
    }

    /** By the offset message id, and by the unique key. */
    private static void byId(Scope scope) throws Exception {
        String topic = scope.topic("t", 2);
        DefaultMQProducer producer = scope.producer();
        DefaultMQAdminExt admin = scope.admin();
        Map<Message, SendResult> sent = new HashMap<>();
        for (int i = 0; i < 10; i++) {
            Message message = message(topic, i);
            sent.put(message, producer.send(message));
        }
        for (Map.Entry<Message, SendResult> each : sent.entrySet()) {
            SendResult result = each.getValue();
            Check.within(10, "the unique key in the index", () -> {
                try {
                    return admin.viewMessage(topic, result.getMsgId()) != null;
                } catch (MQClientException e) {
                    return false;
                }
            });
            same(each.getKey(), result, admin.viewMessage(topic, result.getMsgId()));
            same(each.getKey(), result, producer.viewMessage(topic, result.getOffsetMsgId()));
        }
        long offset = MessageDecoder.decodeMessageId(sent.values().iterator().next().getOffsetMsgId()).getOffset();
        InetSocketAddress address = new InetSocketAddress("127.0.0.1", Integer.parseInt(scope.broker.split(":")[1]));
        for (long wrong : new long[] {offset + 3, offset + 1_000_000_000L}) {
            try {
                producer.viewMessage(topic, MessageDecoder.createMessageId(address, wrong));
                throw new AssertionError("found a message at " + wrong);
            } catch (MQBrokerException e) {
                Check.equal("code (" + e.getErrorMessage() + ")", 1, e.getResponseCode());
                Check.that("remark: " + e.getErrorMessage(), e.getErrorMessage().startsWith("can not find message by the offset"));
            } catch (MQClientException e) {
                // The client asks for the id as a unique key then, and wraps what it got.
                Check.that("not found: " + e.getMessage(), e.getResponseCode() == 208 || e.getMessage().contains("no message"));
            }
        }
    }

    private static Set<String> bodies(QueryResult result) {
        return result.getMessageList().stream().map(Received::body).collect(Collectors.toSet());
    }

    private static Set<String> numbers(int from, int to, int step) {
        Set<String> bodies = new HashSet<>();
        for (int i = from; i < to; i += step) {
            bodies.add("正文 " + i);
        }
        return bodies;
    }

    /** By one of several keys, in a range of time, at most so many; another topic with the same keys is not mixed in. */
    private static void byKey(Scope scope) throws Exception {
        String topic = scope.topic("t", 2);
        String other = scope.topic("other", 1);
        DefaultMQProducer producer = scope.producer();
        DefaultMQAdminExt admin = scope.admin();
        long begin = System.currentTimeMillis();
        for (int i = 0; i < 30; i++) {
            producer.send(message(topic, i));
        }
        producer.send(message(other, 99));
        Check.within(10, "the clock to go on", () -> System.currentTimeMillis() > begin + 3000);
        long middle = System.currentTimeMillis();
        for (int i = 30; i < 60; i++) {
            producer.send(message(topic, i));
        }
        long end = System.currentTimeMillis();
        Check.within(10, "all in the index", () -> {
            try {
                return admin.queryMessage(topic, "all", 100, begin - 1000, end + 1000).getMessageList().size() == 60;
            } catch (MQClientException e) {
                return false;
            }
        });
        Check.equal("all", numbers(0, 60, 1), bodies(admin.queryMessage(topic, "all", 100, begin - 1000, end + 1000)));
        Check.equal("one key", Set.of("正文 17"), bodies(admin.queryMessage(topic, "key17", 64, begin - 1000, end + 1000)));
        Check.equal("a Chinese key", numbers(1, 60, 3), bodies(admin.queryMessage(topic, "键1", 64, begin - 1000, end + 1000)));
        Check.equal("another topic", Set.of("正文 99"), bodies(admin.queryMessage(other, "all", 64, begin - 1000, end + 1000)));
        // The index knows seconds.
        Check.equal("the first half", numbers(0, 30, 1), bodies(admin.queryMessage(topic, "all", 64, begin - 1000, middle - 1500)));
        Check.equal("the second half", numbers(30, 60, 1), bodies(admin.queryMessage(topic, "all", 64, middle - 1000, end + 1000)));
        List<MessageExt> few = admin.queryMessage(topic, "all", 7, begin - 1000, end + 1000).getMessageList();
        Check.equal("at most 7", 7, few.size());
        Check.equal("the newest", numbers(53, 60, 1), few.stream().map(Received::body).collect(Collectors.toSet()));
        for (Object[] none : new Object[][] {{"absent", begin, end}, {"all", begin - 100_000, begin - 50_000}, {"all", end + 50_000, end + 100_000}}) {
            try {
                QueryResult found = admin.queryMessage(topic, (String) none[0], 64, (Long) none[1], (Long) none[2]);
                throw new AssertionError("found " + bodies(found));
            } catch (MQClientException e) {
                Check.equal("no message (" + e.getMessage() + ")", 208, e.getResponseCode());
            }
        }
    }

    /** Connection, subscriptions, queues and stacks of a consumer, through the broker. */
    private static void consumer(Scope scope) throws Exception {
        String topic = scope.topic("t", 3);
        Received received = new Received();
        DefaultMQPushConsumer consumer = scope.consumer("g", topic, "A || B", received);
        consumer.start();
        Scope.awaitShared(45, topic, 3, consumer);
        scope.producer().send(message(topic, 1));
        received.await(1, 45);
        DefaultMQAdminExt admin = scope.admin();
        var connection = admin.examineConsumerConnectionInfo(scope.name("g"));
        Check.equal("connections", 1, connection.getConnectionSet().size());
        String client = connection.getConnectionSet().iterator().next().getClientId();
        Check.equal("client id", consumer.getDefaultMQPushConsumerImpl().getmQClientFactory().getClientId(), client);
        Check.equal("subscription", "A || B", connection.getSubscriptionTable().get(topic).getSubString());
        Check.equal("retry topic subscribed", "*", connection.getSubscriptionTable().get("%RETRY%" + scope.name("g")).getSubString());
        Check.equal("model", "CLUSTERING", connection.getMessageModel().name());
        Check.equal("from where", "CONSUME_FROM_FIRST_OFFSET", connection.getConsumeFromWhere().name());
        var info = admin.getConsumerRunningInfo(scope.name("g"), client, true);
        Check.equal("subscribed", Set.of(topic, "%RETRY%" + scope.name("g")), info.getSubscriptionSet().stream().map(s -> s.getTopic()).collect(Collectors.toSet()));
        Check.equal("queues", 3L, info.getMqTable().keySet().stream().filter(q -> q.getTopic().equals(topic)).count());
        Check.that("stacks", info.getJstack() != null && info.getJstack().contains("Thread"));
        Check.equal("consumer group", scope.name("g"), info.getProperties().getProperty("consumerGroup"));
        Check.equal("without stacks", null, admin.getConsumerRunningInfo(scope.name("g"), client, false).getJstack());
        try {
            admin.getConsumerRunningInfo(scope.name("g"), "absent", false);
            throw new AssertionError("running info of a client that is not there");
        } catch (MQClientException e) {
            Check.equal("code (" + e.getMessage() + ")", 1, e.getResponseCode());
        }
        try {
            admin.examineConsumerConnectionInfo(scope.name("absent"));
            throw new AssertionError("connections of a group that is not there");
        } catch (MQBrokerException | MQClientException e) {
            int code = e instanceof MQBrokerException ? ((MQBrokerException) e).getResponseCode() : ((MQClientException) e).getResponseCode();
            Check.that("code " + code + " (" + e.getMessage() + ")", code == 206 || code == 17);
        }
    }

    /** A message given to one consumer by hand, whatever its group has consumed. */
    private static void consumeDirectly(Scope scope) throws Exception {
        String topic = scope.topic("t", 1);
        Received received = new Received();
        DefaultMQPushConsumer consumer = scope.consumer("g", topic, "*", received);
        consumer.start();
        Message message = message(topic, 5);
        SendResult sent = scope.producer().send(message);
        received.await(1, 45);
        String client = consumer.getDefaultMQPushConsumerImpl().getmQClientFactory().getClientId();
        DefaultMQAdminExt admin = scope.admin();
        var result = admin.consumeMessageDirectly(scope.name("g"), client, topic, sent.getOffsetMsgId());
        Check.equal("result (" + result.getRemark() + ")", "CR_SUCCESS", result.getConsumeResult().name());
        Check.equal("order", false, result.isOrder());
        received.await(2, 20);
        List<MessageExt> both = received.all();
        Check.equal("body", Received.body(both.get(0)), Received.body(both.get(1)));
        Check.equal("offset", both.get(0).getCommitLogOffset(), both.get(1).getCommitLogOffset());
        try {
            admin.consumeMessageDirectly(scope.name("g"), "absent", topic, sent.getOffsetMsgId());
            throw new AssertionError("consumed by a client that is not there");
        } catch (MQClientException e) {
            Check.equal("code (" + e.getMessage() + ")", 1, e.getResponseCode());
        }
        Check.equal("deliveries", 2, received.count());
    }

    /** How far a group is in each queue, in time, and who has consumed a message. */
    private static void timeSpan(Scope scope) throws Exception {
        String topic = scope.topic("t", 1);
        DefaultMQProducer producer = scope.producer();
        long begin = System.currentTimeMillis();
        List<SendResult> sent = new ArrayList<>();
        for (int i = 0; i < 10; i++) {
            sent.add(producer.send(message(topic, i)));
        }
        long end = System.currentTimeMillis();
        Received received = new Received();
        scope.consumer("g", topic, "*", received).start();
        received.await(10, 45);
        Check.within(15, "all committed", () -> scope.committed("g", topic, 1) == 10);
        DefaultMQAdminExt admin = scope.admin();
        var spans = admin.queryConsumeTimeSpan(topic, scope.name("g"));
        Check.equal("queues", 1, spans.size());
        var span = spans.get(0);
        Check.that("first message", span.getMinTimeStamp() >= begin && span.getMinTimeStamp() <= end);
        Check.that("last message", span.getMaxTimeStamp() >= span.getMinTimeStamp() && span.getMaxTimeStamp() <= end);
        Check.that("consumed to the last", span.getConsumeTimeStamp() >= begin && span.getConsumeTimeStamp() <= span.getMaxTimeStamp());
        Check.equal("delay", 0L, span.getDelayTime());
        MessageExt message = producer.viewMessage(topic, sent.get(4).getOffsetMsgId());
        var tracks = admin.messageTrackDetail(message);
        Map<String, String> types = tracks.stream().collect(Collectors.toMap(t -> t.getConsumerGroup(), t -> t.getTrackType().name()));
        Check.equal("what the group did with it: " + types, "CONSUMED", types.get(scope.name("g")));
    }
}
