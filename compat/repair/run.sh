#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A broker is killed with SIGKILL while messages are sent. Then its folder is damaged: half a record stands at the end of the log, a bit
# of a body in the middle is flipped, a consume queue is gone, an index file is half as long. `oxmq store repair` puts it right as
# far as it says, and brokers of both kinds go on with it: stock clients get every acknowledged message but the one whose body is gone.
#   run.sh [KIND...]    whose folder: java oxmq
# TRANSCRIPT=FILE keeps what the tool printed, with the folder called /data/store.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
kinds=${*:-java oxmq}
transcript=${TRANSCRIPT:-$WORK/transcript}
: >"$transcript"
build_java 5.3.3

lines() { wc -l <"$1"; }
grown() { [ "$(lines "$1")" -ge "$2" ]; }

store() { # COMMAND ARGS...: runs the tool on BROKER_STORE; its output is in WORK/said, its exit code in STATUS
  local command=$1
  shift
  STATUS=0
  "$OXMQ_BIN" store "$command" "$BROKER_STORE" "$@" >"$WORK/said" 2>&1 </dev/null || STATUS=$?
  {
    echo "\$ oxmq store $command /data/store${*:+ $*}"
    sed "s#$BROKER_STORE#/data/store#g" "$WORK/said"
    printf '$ echo $?\n%s\n\n' "$STATUS"
  } >>"$transcript"
}
says() { grep -qE "$1" "$WORK/said" || { cat "$WORK/said"; return 1; }; }
ends_with() { [ "$STATUS" = "$1" ] || { echo "exit code $STATUS"; cat "$WORK/said"; return 1; }; }

# The segment that has the byte AT of the log, and the place in it.
segment_size=262144
segment() { printf '%s/commitlog/%020d' "$BROKER_STORE" $(($1 / segment_size * segment_size)); }
within() { echo $(($1 % segment_size)); }
field() { grep -o "\"$1\":[^,}]*" "$WORK/record" | head -1 | cut -d: -f2- | tr -d '"'; }

damage() {
  local at end byte
  # The body stands behind 88 bytes of fields.
  "$OXMQ_BIN" store dump "$BROKER_STORE" --topic t --queue 1 --from 100 --limit 1 >"$WORK/record"
  at=$(field physicalOffset) lost=$(field body)
  byte=$(od -An -tu1 -j "$(within $((at + 88)))" -N 1 "$(segment "$at")")
  printf "\\x$(printf %x $((byte ^ 4)))" | dd of="$(segment "$at")" bs=1 seek="$(within $((at + 88)))" conv=notrunc status=none
  # As a power loss leaves what was being written last.
  end=$(sed -n 's/^commit log [0-9]* to \([0-9]*\):.*/\1/p' "$WORK/said")
  dd if="$(segment "$at")" of="$(segment "$end")" bs=1 skip="$(within "$at")" seek="$(within "$end")" count=60 conv=notrunc status=none
  rm -r "$BROKER_STORE/consumequeue/t/2"
  local index=("$BROKER_STORE"/index/*)
  truncate -s $(($(stat -c %s "${index[0]}") / 2)) "${index[0]}"
}

# All that was acknowledged comes to a new group, but for the message whose body is gone.
missing() { comm -23 <(cut -d' ' -f1 "$acknowledged" | sort -u) <(sort -u "$1"); }
complete() { [ "$(missing "$1" | grep -vxF "$lost")" = "" ]; }
serves() { # GROUP
  : >"$WORK/$1.got"
  start_load "$1" collect t "$1" "$WORK/$1.got"
  wait_until 90 "all messages" complete "$WORK/$1.got" || { missing "$WORK/$1.got" | head -5; end_load "$1"; return 1; }
  end_load "$1"
}
takes() { load send t "$1-" 50 >"$WORK/sent" 2>&1 || { cat "$WORK/sent"; return 1; }; }
finds() {
  mqadmin queryMsgByOffset -t t -b "$name" -i 2 -o 5 >"$WORK/found" 2>&1
  grep -q 'Message Body Path' "$WORK/found" || { cat "$WORK/found"; return 1; }
}

start_namesrv
for kind in $kinds; do
  name=r-$kind acknowledged=$WORK/$kind.acknowledged
  [ "$kind" = java ] || kind=$TARGET
  : >"$acknowledged"
  TARGET=$kind start_broker "$name" mappedFileSizeCommitLog=$segment_size mappedFileSizeConsumeQueue=20000 maxHashSlotNum=2500 \
    maxIndexNum=10000 maxMessageSize=65536 defaultTopicQueueNums=4 messageIndexEnable=true
  start_load "producer-$name" stream t m "$acknowledged"
  wait_until 120 "8,000 acknowledged" grown "$acknowledged" 8000 || fail "the producer does not send"
  kill9 "$name"
  end_load "producer-$name"
  echo "killed after $(lines "$acknowledged") acknowledged"

  { echo "### $name: killed"; echo; } >>"$transcript"
  store check
  check "$name: after the kill nothing is wrong that the next start does not put right" ends_with 0
  damage
  { echo "### $name: killed and damaged"; echo; } >>"$transcript"
  store check
  check "$name: check finds damage" ends_with 1
  check "$name: the flipped bit" says '^damage .*commitlog.*the body of message 100 of t queue 1 is damaged'
  check "$name: the torn tail" says '^damage .*commitlog.*the log ends here, but'
  check "$name: the missing queue" says '^derived .*consumequeue/t/2'
  check "$name: the short index file" says '^derived .*index/'
  store repair --dry-run
  store repair
  check "$name: without a terminal and without --yes nothing is done" says 'yes'
  store check
  check "$name: all is as it was" says '^derived .*consumequeue/t/2'
  store repair --yes
  check "$name: repaired" says '^done; what was replaced is in'
  store check
  check "$name: the damage in the middle remains" ends_with 1
  check "$name: and nothing else" says '^1 problem of the commit log or configuration(;|$)'

  cp -a "$BROKER_STORE" "$WORK/$name.copy"
  restart_broker "$name" java
  wait_registered "$name"
  check "$name: Java serves all of it" serves "$name-java"
  check "$name: Java's mqadmin finds a message of the queue that was gone" finds
  check "$name: Java goes on" takes "$name-java"
  stop "$name"
  restart_broker "$name" "$TARGET"
  wait_registered "$name"
  check "$name: $TARGET serves all of it after Java" serves "$name-after"
  stop "$name"
  # And what the tool left, without Java in between.
  rm -r "$BROKER_STORE"
  mv "$WORK/$name.copy" "$BROKER_STORE"
  restart_broker "$name"
  wait_registered "$name"
  check "$name: $TARGET serves all of it" serves "$name-ours"
  check "$name: $TARGET goes on" takes "$name-ours"
  stop "$name"
done
summary
