#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Every call of cases.sh, compared line by line with what the Java mqadmin 5.3.3 prints about a Java broker (golden/, made by capture.sh).
#   golden.sh [DIRECTION...]     java-java, java-oxmq, ours-java, ours-oxmq; TOOL-SERVER. Default: the last three
#   golden.sh smoke-4.9.7        the Java mqadmin 4.9.7 against OxMQ: every command it has runs
#   ONLY=PATTERN                 only the cases whose name matches, as `topic*` or `@(topicList|topicRoute)*`; those before the state that it needs always run
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

# Ours says in one line what Java says with a stack trace, and fails where Java's exit code is 0. Messages that come from a server, or
# stand for one (CODE: n  DESC: text), must be there; others are worded anew.
as_ours() {
  awk '
    /^=== / { error = 0; failed = 0 }
    /^--- error$/ { error = 1; print; next }
    /^--- exit/ { error = 0; if (failed && $3 == 0) $3 = 1; print; next }
    error && /^error: / { failed = 1; if (match($0, /CODE: [0-9]+  DESC: .*/)) print "error: " substr($0, RSTART); else print "error: (in other words)"; next }
    { print }'
}
ours_error() {
  awk '
    /^--- error$/ { error = 1; print; next }
    /^--- exit/ { error = 0; print; next }
    error && /^mqadmin [A-Za-z]+: / { if (match($0, /CODE: [0-9]+  DESC: .*/)) print "error: " substr($0, RSTART); else print "error: (in other words)"; next }
    { print }'
}

compare() { # TOOL SERVER FOLDER
  local tool=$1 server=$2 folder=$3 name wanted=$WORK/wanted found=$WORK/found failed=0
  local differences=("$MQADMIN/golden/differs.$tool-$server.txt" "$MQADMIN/golden/differs.$tool.txt" "$MQADMIN/golden/differs.$server.txt")
  while read -r name; do
    local file=$MQADMIN/golden/${name%%.*}.txt
    section "$name" "$file" >"$wanted.java" || { echo "    no golden text: $name"; : >"$wanted.java"; }
    if [ "$tool" = ours ]; then as_ours <"$wanted.java" >"$wanted"; else cp "$wanted.java" "$wanted"; fi
    text "$folder" "$name" >"$found"
    if [ "$tool" = ours ]; then ours_error <"$found" >"$found.ours"; mv "$found.ours" "$found"; fi
    if section "$name" "${differences[@]}" >"$wanted.differs"; then
      # What was to differ and no longer does is to be taken off the list.
      if cmp -s "$wanted.differs" "$wanted"; then echo "    $name: the listed difference is none"; : >"$wanted"; else mv "$wanted.differs" "$wanted"; fi
    fi
    if cmp -s "$wanted" "$found"; then
      PASSED=$((PASSED + 1))
    else
      FAILED=$((FAILED + 1))
      echo "FAILED $tool-$server $name"
      diff -U 2 --label golden --label found "$wanted" "$found" | tail -n +3 | cut -c1-300 | head -"${DIFF_LINES:-40}" | sed 's/^/    /'
    fi
  done <"$folder/names"
}

direction() { # TOOL-SERVER
  local tool=${1%-*} server=${1##*-} folder=${RAW_FOLDER:-$WORK/raw}/$1
  rm -rf "$folder"
  TARGET=$server
  run_cases "$tool" "$folder"
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
