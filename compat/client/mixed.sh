#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A Java and a Rust consumer are members of one group: each queue is consumed by one of them, nothing is lost, and nothing comes twice
# while nobody joins or leaves. And a Go producer with a Rust consumer.
#   mixed.sh [PART...]    parts: java-533 java-497 orderly go
# TARGET=java JAVA_VERSION=5.3.3|4.9.7 takes the Java servers. COLLECT: the Rust consumer, else it is built.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
parts=${*:-java-533 java-497 orderly go}
if [ -z "${COLLECT:-}" ]; then
  cargo build --manifest-path "$ROOT/Cargo.toml" -p oxmq-client --example collect --locked
  COLLECT=${CARGO_TARGET_DIR:-$ROOT/target}/debug/examples/collect
fi
build_java 5.3.3
build_java 4.9.7
start_namesrv
start_broker mixed-a
start_broker mixed-b

# Starts a Rust member; its standard input is a pipe that this shell holds open.
declare -A INPUT=()
start_rust() { # NAME ARGS...
  local name=$1 input
  shift
  KIND[$name]="client rust"
  OUT[$name]=$WORK/$name.out
  mkfifo "$WORK/$name.input"
  RUST_LOG=${RUST_LOG:-warn} "$COLLECT" "$NAMESRV_ADDR" "$@" <"$WORK/$name.input" >"${OUT[$name]}" 2>&1 &
  PID[$name]=$!
  disown
  exec {input}>"$WORK/$name.input"
  INPUT[$name]=$input
}
end_rust() { # NAME
  local input=${INPUT[$1]}
  echo end >&"$input" # Members started since hold the pipe too: closing it would not end it.
  exec {input}>&-
  wait_until 40 "$1 ends" ended "$1" || return 1
  PID[$1]=
  grep -q '^ended' "${OUT[$1]}"
}

bodies() { cut -d' ' -f1 "$@" | grep "^$PREFIX" || true; }
all_there() { [ "$(bodies "$@" | sort -u | wc -l)" = "$COUNT" ]; }
each_once() { [ "$(bodies "$@" | wc -l)" = "$COUNT" ] && all_there "$@"; }
some() { [ -n "$(bodies "$1")" ]; }
# A member that has some of what is sent now shares the queues.
share() { # FILE FILE
  PREFIX="ping$RANDOM-" COUNT=64
  load send "$topic" "$PREFIX" $COUNT >/dev/null
  wait_until 20 "all pings" all_there "$@" && some "$1" && some "$2"
}
sends() { # PREFIX COUNT
  PREFIX=$1 COUNT=$2
  load send "$topic" "$1" "$2" >/dev/null
}

group() { # PART CLIENT
  local part=$1 topic=mixed_$1 java=$WORK/$1.java rust=$WORK/$1.rust
  CLIENT=$2
  : >"$java"
  : >"$rust"
  mqadmin updateTopic -c DefaultCluster -t "$topic" -r 8 -w 8 >/dev/null
  start_load "$part-java" collect "$topic" "g_$part" "$java"
  start_rust "$part-rust" "$topic" "g_$part" "$rust"
  check "$part: both share the queues" wait_until 60 "both get some" share "$java" "$rust"
  sends "$part-steady-" 2000
  check "$part: all 2000 are consumed" wait_until 40 "all" all_there "$java" "$rust"
  check "$part: each once" each_once "$java" "$rust"
  check "$part: both work" eval "some $java && some $rust"
  # Each queue has one owner: what Rust consumed lies in half of the 16 queues.
  check "$part: Rust has half of the queues" [ "$(grep "^$part-steady-" "$rust" | cut -d' ' -f2,3 | sort -u | wc -l)" = 8 ]
  # The Rust member leaves in order, while messages come: nothing is lost.
  (CLIENT=$2 load send "$topic" "$part-leave-" 3000 >/dev/null) &
  local sender=$!
  sleep 1
  check "$part: Rust leaves" end_rust "$part-rust"
  wait $sender
  PREFIX=$part-leave- COUNT=3000
  check "$part: all 3000 are consumed" wait_until 60 "all" all_there "$java" "$rust"
  # It comes back and the Java member leaves.
  start_rust "$part-again" "$topic" "g_$part" "$rust"
  check "$part: both share the queues again" wait_until 60 "both get some" share "$java" "$rust"
  end_load "$part-java"
  sends "$part-alone-" 500
  check "$part: Rust takes over" wait_until 60 "all" all_there "$rust"
  check "$part: Rust ends" end_rust "$part-again"
}

orderly() {
  local topic=mixed_orderly rust=$WORK/orderly.rust other=$WORK/orderly.other
  CLIENT=5.3.3
  : >"$rust"
  : >"$other"
  mqadmin updateTopic -c DefaultCluster -t "$topic" -r 4 -w 4 >/dev/null
  start_rust orderly-1 "$topic" g_orderly "$rust" orderly
  start_rust orderly-2 "$topic" g_orderly "$other" orderly
  check "orderly: both share the queues" wait_until 60 "both get some" share "$rust" "$other"
  sends "orderly-a-" 1000
  check "orderly: all are consumed" wait_until 40 "all" all_there "$rust" "$other"
  (CLIENT=5.3.3 load send "$topic" "orderly-b-" 2000 >/dev/null) &
  local sender=$!
  sleep 1
  check "orderly: one leaves" end_rust orderly-1
  wait $sender
  PREFIX=orderly-b- COUNT=2000
  check "orderly: all are consumed by the other" wait_until 60 "all" all_there "$rust" "$other"
  check "orderly: each once" each_once "$rust" "$other"
  check "orderly: the other ends" end_rust orderly-2
}

go_producer() {
  local topic=mixed_go rust=$WORK/go.rust
  command -v go >/dev/null || fail "the Go toolchain is not on PATH"
  (cd "$COMPAT/go" && go build -o "$WORK/go-send" ./cmd/send)
  : >"$rust"
  mqadmin updateTopic -c DefaultCluster -t "$topic" -r 4 -w 4 >/dev/null
  start_rust go-rust "$topic" g_go "$rust"
  PREFIX=go- COUNT=1000
  check "go: the Go producer sends" env ROCKETMQ_GO_LOG_LEVEL=fatal "$WORK/go-send" "$NAMESRV_ADDR" "$topic" $PREFIX $COUNT
  check "go: all are consumed" wait_until 40 "all" all_there "$rust"
  check "go: each once" each_once "$rust"
  check "go: Rust ends" end_rust go-rust
}

for part in $parts; do
  case $part in
    java-533) group java-533 5.3.3 ;;
    java-497) group java-497 4.9.7 ;;
    orderly) orderly ;;
    go) go_producer ;;
    *) fail "no part $part" ;;
  esac
done
summary
