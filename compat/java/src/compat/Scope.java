// SPDX-License-Identifier: Apache-2.0
package compat;

import java.io.StringReader;
import java.lang.reflect.Method;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.ClientConfig;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.netty.NettyClientConfig;
import org.apache.rocketmq.remoting.netty.NettyRemotingClient;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** What one case works with: its own names, its clients (ended with the case) and raw requests to the servers. */
final class Scope implements AutoCloseable {
    static final int QUERY_CONSUMER_OFFSET = 14;
    private static final int GET_MAX_OFFSET = 30;
    static final int UPDATE_AND_CREATE_TOPIC = 17;
    private static final int GET_BROKER_CONFIG = 26;

    /** Whether the server is OxMQ: it keeps some promises that the Java broker does not make. */
    static final boolean OXMQ = System.getProperty("compat.target", "oxmq").equals("oxmq");
    /** How late a message may be stored after its time, in ms. */
    static final long LATENESS_MS_MAX = OXMQ ? 200 : 1000;

    private static final AtomicInteger INSTANCES = new AtomicInteger();

    final String broker;
    private final String prefix;
    private final String namesrv;
    private final List<Runnable> ends = new ArrayList<>();
    private NettyRemotingClient raw;

    Scope(String name, String namesrv, String broker) {
        this.prefix = name.replace('.', '_') + "_";
        this.namesrv = namesrv;
        this.broker = broker;
    }

    /** A topic or group name that no other case uses. */
    String name(String base) {
        return prefix + base;
    }

    /** Makes a topic with {@code queues} queues at the broker and waits until the name server has its route. */
    String topic(String base, int queues) throws Exception {
        String topic = name(base);
        Map<String, String> fields = fields("topic", topic, "defaultTopic", "TBW102", "readQueueNums", queues, "writeQueueNums", queues,
            "perm", 6, "topicFilterType", "SINGLE_TAG", "topicSysFlag", 0, "order", false);
        Check.equal("create topic " + topic, 0, call(UPDATE_AND_CREATE_TOPIC, fields, null).getCode());
        DefaultMQPullConsumer looker = puller("looker");
        Check.within(10, "route of " + topic, () -> {
            try {
                return looker.fetchSubscribeMessageQueues(topic).size() == queues;
            } catch (Exception e) {
                return false;
            }
        });
        return topic;
    }

    /** Has {@code end} called at the end of the case. */
    void atEnd(Runnable end) {
        ends.add(end);
    }

    /** Every client gets a connection of its own, as in processes of their own. */
    <C extends ClientConfig> C own(C client) {
        client.setNamesrvAddr(namesrv);
        client.setInstanceName("compat" + INSTANCES.incrementAndGet());
        client.setVipChannelEnabled(false);
        return client;
    }

    /** A started producer that accepts bodies of any size and compresses none. */
    DefaultMQProducer producer() throws Exception {
        DefaultMQProducer producer = newProducer();
        producer.start();
        return producer;
    }

    DefaultMQProducer newProducer() {
        DefaultMQProducer producer = own(new DefaultMQProducer(name("producers")));
        producer.setMaxMessageSize(64 << 20);
        producer.setCompressMsgBodyOverHowmuch(64 << 20);
        producer.setSendMsgTimeout(10_000);
        ends.add(producer::shutdown);
        return producer;
    }

    /** A producer of transactions that is not started yet. */
    TransactionMQProducer transactions(String group, TransactionListener listener) {
        TransactionMQProducer producer = own(new TransactionMQProducer(name(group)));
        producer.setSendMsgTimeout(10_000);
        producer.setTransactionListener(listener);
        ends.add(producer::shutdown);
        return producer;
    }

    /** A push consumer that is not started yet and begins a new group at the first message. */
    DefaultMQPushConsumer consumer(String group, String topic, String expression, MessageListenerConcurrently listener) throws Exception {
        DefaultMQPushConsumer consumer = newConsumer(group, topic, expression);
        consumer.registerMessageListener(listener);
        return consumer;
    }

    /** The same with an orderly listener. */
    DefaultMQPushConsumer orderly(String group, String topic, MessageListenerOrderly listener) throws Exception {
        DefaultMQPushConsumer consumer = newConsumer(group, topic, "*");
        consumer.registerMessageListener(listener);
        return consumer;
    }

    private DefaultMQPushConsumer newConsumer(String group, String topic, String expression) throws Exception {
        DefaultMQPushConsumer consumer = own(new DefaultMQPushConsumer(name(group)));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setConsumeThreadMin(2);
        consumer.setConsumeThreadMax(2);
        consumer.subscribe(topic, expression);
        ends.add(consumer::shutdown);
        return consumer;
    }

    /** Broadcasting; by reflection, because the enum moved to another package in 5.x. */
    @SuppressWarnings({"unchecked", "rawtypes"})
    static void broadcast(DefaultMQPushConsumer consumer) throws Exception {
        for (Method method : DefaultMQPushConsumer.class.getMethods()) {
            if (method.getName().equals("setMessageModel")) {
                method.invoke(consumer, Enum.valueOf((Class) method.getParameterTypes()[0], "BROADCASTING"));
            }
        }
    }

    /** A started pull consumer. */
    @SuppressWarnings("deprecation")
    DefaultMQPullConsumer puller(String group) throws Exception {
        DefaultMQPullConsumer consumer = own(new DefaultMQPullConsumer(name(group)));
        consumer.start();
        ends.add(consumer::shutdown);
        return consumer;
    }

    /** A lite pull consumer that is not started yet and commits only when told. */
    DefaultLitePullConsumer litePuller(String group) {
        DefaultLitePullConsumer consumer = own(new DefaultLitePullConsumer(name(group)));
        consumer.setAutoCommit(false);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        ends.add(consumer::shutdown);
        return consumer;
    }

