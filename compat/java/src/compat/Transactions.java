// SPDX-License-Identifier: Apache-2.0
package compat;

import compat.Deliveries.Delivery;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.client.producer.TransactionSendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;

/** Transactions: half messages, their end, the check-back. The run's broker has short times, see run.sh. */
final class Transactions {
    private static final int END_TRANSACTION = 37;
    private static final int COMMIT = 8;
    private static final int ROLLBACK = 12;
    private static final String HALF_TOPIC = "RMQ_SYS_TRANS_HALF_TOPIC";

    private Transactions() {
    }

    static void add(Map<String, Main.Case> waiting, Map<String, Main.Case> together) {
        waiting.put("tx.discard", Transactions::discard);
        waiting.put("tx.other_producer", Transactions::otherProducer);
        waiting.put("tx.producer_returns", Transactions::producerReturns);
        waiting.put("tx.check_back", Transactions::checkBack);
        waiting.put("tx.immunity", Transactions::immunity);
        together.put("tx.commit_rollback", Transactions::commitAndRollback);
        together.put("tx.half_is_hidden", Transactions::halfIsHidden);
        together.put("tx.with_delay", Transactions::withDelay);
        together.put("tx.end_raw", Transactions::endRaw);
    }

    /** Decides by the body of the message, and takes note of every check. */
    private static final class Ledger implements TransactionListener {
        final Function<String, LocalTransactionState> local;
        final Function<String, LocalTransactionState> check;
        final Map<String, List<Long>> checks = new ConcurrentHashMap<>();
        final List<MessageExt> checked = Collections.synchronizedList(new ArrayList<>());

        Ledger(Function<String, LocalTransactionState> local, Function<String, LocalTransactionState> check) {
            this.local = local;
            this.check = check;
        }

        @Override
        public LocalTransactionState executeLocalTransaction(Message message, Object argument) {
            return local.apply(new String(message.getBody(), java.nio.charset.StandardCharsets.UTF_8));
        }

        @Override
        public LocalTransactionState checkLocalTransaction(MessageExt message) {
            checked.add(message);
            checks.computeIfAbsent(Received.body(message), body -> Collections.synchronizedList(new ArrayList<>())).add(System.currentTimeMillis());
            return check.apply(Received.body(message));
        }
    }

    private static Message message(String topic, String body) {
        Message message = Scope.message(topic, "A", body);
        message.setKeys("键 " + body);
        message.putUserProperty("user", "值 " + body);
        return message;
    }

    private static Deliveries consume(Scope scope, String topic) throws Exception {
        Deliveries deliveries = new Deliveries();
        scope.consumer("g", topic, "A", deliveries.concurrently((delivery, context) -> ConsumeConcurrentlyStatus.CONSUME_SUCCESS)).start();
        return deliveries;
    }

    /** The half messages of the case, as the half topic keeps them. */
    private static List<MessageExt> halves(DefaultMQPullConsumer looker, String topic) throws Exception {
        String broker = looker.fetchSubscribeMessageQueues(topic).iterator().next().getBrokerName();
        return Scope.contents(looker, new MessageQueue(HALF_TOPIC, broker, 0)).stream()
            .filter(m -> topic.equals(m.getProperty("REAL_TOPIC"))).collect(Collectors.toList());
    }

