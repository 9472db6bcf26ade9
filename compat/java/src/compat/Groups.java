// SPDX-License-Identifier: Apache-2.0
package compat;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.UtilAll;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.MessageExt;

/** Push consumers: filters, groups, sharing of queues, committed offsets, long polling. */
final class Groups {
    private Groups() {
    }

    static void add(Map<String, Main.Case> alone, Map<String, Main.Case> together) {
        alone.put("long_poll", Groups::longPoll);
        together.put("group.join_leave", Groups::joinAndLeave);
        together.put("group.resume", Groups::resume);
        together.put("group.two", Groups::twoGroups);
        together.put("group.broadcast", Groups::broadcast);
        together.put("filter.tags", Groups::tags);
        together.put("from.first", scope -> from(scope, ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET, 0));
        together.put("from.last", scope -> from(scope, ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET, 0));
        together.put("from.timestamp", scope -> from(scope, ConsumeFromWhere.CONSUME_FROM_TIMESTAMP, 0));
    }

    private static void send(DefaultMQProducer producer, String topic, String prefix, int count) throws Exception {
        for (int i = 0; i < count; i++) {
            producer.send(Scope.message(topic, "", prefix + i));
        }
    }

    private static Set<String> names(String prefix, int count) {
        return IntStream.range(0, count).mapToObj(i -> prefix + i).collect(Collectors.toCollection(TreeSet::new));
    }

    private static Set<String> bodies(Received... received) {
        Set<String> bodies = new TreeSet<>();
        Arrays.stream(received).forEach(r -> bodies.addAll(Received.bodies(r.all())));
        return bodies;
    }

    private static void longPoll(Scope scope) throws Exception {
        String topic = scope.topic("t", 4);
        Received received = new Received();
        DefaultMQPushConsumer consumer = scope.consumer("g", topic, "*", received);
        consumer.start();
        Scope.awaitShared(45, topic, 4, consumer);
        DefaultMQProducer producer = scope.producer();
        List<Long> waits = new ArrayList<>();
        for (int i = 0; i < 9; i++) {
            // The message before woke the pull; half a second of quiet lets the broker hold the next one.
            Thread.sleep(500);
            long start = System.nanoTime();
            producer.send(Scope.message(topic, "", "m" + i));
            received.await(i + 1, 20);
            waits.add((received.lastNanos() - start) / 1_000_000);
        }
        waits.sort(null);
        Check.that("median under 300 ms, sorted: " + waits, waits.get(waits.size() / 2) < 300);
    }

    private static void joinAndLeave(Scope scope) throws Exception {
        String topic = scope.topic("t", 9);
        Received received = new Received();
        DefaultMQPushConsumer one = scope.consumer("g", topic, "*", received);
        DefaultMQPushConsumer two = scope.consumer("g", topic, "*", received);
        DefaultMQPushConsumer three = scope.consumer("g", topic, "*", received);
        one.start();
        two.start();
        Scope.awaitShared(45, topic, 9, one, two);
        DefaultMQProducer producer = scope.producer();
        AtomicBoolean stop = new AtomicBoolean();
        AtomicInteger sent = new AtomicInteger();
        List<Throwable> errors = new ArrayList<>();
        Thread sender = new Thread(() -> {
            try {
                while (!stop.get()) {
                    producer.send(Scope.message(topic, "", "m" + sent.get()));
                    sent.incrementAndGet();
                    Thread.sleep(2);
                }
            } catch (Throwable e) {
                errors.add(e);
            }
        });
        sender.start();
        three.start();
        // Without the broker's notice the others would look again after 20 s.
        Scope.awaitShared(8, topic, 9, one, two, three);
        int before = received.count();
        Check.within(10, "messages go on with three", () -> received.count() > before + 100);
        three.shutdown();
        Scope.awaitShared(8, topic, 9, one, two);
        int after = received.count();
        Check.within(10, "messages go on with two", () -> received.count() > after + 100);
        stop.set(true);
        sender.join();
        Check.equal("errors while sending", 0, errors.size());
        Check.within(20, "all of " + sent.get(), () -> bodies(received).size() == sent.get());
        Check.equal("nothing lost", names("m", sent.get()), bodies(received));
    }

