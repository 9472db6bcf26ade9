// SPDX-License-Identifier: Apache-2.0
package compat;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.consumer.store.OffsetStore;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** Who moves the offsets of a group, and who may consume a queue in order. The tool is the library behind mqadmin. */
final class Positions {
    private static final int LOCK_BATCH_MQ = 41;
    private static final int UNLOCK_BATCH_MQ = 42;
    private static final int GET_TOPIC_CONFIG = 351;
    private static final int HALF = 20;

    private Positions() {
    }

    static void add(Map<String, Main.Case> cases) {
        cases.put("reset.online", Positions::resetOnline);
        cases.put("reset.offline", Positions::resetOffline);
        cases.put("reset.skip", Positions::skip);
        cases.put("reset.clone", Positions::cloneOffsets);
        cases.put("reset.status", Positions::status);
        cases.put("reset.seek", Positions::seek);
        cases.put("reset.errors", Positions::errors);
        cases.put("defect.late_commit_goes_back", Positions::lateCommit);
        cases.put("lock.orderly", Positions::orderly);
        cases.put("lock.raw", Positions::rawLocks);
        cases.put("order.configuration", Positions::orderConfiguration);
    }

    private interface Work {
        void with(DefaultMQAdminExt tool) throws Exception;
    }

    private static void tool(DefaultMQProducer knowsNamesrv, Work work) throws Exception {
        DefaultMQAdminExt tool = new DefaultMQAdminExt();
        tool.setNamesrvAddr(knowsNamesrv.getNamesrvAddr());
        tool.setInstanceName("tool" + System.nanoTime());
        tool.setVipChannelEnabled(false);
        tool.start();
        try {
            work.with(tool);
        } finally {
            tool.shutdown();
        }
    }

    private static List<String> names(int from, int to) {
        return IntStream.range(from, to).mapToObj(i -> String.format("m%02d", i)).collect(Collectors.toList());
    }

    /** Sends to all queues in turn; gives the time between the two halves. */
    private static long sendTwoHalves(DefaultMQProducer producer, String topic) throws Exception {
        List<MessageQueue> queues = producer.fetchPublishMessageQueues(topic);
        long between = 0;
        for (int i = 0; i < 2 * HALF; i++) {
            if (i == HALF) {
                long sent = System.currentTimeMillis();
                Check.within(1, "the clock to go on", () -> System.currentTimeMillis() > sent + 20);
                between = System.currentTimeMillis();
                long now = between;
                Check.within(1, "the clock to go on", () -> System.currentTimeMillis() > now + 20);
            }
            producer.send(Scope.message(topic, "", String.format("m%02d", i)), queues.get(i % queues.size()));
        }
        return between;
    }

    /** The consumer of a group that has consumed both halves, as the broker knows. */
    private static DefaultMQPushConsumer consumed(Scope scope, String topic, Received received) throws Exception {
        DefaultMQPushConsumer consumer = scope.consumer("g", topic, "*", received);
        consumer.setPersistConsumerOffsetInterval(500);
        consumer.start();
        received.await(2 * HALF, 45);
        // The first commit comes 10 s after the start, whatever the interval is.
        Check.within(20, "commits", () -> scope.committed("g", topic, 2) == 2 * HALF);
        return consumer;
    }

    private static long sum(Map<MessageQueue, Long> offsets) {
        return offsets.values().stream().mapToLong(Long::longValue).sum();
    }

    /** The group follows without a restart: 4.9 clients take 10 s to drop a queue, and up to 20 s to take it again. */
    private static void resetOnline(Scope scope) throws Exception {
        String topic = scope.topic("t", 2);
        DefaultMQProducer producer = scope.producer();
        long between = sendTwoHalves(producer, topic);
        Received received = new Received();
        consumed(scope, topic, received);
        tool(producer, tool -> {
            Map<MessageQueue, Long> table = tool.resetOffsetByTimestamp(topic, scope.name("g"), between, true);
            Check.equal("queues", 2, table.size());
            Check.equal("offsets", (long) HALF, sum(table));
        });
        received.await(3 * HALF, 80);
        List<String> again = Received.bodies(received.all().subList(2 * HALF, received.count()));
        Check.equal("the second half again", names(HALF, 2 * HALF), again);
        Check.within(10, "commits", () -> scope.committed("g", topic, 2) == 2 * HALF);
        producer.send(Scope.message(topic, "", "last"));
        received.await(3 * HALF + 1, 45);
    }

