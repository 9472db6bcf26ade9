// SPDX-License-Identifier: Apache-2.0

// Package compat drives the stock Go client against the server at NAMESRV_ADDR and BROKER_ADDR.
//
// Every case has topics and groups of its own, so the order of the cases does not matter.
package compat

import (
	"context"
	"fmt"
	"os"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/admin"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

// patience bounds every wait. It is less than the 20 s between two rebalances of a client, so a broker that does not
// notify the members of a group about a change fails the case.
const patience = 10 * time.Second

var (
	namesrvAddr = os.Getenv("NAMESRV_ADDR")
	brokerAddr  = os.Getenv("BROKER_ADDR")
	// run keeps the names of two runs against one server apart.
	run = fmt.Sprintf("%x", time.Now().UnixMilli())
)

func TestMain(m *testing.M) {
	if namesrvAddr == "" || brokerAddr == "" {
		fmt.Fprintln(os.Stderr, "NAMESRV_ADDR and BROKER_ADDR must name a running server; run.sh starts one")
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func resolver() primitive.NsResolver { return primitive.NewPassthroughResolver([]string{namesrvAddr}) }

// name gives a topic, group or instance name that only this case and this run use.
func name(t *testing.T, part string) string { return t.Name() + "-" + part + "-" + run }

// ok ends the case at an error.
func ok(t *testing.T, err error, what string) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// eventually polls until the condition holds and ends the case when it does not within `patience`.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v in vain: %s", patience, what)
		}
	}
}

// withAdmin opens an admin client for one task: a longer-lived one would answer from its cached routes.
func withAdmin(t *testing.T, task func(admin.Admin)) {
	t.Helper()
	a, err := admin.NewAdmin(admin.WithResolver(resolver()))
	ok(t, err, "open admin")
	defer a.Close()
	task(a)
}

// writeQueues are the queues that a producer sees in the topic's route; nil if there is no route.
func writeQueues(t *testing.T, topic string) (queues []*primitive.MessageQueue) {
	t.Helper()
	withAdmin(t, func(a admin.Admin) { queues, _ = a.FetchPublishMessageQueues(context.Background(), topic) })
	return queues
}

// createTopic makes a topic of the case and waits until its route is known. The client ignores the response code, so
// the route is the only proof.
func createTopic(t *testing.T, part string, queues int) string {
	t.Helper()
	topic := name(t, part)
	withAdmin(t, func(a admin.Admin) {
		ok(t, a.CreateTopic(context.Background(), admin.WithTopicCreate(topic), admin.WithBrokerAddrCreate(brokerAddr),
			admin.WithReadQueueNums(queues), admin.WithWriteQueueNums(queues)), "create topic")
	})
	eventually(t, "route of "+topic, func() bool { return len(writeQueues(t, topic)) == queues })
	return topic
}

// queue is queue `id` of the topic, for a producer with the manual selector and for pulls.
func queue(t *testing.T, topic string, id int) *primitive.MessageQueue {
	t.Helper()
	queues := writeQueues(t, topic)
	if len(queues) == 0 {
		t.Fatalf("no route for %s", topic)
	}
	return &primitive.MessageQueue{Topic: topic, BrokerName: queues[0].BrokerName, QueueId: id}
}

func newProducer(t *testing.T, options ...producer.Option) rocketmq.Producer {
	t.Helper()
	instance := fmt.Sprintf("%s-%d", name(t, "producer"), time.Now().UnixNano())
	p, err := rocketmq.NewProducer(append([]producer.Option{producer.WithNsResolver(resolver()),
		producer.WithGroupName(name(t, "producers")), producer.WithInstanceName(instance)}, options...)...)
	ok(t, err, "new producer")
	ok(t, p.Start(), "start producer")
	t.Cleanup(func() { p.Shutdown() })
	return p
}

// send sends one message and checks all that the answer says about it.
func send(t *testing.T, p rocketmq.Producer, m *primitive.Message) *primitive.SendResult {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	result, err := p.SendSync(ctx, m)
	ok(t, err, "send "+m.GetKeys())
	if result.Status != primitive.SendOK {
		t.Fatalf("send %s: %v", m.GetKeys(), result)
	}
	id, err := primitive.UnmarshalMsgID([]byte(result.OffsetMsgID))
	ok(t, err, "offset message id")
	if at := fmt.Sprintf("%s:%d", id.Addr, id.Port); at != brokerAddr {
		t.Fatalf("offset message id %s names %s, not the broker %s", result.OffsetMsgID, at, brokerAddr)
	}
	return result
}