    private static void resume(Scope scope) throws Exception {
        String topic = scope.topic("t", 4);
        DefaultMQProducer producer = scope.producer();
        Received first = new Received();
        DefaultMQPushConsumer consumer = scope.consumer("g", topic, "*", first);
        consumer.start();
        send(producer, topic, "a", 100);
        first.await(100, 45);
        Check.within(10, "all consumed", () -> consumer.getDefaultMQPushConsumerImpl().getRebalanceImpl().getProcessQueueTable().values()
            .stream().allMatch(process -> process.getMsgCount().get() == 0));
        consumer.shutdown();
        Check.within(5, "offsets committed by the shutdown", () -> scope.committed("g", topic, 4) == 100);
        send(producer, topic, "b", 50);
        Received second = new Received();
        scope.consumer("g", topic, "*", second).start();
        second.await(50, 45);
        Check.within(15, "offsets committed by the second", () -> scope.committed("g", topic, 4) == 150);
        Check.equal("first", new ArrayList<>(names("a", 100)), Received.bodies(first.all()));
        Check.equal("second", new ArrayList<>(names("b", 50)), Received.bodies(second.all()));
    }

    private static void twoGroups(Scope scope) throws Exception {
        String topic = scope.topic("t", 4);
        Received first = new Received();
        Received second = new Received();
        scope.consumer("g1", topic, "*", first).start();
        scope.consumer("g2", topic, "*", second).start();
        send(scope.producer(), topic, "m", 100);
        first.await(100, 45);
        second.await(100, 45);
        Check.equal("first", new ArrayList<>(names("m", 100)), Received.bodies(first.all()));
        Check.equal("second", new ArrayList<>(names("m", 100)), Received.bodies(second.all()));
    }

    private static void broadcast(Scope scope) throws Exception {
        String topic = scope.topic("t", 4);
        Received[] received = {new Received(), new Received()};
        for (Received each : received) {
            DefaultMQPushConsumer consumer = scope.consumer("g", topic, "*", each);
            Scope.broadcast(consumer);
            consumer.start();
            Scope.awaitShared(45, topic, 4, consumer);
        }
        send(scope.producer(), topic, "m", 100);
        for (Received each : received) {
            each.await(100, 45);
            Check.equal("each message once", new ArrayList<>(names("m", 100)), Received.bodies(each.all()));
        }
    }

    private static void tags(Scope scope) throws Exception {
        String topic = scope.topic("t", 4);
        DefaultMQProducer producer = scope.producer();
        // "Aa" and "BB" have the same hash: the broker lets both pass, the client drops one.
        String[] tags = {"A", "B", "C", "订单", "Aa", "BB", ""};
        for (int i = 0; i < 70; i++) {
            producer.send(Scope.message(topic, tags[i % 7], tags[i % 7] + i));
        }
        String[] expressions = {"A || B", "订单", "*", "Aa", "订单||C||none"};
        Received[] received = new Received[expressions.length];
        for (int i = 0; i < expressions.length; i++) {
            received[i] = new Received();
            scope.consumer("g" + i, topic, expressions[i], received[i]).start();
        }
        int[] counts = {20, 10, 70, 10, 20};
        for (int i = 0; i < expressions.length; i++) {
            List<String> wanted = Arrays.asList(expressions[i].split(" *\\|\\| *"));
            received[i].await(counts[i], 45);
            int group = i;
            // A filtered tail is committed only after the pull that found nothing in it, which the broker holds for 15 s.
            Check.within(40, "offsets of " + expressions[i] + " at the end", () -> scope.committed("g" + group, topic, 4) == 70);
            Check.equal("count for " + expressions[i], counts[i], received[i].count());
            for (MessageExt message : received[i].all()) {
                String tag = message.getTags() == null ? "" : message.getTags();
                Check.that(expressions[i] + " got " + tag, expressions[i].equals("*") || wanted.contains(tag));
                Check.that("body of its tag", Received.body(message).startsWith(tag));
            }
            Check.equal("different bodies", counts[i], new HashSet<>(Received.bodies(received[i].all())).size());
        }
    }

    /**
     * A new group on an old topic. As long as the broker keeps a queue from its first message on, and that is recent, it answers 0
     * for an unknown group, so the three policies differ for nobody: {@code start} is 0 for all.
     */
    private static void from(Scope scope, ConsumeFromWhere where, int start) throws Exception {
        String topic = scope.topic("t", 1);
        DefaultMQProducer producer = scope.producer();
        send(producer, topic, "old", 20);
        Received received = new Received();
        DefaultMQPushConsumer consumer = scope.consumer("g", topic, "*", received);
        consumer.setConsumeFromWhere(where);
        consumer.setConsumeTimestamp(UtilAll.timeMillisToHumanString3(System.currentTimeMillis() + 1000));
        consumer.start();
        Scope.awaitShared(45, topic, 1, consumer);
        send(producer, topic, "new", 20);
        Check.within(45, "the last message", () -> bodies(received).contains("new19"));
        Set<String> expected = names("new", 20);
        expected.addAll(names("old", 20).stream().skip(start).collect(Collectors.toList()));
        Check.equal("messages from " + where, new ArrayList<>(expected), Received.bodies(received.all()));
    }
}
