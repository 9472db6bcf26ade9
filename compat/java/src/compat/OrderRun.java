// SPDX-License-Identifier: Apache-2.0
package compat;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ThreadLocalRandom;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;

/**
 * The programs of the suite for ordered messages. Key K lives in queue K % QUEUES; its messages are numbered from 0.
 *
 * <ul>
 * <li>{@code produce NAMESRV TOPIC SENT}: sends to all keys in turn until SIGTERM; appends {@code KEY NUMBER} to SENT for each message.
 * <li>{@code consume NAMESRV TOPIC FILE}: an orderly consumer; appends {@code KEY NUMBER BEGIN END} (ns of the machine's monotonic clock) to FILE before it answers SUCCESS.
 *     It leaves its group properly at SIGTERM.
 * <li>{@code check SENT FILE...}: judges the files of the consumers, which must have ended, see {@link Judge}; prints {@code NAME=NUMBER} facts.
 * </ul>
 */
public final class OrderRun {
    private static final int QUEUES = 8;
    private static final int KEYS = 64;

    private OrderRun() {
    }

    public static void main(String[] args) throws Exception {
        try {
            switch (args[0]) {
                case "produce":
                    produce(args[1], args[2], Paths.get(args[3]));
                    break;
                case "consume":
                    consume(args[1], args[2], Paths.get(args[3]));
                    break;
                default:
                    Judge judge = new Judge(Paths.get(args[1]));
                    judge.judge(Arrays.asList(args).subList(2, args.length));
                    System.out.println(judge);
            }
        } catch (Throwable e) {
            e.printStackTrace(System.out);
            System.out.flush();
            Runtime.getRuntime().halt(1);
        }
    }

