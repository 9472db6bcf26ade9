// SPDX-License-Identifier: Apache-2.0
package compat;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.BiFunction;
import java.util.function.Function;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyContext;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.common.message.MessageExt;

/** Every call of the listeners of one case, in its order, and what they answer. */
final class Deliveries {
    /** One delivery. A client that tries again changes its message object, so what counts is copied. {@code atMs}: the wall clock. */
    record Delivery(String member, MessageExt message, String body, String id, int times, long storedMs, long atMs, Map<String, String> properties) {
        private Delivery(String member, MessageExt message) {
            this(member, message, Received.body(message), message.getMsgId(), message.getReconsumeTimes(), message.getStoreTimestamp(),
                System.currentTimeMillis(), new TreeMap<>(message.getProperties()));
        }
    }

    private final List<Delivery> all = new ArrayList<>();
    private final List<String> clashes = new ArrayList<>();
    private final Map<Integer, String> inside = new ConcurrentHashMap<>();

    private Delivery add(String member, MessageExt message) {
        Delivery delivery = new Delivery(member, message);
        synchronized (all) {
            all.add(delivery);
        }
        return delivery;
    }

    /** For a consumer with the default batch of one message. */
    MessageListenerConcurrently concurrently(BiFunction<Delivery, ConsumeConcurrentlyContext, ConsumeConcurrentlyStatus> answer) {
        return (messages, context) -> answer.apply(add("", messages.get(0)), context);
    }

    /** The same, orderly; takes note when two members work on one queue at a time. */
    MessageListenerOrderly orderly(String member, Function<Delivery, ConsumeOrderlyStatus> answer) {
        return (messages, context) -> {
            int queue = messages.get(0).getQueueId();
            String other = inside.putIfAbsent(queue, member);
            if (other != null) {
                synchronized (all) {
                    clashes.add("queue " + queue + ": " + other + " and " + member);
                }
            }
            try {
                return answer.apply(add(member, messages.get(0)));
            } finally {
                inside.remove(queue, member);
            }
        };
    }

    List<Delivery> all() {
        synchronized (all) {
            return new ArrayList<>(all);
        }
    }

    /** Those of the message with this body. */
    List<Delivery> of(String body) {
        return all().stream().filter(delivery -> delivery.body.equals(body)).collect(Collectors.toList());
    }

    List<String> bodies() {
        return all().stream().map(Delivery::body).collect(Collectors.toList());
    }

    /** The bodies by a part of the body, in the order in which they first came. */
    static Map<String, List<String>> first(List<Delivery> deliveries, Function<Delivery, String> key) {
        Map<String, List<String>> found = new HashMap<>();
        for (Delivery delivery : deliveries) {
            List<String> list = found.computeIfAbsent(key.apply(delivery), k -> new ArrayList<>());
            if (!list.contains(delivery.body)) {
                list.add(delivery.body);
            }
        }
        return found;
    }

    void noClashes() {
        synchronized (all) {
            Check.equal("two members in one queue", List.of(), clashes);
        }
    }

    void await(int count, double seconds) throws Exception {
        try {
            Check.within(seconds, count + " deliveries", () -> all().size() >= count);
        } catch (AssertionError e) {
            throw new AssertionError(e.getMessage() + ", only " + bodies());
        }
    }
}
