#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Where the broker's time goes for a pipelined send and for a pull: `perf` on its threads under load, put together by what the
# functions belong to. Prints a table for each; the names of what took most follow it.
#   profile.sh [--secs 10] [--top 15]
#
# Needed: Linux `perf` and the right to use it. OXMQ_BIN and LOAD_BIN as for store.sh. Each release build has the names.
set -euo pipefail
export LC_ALL=C
usage() { sed -n '5,7p' "$0"; exit 2; }
secs=10 top=15
while [ $# -gt 0 ]; do
  [[ ${2:-} =~ ^[1-9][0-9]*$ ]] || usage
  case $1 in --secs) secs=$2 ;; --top) top=$2 ;; *) usage ;; esac
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
. compat/lib.sh

# Lines `SHARE% THREAD OBJECT [.] FUNCTION` become `MICROSECONDS SHARE% PART`. What is inlined counts where it is inlined.
parts() { # CPU_PER_MESSAGE
  awk -v cpu="$1" '
    function part(thread, object, name) {
      if (object ~ /kernel/) return thread ~ /^worker/ ? "kernel: sockets and waking" : "kernel: pages and files, " thread
      if (thread !~ /^worker/) return "own code, " thread
      if (name ~ /memmove|memcpy|memset/) return "copies"
      if (name ~ /clock_gettime/ || object ~ /vdso/) return "clock"
      if (name ~ /remoting::(header|requests|text)|from_utf8|Utf8|memchr/) return "header and fields of the request"
      if (name ~ /outbox|command::|Command/) return "answer"
      if (name ~ /connection::/) return "connection and frames"
      if (name ~ /store::|record::|puts|crc32/) return "store and record"
      if (name ~ /bytes::/) return "reference counts"
      if (name ~ /broker::/) return "checks and counters of the broker"
      return "other"
    }
    { share = $1; sub(/%/, "", share); thread = $2; object = $3; $1 = $2 = $3 = ""
      all += share; shares[part(thread, object, $0)] += share }
    END { for (one in shares) printf "%.3f %.1f%% %s\n", shares[one] / all * cpu, shares[one] / all * 100, one }' | sort -gr
}

profile() { # TITLE COMMAND OPTIONS...
  local title=$1 load line cpu
  shift
  timeout $((secs + 60)) "$LOAD_BIN" "$1" --addr "$BROKER_ADDR" --topic Profile --pid "$BROKER_PID" --warm 2 --secs $((secs + 1)) "${@:2}" >"$WORK/line" &
  load=$!
  sleep 2.5
  perf record -q -F 2999 -p "$BROKER_PID" -o "$WORK/perf" -- sleep "$secs"
  wait "$load" || fail "the load gave no figures"
  line=$(cat "$WORK/line")
  say "$line"
  cpu=$(sed 's/.*server_cpu_us.msg=\([0-9.]*\).*/\1/' <<<"$line")
  printf '\n| %s: %s µs | µs | share |\n|---|---|---|\n' "$title" "$cpu"
  perf report -i "$WORK/perf" --sort comm,dso,symbol --stdio -q 2>/dev/null | grep % >"$WORK/report"
  parts "$cpu" <"$WORK/report" | awk '{ us = $1; share = $2; $1 = $2 = ""; sub(/^ +/, ""); printf "| %s | %s | %s |\n", $0, us, share }'
  printf '\n'
  perf report -i "$WORK/perf" --sort dso,symbol --stdio -q 2>/dev/null | awk -v top="$top" '/%/ && ++count <= top' | sed 's/[ -]*$//'
}

start_namesrv
start_broker b flushDiskType=ASYNC_FLUSH
"$LOAD_BIN" topics --addr "$BROKER_ADDR" --topic Profile >/dev/null
profile "pipelined send, 4 connections, 64 in flight, 128 bytes, two keys" send
profile "pull, 4 connections, batches of 32 of such messages" pull --round --first 100000
