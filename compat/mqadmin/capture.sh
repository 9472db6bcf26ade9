#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Makes the golden texts: what the Java mqadmin 5.3.3 prints about a Java 5.3.3 broker with a known state.
#   capture.sh [RAW_FOLDER]
set -euo pipefail
TARGET=java JAVA_VERSION=5.3.3
. "$(dirname "${BASH_SOURCE[0]}")/suite.sh"
run_cases java "${1:-$WORK/raw}"