    private static void resetOffline(Scope scope) throws Exception {
        String topic = scope.topic("t", 2);
        DefaultMQProducer producer = scope.producer();
        long between = sendTwoHalves(producer, topic);
        consumed(scope, topic, new Received()).shutdown();
        tool(producer, tool -> tool.resetOffsetNew(scope.name("g"), topic, between));
        Check.equal("committed", (long) HALF, scope.committed("g", topic, 2));
        // Offline, a tool may commit instead, backward as well; it does so where brokers cannot reset.
        tool(producer, tool -> tool.resetOffsetByTimestampOld(scope.name("g"), topic, 0, true));
        Check.equal("committed by the tool", 0L, scope.committed("g", topic, 2));
        tool(producer, tool -> tool.resetOffsetByTimestampOld(scope.name("g"), topic, between, true));
        Received received = new Received();
        scope.consumer("g", topic, "*", received).start();
        received.await(HALF, 60);
        producer.send(Scope.message(topic, "", "z"));
        received.await(HALF + 1, 45);
        List<String> expected = names(HALF, 2 * HALF);
        expected.add("z");
        Check.equal("the second half", expected, Received.bodies(received.all()));
    }

    private static void skip(Scope scope) throws Exception {
        String topic = scope.topic("t", 2);
        DefaultMQProducer producer = scope.producer();
        sendTwoHalves(producer, topic);
        consumed(scope, topic, new Received()).shutdown();
        sendTwoHalves(producer, topic);
        tool(producer, tool -> tool.resetOffsetNew(scope.name("g"), topic, -1));
        Check.equal("committed", 4L * HALF, scope.committed("g", topic, 2));
        Received received = new Received();
        scope.consumer("g", topic, "*", received).start();
        producer.send(Scope.message(topic, "", "new"));
        received.await(1, 60);
        Check.equal("only what is new", Collections.singletonList("new"), Received.bodies(received.all()));
    }

    private static void cloneOffsets(Scope scope) throws Exception {
        String topic = scope.topic("t", 2);
        DefaultMQProducer producer = scope.producer();
        sendTwoHalves(producer, topic);
        consumed(scope, topic, new Received());
        // The tool's clone wants a group that its broker knows.
        scope.puller("h").pull(producer.fetchPublishMessageQueues(topic).get(0), "*", 0, 1);
        tool(producer, tool -> tool.cloneGroupOffset(scope.name("g"), scope.name("h"), topic, false));
        Check.equal("committed", 2L * HALF, scope.committed("h", topic, 2));
    }

    private static void status(Scope scope) throws Exception {
        String topic = scope.topic("t", 2);
        DefaultMQProducer producer = scope.producer();
        sendTwoHalves(producer, topic);
        DefaultMQPushConsumer consumer = consumed(scope, topic, new Received());
        String id = consumer.getDefaultMQPushConsumerImpl().getmQClientFactory().getClientId();
        tool(producer, tool -> {
            for (String wanted : new String[] {"", id}) {
                Map<String, Map<MessageQueue, Long>> table = tool.getConsumeStatus(topic, scope.name("g"), wanted);
                Check.equal("clients", Collections.singleton(id), table.keySet());
                Check.equal("offsets", 2L * HALF, sum(table.get(id)));
            }
            Check.equal("others", Collections.emptyMap(), tool.getConsumeStatus(topic, scope.name("g"), "nobody"));
        });
    }

    /** The application of a pull consumer goes where it likes, and what it commits counts. */
    private static void seek(Scope scope) throws Exception {
        String topic = scope.topic("t", 1);
        DefaultMQProducer producer = scope.producer();
        sendTwoHalves(producer, topic);
        MessageQueue queue = producer.fetchPublishMessageQueues(topic).get(0);
        DefaultLitePullConsumer consumer = scope.litePuller("g");
        consumer.setPullBatchSize(1);
        consumer.start();
        consumer.assign(Collections.singletonList(queue));
        consumer.seek(queue, 30);
        List<Long> got = new ArrayList<>();
        // What was pulled before the seek may come first.
        Check.within(30, "ten messages", () -> {
            consumer.poll(100).forEach(message -> got.add(message.getQueueOffset()));
            return got.stream().filter(offset -> offset >= 30).count() >= 10;
        });
        consumer.commitSync();
        Check.within(10, "commit", () -> scope.committed("g", topic, 1) == got.get(got.size() - 1) + 1);
        consumer.seek(queue, 5);
        Check.within(30, "back", () -> consumer.poll(100).stream().anyMatch(message -> message.getQueueOffset() == 5));
        consumer.commitSync();
        Check.within(10, "commit goes back", () -> scope.committed("g", topic, 1) < 30);
    }

