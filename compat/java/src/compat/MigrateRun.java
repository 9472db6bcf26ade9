// SPDX-License-Identifier: Apache-2.0
package compat;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.function.Function;
import java.util.function.Predicate;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.store.OffsetStore;
import org.apache.rocketmq.client.consumer.store.ReadOffsetType;
import org.apache.rocketmq.client.consumer.store.RemoteBrokerOffsetStore;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageAccessor;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/**
 * Clients of a broker that is replaced by one of another kind on the same folder.
 *
 * <ul>
 * <li>{@code write NAMESRV PREFIX STATE TIMED}: has the broker hold something of every kind, all bodies beginning with PREFIX, and notes in STATE what has to come
 *     of it. TIMED: {@code true} if messages of any time are among it.
 * <li>{@code goon NAMESRV PREFIX STATE BOOTED EXACT}: goes on where {@code write} ended, at a broker that booted at BOOTED (ms). EXACT: {@code true} if the last one was stopped
 *     in order, so that nothing comes twice.
 * </ul>
 *
 * <p>Topics: {@code all} is consumed by {@code reader} to its end and by {@code half} to the middle; {@code retries} by {@code again}, in vain at first; {@code dead} by
 * {@code never}, whose messages become dead letters; {@code later} by {@code waiter}; {@code deals} by {@code dealer}.
 */
public final class MigrateRun {
    /** Level 4 of the suite, in ms. */
    private static final long LEVEL_MS = 20_000;
    private static final int LEVEL = 4;
    private static final int PLAIN = 40;
    private static final int DEALS = 6;
    private static final int RETRIES = 3;
    private static final int WAIT_SECONDS = 90;
    /** Java delivers timed messages up to 1 s early. */
    private static final long EARLY_MS = 1_000;
    private static final long LATE_MS = 10_000;

    private final String namesrv;
    private final String prefix;
    private final Path state;
    private final DefaultMQPullConsumer looker;

    private MigrateRun(String namesrv, String prefix, Path state) throws Exception {
        this.namesrv = namesrv;
        this.prefix = prefix;
        this.state = state;
        looker = new DefaultMQPullConsumer("looker");
        looker.setNamesrvAddr(namesrv);
        looker.start();
    }

    public static void main(String[] args) throws Exception {
        try {
            MigrateRun run = new MigrateRun(args[1], args[2], Paths.get(args[3]));
            if (args[0].equals("write")) {
                run.write(Boolean.parseBoolean(args[4]));
            } else {
                run.goOn(Long.parseLong(args[4]), Boolean.parseBoolean(args[5]));
            }
        } catch (Throwable e) {
            e.printStackTrace();
            Runtime.getRuntime().halt(1);
        }
        // Not an orderly end of the producers: transactions stay open.
        Runtime.getRuntime().halt(0);
    }

    // Writing

    private void write(boolean timed) throws Exception {
        DefaultMQProducer producer = Load.producer(namesrv);
        List<String> all = sendToAll(producer);
        consumeToTheEnd("all", "reader", body -> body.startsWith(prefix), all.size());
        halfWay();

        for (int i = 0; i < 2; i++) {
            sent(producer.send(message("dead", "dead-" + i)));
        }
        Received dead = new Received();
        consume("dead", "never", (batch, context) -> {
            context.setDelayLevelWhenNextConsume(-1);
            dead.consumeMessage(batch, context);
            return ConsumeConcurrentlyStatus.RECONSUME_LATER;
        }, () -> dead.count() == 2);
        note("dead " + looker.maxOffset(deadLetters()));

        for (int i = 0; i < RETRIES; i++) {
            sent(producer.send(message("retries", "retry-" + i)));
            note("expect again " + prefix + "retry-" + i);
        }
        Received retried = new Received();
        consume("retries", "again", (batch, context) -> {
            retried.consumeMessage(batch, context);
            return ConsumeConcurrentlyStatus.RECONSUME_LATER;
        }, () -> retried.count() >= RETRIES);

        transactions();
        sendLater(producer, timed);
        for (String group : Arrays.asList("reader", "half")) {
            positions("all", group).forEach((queue, at) -> note("position " + group + " " + queue + " " + at));
        }
        System.out.println("wrote " + all.size() + " messages and more");
    }

