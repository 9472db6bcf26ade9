// SPDX-License-Identifier: Apache-2.0

package compat

import (
	"fmt"
	"strings"
	"testing"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

// sendNumbered sends `count` messages with the keys PREFIX000000 …, and calls `after` after each.
func sendNumbered(t *testing.T, topic, prefix string, count int, after func(int)) (sent []*primitive.Message) {
	t.Helper()
	p := newProducer(t)
	defer p.Shutdown()
	tags := []string{"A", "B", "订单", ""}
	for i := 0; i < count; i++ {
		sent = append(sent, message(topic, fmt.Sprintf("%s%06d", prefix, i), tags[i%len(tags)]))
		send(t, p, sent[i])
		if after != nil {
			after(i)
		}
	}
	return sent
}

// The quickstart: 1,000 messages, two push consumers of one group, each message exactly once.
func TestTwoConsumersShare(t *testing.T) {
	topic := createTopic(t, "topic", 8)
	concurrent := consumer.WithConsumeGoroutineNums(20)
	one, two := join(t, "group", "one", topic, "*", concurrent), join(t, "group", "two", topic, "*", concurrent)
	settle(t, topic, 8, one, two)
	sent := sendNumbered(t, topic, "k", 1000, nil)
	eventually(t, "1,000 messages", func() bool { return one.count()+two.count() >= 1000 })
	settle(t, topic, 8, one, two)
	checkOnce(t, sent, append(one.messages(false), two.messages(false)...))
	t.Logf("%d and %d messages", one.count(), two.count())
	if one.count() == 0 || two.count() == 0 {
		t.Error("one of the two consumers got nothing")
	}
}

// A third consumer joins while messages flow, then leaves: the queues are shared anew each time and nothing is lost.
// A queue that changes hands may repeat messages, as its offset is committed after they were consumed.
func TestThirdConsumerJoinsAndLeaves(t *testing.T) {
	topic := createTopic(t, "topic", 8)
	one, two := join(t, "group", "one", topic, "*"), join(t, "group", "two", topic, "*")
	settle(t, topic, 8, one, two)

	var three *member
	sent := sendNumbered(t, topic, "moving", 600, func(i int) {
		if i == 200 {
			three = join(t, "group", "three", topic, "*")
		}
	})
	settle(t, topic, 8, one, two, three)
	all := func() []*primitive.MessageExt {
		return append(append(one.messages(false), two.messages(false)...), three.messages(false)...)
	}
	t.Logf("%d messages repeated while the third joined", checkAll(t, sent, all()))

	before := len(all())
	counts := [3]int{one.count(), two.count(), three.count()}
	later := sendNumbered(t, topic, "settled", 300, nil)
	settle(t, topic, 8, one, two, three)
	checkOnce(t, later, withPrefix(all(), "settled"))
	if len(all())-before != 300 || one.count() == counts[0] || two.count() == counts[1] || three.count() == counts[2] {
		t.Errorf("300 messages among three: from %v to %d, %d, %d", counts, one.count(), two.count(), three.count())
	}

	// The client says no good-bye: the broker learns of the departure from the closed connection.
	ok(t, three.Shutdown(), "shut down the third")
	left := three.count()
	settle(t, topic, 8, one, two)
	last := sendNumbered(t, topic, "last", 200, nil)
	settle(t, topic, 8, one, two)
	checkOnce(t, last, withPrefix(all(), "last"))
	if three.count() != left {
		t.Errorf("the third received %d messages after it left", three.count()-left)
	}
}

func withPrefix(messages []*primitive.MessageExt, prefix string) (found []*primitive.MessageExt) {
	for _, m := range messages {
		if strings.HasPrefix(m.GetKeys(), prefix) {
			found = append(found, m)
		}
	}
	return found
}

// A restarted consumer goes on from the committed offset: nothing again, and all that was sent meanwhile.
func TestRestart(t *testing.T) {
	topic := createTopic(t, "topic", 4)
	before := sendNumbered(t, topic, "before", 200, nil)
	first := join(t, "group", "one", topic, "*")
	settle(t, topic, 4, first)
	checkOnce(t, before, first.messages(false))
	eventually(t, "all offsets are ready to commit", func() bool { return first.GetOffsetDiffMap()[topic] == 0 })
	ok(t, first.Shutdown(), "shut down")
	received := first.count()

	meanwhile := sendNumbered(t, topic, "meanwhile", 100, nil)
	second := join(t, "group", "one", topic, "*")
	eventually(t, "100 messages", func() bool { return second.count() >= 100 })
	after := sendNumbered(t, topic, "after", 50, nil)
	settle(t, topic, 4, second)
	checkOnce(t, append(meanwhile, after...), second.messages(false))
	if first.count() != received {
		t.Errorf("%d messages reached the consumer that was shut down", first.count()-received)
	}
	seen := map[string]bool{}
	for _, m := range first.messages(true) {
		seen[m.MsgId] = true
	}
	for _, m := range second.messages(true) {
		if seen[m.MsgId] {
			t.Errorf("%s was delivered again", m.GetKeys())
		}
	}
}

// Two groups of one topic do not know of each other; a later group starts at the first message.
func TestTwoGroups(t *testing.T) {
	topic := createTopic(t, "topic", 4)
	one := join(t, "group-one", "one", topic, "*")
	sent := sendNumbered(t, topic, "k", 100, nil)
	two := join(t, "group-two", "two", topic, "*")
	settle(t, topic, 4, one)
	settle(t, topic, 4, two)
	checkOnce(t, sent, one.messages(false))
	checkOnce(t, sent, two.messages(false))
}

// Broadcasting: every member gets every message.
func TestBroadcasting(t *testing.T) {
	topic := createTopic(t, "topic", 4)
	broadcasting := consumer.WithConsumerModel(consumer.BroadCasting)
	one, two := join(t, "group", "one", topic, "*", broadcasting), join(t, "group", "two", topic, "*", broadcasting)
	sent := sendNumbered(t, topic, "k", 200, nil)
	for _, m := range []*member{one, two} {
		settle(t, topic, 4, m)
		checkOnce(t, sent, m.messages(false))
	}
}

// `A || B` gets the messages of these two tags and no others.
func TestTagFilter(t *testing.T) {
	topic := createTopic(t, "topic", 4)
	c := join(t, "group", "one", topic, "A || B")
	var wanted []*primitive.Message
	for i, m := range sendNumbered(t, topic, "k", 200, nil) {
		if i%4 < 2 {
			wanted = append(wanted, m)
		}
	}
	settle(t, topic, 4, c)
	checkOnce(t, wanted, c.messages(false))
	byQueue(t, c.messages(false))
}

// The Go client hashes a tag's bytes, the broker its UTF-16 units: a subscription to a Chinese tag is recorded here, not
// asserted. The ASCII tag of the same subscription must work all the same.
func TestChineseTagIsRecorded(t *testing.T) {
	topic := createTopic(t, "topic", 1)
	c := join(t, "group", "one", topic, "A || 订单")
	p := newProducer(t, producer.WithQueueSelector(producer.NewManualQueueSelector()))
	target := queue(t, topic, 0)
	var ascii []*primitive.Message
	for i := 0; i < 20; i++ {
		tag := []string{"订单", "A"}[i%2]
		m := message(topic, fmt.Sprintf("k%d", i), tag)
		m.Queue = target
		send(t, p, m)
		if tag == "A" {
			ascii = append(ascii, m)
		}
	}
	settle(t, topic, 1, c)
	var asciiReceived []*primitive.MessageExt
	for _, m := range c.messages(false) {
		if m.GetTags() == "A" {
			asciiReceived = append(asciiReceived, m)
		}
	}
	checkOnce(t, ascii, asciiReceived)
	t.Logf("recorded: %d of 10 messages with a Chinese tag arrived", c.count()-len(asciiReceived))
}
