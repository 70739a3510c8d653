#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# BARs that move take their windows along: the old address answers nobody, or whoever moved there.
#
# function: epf-test
# timeout: 180
. "$SUITE/lib.sh"
. "$SUITE/windows/windows.inc"

base() { "$1" setpci -s "$2" "BASE_ADDRESS_$3"; }
BAR0=${BAR2%2}0
place=0x80000 # BAR 0 begins with the function's registers
SIZE=0x4000

echo '=== BAR 0 and BAR 2 of the function change places'
rc "window fill $BAR0 $place $SIZE 1 && window fill $BAR2 $place $SIZE 2"
at_memory_speed rc 2 0x0 "$BAR2"
first=$(base rc "$FUNCTION" 0)
second=$(base rc "$FUNCTION" 2)
for round in {1..10}; do
    rc setpci -s "$FUNCTION" "BASE_ADDRESS_0=$second" "BASE_ADDRESS_2=$first"
    # What Linux takes for BAR 2 is now BAR 0.
    reads rc "$BAR2" $place 1 data
    reads rc "$BAR0" $place 2 data
    rc setpci -s "$FUNCTION" "BASE_ADDRESS_2=$second" "BASE_ADDRESS_0=$first"
    reads rc "$BAR2" $place 2 data
    reads rc "$BAR0" $place 1 data
done

echo '=== BAR 2 moves to where Linux knows nothing'
away=$(printf %08x $((0x$second + 0x800000)))
for round in 1 2 3; do
    rc setpci -s "$FUNCTION" "BASE_ADDRESS_2=$away"
    reads rc "$BAR2" $place 2 ones
    rc setpci -s "$FUNCTION" "BASE_ADDRESS_2=$second"
    reads rc "$BAR2" $place 2 data
done

echo "=== the EP's window moves: its regions hold bus addresses, and match no more"
hold rc 1 0x10000
face=$(ep_face)
device=$(basename "$(ep readlink "$face")")
home=$(base ep "$device" 2)
ep window open $REGION $OFFSET 0x10000 "${HELD[0]}"
at_memory_speed ep 2 $OFFSET "$face/resource2"
for round in 1 2 3; do
    ep setpci -s "$device" BASE_ADDRESS_2=30000000
    reads ep "$face/resource2" $OFFSET 0 ones
    ep setpci -s "$device" "BASE_ADDRESS_2=$home"
    reads ep "$face/resource2" $OFFSET 0 data
done
ep window close $REGION
let_go
