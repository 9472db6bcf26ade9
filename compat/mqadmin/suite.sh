# SPDX-License-Identifier: Apache-2.0
# Asks a mqadmin, Java's or ours, all of cases.sh against a server that has the state of java/State.java. Sourced by capture.sh and golden.sh.
#
#   run_cases TOOL FOLDER   TOOL is java or ours; the server is that of TARGET. FOLDER gets, for every call, NAME.args,
#                           NAME.out, NAME.err, NAME.rc (the exit code; `endless` when it was ended) and NAME.file (what it wrote), and
#                           facts.sed, which puts names for the addresses and ids of this run.
#   TOOL_VERSION, GOLDEN    Java's tool is that of JAVA_VERSION, and where its texts are; Java's servers are 5.3.3, whose answers OxMQ gives
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
MQADMIN=$COMPAT/mqadmin
TOOL_VERSION=$JAVA_VERSION JAVA_VERSION=5.3.3
case $TOOL_VERSION in
  5.3.3) GOLDEN=$MQADMIN/golden ;;
  4.9.7) GOLDEN=$MQADMIN/golden/4.9.7 ;;
  *) fail "no golden texts of $TOOL_VERSION" ;;
esac
declare -A UNIQUE=() OFFSET_ID=()
LAST='' STATE_IS_BUILT=''

# Compiles java/ against the jars of a version; State and Batch are for 5.3.3, Batch for 4.9.7 too.
build_driver() { # VERSION
  local classes=$WORK/driver-$1 sources=("$MQADMIN/java/Batch.java")
  [ ! -d "$classes" ] || return 0
  mkdir -p "$classes"
  [ "$1" != 5.3.3 ] || sources+=("$MQADMIN/java/State.java")
  javac -nowarn -XDsuppressNotes -encoding UTF-8 -d "$classes" -cp "$(jars "$1")/*" "${sources[@]}"
  cp "$COMPAT/java/logback.xml" "$classes"
}

# Becomes Java, in the folder that mqadmin writes into: to be called in the background, whose process is then Java.
java_tool() { # VERSION [-Dx=y]... CLASS ARGS...
  local version=$1
  shift
  java_home "$WORK/tools" "$version"
  cd "$PLACE"
  ROCKETMQ_HOME=$WORK/tools/$version exec java -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dfile.encoding=UTF-8 \
    -Duser.home="$WORK/tools/home" -cp "$WORK/driver-$version:$(jars "$version")/*" "$@"
}

# All calls of Java go through one JVM.
start_batch() {
  mkfifo "$WORK/calls" "$WORK/answers"
  java_tool "$TOOL_VERSION" -Djava.security.manager=allow Batch "$RAW" <"$WORK/calls" >"$WORK/answers" 2>"$WORK/batch.err" &
  BATCH=$!
  PID[batch]=$BATCH KIND[batch]=mqadmin OUT[batch]=$WORK/batch.err
  disown
  exec {CALLS}>"$WORK/calls" {ANSWERS}<"$WORK/answers"
}
end_batch() {
  echo >&"$CALLS" # The state's process holds the pipe too: closing it would not end it.
  exec {CALLS}>&- {ANSWERS}<&-
  wait_until 20 "the end of mqadmin's process" ended batch || kill9 batch
}

call_java() { # NAME ARGS...
  local name=$1 answer line
  line=$(printf '%s\t' "$@")
  printf '%s\n' "${line%$'\t'}" >&"$CALLS"
  if ! read -r -t 40 answer <&"$ANSWERS"; then
    cat "$WORK/batch.err" >&2
    say "mqadmin does not end: $*"
    kill -9 "$BATCH" || true
    exec {CALLS}>&- {ANSWERS}<&-
    rm "$WORK/calls" "$WORK/answers"
    start_batch
    echo hangs >"$RAW/$name.rc"
    return 0
  fi
  [ "$answer" = "$name" ] || fail "mqadmin answered $answer instead of $name"
}

