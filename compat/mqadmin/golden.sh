#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Every call of cases.sh, compared line by line with what the Java mqadmin 5.3.3 prints about a Java broker (golden/, made by capture.sh).
#   golden.sh [TOOL-SERVER...]   java-java, java-oxmq, ours-java, ours-oxmq. Default: the last three, JOBS=2 of them at a time
#   JAVA_VERSION=4.9.7           the same with Java's tool 4.9.7 (golden/4.9.7/): java-java, and java-oxmq, the default. Ours is like that of 5.3.3
#   ONLY=PATTERN                 only the cases whose name matches, as `topic*` or `@(topicList|topicRoute)*`
#   AGAIN=1                      with RAW: compares what was printed then, without asking again
#   RAW=FOLDER                   keeps what was printed in FOLDER/DIRECTION
# A deliberate difference stands, with its reason, in golden/differs.TOOL-SERVER.txt, differs.TOOL.txt or differs.SERVER.txt: a whole
# section in place of the golden one. A difference that is gone is an error too.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/suite.sh"
. "$MQADMIN/text.sh"

# Puts each section of texts into a file of its name in FOLDER; reasons, in the second line of a section, are left out.
sections() { # FOLDER
  mkdir -p "$1"
  awk -v folder="$1" '
    /^=== / { if (file) close(file); file = folder "/" substr($0, 5); first = 1; print >file; next }
    first && /^# / { first = 0; next }
    { first = 0; print >file }'
}

# The texts that are wanted from a tool about a server, a file for each in WORK/expected.
expect() { # TOOL SERVER
  local tool=$1 server=$2 list listed name
  golden_text() { if [ "$tool" = ours ]; then as_ours; else cat; fi; }
  rm -rf "$WORK/expected"
  find "$GOLDEN" -maxdepth 1 -name '*.txt' ! -name 'differs.*' -exec cat {} + | golden_text | sections "$WORK/expected"
  # The list that is more about this direction wins.
  for list in "$server" "$tool" "$tool-$server"; do
    [ -f "$GOLDEN/differs.$list.txt" ] || continue
    listed=$WORK/listed.$list
    if [ "$list" = "$server" ]; then golden_text <"$GOLDEN/differs.$list.txt"; else cat "$GOLDEN/differs.$list.txt"; fi | sections "$listed"
    for name in "$listed"/*; do
      name=${name##*/}
      if [ ! -f "$WORK/expected/$name" ]; then echo "no such call" >"$WORK/expected/$name"
      # What was to differ and no longer does is to be taken off the list.
      elif cmp -s "$listed/$name" "$WORK/expected/$name"; then echo "a listed difference that is none" >"$WORK/expected/$name"
      else cp "$listed/$name" "$WORK/expected/$name"; fi
    done
  done
}

compare() { # TOOL SERVER FOLDER
  local tool=$1 server=$2 folder=$3 name wanted found=$WORK/found
  expect "$tool" "$server"
  while read -r name; do
    wanted "$name" || continue
    wanted=$WORK/expected/$name
    [ -f "$wanted" ] || echo "no golden text" >"$wanted"
    if [ "$tool" = ours ]; then text "$folder" "$name" | ours_error; else text "$folder" "$name"; fi >"$found"
    if cmp -s "$wanted" "$found"; then
      PASSED=$((PASSED + 1))
    else
      FAILED=$((FAILED + 1))
      echo "FAILED $tool-$server $name"
      diff -U 2 --label golden --label found "$wanted" "$found" | tail -n +3 | cut -c1-300 | sed "${DIFF_LINES:-40}q" | sed 's/^/    /' || true
    fi
  done <"$folder/names"
  # A golden text or a listed difference of a call that is no longer made.
  for wanted in "$WORK/expected"/*; do
    name=${wanted##*/}
    wanted "$name" && ! grep -qxF "$name" "$folder/names" || continue
    FAILED=$((FAILED + 1))
    echo "FAILED $tool-$server $name: was not asked"
  done
}

direction() { # TOOL-SERVER
  local tool=${1%-*} server=${1##*-} folder=${RAW_FOLDER:-$WORK/raw}/$1
  [ "$tool" = java ] || [ "$TOOL_VERSION" = 5.3.3 ] || fail "our mqadmin is compared with 5.3.3"
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
if [ $# = 0 ]; then
  case $TOOL_VERSION in
    4.*) set -- java-oxmq ;;
    *) set -- ours-java java-oxmq ours-oxmq ;;
  esac
fi
if [ $# = 1 ]; then
  direction "$1"
else
  # Servers, folders and ids of one direction are nothing to the next; most of the time all of them wait.
  for run; do
    while [ "$(jobs -rp | wc -l)" -ge "${JOBS:-2}" ]; do wait -n || true; done
    { JAVA_VERSION=$TOOL_VERSION "$0" "$run" >"$WORK/$run.text" 2>&1 && touch "$WORK/$run.passed"; } &
  done
  wait
  status=0
  for run; do
    cat "$WORK/$run.text"
    [ -f "$WORK/$run.passed" ] || status=1
  done
  exit $status
fi
