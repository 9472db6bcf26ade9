#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Makes the golden texts: what the Java mqadmin prints about a Java 5.3.3 broker with a known state. That of 4.9.7 goes to golden/4.9.7.
#   capture.sh 5.3.3|4.9.7 [RAW_FOLDER]
set -euo pipefail
TARGET=java JAVA_VERSION=5.3.3
. "$(dirname "${BASH_SOURCE[0]}")/suite.sh"
. "$MQADMIN/text.sh"
case ${1:-} in
  5.3.3) tool=java golden=$MQADMIN/golden ;;
  4.9.7) tool=java-4.9.7 golden=$MQADMIN/golden/4.9.7 ;;
  *) sed -n 3,4p "$0"; exit 2 ;;
esac
raw=${2:-$WORK/raw}
run_cases "$tool" "$raw"
mkdir -p "$golden"
find "$golden" -maxdepth 1 -name '*.txt' ! -name 'differs.*' -delete
while read -r name; do text "$raw" "$name" >>"$golden/${name%%.*}.txt"; done <"$raw/names"
wc -lc "$golden"/*.txt | tail -1
