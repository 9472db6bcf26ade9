# SPDX-License-Identifier: Apache-2.0
# What mqadmin is asked, in this order: every call with the state that the calls before it left. Sourced by suite.sh.
#
#   ask NAME ARGS...            the command is NAME up to the first dot; the name server's address is added
#   ask_raw NAME ARGS...        exactly these arguments, which begin with the command
#   ask_while SECONDS NAME ARGS...   a command that never ends by itself: what it printed until then
#   and_file FILE               the file that the last call wrote belongs to its answer
# Each message of the state has its id in UNIQUE[KEY] and its offset id in OFFSET_ID[KEY].

B=$BROKER_ADDR C=DefaultCluster
NOBODY=127.0.0.1:1

# --- usage: nothing is reached
ask_raw mqadmin.unknownCommand noSuchCommand
ask_raw mqadmin.helpUnknown help noSuchCommand
ask_raw mqadmin.caseOfNames TOPICLIST -h
ask_raw mqadmin.help help topicRoute
ask_raw usage.helpOption topicRoute -h
ask_raw usage.helpLong topicRoute --help -t x
ask_raw usage.noRequired topicRoute -n "$NAMESRV_ADDR"
ask_raw usage.twoMissing updateKvConfig -n "$NAMESRV_ADDR" -s x
ask_raw usage.noArgument topicRoute -n "$NAMESRV_ADDR" -t
ask_raw usage.unknownOption topicRoute -n "$NAMESRV_ADDR" -t x -z
ask_raw usage.unknownLong topicRoute -n "$NAMESRV_ADDR" -t x --zoo
ask_raw usage.groupMissing updateTopic -n "$NAMESRV_ADDR" -t x
ask_raw usage.groupBoth updateTopic -n "$NAMESRV_ADDR" -t x -b "$B" -c "$C"
ask_raw usage.ambiguous queryMsgByKey -n "$NAMESRV_ADDR" --msg k -t x
ask_raw usage.prefix topicClusterList --namesrv "$NAMESRV_ADDR" --top nowhere
ask_raw usage.joined topicClusterList "-n$NAMESRV_ADDR" -tnowhere
ask_raw usage.equals topicClusterList "--namesrvAddr=$NAMESRV_ADDR" --topic=nowhere
ask_raw usage.surplus topicClusterList -n "$NAMESRV_ADDR" -t nowhere surplus
ask_raw usage.twice topicClusterList -n "$NAMESRV_ADDR" -t nowhere -t elsewhere

# --- nobody there
ask_raw lost.noNamesrv topicList
ask_raw lost.refused topicList -n "$NOBODY"
ask_raw lost.clusterList clusterList -n "$NOBODY"
ask_raw lost.brokerPort topicList -n "$B"
ask_raw lost.brokerStatus brokerStatus -n "$NAMESRV_ADDR" -b "$NOBODY"

