#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What the store does, beside the Java broker 5.3.3 on the same disk. Prints a table for each figure.
#   store.sh [--quick] [--only FIGURE]... [--server oxmq|java] [--rate 10000] [--size 2048] [--json FILE]
#
#   sync      SYNC_FLUSH, 256 requests in flight: rate, CPU, messages for each fsync          2 min
#   latency   the slowest send of 5 minutes at 10,000 messages of 2 KiB a second             12 min
#   index     how long after its send a message is found by its key, at full load             2 min
#   cold      p99 of a producer alone, and beside a consumer of 10 GiB that is on disk only   7 min
#   recovery  from start to first answer after `kill -9`, 20 GiB of log, 10,000 queues        4 min
#   queues    start and memory with 100,000 queues                                            4 min
#   depth     CPU of a pull at both ends of queues of 10^4 to 10^8 messages                  10 min
#   table     compare.sh, the costs of one message                                            5 min
# Without --only all of them in this order; `cold` and `recovery` share a store. The minutes are about what each took here.
#
#   --quick   everything in a small form, in a few minutes: to see that it works, not what it costs
#   --server  one server only
#   --rate    messages per second of the producer in `latency` and `cold`, and
#   --size    bytes of their bodies: enough to fill a segment of 1 GiB every 45 s, and no more messages than Java can take
#             from clients that do not wait for each other
#   --json    appends each value as a line {"figure", "metric", "server", "value"}
#
# All stores are under TMPDIR (/tmp), which must be on the disk to be measured and have 40 GB free (8 GB with --quick); they are
# removed at the end. Counting fsyncs takes `perf`, else `strace`, and the right to look at the servers.
# Needed: what compare.sh needs. OXMQ_BIN and LOAD_BIN name binaries that are to be used instead of those built here.
set -euo pipefail
export LC_ALL=C
usage() { sed -n '4,26p' "$0"; exit 2; }
figures=(sync latency index cold recovery queues depth table) only=() servers=(java oxmq) quick='' json='' rate=10000 size=2048
while [ $# -gt 0 ]; do
  case $1 in
    --quick) quick=1; shift; continue ;;
    --only) [[ " ${figures[*]} " == *" ${2:-} "* && -n ${2:-} ]] || usage; only+=("$2") ;;
    --server) [[ ${2:-} =~ ^(oxmq|java)$ ]] || usage; servers=("$2") ;;
    --rate | --size)
      [[ ${2:-} =~ ^[1-9][0-9]*$ ]] || usage
      if [ "$1" = --rate ]; then rate=$2; else size=$2; fi ;;
    --json) [ -n "${2:-}" ] || usage; json=$(realpath "$2") ;;
    *) usage ;;
  esac
  shift 2
done

cd "$(dirname "${BASH_SOURCE[0]}")/.."
built=${CARGO_TARGET_DIR:-$PWD/target}/release
if [ -z "${OXMQ_BIN:-}" ]; then
  cargo build --release --locked -p oxmq
  OXMQ_BIN=$built/oxmq
fi
if [ -z "${LOAD_BIN:-}" ]; then
  cargo build --release --locked -p oxmq-load
  LOAD_BIN=$built/oxmq-load
fi
export OXMQ_BIN
# Starts and ends servers, finds free ports, and at the end of this script ends what it started and removes WORK.
. compat/lib.sh
export PEER_HEAP='-Xms2g -Xmx2g'
BOOT_MAX=900
case $(stat -f -c %T "$WORK") in
  tmpfs | ramfs) fail "$WORK is in memory: set TMPDIR to a folder of the disk that is to be measured" ;;
esac
results=$WORK/results
: >"$results"

