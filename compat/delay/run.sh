#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# COUNT messages are due at random moments of SECONDS seconds, while the broker is killed with SIGKILL and started again on its store
# KILLS times. Each must be delivered once or more, none early, none missing, and not late while the broker is up.
#   run.sh [COUNT=1000000] [SECONDS=600] [KILLS=5]
# CLIENT=4.9.7 takes the older client. How lateness is counted stands in DelayRun.java.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
count=${1:-1000000} length=${2:-600} kills=${3:-5}
outages=$WORK/outages
# The wheel of the Java broker has slots of one second.
late_max=$([ "$TARGET" = java ] && echo 2500 || echo 200)
# All 18 levels end within the run.
levels=$(for level in {1..18}; do echo $(((length * level + 17) / 18)); done | paste -sd,)

build_java "${CLIENT:-5.3.3}"
start_namesrv
start_broker d "messageDelayLevel=${levels//,/s }s"
mqadmin updateTopic -b "$BROKER_ADDR" -t delay -r 8 -w 8 >/dev/null
: >"$outages"
start_java run -Xmx1g compat.DelayRun "$NAMESRV_ADDR" delay 8 "$count" "$length" "$levels" "$late_max" "$outages"
ready() { ended run || grep -q '^ready' "${OUT[run]}"; }
wait_until 90 "the consumer has its queues" ready || fail "the run does not start"
started=$SECONDS

now_ms() { date +%s%3N; }
anonymous=0
# Time is what this waits for. Meanwhile it keeps the most anonymous memory that the broker had.
due() { # SECOND
  local used
  used=$(awk '/^RssAnon/ { print $2 }' "/proc/${PID[d]}/status" 2>/dev/null) || used=0
  [ "${used:-0}" -le "$anonymous" ] || anonymous=$used
  ended run || [ $((SECONDS - started)) -ge "$1" ]
}
for kill in $(seq "$kills"); do
  wait_until "$length" "kill $kill" due $((length * kill / (kills + 1)))
  ! ended run || break
  killed=$(now_ms) after=$((SECONDS - started))
  kill9 d
  # Some messages come due while nobody is there.
  wait_until 10 "the outage" due $((SECONDS - started + 2))
  restart_broker d
  booted=$(now_ms)
  echo "$killed $booted" >>"$outages"
  echo "kill $kill after $after s, away for $((booted - killed)) ms"
done
wait_until $((length + 300)) "the end of the run" due 1000000 || true
cat "${OUT[run]}"
echo "broker: at most $((anonymous / 1024)) MiB of anonymous memory, now $(awk '/^(VmRSS|RssAnon|RssFile)/ { printf "%s %d MiB ", $1, $2 / 1024 }' "/proc/${PID[d]}/status")"

fact() { sed -n "s/^\(.* \)\?$1=\([0-9]*\).*/\2/p" "${OUT[run]}"; }
grep -q '^done' "${OUT[run]}" || fail "the run did not come to its end"
check "none missing" test "$(fact MISSING)" = 0
check "none early" test "$(fact EARLY)" = 0
check "p99 of lateness at most $late_max ms" test "$(fact LATE_P99)" -le "$late_max"
echo "$(fact REDELIVERED) delivered again, $(fact STORED_TWICE) stored twice"
summary