# --- topics
ask updateTopic.cluster -c $C -t orders -r 4 -w 4
ask updateTopic.order -b "$B" -t ordered -r 2 -w 2 -o true
ask updateTopic.orderCluster -c $C -t lined -r 2 -w 3 -o true
ask updateTopic.texts -b "$B" -t texts -r 1 -w 1
ask updateTopic.poison -b "$B" -t poison -r 1 -w 1
ask updateTopic.traced -b "$B" -t traced -r 1 -w 1
ask5 updateTopic.attributes -b "$B" -t fifo -r 1 -w 1 -a +message.type=FIFO
ask4 updateTopic.fifo -b "$B" -t fifo -r 1 -w 1
ask updateTopic.flags -c $C -t flagged -r 3 -w 5 -p 4 -u true -s true
ask updateTopic.defaults -c $C -t wide
ask updateTopic.again -c $C -t wide -r 2 -w 2
ask updateTopic.badName -b "$B" -t '../x' -r 1 -w 1
ask updateTopic.systemName -b "$B" -t SCHEDULE_TOPIC_XXXX -r 1 -w 1
ask updateTopic.badNumber -b "$B" -t numbers -r many -w 1
ask updateTopic.badPerm -b "$B" -t odd -r 1 -w 1 -p 9
ask5 updateTopic.badAttribute -b "$B" -t odd -r 1 -w 1 -a +colour=blue
ask updateTopic.absentCluster -c nowhere -t odd
ask updateTopic.refused -b "$NOBODY" -t odd
cat >"$WORK/topics.json" <<'JSON'
[{"topicName":"listed-1","readQueueNums":2,"writeQueueNums":2,"perm":6},{"topicName":"listed-2","readQueueNums":1,"writeQueueNums":3,"perm":4}]
JSON
echo '{"topicName":' >"$WORK/broken.json"
ask5 updateTopicList.broker -b "$B" -f "$WORK/topics.json"
ask5 updateTopicList.cluster -c $C -f "$WORK/topics.json"
ask5 updateTopicList.noFile -c $C -f "$WORK/nowhere.json"
ask5 updateTopicList.broken -c $C -f "$WORK/broken.json"
ask4 updateTopic.listed -c $C -t listed-1 -r 2 -w 2
ask updateTopicPerm.broker -b "$B" -t listed-1 -p 4
ask updateTopicPerm.same -b "$B" -t listed-1 -p 4
ask updateTopicPerm.cluster -c $C -t listed-1 -p 6
ask updateTopicPerm.absentTopic -c $C -t nowhere -p 6
ask updateTopicPerm.absentBroker -b 127.0.0.1:9 -t listed-1 -p 6
ask updateTopicPerm.badNumber -b "$B" -t listed-1 -p RW

# --- order configuration and key-values
ask updateOrderConf.put -m put -t orders -v broker-a:4
ask updateOrderConf.get -m get -t orders
ask updateOrderConf.delete -m delete -t orders
ask updateOrderConf.getGone -m get -t orders
ask updateOrderConf.ordered -m get -t ordered
ask updateOrderConf.noValue -m put -t orders
ask updateOrderConf.badMethod -m steal -t orders
ask updateKvConfig.put -s tests -k colour -v 'deep blue'
ask updateKvConfig.again -s tests -k colour -v green
ask deleteKvConfig.existing -s tests -k colour
ask deleteKvConfig.absent -s tests -k colour

# --- groups
ask5 updateSubGroup.broker -b "$B" -g made -s true -m false -d true -o true -q 2 -r 5 -i 0 -w 1 -a false
ask4 updateSubGroup.broker -b "$B" -g made -s true -m false -d true -q 2 -r 5 -i 0 -w 1 -a false
ask updateSubGroup.cluster -c $C -g made-2
ask updateSubGroup.disabled -c $C -g made-3 -s false
ask5 updateSubGroup.policy -b "$B" -g made-4 -p '{"type":"CUSTOMIZED","customizedRetryPolicy":{"next":[1000,5000]}}'
ask5 updateSubGroup.attributes -b "$B" -g made-5 --attributes +priority.factor=1
ask updateSubGroup.badNumber -b "$B" -g made-6 -r many
ask updateSubGroup.absentCluster -c nowhere -g made-6
cat >"$WORK/groups.json" <<'JSON'
[{"groupName":"listed-group-1","retryMaxTimes":3},{"groupName":"listed-group-2","consumeEnable":false}]
JSON
ask5 updateSubGroupList.broker -b "$B" -f "$WORK/groups.json"
ask5 updateSubGroupList.cluster -c $C -f "$WORK/groups.json"
ask5 updateSubGroupList.noFile -c $C -f "$WORK/nowhere.json"

build_state # messages, offsets, clients: java/State.java

