#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The endpoint controller's driver is unbound with the function linked and its NTB in use. The PCI endpoint core would
# leave the function with a pointer to a controller that is freed; ours is taken down first, and can be linked again when
# the controller is back. Freed memory is poisoned here, so a look at it would be an oops.
#
# function: vntb-dma
# options: --append-ep slab_debug=FZP
# boot: own
# timeout: 300
. "$SUITE/lib.sh"
. "$SUITE/dma-lib.sh"
. "$SUITE/dma/routing.inc"

DRIVER=/sys/bus/platform/drivers/pcie-rcar-gen4
# What the EP has of a function that is linked.
leftovers() {
    ep 'ls /sys/bus/ntb/devices; grep -E "pci_ep_dma|pci_epf_vntb_db" /proc/interrupts; ls /sys/kernel/debug/pci_epf_vntb.0 2>/dev/null; true'
}

device=$(ep "cd $DRIVER && echo *.pcie-ep")
controller=$(epc)
drive
delivers 0 1

# The link is stopped, or not.
for start in 0 1 0; do
    echo "=== the controller goes, start=$start"
    if [ "$start" = 0 ]; then
        undrive
        ep "echo 0 >$controller/start"
        wait_for 20 'the function to go' rc "! test -e /sys/bus/pci/devices/$FUNCTION"
    else
        # The stock driver of the EP's own channels does not wait for clients.
        ep 'if grep -q ^spider_edma_test /proc/modules; then rmmod spider_edma_test; fi'
    fi
    ep modprobe ntb_ep_dma
    ep "echo $device >$DRIVER/unbind"
    same 'what is left of the function' '' "$(leftovers)"
    ep 'rmmod ntb_ep_dma; cat /sys/kernel/config/pci_ep/functions/pci_epf_vntb/func1/vendorid'
    ep "cat $ROUTING; echo remote >$ROUTING"

    echo '=== it is back'
    ep "echo $device >$DRIVER/bind && ln -s $FUNC $controller/ && echo 1 >$controller/start"
    if [ "$start" = 1 ]; then
        # The RC has not noticed: a driver that is unbound leaves the link up.
        undrive
        ep "echo 0 >$controller/start"
        wait_for 20 'the function to go' rc "! test -e /sys/bus/pci/devices/$FUNCTION"
        ep "echo 1 >$controller/start"
    fi
    appears
    drive
    delivers 0 $((start + 2))
    delivers 1 $((start + 3))
done

echo "=== the function's own driver goes"
undrive
ep "echo 0 >$controller/start"
wait_for 20 'the function to go' rc "! test -e /sys/bus/pci/devices/$FUNCTION"
ep 'echo pci_epf_vntb.0 >/sys/bus/pci-epf/drivers/pci_epf_vntb/unbind'
same 'what is left of the function' '' "$(leftovers)"
same 'channels of the EP in use' 0 "$(channels_in_use)"
