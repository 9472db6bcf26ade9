// SPDX-License-Identifier: Apache-2.0
package compat;

import java.lang.reflect.Method;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageAccessor;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;

/** Batches, compression, and the sizes at which the broker says no. */
final class Limits {
    private static final int SEND_BATCH_MESSAGE = 320;
    private static final int VIEW_MESSAGE_BY_ID = 33;
    private static final int SYS_FLAG_POSITION = 36;

    private Limits() {
    }

    static void add(Map<String, Main.Case> cases) {
        cases.put("batch.split", Limits::batchSplit);
        cases.put("batch.refused", Limits::batchRefused);
        cases.put("batch.raw", Limits::batchRaw);
        cases.put("limits.batch", Limits::batchTooLarge);
        cases.put("limits.properties", Limits::properties);
        cases.put("limits.names", Limits::names);
        cases.put("limits.compression", Limits::compression);
    }

    /** The tutorial's way: as many messages in one batch as fit into 1 MiB. Each arrives by itself. */
    private static void batchSplit(Scope scope) throws Exception {
        String topic = scope.topic("t", 2);
        DefaultMQProducer producer = scope.producer();
        Set<String> ids = new HashSet<>();
        Set<String> offsetIds = new HashSet<>();
        List<Message> part = new ArrayList<>();
        int count = 500;
        int size = 0;
        int batches = 0;
        Random random = new Random(4);
        for (int i = 0; i <= count; i++) {
            Message message = Scope.message(topic, "A", i + ":" + String.join("", Collections.nCopies(random.nextInt(5000), "量")));
            message.setKeys("k" + i);
            message.putUserProperty("n", String.valueOf(i));
            int next = message.getBody().length + 200;
            if (i == count || size + next > 1 << 20) {
                SendResult result = producer.send(part);
                ids.addAll(Arrays.asList(result.getMsgId().split(",")));
                offsetIds.addAll(Arrays.asList(result.getOffsetMsgId().split(",")));
                batches++;
                size = 0;
                part = new ArrayList<>();
            }
            part.add(message);
            size += next;
        }
        Check.that("batches " + batches, batches > 3);
        Check.equal("message ids", count, ids.size());
        Check.equal("offset message ids", count, offsetIds.size());
        Received received = new Received();
        scope.consumer("g", topic, "A", received).start();
        received.await(count, 60);
        Check.equal("messages", count, received.count());
        Check.equal("each once", IntStream.range(0, count).boxed().collect(Collectors.toSet()),
            received.all().stream().map(m -> Integer.parseInt(m.getUserProperty("n"))).collect(Collectors.toSet()));
        for (MessageExt message : received.all()) {
            Check.that("body of its number", Received.body(message).startsWith(message.getUserProperty("n") + ":"));
            Check.equal("keys", "k" + message.getUserProperty("n"), message.getKeys());
            String offsetId = MessageDecoder.createMessageId(new java.net.InetSocketAddress("127.0.0.1", Integer.parseInt(scope.broker.split(":")[1])), message.getCommitLogOffset());
            Check.that("offset message id " + offsetId, offsetIds.contains(offsetId));
        }
    }

    /** What the client itself does not let into a batch. */
    private static void batchRefused(Scope scope) throws Exception {
        String topic = scope.topic("t", 1);
        DefaultMQProducer producer = scope.producer();
        Message delayed = Scope.message(topic, "", "m");
        delayed.setDelayTimeLevel(1);
        for (List<Message> batch : List.of(List.of(Scope.message(topic, "", "m"), delayed), List.of(Scope.message(topic, "", "m"), Scope.message(topic + "x", "", "m")),
            List.of(Scope.message("%RETRY%" + scope.name("g"), "", "m"), Scope.message("%RETRY%" + scope.name("g"), "", "m")))) {
            try {
                producer.send(batch);
                throw new AssertionError("accepted " + batch);
            } catch (MQClientException e) {
                Check.that("refused by the client: " + e.getCause(), e.getCause() instanceof UnsupportedOperationException);
            }
        }
        Check.equal("messages in the topic", 0L, scope.end(topic, 1));
    }

