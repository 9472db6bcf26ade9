#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Known defects of the Java broker. Each is provoked from outside on a Java broker of the last version that has it and can be
# fetched, which must show it, and on OxMQ, which must not.
#   run.sh [--ours] [DEFECT...]
# With --ours only the half of OxMQ runs, with TARGET=java only that of Java.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
ours=$TARGET theirs=1
if [ "${1:-}" = --ours ]; then
  theirs=0
  shift
fi
build_java 5.3.3

# Prints what the server under NAME did, and returns 0: right, 3: it has the defect, else: the step failed.
step() { # STEP
  client_java 5.3.3 compat.Defects "$NAMESRV_ADDR" "$BROKER_ADDR" "$1"
}
restart_with() { # NAME KEY=VALUE...
  local name=$1
  shift
  kill9 "$name"
  printf '%s\n' "$@" >>"$WORK/$name/conf.properties"
  restart_broker "$name"
  wait_registered "$name"
}

# apache/rocketmq#9248: a delayed message whose delivery fails is skipped, and nothing tells. The delivery is made to
# fail by a broker that meanwhile takes only smaller messages; afterwards it takes the old size again.
delayed_message_skipped() { # NAME
  start_broker "$1" messageDelayLevel="1s 5s 25s"
  step delayed_send || return
  restart_with "$1" maxMessageSize=65536
  sleep 25 # Both come due meanwhile.
  restart_with "$1" maxMessageSize=4194304
  step delayed_look
}

# apache/rocketmq#8311: each round of checks during CHECK_IMMUNITY_TIME_IN_SECONDS counts as a check, so that a long
# immunity ends with a message that is thrown away and about which nobody was ever asked.
immunity_uses_up_the_checks() { # NAME
  start_broker "$1" transactionTimeOut=2000 transactionCheckInterval=1000 transactionCheckMax=4 transactionOpBatchInterval=500
  step immunity
}

# apache/rocketmq#9500: what goes wrong with one half message ends the round of checks before its position moves on,
# so that the messages behind are never checked. Here the message cannot be written again with its count of checks.
half_message_never_checked() { # NAME
  start_broker "$1" transactionTimeOut=2000 transactionCheckInterval=1000 transactionOpBatchInterval=500
  step half_unchecked
}

# apache/rocketmq#2705, #1440 and others: the offset of a group falls back to whatever a member commits, even to the minimum, also a
# member that lost the queue long ago; the group consumes everything again.
late_commit_moves_the_offset_back() { # NAME
  start_broker "$1"
  step late_commit
}

declare -A shown_by=(
  [delayed_message_skipped]=5.2.0
  [immunity_uses_up_the_checks]=5.3.3
  [half_message_never_checked]=5.3.3
  [late_commit_moves_the_offset_back]=5.3.3
)
defects=${*:-delayed_message_skipped immunity_uses_up_the_checks half_message_never_checked late_commit_moves_the_offset_back}

# The outcome of a defect's story on a server: 0, 3 or a failure of the step.
outcome() { # DEFECT NAME
  local code=0
  "$1" "$2" || code=$?
  kill9 "$2"
  return "$code"
}
shows() {
  local code=0
  outcome "$@" || code=$?
  [ "$code" = 3 ]
}

for defect in $defects; do
  if [ "$theirs" = 1 ]; then
    version=${shown_by[$defect]}
    TARGET=java JAVA_VERSION=$version
    start_namesrv "ns-java-$defect"
    check "$defect: Java $version has it" shows "$defect" "java-$defect"
    kill9 "ns-java-$defect"
  fi
  [ "$ours" = oxmq ] || continue
  TARGET=oxmq
  start_namesrv "ns-$defect"
  check "$defect: OxMQ does not" outcome "$defect" "oxmq-$defect"
  kill9 "ns-$defect"
done
summary
