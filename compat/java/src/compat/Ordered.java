// SPDX-License-Identifier: Apache-2.0
package compat;

import compat.Deliveries.Delivery;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;

/** Ordered messages: the queue by key, orderly listeners, the locks of queues. */
final class Ordered {
    private static final int LOCK_BATCH_MQ = 41;
    private static final int UNLOCK_BATCH_MQ = 42;
    private static final long LOCK_MS = 60_000;

    private Ordered() {
    }

    static void add(Map<String, Main.Case> waiting, Map<String, Main.Case> together) {
        waiting.put("ordered.lock_expiry", Ordered::lockExpiry);
        waiting.put("ordered.share", Ordered::share);
        waiting.put("ordered.dlq", Ordered::deadLetter);
        together.put("ordered.by_key", Ordered::byKey);
        together.put("ordered.global", Ordered::global);
        together.put("ordered.suspend", Ordered::suspend);
        together.put("ordered.lock_raw", Ordered::lockRaw);
    }

    private static SendResult send(DefaultMQProducer producer, String topic, int key, String body) throws Exception {
        return producer.send(Scope.message(topic, "", body), (queues, message, chosen) -> queues.get((Integer) chosen % queues.size()), key);
    }

    private static String key(Delivery delivery) {
        return delivery.body().split("-")[0];
    }

    private static List<String> numbered(String key, int count) {
        return IntStream.range(0, count).mapToObj(i -> key + "-" + i).collect(Collectors.toList());
    }

    /** 12 keys over 4 queues: an orderly listener sees each queue, so each key, in the order of the sends. */
    private static void byKey(Scope scope) throws Exception {
        String topic = scope.topic("t", 4);
        DefaultMQProducer producer = scope.producer();
        Map<String, SendResult> sent = new HashMap<>();
        Map<Integer, List<String>> queues = new HashMap<>();
        for (int i = 0; i < 20; i++) {
            for (int key = 0; key < 12; key++) {
                SendResult result = send(producer, topic, key, key + "-" + i);
                Check.equal("queue of key " + key, key % 4, result.getMessageQueue().getQueueId());
                sent.put(result.getMsgId(), result);
                queues.computeIfAbsent(key % 4, q -> new ArrayList<>()).add(key + "-" + i);
            }
        }
        Deliveries deliveries = new Deliveries();
        scope.orderly("g", topic, deliveries.orderly("one", delivery -> ConsumeOrderlyStatus.SUCCESS)).start();
        deliveries.await(240, 45);
        Check.equal("deliveries", 240, deliveries.all().size());
        deliveries.noClashes();
        for (Delivery delivery : deliveries.all()) {
            SendResult result = sent.remove(delivery.id());
            Check.that("message id " + delivery.id() + " sent, and delivered once", result != null);
            Check.equal("queue offset", result.getQueueOffset(), delivery.message().getQueueOffset());
            Check.equal("times", 0, delivery.times());
        }
        queues.forEach((queue, bodies) -> Check.equal("order in queue " + queue, bodies,
            deliveries.all().stream().filter(d -> d.message().getQueueId() == queue).map(Delivery::body).collect(Collectors.toList())));
        Check.within(10, "all committed", () -> scope.committed("g", topic, 4) == 240);
    }

    /** One queue is one order for all; of two consumers only one has it. */
    private static void global(Scope scope) throws Exception {
        String topic = scope.topic("t", 1);
        Deliveries deliveries = new Deliveries();
        DefaultMQPushConsumer one = scope.orderly("g", topic, deliveries.orderly("one", delivery -> ConsumeOrderlyStatus.SUCCESS));
        DefaultMQPushConsumer two = scope.orderly("g", topic, deliveries.orderly("two", delivery -> ConsumeOrderlyStatus.SUCCESS));
        one.start();
        two.start();
        Check.within(45, "one has the queue", () -> Scope.queues(one, topic).size() + Scope.queues(two, topic).size() == 1);
        DefaultMQProducer first = scope.producer();
        DefaultMQProducer second = scope.producer();
        for (int i = 0; i < 200; i++) {
            (i % 2 == 0 ? first : second).send(Scope.message(topic, "", "all-" + i));
        }
        deliveries.await(200, 45);
        Check.equal("order", numbered("all", 200), deliveries.bodies());
        Check.equal("members that worked", 1L, deliveries.all().stream().map(Delivery::member).distinct().count());
        deliveries.noClashes();
    }

