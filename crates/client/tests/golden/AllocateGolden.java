// SPDX-License-Identifier: Apache-2.0
import java.util.*;
import org.apache.rocketmq.client.consumer.AllocateMessageQueueStrategy;
import org.apache.rocketmq.client.consumer.rebalance.*;
import org.apache.rocketmq.common.message.MessageQueue;

/** Prints what Java's strategies give each member of a group: `case strategy member: broker-queue ...`. */
public class AllocateGolden {
    static List<MessageQueue> queues(String topic, String... brokers) {
        List<MessageQueue> all = new ArrayList<>();
        for (String broker : brokers) {
            String[] parts = broker.split(":");
            for (int i = 0; i < Integer.parseInt(parts[1]); i++) all.add(new MessageQueue(topic, parts[0], i));
        }
        Collections.sort(all);
        return all;
    }

    static void print(String name, AllocateMessageQueueStrategy strategy, List<MessageQueue> queues, List<String> members) {
        for (String member : members) {
            StringBuilder line = new StringBuilder(name + " " + strategy.getName() + " " + member + ":");
            for (MessageQueue queue : strategy.allocate("group", member, queues, members)) line.append(' ').append(queue.getBrokerName()).append('/').append(queue.getQueueId());
            System.out.println(line);
        }
    }

    public static void main(String[] args) {
        String[][] members = {
            {"192.168.0.1@1"}, {"a", "b"}, {"10.0.0.1@7#99", "10.0.0.2@7#98", "10.0.0.3@8#97"},
            {"m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "m9"}, {"zz", "é", "中"}, {"room1-c1", "room1-c2", "room2-c1"}};
        String[][] brokers = {{"room1@b:1"}, {"room1@b:8"}, {"broker-a:4", "broker-b:4"}, {"room1@a:5", "room2@b:3", "room3@c:2"}, {"room2@z:16", "room1@y:1"}};
        for (int b = 0; b < brokers.length; b++) {
            List<MessageQueue> queues = queues("TopicTest", brokers[b]);
            for (int m = 0; m < members.length; m++) {
                List<String> ids = new ArrayList<>(Arrays.asList(members[m]));
                Collections.sort(ids);
                String name = b + "/" + m;
                print(name, new AllocateMessageQueueAveragely(), queues, ids);
                print(name, new AllocateMessageQueueAveragelyByCircle(), queues, ids);
                print(name, new AllocateMessageQueueConsistentHash(), queues, ids);
                AllocateMessageQueueByMachineRoom room = new AllocateMessageQueueByMachineRoom();
                room.setConsumeridcs(new HashSet<>(Arrays.asList("room1", "room2")));
                print(name, room, queues, ids);
                print(name, new AllocateMachineRoomNearby(new AllocateMessageQueueAveragely(), new AllocateMachineRoomNearby.MachineRoomResolver() {
                    public String brokerDeployIn(MessageQueue queue) { return queue.getBrokerName().split("[@-]")[0]; }
                    public String consumerDeployIn(String id) { return id.split("-")[0]; }
                }), queues, ids);
            }
        }
    }
}
