#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The Java clients against one fresh server for each combination of client version and header encoding.
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
    *) sed -n 3,5p "$0"; exit 2 ;;
  esac
  shift 2
done

failed=0
for client in "${clients[@]}"; do
  build_java "$client"
  for header in "${headers[@]}"; do
    server=${client//./_}_$header
    start_namesrv "ns_$server"
    start_broker "b_$server" enablePropertyFilter=true
    echo "== client $client, headers $header, server $(kind_now)"
    client_java "$client" "-Drocketmq.serialize.type=$header" compat.Main "$NAMESRV_ADDR" "$BROKER_ADDR" "$@" || { failed=1; last_lines "b_$server"; }
    kill9 "b_$server"
    kill9 "ns_$server"
  done
done
exit $failed
