#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A tool on another machine is refused what destroys, until adminAllowedNetworks of broker and name server names its network; sends and
# pulls from there always work. OxMQ only: Java takes everything from everybody.
#   access.sh
# The other machine is a network namespace behind a veth pair, so that the servers see an address that is neither loopback nor their own.
# The servers have a namespace, too: nothing of this machine's network is touched, and both are gone with this script.
# Needs root, or users who may make namespaces, and iproute2.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if [ -z "${ACCESS_APART:-}" ]; then
  namespace=(unshare -n)
  [ "$(id -u)" = 0 ] || namespace=(unshare -rn)
  "${namespace[@]}" ip link show lo >/dev/null || {
    echo "FAILED: ${namespace[*]} makes no network here: run this as root, or allow user namespaces, and install iproute2" >&2
    exit 1
  }
  # There is no way to the registry from inside.
  (. "$here/../lib.sh" && jars 5.3.3) >/dev/null
  ACCESS_APART=1 exec "${namespace[@]}" "$here/access.sh"
fi
. "$here/../lib.sh"
TARGET=oxmq
servers_ip=10.77.0.1 tools_ip=10.77.0.2

# The other machine lasts as long as this process.
unshare -n sleep infinity &
other=$!
PID[other]=$other KIND[other]=machine OUT[other]=/dev/null
disown
is_apart() { [ "$(readlink "/proc/$other/ns/net")" != "$(readlink /proc/self/ns/net)" ]; }
wait_until 10 "the other machine" is_apart
elsewhere() { nsenter -t "$other" -n env HOME="$WORK/tools" "$@"; }
ip link set lo up
ip link add servers type veth peer name tools netns "$other"
ip addr add "$servers_ip/24" dev servers
ip link set servers up
elsewhere ip addr add "$tools_ip/24" dev tools
elsewhere ip link set tools up

start_namesrv
start_broker access "brokerIP1=$servers_ip" defaultTopicQueueNums=4
names=$servers_ip:$NAMESRV_PORT broker=$servers_ip:$BROKER_PORT

# Both run our tool; what it says is in WORK/said.
there() { elsewhere timeout 30 "$OXMQ_BIN" admin "$@" -n "$names" >"$WORK/said" 2>&1 </dev/null; }
at_home() { # NAME_SERVER ARGS...
  HOME=$WORK/tools timeout 30 "$OXMQ_BIN" admin "${@:2}" -n "$1" >"$WORK/said" 2>&1 </dev/null
}
says() { grep -qF -- "$1" "$WORK/said" || { sed 's/^/    /' "$WORK/said"; return 1; }; }
done_there() { there "$@" || { sed 's/^/    /' "$WORK/said"; return 1; }; }
done_at_home() { at_home "$@" || { sed 's/^/    /' "$WORK/said"; return 1; }; }
told_how() { # WHAT
  says "$1 is refused to $tools_ip: it comes from another machine. Run the tool on this server's machine, or add $tools_ip to adminAllowedNetworks in"
}
refused() { # WHAT COMMAND...
  ! there "${@:2}" || { sed 's/^/    done: /' "$WORK/said"; return 1; }
  told_how "$1"
}
# All that the commands below would change, as a tool elsewhere sees it.
state() {
  local question
  for question in "topicList" "topicRoute -t orders" "topicRoute -t doomed" "getConsumerConfig -g doomed" "getBrokerConfig -b $broker" getNamesrvConfig; do
    # Unquoted: a question is a command with its arguments.
    done_there $question || return 1
    cat "$WORK/said"
  done
}
sends_and_pulls() { # TEXT
  done_there sendMessage -t orders -p "$1" && done_there consumeMessage -t orders && says "$1"
}
without_doomed() { done_there topicList && ! grep -qx doomed "$WORK/said"; }

