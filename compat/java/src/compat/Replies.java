// SPDX-License-Identifier: Apache-2.0
package compat;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.exception.RequestTimeoutException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.RequestCallback;
import org.apache.rocketmq.client.impl.MQClientManager;
import org.apache.rocketmq.client.impl.factory.MQClientInstance;
import org.apache.rocketmq.client.producer.RequestResponseFuture;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.client.utils.MessageUtil;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageAccessor;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;

/** Requests whose answers come back through the broker. */
final class Replies {
    /** More than a rebalance, which comes every 20 s: a client that starts beside many others may have its queue one later. */
    private static final long TTL_MS = 50_000;
    private static final int GET_PRODUCER_CONNECTION_LIST = 204;

    private Replies() {
    }

    static void add(Map<String, Main.Case> cases) {
        cases.put("reply", Replies::everyRequesterGetsItsOwn);
        cases.put("reply.sync", Replies::sync);
        cases.put("reply.compressed", Replies::compressed);
        cases.put("reply.requester_gone", Replies::requesterGone);
    }

    /** What a replier answers to a request; null for nothing. */
    private interface Answer {
        String to(MessageExt request);
    }

    /** Starts a consumer that answers requests, and keeps what became of its last answer. */
    private static AtomicReference<Object> replier(Scope scope, String topic, int compressOver, Answer answer) throws Exception {
        DefaultMQProducer sender = scope.newProducer();
        sender.setCompressMsgBodyOverHowmuch(compressOver);
        sender.start();
        AtomicReference<Object> last = new AtomicReference<>();
        DefaultMQPushConsumer consumer = scope.consumer("repliers", topic, "*", new Received());
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            for (MessageExt message : messages) {
                String text = answer.to(message);
                if (text == null) {
                    continue;
                }
                try {
                    last.set(sender.send(MessageUtil.createReplyMessage(message, text.getBytes(StandardCharsets.UTF_8)), 15_000));
                } catch (Exception e) {
                    last.set(e);
                }
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        Scope.awaitShared(45, topic, 2, consumer);
        return last;
    }

    private static void everyRequesterGetsItsOwn(Scope scope) throws Exception {
        String topic = scope.topic("t", 2);
        AtomicReference<Object> last = replier(scope, topic, 1 << 20, request -> "re: " + Received.body(request));
        DefaultMQProducer[] requesters = {known(scope, scope.producer(), topic), known(scope, scope.producer(), topic), known(scope, scope.producer(), topic)};
        List<Future<Message>> replies = new ArrayList<>();
        for (int i = 0; i < 60; i++) {
            replies.add(request(requesters[i % requesters.length], Scope.message(topic, "", "request " + i), TTL_MS));
        }
        for (int i = 0; i < replies.size(); i++) {
            MessageExt reply = (MessageExt) replies.get(i).get(60, TimeUnit.SECONDS);
            Check.equal("reply", "re: request " + i, Received.body(reply));
            Check.that("a reply by its type", "reply".equals(reply.getProperty("MSG_TYPE")));
            Check.that("push time", reply.getProperty("PUSH_REPLY_TIME") != null);
            Check.equal("topic", "DefaultCluster_REPLY_TOPIC", reply.getTopic());
        }
        Check.within(10, "the replier is told", () -> last.get() instanceof SendResult);
        SendResult told = (SendResult) last.get();
        Check.equal("status", SendStatus.SEND_OK, told.getSendStatus());
        // It is stored as well.
        DefaultMQPullConsumer looker = scope.puller("looker");
        MessageQueue queue = new MessageQueue("DefaultCluster_REPLY_TOPIC", told.getMessageQueue().getBrokerName(), told.getMessageQueue().getQueueId());
        Check.equal("pull", PullStatus.FOUND, looker.pull(queue, "*", told.getQueueOffset(), 1).getPullStatus());
    }

    /**
     * Waits for the reply in the client's own way. 5.3.3 does not: all its methods that wait return as soon as the request is
     * sent, with a timeout, against any server.
     */
    private static void sync(Scope scope) throws Exception {
        boolean gaveUpWaiting = Arrays.stream(RequestResponseFuture.class.getMethods()).anyMatch(method -> method.getName().equals("acquireCountDownLatch"));
        if (gaveUpWaiting) {
            return;
        }
        String topic = scope.topic("t", 2);
        replier(scope, topic, 1 << 20, request -> "re: " + Received.body(request));
        Check.equal("reply", "re: sync", Received.body((MessageExt) known(scope, scope.producer(), topic).request(Scope.message(topic, "", "sync"), TTL_MS)));
    }

    /**
     * Has the broker know the requester before it asks. The client sends a heartbeat for that by itself, but not if another of its
     * heartbeats, perhaps to nobody yet, is under way at that moment; then the next one comes 30 s later.
     */
    private static DefaultMQProducer known(Scope scope, DefaultMQProducer requester, String topic) throws Exception {
        MQClientInstance client = MQClientManager.getInstance().getOrCreateMQClientInstance(requester);
        Check.within(30, "the broker knows the requester", () -> {
            client.updateTopicRouteInfoFromNameServer(topic);
            client.sendHeartbeatToAllBrokerWithLock();
            RemotingCommand connections = scope.call(GET_PRODUCER_CONNECTION_LIST, Scope.fields("producerGroup", requester.getProducerGroup()), null);
            return connections.getBody() != null && new String(connections.getBody(), StandardCharsets.UTF_8).contains("\"" + client.getClientId() + "\"");
        });
        return requester;
    }

    /** Sends a request to the first queue. Without a queue, clients of all versions call back with nothing once it is sent. */
    private static CompletableFuture<Message> request(DefaultMQProducer requester, Message request, long ttlMs) throws Exception {
        CompletableFuture<Message> reply = new CompletableFuture<>();
        requester.request(request, (queues, message, none) -> queues.get(0), null, new RequestCallback() {
            @Override
            public void onSuccess(Message message) {
                reply.complete(message);
            }

            @Override
            public void onException(Throwable e) {
                reply.completeExceptionally(e);
            }
        }, ttlMs);
        return reply;
    }

    private static void compressed(Scope scope) throws Exception {
        String topic = scope.topic("t", 2);
        String text = String.join("", Collections.nCopies(20_000, "回复 "));
        List<String> seen = Collections.synchronizedList(new ArrayList<>());
        long start = System.currentTimeMillis();
        AtomicReference<Object> last = replier(scope, topic, 4096, request -> {
            seen.add("request seen after " + (System.currentTimeMillis() - start) + " ms");
            return text;
        });
        DefaultMQProducer requester = known(scope, scope.producer(), topic);
        seen.add("asked after " + (System.currentTimeMillis() - start) + " ms");
        CompletableFuture<Message> future = request(requester, Scope.message(topic, "", "x"), TTL_MS);
        Message reply;
        try {
            reply = future.get(60, TimeUnit.SECONDS);
        } catch (ExecutionException e) {
            throw new AssertionError(e.getCause() + ", " + seen + ", the replier was told " + last.get());
        }
        Check.equal("reply", text, Received.body((MessageExt) reply));
    }

    private static void requesterGone(Scope scope) throws Exception {
        String topic = scope.topic("t", 2);
        AtomicReference<String> to = new AtomicReference<>();
        AtomicReference<Object> last = replier(scope, topic, 1 << 20, request -> {
            to.set(MessageUtil.getReplyToClient(request));
            return Received.body(request).equals("ignored") ? null : "too late";
        });
        DefaultMQProducer requester = scope.newProducer();
        requester.start();
        CompletableFuture<Message> ignored = request(requester, Scope.message(topic, "", "ignored"), 2000);
        try {
            ignored.get(30, TimeUnit.SECONDS);
            Check.that("it had to time out", false);
        } catch (ExecutionException e) {
            Check.that("timeout: " + e.getCause(), e.getCause() instanceof RequestTimeoutException);
        }
        Check.within(45, "the request was seen", () -> to.get() != null);
        String id = to.get();
        requester.shutdown();
        // A request in the name of the one that is gone.
        Message request = Scope.message(topic, "", "orphan");
        MessageAccessor.putProperty(request, "REPLY_TO_CLIENT", id);
        MessageAccessor.putProperty(request, "CORRELATION_ID", "gone");
        MessageAccessor.putProperty(request, "TTL", "3000");
        scope.producer().send(request);
        Check.within(30, "the replier is told", () -> last.get() != null);
        Check.that("refused: " + last.get(), last.get() instanceof MQClientException);
        // The client tries three times, because that is what it does on SYSTEM_ERROR.
        MQBrokerException refused = (MQBrokerException) ((Throwable) last.get()).getCause();
        Check.equal("code", 1, refused.getResponseCode());
        Check.equal("remark", "push reply message fail, channel of <" + id + "> not found.", refused.getErrorMessage().replaceAll(" BROKER: .*", ""));
    }
}
