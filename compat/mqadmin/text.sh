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
# Sets `masks` to the arguments of sed for a name: most calls need one process only, and there are hundreds.
masks_of() { # NAME
  masks=(-e "$COMMON" -e "${MASK[${1%%.*}]:-}" -e "${MASK[$1]:-}")
}
masked() { # FOLDER NAME
  if [[ $TOOL_VERSION == 4.* ]]; then mask_and_arrange "$@" | properties; else mask_and_arrange "$@"; fi
}
mask_and_arrange() { # FOLDER NAME
  local facts=$1/facts.sed how=${2%.err} masks value
  masks_of "$2"
  if setting LENGTHS "$how"; then
    sed -E -f "$facts" | lengths | sed -E "${masks[@]}" | arranged "$how"
  elif setting PATHS "$how" || setting ANY_ORDER "$how" || setting ONCE "$how" || setting IN_ORDER "$how"; then
    sed -E -f "$facts" "${masks[@]}" | arranged "$how"
  else
    sed -E -f "$facts" "${masks[@]}"
  fi
}
arranged() { # NAME
  if setting PATHS "$1"; then paths
  elif setting ANY_ORDER "$1"; then sort_lines
  elif setting ONCE "$1"; then once "$value" | if setting IN_ORDER "$1"; then in_order "$value"; else cat; fi
  elif setting IN_ORDER "$1"; then in_order "$value"
  else cat; fi
}
# Sets `value` to what TABLE has for the name or its command; fails if it has nothing.
setting() { # TABLE NAME
  local -n table=$1
  value=${table[$2]:-${table[${2%%.*}]:-}}
  [ -n "$value" ]
}
in_order() {
  awk -v pattern="$1" '
    function flush(  i, j, line) {
      for (i = 2; i <= n; i++) { line = row[i]; for (j = i - 1; j > 0 && row[j] > line; j--) row[j + 1] = row[j]; row[j + 1] = line }
      for (i = 1; i <= n; i++) print row[i]
      n = 0
    }
    $0 ~ pattern { row[++n] = $0; next }
    { flush(); print }
    END { flush() }'
}
# A 4.x tool puts the properties of a message into a hash table small enough for their order to depend on that in the message, which means nothing.
properties() {
  awk '
    match($0, /[Pp]roperties(=|: +)\{[^}]*\}/) {
      text = substr($0, RSTART, RLENGTH)
      open = index(text, "{")
      n = split(substr(text, open + 1, length(text) - open - 1), row, ", ")
      for (i = 2; i <= n; i++) { line = row[i]; for (j = i - 1; j > 0 && row[j] > line; j--) row[j + 1] = row[j]; row[j + 1] = line }
      sorted = substr(text, 1, open)
      for (i = 1; i <= n; i++) sorted = sorted (i > 1 ? ", " : "") row[i]
      $0 = substr($0, 1, RSTART - 1) sorted "}" substr($0, RSTART + RLENGTH)
    }
    { print }'
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
  local folder=$1 name=$2 masks code
  masks_of "$name"
  read -r code <"$folder/$name.rc"
  echo "=== $name"
  paste -sd ' ' "$folder/$name.args" | sed -E -f "$folder/facts.sed" "${masks[@]}"
  echo "--- output"
  if [ "$code" = endless ]; then head -n "${ROUNDS[$name]:-1000}" "$folder/$name.out" | masked "$folder" "$name" | ended_line
  elif [ -s "$folder/$name.out" ]; then masked "$folder" "$name" <"$folder/$name.out" | ended_line; fi
  if [ -s "$folder/$name.err" ]; then
    echo "--- error"
    errors <"$folder/$name.err" | masked "$folder" "$name.err"
  fi
  echo "--- exit $code"
  if [ -f "$folder/$name.file" ]; then
    echo "--- file"
    masked "$folder" "$name.file" <"$folder/$name.file" | ended_line
  fi
}
# Gives the last line its end, if it has none.
ended_line() { sed -e '$a\'; }

texts() { # FOLDER
  local name
  while read -r name; do text "$1" "$name"; done <"$1/names"
}

# Ours says in one line what Java says with a stack trace, and fails where Java's exit code is 0. What a server answered (code and text) must
# be there; the rest is worded anew. Both become `error: CODE TEXT` or `error: (in other words)`; two lines of ours remain two lines.
as_ours() {
  awk '
    /^=== / { error = 0; failed = 0 }
    /^--- error$/ { error = 1; print; next }
    /^--- exit/ { error = 0; if (failed && $3 == 0) $3 = 1; print; next }
    error && /^error: / {
      failed = 1
      if (match($0, /CODE: [0-9]+  DESC: .*/)) {
        line = substr($0, RSTART + 6, RLENGTH - 6)
        sub(/  DESC: +/, " ", line)
        sub(/ BROKER: <broker[.]+>$/, "", line)
        print "error: " line
      } else print "error: (in other words)"
      next
    }
    { print }'
}
ours_error() {
  awk '
    /^--- error$/ { error = 1; print; next }
    /^--- exit/ { error = 0; print; next }
    error && /^(mqadmin [A-Za-z]+: |<broker[.]+> answered |<namesrv[.]+> answered )/ {
      if (match($0, /answered [A-Z_0-9]+ \([0-9]+\): .*/)) {
        line = substr($0, RSTART, RLENGTH)
        sub(/^answered [A-Z_0-9]+ \(/, "", line)
        sub(/\): +/, " ", line)
        sub(/ See https:\/\/rocketmq.*/, "", line)
        sub(/ BROKER: <broker[.]+>$/, "", line)
        print "error: " line
      } else print "error: (in other words)"
      next
    }
    { print }'
}