    private static void produce(String namesrv, String topic, Path file) throws Exception {
        DefaultMQProducer producer = Load.producer(namesrv);
        // A repeated send could store a message twice, behind later ones.
        producer.setRetryTimesWhenSendFailed(0);
        // SIGTERM does not end the process between a send and its line.
        Object whole = new Object();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            synchronized (whole) {
                Runtime.getRuntime().halt(0);
            }
        }));
        System.out.println("ready");
        for (int number = 0;; number++) {
            for (int key = 0; key < KEYS; key++) {
                synchronized (whole) {
                    Message message = new Message(topic, (key + " " + number).getBytes(StandardCharsets.US_ASCII));
                    Check.equal("status", SendStatus.SEND_OK, producer.send(message, (queues, sent, of) -> queues.get((Integer) of % QUEUES), key).getSendStatus());
                    Load.append(file, key + " " + number + "\n");
                }
                Thread.sleep(1);
            }
        }
    }

    private static void consume(String namesrv, String topic, Path file) throws Exception {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer("order_run");
        consumer.setNamesrvAddr(namesrv);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        // A message under way is finished before the consumer leaves.
        consumer.setAwaitTerminationMillisWhenShutdown(10_000);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerOrderly) (batch, context) -> {
            long begin = System.nanoTime();
            try {
                Thread.sleep(ThreadLocalRandom.current().nextInt(3));
                Load.append(file, Received.body(batch.get(0)) + " " + begin + " " + System.nanoTime() + "\n");
                return ConsumeOrderlyStatus.SUCCESS;
            } catch (Exception e) {
                return ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT;
            }
        });
        consumer.start();
        Runtime.getRuntime().addShutdownHook(new Thread(consumer::shutdown));
        System.out.println("ready");
        Thread.currentThread().join();
    }

    /** One processed message: a line of a consumer. */
    private static final class Line {
        final int consumer;
        final int key;
        final int number;
        final long begin;
        final long end;

        Line(int consumer, String text) {
            String[] fields = text.split(" ");
            this.consumer = consumer;
            key = Integer.parseInt(fields[0]);
            number = Integer.parseInt(fields[1]);
            begin = Long.parseLong(fields[2]);
            end = Long.parseLong(fields[3]);
        }
    }

    /**
     * Reads the lines of all consumers in the order of their ends. For each key:
     * <ul>
     * <li>a number is new when all below it were there before: one that comes sooner was <em>skipped</em> to;
     * <li>after a number comes the next one, or the key <em>restarts</em> at a lower one, which was there before. The same or another consumer then goes on from a committed position;
     * <li>a restart is <em>late</em> if the message it restarts at had been processed for more than COMMITTED seconds when the previous consumer of the key took its last one: an orderly
     *     consumer commits every 5 s. A restart within one consumer also has this bound.
     * </ul>
     * For each queue: the times of two consumers never <em>overlap</em>, since each holds the queue's lock while it works.
     */
    private static final class Judge {
        private static final double COMMITTED = 8e9;

        private final Map<Integer, Integer> sent = new HashMap<>();
        private final int[] seen = new int[KEYS];
        private int lines;
        private int skipped;
        private int restarts;
        private int late;
        private int repeated;
        private int overlaps;
        private int moves;
        private double idleSeconds;

        Judge(Path file) throws Exception {
            for (String line : Files.readAllLines(file)) {
                sent.merge(Integer.parseInt(line.substring(0, line.indexOf(' '))), 1, Integer::sum);
            }
        }

        void judge(List<String> files) throws Exception {
            List<Line> all = new ArrayList<>();
            for (int consumer = 0; consumer < files.size(); consumer++) {
                for (String text : Files.readAllLines(Paths.get(files.get(consumer)))) {
                    all.add(new Line(consumer, text));
                }
            }
            all.sort(Comparator.comparingLong((Line line) -> line.end));
            lines = all.size();
            order(all);
            locks(all);
        }

        private void order(List<Line> all) {
            Line[] last = new Line[KEYS];
            List<List<Long>> firstEnds = new ArrayList<>();
            for (int key = 0; key < KEYS; key++) {
                firstEnds.add(new ArrayList<>());
            }
            for (Line line : all) {
                Line previous = last[line.key];
                List<Long> ends = firstEnds.get(line.key);
                if (line.number > seen[line.key] || previous != null && line.number > previous.number + 1) {
                    skipped++;
                    System.out.println("skipped: key " + line.key + " goes from " + (previous == null ? -1 : previous.number) + " to " + line.number + ", seen below "
                        + seen[line.key]);
                }
                if (previous != null && line.number <= previous.number) {
                    restarts++;
                    if (previous.end - ends.get(line.number) > COMMITTED) {
                        late++;
                        System.out.println("late: key " + line.key + " goes back to " + line.number + " from " + previous.number + " and from consumer " + previous.consumer + " to "
                            + line.consumer);
                    }
                }
                if (line.number < seen[line.key]) {
                    repeated++;
                } else {
                    // Numbers that were skipped to count as seen, so that one gap is reported once.
                    while (ends.size() <= line.number) {
                        ends.add(line.end);
                    }
                    seen[line.key] = line.number + 1;
                }
                last[line.key] = line;
            }
        }

        private void locks(List<Line> all) {
            Line[] last = new Line[QUEUES];
            for (Line line : all) {
                int queue = line.key % QUEUES;
                Line previous = last[queue];
                if (previous != null && previous.consumer != line.consumer) {
                    moves++;
                    idleSeconds = Math.max(idleSeconds, (line.begin - previous.end) / 1e9);
                    if (line.begin < previous.end) {
                        overlaps++;
                        System.out.println("overlap: queue " + queue + " at consumers " + previous.consumer + " and " + line.consumer + " for " + (previous.end - line.begin) / 1000
                            + " us");
                    }
                }
                last[queue] = line;
            }
        }

        private int missing() {
            return sent.entrySet().stream().mapToInt(of -> Math.max(0, of.getValue() - seen[of.getKey()])).sum();
        }

        @Override
        public String toString() {
            return String.format("sent=%d processed=%d missing=%d skipped=%d repeated=%d restarts=%d late=%d overlaps=%d moves=%d idle_seconds=%.0f",
                sent.values().stream().mapToInt(Integer::intValue).sum(), lines, missing(), skipped, repeated, restarts, late, overlaps, moves, idleSeconds);
        }
    }
}
