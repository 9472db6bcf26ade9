#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The Rust client (crates/client/examples/suite) against real servers.
#   run.sh [PART...] [CASE...]     parts: cases failover secured slave; all without one. CASE: a part of the names of cases
# cases: one name server, two brokers. failover: one of two brokers is killed under load, and no send may fail.
# secured and slave are for Java servers only, since OxMQ has neither yet. secured: a broker with access control that takes
# nothing but TLS with certificates on both sides. slave: a slave whose master sends consumers to it, and is killed then.
# TARGET=java JAVA_VERSION=5.3.3|4.9.7 takes the Java servers. EXAMPLES: the folder with the programs `suite` and `cost`, else they are built.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
parts=() filters=()
for argument in "$@"; do
  case $argument in
    cases | failover | secured | slave) parts+=("$argument") ;;
    *) filters+=("$argument") ;;
  esac
done
if [ ${#parts[@]} = 0 ]; then
  parts=(cases)
  if [ ${#filters[@]} = 0 ]; then
    parts+=(failover)
    [ "$TARGET" != java ] || parts+=(secured slave)
  fi
fi
if [ -z "${EXAMPLES:-}" ]; then
  cargo build --manifest-path "$ROOT/Cargo.toml" -p oxmq-client --example suite --example cost --locked
  EXAMPLES=${CARGO_TARGET_DIR:-$ROOT/target}/debug/examples
fi
version=oxmq
[ "$TARGET" != java ] || version=$JAVA_VERSION
settings=(transactionTimeOut=3000 transactionCheckInterval=3000 traceTopicEnable=true timerWheelEnable=true enablePropertyFilter=true recallMessageEnable=true)
# Some cases want a panic.
suite() { RUST_BACKTRACE=0 "$EXAMPLES/suite" "$NAMESRV_ADDR" --version "$version" "$@"; }

cases() {
  check "the cases" suite "${filters[@]}"
}

failover() {
  local load broker
  for broker in client-a client-b; do
    mqadmin updateTopic -n "$NAMESRV_ADDR" -b "127.0.0.1:${PORT[$broker]}" -t failover -r 4 -w 4 >/dev/null
  done
  # It ends with an error at the first send that fails.
  "$EXAMPLES/cost" send "$NAMESRV_ADDR" failover 8 0 128 16 >"$WORK/failover.out" 2>&1 &
  load=$!
  sleep 3
  kill9 client-b
  check "no send fails when one of two brokers is killed" wait "$load"
  cat "$WORK/failover.out"
}

secured() {
  local folder=$WORK/certificates acl user=suite-account secret=12345678 tls
  "$EXAMPLES/suite" certificates "$folder"
  tls="-Dtls.test.mode.enable=false -Dtls.server.certPath=$folder/server.pem -Dtls.server.keyPath=$folder/server.key"
  tls+=" -Dtls.server.authClient=true -Dtls.server.trustCertPath=$folder/ca.pem -Dtls.server.need.client.auth=require"
  # The broker registers in plain (`tls.enable`), so the name server takes both.
  JAVA_TOOL_OPTIONS=$tls start_namesrv ns-secured
  if [ "${JAVA_VERSION%%.*}" = 4 ]; then
    acl=(aclEnable=true)
    java_home "$WORK/secured/home" "$JAVA_VERSION"
    printf '%s\n' accounts: "  - accessKey: $user" "    secretKey: '$secret'" "    admin: true" \
      >"$WORK/secured/home/$JAVA_VERSION/conf/plain_acl.yml"
  else
    # What 5.3 has in its place, with the same signature.
    local package=org.apache.rocketmq.auth
    acl=(authenticationEnabled=true authenticationProvider=$package.authentication.provider.DefaultAuthenticationProvider
      authenticationMetadataProvider=$package.authentication.provider.LocalAuthenticationMetadataProvider
      "initAuthenticationUser={\"username\":\"$user\",\"password\":\"$secret\"}"
      "innerClientAuthenticationCredentials={\"accessKey\":\"$user\",\"secretKey\":\"$secret\"}"
      authorizationEnabled=true authorizationProvider=$package.authorization.provider.DefaultAuthorizationProvider
      authorizationMetadataProvider=$package.authorization.provider.LocalAuthorizationMetadataProvider)
  fi
  # A broker that has just begun, and decrypts and checks every request, takes longer on a busy machine than the 200 ms after
  # which it refuses a send, and loses one that is one-way.
  JAVA_TOOL_OPTIONS="$tls -Dtls.server.mode=enforcing -Dtls.enable=false" start_broker secured "${settings[@]}" "${acl[@]}" \
    waitTimeMillsInSendQueue=20000
  check "the cases, signed and encrypted" suite --keys "$user:$secret" --tls "$folder" "${filters[@]}"
  stop secured
}

slave() {
  local slave=(slaveReadEnable=true accessMessageInMemoryMaxRatio=0)
  start_namesrv ns-slave
  start_broker pair brokerRole=ASYNC_MASTER "${slave[@]}"
  start_broker pair-slave brokerName=pair brokerId=1 brokerRole=SLAVE "${slave[@]}"
  check "who is behind reads from the slave" suite --slave alive
  kill9 pair
  check "the slave alone is read" suite --slave alone
  stop pair-slave
}

if [[ " ${parts[*]} " == *" cases "* || " ${parts[*]} " == *" failover "* ]]; then
  start_namesrv
  start_broker client-a "${settings[@]}"
  start_broker client-b "${settings[@]}"
fi
for part in cases failover; do
  [[ " ${parts[*]} " != *" $part "* ]] || $part
done
for broker in client-a client-b; do
  [ -z "${PID[$broker]:-}" ] || stop $broker
done
for part in secured slave; do
  [[ " ${parts[*]} " != *" $part "* ]] || $part
done
summary
