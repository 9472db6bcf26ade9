// SPDX-License-Identifier: Apache-2.0
package compat;

import compat.Deliveries.Delivery;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageAccessor;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;

/** Messages that come later: the delay levels, any time, and taking one back. */
final class Delayed {
    private static final int RECALL_MESSAGE = 370;

    private Delayed() {
    }

    static void add(Map<String, Main.Case> waiting, Map<String, Main.Case> together) {
        waiting.put("delay.levels", Delayed::levels);
        waiting.put("delay.level_range", Delayed::levelRange);
        waiting.put("delay.level_order", Delayed::levelOrder);
        waiting.put("timer.kinds", Delayed::timerKinds);
        waiting.put("timer.many", Delayed::timerMany);
        together.put("timer.refused", Delayed::timerRefused);
        if (recall() != null) {
            waiting.put("timer.recall", Delayed::timerRecall);
        }
    }

    /** When a message was sent and when it has to come, in wall clock ms: it was stored between {@code fromMs} and {@code toMs}. */
    private record Sent(SendResult result, long fromMs, long toMs) {
    }

    private static Sent send(DefaultMQProducer producer, Message message) throws Exception {
        long from = System.currentTimeMillis();
        SendResult result = producer.send(message);
        return new Sent(result, from, System.currentTimeMillis());
    }

    private static void inTime(String what, Delivery delivery, long dueFromMs, long dueToMs) {
        within(what, delivery, dueFromMs, dueToMs, 0, Scope.LATENESS_MS_MAX);
    }

    /** Java rounds the time of a timed message down to the second (timerPrecisionMs), and is up to two seconds late then. */
    private static void timedInTime(String what, Delivery delivery, long dueFromMs, long dueToMs) {
        within(what, delivery, dueFromMs, dueToMs, Scope.OXMQ ? 0 : 1000, Scope.OXMQ ? Scope.LATENESS_MS_MAX : 2000);
    }

    private static void within(String what, Delivery delivery, long dueFromMs, long dueToMs, long earlyMsMax, long lateMsMax) {
        Check.that(what + " is stored " + (delivery.storedMs() - dueFromMs) + " ms after its time", delivery.storedMs() >= dueFromMs - earlyMsMax);
        Check.that(what + " comes " + (delivery.atMs() - dueFromMs) + " ms after its time", delivery.atMs() >= dueFromMs - earlyMsMax);
        Check.that(what + " is stored " + (delivery.storedMs() - dueToMs) + " ms late", delivery.storedMs() <= dueToMs + lateMsMax);
    }

