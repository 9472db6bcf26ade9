// SPDX-License-Identifier: Apache-2.0
package compat;

import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** The two pull consumers and the offset questions. */
@SuppressWarnings("deprecation")
final class Pulling {
    private Pulling() {
    }

    static void add(Map<String, Main.Case> cases) {
        cases.put("pull.statuses", Pulling::statuses);
        cases.put("pull.offsets", Pulling::offsets);
        cases.put("pull.block", Pulling::block);
        cases.put("pull.commit", Pulling::commit);
        cases.put("lite.subscribe", Pulling::liteSubscribe);
        cases.put("lite.assign", Pulling::liteAssign);
    }

    private static MessageQueue send(Scope scope, String topic, int count) throws Exception {
        DefaultMQProducer producer = scope.producer();
        MessageQueue queue = producer.fetchPublishMessageQueues(topic).get(0);
        for (int i = 0; i < count; i++) {
            producer.send(Scope.message(topic, i % 2 == 0 ? "even" : "odd", "m" + i), queue);
        }
        return queue;
    }

    private static List<String> names(int from, int to) {
        return IntStream.range(from, to).mapToObj(i -> "m" + i).collect(Collectors.toList());
    }

    private static List<String> bodies(List<MessageExt> messages) {
        return messages.stream().map(Received::body).collect(Collectors.toList());
    }

    private static void statuses(Scope scope) throws Exception {
        String topic = scope.topic("t", 2);
        MessageQueue queue = send(scope, topic, 100);
        DefaultMQPullConsumer consumer = scope.puller("g");
        PullResult found = consumer.pull(queue, "*", 10, 32);
        Check.equal("found", PullStatus.FOUND, found.getPullStatus());
        Check.equal("found bodies", names(10, 42), bodies(found.getMsgFoundList()));
        Check.equal("found next", 42L, found.getNextBeginOffset());
        Check.equal("found min", 0L, found.getMinOffset());
        Check.equal("found max", 100L, found.getMaxOffset());

        PullResult odd = consumer.pull(queue, "odd", 0, 10);
        Check.equal("odd", PullStatus.FOUND, odd.getPullStatus());
        Check.equal("odd bodies", IntStream.range(0, 20).filter(i -> i % 2 == 1).mapToObj(i -> "m" + i).collect(Collectors.toList()),
            bodies(odd.getMsgFoundList()));
        Check.that("odd next " + odd.getNextBeginOffset(), odd.getNextBeginOffset() == 20);

        PullResult none = consumer.pull(queue, "absent", 0, 32);
        Check.equal("no match", PullStatus.NO_MATCHED_MSG, none.getPullStatus());
        Check.equal("no match next", 100L, none.getNextBeginOffset());

        PullResult end = consumer.pull(queue, "*", 100, 32);
        Check.equal("at the end", PullStatus.NO_NEW_MSG, end.getPullStatus());
        Check.equal("end next", 100L, end.getNextBeginOffset());

        PullResult beyond = consumer.pull(queue, "*", 101, 32);
        Check.equal("beyond the end", PullStatus.OFFSET_ILLEGAL, beyond.getPullStatus());
        Check.equal("beyond next", 100L, beyond.getNextBeginOffset());
        Check.equal("beyond max", 100L, beyond.getMaxOffset());

        MessageQueue empty = new MessageQueue(topic, queue.getBrokerName(), 1 - queue.getQueueId());
        Check.equal("empty queue", PullStatus.NO_NEW_MSG, consumer.pull(empty, "*", 0, 32).getPullStatus());
        PullResult lost = consumer.pull(empty, "*", 5, 32);
        Check.equal("empty queue, beyond", PullStatus.OFFSET_ILLEGAL, lost.getPullStatus());
        Check.equal("empty queue, next", 0L, lost.getNextBeginOffset());
    }

    private static void offsets(Scope scope) throws Exception {
        String topic = scope.topic("t", 2);
        DefaultMQProducer producer = scope.producer();
        MessageQueue queue = producer.fetchPublishMessageQueues(topic).get(0);
        for (int i = 0; i < 10; i++) {
            producer.send(Scope.message(topic, "", "m" + i), queue);
            // Times in the store have to differ: one message for one millisecond.
            long now = System.currentTimeMillis();
            Check.within(1, "the clock to go on", () -> System.currentTimeMillis() > now + 1);
        }
        DefaultMQPullConsumer consumer = scope.puller("g");
        Check.equal("min", 0L, consumer.minOffset(queue));
        Check.equal("max", 10L, consumer.maxOffset(queue));
        List<MessageExt> messages = consumer.pull(queue, "*", 0, 32).getMsgFoundList();
        Check.equal("earliest", messages.get(0).getStoreTimestamp(), consumer.earliestMsgStoreTime(queue));
        Check.equal("search 0", 0L, consumer.searchOffset(queue, 0));
        for (MessageExt message : messages) {
            Check.equal("search " + message.getQueueOffset(), message.getQueueOffset(), consumer.searchOffset(queue, message.getStoreTimestamp()));
        }
        Check.equal("search between", 5L, consumer.searchOffset(queue, messages.get(4).getStoreTimestamp() + 1));
        Check.equal("search the future", 10L, consumer.searchOffset(queue, System.currentTimeMillis() + 60_000));
        MessageQueue empty = new MessageQueue(topic, queue.getBrokerName(), 1 - queue.getQueueId());
        Check.equal("min of empty", 0L, consumer.minOffset(empty));
        Check.equal("max of empty", 0L, consumer.maxOffset(empty));
        Check.equal("earliest of empty", -1L, consumer.earliestMsgStoreTime(empty));
        Check.equal("search in empty", 0L, consumer.searchOffset(empty, System.currentTimeMillis()));
    }

