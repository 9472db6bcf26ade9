#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The Java mqadmin 5.3.3 against a cluster whose state is known: does the printed text tell the truth?
#   run.sh
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

build_java 5.3.3
start_namesrv
start_broker broker-a
admin=$WORK/admin
mkdir "$admin"
asked=()

# mqadmin spends its time waiting: questions run side by side, each keeps its text in a file.
ask() { # NAME ARGS...
  local name=$1
  shift
  mqadmin "$@" >"$admin/$name" 2>&1 &
  asked+=($!)
}
# Commands that change something run alone.
tell() { # NAME ARGS...
  local name=$1
  shift
  mqadmin "$@" >"$admin/$name" 2>&1 || true
}
# The text has a line that matches the extended regular expression, where a blank stands for any blanks.
# Not grep -q: it leaves at the first match, and under pipefail the writer's SIGPIPE would then be the answer.
has() { # NAME REGEX
  tr -s ' \t' ' ' <"$admin/$1" | grep -E -- "$2" >/dev/null || { sed "s/^/    $1: /" "$admin/$1" | head -30; return 1; }
}
hasnot() { ! grep -qE -- "$2" "$admin/$1"; }
compact_has() { # NAME TEXT: without any blanks
  tr -d ' \t\n' <"$admin/$1" | grep -F -- "$2" >/dev/null || { sed "s/^/    $1: /" "$admin/$1" | head -30; return 1; }
}
questions() { # until all questions are answered
  wait "${asked[@]}" || true
  asked=()
}

tell updateTopic updateTopic -c DefaultCluster -t orders -r 4 -w 4
check "updateTopic by cluster" has updateTopic "^create topic to $BROKER_ADDR success"
check "updateTopic prints the topic" has updateTopic 'topicName=orders, readQueueNums=4, writeQueueNums=4, perm=RW-'
tell updateTopic2 updateTopic -b "$BROKER_ADDR" -t odd -r 3 -w 5 -p 4
check "updateTopic by broker" has updateTopic2 'topicName=odd, readQueueNums=3, writeQueueNums=5, perm=R--'
tell bad updateTopic -b "$BROKER_ADDR" -t '../x' -r 1 -w 1
check "updateTopic refuses an illegal name" hasnot bad 'success'

sent=100 consumed=60
load send orders m $sent >"$WORK/sent"
check "producer" grep -q "sent $sent broker-a=$sent" "$WORK/sent"
start_load holder hold orders shop $consumed
wait_until 60 "the consumer" grep -q holding "$WORK/holder.load"
committed() { mqadmin consumerProgress -g shop >"$admin/progress" 2>&1; grep -q "Consume Diff Total: $((sent - consumed))$" "$admin/progress"; }
check "consumerProgress -g: diff is sent - consumed" wait_until 40 "the group's offsets" committed

ask clusterList clusterList
ask clusterMore clusterList -m
ask topicList topicList
ask topicsOfCluster topicList -c
questions
check "clusterList" has clusterList "^DefaultCluster broker-a 0 $BROKER_ADDR V[0-9_]+ "
check "clusterList has one broker" test "$(grep -c "$BROKER_ADDR" "$admin/clusterList")" = 1
check "clusterList -m: messages in and out" has clusterMore "^DefaultCluster broker-a 0 0 $sent $sent"
for topic in orders odd %RETRY%shop TBW102 SELF_TEST_TOPIC broker-a DefaultCluster; do
  check "topicList has $topic" grep -qx "$topic" "$admin/topicList"
done
check "topicList -c: topic with its group" has topicsOfCluster '^DefaultCluster orders shop'

ask route topicRoute -t orders
ask routeOdd topicRoute -t odd
ask routeNone topicRoute -t absent
ask status topicStatus -t orders
questions
check "topicRoute: address" compact_has route "{0:\"$BROKER_ADDR\"},\"brokerName\":\"broker-a\",\"cluster\":\"DefaultCluster\""
check "topicRoute: queues" compact_has route '"brokerName":"broker-a","perm":6,"readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4'
check "topicRoute: read-only topic" compact_has routeOdd '"brokerName":"broker-a","perm":4,"readQueueNums":3,"topicSysFlag":0,"writeQueueNums":5'
check "topicRoute: absent topic" has routeNone 'CODE: 17 DESC: No topic route info in name server for the topic: absent'
for queue in 0 1 2 3; do check "topicStatus: queue $queue" has status "^broker-a $queue 0 25 20"; done