# What a server calls it, and what a tool asks.
destructive=(
  "Taking queues or permissions from topic orders|updateTopic -b $broker -t orders -r 1 -w 1"
  "Taking permissions or retries from group doomed|updateSubGroup -b $broker -g doomed -s false"
  "INVOKE_BROKER_TO_RESET_OFFSET (222)|resetOffsetByTime -g doomed -t orders -s 0"
  "UPDATE_BROKER_CONFIG (25)|updateBrokerConfig -b $broker -k traceOn -v false"
  "CLEAN_EXPIRED_CONSUMEQUEUE (306)|cleanExpiredCQ -b $broker"
  "CLEAN_UNUSED_TOPIC (316)|cleanUnusedTopic -b $broker"
  "DELETE_EXPIRED_COMMITLOG (329)|deleteExpiredCommitLog -b $broker"
  "DELETE_SUBSCRIPTIONGROUP (207)|deleteSubGroup -b $broker -g doomed"
  "DELETE_TOPIC_IN_BROKER (215)|deleteTopic -c DefaultCluster -t doomed"
  "WIPE_WRITE_PERM_OF_BROKER (205)|wipeWritePerm -b access"
  "ADD_WRITE_PERM_OF_BROKER (327)|addWritePerm -b access"
  "PUT_KV_CONFIG (100)|updateKvConfig -s tests -k colour -v blue"
  "DELETE_KV_CONFIG (102)|deleteKvConfig -s tests -k colour"
  "UPDATE_NAMESRV_CONFIG (318)|updateNamesrvConfig -k orderMessageEnable -v true"
)
all_refused() { # STATE
  local line state
  state=$(state)
  for line in "${destructive[@]}"; do
    check "$1: refused: ${line#*|}" refused "${line%|*}" ${line#*|}
  done
  check "$1: nothing has changed" test "$(state)" = "$state"
}

echo "== as it is without a setting"
check "topics and groups are made from elsewhere" done_there updateTopic -c DefaultCluster -t orders -r 4 -w 4
for made in "updateTopic -c DefaultCluster -t doomed" "updateSubGroup -b $broker -g doomed"; do
  check "$made" done_there $made
done
check "messages come and go" sends_and_pulls first
all_refused "no network allowed"
java_home "$WORK/mqadmin" 5.3.3
elsewhere env PEER_HOME="$WORK/mqadmin" PEER_VERSION=5.3.3 NAMESRV_ADDR="$names" "$PEER" mqadmin deleteTopic -c DefaultCluster -t doomed \
  >"$WORK/said" 2>&1 || true
check "Java's tool is told so, too" told_how "DELETE_TOPIC_IN_BROKER (215)"
check "the machine of the servers may, by loopback" done_at_home "$NAMESRV_ADDR" updateKvConfig -s tests -k colour -v red
check "and by its own address" done_at_home "$names" updateBrokerConfig -b "$broker" -k longPollingEnable -v true

allow() { # NETWORKS
  check "adminAllowedNetworks=$1 at the broker" done_at_home "$names" updateBrokerConfig -b "$broker" -k adminAllowedNetworks -v "$1"
  check "adminAllowedNetworks=$1 at the name server" done_at_home "$names" updateNamesrvConfig -k adminAllowedNetworks -v "$1"
}
echo "== another network is allowed"
allow 10.78.0.0/16,192.168.0.0/16
all_refused "another network allowed"

echo "== its network is allowed"
allow 10.77.0.0/24
check "messages come and go" sends_and_pulls second
for line in "${destructive[@]}"; do
  check "done: ${line#*|}" done_there ${line#*|}
done
check "the topic is gone" without_doomed
for setting in "updateBrokerConfig -b $broker" updateNamesrvConfig; do
  there $setting -k adminAllowedNetworks -v 0.0.0.0/0 || true
  check "who was let in lets in nobody else: $setting" says "adminAllowedNetworks is changed from this machine only"
done
check "messages come and go afterwards" sends_and_pulls third
stop access
restart_broker access
wait_registered access
check "after a restart the network is still allowed" done_there updateBrokerConfig -b "$broker" -k traceOn -v true
summary