    /** A listener that suspends its queue gets the same message again, and nothing behind it; other queues go on. */
    private static void suspend(Scope scope) throws Exception {
        String topic = scope.topic("t", 2);
        DefaultMQProducer producer = scope.producer();
        List<String> expected = new ArrayList<>();
        String id = null;
        for (int i = 0; i < 10; i++) {
            SendResult result = send(producer, topic, 0, "held-" + i);
            expected.add("held-" + i);
            send(producer, topic, 1, "free-" + i);
            if (i == 5) {
                id = result.getMsgId();
                expected.addAll(List.of("held-5", "held-5", "held-5"));
            }
        }
        Deliveries deliveries = new Deliveries();
        DefaultMQPushConsumer consumer = scope.orderly("g", topic, deliveries.orderly("one", delivery ->
            delivery.body().equals("held-5") && delivery.times() < 3 ? ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT : ConsumeOrderlyStatus.SUCCESS));
        consumer.setSuspendCurrentQueueTimeMillis(400);
        consumer.start();
        deliveries.await(23, 45);
        Check.equal("the held queue", expected, deliveries.all().stream().filter(d -> key(d).equals("held")).map(Delivery::body).collect(Collectors.toList()));
        Check.equal("the free queue", numbered("free", 10), deliveries.all().stream().filter(d -> key(d).equals("free")).map(Delivery::body).collect(Collectors.toList()));
        List<Delivery> held = deliveries.of("held-5");
        for (int i = 0; i < 4; i++) {
            Check.equal("times", i, held.get(i).times());
            Check.equal("message id", id, held.get(i).id());
            Check.equal("queue offset", 5L, held.get(i).message().getQueueOffset());
            Check.that("a moment between", i == 0 || held.get(i).atMs() - held.get(i - 1).atMs() >= 390);
        }
        Check.within(10, "all committed", () -> scope.committed("g", topic, 2) == 20);
        Check.equal("deliveries", 23, deliveries.all().size());
    }

    /** Three consumers under a flow of messages, one comes, one goes: no key steps back, no queue has two at a time. */
    private static void share(Scope scope) throws Exception {
        int queues = 6;
        int keys = 24;
        String topic = scope.topic("t", queues);
        Deliveries deliveries = new Deliveries();
        DefaultMQPushConsumer[] consumers = new DefaultMQPushConsumer[3];
        for (int i = 0; i < 3; i++) {
            consumers[i] = scope.orderly("g", topic, deliveries.orderly("c" + i, delivery -> ConsumeOrderlyStatus.SUCCESS));
        }
        consumers[0].start();
        consumers[1].start();
        Scope.awaitShared(45, topic, queues, consumers[0], consumers[1]);
        DefaultMQProducer producer = scope.producer();
        AtomicBoolean stop = new AtomicBoolean();
        List<Throwable> errors = new ArrayList<>();
        int[] sent = new int[keys];
        Thread sender = new Thread(() -> {
            try {
                for (int i = 0; !stop.get(); i++) {
                    send(producer, topic, i % keys, i % keys + "-" + sent[i % keys]++);
                    Thread.sleep(5);
                }
            } catch (Throwable e) {
                errors.add(e);
            }
        });
        sender.start();
        try {
            consumers[2].start();
            // An orderly consumer locks a queue before it has it, and asks for the lock anew with each rebalance, every 20 s.
            Scope.awaitShared(50, topic, queues, consumers);
            int before = deliveries.all().size();
            Check.within(30, "all three work", () -> deliveries.all().stream().skip(before).map(Delivery::member).distinct().count() == 3);
            consumers[0].shutdown();
            Scope.awaitShared(50, topic, queues, consumers[1], consumers[2]);
            int after = deliveries.all().size();
            Check.within(30, "every queue goes on", () -> deliveries.all().stream().skip(after)
                .map(d -> d.message().getQueueId()).distinct().count() == queues);
        } finally {
            stop.set(true);
            sender.join();
        }
        Check.equal("errors while sending", List.of(), errors);
        int total = IntStream.of(sent).sum();
        Check.within(30, "all " + total, () -> Set.copyOf(deliveries.bodies()).size() == total);
        Map<String, List<String>> firsts = Deliveries.first(deliveries.all(), Ordered::key);
        for (int key = 0; key < keys; key++) {
            Check.equal("order of key " + key, numbered("" + key, sent[key]), firsts.getOrDefault("" + key, List.of()));
        }
        deliveries.noClashes();
    }

