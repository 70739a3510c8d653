#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
#
# What a delegated channel is worth (`make bench-dma`): the RC moves its memory to the EP with one, against its CPU's memcpy
# to BAR 2 and against the EP fetching the same with a read channel of its own. Two boots in one run: every access of a BAR
# a message, and windows at memory speed.
#
# Depth is how many transfers are submitted together, and ended before the next ones are. The guests' clocks say how long
# such transfers took (guest-common/kernel/dma_test.rs, `again`), and the CPU's with a read behind them (`mmio send`);
# medians of rounds, each of which goes through all of it. Reads are those of the RC's CPU that came to the device: at
# memory speed, one less for each batch.
#
# At depth 1 a transfer is one message's latency, which is the machine's scheduler more than the channel: other work on the
# machine shows there first.
set -euo pipefail
cd "$(dirname "$0")/../.."
pair=${PAIR_PROGRAM-}

rounds=${ROUNDS:-5}
sizes=(4096 65536 1048576)
# What of BAR 2 is window: the slice with registers and descriptors is behind it.
window=$((0xfb000))

if [ "${1-}" != --inside ]; then
    if [ -z "$pair" ]; then
        cargo build --quiet --release -p pair -p qemu-device -p qemu-plugin
        pair="cargo run --quiet --release -p pair --"
    fi
    results=$(mktemp -d)
    trap 'rm -rf "$results"' EXIT
    # Two read channels are the RC's, and two are left to the EP.
    options=(--function vntb-dma --function-opt "mw1=$window" --function-opt "dma_offset=$window" --function-opt dma_num_chans=2)
    for mode in trap fast; do
        PAIR="$pair" $pair run "${options[@]}" --windows $mode -- "$0" --inside $mode "$results/figures" ||
            { echo "the run in mode $mode failed" >&2; exit 1; }
    done
    echo "# MB/s (10^6 bytes), operations a second and reads of the RC's CPU; medians of $rounds rounds in each mode"
    awk -v sizes="${sizes[*]}" -v window="$window" -f ci/bench/dma.awk "$results/figures"
    exit
fi

mode=$2
figures=$3
pair=$PAIR
bar2=/sys/bus/pci/devices/0000:01:00.0/resource2
declare -A control=([rc]=/sys/kernel/debug/spider_dma_test/control [ep]=/sys/kernel/debug/spider_edma_test/control)
# The EP's own read channels come behind its four write channels.
declare -A channel=([rc]=0 [ep]=4)

ep modprobe spider_edma_test
rc modprobe spider_dma_test
# The window leads to memory of the EP: the RC's module is a client of the NTB, which the link is up for.
ep modprobe ntb_tool
ep "cd /sys/kernel/debug/ntb_tool/* && timeout 20 sh -c 'echo Y >peer0/link_event' && echo $window >peer0/mw_trans0"

memory_of() { "$1" "sed -nE 's/^$2 .* $3 memory=(0x[0-9a-f]+) .*/\1/p' ${control[$1]}"; }
# Each way's other end: memory of a channel that does not work meanwhile.
declare -A there=([rc]=$(memory_of ep 1 write) [ep]=$(memory_of rc 1 write))
[ -n "${there[rc]}" ] && [ -n "${there[ep]}" ] && [ -n "$(memory_of ep "${channel[ep]}" read)" ] ||
    { echo "$0: no such channels" >&2; exit 1; }

reads() { # how many reads of the RC's CPU the device has seen
    $pair inspect rc.reads | awk '{ n += $2 } END { print n + 0 }'
}

# moves SIDE SIZE: a first transfer, which is right; then those that are timed.
moves() {
    local side=$1 size=$2 depth times took before
    rc "echo fill 1 1 0 $size >${control[rc]}"
    ep "echo fill 1 >${control[ep]}"
    "$side" "cd ${control[$side]%/*}; echo move ${channel[$side]} ${there[$side]} 0 $size 1 >control &&
        echo wait ${channel[$side]} 20000 >control"
    for depth in 1 32; do
        # As long for each size, roughly, at either depth.
        times=$((size < 1048576 ? 192 : 64))
        before=$(reads)
        took=$("$side" "cd ${control[$side]%/*}; echo again ${channel[$side]} $times $depth >control &&
            sed -nE 's/^${channel[$side]} .* took=([0-9]+).*/\1/p' control")
        echo "$mode $side $size $depth $took $times $(($(reads) - before))" >>"$figures"
    done
    "$side" "echo check ${channel[$side]} >${control[$side]}"
    [ "$side" = ep ] || ep "echo holds 1 1 0 $size >${control[ep]}"
}

for _ in $(seq "$rounds"); do
    for size in "${sizes[@]}"; do
        moves rc "$size"
        moves ep "$size"
        sent=$((size < window ? size : window))
        times=$((sent < 65536 ? 16 : 4))
        took=$(rc "mmio send $bar2 0 $sent $times" | awk '$1 == "send_ns" { print $2 }')
        echo "$mode cpu $size 1 $took 1 0" >>"$figures"
    done
done
