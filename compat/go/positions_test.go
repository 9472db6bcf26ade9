// SPDX-License-Identifier: Apache-2.0

package compat

import (
	"encoding/binary"
	"encoding/json"
	"io"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/apache/rocketmq-client-go/v2/consumer"
)

const (
	queryConsumerOffset = 14
	resetOffset         = 222
)

// ask sends one request to the broker over a connection of its own, as a tool does, and gives code and fields.
func ask(t *testing.T, code int, fields map[string]string) (int, map[string]string) {
	t.Helper()
	connection, err := net.DialTimeout("tcp", brokerAddr, patience)
	ok(t, err, "connect")
	defer connection.Close()
	ok(t, connection.SetDeadline(time.Now().Add(patience)), "deadline")
	header, err := json.Marshal(map[string]any{"code": code, "language": "JAVA", "version": 475, "opaque": 1, "flag": 0, "extFields": fields})
	ok(t, err, "header")
	frame := binary.BigEndian.AppendUint32(nil, uint32(4+len(header)))
	frame = binary.BigEndian.AppendUint32(frame, uint32(len(header)))
	_, err = connection.Write(append(frame, header...))
	ok(t, err, "request")
	var sizes [8]byte
	_, err = io.ReadFull(connection, sizes[:])
	ok(t, err, "sizes")
	answer := make([]byte, binary.BigEndian.Uint32(sizes[4:])&0xFFFFFF)
	_, err = io.ReadFull(connection, answer)
	ok(t, err, "answer")
	var read struct {
		Code      int
		ExtFields map[string]string
	}
	ok(t, json.Unmarshal(answer, &read), "answer")
	return read.Code, read.ExtFields
}

// A group that is online consumes again from where a tool has put it, without a restart. The client takes 10 s to follow,
// and up to 20 s more to take its queue again.
func TestResetIsFollowed(t *testing.T) {
	topic := createTopic(t, "topic", 1)
	m := join(t, "group", "one", topic, "*", consumer.WithConsumeGoroutineNums(1))
	settle(t, topic, 1, m)
	sent := sendNumbered(t, topic, "k", 20, nil)
	eventually(t, "20 messages", func() bool { return m.count() >= 20 })
	of := map[string]string{"consumerGroup": name(t, "group"), "topic": topic, "queueId": "0"}
	committed := func() string {
		_, fields := ask(t, queryConsumerOffset, of)
		return fields["offset"]
	}
	end := strconv.FormatInt(m.messages(false)[19].QueueOffset+1, 10)
	eventually(t, "the commit", func() bool { return committed() == end })
	code, _ := ask(t, resetOffset, map[string]string{"group": name(t, "group"), "topic": topic, "timestamp": "0", "isForce": "true"})
	if code != 0 || committed() != "0" {
		t.Fatalf("reset: code %d, then at %s", code, committed())
	}
	for deadline := time.Now().Add(60 * time.Second); m.count() < 40; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("only %d messages after the reset", m.count()-20)
		}
	}
	checkOnce(t, sent, m.messages(false)[20:])
	eventually(t, "the commit after the reset", func() bool { return committed() == end })
}