    /** Levels 1 to 5, three messages each: in time, and with everything they were sent with. */
    private static void levels(Scope scope) throws Exception {
        String topic = scope.topic("t", 4);
        long[] delays = scope.delays();
        Deliveries deliveries = new Deliveries();
        scope.consumer("g", topic, "A", deliveries.concurrently((delivery, context) -> ConsumeConcurrentlyStatus.CONSUME_SUCCESS)).start();
        DefaultMQProducer producer = scope.producer();
        Map<String, Sent> sent = new HashMap<>();
        for (int level = 1; level <= 5; level++) {
            for (int i = 0; i < 3; i++) {
                Message message = Scope.message(topic, "A", "正文" + level + "-" + i);
                message.setKeys("键" + level);
                message.putUserProperty("user", "值" + level);
                message.setFlag(level);
                message.setDelayTimeLevel(level);
                sent.put("正文" + level + "-" + i, send(producer, message));
            }
        }
        Check.equal("the topic is empty", 0L, scope.end(topic, 4));
        deliveries.await(15, delays[4] / 1000.0 + 30);
        Check.equal("deliveries", sent.keySet(), new HashSet<>(deliveries.bodies()));
        Map<Integer, Set<Long>> offsets = new TreeMap<>();
        for (Delivery delivery : deliveries.all()) {
            int level = delivery.body().charAt(2) - '0';
            Sent from = sent.get(delivery.body());
            inTime("level " + level, delivery, from.fromMs + delays[level - 1], from.toMs + delays[level - 1]);
            MessageExt message = delivery.message();
            Check.equal("message id", from.result.getMsgId(), delivery.id());
            Check.equal("keys", "键" + level, message.getKeys());
            Check.equal("tag", "A", message.getTags());
            Check.equal("user property", "值" + level, message.getUserProperty("user"));
            Check.equal("flag", level, message.getFlag());
            Check.equal("times", 0, delivery.times());
            Check.equal("queue", from.result.getMessageQueue().getQueueId(), message.getQueueId());
            Check.that("born when it was sent", message.getBornTimestamp() >= from.fromMs && message.getBornTimestamp() <= from.toMs);
            Check.equal("properties", Set.of("KEYS", "TAGS", "UNIQ_KEY", "user", "REAL_TOPIC", "REAL_QID", "DELAY", "WAIT", "CLUSTER", "MIN_OFFSET", "MAX_OFFSET", "CONSUME_START_TIME", "MSG_REGION", "TRACE_ON"),
                delivery.properties().keySet());
            Check.equal("REAL_TOPIC", topic, message.getProperty("REAL_TOPIC"));
            Check.equal("DELAY", String.valueOf(level), message.getProperty("DELAY"));
            Check.equal("REAL_QID", String.valueOf(message.getQueueId()), message.getProperty("REAL_QID"));
            offsets.computeIfAbsent(message.getQueueId(), q -> new HashSet<>()).add(message.getQueueOffset());
        }
        offsets.values().forEach(queue -> Check.that("queue offsets from 0 on: " + queue, queue.contains(0L) && queue.contains(queue.size() - 1L)));
    }

    /** No level above the highest, and none below 1. */
    private static void levelRange(Scope scope) throws Exception {
        String topic = scope.topic("t", 1);
        long[] delays = scope.delays();
        Deliveries deliveries = new Deliveries();
        scope.consumer("g", topic, "*", deliveries.concurrently((delivery, context) -> ConsumeConcurrentlyStatus.CONSUME_SUCCESS)).start();
        DefaultMQProducer producer = scope.producer();
        Map<Integer, Sent> sent = new TreeMap<>();
        for (int level : new int[] {0, -1, delays.length + 1, 1000}) {
            Message message = Scope.message(topic, "", "level " + level);
            message.setDelayTimeLevel(level);
            sent.put(level, send(producer, message));
        }
        Check.equal("levels 0 and -1 are no delay", 2L, scope.end(topic, 1));
        deliveries.await(2, 45);
        Check.equal("at once", Set.of("level 0", "level -1"), new HashSet<>(deliveries.bodies()));
        Set<String> high = Set.of("level " + (delays.length + 1), "level 1000");
        DefaultMQPullConsumer looker = scope.puller("looker");
        String broker = looker.fetchSubscribeMessageQueues(topic).iterator().next().getBrokerName();
        MessageQueue highest = new MessageQueue("SCHEDULE_TOPIC_XXXX", broker, delays.length - 1);
        List<MessageExt> waiting = Scope.contents(looker, highest).stream().filter(m -> topic.equals(m.getProperty("REAL_TOPIC"))).collect(Collectors.toList());
        Check.equal("in the queue of the highest level", high, waiting.stream().map(Received::body).collect(Collectors.toSet()));
        waiting.forEach(message -> Check.equal("DELAY", String.valueOf(delays.length), message.getProperty("DELAY")));
        long delay = delays[delays.length - 1];
        if (delay <= 30_000) {
            deliveries.await(4, delay / 1000.0 + 30);
            deliveries.all().stream().filter(d -> high.contains(d.body())).forEach(delivery -> {
                Sent from = sent.get(Integer.parseInt(delivery.body().substring(6)));
                inTime(delivery.body(), delivery, from.fromMs + delay, from.toMs + delay);
            });
            Check.equal("each once", 4, deliveries.all().size());
        }
    }

