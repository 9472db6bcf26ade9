#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A folder goes from a broker of one kind to one of the other, with the same configuration, and back: everything goes on.
#   run.sh [--quick] [PART...]    parts: 5.3.3-stop 5.3.3-kill9 4.9.7-stop 4.9.7-kill9 ours-stop ours-kill9 locks rocksdb
#   --quick: 5.3.3-stop, 4.9.7-kill9 and locks
# VERSION-HOW: Java VERSION writes, is stopped (in order, or with kill -9), OxMQ goes on and writes more, is ended alike, and Java VERSION
# goes on. ours-HOW: the same with OxMQ first, and Java 5.3.3. What there is of each kind stands in compat.MigrateRun.
# TARGET=java puts a Java 5.3.3 broker in OxMQ's place: that proves this script.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
if [ "${1:-}" = --quick ]; then
  shift
  parts=${*:-5.3.3-stop 4.9.7-kill9 locks}
else
  parts=${*:-5.3.3-stop 5.3.3-kill9 4.9.7-stop 4.9.7-kill9 ours-stop ours-kill9 locks rocksdb}
fi
ours=$TARGET
build_java 5.3.3

# Small files, so that all kinds of them are several; levels 3 and 4 outlast a change of brokers. Java 5 notes the end of a transaction
# transactionOpBatchInterval later, and asks again before, and delivers twice, if transactionTimeOut is shorter.
config=(messageDelayLevel="1s 2s 15s 20s 25s 30s 30s 30s 30s 30s 30s 30s 30s 30s 30s 30s 30s 30s"
  transactionTimeOut=2000 transactionCheckInterval=3000 transactionCheckMax=1000 transactionOpBatchInterval=200 defaultTopicQueueNums=2
  mappedFileSizeCommitLog=65536 mappedFileSizeConsumeQueue=400 maxHashSlotNum=50 maxIndexNum=60 maxMessageSize=32768)

now_ms() { date +%s%3N; }

migrate() { client_java "$CLIENT" compat.MigrateRun "$1" "$NAMESRV_ADDR" "${@:2}" >"$WORK/$1.out" 2>&1 || { cat "$WORK/$1.out"; return 1; }; }
tells() { sed "s/^/       /" "$WORK/goon.out"; }

# The message that `write` noted is found by mqadmin, too.
found() { # STATE
  local key unique id
  key=$(sed -n 's/^key //p' "$1") unique=$(sed -n 's/^unique //p' "$1") id=$(sed -n 's/^id //p' "$1")
  finds "$unique" queryMsgByKey -t all -k "$key" && finds "$key" queryMsgByUniqueKey -t all -i "$unique" && finds "$key" queryMsgById -t all -i "$id"
}
finds() { # TEXT COMMAND...
  mqadmin "${@:2}" >"$WORK/found" 2>&1
  grep -q "$1" "$WORK/found" || { cat "$WORK/found"; return 1; }
}