# --- the cluster
ask clusterList
ask clusterList.more -m
ask5 clusterList.cluster -c $C
ask5 clusterList.absent -c nowhere
ask_while 3 clusterList.interval -i 1
ask brokerStatus.broker -b "$B"
ask brokerStatus.cluster -c $C
ask brokerConsumeStats.broker -b "$B"
ask brokerConsumeStats.level -b "$B" -l 10
ask brokerConsumeStats.order -b "$B" -o true -t 5000
ask getBrokerConfig.broker -b "$B"
ask getBrokerConfig.cluster -c $C
ask getBrokerConfig.absent -c nowhere
ask getNamesrvConfig
ask5 haStatus.broker -b "$B"
ask5 haStatus.cluster -c $C
[[ $TOOL_VERSION == 4.* ]] || ask_while 2 haStatus.interval -b "$B" -i 1

# --- topics
ask topicList
ask topicList.cluster -c
ask topicRoute.orders -t orders
ask topicRoute.list -t orders -l
ask topicRoute.flagged -t flagged
ask topicRoute.absent -t nowhere
ask topicStatus.orders -t orders
ask5 topicStatus.cluster -t ordered -c $C
ask4 topicStatus.ordered -t ordered
ask topicStatus.empty -t wide
ask topicStatus.absent -t nowhere
ask topicClusterList.orders -t orders
ask topicClusterList.absent -t nowhere
ask allocateMQ.three -t orders -i 10.0.0.1,10.0.0.2,10.0.0.3
ask allocateMQ.more -t ordered -i 10.0.0.1,10.0.0.2,10.0.0.3
ask allocateMQ.absent -t nowhere -i 10.0.0.1
ask statsAll.all
ask statsAll.topic -t orders
ask statsAll.active -a -t wide
ask statsAll.absent -t nowhere

# --- clients and groups
ask producer -b "$B"
ask producer.refused -b "$NOBODY"
ask producerConnection.online -g shop-producer -t orders
ask producerConnection.absent -g nobody -t orders
ask producerConnection.absentTopic -g shop-producer -t nowhere
ask consumerConnection.online -g shop
ask consumerConnection.broker -g shop -b "$B"
ask consumerConnection.tags -g tagged
ask consumerConnection.broadcast -g everybody
ask consumerConnection.lite -g lite
ask consumerConnection.offline -g reports
ask consumerConnection.absent -g nobody
ask consumerProgress.all
ask consumerProgress.online -g shop
ask consumerProgress.clients -g shop -s true
ask consumerProgress.offline -g reports
ask5 consumerProgress.topic -g shop -t orders
ask5 consumerProgress.cluster -g shop -c $C
ask consumerProgress.broadcast -g everybody
ask consumerProgress.absent -g nobody
ask consumerStatus.one -g in-line
and_file "$(last_file)"
ask consumerStatus.client -g in-line -i 127.0.0.1@in-line-1
ask consumerStatus.stacks -g shop -i 127.0.0.1@shop-1 -s
ask consumerStatus.quarrel -g quarrel -b "$B"
ask consumerStatus.offline -g reports
ask consumerStatus.absentClient -g in-line -i 127.0.0.1@nobody
ask getConsumerStatus.group -g shop -t orders
ask getConsumerStatus.client -g shop -t orders -i 127.0.0.1@shop-1
ask getConsumerStatus.offline -g reports -t orders
ask getConsumerConfig.made -g made
ask getConsumerConfig.online -g shop
ask getConsumerConfig.absent -g nobody

