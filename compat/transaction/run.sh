#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# COUNT acknowledged transactions, a third each committed, rolled back and left unknown; check-backs commit half of the unknown ones and roll back the
# others. The broker (SIGKILL and SIGTERM in turn) and the producer (SIGKILL) are each ended and started again RESTARTS times. Exactly the committed ones arrive.
#   run.sh [COUNT=100000] [RESTARTS=2]
# CLIENT=4.9.7 takes the older client. Numbers and outcomes: TransactionRun.java.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
count=${1:-100000} restarts=${2:-2}
journal=$WORK/journal received=$WORK/received
# Each stage of the run gets this long, in seconds.
patience=$((60 + count / 200))

build_java "${CLIENT:-5.3.3}"
start_namesrv
# The Java broker writes down every 3 s which transactions have ended; one that is checked sooner is asked for, and delivered, once more.
start_broker t transactionTimeOut=3000 transactionCheckInterval=3000 transactionOpBatchInterval=300
mqadmin updateTopic -b "$BROKER_ADDR" -t transaction -r 8 -w 8 >/dev/null
: >"$journal"
: >"$received"
produce() { start_java producer compat.TransactionRun produce "$NAMESRV_ADDR" transaction "$count" "$journal"; }
start_java consumer compat.TransactionRun consume "$NAMESRV_ADDR" transaction "$received"
produce

sent() { [ "$(grep -c '^sent ' "$journal")" -ge "$1" ]; }
for step in $(seq $((2 * restarts))); do
  at=$((count * step / (2 * restarts + 1)))
  wait_until "$patience" "$at transactions" sent "$at" || fail "the producer does not come on"
  if [ $((step % 4)) = 1 ]; then
    kill9 t
    restart_broker t
    echo "broker killed after $at"
  elif [ $((step % 4)) = 3 ]; then
    stop t
    restart_broker t
    echo "broker stopped after $at"
  else
    kill9 producer
    produce
    echo "producer killed after $at"
  fi
done
wait_until "$patience" "$count transactions" sent "$count" || fail "the producer does not come on"

# Prints NAME=NUMBER of all facts. A number that was sent but not acknowledged may be at the broker, and if so, is resolved as its number says.
account() {
  awk '
    function commits(n) { return n % 3 == 0 || n % 3 == 2 && int(n / 3) % 2 == 0 }
    $1 == "send" { begun[$2]; next }
    $1 == "sent" { acknowledged[$2]; next }
    $1 == "check" { if ($2 in asked) asked_again++; asked[$2]; next }
    { if (($1, $2, $3) in place) redelivered++
      else if ($1 in arrived) stored_twice++
      place[$1, $2, $3]; arrived[$1] }
    END {
      for (n in acknowledged) if (commits(n) && !(n in arrived)) missing++
      for (n in acknowledged) if (n % 3 == 2 && !(n in asked)) unasked++
      for (n in arrived) if (!(n in begun)) unknown++; else if (!commits(n)) rolled_back++; else if (!(n in acknowledged)) unacknowledged++
      printf "begun=%d acknowledged=%d asked=%d asked_again=%d arrived=%d unacknowledged=%d ", length(begun), length(acknowledged), length(asked), asked_again, length(arrived), unacknowledged
      printf "missing=%d rolled_back=%d unknown=%d unasked=%d stored_twice=%d redelivered=%d\n", missing, rolled_back, unknown, unasked, stored_twice, redelivered
    }' "$journal" "$received"
}
fact() { account | grep -o "\b$1=[0-9]*" | cut -d= -f2; }
settled() {
  sleep 1 # account reads everything
  [[ $(account) == *" missing=0 "*" unasked=0 "* ]]
}
wait_until "$patience" "all transactions" settled || true
# Three intervals without a check-back: nothing is pending any more.
quiet() { [ $(($(date +%s) - $(stat -c %Y "$journal"))) -ge 10 ]; }
check "check-backs come to an end" wait_until "$patience" "no more check-backs" quiet
account
check "all $count were acknowledged" test "$(fact acknowledged)" = "$count"
check "no committed one is missing" test "$(fact missing)" = 0
check "no rolled back one arrived" test "$(fact rolled_back)" = 0
check "nothing arrived that was not sent" test "$(fact unknown)" = 0
check "each unknown one was asked for" test "$(fact unasked)" = 0
if [ "$TARGET" != java ] || [ "$restarts" = 0 ]; then
  # The Java broker forgets at a kill which transactions it has committed last.
  check "nothing was stored twice" test "$(fact stored_twice)" = 0
fi
if [ "$restarts" = 0 ]; then
  check "nothing was delivered twice" test "$(fact redelivered)" = 0
fi
summary
