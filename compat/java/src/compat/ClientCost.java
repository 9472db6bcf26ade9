// SPDX-License-Identifier: Apache-2.0
package compat;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.Arrays;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;

/**
 * What the Java client costs, for {@code bench/client.sh}.
 * <ul>
 * <li>{@code send NAME_SERVER TOPIC SECONDS WARM_UP_SECONDS BODY_BYTES IN_FLIGHT}: with 1 in flight by the synchronous send, else by the asynchronous
 * <li>{@code consume NAME_SERVER TOPIC GROUP WARM_UP_COUNT COUNT}: by a push consumer, from the beginning, in batches of 32
 * </ul>
 * Prints {@code messages=N cpu_us=X per_second=Y}: processor time of this process for each message.
 */
public final class ClientCost {
    private ClientCost() {
    }

    public static void main(String[] args) throws Exception {
        if (args[0].equals("send")) {
            send(args);
        } else {
            consume(args);
        }
        System.exit(0);
    }

    private static void send(String[] args) throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer("cost");
        producer.setNamesrvAddr(args[1]);
        producer.start();
        byte[] body = new byte[Integer.parseInt(args[5])];
        Arrays.fill(body, (byte) 'x');
        int inFlight = Integer.parseInt(args[6]);
        AtomicLong sent = new AtomicLong();
        AtomicLong failed = new AtomicLong();
        long warmUp = System.nanoTime() + TimeUnit.SECONDS.toNanos(Long.parseLong(args[4]));
        long end = warmUp + TimeUnit.SECONDS.toNanos(Long.parseLong(args[3]));
        Semaphore room = new Semaphore(inFlight);
        SendCallback callback = new SendCallback() {
            @Override
            public void onSuccess(SendResult result) {
                sent.incrementAndGet();
                room.release();
            }

            @Override
            public void onException(Throwable error) {
                failed.incrementAndGet();
                room.release();
            }
        };
        long before = -1;
        long cpuBefore = 0;
        long begun = 0;
        while (System.nanoTime() < end) {
            if (before < 0 && System.nanoTime() >= warmUp) {
                before = sent.get();
                cpuBefore = cpuMicros();
                begun = System.nanoTime();
            }
            Message message = new Message(args[2], body);
            if (inFlight == 1) {
                producer.send(message);
                sent.incrementAndGet();
            } else {
                room.acquire();
                producer.send(message, callback);
            }
        }
        print(sent.get() - before, cpuMicros() - cpuBefore, System.nanoTime() - begun);
        if (failed.get() > 0) {
            throw new IllegalStateException(failed.get() + " sends failed");
        }
        producer.shutdown();
    }

    private static void consume(String[] args) throws Exception {
        long warmUp = Long.parseLong(args[4]);
        long all = warmUp + Long.parseLong(args[5]);
        AtomicLong got = new AtomicLong();
        CountDownLatch warm = new CountDownLatch(1);
        CountDownLatch done = new CountDownLatch(1);
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(args[3]);
        consumer.setNamesrvAddr(args[1]);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setConsumeMessageBatchMaxSize(32);
        consumer.subscribe(args[2], "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            long now = got.addAndGet(messages.size());
            if (now >= warmUp) {
                warm.countDown();
            }
            if (now >= all) {
                done.countDown();
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        warm.await();
        long before = got.get();
        long cpuBefore = cpuMicros();
        long begun = System.nanoTime();
        done.await();
        print(got.get() - before, cpuMicros() - cpuBefore, System.nanoTime() - begun);
        consumer.shutdown();
    }

    private static void print(long messages, long cpuMicros, long nanos) {
        System.out.printf("messages=%d cpu_us=%.2f per_second=%.0f%n", messages, (double) cpuMicros / messages, messages * 1e9 / nanos);
    }

    /** User and system time of this process, in steps of 10 ms. */
    private static long cpuMicros() throws Exception {
        String stat = new String(Files.readAllBytes(Paths.get("/proc/self/stat")), StandardCharsets.UTF_8);
        String[] fields = stat.substring(stat.lastIndexOf(')') + 2).split(" ");
        return (Long.parseLong(fields[11]) + Long.parseLong(fields[12])) * 10_000;
    }
}
