#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The function is unplugged and plugged five times under an EP that reads its window: the RC's memory, or all ones.
#
# function: epf-test
# timeout: 240
. "$SUITE/lib.sh"
. "$SUITE/windows/windows.inc"

start=$(epc)/start
face=$(ep_face)/resource2
hold rc 2 0x10000
ep window open $REGION $OFFSET 0x10000 "${HELD[0]}"
at_memory_speed ep 2 $OFFSET "$face"

watch ep "$face" 0
for round in {1..5}; do
    ep "echo 0 >$start"
    wait_for 20 "$FUNCTION to go from the RC" rc "! test -e /sys/bus/pci/devices/$FUNCTION"
    ep "echo 1 >$start"
    wait_for 30 'the function to be probed on the RC' rc test -c /dev/pci-endpoint-test.0
    reads ep "$face" $OFFSET 0 data
    # The region that BAR 2 has is programmed anew with each start.
    rc window fill "$BAR2" 0 0x10000 $round
    reads rc "$BAR2" 0 $round data
    [ "$(mode)" != fast ] || wait_for 5 "memory to lie over BAR 2 of rc" lies_over rc 2 0x0
done
watched data ones

# Unplugged while the window leads elsewhere than when it was last seen.
ep "echo 0 >$start"
ep window open $REGION $OFFSET 0x10000 "${HELD[1]}"
reads ep "$face" $OFFSET 1 ones
ep "echo 1 >$start"
wait_for 30 'the function to be probed on the RC' rc test -c /dev/pci-endpoint-test.0
reads ep "$face" $OFFSET 1 data
ep window close $REGION
same "the RC's memory" 'data data' "$(ask check 0) $(ask check 1)"
let_go
