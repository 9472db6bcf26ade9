# SPDX-License-Identifier: Apache-2.0
# From what a call printed to the text that is compared. Sourced by capture.sh and golden.sh.
#
#   texts FOLDER       prints the texts of all calls in FOLDER, in the order of cases.sh: `=== NAME`, the arguments, standard output,
#                      `--- error` with standard error, `--- exit N`, `--- file` with the file it wrote
# Masked is only what no two runs have in common, each by a pattern of its own form, and as wide as it was, so that columns stay
# comparable: addresses, ids and folders by their names (facts.sed), times, measured durations and rates, random parts of ids.

# Java's stack traces, short: the message of the innermost cause, behind the class if there is no message. What is no trace stays.
errors() {
  awk '
    function flush() { if (open) print "error: " text; open = 0 }
    /^[ \t]+at |^[ \t]*\.\.\. [0-9]+ more/ { next }
    /^(For more information|See https:\/\/rocketmq)/ { next }
    /^Caused by: / || /^(Exception in thread "main" )?[a-z][A-Za-z0-9_]*(\.[A-Za-z0-9_$]+)+(: |$)/ {
      if ($0 !~ /^Caused by: /) flush()
      text = $0
      sub(/^Caused by: /, "", text)
      sub(/^Exception in thread "main" /, "", text)
      sub(/^[a-z][A-Za-z0-9_.$]*: /, "", text)
      open = 1
      next
    }
    open && /^$/ { next }
    open { text = text " " $0; next }
    { print }
    END { flush() }'
}

. "$MQADMIN/masks.sh"

# Times and what is measured, of any command.
COMMON='
s/20[0-9]{2}-[01][0-9]-[0-3][0-9] [0-2][0-9]:[0-5][0-9]:[0-5][0-9],[0-9]{3}/<time.................>/g
s/20[0-9]{2}-[01][0-9]-[0-3][0-9] [0-2][0-9]:[0-5][0-9]:[0-5][0-9]/<time............>/g
s/\b20[0-9]{2}[01][0-9][0-3][0-9][0-2][0-9][0-5][0-9][0-5][0-9][0-9]{3}\b/<time.........>/g
s/\b1[789][0-9]{11}\b/<epoch ms..>/g
s/\b20[0-9]{2}[01][0-9][0-3][0-9][0-2][0-9][0-5][0-9][0-5][0-9]\b/<second......>/g
s/127\.0\.0\.1:[3-6][0-9]{4}\b/<client.......>/g
'
masks() { # NAME
  local command=${1%%.*}
  printf '%s\n' "$COMMON" "${MASK[$command]:-}" "${MASK[$1]:-}"
}
masked() { # FOLDER NAME
  local how=${2%.err}
  sed -E -f "$1/facts.sed" | set_for LENGTHS "$how" lengths | sed -E -f <(masks "$2") | set_for ONCE "$how" once | set_for ANY_ORDER "$how" sort_lines |
    set_for PATHS "$how" paths
}
# Runs COMMAND if TABLE has something for the name or its command, with that as argument.
set_for() { # TABLE NAME COMMAND
  local -n table=$1
  local value=${table[$2]:-${table[${2%%.*}]:-}}
  if [ -n "$value" ]; then "$3" "$value"; else cat; fi
}
lengths() { awk '{ print $0 " |" length($0) }'; }
paths() {
  awk '
    { line = $0; sub(/^\t+/, "", line); sub(/,$/, "", line) }
    line ~ /^[}\]]/ { depth--; next }
    { path = ""; for (i = 1; i <= depth; i++) path = path key[i] "/"; print path line " " (match($0, /^\t+/) ? RLENGTH : 0) }
    line ~ /[{\[]$/ { name = line; sub(/^"/, "", name); sub(/":.*/, "", name); key[++depth] = name }' | LC_ALL=C sort
}
once() { awk -v pattern="$1" '$0 ~ pattern && seen[$0]++ { next } { print } $0 !~ pattern { split("", seen) }'; }
# Java prints in the order of a hash table; the head line stays.
sort_lines() {
  local head
  IFS= read -r head || return 0
  printf '%s\n' "$head"
  LC_ALL=C sort
}

text() { # FOLDER NAME
  local folder=$1 name=$2
  echo "=== $name"
  paste -sd ' ' "$folder/$name.args" | sed -E -f "$folder/facts.sed" | sed -E -f <(masks "$name")
  echo "--- output"
  if [ "$(cat "$folder/$name.rc")" = endless ]; then cut_loop "$name" <"$folder/$name.out"; else cat "$folder/$name.out"; fi | masked "$folder" "$name" | ended_line
  if [ -s "$folder/$name.err" ]; then
    echo "--- error"
    errors <"$folder/$name.err" | masked "$folder" "$name.err"
  fi
  echo "--- exit $(cat "$folder/$name.rc")"
  if [ -f "$folder/$name.file" ]; then
    echo "--- file"
    masked "$folder" "$name.file" <"$folder/$name.file" | ended_line
  fi
}
# An output that does not end with a line end says so.
ended_line() { sed -e '$a\' | cat; }
# The first rounds of a command that never ends.
cut_loop() { head -n "${ROUNDS[$1]:-1000}"; }

texts() { # FOLDER
  local name
  while read -r name; do text "$1" "$name"; done <"$1/names"
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
