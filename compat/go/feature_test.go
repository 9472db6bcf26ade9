// SPDX-License-Identifier: Apache-2.0

package compat

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

// lateness is how late a message may be stored after its time.
var lateness = map[bool]time.Duration{true: time.Second, false: 200 * time.Millisecond}[os.Getenv("COMPAT_TARGET") == "java"]

// steps are the first delay levels of a stock broker. The first retry has level 3.
var steps = []time.Duration{time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second}

// within polls until the condition holds and ends the case when it does not in time. The cases here wait for the
// server's clock, so they run side by side.
func within(t *testing.T, limit time.Duration, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v in vain: %s", limit, what)
		}
	}
}

// delivery is one call of a listener. The client changes the message when it delivers it again, so what counts is copied.
type delivery struct {
	key, id, topic, realTopic string
	times                     int32
	stored, at                time.Time
	message                   *primitive.MessageExt
}

// listener is one consumer that keeps its calls and answers as the case says.
type listener struct {
	rocketmq.PushConsumer
	mutex sync.Mutex
	calls []delivery
}

func (l *listener) deliveries() []delivery {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return append([]delivery{}, l.calls...)
}

func (l *listener) of(key string) (found []delivery) {
	for _, d := range l.deliveries() {
		if d.key == key {
			found = append(found, d)
		}
	}
	return found
}

// listen starts a consumer of one message at a time.
func listen(t *testing.T, group, instance, topic string, selector consumer.MessageSelector,
	answer func(delivery) consumer.ConsumeResult, options ...consumer.Option) *listener {
	t.Helper()
	c, err := rocketmq.NewPushConsumer(append([]consumer.Option{consumer.WithNsResolver(resolver()),
		consumer.WithGroupName(name(t, group)), consumer.WithInstance(name(t, instance)),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset), consumer.WithConsumeGoroutineNums(4)}, options...)...)
	ok(t, err, "new push consumer")
	l := &listener{PushConsumer: c}
	ok(t, c.Subscribe(topic, selector, func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		m := messages[0]
		key, _, _ := strings.Cut(m.GetKeys(), primitive.PropertyKeySeparator)
		d := delivery{key, m.MsgId, m.Topic, m.GetProperty(primitive.PropertyRealTopic), m.ReconsumeTimes, time.UnixMilli(m.StoreTimestamp), time.Now(), m}
		l.mutex.Lock()
		l.calls = append(l.calls, d)
		l.mutex.Unlock()
		return answer(d), nil
	}), "subscribe")
	ok(t, c.Start(), "start push consumer")
	t.Cleanup(func() { c.Shutdown() })
	return l
}

func consumed(delivery) consumer.ConsumeResult { return consumer.ConsumeSuccess }

func all(expression string) consumer.MessageSelector {
	return consumer.MessageSelector{Type: consumer.TAG, Expression: expression}
}

// same requires that the delivered message is the one that was sent, with everything the sender gave it.
func same(t *testing.T, sent *primitive.Message, id string, d delivery) {
	t.Helper()
	m := d.message
	if d.id != id || string(m.Body) != string(sent.Body) || m.GetKeys() != sent.GetKeys() || m.GetTags() != sent.GetTags() ||
		m.GetProperty("user") != sent.GetProperty("user") || m.GetProperty("订单") != "42" {
		t.Errorf("message %s (sent as %s) arrived changed: %v", d.id, id, m)
	}
}

// inTime requires that the message was stored at its time, which is known within the time that the call before it took.
func inTime(t *testing.T, what string, stored, from, to time.Time) {
	t.Helper()
	// Stamps are whole milliseconds.
	if early := from.Truncate(time.Millisecond).Sub(stored); early > 0 {
		t.Errorf("%s is stored %v early", what, early)
	}
	if late := stored.Sub(to); late > lateness {
		t.Errorf("%s is stored %v late", what, late)
	}
}

