// SPDX-License-Identifier: Apache-2.0
package compat;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;

/**
 * A producer or consumer for the shell suites. The first argument is the name server; then
 * <ul>
 * <li>{@code send TOPIC PREFIX COUNT}: sends bodies PREFIX0, PREFIX1...; prints {@code sent COUNT broker=N broker=N...}
 * <li>{@code stream TOPIC PREFIX FILE}: sends without a pause until a line or the end of standard input; appends each acknowledged body with the
 *     name of its broker to FILE; prints {@code acknowledged COUNT failed COUNT}
 * <li>{@code receive TOPIC GROUP COUNT PREFIX...}: consumes until every PREFIX0 ... PREFIX(COUNT-1) is there; prints {@code received ALL different DIFFERENT}
 * <li>{@code collect TOPIC GROUP FILE}: consumes until a line or the end of standard input; appends each body to FILE
 * <li>{@code hold TOPIC GROUP COUNT}: consumes COUNT messages of more, then stays in the next one; prints {@code holding}; ends as these
 * </ul>
 * Fails with exit code 1 when a bounded wait is over.
 */
public final class Load {
    private static final int SECONDS_MAX = 90;

    private Load() {
    }

    public static void main(String[] args) throws Exception {
        try {
            switch (args[1]) {
                case "send":
                    send(args[0], args[2], args[3], Integer.parseInt(args[4]));
                    break;
                case "stream":
                    stream(args[0], args[2], args[3], Paths.get(args[4]));
                    break;
                case "receive":
                    receive(args[0], args[2], args[3], Integer.parseInt(args[4]), Arrays.asList(args).subList(5, args.length));
                    break;
                case "collect":
                    collect(args[0], args[2], args[3], Paths.get(args[4]));
                    break;
                case "hold":
                    hold(args[0], args[2], args[3], Integer.parseInt(args[4]));
                    break;
                default:
                    throw new IllegalArgumentException(args[1]);
            }
        } catch (Throwable e) {
            e.printStackTrace();
            Runtime.getRuntime().halt(1);
        }
        System.out.flush();
        Runtime.getRuntime().halt(0);
    }

    static DefaultMQProducer producer(String namesrv) throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer("compat_load");
        producer.setNamesrvAddr(namesrv);
        producer.setSendMsgTimeout(3000);
        producer.setRetryTimesWhenSendFailed(2);
        producer.setPollNameServerInterval(1000);
        producer.start();
        return producer;
    }

    private static Message message(String topic, String body) {
        return new Message(topic, "", body, body.getBytes(StandardCharsets.UTF_8));
    }

    private static void send(String namesrv, String topic, String prefix, int count) throws Exception {
        DefaultMQProducer producer = producer(namesrv);
        Map<String, Integer> brokers = new TreeMap<>();
        for (int i = 0; i < count; i++) {
            SendResult result = producer.send(message(topic, prefix + i));
            Check.equal("status", SendStatus.SEND_OK, result.getSendStatus());
            brokers.merge(result.getMessageQueue().getBrokerName(), 1, Integer::sum);
        }
        producer.shutdown();
        System.out.println("sent " + count + " " + brokers.entrySet().stream().map(Object::toString).collect(Collectors.joining(" ")));
    }

    private static void stream(String namesrv, String topic, String prefix, Path file) throws Exception {
        DefaultMQProducer producer = producer(namesrv);
        Thread input = inputEnd();
        int acknowledged = 0;
        int failed = 0;
        while (input.isAlive()) {
            String body = prefix + (acknowledged + failed);
            try {
                SendResult result = producer.send(message(topic, body));
                Check.equal("status", SendStatus.SEND_OK, result.getSendStatus());
                append(file, body + " " + result.getMessageQueue().getBrokerName() + " " + result.getMessageQueue().getQueueId() + " " + result.getQueueOffset() + "\n");
                acknowledged++;
                Thread.sleep(1); // A steady stream, that leaves the machine to the server.
            } catch (Exception e) {
                failed++;
                Thread.sleep(50);
            }
        }
        producer.shutdown();
        System.out.println("acknowledged " + acknowledged + " failed " + failed);
    }

    static void append(Path file, String text) throws IOException {
        Files.write(file, text.getBytes(StandardCharsets.UTF_8), StandardOpenOption.CREATE, StandardOpenOption.APPEND);
    }

    private static Thread inputEnd() {
        Thread thread = new Thread(() -> {
            try (BufferedReader reader = new BufferedReader(new InputStreamReader(System.in))) {
                reader.readLine();
            } catch (IOException e) {
                return;
            }
        });
        thread.setDaemon(true);
        thread.start();
        return thread;
    }

    static DefaultMQPushConsumer consumer(String namesrv, String topic, String group, MessageListenerConcurrently listener) throws Exception {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(group);
        consumer.setNamesrvAddr(namesrv);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setPollNameServerInterval(1000);
        consumer.setPersistConsumerOffsetInterval(1000);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener(listener);
        return consumer;
    }

    private static void receive(String namesrv, String topic, String group, int count, List<String> prefixes) throws Exception {
        Map<String, Integer> expected = new HashMap<>();
        for (String prefix : prefixes) {
            for (int i = 0; i < count; i++) {
                expected.put(prefix + i, 0);
            }
        }
        Received received = new Received();
        DefaultMQPushConsumer consumer = consumer(namesrv, topic, group, received);
        consumer.start();
        try {
            Check.within(SECONDS_MAX, "all messages", () -> new TreeSet<>(Received.bodies(received.all())).containsAll(expected.keySet()));
        } catch (AssertionError e) {
            TreeSet<String> missing = new TreeSet<>(expected.keySet());
            missing.removeAll(Received.bodies(received.all()));
            throw new AssertionError("missing " + missing.size() + ": " + new ArrayList<>(missing).subList(0, Math.min(20, missing.size())));
        }
        consumer.shutdown();
        System.out.println("received " + received.count() + " different " + new TreeSet<>(Received.bodies(received.all())).size());
    }

    private static void collect(String namesrv, String topic, String group, Path file) throws Exception {
        DefaultMQPushConsumer consumer = consumer(namesrv, topic, group, (batch, context) -> {
            try {
                StringBuilder lines = new StringBuilder();
                batch.forEach(message -> lines.append(Received.body(message)).append('\n'));
                synchronized (Load.class) {
                    append(file, lines.toString());
                }
                return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            } catch (IOException e) {
                return ConsumeConcurrentlyStatus.RECONSUME_LATER;
            }
        });
        consumer.start();
        inputEnd().join();
        consumer.shutdown();
    }

    /** One thread takes one message at a time and never returns from the one after COUNT: the group has committed exactly COUNT. */
    private static void hold(String namesrv, String topic, String group, int count) throws Exception {
        Thread input = inputEnd();
        AtomicInteger taken = new AtomicInteger();
        DefaultMQPushConsumer consumer = consumer(namesrv, topic, group, (batch, context) -> {
            if (taken.incrementAndGet() > count) {
                System.out.println("holding");
                System.out.flush();
                try {
                    input.join();
                    Thread.currentThread().join();
                } catch (InterruptedException e) {
                    return ConsumeConcurrentlyStatus.RECONSUME_LATER;
                }
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.setConsumeThreadMin(1);
        consumer.setConsumeThreadMax(1);
        consumer.start();
        input.join();
    }
}