    private List<String> sendToAll(DefaultMQProducer producer) throws Exception {
        List<Message> messages = new ArrayList<>();
        for (int i = 0; i < PLAIN; i++) {
            Message message = message("all", "plain-" + i);
            message.setTags(i % 2 == 0 ? "A" : "标签");
            message.setKeys(Arrays.asList(prefix + "key-" + i, prefix + "common"));
            message.putUserProperty("number", String.valueOf(i));
            messages.add(message);
        }
        for (int i = 0; i < 3; i++) {
            // Beyond 4 KiB clients compress.
            messages.add(message("all", "long-" + i + new String(new char[20_000]).replace('\0', 'x')));
        }
        for (Message message : messages) {
            SendResult result = sent(producer.send(message));
            if ((prefix + "plain-7").equals(new String(message.getBody(), StandardCharsets.UTF_8))) {
                note("key " + prefix + "key-7");
                note("unique " + result.getMsgId());
                note("id " + result.getOffsetMsgId());
            }
        }
        List<Message> batch = new ArrayList<>();
        for (int i = 0; i < 10; i++) {
            batch.add(message("all", "batch-" + i));
        }
        sent(producer.send(batch));
        messages.addAll(batch);
        return messages.stream().map(message -> new String(message.getBody(), StandardCharsets.UTF_8)).collect(Collectors.toList());
    }

    /** Has {@code half} go on in the middle of what it has not consumed, in each queue, and notes what is left to it. */
    private void halfWay() throws Exception {
        for (MessageQueue queue : looker.fetchSubscribeMessageQueues("all")) {
            long next = Math.max(0, committed("half", queue));
            long end = looker.maxOffset(queue);
            long middle = next + (end - next) / 2;
            offsets("half").updateConsumeOffsetToBroker(queue, middle, false);
            for (long at = middle; at < end;) {
                PullResult pulled = looker.pull(queue, "*", at, 32);
                for (MessageExt message : pulled.getMsgFoundList()) {
                    note("expect half " + Received.body(message));
                }
                at = pulled.getNextBeginOffset();
            }
        }
    }

    private void transactions() throws Exception {
        TransactionMQProducer producer = transactionProducer(message -> LocalTransactionState.UNKNOW);
        for (int i = 0; i < DEALS; i++) {
            sent(producer.sendMessageInTransaction(message("deals", "deal-" + i), i));
        }
        // The first two have ended; of the others the next producer commits the even ones.
        consumeToTheEnd("deals", "dealer", body -> body.equals(prefix + "deal-0"), 1);
        note("expect dealer " + prefix + "deal-2");
        note("expect dealer " + prefix + "deal-4");
    }

    private void sendLater(DefaultMQProducer producer, boolean timed) throws Exception {
        Message soon = message("later", "soon");
        soon.setDelayTimeLevel(1);
        sent(producer.send(soon));
        consumeToTheEnd("later", "waiter", body -> body.equals(prefix + "soon"), 1);
        for (int i = 0; i < 3; i++) {
            Message message = message("later", "level-" + i);
            message.setDelayTimeLevel(LEVEL);
            sendDue(producer, message, System.currentTimeMillis() + LEVEL_MS);
        }
        for (int i = 0; timed && i < 3; i++) {
            long due = System.currentTimeMillis() + LEVEL_MS - i * 1_500;
            Message message = message("later", "timed-" + i);
            MessageAccessor.putProperty(message, "TIMER_DELIVER_MS", String.valueOf(due));
            sendDue(producer, message, due);
        }
    }

    private void sendDue(DefaultMQProducer producer, Message message, long due) throws Exception {
        String body = new String(message.getBody(), StandardCharsets.UTF_8);
        sent(producer.send(message));
        note("expect waiter " + body);
        note("due " + body + " " + due);
    }

    // Going on

