// SPDX-License-Identifier: Apache-2.0
package compat;

import compat.Deliveries.Delivery;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;

/** What was not consumed comes again, and ends among the dead letters. */
@SuppressWarnings("deprecation")
final class Retries {
    private static final int CONSUMER_SEND_MSG_BACK = 36;
    /** The first retry has delay level 3. */
    private static final int FIRST_LEVEL = 3;

    private Retries() {
    }

    static void add(Map<String, Main.Case> waiting, Map<String, Main.Case> together) {
        waiting.put("retry.dlq", Retries::deadLetter);
        waiting.put("retry.later", Retries::later);
        waiting.put("retry.exception", Retries::exception);
        waiting.put("retry.ack_index", Retries::ackIndex);
        waiting.put("retry.send_back", Retries::sendBack);
        waiting.put("retry.delay_level", Retries::delayLevel);
        waiting.put("retry.broadcast", Retries::broadcast);
        together.put("retry.raw", Retries::raw);
    }

    /** The sent message, with everything that a retry must not change. */
    private static Message message(String topic, String body) {
        Message message = Scope.message(topic, "标签", body);
        message.setKeys("键 " + body);
        message.putUserProperty("user", "值 " + body);
        message.setFlag(7);
        return message;
    }

    private static void unchanged(SendResult sent, MessageExt found, String topic, String body) {
        Check.equal("message id", sent.getMsgId(), found.getMsgId());
        Check.equal("topic", topic, found.getTopic());
        Check.equal("body", body, Received.body(found));
        Check.equal("keys", "键 " + body, found.getKeys());
        Check.equal("tag", "标签", found.getTags());
        Check.equal("user property", "值 " + body, found.getUserProperty("user"));
        Check.equal("flag", 7, found.getFlag());
    }

    /** The retried message is stored in the retry topic when its time has come, counted from the call of the listener before. */
    private static void stored(Delivery before, Delivery retry, long delay) {
        long took = retry.storedMs() - before.atMs();
        Check.that("stored " + took + " ms after the delivery before, level of " + delay, took >= delay);
        // The listener's answer has to reach the broker, and the machine is busy.
        Check.that("stored " + took + " ms after the delivery before, level of " + delay, took <= delay + Scope.LATENESS_MS_MAX + 1000);
    }

    /** Waits until {@code count} messages are among the group's dead letters, and returns them. */
    static List<MessageExt> deadLetters(Scope scope, String group, int count) throws Exception {
        String topic = "%DLQ%" + scope.name(group);
        Check.within(20, "dead letters of " + group, () -> scope.end(topic, 1) >= count);
        DefaultMQPullConsumer looker = scope.puller("mourner");
        List<MessageExt> found = new ArrayList<>();
        Check.within(10, "route of the dead letters", () -> {
            try {
                found.clear();
                for (MessageQueue queue : looker.fetchSubscribeMessageQueues(topic)) {
                    found.addAll(Scope.contents(looker, queue));
                }
                return found.size() >= count;
            } catch (org.apache.rocketmq.client.exception.MQClientException e) {
                return false;
            }
        });
        Check.equal("dead letters", count, found.size());
        return found;
    }

    /** RECONSUME_LATER twice: three deliveries of one message id, counted, after the first two steps of the delay levels. */
    private static void later(Scope scope) throws Exception {
        String topic = scope.topic("t", 2);
        long[] delays = scope.delays();
        Deliveries deliveries = new Deliveries();
        scope.consumer("g", topic, "标签", deliveries.concurrently((delivery, context) ->
            delivery.body().equals("bad") && delivery.times() < 2 ? ConsumeConcurrentlyStatus.RECONSUME_LATER : ConsumeConcurrentlyStatus.CONSUME_SUCCESS)).start();
        DefaultMQProducer producer = scope.producer();
        SendResult bad = producer.send(message(topic, "bad"));
        producer.send(message(topic, "good"));
        deliveries.await(4, (delays[2] + delays[3]) / 1000.0 + 60);
        List<Delivery> again = deliveries.of("bad");
        Check.equal("deliveries", 3, again.size());
        Check.equal("deliveries of the other", 1, deliveries.of("good").size());
        Set<String> offsetIds = new HashSet<>();
        for (int i = 0; i < 3; i++) {
            Delivery delivery = again.get(i);
            Check.equal("times", i, delivery.times());
            unchanged(bad, delivery.message(), topic, "bad");
            offsetIds.add(delivery.message().getCommitLogOffset() + "");
            if (i > 0) {
                stored(again.get(i - 1), delivery, delays[FIRST_LEVEL - 1 + i - 1]);
                Check.equal("ORIGIN_MESSAGE_ID", bad.getOffsetMsgId(), delivery.properties().get("ORIGIN_MESSAGE_ID"));
                Check.equal("REAL_TOPIC", "%RETRY%" + scope.name("g"), delivery.properties().get("REAL_TOPIC"));
                Check.equal("added properties", new TreeSet<>(Set.of("DELAY", "ORIGIN_MESSAGE_ID", "RETRY_TOPIC", "REAL_TOPIC", "REAL_QID")), added(again.get(0), delivery));
            }
        }
        Check.equal("three records", 3, offsetIds.size());
        Check.equal("messages in the retry topic", 2L, scope.end("%RETRY%" + scope.name("g"), 1));
        Check.within(15, "the retry is committed", () -> scope.committed("g", "%RETRY%" + scope.name("g"), 1) == 2);
    }

