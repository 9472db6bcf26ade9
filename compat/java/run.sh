#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The Java clients against one fresh server for each combination of client version and header encoding. With JSON headers the
# server has the stock delay levels, with ROCKETMQ headers short ones; both have short times for transactions.
#   run.sh [--client 4.9.7|5.3.3] [--headers JSON|ROCKETMQ] [CASE...]
# TARGET=java runs it against the Java servers (JAVA_VERSION), to see who is wrong.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

clients=(4.9.7 5.3.3)
headers=(JSON ROCKETMQ)
while [[ ${1:-} == --* ]]; do
  case $1 in
    --client) clients=("$2") ;;
    --headers) headers=("$2") ;;
    *) sed -n 3,6p "$0"; exit 2 ;;
  esac
  shift 2
done

settings=(enablePropertyFilter=true recallMessageEnable=true transactionTimeOut=3000 transactionCheckInterval=1000 transactionCheckMax=8 transactionOpBatchInterval=500)
short_levels=messageDelayLevel="1s 2s 3s 4s 5s 6s 7s 8s 9s 10s 11s 12s 13s 14s 15s 16s 17s 18s"

failed=0
for client in "${clients[@]}"; do
  build_java "$client"
  for header in "${headers[@]}"; do
    server=${client//./_}_$header
    start_namesrv "ns_$server"
    levels=()
    [ "$header" = JSON ] || levels=("$short_levels")
    start_broker "b_$server" "${settings[@]}" "${levels[@]}"
    echo "== client $client, headers $header, server $(kind_now)"
    client_java "$client" "-Dcompat.target=$TARGET" "-Drocketmq.serialize.type=$header" compat.Main "$NAMESRV_ADDR" "$BROKER_ADDR" "$@" || { failed=1; last_lines "b_$server"; }
    kill9 "b_$server"
    kill9 "ns_$server"
  done
done
exit $failed