ask_raw() { # NAME ARGS...
  local name=$1
  LAST=$name
  ! skipped "$name" || return 0
  echo "$name" >>"$RAW/names"
  printf '%s\n' "${@:2}" >"$RAW/$name.args"
  case $TOOL in
    java) call_java "$@" ;;
    ours) run_ours 60 "$@" ;;
  esac
}
run_ours() { # SECONDS NAME ARGS...
  local seconds=$1 name=$2 status=0
  shift 2
  (LIMIT="timeout -k 5 $seconds" ours "$@") >"$RAW/$name.out" 2>"$RAW/$name.err" </dev/null || status=$?
  echo "$status" >"$RAW/$name.rc"
}
# Becomes ours, in the folder that mqadmin writes into.
ours() { # ARGS...
  cd "$PLACE"
  HOME=$WORK/tools/home exec ${LIMIT:-} "$OXMQ_BIN" admin "$@"
}
ask() { # NAME ARGS...
  ask_raw "$1" "${1%%.*}" -n "$NAMESRV_ADDR" "${@:2}"
}
# Of what only tools of another version can be asked there is no answer.
ask4() { version_ask 4 "$@"; }
ask5() { version_ask 5 "$@"; }
version_ask() { # MAJOR NAME ARGS...
  LAST=''
  [ "${TOOL_VERSION%%.*}" != "$1" ] || ask "${@:2}"
}
# Java's loops know no end, and a thread cannot be killed: a process of its own. It is ended when it has printed what is compared (ROUNDS),
# or after SECONDS if that is not known.
ask_while() { # SECONDS NAME ARGS...
  local seconds=$1 name=$2 status=0 call=("${2%%.*}" -n "$NAMESRV_ADDR" "${@:3}") process
  LAST=$name
  ! skipped "$name" || return 0
  echo "$name" >>"$RAW/names"
  printf '%s\n' "${call[@]}" >"$RAW/$name.args"
  case $TOOL in
    java) java_tool "$TOOL_VERSION" org.apache.rocketmq.tools.command.MQAdminStartup "${call[@]}" >"$RAW/$name.out" 2>"$RAW/$name.err" </dev/null & ;;
    ours) ours "${call[@]}" >"$RAW/$name.out" 2>"$RAW/$name.err" </dev/null & ;;
  esac
  process=$!
  printed() { ! kill -0 "$process" 2>/dev/null || [ "$(wc -l <"$RAW/$name.out")" -ge "${ROUNDS[$name]}" ]; }
  if [ -n "${ROUNDS[$name]:-}" ]; then
    wait_until 40 "the lines of $name" printed || true
  else
    sleep "$seconds"
    [ "$TOOL" = ours ] || sleep 2 # Java's start
  fi
  if kill "$process" 2>/dev/null; then status=endless; fi
  wait "$process" 2>/dev/null || [ "$status" = endless ] || status=$?
  echo "$status" >"$RAW/$name.rc"
}
and_file() { # FILE
  [ -n "$LAST" ] && ! skipped "$LAST" || return 0
  if [ -f "$1" ]; then cp "$1" "$RAW/$LAST.file"; else echo "no file" >"$RAW/$LAST.file"; fi
}
# The last call wrote a message's body to the file that it names.
body_file() { [ ! -f "$RAW/$LAST.out" ] || sed -n 's/^Message Body Path: *//p' "$RAW/$LAST.out"; }
# The last call of consumerStatus wrote what the client answered to the file in the last column.
last_file() { [ ! -f "$RAW/$LAST.out" ] || echo "$PLACE/$(awk '$1 == 1 { print $4 }' "$RAW/$LAST.out")"; }

# Only some cases: ONLY is a pattern for names.
wanted() { [[ $1 == ${ONLY:-*} ]]; }
# What the state needs is asked always.
skipped() { ! wanted "$1" && { [ -n "$STATE_IS_BUILT" ] || [[ $1 != update* ]]; }; }

build_state() {
  mkfifo "$WORK/state.input"
  java_tool 5.3.3 State "$NAMESRV_ADDR" <"$WORK/state.input" >"$WORK/state.out" 2>&1 &
  PID[state]=$!
  KIND[state]=client OUT[state]=$WORK/state.out
  exec {STATE_INPUT}>"$WORK/state.input"
  disown
  state_there() { ! running state || grep -qx ready "$WORK/state.out"; }
  wait_until 120 "the state" state_there || fail "the state"
  running state || { cat "$WORK/state.out" >&2; fail "the state"; }
  local key unique offset
  while read -r key unique offset; do
    [ -n "$offset" ] || continue
    UNIQUE[$key]=$unique OFFSET_ID[$key]=$offset
    printf 's/%s/%s/g\n' "$unique" "$(pad 32 "id-of-$key")" "$offset" "$(pad 32 "offset-id-of-$key")" >>"$RAW/facts.sed"
  done <"$WORK/state.out"
  hold_pulls
  STATE_IS_BUILT=1
  # The first index comes a second after the messages.
  sleep 2
}
# A consumer learns that messages were passed over when its pull is answered. As long as the state is built pulls are held for a second;
# from here on as by default. UPDATE_BROKER_CONFIG (25), without a tool that would join groups.
hold_pulls() {
  local header='{"code":25,"flag":0,"language":"JAVA","opaque":1,"serializeTypeCurrentRPC":"JSON","version":475}' body='longPollingEnable=true' answer
  exec 9<>"/dev/tcp/127.0.0.1/$BROKER_PORT"
  printf "\\0\\0\\0\\x$(printf %x $((${#header} + ${#body} + 4)))\\0\\0\\0\\x$(printf %x ${#header})%s%s" "$header" "$body" >&9
  answer=$(timeout 5 head -c 8 <&9 | od -An -tx1 | tr -d ' \n')
  answer=$(timeout 5 head -c $((16#${answer:8})) <&9)
  exec 9>&-
  [[ $answer =~ '"code":0'[,}] ]] || fail "longPollingEnable: $answer"
}
pad() { # WIDTH TEXT: <TEXT...>, as wide as what it stands for, so that columns keep their places
  local text="<$2"
  while [ ${#text} -lt $(($1 - 1)) ]; do text+=.; done
  printf '%s>' "$text"
}

run_cases() { # TOOL FOLDER
  TOOL=$1 RAW=$2
  PLACE=$WORK/place
  mkdir -p "$RAW" "$PLACE"
  : >"$RAW/names"
  build_driver 5.3.3
  build_driver "$TOOL_VERSION"
  start_namesrv
  start_broker broker-a traceTopicEnable=true longPollingEnable=false
  {
    printf 's|%s|%s|g\n' "$BROKER_ADDR" "$(pad 15 broker)" "$NAMESRV_ADDR" "$(pad 15 namesrv)"
    printf 's|%s|<work>|g\n' "$WORK"
  } >"$RAW/facts.sed"
  [ "$TOOL" = ours ] || start_batch
  . "$MQADMIN/cases.sh"
  [ "$TOOL" = ours ] || end_batch
}