    /** Properties that the first delivery did not have. */
    private static Set<String> added(Delivery first, Delivery later) {
        Set<String> added = new TreeSet<>(later.properties().keySet());
        added.removeAll(first.properties().keySet());
        return added;
    }

    /** maxReconsumeTimes 1: two deliveries, then the dead letter, which a consumer can read. */
    private static void deadLetter(Scope scope) throws Exception {
        String topic = scope.topic("t", 1);
        long[] delays = scope.delays();
        Deliveries deliveries = new Deliveries();
        DefaultMQPushConsumer consumer = scope.consumer("g", topic, "*", deliveries.concurrently((delivery, context) -> ConsumeConcurrentlyStatus.RECONSUME_LATER));
        consumer.setMaxReconsumeTimes(1);
        consumer.start();
        SendResult sent = scope.producer().send(message(topic, "bad"));
        deliveries.await(2, delays[2] / 1000.0 + 60);
        MessageExt dead = deadLetters(scope, "g", 1).get(0);
        unchanged(sent, dead, "%DLQ%" + scope.name("g"), "bad");
        Check.equal("times", 2, dead.getReconsumeTimes());
        Check.equal("RETRY_TOPIC", topic, dead.getProperty("RETRY_TOPIC"));
        Check.equal("ORIGIN_MESSAGE_ID", sent.getOffsetMsgId(), dead.getProperty("ORIGIN_MESSAGE_ID"));
        Check.equal("DELAY", "0", dead.getProperty("DELAY"));
        Check.equal("deliveries", List.of(0, 1), deliveries.all().stream().map(Delivery::times).collect(Collectors.toList()));
        Deliveries undertaker = new Deliveries();
        scope.consumer("undertaker", "%DLQ%" + scope.name("g"), "*", undertaker.concurrently((delivery, context) -> ConsumeConcurrentlyStatus.CONSUME_SUCCESS)).start();
        undertaker.await(1, 45);
        // The client shows the topic that a message came from.
        unchanged(sent, undertaker.all().get(0).message(), undertaker.all().get(0).message().getTopic(), "bad");
        Check.equal("deliveries", 2, deliveries.all().size());
    }

    /** A listener that throws, or answers null, has not consumed. */
    private static void exception(Scope scope) throws Exception {
        String topic = scope.topic("t", 1);
        long[] delays = scope.delays();
        Deliveries deliveries = new Deliveries();
        scope.consumer("g", topic, "*", deliveries.concurrently((delivery, context) -> {
            if (delivery.times() == 0 && delivery.body().equals("throws")) {
                throw new IllegalStateException("on purpose");
            }
            return delivery.times() == 0 ? null : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        })).start();
        DefaultMQProducer producer = scope.producer();
        Map<String, SendResult> sent = Map.of("throws", producer.send(message(topic, "throws")), "null", producer.send(message(topic, "null")));
        deliveries.await(4, delays[2] / 1000.0 + 60);
        for (String body : sent.keySet()) {
            List<Delivery> both = deliveries.of(body);
            Check.equal("times", List.of(0, 1), both.stream().map(Delivery::times).collect(Collectors.toList()));
            unchanged(sent.get(body), both.get(1).message(), topic, body);
            stored(both.get(0), both.get(1), delays[2]);
        }
    }

