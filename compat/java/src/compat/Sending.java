// SPDX-License-Identifier: Apache-2.0
package compat;

import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.zip.CRC32;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageClientExt;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageId;

/** All ways to send, and whether everything of a message arrives. */
final class Sending {
    private Sending() {
    }

    static void add(Map<String, Main.Case> cases) {
        cases.put("quickstart", Sending::quickstart);
        cases.put("auto_create", Sending::autoCreate);
        cases.put("send.async", Sending::async);
        cases.put("send.oneway", Sending::oneway);
        cases.put("send.selector", Sending::selector);
        cases.put("send.batch", Sending::batch);
        cases.put("send.vip", Sending::vip);
        cases.put("send.properties", Sending::properties);
        cases.put("send.compressed", Sending::compressed);
        cases.put("send.max_body", Sending::maxBody);
    }

    private static void quickstart(Scope scope) throws Exception {
        int count = 1000;
        int queues = 8;
        String topic = scope.topic("t", queues);
        Received first = new Received();
        Received second = new Received();
        DefaultMQPushConsumer one = scope.consumer("g", topic, "*", first);
        DefaultMQPushConsumer two = scope.consumer("g", topic, "*", second);
        one.start();
        two.start();
        Scope.awaitShared(45, topic, queues, one, two);
        DefaultMQProducer producer = scope.producer();
        Map<String, SendResult> sent = new HashMap<>();
        long begin = System.currentTimeMillis();
        for (int i = 0; i < count; i++) {
            Message message = new Message(topic, i % 2 == 0 ? "TagA" : "标签", "key" + i + " 键" + i, ("你好 RocketMQ " + i).getBytes(StandardCharsets.UTF_8));
            message.putUserProperty("number", String.valueOf(i));
            message.putUserProperty("城市", "北京" + i);
            SendResult result = producer.send(message);
            Check.equal("status", SendStatus.SEND_OK, result.getSendStatus());
            Check.equal("topic", topic, result.getMessageQueue().getTopic());
            sent.put(result.getMsgId(), result);
        }
        Check.equal("different ids", count, sent.size());
        Check.within(45, count + " messages at both", () -> first.count() + second.count() >= count);
        List<MessageExt> all = new ArrayList<>(first.all());
        all.addAll(second.all());
        Check.equal("messages", count, all.size());
        Check.that("both consumers got some", first.count() > 0 && second.count() > 0);
        Check.equal("each number once", IntStream.range(0, count).boxed().collect(Collectors.toSet()),
            Received.times(all, m -> Integer.parseInt(m.getUserProperty("number"))).keySet());
        for (MessageExt message : all) {
            String i = message.getUserProperty("number");
            Check.equal("body", "你好 RocketMQ " + i, Received.body(message));
            Check.equal("tag", Integer.parseInt(i) % 2 == 0 ? "TagA" : "标签", message.getTags());
            Check.equal("keys", "key" + i + " 键" + i, message.getKeys());
            Check.equal("Chinese property", "北京" + i, message.getUserProperty("城市"));
            SendResult result = sent.get(message.getMsgId());
            // 32 digits, 56 if the client sees an IPv6 address of its own.
            Check.that("known message id " + message.getMsgId(), result != null && message.getMsgId().matches("[0-9A-F]{32}|[0-9A-F]{56}"));
            Check.equal("offset message id", result.getOffsetMsgId(), ((MessageClientExt) message).getOffsetMsgId());
            MessageId id = MessageDecoder.decodeMessageId(result.getOffsetMsgId());
            Check.equal("address in the id", scope.broker, text((InetSocketAddress) id.getAddress()));
            Check.equal("offset in the id", message.getCommitLogOffset(), id.getOffset());
            Check.equal("store host", scope.broker, text((InetSocketAddress) message.getStoreHost()));
            Check.equal("queue", result.getMessageQueue().getQueueId(), message.getQueueId());
            Check.equal("queue offset", result.getQueueOffset(), message.getQueueOffset());
            Check.equal("broker name", result.getMessageQueue().getBrokerName(), message.getBrokerName());
            Check.equal("reconsume times", 0, message.getReconsumeTimes());
            CRC32 crc = new CRC32();
            crc.update(message.getBody());
            Check.equal("body CRC", (int) (crc.getValue() & 0x7FFFFFFF), message.getBodyCRC());
            Check.that("times", begin <= message.getBornTimestamp() && message.getBornTimestamp() <= message.getStoreTimestamp() + 1
                && message.getStoreTimestamp() <= System.currentTimeMillis());
            Check.that("max offset", Long.parseLong(message.getProperty("MAX_OFFSET")) > message.getQueueOffset());
        }
        consecutive(all, queues);
    }

    private static String text(InetSocketAddress address) {
        return address.getAddress().getHostAddress() + ":" + address.getPort();
    }

