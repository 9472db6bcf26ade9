#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Orders are paid by two consumers of one group, whose handler runs once for a key (oxmq_client::idempotent), while one of the two is killed
# with SIGKILL and started again, KILLS times. Every kill brings what was not committed again, every start shares the queues anew, and every
# tenth order is sent twice. In the end each order is paid exactly once, in SQLite and in MariaDB.
#   run.sh [ORDERS=100000] [KILLS=20] [DATABASE...]     DATABASE: sqlite, mariadb, postgres; by default the first two
# The consumers are examples/idempotent of the client.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
orders=${1:-100000} kills=${2:-20}
shift $(($# < 2 ? $# : 2))
databases=("$@")
[ $# -gt 0 ] || databases=(sqlite mariadb)

features=sqlite,mysql
[[ " ${databases[*]} " != *" postgres "* ]] || features+=,postgres
(cd "$ROOT" && cargo build --locked -q -p oxmq-client --features "$features" --example idempotent)
program=${CARGO_TARGET_DIR:-$ROOT/target}/debug/examples/idempotent

start_program() { # NAME COMMAND...
  local name=$1
  shift
  KIND[$name]=program
  OUT[$name]=$WORK/$name.out
  "$@" >>"${OUT[$name]}" 2>>"$WORK/$name.err" </dev/null &
  PID[$name]=$!
  disown
}

start_mariadb() { # sets URL
  local data=$WORK/mariadb port
  port=$(free_port)
  mkdir -p "$data"
  mariadb-install-db --no-defaults --user="$(id -un)" --datadir="$data" --auth-root-authentication-method=normal --skip-test-db >"$data.log" 2>&1 ||
    { tail "$data.log" >&2; fail "mariadb-install-db"; }
  start_program mariadb "$(PATH=$PATH:/usr/sbin command -v mariadbd)" --no-defaults --user="$(id -un)" --datadir="$data" --socket="$data/socket" --pid-file="$data/pid" \
    --port="$port" --bind-address=127.0.0.1 --skip-log-bin
  asks() { mariadb --no-defaults -u root -S "$data/socket" -e "$1" >/dev/null 2>&1; }
  wait_until 60 "MariaDB answers" asks "SELECT 1" || fail "MariaDB does not start"
  asks "CREATE DATABASE shop; CREATE USER shop@'127.0.0.1' IDENTIFIED BY 'shop'; GRANT ALL ON shop.* TO shop@'127.0.0.1'" || fail "no database"
  URL=mysql://shop:shop@127.0.0.1:$port/shop
}

# URL is that of an empty database that somebody else runs.
start_postgres() { URL=${OXMQ_TEST_POSTGRES_URL:?names the database}; }
start_sqlite() { URL=sqlite:$WORK/shop.db; }

count() { "$program" count "$URL"; } # orders=N and so on
fact() { tr ' ' '\n' | sed -n "s/^$1=//p"; }
paid() { [ "$(count | fact orders)" -ge "$1" ]; }
# What comes again after a failure comes later; the group has nothing left when nothing is behind.
nothing_left() { mqadmin consumerProgress -g payments 2>/dev/null | grep -q 'Diff Total: 0$'; }
seen() { # before|again: what all consumers saw of it, without the last second of those that were killed
  awk -v name="$1" '{ n = 0; for (i = 1; i <= NF; i++) if (split($i, a, "=") == 2) { if (a[1] == "now" && a[2] < last) { sum += kept; kept = 0 }
    if (a[1] == "now") last = a[2]; if (a[1] == name) kept = a[2] } } END { print sum + kept }' "$WORK/one.out" "$WORK/two.out"
}

for database in "${databases[@]}"; do
  echo "===== $database"
  start_namesrv "ns-$database"
  # Short levels: what comes again because databases were in conflict need not be waited for.
  start_broker "b-$database" "messageDelayLevel=1s 1s 1s 1s 2s 2s 2s 3s 3s 3s 3s 3s 3s 3s 3s 3s 3s 3s"
  "start_$database"
  prepared=$URL
  [ "$database" != sqlite ] || prepared+='?mode=rwc'
  "$program" prepare "$prepared"
  mqadmin updateTopic -b "$BROKER_ADDR" -t Payments -r 8 -w 8 >/dev/null
  rm -f "$WORK/one.out" "$WORK/two.out"
  consume() { start_program "$1" "$program" consume "$NAMESRV_ADDR" Payments "$URL"; }
  started=$SECONDS
  consume one
  consume two
  "$program" send "$NAMESRV_ADDR" Payments "$orders" >"$WORK/send.out" &
  sender=$!
  for kill in $(seq "$kills"); do
    wait_until 600 "order $((orders * kill / (kills + 1))) is paid" paid $((orders * kill / (kills + 1))) || fail "payments do not go on"
    victim=$([ $((kill % 2)) = 1 ] && echo one || echo two)
    kill9 "$victim"
    echo "kill $kill after $((SECONDS - started)) s: $(count)"
    consume "$victim"
  done
  wait "$sender" || fail "sending"
  cat "$WORK/send.out"
  wait_until 600 "all orders are paid" paid "$orders" || true
  wait_until 300 "everything is consumed" nothing_left || { mqadmin consumerProgress -g payments >&2; fail "messages are left"; }
  result=$(count)
  echo "after $((SECONDS - started)) s: $result; handled before: $(seen before), came again after a failure: $(seen again)"
  check "$database: $orders orders are paid" test "$(fact orders <<<"$result")" = "$orders"
  check "$database: each exactly once" test "$(fact payments <<<"$result")" = "$orders"
  check "$database: the accounts say the same" test "$(fact on_accounts <<<"$result")" = "$orders"
  check "$database: every key is done" test "$(fact keys <<<"$result")" = "$orders"
  # The second messages of orders at least.
  check "$database: duplicates came" test "$(seen before)" -gt 0
  for name in one two; do end_with INT "$name" || fail "$name does not end"; done
  [ "$database" != mariadb ] || stop mariadb
  stop "b-$database"
  stop "ns-$database"
done
summary