    /** A committed message arrives with all it was sent with; nobody is asked about an ended transaction. */
    private static void commitAndRollback(Scope scope) throws Exception {
        String topic = scope.topic("t", 4);
        Deliveries deliveries = consume(scope, topic);
        Ledger ledger = new Ledger(body -> body.startsWith("commit") ? LocalTransactionState.COMMIT_MESSAGE : LocalTransactionState.ROLLBACK_MESSAGE,
            body -> LocalTransactionState.UNKNOW);
        TransactionMQProducer producer = scope.transactions("tx", ledger);
        producer.start();
        Map<String, TransactionSendResult> sent = new HashMap<>();
        for (int i = 0; i < 40; i++) {
            String body = (i % 2 == 0 ? "commit" : "rollback") + i;
            TransactionSendResult result = producer.sendMessageInTransaction(message(topic, body), null);
            Check.equal("status", SendStatus.SEND_OK, result.getSendStatus());
            Check.equal("transaction id", result.getMsgId(), result.getTransactionId());
            if (i % 2 == 0) {
                sent.put(body, result);
            }
        }
        deliveries.await(20, 45);
        // Longer than the first check would take.
        long end = Long.parseLong(scope.setting("transactionTimeOut")) + 2 * Long.parseLong(scope.setting("transactionCheckInterval"));
        Thread.sleep(end);
        Check.equal("checks", Map.of(), ledger.checks);
        Check.equal("each once", sent.keySet(), new HashSet<>(deliveries.bodies()));
        Check.equal("deliveries", 20, deliveries.all().size());
        Check.equal("messages in the topic", 20L, scope.end(topic, 4));
        for (Delivery delivery : deliveries.all()) {
            TransactionSendResult result = sent.get(delivery.body());
            Check.equal("message id", result.getMsgId(), delivery.id());
            Check.equal("UNIQ_KEY", result.getTransactionId(), delivery.properties().get("UNIQ_KEY"));
            Check.equal("transaction id", result.getTransactionId(), delivery.message().getTransactionId());
            Check.equal("queue", result.getMessageQueue().getQueueId(), delivery.message().getQueueId());
            Check.equal("keys", "键 " + delivery.body(), delivery.message().getKeys());
            Check.equal("user property", "值 " + delivery.body(), delivery.message().getUserProperty("user"));
            Check.equal("times", 0, delivery.times());
            Check.equal("properties", Set.of("KEYS", "TAGS", "UNIQ_KEY", "user", "PGROUP", "TRAN_MSG", "REAL_TOPIC", "REAL_QID", "WAIT", "CLUSTER", "MIN_OFFSET", "MAX_OFFSET", "CONSUME_START_TIME", "MSG_REGION", "TRACE_ON", "__transactionId__"),
                delivery.properties().keySet());
        }
        Received.byQueue(deliveries.all().stream().map(Delivery::message).collect(Collectors.toList())).values().forEach(list ->
            IntStream.range(0, list.size()).forEach(i -> Check.equal("queue offset", (long) i, list.get(i).getQueueOffset())));
    }

    /** While the local transaction runs, nobody sees the message. */
    private static void halfIsHidden(Scope scope) throws Exception {
        String topic = scope.topic("t", 1);
        Deliveries deliveries = consume(scope, topic);
        DefaultMQPullConsumer looker = scope.puller("looker");
        List<Throwable> errors = Collections.synchronizedList(new ArrayList<>());
        List<Long> committing = Collections.synchronizedList(new ArrayList<>());
        TransactionMQProducer producer = scope.transactions("tx", new Ledger(body -> {
            try {
                Check.within(10, "the half message", () -> halves(looker, topic).size() == 1);
                MessageExt half = halves(looker, topic).get(0);
                Check.equal("body of the half message", "m", Received.body(half));
                Check.equal("REAL_QID", "0", half.getProperty("REAL_QID"));
                Check.equal("TRAN_MSG", "true", half.getProperty("TRAN_MSG"));
                Check.equal("PGROUP", scope.name("tx"), half.getProperty("PGROUP"));
                Thread.sleep(500); // Nothing may come meanwhile.
                Check.equal("messages in the topic", 0L, scope.end(topic, 1));
                Check.equal("deliveries", 0, deliveries.all().size());
            } catch (Throwable e) {
                errors.add(e);
            }
            committing.add(System.currentTimeMillis());
            return LocalTransactionState.COMMIT_MESSAGE;
        }, body -> LocalTransactionState.COMMIT_MESSAGE));
        producer.start();
        producer.sendMessageInTransaction(message(topic, "m"), null);
        Check.equal("errors in the local transaction", List.of(), errors);
        deliveries.await(1, 45);
        Check.that("delivered after the commit", deliveries.all().get(0).atMs() >= committing.get(0));
        Check.equal("deliveries", 1, deliveries.all().size());
    }

