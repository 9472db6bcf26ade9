#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The cases of the Rust client (crates/client/examples/suite) against real servers: one name server, two brokers.
#   run.sh [FILTER...]     cases whose names contain a filter; all without one
# TARGET=java JAVA_VERSION=5.3.3|4.9.7 takes the Java servers. SUITE: the program, else it is built.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
if [ -z "${SUITE:-}" ]; then
  cargo build --manifest-path "$ROOT/Cargo.toml" -p oxmq-client --example suite --locked
  SUITE=${CARGO_TARGET_DIR:-$ROOT/target}/debug/examples/suite
fi
version=oxmq
[ "$TARGET" != java ] || version=$JAVA_VERSION
settings=(transactionTimeOut=3000 transactionCheckInterval=3000 traceTopicEnable=true timerWheelEnable=true enablePropertyFilter=true recallMessageEnable=true)
start_namesrv
start_broker client-a "${settings[@]}"
start_broker client-b "${settings[@]}"
"$SUITE" "$NAMESRV_ADDR" --version "$version" "$@"