// message builds a message whose body and user properties follow from its key, with text beyond ASCII in all of them.
func message(topic, key, tag string) *primitive.Message {
	m := primitive.NewMessage(topic, []byte("正文 "+key+" – body, ελληνικά, 🚀"))
	m.WithKeys([]string{key, "键" + key})
	if tag != "" {
		m.WithTag(tag)
	}
	m.WithProperty("user", "用户 "+key)
	m.WithProperty("订单", "42")
	return m
}

// probePrefix marks the messages of settle, which no case counts.
const probePrefix = "probe-"

// member is one consumer of a group and what it received, in the order of its listener's calls.
type member struct {
	rocketmq.PushConsumer
	mutex    sync.Mutex
	received []*primitive.MessageExt
}

func (m *member) receive(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.received = append(m.received, messages...)
	return consumer.ConsumeSuccess, nil
}

// messages are the received ones; probes: those of settle, or those of the case.
func (m *member) messages(probes bool) (found []*primitive.MessageExt) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	for _, message := range m.received {
		if strings.HasPrefix(message.GetKeys(), probePrefix) == probes {
			found = append(found, message)
		}
	}
	return found
}

func (m *member) count() int { return len(m.messages(false)) }

// join starts a consumer of the case's group `group` under an instance name of its own. One goroutine consumes, unless
// the options say more, so that the listener sees the order in which the client got the messages.
func join(t *testing.T, group, instance, topic, expression string, options ...consumer.Option) *member {
	t.Helper()
	c, err := rocketmq.NewPushConsumer(append([]consumer.Option{consumer.WithNsResolver(resolver()),
		consumer.WithGroupName(name(t, group)), consumer.WithInstance(name(t, instance)),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset), consumer.WithConsumeGoroutineNums(1)}, options...)...)
	ok(t, err, "new push consumer")
	m := &member{PushConsumer: c}
	ok(t, c.Subscribe(topic, consumer.MessageSelector{Type: consumer.TAG, Expression: expression}, m.receive), "subscribe")
	ok(t, c.Start(), "start push consumer")
	t.Cleanup(func() { c.Shutdown() })
	return m
}

// settle waits until the members own the topic's queues in equal shares, each queue exactly one member, and returns the
// queues of each. It sends a probe to each queue and looks who receives it; two rounds must agree, because a queue that
// changes hands may be pulled by two. What was sent before has been delivered then, as queues are consumed in order.
func settle(t *testing.T, topic string, queues int, members ...*member) []string {
	t.Helper()
	p := newProducer(t, producer.WithQueueSelector(producer.NewManualQueueSelector()))
	defer p.Shutdown()
	route := queue(t, topic, 0)
	start := time.Now()
	var before []string
	for round := 0; time.Since(start) < patience; round++ {
		prefix := fmt.Sprintf("%s%d-%d-", probePrefix, time.Now().UnixNano(), round)
		for id := 0; id < queues; id++ {
			m := message(topic, fmt.Sprintf("%s%d", prefix, id), "A")
			m.Queue = &primitive.MessageQueue{Topic: topic, BrokerName: route.BrokerName, QueueId: id}
			send(t, p, m)
		}
		var owned []string
		eventually(t, "probes of "+topic, func() bool {
			owned = nil
			reached := map[int]bool{}
			for _, m := range members {
				var ids []int
				for _, probe := range m.messages(true) {
					if strings.HasPrefix(probe.GetKeys(), prefix) {
						ids, reached[probe.Queue.QueueId] = append(ids, probe.Queue.QueueId), true
					}
				}
				sort.Ints(ids)
				owned = append(owned, fmt.Sprint(ids))
			}
			return len(reached) == queues
		})
		if shared(owned, queues) && fmt.Sprint(owned) == fmt.Sprint(before) {
			t.Logf("queues %v after %v", owned, time.Since(start).Round(time.Millisecond))
			return owned
		}
		before = owned
		time.Sleep(50 * time.Millisecond) // only spares the server: each round is judged by itself
	}
	t.Fatalf("%s: queues are not shared after %v, at last %v", topic, patience, before)
	return nil
}

// shared says whether the members together own each queue once, in shares that differ by one at most.
func shared(owned []string, queues int) bool {
	total := 0
	for _, ids := range owned {
		size := len(strings.Fields(strings.Trim(ids, "[]")))
		if size < queues/len(owned) || size > (queues+len(owned)-1)/len(owned) {
			return false
		}
		total += size
	}
	return total == queues
}

