#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The RC finds four exported DMA channels where the seed has them, byte for byte; the EP cannot use them meanwhile, and
# has them back when the function goes.
#
# function: vntb-dma
# boot: own
# timeout: 60
. "$SUITE/lib.sh"
. "$SUITE/vntb-lib.sh"
. "$SUITE/dma-lib.sh"

same 'channels of the EP in use' 4 "$(channels_in_use)"
listen rc
rc_reload
kernel_says rc "4 DMA channels in BAR 2 $SLICE+0x7000, vectors from 28 on"
same 'vectors of the bridge' 28 "$(rc 'grep -cw ntb_epf /proc/interrupts')"

echo '=== the control block'
for word in 1:0x0c 1:0x20 0:0x24 0x168:0x28 0x80:0x2c 0:0x134 0xf9000:0x144 1:0x154 2:0x158 0xf9000:0x15c 0x7000:0x160 4:0x164; do
    same "word ${word#*:} of the control block" "$((${word%:*}))" "$(($(peek 0 "${word#*:}")))"
done

echo '=== the header'
n=0
for word in 0x4d445045 0x00e00001 0x7000 2 0xfa000 0x1200 4 4; do
    same "byte $n of the header" "$((word))" "$(($(peek 2 $((SLICE + n)))))"
    n=$((n + 4))
done
for channel in 0 1 2 3; do
    base=$((SLICE + 0x20 + channel * 0x18))
    same "BAR of channel $channel" 2 "$(($(peek 2 $base)))"
    same "offset of channel $channel" "$((0xfc000 + channel * 0x1000))" "$(($(peek 2 $((base + 4)))))"
    same "size of channel $channel" "$((0x1000))" "$(($(peek 2 $((base + 8)))))"
done

echo '=== what the windows lead to'
# 4 write and 4 read channels, as the eDMA itself says.
same "the eDMA's ctrl" "$((0x00040004))" "$(($(peek 2 $((SLICE + 0x1008)))))"
for channel in 0 1 2 3; do
    poke 2 $((0xfc000 + channel * 0x1000)) $((0xdead0000 + channel))
done
for channel in 0 1 2 3; do
    same "descriptor memory of channel $channel" "$((0xdead0000 + channel))" \
        "$(($(peek 2 $((0xfc000 + channel * 0x1000)))))"
done

echo '=== the function goes'
rc 'modprobe -r ntb_tool; modprobe -r ntb_hw_epf'
ep "echo 0 >$(epc)/start; rm /sys/kernel/config/pci_ep/controllers/*.pcie-ep/func1"
same 'channels of the EP in use' 0 "$(channels_in_use)"
