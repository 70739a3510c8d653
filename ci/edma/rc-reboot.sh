#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The RC reboots in mid-transfer, both ways: the transfers abort, as nobody masters its bus any more; with its next boot
# every channel works.
#
# function: none
# boot: own
# timeout: 240
. "$SUITE/lib.sh"
. "$SUITE/edma/edma.inc"

aborted() {
    [ "$(value "$1" last)" = Aborted ]
}

set_up
start_long 1 $((1 << 20)) 3
start_long 5 $((2 << 20)) 4
wait_for 20 'channel 1 to be in mid-transfer' running 1
wait_for 20 'channel 5 to be in mid-transfer' running 5
before=$(boot_id rc)
# The guest may be gone before it can answer.
rc 'echo b >/proc/sysrq-trigger' || true
for channel in 1 5; do
    wait_for 30 "the transfer of channel $channel to abort" aborted "$channel"
    same "the state of channel $channel" halted "$(silicon "$channel" status)"
    on_ep terminate "$channel"
done
wait_for 90 'the RC guest to be up again' rebooted rc "$before"
rc modprobe spider_buffer
find_buffer
every_channel_moves
! ep 'dmesg | grep "timeout waiting for channel termination"' || fail 'the driver waited for the channel in vain'
