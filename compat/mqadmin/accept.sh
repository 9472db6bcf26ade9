#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Lists a deliberate difference: what a call printed in a run of golden.sh with RAW becomes what is wanted.
#   accept.sh RAW_FOLDER TOOL-SERVER LIST NAME... REASON     LIST: oxmq, ours, ours-oxmq...: the middle of golden/differs.LIST.txt
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/suite.sh"
. "$MQADMIN/text.sh"
raw=$1/$2 tool=${2%-*} file=$GOLDEN/differs.$3.txt reason=${*: -1}
for name in "${@:4:$#-4}"; do
  touch "$file"
  # In place of an older section of that name.
  awk -v head="=== $name" '/^=== / { skip = $0 == head } !skip { print }' "$file" >"$file.new"
  {
    cat "$file.new"
    text "$raw" "$name" | if [ "$tool" = ours ]; then ours_error; else cat; fi | sed "1a # $reason"
  } >"$file"
  rm "$file.new"
done