    /** What the local transaction left open is asked about after transactionTimeOut, until it is decided. */
    private static void checkBack(Scope scope) throws Exception {
        String topic = scope.topic("t", 2);
        long timeout = Long.parseLong(scope.setting("transactionTimeOut"));
        long interval = Long.parseLong(scope.setting("transactionCheckInterval"));
        Deliveries deliveries = consume(scope, topic);
        Map<String, Integer> asked = new ConcurrentHashMap<>();
        Ledger ledger = new Ledger(body -> LocalTransactionState.UNKNOW, body -> {
            // "later" is decided by the third check.
            int times = asked.merge(body, 1, Integer::sum);
            return body.startsWith("rollback") ? LocalTransactionState.ROLLBACK_MESSAGE
                : body.startsWith("later") && times < 3 ? LocalTransactionState.UNKNOW : LocalTransactionState.COMMIT_MESSAGE;
        });
        TransactionMQProducer producer = scope.transactions("tx", ledger);
        producer.start();
        Map<String, TransactionSendResult> sent = new HashMap<>();
        long first = System.currentTimeMillis();
        for (int i = 0; i < 12; i++) {
            String body = List.of("commit", "rollback", "later").get(i % 3) + i;
            sent.put(body, producer.sendMessageInTransaction(message(topic, body), null));
        }
        long last = System.currentTimeMillis();
        Set<String> committed = sent.keySet().stream().filter(body -> !body.startsWith("rollback")).collect(Collectors.toSet());
        deliveries.await(8, 60 + (timeout + 4 * interval) / 1000.0);
        Check.within(10, "all are asked about", () -> ledger.checks.size() == 12);
        Check.equal("committed", committed, new HashSet<>(deliveries.bodies()));
        sent.forEach((body, result) -> {
            List<Long> times = ledger.checks.get(body);
            Check.that(body + " is first asked about " + (times.get(0) - first) + " ms after the first send", times.get(0) >= first + timeout);
            Check.that(body + " is first asked about " + (times.get(0) - last) + " ms after the last send", times.get(0) <= last + timeout + 3 * interval + 3000);
        });
        for (MessageExt message : ledger.checked) {
            TransactionSendResult result = sent.get(Received.body(message));
            Check.equal("topic of the check", topic, message.getTopic());
            Check.equal("transaction id of the check", result.getTransactionId(), message.getTransactionId());
            Check.equal("UNIQ_KEY of the check", result.getMsgId(), message.getProperty("UNIQ_KEY"));
            Check.equal("keys of the check", "键 " + Received.body(message), message.getKeys());
        }
        deliveries.all().forEach(delivery -> Check.equal("UNIQ_KEY", sent.get(delivery.body()).getTransactionId(), delivery.properties().get("UNIQ_KEY")));
        // The answers to the checks have to end the checking.
        Thread.sleep(3 * interval);
        sent.keySet().forEach(body -> Check.equal("checks of " + body, body.startsWith("later") ? 3 : 1, ledger.checks.get(body).size()));
        Check.equal("deliveries", 8, deliveries.all().size());
    }

    /** A producer's heartbeat reaches only the brokers of topics that it sent to, and goes out every 30 s. */
    private static void startAndShow(Scope scope, TransactionMQProducer producer) throws Exception {
        producer.start();
        producer.send(Scope.message(scope.topic("other", 1), "", "hello"));
        producer.getDefaultMQProducerImpl().getmQClientFactory().sendHeartbeatToAllBrokerWithLock();
    }

    /** The producer that sent is gone: another one of its group is asked. */
    private static void otherProducer(Scope scope) throws Exception {
        String topic = scope.topic("t", 1);
        Deliveries deliveries = consume(scope, topic);
        TransactionMQProducer first = scope.transactions("tx", new Ledger(body -> LocalTransactionState.UNKNOW, body -> LocalTransactionState.UNKNOW));
        first.start();
        String id = first.sendMessageInTransaction(message(topic, "m"), null).getTransactionId();
        first.shutdown();
        Ledger ledger = new Ledger(body -> LocalTransactionState.UNKNOW, body -> LocalTransactionState.COMMIT_MESSAGE);
        Ledger stranger = new Ledger(body -> LocalTransactionState.UNKNOW, body -> LocalTransactionState.ROLLBACK_MESSAGE);
        for (TransactionMQProducer each : new TransactionMQProducer[] {scope.transactions("tx", ledger), scope.transactions("strangers", stranger)}) {
            startAndShow(scope, each);
        }
        deliveries.await(1, 60);
        Check.equal("transaction id", id, deliveries.all().get(0).id());
        Check.equal("checks at the other", 1, ledger.checked.size());
        Check.equal("checks at another group", 0, stranger.checked.size());
    }