    private void goOn(long booted, boolean exact) throws Exception {
        Map<String, List<String>> expected = new TreeMap<>();
        for (String group : Arrays.asList("reader", "half", "again", "waiter", "dealer")) {
            expected.put(group, noted("expect " + group + " ").collect(Collectors.toList()));
        }
        Map<String, Long> due = noted("due ").collect(Collectors.toMap(line -> line.split(" ")[0], line -> Long.valueOf(line.split(" ")[1])));
        checkPositions(exact);

        Map<String, Received> received = new TreeMap<>();
        Map<String, DefaultMQPushConsumer> consumers = new TreeMap<>();
        Map<String, String> topics = new TreeMap<>();
        topics.put("reader", "all");
        topics.put("half", "all");
        topics.put("again", "retries");
        topics.put("waiter", "later");
        topics.put("dealer", "deals");
        for (Map.Entry<String, String> topic : topics.entrySet()) {
            received.put(topic.getKey(), new Received());
            DefaultMQPushConsumer consumer = Load.consumer(namesrv, topic.getValue(), topic.getKey(), received.get(topic.getKey()));
            consumer.setInstanceName(topic.getKey());
            consumer.start();
            consumers.put(topic.getKey(), consumer);
        }
        TransactionMQProducer dealing = transactionProducer(message -> {
            int number = Integer.parseInt(Received.body(message).replaceAll(".*deal-", ""));
            return number % 2 == 0 ? LocalTransactionState.COMMIT_MESSAGE : LocalTransactionState.ROLLBACK_MESSAGE;
        });
        // The broker asks only producers that it knows.
        sent(dealing.send(message("known", "hello")));
        for (String group : topics.keySet()) {
            Set<String> wanted = new HashSet<>(expected.get(group));
            try {
                Check.within(WAIT_SECONDS, "all of " + group, () -> Received.bodies(received.get(group).all()).containsAll(wanted));
            } catch (AssertionError e) {
                wanted.removeAll(Received.bodies(received.get(group).all()));
                throw new AssertionError(group + " misses " + wanted);
            }
        }
        for (String group : topics.keySet()) {
            // Everything that there is has been consumed, so nothing more can come.
            Check.within(WAIT_SECONDS, group + " at the end", () -> atTheEnd(topics.get(group), group));
            consumers.get(group).shutdown();
            List<String> bodies = Received.bodies(received.get(group).all());
            if (exact) {
                Check.equal("messages of " + group, expected.get(group).stream().sorted().collect(Collectors.toList()), bodies);
            } else {
                System.out.println(group + ": " + (bodies.size() - expected.get(group).size()) + " came again");
            }
        }
        for (MessageExt message : received.get("again").all()) {
            Check.that("reconsumed once: " + message, !exact || message.getReconsumeTimes() == 1);
        }
        for (MessageExt message : received.get("waiter").all()) {
            Long at = due.get(Received.body(message));
            if (at != null) {
                long stored = message.getStoreTimestamp();
                Check.that(Received.body(message) + " is early by " + (at - stored) + " ms", stored >= at - EARLY_MS);
                Check.that(Received.body(message) + " is late by " + (stored - at) + " ms", stored <= Math.max(at, booted) + LATE_MS);
            }
        }
        Check.equal("dead letters", noted("dead ").findFirst().get(), String.valueOf(looker.maxOffset(deadLetters())));
        find(dealing);
        System.out.println("went on");
    }

    /** What {@code write} noted is found by key, by unique key and by message id. */
    private void find(TransactionMQProducer asker) throws Exception {
        String key = noted("key ").findFirst().get();
        String unique = noted("unique ").findFirst().get();
        String id = noted("id ").findFirst().get();
        for (String each : Arrays.asList(key, unique, id)) {
            MessageExt found = each.equals(key)
                ? asker.queryMessage("all", key, 32, 0, System.currentTimeMillis() + EARLY_MS).getMessageList().get(0)
                : asker.viewMessage("all", each);
            Check.equal("message " + each, prefix + "plain-7", Received.body(found));
        }
        int common = asker.queryMessage("all", prefix + "common", 64, 0, System.currentTimeMillis() + EARLY_MS).getMessageList().size();
        // Java's index may have a message twice after it was killed.
        Check.that(common + " messages with the common key", common >= PLAIN);
    }