    /** Every queue has offsets 0, 1, 2... without a gap, and physical offsets grow along it. */
    private static void consecutive(List<MessageExt> messages, int queues) {
        Map<Integer, List<MessageExt>> byQueue = Received.byQueue(messages);
        Check.equal("queues", queues, byQueue.size());
        byQueue.forEach((queue, list) -> {
            long physical = -1;
            for (int i = 0; i < list.size(); i++) {
                Check.equal("queue " + queue + " offset", (long) i, list.get(i).getQueueOffset());
                Check.that("physical offsets grow", list.get(i).getCommitLogOffset() > physical);
                physical = list.get(i).getCommitLogOffset();
            }
        });
    }

    /** The topic comes into being with the first message, with the client's 4 queues. */
    private static void autoCreate(Scope scope) throws Exception {
        String topic = scope.name("t");
        DefaultMQProducer producer = scope.producer();
        for (int i = 0; i < 40; i++) {
            Check.equal("status", SendStatus.SEND_OK, producer.send(Scope.message(topic, "", "m" + i)).getSendStatus());
        }
        Check.within(35, "route of the new topic", () -> {
            try {
                return scope.puller("looker").fetchSubscribeMessageQueues(topic).size() == 4;
            } catch (Exception e) {
                return false;
            }
        });
        Received received = new Received();
        scope.consumer("g", topic, "*", received).start();
        received.await(40, 45);
        Check.equal("bodies", sorted(40, "m"), Received.bodies(received.all()));
        consecutive(received.all(), 4);
    }

    private static List<String> sorted(int count, String prefix) {
        return IntStream.range(0, count).mapToObj(i -> prefix + i).sorted().collect(Collectors.toList());
    }

    private static void async(Scope scope) throws Exception {
        int count = 500;
        String topic = scope.topic("t", 4);
        DefaultMQProducer producer = scope.producer();
        CountDownLatch answers = new CountDownLatch(count);
        Semaphore flying = new Semaphore(32);
        List<Throwable> errors = Collections.synchronizedList(new ArrayList<>());
        Set<String> places = Collections.synchronizedSet(new HashSet<>());
        for (int i = 0; i < count; i++) {
            flying.acquire();
            producer.send(Scope.message(topic, "", "m" + i), new SendCallback() {
                @Override
                public void onSuccess(SendResult result) {
                    places.add(result.getMessageQueue().getQueueId() + "@" + result.getQueueOffset());
                    flying.release();
                    answers.countDown();
                }

                @Override
                public void onException(Throwable e) {
                    errors.add(e);
                    flying.release();
                    answers.countDown();
                }
            });
        }
        Check.that("all callbacks", answers.await(30, TimeUnit.SECONDS));
        Check.equal("errors", Collections.emptyList(), errors);
        Check.equal("different places", count, places.size());
        Received received = new Received();
        scope.consumer("g", topic, "*", received).start();
        received.await(count, 45);
        Check.equal("bodies", sorted(count, "m"), Received.bodies(received.all()));
        consecutive(received.all(), 4);
    }

    private static void oneway(Scope scope) throws Exception {
        String topic = scope.topic("t", 4);
        DefaultMQProducer producer = scope.producer();
        for (int i = 0; i < 200; i++) {
            producer.sendOneway(Scope.message(topic, "", "m" + i));
        }
        Received received = new Received();
        scope.consumer("g", topic, "*", received).start();
        received.await(200, 45);
        Check.equal("bodies", sorted(200, "m"), Received.bodies(received.all()));
        consecutive(received.all(), 4);
    }

    private static void selector(Scope scope) throws Exception {
        String topic = scope.topic("t", 4);
        DefaultMQProducer producer = scope.producer();
        for (int i = 0; i < 200; i++) {
            SendResult result = producer.send(Scope.message(topic, "", "m" + i), (queues, message, order) -> queues.get((Integer) order % queues.size()), i % 7);
            Check.equal("queue", i % 7 % 4, result.getMessageQueue().getQueueId());
        }
        Received received = new Received();
        scope.consumer("g", topic, "*", received).start();
        received.await(200, 45);
        Received.byQueue(received.all()).forEach((queue, list) -> Check.equal("order in queue " + queue,
            IntStream.range(0, 200).filter(i -> i % 7 % 4 == queue).mapToObj(i -> "m" + i).collect(Collectors.toList()),
            list.stream().map(Received::body).collect(Collectors.toList())));
    }

