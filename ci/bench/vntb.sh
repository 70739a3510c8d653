#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
#
# Ping over the stock vNTB, its doorbell polled and embedded in the eDMA, two boots in one run (`make bench-vntb`).
#
# Without an eDMA (--edma off) the stock driver has no doorbell to offer and looks every 5 ms for what the RC wrote; that
# is how an S4 behaves before embedded doorbells. The table says how long a round trip takes, and the second one where an
# embedded one spends its time: on which process's processor, or waiting for one.
set -euo pipefail
cd "$(dirname "$0")/../.."
. ci/device.inc
pair=${PAIR_PROGRAM-}

if [ "${1-}" != --inside ]; then
    if [ -z "$pair" ]; then
        cargo build --quiet --release -p pair -p qemu-device -p qemu-plugin
        pair="cargo run --quiet --release -p pair --"
    fi
    results=$(mktemp -d)
    trap 'rm -rf "$results"' EXIT
    PAIR="$pair" $pair run --function vntb --net --edma off -- "$0" --inside polled "$results"
    PAIR="$pair" $pair run --function vntb --net -- "$0" --inside embedded "$results"
    echo "# ping over the stock vNTB, 56 bytes, 60 round trips in each boot"
    printf '%-10s %10s %10s %10s\n' doorbell median p10 p90
    for way in polled embedded; do
        sort -n "$results/$way.ms" | awk -v way=$way '{ v[NR] = $1 }
            END { printf "%-10s %7.2f ms %7.2f ms %7.2f ms\n", way, v[int((NR + 1) / 2)], v[int(NR / 10) + 1], v[int(NR * 9 / 10)] }'
    done
    median() { sort -n "$results/$1.ms" | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
    awk -v polled="$(median polled)" -v embedded="$(median embedded)" \
        'BEGIN { printf "embedded is %.1f times as fast (at least 5)\n", polled / embedded; exit polled / embedded < 5 }' || status=1
    echo "# where an embedded round trip spends its time, mean of 200, one under way at a time"
    cat "$results/account"
    exit "${status-0}"
fi

way=$2 results=$3
case $way in
polled) said='Failed to allocate doorbell' ;;
embedded) said='Using embedded (DMA) doorbell fallback' ;;
esac
ep "dmesg | grep -qF '$said'" || { echo "$0: the EP's doorbell is not $way" >&2; exit 1; }

rc ping -c 5 -i 0.2 ep >/dev/null # addresses resolved, code warm
# An interval that no period of the EP's polling divides.
rc ping -c 60 -i 0.2137 ep | sed -n 's/.*time=\([0-9.]*\) ms/\1/p' >"$results/$way.ms"
[ "$way" = embedded ] || exit 0

sockets=$(sed -nE 's/.*"sockets": "([^"]+)".*/\1/p' "$SPIDER_PAIR_RUN/run.json")
device=$(device_pid)
qemu() { pgrep -f "qemu-system-aarch64.*$sockets/$1" | head -1; }
# All threads of these processes: ns on a processor and ns ready but without one.
spent() {
    local pid
    for pid in "$@"; do
        cat "/proc/$pid"/task/*/schedstat
    done | awk '{ on += $1; ready += $2 } END { printf "%.0f %.0f\n", on, ready }'
}
rtt() { sed -nE 's,^rtt [^=]*= [0-9.]*/([0-9.]*)/.*,\1,p'; }
ep_qemu=$(qemu ep) rc_qemu=$(qemu rc)
snapshot() {
    for pid in "$rc_qemu" "$ep_qemu" "$device"; do
        spent "$pid"
    done
}
# Reads by the EP's CPU that came to the device, each of which it waits for.
trapped() { $PAIR inspect ep.reads.bar0; }
reads=$(trapped)
before=$(snapshot)
mean=$(rc ping -A -q -c 200 ep | rtt)
after=$(snapshot)
reads=$(($(trapped) - reads))
stack_rc=$(rc ping -A -q -c 200 127.0.0.1 | rtt)
stack_ep=$(ep ping -A -q -c 200 127.0.0.1 | rtt)
read_rc=$(rc "mmio read /sys/bus/pci/devices/0000:01:00.0/resource4 0 500" | awk '$1 == "read_ns" { print $2 / 1e6 }')
read_ep=$(ep 'mmio read $(dirname /sys/bus/pci/drivers/spider_bridge/*/resource0)/resource0 0 500' | awk '$1 == "read_ns" { print $2 / 1e6 }')
paste <(echo "$before") <(echo "$after") | awk -v mean="$mean" -v names="RC's QEMU,EP's QEMU,device" '
    BEGIN { split(names, name, ","); printf "%-34s %7.3f ms\n", "round trip", mean }
    { on = ($3 - $1) / 200 / 1e6; ready = ($4 - $2) / 200 / 1e6
      printf "%-34s %7.3f ms, and %.3f ms ready without a processor\n", name[NR] " on a processor", on, ready }' >"$results/account"
{
    printf '%-34s %7.3f ms\n' "of it: a ping within the RC" "$stack_rc" "of it: a ping within the EP" "$stack_ep" \
        "one trapped read of the RC" "$read_rc" "one trapped read of the EP" "$read_ep"
    awk -v n="$reads" 'BEGIN { printf "%-34s %7.1f\n", "such reads of the EP", n / 200 }'
} >>"$results/account"
