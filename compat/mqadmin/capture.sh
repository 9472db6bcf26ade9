#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Makes the golden texts: what the Java mqadmin 5.3.3 prints about a Java 5.3.3 broker with a known state.
#   capture.sh [RAW_FOLDER]
set -euo pipefail
TARGET=java JAVA_VERSION=5.3.3
. "$(dirname "${BASH_SOURCE[0]}")/suite.sh"
. "$MQADMIN/text.sh"
RAW_FOLDER=${1:-$WORK/raw}
run_cases java "$RAW_FOLDER"
rm -f "$MQADMIN"/golden/[!d]*.txt "$MQADMIN"/golden/delete*.txt
while read -r name; do text "$RAW_FOLDER" "$name" >>"$MQADMIN/golden/${name%%.*}.txt"; done <"$RAW_FOLDER/names"
wc -lc "$MQADMIN"/golden/*.txt | tail -1
