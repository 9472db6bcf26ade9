#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Makes the golden texts: what the Java mqadmin of JAVA_VERSION (5.3.3 or 4.9.7) prints about a Java 5.3.3 broker with a known state.
#   capture.sh [RAW_FOLDER]
set -euo pipefail
TARGET=java
. "$(dirname "${BASH_SOURCE[0]}")/suite.sh"
. "$MQADMIN/text.sh"
raw=${1:-$WORK/raw}
run_cases java "$raw"
mkdir -p "$GOLDEN"
find "$GOLDEN" -maxdepth 1 -name '*.txt' ! -name 'differs.*' -delete
while read -r name; do text "$raw" "$name" >>"$GOLDEN/${name%%.*}.txt"; done <"$raw/names"
wc -lc "$GOLDEN"/*.txt | tail -1
