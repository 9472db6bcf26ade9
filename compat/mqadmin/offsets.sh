#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The offsets of groups, moved by the Java mqadmin of both versions: what it prints, and where the groups are then.
#   offsets.sh
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

build_java 5.3.3
start_namesrv
start_broker broker-a
admin=$WORK/admin
mkdir "$admin"

# Every command changes something or looks at what the last one changed, so they run one after the other.
tell() { # NAME ARGS...
  local name=$1
  shift
  mqadmin "$@" >"$admin/$name" 2>&1 || true
}
# The mqadmin of another version.
tell_of() { # VERSION NAME ARGS...
  local version=$1 name=$2
  shift 2
  java_home "$WORK/mqadmin-$version" "$version"
  PEER_HOME=$WORK/mqadmin-$version PEER_VERSION=$version "$PEER" mqadmin "$@" -n "$NAMESRV_ADDR" >"$admin/$name" 2>&1 || true
}
has() { # NAME REGEX, where a blank stands for any blanks
  tr -s ' \t' ' ' <"$admin/$1" | grep -E -- "$2" >/dev/null || { sed "s/^/    $1: /" "$admin/$1" | head -30; return 1; }
}
# Quietly, for what is waited for.
come_to() { are "$@" >/dev/null; }
# The group's offsets in all queues of the topic, in the order of the queues.
offsets() { # GROUP TOPIC
  mqadmin consumerProgress -g "$1" 2>/dev/null | tr -s ' ' | awk -v topic="$2" '$1 == topic { print $3, $5 }' | sort -n | cut -d' ' -f2 | paste -sd' '
}
are() { # WANTED GROUP TOPIC
  local found
  found=$(offsets "$2" "$3")
  [ "$found" = "$1" ] || { echo "    offsets: $found"; return 1; }
}

tell topic updateTopic -c DefaultCluster -t orders -r 4 -w 4
for group in shop reports; do tell "group-$group" updateSubGroup -b "$BROKER_ADDR" -g "$group"; done
# consumerProgress finds a group's brokers by its retry topic, which its first member would make.
tell retry updateTopic -c DefaultCluster -t %RETRY%reports -r 1 -w 1
load send orders m 100 >"$WORK/sent"
load receive orders shop 100 m >"$WORK/received" || fail "the consumer"
wait_until 20 "the group's offsets" come_to "25 25 25 25" shop orders

echo "== a group that is offline"
tell byTime resetOffsetByTime -g shop -t orders -s 0
check "resetOffsetByTime: head" has byTime '^start reset consumer offset by specified, group\[shop\], topic\[orders\], force\[true\], timestamp\(string\)\[0\]'
for queue in 0 1 2 3; do check "resetOffsetByTime: queue $queue" has byTime "^broker-a $queue 0 ?\$"; done
check "resetOffsetByTime: offsets" are "0 0 0 0" shop orders
tell skip skipAccumulatedMessage -g shop -t orders
check "skipAccumulatedMessage: queue" has skip '^broker-a 3 25 ?$'
check "skipAccumulatedMessage: offsets" are "25 25 25 25" shop orders
tell byOffset resetOffsetByTime -g shop -t orders -s 0 -b "$BROKER_ADDR" -q 1 -o 7
check "resetOffsetByTime of a queue to an offset" has byOffset '^reset consumer offset to 7$'
check "resetOffsetByTime of a queue: offsets" are "25 7 25 25" shop orders
tell clone cloneGroupOffset -s shop -d reports -t orders
check "cloneGroupOffset" has clone '^clone group offset success. srcGroup\[shop\], destGroup=\[reports\], topic\[orders\]'
check "cloneGroupOffset: offsets" are "25 7 25 25" reports orders
tell_of 4.9.7 skip497 skipAccumulatedMessage -g reports -t orders
check "skipAccumulatedMessage 4.9.7: queue" has skip497 '^broker-a 2 25 ?$'
check "skipAccumulatedMessage 4.9.7: offsets" are "25 25 25 25" reports orders
tell_of 4.9.7 byTime497 resetOffsetByTime -g reports -t orders -s 0
check "resetOffsetByTime 4.9.7: head" has byTime497 '^rollback consumer offset by specified group\[reports\], topic\[orders\], force\[true\]'
check "resetOffsetByTime 4.9.7: offsets" are "0 0 0 0" reports orders
tell absent resetOffsetByTime -g absent -t orders -s 0
check "resetOffsetByTime of an absent group" has absent 'CODE: 26 DESC: Group absent does not exist'

echo "== a group that is online"
tell_of 4.9.7 skipShop skipAccumulatedMessage -g shop -t orders
start_load shop collect orders shop "$WORK/collected"
: >>"$WORK/collected"
load send orders n 4 >"$WORK/sent4"
collected() { [ "$(wc -l <"$WORK/collected")" -ge "$1" ]; }
check "the group goes on where it was skipped to" wait_until 60 "four messages" collected 4
check "nothing else comes" test "$(sort "$WORK/collected" | paste -sd' ')" = "n0 n1 n2 n3"
wait_until 20 "the group's offsets" come_to "26 26 26 26" shop orders
tell online resetOffsetByTime -g shop -t orders -s 0
check "resetOffsetByTime: queue" has online '^broker-a 3 0 ?$'
check "the group consumes all again, without a restart" wait_until 80 "all messages" collected 108
wait_until 20 "the group's offsets" come_to "26 26 26 26" shop orders
check "every message came again once" test "$(tail -n +5 "$WORK/collected" | sort -u | wc -l)" = 104
end_load shop

echo "== order configuration"
tell order updateOrderConf -m put -t orders -v broker-a:2
check "updateOrderConf put" has order 'update orderConf success. topic=\[orders\], orderConf=\[broker-a:2\]'
tell get updateOrderConf -m get -t orders
check "updateOrderConf get" has get 'get orderConf success. topic=\[orders\], orderConf=\[broker-a:2\]'
tell route topicRoute -t orders
check "no route has it, unless the name server is to" bash -c "! grep -q 'broker-a:2' '$admin/route'"
tell enable updateNamesrvConfig -k orderMessageEnable -v true
tell route topicRoute -t orders
check "the route has it" has route '"orderTopicConf":"broker-a:2"'
tell delete updateOrderConf -m delete -t orders
check "updateOrderConf delete" has delete 'delete orderConf success. topic=\[orders\]'
tell get updateOrderConf -m get -t orders
check "updateOrderConf get, afterwards" has get 'No config item, Namespace: ORDER_TOPIC_CONFIG Key: orders'
summary