// Messages of the delay levels 1 to 3 come in time and unchanged; level 0 is no delay.
func TestDelayLevels(t *testing.T) {
	t.Parallel()
	topic := createTopic(t, "topic", 2)
	l := listen(t, "group", "one", topic, all("A"), consumed)
	p := newProducer(t)
	type span struct{ from, to time.Time }
	sent, ids, spans := map[string]*primitive.Message{}, map[string]string{}, map[string]span{}
	for i := 0; i < 12; i++ {
		level := i % 4
		key := fmt.Sprintf("%d-%d", level, i)
		sent[key] = message(topic, key, "A").WithDelayTimeLevel(level)
		from := time.Now()
		ids[key] = send(t, p, sent[key]).MsgID
		delay := time.Duration(0)
		if level > 0 {
			delay = steps[level-1]
		}
		spans[key] = span{from.Add(delay), time.Now().Add(delay)}
	}
	within(t, steps[2]+15*time.Second, "12 messages", func() bool { return len(l.deliveries()) >= 12 })
	for key := range sent {
		got := l.of(key)
		if len(got) != 1 {
			t.Fatalf("message %s came %d times", key, len(got))
		}
		same(t, sent[key], ids[key], got[0])
		inTime(t, "message "+key, got[0].stored, spans[key].from, spans[key].to)
		// As above: the broker counts from the millisecond in which it got the message.
		if got[0].at.Before(spans[key].from.Truncate(time.Millisecond)) {
			t.Errorf("message %s came early", key)
		}
		if delayed := got[0].realTopic == topic; delayed != (key[0] != '0') {
			t.Errorf("message %s: REAL_TOPIC %q", key, got[0].realTopic)
		}
	}
}

// A message that is not consumed comes again after level 3, with the same id and counted, and is a dead letter when its
// retries are used up: readable, and unchanged.
func TestRetryAndDeadLetter(t *testing.T) {
	t.Parallel()
	topic := createTopic(t, "topic", 1)
	l := listen(t, "group", "one", topic, all("*"), func(d delivery) consumer.ConsumeResult {
		if d.key == "bad" || d.key == "late" && d.times == 0 {
			return consumer.ConsumeRetryLater
		}
		return consumer.ConsumeSuccess
	}, consumer.WithMaxReconsumeTimes(1))
	p := newProducer(t)
	sent, ids := map[string]*primitive.Message{}, map[string]string{}
	for _, key := range []string{"bad", "late", "good"} {
		sent[key] = message(topic, key, "标签")
		ids[key] = send(t, p, sent[key]).MsgID
	}
	retry := "%RETRY%" + name(t, "group")
	// The retry topic of a new group is assigned with the next rebalance, up to 20 s later.
	within(t, steps[2]+40*time.Second, "5 deliveries", func() bool { return len(l.deliveries()) >= 5 })
	for _, key := range []string{"bad", "late"} {
		got := l.of(key)
		if len(got) != 2 || got[0].times != 0 || got[1].times != 1 || got[1].realTopic != retry || got[1].topic != topic {
			t.Fatalf("deliveries of %s: %v", key, got)
		}
		same(t, sent[key], ids[key], got[0])
		same(t, sent[key], ids[key], got[1])
		// The listener's answer has to reach the broker first.
		inTime(t, "the retry of "+key, got[1].stored, got[0].at.Add(steps[2]), got[0].at.Add(steps[2]+time.Second))
	}
	dead := "%DLQ%" + name(t, "group")
	within(t, 20*time.Second, "the dead letters' topic", func() bool { return len(writeQueues(t, dead)) == 1 })
	undertaker := listen(t, "undertaker", "two", dead, all("*"), consumed)
	within(t, 30*time.Second, "the dead letter", func() bool { return len(undertaker.deliveries()) >= 1 })
	letter := undertaker.deliveries()[0]
	same(t, sent["bad"], ids["bad"], letter)
	if letter.message.GetProperty(primitive.PropertyRetryTopic) != topic || letter.times != 2 {
		t.Errorf("dead letter: times %d, properties %v", letter.times, letter.message.GetProperties())
	}
	if len(l.deliveries()) != 5 || len(undertaker.deliveries()) != 1 {
		t.Errorf("%d deliveries and %d dead letters", len(l.deliveries()), len(undertaker.deliveries()))
	}
}

