#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The RC reboots under traffic. The EP reloads ntb_netdev and ntb_transport, as the stock stack needs, and traffic flows.
#
# function: vntb
# options: --net
# boot: own
# timeout: 240
. "$SUITE/lib.sh"
. "$SUITE/vntb-lib.sh"

traffic_starts

rc_before=$(boot_id rc)
ep_before=$(boot_id ep)
# The runner learns only from the guest's next boot that this one is gone. As soon as it is, the EP has to be quiet: what
# it sends goes where the RC's old buffer was, and from when the new kernel's driver lets the function master the bus that
# is someone else's memory.
rc 'echo b >/proc/sysrq-trigger' &
command=$!
gone() { [ "$("$PAIR" inspect function.bus_master)" = false ]; }
wait_for 20 "the RC's reset" gone
ep modprobe -r ntb_netdev ntb_transport
gone || fail 'the EP was not quiet before the RC had its driver again'
wait $command || true
wait_for 90 'the RC guest to be up again' rebooted rc "$rc_before"
wait_for 60 "ntb_hw_epf to probe on the RC" rc test -e "/sys/bus/ntb/devices/$FUNCTION"
same "the EP guest's boot" "$ep_before" "$(boot_id ep)"

# The EP's window still leads to the old buffer, as pci-epf-vntb unmaps it on the RC's word alone, and a second mapping of
# the same place lies behind the first. So the RC has to map and unmap once, while the EP sends nothing.
rc modprobe ntb_transport
mapped() {
    [ "$("$PAIR" inspect iatu.outbound | grep -c 'base:')" -ge 3 ]
}
wait_for 20 'the window to be mapped a second time' mapped
rc modprobe -r ntb_transport
! mapped || fail 'the RC has gone, and the EP has still two mappings of its window'

net_up
traffic_flows
