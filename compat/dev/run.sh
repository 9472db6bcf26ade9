#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The promise of the README's first command: `oxmq dev`, and nothing else, serves the quickstarts of the stock clients:
# Java 4.9.7 and 5.3.3 (1,000 messages, two push consumers of one group) and Go. OxMQ only: Java has no such command.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
TARGET=oxmq

start_dev() { # NAME
  ns=$(free_port)
  KIND[$1]=oxmq OUT[$1]=$WORK/$1.out PORT[$1]=$(free_port)
  mkdir -p "$WORK/home"
  HOME=$WORK/home "$OXMQ_BIN" dev --data "$WORK/$1" --namesrv-port "$ns" --broker-port "${PORT[$1]}" >"${OUT[$1]}" 2>&1 </dev/null &
  PID[$1]=$!
  disown
  wait_until 20 "oxmq dev is up" booted "$1" "The broker.*boot success" || fail "oxmq dev did not start"
}

failed=0
for client in 4.9.7 5.3.3; do
  build_java "$client"
  start_dev "dev_$client"
  client_java "$client" compat.Main "127.0.0.1:$ns" "127.0.0.1:${PORT[dev_$client]}" quickstart || { failed=1; last_lines "dev_$client"; }
  end_with TERM "dev_$client" || failed=1
done
start_dev dev_go
cd "$COMPAT/go"
env NAMESRV_ADDR="127.0.0.1:$ns" BROKER_ADDR="127.0.0.1:${PORT[dev_go]}" ROCKETMQ_GO_LOG_LEVEL=fatal \
  "rocketmq.client.localOffsetStoreDir=$WORK/offsets" go test -count=1 -timeout 60s -v -run TestTwoConsumersShare ./... || { failed=1; last_lines dev_go; }
exit $failed