    private static void batch(Scope scope) throws Exception {
        String topic = scope.topic("t", 4);
        DefaultMQProducer producer = scope.producer();
        for (int batch = 0; batch < 5; batch++) {
            List<Message> messages = new ArrayList<>();
            for (int i = 0; i < 20; i++) {
                Message message = Scope.message(topic, "tag" + i % 2, "批" + batch + "-" + i);
                message.setKeys("k" + i);
                message.putUserProperty("n", String.valueOf(i));
                messages.add(message);
            }
            SendResult result = producer.send(messages);
            Check.equal("status", SendStatus.SEND_OK, result.getSendStatus());
            Check.equal("message ids", 20, new HashSet<>(Arrays.asList(result.getMsgId().split(","))).size());
            Check.equal("offset message ids", 20, new HashSet<>(Arrays.asList(result.getOffsetMsgId().split(","))).size());
        }
        Received received = new Received();
        Received tagged = new Received();
        scope.consumer("g", topic, "*", received).start();
        scope.consumer("tagged", topic, "tag1", tagged).start();
        received.await(100, 45);
        tagged.await(50, 45);
        Check.equal("single messages", 100, received.count());
        Check.equal("filtered messages", 50, tagged.count());
        for (MessageExt message : received.all()) {
            int i = Integer.parseInt(message.getUserProperty("n"));
            Check.that("body " + i, Received.body(message).matches("批[0-4]-" + i));
            Check.equal("tag", "tag" + i % 2, message.getTags());
            Check.equal("keys", "k" + i, message.getKeys());
        }
        Received.byQueue(received.all()).values().forEach(list -> {
            for (int i = 0; i < list.size(); i++) {
                Check.equal("offset in the queue", (long) i, list.get(i).getQueueOffset());
                Check.equal("order in the batch", String.valueOf(i % 20), list.get(i).getUserProperty("n"));
            }
        });
    }

    private static void vip(Scope scope) throws Exception {
        String topic = scope.topic("t", 4);
        DefaultMQProducer producer = scope.newProducer();
        producer.setVipChannelEnabled(true);
        producer.start();
        Received received = new Received();
        DefaultMQPushConsumer consumer = scope.consumer("g", topic, "*", received);
        consumer.setVipChannelEnabled(true);
        consumer.start();
        for (int i = 0; i < 50; i++) {
            Check.equal("status", SendStatus.SEND_OK, producer.send(Scope.message(topic, "", "m" + i)).getSendStatus());
        }
        int vip = Integer.parseInt(scope.broker.split(":")[1]) - 2;
        String remote = String.format(":%04X 01 ", vip);
        boolean used = false;
        for (String file : new String[] {"/proc/net/tcp", "/proc/net/tcp6"}) {
            used |= Files.readAllLines(Paths.get(file)).stream().anyMatch(line -> line.contains(remote));
        }
        Check.that("a connection to the VIP port " + vip, used);
        received.await(50, 45);
        Check.equal("bodies", sorted(50, "m"), Received.bodies(received.all()));
    }

    private static void properties(Scope scope) throws Exception {
        String topic = scope.topic("t", 1);
        Map<String, String> values = new HashMap<>();
        values.put("quotes", "\"double\" 'single' `back`");
        values.put("backslash", "C:\\temp\\new \\u0041 \\\\");
        values.put("lines", "a\nb\r\nc\td");
        values.put("emoji", "🚀👨‍👩‍👧 𝄞");
        values.put("json", "{\"a\":[1,2,{\"b\":null}]}");
        values.put("controls", "\u0000\u0003\u0007\u001f\u007f\u0085\u2028\ufeff");
        values.put("space", "  leading and trailing  ");
        values.put("键", "值");
        values.put("k:e=y\"\\", "v:a=l&%");
        values.put("long", String.join("", Collections.nCopies(2000, "长value")));
        Message message = Scope.message(topic, "t ag\"\\标", "body \u0000 \u0001 \u0002 🚀");
        values.forEach(message::putUserProperty);
        message.setKeys(Arrays.asList("键1", "key\"2\""));
        message.setFlag(-7);
        message.setBuyerId("买家");
        scope.producer().send(message);
        Received received = new Received();
        scope.consumer("g", topic, "*", received).start();
        received.await(1, 45);
        MessageExt got = received.all().get(0);
        values.forEach((key, value) -> Check.equal("property " + key, value, got.getUserProperty(key)));
        Check.equal("tag", "t ag\"\\标", got.getTags());
        Check.equal("keys", "键1 key\"2\"", got.getKeys());
        Check.equal("flag", -7, got.getFlag());
        Check.equal("buyer", "买家", got.getBuyerId());
        Check.equal("body", "body \u0000 \u0001 \u0002 🚀", Received.body(got));
    }

    /** The client compresses bodies over 4 KiB and says so in the sysFlag; without that flag the consumer would see the compressed bytes. */
    private static void compressed(Scope scope) throws Exception {
        String topic = scope.topic("t", 1);
        DefaultMQProducer producer = scope.newProducer();
        producer.setCompressMsgBodyOverHowmuch(4096);
        producer.start();
        String body = String.join("", Collections.nCopies(10_000, "压缩 "));
        producer.send(Scope.message(topic, "", body));
        Received received = new Received();
        scope.consumer("g", topic, "*", received).start();
        received.await(1, 45);
        MessageExt got = received.all().get(0);
        Check.equal("body", body, Received.body(got));
        Check.that("stored small", got.getStoreSize() < 4096);
    }

    private static void maxBody(Scope scope) throws Exception {
        String topic = scope.topic("t", 1);
        byte[] body = new byte[4 << 20];
        new Random(7).nextBytes(body);
        Check.equal("status", SendStatus.SEND_OK, scope.producer().send(new Message(topic, body)).getSendStatus());
        Received received = new Received();
        scope.consumer("g", topic, "*", received).start();
        received.await(1, 45);
        Check.that("body intact", Arrays.equals(body, received.all().get(0).getBody()));
    }
}
