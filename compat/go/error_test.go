// SPDX-License-Identifier: Apache-2.0

package compat

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"testing"

	"github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/admin"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	clienterrors "github.com/apache/rocketmq-client-go/v2/errors"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

// noise is a body that compression cannot shrink below the limit.
func noise(size int) []byte {
	body := make([]byte, size)
	rand.Read(body)
	return body
}

// refused requires that a send ended with the broker's code and a remark with this text.
func refused(t *testing.T, what string, err error, code, remark string) {
	t.Helper()
	t.Logf("%s: %.200v", what, err)
	if err == nil || !strings.HasPrefix(err.Error(), "CODE: "+code+",") || !strings.Contains(err.Error(), remark) {
		t.Errorf("%s: %v; expected code %s and %q", what, err, code, remark)
	}
}

// A message above the limits is refused with MESSAGE_ILLEGAL, by every way to send; one at the limit is stored, and the
// producer's connection stays good.
func TestMessageTooLarge(t *testing.T) {
	const limit = 4 << 20
	topic := createTopic(t, "topic", 1)
	p := newProducer(t, producer.WithCompressMsgBodyOverHowmuch(1<<30))
	large := func() *primitive.Message { return primitive.NewMessage(topic, noise(limit+1)) }

	_, err := p.SendSync(context.Background(), large())
	refused(t, "sync", err, "13", "")
	done := make(chan error, 1)
	ok(t, p.SendAsync(context.Background(), func(_ context.Context, _ *primitive.SendResult, err error) { done <- err }, large()), "send async")
	refused(t, "async", <-done, "13", "")
	ok(t, p.SendOneWay(context.Background(), large()), "send one-way")
	properties := message(topic, "properties", "A")
	properties.WithProperty("much", strings.Repeat("x", 32767))
	_, err = p.SendSync(context.Background(), properties)
	refused(t, "properties", err, "13", "")

	fits := message(topic, "fits", "A")
	fits.Body = noise(limit)
	if result := send(t, p, fits); result.QueueOffset != 0 {
		t.Errorf("a refused message took a queue offset: the first stored one has %d", result.QueueOffset)
	}
	checkOnce(t, []*primitive.Message{fits}, pull(t, newPuller(t, "one", topic, "*"), topic, 0, 32, primitive.PullFound, 1, 0, 1))
}

// A consumer of a topic without a route does not start, and the admin sees no route.
func TestAbsentTopic(t *testing.T) {
	absent := name(t, "absent")
	withAdmin(t, func(a admin.Admin) {
		_, err := a.FetchPublishMessageQueues(context.Background(), absent)
		if !errors.Is(err, clienterrors.ErrTopicNotExist) {
			t.Errorf("route: %v", err)
		}
	})
	c, err := rocketmq.NewPushConsumer(consumer.WithNsResolver(resolver()), consumer.WithGroupName(name(t, "group")), consumer.WithInstance(name(t, "one")))
	ok(t, err, "new push consumer")
	ok(t, c.Subscribe(absent, consumer.MessageSelector{}, (&member{}).receive), "subscribe")
	if err := c.Start(); err == nil || !strings.Contains(err.Error(), "route info not found") {
		t.Errorf("start: %v", err)
	}
	if writeQueues(t, absent) != nil {
		t.Error("looking for the topic has made it")
	}
}

// A producer whose pattern topic is not TBW102 cannot have a topic made: without the pattern it finds no route; with a
// pattern that does not let others inherit it reaches the broker, which refuses with TOPIC_NOT_EXIST. It takes a batch
// to get there: in the header of a single message this client writes TBW102, whatever the option says.
func TestTopicIsNotMade(t *testing.T) {
	absent := name(t, "absent")
	batch := []*primitive.Message{message(absent, "k1", "A"), message(absent, "k2", "A")}
	_, err := newProducer(t, producer.WithCreateTopicKey(name(t, "pattern"))).SendSync(context.Background(), batch...)
	if err == nil || !strings.Contains(err.Error(), "route info not found") {
		t.Errorf("no pattern: %v", err)
	}
	pattern := createTopic(t, "existing", 4)
	_, err = newProducer(t, producer.WithCreateTopicKey(pattern)).SendSync(context.Background(), batch...)
	refused(t, "pattern without inheritance", err, "17", "topic["+absent+"] not exist, apply first please!")
	if writeQueues(t, absent) != nil {
		t.Error("the topic was made")
	}
}

// A send with an illegal topic or queue is refused at once, and the same connection goes on. A negative queue is not
// illegal: the broker chooses one.
func TestIllegalSends(t *testing.T) {
	topic := createTopic(t, "topic", 2)
	p := newProducer(t, producer.WithQueueSelector(producer.NewManualQueueSelector()), producer.WithRetry(0))
	broker := queue(t, topic, 0).BrokerName
	message := func(topic string, id int) *primitive.Message {
		m := message(topic, "k", "A")
		m.Queue = &primitive.MessageQueue{Topic: topic, BrokerName: broker, QueueId: id}
		return m
	}
	for _, wrong := range []struct {
		what, topic  string
		queue        int
		code, remark string
	}{
		{"queue beyond the topic's", topic, 2, "29", "request queueId[2] is illegal"},
		{"path as topic", "../" + topic, 0, "29", "illegal characters"},
		{"odd characters", "a b#c", 0, "29", "illegal characters"},
		{"topic of 128 characters", strings.Repeat("x", 128), 0, "29", "longer than topic max length"},
		{"topic of 300 characters", strings.Repeat("x", 300), 0, "29", "longer than topic max length"},
		{"topic of the broker's own", "SCHEDULE_TOPIC_XXXX", 0, "16", "forbidden"},
	} {
		_, err := p.SendSync(context.Background(), message(wrong.topic, wrong.queue))
		refused(t, wrong.what, err, wrong.code, wrong.remark)
	}
	if result := send(t, p, message(topic, -1)); result.MessageQueue.QueueId < 0 || result.MessageQueue.QueueId > 1 || result.QueueOffset != 0 {
		t.Errorf("the broker chose %v", result)
	}
}
