#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs the stock Go client (rocketmq-client-go v2.1.2) against a fresh name server and broker; ARGS go to `go test`.
#   TARGET=java compat/go/run.sh -run TestRestart
# A missing toolchain or module fails the run: a suite that skips itself proves nothing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
source ../lib.sh

command -v go >/dev/null || fail "the Go toolchain (1.21 or later) is not on PATH"
go mod download || fail "the modules that go.sum pins cannot be fetched"
go vet ./... || fail "the suite does not compile"

start_namesrv
# The stock delay levels; short times for transactions, and what Java has switched off by default.
start_broker go-suite transactionTimeOut=3000 transactionCheckInterval=1000 transactionOpBatchInterval=500 enablePropertyFilter=true traceTopicEnable=true

# The client keeps broadcasting offsets in files, in a folder whose variable only `env` can name.
env NAMESRV_ADDR="$NAMESRV_ADDR" BROKER_ADDR="$BROKER_ADDR" COMPAT_TARGET="$TARGET" ROCKETMQ_GO_LOG_LEVEL="${ROCKETMQ_GO_LOG_LEVEL:-fatal}" \
  "rocketmq.client.localOffsetStoreDir=$WORK/offsets" go test -count=1 -parallel 16 -timeout 240s -v "$@" ./...