    /** Of a batch, what is behind the index that the listener names comes again, and nothing else. */
    private static void ackIndex(Scope scope) throws Exception {
        String topic = scope.topic("t", 1);
        long[] delays = scope.delays();
        List<Message> batch = new ArrayList<>();
        for (int i = 0; i < 8; i++) {
            batch.add(Scope.message(topic, "", "m" + i));
        }
        scope.producer().send(batch);
        List<List<String>> calls = java.util.Collections.synchronizedList(new ArrayList<>());
        DefaultMQPushConsumer consumer = scope.consumer("g", topic, "*", (messages, context) -> {
            calls.add(messages.stream().map(m -> Received.body(m) + "/" + m.getReconsumeTimes()).collect(Collectors.toList()));
            if (messages.get(0).getReconsumeTimes() == 0) {
                context.setAckIndex(4);
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.setConsumeMessageBatchMaxSize(8);
        consumer.start();
        Check.within(delays[2] / 1000.0 + 60, "11 deliveries", () -> calls.stream().mapToInt(List::size).sum() >= 11);
        Check.equal("the batch", List.of("m0/0", "m1/0", "m2/0", "m3/0", "m4/0", "m5/0", "m6/0", "m7/0"), calls.get(0));
        // Sent back, and not again by the client itself.
        Check.equal("messages in the retry topic", 3L, scope.end("%RETRY%" + scope.name("g"), 1));
        Check.equal("again", List.of("m5/1", "m6/1", "m7/1"), calls.stream().skip(1).flatMap(List::stream).sorted().collect(Collectors.toList()));
    }

    /** The listener chooses: level 1 for the next time, or none at all, which is the dead letter at once. */
    private static void delayLevel(Scope scope) throws Exception {
        String topic = scope.topic("t", 1);
        long[] delays = scope.delays();
        Deliveries deliveries = new Deliveries();
        scope.consumer("g", topic, "*", deliveries.concurrently((delivery, context) -> {
            if (delivery.times() == 2) {
                return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            }
            context.setDelayLevelWhenNextConsume(delivery.body().equals("dead") ? -1 : delivery.times() + 1);
            return ConsumeConcurrentlyStatus.RECONSUME_LATER;
        })).start();
        DefaultMQProducer producer = scope.producer();
        SendResult dead = producer.send(message(topic, "dead"));
        SendResult soon = producer.send(message(topic, "soon"));
        deliveries.await(4, 75);
        List<Delivery> again = deliveries.of("soon");
        Check.equal("times", List.of(0, 1, 2), again.stream().map(Delivery::times).collect(Collectors.toList()));
        stored(again.get(0), again.get(1), delays[0]);
        stored(again.get(1), again.get(2), delays[1]);
        unchanged(soon, again.get(2).message(), topic, "soon");
        unchanged(dead, deadLetters(scope, "g", 1).get(0), "%DLQ%" + scope.name("g"), "dead");
        Check.equal("deliveries of the dead one", 1, deliveries.of("dead").size());
    }

    /** A pull consumer sends back itself, with the level it wants; push consumers of its group get it. */
    private static void sendBack(Scope scope) throws Exception {
        String topic = scope.topic("t", 1);
        long[] delays = scope.delays();
        SendResult sent = scope.producer().send(message(topic, "bad"));
        DefaultMQPullConsumer puller = scope.puller("g");
        puller.registerMessageQueueListener(topic, null); // A heartbeat names the group only with a topic.
        MessageQueue queue = puller.fetchSubscribeMessageQueues(topic).iterator().next();
        List<MessageExt> found = Scope.contents(puller, queue);
        Check.equal("messages", 1, found.size());
        long before = System.currentTimeMillis();
        puller.sendMessageBack(found.get(0), 2);
        String retry = "%RETRY%" + scope.name("g");
        Check.within(delays[1] / 1000.0 + 20, "the message in the retry topic", () -> scope.end(retry, 1) == 1);
        MessageExt again = Scope.contents(puller, new MessageQueue(retry, queue.getBrokerName(), 0)).get(0);
        unchanged(sent, again, retry, "bad");
        Check.equal("times", 1, again.getReconsumeTimes());
        long took = again.getStoreTimestamp() - before;
        Check.that("stored after " + took + " ms", took >= delays[1] && took <= delays[1] + Scope.LATENESS_MS_MAX + 1000);
        puller.shutdown(); // It would take its share of the queues, also of the retry topic.
        Deliveries deliveries = new Deliveries();
        scope.consumer("g", topic, "*", deliveries.concurrently((delivery, context) -> ConsumeConcurrentlyStatus.CONSUME_SUCCESS)).start();
        Check.within(45, "the retry at a push consumer", () -> deliveries.all().stream().anyMatch(d -> d.times() == 1));
    }

    /** Broadcasting knows no retry: what a member does not consume is dropped. */
    private static void broadcast(Scope scope) throws Exception {
        String topic = scope.topic("t", 1);
        long[] delays = scope.delays();
        Deliveries deliveries = new Deliveries();
        DefaultMQPushConsumer consumer = scope.consumer("g", topic, "*", deliveries.concurrently((delivery, context) -> ConsumeConcurrentlyStatus.RECONSUME_LATER));
        Scope.broadcast(consumer);
        consumer.start();
        DefaultMQProducer producer = scope.producer();
        producer.send(message(topic, "m0"));
        producer.send(message(topic, "m1"));
        deliveries.await(2, 45);
        Thread.sleep(delays[2] + 2000); // A retry would come now: that it does not is what is looked for.
        Check.equal("deliveries", List.of("m0", "m1"), deliveries.bodies().stream().sorted().collect(Collectors.toList()));
        Check.equal("retry topic", 0L, scope.end("%RETRY%" + scope.name("g"), 1));
        Check.equal("dead letters", 0L, scope.end("%DLQ%" + scope.name("g"), 1));
    }

    private static Map<String, String> back(Scope scope, long offset, Object... changes) {
        Map<String, String> fields = Scope.fields("group", scope.name("g"), "offset", offset, "delayLevel", 0, "originMsgId", "m", "originTopic", scope.name("t"),
            "unitMode", false, "maxReconsumeTimes", 16);
        fields.putAll(Scope.fields(changes));
        return fields;
    }

    private static void expect(String what, RemotingCommand answer, int code, String remark) {
        Check.equal(what + ", code (" + answer.getRemark() + ")", code, answer.getCode());
        Check.that(what + ", remark: " + answer.getRemark(), remark == null || answer.getRemark() != null && answer.getRemark().startsWith(remark));
    }

    private static void raw(Scope scope) throws Exception {
        String topic = scope.topic("t", 1);
        DefaultMQPullConsumer puller = scope.puller("g");
        scope.producer().send(message(topic, "m"));
        MessageExt found = Scope.contents(puller, puller.fetchSubscribeMessageQueues(topic).iterator().next()).get(0);
        long offset = found.getCommitLogOffset();
        expect("group that is a path", scope.call(CONSUMER_SEND_MSG_BACK, back(scope, offset, "group", "../g"), null), 26, "subscription group not exist, ../g");
        expect("nothing at the offset", scope.call(CONSUMER_SEND_MSG_BACK, back(scope, offset + 1_000_000_000L), null), 1, "look message by offset failed, ");
        expect("inside a message", scope.call(CONSUMER_SEND_MSG_BACK, back(scope, offset + 7), null), 1, null);
        expect("negative offset", scope.call(CONSUMER_SEND_MSG_BACK, back(scope, -1), null), 1, null);
        for (String field : new String[] {"group", "offset", "delayLevel"}) {
            Map<String, String> fields = back(scope, offset);
            fields.remove(field);
            Check.equal("without " + field, 1, scope.call(CONSUMER_SEND_MSG_BACK, fields, null).getCode());
        }
        Check.equal("nothing came of it", 0L, scope.end("%RETRY%" + scope.name("g"), 1) + scope.end("%DLQ%" + scope.name("g"), 1));
        expect("no retry left", scope.call(CONSUMER_SEND_MSG_BACK, back(scope, offset, "maxReconsumeTimes", 0), null), 0, null);
        Check.equal("times of the dead letter", 1, deadLetters(scope, "g", 1).get(0).getReconsumeTimes());
        expect("level beyond the highest", scope.call(CONSUMER_SEND_MSG_BACK, back(scope, offset, "delayLevel", 99), null), 0, null);
        Check.equal("it waits", 0L, scope.end("%RETRY%" + scope.name("g"), 1));
    }
}