# Seconds that Java is warmed, that others are, that a load is measured; sizes.
java_warm=20 warm=3 secs=20
latency_secs=300 floor_secs=60
alone_secs=60 backlog_messages=8500000 many_messages=8500000 many_topics=100 starts=2
wide_topics=100 java_wide_topics=30 wide_queues=1000
depths=(10000 1000000 10000000 100000000) java_depths=(10000 1000000 10000000) depth_rounds=3 depth_secs=4
table_options=(--secs 10 --idle 10 --warm-cache "$(awk '/^MemTotal/ { print int($2 / 1048576 * 0.8) }' /proc/meminfo)")
if [ -n "$quick" ]; then
  java_warm=5 warm=1 secs=4
  latency_secs=10 floor_secs=4
  alone_secs=5 backlog_messages=400000 many_messages=400000 many_topics=10 starts=1
  wide_topics=10 java_wide_topics=3
  depths=(10000 100000 1000000) java_depths=(10000 100000) depth_rounds=1 depth_secs=2
  table_options=(--secs 3 --warm 3 --idle 4)
fi

note() { # METRIC SERVER VALUE
  [ -n "$3" ] || fail "$figure: no $1 of $2"
  printf '%s\t%s\t%s\n' "$1" "$2" "$3" >>"$results"
  [ -z "$json" ] || printf '{"figure":"%s","metric":"%s","server":"%s","value":%s}\n' "$figure" "$1" "$2" "$3" >>"$json"
}
field() { # NAME LINE
  awk -v key="$1" '{ for (i = 1; i <= NF; i++) if (index($i, key "=") == 1) print substr($i, length(key) + 2) + 0 }' <<<"$2"
}
value() { # METRIC SERVER: the median of what was noted
  awk -F'\t' -v metric="$1" -v server="$2" '$1 == metric && $2 == server { print $3 }' "$results" | sort -g |
    awk '{ v[NR] = $1 } END { if (NR) print (NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2) }'
}
calc() { awk "BEGIN { print ($1) }"; }

# The table of a figure: `heading`, then `row TITLE METRIC FORM [MORE]`; the last column is how many times better OxMQ is.
heading() { printf '\n| %s | Java 5.3.3 | OxMQ | times |\n|---|---|---|---|\n' "$1"; }
row() {
  local java oxmq times=–
  java=$(value "$2" java) oxmq=$(value "$2" oxmq)
  if [ -n "$java" ] && [ -n "$oxmq" ] && [ "$3" != - ] && [ "$(calc "$java > 0 && $oxmq > 0")" = 1 ]; then
    times=$(printf '%.1f' "$([ "${4:-}" = more ] && calc "$oxmq / $java" || calc "$java / $oxmq")")
  fi
  # shellcheck disable=SC2059 # the form is given
  printf '| %s | %s | %s | %s |\n' "$1" "${java:+$(printf "$3" "$java")}" "${oxmq:+$(printf "$3" "$oxmq")}" "$times"
}

# A name server and an empty store. Everything before is ended and removed.
fresh() { # SERVER [KEY=VALUE...]
  local server=$1
  shift
  away
  TARGET=$server JAVA_VERSION=5.3.3 start_namesrv ns
  TARGET=$server JAVA_VERSION=5.3.3 start_broker b "$@"
}
away() {
  local name
  for name in b ns; do
    running "$name" && kill9 "$name"
    rm -rf "${WORK:?}/$name"
  done
}
warm_of() { if [ "$1" = java ]; then echo "$java_warm"; else echo "$warm"; fi; }
need() { # GIB
  local free
  [ -z "$quick" ] || return 0
  free=$(df -k --output=avail "$WORK" | tail -1)
  [ "$free" -gt $(($1 * 1048576)) ] || fail "$figure: $1 GiB of disk are needed, $((free / 1048576)) are free"
}

