#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The device that stands for the exported channels is there when the link has been up, once, however often clients come
# and go; its driver has it; and it goes with the bridge. What is refused has none.
#
# function: vntb-dma
# boot: own
# timeout: 180
. "$SUITE/lib.sh"
. "$SUITE/vntb-lib.sh"
. "$SUITE/dma-lib.sh"

# children: what there is on the auxiliary bus.
children() {
    rc 'ls /sys/bus/auxiliary/devices'
}

rc 'modprobe -r ntb_hw_epf; modprobe ntb_hw_epf && modprobe ntb_tool'
same 'devices before the link is up' '' "$(children)"
rc "echo Y >/sys/kernel/debug/ntb_tool/$FUNCTION/link"
child=$(children)
[[ $child =~ ^ntb_hw_epf\.ep_dma_v1\.[0-9]+$ ]] || fail "devices with the link up: \"$child\""
same 'whose child it is' "$FUNCTION" "$(rc "basename \$(dirname \$(readlink -f /sys/bus/auxiliary/devices/$child))")"
same 'whose device it is' dw_edma_aux "$(rc "basename \$(readlink -f /sys/bus/auxiliary/devices/$child/driver/module)")"
same 'channels' 4 "$(rc 'ls /sys/class/dma | wc -l')"

echo '=== clients come and go'
rc "for up in N Y N Y; do echo \$up >/sys/kernel/debug/ntb_tool/$FUNCTION/link; done"
same 'devices' "$child" "$(children)"
rc "modprobe -r ntb_tool && modprobe ntb_tool && echo Y >/sys/kernel/debug/ntb_tool/$FUNCTION/link"
same 'devices' "$child" "$(children)"

echo '=== the bridge goes'
rc 'modprobe -r ntb_tool; rmmod ntb_hw_epf'
same 'devices' '' "$(children)"
same 'channels' 0 "$(rc 'ls /sys/class/dma | wc -l')"

echo '=== what is refused'
rc_reload
magic=$(peek 2 $SLICE)
poke 2 $SLICE 0
rc_reload
same 'devices' '' "$(children)"
poke 2 $SLICE "$magic"
rc_reload
[ -n "$(children)" ] || fail 'there is no device for what is right again'