ask progressAll consumerProgress
ask progressNone consumerProgress -g absent
ask connection consumerConnection -g shop
ask connectionNone consumerConnection -g absent
questions
diff=$((sent - consumed))
check "consumerProgress: all groups" has progressAll "^shop 1 V5_3_3 PUSH CLUSTERING [0-9.]+ $diff"
check "consumerProgress -g: broker offsets" test "$(tr -s ' ' <"$admin/progress" | awk '$1 == "orders" { n += $4 } END { print n }')" = $sent
check "consumerProgress -g: consumer offsets" test "$(tr -s ' ' <"$admin/progress" | awk '$1 == "orders" { n += $5 } END { print n }')" = $consumed
check "consumerProgress -g: diff by queue" test "$(tr -s ' ' <"$admin/progress" | awk '$1 == "orders" { n += $6 } END { print n }')" = $diff
check "consumerProgress: absent group" has progressNone 'CODE: 17 DESC: No topic route info in name server for the topic: %RETRY%absent'
check "consumerConnection: client" has connection '127.0.0.1:[0-9]+ JAVA V5_3_3'
check "consumerConnection: subscription" has connection '^orders \*'
check "consumerConnection: retry topic" has connection '^%RETRY%shop \*'
check "consumerConnection: type" has connection '^ConsumeType: CONSUME_PASSIVELY'
check "consumerConnection: model" has connection '^MessageModel: CLUSTERING'
check "consumerConnection: from where" has connection '^ConsumeFromWhere: CONSUME_FROM_FIRST_OFFSET'
check "consumerConnection: absent group" has connectionNone 'CODE: 17'

ask config getBrokerConfig -b "$BROKER_ADDR"
ask brokerStatus brokerStatus -b "$BROKER_ADDR"
ask nsConfig getNamesrvConfig
ask stats statsAll -t orders
questions
for pair in brokerName=broker-a brokerClusterName=DefaultCluster brokerId=0 "listenPort=$BROKER_PORT" autoCreateTopicEnable=true \
  maxMessageSize=4194304 flushDiskType=ASYNC_FLUSH brokerRole=ASYNC_MASTER brokerIP1=127.0.0.1 "storePathRootDir=$BROKER_STORE"; do
  check "getBrokerConfig: $pair" has config "^${pair%%=*} = ${pair#*=}\$"
done
check "brokerStatus: messages in" has brokerStatus "^msgPutTotalTodayNow *: $sent\$"
check "brokerStatus: messages out" has brokerStatus "^msgGetTotalTodayNow *: $sent\$"
check "brokerStatus: puts" has brokerStatus "^putMessageTimesTotal *: $sent\$"
check "brokerStatus: nothing behind" has brokerStatus '^dispatchBehindBytes *: 0$'
check "brokerStatus: version" has brokerStatus '^brokerVersionDesc *: V[0-9_]+$'
check "brokerStatus: boot time" has brokerStatus '^bootTimestamp *: 1[0-9]{12}$'
check "getNamesrvConfig" has nsConfig "^listenPort = $NAMESRV_PORT\$"
check "statsAll: accumulation" has stats "^orders shop $diff "

