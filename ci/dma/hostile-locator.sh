#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# A locator or a header that cannot be right is refused with one line that says why, and the bridge works without it.
# The RC itself writes them: the control block and the header are memory of the EP behind its BARs.
#
# function: vntb-dma
# timeout: 400
. "$SUITE/lib.sh"
. "$SUITE/vntb-lib.sh"
. "$SUITE/dma-lib.sh"

# refused BAR OFFSET VALUE REASON: with VALUE there the RC refuses the export for REASON, and its bridge works.
refused() {
    local before
    echo "=== BAR $1 $2: $3"
    before=$(peek "$1" "$2")
    poke "$1" "$2" "$3"
    listen rc
    rc_reload
    kernel_says rc "DMA export refused: $4"
    same 'lines about the export' 1 \
        "$(rc "dmesg | sed '1,/case listens $listening/d' | grep -cE 'DMA export refused|DMA channels in BAR'")"
    n=$((n + 1))
    same 'a scratchpad' "$n" "$(($(rc "cd /sys/kernel/debug/ntb_tool/$FUNCTION; echo $n >spad3; cat spad3")))"
    poke "$1" "$2" "$before"
}

n=0
rc_reload
echo '##### the locator, in the control block'
refused 0 0x154 2 'DMA ABI 2 is not 1'
refused 0 0x158 1 'DMA slice: there is no such BAR'
refused 0 0x158 7 'DMA slice: there is no such BAR'
refused 0 0x15c 0xf9004 'DMA slice: its offset is not a multiple of 0x1000'
refused 0 0x15c 0xfa000 'DMA slice: it ends after the BAR'
refused 0 0x15c 0xf8000 "DMA slice overlaps the vNTB's BAR 2 0x0+0xf9000"
refused 0 0x160 0 'DMA slice: it is empty'
refused 0 0x160 0xffffffff 'DMA slice: it ends after the BAR'
refused 0 0x160 0x10 'DMA slice of 0x10 bytes has no room for a header'
refused 0 0x164 0 '0 DMA channels, not 1 to 8'
refused 0 0x164 9 '9 DMA channels, not 1 to 8'

echo '##### the header, in the slice'
header() {
    refused 2 $((SLICE + $1)) "$2" "$3"
}
header 0x00 0x12345678 'DMA header: magic 0x12345678 is not 0x4d445045'
header 0x04 0x00e00002 'DMA header: version 2 is not 1'
header 0x04 0x00100001 'DMA header: size 0x10'
header 0x08 0x17000 'DMA header: a slice of 0x17000 bytes, the locator says 0x7000'
header 0x10 0xf9000 'DMA registers: over the DMA header'
header 0x10 0xfb000 'DMA registers and descriptors of channel 0 overlap'
header 0x14 0xffffffff 'DMA registers: it ends after the BAR'
header 0x18 29 'DMA header: 29 vectors for 4 channels'
header 0x1c 0 'DMA header: 0 channels'
header 0x1c 3 'DMA header: 3 channels'
header 0x24 0 'descriptors of channel 0: outside the DMA slice'
header 0x3c 0xfc000 'descriptors of channel 0 and descriptors of channel 1 overlap'

echo '##### as it was'
listen rc
rc_reload
kernel_says rc '4 DMA channels in BAR 2'
rc modprobe -r ntb_tool