# Runs the load generator against the broker and prints its line. One that says nothing ends the script.
load_line() { # COMMAND OPTIONS...
  local line
  line=$(timeout 3600 "$LOAD_BIN" "$1" --addr "$BROKER_ADDR" "${@:2}") || fail "$figure: oxmq-load $* gave no figures"
  say "$figure: $line"
  printf '%s\n' "$line"
}
# The same in the background; `wait "$LOADER"`, then the line is in WORK/NAME.line.
start_line() { # NAME COMMAND OPTIONS...
  timeout 3600 "$LOAD_BIN" "$2" --addr "$BROKER_ADDR" "${@:3}" >"$WORK/$1.line" 2>"$WORK/$1.err" &
  LOADER=$!
}
end_line() { # NAME
  wait "$LOADER" || { cat "$WORK/$1.err" >&2; fail "$figure: the load $1 gave no figures"; }
  say "$figure: $1: $(cat "$WORK/$1.line")"
}

# Calls of a process that make bytes durable, per second. Tracepoints are counted by the kernel and cost next to nothing;
# strace stops the process at each call, so its count belongs to a slower server.
durable=(fsync fdatasync msync)
syncs_per_second() { # PID SECONDS
  local events='' call count=0
  for call in "${durable[@]}"; do events+=,syscalls:sys_enter_$call; done
  if perf stat -x, -e "${events#,}" -p "$1" -o "$WORK/syncs" sleep "$2" 2>/dev/null; then
    count=$(awk -F, '$3 ~ /^syscalls:/ { all += $1 } END { print all + 0 }' "$WORK/syncs")
  elif which strace >/dev/null; then
    timeout "$2" strace -f -c -e "trace=fsync,fdatasync,msync" -p "$1" -o "$WORK/syncs" 2>/dev/null || true
    count=$(awk '$NF ~ /^(fsync|fdatasync|msync)$/ { all += $4 } END { print all + 0 }' "$WORK/syncs")
  fi
  calc "$count / $2"
}

figure_sync() {
  local server line syncs before
  need 8
  for server in "${servers[@]}"; do
    before=$(warm_of "$server")
    fresh "$server" flushDiskType=SYNC_FLUSH
    load_line topics --topic Sync >/dev/null
    line=$(load_line send --topic Sync --conns 4 --window 64 --warm "$before" --secs "$secs" --pid "$BROKER_PID")
    note rate "$server" "$(field msg/s "$line")"
    note cpu "$server" "$(field server_cpu_us/msg "$line")"
    note p99_ms "$server" "$(calc "$(field p99us "$line") / 1000")"
    note refused "$server" "$(field refused "$line")"
    start_line sync send --topic Sync --conns 4 --window 64 --warm 1 --secs $((secs / 2 + 2))
    sleep 2
    syncs=$(syncs_per_second "$BROKER_PID" $((secs / 2)))
    end_line sync
    note syncs "$server" "$syncs"
    note per_sync "$server" "$(calc "$syncs > 0 ? $(field msg/s "$(cat "$WORK/sync.line")") / $syncs : 0")"
  done
  heading "SYNC_FLUSH, 4 connections, 64 in flight on each, 128 bytes"
  row "messages per second" rate '%.0f' more
  row "broker CPU per message, µs (times: messages per second of CPU)" cpu '%.2f'
  row "messages for each fsync, fdatasync or msync" per_sync '%.1f' more
  row "such calls per second" syncs '%.0f'
  row "p99, ms" p99_ms '%.1f'
  row "refused" refused '%.0f'
}

