#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The end of a transfer is found where no interrupt tells it: by a driver that was told to poll, and by one whose messages
# are led elsewhere, which also leads them back.
#
# function: vntb-dma
# boot: own
# timeout: 120
. "$SUITE/lib.sh"
. "$SUITE/dma-lib.sh"
. "$SUITE/dma/delegated.inc"

# rd_done_imwr, behind the page of the header.
DONE=$((SLICE + 0x1000 + 0xcc))

# interrupts CHANNEL: how many the channels' driver has had.
interrupts() {
    rc "sed -nE 's/^$1 .* interrupts=([0-9]+).*/\\1/p' /sys/kernel/debug/$FUNCTION/dw_edma_aux"
}

echo '=== messages are lost: another one has written where they go'
set_up
moves 0 0 171 1000 1
before=$(interrupts 0)
[ "$before" -gt 0 ] || fail 'channel 0 has had no interrupt'
address=$(peek 2 "$DONE")
[ $((address)) -ne 0 ] || fail 'rd_done_imwr is not set'
poke 2 "$DONE" 0
moves 0 0 7 1000 2
# At that the driver has seen that something is amiss.
same 'rd_done_imwr after a transfer' "$address" "$(peek 2 "$DONE")"
same 'interrupts of channel 0' "$before" "$(interrupts 0)"
moves 0 0 7 1000 3
[ "$(interrupts 0)" -gt "$before" ] || fail 'channel 0 has no interrupts after its messages were led back'

echo '=== a driver that polls'
rc 'rmmod spider_dma_test dw_edma_aux; modprobe dw_edma_aux poll=1 && modprobe spider_dma_test'
same 'exported channels that the RC has' 4 "$(rc "grep -c ' write ' ${CONTROL[rc]}")"
same 'vectors that are requested' '' "$(rc 'grep dw_edma_aux /proc/interrupts || true')"
for channel in "${CHANNELS[@]}"; do
    moves "$channel" 0 1 4096 $((channel + 4))
    moves "$channel" 4095 1000 900 $((channel + 14))
done
echo '--- 500 behind each other, on all channels at once'
for channel in "${CHANNELS[@]}"; do
    on ep fill "$channel"
    on rc move "$channel" "${TARGET[$channel]}" 0 4096 $((channel + 24)) 500
done
for channel in "${CHANNELS[@]}"; do
    arrived "$channel" 0 $((channel + 24))
    same "interrupts of channel $channel" 0 "$(interrupts "$channel")"
done
rc 'rmmod spider_dma_test dw_edma_aux; modprobe dw_edma_aux && modprobe spider_dma_test'
