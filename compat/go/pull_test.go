// SPDX-License-Identifier: Apache-2.0

package compat

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

// newPuller starts a pull consumer of the case's group.
func newPuller(t *testing.T, instance, topic, expression string) rocketmq.PullConsumer {
	t.Helper()
	c, err := rocketmq.NewPullConsumer(consumer.WithNsResolver(resolver()), consumer.WithGroupName(name(t, "group")),
		consumer.WithInstance(name(t, instance)), consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset),
		consumer.WithPullBatchSize(32))
	ok(t, err, "new pull consumer")
	ok(t, c.Subscribe(topic, consumer.MessageSelector{Type: consumer.TAG, Expression: expression}), "subscribe")
	ok(t, c.Start(), "start pull consumer")
	t.Cleanup(func() { c.Shutdown() })
	return c
}

// fill sends messages with the given tags in turn to queue 0 of the topic.
func fill(t *testing.T, topic string, count int, tags ...string) (sent []*primitive.Message) {
	t.Helper()
	p := newProducer(t, producer.WithQueueSelector(producer.NewManualQueueSelector()))
	defer p.Shutdown()
	target := queue(t, topic, 0)
	for i := 0; i < count; i++ {
		m := message(topic, fmt.Sprintf("k%03d", i), tags[i%len(tags)])
		m.Queue = target
		send(t, p, m)
		sent = append(sent, m)
	}
	return sent
}

// pull pulls from queue 0 and checks status and offsets of the answer.
func pull(t *testing.T, c rocketmq.PullConsumer, topic string, offset int64, numbers int, status primitive.PullStatus, next, min, max int64) []*primitive.MessageExt {
	t.Helper()
	result, err := c.PullFrom(context.Background(), queue(t, topic, 0), offset, numbers)
	ok(t, err, fmt.Sprintf("pull from %d", offset))
	if result.Status != status || result.NextBeginOffset != next || result.MinOffset != min || result.MaxOffset != max {
		t.Errorf("pull from %d: status %d, next %d, min %d, max %d; expected status %d, next %d, min %d, max %d", offset,
			result.Status, result.NextBeginOffset, result.MinOffset, result.MaxOffset, status, next, min, max)
	}
	return result.GetMessageExts()
}

// A pull names queue, offset and number: the answer has these messages in order, and the queue's bounds.
func TestPullFrom(t *testing.T) {
	topic := createTopic(t, "topic", 2)
	sent := fill(t, topic, 50, "A", "B")
	c := newPuller(t, "one", topic, "*")
	first := pull(t, c, topic, 0, 32, primitive.PullFound, 32, 0, 50)
	second := pull(t, c, topic, 32, 32, primitive.PullFound, 50, 0, 50)
	if len(first) != 32 || len(second) != 18 {
		t.Errorf("%d and %d messages, expected 32 and 18", len(first), len(second))
	}
	checkOnce(t, sent, append(first, second...))
	fromZero(t, append(first, second...))
	checkOnce(t, sent[7:8], pull(t, c, topic, 7, 1, primitive.PullFound, 8, 0, 50))
	// Beyond the end the broker corrects the offset.
	pull(t, c, topic, 60, 32, primitive.PullOffsetIllegal, 50, 0, 50)
}

// A pull at the end of the queue is held until a message comes.
func TestHeldPull(t *testing.T) {
	topic := createTopic(t, "topic", 1)
	fill(t, topic, 5, "A")
	c := newPuller(t, "one", topic, "*")
	type answer struct {
		result *primitive.PullResult
		err    error
	}
	answers := make(chan answer, 1)
	target := queue(t, topic, 0)
	go func() {
		result, err := c.PullFrom(context.Background(), target, 5, 32)
		answers <- answer{result, err}
	}()
	select {
	case a := <-answers:
		t.Fatalf("the pull was not held: %+v", a)
	case <-time.After(time.Second): // a broker that does not hold has answered by now
	}
	p := newProducer(t)
	late := message(topic, "late", "A")
	send(t, p, late)
	select {
	case a := <-answers:
		ok(t, a.err, "held pull")
		if a.result.Status != primitive.PullFound || a.result.NextBeginOffset != 6 {
			t.Errorf("status %d, next %d", a.result.Status, a.result.NextBeginOffset)
		}
		checkOnce(t, []*primitive.Message{late}, a.result.GetMessageExts())
	case <-time.After(2 * time.Second): // Java looks after forgotten pulls every 5 s: that must not be what answers
		t.Fatal("the append did not wake the held pull")
	}
}