    /** Messages of one level keep their order; 300 messages of three levels all come in time. */
    private static void levelOrder(Scope scope) throws Exception {
        String topic = scope.topic("t", 1);
        long[] delays = scope.delays();
        DefaultMQProducer producer = scope.producer();
        Map<String, Sent> sent = new HashMap<>();
        Map<Integer, List<String>> order = new TreeMap<>();
        Random random = new Random(5);
        for (int i = 0; i < 300; i++) {
            int level = 1 + random.nextInt(3);
            Message message = Scope.message(topic, "", level + "-" + i);
            message.setDelayTimeLevel(level);
            sent.put(level + "-" + i, send(producer, message));
            order.computeIfAbsent(level, l -> new ArrayList<>()).add(level + "-" + i);
        }
        Deliveries deliveries = new Deliveries();
        scope.consumer("g", topic, "*", deliveries.concurrently((delivery, context) -> ConsumeConcurrentlyStatus.CONSUME_SUCCESS)).start();
        deliveries.await(300, delays[2] / 1000.0 + 30);
        Check.equal("each once", 300, new HashSet<>(deliveries.bodies()).size());
        Check.equal("deliveries", 300, deliveries.all().size());
        List<Delivery> stored = deliveries.all();
        stored.sort(Comparator.comparingLong(d -> d.message().getQueueOffset()));
        order.forEach((level, bodies) -> Check.equal("order of level " + level, bodies,
            stored.stream().map(Delivery::body).filter(b -> b.startsWith(level + "-")).collect(Collectors.toList())));
        stored.forEach(d -> {
            long delay = delays[d.body().charAt(0) - '1'];
            inTime(d.body(), d, sent.get(d.body()).fromMs + delay, sent.get(d.body()).toMs + delay);
        });
    }

    /** The three ways of the 5.x API to name a time; a 4.x client can only write the property behind each. */
    private static Message timed(Message message, String kind, long value) throws Exception {
        Map<String, String> setters = Map.of("TIMER_DELAY_SEC", "setDelayTimeSec", "TIMER_DELAY_MS", "setDelayTimeMs", "TIMER_DELIVER_MS", "setDeliverTimeMs");
        Method setter = Arrays.stream(Message.class.getMethods()).filter(m -> m.getName().equals(setters.get(kind))).findFirst().orElse(null);
        if (setter == null) {
            MessageAccessor.putProperty(message, kind, String.valueOf(value));
        } else {
            setter.invoke(message, value);
        }
        return message;
    }

    private static void timerKinds(Scope scope) throws Exception {
        String topic = scope.topic("t", 2);
        Deliveries deliveries = new Deliveries();
        scope.consumer("g", topic, "A", deliveries.concurrently((delivery, context) -> ConsumeConcurrentlyStatus.CONSUME_SUCCESS)).start();
        DefaultMQProducer producer = scope.producer();
        Map<String, Sent> sent = new HashMap<>();
        Map<String, Long> delays = new HashMap<>();
        long now = System.currentTimeMillis();
        Object[][] kinds = {{"TIMER_DELAY_SEC", 3L, 3000L}, {"TIMER_DELAY_MS", 2345L, 2345L}, {"TIMER_DELIVER_MS", now + 5678, null},
            {"TIMER_DELAY_SEC", 0L, 0L}, {"TIMER_DELAY_MS", -5L, 0L}, {"TIMER_DELIVER_MS", now - 100_000, 0L}, {"TIMER_DELIVER_MS", 1L, 0L}};
        for (Object[] kind : kinds) {
            String body = kind[0] + "=" + kind[1];
            Message message = timed(Scope.message(topic, "A", body), (String) kind[0], (Long) kind[1]);
            message.setKeys("键");
            message.putUserProperty("user", "值");
            Sent each = send(producer, message);
            // A delay counts from the arrival at the broker, a delivery time from nothing.
            sent.put(body, kind[2] == null ? new Sent(each.result, now + 5678, now + 5678) : each);
            delays.put(body, kind[2] == null ? 0 : (Long) kind[2]);
        }
        deliveries.await(kinds.length, 45);
        Check.equal("deliveries", sent.keySet(), new HashSet<>(deliveries.bodies()));
        Check.equal("each once", kinds.length, deliveries.all().size());
        for (Delivery delivery : deliveries.all()) {
            Sent from = sent.get(delivery.body());
            long delay = delays.get(delivery.body());
            timedInTime(delivery.body(), delivery, from.fromMs + delay, from.toMs + delay);
            Check.equal("message id", from.result.getMsgId(), delivery.id());
            Check.equal("keys", "键", delivery.message().getKeys());
            Check.equal("user property", "值", delivery.message().getUserProperty("user"));
            Check.equal("queue", from.result.getMessageQueue().getQueueId(), delivery.message().getQueueId());
            boolean waited = delay > 0 || delivery.body().equals("TIMER_DELIVER_MS=" + (now + 5678));
            Check.equal("REAL_TOPIC of " + delivery.body() + " " + delivery.properties(), waited ? topic : null, delivery.message().getProperty("REAL_TOPIC"));
        }
    }

