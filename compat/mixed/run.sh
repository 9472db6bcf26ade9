#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Servers of both kinds in one cluster, two brokers of which one dies, and one store opened by both kinds.
#   run.sh [PART...]    parts: namesrv-533 namesrv-497 broker together-ours together-java failover store
# TARGET=java puts a Java server in OxMQ's place everywhere: that proves this script.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
parts=${*:-namesrv-533 namesrv-497 broker together-ours together-java failover store}
build_java 5.3.3
build_java 4.9.7

# COUNT messages of both client versions go in, all come out.
serves() { # TOPIC COUNT
  mqadmin updateTopic -c DefaultCluster -t "$1" -r 4 -w 4 >/dev/null 2>&1
  for CLIENT in 4.9.7 5.3.3; do
    load send "$1" "$CLIENT-" "$2" >"$WORK/sent-$CLIENT" 2>&1 || { cat "$WORK/sent-$CLIENT"; return 1; }
    load receive "$1" "group-${CLIENT//./_}" "$2" "$CLIENT-" >"$WORK/got" 2>&1 || { cat "$WORK/got"; return 1; }
  done
}
# Every message of PREFIX is served to a new group, once.
still_serves() { # TOPIC GROUP COUNT PREFIX...
  load receive "$@" >"$WORK/got" 2>&1 || { cat "$WORK/got"; return 1; }
}
end_servers() {
  local name
  for name in "${!PID[@]}"; do kill9 "$name"; done
}

namesrv() { # PART JAVA_VERSION
  start_namesrv "ns-$1"
  TARGET=java JAVA_VERSION=$2 start_broker "java-$1"
  check "$1: send and consume" serves t 200
}

broker() {
  TARGET=java start_namesrv ns-broker
  start_broker ours
  check "broker: send and consume" serves t 200
}

together() { # PART
  start_broker "ours-$1"
  TARGET=java start_broker "java-$1"
  check "$1: send and consume" serves t 200
  for client in 4.9.7 5.3.3; do
    check "$1: client $client spreads over both" grep -qE "java-$1=[1-9][0-9]* .*ours-$1=[1-9]" "$WORK/sent-$client"
  done
}

failover() {
  start_namesrv ns-failover
  start_broker stays
  start_broker dies
  mqadmin updateTopic -c DefaultCluster -t t -r 4 -w 4 >/dev/null
  local file=$WORK/failover.acknowledged received=$WORK/failover.received
  : >"$file"
  : >"$received"
  start_load failover stream t m "$file"
  start_load failover-consumer collect t g "$received"
  on() { grep -c " $1 " "$file" || true; }
  more_on() { [ "$(on "$1")" -ge "$2" ]; }
  check "failover: both brokers get messages" wait_until 20 "messages on both" eval 'more_on stays 100 && more_on dies 100'
  kill9 dies
  local dead
  dead=$(on dies)
  check "failover: sends go on at the other" wait_until 20 "200 more on the other" more_on stays $(($(on stays) + 200))
  check "failover: none acknowledged by the dead one" test "$(on dies)" -le $((dead + 1))
  end_load failover
  cat "$WORK/failover.load"
  # A send that was under way when the broker died may fail; the retries go to the other broker.
  check "failover: at most one send failed" grep -qE "failed [01]$" "$WORK/failover.load"
  missing() { comm -23 <(grep " $1 " "$file" | cut -d' ' -f1 | sort -u) <(sort -u "$received"); }
  nothing_missing() { [ -z "$(missing "$1")" ]; }
  check "failover: nothing of the survivor is lost" wait_until 40 "messages of the survivor" nothing_missing stays
  restart_broker dies
  check "failover: nothing of the dead one is lost after its restart" wait_until 60 "messages of the other" nothing_missing dies
  end_load failover-consumer
}

# Each key has one message. The index may come a little behind the message.
found_by_key() { # TOPIC KEY...
  local topic=$1 key
  shift
  for key; do wait_until 20 "a message with the key $key" finds_one "$topic" "$key" || { cat "$WORK/by-key"; return 1; }; done
}
finds_one() { # TOPIC KEY
  mqadmin queryMsgByKey -t "$1" -k "$2" >"$WORK/by-key" 2>&1
  [ "$(grep -cE '^[0-9A-F]{32,}' "$WORK/by-key")" = 1 ]
}

# The store goes from ours to Java and back, once after a clean stop and once after SIGKILL of each.
store() {
  local how mine
  for how in stop kill9; do
    start_namesrv "ns-$how"
    start_broker "s-$how"
    mine=${KIND[s-$how]%%-*}
    mqadmin updateTopic -b "$BROKER_ADDR" -t t -r 4 -w 4 >/dev/null
    load send t one- 500 >/dev/null
    still_serves t reader 500 one-
    $how "s-$how"
    restart_broker "s-$how" java
    wait_registered "s-$how"
    check "store, $how: Java serves what ours wrote" still_serves t java 500 one-
    check "store, $how: Java finds what ours wrote" found_by_key t one-0 one-499
    load send t two- 500 >/dev/null
    check "store, $how: offsets of a group go on" still_serves_only t reader 500 two-
    $how "s-$how"
    restart_broker "s-$how" "$mine"
    wait_registered "s-$how"
    check "store, $how: ours serves what both wrote" still_serves t ours 500 one- two-
    load send t three- 100 >/dev/null
    check "store, $how: ours writes on" still_serves t ours2 100 three-
    check "store, $how: ours finds all by key" found_by_key t one-0 one-499 two-0 two-499 three-99
    end_servers
  done
}
# As still_serves, and the group gets nothing else. After SIGKILL committed offsets may be 5 s old, so this holds for a clean stop only.
still_serves_only() { # TOPIC GROUP COUNT PREFIX
  still_serves "$@" || return 1
  [ "$how" = kill9 ] || grep -q "received $3 different $3$" "$WORK/got" || { cat "$WORK/got"; return 1; }
}

for part in $parts; do
  echo "== $part"
  case $part in
    namesrv-533) namesrv "$part" 5.3.3 ;;
    namesrv-497) namesrv "$part" 4.9.7 ;;
    broker) broker ;;
    together-ours) start_namesrv "ns-$part" && together "$part" ;;
    together-java) TARGET=java start_namesrv "ns-$part" && together "$part" ;;
    failover) failover ;;
    store) store ;;
    *) fail "no part $part" ;;
  esac
  end_servers
done
summary