// Two orderly members share the queues; each sharding key comes in the order of the sends, also the one whose message
// holds its queue up for a moment, twice.
func TestOrderly(t *testing.T) {
	t.Parallel()
	topic := createTopic(t, "topic", 4)
	answer := func(d delivery) consumer.ConsumeResult {
		if strings.HasPrefix(d.key, "0-005") && d.times < 2 {
			return consumer.SuspendCurrentQueueAMoment
		}
		return consumer.ConsumeSuccess
	}
	options := []consumer.Option{consumer.WithConsumerOrder(true), consumer.WithSuspendCurrentQueueTimeMillis(200 * time.Millisecond)}
	one := listen(t, "group", "one", topic, all("*"), answer, options...)
	two := listen(t, "group", "two", topic, all("*"), answer, options...)
	p := newProducer(t, producer.WithQueueSelector(producer.NewHashQueueSelector()))
	for i := 0; i < 20; i++ {
		for key := 0; key < 8; key++ {
			m := message(topic, fmt.Sprintf("%d-%03d", key, i), "A")
			m.WithShardingKey(strconv.Itoa(key))
			send(t, p, m)
		}
	}
	deliveries := func() []delivery { return append(one.deliveries(), two.deliveries()...) }
	different := func() int {
		keys := map[string]bool{}
		for _, d := range deliveries() {
			keys[d.key] = true
		}
		return len(keys)
	}
	// This client never unlocks a queue that it gives up: a member that comes second waits for the 60 s of the lock, and
	// then for its next rebalance, unless both have come before the first one locked.
	t.Cleanup(func() {
		if t.Failed() {
			byQueue := map[string]int{}
			for _, d := range deliveries() {
				byQueue[fmt.Sprintf("queue %d, key %s", d.message.Queue.QueueId, d.key[:1])]++
			}
			t.Logf("%d of member one, %d of member two: %v", len(one.deliveries()), len(two.deliveries()), byQueue)
		}
	})
	within(t, 100*time.Second, "160 messages", func() bool { return different() == 160 })
	held := 0
	next := map[string]int{}
	for _, d := range deliveries() {
		key, number, _ := strings.Cut(d.key, "-")
		n, _ := strconv.Atoi(number)
		if d.key == "0-005" {
			held++
		}
		// A queue that changes hands may repeat what was not committed, but never jump ahead.
		if n > next[key] {
			t.Errorf("key %s: %d came before %d", key, n, next[key])
		}
		if n == next[key] {
			next[key]++
		}
	}
	if held < 3 {
		t.Errorf("the held message came %d times", held)
	}
}

// decisions is a transaction listener that decides by the key of the message, and counts the checks.
type decisions struct {
	mutex  sync.Mutex
	hidden func(key string)
	checks map[string][]time.Time
}

func state(key string) primitive.LocalTransactionState {
	switch {
	case strings.HasPrefix(key, "commit"):
		return primitive.CommitMessageState
	case strings.HasPrefix(key, "rollback"):
		return primitive.RollbackMessageState
	}
	return primitive.UnknowState
}

func firstKey(m *primitive.Message) string {
	key, _, _ := strings.Cut(m.GetKeys(), primitive.PropertyKeySeparator)
	return key
}

func (d *decisions) ExecuteLocalTransaction(m *primitive.Message) primitive.LocalTransactionState {
	d.hidden(firstKey(m))
	return state(firstKey(m))
}

func (d *decisions) CheckLocalTransaction(m *primitive.MessageExt) primitive.LocalTransactionState {
	key := firstKey(&m.Message)
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.checks[key] = append(d.checks[key], time.Now())
	return state(strings.TrimPrefix(key, "later-"))
}