    private static void refused(Scope scope, int code, int expected, String remark, Object... fields) throws Exception {
        RemotingCommand answer = scope.call(code, Scope.fields(fields), null);
        Check.equal("code of " + code + ", " + answer.getRemark(), expected, answer.getCode());
        Check.that(answer.getRemark(), answer.getRemark().startsWith(remark));
    }

    private static void errors(Scope scope) throws Exception {
        String topic = scope.topic("t", 1);
        DefaultMQProducer producer = scope.producer();
        sendTwoHalves(producer, topic);
        scope.puller("g").pull(producer.fetchPublishMessageQueues(topic).get(0), "*", 0, 1);
        String group = scope.name("g");
        int reset = 222;
        refused(scope, reset, 17, "Topic absent does not exist", "topic", "absent", "group", group, "timestamp", 0, "isForce", true);
        refused(scope, reset, 26, "Group absent does not exist", "topic", topic, "group", "absent", "timestamp", 0, "isForce", true);
        refused(scope, reset, 1, "Target offset 100 not in consume queue range [0-40]", "topic", topic, "group", group, "timestamp", 0,
            "isForce", false, "queueId", 0, "offset", 100);
        refused(scope, reset, 1, "Target offset -2 not in consume queue range [0-40]", "topic", topic, "group", group, "timestamp", 0,
            "isForce", false, "queueId", 0, "offset", -2);
        RemotingCommand answer = scope.call(reset, Scope.fields("topic", topic, "group", group, "timestamp", 0, "isForce", false,
            "queueId", 0, "offset", 7), null);
        Check.equal("offset of a queue, " + answer.getRemark(), 0, answer.getCode());
        Check.equal("committed", 7L, scope.committed("g", topic, 1));
        // A group that is not online has no status.
        Check.equal("status", 1, scope.call(223, Scope.fields("topic", topic, "group", "absent"), null).getCode());
    }

    /** A push client that was cut off comes back with what it had in memory. In Java its group starts again from there. */
    private static void lateCommit(Scope scope) throws Exception {
        String topic = scope.topic("t", 2);
        DefaultMQProducer producer = scope.producer();
        sendTwoHalves(producer, topic);
        DefaultMQPushConsumer consumer = consumed(scope, topic, new Received());
        consumer.suspend();
        OffsetStore store = consumer.getDefaultMQPushConsumerImpl().getOffsetStore();
        MessageQueue queue = producer.fetchPublishMessageQueues(topic).get(0);
        store.updateConsumeOffsetToBroker(queue, 3, true);
        // Answered after the one-way commit, and refused by nobody.
        store.updateConsumeOffsetToBroker(queue, 4, false);
        Check.equal("committed", 2L * HALF, scope.committed("g", topic, 2));
    }

    private static MessageListenerOrderly inOrder(List<MessageExt> into) {
        return (messages, context) -> {
            synchronized (into) {
                into.addAll(messages);
            }
            return ConsumeOrderlyStatus.SUCCESS;
        };
    }

    private static DefaultMQPushConsumer orderlyConsumer(Scope scope, String topic, List<MessageExt> into) throws Exception {
        DefaultMQPushConsumer consumer = scope.consumer("g", topic, "*", new Received());
        consumer.registerMessageListener(inOrder(into));
        consumer.start();
        return consumer;
    }

    /** One leaves, and the other has its queues soon: it need not wait for the 60 s of the locks. */
    private static void orderly(Scope scope) throws Exception {
        String topic = scope.topic("t", 4);
        DefaultMQProducer producer = scope.producer();
        List<MessageExt> messages = new ArrayList<>();
        DefaultMQPushConsumer first = orderlyConsumer(scope, topic, messages);
        DefaultMQPushConsumer second = orderlyConsumer(scope, topic, messages);
        Scope.awaitShared(60, topic, 4, first, second);
        List<MessageQueue> queues = producer.fetchPublishMessageQueues(topic);
        for (int i = 0; i < 2 * HALF; i++) {
            if (i == HALF) {
                awaitOrder(messages, HALF, 60);
                first.shutdown();
            }
            producer.send(Scope.message(topic, "", "m" + i), queues.get(i % 4));
        }
        awaitOrder(messages, 2 * HALF, 45);
        Check.equal("the other has all queues", 4, Scope.queues(second, topic).size());
    }

