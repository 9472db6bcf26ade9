// SPDX-License-Identifier: Apache-2.0
package compat;

import compat.Deliveries.Delivery;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/**
 * Provokes known defects of the Java broker, step by step: {@code Defects NAMESRV_ADDR BROKER_ADDR STEP}. defects/run.sh has the
 * story of each and restarts brokers between steps. Exit code 0: the server did right; 3: it has the defect; anything else: the step itself failed.
 */
public final class Defects {
    private static final int RIGHT = 0;
    private static final int DEFECT = 3;
    private static final int UPDATE_CONSUMER_OFFSET = 15;
    private static final int HEART_BEAT = 34;
    private static final int UNREGISTER_CLIENT = 35;
    private static final int GET_CONSUMER_LIST_BY_GROUP = 38;

    private Defects() {
    }

    /** {@code true}: right. Fails if what has to come before did not happen. */
    private interface Step {
        boolean right(Scope scope) throws Exception;
    }

    public static void main(String[] args) throws Exception {
        Map<String, Step> steps = new HashMap<>();
        steps.put("delayed_send", Defects::delayedSend);
        steps.put("delayed_look", Defects::delayedLook);
        steps.put("immunity", Defects::immunity);
        steps.put("half_unchecked", Defects::halfUnchecked);
        steps.put("late_commit", Defects::lateCommit);
        int code;
        try (Scope scope = new Scope("defects", args[0], args[1])) {
            code = steps.get(args[2]).right(scope) ? RIGHT : DEFECT;
        } catch (Throwable e) {
            e.printStackTrace();
            code = 1;
        }
        Runtime.getRuntime().halt(code);
    }

    /** A big and a small message of delay level 3, one behind the other. */
    private static boolean delayedSend(Scope scope) throws Exception {
        String topic = scope.topic("delayed", 1);
        DefaultMQProducer producer = scope.producer();
        for (Message message : new Message[] {new Message(topic, "", "big", new byte[1 << 20]), new Message(topic, "", "small", new byte[1])}) {
            message.setDelayTimeLevel(3);
            producer.send(message);
        }
        Check.equal("not yet delivered", 0L, scope.end(topic, 1));
        return true;
    }

    /** Both have been delivered, the big one not later than the broker took to accept it again. */
    private static boolean delayedLook(Scope scope) throws Exception {
        String topic = scope.name("delayed");
        DefaultMQPullConsumer looker = scope.puller("looker");
        Check.within(30, "the small message", () -> keys(looker, topic).contains("small"));
        try {
            Check.within(15, "the big message", () -> keys(looker, topic).contains("big"));
            return true;
        } catch (AssertionError e) {
            System.out.println(e.getMessage() + "; delivered: " + keys(looker, topic));
            return false;
        }
    }

    private static List<String> keys(DefaultMQPullConsumer looker, String topic) throws Exception {
        return Scope.contents(looker, looker.fetchSubscribeMessageQueues(topic).iterator().next()).stream().map(MessageExt::getKeys).collect(Collectors.toList());
    }

    /** Counts the checks by body; answers COMMIT. */
    private static final class Checks implements TransactionListener {
        final Map<String, AtomicInteger> times = new ConcurrentHashMap<>();

        @Override
        public LocalTransactionState executeLocalTransaction(Message message, Object argument) {
            return LocalTransactionState.UNKNOW;
        }

        @Override
        public LocalTransactionState checkLocalTransaction(MessageExt message) {
            times.computeIfAbsent(Received.body(message), body -> new AtomicInteger()).incrementAndGet();
            return LocalTransactionState.COMMIT_MESSAGE;
        }
    }

    /** More rounds of checks pass during the immunity than a message may have: it must be checked all the same. */
    private static boolean immunity(Scope scope) throws Exception {
        String topic = scope.topic("immunity", 1);
        long rounds = Long.parseLong(scope.setting("transactionCheckMax")) + 5;
        long seconds = rounds * Long.parseLong(scope.setting("transactionCheckInterval")) / 1000;
        Checks checks = new Checks();
        TransactionMQProducer producer = scope.transactions("tx", checks);
        producer.start();
        Message message = Scope.message(topic, "", "immune");
        message.putUserProperty("CHECK_IMMUNITY_TIME_IN_SECONDS", String.valueOf(seconds));
        producer.sendMessageInTransaction(message, null);
        producer.sendMessageInTransaction(Scope.message(topic, "", "plain"), null);
        Check.within(30, "the plain message", () -> scope.end(topic, 1) >= 1);
        try {
            Check.within(seconds + 20, "the immune message", () -> scope.end(topic, 1) == 2);
            Check.equal("checks", 1, checks.times.get("immune").get());
            return true;
        } catch (AssertionError e) {
            System.out.println(e.getMessage() + "; checks: " + checks.times);
            return false;
        }
    }

