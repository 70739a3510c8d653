#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# A channel is terminated in mid-transfer, each way: at once, not by the driver's deadline of 5 s. Nothing is moved any
# more then, the next transfer is whole, and a channel beside it never noticed.
#
# function: none
# boot: shared
# timeout: 120
. "$SUITE/lib.sh"
. "$SUITE/edma/edma.inc"

set_up
for channel in 1 5; do
    echo "=== channel $channel"
    other=$((channel + 1))
    on_rc fill
    start_long "$channel" 12345 7
    start "$other" $((2 << 20)) 170 1000 8 20
    wait_for 20 "channel $channel to be in mid-transfer" running "$channel"
    on_ep terminate "$channel"
    same "how the transfers of channel $channel ended" Terminated "$(value "$channel" last)"
    same "the state of channel $channel" stopped "$(silicon "$channel" status)"
    on_ep wait "$other" 20000

    on_rc fill
    bytes=$(silicon "$channel" bytes)
    sleep 0.5
    on_rc check
    same "bytes that channel $channel has moved, half a second later" "$bytes" "$(silicon "$channel" bytes)"
    moves "$channel" 54321 339 1000 9
done
! ep 'dmesg | grep "timeout waiting for channel termination"' || fail 'the driver waited for the channel in vain'