// The broker filters by tag: a pull of 10 returns 10 matching messages, though only half of the queue matches. The
// broker reads this expression from the pull itself and hashes it itself, so a Chinese tag matches here.
func TestPullWithTags(t *testing.T) {
	topic := createTopic(t, "topic", 1)
	sent := fill(t, topic, 40, "A", "B", "订单", "")
	c := newPuller(t, "one", topic, "A || 订单")
	var wanted []*primitive.Message
	for i, m := range sent {
		if i%2 == 0 {
			wanted = append(wanted, m)
		}
	}
	first := pull(t, c, topic, 0, 10, primitive.PullFound, 19, 0, 40)
	second := pull(t, c, topic, 19, 10, primitive.PullFound, 39, 0, 40)
	checkOnce(t, wanted, append(first, second...))
	byQueue(t, append(first, second...))
	if len(first) != 10 {
		t.Errorf("%d messages in the first pull, the broker should have found 10", len(first))
	}
	pull(t, c, topic, 39, 10, primitive.PullNoMsgMatched, 40, 0, 40)
}

// Poll and ACK: the group's offsets advance, are committed, and the next pull consumer of the group goes on there.
func TestPollAndCommit(t *testing.T) {
	topic := createTopic(t, "topic", 1)
	sent := fill(t, topic, 100, "A")
	c := newPuller(t, "one", topic, "*")
	var received []*primitive.MessageExt
	eventually(t, "100 messages", func() bool {
		request, err := c.Poll(context.Background(), time.Second)
		if consumer.IsNoNewMsgError(err) {
			return false
		}
		ok(t, err, "poll")
		received = append(received, request.GetMsgList()...)
		c.ACK(context.Background(), request, consumer.ConsumeSuccess)
		return len(received) >= 100
	})
	checkOnce(t, sent, received)
	fromZero(t, received)
	ok(t, c.PersistOffset(context.Background(), topic), "commit")
	ok(t, c.Shutdown(), "shut down")

	// Another member asks the broker for the offset, not its own memory.
	late := message(topic, "late", "A")
	send(t, newProducer(t), late)
	next := newPuller(t, "two", topic, "*")
	eventually(t, "the committed offset", func() bool {
		offset, err := next.CurrentOffset(queue(t, topic, 0))
		return err == nil && offset >= 100
	})
	var again []*primitive.MessageExt
	eventually(t, "the late message", func() bool {
		request, err := next.Poll(context.Background(), time.Second)
		if err == nil {
			again = append(again, request.GetMsgList()...)
		}
		return len(again) >= 1
	})
	checkOnce(t, []*primitive.Message{late}, again)
}

// What a pull asks for in vain comes back as an error with the broker's code.
func TestPullErrors(t *testing.T) {
	topic := createTopic(t, "topic", 1)
	fill(t, topic, 1, "A")
	c := newPuller(t, "one", topic, "*")
	for _, wrong := range []struct {
		what  string
		topic string
		queue int
		code  string
	}{
		{"illegal queue", topic, 9, "29"},
		{"absent topic", name(t, "absent"), 0, "17"},
	} {
		target := queue(t, topic, 0)
		target.Topic, target.QueueId = wrong.topic, wrong.queue
		result, err := c.PullFrom(context.Background(), target, 0, 1)
		t.Logf("%s: %v", wrong.what, err)
		if err == nil || !strings.Contains(err.Error(), "Response Code: "+wrong.code+",") {
			t.Errorf("%s: %+v, %v; expected code %s", wrong.what, result, err, wrong.code)
		}
	}
}