    /** A half message whose properties have no room for the count of its checks, and an ordinary one behind it. */
    private static boolean halfUnchecked(Scope scope) throws Exception {
        String topic = scope.topic("unchecked", 1);
        Checks checks = new Checks();
        TransactionMQProducer producer = scope.transactions("tx", checks);
        producer.start();
        Message full = Scope.message(topic, "", "full");
        // What the client and the broker add to it is about 200 bytes; it has to fit the first time and not the second.
        int length = 32_767 - MessageDecoder.messageProperties2String(full.getProperties()).length() - 150;
        boolean stored = false;
        for (int added = 0; !stored && added < 400; added += 10) {
            full = Scope.message(topic, "", "full");
            full.putUserProperty("big", String.join("", Collections.nCopies(length - added, "x")));
            try {
                producer.sendMessageInTransaction(full, null);
                stored = true;
            } catch (org.apache.rocketmq.client.exception.MQClientException e) {
                Check.that("too large: " + e.getCause(), String.valueOf(e.getCause()).contains("CODE: 13"));
            }
        }
        Check.that("the full one is stored", stored);
        producer.sendMessageInTransaction(Scope.message(topic, "", "behind"), null);
        try {
            Check.within(40, "a check of both", () -> checks.times.containsKey("behind") && checks.times.containsKey("full"));
            Check.within(10, "both delivered", () -> scope.end(topic, 1) == 2);
            return true;
        } catch (AssertionError e) {
            System.out.println(e.getMessage() + "; checks: " + checks.times + ", delivered: " + scope.end(topic, 1));
            return false;
        }
    }

    /** The offset is at the end, all members are gone; then one that was cut off commits what it remembers, and leaves. */
    private static boolean lateCommit(Scope scope) throws Exception {
        String topic = scope.topic("late", 1);
        List<Delivery> first = consumed(scope, topic, 100);
        Check.equal("consumed", 100, first.size());
        String group = scope.name("g");
        String heartbeat = "{\"clientID\":\"late\",\"producerDataSet\":[],\"consumerDataSet\":[{\"groupName\":\"" + group + "\",\"consumeType\":\"CONSUME_PASSIVELY\","
            + "\"messageModel\":\"CLUSTERING\",\"consumeFromWhere\":\"CONSUME_FROM_FIRST_OFFSET\",\"unitMode\":false,\"subscriptionDataSet\":[{\"topic\":\"" + topic
            + "\",\"subString\":\"*\",\"expressionType\":\"TAG\",\"classFilterMode\":false,\"tagsSet\":[],\"codeSet\":[],\"subVersion\":1}]}]}";
        Check.equal("heartbeat", 0, scope.call(HEART_BEAT, Scope.fields(), heartbeat.getBytes(StandardCharsets.UTF_8)).getCode());
        Check.equal("members", 0, scope.call(GET_CONSUMER_LIST_BY_GROUP, Scope.fields("consumerGroup", group), null).getCode());
        scope.call(UPDATE_CONSUMER_OFFSET, Scope.fields("consumerGroup", group, "topic", topic, "queueId", 0, "commitOffset", 0), null);
        Check.equal("leave", 0, scope.call(UNREGISTER_CLIENT, Scope.fields("clientID", "late", "consumerGroup", group), null).getCode());
        return again(scope, topic);
    }

    private static List<Delivery> consumed(Scope scope, String topic, int count) throws Exception {
        DefaultMQProducer producer = scope.producer();
        for (int i = 0; i < count; i++) {
            producer.send(Scope.message(topic, "", "m" + i));
        }
        Deliveries deliveries = new Deliveries();
        DefaultMQPushConsumer consumer = scope.consumer("g", topic, "*", deliveries.concurrently((delivery, context) -> ConsumeConcurrentlyStatus.CONSUME_SUCCESS));
        consumer.start();
        deliveries.await(count, 45);
        Check.within(10, "all consumed", () -> consumer.getDefaultMQPushConsumerImpl().getRebalanceImpl().getProcessQueueTable().values()
            .stream().allMatch(process -> process.getMsgCount().get() == 0));
        consumer.shutdown();
        Check.within(5, "the offset at the broker", () -> scope.committed("g", topic, 1) == count);
        return new ArrayList<>(deliveries.all());
    }

    /** Starts the group anew, with one more message: right if it gets nothing but that. */
    private static boolean again(Scope scope, String topic) throws Exception {
        Deliveries deliveries = new Deliveries();
        scope.consumer("g", topic, "*", deliveries.concurrently((delivery, context) -> ConsumeConcurrentlyStatus.CONSUME_SUCCESS)).start();
        scope.producer().send(Scope.message(topic, "", "new"));
        Check.within(45, "the new message", () -> !deliveries.of("new").isEmpty());
        System.out.println(deliveries.all().size() - 1 + " messages came again");
        return deliveries.all().size() == 1;
    }
}
