// SPDX-License-Identifier: Apache-2.0

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.BooleanSupplier;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.consumer.store.OffsetStore;
import org.apache.rocketmq.client.consumer.store.ReadOffsetType;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.impl.consumer.DefaultMQPushConsumerImpl;
import org.apache.rocketmq.client.impl.factory.MQClientInstance;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.MixAll;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageAccessor;
import org.apache.rocketmq.common.message.MessageClientIDSetter;
import org.apache.rocketmq.common.message.MessageConst;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.common.topic.TopicValidator;
import org.apache.rocketmq.remoting.protocol.header.QueryConsumerOffsetRequestHeader;
import org.apache.rocketmq.remoting.protocol.heartbeat.MessageModel;

/**
 * The state that mqadmin is asked about: messages whose every field is known, groups that are online, offline, behind, of all kinds.
 * Its topics exist already. Argument: the name server. Prints a line {@code NAME ID OFFSET_ID} for each message that the cases ask for, then
 * {@code ready} when all offsets are where they belong; its clients stay online until standard input ends.
 */
public final class State {
    /** Of each queue of `orders`, which holds ten, the group `shop` has consumed this many. */
    private static final int CONSUMED = 6;
    private static String namesrv;
    private static final PrintStream OUT = System.out;

    public static void main(String[] args) {
        try {
            namesrv = args[0];
            build();
            OUT.println("ready");
            OUT.flush();
            new BufferedReader(new InputStreamReader(System.in)).readLine();
        } catch (Throwable e) {
            e.printStackTrace();
            Runtime.getRuntime().halt(1);
        }
        Runtime.getRuntime().halt(0);
    }

    private static void build() throws Exception {
        DefaultMQProducer producer = producer("shop-producer", false);
        for (int i = 0; i < 40; i++) {
            Message message = message("orders", i / 4 % 2 == 0 ? "TagA" : "TagB", "m" + i, "body of m" + i);
            message.putUserProperty("region", i < 20 ? "north" : "south");
            send(producer, message, "orders", i % 4);
        }
        send(producer, new Message("texts", "Grüße, 世界".getBytes(StandardCharsets.UTF_8)), "texts", 0);
        send(producer, message("texts", null, "long", "0123456789".repeat(500)), "texts", 0);
        for (int i = 0; i < 6; i++) {
            send(producer, message("ordered", "TagA", "o" + i, "body of o" + i), "ordered", i % 2);
        }
        // Two messages with one key, and one with two keys.
        send(producer, message("texts", null, "twin", "first twin"), "texts", 0);
        send(producer, message("texts", null, "twin other", "second twin"), "texts", 0);

        offline("reports", "orders", 3);
        offline("idle", "ordered", 0);

        // Its member stays in every message that it gets, so that the group never commits more.
        offline("shop", "orders", CONSUMED);
        DefaultMQPushConsumer shop = consumer("shop", "shop-1");
        CountDownLatch never = new CountDownLatch(1);
        CountDownLatch taken = new CountDownLatch(4 * (10 - CONSUMED));
        shop.subscribe("orders", "*");
        shop.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            taken.countDown();
            try {
                never.await();
            } catch (InterruptedException e) {
                return ConsumeConcurrentlyStatus.RECONSUME_LATER;
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        shop.start();

        DefaultMQPushConsumer tagged = consumer("tagged", "tagged-1");
        tagged.subscribe("orders", "TagA || TagC");
        tagged.registerMessageListener((MessageListenerConcurrently) (messages, context) -> ConsumeConcurrentlyStatus.CONSUME_SUCCESS);
        tagged.start();

        DefaultMQPushConsumer all = consumer("everybody", "everybody-1");
        all.setMessageModel(MessageModel.BROADCASTING);
        all.subscribe("ordered", "*");
        all.registerMessageListener((MessageListenerConcurrently) (messages, context) -> ConsumeConcurrentlyStatus.CONSUME_SUCCESS);
        all.start();

        DefaultMQPushConsumer line = consumer("in-line", "in-line-1");
        line.subscribe("ordered", "*");
        line.registerMessageListener((MessageListenerOrderly) (messages, context) -> ConsumeOrderlyStatus.SUCCESS);
        line.start();

        List<DefaultMQPushConsumer> online = new ArrayList<>(List.of(shop, tagged, all, line));
        for (int i = 1; i <= 2; i++) {
            // One group, two members that disagree.
            DefaultMQPushConsumer member = consumer("quarrel", "quarrel-" + i);
            member.subscribe("ordered", i == 1 ? "TagA" : "TagB");
            member.registerMessageListener((MessageListenerConcurrently) (messages, context) -> ConsumeConcurrentlyStatus.CONSUME_SUCCESS);
            member.start();
            online.add(member);
        }

        DefaultLitePullConsumer lite = new DefaultLitePullConsumer("lite");
        lite.setNamesrvAddr(namesrv);
        lite.setClientIP("127.0.0.1");
        lite.setInstanceName("lite-1");
        lite.setAutoCommit(false);
        lite.setPersistConsumerOffsetInterval(1000);
        lite.subscribe("ordered", "*");
        lite.start();

        // Its message goes to the dead letters at once.
        AtomicInteger refused = new AtomicInteger();
        DefaultMQPushConsumer failing = consumer("failing", "failing-1");
        failing.setMaxReconsumeTimes(0);
        failing.subscribe("poison", "*");
        failing.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            refused.incrementAndGet();
            return ConsumeConcurrentlyStatus.RECONSUME_LATER;
        });
        failing.start();
        send(producer, message("poison", "TagP", "p0", "body of p0"), "poison", 0);