// byKey files messages under their first key.
func byKey(messages []*primitive.MessageExt) map[string][]*primitive.MessageExt {
	found := map[string][]*primitive.MessageExt{}
	for _, m := range messages {
		key, _, _ := strings.Cut(m.GetKeys(), primitive.PropertyKeySeparator)
		found[key] = append(found[key], m)
	}
	return found
}

// checkOnce requires that exactly the sent messages were received, each once and unchanged.
func checkOnce(t *testing.T, sent []*primitive.Message, received []*primitive.MessageExt) {
	t.Helper()
	if again := checkAll(t, sent, received); again != 0 {
		t.Errorf("%d messages were delivered again", again)
	}
}

// checkAll requires that exactly the sent messages were received, each unchanged, and counts the repeated ones.
func checkAll(t *testing.T, sent []*primitive.Message, received []*primitive.MessageExt) (again int) {
	t.Helper()
	found := byKey(received)
	for _, s := range sent {
		key, _, _ := strings.Cut(s.GetKeys(), primitive.PropertyKeySeparator)
		if len(found[key]) == 0 {
			t.Errorf("message %s was lost", key)
			continue
		}
		again += len(found[key]) - 1
		for _, r := range found[key] {
			if difference := compare(s, r); difference != "" {
				t.Errorf("message %s arrived changed: %s", key, difference)
			}
		}
		delete(found, key)
	}
	for key, messages := range found {
		t.Errorf("message %s (tag %q) should not have arrived, %d times", key, messages[0].GetTags(), len(messages))
	}
	return again
}

// compare says how the received message differs from the sent one; empty if it does not. The client compares the body's
// CRC with nothing, so it is the content that counts here.
func compare(s *primitive.Message, r *primitive.MessageExt) string {
	if r.Topic != s.Topic || string(r.Body) != string(s.Body) || r.Flag != s.Flag {
		return fmt.Sprintf("topic %q, flag %d, %d bytes of body; sent topic %q, flag %d, %d bytes",
			r.Topic, r.Flag, len(r.Body), s.Topic, s.Flag, len(s.Body))
	}
	if r.StoreHost != brokerAddr || !strings.HasPrefix(r.BornHost, "127.0.0.1:") || r.ReconsumeTimes != 0 {
		return fmt.Sprintf("store host %s, born host %s, reconsume times %d", r.StoreHost, r.BornHost, r.ReconsumeTimes)
	}
	sent, received := s.GetProperties(), r.GetProperties()
	for key, value := range sent {
		if received[key] != value {
			return fmt.Sprintf("property %s is %q, sent %q", key, received[key], value)
		}
	}
	for key := range received {
		if _, own := sent[key]; !own && !added[key] {
			return fmt.Sprintf("property %s=%q was never sent", key, received[key])
		}
	}
	return ""
}

// added are the properties that the broker and the receiving client add to a message.
var added = map[string]bool{
	primitive.PropertyMsgRegion: true, primitive.PropertyTraceSwitch: true, primitive.PropertyCluster: true,
	primitive.PropertyMinOffset: true, primitive.PropertyMaxOffset: true, primitive.PropertyConsumeStartTime: true,
	primitive.PropertyUniqueClientMessageIdKeyIndex: true,
}

// byQueue files messages under their queue, in the order of their arrival, and requires that this is the order of the
// queue's offsets and of the commit log.
func byQueue(t *testing.T, messages []*primitive.MessageExt) map[int][]*primitive.MessageExt {
	t.Helper()
	queues := map[int][]*primitive.MessageExt{}
	for _, m := range messages {
		queue := queues[m.Queue.QueueId]
		if len(queue) > 0 {
			last := queue[len(queue)-1]
			if m.QueueOffset <= last.QueueOffset || m.CommitLogOffset <= last.CommitLogOffset {
				t.Errorf("queue %d: offset %d (physical %d) arrived after %d (%d)", m.Queue.QueueId,
					m.QueueOffset, m.CommitLogOffset, last.QueueOffset, last.CommitLogOffset)
			}
		}
		queues[m.Queue.QueueId] = append(queue, m)
	}
	return queues
}

// fromZero is byQueue for queues that hold nothing else: their offsets are 0, 1, 2 … without a gap.
func fromZero(t *testing.T, messages []*primitive.MessageExt) map[int][]*primitive.MessageExt {
	t.Helper()
	queues := byQueue(t, messages)
	for id, queue := range queues {
		if first, last := queue[0].QueueOffset, queue[len(queue)-1].QueueOffset; first != 0 || last != int64(len(queue)-1) {
			t.Fatalf("queue %d: %d messages at the offsets %d to %d", id, len(queue), first, last)
		}
	}
	return queues
}
