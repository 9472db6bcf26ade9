# SPDX-License-Identifier: Apache-2.0
# What is masked in which command's text, beyond the times and addresses that text.sh masks everywhere. Sourced by text.sh.
#
#   MASK[COMMAND] or MASK[NAME]   sed -E commands; NAME.file for the file a call wrote, NAME.err for standard error
#   ANY_ORDER[...]                lines (or JSON members) whose order is that of a hash table in Java
#   ROUNDS[NAME]                  how many lines of a command without end are compared
#   LENGTHS[...]                  lines end with their length, because a mask hides how wide a column is
#   PATHS[...]                    JSON, one value a line: every line behind its path, sorted
#   IN_ORDER[...]                 lines in a row that match are sorted
#   ONCE[...]                     lines that match stand once in a row
declare -A MASK=() ANY_ORDER=() ROUNDS=() LENGTHS=() ONCE=() PATHS=() IN_ORDER=()

# InTPS(LOAD) and OutTPS(LOAD), the hours since the oldest message, the share of the disk; how full the waiting queues are stays.
MASK[clusterList]='s/ +[0-9]+\.[0-9]{2}\(([0-9]+),[0-9]+ms\)/ <tps>(\1,<ms>)/g
s/(<ms>\)) +[0-9]+ +[0-9]+\.[0-9]{2} [01]\.[0-9]{4} /\1 <wait> <hours> <disk> /
s/ +[0-9]+\.[0-9]{2}\(([0-9]+),[0-9]+ms\|([0-9]+),[0-9]+ms\)/ <tps>(\1,<ms>|\2,<ms>)/
s/(  +)[0-9]+  [0-9]+\.[0-9]{2}          [01]\.[0-9]{4}  /\1<wait>  <hours>          <disk>  /'
LENGTHS[clusterList]=1 ROUNDS[clusterList.interval]=4 # two rounds
# The mean time of a send.
MASK[clusterRT]='s/^(DefaultCluster +broker-a +)([0-9]+\.[0-9]{2} *)  /\1<ms>  /
s/^(<time\.*>\|room\|DefaultCluster\|broker-a)\|[0-9]+$/\1|<ms>/'
ROUNDS[clusterRT.interval]=2 ROUNDS[clusterRT.log]=1
ROUNDS[haStatus.interval]=10