        DefaultMQProducer tracing = producer("tracing-producer", true);
        AtomicInteger traced = new AtomicInteger();
        DefaultMQPushConsumer follower = new DefaultMQPushConsumer("tracing-group", true, null);
        settings(follower, "tracing-1");
        follower.subscribe("traced", "*");
        follower.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            traced.incrementAndGet();
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        follower.start();
        send(tracing, message("traced", "TagT", "t0", "body of t0"), "traced", 0);

        until("the messages of shop", () -> taken.getCount() == 0);
        reach(shop, "orders", CONSUMED, CONSUMED, CONSUMED, CONSUMED);
        reach(tagged, "orders", 10, 10, 10, 10);
        reach(line, "ordered", 3, 3);
        until("the refused message", () -> refused.get() == 1);
        until("the traced message", () -> traced.get() == 1);
        reach(failing, "poison", 1);
        reach(follower, "traced", 1);
        reach(online.get(4), "ordered", 3, 3);
        MQClientInstance client = producer.getDefaultMQProducerImpl().getMqClientFactory();
        for (DefaultMQPushConsumer consumer : online) {
            String group = consumer.getConsumerGroup();
            if (consumer.getMessageModel() == MessageModel.CLUSTERING) {
                until("the retry topic of " + group, () -> hasRetryTopic(consumer));
                until("its offset", () -> hasOffset(client, group, MixAll.getRetryTopic(group), 0));
            }
        }
        until("offsets of lite", () -> hasOffset(client, "lite", "ordered", 0) && hasOffset(client, "lite", "ordered", 1));
        List<MessageQueue> traces = tracing.fetchPublishMessageQueues(TopicValidator.RMQ_SYS_TRACE_TOPIC);
        until("the traces of a send and a consumption", () -> maxOffset(tracing, traces) == 2);
        failing.shutdown();
    }

    /** Whether the consumer, or another member of its group, has the queue of the retry topic, which it takes at its next rebalance only. */
    private static boolean hasRetryTopic(DefaultMQPushConsumer consumer) {
        String topic = MixAll.getRetryTopic(consumer.getConsumerGroup());
        DefaultMQPushConsumerImpl inside = consumer.getDefaultMQPushConsumerImpl();
        if (inside.getRebalanceImpl().getTopicSubscribeInfoTable().containsKey(topic)) {
            inside.doRebalance();
            return inside.getRebalanceImpl().getProcessQueueTable().keySet().stream().anyMatch(queue -> queue.getTopic().equals(topic))
                || consumer.getInstanceName().equals("quarrel-2");
        }
        return false;
    }

    /** Whether the broker was told an offset, be it 0. */
    private static boolean hasOffset(MQClientInstance client, String group, String topic, int queue) {
        QueryConsumerOffsetRequestHeader header = new QueryConsumerOffsetRequestHeader();
        header.setConsumerGroup(group);
        header.setTopic(topic);
        header.setQueueId(queue);
        header.setSetZeroIfNotFound(false);
        try {
            client.getMQClientAPIImpl().queryConsumerOffset(client.findBrokerAddressInPublish("broker-a"), header, 3000);
            return true;
        } catch (Exception notFound) {
            return false;
        }
    }

    private static long maxOffset(DefaultMQProducer producer, List<MessageQueue> queues) {
        try {
            long sum = 0;
            for (MessageQueue queue : queues) {
                sum += producer.maxOffset(queue);
            }
            return sum;
        } catch (MQClientException e) {
            return -1;
        }
    }

    private static DefaultMQProducer producer(String group, boolean trace) throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer(group);
        producer.setEnableTrace(trace);
        producer.setNamesrvAddr(namesrv);
        producer.setClientIP("127.0.0.1");
        producer.setInstanceName(group);
        producer.setHeartbeatBrokerInterval(1000);
        producer.start();
        return producer;
    }

    private static Message message(String topic, String tags, String keys, String body) {
        return new Message(topic, tags, keys, body.getBytes(StandardCharsets.UTF_8));
    }

    private static void send(DefaultMQProducer producer, Message message, String topic, int queue) throws Exception {
        // Java puts all of the machine's address into an id: 32 digits here, 56 there. The sizes of messages must not depend on it.
        String id = MessageClientIDSetter.createUniqID();
        MessageAccessor.putProperty(message, MessageConst.PROPERTY_UNIQ_CLIENT_MESSAGE_ID_KEYIDX, "7F000001" + id.substring(id.length() - 24));
        SendResult result = producer.send(message, new MessageQueue(topic, "broker-a", queue), 10_000);
        String name = message.getKeys() == null ? "no-key" : message.getKeys().replace(' ', '-');
        OUT.println(name + " " + result.getMsgId() + " " + result.getOffsetMsgId());
    }

    private static void settings(DefaultMQPushConsumer consumer, String instance) {
        consumer.setNamesrvAddr(namesrv);
        consumer.setClientIP("127.0.0.1");
        consumer.setInstanceName(instance);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setPollNameServerInterval(1000);
        consumer.setHeartbeatBrokerInterval(1000);
        consumer.setPersistConsumerOffsetInterval(1000);
    }

    private static DefaultMQPushConsumer consumer(String group, String instance) {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(group);
        settings(consumer, instance);
        return consumer;
    }

    /** A group without members, `consumed` messages into each queue. */
    private static void offline(String group, String topic, long consumed) throws Exception {
        DefaultMQPullConsumer consumer = new DefaultMQPullConsumer(group);
        consumer.setNamesrvAddr(namesrv);
        consumer.setClientIP("127.0.0.1");
        consumer.setInstanceName(group + "-1");
        consumer.setHeartbeatBrokerInterval(1000);
        consumer.start();
        MQClientInstance client = consumer.getDefaultMQPullConsumerImpl().getRebalanceImpl().getmQClientFactory();
        // Only of brokers that it has met in a route does it tell that there is such a group.
        client.updateTopicRouteInfoFromNameServer(topic);
        client.sendHeartbeatToAllBrokerWithLock();
        Set<MessageQueue> queues = consumer.fetchSubscribeMessageQueues(topic);
        OffsetStore store = consumer.getDefaultMQPullConsumerImpl().getOffsetStore();
        for (MessageQueue queue : queues) {
            store.updateConsumeOffsetToBroker(queue, consumed, false);
        }
        consumer.shutdown();
    }

    /** Waits until the broker knows these offsets of the group in queues 0, 1...; -1 where it has none to know. */
    private static void reach(DefaultMQPushConsumer consumer, String topic, long... wanted) throws Exception {
        OffsetStore store = consumer.getDefaultMQPushConsumerImpl().getOffsetStore();
        ConcurrentHashMap<Integer, Long> found = new ConcurrentHashMap<>();
        try {
            until("", () -> {
                boolean all = true;
                for (int i = 0; i < wanted.length; i++) {
                    if (wanted[i] >= 0) {
                        found.put(i, store.readOffset(new MessageQueue(topic, "broker-a", i), ReadOffsetType.READ_FROM_STORE));
                        all &= found.get(i) == wanted[i];
                    }
                }
                return all;
            });
        } catch (AssertionError e) {
            throw new AssertionError("offsets of " + consumer.getConsumerGroup() + " in " + topic + ": " + found + "\n"
                + consumer.getDefaultMQPushConsumerImpl().consumerRunningInfo().formatString());
        }
    }

    private static void until(String what, BooleanSupplier condition) throws Exception {
        long deadline = System.nanoTime() + 60_000_000_000L;
        while (!condition.getAsBoolean()) {
            if (System.nanoTime() > deadline) {
                throw new AssertionError("waited in vain: " + what);
            }
            Thread.sleep(50);
        }
    }
}
