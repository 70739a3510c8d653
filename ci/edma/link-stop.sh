#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The EP stops its link in mid-transfer, both ways: the transfers abort; after the next start every channel works.
#
# function: none
# boot: own
# timeout: 120
. "$SUITE/lib.sh"
. "$SUITE/edma/edma.inc"

aborted() {
    [ "$(value "$1" last)" = Aborted ]
}

set_up
for round in 1 2 3; do
    echo "=== stop $round"
    on_rc fill
    start_long 0 $((1 << 20)) 3
    start_long 4 $((2 << 20)) 4
    wait_for 20 'channel 0 to be in mid-transfer' running 0
    wait_for 20 'channel 4 to be in mid-transfer' running 4
    ep "echo 0 >$(epc)/start"
    for channel in 0 4; do
        wait_for 20 "the transfer of channel $channel to abort" aborted "$channel"
        same "the state of channel $channel" halted "$(silicon "$channel" status)"
        on_ep terminate "$channel"
    done
    wait_for 20 "$FUNCTION to go from the RC" rc "! test -e /sys/bus/pci/devices/$FUNCTION"
    ep "echo 1 >$(epc)/start"
    find_buffer
    every_channel_moves
done
! ep 'dmesg | grep "timeout waiting for channel termination"' || fail 'the driver waited for the channel in vain'
