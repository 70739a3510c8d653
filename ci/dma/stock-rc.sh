#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The kernel's own ntb_hw_epf on the RC, which knows nothing of the slice: its transport takes the whole BAR for the
# window, and the EP refuses that with the setting to use; with it there is a network.
#
# function: vntb-dma
# boot: own
# timeout: 120
. "$SUITE/lib.sh"
. "$SUITE/vntb-lib.sh"
. "$SUITE/dma-lib.sh"

rc "modprobe -r ntb_hw_epf; modprobe ntb && insmod $OTHERS/ntb_hw_epf.ko"
same 'whose driver it is' 'Kishon Vijay Abraham I <kishon@ti.com>' "$(rc "modinfo -F author $OTHERS/ntb_hw_epf.ko")"

listen ep
both modprobe ntb_transport
both modprobe ntb_netdev
wait_for 15 "the EP's word" kernel_says ep 'memory window 1 has 0xf9000 bytes, not 0x100000: load ntb_transport with max_mw_size=0xF9000'
both modprobe -r ntb_netdev
both modprobe -r ntb_transport

net_load max_mw_size=0xF9000
no_loss rc -c 10 "$EP_ADDRESS"
