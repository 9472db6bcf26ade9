#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# SQL92 filters: 20,000 random expressions with 4 messages each, malformed ones among them, through the classes of the Java
# broker 5.3.3 and through ours. Any difference fails.
#   run.sh [SEED]
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

seed=${1:-$RANDOM$RANDOM}
lib=$(jars 5.3.3)
javac -nowarn -encoding UTF-8 -d "$WORK" -cp "$lib/*" "$COMPAT/sql/Expressions.java"
echo "seed $seed"
java -Dfile.encoding=UTF-8 -cp "$WORK:$lib/*" Expressions "$seed" 20000 "$WORK/cases" "$WORK/java"
cargo run --quiet --manifest-path "$ROOT/Cargo.toml" -p oxmq-broker --example sql <"$WORK/cases" >"$WORK/oxmq"
[ "$(wc -l <"$WORK/oxmq")" = 20000 ] || fail "not every expression has an answer"
differences=$(paste "$WORK/java" "$WORK/oxmq" "$WORK/cases" | awk -F '\t' '$1 != $2')
if [ -n "$differences" ]; then
  head -n 20 <<<"$differences"
  fail "$(wc -l <<<"$differences") of 20000 expressions have other results than in Java (Java, ours, case)"
fi
echo "no difference"
