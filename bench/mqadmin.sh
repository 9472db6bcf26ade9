#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What one call of mqadmin costs: wall time and peak memory of `clusterList`, ours and Java's 5.3.3, in turn against the same broker.
#   mqadmin.sh [--calls 15] [--java-calls 3] [--server oxmq|java] [COMMAND ARGS...]
# Prints the medians, and the slowest and largest. Java is called as the script `mqadmin` calls it: with a heap of 1 GiB, of which the
# peak counts what was touched. One call of each goes before the measured ones, so that files are in memory. Half a minute, since each
# of Java's calls takes seconds.
# Needed: what compat/ needs. OXMQ_BIN names a release binary that is to be used instead of the one built here.
set -euo pipefail
export LC_ALL=C
usage() { sed -n '4,8p' "$0"; exit 2; }
calls=15 java_calls=3 server=oxmq
while [ $# -gt 0 ]; do
  case $1 in
    --calls) [[ ${2:-} =~ ^[1-9][0-9]*$ ]] || usage; calls=$2 ;;
    --java-calls) [[ ${2:-} =~ ^[1-9][0-9]*$ ]] || usage; java_calls=$2 ;;
    --server) [[ ${2:-} =~ ^(oxmq|java)$ ]] || usage; server=$2 ;;
    -*) usage ;;
    *) break ;;
  esac
  shift 2
done
[ $# -gt 0 ] || set -- clusterList
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [ -z "${OXMQ_BIN:-}" ]; then
  cargo build --release --locked -p oxmq
  OXMQ_BIN=${CARGO_TARGET_DIR:-$PWD/target}/release/oxmq
fi
export OXMQ_BIN
. compat/lib.sh
TARGET=$server
start_namesrv
start_broker broker-a
java_home "$WORK/tools" 5.3.3

# Microseconds of wall time of a call. KiB of peak memory of ours come from calls of their own, because `time` takes a moment of the
# few milliseconds; Java's seconds do not show it.
measure() { # NAME COMMAND...
  local name=$1 began
  shift
  began=${EPOCHREALTIME/./}
  "$@" >"$WORK/out" 2>&1 || { cat "$WORK/out" >&2; fail "$*"; }
  echo $((${EPOCHREALTIME/./} - began)) >>"$WORK/$name.us"
}
peak() { echo /usr/bin/time -f %M -a -o "$WORK/$1.kib"; } # NAME
ours=("$OXMQ_BIN" admin "$@" -n "$NAMESRV_ADDR")
# The options of the script `tools.sh`, which Java's `mqadmin` is.
java=(env ROCKETMQ_HOME="$WORK/tools/5.3.3" java -server -Xms1g -Xmx1g -Xmn256m -XX:MetaspaceSize=128m -XX:MaxMetaspaceSize=128m
  -Duser.home="$WORK/tools/home" -cp "$(jars 5.3.3)/*" org.apache.rocketmq.tools.command.MQAdminStartup "$@" -n "$NAMESRV_ADDR")
# The first of each brings files into memory, and shows that both print the same.
"${ours[@]}" >"$WORK/ours.out"
"${java[@]}" >"$WORK/java.out"
if [ "$(wc -l <"$WORK/ours.out")" != "$(wc -l <"$WORK/java.out")" ]; then
  cat "$WORK/java.out" "$WORK/ours.out" >&2
  fail "the two do not print the same number of lines"
fi
for ((call = 0; call < java_calls; call++)); do
  measure java $(peak java) "${java[@]}"
done
for ((call = 0; call < calls; call++)); do
  measure ours "${ours[@]}"
  $(peak ours) "${ours[@]}" >"$WORK/out"
done

row() { # NAME LABEL
  local time=($(sort -n "$WORK/$1.us")) memory=($(sort -n "$WORK/$1.kib"))
  awk -v label="$2" -v t="${time[${#time[@]} / 2]}" -v slow="${time[-1]}" -v m="${memory[${#memory[@]} / 2]}" -v most="${memory[-1]}" \
    'BEGIN { printf "| %s | %.1f ms | %.1f ms | %.1f MiB | %.1f MiB |\n", label, t / 1000, slow / 1000, m / 1024, most / 1024 }'
}
echo "\`mqadmin $*\`, server $server, $calls calls of ours, $java_calls of Java's"
echo "| | wall time, median | slowest | peak memory, median | largest |"
echo "|---|---|---|---|---|"
row ours "OxMQ"
row java "Java 5.3.3"
