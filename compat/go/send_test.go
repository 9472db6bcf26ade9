// SPDX-License-Identifier: Apache-2.0

package compat

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

// A sync send reports the queue and the queue offset that the consumer then sees, and the same message id.
func TestSyncSend(t *testing.T) {
	topic := createTopic(t, "topic", 4)
	p := newProducer(t)
	var sent []*primitive.Message
	results := map[string]*primitive.SendResult{}
	for i := 0; i < 100; i++ {
		m := message(topic, fmt.Sprintf("k%03d", i), "标签")
		m.Flag = int32(i)
		result := send(t, p, m)
		sent, results[result.MsgID] = append(sent, m), result
	}
	// A body of 4,096 bytes or more goes compressed.
	big := message(topic, "big", "A")
	big.Body = []byte(strings.Repeat("很长的正文 ", 10000))
	result := send(t, p, big)
	sent, results[result.MsgID] = append(sent, big), result
	// Messages without keys, tags and user properties exist too; this one is found by its id.
	bare := primitive.NewMessage(topic, []byte("无"))
	bareId := send(t, p, bare).MsgID

	c := join(t, "group", "one", topic, "*")
	eventually(t, "102 messages", func() bool { return c.count() >= 102 })
	settle(t, topic, 4, c)
	var keyed []*primitive.MessageExt
	for _, m := range c.messages(false) {
		if m.GetKeys() == "" {
			if difference := compare(bare, m); difference != "" || m.MsgId != bareId {
				t.Errorf("bare message %s, sent %s: %s", m.MsgId, bareId, difference)
			}
			continue
		}
		keyed = append(keyed, m)
		if r := results[m.MsgId]; r == nil || r.QueueOffset != m.QueueOffset || r.MessageQueue.QueueId != m.Queue.QueueId || r.OffsetMsgID != m.OffsetMsgId {
			t.Errorf("received queue %d, offset %d, ids %s %s; the send reported %v", m.Queue.QueueId, m.QueueOffset, m.MsgId, m.OffsetMsgId, r)
		}
		if compressed := m.SysFlag&primitive.FlagCompressed != 0; compressed != (len(m.Body) >= 4096) {
			t.Errorf("%d bytes of body, compressed: %v", len(m.Body), compressed)
		}
	}
	checkOnce(t, sent, keyed)
	fromZero(t, c.messages(false))
}

// A topic that nobody created is made at the first send through TBW102, with the producer's four queues.
func TestTopicIsMadeAtFirstSend(t *testing.T) {
	topic := name(t, "topic")
	p := newProducer(t)
	first := message(topic, "first", "A")
	send(t, p, first)
	eventually(t, "route", func() bool { return writeQueues(t, topic) != nil })
	if queues := writeQueues(t, topic); len(queues) != 4 {
		t.Errorf("%d queues, the producer asked for 4", len(queues))
	}
	c := join(t, "group", "one", topic, "*")
	settle(t, topic, 4, c)
	checkOnce(t, []*primitive.Message{first}, c.messages(false))
}

func TestAsyncSend(t *testing.T) {
	topic := createTopic(t, "topic", 4)
	p := newProducer(t)
	var (
		sent    []*primitive.Message
		mutex   sync.Mutex
		failed  []error
		offsets = map[string]bool{}
		open    sync.WaitGroup
	)
	for i := 0; i < 200; i++ {
		m := message(topic, fmt.Sprintf("k%03d", i), "A")
		sent = append(sent, m)
		open.Add(1)
		ok(t, p.SendAsync(context.Background(), func(_ context.Context, result *primitive.SendResult, err error) {
			defer open.Done()
			mutex.Lock()
			defer mutex.Unlock()
			if err != nil || result.Status != primitive.SendOK {
				failed = append(failed, fmt.Errorf("%v: %v", result, err))
				return
			}
			offsets[fmt.Sprintf("%d/%d", result.MessageQueue.QueueId, result.QueueOffset)] = true
		}, m), "send async")
	}
	open.Wait()
	if len(failed) != 0 || len(offsets) != 200 {
		t.Fatalf("%d failed (%v), %d different queue offsets for 200 messages", len(failed), failed, len(offsets))
	}
	c := join(t, "group", "one", topic, "*")
	settle(t, topic, 4, c)
	checkOnce(t, sent, c.messages(false))
}

func TestOneWaySend(t *testing.T) {
	topic := createTopic(t, "topic", 4)
	p := newProducer(t)
	c := join(t, "group", "one", topic, "*")
	var sent []*primitive.Message
	for i := 0; i < 100; i++ {
		sent = append(sent, message(topic, fmt.Sprintf("k%03d", i), "A"))
		ok(t, p.SendOneWay(context.Background(), sent[i]), "send one-way")
	}
	eventually(t, "100 messages", func() bool { return c.count() >= 100 })
	settle(t, topic, 4, c)
	checkOnce(t, sent, c.messages(false))
}

