// SPDX-License-Identifier: Apache-2.0
package compat;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Function;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyContext;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.common.message.MessageExt;

/** Takes and keeps every message that one or more push consumers get. */
final class Received implements MessageListenerConcurrently {
    private final List<MessageExt> messages = new ArrayList<>();
    private volatile long lastNanos;

    @Override
    public ConsumeConcurrentlyStatus consumeMessage(List<MessageExt> batch, ConsumeConcurrentlyContext context) {
        lastNanos = System.nanoTime();
        synchronized (messages) {
            messages.addAll(batch);
        }
        return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
    }

    List<MessageExt> all() {
        synchronized (messages) {
            return new ArrayList<>(messages);
        }
    }

    int count() {
        synchronized (messages) {
            return messages.size();
        }
    }

    /** When the last batch came, on the clock of {@link System#nanoTime()}. */
    long lastNanos() {
        return lastNanos;
    }

    void await(int count, double seconds) throws Exception {
        try {
            Check.within(seconds, count + " messages", () -> count() >= count);
        } catch (AssertionError e) {
            throw new AssertionError(e.getMessage() + ", only " + count());
        }
    }

    /** How often each value of {@code key} came. */
    static <K> Map<K, Integer> times(List<MessageExt> messages, Function<MessageExt, K> key) {
        Map<K, Integer> times = new HashMap<>();
        messages.forEach(message -> times.merge(key.apply(message), 1, Integer::sum));
        return times;
    }

    static List<String> bodies(List<MessageExt> messages) {
        return messages.stream().map(Received::body).sorted().collect(Collectors.toList());
    }

    static String body(MessageExt message) {
        return new String(message.getBody(), StandardCharsets.UTF_8);
    }

    /** The messages by queue, in the order of their queue offsets. */
    static Map<Integer, List<MessageExt>> byQueue(List<MessageExt> messages) {
        Map<Integer, List<MessageExt>> queues = new TreeMap<>();
        messages.stream().sorted((a, b) -> Long.compare(a.getQueueOffset(), b.getQueueOffset()))
            .forEach(message -> queues.computeIfAbsent(message.getQueueId(), id -> new ArrayList<>()).add(message));
        return queues;
    }
}
