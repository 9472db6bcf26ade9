// SPDX-License-Identifier: Apache-2.0
package compat;

import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.MessageSelector;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** SQL92 filters, with each kind of consumer. The broker needs {@code enablePropertyFilter=true}. */
final class Filters {
    private static final int COUNT = 60;

    /**
     * The client sends no pull with SQL92 before the answer to a heartbeat has told the broker's version. If its first heartbeat
     * is lost to another that is under way, or to its timeout on a busy machine, the next one comes 30 s later.
     */
    private static final int PATIENCE_SECONDS = 60;

    private Filters() {
    }

    static void add(Map<String, Main.Case> cases) {
        cases.put("filter.sql", Filters::push);
        cases.put("defect.sql_members", Filters::members);
        cases.put("filter.sql_pull", Filters::pull);
        cases.put("filter.sql_refused", Filters::refused);
    }

    /** Bodies m0, m1, ...; property n is the number, kind one of five texts, and every seventh has no property at all. */
    private static void send(Scope scope, String topic) throws Exception {
        DefaultMQProducer producer = scope.producer();
        for (int i = 0; i < COUNT; i++) {
            Message message = Scope.message(topic, "T" + i % 3, "m" + i);
            if (i % 7 != 0) {
                message.putUserProperty("n", String.valueOf(i));
                message.putUserProperty("kind", "类-" + i % 5);
            }
            producer.send(message);
        }
    }

    private static TreeSet<String> bodies(List<MessageExt> messages) {
        return messages.stream().map(message -> new String(message.getBody())).collect(Collectors.toCollection(TreeSet::new));
    }

    private static TreeSet<String> expected(java.util.function.IntPredicate wanted) {
        return java.util.stream.IntStream.range(0, COUNT).filter(wanted).mapToObj(i -> "m" + i).collect(Collectors.toCollection(TreeSet::new));
    }

    private static DefaultMQPushConsumer consumer(Scope scope, String group, String topic, String sql, Received received) throws Exception {
        DefaultMQPushConsumer consumer = scope.consumer(group, topic, "*", received);
        consumer.subscribe(topic, MessageSelector.bySql(sql));
        return consumer;
    }

    private static void push(Scope scope) throws Exception {
        String topic = scope.topic("t", 4);
        String[] expressions = {
            "n BETWEEN 10 AND 39", "kind IN ('类-1', '类-2') AND TAGS = 'T0'", "n IS NULL OR n = 59", "TAGS <> 'T1' AND NOT (n > 5)"
        };
        List<TreeSet<String>> wanted = Arrays.asList(
            expected(i -> i >= 10 && i <= 39 && i % 7 != 0), expected(i -> i % 7 != 0 && (i % 5 == 1 || i % 5 == 2) && i % 3 == 0),
            expected(i -> i % 7 == 0 || i == 59), expected(i -> i % 7 != 0 && i % 3 != 1 && i <= 5));
        Received[] received = new Received[expressions.length];
        for (int i = 0; i < expressions.length; i++) {
            received[i] = new Received();
            consumer(scope, "g" + i, topic, expressions[i], received[i]).start();
        }
        send(scope, topic);
        for (int i = 0; i < expressions.length; i++) {
            received[i].await(wanted.get(i).size(), PATIENCE_SECONDS);
            Check.equal(expressions[i], wanted.get(i), bodies(received[i].all()));
            Check.equal("each once: " + expressions[i], wanted.get(i).size(), received[i].count());
        }
    }

    /** Broadcasting members of one group with different expressions. In Java the newest counts for all of them. */
    private static void members(Scope scope) throws Exception {
        String topic = scope.topic("t", 4);
        Received[] received = {new Received(), new Received()};
        String[] expressions = {"n < 30", "n >= 30"};
        for (int i = 0; i < 2; i++) {
            DefaultMQPushConsumer consumer = consumer(scope, "g", topic, expressions[i], received[i]);
            Scope.broadcast(consumer);
            consumer.start();
        }
        send(scope, topic);
        List<TreeSet<String>> wanted = Arrays.asList(expected(i -> i % 7 != 0 && i < 30), expected(i -> i % 7 != 0 && i >= 30));
        for (int i = 0; i < 2; i++) {
            received[i].await(wanted.get(i).size(), PATIENCE_SECONDS);
            Check.equal(expressions[i], wanted.get(i), bodies(received[i].all()));
        }
    }

    /** Consumers whose pulls carry the expression. */
    private static void pull(Scope scope) throws Exception {
        String topic = scope.topic("t", 1);
        send(scope, topic);
        TreeSet<String> wanted = expected(i -> i % 7 != 0 && i >= 50);
        DefaultMQPullConsumer puller = scope.puller("pull");
        MessageQueue queue = puller.fetchSubscribeMessageQueues(topic).iterator().next();
        // The client itself refuses until an answer to its heartbeat has told the version of the broker.
        Check.within(20, "a pull with SQL92", () -> {
            try {
                return puller.pull(queue, MessageSelector.bySql("n >= 50"), 0, 1) != null;
            } catch (MQClientException e) {
                return false;
            }
        });
        TreeSet<String> pulled = new TreeSet<>();
        for (long at = 0; at < COUNT; ) {
            PullResult result = puller.pull(queue, MessageSelector.bySql("n >= 50"), at, 32);
            if (result.getMsgFoundList() != null) {
                pulled.addAll(bodies(result.getMsgFoundList()));
            }
            at = result.getNextBeginOffset();
        }
        Check.equal("pulled", wanted, pulled);
        DefaultLitePullConsumer lite = scope.litePuller("lite");
        lite.subscribe(topic, MessageSelector.bySql("n >= 50"));
        lite.start();
        TreeSet<String> polled = new TreeSet<>();
        Check.within(30, "polled " + wanted, () -> {
            polled.addAll(bodies(lite.poll(500)));
            return polled.size() >= wanted.size();
        });
        Check.equal("polled", wanted, polled);
    }

    private static void refused(Scope scope) throws Exception {
        String topic = scope.topic("t", 1);
        String deep = String.join("", Collections.nCopies(1000, "("));
        for (String sql : new String[] {"n >", "n > 'text'", "n = 1 AND (", "n = 'open", deep}) {
            DefaultMQPushConsumer consumer = consumer(scope, "g", topic, sql, new Received());
            try {
                consumer.start();
            } catch (MQClientException e) {
                Check.equal(sql + ": " + e.getErrorMessage(), 23, e.getResponseCode());
                continue;
            }
            throw new AssertionError("a consumer starts with " + sql);
        }
    }
}