    /** A started admin client. */
    DefaultMQAdminExt admin() throws Exception {
        DefaultMQAdminExt admin = own(new DefaultMQAdminExt());
        admin.setAdminExtGroup(name("admin"));
        admin.start();
        ends.add(admin::shutdown);
        return admin;
    }

    /** What the broker says about its own configuration. */
    String setting(String key) throws Exception {
        Properties settings = new Properties();
        settings.load(new StringReader(new String(call(GET_BROKER_CONFIG, fields(), null).getBody(), StandardCharsets.UTF_8)));
        Check.that("the broker tells " + key, settings.containsKey(key));
        return settings.getProperty(key);
    }

    /** The delay of each level in ms; level 1 is at 0. */
    long[] delays() throws Exception {
        return Arrays.stream(setting("messageDelayLevel").trim().split(" +")).mapToLong(text -> {
            long unit = Map.of('s', 1000L, 'm', 60_000L, 'h', 3_600_000L, 'd', 86_400_000L).get(text.charAt(text.length() - 1));
            return unit * Long.parseLong(text.substring(0, text.length() - 1));
        }).toArray();
    }

    /** How many messages a topic has ever got, over all its queues: the sum of their ends. */
    long end(String topic, int queues) throws Exception {
        long sum = 0;
        for (int queue = 0; queue < queues; queue++) {
            sum += Long.parseLong(call(GET_MAX_OFFSET, fields("topic", topic, "queueId", queue), null).getExtFields().get("offset"));
        }
        return sum;
    }

    /** All messages of a queue, as a pull consumer sees them, beginning at the queue's first. */
    @SuppressWarnings("deprecation")
    static List<MessageExt> contents(DefaultMQPullConsumer puller, MessageQueue queue) throws Exception {
        List<MessageExt> found = new ArrayList<>();
        for (long offset = 0; ; ) {
            PullResult result = puller.pull(queue, "*", offset, 32);
            if (result.getPullStatus() == PullStatus.FOUND) {
                found.addAll(result.getMsgFoundList());
            }
            if (result.getNextBeginOffset() == offset) {
                return found;
            }
            offset = result.getNextBeginOffset();
        }
    }

    /** The queues of {@code topic} that a push consumer works on now. */
    static Set<MessageQueue> queues(DefaultMQPushConsumer consumer, String topic) {
        Set<MessageQueue> queues = new HashSet<>();
        consumer.getDefaultMQPushConsumerImpl().getRebalanceImpl().getProcessQueueTable().forEach((queue, process) -> {
            if (queue.getTopic().equals(topic) && !process.isDropped()) {
                queues.add(queue);
            }
        });
        return queues;
    }

    /** Waits until the consumers share all {@code queues} queues of the topic, each queue at one of them, as evenly as possible. */
    static void awaitShared(double seconds, String topic, int queues, DefaultMQPushConsumer... consumers) throws Exception {
        Check.within(seconds, consumers.length + " consumers share " + queues + " queues of " + topic, () -> {
            Set<MessageQueue> together = new HashSet<>();
            int sum = 0;
            for (DefaultMQPushConsumer consumer : consumers) {
                Set<MessageQueue> own = queues(consumer, topic);
                if (own.size() < queues / consumers.length || own.size() > (queues + consumers.length - 1) / consumers.length) {
                    return false;
                }
                sum += own.size();
                together.addAll(own);
            }
            return together.size() == queues && sum == queues;
        });
    }

    /** The sum of the offsets that the broker keeps for the group; a queue without an offset counts as 0. */
    long committed(String group, String topic, int queues) throws Exception {
        long sum = 0;
        for (int queue = 0; queue < queues; queue++) {
            RemotingCommand answer = call(QUERY_CONSUMER_OFFSET, fields("consumerGroup", name(group), "topic", topic, "queueId", queue), null);
            sum += answer.getCode() == 0 ? Long.parseLong(answer.getExtFields().get("offset")) : 0;
        }
        return sum;
    }

    /** Sends a raw request to the broker. */
    RemotingCommand call(int code, Map<String, String> fields, byte[] body) throws Exception {
        return call(broker, code, fields, body);
    }

    RemotingCommand callNamesrv(int code, Map<String, String> fields) throws Exception {
        return call(namesrv, code, fields, null);
    }

    private synchronized RemotingCommand call(String address, int code, Map<String, String> fields, byte[] body) throws Exception {
        if (raw == null) {
            raw = new NettyRemotingClient(new NettyClientConfig());
            raw.start();
            ends.add(raw::shutdown);
        }
        RemotingCommand request = RemotingCommand.createRequestCommand(code, null);
        request.setExtFields(new HashMap<>(fields));
        request.setBody(body);
        return raw.invokeSync(address, request, 10_000);
    }

    /** Header fields from name, value, name, value... */
    static Map<String, String> fields(Object... pairs) {
        Map<String, String> fields = new HashMap<>();
        for (int i = 0; i < pairs.length; i += 2) {
            fields.put((String) pairs[i], String.valueOf(pairs[i + 1]));
        }
        return fields;
    }

    static Message message(String topic, String tag, String body) {
        return new Message(topic, tag, body.getBytes(StandardCharsets.UTF_8));
    }

    @Override
    public void close() {
        // Each client of 5.x takes 3 s to shut down.
        List<Thread> threads = new ArrayList<>();
        for (Runnable end : ends) {
            Thread thread = new Thread(end);
            thread.start();
            threads.add(thread);
        }
        for (Thread thread : threads) {
            try {
                thread.join(20_000);
            } catch (InterruptedException e) {
                return;
            }
        }
    }
}
