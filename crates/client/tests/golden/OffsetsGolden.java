// SPDX-License-Identifier: Apache-2.0
import java.util.concurrent.ConcurrentMap;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.rocketmq.client.consumer.store.*;
import org.apache.rocketmq.common.message.MessageQueue;

/** Prints the offsets.json of a broadcasting Java consumer. */
public class OffsetsGolden {
    public static void main(String[] args) throws Exception {
        OffsetSerializeWrapper offsets = new OffsetSerializeWrapper();
        offsets.getOffsetTable().put(new MessageQueue("TopicTest", "broker-a", 0), new AtomicLong(12));
        offsets.getOffsetTable().put(new MessageQueue("TopicTest", "broker-a", 1), new AtomicLong(0));
        offsets.getOffsetTable().put(new MessageQueue("quote\"\\é中", "broker-b", 7), new AtomicLong(9007199254740993L));
        System.out.print(offsets.toJson(true));
    }
}
