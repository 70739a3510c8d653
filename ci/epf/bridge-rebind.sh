#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# spider_bridge is unbound and bound again: what it made goes with it, and comes back.
#
# function: none
# boot: own
# timeout: 120
. "$SUITE/lib.sh"

driver=/sys/bus/pci/drivers/spider_bridge
bridge=$(ep "basename \"\$(dirname $driver/*/resource0)\"")
for round in 1 2; do
    ep "echo $bridge >$driver/unbind"
    same "what is left after unbind $round" '' "$(ep 'ls /sys/bus/platform/devices | grep pcie-ep
        grep spider-bridge /proc/interrupts; find /proc/device-tree/ -name "pci-ep-bus@*"; true')"
    ep "echo $bridge >$driver/bind"
    ep "test -d $(epc)" || fail "no endpoint controller after bind $round"
done
# Refused overlays and unbalanced references are errors of the kernel's log, not splats.
log=$(ep 'dmesg | grep -E "OF: (ERROR|overlay)|could not be removed" || true')
same "complaints of the device tree" '' "$log"
