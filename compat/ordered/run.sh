#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Eight queues with eight ordered keys each. Three orderly consumers, each a process of its own, join and leave, and one is killed with SIGKILL, for
# SECONDS at least. Per key the order holds, nothing is lost, and no two consumers work on a queue at one time.
#   run.sh [SECONDS=60]
# CLIENT=4.9.7 takes the older client. What exactly must hold stands at Judge in OrderRun.java.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
length=${1:-60}
sent=$WORK/sent
files=()

build_java "${CLIENT:-5.3.3}"
start_namesrv
start_broker o
mqadmin updateTopic -b "$BROKER_ADDR" -t ordered -r 8 -w 8 >/dev/null
: >"$sent"

# Returns when the new consumer has work.
join() { # NAME
  : >"$WORK/$1.lines"
  files+=("$WORK/$1.lines")
  start_java "$1" compat.OrderRun consume "$NAMESRV_ADDR" ordered "$WORK/$1.lines"
  wait_until 90 "$1 gets messages" test -s "$WORK/$1.lines" || fail "$1 gets no messages"
  echo "$((SECONDS - started)) s: $1 joined"
}
# What is sent from now on is processed: every queue has a consumer again.
reached() { # NUMBER
  sleep 0.5 # awk reads everything
  cat "${files[@]}" | awk -v number="$1" '$2 >= number { keys[$1] } END { exit length(keys) < 64 }'
}
go_on() {
  wait_until 120 "all queues go on" reached $(($(tail -n 1 "$sent" | cut -d' ' -f2) + 1)) || fail "some queues do not go on"
  echo "$((SECONDS - started)) s: all queues go on"
}
leave() { # stop|kill9 NAME
  "$1" "$2"
  echo "$((SECONDS - started)) s: $2 left by $1"
  go_on
}

started=$SECONDS
start_java producer compat.OrderRun produce "$NAMESRV_ADDR" ordered "$sent"
join a
join b
join c
go_on
leave stop b
join d
leave kill9 a
join e
for round in {1..1000}; do
  [ $((SECONDS - started)) -lt "$length" ] || break
  leave stop "$([ "$round" = 1 ] && echo c || echo "more$((round - 1))")"
  join "more$round"
done
running producer || { cat "${OUT[producer]}"; fail "the producer ended"; }
stop producer
all() { [ "$(cat "${files[@]}" | cut -d' ' -f1,2 | sort -u | wc -l)" = "$(wc -l <"$sent")" ]; }
wait_until 60 "all messages" all || true
for name in "${!PID[@]}"; do [[ ${KIND[$name]} != client* ]] || stop "$name"; done

facts=$(client_java "${CLIENT:-5.3.3}" compat.OrderRun check "$sent" "${files[@]}")
echo "$facts"
fact() { grep -o "\b$1=[0-9]*" <<<"$facts" | cut -d= -f2; }
check "nothing is lost" test "$(fact missing)" = 0
check "the order of each key holds" test "$(fact skipped)" = 0
check "repeats go back to a committed position" test "$(fact late)" = 0
check "one consumer at a time for a queue" test "$(fact overlaps)" = 0
summary