    private static byte[] body(Message... messages) {
        java.io.ByteArrayOutputStream body = new java.io.ByteArrayOutputStream();
        Arrays.stream(messages).forEach(message -> body.writeBytes(MessageDecoder.encodeMessage(message)));
        return body.toByteArray();
    }

    private static Map<String, String> batch(String topic, Object... changes) {
        Map<String, String> fields = Scope.fields("a", "raw", "b", topic, "c", "TBW102", "d", 4, "e", 0, "f", 0, "g", System.currentTimeMillis(),
            "h", 0, "i", "", "j", 0, "k", false, "l", 0, "m", true);
        fields.putAll(Scope.fields(changes));
        return fields;
    }

    /** What a client could still send: refused with MESSAGE_ILLEGAL, and nothing is stored. */
    private static void batchRaw(Scope scope) throws Exception {
        String topic = scope.topic("t", 1);
        Message message = Scope.message(topic, "", "m");
        byte[] body = body(message, message);
        RemotingCommand fine = scope.call(SEND_BATCH_MESSAGE, batch(topic), body);
        Check.equal("fine (" + fine.getRemark() + ")", 0, fine.getCode());
        Check.equal("messages", 2L, scope.end(topic, 1));
        Object[][] wrong = {{"a delay level", "i", "DELAY\u00011\u0002"}, {"a retry topic", "b", "%RETRY%" + scope.name("g")}};
        for (Object[] each : wrong) {
            RemotingCommand answer = scope.call(SEND_BATCH_MESSAGE, batch(topic, each[1], each[2]), body);
            Check.equal(each[0] + " (" + answer.getRemark() + ")", 13, answer.getCode());
        }
        byte[] tooLong = body.clone();
        tooLong[3] += 1; // the size of the first message, one byte more than it has
        byte[] negative = body.clone();
        negative[0] = (byte) 0x80;
        for (byte[] lie : new byte[][] {tooLong, negative, Arrays.copyOf(body, body.length - 1), {1, 2, 3}}) {
            RemotingCommand answer = scope.call(SEND_BATCH_MESSAGE, batch(topic), lie);
            Check.that("a lie about a length: " + answer, answer.getCode() != 0 || !Scope.OXMQ);
        }
        RemotingCommand last = scope.call(SEND_BATCH_MESSAGE, batch(topic), body);
        Check.equal("still serves", 0, last.getCode());
    }

    private static void batchTooLarge(Scope scope) throws Exception {
        String topic = scope.topic("t", 1);
        DefaultMQProducer producer = scope.producer();
        List<Message> batch = new ArrayList<>();
        for (int i = 0; i < 5; i++) {
            batch.add(new Message(topic, new byte[1 << 20]));
        }
        try {
            producer.send(batch);
            throw new AssertionError("5 MiB in one batch are accepted");
        } catch (MQClientException e) {
            // Java stumbles, and the client tries that three times.
            MQBrokerException refusal = (MQBrokerException) e.getCause();
            Check.that("OxMQ does not: " + refusal.getErrorMessage(), !Scope.OXMQ && refusal.getResponseCode() == 1);
        } catch (MQBrokerException e) {
            Check.equal("code (" + e.getErrorMessage() + ")", 13, e.getResponseCode());
        }
        Check.equal("nothing is stored", 0L, scope.end(topic, 1));
        producer.send(batch.subList(0, 3));
        Check.equal("3 MiB are fine", 3L, scope.end(topic, 1));
    }

