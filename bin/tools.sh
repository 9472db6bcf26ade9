#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs what tutorials run by the name of a Java class: the quickstart's producer and consumer, and mqadmin. With the binary beside this
# folder, else the one that cargo built, else the one on PATH. Options of the JVM are passed over.
self=$0
while [ -h "$self" ]; do
  link=$(readlink "$self")
  case $link in
    /*) self=$link ;;
    *) self=$(dirname "$self")/$link ;;
  esac
done
home=$(cd "$(dirname "$self")/.." && pwd) || exit 255
while :; do
  case ${1:-} in
    -Drocketmq.namesrv.addr=*) NAMESRV_ADDR=${1#*=} && export NAMESRV_ADDR && shift ;;
    -*) shift ;;
    *) break ;;
  esac
done
class=${1:-}
[ $# -eq 0 ] || shift
case $class in
  org.apache.rocketmq.example.quickstart.Producer) set -- quickstart producer ;;
  org.apache.rocketmq.example.quickstart.Consumer) set -- quickstart consumer ;;
  org.apache.rocketmq.tools.command.MQAdminStartup) set -- admin "$@" ;;
  *)
    [ -n "$class" ] && echo "tools.sh: there is no class $class here" >&2
    echo "Usage: tools.sh org.apache.rocketmq.example.quickstart.Producer | org.apache.rocketmq.example.quickstart.Consumer | org.apache.rocketmq.tools.command.MQAdminStartup ARGS" >&2
    exit 1 ;;
esac
for oxmq in "$home/oxmq" "$home/target/release/oxmq" "$(command -v oxmq)"; do
  [ -f "$oxmq" ] && [ -x "$oxmq" ] && exec "$oxmq" "$@"
done
echo "tools.sh: no oxmq in $home, in $home/target/release or on PATH; build it with: cargo build --release" >&2
exit 255
