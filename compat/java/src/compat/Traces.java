// SPDX-License-Identifier: Apache-2.0
package compat;

import java.lang.reflect.Method;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** What clients write about messages, and bodies that only they can read. */
final class Traces {
    private static final String TRACE_TOPIC = "RMQ_SYS_TRACE_TOPIC";

    private Traces() {
    }

    static void add(Map<String, Main.Case> cases) {
        cases.put("trace", Traces::defaultTopic);
        cases.put("trace.own_topic", Traces::ownTopic);
        cases.put("send.compression_types", Traces::compressionTypes);
    }

    private static void defaultTopic(Scope scope) throws Exception {
        traced(scope, TRACE_TOPIC, new DefaultMQProducer(scope.name("producers"), true, null), new DefaultMQPushConsumer(scope.name("g"), true, null));
    }

    private static void ownTopic(Scope scope) throws Exception {
        String traces = scope.topic("traces", 2);
        traced(scope, traces, new DefaultMQProducer(scope.name("producers"), true, traces), new DefaultMQPushConsumer(scope.name("g"), true, traces));
    }

    /** A message that is sent and consumed leaves three traces: sent, before consumption, after it. */
    private static void traced(Scope scope, String traces, DefaultMQProducer producer, DefaultMQPushConsumer consumer) throws Exception {
        String topic = scope.topic("t", 1);
        scope.own(producer).start();
        scope.atEnd(producer::shutdown);
        SendResult sent = producer.send(Scope.message(topic, "TagA", "traced"));
        Check.equal("region", "DefaultRegion", sent.getRegionId());
        Check.that("trace on", sent.isTraceOn());
        Received received = new Received();
        scope.own(consumer).subscribe(topic, "*");
        consumer.setConsumeFromWhere(org.apache.rocketmq.common.consumer.ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.registerMessageListener(received);
        consumer.start();
        scope.atEnd(consumer::shutdown);
        received.await(1, 45);
        Check.equal("trace switch of the message", "true", received.all().get(0).getProperty("TRACE_ON"));
        DefaultMQPullConsumer looker = scope.puller("looker");
        Check.within(45, "three traces of " + sent.getMsgId(), () -> {
            String all = traces(looker, traces, sent.getMsgId());
            return Arrays.asList("Pub", "SubBefore", "SubAfter").stream().allMatch(all::contains);
        });
    }

    /** All traces that mention the message. */
    private static String traces(DefaultMQPullConsumer looker, String topic, String id) throws Exception {
        List<String> found = new ArrayList<>();
        try {
            for (MessageQueue queue : looker.fetchSubscribeMessageQueues(topic)) {
                long next = 0;
                while (true) {
                    PullResult pulled = looker.pull(queue, "*", next, 32);
                    if (pulled.getPullStatus() == PullStatus.NO_NEW_MSG) {
                        break;
                    }
                    next = pulled.getNextBeginOffset();
                    if (pulled.getPullStatus() == PullStatus.FOUND) {
                        found.addAll(pulled.getMsgFoundList().stream().map(Received::body).filter(text -> text.contains(id)).collect(Collectors.toList()));
                    }
                }
            }
        } catch (org.apache.rocketmq.client.exception.MQClientException e) {
            return ""; // The topic is not there yet.
        }
        return String.join("\n", found);
    }

    /** 4.x compresses by zlib, 5.x also by LZ4 and Zstandard. The broker stores the bytes and the flag as they are. */
    @SuppressWarnings({"unchecked", "rawtypes"})
    private static void compressionTypes(Scope scope) throws Exception {
        Method setter = Arrays.stream(DefaultMQProducer.class.getMethods()).filter(method -> method.getName().equals("setCompressType")).findFirst().orElse(null);
        List<String> types = setter == null ? Collections.singletonList("ZLIB") : Arrays.asList("ZLIB", "LZ4", "ZSTD");
        String topic = scope.topic("t", 1);
        for (String type : types) {
            DefaultMQProducer producer = scope.newProducer();
            producer.setCompressMsgBodyOverHowmuch(100);
            if (setter != null) {
                setter.invoke(producer, Enum.valueOf((Class) setter.getParameterTypes()[0], type));
            }
            producer.start();
            producer.send(Scope.message(topic, type, String.join("", Collections.nCopies(10_000, type + " 压缩 "))));
        }
        Received received = new Received();
        scope.consumer("g", topic, "*", received).start();
        received.await(types.size(), 45);
        for (MessageExt got : received.all()) {
            Check.equal("body", String.join("", Collections.nCopies(10_000, got.getTags() + " 压缩 ")), Received.body(got));
            Check.that("stored small: " + got.getStoreSize(), got.getStoreSize() < 4096);
        }
    }
}