    /** After maxReconsumeTimes an ordered message goes to the dead letters, and its queue goes on. */
    private static void deadLetter(Scope scope) throws Exception {
        String topic = scope.topic("t", 1);
        DefaultMQProducer producer = scope.producer();
        String id = null;
        for (int i = 0; i < 5; i++) {
            Message message = Scope.message(topic, "tag", "m-" + i);
            message.setKeys("键" + i);
            message.putUserProperty("user", "值" + i);
            SendResult result = producer.send(message);
            id = i == 2 ? result.getMsgId() : id;
        }
        Deliveries deliveries = new Deliveries();
        DefaultMQPushConsumer consumer = scope.orderly("g", topic, deliveries.orderly("one", delivery ->
            delivery.body().equals("m-2") ? ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT : ConsumeOrderlyStatus.SUCCESS));
        consumer.setMaxReconsumeTimes(2);
        consumer.setSuspendCurrentQueueTimeMillis(200);
        consumer.start();
        deliveries.await(7, 60);
        Check.equal("deliveries", List.of("m-0", "m-1", "m-2", "m-2", "m-2", "m-3", "m-4"), deliveries.bodies());
        Check.equal("times", List.of(0, 1, 2), deliveries.of("m-2").stream().map(Delivery::times).collect(Collectors.toList()));
        Check.within(10, "all committed", () -> scope.committed("g", topic, 1) == 5);
        MessageExt dead = Retries.deadLetters(scope, "g", 1).get(0);
        Check.equal("body", "m-2", Received.body(dead));
        Check.equal("message id", id, dead.getMsgId());
        Check.equal("keys", "键2", dead.getKeys());
        Check.equal("tag", "tag", dead.getTags());
        Check.equal("user property", "值2", dead.getUserProperty("user"));
        Check.equal("its topic", topic, dead.getProperty("RETRY_TOPIC"));
    }

    private static byte[] lockBody(Scope scope, String client, String topic, String broker, int... queues) {
        String sets = IntStream.of(queues).mapToObj(q -> "{\"topic\":\"" + topic + "\",\"brokerName\":\"" + broker + "\",\"queueId\":" + q + "}").collect(Collectors.joining(","));
        return ("{\"consumerGroup\":\"" + scope.name("g") + "\",\"clientId\":\"" + client + "\",\"mqSet\":[" + sets + "]}").getBytes(StandardCharsets.UTF_8);
    }

    /** The ids of the queues in the answer. */
    private static String locked(Scope scope, String client, String topic, String broker, int... queues) throws Exception {
        RemotingCommand answer = scope.call(LOCK_BATCH_MQ, Scope.fields(), lockBody(scope, client, topic, broker, queues));
        Check.equal("lock by " + client + " (" + answer.getRemark() + ")", 0, answer.getCode());
        String body = new String(answer.getBody(), StandardCharsets.UTF_8);
        return IntStream.range(0, 10).filter(q -> body.matches("(?s).*\"queueId\"\\s*:\\s*" + q + "\\b.*")).mapToObj(String::valueOf).collect(Collectors.joining(","));
    }

    private static String brokerName(Scope scope, String topic) throws Exception {
        DefaultMQPullConsumer looker = scope.puller("looker");
        MessageQueue queue = looker.fetchSubscribeMessageQueues(topic).iterator().next();
        return queue.getBrokerName();
    }

    /** A lock holds against other clients of the group only, until it is given back by its owner. */
    private static void lockRaw(Scope scope) throws Exception {
        String topic = scope.topic("t", 4);
        String broker = brokerName(scope, topic);
        Check.equal("one locks", "0,1", locked(scope, "one", topic, broker, 0, 1));
        Check.equal("again", "0,1", locked(scope, "one", topic, broker, 0, 1));
        Check.equal("two gets the rest", "2", locked(scope, "two", topic, broker, 1, 2));
        RemotingCommand notOwner = scope.call(UNLOCK_BATCH_MQ, Scope.fields(), lockBody(scope, "two", topic, broker, 0, 1));
        Check.equal("unlock by another", 0, notOwner.getCode());
        Check.equal("still locked", "", locked(scope, "two", topic, broker, 0, 1));
        Check.equal("unlock", 0, scope.call(UNLOCK_BATCH_MQ, Scope.fields(), lockBody(scope, "one", topic, broker, 0)).getCode());
        Check.equal("free again", "0", locked(scope, "two", topic, broker, 0, 1));
        for (byte[] wrong : new byte[][] {null, {}, {'x'}, "[]".getBytes(StandardCharsets.UTF_8)}) {
            Check.equal("lock without a sound body", 1, scope.call(LOCK_BATCH_MQ, Scope.fields(), wrong).getCode());
        }
    }

    private static void lockExpiry(Scope scope) throws Exception {
        String topic = scope.topic("t", 1);
        String broker = brokerName(scope, topic);
        long before = System.currentTimeMillis();
        Check.equal("one locks", "0", locked(scope, "one", topic, broker, 0));
        long after = System.currentTimeMillis();
        Check.within(LOCK_MS / 1000 + 10, "two locks", () -> {
            Thread.sleep(100);
            return locked(scope, "two", topic, broker, 0).equals("0");
        });
        long now = System.currentTimeMillis();
        Check.that("not before 60 s: " + (now - before), now - before >= LOCK_MS);
        Check.that("not much later: " + (now - after), now - after <= LOCK_MS + 2000);
    }
}