# --- messages
ask5 queryMsgById.one -t orders -i "${OFFSET_ID[m7]}"
and_file "$(body_file)"
ask5 queryMsgById.two -t orders -i "${OFFSET_ID[m0]},${OFFSET_ID[m39]}"
ask5 queryMsgById.format -t orders -i "${OFFSET_ID[m7]}" -f UTF-8
ask5 queryMsgById.unique -t orders -i "${UNIQUE[m7]}"
ask5 queryMsgById.cluster -t orders -i "${UNIQUE[m7]}" -c $C
ask5 queryMsgById.long -t texts -i "${OFFSET_ID[long]}"
ask5 queryMsgById.badFormat -t orders -i "${OFFSET_ID[m7]}" -f NO-SUCH
ask5 queryMsgById.short -t orders -i 0A0B
ask5 queryMsgById.beyond -t orders -i "${OFFSET_ID[m7]:0:16}0000000000FFFFFF"
ask5 queryMsgById.push -t orders -i "${OFFSET_ID[m3]}" -g in-line -d 127.0.0.1@in-line-1
ask5 queryMsgById.pushNobody -t orders -i "${OFFSET_ID[m3]}" -g in-line -d 127.0.0.1@nobody
ask4 queryMsgById.one -i "${OFFSET_ID[m7]}"
and_file "$(body_file)"
ask4 queryMsgById.two -i "${OFFSET_ID[m0]},${OFFSET_ID[m39]}"
ask4 queryMsgById.long -i "${OFFSET_ID[long]}"
ask4 queryMsgById.unique -i "${UNIQUE[m7]}"
ask4 queryMsgById.short -i 0A0B
ask4 queryMsgById.beyond -i "${OFFSET_ID[m7]:0:16}0000000000FFFFFF"
ask4 queryMsgById.push -i "${OFFSET_ID[m3]}" -g in-line -d 127.0.0.1@in-line-1
ask4 queryMsgById.pushNobody -i "${OFFSET_ID[m3]}" -g in-line -d 127.0.0.1@nobody
ask queryMsgByKey.one -t orders -k m7
ask queryMsgByKey.twins -t texts -k twin
ask5 queryMsgByKey.max -t texts -k twin -m 1
ask queryMsgByKey.second -t texts -k other
ask queryMsgByKey.unique -t orders -k "${UNIQUE[m7]}"
ask5 queryMsgByKey.cluster -t orders -k m7 -c $C
ask5 queryMsgByKey.early -t orders -k m7 -e 1000
ask5 queryMsgByKey.late -t orders -k m7 -b 4000000000000
ask5 queryMsgByKey.badTime -t orders -k m7 -b yesterday
ask queryMsgByKey.absent -t orders -k nothing
ask queryMsgByKey.absentTopic -t nowhere -k m7
ask queryMsgByUniqueKey.one -t orders -i "${UNIQUE[m7]}"
ask queryMsgByUniqueKey.all -t orders -i "${UNIQUE[m7]}" -a
ask queryMsgByUniqueKey.text -t texts -i "${UNIQUE[long]}"
ask queryMsgByUniqueKey.absent -t orders -i 7F000001000000000000000000000000
ask queryMsgByUniqueKey.push -t orders -i "${UNIQUE[m3]}" -g in-line -d 127.0.0.1@in-line-1
ask queryMsgByUniqueKey.pushNobody -t orders -i "${UNIQUE[m3]}" -g shop -d 127.0.0.1@nobody
ask queryMsgByOffset.one -t orders -b broker-a -i 3 -o 1
ask5 queryMsgByOffset.format -t texts -b broker-a -i 0 -o 0 -f UTF-8
ask queryMsgByOffset.beyond -t orders -b broker-a -i 3 -o 99
ask queryMsgByOffset.absentBroker -t orders -b broker-z -i 3 -o 1
ask queryMsgByOffset.badNumber -t orders -b broker-a -i three -o 1
ask queryMsgByOffset.dlq -t %DLQ%failing -b broker-a -i 0 -o 0
ask queryMsgTraceById.one -i "${UNIQUE[t0]}"
ask5 queryMsgTraceById.topic -i "${UNIQUE[t0]}" -t RMQ_SYS_TRACE_TOPIC -c 10
ask4 queryMsgTraceById.topic -i "${UNIQUE[t0]}" -t RMQ_SYS_TRACE_TOPIC
ask queryMsgTraceById.absent -i 7F000001000000000000000000000000
ask queryMsgTraceById.absentTopic -i "${UNIQUE[t0]}" -t nowhere
ask queryCq.units -t orders -q 1 -i 2 -c 3 -b "$B"
ask queryCq.group -t orders -q 1 -i 2 -c 2 -b "$B" -g tagged
ask queryCq.noBroker -t orders -q 1 -i 2 -c 1
ask queryCq.beyond -t orders -q 1 -i 99 -c 2 -b "$B"
ask queryCq.absentQueue -t orders -q 9 -i 0 -c 1 -b "$B"
ask queryCq.absentTopic -t nowhere -q 0 -i 0 -c 1 -b "$B"
ask printMsg.orders -t orders
ask printMsg.tag -t orders -s TagA
ask printMsg.noBody -t orders -d false -s TagB
ask printMsg.charset -t texts -c UTF-8
ask printMsg.times -t orders -b 1000 -e 2000
ask printMsg.badTime -t orders -b yesterday
ask printMsg.absent -t nowhere
ask printMsgByQueue.quiet -t orders -a broker-a -i 2
ask printMsgByQueue.print -t orders -a broker-a -i 2 -p true -d true
ask printMsgByQueue.noBody -t orders -a broker-a -i 2 -p true
ask printMsgByQueue.count -t orders -a broker-a -i 2 -f true
ask printMsgByQueue.tag -t orders -a broker-a -i 2 -p true -d true -s TagB
ask printMsgByQueue.badTime -t orders -a broker-a -i 2 -b yesterday
ask printMsgByQueue.absentQueue -t orders -a broker-a -i 99 -p true
ask consumeMessage.offset -t orders -b broker-a -i 1 -o 2 -c 3
ask consumeMessage.queue -t orders -b broker-a -i 1 -c 2
ask consumeMessage.topic -t ordered
ask consumeMessage.count -t texts -c 2
ask consumeMessage.times -t texts -s 1000 -e 2000
ask consumeMessage.group -t texts -g printers -c 1
ask consumeMessage.offsetOnly -t orders -o 2
ask consumeMessage.badCount -t orders -c 0
ask consumeMessage.absent -t nowhere
ask startMonitoring.unknown -z
ask_while 2 startMonitoring