// Committed messages arrive, rolled back ones do not, and the undecided are asked about after transactionTimeOut (3 s in
// this run) and follow the answer. The broker asks over the connection of a producer of the group.
func TestTransactions(t *testing.T) {
	t.Parallel()
	topic := createTopic(t, "topic", 2)
	l := listen(t, "group", "one", topic, all("A"), consumed)
	d := &decisions{checks: map[string][]time.Time{}, hidden: func(key string) {
		if len(l.of(key)) != 0 {
			t.Errorf("%s was visible before its end", key)
		}
	}}
	p, err := rocketmq.NewTransactionProducer(d, producer.WithNsResolver(resolver()), producer.WithGroupName(name(t, "tx")),
		producer.WithInstanceName(name(t, "tx")))
	ok(t, err, "new transaction producer")
	ok(t, p.Start(), "start transaction producer")
	t.Cleanup(func() { p.Shutdown() })
	sent, ids, ends := map[string]*primitive.Message{}, map[string]string{}, map[string]time.Time{}
	for i := 0; i < 20; i++ {
		key := []string{"commit", "rollback", "later-commit", "later-rollback"}[i%4] + fmt.Sprintf("-%02d", i)
		m := message(topic, key, "A")
		result, err := p.SendMessageInTransaction(context.Background(), m)
		ok(t, err, "send in transaction")
		sent[key], ids[key], ends[key] = m, result.MsgID, time.Now()
	}
	within(t, 60*time.Second, "10 committed messages", func() bool { return len(l.deliveries()) >= 10 })
	within(t, 30*time.Second, "10 checks", func() bool { d.mutex.Lock(); defer d.mutex.Unlock(); return len(d.checks) == 10 })
	time.Sleep(3 * time.Second) // What was answered must not be asked again, or delivered again.
	d.mutex.Lock()
	defer d.mutex.Unlock()
	for key := range sent {
		got, checks := l.of(key), d.checks[key]
		if committed := strings.Contains(key, "commit"); committed != (len(got) == 1) || len(got) > 1 {
			t.Errorf("%s came %d times", key, len(got))
		}
		for _, each := range got {
			same(t, sent[key], ids[key], each)
			if each.message.GetProperty(primitive.PropertyUniqueClientMessageIdKeyIndex) != ids[key] {
				t.Errorf("%s: UNIQ_KEY %s, sent %s", key, each.message.GetProperty(primitive.PropertyUniqueClientMessageIdKeyIndex), ids[key])
			}
		}
		if asked := strings.HasPrefix(key, "later"); asked != (len(checks) == 1) || len(checks) > 1 {
			t.Errorf("%s was asked about %d times", key, len(checks))
		}
		for _, at := range checks {
			if after := at.Sub(ends[key]); after < 2900*time.Millisecond || after > 10*time.Second {
				t.Errorf("%s was asked about after %v", key, after)
			}
		}
	}
}

// SQL92 selects by properties, at the broker.
func TestSqlFilter(t *testing.T) {
	t.Parallel()
	topic := createTopic(t, "topic", 2)
	l := listen(t, "group", "one", topic, consumer.MessageSelector{Type: consumer.SQL92,
		Expression: "(number BETWEEN 10 AND 19 AND city = '北京') OR TAGS IS NULL"}, consumed)
	p := newProducer(t)
	var wanted []string
	for i := 0; i < 60; i++ {
		tag, city := "A", []string{"北京", "上海"}[i%2]
		if i%20 == 7 {
			tag = ""
		}
		m := message(topic, fmt.Sprintf("k%02d", i), tag)
		m.WithProperty("number", strconv.Itoa(i))
		m.WithProperty("city", city)
		send(t, p, m)
		if i >= 10 && i <= 19 && i%2 == 0 || tag == "" {
			wanted = append(wanted, fmt.Sprintf("k%02d", i))
		}
	}
	end := message(topic, "end", "")
	send(t, p, end)
	send(t, p, message(topic, "never", "A"))
	within(t, 30*time.Second, "the last message", func() bool { return len(l.of("end")) == 1 && len(l.deliveries()) >= len(wanted)+1 })
	for _, key := range wanted {
		if len(l.of(key)) != 1 {
			t.Errorf("%s came %d times", key, len(l.of(key)))
		}
	}
	if len(l.deliveries()) != len(wanted)+1 {
		t.Errorf("%d messages for %d", len(l.deliveries()), len(wanted)+1)
	}
}

