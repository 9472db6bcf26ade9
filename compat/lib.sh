# SPDX-License-Identifier: Apache-2.0
# Starts and ends the servers that the suites talk to. Sourced by bash scripts.
#
# Which server: TARGET=oxmq (default; OXMQ_BIN, else target/release/oxmq) or TARGET=java (JAVA_VERSION 5.3.3 or 4.9.7).
# Both can be set for one call: `TARGET=java JAVA_VERSION=4.9.7 start_broker b`.
#
#   start_namesrv [NAME=ns]            sets NAMESRV_ADDR, NAMESRV_PORT, NAMESRV_PID
#   start_broker  NAME [KEY=VALUE...]  sets BROKER_ADDR, BROKER_PORT, BROKER_PID, BROKER_STORE; needs NAMESRV_ADDR
#   restart_broker NAME [oxmq|java]    same port, store and configuration; same kind of server unless named
#   wait_registered NAME               the name server lists the broker (start_broker waits, restart_broker does not)
#   stop NAME | kill9 NAME             SIGTERM or SIGKILL, returns when the process is gone
#   PID[NAME] PORT[NAME] STORE[NAME]   the same facts for every server
#   last_lines NAME                    prints the end of its output and log
#   mqadmin ARGS...                    the Java mqadmin 5.3.3 against NAMESRV_ADDR
#   jars VERSION                       prints the folder with that client's jars
#   build_java VERSION                 compiles compat/java against that client
#   client_java VERSION ARGS...        runs java with it: [-Dx=y] CLASS ARGS...
#   load ARGS...                       compat.Load with the client CLIENT (5.3.3)
#   start_load NAME ARGS..., end_load NAME   the same in the background
#   start_java NAME ARGS...            client_java in the background, with the client CLIENT; `stop` and `kill9` end it, OUT[NAME] is its output
#   check WHAT COMMAND..., summary     counts passed and failed facts
#   wait_until SECONDS WHAT COMMAND... returns when the command succeeds; fails with WHAT after SECONDS
#
# WORK is a temporary folder. At the end of the script all servers are ended and WORK is removed;
# if the script failed, the last lines of every server come first. KEEP=1 keeps WORK.

COMPAT=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(dirname "$COMPAT")
TARGET=${TARGET:-oxmq}
JAVA_VERSION=${JAVA_VERSION:-5.3.3}
OXMQ_BIN=${OXMQ_BIN:-$ROOT/target/release/oxmq}
if [ -z "${PEER:-}" ]; then
  PEER=$ROOT/../shared/peer/peer
  # A git worktree has its neighbours beside the main tree.
  [ -x "$PEER" ] || PEER=$(cd "$ROOT" && dirname "$(git rev-parse --path-format=absolute --git-common-dir)")/../shared/peer/peer
fi
PEER_JARS=${PEER_HOME:-$HOME/.cache/rocketmq-peer}
WORK=$(mktemp -d -t compat.XXXXXX)
declare -A PID=() PORT=() STORE=() KIND=() OUT=() STARTS=() BROKER_NAME=()

say() { printf '%s\n' "$*" >&2; }
fail() { say "FAILED: $*"; exit 1; }

wait_until() {
  local deadline=$((SECONDS + $1)) what=$2
  shift 2
  until "$@"; do
    [ "$SECONDS" -lt "$deadline" ] || { say "waited in vain: $what"; return 1; }
    sleep 0.1
  done
}

# Prints a port P; P-2 (the VIP port of a broker) to P+7 are free, below the range that outgoing connections use.
free_port() {
  local port used near
  used=$(awk 'NR > 1 { split($2, a, ":"); print a[2] }' /proc/net/tcp /proc/net/tcp6 2>/dev/null | sort -u)
  for _ in {1..200}; do
    port=$((12002 + (RANDOM * 32768 + RANDOM) % 2000 * 10))
    near=$(for p in $(seq $((port - 2)) $((port + 7))); do printf '%04X\n' "$p"; done)
    comm -12 <(printf '%s\n' "$used") <(printf '%s\n' "$near" | sort) | grep . >/dev/null || { echo "$port"; return; }
  done
  fail "no free ports"
}

jars() {
  [ -d "$PEER_JARS/$1/lib" ] || PEER_VERSION=$1 "$PEER" fetch >&2
  echo "$PEER_JARS/$1/lib"
}

# Gives a Java process a home of its own: configuration, key-value table and logs of two servers must not mix.
java_home() { # FOLDER VERSION
  local lib
  lib=$(jars "$2")
  mkdir -p "$1/$2"
  [ -e "$1/$2/lib" ] || { ln -s "$lib" "$1/$2/lib"; cp -r "$lib/../conf" "$1/$2/conf"; }
}