figure_latency() {
  local server line
  need $((latency_secs * rate * (size + 400) / 1000000000 + 3))
  for server in floor "${servers[@]}"; do
    if [ "$server" = floor ]; then
      away
      rustc -O --edition 2021 "${BENCH_SOURCES:-$(dirname "$PEER")/../bench}/nullbroker.rs" -o "$WORK/nullbroker"
      KIND[floor]=nullbroker OUT[floor]=$WORK/floor.out PORT[floor]=$(free_port)
      "$WORK/nullbroker" "127.0.0.1:${PORT[floor]}" >"${OUT[floor]}" 2>&1 </dev/null &
      PID[floor]=$!
      disown
      wait_until 10 "the floor listens" connects "${PORT[floor]}"
      BROKER_PID=${PID[floor]} BROKER_ADDR=127.0.0.1:${PORT[floor]}
      line=$(load_line send --topic Steady --window 256 --rate "$rate" --size "$size" --warm 1 --secs "$floor_secs" --pid "$BROKER_PID")
      kill9 floor
    else
      fresh "$server" flushDiskType=ASYNC_FLUSH
      load_line topics --topic Steady >/dev/null
      line=$(load_line send --topic Steady --window 256 --rate "$rate" --size "$size" --warm "$(warm_of "$server")" --secs "$latency_secs" --pid "$BROKER_PID")
      note segments "$server" "$(find "$BROKER_STORE/commitlog" -type f | wc -l)"
      note cpu "$server" "$(field server_cpu_us/msg "$line")"
    fi
    note max_ms "$server" "$(calc "$(field maxus "$line") / 1000")"
    note p999_ms "$server" "$(calc "$(field p999us "$line") / 1000")"
    note p99_ms "$server" "$(calc "$(field p99us "$line") / 1000")"
    note refused "$server" "$(calc "$(field refused "$line") + $(field unanswered "$line")")"
  done
  heading "ASYNC_FLUSH, $rate messages of $size bytes a second for $latency_secs s"
  row "slowest send, from when it was due, ms" max_ms '%.1f'
  row "p99.9, ms" p999_ms '%.2f'
  row "p99, ms" p99_ms '%.2f'
  row "files of the log" segments '%.0f'
  row "broker CPU per message, µs" cpu '%.2f'
  row "refused or not answered" refused '%.0f'
  echo
  echo "The floor, which stores nothing, in $floor_secs s: slowest $(value max_ms floor) ms, p99.9 $(value p999_ms floor) ms, p99 $(value p99_ms floor) ms."
}

figure_index() {
  local server line before
  need 12
  for server in "${servers[@]}"; do
    before=$(warm_of "$server")
    fresh "$server" flushDiskType=ASYNC_FLUSH
    load_line topics --topic Keys >/dev/null
    load_line topics --topic Probe >/dev/null
    start_line load send --topic Keys --warm "$before" --secs $((secs + 1)) --pid "$BROKER_PID"
    line=$(load_line lag --topic Probe --warm "$before" --secs "$secs")
    end_line load
    note max_ms "$server" "$(calc "$(field maxus "$line") / 1000")"
    note p99_ms "$server" "$(calc "$(field p99us "$line") / 1000")"
    note p50_ms "$server" "$(calc "$(field p50us "$line") / 1000")"
    note lost "$server" "$(field unanswered "$line")"
    note rate "$server" "$(field msg/s "$(cat "$WORK/load.line")")"
  done
  heading "from the answer to a send until its key is found, beside pipelined sends with two keys each"
  row "longest, ms" max_ms '%.0f'
  row "p99, ms" p99_ms '%.0f'
  row "p50, ms" p50_ms '%.1f'
  row "not found within 30 s" lost '%.0f'
  row "messages per second meanwhile" rate '%.0f' more
}

# The store of `cold` and `recovery`: BACKLOG in 8 queues first, then the same again over many queues. OxMQ fills it,
# since it is quicker at that; Java opens it as it is.
big_ready=''
start_big() {
  [ -z "$big_ready" ] || return 0
  away
  TARGET=oxmq start_namesrv ns
  TARGET=oxmq start_broker big flushDiskType=ASYNC_FLUSH
  load_line topics --topic Backlog >/dev/null
  load_line topics --topic Hot >/dev/null
  load_line fill --topic Backlog --size 1024 --batch 32 --messages "$backlog_messages" >/dev/null
  big_ready=1
}
end_big() {
  [ -n "$big_ready" ] || return 0
  kill9 big
  kill9 ns
  rm -rf "${WORK:?}/big" "$WORK/ns"
  big_ready=''
}
# Drops a store from the page cache; its server must be ended, since mapped pages stay. What is left is noted.
drop_cache() { # FOLDER
  find "$1" -type f -size +0 -print0 | xargs -0 -r -n 1000 sync
  find "$1" -type f -size +0 -exec sh -c 'for file; do dd if="$file" iflag=nocache count=0 status=none; done' sh {} +
  ! which fincore >/dev/null || say "$figure: $(find "$1" -type f -size +0 -exec fincore -bnr -o RES {} + | awk '{ all += $1 } END { printf "%.0f", all / 1048576 }') MiB of the store are left in the page cache"
}

