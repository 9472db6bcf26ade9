#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What the Rust client costs beside the Java client 5.3.3: processor time of the client process for each message, with the same OxMQ broker.
#   client.sh [--secs 10] [--warmup 20] [--size 128] [--count 2000000] [--only send|consume]
# --warmup is for the Java client, whose compiler needs it; the Rust client gets 2 s. --count: messages to consume, a fourth of them before
# measuring begins. OXMQ_BIN and COST_BIN name binaries that are to be used instead of those built here.
# Needed: what compat/ needs. Nothing else should run on the machine.
set -euo pipefail
export LC_ALL=C
secs=10 warmup=20 size=128 count=2000000 only=all
while [ $# -gt 0 ]; do
  case $1 in
    --secs) secs=$2 ;;
    --warmup) warmup=$2 ;;
    --size) size=$2 ;;
    --count) count=$2 ;;
    --only) only=$2 ;;
    *) sed -n 4,7p "$0"; exit 2 ;;
  esac
  shift 2
done
. "$(dirname "${BASH_SOURCE[0]}")/../compat/lib.sh"
if [ -z "${COST_BIN:-}" ]; then
  cargo build --release --manifest-path "$ROOT/Cargo.toml" -p oxmq-client --example cost --locked
  COST_BIN=${CARGO_TARGET_DIR:-$ROOT/target}/release/examples/cost
fi
build_java 5.3.3
start_namesrv
start_broker broker-a
mqadmin updateTopic -n "$NAMESRV_ADDR" -b "$BROKER_ADDR" -t cost -r 8 -w 8 >/dev/null

figure() { sed -n 's/.*cpu_us=\([0-9.]*\) per_second=\([0-9]*\).*/\1 \2/p' <<<"$1"; }
row() { # WHAT JAVA OURS
  local java ours
  java=($(figure "$2")) ours=($(figure "$3"))
  awk -v what="$1" -v j="${java[0]}" -v o="${ours[0]}" -v java_rate="${java[1]}" -v our_rate="${ours[1]}" \
    'BEGIN { printf "| %s | %.2f µs (%d/s) | %.2f µs (%d/s) | %.1f x |\n", what, j, java_rate, o, our_rate, j / o }'
}
echo "| | Java client 5.3.3 | Rust client | less CPU |"
echo "|---|---|---|---|"
if [ "$only" != consume ]; then
  for in_flight in 64 1; do
    java=$(client_java 5.3.3 compat.ClientCost send "$NAMESRV_ADDR" cost "$secs" "$warmup" "$size" "$in_flight" | tail -1)
    ours=$("$COST_BIN" send "$NAMESRV_ADDR" cost "$secs" 2 "$size" "$in_flight")
    row "send, $in_flight in flight" "$java" "$ours"
    ours=$(THREADS=1 "$COST_BIN" send "$NAMESRV_ADDR" cost "$secs" 2 "$size" "$in_flight")
    row "… ours on a runtime of one thread" "$java" "$ours"
  done
fi
if [ "$only" != send ]; then
  mqadmin updateTopic -n "$NAMESRV_ADDR" -b "$BROKER_ADDR" -t consumed -r 8 -w 8 >/dev/null
  "$COST_BIN" fill "$NAMESRV_ADDR" consumed "$count" "$size" >/dev/null
  first=$((count / 4))
  java=$(client_java 5.3.3 compat.ClientCost consume "$NAMESRV_ADDR" consumed cost_java $first $((count - first)) | tail -1)
  ours=$("$COST_BIN" consume "$NAMESRV_ADDR" consumed cost_ours $first $((count - first)))
  row "consume, batches of 32" "$java" "$ours"
  ours=$(THREADS=1 "$COST_BIN" consume "$NAMESRV_ADDR" consumed cost_ours_1 $first $((count - first)))
  row "… ours on a runtime of one thread" "$java" "$ours"
fi
