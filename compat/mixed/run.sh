#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Servers of both kinds in one cluster, and two brokers of which one dies.
#   run.sh [PART...]    parts: namesrv-533 namesrv-497 broker together-ours together-java failover
# TARGET=java puts a Java server in OxMQ's place everywhere: that proves this script.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
parts=${*:-namesrv-533 namesrv-497 broker together-ours together-java failover}
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

for part in $parts; do
  echo "== $part"
  case $part in
    namesrv-533) namesrv "$part" 5.3.3 ;;
    namesrv-497) namesrv "$part" 4.9.7 ;;
    broker) broker ;;
    together-ours) start_namesrv "ns-$part" && together "$part" ;;
    together-java) TARGET=java start_namesrv "ns-$part" && together "$part" ;;
    failover) failover ;;
    *) fail "no part $part" ;;
  esac
  end_servers
done
summary