figure_cold() {
  local server line alone
  [ -n "$big_ready" ] || need 36
  start_big
  for server in "${servers[@]}"; do
    stop big
    drop_cache "${STORE[big]}"
    restart_broker big "$server"
    producer=(send --topic Hot --window 256 --rate "$rate" --size "$size" --pid "$BROKER_PID")
    line=$(load_line "${producer[@]}" --warm "$(warm_of "$server")" --secs "$alone_secs")
    alone=$(field p99us "$line")
    note alone_p99_ms "$server" "$(calc "$alone / 1000")"
    # Once from the disk; then again, now from the page cache: what a consumer on the same cores takes is no matter of the disk.
    for pass in cold warm; do
      start_line "$pass" pull --topic Backlog
      line=$(load_line "${producer[@]}" --while-pid "$LOADER")
      end_line "$pass"
      note "${pass}_p99_ms" "$server" "$(calc "$(field p99us "$line") / 1000")"
      note "${pass}_max_ms" "$server" "$(calc "$(field maxus "$line") / 1000")"
      note "${pass}_ratio" "$server" "$(calc "$(field p99us "$line") / $alone")"
      note "${pass}_mib_s" "$server" "$(field MiB/s "$(cat "$WORK/$pass.line")")"
      note "${pass}_gib" "$server" "$(calc "$(field MiB/s "$(cat "$WORK/$pass.line")") * $(field secs "$(cat "$WORK/$pass.line")") / 1024")"
    done
  done
  heading "a producer ($rate messages of $size bytes a second) beside a consumer that reads a backlog once"
  row "p99 alone, ms" alone_p99_ms '%.2f'
  row "backlog, GiB" cold_gib '%.1f' more
  row "p99 beside the consumer of what is on disk only, ms" cold_p99_ms '%.2f'
  row "… times that alone" cold_ratio '%.2f'
  row "… slowest send, ms" cold_max_ms '%.1f'
  row "… read, MiB/s" cold_mib_s '%.0f' more
  row "p99 beside the consumer of the same from the page cache, ms" warm_p99_ms '%.2f'
  row "… times that alone" warm_ratio '%.2f'
  row "… read, MiB/s" warm_mib_s '%.0f' more
}

figure_recovery() {
  local server line many round began killed order=("${servers[@]}") turns=()
  [ -n "$big_ready" ] || need 36
  start_big
  many=(--topic Many --topics "$many_topics" --queues 100)
  if [ "${KIND[big]}" != oxmq ]; then
    stop big
    restart_broker big oxmq
  fi
  load_line topics "${many[@]}" >/dev/null
  load_line fill "${many[@]}" --size 1024 --batch 16 --messages "$many_messages" >/dev/null
  for round in $(seq "$starts"); do
    for server in "${order[@]}"; do
      # Killed under load, whichever server it is.
      killed=${KIND[big]}
      start_line killed send "${many[@]}" --size 1024 --secs 600
      sleep 5
      kill9 big
      wait "$LOADER" || true
      drop_cache "${STORE[big]}"
      began=${EPOCHREALTIME/./}
      start_line ready ready "${many[@]}" --since "$began"
      restart_broker big "$server"
      end_line ready
      line=$(cat "$WORK/ready.line")
      turns+=("$server after $killed $(field send_ms "$line") ms")
      note send_ms "$server" "$(field send_ms "$line")"
      note pull_ms "$server" "$(field pull_ms "$line")"
      note all_ms "$server" "$(field all_ms "$line")"
      note empty "$server" "$(field empty "$line")"
    done
    # The other way round, so that each follows itself, too.
    order=("${order[@]: -1}" "${order[@]:0:${#order[@]}-1}")
  done
  heading "start after kill -9 under load: $(du -s --block-size=1G "${STORE[big]}/commitlog" | cut -f1) GiB of log, $((many_topics * 100)) queues, nothing in the page cache"
  row "until a send is taken, ms" send_ms '%.0f'
  row "until a pull is answered with messages, ms" pull_ms '%.0f'
  row "until every queue has answered a pull, ms" all_ms '%.0f'
  row "queues that have lost their messages" empty '%.0f'
  echo
  echo "In turn, on one folder, until a send was taken: $(printf '%s; ' "${turns[@]}" | sed 's/; $/./')"
}

