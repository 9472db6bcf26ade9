#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A producer and a push consumer run on while the broker is killed with SIGKILL and started again, on the same store and port.
# At the end no acknowledged message may be missing, and no queue offset may have been given twice.
#   run.sh [ROUNDS=10]
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
rounds=${1:-10}
acknowledged=$WORK/acknowledged received=$WORK/received

build_java 5.3.3
start_namesrv
start_broker k flushDiskType=ASYNC_FLUSH
mqadmin updateTopic -b "$BROKER_ADDR" -t kill -r 4 -w 4 >/dev/null
: >"$acknowledged"
: >"$received"
start_load consumer collect kill killers "$received"
start_load producer stream kill m "$acknowledged"

lines() { wc -l <"$1"; }
grown() { [ "$(lines "$1")" -ge "$2" ]; }
for round in $(seq "$rounds"); do
  wait_until 60 "200 more acknowledged" grown "$acknowledged" $(($(lines "$acknowledged") + 200)) || fail "the producer does not come back in round $round"
  wait_until 60 "50 more received" grown "$received" $(($(lines "$received") + 50)) || fail "the consumer does not come back in round $round"
  before=$(lines "$acknowledged")
  kill9 k
  restart_broker k
  echo "round $round: killed after $before acknowledged"
done
wait_until 60 "200 more acknowledged" grown "$acknowledged" $(($(lines "$acknowledged") + 200)) || fail "the producer does not come back"
end_load producer
cat "$WORK/producer.load"

missing() { comm -23 <(cut -d' ' -f1 "$acknowledged" | sort -u) <(sort -u "$received"); }
complete() { [ -z "$(missing)" ]; }
check "no acknowledged message is missing" wait_until 60 "all acknowledged messages" complete
missing | head -5
end_load consumer
total=$(lines "$acknowledged") all=$(lines "$received") different=$(sort -u "$received" | wc -l)
echo "acknowledged $total, received $different different, $((all - different)) of them again, in $rounds kills"
check "no queue offset twice" test -z "$(cut -d' ' -f2- "$acknowledged" | sort | uniq -d)"
check "offsets grow in every queue" awk '{ key = $2 " " $3; if (key in last && $4 <= last[key]) exit 1; last[key] = $4 }' "$acknowledged"
# A consumer commits every second here: after a kill it may get again what it took since, and what it took before the broker wrote
# the offsets down (every 5 s). Starting from 0 again would make it a multiple of everything.
check "redeliveries are bounded" test $((all - different)) -le $((total / 2 + rounds * 1000))
summary
