#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# COMMAND decides: without memory space the RC reads all ones, without bus mastering the EP does, and back.
#
# function: epf-test
# timeout: 180
. "$SUITE/lib.sh"
. "$SUITE/windows/windows.inc"

hold rc 1 0x10000
face=$(ep_face)
device=$(basename "$(ep readlink "$face")")
ep window open $REGION $OFFSET 0x10000 "${HELD[0]}"
rc window fill "$BAR2" 0 0x10000 3
at_memory_speed ep 2 $OFFSET "$face/resource2"
at_memory_speed rc 2 0x0 "$BAR2"
command=$(rc setpci -s "$FUNCTION" COMMAND)
ep_command=$(ep setpci -s "$device" COMMAND)

for round in 1 2 3; do
    echo "=== round $round of 3: memory space off"
    rc setpci -s "$FUNCTION" COMMAND=0:2
    reads rc "$BAR2" 0 3 ones
    reads ep "$face/resource2" $OFFSET 0 data
    rc setpci -s "$FUNCTION" COMMAND=2:2
    reads rc "$BAR2" 0 3 data

    echo "=== bus mastering off"
    rc setpci -s "$FUNCTION" COMMAND=0:4
    reads ep "$face/resource2" $OFFSET 0 ones
    reads rc "$BAR2" 0 3 data
    rc setpci -s "$FUNCTION" COMMAND=4:4
    reads ep "$face/resource2" $OFFSET 0 data

    echo "=== memory space of the EP's own device off"
    ep setpci -s "$device" COMMAND=0:2
    reads ep "$face/resource2" $OFFSET 0 ones
    ep setpci -s "$device" COMMAND=2:2
    reads ep "$face/resource2" $OFFSET 0 data
done
same 'COMMAND of the function' "$command" "$(rc setpci -s "$FUNCTION" COMMAND)"
same "COMMAND of the EP's device" "$ep_command" "$(ep setpci -s "$device" COMMAND)"
ep window close $REGION
same "the RC's memory" data "$(ask check 0)"
let_go