    /** 500 messages, each 2 to 7 s ahead: each once, none early, none late, stored in the order of their times. */
    private static void timerMany(Scope scope) throws Exception {
        String topic = scope.topic("t", 1);
        DefaultMQProducer producer = scope.producer();
        Map<String, Long> due = new HashMap<>();
        Map<String, Sent> sent = new HashMap<>();
        Random random = new Random(6);
        for (int i = 0; i < 500; i++) {
            long at = System.currentTimeMillis() + 2000 + random.nextInt(5000);
            due.put("m" + i, at);
            sent.put("m" + i, send(producer, timed(Scope.message(topic, "", "m" + i), "TIMER_DELIVER_MS", at)));
        }
        Deliveries deliveries = new Deliveries();
        scope.consumer("g", topic, "*", deliveries.concurrently((delivery, context) -> ConsumeConcurrentlyStatus.CONSUME_SUCCESS)).start();
        deliveries.await(500, 60);
        Check.equal("each once", due.keySet(), new HashSet<>(deliveries.bodies()));
        Check.equal("deliveries", 500, deliveries.all().size());
        List<Delivery> stored = deliveries.all();
        stored.sort(Comparator.comparingLong(d -> d.message().getQueueOffset()));
        long latest = 0;
        for (Delivery delivery : stored) {
            long at = due.get(delivery.body());
            timedInTime(delivery.body(), delivery, at, Math.max(at, sent.get(delivery.body()).toMs));
            // Java has one slot for all messages of a second.
            Check.that("in the order of their times", at >= latest - (Scope.OXMQ ? 100 : 1000));
            latest = Math.max(latest, at);
        }
    }

    private static void timerRefused(Scope scope) throws Exception {
        String topic = scope.topic("t", 1);
        DefaultMQProducer producer = scope.producer();
        long limitSec = Long.parseLong(scope.setting("timerMaxDelaySec"));
        String[][] wrong = {{"TIMER_DELAY_SEC", "" + (limitSec + 10)}, {"TIMER_DELAY_MS", "" + (limitSec + 10) * 1000},
            {"TIMER_DELIVER_MS", "" + (System.currentTimeMillis() + (limitSec + 10) * 1000)}, {"TIMER_DELIVER_MS", "soon"},
            {"TIMER_DELAY_SEC", "1.5"}, {"TIMER_DELAY_MS", "99999999999999999999"}};
        for (String[] each : wrong) {
            Message message = Scope.message(topic, "", "m");
            MessageAccessor.putProperty(message, each[0], each[1]);
            try {
                producer.send(message);
                throw new AssertionError(each[0] + "=" + each[1] + " is accepted");
            } catch (MQBrokerException e) {
                Check.equal(each[0] + "=" + each[1] + ", code (" + e.getErrorMessage() + ")", 13, e.getResponseCode());
                Check.that("remark: " + e.getErrorMessage(), e.getErrorMessage().startsWith("timer message illegal, the delay time should not be bigger than the max delay " + limitSec * 1000 + "ms"));
            }
        }
        Check.equal("nothing is stored", 0L, scope.end(topic, 1));
        Check.equal("still serves", 0L, producer.send(Scope.message(topic, "", "m")).getQueueOffset());
    }

