#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What OxMQ costs beside the Java broker 5.3.3 and beside the floor: a broker that only answers. Prints one table.
#   compare.sh [--secs 20] [--warm SECS] [--idle 20] [--rounds 1] [--only floor|oxmq|java] [--warm-cache GIB] [--json FILE]
#
# Each round starts each server anew, in turn, on free loopback ports with an empty store (name server and broker in two
# processes, ASYNC_FLUSH, Java with 2 GB of heap), lets it be idle, loads it and ends it. With several rounds the table
# shows medians. The figures of one run belong together; absolute ones move with the machine, so compare the columns.
#   --secs        seconds that each load is measured
#   --warm        seconds of load before that; without it 20 for Java, whose compiler needs them, and 3 for the others
#   --idle        seconds that nothing is asked of a server, after half as many that are not measured
#   --warm-cache  GiB of page cache to fill before each server is loaded; most of the memory, to be of use. A virtual machine
#                 gets its memory from its host page by page, at several microseconds for each at its first use, whoever
#                 uses it. On a machine that has been up for long the cache is full, and pages are used again.
#   --json        appends each value of each round as a line {"figure", "metric", "server", "value"}
#
# Needed: bash 5.1, Rust, a JDK, the peer script (see compat/README.md), and the sources of the load generator beside it
# (`../shared/bench`, or BENCH_SOURCES). OXMQ_BIN names a binary that is to be measured instead of the one built here.
set -euo pipefail
export LC_ALL=C
usage() { sed -n '4,16p' "$0"; exit 2; }
secs=20 warm='' idle=20 rounds=1 servers=(floor oxmq java) cache_gib=0 json=''
while [ $# -gt 0 ]; do
  case $1 in
    --only) [[ ${2:-} =~ ^(floor|oxmq|java)$ ]] || usage; servers=("$2") ;;
    --json) [ -n "${2:-}" ] || usage; json=$(realpath "$2") ;;
    --secs | --warm | --idle | --rounds | --warm-cache)
      [[ ${2:-} =~ ^[0-9]+$ ]] || usage
      case $1 in
        --secs) secs=$2 ;; --warm) warm=$2 ;; --idle) idle=$2 ;; --rounds) rounds=$2 ;; *) cache_gib=$2 ;;
      esac ;;
    *) usage ;;
  esac
  shift 2
done
[ "$secs" -gt 0 ] && [ "$idle" -gt 0 ] && [ "$rounds" -gt 0 ] || usage

cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [ -z "${OXMQ_BIN:-}" ]; then
  cargo build --release --locked -p oxmq
  OXMQ_BIN=${CARGO_TARGET_DIR:-$PWD/target}/release/oxmq
fi
# Starts and ends servers, finds free ports, and at the end of this script ends what it started and removes WORK.
. compat/lib.sh
sources=${BENCH_SOURCES:-$(dirname "$PEER")/../bench}
for program in rmqload nullbroker; do
  rustc -O --edition 2021 "$sources/$program.rs" -o "$WORK/$program"
done
results=$WORK/results
export PEER_HEAP='-Xms2g -Xmx2g'

# One value of one round: METRIC SERVER VALUE.
note() {
  printf '%s\t%s\t%s\n' "$1" "$2" "$3" >>"$results"
  [ -z "$json" ] || printf '{"figure":"table","metric":"%s","server":"%s","value":%s}\n' "$1" "$2" "$3" >>"$json"
}

# User and system time of a process so far, in ticks.
ticks() { sed 's/.*) //' "/proc/$1/stat" | awk '{ print $12 + $13 }'; }
status_mib() { awk -v key="$2:" '$1 == key { print $2 / 1024 }' "/proc/$1/status"; }
sum() { printf '%s\n' "$@" | awk '{ all += $1 } END { printf "%.2f\n", all }'; }