    /** Nobody of the group is there for a while: the half message waits, and does not use up its checks. */
    private static void producerReturns(Scope scope) throws Exception {
        String topic = scope.topic("t", 1);
        long interval = Long.parseLong(scope.setting("transactionCheckInterval"));
        Deliveries deliveries = consume(scope, topic);
        TransactionMQProducer first = scope.transactions("tx", new Ledger(body -> LocalTransactionState.UNKNOW, body -> LocalTransactionState.UNKNOW));
        first.start();
        first.sendMessageInTransaction(message(topic, "m"), null);
        first.shutdown();
        Thread.sleep(Long.parseLong(scope.setting("transactionTimeOut")) + 3 * interval);
        Ledger ledger = new Ledger(body -> LocalTransactionState.UNKNOW, body -> LocalTransactionState.COMMIT_MESSAGE);
        TransactionMQProducer second = scope.transactions("tx", ledger);
        startAndShow(scope, second);
        deliveries.await(1, 60);
        Check.equal("checks", 1, ledger.checked.size());
        Check.equal("deliveries", List.of("m"), deliveries.bodies());
    }

    /** After transactionCheckMax checks without a decision the message is put aside, and nobody gets it. */
    private static void discard(Scope scope) throws Exception {
        String topic = scope.topic("t", 1);
        int max = Integer.parseInt(scope.setting("transactionCheckMax"));
        long interval = Long.parseLong(scope.setting("transactionCheckInterval"));
        Deliveries deliveries = consume(scope, topic);
        Ledger ledger = new Ledger(body -> LocalTransactionState.UNKNOW, body -> LocalTransactionState.UNKNOW);
        TransactionMQProducer producer = scope.transactions("tx", ledger);
        producer.start();
        TransactionSendResult sent = producer.sendMessageInTransaction(message(topic, "m"), null);
        DefaultMQPullConsumer looker = scope.puller("looker");
        MessageQueue aside = new MessageQueue("TRANS_CHECK_MAX_TIME_TOPIC", sent.getMessageQueue().getBrokerName(), 0);
        List<MessageExt> found = new ArrayList<>();
        Check.within((max + 5) * (interval + 1500) / 1000.0 + 30, "the message put aside", () -> {
            try {
                found.clear();
                Scope.contents(looker, aside).stream().filter(m -> m.getMsgId().equals(sent.getMsgId())).forEach(found::add);
            } catch (MQClientException e) {
                return false; // The topic comes into being with the first message.
            } catch (MQBrokerException e) {
                Check.equal("code (" + e.getErrorMessage() + ")", 17, e.getResponseCode());
                return false;
            }
            return found.size() == 1;
        });
        Check.equal("checks", max, ledger.checked.size());
        Check.equal("body", "m", Received.body(found.get(0)));
        Check.equal("keys", "键 m", found.get(0).getKeys());
        Check.equal("REAL_TOPIC", topic, found.get(0).getProperty("REAL_TOPIC"));
        Check.equal("TRANSACTION_CHECK_TIMES", String.valueOf(max), found.get(0).getProperty("TRANSACTION_CHECK_TIMES"));
        Thread.sleep(3 * interval);
        Check.equal("checks", max, ledger.checked.size());
        Check.equal("deliveries", 0, deliveries.all().size());
        Check.equal("messages in the topic", 0L, scope.end(topic, 1));
    }

    /** CHECK_IMMUNITY_TIME_IN_SECONDS puts the first check off. */
    private static void immunity(Scope scope) throws Exception {
        String topic = scope.topic("t", 1);
        long timeout = Long.parseLong(scope.setting("transactionTimeOut"));
        long interval = Long.parseLong(scope.setting("transactionCheckInterval"));
        long immunity = timeout / 1000 + 3;
        Deliveries deliveries = consume(scope, topic);
        Ledger ledger = new Ledger(body -> LocalTransactionState.UNKNOW, body -> LocalTransactionState.COMMIT_MESSAGE);
        TransactionMQProducer producer = scope.transactions("tx", ledger);
        producer.start();
        Message immune = message(topic, "immune");
        immune.putUserProperty("CHECK_IMMUNITY_TIME_IN_SECONDS", String.valueOf(immunity));
        Message text = message(topic, "text");
        text.putUserProperty("CHECK_IMMUNITY_TIME_IN_SECONDS", "soon");
        long from = System.currentTimeMillis();
        producer.sendMessageInTransaction(immune, null);
        producer.sendMessageInTransaction(text, null);
        producer.sendMessageInTransaction(message(topic, "plain"), null);
        long to = System.currentTimeMillis();
        deliveries.await(3, 90);
        Map.of("immune", immunity * 1000, "text", timeout, "plain", timeout).forEach((body, time) -> {
            List<Long> checks = ledger.checks.get(body);
            Check.equal("checks of " + body, 1, checks.size());
            Check.that(body + " is asked about after " + (checks.get(0) - from) + " ms", checks.get(0) >= from + time);
            Check.that(body + " is asked about after " + (checks.get(0) - to) + " ms", checks.get(0) <= to + time + 3 * interval + 3000);
        });
        Check.equal("deliveries", Set.of("immune", "text", "plain"), new HashSet<>(deliveries.bodies()));
    }

