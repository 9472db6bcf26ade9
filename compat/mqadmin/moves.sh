#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Our mqadmin sends dead letters once more and moves a backlog, on a broker that keeps no index: runs are killed with SIGKILL, others are refused
# until the locks of those have ended, and several begin at once. In the end nothing is missing, and nothing was sent twice.
#   moves.sh [MESSAGES=3000]
# TARGET=java: against the Java broker JAVA_VERSION.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
messages=${1:-3000}

build_java 5.3.3
start_namesrv
start_broker b messageIndexEnable=false
mkdir "$WORK/ours"
ours() { (cd "$WORK/ours" && NAMESRV_ADDR=$NAMESRV_ADDR HOME=$WORK/ours exec "$OXMQ_BIN" admin "$@"); }
begin() { # NAME COMMAND...: in the background
  local name=$1
  shift
  KIND[$name]=mqadmin OUT[$name]=$WORK/$name.out
  NAMESRV_ADDR=$NAMESRV_ADDR HOME=$WORK/ours "$OXMQ_BIN" admin "$@" >"${OUT[$name]}" 2>&1 </dev/null &
  PID[$name]=$!
  disown
}
stored() { ours topicStatus -t "$1" | awk 'NR > 1 { sum += $4 - $3 } END { print sum + 0 }'; }
has_more_than() { [ "$(stored "$1")" -gt "$2" ]; }
each_once() { # TOPIC MARK: every message of the old queues has one copy
  ours printMsg -t "$1" -d false | grep -oE "[ {]$2=[0-9A-F]+" >"$WORK/$1.copies"
  test "$(wc -l <"$WORK/$1.copies") $(sort -u "$WORK/$1.copies" | wc -l)" = "$messages $messages"
}

for topic in T Old New "%DLQ%g"; do ours updateTopic -b "$BROKER_ADDR" -t "$topic" -r 4 -w 4 >/dev/null; done
ours updateSubGroup -b "$BROKER_ADDR" -g g >/dev/null
load send "%DLQ%g" dead "$messages" >/dev/null
load send Old order "$messages" >/dev/null
declare -A command=([resend]="resendDlq -g g -a -t T -y" [move]="redistribute -g g -t Old -d New -y") target=([resend]=T [move]=New)

for name in resend move; do
  begin "$name" ${command[$name]}
  wait_until 60 "$name is at work" has_more_than "${target[$name]}" $((messages / 10)) || fail "${command[$name]}: $(cat "${OUT[$name]}")"
  kill9 "$name"
  check "$name was killed while it worked" test "$(stored "${target[$name]}")" -lt "$messages"
  check "the next one is refused" eval '! ours ${command[$name]} >"$WORK/refused" 2>&1 && grep -q "somebody else has locked .*the last to begin was " "$WORK/refused"'
done
killed=$SECONDS
for name in resend move; do
  goes_on() { ours ${command[$name]} >"$WORK/$name.out" 2>"$WORK/$name.err"; }
  wait_until 90 "the lock of $name ends" goes_on || fail "$(cat "$WORK/$name.err")"
  echo "$name went on after $((SECONDS - killed)) s: $(tail -n 1 "$WORK/$name.out")"
done
check "every dead letter was sent once" each_once T DLQ_RESENT_FROM
check "every message was moved once" each_once New REDISTRIBUTED_FROM

load send Old later 500 >/dev/null
load send "%DLQ%g" later 500 >/dev/null
messages=$((messages + 500))
for name in resend move; do
  for number in 1 2 3; do begin "$name$number" ${command[$name]}; done
  for number in 1 2 3; do wait_until 120 "$name$number ends" ended "$name$number"; done
  refused=$(grep -l "somebody else has locked" "$WORK/$name"[123].out | wc -l)
  echo "$name: $refused of three at once were refused"
  check "$name once more" ours ${command[$name]} >/dev/null
done
check "every dead letter was sent once, by whichever" each_once T DLQ_RESENT_FROM
check "every message was moved once, by whichever" each_once New REDISTRIBUTED_FROM
summary