    private static Method recall() {
        return Arrays.stream(DefaultMQProducer.class.getMethods()).filter(m -> m.getName().equals("recallMessage")).findFirst().orElse(null);
    }

    private static void refusedRecall(DefaultMQProducer producer, String topic, String handle, String what, int code) throws Exception {
        try {
            recall().invoke(producer, topic, handle);
        } catch (InvocationTargetException e) {
            int found = e.getCause() instanceof MQBrokerException ? ((MQBrokerException) e.getCause()).getResponseCode()
                : ((MQClientException) e.getCause()).getResponseCode();
            Check.equal("code for " + what + " (" + e.getCause().getMessage() + ")", code, found);
            return;
        }
        throw new AssertionError(what + " is recalled");
    }

    /** A recalled message never comes, its neighbours of the same time do. */
    private static void timerRecall(Scope scope) throws Exception {
        String topic = scope.topic("t", 1);
        String other = scope.topic("other", 1);
        Deliveries deliveries = new Deliveries();
        scope.consumer("g", topic, "*", deliveries.concurrently((delivery, context) -> ConsumeConcurrentlyStatus.CONSUME_SUCCESS)).start();
        DefaultMQProducer producer = scope.producer();
        Method handle = SendResult.class.getMethod("getRecallHandle");
        long due = System.currentTimeMillis() + 10_000;
        List<SendResult> results = new ArrayList<>();
        for (int i = 0; i < 4; i++) {
            results.add(producer.send(timed(Scope.message(topic, "", "m" + i), "TIMER_DELIVER_MS", due)));
        }
        String first = (String) handle.invoke(results.get(1));
        Check.that("a handle", first != null && !first.isEmpty());
        Check.equal("an ordinary message has none", null, handle.invoke(producer.send(Scope.message(other, "", "m"))));
        Check.equal("recalled id", results.get(1).getMsgId(), recall().invoke(producer, topic, first));
        Check.equal("recalled again", results.get(1).getMsgId(), recall().invoke(producer, topic, first));
        Check.equal("recalled id", results.get(2).getMsgId(), recall().invoke(producer, topic, handle.invoke(results.get(2))));
        // The client looks into the handle itself, so this takes a request of our own.
        RemotingCommand garbage = scope.call(RECALL_MESSAGE, Scope.fields("producerGroup", scope.name("p"), "topic", topic, "recallHandle", "garbage"), null);
        Check.equal("code for a handle that is none (" + garbage.getRemark() + ")", 604, garbage.getCode());
        RemotingCommand absent = scope.call(RECALL_MESSAGE, Scope.fields("producerGroup", scope.name("p"), "topic", scope.name("absent"), "recallHandle", first), null);
        Check.equal("code for an absent topic (" + absent.getRemark() + ")", 17, absent.getCode());
        refusedRecall(producer, other, first, "a handle of another topic", 604);
        deliveries.await(2, 45);
        // The last of a later time: when it is there, the recalled ones would have come.
        producer.send(timed(Scope.message(topic, "", "last"), "TIMER_DELAY_SEC", 3));
        deliveries.await(3, 45);
        Check.equal("deliveries", List.of("last", "m0", "m3"), deliveries.bodies().stream().sorted().collect(Collectors.toList()));
        refusedRecall(producer, topic, (String) handle.invoke(results.get(3)), "a message that has been delivered", 604);
        Check.equal("messages in the topic", 3L, scope.end(topic, 1));
    }
}