running() { [ -n "${PID[$1]:-}" ] && kill -0 "${PID[$1]}" 2>/dev/null; }
connects() { (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

booted() { # NAME BOOT_LINE
  running "$1" || return 0
  grep -q "$2" "${OUT[$1]}" && connects "${PORT[$1]}"
}

# Starts `namesrv` or `broker` under NAME and waits for its boot line and its port.
launch() { # NAME namesrv|broker BOOT_LINE
  local name=$1 role=$2 home=$WORK/$1/home kind=${KIND[$1]} version
  STARTS[$name]=$((${STARTS[$name]:-0} + 1))
  OUT[$name]=$WORK/$name/${STARTS[$name]}.out
  version=${kind#java-}
  : >"${OUT[$name]}"
  if [ "$kind" = oxmq ]; then
    [ -x "$OXMQ_BIN" ] || fail "no binary at $OXMQ_BIN (build it, set OXMQ_BIN, or use TARGET=java)"
    local arguments=(-c "$WORK/$name/conf.properties")
    [ "$role" = namesrv ] || arguments=(-n "$NAMESRV_ADDR" "${arguments[@]}")
    mkdir -p "$home"
    HOME=$home "$OXMQ_BIN" "$role" "${arguments[@]}" >"${OUT[$name]}" 2>&1 </dev/null &
  else
    java_home "$home" "$version"
    local arguments=("${PORT[$name]}")
    [ "$role" = namesrv ] || arguments=("$NAMESRV_ADDR" "$WORK/$name/conf.properties")
    PEER_HOME=$home PEER_VERSION=$version PEER_HEAP=${PEER_HEAP:--Xms256m -Xmx512m} \
      "$PEER" "$role" "${arguments[@]}" >"${OUT[$name]}" 2>&1 </dev/null &
  fi
  PID[$name]=$!
  disown # else bash reports every SIGKILL
  wait_until "${BOOT_MAX:-60}" "$name ($kind $role) boots" booted "$name" "$3" || fail "$name did not boot"
  running "$name" || fail "$name ($kind $role) ended while it started"
}

kind_now() { if [ "$TARGET" = java ]; then echo "java-$JAVA_VERSION"; else echo "$TARGET"; fi; }

start_namesrv() {
  local name=${1:-ns}
  mkdir -p "$WORK/$name"
  KIND[$name]=$(kind_now)
  PORT[$name]=$(free_port)
  echo "listenPort=${PORT[$name]}" >"$WORK/$name/conf.properties"
  launch "$name" namesrv 'The Name Server boot success'
  NAMESRV_PID=${PID[$name]} NAMESRV_PORT=${PORT[$name]} NAMESRV_ADDR=127.0.0.1:${PORT[$name]}
}

broker_facts() { # NAME
  BROKER_PID=${PID[$1]} BROKER_PORT=${PORT[$1]} BROKER_ADDR=127.0.0.1:${PORT[$1]} BROKER_STORE=${STORE[$1]}
}

# A broker can print its boot line before the name server knows it: Java 5.3.3 skips its first registration when it has
# not yet found out that the name server is alive, and repeats it 10 s later. Asks GET_BROKER_CLUSTER_INFO (106).
registered() { # NAME
  local header='{"code":106,"flag":0,"language":"JAVA","opaque":1,"serializeTypeCurrentRPC":"JSON","version":475}' length answer
  exec 9<>"/dev/tcp/127.0.0.1/${NAMESRV_ADDR##*:}" || return 1
  printf "\\0\\0\\0\\x$(printf %x $((${#header} + 4)))\\0\\0\\0\\x$(printf %x ${#header})%s" "$header" >&9
  length=$((16#$(timeout 5 head -c 4 <&9 | od -An -tx1 | tr -d ' \n')))
  answer=$(timeout 5 head -c "$length" <&9 | tr -d '\0')
  exec 9>&-
  [[ $answer == *":${PORT[$1]}\""* ]]
}
wait_registered() { wait_until 45 "the name server knows $1" registered "$1" || fail "$1 is not registered"; }

# Later KEY=VALUE win over the defaults below, as the last line of a .properties file does.
start_broker() {
  local name=$1 setting
  shift
  mkdir -p "$WORK/$name"
  KIND[$name]=$(kind_now)
  PORT[$name]=$(free_port)
  STORE[$name]=$WORK/$name/store
  # A slave has the name of its master.
  BROKER_NAME[$name]=$name
  for setting in "$@"; do
    [[ $setting != brokerName=* ]] || BROKER_NAME[$name]=${setting#*=}
  done
  printf '%s\n' "brokerClusterName=DefaultCluster" "brokerName=$name" brokerId=0 brokerIP1=127.0.0.1 brokerIP2=127.0.0.1 \
    "listenPort=${PORT[$name]}" "haListenPort=$((PORT[$name] + 1))" "storePathRootDir=${STORE[$name]}" \
    "storePathCommitLog=${STORE[$name]}/commitlog" autoCreateTopicEnable=true diskMaxUsedSpaceRatio=95 "$@" >"$WORK/$name/conf.properties"
  launch "$name" broker "The broker\\[${BROKER_NAME[$name]}, .*boot success"
  wait_registered "$name"
  broker_facts "$name"
}

restart_broker() {
  local name=$1
  ! running "$name" || fail "$name still runs"
  [ -z "${2:-}" ] || KIND[$name]=$(TARGET=$2 kind_now)
  launch "$name" broker "The broker\\[${BROKER_NAME[$name]}, .*boot success"
  broker_facts "$name"
}

ended() { ! running "$1"; }
end_with() { # SIGNAL NAME
  running "$2" || return 0
  kill "-$1" "${PID[$2]}"
  wait_until 40 "$2 ends after SIG$1" ended "$2" || return 1
  PID[$2]=
}
stop() { end_with TERM "$1" || fail "$1 does not stop"; }
kill9() { end_with KILL "$1"; }

mqadmin() {
  java_home "$WORK/mqadmin" 5.3.3
  PEER_HOME=$WORK/mqadmin PEER_VERSION=5.3.3 NAMESRV_ADDR=$NAMESRV_ADDR "$PEER" mqadmin "$@"
}

build_java() { # VERSION
  local classes=$WORK/classes-$1
  [ ! -d "$classes" ] || return 0
  mkdir -p "$classes"
  javac -nowarn -XDsuppressNotes -encoding UTF-8 -d "$classes" -cp "$(jars "$1")/*" "$COMPAT"/java/src/compat/*.java
  cp "$COMPAT/java/logback.xml" "$classes"
}

# -Duser.home: logs and offsets of broadcasting consumers go to WORK.
client_java() { # VERSION ARGS...
  local version=$1
  shift
  ${EXEC:-} java -Xmx256m -XX:+UseSerialGC -Dfile.encoding=UTF-8 -Duser.home="$WORK/client" -cp "$WORK/classes-$version:$(jars "$version")/*" "$@"
}

# The program ends with the servers at the latest.
start_java() { # NAME ARGS...
  local name=$1
  shift
  KIND[$name]="client ${CLIENT:-5.3.3}"
  OUT[$name]=$WORK/$name.out
  : >>"${OUT[$name]}"
  # exec: a signal to PID must reach java, not a shell around it.
  EXEC=exec client_java "${CLIENT:-5.3.3}" "$@" >>"${OUT[$name]}" 2>&1 </dev/null &
  PID[$name]=$!
  disown
}

# compat.Load with the client of CLIENT (5.3.3), see its head.
load() { client_java "${CLIENT:-5.3.3}" compat.Load "$NAMESRV_ADDR" "$@"; }

# Starts `load ARGS` in the background until `end_load NAME`; output in WORK/NAME.load. Its standard input is a pipe that this
# shell holds open, so it also ends when the shell does.
declare -A LOAD=() LOAD_INPUT=()
start_load() { # NAME ARGS...
  local name=$1 input
  shift
  mkfifo "$WORK/$name.input"
  load "$@" <"$WORK/$name.input" >"$WORK/$name.load" 2>&1 &
  LOAD[$name]=$!
  exec {input}>"$WORK/$name.input"
  LOAD_INPUT[$name]=$input
}
end_load() { # NAME
  local input=${LOAD_INPUT[$1]}
  echo end >&"$input" # Servers started since hold the pipe too: closing it would not end it.
  exec {input}>&-
  wait "${LOAD[$1]}" || { cat "$WORK/$1.load" >&2; fail "load $1"; }
  rm "$WORK/$1.input"
}

# One checked fact of a suite; the suite ends with `summary`.
PASSED=0 FAILED=0
check() { # WHAT COMMAND...
  local what=$1
  shift
  if "$@"; then
    PASSED=$((PASSED + 1))
    echo "ok     $what"
  else
    FAILED=$((FAILED + 1))
    echo "FAILED $what"
  fi
}
summary() {
  echo "$PASSED passed, $FAILED failed"
  [ "$FAILED" = 0 ]
}

last_lines() { # NAME
  say "--- last lines of $1 (${KIND[$1]})"
  tail -n 15 "${OUT[$1]}" >&2 || true
  find "$WORK/$1/home" \( -name namesrv.log -o -name broker.log \) -size +0 -exec tail -n 15 {} + >&2 2>/dev/null || true
}

cleanup() {
  local status=$? name
  trap - EXIT
  if [ "$status" != 0 ]; then
    for name in "${!PID[@]}"; do [ -z "${PID[$name]}" ] || last_lines "$name"; done
  fi
  for name in "${!PID[@]}"; do ! running "$name" || kill9 "$name" || true; done
  if [ -n "${KEEP:-}" ]; then say "kept: $WORK"; else rm -rf "$WORK"; fi
  exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT TERM