    /** The client removes a delay from a transaction: the commit delivers at once. */
    private static void withDelay(Scope scope) throws Exception {
        String topic = scope.topic("t", 1);
        Deliveries deliveries = consume(scope, topic);
        TransactionMQProducer producer = scope.transactions("tx", new Ledger(body -> LocalTransactionState.COMMIT_MESSAGE, body -> LocalTransactionState.UNKNOW));
        producer.start();
        Message message = message(topic, "m");
        message.setDelayTimeLevel(5);
        producer.sendMessageInTransaction(message, null);
        // The commit is sent one-way.
        Check.within(0.8, "stored at once", () -> scope.end(topic, 1) == 1);
        deliveries.await(1, 45);
        Check.equal("DELAY", null, deliveries.all().get(0).properties().get("DELAY"));
    }

    private static Map<String, String> end(Scope scope, MessageExt half, int how, Object... changes) {
        Map<String, String> fields = Scope.fields("producerGroup", scope.name("tx"), "tranStateTableOffset", half.getQueueOffset(), "commitLogOffset", half.getCommitLogOffset(),
            "commitOrRollback", how, "fromTransactionCheck", false, "msgId", half.getMsgId(), "transactionId", half.getMsgId());
        fields.putAll(Scope.fields(changes));
        return fields;
    }

    private static void refused(Scope scope, String what, Map<String, String> fields, int code, String remark) throws Exception {
        RemotingCommand answer = scope.call(END_TRANSACTION, fields, null);
        Check.equal(what + ", code (" + answer.getRemark() + ")", code, answer.getCode());
        Check.that(what + ", remark: " + answer.getRemark(), remark == null || answer.getRemark() != null && answer.getRemark().startsWith(remark));
    }

    /** END_TRANSACTION with what does not fit: refused, and nothing changes. */
    private static void endRaw(Scope scope) throws Exception {
        String topic = scope.topic("t", 1);
        // Decided by hand, long before the first check.
        TransactionMQProducer producer = scope.transactions("tx", new Ledger(body -> LocalTransactionState.UNKNOW, body -> LocalTransactionState.COMMIT_MESSAGE));
        producer.start();
        producer.sendMessageInTransaction(message(topic, "m"), null);
        DefaultMQPullConsumer looker = scope.puller("looker");
        MessageExt half = halves(looker, topic).get(0);
        for (int how : new int[] {COMMIT, ROLLBACK}) {
            refused(scope, "another group", end(scope, half, how, "producerGroup", scope.name("others")), 1, "The producer group wrong");
            refused(scope, "another half offset", end(scope, half, how, "tranStateTableOffset", half.getQueueOffset() + 1), 1, "The transaction state table offset wrong");
            refused(scope, "a place without a message", end(scope, half, how, "commitLogOffset", half.getCommitLogOffset() + 1_000_000_000L), 1, null);
            refused(scope, "the middle of a message", end(scope, half, how, "commitLogOffset", half.getCommitLogOffset() + 5), 1, null);
            refused(scope, "a negative offset", end(scope, half, how, "commitLogOffset", -1), 1, null);
        }
        for (String field : new String[] {"producerGroup", "tranStateTableOffset", "commitLogOffset", "commitOrRollback"}) {
            Map<String, String> fields = end(scope, half, COMMIT);
            fields.remove(field);
            refused(scope, "without " + field, fields, 1, null);
        }
        Check.equal("nothing is delivered", 0L, scope.end(topic, 1));
        refused(scope, "the right one", end(scope, half, COMMIT), 0, null);
        Check.equal("delivered", 1L, scope.end(topic, 1));
    }
}
