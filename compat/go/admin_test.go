// SPDX-License-Identifier: Apache-2.0

package compat

import (
	"context"
	"errors"
	"testing"

	"github.com/apache/rocketmq-client-go/v2/admin"
	clienterrors "github.com/apache/rocketmq-client-go/v2/errors"
)

// listed says whether the name server lists the topic.
func listed(t *testing.T, topic string) (found bool) {
	t.Helper()
	withAdmin(t, func(a admin.Admin) {
		list, err := a.FetchAllTopicList(context.Background())
		ok(t, err, "fetch topic list")
		for _, name := range list.TopicList {
			found = found || name == topic
		}
	})
	return found
}

// A topic's life: created with its queues, listed, changed, deleted on broker and name server.
func TestTopicLife(t *testing.T) {
	topic := name(t, "topic")
	if listed(t, topic) {
		t.Fatal("listed before it was made")
	}
	if !listed(t, "TBW102") {
		t.Error("TBW102 is not listed")
	}
	set := func(read, write, perm int) {
		withAdmin(t, func(a admin.Admin) {
			ok(t, a.CreateTopic(context.Background(), admin.WithTopicCreate(topic), admin.WithBrokerAddrCreate(brokerAddr),
				admin.WithReadQueueNums(read), admin.WithWriteQueueNums(write), admin.WithPerm(perm)), "create topic")
		})
	}
	expect := func(queues int) {
		t.Helper()
		eventually(t, "the topic's route", func() bool { return len(writeQueues(t, topic)) == queues })
	}
	set(3, 3, 6)
	expect(3)
	for id, q := range writeQueues(t, topic) {
		if q.Topic != topic || q.BrokerName == "" || q.QueueId != id {
			t.Errorf("queue %d: %v", id, q)
		}
	}
	if !listed(t, topic) {
		t.Error("not listed")
	}
	set(8, 5, 6)
	expect(5)
	set(8, 8, 4) // read only: no queue to write to
	expect(0)
	set(8, 8, 6)
	expect(8)

	sent := fill(t, topic, 3, "A")
	checkOnce(t, sent, pull(t, newPuller(t, "one", topic, "*"), topic, 0, 32, 0, 3, 0, 3))

	withAdmin(t, func(a admin.Admin) {
		ok(t, a.DeleteTopic(context.Background(), admin.WithTopicDelete(topic), admin.WithBrokerAddrDelete(brokerAddr)), "delete topic")
	})
	eventually(t, "the route is gone", func() (gone bool) {
		withAdmin(t, func(a admin.Admin) {
			_, err := a.FetchPublishMessageQueues(context.Background(), topic)
			gone = errors.Is(err, clienterrors.ErrTopicNotExist)
		})
		return gone
	})
	if listed(t, topic) {
		t.Error("listed after its deletion")
	}
}

// A consumer's group is made at its first heartbeat and is in the broker's list of groups.
func TestGroupIsListed(t *testing.T) {
	topic := createTopic(t, "topic", 1)
	join(t, "group", "one", topic, "*")
	eventually(t, "the group is listed", func() (found bool) {
		withAdmin(t, func(a admin.Admin) {
			groups, err := a.GetAllSubscriptionGroup(context.Background(), brokerAddr, patience)
			ok(t, err, "fetch groups")
			group, there := groups.SubscriptionGroupTable[name(t, "group")]
			found = there && group.GroupName == name(t, "group") && group.ConsumeEnable && group.RetryQueueNums == 1 && group.RetryMaxTimes == 16
		})
		return found
	})
}