// The messages of a batch lie in one queue, next to each other, in the order of the batch.
func TestBatchSend(t *testing.T) {
	topic := createTopic(t, "topic", 4)
	p := newProducer(t)
	var sent []*primitive.Message
	firstOffsets := map[int][]int64{}
	for batch := 0; batch < 3; batch++ {
		var messages []*primitive.Message
		for i := 0; i < 20; i++ {
			messages = append(messages, message(topic, fmt.Sprintf("b%d-%02d", batch, i), "标签"))
		}
		result, err := p.SendSync(context.Background(), messages...)
		ok(t, err, "send batch")
		if result.Status != primitive.SendOK {
			t.Fatalf("batch: %v", result)
		}
		if ids := strings.Split(result.OffsetMsgID, ","); len(ids) != len(messages) {
			t.Errorf("%d offset message ids for a batch of %d: %s", len(ids), len(messages), result.OffsetMsgID)
		}
		firstOffsets[result.MessageQueue.QueueId] = append(firstOffsets[result.MessageQueue.QueueId], result.QueueOffset)
		sent = append(sent, messages...)
	}
	c := join(t, "group", "one", topic, "*")
	settle(t, topic, 4, c)
	checkOnce(t, sent, c.messages(false))
	queues := fromZero(t, c.messages(false))
	for id, offsets := range firstOffsets {
		for _, offset := range offsets {
			batch := queues[id][offset : offset+20]
			for i, m := range batch {
				if !strings.HasSuffix(strings.Fields(m.GetKeys())[0], fmt.Sprintf("-%02d", i)) || m.GetKeys()[:2] != batch[0].GetKeys()[:2] {
					t.Fatalf("queue %d, batch at %d: position %d holds %s", id, offset, i, m.GetKeys())
				}
			}
		}
	}
	t.Logf("message id %s and UNIQ_KEY %q of a batched message", c.messages(false)[0].MsgId,
		c.messages(false)[0].GetProperty(primitive.PropertyUniqueClientMessageIdKeyIndex))
}

// With the manual selector every message lies in the named queue, in the order of the sends.
func TestManualQueue(t *testing.T) {
	topic := createTopic(t, "topic", 4)
	p := newProducer(t, producer.WithQueueSelector(producer.NewManualQueueSelector()))
	target := queue(t, topic, 2)
	var sent []*primitive.Message
	for i := 0; i < 50; i++ {
		m := message(topic, fmt.Sprintf("k%03d", i), "A")
		m.Queue = target
		sent = append(sent, m)
		if result := send(t, p, m); result.MessageQueue.QueueId != 2 || result.QueueOffset != int64(i) {
			t.Fatalf("message %d: %v", i, result)
		}
	}
	c := join(t, "group", "one", topic, "*")
	settle(t, topic, 4, c)
	checkOnce(t, sent, c.messages(false))
	for i, m := range fromZero(t, c.messages(false))[2] {
		if !strings.HasPrefix(m.GetKeys(), fmt.Sprintf("k%03d", i)) {
			t.Fatalf("position %d holds %s", i, m.GetKeys())
		}
	}
}

// With the hash selector the messages of one sharding key lie in one queue, in the order of the sends.
func TestHashQueue(t *testing.T) {
	topic := createTopic(t, "topic", 4)
	p := newProducer(t, producer.WithQueueSelector(producer.NewHashQueueSelector()))
	var sent []*primitive.Message
	for i := 0; i < 160; i++ {
		m := message(topic, fmt.Sprintf("k%03d", i), "A")
		m.WithShardingKey(fmt.Sprintf("用户%d", i%8))
		sent = append(sent, m)
		send(t, p, m)
	}
	c := join(t, "group", "one", topic, "*")
	settle(t, topic, 4, c)
	checkOnce(t, sent, c.messages(false))
	queueOf := map[string]int{}
	for id, messages := range fromZero(t, c.messages(false)) {
		last := map[string]string{}
		for _, m := range messages {
			key := m.GetShardingKey()
			if other, seen := queueOf[key]; seen && other != id {
				t.Errorf("sharding key %s lies in queues %d and %d", key, other, id)
			}
			if m.GetKeys() <= last[key] {
				t.Errorf("sharding key %s: %s after %s", key, m.GetKeys(), last[key])
			}
			queueOf[key], last[key] = id, m.GetKeys()
		}
	}
	if len(queueOf) != 8 {
		t.Errorf("%d sharding keys, sent 8", len(queueOf))
	}
}
