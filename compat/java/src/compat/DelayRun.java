// SPDX-License-Identifier: Apache-2.0
package compat;

import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.Arrays;
import java.util.List;
import java.util.Queue;
import java.util.SplittableRandom;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.Semaphore;
import java.util.stream.IntStream;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageAccessor;
import org.apache.rocketmq.common.message.MessageExt;

/**
 * Sends messages that are due at random moments and receives them, while somebody else kills the broker and starts it again.
 *
 * <p>{@code NAMESRV TOPIC QUEUES COUNT SECONDS LEVELS LATE OUTAGES}: COUNT messages, due within SECONDS from the start; every tenth by a delay level, the others by
 * {@code TIMER_DELIVER_MS}, which is a plain property, so that the 4.9 client can do it too. LEVELS are the seconds of the broker's levels, with commas. LATE is how late
 * (ms) a message may be. OUTAGES is a file with a line {@code KILLED BOOTED} (ms) for each outage, complete when all messages are due.
 *
 * <p>The messages are sent evenly over the first half of SECONDS. A send that is not acknowledged is repeated with the same number. Messages are told apart by their number only.
 *
 * <p>Due is the delivery time, or for a level the born time plus the level: the broker counts from its store time, which is not earlier. Late counts from there too, but not from
 * before the acknowledgement: a message can be due before it was sent with success. Lateness is counted while the broker is up: not of messages that were due from
 * LATE before a kill, when they need not have been delivered yet, until {@link #GRACE_MS} after the boot, when clients have come back and the backlog is gone. It is taken at the consumer, and beside that from the store time of what was delivered.
 */
public final class DelayRun {
    private static final long GRACE_MS = 3_000;
    private static final int IN_FLIGHT = 64;
    private static final int BODY_BYTES = 64;
    private static final int WAIT_AFTER_SECONDS = 90;

    /** How late a message may be, in ms. */
    private final long allowed;
    /** Moments (ms) by the number of the message; 0: not yet. */
    private final long[] due;
    private final long[] acknowledged;
    private final long[] arrived;
    private final long[] stored;
    /** Queue and offset of the first arrival. */
    private final long[] place;
    private final boolean[] leveled;
    private int missing;
    private int redelivered;
    private int storedTwice;
    private int early;
    private final long began = System.currentTimeMillis();
    private volatile long lastArrival = System.currentTimeMillis();
    private volatile Object lastFailure;

    private DelayRun(int count, long allowed) {
        this.allowed = allowed;
        due = new long[count];
        acknowledged = new long[count];
        arrived = new long[count];
        stored = new long[count];
        place = new long[count];
        leveled = new boolean[count];
        missing = count;
    }

    public static void main(String[] args) throws Exception {
        try {
            DelayRun run = new DelayRun(Integer.parseInt(args[3]), Long.parseLong(args[6]));
            DefaultMQPushConsumer consumer = run.consumer(args[0], args[1]);
            Scope.awaitShared(60, args[1], Integer.parseInt(args[2]), consumer);
            System.out.println("ready");
            long end = System.currentTimeMillis() + Integer.parseInt(args[4]) * 1000L;
            run.send(args[0], args[1], end, Arrays.stream(args[5].split(",")).mapToLong(seconds -> Long.parseLong(seconds) * 1000).toArray());
            while (System.currentTimeMillis() < end || run.missing() > 0 && System.currentTimeMillis() < end + WAIT_AFTER_SECONDS * 1000L
                || System.currentTimeMillis() < run.lastArrival + GRACE_MS) {
                Thread.sleep(100);
            }
            run.report(Files.readAllLines(Paths.get(args[7])));
            System.out.println("done");
        } catch (Throwable e) {
            e.printStackTrace(System.out);
            Runtime.getRuntime().halt(1);
        }
        System.out.flush();
        Runtime.getRuntime().halt(0);
    }

