#!/usr/bin/env bash
# `kennel train --hosts a:1,b:1` over two network namespaces: two "hosts" on one machine, each with its own
# loopback and address, joined by a pair of virtual cables. What stands in for ssh enters the other namespace.
#
#   tests/hosts.sh [KENNEL] [LIBKENNEL_MPI]
#
# Compares the model with that of one instance, and takes one host away during the features phase and during
# the head. Needs root, ip, mpirun, and the library built with
# `cargo build --release -p kennel-mpi --features mpi`; says so and ends with 0 where one is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
KENNEL=$(realpath "${1:-target/release/kennel}")
LIBRARY=$(realpath -m "${2:-target/release/libkennel_mpi.so}")
skip() { echo "hosts: skipped, $1"; exit 0; }
[ "$(id -u)" = 0 ] || skip "network namespaces need root"
for tool in ip mpirun; do command -v "$tool" >/dev/null || skip "there is no $tool"; done
[ -x "$KENNEL" ] || skip "there is no $KENNEL"
[ -e "$LIBRARY" ] && grep -q kennel_mpi_abi "$LIBRARY" || skip "$LIBRARY is not there, or without MPI"
ip netns add kennel-probe 2>/dev/null || skip "no network namespaces can be made here"
ip netns del kennel-probe

WORK=$(mktemp -d)
A=kennel-a-$$ B=kennel-b-$$
cleanup() {
    for space in "$A" "$B"; do
        ip netns pids "$space" 2>/dev/null | xargs -r kill -9 2>/dev/null || true
        ip netns del "$space" 2>/dev/null || true
    done
    rm -rf "$WORK"
}
trap cleanup EXIT

ip netns add "$A"; ip netns add "$B"
ip link add kennel-a netns "$A" type veth peer name kennel-b netns "$B"
ip -n "$A" addr add 10.71.0.1/24 dev kennel-a; ip -n "$B" addr add 10.71.0.2/24 dev kennel-b
for end in "$A kennel-a" "$B kennel-b"; do
    set -- $end
    ip -n "$1" link set lo up; ip -n "$1" link set "$2" up
done

# What mpirun calls as `ssh HOST COMMAND`; ssh would start a shell there.
cat >"$WORK/ssh" <<SSH
#!/bin/sh
while [ "\${1#-}" != "\$1" ]; do shift; done
shift
exec ip netns exec "$B" /bin/sh -c "\$*"
SSH
chmod +x "$WORK/ssh"
# No Ethernet of the machine outside leads anywhere from in there.
export OMPI_MCA_plm_rsh_agent="$WORK/ssh" OMPI_MCA_oob_tcp_if_include=10.71.0.0/24
export OMPI_MCA_btl_tcp_if_include=10.71.0.0/24 OMPI_MCA_btl=tcp,self
export KENNEL_MPI="$LIBRARY" HOME="$WORK"
unset KENNEL_LOG
export KENNEL_COLLECTIVE_TIMEOUT=5

fail() { echo "hosts: FAILED: $1"; [ -f "$WORK/log" ] && tail -20 "$WORK/log"; exit 1; }

# Pictures that the demo draws; the same folder on both "hosts", and a cache for each run.
KENNEL_CACHE="$WORK/demo-cache" "$KENNEL" demo --output "$WORK/demo" >/dev/null 2>&1 || fail "the demo"
PHOTOS=$(dirname "$(find "$WORK/demo" -type d -name train | head -1)")
OPTIONS="--epochs 6 --early-stopping 0 --threads 1"

KENNEL_CACHE="$WORK/one" "$KENNEL" train "$PHOTOS" $OPTIONS -o "$WORK/one.tar.gz" >"$WORK/log" 2>&1 \
    || fail "one instance"

run() { # cache, output, options; on the first host
    KENNEL_CACHE="$1" ip netns exec "$A" "$KENNEL" train "$PHOTOS" $OPTIONS \
        --hosts 10.71.0.1:1,10.71.0.2:1 -o "$2" "${@:3}"
}
run "$WORK/two" "$WORK/two.tar.gz" >"$WORK/log" 2>&1 || fail "two hosts"
grep -q "2 instances" "$WORK/log" || fail "nothing says that there are two instances"
for model in one two; do
    mkdir "$WORK/$model.d"; tar -xzf "$WORK/$model.tar.gz" -C "$WORK/$model.d"
done
# The accuracies of one instance and of two hosts are the same.
grep -E '"(top1|top5|count)"' "$WORK/one.d/metrics.json" >"$WORK/a" || fail "no metrics"
grep -E '"(top1|top5|count)"' "$WORK/two.d/metrics.json" >"$WORK/b" || fail "no metrics"
diff "$WORK/a" "$WORK/b" || fail "two hosts give other accuracies than one instance"
echo "hosts: two namespaces give the model of one instance"

# One host's process is killed in the features phase: the command fails with the cause, within seconds.
run "$WORK/three" "$WORK/three.tar.gz" >"$WORK/log" 2>&1 &
command=$!
for _ in $(seq 200); do
    rank=$(ip netns pids "$B" | xargs -r ps -o pid=,args= -p 2>/dev/null | awk '/ train /{print $1; exit}' || true)
    [ -n "${rank:-}" ] && break; sleep 0.05
done
[ -n "${rank:-}" ] || fail "no process appeared on the second host"
begun=$(date +%s.%N)
kill -9 "$rank"
if wait "$command"; then fail "the command succeeded without its second host"; fi
took=$(awk -v a="$begun" -v b="$(date +%s.%N)" 'BEGIN { printf "%.1f", b - a }')
grep -qiE "signal 9|killed|lost" "$WORK/log" || fail "the cause is not named"
awk -v t="$took" 'BEGIN { exit !(t < 10) }' || fail "a lost host was noticed after $took s"
echo "hosts: a lost process was noticed after $took s"

# The cable between the hosts is cut, which MPI does not notice: the watchdog ends both sides.
run "$WORK/four" "$WORK/four.tar.gz" >"$WORK/log" 2>&1 &
command=$!
for _ in $(seq 200); do
    rank=$(ip netns pids "$B" | xargs -r ps -o pid=,args= -p 2>/dev/null | awk '/ train /{print $1; exit}' || true)
    [ -n "${rank:-}" ] && grep -q "feature" "$WORK/log" && break; sleep 0.05
done
begun=$(date +%s.%N)
ip -n "$A" link set kennel-a down
if wait "$command"; then fail "the command succeeded over a cut cable"; fi
took=$(awk -v a="$begun" -v b="$(date +%s.%N)" 'BEGIN { printf "%.1f", b - a }')
grep -q "network between them is cut" "$WORK/log" || fail "the cause is not named"
echo "hosts: a cut cable was noticed after $took s"
ip -n "$A" link set kennel-a up

# Started again it goes on.
run "$WORK/three" "$WORK/three.tar.gz" >"$WORK/log" 2>&1 || fail "the second start"
echo "hosts: passed"