folder() { # VERSION|ours stop|kill9
  local version=$1 how=$2 name=m-${1//./}-$2 first=java second=$ours exact=true timed=true booted
  [ "$how" = stop ] || exact=false
  if [ "$version" = ours ]; then version=5.3.3 first=$ours second=java; fi
  # What waits for any time is 5.x's.
  [ "$version" != 4.9.7 ] || timed=false
  CLIENT=$version
  build_java "$version"
  JAVA_VERSION=5.3.3 start_namesrv "ns-$name"
  TARGET=$first JAVA_VERSION=$version start_broker "$name" "${config[@]}"
  # The one group that has positions before any member.
  mqadmin updateSubGroup -b "$BROKER_ADDR" -g half >/dev/null 2>&1
  must "$name: $first writes" migrate write first- "$WORK/$name.first" "$timed"
  goes_to "$second"
  must "$name: $second goes on" migrate goon first- "$WORK/$name.first" "$booted" "$exact" && tells
  check "$name: mqadmin finds at $second what $first wrote" found "$WORK/$name.first"
  must "$name: $second writes" migrate write second- "$WORK/$name.second" "$timed"
  goes_to "$first"
  must "$name: $first goes on" migrate goon second- "$WORK/$name.second" "$booted" "$exact" && tells
}
goes_to() { # KIND
  $how "$name"
  booted=$(now_ms)
  JAVA_VERSION=$version restart_broker "$name" "$1"
  wait_registered "$name"
}
# As check; the rest of the folder's part would tell nothing new.
must() { check "$@"; [ "$FAILED" = 0 ] || { summary; exit 1; }; }

# While a broker of one kind has the folder, one of the other does not start, says why, and harms nothing.
locks() {
  local kind other port refused
  start_namesrv ns-locks
  for kind in java "$ours"; do
    if [ "$kind" = java ]; then other=$ours; else other=java; fi
    TARGET=$kind start_broker "locked-by-$kind"
    port=$(free_port)
    refused=$WORK/second-$other
    mkdir -p "$refused/home"
    sed "s/^listenPort=.*/listenPort=$port/; s/^haListenPort=.*/haListenPort=$((port + 1))/" "$WORK/locked-by-$kind/conf.properties" >"$refused/conf.properties"
    # Java prints a stack trace and stays until it is ended; OxMQ ends by itself.
    KIND[second-$other]=$(TARGET=$other kind_now) PORT[second-$other]=$port STORE[second-$other]=$BROKER_STORE
    if [ "$other" = java ]; then
      java_home "$refused/home" 5.3.3
      check "locks: Java is kept out by $kind" says 'Lock failed,MQ already started' \
        env PEER_HOME="$refused/home" PEER_HEAP="-Xms128m -Xmx256m" timeout 30 "$PEER" broker "$NAMESRV_ADDR" "$refused/conf.properties"
    else
      check "locks: $other is kept out by $kind" says "$BROKER_STORE is in use by another broker" \
        env HOME="$refused/home" timeout 30 "$OXMQ_BIN" broker -n "$NAMESRV_ADDR" -c "$refused/conf.properties"
    fi
    load send t kept- 20 >/dev/null
    check "locks: $kind goes on" receives t group 20 kept-
    stop "locked-by-$kind"
  done
}
receives() { load receive "$@" >"$WORK/got" 2>&1 || { cat "$WORK/got"; return 1; }; }
says() { # TEXT COMMAND...
  local text=$1
  shift
  "$@" >"$WORK/said" 2>&1 </dev/null && { cat "$WORK/said"; return 1; }
  grep -qF "$text" "$WORK/said" || { cat "$WORK/said"; return 1; }
}

# A folder that 5.3.3 wrote with RocksDB is refused by name and stays as it was; Java goes on with it.
rocksdb() {
  start_namesrv ns-rocksdb
  TARGET=java JAVA_VERSION=5.3.3 start_broker rocks storeType=defaultRocksDB
  load send t one- 50 >/dev/null
  stop rocks
  fingerprint() { (cd "$BROKER_STORE" && find . -type f -printf '%p %T@ %s\n' | sort && find . -type f -size -8M -exec sha256sum {} + | sort); }
  fingerprint >"$WORK/rocks.before"
  # storeType=defaultRocksDB itself is refused as well.
  sed '$a storeType=default' "$WORK/rocks/conf.properties" >"$WORK/rocks/ours.properties"
  check "rocksdb: named" says 'holds a RocksDB database' env HOME="$WORK/rocks" timeout 30 "$OXMQ_BIN" broker -n "$NAMESRV_ADDR" -c "$WORK/rocks/ours.properties"
  check "rocksdb: the remedy is named" grep -q rocksDBConfigToJson "$WORK/said"
  fingerprint >"$WORK/rocks.after"
  check "rocksdb: nothing was changed" cmp "$WORK/rocks.before" "$WORK/rocks.after"
  restart_broker rocks
  wait_registered rocks
  check "rocksdb: Java goes on" receives t group 50 one-
}

end_servers() {
  local name
  for name in "${!PID[@]}"; do kill9 "$name"; done
}

for part in $parts; do
  echo "== $part"
  case $part in
    *-stop | *-kill9) folder "${part%-*}" "${part##*-}" ;;
    locks) locks ;;
    rocksdb) rocksdb ;;
    *) fail "no part $part" ;;
  esac
  end_servers
done
summary