    private DefaultMQPushConsumer consumer(String namesrv, String topic) throws Exception {
        DefaultMQPushConsumer consumer = Load.consumer(namesrv, topic, "delay_run", (batch, context) -> {
            take(batch, System.currentTimeMillis());
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        // The broker is measured: the client must not be what is slow, and must come back soon.
        consumer.setPullBatchSize(256);
        consumer.setConsumeMessageBatchMaxSize(64);
        consumer.setPullTimeDelayMillsWhenException(100);
        consumer.setHeartbeatBrokerInterval(1000);
        consumer.start();
        return consumer;
    }

    private synchronized void take(List<MessageExt> batch, long now) {
        lastArrival = now;
        for (MessageExt message : batch) {
            ByteBuffer body = ByteBuffer.wrap(message.getBody());
            int number = body.getInt();
            long level = body.getLong();
            long dueHere = level == 0 ? due[number] : message.getBornTimestamp() + level;
            if (now < dueHere) {
                early++;
                System.out.println("early by " + (dueHere - now) + " ms: " + number + (level == 0 ? "" : ", level of " + level + " ms"));
            }
            long placeHere = ((long) message.getQueueId() << 48) + message.getQueueOffset();
            if (arrived[number] == 0) {
                arrived[number] = now;
                stored[number] = message.getStoreTimestamp();
                place[number] = placeHere;
                due[number] = dueHere;
                missing--;
            } else if (place[number] == placeHere) {
                redelivered++;
            } else {
                storedTwice++;
            }
        }
    }

    private synchronized int missing() {
        return missing;
    }

    private void send(String namesrv, String topic, long end, long[] levels) throws Exception {
        DefaultMQProducer producer = Load.producer(namesrv);
        producer.setRetryTimesWhenSendAsyncFailed(0);
        SplittableRandom random = new SplittableRandom();
        Semaphore free = new Semaphore(IN_FLIGHT);
        Queue<Integer> failed = new ConcurrentLinkedQueue<>();
        long started = System.currentTimeMillis();
        long half = (end - started) / 2;
        int next = 0;
        int repeated = 0;
        while (true) {
            Check.that("not all sent, at last: " + lastFailure, System.currentTimeMillis() < end + WAIT_AFTER_SECONDS * 1000L);
            free.acquire();
            Integer repeat = failed.poll();
            if (repeat == null && next == due.length) {
                free.release();
                free.acquire(IN_FLIGHT); // Nothing is under way now.
                if (failed.isEmpty()) {
                    break;
                }
                free.release(IN_FLIGHT);
                continue;
            }
            int number;
            if (repeat != null) {
                number = repeat;
                repeated++;
                Thread.sleep(1); // The broker is away, or busy.
            } else {
                number = next++;
                leveled[number] = number % 10 == 0;
                while (System.currentTimeMillis() < started + half * number / due.length) {
                    Thread.sleep(1);
                }
            }
            send(producer, message(topic, number, end, levels, random), number, free, failed);
        }
        producer.shutdown();
        System.out.printf("sent %d in %.1f s, %d sends repeated%n", due.length, (System.currentTimeMillis() - started) / 1e3, repeated);
    }

    private Message message(String topic, int number, long end, long[] levels, SplittableRandom random) {
        long now = System.currentTimeMillis();
        ByteBuffer body = ByteBuffer.allocate(BODY_BYTES).putInt(number);
        Message message = new Message(topic, body.array());
        if (leveled[number]) {
            // A level that ends within the run; near its end the lowest.
            int fitting = (int) Arrays.stream(levels).filter(level -> now + level <= end).count();
            int level = random.nextInt(Math.max(1, fitting)) + 1;
            message.setDelayTimeLevel(level);
            body.putLong(levels[level - 1]);
        } else {
            if (due[number] == 0) {
                due[number] = now + 1 + random.nextLong(Math.max(1000, end - now));
            }
            MessageAccessor.putProperty(message, "TIMER_DELIVER_MS", String.valueOf(due[number]));
        }
        return message;
    }

    private void send(DefaultMQProducer producer, Message message, int number, Semaphore free, Queue<Integer> failed) throws InterruptedException {
        try {
            producer.send(message, new SendCallback() {
                @Override
                public void onSuccess(SendResult result) {
                    if (result.getSendStatus() == SendStatus.SEND_OK) {
                        acknowledged[number] = System.currentTimeMillis();
                    } else {
                        lastFailure = result;
                        failed.add(number);
                    }
                    free.release();
                }

                @Override
                public void onException(Throwable e) {
                    lastFailure = e;
                    failed.add(number);
                    free.release();
                }
            });
        } catch (InterruptedException e) {
            throw e;
        } catch (Exception e) {
            lastFailure = e;
            failed.add(number);
            free.release();
            Thread.sleep(50);
        }
    }

    private synchronized void report(List<String> outages) {
        String few = IntStream.range(0, due.length).filter(number -> arrived[number] == 0).limit(10)
            .mapToObj(number -> " " + number + (leveled[number] ? " (level)" : " (due " + due[number] + ")")).reduce("", String::concat);
        if (!few.isEmpty()) {
            System.out.println("missing:" + few);
        }
        System.out.println("MISSING=" + missing + " EARLY=" + early + " REDELIVERED=" + redelivered + " STORED_TWICE=" + storedTwice);
        System.out.println("LATE_P99=" + Math.max(lateness("timed", false, outages), lateness("by level", true, outages)));
    }

    /** Prints the distribution of lateness (ms) of the messages of one kind and returns its 99th percentile. */
    private long lateness(String kind, boolean level, List<String> outages) {
        int[] ofKind = IntStream.range(0, due.length).filter(number -> leveled[number] == level && arrived[number] != 0).toArray();
        int[] counted = Arrays.stream(ofKind).filter(number -> outages.stream().noneMatch(outage -> within(outage, counts(number)))).toArray();
        if (counted.length == 0) {
            System.out.println(kind + ": none outside of outages");
            return Long.MAX_VALUE;
        }
        long[] late = late(counted, arrived);
        long[] inStore = late(counted, stored);
        System.out.printf("%s: late p50 %d ms, p99 %d ms, p99.9 %d ms, max %d ms; %d counted, %d due around an outage not%n", kind, at(late, 0.5), at(late, 0.99),
            at(late, 0.999), late[late.length - 1], late.length, ofKind.length - late.length);
        System.out.printf("%s: in the store p99 %d ms, p99.9 %d ms, max %d ms%n", kind, at(inStore, 0.99), at(inStore, 0.999), inStore[inStore.length - 1]);
        TreeMap<Long, Integer> tooLate = new TreeMap<>();
        Arrays.stream(counted).filter(number -> arrived[number] - counts(number) > allowed)
            .forEach(number -> tooLate.merge(sinceBoot(outages, counts(number)), 1, Integer::sum));
        if (!tooLate.isEmpty()) {
            System.out.println(kind + ": later than " + allowed + " ms, by full seconds since the last boot or the start: " + tooLate);
        }
        return at(late, 0.99);
    }

    private long[] late(int[] numbers, long[] moments) {
        return Arrays.stream(numbers).mapToLong(number -> Math.max(0, moments[number] - counts(number))).sorted().toArray();
    }

    private long sinceBoot(List<String> outages, long moment) {
        return outages.stream().mapToLong(outage -> moment - Long.parseLong(outage.split(" ")[1])).filter(since -> since >= 0).min().orElse(moment - began) / 1000;
    }

    private long counts(int number) {
        return Math.max(due[number], acknowledged[number]);
    }

    private boolean within(String outage, long moment) {
        String[] ends = outage.split(" ");
        return Long.parseLong(ends[0]) - allowed <= moment && moment <= Long.parseLong(ends[1]) + GRACE_MS;
    }

    private static long at(long[] sorted, double share) {
        return sorted[(int) (share * (sorted.length - 1))];
    }
}