anonymous_mib() { awk '$1 == "RssAnon:" { print $2 / 1024 }' "/proc/$1/status"; }
# What is in use: of the Java heap after a collection, of OxMQ all that cannot be given back.
used_mib() { # SERVER PID
  if [ "$1" = oxmq ]; then anonymous_mib "$2"; return; fi
  jcmd "$2" GC.run >/dev/null
  jcmd "$2" GC.heap_info | sed -n 's/.*garbage-first heap.* used \([0-9]*\)K.*/\1/p' | awk '{ print $1 / 1024 }'
}
# Ends the broker `b` and measures its start until every queue answers.
restart_measured() { # SERVER METRIC stop|kill9 OPTIONS_OF_THE_TARGET...
  local server=$1 metric=$2 how=$3 began
  shift 3
  "$how" b
  began=${EPOCHREALTIME/./}
  start_line ready ready "$@" --since "$began"
  restart_broker b
  end_line ready
  note "${metric}_send_ms" "$server" "$(field send_ms "$(cat "$WORK/ready.line")")"
  note "${metric}_pull_ms" "$server" "$(field pull_ms "$(cat "$WORK/ready.line")")"
  note "${metric}_all_ms" "$server" "$(field all_ms "$(cat "$WORK/ready.line")")"
}
figure_queues() {
  local server wide topics all empty known used
  need 5
  for server in "${servers[@]}"; do
    topics=$wide_topics
    # Each queue in use is a mapped and open file for Java. Linux allows 65,530 mappings (vm.max_map_count).
    if [ "$server" = java ]; then
      ulimit -n 65536 2>/dev/null || true
      topics=$((($(ulimit -n) - 3000) / wide_queues))
      topics=$((topics < java_wide_topics ? topics : java_wide_topics))
    fi
    wide=(--topic Wide --topics "$topics" --queues "$wide_queues") all=$((topics * wide_queues))
    fresh "$server" flushDiskType=ASYNC_FLUSH
    load_line send --secs 1 --conns 1 --window 1 >/dev/null
    empty=$(used_mib "$server" "$BROKER_PID")
    load_line topics "${wide[@]}" >/dev/null
    known=$(used_mib "$server" "$BROKER_PID")
    load_line fill "${wide[@]}" --bare --batch 2 --messages $((2 * all)) --size 16 >/dev/null
    used=$(used_mib "$server" "$BROKER_PID")
    note queues "$server" "$all"
    note known_bytes "$server" "$(calc "($known - $empty) * 1048576 / $all")"
    note used_bytes "$server" "$(calc "($used - $empty) * 1048576 / $all")"
    restart_measured "$server" clean stop "${wide[@]}"
    note started_mib "$server" "$(used_mib "$server" "$BROKER_PID")"
    start_line killed send "${wide[@]}" --secs 600
    sleep 3
    kill9 b
    wait "$LOADER" || true
    restart_measured "$server" killed kill9 "${wide[@]}"
  done
  heading "many queues, each with messages"
  row "queues" queues '%.0f' more
  row "memory for each that is known, bytes" known_bytes '%.0f'
  row "memory for each that is in use, bytes" used_bytes '%.0f'
  row "memory after a clean start and a pull of each, MiB" started_mib '%.1f'
  row "clean start until a send is taken, ms" clean_send_ms '%.0f'
  row "… until every queue has answered a pull, ms" clean_all_ms '%.0f'
  row "start after kill -9 under load until a send is taken, ms" killed_send_ms '%.0f'
  row "… until every queue has answered a pull, ms" killed_all_ms '%.0f'
}