// A request is answered by a consumer through the broker, which sends the answer to the asking client's connection.
func TestRequestReply(t *testing.T) {
	t.Parallel()
	topic := createTopic(t, "topic", 1)
	replier := newProducer(t)
	// The answer can come before its sender knows that it was sent: the case must not end between the two.
	var asked, told atomic.Int32
	listen(t, "group", "one", topic, all("*"), func(d delivery) consumer.ConsumeResult {
		if !strings.HasPrefix(d.key, "request") {
			return consumer.ConsumeSuccess
		}
		asked.Add(1)
		defer told.Add(1)
		reply, err := consumer.CreateReplyMessage(d.message, nil)
		if err != nil {
			t.Errorf("create reply: %v", err)
			return consumer.ConsumeSuccess
		}
		// CreateReplyMessage of 2.1.2 reads the body as properties.
		reply.Body = []byte("re: " + string(d.message.Body))
		if _, err := replier.SendSync(context.Background(), reply); err != nil && !strings.Contains(err.Error(), "not found") {
			t.Errorf("reply: %v", err)
		}
		return consumer.ConsumeSuccess
	})
	p := newProducer(t)
	// The broker finds the asking client by its heartbeat, which this client sends to brokers that it knows, every 30 s;
	// until then a reply is refused ("channel ... not found") and the request runs into its timeout.
	send(t, p, message(topic, "first", "A"))
	for i := 0; i < 3; i++ {
		m := message(topic, fmt.Sprintf("request%d", i), "A")
		var answer *primitive.Message
		var err error
		within(t, 60*time.Second, "an answer", func() bool {
			answer, err = p.Request(context.Background(), 5*time.Second, m)
			return err == nil
		})
		if string(answer.Body) != "re: "+string(m.Body) {
			t.Errorf("answer %q to %q", answer.Body, m.Body)
		}
	}
	eventually(t, "the replier knows of all its replies", func() bool { return told.Load() == asked.Load() })
}

// A traced send leaves a record in the trace topic that names topic, id and key.
func TestTrace(t *testing.T) {
	t.Parallel()
	topic := createTopic(t, "topic", 1)
	p := newProducer(t, producer.WithTrace(&primitive.TraceConfig{GroupName: name(t, "trace"), Access: primitive.Local, Resolver: resolver()}))
	tracer := listen(t, "tracers", "one", "RMQ_SYS_TRACE_TOPIC", all("*"), consumed)
	record := func(id string) (times int) {
		for _, d := range tracer.deliveries() {
			times += strings.Count(string(d.message.Body), "\u0001"+id+"\u0001")
		}
		return times
	}
	// This client drops records that it cannot send at once, as before it knows the trace topic's route.
	sent := map[string]string{}
	within(t, 60*time.Second, "traces of 5 messages", func() bool {
		key := fmt.Sprintf("k%d", len(sent))
		sent[send(t, p, message(topic, key, "A")).MsgID] = key
		time.Sleep(200 * time.Millisecond)
		traced := 0
		for id := range sent {
			traced += record(id)
		}
		return traced >= 5
	})
	for _, d := range tracer.deliveries() {
		for _, line := range strings.Split(string(d.message.Body), "\u0002") {
			fields := strings.Split(line, "\u0001")
			if len(fields) < 8 || fields[4] != topic {
				continue
			}
			if key := sent[fields[5]]; fields[0] != "Pub" || key == "" || fields[7] != key+" 键"+key || record(fields[5]) != 1 {
				t.Errorf("trace %q of the messages %v", fields, sent)
			}
		}
	}
}