# --- exports
ask exportMetadata.cluster -c $C -f "$WORK/export-1"
and_file "$WORK/export-1/metadata.json"
ask exportMetadata.broker -b "$B" -f "$WORK/export-2"
and_file "$WORK/export-2/metadata.json"
ask exportMetadata.topics -b "$B" -t -f "$WORK/export-3"
and_file "$WORK/export-3/topic.json"
ask exportMetadata.groups -b "$B" -g -f "$WORK/export-4"
and_file "$WORK/export-4/subscriptionGroup.json"
ask exportMetadata.special -c $C -s -f "$WORK/export-5"
and_file "$WORK/export-5/metadata.json"
ask exportMetadata.absent -c nowhere -f "$WORK/export-6"
ask exportConfigs.cluster -c $C -f "$WORK/export-7"
and_file "$WORK/export-7/configs.json"
ask exportConfigs.absent -c nowhere -f "$WORK/export-8"
ask exportMetrics.cluster -c $C -f "$WORK/export-9"
and_file "$WORK/export-9/metrics.json"

# --- offsets
ask resetOffsetByTime.offline -g reports -t orders -s 0
ask consumerProgress.afterReset -g reports
ask resetOffsetByTime.now -g reports -t orders -s now
ask5 resetOffsetByTime.queue -g reports -t orders -s 0 -b "$B" -q 1 -o 7
ask resetOffsetByTime.text -g reports -t orders -s '2024-01-01#00:00:00:000'
ask resetOffsetByTime.badTime -g reports -t orders -s yesterday
ask resetOffsetByTime.absentGroup -g nobody -t orders -s 0
ask resetOffsetByTime.absentTopic -g reports -t nowhere -s 0
ask resetOffsetByTime.cluster -g reports -t orders -s 0 -c $C
ask skipAccumulatedMessage.offline -g reports -t orders
ask skipAccumulatedMessage.absentGroup -g nobody -t orders
ask5 skipAccumulatedMessage.cluster -g reports -t orders -c $C -f true
ask consumerProgress.afterSkip -g reports
ask cloneGroupOffset.groups -s reports -d idle -t orders
ask consumerProgress.afterClone -g idle
ask cloneGroupOffset.absentSource -s nobody -d idle -t orders
ask cloneGroupOffset.absentTopic -s reports -d idle -t nowhere
ask resetOffsetByTime.online -g in-line -t ordered -s now
ask5 setConsumeMode.broker -b "$B" -t ordered -g in-line -m POP -q 1
ask5 setConsumeMode.cluster -c $C -t ordered -g in-line -m PULL
ask5 setConsumeMode.badMode -b "$B" -t ordered -g in-line -m SIDEWAYS
ask5 setConsumeMode.badNumber -b "$B" -t ordered -g in-line -m POP -q many