# Decimal exponent of 1, 10, 100, ...
exponent() { echo $((${#1} - 1)); }
figure_depth() {
  local server count line end round mine
  need 25
  for server in "${servers[@]}"; do
    mine=("${depths[@]}")
    [ "$server" = oxmq ] || mine=("${java_depths[@]}")
    # All of it counts as in memory: of what does not, an answer holds 8 messages.
    fresh "$server" flushDiskType=ASYNC_FLUSH messageIndexEnable=false accessMessageInMemoryMaxRatio=95
    for count in "${mine[@]}"; do
      load_line topics --topic "D$(exponent "$count")" --queues 1 >/dev/null
      load_line fill --topic "D$(exponent "$count")" --queues 1 --bare --size 1 --batch 1000 --messages "$count" >/dev/null
    done
    # In turn, so that what the machine does meanwhile meets all of them.
    for round in $(seq "$depth_rounds"); do
      for count in "${mine[@]}"; do
        for end in first last; do
          line=$(load_line pull --topic "D$(exponent "$count")" --queues 1 --conns 1 --readers 16 --round "--$end" 10000 \
            --warm "$([ "$round$server" = 1java ] && echo $((java_warm / 4 + 1)) || echo 1)" --secs "$depth_secs" --pid "$BROKER_PID")
          note "${end}_$(exponent "$count")" "$server" "$(field server_cpu_us/msg "$line")"
        done
      done
    done
  done
  heading "broker CPU of a pulled message, µs, batches of 32, small bodies"
  for end in first last; do
    for count in "${depths[@]}"; do
      row "the $([ "$end" = first ] && echo oldest || echo newest) 10,000 of 10^$(exponent "$count")" "${end}_$(exponent "$count")" '%.3f'
    done
  done
  echo
  for end in first last; do
    mine=()
    for count in "${depths[@]:1}"; do mine+=("$(exponent "$count")" "$(value "${end}_$(exponent "$count")" oxmq)"); done
    # Two points make a line out of any noise.
    [ ${#mine[@]} -ge 6 ] && [ -n "${mine[1]}" ] || continue
    # The straight line through what was measured, over the exponent.
    awk -v end="$end" '{
      for (i = 1; i < NF; i += 2) { n++; x += $i; y += $(i + 1); xx += $i * $i; xy += $i * $(i + 1) }
      slope = (n * xy - x * y) / (n * xx - x * x)
      printf "The %s messages: %+.4f µs for each ten times more (10^%d to 10^%d), so %.3f µs at 10^9.\n", end, slope, $1, $(NF - 1), y / n + slope * (9 - x / n) }' <<<"${mine[*]}"
  done
}

figure_table() {
  local options=("${table_options[@]}")
  [ ${#servers[@]} -gt 1 ] || options+=(--only "${servers[0]}")
  [ -z "$json" ] || options+=(--json "$json")
  away
  need 30
  echo
  bench/compare.sh "${options[@]}"
}

[ ${#only[@]} -gt 0 ] || only=("${figures[@]}")
echo "$(nproc) cores, $(awk '/^MemTotal/ { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo), Linux $(uname -r), $(df --output=fstype "$WORK" | tail -1), load $(cut -d' ' -f1-3 /proc/loadavg); store.sh${quick:+ --quick} --only ${only[*]}"
for figure in "${figures[@]}"; do
  [[ " ${only[*]} " == *" $figure "* ]] || continue
  say "== $figure"
  started=$SECONDS
  case $figure in cold | recovery) ;; *) end_big ;; esac
  : >"$results"
  "figure_$figure"
  say "== $figure took $((SECONDS - started)) s"
done
