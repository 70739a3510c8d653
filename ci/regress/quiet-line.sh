#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# An EP that leaves it to the RC to mask the channels that it delegates, as the published series does: its driver has set a
# mode, and if it had used a channel before, that channel's bits in rd_int_mask are open. The RC masks them when a client
# takes the channel, and the EP's interrupt line stays low: nobody there would ever clear the status.
#
# function: vntb-dma
# boot: own
# timeout: 240
. "$SUITE/lib.sh"
. "$SUITE/dma-lib.sh"
. "$SUITE/dma/routing.inc"

# Where the RC has rd_int_mask: in the slice, behind the header.
MASK=$((SLICE + 0x1000 + 0xa8))

# quiet_after OPEN: with these bits open when clients come, a transfer of each channel brings the EP no interrupt.
quiet_after() {
    local channel before
    echo "=== $1 open"
    undrive
    rc modprobe dw_edma_aux
    poke 2 $MASK $(($(peek 2 $MASK) & ~$1))
    set_up
    same 'rd_int_mask of the four channels' 0xf000f "$(masked)"
    for channel in "${CHANNELS[@]}"; do delivers "$channel" $((channel + 1)); done
    before=$(interrupts ep dw-edma-core)
    for channel in "${CHANNELS[@]}"; do delivers "$channel" $((channel + 5)); done
    sleep 1
    same "interrupts of the EP's eDMA" "$before" "$(interrupts ep dw-edma-core)"
}

# The slice is there once a client has brought the link up.
drive
quiet_after 0xf000f
quiet_after 0x20000
quiet_after 0x4
# An EP that has masked them itself.
quiet_after 0