    private void checkPositions(boolean exact) throws Exception {
        for (String group : Arrays.asList("reader", "half")) {
            Map<Integer, Long> before = new TreeMap<>();
            noted("position " + group + " ").forEach(line -> before.put(Integer.valueOf(line.split(" ")[0]), Long.valueOf(line.split(" ")[1])));
            Map<Integer, Long> now = positions("all", group);
            if (exact) {
                Check.equal("positions of " + group, before, now);
            }
            // They are written every few seconds.
            now.forEach((queue, at) -> Check.that(group + " skips messages of queue " + queue, at <= before.get(queue)));
        }
    }

    // Both

    private Message message(String topic, String body) {
        return new Message(topic, (prefix + body).getBytes(StandardCharsets.UTF_8));
    }

    private static SendResult sent(SendResult result) {
        Check.equal("status", SendStatus.SEND_OK, result.getSendStatus());
        return result;
    }

    private TransactionMQProducer transactionProducer(Function<MessageExt, LocalTransactionState> answer) throws Exception {
        TransactionMQProducer producer = new TransactionMQProducer("deal_producer");
        producer.setNamesrvAddr(namesrv);
        producer.setPollNameServerInterval(1000);
        producer.setHeartbeatBrokerInterval(1000);
        producer.setRetryTimesWhenSendFailed(0);
        producer.setTransactionListener(new TransactionListener() {
            @Override
            public LocalTransactionState executeLocalTransaction(Message message, Object number) {
                int outcome = (Integer) number;
                return outcome == 0 ? LocalTransactionState.COMMIT_MESSAGE : outcome == 1 ? LocalTransactionState.ROLLBACK_MESSAGE : LocalTransactionState.UNKNOW;
            }

            @Override
            public LocalTransactionState checkLocalTransaction(MessageExt message) {
                return answer.apply(message);
            }
        });
        producer.start();
        return producer;
    }

    private void consumeToTheEnd(String topic, String group, Predicate<String> wanted, int count) throws Exception {
        Received received = new Received();
        consume(topic, group, received, () -> received.all().stream().map(Received::body).filter(wanted).count() >= count);
    }

    /** Consumes until {@code done} and until the group has committed all that the topic has. */
    private void consume(String topic, String group, MessageListenerConcurrently listener, Callable<Boolean> done) throws Exception {
        DefaultMQPushConsumer consumer = Load.consumer(namesrv, topic, group, listener);
        consumer.setInstanceName(group);
        consumer.start();
        Check.within(WAIT_SECONDS, group + " gets what is in " + topic, done);
        Check.within(WAIT_SECONDS, group + " commits", () -> atTheEnd(topic, group));
        consumer.shutdown();
    }

    private boolean atTheEnd(String topic, String group) throws Exception {
        for (MessageQueue queue : looker.fetchSubscribeMessageQueues(topic)) {
            long end = looker.maxOffset(queue);
            if (end > 0 && committed(group, queue) != end) {
                return false;
            }
        }
        return true;
    }

    private Map<Integer, Long> positions(String topic, String group) throws Exception {
        Map<Integer, Long> positions = new TreeMap<>();
        for (MessageQueue queue : looker.fetchSubscribeMessageQueues(topic)) {
            positions.put(queue.getQueueId(), committed(group, queue));
        }
        return positions;
    }

    /** What the broker has noted; -1: nothing. */
    private long committed(String group, MessageQueue queue) throws Exception {
        return offsets(group).readOffset(queue, ReadOffsetType.READ_FROM_STORE);
    }

    /** Asks and tells the broker without being a member of the group. */
    private OffsetStore offsets(String group) {
        return new RemoteBrokerOffsetStore(looker.getDefaultMQPullConsumerImpl().getRebalanceImpl().getmQClientFactory(), group);
    }

    private MessageQueue deadLetters() throws Exception {
        return new MessageQueue("%DLQ%never", looker.fetchSubscribeMessageQueues("dead").iterator().next().getBrokerName(), 0);
    }

    private void note(String line) {
        try {
            Load.append(state, line + "\n");
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private Stream<String> noted(String head) throws Exception {
        return Files.readAllLines(state).stream().filter(line -> line.startsWith(head)).map(line -> line.substring(head.length()));
    }
}