measure_idle() { # SERVER PID...
  local server=$1 pid before=0 after=0 anon=() files=()
  shift
  sleep $((idle / 2))
  for pid; do before=$((before + $(ticks "$pid"))); done
  sleep "$idle"
  for pid; do
    after=$((after + $(ticks "$pid")))
    anon+=("$(status_mib "$pid" RssAnon)") files+=("$(status_mib "$pid" RssFile)")
  done
  note idle_cpu "$server" "$(awk -v t=$((after - before)) -v hz="$(getconf CLK_TCK)" -v s="$idle" 'BEGIN { print t / hz / s * 100 }')"
  note idle_anon "$server" "$(sum "${anon[@]}")"
  note idle_file "$server" "$(sum "${files[@]}")"
}

# Runs one load and notes fields of its line as METRIC=FIELD, divided by 1000 if FIELD ends with `/1000`.
measure_load() { # SERVER PID PORT send|pull OPTIONS... -- METRIC=FIELD...
  local server=$1 pid=$2 port=$3 mode=$4 options=() before=${warm:-3} line pair field value
  shift 4
  [ "$server" != java ] || before=${warm:-20}
  while [ "$1" != -- ]; do options+=("$1"); shift; done
  shift
  # Requests that were refused make it fail; they stand in the table, and matter only if nothing else came.
  line=$(timeout $((secs + before + 30)) "$WORK/rmqload" "$mode" --addr "127.0.0.1:$port" --topic Bench --queues 8 \
    --secs "$secs" --warm "$before" --pid "$pid" "${options[@]}") || true
  [[ $line == *server_cpu_us/msg=* && $line != *" msgs=0 "* ]] || fail "$server: the load gave no figures: $line"
  say "$server: $line"
  for pair in "$@" refused=fails; do
    field=${pair#*=}
    value=$(awk -v key="${field%/1000}" '{ for (i = 1; i <= NF; i++) if (index($i, key "=") == 1) print substr($i, length(key) + 2) + 0 }' <<<"$line")
    [ "$field" = "${field%/1000}" ] || value=$(awk -v us="$value" 'BEGIN { print us / 1000 }')
    note "${pair%%=*}" "$server" "$value"
  done
}

measure_loads() { # SERVER PID PORT
  # Each server meets a full cache: what the one before it left free has gone back to the host.
  [ "$cache_gib" = 0 ] || cat "$WORK/cache" >/dev/null
  measure_load "$@" send --conns 4 --window 64 --size 128 -- pipelined_cpu=server_cpu_us/msg pipelined_p99=p99us/1000 load_anon=server_anon_MB
  measure_load "$@" send --conns 1 --window 1 --size 128 -- single_p50=p50us single_cpu=server_cpu_us/msg
  measure_load "$@" pull --conns 4 --batch 32 -- pull_cpu=server_cpu_us/msg
}

# Five starts of the broker `b`, which was ended, on an empty store: from exec to the boot line.
measure_starts() { # SERVER
  local server=$1 began line output
  for _ in {1..5}; do
    rm -rf "${STORE[b]}"
    began=${EPOCHREALTIME/./}
    if [ "$server" = java ]; then
      exec {output}< <(PEER_HOME=$WORK/b/home PEER_VERSION=5.3.3 exec "$PEER" broker "$NAMESRV_ADDR" "$WORK/b/conf.properties" 2>&1)
    else
      exec {output}< <(HOME=$WORK/b/home exec "$OXMQ_BIN" broker -n "$NAMESRV_ADDR" -c "$WORK/b/conf.properties" 2>/dev/null)
    fi
    # Known to `lib.sh`, so that it ends even if this script is ended here.
    PID[b]=$!
    while IFS= read -r -t 60 -u "$output" line || fail "$server: no boot line"; do
      [[ $line != *"boot success"* ]] || break
    done
    note start "$server" "$(awk -v us=$((${EPOCHREALTIME/./} - began)) 'BEGIN { print us / 1000 }')"
    kill9 b
    exec {output}<&-
  done
}

one_round() { # SERVER
  local server=$1 port
  if [ "$server" = floor ]; then
    port=$(free_port)
    mkdir -p "$WORK/floor"
    KIND[floor]=nullbroker OUT[floor]=$WORK/floor/1.out PORT[floor]=$port
    "$WORK/nullbroker" "127.0.0.1:$port" >"${OUT[floor]}" 2>&1 </dev/null &
    PID[floor]=$!
    disown
    wait_until 10 "the floor listens" connects "$port"
    measure_loads floor "${PID[floor]}" "$port"
    kill9 floor
    return
  fi
  TARGET=$server JAVA_VERSION=5.3.3 start_namesrv ns
  TARGET=$server JAVA_VERSION=5.3.3 start_broker b flushDiskType=ASYNC_FLUSH
  measure_idle "$server" "${PID[ns]}" "${PID[b]}"
  measure_loads "$server" "${PID[b]}" "${PORT[b]}"
  kill9 b
  measure_starts "$server"
  kill9 ns
  rm -rf "${WORK:?}/ns" "$WORK/b"
}

table() {
  awk -F'\t' -v rounds="$rounds" '
    { values[$1, $2] = values[$1, $2] " " $3 }
    function median(list,   n, a, i, j, t) {
      n = split(list, a, " ")
      for (i = 2; i <= n; i++) for (j = i; j > 1 && a[j] + 0 < a[j - 1] + 0; j--) { t = a[j]; a[j] = a[j - 1]; a[j - 1] = t }
      return n % 2 ? a[(n + 1) / 2] : (a[n / 2] + a[n / 2 + 1]) / 2
    }
    function total(list,   n, a, i, all) { n = split(list, a, " "); for (i = 1; i <= n; i++) all += a[i]; return all + 0 }
    function shown(metric, server, form) {
      if (!((metric, server) in values)) return "–"
      return sprintf(form, metric == "refused" ? total(values[metric, server]) : median(values[metric, server]))
    }
    function row(title, metric, form,   ours, ratio) {
      ratio = "–"
      if (metric != "refused" && (metric, "java") in values && (metric, "oxmq") in values) {
        ours = median(values[metric, "oxmq"])
        if (ours > 0) ratio = sprintf("%.1f", median(values[metric, "java"]) / ours)
      }
      printf "| %s | %s | %s | %s | %s |\n", title, shown(metric, "floor", form), shown(metric, "java", form), shown(metric, "oxmq", form), ratio
    }
    END {
      print "| | floor | Java 5.3.3 | OxMQ | Java / OxMQ |"
      print "|---|---|---|---|---|"
      row("send, pipelined: broker CPU per message, µs", "pipelined_cpu", "%.2f")
      row("send, pipelined: p99, ms", "pipelined_p99", "%.1f")
      row("send, one at a time: p50, µs", "single_p50", "%.0f")
      row("send, one at a time: broker CPU per message, µs", "single_cpu", "%.1f")
      row("pull, batches of 32: broker CPU per message, µs", "pull_cpu", "%.2f")
      row("anonymous memory of the broker at the end of the pipelined send, MiB", "load_anon", "%.0f")
      row("idle, broker and name server: CPU, % of a core", "idle_cpu", "%.2f")
      row("idle, broker and name server: anonymous memory (RssAnon), MiB", "idle_anon", "%.1f")
      row("idle, broker and name server: pages of files, programs included (RssFile), MiB", "idle_file", "%.1f")
      row("start of the broker to its boot line, empty store, ms", "start", "%.1f")
      row("requests refused, all loads and rounds", "refused", "%d")
    }' "$results"
}

if [ "$cache_gib" -gt 0 ]; then
  say "filling $cache_gib GiB of page cache"
  dd if=/dev/zero of="$WORK/cache" bs=1M count=$((cache_gib * 1024)) status=none
  sync "$WORK/cache"
fi
for round in $(seq "$rounds"); do
  for server in "${servers[@]}"; do
    say "== round $round of $rounds: $server"
    one_round "$server"
  done
done
echo "$(nproc) cores, $(awk '/^MemTotal/ { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo); --secs $secs --warm ${warm:-"3, Java 20"} --idle $idle --rounds $rounds"
echo
table