# --- messages sent
ask_while 3 clusterRT.absent -c nowhere
ask_while 3 clusterRT.interval -a 3 -s 64 -i 1
ask_while 3 clusterRT.log -a 3 -p true -m room -i 1
ask sendMessage.plain -t fifo -p hello
ask sendMessage.full -t wide -p 'hello you' -k k1 -c TagS -b broker-a -i 1
ask printMsg.sent -t wide
ask printMsg.sentPlain -t fifo
ask sendMessage.trace -t wide -p traced -m true -b broker-a -i 0
ask sendMessage.noBroker -t wide -p hello -i 1
ask sendMessage.absentQueue -t wide -p hello -b broker-a -i 99
ask sendMessage.readOnly -t flagged -p hello
ask checkMsgSendRT.few -t wide -a 6 -s 64
ask checkMsgSendRT.absent -t nowhere-made -a 1
ask sendMsgStatus.few -b broker-a -s 64 -c 3
ask sendMsgStatus.absent -b broker-z -c 1

# --- configuration
ask updateBrokerConfig.broker -b "$B" -k longPollingEnable -v false
ask updateBrokerConfig.cluster -c $C -k longPollingEnable -v true
ask updateBrokerConfig.badValue -b "$B" -k maxMessageSize -v lots
ask updateBrokerConfig.path -b "$B" -k brokerConfigPath -v /tmp/x
ask updateBrokerConfig.unknown -b "$B" -k noSuchKey -v 1
ask updateBrokerConfig.absentCluster -c nowhere -k longPollingEnable -v true
ask updateNamesrvConfig.one -k orderMessageEnable -v true
ask topicRoute.ordered -t ordered
ask updateNamesrvConfig.back -k orderMessageEnable -v false
ask updateNamesrvConfig.path -k configStorePath -v /tmp/x
ask wipeWritePerm.broker -b broker-a
ask topicRoute.wiped -t texts
ask addWritePerm.broker -b broker-a
ask topicRoute.added -t texts
ask wipeWritePerm.absent -b broker-z
ask addWritePerm.absent -b broker-z

# --- access control, as 4.x has it
ask4 clusterAclConfigVersion.broker -b "$B"
ask4 clusterAclConfigVersion.cluster -c $C
ask4 getAclConfig.broker -b "$B"
ask4 updateAclConfig.broker -b "$B" -a visitor -s secret-of-visitor
ask4 deleteAclConfig.broker -b "$B" -a visitor
ask4 updateGlobalWhiteAddr.broker -b "$B" -g '10.10.103.*'

# --- cleaning
ask updateSubGroup.badName -b "$B" -g 'no/name'
ask cleanExpiredCQ.broker -b "$B"
ask cleanExpiredCQ.cluster -c $C
ask cleanExpiredCQ.all
ask cleanExpiredCQ.refused -b "$NOBODY"
ask deleteExpiredCommitLog.broker -b "$B"
ask deleteExpiredCommitLog.cluster -c $C
ask cleanUnusedTopic.broker -b "$B"
ask cleanUnusedTopic.cluster -c $C
ask deleteSubGroup.broker -b "$B" -g made
ask deleteSubGroup.cluster -c $C -g made-2 -r true
ask deleteSubGroup.absent -b "$B" -g nobody
ask deleteSubGroup.absentCluster -c nowhere -g made-3
ask deleteTopic.one -c $C -t wide
ask deleteTopic.again -c $C -t wide
ask deleteTopic.absentCluster -c nowhere -t lined
ask topicRoute.deleted -t wide
