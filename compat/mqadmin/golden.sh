#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Every call of cases.sh, compared line by line with what the Java mqadmin 5.3.3 prints about a Java broker (golden/, made by capture.sh).
#   golden.sh [TOOL-SERVER...]   java-java, java-oxmq, ours-java, ours-oxmq. Default: the last three
#   golden.sh java-4.9.7-oxmq    the Java mqadmin 4.9.7 about OxMQ, compared with what it prints about Java 5.3.3 (golden/4.9.7/)
#   ONLY=PATTERN                 only the cases whose name matches, as `topic*` or `@(topicList|topicRoute)*`
#   AGAIN=1                      with RAW: compares what was printed then, without asking again
#   RAW=FOLDER                   keeps what was printed in FOLDER/DIRECTION
# A deliberate difference stands, with its reason, in golden/differs.TOOL-SERVER.txt, differs.TOOL.txt or differs.SERVER.txt: a whole
# section in place of the golden one. A difference that is gone is an error too.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/suite.sh"
. "$MQADMIN/text.sh"

section() { # NAME FILE...: the first section of that name in the files
  local name=$1 file
  shift
  for file; do
    [ -f "$file" ] || continue
    if grep -qxF "=== $name" "$file"; then
      awk -v head="=== $name" '$0 == head { on = 1 } on && /^=== / && $0 != head { exit } on && !/^# / { print }' "$file"
      return 0
    fi
  done
  return 1
}

# The text that is wanted from a tool about a server.
expected() { # TOOL SERVER NAME
  local tool=$1 server=$2 name=$3 texts=$MQADMIN/golden
  [ "$tool" != java-4.9.7 ] || texts=$MQADMIN/golden/4.9.7
  golden_text() { if [ "$tool" = ours ]; then as_ours; else cat; fi; }
  section "$name" "$texts/${name%%.*}.txt" | golden_text >"$WORK/golden" || { echo "    no golden text: $name"; : >"$WORK/golden"; }
  if section "$name" "$texts/differs.$tool-$server.txt" "$texts/differs.$tool.txt" >"$WORK/listed" ||
    { section "$name" "$texts/differs.$server.txt" >"$WORK/listed.java" && golden_text <"$WORK/listed.java" >"$WORK/listed"; }; then
    cmp -s "$WORK/listed" "$WORK/golden" || { cat "$WORK/listed"; return 0; }
    # What was to differ and no longer does is to be taken off the list.
    echo "a listed difference that is none"
  else
    cat "$WORK/golden"
  fi
}

compare() { # TOOL SERVER FOLDER
  local tool=$1 server=$2 folder=$3 name wanted=$WORK/wanted found=$WORK/found
  while read -r name; do
    wanted "$name" || continue
    expected "$tool" "$server" "$name" >"$wanted"
    text "$folder" "$name" | if [ "$tool" = ours ]; then ours_error; else cat; fi >"$found"
    if cmp -s "$wanted" "$found"; then
      PASSED=$((PASSED + 1))
    else
      FAILED=$((FAILED + 1))
      echo "FAILED $tool-$server $name"
      diff -U 2 --label golden --label found "$wanted" "$found" | tail -n +3 | cut -c1-300 | sed "${DIFF_LINES:-40}q" | sed 's/^/    /' || true
    fi
  done <"$folder/names"
}

direction() { # TOOL-SERVER
  local tool=${1%-*} server=${1##*-} folder=${RAW_FOLDER:-$WORK/raw}/$1
  if [ -z "${AGAIN:-}" ]; then
    rm -rf "$folder"
    TARGET=$server
    run_cases "$tool" "$folder"
  fi
  compare "$tool" "$server" "$folder"
  echo "$1: $PASSED passed, $FAILED failed, in $SECONDS s"
  [ "$FAILED" = 0 ]
}

RAW_FOLDER=${RAW:-}
[ $# -gt 0 ] || set -- java-oxmq ours-java ours-oxmq
if [ $# = 1 ]; then
  direction "$1"
else
  # Servers, folders and ids of one direction are nothing to the next.
  status=0
  for run; do "$0" "$run" || status=1; done
  exit $status
fi