    private static void awaitOrder(List<MessageExt> messages, int count, double seconds) throws Exception {
        Check.within(seconds, count + " messages", () -> {
            synchronized (messages) {
                return messages.size() >= count;
            }
        });
        synchronized (messages) {
            long[] next = new long[4];
            for (MessageExt message : messages) {
                Check.equal("order in queue " + message.getQueueId(), next[message.getQueueId()]++, message.getQueueOffset());
            }
        }
    }

    private static boolean locks(Scope scope, int code, String group, String client, MessageQueue queue) throws Exception {
        String body = "{\"clientId\":\"" + client + "\",\"consumerGroup\":\"" + group + "\",\"mqSet\":[{\"brokerName\":\""
            + queue.getBrokerName() + "\",\"queueId\":" + queue.getQueueId() + ",\"topic\":\"" + queue.getTopic() + "\"}]}";
        RemotingCommand answer = scope.call(code, Scope.fields(), body.getBytes(StandardCharsets.UTF_8));
        Check.equal("code, " + answer.getRemark(), 0, answer.getCode());
        return answer.getBody() != null && new String(answer.getBody(), StandardCharsets.UTF_8).contains("\"queueId\"");
    }

    private static void rawLocks(Scope scope) throws Exception {
        String topic = scope.topic("t", 1);
        DefaultMQProducer producer = scope.producer();
        MessageQueue queue = producer.fetchPublishMessageQueues(topic).get(0);
        List<MessageExt> messages = new ArrayList<>();
        DefaultMQPushConsumer consumer = orderlyConsumer(scope, topic, messages);
        producer.send(Scope.message(topic, "", "m"));
        awaitOrder(messages, 1, 45);
        String group = scope.name("g");
        Check.that("a stranger locks a queue that is taken", !locks(scope, LOCK_BATCH_MQ, group, "stranger", queue));
        locks(scope, UNLOCK_BATCH_MQ, group, "stranger", queue);
        Check.that("a stranger unlocks it", !locks(scope, LOCK_BATCH_MQ, group, "stranger", queue));
        Check.that("another group has locks of its own", locks(scope, LOCK_BATCH_MQ, scope.name("h"), "stranger", queue));
        consumer.shutdown();
        Check.within(5, "who leaves gives its locks back", () -> locks(scope, LOCK_BATCH_MQ, group, "stranger", queue));
        Check.that("again", locks(scope, LOCK_BATCH_MQ, group, "stranger", queue));
        Check.that("one owner", !locks(scope, LOCK_BATCH_MQ, group, "other", queue));
        locks(scope, UNLOCK_BATCH_MQ, group, "stranger", queue);
        Check.that("unlocked", locks(scope, LOCK_BATCH_MQ, group, "other", queue));
    }

    /** A topic with an order configuration has the queues that it says, for producers. */
    private static void orderConfiguration(Scope scope) throws Exception {
        String topic = scope.topic("t", 4);
        DefaultMQProducer producer = scope.producer();
        String broker = producer.fetchPublishMessageQueues(topic).get(0).getBrokerName();
        tool(producer, tool -> {
            Properties enable = new Properties();
            enable.setProperty("orderMessageEnable", "true");
            tool.updateNameServerConfig(enable, Collections.singletonList(producer.getNamesrvAddr()));
            tool.createOrUpdateOrderConf(topic, broker + ":2", false);
            Check.equal("route", broker + ":2", tool.examineTopicRouteInfo(topic).getOrderTopicConf());
        });
        Check.equal("queues", 2, scope.producer().fetchPublishMessageQueues(topic).size());
        // The broker heard of it with one of its registrations, every 30 s at least.
        Check.within(45, "the broker's topic is ordered", () -> {
            byte[] config = scope.call(GET_TOPIC_CONFIG, Scope.fields("topic", topic), null).getBody();
            return new String(config, StandardCharsets.UTF_8).replace(" ", "").contains("\"order\":true");
        });
        tool(producer, tool -> tool.deleteKvConfig("ORDER_TOPIC_CONFIG", topic));
        Check.equal("queues without", 4, scope.producer().fetchPublishMessageQueues(topic).size());
    }
}
