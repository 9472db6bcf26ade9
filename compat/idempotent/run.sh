#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Orders are paid by two consumers of one group, whose handler runs once for a key (oxmq_client::idempotent), while one of the two is killed
# with SIGKILL and started again, KILLS times. Every kill brings what was not committed again, every start shares the queues anew, and every
# tenth order is sent twice. In the end each order is paid exactly once, in SQLite and in MariaDB.
# With lease, the effect is a line of a file and the keys are in SQLite. Then each order has its effect at least once; once more only if the one
# before was killed before it had marked the key, and not before its lease had ended; and never is an order handled by two at a time.
#   run.sh [ORDERS=100000] [KILLS=20] [PART...]     PART: sqlite, mariadb, lease, postgres; by default the first three
# The consumers are examples/idempotent of the client.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
orders=${1:-100000} kills=${2:-20}
shift $(($# < 2 ? $# : 2))
parts=("$@")
[ $# -gt 0 ] || parts=(sqlite mariadb lease)

features=sqlite,mysql
[[ " ${parts[*]} " != *" postgres "* ]] || features+=,postgres
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
start_lease() { URL=sqlite:$WORK/lease.db; }

count() { "$program" count "$URL"; } # orders=N and so on
fact() { tr ' ' '\n' | sed -n "s/^$1=//p"; }
paid() { [ "$(count | fact "$PAID")" -ge "$1" ]; }
# What comes again after a failure comes later; the group has nothing left when nothing is behind.
nothing_left() { mqadmin consumerProgress -g payments 2>/dev/null | grep -q 'Diff Total: 0$'; }
seen() { # before|again: what all consumers saw of it, without the last second of those that were killed
  awk -v name="$1" '{ n = 0; for (i = 1; i <= NF; i++) if (split($i, a, "=") == 2) { if (a[1] == "now" && a[2] < last) { sum += kept; kept = 0 }
    if (a[1] == "now") last = a[2]; if (a[1] == name) kept = a[2] } } END { print sum + kept }' "$WORK/one.out" "$WORK/two.out"
}

# What the file of effects tells (see leased.rs of the example), to which "killed PROCESS" is added when it is gone:
#   orders     that have an effect               repeated  effects of orders that had one
#   abandoned  begun by who was killed           together  begun or gone on with while another was at work on it
#   late       begun after it was done           early     begun less than the lease of 5 s after the one before had asked for it
effects() {
  awk '
    { key = $2; process = $3; ms = $4 }
    $1 == "killed" { dead[$2] = 1; next }
    $1 == "ask" { if (!((key, process) in asked)) asked[key, process] = ms; next }
    $1 == "begin" {
      before = owner[key]
      owner[key] = process
      if (key in done) late++
      else if (before in dead) { abandoned++; if (ms < asked[key, before] + 5000) early++ }
      else if (before) together++
      next
    }
    owner[key] != process { together++ }
    $1 == "effect" { if (effect[key]++) repeated++; else orders++ }
    $1 == "done" { done[key] = 1 }
    $1 == "failed" { owner[key] = ""; failed++ }
    END { printf "orders=%d repeated=%d abandoned=%d together=%d late=%d early=%d failed=%d\n", orders, repeated, abandoned, together, late, early, failed }
  ' "$WORK/effects"
}

for part in "${parts[@]}"; do
  echo "===== $part"
  start_namesrv "ns-$part"
  # Short levels: what comes again because databases were in conflict, or a lease has to end, need not be waited for.
  start_broker "b-$part" "messageDelayLevel=1s 1s 1s 1s 2s 2s 2s 3s 3s 3s 3s 3s 3s 3s 3s 3s 3s 3s"
  "start_$part"
  prepared=$URL way=(consume "$NAMESRV_ADDR" Payments "$URL") PAID=orders
  [[ $part != sqlite && $part != lease ]] || prepared+='?mode=rwc'
  [ "$part" != lease ] || way=(lease "$NAMESRV_ADDR" Payments "$WORK/effects" "$URL") PAID=keys
  "$program" prepare "$prepared"
  mqadmin updateTopic -b "$BROKER_ADDR" -t Payments -r 8 -w 8 >/dev/null
  rm -f "$WORK/one.out" "$WORK/two.out"
  consume() { start_program "$1" "$program" "${way[@]}"; }
  started=$SECONDS
  consume one
  consume two
  "$program" send "$NAMESRV_ADDR" Payments "$orders" >"$WORK/send.out" &
  sender=$!
  for kill in $(seq "$kills"); do
    wait_until 600 "order $((orders * kill / (kills + 1))) is paid" paid $((orders * kill / (kills + 1))) || fail "payments do not go on"
    victim=$([ $((kill % 2)) = 1 ] && echo one || echo two)
    process=${PID[$victim]}
    kill9 "$victim"
    [ "$part" != lease ] || echo "killed $process" >>"$WORK/effects"
    echo "kill $kill after $((SECONDS - started)) s: $(count)"
    consume "$victim"
  done
  wait "$sender" || fail "sending"
  cat "$WORK/send.out"
  wait_until 600 "all orders are paid" paid "$orders" || true
  wait_until 300 "everything is consumed" nothing_left || { mqadmin consumerProgress -g payments >&2; fail "messages are left"; }
  result=$(count)
  echo "after $((SECONDS - started)) s: $result; handled before: $(seen before), came again after a failure: $(seen again)"
  check "$part: every key is done" test "$(fact keys <<<"$result")" = "$orders"
  if [ "$part" = lease ]; then
    result=$(effects)
    echo "$result"
    check "lease: $orders orders have their effect" test "$(fact orders <<<"$result")" = "$orders"
    check "lease: no order is handled by two at a time" test "$(fact together <<<"$result")" = 0
    check "lease: none again once it is done" test "$(fact late <<<"$result")" = 0
    check "lease: none again before the lease of who was killed has ended" test "$(fact early <<<"$result")" = 0
    check "lease: kills found orders at work" test "$(fact abandoned <<<"$result")" -gt 0
  else
    check "$part: $orders orders are paid" test "$(fact orders <<<"$result")" = "$orders"
    check "$part: each exactly once" test "$(fact payments <<<"$result")" = "$orders"
    check "$part: the accounts say the same" test "$(fact on_accounts <<<"$result")" = "$orders"
  fi
  # The second messages of orders at least.
  check "$part: duplicates came" test "$(seen before)" -gt 0
  for name in one two; do end_with INT "$name" || fail "$name does not end"; done
  [ "$part" != mariadb ] || stop mariadb
  stop "b-$part"
  stop "ns-$part"
done
summary