# Rates, latencies, sizes and ages that the broker measures. Counts, versions, roles and positions stay. The traces, which name a
# measured time, have no fixed size.
STATUS='^((<broker[.]+> {10})?(%s) *: )%s$'
status() { # KEYS VALUE MASK
  printf "s/$STATUS/\\\\1<%s>/\n" "$1" "$2" "$3"
}
MASK[brokerStatus]=$(
  status 'get(Found|Miss|Total|Transferr?ed)Tps|putTps' '([0-9.E-]+ *)+' rates
  status 'putLatency999?|putMessageAverageSize|putMessageEntireTimeMax|getMessageEntireTimeMax' '[0-9.E-]+' measured
  status putMessageDistributeTime '((\[[^]]+\]:[0-9]+ )+|null)' 'how many in which time'
  status 'commitLogDiskRatio(_[^ ]*)?|consumeQueueDiskRatio' '[01]\.[0-9]+' ratio
  status commitLogDirCapacity 'Total : [0-9.]+ [KMGT]iB, Free : [0-9.]+ [KMGT]iB\.' capacity
  status remainHowManyDataToFlush '[0-9.]+ [KMG]?i?B' size
  status runtime '\[ [0-9]+ days, [0-9]+ hours, [0-9]+ minutes, [0-9]+ seconds \]' duration
  status '[A-Za-z]+HeadWaitTimeMills|pageCacheLockTimeMills' '[0-9]+' ms
  status 'commitLogMaxOffset|putMessageSizeTotal' '[1-9][0-9]+' bytes
  status 'timerReadBehind|commitOffsetBackwardIgnored' '[0-9]+' count
)
LENGTHS[statsAll]=1
MASK[statsAll]='s/^(.{143}) +[0-9]+\.[0-9]{2} +[0-9]+\.[0-9]{2} /\1 <tps> <tps> /
s/^(.{143}) +[0-9]+\.[0-9]{2}  /\1 <tps>  /'
MASK[consumerProgress]='s/^Consume TPS: [0-9]+\.[0-9]{2}$/Consume TPS: <tps>/'
MASK[consumerProgress.all]='s/^(.*(CLUSTERING|BROADCASTING|OFFLINE|PULL) +)[0-9]+( +[0-9]+)$/\1<tps>\3/'
ANY_ORDER[consumerProgress.all]=1
MASK[topicStatus]='s/^Topic Put TPS: [0-9.E-]+$/Topic Put TPS: <tps>/'
MASK[checkMsgSendRT]='s/^(broker-a .* (true|false)  +)[0-9]+$/\1<ms>/
s/^Avg RT: [0-9]+\.[0-9]{2}$/Avg RT: <ms>/'
# The ids of messages that mqadmin sends: 32 digits, or 56 where the machine's address is IPv6.
SENT='s/\b([0-9A-F]{56}|[0-9A-F]{32})\b/<new id>/g'
MASK[sendMessage]=$SENT
MASK[sendMsgStatus]="$SENT
s/^rt=[0-9]+ms/rt=<ms>/
s/queueOffset=[0-9]+/queueOffset=<offset>/
s/(topic=broker-z, brokerName=broker-a, queueId=)[0-3]\]/\1<any>]/" # the client begins with any queue
MASK[printMsg.sent]="$SENT
s/commitLogOffset=[0-9]+/commitLogOffset=<offset>/g
s/storeSize=(2[0-9]{2})/storeSize=<with the id>/g"
MASK[printMsg.sentPlain]=${MASK[printMsg.sent]}
MASK[queryMsgTraceById]='s/ [0-9]+ms  +/ <ms> /'
MASK[queryMsgById.push]='s/spentTimeMills=[0-9]+/spentTimeMills=<ms>/'
MASK[queryMsgByUniqueKey.push]=${MASK[queryMsgById.push]}
ANY_ORDER[consumerStatus.quarrel]=1
MASK[consumerStatus.quarrel]='s/^[12]( +127\.0\.0\.1@quarrel-[12] )/#\1/'
ANY_ORDER[topicList]=1 ANY_ORDER[statsAll]=1 ANY_ORDER[brokerConsumeStats]=1 ANY_ORDER[producer]=1 ANY_ORDER[getConsumerStatus]=1
# One round of ours; Java's first comes later. Whether an offset of a retry topic is known is a matter of moments.
ANY_ORDER[startMonitoring]=1
MASK[startMonitoring]='/topic=%RETRY%/ d
s/undoneMsgsDelayTimeMills=[1-9][0-9]*/undoneMsgsDelayTimeMills=<ms>/'
ANY_ORDER[resetOffsetByTime]=1 ANY_ORDER[skipAccumulatedMessage]=1
ANY_ORDER[getBrokerConfig]=1 ANY_ORDER[getNamesrvConfig]=1 ANY_ORDER[brokerStatus]=1
# Its place depends on the traces before it.
MASK[queryMsgByOffset.dlq]='s/^(OffsetID: +)7F000001[0-9A-F]{8}0{8}[0-9A-F]{8}$/\1<offset id>/
s/^(CommitLog Offset: +)[1-9][0-9]+$/\1<offset>/'
# Objects of Java by their addresses, rates, and the threads of a client: which they are is the client's affair, that there are some is not.
MASK[consumerStatus]='s/^(clientCallbackExecutorThreads +: )[0-9]+$/\1<by processors>/
s/(\$\$Lambda)\$[0-9]+\/0x[0-9a-f]{16}@[0-9a-f]+$/\1<address>/
s/(: org\.apache\.rocketmq\.[A-Za-z.]+)@[0-9a-f]+$/\1@<address>/
s/^((%RETRY%)?[a-z-]+ +)[ 0-9]{12}\.[0-9]{2} [ 0-9]{11}\.[0-9]{2} [ 0-9]{11}\.[0-9]{2} [ 0-9]{11}\.[0-9]{2}( {15}0\.00 {25}0)$/\1<ms> <tps> <ms> <tps>\3/
/^#Consumer jstack#/,$ {
  /^$/ d
  s/^[^ ].{39,} *TID: [0-9]+ STATE: [A-Z_]+$/<thread>/
  s/^[^ ].{39,} *(java|app|jdk)[^ ]*\/[^ ]+\(.*\)$/<frame>/
}'
ONCE[consumerStatus]='^<(thread|frame)>$'
PORTS='s/^((listenPort|haListenPort) *=  )[0-9]{5}$/\1<port>/'
# Java counts the processors of its machine.
CORES='sendMessageThreadPoolNums|putMessageFutureThreadPoolNums|(pull|litePull|processReply|query)MessageThreadPoolNums|heartbeatThreadPoolNums|endTransactionThreadPoolNums|clientCallbackExecutorThreads'
MASK[getBrokerConfig]=$PORTS$'\n'"s/^(($CORES) *=  )[0-9]+$/\1<by processors>/" MASK[getNamesrvConfig]=$PORTS$'\n''s/(conf\/namesrv-)[0-9]{5}\.properties$/\1<port>.properties/'
# An id that no message has, with the port of the broker.
MASK[queryMsgById.beyond]='s/7F000001[0-9A-F]{8}0000000000FFFFFF/<beyond the log>/'
MASK[exportMetadata]='s/^(\t\t"counter":)[0-9]+,$/\1<changes>,/'
# The tables of an exported file are hash tables: every value with its path, sorted.
for export in cluster broker topics groups special; do PATHS[exportMetadata.$export.file]=1; done
MASK[exportMetrics.cluster.file]='s/("(total)?[nN]ormal(In|Out)Tps":)[0-9]+\.[0-9E-]+/\1<tps>/
s/("(commitLog|consumeQueue)DiskRatio":)"[01]\.[0-9]+"/\1<ratio>/
s/("cpuNum":)"[0-9]+"/\1<processors>/
s/("messageAverageSize":)"[0-9.]+"/\1<bytes>/'
PATHS[exportMetrics.cluster.file]=1 PATHS[exportConfigs.cluster.file]=1
MASK[haStatus]='s/^(#MasterCommitLogMaxOffset\t)[1-9][0-9]+$/\1<bytes>/' # with the traces
# The properties of a client stand in the order of a hash table.
IN_ORDER[consumerStatus]='^[A-Za-z0-9_]+ +: '
