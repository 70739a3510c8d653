#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Our ntb_hw_epf on the RC against the kernel's own pci-epf-vntb on the EP: no channels, and a bridge with a network.
#
# function: vntb
# boot: own
# timeout: 120
. "$SUITE/lib.sh"
. "$SUITE/vntb-lib.sh"
. "$SUITE/dma-lib.sh"

same 'whose driver it is' 'spider-pair contributors' "$(rc "modinfo -F author $OTHERS/ntb_hw_epf.ko")"
listen rc
rc "modprobe -r ntb_hw_epf; modprobe ntb && insmod $OTHERS/ntb_hw_epf.ko"
tool_load
same 'the block is a legacy one' 0 "$(($(peek 0 0x0c)))"
rc "dmesg | sed '1,/case listens $listening/d' | grep DMA" && fail 'the RC speaks of DMA channels'
for bit in 0 5 13; do
    wanted=$(printf '%#x' $((1 << bit)))
    ep "echo s $wanted >$EP_TOOL/peer_db"
    wait_for 5 "doorbell $bit" rc "[ \$((\$(cat $RC_TOOL/db))) = $((wanted)) ]"
    rc "echo c $wanted >$RC_TOOL/db"
done
unload_all
both_loaded=
net_load
no_loss rc -c 10 "$EP_ADDRESS"
