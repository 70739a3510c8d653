#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The link goes down and comes up under an EP that reads its window: the RC's memory, all ones, the RC's memory.
#
# function: epf-test
# timeout: 240
. "$SUITE/lib.sh"
. "$SUITE/windows/windows.inc"

start=$(epc)/start
face=$(ep_face)/resource2
hold rc 1 0x10000
ep window open $REGION $OFFSET 0x10000 "${HELD[0]}"
at_memory_speed ep 2 $OFFSET "$face"

for round in 1 2 3; do
    echo "=== round $round of 3"
    watch ep "$face" 0
    ep "echo 0 >$start"
    reads ep "$face" $OFFSET 0 ones
    wait_for 20 "$FUNCTION to go from the RC" rc "! test -e /sys/bus/pci/devices/$FUNCTION"
    ep "echo 1 >$start"
    wait_for 30 'the function to be probed on the RC' rc test -c /dev/pci-endpoint-test.0
    watched data ones
    reads ep "$face" $OFFSET 0 data
    rc window fill "$BAR2" 0 0x10000 $round
    reads rc "$BAR2" 0 $round data
    at_memory_speed rc 2 0x0 "$BAR2"
done
at_memory_speed ep 2 $OFFSET "$face"
ep window close $REGION
same "the RC's memory" data "$(ask check 0)"
let_go