    /** pullBlockIfNotFound is held by the broker until a message comes. */
    private static void block(Scope scope) throws Exception {
        String topic = scope.topic("t", 1);
        MessageQueue queue = send(scope, topic, 1);
        DefaultMQPullConsumer consumer = scope.puller("g");
        DefaultMQProducer producer = scope.producer();
        List<PullResult> results = Collections.synchronizedList(new ArrayList<>());
        long start = System.nanoTime();
        Thread waiting = new Thread(() -> {
            try {
                results.add(consumer.pullBlockIfNotFound(queue, "*", 1, 32));
            } catch (Exception e) {
                throw new IllegalStateException(e);
            }
        });
        waiting.start();
        Thread.sleep(1500); // It has to be held meanwhile: an early answer is the failure that is looked for.
        Check.equal("held", 0, results.size());
        producer.send(Scope.message(topic, "", "m1"), queue);
        waiting.join(15_000);
        Check.equal("answers", 1, results.size());
        Check.equal("status", PullStatus.FOUND, results.get(0).getPullStatus());
        Check.equal("body", names(1, 2), bodies(results.get(0).getMsgFoundList()));
        Check.that("woken by the message", System.nanoTime() - start < 5_000_000_000L);
    }

    private static void commit(Scope scope) throws Exception {
        String topic = scope.topic("t", 1);
        MessageQueue queue = send(scope, topic, 10);
        DefaultMQPullConsumer consumer = scope.puller("g");
        // The first pull makes the group known at the broker; Java 5.x refuses commits of unknown groups.
        Check.equal("messages", 10, consumer.pull(queue, "*", 0, 32).getMsgFoundList().size());
        Check.equal("no offset yet", -1L, consumer.fetchConsumeOffset(new MessageQueue(topic, queue.getBrokerName(), 7), true));
        consumer.getDefaultMQPullConsumerImpl().getOffsetStore().updateConsumeOffsetToBroker(queue, 7, false);
        Check.equal("at the broker", 7L, scope.committed("g", topic, 1));
        Check.equal("at another member", 7L, scope.puller("g").fetchConsumeOffset(queue, true));
    }

    private static void liteSubscribe(Scope scope) throws Exception {
        String topic = scope.topic("t", 4);
        DefaultMQProducer producer = scope.producer();
        DefaultLitePullConsumer consumer = scope.litePuller("g");
        consumer.subscribe(topic, "even");
        consumer.start();
        Set<String> sent = new HashSet<>();
        for (int i = 0; i < 100; i++) {
            producer.send(Scope.message(topic, i % 2 == 0 ? "even" : "odd", "m" + i));
            if (i % 2 == 0) {
                sent.add("m" + i);
            }
        }
        List<MessageExt> got = poll(consumer, 50);
        Check.equal("messages", 50, got.size());
        Check.equal("bodies", sent, new HashSet<>(bodies(got)));
        consumer.commitSync();
        consumer.shutdown();
        DefaultLitePullConsumer second = scope.litePuller("g");
        second.subscribe(topic, "even");
        second.start();
        producer.send(Scope.message(topic, "even", "last"));
        Check.equal("only the new one", Collections.singletonList("last"), bodies(poll(second, 1)));
    }

    private static List<MessageExt> poll(DefaultLitePullConsumer consumer, int count) throws Exception {
        List<MessageExt> got = new ArrayList<>();
        Check.within(45, count + " messages", () -> {
            got.addAll(consumer.poll(100));
            return got.size() >= count;
        });
        return got;
    }

    private static void liteAssign(Scope scope) throws Exception {
        String topic = scope.topic("t", 2);
        MessageQueue queue = send(scope, topic, 100);
        DefaultLitePullConsumer consumer = scope.litePuller("g");
        consumer.setPullBatchSize(10);
        consumer.start();
        Check.equal("queues", 2, consumer.fetchMessageQueues(topic).size());
        // Without a seek: what the first pull brings while the client seeks would be taken, too.
        consumer.assign(Collections.singletonList(queue));
        Check.equal("from the begin", names(0, 100), bodies(poll(consumer, 100)));
        consumer.seek(queue, 90);
        Check.equal("from 90", names(90, 100), bodies(poll(consumer, 10)));
        consumer.commitSync();
        Check.equal("committed", 100L, consumer.committed(queue));
        Check.within(10, "committed at the broker", () -> scope.committed("g", topic, 2) == 100);
        consumer.seekToBegin(queue);
        Check.equal("from the begin again", names(0, 100), bodies(poll(consumer, 100)));
        consumer.seekToEnd(queue);
        SendResult last = scope.producer().send(Scope.message(topic, "", "m100"), queue);
        Check.equal("from the end", Collections.singletonList("m100"), bodies(poll(consumer, 1)));
        Check.equal("its offset", 100L, last.getQueueOffset());
        Check.equal("offset for a time", 0L, consumer.offsetForTimestamp(queue, 0L));
    }
}
