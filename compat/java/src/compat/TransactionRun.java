// SPDX-License-Identifier: Apache-2.0
package compat;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.client.producer.TransactionSendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/**
 * The producer and the consumer of the transaction suite; both may be killed at any moment, and what they know is in their files.
 *
 * <p>What becomes of a transaction follows from its number, so that a restarted producer answers for its predecessor: by {@code number % 3} it is committed (0),
 * rolled back (1) or left unknown (2); of the unknown ones a check-back commits those with an even {@code number / 3} and rolls back the others.
 *
 * <ul>
 * <li>{@code produce NAMESRV TOPIC COUNT JOURNAL}: sends until COUNT sends are acknowledged, those of its predecessors included, then answers check-backs until it is killed.
 *     Appends to JOURNAL {@code send N} before the send, {@code sent N} after it succeeded, {@code check N} when it is asked. A number is sent once: if that failed, nobody knows
 *     whether the broker has it.
 * <li>{@code consume NAMESRV TOPIC FILE}: appends {@code N QUEUE OFFSET} for each message until it is killed.
 * </ul>
 */
public final class TransactionRun {
    private static final int THREADS = 16;
    private static final int OUTCOMES = 3;

    private TransactionRun() {
    }

    public static void main(String[] args) throws Exception {
        try {
            if (args[0].equals("produce")) {
                produce(args[1], args[2], Integer.parseInt(args[3]), Paths.get(args[4]));
            } else {
                consume(args[1], args[2], Paths.get(args[3]));
            }
        } catch (Throwable e) {
            e.printStackTrace(System.out);
            System.out.flush();
            Runtime.getRuntime().halt(1);
        }
    }

    private static void produce(String namesrv, String topic, int count, Path journal) throws Exception {
        AtomicInteger next = new AtomicInteger();
        AtomicInteger open = new AtomicInteger(count);
        for (String line : Files.readAllLines(journal)) {
            if (line.startsWith("send ")) {
                next.accumulateAndGet(number(line) + 1, Math::max);
            } else if (line.startsWith("sent ")) {
                open.decrementAndGet();
            }
        }
        TransactionMQProducer producer = new TransactionMQProducer("transaction_run");
        producer.setNamesrvAddr(namesrv);
        producer.setPollNameServerInterval(1000);
        // A repeated send could store a second half message, of the same number.
        producer.setRetryTimesWhenSendFailed(0);
        // Check-backs go to producers that the broker knows: be known soon after its restart.
        producer.setHeartbeatBrokerInterval(1000);
        producer.setTransactionListener(new Listener(journal));
        producer.start();
        System.out.println("ready");
        for (int i = 0; i < THREADS; i++) {
            new Thread(() -> {
                try {
                    while (open.getAndDecrement() > 0) {
                        while (!sent(producer, topic, next.getAndIncrement(), journal)) {
                            Thread.sleep(100);
                        }
                    }
                } catch (Exception e) {
                    e.printStackTrace(System.out);
                }
            }).start();
        }
        Thread.currentThread().join();
    }

    private static boolean sent(TransactionMQProducer producer, String topic, int number, Path journal) throws Exception {
        Load.append(journal, "send " + number + "\n");
        TransactionSendResult result;
        try {
            result = producer.sendMessageInTransaction(new Message(topic, String.valueOf(number).getBytes(StandardCharsets.US_ASCII)), number);
        } catch (Exception e) {
            return false;
        }
        if (result.getSendStatus() != SendStatus.SEND_OK) {
            return false;
        }
        Load.append(journal, "sent " + number + "\n");
        return true;
    }

    private static int number(String line) {
        return Integer.parseInt(line.substring(line.indexOf(' ') + 1));
    }

    private static final class Listener implements TransactionListener {
        private final Path journal;

        Listener(Path journal) {
            this.journal = journal;
        }

        @Override
        public LocalTransactionState executeLocalTransaction(Message message, Object number) {
            int outcome = (Integer) number % OUTCOMES;
            return outcome == 0 ? LocalTransactionState.COMMIT_MESSAGE : outcome == 1 ? LocalTransactionState.ROLLBACK_MESSAGE : LocalTransactionState.UNKNOW;
        }

        /** Also asked for those that were ended, if a kill took the end. */
        @Override
        public LocalTransactionState checkLocalTransaction(MessageExt message) {
            int number = Integer.parseInt(Received.body(message));
            try {
                Load.append(journal, "check " + number + "\n");
            } catch (Exception e) {
                return LocalTransactionState.UNKNOW;
            }
            int outcome = number % OUTCOMES;
            boolean commits = outcome == 0 || outcome == 2 && number / OUTCOMES % 2 == 0;
            return commits ? LocalTransactionState.COMMIT_MESSAGE : LocalTransactionState.ROLLBACK_MESSAGE;
        }
    }

    private static void consume(String namesrv, String topic, Path file) throws Exception {
        DefaultMQPushConsumer consumer = Load.consumer(namesrv, topic, "transaction_run_consumer", (batch, context) -> {
            try {
                for (MessageExt message : batch) {
                    Load.append(file, Received.body(message) + " " + message.getQueueId() + " " + message.getQueueOffset() + "\n");
                }
                return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            } catch (Exception e) {
                return ConsumeConcurrentlyStatus.RECONSUME_LATER;
            }
        });
        consumer.start();
        System.out.println("ready");
        Thread.currentThread().join();
    }
}