# Looking back. The message with the key m7 is one of its queue's first two.
found() { tell byKey queryMsgByKey -t orders -k m7; has byKey '^[0-9A-F]{32,} [0-3] [0-9]+ ?$'; } # Java's index comes a little later
check "queryMsgByKey" wait_until 20 "the index" found
read -r unique queue offset < <(tr -s ' ' <"$admin/byKey" | grep -oE '^[0-9A-F]{32,} [0-3] [0-9]+')
tell byOffset queryMsgByOffset -t orders -b broker-a -i "$queue" -o "$offset"
id=$(awk '$1 == "OffsetID:" { print $2 }' "$admin/byOffset")
ask byKeyAbsent queryMsgByKey -t orders -k absent
ask byKeyEarly queryMsgByKey -t orders -k m7 -e 1000
ask byKeyLate queryMsgByKey -t orders -k m7 -b "$(date +%s)999"
ask byUnique queryMsgByUniqueKey -t orders -i "$unique"
ask byId queryMsgById -t orders -i "$id"
questions
ask cq queryCq -t orders -q "$queue" -i "$offset" -c 2 -b "$BROKER_ADDR"
ask cqGroup queryCq -t orders -q "$queue" -i "$offset" -c 1 -b "$BROKER_ADDR" -g shop
ask cqNone queryCq -t orders -q 9 -i 0 -c 1 -b "$BROKER_ADDR"
ask print printMsg -t orders
ask consume consumeMessage -t orders -b broker-a -i "$queue" -o "$offset" -c 2
questions
check "queryMsgByKey: finds one" test "$(grep -cE '^[0-9A-F]{32,}' "$admin/byKey")" = 1
for name in byKeyAbsent byKeyEarly byKeyLate; do
  check "queryMsgByKey: $name" has $name 'CODE: 208 DESC: query message by key finished, but no message.'
done
for name in byUnique byId byOffset; do
  check "$name: the offset id" has $name "^OffsetID: $id"
  check "$name: the message" has $name '^Keys: \[m7\]'
  check "$name: its queue" has $name "^Queue ID: $queue"
  check "$name: its offset" has $name "^Queue Offset: $offset"
  check "$name: its unique key" has $name "UNIQ_KEY=$unique[,}]"
done
physical=$(awk '$1 == "CommitLog" { print $3 }' "$admin/byId")
check "queryCq: range" has cq '^max: 25, min: 0'
check "queryCq: unit" has cq "^ConsumeQueueData\{physicOffset=$physical, physicSize=[0-9]+, tagsCode=0, .*eval=false"
check "queryCq: two units" test "$(grep -c '^ConsumeQueueData' "$admin/cq")" = 2
check "queryCq: subscription" compact_has cqGroup '"subString":"*"'
check "queryCq: absent queue" has cqNone 'CODE: 1 DESC: 9@orders is not exist!'
check "printMsg: all messages" test "$(grep -c '^MSGID: ' "$admin/print")" = $sent
check "consumeMessage" has consume "UNIQ_KEY=$unique,.*BODY: m7"

tell group updateSubGroup -b "$BROKER_ADDR" -g reports -r 3
check "updateSubGroup" has group "^create subscription group to $BROKER_ADDR success"
tell groupCluster updateSubGroup -c DefaultCluster -g reports2
check "updateSubGroup by cluster" has groupCluster "^create subscription group to $BROKER_ADDR success"
ask cluster topicClusterList -t orders
questions
check "topicClusterList" has cluster '^DefaultCluster$'

tell wipe wipeWritePerm -b broker-a
check "wipeWritePerm" has wipe "^wipe write perm of broker\[broker-a\] in name server\[$NAMESRV_ADDR\] OK, [1-9]"
tell wiped topicRoute -t orders
check "wipeWritePerm: route is read-only" compact_has wiped '"perm":4,"readQueueNums":4'
tell add addWritePerm -b broker-a
check "addWritePerm" has add "^add write perm of broker\[broker-a\] in name server\[$NAMESRV_ADDR\] OK, [1-9]"
tell added topicRoute -t orders
check "addWritePerm: route is writable" compact_has added '"perm":6,"readQueueNums":4'

tell kv updateKvConfig -s tests -k colour -v 'deep blue'
check "updateKvConfig" has kv '^create or update kv config to namespace success.'
tell kvGone deleteKvConfig -s tests -k colour
check "deleteKvConfig" has kvGone '^delete kv config from namespace success.'

tell delete deleteTopic -c DefaultCluster -t odd
check "deleteTopic: broker" has delete '^delete topic \[odd\] from cluster \[DefaultCluster\] success.'
check "deleteTopic: name server" has delete '^delete topic \[odd\] from NameServer success.'
ask routeGone topicRoute -t odd
ask topicsNow topicList
questions
check "deleteTopic: no route" has routeGone 'CODE: 17'
check "deleteTopic: not listed" hasnot topicsNow '^odd$'
check "deleteTopic: others stay" grep -qx orders "$admin/topicsNow"

end_load holder
summary
