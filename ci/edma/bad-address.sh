#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# An address at which the RC has nothing: the transfer aborts, also in mid-list, the channel says so in CS, and goes on
# with the next transfer as if nothing had been.
#
# function: none
# boot: shared
# timeout: 120
. "$SUITE/lib.sh"
. "$SUITE/edma/edma.inc"

set_up
# The end of the RC's memory.
end=$(rc "sed -nE 's/^[0-9a-f]+-([0-9a-f]+) : System RAM/0x\\1/p' /proc/iomem" | tail -1)
for channel in 3 7; do
    for address in 0xdead0000 0x3fff00000000; do
        echo "=== channel $channel, $address"
        on_ep start "$channel" "$address" 170 1000 1
        on_ep_fails 'Input/output error' wait "$channel" 10000
        same "how the transfer of channel $channel ended" Aborted "$(value "$channel" last)"
        same "the state of channel $channel" halted "$(silicon "$channel" status)"
        moves "$channel" 4711 170 1000 2
    done
done

echo '=== channel 4, in mid-list'
on_ep start 4 $((end + 1 - 20000)) 100 1000 3
on_ep_fails 'Input/output error' wait 4 10000
same 'the state of channel 4' halted "$(silicon 4 status)"
every_channel_moves