    /** The properties of a message may have 32,767 bytes as they are stored; one more is refused. */
    private static void properties(Scope scope) throws Exception {
        String topic = scope.topic("t", 1);
        DefaultMQProducer producer = scope.producer();
        // What the client adds itself is measured with a message that fits.
        Message measure = Scope.message(topic, "", "m");
        producer.send(measure);
        int own = MessageDecoder.messageProperties2String(measure.getProperties()).getBytes(java.nio.charset.StandardCharsets.UTF_8).length;
        DefaultMQPullConsumer looker = scope.puller("looker");
        int stored = 0;
        for (int size : new int[] {30_000, 32_700, 33_000}) {
            Message message = Scope.message(topic, "", "m");
            message.putUserProperty("big", String.join("", Collections.nCopies(size - own - 5, "x")));
            try {
                producer.send(message);
                stored++;
                Check.that(size + " is accepted", size <= 32_767);
            } catch (MQBrokerException e) {
                Check.that(size + " is refused", size > 32_767);
                Check.equal("code (" + e.getErrorMessage() + ")", 13, e.getResponseCode());
            }
        }
        List<MessageExt> found = Scope.contents(looker, looker.fetchSubscribeMessageQueues(topic).iterator().next());
        Check.equal("messages", stored + 1, found.size());
        Check.equal("the big property", 30_000 - own - 5, found.get(1).getUserProperty("big").length());
        Check.equal("the bigger property", 32_700 - own - 5, found.get(2).getUserProperty("big").length());
    }

    /** A topic of 127 characters, the longest, with all characters that a name may have. */
    private static void names(Scope scope) throws Exception {
        String start = scope.name("%|-");
        String topic = scope.topic("%|-" + String.join("", Collections.nCopies(127 - start.length(), "x")), 1);
        Check.equal("length", 127, topic.length());
        scope.producer().send(Scope.message(topic, "", "m"));
        Received received = new Received();
        scope.consumer("g", topic, "*", received).start();
        received.await(1, 45);
        Check.equal("topic", topic, received.all().get(0).getTopic());
    }

    /** zlib, and with a 5.x client lz4 and zstd: stored as they come, and told apart by the message's sysFlag. */
    private static void compression(Scope scope) throws Exception {
        String topic = scope.topic("t", 1);
        Method setter = Arrays.stream(DefaultMQProducer.class.getMethods()).filter(m -> m.getName().equals("setCompressType")).findFirst().orElse(null);
        List<String> types = setter == null ? List.of("ZLIB") : List.of("ZLIB", "LZ4", "ZSTD");
        Map<String, Integer> flags = Map.of("ZLIB", 3 << 8, "LZ4", 1 << 8, "ZSTD", 2 << 8);
        String big = String.join("", Collections.nCopies(20_000, "压缩 "));
        byte[] noise = new byte[64 << 10];
        new Random(3).nextBytes(noise);
        for (String type : types) {
            DefaultMQProducer producer = scope.newProducer();
            producer.setCompressMsgBodyOverHowmuch(4096);
            if (setter != null) {
                setter.invoke(producer, Enum.valueOf((Class) setter.getParameterTypes()[0], type));
            }
            producer.start();
            Check.equal("stored", 0, producer.send(Scope.message(topic, "big", type + big)).getSendStatus().ordinal());
            producer.send(Scope.message(topic, "small", type));
            producer.send(new Message(topic, "noise", noise));
        }
        Received received = new Received();
        scope.consumer("g", topic, "*", received).start();
        received.await(3 * types.size(), 45);
        List<MessageExt> found = Received.byQueue(received.all()).get(0);
        for (int i = 0; i < types.size(); i++) {
            MessageExt large = found.get(3 * i);
            Check.equal("body", types.get(i) + big, Received.body(large));
            Check.that("stored small: " + large.getStoreSize(), large.getStoreSize() < 10_000);
            // Decoding clears flags; the record has them.
            int sysFlag = ByteBuffer.wrap(scope.call(VIEW_MESSAGE_BY_ID, Scope.fields("offset", large.getCommitLogOffset()), null).getBody()).getInt(SYS_FLAG_POSITION);
            Check.equal("compressed flag", 1, sysFlag & 1);
            Check.equal("kind in the sysFlag", flags.get(types.get(i)), sysFlag & 0x700);
            Check.equal("small body", types.get(i), Received.body(found.get(3 * i + 1)));
            Check.equal("small flag", 0, found.get(3 * i + 1).getSysFlag() & 1);
            Check.that("noise", Arrays.equals(noise, found.get(3 * i + 2).getBody()));
        }
    }
}
