#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The cases of the Rust client (crates/client/examples/suite) against real servers: one name server, two brokers. Without a filter
# also one of the brokers is killed under load, and no send may fail.
#   run.sh [FILTER...]     cases whose names contain a filter; all without one
# TARGET=java JAVA_VERSION=5.3.3|4.9.7 takes the Java servers. EXAMPLES: the folder with the programs `suite` and `cost`, else they are built.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
if [ -z "${EXAMPLES:-}" ]; then
  cargo build --manifest-path "$ROOT/Cargo.toml" -p oxmq-client --example suite --example cost --locked
  EXAMPLES=${CARGO_TARGET_DIR:-$ROOT/target}/debug/examples
fi
version=oxmq
[ "$TARGET" != java ] || version=$JAVA_VERSION
settings=(transactionTimeOut=3000 transactionCheckInterval=3000 traceTopicEnable=true timerWheelEnable=true enablePropertyFilter=true recallMessageEnable=true)
start_namesrv
start_broker client-a "${settings[@]}"
start_broker client-b "${settings[@]}"
"$EXAMPLES/suite" "$NAMESRV_ADDR" --version "$version" "$@"
[ $# = 0 ] || exit 0

for broker in client-a client-b; do
  mqadmin updateTopic -n "$NAMESRV_ADDR" -b "127.0.0.1:${PORT[$broker]}" -t failover -r 4 -w 4 >/dev/null
done
# It ends with an error at the first send that fails.
"$EXAMPLES/cost" send "$NAMESRV_ADDR" failover 8 0 128 16 >"$WORK/failover.out" 2>&1 &
load=$!
sleep 3
kill9 client-b
check "no send fails when one of two brokers is killed" wait "$load"
cat "$WORK/failover.out"
summary
